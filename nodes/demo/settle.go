package demo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// settleWithin bounds the wait for replication: on a machine that works it takes seconds.
const settleWithin = 5 * time.Minute

// lookAgain is how long a wait goes without a look.
const lookAgain = 50 * time.Millisecond

// settle waits until all that is released is everywhere: for each owner and each reader both hold streams of the same
// digest, and the coordinator's merge has read them. It wakes with each change of a ledger, so it neither sleeps nor
// guesses.
func (s *stage) settle() error {
	err := s.until("replication", s.replicated)
	if err != nil {
		return err
	}
	for _, at := range s.up() {
		if at.merged == nil {
			continue
		}
		err = at.merged(s.ctx)
		if err != nil {
			return fmt.Errorf("wait for the merge of %s: %w", at.seat.ID, err)
		}
	}
	return nil
}

func (s *stage) replicated() (bool, error) {
	for _, owner := range s.up() {
		for _, reader := range s.up() {
			if owner == reader {
				continue
			}
			id, by := owner.seat.ID, reader.seat.ID
			if owner.ledger.Digest(id, by) != reader.ledger.Digest(id, by) {
				return false, nil
			}
		}
	}
	return true, nil
}

// until waits for a condition that depends on what the nodes hold.
func (s *stage) until(what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(s.ctx, settleWithin, errors.New("it takes too long"))
	defer cancel()
	for {
		ok, err := s.look(ctx, done)
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
	}
}

// look looks once and, where it is not so yet, waits for the next change of a ledger, or a moment: what connections do, no
// ledger tells.
func (s *stage) look(ctx context.Context, done func() (bool, error)) (bool, error) {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	woken := s.woken(watching) // before looking: what changes while we look wakes us again
	ok, err := done()
	if ok || err != nil {
		return ok, err
	}
	moment := time.NewTimer(lookAgain)
	defer moment.Stop()
	select {
	case <-woken:
		return false, nil
	case <-moment.C:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// woken gives a channel that gets a value at the next change at any node.
func (s *stage) woken(ctx context.Context) <-chan struct{} {
	woken := make(chan struct{}, 1)
	var sources []<-chan struct{}
	for _, at := range s.up() {
		sources = append(sources, at.ledger.Changed())
	}
	for _, source := range sources {
		go func() {
			select {
			case <-source:
			case <-ctx.Done():
			}
			select {
			case woken <- struct{}{}:
			default:
			}
		}()
	}
	return woken
}
