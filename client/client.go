package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"entente.example/entente/client/renewal"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

const (
	// maxReceive bounds a message from the own node: a page of a view is the largest.
	maxReceive = 16 << 20
	// The node ends connections that ask for signs of life more often than each 30 s.
	keepaliveTime    = time.Minute
	keepaliveTimeout = 10 * time.Second
	// connectTimeout bounds one attempt to connect, TLS included.
	connectTimeout = 10 * time.Second
)

// Client is a connection to the node of the own member. It is safe for concurrent use. The methods of the raw service
// clients return gRPC errors; those of Client return *Error.
type Client struct {
	config     Config
	connection *renewal.Conn
}

// Dial prepares a connection; it is opened by the first call, so an unreachable node shows there. Close it.
func Dial(config Config) (*Client, error) {
	config, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("dial node: %w", err)
	}
	source := func() (*tls.Certificate, error) {
		certificate, err := config.Certificate()
		if err != nil {
			return nil, ownCertificateError{err}
		}
		return certificate, nil
	}
	settings := member.OwnClientTLSFrom(source, config.AuthoritiesSource, config.Member)
	connection, err := renewal.New(source, func() (renewal.Dialed, error) { return connect(config, settings) })
	if err != nil {
		return nil, fmt.Errorf("dial node at %s: %w", config.Address, err)
	}
	return &Client{config: config, connection: connection}, nil
}

func connect(config Config, settings *tls.Config) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+config.Address,
		grpc.WithTransportCredentials(markRefusals{credentials.NewTLS(settings)}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return config.Dialer(ctx, config.Address)
		}),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 2, Jitter: 0.2, MaxDelay: longestPause},
			MinConnectTimeout: connectTimeout,
		}),
	)
}

// connectNow lets the next attempt to connect begin at once: who waited between attempts has waited enough, and gRPC would add
// a wait of its own.
func (c *Client) connectNow() {
	connection, ok := c.connection.Current().(*grpc.ClientConn)
	if ok {
		connection.ResetConnectBackoff()
	}
}

// Close ends the connection and all calls on it.
func (c *Client) Close() error {
	err := c.connection.Close()
	if err != nil {
		return fmt.Errorf("close connection to %s: %w", c.config.Address, err)
	}
	return nil
}

// Intake is the raw service that takes records.
func (c *Client) Intake() ententev1.IntakeServiceClient {
	return ententev1.NewIntakeServiceClient(c.connection)
}

// Stream is the raw service of subscriptions.
func (c *Client) Stream() ententev1.StreamServiceClient {
	return ententev1.NewStreamServiceClient(c.connection)
}

// Network is the raw service of the merged view.
func (c *Client) Network() ententev1.NetworkServiceClient {
	return ententev1.NewNetworkServiceClient(c.connection)
}

// Library is the raw service of practices and lessons.
func (c *Client) Library() ententev1.LibraryServiceClient {
	return ententev1.NewLibraryServiceClient(c.connection)
}

// Admin is the raw service for operators.
func (c *Client) Admin() ententev1.AdminServiceClient {
	return ententev1.NewAdminServiceClient(c.connection)
}

// HealthService is the raw health service.
func (c *Client) HealthService() healthv1.HealthClient {
	return healthv1.NewHealthClient(c.connection)
}
