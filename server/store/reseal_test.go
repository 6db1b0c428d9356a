package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// manyValues fills a store with several parts, more than one step of Reseal does.
func manyValues(t testing.TB, s *Store) {
	t.Helper()
	for part := range 3 {
		must(t, s.Update(func(tx *Tx) error {
			for i := range 1500 {
				_, err := tx.Append(NewSeries(fmt.Sprint("series", part)), fmt.Appendf(nil, "value %d", i))
				if err != nil {
					return err
				}
			}
			return tx.Put("table", fmt.Append(nil, part), []byte("entry"))
		}))
	}
}

func TestAnotherKeySealsAllWhileTheStoreIsInUse(t *testing.T) {
	opts := newFile(t)
	s, err := Open(opts)
	must(t, err)
	manyValues(t, s)
	derived := s.Derive("cursors")
	outdated, err := s.Outdated(t.Context())
	must(t, err)
	if outdated != 0 {
		t.Fatalf("%d values under older keys before there was another key", outdated)
	}
	stop := make(chan struct{})
	var users sync.WaitGroup
	var calls, failed int
	users.Go(func() { // the writer; ends with stop
		for i := 0; ; i++ {
			calls++
			err := s.Update(func(tx *Tx) error {
				_, err := tx.Append(NewSeries("series1"), fmt.Append(nil, "meanwhile ", i))
				if err != nil {
					return err
				}
				return tx.Put("meanwhile", fmt.Append(nil, i%7), []byte("entry"))
			})
			if err != nil {
				failed++
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for reader := range 3 {
		users.Go(func() { // ends with stop
			series := NewSeries(fmt.Sprint("series", reader))
			for {
				must(t, s.View(func(v *View) error {
					return v.Scan(series, 1, func(uint64, []byte) (bool, error) { return true, nil })
				}))
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var seen [][3]uint64
	next := Keyring{Current: testKey(2), Older: [][]byte{testKey(1)}}
	err = s.Reseal(t.Context(), next, func(done, total, resealed uint64) { seen = append(seen, [3]uint64{done, total, resealed}) })
	close(stop)
	users.Wait()
	must(t, err)
	if failed != 0 || calls == 0 {
		t.Errorf("%d of %d calls failed meanwhile", failed, calls)
	}
	last := seen[len(seen)-1]
	if len(seen) < 4 || last[0] != last[1] || last[2] < 4503 {
		t.Errorf("progress: %v", seen)
	}
	outdated, err = s.Outdated(t.Context())
	must(t, err)
	if outdated != 0 {
		t.Errorf("%d values still under older keys", outdated)
	}
	must(t, s.Verify(t.Context(), nil))
	must(t, s.Close())

	wrong := opts // the former key opens nothing any more
	_, err = Open(wrong)
	wantError(t, err, ErrWrongKey)
	opts.Keys = Keyring{Current: testKey(2)}
	s = mustOpen(t, opts)
	must(t, s.Verify(t.Context(), nil))
	if got := scanAll(t, s, NewSeries("series0")); len(got) != 1500 || got[7] != "value 7" {
		t.Error("the values are not what they were")
	}
	if string(s.Derive("cursors")) != string(derived) {
		t.Error("a derived key changed with the sealing key")
	}
}

func TestSealingAnewGoesOnAfterItWasCutShort(t *testing.T) {
	opts := newFile(t)
	s, err := Open(opts)
	must(t, err)
	manyValues(t, s)
	next := Keyring{Current: testKey(2), Older: [][]byte{testKey(1)}}
	ctx, cancel := context.WithCancel(t.Context())
	wantError(t, s.Reseal(ctx, next, func(uint64, uint64, uint64) { cancel() }), context.Canceled)
	left, err := s.Outdated(t.Context())
	must(t, err)
	if left == 0 {
		t.Fatal("nothing is left to do: the test holds nothing")
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	_, err = s.Backup(t.Context(), copied, nil) // which needs both keys
	must(t, err)
	must(t, s.Close())

	opts.Keys = Keyring{Current: testKey(2)}
	s, err = Open(opts)
	if err == nil { // meta and what was changed last open with it alone; the rest does not
		err = errors.Join(s.Verify(t.Context(), nil), s.Close())
	}
	wantError(t, err, ErrWrongKey)
	opts.Keys = next
	s = mustOpen(t, opts)
	must(t, s.Reseal(t.Context(), next, nil))
	opts.Path, opts.ReadOnly, opts.Keys = copied, true, Keyring{Current: testKey(1), Older: [][]byte{testKey(2)}}
	must(t, mustOpen(t, opts).Verify(t.Context(), nil))
	left, err = s.Outdated(t.Context())
	must(t, err)
	if left != 0 {
		t.Errorf("%d values still under older keys", left)
	}
}

func TestSealingAnewIsRefused(t *testing.T) {
	tests := []struct {
		name string
		ring Keyring
		want error
		text string
	}{
		{"without the key that values need", Keyring{Current: testKey(2), Older: [][]byte{testKey(3)}}, ErrWrongKey, "name it as an older key"},
		{"with a key of another size", Keyring{Current: []byte("short")}, nil, "has 5 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := newFile(t)
			s, err := Open(opts)
			must(t, err)
			manyValues(t, s)
			err = s.Reseal(t.Context(), test.ring, nil)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got %v", err)
			}
			appendAll(t, s, NewSeries("log"), "under the old key")
			must(t, s.Close())
			must(t, mustOpen(t, opts).Verify(t.Context(), nil))
		})
	}
	t.Run("while another is under way", func(t *testing.T) {
		s := mustOpen(t, newFile(t))
		manyValues(t, s)
		next := Keyring{Current: testKey(2), Older: [][]byte{testKey(1)}}
		var inner error
		must(t, s.Reseal(t.Context(), next, func(uint64, uint64, uint64) { inner = s.Reseal(t.Context(), next, nil) }))
		wantError(t, inner, ErrBusy)
	})
}
