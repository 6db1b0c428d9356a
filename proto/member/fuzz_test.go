package member_test

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// newRepeatable is a federation that is the same in every process: fuzzing hands inputs from one to others. ECDSA keys
// and signatures cannot be repeated, so the authorities in its entries are Ed25519 ones.
func newRepeatable(f *testing.F) *federation {
	f.Helper()
	fed := newFederation(f, noon())
	for id, p := range fed.parties {
		key := newKey(f, "authority of "+string(id))
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: noon(), NotAfter: noon().AddDate(1, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der := must(x509.CreateCertificate(nil, template, template, key.Public(), key))(f)
		p.fixed = must(x509.ParseCertificate(der))(f)
	}
	return fed
}

// FuzzVerifyRoster feeds bytes of a stranger. Whatever is accepted is, body for body, what the assembler signed.
func FuzzVerifyRoster(f *testing.F) {
	fed := newRepeatable(f)
	fed.suspend("XB")
	sound := fed.roster()
	f.Add(encode(f, sound))
	f.Add(encode(f, fed.genesis))
	f.Fuzz(func(t *testing.T, in []byte) {
		doc := &ententev1.SignedDocument{}
		if proto.Unmarshal(in, doc) != nil {
			return
		}
		_, err := member.VerifyRoster(doc, fed.id, nil, noon())
		if err == nil && !bytes.Equal(doc.GetBody(), sound.GetBody()) {
			t.Fatal("a roster was accepted that nobody signed")
		}
	})
}

// FuzzStolenAssembler feeds rosters that a thief of the assembler's signing key signs. The thief may number and date them,
// but can neither add a member, nor drop one, nor change what one says of itself.
func FuzzStolenAssembler(f *testing.F) {
	fed := newRepeatable(f)
	fed.suspend("XB")
	sound := fed.rosterBody()
	held := fed.verified(fed.roster())
	f.Add(encode(f, sound))
	sound.Number++
	f.Add(encode(f, sound))
	f.Fuzz(func(t *testing.T, body []byte) {
		doc := member.SignDocument(member.TypeRoster, body, "COORD", fed.parties["COORD"].signing)
		r, err := member.VerifyRoster(doc, fed.id, held, noon())
		if err != nil {
			return
		}
		if !slices.Equal(r.Members(), held.Members()) {
			t.Fatalf("members are now %v", r.Members())
		}
		for _, id := range founders() {
			was, _ := held.Member(id)
			is, ok := r.Member(id)
			if !ok || is.Suspended != was.Suspended || !slices.Equal(is.Addresses, was.Addresses) ||
				!is.Authorities[0].Equal(was.Authorities[0]) || !is.SigningKeys[0].Key.Equal(was.SigningKeys[0].Key) {
				t.Fatalf("%s is now %+v", id, is)
			}
		}
	})
}

// FuzzRosterEntry feeds entries that a member's own root has signed: a member may say nonsense of itself, but what is
// accepted keeps the rules and concerns that member alone.
func FuzzRosterEntry(f *testing.F) {
	fed := newRepeatable(f)
	f.Add(fed.entry("XA", 1).GetBody())
	body := fed.rosterBody()
	f.Fuzz(func(t *testing.T, entry []byte) {
		body.Entries[1] = member.SignDocument(member.TypeEntry, entry, "XA", fed.parties["XA"].root)
		doc := member.SignDocument(member.TypeRoster, encode(t, body), "COORD", fed.parties["COORD"].signing)
		r, err := member.VerifyRoster(doc, fed.id, nil, noon())
		if err != nil {
			return
		}
		m, ok := r.Member("XA")
		if !ok || m.TrustDomain != "xa.entente" || len(m.Authorities) == 0 || len(r.CurrentKeys("XA")) == 0 {
			t.Fatalf("accepted: %+v", m)
		}
	})
}

// FuzzVerifyProject feeds the content of a second document that the lead has signed. Whatever it holds, the lead is in.
func FuzzVerifyProject(f *testing.F) {
	c := newChain(f)
	c.admit("XC")
	f.Add(c.docs[0].GetBody(), c.docs[1].GetBody())
	c.docs = c.docs[:1]
	c.end()
	f.Add(c.docs[0].GetBody(), c.docs[1].GetBody())
	roster := c.f.verified(c.f.roster())
	f.Fuzz(func(t *testing.T, first, second []byte) {
		docs := []*ententev1.SignedDocument{
			member.SignDocument(member.TypeProject, first, "XA", c.key()),
			member.SignDocument(member.TypeProject, second, "XA", c.key()),
		}
		p, err := member.VerifyProject(docs, roster)
		if err != nil {
			return
		}
		if p.Lead != "XA" || !p.Has("XA") || p.Number != 2 || !slices.IsSorted(p.Participants) {
			t.Fatalf("accepted: %+v", p)
		}
	})
}

func FuzzPEM(f *testing.F) {
	key := newKey(f, "k")
	authority := must(member.NewAuthority("XA", seeded("a"), noon(), 1e12))(f)
	cert, ecKey, err := authority.PEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(must(member.EncodePrivateKey(key))(f), must(member.EncodePublicKey(public(key)))(f))
	f.Add(cert, ecKey)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		_, _ = member.LoadAuthority(a, b)
		_, _ = member.ParsePrivateKey(a)
		pub, err := member.ParsePublicKey(b)
		if err == nil && len(pub) != 32 {
			t.Fatalf("a public key of %d bytes", len(pub))
		}
	})
}
