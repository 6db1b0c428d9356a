package client

import (
	"context"
	"errors"
	"io"
	"time"
)

const (
	// firstPause is the wait after the first failure; each further one doubles it.
	firstPause = 200 * time.Millisecond
	// longestPause bounds the wait.
	longestPause = 10 * time.Second
)

// retries counts the failures of one long call. After failures without progress the waits grow; after attempts that did not
// even reach the node the call is given up.
type retries struct {
	client      *Client
	doing       string
	failed      int // attempts in a row without progress
	unreachable int // of these, in a row, those that did not reach the node
}

// reached says that the node answered, but nothing got on yet.
func (r *retries) reached() { r.unreachable = 0 }

// progress says that the call got on: the counts begin anew.
func (r *retries) progress() {
	if r.failed > 0 {
		r.client.config.Logger.Info("connection restored", "call", r.doing, "address", r.client.config.Address)
	}
	r.failed, r.unreachable = 0, 0
}

// pause decides after a failure: it waits and returns nil where another attempt makes sense, else it returns the error
// with which the call ends.
func (r *retries) pause(ctx context.Context, err error) error {
	err = failed(r.doing, err)
	if ctx.Err() != nil {
		return failed(r.doing, ctx.Err())
	}
	if !passing(err) {
		return err
	}
	limit := r.client.config.GiveUpAfter
	r.unreachable++
	if limit > 0 && r.unreachable >= limit {
		return err
	}
	pause := pauseAfter(r.failed, r.client.config.Random())
	r.failed++
	r.client.config.Logger.Warn("connection broken", "call", r.doing, "address", r.client.config.Address,
		"attempt", r.failed, "again_in", pause)
	waitErr := r.client.config.Wait(ctx, pause)
	if waitErr != nil {
		return failed(r.doing, waitErr)
	}
	// This wait is the only one: gRPC would add its own.
	r.client.connection.ResetConnectBackoff()
	return nil
}

// pauseAfter is exponential with jitter: between half of the full wait and all of it, so that the clients of a node that
// comes back do not all come at once. random is from 0 to below 1.
func pauseAfter(failures int, random float64) time.Duration {
	full := longestPause
	if failures < 10 {
		full = min(firstPause<<failures, longestPause)
	}
	return full/2 + time.Duration(random*float64(full/2))
}

// isEnd is true where the other side closed: between messages or within one.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
