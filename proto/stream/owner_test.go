package stream

import (
	"crypto/ed25519"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// owner is a whole stream in memory, with everything that its owner can send of it. It checks nothing, so that tests can
// write what no honest owner writes.
type owner struct {
	t       testing.TB
	random  io.Reader
	key     ed25519.PrivateKey
	member  member.ID
	id      ID
	entries []*ententev1.Entry
	leaves  []Hash
}

// leafNodes are the Nodes of a tree in memory.
type leafNodes []Hash

func (l leafNodes) Node(level uint, index uint64) (Hash, error) {
	return fold(slices.Clone(l[index<<level : (index+1)<<level])), nil
}

// newOwner returns XA's empty stream. Owners of one seed have the same id, and draw the same salts.
func newOwner(t testing.TB, seed byte) *owner {
	t.Helper()
	o := &owner{t: t, random: rand.NewChaCha8([32]byte{seed}), key: testKey(1), member: "XA"}
	id, err := NewID(o.random)
	if err != nil {
		t.Fatal(err)
	}
	o.id = id
	return o
}

func (o *owner) size() uint64 {
	return uint64(len(o.entries))
}

// addHeader appends an entry whose header is as given.
func (o *owner) addHeader(header []byte, salt, payload []byte) {
	o.entries = append(o.entries, &ententev1.Entry{Header: header, Salt: salt, Payload: payload})
	o.leaves = append(o.leaves, LeafHash(header))
}

// add appends an entry without payload; its sequence is the next.
func (o *owner) add(h Header) {
	h.Sequence = o.size() + 1
	o.addHeader(h.Append(nil), nil, nil)
}

// addPayload appends an entry with a payload under a salt of its own.
func (o *owner) addPayload(kind ententev1.EntryType, payload []byte) {
	o.t.Helper()
	salt := make([]byte, SaltSize)
	_, err := io.ReadFull(o.random, salt)
	if err != nil {
		o.t.Fatal(err)
	}
	h := Header{Type: kind, Sequence: o.size() + 1, Commitment: Commit(salt, payload)}
	o.addHeader(h.Append(nil), salt, payload)
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (o *owner) opening() *ententev1.StreamOpening {
	return &ententev1.StreamOpening{
		StreamId:       o.id[:],
		Owner:          string(o.member),
		Kind:           ententev1.StreamKind_STREAM_KIND_PROJECT,
		ProjectId:      "P-1",
		Readers:        []string{"XB", "XC"},
		StalenessBound: durationpb.New(24 * time.Hour),
		OpenedAt:       timestamppb.New(time.Unix(1_767_225_600, 0)),
	}
}

func (o *owner) open() *owner {
	o.t.Helper()
	o.openWith(o.opening())
	return o
}

func (o *owner) openWith(opening *ententev1.StreamOpening) {
	o.t.Helper()
	o.addPayload(typeOpening, marshal(o.t, &ententev1.StreamPayload{Content: &ententev1.StreamPayload_Opening{Opening: opening}}))
}

func (o *owner) release(record string) *owner {
	o.t.Helper()
	o.addPayload(typeRelease, marshal(o.t, &ententev1.StreamPayload{
		Content: &ententev1.StreamPayload_ReleasedRecord{ReleasedRecord: []byte(record)},
	}))
	return o
}

func (o *owner) withdraw(sequence uint64) *owner {
	o.add(Header{Type: typeWithdrawal, Target: o.id, TargetSequence: sequence, Reason: 3})
	return o
}

func (o *owner) close() *owner {
	o.add(Header{Type: typeClosing})
	return o
}

func (o *owner) edge(size uint64) Edge {
	o.t.Helper()
	edge, err := EdgeAt(leafNodes(o.leaves), size)
	if err != nil {
		o.t.Fatal(err)
	}
	return edge
}

// head is the owner's checkpoint at a size, signed so many seconds after the opening.
func (o *owner) head(size uint64, seconds int64) Checkpoint {
	edge := o.edge(size)
	return Checkpoint{Owner: o.member, Stream: o.id, Size: size, Root: edge.Root(), Time: time.Unix(1_767_225_600+seconds, 0).UTC()}
}

func (o *owner) note(c Checkpoint) []byte {
	o.t.Helper()
	signed, err := c.Sign(o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	return signed
}

func (o *owner) consistency(from, to uint64) [][]byte {
	o.t.Helper()
	hashes, err := Consistency(leafNodes(o.leaves[:to]), from, to)
	if err != nil {
		o.t.Fatal(err)
	}
	return hashes
}

func (o *owner) update(from, to uint64) *ententev1.CheckpointUpdate {
	o.t.Helper()
	return &ententev1.CheckpointUpdate{StreamId: o.id[:], Checkpoint: o.note(o.head(to, int64(to))), Consistency: o.consistency(from, to)}
}

// batch has the entries from+1 to to, proven at size.
func (o *owner) batch(from, to, size uint64) *ententev1.EntryBatch {
	o.t.Helper()
	b := &ententev1.EntryBatch{StreamId: o.id[:], Entries: o.entries[from:to], Consistency: o.consistency(to, size)}
	return proto.CloneOf(b)
}

func (o *owner) withdrawals(size uint64, sequences ...uint64) *ententev1.WithdrawalBatch {
	o.t.Helper()
	b := &ententev1.WithdrawalBatch{StreamId: o.id[:]}
	for _, sequence := range sequences {
		inclusion, err := Inclusion(leafNodes(o.leaves[:size]), sequence-1, size)
		if err != nil {
			o.t.Fatal(err)
		}
		b.Withdrawals = append(b.Withdrawals, &ententev1.ProvenHeader{Header: o.entries[sequence-1].GetHeader(), Inclusion: inclusion})
	}
	return proto.CloneOf(b)
}

// reader returns XB's Reader that holds the first size entries.
func (o *owner) reader(size uint64) *Reader {
	o.t.Helper()
	return NewReader(o.member, o.id, "XB", o.edge(size))
}

// ready returns XB's Reader that holds the first held entries and has accepted the owner's newest checkpoint.
func (o *owner) ready(held uint64) *Reader {
	o.t.Helper()
	r := o.reader(held)
	_, err := r.Checkpoint(o.update(held, o.size()), public(o.key))
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

func erase(b *ententev1.EntryBatch, index int) *ententev1.EntryBatch {
	b.Entries[index].Salt, b.Entries[index].Payload = nil, nil
	return b
}
