package member

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// FederationID is SHA-256 of the body of a genesis document. It is what a node pins when it is initialised.
func FederationID(genesis *ententev1.SignedDocument) [32]byte {
	return sha256.Sum256(genesis.GetBody())
}

// NewGenesis makes the document that founds a federation, not yet signed: each founder adds its signature with
// SignGenesis. founders are the founding members' public root keys; quorum is how many of them decide on membership;
// assemblers may assemble the roster, in order of precedence.
func NewGenesis(name string, founders map[ID]ed25519.PublicKey, quorum int, assemblers []ID, now time.Time) (*ententev1.SignedDocument, error) {
	genesis := &ententev1.RosterGenesis{Name: name, Quorum: uint32(max(quorum, 0)), FoundedAt: timestamppb.New(now)}
	for id, root := range founders {
		genesis.Founders = append(genesis.Founders, &ententev1.RosterRoot{Member: string(id), RootKey: root})
	}
	slices.SortFunc(genesis.Founders, func(a, b *ententev1.RosterRoot) int {
		return strings.Compare(a.GetMember(), b.GetMember())
	})
	for _, id := range assemblers {
		genesis.Assemblers = append(genesis.Assemblers, string(id))
	}
	_, err := readGenesis(genesis, [32]byte{})
	if err != nil {
		return nil, fmt.Errorf("make genesis: %w", err)
	}
	body, err := encode(genesis)
	if err != nil {
		return nil, err
	}
	return &ententev1.SignedDocument{Type: TypeGenesis, Body: body}, nil
}

// SignGenesis adds a founder's signature, after checking that the genesis names this founder with this root key.
func SignGenesis(doc *ententev1.SignedDocument, founder ID, root ed25519.PrivateKey) error {
	genesis := &ententev1.RosterGenesis{}
	err := decode(doc, TypeGenesis, genesis)
	if err != nil {
		return fmt.Errorf("sign genesis: %w", err)
	}
	for _, f := range genesis.GetFounders() {
		if f.GetMember() != string(founder) {
			continue
		}
		if !bytes.Equal(f.GetRootKey(), root.Public().(ed25519.PublicKey)) {
			return fmt.Errorf("sign genesis: it names another root key for %s", founder)
		}
		AddSignature(doc, founder, root)
		return nil
	}
	return fmt.Errorf("sign genesis: it does not name %s as a founder", founder)
}

// NewChange makes a change of membership, not yet signed: with AddSignature a quorum of founders adds theirs by their
// roots, for a departure only the leaver does. root is the member's new root for an admission or a change of root, else
// nil. Numbers run from 1 without gaps.
func NewChange(federation [32]byte, number uint64, kind ententev1.RosterChangeKind, id ID, root ed25519.PublicKey, now time.Time) (*ententev1.SignedDocument, error) {
	body, err := encode(&ententev1.RosterChange{
		FederationId: federation[:],
		Number:       number,
		Kind:         kind,
		Member:       &ententev1.RosterRoot{Member: string(id), RootKey: root},
		DecidedAt:    timestamppb.New(now),
	})
	if err != nil {
		return nil, err
	}
	return &ententev1.SignedDocument{Type: TypeChange, Body: body}, nil
}

// NewEntry makes what a member says of itself, signed by its root. Of m it uses ID, Name, Kind, Authorities, Addresses
// and SigningKeys. The number must be higher than that of the member's entry before.
func NewEntry(federation [32]byte, m Member, number uint64, root ed25519.PrivateKey, now time.Time) (*ententev1.SignedDocument, error) {
	entry := &ententev1.RosterEntry{
		FederationId: federation[:],
		Member:       string(m.ID),
		Name:         m.Name,
		Kind:         m.Kind,
		Number:       number,
		TrustDomain:  m.ID.TrustDomain(),
		Addresses:    m.Addresses,
		SignedAt:     timestamppb.New(now),
	}
	for _, authority := range m.Authorities {
		entry.CaCertificates = append(entry.CaCertificates, authority.Raw)
	}
	for _, key := range m.SigningKeys {
		entry.SigningKeys = append(entry.SigningKeys, &ententev1.SigningKey{PublicKey: key.Key, State: key.State})
	}
	_, err := parseEntry(entry)
	if err != nil {
		return nil, fmt.Errorf("make entry of %s: %w", m.ID, err)
	}
	body, err := encode(entry)
	if err != nil {
		return nil, err
	}
	return SignDocument(TypeEntry, body, m.ID, root), nil
}

// Assembly is what an assembler puts together.
type Assembly struct {
	// Genesis is the founding document, signed by all founders.
	Genesis *ententev1.SignedDocument
	// Changes are all changes since, in order of number.
	Changes []*ententev1.SignedDocument
	// Entries are the newest entry of each member, in any order.
	Entries []*ententev1.SignedDocument
	// Number is that of the roster, higher than the one before.
	Number uint64
	// Assembler is the member that signs, with a current signing key.
	Assembler ID
	// ValidFor is how long nodes may serve on it.
	ValidFor time.Duration
}

// AssembleRoster numbers, dates and signs a roster and then verifies it as a node would, so that an assembler never hands
// out one that all would refuse.
func AssembleRoster(a Assembly, key ed25519.PrivateKey, now time.Time) (*ententev1.SignedDocument, error) {
	entries, err := sortedEntries(a.Entries)
	if err != nil {
		return nil, fmt.Errorf("assemble roster %d: %w", a.Number, err)
	}
	body, err := encode(&ententev1.Roster{
		Genesis:   a.Genesis,
		Changes:   a.Changes,
		Entries:   entries,
		Number:    a.Number,
		Assembler: string(a.Assembler),
		IssuedAt:  timestamppb.New(now),
		ExpiresAt: timestamppb.New(now.Add(a.ValidFor)),
	})
	if err != nil {
		return nil, err
	}
	doc := SignDocument(TypeRoster, body, a.Assembler, key)
	_, err = VerifyRoster(doc, FederationID(a.Genesis), nil, now)
	if err != nil {
		return nil, fmt.Errorf("assemble roster %d: %w", a.Number, err)
	}
	return doc, nil
}

// sortedEntries puts entry documents in order of member id, which stands inside them.
func sortedEntries(docs []*ententev1.SignedDocument) ([]*ententev1.SignedDocument, error) {
	type named struct {
		id  string
		doc *ententev1.SignedDocument
	}
	entries := make([]named, 0, len(docs))
	for i, doc := range docs {
		entry := &ententev1.RosterEntry{}
		err := decode(doc, TypeEntry, entry)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		entries = append(entries, named{entry.GetMember(), doc})
	}
	slices.SortStableFunc(entries, func(a, b named) int { return strings.Compare(a.id, b.id) })
	sorted := make([]*ententev1.SignedDocument, 0, len(docs))
	for _, e := range entries {
		sorted = append(sorted, e.doc)
	}
	return sorted, nil
}

// RosterParts takes a roster apart again, for the assembler of the next one: genesis, changes and entries as signed. It
// verifies nothing: give it the document of a Roster.
func RosterParts(doc *ententev1.SignedDocument) (Assembly, error) {
	body := &ententev1.Roster{}
	err := decode(doc, TypeRoster, body)
	if err != nil {
		return Assembly{}, err
	}
	if !body.GetIssuedAt().IsValid() || !body.GetExpiresAt().IsValid() {
		return Assembly{}, errors.New("read roster document: its dates are missing or out of range")
	}
	return Assembly{
		Genesis:   body.GetGenesis(),
		Changes:   body.GetChanges(),
		Entries:   body.GetEntries(),
		Number:    body.GetNumber(),
		Assembler: ID(body.GetAssembler()),
		ValidFor:  body.GetExpiresAt().AsTime().Sub(body.GetIssuedAt().AsTime()),
	}, nil
}
