package stream_test

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// author is a whole stream of XA in memory, with everything that XA can send of it. It checks nothing, so that it can
// write what no honest owner writes.
type author struct {
	t       *testing.T
	id      stream.ID
	salts   io.Reader
	entries []*ententev1.Entry
	leaves  tree
}

func newAuthor(t *testing.T, n byte) *author {
	return &author{t: t, id: vectorStream(n), salts: drawn("salts " + string(rune('a'+n)))}
}

func (a *author) size() uint64 { return uint64(len(a.entries)) }

func (a *author) put(h stream.Header, salt, payload []byte) *author {
	h.Sequence = cmp.Or(h.Sequence, a.size()+1)
	header := h.Append(nil)
	a.entries = append(a.entries, &ententev1.Entry{Header: header, Salt: salt, Payload: payload})
	a.leaves = append(a.leaves, stream.LeafHash(header))
	return a
}

func (a *author) pay(kind ententev1.EntryType, payload []byte) *author {
	salt := make([]byte, stream.SaltSize)
	_, err := io.ReadFull(a.salts, salt)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.put(stream.Header{Type: kind, Commitment: stream.Commit(salt, payload)}, salt, payload)
}

// open writes the opening, changed by the edits.
func (a *author) open(edits ...func(*ententev1.StreamOpening)) *author {
	opening := &ententev1.StreamOpening{StreamId: a.id[:], Owner: "XA", Kind: ententev1.StreamKind_STREAM_KIND_PROJECT, ProjectId: "harbour-light",
		Readers: []string{"XB", "XC"}, OpenedAt: timestamppb.New(newYear())}
	for _, edit := range edits {
		edit(opening)
	}
	content := &ententev1.StreamPayload_Opening{Opening: opening}
	return a.pay(ententev1.EntryType_ENTRY_TYPE_OPENING, encoded(a.t, &ententev1.StreamPayload{Content: content}))
}

// record is the released form of an invented place.
func record(t *testing.T, n byte) []byte {
	return encoded(t, &ententev1.ReleasedRecord{
		RecordId: append(make([]byte, 15), n),
		Envelope: &ententev1.ReleasedEnvelope{ProviderMember: "XA", ProviderAuthority: "Police of XA", ProjectId: "harbour-light",
			RecordedAt: timestamppb.New(newYear()), Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION},
		Body: &ententev1.Body{Kind: &ententev1.Body_Location{Location: &ententev1.Location{}}},
	})
}

func (a *author) release(n byte, edits ...func(*ententev1.StreamPayload)) *author {
	payload := &ententev1.StreamPayload{Content: &ententev1.StreamPayload_ReleasedRecord{ReleasedRecord: record(a.t, n)}}
	for _, edit := range edits {
		edit(payload)
	}
	return a.pay(ententev1.EntryType_ENTRY_TYPE_RELEASE, encoded(a.t, payload))
}

func (a *author) withdraw(in stream.ID, sequence uint64) *author {
	return a.put(stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Target: in, TargetSequence: sequence,
		Reason: uint8(ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION)}, nil, nil)
}

func (a *author) close() *author {
	return a.put(stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_CLOSING}, nil, nil)
}

func (a *author) grantDocument(number uint64, reader member.ID) *ententev1.SignedDocument {
	doc, err := stream.SignGrant("XA", a.id, stream.Grant{Number: number, Reader: reader, Time: newYear()}, vectorKey("signing XA"))
	if err != nil {
		a.t.Fatal(err)
	}
	return doc
}

func (a *author) grant(doc *ententev1.SignedDocument) *author {
	content := &ententev1.StreamPayload_Grant{Grant: doc}
	return a.pay(ententev1.EntryType_ENTRY_TYPE_GRANT, encoded(a.t, &ententev1.StreamPayload{Content: content}))
}

func (a *author) head(size uint64) stream.Checkpoint {
	return stream.Checkpoint{Owner: "XA", Stream: a.id, Size: size, Root: a.leaves.root(size), Time: newYear().Add(time.Duration(size) * time.Second)}
}

func (a *author) consistency(from, to uint64) [][]byte {
	proof, err := stream.Consistency(a.leaves[:to], from, to)
	if err != nil {
		a.t.Fatal(err)
	}
	return proof
}

// checkpoint announces the head at a size to a reader that holds from entries.
func (a *author) checkpoint(from, to uint64, edits ...func(*ententev1.CheckpointUpdate)) *ententev1.PullResponse {
	u := &ententev1.CheckpointUpdate{StreamId: a.id[:], Checkpoint: []byte(signedHead(a.t, a.head(to), "signing XA")), Consistency: a.consistency(from, to)}
	for _, edit := range edits {
		edit(u)
	}
	return &ententev1.PullResponse{Content: &ententev1.PullResponse_Checkpoint{Checkpoint: u}}
}

// ahead sends withdrawals before the entries, proven at a size.
func (a *author) ahead(size uint64, sequences []uint64, edits ...func(*ententev1.WithdrawalBatch)) *ententev1.PullResponse {
	b := &ententev1.WithdrawalBatch{StreamId: a.id[:]}
	for _, sequence := range sequences {
		proof, err := stream.Inclusion(a.leaves[:size], sequence-1, size)
		if err != nil {
			a.t.Fatal(err)
		}
		b.Withdrawals = append(b.Withdrawals, &ententev1.ProvenHeader{Header: a.entries[sequence-1].GetHeader(), Inclusion: proof})
	}
	for _, edit := range edits {
		edit(b)
	}
	return &ententev1.PullResponse{Content: &ententev1.PullResponse_Withdrawals{Withdrawals: b}}
}

// batch sends the entries from+1 to to, proven at size.
func (a *author) batch(from, to, size uint64, edits ...func(*ententev1.EntryBatch)) *ententev1.PullResponse {
	b := proto.CloneOf(&ententev1.EntryBatch{StreamId: a.id[:], Entries: a.entries[from:to], Consistency: a.consistency(to, size)})
	for _, edit := range edits {
		edit(b)
	}
	return &ententev1.PullResponse{Content: &ententev1.PullResponse_Entries{Entries: b}}
}

// all sends the whole stream at once, without its withdrawals ahead.
func (a *author) all(edits ...func(*ententev1.EntryBatch)) []*ententev1.PullResponse {
	return []*ententev1.PullResponse{a.checkpoint(0, a.size()), a.batch(0, a.size(), a.size(), edits...)}
}

func grants(id stream.ID, docs ...*ententev1.SignedDocument) *ententev1.PullResponse {
	return &ententev1.PullResponse{Content: &ententev1.PullResponse_Grants{Grants: &ententev1.GrantBatch{StreamId: id[:], Grants: docs}}}
}

func erased(indices ...int) func(*ententev1.EntryBatch) {
	return func(b *ententev1.EntryBatch) {
		for _, i := range indices {
			b.Entries[i].Salt, b.Entries[i].Payload = nil, nil
		}
	}
}

// digestMessage is XA's signed digest for a reader over the heads of some streams.
func digestMessage(t *testing.T, reader string, authors ...*author) *ententev1.PullResponse {
	var heads []stream.Head
	for _, a := range authors {
		heads = append(heads, stream.Head{Stream: a.id, Size: a.size(), Root: a.leaves.root(a.size())})
	}
	digest := stream.Digest(heads)
	body := encoded(t, &ententev1.HeadsDigest{Owner: "XA", Reader: reader, Digest: digest[:], SignedAt: timestamppb.New(newYear())})
	doc := member.SignDocument("digest", body, "XA", vectorKey("signing XA"))
	return &ententev1.PullResponse{Content: &ententev1.PullResponse_Digest{Digest: doc}}
}

func caughtUp() *ententev1.PullResponse {
	return &ententev1.PullResponse{Content: &ententev1.PullResponse_CaughtUp{CaughtUp: &ententev1.CaughtUp{}}}
}

type pullInput struct {
	Owner    string     `json:"owner"`
	Reader   string     `json:"reader"`
	Keys     []hexBytes `json:"keys"`
	Messages []hexBytes `json:"messages"`
}

func pulled(t *testing.T, reader string, messages ...*ententev1.PullResponse) pullInput {
	in := pullInput{Owner: "XA", Reader: reader, Keys: []hexBytes{hexBytes(vectorPublic("signing XA"))}}
	for _, m := range messages {
		in.Messages = append(in.Messages, encoded(t, m))
	}
	return in
}

type pullOutput struct {
	Streams       []heldStream   `json:"streams"`
	Releases      []heldRelease  `json:"releases"`
	Withdrawn     []withdrawnRef `json:"withdrawn"`
	Grants        []heldGrant    `json:"grants,omitempty"`
	NotUnderstood []entryRef     `json:"not_understood,omitempty"`
	DigestAgrees  bool           `json:"digest_agrees"`
}

type entryRef struct {
	Stream   hexBytes `json:"stream"`
	Sequence uint64   `json:"sequence"`
}

type heldStream struct {
	Stream hexBytes `json:"stream"`
	Size   uint64   `json:"size"`
	Root   hexBytes `json:"root"`
	Closed bool     `json:"closed"`
}

type heldRelease struct {
	Stream   hexBytes `json:"stream"`
	Sequence uint64   `json:"sequence"`
	Record   hexBytes `json:"record"`
}

type heldGrant struct {
	Stream hexBytes `json:"stream"`
	Number uint64   `json:"number"`
	Reader string   `json:"reader"`
}

type withdrawnRef struct {
	Stream   hexBytes `json:"stream"`
	Sequence uint64   `json:"sequence"`
	Reason   uint8    `json:"reason"`
}

// puller is the least that receives a pull: a verifier for each stream, and what is withdrawn. It holds no order of
// phases: that is a matter of the conversation, not of the bytes.
type puller struct {
	in      pullInput
	readers map[stream.ID]*stream.Reader
	covered map[stream.Withdrawal]uint8 // by target only
	out     pullOutput
	signed  stream.Hash
}

func judgePull(input json.RawMessage) (any, error) {
	in, err := read[pullInput](input)
	if err != nil {
		return nil, err
	}
	p := &puller{in: in, readers: map[stream.ID]*stream.Reader{}, covered: map[stream.Withdrawal]uint8{}}
	for _, b := range in.Messages {
		m, err := decoded(b, &ententev1.PullResponse{})
		if err != nil {
			return nil, err
		}
		err = p.take(m)
		if err != nil {
			return nil, err
		}
	}
	return p.outcome(), nil
}

func (p *puller) keys(id member.ID) member.Keys {
	var list []memberKey
	for _, key := range p.in.Keys {
		list = append(list, memberKey{string(id), key})
	}
	return keysOf(list)
}

func (p *puller) reader(id []byte) *stream.Reader {
	at := stream.ID(id)
	if p.readers[at] == nil {
		p.readers[at] = stream.NewReader(member.ID(p.in.Owner), at, member.ID(p.in.Reader), stream.Edge{})
	}
	return p.readers[at]
}

func (p *puller) take(m *ententev1.PullResponse) error {
	owner := member.ID(p.in.Owner)
	switch c := m.GetContent().(type) {
	case *ententev1.PullResponse_Digest:
		signed, err := openDigest(c.Digest, p.in.Owner, p.in.Reader, p.keys(owner))
		p.signed = signed
		return err
	case *ententev1.PullResponse_Grants:
		for _, doc := range c.Grants.GetGrants() {
			err := p.reader(c.Grants.GetStreamId()).Grant(doc, p.keys(owner)(owner))
			if err != nil {
				return err
			}
		}
		return nil
	case *ententev1.PullResponse_Checkpoint:
		_, err := p.reader(c.Checkpoint.GetStreamId()).Checkpoint(c.Checkpoint, p.keys(owner)(owner))
		return err
	case *ententev1.PullResponse_Withdrawals:
		list, err := p.reader(c.Withdrawals.GetStreamId()).Withdrawals(c.Withdrawals)
		for _, w := range list {
			p.cover(w)
		}
		return err
	case *ententev1.PullResponse_Entries:
		return p.entries(c.Entries)
	}
	return nil
}

func (p *puller) cover(w stream.Withdrawal) {
	at := stream.Withdrawal{Target: w.Target, TargetSequence: w.TargetSequence}
	if _, known := p.covered[at]; !known {
		p.covered[at] = w.Reason
	}
}

func (p *puller) entries(b *ententev1.EntryBatch) error {
	covered := func(in stream.ID, sequence uint64) bool {
		_, is := p.covered[stream.Withdrawal{Target: in, TargetSequence: sequence}]
		return is
	}
	list, err := p.reader(b.GetStreamId()).Entries(b, covered)
	if err != nil {
		return err
	}
	id := stream.ID(b.GetStreamId())
	for _, v := range list {
		w, is := v.Header.Withdrawal(id)
		if is {
			p.cover(w)
		}
		if v.ReleasedRecord != nil {
			p.out.Releases = append(p.out.Releases, heldRelease{b.GetStreamId(), v.Header.Sequence, v.ReleasedRecord})
		}
		if v.Grant != nil {
			p.out.Grants = append(p.out.Grants, heldGrant{b.GetStreamId(), v.Grant.Number, string(v.Grant.Reader)})
		}
		if !v.Understood {
			p.out.NotUnderstood = append(p.out.NotUnderstood, entryRef{b.GetStreamId(), v.Header.Sequence})
		}
	}
	for at := range p.covered {
		if p.readers[at.Target] == nil {
			return refusal("foreign") // entries come after all streams are announced
		}
	}
	return nil
}

func (p *puller) outcome() pullOutput {
	out := p.out
	out.Streams, out.Withdrawn, out.Releases = []heldStream{}, []withdrawnRef{}, append([]heldRelease{}, out.Releases...)
	out.Releases = slices.DeleteFunc(out.Releases, func(r heldRelease) bool {
		_, gone := p.covered[stream.Withdrawal{Target: stream.ID(r.Stream), TargetSequence: r.Sequence}]
		return gone
	})
	var heads []stream.Head
	for id, r := range p.readers {
		edge := r.Edge()
		root := edge.Root()
		heads = append(heads, stream.Head{Stream: id, Size: edge.Size(), Root: root})
		out.Streams = append(out.Streams, heldStream{id[:], edge.Size(), root[:], r.Closed()})
	}
	slices.SortFunc(out.Streams, func(a, b heldStream) int { return slices.Compare(a.Stream, b.Stream) })
	for at, reason := range p.covered {
		out.Withdrawn = append(out.Withdrawn, withdrawnRef{at.Target[:], at.TargetSequence, reason})
	}
	slices.SortFunc(out.Withdrawn, func(a, b withdrawnRef) int {
		return cmp.Or(slices.Compare(a.Stream, b.Stream), cmp.Compare(a.Sequence, b.Sequence))
	})
	out.DigestAgrees = stream.Digest(heads) == p.signed
	return out
}
