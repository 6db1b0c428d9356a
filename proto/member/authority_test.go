package member_test

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"entente.example/entente/proto/member"
)

// issued is the certificate that an authority issues for an identity.
func issued(t testing.TB, a *member.Authority, ident member.Identity, now time.Time) *x509.Certificate {
	t.Helper()
	certPEM, _, err := a.Issue(ident, seeded("leaf"), now, time.Hour, []string{"node.example:7443", "127.0.0.1:7443", "::1", "other.example"})
	if err != nil {
		t.Fatal(err)
	}
	return must(member.ParseCertificates(certPEM))(t)[0]
}

func TestAnIssuedCertificateNamesOneIdentityForBothEnds(t *testing.T) {
	a := must(member.NewAuthority("XA", seeded("a"), noon(), 24*time.Hour))(t)
	ident := member.Identity{Member: "XA", Kind: member.KindOfficer, Name: "j.doe"}
	leaf := issued(t, a, ident, noon())
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != ident.String() {
		t.Errorf("names %v", leaf.URIs)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: noon(), KeyUsages: []x509.ExtKeyUsage{usage}})
		if err != nil {
			t.Error(err)
		}
	}
	if leaf.IsCA || len(leaf.DNSNames) != 2 || len(leaf.IPAddresses) != 2 {
		t.Errorf("authority %t, hosts %v, addresses %v", leaf.IsCA, leaf.DNSNames, leaf.IPAddresses)
	}
	if bytes.Contains(leaf.RawSubject, []byte("doe")) {
		t.Error("the subject repeats the name of an officer")
	}
}

func TestACertificateEndsWithItsAuthority(t *testing.T) {
	a := must(member.NewAuthority("XA", seeded("a"), noon(), 30*time.Minute))(t)
	leaf := issued(t, a, member.Identity{Member: "XA", Kind: member.KindNode}, noon())
	if !leaf.NotAfter.Equal(noon().Add(30 * time.Minute)) {
		t.Errorf("ends %s", leaf.NotAfter)
	}
	_, _, err := a.Issue(member.Identity{Member: "XA", Kind: member.KindNode}, seeded("l"), noon().Add(time.Hour), time.Hour, nil)
	wantError(t, err, nil, "end before it begins")
}

func TestAnAuthorityRefuses(t *testing.T) {
	a := must(member.NewAuthority("XA", seeded("a"), noon(), 24*time.Hour))(t)
	for name, ident := range map[string]member.Identity{
		"another member":               {Member: "XB", Kind: member.KindNode},
		"no kind":                      {Member: "XA", Name: "x"},
		"a node with a name":           {Member: "XA", Kind: member.KindNode, Name: "x"},
		"an officer without a name":    {Member: "XA", Kind: member.KindOfficer},
		"a name with a slash":          {Member: "XA", Kind: member.KindOfficer, Name: "a/b"},
		"a name that would be escaped": {Member: "XA", Kind: member.KindOfficer, Name: "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := a.Issue(ident, seeded("l"), noon(), time.Hour, nil)
			wantError(t, err, nil)
		})
	}
	_, err := member.NewAuthority("xa", seeded("a"), noon(), time.Hour)
	wantError(t, err, nil, "member id")
	_, err = member.NewAuthority("XA", bytes.NewReader(nil), noon(), time.Hour)
	wantError(t, err, nil, "randomness")
}

func TestAnAuthorityComesBackFromItsFiles(t *testing.T) {
	a := must(member.NewAuthority("XA", seeded("a"), noon(), 24*time.Hour))(t)
	certPEM, keyPEM, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	back := must(member.LoadAuthority(certPEM, keyPEM))(t)
	if back.Member() != "XA" || !back.Certificate().Equal(a.Certificate()) {
		t.Errorf("it comes back as that of %s", back.Member())
	}
	_, err = issued(t, back, member.Identity{Member: "XA", Kind: member.KindNode}, noon()).
		Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: noon()})
	if err != nil {
		t.Error(err)
	}
	other := must(member.NewAuthority("XB", seeded("b"), noon(), 24*time.Hour))(t)
	_, otherKey, err := other.PEM()
	if err != nil {
		t.Fatal(err)
	}
	leafPEM, leafKey, err := a.Issue(member.Identity{Member: "XA", Kind: member.KindNode}, seeded("l"), noon(), time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	signing := must(member.EncodePrivateKey(newKey(t, "k")))(t)
	for name, c := range map[string]struct {
		cert, key []byte
		says      string
	}{
		"another's key":            {certPEM, otherKey, "do not belong together"},
		"a leaf":                   {leafPEM, leafKey, "not one certificate of an authority"},
		"a signing key":            {certPEM, signing, "not an ECDSA key"},
		"no key":                   {certPEM, nil, "no PEM block"},
		"no certificate":           {nil, keyPEM, "there is none"},
		"two certificates at once": {append(bytes.Clone(certPEM), certPEM...), keyPEM, "not one certificate"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			_, err := member.LoadAuthority(c.cert, c.key)
			wantError(t, err, nil, c.says)
		})
	}
}
