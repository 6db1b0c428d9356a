package audit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/store"
)

func TestATrailIsCountersignedAsItGrows(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	for i := range uint64(5) {
		n.record(int(i))
		n.closeNext()
		w.must(n.askWitness(by))
		head := n.log.Head()
		if head.Witness != "XB" || head.Witnessed != i+1 || !head.WitnessedAt.Equal(w.now) {
			t.Fatalf("after %d intervals %+v", i+1, head)
		}
	}
	n.record(2)
	r, err := w.verify("XA", n.parts())
	w.must(err)
	if r.Witness != "XB" || r.WitnessedIntervals != 5 || r.WitnessedEntries != 10 || r.Unwitnessed != 2 || !r.WitnessedEnd.Equal(w.now) || !r.WitnessedAt.Equal(w.now) {
		t.Errorf("report %+v", r)
	}
	head := n.log.Head()
	n.reopen()
	if n.log.Head() != head {
		t.Errorf("after a start %+v, want %+v", n.log.Head(), head)
	}
}

func TestAWitnessThatStandsElsewhereSaysWhere(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	n.closeNext()
	n.closeNext()
	request, err := n.log.WitnessRequest(2)
	w.must(err)
	response, err := by.log.Countersign(t.Context(), "XA", request)
	w.must(err)
	if len(response.GetCosignature()) != 0 || response.GetSize() != 0 {
		t.Errorf("a witness that has signed nothing answered %v", response)
	}
	w.must(n.askWitness(by))
	n.closeNext()
	for _, from := range []uint64{0, 1, 3} {
		request, err = n.log.WitnessRequest(from)
		w.must(err)
		response, err = by.log.Countersign(t.Context(), "XA", request)
		w.must(err)
		if len(response.GetCosignature()) != 0 || response.GetSize() != 2 {
			t.Errorf("from %d a witness of 2 intervals answered %v", from, response)
		}
		err = n.log.Witnessed(t.Context(), "XB", request, response)
		if !errors.Is(err, audit.ErrWitnessSize) {
			t.Errorf("error %v, want that the size is another", err)
		}
	}
	w.must(n.askWitness(by))
}

// A request that was long on its way is older than what was signed meanwhile: nobody is accused.
func TestALateRequestIsNoFork(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	n.closeNext()
	late, err := n.log.WitnessRequest(0)
	w.must(err)
	n.closeNext()
	w.must(n.askWitness(by))
	response, err := by.log.Countersign(t.Context(), "XA", late)
	w.must(err)
	forks, err := by.log.Forks("XA")
	w.must(err)
	if len(response.GetCosignature()) != 0 || response.GetSize() != 2 || len(forks) != 0 {
		t.Errorf("answered %v, kept %d forks", response, len(forks))
	}
}

// The witness signs, and its answer is lost.
func TestALostCountersignatureIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	n.closeNext()
	w.must(n.askWitness(by))
	n.closeNext()
	request, err := n.log.WitnessRequest(1)
	w.must(err)
	_, err = by.log.Countersign(t.Context(), "XA", request)
	w.must(err)
	by.reopen()
	w.must(n.askWitness(by))
	if n.log.Head().Witnessed != 2 {
		t.Errorf("head %+v", n.log.Head())
	}
}

func TestAnotherWitnessStartsFromNothing(t *testing.T) {
	w := newWorld(t)
	n := w.node("XA")
	for _, by := range []*node{w.node("XB"), w.node("XC"), w.node("XB")} {
		n.record(3)
		n.closeNext()
		w.must(n.askWitness(by))
		r, err := w.verify("XA", n.parts())
		w.must(err)
		if r.Witness != by.id || r.WitnessedEntries != r.Entries {
			t.Errorf("report %+v, want %s as witness of all", r, by.id)
		}
	}
}

func TestTheWitnessRemembersBeforeItsSignatureLeaves(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	n.closeNext()
	request, err := n.log.WitnessRequest(0)
	w.must(err)
	by.fail = errDisk
	response, err := by.log.Countersign(t.Context(), "XA", request)
	if !errors.Is(err, errDisk) || response != nil {
		t.Errorf("a witness that could not write answered %v, %v", response, err)
	}
	remembered := uint64(0)
	by.log.Bind(func(ctx context.Context, do func(*store.Tx) (func(), error)) error {
		err := by.write(ctx, do)
		after, crashErr := by.crashed() // before the answer
		w.must(crashErr)
		note, noteErr := after.log.Countersigned("XA")
		w.must(noteErr)
		head, noteErr := stream.ReadTreeHead(note, "XA", trail.TreeIntervals)
		w.must(noteErr)
		remembered = head.Size
		return err
	})
	_, err = by.log.Countersign(t.Context(), "XA", request)
	w.must(err)
	if remembered != 1 {
		t.Errorf("on disk before the answer: a head of %d intervals, want 1", remembered)
	}
}

func TestAForkIsRefusedAndKept(t *testing.T) {
	tests := []struct {
		name string
		fork func(w *world, n *node) *node // what is shown after the real trail of 3 intervals was signed
	}{
		{"another trail of the same length", func(w *world, _ *node) *node { return w.otherTrail(3) }},
		{"another trail that is longer", func(w *world, _ *node) *node { return w.otherTrail(5) }},
		{"the trail cut short", func(w *world, _ *node) *node { return w.otherTrail(2) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			n, by := w.node("XA"), w.node("XB")
			for range 3 {
				n.record(1)
				n.closeNext()
			}
			w.must(n.askWitness(by))
			signed, err := by.log.Countersigned("XA")
			w.must(err)
			forked := test.fork(w, n)
			from := min(3, forked.log.Head().Intervals)
			request, err := forked.log.WitnessRequest(from)
			w.must(err)
			for range 2 { // shown again it is kept once
				response, err := by.log.Countersign(t.Context(), "XA", request)
				if !errors.Is(err, audit.ErrFork) || response != nil {
					t.Fatalf("answered %v, %v, want a fork", response, err)
				}
			}
			by.reopen()
			forks, err := by.log.Forks("XA")
			w.must(err)
			if len(forks) != 1 || string(forks[0].Signed) != string(signed) || string(forks[0].Shown) != string(request.GetCheckpoint()) || !forks[0].SeenAt.Equal(w.now) {
				t.Fatalf("kept %+v", forks)
			}
			n.closeNext()
			w.must(n.askWitness(by)) // the real one goes on
		})
	}
}

// otherTrail is what an insider of XA makes with XA's key.
func (w *world) otherTrail(intervals int) *node {
	other := w.node("XA")
	for range intervals {
		other.record(2)
		other.closeNext()
	}
	return other
}

// What proves nothing accuses nobody.
func TestAProofThatIsNotAskedForIsNoFork(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	empty, err := n.log.WitnessRequest(0)
	w.must(err)
	n.closeNext()
	first, err := n.log.WitnessRequest(0)
	w.must(err)
	again, err := n.log.WitnessRequest(1)
	w.must(err)
	for _, request := range []*ententev1.WitnessAuditRequest{empty, first, again} {
		request.Consistency = [][]byte{make([]byte, 32), {1}}
		response, err := by.log.Countersign(t.Context(), "XA", request)
		if err != nil || len(response.GetCosignature()) == 0 {
			t.Errorf("from %d answered %v, %v", request.GetFrom(), response, err)
		}
	}
	n.closeNext()
	wrong, err := n.log.WitnessRequest(1)
	w.must(err)
	wrong.Consistency = [][]byte{make([]byte, 32)}
	_, err = by.log.Countersign(t.Context(), "XA", wrong)
	if !errors.Is(err, audit.ErrFork) {
		t.Errorf("error %v, want a fork: the proof does not hold", err)
	}
}

func TestForksDoNotFillTheDiskOfTheWitness(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	n.closeNext()
	w.must(n.askWitness(by))
	other := w.node("XA")
	other.record(1)
	for range 40 {
		other.closeNext()
		request, err := other.log.WitnessRequest(1)
		w.must(err)
		_, err = by.log.Countersign(t.Context(), "XA", request)
		if !errors.Is(err, audit.ErrFork) {
			t.Fatalf("error %v, want a fork", err)
		}
	}
	forks, err := by.log.Forks("XA")
	w.must(err)
	if len(forks) != 16 {
		t.Errorf("%d forks are kept, want 16", len(forks))
	}
}

func TestWhatCountersignRefuses(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	n.closeNext()
	good, err := n.log.WitnessRequest(0)
	w.must(err)
	signedBy := func(key ed25519.PrivateKey, owner member.ID, tree string) *ententev1.WitnessAuditRequest {
		head := n.log.Head()
		note, err := stream.TreeHead{Owner: owner, Tree: tree, Size: head.Intervals, Root: head.IntervalRoot, Time: w.now}.Sign(key)
		w.must(err)
		return &ententev1.WitnessAuditRequest{Checkpoint: note}
	}
	tests := []struct {
		name string
		of   member.ID
		r    *ententev1.WitnessAuditRequest
		want error
	}{
		{"a head of another member", "XC", good, stream.ErrCheckpointKey},
		{"a head signed by a stranger", "XA", signedBy(keyFrom("stranger"), "XA", trail.TreeIntervals), stream.ErrCheckpointKey},
		{"a head of another tree", "XA", signedBy(w.keys["XA"][0], "XA", trail.TreeEntries), stream.ErrCheckpointOrigin},
		{"no head", "XA", &ententev1.WitnessAuditRequest{}, stream.ErrCheckpointForm},
		{"the own trail", "XB", signedBy(w.keys["XB"][0], "XB", trail.TreeIntervals), audit.ErrRefused},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			response, err := by.log.Countersign(t.Context(), test.of, test.r)
			if !errors.Is(err, test.want) || response != nil {
				t.Errorf("answered %v, %v, want %v", response, err, test.want)
			}
		})
	}
	response, err := by.log.Countersign(t.Context(), "XA", good)
	if err != nil || len(response.GetCosignature()) == 0 {
		t.Errorf("the good one: %v, %v", response, err)
	}
}

func TestWhatWitnessedRefuses(t *testing.T) {
	w := newWorld(t)
	n, by, other := w.node("XA"), w.node("XB"), w.otherTrail(1)
	n.closeNext()
	request, err := n.log.WitnessRequest(0)
	w.must(err)
	response, err := by.log.Countersign(t.Context(), "XA", request)
	w.must(err)
	foreign, err := other.log.WitnessRequest(0)
	w.must(err)
	line, err := stream.Cosign(foreign.GetCheckpoint(), "XB", w.keys["XB"][0], w.now)
	w.must(err)
	own, err := stream.Cosign(request.GetCheckpoint(), "XA", w.keys["XA"][0], w.now)
	w.must(err)
	answer := func(line []byte, size uint64) *ententev1.WitnessAuditResponse {
		return &ententev1.WitnessAuditResponse{Cosignature: line, Size: size}
	}
	tests := []struct {
		name     string
		by       member.ID
		request  *ententev1.WitnessAuditRequest
		response *ententev1.WitnessAuditResponse
		want     error
	}{
		{"a signature by another member", "XC", request, response, stream.ErrCheckpointKey},
		{"a signature of another head", "XB", request, answer(line, 1), stream.ErrCheckpointSignature},
		{"a head that is not of this trail", "XB", foreign, answer(line, 1), audit.ErrRefused},
		{"the own signature", "XA", request, answer(own, 1), audit.ErrRefused},
		{"a longer trail than there is", "XB", request, answer(response.GetCosignature(), 2), audit.ErrWitnessAhead},
		{"another size than was signed", "XB", request, answer(response.GetCosignature(), 0), audit.ErrRefused},
		{"no signature", "XB", request, answer(nil, 0), audit.ErrWitnessSize},
		{"half a line", "XB", request, answer(response.GetCosignature()[:40], 1), stream.ErrCheckpointForm},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := n.log.Witnessed(t.Context(), test.by, test.request, test.response)
			if !errors.Is(err, test.want) || n.log.Head().Witness != "" {
				t.Errorf("error %v, want %v; head %+v", err, test.want, n.log.Head())
			}
		})
	}
	w.must(n.log.Witnessed(t.Context(), "XB", request, response))
}

// The data file is an older copy of itself.
func TestARestoredTrailIsNotCountersignedAgain(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	n.closeNext()
	w.must(n.askWitness(by))
	old, err := n.crashed()
	w.must(err)
	n.closeNext()
	n.closeNext()
	w.must(n.askWitness(by))

	request, err := old.log.WitnessRequest(1) // at once: not dated later than what was signed
	w.must(err)
	response, err := by.log.Countersign(t.Context(), "XA", request)
	w.must(err)
	err = old.log.Witnessed(t.Context(), "XB", request, response)
	if !errors.Is(err, audit.ErrWitnessAhead) {
		t.Errorf("error %v, want that the witness is ahead", err)
	}
	_, err = old.log.WitnessRequest(response.GetSize())
	if !errors.Is(err, audit.ErrWitnessAhead) {
		t.Errorf("error %v, want that the witness is ahead", err)
	}
	for range 3 { // it goes on and overtakes what it was
		old.record(1)
		old.closeNext()
	}
	request, err = old.log.WitnessRequest(3)
	w.must(err)
	_, err = by.log.Countersign(t.Context(), "XA", request)
	if !errors.Is(err, audit.ErrFork) {
		t.Errorf("error %v, want a fork", err)
	}
}

func TestOldHeadsStayProvableWhenTheKeyChanges(t *testing.T) {
	w := newWorld(t)
	n, by := w.node("XA"), w.node("XB")
	n.record(4)
	n.closeNext()
	w.must(n.askWitness(by))
	kept, err := w.verify("XA", n.parts())
	w.must(err)
	w.keys["XA"] = []ed25519.PrivateKey{keyFrom("second key of XA")}
	r, err := w.verify("XA", n.parts(), kept.Heads)
	w.must(err)
	if r.WitnessedEntries != 4 {
		t.Errorf("report %+v", r)
	}
	n.record(1)
	n.closeNext()
	w.must(n.askWitness(by))
	r, err = w.verify("XA", n.parts(), kept.Heads)
	w.must(err)
	if r.WitnessedEntries != 5 {
		t.Errorf("report %+v", r)
	}
}

// Of two witnesses the shorter answer may come last.
func TestTheLongestCountersignedHeadIsKept(t *testing.T) {
	w := newWorld(t)
	n, first, second := w.node("XA"), w.node("XB"), w.node("XC")
	n.closeNext()
	short, err := n.log.WitnessRequest(0)
	w.must(err)
	late, err := second.log.Countersign(t.Context(), "XA", short)
	w.must(err)
	w.now = w.now.Add(time.Second)
	n.closeNext()
	w.must(n.askWitness(first))
	w.must(n.log.Witnessed(t.Context(), "XC", short, late))
	if n.log.Head().Witness != "XB" || n.log.Head().Witnessed != 2 {
		t.Errorf("head %+v", n.log.Head())
	}
}
