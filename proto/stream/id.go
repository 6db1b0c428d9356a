package stream

import (
	"encoding/hex"
	"fmt"
	"io"
)

// Hash is a SHA-256 value: a leaf, a node or a root of the tree, or a commitment.
type Hash = [32]byte

// ID is the random id of a stream. It tells nothing of its owner, its readers or its age.
type ID [16]byte

// NewID draws an id. The error is that of random.
func NewID(random io.Reader) (ID, error) {
	var id ID
	_, err := io.ReadFull(random, id[:])
	if err != nil {
		return ID{}, fmt.Errorf("draw a stream id: %w", err)
	}
	return id, nil
}

// ParseID takes the 16 bytes of an id as they stand in messages. All zero is no id: headers use it for "none".
func ParseID(b []byte) (ID, error) {
	if len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("parse stream id: %d bytes, want %d", len(b), len(ID{}))
	}
	id := ID(b)
	if id == (ID{}) {
		return ID{}, fmt.Errorf("parse stream id: all zero")
	}
	return id, nil
}

// String returns 32 lower-case hexadecimal digits, as in the origin of checkpoints.
func (id ID) String() string {
	return hex.EncodeToString(id[:])
}
