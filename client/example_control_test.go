package client_test

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/nodes/sandbox"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/trail"
)

// A national system looks at what a release would give away before it releases: all persons that are still at home, to one
// member, with the date of birth made coarser, on behalf of an officer.
func Example_controlledRelease() {
	federation := open()
	defer federation.close()
	c := federation.dial("XA", member.KindSystem, sandbox.System)
	defer c.Close()

	released := false
	selection := &ententev1.RecordSelection{Query: &ententev1.RecordQuery{
		Kinds: []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_PERSON}, Released: &released,
	}}
	audience := named("XB")
	audience.Treatment = &ententev1.Treatment{Coarsen: []string{"body.person.dates_of_birth"}}
	behalf := why()
	behalf.Officer = sandbox.Officer

	preview := &ententev1.PreviewReleaseRequest{Consultation: behalf, Selection: selection, Audiences: []*ententev1.Audience{audience}}
	for one, err := range c.PreviewRelease(federation.ctx, preview) {
		check(err)
		for _, form := range one.GetForms() {
			record := &ententev1.ReleasedRecord{} // byte for byte what the member would get
			check(proto.Unmarshal(form.GetReleasedRecord(), record))
			fmt.Println(one.GetProviderReference(), form.GetMember(), record.GetBody().GetPerson().GetDatesOfBirth()[0].GetYear())
		}
		for _, violation := range one.GetViolations() {
			fmt.Println(one.GetProviderReference(), "stays at home:", violation.GetReason())
		}
	}

	verdicts, err := c.ReleaseSelected(federation.ctx, &ententev1.ReleaseRequest{
		Consultation: behalf, Selection: selection, Audiences: []*ententev1.Audience{audience},
	})
	check(err)
	for _, v := range verdicts { // PENDING_APPROVAL: it waits for a second person
		fmt.Println(v.GetProviderReference(), v.GetOutcome(), v.GetReleaseState())
	}
}

// An officer decides on releases that others have asked for, and names the version that was looked at: what changes meanwhile
// stays pending.
func Example_secondPerson() {
	federation := open()
	defer federation.close()
	c := federation.dial("XA", member.KindOfficer, sandbox.Officer)
	defer c.Close()

	decision := &ententev1.DecideReleaseRequest{Consultation: why(), Approve: true, Reason: "seen with the unit"}
	for release, err := range c.ListPending(federation.ctx, &ententev1.ListPendingRequest{Consultation: why()}) {
		check(err)
		fmt.Println(release.GetProviderReference(), "asked by", release.GetProposedBy(), "because", release.GetReasons())
		decision.RecordIds = append(decision.RecordIds, release.GetRecordId())
		decision.Versions, decision.States = append(decision.Versions, release.GetVersion()), append(decision.States, release.GetState())
	}
	if len(decision.GetRecordIds()) == 0 {
		return
	}
	verdicts, err := c.DecideRelease(federation.ctx, decision)
	check(err)
	for _, v := range verdicts {
		fmt.Println(v.GetProviderReference(), v.GetOutcome(), v.GetReleaseState())
	}
}

// A records office reviews what ends within a month: it renews what is still needed, and sees who has not confirmed what was
// taken back.
func Example_recordsOffice() {
	federation := open()
	defer federation.close()
	c := federation.dial("XA", member.KindSystem, sandbox.System)
	defer c.Close()

	var references []string
	for due, err := range c.ListDue(federation.ctx, &ententev1.ListDueRequest{Consultation: why()}) {
		check(err)
		references = append(references, due.GetProviderReference())
	}
	verdicts, err := c.Renew(federation.ctx, &ententev1.RenewRequest{
		Consultation: why(), ProviderReferences: references, Justification: "the group is active, file 7",
		RetainUntil: timestamppb.New(time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)),
	})
	check(err)
	fmt.Println(len(verdicts), "renewed or refused")

	open := &ententev1.ListSentRequest{Consultation: why(), Member: "XB", OpenOnly: true}
	for sent, err := range c.ListSent(federation.ctx, open) {
		check(err)
		if sent.GetDelivery().GetState() == ententev1.DeliveryState_DELIVERY_STATE_OVERDUE {
			fmt.Printf("XB is overdue with %x\n", sent.GetRecordId())
		}
	}
}

// An owner lets XB pass on to COORD what it made from a record under H2, and takes that back.
func Example_permission() {
	federation := open()
	defer federation.close()
	c := federation.dial("XA", member.KindSystem, sandbox.System)
	defer c.Close()

	entries, err := c.Permit(federation.ctx, &ententev1.PermitRequest{
		Consultation: why(), ProviderReference: "P-1", Holder: "XB", Recipients: []string{"COORD"},
		Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: timestamppb.New(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)),
	})
	check(err)
	for _, entry := range entries {
		check(c.RevokePermission(federation.ctx, &ententev1.RevokePermissionRequest{Consultation: why(), Entry: entry}))
	}
}

// An analyst exports the view for a prosecutor. Each row has its conditions in words, and they go wherever the row goes.
func Example_export() {
	federation := open()
	defer federation.close()
	c := federation.dial("XA", member.KindOfficer, sandbox.Officer)
	defer c.Close()

	for part, err := range c.Export(federation.ctx, &ententev1.ExportRequest{Consultation: why(), Recipient: "prosecutor XA, 17/2026"}) {
		check(err) // what came before an error is no export
		switch content := part.GetContent().(type) {
		case *ententev1.ExportResponse_Row:
			fmt.Println(content.Row.GetBanners(), content.Row.GetEntity().GetFacts())
		case *ententev1.ExportResponse_Summary:
			fmt.Println(content.Summary.GetWithoutPermission(), "rows need an owner's permission")
		}
	}
}

// An auditor verifies the node's trail without taking the node's word for it, and keeps its heads: the next trail must continue
// them.
func Example_auditTrail() {
	federation := open()
	defer federation.close()
	c := federation.dial("XA", member.KindAuditor, "iris")
	defer c.Close()

	kept := (*ententev1.TrailHeads)(nil) // of the verification before; a program keeps them in a file
	verifier := trail.NewVerifier("XA", federation.Roster().VerifyingKeys)
	check(verifier.Continues(kept))
	reason := &ententev1.AuditReason{Purpose: ententev1.AuditPurpose_AUDIT_PURPOSE_LAWFULNESS, CaseReference: "audit 2026-3"}
	for part, err := range c.ReadTrail(federation.ctx, &ententev1.ReadTrailRequest{Reason: reason}) {
		check(err)
		check(verifier.Take(part))
	}
	report, err := verifier.Finish()
	check(err)
	fmt.Printf("%d entries; %d of them countersigned by %s\n", report.Entries, report.WitnessedEntries, report.Witness)
	kept = report.Heads
	fmt.Println(len(kept.GetCheckpoint()) > 0)
}

// named is the audience of one member.
func named(id string) *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: []string{id}}}}
}
