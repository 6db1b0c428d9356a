package cli

import (
	"iter"
)

// printSequence prints what comes, at most limit of it (0: all): JSON a line each as it comes, a table at the end. What came
// before an error is printed.
func printSequence[T any](s *session, head []string, limit int, items iter.Seq2[T, error], line func(T) error, row func(T) []string) error {
	var table [][]string
	var failure error
	count := 0
	for item, err := range items {
		if err != nil {
			failure = err
			break
		}
		if s.out.json {
			err = line(item)
		} else {
			table = append(table, row(item))
		}
		if err != nil {
			return err
		}
		count++
		if count == limit {
			break
		}
	}
	if s.out.json || count == 0 {
		return failure
	}
	return firstOf(failure, s.out.table(head, table))
}

// each is a list as a sequence without an error.
func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, one := range list {
			if !yield(one, nil) {
				return
			}
		}
	}
}
