package stream_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

func pullsTopic() topic {
	return topic{
		file: "pulls",
		about: "Messages of a pull (encoded PullResponse), in the order in which they come to a reader that holds nothing. keys are the owner's. " +
			"A case is refused by the first message that is. foreign: a withdrawal names a stream of which no checkpoint has come before the entries.",
		cases: func(t *testing.T) []vector {
			return append(append(append(soundPulls(t), alteredPulls(t)...), contradictingPulls(t)...), unruledPulls(t)...)
		},
		judge: judgePull,
	}
}

// story is a small whole stream: opening, two releases, a withdrawal, a closing, and a withdrawal after it.
func story(t *testing.T) *author {
	a := newAuthor(t, 1).open().release(1).release(2)
	return a.withdraw(a.id, 2).close().withdraw(a.id, 3)
}

// successor is a stream that continues the story's, and takes back what stands in it.
func successor(t *testing.T, of stream.ID) *author {
	a := newAuthor(t, 2).open(func(o *ententev1.StreamOpening) { o.Predecessor = of[:] })
	return a.withdraw(of, 3).release(4)
}

func soundPulls(t *testing.T) []vector {
	whole := story(t)
	short := newAuthor(t, 1).open().release(1).release(2)
	next := successor(t, short.id)
	stranger := newAuthor(t, 1).open().release(1, func(p *ententev1.StreamPayload) {
		p.ProtoReflect().SetUnknown([]byte{0xfa, 1, 2, 'o', 'k'}) // field 31, of a newer version
	})
	newer := newAuthor(t, 1).open().pay(200, []byte("anything"))
	bilateral := newAuthor(t, 1).open(func(o *ententev1.StreamOpening) {
		o.Kind, o.Readers, o.StalenessBound = ententev1.StreamKind_STREAM_KIND_BILATERAL, []string{"XB"}, durationpb.New(3600e9)
	}).release(1, func(p *ententev1.StreamPayload) { p.MergeFor = []string{"XC"} })
	return []vector{
		{"a whole stream with all its payloads", pulled(t, "XB", digestMessage(t, "XB", whole), whole.checkpoint(0, 6),
			whole.ahead(6, []uint64{4, 6}), whole.batch(0, 6, 6), caughtUp()), ""},
		{"the same without the payloads that are withdrawn", pulled(t, "XC", digestMessage(t, "XC", whole), whole.checkpoint(0, 6),
			whole.ahead(6, []uint64{4, 6}), whole.batch(0, 6, 6, erased(1, 2)), caughtUp()), ""},
		{"in batches, and then what is new", pulled(t, "XB", whole.checkpoint(0, 3), whole.batch(0, 1, 3), whole.batch(1, 3, 3), caughtUp(),
			whole.checkpoint(3, 6), whole.ahead(6, []uint64{4, 6}), whole.batch(3, 5, 6), whole.batch(5, 6, 6), digestMessage(t, "XB", whole)), ""},
		{"a newer checkpoint before the entries of the older one", pulled(t, "XB", whole.checkpoint(0, 3), whole.checkpoint(0, 6),
			whole.batch(0, 4, 6), whole.batch(4, 6, 6)), ""},
		{"a successor that takes back what stands in its predecessor", pulled(t, "XB", digestMessage(t, "XB", short, next),
			short.checkpoint(0, 3), next.checkpoint(0, 3), next.ahead(3, []uint64{2}), short.batch(0, 3, 3, erased(2)), next.batch(0, 3, 3), caughtUp()), ""},
		{"a predecessor that is announced after its successor", pulled(t, "XB", next.checkpoint(0, 3), next.ahead(3, []uint64{2}),
			short.checkpoint(0, 3), short.batch(0, 3, 3, erased(2)), next.batch(0, 3, 3)), ""},
		{"the owner gets its own stream back", pulled(t, "XA", whole.all()...), ""},
		{"a release with a field of a newer version", pulled(t, "XB", stranger.all()...), ""},
		{"an entry of a type of a newer version", pulled(t, "XB", newer.all()...), ""},
		{"a bilateral stream to a coordinator", pulled(t, "XB", bilateral.all()...), ""},
		{"nothing new: the digest over no stream", pulled(t, "XB", digestMessage(t, "XB")), ""},
		{"a digest that speaks of another head", pulled(t, "XB", append([]*ententev1.PullResponse{digestMessage(t, "XB", short)}, whole.all()...)...), ""},
	}
}

// alteredPulls are sound streams in which somebody on the way has changed, left out or repeated something.
func alteredPulls(t *testing.T) []vector {
	a := story(t)
	entry := func(index int, edit func(*ententev1.Entry)) pullInput {
		return pulled(t, "XB", a.all(func(b *ententev1.EntryBatch) { edit(b.GetEntries()[index]) })...)
	}
	header := func(index, at int) pullInput {
		return entry(index, func(e *ententev1.Entry) { e.Header = flipped(e.GetHeader(), at) })
	}
	return []vector{
		{"a flipped bit in a payload", entry(1, func(e *ententev1.Entry) { e.Payload = flipped(e.GetPayload(), 40) }), "commitment"},
		{"a flipped bit in a salt", entry(1, func(e *ententev1.Entry) { e.Salt = flipped(e.GetSalt(), 0) }), "commitment"},
		{"a flipped bit in a commitment", header(1, 50), "commitment"},
		{"a flipped bit in a sequence", header(1, 9), "sequence"},
		{"a flipped bit in the reason of a withdrawal", header(3, 34), "consistency"},
		{"a flipped bit in the target of a withdrawal", header(3, 12), "consistency"},
		{"a flipped bit in a header's format", header(1, 0), "header"},
		{"a flipped bit in the checkpoint's text", pulled(t, "XB", a.checkpoint(0, 6, func(u *ententev1.CheckpointUpdate) { u.Checkpoint = flipped(u.GetCheckpoint(), 60) })), "checkpoint"},
		{"a flipped bit in the checkpoint's signature", pulled(t, "XB", a.checkpoint(0, 6, func(u *ententev1.CheckpointUpdate) { u.Checkpoint = flipped(u.GetCheckpoint(), -20) })), "checkpoint"},
		{"a flipped bit in the proof of a batch", pulled(t, "XB", a.checkpoint(0, 6), a.batch(0, 3, 6, func(b *ententev1.EntryBatch) { b.Consistency[0] = flipped(b.GetConsistency()[0], 7) })), "consistency"},
		{"a flipped bit in the proof of a newer checkpoint", pulled(t, "XB", a.checkpoint(0, 3), a.batch(0, 3, 3),
			a.checkpoint(3, 6, func(u *ententev1.CheckpointUpdate) { u.Consistency[1] = flipped(u.GetConsistency()[1], 0) })), "consistency"},
		{"a newer checkpoint without its proof", pulled(t, "XB", a.checkpoint(0, 3), a.batch(0, 3, 3), a.checkpoint(3, 6, func(u *ententev1.CheckpointUpdate) { u.Consistency = nil })), "consistency"},
		{"a flipped bit in the proof of a withdrawal", pulled(t, "XB", a.checkpoint(0, 6), a.ahead(6, []uint64{4}, func(b *ententev1.WithdrawalBatch) {
			b.Withdrawals[0].Inclusion[0] = flipped(b.GetWithdrawals()[0].GetInclusion()[0], 0)
		})), "inclusion"},
		{"a flipped bit in a withdrawal that comes ahead", pulled(t, "XB", a.checkpoint(0, 6), a.ahead(6, []uint64{4}, func(b *ententev1.WithdrawalBatch) {
			b.Withdrawals[0].Header = flipped(b.GetWithdrawals()[0].GetHeader(), 34)
		})), "inclusion"},
		{"a payload is missing and nothing covers it", pulled(t, "XB", a.checkpoint(0, 3), a.batch(0, 3, 3, erased(1))), "payload-missing"},
		{"a payload is missing and only a later batch would cover it", pulled(t, "XB", a.checkpoint(0, 6), a.batch(0, 6, 6, erased(1))), "payload-missing"},
		{"the opening is missing", pulled(t, "XB", a.all(erased(0))...), "payload-missing"},
		{"a payload without its salt", entry(1, func(e *ententev1.Entry) { e.Salt = nil }), "payload"},
		{"a payload where a withdrawal has none", entry(3, func(e *ententev1.Entry) { e.Payload = []byte("x") }), "payload"},
		{"a salt where a withdrawal has none", entry(3, func(e *ententev1.Entry) { e.Salt = []byte("x") }), "payload"},
		{"an entry is left out", pulled(t, "XB", a.checkpoint(0, 6), a.batch(0, 6, 6, func(b *ententev1.EntryBatch) { b.Entries = append(b.Entries[:1], b.Entries[2:]...) })), "sequence"},
		{"an entry comes twice", pulled(t, "XB", a.checkpoint(0, 6), a.batch(0, 2, 6), a.batch(1, 3, 6)), "sequence"},
		{"two entries are exchanged", pulled(t, "XB", a.all(func(b *ententev1.EntryBatch) { b.Entries[1], b.Entries[2] = b.Entries[2], b.Entries[1] })...), "sequence"},
		{"the beginning is left out", pulled(t, "XB", a.checkpoint(0, 6), a.batch(1, 6, 6)), "sequence"},
		{"entries before a checkpoint", pulled(t, "XB", a.batch(0, 6, 6)), "no-checkpoint"},
		{"withdrawals before a checkpoint", pulled(t, "XB", a.ahead(6, []uint64{4})), "no-checkpoint"},
		{"more entries than the checkpoint signs", pulled(t, "XB", a.checkpoint(0, 3), a.batch(0, 4, 4)), "beyond-checkpoint"},
		{"a withdrawal beyond the checkpoint", pulled(t, "XB", a.checkpoint(0, 3), a.ahead(6, []uint64{4})), "beyond-checkpoint"},
		{"a batch of nothing", pulled(t, "XB", a.checkpoint(0, 6), a.batch(0, 0, 6)), "empty-batch"},
		{"a release sent as a withdrawal", pulled(t, "XB", a.checkpoint(0, 6), a.ahead(6, []uint64{3})), "withdrawal"},
		{"a checkpoint of another stream", pulled(t, "XB", a.checkpoint(0, 6, func(u *ententev1.CheckpointUpdate) { u.StreamId = flipped(u.GetStreamId(), 15) })), "checkpoint"},
		{"an older checkpoint after a newer one", pulled(t, "XB", a.checkpoint(0, 6), a.checkpoint(0, 3)), "older"},
		{"a digest for another reader", pulled(t, "XB", digestMessage(t, "XC", a)), "other-members"},
	}
}

// contradictingPulls are what an owner signed that shows two histories.
func contradictingPulls(t *testing.T) []vector {
	one, other := newAuthor(t, 1).open().release(1).release(2).release(3), newAuthor(t, 1).open().release(1).release(9).release(3)
	return []vector{
		{"two heads of one size, held", pulled(t, "XB", one.checkpoint(0, 3), one.batch(0, 3, 3), other.checkpoint(3, 3)), "fork"},
		{"two heads of one size, announced", pulled(t, "XB", one.checkpoint(0, 3), other.checkpoint(0, 3)), "fork"},
		{"the entries do not lead through an older head", pulled(t, "XB", one.checkpoint(0, 3), other.checkpoint(0, 4), other.batch(0, 4, 4)), "fork"},
		{"entries of another history than the head's are the sender's fault", pulled(t, "XB", one.checkpoint(0, 4), other.batch(0, 4, 4)), "consistency"},
		{"a head that does not continue what is held is not yet a fork", pulled(t, "XB", one.checkpoint(0, 3), one.batch(0, 3, 3), other.checkpoint(3, 4)), "consistency"},
	}
}

// unruledPulls are soundly signed streams that break a rule of streams.
func unruledPulls(t *testing.T) []vector {
	opened := func(edit func(*ententev1.StreamOpening)) pullInput {
		return pulled(t, "XB", newAuthor(t, 1).open(edit).all()...)
	}
	written := func(write func(*author)) pullInput {
		a := newAuthor(t, 1).open()
		write(a)
		return pulled(t, "XB", a.all()...)
	}
	payload := func(b []byte) pullInput {
		return written(func(a *author) { a.pay(ententev1.EntryType_ENTRY_TYPE_RELEASE, b) })
	}
	short := newAuthor(t, 1).open().release(1)
	next := successor(t, vectorStream(7))
	id := vectorStream(1)
	early := newAuthor(t, 1).withdraw(id, 2)
	return []vector{
		{"a release after the closing", written(func(a *author) { a.close().release(1) }), "closed"},
		{"a second closing", written(func(a *author) { a.close().close() }), "closed"},
		{"a type of a newer version after the closing", written(func(a *author) { a.close().pay(200, []byte("x")) }), "closed"},
		{"a second opening", written(func(a *author) { a.open() }), "opening"},
		{"a stream that begins with a release", pulled(t, "XB", newAuthor(t, 1).release(1).all()...), "opening"},
		{"a stream that begins with a withdrawal, sent ahead", pulled(t, "XB", early.checkpoint(0, 1), early.ahead(1, []uint64{1})), "opening"},
		{"a stream that begins with a withdrawal", pulled(t, "XB", early.all()...), "opening"},
		{"a withdrawal of itself", written(func(a *author) { a.withdraw(a.id, 2) }), "withdrawal"},
		{"a withdrawal of what comes later", written(func(a *author) { a.withdraw(a.id, 3).release(1) }), "withdrawal"},
		{"a withdrawal in a stream that was never announced", pulled(t, "XB", short.checkpoint(0, 2), next.checkpoint(0, 3), next.ahead(3, []uint64{2}), short.batch(0, 2, 2)), "foreign"},
		{"an opening of another stream", opened(func(o *ententev1.StreamOpening) { o.StreamId = flipped(o.GetStreamId(), 0) }), "opening"},
		{"an opening of another owner", opened(func(o *ententev1.StreamOpening) { o.Owner = "XD" }), "opening"},
		{"an opening for others", opened(func(o *ententev1.StreamOpening) { o.Readers = []string{"XC", "XD"} }), "opening"},
		{"an opening without readers", opened(func(o *ententev1.StreamOpening) { o.Readers = nil }), "opening"},
		{"an opening that names a reader twice", opened(func(o *ententev1.StreamOpening) { o.Readers = []string{"XB", "XB"} }), "opening"},
		{"an opening whose readers are not in order", opened(func(o *ententev1.StreamOpening) { o.Readers = []string{"XC", "XB"} }), "opening"},
		{"an opening that names its owner as a reader", opened(func(o *ententev1.StreamOpening) { o.Readers = []string{"XA", "XB"} }), "opening"},
		{"an opening with a reader that is no member", opened(func(o *ententev1.StreamOpening) { o.Readers = []string{"XB", "xc"} }), "opening"},
		{"an opening without a kind", opened(func(o *ententev1.StreamOpening) { o.Kind = 0 }), "opening"},
		{"a project's stream without a project", opened(func(o *ententev1.StreamOpening) { o.ProjectId = "" }), "opening"},
		{"a stream for all members with a project", opened(func(o *ententev1.StreamOpening) { o.Kind = ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS }), "opening"},
		{"a bilateral stream with two readers", opened(func(o *ententev1.StreamOpening) { o.Kind = ententev1.StreamKind_STREAM_KIND_BILATERAL }), "opening"},
		{"an opening that names itself as its predecessor", opened(func(o *ententev1.StreamOpening) { o.Predecessor = id[:] }), "opening"},
		{"an opening with a staleness bound of nothing", opened(func(o *ententev1.StreamOpening) { o.StalenessBound = durationpb.New(0) }), "opening"},
		{"an opening with a record before it", payloadFirst(t, 0x12, 1, 'x'), "opening"},
		{"an opening with a name to merge for", payloadFirst(t, 0x1a, 2, 'X', 'C'), "opening"},
		{"an opening with a grant before it", payloadFirst(t, 0x22, 0), "opening"},
		{"an opening in two pieces", payloadFirst(t, 0x0a, 2, 0x20, 0), "opening"},
		{"a payload that is no message", payload([]byte{0x12, 0xff}), "payload"},
		{"a release without a record", payload([]byte{0x1a, 2, 'X', 'B'}), "payload"},
		{"a release with an empty record", payload([]byte{0x12, 0}), "payload"},
		{"a release with two records", payload(bytes.Repeat([]byte{0x12, 1, 'a'}, 2)), "payload"},
		{"a release with a number where names stand", payload([]byte{0x12, 1, 'a', 0x18, 1}), "payload"},
		{"a release with an opening", payload([]byte{0x0a, 0, 0x12, 1, 'a'}), "payload"},
		{"a release to merge for somebody who is no member", payload([]byte{0x12, 1, 'a', 0x1a, 2, 'x', 'b'}), "payload"},
	}
}

// payloadFirst is a stream whose opening has something before it in its payload.
func payloadFirst(t *testing.T, before ...byte) pullInput {
	a := newAuthor(t, 1)
	a.pay(ententev1.EntryType_ENTRY_TYPE_OPENING, append(before, newAuthor(t, 1).open().entries[0].GetPayload()...))
	return pulled(t, "XB", a.all()...)
}
