package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"google.golang.org/grpc/credentials"
)

// markRefusals wraps the credentials of a connection so that a handshake that this side refuses can be told from one that the
// network broke.
type markRefusals struct {
	credentials.TransportCredentials
}

// ClientHandshake marks refusals and leaves broken connections as they are.
func (m markRefusals) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	connection, info, err := m.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil && refusesCertificate(err) {
		return nil, nil, errors.New(refusedByUs + err.Error())
	}
	if err != nil {
		return nil, nil, err
	}
	return alertFirst{connection}, info, nil
}

// Clone keeps the mark.
func (m markRefusals) Clone() credentials.TransportCredentials {
	return markRefusals{m.TransportCredentials.Clone()}
}

// ownCertificateError marks that the caller's own certificate could not be read.
type ownCertificateError struct{ error }

// Unwrap gives the reason.
func (e ownCertificateError) Unwrap() error { return e.error }

// refusesCertificate is true for what crypto/tls returns when this side does not accept the other's certificate or does not
// find TLS; a broken connection is a net.Error or an end of file.
func refusesCertificate(err error) bool {
	invalid := new(tls.CertificateVerificationError)
	if errors.As(err, &invalid) {
		return true
	}
	unknown := x509.UnknownAuthorityError{}
	if errors.As(err, &unknown) {
		return true
	}
	own := ownCertificateError{}
	if errors.As(err, &own) {
		return false // a renewal may be half done
	}
	var network net.Error
	return !errors.As(err, &network) && !errors.Is(err, context.Canceled) && !isEnd(err)
}

// alertFirst is a connection that says why the other side closed it. A node that refuses the caller's certificate sends an
// alert and closes at once; our next write then fails with a broken pipe, although the alert is there to be read.
type alertFirst struct {
	net.Conn
}

// Write returns, where it fails, the alert that came before, if one did.
func (c alertFirst) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	var network net.Error
	if err == nil || errors.As(err, &network) && network.Timeout() {
		return n, err
	}
	// The connection is over: this does not wait, and takes nothing from anybody.
	_, readErr := c.Read(make([]byte, 1))
	if readErr != nil && strings.Contains(readErr.Error(), remoteAlert) {
		return n, readErr
	}
	return n, err
}
