package demo

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"entente.example/entente/nodes/federation"
	"entente.example/entente/server/store"
)

// dataFile makes a member's folder with a sealing key and an open data file of one series.
func dataFile(t *testing.T) (*stage, *station, *store.Store) {
	t.Helper()
	s := &stage{dir: t.TempDir()}
	at := &station{seat: &federation.Seat{ID: "XA"}}
	must(t, os.Mkdir(s.path("XA"), 0o700))
	path := filepath.Join(s.dir, "XA", "sealing.key")
	must(t, store.CreateKey(path, rand.Reader))
	key, err := store.LoadKey(path)
	must(t, err)
	options := store.Options{Path: s.path("XA", "node.db"), Keys: store.Keyring{Current: key}, Rand: rand.Reader, Now: time.Now}
	must(t, store.Create(options, []byte("XA")))
	data, err := store.Open(options)
	must(t, err)
	t.Cleanup(func() { must(t, data.Close()) })
	return s, at, data
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestARawDataFileIsSearchedForAText(t *testing.T) {
	log := store.NewSeries("log")
	appends := func(text string) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := tx.Append(log, []byte(text))
			return err
		}
	}
	tests := []struct {
		name    string
		changes []func(*store.Tx) error
		compact bool
		found   bool
	}{
		{"a text that was never written is not found", []func(*store.Tx) error{appends("something else")}, false, false},
		{"a text within a value is found", []func(*store.Tx) error{appends("before the remark after")}, false, true},
		{"a text in the last of several values is found", []func(*store.Tx) error{appends("one"), appends("two"), appends("the remark")}, false, true},
		{"a text that stands after a compaction is found", []func(*store.Tx) error{appends("the remark")}, true, true},
		{"what is erased is gone with a compaction", []func(*store.Tx) error{appends("the remark"), func(tx *store.Tx) error {
			return tx.Replace(log, 1, []byte("erased"))
		}}, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, at, data := dataFile(t)
			for _, change := range test.changes {
				must(t, data.Update(change))
			}
			if test.compact {
				_, err := data.Compact(t.Context(), nil)
				must(t, err)
			}
			count, err := s.onDisk(at, "the remark")
			if err != nil || (count > 0) != test.found {
				t.Errorf("%d places (%v), found should be %v", count, err, test.found)
			}
		})
	}
}
