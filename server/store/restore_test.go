package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRestorePutsABackupInPlace plays each way a restore can go.
func TestRestorePutsABackupInPlace(t *testing.T) {
	log := NewSeries("log")
	// arrange makes a data file with two values and a backup of its first state.
	arrange := func(t *testing.T) (Options, Restoration) {
		opts := newFile(t)
		s, err := Open(opts)
		must(t, err)
		appendAll(t, s, log, "old")
		r := Restoration{
			Path: opts.Path, Keys: opts.Keys, Backup: filepath.Join(t.TempDir(), "copy.db"), Aside: "node.db.before",
			Check: func(identity []byte) error {
				if string(identity) != "member XA" {
					return errors.New("another member's")
				}
				return nil
			},
		}
		_, err = s.Backup(t.Context(), r.Backup, nil)
		must(t, err)
		appendAll(t, s, log, "new")
		must(t, s.Close())
		return opts, r
	}
	holds := func(t *testing.T, opts Options, path string, want ...string) {
		t.Helper()
		opts.Path = path
		s, err := Open(opts)
		must(t, err)
		if got := scanAll(t, s, log); !slices.Equal(got, want) {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
		must(t, s.Close())
	}
	t.Run("and keeps the former file", func(t *testing.T) {
		opts, r := arrange(t)
		before := 0
		r.Before = func() error { before++; holds(t, opts, r.Path+".before", "old", "new"); return nil }
		opts.ReadOnly = true // Restore has a lock on it
		done, err := Restore(t.Context(), r)
		must(t, err)
		opts.ReadOnly = false
		if before != 1 || done.Aside != r.Path+".before" || done.Schema != Schema || done.Values == 0 {
			t.Errorf("%d times before, %+v", before, done)
		}
		holds(t, opts, r.Path, "old")
		holds(t, opts, done.Aside, "old", "new")
	})
	t.Run("also where there is no data file, or one that is no store", func(t *testing.T) {
		opts, r := arrange(t)
		must(t, os.Remove(r.Path))
		done, err := Restore(t.Context(), r)
		must(t, err)
		if done.Aside != "" {
			t.Errorf("something was kept: %s", done.Aside)
		}
		holds(t, opts, r.Path, "old")
		must(t, os.WriteFile(r.Path, []byte("wreck"), 0o600))
		_, err = Restore(t.Context(), r)
		must(t, err)
		holds(t, opts, r.Path, "old")
		if string(readFile(t, r.Path+".before")) != "wreck" {
			t.Error("the wreck is not kept")
		}
	})
	t.Run("and after a crash before the last step the former file is in place, and a restore works", func(t *testing.T) {
		opts, r := arrange(t)
		crashed := t.TempDir()
		r.Before = func() error { // nothing but one renaming comes after this
			return os.CopyFS(crashed, os.DirFS(filepath.Dir(r.Path)))
		}
		_, err := Restore(t.Context(), r)
		must(t, err)
		names := folderNames(t, crashed)
		if len(names) != 3 || !slices.Contains(names, "node.db") || !slices.Contains(names, "node.db.before") {
			t.Fatalf("the folder held %q", names)
		}
		r.Path, r.Aside, r.Before = filepath.Join(crashed, "node.db"), "node.db.later", nil
		holds(t, opts, r.Path, "old", "new")
		_, err = Restore(t.Context(), r)
		must(t, err)
		holds(t, opts, r.Path, "old")
		folderHolds(t, crashed, "node.db", "node.db.before", "node.db.later")
	})
	t.Run("not in a dry run", func(t *testing.T) {
		opts, r := arrange(t)
		r.DryRun = true
		done, err := Restore(t.Context(), r)
		must(t, err)
		if done.Aside == "" || done.Values == 0 {
			t.Errorf("%+v", done)
		}
		folderHolds(t, filepath.Dir(r.Path), "node.db")
		holds(t, opts, r.Path, "old", "new")
	})
	refusals := []struct {
		name  string
		spoil func(t *testing.T, opts Options, r *Restoration)
		want  error
		text  string
	}{
		{"while the data file is in use", func(t *testing.T, opts Options, r *Restoration) { mustOpen(t, opts) }, ErrLocked, ""},
		{"without a backup", func(t *testing.T, opts Options, r *Restoration) { r.Backup += "x" }, fs.ErrNotExist, ""},
		{"a folder", func(t *testing.T, opts Options, r *Restoration) { r.Backup = t.TempDir() }, ErrNotAStore, ""},
		{"the data file itself", func(t *testing.T, opts Options, r *Restoration) { r.Backup = r.Path }, nil, "itself"},
		{"a truncated backup", func(t *testing.T, opts Options, r *Restoration) {
			must(t, os.Truncate(r.Backup, int64(len(readFile(t, r.Backup))-4096)))
		}, nil, "fewer than its"},
		{"a backup of a few bytes", func(t *testing.T, opts Options, r *Restoration) { must(t, os.Truncate(r.Backup, 100)) }, nil, ""},
		{"an altered backup", func(t *testing.T, opts Options, r *Restoration) {
			o := opts
			o.Path, o.ReadOnly = r.Backup, true
			s, err := Open(o)
			must(t, err)
			sealed := sealedAt(t, s, log, 1)
			must(t, s.Close())
			flipBit(t, r.Backup, bytes.Index(readFile(t, r.Backup), sealed)+20, 1)
		}, nil, "altered"},
		{"another member's", func(t *testing.T, opts Options, r *Restoration) {
			o := opts
			o.Path = filepath.Join(t.TempDir(), "other.db")
			must(t, Create(o, []byte("member XB")))
			r.Backup = o.Path
		}, nil, "another member's"},
		{"with a wrong key", func(t *testing.T, opts Options, r *Restoration) { r.Keys.Current = testKey(9) }, ErrWrongKey, ""},
		{"of a newer program", func(t *testing.T, opts Options, r *Restoration) { setSchema(t, opts, r.Backup, Schema+1) }, ErrNewerSchema, ""},
		{"where the name for the former file is taken", func(t *testing.T, opts Options, r *Restoration) {
			r.Aside = "sealing.key"
			must(t, os.WriteFile(filepath.Join(filepath.Dir(r.Path), r.Aside), []byte("dear"), 0o600))
		}, ErrTaken, ""},
		{"where what comes before fails", func(t *testing.T, opts Options, r *Restoration) {
			r.Before = func() error { return errors.New("the marker stays") }
		}, nil, "the marker stays"},
	}
	for _, test := range refusals {
		t.Run("not "+test.name, func(t *testing.T) {
			opts, r := arrange(t)
			test.spoil(t, opts, &r)
			before, names := readFile(t, opts.Path), folderNames(t, filepath.Dir(opts.Path))
			_, err := Restore(t.Context(), r)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v", err)
			}
			if !bytes.Equal(before, readFile(t, opts.Path)) {
				t.Error("the data file was changed")
			}
			folderHolds(t, filepath.Dir(opts.Path), names...)
		})
	}
}

func folderNames(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	must(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
