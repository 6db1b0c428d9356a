package ledger_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

const day = 24 * time.Hour

func (n *node) expire() (lapsed, erased int) {
	n.w.t.Helper()
	lapsed, erased, err := n.Expire(context.Background())
	n.w.must(err)
	return lapsed, erased
}

func TestALapsedRecordIsNowhereInTheFileOfItsOwner(t *testing.T) {
	before := map[string]func(w *world, xa *node){
		"after one version":          func(*world, *node) {},
		"after corrections":          func(w *world, xa *node) { xa.push(lapsing(2), lapsing(3)) },
		"after a late older version": func(w *world, xa *node) { xa.push(lapsing(5), lapsing(3)) },
		"treated for some": func(w *world, xa *node) {
			xa.release(false, "unique-ref", withoutNotes(toMembers("XC")), withoutNotes(toProject()))
		},
		"after its form was changed": func(w *world, xa *node) { xa.release(false, "unique-ref", withoutNotes(toAll())) },
		"renewed once":               func(w *world, xa *node) { xa.renew("unique-ref", w.now.Add(20*day)) },
		"withdrawn":                  func(w *world, xa *node) { xa.push(withdrawalOf("unique-ref", 0)) },
		"restricted":                 func(w *world, xa *node) { xa.restrict(false, "unique-ref") },
		"with a form that waits":     func(w *world, xa *node) { xa.push(victim(lapsing(2))) },
		"after a start":              func(w *world, xa *node) { *xa = *w.restarted(xa, "XA") },
	}
	for name, do := range before {
		t.Run(name, func(t *testing.T) {
			w := newPolicedWorld(t)
			xa, xb := w.start("XA", true), w.start("XB", true)
			xa.push(lapsing(1), person("other", 1, "Other", toAll()))
			do(w, xa)
			replicate(xa, xb, "XA", "XB")
			w.now = w.now.Add(9 * day)
			if lapsed, _ := xa.expire(); lapsed != 0 {
				t.Fatal("it lapses too early")
			}
			w.now = w.now.Add(12 * day)
			if lapsed, _ := xa.expire(); lapsed != 1 {
				t.Fatalf("%d lapsed", lapsed)
			}
			for _, text := range []string{"Unique family", "unique notes", "unique-ref"} {
				if n := xa.holds(text); n != 0 {
					t.Errorf("%q is still in %d values", text, n)
				}
			}
			for _, reader := range []string{"XB", "XC", "COORD"} {
				if xa.stands(reader, "unique-ref") != 0 {
					t.Errorf("it still stands for %s", reader)
				}
			}
			held, err := xa.Record(xa.id("unique-ref"), 0)
			if err != nil || !held.GetErased() || held.GetRecord() != nil || held.GetRetainUntil() != nil {
				t.Errorf("it is told as %v, %v", held, err)
			}
			again, err := xa.Push(context.Background(), "Central Unit", []ledger.Item{lapsing(1)})
			xa.want(rejected, again, err)
			xa = w.restarted(xa, "XA")
			if lapsed, _ := xa.expire(); lapsed != 0 {
				t.Error("it lapses once more")
			}
			xa.push(until(person("unique-ref", 9, "Anew", toAll()), w.now.Add(30*day)))
			xa.restrict(true, "unique-ref") // that outlives a lapse
			if xa.stands("XB", "unique-ref") != 1 {
				t.Error("a higher version is not released")
			}
			w.restarted(xa, "XA")
		})
	}
}

func lapsing(version uint64) ledger.Item {
	return until(noted(person("unique-ref", version, "Unique family", toAll(), toMembers("XB")), "unique notes"), lapsesAt())
}

func lapsesAt() time.Time { return time.Date(2031, 5, 16, 12, 0, 0, 0, time.UTC) }

// After an unclean stop streams cannot be written: what stands in them keeps its form until they can, and nothing else stays.
func TestALapseThatFindsTheStreamsClosedIsFinishedWhenTheyOpen(t *testing.T) {
	w := newPolicedWorld(t)
	xa, readers := w.start("XA", true), threeReaders(w)
	xa.push(lapsing(1))
	xa.push(victim(noted(lapsing(2), "unique notes of two"))) // its forms wait
	xa.push(lapsing(3))
	for id, n := range readers {
		replicate(xa, n, "XA", id)
	}
	xa.stop()
	w.now = w.now.Add(30 * day)
	xa = w.start("XA", false)
	if lapsed, _ := xa.expire(); lapsed != 1 {
		t.Fatal("it does not lapse")
	}
	if xa.holds("unique notes of two") != 0 || xa.holds("unique-ref") != 0 {
		t.Error("what no entry carries is still there")
	}
	confirmAll(w, "XA", xa, readers)
	if n := xa.holds("Unique family"); n != 0 || xa.stands("XB", "unique-ref") != 0 {
		t.Errorf("the form is still in %d values, and stands %d times", n, xa.stands("XB", "unique-ref"))
	}
	for _, e := range must(xa.Follow(1, 1, 100))(t) {
		if e.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL && e.CrimeAreas != 0 {
			t.Error("the withdrawal tells crime areas that there never were")
		}
	}
	w.restarted(xa, "XA")
}

func TestAWithdrawalAfterALapseStillFitsTheFilterOfItsFollower(t *testing.T) {
	w := newPolicedWorld(t)
	xa, readers := w.start("XA", true), threeReaders(w)
	it := lapsing(1)
	it.Record.CrimeAreas = []ententev1.CrimeArea{2}
	xa.push(it)
	xa.stop()
	w.now = w.now.Add(30 * day)
	xa = w.start("XA", false)
	xa.expire()
	xa.stop()
	w.now = w.now.Add(time.Second)
	xa = w.start("XA", false)
	confirmAll(w, "XA", xa, readers)
	found := false
	for _, s := range xa.StreamsShared("XA", "XB") {
		for _, e := range must(xa.Follow(s.No, 1, 100))(t) {
			found = found || e.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL
			if e.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL && e.CrimeAreas != 1<<2 {
				t.Errorf("the withdrawal is of crime areas %b", e.CrimeAreas)
			}
		}
	}
	if !found {
		t.Error("nothing was withdrawn")
	}
}

func TestReadersEraseWhatIsOverWithoutItsOwner(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb, coord := w.start("XA", true), w.start("XB", true), w.start("COORD", true)
	xa.push(lapsing(1), person("other", 1, "Other", toAll()))
	replicate(xa, xb, "XA", "XB")
	replicate(xa, coord, "XA", "COORD")
	for _, doc := range must(xb.PendingReceipts("XA"))(t) {
		w.must(xb.ReceiptsSent(context.Background(), []*ententev1.SignedDocument{doc}))
	}
	xb = w.restarted(xb, "XB")
	w.now = lapsesAt().Add(-time.Second)
	if _, erased := xb.expire(); erased != 0 {
		t.Fatal("too early")
	}
	w.now = w.now.Add(time.Second)
	if _, erased := xb.expire(); erased != 2 {
		t.Fatalf("XB erased %d entries, want that for all and its own", erased)
	}
	if _, erased := xb.expire(); erased != 0 {
		t.Fatal("it erases again")
	}
	if xb.holds("Unique family") != 0 || xb.holds("unique notes") != 0 || xb.released("XA", "XB")[xa.id("other")] != 1 {
		t.Error("XB has it still, or has lost something else")
	}
	named := 0
	for _, doc := range must(xb.PendingReceipts("XA"))(t) {
		r := &ententev1.Receipt{}
		w.must(proto.Unmarshal(doc.GetBody(), r))
		named += len(r.GetErased())
		w.must(xa.AcceptReceipt(context.Background(), doc, "XB"))
	}
	if named != 2 {
		t.Errorf("the receipts name %d erased entries", named)
	}
	xb = w.restarted(xb, "XB")
	// A relay that has not looked yet still has it: it must not come back by that.
	relay(coord, xb, "XA", "XB")
	replicate(xa, xb, "XA", "XB")
	if xb.holds("Unique family") != 0 {
		t.Error("it came back")
	}
	// And a reader that comes to it only now never keeps it.
	xc := w.start("XC", true)
	replicate(xa, xc, "XA", "XC")
	if xc.holds("Unique family") != 0 || xc.released("XA", "XC")[xa.id("other")] != 1 {
		t.Error("XC took what is over")
	}
	w.restarted(xc, "XC")
}

// relay offers all entries of the shared streams of an owner again, as a relay or an import does.
func relay(from, to *node, owner, reader member.ID) {
	for _, s := range from.StreamsShared(owner, reader) {
		r := stream.NewReader(owner, s.ID, reader, stream.Edge{})
		_, err := r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: s.ID[:], Checkpoint: s.Checkpoint}, from.w.dir.Roster.VerifyingKeys(owner))
		from.w.must(err)
		entries, err := from.Entries(s.No, 1, 1000, 1<<20)
		from.w.must(err)
		verified, err := r.Entries(&ententev1.EntryBatch{StreamId: s.ID[:], Entries: entries}, from.Covered(owner))
		from.w.must(err)
		from.w.must(to.ApplyEntries(context.Background(), owner, s.ID, verified, r.Edge(), s.Checkpoint))
	}
}

func TestWhatIsOverByOneClockOnlyIsHiddenAndNotErased(t *testing.T) {
	w := newPolicedWorld(t)
	agreed := true
	w.configure = func(c *ledger.Config) {
		policed(c)
		c.Expiry = func() (hide, erase time.Time) {
			if !agreed {
				return w.now, time.Time{}
			}
			return w.now, w.now
		}
	}
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(until(lessonOn("l1", toAll()), w.now.Add(10*day)))
	replicate(xa, xb, "XA", "XB")
	all := func(string) bool { return true }
	seen := func() [2]bool {
		_, mine := xa.LibraryRecord("XA", xa.id("l1"), all)
		_, theirs := xb.LibraryRecord("XA", xa.id("l1"), all)
		return [2]bool{mine == nil, theirs == nil}
	}
	agreed = false
	w.now = w.now.Add(11 * day)
	lapsed, _ := xa.expire()
	_, erased := xb.expire()
	if lapsed+erased != 0 || xa.holds("Lesson l1") == 0 || xb.holds("Lesson l1") == 0 || xa.stands("XB", "l1") != 1 {
		t.Fatalf("%d lapsed, %d erased: the clocks do not agree", lapsed, erased)
	}
	if seen() != [2]bool{false, false} {
		t.Error("what is over is shown")
	}
	w.now = w.now.Add(-5 * day) // the clock is mended
	agreed = true
	lapsed, _ = xa.expire()
	_, erased = xb.expire()
	if lapsed+erased != 0 || seen() != [2]bool{true, true} {
		t.Errorf("it does not come back when the clock is mended: %v", seen())
	}
	w.now = w.now.Add(5 * day)
	lapsed, _ = xa.expire()
	_, erased = xb.expire()
	if lapsed != 1 || erased != 1 {
		t.Errorf("%d lapsed, %d erased once the clocks agree", lapsed, erased)
	}
}

func TestWhatIsTakenWhileOthersLapseIsNotForgotten(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	xa.push(lapsing(1))
	w.now = w.now.Add(11 * day)
	// Taken when it was over already, between two looks.
	xa.push(until(person("late", 1, "Late", toAll()), w.now.Add(-day)))
	if lapsed, _ := xa.expire(); lapsed != 2 {
		t.Errorf("%d lapsed", lapsed)
	}
}

func TestWhatIsDueIsListedInPages(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	for i, reference := range manyReferences(7) {
		xa.push(until(person(reference, 1, "One"), w.now.Add(time.Duration(10-i)*day)))
	}
	xa.hold(false, "r6", w.now.Add(30*day))
	var got []ledger.RecordID
	pages := 0
	for more := true; more; pages++ {
		var list []ledger.Due
		list, more = xa.ListDue(ledger.DueQuery{Authority: "Central Unit", By: w.now.Add(9 * day), After: len(got), Limit: 4}, plainReview)
		for _, d := range list {
			got = append(got, d.Record)
			if (d.Hold != nil) != (d.Record == xa.id("r6")) || d.Released {
				t.Errorf("%s: hold %v, released %v", d.Record, d.Hold, d.Released)
			}
		}
	}
	want := []ledger.RecordID{xa.id("r6"), xa.id("r5"), xa.id("r4"), xa.id("r3"), xa.id("r2"), xa.id("r1")}
	if !same(got, want) || pages != 2 {
		t.Errorf("%v in %d pages, want %v", got, pages, want)
	}
}

// TestARenewalIsAReview: who says why a record is kept has reviewed it, also where its end stays what it was.
func TestARenewalIsAReview(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	end := w.now.Add(300 * day)
	xa.push(until(person("p1", 1, "One"), end))
	review := func(recorded, retain, said time.Time) time.Time {
		if !said.IsZero() {
			return said
		}
		return recorded.Add(30 * day)
	}
	due := func(by time.Duration) bool {
		list, _ := xa.ListDue(ledger.DueQuery{Authority: "Central Unit", By: w.now.Add(by), Limit: 4}, review)
		count := xa.CountDue(w.now.Add(by), review)
		if int(count) != len(list) {
			t.Errorf("%d are listed, %d are counted", len(list), count)
		}
		return len(list) == 1
	}
	w.now = w.now.Add(29 * day)
	if !due(2 * day) {
		t.Error("what must be reviewed tomorrow is not due within two days")
	}
	for _, to := range []time.Time{end, end.Add(day)} {
		xa.renew("p1", to)
		if due(29*day) || !due(31*day) {
			t.Errorf("renewed to %s it is due within 29 days: %v, within 31: %v", to, due(29*day), due(31*day))
		}
		xa.stop()
		xa = w.start("XA", true)
		if due(29*day) || !due(31*day) {
			t.Error("after a restart the review is another one")
		}
		w.now = w.now.Add(29 * day)
	}
}
