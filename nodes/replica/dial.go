package replica

import (
	"fmt"
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
)

// Dialer gives the Dial of a Config: mutual TLS with the node of exactly that member, by the roster of the moment
// (member.NodeClientTLS). It connects with the first call.
func Dialer(cert member.CertificateSource, roster func() *member.Roster) func(id member.ID, address string) (Conn, error) {
	return func(id member.ID, address string) (Conn, error) {
		conn, err := grpc.NewClient(address,
			grpc.WithTransportCredentials(credentials.NewTLS(member.NodeClientTLS(cert, roster, id))),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
			grpc.WithMaxHeaderListSize(maxHeaderList),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
			// The replica has its own backoff; this one only bounds a single attempt.
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
			grpc.WithDisableServiceConfig(), // a name server must not be able to change any of this
		)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", id, err)
		}
		return conn, nil
	}
}
