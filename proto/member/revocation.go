package member

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"
)

// MaxRevocationList is how large a revocation list may be, in bytes: some 7,000 certificates. A member that needs more
// replaces the authority in its roster entry, after which nothing that the old one issued counts.
const MaxRevocationList = 256 << 10

const (
	pemRevocationList = "X509 CRL"
	// maxSerial is how long a serial number and the number of a list may be, in bytes (RFC 5280, sections 4.1.2.2 and 5.2.3).
	maxSerial = 20
)

var (
	// ErrRevocationsOlder says that a list has a lower number than the held one of the same authority.
	ErrRevocationsOlder = errors.New("revocation list is older than the held one")
	// ErrRevocationsFork says that two different lists of one authority carry the same number.
	ErrRevocationsFork = errors.New("revocation list contradicts the held one")
	// ErrRevoked refuses a peer one of whose certificates is on a list.
	ErrRevoked = fmt.Errorf("%w: its certificate has been revoked", ErrWrongPeer)
)

// RevocationList is a verified X.509 certificate revocation list (RFC 5280, section 5): which certificates of one
// authority count no more. It is immutable.
type RevocationList struct {
	id        ID
	authority *x509.Certificate
	list      *x509.RevocationList
	serials   map[string]bool
}

// ReadRevocationList verifies a list in DER by the authorities that the roster names for a member, or, with the empty id,
// for any member. That it may be past its next update is no error: what was revoked stays revoked. Lists that hold only a
// part (of what changed, or of one kind of certificate) are refused.
func (r *Roster) ReadRevocationList(id ID, der []byte) (*RevocationList, error) {
	list, err := parseRevocationList(der)
	if err != nil {
		return nil, err
	}
	for _, of := range r.listed() {
		if id != "" && id != of {
			continue
		}
		for _, authority := range r.members[of].member.Authorities {
			if !bytes.Equal(list.RawIssuer, authority.RawSubject) || list.CheckSignatureFrom(authority) != nil {
				continue
			}
			return newRevocationList(of, authority, list), nil
		}
	}
	if id == "" {
		return nil, errors.New("revocation list: not signed by an authority that the roster names")
	}
	return nil, fmt.Errorf("revocation list: not signed by an authority that the roster names for %s", id)
}

// listed are all members with an entry, sorted: those that are suspended or have left too.
func (r *Roster) listed() []ID {
	var list []ID
	for id := range r.members {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

func newRevocationList(id ID, authority *x509.Certificate, list *x509.RevocationList) *RevocationList {
	l := &RevocationList{id: id, authority: authority, list: list, serials: make(map[string]bool, len(list.RevokedCertificateEntries))}
	for _, entry := range list.RevokedCertificateEntries {
		l.serials[string(entry.SerialNumber.Bytes())] = true
	}
	return l
}

// parseRevocationList reads a list and checks its form, not its signature.
func parseRevocationList(der []byte) (*x509.RevocationList, error) {
	if len(der) > MaxRevocationList {
		return nil, fmt.Errorf("revocation list: larger than %d bytes", MaxRevocationList)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, errors.New("revocation list: it does not parse")
	}
	if list.Number == nil || list.Number.Sign() < 0 || len(list.Number.Bytes()) > maxSerial {
		return nil, errors.New("revocation list: it has no number, or not a sound one")
	}
	for _, extension := range list.Extensions {
		if isCritical(extension) { // RFC 5280, section 5.2: delta lists, lists for one kind of certificate, indirect lists
			return nil, fmt.Errorf("revocation list: it holds only a part, or needs something that this program does not know (extension %s)", extension.Id)
		}
	}
	for i, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber == nil || entry.SerialNumber.Sign() < 0 {
			return nil, fmt.Errorf("revocation list: the serial number of entry %d is not sound", i+1)
		}
		if slices.ContainsFunc(entry.Extensions, isCritical) {
			return nil, fmt.Errorf("revocation list: entry %d needs something that this program does not know", i+1)
		}
	}
	return list, nil
}

func isCritical(extension pkix.Extension) bool { return extension.Critical }

// Member is whose certificates the list revokes.
func (l *RevocationList) Member() ID { return l.id }

// Authority is the certificate of the authority that signed it.
func (l *RevocationList) Authority() *x509.Certificate { return l.authority }

// Number rises from list to list of one authority.
func (l *RevocationList) Number() *big.Int { return new(big.Int).Set(l.list.Number) }

// DER is the list as it was signed, to be kept and passed on. The caller must not change it.
func (l *RevocationList) DER() []byte { return l.list.Raw }

// Len is how many certificates are on it.
func (l *RevocationList) Len() int { return len(l.serials) }

// NextUpdate is when its authority meant to have made a newer one; the zero time where it does not say.
func (l *RevocationList) NextUpdate() time.Time { return l.list.NextUpdate }

// Revokes says whether a certificate is on the list: by its serial number, and because this very authority signed it, so
// that a list speaks of nobody else's certificates.
func (l *RevocationList) Revokes(certificate *x509.Certificate) bool {
	return l.serials[string(certificate.SerialNumber.Bytes())] && certificate.CheckSignatureFrom(l.authority) == nil
}

// Succeeds says whether the list may take the place of a held one of the same authority: nil, or ErrRevocationsOlder or
// ErrRevocationsFork. With nothing held it may.
func (l *RevocationList) Succeeds(held *RevocationList) error {
	if held == nil {
		return nil
	}
	switch l.list.Number.Cmp(held.list.Number) {
	case -1:
		return fmt.Errorf("list %s of %s, held %s: %w", l.list.Number, l.id, held.list.Number, ErrRevocationsOlder)
	case 0:
		// What is signed is compared: anybody can make a second ECDSA signature of the first.
		if !bytes.Equal(l.list.RawTBSRevocationList, held.list.RawTBSRevocationList) {
			return fmt.Errorf("list %s of %s: %w: it has the same number and other content", l.list.Number, l.id, ErrRevocationsFork)
		}
	}
	return nil
}

// Revoke makes the authority's next revocation list: all that is on the one before (nil: none), and the given serial
// numbers. Its number is one higher. It never shortens a list. validFor says when the next is due; a list goes on
// counting after that. All that is given may be on the list before: then the list says nothing new.
func (a *Authority) Revoke(before []byte, serials []*big.Int, rand io.Reader, now time.Time, validFor time.Duration) ([]byte, error) {
	if validFor <= 0 {
		return nil, errors.New("make revocation list: the next one would be due before it is made")
	}
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(validFor)}
	if before != nil {
		held, err := a.ownList(before)
		if err != nil {
			return nil, err
		}
		if held.ThisUpdate.After(now.Add(maxAhead)) {
			return nil, fmt.Errorf("make revocation list: the one before is dated %s: check the clock of this machine", held.ThisUpdate.UTC().Format(time.RFC3339))
		}
		template.Number.Add(template.Number, held.Number)
		template.RevokedCertificateEntries = held.RevokedCertificateEntries
	}
	for _, serial := range serials {
		if serial.Sign() <= 0 || len(serial.Bytes()) > maxSerial {
			return nil, errors.New("make revocation list: a serial number is not sound: a whole number above 0, of at most 20 bytes")
		}
		same := func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(serial) == 0 }
		if !slices.ContainsFunc(template.RevokedCertificateEntries, same) {
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now})
		}
	}
	return a.signList(template, rand)
}

// ownList reads a list that this authority signed.
func (a *Authority) ownList(der []byte) (*x509.RevocationList, error) {
	list, err := parseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if list.CheckSignatureFrom(a.certificate) != nil {
		return nil, fmt.Errorf("revocation list: not signed by this authority of %s", a.id)
	}
	return list, nil
}

func (a *Authority) signList(template *x509.RevocationList, rand io.Reader) ([]byte, error) {
	der, err := x509.CreateRevocationList(rand, template, a.certificate, a.key)
	if err != nil {
		return nil, fmt.Errorf("make revocation list of %s: %w", a.id, err)
	}
	if len(der) > MaxRevocationList {
		return nil, fmt.Errorf("make revocation list of %s: it would be larger than %d bytes: replace the authority instead", a.id, MaxRevocationList)
	}
	return der, nil
}

// Listed says how many certificates are on a list of this authority, and whether all of the given serial numbers are.
func (a *Authority) Listed(der []byte, serials []*big.Int) (count int, all bool, err error) {
	list, err := a.ownList(der)
	if err != nil {
		return 0, false, err
	}
	l := newRevocationList(a.id, a.certificate, list)
	for _, serial := range serials {
		if !l.serials[string(serial.Bytes())] {
			return l.Len(), false, nil
		}
	}
	return l.Len(), true, nil
}

// EncodeRevocationList writes a list as one PEM block.
func EncodeRevocationList(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemRevocationList, Bytes: der})
}

// DecodeRevocationList reads what EncodeRevocationList wrote, or the list in DER as it stands. It verifies nothing.
func DecodeRevocationList(text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte{0x30}) { // an ASN.1 sequence
		return text, nil
	}
	der, err := onlyBlock(text, pemRevocationList)
	if err != nil {
		return nil, fmt.Errorf("read revocation list: %w", err)
	}
	return der, nil
}

// RefuseRevoked adds to settings of either side that a peer is refused one of whose certificates is revoked. It is asked
// at each handshake and must be safe for concurrent use.
func RefuseRevoked(config *tls.Config, revoked func(*x509.Certificate) bool) *tls.Config {
	wrapped := config.Clone()
	verify := config.VerifyConnection
	wrapped.VerifyConnection = func(state tls.ConnectionState) error {
		if verify != nil {
			err := verify(state)
			if err != nil {
				return err
			}
		}
		if slices.ContainsFunc(state.PeerCertificates, revoked) {
			return ErrRevoked
		}
		return nil
	}
	if config.GetConfigForClient == nil {
		return wrapped
	}
	wrapped.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		inner, err := config.GetConfigForClient(hello)
		if inner == nil || err != nil {
			return inner, err
		}
		return RefuseRevoked(inner, revoked), nil
	}
	return wrapped
}
