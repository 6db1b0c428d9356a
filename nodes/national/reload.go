package national

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// Reload asks for the documents again and takes what is new: roster, projects, grants, revocation lists, limits, signing
// key. The error says what was refused or could not be read; everything else counts, and where something was refused the
// last good one stays. It is called by itself every two seconds while the node runs.
func (n *Node) Reload(ctx context.Context) error {
	docs, err := n.material.Documents()
	changed, refused := n.accept(docs)
	if changed {
		n.log.Info("roster, projects, grants or revocations have changed", "roster", n.directory.get().Roster.Number(),
			"projects", len(n.directory.get().Projects), "revoked", n.revocations.Count())
	}
	return errors.Join(err, refused, n.apply(ctx, changed), n.rotate(ctx, docs.SigningKey))
}

// accept verifies documents and puts them in force. It says whether something changed, and what was refused.
func (n *Node) accept(docs Documents) (bool, error) {
	changed, refused := n.directory.accept(docs)
	listed, bad := n.revocations.accept(docs.Revocations)
	changed = changed || listed
	if docs.Grants != nil {
		old := n.grants.Swap(docs.Grants)
		changed = changed || !sameGrants(*old, *docs.Grants)
	}
	if docs.Limits != nil {
		n.limits.Store(docs.Limits)
	}
	return changed, errors.Join(refused, bad)
}

// apply tells server, connections and ledger what changed. What would be refused by now ends at once, on both sides; only
// then the ledger plans, which may take longer. Whatever was not planned yet is planned again, also after a failure.
func (n *Node) apply(ctx context.Context, changed bool) error {
	if changed {
		n.server.DirectoryChanged()
		n.connections.DecideAgain()
	}
	digest, due := n.directory.toPlan()
	if !due {
		return n.ledger.Arrivals(ctx) // a newcomer's delay, or a project's date, passes without any document
	}
	err := n.ledger.DirectoryChanged(ctx)
	if err != nil {
		return fmt.Errorf("plan releases by the new roster or projects: %w", err)
	}
	return n.directory.setPlanned(digest)
}

// regularly reloads now and then, until ctx ends. A refused document is no reason to stop, a failed disk is.
func (n *Node) regularly(ctx context.Context) error {
	ticker := time.NewTicker(n.deps.ReloadEvery)
	defer ticker.Stop()
	said := ""
	for {
		err := n.Reload(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var fatal *store.FatalError
		if errors.As(err, &fatal) {
			return fmt.Errorf("reload documents: %w", err)
		}
		said = n.say("reload", said, err)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// say logs a problem where it is another one than was said last, and gives what is said now.
func (n *Node) say(doing, said string, err error) string {
	if err == nil {
		return ""
	}
	if err.Error() != said {
		n.log.Error("documents: the last good ones stay", "doing", doing, "reason", err)
	}
	return err.Error()
}

// splitChains parts documents by project: each charter (number 1) begins a chain. What does not read goes into the chain
// before it, which then does not verify.
func splitChains(documents []*ententev1.SignedDocument) [][]*ententev1.SignedDocument {
	var chains [][]*ententev1.SignedDocument
	for _, doc := range documents {
		body := &ententev1.ProjectDocument{}
		err := proto.Unmarshal(doc.GetBody(), body)
		if len(chains) == 0 || err == nil && body.GetNumber() == 1 {
			chains = append(chains, nil)
		}
		last := len(chains) - 1
		chains[last] = append(chains[last], doc)
	}
	return chains
}

// acceptOffered verifies what another member offered. An older roster is no fault: the other has not heard yet.
func (n *Node) acceptOffered(docs Documents, from member.ID) (bool, error) {
	var changed bool
	var refused []error
	if docs.Roster != nil {
		one, err := n.directory.acceptRoster(docs.Roster)
		changed = one
		if err != nil && !errors.Is(err, member.ErrRosterOlder) {
			refused = append(refused, fmt.Errorf("from %s: %w", from, err))
		}
	}
	for _, chain := range docs.Projects {
		one, err := n.directory.acceptProject(chain, from)
		changed = changed || one
		if err != nil {
			refused = append(refused, fmt.Errorf("from %s: %w", from, err))
		}
	}
	return changed, errors.Join(refused...)
}

func sameGrants(a, b policy.Grants) bool {
	return maps.EqualFunc(a.Systems, b.Systems, func(x, y policy.System) bool {
		return x.Authority == y.Authority && x.Grant == y.Grant && slices.Equal(x.Projects, y.Projects)
	}) && maps.EqualFunc(a.Officers, b.Officers, func(x, y policy.Officer) bool {
		return slices.Equal(x.Purposes, y.Purposes) && slices.Equal(x.Projects, y.Projects)
	})
}
