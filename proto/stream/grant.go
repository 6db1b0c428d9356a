package stream

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// TypeGrant is the type of the documents by which an owner opens a stream to a further reader.
const TypeGrant = "grant"

// Grant opens a stream to a reader that its opening does not name.
type Grant struct {
	// Number is that of the grant in its stream, from 1.
	Number uint64
	// Reader is who comes in.
	Reader member.ID
	// Time is the owner's clock at signing.
	Time time.Time
}

// SignGrant makes the document of a grant for a stream of owner.
func SignGrant(owner member.ID, id ID, g Grant, key ed25519.PrivateKey) (*ententev1.SignedDocument, error) {
	err := g.check(owner)
	if err != nil {
		return nil, fmt.Errorf("sign grant for stream %s: %w", id, err)
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(&ententev1.StreamGrant{
		Owner: string(owner), StreamId: id[:], Number: g.Number, Reader: string(g.Reader), GrantedAt: timestamppb.New(g.Time),
	})
	if err != nil {
		return nil, fmt.Errorf("sign grant for stream %s: %w", id, err)
	}
	return member.SignDocument(TypeGrant, body, owner, key), nil
}

// OpenGrant verifies the document of a grant for this owner's stream: signed by the owner alone, with a key that counts
// now.
func OpenGrant(doc *ententev1.SignedDocument, owner member.ID, id ID, keys []ed25519.PublicKey) (Grant, error) {
	_, err := member.VerifyDocument(doc, TypeGrant, func(signer member.ID) []ed25519.PublicKey {
		if signer != owner {
			return nil
		}
		return keys
	})
	if err != nil {
		return Grant{}, fmt.Errorf("open grant for stream %s of %s: %w", id, owner, err)
	}
	return ParseGrant(doc, owner, id)
}

// ParseGrant reads a grant that stands in the stream itself, where the owner's checkpoint vouches for it: the key that
// signed the document may have been rotated out long since.
func ParseGrant(doc *ententev1.SignedDocument, owner member.ID, id ID) (Grant, error) {
	g, err := parseGrant(doc, owner, id)
	if err != nil {
		return Grant{}, fmt.Errorf("read grant for stream %s of %s: %w", id, owner, err)
	}
	return g, nil
}

func parseGrant(doc *ententev1.SignedDocument, owner member.ID, id ID) (Grant, error) {
	body := &ententev1.StreamGrant{}
	if doc.GetType() != TypeGrant {
		return Grant{}, errors.New("the document is of another type")
	}
	err := proto.Unmarshal(doc.GetBody(), body)
	if err != nil {
		return Grant{}, errors.New("the body is not a StreamGrant") // the library's text may quote content
	}
	if body.GetOwner() != string(owner) || string(body.GetStreamId()) != string(id[:]) {
		return Grant{}, errors.New("it is for another stream")
	}
	if body.GetGrantedAt().CheckValid() != nil {
		return Grant{}, errors.New("granted_at is not a time")
	}
	g := Grant{Number: body.GetNumber(), Reader: member.ID(body.GetReader()), Time: body.GetGrantedAt().AsTime()}
	return g, g.check(owner)
}

func (g Grant) check(owner member.ID) error {
	_, err := member.ParseID(string(g.Reader))
	if err != nil {
		return errors.New("its reader is not a member")
	}
	if g.Reader == owner {
		return errors.New("its reader is the owner")
	}
	if g.Number == 0 {
		return errors.New("grants are numbered from 1")
	}
	return nil
}

// Grant shows the Reader the grant by which its member reads the stream, before the opening, which does not name it, comes.
// The error is a *SenderError: a document that is not the owner's, or for somebody else.
func (r *Reader) Grant(doc *ententev1.SignedDocument, keys []ed25519.PublicKey) error {
	g, err := OpenGrant(doc, r.owner, r.id, keys)
	if err != nil {
		return r.fault(0, RuleGrant, err)
	}
	if g.Reader != r.self {
		return r.fault(0, RuleGrant, errors.New("it is for another reader"))
	}
	r.granted = true
	return nil
}

// Granted says whether self reads the stream by a grant: its opening, and perhaps a stream before it whose entries it takes
// back, do not name self.
func (r *Reader) Granted() bool { return r.granted }

// ResumeGranted tells a new Reader what an earlier one said by Granted.
func (r *Reader) ResumeGranted(granted bool) { r.granted = granted }

// parseGrantPayload reads the payload of a GRANT entry.
func parseGrantPayload(payload []byte, owner member.ID, id ID) (grant Grant, understood bool, err error) {
	decoded := &ententev1.StreamPayload{}
	err = proto.Unmarshal(payload, decoded)
	if err != nil {
		return Grant{}, false, errors.New("not a StreamPayload") // the library's text may quote content
	}
	if decoded.GetGrant() == nil || !holdsOnly(payload, fieldGrant) {
		return Grant{}, false, errors.New("not a grant and nothing else")
	}
	grant, err = ParseGrant(decoded.GetGrant(), owner, id)
	return grant, len(decoded.ProtoReflect().GetUnknown()) == 0, err
}
