package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"entente.example/entente/client"
	"entente.example/entente/nodes/federation"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// validFor is how long certificates, roster and project of the throw-away federation count.
const validFor = 30 * 24 * time.Hour

// station is one member of the federation: its node, running, and those who call it.
type station struct {
	seat    *federation.Seat
	country string
	address string         // of the node, for its own member's people
	line    *line          // by which other members reach it; nil: at address
	system  *client.Client // the national system
	officer *client.Client // an analyst

	node   site // nil while it is stopped
	cancel context.CancelFunc
	ended  <-chan error
	ledger *ledger.Ledger
	// merged waits until the node's merge has taken in all that its ledger holds; nil where it merges nothing.
	merged func(context.Context) error
}

// stage is a running federation.
type stage struct {
	options Options
	dir     string
	places  []*station // the members in the order of Case, then the coordinator, then who joins
	project string     // the project's name
	roster  *member.Roster
	erased  map[recordKey]recordName // own records that are erased at home too: a node has only their ids
	lines   bool                     // whether members reach each other by lines that can be cut

	ctx    context.Context // ends with the federation, or when a node fails
	cancel context.CancelFunc
	nodes  *errgroup.Group
}

// start founds a federation of the case's members and a coordinator and runs a node for each.
func start(ctx context.Context, o Options, dir string) (*stage, error) {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	s := &stage{options: o, dir: dir, project: "Harbour Light", erased: make(map[recordKey]recordName), lines: o.From == "", ctx: ctx, cancel: cancel, nodes: group}
	err := s.found()
	if err != nil {
		return nil, s.stop(err)
	}
	return s, nil
}

func (s *stage) found() error {
	ids := []member.ID{}
	for _, c := range Case() {
		ids = append(ids, member.ID(c.Member))
	}
	founded, err := federation.Found(append(ids, CoordinatorID), []member.ID{CoordinatorID}, s.options.Rand, s.options.Now, validFor)
	if err != nil {
		return fmt.Errorf("found the federation: %w", err)
	}
	var listeners []net.Listener
	for _, seat := range founded.Seats {
		listener, err := s.seat(seat)
		if err != nil {
			return closeListeners(listeners, err)
		}
		listeners = append(listeners, listener)
	}
	err = s.document(founded, ids)
	if err != nil {
		return closeListeners(listeners, err)
	}
	for i, at := range s.places {
		err = s.settleIn(at)
		if err != nil {
			return closeListeners(listeners[i:], fmt.Errorf("files of %s: %w", at.seat.ID, err))
		}
		err = s.open(at, listeners[i])
		if err != nil {
			return closeListeners(listeners[i+1:], fmt.Errorf("node of %s: %w", at.seat.ID, err))
		}
		s.run(at)
		err = s.meet(at)
		if err != nil {
			return closeListeners(listeners[i+1:], err)
		}
	}
	return s.news()
}

// document makes the roster and the project, and gives them to the nodes.
func (s *stage) document(founded *federation.Federation, ids []member.ID) error {
	roster, err := founded.Roster()
	if err != nil {
		return fmt.Errorf("make the roster: %w", err)
	}
	s.roster = roster
	project, _, err := founded.Project(roster, ProjectID, s.project, ids[0], ids[1], ids[2], CoordinatorID)
	if err != nil {
		return fmt.Errorf("open the project: %w", err)
	}
	return s.writeDocuments(founded, roster, project)
}

// seat opens a socket for a member's node: the addresses stand in the roster, so they must be known before it is made.
func (s *stage) seat(seat *federation.Seat) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(s.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", seat.ID, err)
	}
	at := &station{seat: seat, address: listener.Addr().String(), country: countryOf(seat.ID)}
	seat.Name, seat.Addresses = at.country, []string{at.address}
	if s.lines {
		at.line, err = lay(s.ctx, at.address)
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		seat.Addresses = []string{at.line.public}
	}
	s.places = append(s.places, at)
	return listener, nil
}

// closeListeners lets go of sockets that no node took over, and answers why.
func closeListeners(listeners []net.Listener, err error) error {
	for _, listener := range listeners {
		listener.Close() // nothing was served: a failure changes nothing
	}
	return err
}

// meet makes the clients through which everything in the demonstration goes, and leaves the files for those of a reader.
func (s *stage) meet(at *station) error {
	var err error
	at.system, err = s.dial(at, member.KindSystem, intakeSystem)
	if err != nil {
		return fmt.Errorf("prepare the system of %s: %w", at.seat.ID, err)
	}
	at.officer, err = s.dial(at, member.KindOfficer, officerName)
	if err != nil {
		return fmt.Errorf("prepare the officer of %s: %w", at.seat.ID, err)
	}
	for _, who := range callers() {
		err = s.writeIdentity(at, who)
		if err != nil {
			return err
		}
	}
	return nil
}

// members are the places of the case: without the coordinator and who joins.
func (s *stage) members() []*station { return s.places[:len(Case())] }

func (s *stage) coordinator() *station { return s.at(CoordinatorID) }

func (s *stage) at(id string) *station {
	for _, at := range s.places {
		if string(at.seat.ID) == id {
			return at
		}
	}
	return nil
}

// stay keeps the federation up and says what to try, until the caller's context ends or a node fails.
func (s *stage) stay(ctx context.Context) error {
	err := s.showCommands()
	if err != nil {
		return err
	}
	<-s.ctx.Done()
	if ctx.Err() != nil {
		return nil
	}
	return s.ctx.Err() // a node failed: stop tells which
}

// stop ends all nodes and answers why: the failure of a node before what followed from it.
func (s *stage) stop(err error) error {
	s.cancel()
	for _, at := range s.places {
		for _, c := range []*client.Client{at.system, at.officer} {
			if c != nil {
				err = errors.Join(err, c.Close())
			}
		}
	}
	failed := s.nodes.Wait()
	for _, at := range s.places {
		if at.line != nil {
			err = errors.Join(err, at.line.cut())
		}
	}
	if failed != nil {
		return failed
	}
	return err
}

func authorityOf(id member.ID) string {
	for _, c := range Case() {
		if c.Member == string(id) {
			return c.Authority
		}
	}
	if id == joinerID {
		return joinerAuthority
	}
	return "Coordination office"
}

func countryOf(id member.ID) string {
	for _, c := range Case() {
		if c.Member == string(id) {
			return c.Country
		}
	}
	if id == joinerID {
		return joinerCountry
	}
	return "Coordination office"
}
