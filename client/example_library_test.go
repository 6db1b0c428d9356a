package client_test

import (
	"fmt"

	"entente.example/entente/nodes/sandbox"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Somebody who plans an operation looks for practices that others stand by, reads one, and hears of new ones.
func Example_libraryUser() {
	federation := open()
	defer federation.close()
	weighing := &ententev1.Record{
		Envelope:   envelope("GP-1"),
		CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS},
		Body: &ententev1.Body{Kind: &ententev1.Body_GoodPractice{GoodPractice: &ententev1.GoodPractice{
			State: ententev1.LessonState_LESSON_STATE_VALIDATED, Tlp: ententev1.Tlp_TLP_GREEN, Sanitised: true,
			Context: &ententev1.LessonContext{
				Title: "Weigh containers twice", Language: "en-GB", Countries: []string{"XB"},
				CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS},
			},
			Description:  "Weigh at the ship and again at the gate; compare.",
			Endorsements: []*ententev1.Endorsement{{Member: "XA", Note: "Tried in one port."}},
		}}},
	}
	federation.share("XB", all(), weighing)

	c := federation.dial("XA", member.KindOfficer, sandbox.Officer)
	defer c.Close()

	// What is new comes by itself: Follow with the two kinds of the library.
	news := &ententev1.SubscribeRequest{Consultation: why(), Kinds: []ententev1.RecordKind{
		ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE, ententev1.RecordKind_RECORD_KIND_LESSON,
	}}
	for response, err := range c.Follow(federation.ctx, news) {
		check(err)
		if len(response.GetItems()) > 0 {
			break
		}
	}

	// The filters all must hold; of the values of one filter, one must.
	request := &ententev1.LibraryServiceListRequest{
		Consultation: why(),
		Kinds:        []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE},
		CrimeAreas:   []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS},
		Languages:    []string{"en", "fr"}, // "en" means "en-GB" too
		States:       []ententev1.LessonState{ententev1.LessonState_LESSON_STATE_VALIDATED},
		Endorsements: 1,
	}
	for item, err := range c.ListLibrary(federation.ctx, request) {
		check(err)
		practice := item.GetRecord().GetBody().GetGoodPractice()
		fmt.Printf("%s of %s, %v\n", practice.GetContext().GetTitle(), item.GetOwner(), practice.GetState())

		one, err := c.GetLibrary(federation.ctx, &ententev1.LibraryServiceGetRequest{
			Consultation: why(), Owner: item.GetOwner(), RecordId: item.GetRecord().GetRecordId(),
		})
		check(err)
		practice = one.GetRecord().GetBody().GetGoodPractice()
		fmt.Println(practice.GetDescription())
		fmt.Println(practice.GetEndorsements()[0].GetMember(), "says:", practice.GetEndorsements()[0].GetNote())
	}

	// Output:
	// Weigh containers twice of XB, LESSON_STATE_VALIDATED
	// Weigh at the ship and again at the gate; compare.
	// XA says: Tried in one port.
}
