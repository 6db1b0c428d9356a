package server_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/policy"
)

// labelled is a world with a record of each label that the rules of access tell apart.
type labelled struct {
	*half
	claims []*claim
	access atomic.Pointer[policy.Access] // of who asks now: the grants of all follow it
}

// unlimited are quotas for a clock that stands still.
func unlimited() server.Quotas {
	much := server.Quota{CallsPerSecond: 1e6, RecordsPerSecond: 1e9, BytesPerSecond: 1e12, WorkPerSecond: 1e6, OpenStreams: 1000}
	return server.Quotas{Nodes: much, Systems: much, Officers: much, Auditors: much, Operators: much}
}

// newLabelled: labels are purposes by levels by what a record is about; some are over soon.
func newLabelled(t *testing.T) *labelled {
	h := newHalf(t, newGround(t))
	x := &labelled{half: h}
	h.plant.configure = func(c *server.Config) { c.Grants, c.Quotas = x.granted, unlimited }
	for _, id := range []member.ID{"XA", "XB", "COORD"} {
		h.site(id)
	}
	h.site("XA").serve()
	h.site("COORD").serve()
	t.Cleanup(h.stop)
	for purpose := ententev1.Purpose(1); int(purpose) < len(ententev1.Purpose_name); purpose++ {
		for level := ententev1.ClassificationLevel(0); int(level) < len(ententev1.ClassificationLevel_name); level++ {
			for _, status := range []ententev1.PersonStatus{ententev1.PersonStatus_PERSON_STATUS_SUSPECT, ententev1.PersonStatus_PERSON_STATUS_WITNESS, ententev1.PersonStatus_PERSON_STATUS_VICTIM} {
				x.add(&claim{kind: ententev1.RecordKind_RECORD_KIND_PERSON, purpose: purpose, level: level, status: status, retain: 1e8})
			}
			x.add(&claim{kind: ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE, purpose: purpose, level: level, retain: 1e8})
			x.add(&claim{kind: ententev1.RecordKind_RECORD_KIND_PERSON, purpose: purpose, level: level, status: 1, retain: 1e8, restrict: true})
		}
		x.add(&claim{kind: ententev1.RecordKind_RECORD_KIND_PERSON, purpose: purpose, level: 1, status: 1, retain: 1000})
		x.add(&claim{kind: ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE, purpose: purpose, level: 1, retain: 1000})
	}
	h.settle()
	h.clock.Store(2000) // what was over soon is over
	return x
}

func (x *labelled) add(c *claim) {
	c.owner, c.authority, c.version, c.name, c.audiences = "XA", "Police", 1, 100+len(x.claims), one(toAll())
	c.reference = fmt.Sprint("L-", len(x.claims))
	x.claims = append(x.claims, c)
	c.push(x.half)
}

// granted gives everybody every purpose, and the clearance of now.
func (x *labelled) granted() policy.Grants {
	grants, access := worldGrants(), x.access.Load()
	var all []ententev1.Purpose
	for purpose := range ententev1.Purpose_name {
		all = append(all, ententev1.Purpose(purpose))
	}
	grants.Officers["ann"] = policy.Officer{Purposes: all, Projects: []string{policy.AllProjects}, Clearance: access.Clearance, Approve: true}
	registry := grants.Systems["registry"]
	registry.Clearance = access.Clearance
	grants.Systems["registry"] = registry
	return grants
}

// consultation is the question of now.
func (x *labelled) consultation() *ententev1.Consultation {
	access := x.access.Load()
	c := askingAs("ann")
	c.Purpose = access.Purpose
	if access.ProtectedReason {
		c.ProtectedReason = "a child may be in danger"
	}
	return c
}

// seen are the references of records in an answer.
type seen map[string]bool

func (x *labelled) note(s seen, ids ...[]byte) {
	for _, id := range ids {
		at := slices.IndexFunc(x.claims, func(c *claim) bool { return string(c.id(x.half)) == string(id) })
		if at < 0 {
			x.t.Fatalf("a record that nobody pushed: %x", id)
		}
		s[x.claims[at].reference] = true
	}
}

// shows is a way to ask for records, and what the policy says of each.
type shows struct {
	method string
	ask    func(x *labelled) seen            // for all of them
	each   func(x *labelled, c *claim) error // or for one
	wants  func(a policy.Access, l policy.Label, c *claim) bool
}

func released1(c *claim) bool { return !c.restrict }

func may(a policy.Access, l policy.Label, c *claim) bool { return released1(c) && policy.May(a, l) }

func mayOwn(a policy.Access, l policy.Label, _ *claim) bool { return policy.MayOwn(a, l) }

// mayBulk is what a merged view takes: no practices, and what is protected only for a reason.
func mayBulk(a policy.Access, l policy.Label, c *claim) bool {
	return c.kind == ententev1.RecordKind_RECORD_KIND_PERSON && released1(c) && policy.MayBulk(a, l)
}

func library1(a policy.Access, l policy.Label, c *claim) bool {
	return c.kind == ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE && policy.May(a, l)
}

func showing() []shows {
	return []shows{
		{ententev1.IntakeService_Get_FullMethodName, nil, (*labelled).getOwn, mayOwn},
		{ententev1.IntakeService_List_FullMethodName, (*labelled).listedOwn, nil, mayOwn},
		{ententev1.IntakeService_PreviewRelease_FullMethodName, (*labelled).previewed, nil, mayOwn},
		{ententev1.IntakeService_ListPending_FullMethodName, (*labelled).pending, nil, func(a policy.Access, l policy.Label, c *claim) bool {
			return c.restrict && policy.MayDecideOn(a, l)
		}},
		{ententev1.StreamService_Subscribe_FullMethodName, (*labelled).subscribed, nil, may},
		{ententev1.LibraryService_List_FullMethodName, (*labelled).library, nil, library1},
		{ententev1.LibraryService_Get_FullMethodName, nil, (*labelled).getLibrary, library1},
		{ententev1.NetworkService_GetView_FullMethodName, (*labelled).viewed, nil, mayBulk},
		{ententev1.NetworkService_GetEntity_FullMethodName, nil, (*labelled).entity, mayBulk},
		{ententev1.NetworkService_Export_FullMethodName, (*labelled).exported, nil, mayBulk},
		// Between nodes labels decide nothing: who reads a stream gets what is in it, and applies the rules at home.
		{ententev1.ExchangeService_Pull_FullMethodName, (*labelled).pulled, nil, func(_ policy.Access, _ policy.Label, c *claim) bool { return released1(c) }},
	}
}

// noContent are the methods whose answers hold no record's content, or only what another method shows as well, with why.
func noContent() map[string]string {
	const verdicts, ids, node, health, trail = "verdicts", "names and states of the own authority's records", "how a node is, or what goes between nodes", "health", "what the trail says"
	list := map[string]string{
		ententev1.NetworkService_Watch_FullMethodName:               "changes between two views, each as GetView shows it",
		ententev1.ExchangeService_ListDisclosures_FullMethodName:    "ids of the caller's own records",
		ententev1.RosterService_GetRoster_FullMethodName:            "who is in",
		ententev1.RosterService_ListProjectDocuments_FullMethodName: "who is in",
	}
	for why, methods := range map[string][]string{
		verdicts: {ententev1.IntakeService_Push_FullMethodName, ententev1.IntakeService_Release_FullMethodName, ententev1.IntakeService_Withdraw_FullMethodName, ententev1.IntakeService_DecideRelease_FullMethodName,
			ententev1.IntakeService_Restrict_FullMethodName, ententev1.IntakeService_Hold_FullMethodName, ententev1.IntakeService_Renew_FullMethodName, ententev1.IntakeService_Permit_FullMethodName,
			ententev1.IntakeService_RevokePermission_FullMethodName, ententev1.IntakeService_GrantStream_FullMethodName},
		ids:    {ententev1.IntakeService_ListDue_FullMethodName, ententev1.IntakeService_ListSent_FullMethodName, ententev1.IntakeService_ListPermissions_FullMethodName, ententev1.IntakeService_PreviewReader_FullMethodName},
		node:   {ententev1.ExchangeService_Heads_FullMethodName, ententev1.ExchangeService_SubmitReceipts_FullMethodName, ententev1.ExchangeService_WitnessAudit_FullMethodName, ententev1.AdminService_GetStatus_FullMethodName, ententev1.AdminService_Backup_FullMethodName, ententev1.AdminService_Reseal_FullMethodName, ententev1.AdminService_ExportStreams_FullMethodName, ententev1.AdminService_ImportStreams_FullMethodName, ententev1.AdminService_Compact_FullMethodName, ententev1.AdminService_ConfirmClock_FullMethodName},
		health: {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/List"},
		trail:  {ententev1.AuditService_ListEntries_FullMethodName, ententev1.AuditService_ReadTrail_FullMethodName, ententev1.AuditService_FindSubject_FullMethodName, ententev1.AuditService_TraceSubject_FullMethodName, ententev1.AuditService_Reconcile_FullMethodName, ententev1.AuditService_SetHoney_FullMethodName, ententev1.AuditService_ListAlerts_FullMethodName},
	} {
		for _, method := range methods {
			list[method] = why
		}
	}
	return list
}

func TestEveryMethodEitherShowsRecordsByTheirLabelsOrNone(t *testing.T) {
	for _, method := range allMethods() {
		shown := slices.ContainsFunc(showing(), func(s shows) bool { return s.method == method })
		_, none := noContent()[method]
		if shown == none {
			t.Errorf("%s: shown %t, and nothing to show %t", method, shown, none)
		}
	}
}

func TestAnAnswerShowsARecordWhereThePolicySaysSo(t *testing.T) {
	x := newLabelled(t)
	labels := make([]policy.Label, len(x.claims))
	for i, c := range x.claims {
		labels[i] = policy.LabelOfRecord(c.record(x.half))
	}
	cells := 0
	for purpose := ententev1.Purpose(1); int(purpose) < len(ententev1.Purpose_name); purpose++ {
		for clearance := ententev1.ClassificationLevel(0); int(clearance) < len(ententev1.ClassificationLevel_name); clearance++ {
			reason := (int(purpose)+int(clearance))%2 == 0
			x.access.Store(&policy.Access{Purpose: purpose, Clearance: clearance, ProtectedReason: reason, Day: x.now().Unix()})
			for _, s := range showing() {
				cells += x.compare(t, s, labels)
			}
		}
	}
	t.Logf("%d cells", cells)
}

// compare holds one method against the policy for who asks now, and says for how many records.
func (x *labelled) compare(t *testing.T, s shows, labels []policy.Label) (cells int) {
	t.Helper()
	access := *x.access.Load()
	var got seen
	if s.ask != nil {
		got = s.ask(x)
	}
	for i, c := range x.claims {
		if s.each != nil && i%16 != int(access.Purpose+9*ententev1.Purpose(access.Clearance))%16 {
			continue // one by one only some, others each time
		}
		shown := got[c.reference]
		if s.each != nil {
			err := s.each(x, c)
			if err != nil {
				wantCode(t, err, codes.NotFound)
			}
			shown = err == nil
		}
		cells++
		if want := s.wants(access, labels[i], c); shown != want {
			t.Fatalf("%s for %v: %s of %s at %s, %s: shown %t, want %t", s.method, access, c.kind, c.purpose, c.level, c.status, shown, want)
		}
	}
	return cells
}

func (x *labelled) registry() ententev1.IntakeServiceClient {
	return ententev1.NewIntakeServiceClient(x.site("XA").as(member.KindSystem, "XA", "registry"))
}

// own is the question of now by a system for nobody in person.
func (x *labelled) own() *ententev1.Consultation {
	c := x.consultation()
	c.Officer = ""
	return c
}

func (x *labelled) getOwn(c *claim) error {
	_, err := x.registry().Get(x.t.Context(), &ententev1.GetRequest{Consultation: x.own(), ProviderReference: c.reference})
	return err
}

func (x *labelled) listedOwn() seen {
	s := seen{}
	list, err := x.registry().List(x.t.Context(), &ententev1.ListRequest{Consultation: x.own(), PageSize: 1000})
	x.must(err)
	for _, held := range list.GetRecords() {
		x.note(s, held.GetRecordId())
	}
	return s
}

func (x *labelled) previewed() seen {
	s, selection := seen{}, &ententev1.RecordSelection{}
	for _, c := range x.claims {
		selection.ProviderReferences = append(selection.ProviderReferences, c.reference)
	}
	call, err := x.registry().PreviewRelease(x.t.Context(), &ententev1.PreviewReleaseRequest{Consultation: x.own(), Audiences: one(toMembers("XB")), Selection: selection})
	all, err := receiveUntil(call, err, nil)
	x.must(err)
	for _, one := range all {
		if len(one.GetForms()) > 0 {
			x.note(s, one.GetRecordId())
		}
	}
	return s
}

func (x *labelled) pending() seen {
	s := seen{}
	client := ententev1.NewIntakeServiceClient(x.site("XA").as(member.KindOfficer, "XA", "ann"))
	list, err := client.ListPending(x.t.Context(), &ententev1.ListPendingRequest{Consultation: x.consultation(), PageSize: 200})
	x.must(err)
	for _, one := range list.GetReleases() {
		x.note(s, one.GetRecordId())
	}
	return s
}

func (x *labelled) subscribed() seen {
	s := seen{}
	client := ententev1.NewStreamServiceClient(x.site("COORD").as(member.KindOfficer, "COORD", "ann"))
	call, err := client.Subscribe(x.t.Context(), &ententev1.SubscribeRequest{Consultation: x.consultation(), UntilCurrent: true})
	all, err := receiveUntil(call, err, nil)
	x.must(err)
	for _, message := range all {
		for _, item := range message.GetItems() {
			x.note(s, item.GetRecordId())
		}
	}
	return s
}

func (x *labelled) library() seen {
	s := seen{}
	client := ententev1.NewLibraryServiceClient(x.site("XA").as(member.KindOfficer, "XA", "ann"))
	list, err := client.List(x.t.Context(), &ententev1.LibraryServiceListRequest{Consultation: x.consultation(), PageSize: 1000})
	x.must(err)
	for _, item := range list.GetItems() {
		x.note(s, item.GetRecord().GetRecordId())
	}
	return s
}

func (x *labelled) getLibrary(c *claim) error {
	client := ententev1.NewLibraryServiceClient(x.site("COORD").as(member.KindOfficer, "COORD", "ann"))
	_, err := client.Get(x.t.Context(), &ententev1.LibraryServiceGetRequest{Consultation: x.consultation(), Owner: "XA", RecordId: c.id(x.half)})
	return err
}

func (x *labelled) network() ententev1.NetworkServiceClient {
	return ententev1.NewNetworkServiceClient(x.site("COORD").as(member.KindOfficer, "COORD", "ann"))
}

func (x *labelled) sources(s seen, e *ententev1.ViewEntity) {
	for _, source := range e.GetSources() {
		x.note(s, source.GetRecordId())
	}
}

func (x *labelled) viewed() seen {
	s := seen{}
	view, err := x.network().GetView(x.t.Context(), &ententev1.GetViewRequest{Consultation: x.consultation(), PageSize: 2000})
	x.must(err)
	for _, entity := range view.GetEntities() {
		x.sources(s, entity)
	}
	return s
}

func (x *labelled) entity(c *claim) error {
	_, err := x.network().GetEntity(x.t.Context(), &ententev1.GetEntityRequest{Consultation: x.consultation(), Handle: c.id(x.half)})
	return err
}

func (x *labelled) exported() seen {
	s := seen{}
	call, err := x.network().Export(x.t.Context(), &ententev1.ExportRequest{Consultation: x.consultation(), Recipient: "court"})
	all, err := receiveUntil(call, err, nil)
	x.must(err)
	for _, m := range all {
		x.sources(s, m.GetRow().GetEntity())
	}
	return s
}

func (x *labelled) pulled() seen {
	s := seen{}
	client := ententev1.NewExchangeServiceClient(x.site("XA").as(member.KindNode, "XB", ""))
	call, err := client.Pull(x.t.Context(), &ententev1.PullRequest{PositionsGiven: true, Contract: 2})
	all, err := receiveUntil(call, err, func(m *ententev1.PullResponse) bool { return m.GetCaughtUp() != nil })
	x.must(err)
	for _, m := range all {
		for _, e := range m.GetEntries().GetEntries() {
			payload, released := &ententev1.StreamPayload{}, &ententev1.ReleasedRecord{}
			x.must(proto.Unmarshal(e.GetPayload(), payload))
			x.must(proto.Unmarshal(payload.GetReleasedRecord(), released))
			if len(released.GetRecordId()) > 0 {
				x.note(s, released.GetRecordId())
			}
		}
	}
	return s
}
