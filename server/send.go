package server

import (
	"context"

	"google.golang.org/grpc"

	"entente.example/entente/server/policy"
)

// send puts a message on a stream. It takes nothing that policy has not cleared for the reader at the other end, with
// the second result of the Clear function: what is not cleared is not sent, and the call ends as if there were nothing. What
// the message tells is in the audit trail before it leaves; where it cannot be written, nothing leaves.
func send[T any](s *Server, stream grpc.ServerStreamingServer[T], cleared policy.Cleared[*T], ok bool, t traces) error {
	if !ok {
		return errNotFound
	}
	err := s.trace(stream.Context(), t)
	if err != nil {
		return err
	}
	return stream.Send(cleared.Value())
}

// answer is the same for a unary call.
func answer[T any](ctx context.Context, s *Server, cleared policy.Cleared[*T], ok bool, t traces) (*T, error) {
	if !ok {
		return nil, errNotFound
	}
	err := s.trace(ctx, t)
	if err != nil {
		return nil, err
	}
	return cleared.Value(), nil
}
