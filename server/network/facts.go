package network

import (
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// factsOf writes what a record says as facts, each once, in order of field and value. Every field of the body that is
// set gives one fact a value, by the field's name in the singular; so a field that is new in the contract needs nothing
// here but its name (facts_names.go). The ends and the kind of an association are no facts of it: they say which it is.
func factsOf(released *ententev1.ReleasedRecord) []fact {
	body := released.GetBody().ProtoReflect()
	content := body.WhichOneof(body.Descriptor().Oneofs().ByName("kind"))
	facts := messageFacts(nil, body.Get(content).Message())
	for _, area := range released.GetCrimeAreas() {
		facts = append(facts, fact{"crime_area", enumText(area.Descriptor(), area.Number())})
	}
	slices.SortFunc(facts, fact.compare)
	return slices.Compact(facts)
}

func (f fact) compare(other fact) int {
	order := strings.Compare(f.field, other.field)
	if order != 0 {
		return order
	}
	return strings.Compare(f.value, other.value)
}

// messageFacts appends a fact for each value of each field that is set.
func messageFacts(facts []fact, content protoreflect.Message) []fact {
	names := namesItself(content)
	fields := content.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !content.Has(field) || slices.Contains(names, field.Name()) {
			continue
		}
		value := content.Get(field)
		if !field.IsList() {
			facts = valueFacts(facts, field, value)
			continue
		}
		list := value.List()
		for n := range list.Len() {
			facts = valueFacts(facts, field, list.Get(n))
		}
	}
	return facts
}

// namesItself are the fields that say which association or role it is, rather than something of it.
func namesItself(content protoreflect.Message) []protoreflect.Name {
	switch content.Interface().(type) {
	case *ententev1.Association:
		return []protoreflect.Name{"from", "to", "kind"}
	case *ententev1.Role:
		return []protoreflect.Name{"person", "group", "functional_role", "positional_role"}
	}
	return nil
}

// valueFacts appends the facts of one value: mostly one.
func valueFacts(facts []fact, field protoreflect.FieldDescriptor, value protoreflect.Value) []fact {
	if field.Kind() == protoreflect.MessageKind {
		switch content := value.Message().Interface().(type) {
		case *ententev1.Vehicle, *ententev1.Vessel, *ententev1.Aircraft:
			// They only group the fields of a means of transport.
			return messageFacts(facts, value.Message())
		case *ententev1.PersonName:
			facts = appendFact(facts, "original_name", content.GetFullOriginal())
		case *ententev1.TextName:
			facts = appendFact(facts, "original_name", content.GetOriginal())
		}
	}
	return appendFact(facts, factName(field), valueText(field, value))
}

// maxFactText is how many characters of a value a fact has. The whole text is in the released record; a view is for
// comparing, and one record must not fill the answer.
const maxFactText = 500

func appendFact(facts []fact, field, value string) []fact {
	value = strings.TrimSpace(value)
	if value == "" {
		return facts
	}
	if len(value) > maxFactText {
		runes := []rune(value)
		if len(runes) > maxFactText {
			value = string(runes[:maxFactText]) + " …"
		}
	}
	return append(facts, fact{field, value})
}
