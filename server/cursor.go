package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// A cursor says how far a subscriber is in each stream that it follows. It is a vector, never a clock and never one
// number of the node, so it holds at any replica. Inside: one byte of format, then 24 bytes a stream (its name, see named,
// and its position, big endian), in order of name, streams at position 0 left out. Outside: sealed, see sealer.
const (
	cursorFormat = 1
	cursorStep   = 16 + 8
)

var errBadVector = errors.New("not a vector of positions")

// named is how a vector over the streams of many owners names one. An id alone would not do: a reader that has seen it
// could open a stream of its own under it, and a subscriber's position in the one would count for the other.
func named(owner member.ID, id stream.ID) stream.ID {
	sum := sha256.Sum256(append(id[:], owner...))
	return stream.ID(sum[:16])
}

// vector is the position in each stream: the number of entries that are done with.
type vector map[stream.ID]uint64

func (v vector) encode() []byte {
	ids := make([]stream.ID, 0, len(v))
	for id, position := range v {
		if position > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b stream.ID) int { return bytes.Compare(a[:], b[:]) })
	b := make([]byte, 1, 1+len(ids)*cursorStep)
	b[0] = cursorFormat
	for _, id := range ids {
		b = append(b, id[:]...)
		b = binary.BigEndian.AppendUint64(b, v[id])
	}
	return b
}

// decodeVector is strict: one vector, one encoding.
func decodeVector(b []byte) (vector, error) {
	if len(b) == 0 || b[0] != cursorFormat || len(b[1:])%cursorStep != 0 {
		return nil, errBadVector
	}
	v := make(vector, len(b)/cursorStep)
	var last []byte
	for step := range slices.Chunk(b[1:], cursorStep) {
		id, position := step[:16], binary.BigEndian.Uint64(step[16:])
		if position == 0 || last != nil && bytes.Compare(last, id) >= 0 {
			return nil, errBadVector
		}
		v[stream.ID(id)] = position
		last = id
	}
	return v, nil
}

// cursorBinding is what a cursor is good for: the same caller, and so the same member, with the same subscription.
func cursorBinding(c caller, request *ententev1.SubscribeRequest) []byte {
	kinds, areas := slices.Clone(request.GetKinds()), slices.Clone(request.GetCrimeAreas())
	slices.Sort(kinds)
	slices.Sort(areas)
	return binding("cursor", string(c.Member), c.String(), request.GetProjectId(),
		numbers(slices.Compact(kinds)), numbers(slices.Compact(areas)), request.GetConsultation().GetOfficer(), scopeText(request.GetConsultation().GetScope()))
}

// scopeText is a scope in one form, whatever the order of what it lists.
func scopeText(scope *ententev1.Scope) string {
	projects, kinds := slices.Clone(scope.GetProjects()), slices.Clone(scope.GetKinds())
	slices.Sort(projects)
	slices.Sort(kinds)
	return fmt.Sprint(len(projects), projects, kinds, scope.GetAllMembersOnly())
}

// sealCursor makes the cursor for a position.
func (s *Server) sealCursor(bound []byte, v vector) ([]byte, error) {
	return s.sealer.seal(bound, v.encode())
}

// openCursor reads a cursor; none: the beginning. Any other fault is one answer.
func (s *Server) openCursor(bound, cursor []byte) (vector, error) {
	if len(cursor) == 0 {
		return vector{}, nil
	}
	plain, err := s.sealer.open(bound, cursor)
	if err != nil {
		return nil, errBadCursor
	}
	v, err := decodeVector(plain)
	if err != nil {
		return nil, errBadCursor
	}
	return v, nil
}
