package server

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/proto/member"
)

func TestOneIdentityMayHaveSoManyOpenStreamsAndNoMore(t *testing.T) {
	const most = 1024
	open := newCalls()
	peer := caller{Identity: member.Identity{Member: "XB", Kind: member.KindNode}}
	var last func()
	for range most {
		_, done, err := open.add(context.Background(), "method", peer, most)
		if err != nil {
			t.Fatal(err)
		}
		last = done
	}
	_, _, err := open.add(context.Background(), "method", peer, most)
	if status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("one more: %v", err)
	}
	_, done, err := open.add(context.Background(), "method", caller{Identity: member.Identity{Member: "XC", Kind: member.KindNode}}, most)
	if err != nil {
		t.Fatalf("another identity: %v", err)
	}
	done()
	last()
	last() // twice is once
	_, _, err = open.add(context.Background(), "method", peer, most)
	if err != nil {
		t.Fatalf("after one has ended: %v", err)
	}
	_, _, err = open.add(context.Background(), "method", peer, most)
	if status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("and one more again: %v", err)
	}
}
