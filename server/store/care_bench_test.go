package store

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// largeStore is a store whose file has so many bytes.
func largeStore(b *testing.B, size int64) *Store {
	opts := newFile(b)
	opts.InitialMmap = 0
	s := mustOpen(b, opts)
	for s.Size() < size {
		commit(b, s, 10_000)
	}
	return s
}

// commit appends values of 1 KiB and says how long it took.
func commit(b *testing.B, s *Store, values int) time.Duration {
	value := make([]byte, 1024)
	start := time.Now()
	must(b, s.Update(func(tx *Tx) error {
		for range values {
			_, err := tx.Append(NewSeries("log"), value)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	return time.Since(start)
}

// commitWhile commits 100 values at a time, first in quiet and then as long as some work takes, and reports how long the
// commits took: 50th and 99th percentile and the longest; how long the work took, and how much the file grew meanwhile.
func commitWhile(b *testing.B, s *Store, work func() error) {
	report := func(name string, took []time.Duration) {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"-p99-ms")
		b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, name+"-max-ms")
	}
	var quiet, busy []time.Duration
	for range 300 {
		quiet = append(quiet, commit(b, s, 100))
	}
	start, grown, ended := time.Now(), s.Size(), make(chan error)
	go func() { ended <- work() }() // ends with the work
	for running := true; running; {
		busy = append(busy, commit(b, s, 100))
		select {
		case err := <-ended:
			must(b, err)
			running = false
		default:
		}
	}
	b.ReportMetric(time.Since(start).Seconds(), "work-s")
	b.ReportMetric(float64(s.Size()-grown)/(1<<20), "grown-MiB")
	report("quiet", quiet)
	report("busy", busy)
}

func BenchmarkCommitDuringBackup(b *testing.B) {
	s := largeStore(b, 1<<30)
	for b.Loop() {
		start, copied := time.Now(), time.Duration(0)
		commitWhile(b, s, func() error {
			start = time.Now()
			_, err := s.Backup(b.Context(), filepath.Join(b.TempDir(), "copy.db"), func(written, total uint64) {
				if written == total {
					copied = time.Since(start)
				}
			})
			return err
		})
		b.ReportMetric(copied.Seconds(), "copy-s")
	}
}

func BenchmarkCommitDuringReseal(b *testing.B) {
	s := largeStore(b, 1<<30)
	keys := [][]byte{testKey(1), testKey(2)}
	for b.Loop() {
		keys[0], keys[1] = keys[1], keys[0]
		commitWhile(b, s, func() error {
			return s.Reseal(b.Context(), Keyring{Current: keys[0], Older: keys[1:]}, nil)
		})
	}
}

// BenchmarkCommitDuringCompact says in addition how long the check of the copy took, and the last step, in which writers
// wait: from the last time that little was left until the swap.
func BenchmarkCommitDuringCompact(b *testing.B) {
	s := largeStore(b, 256<<20)
	var last time.Time
	s.reached = func(step string) {
		now := time.Now()
		switch step {
		case "copied":
			last = now
		case "verified":
			b.ReportMetric(float64(now.Sub(last).Microseconds())/1000, "check-ms")
		case "swapped":
			b.ReportMetric(float64(now.Sub(last).Microseconds())/1000, "last-step-ms")
		}
	}
	for b.Loop() {
		commitWhile(b, s, func() error {
			_, err := s.Compact(b.Context(), nil)
			return err
		})
	}
}
