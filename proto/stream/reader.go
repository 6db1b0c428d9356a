package stream

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Reader verifies what a puller receives of one stream, before anything is stored. It is pure: it knows how far the
// reader is and the newest checkpoint that it accepted, and does nothing but judge. After an error it is as it was before.
// Not for concurrent use.
//
// If we crash between an answer and the storing of it, nothing is lost: the next Reader begins with the stored edge,
// and the source sends the same again.
type Reader struct {
	owner, self member.ID
	id          ID
	edge        Edge
	closed      bool
	granted     bool       // the owner's grant for self has been shown
	newest      signedHead // the newest accepted checkpoint; no note: none yet
	promised    signedHead // the oldest accepted one that the entries have not reached; no note: none
}

type signedHead struct {
	Checkpoint
	note []byte
}

func (h signedHead) given() bool {
	return h.note != nil
}

// NewReader returns a Reader of the stream id of owner, for the member self. Edge is what self holds: the zero Edge
// for nothing. Who holds something also calls Resume.
func NewReader(owner member.ID, id ID, self member.ID, edge Edge) *Reader {
	return &Reader{owner: owner, id: id, self: self, edge: edge}
}

// Resume tells a new Reader what else the caller stored with the edge: whether a CLOSING is held, and the newest
// accepted checkpoint with its note, nil if there is none. The note is taken as it is: it was verified when it came,
// perhaps by a key that counts no more. The error says that checkpoint and edge do not belong together.
func (r *Reader) Resume(closed bool, newest Checkpoint, signed []byte) error {
	if signed != nil {
		if newest.Stream != r.id || newest.Owner != r.owner {
			return fmt.Errorf("resume stream %s of %s: the checkpoint is of stream %s of %s", r.id, r.owner, newest.Stream, newest.Owner)
		}
		if newest.Size < r.edge.Size() {
			return fmt.Errorf("resume stream %s at size %d: the checkpoint has size %d", r.id, r.edge.Size(), newest.Size)
		}
		if newest.Size == r.edge.Size() && newest.Root != r.edge.Root() {
			return fmt.Errorf("resume stream %s at size %d: the checkpoint has another root", r.id, r.edge.Size())
		}
		r.accept(signedHead{Checkpoint: newest, note: signed})
	}
	r.closed = closed
	return nil
}

// Edge returns the edge of what is held: the one given, and the entries accepted since.
func (r *Reader) Edge() Edge {
	return r.edge
}

// Closed says whether a CLOSING is held: the stream takes withdrawals only.
func (r *Reader) Closed() bool {
	return r.closed
}

// Newest returns the newest accepted checkpoint and its note, for Resume; false where none was accepted yet.
func (r *Reader) Newest() (Checkpoint, []byte, bool) {
	return r.newest.Checkpoint, r.newest.note, r.newest.given()
}

// Checkpoint accepts a newer checkpoint: signed by one of keys, for this stream, and proven to continue what is held.
// One for the size already known must have the root already known; it counts as fresh. The errors are *SenderError,
// *ForkError, or wrap ErrOlder.
func (r *Reader) Checkpoint(u *ententev1.CheckpointUpdate, keys []ed25519.PublicKey) (Checkpoint, error) {
	err := r.checkStream(u.GetStreamId())
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := OpenCheckpoint(u.GetCheckpoint(), r.owner, r.id, keys)
	if err != nil {
		return Checkpoint{}, r.fault(0, RuleCheckpoint, err)
	}
	head := signedHead{Checkpoint: c, note: append([]byte(nil), u.GetCheckpoint()...)}
	err = r.checkFork(head)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Size < r.edge.Size() || r.newest.given() && c.Size < r.newest.Size {
		return Checkpoint{}, fmt.Errorf("stream %s: size %d: %w", r.id, c.Size, ErrOlder)
	}
	err = VerifyConsistency(r.edge.Size(), c.Size, r.edge.Root(), c.Root, u.GetConsistency())
	if err != nil {
		return Checkpoint{}, r.fault(0, RuleConsistency, err)
	}
	r.accept(head)
	return c, nil
}

// checkFork holds a soundly signed head against everything known of the same size.
func (r *Reader) checkFork(head signedHead) error {
	for _, known := range []signedHead{r.newest, r.promised} {
		if known.given() && known.Size == head.Size && known.Root != head.Root {
			return r.fork(known, head)
		}
	}
	if head.Size != r.edge.Size() || head.Root == r.edge.Root() {
		return nil
	}
	known := r.newest // what is held is proven to be a part of it
	if !known.given() {
		known.Checkpoint = Checkpoint{Owner: r.owner, Stream: r.id, Size: r.edge.Size(), Root: r.edge.Root()}
	}
	return r.fork(known, head)
}

// accept notes a head that is verified, and not smaller than the newest.
func (r *Reader) accept(head signedHead) {
	if r.newest.given() && head.Size == r.newest.Size && !head.Time.After(r.newest.Time) {
		return // the same again, or signed earlier
	}
	r.newest = head
	if !r.promised.given() && head.Size > r.edge.Size() {
		r.promised = head
	}
}

// Withdrawals verifies withdrawals that come ahead of the entries before them: each stands in the stream at the newest
// accepted checkpoint. They may be applied at once, and once more when their entry comes. Errors are *SenderError.
func (r *Reader) Withdrawals(b *ententev1.WithdrawalBatch) ([]Withdrawal, error) {
	err := r.checkStream(b.GetStreamId())
	if err != nil {
		return nil, err
	}
	if !r.newest.given() {
		return nil, r.fault(0, RuleOrder, nil)
	}
	withdrawals := make([]Withdrawal, 0, len(b.GetWithdrawals()))
	for _, proven := range b.GetWithdrawals() {
		withdrawal, err := r.withdrawal(proven)
		if err != nil {
			return nil, err
		}
		withdrawals = append(withdrawals, withdrawal)
	}
	return withdrawals, nil
}

func (r *Reader) withdrawal(proven *ententev1.ProvenHeader) (Withdrawal, error) {
	header, err := ParseHeader(proven.GetHeader())
	if err != nil {
		return Withdrawal{}, r.fault(0, RuleHeader, err)
	}
	withdrawal, is := header.Withdrawal(r.id)
	if !is {
		return Withdrawal{}, r.fault(header.Sequence, RuleWithdrawal, fmt.Errorf("entry type %d", header.Type))
	}
	err = r.checkTarget(withdrawal)
	if err != nil {
		return Withdrawal{}, err
	}
	if header.Sequence > r.newest.Size {
		return Withdrawal{}, r.fault(header.Sequence, RuleBeyond, fmt.Errorf("it has size %d", r.newest.Size))
	}
	err = VerifyInclusion(header.Sequence-1, r.newest.Size, LeafHash(proven.GetHeader()), r.newest.Root, proven.GetInclusion())
	if err != nil {
		return Withdrawal{}, r.fault(header.Sequence, RuleInclusion, err)
	}
	return withdrawal, nil
}

// checkTarget: a withdrawal takes back what was written before it.
func (r *Reader) checkTarget(w Withdrawal) error {
	if w.Sequence == 1 {
		return r.fault(w.Sequence, RuleOpening, errors.New("entry 1 is a withdrawal"))
	}
	if w.Target == r.id && w.TargetSequence >= w.Sequence {
		return r.fault(w.Sequence, RuleWithdrawal, fmt.Errorf("it names entry %d, which is not before it", w.TargetSequence))
	}
	return nil
}

func (r *Reader) checkStream(id []byte) error {
	if string(id) != string(r.id[:]) {
		return r.fault(0, RuleStream, nil)
	}
	return nil
}

func (r *Reader) fault(sequence uint64, rule Rule, err error) error {
	return &SenderError{Stream: r.id, Sequence: sequence, Rule: rule, Err: err}
}

func (r *Reader) fork(held, head signedHead) error {
	return &ForkError{Stream: r.id, Held: held.Checkpoint, New: head.Checkpoint, HeldNote: held.note, NewNote: head.note}
}
