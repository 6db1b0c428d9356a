package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// Schema is the version of the file's layout. A file with a higher one is refused, one with a lower one is brought
	// forward when it is opened for writing. Schema 2 has the parts of schema 1; what else it means is the ledger's.
	Schema = 2

	// MaxView is how long a View may last. Longer ones are counted by SlowViews.
	MaxView = 50 * time.Millisecond

	// MinMaxBytes is the least limit: bbolt grows a file by 16 MiB at a time.
	MinMaxBytes = 32 << 20

	defaultMap     = 1 << 30
	defaultTimeout = time.Second
	noncesAtOnce   = 256
)

// Options says how to open or create a file. The zero value of an optional field means its default.
type Options struct {
	Path        string
	Keys        Keyring
	Now         func() time.Time // optional: without it SlowViews stays 0
	Rand        io.Reader        // for nonces, hence unpredictable and never repeating; needed unless ReadOnly
	MaxBytes    int64            // limit of the file's size; 0 for none, else at least MinMaxBytes; hit up to 16 MiB early
	InitialMmap int64            // address space mapped from the start, default 1 GiB beyond the file; growing past it waits for all views and backups
	OpenTimeout time.Duration    // how long to wait for another process to let go, default 1 s
	ReadOnly    bool             // refuse Update; several processes may read, none may write
}

func (o Options) check() error {
	if o.Rand == nil && !o.ReadOnly {
		return errors.New("no source of randomness given")
	}
	if o.MaxBytes != 0 && o.MaxBytes < MinMaxBytes {
		return fmt.Errorf("limit of %d bytes is below the least, %d", o.MaxBytes, MinMaxBytes)
	}
	return nil
}

// Store is an open file. Its methods may be called from several goroutines at once.
type Store struct {
	path     string
	opts     Options      // as given, without the keys
	files    sync.RWMutex // held for reading where a reader begins; guards the next two, which the writer may read as well
	db       *bolt.DB
	file     *os.File // the one that bbolt has locked; closed by bbolt
	readOnly bool
	now      func() time.Time
	seals    atomic.Pointer[sealer] // replaced only by the writer
	meta                            // as Open left it, never written afterwards
	before   uint32                 // the schema that Open brought forward, 0 if it did not
	kept     string                 // where it keeps that file

	writing sync.Mutex // held by the one writer; guards the next four
	closed  bool
	nonces  *bufio.Reader
	arena   arena
	noted   *notes // what changes while Compact runs, else nil

	caring    sync.RWMutex // held by Compact, and for reading by Backup and Reseal
	resealing sync.Mutex   // held by Reseal
	erased    atomic.Pointer[erasures]
	reached   func(step string) // tests look in here while Compact runs
	fatal     atomic.Pointer[FatalError]
	slowViews atomic.Uint64
}

// Open opens a file that Create made, and checks it from end to end except for the values themselves: see the
// package comment. A file with an earlier schema is brought forward, unless it is opened for reading only: see
// [Store.Migrated]. Errors: ErrMissing, ErrNotAStore, ErrLocked (at the latest after OpenTimeout), ErrNewerSchema,
// ErrWrongKey, ErrKept, *DamageError.
func Open(opts Options) (*Store, error) {
	s, err := open(opts)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", opts.Path, err)
	}
	return s, nil
}

func open(opts Options) (*Store, error) {
	err := opts.check()
	if err != nil {
		return nil, err
	}
	seals, err := newSealer(opts.Keys)
	if err != nil {
		return nil, err
	}
	return openWith(opts, seals)
}

func openWith(opts Options, seals *sealer) (*Store, error) {
	// bbolt crashes on damaged pages when it opens for writing, so the file is inspected under the lock of a
	// reader first. Should another process write between the two, it will have kept to the same rules.
	inspected := newStore(opts, seals)
	err := inspected.openFile(opts, true)
	if err != nil {
		return nil, err
	}
	inspected.meta, err = inspected.inspect()
	inspected.erased.Store(&inspected.meta.erasures)
	if err == nil && opts.ReadOnly {
		return inspected, nil
	}
	err = errors.Join(err, inspected.db.Close())
	if err != nil {
		return nil, err
	}
	s := newStore(opts, seals)
	err = s.openFile(opts, false)
	if err != nil {
		return nil, err
	}
	s.meta = inspected.meta
	s.erased.Store(&s.meta.erasures)
	err = s.clearFolder()
	if err == nil && s.schema < Schema {
		err = s.migrate()
	}
	if err == nil && s.outdated {
		err = s.sealMeta()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newStore(opts Options, seals *sealer) *Store {
	s := &Store{path: opts.Path, opts: opts, now: opts.Now}
	s.opts.Keys = Keyring{}
	s.seals.Store(seals)
	if opts.Rand != nil {
		s.nonces = bufio.NewReaderSize(opts.Rand, noncesAtOnce*nonceSize)
	}
	return s
}

func (s *Store) openFile(opts Options, readOnly bool) error {
	info, err := os.Stat(opts.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrMissing
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return ErrNotAStore // bbolt would make an empty file into one of its own
	}
	if opts.InitialMmap == 0 {
		opts.InitialMmap = info.Size() + defaultMap
	}
	s.db, err = bolt.Open(opts.Path, 0o600, s.boltOptions(opts, readOnly))
	s.readOnly = readOnly
	if errors.Is(err, bolterrors.ErrTimeout) {
		return ErrLocked
	}
	if errors.Is(err, bolterrors.ErrInvalid) || errors.Is(err, bolterrors.ErrVersionMismatch) || errors.Is(err, bolterrors.ErrChecksum) {
		return fmt.Errorf("%w: %w", ErrNotAStore, err)
	}
	if err != nil {
		return err
	}
	return s.sameFile()
}

// sameFile refuses a file that another one took the place of while this process waited for its lock, by Compact or
// Restore: what is written to it would be lost.
func (s *Store) sameFile() error {
	locked, err := s.file.Stat()
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	named, err := os.Stat(s.path)
	if err == nil && !os.SameFile(locked, named) {
		err = ErrLocked
	}
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// clearFolder removes what a compaction left that was cut short. Whoever else makes such files has the data file locked.
func (s *Store) clearFolder() error {
	path, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return err
	}
	return removeLeftovers(filepath.Dir(path), filepath.Base(path)+leftoverMark)
}

func (s *Store) boltOptions(opts Options, readOnly bool) *bolt.Options {
	timeout := opts.OpenTimeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	options := &bolt.Options{
		Timeout:      timeout,
		ReadOnly:     readOnly,
		FreelistType: bolt.FreelistMapType,
		// The list of free pages is not written but found again at Open: one open view would make each commit sort
		// and write a growing list, and a flipped bit in a written list would have live pages overwritten.
		NoFreelistSync: true,
		NoStatistics:   true,
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			file, err := os.OpenFile(path, flag&^os.O_CREATE, mode)
			s.file = file
			return file, err
		},
	}
	if readOnly {
		return options
	}
	options.MaxSize = int(opts.MaxBytes)
	options.InitialMmapSize = defaultMap
	if opts.InitialMmap > 0 {
		options.InitialMmapSize = int(opts.InitialMmap)
	}
	return options
}

// Identity returns the bytes given to Create.
func (s *Store) Identity() []byte { return slices.Clone(s.identity) }

// Derive returns 32 bytes of key for another purpose of the node, always the same for a file and a label. They are
// lost with the file and do not depend on the keyring: what must outlive the file is not derived here.
func (s *Store) Derive(label string) []byte {
	key, err := derive(s.root[4:], "entente store for "+label, KeySize)
	if err != nil {
		panic(err) // HKDF refuses only sizes, and this one is constant
	}
	return key
}

// Size is the size of the file in bytes, or 0 once the store is closed.
func (s *Store) Size() int64 {
	s.files.RLock()
	defer s.files.RUnlock()
	info, err := s.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// SlowViews is the number of views so far that lasted longer than MaxView.
func (s *Store) SlowViews() uint64 { return s.slowViews.Load() }

// Close waits for the writer and for all views, and lets go of the file. A compaction under way ends, and Close waits until
// nothing of it is left. Closing again does nothing.
func (s *Store) Close() error {
	err := s.closeFile()
	s.caring.RLock()
	defer s.caring.RUnlock()
	return err
}

func (s *Store) closeFile() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.noted != nil {
		s.noted.stop(ErrClosed)
	}
	err := s.db.Close()
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// View runs fn on a snapshot of the file. It never waits for the writer, but must be short (MaxView): nothing is
// sent and nobody is waited for inside fn. The View is fn's alone and ends with it.
func (s *Store) View(fn func(v *View) error) error {
	fatal := s.fatal.Load()
	if fatal != nil {
		return fmt.Errorf("read store: %w", fatal)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // see rescue
	raw, err := s.begin()
	if err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	defer s.countSlow()()
	v := newView(s, raw)
	defer v.end()
	err = fn(v)
	if err != nil {
		return err
	}
	return v.broken
}

// begin takes a snapshot of the file that is in use.
func (s *Store) begin() (*bolt.Tx, error) {
	s.files.RLock()
	defer s.files.RUnlock()
	raw, err := s.db.Begin(false)
	return raw, asClosed(err)
}

func (s *Store) countSlow() func() {
	if s.now == nil {
		return func() {}
	}
	start := s.now()
	return func() {
		if s.now().Sub(start) > MaxView {
			s.slowViews.Add(1)
		}
	}
}

func asClosed(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// Update runs fn and commits what it did. When it returns nil everything is on disk; an error means that nothing of
// it happened, except for a *FatalError, after which only the next Open knows. Errors of fn are returned
// as they are. ErrFull leaves the store good for reads and for writes that fit. One Update runs at a time; fn
// must not call View or Update of the same store.
//
// If we crash here, the file holds all of it or nothing: bbolt writes the new pages, syncs, and only then
// writes and syncs the one page that makes them count.
//
// Of a limited file Update leaves a reserve: see UpdateReserved.
func (s *Store) Update(fn func(tx *Tx) error) error {
	return s.update(s.limit(reserve(s.opts.MaxBytes)), largeSteps, fn)
}

// UpdateReserved is Update for what must go on when a limited file is full otherwise: what is taken back and erased, what was
// looked at, what readers confirm. It may use the last part of the file, a twentieth and at least 16 MiB, that Update leaves.
func (s *Store) UpdateReserved(fn func(tx *Tx) error) error {
	return s.update(s.limit(0), smallSteps, fn)
}

// By how much the file grows at a time, in bytes: as bbolt does by itself, and for UpdateReserved, since near the limit such a
// step would be too large.
const (
	largeSteps = 16 << 20
	smallSteps = 256 << 10
)

// reserve is how much of a file of so many bytes is left for UpdateReserved. bbolt grows a file by 16 MiB at a time.
func reserve(most int64) int64 { return max(most/20, 16<<20) }

// limit is how large the file may grow in a transaction that leaves so much; 0: there is no limit.
func (s *Store) limit(leave int64) int {
	if s.opts.MaxBytes == 0 {
		return 0
	}
	return int(max(s.opts.MaxBytes-leave, 1))
}

func (s *Store) update(most, step int, fn func(tx *Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	fatal := s.fatal.Load()
	if fatal != nil {
		return fmt.Errorf("write store: %w", fatal)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // see rescue
	raw, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("write store: %w", asClosed(err))
	}
	raw.DB().MaxSize, raw.DB().AllocSize = most, step // read by the writer alone
	tx := &Tx{View: *newView(s, raw)}
	defer s.arena.reset()
	defer tx.end() // before the arena is used again
	err = fn(tx)
	if err != nil {
		return err
	}
	if tx.broken != nil {
		return tx.broken
	}
	if !tx.changed {
		return nil
	}
	committed, err := tx.writeErasures()
	if err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	err = tx.writeSummaries()
	if err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	err = s.commit(raw)
	if err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	committed()
	return nil
}

func (s *Store) commit(raw *bolt.Tx) error {
	number := raw.ID()
	err := tryCommit(raw)
	if err == nil {
		return nil
	}
	if isFull(err) && s.lastCommit() < number {
		if s.noted != nil {
			s.noted.stop(ErrNoRoom) // the copy may be what fills the disk
		}
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	// Any other failure leaves the disk in doubt, and so does one that came after the last page was written.
	fatal := &FatalError{Err: err}
	s.fatal.Store(fatal)
	return fatal
}

func tryCommit(raw *bolt.Tx) (err error) {
	defer rescue(&err, "commit")
	return raw.Commit()
}

// lastCommit is the number of the last transaction as readers see it.
func (s *Store) lastCommit() int {
	number := int(^uint(0) >> 1) // where nobody can tell, as if the failed one had landed
	raw, err := s.db.Begin(false)
	if err != nil {
		return number
	}
	number = raw.ID()
	err = raw.Rollback()
	if err != nil {
		return int(^uint(0) >> 1)
	}
	return number
}
