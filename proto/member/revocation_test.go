package member_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"entente.example/entente/proto/member"
)

// leafOf is the certificate that a source gives.
func leafOf(t *testing.T, source member.CertificateSource) *x509.Certificate {
	t.Helper()
	pair := must(source())(t)
	return must(x509.ParseCertificate(pair.Certificate[0]))(t)
}

// revoke makes the next list of a member.
func (f *federation) revoke(id member.ID, before []byte, certificates ...*x509.Certificate) []byte {
	f.t.Helper()
	var serials []*big.Int
	for _, c := range certificates {
		serials = append(serials, c.SerialNumber)
	}
	return must(f.parties[id].authority.Revoke(before, serials, rand.Reader, f.now, time.Hour))(f.t)
}

func TestAListGrowsAndNeverForgets(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	first, second := leafOf(t, f.certificate(officer("XA"))), leafOf(t, f.certificate(node("XA")))
	one := must(roster.ReadRevocationList("XA", f.revoke("XA", nil, first)))(t)
	two := must(roster.ReadRevocationList("", f.revoke("XA", one.DER(), second, first)))(t)
	if one.Number().Cmp(big.NewInt(1)) != 0 || two.Number().Cmp(big.NewInt(2)) != 0 || two.Len() != 2 || two.Member() != "XA" {
		t.Errorf("numbers %s and %s, %d certificates of %s", one.Number(), two.Number(), two.Len(), two.Member())
	}
	if !one.Revokes(first) || one.Revokes(second) || !two.Revokes(first) || !two.Revokes(second) {
		t.Error("a list revokes another certificate than it was made for")
	}
	other := must(roster.ReadRevocationList("XA", f.revoke("XA", one.DER())))(t)
	for _, c := range []struct {
		name      string
		is, after *member.RevocationList
		want      error
	}{
		{"nothing is held", one, nil, nil},
		{"a newer one", two, one, nil},
		{"the same", two, two, nil},
		{"an older one", one, two, member.ErrRevocationsOlder},
		{"another of the same number", other, two, member.ErrRevocationsFork},
	} {
		err := c.is.Succeeds(c.after)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	count, all, err := f.parties["XA"].authority.Listed(two.DER(), []*big.Int{first.SerialNumber, big.NewInt(77)})
	if err != nil || count != 2 || all {
		t.Errorf("listed: %d, all %t, %v", count, all, err)
	}
}

func TestAListSpeaksOnlyOfItsOwnAuthoritysCertificates(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	victim := leafOf(t, f.certificate(node("XA")))
	list := must(roster.ReadRevocationList("XB", f.revoke("XB", nil, victim)))(t)
	if list.Revokes(victim) {
		t.Error("XB revokes a certificate of XA")
	}
}

func TestAListThatIsNotSoundIsRefused(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	a := f.parties["XA"].authority
	signed := func(edit func(*x509.RevocationList)) []byte {
		template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: f.now, NextUpdate: f.now.Add(time.Hour)}
		edit(template)
		return must(x509.CreateRevocationList(rand.Reader, template, a.Certificate(), a.PrivateKey()))(t)
	}
	sound := f.revoke("XA", nil, leafOf(t, f.certificate(officer("XA"))))
	flipped := bytes.Clone(sound)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		id   member.ID
		der  []byte
		want string
	}{
		"of another member than it is given for": {"XB", sound, "not signed by an authority that the roster names for XB"},
		"by a member that is none":               {"", f.revoke("XD", nil), "not signed by an authority that the roster names"},
		"with a flipped bit":                     {"XA", flipped, "not signed"},
		"cut off":                                {"XA", sound[:len(sound)-1], "does not parse"},
		"of nothing":                             {"XA", nil, "does not parse"},
		"a list of changes only": {"XA", signed(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
		}), "only a part"},
		"an entry for another issuer": {"XA", signed(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(4), RevocationTime: f.now,
				ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{48, 0}}}}}
		}), "entry 1"},
		"too large": {"XA", make([]byte, member.MaxRevocationList+1), "larger than"},
	} {
		_, err := roster.ReadRevocationList(c.id, c.der)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a list %s: %v, want %q in it", name, err, c.want)
		}
	}
	late := signed(func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = f.now.Add(-2*time.Hour), f.now.Add(-time.Hour)
	})
	_, err := roster.ReadRevocationList("XA", late)
	if err != nil {
		t.Errorf("a list past its next update: %v, want it to go on counting", err)
	}
}

func TestAnAuthorityRefusesToMakeAListThatOthersRefuse(t *testing.T) {
	f := live(t)
	a := f.parties["XA"].authority
	big21 := new(big.Int).Lsh(big.NewInt(1), 20*8)
	many := []*big.Int{}
	for i := range 9000 {
		many = append(many, new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 120), big.NewInt(int64(i))))
	}
	ahead := must(a.Revoke(nil, nil, rand.Reader, f.now.Add(time.Hour), time.Hour))(t)
	for name, c := range map[string]struct {
		before  []byte
		serials []*big.Int
		want    string
	}{
		"a serial number of 0":             {nil, []*big.Int{{}}, "not sound"},
		"a serial number that is too long": {nil, []*big.Int{big21}, "not sound"},
		"a list of another authority":      {f.revoke("XB", nil), nil, "not signed by this authority of XA"},
		"bytes that are no list":           {[]byte("list"), nil, "does not parse"},
		"a list from the future":           {ahead, nil, "check the clock"},
		"more than a list may hold":        {nil, many, "replace the authority"},
	} {
		_, err := a.Revoke(c.before, c.serials, rand.Reader, f.now, time.Hour)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

func TestARevokedCertificateOpensNoConnection(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	serverCert, callerCert := f.certificate(node("XA")), f.certificate(node("XB"))
	connects := func(listed ...member.CertificateSource) outcome {
		var gone []*member.RevocationList
		for _, source := range listed {
			leaf := leafOf(t, source)
			id := must(member.ParseIdentity(leaf.URIs[0].String()))(t).Member
			gone = append(gone, must(roster.ReadRevocationList(id, f.revoke(id, nil, leaf)))(t))
		}
		revoked := func(c *x509.Certificate) bool {
			return slices.ContainsFunc(gone, func(l *member.RevocationList) bool { return l.Revokes(c) })
		}
		server := member.RefuseRevoked(member.ServerTLS(serverCert, always(roster), "XA"), revoked)
		client := member.RefuseRevoked(member.NodeClientTLS(callerCert, always(roster), "XA"), revoked)
		if len(gone) == 1 && gone[0].Member() == "XB" {
			client = bare(callerCert, func(c *tls.Config) {}) // so that only the server can refuse
		}
		return connect(t, server, client)
	}
	out := connects()
	if out.serverErr != nil || out.clientErr != nil {
		t.Fatalf("nothing is revoked: server %v, client %v", out.serverErr, out.clientErr)
	}
	connects(callerCert).wantRefused(t, member.ErrRevoked, "has been revoked")
	connects(serverCert).wantRefused(t, member.ErrRevoked, "has been revoked")
}

func TestAListIsReadAsPEMAndAsDER(t *testing.T) {
	f := live(t)
	der := f.revoke("XA", nil)
	for name, text := range map[string][]byte{"PEM": member.EncodeRevocationList(der), "DER": der} {
		got, err := member.DecodeRevocationList(text)
		if err != nil || !bytes.Equal(got, der) {
			t.Errorf("%s: %v", name, err)
		}
	}
	certificate := member.EncodeCertificate(f.parties["XA"].authority.Certificate())
	for name, text := range map[string][]byte{"a certificate": certificate, "nothing": nil, "two lists": append(member.EncodeRevocationList(der), member.EncodeRevocationList(der)...)} {
		_, err := member.DecodeRevocationList(text)
		if err == nil {
			t.Errorf("%s was read as a list", name)
		}
	}
}

func TestACallerFollowsTheAuthoritiesOfItsMember(t *testing.T) {
	f := live(t)
	roster := f.verified(f.roster())
	pool := x509.NewCertPool()
	server := member.ServerTLS(f.certificate(node("XA")), always(roster), "XA")
	client := member.OwnClientTLSFrom(f.certificate(officer("XA")), func() (*x509.CertPool, error) { return pool, nil }, "XA")
	connect(t, server, client).wantRefused(t, member.ErrWrongPeer, "unknown authority")
	pool = f.parties["XA"].authority.Pool()
	out := connect(t, server, client)
	if out.serverErr != nil || out.clientErr != nil {
		t.Errorf("with the new authority: server %v, client %v", out.serverErr, out.clientErr)
	}
	broken := errors.New("no file")
	client = member.OwnClientTLSFrom(f.certificate(officer("XA")), func() (*x509.CertPool, error) { return nil, broken }, "XA")
	connect(t, server, client).wantRefused(t, broken, "")
}

// FuzzReadRevocationList feeds bytes of a stranger: whatever is accepted is what an authority signed.
func FuzzReadRevocationList(f *testing.F) {
	fed := newFederation(f, noon())
	roster := fed.verified(fed.roster())
	list, err := fed.parties["XA"].authority.Revoke(nil, []*big.Int{big.NewInt(5)}, rand.Reader, noon(), time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(list)
	signed := func(der []byte) []byte {
		parsed, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil
		}
		return parsed.RawTBSRevocationList
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := roster.ReadRevocationList("XA", in)
		if err == nil && !bytes.Equal(signed(got.DER()), signed(list)) {
			t.Fatal("a list was accepted that nobody signed")
		}
	})
}
