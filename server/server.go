// Package server is one node as others see it: the gRPC services over the node's ledger, and what stands before them.
//
// A call passes, from outside in: the listener's caps, TLS, the decision whether this identity may call this method
// (package policy, and the roster) and its limits, a log line, the decision once more, the deadline, what its messages cost,
// the field rules of the contract, recovery from a panic, and the service. What goes back passes policy once more, with the very object that is sent: the send functions of this
// package take only policy.Cleared values.
//
// The invariant: no byte of a record leaves but through a Cleared value, and no method runs without a line in the access
// table (New fails otherwise). To a caller who may not see something the answer is the same as if it did not exist.
//
// What it does not do: keep anything (that is server/ledger and server/store), decide what a release contains, verify
// what other nodes send (proto/stream and nodes/replica), or find out who is in (the roster is handed in).
//
// What one identity may do is limited (quota.go: the limits, quota_gate.go: the count, quota_meter.go: where messages and work
// are counted and held). Withdrawals and receipts between nodes are never held up by what the same node reads.
//
// The services, one file each: intake, subscribe, exchange, library, network (for a coordinator, over its own view;
// for a member, forward.go), roster, admin. A new RPC is: the contract, a line in policy's table, a method here.
//
//	node, err := server.New(server.Config{Self: "XA", Ledger: held, Directory: directory, ...})
//	err = node.Run(ctx, listener) // until ctx ends
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// Config is what a node's services need. All is required unless said otherwise.
type Config struct {
	// Self is the node's own member.
	Self member.ID
	// Ledger is what the node holds. It is running while the server runs, and stopped after it.
	Ledger *ledger.Ledger
	// Directory is who is in and which projects there are, as last verified. Asked anew for each decision.
	Directory func() *ledger.Directory
	// Grants is what the member allows its own systems and officers. Asked anew for each decision.
	Grants func() policy.Grants
	// TLS is the node's side of each connection: member.ServerTLS.
	TLS *tls.Config
	// Now is the clock.
	Now func() time.Time
	// Rand is where nonces come from; crypto/rand.Reader.
	Rand io.Reader
	// Logger gets one line a call: method, kind of caller, code, duration. Never messages.
	Logger *slog.Logger
	// CursorKey seals cursors and page tokens: 32 random bytes. Replicas of a node share it.
	CursorKey []byte
	// Version is the program's, for operators.
	Version string
	// View is the merged view that this node computes (a coordinator). Optional; not together with Coordinator.
	View NetworkView
	// Coordinator is the node that officers' questions are forwarded to (a member's node). Optional. With neither,
	// NetworkService is not registered.
	Coordinator NetworkCaller
	// Peers is the state of the node's pulls from others. Optional.
	Peers func() []*ententev1.PeerStatus
	// ProjectDocuments is the chain of a project of the Directory, in order of number, as it was signed. Optional: without
	// it the node hands on no project.
	ProjectDocuments func(project string) []*ententev1.SignedDocument
	// Trail is the audit trail: what leaves, and what is changed, is in it first.
	Trail *audit.Log
	// Expiry is the clock by which records expire, asked anew for each decision.
	Expiry func() policy.ExpiryClock
	// ConfirmClock takes an operator's word that the node's clock is right, and says until when it counts. Optional.
	ConfirmClock func() (until time.Time)
	// Witness is the member that countersigns the trail; empty: none can be had. Optional.
	Witness func() member.ID
	// Profile is how long the member keeps records, and when it reviews them.
	Profile policy.Profile
	// Compacted is when the data file was compacted last since the start. Optional.
	Compacted func() time.Time
	// Honey keeps which own records nobody has a reason to look at. Optional.
	Honey *audit.Honey
	// Audit asks other members' nodes about the own records. Optional: without it nothing is reconciled.
	Audit AuditCaller
	// Maintenance is what operators may have done with the data file. Optional: without it they are told that this node
	// does not do it.
	Maintenance Maintenance
	// Import takes streams that were carried by file. Optional, likewise.
	Import Importer
	// Federation is SHA-256 of the genesis; exports carry it.
	Federation [32]byte
	// Revocations is which certificates count no more. Optional: none do.
	Revocations Revocations
	// Quotas are the limits of each identity, asked anew for each call and message, so that a change counts at once.
	// Optional: DefaultQuotas.
	Quotas func() Quotas
	// MaxBytes is how large the data file may grow, for operators; 0: no limit.
	MaxBytes int64
	// Limits may stay zero.
	Limits Limits
}

func (c *Config) check() error {
	missing := map[string]bool{
		"Self": c.Self == "", "Ledger": c.Ledger == nil, "Directory": c.Directory == nil, "Grants": c.Grants == nil,
		"Trail": c.Trail == nil, "Expiry": c.Expiry == nil,
		"TLS": c.TLS == nil, "Now": c.Now == nil, "Rand": c.Rand == nil, "Logger": c.Logger == nil,
	}
	for field, isMissing := range missing {
		if isMissing {
			return fmt.Errorf("server configuration: %s is missing", field)
		}
	}
	if c.View != nil && c.Coordinator != nil {
		return errors.New("server configuration: View and Coordinator exclude each other")
	}
	return nil
}

// Server is a node's gRPC server. All methods are safe for concurrent use.
type Server struct {
	cfg       Config
	table     policy.Table
	sealer    *sealer
	validator protovalidate.Validator
	soundness *soundness
	calls     *calls
	short     map[string]bool // the methods that are no streams
	gate      *gate
	upkeep    *gate // of the work for calls that nothing else may hold up
	grpc      *grpc.Server
	health    *health
	growth    growth
	alerts    *alerts
}

// New makes a server and starts nothing. It fails if the configuration is not complete or a method that it would serve
// has no line in the access table.
func New(cfg Config) (*Server, error) {
	err := cfg.check()
	if err != nil {
		return nil, err
	}
	cfg.Limits = cfg.Limits.orDefault()
	sealer, err := newSealer(cfg.CursorKey, cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("server configuration: CursorKey: %w", err)
	}
	validator, err := protovalidate.New(protovalidate.WithMessages(requests()...))
	if err != nil {
		return nil, fmt.Errorf("compile the contract's field rules: %w", err)
	}
	soundness, err := newSoundness(requests()...)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, table: policy.NewTable(), sealer: sealer, validator: validator, soundness: soundness,
		calls: newCalls(), gate: newGate(cfg.Quotas, cfg.Now), upkeep: newGate(cfg.Quotas, cfg.Now), health: newHealth(cfg.Now),
	}
	s.alerts, err = newAlerts(cfg)
	if err != nil {
		return nil, err
	}
	s.grpc = grpc.NewServer(s.options()...)
	s.register()
	for service, info := range s.grpc.GetServiceInfo() {
		for _, method := range info.Methods {
			if !s.table.Has("/" + service + "/" + method.Name) {
				return nil, fmt.Errorf("method /%s/%s has no line in the access table", service, method.Name)
			}
		}
	}
	return s, nil
}

func (s *Server) register() {
	ententev1.RegisterIntakeServiceServer(s.grpc, &intake{Server: s})
	ententev1.RegisterStreamServiceServer(s.grpc, &subscriptions{Server: s})
	ententev1.RegisterExchangeServiceServer(s.grpc, &exchange{Server: s})
	ententev1.RegisterLibraryServiceServer(s.grpc, &library{Server: s})
	ententev1.RegisterRosterServiceServer(s.grpc, &rosters{Server: s})
	ententev1.RegisterAdminServiceServer(s.grpc, &admin{Server: s})
	ententev1.RegisterAuditServiceServer(s.grpc, &audits{Server: s})
	if s.cfg.View != nil {
		ententev1.RegisterNetworkServiceServer(s.grpc, &views{Server: s, recent: newRecentViews()})
	}
	if s.cfg.Coordinator != nil {
		ententev1.RegisterNetworkServiceServer(s.grpc, &forwarder{Server: s})
	}
	healthv1.RegisterHealthServer(s.grpc, s.health)
	s.health.serve(s.grpc.GetServiceInfo())
	s.short = shortMethods(s.grpc.GetServiceInfo())
}

func shortMethods(services map[string]grpc.ServiceInfo) map[string]bool {
	short := make(map[string]bool)
	for service, info := range services {
		for _, method := range info.Methods {
			if !method.IsClientStream && !method.IsServerStream {
				short["/"+service+"/"+method.Name] = true
			}
		}
	}
	return short
}

// DirectoryChanged decides all open calls again at once, after a reload of roster, projects or grants. Without it they
// are decided again every 5 seconds.
func (s *Server) DirectoryChanged() { s.decideAgain() }

// Run serves on lis until ctx ends. Then health says NOT_SERVING, open streams end with UNAVAILABLE, calls under way get
// 10 seconds, and the rest is cut: what was acknowledged is on disk, and what the ledger still works at is answered or not
// acknowledged. It closes lis, and returns nil after an orderly end.
func (s *Server) Run(ctx context.Context, lis net.Listener) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { // ends with Serve: at the latest after s.grpc.Stop below
		ended <- s.grpc.Serve(newCappedListener(lis, s.cfg.Limits.MaxConnections, s.cfg.Limits.MaxConnectionsPerPeer))
	}()
	var beside sync.WaitGroup
	beside.Go(func() { s.decideRegularly(serving) })
	beside.Go(func() { s.awaitLedger(serving) })
	beside.Go(func() { s.watchHoney(serving) })
	beside.Go(func() { s.growth.follow(serving, s.cfg.Ledger, s.cfg.Now) })
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		s.stop()
		err = <-ended
	}
	stop()
	beside.Wait() // all end with serving
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", lis.Addr(), err)
	}
	return nil
}

// awaitLedger lets the node serve as soon as the ledger has taken something: nothing, in this case.
func (s *Server) awaitLedger(ctx context.Context) {
	_, err := s.cfg.Ledger.Enqueue(ctx, "", nil)(ctx)
	if ctx.Err() != nil {
		return
	}
	s.health.wrote(err)
	if err == nil || errors.Is(err, store.ErrFull) { // on a full disk there is still much to read
		s.health.become(running)
	}
}

// stop ends all calls, the long ones at once, the others within stopPatience.
func (s *Server) stop() {
	s.health.become(draining)
	s.calls.close(errStopping)
	graceful := make(chan struct{})
	go func() { // ends when all calls have ended, which Stop sees to
		defer close(graceful)
		s.grpc.GracefulStop()
	}()
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-graceful:
	case <-patience.C:
		s.grpc.Stop()
		<-graceful
	}
}
