package store

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func testKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, KeySize) }

func testOptions(path string) Options {
	return Options{
		Path:        path,
		Keys:        Keyring{Current: testKey(1)},
		Rand:        rand.Reader,
		InitialMmap: 64 << 20,
		OpenTimeout: 10 * time.Millisecond,
	}
}

// newFile creates a store and returns the options to open it with.
func newFile(t testing.TB) Options {
	t.Helper()
	opts := testOptions(filepath.Join(t.TempDir(), "node.db"))
	must(t, Create(opts, []byte("member XA")))
	return opts
}

// mustOpen opens a store until the end of the test.
func mustOpen(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(opts)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func wantDamage(t testing.TB, err error, place string) {
	t.Helper()
	var damaged *DamageError
	if !errors.As(err, &damaged) || !strings.Contains(err.Error(), place) {
		t.Fatalf("got error %v, want damage at %q", err, place)
	}
}

func appendAll(t testing.TB, s *Store, series Series, values ...string) {
	t.Helper()
	must(t, s.Update(func(tx *Tx) error {
		for _, value := range values {
			_, err := tx.Append(series, []byte(value))
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

func scanAll(t testing.TB, s *Store, series Series) []string {
	t.Helper()
	var got []string
	must(t, s.View(func(v *View) error {
		return v.Scan(series, 1, func(n uint64, value []byte) (bool, error) {
			got = append(got, string(value))
			return true, nil
		})
	}))
	return got
}

func TestWhatWasWrittenIsThereAfterReopening(t *testing.T) {
	opts := newFile(t)
	log := NewSeries("log")
	s, err := Open(opts)
	must(t, err)
	appendAll(t, s, log, "one", "", "three")
	must(t, s.Update(func(tx *Tx) error {
		must(t, tx.Put("positions", []byte("XB"), []byte("7")))
		must(t, tx.Put("positions", []byte("XC"), nil))
		must(t, tx.Put("positions", []byte("XD"), []byte("gone")))
		return tx.Delete("positions", []byte("XD"))
	}))
	derived := s.Derive("cursors")
	must(t, s.Close())
	must(t, s.Close())

	s = mustOpen(t, opts)
	if !bytes.Equal(s.Identity(), []byte("member XA")) {
		t.Errorf("identity is %q", s.Identity())
	}
	if !bytes.Equal(s.Derive("cursors"), derived) || bytes.Equal(s.Derive("other"), derived) {
		t.Error("derived keys must stay the same for a label and differ between labels")
	}
	if got := scanAll(t, s, log); !slices.Equal(got, []string{"one", "", "three"}) {
		t.Errorf("got %q", got)
	}
	must(t, s.View(func(v *View) error {
		for key, want := range map[string][]byte{"XB": []byte("7"), "XC": {}, "XD": nil, "": nil} {
			got, err := v.GetKey("positions", []byte(key))
			must(t, err)
			if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
				t.Errorf("key %q: got %q, want %q", key, got, want)
			}
		}
		seen := map[string]string{}
		must(t, v.Each("positions", func(key, value []byte) error {
			seen[string(key)] = string(value)
			return nil
		}))
		if len(seen) != 2 || seen["XB"] != "7" {
			t.Errorf("each gave %q", seen)
		}
		return nil
	}))
	must(t, s.Verify(t.Context(), nil))
	if s.Size() == 0 {
		t.Error("an open file has a size")
	}
}

func TestNumbersAreDenseFromOneInEachSeries(t *testing.T) {
	s := mustOpen(t, newFile(t))
	first, second := NewSeries("entries/1"), NewSeries("entries/2")
	must(t, s.Update(func(tx *Tx) error {
		for want := uint64(1); want <= 300; want++ {
			for _, series := range []Series{first, second} {
				n, err := tx.Append(series, fmt.Append(nil, series, want))
				must(t, err)
				if n != want || tx.Len(series) != want {
					t.Fatalf("number %d, length %d, want %d", n, tx.Len(series), want)
				}
			}
		}
		value, err := tx.Get(second, 300)
		must(t, err)
		if string(value) != "entries/2 300" {
			t.Errorf("a transaction must read what it wrote, got %q", value)
		}
		return nil
	}))
	must(t, s.View(func(v *View) error {
		_, err := v.Get(first, 301)
		wantError(t, err, ErrAbsent)
		_, err = v.Get(first, 0)
		wantError(t, err, ErrAbsent)
		_, err = v.Get(NewSeries("never"), 1)
		wantError(t, err, ErrAbsent)
		var numbers []uint64
		must(t, v.Scan(first, 299, func(n uint64, value []byte) (bool, error) {
			numbers = append(numbers, n)
			return true, nil
		}))
		if !slices.Equal(numbers, []uint64{299, 300}) {
			t.Errorf("scan from 299 gave %d", numbers)
		}
		count := 0
		must(t, v.Scan(first, 0, func(uint64, []byte) (bool, error) { count++; return count < 5, nil }))
		if count != 5 {
			t.Errorf("scan went on to %d", count)
		}
		stop := errors.New("stop")
		wantError(t, v.Scan(first, 1, func(uint64, []byte) (bool, error) { return true, stop }), stop)
		return v.Scan(first, 400, func(uint64, []byte) (bool, error) { t.Error("beyond the end"); return true, nil })
	}))
}

func TestLoopsInsideLoopsDoNotShareMemory(t *testing.T) {
	s := mustOpen(t, newFile(t))
	outer, inner := NewSeries("outer"), NewSeries("inner")
	appendAll(t, s, outer, "outer 1", "outer 2")
	appendAll(t, s, inner, "inner 1", "inner 2")
	must(t, s.Update(func(tx *Tx) error {
		return tx.Scan(outer, 1, func(n uint64, value []byte) (bool, error) {
			must(t, tx.Scan(inner, 1, func(uint64, []byte) (bool, error) { return true, nil }))
			must(t, tx.Put("seen", value, []byte("much longer than the value")))
			must(t, tx.Each("seen", func(_, _ []byte) error { return nil }))
			if want := fmt.Sprint("outer ", n); string(value) != want {
				t.Errorf("got %q, want %q", value, want)
			}
			return true, nil
		})
	}))
}

func TestAFailedUpdateLeavesNothing(t *testing.T) {
	s := mustOpen(t, newFile(t))
	log := NewSeries("log")
	appendAll(t, s, log, "kept")
	refused := errors.New("refused")
	wantError(t, s.Update(func(tx *Tx) error {
		_, err := tx.Append(log, []byte("dropped"))
		must(t, err)
		must(t, tx.Put("table", []byte("key"), []byte("dropped")))
		return refused
	}), refused)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a caller's panic must reach the caller")
			}
		}()
		_ = s.Update(func(tx *Tx) error {
			_, err := tx.Append(log, []byte("dropped"))
			must(t, err)
			panic("caller's own")
		})
	}()
	appendAll(t, s, log, "next")
	if got := scanAll(t, s, log); !slices.Equal(got, []string{"kept", "next"}) {
		t.Errorf("got %q", got)
	}
	must(t, s.View(func(v *View) error {
		value, err := v.GetKey("table", []byte("key"))
		if value != nil || err != nil {
			t.Errorf("got %q, %v", value, err)
		}
		return nil
	}))
	must(t, s.Verify(t.Context(), nil))
}

func TestAnUpdateThatChangesNothingIsNotCommitted(t *testing.T) {
	s := mustOpen(t, newFile(t))
	before := s.lastCommit()
	must(t, s.Update(func(tx *Tx) error { return tx.Delete("table", []byte("key")) }))
	if s.lastCommit() != before {
		t.Error("an empty transaction was written")
	}
	appendAll(t, s, NewSeries("log"), "one")
	if s.lastCommit() == before {
		t.Error("control: a transaction with content must be seen")
	}
}

func TestAFailingSourceOfRandomnessStopsTheCommit(t *testing.T) {
	opts := newFile(t)
	opts.Rand = strings.NewReader("only enough for one") // 12 bytes a value
	s := mustOpen(t, opts)
	err := s.Update(func(tx *Tx) error {
		_, _ = tx.Append(NewSeries("log"), []byte("one"))
		_, _ = tx.Append(NewSeries("log"), []byte("two")) // the careless caller
		return nil
	})
	if err == nil || s.lastCommit() != 2 {
		t.Fatalf("error %v, commit %d: nothing may be written without a nonce", err, s.lastCommit())
	}
}

func TestReadersSeeTheirSnapshotWhileAWriterGoesOn(t *testing.T) {
	s := mustOpen(t, newFile(t))
	log := NewSeries("log")
	appendAll(t, s, log, "one")
	var group sync.WaitGroup
	must(t, s.View(func(v *View) error {
		group.Go(func() { appendAll(t, s, log, "two") })
		group.Wait()
		if v.Len(log) != 1 {
			t.Errorf("length %d in an older snapshot", v.Len(log))
		}
		return nil
	}))
	for range 4 {
		group.Go(func() {
			for range 50 {
				err := s.View(func(v *View) error {
					n := v.Len(log)
					_, err := v.Get(log, n)
					if err != nil {
						return err
					}
					_, err = v.GetKey("table", []byte("key"))
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Go(func() { must(t, s.Verify(t.Context(), nil)) })
	for range 20 {
		appendAll(t, s, log, "more")
	}
	group.Wait()
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(t *testing.T, opts *Options)
		want    error
		text    string
	}{
		{"a file that is not there", func(t *testing.T, opts *Options) { opts.Path += ".other" }, ErrMissing, ""},
		{"a folder", func(t *testing.T, opts *Options) { opts.Path = filepath.Dir(opts.Path) }, ErrNotAStore, ""},
		{"an empty file", func(t *testing.T, opts *Options) { must(t, os.WriteFile(opts.Path, nil, 0o600)) }, ErrNotAStore, ""},
		{"a text", func(t *testing.T, opts *Options) {
			must(t, os.WriteFile(opts.Path, bytes.Repeat([]byte("text "), 9999), 0o600))
		}, ErrNotAStore, ""},
		{"another program's bbolt file", func(t *testing.T, opts *Options) {
			must(t, os.Remove(opts.Path))
			editRaw(t, opts.Path, func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("other")); return err })
		}, ErrNotAStore, ""},
		{"a wrong key", func(t *testing.T, opts *Options) { opts.Keys.Current = testKey(2) }, ErrWrongKey, ""},
		{"a newer schema, with both numbers", func(t *testing.T, opts *Options) {
			editRaw(t, opts.Path, func(tx *bolt.Tx) error {
				return tx.Bucket([]byte(metaBucket)).Put([]byte(schemaKey), []byte{0, 0, 0, 7})
			})
		}, ErrNewerSchema, "schema 7, this program knows up to 2"},
		{"a file that another process has open", func(t *testing.T, opts *Options) { mustOpen(t, *opts) }, ErrLocked, ""},
		{"a file that others read, for writing", func(t *testing.T, opts *Options) {
			reader := *opts
			reader.ReadOnly = true
			mustOpen(t, reader)
		}, ErrLocked, ""},
		{"a key of another size", func(t *testing.T, opts *Options) { opts.Keys.Current = []byte("short") }, nil, "has 5 bytes, want 32"},
		{"a limit that bbolt cannot keep", func(t *testing.T, opts *Options) { opts.MaxBytes = 1 << 20 }, nil, "below the least"},
		{"to write without randomness", func(t *testing.T, opts *Options) { opts.Rand = nil }, nil, "no source of randomness"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := newFile(t)
			test.arrange(t, &opts)
			s, err := Open(opts)
			if err == nil {
				_ = s.Close()
				t.Fatal("opened")
			}
			if test.want != nil {
				wantError(t, err, test.want)
			}
			if !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %q does not say %q", err, test.text)
			}
		})
	}
}

// editRaw changes a file behind the store's back.
func editRaw(t testing.TB, path string, edit func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, Timeout: time.Second})
	must(t, err)
	must(t, db.Update(edit))
	must(t, db.Close())
}

func TestSeveralMayReadAndNobodyMayWriteReadOnly(t *testing.T) {
	opts := newFile(t)
	s, err := Open(opts)
	must(t, err)
	appendAll(t, s, NewSeries("log"), "one")
	must(t, s.Close())
	opts.ReadOnly, opts.Rand = true, nil
	first, second := mustOpen(t, opts), mustOpen(t, opts)
	for _, s := range []*Store{first, second} {
		if got := scanAll(t, s, NewSeries("log")); !slices.Equal(got, []string{"one"}) {
			t.Errorf("got %q", got)
		}
		must(t, s.Verify(t.Context(), nil))
		if s.Update(func(tx *Tx) error { return nil }) == nil {
			t.Error("written to a read-only store")
		}
	}
}

func TestAClosedStoreSaysSo(t *testing.T) {
	s, err := Open(newFile(t))
	must(t, err)
	var kept *View
	must(t, s.View(func(v *View) error { kept = v; return nil }))
	_, err = kept.Get(NewSeries("log"), 1)
	wantError(t, err, ErrClosed)
	must(t, s.Close())
	wantError(t, s.View(func(*View) error { return nil }), ErrClosed)
	wantError(t, s.Update(func(*Tx) error { return nil }), ErrClosed)
	wantError(t, s.Verify(t.Context(), nil), ErrClosed)
	if s.Size() != 0 {
		t.Error("a closed file has no size")
	}
}

func TestAChangeOfTheKeyKeepsAllReadable(t *testing.T) {
	opts := newFile(t)
	log := NewSeries("log")
	s, err := Open(opts)
	must(t, err)
	appendAll(t, s, log, "under the first key")
	must(t, s.Update(func(tx *Tx) error { return tx.Put("table", []byte("key"), []byte("value")) }))
	derived := s.Derive("cursors")
	must(t, s.Close())

	opts.Keys = Keyring{Current: testKey(2), Older: [][]byte{testKey(1)}}
	s, err = Open(opts)
	must(t, err)
	appendAll(t, s, log, "under the second key")
	if got := scanAll(t, s, log); len(got) != 2 {
		t.Errorf("got %q", got)
	}
	must(t, s.View(func(v *View) error {
		value, err := v.GetKey("table", []byte("key"))
		if string(value) != "value" {
			t.Errorf("got %q, %v: keys of tables must be found after a change of the sealing key", value, err)
		}
		return nil
	}))
	if !bytes.Equal(s.Derive("cursors"), derived) {
		t.Error("derived keys changed with the sealing key")
	}
	must(t, s.Verify(t.Context(), nil))
	must(t, s.Close())

	opts.Keys = Keyring{Current: testKey(1)}
	_, err = Open(opts)
	wantError(t, err, ErrWrongKey)
	opts.Keys = Keyring{Current: testKey(2)} // too early: values and summaries still need the first
	_, err = Open(opts)
	wantError(t, err, ErrWrongKey)
}

func TestCreateLeavesExistingFilesAndRemovesLeftovers(t *testing.T) {
	opts := newFile(t)
	wantError(t, Create(opts, []byte("other")), ErrExists)
	if got := mustOpen(t, opts).Identity(); string(got) != "member XA" {
		t.Errorf("identity became %q", got)
	}

	folder := t.TempDir()
	opts.Path = filepath.Join(folder, "node.db")
	must(t, os.WriteFile(opts.Path+leftoverMark+"123", []byte("half written"), 0o600)) // a crash in an earlier Create
	must(t, os.WriteFile(filepath.Join(folder, "node.db.unfinished"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "node"), nil, 0o600))
	_, err := Open(opts)
	wantError(t, err, ErrMissing)
	must(t, Create(opts, nil))
	entries, err := os.ReadDir(folder)
	must(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if !slices.Equal(names, []string{"node", "node.db", "node.db.unfinished"}) {
		t.Errorf("folder holds %q", names)
	}
	if got := mustOpen(t, opts).Identity(); len(got) != 0 {
		t.Errorf("identity %q", got)
	}
}

func TestNoPlainBytesStandInTheFile(t *testing.T) {
	opts := newFile(t)
	s, err := Open(opts)
	must(t, err)
	must(t, s.Update(func(tx *Tx) error {
		_, err := tx.Append(NewSeries("series-name"), []byte("personal value of a series"))
		must(t, err)
		return tx.Put("table-name", []byte("personal key"), []byte("personal value of a table"))
	}))
	must(t, s.Close())
	content, err := os.ReadFile(opts.Path)
	must(t, err)
	for _, secret := range []string{"personal", "member XA", string(testKey(1))} {
		if bytes.Contains(content, []byte(secret)) {
			t.Errorf("%q stands in the file", secret)
		}
	}
	if !bytes.Contains(content, []byte("series-name")) {
		t.Error("control: a name that is stored plainly must be found")
	}
}

func TestAnErasedValueCannotBeReadThroughTheStore(t *testing.T) {
	opts := newFile(t)
	log := NewSeries("log")
	s, err := Open(opts)
	must(t, err)
	appendAll(t, s, log, "first", "to be erased", "third")
	must(t, s.Update(func(tx *Tx) error {
		wantError(t, tx.Replace(log, 4, nil), ErrAbsent)
		wantError(t, tx.Replace(NewSeries("never"), 1, nil), ErrAbsent)
		return tx.Replace(log, 2, nil)
	}))
	must(t, s.Verify(t.Context(), nil))
	must(t, s.Close())
	s = mustOpen(t, opts)
	if got := scanAll(t, s, log); !slices.Equal(got, []string{"first", "", "third"}) {
		t.Errorf("got %q", got)
	}
	if n := func() (n uint64) { must(t, s.View(func(v *View) error { n = v.Len(log); return nil })); return }(); n != 3 {
		t.Errorf("length %d", n)
	}
}

func TestViewsThatLastTooLongAreCounted(t *testing.T) {
	opts := newFile(t)
	clock := time.Unix(1_700_000_000, 0)
	opts.Now = func() time.Time { return clock }
	s := mustOpen(t, opts)
	must(t, s.View(func(*View) error { clock = clock.Add(MaxView); return nil }))
	if s.SlowViews() != 0 {
		t.Error("a view at the bound was counted")
	}
	must(t, s.View(func(*View) error { clock = clock.Add(MaxView + 1); return nil }))
	if s.SlowViews() != 1 {
		t.Errorf("%d slow views counted", s.SlowViews())
	}
}
