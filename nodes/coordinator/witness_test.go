package coordinator_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/trail"
	"entente.example/entente/server/store"
)

// said is what a node has logged.
type said struct {
	mu   sync.Mutex // covers text
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// has says whether a line holds all words.
func (s *said) has(words ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.text.String()) {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return true
		}
	}
	return false
}

// shortIntervals has the nodes close an interval of the trail each 50 ms, or as often as every says, and gives what each logs.
func (w *world) shortIntervals(every *time.Duration) map[member.ID]*said {
	logs := map[member.ID]*said{}
	for _, id := range members() {
		logs[id] = &said{}
	}
	w.tune = func(id member.ID, deps *national.Deps) {
		deps.CareEvery, deps.AuditInterval = 20*time.Millisecond, *every
		deps.Logger = slog.New(slog.NewTextHandler(logs[id], &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	return logs
}

func (f *flock) audit(id member.ID) *ententev1.AuditStatus {
	f.t.Helper()
	response, err := f.operator[id].Status(f.t.Context())
	must(f.t, err)
	return response.GetAudit()
}

// verified reads and verifies the trail of a member as its auditor does.
func (f *flock) verified(id member.ID, earlier *ententev1.TrailHeads) (trail.Report, error) {
	f.t.Helper()
	v := trail.NewVerifier(id, f.sites[id].Directory().Roster.VerifyingKeys)
	must(f.t, v.Continues(earlier))
	for part, err := range f.auditor[id].ReadTrail(f.t.Context(), &ententev1.ReadTrailRequest{Reason: reason()}) {
		must(f.t, err)
		err = v.Take(part)
		if err != nil {
			return trail.Report{}, err
		}
	}
	return v.Finish()
}

func TestAnIdleNodesTrailIsCountersignedWithinSeconds(t *testing.T) {
	w := newWorld(t)
	every := 50 * time.Millisecond
	w.shortIntervals(&every)
	w.startAll()
	f := newFlock(w)
	f.release(0, 5)
	for _, id := range members() {
		since := time.Now()
		before := f.audit(id)
		f.until("intervals of "+string(id)+" are countersigned", func() bool { return f.audit(id).GetWitnessed() > before.GetIntervals()+5 })
		after := f.audit(id)
		if witness := map[bool]string{true: "COORD", false: "XA"}[id != "COORD"]; after.GetWitness() != witness {
			t.Errorf("the witness of %s is %q, want %s", id, after.GetWitness(), witness)
		}
		report, err := f.verified(id, nil)
		must(t, err)
		if report.WitnessedIntervals < after.GetWitnessed() || report.Entries == 0 {
			t.Errorf("%s: %d intervals are verified as countersigned, the status says %d", id, report.WitnessedIntervals, after.GetWitnessed())
		}
		t.Logf("%s: 6 intervals of %s countersigned in %s; %d of %d entries are only the node's word", id, every, time.Since(since).Round(time.Millisecond), report.Unwitnessed, report.Entries)
	}
}

// restore puts an earlier copy of the data file of a node that does not run in its place, as somebody does who wants to be
// rid of what came since.
func (s *site) restore(earlier []byte) {
	s.w.t.Helper()
	must(s.w.t, os.WriteFile(s.material.Data, earlier, 0o600))
	err := os.Remove(s.material.Marker)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.w.t.Fatal(err)
	}
}

func TestAnOldCopyOfTheDataFileIsNoticedByTheWitness(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration // an interval after the restore
		says  string
	}{
		{"while its trail is shorter than what was countersigned", time.Hour, "longer trail"},
		{"when it has grown beyond it again", 20 * time.Millisecond, "not a continuation"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			every := 50 * time.Millisecond
			logs := w.shortIntervals(&every)
			w.startAll()
			f := newFlock(w)
			f.release(0, 2)
			w.sites["XA"].stop()
			copied, err := os.ReadFile(w.sites["XA"].material.Data)
			must(t, err)
			w.start("XA")
			f.until("more is countersigned", func() bool { return f.audit("XA").GetWitnessed() > 20 })
			report, err := f.verified("XA", nil)
			must(t, err)
			if logs["XA"].has("level=ERROR") {
				t.Fatal("something is wrong before the restore")
			}
			w.sites["XA"].stop()
			w.sites["XA"].restore(copied)
			every = test.every
			w.start("XA")
			f.until("its own operator is told", func() bool { return logs["XA"].has("level=ERROR", test.says) })
			status := f.audit("XA")
			if status.GetWitnessed() >= report.WitnessedIntervals {
				t.Errorf("the status says that %d intervals are countersigned, as if nothing had been", status.GetWitnessed())
			}
			if test.every < time.Second && !logs["COORD"].has("level=ERROR", "WitnessAudit", "member=XA") {
				t.Error("the witness says nothing of two trails")
			}
			_, err = f.verified("XA", report.Heads)
			fault := &trail.Fault{}
			if !errors.As(err, &fault) {
				t.Errorf("an auditor who kept the heads of before finds %v, want a fault", err)
			}
		})
	}
}

func TestAnotherWitnessTakesOverWhenTheFirstIsOut(t *testing.T) {
	w := newWorld(t)
	every := 50 * time.Millisecond
	w.shortIntervals(&every)
	w.sites["XA"].material.Care.Witness = "XC"
	w.startAll()
	f := newFlock(w)
	f.until("the first one countersigns", func() bool { return f.audit("XA").GetWitnessed() > 2 })
	report, err := f.verified("XA", nil)
	must(t, err)
	if report.Witness != "XC" {
		t.Fatalf("countersigned by %s, want XC", report.Witness)
	}
	must(t, w.fed.Suspend("XC"))
	roster, err := w.fed.Roster()
	must(t, err)
	for _, id := range []member.ID{"COORD", "XA", "XB"} {
		docs := *w.sites[id].docs.Load()
		docs.Roster = roster.Document()
		w.sites[id].docs.Store(&docs)
		must(t, w.sites[id].Reload(t.Context()))
	}
	before := f.audit("XA")
	f.until("another one countersigns", func() bool { return f.audit("XA").GetWitnessed() > before.GetIntervals()+2 })
	report, err = f.verified("XA", report.Heads)
	must(t, err)
	if report.Witness != "COORD" {
		t.Errorf("countersigned by %s, want COORD", report.Witness)
	}
}

// alter replaces entries in the trail of a node that does not run, and nothing else: what somebody can do who has its data
// file and sealing key. change says whether it is one to replace.
func (s *site) alter(change func(*ententev1.AuditEntry) bool) int {
	t := s.w.t
	t.Helper()
	data, err := store.Open(store.Options{Path: s.material.Data, Keys: s.material.Sealing, Rand: rand.Reader, Now: time.Now})
	must(t, err)
	altered := 0
	must(t, data.Update(func(tx *store.Tx) error {
		entries := store.NewSeries("audit")
		for n := uint64(1); n <= tx.Len(entries); n++ {
			value, err := tx.Get(entries, n)
			if err != nil {
				return err
			}
			e := &ententev1.AuditEntry{}
			err = proto.Unmarshal(value, e)
			if err != nil {
				return err
			}
			if !change(e) {
				continue
			}
			value, err = proto.MarshalOptions{Deterministic: true}.Marshal(e)
			if err != nil {
				return err
			}
			altered++
			err = tx.Replace(entries, n, value)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, data.Close())
	return altered
}

func TestTrailsOfTwoNodesAreHeldAgainstEachOther(t *testing.T) {
	w := newWorld(t)
	every := time.Hour // so that nothing of XB's trail is countersigned but its beginning
	w.shortIntervals(&every)
	w.startAll()
	f := newFlock(w)
	list := f.release(0, 10)
	only := list[2] // to XB alone
	f.withdraw(list[0])
	for _, c := range list {
		f.until("XB has signed for "+c.reference, func() bool {
			state := f.state(c, "XB")
			return state == ententev1.DeliveryState_DELIVERY_STATE_APPLIED || c.reference != list[0].reference && state == ententev1.DeliveryState_DELIVERY_STATE_DELIVERED
		})
	}
	t.Run("all nodes with all: nothing differs when all is well", func(t *testing.T) {
		for _, at := range members() {
			for _, with := range members() {
				if at == with {
					continue
				}
				differences, summary := f.reconcile(at, with)
				if len(differences) > 0 {
					t.Errorf("%s with %s: %v", at, with, differences)
				}
				if at == "XA" && (summary.GetOwnEntries() == 0 || summary.GetListed() == 0) {
					t.Errorf("%s with %s: nothing was compared: %v", at, with, summary)
				}
			}
		}
	})
	t.Run("an owner lists what another's trail says of its records, and of nothing else", func(t *testing.T) {
		found := map[ententev1.AuditOperation]bool{}
		var listed uint64
		for part, err := range f.auditor["XA"].Reconcile(t.Context(), &ententev1.ReconcileRequest{Reason: reason(), Member: "XB", List: true}) {
			must(t, err)
			d := part.GetDisclosure()
			if d == nil {
				if part.GetSummary().GetListed() != listed || listed == 0 {
					t.Errorf("%d came, and it ends with %v", listed, part)
				}
				continue
			}
			listed++
			found[d.GetOperation()] = true
			for _, r := range d.GetRanges() {
				if r.GetOwner() != "XA" {
					t.Errorf("of another owner: %v", d)
				}
			}
		}
		if !found[ententev1.AuditOperation_AUDIT_OPERATION_COLLECTION] || !found[ententev1.AuditOperation_AUDIT_OPERATION_ERASURE] {
			t.Errorf("listed are %v", found)
		}
		for part, err := range f.auditor["XA"].Reconcile(t.Context(), &ententev1.ReconcileRequest{Reason: reason(), Member: "XB", List: true, Since: timestamppb.New(time.Now().Add(time.Hour))}) {
			must(t, err)
			if part.GetDisclosure() != nil {
				t.Errorf("from a later time on: %v", part)
			}
		}
	})
	t.Run("what came by a relay is in the relay's trail and not in the owner's", func(t *testing.T) {
		w.sites["XC"].stop()
		late := f.pushOnly(10, 1)[0] // to all
		f.until("it is at XB", func() bool { return f.holds("XB", late) })
		name := f.name(late)
		f.until("XB has signed for it", func() bool { return f.state(late, "XB") == ententev1.DeliveryState_DELIVERY_STATE_DELIVERED })
		w.sites["XA"].stop()
		w.start("XC")
		f.until("it is relayed to XC", func() bool { return w.sites["XC"].Ledger().Holds(name) })
		w.start("XA")
		f.until("XC has signed for it", func() bool { return f.state(late, "XC") == ententev1.DeliveryState_DELIVERY_STATE_DELIVERED })
		for _, with := range []member.ID{"XB", "COORD"} {
			differences, _ := f.reconcile("XA", with)
			if len(differences) > 0 {
				t.Errorf("XA with %s: %v", with, differences)
			}
		}
		differences, _ := f.reconcile("XA", "XC")
		if len(differences) != 1 || differences[0].GetKind() != "noted as received and not as sent" || !bytes.Equal(differences[0].GetRecordIds()[0], name.Record[:]) {
			t.Errorf("XA with XC: %v, want the one that was relayed", differences)
		}
	})
	f.findsAltered(t, "what was received and is not in the other trail", "sent and not noted as received", "", func(e *ententev1.AuditEntry) bool {
		is := e.GetOperation() == ententev1.AuditOperation_AUDIT_OPERATION_COLLECTION && len(e.GetRanges()) > 0 && e.GetRanges()[0].GetOwner() == "XA"
		e.Ranges = nil
		return is
	})
	f.findsAltered(t, "what was erased and is not in the other trail", "withdrawn and not noted as erased", "", func(e *ententev1.AuditEntry) bool {
		is := e.GetOperation() == ententev1.AuditOperation_AUDIT_OPERATION_ERASURE
		e.Ranges = nil
		return is
	})
	id := f.name(only).Record
	done := false
	f.findsAltered(t, "what went to a member that never read it", "passed on", "XC", func(e *ententev1.AuditEntry) bool {
		is := !done && e.GetOperation() == ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE
		done = done || is
		e.Recipient, e.Records = "XC", []*ententev1.AuditRecords{{Owner: "XA", RecordIds: [][]byte{id[:]}}}
		return is
	})
}

// findsAltered alters the trail of XB, wants XA to find the difference, and undoes it. Nothing of what is altered has been
// countersigned yet, so XB's own auditor cannot see it: the other end can.
func (f *flock) findsAltered(t *testing.T, name, kind, recipient string, change func(*ententev1.AuditEntry) bool) {
	t.Run(name, func(t *testing.T) {
		xb := f.sites["XB"]
		xb.stop()
		sound, err := os.ReadFile(xb.material.Data)
		must(t, err)
		if xb.alter(change) == 0 {
			t.Fatal("there is nothing of the kind to alter")
		}
		f.start("XB")
		differences, _ := f.reconcile("XA", "XB")
		if len(differences) == 0 {
			t.Error("no difference is found")
		}
		for _, d := range differences {
			if d.GetKind() != kind || d.GetRecipient() != recipient || len(d.GetRecordIds()) == 0 {
				t.Errorf("found: %v, want %q", d, kind)
			}
		}
		xb.stop()
		xb.restore(sound)
		f.start("XB")
	})
}

func TestANodeWhoseTrailWasAlteredWithinAClosedIntervalDoesNotStart(t *testing.T) {
	w := newWorld(t)
	every := 50 * time.Millisecond
	w.shortIntervals(&every)
	w.start("COORD")
	xa := w.start("XA")
	f := newFlock(w)
	f.pushOnly(0, 3)
	f.careRounds("XA", 2)
	xa.stop()
	xa.alter(func(e *ententev1.AuditEntry) bool {
		e.Note = "nothing"
		return e.GetNumber() == 1
	})
	node, err := national.New(xa.material, national.Deps{Now: time.Now, Rand: rand.Reader})
	if err == nil {
		must(t, node.Close())
	}
	if err == nil || !strings.Contains(err.Error(), "audit trail") {
		t.Errorf("the node starts with %v, want a refusal of the trail", err)
	}
}
