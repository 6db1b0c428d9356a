package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// fillUp appends until the store refuses, and returns that error and the number of the last value.
func fillUp(t testing.TB, s *Store, series Series) (last uint64, err error) {
	t.Helper()
	value := bytes.Repeat([]byte("fill"), 16<<10)
	for range 10_000 {
		err = s.Update(func(tx *Tx) error {
			n, err := tx.Append(series, value)
			last = n - 1
			return err
		})
		if err != nil {
			return last, err
		}
	}
	t.Fatal("never full")
	return 0, nil
}

func TestAFullStoreGoesOnReadingAndWritesAgainWithMoreRoom(t *testing.T) {
	opts := newFile(t)
	opts.MaxBytes = MinMaxBytes
	s, err := Open(opts)
	must(t, err)
	log := NewSeries("log")
	last, err := fillUp(t, s, log)
	wantError(t, err, ErrFull)
	if last < 100 || s.Size() > opts.MaxBytes {
		t.Fatalf("full after %d values and %d bytes", last, s.Size())
	}
	if got := scanAll(t, s, log); uint64(len(got)) != last {
		t.Errorf("%d values read, %d written", len(got), last)
	}
	must(t, s.Update(func(tx *Tx) error { return tx.Put("table", []byte("key"), []byte("fits into free pages")) }))
	must(t, s.Verify(t.Context(), nil))
	must(t, s.Close())

	opts.MaxBytes *= 2
	s = mustOpen(t, opts)
	appendAll(t, s, log, "more room")
	if got := scanAll(t, s, log); got[len(got)-1] != "more room" || uint64(len(got)) != last+1 {
		t.Error("a write after raising the limit is not there")
	}
	must(t, s.Verify(t.Context(), nil))
}

// A real full disk needs a small file system, which a test cannot make without rights. Where there is one (a tmpfs
// or loop mount of 40 to 100 MiB), its folder in ENTENTE_SMALL_DISK has the same promises tested on it.
func TestAFullDiskGoesOnReadingAndWritesAgainWithMoreRoom(t *testing.T) {
	folder := os.Getenv("ENTENTE_SMALL_DISK")
	if folder == "" {
		t.Skip("ENTENTE_SMALL_DISK names no folder on a small file system")
	}
	ballast := filepath.Join(folder, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 8<<20), 0o600))
	opts := testOptions(filepath.Join(folder, "node.db"))
	must(t, Create(opts, nil))
	s := mustOpen(t, opts)
	log := NewSeries("log")
	last, err := fillUp(t, s, log)
	wantError(t, err, ErrFull)
	if got := scanAll(t, s, log); uint64(len(got)) != last {
		t.Errorf("%d values read, %d written", len(got), last)
	}
	must(t, os.Remove(ballast))
	appendAll(t, s, log, "more room")
	must(t, s.Verify(t.Context(), nil))
	must(t, s.Close())
	s = mustOpen(t, opts)
	if got := scanAll(t, s, log); uint64(len(got)) != last+1 {
		t.Errorf("%d values after reopening, %d written", len(got), last+1)
	}
}

func TestAnUpdateTooLargeForTheLimitLeavesRoomForSmallOnes(t *testing.T) {
	opts := newFile(t)
	opts.MaxBytes = MinMaxBytes
	s := mustOpen(t, opts)
	wantError(t, s.Update(func(tx *Tx) error {
		_, err := tx.Append(NewSeries("log"), make([]byte, 2*MinMaxBytes))
		return err
	}), ErrFull)
	appendAll(t, s, NewSeries("log"), "small")
	if got := scanAll(t, s, NewSeries("log")); !slices.Equal(got, []string{"small"}) {
		t.Errorf("got %q", got)
	}
}

func TestAFailingDiskStopsTheStoreForGood(t *testing.T) {
	opts := newFile(t)
	s, err := Open(opts)
	must(t, err)
	log := NewSeries("log")
	appendAll(t, s, log, "acknowledged")
	must(t, s.file.Close()) // from here on the disk refuses everything
	err = s.Update(func(tx *Tx) error { _, err := tx.Append(log, []byte("lost")); return err })
	var fatal *FatalError
	if !errors.As(err, &fatal) {
		t.Fatalf("got %v, want a fatal error", err)
	}
	if !errors.As(s.View(func(*View) error { return nil }), &fatal) || !errors.As(s.Update(func(*Tx) error { return nil }), &fatal) {
		t.Error("the store must refuse everything after a fatal error")
	}
	_ = s.Close()
	s = mustOpen(t, opts)
	if got := scanAll(t, s, log); !slices.Equal(got, []string{"acknowledged"}) {
		t.Errorf("got %q", got)
	}
}

func TestErrorsOfTheSystemAreToldApart(t *testing.T) {
	tests := []struct {
		name string
		err  error
		full bool
	}{
		{"a full disk", fmt.Errorf("write: %w", syscall.ENOSPC), true},
		{"a quota", fmt.Errorf("write: %w", syscall.EDQUOT), true},
		{"a full disk of which bbolt kept the text", fmt.Errorf("file sync error: %s", fmt.Errorf("sync f: %w", syscall.ENOSPC)), true},
		{"a failed sync", fmt.Errorf("file sync error: %s", syscall.EIO), false},
		{"a failed write", syscall.EIO, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if isFull(test.err) != test.full {
				t.Errorf("isFull(%v) is %v", test.err, !test.full)
			}
		})
	}
}

func TestAFullFileStillTakesWhatMayUseItsReserve(t *testing.T) {
	opts := newFile(t)
	opts.MaxBytes = MinMaxBytes
	s := mustOpen(t, opts)
	series := NewSeries("log")
	_, err := fillUp(t, s, series)
	if !errors.Is(err, ErrFull) {
		t.Fatalf("want ErrFull, got %v", err)
	}
	for i := range 100 { // 4 MiB of the reserve, and more than nothing of it
		err = s.UpdateReserved(func(tx *Tx) error {
			_, err := tx.Append(NewSeries("trail"), bytes.Repeat([]byte("look"), 10<<10))
			return err
		})
		if err != nil {
			t.Fatalf("reserved value %d: %v", i+1, err)
		}
	}
	if s.Size() > MinMaxBytes {
		t.Errorf("the file has %d bytes, at most %d are allowed", s.Size(), MinMaxBytes)
	}
	err = s.Update(func(tx *Tx) error {
		_, err := tx.Append(series, bytes.Repeat([]byte("fill"), 16<<10))
		return err
	})
	if !errors.Is(err, ErrFull) {
		t.Errorf("everything else is still refused: %v", err)
	}
}
