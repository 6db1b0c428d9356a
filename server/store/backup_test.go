package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// folderHolds fails unless a folder holds exactly these files.
func folderHolds(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	must(t, err)
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func TestABackupIsTheFileAsOneCommitLeftIt(t *testing.T) {
	opts := newFile(t)
	s := mustOpen(t, opts)
	pair, other := NewSeries("pair"), NewSeries("other")
	stop := make(chan struct{})
	var writer sync.WaitGroup
	started := make(chan struct{})
	writer.Go(func() { // ends with stop
		for i := 0; ; i++ {
			must(t, s.Update(func(tx *Tx) error {
				value := bytes.Repeat([]byte{byte(i)}, 10_000)
				_, err := tx.Append(pair, value)
				if err != nil {
					return err
				}
				_, err = tx.Append(other, value)
				return err
			}))
			if i == 20 {
				close(started)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	<-started
	path := filepath.Join(t.TempDir(), "copy.db")
	var last, total uint64
	done, err := s.Backup(t.Context(), path, func(written, all uint64) { last, total = written, all })
	close(stop)
	writer.Wait()
	must(t, err)
	content := readFile(t, path)
	if last != total || uint64(done.Bytes) != total || int(total) != len(content) || done.SHA256 != sha256.Sum256(content) {
		t.Errorf("%d of %d bytes said, %+v, the file has %d", last, total, done, len(content))
	}
	opts.Path = path
	copied := mustOpen(t, opts)
	must(t, copied.Verify(t.Context(), nil))
	one, two := scanAll(t, copied, pair), scanAll(t, copied, other)
	if len(one) < 20 || !slices.Equal(one, two) || done.Values < uint64(2*len(one)) {
		t.Errorf("%d and %d values in the copy, %d said", len(one), len(two), done.Values)
	}
	appendAll(t, copied, pair, "a copy is a whole store")
	must(t, s.Verify(t.Context(), nil))
}

func TestABackupThatFailsLeavesNothing(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(t *testing.T, folder string) (context.Context, string)
		want    error
		left    []string
	}{
		{"when the name is taken", func(t *testing.T, folder string) (context.Context, string) {
			path := filepath.Join(folder, "taken.db")
			must(t, os.WriteFile(path, []byte("mine"), 0o600))
			return t.Context(), path
		}, ErrTaken, []string{"taken.db"}},
		{"when the folder is missing", func(t *testing.T, folder string) (context.Context, string) {
			return t.Context(), filepath.Join(folder, "missing", "copy.db")
		}, fs.ErrNotExist, nil},
		{"when the caller gives up", func(t *testing.T, folder string) (context.Context, string) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, filepath.Join(folder, "copy.db")
		}, context.Canceled, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := mustOpen(t, newFile(t))
			appendAll(t, s, NewSeries("log"), "value")
			folder := t.TempDir()
			ctx, path := test.arrange(t, folder)
			_, err := s.Backup(ctx, path, nil)
			wantError(t, err, test.want)
			folderHolds(t, folder, test.left...)
			appendAll(t, s, NewSeries("log"), "and it goes on")
		})
	}
	t.Run("when the caller gives up half way, and the next one clears what a crash left", func(t *testing.T) {
		s := mustOpen(t, newFile(t))
		appendAll(t, s, NewSeries("log"), string(make([]byte, 1<<20)))
		folder := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Backup(ctx, filepath.Join(folder, "copy.db"), func(written, total uint64) {
			if written > total/2 {
				cancel()
			}
		})
		wantError(t, err, context.Canceled)
		folderHolds(t, folder)
		must(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("unfinished-%x-1", s.Derive("names of unfinished backups")[:4])), nil, 0o600))
		must(t, os.WriteFile(filepath.Join(folder, "unfinished-other-1"), nil, 0o600))
		_, err = s.Backup(t.Context(), filepath.Join(folder, "copy.db"), nil)
		must(t, err)
		folderHolds(t, folder, "copy.db", "unfinished-other-1")
	})
	t.Run("when a value of the file is damaged", func(t *testing.T) {
		opts := newFile(t)
		s, err := Open(opts)
		must(t, err)
		appendAll(t, s, NewSeries("log"), "value")
		sealed := sealedAt(t, s, NewSeries("log"), 1)
		at := bytes.Index(readFile(t, opts.Path), sealed)
		flipBit(t, opts.Path, at+len(sealed)/2, 3) // under the open store
		folder := t.TempDir()
		_, err = s.Backup(t.Context(), filepath.Join(folder, "copy.db"), nil)
		wantDamage(t, err, "log")
		folderHolds(t, folder)
		must(t, s.Close())
	})
}

// A small file system in ENTENTE_SMALL_DISK, see full_test.go: of less than 60 MiB.
func TestABackupWithoutRoomLeavesNothing(t *testing.T) {
	folder := os.Getenv("ENTENTE_SMALL_DISK")
	if folder == "" {
		t.Skip("ENTENTE_SMALL_DISK names no folder on a small file system")
	}
	folder = filepath.Join(folder, "backups")
	must(t, os.MkdirAll(folder, 0o700))
	s := mustOpen(t, newFile(t))
	for range 128 {
		appendAll(t, s, NewSeries("log"), string(make([]byte, 1<<20)))
	}
	_, err := s.Backup(t.Context(), filepath.Join(folder, "copy.db"), nil)
	wantError(t, err, ErrNoRoom)
	folderHolds(t, folder)
}
