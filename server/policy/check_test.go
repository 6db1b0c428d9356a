package policy

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// secret stands in records of these tests wherever a value may be wrong: no answer may repeat it.
const secret = "Zz-secret-Zz"

func person() *ententev1.Record {
	return &ententev1.Record{
		Envelope: &ententev1.Envelope{
			ProviderReference: "P-1", Version: 1,
			RecordedAt:  &timestamppb.Timestamp{Seconds: 1_790_000_000},
			RetainUntil: &timestamppb.Timestamp{Seconds: 1_890_000_000},
			Purpose:     ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
			Assertion:   ententev1.AssertionKind_ASSERTION_KIND_FACT,
			Evaluation: &ententev1.Evaluation{
				Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: "B", InformationCode: "2",
			},
			Handling: &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H0}},
		},
		CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Names:  []*ententev1.PersonName{{Family: secret, Given: "Ada"}, {Family: "Other", Type: ententev1.NameType_NAME_TYPE_ALIAS}},
			Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT,
			DatesOfBirth: []*ententev1.PartialDate{
				{Year: 1984, Month: 2, Day: 29, Precision: ententev1.DatePrecision_DATE_PRECISION_DAY},
			},
			Documents: []*ententev1.IdentityDocument{
				{Type: ententev1.DocumentType_DOCUMENT_TYPE_PASSPORT, Number: "N1", IssuingCountry: "XA"},
			},
		}}},
	}
}

func with(body *ententev1.Body) *ententev1.Record {
	r := person()
	r.Body = body
	return r
}

func reference(of string) *ententev1.RecordRef {
	return &ententev1.RecordRef{Target: &ententev1.RecordRef_ProviderReference{ProviderReference: of}}
}

func association(change func(*ententev1.Association)) *ententev1.Record {
	a := &ententev1.Association{
		From: reference("P-1"), To: reference("P-2"), Kind: ententev1.AssociationKind_ASSOCIATION_KIND_MEETS,
	}
	change(a)
	return with(&ententev1.Body{Kind: &ententev1.Body_Association{Association: a}})
}

func lesson(stage ententev1.LessonStage) *ententev1.Record {
	return with(&ententev1.Body{Kind: &ententev1.Body_Lesson{Lesson: &ententev1.Lesson{
		Stage: stage, State: ententev1.LessonState_LESSON_STATE_OBSERVATION, Observation: "o",
	}}})
}

func unknownField(m proto.Message) {
	raw := protowire.AppendTag(nil, 1999, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendString(raw, secret))
}

func evaluated(scheme ententev1.EvaluationScheme, source, information, handling string) func(*ententev1.Record) {
	return func(r *ententev1.Record) {
		r.Envelope.Evaluation = &ententev1.Evaluation{
			Scheme: scheme, SourceCode: source, InformationCode: information, SchemeHandlingCode: handling,
		}
	}
}

func changed(change func(*ententev1.Record)) *ententev1.Record {
	r := person()
	change(r)
	return r
}

const (
	scheme4x4   = ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4
	scheme6x6   = ententev1.EvaluationScheme_EVALUATION_SCHEME_6X6
	scheme3x5x2 = ententev1.EvaluationScheme_EVALUATION_SCHEME_3X5X2
	scheme5x5x5 = ententev1.EvaluationScheme_EVALUATION_SCHEME_5X5X5
)

func TestCheckRecord(t *testing.T) {
	group := func(g *ententev1.CriminalGroup) *ententev1.Record {
		return with(&ententev1.Body{Kind: &ententev1.Body_CriminalGroup{CriminalGroup: g}})
	}
	justified := &ententev1.SpecialCategoryBasis{StrictlyNecessary: true, Justification: "j"}
	ethnic := []*ententev1.Tie{{Basis: ententev1.TieBasis_TIE_BASIS_ETHNIC}}
	tests := []struct {
		name   string
		record *ententev1.Record
		field  string // of the one violation; "" for none
	}{
		{"a sound person is taken", person(), ""},
		{"no record is refused", nil, "record"},
		{"without evaluation and handling a record is taken, it only cannot leave", changed(func(r *ententev1.Record) {
			r.Envelope.Evaluation, r.Envelope.Handling = nil, nil
		}), ""},

		{"4x4 takes X as source", changed(evaluated(scheme4x4, "X", "4", "")), ""},
		{"4x4 has no source D", changed(evaluated(scheme4x4, "D", "1", "")), "envelope.evaluation.source_code"},
		{"4x4 has no information 5", changed(evaluated(scheme4x4, "A", "5", "")), "envelope.evaluation.information_code"},
		{"4x4 has no handling code", changed(evaluated(scheme4x4, "A", "1", "P")), "envelope.evaluation.scheme_handling_code"},
		{"6x6 takes F6", changed(evaluated(scheme6x6, "F", "6", "")), ""},
		{"6x6 has no source X", changed(evaluated(scheme6x6, "X", "1", "")), "envelope.evaluation.source_code"},
		{"3x5x2 takes 1, E, C", changed(evaluated(scheme3x5x2, "1", "E", "C")), ""},
		{"3x5x2 has no source A", changed(evaluated(scheme3x5x2, "A", "A", "P")), "envelope.evaluation.source_code"},
		{"3x5x2 has no handling 1", changed(evaluated(scheme3x5x2, "1", "A", "1")), "envelope.evaluation.scheme_handling_code"},
		{"5x5x5 takes E, 5, 5", changed(evaluated(scheme5x5x5, "E", "5", "5")), ""},
		{"5x5x5 has no information E", changed(evaluated(scheme5x5x5, "E", "E", "5")), "envelope.evaluation.information_code"},
		{"two codes at once are no code", changed(evaluated(scheme4x4, "AB", "1", "")), "envelope.evaluation.source_code"},
		{"no scheme is no evaluation", changed(evaluated(0, "A", "1", "")), "envelope.evaluation.scheme"},

		{"H3 without text is refused", changed(func(r *ententev1.Record) {
			r.Envelope.Handling.Codes = []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H3}
		}), "envelope.handling.text"},
		{"H3 with text is taken", changed(func(r *ententev1.Record) {
			r.Envelope.Handling.Codes = []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H3}
			r.Envelope.Handling.Text = "t"
		}), ""},
		{"a handling code twice is refused", changed(func(r *ententev1.Record) {
			r.Envelope.Handling.Codes = slices.Repeat(r.Envelope.Handling.Codes, 2)
		}), "envelope.handling.codes"},
		{"a crime area twice is refused", changed(func(r *ententev1.Record) { r.CrimeAreas = slices.Repeat(r.CrimeAreas, 2) }), "crime_areas"},

		{"an unknown field of the record is refused", changed(func(r *ententev1.Record) { unknownField(r) }), "record"},
		{"an unknown field deep inside is refused", changed(func(r *ententev1.Record) { unknownField(r.GetBody().GetPerson().Names[1]) }), "body.person.names[1]"},
		{"an unknown field of a known time is refused", changed(func(r *ententev1.Record) { unknownField(r.Envelope.RecordedAt) }), "envelope.recorded_at"},
		{"an unknown code is refused", changed(func(r *ententev1.Record) { r.GetBody().GetPerson().Sex = 99 }), "body.person.sex"},
		{"an unknown code in a list is refused", changed(func(r *ententev1.Record) { r.CrimeAreas = append(r.CrimeAreas, 99) }), "crime_areas"},
		{"an unknown code deep inside is refused", changed(func(r *ententev1.Record) { r.GetBody().GetPerson().Documents[0].State = 77 }), "body.person.documents[0].state"},

		{"a day that does not exist is refused", changed(func(r *ententev1.Record) { r.GetBody().GetPerson().DatesOfBirth[0].Year = 1985 }), "body.person.dates_of_birth[0].day"},
		{"DAY without day is refused", changed(func(r *ententev1.Record) { r.GetBody().GetPerson().DatesOfBirth[0].Day = 0 }), "body.person.dates_of_birth[0].precision"},
		{"YEAR with month is refused", changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().DatesOfBirth[0] = &ententev1.PartialDate{Year: 1980, Month: 3, Precision: ententev1.DatePrecision_DATE_PRECISION_YEAR}
		}), "body.person.dates_of_birth[0].precision"},
		{"RANGE without end is refused", changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().DatesOfBirth[0] = &ententev1.PartialDate{Year: 1980, Precision: ententev1.DatePrecision_DATE_PRECISION_RANGE}
		}), "body.person.dates_of_birth[0].until_year"},
		{"an IP address without time is refused", changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().Communication = []*ententev1.CommunicationMeans{{
				Type: ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_IP_ADDRESS, Value: secret,
			}}
		}), "body.person.communication[0].observed_at"},
		{"an image without any hash is refused", changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().Images = []*ententev1.MediaRef{{MimeType: "image/png"}}
		}), "body.person.images[0].sha256"},

		{"a validity that ends before it begins is refused", changed(func(r *ententev1.Record) {
			r.Envelope.ValidFrom, r.Envelope.ValidTo = &timestamppb.Timestamp{Seconds: 5}, &timestamppb.Timestamp{Seconds: 5}
		}), "envelope.valid_to"},
		{"a retention before the recording is refused", changed(func(r *ententev1.Record) { r.Envelope.RetainUntil = &timestamppb.Timestamp{Seconds: 5} }), "envelope.retain_until"},
		{"a review after the retention is refused", changed(func(r *ententev1.Record) {
			r.Envelope.ReviewDue = &timestamppb.Timestamp{Seconds: 1_990_000_000}
		}), "envelope.review_due"},
		{"a time that is none is refused", changed(func(r *ententev1.Record) { r.Envelope.CollectedAt = &timestamppb.Timestamp{Nanos: -1} }), "envelope.collected_at"},

		{"an association is taken", association(func(*ententev1.Association) {}), ""},
		{"an association with itself is refused", association(func(a *ententev1.Association) { a.To = reference("P-1") }), "body.association.to"},
		{"a record of another member needs its member", association(func(a *ententev1.Association) {
			a.To = &ententev1.RecordRef{Target: &ententev1.RecordRef_RecordId{RecordId: make([]byte, 16)}}
		}), "body.association.to.provider_member"},
		{"an own reference names no member", association(func(a *ententev1.Association) { a.To.ProviderMember = "XB" }), "body.association.to.provider_member"},
		{"an ethnic tie needs a justification", association(func(a *ententev1.Association) { a.Ties = ethnic }), "body.association.ties[0].special_category"},
		{"an ethnic tie with its own justification is taken", association(func(a *ententev1.Association) {
			a.Ties = []*ententev1.Tie{{Basis: ententev1.TieBasis_TIE_BASIS_ETHNIC, SpecialCategory: justified}}
		}), ""},
		{"kinship without a kinship tie is refused", association(func(a *ententev1.Association) {
			a.Ties = []*ententev1.Tie{{Basis: ententev1.TieBasis_TIE_BASIS_PRISON, Kinship: ententev1.KinshipDegree_KINSHIP_DEGREE_CHILD}}
		}), "body.association.ties[0].kinship"},
		{"a group held together by origin needs a justification", group(&ententev1.CriminalGroup{
			TieBases: []ententev1.TieBasis{ententev1.TieBasis_TIE_BASIS_ETHNIC},
		}), "envelope.special_category"},
		{"a group of at least 9 and at most 3 is refused", group(&ententev1.CriminalGroup{SizeMin: 9, SizeMax: 3}), "body.criminal_group.size_max"},
		{"a biometric needs a justification", with(&ententev1.Body{Kind: &ententev1.Body_Biometric{Biometric: &ententev1.Biometric{}}}), "envelope.special_category"},
		{"a role without role is refused", with(&ententev1.Body{Kind: &ententev1.Body_Role{Role: &ententev1.Role{Person: reference("P-1")}}}), "body.role.functional_role"},
		{"a decision on one record twice is refused", with(&ententev1.Body{Kind: &ententev1.Body_Decision{Decision: &ententev1.Decision{
			Records: []*ententev1.RecordRef{reference("P-1"), reference("P-1")},
		}}}), "body.decision.records[1]"},
		{"an observation needs no more", lesson(ententev1.LessonStage_LESSON_STAGE_OBSERVATION), ""},
		{"an identified lesson needs discussion and what follows", lesson(ententev1.LessonStage_LESSON_STAGE_LESSON_IDENTIFIED), "body.lesson.discussion"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckRecord(test.record), test.field)
		})
	}
}

// expect wants the field among the violations, or none at all, and no value in any of them.
func expect(t *testing.T, got []*ententev1.FieldViolation, field string) {
	t.Helper()
	if field == "" && len(got) > 0 {
		t.Fatalf("want none, got %v", got)
	}
	found := slices.ContainsFunc(got, func(v *ententev1.FieldViolation) bool { return v.GetField() == field })
	if field != "" && !found {
		t.Fatalf("want one of %s, got %v", field, got)
	}
	for _, v := range got {
		if strings.Contains(v.String(), secret) {
			t.Errorf("the violation of %s repeats a value", v.GetField())
		}
	}
}

func TestCheckRelease(t *testing.T) {
	practice := func(sanitised bool) *ententev1.Record {
		return with(&ententev1.Body{Kind: &ententev1.Body_GoodPractice{GoodPractice: &ententev1.GoodPractice{Sanitised: sanitised}}})
	}
	tests := []struct {
		name   string
		record *ententev1.Record
		field  string
	}{
		{"a sound person may leave", person(), ""},
		{"no purpose", changed(func(r *ententev1.Record) { r.Envelope.Purpose = 0 }), "envelope.purpose"},
		{"no kind of assertion", changed(func(r *ententev1.Record) { r.Envelope.Assertion = 0 }), "envelope.assertion"},
		{"no retention", changed(func(r *ententev1.Record) { r.Envelope.RetainUntil = nil }), "envelope.retain_until"},
		{"no evaluation", changed(func(r *ententev1.Record) { r.Envelope.Evaluation = nil }), "envelope.evaluation"},
		{"no source code", changed(func(r *ententev1.Record) { r.Envelope.Evaluation.SourceCode = "" }), "envelope.evaluation.source_code"},
		{"no information code", changed(func(r *ententev1.Record) { r.Envelope.Evaluation.InformationCode = "" }), "envelope.evaluation.information_code"},
		{"a code of another scheme", changed(func(r *ententev1.Record) { r.Envelope.Evaluation.SourceCode = "F" }), "envelope.evaluation.source_code"},
		{"no handling", changed(func(r *ententev1.Record) { r.Envelope.Handling = nil }), "envelope.handling.codes"},
		{"no handling code", changed(func(r *ententev1.Record) { r.Envelope.Handling.Codes = nil }), "envelope.handling.codes"},
		{"no body", changed(func(r *ententev1.Record) { r.Body = nil }), "body"},
		{"an informant never leaves", changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().Status = ententev1.PersonStatus_PERSON_STATUS_INFORMANT
		}), "body.person.status"},
		{"a practice that is not sanitised stays", practice(false), "body.good_practice.sanitised"},
		{"a sanitised practice may leave", practice(true), ""},
		{"a lesson that is not sanitised stays", lesson(ententev1.LessonStage_LESSON_STAGE_OBSERVATION), "body.lesson.sanitised"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckRelease(test.record), test.field)
		})
	}
}

func TestCheckPushedWithdrawal(t *testing.T) {
	sound := ententev1.WithdrawalReason_WITHDRAWAL_REASON_UNLAWFUL
	tests := []struct {
		name       string
		withdrawal *ententev1.PushWithdrawal
		field      string
	}{
		{"a sound one", &ententev1.PushWithdrawal{ProviderReference: "P-1", Reason: sound}, ""},
		{"no reference", &ententev1.PushWithdrawal{Reason: sound}, "withdrawal.provider_reference"},
		{"a reference beyond 200 bytes", &ententev1.PushWithdrawal{ProviderReference: strings.Repeat(secret, 20), Reason: sound}, "withdrawal.provider_reference"},
		{"no reason", &ententev1.PushWithdrawal{ProviderReference: "P-1"}, "withdrawal.reason"},
		{"a reason of another version", &ententev1.PushWithdrawal{ProviderReference: "P-1", Reason: 200}, "withdrawal.reason"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckPushedWithdrawal(test.withdrawal), test.field)
		})
	}
}

func TestCheckAudiences(t *testing.T) {
	all := &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{}}}
	newer := proto.CloneOf(all)
	unknownField(newer.GetAllMembers())
	expect(t, CheckAudiences([]*ententev1.Audience{all}), "")
	expect(t, CheckAudiences([]*ententev1.Audience{all, {}}), "audiences[1]")
	expect(t, CheckAudiences([]*ententev1.Audience{all, newer}), "audiences[1].all_members")
}

func TestARecordThatIsWrongThroughoutIsAnsweredInBounds(t *testing.T) {
	r := changed(func(r *ententev1.Record) {
		r.GetBody().GetPerson().Images = slices.Repeat([]*ententev1.MediaRef{{}}, 500)
	})
	got := CheckRecord(r)
	if len(got) != maxViolations {
		t.Fatalf("want %d violations, got %d", maxViolations, len(got))
	}
}

func FuzzCheckRecord(f *testing.F) {
	for _, r := range []*ententev1.Record{person(), association(func(*ententev1.Association) {}), lesson(3)} {
		encoded, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		r := &ententev1.Record{}
		err := proto.Unmarshal(encoded, r)
		if err != nil {
			return
		}
		for _, v := range append(CheckRecord(r), CheckRelease(r)...) {
			if v.GetField() == "" || v.GetReason() == "" {
				t.Errorf("a violation without field or reason: %v", v)
			}
		}
	})
}

func BenchmarkCheckRecord(b *testing.B) {
	r := person()
	b.ReportAllocs()
	for b.Loop() {
		if CheckRecord(r) != nil {
			b.Fatal("refused")
		}
	}
}
