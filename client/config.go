package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"entente.example/entente/proto/member"
)

// defaultGiveUpAfter failed attempts with the default waits are about a minute.
const defaultGiveUpAfter = 12

// Config says which node to call, and as whom.
type Config struct {
	// Address of the node, host:port. Required.
	Address string
	// Member whose node it is, which is the caller's own. Required.
	Member member.ID
	// Certificate gives the caller's certificate anew for each connection, so that a renewed one needs no restart. Required.
	Certificate member.CertificateSource
	// Authorities are the certificate authorities of the own member. Required.
	Authorities *x509.CertPool
	// AuthoritiesSource gives them anew for each connection instead, so that an authority that is replaced needs no restart.
	// LoadConfig sets both. Optional.
	AuthoritiesSource func() (*x509.CertPool, error)
	// Logger takes one line for each broken and each restored connection; nil: none. No personal data is logged.
	Logger *slog.Logger
	// Dialer opens a connection; nil: TCP. No proxy of the environment is used in either case.
	Dialer func(ctx context.Context, address string) (net.Conn, error)
	// GiveUpAfter is how many attempts in a row may fail to reach the node before Push, Follow and Watch end with
	// ErrUnreachable; 0: 12, about a minute; negative: never.
	GiveUpAfter int
	// Wait pauses between attempts and returns early with the context's error; nil: a timer.
	Wait func(ctx context.Context, pause time.Duration) error
	// Random gives numbers from 0 to below 1 that spread the attempts of many clients; nil: the runtime's generator.
	Random func() float64
}

// Files are the PEM files of an identity.
type Files struct {
	// Certificate is the caller's certificate, with any intermediate ones.
	Certificate string
	// Key is its private key.
	Key string
	// Authorities are the certificate authorities of the own member.
	Authorities string
}

// LoadConfig makes a Config from files. All are read and checked now, so that a wrong path fails here; all are read
// again for each connection.
func LoadConfig(address string, self member.ID, files Files) (Config, error) {
	authorities := func() (*x509.CertPool, error) { return readAuthorities(files.Authorities) }
	pool, err := authorities()
	if err != nil {
		return Config{}, err
	}
	source := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s with key %s: %w", files.Certificate, files.Key, err)
		}
		return &pair, nil
	}
	_, err = source()
	if err != nil {
		return Config{}, err
	}
	return Config{Address: address, Member: self, Certificate: source, Authorities: pool, AuthoritiesSource: authorities}, nil
}

func readAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read authorities: %w", err)
	}
	authorities, err := member.ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("read authorities %s: %w", path, err)
	}
	pool := x509.NewCertPool()
	for _, authority := range authorities {
		pool.AddCert(authority)
	}
	return pool, nil
}

// complete checks a Config and fills in what may be left out.
func (c Config) complete() (Config, error) {
	_, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return c, fmt.Errorf("address of the node must be host:port: %w", err)
	}
	_, err = member.ParseID(string(c.Member))
	if err != nil {
		return c, err
	}
	if c.Certificate == nil || c.Authorities == nil {
		return c, errors.New("certificate and authorities are required: nodes talk to nobody without")
	}
	if c.AuthoritiesSource == nil {
		fixed := c.Authorities
		c.AuthoritiesSource = func() (*x509.CertPool, error) { return fixed, nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dialer == nil {
		c.Dialer = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	if c.GiveUpAfter == 0 {
		c.GiveUpAfter = defaultGiveUpAfter
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return c, nil
}

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
