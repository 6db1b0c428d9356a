package ledger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

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

// recordID computes an id. The length in front of the authority keeps ("a", "bc") and ("ab", "c") apart.
func recordID(idKey []byte, authority, reference string) RecordID {
	mac := hmac.New(sha256.New, idKey)
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(authority)))
	mac.Write(length[:])
	mac.Write([]byte(authority))
	mac.Write([]byte(reference))
	var sum [sha256.Size]byte
	var id RecordID
	copy(id[:], mac.Sum(sum[:0]))
	return id
}
