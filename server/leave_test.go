package server_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// leaveProject has a participant leave the project by a document of its lead, and brings that into force everywhere.
func (w *world) leaveProject(id member.ID) {
	w.t.Helper()
	departure, err := member.NewDeparture(w.docs, id, false, w.fed.Seat("XA").Signing, time.Now())
	w.must(err)
	w.docs = append(w.docs[:len(w.docs):len(w.docs)], departure)
	roster := w.directory().Roster
	project, err := member.VerifyProject(w.docs, roster)
	w.must(err)
	w.change(func() {
		w.dir = &ledger.Directory{Roster: roster, Projects: map[string]*member.Project{"harbour": project}}
	})
}

// leaveFederation has a member leave: by its own signature, or removed by a quorum.
func (w *world) leaveFederation(kind ententev1.RosterChangeKind, id member.ID, signers ...member.ID) {
	w.t.Helper()
	held := w.directory()
	parts, err := member.RosterParts(held.Roster.Document())
	w.must(err)
	change, err := member.NewChange(w.fed.ID, uint64(len(parts.Changes))+1, kind, id, nil, time.Now())
	w.must(err)
	for _, signer := range signers {
		member.AddSignature(change, signer, w.fed.Seat(signer).Root)
	}
	parts.Changes, parts.Number = append(parts.Changes, change), parts.Number+1
	doc, err := member.AssembleRoster(parts, w.fed.Seat("COORD").Signing, time.Now())
	w.must(err)
	roster, err := member.VerifyRoster(doc, w.fed.ID, held.Roster, time.Now())
	w.must(err)
	w.change(func() { w.dir = &ledger.Directory{Roster: roster, Projects: held.Projects} })
}

func TestOneThatLeftAProjectHearsOfThatAndOfNothingLater(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	w.leaveProject("XB")
	w.leaveProject("COORD")
	for id, want := range map[member.ID]int{"XB": 2, "COORD": 3, "XC": 0} {
		list, err := ententev1.NewRosterServiceClient(n.peer(id)).ListProjectDocuments(patient(t), &ententev1.ListProjectDocumentsRequest{})
		w.must(err)
		if len(list.GetDocuments()) != want {
			t.Errorf("%s gets %d documents, want %d", id, len(list.GetDocuments()), want)
		}
	}
}

func TestAnOpenPullBringsNothingOfAProjectToOneThatLeftIt(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pushAll(t, n.system("registry"), person("before", toProject("harbour")), person("all", toAll()))
	p := newPuller(t, w, "XB", "XA")
	p.catchUp(n.peer("XB"))

	// From the moment the chain is here; nothing has been planned yet, so all releases stand.
	w.leaveProject("XB")
	late := newPuller(t, w, "XB", "XA")
	late.catchUp(n.peer("XB"))
	if got := late.payloads(); got != 1 {
		t.Errorf("a pull that began after the departure brought %d payloads, want only that for all", got)
	}
	w.must(n.ledger.DirectoryChanged(context.Background()))
	n.DirectoryChanged()
	pushAll(t, n.system("registry"), person("after", toProject("harbour")))
	p.catchUp(n.peer("XB"))
	late.catchUp(n.peer("XB"))
	if got := p.payloads(); got != 2 {
		t.Errorf("%d payloads came in all, want the two of before the departure", got)
	}
	if got := late.payloads(); got != 1 {
		t.Errorf("%d payloads came to the late one", got)
	}
	withdrawn := 0
	for _, sequences := range p.gone {
		withdrawn += len(sequences)
	}
	if withdrawn != 1 {
		t.Errorf("%d withdrawals came, want 1", withdrawn)
	}
}

// payloads is how many releases came with their payload.
func (p *puller) payloads() int {
	count := 0
	for _, entries := range p.entries {
		for _, e := range entries {
			if e.Header.Type == ententev1.EntryType_ENTRY_TYPE_RELEASE && len(e.Payload) > 0 {
				count++
			}
		}
	}
	return count
}

func TestASubscriptionShowsNothingOfAProjectThatTheOwnMemberLeft(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA"), w.start("XB")
	pushAll(t, xa.system("registry"), person("one", toProject("harbour")), person("two", toAll()))
	replicate(t, w, xa, xb)
	subscribe := func(project string) (int, error) {
		call, err := ententev1.NewStreamServiceClient(xb.system("registry")).Subscribe(patient(t), &ententev1.SubscribeRequest{
			Consultation: asking(), ProjectId: project, UntilCurrent: true,
		})
		w.must(err)
		count := 0
		for {
			message, err := call.Recv()
			if err != nil {
				return count, err
			}
			count += len(message.GetItems())
		}
	}
	if count, _ := subscribe(""); count != 2 {
		t.Fatalf("before: %d items", count)
	}
	w.leaveProject("XB")
	w.must(xb.ledger.DirectoryChanged(context.Background()))
	if count, _ := subscribe(""); count != 1 {
		t.Errorf("after: %d items, want only that for all", count)
	}
	_, err := subscribe("harbour")
	wantCode(t, err, codes.NotFound)
}

func TestAnOpenSubscriptionToAProjectEndsWhenTheOwnMemberLeaves(t *testing.T) {
	w := newWorld(t)
	xb := w.start("XB")
	call, err := ententev1.NewStreamServiceClient(xb.system("registry")).Subscribe(patient(t), &ententev1.SubscribeRequest{
		Consultation: asking(), ProjectId: "harbour",
	})
	w.must(err)
	_, err = call.Recv() // current
	w.must(err)
	w.leaveProject("XB")
	w.must(xb.ledger.DirectoryChanged(context.Background()))
	_, err = call.Recv()
	wantCode(t, err, codes.NotFound)
}

func TestALeaverMayHandInReceiptsAndNothingElse(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pushAll(t, n.system("registry"), person("one", toAll()))
	peer := ententev1.NewExchangeServiceClient(n.peer("XC"))
	open, err := peer.Pull(patient(t), &ententev1.PullRequest{PositionsGiven: true})
	w.must(err)
	_, err = open.Recv()
	w.must(err)

	w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, "XC", "XC")
	n.DirectoryChanged()
	for err == nil {
		_, err = open.Recv()
	}
	wantCode(t, err, codes.PermissionDenied)

	after := n.peer("XC") // a new connection, by the roster of now
	_, err = ententev1.NewExchangeServiceClient(after).SubmitReceipts(patient(t), &ententev1.SubmitReceiptsRequest{})
	if code := status.Code(err); code != codes.OK && code != codes.InvalidArgument {
		t.Errorf("receipts of a leaver: %v", err)
	}
	for method, call := range map[string]func() error{
		"heads": func() error {
			_, err := ententev1.NewExchangeServiceClient(after).Heads(patient(t), &ententev1.HeadsRequest{})
			return err
		},
		"pull": func() error {
			call, err := ententev1.NewExchangeServiceClient(after).Pull(patient(t), &ententev1.PullRequest{})
			w.must(err)
			_, err = call.Recv()
			return err
		},
		"roster": func() error {
			_, err := ententev1.NewRosterServiceClient(after).GetRoster(patient(t), &ententev1.GetRosterRequest{})
			return err
		},
		"health": func() error {
			return after.Invoke(patient(t), "/grpc.health.v1.Health/Check", &emptypb.Empty{}, &emptypb.Empty{})
		},
	} {
		if err := call(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestARemovedMemberGetsNoConnection(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL, "XC", "XA", "XB", "COORD")
	_, err := ententev1.NewExchangeServiceClient(n.peer("XC")).SubmitReceipts(patient(t), &ententev1.SubmitReceiptsRequest{})
	wantCode(t, err, codes.Unavailable)
}

func TestOnALeaversNodeOnlyItsOwnIsLeft(t *testing.T) {
	w := newWorld(t)
	xc := w.start("XC")
	pushAll(t, xc.system("registry"), person("own"))
	w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, "XC", "XC")
	subscribe := func() error {
		call, err := ententev1.NewStreamServiceClient(xc.system("registry")).Subscribe(patient(t), &ententev1.SubscribeRequest{Consultation: asking()})
		w.must(err)
		_, err = call.Recv()
		return err
	}
	library := func() error {
		_, err := ententev1.NewLibraryServiceClient(xc.officer("ann")).List(patient(t), &ententev1.LibraryServiceListRequest{Consultation: asking()})
		return err
	}
	own := func() error {
		_, err := ententev1.NewIntakeServiceClient(xc.system("registry")).Get(patient(t), &ententev1.GetRequest{Consultation: asking(), ProviderReference: "own"})
		return err
	}
	state := func() error {
		_, err := ententev1.NewAdminServiceClient(xc.dial(member.KindOperator, "XC", "ops")).GetStatus(patient(t), &ententev1.GetStatusRequest{})
		return err
	}
	for _, test := range []struct {
		name string
		call func() error
		want codes.Code
	}{
		{"a subscription is closed", subscribe, codes.FailedPrecondition},
		{"the library is closed", library, codes.FailedPrecondition},
		{"its own records are its own", own, codes.OK},
		{"its operator sees how things stand", state, codes.OK},
	} {
		t.Run(test.name, func(t *testing.T) { wantCode(t, test.call(), test.want) })
	}
}

// replicate has the node of one member hold what another released to it.
func replicate(t *testing.T, w *world, from, to *node) {
	t.Helper()
	p := newPuller(t, w, to.id, from.id)
	p.catchUp(from.peer(to.id))
	for id, reader := range p.readers {
		_, note, _ := reader.Newest()
		w.must(to.ledger.ApplyEntries(context.Background(), from.id, id, p.entries[id], reader.Edge(), note))
	}
}
