package stream_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// refusedRosters are what a stolen assembler, a careless founder or an old file could bring.
func refusedRosters(t *testing.T) []vector {
	return append(append(refusedChanges(t), refusedEntries(t)...), refusedAssemblies(t)...)
}

func refusedChanges(t *testing.T) []vector {
	four := []string{"CO", "XA", "XB", "XC"}
	in := func(change func(*foundation) *foundation, members []string) rosterInput {
		f := change(founded(t))
		return f.in(f.roster(1, members))
	}
	unsigned := &foundation{t: t, genesis: genesis(t, 2, "CO", "XA"), roots: map[string]string{}}
	unsigned.id = member.FederationID(unsigned.genesis)
	other := &foundation{t: t, genesis: genesis(t, 3, "CO", "XA", "XB"), roots: map[string]string{}}
	other.id = member.FederationID(other.genesis)
	pinned := other.in(other.roster(1, founders()))
	pinned.Federation = founded(t).in(founded(t).roster(1, founders())).Federation
	foreign := founded(t)
	foreign.changes = []*ententev1.SignedDocument{other.change(admission, "XC", "root XC", "CO", "XA", "XB").changes[0]}
	gap := founded(t).change(suspension, "XB", "", "CO", "XA").change(reinstatement, "XB", "", "CO", "XA")
	gap.changes = gap.changes[1:]
	stolen := founded(t).change(admission, "XC", "root XC", "XA")
	member.AddSignature(stolen.changes[0], "XB", vectorKey("signing XB"))
	swapped := founded(t)
	swapped.genesis = other.genesis
	renamed, misnamed := founded(t), founded(t).change(suspension, "XB", "", "CO", "XA")
	renamed.genesis = proto.CloneOf(renamed.genesis)
	renamed.genesis.Type = member.TypeChange
	misnamed.changes[0].Type = member.TypeEntry
	return []vector{
		{"a genesis that is not the pinned one", pinned, "federation"},
		{"a genesis that is not the pinned one, and everything else of the pinned one", swapped.in(swapped.roster(1, founders())), "federation"},
		{"a genesis under the name of another document", renamed.in(renamed.roster(1, founders())), "type"},
		{"a genesis without a name", oddGenesis(t, func(g *ententev1.RosterGenesis) { g.Name = "" }), "name"},
		{"a genesis without a date", oddGenesis(t, func(g *ententev1.RosterGenesis) { g.FoundedAt = nil }), "time"},
		{"a genesis with founders out of order", oddGenesis(t, func(g *ententev1.RosterGenesis) {
			g.Founders[0], g.Founders[1] = g.GetFounders()[1], g.GetFounders()[0]
		}), "order"},
		{"a genesis with a founder twice, by two roots", oddGenesis(t, func(g *ententev1.RosterGenesis) {
			again := &ententev1.RosterRoot{Member: "XB", RootKey: vectorPublic("second root XB")}
			g.Founders = append(g.GetFounders(), again)
		}), "order"},
		{"a genesis without a quorum", oddGenesis(t, func(g *ententev1.RosterGenesis) { g.Quorum = 0 }), "quorum"},
		{"a genesis whose quorum is more than all", oddGenesis(t, func(g *ententev1.RosterGenesis) { g.Quorum = 4 }), "quorum"},
		{"a genesis without an assembler", oddGenesis(t, func(g *ententev1.RosterGenesis) { g.Assemblers = nil }), "assembler"},
		{"a genesis with an assembler that is no member by name", oddGenesis(t, func(g *ententev1.RosterGenesis) { g.Assemblers[1] = "xa" }), "assembler"},
		{"a genesis with an assembler twice", oddGenesis(t, func(g *ententev1.RosterGenesis) { g.Assemblers[1] = "CO" }), "assembler"},
		{"a change under the name of another document", misnamed.in(misnamed.roster(1, founders())), "type"},
		{"an admission of somebody who is no member by name", in(func(f *foundation) *foundation { return f.change(admission, "xc", "root XC", "XA", "XB") }, founders()), "member-id"},
		{"a reinstatement of a member that is not suspended", in(func(f *foundation) *foundation { return f.change(reinstatement, "XB", "", "CO", "XA") }, founders()), "standing"},
		{"a genesis that a founder has not signed", unsigned.in(unsigned.roster(1, founders())), "signature"},
		{"an admission by one founder where it takes two", in(func(f *foundation) *foundation { return f.change(admission, "XC", "root XC", "XA") }, four), "signature"},
		{"an admission that one founder signed twice", in(func(f *foundation) *foundation { return f.change(admission, "XC", "root XC", "XA", "XA") }, four), "signature"},
		{"an admission signed by the newcomer itself", in(func(f *foundation) *foundation { return f.change(admission, "XC", "root XC", "XA", "XC") }, four), "signature"},
		{"an admission signed with a signing key instead of a root", stolen.in(stolen.roster(1, four)), "signature"},
		{"a vote of a member that is no founder", in(func(f *foundation) *foundation {
			return f.change(admission, "XC", "root XC", "XA", "XB").change(suspension, "XB", "", "XA", "XC")
		}, four), "signature"},
		{"a vote of a suspended founder", in(func(f *foundation) *foundation {
			return f.change(suspension, "XB", "", "CO", "XA").change(admission, "XC", "root XC", "XA", "XB")
		}, four), "signature"},
		{"an admission of a member", in(func(f *foundation) *foundation { return f.change(admission, "XB", "second root XB", "CO", "XA") }, founders()), "standing"},
		{"a member under two names, by one root", in(func(f *foundation) *foundation { return f.change(admission, "XC", "root XB", "CO", "XA") }, four), "shared-key"},
		{"a suspension of a stranger", in(func(f *foundation) *foundation { return f.change(suspension, "XD", "", "CO", "XA") }, founders()), "standing"},
		{"a second suspension", in(func(f *foundation) *foundation {
			return f.change(suspension, "XB", "", "CO", "XA").change(suspension, "XB", "", "CO", "XA")
		}, founders()), "standing"},
		{"a suspension with a root key", in(func(f *foundation) *foundation { return f.change(suspension, "XB", "root XB", "CO", "XA") }, founders()), "root-key"},
		{"a departure signed by founders instead of the leaver", in(func(f *foundation) *foundation { return f.change(departure, "XB", "", "CO", "XA") }, founders()), "signature"},
		{"a departure signed by somebody else", in(func(f *foundation) *foundation { return f.change(departure, "XB", "", "XA") }, founders()), "signature"},
		{"a member that comes back with its old root", in(func(f *foundation) *foundation {
			return f.change(removal, "XB", "", "CO", "XA").change(admission, "XB", "root XB", "CO", "XA")
		}, founders()), "shared-key"},
		{"a change of a kind of a newer version", in(func(f *foundation) *foundation { return f.change(99, "XB", "", "CO", "XA") }, founders()), "kind"},
		{"a change of another federation", foreign.in(foreign.roster(1, four)), "federation"},
		{"changes that do not begin with number 1", gap.in(gap.roster(1, founders())), "number"},
	}
}

// oddGenesis is a federation that was founded, by all and on purpose, with a genesis that breaks a rule.
func oddGenesis(t *testing.T, edit func(*ententev1.RosterGenesis)) rosterInput {
	sound := founded(t)
	body, err := decoded(sound.genesis.GetBody(), &ententev1.RosterGenesis{})
	if err != nil {
		t.Fatal(err)
	}
	edit(body)
	doc := &ententev1.SignedDocument{Type: member.TypeGenesis, Body: encoded(t, body)}
	for _, id := range founders() {
		member.AddSignature(doc, member.ID(id), vectorKey("root "+id))
	}
	odd := &foundation{t: t, genesis: doc, id: member.FederationID(doc), roots: map[string]string{}}
	in := odd.in(odd.roster(1, founders()))
	in.Held = nil
	return in
}

// signedAnew is any body as a roster, soundly signed.
func signedAnew(body []byte) *ententev1.SignedDocument {
	return member.SignDocument(member.TypeRoster, body, "CO", vectorKey("signing CO"))
}

func refusedEntries(t *testing.T) []vector {
	f := founded(t)
	edited := func(edit func(*ententev1.RosterEntry)) rosterInput {
		return f.in(f.roster(1, founders(), f.with("XB", 1, edit)))
	}
	assembled := func(edit func(*ententev1.Roster)) rosterInput { return f.in(f.roster(1, founders(), edit)) }
	return []vector{
		{"the entry of a member is left out", assembled(func(r *ententev1.Roster) { r.Entries = r.GetEntries()[:2] }), "missing-entry"},
		{"entries out of order", assembled(func(r *ententev1.Roster) { r.Entries[0], r.Entries[1] = r.Entries[1], r.Entries[0] }), "order"},
		{"an entry twice", assembled(func(r *ententev1.Roster) { r.Entries = append(r.GetEntries(), r.GetEntries()[2]) }), "order"},
		{"an entry of a stranger", assembled(func(r *ententev1.Roster) { r.Entries = append(r.GetEntries(), f.entry("XD", 1)) }), "standing"},
		{"an entry signed by another member's root", assembled(func(r *ententev1.Roster) {
			r.Entries[2] = member.SignDocument(member.TypeEntry, r.GetEntries()[2].GetBody(), "XA", vectorKey("root XA"))
		}), "signature"},
		{"an entry signed by the member's signing key", assembled(func(r *ententev1.Roster) {
			r.Entries[2] = member.SignDocument(member.TypeEntry, r.GetEntries()[2].GetBody(), "XB", vectorKey("signing XB"))
		}), "signature"},
		{"an entry changed by the assembler", assembled(func(r *ententev1.Roster) { r.Entries[2].Body = flipped(r.GetEntries()[2].GetBody(), 45) }), "signature"},
		{"an entry of another federation", edited(func(e *ententev1.RosterEntry) { e.FederationId = flipped(e.GetFederationId(), 0) }), "federation"},
		{"a signing key of another member", edited(func(e *ententev1.RosterEntry) { e.SigningKeys[0].PublicKey = vectorPublic("signing XA") }), "shared-key"},
		{"a signing key that is a root", edited(func(e *ententev1.RosterEntry) { e.SigningKeys[0].PublicKey = vectorPublic("root XB") }), "shared-key"},
		{"an authority of another member", edited(func(e *ententev1.RosterEntry) { e.CaCertificates = [][]byte{certificate(t, "XA").Raw} }), "shared-key"},
		{"a signing key of small order", edited(func(e *ententev1.RosterEntry) { e.SigningKeys[0].PublicKey = make([]byte, 32) }), "small-order"},
		{"an entry under the name of another document", assembled(func(r *ententev1.Roster) { r.Entries[2].Type = member.TypeChange }), "type"},
		{"an entry without a kind of member", edited(func(e *ententev1.RosterEntry) { e.Kind = 0 }), "kind"},
		{"an entry without a date", edited(func(e *ententev1.RosterEntry) { e.SignedAt = nil }), "time"},
		{"a name of 201 bytes", edited(func(e *ententev1.RosterEntry) { e.Name = strings.Repeat("n", 201) }), "name"},
		{"17 addresses", edited(func(e *ententev1.RosterEntry) { e.Addresses = slices.Repeat(e.GetAddresses(), 17) }), "address"},
		{"no authority", edited(func(e *ententev1.RosterEntry) { e.CaCertificates = nil }), "authority"},
		{"nine certificates of authorities", edited(func(e *ententev1.RosterEntry) { e.CaCertificates = slices.Repeat(e.GetCaCertificates(), 9) }), "authority"},
		{"a certificate that is not that of an authority", edited(func(e *ententev1.RosterEntry) {
			e.CaCertificates = [][]byte{certificate(t, "XB", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }).Raw}
		}), "authority"},
		{"a signing key without a state", edited(func(e *ententev1.RosterEntry) {
			e.SigningKeys = append(e.SigningKeys, &ententev1.SigningKey{PublicKey: vectorPublic("new signing XB")})
		}), "key-state"},
		{"no signing key", edited(func(e *ententev1.RosterEntry) { e.SigningKeys = nil }), "no-current-key"},
		{"no current signing key", edited(func(e *ententev1.RosterEntry) {
			e.SigningKeys[0].State = ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED
		}), "no-current-key"},
		{"the trust domain of another member", edited(func(e *ententev1.RosterEntry) { e.TrustDomain = "xa.entente" }), "trust-domain"},
		{"an address without a port", edited(func(e *ententev1.RosterEntry) { e.Addresses = []string{"127.0.0.1"} }), "address"},
		{"an entry without a number", edited(func(e *ententev1.RosterEntry) { e.Number = 0 }), "number"},
	}
}

func refusedAssemblies(t *testing.T) []vector {
	f := founded(t)
	first, second := f.roster(1, founders()), f.roster(2, founders())
	assembled := func(edit func(*ententev1.Roster)) rosterInput { return f.in(f.roster(1, founders(), edit)) }
	suspended := founded(t).change(suspension, "CO", "", "XA", "XB")
	changed := founded(t).change(suspension, "XB", "", "CO", "XA")
	reinstated := founded(t).change(admission, "XC", "root XC", "CO", "XA")
	byAnother := member.SignDocument(member.TypeRoster, first.GetBody(), "XA", vectorKey("signing XA"))
	altered := member.SignDocument(member.TypeRoster, first.GetBody(), "CO", vectorKey("signing CO"))
	altered.Signatures[0].Signature = flipped(altered.GetSignatures()[0].GetSignature(), 0)
	rooted := member.SignDocument(member.TypeRoster, first.GetBody(), "CO", vectorKey("root CO"))
	late := f.in(first)
	late.Now += 30 * 24 * 3600
	renewed := f.roster(3, founders(), f.with("XB", 2))
	sameNumber := f.roster(4, founders(), f.with("XB", 2, func(e *ententev1.RosterEntry) { e.Name = "Another" }))
	return []vector{
		{"an older roster, sent again", f.after(second, first), "older"},
		{"two rosters of one number", f.after(first, f.roster(1, founders(), func(r *ententev1.Roster) { r.ExpiresAt = timestamppb.New(newYear().Add(time.Hour)) })), "fork"},
		{"a roster that takes back a change", f.after(changed.roster(2, founders()), f.roster(3, founders())), "older"},
		{"a roster with another first change", f.after(changed.roster(2, founders()), reinstated.roster(3, []string{"CO", "XA", "XB", "XC"})), "fork"},
		{"a roster with an older entry", f.after(renewed, f.roster(4, founders())), "older"},
		{"a member that signed two entries of one number", f.after(renewed, sameNumber), "fork"},
		{"a number far beyond the held one", f.after(first, f.roster(1<<20+2, founders())), "leap"},
		{"dated six minutes ahead", assembled(func(r *ententev1.Roster) { r.IssuedAt = timestamppb.New(newYear().Add(6 * time.Minute)) }), "ahead"},
		{"past its date", late, "expired"},
		{"expires before it is issued", assembled(func(r *ententev1.Roster) { r.ExpiresAt = r.GetIssuedAt() }), "dates"},
		{"without a number", assembled(func(r *ententev1.Roster) { r.Number = 0 }), "number"},
		{"assembled by a member that the genesis does not name", assembled(func(r *ententev1.Roster) { r.Assembler = "XB" }), "assembler"},
		{"assembled by a suspended member", suspended.in(suspended.roster(1, founders())), "assembler"},
		{"signed by another assembler than it names", f.in(byAnother), "assembler"},
		{"signed with the root of the assembler", f.in(rooted), "signature"},
		{"altered after signing", f.in(altered), "signature"},
		{"issued at no time", assembled(func(r *ententev1.Roster) { r.IssuedAt = nil }), "time"},
		{"issued at a time that is none", assembled(func(r *ententev1.Roster) { r.IssuedAt.Nanos = 1e9 }), "time"},
		{"expires after the year 9999", assembled(func(r *ententev1.Roster) { r.ExpiresAt.Seconds = 253402300800 }), "time"},
		{"signed with its end cut off", f.in(signedAnew(first.GetBody()[:len(first.GetBody())-1])), "body"},
		{"signed with a field of number 0", f.in(signedAnew(append(slices.Clone(first.GetBody()), 0, 0))), "body"},
		{"signed with a field of a kind that does not exist", f.in(signedAnew(append(slices.Clone(first.GetBody()), 0xfe, 1))), "body"},
		{"another document in its place", f.in(f.genesis), "type"},
	}
}
