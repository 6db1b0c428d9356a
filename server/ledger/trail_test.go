package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

// trail keeps entries in the data file, as the real one does, and can fail.
type trail struct {
	mu      sync.Mutex
	fail    error
	entries []*ententev1.AuditEntry // on disk
}

var trailSeries = store.NewSeries("trail")

func (tr *trail) Append(tx *store.Tx, entries []*ententev1.AuditEntry) (func(), error) {
	if tr.fail != nil {
		return nil, tr.fail
	}
	for _, e := range entries {
		b, err := marshal(e)
		if err != nil {
			return nil, err
		}
		_, err = tx.Append(trailSeries, b)
		if err != nil {
			return nil, err
		}
	}
	return func() {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.entries = append(tr.entries, entries...)
	}, nil
}

// taken gives what has come since it was asked last, a line each.
func (tr *trail) taken(n *node) []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var list []string
	for _, e := range tr.entries {
		records, entries := 0, uint64(0)
		for _, r := range e.GetRecords() {
			records += len(r.GetRecordIds())
		}
		for _, r := range e.GetRanges() {
			entries += r.GetLast() - r.GetFirst() + 1
		}
		method := e.GetMethod()
		list = append(list, strings.TrimSuffix(fmt.Sprintf("%s %s by %s: %d records, %d entries %s", strings.TrimPrefix(e.GetOperation().String(), "AUDIT_OPERATION_"),
			method[strings.LastIndex(method, "/")+1:], e.GetActor().GetOfficer(), records, entries, e.GetRecipient()), " "))
	}
	tr.entries = nil
	return list
}

func newTrailedWorld(t *testing.T) (*world, *trail) {
	w := newPolicedWorld(t)
	tr := &trail{}
	w.configure = func(c *ledger.Config) {
		policed(c)
		if c.Self == "XA" {
			c.Trail = tr
		}
	}
	return w, tr
}

func TestWhatTheLedgerDoesStandsInTheTrail(t *testing.T) {
	w, tr := newTrailedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	var given *ententev1.EntryRef
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"a push", func() {
			xa.pushAs("vera", person("p1", 1, "One", toMembers("XB")), person("p2", 1, "Two"), person("p3", 1, "Three"))
		}, []string{"COLLECTION Push by vera: 1 records, 0 entries XB", "COLLECTION Push by vera: 2 records, 0 entries"}},
		{"the same push", func() { must(xa.Push(as("vera"), "Central Unit", []ledger.Item{person("p2", 1, "Two")}))(t) }, nil},
		{"a correction", func() { xa.pushAs("vera", person("p1", 2, "Two")) }, []string{"ALTERATION Push by vera: 1 records, 0 entries"}},
		{"a release", func() { xa.release(false, "p2", toAll()) }, []string{"ALTERATION Release by vera: 1 records, 0 entries all members"}},
		{"the same release", func() { xa.release(false, "p2", toAll()) }, nil},
		{"a release of what is not there", func() { xa.release(false, "nowhere", toAll()) }, nil},
		{"a withdrawal", func() { must(xa.Withdraw(as("vera"), "Central Unit", []string{"p2", "p3"}, 3))(t) }, []string{"ALTERATION Withdraw by vera: 2 records, 0 entries"}},
		{"a permission", func() { given = xa.permit("p1", allow(w, "XC"))[0] }, []string{"ALTERATION Permit by vera: 1 records, 0 entries XB"}},
		{"a permission taken back", func() { xa.revoke(given) }, []string{"ALTERATION RevokePermission by vera: 1 records, 0 entries XB"}},
		{"a restriction", func() { xa.restrict(false, "p1") }, []string{"ALTERATION restrict by vera: 1 records, 0 entries"}},
		{"the end of it", func() { xa.restrict(true, "p1") }, []string{"ALTERATION lift restriction by vera: 1 records, 0 entries"}},
		{"a hold", func() { xa.hold(false, "p1", w.now.Add(day)) }, []string{"ALTERATION hold by vera: 1 records, 0 entries"}},
		{"the end of it", func() { xa.hold(true, "p1", w.now) }, []string{"ALTERATION lift hold by vera: 1 records, 0 entries"}},
		{"a renewal", func() { xa.renew("p1", w.now.Add(3*day)) }, []string{"ALTERATION renew by vera: 1 records, 0 entries"}},
		{"what waits for a second person", func() { xa.pushAs("vera", victim(person("p4", 1, "Four", toAll()))) }, []string{"COLLECTION Push by vera: 1 records, 0 entries all members"}},
		{"the decision of the proposer", func() { xa.decide("vera", true, 1, "p4") }, nil},
		{"the decision of another", func() { xa.decide("otto", true, 1, "p4") }, []string{"ALTERATION approve by otto: 1 records, 0 entries all members"}},
		{"a refusal", func() {
			xa.release(false, "p4", toMembers("XB"))
			tr.taken(xa)
			xa.decide("otto", false, 1, "p4")
		}, []string{"ALTERATION refuse by otto: 1 records, 0 entries all members"}},
		{"a lapse", func() { w.now = w.now.Add(4 * day); xa.expire() }, []string{"ERASURE lapse by : 1 records, 0 entries"}},
		{"what others send", func() {
			xb.push(person("b1", 1, "One", toAll()), person("b2", 1, "Two", toAll()), until(person("b3", 1, "Three", toAll()), w.now.Add(day)))
			replicate(xb, xa, "XB", "XA")
		}, []string{"COLLECTION pull by : 0 records, 3 entries"}},
		{"what others take back", func() { xb.push(withdrawalOf("b1", 0)); replicate(xb, xa, "XB", "XA") }, []string{"ERASURE withdrawal by : 1 records, 1 entries"}},
		{"what of others is over", func() { w.now = w.now.Add(2 * day); xa.expire() }, []string{"ERASURE lapse by : 1 records, 1 entries"}},
		{"a look", func() { xa.Overdue(); xa.preview(true, []string{"p1"}, toAll()) }, nil},
	}
	for _, step := range steps {
		step.do()
		if got := tr.taken(xa); !slices.Equal(got, step.want) {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

func TestWhatCannotStandInTheTrailDoesNotHappen(t *testing.T) {
	w, tr := newTrailedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.pushAs("vera", until(person("p1", 1, "One", toMembers("XB")), w.now.Add(day)), victim(person("p2", 1, "Two", toAll())))
	given := xa.permit("p1", allow(w, "XC"))[0]
	id := must(stream.ParseID(given.GetStreamId()))(t)
	xb.push(person("b1", 1, "One", toAll()))
	replicate(xb, xa, "XB", "XA")
	xb.push(person("b2", 1, "Two", toAll()), withdrawalOf("b1", 0))
	w.now = w.now.Add(2 * day)
	ctx := as("vera")
	xa.pushAs("vera", person("p4", 1, "Four", toMembers("XB")))
	p1 := []string{"p4"}
	acts := map[string]func() error{
		"push": func() error {
			_, err := xa.Push(ctx, "Central Unit", []ledger.Item{person("p3", 1, "Three", toAll())})
			return err
		},
		"release": func() error {
			_, err := xa.Release(ctx, "Central Unit", p1, []*ententev1.Audience{toAll()}, false)
			return err
		},
		"withdraw": func() error { _, err := xa.Withdraw(ctx, "Central Unit", p1, 3); return err },
		"restrict": func() error { _, err := xa.Restrict(ctx, "Central Unit", p1, false, "why"); return err },
		"hold":     func() error { _, err := xa.Hold(ctx, "Central Unit", p1, false, "why", w.now.Add(day)); return err },
		"renew":    func() error { _, err := xa.Renew(ctx, "Central Unit", p1, w.now.Add(9*day), "why"); return err },
		"decide": func() error {
			_, err := xa.Decide(ctx, ledger.Decision{Records: []ledger.RecordID{xa.id("p2")}, Versions: []uint64{1}, States: []uint64{xa.waiting("p2").State}, Approve: true, Officer: "otto"})
			return err
		},
		"permit": func() error {
			_, err := xa.Permit(ctx, "Central Unit", "p1", allow(w, "COORD"))
			return err
		},
		"revoke": func() error { return xa.RevokePermission(ctx, "Central Unit", id, given.GetSequence()) },
		"lapse":  func() error { _, _, err := xa.Expire(ctx); return err },
		"apply withdrawals": func() error {
			s := xb.StreamsShared("XB", "XA")[0]
			return xa.ApplyWithdrawals(ctx, "XB", s.ID, []stream.Withdrawal{{Stream: s.ID, Sequence: 4, Target: s.ID, TargetSequence: 2, Reason: 3}}, s.Checkpoint)
		},
	}
	before := whole(xa)
	values := len(xa.values())
	tr.taken(xa)
	tr.fail = errors.New("the trail cannot be written")
	for name, act := range acts {
		if err := act(); !errors.Is(err, tr.fail) {
			t.Errorf("%s: %v", name, err)
		}
		if whole(xa) != before || len(xa.values()) != values {
			t.Fatalf("%s has left something", name)
		}
	}
	tr.fail = nil
	lapsed, _ := xa.expire()
	if lapsed != 1 {
		t.Errorf("%d lapsed once the trail can be written", lapsed)
	}
	w.restarted(xa, "XA")
}

func TestSeveralCommitsOfOneGroupAreInTheTrailInTheirOrder(t *testing.T) {
	w, tr := newTrailedWorld(t)
	xa := w.start("XA", true)
	var wait sync.WaitGroup
	ran := make([]int, 40)
	for i := range ran {
		wait.Go(func() {
			_, err := xa.Push(as(fmt.Sprint("officer ", i)), "Central Unit", []ledger.Item{person(fmt.Sprint("p", i), 1, "One", toAll())})
			w.must(err)
			err = xa.Commit(context.Background(), func(tx *store.Tx) (func(), error) {
				note := &ententev1.AuditEntry{Method: fmt.Sprint("look ", i)}
				installed, err := tr.Append(tx, []*ententev1.AuditEntry{note})
				return func() { installed(); ran[i]++ }, err
			})
			w.must(err)
		})
	}
	wait.Wait()
	seen := map[string]int{}
	for at, e := range tr.entries {
		seen[e.GetMethod()+e.GetActor().GetOfficer()] = at
	}
	for i, times := range ran {
		push, look := seen[ententev1.IntakeService_Push_FullMethodName+fmt.Sprint("officer ", i)], seen[fmt.Sprint("look ", i)]
		if times != 1 || push >= look {
			t.Errorf("%d: installed %d times, pushed at %d, looked at %d", i, times, push, look)
		}
	}
	stored := 0
	w.must(xa.store.View(func(v *store.View) error {
		return v.Scan(trailSeries, 1, func(at uint64, value []byte) (bool, error) {
			want, err := marshal(tr.entries[at-1])
			if err != nil || string(want) != string(value) {
				t.Errorf("entry %d on disk is not the one that was installed as that: %v", at, err)
			}
			stored++
			return true, nil
		})
	}))
	if len(tr.entries) != 80 || stored != 80 {
		t.Errorf("%d entries, %d on disk", len(tr.entries), stored)
	}
}

func TestACommitThatFailsLeavesNothingAndHarmsNobody(t *testing.T) {
	w, tr := newTrailedWorld(t)
	xa := w.start("XA", true)
	broken := errors.New("broken")
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			err := xa.Commit(context.Background(), func(tx *store.Tx) (func(), error) {
				_, err := tx.Append(trailSeries, []byte("never"))
				if err != nil {
					return nil, err
				}
				return nil, broken
			})
			if !errors.Is(err, broken) {
				t.Error(err)
			}
		})
		wait.Go(func() {
			_, err := xa.Push(as("vera"), "Central Unit", []ledger.Item{person(fmt.Sprint("p", i), 1, "One", toAll())})
			w.must(err)
			w.must(xa.Commit(context.Background(), func(*store.Tx) (func(), error) { return nil, nil }))
		})
	}
	wait.Wait()
	records := 0
	for _, e := range tr.entries {
		for _, r := range e.GetRecords() {
			records += len(r.GetRecordIds())
		}
	}
	if xa.Stats().Records != 20 || records != 20 {
		t.Errorf("%d records, %d in the trail", xa.Stats().Records, records)
	}
	if err := xa.store.View(func(v *store.View) error {
		return v.Scan(trailSeries, 1, func(at uint64, value []byte) (bool, error) {
			if string(value) == "never" {
				t.Error("what failed is on disk")
			}
			return true, nil
		})
	}); err != nil {
		t.Error(err)
	}
}

func TestADepartureStandsInTheTrail(t *testing.T) {
	w, tr := newTrailedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xb.push(person("b1", 1, "One", toAll()), person("b2", 1, "Two", toMembers("XA")))
	replicate(xb, xa, "XB", "XA")
	tr.taken(xa)
	w.put(w.departed("XA"), w.charter())
	w.must(xa.DirectoryChanged(context.Background()))
	want := []string{"ERASURE departure by : 1 records, 1 entries", "ERASURE departure by : 1 records, 1 entries"}
	if got := tr.taken(xa); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAGrantStandsInTheTrailOrIsNotGiven(t *testing.T) {
	w, tr := newTrailedWorld(t)
	w.grantDelay = time.Hour
	xa := w.start("XA", true)
	w.must(xa.Arrivals(t.Context()))
	xa.push(person("p1", 1, "One", toAll()), person("p2", 1, "Two", toAllAndFuture()))
	all := xa.streamOf(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS)
	w.admit("XD", xa)
	tr.taken(xa)
	tr.fail = errors.New("the trail cannot be written")
	_, err := xa.Grant(as("vera"), all.ID, "XD", false)
	if !errors.Is(err, tr.fail) || xa.reads("XD", "p1") {
		t.Errorf("granted without a trace: %v, XD reads %v", err, xa.released("XA", "XD"))
	}
	tr.fail = nil
	must(xa.Grant(as("vera"), all.ID, "XD", true))(t)
	must(xa.Grant(as("vera"), all.ID, "XD", false))(t)
	if got, want := tr.taken(xa), []string{"ALTERATION GrantStream by vera: 0 records, 1 entries XD"}; !slices.Equal(got, want) {
		t.Errorf("a grant: %q, want %q", got, want)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.must(xa.Arrivals(t.Context()))
	if got, want := tr.taken(xa), []string{"ALTERATION grant by : 0 records, 1 entries XD"}; !slices.Equal(got, want) || !xa.reads("XD", "p1", "p2") {
		t.Errorf("what opens by itself: %q, want %q; XD reads %v", got, want, xa.released("XA", "XD"))
	}
}
