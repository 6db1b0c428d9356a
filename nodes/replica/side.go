package replica

import (
	"context"
	"errors"
	"sync"
)

// reach says whether an owner's own node is there.
type reach uint8

const (
	unsure reach = iota // not tried yet, or lost a moment ago
	lost                // tried in vain, more than once
	heard               // it has sent a digest that it signed, on the call that is open
)

// lostAfter is how many attempts in a row must fail: a connection that has just ended comes back with the next one.
const lostAfter = 2

func afterFailures(n int) reach {
	if n < lostAfter {
		return unsure
	}
	return lost
}

// errHeard says that the owner itself is heard: what it brings needs nobody between.
var errHeard = errors.New("its owner is connected, and brings it itself")

// side is the way for an owner's streams beside the owner's own: a relay or a file, one at a time, and none while the owner
// is heard. What is verified from two places at once would be verified against positions that move, and neither of the
// two would be at fault for it.
type side struct {
	turn chan struct{} // holds one token; who has taken it may come by the side

	mu      sync.Mutex // covers the rest, and is held while one message from the side is taken
	reach   reach
	changed chan struct{} // closed and replaced when reach changes
}

func newSide() *side {
	s := &side{turn: make(chan struct{}, 1), changed: make(chan struct{})}
	s.turn <- struct{}{}
	return s
}

// tell says how the owner is reached now. When it returns, nothing from the side is being taken under another assumption.
func (s *side) tell(now reach) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reach == now {
		return
	}
	s.reach = now
	close(s.changed)
	s.changed = make(chan struct{})
}

// state is how the owner is reached, and a channel that is closed when that changes.
func (s *side) state() (reach, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reach, s.changed
}

// take does what one message from the side asks for: errHeard where the owner is heard.
func (s *side) take(do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reach == heard {
		return errHeard
	}
	return do()
}

// enter waits for the turn to come by the side; leave gives it back.
func (s *side) enter(ctx context.Context) (leave func(), err error) {
	select {
	case <-s.turn:
		return func() { s.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
