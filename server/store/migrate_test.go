package store

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// setSchema makes a file say that it has a schema.
func setSchema(t testing.TB, opts Options, path string, schema uint32) {
	t.Helper()
	opts.Path = path
	s, err := Open(opts)
	must(t, err)
	root := append(binary.BigEndian.AppendUint32(nil, schema), s.root[4:]...)
	must(t, s.Update(func(tx *Tx) error { return tx.putMeta(root, s.identity) }))
	must(t, s.Close())
}

func TestAFileWithAnEarlierSchemaIsBroughtForward(t *testing.T) {
	log := NewSeries("log")
	arrange := func(t *testing.T) Options {
		opts := newFile(t)
		s, err := Open(opts)
		must(t, err)
		appendAll(t, s, log, "value")
		must(t, s.Close())
		setSchema(t, opts, opts.Path, 1)
		return opts
	}
	t.Run("and the file before is kept", func(t *testing.T) {
		opts := arrange(t)
		before := readFile(t, opts.Path)
		s, err := Open(opts)
		must(t, err)
		from, kept := s.Migrated()
		if from != 1 || kept != opts.Path+".schema-1" || s.Schema() != Schema || string(readFile(t, kept)) != string(before) {
			t.Errorf("from %d, kept as %s, now %d", from, kept, s.Schema())
		}
		appendAll(t, s, log, "more")
		must(t, s.Verify(t.Context(), nil))
		must(t, s.Close())
		s = mustOpen(t, opts)
		from, _ = s.Migrated()
		if from != 0 || s.Schema() != Schema || len(scanAll(t, s, log)) != 2 {
			t.Error("the second start is not like any other")
		}
		folderHolds(t, filepath.Dir(opts.Path), "node.db", "node.db.schema-1")
	})
	t.Run("not when it is only read", func(t *testing.T) {
		opts := arrange(t)
		before := readFile(t, opts.Path)
		opts.ReadOnly = true
		s := mustOpen(t, opts)
		must(t, s.Verify(t.Context(), nil))
		from, _ := s.Migrated()
		if from != 0 || s.Schema() != 1 || !slices.Equal(scanAll(t, s, log), []string{"value"}) || string(readFile(t, opts.Path)) != string(before) {
			t.Error("reading changed it, or does not work")
		}
		folderHolds(t, filepath.Dir(opts.Path), "node.db")
	})
	t.Run("after a crash between the copy and the upgrade", func(t *testing.T) {
		opts := arrange(t)
		must(t, os.WriteFile(opts.Path+".schema-1", readFile(t, opts.Path), 0o600))
		must(t, os.WriteFile(opts.Path+leftoverMark+"1", []byte("half a copy"), 0o600))
		from, _ := mustOpen(t, opts).Migrated()
		if from != 1 {
			t.Error("not brought forward")
		}
	})
	t.Run("not where the copy of another file is in the way", func(t *testing.T) {
		opts := arrange(t)
		must(t, os.WriteFile(opts.Path+".schema-1", []byte("another"), 0o600))
		before := readFile(t, opts.Path)
		_, err := Open(opts)
		wantError(t, err, ErrKept)
		if string(readFile(t, opts.Path)) != string(before) || string(readFile(t, opts.Path+".schema-1")) != "another" {
			t.Error("something was changed")
		}
	})
	t.Run("not where no copy can be made", func(t *testing.T) {
		opts := arrange(t)
		must(t, os.Mkdir(opts.Path+".schema-1", 0o700))
		before := readFile(t, opts.Path)
		_, err := Open(opts)
		if err == nil || string(readFile(t, opts.Path)) != string(before) {
			t.Errorf("got %v, or the file was changed", err)
		}
	})
}
