package client

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/grpc"
)

// errCutShort is a call that ended in order without what it is for.
var errCutShort = errors.New("the node ended the call without a result")

// received turns a call that is answered in parts into one sequence. It is tried once. An error is the last value.
func received[T any](ctx context.Context, doing string, open func(context.Context) (grpc.ServerStreamingClient[T], error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		call, err := open(ctx)
		for err == nil {
			var part *T
			part, err = call.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && !yield(part, nil) {
				return
			}
		}
		yield(nil, failed(doing, err))
	}
}

// whole lets the parts of an answer through, and gives an error at the end where the last part is not its end: what was cut short
// must not be taken for all there is.
func whole[T any](doing string, parts iter.Seq2[*T, error], isEnd func(*T) bool) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		ended := false
		for part, err := range parts {
			if !yield(part, err) || err != nil {
				return
			}
			ended = isEnd(part)
		}
		if !ended {
			yield(nil, failed(doing, errCutShort))
		}
	}
}
