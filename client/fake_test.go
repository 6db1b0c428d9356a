package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// fakeNode is a node of XA as far as a client sees one: real gRPC over real TLS, with answers that a test gives.
type fakeNode struct {
	ententev1.UnimplementedIntakeServiceServer
	ententev1.UnimplementedStreamServiceServer
	ententev1.UnimplementedNetworkServiceServer
	ententev1.UnimplementedAuditServiceServer

	push      func(grpc.BidiStreamingServer[ententev1.PushRequest, ententev1.PushResponse]) error
	subscribe func(*ententev1.SubscribeRequest, grpc.ServerStreamingServer[ententev1.SubscribeResponse]) error
	watch     func(*ententev1.WatchRequest, grpc.ServerStreamingServer[ententev1.WatchResponse]) error
	list      func(*ententev1.ListRequest) (*ententev1.ListResponse, error)
	release   func(*ententev1.ReleaseRequest) (*ententev1.ReleaseResponse, error)
	view      func(*ententev1.GetViewRequest) (*ententev1.GetViewResponse, error)
	renew     func(*ententev1.RenewRequest) (*ententev1.RenewResponse, error)
	preview   func(*ententev1.PreviewReleaseRequest, grpc.ServerStreamingServer[ententev1.PreviewReleaseResponse]) error
	export    func(*ententev1.ExportRequest, grpc.ServerStreamingServer[ententev1.ExportResponse]) error
	trail     func(*ententev1.ReadTrailRequest, grpc.ServerStreamingServer[ententev1.ReadTrailResponse]) error
	alerts    func(*ententev1.ListAlertsRequest) (*ententev1.ListAlertsResponse, error)
}

func (f *fakeNode) Push(call grpc.BidiStreamingServer[ententev1.PushRequest, ententev1.PushResponse]) error {
	return f.push(call)
}

func (f *fakeNode) Subscribe(r *ententev1.SubscribeRequest, call grpc.ServerStreamingServer[ententev1.SubscribeResponse]) error {
	return f.subscribe(r, call)
}

func (f *fakeNode) Watch(r *ententev1.WatchRequest, call grpc.ServerStreamingServer[ententev1.WatchResponse]) error {
	return f.watch(r, call)
}

func (f *fakeNode) List(_ context.Context, r *ententev1.ListRequest) (*ententev1.ListResponse, error) {
	return f.list(r)
}

func (f *fakeNode) Release(_ context.Context, r *ententev1.ReleaseRequest) (*ententev1.ReleaseResponse, error) {
	return f.release(r)
}

func (f *fakeNode) GetView(_ context.Context, r *ententev1.GetViewRequest) (*ententev1.GetViewResponse, error) {
	return f.view(r)
}

func (f *fakeNode) Renew(_ context.Context, r *ententev1.RenewRequest) (*ententev1.RenewResponse, error) {
	return f.renew(r)
}

func (f *fakeNode) PreviewRelease(r *ententev1.PreviewReleaseRequest, call grpc.ServerStreamingServer[ententev1.PreviewReleaseResponse]) error {
	return f.preview(r, call)
}

func (f *fakeNode) Export(r *ententev1.ExportRequest, call grpc.ServerStreamingServer[ententev1.ExportResponse]) error {
	return f.export(r, call)
}

func (f *fakeNode) ReadTrail(r *ententev1.ReadTrailRequest, call grpc.ServerStreamingServer[ententev1.ReadTrailResponse]) error {
	return f.trail(r, call)
}

func (f *fakeNode) ListAlerts(_ context.Context, r *ententev1.ListAlertsRequest) (*ententev1.ListAlertsResponse, error) {
	return f.alerts(r)
}

func newAuthority(t *testing.T, id member.ID) *member.Authority {
	t.Helper()
	authority, err := member.NewAuthority(id, rand.Reader, time.Now(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// issue makes a certificate from the time at, for an hour.
func issue(t *testing.T, a *member.Authority, kind member.Kind, name string, at time.Time) member.CertificateSource {
	t.Helper()
	identity := member.Identity{Member: a.Member(), Kind: kind, Name: name}
	certificate, key, err := a.Issue(identity, rand.Reader, at, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	source, err := member.FixedCertificate(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// serve starts the node with a certificate of authority, which also says who may call.
func (f *fakeNode) serve(t *testing.T, authority *member.Authority) (address string) {
	t.Helper()
	source := issue(t, authority, member.KindNode, "", time.Now())
	certificate, err := source()
	if err != nil {
		t.Fatal(err)
	}
	settings := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"h2"},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(), SessionTicketsDisabled: true,
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(settings)))
	ententev1.RegisterIntakeServiceServer(server, f)
	ententev1.RegisterStreamServiceServer(server, f)
	ententev1.RegisterNetworkServiceServer(server, f)
	ententev1.RegisterAuditServiceServer(server, f)
	healthv1.RegisterHealthServer(server, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		running.Wait()
	})
	return listener.Addr().String()
}

// waits records the pauses between attempts instead of waiting.
type waits struct {
	mu     sync.Mutex
	pauses []time.Duration
}

func (w *waits) wait(ctx context.Context, pause time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pauses = append(w.pauses, pause)
	return ctx.Err()
}

func (w *waits) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pauses)
}

// connect starts the node and dials it as a system of XA; pauses between attempts take no time.
func (f *fakeNode) connect(t *testing.T, change ...func(*Config)) (*Client, *waits) {
	t.Helper()
	authority := newAuthority(t, "XA")
	paused := &waits{}
	config := Config{
		Address: f.serve(t, authority), Member: "XA", Authorities: authority.Pool(),
		Certificate: issue(t, authority, member.KindSystem, "registry", time.Now()),
		Wait:        paused.wait, Random: func() float64 { return 0.5 },
	}
	for _, c := range change {
		c(&config)
	}
	return dial(t, config), paused
}

func dial(t *testing.T, config Config) *Client {
	t.Helper()
	c, err := Dial(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// cutter is a dialer whose connections a test can cut.
type cutter struct {
	mu   sync.Mutex
	open []net.Conn
}

func (c *cutter) dial(ctx context.Context, address string) (net.Conn, error) {
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, connection)
	return connection, nil
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, connection := range c.open {
		connection.Close()
	}
	c.open = nil
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func unavailable() error { return status.Error(codes.Unavailable, "going away") }

func poolOf(authorities ...*member.Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.Certificate())
	}
	return pool
}
