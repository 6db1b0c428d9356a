package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"entente.example/entente/nodes/coordinator"
	"entente.example/entente/nodes/national"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// site is a node as the demonstration sees it: *national.Node is one, *coordinator.Node another.
type site interface {
	Run(ctx context.Context) error
	Ledger() *ledger.Ledger
	Reload(ctx context.Context) error
	Fetch(ctx context.Context) error
}

// How often a node of the demonstration looks at what time brings, and how long an interval of its audit trail is: in life a
// second and a minute.
const (
	careEvery     = 200 * time.Millisecond
	auditInterval = 2 * time.Second
)

// deps is the world that a node is given.
func (s *stage) deps() national.Deps {
	return national.Deps{Now: s.options.Now, Rand: s.options.Rand, Version: "demo", CareEvery: careEvery, AuditInterval: auditInterval}
}

// open makes the node of a member from its files, at the given socket, which it takes over. Nothing runs yet.
func (s *stage) open(at *station, listener net.Listener) error {
	deps := s.deps()
	deps.Listener = listener
	cfg, err := national.LoadConfig(s.path(string(at.seat.ID), nodeFile), nil, nil)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	material, err := national.Load(cfg, deps)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if at.seat.ID != CoordinatorID {
		node, err := national.New(material, deps)
		if err != nil {
			return err
		}
		at.node, at.ledger = node, node.Ledger()
		return nil
	}
	node, err := coordinator.New(material, deps)
	if err != nil {
		return err
	}
	at.node, at.ledger, at.merged = node, node.Ledger(), node.Settled
	return nil
}

// run starts a node that is open. It runs until the stage ends or halt.
func (s *stage) run(at *station) {
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	at.cancel, at.ended = cancel, ended
	node := at.node
	s.nodes.Go(func() error {
		err := node.Run(ctx)
		ended <- err
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("the node of %s stopped: %w", at.seat.ID, err)
		}
		return nil
	})
}

// halt stops one node in order, and waits for its end.
func (s *stage) halt(at *station) error {
	at.cancel()
	err := <-at.ended
	if err != nil {
		return fmt.Errorf("stop the node of %s: %w", at.seat.ID, err)
	}
	at.node = nil
	return nil
}

// restart starts a node that was halted, where it was before.
func (s *stage) restart(at *station) error {
	listener, err := (&net.ListenConfig{}).Listen(s.ctx, "tcp", at.address)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", at.seat.ID, err)
	}
	err = s.open(at, listener)
	if err != nil {
		return fmt.Errorf("node of %s: %w", at.seat.ID, err)
	}
	s.run(at)
	return nil
}

// news has all nodes read their files and ask each other for what has changed, as they do by themselves every few seconds.
func (s *stage) news() error {
	for range 2 { // who reads it first from a file, hands it on in the second turn
		for _, at := range s.up() {
			err := errors.Join(at.node.Reload(s.ctx), at.node.Fetch(s.ctx))
			// A node whose file is older than what it has from others goes on with the newer one, and says so.
			if err != nil && !errors.Is(err, member.ErrRosterOlder) {
				return fmt.Errorf("new documents at %s: %w", at.seat.ID, err)
			}
		}
	}
	return nil
}

// up are the places whose nodes run.
func (s *stage) up() []*station {
	var list []*station
	for _, at := range s.places {
		if at.node != nil {
			list = append(list, at)
		}
	}
	return list
}
