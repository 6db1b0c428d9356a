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
	asked := retryAfter(err)
	if asked > 0 {
		r.reached() // it answered
	}
	if limit > 0 && r.unreachable >= limit {
		return err
	}
	random := r.client.config.Random()
	pause := pauseAfter(r.failed, random)
	if asked > 0 { // a little later than asked for, each caller by another little
		pause = max(pause, asked+time.Duration(random*float64(min(asked, time.Second))))
	}
	r.failed++
	r.client.config.Logger.Warn("connection broken", "call", r.doing, "address", r.client.config.Address,
		"attempt", r.failed, "again_in", pause)
	waitErr := r.client.config.Wait(ctx, pause)
	if waitErr != nil {
		return failed(r.doing, waitErr)
	}
	r.client.connectNow()
	return nil
}

// Retry makes a short call, and makes it again while it fails in a way that passes: the node is not reachable, or asks to wait.
// Between attempts it waits as Push and Follow do, at least as long as the node asks for, and it gives up where they do; a
// permanent error ends it at once. call gets ctx, whose end is the end of all attempts, and must be harmless to repeat, as all
// calls of the contract are. doing says what is attempted, for errors and the log.
func (c *Client) Retry(ctx context.Context, doing string, call func(ctx context.Context) error) error {
	attempts := retries{client: c, doing: doing}
	for {
		err := call(ctx)
		if err == nil {
			attempts.progress()
			return nil
		}
		err = attempts.pause(ctx, err)
		if err != nil {
			return err
		}
	}
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
