package ledger_test

import (
	"context"
	"io"
	"os"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// headsHeld is what a node answers when the owner asks for its own streams.
func headsHeld(n *node, owner, reader member.ID) []*ententev1.StreamHead {
	var heads []*ententev1.StreamHead
	for _, s := range n.StreamsShared(owner, reader) {
		heads = append(heads, &ententev1.StreamHead{StreamId: s.ID[:], Owner: string(owner), Size: s.Size, Root: s.Root[:], Checkpoint: s.Checkpoint})
	}
	return heads
}

func ownStreams(n *node) (open, closed int) {
	for _, s := range n.Streams() {
		switch {
		case s.Owner != "XA":
		case s.Closed:
			closed++
		default:
			open++
		}
	}
	return open, closed
}

func TestAfterAnUncleanStopIntakeGoesOnAndReleasesWaitForTheReaders(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	readers := map[member.ID]*node{"XB": w.start("XB", true), "XC": w.start("XC", true), "COORD": w.start("COORD", true)}
	xa.push(person("p1", 1, "One", toAll()))
	for id, n := range readers {
		replicate(xa, n, "XA", id)
	}
	xa.stop()
	xa = w.start("XA", false)
	v := xa.push(person("p2", 1, "Two", toAll()), person("p3", 1, "Three"))
	if v[0].GetReleaseState() != ententev1.ReleaseState_RELEASE_STATE_WAITING || xa.Stats().Waiting != 1 {
		t.Fatalf("a release before the readers answered: %s", v[0].GetReleaseState())
	}
	for id, n := range readers {
		if xa.released("XA", "XB")[xa.id("p2")] != 0 {
			t.Fatal("released before all readers answered")
		}
		w.must(xa.Confirm(context.Background(), id, headsHeld(n, "XA", id)))
	}
	open, closed := ownStreams(xa)
	if xa.released("XA", "XB")[xa.id("p2")] != 1 || open != 1 || closed != 0 || len(xa.Unconfirmed()) != 0 {
		t.Fatalf("after all answers: %d open and %d closed streams, p2 released %d times", open, closed, xa.released("XA", "XB")[xa.id("p2")])
	}
	if xa.HeadsDigest() == ([32]byte{}) {
		t.Fatal("no digest")
	}
}

func TestANodeRestoredFromAnOldBackupOpensASuccessor(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	readers := map[member.ID]*node{"XB": w.start("XB", true), "XC": w.start("XC", true), "COORD": w.start("COORD", true)}
	xa.push(person("p1", 1, "One", toAll()))
	xa.stop()
	backup := w.path["XA"] + ".backup"
	copyFile(t, w.path["XA"], backup)
	xa = w.start("XA", true)
	xa.push(person("p1", 2, "Corrected"), person("p2", 1, "Two", toAll()))
	for id, n := range readers {
		replicate(xa, n, "XA", id)
	}
	before, _ := ownStreams(xa)
	xa.stop()
	copyFile(t, backup, w.path["XA"])

	w.now = w.now.Add(1)
	xa = w.start("XA", false)
	for id, n := range readers {
		w.must(xa.Confirm(context.Background(), id, headsHeld(n, "XA", id)))
	}
	tails := xa.LostTails()
	if before != 1 || len(tails) != 1 || tails[0].Size != 5 {
		t.Fatalf("%d streams before, lost tails %v", before, tails)
	}
	recoverTail(t, w, xa, readers[tails[0].Reader], tails[0])
	if len(xa.LostTails()) != 0 {
		t.Fatal("the tail is still lost after it was pulled back")
	}
	// The national system pushes what was lost once more.
	xa.push(person("p1", 2, "Corrected"), person("p2", 1, "Two", toAll()), person("p3", 1, "Three", toAll()))
	open, closed := ownStreams(xa)
	if open != 1 || closed != 1 {
		t.Fatalf("%d open and %d closed streams, want the old one retired and a successor", open, closed)
	}
	for id, n := range readers {
		replicate(xa, n, "XA", id)
		got := n.released("XA", id)
		for _, r := range []string{"p1", "p2", "p3"} {
			if got[xa.id(r)] != 1 {
				t.Errorf("%s holds %s %d times", id, r, got[xa.id(r)])
			}
		}
	}
	// And once more through a start: the state is what the log says.
	text := describe(t, xa)
	xa.stop()
	xa = w.start("XA", true)
	if again := describe(t, xa); again != text {
		t.Errorf("after a restart:\n%s\nbefore:\n%s", again, text)
	}
}

// recoverTail pulls a lost tail back from its reader.
func recoverTail(t *testing.T, w *world, xa, from *node, tail ledger.LostTail) {
	t.Helper()
	keys := w.dir.Roster.VerifyingKeys("XA")
	for _, s := range from.StreamsShared("XA", tail.Reader) {
		if s.ID != tail.Stream {
			continue
		}
		r := xa.TailReader(tail)
		edge := r.Edge()
		held := edge.Size()
		_, err := r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: s.ID[:], Checkpoint: s.Checkpoint, Consistency: must(from.Consistency(s.No, held, s.Size))(t)}, keys)
		w.must(err)
		entries, err := from.Entries(s.No, held+1, 100, 1<<20)
		w.must(err)
		verified, err := r.Entries(&ententev1.EntryBatch{StreamId: s.ID[:], Entries: entries}, from.Covered("XA"))
		w.must(err)
		w.must(xa.RecoverTail(context.Background(), tail.Stream, verified, s.Checkpoint))
	}
}

func TestAForgedHeadDoesNotRetireAStream(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(person("p1", 1, "One", toAll()))
	replicate(xa, xb, "XA", "XB")
	heads := headsHeld(xb, "XA", "XB")
	xa.stop()
	xa = w.start("XA", false)
	heads[0].Checkpoint = append([]byte("x"), heads[0].Checkpoint...)
	err := xa.Confirm(context.Background(), "XB", heads)
	if err == nil {
		t.Fatal("a head that we did not sign was taken")
	}
	_, closed := ownStreams(xa)
	if closed != 0 || len(xa.Unconfirmed()) != 3 {
		t.Fatalf("%d streams retired, unconfirmed %v", closed, xa.Unconfirmed())
	}
}

func TestReceivedStreamsStayHiddenUntilTheirWithdrawalsAreKnown(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(person("p1", 1, "One", toAll()))
	replicate(xa, xb, "XA", "XB")
	xb.stop()
	xb = w.start("XB", false)
	if !xb.StreamsShared("XA", "XB")[0].Hidden {
		t.Fatal("shown before the owner was heard")
	}
	xb.Fresh("XA", true)
	if xb.StreamsShared("XA", "XB")[0].Hidden {
		t.Fatal("hidden although the owner was heard")
	}
}

func TestOneMemberCannotWithdrawWhatAnotherReleased(t *testing.T) {
	w := newWorld(t)
	xa, xc := w.start("XA", true), w.start("XC", true)
	xa.push(person("p1", 1, "One", toAll()))
	replicate(xa, xc, "XA", "XC")
	s := xc.StreamsShared("XA", "XC")[0]
	forged := []streamWithdrawal{{Stream: s.ID, Sequence: 9, Target: s.ID, TargetSequence: 2, Reason: 3}}
	w.must(xc.ApplyWithdrawals(context.Background(), "XB", s.ID, forged, nil))
	if xc.released("XA", "XC")[xa.id("p1")] != 1 || xc.Covered("XA")(s.ID, 2) {
		t.Fatal("XB erased a record of XA")
	}
	// The control: the same from its owner erases.
	w.must(xc.ApplyWithdrawals(context.Background(), "XA", s.ID, forged, nil))
	if len(xc.released("XA", "XC")) != 0 {
		t.Fatal("the owner's withdrawal did not erase")
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err != nil {
		t.Fatal(err)
	}
	err = out.Close()
	if err != nil {
		t.Fatal(err)
	}
}
