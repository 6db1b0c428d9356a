package member

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

var (
	// ErrNoRoster refuses every handshake while there is no roster to serve on.
	ErrNoRoster = errors.New("there is no roster to serve on")
	// ErrWrongPeer is wrapped by every refusal of a peer that holds a certificate, but not one that may be used here.
	ErrWrongPeer = errors.New("peer refused")
)

// CertificateSource gives the certificate and key to present. It is asked at each handshake, so that a renewed
// certificate needs no restart; it must be safe for concurrent use.
type CertificateSource func() (*tls.Certificate, error)

// ServerTLS is how the node of member self accepts connections. roster is asked at each handshake, so a new roster counts
// from the next connection on; it gives nil while there is none to serve on (none yet, or expired), and then every
// handshake is refused with ErrNoRoster. Both functions must be safe for concurrent use.
//
// It finishes a handshake only with nodes of members in good standing, with those of members that departed by themselves
// while their entry stands (the server takes receipts from them and nothing else), and with identities of member self itself, whatever
// self's standing: systems, officers, auditors and operators of others call their own node. TLS 1.3, hybrid
// post-quantum key exchange, no session tickets (a resumed session would skip the checks: golang/go#77217).
func ServerTLS(cert CertificateSource, roster func() *Roster, self ID) *tls.Config {
	config := baseTLS()
	// Should the handshake ever go on with this outer configuration, it asks for certificates and accepts none.
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = x509.NewCertPool()
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert() }
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current := roster()
		if current == nil {
			return nil, ErrNoRoster
		}
		inner := baseTLS()
		inner.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert() }
		inner.ClientAuth = tls.RequireAndVerifyClientCert
		inner.ClientCAs = current.callers(self)
		inner.VerifyConnection = func(state tls.ConnectionState) error {
			return current.admitCaller(state, self)
		}
		return inner, nil
	}
	return config
}

// NodeClientTLS is how a node calls the node of member want: the server must be spiffe://<want>/node, by a chain to an
// authority that the roster of this moment gives for want, and want in good standing. The host name plays no part, so
// nodes may move and sit behind any address.
func NodeClientTLS(cert CertificateSource, roster func() *Roster, want ID) *tls.Config {
	return clientTLS(cert, want, func() (*x509.CertPool, error) {
		current := roster()
		if current == nil {
			return nil, ErrNoRoster
		}
		if !current.Active(want) {
			return nil, fmt.Errorf("%w: %s is suspended or not a member", ErrWrongPeer, want)
		}
		return current.members[want].pool, nil
	})
}

// OwnClientTLS is how a system, officer, auditor or operator calls the node of its own member self. It knows its member's
// authorities from its own configuration and needs no roster.
func OwnClientTLS(cert CertificateSource, authorities *x509.CertPool, self ID) *tls.Config {
	return OwnClientTLSFrom(cert, func() (*x509.CertPool, error) { return authorities, nil }, self)
}

// OwnClientTLSFrom is OwnClientTLS with authorities that may be replaced while the program runs: they are asked for at each
// handshake. The function must be safe for concurrent use; its error refuses the handshake.
func OwnClientTLSFrom(cert CertificateSource, authorities func() (*x509.CertPool, error), self ID) *tls.Config {
	return clientTLS(cert, self, authorities)
}

// clientTLS checks the server by SPIFFE ID instead of host name. For that Go's own check must be off, and
// VerifyConnection, which runs on every handshake, does all of it: chain, dates, usage, identity.
func clientTLS(cert CertificateSource, want ID, authorities func() (*x509.CertPool, error)) *tls.Config {
	config := baseTLS()
	config.InsecureSkipVerify = true
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert() }
	config.VerifyConnection = func(state tls.ConnectionState) error {
		pool, err := authorities()
		if err != nil {
			return err
		}
		return verifyServer(state, pool, want)
	}
	return config
}

// baseTLS holds the settings of both sides.
func baseTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// What is recorded today must not be readable in twenty years: no key exchange without a post-quantum half.
		CurvePreferences:       []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768},
		SessionTicketsDisabled: true,
		// gRPC speaks HTTP/2 only and refuses a connection on which this was not agreed.
		NextProtos: []string{"h2"},
	}
}

// PeerIdentity reads who called from the server's side of a connection made with ServerTLS: from the leaf of a chain that
// the handshake verified, never from a certificate merely shown. On the client's side no chain stands in the state; a
// client knows whom it called.
func PeerIdentity(state tls.ConnectionState) (Identity, error) {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return Identity{}, fmt.Errorf("%w: the connection carries no verified certificate", ErrWrongPeer)
	}
	return leafIdentity(state.VerifiedChains[0][0])
}

// leafIdentity reads the one SPIFFE ID of a leaf (X509-SVID, section 4: exactly one URI SAN, no authority, no signing of
// certificates).
func leafIdentity(leaf *x509.Certificate) (Identity, error) {
	if len(leaf.URIs) != 1 {
		return Identity{}, fmt.Errorf("%w: its certificate has %d URI names instead of one", ErrWrongPeer, len(leaf.URIs))
	}
	if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return Identity{}, fmt.Errorf("%w: its certificate is that of an authority", ErrWrongPeer)
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return Identity{}, fmt.Errorf("%w: its certificate is not for digital signatures", ErrWrongPeer)
	}
	identity, err := ParseIdentity(leaf.URIs[0].String())
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrWrongPeer, err)
	}
	return identity, nil
}

// callers are the authorities whose certificates may be shown to the node of self: those of all members in good standing, of
// those that departed by themselves and still owe receipts, and always its own.
func (r *Roster) callers(self ID) *x509.CertPool {
	pool, copied := r.pool, false
	for id, e := range r.members {
		if r.Active(id) || id != self && !e.member.Departed {
			continue
		}
		if !copied {
			pool, copied = r.pool.Clone(), true
		}
		for _, authority := range e.member.Authorities {
			pool.AddCert(authority)
		}
	}
	return pool
}

// admitCaller decides on a caller whose chain crypto/tls has verified against the authorities of all members. That
// alone would let any member's authority speak for any other: so the chain must end at one of the very member that the
// certificate names.
func (r *Roster) admitCaller(state tls.ConnectionState, self ID) error {
	identity, err := PeerIdentity(state)
	if err != nil {
		return err
	}
	if identity.Member != self {
		known, ok := r.members[identity.Member]
		if !r.Active(identity.Member) && !(ok && known.member.Departed) {
			return fmt.Errorf("%w: %s is suspended or not a member", ErrWrongPeer, identity.Member)
		}
		if identity.Kind != KindNode {
			return fmt.Errorf("%w: across members only nodes call nodes, not the kind %s of %s", ErrWrongPeer, identity.Kind, identity.Member)
		}
	}
	e, ok := r.members[identity.Member]
	if !ok || !slices.ContainsFunc(state.VerifiedChains, e.endsChain) {
		return fmt.Errorf("%w: its certificate names %s but was not issued by an authority of %s",
			ErrWrongPeer, identity.Member, identity.Member)
	}
	return nil
}

// endsChain says whether a verified chain ends at an authority of this member.
func (e *entry) endsChain(chain []*x509.Certificate) bool {
	return len(chain) > 0 && slices.ContainsFunc(e.member.Authorities, chain[len(chain)-1].Equal)
}

// verifyServer checks that the certificate shown is that of the node of want.
func verifyServer(state tls.ConnectionState, authorities *x509.CertPool, want ID) error {
	if len(state.PeerCertificates) == 0 {
		return fmt.Errorf("%w: the server shows no certificate", ErrWrongPeer)
	}
	leaf := state.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         authorities,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: certificate of the node of %s: %w", ErrWrongPeer, want, err)
	}
	identity, err := leafIdentity(leaf)
	if err != nil {
		return err
	}
	if identity != (Identity{Member: want, Kind: KindNode}) {
		return fmt.Errorf("%w: it is of kind %s of %s, not the node of %s", ErrWrongPeer, identity.Kind, identity.Member, want)
	}
	return nil
}
