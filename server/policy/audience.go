package policy

import (
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// MayRead says whether reader may read an object of owner whose readers are the ones given (of a stream: those of its
// signed opening, the owner left out). It is the one audience check, asked at each send.
func MayRead(reader, owner member.ID, readers []member.ID) bool {
	if reader == "" {
		return false
	}
	return reader == owner || slices.Contains(readers, reader)
}

// Cleared is a value that this package has let go to one reader. Only the Clear functions make one that holds
// anything; the zero Cleared holds the zero value of T, which is nothing.
type Cleared[T any] struct{ value T }

// Value is what may be sent, to the reader it was cleared for and to nobody else.
func (c Cleared[T]) Value() T { return c.value }

// ClearStream lets something of a stream go to a member that reads the stream.
func ClearStream[T any](reader, owner member.ID, readers []member.ID, value T) (Cleared[T], bool) {
	if !MayRead(reader, owner, readers) {
		return Cleared[T]{}, false
	}
	return Cleared[T]{value}, true
}

// ClearOwn lets something of the node's own member, or held by it, go to an identity of that member.
func ClearOwn[T any](caller member.Identity, self member.ID, value T) (Cleared[T], bool) {
	if self == "" || caller.Member != self {
		return Cleared[T]{}, false
	}
	return Cleared[T]{value}, true
}

// ClearFor lets something that was made for one member (a digest, a merged view) go to that member.
func ClearFor[T any](reader, madeFor member.ID, value T) (Cleared[T], bool) {
	if reader == "" || reader != madeFor {
		return Cleared[T]{}, false
	}
	return Cleared[T]{value}, true
}

// ClearAmong lets something that a set of members has in common (the roster its members, a project's documents its
// participants) go to one of them.
func ClearAmong[T any](reader member.ID, members []member.ID, value T) (Cleared[T], bool) {
	if reader == "" || !slices.Contains(members, reader) {
		return Cleared[T]{}, false
	}
	return Cleared[T]{value}, true
}

// ClearChain lets the documents of a project go to a member: all to one that takes part, to one that has left what led to
// its departure, to everybody else none.
func ClearChain(reader member.ID, project *member.Project, chain []*ententev1.SignedDocument) (Cleared[[]*ententev1.SignedDocument], bool) {
	shown := min(project.ShownTo(reader), uint64(len(chain)))
	if reader == "" || shown == 0 {
		return Cleared[[]*ententev1.SignedDocument]{}, false
	}
	return Cleared[[]*ententev1.SignedDocument]{chain[:shown:shown]}, true
}
