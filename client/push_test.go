package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
)

type pushCall = grpc.BidiStreamingServer[ententev1.PushRequest, ententev1.PushResponse]

// held is the memory of a node: pushed twice is a duplicate.
type held struct {
	mu         sync.Mutex
	references map[string]bool
}

func (h *held) take(r *ententev1.PushRequest) *ententev1.PushResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	response := &ententev1.PushResponse{Batch: r.GetBatch()}
	for _, item := range r.GetItems() {
		reference := item.GetWithdrawal().GetProviderReference()
		outcome := ententev1.Outcome_OUTCOME_ACCEPTED
		if h.references[reference] {
			outcome = ententev1.Outcome_OUTCOME_DUPLICATE
		}
		if strings.HasPrefix(reference, "bad") {
			outcome = ententev1.Outcome_OUTCOME_REJECTED
		}
		h.references[reference] = true
		response.Verdicts = append(response.Verdicts, &ententev1.Verdict{Outcome: outcome, ProviderReference: reference})
	}
	return response
}

func newHeld() *held { return &held{references: map[string]bool{}} }

func (h *held) serve(call pushCall) error {
	for {
		request, err := call.Recv()
		if err != nil {
			return nil // an end or a cut
		}
		err = call.Send(h.take(request))
		if err != nil {
			return err
		}
	}
}

func item(reference string) *ententev1.PushItem {
	return &ententev1.PushItem{Content: &ententev1.PushItem_Withdrawal{
		Withdrawal: &ententev1.PushWithdrawal{ProviderReference: reference},
	}}
}

// verdicts collects what a pusher reports.
type verdicts struct {
	tags     []any
	outcomes map[ententev1.Outcome]int
	wrong    []string
}

func (v *verdicts) take(tag any, verdict *ententev1.Verdict) {
	if v.outcomes == nil {
		v.outcomes = map[ententev1.Outcome]int{}
	}
	if tag != verdict.GetProviderReference() {
		v.wrong = append(v.wrong, fmt.Sprintf("tag %v got the verdict of %s", tag, verdict.GetProviderReference()))
	}
	v.tags = append(v.tags, tag)
	v.outcomes[verdict.GetOutcome()]++
}

func (v *verdicts) check(t *testing.T, sent []string) {
	t.Helper()
	var tags []string
	for _, tag := range v.tags {
		tags = append(tags, tag.(string))
	}
	if !slices.Equal(tags, sent) {
		t.Errorf("%d verdicts for %d items, or not in their order", len(tags), len(sent))
	}
	for _, wrong := range v.wrong {
		t.Error(wrong)
	}
}

func names(count int) []string {
	var all []string
	for i := range count {
		all = append(all, fmt.Sprintf("item-%d", i))
	}
	return all
}

func pushAll(t *testing.T, p *Pusher, sent []string) error {
	t.Helper()
	for _, name := range sent {
		err := p.Send(item(name), name)
		if err != nil {
			return errors.Join(err, p.Close())
		}
	}
	return p.Close()
}

func TestPushGivesEachItemOneVerdictInOrder(t *testing.T) {
	for _, test := range []struct {
		name    string
		items   int
		options PushOptions
	}{
		{"with the defaults", 1234, PushOptions{}},
		{"one message at a time", 50, PushOptions{InFlight: 1, BatchItems: 1}},
		{"with messages that are not full", 1001, PushOptions{InFlight: 3, BatchItems: 7}},
		{"with messages bounded by bytes", 300, PushOptions{BatchBytes: 40}},
		{"with nothing to push", 0, PushOptions{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := (&fakeNode{push: newHeld().serve}).connect(t)
			var got verdicts
			sent := names(test.items)
			err := pushAll(t, c.Push(within(t), test.options, got.take), sent)
			if err != nil {
				t.Fatal(err)
			}
			got.check(t, sent)
			if got.outcomes[ententev1.Outcome_OUTCOME_ACCEPTED] != test.items {
				t.Errorf("outcomes %v, want all accepted", got.outcomes)
			}
		})
	}
}

func TestPushReportsRejectionsAndTrueDuplicates(t *testing.T) {
	c, _ := (&fakeNode{push: newHeld().serve}).connect(t)
	var got verdicts
	sent := []string{"a", "bad", "b", "a"}
	err := pushAll(t, c.Push(within(t), PushOptions{}, got.take), sent)
	if err != nil {
		t.Fatal(err)
	}
	got.check(t, sent)
	if got.outcomes[ententev1.Outcome_OUTCOME_ACCEPTED] != 2 || got.outcomes[ententev1.Outcome_OUTCOME_REJECTED] != 1 ||
		got.outcomes[ententev1.Outcome_OUTCOME_DUPLICATE] != 1 {
		t.Errorf("outcomes %v, want 2 accepted, 1 rejected, 1 duplicate", got.outcomes)
	}
}

func TestPushHoldsSendBackWhileTooMuchIsUnderWay(t *testing.T) {
	arrived, answer := make(chan uint64), make(chan struct{})
	node := &fakeNode{push: func(call pushCall) error {
		var mu sync.Mutex
		var waiting []*ententev1.PushRequest
		go func() { // ends with the test's last answer
			for range answer {
				mu.Lock()
				request := waiting[0]
				waiting = waiting[1:]
				mu.Unlock()
				_ = call.Send(newHeld().take(request))
			}
		}()
		for {
			request, err := call.Recv()
			if err != nil {
				return nil
			}
			mu.Lock()
			waiting = append(waiting, request)
			mu.Unlock()
			arrived <- request.GetBatch()
		}
	}}
	c, _ := node.connect(t)
	var got verdicts
	sent := names(6)
	p := c.Push(within(t), PushOptions{InFlight: 2, BatchItems: 1}, got.take)
	done := make(chan error)
	go func() { done <- pushAll(t, p, sent) }() // ends when all is answered

	<-arrived
	<-arrived
	for range 4 {
		select {
		case n := <-arrived:
			t.Fatalf("message %d was sent while two were without an answer", n)
		case <-time.After(30 * time.Millisecond):
		}
		answer <- struct{}{}
		<-arrived
	}
	answer <- struct{}{}
	answer <- struct{}{}
	close(answer)
	err := <-done
	if err != nil {
		t.Fatal(err)
	}
	got.check(t, sent)
}

// A node that takes messages and goes away before it answers them is the hard case: what it took comes again.
func TestPushSendsAgainWhatHasNoVerdict(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("with cuts of seed %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			var mu sync.Mutex
			roll := func(n int) bool {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(n) == 0
			}
			memory, lines := newHeld(), &cutter{}
			node := &fakeNode{push: func(call pushCall) error {
				for {
					request, err := call.Recv()
					if err != nil {
						return nil
					}
					if roll(6) {
						return unavailable() // not taken
					}
					response := memory.take(request)
					if roll(6) {
						return nil // taken, not answered, an orderly end
					}
					if roll(12) {
						lines.cut() // taken, the connection is gone
					}
					_ = call.Send(response)
				}
			}}
			c, paused := node.connect(t, func(config *Config) { config.Dialer, config.GiveUpAfter = lines.dial, -1 })
			var got verdicts
			sent := names(300)
			err := pushAll(t, c.Push(within(t), PushOptions{InFlight: 4, BatchItems: 5}, got.take), sent)
			if err != nil {
				t.Fatal(err)
			}
			got.check(t, sent)
			if got.outcomes[ententev1.Outcome_OUTCOME_ACCEPTED] != len(sent) {
				t.Errorf("outcomes %v: what was taken at the first attempt counts as accepted", got.outcomes)
			}
			if paused.count() == 0 {
				t.Error("nothing was cut: the test shows nothing")
			}
		})
	}
}

func TestPushEndsAtAPermanentError(t *testing.T) {
	calls := 0
	node := &fakeNode{push: func(pushCall) error {
		calls++
		return status.Error(codes.PermissionDenied, "closed to officers")
	}}
	c, paused := node.connect(t)
	var got verdicts
	p := c.Push(within(t), PushOptions{BatchItems: 1}, got.take)
	err := pushAll(t, p, names(3))
	failure := new(Error)
	if !errors.As(err, &failure) || failure.Code != codes.PermissionDenied {
		t.Fatalf("want PermissionDenied, got %v", err)
	}
	if calls != 1 || paused.count() != 0 || len(got.tags) != 0 {
		t.Errorf("%d calls, %d waits, %d verdicts; want one call and nothing else", calls, paused.count(), len(got.tags))
	}
	if p.Send(item("late"), "late") == nil {
		t.Error("a closed pusher took an item")
	}
}

func TestPushRefusesAnswersThatDoNotFit(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(*ententev1.PushRequest) *ententev1.PushResponse
	}{
		{"of another message", func(r *ententev1.PushRequest) *ententev1.PushResponse {
			response := newHeld().take(r)
			response.Batch++
			return response
		}},
		{"with too few verdicts", func(r *ententev1.PushRequest) *ententev1.PushResponse {
			return &ententev1.PushResponse{Batch: r.GetBatch()}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			node := &fakeNode{push: func(call pushCall) error {
				request, err := call.Recv()
				if err != nil {
					return err
				}
				return call.Send(test.answer(request))
			}}
			c, _ := node.connect(t)
			err := pushAll(t, c.Push(within(t), PushOptions{}, (&verdicts{}).take), names(1))
			if err == nil || !strings.Contains(err.Error(), "the node answered message") {
				t.Fatalf("want a complaint about the answer, got %v", err)
			}
		})
	}
}

func TestPushEndsWithItsContext(t *testing.T) {
	node := &fakeNode{push: func(call pushCall) error {
		<-call.Context().Done() // never answers
		return nil
	}}
	c, _ := node.connect(t)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	p := c.Push(ctx, PushOptions{InFlight: 1, BatchItems: 1}, (&verdicts{}).take)
	err := p.Send(item("a"), "a")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	err = p.Close()
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("want the context's end, got %v", err)
	}
}

func TestPushKeepsATooLargeItemOutAndGoesOn(t *testing.T) {
	c, _ := (&fakeNode{push: newHeld().serve}).connect(t)
	var got verdicts
	p := c.Push(within(t), PushOptions{}, got.take)
	err := p.Send(item(strings.Repeat("x", mostBatchBytes)), "large")
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("want ErrTooLarge, got %v", err)
	}
	err = pushAll(t, p, []string{"small"})
	if err != nil {
		t.Fatal(err)
	}
	got.check(t, []string{"small"})
}

func TestPushSendsAtFlush(t *testing.T) {
	c, _ := (&fakeNode{push: newHeld().serve}).connect(t)
	first := make(chan any, 2)
	p := c.Push(within(t), PushOptions{}, func(tag any, _ *ententev1.Verdict) { first <- tag })
	err := errors.Join(p.Send(item("a"), "a"), p.Flush())
	if err != nil {
		t.Fatal(err)
	}
	if tag := <-first; tag != "a" { // would wait for ever without the flush
		t.Errorf("verdict of %v", tag)
	}
	err = p.Close()
	if err != nil {
		t.Fatal(err)
	}
}
