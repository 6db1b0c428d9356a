package national

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"entente.example/entente/proto/member"
)

var errNoRoster = errors.New("there is no roster: get one from the coordinator of the federation")

// standingError says that the node's own keys and the roster do not go together.
type standingError struct {
	field string // the setting that is wrong
	what  string
}

// Error says what is wrong and what to do.
func (e *standingError) Error() string { return e.what }

// fit says whether the node may start on what is in force.
func (d *directory) fit(m *Material) error {
	roster := d.get().Roster
	if roster == nil {
		return errNoRoster
	}
	if d.serving() == nil {
		return fmt.Errorf("roster %d: %w at %s: get a newer one from the coordinator of the federation", roster.Number(),
			member.ErrRosterExpired, roster.ExpiresAt().UTC().Format(time.RFC3339))
	}
	return checkStanding(m, roster, d.now())
}

// checkStanding finds what is wrong between the node's own keys and the roster: others would refuse what it sends.
func checkStanding(m *Material, roster *member.Roster, now time.Time) error {
	entry, ok := roster.Member(m.Member)
	if !ok {
		return &standingError{"member", fmt.Sprintf("the roster (number %d) does not name member %s: this node is not of this federation",
			roster.Number(), m.Member)}
	}
	public, ok := m.SigningKey.Public().(ed25519.PublicKey)
	isOurs := func(key ed25519.PublicKey) bool { return key.Equal(public) }
	if !ok || !slices.ContainsFunc(roster.CurrentKeys(m.Member), isOurs) {
		return &standingError{"signing_key", fmt.Sprintf("the signing key is not a current key of %s in the roster (number %d): others "+
			"would refuse all it signs; put it into the member's roster entry, or use the key that is there", m.Member, roster.Number())}
	}
	err := checkCertificate(m, now)
	if err != nil {
		return err
	}
	return checkIssuer(m, entry)
}

// checkCertificate finds what is wrong with the node's certificate by itself.
func checkCertificate(m *Material, now time.Time) error {
	leaf, _, err := leafOf(m)
	if err != nil {
		return err
	}
	want := member.Identity{Member: m.Member, Kind: member.KindNode}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != want.String() {
		return fmt.Errorf("the certificate does not name %s: issue one for this node", want)
	}
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("the certificate expired at %s: issue a new one", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Before(leaf.NotBefore) {
		return fmt.Errorf("the certificate is not valid before %s: check the clock of this machine", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkIssuer finds out whether others will trust the certificate: its chain ends at an authority of the member.
func checkIssuer(m *Material, entry member.Member) error {
	leaf, others, err := leafOf(m)
	if err != nil {
		return err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, authority := range entry.Authorities {
		roots.AddCert(authority)
	}
	for _, one := range others {
		between.AddCert(one)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return &standingError{"certificate", fmt.Sprintf("the certificate is not by an authority that the roster names for %s (%v): "+
			"issue one by that authority", m.Member, err)}
	}
	return nil
}

func leafOf(m *Material) (*x509.Certificate, []*x509.Certificate, error) {
	pair, err := m.Certificate()
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	var chain []*x509.Certificate
	for _, raw := range pair.Certificate {
		one, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("certificate: %w", err)
		}
		chain = append(chain, one)
	}
	if len(chain) == 0 {
		return nil, nil, fmt.Errorf("certificate: there is none")
	}
	return chain[0], chain[1:], nil
}
