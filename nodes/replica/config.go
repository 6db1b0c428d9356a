package replica

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// Held is what the node holds of others' streams. *ledger.Ledger is one.
type Held interface {
	Held(owner member.ID) []*ententev1.StreamPosition
	StreamsShared(owner, reader member.ID) []ledger.StreamInfo
	Digest(owner, reader member.ID) stream.Hash
	Reader(owner member.ID, id stream.ID) (*stream.Reader, error)
	Covered(owner member.ID) func(in stream.ID, sequence uint64) bool
}

// Applier takes what was verified. When a method returns nil, it is on disk.
type Applier interface {
	ApplyWithdrawals(ctx context.Context, owner member.ID, in stream.ID, list []stream.Withdrawal, checkpoint []byte) error
	ApplyEntries(ctx context.Context, owner member.ID, id stream.ID, entries []stream.Verified, edge stream.Edge, checkpoint []byte) error
	Freeze(ctx context.Context, owner member.ID, id stream.ID, evidence [][]byte) error
	Fresh(owner member.ID, withdrawalsApplied bool)
}

// Trees proves what is held: heads that others hold are compared by it.
type Trees interface {
	Consistency(no uint32, from, to uint64) ([][]byte, error)
}

// Renewals keeps the heads of an owner that has rotated its signing key, signed with the new one.
type Renewals interface {
	OldNotes(owner member.ID) bool
	ApplyCheckpoint(ctx context.Context, owner member.ID, id stream.ID, c stream.Checkpoint, note []byte) error
}

// Receipts are what this node owes to owners, and what readers owe to it.
type Receipts interface {
	PendingReceipts(owner member.ID) ([]*ententev1.SignedDocument, error)
	ReceiptsSent(ctx context.Context, docs []*ententev1.SignedDocument) error
	AcceptReceipt(ctx context.Context, doc *ententev1.SignedDocument, from member.ID) error
}

// Own is the node's own streams after an unclean stop.
type Own interface {
	Unconfirmed() []member.ID
	Confirm(ctx context.Context, reader member.ID, heads []*ententev1.StreamHead) error
}

// Tails is how lost ends of this node's own streams come back, or are given up.
type Tails interface {
	LostTails() []ledger.LostTail
	TailReader(tail ledger.LostTail) *stream.Reader
	RecoverTail(ctx context.Context, id stream.ID, entries []stream.Verified, checkpoint []byte) error
	WithdrawTail(ctx context.Context, tail ledger.LostTail) error
}

// Ledger is all that a replica needs of the node's ledger.
type Ledger interface {
	Held
	Applier
	Trees
	Renewals
	Receipts
	Own
	Tails
}

// Conn is a connection to a peer.
type Conn interface {
	grpc.ClientConnInterface
	io.Closer
}

// Config is what a replica is told. All is required unless a default is given.
type Config struct {
	// Self is the node's own member.
	Self member.ID
	// Ledger is what the node holds; it is running while the replica runs.
	Ledger Ledger
	// Directory gives the roster in force: who the peers are, at which addresses, with which keys.
	Directory func() *ledger.Directory
	// Dial makes a connection to the node of a member at one of its addresses. See Dialer.
	Dial func(id member.ID, address string) (Conn, error)
	// Now is the clock. It bounds how far ahead a peer's may be; waiting goes by timers.
	Now func() time.Time
	// Rand spreads the retries of many nodes. It is read by several goroutines at once.
	Rand io.Reader
	// Heard is told each time that a peer's owner has signed for this node, also one that is refused because it is too far
	// ahead: the clock of expiry goes by what members say. Optional.
	Heard func(owner member.ID, at time.Time)
	// Logger gets what happens with each peer, with ids and without personal data.
	Logger *slog.Logger
	// Backoff is how long to wait after failures; DefaultBackoff where zero.
	Backoff Backoff
	// Silence is after how long without a message an open call counts as dead; 2 minutes where zero. Peers send a signed
	// digest every 30 s.
	Silence time.Duration
	// RelayEvery is how long to wait, while an owner cannot be reached and a relay has brought all that it had, before
	// another one is asked; 30 s where zero. Up to half of it is left to chance, as of the two that follow.
	RelayEvery time.Duration
	// CompareEvery is how often another reader of an owner's streams is asked what it has been shown; 10 minutes where zero.
	CompareEvery time.Duration
	// RelayRest is how long a relay that did wrong, or that does not relay, is not asked again; 10 minutes where zero.
	RelayRest time.Duration
}

const (
	defaultSilence      = 2 * time.Minute
	defaultRelayEvery   = 30 * time.Second
	defaultCompareEvery = 10 * time.Minute
	defaultRelayRest    = 10 * time.Minute
	// unaryDeadline bounds the calls other than Pull; servers allow no more.
	unaryDeadline = 30 * time.Second
	// rosterEvery is how often the roster is looked at for peers that came or went.
	rosterEvery = 5 * time.Second
	// receiptsWithin is how long receipts wait for more of them.
	receiptsWithin = time.Second
	// maxAhead is how far ahead of ours a peer's clock may be (a roster dated more is refused too).
	maxAhead = 5 * time.Minute
)

func (c *Config) check() error {
	switch {
	case c.Self == "":
		return errors.New("replica configuration: Self is missing")
	case c.Ledger == nil:
		return errors.New("replica configuration: Ledger is missing")
	case c.Directory == nil:
		return errors.New("replica configuration: Directory is missing")
	case c.Dial == nil:
		return errors.New("replica configuration: Dial is missing")
	case c.Now == nil || c.Rand == nil:
		return errors.New("replica configuration: Now or Rand is missing")
	case c.Logger == nil:
		return errors.New("replica configuration: Logger is missing")
	}
	if c.Backoff == (Backoff{}) {
		c.Backoff = DefaultBackoff()
	}
	if c.Silence == 0 {
		c.Silence = defaultSilence
	}
	if c.RelayEvery == 0 {
		c.RelayEvery = defaultRelayEvery
	}
	if c.CompareEvery == 0 {
		c.CompareEvery = defaultCompareEvery
	}
	if c.RelayRest == 0 {
		c.RelayRest = defaultRelayRest
	}
	return c.Backoff.check()
}
