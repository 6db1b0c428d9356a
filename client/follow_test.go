package client

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
)

type subscribeCall = grpc.ServerStreamingServer[ententev1.SubscribeResponse]

// numbered serves responses 1 to last from the request's cursor on, at most some a call, and then ends with ending.
func numbered(last uint64, some int, ending error) func(*ententev1.SubscribeRequest, subscribeCall) error {
	return func(r *ententev1.SubscribeRequest, call subscribeCall) error {
		position := uint64(0)
		if len(r.GetCursor()) > 0 {
			position = binary.BigEndian.Uint64(r.GetCursor())
		}
		for range some {
			if position == last {
				break
			}
			position++
			err := call.Send(&ententev1.SubscribeResponse{Cursor: binary.BigEndian.AppendUint64(nil, position), Current: position == last})
			if err != nil {
				return err
			}
		}
		if position == last && r.GetUntilCurrent() {
			return nil
		}
		return ending
	}
}

func TestFollowGoesOnFromTheLastCursorWithoutGapOrRepetition(t *testing.T) {
	for _, test := range []struct {
		name   string
		ending error
	}{
		{"when the node goes away", unavailable()},
		{"when the node ends the call in order", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, paused := (&fakeNode{subscribe: numbered(20, 3, test.ending)}).connect(t)
			request := &ententev1.SubscribeRequest{}
			var got []uint64
			for response, err := range c.Follow(within(t), request) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, binary.BigEndian.Uint64(response.GetCursor()))
				if len(got) == 20 {
					break
				}
			}
			for i, n := range got {
				if n != uint64(i+1) {
					t.Fatalf("response %d has number %d", i+1, n)
				}
			}
			if paused.count() < 6 {
				t.Errorf("%d waits; the call should have broken six times", paused.count())
			}
			if len(request.GetCursor()) != 0 {
				t.Error("the caller's request was changed")
			}
		})
	}
}

func TestFollowEndsWhenAllIsKnown(t *testing.T) {
	c, _ := (&fakeNode{subscribe: numbered(5, 100, nil)}).connect(t)
	count := 0
	for _, err := range c.Follow(within(t), &ententev1.SubscribeRequest{UntilCurrent: true}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != 5 {
		t.Errorf("%d responses, want 5", count)
	}
}

func TestFollowEndsWithAPermanentErrorAsItsLastValue(t *testing.T) {
	c, paused := (&fakeNode{subscribe: numbered(2, 2, status.Error(codes.InvalidArgument, "cursor of another member"))}).connect(t)
	var last error
	count := 0
	for _, err := range c.Follow(within(t), &ententev1.SubscribeRequest{}) {
		count++
		last = err
	}
	if status.Code(last) != codes.InvalidArgument || count != 3 || paused.count() != 0 {
		t.Errorf("%d values, last %v, %d waits; want 2 responses, then InvalidArgument, no wait", count, last, paused.count())
	}
}

func TestFollowGivesUpOnlyWhereTheNodeIsNotReached(t *testing.T) {
	opened := 0
	node := &fakeNode{subscribe: func(*ententev1.SubscribeRequest, subscribeCall) error {
		opened++
		if opened == 30 {
			return status.Error(codes.NotFound, "enough")
		}
		return unavailable()
	}}
	c, paused := node.connect(t, func(config *Config) { config.GiveUpAfter = 3 })
	var last error
	for _, err := range c.Follow(within(t), &ententev1.SubscribeRequest{}) {
		last = err
	}
	if status.Code(last) != codes.NotFound {
		t.Fatalf("want to hold on until attempt 30, got %v after %d", last, opened)
	}
	if !slices.IsSorted(paused.pauses) || paused.pauses[0] == paused.pauses[20] {
		t.Errorf("pauses do not grow: %v", paused.pauses)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	node := &fakeNode{subscribe: func(_ *ententev1.SubscribeRequest, call subscribeCall) error {
		err := call.Send(&ententev1.SubscribeResponse{Cursor: []byte{1}})
		<-call.Context().Done()
		return err
	}}
	c, _ := node.connect(t)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var last error
	for _, err := range c.Follow(ctx, &ententev1.SubscribeRequest{}) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("want the context's end, got %v", last)
	}
}

func TestWatchComesAgainAfterACut(t *testing.T) {
	calls := byte(0)
	node := &fakeNode{watch: func(_ *ententev1.WatchRequest, call grpc.ServerStreamingServer[ententev1.WatchResponse]) error {
		calls++
		err := call.Send(&ententev1.WatchResponse{View: &ententev1.ViewInfo{Hash: []byte{calls}}})
		if err != nil {
			return err
		}
		return unavailable()
	}}
	c, _ := node.connect(t)
	var got []byte
	for response, err := range c.Watch(within(t), &ententev1.WatchRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, response.GetView().GetHash()...)
		if len(got) == 3 {
			break
		}
	}
	if !slices.Equal(got, []byte{1, 2, 3}) {
		t.Errorf("got states %v", got)
	}
}
