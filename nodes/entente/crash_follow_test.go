package main_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// follower is a project team that follows its member's node through all crashes and keeps what it was told.
type follower struct {
	mu       sync.Mutex        // covers all below
	held     map[string]string // mark by record id
	last     map[string]uint64 // sequence by stream
	wrong    []string
	progress chan struct{} // closed and made anew at each response
	done     chan struct{} // closed when it follows no more
}

// follow begins to follow from the beginning; it ends with the test.
func follow(t testing.TB, c *client.Client) *follower {
	f := &follower{held: map[string]string{}, last: map[string]uint64{}, progress: make(chan struct{}), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		<-f.done
	})
	go func() {
		defer close(f.done)
		for response, err := range c.Follow(ctx, &ententev1.SubscribeRequest{Consultation: asking()}) {
			f.take(ctx, response, err)
		}
	}()
	return f
}

func (f *follower) take(ctx context.Context, response *ententev1.SubscribeResponse, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		f.wrong = append(f.wrong, fmt.Sprintf("the subscription ended: %v", err))
	}
	for _, item := range response.GetItems() {
		f.item(item)
	}
	close(f.progress)
	f.progress = make(chan struct{})
}

// item is called with mu held.
func (f *follower) item(item *ententev1.StreamItem) {
	stream, sequence := hex.EncodeToString(item.GetEntry().GetStreamId()), item.GetEntry().GetSequence()
	if sequence <= f.last[stream] {
		f.wrong = append(f.wrong, fmt.Sprintf("entry %d of stream %s comes after entry %d", sequence, stream, f.last[stream]))
	}
	f.last[stream] = sequence
	id := hex.EncodeToString(item.GetRecordId())
	if item.GetWithdrawal() != nil {
		if !item.GetWithdrawal().GetStillHeld() {
			delete(f.held, id)
		}
		return
	}
	mark, err := markOfReleased(item)
	if err != nil {
		f.wrong = append(f.wrong, err.Error())
		return
	}
	f.held[id] = mark
}

func markOfReleased(item *ententev1.StreamItem) (string, error) {
	released := &ententev1.ReleasedRecord{}
	err := proto.Unmarshal(item.GetReleasedRecord(), released)
	if err != nil {
		return "", fmt.Errorf("entry %d: released record: %w", item.GetEntry().GetSequence(), err)
	}
	return markOf(released.GetBody()), nil
}

// marks is what it holds now.
func (f *follower) marks() (marks map[string]bool, wrong []string, progress chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	marks = map[string]bool{}
	for _, mark := range f.held {
		marks[mark] = true
	}
	return marks, slices.Clone(f.wrong), f.progress
}

// await waits until it holds exactly what it should.
func (f *follower) await(t testing.TB, who string, want map[string]bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		marks, wrong, progress := f.marks()
		if len(wrong) > 0 {
			t.Fatalf("%s: %s", who, few(wrong))
		}
		if maps.Equal(marks, want) {
			return
		}
		select {
		case <-progress:
		case <-deadline:
			t.Fatalf("%s does not come to hold what is released within %v: %s", who, patience, few(difference(marks, want)))
		}
	}
}

// difference names what is held and should not be, and what should be held and is not.
func difference(got, want map[string]bool) []string {
	var list []string
	for _, mark := range slices.Sorted(maps.Keys(got)) {
		if !want[mark] {
			list = append(list, "too much: "+mark)
		}
	}
	for _, mark := range slices.Sorted(maps.Keys(want)) {
		if !got[mark] {
			list = append(list, "missing: "+mark)
		}
	}
	return list
}

func few(list []string) string {
	return fmt.Sprintf("%d faults, such as %q", len(list), list[:min(len(list), 8)])
}

// standing reads all that a member's node holds in its streams now, and finds what stands there more than once.
func standing(ctx context.Context, c *client.Client) (marks map[string]bool, twice []string, err error) {
	marks = map[string]bool{}
	records := map[string]bool{}
	for response, err := range c.Follow(ctx, &ententev1.SubscribeRequest{Consultation: asking(), UntilCurrent: true}) {
		if err != nil {
			return nil, nil, err
		}
		for _, item := range response.GetItems() {
			if item.GetWithdrawal() != nil {
				continue // of something that was released after the reading began
			}
			mark, err := markOfReleased(item)
			if err != nil {
				return nil, nil, err
			}
			id := hex.EncodeToString(item.GetRecordId())
			if records[id] {
				twice = append(twice, mark)
			}
			records[id], marks[mark] = true, true
		}
	}
	return marks, twice, nil
}
