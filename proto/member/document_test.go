package member_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestSignatureIsOverPrefixTypeZeroAndBody(t *testing.T) {
	key := newKey(t, "k")
	doc := member.SignDocument("receipt", []byte("body"), "XA", key)
	if !ed25519.Verify(public(key), []byte("entente/v1/receipt\x00body"), doc.GetSignatures()[0].GetSignature()) {
		t.Error("the signature is over other bytes than the contract says")
	}
	sum := sha256.Sum256(public(key))
	if !bytes.Equal(doc.GetSignatures()[0].GetKeyId(), sum[:8]) {
		t.Error("the key id is not the first 8 bytes of SHA-256 of the public key")
	}
}

func TestVerifyDocument(t *testing.T) {
	key, other, retired := newKey(t, "k"), newKey(t, "other"), newKey(t, "retired")
	keys := func(id member.ID) []ed25519.PublicKey {
		switch id {
		case "XA":
			return []ed25519.PublicKey{public(retired), public(key)}
		case "XB":
			return []ed25519.PublicKey{public(other)}
		case "XC":
			return []ed25519.PublicKey{{1, 2, 3}}
		}
		return nil
	}
	sign := func() *ententev1.SignedDocument { return member.SignDocument("receipt", []byte("body"), "XA", key) }
	signer, err := member.VerifyDocument(sign(), "receipt", keys)
	if err != nil || signer != "XA" {
		t.Fatalf("a sound document: signer %q, error %v", signer, err)
	}
	for name, c := range map[string]struct {
		edit func(*ententev1.SignedDocument)
		says string
	}{
		"another type expected":         {func(d *ententev1.SignedDocument) { d.Type = "digest" }, "another type"},
		"a changed body":                {func(d *ententev1.SignedDocument) { d.Body = []byte("bodY") }, "over other bytes"},
		"no signature":                  {func(d *ententev1.SignedDocument) { d.Signatures = nil }, "0 signatures"},
		"two signatures":                {func(d *ententev1.SignedDocument) { member.AddSignature(d, "XB", other) }, "2 signatures"},
		"a key of another member":       {func(d *ententev1.SignedDocument) { d.Signatures[0].Member = "XB" }, "no key of XB"},
		"a member without keys":         {func(d *ententev1.SignedDocument) { d.Signatures[0].Member = "XD" }, "no key of XD"},
		"a key of a wrong length":       {func(d *ententev1.SignedDocument) { d.Signatures[0].Member = "XC" }, "no key of XC"},
		"a signer that is no member id": {func(d *ententev1.SignedDocument) { d.Signatures[0].Member = "xa" }, "signer"},
		"another key id":                {func(d *ententev1.SignedDocument) { d.Signatures[0].KeyId[0]++ }, "no key of XA"},
		"a long key id":                 {func(d *ententev1.SignedDocument) { d.Signatures[0].KeyId = make([]byte, 900) }, "no key of XA"},
		"a signature cut short":         {func(d *ententev1.SignedDocument) { d.Signatures[0].Signature = d.Signatures[0].Signature[:63] }, "not of 64 bytes"},
		"a changed signature":           {func(d *ententev1.SignedDocument) { d.Signatures[0].Signature[5] ^= 1 }, "over other bytes"},
		"a body beyond the limit":       {func(d *ententev1.SignedDocument) { d.Body = make([]byte, 1_000_001) }, "longer than"},
		"a missing signature message":   {func(d *ententev1.SignedDocument) { d.Signatures[0] = nil }, "signer"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			doc := sign()
			c.edit(doc)
			_, err := member.VerifyDocument(doc, "receipt", keys)
			wantError(t, err, nil, c.says)
		})
	}
	_, err = member.VerifyDocument(nil, "receipt", keys)
	wantError(t, err, member.ErrBadSignature)
}

func TestASignatureForOneTypeDoesNotCountForAnother(t *testing.T) {
	key := newKey(t, "k")
	doc := member.SignDocument("receipt", []byte("body"), "XA", key)
	doc.Type = "digest"
	_, err := member.VerifyDocument(doc, "digest", func(member.ID) []ed25519.PublicKey { return []ed25519.PublicKey{public(key)} })
	wantError(t, err, member.ErrBadSignature)
}

func TestADocumentStillVerifiesAfterItTravelled(t *testing.T) {
	key := newKey(t, "k")
	travelled := &ententev1.SignedDocument{}
	err := proto.Unmarshal(encode(t, member.SignDocument("receipt", []byte{0xff, 0}, "XA", key)), travelled)
	if err != nil {
		t.Fatal(err)
	}
	_, err = member.VerifyDocument(travelled, "receipt", func(member.ID) []ed25519.PublicKey { return []ed25519.PublicKey{public(key)} })
	if err != nil {
		t.Error(err)
	}
}

func TestPEMOfKeys(t *testing.T) {
	key := newKey(t, "k")
	private := must(member.EncodePrivateKey(key))(t)
	pub := must(member.EncodePublicKey(public(key)))(t)
	if !must(member.ParsePrivateKey(private))(t).Equal(key) || !must(member.ParsePublicKey(pub))(t).Equal(public(key)) {
		t.Fatal("a key does not come back as it was written")
	}
	authority := must(member.NewAuthority("XA", seeded("a"), noon(), 1e12))(t)
	certificate, ecKey, err := authority.PEM()
	if err != nil {
		t.Fatal(err)
	}
	small := must(member.EncodePublicKey(make([]byte, 32)))(t)
	for name, c := range map[string]struct{ read func() error }{
		"nothing is no private key":            {func() error { _, err := member.ParsePrivateKey(nil); return err }},
		"a public key is no private key":       {func() error { _, err := member.ParsePrivateKey(pub); return err }},
		"an ECDSA key is no signing key":       {func() error { _, err := member.ParsePrivateKey(ecKey); return err }},
		"two keys are not one":                 {func() error { _, err := member.ParsePrivateKey(append(private, private...)); return err }},
		"a private key is no public key":       {func() error { _, err := member.ParsePublicKey(private); return err }},
		"a point of small order is no key":     {func() error { _, err := member.ParsePublicKey(small); return err }},
		"nothing is no certificate":            {func() error { _, err := member.ParseCertificates(nil); return err }},
		"a certificate with a key is too much": {func() error { _, err := member.ParseCertificates(append(certificate, ecKey...)); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.read()
			wantError(t, err, nil)
			if strings.Contains(err.Error(), "-----") {
				t.Error("the error repeats the text")
			}
		})
	}
}

func TestANewKeyNeedsAllItsRandomness(t *testing.T) {
	_, err := member.NewSigningKey(bytes.NewReader(make([]byte, 31)))
	wantError(t, err, nil, "randomness")
}
