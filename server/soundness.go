package server

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// soundness says quickly that a message keeps all field rules of the contract. It is read from the same rules as
// protovalidate's checks, knows the few kinds of rule that records use, and looks at what is set only: at a third of
// protovalidate's cost, which is a good part of what taking a record costs.
//
// It errs to one side only: where it says no, or meets a rule that it does not know, protovalidate is asked, and the
// words of a refusal always are protovalidate's. A test holds that it never says yes where protovalidate says no.
type soundness struct {
	plans map[protoreflect.FullName]*plan
}

// plan is what is checked of one kind of message.
type plan struct {
	done    bool                           // all rules are read
	unknown bool                           // has a rule that is not known here: never surely sound
	needed  []protoreflect.FieldDescriptor // must be set, or their zero value breaks a rule
	oneofs  []protoreflect.OneofDescriptor // must be set
	fields  []fieldPlan                    // by index of the field
}

// fieldPlan is what is checked of a field that is set.
type fieldPlan struct {
	value    func(protoreflect.Value) bool // of the value, or of each element; nil: anything
	message  *plan                         // of a message, or of each element that is one
	maxItems uint64                        // of a list; 0: any number
	minItems uint64
}

func newSoundness(messages ...proto.Message) (*soundness, error) {
	s := &soundness{plans: make(map[protoreflect.FullName]*plan)}
	for _, m := range messages {
		_, err := s.plan(m.ProtoReflect().Descriptor())
		if err != nil {
			return nil, fmt.Errorf("read the field rules of %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
		}
	}
	return s, nil
}

// sure says whether the message surely keeps all rules.
func (s *soundness) sure(m proto.Message) bool {
	reflected := m.ProtoReflect()
	p := s.plans[reflected.Descriptor().FullName()]
	return p != nil && p.sure(reflected)
}

func (p *plan) sure(m protoreflect.Message) bool {
	if p.unknown {
		return false
	}
	for _, field := range p.needed {
		if !m.Has(field) {
			return false
		}
	}
	for _, oneof := range p.oneofs {
		if m.WhichOneof(oneof) == nil {
			return false
		}
	}
	sound := true
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		f := &p.fields[field.Index()]
		if field.IsList() {
			sound = f.list(v.List())
		} else {
			sound = f.one(v)
		}
		return sound
	})
	return sound
}

func (f *fieldPlan) one(v protoreflect.Value) bool {
	if f.value != nil && !f.value(v) {
		return false
	}
	return f.message == nil || f.message.sure(v.Message())
}

func (f *fieldPlan) list(list protoreflect.List) bool {
	n := uint64(list.Len())
	if n < f.minItems || f.maxItems > 0 && n > f.maxItems {
		return false
	}
	if f.value == nil && f.message == nil {
		return true
	}
	for i := range list.Len() {
		if !f.one(list.Get(i)) {
			return false
		}
	}
	return true
}

// plan reads the rules of a kind of message, and of those inside it, once.
func (s *soundness) plan(d protoreflect.MessageDescriptor) (*plan, error) {
	known, ok := s.plans[d.FullName()]
	if ok {
		return known, nil
	}
	p := &plan{fields: make([]fieldPlan, d.Fields().Len())}
	s.plans[d.FullName()] = p
	rules, err := protovalidate.ResolveMessageRules(d)
	if err != nil {
		return nil, err
	}
	p.unknown = rules != nil && proto.Size(rules) > 0
	for i := range d.Oneofs().Len() {
		rules, err := protovalidate.ResolveOneofRules(d.Oneofs().Get(i))
		if err != nil {
			return nil, err
		}
		if rules.GetRequired() {
			p.oneofs = append(p.oneofs, d.Oneofs().Get(i))
		}
	}
	for i := range d.Fields().Len() {
		err := s.field(p, d.Fields().Get(i))
		if err != nil {
			return nil, err
		}
	}
	p.done = true
	return p, nil
}

func (s *soundness) field(p *plan, field protoreflect.FieldDescriptor) error {
	rules, err := protovalidate.ResolveFieldRules(field)
	if err != nil {
		return err
	}
	f := &p.fields[field.Index()]
	if field.IsMap() {
		p.unknown = true
		return nil
	}
	if field.Message() != nil {
		f.message, err = s.plan(field.Message())
		if err != nil {
			return err
		}
		if field.Message().Fields().Len() > 0 && f.message.free() {
			f.message = nil // a time, say
		}
	}
	if rules == nil {
		return nil
	}
	ruled, ok := read(rules, field, f)
	if !ok {
		p.unknown = true
		return nil
	}
	ignoresZero := rules.GetIgnore() == validate.Ignore_IGNORE_IF_ZERO_VALUE
	zeroBreaks := !field.HasPresence() && !field.IsList() && !ignoresZero && ruled && !f.value(field.Default())
	if rules.GetRequired() || zeroBreaks || f.minItems > 0 {
		p.needed = append(p.needed, field)
	}
	return nil
}

// free says whether nothing is ruled in a kind of message, as far as it was read.
func (p *plan) free() bool {
	return p.done && !p.unknown && len(p.needed)+len(p.oneofs) == 0 && !slices.ContainsFunc(p.fields, func(f fieldPlan) bool {
		return f.value != nil || f.message != nil || f.maxItems > 0
	})
}

// read turns the rules of a field into its plan. It answers whether there is a rule on values, and false where a rule
// is not known here.
func read(rules *validate.FieldRules, field protoreflect.FieldDescriptor, f *fieldPlan) (ruled, known bool) {
	if len(rules.GetCel()) > 0 || len(rules.GetCelExpression()) > 0 {
		return false, false
	}
	switch rules.GetIgnore() {
	case validate.Ignore_IGNORE_UNSPECIFIED, validate.Ignore_IGNORE_IF_ZERO_VALUE:
	default:
		return false, false
	}
	repeated := rules.GetRepeated()
	if repeated != nil {
		f.maxItems, f.minItems = repeated.GetMaxItems(), repeated.GetMinItems()
		items := repeated.GetItems()
		if !only(repeated, "max_items", "min_items", "items") {
			return false, false
		}
		if items == nil {
			return false, true
		}
		rules = items
		if rules.GetRequired() || len(rules.GetCel()) > 0 || rules.GetIgnore() != validate.Ignore_IGNORE_UNSPECIFIED {
			return false, false
		}
	}
	f.value, known = values(rules, field)
	return f.value != nil, known
}

// values is the check of single values by the rules of their type; nil where there are none.
func values(rules *validate.FieldRules, field protoreflect.FieldDescriptor) (func(protoreflect.Value) bool, bool) {
	switch r := rules.GetType().(type) {
	case nil:
		return nil, true
	case *validate.FieldRules_String_:
		return texts(r.String_), only(r.String_, "min_len", "max_len", "min_bytes", "max_bytes")
	case *validate.FieldRules_Enum:
		return listed(r.Enum, field.Enum()), only(r.Enum, "defined_only", "not_in")
	case *validate.FieldRules_Bytes:
		return func(v protoreflect.Value) bool {
			n := uint64(len(v.Bytes()))
			return (!r.Bytes.HasLen() || n == r.Bytes.GetLen()) && (!r.Bytes.HasMaxLen() || n <= r.Bytes.GetMaxLen())
		}, only(r.Bytes, "len", "max_len")
	case *validate.FieldRules_Uint32:
		return func(v protoreflect.Value) bool { return v.Uint() <= uint64(r.Uint32.GetLte()) }, only(r.Uint32, "lte") && r.Uint32.HasLte()
	case *validate.FieldRules_Uint64:
		return func(v protoreflect.Value) bool { return v.Uint() >= r.Uint64.GetGte() }, only(r.Uint64, "gte") && r.Uint64.HasGte()
	case *validate.FieldRules_Double:
		return func(v protoreflect.Value) bool {
			return v.Float() >= r.Double.GetGte() && v.Float() <= r.Double.GetLte() // false for what is no number
		}, only(r.Double, "gte", "lte") && r.Double.HasGte() && r.Double.HasLte() && r.Double.GetGte() <= r.Double.GetLte()
	case *validate.FieldRules_Bool:
		return func(v protoreflect.Value) bool { return v.Bool() == r.Bool.GetConst() }, only(r.Bool, "const") && r.Bool.HasConst()
	default:
		return nil, false
	}
}

func texts(r *validate.StringRules) func(protoreflect.Value) bool {
	limit := func(has bool, limit uint64) uint64 {
		if has {
			return limit
		}
		return math.MaxUint64
	}
	maxBytes, maximum := limit(r.HasMaxBytes(), r.GetMaxBytes()), limit(r.HasMaxLen(), r.GetMaxLen())
	minBytes, minimum := r.GetMinBytes(), r.GetMinLen()
	return func(v protoreflect.Value) bool {
		text := v.String()
		n := uint64(len(text))
		if n > maxBytes || n < minBytes {
			return false
		}
		if n > maximum && uint64(utf8.RuneCountInString(text)) > maximum {
			return false
		}
		return minimum <= 1 && n >= minimum || uint64(utf8.RuneCountInString(text)) >= minimum
	}
}

func listed(r *validate.EnumRules, enum protoreflect.EnumDescriptor) func(protoreflect.Value) bool {
	allowed := func(n protoreflect.EnumNumber) bool {
		defined := enum.Values().ByNumber(n) != nil
		return !slices.Contains(r.GetNotIn(), int32(n)) && (defined || !r.GetDefinedOnly())
	}
	var small uint64 // the answers for 0 to 63, where most codes are
	for n := range 64 {
		if allowed(protoreflect.EnumNumber(n)) {
			small |= 1 << n
		}
	}
	return func(v protoreflect.Value) bool {
		n := v.Enum()
		if n >= 0 && n < 64 {
			return small&(1<<n) != 0
		}
		return allowed(n)
	}
}

// only says whether nothing is set in the rules but these fields.
func only(rules proto.Message, fields ...protoreflect.Name) bool {
	m := rules.ProtoReflect()
	others := len(m.GetUnknown()) > 0
	m.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		others = others || !slices.Contains(fields, field.Name())
		return !others
	})
	return !others
}
