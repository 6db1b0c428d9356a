package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// grow fills a message at random: mostly with values that rules allow, often enough with some that they do not.
func grow(r *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		skip := depth > 0 && r.IntN(10) < 4 || field.Message() != nil && depth > 3
		oneof := field.ContainingOneof()
		if oneof != nil {
			skip = m.WhichOneof(oneof) != nil || r.IntN(oneof.Fields().Len()) != 0 && field != oneof.Fields().Get(oneof.Fields().Len()-1)
		}
		if skip {
			continue
		}
		if !field.IsList() {
			m.Set(field, grown(r, field, func() protoreflect.Value { return m.NewField(field) }, depth))
			continue
		}
		list := m.Mutable(field).List()
		for range r.IntN(2) {
			list.Append(grown(r, field, list.NewElement, depth))
		}
	}
}

func grown(r *rand.Rand, field protoreflect.FieldDescriptor, fresh func() protoreflect.Value, depth int) protoreflect.Value {
	odd := r.IntN(40) == 0
	switch field.Kind() {
	case protoreflect.MessageKind:
		v := fresh()
		grow(r, v.Message(), depth+1)
		return v
	case protoreflect.StringKind:
		if odd {
			return protoreflect.ValueOfString(strings.Repeat("é", []int{0, 1, 150, 9000}[r.IntN(4)]))
		}
		return protoreflect.ValueOfString(strings.Repeat("x", 1+r.IntN(2)))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, []int{16, 32, 32, 7}[r.IntN(4)]))
	case protoreflect.EnumKind:
		if odd {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber([]int32{0, 999, -1}[r.IntN(3)]))
		}
		values := field.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(1 + r.IntN(values.Len()-1)).Number())
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(!odd)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(r.Uint32N(10) * uint32(1+r.IntN(2)*1000))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(r.Uint64N(10))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(r.Int64N(10))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(r.Int32N(10))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.Float64()*180 - 90)
	}
	panic(fmt.Sprintf("a field of kind %s: teach this test to fill it", field.Kind()))
}

func TestWhatIsSurelySoundIsSoundForProtovalidate(t *testing.T) {
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	fast, err := newSoundness(requests()...)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range fast.plans {
		if p.unknown && strings.HasPrefix(string(name), "entente.v1.") {
			t.Errorf("%s has a rule that the quick check does not know: it is always asked twice", name)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	sound, broken, differ := 0, 0, 0
	for range 4_000 {
		for _, empty := range []proto.Message{&ententev1.Record{}, &ententev1.Audience{}, &ententev1.PullRequest{}, &ententev1.Person{}} {
			m := empty.ProtoReflect().New()
			grow(r, m, 0)
			quick, err := fast.sure(m.Interface()), validator.Validate(m.Interface())
			if quick && err != nil {
				t.Fatalf("surely sound, and refused: %v", err)
			}
			switch {
			case quick:
				sound++
			case err != nil:
				broken++
			default:
				differ++
			}
		}
	}
	t.Logf("%d sound, %d broken, %d asked twice", sound, broken, differ)
	if sound < 1000 || broken < 1000 || differ > sound/100 {
		t.Error("the messages do not exercise both answers")
	}
}

func BenchmarkSoundness(b *testing.B) {
	validator, err := protovalidate.New()
	if err != nil {
		b.Fatal(err)
	}
	fast, err := newSoundness(requests()...)
	if err != nil {
		b.Fatal(err)
	}
	record := &ententev1.Record{ // as national systems push them: most fields are not set
		Envelope: &ententev1.Envelope{
			ProviderReference: "P-1", Version: 1, RecordedAt: &timestamppb.Timestamp{Seconds: 1}, RetainUntil: &timestamppb.Timestamp{Seconds: 2},
			Purpose: 3, Assertion: 1, Evaluation: &ententev1.Evaluation{Scheme: 1, SourceCode: "A", InformationCode: "1"},
			Handling: &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{1}},
		},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Status: 1, Sex: 1, Names: []*ententev1.PersonName{{Family: "F", Given: "G"}}, Nationalities: []string{"XA"},
			DatesOfBirth: []*ententev1.PartialDate{{Year: 1980, Month: 1, Day: 1, Precision: 1}},
			Documents:    []*ententev1.IdentityDocument{{Type: 1, Number: "N", IssuingCountry: "XA"}},
		}}},
	}
	if !fast.sure(record) {
		b.Fatal("the record is not sound")
	}
	b.Run("quick", func(b *testing.B) {
		for b.Loop() {
			fast.sure(record)
		}
	})
	b.Run("protovalidate", func(b *testing.B) {
		for b.Loop() {
			_ = validator.Validate(record)
		}
	})
}
