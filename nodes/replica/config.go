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

// Receipts are what this node owes to owners.
type Receipts interface {
	PendingReceipts(owner member.ID) ([]*ententev1.SignedDocument, error)
	ReceiptsSent(ctx context.Context, docs []*ententev1.SignedDocument) error
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
	// Logger gets what happens with each peer, with ids and without personal data.
	Logger *slog.Logger
	// Backoff is how long to wait after failures; DefaultBackoff where zero.
	Backoff Backoff
	// Silence is after how long without a message an open call counts as dead; 2 minutes where zero. Peers send a signed
	// digest every 30 s.
	Silence time.Duration
}

const (
	defaultSilence = 2 * time.Minute
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
	return c.Backoff.check()
}
