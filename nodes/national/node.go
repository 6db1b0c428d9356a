package national

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"entente.example/entente/nodes/replica"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// ErrForeignData says that a data file is not this node's.
var ErrForeignData = errors.New("it was made for another member or another federation")

// Node is one running node. All methods are safe for concurrent use; Run may be called once.
type Node struct {
	material  Material
	deps      Deps
	log       *slog.Logger
	store     *store.Store
	directory *directory
	// revocations, connections and contacts: what counts no more, what is open to others, and who is asked for news.
	revocations *revocations
	connections *replica.Connections
	contacts    *contacts
	grants      atomic.Pointer[policy.Grants]
	limits      atomic.Pointer[server.Quotas]
	signing     signing
	ledger      *ledger.Ledger
	clock       *clock
	trail       *audit.Log
	honey       *audit.Honey
	keeper      *maintenance
	replica     *replica.Replica
	server      *server.Server
	forward     *forwarder // nil at a coordinator
	merge       Merge      // nil at a member
	dial        dialer
	listener    net.Listener
	marker      [32]byte // as it was taken at the start
	marked      bool
}

// New opens the data file and puts the node together; it listens from now on, and answers once Run runs. Whatever would
// keep the node from doing its part is an error here: a data file that is locked, damaged, of a newer program, of another
// member or federation, or sealed with another key; no roster, or one that has expired; keys and a certificate that the
// roster does not vouch for. A newer roster that is refused is logged, and the last good one counts.
//
// The listener of deps is closed if New fails. A node that is not run is to be closed.
func New(m Material, deps Deps) (*Node, error) {
	n, err := assemble(m, deps)
	if err != nil {
		if deps.Listener != nil {
			deps.Listener.Close() // nobody else will, and it served nothing
		}
		return nil, err
	}
	return n, nil
}

func assemble(m Material, deps Deps) (*Node, error) {
	err := m.check()
	if err != nil {
		return nil, err
	}
	deps, err = deps.orDefault()
	if err != nil {
		return nil, err
	}
	n := &Node{material: m, deps: deps, log: deps.Logger, listener: deps.Listener}
	n.store, err = openData(&m, deps, false)
	if err != nil {
		return nil, err
	}
	from, kept := n.store.Migrated()
	if from != 0 {
		n.log.Warn("the data file was upgraded; the file before is kept", "from", from, "to", n.store.Schema(), "kept", kept)
	}
	err = n.build()
	if err != nil {
		return nil, errors.Join(err, n.store.Close())
	}
	return n, nil
}

// openData opens the data file and checks whose it is.
func openData(m *Material, deps Deps, readOnly bool) (*store.Store, error) {
	opts := m.storeOptions(deps)
	opts.ReadOnly = readOnly
	st, err := store.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("open data file: %w%s", err, mendData(err))
	}
	if !bytes.Equal(st.Identity(), identity(m.Member, m.Federation)) {
		return nil, errors.Join(fmt.Errorf("open data file %s: %w than %s in %x; name the right file, or the genesis it was made with",
			m.Data, ErrForeignData, m.Member, m.Federation), st.Close())
	}
	return st, nil
}

// mendData says what to do about a data file that does not open.
func mendData(err error) string {
	switch {
	case errors.Is(err, store.ErrMissing):
		return "; make one with the command init"
	case errors.Is(err, store.ErrLocked):
		return "; stop the other process: one data file has one node"
	case errors.Is(err, store.ErrNewerSchema):
		return "; start it with the newer program"
	case errors.Is(err, store.ErrWrongKey):
		return "; name the sealing key that the file was made with"
	}
	return ""
}

// build makes the parts, those first that find most mistakes and change nothing.
func (n *Node) build() error {
	err := n.openDirectory()
	if err != nil {
		return err
	}
	n.connections = replica.NewConnections(n.material.Certificate, n.directory.serving, n.revocations.Revoked)
	n.dial = n.connections.Dial
	n.contacts = &contacts{node: n, by: map[member.ID]*contact{}}
	if n.listener == nil {
		n.listener, err = net.Listen("tcp", n.material.Listen)
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", n.material.Listen, err)
	}
	err = n.buildOn()
	if err != nil {
		return errors.Join(err, n.listener.Close())
	}
	return nil
}

// openDirectory finds the roster and projects to start on: what was accepted before, and what the documents add. Where a
// new document is refused, the last good one counts.
func (n *Node) openDirectory() error {
	var err error
	n.directory, err = newDirectory(n.store, nil, n.material.Member, n.material.Federation, n.deps.Now, n.log)
	if err != nil {
		return err
	}
	n.revocations, err = newRevocations(n.store, false, n.material.Member, func() *member.Roster { return n.directory.get().Roster }, n.log)
	if err != nil {
		return err
	}
	err = n.readSigning()
	if err != nil {
		return fmt.Errorf("read the signing key in the data file: %w", err)
	}
	n.grants.Store(&policy.Grants{})
	n.limits.Store(&server.Quotas{})
	docs, unread := n.material.Documents()
	_, refused := n.accept(docs)
	problem := errors.Join(unread, refused)
	err = n.directory.fit(&n.material)
	if errors.Is(err, errNoRoster) && problem != nil {
		return problem // which says why there is none
	}
	if err != nil {
		return errors.Join(err, problem)
	}
	if problem != nil {
		n.log.Error("documents: the last good ones stay", "doing", "start", "reason", problem)
	}
	own, _ := n.directory.get().Roster.Member(n.material.Member)
	if n.deps.Merge == nil && own.Kind == ententev1.MemberKind_MEMBER_KIND_COORDINATOR {
		n.log.Warn("this member is a coordinator, but its node computes no merged view: run it as a coordinator")
	}
	return nil
}

// buildOn makes ledger, replica and server. The marker is taken as late as can be: it is good for one start.
func (n *Node) buildOn() error {
	m, deps := &n.material, n.deps
	var err error
	if m.Marker != "" {
		n.marker, n.marked, err = store.TakeMarker(m.Marker)
	}
	if err != nil {
		return err
	}
	err = n.openTrail()
	if err != nil {
		return errors.Join(err, n.putMarkerBack())
	}
	cfg := ledger.Config{
		Self: m.Member, IDKey: m.IDKey, SigningKey: m.SigningKey, GrantDelay: m.GrantDelay, Directory: n.directory.get,
		Now: deps.Now, Rand: deps.Rand, Logger: n.log, Trail: n.trail,
		Marker: n.marker, MarkerFound: n.marked, ConfirmWithin: deps.ConfirmWithin, DeliverWithin: m.Care.DeliverWithin,
		Expiry: func() (hide, erase time.Time) { c := n.clock.expiry(); return c.Hide, c.Erase },
	}
	m.Care.rules(&cfg)
	n.ledger, err = ledger.Open(n.store, cfg)
	if err != nil {
		return errors.Join(err, n.putMarkerBack())
	}
	err = n.bindTrail()
	if err != nil {
		return errors.Join(err, n.putMarkerBack())
	}
	err = n.buildServices()
	if err != nil {
		return errors.Join(err, n.putMarkerBack())
	}
	return nil
}

func (n *Node) buildServices() error {
	m, deps := &n.material, n.deps
	var err error
	n.replica, err = replica.New(replica.Config{
		Self: m.Member, Ledger: n.ledger, Directory: n.directory.get, Dial: n.dial, Now: deps.Now, Rand: deps.Rand, Logger: n.log,
		Heard: n.clock.hear,
	})
	if err != nil {
		return err
	}
	n.keeper = newMaintenance(n.store, m, deps, m.SealingAgain)
	cfg := server.Config{
		Trail: n.trail, Honey: n.honey, Expiry: n.clock.expiry, ConfirmClock: n.clock.confirm, Witness: n.witness, Profile: m.Care.Profile,
		Compacted: n.keeper.compactedAt, Audit: n.contacts,
		Self: m.Member, Ledger: n.ledger, Directory: n.directory.get,
		Grants: func() policy.Grants { return *n.grants.Load() },
		TLS:    member.RefuseRevoked(n.serverTLS(), n.revocations.Revoked),
		Now:    deps.Now, Rand: deps.Rand, Logger: n.log, CursorKey: n.store.Derive("cursors"), Version: deps.Version,
		Peers: n.peers, ProjectDocuments: n.directory.chain, Limits: deps.Limits,
		Federation: m.Federation, MaxBytes: m.MaxBytes, Revocations: n.revocations, Quotas: func() server.Quotas { return *n.limits.Load() },
		Maintenance: n.keeper, Import: n.replica,
	}
	if deps.Merge != nil {
		n.merge = deps.Merge(n.ledger)
		cfg.View = n.merge
	} else {
		n.forward = &forwarder{prefer: m.Coordinator, roster: n.directory.serving, dial: n.dial, source: m.Certificate}
		cfg.Coordinator = n.forward
	}
	n.server, err = server.New(cfg)
	return err
}

// peers is the state of each pull, with the version of the contract that the peer's node speaks.
func (n *Node) peers() []*ententev1.PeerStatus {
	list := n.replica.Peers()
	for _, peer := range list {
		peer.Contract = n.contacts.contract(member.ID(peer.GetMember()))
	}
	return list
}

// serverTLS is the node's side of a connection, before revoked certificates are refused.
func (n *Node) serverTLS() *tls.Config {
	settings := member.ServerTLS(n.material.Certificate, n.directory.serving, n.material.Member)
	if n.material.ClassicOwn {
		return member.AllowClassic(settings)
	}
	return settings
}

// putMarkerBack undoes the taking of the marker where nothing was written since.
func (n *Node) putMarkerBack() error {
	if !n.marked {
		return nil
	}
	return store.WriteMarker(n.material.Marker, n.marker)
}

// Address is where the node listens.
func (n *Node) Address() string { return n.listener.Addr().String() }

// Ledger is what the node holds, for a program that runs the node and looks inside it (the demonstration, tests).
func (n *Node) Ledger() *ledger.Ledger { return n.ledger }

// Directory is the roster and the projects in force.
func (n *Node) Directory() *ledger.Directory { return n.directory.get() }

// Close lets go of a node that is not run. After Run there is nothing to close.
func (n *Node) Close() error {
	n.contacts.drop(nil)
	return errors.Join(n.listener.Close(), n.store.Close(), n.putMarkerBack())
}

// part is something that runs as long as the node does.
type part struct {
	run    func(context.Context) error
	cancel context.CancelFunc
	ended  chan error // gets one value
}

// Run runs the node until ctx ends or a part of it cannot go on; the error is why. It stops in order: the server, then what
// pulls and reloads, then the ledger, so that whatever was acknowledged is written. Last, the data file is closed and the
// marker of a clean stop written.
func (n *Node) Run(ctx context.Context) error {
	// A part is stopped before the ones above it, which it uses.
	parts := []*part{
		{run: n.ledger.Run},
		{run: n.replica.Run},
		{run: n.regularly},
		{run: n.contacts.run},
		{run: n.care},
		{run: n.haveWitnessed},
		{run: n.inquire},
		{run: n.compactInTime},
	}
	if n.merge != nil {
		parts = append(parts, &part{run: n.merge.Run})
	}
	parts = append(parts, &part{run: func(ctx context.Context) error { return n.server.Run(ctx, n.listener) }})
	n.log.Info("node started", "member", n.material.Member, "address", n.Address(), "roster", n.directory.get().Roster.Number())
	failure := runInOrder(ctx, parts)
	if n.forward != nil {
		n.forward.close()
	}
	err := n.finish(failure)
	n.log.Info("node stopped", "member", n.material.Member, "clean", err == nil)
	return err
}

// runInOrder starts all parts and stops them, the last one first, when ctx ends or one of them does.
func runInOrder(ctx context.Context, parts []*part) error {
	first := make(chan struct{}, len(parts))
	for _, p := range parts {
		var own context.Context
		own, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
		p.ended = make(chan error, 1)
		go func() { // ends with p.cancel below
			p.ended <- p.run(own)
			first <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-first:
	}
	var failures []error
	for _, p := range slices.Backward(parts) {
		p.cancel()
		err := <-p.ended
		if err != nil && !errors.Is(err, context.Canceled) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// finish closes the data file and says, where all went well, that it was left in order. While own streams wait for their
// readers, or received ones are hidden, after a crash, the care of this start must not end with it: then there is no marker.
func (n *Node) finish(failure error) error {
	digest := n.ledger.HeadsDigest()
	settled := len(n.ledger.Unconfirmed()) == 0 &&
		!slices.ContainsFunc(n.ledger.Streams(), func(s ledger.StreamInfo) bool { return s.Hidden })
	err := n.store.Close()
	if failure != nil || err != nil {
		return errors.Join(failure, err)
	}
	if n.material.Marker == "" || !settled {
		return nil
	}
	return store.WriteMarker(n.material.Marker, digest)
}
