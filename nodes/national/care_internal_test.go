package national

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

func suspect() *ententev1.Record {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	return &ententev1.Record{
		Envelope: &ententev1.Envelope{
			ProviderReference: "R-1", Version: 1, RecordedAt: timestamppb.New(at), RetainUntil: timestamppb.New(at.AddDate(3, 0, 0)),
			Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Assertion: ententev1.AssertionKind_ASSERTION_KIND_FACT,
			Evaluation: &ententev1.Evaluation{Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: "B", InformationCode: "3"},
			Handling:   &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H1}},
		},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Names: []*ententev1.PersonName{{Type: ententev1.NameType_NAME_TYPE_PRIMARY, Family: "Okon"}}, Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT,
		}}},
	}
}

// TestTheMembersOwnRulesReachTheLedger: each key of the configuration refuses what the default lets in.
func TestTheMembersOwnRulesReachTheLedger(t *testing.T) {
	tests := []struct {
		name  string
		care  Care
		field string // of the fault that the rule finds; empty: none
	}{
		{"the defaults take a record of three years", Care{}, ""},
		{"a shorter retention", Care{Profile: policy.Profile{LongestYears: 2, ReviewYears: 2}}, "envelope.retain_until"},
		{"a longer one than any may be counts as the default", Care{Profile: policy.Profile{LongestYears: 50, ReviewYears: 50}}, ""},
		{"what must be vouched for", Care{Attestations: []ententev1.AttestationKind{ententev1.AttestationKind_ATTESTATION_KIND_NEUTRALITY}}, "envelope.attestations"},
		{"the basis of a suspicion", Care{SuspicionBasis: true}, "body.person.suspicion_basis"},
		{"data of a third party", Care{ThirdParties: []string{"fiu"}}, "envelope.attestations"},
		{"data of another authority's third party", Care{ThirdParties: []string{"customs"}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var cfg ledger.Config
			test.care.rules(&cfg)
			var fields []string
			for _, v := range append(cfg.CheckRecord(suspect()), cfg.CheckOrigin("fiu", suspect())...) {
				fields = append(fields, v.GetField())
			}
			if test.field == "" && len(fields) > 0 || test.field != "" && !slices.Contains(fields, test.field) {
				t.Errorf("faults at %q, want %q", fields, test.field)
			}
		})
	}
}

func TestASecondPersonIsAnother(t *testing.T) {
	var cfg ledger.Config
	Care{}.rules(&cfg)
	if cfg.SecondPerson("officer-1", "officer-1") || cfg.SecondPerson("", "") || !cfg.SecondPerson("officer-2", "officer-1") {
		t.Error("the one who asks decides, or nobody, or not the other one")
	}
}

// TestAClockThatTheMembersContradictErasesNothing: what has expired by the node's own clock is hidden, and kept until a quorum of
// the members, or the operator, says that the clock is right.
func TestAClockThatTheMembersContradictErasesNothing(t *testing.T) {
	actual := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	here := actual.AddDate(1, 0, 0)
	k := newClock(func() time.Time { return here }, func() int { return 4 })
	for _, id := range []member.ID{"XB", "XC", "XD"} {
		k.hear(id, actual)
	}
	e := k.expiry()
	if !e.Hide.Equal(here) || !e.Erase.IsZero() {
		t.Errorf("a clock a year ahead hides by %s and erases by %s", e.Hide, e.Erase)
	}
	k = newClock(func() time.Time { return here }, func() int { return 4 })
	if until := k.confirm(); !until.Equal(here.Add(confirmedFor)) || !k.expiry().Erase.Equal(here) {
		t.Errorf("confirmed until %s it erases by %s", until, k.expiry().Erase)
	}
	here = here.Add(confirmedFor + time.Second)
	if k.expiry().Erase.Equal(here) {
		t.Error("an operator's word counts for ever")
	}
}
