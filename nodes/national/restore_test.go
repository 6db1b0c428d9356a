package national_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"entente.example/entente/nodes/national"
	"entente.example/entente/server/store"
)

// oldNode is the node of XA as a program of contract 1 left it, on a day on which its papers are valid.
type oldNode struct {
	t      *testing.T
	folder string
}

func newOldNode(t *testing.T) *oldNode { return &oldNode{t, filepath.Join(unpackFederation(t), "XA")} }

func (o *oldNode) path(name string) string { return filepath.Join(o.folder, name) }

func (o *oldNode) read(name string) []byte {
	o.t.Helper()
	content, err := os.ReadFile(o.path(name))
	must(o.t, err)
	return content
}

func (o *oldNode) deps() national.Deps {
	return national.Deps{Now: func() time.Time { return time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC) }, Rand: rand.Reader}
}

func (o *oldNode) config() *national.Config {
	o.t.Helper()
	c, err := national.LoadConfig(o.path("node.yaml"), nil, nil)
	must(o.t, err)
	return c
}

func (o *oldNode) options() store.Options {
	o.t.Helper()
	key, err := store.LoadKey(o.path("sealing.key"))
	must(o.t, err)
	return store.Options{Path: o.path("node.db"), Keys: store.Keyring{Current: key}, Rand: rand.Reader}
}

func (o *oldNode) restore(backup string, dry bool) (store.Restored, error) {
	return national.Restore(o.t.Context(), o.config(), o.deps(), national.RestoreOptions{Backup: backup, DryRun: dry})
}

func TestADataFileOfContract1IsBroughtForwardAndBack(t *testing.T) {
	o := newOldNode(t)
	before := o.read("node.db")
	readOnly := o.options()
	readOnly.ReadOnly = true
	st, err := store.Open(readOnly)
	must(t, err)
	must(t, st.Verify(t.Context(), nil))
	if st.Schema() != 1 {
		t.Fatalf("the file has schema %d: the test holds nothing", st.Schema())
	}
	must(t, st.Close())
	problems := national.Check(t.Context(), o.config(), o.deps())
	if !bytes.Equal(o.read("node.db"), before) {
		t.Errorf("a check changed the data file; it found %v", problems)
	}

	st, err = store.Open(o.options())
	must(t, err)
	from, kept := st.Migrated()
	must(t, st.Verify(t.Context(), nil))
	must(t, st.Close())
	if from != 1 || !bytes.Equal(o.read(filepath.Base(kept)), before) {
		t.Errorf("from schema %d; the copy %s is not the file as it was", from, kept)
	}

	// The way back. The earlier program takes what has schema 1, byte for byte as it left it.
	done, err := o.restore(kept, false)
	must(t, err)
	if done.Schema != 1 || !bytes.Equal(o.read("node.db"), before) {
		t.Errorf("schema %d is in place, or not the same file", done.Schema)
	}
	st, err = store.Open(o.options()) // and forward again: the same copy will do
	must(t, err)
	from, _ = st.Migrated()
	must(t, st.Close())
	if from != 1 {
		t.Error("not brought forward the second time")
	}
}

func TestARestoreTakesTheMarkerAwayAndADryRunNothing(t *testing.T) {
	o := newOldNode(t)
	backup := filepath.Join(t.TempDir(), "copy.db")
	must(t, os.WriteFile(backup, o.read("node.db"), 0o600))
	before := o.read("node.db")
	done, err := o.restore(backup, true)
	must(t, err)
	o.read("node.marker") // is there still
	entries, err := os.ReadDir(o.folder)
	must(t, err)
	for _, entry := range entries {
		if strings.Contains(entry.Name(), "restore") || strings.Contains(entry.Name(), "unfinished") {
			t.Errorf("a dry run left %s", entry.Name())
		}
	}
	if done.Values == 0 || !bytes.Equal(before, o.read("node.db")) {
		t.Errorf("%+v, or the data file was changed", done)
	}
	done, err = o.restore(backup, false)
	must(t, err)
	_, err = os.Stat(o.path("node.marker"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the marker is still there: the node would believe that it has forgotten nothing")
	}
	if filepath.Base(done.Aside) != "node.db.before-restore-20261201T080000Z" || !bytes.Equal(o.read(filepath.Base(done.Aside)), before) {
		t.Errorf("the former file is not kept as %s", done.Aside)
	}
}

func TestARestoreIsRefusedWithWhatToDo(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(o *oldNode, backup string)
		want  error
		text  string
	}{
		{"while the node runs", func(o *oldNode, _ string) {
			st, err := store.Open(o.options())
			must(o.t, err)
			o.t.Cleanup(func() { must(o.t, st.Close()) })
		}, store.ErrLocked, "stop the node first"},
		{"from a backup of another member", func(o *oldNode, backup string) {
			content, err := os.ReadFile(filepath.Join(o.folder, "../XB/node.db"))
			must(o.t, err)
			must(o.t, os.WriteFile(backup, content, 0o600))
			must(o.t, os.Remove(o.path("sealing.key")))
			must(o.t, os.Link(filepath.Join(o.folder, "../XB/sealing.key"), o.path("sealing.key")))
		}, national.ErrForeignData, "a backup of another node"},
		{"with another sealing key", func(o *oldNode, _ string) {
			must(o.t, os.Remove(o.path("sealing.key")))
			must(o.t, store.CreateKey(o.path("sealing.key"), rand.Reader))
		}, store.ErrWrongKey, "older_sealing_keys"},
		{"from a truncated backup", func(o *oldNode, backup string) { must(o.t, os.Truncate(backup, 20_000)) }, nil, "take another backup"},
		{"from what is no backup", func(o *oldNode, backup string) {
			must(o.t, os.WriteFile(backup, bytes.Repeat([]byte("letter "), 9000), 0o600))
		}, store.ErrNotAStore, "take another backup"},
		{"from a file that is not there", func(_ *oldNode, backup string) { must(t, os.Remove(backup)) }, fs.ErrNotExist, "copy.db"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOldNode(t)
			backup := filepath.Join(t.TempDir(), "copy.db")
			must(t, os.WriteFile(backup, o.read("node.db"), 0o600))
			test.spoil(o, backup)
			before := o.read("node.db")
			for _, dry := range []bool{true, false} {
				_, err := o.restore(backup, dry)
				if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("got %v, want %q", err, test.text)
				}
			}
			if !bytes.Equal(before, o.read("node.db")) {
				t.Error("the data file was changed")
			}
			o.read("node.marker")
		})
	}
}
