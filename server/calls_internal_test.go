package server

import (
	"context"
	"errors"
	"testing"

	"entente.example/entente/proto/member"
)

func TestOneIdentityMayHaveSoManyOpenStreamsAndNoMore(t *testing.T) {
	open := newCalls()
	peer := caller{Identity: member.Identity{Member: "XB", Kind: member.KindNode}}
	var last func()
	for range maxOpenCalls {
		_, done, err := open.add(context.Background(), "method", peer)
		if err != nil {
			t.Fatal(err)
		}
		last = done
	}
	_, _, err := open.add(context.Background(), "method", peer)
	if !errors.Is(err, errTooMany) {
		t.Fatalf("one more: %v", err)
	}
	_, done, err := open.add(context.Background(), "method", caller{Identity: member.Identity{Member: "XC", Kind: member.KindNode}})
	if err != nil {
		t.Fatalf("another identity: %v", err)
	}
	done()
	last()
	last() // twice is once
	_, _, err = open.add(context.Background(), "method", peer)
	if err != nil {
		t.Fatalf("after one has ended: %v", err)
	}
	_, _, err = open.add(context.Background(), "method", peer)
	if !errors.Is(err, errTooMany) {
		t.Fatalf("and one more again: %v", err)
	}
}
