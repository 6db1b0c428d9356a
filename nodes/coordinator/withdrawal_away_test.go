package coordinator_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// sightings are what a reader's node shows, one subscription from the beginning after the other.
type sightings struct {
	looks           int
	old, both, none int
	seenNew         bool
}

// watchUntilNew looks at what a reader shows as fast as it answers, until it shows the new canary.
func (f *flock) watchUntilNew(reader member.ID, old, fresh canary) sightings {
	f.t.Helper()
	var s sightings
	for deadline := time.Now().Add(30 * time.Second); !s.seenNew && time.Now().Before(deadline); s.looks++ {
		text, err := f.followed(reader)
		if status.Code(err) == codes.Unavailable {
			continue // it starts
		}
		must(f.t, err)
		hasOld, hasNew := bytes.Contains(text, []byte(old.word)), bytes.Contains(text, []byte(fresh.word))
		s.seenNew = hasNew
		switch {
		case hasOld && hasNew:
			s.both++
		case hasOld:
			s.old++
		case !hasNew:
			s.none++
		}
	}
	return s
}

// pushOnly pushes canaries and waits for nobody.
func (f *flock) pushOnly(from, count int) []canary {
	f.t.Helper()
	var list []canary
	for i := from; i < from+count; i++ {
		c, item := canaryItem(i)
		f.sites["XA"].push(item)
		list = append(list, c)
	}
	return list
}

func TestAReaderThatWasAwayAppliesWithdrawalsBeforeAnythingElseOfTheirOwner(t *testing.T) {
	tests := []struct {
		name string
		away func(*site)
		// shows says whether it may show what it held until it hears of the owner: only after a clean stop, when it knows of
		// nothing that it may have missed.
		shows bool
	}{
		{"after kill -9 it shows nothing of the owner until it knows the withdrawals", (*site).kill, false},
		{"after a clean stop the withdrawals come before anything new", func(s *site) { s.stop() }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.startAll()
			f := newFlock(w)
			old := f.release(0, 5)[0]
			test.away(w.sites["XB"])
			f.withdraw(old)
			fresh := f.pushOnly(5, 1)[0]
			w.start("XB")
			s := f.watchUntilNew("XB", old, fresh)
			t.Logf("%d looks: %d showed what was withdrawn, %d nothing of both", s.looks, s.old, s.none)
			if !s.seenNew || s.both > 0 {
				t.Errorf("the new record came: %t; it was shown beside the withdrawn one %d times", s.seenNew, s.both)
			}
			if s.old > 0 && !test.shows {
				t.Errorf("the withdrawn record was shown %d times after the start", s.old)
			}
		})
	}
}

// carried says whether a canary is in what a member's operator carries to a reader by file.
func (f *flock) carried(from, reader member.ID, c canary) bool {
	f.t.Helper()
	var file bytes.Buffer
	_, err := f.operator[from].ExportStreams(f.t.Context(), &ententev1.ExportStreamsRequest{Reader: string(reader)}, &file)
	must(f.t, err)
	return bytes.Contains(file.Bytes(), []byte(c.word))
}

// inExport says whether a canary is in an export of the view that an officer of a member makes.
func (f *flock) inExport(id member.ID, c canary) bool {
	f.t.Helper()
	found := false
	for part, err := range f.officer[id].Export(f.t.Context(), &ententev1.ExportRequest{Consultation: f.why, Recipient: "a court"}) {
		must(f.t, err)
		found = found || bytes.Contains(bytes.ToLower(encoded(f.t, part)), bytes.ToLower([]byte(c.word)))
	}
	return found
}

// erasures are the entries of a member's trail that say that a record of XA was erased, with why.
func (f *flock) erasures(id member.ID, n ledger.Name) []*ententev1.AuditEntry {
	f.t.Helper()
	var list []*ententev1.AuditEntry
	for part, err := range f.auditor[id].TraceSubject(f.t.Context(), &ententev1.TraceSubjectRequest{Reason: reason(),
		Records: []*ententev1.SubjectRef{{Owner: string(n.Owner), RecordId: n.Record[:]}}}) {
		must(f.t, err)
		if part.GetEntry().GetOperation() == ententev1.AuditOperation_AUDIT_OPERATION_ERASURE {
			list = append(list, part.GetEntry())
		}
	}
	return list
}

// reconcile is what a member's auditor is told of differences with another member's trail.
func (f *flock) reconcile(at, with member.ID) ([]*ententev1.AuditDifference, *ententev1.ReconcileSummary) {
	f.t.Helper()
	var list []*ententev1.AuditDifference
	var summary *ententev1.ReconcileSummary
	for part, err := range f.auditor[at].Reconcile(f.t.Context(), &ententev1.ReconcileRequest{Reason: reason(), Member: string(with)}) {
		must(f.t, err)
		if part.GetDifference() != nil {
			list = append(list, part.GetDifference())
		}
		summary = part.GetSummary()
	}
	return list, summary
}

// project brings the chain of the project with one more document into force at the members that are given.
func (w *world) project(document *ententev1.SignedDocument, at ...member.ID) {
	w.t.Helper()
	w.chain = append(w.chain[:len(w.chain):len(w.chain)], document)
	for _, id := range at {
		docs := *w.sites[id].docs.Load()
		docs.Projects = [][]*ententev1.SignedDocument{w.chain}
		w.sites[id].docs.Store(&docs)
		must(w.t, w.sites[id].Reload(w.t.Context()))
	}
}

// followProject follows the project at XB until the subscription ends, and gives how it ended.
func (f *flock) followProject(ctx context.Context) <-chan error {
	ended := make(chan error, 1)
	begun := make(chan struct{})
	go func() { // ends with the subscription, at the latest with ctx
		request := &ententev1.SubscribeRequest{Consultation: f.why, ProjectId: "harbour"}
		for response, err := range f.officer["XB"].Follow(ctx, request) {
			if err != nil {
				ended <- err
				return
			}
			if response.GetCurrent() && begun != nil {
				close(begun)
				begun = nil
			}
		}
		ended <- nil
	}()
	select {
	case <-begun:
	case <-time.After(30 * time.Second):
		f.t.Fatal("the subscription does not begin")
	}
	return ended
}

func TestTheEndOfAProjectAndADepartureEndWhatWasSharedByThem(t *testing.T) {
	end := func(w *world) (*ententev1.SignedDocument, error) {
		return member.NewEnd(w.chain, "aims reached", w.fed.Seat("XA").Signing, time.Now())
	}
	departure := func(w *world) (*ententev1.SignedDocument, error) {
		return member.NewDeparture(w.chain, "XB", false, w.fed.Seat("XA").Signing, time.Now())
	}
	tests := []struct {
		name     string
		document func(*world) (*ententev1.SignedDocument, error)
		stays    []member.ID // who goes on reading
	}{
		{"the end of a project", end, nil},
		{"the departure of a participant", departure, []member.ID{"COORD"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.startAll()
			f := newFlock(w)
			c := f.release(1, 1)[0] // to the project
			name := f.name(c)
			if !f.inExport("XB", c) || !f.carried("XA", "XB", c) {
				t.Fatal("it is not exported before, so that it is not exported afterwards says nothing")
			}
			ended := f.followProject(t.Context())

			document, err := test.document(w)
			must(t, err)
			w.project(document, "XA", "XB", "COORD")
			select {
			case err := <-ended:
				if status.Code(err) != codes.NotFound {
					t.Errorf("the subscription ended with %v, want NotFound", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("the subscription goes on")
			}
			f.until("the copy is erased", func() bool { return !w.sites["XB"].Ledger().Holds(name) })
			f.until("XB has signed for it", func() bool { return f.state(c, "XB") == ententev1.DeliveryState_DELIVERY_STATE_APPLIED })
			must(t, w.sites["COORD"].merged.Settled(t.Context()))
			if f.inExport("XB", c) || f.carried("XA", "XB", c) {
				t.Error("it is still in an export")
			}
			if got := len(f.erasures("XB", name)); got != 1 {
				t.Errorf("%d entries of XB's trail say that it was erased, want 1", got)
			}
			list, summary := f.reconcile("XA", "XB")
			if len(list) > 0 || summary == nil {
				t.Errorf("the trails differ: %v", list)
			}
			for _, id := range test.stays {
				if !w.sites[id].Ledger().Holds(name) {
					t.Errorf("%s has lost it too", id)
				}
			}
		})
	}
}

// state is how far the delivery of a canary to a reader is.
func (f *flock) state(c canary, reader member.ID) ententev1.DeliveryState {
	f.t.Helper()
	record, err := f.system["XA"].Get(f.t.Context(), &ententev1.GetRequest{Consultation: f.why, ProviderReference: c.reference})
	must(f.t, err)
	for _, d := range record.GetDeliveries() {
		if d.GetMember() == string(reader) {
			return d.GetState()
		}
	}
	return ententev1.DeliveryState_DELIVERY_STATE_UNSPECIFIED
}

// TestADepartureFromTheFederationEndsExportsAndAudits: who has left is given nothing by file and is not reconciled with, and
// what it held is gone; its own auditors still read its trail, which says so.
func TestADepartureFromTheFederationEndsExportsAndAudits(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	f := newFlock(w)
	list := f.release(0, 5)
	name := f.name(list[0])
	must(t, w.fed.Depart("XB"))
	roster, err := w.fed.Roster()
	must(t, err)
	for _, id := range []member.ID{"XB", "XA", "COORD", "XC"} {
		docs := *w.sites[id].docs.Load()
		docs.Roster = roster.Document()
		w.sites[id].docs.Store(&docs)
		must(t, w.sites[id].Reload(t.Context()))
	}
	f.until("nothing is held at XB", func() bool {
		for _, c := range list {
			if w.sites["XB"].Ledger().Holds(f.name(c)) {
				return false
			}
		}
		return true
	})
	f.until("XB has handed over its receipts", func() bool {
		owed, err := w.sites["XB"].Ledger().PendingReceipts("XA")
		must(t, err)
		return len(owed) == 0
	})
	if got := len(f.erasures("XB", name)); got != 1 {
		t.Errorf("%d entries of XB's trail say that it was erased, want 1", got)
	}
	var file bytes.Buffer
	_, err = f.operator["XA"].ExportStreams(t.Context(), &ententev1.ExportStreamsRequest{Reader: "XB"}, &file)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("an export for a member that has left: %v, want InvalidArgument", err)
	}
	for _, err = range f.auditor["XA"].Reconcile(t.Context(), &ententev1.ReconcileRequest{Reason: reason(), Member: "XB"}) {
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("a comparison with a member that has left: %v, want InvalidArgument", err)
		}
	}
	for _, err = range f.officer["XB"].Export(t.Context(), &ententev1.ExportRequest{Consultation: f.why, Recipient: "a court"}) {
		if err == nil {
			t.Error("an officer of a member that has left exports a view")
		}
		break
	}
}
