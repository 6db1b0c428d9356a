package cli

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// difference is what a form lacks of a whole record. Paths are those of a treatment: relative to the record, without places in
// lists.
type difference struct {
	leftOut []string
	changed []string // path, value at home and value in the form
}

// compareForm says what a form lacks. What never leaves, since a released form has no field for it, is not told.
func compareForm(whole *ententev1.Record, form *ententev1.ReleasedRecord) difference {
	var d difference
	d.compare("", whole.ProtoReflect(), form.ProtoReflect())
	return d
}

func (d *difference) text() string {
	switch {
	case len(d.leftOut) > 0:
		return "without " + strings.Join(d.leftOut, ", ")
	case len(d.changed) > 0:
		return "with other values:"
	default:
		return "whole"
	}
}

func (d *difference) compare(path string, whole, form protoreflect.Message) {
	for i := range whole.Descriptor().Fields().Len() {
		field := whole.Descriptor().Fields().Get(i)
		other := form.Descriptor().Fields().ByName(field.Name())
		if !whole.Has(field) || other == nil {
			continue
		}
		name := under(path, field)
		if !form.Has(other) {
			d.lacks(name)
			continue
		}
		if field.IsList() {
			d.compareLists(name, field, whole.Get(field).List(), form.Get(other).List())
			continue
		}
		d.compareValues(name, field, whole.Get(field), form.Get(other))
	}
}

func (d *difference) compareLists(name string, field protoreflect.FieldDescriptor, whole, form protoreflect.List) {
	if form.Len() < whole.Len() {
		d.changed = append(d.changed, fmt.Sprintf("%s: %d of %d values", name, form.Len(), whole.Len()))
		return
	}
	for i := range whole.Len() {
		d.compareValues(name, field, whole.Get(i), form.Get(i))
	}
}

func (d *difference) compareValues(name string, field protoreflect.FieldDescriptor, whole, form protoreflect.Value) {
	if field.Kind() == protoreflect.MessageKind && !isLeaf(field.Message()) {
		d.compare(name, whole.Message(), form.Message())
		return
	}
	if whole.Equal(form) || isReference(field) { // a reference of home is an id in the form
		return
	}
	d.changed = append(d.changed, name+": "+valueText(field, whole)+" → "+valueText(field, form))
}

// lacks notes a field once, in however many elements of a list it is missing.
func (d *difference) lacks(name string) {
	if !slices.Contains(d.leftOut, name) {
		d.leftOut = append(d.leftOut, name)
	}
}

func under(path string, field protoreflect.FieldDescriptor) string {
	if path == "" {
		return string(field.Name())
	}
	return path + "." + string(field.Name())
}

// fieldRows are all values of a message, each with its path.
func fieldRows(path string, m protoreflect.Message) [][]string {
	var rows [][]string
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		if !m.Has(field) || field.IsMap() {
			continue
		}
		values := []protoreflect.Value{m.Get(field)}
		if field.IsList() {
			values = nil
			for j := range m.Get(field).List().Len() {
				values = append(values, m.Get(field).List().Get(j))
			}
		}
		for _, value := range values {
			if field.Kind() == protoreflect.MessageKind && !isLeaf(field.Message()) {
				rows = append(rows, fieldRows(under(path, field), value.Message())...)
				continue
			}
			rows = append(rows, []string{under(path, field), valueText(field, value)})
		}
	}
	return rows
}

func isReference(field protoreflect.FieldDescriptor) bool {
	return field.Kind() == protoreflect.MessageKind && field.Message().FullName() == proto.MessageName(&ententev1.RecordRef{})
}

// isLeaf is true for messages that people read as one value.
func isLeaf(message protoreflect.MessageDescriptor) bool {
	switch message.FullName() {
	case proto.MessageName(&ententev1.PartialDate{}), proto.MessageName(&timestamppb.Timestamp{}), proto.MessageName(&ententev1.RecordRef{}):
		return true
	}
	return false
}

func valueText(field protoreflect.FieldDescriptor, value protoreflect.Value) string {
	switch field.Kind() {
	case protoreflect.EnumKind:
		return codeText(field.Enum(), value.Enum())
	case protoreflect.BytesKind:
		return hex.EncodeToString(value.Bytes())
	case protoreflect.MessageKind:
		switch m := value.Message().Interface().(type) {
		case *ententev1.PartialDate:
			return dateText(m)
		case *timestamppb.Timestamp:
			return timeText(m)
		case *ententev1.RecordRef:
			return refText(m)
		}
	}
	return value.String()
}

// codeText is what short gives, for a code that is known by its list alone.
func codeText(list protoreflect.EnumDescriptor, number protoreflect.EnumNumber) string {
	known := list.Values().ByNumber(number)
	if known == nil {
		return fmt.Sprintf("code-%d", number)
	}
	return display(strings.TrimPrefix(string(known.Name()), enumPrefix(list)))
}
