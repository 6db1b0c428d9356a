package member_test

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// noon is the fixed time of every test that opens no socket.
func noon() time.Time { return time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC) }

// seeded is randomness that is the same in every run.
func seeded(label string) io.Reader { return rand.NewChaCha8(sha256.Sum256([]byte(label))) }

// party is one member with all its keys.
type party struct {
	root, signing ed25519.PrivateKey
	authority     *member.Authority
	kind          ententev1.MemberKind
	// fixed, if set, stands in the entry instead of the authority's certificate.
	fixed *x509.Certificate
}

// federation is a founded federation: XA, XB, XC and COORD, three of which decide, COORD the assembler. XD has keys but is
// no member.
type federation struct {
	t       testing.TB
	now     time.Time
	parties map[member.ID]*party
	genesis *ententev1.SignedDocument
	id      [32]byte
	changes []*ententev1.SignedDocument
}

func founders() []member.ID { return []member.ID{"COORD", "XA", "XB", "XC"} }

func newFederation(t testing.TB, now time.Time) *federation {
	t.Helper()
	f := &federation{t: t, now: now, parties: map[member.ID]*party{}}
	for _, id := range append(founders(), "XD") {
		f.parties[id] = &party{
			root:      newKey(t, "root of "+string(id)),
			signing:   newKey(t, "signing key of "+string(id)),
			authority: must(member.NewAuthority(id, seeded("authority of "+string(id)), now, 24*time.Hour))(t),
			kind:      ententev1.MemberKind_MEMBER_KIND_NATIONAL,
		}
	}
	f.parties["COORD"].kind = ententev1.MemberKind_MEMBER_KIND_COORDINATOR
	f.genesis = f.newGenesis(founders()...)
	f.id = member.FederationID(f.genesis)
	return f
}

func newKey(t testing.TB, label string) ed25519.PrivateKey {
	t.Helper()
	return must(member.NewSigningKey(seeded(label)))(t)
}

// must unwraps a result that a test takes for granted.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// newGenesis founds the federation, signed by the given founders.
func (f *federation) newGenesis(signers ...member.ID) *ententev1.SignedDocument {
	f.t.Helper()
	roots := map[member.ID]ed25519.PublicKey{}
	for _, id := range founders() {
		roots[id] = public(f.parties[id].root)
	}
	doc := must(member.NewGenesis("Test federation", roots, 3, []member.ID{"COORD"}, f.now))(f.t)
	for _, id := range signers {
		err := member.SignGenesis(doc, id, f.parties[id].root)
		if err != nil {
			f.t.Fatal(err)
		}
	}
	return doc
}

// change makes the next change, signed by the roots of the given members, and appends it.
func (f *federation) change(kind ententev1.RosterChangeKind, id member.ID, root ed25519.PublicKey, signers ...member.ID) {
	f.t.Helper()
	doc := must(member.NewChange(f.id, uint64(len(f.changes))+1, kind, id, root, f.now))(f.t)
	for _, signer := range signers {
		member.AddSignature(doc, signer, f.parties[signer].root)
	}
	f.changes = append(f.changes, doc)
}

func (f *federation) admit(id member.ID) {
	f.t.Helper()
	f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION, id, public(f.parties[id].root), "XA", "XB", "XC")
}

func (f *federation) suspend(id member.ID) {
	f.t.Helper()
	f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION, id, nil, "XA", "COORD", "XC")
}

func (f *federation) depart(id member.ID) {
	f.t.Helper()
	f.change(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, id, nil, id)
}

// describe is what a member says of itself.
func (f *federation) describe(id member.ID) member.Member {
	p := f.parties[id]
	m := member.Member{
		ID:        id,
		Name:      "Invented country " + string(id),
		Kind:      p.kind,
		Addresses: []string{"127.0.0.1:7443"},
		SigningKeys: []member.SigningKey{
			{Key: public(p.signing), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT},
		},
	}
	m.Authorities = append(m.Authorities, cmp.Or(p.fixed, p.authority.Certificate()))
	return m
}

// entry is a member's entry, its content changed by the edits before its own root signs it.
func (f *federation) entry(id member.ID, number uint64, edits ...func(*ententev1.RosterEntry)) *ententev1.SignedDocument {
	f.t.Helper()
	doc := must(member.NewEntry(f.id, f.describe(id), number, f.parties[id].root, f.now))(f.t)
	if len(edits) == 0 {
		return doc
	}
	entry := &ententev1.RosterEntry{}
	decode(f.t, doc, entry)
	for _, edit := range edits {
		edit(entry)
	}
	return member.SignDocument(member.TypeEntry, encode(f.t, entry), id, f.parties[id].root)
}

// roster is a roster of the founders, its content changed by the edits before the assembler signs it.
func (f *federation) roster(edits ...func(*ententev1.Roster)) *ententev1.SignedDocument {
	f.t.Helper()
	body := f.rosterBody()
	for _, edit := range edits {
		edit(body)
	}
	return member.SignDocument(member.TypeRoster, encode(f.t, body), "COORD", f.parties["COORD"].signing)
}

func (f *federation) rosterBody() *ententev1.Roster {
	f.t.Helper()
	body := &ententev1.Roster{
		Genesis:   f.genesis,
		Changes:   f.changes,
		Number:    5,
		Assembler: "COORD",
		IssuedAt:  timestamppb.New(f.now),
		ExpiresAt: timestamppb.New(f.now.Add(time.Hour)),
	}
	for _, id := range founders() {
		body.Entries = append(body.Entries, f.entry(id, 1))
	}
	return body
}

// with puts a member's entry into a roster: in the place of the one it had, or at its place in the order.
func with(t testing.TB, doc *ententev1.SignedDocument) func(*ententev1.Roster) {
	return func(r *ententev1.Roster) {
		at, found := slices.BinarySearchFunc(r.Entries, entryID(t, doc), func(e *ententev1.SignedDocument, id string) int {
			return strings.Compare(entryID(t, e), id)
		})
		if found {
			r.Entries[at] = doc
			return
		}
		r.Entries = slices.Insert(r.Entries, at, doc)
	}
}

func entryID(t testing.TB, doc *ententev1.SignedDocument) string {
	entry := &ententev1.RosterEntry{}
	decode(t, doc, entry)
	return entry.GetMember()
}

// verified verifies a roster that must be sound.
func (f *federation) verified(doc *ententev1.SignedDocument) *member.Roster {
	f.t.Helper()
	return must(member.VerifyRoster(doc, f.id, nil, f.now))(f.t)
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	return must(proto.MarshalOptions{Deterministic: true}.Marshal(m))(t)
}

func decode(t testing.TB, doc *ententev1.SignedDocument, into proto.Message) {
	t.Helper()
	err := proto.Unmarshal(doc.GetBody(), into)
	if err != nil {
		t.Fatal(err)
	}
}

// wantError fails unless err is there, holds every given part and, if one is given, is the sentinel.
func wantError(t *testing.T, err, sentinel error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted, want a refusal")
	}
	if sentinel != nil && !errors.Is(err, sentinel) {
		t.Errorf("error is %q, want it to be %q", err, sentinel)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error is %q, want it to say %q", err, part)
		}
	}
}
