package member_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

const (
	current = ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT
	retired = ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED
	revoked = ententev1.SigningKeyState_SIGNING_KEY_STATE_REVOKED

	admission     = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION
	rootChange    = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ROOT_CHANGE
	suspension    = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION
	reinstatement = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REINSTATEMENT
	removal       = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL
	departure     = ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE
)

func TestASoundRosterSaysWhoIsIn(t *testing.T) {
	f := newFederation(t, noon())
	doc := f.roster()
	r := f.verified(doc)
	if got := r.Members(); !slices.Equal(got, founders()) {
		t.Errorf("members are %v", got)
	}
	if r.Number() != 5 || r.Federation() != f.id || r.Assembler() != "COORD" || r.Name() != "Test federation" {
		t.Errorf("number %d, assembler %s, name %q", r.Number(), r.Assembler(), r.Name())
	}
	if !r.IssuedAt().Equal(noon()) || !r.ExpiresAt().Equal(noon().Add(time.Hour)) {
		t.Errorf("from %s to %s", r.IssuedAt(), r.ExpiresAt())
	}
	m, ok := r.Member("XA")
	if !ok || m.TrustDomain != "xa.entente" || m.Suspended || m.Left || len(m.Authorities) != 1 ||
		!m.Root.Equal(public(f.parties["XA"].root)) || m.Addresses[0] != "127.0.0.1:7443" {
		t.Errorf("XA is %+v", m)
	}
	if _, ok := r.Member("XD"); ok || r.Active("XD") || r.VerifyingKeys("XD") != nil {
		t.Error("XD is no member but the roster knows it")
	}
	if !bytes.Equal(r.Document().GetBody(), doc.GetBody()) {
		t.Error("the document is not the one that was verified")
	}
}

func TestARosterCannotBeChangedThroughWhatItGives(t *testing.T) {
	f := newFederation(t, noon())
	r := f.verified(f.roster())
	r.Members()[0] = "XX"
	m, _ := r.Member("XA")
	m.Addresses[0], m.SigningKeys[0], m.Authorities[0] = "", member.SigningKey{}, nil
	r.VerifyingKeys("XA")[0][0] ^= 1
	again, _ := r.Member("XA")
	if r.Members()[0] != "COORD" || again.Addresses[0] == "" || again.Authorities[0] == nil ||
		!r.VerifyingKeys("XA")[0].Equal(public(f.parties["XA"].signing)) {
		t.Error("a caller changed the roster")
	}
}

// TestRosterRefusals goes through the rules one by one: each case breaks one of them in an otherwise sound roster.
func TestRosterRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		make func(f *federation) *ententev1.SignedDocument
		is   error
		says string
	}{
		"a document of another type": {func(f *federation) *ententev1.SignedDocument {
			doc := f.roster()
			doc.Type = "digest"
			return doc
		}, nil, "another type"},
		"a body that is no message": {func(f *federation) *ententev1.SignedDocument {
			return member.SignDocument(member.TypeRoster, []byte{0xff}, "COORD", f.parties["COORD"].signing)
		}, nil, "no valid message"},
		"a body with one bit changed": {func(f *federation) *ententev1.SignedDocument {
			doc := f.roster()
			doc.Body = bytes.Replace(doc.Body, []byte("COORD\x32"), []byte("COORE\x32"), 1)
			return doc
		}, nil, ""},
		"the signature of a member that is no assembler": {func(f *federation) *ententev1.SignedDocument {
			doc := f.roster(func(r *ententev1.Roster) { r.Assembler = "XA" })
			return member.SignDocument(member.TypeRoster, doc.Body, "XA", f.parties["XA"].signing)
		}, nil, "does not name XA as an assembler"},
		"the signature of another than the named assembler": {func(f *federation) *ententev1.SignedDocument {
			return member.SignDocument(member.TypeRoster, f.roster().Body, "XA", f.parties["XA"].signing)
		}, nil, "XA signed it"},
		"the signature of the assembler's root": {func(f *federation) *ententev1.SignedDocument {
			return member.SignDocument(member.TypeRoster, f.roster().Body, "COORD", f.parties["COORD"].root)
		}, member.ErrBadSignature, "no key of COORD"},
		"the signature of a retired key of the assembler": {func(f *federation) *ententev1.SignedDocument {
			return f.roster(with(f.t, f.entry("COORD", 1, func(e *ententev1.RosterEntry) {
				e.SigningKeys[0].State = retired
				e.SigningKeys = append(e.SigningKeys, &ententev1.SigningKey{PublicKey: public(newKey(f.t, "new")), State: current})
			})))
		}, member.ErrBadSignature, "no key of COORD"},
		"two signatures": {func(f *federation) *ententev1.SignedDocument {
			doc := f.roster()
			member.AddSignature(doc, "XA", f.parties["XA"].signing)
			return doc
		}, member.ErrBadSignature, "2 signatures"},
		"no number":                  {edited(func(r *ententev1.Roster) { r.Number = 0 }), nil, "no number"},
		"no date":                    {edited(func(r *ententev1.Roster) { r.IssuedAt = nil }), nil, "issued_at is missing"},
		"no expiry":                  {edited(func(r *ententev1.Roster) { r.ExpiresAt = nil }), nil, "expires_at is missing"},
		"an odd date":                {edited(func(r *ententev1.Roster) { r.IssuedAt = &timestamppb.Timestamp{Nanos: -1} }), nil, "issued_at is out of range"},
		"an expiry that is the date": {edited(func(r *ententev1.Roster) { r.ExpiresAt = r.IssuedAt }), nil, "expires before it is issued"},
		"a date more than 5 minutes ahead": {edited(func(r *ententev1.Roster) {
			r.IssuedAt = timestamppb.New(noon().Add(5*time.Minute + time.Second))
		}), nil, "ahead"},
		"no genesis": {edited(func(r *ententev1.Roster) { r.Genesis = nil }), nil, "another type"},
		"an entry missing": {edited(func(r *ententev1.Roster) { r.Entries = slices.Delete(r.Entries, 1, 2) }), nil,
			"the entry of XA, a member, is missing"},
		"an entry twice": {edited(func(r *ententev1.Roster) { r.Entries = slices.Insert(r.Entries, 1, r.Entries[1]) }), nil,
			"XA stands there twice"},
		"entries out of order": {edited(func(r *ententev1.Roster) { slices.Reverse(r.Entries) }), nil, "not in order"},
		"the entry of a stranger": {func(f *federation) *ententev1.SignedDocument {
			return f.roster(with(f.t, f.entry("XD", 1)))
		}, nil, "XD is not a member"},
		"an entry signed by another's root": {func(f *federation) *ententev1.SignedDocument {
			body := f.entry("XA", 1).Body
			return f.roster(with(f.t, member.SignDocument(member.TypeEntry, body, "XB", f.parties["XB"].root)))
		}, member.ErrBadSignature, "XA: not signed by its own root"},
		"an entry signed by its own root in another's name": {func(f *federation) *ententev1.SignedDocument {
			body := f.entry("XA", 1).Body
			return f.roster(with(f.t, member.SignDocument(member.TypeEntry, body, "XB", f.parties["XA"].root)))
		}, member.ErrBadSignature, "no key of XB"},
		"an entry signed by the member's signing key": {func(f *federation) *ententev1.SignedDocument {
			body := f.entry("XA", 1).Body
			return f.roster(with(f.t, member.SignDocument(member.TypeEntry, body, "XA", f.parties["XA"].signing)))
		}, member.ErrBadSignature, "XA: not signed by its own root"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			f := newFederation(t, noon())
			r, err := member.VerifyRoster(c.make(f), f.id, nil, noon())
			wantError(t, err, c.is, c.says)
			if r != nil {
				t.Error("a refused roster is given out")
			}
		})
	}
}

func edited(edit func(*ententev1.Roster)) func(*federation) *ententev1.SignedDocument {
	return func(f *federation) *ententev1.SignedDocument { return f.roster(edit) }
}

// TestEntryRefusals breaks one rule of an entry that the member's own root has signed: a member too is held to the rules.
func TestEntryRefusals(t *testing.T) {
	f := newFederation(t, noon())
	otherCA := f.parties["XB"].authority.Certificate().Raw
	leaf := issued(t, f.parties["XA"].authority, member.Identity{Member: "XA", Kind: member.KindNode}, noon())
	small := make([]byte, 32)
	small[0] = 1
	for name, c := range map[string]struct {
		edit func(*ententev1.RosterEntry)
		says string
	}{
		"of another federation":           {func(e *ententev1.RosterEntry) { e.FederationId = make([]byte, 32) }, "another federation"},
		"without a number":                {func(e *ententev1.RosterEntry) { e.Number = 0 }, "no number"},
		"without a date":                  {func(e *ententev1.RosterEntry) { e.SignedAt = nil }, "signed_at is missing"},
		"in another's trust domain":       {func(e *ententev1.RosterEntry) { e.TrustDomain = "xb.entente" }, "trust domain is not xa.entente"},
		"without a kind":                  {func(e *ententev1.RosterEntry) { e.Kind = 0 }, "kind of member is missing"},
		"with a page for a name":          {func(e *ententev1.RosterEntry) { e.Name = string(make([]byte, 201)) }, "longer than"},
		"without an authority":            {func(e *ententev1.RosterEntry) { e.CaCertificates = nil }, "no certificate of an authority"},
		"with nine authorities":           {func(e *ententev1.RosterEntry) { e.CaCertificates = slices.Repeat(e.CaCertificates, 9) }, "more than 8"},
		"with a certificate of garbage":   {func(e *ententev1.RosterEntry) { e.CaCertificates[0] = []byte("x") }, "does not parse"},
		"with a leaf as its authority":    {func(e *ententev1.RosterEntry) { e.CaCertificates[0] = leaf.Raw }, "not that of an authority"},
		"with another's authority":        {func(e *ententev1.RosterEntry) { e.CaCertificates[0] = otherCA }, "each key has one use and one member"},
		"without a signing key":           {func(e *ententev1.RosterEntry) { e.SigningKeys = nil }, "no signing key"},
		"with 17 signing keys":            {func(e *ententev1.RosterEntry) { e.SigningKeys = slices.Repeat(e.SigningKeys, 17) }, "more than 16"},
		"with a signing key cut short":    {func(e *ententev1.RosterEntry) { e.SigningKeys[0].PublicKey = make([]byte, 31) }, "this has 31"},
		"with a key of small order":       {func(e *ententev1.RosterEntry) { e.SigningKeys[0].PublicKey = small }, "small order"},
		"with a key without state":        {func(e *ententev1.RosterEntry) { e.SigningKeys[0].State = 0 }, "state is missing"},
		"with no current key":             {func(e *ententev1.RosterEntry) { e.SigningKeys[0].State = retired }, "none of its signing keys is current"},
		"with a signing key twice":        {func(e *ententev1.RosterEntry) { e.SigningKeys = slices.Repeat(e.SigningKeys, 2) }, "signing key 2 of XA is also signing key 1 of XA"},
		"with its root as signing key":    {func(e *ententev1.RosterEntry) { e.SigningKeys[0].PublicKey = public(f.parties["XA"].root) }, "is also the root key of XA"},
		"with another's signing key":      {func(e *ententev1.RosterEntry) { e.SigningKeys[0].PublicKey = public(f.parties["COORD"].signing) }, "signing key 1 of COORD"},
		"with an address without port":    {func(e *ententev1.RosterEntry) { e.Addresses = []string{"node.example"} }, "address 1 is not host:port"},
		"with an address without host":    {func(e *ententev1.RosterEntry) { e.Addresses = []string{":7443"} }, "address 1 is not host:port"},
		"with an address at port 0":       {func(e *ententev1.RosterEntry) { e.Addresses = []string{"node.example:0"} }, "no port"},
		"with an address at a named port": {func(e *ententev1.RosterEntry) { e.Addresses = []string{"node.example:https"} }, "no port"},
		"with 17 addresses":               {func(e *ententev1.RosterEntry) { e.Addresses = slices.Repeat(e.Addresses, 17) }, "more than 16"},
	} {
		t.Run("an entry "+name+" is refused", func(t *testing.T) {
			_, err := member.VerifyRoster(f.roster(with(t, f.entry("XA", 1, c.edit))), f.id, nil, noon())
			wantError(t, err, nil, c.says, "XA")
		})
	}
}

func TestAnEntryOfAnotherMembersNameIsRefusedWhateverSignsIt(t *testing.T) {
	f := newFederation(t, noon())
	stolen := f.entry("XB", 1, func(e *ententev1.RosterEntry) { e.Member, e.TrustDomain = "XA", "xa.entente" })
	_, err := member.VerifyRoster(f.roster(func(r *ententev1.Roster) { r.Entries[1] = stolen }), f.id, nil, noon())
	wantError(t, err, member.ErrBadSignature, "XA: not signed by its own root")
}

func TestGenesisRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*ententev1.RosterGenesis)
		sign []member.ID
		says string
	}{
		"without a founder's signature":   {func(*ententev1.RosterGenesis) {}, []member.ID{"COORD", "XA", "XB"}, "the founder XC has not signed"},
		"with one signature twice":        {func(*ententev1.RosterGenesis) {}, []member.ID{"COORD", "XA", "XB", "XB"}, "XB signed twice"},
		"signed by a stranger as well":    {func(*ententev1.RosterGenesis) {}, append(founders(), "XD"), "no key of XD"},
		"without a quorum":                {func(g *ententev1.RosterGenesis) { g.Quorum = 0 }, founders(), "quorum is 0 of 4"},
		"with a quorum beyond all":        {func(g *ententev1.RosterGenesis) { g.Quorum = 5 }, founders(), "quorum is 5 of 4"},
		"with a name missing":             {func(g *ententev1.RosterGenesis) { g.Name = "" }, founders(), "name is missing"},
		"without a date":                  {func(g *ententev1.RosterGenesis) { g.FoundedAt = nil }, founders(), "founded_at"},
		"without an assembler":            {func(g *ententev1.RosterGenesis) { g.Assemblers = nil }, founders(), "no assembler"},
		"with an assembler twice":         {func(g *ententev1.RosterGenesis) { g.Assemblers = []string{"XA", "XA"} }, founders(), "XA stands there twice"},
		"with founders out of order":      {func(g *ententev1.RosterGenesis) { slices.Reverse(g.Founders) }, founders(), "not in order"},
		"with one root for two founders":  {func(g *ententev1.RosterGenesis) { g.Founders[1].RootKey = g.Founders[0].RootKey }, founders(), "already that of COORD"},
		"with a root of small order":      {func(g *ententev1.RosterGenesis) { g.Founders[1].RootKey = make([]byte, 32) }, founders(), "root key of XA: it is a point of small order"},
		"with a founder of no name":       {func(g *ententev1.RosterGenesis) { g.Founders[0].Member = "" }, founders(), "member id is empty"},
		"with a founder's key of no size": {func(g *ententev1.RosterGenesis) { g.Founders[0].RootKey = nil }, founders(), "root key of COORD"},
	} {
		t.Run("a genesis "+name+" is refused", func(t *testing.T) {
			f := newFederation(t, noon())
			genesis := &ententev1.RosterGenesis{}
			decode(t, f.genesis, genesis)
			c.edit(genesis)
			doc := &ententev1.SignedDocument{Type: member.TypeGenesis, Body: encode(t, genesis)}
			for _, id := range c.sign {
				member.AddSignature(doc, id, f.parties[id].root)
			}
			_, err := member.VerifyRoster(f.roster(func(r *ententev1.Roster) { r.Genesis = doc }), member.FederationID(doc), nil, noon())
			wantError(t, err, nil, c.says)
		})
	}
}

func TestARosterOfAnotherFederationIsRefused(t *testing.T) {
	f := newFederation(t, noon())
	_, err := member.VerifyRoster(f.roster(), [32]byte{1}, nil, noon())
	wantError(t, err, nil, "another federation")
}

// A thief of the founders' names, or the founders themselves, cannot found anew under the pinned id: the roster below is
// sound in itself, and its entries claim the pinned federation.
func TestAnotherGenesisUnderThePinnedIDIsRefused(t *testing.T) {
	f := newFederation(t, noon())
	other := newFederation(t, noon().Add(time.Minute)).genesis
	_, err := member.VerifyRoster(f.roster(func(r *ententev1.Roster) { r.Genesis = other }), f.id, nil, noon())
	wantError(t, err, nil, "its genesis is not the pinned one")
}

func TestAHeldRosterOfAnotherFederationIsNotSucceeded(t *testing.T) {
	f, other := newFederation(t, noon()), newFederation(t, noon().Add(time.Minute))
	_, err := member.VerifyRoster(f.roster(), f.id, other.verified(other.roster()), noon())
	wantError(t, err, nil, "another federation than the held one")
}

func TestAGenesisIsSignedOnlyByAFounderWithItsRoot(t *testing.T) {
	f := newFederation(t, noon())
	wantError(t, member.SignGenesis(f.newGenesis(), "XD", f.parties["XD"].root), nil, "does not name XD")
	wantError(t, member.SignGenesis(f.newGenesis(), "XA", f.parties["XB"].root), nil, "another root key for XA")
	_, err := member.NewGenesis("Too strict", map[member.ID]ed25519.PublicKey{"XA": public(f.parties["XA"].root)}, 2, []member.ID{"XA"}, noon())
	wantError(t, err, nil, "quorum is 2 of 1")
}

// TestChangesOfMembership plays histories of changes and says what comes out.
func TestChangesOfMembership(t *testing.T) {
	type history func(f *federation) *ententev1.SignedDocument
	for name, c := range map[string]struct {
		play    history
		members []member.ID
	}{
		"an admitted member is in": {func(f *federation) *ententev1.SignedDocument {
			f.admit("XD")
			return f.roster(with(f.t, f.entry("XD", 1)))
		}, []member.ID{"COORD", "XA", "XB", "XC", "XD"}},
		"a suspended member is out for now": {func(f *federation) *ententev1.SignedDocument {
			f.suspend("XB")
			return f.roster()
		}, []member.ID{"COORD", "XA", "XC"}},
		"a reinstated member is in again": {func(f *federation) *ententev1.SignedDocument {
			f.suspend("XB")
			f.change(reinstatement, "XB", nil, "XA", "XC", "COORD")
			return f.roster()
		}, founders()},
		"a removed member is out and may keep its entry": {func(f *federation) *ententev1.SignedDocument {
			f.change(removal, "XB", nil, "XA", "XC", "COORD")
			return f.roster()
		}, []member.ID{"COORD", "XA", "XC"}},
		"a departed member is out and its entry may go": {func(f *federation) *ententev1.SignedDocument {
			f.depart("XB")
			return f.roster(func(r *ententev1.Roster) { r.Entries = slices.Delete(r.Entries, 2, 3) })
		}, []member.ID{"COORD", "XA", "XC"}},
		"a suspended member may depart": {func(f *federation) *ententev1.SignedDocument {
			f.suspend("XB")
			f.depart("XB")
			return f.roster()
		}, []member.ID{"COORD", "XA", "XC"}},
		"a changed root signs entries and votes": {func(f *federation) *ententev1.SignedDocument {
			f.parties["XB"].root = newKey(f.t, "new root of XB")
			f.change(rootChange, "XB", public(f.parties["XB"].root), "XA", "XC", "COORD")
			f.suspend("XA")
			f.change(reinstatement, "XA", nil, "XB", "XC", "COORD")
			return f.roster()
		}, founders()},
		"a member that left comes back with another root": {func(f *federation) *ententev1.SignedDocument {
			f.depart("XC")
			f.parties["XC"].root = newKey(f.t, "new root of XC")
			f.change(admission, "XC", public(f.parties["XC"].root), "XA", "XB", "COORD")
			return f.roster()
		}, founders()},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFederation(t, noon())
			body := c.play(f)
			if got := f.verified(body).Members(); !slices.Equal(got, c.members) {
				t.Errorf("members are %v, want %v", got, c.members)
			}
		})
	}
}

func TestChangeRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		play func(f *federation)
		says string
	}{
		"an admission by two of three": {func(f *federation) {
			f.change(admission, "XD", public(f.parties["XD"].root), "XA", "XB")
		}, "2 founders signed what takes 3, concerning XD"},
		"an admission with a vote counted twice": {func(f *federation) {
			f.change(admission, "XD", public(f.parties["XD"].root), "XA", "XB", "XB")
		}, "XB signed twice"},
		"an admission with the newcomer's own vote": {func(f *federation) {
			f.change(admission, "XD", public(f.parties["XD"].root), "XA", "XB", "XD")
		}, "no key of XD"},
		"a vote of a member admitted later": {func(f *federation) {
			f.admit("XD")
			f.change(suspension, "XA", nil, "XB", "XC", "XD")
		}, "no key of XD"},
		"a vote of a suspended founder": {func(f *federation) {
			f.suspend("XB")
			f.change(reinstatement, "XB", nil, "XA", "XB", "XC")
		}, "no key of XB"},
		"a vote of a founder that left": {func(f *federation) {
			f.depart("XB")
			f.change(suspension, "XA", nil, "COORD", "XB", "XC")
		}, "no key of XB"},
		"a vote by a root that was replaced": {func(f *federation) {
			f.change(rootChange, "XB", public(newKey(f.t, "new root of XB")), "XA", "XC", "COORD")
			f.change(suspension, "XA", nil, "XB", "XC", "COORD")
		}, "no key of XB"},
		"a departure signed by a quorum instead of the leaver": {func(f *federation) {
			f.change(departure, "XB", nil, "XA", "XC", "COORD")
		}, "3 signatures instead of one"},
		"a departure signed by another member": {func(f *federation) {
			f.change(departure, "XB", nil, "XA")
		}, "the departure of XB is signed by XA"},
		"an admission of a member": {func(f *federation) {
			f.change(admission, "XB", public(f.parties["XD"].root), "XA", "XC", "COORD")
		}, "XB: it is a member already"},
		"an admission without a root": {func(f *federation) {
			f.change(admission, "XD", nil, "XA", "XC", "COORD")
		}, "root key of XD"},
		"an admission with another member's root": {func(f *federation) {
			f.change(admission, "XD", public(f.parties["XA"].root), "XA", "XC", "COORD")
		}, "already that of XA"},
		"a change of root to the same root": {func(f *federation) {
			f.change(rootChange, "XB", public(f.parties["XB"].root), "XA", "XC", "COORD")
		}, "already that of XB"},
		"a suspension of a stranger": {func(f *federation) {
			f.change(suspension, "XD", nil, "XA", "XC", "COORD")
		}, "XD: it is not a member"},
		"a second suspension": {func(f *federation) {
			f.suspend("XB")
			f.suspend("XB")
		}, "suspended already"},
		"a reinstatement of one not suspended": {func(f *federation) {
			f.change(reinstatement, "XB", nil, "XA", "XC", "COORD")
		}, "not suspended"},
		"a removal of one that left": {func(f *federation) {
			f.depart("XB")
			f.change(removal, "XB", nil, "XA", "XC", "COORD")
		}, "XB: it is not a member"},
		"a suspension that carries a root": {func(f *federation) {
			f.change(suspension, "XB", public(f.parties["XD"].root), "XA", "XC", "COORD")
		}, "carry a root key"},
		"a change without a kind": {func(f *federation) {
			f.change(0, "XB", nil, "XA", "XC", "COORD")
		}, "missing or unknown"},
		"a change of a kind to come": {func(f *federation) {
			f.change(77, "XB", nil, "XA", "XC", "COORD")
		}, "missing or unknown"},
		"a gap in the numbers": {func(f *federation) {
			f.admit("XD")
			f.suspend("XB")
			f.changes = f.changes[1:]
		}, "it has number 2"},
		"a change played twice": {func(f *federation) {
			f.suspend("XB")
			f.changes = append(f.changes, f.changes[0])
		}, "it has number 1"},
		"a change of another federation": {func(f *federation) {
			id := f.id
			f.id = [32]byte{1}
			f.suspend("XB")
			f.id = id
		}, "another federation"},
		"a change with other content than signed": {func(f *federation) {
			f.suspend("XB")
			f.changes[0].Body = bytes.Replace(f.changes[0].Body, []byte("XB"), []byte("XA"), 1)
		}, "over other bytes"},
		"a genesis in the place of a change": {func(f *federation) {
			f.changes = append(f.changes, f.genesis)
		}, "another type"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			f := newFederation(t, noon())
			c.play(f)
			_, err := member.VerifyRoster(f.roster(), f.id, nil, noon())
			wantError(t, err, nil, c.says)
		})
	}
}

func TestTheOldRootNoLongerSpeaksAfterAChangeOfRoot(t *testing.T) {
	f := newFederation(t, noon())
	f.change(rootChange, "XB", public(newKey(t, "new root of XB")), "XA", "XC", "COORD")
	_, err := member.VerifyRoster(f.roster(), f.id, nil, noon())
	wantError(t, err, member.ErrBadSignature, "XB: not signed by its own root")
}

func TestASuspendedAssemblerAssemblesNothing(t *testing.T) {
	f := newFederation(t, noon())
	f.change(suspension, "COORD", nil, "XA", "XB", "XC")
	_, err := member.VerifyRoster(f.roster(), f.id, nil, noon())
	wantError(t, err, nil, "its assembler COORD is suspended")
}

func TestStandingAndKeysOfThoseWhoAreOut(t *testing.T) {
	f := newFederation(t, noon())
	f.suspend("XB")
	f.depart("XC")
	r := f.verified(f.roster())
	xb, _ := r.Member("XB")
	xc, _ := r.Member("XC")
	if !xb.Suspended || xb.Left || xc.Suspended || !xc.Left || r.Active("XB") || r.Active("XC") {
		t.Errorf("XB %+v, XC %+v", xb, xc)
	}
	if len(r.VerifyingKeys("XB")) != 1 || len(r.VerifyingKeys("XC")) != 1 {
		t.Error("what they signed while they were in can no longer be verified")
	}
}

func TestKeysCountByTheirState(t *testing.T) {
	f := newFederation(t, noon())
	keys := map[string]ed25519.PublicKey{}
	entry := f.entry("XA", 1, func(e *ententev1.RosterEntry) {
		for label, state := range map[string]ententev1.SigningKeyState{"retired": retired, "revoked": revoked, "of a state to come": 9} {
			keys[label] = public(newKey(t, label))
			e.SigningKeys = append(e.SigningKeys, &ententev1.SigningKey{PublicKey: keys[label], State: state})
		}
	})
	r := f.verified(f.roster(with(t, entry)))
	counts := func(in []ed25519.PublicKey, label string) bool {
		return slices.ContainsFunc(in, func(k ed25519.PublicKey) bool { return k.Equal(keys[label]) })
	}
	if len(r.VerifyingKeys("XA")) != 2 || !counts(r.VerifyingKeys("XA"), "retired") {
		t.Error("verifying keys are not the current and the retired one")
	}
	if len(r.CurrentKeys("XA")) != 1 || counts(r.CurrentKeys("XA"), "retired") {
		t.Error("current keys are not the current one alone")
	}
}

func TestARosterMustNotTakeBackWhatTheHeldOneSays(t *testing.T) {
	number := func(n uint64) func(*ententev1.Roster) { return func(r *ententev1.Roster) { r.Number = n } }
	later := func(r *ententev1.Roster) { r.ExpiresAt = timestamppb.New(noon().Add(2 * time.Hour)) }
	for name, c := range map[string]struct {
		next func(f *federation) *ententev1.SignedDocument
		is   error
		says string
	}{
		"the same again is taken": {func(f *federation) *ententev1.SignedDocument {
			return f.roster(with(f.t, f.entry("XA", 4)))
		}, nil, ""},
		"a higher number is taken": {func(f *federation) *ententev1.SignedDocument {
			return f.roster(with(f.t, f.entry("XA", 4)), number(6))
		}, nil, ""},
		"a further change and a newer entry are taken": {func(f *federation) *ententev1.SignedDocument {
			f.suspend("XC")
			return f.roster(with(f.t, f.entry("XA", 5)), number(6))
		}, nil, ""},
		"a lower number is refused": {func(f *federation) *ententev1.SignedDocument {
			return f.roster(with(f.t, f.entry("XA", 4)), number(4))
		}, member.ErrRosterOlder, "roster 4, held 5"},
		"the same number with other content is refused": {func(f *federation) *ententev1.SignedDocument {
			return f.roster(with(f.t, f.entry("XA", 4)), later)
		}, member.ErrRosterFork, "same number and other content"},
		"an older entry is refused": {func(f *federation) *ententev1.SignedDocument {
			return f.roster(with(f.t, f.entry("XA", 3)), number(6))
		}, member.ErrRosterOlder, "entry of XA is number 3, held 4"},
		"another entry of the same number is refused": {func(f *federation) *ententev1.SignedDocument {
			return f.roster(with(f.t, f.entry("XA", 4, func(e *ententev1.RosterEntry) { e.Name = "Other" })), number(6))
		}, member.ErrRosterFork, "XA signed two entries number 4"},
		"a change left out is refused": {func(f *federation) *ententev1.SignedDocument {
			f.changes = nil
			return f.roster(with(f.t, f.entry("XA", 4)), number(6))
		}, member.ErrRosterOlder, "it lacks change 1"},
		"another history of changes is refused": {func(f *federation) *ententev1.SignedDocument {
			f.changes = nil
			f.suspend("XC")
			return f.roster(with(f.t, f.entry("XA", 4)), number(6))
		}, member.ErrRosterFork, "its change 1 is another"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFederation(t, noon())
			f.suspend("XB")
			held := f.verified(f.roster(with(t, f.entry("XA", 4))))
			_, err := member.VerifyRoster(c.next(f), f.id, held, noon())
			if c.is == nil && err != nil {
				t.Fatal(err)
			}
			if c.is != nil {
				wantError(t, err, c.is, c.says)
			}
		})
	}
}

func TestAnExpiredRosterServesNobodyButStillRefusesOlderOnes(t *testing.T) {
	f := newFederation(t, noon())
	doc := f.roster()
	_, err := member.VerifyRoster(doc, f.id, nil, noon().Add(time.Hour-time.Nanosecond))
	if err != nil {
		t.Fatalf("in its last moment: %v", err)
	}
	expired, err := member.VerifyRoster(doc, f.id, nil, noon().Add(time.Hour))
	wantError(t, err, member.ErrRosterExpired, "roster 5")
	if expired == nil {
		t.Fatal("the expired roster is not given out, so nothing can be compared with it")
	}
	_, err = member.VerifyRoster(f.roster(func(r *ententev1.Roster) { r.Number = 4 }), f.id, expired, noon())
	wantError(t, err, member.ErrRosterOlder)
}

func TestARosterFiveMinutesAheadIsTaken(t *testing.T) {
	f := newFederation(t, noon())
	_, err := member.VerifyRoster(f.roster(), f.id, nil, noon().Add(-5*time.Minute))
	if err != nil {
		t.Error(err)
	}
}

func TestAnAssemblerNeverHandsOutWhatNodesRefuse(t *testing.T) {
	f := newFederation(t, noon())
	parts := must(member.RosterParts(f.roster()))(t)
	if parts.Number != 5 || parts.Assembler != "COORD" || parts.ValidFor != time.Hour || len(parts.Entries) != 4 {
		t.Fatalf("parts are %+v", parts)
	}
	slices.Reverse(parts.Entries)
	parts.Number++
	doc := must(member.AssembleRoster(parts, f.parties["COORD"].signing, noon()))(t)
	f.verified(doc)
	parts.Entries = parts.Entries[1:]
	_, err := member.AssembleRoster(parts, f.parties["COORD"].signing, noon())
	wantError(t, err, nil, "the entry of XC, a member, is missing")
}

func TestAMemberNeverSignsAnEntryThatOthersRefuse(t *testing.T) {
	f := newFederation(t, noon())
	m := f.describe("XA")
	m.Authorities = []*x509.Certificate{issued(t, f.parties["XA"].authority, member.Identity{Member: "XA", Kind: member.KindNode}, noon())}
	_, err := member.NewEntry(f.id, m, 1, f.parties["XA"].root, noon())
	wantError(t, err, nil, "not that of an authority")
}

// A stolen assembler could sign the last number there is, and nobody could ever be admitted or suspended again.
func TestARosterDoesNotUseUpTheNumbers(t *testing.T) {
	f := newFederation(t, noon())
	held := f.verified(f.roster())
	for leap, taken := range map[uint64]bool{1: true, 1 << 20: true, 1<<20 + 1: false, math.MaxUint64 - held.Number(): false} {
		_, err := member.VerifyRoster(f.roster(func(r *ententev1.Roster) { r.Number += leap }), f.id, held, noon())
		if taken && err != nil {
			t.Errorf("%d numbers on: %v", leap, err)
		}
		if !taken {
			wantError(t, err, nil, "leaves out more than")
		}
	}
}
