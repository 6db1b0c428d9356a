package stream

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// asSenderError demands a SenderError of one rule.
func asSenderError(t *testing.T, err error, rule Rule) *SenderError {
	t.Helper()
	var fault *SenderError
	if !errors.As(err, &fault) {
		t.Fatalf("got %v, want a SenderError %q", err, rule)
	}
	if fault.Rule != rule {
		t.Fatalf("got %v, want rule %q", err, rule)
	}
	if !strings.Contains(err.Error(), fault.Stream.String()) {
		t.Errorf("%v does not name the stream", err)
	}
	return fault
}

func mustCheckpoint(t testing.TB, r *Reader, u *ententev1.CheckpointUpdate, key ed25519.PrivateKey) Checkpoint {
	t.Helper()
	c, err := r.Checkpoint(u, public(key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReaderFollowsAStreamFromItsOpening(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").withdraw(2).release("three")
	r := o.reader(0)
	c := mustCheckpoint(t, r, o.update(0, 5), o.key)
	if c != o.head(5, 5) {
		t.Errorf("checkpoint %+v", c)
	}
	withdrawals, err := r.Withdrawals(o.withdrawals(5, 4))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Withdrawal{{Stream: o.id, Sequence: 4, Target: o.id, TargetSequence: 2, Reason: 3}}; !slices.Equal(withdrawals, want) {
		t.Errorf("withdrawals %v, want %v", withdrawals, want)
	}
	covered := func(target ID, sequence uint64) bool { return target == o.id && sequence == 2 }
	first, err := r.Entries(erase(o.batch(0, 3, 5), 1), covered)
	if err != nil {
		t.Fatal(err)
	}
	if first[0].Opening.GetProjectId() != "P-1" || !first[0].Understood {
		t.Errorf("opening %v", first[0].Opening)
	}
	if first[1].Payload != nil || first[1].ReleasedRecord != nil {
		t.Error("an erased payload came back")
	}
	if string(first[2].ReleasedRecord) != "two" || !bytes.Equal(first[2].Payload, o.entries[2].GetPayload()) || first[2].Leaf != o.leaves[2] {
		t.Errorf("entry 3: %+v", first[2])
	}
	rest, err := r.Entries(o.batch(3, 5, 5), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(rest) != 2 || rest[0].Header.Type != typeWithdrawal || string(rest[1].ReleasedRecord) != "three" {
		t.Errorf("entries 4 and 5: %+v", rest)
	}
	if r.Edge() != o.edge(5) {
		t.Error("the edge is not the owner's")
	}
}

func TestReaderGoesOnAfterANewStart(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").close().withdraw(3)
	first := o.ready(0)
	_, err := first.Entries(o.batch(0, 4, 5), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, signed, given := first.Newest()
	if !given || c.Size != 5 || !first.Closed() {
		t.Fatalf("newest %+v, %v, closed %v", c, given, first.Closed())
	}
	second := NewReader("XA", o.id, "XB", first.Edge())
	err = second.Resume(first.Closed(), c, signed)
	if err != nil {
		t.Fatal(err)
	}
	mustCheckpoint(t, second, o.update(4, 5), o.key)
	_, err = second.Entries(o.batch(4, 5, 5), nil)
	if err != nil {
		t.Fatal(err)
	}
	o.release("four")
	mustCheckpoint(t, second, o.update(5, 6), o.key)
	_, err = second.Entries(o.batch(5, 6, 6), nil)
	asSenderError(t, err, RuleClosed)
}

func TestReaderResumeRefusesACheckpointOfAnotherHistory(t *testing.T) {
	o, other := newOwner(t, 1).open().release("one").release("two"), newOwner(t, 2).open().release("one")
	forked := newOwner(t, 1).open().release("another")
	tests := []struct {
		name string
		head Checkpoint
	}{
		{"of another stream", other.head(2, 0)},
		{"that is older than the edge", o.head(1, 0)},
		{"with another root", forked.head(2, 0)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := o.reader(2)
			if r.Resume(false, test.head, []byte("note")) == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestReaderServesTheOwnerItself(t *testing.T) {
	o := newOwner(t, 1).open().release("one")
	r := NewReader("XA", o.id, "XA", Edge{})
	mustCheckpoint(t, r, o.update(0, 2), o.key)
	_, err := r.Entries(o.batch(0, 2, 2), nil)
	if err != nil {
		t.Fatal(err)
	}
}

func TestReaderKeepsWhatANewerVersionWrote(t *testing.T) {
	o := newOwner(t, 1).open()
	o.addPayload(typeNewer, []byte("whatever"))
	o.add(Header{Type: typeNewer, Target: ID{1}, Reason: 200})
	o.addPayload(typeRelease, append(marshal(t, &ententev1.StreamPayload{
		Content:  &ententev1.StreamPayload_ReleasedRecord{ReleasedRecord: []byte("one")},
		MergeFor: []string{"XC"},
	}), 0x98, 0x06, 0x01)) // field 99
	o.addPayload(typeRelease, []byte{0x9a, 0x06, 0x01, 0x07}) // field 99 instead of a record
	erased := o.size()
	o.addPayload(typeNewer, []byte("erased"))
	opening := o.opening()
	r := o.ready(0)
	verified, err := r.Entries(erase(o.batch(0, o.size(), o.size()), int(erased)), func(_ ID, sequence uint64) bool { return sequence == erased+1 })
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range verified {
		if v.Understood != (i == 0) {
			t.Errorf("entry %d: understood %v", i+1, v.Understood)
		}
	}
	if string(verified[3].ReleasedRecord) != "one" || len(verified[3].MergeFor) != 1 || verified[3].MergeFor[0] != "XC" {
		t.Errorf("entry 4: %+v", verified[3])
	}
	opening.Kind = 77
	newer := newOwner(t, 1)
	newer.openWith(opening)
	verified, err = newer.ready(0).Entries(newer.batch(0, 1, 1), nil)
	if err != nil || verified[0].Understood {
		t.Errorf("a kind of a newer version: %v, understood %v", err, verified[0].Understood)
	}
}

func TestReaderRefusesCheckpoints(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").release("three").withdraw(2)
	other := newOwner(t, 2).open()
	forged := newOwner(t, 1).open().release("one").release("two").release("changed").withdraw(2)
	tests := []struct {
		name   string
		change func(u *ententev1.CheckpointUpdate)
		rule   Rule
	}{
		{"about another stream", func(u *ententev1.CheckpointUpdate) { u.StreamId = other.id[:] }, RuleStream},
		{"about no stream", func(u *ententev1.CheckpointUpdate) { u.StreamId = nil }, RuleStream},
		{"with the note of another stream", func(u *ententev1.CheckpointUpdate) { u.Checkpoint = other.note(other.head(1, 0)) }, RuleCheckpoint},
		{"with a wrong signature", func(u *ententev1.CheckpointUpdate) { u.Checkpoint[len(u.Checkpoint)-10] ^= 1 }, RuleCheckpoint},
		{"by a key that does not count", func(u *ententev1.CheckpointUpdate) {
			stolen := *o
			stolen.key = testKey(9)
			u.Checkpoint = stolen.note(o.head(5, 5))
		}, RuleCheckpoint},
		{"without a proof", func(u *ententev1.CheckpointUpdate) { u.Consistency = nil }, RuleConsistency},
		{"with a proof from elsewhere", func(u *ententev1.CheckpointUpdate) { u.Consistency = o.consistency(2, 5) }, RuleConsistency},
		{"with a proof too long", func(u *ententev1.CheckpointUpdate) { u.Consistency = append(u.Consistency, make([]byte, 32)) }, RuleConsistency},
		{"with the proof of another history", func(u *ententev1.CheckpointUpdate) { u.Consistency = forged.consistency(3, 5) }, RuleConsistency},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := o.reader(3)
			before := *r
			u := o.update(3, 5)
			test.change(u)
			_, err := r.Checkpoint(u, public(o.key))
			asSenderError(t, err, test.rule)
			if !sameReader(*r, before) {
				t.Error("the reader has changed")
			}
			mustCheckpoint(t, r, o.update(3, 5), o.key) // the next source is heard
		})
	}
	_, err := o.reader(3).Checkpoint(nil, public(o.key))
	asSenderError(t, err, RuleStream)
}

func sameReader(a, b Reader) bool {
	same := func(x, y signedHead) bool { return x.Checkpoint == y.Checkpoint && bytes.Equal(x.note, y.note) }
	return a.owner == b.owner && a.self == b.self && a.id == b.id && a.edge == b.edge && a.closed == b.closed &&
		same(a.newest, b.newest) && same(a.promised, b.promised)
}

func TestReaderSaysThatASourceIsBehind(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").release("three")
	tests := []struct {
		name                   string
		held, accepted, behind uint64
	}{
		{"behind what is held", 3, 0, 2},
		{"behind what is held, with a newer checkpoint known", 3, 4, 2},
		{"between what is held and what is known", 2, 4, 3},
		{"an empty stream", 2, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := o.reader(test.held)
			if test.accepted != 0 {
				mustCheckpoint(t, r, o.update(test.held, test.accepted), o.key)
			}
			u := o.update(0, test.behind)
			if test.behind > test.held {
				u = o.update(test.held, test.behind)
			}
			_, err := r.Checkpoint(u, public(o.key))
			if !errors.Is(err, ErrOlder) {
				t.Errorf("got %v, want ErrOlder", err)
			}
		})
	}
}

func TestReaderTakesTheSameHeadAgainAsFresh(t *testing.T) {
	o := newOwner(t, 1).open().release("one")
	r := o.ready(2)
	fresh := &ententev1.CheckpointUpdate{StreamId: o.id[:], Checkpoint: o.note(o.head(2, 900))}
	c := mustCheckpoint(t, r, fresh, o.key)
	newest, _, _ := r.Newest()
	if newest.Time != c.Time {
		t.Error("a fresher head of the same size was not kept")
	}
	mustCheckpoint(t, r, o.update(2, 2), o.key) // signed earlier
	newest, _, _ = r.Newest()
	if newest.Time != c.Time {
		t.Error("time went back")
	}
	// After a change of keys the owner signs the same head anew.
	rotated := *o
	rotated.key = testKey(7)
	again := &ententev1.CheckpointUpdate{StreamId: o.id[:], Checkpoint: rotated.note(o.head(2, 1000))}
	mustCheckpoint(t, r, again, rotated.key)
}

func asFork(t *testing.T, err error) *ForkError {
	t.Helper()
	var fork *ForkError
	if !errors.As(err, &fork) {
		t.Fatalf("got %v, want a ForkError", err)
	}
	return fork
}

func TestReaderProvesAForkBySizeAndRoot(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").release("three")
	forked := newOwner(t, 1).open().release("one").release("other").release("three")
	if forked.id != o.id || forked.leaves[1] != o.leaves[1] || forked.leaves[2] == o.leaves[2] {
		t.Fatal("the histories do not fork where the test thinks")
	}
	for held := uint64(0); held <= 4; held++ {
		r := o.ready(held)
		fork := asFork(t, second(r.Checkpoint(forked.update(min(held, 2), 4), public(o.key))))
		for _, note := range [][]byte{fork.HeldNote, fork.NewNote} {
			c, err := OpenCheckpoint(note, "XA", o.id, public(o.key)) // anybody can check it
			if err != nil || c.Size != 4 {
				t.Errorf("holding %d: the proof does not open: %v", held, err)
			}
		}
		if fork.Held.Root == fork.New.Root {
			t.Errorf("holding %d: equal roots prove nothing", held)
		}
		newest, _, _ := r.Newest()
		if newest.Root != o.head(4, 4).Root {
			t.Errorf("holding %d: the reader follows the fork", held)
		}
		_, err := r.Withdrawals(&ententev1.WithdrawalBatch{StreamId: o.id[:]}) // a frozen stream still takes withdrawals
		if err != nil {
			t.Error(err)
		}
	}
}

func TestReaderProvesAForkAtWhatItHolds(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two")
	forked := newOwner(t, 1).open().release("other")
	alone := o.reader(2)
	fork := asFork(t, second(alone.Checkpoint(forked.update(0, 2), public(o.key))))
	if fork.HeldNote != nil || fork.Held.Root != o.head(2, 0).Root {
		t.Errorf("held %+v", fork.Held)
	}
	withNewer := o.ready(2)
	fork = asFork(t, second(withNewer.Checkpoint(forked.update(0, 2), public(o.key))))
	if fork.Held.Size != 3 || fork.HeldNote == nil {
		t.Errorf("held %+v", fork.Held)
	}
}

// The owner shows one head, then a larger one of another history: both continue what is held, so only the entries tell.
func TestReaderProvesAForkBetweenTwoHeadsAhead(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").release("three")
	forked := newOwner(t, 1).open().release("one").release("other").release("three").release("four").release("five")
	r := o.ready(2)
	mustCheckpoint(t, r, forked.update(2, 5), o.key)
	mustCheckpoint(t, r, forked.update(2, 6), o.key)
	_, err := r.Entries(forked.batch(2, 3, 6), nil)
	if err != nil {
		t.Fatal(err)
	}
	before := *r
	fork := asFork(t, second(r.Entries(forked.batch(3, 6, 6), nil)))
	if fork.Held.Size != 4 || fork.New.Size != 6 {
		t.Errorf("fork %v", fork)
	}
	if !sameReader(*r, before) {
		t.Error("the reader has changed")
	}
	// Entries that are not proven never count as the owner's word: no fork, but the sender's fault.
	bad := forked.batch(3, 6, 6)
	bad.Entries[0] = newOwner(t, 3).open().release("one").release("two").release("forged").entries[3]
	_, err = r.Entries(bad, nil)
	asSenderError(t, err, RuleConsistency)
}

func TestReaderProvesAForkAtAHeadThatIsNotTheNewest(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").release("three").release("four")
	forked := newOwner(t, 1).open().release("one").release("other")
	r := o.reader(2)
	mustCheckpoint(t, r, o.update(2, 3), o.key)
	mustCheckpoint(t, r, o.update(2, 5), o.key)
	fork := asFork(t, second(r.Checkpoint(forked.update(2, 3), public(o.key))))
	if fork.Held != o.head(3, 3) {
		t.Errorf("held %+v", fork.Held)
	}
}

// When one head is reached, the next one takes its place.
func TestReaderProvesAForkBehindAHeadThatItReached(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").release("three").release("four")
	forked := newOwner(t, 1).open().release("one").release("two").release("other").release("four").release("five")
	r := o.reader(1)
	mustCheckpoint(t, r, o.update(1, 3), o.key)
	mustCheckpoint(t, r, o.update(1, 5), o.key)
	_, err := r.Entries(o.batch(1, 3, 5), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustCheckpoint(t, r, forked.update(3, 6), o.key)
	fork := asFork(t, second(r.Entries(forked.batch(3, 6, 6), nil)))
	if fork.Held != o.head(5, 5) || fork.New.Size != 6 {
		t.Errorf("fork %v", fork)
	}
}

func TestReaderRefusesWithdrawals(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").withdraw(2).withdraw(3).withdraw(7)
	o.add(Header{Type: typeWithdrawal, Target: ID{9}, TargetSequence: 90, Reason: 1}) // of a predecessor
	first := newOwner(t, 1)
	first.add(Header{Type: typeWithdrawal, Target: ID{9}, TargetSequence: 90, Reason: 1})
	tests := []struct {
		name     string
		reader   *Reader
		batch    *ententev1.WithdrawalBatch
		change   func(b *ententev1.WithdrawalBatch)
		rule     Rule
		sequence uint64
	}{
		{"of another stream", o.ready(1), o.withdrawals(7, 4), func(b *ententev1.WithdrawalBatch) { b.StreamId[0] ^= 1 }, RuleStream, 0},
		{"before any checkpoint", o.reader(1), o.withdrawals(7, 4), nil, RuleOrder, 0},
		{"without header", o.ready(1), o.withdrawals(7, 4), func(b *ententev1.WithdrawalBatch) { b.Withdrawals[0].Header = nil }, RuleHeader, 0},
		{"that are nothing", o.ready(1), o.withdrawals(7, 4), func(b *ententev1.WithdrawalBatch) { b.Withdrawals[0] = nil }, RuleHeader, 0},
		{"that are releases", o.ready(1), o.withdrawals(7, 3), nil, RuleWithdrawal, 3},
		{"of an entry after them", o.ready(1), o.withdrawals(7, 6), nil, RuleWithdrawal, 6},
		{"as the first entry", first.ready(0), first.withdrawals(1, 1), nil, RuleOpening, 1},
		{"beyond the checkpoint", o.ready(1), o.withdrawals(7, 4), func(b *ententev1.WithdrawalBatch) { b.Withdrawals[0].Header[9] = 8 }, RuleBeyond, 8},
		{"with another target than the owner's", o.ready(1), o.withdrawals(7, 5), func(b *ententev1.WithdrawalBatch) { b.Withdrawals[0].Header[33] = 2 }, RuleInclusion, 5},
		{"with another reason", o.ready(1), o.withdrawals(7, 4), func(b *ententev1.WithdrawalBatch) { b.Withdrawals[0].Header[34]++ }, RuleInclusion, 4},
		{"without proof", o.ready(1), o.withdrawals(7, 4), func(b *ententev1.WithdrawalBatch) { b.Withdrawals[0].Inclusion = nil }, RuleInclusion, 4},
		{"proven at an older checkpoint", o.ready(1), o.withdrawals(5, 4), nil, RuleInclusion, 4},
		{"of which the second is bad", o.ready(1), o.withdrawals(7, 4, 5), func(b *ententev1.WithdrawalBatch) { b.Withdrawals[1].Inclusion[0][0] ^= 1 }, RuleInclusion, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.change != nil {
				test.change(test.batch)
			}
			got, err := test.reader.Withdrawals(test.batch)
			fault := asSenderError(t, err, test.rule)
			if fault.Sequence != test.sequence || got != nil {
				t.Errorf("entry %d, want %d; got %v", fault.Sequence, test.sequence, got)
			}
		})
	}
	got, err := o.ready(5).Withdrawals(o.withdrawals(7, 4, 7, 4)) // held, of a predecessor, twice: all harmless
	if err != nil || len(got) != 3 || got[1].Target != (ID{9}) {
		t.Errorf("got %v, %v", got, err)
	}
}
