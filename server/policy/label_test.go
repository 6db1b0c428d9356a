package policy

import (
	"math"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// released is the released form of a record, as a node makes it: only what both forms have in common goes over.
func released(r *ententev1.Record) *ententev1.ReleasedRecord {
	e := r.GetEnvelope()
	return &ententev1.ReleasedRecord{
		RecordId: make([]byte, 16), Body: r.GetBody(), CrimeAreas: r.GetCrimeAreas(),
		Envelope: &ententev1.ReleasedEnvelope{
			ProviderMember: "XA", RecordedAt: e.GetRecordedAt(), Purpose: e.GetPurpose(), Evaluation: e.GetEvaluation(),
			Handling: e.GetHandling(), Classification: e.GetClassification(), RetainUntil: e.GetRetainUntil(), Assertion: e.GetAssertion(),
		},
	}
}

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFieldNumbersAreThoseOfTheContract(t *testing.T) {
	tests := []struct {
		message proto.Message
		field   protoreflect.Name
		want    protowire.Number
	}{
		{&ententev1.ReleasedRecord{}, "envelope", fieldReleasedEnvelope},
		{&ententev1.ReleasedRecord{}, "body", fieldReleasedBody},
		{&ententev1.ReleasedEnvelope{}, "purpose", fieldEnvelopePurpose},
		{&ententev1.ReleasedEnvelope{}, "handling", fieldEnvelopeHandling},
		{&ententev1.ReleasedEnvelope{}, "classification", fieldEnvelopeClassification},
		{&ententev1.ReleasedEnvelope{}, "retain_until", fieldEnvelopeRetainUntil},
		{&ententev1.HandlingConditions{}, "codes", fieldHandlingCodes},
		{&ententev1.Classification{}, "level", fieldClassificationLevel},
		{&ententev1.Classification{}, "rank", fieldClassificationRank},
		{&timestamppb.Timestamp{}, "seconds", fieldTimestampSeconds},
		{&timestamppb.Timestamp{}, "nanos", fieldTimestampNanos},
		{&ententev1.Body{}, "person", kindPerson},
		{&ententev1.Body{}, "criminal_group", kindCriminalGroup},
		{&ententev1.Body{}, "association", kindAssociation},
		{&ententev1.Person{}, "status", fieldPersonStatus},
		{&ententev1.Person{}, "minor", fieldPersonMinor},
		{&ententev1.CriminalGroup{}, "tie_bases", fieldGroupTieBases},
		{&ententev1.Association{}, "ties", fieldAssociationTies},
		{&ententev1.Tie{}, "basis", fieldTieBasis},
	}
	for _, test := range tests {
		field := test.message.ProtoReflect().Descriptor().Fields().ByName(test.field)
		if field == nil || field.Number() != test.want {
			t.Errorf("%T.%s: want number %d, got %v", test.message, test.field, test.want, field)
		}
	}
	kinds := (&ententev1.Body{}).ProtoReflect().Descriptor().Fields()
	if kinds.Len() != int(lastKind) || len(ententev1.RecordKind_name) != kinds.Len()+1 {
		t.Errorf("the contract has %d kinds, lastKind is %d", kinds.Len(), lastKind)
	}
	if len(ententev1.HandlingCode_name) != 5 || len(ententev1.ClassificationLevel_name) != 4 {
		t.Error("the contract has other handling codes or levels than this package")
	}
}

func soundLabel() Label {
	return Label{
		Kind: ententev1.RecordKind_RECORD_KIND_PERSON, Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Handling: handlingH0,
		Level: ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_RESTRICTED, Rank: 7,
		Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT, RetainUntil: 1_890_000_000,
	}
}

// labelled is the record of soundLabel.
func labelled() *ententev1.Record {
	r := person()
	r.Envelope.Classification = &ententev1.Classification{Level: 2, Rank: 7, NationalLabel: "n"}
	return r
}

func TestLabel(t *testing.T) {
	is := func(change func(*Label)) Label {
		l := soundLabel()
		change(&l)
		return l
	}
	ties := func(bases ...ententev1.TieBasis) *ententev1.Body {
		a := &ententev1.Association{}
		for _, basis := range bases {
			a.Ties = append(a.Ties, &ententev1.Tie{Basis: basis})
		}
		return &ententev1.Body{Kind: &ententev1.Body_Association{Association: a}}
	}
	group := func(bases ...ententev1.TieBasis) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_CriminalGroup{CriminalGroup: &ententev1.CriminalGroup{TieBases: bases}}}
	}
	thing := func(kind ententev1.RecordKind, special, unknown bool) Label {
		return is(func(l *Label) { l.Kind, l.Status, l.Special, l.Unknown = kind, 0, special, unknown })
	}
	const (
		ethnic      = ententev1.TieBasis_TIE_BASIS_ETHNIC
		prison      = ententev1.TieBasis_TIE_BASIS_PRISON
		association = ententev1.RecordKind_RECORD_KIND_ASSOCIATION
		criminal    = ententev1.RecordKind_RECORD_KIND_CRIMINAL_GROUP
	)
	nothing := func(*ententev1.Record) {}
	tests := []struct {
		name   string
		change func(*ententev1.Record)
		want   Label
	}{
		{"a sound person", nothing, soundLabel()},
		{"a minor", func(r *ententev1.Record) { r.GetBody().GetPerson().Minor = true }, is(func(l *Label) { l.Minor = true })},
		{"a victim", func(r *ententev1.Record) { r.GetBody().GetPerson().Status = 4 }, is(func(l *Label) { l.Status = 4 })},
		{"a person without status counts as an informant", func(r *ententev1.Record) { r.GetBody().GetPerson().Status = 0 },
			is(func(l *Label) { l.Status, l.Unknown = 8, true })},
		{"a person of an unknown status counts as an informant", func(r *ententev1.Record) { r.GetBody().GetPerson().Status = 77 },
			is(func(l *Label) { l.Status, l.Unknown = 8, true })},
		{"no purpose is unknown", func(r *ententev1.Record) { r.Envelope.Purpose = 0 }, is(func(l *Label) { l.Purpose, l.Unknown = 0, true })},
		{"another version's purpose is unknown", func(r *ententev1.Record) { r.Envelope.Purpose = 10 },
			is(func(l *Label) { l.Purpose, l.Unknown = 0, true })},
		{"handling codes add up", func(r *ententev1.Record) { r.Envelope.Handling.Codes = []ententev1.HandlingCode{2, 3, 4} },
			is(func(l *Label) { l.Handling = handlingH1 | handlingH2 | handlingH3 })},
		{"no handling is the strictest", func(r *ententev1.Record) { r.Envelope.Handling = nil },
			is(func(l *Label) { l.Handling, l.Unknown = handlingStrictest, true })},
		{"no handling code is the strictest", func(r *ententev1.Record) { r.Envelope.Handling.Codes = nil },
			is(func(l *Label) { l.Handling, l.Unknown = handlingStrictest, true })},
		{"an unknown handling code is the strictest", func(r *ententev1.Record) { r.Envelope.Handling.Codes = []ententev1.HandlingCode{1, 9} },
			is(func(l *Label) { l.Handling, l.Unknown = handlingStrictest, true })},
		{"no classification is the highest, and known", func(r *ententev1.Record) { r.Envelope.Classification = nil },
			is(func(l *Label) { l.Level, l.Rank = 3, 100 })},
		{"a classification without level is the highest", func(r *ententev1.Record) { r.Envelope.Classification.Level = 0 },
			is(func(l *Label) { l.Level, l.Rank = 3, 100 })},
		{"an unknown level is the highest", func(r *ententev1.Record) { r.Envelope.Classification.Level = 4 },
			is(func(l *Label) { l.Level, l.Rank, l.Unknown = 3, 100, true })},
		{"no retention is over", func(r *ententev1.Record) { r.Envelope.RetainUntil = nil }, is(func(l *Label) { l.RetainUntil, l.Unknown = 0, true })},
		{"a retention that is no time is over", func(r *ententev1.Record) { r.Envelope.RetainUntil.Seconds = math.MaxInt64 },
			is(func(l *Label) { l.RetainUntil, l.Unknown = 0, true })},
		{"a retention with impossible nanoseconds is over", func(r *ententev1.Record) { r.Envelope.RetainUntil.Nanos = 1_000_000_000 },
			is(func(l *Label) { l.RetainUntil, l.Unknown = 0, true })},
		{"no body is unknown throughout", func(r *ententev1.Record) { r.Body = nil }, strictest()},
		{"an empty body is unknown throughout", func(r *ententev1.Record) { r.Body = &ententev1.Body{} }, strictest()},
		{"a biometric is special", func(r *ententev1.Record) {
			r.Body = &ententev1.Body{Kind: &ententev1.Body_Biometric{Biometric: &ententev1.Biometric{}}}
		}, thing(15, true, false)},
		{"a location is not", func(r *ententev1.Record) {
			r.Body = &ententev1.Body{Kind: &ententev1.Body_Location{Location: &ententev1.Location{}}}
		}, thing(4, false, false)},
		{"a good practice is the last kind", func(r *ententev1.Record) {
			r.Body = &ententev1.Body{Kind: &ententev1.Body_GoodPractice{GoodPractice: &ententev1.GoodPractice{}}}
		}, thing(20, false, false)},
		{"an association", func(r *ententev1.Record) { r.Body = ties(prison) }, thing(association, false, false)},
		{"an ethnic tie is special, wherever it stands", func(r *ententev1.Record) { r.Body = ties(prison, ethnic, prison) }, thing(association, true, false)},
		{"a tie without basis is special and unknown", func(r *ententev1.Record) { r.Body = ties(0) }, thing(association, true, true)},
		{"a tie on an unknown basis is special and unknown", func(r *ententev1.Record) { r.Body = ties(99, prison) }, thing(association, true, true)},
		{"a group", func(r *ententev1.Record) { r.Body = group(prison) }, thing(criminal, false, false)},
		{"a group held together by origin is special", func(r *ententev1.Record) { r.Body = group(prison, ethnic) }, thing(criminal, true, false)},
		{"a group on an unknown basis is special and unknown", func(r *ententev1.Record) { r.Body = group(50) }, thing(criminal, true, true)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := labelled()
			test.change(r)
			if got := LabelOfRecord(r); got != test.want {
				t.Errorf("of the record: want %+v, got %+v", test.want, got)
			}
			if got := LabelOfReleased(released(r)); got != test.want {
				t.Errorf("of the released form: want %+v, got %+v", test.want, got)
			}
			if got := LabelOf(encoded(t, released(r))); got != test.want {
				t.Errorf("of the encoded form: want %+v, got %+v", test.want, got)
			}
		})
	}
	if LabelOfRecord(nil) != strictest() || LabelOfReleased(nil) != strictest() || LabelOf(nil) != strictest() {
		t.Error("nothing at all is not unknown throughout")
	}
}

func TestLabelOfWhatCannotBeReadIsTheStrictest(t *testing.T) {
	whole := encoded(t, released(labelled()))
	for cut := range len(whole) {
		if got := LabelOf(whole[:cut]); got == soundLabel() && !sound(whole[:cut]) {
			t.Errorf("cut to %d bytes it has a sound label", cut)
		}
	}
	tag := func(number protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), content)
	}
	half := []byte{0x80}
	for name, more := range map[string][]byte{
		"the record":         half,
		"the envelope":       tag(fieldReleasedEnvelope, half),
		"the handling":       tag(fieldReleasedEnvelope, tag(fieldEnvelopeHandling, half)),
		"the handling codes": tag(fieldReleasedEnvelope, tag(fieldEnvelopeHandling, tag(fieldHandlingCodes, half))),
		"the classification": tag(fieldReleasedEnvelope, tag(fieldEnvelopeClassification, half)),
		"the retention":      tag(fieldReleasedEnvelope, tag(fieldEnvelopeRetainUntil, half)),
		"the person":         tag(fieldReleasedBody, tag(kindPerson, half)),
		"the ties":           tag(fieldReleasedBody, tag(kindAssociation, tag(fieldAssociationTies, half))),
		"the tie bases":      tag(fieldReleasedBody, tag(kindCriminalGroup, tag(fieldGroupTieBases, half))),
		"a varint":           {0x08, 0x80},
		"a fixed value":      {0x0d, 0x80},
	} {
		if got := LabelOf(append(whole[:len(whole):len(whole)], more...)); got != strictest() {
			t.Errorf("with half of %s: %+v", name, got)
		}
	}
}

// sound says whether the bytes decode.
func sound(b []byte) bool { return proto.Unmarshal(b, &ententev1.ReleasedRecord{}) == nil }

// The encoded form may say things more than once, or in other ways than this program writes them. A label is that of what
// somebody gets who decodes it.
func FuzzLabelOf(f *testing.F) {
	seeds := []*ententev1.Record{labelled(), person(), association(func(a *ententev1.Association) {
		a.Ties = []*ententev1.Tie{{Basis: 3}, {Basis: 5}}
	}), with(&ententev1.Body{Kind: &ententev1.Body_CriminalGroup{CriminalGroup: &ententev1.CriminalGroup{TieBases: []ententev1.TieBasis{3, 5}}}})}
	var all [][]byte
	for _, r := range seeds {
		all = append(all, encoded(f, released(r)))
	}
	for _, a := range all {
		f.Add(a)
		for _, b := range all {
			f.Add(append(a[:len(a):len(a)], b...)) // the second is merged into the first
		}
	}
	enum := func(number protowire.Number, value uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), value)
	}
	message := func(number protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), content)
	}
	person, group := message(kindPerson, append(enum(fieldPersonStatus, 4), enum(fieldPersonMinor, 2)...)), message(kindCriminalGroup, enum(fieldGroupTieBases, 3))
	for _, more := range [][]byte{
		message(fieldReleasedEnvelope, message(fieldEnvelopeHandling, enum(fieldHandlingCodes, 3))),
		message(fieldReleasedEnvelope, message(fieldEnvelopeClassification, enum(fieldClassificationRank, 1<<33+9))),
		message(fieldReleasedEnvelope, enum(fieldEnvelopePurpose, 1<<32+3)),
		message(fieldReleasedEnvelope, message(fieldEnvelopePurpose, []byte{3})), // of another type than the contract's
		message(fieldReleasedBody, message(21, nil)),
		message(fieldReleasedBody, enum(kindPerson, 1)),
		message(fieldReleasedBody, append(person, group...)),
		message(fieldReleasedBody, append(group, person...)),
		message(fieldReleasedBody, message(kindPerson, message(fieldPersonStatus, []byte{8}))),
		message(fieldReleasedBody, message(kindAssociation, enum(fieldAssociationTies, 3))),
		message(fieldReleasedBody, message(kindAssociation, message(fieldAssociationTies, message(fieldTieBasis, []byte{3})))),
		enum(fieldReleasedBody, 1), enum(fieldReleasedEnvelope, 1),
	} {
		f.Add(append(all[0][:len(all[0]):len(all[0])], more...))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		got := LabelOf(encoded)
		r := &ententev1.ReleasedRecord{}
		err := proto.Unmarshal(encoded, r)
		if err != nil {
			return // somebody who decodes it gets nothing
		}
		if want := LabelOfReleased(r); got != want {
			t.Errorf("want %+v, got %+v", want, got)
		}
	})
}

func TestHandlingSet(t *testing.T) {
	set := func(codes ...ententev1.HandlingCode) HandlingSet {
		return HandlingOf(&ententev1.HandlingConditions{Codes: codes})
	}
	h := func(n int) ententev1.HandlingCode { return ententev1.HandlingCode(n + 1) }
	subsets := []HandlingSet{0, handlingStrictest, handlingUnknown, 200}
	for mask := 1; mask < 16; mask++ {
		var codes []ententev1.HandlingCode
		for n := range 4 {
			if mask>>n&1 != 0 {
				codes = append(codes, h(n))
			}
		}
		s := set(codes...)
		subsets = append(subsets, s)
		if s.Unknown() || len(s.Codes()) != len(codes) {
			t.Errorf("%v became %v", codes, s.Codes())
		}
		for n := range 4 {
			if s.Has(h(n)) != (mask>>n&1 != 0) {
				t.Errorf("%v has H%d: %v", codes, n, s.Has(h(n)))
			}
		}
		if s.Has(99) || s.Has(0) {
			t.Errorf("%v has a code that nobody gave", codes)
		}
	}
	for _, s := range []HandlingSet{set(), HandlingOf(nil), set(0), set(h(0), 9), 0, 200, handlingUnknown} {
		if !s.Unknown() || !s.Has(h(0)) || !s.Has(h(3)) || !s.Has(99) || len(s.Codes()) != 4 {
			t.Errorf("%b is not the strictest", s)
		}
		if s.Within(set(h(0), h(1), h(2), h(3))) || !s.Within(0) {
			t.Errorf("%b is within what is known", s)
		}
	}
	for _, a := range subsets {
		for _, b := range subsets {
			u := a.Union(b)
			if !a.Within(u) || !b.Within(u) || u != b.Union(a) {
				t.Errorf("%b and %b make %b", a, b, u)
			}
			if a.Within(b) != (a.Union(b) == b.sound()) {
				t.Errorf("%b within %b: %v", a, b, a.Within(b))
			}
		}
	}
}

func TestALabelIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Label{}); size > 32 {
		t.Errorf("a label has %d bytes: a node keeps one for each record", size)
	}
}

func BenchmarkLabelOf(b *testing.B) {
	encoded := encoded(b, released(labelled()))
	b.ReportAllocs()
	for b.Loop() {
		if LabelOf(encoded).Unknown {
			b.Fatal("unknown")
		}
	}
}

func BenchmarkMay(b *testing.B) {
	l, a := soundLabel(), soundAccess()
	b.ReportAllocs()
	for b.Loop() {
		if !MayBulk(a, l) {
			b.Fatal("refused")
		}
	}
}
