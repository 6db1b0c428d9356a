package replica_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"entente.example/entente/nodes/federation"
	"entente.example/entente/nodes/replica"
	"entente.example/entente/proto/member"
)

// dialled is a node of XA that answers only whether it is well, and XB's connections to it.
type dialled struct {
	t           *testing.T
	fed         *federation.Federation
	roster      atomic.Pointer[member.Roster]
	revoked     atomic.Pointer[x509.Certificate]
	leaf        *x509.Certificate // of XA
	address     string
	connections *replica.Connections
}

func newDialled(t *testing.T) *dialled {
	t.Helper()
	d := &dialled{t: t}
	var err error
	d.fed, err = federation.Found([]member.ID{"XA", "XB"}, nil, rand.Reader, time.Now, time.Hour)
	d.must(err)
	d.announce()
	source := func(id member.ID) member.CertificateSource {
		certificate, err := d.fed.Certificate(member.Identity{Member: id, Kind: member.KindNode})
		d.must(err)
		return func() (*tls.Certificate, error) { return certificate, nil }
	}
	shown := source("XA")
	pair, err := shown()
	d.must(err)
	d.leaf, err = x509.ParseCertificate(pair.Certificate[0])
	d.must(err)
	first := d.roster.Load() // the node itself hears of nothing: what ends, XB ends
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(member.ServerTLS(shown, func() *member.Roster { return first }, "XA"))))
	healthv1.RegisterHealthServer(server, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	d.must(err)
	go func() { _ = server.Serve(listener) }() // ends with Stop
	t.Cleanup(server.Stop)
	d.address = listener.Addr().String()
	d.connections = replica.NewConnections(source("XB"), d.roster.Load, func(c *x509.Certificate) bool {
		gone := d.revoked.Load()
		return gone != nil && gone.Equal(c)
	})
	return d
}

func (d *dialled) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// announce puts the next roster in force, with the authorities of now.
func (d *dialled) announce() {
	d.t.Helper()
	roster, err := d.fed.Roster()
	d.must(err)
	d.roster.Store(roster)
}

// watch opens a long call and waits for its first message.
func (d *dialled) watch() (replica.Conn, healthv1.Health_WatchClient) {
	d.t.Helper()
	conn, err := d.connections.Dial("XA", d.address)
	d.must(err)
	d.t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	d.t.Cleanup(cancel)
	call, err := healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{})
	d.must(err)
	_, err = call.Recv()
	d.must(err)
	return conn, call
}

func TestAConnectionEndsWhenItWouldBeRefusedByNow(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(d *dialled)
		says   string
	}{
		"the other side's certificate is revoked": {func(d *dialled) { d.revoked.Store(d.leaf) }, "has been revoked"},
		"the roster names another authority for it": {func(d *dialled) {
			next, err := member.NewAuthority("XA", rand.Reader, time.Now(), time.Hour)
			d.must(err)
			d.fed.Seat("XA").Authority = next
			d.announce()
		}, "peer refused"},
		"there is no roster to call on": {func(d *dialled) { d.roster.Store(nil) }, "no roster"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDialled(t)
			conn, call := d.watch()
			if ended := d.connections.DecideAgain(); ended != 0 {
				t.Fatalf("%d connections ended with nothing changed", ended)
			}
			tt.change(d)
			if ended := d.connections.DecideAgain(); ended != 1 {
				t.Errorf("%d connections ended, want 1", ended)
			}
			_, err := call.Recv()
			if status.Code(err) != codes.Unavailable {
				t.Errorf("the open call ended with %v", err)
			}
			_, err = healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the next call: %v, want %q in it", err, tt.says)
			}
		})
	}
}

func TestAConnectionThatIsClosedIsForgotten(t *testing.T) {
	d := newDialled(t)
	conn, call := d.watch()
	d.watch()
	d.must(conn.Close())
	_, err := call.Recv()
	if err == nil {
		t.Fatal("the call goes on")
	}
	d.revoked.Store(d.leaf)
	if ended := d.connections.DecideAgain(); ended != 1 {
		t.Errorf("%d connections ended, want the one that is open", ended)
	}
}
