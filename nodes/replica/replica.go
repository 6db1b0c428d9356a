package replica

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Replica pulls from all peers. Its methods are safe for concurrent use; Run is called once.
type Replica struct {
	cfg Config

	mu    sync.Mutex // covers peers and sides
	peers map[member.ID]*running
	sides map[member.ID]*side // kept when a peer goes: a file may be under way
}

// running is a peer with the goroutine that pulls from it.
type running struct {
	*peer
	stop context.CancelFunc
	done chan struct{}
}

// New makes a replica and starts nothing. It fails if the configuration is not complete.
func New(cfg Config) (*Replica, error) {
	err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Replica{cfg: cfg, peers: map[member.ID]*running{}, sides: map[member.ID]*side{}}, nil
}

// sideOf is the side of an owner. The caller holds the lock.
func (r *Replica) sideOf(owner member.ID) *side {
	s := r.sides[owner]
	if s == nil {
		s = newSide()
		r.sides[owner] = s
	}
	return s
}

// Run pulls from every other member in good standing, one goroutine a peer, until ctx ends. Every 5 s it looks at the
// roster for members that came or went; a suspended one is no longer called. It returns nil: what fails is a matter of one
// peer, stands in its status, and is tried again.
func (r *Replica) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	look := time.NewTicker(rosterEvery)
	defer look.Stop()
	r.followRoster(ctx, group)
	for {
		select {
		case <-look.C:
			r.followRoster(ctx, group)
		case <-ctx.Done():
			return group.Wait()
		}
	}
}

// followRoster starts and stops peers as the roster says.
func (r *Replica) followRoster(ctx context.Context, group *errgroup.Group) {
	wanted := slices.DeleteFunc(slices.Clone(r.cfg.Directory().Roster.Members()), func(id member.ID) bool { return id == r.cfg.Self })
	for _, gone := range r.takeOut(wanted) {
		gone.stop()
		<-gone.done
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range wanted {
		if r.peers[id] != nil {
			continue
		}
		peerCtx, stop := context.WithCancel(ctx)
		started := &running{peer: newPeer(&r.cfg, id, r.sideOf(id)), stop: stop, done: make(chan struct{})}
		r.peers[id] = started
		group.Go(func() error { // ends with peerCtx
			defer close(started.done)
			var others sync.WaitGroup
			others.Go(func() { started.followOthers(peerCtx) })
			started.run(peerCtx)
			others.Wait()
			return nil
		})
	}
}

// takeOut gives the running peers that are not wanted any more.
func (r *Replica) takeOut(wanted []member.ID) []*running {
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []*running
	for id, p := range r.peers {
		if !slices.Contains(wanted, id) {
			gone = append(gone, p)
			delete(r.peers, id)
		}
	}
	return gone
}

// Peers is the state of each pull, in order of member: copies.
func (r *Replica) Peers() []*ententev1.PeerStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*ententev1.PeerStatus, 0, len(r.peers))
	for _, p := range r.peers {
		p.mu.Lock()
		list = append(list, proto.CloneOf(p.status))
		p.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b *ententev1.PeerStatus) int { return cmp.Compare(a.GetMember(), b.GetMember()) })
	return list
}
