package replica

import (
	"errors"
	"fmt"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

// source is who brings an owner's streams to a session.
type source uint8

const (
	fromOwner source = iota
	// fromRelay: another reader of them. It cannot say that it has all, or that anything is new.
	fromRelay
	// fromFile: what was carried by file, made for another position perhaps than the one that this node has reached.
	fromFile
)

var (
	// errNoRelay says that a node answers with a digest of its own: it does not know that others' streams can be asked for
	// (contract 1). It is no fault.
	errNoRelay = errors.New("it does not relay the streams of others")
	// errFileBegins says that a file begins beyond what is held.
	errFileBegins = errors.New("the file begins beyond what this node holds: a whole export is needed")
)

// accept judges a newer checkpoint of a stream, as Reader.Checkpoint does. An older one that a relay or a file brings is held
// against what this node has: it may be of another history.
func (s *session) accept(f *follow, id stream.ID, u *ententev1.CheckpointUpdate) error {
	var err error
	if s.from == fromFile && !f.stopped {
		err = s.acceptCarried(f, id, u)
	} else {
		_, err = f.reader.Checkpoint(u, s.ownerKeys())
	}
	if s.from == fromOwner || !errors.Is(err, stream.ErrOlder) {
		return err
	}
	head, opened := stream.OpenCheckpoint(u.GetCheckpoint(), s.owner, id, s.ownerKeys())
	if opened != nil {
		return opened
	}
	fork, compared := s.contradiction(id, head, u.GetCheckpoint())
	if compared != nil {
		return compared
	}
	if fork != nil {
		return fork
	}
	return err
}

// acceptCarried accepts a checkpoint without the proof that it continues what is held: a file has the proof from the
// position for which it was made. Nothing is lost by that: each batch of entries proves that with it what is held becomes a
// part of the checkpoint, and a withdrawal that stands in a head that the owner signed is the owner's word.
func (s *session) acceptCarried(f *follow, id stream.ID, u *ententev1.CheckpointUpdate) error {
	head, err := stream.OpenCheckpoint(u.GetCheckpoint(), s.owner, id, s.ownerKeys())
	if err != nil {
		return &stream.SenderError{Stream: id, Rule: stream.RuleCheckpoint, Err: err}
	}
	edge := f.reader.Edge()
	newest, note, seen := f.reader.Newest()
	switch {
	case head.Size == edge.Size() && head.Size > 0:
		_, err = f.reader.Checkpoint(&ententev1.CheckpointUpdate{StreamId: id[:], Checkpoint: u.GetCheckpoint()}, s.ownerKeys())
		return err
	case head.Size < edge.Size() || seen && head.Size < newest.Size:
		return fmt.Errorf("stream %s: size %d: %w", id, head.Size, stream.ErrOlder)
	case seen && head.Size == newest.Size && head.Root != newest.Root:
		return &stream.ForkError{Stream: id, Held: newest, New: head, HeldNote: note, NewNote: u.GetCheckpoint()}
	}
	err = f.reader.Resume(f.reader.Closed(), head, u.GetCheckpoint())
	if err != nil {
		return &stream.SenderError{Stream: id, Rule: stream.RuleCheckpoint, Err: err}
	}
	return nil
}

// contradiction says whether an older head, soundly signed, is of another history than the one that is held; nil where it
// is not, or where that cannot be told.
func (s *session) contradiction(id stream.ID, head stream.Checkpoint, note []byte) (*stream.ForkError, error) {
	for _, info := range s.ledger.StreamsShared(s.owner, s.self) {
		if info.ID != id || head.Size > info.Size || head.Size == 0 {
			continue
		}
		proof, err := s.ledger.Consistency(info.No, head.Size, info.Size)
		if err != nil {
			return nil, err
		}
		err = stream.VerifyConsistency(head.Size, info.Size, head.Root, info.Root, proof)
		if err == nil {
			return nil, nil
		}
		held := stream.Checkpoint{Owner: s.owner, Stream: id, Size: info.Size, Root: info.Root}
		return &stream.ForkError{Stream: id, Held: held, New: head, HeldNote: info.Checkpoint, NewNote: note}, nil
	}
	return nil, nil
}

// grants takes the grants by which this node reads a stream whose opening does not name it.
func (s *session) grants(b *ententev1.GrantBatch) error {
	id, err := stream.ParseID(b.GetStreamId())
	if err != nil || len(b.GetGrants()) == 0 {
		return &Fault{Rule: RuleContent, Err: err}
	}
	f, err := s.follow(id)
	if err != nil || f.passed || f.stopped {
		return err
	}
	for _, doc := range b.GetGrants() {
		err = f.reader.Grant(doc, s.ownerKeys())
		if err != nil {
			delete(s.follows, id) // an announcement that is none
			return err
		}
	}
	return nil
}

// missing takes from a batch of a file what this node holds already, and looks that the file has no hole. What begins beyond
// what is held is passed over.
func (s *session) missing(f *follow, id stream.ID, b *ententev1.EntryBatch) (*ententev1.EntryBatch, error) {
	rest := &ententev1.EntryBatch{StreamId: b.GetStreamId(), Consistency: b.GetConsistency()}
	edge := f.reader.Edge()
	for _, e := range b.GetEntries() {
		header, err := stream.ParseHeader(e.GetHeader())
		if err != nil {
			return nil, &stream.SenderError{Stream: id, Rule: stream.RuleHeader, Err: err}
		}
		if f.next != 0 && header.Sequence != f.next {
			return nil, &stream.SenderError{Stream: id, Sequence: header.Sequence, Rule: stream.RuleSequence}
		}
		f.next = header.Sequence + 1
		if header.Sequence > edge.Size() {
			rest.Entries = append(rest.Entries, e)
		}
		if len(rest.Entries) == 1 && header.Sequence > edge.Size()+1 {
			s.notes[id] = errFileBegins
			f.passed = true
			return nil, nil
		}
	}
	return rest, nil
}
