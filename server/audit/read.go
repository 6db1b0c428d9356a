package audit

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/store"
)

const (
	// pageEntries and pageBytes bound what one view reads: far less than store.MaxView allows.
	pageEntries = 256
	pageBytes   = 512 << 10
)

// Entries gives the entries from a number on, in order, up to the one that is the last when it is called. It reads a few
// hundred at a time and calls fn outside of the transaction, so fn may wait for whoever it sends them to. encoded is the
// entry as it stands in the tree; both belong to fn. An error of fn ends it and is returned as it is.
func (l *Log) Entries(from uint64, fn func(e *ententev1.AuditEntry, encoded []byte) (more bool, err error)) error {
	return l.encodedEntries(from, l.current().entries.size(), func(n uint64, encoded []byte) (bool, error) {
		e := &ententev1.AuditEntry{}
		err := proto.Unmarshal(encoded, e)
		if err != nil {
			return false, fmt.Errorf("decode entry %d of the audit trail: %w", n, err)
		}
		return fn(e, encoded)
	})
}

// encodedEntries gives the entries from a number on and up to another.
func (l *Log) encodedEntries(from, upTo uint64, fn func(n uint64, encoded []byte) (more bool, err error)) error {
	from = max(from, 1)
	for from <= upTo {
		page, err := l.page(entriesForest().values, from, upTo)
		if err != nil {
			return fmt.Errorf("read the audit trail from entry %d: %w", from, err)
		}
		for _, encoded := range page {
			more, err := fn(from, encoded)
			if err != nil || !more {
				return err
			}
			from++
		}
	}
	return nil
}

// page reads the next values of a series in one short view: at least one, for the series reaches to upTo.
func (l *Log) page(series store.Series, from, upTo uint64) ([][]byte, error) {
	var page [][]byte
	size := 0
	err := l.store.View(func(v *store.View) error {
		return v.Scan(series, from, func(n uint64, value []byte) (bool, error) {
			page = append(page, append([]byte(nil), value...))
			size += len(value)
			return n < upTo && len(page) < pageEntries && size < pageBytes, nil
		})
	})
	if err != nil {
		return nil, err
	}
	if len(page) == 0 {
		return nil, fmt.Errorf("%s %d: %w", series, from, store.ErrAbsent)
	}
	return page, nil
}
