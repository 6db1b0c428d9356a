package policy

import (
	"fmt"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// filler fills every field of a message, so that a rule cannot forget one. What it makes is checked to be sound.
type filler struct{ references int }

// fullRecords is a record of each kind in which every field is set; of a means of transport one for each sub-kind.
func fullRecords(t testing.TB) []*ententev1.Record {
	t.Helper()
	kinds := (&ententev1.Body{}).ProtoReflect().Descriptor().Fields()
	var records []*ententev1.Record
	for i := range kinds.Len() {
		for choice := range choicesOf(kinds.Get(i).Message()) {
			r := &ententev1.Record{Envelope: &ententev1.Envelope{}, Body: &ententev1.Body{}}
			fill := &filler{}
			fill.message(r.Envelope.ProtoReflect(), 0, 0)
			body := r.Body.ProtoReflect()
			fill.message(body.Mutable(kinds.Get(i)).Message(), 0, choice)
			r.CrimeAreas = []ententev1.CrimeArea{1, 2}
			mend(r)
			err := protovalidate.Validate(r)
			if err != nil {
				t.Fatalf("%s: %v", kinds.Get(i).Name(), err)
			}
			if violations := append(CheckRecord(r), CheckRelease(r)...); len(violations) > 0 {
				t.Fatalf("%s: %v", kinds.Get(i).Name(), violations)
			}
			records = append(records, r)
		}
	}
	return records
}

// choicesOf is how many choices the one choice of a message has.
func choicesOf(m protoreflect.MessageDescriptor) int {
	if m.Oneofs().Len() == 0 {
		return 1
	}
	return m.Oneofs().Get(0).Fields().Len()
}

// mend sets what follows from other fields.
func mend(r *ententev1.Record) {
	at := func(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }
	e := r.GetEnvelope()
	e.ProviderMember, e.ProviderReference = "XA", "P-1"
	e.RecordedAt, e.CollectedAt, e.ValidFrom, e.ValidTo = at(1_790_000_000), at(1_780_000_000), at(1_770_000_000), at(1_775_000_000)
	e.ReviewDue, e.RetainUntil = at(1_850_000_000), at(1_890_000_000)
	if lesson := r.GetBody().GetLesson(); lesson != nil {
		lesson.Stage = ententev1.LessonStage_LESSON_STAGE_LESSON_LEARNED
	}
	for _, tie := range r.GetBody().GetAssociation().GetTies() {
		if tie.GetBasis() != ententev1.TieBasis_TIE_BASIS_KINSHIP {
			tie.Kinship = 0
		}
	}
}

func (f *filler) message(m protoreflect.Message, n, choice int) {
	switch v := m.Interface().(type) {
	case *ententev1.PartialDate:
		v.Year, v.Month, v.Day, v.Precision = uint32(1980+n), 5, 6, ententev1.DatePrecision_DATE_PRECISION_DAY
		return
	case *ententev1.Evaluation:
		v.Scheme, v.SourceCode, v.InformationCode = scheme4x4, "B", "2"
		return
	case *ententev1.RecordRef:
		f.references++
		v.Target = &ententev1.RecordRef_ProviderReference{ProviderReference: fmt.Sprintf("R-%d", f.references)}
		return
	case *ententev1.HandlingConditions:
		v.Codes, v.Text = []ententev1.HandlingCode{1, 2, 3, 4}, "text"
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.ContainingOneof() != nil && field.ContainingOneof().Fields().Get(choice) != field {
			continue
		}
		if !field.IsList() {
			f.field(m, field, n)
			continue
		}
		list := m.Mutable(field).List()
		for element := range 2 {
			if field.Kind() == protoreflect.MessageKind {
				f.message(list.AppendMutable().Message(), element, 0)
			} else {
				list.Append(scalar(field, element))
			}
		}
	}
}

func (f *filler) field(m protoreflect.Message, field protoreflect.FieldDescriptor, n int) {
	if field.Kind() == protoreflect.MessageKind {
		f.message(m.Mutable(field).Message(), n, 0)
		return
	}
	m.Set(field, scalar(field, n))
}

// scalar is a sound value of a field; n tells the elements of a list apart.
func scalar(field protoreflect.FieldDescriptor, n int) protoreflect.Value {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	switch field.Kind() {
	case protoreflect.StringKind:
		limit := int(rules.GetString().GetMaxLen())
		if field.IsList() {
			limit = int(rules.GetRepeated().GetItems().GetString().GetMaxLen())
		}
		text := fmt.Sprintf("X%d and more", n)
		if limit == 0 {
			limit = len(text) // bounded otherwise
		}
		return protoreflect.ValueOfString(text[:min(len(text), limit)])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(strings.Repeat("h", 32)))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(field.Enum().Values().Get(1 + n%(field.Enum().Values().Len()-1)).Number())
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(7 + n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(7)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(123_456)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(0)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(12.34567)
	default:
		panic("no value for " + field.Kind().String())
	}
}

func TestFullRecordsHaveAllKindsAndFields(t *testing.T) {
	seen := map[ententev1.RecordKind]bool{}
	for _, r := range fullRecords(t) {
		seen[LabelOfRecord(r).Kind] = true
	}
	if len(seen) != int(lastKind) {
		t.Errorf("%d kinds", len(seen))
	}
}
