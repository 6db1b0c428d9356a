package client_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client"
	"entente.example/entente/nodes/sandbox"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// place is a throw-away federation of XA, XB and a coordinator, in which the examples run.
type place struct {
	*sandbox.Federation
	ctx   context.Context
	close func()
}

// open runs the federation until close. What a program of its own does not need is kept out of the examples.
func open() *place {
	dir, err := os.MkdirTemp("", "entente-example-")
	check(err)
	federation, err := sandbox.New(sandbox.Options{Members: []member.ID{"XA", "XB"}, Dir: dir, Now: time.Now, Rand: rand.Reader})
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- federation.Run(ctx) }() // until close
	return &place{Federation: federation, ctx: ctx, close: func() {
		cancel()
		check(errors.Join(<-ended, os.RemoveAll(dir)))
	}}
}

// dial connects an identity to the node of its own member. Example_nationalSystem shows how a program does that.
func (p *place) dial(id member.ID, kind member.Kind, name string) *client.Client {
	files, err := p.Issue(id, kind, name)
	check(err)
	config, err := client.LoadConfig(p.Address(id), id, files)
	check(err)
	c, err := client.Dial(config)
	check(err)
	return c
}

// share pushes records of a member and releases them at once.
func (p *place) share(id member.ID, to *ententev1.Audience, records ...*ententev1.Record) {
	c := p.dial(id, member.KindSystem, sandbox.System)
	defer c.Close()
	pusher := c.Push(p.ctx, client.PushOptions{}, func(_ any, v *ententev1.Verdict) {
		if v.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			check(fmt.Errorf("%s: %v", v.GetProviderReference(), v.GetViolations()))
		}
	})
	for _, record := range records {
		check(pusher.Send(&ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: record}, Audiences: []*ententev1.Audience{to}}, nil))
	}
	check(pusher.Close())
}

// check ends an example that cannot go on.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// until asks again and again until the answer is yes.
func (p *place) until(yes func() bool) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !yes() {
		select {
		case <-again.C:
		case <-p.ctx.Done():
			panic("it did not come about in time")
		}
	}
}

// why is the reason that goes with each question.
func why() *ententev1.Consultation {
	return &ententev1.Consultation{Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, CaseReference: "2026-17"}
}

// envelope is what each record carries of its origin and its handling.
func envelope(reference string) *ententev1.Envelope {
	return &ententev1.Envelope{
		ProviderReference: reference, Version: 1,
		RecordedAt:  timestamppb.New(time.Date(2026, 2, 21, 0, 0, 0, 0, time.UTC)),
		RetainUntil: timestamppb.New(time.Date(2031, 2, 20, 0, 0, 0, 0, time.UTC)),
		Purpose:     ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
		Assertion:   ententev1.AssertionKind_ASSERTION_KIND_FACT,
		Evaluation: &ententev1.Evaluation{
			Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: "B", InformationCode: "2",
		},
		Handling: &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H1}},
	}
}

// person is a suspect with one name and a day of birth.
func person(reference, given, family string) *ententev1.Record {
	return &ententev1.Record{
		Envelope:   envelope(reference),
		CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Names:          []*ententev1.PersonName{{Type: ententev1.NameType_NAME_TYPE_PRIMARY, Given: given, Family: family}},
			DatesOfBirth:   []*ententev1.PartialDate{{Year: 1979, Month: 5, Day: 14, Precision: ententev1.DatePrecision_DATE_PRECISION_DAY}},
			Status:         ententev1.PersonStatus_PERSON_STATUS_SUSPECT,
			SuspicionBasis: "file 7",
		}}},
	}
}

// project is the audience of all participants of a project.
func project(id string) *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Project{Project: &ententev1.ProjectAudience{ProjectId: id}}}
}

// all is the audience of all members, those admitted later included.
func all() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{IncludeFuture: true}}}
}
