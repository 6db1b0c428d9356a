package format

import (
	"errors"
	"fmt"
	"strings"
)

// column says where in a row a value stands. In JSON it is a path: names of members joined by dots, "[]" after a
// member that is a list. In CSV it is the name in the header. A column that is split is a text that holds a list.
type column struct {
	name     string
	segments []segment
	split    string
	brackets int // how many lists lie on the path
}

type segment struct {
	key  string
	list bool
}

var errNotObject = errors.New("is not an object with members")

// parseColumn reads the name of a column. In a CSV row every name is one segment, whatever characters it has.
func parseColumn(name, split string, csv bool) (*column, error) {
	if name == "" {
		return nil, errors.New("a column needs a name")
	}
	c := &column{name: name, split: split}
	if csv {
		c.segments = []segment{{name, split != ""}}
	} else {
		for key := range strings.SplitSeq(name, ".") {
			key, list := strings.CutSuffix(key, "[]")
			if key == "" || strings.ContainsAny(key, "[]") {
				return nil, fmt.Errorf("column %q is not a path like \"names[].family\"", name)
			}
			c.segments = append(c.segments, segment{key, list})
		}
		last := &c.segments[len(c.segments)-1]
		if split != "" && last.list {
			return nil, fmt.Errorf("column %q is a list already, split is for a text", name)
		}
		last.list = last.list || split != ""
	}
	for _, s := range c.segments {
		if s.list {
			c.brackets++
		}
	}
	return c, nil
}

// at is the value in a row; nil if there is none. index tells which element to take of each list on the path, from the
// outermost on; a list beyond the index is given whole.
func (c *column) at(row map[string]any, index []int) (any, error) {
	var current any = row
	depth := 0
	for _, s := range c.segments {
		if current == nil {
			return nil, nil
		}
		object, ok := current.(map[string]any)
		if !ok {
			return nil, errNotObject
		}
		current = object[s.key]
		if !s.list {
			continue
		}
		list, err := c.list(current)
		if err != nil {
			return nil, err
		}
		if depth >= len(index) {
			return list, nil
		}
		if index[depth] >= len(list) {
			return nil, nil
		}
		current = list[index[depth]]
		depth++
	}
	return current, nil
}

// length is the number of elements of the list that lies len(index) lists deep on the path.
func (c *column) length(row map[string]any, index []int) (int, error) {
	v, err := c.at(row, index)
	if err != nil {
		return 0, err
	}
	list, _ := v.([]any)
	return len(list), nil
}

// list is a value as a list: a JSON list, or the parts of a split text without the empty ones.
func (c *column) list(v any) ([]any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []any:
		return v, nil
	case string:
		if c.split == "" {
			break
		}
		var out []any
		for part := range strings.SplitSeq(v, c.split) {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
		return out, nil
	}
	return nil, errors.New("is not a list")
}

// text is the value in a row as text, without surrounding space; "" if there is none.
func (c *column) text(row map[string]any, index []int) (string, error) {
	v, err := c.at(row, index)
	if err != nil {
		return "", err
	}
	return scalar(v)
}

// texts is the value in a row as a list of texts; a single value is a list of one.
func (c *column) texts(row map[string]any) ([]string, error) {
	v, err := c.at(row, nil)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]string, 0, len(list))
	for _, element := range list {
		text, err := scalar(element)
		if err != nil {
			return nil, err
		}
		if text != "" {
			out = append(out, text)
		}
	}
	return out, nil
}
