package member

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"time"
)

// backdated is how long before now a certificate begins, so that a peer whose clock runs behind accepts it.
const backdated = 5 * time.Minute

// Authority issues the certificates of one member, for a test or a small site; any other issuer of certificates with
// SPIFFE IDs does as well.
type Authority struct {
	id          ID
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority with a fresh ECDSA P-256 key and a self-signed certificate that allows no
// intermediates. rand gives the serial number and feeds the key as far as the standard library lets it: since Go 1.26 it
// takes ECDSA keys from the system's randomness.
func NewAuthority(id ID, rand io.Reader, now time.Time, validFor time.Duration) (*Authority, error) {
	_, err := ParseID(string(id))
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	template, err := newTemplate(rand, now, now.Add(validFor))
	if err != nil {
		return nil, fmt.Errorf("make authority of %s: %w", id, err)
	}
	template.Subject = pkix.Name{Organization: []string{string(id)}, CommonName: id.TrustDomain() + " authority"}
	template.URIs = []*url.URL{{Scheme: "spiffe", Host: id.TrustDomain()}}
	template.IsCA = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, fmt.Errorf("make key of the authority of %s: %w", id, err)
	}
	der, err := x509.CreateCertificate(rand, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of the authority of %s: %w", id, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate of the authority of %s: %w", id, err)
	}
	return &Authority{id: id, certificate: certificate, key: key}, nil
}

// LoadAuthority reads an authority from its certificate and key. The certificate must name the trust domain of a member
// in its one URI SAN, as those of NewAuthority do.
func LoadAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	certificates, err := ParseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	certificate := certificates[0]
	if len(certificates) != 1 || !certificate.IsCA || len(certificate.URIs) != 1 {
		return nil, errors.New("load authority: not one certificate of an authority with one trust domain as its URI name")
	}
	id, err := memberOfTrustDomain(certificate.URIs[0].Host)
	if err != nil {
		return nil, fmt.Errorf("load authority: %w", err)
	}
	parsed, err := parsePKCS8(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("load authority of %s: %w", id, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("load authority of %s: its key is not an ECDSA key", id)
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, fmt.Errorf("load authority of %s: key and certificate do not belong together", id)
	}
	return &Authority{id: id, certificate: certificate, key: key}, nil
}

// Member is the member whose identities it issues.
func (a *Authority) Member() ID { return a.id }

// Certificate is what goes into the member's roster entry.
func (a *Authority) Certificate() *x509.Certificate { return a.certificate }

// PrivateKey is the authority's own key.
func (a *Authority) PrivateKey() crypto.Signer { return a.key }

// Pool holds the authority's certificate alone, as OwnClientTLS takes it.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// PEM gives what LoadAuthority reads: the certificate, and the key unencrypted.
func (a *Authority) PEM() (certPEM, keyPEM []byte, err error) {
	keyPEM, err = encodePrivateKey(a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("write key of the authority of %s: %w", a.id, err)
	}
	return EncodeCertificate(a.certificate), keyPEM, nil
}

// Issue makes a certificate and key for an identity of the authority's member, both as PEM. It names the identity in its
// one URI SAN, serves both ends of a connection, and may name hosts or IP addresses (with or without port) for other
// software that wants them. It ends when the authority does, if that is earlier.
func (a *Authority) Issue(ident Identity, rand io.Reader, now time.Time, validFor time.Duration, addresses []string) (certPEM, keyPEM []byte, err error) {
	parsed, err := ParseIdentity(ident.String())
	if err != nil || parsed != ident {
		return nil, nil, fmt.Errorf("issue certificate of %s: the %s has no sound SPIFFE ID", a.id, ident.Kind)
	}
	if ident.Member != a.id {
		return nil, nil, fmt.Errorf("issue certificate: the authority of %s cannot speak for %s", a.id, ident.Member)
	}
	until := now.Add(validFor)
	if until.After(a.certificate.NotAfter) {
		until = a.certificate.NotAfter
	}
	template, err := newTemplate(rand, now, until)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate of %s: %w", a.id, err)
	}
	// The subject carries the kind only: the name stands once, in the SPIFFE ID.
	template.Subject = pkix.Name{Organization: []string{string(a.id)}, CommonName: a.id.TrustDomain() + " " + ident.Kind.String()}
	template.URIs = []*url.URL{{Scheme: "spiffe", Host: a.id.TrustDomain(), Path: ident.path()}}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	addHosts(template, addresses)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate of %s: make key: %w", a.id, err)
	}
	der, err := x509.CreateCertificate(rand, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate of %s: sign: %w", a.id, err)
	}
	keyPEM, err = encodePrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate of %s: %w", a.id, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate of %s: read it back: %w", a.id, err)
	}
	return EncodeCertificate(leaf), keyPEM, nil
}

// FixedCertificate is a CertificateSource that always gives the certificate and key that Issue made.
func FixedCertificate(certPEM, keyPEM []byte) (CertificateSource, error) {
	certificate, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read certificate and key: %w", err)
	}
	return func() (*tls.Certificate, error) { return &certificate, nil }, nil
}

// newTemplate begins a certificate: serial number of 127 random bits (RFC 5280, section 4.1.2.2), dates.
func newTemplate(rand io.Reader, now, until time.Time) (*x509.Certificate, error) {
	if !now.Before(until) {
		return nil, errors.New("it would end before it begins")
	}
	serial := make([]byte, 16)
	_, err := io.ReadFull(rand, serial)
	if err != nil {
		return nil, fmt.Errorf("read randomness for a serial number: %w", err)
	}
	serial[0] &= 0x7f
	serial[15] |= 1 // never zero
	return &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		NotBefore:             now.Add(-backdated),
		NotAfter:              until,
		BasicConstraintsValid: true,
	}, nil
}

// addHosts names hosts and IP addresses beside the SPIFFE ID.
func addHosts(template *x509.Certificate, addresses []string) {
	for _, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
}
