package format

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// shape says how one message is filled: the parts in the order in which the mapping first names them.
type shape struct {
	md    protoreflect.MessageDescriptor
	parts []*part
}

// part fills one field, or appends elements to it: from one source, or by the shape of the message in it.
type part struct {
	fd      protoreflect.FieldDescriptor
	label   string    // of a list: tells groups of elements of the same field apart
	sub     *shape    // a message, field by field
	leaf    *source   // one value
	columns []*column // all columns below
	depth   int       // lists above this field
}

// assignment is one line of a mapping: a field and where its value comes from.
type assignment struct {
	path  string
	at    place // the path
	value place
}

// step is one name on a field path.
type step struct {
	field string
	list  bool
	label string
}

// parseSteps reads a path such as "names[].family" or "communication[phone].value".
func parseSteps(path string) ([]step, error) {
	var out []step
	for name := range strings.SplitSeq(path, ".") {
		s := step{field: name}
		if open := strings.IndexByte(name, '['); open >= 0 {
			label, closed := strings.CutSuffix(name[open+1:], "]")
			if !closed || strings.ContainsAny(label, "[]") {
				return nil, fmt.Errorf("%q is not a field path like \"names[].family\"", path)
			}
			s = step{field: name[:open], list: true, label: label}
		}
		if s.field == "" {
			return nil, fmt.Errorf("%q is not a field path like \"names[].family\"", path)
		}
		out = append(out, s)
	}
	return out, nil
}

// compile turns assignments into the shape of a message.
func (c *compiler) compile(md protoreflect.MessageDescriptor, assignments []assignment) (*shape, error) {
	root := &shape{md: md}
	for _, a := range assignments {
		steps, err := parseSteps(a.path)
		if err != nil {
			return nil, a.at.errorf("%s", err)
		}
		if err := c.assign(root, steps, a); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// assign adds one assignment to a shape.
func (c *compiler) assign(root *shape, steps []step, a assignment) error {
	current := root
	var above []*part
	levels := 0
	for i, st := range steps {
		fd, err := fieldOf(current.md, st)
		if err != nil {
			return a.at.errorf("%s", err)
		}
		p := current.part(fd, st.label, levels)
		above = append(above, p)
		if st.list {
			levels++
		}
		last := i == len(steps)-1
		if last {
			if p.sub != nil || p.leaf != nil {
				return a.at.errorf("field %q is mapped twice", a.path)
			}
			break
		}
		if err := p.descend(); err != nil {
			return a.at.errorf("field %q: %s", a.path, err)
		}
		current = p.sub
	}
	leaf := above[len(above)-1]
	if leaf.fd.Message() != nil && !textMessages[leaf.fd.Message().FullName()] {
		return a.at.errorf("%q is a message; name one of its fields: %s", a.path, fieldNames(leaf.fd.Message()))
	}
	var err error
	leaf.leaf, err = c.source(a.value, leaf.fd, levels)
	if err != nil {
		return err
	}
	for _, p := range above {
		p.columns = append(p.columns, leaf.leaf.columns()...)
	}
	return nil
}

// fieldOf finds the field of a step.
func fieldOf(md protoreflect.MessageDescriptor, st step) (protoreflect.FieldDescriptor, error) {
	fd := md.Fields().ByName(protoreflect.Name(st.field))
	if fd == nil {
		return nil, fmt.Errorf("%s has no field %q; allowed: %s", md.Name(), st.field, fieldNames(md))
	}
	if fd.IsList() && !st.list {
		return nil, fmt.Errorf("field %q is a list: write %s[]", st.field, st.field)
	}
	if st.list && !fd.IsList() {
		return nil, fmt.Errorf("field %q is not a list: write it without []", st.field)
	}
	return fd, nil
}

// fieldNames are the fields of a message as a mapping names them.
func fieldNames(md protoreflect.MessageDescriptor) string {
	var names []string
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		name := string(fd.Name())
		if fd.IsList() {
			name += "[]"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// part is the part for a field and label, new if there is none yet.
func (s *shape) part(fd protoreflect.FieldDescriptor, label string, depth int) *part {
	for _, p := range s.parts {
		if p.fd == fd && p.label == label {
			return p
		}
	}
	p := &part{fd: fd, label: label, depth: depth}
	s.parts = append(s.parts, p)
	return p
}

// descend readies a part for being filled field by field.
func (p *part) descend() error {
	md := p.fd.Message()
	if md == nil || textMessages[md.FullName()] {
		return fmt.Errorf("%s is one value and has no fields to map", p.fd.Name())
	}
	if p.sub == nil {
		p.sub = &shape{md: md}
	}
	return nil
}

// fill sets the fields of a message from a row. gave tells whether any column gave a value: a message or list element
// for which no column has anything is left out, its constants with it, unless it is made of constants alone.
func (s *shape) fill(msg protoreflect.Message, r *rowData, index []int) (gave bool, err error) {
	for _, p := range s.parts {
		var g bool
		if p.fd.IsList() {
			g, err = p.fillList(msg, r, index)
		} else {
			g, err = p.fillOne(msg, r, index)
		}
		if err != nil {
			return false, err
		}
		gave = gave || g
	}
	return gave, nil
}

func (p *part) fillOne(msg protoreflect.Message, r *rowData, index []int) (bool, error) {
	v, ok, gave, err := p.make(msg.NewField, r, index)
	if err != nil || !ok {
		return false, err
	}
	if oneof := p.fd.ContainingOneof(); oneof != nil && msg.WhichOneof(oneof) != nil {
		return false, &columnError{err: errors.New("the row has values for two alternatives: " +
			string(msg.WhichOneof(oneof).Name()) + " and " + string(p.fd.Name()))}
	}
	msg.Set(p.fd, v)
	return gave, nil
}

func (p *part) fillList(msg protoreflect.Message, r *rowData, index []int) (bool, error) {
	n, err := p.length(r, index)
	if err != nil {
		return false, err
	}
	gave := false
	inner := append(slices.Clip(index), 0)
	for i := range n {
		inner[len(index)] = i
		element := func(fd protoreflect.FieldDescriptor) protoreflect.Value {
			return msg.Mutable(fd).List().NewElement()
		}
		v, ok, g, err := p.make(element, r, inner)
		if err != nil {
			return false, err
		}
		if ok {
			msg.Mutable(p.fd).List().Append(v)
		}
		gave = gave || g
	}
	return gave, nil
}

// make is one value of the field. fresh gives an empty message to fill.
func (p *part) make(fresh func(protoreflect.FieldDescriptor) protoreflect.Value, r *rowData, index []int) (v protoreflect.Value, ok, gave bool, err error) {
	if p.leaf != nil {
		return p.leaf.value(p.fd, r, index)
	}
	v = fresh(p.fd)
	gave, err = p.sub.fill(v.Message(), r, index)
	if err != nil {
		return v, false, false, err
	}
	constant := len(p.columns) == 0
	return v, gave || constant, gave, nil
}

// length is how many elements the row has for the list: as many as the longest list of its columns at this depth.
func (p *part) length(r *rowData, index []int) (int, error) {
	n, lists := 0, 0
	for _, c := range p.columns {
		if c.brackets <= p.depth {
			continue
		}
		lists++
		m, err := c.length(r.cells, index)
		if err != nil {
			return 0, &columnError{c.name, err}
		}
		n = max(n, m)
	}
	if lists > 0 {
		return n, nil
	}
	if p.leaf != nil && p.leaf.constants != nil {
		return len(p.leaf.constants), nil
	}
	return 1, nil
}
