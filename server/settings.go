package server

import (
	"net"
	"sync"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// The settings of the federation port (grpc-go's own defaults are unbounded or far above). No compressor and no reflection is registered.
const (
	maxConcurrentStreams = 128
	// maxMessage is 4 MiB, not the 1 MiB of the reference: the contract promises it to PushRequest, and one port has
	// one limit. What a message costs is bounded beyond that by its own limits (1,000 items of 256 KiB at most).
	maxMessage         = 4 << 20
	maxHeaderList      = 16 << 10
	connectionTimeout  = 5 * time.Second
	keepaliveMinTime   = 30 * time.Second
	keepaliveTime      = 30 * time.Second
	keepaliveTimeout   = 10 * time.Second
	maxConnectionIdle  = 5 * time.Minute
	maxConnectionAge   = 30 * time.Minute
	maxConnectionGrace = 30 * time.Second

	// unaryDeadline bounds each unary call, whatever the caller asks.
	unaryDeadline = 30 * time.Second
	// decideEvery is how often open calls are decided again (at least every 5 s).
	decideEvery = 5 * time.Second
	// cutPatience is how long a call that was decided against may take to end by itself before it is cut.
	cutPatience = time.Second
	// stopPatience is how long calls under way may take when the server stops.
	stopPatience = 10 * time.Second

	// sendBytes is about how large a message of a server stream, or a page, may grow; one item may stand over.
	sendBytes = 256 << 10
	// pageBytes is the same for pages of a view and batches of entries between nodes.
	pageBytes = 1 << 20
)

// Limits are what a site may choose. Zero means the default.
type Limits struct {
	// MaxConnections is how many connections are open at most, in all. Default 1,024.
	MaxConnections int
	// MaxConnectionsPerPeer is how many from one address. Default 64.
	MaxConnectionsPerPeer int
	// SignOfLife is how often a signed digest goes out on an open pull. Default 30 s.
	SignOfLife time.Duration
	// WatchInterval is the least time between two messages of a watched view. Default 1 s.
	WatchInterval time.Duration
}

func (l Limits) orDefault() Limits {
	if l.MaxConnections == 0 {
		l.MaxConnections = 1024
	}
	if l.MaxConnectionsPerPeer == 0 {
		l.MaxConnectionsPerPeer = 64
	}
	if l.SignOfLife == 0 {
		l.SignOfLife = 30 * time.Second
	}
	if l.WatchInterval == 0 {
		l.WatchInterval = time.Second
	}
	return l
}

func (s *Server) options() []grpc.ServerOption {
	recovered := recovery.WithRecoveryHandlerContext(s.recovered)
	return []grpc.ServerOption{
		grpc.Creds(credentials.NewTLS(s.cfg.TLS)),
		grpc.MaxConcurrentStreams(maxConcurrentStreams),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout,
			MaxConnectionIdle: maxConnectionIdle, MaxConnectionAge: maxConnectionAge, MaxConnectionAgeGrace: maxConnectionGrace,
		}),
		grpc.WaitForHandlers(true),
		// Decided once before the message is read: who may not call a method, or calls too often, costs no decoding. The
		// interceptors decide again, with what is known then.
		grpc.InTapHandle(s.tap),
		// The first stands outermost. Recovery is innermost, so that a panic is logged and answered like any failure.
		grpc.ChainUnaryInterceptor(s.logUnary, s.admitUnary, s.meterUnary, s.validateUnary, recovery.UnaryServerInterceptor(recovered)),
		grpc.ChainStreamInterceptor(s.logStream, s.admitStream, s.meterStream, s.validateStream, recovery.StreamServerInterceptor(recovered)),
	}
}

// requests are the messages whose field rules are compiled before the first call comes.
func requests() []proto.Message {
	return []proto.Message{
		&ententev1.Record{}, &ententev1.Audience{},
		&ententev1.GetRequest{}, &ententev1.ListRequest{}, &ententev1.ReleaseRequest{}, &ententev1.WithdrawRequest{},
		&ententev1.PreviewReaderRequest{}, &ententev1.GrantStreamRequest{}, &ententev1.SubscribeRequest{},
		&ententev1.HeadsRequest{}, &ententev1.PullRequest{}, &ententev1.SubmitReceiptsRequest{},
		&ententev1.LibraryServiceListRequest{}, &ententev1.LibraryServiceGetRequest{},
		&ententev1.GetViewRequest{}, &ententev1.GetEntityRequest{}, &ententev1.WatchRequest{},
		&ententev1.GetRosterRequest{}, &ententev1.ListProjectDocumentsRequest{}, &ententev1.GetStatusRequest{},
		&ententev1.BackupRequest{}, &ententev1.ResealRequest{}, &ententev1.ExportStreamsRequest{}, &ententev1.ImportStreamsRequest{},
	}
}

// cappedListener closes what comes over its caps at once, before a TLS handshake is paid for.
type cappedListener struct {
	net.Listener
	total, perPeer int

	mu   sync.Mutex     // covers open and all
	open map[string]int // connections by peer address, without port
	all  int
}

func newCappedListener(lis net.Listener, total, perPeer int) *cappedListener {
	return &cappedListener{Listener: lis, total: total, perPeer: perPeer, open: make(map[string]int)}
}

// Accept waits for the next connection under the caps.
func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := peerAddress(conn)
		if l.take(peer) {
			return &cappedConn{Conn: conn, release: sync.OnceFunc(func() { l.give(peer) })}, nil
		}
		conn.Close() // it never was ours; nothing to learn from a failure
	}
}

func (l *cappedListener) take(peer string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.total || l.open[peer] >= l.perPeer {
		return false
	}
	l.all++
	l.open[peer]++
	return true
}

func (l *cappedListener) give(peer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	l.open[peer]--
	if l.open[peer] == 0 {
		delete(l.open, peer)
	}
}

func peerAddress(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

// cappedConn gives its place back when it is closed.
type cappedConn struct {
	net.Conn
	release func()
}

// Close closes the connection.
func (c *cappedConn) Close() error {
	c.release()
	return c.Conn.Close()
}
