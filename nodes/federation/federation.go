// Package federation founds throw-away federations: members with root keys, signing keys and certificate authorities, a
// genesis signed by all of them, rosters and projects. The demonstration runs on one, and so do the tests and benchmarks
// of other packages; nothing of it is written to disk here.
//
// The invariant: what it hands out went through the same verification that nodes use, so a federation that could not be
// joined is never made. All keys but those that Options derive from a seed come from the given source of randomness.
//
// It does not run nodes (nodes/demo does), and it is no way to found a real federation: there every member makes its own
// keys and keeps its root key offline (see the commands `pki` and `roster`).
package federation

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Seat is one member with all its keys.
type Seat struct {
	// ID is the member.
	ID member.ID
	// Name is for people; empty: its id and a word before it.
	Name string
	// Kind says whether it is a coordinator.
	Kind ententev1.MemberKind
	// Root is its offline root key, Signing its signing key.
	Root, Signing ed25519.PrivateKey
	// Retired are earlier signing keys.
	Retired []ed25519.PrivateKey
	// Authority issues its certificates.
	Authority *member.Authority
	// IDKey is its key for record ids, derived from the member's id alone: two federations give the same ids.
	IDKey []byte
	// Addresses are where its node listens.
	Addresses []string

	number uint64 // of its newest roster entry
}

// Federation is a founded federation.
type Federation struct {
	// ID is the SHA-256 of the genesis, which nodes pin.
	ID [32]byte
	// Seats are the members, in order.
	Seats []*Seat

	rand    io.Reader
	now     func() time.Time
	valid   time.Duration
	genesis *ententev1.SignedDocument
	number  uint64

	changes  []*ententev1.SignedDocument
	founders []member.ID
	voting   []member.ID // founders in good standing
}

// Found makes a federation of the given members; the coordinators among them are those named. Keys come from rand,
// certificates and rosters are valid for the given time from now.
func Found(members, coordinators []member.ID, rand io.Reader, now func() time.Time, valid time.Duration) (*Federation, error) {
	f := &Federation{rand: rand, now: now, valid: valid}
	roots := map[member.ID]ed25519.PublicKey{}
	for _, id := range members {
		s, err := f.seat(id, slices.Contains(coordinators, id))
		if err != nil {
			return nil, fmt.Errorf("seat %s: %w", id, err)
		}
		f.Seats = append(f.Seats, s)
		roots[id] = s.Root.Public().(ed25519.PublicKey)
	}
	assemblers := coordinators
	if len(assemblers) == 0 {
		assemblers = members[:1]
	}
	genesis, err := member.NewGenesis("Throw-away federation", roots, len(members)/2+1, assemblers, now())
	if err != nil {
		return nil, fmt.Errorf("found: %w", err)
	}
	for _, s := range f.Seats {
		err = member.SignGenesis(genesis, s.ID, s.Root)
		if err != nil {
			return nil, fmt.Errorf("sign genesis as %s: %w", s.ID, err)
		}
	}
	f.genesis = genesis
	f.founders, f.voting = slices.Clone(members), slices.Clone(members)
	f.ID = member.FederationID(genesis)
	return f, nil
}

// Genesis is the document that founds the federation, signed by all founders.
func (f *Federation) Genesis() *ententev1.SignedDocument { return f.genesis }

func (f *Federation) seat(id member.ID, coordinator bool) (*Seat, error) {
	root, err := member.NewSigningKey(f.rand)
	if err != nil {
		return nil, err
	}
	signing, err := member.NewSigningKey(f.rand)
	if err != nil {
		return nil, err
	}
	authority, err := member.NewAuthority(id, f.rand, f.now(), f.valid)
	if err != nil {
		return nil, err
	}
	s := &Seat{ID: id, Kind: ententev1.MemberKind_MEMBER_KIND_NATIONAL, Root: root, Signing: signing, Authority: authority, IDKey: IDKey(id)}
	if coordinator {
		s.Kind = ententev1.MemberKind_MEMBER_KIND_COORDINATOR
	}
	return s, nil
}

// IDKey is the id key that a throw-away member has: a function of its id, so that two runs give records the same ids. A
// real member draws its own.
func IDKey(id member.ID) []byte {
	sum := sha256.Sum256([]byte("entente throw-away id key of " + string(id)))
	return sum[:]
}

// Seat gives a member, nil if there is none.
func (f *Federation) Seat(id member.ID) *Seat {
	i := slices.IndexFunc(f.Seats, func(s *Seat) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return f.Seats[i]
}

// Roster assembles and verifies a new roster with what the seats say now, numbered one above the last.
func (f *Federation) Roster() (*member.Roster, error) {
	f.number++
	a := member.Assembly{Genesis: f.genesis, Changes: f.changes, Number: f.number, Assembler: f.assembler().ID, ValidFor: f.valid}
	for _, s := range f.Seats {
		s.number++
		entry, err := member.NewEntry(f.ID, member.Member{ID: s.ID, Name: cmp.Or(s.Name, "Member "+string(s.ID)), Kind: s.Kind,
			Authorities: []*x509.Certificate{s.Authority.Certificate()}, Addresses: s.Addresses,
			SigningKeys: s.signingKeys()},
			s.number, s.Root, f.now())
		if err != nil {
			return nil, fmt.Errorf("roster entry of %s: %w", s.ID, err)
		}
		a.Entries = append(a.Entries, entry)
	}
	doc, err := member.AssembleRoster(a, f.assembler().Signing, f.now())
	if err != nil {
		return nil, fmt.Errorf("assemble roster: %w", err)
	}
	return member.VerifyRoster(doc, f.ID, nil, f.now())
}

func (s *Seat) signingKeys() []member.SigningKey {
	keys := []member.SigningKey{{Key: s.Signing.Public().(ed25519.PublicKey), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT}}
	for _, key := range s.Retired {
		keys = append(keys, member.SigningKey{Key: key.Public().(ed25519.PublicKey), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED})
	}
	return keys
}

func (f *Federation) assembler() *Seat {
	for _, s := range f.Seats {
		if s.Kind == ententev1.MemberKind_MEMBER_KIND_COORDINATOR {
			return s
		}
	}
	return f.Seats[0]
}

// Project opens a project led by its first participant and gives its chain of documents, verified.
func (f *Federation) Project(roster *member.Roster, id, name string, participants ...member.ID) ([]*ententev1.SignedDocument, *member.Project, error) {
	lead := f.Seat(participants[0])
	sorted := slices.Clone(participants)
	slices.Sort(sorted)
	charter := &ententev1.ProjectCharter{Name: name, Lead: string(lead.ID), Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
		Group: "An invented group.", StartsAt: timestamppb.New(f.now().Add(-time.Hour)), EndsAt: timestamppb.New(f.now().Add(f.valid))}
	for _, p := range sorted {
		charter.Participants = append(charter.Participants, string(p))
	}
	doc, err := member.NewCharter(id, charter, lead.Signing, f.now())
	if err != nil {
		return nil, nil, fmt.Errorf("charter of %s: %w", id, err)
	}
	docs := []*ententev1.SignedDocument{doc}
	p, err := member.VerifyProject(docs, roster)
	if err != nil {
		return nil, nil, fmt.Errorf("project %s: %w", id, err)
	}
	return docs, p, nil
}

// Certificate issues a certificate for an identity of a member.
func (f *Federation) Certificate(ident member.Identity) (*tls.Certificate, error) {
	certPEM, keyPEM, err := f.Seat(ident.Member).Authority.Issue(ident, f.rand, f.now(), f.valid, nil)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", ident, err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", ident, err)
	}
	return &cert, nil
}

// Admit seats a member more, by the roots of all founders. It counts from the next Roster on.
func (f *Federation) Admit(id member.ID) (*Seat, error) {
	s, err := f.seat(id, false)
	if err != nil {
		return nil, fmt.Errorf("seat %s: %w", id, err)
	}
	err = f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION, id, s.Root.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	f.Seats = append(f.Seats, s)
	slices.SortFunc(f.Seats, func(a, b *Seat) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return s, nil
}

// Suspend takes a member out until further notice, from the next Roster on, as all that follow.
func (f *Federation) Suspend(id member.ID) error {
	return f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION, id, nil)
}

// Reinstate ends a suspension.
func (f *Federation) Reinstate(id member.ID) error {
	return f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REINSTATEMENT, id, nil)
}

// Remove takes a member out for good.
func (f *Federation) Remove(id member.ID) error {
	return f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL, id, nil)
}

// Depart lets a member leave, by its own root.
func (f *Federation) Depart(id member.ID) error {
	return f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, id, nil)
}

func (f *Federation) change(kind ententev1.RosterChangeKind, id member.ID, root ed25519.PublicKey) error {
	doc, err := member.NewChange(f.ID, uint64(len(f.changes))+1, kind, id, root, f.now())
	if err != nil {
		return fmt.Errorf("change the standing of %s: %w", id, err)
	}
	if kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE {
		member.AddSignature(doc, id, f.Seat(id).Root)
	} else {
		for _, founder := range f.voting {
			member.AddSignature(doc, founder, f.Seat(founder).Root)
		}
	}
	f.changes = append(f.changes, doc)
	out := kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION || kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL ||
		kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE
	if out {
		f.voting = slices.DeleteFunc(f.voting, func(one member.ID) bool { return one == id })
	}
	if kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REINSTATEMENT && slices.Contains(f.founders, id) {
		f.voting = append(f.voting, id)
	}
	return nil
}
