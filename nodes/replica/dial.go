package replica

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"entente.example/entente/proto/member"
)

// Settings of a connection to another node (those of the server's side mirror them). No
// compressor is registered.
const (
	maxMessage    = 4 << 20
	maxHeaderList = 16 << 10
	// keepaliveTime is above the 30 s that servers enforce as the least.
	keepaliveTime    = time.Minute
	keepaliveTimeout = 10 * time.Second
	connectTimeout   = 5 * time.Second
	// reconnectWithin is the longest wait between two attempts of one connection. A replica has its own backoff and makes a
	// new connection each time; who keeps one (for the roster, for questions) wants it back soon.
	reconnectWithin = 5 * time.Second
)

// Dialer gives the Dial of a Config: mutual TLS with the node of exactly that member, by the roster of the moment
// (member.NodeClientTLS). It connects with the first call. A node that hears of revocations uses Connections.
func Dialer(cert member.CertificateSource, roster func() *member.Roster) func(id member.ID, address string) (Conn, error) {
	return NewConnections(cert, roster, func(*x509.Certificate) bool { return false }).Dial
}

// Connections makes the node's connections to other nodes and knows which are open, so that one that would be refused by
// now can be ended. All methods are safe for concurrent use.
type Connections struct {
	cert    member.CertificateSource
	roster  func() *member.Roster
	revoked func(*x509.Certificate) bool

	mu   sync.Mutex // covers open
	open map[*connection]struct{}
}

// connection is one open TLS connection, with what the other side showed and what is asked of it.
type connection struct {
	net.Conn
	state  tls.ConnectionState
	verify func(tls.ConnectionState) error
	closed func()
}

// NewConnections starts nothing. All three functions are asked at each handshake, the last two also by DecideAgain.
func NewConnections(cert member.CertificateSource, roster func() *member.Roster, revoked func(*x509.Certificate) bool) *Connections {
	return &Connections{cert: cert, roster: roster, revoked: revoked, open: map[*connection]struct{}{}}
}

// Dial makes a connection to the node of a member at one address; it connects with the first call.
func (c *Connections) Dial(id member.ID, address string) (Conn, error) {
	config := member.RefuseRevoked(member.NodeClientTLS(c.cert, c.roster, id), c.revoked)
	retry := backoff.DefaultConfig
	retry.MaxDelay = reconnectWithin
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(&remembering{TransportCredentials: credentials.NewTLS(config), in: c, verify: config.VerifyConnection}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithMaxHeaderListSize(maxHeaderList),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: connectTimeout}),
		grpc.WithDisableServiceConfig(), // a name server must not be able to change any of this
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", id, err)
	}
	return conn, nil
}

// DecideAgain asks for each open connection what was asked at its handshake, by the roster and the revocations of now, and
// ends those whose answer has changed: calls on them fail, and the next attempt is refused. It says how many.
func (c *Connections) DecideAgain() int {
	ended := 0
	for _, one := range c.list() {
		if one.verify(one.state) == nil {
			continue
		}
		one.Close() // its reader notices; nothing to learn from a failure
		ended++
	}
	return ended
}

func (c *Connections) list() []*connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*connection, 0, len(c.open))
	for one := range c.open {
		list = append(list, one)
	}
	return list
}

// enter notes an open connection until it is closed.
func (c *Connections) enter(conn net.Conn, state tls.ConnectionState, verify func(tls.ConnectionState) error) *connection {
	one := &connection{Conn: conn, state: state, verify: verify}
	one.closed = sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, one)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[one] = struct{}{}
	return one
}

// Close closes the connection and takes it off the list.
func (c *connection) Close() error {
	c.closed()
	return c.Conn.Close()
}

// remembering are TLS credentials that enter each connection they make.
type remembering struct {
	credentials.TransportCredentials
	in     *Connections
	verify func(tls.ConnectionState) error
}

// ClientHandshake is that of TLS. Decided again at once: the roster or a list may have changed since the handshake asked,
// when this connection was not on the list yet.
func (r *remembering) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, auth, err := r.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	info, ok := auth.(credentials.TLSInfo)
	if !ok {
		return nil, nil, errors.Join(errors.New("the connection is not a TLS connection"), conn.Close())
	}
	one := r.in.enter(conn, info.State, r.verify)
	err = r.verify(info.State)
	if err != nil {
		return nil, nil, errors.Join(err, one.Close())
	}
	return one, auth, nil
}

// Clone keeps the list.
func (r *remembering) Clone() credentials.TransportCredentials {
	return &remembering{TransportCredentials: r.TransportCredentials.Clone(), in: r.in, verify: r.verify}
}
