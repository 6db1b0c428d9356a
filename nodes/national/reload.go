package national

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

const (
	// fetchAtOnce is how many members are asked for documents at the same time.
	fetchAtOnce = 4
	// fetchWithin is how long one member may take to answer.
	fetchWithin = 10 * time.Second
)

// Reload asks for the documents again and takes what is new: roster, projects, grants. The error says what was refused or
// could not be read; everything else counts, and where something was refused the last good one stays. It is called by
// itself every two seconds while the node runs.
func (n *Node) Reload(ctx context.Context) error {
	docs, err := n.material.Documents()
	changed, refused := n.accept(docs)
	if changed {
		n.log.Info("roster, projects or grants have changed", "roster", n.directory.get().Roster.Number(),
			"projects", len(n.directory.get().Projects))
	}
	return errors.Join(err, refused, n.apply(ctx, changed))
}

// accept verifies documents and puts them in force. It says whether something changed, and what was refused.
func (n *Node) accept(docs Documents) (bool, error) {
	changed, refused := n.directory.accept(docs)
	if docs.Grants != nil {
		old := n.grants.Swap(docs.Grants)
		changed = changed || !sameGrants(*old, *docs.Grants)
	}
	return changed, refused
}

// apply tells ledger and server what changed. Whatever was not planned yet is planned again, also after a failure.
func (n *Node) apply(ctx context.Context, changed bool) error {
	if changed {
		n.server.DirectoryChanged()
	}
	digest, due := n.directory.toPlan()
	if !due {
		return nil
	}
	err := n.ledger.DirectoryChanged(ctx)
	if err != nil {
		return fmt.Errorf("plan releases by the new roster or projects: %w", err)
	}
	return n.directory.setPlanned(digest)
}

// regularly does one of the two now and then, until ctx ends. A refused document is no reason to stop, a failed disk is.
func (n *Node) regularly(ctx context.Context, what string, every time.Duration, do func(context.Context) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	said := "" // the last problem: one line for each change of it
	for {
		err := do(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var fatal *store.FatalError
		if errors.As(err, &fatal) {
			return fmt.Errorf("%s documents: %w", what, err)
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != "" && text != said {
			n.log.Error("documents: the last good ones stay", "doing", what, "reason", err)
		}
		said = text
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Fetch asks the other members' nodes for documents: the coordinators for the roster, everybody for the chains of projects
// that it leads and this member takes part in. What is offered is verified like the node's own files. A member that
// cannot be reached is passed over. It is called by itself every 30 seconds while the node runs.
func (n *Node) Fetch(ctx context.Context) error {
	roster := n.directory.serving()
	if roster == nil {
		return member.ErrNoRoster
	}
	askRoster := coordinators(roster)
	var all sync.WaitGroup
	var mu sync.Mutex // covers changed and refused
	var changed bool
	var refused []error
	places := make(chan struct{}, fetchAtOnce)
	for _, id := range roster.Members() {
		if id == n.material.Member {
			continue
		}
		places <- struct{}{}
		all.Go(func() { // ends within fetchWithin
			defer func() { <-places }()
			one, err := n.fetchFrom(ctx, roster, id, slices.Contains(askRoster, id))
			mu.Lock()
			defer mu.Unlock()
			changed = changed || one
			refused = append(refused, err)
		})
	}
	all.Wait()
	return errors.Join(errors.Join(refused...), n.apply(ctx, changed))
}

// fetchFrom asks one member, at the first of its addresses that answers.
func (n *Node) fetchFrom(ctx context.Context, roster *member.Roster, id member.ID, askRoster bool) (bool, error) {
	entry, _ := roster.Member(id)
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	for _, address := range entry.Addresses {
		docs, answered := n.ask(ctx, target{member: id, address: address}, askRoster)
		if answered {
			return n.acceptOffered(docs, id)
		}
	}
	return false, nil
}

// ask gets what one node offers. What it says beyond documents is not looked at.
func (n *Node) ask(ctx context.Context, to target, askRoster bool) (Documents, bool) {
	conn, err := n.dial(to.member, to.address)
	if err != nil {
		return Documents{}, false
	}
	defer conn.Close()
	client := ententev1.NewRosterServiceClient(conn)
	var docs Documents
	if askRoster {
		response, err := client.GetRoster(ctx, &ententev1.GetRosterRequest{})
		if err != nil {
			return docs, status.Code(err) != codes.Unavailable
		}
		docs.Roster = response.GetRoster()
	}
	response, err := client.ListProjectDocuments(ctx, &ententev1.ListProjectDocumentsRequest{})
	if err != nil {
		return docs, docs.Roster != nil || status.Code(err) != codes.Unavailable
	}
	docs.Projects = splitChains(response.GetDocuments())
	return docs, true
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
		return x.Authority == y.Authority && slices.Equal(x.Projects, y.Projects)
	}) && maps.EqualFunc(a.Officers, b.Officers, func(x, y policy.Officer) bool {
		return slices.Equal(x.Purposes, y.Purposes) && slices.Equal(x.Projects, y.Projects)
	})
}
