package server_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
)

// newDesk is a node of XA with two officers who may not see what the registry pushes unmarked: vic vets people, and low is
// cleared for the lowest marking only.
func newDesk(t *testing.T) (*node, ententev1.IntakeServiceClient) {
	w := newWorld(t)
	w.grants.Officers["vic"] = policy.Officer{
		Purposes: []ententev1.Purpose{ententev1.Purpose_PURPOSE_SECURITY_CHECK}, Projects: []string{policy.AllProjects}, Clearance: ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL,
	}
	w.grants.Officers["low"] = policy.Officer{Purposes: []ententev1.Purpose{ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION}, Projects: []string{policy.AllProjects}}
	n := w.start("XA")
	return n, ententev1.NewIntakeServiceClient(n.system("registry"))
}

// vetting is a question of vic's.
func vetting() *ententev1.Consultation {
	c := askingAs("vic")
	c.Purpose = ententev1.Purpose_PURPOSE_SECURITY_CHECK
	return c
}

// open is a person whom officers of the lowest clearance may see.
func open(reference string, audiences ...*ententev1.Audience) *ententev1.PushItem {
	record := personRecord(reference, 1)
	record.Envelope.Classification = &ententev1.Classification{Level: ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY}
	return item(record, audiences...)
}

// sensitive is a person whose release waits for a second one.
func sensitive(reference string, audiences ...*ententev1.Audience) *ententev1.PushItem {
	record := personRecord(reference, 1)
	record.Envelope.Handling.Codes = []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H2}
	return item(record, audiences...)
}

func previewsOf(t *testing.T, c ententev1.IntakeServiceClient, asked *ententev1.Consultation, to *ententev1.Audience, selection *ententev1.RecordSelection) (list []*ententev1.PreviewReleaseResponse) {
	t.Helper()
	call, err := c.PreviewRelease(patient(t), &ententev1.PreviewReleaseRequest{Consultation: asked, Audiences: []*ententev1.Audience{to}, Selection: selection})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
}

func TestAPreviewAnswersWhatMayNotBeSeenAsIfItWereNotThere(t *testing.T) {
	n, c := newDesk(t)
	pushAll(t, n.system("registry"), sensitive("hidden", toProject("harbour")), open("plain", toMembers("XC")))
	id := n.ledger.RecordID("Police", "hidden")
	for name, asked := range map[string]*ententev1.Consultation{"for another purpose": vetting(), "by an officer who is not cleared": askingAs("low")} {
		t.Run("named "+name, func(t *testing.T) {
			for _, to := range []*ententev1.Audience{toMembers("XB"), toProject("nosuch")} {
				both := previewsOf(t, c, asked, to, &ententev1.RecordSelection{ProviderReferences: []string{"hidden", "absent"}})
				if len(both) != 2 || both[0].GetProviderReference() != "hidden" || string(both[0].GetRecordId()) != string(id[:]) {
					t.Fatalf("got %v", both)
				}
				for _, one := range both {
					one.ProviderReference, one.RecordId = "", nil
				}
				if !proto.Equal(both[0], both[1]) {
					t.Errorf("forbidden: %v\nabsent: %v", both[0], both[1])
				}
			}
		})
		for by, selection := range map[string]*ententev1.RecordSelection{
			"id":      {RecordIds: [][]byte{id[:]}},
			"project": {ProjectId: "harbour"},
			"query":   {Query: &ententev1.RecordQuery{CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS}}},
		} {
			t.Run("selected by "+by+" "+name, func(t *testing.T) {
				before := n.trail.Head().Entries
				for _, one := range previewsOf(t, c, asked, toMembers("XB"), selection) {
					if one.GetProviderReference() != "plain" {
						t.Errorf("told of %q", one.GetProviderReference())
					}
				}
				if n.trail.Head().Entries == before {
					t.Error("the trail has no entry")
				}
				seen := previewsOf(t, c, asking(), toMembers("XB"), selection) // the system by itself, for the purpose
				if !slices.ContainsFunc(seen, func(one *ententev1.PreviewReleaseResponse) bool {
					return one.GetProviderReference() == "hidden" && len(one.GetApprovalReasons()) > 0
				}) {
					t.Errorf("who may see it is told %v", seen)
				}
			})
		}
	}
}

func TestTheClearanceOfTheNamedOfficerCountsForOwnRecords(t *testing.T) {
	n, c := newDesk(t)
	pushAll(t, n.system("registry"), person("hidden", toMembers("XB")), open("plain", toMembers("XB")))
	for _, test := range []struct {
		name  string
		asked *ententev1.Consultation
		want  []string
	}{
		{"an officer who is cleared", askingAs("ann"), []string{"hidden", "plain"}},
		{"an officer who is not", askingAs("low"), []string{"plain"}},
		{"the system by itself", asking(), []string{"hidden", "plain"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, err := c.List(patient(t), &ententev1.ListRequest{Consultation: test.asked})
			n.w.must(err)
			var got []string
			for _, held := range list.GetRecords() {
				got = append(got, held.GetRecord().GetEnvelope().GetProviderReference())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("listed %q", got)
			}
			_, err = c.Get(patient(t), &ententev1.GetRequest{Consultation: test.asked, ProviderReference: "hidden"})
			if slices.Contains(test.want, "hidden") {
				n.w.must(err)
				return
			}
			wantCode(t, err, codes.NotFound)
		})
	}
}

// tracker asks for what is due and what was sent, one by one, and for what is permitted.
type tracker struct {
	t *testing.T
	c ententev1.IntakeServiceClient
}

func (k tracker) due(asked *ententev1.Consultation) (refs []string, pages int) {
	request := &ententev1.ListDueRequest{Consultation: asked, PageSize: 1, Within: durationpb.New(20 * 365 * 24 * time.Hour)}
	for pages == 0 || len(request.GetPageToken()) > 0 {
		page, err := k.c.ListDue(patient(k.t), request)
		if err != nil {
			k.t.Fatal(err)
		}
		for _, one := range page.GetRecords() {
			refs = append(refs, one.GetProviderReference())
		}
		request.PageToken, pages = page.GetNextPageToken(), pages+1
	}
	return refs, pages
}

func (k tracker) sent(asked *ententev1.Consultation) (refs []string, pages int) {
	request := &ententev1.ListSentRequest{Consultation: asked, PageSize: 1, Member: "XB"}
	for pages == 0 || len(request.GetPageToken()) > 0 {
		page, err := k.c.ListSent(patient(k.t), request)
		if err != nil {
			k.t.Fatal(err)
		}
		for _, one := range page.GetRecords() {
			refs = append(refs, one.GetProviderReference())
		}
		request.PageToken, pages = page.GetNextPageToken(), pages+1
	}
	return refs, pages
}

func (k tracker) permitted(asked *ententev1.Consultation) int {
	list, err := k.c.ListPermissions(patient(k.t), &ententev1.ListPermissionsRequest{Consultation: asked})
	if err != nil {
		k.t.Fatal(err)
	}
	return len(list.GetPermissions())
}

func TestWhatIsDueSentAndPermittedIsToldOfAllToTheSystemAndToAnOfficerOfWhatItMaySee(t *testing.T) {
	n, c := newDesk(t)
	pushAll(t, n.system("registry"), person("h1", toMembers("XB")), person("h2", toMembers("XB")), open("p1", toMembers("XB")), person("h3", toMembers("XB")), open("p2", toMembers("XB")), person("h4", toMembers("XB")))
	for _, ref := range []string{"h1", "p1"} {
		_, err := c.Permit(patient(t), &ententev1.PermitRequest{Consultation: asking(), ProviderReference: ref, Holder: "XB", Export: true,
			Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: timestamppb.New(n.w.now().Add(time.Hour))})
		n.w.must(err)
	}
	byItself, all := vetting(), []string{"h1", "h2", "p1", "h3", "p2", "h4"}
	byItself.Officer = ""
	for _, test := range []struct {
		name      string
		asked     *ententev1.Consultation
		want      []string
		permitted int
	}{
		{"the system by itself, for a purpose of its records", asking(), all, 2},
		{"the system by itself, for another: it has to take them back all the same", byItself, all, 2},
		{"for an officer of that purpose who is cleared", askingAs("ann"), all, 2},
		{"for an officer who is not cleared", askingAs("low"), []string{"p1", "p2"}, 1},
		{"for an officer of another purpose", vetting(), nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := tracker{t, c}
			pages := max(1, len(test.want)) // one record each: no page more tells that there is something behind the last
			refs, got := k.due(test.asked)
			if !slices.Equal(refs, test.want) || got != pages {
				t.Errorf("due: %q on %d pages", refs, got)
			}
			refs, got = k.sent(test.asked)
			if !slices.Equal(refs, test.want) || got != pages {
				t.Errorf("sent: %q on %d pages", refs, got)
			}
			if got := k.permitted(test.asked); got != test.permitted {
				t.Errorf("permitted: %d", got)
			}
		})
	}
}

// newViewed is a coordinator with a view of five persons for XB and none for XC, and the nodes of the two.
func newViewed(t *testing.T) map[member.ID]*node {
	w := newWorld(t)
	held := network.New("COORD", alone{})
	for i := range 5 {
		held.Add(released(t, i, "COORD", "XB"))
	}
	nodes := map[member.ID]*node{"COORD": w.start("COORD", func(c *server.Config) { c.View = held })}
	for _, id := range []member.ID{"XB", "XC"} {
		nodes[id] = w.start(id, func(c *server.Config) { c.Coordinator = caller{nodes["COORD"].peer(id)} })
	}
	return nodes
}

// looks are the entries of a node's trail behind a number.
func (n *node) looks(from uint64) (list []*ententev1.AuditEntry) {
	n.w.t.Helper()
	n.w.must(n.trail.Entries(from+1, func(e *ententev1.AuditEntry, _ []byte) (bool, error) {
		list = append(list, e)
		return true, nil
	}))
	return list
}

func TestTheFirstMessageOfAViewIsInTheTrailBeforeItIsTold(t *testing.T) {
	const consultation, disclosure = ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE
	watch := func(ctx context.Context, c ententev1.NetworkServiceClient) error {
		call, err := c.Watch(ctx, &ententev1.WatchRequest{Consultation: askingAs("ann")})
		if err != nil {
			return err
		}
		_, err = call.Recv()
		return err
	}
	export := func(ctx context.Context, c ententev1.NetworkServiceClient) error {
		call, err := c.Export(ctx, &ententev1.ExportRequest{Consultation: askingAs("ann"), Recipient: "desk"})
		if err != nil {
			return err
		}
		_, err = call.Recv()
		return err
	}
	officer := func(n *node) *grpc.ClientConn { return n.officer("ann") }
	peer := func(of member.ID) func(*node) *grpc.ClientConn {
		return func(n *node) *grpc.ClientConn { return n.peer(of) }
	}
	for _, test := range []struct {
		name      string
		at        member.ID
		as        func(*node) *grpc.ClientConn
		look      func(context.Context, ententev1.NetworkServiceClient) error
		want      ententev1.AuditOperation
		recipient string
	}{
		{"an officer watches through its own node", "XB", officer, watch, consultation, ""},
		{"an officer watches, and sees nothing", "XC", officer, watch, consultation, ""},
		{"the coordinator's officer watches", "COORD", officer, watch, consultation, ""},
		{"a member's node watches", "COORD", peer("XB"), watch, disclosure, "XB"},
		{"an officer exports through its own node", "XB", officer, export, disclosure, "file: desk"},
		{"an officer exports nothing", "XC", officer, export, disclosure, "file: desk"},
		{"the coordinator's officer exports", "COORD", officer, export, disclosure, "file: desk"},
		{"a member's node exports", "COORD", peer("XB"), export, disclosure, "XB"},
		{"a member's node exports nothing", "COORD", peer("XC"), export, disclosure, "XC"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newViewed(t)[test.at]
			conn, before := test.as(n), n.trail.Head().Entries
			n.w.must(test.look(patient(t), ententev1.NewNetworkServiceClient(conn)))
			list := n.looks(before)
			if len(list) == 0 {
				t.Fatal("told without an entry")
			}
			first := list[0]
			if first.GetOperation() != test.want || first.GetRecipient() != test.recipient || len(first.GetRecords()) > 0 || first.GetRefused() {
				t.Errorf("the first entry is %v", first)
			}
		})
	}
}

// A search that finds nothing says how far it is every 10,000 records: the entry about it must not wait for its end.
func TestASearchForASubjectIsInTheTrailBeforeWhatItFinds(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pushAll(t, n.system("registry"), person("r1"))
	before := n.trail.Head().Entries
	call, err := ententev1.NewAuditServiceClient(n.dial(member.KindAuditor, "XA", "ada")).FindSubject(patient(t), &ententev1.FindSubjectRequest{Reason: reason(), Name: secret})
	w.must(err)
	found, err := call.Recv()
	w.must(err)
	list := n.looks(before)
	if found.GetRecord() == nil || len(list) < 2 {
		t.Fatalf("found %v, and left %v", found, list)
	}
	if len(list[0].GetRecords()) > 0 || len(list[1].GetRecords()) != 1 || list[0].GetActor().GetCaseReference() == "" {
		t.Errorf("the entries are %v", list)
	}
	last, err := call.Recv()
	w.must(err)
	if last.GetLookedAt() != 1 || len(n.looks(before)) != 2 {
		t.Errorf("at the end %v, and in the trail %v", last, n.looks(before))
	}
}
