package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
	"entente.example/entente/server/store"
)

var (
	// ErrWitnessAhead: the witness has signed more intervals than this trail has. The data file is an older copy of itself, or
	// somebody has cut it. No witness that remembers more will sign this trail again.
	ErrWitnessAhead = errors.New("the witness has signed a longer trail than this one")
	// ErrWitnessSize: the witness signed another size last than the request began from. Ask again from the size in its answer.
	ErrWitnessSize = errors.New("the witness has signed another size")
	// ErrFork: a member showed two trails that cannot be the same.
	ErrFork = errors.New("not a continuation of the audit trail that was signed before")
	// ErrRefused: the request is not sound; the text says what is wrong with it.
	ErrRefused = errors.New("refused")
)

// WitnessRequest is what a witness is asked to sign: the head of all intervals so far, signed now, with the proof that it
// continues the one of size from, which the witness signed last; 0 for a witness that has signed none. It tells how many
// intervals have passed, and nothing of what happened in them.
func (l *Log) WitnessRequest(from uint64) (*ententev1.WitnessAuditRequest, error) {
	s := l.current()
	size := s.intervals.size()
	if from > size {
		return nil, fmt.Errorf("ask for a countersignature of %d intervals from %d on: %w", size, from, ErrWitnessAhead)
	}
	checkpoint, err := l.signTree(trail.TreeIntervals, &s.intervals, l.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("ask for a countersignature: %w", err)
	}
	request := &ententev1.WitnessAuditRequest{Checkpoint: checkpoint, From: from}
	err = l.store.View(func(v *store.View) error {
		request.Consistency, err = stream.Consistency(s.intervals.nodes(v), from, size)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for a countersignature: %w", err)
	}
	return request, nil
}

// Witnessed takes a witness's answer to a request of this node: it verifies the countersignature and keeps the head with it,
// unless a longer one is kept already. Where the witness has signed another size last, the answer has no signature: the
// error is ErrWitnessSize, and the next request begins from the size in the answer, or ErrWitnessAhead, and none will do.
//
// If we crash here, the witness remembers more than this node does: it answers the next request with its size.
func (l *Log) Witnessed(ctx context.Context, by member.ID, r *ententev1.WitnessAuditRequest, resp *ententev1.WitnessAuditResponse) error {
	err := l.takeWitnessed(ctx, by, r, resp)
	if err != nil {
		return fmt.Errorf("take the countersignature of %s: %w", by, err)
	}
	return nil
}

func (l *Log) takeWitnessed(ctx context.Context, by member.ID, r *ententev1.WitnessAuditRequest, resp *ententev1.WitnessAuditResponse) error {
	s := l.current()
	if resp.GetSize() > s.intervals.size() {
		return fmt.Errorf("%w: %d intervals, and there are %d", ErrWitnessAhead, resp.GetSize(), s.intervals.size())
	}
	if len(resp.GetCosignature()) == 0 {
		return fmt.Errorf("%w: %d intervals", ErrWitnessSize, resp.GetSize())
	}
	if by == l.cfg.Self {
		return fmt.Errorf("%w: a member is no witness of its own trail", ErrRefused)
	}
	head, err := stream.ReadTreeHead(r.GetCheckpoint(), l.cfg.Self, trail.TreeIntervals)
	if err != nil {
		return err
	}
	if head.Size != resp.GetSize() {
		return fmt.Errorf("%w: it signed %d intervals and says %d", ErrRefused, head.Size, resp.GetSize())
	}
	err = l.isOwn(s, head)
	if err != nil {
		return err
	}
	at, err := stream.OpenCosignature(r.GetCheckpoint(), resp.GetCosignature(), by, l.cfg.VerifyingKeys(by))
	if err != nil {
		return err
	}
	note := slices.Concat(r.GetCheckpoint(), resp.GetCosignature())
	return l.keepWitnessed(ctx, witnessed{by: by, note: note, head: head, at: at})
}

// isOwn says whether this trail once had that head: what a request says comes back to us through others' code.
func (l *Log) isOwn(s *state, head stream.TreeHead) error {
	return l.store.View(func(v *store.View) error {
		root, err := stream.RootAt(s.intervals.nodes(v), head.Size)
		if err != nil {
			return err
		}
		if root != head.Root {
			return fmt.Errorf("%w: the head of %d intervals is not one of this trail", ErrRefused, head.Size)
		}
		return nil
	})
}

func (l *Log) keepWitnessed(ctx context.Context, w witnessed) error {
	return l.update(ctx, func(p *pending) error {
		if w.head.Size < p.witnessed.head.Size {
			return nil
		}
		p.witnessed = w
		return putHeads(p.tx, keyWitnessed, &ententev1.TrailHeads{Witnessed: w.note, Witness: string(w.by)})
	})
}

// Countersign signs the head of another member's trail as its witness: where it continues the one that this node signed
// for that member last. It remembers the new head on disk before the signature leaves. A member that was not seen before
// is believed. Where the request begins from another size than was signed last, the answer is that size and no signature.
// The error is ErrFork for a trail that does not continue what was signed; both heads are kept, see Forks. Other errors
// wrap ErrRefused, or those of stream.OpenTreeHead.
//
// If we crash here, this node remembers a head of which the caller has no signature yet; the caller asks again.
func (l *Log) Countersign(ctx context.Context, of member.ID, r *ententev1.WitnessAuditRequest) (*ententev1.WitnessAuditResponse, error) {
	resp, err := l.countersign(ctx, of, r)
	if err != nil {
		return nil, fmt.Errorf("countersign the audit trail of %s: %w", of, err)
	}
	return resp, nil
}

func (l *Log) countersign(ctx context.Context, of member.ID, r *ententev1.WitnessAuditRequest) (*ententev1.WitnessAuditResponse, error) {
	if of == l.cfg.Self {
		return nil, fmt.Errorf("%w: a member is no witness of its own trail", ErrRefused)
	}
	head, err := stream.OpenTreeHead(r.GetCheckpoint(), of, trail.TreeIntervals, l.cfg.VerifyingKeys(of))
	if err != nil {
		return nil, err
	}
	now := l.cfg.Now()
	line, err := stream.Cosign(r.GetCheckpoint(), l.cfg.Self, l.cfg.SigningKey(), now)
	if err != nil {
		return nil, err
	}
	shown := shown{head: head, note: r.GetCheckpoint(), line: line, at: now}
	var found verdict
	err = l.update(ctx, func(p *pending) error {
		found, err = l.judge(p.tx, of, shown, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	if found.fork != nil {
		return nil, fmt.Errorf("%w: %w", ErrFork, found.fork)
	}
	if !found.signed {
		line = nil
	}
	return &ententev1.WitnessAuditResponse{Cosignature: line, Size: found.size}, nil
}

// shown is a head that a member asks this node to sign, and the signature that it gets if it may.
type shown struct {
	head stream.TreeHead
	note []byte
	line []byte
	at   time.Time
}

// verdict is what became of a request.
type verdict struct {
	signed bool
	size   uint64 // that was signed last, now
	fork   error  // why the two heads cannot be of one trail
}

// judge holds a head against the one that was signed last, in the transaction that replaces it: of two requests at once
// one comes after the other.
func (l *Log) judge(tx *store.Tx, of member.ID, s shown, r *ententev1.WitnessAuditRequest) (verdict, error) {
	held, err := getSigned(&tx.View, of)
	if err != nil {
		return verdict{}, err
	}
	fork := held.contradicts(s.head)
	if fork == nil && (r.GetFrom() != held.head.Size || s.head.Size < held.head.Size) {
		return verdict{size: held.head.Size}, nil
	}
	if fork == nil && held.head.Size > 0 && s.head.Size > held.head.Size {
		fork = stream.VerifyConsistency(held.head.Size, s.head.Size, held.head.Root, s.head.Root, r.GetConsistency())
	}
	if fork != nil {
		return verdict{fork: fork}, keepFork(tx, of, held.note, s, l.cfg.Now())
	}
	return verdict{signed: true, size: s.head.Size}, putSigned(tx, of, s)
}
