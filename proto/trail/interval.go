package trail

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

const (
	// TreeIntervals names the tree of intervals in the origin line of its heads: what a witness signs.
	TreeIntervals = "audit"
	// TreeEntries names the tree of entries: its heads are the node's word alone.
	TreeEntries = "audit/entries"

	// SaltSize is the size of an interval's salt in bytes.
	SaltSize = 32
	// MaxEntry is the largest encoded entry in bytes, so that a message of the contract holds it.
	MaxEntry = 1 << 20

	leafLabel = "entente/v1/audit-interval\x00"
)

// Interval is what a trail was at the end of one interval of time.
type Interval struct {
	// Number counts intervals, from 1.
	Number uint64
	// End is when it was closed, by the node's clock.
	End time.Time
	// Size is the number of entries by then, Root the RFC 6962 root over them.
	Size uint64
	Root stream.Hash
	// Salt is random: without it nobody who sees the leaf can tell whether anything happened.
	Salt [SaltSize]byte
}

// Leaf is what of the interval goes into the tree of intervals: SHA-256 over label, number, end, size, root and salt. The
// package comment has the bytes.
func (i Interval) Leaf() [sha256.Size]byte {
	b := make([]byte, 0, len(leafLabel)+8+8+4+8+len(i.Root)+SaltSize)
	b = append(b, leafLabel...)
	b = binary.BigEndian.AppendUint64(b, i.Number)
	b = binary.BigEndian.AppendUint64(b, uint64(i.End.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(i.End.Nanosecond()))
	b = binary.BigEndian.AppendUint64(b, i.Size)
	b = append(b, i.Root[:]...)
	b = append(b, i.Salt[:]...)
	return sha256.Sum256(b)
}

// LeafHash is the hash of the interval in the tree (RFC 6962: SHA-256 of a zero byte and the leaf).
func (i Interval) LeafHash() stream.Hash {
	leaf := i.Leaf()
	return stream.LeafHash(leaf[:])
}

// Message is the interval as it travels and is stored.
func (i Interval) Message() *ententev1.TrailInterval {
	return &ententev1.TrailInterval{Number: i.Number, EndedAt: timestamppb.New(i.End), Size: i.Size, Root: i.Root[:], Salt: i.Salt[:]}
}

// ParseInterval takes an interval apart. It does not say whether the interval is true.
func ParseInterval(m *ententev1.TrailInterval) (Interval, error) {
	i, err := parseInterval(m)
	if err != nil {
		return Interval{}, fmt.Errorf("parse interval %d: %w", m.GetNumber(), err)
	}
	return i, nil
}

func parseInterval(m *ententev1.TrailInterval) (Interval, error) {
	if m.GetNumber() == 0 {
		return Interval{}, errors.New("number 0: the first has 1")
	}
	err := m.GetEndedAt().CheckValid()
	if err != nil {
		return Interval{}, errors.New("its end is no time")
	}
	if len(m.GetRoot()) != len(stream.Hash{}) {
		return Interval{}, fmt.Errorf("root of %d bytes, want %d", len(m.GetRoot()), len(stream.Hash{}))
	}
	if len(m.GetSalt()) != SaltSize {
		return Interval{}, fmt.Errorf("salt of %d bytes, want %d", len(m.GetSalt()), SaltSize)
	}
	return Interval{Number: m.GetNumber(), End: m.GetEndedAt().AsTime(), Size: m.GetSize(), Root: stream.Hash(m.GetRoot()), Salt: [SaltSize]byte(m.GetSalt())}, nil
}
