package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// rounds is how often each caller of the hammer does its part: enough that all overlap, few enough for a second or two
// under the race detector.
const rounds = 25

// TestACallerNeverSeesHalfOfWhatAnotherDoes lets everything that the node's services ask of a ledger happen at once. Run with
// -race it finds what is not guarded; without, that what a caller reads is whole: no entry beyond the size told before, no
// proof that does not hold, and at the end the reader holds what the owner has, in order, however the calls fell.
func TestACallerNeverSeesHalfOfWhatAnotherDoes(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(person("first", 1, "First", toAll(), toMembers("XB")))

	h := &hammer{t: t, xa: xa, xb: xb}
	var writers, readers sync.WaitGroup
	ended := make(chan struct{})
	for _, write := range []func(round int) error{h.push, h.release, h.withdraw, h.planAgain} {
		writers.Go(func() { h.each(write) })
	}
	for _, read := range []func() error{h.readOwner, h.readRecords, h.pull} {
		readers.Go(func() {
			for {
				h.note(read())
				select {
				case <-ended:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(ended)
	readers.Wait()
	h.fail()

	w.must(h.pull())
	if xa.Digest("XA", "XB") != xb.Digest("XA", "XB") {
		t.Fatal("the reader does not hold what the owner has")
	}
	for round := range rounds {
		released, withdrawn := xb.released("XA", "XB")[xa.id(pushed(round))], xb.released("XA", "XB")[xa.id(taken(round))]
		if released != 2 || withdrawn != 0 {
			t.Fatalf("round %d: a record released twice is held %d times, a withdrawn one %d times", round, released, withdrawn)
		}
	}
}

func pushed(round int) string { return fmt.Sprintf("pushed-%d", round) }
func taken(round int) string  { return fmt.Sprintf("taken-%d", round) }

// hammer is a pair of ledgers under many callers.
type hammer struct {
	t      *testing.T
	xa, xb *node
	pulls  sync.Mutex // one puller at a time, as in a node: the last pull may meet one under way

	mu     sync.Mutex // covers failed
	failed error
}

func (h *hammer) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		h.failed = err
	}
}

func (h *hammer) fail() {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed != nil {
		h.t.Fatal(h.failed)
	}
}

func (h *hammer) each(do func(round int) error) {
	for round := range rounds {
		h.note(do(round))
	}
}

func (h *hammer) pushOne(item ledger.Item) error {
	verdicts, err := h.xa.Push(context.Background(), "Central Unit", []ledger.Item{item})
	if err != nil {
		return err
	}
	if verdicts[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
		return fmt.Errorf("push: %s", verdicts[0].GetOutcome())
	}
	return nil
}

// push brings records for all members and for one of them.
func (h *hammer) push(round int) error {
	return h.pushOne(person(pushed(round), 1, "Pushed", toAll(), toMembers("XB")))
}

// release first keeps a record at home and then releases it.
func (h *hammer) release(round int) error {
	reference := fmt.Sprintf("released-%d", round)
	err := h.pushOne(person(reference, 1, "Released"))
	if err != nil {
		return err
	}
	_, err = h.xa.Release(context.Background(), "Central Unit", []string{reference}, []*ententev1.Audience{toProject()}, false)
	return err
}

// withdraw takes back what it has just released.
func (h *hammer) withdraw(round int) error {
	err := h.pushOne(person(taken(round), 1, "Taken back", toAll()))
	if err != nil {
		return err
	}
	_, err = h.xa.Withdraw(context.Background(), "Central Unit", []string{taken(round)}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION)
	return err
}

func (h *hammer) planAgain(int) error { return h.xa.DirectoryChanged(context.Background()) }

// readOwner reads the owner's streams as a subscriber and a puller do, and its digest as every peer.
func (h *hammer) readOwner() error {
	h.xa.Digest("XA", "XB")
	_, err := h.xa.SignedDigest("XC")
	if err != nil {
		return err
	}
	for _, s := range h.xa.StreamsShared("XA", "XB") {
		followed, err := h.xa.Follow(s.No, 1, 1<<20)
		if err != nil {
			return err
		}
		if uint64(len(followed)) < s.Size {
			return fmt.Errorf("a stream of size %d is followed to %d", s.Size, len(followed))
		}
		_, err = h.xa.WithdrawalsAfter(s.No, 0, s.Size, 1000)
		if err != nil {
			return err
		}
		h.xa.Readers(s.No)
	}
	return nil
}

func (h *hammer) readRecords() error {
	_, _, err := h.xa.Records(ledger.ListQuery{Limit: 1000})
	if err != nil {
		return err
	}
	h.xa.Stats()
	h.xa.HeadsDigest()
	h.xb.Held("XA")
	h.xb.Erasures(0)
	for _, s := range h.xb.Streams() {
		_, err = h.xb.Follow(s.No, 1, 1<<20)
		if err != nil {
			return err
		}
	}
	return nil
}

// pull carries to the reader what the owner has, verified, and the reader's receipts back.
func (h *hammer) pull() error {
	h.pulls.Lock()
	defer h.pulls.Unlock()
	ctx := context.Background()
	for _, s := range h.xa.StreamsShared("XA", "XB") {
		err := h.pullStream(ctx, s)
		if err != nil {
			return err
		}
	}
	receipts, err := h.xb.PendingReceipts("XA")
	if err != nil {
		return err
	}
	for _, receipt := range receipts {
		err = h.xa.AcceptReceipt(ctx, receipt, "XB")
		if err != nil {
			return err
		}
	}
	return h.xb.ReceiptsSent(ctx, receipts)
}

func (h *hammer) pullStream(ctx context.Context, s ledger.StreamInfo) error {
	r, err := h.xb.Reader("XA", s.ID)
	if err != nil {
		return err
	}
	edge := r.Edge()
	held := edge.Size()
	proof, err := h.xa.Consistency(s.No, held, s.Size)
	if err != nil {
		return err
	}
	_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: s.ID[:], Checkpoint: s.Checkpoint, Consistency: proof}, h.xa.w.dir.Roster.VerifyingKeys("XA"))
	if err != nil {
		return err
	}
	ahead, err := h.xa.WithdrawalsAfter(s.No, held, s.Size, 1000)
	if err != nil {
		return err
	}
	list, err := r.Withdrawals(&ententev1.WithdrawalBatch{StreamId: s.ID[:], Withdrawals: ahead})
	if err != nil {
		return err
	}
	err = h.xb.ApplyWithdrawals(ctx, "XA", s.ID, list, s.Checkpoint)
	if err != nil {
		return err
	}
	for held < s.Size {
		held, err = h.pullSlice(ctx, s, r, held)
		if err != nil {
			return err
		}
	}
	return nil
}

// pullSlice carries some entries. One that was withdrawn since the withdrawals were read comes without its payload, as to any
// puller: the rest is for the next pull.
func (h *hammer) pullSlice(ctx context.Context, s ledger.StreamInfo, r *stream.Reader, held uint64) (uint64, error) {
	entries, err := h.xa.Entries(s.No, held+1, int(min(7, s.Size-held)), 1<<20)
	if err != nil {
		return 0, err
	}
	to := held + uint64(len(entries))
	proof, err := h.xa.Consistency(s.No, to, s.Size)
	if err != nil {
		return 0, err
	}
	verified, err := r.Entries(&ententev1.EntryBatch{StreamId: s.ID[:], Entries: entries, Consistency: proof}, h.xb.Covered("XA"))
	var fault *stream.SenderError
	if errors.As(err, &fault) && fault.Rule == stream.RuleMissing {
		return s.Size, nil
	}
	if err != nil {
		return 0, err
	}
	return to, h.xb.ApplyEntries(ctx, "XA", s.ID, verified, r.Edge(), s.Checkpoint)
}
