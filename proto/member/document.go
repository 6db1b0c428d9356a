package member

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// The types of document that this package makes and reads. The type is part of what is signed, so a signature over one
// cannot be passed off as a signature over another.
const (
	TypeGenesis = "roster-genesis"
	TypeChange  = "roster-change"
	TypeEntry   = "roster-entry"
	TypeRoster  = "roster"
	TypeProject = "project"
)

const (
	// signedPrefix opens the bytes that are signed, before type, zero byte and body.
	signedPrefix = "entente/v1/"
	// maxBody is the size limit of the body of a document in bytes, as in the field rules of the contract.
	maxBody = 1_000_000
	// maxSignatures is the limit of signatures on a document, as in the field rules of the contract.
	maxSignatures = 64
)

// ErrBadSignature is wrapped by every refusal of a document for its signatures: none, too many, by an unknown key, by
// the wrong member, or over other bytes.
var ErrBadSignature = errors.New("signature does not count")

// KeyID is the short name of a key in signatures: the first 8 bytes of SHA-256 of the public key. It finds a key, it
// does not prove one.
func KeyID(pub ed25519.PublicKey) [8]byte {
	sum := sha256.Sum256(pub)
	return [8]byte(sum[:8])
}

// SignDocument makes a document with one signature. The body is kept and signed as given.
func SignDocument(typ string, body []byte, signer ID, key ed25519.PrivateKey) *ententev1.SignedDocument {
	doc := &ententev1.SignedDocument{Type: typ, Body: body}
	AddSignature(doc, signer, key)
	return doc
}

// AddSignature adds one more signature, for the documents that a quorum signs. It does not look whether the signer's
// counts: verification does.
func AddSignature(doc *ententev1.SignedDocument, signer ID, key ed25519.PrivateKey) {
	public := key.Public().(ed25519.PublicKey)
	id := KeyID(public)
	doc.Signatures = append(doc.Signatures, &ententev1.Signature{
		Member:    string(signer),
		KeyId:     id[:],
		Signature: ed25519.Sign(key, signedBytes(doc.GetType(), doc.GetBody())),
	})
}

// Keys gives the keys whose signatures count for a member; none for a member that is not known.
type Keys func(ID) []ed25519.PublicKey

// VerifyDocument checks a document of the given type with exactly one signature and says who signed it. The signature is
// checked over the body as received. Whether that member is the right one to sign is for the caller to judge.
func VerifyDocument(doc *ententev1.SignedDocument, typ string, keys Keys) (ID, error) {
	if n := len(doc.GetSignatures()); n != 1 {
		return "", fmt.Errorf("verify %s document: %w: it has %d signatures instead of one", typ, ErrBadSignature, n)
	}
	signers, err := verifySignatures(doc, typ, keys)
	if err != nil {
		return "", err
	}
	return signers[0], nil
}

// verifySignatures checks every signature of a document and gives the signers in the order of their signatures. One bad
// signature spoils the document, and a member that signs twice does too: so a quorum can be counted by length.
func verifySignatures(doc *ententev1.SignedDocument, typ string, keys Keys) ([]ID, error) {
	if doc.GetType() != typ {
		return nil, fmt.Errorf("verify %s document: it is of another type", typ)
	}
	if len(doc.GetBody()) > maxBody {
		return nil, fmt.Errorf("verify %s document: its body is longer than %d bytes", typ, maxBody)
	}
	if len(doc.GetSignatures()) > maxSignatures {
		return nil, fmt.Errorf("verify %s document: %w: more than %d of them", typ, ErrBadSignature, maxSignatures)
	}
	message := signedBytes(typ, doc.GetBody())
	signers := make([]ID, 0, len(doc.GetSignatures()))
	seen := make(map[ID]bool, len(doc.GetSignatures()))
	for _, signature := range doc.GetSignatures() {
		signer, err := verifySignature(signature, message, keys)
		if err != nil {
			return nil, fmt.Errorf("verify %s document: %w", typ, err)
		}
		if seen[signer] {
			return nil, fmt.Errorf("verify %s document: %w: %s signed twice", typ, ErrBadSignature, signer)
		}
		seen[signer] = true
		signers = append(signers, signer)
	}
	return signers, nil
}

func verifySignature(signature *ententev1.Signature, message []byte, keys Keys) (ID, error) {
	signer, err := ParseID(signature.GetMember())
	if err != nil {
		return "", fmt.Errorf("%w: signer: %w", ErrBadSignature, err)
	}
	if len(signature.GetSignature()) != ed25519.SignatureSize {
		return "", fmt.Errorf("%w: that of %s is not of %d bytes", ErrBadSignature, signer, ed25519.SignatureSize)
	}
	found := false
	for _, key := range keys(signer) {
		id := KeyID(key)
		if len(key) != ed25519.PublicKeySize || !bytes.Equal(id[:], signature.GetKeyId()) {
			continue
		}
		found = true
		if ed25519.Verify(key, message, signature.GetSignature()) {
			return signer, nil
		}
	}
	if !found {
		return "", fmt.Errorf("%w: no key of %s that counts here has id %s", ErrBadSignature, signer,
			hex.EncodeToString(signature.GetKeyId()[:min(8, len(signature.GetKeyId()))]))
	}
	return "", fmt.Errorf("%w: that of %s is over other bytes", ErrBadSignature, signer)
}

// signedBytes is what a signature covers: the prefix and type separate domains, and the zero byte, which no type holds,
// keeps type and body apart.
func signedBytes(typ string, body []byte) []byte {
	message := make([]byte, 0, len(signedPrefix)+len(typ)+1+len(body))
	message = append(message, signedPrefix...)
	message = append(message, typ...)
	message = append(message, 0)
	return append(message, body...)
}

// encode gives the body of a new document. Bodies are encoded once, here, and carried as bytes ever after.
func encode(m proto.Message) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("encode %s: longer than %d bytes", m.ProtoReflect().Descriptor().Name(), maxBody)
	}
	return body, nil
}

// decode reads the body of a document of the given type. The parser's own error may quote the input: it is left out.
func decode(doc *ententev1.SignedDocument, typ string, into proto.Message) error {
	if doc.GetType() != typ {
		return fmt.Errorf("read %s document: it is of another type", typ)
	}
	if len(doc.GetBody()) > maxBody {
		return fmt.Errorf("read %s document: its body is longer than %d bytes", typ, maxBody)
	}
	err := proto.Unmarshal(doc.GetBody(), into)
	if err != nil {
		return fmt.Errorf("read %s document: its body is no valid message", typ)
	}
	return nil
}

// checkTime refuses a missing time and one out of range.
func checkTime(field string, at *timestamppb.Timestamp) error {
	if at == nil {
		return fmt.Errorf("%s is missing", field)
	}
	if !at.IsValid() {
		return fmt.Errorf("%s is out of range", field)
	}
	return nil
}
