package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"

	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	// HeaderSize is the size of an encoded header in bytes.
	HeaderSize = 67
	// SaltSize is the size of a salt in bytes.
	SaltSize = 32
	// MaxPayload is the largest payload in bytes (field rule of Entry.payload).
	MaxPayload = 400_000

	headerFormat = 1
	leafPrefix   = 0 // RFC 6962, section 2.1
	nodePrefix   = 1
)

// Where the fields of a header stand.
const (
	atType           = 1
	atSequence       = 2
	atTarget         = 10
	atTargetSequence = 26
	atReason         = 34
	atCommitment     = 35
)

// Header is one entry of a stream as the tree holds it. The package comment has the bytes.
type Header struct {
	// Type says what the entry is. Types of a newer version are kept as they are: see Known.
	Type ententev1.EntryType
	// Sequence is the number of the entry in its stream, from 1.
	Sequence uint64
	// Target and TargetSequence name the release that a WITHDRAWAL takes back; zero for other types.
	Target         ID
	TargetSequence uint64
	// Reason is the WithdrawalReason of a WITHDRAWAL, never 0 there; zero for other types.
	Reason uint8
	// Commitment binds salt and payload (see Commit); zero for types without payload.
	Commitment Hash
}

// Append appends the HeaderSize bytes of h to b. What Check refuses gives bytes that ParseHeader refuses.
func (h Header) Append(b []byte) []byte {
	b = append(b, headerFormat, byte(h.Type))
	b = binary.BigEndian.AppendUint64(b, h.Sequence)
	b = append(b, h.Target[:]...)
	b = binary.BigEndian.AppendUint64(b, h.TargetSequence)
	b = append(b, h.Reason)
	return append(b, h.Commitment[:]...)
}

// ParseHeader takes the bytes of one header. It accepts exactly one encoding of each header, so equal entries have
// equal leaves. The error names the field at fault.
func ParseHeader(b []byte) (Header, error) {
	if len(b) != HeaderSize {
		return Header{}, fmt.Errorf("parse header: %d bytes, want %d", len(b), HeaderSize)
	}
	if b[0] != headerFormat {
		return Header{}, fmt.Errorf("parse header: format %d, want %d", b[0], headerFormat)
	}
	h := Header{
		Type:           ententev1.EntryType(b[atType]),
		Sequence:       binary.BigEndian.Uint64(b[atSequence:]),
		Target:         ID(b[atTarget:atTargetSequence]),
		TargetSequence: binary.BigEndian.Uint64(b[atTargetSequence:]),
		Reason:         b[atReason],
		Commitment:     Hash(b[atCommitment:HeaderSize]),
	}
	err := h.Check()
	if err != nil {
		return Header{}, fmt.Errorf("parse header: %w", err)
	}
	return h, nil
}

// Check says whether h is a header that may stand in a stream, by itself: what its neighbours demand is the
// business of Reader. An owner calls it before it appends.
func (h Header) Check() error {
	if h.Type < 1 || h.Type > 255 {
		return fmt.Errorf("entry type %d is not one", h.Type)
	}
	if h.Sequence == 0 {
		return fmt.Errorf("sequence 0: the first entry has 1")
	}
	if !h.Known() {
		return nil // a newer version gives the other fields their meaning
	}
	if h.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL {
		return h.checkWithdrawal()
	}
	if h.Target != (ID{}) || h.TargetSequence != 0 || h.Reason != 0 {
		return fmt.Errorf("target or reason without a withdrawal")
	}
	if h.HasPayload() != (h.Commitment != Hash{}) {
		return fmt.Errorf("commitment and entry type %d do not go together", h.Type)
	}
	return nil
}

func (h Header) checkWithdrawal() error {
	if h.Target == (ID{}) {
		return fmt.Errorf("withdrawal without target stream")
	}
	if h.TargetSequence < 2 {
		return fmt.Errorf("withdrawal of entry %d: the first release has 2", h.TargetSequence)
	}
	if h.Reason == 0 {
		return fmt.Errorf("withdrawal without reason")
	}
	if h.Commitment != (Hash{}) {
		return fmt.Errorf("withdrawal with a commitment")
	}
	return nil
}

// Known says whether this version of the program knows the type of the entry. Entries of unknown type are stored
// and verified as received, and kept out of every answer.
func (h Header) Known() bool {
	return h.Type >= ententev1.EntryType_ENTRY_TYPE_OPENING && h.Type <= ententev1.EntryType_ENTRY_TYPE_GRANT
}

// HasPayload says whether a salt and a payload belong to the entry. For an unknown type the commitment tells.
func (h Header) HasPayload() bool {
	switch h.Type {
	case ententev1.EntryType_ENTRY_TYPE_OPENING, ententev1.EntryType_ENTRY_TYPE_RELEASE, ententev1.EntryType_ENTRY_TYPE_GRANT:
		return true
	case ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, ententev1.EntryType_ENTRY_TYPE_CLOSING:
		return false
	default:
		return h.Commitment != Hash{}
	}
}

// Withdrawal returns what a WITHDRAWAL header of the given stream takes back; false for other types.
func (h Header) Withdrawal(in ID) (Withdrawal, bool) {
	if h.Type != ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL {
		return Withdrawal{}, false
	}
	return Withdrawal{Stream: in, Sequence: h.Sequence, Target: h.Target, TargetSequence: h.TargetSequence, Reason: h.Reason}, true
}

// Withdrawal says that the entry Sequence of Stream takes back the entry TargetSequence of Target, which is Stream
// itself or a predecessor of it. That it is one, and of the same owner, is for the caller to check: the opening that
// says so may arrive after the withdrawal.
type Withdrawal struct {
	Stream         ID
	Sequence       uint64
	Target         ID
	TargetSequence uint64
	// Reason is a WithdrawalReason, never 0; one of a newer version is kept as it is.
	Reason uint8
}

// Commit returns SHA-256 of salt and payload. It panics if the salt has not SaltSize bytes: with another length,
// bytes could move between salt and payload.
func Commit(salt, payload []byte) Hash {
	return commit(sha256.New(), salt, payload)
}

// commit is Commit with a hasher that the caller keeps, for loops.
func commit(hasher hash.Hash, salt, payload []byte) Hash {
	if len(salt) != SaltSize {
		panic(fmt.Sprintf("stream: salt of %d bytes, want %d", len(salt), SaltSize))
	}
	var sum Hash
	hasher.Reset()
	hasher.Write(salt)
	hasher.Write(payload)
	hasher.Sum(sum[:0])
	return sum
}

// LeafHash returns the hash of a leaf of the tree (RFC 6962, section 2.1).
func LeafHash(header []byte) Hash {
	var buffer [1 + HeaderSize]byte // headers fit: nothing is allocated
	buffer[0] = leafPrefix
	return sha256.Sum256(append(buffer[:1], header...))
}
