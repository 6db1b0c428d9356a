package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// overLimit is what a node answers to a caller that is over a limit.
func overLimit(wait time.Duration) error {
	state, err := status.New(codes.ResourceExhausted, "over a limit").WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)},
		&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "identity", Description: "records_per_second"}}})
	if err != nil {
		return err
	}
	return state.Err()
}

func TestAPermanentErrorIsToldFromOneThatPasses(t *testing.T) {
	for _, one := range []struct {
		name               string
		err                error
		permanent, passing bool
	}{
		{"nothing went wrong", nil, false, false},
		{"refused certificate", status.Error(codes.Unavailable, "connection error: remote error: tls: bad certificate"), true, false},
		{"expired or revoked certificate", status.Error(codes.Unauthenticated, "the certificate has been revoked"), true, false},
		{"closed method", status.Error(codes.PermissionDenied, "closed"), true, false},
		{"bad request", status.Error(codes.InvalidArgument, "bad"), true, false},
		{"not offered", status.Error(codes.Unimplemented, "no"), true, false},
		{"does not fit", status.Error(codes.FailedPrecondition, "no"), true, false},
		{"absent", status.Error(codes.NotFound, "not found"), true, false},
		{"not reachable", status.Error(codes.Unavailable, "connection refused"), false, true},
		{"over a limit", overLimit(time.Second), false, true},
		{"too large a message", status.Error(codes.ResourceExhausted, "message larger than max"), false, false},
		{"a failure of the node", status.Error(codes.Internal, "internal error"), false, false},
		{"cancelled by the caller", context.Canceled, false, false},
	} {
		t.Run(one.name, func(t *testing.T) {
			told := failed("do", one.err)
			if IsPermanent(one.err) != one.permanent || IsPermanent(told) != one.permanent || IsPermanent(fmt.Errorf("more: %w", told)) != one.permanent {
				t.Errorf("permanent: as it came %t, told %t", IsPermanent(one.err), IsPermanent(told))
			}
			if passing(told) != one.passing {
				t.Errorf("passing: %t", passing(told))
			}
		})
	}
}

func TestALimitIsToldWithItsNameAndTheWait(t *testing.T) {
	failure := new(Error)
	if !errors.As(failed("push", overLimit(3*time.Second)), &failure) || failure.Limit != "records_per_second" || failure.RetryAfter != 3*time.Second {
		t.Errorf("%+v", failure)
	}
	if failure.Error() != "push: over a limit; the node asks to wait 3s" {
		t.Error(failure)
	}
	if !errors.As(failed("push", overLimit(300*time.Hour)), &failure) || failure.RetryAfter != time.Hour {
		t.Errorf("a node makes its caller wait for %s", failure.RetryAfter)
	}
	if !errors.As(failed("push", overLimit(-time.Hour)), &failure) || failure.RetryAfter != 0 {
		t.Errorf("a wait of %s", failure.RetryAfter)
	}
}

func TestARevokedCertificateIsRefusedAndNotTriedAgain(t *testing.T) {
	calls := 0
	node := &fakeNode{push: func(pushCall) error {
		calls++
		return status.Error(codes.Unauthenticated, "the certificate has been revoked")
	}}
	c, paused := node.connect(t)
	err := pushAll(t, c.Push(within(t), PushOptions{BatchItems: 1}, (&verdicts{}).take), names(2))
	if !errors.Is(err, ErrRefused) || !IsPermanent(err) || calls != 1 || paused.count() != 0 {
		t.Errorf("%d calls, %d waits, %v", calls, paused.count(), err)
	}
}

func TestPushGoesOnAfterALimitWithoutLosingOrDoubling(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		var lock sync.Mutex
		roll := func(n int) bool {
			lock.Lock()
			defer lock.Unlock()
			return random.IntN(n) == 0
		}
		memory, taken := newHeld(), map[string]int{}
		node := &fakeNode{push: func(call pushCall) error {
			for {
				request, err := call.Recv()
				if err != nil {
					return nil
				}
				if roll(4) {
					return overLimit(17 * time.Second)
				}
				response := memory.take(request)
				lock.Lock()
				for _, v := range response.GetVerdicts() {
					if v.GetOutcome() == ententev1.Outcome_OUTCOME_ACCEPTED {
						taken[request.GetItems()[0].GetWithdrawal().GetProviderReference()]++
					}
				}
				lock.Unlock()
				if roll(8) {
					return unavailable() // taken, not answered
				}
				err = call.Send(response)
				if err != nil {
					return err
				}
			}
		}}
		c, paused := node.connect(t, func(config *Config) { config.GiveUpAfter = -1 })
		var got verdicts
		sent := names(120)
		err := pushAll(t, c.Push(within(t), PushOptions{InFlight: 3, BatchItems: 1}, got.take), sent)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got.check(t, sent)
		for _, name := range sent {
			if taken[name] != 1 {
				t.Errorf("seed %d: %s was taken %d times", seed, name, taken[name])
			}
		}
		asked := slices.ContainsFunc(paused.pauses, func(p time.Duration) bool { return p >= 17*time.Second })
		if !asked {
			t.Errorf("seed %d: no wait was as long as the node asked for: %v", seed, paused.pauses)
		}
	}
}

func TestPushEndsAtALimitThatNoWaitMends(t *testing.T) {
	calls := 0
	node := &fakeNode{push: func(pushCall) error {
		calls++
		return status.Error(codes.ResourceExhausted, "the node's disk is full")
	}}
	c, paused := node.connect(t)
	err := pushAll(t, c.Push(within(t), PushOptions{}, (&verdicts{}).take), names(1))
	if status.Code(err) != codes.ResourceExhausted || calls != 1 || paused.count() != 0 {
		t.Errorf("%d calls, %d waits, %v", calls, paused.count(), err)
	}
}

func TestFollowGoesOnAfterALimitFromItsCursor(t *testing.T) {
	var cursors []string
	node := &fakeNode{subscribe: func(r *ententev1.SubscribeRequest, call grpc.ServerStreamingServer[ententev1.SubscribeResponse]) error {
		cursors = append(cursors, string(r.GetCursor()))
		next := fmt.Sprint(len(cursors))
		err := call.Send(&ententev1.SubscribeResponse{Cursor: []byte(next)})
		if err != nil {
			return err
		}
		return overLimit(5 * time.Second)
	}}
	c, paused := node.connect(t)
	seen := 0
	for response, err := range c.Follow(within(t), &ententev1.SubscribeRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if string(response.GetCursor()) != fmt.Sprint(seen) {
			t.Errorf("response %d has cursor %s", seen, response.GetCursor())
		}
		if seen == 4 {
			break
		}
	}
	if !slices.Equal(cursors, []string{"", "1", "2", "3"}) {
		t.Errorf("asked from %q", cursors)
	}
	for _, pause := range paused.pauses {
		if pause < 5*time.Second || pause > 6*time.Second {
			t.Errorf("waited %s, asked for were 5 s", pause)
		}
	}
}

func TestRetryRepeatsWhatPassesAndNothingElse(t *testing.T) {
	c, paused := (&fakeNode{}).connect(t)
	for _, one := range []struct {
		name   string
		errs   []error
		calls  int
		waits  int
		wanted codes.Code
	}{
		{"at once", nil, 1, 0, codes.OK},
		{"after failures that pass", []error{unavailable(), overLimit(time.Second), unavailable()}, 4, 3, codes.OK},
		{"a permanent one ends it", []error{unavailable(), status.Error(codes.PermissionDenied, "closed")}, 2, 1, codes.PermissionDenied},
		{"an unknown one ends it", []error{status.Error(codes.Internal, "internal error")}, 1, 0, codes.Internal},
		{"it gives up", slices.Repeat([]error{unavailable()}, 100), 12, 11, codes.Unavailable},
		{"it does not give up where the node asks to wait", slices.Repeat([]error{overLimit(time.Second)}, 100), 101, 100, codes.OK},
	} {
		t.Run(one.name, func(t *testing.T) {
			paused.pauses = nil
			calls := 0
			err := c.Retry(within(t), "try", func(context.Context) error {
				calls++
				if calls <= len(one.errs) {
					return one.errs[calls-1]
				}
				return nil
			})
			if status.Code(err) != one.wanted || calls != one.calls || paused.count() != one.waits {
				t.Errorf("%d calls, %d waits, %v", calls, paused.count(), err)
			}
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	c, _ := (&fakeNode{}).connect(t)
	ctx, cancel := context.WithCancel(within(t))
	err := c.Retry(ctx, "try", func(context.Context) error {
		cancel()
		return unavailable()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want the context's end, got %v", err)
	}
}
