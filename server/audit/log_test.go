package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/store"
)

var errDisk = errors.New("the disk is gone")

func TestRecordGivesNumbersAndTimesAndIsOnDiskWhenItReturns(t *testing.T) {
	n := newWorld(t).node("XA")
	given := timestamppb.New(n.now.Add(-time.Second))
	first, second := look("XB", 1), look("XC", 2)
	second.At = given
	n.must(n.log.Record(t.Context(), first, second))
	if first.GetNumber() != 1 || second.GetNumber() != 2 || !first.GetAt().AsTime().Equal(n.now) || second.GetAt() != given && !proto.Equal(second.GetAt(), given) {
		t.Errorf("numbers %d and %d at %v and %v", first.GetNumber(), second.GetNumber(), first.GetAt(), second.GetAt())
	}
	after, err := n.crashed()
	n.must(err)
	if after.log.Head() != n.log.Head() || after.log.Head().Entries != 2 {
		t.Errorf("on disk %+v, in memory %+v", after.log.Head(), n.log.Head())
	}
}

func TestAFailedTransactionLeavesNothing(t *testing.T) {
	n := newWorld(t).node("XA")
	n.record(3)
	n.closeNext()
	before := n.log.Head()
	tests := map[string]func() error{
		"of a record": func() error { return n.log.Record(t.Context(), looks(4)...) },
		"of an interval": func() error {
			n.now = n.now.Add(time.Minute)
			return n.log.CloseInterval(t.Context())
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			n.fail = errDisk
			err := do()
			if !errors.Is(err, errDisk) {
				t.Fatalf("error %v, want that of the disk", err)
			}
			if n.log.Head() != before {
				t.Errorf("head %+v, want that of before %+v", n.log.Head(), before)
			}
		})
	}
	n.record(1)
	n.closeNext()
	n.reopen()
	_, err := n.verify("XA", n.parts())
	if err != nil || n.log.Head().Entries != 4 || n.log.Head().Intervals != 2 {
		t.Errorf("after the failures %+v, %v", n.log.Head(), err)
	}
}

func TestRecordFailsWithoutAWriter(t *testing.T) {
	n := newWorld(t).node("XA")
	unbound, err := audit.Open(n.st, n.config())
	n.must(err)
	err = unbound.Record(t.Context(), look("XB", 1))
	if err == nil {
		t.Error("an entry was recorded nowhere")
	}
}

func TestAnEntryThatNoMessageHoldsIsRefused(t *testing.T) {
	n := newWorld(t).node("XA")
	big := look("XB", 1)
	big.Note = strings.Repeat("n", trail.MaxEntry)
	err := n.log.Record(t.Context(), big)
	if err == nil || n.log.Head().Entries != 0 {
		t.Errorf("error %v, head %+v", err, n.log.Head())
	}
}

// Two requests of one commit both append; the first to hear of the commit already sees both.
func TestSeveralAppendsOfOneTransactionAreOneTrail(t *testing.T) {
	n := newWorld(t).node("XA")
	var installed []func()
	n.must(n.st.Update(func(tx *store.Tx) error {
		for range 3 {
			done, err := n.log.Append(tx, looks(2))
			if err != nil {
				return err
			}
			installed = append(installed, done)
		}
		return nil
	}))
	if n.log.Head().Entries != 0 {
		t.Error("the trail shows what nobody said is on disk")
	}
	for _, done := range installed {
		done()
		if n.log.Head().Entries != 6 {
			t.Errorf("%d entries, want 6", n.log.Head().Entries)
		}
	}
	n.record(1)
	n.closeNext()
	_, err := n.verify("XA", n.parts())
	n.must(err)
}

func TestEntriesAreReadFromAnyNumber(t *testing.T) {
	tests := []struct {
		name          string
		from, stop    uint64
		first, number uint64
	}{
		{"from the beginning", 1, 0, 1, 700},
		{"from zero is from the beginning", 0, 0, 1, 700},
		{"from the middle of a page", 300, 0, 300, 401},
		{"from the end", 700, 0, 700, 1},
		{"from beyond the end", 701, 0, 0, 0},
		{"until the reader has enough", 255, 260, 255, 6},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := newWorld(t).node("XA")
			n.record(700)
			var first, number uint64
			err := n.log.Entries(test.from, func(e *ententev1.AuditEntry, encoded []byte) (bool, error) {
				if number == 0 {
					first = e.GetNumber()
				}
				number++
				// Reading holds no transaction, and what comes meanwhile is for the next reading.
				if number == 1 {
					n.record(1)
				}
				return e.GetNumber() != test.stop, nil
			})
			if err != nil || first != test.first || number != test.number {
				t.Errorf("%d entries from %d on, want %d from %d: %v", number, first, test.number, test.first, err)
			}
		})
	}
}

func TestIntervalsHaveALeafEachAndOneForAGap(t *testing.T) {
	n := newWorld(t).node("XA")
	step := func(after time.Duration, want uint64) {
		t.Helper()
		n.now = n.now.Add(after)
		n.must(n.log.CloseInterval(t.Context()))
		if n.log.Head().Intervals != want {
			t.Errorf("at %s: %d intervals, want %d", n.now, n.log.Head().Intervals, want)
		}
	}
	step(0, 1)              // the beginning
	step(30*time.Second, 1) // the minute is not over
	step(29*time.Second, 1) //
	step(time.Second, 2)    // now it is, and nothing has happened
	step(5*time.Hour, 3)    // off for hours: one leaf
	step(10*time.Second, 3) //
	step(-3*time.Hour, 4)   // the clock is set back: the trail goes on
	step(50*time.Second, 5) //
	ended := n.log.Head().ClosedAt
	n.reopen()
	if !n.log.Head().ClosedAt.Equal(ended) || !ended.Equal(n.now) {
		t.Errorf("closed at %s, and after a start at %s", ended, n.log.Head().ClosedAt)
	}
	_, err := n.verify("XA", n.parts())
	n.must(err)
}

// With a salt that can be guessed, a witness could try whether nothing has happened.
func TestEachIntervalHasASaltOfItsOwn(t *testing.T) {
	n := newWorld(t).node("XA")
	seen := map[string]bool{string(make([]byte, trail.SaltSize)): true}
	for range 5 {
		n.closeNext()
	}
	for _, part := range n.parts() {
		salt := string(part.GetInterval().GetSalt())
		if part.GetInterval() != nil && (seen[salt] || len(salt) != trail.SaltSize) {
			t.Errorf("interval %d has the salt %x", part.GetInterval().GetNumber(), salt)
		}
		seen[salt] = true
	}
}

// An empty interval and a full one look the same in all that a witness gets.
func TestTheWitnessLearnsNoVolume(t *testing.T) {
	w := newWorld(t)
	busy, idle := w.node("XA"), w.node("XA")
	for range 20 {
		busy.record(9)
		busy.closeNext()
		w.must(idle.log.CloseInterval(t.Context()))
	}
	asked, of := map[*node]*ententev1.WitnessAuditRequest{}, []*node{busy, idle}
	for _, n := range of {
		request, err := n.log.WitnessRequest(7)
		w.must(err)
		asked[n] = request
		if proto.Size(request) != proto.Size(asked[busy]) || len(request.GetConsistency()) != len(asked[busy].GetConsistency()) {
			t.Errorf("a request of %d bytes, and one of %d", proto.Size(request), proto.Size(asked[busy]))
		}
		if bytes.Contains(request.GetCheckpoint(), []byte("180")) {
			t.Errorf("the request tells how many entries there are: %q", request.GetCheckpoint())
		}
	}
}

func TestACrashAtAnyStepLeavesBothTreesAsTheFileSays(t *testing.T) {
	n := newWorld(t).node("XA")
	by := n.world.node("XB")
	n.record(250)
	check := func(step string, want audit.Head) {
		t.Helper()
		after, err := n.crashed()
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		if after.log.Head() != want {
			t.Errorf("%s: %+v, want %+v", step, after.log.Head(), want)
		}
		after.record(10)
		after.closeNext()
		_, err = n.verify("XA", after.parts())
		if err != nil {
			t.Errorf("%s: the trail does not go on: %v", step, err)
		}
	}
	before := n.log.Head()
	var installed func()
	n.must(n.st.Update(func(tx *store.Tx) (err error) {
		installed, err = n.log.Append(tx, looks(10)) // fills a tile
		check("within the transaction", before)
		return err
	}))
	copied, err := n.crashed()
	n.must(err)
	installed()
	if copied.log.Head() != n.log.Head() {
		t.Errorf("between commit and memory: %+v, want %+v", copied.log.Head(), n.log.Head())
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"after an interval", func() error { n.closeNext(); return nil }},
		{"after an empty interval", func() error { n.closeNext(); return nil }},
		{"after a countersignature", func() error { return n.askWitness(by) }},
		{"after a record", func() error { n.record(1); return nil }},
		{"after a failed record", func() error {
			n.fail = errDisk
			err := n.log.Record(t.Context(), look("XB", 5))
			if !errors.Is(err, errDisk) {
				return errors.New("it did not fail")
			}
			return nil
		}},
	}
	for _, step := range steps {
		n.must(step.do())
		check(step.name, n.log.Head())
	}
}

// model is the trail told naively: all leaves, and roots by the recursion of RFC 6962.
type model struct {
	entries, intervals [][]byte
}

func naiveRoot(leaves [][]byte) [32]byte {
	if len(leaves) == 0 {
		return sha256.Sum256(nil)
	}
	if len(leaves) == 1 {
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	cut := 1
	for cut*2 < len(leaves) {
		cut *= 2
	}
	left, right := naiveRoot(leaves[:cut]), naiveRoot(leaves[cut:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// compare reads the whole trail and holds it against the model.
func (m *model) compare(n *node) {
	n.t.Helper()
	head := n.log.Head()
	if head.Entries != uint64(len(m.entries)) || head.Root != naiveRoot(m.entries) {
		n.t.Fatalf("%d entries with root %x, want %d", head.Entries, head.Root, len(m.entries))
	}
	m.intervals = m.intervals[:0]
	var entries [][]byte
	for _, part := range n.parts() {
		entries = append(entries, part.GetEntries().GetEntries()...)
		if part.GetInterval() != nil {
			one, err := trail.ParseInterval(part.GetInterval())
			n.must(err)
			leaf := one.Leaf()
			m.intervals = append(m.intervals, leaf[:])
			if one.Root != naiveRoot(m.entries[:one.Size]) || one.Size != uint64(len(entries)) {
				n.t.Fatalf("interval %d does not say what the entries are", one.Number)
			}
		}
	}
	if head.Intervals != uint64(len(m.intervals)) || head.IntervalRoot != naiveRoot(m.intervals) {
		n.t.Fatalf("%d intervals with root %x, want %d", head.Intervals, head.IntervalRoot, len(m.intervals))
	}
	for i := range entries {
		if !bytes.Equal(entries[i], m.entries[i]) {
			n.t.Fatalf("entry %d differs", i+1)
		}
	}
}

func TestTheTrailIsWhatANaiveModelSays(t *testing.T) {
	for seed := range uint64(3) {
		n := newWorld(t).node("XA")
		random := rand.New(rand.NewPCG(seed, 1))
		m := &model{}
		for range 120 {
			m.step(n, random)
		}
		for range 300 { // past a tile of intervals
			n.closeNext()
		}
		m.compare(n)
		n.reopen()
		m.compare(n)
		_, err := n.verify("XA", n.parts())
		n.must(err)
		if len(m.entries) <= stream.TileWidth {
			t.Errorf("%d entries: no tile was filled", len(m.entries))
		}
	}
}

// step does one random thing to both.
func (m *model) step(n *node, random *rand.Rand) {
	n.t.Helper()
	switch random.IntN(8) {
	case 0:
		n.closeNext()
	case 1:
		n.fail = errDisk
		err := n.log.Record(n.t.Context(), looks(1+random.IntN(300))...)
		if !errors.Is(err, errDisk) {
			n.t.Fatal("the write did not fail")
		}
	case 2:
		n.reopen()
	case 3:
		m.compare(n)
	default:
		list := looks(1 + random.IntN(20))
		n.must(n.log.Record(n.t.Context(), list...))
		for _, e := range list {
			encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
			n.must(err)
			m.entries = append(m.entries, encoded)
		}
	}
}

func TestACancelledCallerIsToldSo(t *testing.T) {
	n := newWorld(t).node("XA")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.log.Bind(func(ctx context.Context, do func(*store.Tx) (func(), error)) error { return ctx.Err() })
	err := n.log.Record(ctx, look("XB", 1))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}
