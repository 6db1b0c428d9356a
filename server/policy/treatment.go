package policy

import (
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// treatableConditions is what of an envelope may be left out; times of it may be coarsened instead. All other conditions are
// what a reader must be told, or stay at home anyway.
func treatableConditions() []string {
	return []string{"collected_at", "valid_from", "valid_to", "legal_basis"}
}

// kept is a field that is neither left out nor made coarser, although the contract does without it.
type kept struct {
	field  string // message and field, in the words of the contract
	reason string // goes on after "because it"
}

// keptFields is the table of fields of a body that are not treated. Fields that the contract requires, yes and no, references
// to records, and grades are not in it: they are kept wherever they stand.
func keptFields() []kept {
	const (
		meaning  = "tells how to read what stands beside it"
		together = "is one part of the reference to a file, which is left out as a whole"
		stage    = "is needed at the lesson's stage"
	)
	return []kept{
		{"PersonName.type", meaning},
		{"PersonName.script", meaning},
		{"TextName.type", meaning},
		{"TextName.script", meaning},
		{"CommunicationMeans.observed_at", "is the time without which an IP address says nothing"},
		{"MediaRef.sha256", together},
		{"MediaRef.perceptual_hash", together},
		{"MediaRef.perceptual_hash_algorithm", together},
		{"MediaRef.perceptual_hash_quality", together},
		{"Tie.special_category", "never leaves home"},
		{"Role.functional_role", "is what the record is about"},
		{"Role.positional_role", "is what the record is about"},
		{"Lesson.discussion", stage},
		{"Lesson.conclusion", stage},
		{"Lesson.recommendation", stage},
		{"Lesson.remedial_actions", stage},
		{"Lesson.validations", stage},
	}
}

// wholeValues are the messages into which no path goes: half of one would be another value, or none.
func wholeValues() []protoreflect.Name {
	return []protoreflect.Name{"PartialDate", "Timestamp", "Money", "Quantity", "GeoPoint", "Evaluation", "HandlingConditions",
		"Classification", "SpecialCategoryBasis", "RecordRef"}
}

// keptValues are the messages that are kept wherever they stand.
func keptValues() []protoreflect.Name {
	return []protoreflect.Name{"Evaluation", "RecordRef"}
}

// CheckTreatment says what is wrong with a treatment of records of a kind: paths that name no field of such a record, that
// name what a reader must be told, and values that cannot be made coarser. Fields are relative to the treatment.
func CheckTreatment(t *ententev1.Treatment, kind ententev1.RecordKind) []*ententev1.FieldViolation {
	f := &findings{}
	if t == nil {
		return f.list
	}
	f.when(len(t.ProtoReflect().GetUnknown()) > 0, "treatment", "holds a field that this version does not know")
	for i, path := range t.GetLeaveOut() {
		reason := refusal(path, kind, false)
		f.when(reason != "", indexed("leave_out", i), reason)
	}
	for i, path := range t.GetCoarsen() {
		reason := refusal(path, kind, true)
		f.when(reason != "", indexed("coarsen", i), reason)
	}
	return f.list
}

// refusal says why a path of a treatment is refused; empty: it is not.
func refusal(path string, kind ententev1.RecordKind, coarsen bool) string {
	fields := resolve(path, kind)
	if fields == nil {
		return "names no field of a record of this kind"
	}
	last := fields[len(fields)-1]
	for _, field := range fields[:len(fields)-1] {
		if slices.Contains(wholeValues(), field.Message().Name()) {
			return "goes into a value that is treated as a whole"
		}
	}
	if fields[0].Name() == "envelope" && (len(fields) < 2 || !slices.Contains(treatableConditions(), string(fields[1].Name()))) {
		return "is not treated, because it is a condition that readers must be told, or never leaves home"
	}
	if reason := keptBecause(last); reason != "" {
		return "is not treated, because it " + reason
	}
	if !coarsen {
		return ""
	}
	if coarseningOf(last) == nil || last.Message().Name() == "Timestamp" && fields[0].Name() != "envelope" {
		return "cannot be made coarser"
	}
	return ""
}

// resolve finds the fields that a path goes through; nil where it names none of a record of the kind.
func resolve(path string, kind ententev1.RecordKind) []protoreflect.FieldDescriptor {
	var fields []protoreflect.FieldDescriptor
	message := (&ententev1.Record{}).ProtoReflect().Descriptor()
	for name := range strings.SplitSeq(path, ".") {
		if message == nil {
			return nil
		}
		field := message.Fields().ByName(protoreflect.Name(name))
		if field == nil || message.Name() == "Body" && ententev1.RecordKind(field.Number()) != kind {
			return nil
		}
		fields = append(fields, field)
		message = field.Message()
	}
	return fields
}

// keptBecause says why a field is always kept; empty: it is not.
func keptBecause(field protoreflect.FieldDescriptor) string {
	if required(field) {
		return "is required by the contract"
	}
	if field.Message() != nil && slices.Contains(keptValues(), field.Message().Name()) {
		return "grades what is said, or names another record"
	}
	if field.Kind() == protoreflect.BoolKind {
		return "says yes or no: left out it would say no"
	}
	name := string(field.Parent().Name()) + "." + string(field.Name())
	for _, row := range keptFields() {
		if row.field == name {
			return row.reason
		}
	}
	return ""
}

// required says whether a message breaks the field rules of the contract without the field. It reads the rules themselves, so
// that a field that is new in the contract is right here by itself.
func required(field protoreflect.FieldDescriptor) bool {
	oneof := field.ContainingOneof()
	if oneof != nil {
		rules, _ := proto.GetExtension(oneof.Options(), validate.E_Oneof).(*validate.OneofRules)
		if rules.GetRequired() {
			return true
		}
	}
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	if rules.GetIgnore() == validate.Ignore_IGNORE_IF_ZERO_VALUE {
		return false
	}
	return rules.GetRequired() || rules.GetString().GetMinLen() > 0 || rules.GetString().GetMinBytes() > 0 ||
		rules.GetBytes().HasLen() || rules.GetBool().GetConst() || rules.GetRepeated().GetMinItems() > 0 ||
		slices.Contains(rules.GetEnum().GetNotIn(), 0) || rules.GetUint64().GetGte() > 0
}

// Treat answers a record as a treatment lets it leave. The record itself is not changed. The answer is nil where the
// treatment is refused for the record's kind: what is not understood is not left out, so nothing may leave.
func Treat(r *ententev1.Record, t *ententev1.Treatment) *ententev1.Record {
	if r == nil || len(CheckTreatment(t, kindOf(r.GetBody()))) > 0 {
		return nil
	}
	treated := proto.CloneOf(r)
	for _, path := range t.GetLeaveOut() {
		change(treated.ProtoReflect(), strings.Split(path, "."), leaveOut)
	}
	for _, path := range t.GetCoarsen() {
		change(treated.ProtoReflect(), strings.Split(path, "."), coarsen)
	}
	return treated
}

// change does something with the field that a path names, in all elements of the lists on the way. A message of which nothing
// remains goes too, unless the contract requires it: that there were three of something is also told by empty ones.
func change(m protoreflect.Message, path []string, do func(protoreflect.Message, protoreflect.FieldDescriptor)) {
	field := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if !m.Has(field) {
		return
	}
	if len(path) == 1 {
		do(m, field)
		return
	}
	remains := func(inner protoreflect.Message) bool {
		change(inner, path[1:], do)
		return !empty(inner)
	}
	if field.IsList() {
		keepWhere(m.Mutable(field).List(), remains)
		return
	}
	if !remains(m.Mutable(field).Message()) && !required(field) {
		m.Clear(field)
	}
}

func empty(m protoreflect.Message) bool {
	return proto.Size(m.Interface()) == 0
}

// keepWhere keeps the elements of a list of messages for which remains is true, in their order.
func keepWhere(list protoreflect.List, remains func(protoreflect.Message) bool) {
	n := 0
	for i := range list.Len() {
		element := list.Get(i)
		if remains(element.Message()) {
			list.Set(n, element)
			n++
		}
	}
	list.Truncate(n)
}

func leaveOut(m protoreflect.Message, field protoreflect.FieldDescriptor) {
	m.Clear(field)
}

func coarsen(m protoreflect.Message, field protoreflect.FieldDescriptor) {
	by := coarseningOf(field)
	remains := func(value protoreflect.Message) bool { return by(value.Interface(), field) }
	if field.IsList() {
		keepWhere(m.Mutable(field).List(), remains)
		return
	}
	if !remains(m.Mutable(field).Message()) {
		m.Clear(field)
	}
}
