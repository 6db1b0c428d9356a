package replica

import (
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// documentDigest is the type of a signed digest (SignedDocument.type).
const documentDigest = "digest"

// signedDigest is an owner's word on all that it shares with this node.
type signedDigest struct {
	hash stream.Hash
	at   time.Time
}

// verifyDigest checks a signed digest: by the owner, for this node, and not from the future. The time of one that is refused
// only for being from the future is answered with the refusal.
func verifyDigest(doc *ententev1.SignedDocument, owner, self member.ID, keys member.Keys, now time.Time) (signedDigest, error) {
	signer, err := member.VerifyDocument(doc, documentDigest, keys)
	if err != nil {
		return signedDigest{}, &Fault{Rule: RuleDigest, Err: err}
	}
	body := &ententev1.HeadsDigest{}
	err = proto.Unmarshal(doc.GetBody(), body)
	if err != nil { // the parser's own text may quote the input
		return signedDigest{}, &Fault{Rule: RuleDigest}
	}
	if signer != owner || body.GetOwner() != string(owner) || body.GetReader() != string(self) {
		return signedDigest{}, &Fault{Rule: RuleDigest}
	}
	if len(body.GetDigest()) != len(stream.Hash{}) || body.GetSignedAt() == nil || !body.GetSignedAt().IsValid() {
		return signedDigest{}, &Fault{Rule: RuleDigest}
	}
	at := body.GetSignedAt().AsTime()
	if at.After(now.Add(maxAhead)) {
		return signedDigest{at: at}, &Fault{Rule: RuleDigestAhead}
	}
	return signedDigest{hash: stream.Hash(body.GetDigest()), at: at}, nil
}
