package stream_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"math/big"
	"slices"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

type keyInput struct {
	PublicKey hexBytes `json:"public_key"`
	Seed      hexBytes `json:"seed,omitempty"`
}

type keyOutput struct {
	KeyID    hexBytes `json:"key_id"`
	Verifies bool     `json:"verifies,omitempty"`
}

func keysTopic() topic {
	return topic{
		file: "keys",
		about: "Ed25519 public keys and their ids. Where a seed (RFC 8032, section 5.1.5) is given, it leads to the public key. " +
			"The seed of every key in these files is SHA-256 of a label such as \"signing XA\" or \"root XA\".",
		cases: func(*testing.T) []vector {
			list := []vector{{"the zero seed of the examples", keyInput{hexBytes(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)), make([]byte, 32)}, ""}}
			for _, label := range []string{"signing XA", "signing XB", "root XA"} {
				key := vectorKey(label)
				list = append(list, vector{"the key of the label " + label, keyInput{hexBytes(vectorPublic(label)), hexBytes(key.Seed())}, ""})
			}
			one := append([]byte{1}, make([]byte, 31)...)
			signed := append(slices.Clone(one[:31]), 0x80)
			ones := bytes.Repeat([]byte{0xff}, 32)
			minus := append([]byte{0xec}, append(slices.Clone(ones[:30]), 0x7f)...)
			return append(list,
				vector{"a key of 31 bytes", keyInput{PublicKey: one[:31]}, "key-length"},
				vector{"the neutral point, for which anybody can sign", keyInput{PublicKey: one}, "small-order"},
				vector{"the neutral point with the sign bit set", keyInput{PublicKey: signed}, "small-order"},
				vector{"the point of order 2", keyInput{PublicKey: minus}, "small-order"},
				vector{"the point of order 4, all zero", keyInput{PublicKey: make([]byte, 32)}, "small-order"},
			)
		},
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[keyInput](input)
			if err != nil {
				return nil, err
			}
			// The one way in for a key from outside is its PEM form.
			text, err := member.EncodePublicKey(ed25519.PublicKey(in.PublicKey))
			if err != nil {
				return nil, err
			}
			key, err := member.ParsePublicKey(text)
			if err != nil {
				return nil, err
			}
			if len(in.Seed) > 0 && !key.Equal(ed25519.NewKeyFromSeed(in.Seed).Public()) {
				return nil, refusal("seed")
			}
			id := member.KeyID(key)
			return keyOutput{KeyID: id[:]}, nil
		},
	}
}

type identityInput struct {
	SPIFFEID string `json:"spiffe_id"`
}

type identityOutput struct {
	Member string `json:"member"`
	Kind   string `json:"kind"`
	Name   string `json:"name,omitempty"`
}

func identitiesTopic() topic {
	return topic{
		file:  "identities",
		about: "SPIFFE IDs: who a certificate names.",
		cases: func(*testing.T) []vector {
			list := []vector{
				{"a node", identityInput{"spiffe://xa.entente/node"}, ""},
				{"a system with a name", identityInput{"spiffe://xb.entente/system/case-files_2.1"}, ""},
				{"an officer of a member with hyphens and digits", identityInput{"spiffe://x-9.entente/officer/vera"}, ""},
			}
			for name, id := range map[string]string{
				"a node with a name":                     "spiffe://xa.entente/node/one",
				"a system without a name":                "spiffe://xa.entente/system",
				"a kind that does not exist":             "spiffe://xa.entente/chief/vera",
				"a name of two segments":                 "spiffe://xa.entente/officer/vera/two",
				"a trust domain in capitals":             "spiffe://XA.entente/node",
				"a trust domain of another federation":   "spiffe://xa.example/node",
				"a member that begins with a digit":      "spiffe://9x.entente/node",
				"a member with an underscore":            "spiffe://x_a.entente/node",
				"another scheme":                         "https://xa.entente/node",
				"a path that ends in a slash":            "spiffe://xa.entente/node/",
				"a name with a percent sign":             "spiffe://xa.entente/officer/v%20a",
				"a name of 65 characters":                "spiffe://xa.entente/officer/" + string(bytes.Repeat([]byte("v"), 65)),
				"a member of 33 characters":              "spiffe://" + string(bytes.Repeat([]byte("x"), 33)) + ".entente/node",
				"no kind at all":                         "spiffe://xa.entente",
				"a name of one dot, that is, a way back": "spiffe://xa.entente/officer/.",
			} {
				list = append(list, vector{name, identityInput{id}, "identity"})
			}
			slices.SortFunc(list[3:], func(a, b vector) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
			return list
		},
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[identityInput](input)
			if err != nil {
				return nil, err
			}
			identity, err := member.ParseIdentity(in.SPIFFEID)
			if err != nil {
				return nil, err
			}
			return identityOutput{string(identity.Member), identity.Kind.String(), identity.Name}, nil
		},
	}
}

type documentInput struct {
	Type     string      `json:"type"`
	Document hexBytes    `json:"document"`
	Keys     []memberKey `json:"keys"`
}

type documentOutput struct {
	Signer string   `json:"signer"`
	Body   hexBytes `json:"body"`
}

func documentsTopic() topic {
	return topic{
		file:  "documents",
		about: "Signed documents with exactly one signature: type is the type that the reader expects, keys are those that count for a member.",
		cases: documentCases,
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[documentInput](input)
			if err != nil {
				return nil, err
			}
			doc, err := decoded(in.Document, &ententev1.SignedDocument{})
			if err != nil {
				return nil, err
			}
			signer, err := member.VerifyDocument(doc, in.Type, keysOf(in.Keys))
			return documentOutput{string(signer), doc.GetBody()}, err
		},
	}
}

func documentCases(t *testing.T) []vector {
	body := []byte("a body is any bytes")
	edited := func(edit func(*ententev1.SignedDocument)) documentInput {
		doc := member.SignDocument("receipt", body, "XA", vectorKey("signing XA"))
		edit(doc)
		return documentInput{"receipt", encoded(t, doc), []memberKey{signingKey("XA"), signingKey("XB")}}
	}
	sound := edited(func(*ententev1.SignedDocument) {})
	rotated := sound
	rotated.Keys = []memberKey{{"XA", hexBytes(vectorPublic("new signing XA"))}, signingKey("XA")}
	strange := sound
	strange.Keys = []memberKey{signingKey("XB")}
	return []vector{
		{"signed by XA", sound, ""},
		{"an empty body", edited(func(d *ententev1.SignedDocument) {
			d.Body, d.Signatures = nil, member.SignDocument("receipt", nil, "XA", vectorKey("signing XA")).GetSignatures()
		}), ""},
		{"two keys count and the older one signed", rotated, ""},
		{"of another type than expected", edited(func(d *ententev1.SignedDocument) { d.Type = "digest" }), "type"},
		{"signed as another type", edited(func(d *ententev1.SignedDocument) {
			d.Signatures = member.SignDocument("digest", body, "XA", vectorKey("signing XA")).GetSignatures()
		}), "signature"},
		{"a flipped bit in the body", edited(func(d *ententev1.SignedDocument) { d.Body = flipped(body, 3) }), "signature"},
		{"a flipped bit in the signature", edited(func(d *ententev1.SignedDocument) {
			d.Signatures[0].Signature = flipped(d.GetSignatures()[0].GetSignature(), 9)
		}), "signature"},
		{"a signature whose second half is not reduced", edited(func(d *ententev1.SignedDocument) {
			d.Signatures[0].Signature = unreduced(d.GetSignatures()[0].GetSignature())
		}), "signature"},
		{"no signature", edited(func(d *ententev1.SignedDocument) { d.Signatures = nil }), "signature"},
		{"two signatures where one is meant", edited(func(d *ententev1.SignedDocument) {
			member.AddSignature(d, "XB", vectorKey("signing XB"))
		}), "signature"},
		{"a key id of another key", edited(func(d *ententev1.SignedDocument) {
			id := member.KeyID(vectorPublic("signing XB"))
			d.Signatures[0].KeyId = id[:]
		}), "signature"},
		{"XB's signature in the name of XA", edited(func(d *ententev1.SignedDocument) {
			d.Signatures = member.SignDocument("receipt", body, "XB", vectorKey("signing XB")).GetSignatures()
			d.Signatures[0].Member = "XA"
		}), "signature"},
		{"a signature of 63 bytes", edited(func(d *ententev1.SignedDocument) {
			d.Signatures[0].Signature = d.GetSignatures()[0].GetSignature()[:63]
		}), "signature"},
		{"a signer whose name is not that of a member", edited(func(d *ententev1.SignedDocument) { d.Signatures[0].Member = "xa" }), "signature"},
		{"a signer without a key that counts", strange, "signature"},
	}
}

// unreduced adds the order of the group to the second half of a signature: the same number, another encoding.
func unreduced(signature []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(signature[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return append(slices.Clone(signature[:32]), sum...)
}

type headerInput struct {
	Header hexBytes `json:"header"`
}

type headerOutput struct {
	Leaf           hexBytes `json:"leaf"`
	Type           int32    `json:"type"`
	Sequence       uint64   `json:"sequence"`
	Target         hexBytes `json:"target,omitempty"`
	TargetSequence uint64   `json:"target_sequence,omitempty"`
	Reason         uint8    `json:"reason,omitempty"`
	Commitment     hexBytes `json:"commitment,omitempty"`
	Known          bool     `json:"known"`
	HasPayload     bool     `json:"has_payload"`
}

func headersTopic() topic {
	return topic{
		file:  "headers",
		about: "Headers by themselves, and their leaf hashes. What its neighbours demand of a header is in pulls.json.",
		cases: headerCases,
		judge: func(input json.RawMessage) (any, error) {
			in, err := read[headerInput](input)
			if err != nil {
				return nil, err
			}
			h, err := stream.ParseHeader(in.Header)
			if err != nil {
				return nil, err
			}
			leaf := stream.LeafHash(in.Header)
			out := headerOutput{Leaf: leaf[:], Type: int32(h.Type), Sequence: h.Sequence, TargetSequence: h.TargetSequence, Reason: h.Reason,
				Known: h.Known(), HasPayload: h.HasPayload()}
			if h.Target != (stream.ID{}) {
				out.Target = h.Target[:]
			}
			if h.Commitment != (stream.Hash{}) {
				out.Commitment = h.Commitment[:]
			}
			return out, nil
		},
	}
}

func headerCases(*testing.T) []vector {
	id := stream.ID{0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	commitment := stream.Commit(bytes.Repeat([]byte{7}, stream.SaltSize), []byte("a payload"))
	release := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE, Sequence: 2, Commitment: commitment}
	withdrawal := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Sequence: 3, Target: id, TargetSequence: 2, Reason: 3}
	closing := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_CLOSING, Sequence: 4}
	edited := func(h stream.Header, edit func(*stream.Header)) headerInput {
		edit(&h)
		return headerInput{h.Append(nil)}
	}
	same := func(*stream.Header) {}
	bytesOf := func(edit func([]byte) []byte) headerInput { return headerInput{edit(release.Append(nil))} }
	return []vector{
		{"an opening", edited(release, func(h *stream.Header) { h.Type, h.Sequence = 1, 1 }), ""},
		{"a release", edited(release, same), ""},
		{"a withdrawal", edited(withdrawal, same), ""},
		{"a withdrawal for a reason of a newer version", edited(withdrawal, func(h *stream.Header) { h.Reason = 255 }), ""},
		{"a closing", edited(closing, same), ""},
		{"a grant", edited(release, func(h *stream.Header) { h.Type = ententev1.EntryType_ENTRY_TYPE_GRANT }), ""},
		{"a type of a newer version with a payload", edited(release, func(h *stream.Header) { h.Type = 200 }), ""},
		{"a type of a newer version that uses every field", edited(withdrawal, func(h *stream.Header) { h.Type, h.Commitment = 255, commitment }), ""},
		{"a sequence of eight bytes", edited(release, func(h *stream.Header) { h.Sequence = 0x0102030405060708 }), ""},
		{"66 bytes", bytesOf(func(b []byte) []byte { return b[:66] }), "length"},
		{"68 bytes", bytesOf(func(b []byte) []byte { return append(b, 0) }), "length"},
		{"no bytes", bytesOf(func([]byte) []byte { return []byte{} }), "length"},
		{"format 2", bytesOf(func(b []byte) []byte { b[0] = 2; return b }), "format"},
		{"entry type 0", bytesOf(func(b []byte) []byte { b[1] = 0; return b }), "type"},
		{"sequence 0", edited(release, func(h *stream.Header) { h.Sequence = 0 }), "sequence"},
		{"a release with a target", edited(release, func(h *stream.Header) { h.Target = id }), "target"},
		{"a release with a target sequence", edited(release, func(h *stream.Header) { h.TargetSequence = 2 }), "target"},
		{"a release with a reason", edited(release, func(h *stream.Header) { h.Reason = 1 }), "target"},
		{"a release without a commitment", edited(release, func(h *stream.Header) { h.Commitment = stream.Hash{} }), "commitment"},
		{"a closing with a commitment", edited(closing, func(h *stream.Header) { h.Commitment = commitment }), "commitment"},
		{"a withdrawal with a commitment", edited(withdrawal, func(h *stream.Header) { h.Commitment = commitment }), "commitment"},
		{"a withdrawal without a target", edited(withdrawal, func(h *stream.Header) { h.Target = stream.ID{} }), "target"},
		{"a withdrawal of an opening", edited(withdrawal, func(h *stream.Header) { h.TargetSequence = 1 }), "target"},
		{"a withdrawal without a reason", edited(withdrawal, func(h *stream.Header) { h.Reason = 0 }), "reason"},
	}
}
