package server

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

func TestAVectorHasOneEncoding(t *testing.T) {
	v := vector{stream.ID{2}: 7, stream.ID{1}: 1 << 60, stream.ID{3}: 0}
	encoded := v.encode()
	got, err := decodeVector(encoded)
	if err != nil {
		t.Fatal(err)
	}
	delete(v, stream.ID{3})
	if !maps.Equal(v, got) {
		t.Errorf("want %v, got %v", v, got)
	}
	one, two := encoded[1:25], encoded[25:]
	tests := []struct {
		name string
		b    []byte
	}{
		{"empty", nil},
		{"another format", append([]byte{2}, encoded[1:]...)},
		{"cut", encoded[:len(encoded)-1]},
		{"out of order", bytes.Join([][]byte{{1}, two, one}, nil)},
		{"twice", bytes.Join([][]byte{{1}, one, one}, nil)},
		{"position 0", append([]byte{1}, make([]byte, 24)...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := decodeVector(test.b)
			if !errors.Is(err, errBadVector) {
				t.Errorf("it was read: %v", err)
			}
		})
	}
}

func FuzzDecodeVector(f *testing.F) {
	f.Add(vector{stream.ID{2}: 7, stream.ID{1}: 9}.encode())
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decodeVector(b)
		if err != nil {
			return
		}
		if !bytes.Equal(v.encode(), b) {
			t.Errorf("%x is read as %v, which is written otherwise", b, v)
		}
	})
}

func FuzzOpenCursor(f *testing.F) {
	sealer, err := newSealer(make([]byte, 32), bytes.NewReader(make([]byte, 12))) // the same cursor in each process of the fuzzer
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{sealer: sealer}
	bound := binding("cursor", "XA")
	good, err := s.sealCursor(bound, vector{stream.ID{1}: 4})
	if err != nil {
		f.Fatal(err)
	}
	opened, err := s.openCursor(bound, good)
	if err != nil || opened[stream.ID{1}] != 4 {
		f.Fatalf("its own cursor: %v, %v", opened, err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || bytes.Equal(b, good) {
			return
		}
		_, err := s.openCursor(bound, b)
		if !errors.Is(err, errBadCursor) {
			t.Errorf("a cursor that was not sealed here was opened: %v", err)
		}
	})
}

func TestBindingsOfOtherPartsDiffer(t *testing.T) {
	all := [][]byte{
		binding("a"), binding("a", ""), binding("a", "", ""), binding("", "a"), binding("a", "bc"), binding("a", "b", "c"),
		binding("a", numbers([]int32{1, 2})), binding("a", numbers([]int32{1}), numbers([]int32{2})),
	}
	for i, one := range all {
		for j, other := range all {
			if i != j && bytes.Equal(one, other) {
				t.Errorf("bindings %d and %d are equal", i, j)
			}
		}
	}
}

func TestErrorsArePutIntoFixedWords(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want codes.Code
	}{
		{"absent", fmt.Errorf("record X: %w", ledger.ErrAbsent), codes.NotFound},
		{"refused", fmt.Errorf("receipt: %w", ledger.ErrRefused), codes.InvalidArgument},
		{"full disk", fmt.Errorf("push: %w", store.ErrFull), codes.ResourceExhausted},
		{"stopping", fmt.Errorf("push: %w", ledger.ErrStopped), codes.Unavailable},
		{"anything else", errors.New("page 7 of a file"), codes.Internal},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			told := tell(test.err)
			if status.Code(told) != test.want {
				t.Errorf("want %s, got %v", test.want, told)
			}
			text := status.Convert(told).Message()
			for _, line := range []string{"record X", "receipt:", "push:", "page 7"} {
				if bytes.Contains([]byte(text), []byte(line)) {
					t.Errorf("%q tells of the inside", text)
				}
			}
		})
	}
	if tell(nil) != nil {
		t.Error("no error is an error")
	}
}
