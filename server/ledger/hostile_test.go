package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

// hostile is a stream of XB for all members, in which XB writes what it likes and signs it.
type hostile struct {
	w       *world
	id      stream.ID
	entries []*ententev1.Entry
	leaves  []stream.Hash
	edge    stream.Edge
}

func newHostile(w *world, number byte) *hostile {
	h := &hostile{w: w, id: stream.ID(bytes.Repeat([]byte{number}, 16))}
	payload, err := proto.Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Opening{Opening: &ententev1.StreamOpening{
		StreamId: h.id[:], Owner: "XB", Kind: ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS, Readers: []string{"COORD", "XA", "XC"}}}})
	w.must(err)
	h.add(stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_OPENING}, payload)
	return h
}

func (h *hostile) add(header stream.Header, payload []byte) {
	header.Sequence = uint64(len(h.entries) + 1)
	e := &ententev1.Entry{}
	if payload != nil {
		e.Salt, e.Payload = make([]byte, stream.SaltSize), payload
		header.Commitment = stream.Commit(e.Salt, payload)
	}
	e.Header = header.Append(nil)
	h.entries = append(h.entries, e)
	h.leaves = append(h.leaves, stream.LeafHash(e.Header))
	h.edge.Append(stream.LeafHash(e.Header))
}

func (h *hostile) release(id byte) {
	record := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), bytes.Repeat([]byte{id}, 16))
	h.add(stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE}, protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), record))
}

func (h *hostile) withdraw(target stream.ID, sequence int) {
	h.add(stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Target: target, TargetSequence: uint64(sequence), Reason: 3}, nil)
}

// deliver brings XA's node all that it does not hold yet, verified as a puller would.
func (h *hostile) deliver(to *node) error {
	note, err := stream.Checkpoint{Owner: "XB", Stream: h.id, Size: h.edge.Size(), Root: h.edge.Root(), Time: h.w.now}.Sign(h.w.fed.Seat("XB").Signing)
	if err != nil {
		return err
	}
	r, err := to.Reader("XB", h.id)
	if err != nil {
		return err
	}
	edge := r.Edge()
	held := edge.Size()
	tree := stream.TileReader{Size: h.edge.Size(), LeafHashes: func(from, to uint64) ([]stream.Hash, error) { return h.leaves[from:to], nil }}
	proof, err := stream.Consistency(tree, held, h.edge.Size())
	if err != nil {
		return err
	}
	_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: h.id[:], Checkpoint: note, Consistency: proof}, h.w.dir.Roster.VerifyingKeys("XB"))
	if err != nil {
		return err
	}
	list, err := r.Entries(&ententev1.EntryBatch{StreamId: h.id[:], Entries: h.entries[held:]}, to.Covered("XB"))
	if err != nil {
		return err
	}
	return to.ApplyEntries(context.Background(), "XB", h.id, list, r.Edge(), note)
}

// A withdrawal may stand in one stream and its target come later in another, while a follower is on its way: the coordinator
// stops at an entry that it cannot read, so no member may be able to make one.
func TestFollowingAStreamDoesNotFailWhileWhatItWithdrawsComes(t *testing.T) {
	const many = 150 // of them tiles are not needed, which hostile does not make
	w := newWorld(t)
	xa := w.start("XA", true)
	withdrawals, releases := newHostile(w, 1), newHostile(w, 2)
	for i := range many {
		withdrawals.withdraw(releases.id, i+2)
	}
	w.must(releases.deliver(xa))
	w.must(withdrawals.deliver(xa))
	came := make(chan error, 1)
	go func() {
		for i := range many {
			releases.release(byte(i + 1))
			err := releases.deliver(xa)
			if err != nil {
				came <- fmt.Errorf("entry %d: %w", i+2, err)
				return
			}
		}
		came <- nil
	}()
	for {
		for _, s := range xa.StreamsShared("XB", "XA") {
			_, err := xa.Follow(s.No, 1, 1000)
			w.must(err)
		}
		select {
		case err := <-came:
			w.must(err)
			return
		default:
		}
	}
}

// What a newer version writes is kept as received and in no answer, never stops a stream, and is taken back like the rest.
func TestWhatANewerVersionReleasesIsKeptAndErasedButNotAnswered(t *testing.T) {
	newer := protowire.AppendBytes(protowire.AppendTag(nil, 9, protowire.BytesType), []byte("of a newer version"))
	for name, typ := range map[string]ententev1.EntryType{
		"a release in a form not known here": ententev1.EntryType_ENTRY_TYPE_RELEASE,
		"an entry of a type not known here":  77,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			xa := w.start("XA", true)
			h := newHostile(w, 1)
			h.add(stream.Header{Type: typ}, newer)
			h.release(5)
			w.must(h.deliver(xa))
			xa.stop()
			w.now = w.now.Add(1)
			xa = w.start("XA", true)
			no := xa.StreamsShared("XB", "XA")[0].No
			entries, err := xa.Entries(no, 2, 1, 1000)
			w.must(err)
			if !bytes.Equal(entries[0].GetPayload(), newer) || len(entries[0].GetSalt()) != stream.SaltSize {
				t.Error("it is not kept as received")
			}
			if len(xa.released("XB", "XA")) != 1 {
				t.Errorf("%d records released, want the one that is understood", len(xa.released("XB", "XA")))
			}
			h.withdraw(h.id, 2)
			w.must(h.deliver(xa))
			entries, err = xa.Entries(no, 2, 1, 1000)
			w.must(err)
			if len(entries[0].GetPayload()) != 0 || len(entries[0].GetSalt()) != 0 {
				t.Error("it is still there after its withdrawal")
			}
		})
	}
}
