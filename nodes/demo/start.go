package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"entente.example/entente/client"
	"entente.example/entente/nodes/federation"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// validFor is how long certificates, roster and project of the throw-away federation count.
const validFor = 7 * 24 * time.Hour

// station is one member of the federation: its node, running, and those who call it.
type station struct {
	seat    *federation.Seat
	country string
	address string
	system  *client.Client // the national system
	officer *client.Client // an analyst

	ledger *ledger.Ledger
	run    func(context.Context) error
	// merged waits until the node's merge has taken in all that its ledger holds; nil where it merges nothing.
	merged func(context.Context) error
}

// stage is a running federation.
type stage struct {
	options Options
	dir     string
	places  []*station // the members in the order of Case, then the coordinator
	project string     // the project's name

	ctx    context.Context // ends with the federation, or when a node fails
	cancel context.CancelFunc
	nodes  *errgroup.Group
}

// start founds a federation of the case's members and a coordinator and runs a node for each.
func start(ctx context.Context, o Options, dir string) (*stage, error) {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	s := &stage{options: o, dir: dir, project: "Harbour Light", ctx: ctx, cancel: cancel, nodes: group}
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
	listeners, err := s.listen(founded)
	if err != nil {
		return err
	}
	roster, err := founded.Roster()
	if err != nil {
		return closeListeners(listeners, fmt.Errorf("make the roster: %w", err))
	}
	documents, _, err := founded.Project(roster, ProjectID, s.project, ids[0], ids[1], ids[2], CoordinatorID)
	if err != nil {
		return closeListeners(listeners, fmt.Errorf("open the project: %w", err))
	}
	for i, at := range s.places {
		err = s.open(at, listeners[i], founded.ID, roster, documents)
		if err != nil {
			return closeListeners(listeners[i:], fmt.Errorf("node of %s: %w", at.seat.ID, err))
		}
		s.nodes.Go(func() error { return s.runNode(at) })
	}
	return s.callers()
}

// listen opens a socket for each seat: the addresses stand in the roster, so they must be known before it is made.
func (s *stage) listen(founded *federation.Federation) ([]net.Listener, error) {
	var listeners []net.Listener
	for i, seat := range founded.Seats {
		listener, err := (&net.ListenConfig{}).Listen(s.ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, closeListeners(listeners, fmt.Errorf("listen for %s: %w", seat.ID, err))
		}
		listeners = append(listeners, listener)
		seat.Addresses = []string{listener.Addr().String()}
		at := &station{seat: seat, address: listener.Addr().String(), country: "the coordinator"}
		if i < len(Case()) {
			at.country = Case()[i].Country
		}
		s.places = append(s.places, at)
	}
	return listeners, nil
}

// closeListeners lets go of sockets that no node took over, and answers why.
func closeListeners(listeners []net.Listener, err error) error {
	for _, listener := range listeners {
		listener.Close() // nothing was served: a failure changes nothing
	}
	return err
}

func (s *stage) runNode(at *station) error {
	err := at.run(s.ctx)
	if err != nil && s.ctx.Err() == nil {
		return fmt.Errorf("the node of %s stopped: %w", at.seat.ID, err)
	}
	return nil
}

// callers makes the clients through which everything in the demonstration goes.
func (s *stage) callers() error {
	for _, at := range s.places {
		var err error
		at.system, err = s.dial(at, member.KindSystem, intakeSystem)
		if err != nil {
			return fmt.Errorf("prepare the system of %s: %w", at.seat.ID, err)
		}
		at.officer, err = s.dial(at, member.KindOfficer, officerName)
		if err != nil {
			return fmt.Errorf("prepare the officer of %s: %w", at.seat.ID, err)
		}
	}
	return nil
}

// members are the places without the coordinator.
func (s *stage) members() []*station { return s.places[:len(s.places)-1] }

func (s *stage) coordinator() *station { return s.places[len(s.places)-1] }

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
	if failed != nil {
		return failed
	}
	return err
}

// folder makes the folder of a node's own files.
func (s *stage) folder(at *station) (string, error) {
	dir := filepath.Join(s.dir, string(at.seat.ID), "node")
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return "", fmt.Errorf("make the folder of %s: %w", at.seat.ID, err)
	}
	return dir, nil
}

func authorityOf(id member.ID) string {
	for _, c := range Case() {
		if c.Member == string(id) {
			return c.Authority
		}
	}
	return "Coordination office"
}
