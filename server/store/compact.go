package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Compacted says what a compaction did.
type Compacted struct {
	BytesBefore, BytesAfter int64  // size of the file
	Values                  uint64 // that the file holds
}

// maxCatchUps bounds how often a compaction runs after the writers before it has them wait: one that writes faster than
// the disk copies would keep it running for ever.
const maxCatchUps = 20

// Compact writes what the file holds into a new one and puts that in its place, while readers and writers go on. When it
// returns, no sealed value that was replaced or deleted before the call is in the file, and free pages are next to none.
// What is erased while it runs may leave its bytes in a free page of the new file; Erased counts it. progress (may be nil)
// is called often with values copied and values there were at the start; it must not wait for anybody.
//
// Readers do not wait. Writers wait for the last step only: what came while the step before was at work, one sync of that,
// and a rename. They are slower while the disk is busy with the copy, and while the file system frees the old file.
//
// The copy is read again before it takes the place: every value right after it is written; all pages once, while writers go
// on (about a third of a second a million values); and in the last step the sums of all parts against their sealed summaries
// (about a microsecond a part). A file of which a part is not what its summary says is not compacted: *DamageError. Values
// are not opened, so one that was altered in itself comes along as it is: [Store.Verify] finds it.
//
// It needs room for a second file beside the first; Options.MaxBytes is the limit of each. Without it: ErrNoRoom, and an
// Update that fails with ErrFull meanwhile ends the compaction, so that the next one has room. ErrBusy while a Backup, a
// Reseal or another Compact runs, and they get it from this one. ErrClosed where Close is called meanwhile; Close waits
// until the copy is removed. After an error, and when ctx ends, nothing is left and the file goes on as before. One error
// is different, as in Update: a *FatalError, where it cannot be known which of the two files a restart would find.
//
// If we crash here, the data file is the old one or the new one, whole, with all that was acknowledged; at most a leftover
// is beside it, which the next Compact or Open removes.
//
// Windows does not rename open files: errors.ErrUnsupported.
func (s *Store) Compact(ctx context.Context, progress func(done, total uint64)) (Compacted, error) {
	done, err := s.compact(ctx, progress)
	if err != nil {
		return Compacted{}, fmt.Errorf("compact store: %w", err)
	}
	return done, nil
}

func (s *Store) compact(ctx context.Context, progress func(done, total uint64)) (Compacted, error) {
	if runtime.GOOS == "windows" {
		return Compacted{}, errors.ErrUnsupported
	}
	if s.readOnly {
		return Compacted{}, bolterrors.ErrDatabaseReadOnly
	}
	if !s.caring.TryLock() {
		return Compacted{}, ErrBusy
	}
	defer s.caring.Unlock()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // see rescue
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c, err := s.newCompaction(progress)
	if err != nil {
		return Compacted{}, asNoRoom(err)
	}
	before := s.Size()
	former, err := c.run(ctx, stop)
	if former == nil {
		return Compacted{}, errors.Join(asNoRoom(err), c.abandon())
	}
	// Views that began before the swap still read the former file, which has no name any more. They are short.
	err = errors.Join(err, former.Close())
	if err != nil {
		return Compacted{}, err
	}
	if progress != nil {
		progress(c.total, c.total)
	}
	done := Compacted{BytesBefore: before, BytesAfter: s.Size()}
	for _, held := range c.held {
		done.Values += held.count
	}
	return done, nil
}

// compaction is one run of Compact: the store, and the copy that is to take its place.
type compaction struct {
	store    *Store
	path     string // of the data file, without symbolic links: a rename would replace the link
	fresh    *Store // the copy; only its db and file are used before it is finished
	name     string // of the copy
	noted    *notes
	progress func(done, total uint64)

	keys  []place           // to be copied, or deleted in the copy
	parts []string          // to be copied from next on
	next  map[string][]byte // where to go on in a part
	batch []piece
	size  int // bytes of batch

	held        map[string]*summary // what the copy holds
	unsynced    int
	done, total uint64
}

// newCompaction makes the file of the copy. It is opened once and stays open and locked when it becomes the data file: to
// open it again would take a scan of all its pages while writers wait, and leave a moment for another process.
func (s *Store) newCompaction(progress func(done, total uint64)) (*compaction, error) {
	path, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return nil, err
	}
	err = removeLeftovers(filepath.Dir(path), filepath.Base(path)+leftoverMark)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+leftoverMark+"*") // mode 0600
	if err != nil {
		return nil, err
	}
	opts := s.opts
	opts.Path, opts.MaxBytes = file.Name(), 0
	if opts.InitialMmap == 0 {
		opts.InitialMmap = s.Size() + defaultMap
	}
	fresh := newStore(opts, s.seals.Load())
	options := fresh.boltOptions(opts, false)
	// The copy counts for nothing until it has its name, and is brought to disk in steps of its own. It gets the size that
	// it needs.
	options.NoSync, options.NoGrowSync = true, true
	err = file.Close()
	if err == nil {
		fresh.db, err = bolt.Open(file.Name(), 0o600, options)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(file.Name()))
	}
	return &compaction{
		store: s, path: path, fresh: fresh, name: file.Name(), noted: newNotes(), progress: progress,
		next: map[string][]byte{}, held: map[string]*summary{},
	}, nil
}

// run returns the database that is no longer in use once the copy has taken its place, and nil before.
//
// If we crash here before takeOver, the data file is the old one, with a leftover beside it.
func (c *compaction) run(ctx context.Context, stop context.CancelCauseFunc) (former *bolt.DB, err error) {
	// From here on whatever is committed is noted. A value that is not noted is the same in every view, so each batch may
	// have a view of its own, and no view lasts: a long one would keep old pages from being used again, and writers from
	// growing the file.
	err = c.start(stop)
	if err != nil {
		return nil, err
	}
	err = c.store.View(c.plan)
	for _, step := range []func(context.Context) error{c.catchUp, c.verify, c.catchUp} {
		if err == nil {
			err = step(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	return c.takeOver(ctx)
}

func (c *compaction) start(stop context.CancelCauseFunc) error {
	s := c.store
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return ErrClosed
	}
	c.noted.stop = stop
	s.noted = c.noted
	return nil
}

// plan queues all parts.
func (c *compaction) plan(v *View) error {
	return v.eachPart(func(name string, held summary) {
		c.parts = append(c.parts, name)
		c.total += held.count
	})
}

// catchUp copies until little is left.
func (c *compaction) catchUp(ctx context.Context) error {
	for range maxCatchUps {
		err := c.copyQueued(ctx)
		if err != nil {
			return err
		}
		little := c.takeNotes()
		c.store.at("copied")
		if little {
			return nil
		}
	}
	return nil
}

// takeNotes queues what was noted. Whatever was noted is committed or has failed, because it waits for the writer.
func (c *compaction) takeNotes() (little bool) {
	c.store.writing.Lock()
	defer c.store.writing.Unlock()
	return c.queueNotes()
}

func (c *compaction) queueNotes() (little bool) {
	keys, grown, little := c.noted.take()
	c.keys = append(c.keys, keys...)
	c.parts = append(c.parts, grown...)
	return little
}

// verify reads all pages of the copy and compares them with what was written. Its last pages, those of the last step, are
// not among them; they are written as every commit is.
func (c *compaction) verify(ctx context.Context) error {
	err := c.fresh.db.Sync()
	if err != nil {
		return err
	}
	walk := walkPages(&obedientAt{ctx, c.fresh.file}, c.fresh.Size())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	found := walk.found
	for name, held := range c.held {
		got := walk.parts[name]
		if got == nil || *got != *held {
			found.add("%s is not what was copied", name)
		}
	}
	for name := range walk.parts {
		if c.held[name] == nil {
			found.add("%s was not copied", name)
		}
	}
	err = found.orNil()
	if err != nil {
		return fmt.Errorf("check the copy: %w", err)
	}
	c.store.at("verified")
	return nil
}

// takeOver copies the rest while writers wait, and gives the copy the name of the data file.
//
// If we crash here before the rename, the data file is the old one, with a leftover beside it. If we crash after it, the
// data file is the old one or the new one: both are on disk and hold the same, and nothing is committed to the new one
// before its name is on disk.
func (c *compaction) takeOver(ctx context.Context) (former *bolt.DB, err error) {
	s := c.store
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	c.queueNotes()
	err = c.copyQueued(ctx)
	if err != nil {
		return nil, err
	}
	err = c.finish()
	if err != nil {
		return nil, err
	}
	s.at("finished")
	err = c.fresh.file.Sync()
	if err != nil {
		return nil, err
	}
	s.at("synced")
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	err = os.Rename(c.name, c.path)
	if err != nil {
		return nil, err
	}
	s.at("renamed")
	err = syncFolder(filepath.Dir(c.path))
	if err != nil {
		fatal := &FatalError{Err: err} // a power cut could bring the old file back without what is written from now on
		s.fatal.Store(fatal)
		err = fatal
	}
	former = c.swap()
	s.at("swapped")
	return former, err
}

// finish copies what ties the parts together, after it has compared them: summaries and the rest of the meta, and the
// number of the copy's own last transaction in place of the former one.
func (c *compaction) finish() (err error) {
	defer rescue(&err, "finish the copy")
	fresh := c.fresh
	fresh.nonces = c.store.nonces // the writer is held up
	raw, err := fresh.db.Begin(true)
	if err != nil {
		return err
	}
	tx := &Tx{View: *newView(fresh, raw)}
	defer fresh.arena.reset()
	defer tx.end()
	err = c.store.View(func(v *View) error { return c.settle(v, tx) })
	if err != nil {
		return err
	}
	err = tx.writeSummaries()
	if err != nil {
		return err
	}
	return tryCommit(raw)
}

func (c *compaction) settle(v *View, tx *Tx) error {
	err := c.compare(v)
	if err != nil {
		return err
	}
	for name := range c.held {
		_, err = tx.raw.CreateBucketIfNotExists([]byte(name)) // a part without values is there too
		if err != nil {
			return err
		}
	}
	err = tx.copyBucket(v, summariesBucket, commitKey)
	if err != nil {
		return err
	}
	err = tx.copyBucket(v, metaBucket, erasedKey)
	if err != nil || c.noted.erased.values == 0 {
		return err
	}
	return tx.putErasures(c.noted.erased)
}

// compare holds what was copied against what was sealed with the last transaction.
func (c *compaction) compare(v *View) error {
	found := &DamageError{}
	err := v.eachPart(func(name string, want summary) {
		have := c.summaryOf(name)
		if have.count != want.count {
			found.add("%s has %d values, not %d", name, have.count, want.count)
		} else if have.sum != want.sum {
			found.add("%s holds a value that was not last written there", name)
		}
	})
	if err != nil {
		return err
	}
	summaries := v.raw.Bucket([]byte(summariesBucket))
	err = v.raw.ForEach(func(name []byte, _ *bolt.Bucket) error {
		own := string(name) == metaBucket || string(name) == summariesBucket
		if !own && summaries.Get(name) == nil {
			found.add("summary of %s is missing", name) // what has none is not copied
		}
		return nil
	})
	if err != nil {
		return err
	}
	return found.orNil()
}

// copyBucket copies one of our own buckets as it is, without one key.
func (tx *Tx) copyBucket(v *View, name, without string) error {
	to, err := tx.raw.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return err
	}
	to.FillPercent = fill
	return v.raw.Bucket([]byte(name)).ForEach(func(key, value []byte) error {
		if string(key) == without {
			return nil
		}
		return to.Put(key, append(tx.store.arena.take(len(value)), value...))
	})
}

// swap makes the copy the file of the store. Whoever begins to read from here on reads the new file.
func (c *compaction) swap() (former *bolt.DB) {
	s := c.store
	db := c.fresh.db
	db.NoSync, db.NoGrowSync, db.MaxSize = false, false, int(s.opts.MaxBytes) // nobody else has it yet
	s.files.Lock()
	defer s.files.Unlock()
	former, s.db, s.file = s.db, db, c.fresh.file
	s.noted = nil
	s.erased.Store(&c.noted.erased)
	return former
}

// abandon removes the copy.
func (c *compaction) abandon() error {
	c.store.writing.Lock()
	c.store.noted = nil
	c.store.writing.Unlock()
	return errors.Join(c.fresh.db.Close(), os.Remove(c.name))
}

// at tells tests how far a compaction is.
func (s *Store) at(step string) {
	if s.reached != nil {
		s.reached(step)
	}
}

// obedientAt reads until its context ends.
type obedientAt struct {
	ctx  context.Context
	from *os.File
}

// ReadAt reads a piece.
func (r *obedientAt) ReadAt(piece []byte, at int64) (int, error) {
	err := r.ctx.Err()
	if err != nil {
		return 0, err
	}
	return r.from.ReadAt(piece, at)
}
