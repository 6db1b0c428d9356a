package store

import (
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	benchValues = 1000
	benchSize   = 1024
)

// BenchmarkAppend1000 commits 1,000 values of 1 KiB in one Update, in turns with raw bbolt that does the same with
// the same options and keys in order. "ratio" is our speed as a part of raw bbolt's in the same run.
func BenchmarkAppend1000(b *testing.B) {
	s := mustOpen(b, newFile(b))
	options := s.boltOptions(testOptions(""), false)
	options.OpenFile = nil // ours notes the file, and makes none
	raw, err := bolt.Open(filepath.Join(b.TempDir(), "raw.db"), 0o600, options)
	must(b, err)
	defer raw.Close()
	value := make([]byte, benchSize)
	_, err = rand.Read(value)
	must(b, err)
	var ours, theirs time.Duration
	var next uint64
	b.SetBytes(benchValues * benchSize)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		appendMany(b, s, value)
		ours += time.Since(start)
		start = time.Now()
		next = putMany(b, raw, next, value)
		theirs += time.Since(start)
	}
	b.ReportMetric(float64(theirs)/float64(ours), "ratio")
	b.ReportMetric(float64(b.N)*benchValues/ours.Seconds(), "values/s")
	b.ReportMetric(float64(b.N)*benchValues/theirs.Seconds(), "raw-values/s")
}

func appendMany(b *testing.B, s *Store, value []byte) {
	log := NewSeries("log")
	must(b, s.Update(func(tx *Tx) error {
		for range benchValues {
			_, err := tx.Append(log, value)
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

func putMany(b *testing.B, raw *bolt.DB, next uint64, value []byte) uint64 {
	must(b, raw.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("log"))
		if err != nil {
			return err
		}
		bucket.FillPercent = fill
		for range benchValues {
			next++
			key := numberKey(next)
			err = bucket.Put(key[:], value)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	return next
}

// benchStore holds a log of the given length.
func benchStore(b *testing.B, values int) (Options, *Store) {
	opts := newFile(b)
	s, err := Open(opts)
	must(b, err)
	value := make([]byte, benchSize)
	for range values / benchValues {
		appendMany(b, s, value)
	}
	return opts, s
}

func BenchmarkScan(b *testing.B) {
	_, s := benchStore(b, 20_000)
	defer s.Close()
	for b.Loop() {
		must(b, s.View(func(v *View) error {
			return v.Scan(NewSeries("log"), 1, func(uint64, []byte) (bool, error) { return true, nil })
		}))
	}
	b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds(), "values/s")
}

func BenchmarkGet(b *testing.B) {
	_, s := benchStore(b, 20_000)
	defer s.Close()
	n := uint64(0)
	must(b, s.View(func(v *View) error {
		for b.Loop() {
			n = n%20_000 + 1
			_, err := v.Get(NewSeries("log"), n)
			must(b, err)
		}
		return nil
	}))
}

// BenchmarkOpen opens a file of 100,000 values of 1 KiB, beside raw bbolt.
func BenchmarkOpen(b *testing.B) {
	opts, s := benchStore(b, 100_000)
	options := s.boltOptions(opts, false)
	options.OpenFile = nil
	must(b, s.Close())
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		s, err := Open(opts)
		must(b, err)
		ours += time.Since(start)
		must(b, s.Close())
		start = time.Now()
		raw, err := bolt.Open(opts.Path, 0o600, options)
		must(b, err)
		theirs += time.Since(start)
		must(b, raw.Close())
	}
	b.ReportMetric(ours.Seconds()*1000/float64(b.N), "ms")
	b.ReportMetric(theirs.Seconds()*1000/float64(b.N), "raw-ms")
}

// BenchmarkVerify reads a file of 100,000 values of 1 KiB; "pages-ms" is the part for which the writer waits.
func BenchmarkVerify(b *testing.B) {
	_, s := benchStore(b, 100_000)
	defer s.Close()
	var pages time.Duration
	for b.Loop() {
		start := time.Now()
		must(b, s.verifyPages())
		pages += time.Since(start)
		must(b, s.Verify(b.Context(), nil))
	}
	b.ReportMetric(pages.Seconds()*1000/float64(b.N), "pages-ms")
}
