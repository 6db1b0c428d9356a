package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

var (
	// ErrAbsent is the answer for what is not there, and for what a caller may not know to be there.
	ErrAbsent = errors.New("not found")
	// ErrStopped means that the node is stopping and took nothing.
	ErrStopped = errors.New("the node is stopping")
	// ErrRefused means that a document or an entry of somebody else is not sound; the text says what is wrong with it.
	ErrRefused = errors.New("refused")

	// ErrNotYet means that a stream waits for its readers after an unclean stop: ask again in some seconds.
	ErrNotYet = errors.New("the stream waits for its readers after an unclean stop")

	errErased = errors.New("erased")
)

// Config is what a ledger is told.
type Config struct {
	// Self is the node's own member.
	Self member.ID
	// IDKey is the member's key for record ids, at least 16 bytes. Another key gives other ids.
	IDKey []byte
	// SigningKey signs checkpoints, digests, grants and receipts, until Rotate.
	SigningKey ed25519.PrivateKey
	// GrantDelay is how long after a member's admission streams for present and future members open to it.
	GrantDelay time.Duration
	// Directory gives the roster and projects in force.
	Directory func() *Directory
	// CheckRecord finds what is wrong with a record as pushed, beyond the field rules of the contract.
	CheckRecord func(*ententev1.Record) []*ententev1.FieldViolation
	// CheckRelease finds what a record lacks for leaving the node.
	CheckRelease func(*ententev1.Record) []*ententev1.FieldViolation
	// What follows is policy, too, and optional: without it nothing is treated, needs a second person and can be decided on, is
	// made from others' records, or may be renewed.

	// CheckOrigin finds what a record lacks because of the authority that pushes it.
	CheckOrigin func(authority string, r *ententev1.Record) []*ententev1.FieldViolation
	// Treat gives the record as a treatment leaves it; the record itself is not changed. It is asked of treatments that
	// CheckAudience has let through.
	Treat func(*ententev1.Record, *ententev1.Treatment) *ententev1.Record
	// CheckAudience finds what keeps a record from this one audience: a treatment that cannot be, a special category for all.
	CheckAudience func(*ententev1.Record, *ententev1.Audience) []*ententev1.FieldViolation
	// Compatible says whether a record processed for one purpose may be used for another: that of a project.
	Compatible func(record, access ententev1.Purpose) bool
	// Sensitive says what of a record needs a second person before it leaves: a bit for each ground, 0 for none. An approval
	// counts for the grounds that there were.
	Sensitive func(*ententev1.Record) uint8
	// SecondPerson says whether an officer may decide on what proposer asked for; proposer is empty where that was a system.
	SecondPerson func(officer, proposer string) bool
	// CheckDerived finds what of the sources' conditions a record lacks that was made from them; released forms, as received.
	CheckDerived func(record *ententev1.Record, sources [][]byte) []*ententev1.FieldViolation
	// Renewable says whether retention may be extended, now, until a time.
	Renewable func(now, until time.Time) bool
	// Expiry gives the times by which records expire: what is to be hidden, and, where not zero, what may be erased. Optional:
	// the clock is both.
	Expiry func() (hide, erase time.Time)
	// Trail takes the audit entries of what the ledger does, in the transaction of their effect.
	Trail Trail
	// DeliverWithin is how long a reader may take to sign for an entry before it is overdue; 24 h where zero.
	DeliverWithin time.Duration

	// Now is the clock, Rand the source of salts and stream ids.
	Now  func() time.Time
	Rand io.Reader
	// Logger gets what happens, with ids and without personal data.
	Logger *slog.Logger
	// Marker is what the marker file of a clean stop held, if there was one.
	Marker      [32]byte
	MarkerFound bool
	// ConfirmWithin is how long the node waits, after an unclean stop, for its readers to say that they know no later
	// head; 10 s where zero.
	ConfirmWithin time.Duration
}

// maxBatch bounds how many items go into one transaction: enough that the cost of a sync is spread, few enough that
// the next ones are worked out meanwhile.
const maxBatch = 1000

// Ledger is the node's own knowledge. All methods may be called from many goroutines; what changes something needs Run.
type Ledger struct {
	cfg      Config
	store    *store.Store
	ids      *idMaker
	requests chan *request
	stopped  chan struct{} // closed when Run has ended

	mu         sync.RWMutex // covers state, changed, signing and passed
	committing sync.Mutex   // held from the begin of a commit until the state tells of it
	state      *state
	changed    chan struct{} // closed and replaced at each commit that changed something
	signing    ed25519.PrivateKey
	passed     map[string]bool // projects whose date has passed, and by which everything was planned since

	gaveUp    bool      // the wait for readers and lost tails is over; the committer's alone
	confirmBy time.Time // when the wait for readers ends; zero when there is nothing to wait for
}

// request is one caller's change. do runs in the committer, possibly more than once (a failed transaction is taken apart
// and tried one by one), so it must set its results anew each time. An error of do fails the transaction.
type request struct {
	weight   int
	do       func(b *batch) error
	done     chan error
	reserved bool // goes on when the file is full for everything else
}

type reservedKey struct{}

// reserved is a context for changes that must go on when the file is full for everything else: what is taken back and erased,
// what is looked at, what is confirmed. They use what store.UpdateReserved may.
func reserved(ctx context.Context) context.Context {
	return context.WithValue(ctx, reservedKey{}, true)
}

// Open reads the store from the beginning and gives the ledger; nothing runs yet.
func Open(st *store.Store, cfg Config) (*Ledger, error) {
	if len(cfg.IDKey) < 16 {
		return nil, fmt.Errorf("open ledger: the id key has %d bytes, at least 16 are needed", len(cfg.IDKey))
	}
	if cfg.ConfirmWithin == 0 {
		cfg.ConfirmWithin = 10 * time.Second
	}
	if cfg.DeliverWithin == 0 {
		cfg.DeliverWithin = 24 * time.Hour
	}
	if cfg.Expiry == nil {
		cfg.Expiry = func() (hide, erase time.Time) { now := cfg.Now(); return now, now }
	}
	l := &Ledger{cfg: cfg, store: st, ids: newIDMaker(cfg.IDKey), requests: make(chan *request, 256), stopped: make(chan struct{}), changed: make(chan struct{}), signing: cfg.SigningKey, passed: map[string]bool{}}
	rebuilt, err := rebuild(st, cfg.Self)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.state = rebuilt
	err = l.findWaiting()
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if !cfg.MarkerFound || cfg.Marker != l.HeadsDigest() {
		l.distrust()
	}
	return l, nil
}

// Run commits what callers ask for until ctx ends; what it has taken by then is finished. It returns an error only where
// the disk leaves no other way than to stop the process.
func (l *Ledger) Run(ctx context.Context) error {
	defer close(l.stopped)
	var confirm <-chan time.Time
	if !l.confirmBy.IsZero() {
		timer := time.NewTimer(l.confirmBy.Sub(l.cfg.Now()))
		defer timer.Stop()
		confirm = timer.C
	}
	for {
		select {
		case r := <-l.requests:
			err := l.commit(l.gather(r))
			if err != nil {
				return err
			}
		case <-confirm:
			confirm = nil
			err := l.commit([]*request{{do: l.giveUpConfirmation, done: make(chan error, 1)}})
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return l.drain()
		}
	}
}

// drain finishes what was taken before the end.
func (l *Ledger) drain() error {
	for {
		select {
		case r := <-l.requests:
			err := l.commit(l.gather(r))
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// gather takes what else is waiting: the group of one commit is what came while the last one was on its way to the disk.
func (l *Ledger) gather(one *request) []*request {
	group := []*request{one}
	weight := one.weight
	for weight < maxBatch {
		select {
		case r := <-l.requests:
			group = append(group, r)
			weight += r.weight
		default:
			return group
		}
	}
	return group
}

// commit runs a group in one transaction and answers each. If we crash before the store's Update returns, none of it was
// acknowledged and none of it is there; if we crash after, all of it is there and the callers find out by asking again.
func (l *Ledger) commit(group []*request) error {
	err := l.try(group, l.store.Update)
	if errors.Is(err, store.ErrFull) {
		// What must go on goes by itself; the others are told that the disk is full.
		must, others := split(group)
		answer(others, err)
		if len(must) == 0 {
			return nil
		}
		group = must
		err = l.try(group, l.store.UpdateReserved)
	}
	var fatal *store.FatalError
	switch {
	case err == nil:
	case errors.As(err, &fatal):
		answer(group, err)
		return fmt.Errorf("commit: %w", err)
	case len(group) > 1 && !errors.Is(err, store.ErrFull):
		// One request is at fault: the others must not suffer for it.
		for _, r := range group {
			err = l.commit([]*request{r})
			if err != nil {
				return err
			}
		}
		return nil
	}
	answer(group, err)
	return nil
}

// split parts a group into what goes on when the file is full, and the rest.
func split(group []*request) (must, others []*request) {
	for _, r := range group {
		if r.reserved {
			must = append(must, r)
		} else {
			others = append(others, r)
		}
	}
	return must, others
}

func answer(group []*request, err error) {
	for _, r := range group {
		r.done <- err
	}
}

func (l *Ledger) try(group []*request, update func(func(*store.Tx) error) error) error {
	l.committing.Lock()
	defer l.committing.Unlock()
	var b *batch
	err := update(func(tx *store.Tx) error {
		b = l.newBatch(tx)
		for _, r := range group {
			err := r.do(b)
			if err != nil {
				return err
			}
		}
		return b.finish()
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b.install()
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

// Settle waits until the state says all that has been read from the store so far: what is being committed may be read from
// the store a moment before streams, heads and digests tell of it.
func (l *Ledger) Settle() {
	l.committing.Lock()
	defer l.committing.Unlock()
}

// submit hands a change to the committer and waits until it is on disk. When ctx ends first, the change may still happen.
func (l *Ledger) submit(ctx context.Context, weight int, do func(b *batch) error) error {
	r, err := l.enqueue(ctx, weight, do)
	if err != nil {
		return err
	}
	return l.await(ctx, r)
}

// submitEach hands a change of n things to the committer, some at a time, so that intake goes on between. When it fails, or ctx
// ends, a part may be done; who asks again is told of that part that nothing changes.
func (l *Ledger) submitEach(ctx context.Context, n int, do func(b *batch, i int) error) error {
	for from := 0; from < n; from += maxBatch {
		to := min(from+maxBatch, n)
		err := l.submit(ctx, to-from, func(b *batch) error {
			for i := from; i < to; i++ {
				err := do(b, i)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) enqueue(ctx context.Context, weight int, do func(b *batch) error) (*request, error) {
	isReserved, _ := ctx.Value(reservedKey{}).(bool)
	r := &request{weight: weight, do: do, done: make(chan error, 1), reserved: isReserved}
	select {
	case l.requests <- r:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.stopped:
		return nil, ErrStopped
	}
}

func (l *Ledger) await(ctx context.Context, r *request) error {
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stopped:
		// Run has ended; it answered before it did, or never took the request.
		select {
		case err := <-r.done:
			return err
		default:
			return ErrStopped
		}
	}
}

// Changed gives a channel that is closed at the next change of anything in the ledger. Take it before reading, read, then
// wait: so no change is missed.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}

// DirectoryChanged plans all releases again after the roster or a project has changed. Where the roster says that the own
// member has left the federation, it erases what others have released to it.
func (l *Ledger) DirectoryChanged(ctx context.Context) error {
	own, _ := l.cfg.Directory().Roster.Member(l.cfg.Self)
	if own.Left {
		err := l.eraseReceived(ctx)
		if err != nil {
			return err
		}
	}
	_, err := l.openArrivals(ctx)
	if err != nil {
		return err
	}
	err = l.closeLeft(ctx)
	if err != nil {
		return err
	}
	return l.planAll(ctx)
}

// closeLeft closes streams that are granted to somebody who has left.
func (l *Ledger) closeLeft(ctx context.Context) error {
	l.mu.RLock()
	left := slices.ContainsFunc(l.state.streams, l.reading(nil).hasLeft)
	l.mu.RUnlock()
	if !left {
		return nil
	}
	return l.submit(ctx, 1, func(b *batch) error { return b.closeLeft() })
}

// planAll plans all records again that stand somewhere or are wanted.
func (l *Ledger) planAll(ctx context.Context) error {
	l.mu.RLock()
	var concerned []RecordID
	for id, r := range l.state.records {
		if r.intents != nil || r.pos != 0 && len(r.places) > 0 {
			concerned = append(concerned, id)
		}
	}
	l.mu.RUnlock()
	err := l.submitPlans(ctx, concerned)
	if err != nil || len(concerned) > 0 {
		return err
	}
	// Nothing to plan; but who follows must look again at what it may see.
	return l.submit(ctx, 1, func(*batch) error { return nil })
}

// submitPlans plans records again, some at a time, so that intake goes on between.
func (l *Ledger) submitPlans(ctx context.Context, ids []RecordID) error {
	for len(ids) > 0 {
		some := ids[:min(len(ids), maxBatch)]
		ids = ids[len(some):]
		err := l.submit(ctx, len(some), func(b *batch) error {
			for _, id := range some {
				err := b.replan(id)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// findWaiting marks, after a start, the records of which something is still to be put into streams or taken out: those
// that wait for a record that they name, and those that were taken while the streams could not be written.
func (l *Ledger) findWaiting() error {
	return l.store.View(func(v *store.View) error {
		b := l.reading(v)
		l.markWaiting(b.world())
		return b.failed
	})
}

func (l *Ledger) markWaiting(w world) {
	for id, r := range l.state.records {
		if r.pos == 0 && !r.withdrawn {
			continue // known only by a recovered stream, until its national system pushes it again
		}
		p := planRecord(w, r)
		if p.pending {
			r.pending = true
			l.state.pending[id] = struct{}{}
		}
		if p.waiting || len(p.release) > 0 || len(p.withdraw) > 0 {
			r.waiting = true
			l.state.waiting[id] = struct{}{}
		}
	}
}
