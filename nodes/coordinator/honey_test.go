package coordinator_test

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// alertedWithin is within which a look alerts: at the own node at once, at another member's when that is asked, every 4 s.
const alertedWithin = 5 * time.Second

// bait marks a canary of XA as one that nobody has a reason to look at.
func (f *flock) bait(c canary) {
	f.t.Helper()
	id := f.name(c).Record
	marked, err := f.auditor["XA"].SetHoney(f.t.Context(), &ententev1.SetHoneyRequest{Reason: reason(), Records: []*ententev1.SubjectRef{{RecordId: id[:]}}})
	must(f.t, err)
	if marked == 0 {
		f.t.Fatal("nothing is marked")
	}
}

// alerts are those that an auditor of XA is told of, after a number.
func (f *flock) alerts(after uint64) []*ententev1.HoneyAlert {
	f.t.Helper()
	var list []*ententev1.HoneyAlert
	for alert, err := range f.auditor["XA"].ListAlerts(f.t.Context(), &ententev1.ListAlertsRequest{Reason: reason(), After: after}) {
		must(f.t, err)
		list = append(list, alert)
	}
	return list
}

// awaitAlert waits for an alert of a member after a number, and gives it with how long it took.
func (f *flock) awaitAlert(after uint64, id member.ID, since time.Time) (*ententev1.HoneyAlert, time.Duration) {
	f.t.Helper()
	var found *ententev1.HoneyAlert
	f.until("an alert of "+string(id), func() bool {
		for _, alert := range f.alerts(after) {
			if alert.GetMember() == string(id) {
				found = alert
			}
		}
		return found != nil
	})
	return found, time.Since(since)
}

func TestALookAtAHoneyRecordAlerts(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	f := newFlock(w)
	list := f.release(0, 5)
	bait, other := list[0], list[4]
	f.bait(bait)
	id := f.name(bait).Record
	look := func(at member.ID) error {
		_, err := f.followed(at)
		return err
	}
	tests := []struct {
		name string
		at   member.ID
		look func() error
	}{
		{"by a system of the own member that asks for the record", "XA", func() error {
			_, err := f.system["XA"].Get(t.Context(), &ententev1.GetRequest{Consultation: f.why, ProviderReference: bait.reference})
			return err
		}},
		{"by a subscription at another member's node", "XB", func() error { return look("XB") }},
		{"by a merged view that the coordinator shows to another member", "COORD", func() error {
			_, err := f.officer["XC"].Entity(t.Context(), f.why, id[:])
			return err
		}},
	}
	if got := f.alerts(0); len(got) > 0 {
		t.Fatalf("%d alerts before anybody looked, such as %v", len(got), got[0])
	}
	since := time.Now()
	for _, test := range tests {
		must(t, test.look())
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			alert, took := f.awaitAlert(0, test.at, since)
			t.Logf("after %s", took.Round(time.Millisecond))
			if took > alertedWithin {
				t.Errorf("it took %s, more than %s", took, alertedWithin)
			}
			if string(alert.GetRecordId()) != string(id[:]) || time.Since(alert.GetAt().AsTime()) > alertedWithin {
				t.Errorf("the alert is of another look: %v", alert)
			}
			own := test.at == "XA"
			if own != (alert.GetActor().GetName() == "intake") || own != (alert.GetEntry() > 0) {
				t.Errorf("of a look at %s it says %v, entry %d", test.at, alert.GetActor(), alert.GetEntry())
			}
		})
	}
	t.Run("nobody is alerted by a look at another record, or by an auditor", func(t *testing.T) {
		before := len(f.alerts(0))
		practice := f.name(other).Record
		_, err := f.officer["XA"].GetLibrary(t.Context(), &ententev1.LibraryServiceGetRequest{Consultation: f.why, Owner: "XA", RecordId: practice[:]})
		must(t, err)
		f.erasures("XA", f.name(bait))
		_, err = f.system["XA"].Get(t.Context(), &ententev1.GetRequest{Consultation: f.why, ProviderReference: bait.reference})
		must(t, err)
		f.awaitAlert(uint64(before), "XA", time.Now()) // all before it have come
		if got := len(f.alerts(0)); got != before+1 {
			t.Errorf("%d alerts came, want the one of the look at the marked record", got-before)
		}
	})
}

// silent is a node that takes questions about the audit and never answers them.
type silent struct {
	ententev1.UnimplementedExchangeServiceServer
	asked chan struct{} // gets one value at each question, as long as there is room
}

func (s *silent) wait(ctx context.Context) error {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *silent) ListDisclosures(ctx context.Context, _ *ententev1.ListDisclosuresRequest) (*ententev1.ListDisclosuresResponse, error) {
	return nil, s.wait(ctx)
}

func (s *silent) WitnessAudit(ctx context.Context, _ *ententev1.WitnessAuditRequest) (*ententev1.WitnessAuditResponse, error) {
	return nil, s.wait(ctx)
}

// play serves in the place of a member's node.
func (w *world) play(id member.ID, exchange ententev1.ExchangeServiceServer) {
	w.t.Helper()
	certificate, err := w.fed.Certificate(member.Identity{Member: id, Kind: member.KindNode})
	must(w.t, err)
	roster, err := member.VerifyRoster(w.sites["XA"].docs.Load().Roster, w.fed.ID, nil, time.Now())
	must(w.t, err)
	source := func() (*tls.Certificate, error) { return certificate, nil }
	served := grpc.NewServer(grpc.Creds(credentials.NewTLS(member.ServerTLS(source, func() *member.Roster { return roster }, id))))
	ententev1.RegisterExchangeServiceServer(served, exchange)
	go func() { _ = served.Serve(w.sites[id].listener) }() // ends with Stop
	w.t.Cleanup(served.Stop)
}

// TestANodeThatNeverAnswersAboutTheAuditHoldsUpNothing: XB takes the questions of XA about its records and does not answer.
// XA's records are looked after all the same, and its trail is countersigned.
func TestANodeThatNeverAnswersAboutTheAuditHoldsUpNothing(t *testing.T) {
	w := newWorld(t)
	w.tune = func(_ member.ID, deps *national.Deps) {
		deps.CareEvery, deps.AuditInterval = 20*time.Millisecond, 50*time.Millisecond
	}
	s := &silent{asked: make(chan struct{}, 1)}
	w.play("XB", s)
	for _, id := range []member.ID{"XA", "XC", "COORD"} {
		w.start(id)
	}
	f := newFlock(w)
	c, item := canaryItem(0)
	w.sites["XA"].push(item)
	f.until("it is at XC", func() bool { return f.holds("XC", c) })
	f.bait(c)
	<-s.asked
	f.careRounds("XA", 10)
	status, err := f.operator["XA"].Status(t.Context())
	must(t, err)
	witnessed := status.GetAudit().GetWitnessed()
	f.until("the trail is countersigned", func() bool {
		status, err := f.operator["XA"].Status(t.Context())
		must(t, err)
		return status.GetAudit().GetWitnessed() > witnessed+2
	})
}
