package demo

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	assessmentFile      = "assessment.jsonl"
	assessmentReference = "XB/Q01"
	// assessed is the person of XB that the assessment is about, released to all.
	assessed = "XB/P02"
	// permittedFor is how long the permission of the tour counts.
	permittedFor = 20 * 24 * time.Hour
)

// permission has XB make something from XA's record and pass it on to XC, which does not hold that: it waits until XA permits
// it. The same holds for a file that leaves the federation.
func (t *tour) permission(s *stage, _ *tally) error {
	xb := s.at("XB")
	source, err := s.own(s.at("XA"), soleSource)
	if err != nil {
		return err
	}
	err = s.writeRecord(xb, assessmentFile, assessment(source.GetRecordId()))
	if err != nil {
		return err
	}
	err = t.makes(s)
	if err != nil {
		return err
	}
	record, err := s.own(xb, assessmentReference)
	if err != nil {
		return err
	}
	t.found.heldUp = len(record.GetDeliveries()) == 0
	t.say("Everybody has agreed, and it waits all the same: XC does not hold Old Salt's record, and what was made from it reaches " +
		"only who does (the third-party rule). " +
		"A file for a prosecutor is refused likewise; the handle is the record's id:")
	export := fmt.Sprintf("view export --recipient prosecutor-4/2026 --handle %x --out @XB/", source.GetRecordId())
	t.found.exportBefore, err = t.do(s, command{line: export + "without.jsonl --config @XB/officer.yaml", once: true})
	if err != nil {
		return err
	}
	err = t.permits(s)
	if err != nil {
		return err
	}
	t.found.exportAfter, err = t.do(s, command{line: export + "with.jsonl --config @XB/officer.yaml", once: true})
	return err
}

// makes has XB push its assessment, and release it with the consent of its own second officer.
func (t *tour) makes(s *stage) error {
	t.say("XB's analyst makes an assessment: Dunmore (%s) is a broker, for Old Salt settles his disputes. It names XA's record as "+
		"what it was made from, so it has to carry at "+
		"least the same codes; XB wants XC to have it.", assessed)
	_, err := t.do(s, command{line: "push @XB/" + assessmentFile + " --config @XB/system.yaml", quiet: true})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "release " + assessmentReference + " --to XC --on-behalf " + officerName + " --config @XB/system.yaml"})
	if err != nil {
		return err
	}
	record, err := s.own(s.at("XB"), assessmentReference)
	if err != nil {
		return err
	}
	// Later nothing waits any more.
	_, err = t.do(s, command{line: fmt.Sprintf("approve %x --config @XB/%s.yaml", record.GetRecordId(), approverName), then: cli.ExitUsage})
	return err
}

// permits has XA permit both uses, and waits until the assessment has gone.
func (t *tour) permits(s *stage) error {
	until := s.options.Now().Add(permittedFor).UTC().Format(time.DateOnly)
	t.say("XA permits both: XB may pass on to XC what it made, and may export, for one purpose and until a date. The record itself " +
		"goes to nobody by that.")
	_, err := t.do(s, command{line: "permit " + soleSource + " --holder XB --for XC --export --for-purpose criminal-investigation " +
		"--until " + until + " --config @XA/system.yaml"})
	if err != nil {
		return err
	}
	record, err := s.signed(s.at("XB"), assessmentReference)
	if err != nil {
		return err
	}
	t.found.passedOn = slices.Equal(readersNow(record), []string{"XC"})
	t.say("The permission is an entry of XA's stream to XB. When it came, the assessment went by itself, and the export has the " +
		"row, with the words that have to stand beside it:")
	_, err = t.do(s, command{line: "get " + assessmentReference + " --config " +
		"@XB/system.yaml", only: []string{"content", "handling", "state", "READER", "XC "}})
	return err
}

// assessment is what XB makes from a record of XA.
func assessment(source []byte) *ententev1.Record {
	recorded := time.Date(2026, time.March, 3, 9, 0, 0, 0, time.UTC)
	codes := []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H1, ententev1.HandlingCode_HANDLING_CODE_H2, ententev1.HandlingCode_HANDLING_CODE_H3}
	return &ententev1.Record{
		Envelope: &ententev1.Envelope{
			ProviderReference: assessmentReference, Version: 1, RecordedAt: timestamppb.New(recorded), LegalBasis: "LKDG Paragraf 7",
			RetainUntil: timestamppb.New(recorded.AddDate(3, 0, 0)), Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
			Assertion:      ententev1.AssertionKind_ASSERTION_KIND_ASSESSMENT,
			Evaluation:     &ententev1.Evaluation{Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_6X6, SourceCode: "B", InformationCode: "3"},
			Handling:       &ententev1.HandlingConditions{Codes: codes, Text: "Made from a record of Arvania."},
			Classification: toOne.classification(),
			SourceRefs:     []*ententev1.RecordRef{{ProviderMember: "XA", Target: &ententev1.RecordRef_RecordId{RecordId: source}}},
		},
		Body: bodyOf(&ententev1.Role{
			Person:         &ententev1.RecordRef{Target: &ententev1.RecordRef_ProviderReference{ProviderReference: assessed}},
			FunctionalRole: broker, Certainty: ententev1.Certainty_CERTAINTY_SUSPECTED, Notes: "His disputes at Quay 9 are settled for him.",
		}),
		CrimeAreas: []ententev1.CrimeArea{drugs},
	}
}
