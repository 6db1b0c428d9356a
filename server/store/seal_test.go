package store

import (
	"bytes"
	"testing"
)

func testSealer(t testing.TB, ring Keyring) *sealer {
	t.Helper()
	s, err := newSealer(ring)
	must(t, err)
	return s
}

func TestASealedValueOpensOnlyWhereItWasPut(t *testing.T) {
	s := testSealer(t, Keyring{Current: testKey(1), Older: [][]byte{testKey(2)}})
	older := testSealer(t, Keyring{Current: testKey(2)})
	key := numberKey(1)
	bound := bindTo(nil, "s/log", key[:])
	sealed := s.seal(nil, make([]byte, nonceSize), bound, []byte("value"))
	olderSealed := older.seal(nil, make([]byte, nonceSize), bound, []byte("value"))
	other := numberKey(2)
	tests := []struct {
		name          string
		with          *sealer
		bound, sealed []byte
		want          error
	}{
		{"its own place", s, bound, sealed, nil},
		{"an older key", s, bound, olderSealed, nil},
		{"another number", s, bindTo(nil, "s/log", other[:]), sealed, errAltered},
		{"another part", s, bindTo(nil, "s/lob", key[:]), sealed, errAltered},
		{"a key that is not there", older, bound, sealed, ErrWrongKey},
		{"one byte short", s, bound, sealed[:len(sealed)-1], errAltered},
		{"hardly anything", s, bound, sealed[:sealOverhead-1], errTooShort},
		{"nothing", s, bound, nil, errTooShort},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			plain, err := test.with.open(nil, test.bound, test.sealed)
			wantError(t, err, test.want)
			if test.want == nil && string(plain) != "value" || test.want != nil && plain != nil {
				t.Errorf("got %q", plain)
			}
		})
	}
}

func FuzzOpenSealedValue(f *testing.F) {
	s := testSealer(f, Keyring{Current: testKey(1), Older: [][]byte{testKey(2)}})
	key := numberKey(1)
	bound := bindTo(nil, "s/log", key[:])
	sealed := s.seal(nil, make([]byte, nonceSize), bound, []byte("value"))
	f.Add(sealed)
	f.Add(sealed[:sealOverhead])
	f.Add(append(bytes.Clone(sealed), 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, input []byte) {
		plain, err := s.open(nil, bound, input)
		if err != nil && plain != nil {
			t.Error("an error with a value")
		}
		if err == nil && !bytes.Equal(input, sealed) {
			t.Errorf("opened what was never sealed: %x", input)
		}
	})
}

// FuzzWalkPages feeds the page walker with damaged files: it must end, and never panic.
func FuzzWalkPages(f *testing.F) {
	opts, _ := damageFixture(f)
	whole := readFile(f, opts.Path)
	whole = whole[:min(len(whole), 1<<20)]
	f.Add(uint32(0), []byte{0})
	f.Add(uint32(3*4096+8), []byte{1, 0, 255})
	f.Add(uint32(5*4096+16), []byte{255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		file := bytes.Clone(whole)
		for i, b := range change {
			file[(int(at)+i)%len(file)] ^= b
		}
		walkPages(bytes.NewReader(file), int64(len(file)))
	})
}

func TestTheArenaGivesPiecesThatDoNotOverlap(t *testing.T) {
	var a arena
	for range 3 {
		var pieces [][]byte
		for i := range 300 {
			piece := a.take(1000 + i)
			if len(piece) != 0 || cap(piece) != 1000+i {
				t.Fatalf("piece of %d bytes with room for %d", len(piece), cap(piece))
			}
			pieces = append(pieces, append(piece, bytes.Repeat([]byte{byte(i)}, 1000+i)...))
		}
		for i, piece := range pieces {
			if bytes.Count(piece, []byte{byte(i)}) != 1000+i {
				t.Fatalf("piece %d was written over", i)
			}
		}
		a.reset()
	}
	a.take(arenaKept + 1)
	a.reset()
	if cap(a.buffer) > arenaKept {
		t.Error("a huge buffer is kept")
	}
}
