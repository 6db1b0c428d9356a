package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// contents is all that a reader can learn from a store, or the first error that says it cannot.
type contents struct {
	series map[string][]string
	table  map[string]string
}

const (
	bigSeries   = 400
	smallSeries = 3
	tableKeys   = 200
)

// damageFixture makes a file with pages of all kinds: deep trees, inlined parts, overflow pages, pages that hold
// an older state of a part, and free ones.
func damageFixture(t testing.TB) (Options, contents) {
	t.Helper()
	opts := newFile(t)
	s, err := Open(opts)
	must(t, err)
	big, small := NewSeries("big"), NewSeries("small")
	for range 4 {
		must(t, s.Update(func(tx *Tx) error {
			for range bigSeries / 4 {
				_, err := tx.Append(big, fmt.Appendf(nil, "value %d %s", tx.Len(big), bytes.Repeat([]byte("x"), 300)))
				must(t, err)
			}
			return nil
		}))
	}
	must(t, s.Update(func(tx *Tx) error {
		_, err := tx.Append(small, bytes.Repeat([]byte("over several pages "), 1000))
		return err
	}))
	appendAll(t, s, small, "two", "three")
	for round := range 3 { // the same keys again: older pages that would still open
		must(t, s.Update(func(tx *Tx) error {
			for i := range tableKeys {
				must(t, tx.Put("positions", fmt.Appendf(nil, "key %d", i), fmt.Appendf(nil, "value %d of round %d", i, round)))
			}
			return tx.Put("settings", []byte("name"), fmt.Appendf(nil, "round %d", round))
		}))
		must(t, s.Update(func(tx *Tx) error { return tx.Replace(big, uint64(round+1), fmt.Appendf(nil, "erased %d", round)) }))
	}
	got, err := readContents(s)
	must(t, err)
	must(t, s.Close())
	return opts, got
}

func readContents(s *Store) (contents, error) {
	got := contents{series: map[string][]string{}, table: map[string]string{}}
	err := s.View(func(v *View) error {
		for _, name := range []string{"big", "small"} {
			err := v.Scan(NewSeries(name), 1, func(_ uint64, value []byte) (bool, error) {
				got.series[name] = append(got.series[name], string(value))
				return true, nil
			})
			if err != nil {
				return err
			}
		}
		for i := range tableKeys {
			key := fmt.Appendf(nil, "key %d", i)
			value, err := v.GetKey("positions", key)
			if err != nil {
				return err
			}
			got.table[string(key)] = string(value)
		}
		return v.Each("settings", func(key, value []byte) error {
			got.table[string(key)] = string(value)
			return nil
		})
	})
	return got, err
}

// openAndRead opens a file and reads everything: what a program would see of it.
func openAndRead(opts Options) (got contents, err error) {
	s, err := Open(opts)
	if err != nil {
		return contents{}, err
	}
	got, err = readContents(s)
	return got, errors.Join(err, s.Close())
}

func (c contents) equal(other contents) bool { return fmt.Sprint(c) == fmt.Sprint(other) }

func TestAFlippedBitIsNeverAnotherValue(t *testing.T) {
	opts, want := damageFixture(t)
	if len(want.series["big"]) != bigSeries || len(want.series["small"]) != smallSeries || len(want.table) != tableKeys+1 {
		t.Fatal("the fixture is not what it should be")
	}
	whole, err := os.ReadFile(opts.Path)
	must(t, err)
	used := len(bytes.TrimRight(whole, "\x00"))
	random := rand.New(rand.NewPCG(1, 2))
	flips := 800
	if testing.Short() {
		flips = 150
	}
	noticed, harmless := 0, 0
	for range flips {
		at, bit := random.IntN(used), random.IntN(8)
		if random.IntN(3) == 0 {
			at -= at%4096 - random.IntN(256) // headers of pages are small, and the worst place
			at = min(at, used-1)
		}
		flipBit(t, opts.Path, at, bit)
		got, err := openAndRead(opts)
		flipBit(t, opts.Path, at, bit)
		if err == nil && !got.equal(want) {
			t.Fatalf("bit %d of byte %d: other contents, and no error", bit, at)
		}
		if err == nil {
			harmless++
			continue
		}
		noticed++
		var damaged *DamageError
		if !errors.As(err, &damaged) && !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrNotAStore) && !errors.Is(err, ErrNewerSchema) {
			t.Fatalf("bit %d of byte %d: %v", bit, at, err)
		}
	}
	t.Logf("%d of %d flips noticed, %d in unused bytes", noticed, flips, harmless)
	if noticed < flips/5 {
		t.Error("too few flips hit anything: the test proves little")
	}
	got, err := openAndRead(opts)
	if err != nil || !got.equal(want) {
		t.Errorf("control: the file without a flip must be whole: %v", err)
	}
}

func TestADamagedMetaPageIsRefusedAndNotReplacedByTheOlderOne(t *testing.T) {
	opts, _ := damageFixture(t)
	for _, page := range []int{0, 4096} {
		for i := range metaSize {
			at := page + pageHeader + i
			flipBit(t, opts.Path, at, i%8)
			s, err := Open(opts)
			flipBit(t, opts.Path, at, i%8)
			if err == nil {
				_ = s.Close()
			}
			wantDamage(t, err, "meta page")
		}
	}
	_, err := openAndRead(opts)
	must(t, err)
}

func flipBit(t testing.TB, path string, at, bit int) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	var one [1]byte
	_, err = file.ReadAt(one[:], int64(at))
	must(t, err)
	one[0] ^= 1 << bit
	_, err = file.WriteAt(one[:], int64(at))
	must(t, err)
	must(t, file.Close())
}

func TestControlPlainBboltReturnsFlippedBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plain.db")
	value := bytes.Repeat([]byte("plain"), 50)
	editRaw(t, path, func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("log"))
		must(t, err)
		for n := uint64(1); n <= 100; n++ {
			key := numberKey(n)
			must(t, bucket.Put(key[:], value))
		}
		return nil
	})
	content, err := os.ReadFile(path)
	must(t, err)
	flipBit(t, path, bytes.Index(content, value)+7, 3)
	changed := 0
	editRaw(t, path, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("log")).ForEach(func(_, got []byte) error {
			if !bytes.Equal(got, value) {
				changed++
			}
			return nil
		})
	})
	if changed == 0 {
		t.Error("plain bbolt noticed a flip: then the test of flips proves nothing")
	}
}

func TestAlteredFilesAreNamedAsDamaged(t *testing.T) {
	big := []byte(NewSeries("big").part)
	table := []byte(tablePrefix + "positions")
	key7, key8, last := numberKey(7), numberKey(8), numberKey(bigSeries)
	beyond := numberKey(bigSeries + 1)
	tests := []struct {
		name  string
		edit  func(tx *bolt.Tx) error
		place string
	}{
		{"a hole in a series", func(tx *bolt.Tx) error { return tx.Bucket(big).Delete(key7[:]) }, "s/big 7 is missing"},
		{"a series without its last value", func(tx *bolt.Tx) error { return tx.Bucket(big).Delete(last[:]) }, "s/big has 399 values, not 400"},
		{"a value beyond the end", func(tx *bolt.Tx) error {
			return tx.Bucket(big).Put(beyond[:], bytes.Clone(tx.Bucket(big).Get(last[:])))
		}, "s/big has 401 values, not 400"},
		{"a value in the place of another", func(tx *bolt.Tx) error {
			return tx.Bucket(big).Put(key7[:], bytes.Clone(tx.Bucket(big).Get(key8[:])))
		}, "s/big 7: altered"},
		{"a lost series", func(tx *bolt.Tx) error { return tx.DeleteBucket(big) }, "s/big is missing"},
		{"a lost key of a table", func(tx *bolt.Tx) error {
			key, _ := tx.Bucket(table).Cursor().First()
			return tx.Bucket(table).Delete(bytes.Clone(key))
		}, "t/positions has 199 values, not 200"},
		{"lost summaries", func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(summariesBucket)) }, "summaries is missing"},
		{"a lost summary", func(tx *bolt.Tx) error { return tx.Bucket([]byte(summariesBucket)).Delete(big) }, "s/big has 400 values, not 0"},
		{"an altered summary", func(tx *bolt.Tx) error {
			summaries := tx.Bucket([]byte(summariesBucket))
			return summaries.Put(big, bytes.Clone(summaries.Get([]byte(commitKey))))
		}, "summary of s/big"},
		{"a foreign part", func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("s/more")); return err }, "not all of the last transaction"},
		{"a value outside all parts", func(tx *bolt.Tx) error {
			_, err := tx.Bucket(big).CreateBucket([]byte("bucket"))
			return err
		}, "is no value"},
		{"another identity", func(tx *bolt.Tx) error {
			return tx.Bucket([]byte(metaBucket)).Put([]byte(identityKey), bytes.Clone(tx.Bucket([]byte(metaBucket)).Get([]byte(rootKey))))
		}, "meta identity"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts, _ := damageFixture(t)
			editRaw(t, opts.Path, test.edit)
			s, err := Open(opts)
			if err == nil {
				_ = s.Close()
			}
			wantDamage(t, err, test.place)
		})
	}
}

func TestAnOlderValueInItsOwnPlaceIsDamage(t *testing.T) {
	opts := newFile(t)
	s, err := Open(opts)
	must(t, err)
	log := NewSeries("log")
	appendAll(t, s, log, "withdrawn since")
	older := sealedAt(t, s, log, 1)
	must(t, s.Update(func(tx *Tx) error { return tx.Replace(log, 1, nil) }))
	must(t, s.Close())
	key := numberKey(1)
	editRaw(t, opts.Path, func(tx *bolt.Tx) error { return tx.Bucket([]byte(log.part)).Put(key[:], older) })
	_, err = Open(opts)
	wantDamage(t, err, "s/log holds a value that was not last written there")
}

func TestDamageThatComesWhileOpenIsNoticedOnReading(t *testing.T) {
	opts := newFile(t)
	s := mustOpen(t, opts)
	log := NewSeries("log")
	for range 30 {
		appendAll(t, s, log, string(bytes.Repeat([]byte("sealed"), 200)))
	}
	sealed := sealedAt(t, s, log, 17)
	content, err := os.ReadFile(opts.Path)
	must(t, err)
	for at := 0; ; { // copies in free pages too
		next := bytes.Index(content[at:], sealed)
		if next < 0 {
			break
		}
		at += next + 40
		flipBit(t, opts.Path, at, 0)
	}
	must(t, s.View(func(v *View) error {
		_, err := v.Get(log, 17)
		wantDamage(t, err, "s/log 17: altered")
		_, err = v.Get(log, 16)
		return err
	}))
	wantDamage(t, s.View(func(v *View) error {
		return v.Scan(log, 1, func(uint64, []byte) (bool, error) { return true, nil })
	}), "s/log 17")
	var done, total uint64
	wantDamage(t, s.Verify(t.Context(), func(d, n uint64) { done, total = d, n }), "s/log 17")
	if done != 30 || total != 30 {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	must(t, s.Update(func(tx *Tx) error { return tx.Replace(log, 17, []byte("fetched again")) }))
	must(t, s.Verify(t.Context(), nil))
}

func TestBrokenPagesWhileOpenAreErrorsAndNotTheEndOfTheProcess(t *testing.T) {
	opts := newFile(t)
	s := mustOpen(t, opts)
	log := NewSeries("log")
	appendAll(t, s, log, string(bytes.Repeat([]byte("page"), 1000)), string(bytes.Repeat([]byte("page"), 1000)))
	for at := 2 * 4096; at < 16*4096; at += 4096 {
		for bit := range 8 {
			flipBit(t, opts.Path, at+8, bit) // the kind of each page
		}
	}
	wantDamage(t, s.View(func(v *View) error { _, err := v.Get(log, 1); return err }), "")
	wantDamage(t, s.View(func(v *View) error { v.Len(log); return nil }), "")
	wantDamage(t, s.View(func(v *View) error { _, err := v.GetKey("table", nil); return err }), "")
	wantDamage(t, s.Update(func(tx *Tx) error { _, err := tx.Append(log, nil); return err }), "")
	wantDamage(t, s.Verify(t.Context(), nil), "page")
	for at := 2 * 4096; at < 16*4096; at += 4096 {
		for bit := range 8 {
			flipBit(t, opts.Path, at+8, bit)
		}
	}
	must(t, s.Verify(t.Context(), nil))
}

func TestVerifyStopsWhenItsContextEnds(t *testing.T) {
	opts, _ := damageFixture(t)
	s := mustOpen(t, opts)
	must(t, s.Verify(t.Context(), nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, s.Verify(ctx, nil), context.Canceled)
}

func sealedAt(t testing.TB, s *Store, series Series, n uint64) (sealed []byte) {
	t.Helper()
	must(t, s.View(func(v *View) error {
		p, err := v.part(series.part)
		key := numberKey(n)
		sealed = bytes.Clone(p.get(key[:]))
		return err
	}))
	return sealed
}
