package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// rawValues returns all sealed values of a part, by their stored keys.
func rawValues(t testing.TB, s *Store, part string) map[string][]byte {
	t.Helper()
	got := map[string][]byte{}
	must(t, s.View(func(v *View) error {
		return v.raw.Bucket([]byte(part)).ForEach(func(key, sealed []byte) error {
			got[string(key)] = bytes.Clone(sealed)
			return nil
		})
	}))
	return got
}

// found says how many of some sealed values stand somewhere in a file.
func found(t testing.TB, path string, sealed map[string][]byte) (count int) {
	t.Helper()
	content := readFile(t, path)
	for _, one := range sealed {
		if bytes.Contains(content, one[keyIDSize:]) {
			count++
		}
	}
	return count
}

func TestWhatWasErasedIsNowhereInTheFileAfterACompaction(t *testing.T) {
	opts := newFile(t)
	s, err := Open(opts)
	must(t, err)
	log := NewSeries("log")
	for i := range 20 {
		for range 20 {
			appendAll(t, s, log, fmt.Sprintf("batch %d %s", i, bytes.Repeat([]byte("secret"), 40)))
		}
		must(t, s.Update(func(tx *Tx) error {
			return tx.Put("documents", fmt.Append(nil, i), bytes.Repeat([]byte("paper"), 400))
		}))
	}
	all, documents := rawValues(t, s, log.part), rawValues(t, s, tablePrefix+"documents")
	erased := map[string][]byte{}
	must(t, s.Update(func(tx *Tx) error {
		for n := uint64(1); n <= 400; n += 7 {
			key := numberKey(n)
			erased[string(key[:])] = all[string(key[:])]
			delete(all, string(key[:]))
			must(t, tx.Replace(log, n, []byte("erased")))
		}
		for i := range 10 {
			must(t, tx.Delete("documents", fmt.Append(nil, i)))
		}
		return nil
	}))
	kept := rawValues(t, s, tablePrefix+"documents")
	for key, sealed := range documents {
		if kept[key] == nil {
			erased[key] = sealed
		}
	}
	if len(erased) != 58+10 || found(t, opts.Path, erased) < len(erased)/2 {
		t.Fatalf("only %d of %d erased values stand in the file without a compaction", found(t, opts.Path, erased), len(erased))
	}
	want := scanAll(t, s, log)
	done, err := s.Compact(t.Context(), nil)
	must(t, err)
	if got := found(t, opts.Path, erased); got != 0 {
		t.Errorf("%d of %d erased values are still in the file", got, len(erased))
	}
	if found(t, opts.Path, all) != len(all) || found(t, opts.Path, kept) != 10 {
		t.Error("what was not erased is not in the file as it was sealed")
	}
	if done.Values != 400+10 || done.BytesBefore <= done.BytesAfter || int(done.BytesAfter) != len(readFile(t, opts.Path)) {
		t.Errorf("said %+v of a file with %d bytes", done, len(readFile(t, opts.Path)))
	}
	folderHolds(t, filepath.Dir(opts.Path), "node.db")
	must(t, s.Close())
	s = mustOpen(t, opts)
	if !slices.Equal(scanAll(t, s, log), want) {
		t.Error("the values are not what they were")
	}
	must(t, s.Verify(t.Context(), nil))
	if got := found(t, opts.Path, erased); got != 0 {
		t.Errorf("%d erased values are in the file after a restart", got)
	}
	info, err := os.Stat(opts.Path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the file: %v", info.Mode())
	}
}

func TestWhatCountsAsErased(t *testing.T) {
	log := NewSeries("log")
	failed := errors.New("failed")
	tests := []struct {
		name   string
		update func(tx *Tx) error
		want   uint64
	}{
		{"nothing by an append", func(tx *Tx) error { _, err := tx.Append(log, nil); return err }, 0},
		{"each replaced value of a series", func(tx *Tx) error {
			return errors.Join(tx.Replace(log, 1, nil), tx.Replace(log, 2, []byte("longer than before")))
		}, 2},
		{"a deleted key of a table", func(tx *Tx) error { return tx.Delete("table", []byte("held")) }, 1},
		{"nothing by a key that was not there", func(tx *Tx) error { return tx.Delete("table", []byte("other")) }, 0},
		{"nothing by another value of a key", func(tx *Tx) error { return tx.Put("table", []byte("held"), nil) }, 0},
		{"nothing by an update that failed", func(tx *Tx) error {
			must(t, tx.Replace(log, 1, nil))
			return failed
		}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := mustOpen(t, newFile(t))
			appendAll(t, s, log, "one", "two")
			must(t, s.Update(func(tx *Tx) error { return tx.Put("table", []byte("held"), []byte("value")) }))
			err := s.Update(test.update)
			if err != nil && !errors.Is(err, failed) {
				t.Fatal(err)
			}
			if got, since := s.Erased(); got != test.want || !since.IsZero() {
				t.Errorf("%d values since %v, want %d", got, since, test.want)
			}
		})
	}
}

func TestTheCountOfErasuresIsKeptUntilACompaction(t *testing.T) {
	opts := newFile(t)
	now := time.UnixMilli(1_000_000).UTC()
	opts.Now = func() time.Time { return now }
	log := NewSeries("log")
	s, err := Open(opts)
	must(t, err)
	appendAll(t, s, log, "one", "two", "three")
	erase := func() { must(t, s.Update(func(tx *Tx) error { return tx.Replace(log, 1, nil) })) }
	want := func(values uint64, at time.Time) {
		t.Helper()
		got, since := s.Erased()
		if got != values || !since.Equal(at) {
			t.Errorf("%d values since %v, want %d since %v", got, since, values, at)
		}
	}
	want(0, time.Time{})
	erase()
	first := now
	now = now.Add(time.Hour)
	erase()
	want(2, first)
	must(t, s.Close())
	s, err = Open(opts)
	must(t, err)
	want(2, first)
	opts.Keys = Keyring{Current: testKey(2)}
	must(t, s.Reseal(t.Context(), Keyring{Current: testKey(2), Older: [][]byte{testKey(1)}}, nil))
	must(t, s.Close())
	s, err = Open(opts) // nothing of it needs the former key
	must(t, err)
	want(2, first)
	s.reached = func(step string) {
		if step == "verified" {
			now = now.Add(time.Hour)
			erase()
		}
	}
	_, err = s.Compact(t.Context(), nil)
	must(t, err)
	want(1, now) // what was erased meanwhile may be in the new file
	s.reached = nil
	must(t, s.Close())
	s = mustOpen(t, opts)
	want(1, now)
	_, err = s.Compact(t.Context(), nil)
	must(t, err)
	want(0, time.Time{})
	must(t, s.Verify(t.Context(), nil))
}
