package client

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Follow subscribes and hands over what comes, in order, without a gap: where the connection breaks, or the caller is over a
// limit and the node asks it to wait, it goes on from the cursor of the last response handed over. Keep that cursor when its items are processed; begin with it after a restart, and at worst
// the items of one response come again.
//
// It ends when ctx ends, when the loop over it ends, with request.UntilCurrent after all that is known, or with an error,
// which then is its last value.
func (c *Client) Follow(ctx context.Context, request *ententev1.SubscribeRequest) iter.Seq2[*ententev1.SubscribeResponse, error] {
	return func(yield func(*ententev1.SubscribeResponse, error) bool) {
		next := proto.CloneOf(request) // its cursor moves on
		long := longCall[ententev1.SubscribeResponse]{
			retries: retries{client: c, doing: "follow streams"},
			ends:    request.GetUntilCurrent(),
			open: func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.SubscribeResponse], error) {
				return c.Stream().Subscribe(ctx, next)
			},
		}
		long.run(ctx, func(response *ententev1.SubscribeResponse, err error) bool {
			if err != nil {
				return yield(nil, err)
			}
			more := yield(response, nil)
			if len(response.GetCursor()) > 0 {
				next.Cursor = response.GetCursor()
			}
			return more
		})
	}
}

// Watch tells what changes in the reader's view, first its state. After a broken connection its state comes again: what
// changed meanwhile is not told one by one.
func (c *Client) Watch(ctx context.Context, request *ententev1.WatchRequest) iter.Seq2[*ententev1.WatchResponse, error] {
	return func(yield func(*ententev1.WatchResponse, error) bool) {
		long := longCall[ententev1.WatchResponse]{
			retries: retries{client: c, doing: "watch the view"},
			open: func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.WatchResponse], error) {
				return c.Network().Watch(ctx, request)
			},
		}
		long.run(ctx, yield)
	}
}

// longCall is a call whose responses come one by one and which is opened anew when it breaks.
type longCall[T any] struct {
	retries retries
	ends    bool // whether an orderly end by the node is the end
	open    func(ctx context.Context) (grpc.ServerStreamingClient[T], error)
}

// run hands over until somebody has enough. An error is the last thing it hands over.
func (l *longCall[T]) run(ctx context.Context, yield func(*T, error) bool) {
	for {
		enough, err := l.session(ctx, yield)
		if enough {
			return
		}
		err = l.retries.pause(ctx, err)
		if err != nil {
			yield(nil, err)
			return
		}
	}
}

// session hands over what one call brings. enough: nothing more is wanted; else err says why the call broke.
func (l *longCall[T]) session(ctx context.Context, yield func(*T, error) bool) (enough bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := l.open(ctx)
	if err != nil {
		return false, err
	}
	// The node was reached: attempts count anew. A call may be quiet for hours, so its end is no failed attempt.
	l.retries.reached()
	for {
		response, err := call.Recv()
		if err != nil && l.ends && isEnd(err) {
			return true, nil
		}
		if err != nil {
			return false, broken(err)
		}
		l.retries.progress()
		if !yield(response, nil) {
			return true, nil
		}
	}
}
