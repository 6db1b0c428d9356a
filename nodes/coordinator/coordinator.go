// Package coordinator is the node of a coordinator: a member's node (package national) with the merged view on top.
//
// # What it is for
//
// The node follows the streams of all members like any other node does. The merge reads what the node's ledger holds,
// stream by stream, and hands each release to the network (server/network), saying for whom it may be used; the server
// answers each reader from that. So officers of a member see, through their own node, one picture of what all members
// released to them.
//
//	node, err := coordinator.New(material, deps)
//	err = node.Run(ctx) // until ctx ends
//
// # The invariant
//
// A release is used for a reader only if it came by a shared stream that this reader reads, or its owner named the reader
// for it, or the reader is its owner. What is withdrawn leaves the view before the merge reads anything else; what is
// hidden is in no answer.
//
// # What it does not do
//
// It keeps nothing on disk: the view is computed from the ledger at each start. It decides neither who is who
// (server/resolve) nor what a view looks like (server/network), and checks no grants (package server).
package coordinator

import (
	"context"

	"entente.example/entente/nodes/national"
	"entente.example/entente/server"
	"entente.example/entente/server/ledger"
)

// Node is a running coordinator. Its methods are those of any node, and more.
type Node struct {
	*national.Node
	merge *merge
}

// New opens the data file and puts the node together, like national.New. Material.Coordinator is not used: a coordinator
// answers by itself.
func New(m national.Material, deps national.Deps) (*Node, error) {
	n := &Node{}
	deps.Merge = func(held *ledger.Ledger) national.Merge {
		n.merge = newMerge(m.Member, held)
		return n.merge
	}
	var err error
	n.Node, err = national.New(m, deps)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// View is the merged view, for a program that runs the node and looks inside it. It may be behind the ledger: see Settled.
func (n *Node) View() server.NetworkView { return n.merge }

// Settled waits until the view holds all that the ledger held when Settled was called. The node must be running.
func (n *Node) Settled(ctx context.Context) error { return n.merge.wait(ctx) }
