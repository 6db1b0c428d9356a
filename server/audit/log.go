package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
	"entente.example/entente/server/store"
)

// defaultInterval is how often the trail gets a leaf for its witness.
const defaultInterval = time.Minute

// Config is what a trail is told.
type Config struct {
	// Self is the node's own member.
	Self member.ID
	// Interval is the length of one interval, a minute where zero. At the end of each the trail gets a leaf.
	Interval time.Duration
	// Now is the clock, Rand the source of salts.
	Now  func() time.Time
	Rand io.Reader
	// SigningKey gives the member's signing key as it is now: it signs the own heads and those of others.
	SigningKey func() ed25519.PrivateKey
	// VerifyingKeys gives the signing keys that count for a member now, by the roster; none for a stranger.
	VerifyingKeys func(member.ID) []ed25519.PublicKey
}

// Writer runs do in a transaction of the node's one writer, perhaps more than once, and calls installed after the one that
// is on disk. When it returns nil, that has happened.
type Writer func(ctx context.Context, do func(tx *store.Tx) (installed func(), err error)) error

// Log is the trail. Its methods may be called from many goroutines; what writes needs Bind, except for Append.
type Log struct {
	cfg   Config
	store *store.Store

	mu      sync.RWMutex
	write   Writer
	state   *state
	pending *pending // what the transaction under way adds; nil or stale where there is none
}

// pending is the state as one transaction will leave it. It is dropped where the transaction fails: the next one begins
// with the state that is on disk.
type pending struct {
	tx *store.Tx
	state
}

// Head is how far the trail is, as it is on disk.
type Head struct {
	// Entries is the number of entries, Root the root over them.
	Entries uint64
	Root    stream.Hash
	// Intervals is the number of intervals, IntervalRoot the root over them, ClosedAt the end of the last one.
	Intervals    uint64
	IntervalRoot stream.Hash
	ClosedAt     time.Time
	// Witnessed is the number of intervals that a witness has signed, WitnessedAt when it did, by its clock, and Witness which
	// member that is; empty: none ever did.
	Witnessed   uint64
	WitnessedAt time.Time
	Witness     member.ID
}

// Open reads the heads of the trail from the file; it starts nothing. It fails where the parts of the file contradict each
// other.
func Open(st *store.Store, cfg Config) (*Log, error) {
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Interval < 0 {
		return nil, fmt.Errorf("open audit trail: an interval of %s", cfg.Interval)
	}
	l := &Log{cfg: cfg, store: st}
	err := st.View(func(v *store.View) (err error) {
		l.state, err = readState(v, cfg.Self)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open audit trail: %w", err)
	}
	return l, nil
}

// Bind gives the trail its way to the node's one writer. It is called once, before anything writes.
func (l *Log) Bind(write func(ctx context.Context, do func(tx *store.Tx) (installed func(), err error)) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write = write
}

// Append puts entries at the end of the trail, within a transaction of the one writer, and sets the number of each, and
// the time where there is none. installed is to be called when the transaction is on disk, and not otherwise: only then
// do Head and the readers show it. It may be called several times for one transaction; each installed then shows all.
// Nothing is kept of a transaction that fails. From the first Append of a transaction on, no other transaction that
// writes to the trail is begun before installed was called or the transaction has failed.
//
// If we crash here, the file has the effect and its entries, or neither.
func (l *Log) Append(tx *store.Tx, entries []*ententev1.AuditEntry) (installed func(), err error) {
	p := l.begin(tx)
	for _, e := range entries {
		err = l.appendOne(p, e)
		if err != nil {
			return nil, fmt.Errorf("append to audit trail: %w", err)
		}
	}
	return func() { l.install(p) }, nil
}

func (l *Log) appendOne(p *pending, e *ententev1.AuditEntry) error {
	e.Number = p.entries.size() + 1
	if e.GetAt() == nil {
		e.At = timestamppb.New(l.cfg.Now())
	}
	encoded, err := deterministic().Marshal(e)
	if err != nil {
		return fmt.Errorf("encode entry %d: %w", e.GetNumber(), err)
	}
	if len(encoded) > trail.MaxEntry {
		return fmt.Errorf("entry %d has %d bytes, at most %d are allowed", e.GetNumber(), len(encoded), trail.MaxEntry)
	}
	return p.entries.append(p.tx, encoded, stream.LeafHash(encoded))
}

// begin gives what the transaction has added so far. Keeping the transaction keeps its address from being used again, so a
// transaction that failed is never taken for the next one.
func (l *Log) begin(tx *store.Tx) *pending {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil || l.pending.tx != tx {
		l.pending = &pending{tx: tx, state: *l.state}
	}
	return l.pending
}

// install shows what a transaction has put on disk.
func (l *Log) install(p *pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending != p {
		return // shown already, by an earlier call of the same transaction
	}
	l.state, l.pending = &p.state, nil
}

// update runs do in a transaction that may change the trail.
func (l *Log) update(ctx context.Context, do func(p *pending) error) error {
	l.mu.RLock()
	write := l.write
	l.mu.RUnlock()
	if write == nil {
		return errors.New("the trail has no writer yet")
	}
	return write(ctx, func(tx *store.Tx) (func(), error) {
		p := l.begin(tx)
		err := do(p)
		if err != nil {
			return nil, err
		}
		return func() { l.install(p) }, nil
	})
}

// Record puts entries at the end of the trail, together with whatever else is waiting for the disk. When it returns nil
// they are on disk, and their numbers and times are set. Otherwise they may be there or not, and the caller must not
// answer what they are about.
func (l *Log) Record(ctx context.Context, entries ...*ententev1.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	// When ctx ends first, the writer may still be at it while the caller goes on with its own.
	own := make([]*ententev1.AuditEntry, len(entries))
	for i, e := range entries {
		own[i] = proto.CloneOf(e)
	}
	err := l.update(ctx, func(p *pending) error {
		for _, e := range own {
			err := l.appendOne(p, e)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record in audit trail: %w", err)
	}
	for i, e := range own {
		entries[i].Number, entries[i].At = e.GetNumber(), e.GetAt()
	}
	return nil
}

// Head is how far the trail is.
func (l *Log) Head() Head {
	s := l.current()
	return Head{
		Entries: s.entries.size(), Root: s.entries.root(),
		Intervals: s.intervals.size(), IntervalRoot: s.intervals.root(), ClosedAt: s.last.End,
		Witnessed: s.witnessed.head.Size, WitnessedAt: s.witnessed.at, Witness: s.witnessed.by,
	}
}

// current is the state that is on disk. It is not changed any more.
func (l *Log) current() *state {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.state
}
