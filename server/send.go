package server

import (
	"google.golang.org/grpc"

	"entente.example/entente/server/policy"
)

// send puts a message on a stream. It takes nothing that policy has not cleared for the reader at the other end, with
// the second result of the Clear function: what is not cleared is not sent, and the call ends as if there were nothing.
func send[T any](stream grpc.ServerStreamingServer[T], cleared policy.Cleared[*T], ok bool) error {
	if !ok {
		return errNotFound
	}
	return stream.Send(cleared.Value())
}

// answer is the same for a unary call.
func answer[T any](cleared policy.Cleared[*T], ok bool) (*T, error) {
	if !ok {
		return nil, errNotFound
	}
	return cleared.Value(), nil
}
