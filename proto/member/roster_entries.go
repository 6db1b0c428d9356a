package member

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// The limits of an entry, as in the field rules of the contract.
const (
	maxEntryName   = 200
	maxAuthorities = 8
	maxAddresses   = 16
	maxAddress     = 261 // a host name of 255, a colon, a port of 5
	maxSigningKeys = 16
)

// readEntries verifies what the members say of themselves and makes the roster of it. Each member must have its entry,
// so that an assembler cannot leave one out; a member that has left may have one.
func (s *membership) readEntries(docs []*ententev1.SignedDocument) (*Roster, error) {
	r := &Roster{
		name:       s.name,
		federation: s.federation,
		changes:    s.changes,
		members:    make(map[ID]*entry, len(docs)),
		known:      make(map[ID]bool, len(s.standings)),
		pool:       x509.NewCertPool(),
	}
	last := ID("")
	for i, doc := range docs {
		e, err := s.readEntry(doc)
		if err != nil {
			return nil, fmt.Errorf("roster entry %d: %w", i+1, err)
		}
		if e.member.ID <= last {
			return nil, fmt.Errorf("roster entry %d: entries are not in order of member id, or %s stands there twice", i+1, e.member.ID)
		}
		last = e.member.ID
		r.members[last] = e
	}
	for _, id := range slices.Sorted(maps.Keys(s.standings)) {
		r.known[id] = true
		if r.members[id] == nil && !s.standings[id].left {
			return nil, fmt.Errorf("roster: the entry of %s, a member, is missing", id)
		}
	}
	err := r.checkShared(s)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(r.members)) {
		if !r.Active(id) {
			continue
		}
		r.active = append(r.active, id)
		for _, authority := range r.members[id].member.Authorities {
			r.pool.AddCert(authority)
		}
	}
	return r, nil
}

// readEntry verifies one entry: signed by that member's own root in force and nobody else.
func (s *membership) readEntry(doc *ententev1.SignedDocument) (*entry, error) {
	body := &ententev1.RosterEntry{}
	err := decode(doc, TypeEntry, body)
	if err != nil {
		return nil, err
	}
	id, err := ParseID(body.GetMember())
	if err != nil {
		return nil, err
	}
	standing, ok := s.standings[id]
	if !ok {
		return nil, fmt.Errorf("%s is not a member", id)
	}
	signer, err := VerifyDocument(doc, TypeEntry, func(signer ID) []ed25519.PublicKey {
		if signer != id {
			return nil
		}
		return []ed25519.PublicKey{standing.root}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: not signed by its own root: %w", id, err)
	}
	if !bytes.Equal(body.GetFederationId(), s.federation[:]) {
		return nil, fmt.Errorf("%s: it is of another federation", signer)
	}
	e, err := parseEntry(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	e.member.Root = standing.root
	e.member.Suspended = standing.suspended
	e.member.Left = standing.left
	e.member.Departed = standing.departed
	e.bodyHash = sha256.Sum256(doc.GetBody())
	return e, nil
}

// parseEntry checks the content of an entry. NewEntry goes through it too, so nobody signs what others refuse.
func parseEntry(body *ententev1.RosterEntry) (*entry, error) {
	id, err := ParseID(body.GetMember())
	if err != nil {
		return nil, err
	}
	if body.GetNumber() == 0 {
		return nil, errors.New("its entry has no number")
	}
	err = checkTime("signed_at", body.GetSignedAt())
	if err != nil {
		return nil, err
	}
	if body.GetTrustDomain() != id.TrustDomain() {
		return nil, fmt.Errorf("its trust domain is not %s", id.TrustDomain())
	}
	if body.GetKind() == ententev1.MemberKind_MEMBER_KIND_UNSPECIFIED {
		return nil, errors.New("its kind of member is missing")
	}
	if len(body.GetName()) > maxEntryName {
		return nil, fmt.Errorf("its name is longer than %d bytes", maxEntryName)
	}
	e := &entry{number: body.GetNumber(), member: Member{
		ID:          id,
		Name:        body.GetName(),
		Kind:        body.GetKind(),
		TrustDomain: body.GetTrustDomain(),
		Addresses:   slices.Clone(body.GetAddresses()),
	}}
	err = checkAddresses(body.GetAddresses())
	if err != nil {
		return nil, err
	}
	err = e.parseAuthorities(body.GetCaCertificates())
	if err != nil {
		return nil, err
	}
	return e, e.parseSigningKeys(body.GetSigningKeys())
}

func checkAddresses(addresses []string) error {
	if len(addresses) > maxAddresses {
		return fmt.Errorf("it has more than %d addresses", maxAddresses)
	}
	for i, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || len(address) > maxAddress {
			return fmt.Errorf("its address %d is not host:port", i+1)
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return fmt.Errorf("its address %d has no port from 1 to 65535", i+1)
		}
	}
	return nil
}

// parseAuthorities reads the certificates of the member's authorities. An expired one is no error: during a rotation the
// old one stands beside the new, and a handshake looks at the dates.
func (e *entry) parseAuthorities(ders [][]byte) error {
	if len(ders) == 0 || len(ders) > maxAuthorities {
		return fmt.Errorf("it has no certificate of an authority, or more than %d", maxAuthorities)
	}
	e.pool = x509.NewCertPool()
	for i, der := range ders {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("certificate %d of its authorities does not parse", i+1)
		}
		if !authority.BasicConstraintsValid || !authority.IsCA || authority.KeyUsage&x509.KeyUsageCertSign == 0 {
			return fmt.Errorf("certificate %d of its authorities is not that of an authority", i+1)
		}
		e.member.Authorities = append(e.member.Authorities, authority)
		e.pool.AddCert(authority)
	}
	return nil
}

func (e *entry) parseSigningKeys(keys []*ententev1.SigningKey) error {
	if len(keys) == 0 || len(keys) > maxSigningKeys {
		return fmt.Errorf("it has no signing key, or more than %d", maxSigningKeys)
	}
	current := false
	for i, key := range keys {
		public := ed25519.PublicKey(bytes.Clone(key.GetPublicKey()))
		err := checkPublicKey(public)
		if err != nil {
			return fmt.Errorf("its signing key %d: %w", i+1, err)
		}
		if key.GetState() == ententev1.SigningKeyState_SIGNING_KEY_STATE_UNSPECIFIED {
			return fmt.Errorf("its signing key %d: the state is missing", i+1)
		}
		current = current || key.GetState() == ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT
		e.member.SigningKeys = append(e.member.SigningKeys, SigningKey{Key: public, State: key.GetState()})
	}
	if !current {
		return errors.New("none of its signing keys is current")
	}
	return nil
}

// checkShared refuses keys that stand twice: a key in two places would let one member, or one stolen key, speak as
// another. Roots, signing keys and authorities are compared by the key itself, whatever carries it.
func (r *Roster) checkShared(s *membership) error {
	uses := map[string]string{}
	use := func(key []byte, what string) error {
		if other, taken := uses[string(key)]; taken {
			return fmt.Errorf("roster: %s is also %s: each key has one use and one member", what, other)
		}
		uses[string(key)] = what
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(s.standings)) {
		err := use(s.standings[id].root, "the root key of "+string(id))
		if err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.members)) {
		m := r.members[id].member
		for i, key := range m.SigningKeys {
			err := use(key.Key, fmt.Sprintf("signing key %d of %s", i+1, id))
			if err != nil {
				return err
			}
		}
		err := useAuthorities(m, use)
		if err != nil {
			return err
		}
	}
	return nil
}

// useAuthorities notes the keys of a member's authorities. Two certificates of one member may carry the same key (a
// renewed certificate), so each key is noted once a member.
func useAuthorities(m Member, use func(key []byte, what string) error) error {
	noted := map[string]bool{}
	for i, authority := range m.Authorities {
		key := authority.RawSubjectPublicKeyInfo
		if public, ok := authority.PublicKey.(ed25519.PublicKey); ok {
			key = public
		}
		if noted[string(key)] {
			continue
		}
		noted[string(key)] = true
		err := use(key, fmt.Sprintf("the key of authority %d of %s", i+1, m.ID))
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPublicKey refuses what is no Ed25519 key and the points of small order: under such a key anybody can make a
// signature that verifies.
func checkPublicKey(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("an Ed25519 key has %d bytes, this has %d", ed25519.PublicKeySize, len(key))
	}
	point := [32]byte(key)
	point[31] &= 0x7f // the sign bit: a point and its negative have the same order
	if slices.Contains(smallOrderPoints(), point) {
		return errors.New("it is a point of small order: anybody could sign for it")
	}
	return nil
}

// smallOrderPoints are the encodings of the points of order 1, 2, 4 and 8 of edwards25519 without the sign bit, those with
// a coordinate not reduced modulo p included (RFC 8032, section 5.1; the list of libsodium).
func smallOrderPoints() [][32]byte {
	p := func(low byte) [32]byte {
		point := [32]byte(bytes.Repeat([]byte{0xff}, 32))
		point[0], point[31] = low, 0x7f
		return point
	}
	return [][32]byte{
		{},  // order 4
		{1}, // order 1
		{
			0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
			0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
		}, // order 8
		{
			0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
			0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
		}, // order 8
		p(0xec), // p-1, order 2
		p(0xed), // p, that is 0
		p(0xee), // p+1, that is 1
	}
}
