package store

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// model is what a store should hold: series by name, and tables by name and key.
type model struct {
	series map[string][]string
	tables map[string]map[string]string
}

func newModel() *model {
	return &model{series: map[string][]string{}, tables: map[string]map[string]string{}}
}

// change does some random changes in one transaction, and the same to the model.
func (m *model) change(t testing.TB, s *Store, random *rand.Rand) {
	t.Helper()
	must(t, s.Update(func(tx *Tx) error {
		for range 1 + random.IntN(30) {
			name := fmt.Sprint(random.IntN(12)) // parts come up at any time
			value := fmt.Sprintf("%d %s", random.Uint64(), bytes.Repeat([]byte("x"), random.IntN(1500)))
			err := m.changeOne(tx, random, name, value)
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

func (m *model) changeOne(tx *Tx, random *rand.Rand, name, value string) error {
	held := m.series[name]
	table := m.tables[name]
	key := fmt.Sprint("key ", random.IntN(300))
	switch what := random.IntN(10); {
	case what < 5 || len(held) == 0:
		m.series[name] = append(held, value)
		_, err := tx.Append(NewSeries(name), []byte(value))
		return err
	case what < 7:
		n := random.IntN(len(held))
		held[n] = value
		return tx.Replace(NewSeries(name), uint64(n+1), []byte(value))
	case what < 9:
		if table == nil {
			m.tables[name] = map[string]string{}
		}
		m.tables[name][key] = value
		return tx.Put(name, []byte(key), []byte(value))
	default:
		delete(table, key)
		return tx.Delete(name, []byte(key))
	}
}

// check compares a store with the model, and has the store check itself.
func (m *model) check(t testing.TB, s *Store) {
	t.Helper()
	for name, want := range m.series {
		if got := scanAll(t, s, NewSeries(name)); !slices.Equal(got, want) {
			t.Errorf("series %s: %d values, want %d, or not the same ones", name, len(got), len(want))
		}
	}
	for name, want := range m.tables {
		got := map[string]string{}
		must(t, s.View(func(v *View) error {
			return v.Each(name, func(key, value []byte) error {
				got[string(key)] += string(value) // one that came twice would not be the same
				return nil
			})
		}))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("table %s: %d keys, want %d, or not the same ones", name, len(got), len(want))
		}
	}
	must(t, s.Verify(t.Context(), nil))
}

// filledStore holds several batches of a compaction.
func filledStore(t testing.TB, opts Options) (*Store, *model, *rand.Rand) {
	t.Helper()
	s := mustOpen(t, opts)
	m, random := newModel(), rand.New(rand.NewPCG(1, 2))
	for range 200 {
		m.change(t, s, random)
	}
	return s, m, random
}

func TestNothingIsLostOrSeenTwiceWhileAStoreIsCompacted(t *testing.T) {
	opts := newFile(t)
	opts.InitialMmap = 1 << 20 // the file outgrows it meanwhile
	s, m, random := filledStore(t, opts)
	var users sync.WaitGroup
	var writing sync.Mutex // of the model
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	users.Go(func() { // a writer; ends with stop
		for !stopped() {
			writing.Lock()
			m.change(t, s, random)
			writing.Unlock()
		}
	})
	pair := func(tx *Tx) error {
		n, err := tx.Append(NewSeries("pair"), []byte("one"))
		if err != nil {
			return err
		}
		return tx.Put("pair", []byte("last"), fmt.Append(nil, n))
	}
	users.Go(func() { // ends with stop
		for !stopped() {
			must(t, s.Update(pair))
		}
	})
	users.Go(func() { // a reader; ends with stop
		seen := uint64(0)
		for !stopped() {
			must(t, s.View(func(v *View) error {
				last, err := v.GetKey("pair", []byte("last"))
				n := v.Len(NewSeries("pair"))
				if n < seen || (n > 0 && string(last) != fmt.Sprint(n)) {
					t.Errorf("%d values beside the position %s, after %d had been seen", n, last, seen)
				}
				seen = n
				return err
			}))
		}
	})
	verified := 0
	s.reached = func(step string) {
		if step != "verified" {
			return
		}
		verified++
		writing.Lock()
		defer writing.Unlock()
		for range 100 { // much to catch up with
			m.change(t, s, random)
		}
	}
	for range 4 {
		_, err := s.Compact(t.Context(), nil)
		must(t, err)
	}
	close(stop)
	users.Wait()
	if verified != 4 {
		t.Fatalf("%d of 4 copies were verified", verified)
	}
	m.check(t, s)
	_, err := s.Compact(t.Context(), nil)
	must(t, err)
	m.check(t, s)
	must(t, s.Close())
	s = mustOpen(t, opts)
	m.check(t, s)
	m.change(t, s, random)
	m.check(t, s)
}

func TestMoreChangesThanAreNotedAreCopiedAllTheSame(t *testing.T) {
	opts := newFile(t)
	s, m, _ := filledStore(t, opts)
	m.tables["many"] = map[string]string{}
	once := sync.OnceFunc(func() { // at the first batch of several; nothing waits for the writer then
		for i := range 20 {
			must(t, s.Update(func(tx *Tx) error {
				for j := range maxNoted/20 + 1 {
					key := fmt.Sprint("key ", i, j)
					m.tables["many"][key] = key
					must(t, tx.Put("many", []byte(key), []byte(key)))
				}
				return nil
			}))
		}
	})
	var most int64
	_, err := s.Compact(t.Context(), func(uint64, uint64) {
		once()
		if s.noted != nil { // it is told once more at the end
			most = max(most, s.noted.count.Load())
		}
	})
	must(t, err)
	if most <= maxNoted {
		t.Fatalf("only %d keys were noted", most)
	}
	m.check(t, s)
}

func TestAViewFromBeforeTheSwapReadsItsSnapshotToTheEnd(t *testing.T) {
	opts := newFile(t)
	s, _, _ := filledStore(t, opts)
	log := NewSeries("snapshot")
	appendAll(t, s, log, "one", "two", "three")
	began, swapped := make(chan struct{}), make(chan struct{})
	var reader sync.WaitGroup
	s.reached = func(step string) {
		switch step {
		case "synced":
			reader.Go(func() { // ends with swapped
				must(t, s.View(func(v *View) error {
					close(began)
					<-swapped
					for n, want := range []string{"one", "two", "three"} {
						got, err := v.Get(log, uint64(n+1))
						must(t, err)
						if string(got) != want {
							t.Errorf("value %d is %q", n+1, got)
						}
					}
					if v.Len(log) != 3 {
						t.Errorf("the snapshot has %d values", v.Len(log))
					}
					return nil
				}))
			})
			<-began
		case "swapped":
			reader.Go(func() { // ends by itself: writers and readers do not wait for the old view
				appendAll(t, s, log, "four")
				if got := scanAll(t, s, log); len(got) != 4 {
					t.Errorf("read %q after the swap", got)
				}
				close(swapped)
			})
		}
	}
	_, err := s.Compact(t.Context(), nil)
	must(t, err)
	reader.Wait()
	must(t, s.Verify(t.Context(), nil))
}

func TestACrashOfACompactionLeavesAWholeFile(t *testing.T) {
	opts := newFile(t)
	s, m, random := filledStore(t, opts)
	folders := map[string]string{}
	s.reached = func(step string) {
		if step == "copied" && folders[step] == "" {
			m.change(t, s, random) // nobody holds the writer up at this step
		}
		folders[step] = t.TempDir()
		must(t, os.CopyFS(folders[step], os.DirFS(filepath.Dir(opts.Path))))
	}
	_, err := s.Compact(t.Context(), nil)
	must(t, err)
	steps := map[string]int{"copied": 2, "verified": 2, "finished": 2, "synced": 2, "renamed": 1, "swapped": 1}
	for step, files := range steps {
		t.Run(step, func(t *testing.T) {
			entries, err := os.ReadDir(folders[step])
			must(t, err)
			if len(entries) != files {
				t.Errorf("%d files at this step, want %d", len(entries), files)
			}
			crashed := opts
			crashed.Path = filepath.Join(folders[step], "node.db")
			readOnly := crashed
			readOnly.ReadOnly = true
			m.check(t, mustOpen(t, readOnly))
		})
		crashed := opts
		crashed.Path = filepath.Join(folders[step], "node.db")
		again := mustOpen(t, crashed)
		m.check(t, again)
		folderHolds(t, folders[step], "node.db")
		_, err = again.Compact(t.Context(), nil)
		must(t, err)
		m.check(t, again)
		folderHolds(t, folders[step], "node.db")
	}
}

func TestACompactionThatFailsLeavesNothing(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(t *testing.T, s *Store, opts Options, step string, cancel func()) // is called at each step
		want    error
	}{
		{"when the caller gives up at the beginning", func(_ *testing.T, _ *Store, _ Options, step string, cancel func()) {
			if step == "copied" {
				cancel()
			}
		}, context.Canceled},
		{"when the caller gives up at the end", func(_ *testing.T, _ *Store, _ Options, step string, cancel func()) {
			if step == "synced" {
				cancel()
			}
		}, context.Canceled},
		{"when an update found no room", func(_ *testing.T, s *Store, _ Options, step string, _ func()) {
			if step == "verified" {
				s.noted.stop(ErrNoRoom)
			}
		}, ErrNoRoom},
		{"when its name is taken away", func(t *testing.T, _ *Store, opts Options, step string, _ func()) {
			if step == "synced" {
				must(t, os.Remove(leftoverOf(t, opts)))
			}
		}, fs.ErrNotExist},
		{"when the copy is damaged", func(t *testing.T, s *Store, opts Options, step string, _ func()) {
			if step == "copied" {
				sealed, copied := sealedAt(t, s, NewSeries("first"), 1), leftoverOf(t, opts)
				content := readFile(t, copied)
				for at := bytes.Index(content, sealed); at >= 0; at = bytes.Index(content, sealed) { // in free pages too
					flipBit(t, copied, at+len(sealed)-1, 3)
					content = readFile(t, copied)
				}
			}
		}, &DamageError{}},
		{"when a summary of the file has gone", func(t *testing.T, s *Store, _ Options, step string, _ func()) {
			if step == "verified" {
				must(t, s.db.Update(func(raw *bolt.Tx) error {
					return raw.Bucket([]byte(summariesBucket)).Delete([]byte("s/first"))
				}))
			}
		}, &DamageError{}},
		{"when a value of the file has gone", func(t *testing.T, s *Store, _ Options, step string, _ func()) {
			if step == "verified" {
				must(t, s.db.Update(func(raw *bolt.Tx) error {
					return raw.Bucket([]byte("s/first")).Put([]byte("12345678"), make([]byte, sealOverhead))
				}))
				s.noted.grown["s/first"] = struct{}{} // so that it is looked at
			}
		}, &DamageError{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := newFile(t)
			s, _, _ := filledStore(t, opts)
			appendAll(t, s, NewSeries("first"), "value")
			ctx, cancel := context.WithCancel(t.Context())
			s.reached = func(step string) { test.arrange(t, s, opts, step, cancel) }
			_, err := s.Compact(ctx, nil)
			if _, damaged := test.want.(*DamageError); damaged {
				wantDamage(t, err, "first")
			} else {
				wantError(t, err, test.want)
			}
			folderHolds(t, filepath.Dir(opts.Path), "node.db")
			appendAll(t, s, NewSeries("first"), "it goes on")
			if s.noted != nil {
				t.Error("changes are still noted")
			}
		})
	}
}

func leftoverOf(t testing.TB, opts Options) string {
	t.Helper()
	names, err := filepath.Glob(opts.Path + leftoverMark + "*")
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("%d leftovers", len(names))
	}
	return names[0]
}

func TestACompactionAndOtherCareRefuseEachOther(t *testing.T) {
	opts := newFile(t)
	s, m, _ := filledStore(t, opts)
	ring := Keyring{Current: testKey(2), Older: [][]byte{testKey(1)}}
	backUp := func(progress func(uint64, uint64)) error {
		_, err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db"), progress)
		return err
	}
	compact := func() error {
		_, err := s.Compact(t.Context(), nil)
		return err
	}
	s.reached = func(step string) {
		if step == "verified" {
			wantError(t, backUp(nil), ErrBusy)
			wantError(t, s.Reseal(t.Context(), ring, nil), ErrBusy)
			wantError(t, compact(), ErrBusy)
		}
	}
	must(t, compact())
	s.reached = nil
	must(t, backUp(func(uint64, uint64) { wantError(t, compact(), ErrBusy) }))
	must(t, s.Reseal(t.Context(), ring, func(_, _, _ uint64) { wantError(t, compact(), ErrBusy) }))
	must(t, compact()) // with the other key
	m.check(t, s)
	must(t, s.Close())
	wantError(t, compact(), ErrClosed)
	folderHolds(t, filepath.Dir(opts.Path), "node.db")
	opts.Keys = Keyring{Current: testKey(2)}
	opts.ReadOnly = true
	s = mustOpen(t, opts)
	m.check(t, s)
	if compact() == nil {
		t.Error("a store for reading only was compacted")
	}
}

func TestClosingAStoreEndsItsCompaction(t *testing.T) {
	for _, at := range []string{"copied", "verified", "swapped"} {
		t.Run(at, func(t *testing.T) {
			opts := newFile(t)
			s, m, _ := filledStore(t, opts)
			var closing sync.WaitGroup
			s.reached = func(step string) {
				if step != at {
					return
				}
				closing.Go(func() { // ends with the compaction
					must(t, s.Close())
					folderHolds(t, filepath.Dir(opts.Path), "node.db")
				})
				if at != "swapped" { // where the writer is held up, Close waits for the end
					for s.View(func(*View) error { return nil }) == nil {
					}
				}
			}
			_, err := s.Compact(t.Context(), nil)
			if at == "swapped" {
				must(t, err)
			} else {
				wantError(t, err, ErrClosed)
			}
			closing.Wait()
			m.check(t, mustOpen(t, opts))
		})
	}
}

func TestACompactedStoreGrowsAndMeetsItsLimitAsBefore(t *testing.T) {
	opts := newFile(t)
	opts.MaxBytes = MinMaxBytes
	s := mustOpen(t, opts)
	log := NewSeries("log")
	last, err := fillUp(t, s, log)
	wantError(t, err, ErrFull)
	for n := uint64(1); n <= last; n++ { // all at once would need room for their pages
		must(t, s.Update(func(tx *Tx) error { return tx.Replace(log, n, nil) }))
	}
	done, err := s.Compact(t.Context(), nil)
	must(t, err)
	if done.BytesAfter > 1<<20 {
		t.Errorf("%d bytes after the compaction of nothing", done.BytesAfter)
	}
	before := last
	last, err = fillUp(t, s, log)
	wantError(t, err, ErrFull)
	if last < before+100 || s.Size() > opts.MaxBytes {
		t.Errorf("full again at value %d after %d, with %d bytes", last, before, s.Size())
	}
	must(t, s.Verify(t.Context(), nil))
}

func TestACompactionLeavesASymbolicLinkAlone(t *testing.T) {
	opts := newFile(t)
	link := filepath.Join(t.TempDir(), "link.db")
	must(t, os.Symlink(opts.Path, link))
	linked := opts
	linked.Path = link
	s, m, random := filledStore(t, linked)
	_, err := s.Compact(t.Context(), nil)
	must(t, err)
	m.change(t, s, random)
	must(t, s.Close())
	m.check(t, mustOpen(t, opts)) // the file behind the link is the one in use
	folderHolds(t, filepath.Dir(link), "link.db")
	folderHolds(t, filepath.Dir(opts.Path), "node.db")
}

func TestAFileThatAnotherTookThePlaceOfIsNotOpened(t *testing.T) {
	opts := newFile(t)
	s := newStore(opts, nil)
	must(t, s.openFile(opts, false))
	other := newFile(t)
	must(t, os.Rename(other.Path, opts.Path))
	wantError(t, s.sameFile(), ErrLocked)
	_, err := s.begin()
	wantError(t, err, ErrClosed)
}

func TestProgressOfACompactionIsToldInValues(t *testing.T) {
	s, m, _ := filledStore(t, newFile(t))
	want := uint64(0)
	for _, values := range m.series {
		want += uint64(len(values))
	}
	for _, keys := range m.tables {
		want += uint64(len(keys))
	}
	var seen []uint64
	done, err := s.Compact(t.Context(), func(done, total uint64) {
		seen = append(seen, done)
		if total != want || done > total {
			t.Errorf("%d of %d values, want %d", done, total, want)
		}
	})
	must(t, err)
	if len(seen) < 3 || !slices.IsSorted(seen) || seen[len(seen)-1] != want || done.Values != want {
		t.Errorf("told %v, said %d, there are %d", seen, done.Values, want)
	}
}
