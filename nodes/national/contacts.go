package national

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/nodes/replica"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

const (
	// askWithin is how long one member may take to answer all that it is asked.
	askWithin = 10 * time.Second
	// followEvery is how often the roster is looked at for members that came or went.
	followEvery = time.Second
	// answersBriefly is the first version of the contract in which a node says nothing where there is nothing new.
	answersBriefly = 2
)

// contact asks one other member's node for documents, over one connection that stays open.
type contact struct {
	node *Node
	id   member.ID

	contract atomic.Uint32 // that it speaks; 0: not known yet

	mu         sync.Mutex // covers all below; held while asking: one question at a time
	conn       replica.Conn
	to         target
	next       int       // index of the address to try next
	shown      []byte    // SHA-256 of the roster that it showed last
	lists      []byte    // digest of the lists that it showed last
	rosterAt   time.Time // when it was last asked
	projectsAt time.Time
	refused    refusal // of what it showed last
}

// refusal is when and by which roster something was refused that a node showed. By another roster, or later, it may be
// good: then all is to be shown again.
type refusal struct {
	at     time.Time // zero: nothing was
	roster uint64
}

// offer is what one node answered.
type offer struct {
	Documents
	revocations []*ententev1.RevocationList
}

// ask asks for what is due, at the first of the addresses that answers, and takes it. at once: all of it. A member that
// cannot be reached is passed over.
func (c *contact) ask(ctx context.Context, atOnce bool) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	roster := c.node.directory.serving()
	if roster == nil {
		return false, member.ErrNoRoster
	}
	entry, _ := roster.Member(c.id)
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for range entry.Addresses {
		if !c.connect(entry.Addresses) {
			continue
		}
		got, err := c.askOne(ctx, roster, atOnce)
		if err == nil {
			changed, err := c.node.take(got, c.id)
			if err != nil {
				c.refused = refusal{at: c.node.deps.Now(), roster: roster.Number()}
			}
			return changed, err
		}
		c.hangUp() // refused, or not there: by a new connection, with the certificate of then, at another address
		if status.Code(err) != codes.Unavailable {
			return false, nil
		}
	}
	return false, nil
}

// connect makes sure of a connection to one of the addresses of now.
func (c *contact) connect(addresses []string) bool {
	if c.conn != nil && slices.Contains(addresses, c.to.address) {
		return true
	}
	c.hangUp()
	c.to = target{member: c.id, address: addresses[c.next%len(addresses)]}
	c.next++
	conn, err := c.node.dial(c.to.member, c.to.address)
	if err != nil {
		return false
	}
	c.conn = conn
	return true
}

func (c *contact) hangUp() {
	if c.conn != nil {
		c.conn.Close() // nothing is under way on it
		c.conn = nil
	}
}

func (c *contact) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hangUp()
}

// askOne asks what is due: roster and revocations in short intervals, but of a node of an older contract, which always
// sends the whole roster, as seldom as projects.
func (c *contact) askOne(ctx context.Context, roster *member.Roster, atOnce bool) (offer, error) {
	client := ententev1.NewRosterServiceClient(c.conn)
	now, seldom := c.node.deps.Now(), c.node.deps.ProjectsEvery
	due := func(last time.Time) bool {
		return atOnce || last.IsZero() || now.Sub(last) >= seldom || now.Before(last)
	}
	if !c.refused.at.IsZero() && (due(c.refused.at) || roster.Number() != c.refused.roster) {
		c.refused, c.shown, c.lists = refusal{}, nil, nil
	}
	var got offer
	if c.contract.Load() >= answersBriefly || due(c.rosterAt) {
		response, err := client.GetRoster(ctx, &ententev1.GetRosterRequest{KnownRoster: c.known(roster), KnownRevocations: c.lists})
		if err != nil {
			return got, err
		}
		c.rosterAt = now
		c.note(response)
		got.Roster, got.revocations = response.GetRoster(), response.GetRevocations()
	}
	if due(c.projectsAt) {
		response, err := client.ListProjectDocuments(ctx, &ententev1.ListProjectDocumentsRequest{})
		if err != nil {
			return offer{}, err
		}
		c.projectsAt = now
		got.Projects = splitChains(response.GetDocuments())
	}
	return got, nil
}

// known is the roster that the other need not send: the one that it showed last, so that an older one does not come each
// time, or else the one in force.
func (c *contact) known(roster *member.Roster) []byte {
	if c.shown != nil {
		return c.shown
	}
	held := sha256.Sum256(roster.Document().GetBody())
	return held[:]
}

// note keeps what must not come again.
func (c *contact) note(response *ententev1.GetRosterResponse) {
	c.contract.Store(max(response.GetContract(), 1))
	if response.GetRoster() != nil {
		shown := sha256.Sum256(response.GetRoster().GetBody())
		c.shown = shown[:]
	}
	digest := response.GetRevocationsDigest()
	if len(digest) == sha256.Size {
		c.lists = bytes.Clone(digest)
	}
}

// take verifies what another member offered and tells all who go by it.
func (n *Node) take(got offer, from member.ID) (bool, error) {
	changed, refused := n.acceptOffered(got.Documents, from)
	listed, bad := n.revocations.acceptOffered(got.revocations)
	if bad != nil {
		bad = offeredError{from, bad}
	}
	return changed || listed, errors.Join(refused, bad)
}

// offeredError names who offered what was refused.
type offeredError struct {
	from  member.ID
	cause error
}

// Error is the reason behind the member.
func (e offeredError) Error() string { return "from " + string(e.from) + ": " + e.cause.Error() }

// Unwrap gives the reason.
func (e offeredError) Unwrap() error { return e.cause }

// contacts are all of them, by member.
type contacts struct {
	node *Node

	mu sync.Mutex // covers by
	by map[member.ID]*contact
}

// of gives the contact of a member.
func (c *contacts) of(id member.ID) *contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.by[id]
	if one == nil {
		one = &contact{node: c.node, id: id}
		c.by[id] = one
	}
	return one
}

// contract is the version that a member's node speaks; 0: not known.
func (c *contacts) contract(id member.ID) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.by[id]
	if one == nil {
		return 0
	}
	return one.contract.Load()
}

// others are the members to ask, by the roster of now.
func (c *contacts) others() []member.ID {
	roster := c.node.directory.serving()
	if roster == nil {
		return nil
	}
	return slices.DeleteFunc(roster.Members(), func(id member.ID) bool { return id == c.node.material.Member })
}

// drop closes the contacts of members that are not among those given.
func (c *contacts) drop(stay []member.ID) {
	c.mu.Lock()
	var gone []*contact
	for id, one := range c.by {
		if !slices.Contains(stay, id) {
			gone = append(gone, one)
			delete(c.by, id)
		}
	}
	c.mu.Unlock()
	for _, one := range gone {
		one.close()
	}
}

// Fetch asks the other members' nodes for documents: all for the roster and the revocation lists, so that a federation goes
// on without its coordinator, and all for the chains of projects that they lead and this member takes part in. What is
// offered is verified like the node's own files. It happens by itself while the node runs: roster and lists every three
// seconds, projects every thirty.
func (n *Node) Fetch(ctx context.Context) error {
	if n.directory.serving() == nil {
		return member.ErrNoRoster
	}
	var all sync.WaitGroup
	var mu sync.Mutex // covers changed and refused
	var changed bool
	var refused []error
	for _, id := range n.contacts.others() {
		all.Go(func() { // ends within askWithin
			one, err := n.contacts.of(id).ask(ctx, true)
			mu.Lock()
			defer mu.Unlock()
			changed = changed || one
			refused = append(refused, err)
		})
	}
	all.Wait()
	return errors.Join(errors.Join(refused...), n.apply(ctx, changed))
}

// run asks each member again and again, each by itself: one that does not answer holds up nobody. It ends with ctx, or
// with a failed disk.
func (c *contacts) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	look := time.NewTicker(min(followEvery, c.node.deps.FetchEvery))
	defer look.Stop()
	asking := map[member.ID]context.CancelFunc{}
	for {
		c.follow(ctx, group, asking)
		select {
		case <-look.C:
		case <-ctx.Done():
			err := group.Wait()
			c.drop(nil)
			return err
		}
	}
}

// follow starts and stops asking as the roster says. While there is no roster to serve on, nobody is asked, and asking
// goes on when there is one again.
func (c *contacts) follow(ctx context.Context, group *errgroup.Group, asking map[member.ID]context.CancelFunc) {
	wanted := c.others()
	for id, stop := range asking {
		if !slices.Contains(wanted, id) {
			stop()
			delete(asking, id)
		}
	}
	c.drop(wanted)
	for _, id := range wanted {
		if asking[id] != nil {
			continue
		}
		own, stop := context.WithCancel(ctx)
		asking[id] = stop
		one := c.of(id)
		group.Go(func() error { // ends with own
			return c.askOnAndOn(own, one)
		})
	}
}

// askOnAndOn asks one member. A refused document is no reason to stop, a failed disk is.
func (c *contacts) askOnAndOn(ctx context.Context, one *contact) error {
	said := "" // the last problem: one line for each change of it
	for {
		changed, err := one.ask(ctx, false)
		if ctx.Err() == nil {
			err = errors.Join(err, c.node.apply(ctx, changed))
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, member.ErrNoRoster) {
			err = nil // the reload says so
		}
		_, fatal := errors.AsType[*store.FatalError](err)
		if fatal {
			return err
		}
		said = c.node.say("fetch from "+string(one.id), said, err)
		wait := time.NewTimer(c.pause())
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// pause is the interval, a tenth more or less, so that the nodes of a federation do not ask in step.
func (c *contacts) pause() time.Duration {
	every := c.node.deps.FetchEvery
	var b [4]byte
	_, err := io.ReadFull(c.node.deps.Rand, b[:])
	if err != nil {
		return every // randomness only spreads
	}
	tenth := int64(every / 10)
	return every - time.Duration(tenth) + time.Duration(2*tenth*int64(binary.BigEndian.Uint32(b[:]))/(1<<32))
}
