package demo

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// team is a project team that follows its project's streams as a subscriber of its own member's node.
type team struct {
	client *client.Client

	mu      sync.Mutex // covers all below
	items   []*ententev1.StreamItem
	changed chan struct{} // closed at the next item or at the end
	err     error
}

// follow subscribes; the team follows until the stage ends.
func follow(s *stage, c *client.Client) *team {
	t := &team{client: c, changed: make(chan struct{})}
	s.nodes.Go(func() error {
		for response, err := range c.Follow(s.ctx, &ententev1.SubscribeRequest{Consultation: consultation(nil), ProjectId: ProjectID}) {
			t.take(response.GetItems(), err)
		}
		return nil
	})
	return t
}

func (t *team) take(items []*ententev1.StreamItem, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.items = append(t.items, items...)
	t.err = err
	close(t.changed)
	t.changed = make(chan struct{})
}

// caughtUp waits until the team has got all that a subscriber gets who begins now, and answers how many items it has.
func (t *team) caughtUp(s *stage) (int, error) {
	due := make(map[string]bool)
	request := &ententev1.SubscribeRequest{Consultation: consultation(nil), ProjectId: ProjectID, UntilCurrent: true}
	for response, err := range t.client.Follow(s.ctx, request) {
		if err != nil {
			return 0, fmt.Errorf("subscribe to the project: %w", err)
		}
		for _, item := range response.GetItems() {
			due[entryKey(item)] = true
		}
	}
	return t.wait(s.ctx, due)
}

func (t *team) wait(ctx context.Context, due map[string]bool) (int, error) {
	for {
		t.mu.Lock()
		missing, count, changed, err := len(due), len(t.items), t.changed, t.err
		for _, item := range t.items {
			if due[entryKey(item)] {
				missing--
			}
		}
		t.mu.Unlock()
		if err != nil {
			return 0, fmt.Errorf("follow the project: %w", err)
		}
		if missing == 0 {
			return count, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func entryKey(item *ententev1.StreamItem) string {
	return fmt.Sprintf("%x/%d", item.GetEntry().GetStreamId(), item.GetEntry().GetSequence())
}

func decodeReleased(item *ententev1.StreamItem) (*ententev1.ReleasedRecord, error) {
	released := &ententev1.ReleasedRecord{}
	err := proto.Unmarshal(item.GetReleasedRecord(), released)
	if err != nil {
		return nil, fmt.Errorf("read a released record of %s: %w", item.GetOwner(), err)
	}
	return released, nil
}
