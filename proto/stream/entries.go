package stream

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Verified is one entry that Reader.Entries has accepted. Its byte slices are parts of the message that it came
// in, not copies.
type Verified struct {
	Header      Header
	HeaderBytes []byte
	// Leaf is LeafHash of HeaderBytes, for the tiles.
	Leaf Hash
	// Salt and Payload are exactly as the owner wrote them, and nil for types without payload and where a withdrawal
	// covers the entry and the sender left them out. Where it did not, the caller does.
	Salt, Payload []byte
	// Opening is set for an OPENING.
	Opening *ententev1.StreamOpening
	// ReleasedRecord is set for a RELEASE with payload: an encoded ReleasedRecord, not yet looked into. MergeFor are the
	// members for whom a coordinator may use it.
	ReleasedRecord []byte
	MergeFor       []member.ID
	// Grant is set for a GRANT. Its document stands in Payload.
	Grant *Grant
	// Understood is false where the type of the entry, or something in its StreamPayload, is of a newer version. Such an
	// entry is stored and passed on as it is, and kept out of every answer.
	Understood bool
}

// Entries verifies the next entries of the stream: they follow what is held without a gap, their payloads are what the
// headers say, and with them the stream is what the newest accepted checkpoint signs. Covered says whether a
// withdrawal that the caller knows takes back an entry; only then may its payload be missing. Nil covers nothing.
// All entries are accepted or none. The errors are *SenderError, or *ForkError where the entries are proven by the
// newest checkpoint and contradict an older one.
func (r *Reader) Entries(b *ententev1.EntryBatch, covered func(target ID, sequence uint64) bool) ([]Verified, error) {
	err := r.checkBatch(b)
	if err != nil {
		return nil, err
	}
	next := batch{Reader: *r, hasher: sha256.New(), covered: covered}
	verified := make([]Verified, len(b.GetEntries()))
	for i, entry := range b.GetEntries() {
		err = next.take(entry, &verified[i])
		if err != nil {
			return nil, err
		}
		if r.promised.given() && next.edge.Size() == r.promised.Size {
			next.atPromise = next.edge.Root()
		}
	}
	err = VerifyConsistency(next.edge.Size(), r.newest.Size, next.edge.Root(), r.newest.Root, b.GetConsistency())
	if err != nil {
		return nil, r.fault(0, RuleConsistency, err)
	}
	if !r.promised.given() || next.edge.Size() < r.promised.Size {
		r.edge, r.closed = next.edge, next.closed
		return verified, nil
	}
	// The entries are the owner's, by its newest checkpoint. So a mismatch here is the owner's doing.
	if next.atPromise != r.promised.Root {
		return nil, r.fork(r.promised, r.newest)
	}
	r.edge, r.closed, r.promised = next.edge, next.closed, signedHead{}
	if r.newest.Size > r.edge.Size() {
		r.promised = r.newest
	}
	return verified, nil
}

func (r *Reader) checkBatch(b *ententev1.EntryBatch) error {
	err := r.checkStream(b.GetStreamId())
	if err != nil {
		return err
	}
	if !r.newest.given() {
		return r.fault(0, RuleOrder, nil)
	}
	if len(b.GetEntries()) == 0 {
		return r.fault(0, RuleEmpty, nil)
	}
	left := r.newest.Size - r.edge.Size()
	if uint64(len(b.GetEntries())) > left {
		return r.fault(0, RuleBeyond, fmt.Errorf("%d entries, of which it signs %d", len(b.GetEntries()), left))
	}
	return nil
}

// batch is the Reader as it will be if the whole batch holds.
type batch struct {
	Reader
	hasher    hash.Hash
	covered   func(ID, uint64) bool
	atPromise Hash // the root where the size of the promised checkpoint is reached
}

func (b *batch) take(entry *ententev1.Entry, v *Verified) error {
	sequence := b.edge.Size() + 1
	header, err := ParseHeader(entry.GetHeader())
	if err != nil {
		return b.fault(sequence, RuleHeader, err)
	}
	err = b.checkPlace(header, sequence)
	if err != nil {
		return err
	}
	*v = Verified{
		Header:      header,
		HeaderBytes: entry.GetHeader(),
		Leaf:        LeafHash(entry.GetHeader()),
		Understood:  header.Known(),
	}
	err = b.takePayload(entry, v)
	if err != nil {
		return err
	}
	b.edge.Append(v.Leaf)
	b.closed = b.closed || header.Type == ententev1.EntryType_ENTRY_TYPE_CLOSING
	return nil
}

// checkPlace holds a header against what stands before it.
func (b *batch) checkPlace(header Header, sequence uint64) error {
	if header.Sequence != sequence {
		return b.fault(sequence, RuleSequence, fmt.Errorf("the header has %d", header.Sequence))
	}
	opens := header.Type == ententev1.EntryType_ENTRY_TYPE_OPENING
	if opens != (sequence == 1) {
		return b.fault(sequence, RuleOpening, fmt.Errorf("entry type %d in this place", header.Type))
	}
	withdrawal, is := header.Withdrawal(b.id)
	if is {
		return b.checkTarget(withdrawal)
	}
	if b.closed {
		return b.fault(sequence, RuleClosed, fmt.Errorf("entry type %d", header.Type))
	}
	return nil
}

// takePayload checks salt and payload against the header, and takes the payload apart.
func (b *batch) takePayload(entry *ententev1.Entry, v *Verified) error {
	sequence, salt, payload := v.Header.Sequence, entry.GetSalt(), entry.GetPayload()
	if !v.Header.HasPayload() {
		if len(salt) != 0 || len(payload) != 0 {
			return b.fault(sequence, RulePayload, errors.New("a type without payload has one"))
		}
		return nil
	}
	if len(salt) == 0 && len(payload) == 0 {
		// Nobody can withdraw an opening: without it the readers would not know whose stream it is.
		if sequence == 1 || b.covered == nil || !b.covered(b.id, sequence) {
			return b.fault(sequence, RuleMissing, nil)
		}
		return nil
	}
	if len(salt) != SaltSize || len(payload) > MaxPayload {
		return b.fault(sequence, RulePayload, fmt.Errorf("salt of %d and payload of %d bytes, want %d and up to %d", len(salt), len(payload), SaltSize, MaxPayload))
	}
	if commit(b.hasher, salt, payload) != v.Header.Commitment {
		return b.fault(sequence, RuleCommitment, nil)
	}
	v.Salt, v.Payload = salt, payload
	return b.parse(v)
}

// parse looks into the payload of the types that have one and are known.
func (b *batch) parse(v *Verified) error {
	switch v.Header.Type {
	case ententev1.EntryType_ENTRY_TYPE_OPENING:
		opening, err := parseOpening(v.Payload, b.owner, b.id, b.self, b.granted)
		if err != nil {
			return b.fault(v.Header.Sequence, RuleOpening, err)
		}
		v.Opening, v.Understood = opening.opening, opening.understood
	case ententev1.EntryType_ENTRY_TYPE_RELEASE:
		release, err := parseRelease(v.Payload)
		if err != nil {
			return b.fault(v.Header.Sequence, RulePayload, err)
		}
		v.ReleasedRecord, v.MergeFor, v.Understood = release.record, release.mergeFor, release.understood
	case ententev1.EntryType_ENTRY_TYPE_GRANT:
		grant, understood, err := parseGrantPayload(v.Payload, b.owner, b.id)
		if err != nil {
			return b.fault(v.Header.Sequence, RuleGrant, err)
		}
		v.Grant, v.Understood = &grant, understood
	}
	return nil
}
