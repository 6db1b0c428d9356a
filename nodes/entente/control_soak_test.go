//go:build soak

package main_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// withdrawnWithin is within which a withdrawal is in force at all connected readers, counted from the owner's answer.
const withdrawnWithin = time.Second

// gone is a reader that waits until it is shown a record no more.
type gone struct {
	id    member.ID
	asks  *client.Client
	sinks *follower
}

// TestSoakWithdrawalsOfTheProgram withdraws 1,000 records from a node that is a process of its own, and measures at two other
// processes when a subscription from the beginning, a subscription that is open, and the merged view have lost each. Then the
// files are compacted by the command, and what is carried by file is searched.
func TestSoakWithdrawalsOfTheProgram(t *testing.T) {
	w := newWorld(t, buildProgram(t))
	for _, p := range w.places {
		p.start()
	}
	home := w.places[xa].system()
	readers := []gone{{xb, w.places[xb].system(), follow(t, w.places[xb].system())}, {xc, w.places[xc].system(), follow(t, w.places[xc].system())}}
	var took []time.Duration
	for round := range 10 {
		claims := pushClaims(t, home, round, 100)
		for _, r := range readers {
			r.sinks.await(t, string(r.id), marksOf(claims))
		}
		for _, c := range claims {
			took = append(took, w.lag(home, readers, c)...)
		}
	}
	slices.Sort(took)
	at := func(percent int) time.Duration {
		return took[min(len(took)-1, len(took)*percent/100)].Round(time.Microsecond)
	}
	t.Logf("%d withdrawals at readers: gone from all answers after p50 %s, p99 %s, p100 %s", len(took), at(50), at(99), at(100))
	if at(99) > withdrawnWithin {
		t.Errorf("p99 is %s, more than %s", at(99), withdrawnWithin)
	}
	w.searchCarried(readers)
	for id, p := range w.places {
		result, err := p.dial(member.KindOperator, "operator").Compact(context.Background(), nil)
		w.must(err)
		t.Logf("%s: compacted from %d to %d bytes", id, result.GetBytesBefore(), result.GetBytesAfter())
		p.stop()
		p.verify()
	}
	w.calm()
}

// pushClaims pushes records to all, and wants them taken.
func pushClaims(t testing.TB, c *client.Client, round, count int) []claim {
	t.Helper()
	m := newClaims()
	pusher := c.Push(context.Background(), client.PushOptions{}, m.verdict)
	var list []claim
	for i := range count {
		one := claim{reference: fmt.Sprintf("round%d-%d", round, i), version: 1, reach: toAll}
		list = append(list, one)
		err := pusher.Send(one.item(claim{}), one)
		if err != nil {
			t.Fatal(err)
		}
	}
	err := pusher.Close()
	if err != nil || len(m.refused) > 0 {
		t.Fatalf("push: %v %v", err, m.refused)
	}
	return list
}

func marksOf(claims []claim) map[string]bool {
	marks := map[string]bool{}
	for _, c := range claims {
		marks[c.mark()] = true
	}
	return marks
}

// lag withdraws one record and gives for each reader how long after the owner's answer nothing showed it any more.
func (w *world) lag(home *client.Client, readers []gone, c claim) []time.Duration {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	held, err := home.Get(ctx, &ententev1.GetRequest{Consultation: asking(), ProviderReference: c.reference})
	w.must(err)
	_, err = home.Withdraw(ctx, []string{c.reference}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE)
	w.must(err)
	since := time.Now()
	took := make([]time.Duration, len(readers))
	var all sync.WaitGroup
	for i, r := range readers {
		all.Go(func() { // ends when the record is gone, or with ctx
			for shown := true; shown; took[i] = time.Since(since) {
				var err error
				shown, err = r.shows(ctx, held.GetRecordId(), c)
				if err != nil {
					w.t.Errorf("%s: %v", r.id, err)
					return
				}
			}
		})
	}
	all.Wait()
	return took
}

// shows says whether a reader is shown a record: by the subscription that is open, by one from the beginning, by the view.
func (r *gone) shows(ctx context.Context, id []byte, c claim) (bool, error) {
	r.sinks.mu.Lock()
	_, followed := r.sinks.held[hex.EncodeToString(id)]
	r.sinks.mu.Unlock()
	if followed {
		return true, ctx.Err()
	}
	marks, _, err := standing(ctx, r.asks)
	if err != nil || marks[c.mark()] {
		return true, err
	}
	reason := asking()
	reason.Officer = "vera"
	_, err = r.asks.Entity(ctx, reason, id)
	switch status.Code(err) {
	case codes.NotFound:
		return false, nil
	case codes.OK, codes.FailedPrecondition: // it is there, or the view is being computed
		return true, nil
	}
	return true, err
}

// searchCarried wants no record in the files that operators carry to each other, and finds one that is released after.
func (w *world) searchCarried(readers []gone) {
	w.t.Helper()
	exported := func() int {
		count := 0
		for from, p := range w.places {
			for to := range w.places {
				if from == to {
					continue
				}
				var file bytes.Buffer
				_, err := p.dial(member.KindOperator, "operator").ExportStreams(context.Background(), &ententev1.ExportStreamsRequest{Reader: string(to)}, &file)
				w.must(err)
				count += bytes.Count(file.Bytes(), []byte(" version 1."))
			}
		}
		return count
	}
	if count := exported(); count > 0 {
		w.t.Errorf("%d records are in carried files after all were withdrawn", count)
	}
	home := w.places[xa].system()
	again := pushClaims(w.t, home, 99, 1)
	for _, r := range readers {
		r.sinks.await(w.t, string(r.id), marksOf(again))
	}
	if exported() == 0 {
		w.t.Error("a record that stands is not found in carried files: the search finds nothing")
	}
}
