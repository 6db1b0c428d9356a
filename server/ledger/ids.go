package ledger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"

	"entente.example/entente/proto/member"
)

// RecordID is the id of a record: the first 128 bits of an HMAC of authority and provider reference under the member's id
// key. So nobody outside can guess an id or count records by it, and the same record always has the same id.
type RecordID [16]byte

// ParseRecordID takes the 16 bytes of an id.
func ParseRecordID(b []byte) (RecordID, error) {
	var id RecordID
	if len(b) != len(id) {
		return id, fmt.Errorf("record id has %d bytes, want %d", len(b), len(id))
	}
	copy(id[:], b)
	return id, nil
}

// String is the id in 32 hexadecimal digits.
func (id RecordID) String() string { return hex.EncodeToString(id[:]) }

// Name is a record in the federation: its owner and its id there.
type Name struct {
	Owner  member.ID
	Record RecordID
}

// idMaker computes ids under one key. Setting up an HMAC costs as much as computing one, so they are used again.
type idMaker struct{ macs sync.Pool }

func newIDMaker(key []byte) *idMaker {
	return &idMaker{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// id is the id of a record. The length in front of the authority keeps ("a", "bc") and ("ab", "c") apart.
func (m *idMaker) id(authority, reference string) RecordID {
	mac := m.macs.Get().(hash.Hash)
	defer m.macs.Put(mac)
	mac.Reset()
	text := make([]byte, 4, 4+len(authority)+len(reference)+sha256.Size)
	binary.BigEndian.PutUint32(text, uint32(len(authority)))
	text = append(text, authority...)
	text = append(text, reference...)
	mac.Write(text)
	var id RecordID
	copy(id[:], mac.Sum(text[:0]))
	return id
}
