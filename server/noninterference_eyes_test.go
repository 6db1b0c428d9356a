package server_test

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

const (
	lowest  = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY
	highest = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
)

// eyes are all that ask in these tests.
func eyes() []*eye {
	return []*eye{otherMember(), otherAuthority(), clearedLow(), grantingDesk(), mergedFor("low"), mergedFor("bob")}
}

func mergeFor(members []string, readers ...string) *ententev1.Audience {
	a := toMembers(members...)
	a.GetMembers().MergeFor = readers
	return a
}

func one(a *ententev1.Audience) []*ententev1.Audience { return []*ententev1.Audience{a} }

// otherMember is the node of XB, at the node of XA and at that of the coordinator.
func otherMember() *eye {
	e := &eye{name: "the node of another member", sites: []member.ID{"XA", "COORD"}}
	e.show = func(p *plan, c *claim) {
		c.owner = []member.ID{"XA", "XA", "XA", "XB", "XC"}[p.IntN(5)]
		c.authority = []string{"Police", "Customs"}[p.IntN(2)]
		audiences := []*ententev1.Audience{toAll(), toMembers("XB"), mergeFor([]string{"XB", "COORD"}, "XB"), toProject("harbour")}
		switch c.owner {
		case "XB":
			audiences = []*ententev1.Audience{toAll(), toMembers("XA"), mergeFor([]string{"XA", "COORD"}, "XA"), toProject("harbour")}
		case "XC":
			audiences = audiences[:2]
		}
		c.audiences = one(audiences[p.IntN(len(audiences))])
		c.level = ententev1.ClassificationLevel(1 + p.IntN(3))
	}
	e.hide = []func(*plan){
		func(p *plan) { p.secret(func(*claim) {}) },
		func(p *plan) { p.secret(func(c *claim) { c.authority, c.audiences = "Customs", one(toMembers("XC")) }) },
		func(p *plan) {
			p.secret(func(c *claim) { c.audiences = one(mergeFor([]string{"XC", "COORD"}, "XC")) })
		},
		func(p *plan) { p.secret(func(c *claim) { c.audiences = one(toMembers("COORD")) }) },
		func(p *plan) {
			p.secret(func(c *claim) { c.owner, c.audiences = "XC", one(mergeFor([]string{"XA", "COORD"}, "XA")) })
		},
		func(p *plan) {
			p.add(true, func(h *half, _ *answers) { h.openQuay() }, "the project quay begins")
			p.secret(func(c *claim) { c.audiences = one(toProject("quay")) })
		},
		func(p *plan) { p.secret(func(c *claim) { c.restrict, c.audiences = true, one(toAll()) }) },
		alsoForAnother, holdVisible, honeyVisible, lookAtHidden, pulledByAnother, changeSecret, changeSecret, permitSecret, dangling,
	}
	e.ask = askAsMember
	e.look = func(h *half, p *plan, a *answers) { lookAsOfficer(h) }
	return e
}

// alsoForAnother releases to XC, in another form, what the eye has.
func alsoForAnother(p *plan) {
	c := p.any(p.standing(p.shown))
	if c == nil || c.owner != "XA" || c.kind != ententev1.RecordKind_RECORD_KIND_PERSON {
		return
	}
	now, audience := *c, mergeFor([]string{"XC", "COORD"}, "XC")
	if p.IntN(2) == 0 {
		audience = treatedForXC()
		if p.strict { // the coordinator holds one form of a record, see TestWhatIsStillTold
			audience.GetMembers().Members = append(audience.GetMembers().Members, "COORD")
			audience.GetMembers().MergeFor = []string{"XC"}
		}
	}
	p.add(true, func(h *half, _ *answers) {
		verdicts, err := h.site("XA").ledger.Release(h.t.Context(), now.authority, []string{now.reference}, one(audience), false)
		h.must(err)
		if verdicts[0].GetOutcome() == ententev1.Outcome_OUTCOME_REJECTED { // a plan may say the same twice
			h.t.Fatalf("release %s: %v", now.reference, verdicts)
		}
	}, "release %s also to XC: %v", c.reference, audience)
}

func treatedForXC() *ententev1.Audience {
	audience := toMembers("XC")
	audience.Treatment = &ententev1.Treatment{LeaveOut: []string{"body.person.documents"}}
	return audience
}

func holdVisible(p *plan) {
	c := p.any(p.standing(p.shown))
	if c == nil {
		return
	}
	now := *c
	p.add(true, func(h *half, _ *answers) {
		_, err := h.site(now.owner).ledger.Hold(h.t.Context(), now.authority, []string{now.reference}, false, "a court asked", h.now().Add(9000e9))
		h.must(err)
	}, "hold %s", c.reference)
}

func honeyVisible(p *plan) {
	c := p.any(p.shown)
	if c == nil || c.owner != "XA" {
		return
	}
	now := *c
	p.add(true, func(h *half, _ *answers) {
		_, err := h.site("XA").honey.Mark(h.t.Context(), [][16]byte{[16]byte(now.id(h))}, false)
		h.must(err)
	}, "mark %s as honey", c.reference)
}

// lookAtHidden has people of XA look at what the eye may not see: it leaves entries in the trail.
func lookAtHidden(p *plan) {
	p.add(true, func(h *half, _ *answers) {
		client := ententev1.NewIntakeServiceClient(h.site("XA").as(member.KindSystem, "XA", "registry"))
		list, err := client.List(h.t.Context(), &ententev1.ListRequest{Consultation: asking()})
		h.must(err)
		for _, record := range list.GetRecords() {
			_, err = client.Get(h.t.Context(), &ententev1.GetRequest{Consultation: asking(), RecordId: record.GetRecordId()})
			h.must(err)
		}
		auditor := ententev1.NewAuditServiceClient(h.site("XA").as(member.KindAuditor, "XA", "aud"))
		_, err = auditor.ListEntries(h.t.Context(), &ententev1.ListEntriesRequest{Reason: &ententev1.AuditReason{Purpose: 1, CaseReference: "A 1"}})
		h.must(err)
	}, "people of XA look at its own records and its trail")
}

// pulledByAnother has XC ask XA and the coordinator: about a project of which XB has no records, for what is shown of XB's own is
// XB's to know.
func pulledByAnother(p *plan) {
	p.add(true, func(h *half, _ *answers) {
		for _, s := range []*site{h.site("XA"), h.site("COORD")} {
			_, err := ententev1.NewExchangeServiceClient(s.as(member.KindNode, "XC", "")).Heads(h.t.Context(), &ententev1.HeadsRequest{})
			h.must(err)
		}
		h.must(h.site("COORD").merged.catchUp())
		quay := askingAs("eve")
		quay.Scope = &ententev1.Scope{Projects: []string{"quay"}}
		_, err := ententev1.NewNetworkServiceClient(h.site("COORD").as(member.KindNode, "XC", "")).GetView(h.t.Context(), &ententev1.GetViewRequest{Consultation: quay})
		h.must(err)
	}, "XC asks")
}

// lookAsOfficer has an officer of XA follow all that XA holds, for the trail from which owners are told.
func lookAsOfficer(h *half) {
	call, err := ententev1.NewStreamServiceClient(h.site("XA").as(member.KindOfficer, "XA", "ann")).Subscribe(h.t.Context(), &ententev1.SubscribeRequest{Consultation: asking(), UntilCurrent: true})
	_, err = receiveUntil(call, err, nil)
	h.must(err)
}

// ids are the ids of all records of the plan, whether or not they are in this half, and one of none.
func (p *plan) ids(h *half) [][]byte {
	list := [][]byte{make([]byte, 16)}
	for _, c := range append(p.shown[:len(p.shown):len(p.shown)], p.hidden...) {
		list = append(list, c.id(h))
	}
	return list
}

func askAsMember(h *half, p *plan, a *answers) {
	for _, s := range []*site{h.site("XA"), h.site("COORD")} {
		conn := s.as(member.KindNode, "XB", "")
		exchange, at := ententev1.NewExchangeServiceClient(conn), "at "+string(s.id)
		askHeads(h, a, exchange, at)
		askPulls(h, a, exchange, s, at)
		askReceipts(h, a, exchange, s, at)
		askDisclosures(h, a, exchange, at)
		rosters := ententev1.NewRosterServiceClient(conn)
		ask(a, at, rosters.GetRoster, &ententev1.GetRosterRequest{})
		for _, id := range []string{"", "harbour", "quay", "nosuch"} {
			ask(a, at+" of "+id, rosters.ListProjectDocuments, &ententev1.ListProjectDocumentsRequest{ProjectId: id})
		}
		ask(a, at+" which is closed", ententev1.NewIntakeServiceClient(conn).Get, &ententev1.GetRequest{Consultation: asking(), ProviderReference: "H-1"})
	}
	askViews(h, p, a, ententev1.NewNetworkServiceClient(h.site("COORD").as(member.KindNode, "XB", "")), "eve")
}

func askHeads(h *half, a *answers, client ententev1.ExchangeServiceClient, at string) {
	held := h.site("XA").ledger.Digest("XA", "XB")
	for _, request := range []*ententev1.HeadsRequest{{}, {Digest: held[:]}, {OwnedByCaller: true}, {Owner: "XC"}, {Owner: "XA"}, {Owner: "COORD"}, {Owner: "XZ"}} {
		ask(a, fmt.Sprint(at, " of ", request.GetOwner(), request.GetOwnedByCaller(), len(request.GetDigest())), client.Heads, request)
	}
}

func askPulls(h *half, a *answers, client ententev1.ExchangeServiceClient, s *site, at string) {
	caughtUp := func(m *ententev1.PullResponse) bool { return m.GetCaughtUp() != nil }
	var some []*ententev1.StreamPosition
	for _, info := range s.ledger.StreamsShared(s.id, "XB") {
		some = append(some, &ententev1.StreamPosition{StreamId: info.ID[:], Size: 1})
	}
	some = append(some, &ententev1.StreamPosition{StreamId: h.unread("XB"), Size: 1})
	for i, request := range []*ententev1.PullRequest{
		{Contract: 2}, {Contract: 2, PositionsGiven: true}, {PositionsGiven: true, Positions: some}, {OwnedByCaller: true, PositionsGiven: true},
		{Owner: "XC", PositionsGiven: true, Contract: 2}, {Owner: "XA", PositionsGiven: true, Contract: 2}, {Owner: "XZ", PositionsGiven: true},
	} {
		follow(a, fmt.Sprint(at, " number ", i), client.Pull, request, caughtUp)
	}
}

// askReceipts hands over receipts that are refused: for a stream of others, where there is one, and with a wrong root.
func askReceipts(h *half, a *answers, client ententev1.ExchangeServiceClient, s *site, at string) {
	for i, id := range [][]byte{h.unread("XB"), bytes.Repeat([]byte{1}, 16)} {
		receipt := &ententev1.Receipt{Reader: "XB", Owner: string(s.id), StreamId: id, Size: 1, Root: make([]byte, 32), SignedAt: timestamppb.New(h.now())}
		body, err := proto.Marshal(receipt)
		h.must(err)
		doc := member.SignDocument("receipt", body, "XB", h.g.fed.Seat("XB").Signing)
		ask(a, fmt.Sprint(at, " number ", i), client.SubmitReceipts, &ententev1.SubmitReceiptsRequest{Receipts: []*ententev1.SignedDocument{doc}})
	}
}

func askDisclosures(h *half, a *answers, client ententev1.ExchangeServiceClient, at string) {
	for _, size := range []uint32{1, 1000} {
		askPages(a, fmt.Sprint(at, " by ", size), client.ListDisclosures, func(token []byte) *ententev1.ListDisclosuresRequest {
			return &ententev1.ListDisclosuresRequest{PageSize: size, PageToken: token}
		})
	}
	ask(a, at+" lately", client.ListDisclosures, &ententev1.ListDisclosuresRequest{Since: timestamppb.New(h.now().Add(-300e9))})
	trail := h.site("XB").trail
	h.must(trail.CloseInterval(h.t.Context()))
	request, err := trail.WitnessRequest(0)
	h.must(err)
	ask(a, at, client.WitnessAudit, request)
	ask(a, at+" again", client.WitnessAudit, request)
	ask(a, at+" of nonsense", client.WitnessAudit, &ententev1.WitnessAuditRequest{Checkpoint: []byte("nonsense")})
}

// askViews asks for merged views in every way.
func askViews(h *half, p *plan, a *answers, client ententev1.NetworkServiceClient, officer string) {
	for i, scope := range []*ententev1.Scope{nil, {Projects: []string{"harbour"}}, {Projects: []string{"quay"}}, {AllMembersOnly: true}, {Clearance: lowest}, {Kinds: []ententev1.RecordKind{1}}} {
		c := askingAs(officer)
		c.Scope = scope
		for _, size := range []uint32{1, 3, 0} {
			if i > 0 && size > 0 {
				continue
			}
			askPages(a, fmt.Sprint("scope ", i, " by ", size), client.GetView, func(token []byte) *ententev1.GetViewRequest {
				return &ententev1.GetViewRequest{Consultation: c, PageSize: size, PageToken: token}
			})
		}
	}
	c := askingAs(officer)
	c.ProtectedReason = "a child may be in danger"
	ask(a, "with a reason", client.GetView, &ententev1.GetViewRequest{Consultation: c})
	follow(a, "", client.Watch, &ententev1.WatchRequest{Consultation: askingAs(officer)}, func(*ententev1.WatchResponse) bool { return true })
	follow(a, "whole", client.Export, &ententev1.ExportRequest{Consultation: askingAs(officer), Recipient: "court"}, nil)
	for i, id := range p.ids(h) {
		ask(a, fmt.Sprint("number ", i), client.GetEntity, &ententev1.GetEntityRequest{Consultation: askingAs(officer), Handle: id})
		if i%3 == 0 {
			follow(a, fmt.Sprint("number ", i), client.Export, &ententev1.ExportRequest{Consultation: askingAs(officer), Recipient: "court", Handles: [][]byte{id}}, nil)
		}
	}
}

// otherAuthority is a system of XA that acts for another authority than the one whose records are hidden.
func otherAuthority() *eye {
	e := &eye{name: "a system of another authority", sites: []member.ID{"XA"}, within: true}
	e.show = func(p *plan, c *claim) {
		c.authority = []string{"Customs", "Customs", "Police"}[p.IntN(3)]
		audiences := []*ententev1.Audience{toProject("harbour"), toAll(), toMembers("XB"), nil}
		if c.authority == "Police" {
			audiences = audiences[:1]
		}
		audience := audiences[p.IntN(len(audiences))]
		if audience != nil {
			c.audiences = one(audience)
		}
	}
	notPractice := func(c *claim) { c.kind = ententev1.RecordKind_RECORD_KIND_PERSON } // those are for the whole member
	e.hide = []func(*plan){
		func(p *plan) { p.secret(notPractice) },
		func(p *plan) { p.secret(func(c *claim) { notPractice(c); c.audiences = one(toAll()) }) },
		func(p *plan) { p.secret(func(c *claim) { notPractice(c); c.audiences = one(toMembers("XB", "XC")) }) },
		func(p *plan) {
			p.secret(func(c *claim) { notPractice(c); c.restrict, c.audiences = true, one(toAll()) })
		},
		func(p *plan) {
			p.secret(func(c *claim) { c.owner, c.audiences = "XC", one(toMembers("XA")); notPractice(c) })
		},
		func(p *plan) {
			p.add(true, func(h *half, _ *answers) { h.openQuay() }, "the project quay begins")
			p.secret(func(c *claim) { notPractice(c); c.audiences = one(toProject("quay")) })
		},
		honeyVisible, lookAtHidden, changeSecret, permitSecret,
	}
	e.open = func(p *plan) {
		for _, audience := range []*ententev1.Audience{toAll(), toProject("harbour"), toMembers("XB", "XC")} {
			p.opening("XA", audience)
		}
	}
	e.ask = askAsSystem
	return e
}

func askAsSystem(h *half, p *plan, a *answers) {
	conn := h.site("XA").as(member.KindSystem, "XA", "customs")
	intake := ententev1.NewIntakeServiceClient(conn)
	askOwn(h, p, a, intake)
	askWrites(h, p, a, intake)
	for _, project := range []string{"harbour", "quay", "nosuch", ""} {
		askStream(a, ententev1.NewStreamServiceClient(conn), project, asking())
	}
	askLibrary(h, p, a, ententev1.NewLibraryServiceClient(conn), asking())
}

func askOwn(h *half, p *plan, a *answers, intake ententev1.IntakeServiceClient) {
	for i, id := range p.ids(h) {
		ask(a, fmt.Sprint("by id ", i), intake.Get, &ententev1.GetRequest{Consultation: asking(), RecordId: id})
	}
	for i, c := range append(p.shown[:len(p.shown):len(p.shown)], p.hidden...) {
		ask(a, fmt.Sprint("by reference ", i), intake.Get, &ententev1.GetRequest{Consultation: asking(), ProviderReference: c.reference, Version: uint64(i % 3)})
	}
	for _, size := range []uint32{1, 0} {
		askPages(a, fmt.Sprint("by ", size), intake.List, func(token []byte) *ententev1.ListRequest {
			return &ententev1.ListRequest{Consultation: asking(), PageSize: size, PageToken: token}
		})
		askPages(a, fmt.Sprint("by ", size), intake.ListDue, func(token []byte) *ententev1.ListDueRequest {
			return &ententev1.ListDueRequest{Consultation: asking(), PageSize: size, PageToken: token, Within: durationpb.New(365 * 24 * 3600e9)}
		})
		for _, to := range []string{"XB", "XC", "XD", "XZ"} {
			askPages(a, fmt.Sprint("to ", to, " by ", size), intake.ListSent, func(token []byte) *ententev1.ListSentRequest {
				return &ententev1.ListSentRequest{Consultation: asking(), Member: to, OpenOnly: size == 1, PageSize: size, PageToken: token}
			})
		}
	}
	ask(a, "given", intake.ListPermissions, &ententev1.ListPermissionsRequest{Consultation: asking()})
	ask(a, "received", intake.ListPermissions, &ententev1.ListPermissionsRequest{Consultation: asking(), Received: true})
}

// askWrites asks to change what is of another authority, or is not there.
func askWrites(h *half, p *plan, a *answers, intake ententev1.IntakeServiceClient) {
	references := []string{"nosuch"}
	for _, c := range p.hidden {
		references = append(references, c.reference)
	}
	reason := ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE
	ask(a, "of others", intake.Withdraw, &ententev1.WithdrawRequest{ProviderReferences: references, Reason: reason})
	ask(a, "of others", intake.Release, &ententev1.ReleaseRequest{ProviderReferences: references, Audiences: one(toAll())})
	ask(a, "of others", intake.Hold, &ententev1.HoldRequest{Consultation: asking(), ProviderReferences: references, Reason: "why", Until: timestamppb.New(h.now().Add(1000e9))})
	ask(a, "of others", intake.Restrict, &ententev1.RestrictRequest{Consultation: asking(), ProviderReferences: references, Reason: "why"})
	for i, reference := range references {
		ask(a, fmt.Sprint("of others ", i), intake.Permit, &ententev1.PermitRequest{Consultation: asking(), ProviderReference: reference, Holder: "XC", Export: true,
			Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: timestamppb.New(h.now().Add(1000e9))})
	}
	for _, sequence := range []uint64{1, 2, 3} {
		ask(a, fmt.Sprint("number ", sequence), intake.RevokePermission, &ententev1.RevokePermissionRequest{Consultation: asking(),
			Entry: &ententev1.EntryRef{StreamId: h.unread("XB"), Sequence: sequence}})
	}
	follow(a, "of others", intake.PreviewRelease, &ententev1.PreviewReleaseRequest{Consultation: asking(), Audiences: one(toAll()),
		Selection: &ententev1.RecordSelection{ProviderReferences: references, RecordIds: p.ids(h)}}, nil)
}

// askStream follows from the beginning, and on from the middle.
func askStream(a *answers, client ententev1.StreamServiceClient, project string, c *ententev1.Consultation) {
	request := &ententev1.SubscribeRequest{Consultation: c, ProjectId: project, UntilCurrent: true}
	all := follow(a, "of "+project, client.Subscribe, request, nil)
	if len(all) > 0 {
		request.Cursor = all[0].GetCursor()
		follow(a, "on, of "+project, client.Subscribe, request, nil)
	}
}

func askLibrary(h *half, p *plan, a *answers, client ententev1.LibraryServiceClient, c *ententev1.Consultation) {
	for _, size := range []uint32{1, 0} {
		askPages(a, fmt.Sprint("by ", size), client.List, func(token []byte) *ententev1.LibraryServiceListRequest {
			return &ententev1.LibraryServiceListRequest{Consultation: c, PageSize: size, PageToken: token}
		})
	}
	for i, id := range p.ids(h) {
		for _, owner := range []string{"XA", "XC"} {
			ask(a, fmt.Sprint(owner, " number ", i), client.Get, &ententev1.LibraryServiceGetRequest{Consultation: c, Owner: owner, RecordId: id})
		}
	}
}

// clearedLow is an officer of XA whose clearance is low, and who decides on releases.
func clearedLow() *eye {
	e := &eye{name: "an officer of low clearance", sites: []member.ID{"XA"}, within: true}
	e.show = func(p *plan, c *claim) {
		c.owner = []member.ID{"XA", "XC"}[p.IntN(2)]
		c.audiences = one([]*ententev1.Audience{toAll(), toMembers("XA", "XB")}[p.IntN(2)])
		if c.owner == "XA" {
			c.audiences = one([]*ententev1.Audience{toAll(), toProject("harbour"), toMembers("XB")}[p.IntN(3)])
			c.restrict = c.kind == ententev1.RecordKind_RECORD_KIND_PERSON && p.IntN(3) == 0
		}
		if c.owner == "XC" && c.audiences[0].GetMembers() != nil {
			c.audiences = one(toMembers("XA"))
		}
	}
	e.open = func(p *plan) {
		for _, audience := range []*ententev1.Audience{toAll(), toProject("harbour"), toMembers("XB", "XC")} {
			p.opening("XA", audience)
		}
		for _, audience := range []*ententev1.Audience{toAll(), toMembers("XA")} {
			p.opening("XC", audience)
		}
	}
	above := func(c *claim) { c.level = highest }
	unfit := func(c *claim) { c.purpose = ententev1.Purpose_PURPOSE_BORDER_CONTROL }
	for _, change := range []func(*claim){above, unfit} {
		e.hide = append(e.hide,
			func(p *plan) { p.secret(func(c *claim) { change(c); c.audiences = one(toAll()) }) },
			func(p *plan) { p.secret(func(c *claim) { change(c); c.audiences = one(toMembers("XC")) }) },
			func(p *plan) {
				p.secret(func(c *claim) { change(c); c.owner, c.audiences = "XC", one(toMembers("XA")) })
			})
	}
	e.hide = append(e.hide,
		func(p *plan) {
			p.secret(func(c *claim) { c.audiences = nil; c.kind = ententev1.RecordKind_RECORD_KIND_PERSON })
		},
		func(p *plan) { // it waits for somebody who may see it
			p.secret(func(c *claim) {
				above(c)
				c.kind, c.restrict, c.audiences = ententev1.RecordKind_RECORD_KIND_PERSON, true, one(toAll())
			})
		}, honeyVisible, holdVisible, lookAtHidden)
	e.ask = askAsOfficer
	return e
}

func askAsOfficer(h *half, p *plan, a *answers) {
	conn := h.site("XA").as(member.KindOfficer, "XA", "low")
	for _, project := range []string{"", "harbour", "quay", "nosuch"} {
		askStream(a, ententev1.NewStreamServiceClient(conn), project, asking())
	}
	askLibrary(h, p, a, ententev1.NewLibraryServiceClient(conn), asking())
	intake := ententev1.NewIntakeServiceClient(conn)
	for _, size := range []uint32{1, 2, 0} {
		askPages(a, fmt.Sprint("by ", size), intake.ListPending, func(token []byte) *ententev1.ListPendingRequest {
			return &ententev1.ListPendingRequest{Consultation: asking(), PageSize: size, PageToken: token}
		})
	}
	for i, c := range p.hidden {
		ask(a, fmt.Sprint("on what is hidden ", i), intake.DecideRelease, &ententev1.DecideReleaseRequest{Consultation: asking(), RecordIds: [][]byte{c.id(h)}, Versions: []uint64{c.version}, Approve: true})
	}
}

// grantingDesk is the system of XA that opens streams to readers. That is a matter of the whole member, so what is hidden from
// it is what was released to nobody, and what is of others.
func grantingDesk() *eye {
	e := &eye{name: "the system that opens streams", sites: []member.ID{"XA"}, within: true}
	e.show = func(p *plan, c *claim) {
		c.audiences = one([]*ententev1.Audience{toAll(), toProject("harbour"), toMembers("XB")}[p.IntN(3)])
	}
	e.hide = []func(*plan){
		func(p *plan) { p.secret(func(*claim) {}) },
		func(p *plan) { p.secret(func(c *claim) { c.owner, c.audiences = "XC", one(toMembers("XA")) }) },
		func(p *plan) { p.secret(func(c *claim) { c.restrict, c.audiences = true, one(toMembers("XB")) }) },
		honeyVisible, holdVisible, lookAtHidden,
	}
	e.ask = func(h *half, p *plan, a *answers) {
		intake := ententev1.NewIntakeServiceClient(h.site("XA").as(member.KindSystem, "XA", "desk"))
		for _, to := range []string{"XB", "XC", "XZ"} {
			askPages(a, "for "+to, intake.PreviewReader, func(token []byte) *ententev1.PreviewReaderRequest {
				return &ententev1.PreviewReaderRequest{Consultation: asking(), Member: to, Records: true, PageSize: 2, PageToken: token}
			})
		}
		ask(a, "of a received stream", intake.GrantStream, &ententev1.GrantStreamRequest{Consultation: asking(), StreamId: received1(h), Member: "XD", DryRun: true})
	}
	return e
}

// received1 is the id of a stream that XA has received, if there is one, and one that there is not else.
func received1(h *half) []byte {
	for _, info := range h.site("XA").ledger.Streams() {
		if info.Owner != "XA" {
			return info.ID[:]
		}
	}
	return bytes.Repeat([]byte{1}, 16)
}

// mergedFor is an officer of the coordinator: "low" of low clearance, "bob" of the project harbour only.
func mergedFor(officer string) *eye {
	e := &eye{name: "the coordinator's officer " + officer, sites: []member.ID{"COORD"}, within: true}
	e.show = func(p *plan, c *claim) {
		c.owner = []member.ID{"XA", "XB"}[p.IntN(2)]
		c.audiences = one(toProject("harbour"))
	}
	hide := []func(*claim){func(c *claim) { c.level = highest }, func(c *claim) { c.purpose = ententev1.Purpose_PURPOSE_WARN; c.level = highest },
		func(c *claim) { c.status = ententev1.PersonStatus_PERSON_STATUS_WITNESS; c.level = highest }}
	audiences := []*ententev1.Audience{toProject("harbour"), toAll(), toMembers("COORD")}
	if officer == "bob" {
		hide = []func(*claim){func(*claim) {}}
		audiences = []*ententev1.Audience{toAll(), toMembers("COORD"), toMembers("XC")}
	}
	for _, change := range hide {
		for _, audience := range audiences {
			e.hide = append(e.hide, func(p *plan) {
				p.secret(func(c *claim) {
					change(c)
					c.owner, c.audiences = []member.ID{"XA", "XB"}[p.IntN(2)], one(audience)
					if officer == "bob" {
						c.kind = ententev1.RecordKind_RECORD_KIND_PERSON // practices under no project are for everybody
					}
				})
			})
		}
	}
	e.hide = append(e.hide, changeSecret)
	e.ask = func(h *half, p *plan, a *answers) {
		conn := h.site("COORD").as(member.KindOfficer, "COORD", officer)
		askViews(h, p, a, ententev1.NewNetworkServiceClient(conn), officer)
		askLibrary(h, p, a, ententev1.NewLibraryServiceClient(conn), askingAs(officer))
	}
	return e
}
