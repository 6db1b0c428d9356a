package member

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// NewCharter opens a project: the first document of its chain, signed by the lead that the charter names with its
// signing key. Participants are sorted here; the lead is one of them.
func NewCharter(projectID string, charter *ententev1.ProjectCharter, key ed25519.PrivateKey, now time.Time) (*ententev1.SignedDocument, error) {
	err := checkProjectID(projectID)
	if err != nil {
		return nil, fmt.Errorf("make charter: %w", err)
	}
	charter = proto.CloneOf(charter)
	slices.Sort(charter.GetParticipants())
	_, err = readCharter(charter)
	if err != nil {
		return nil, fmt.Errorf("make charter: %w", err)
	}
	body, err := encode(&ententev1.ProjectDocument{
		ProjectId: projectID,
		Number:    1,
		SignedAt:  timestamppb.New(now),
		Content:   &ententev1.ProjectDocument_Charter{Charter: charter},
	})
	if err != nil {
		return nil, err
	}
	return SignDocument(TypeProject, body, ID(charter.GetLead()), key), nil
}

// NewAdmission makes the document that admits a participant, next after the chain so far.
func NewAdmission(chain []*ententev1.SignedDocument, id ID, key ed25519.PrivateKey, now time.Time) (*ententev1.SignedDocument, error) {
	return nextDocument(chain, &ententev1.ProjectDocument{
		Content: &ententev1.ProjectDocument_Admission{Admission: &ententev1.ProjectAdmission{Member: string(id)}},
	}, key, now)
}

// NewDeparture makes the document by which a participant leaves, or is removed, next after the chain so far.
func NewDeparture(chain []*ententev1.SignedDocument, id ID, removed bool, key ed25519.PrivateKey, now time.Time) (*ententev1.SignedDocument, error) {
	return nextDocument(chain, &ententev1.ProjectDocument{
		Content: &ententev1.ProjectDocument_Departure{
			Departure: &ententev1.ProjectDeparture{Member: string(id), Removed: removed},
		},
	}, key, now)
}

// NewEnd makes the last document of a project, next after the chain so far. The reason is for people and must not name a
// person under investigation.
func NewEnd(chain []*ententev1.SignedDocument, reason string, key ed25519.PrivateKey, now time.Time) (*ententev1.SignedDocument, error) {
	return nextDocument(chain, &ententev1.ProjectDocument{
		Content: &ententev1.ProjectDocument_End{End: &ententev1.ProjectEnd{Reason: reason}},
	}, key, now)
}

// nextDocument ties a document to the chain and signs it as the lead. It does not verify the chain: that takes a roster,
// so verify the chain with the new document before handing it out.
func nextDocument(chain []*ententev1.SignedDocument, next *ententev1.ProjectDocument, key ed25519.PrivateKey, now time.Time) (*ententev1.SignedDocument, error) {
	if len(chain) == 0 {
		return nil, errors.New("make project document: the chain has no charter yet")
	}
	first := &ententev1.ProjectDocument{}
	err := decode(chain[0], TypeProject, first)
	if err != nil {
		return nil, fmt.Errorf("make project document: charter: %w", err)
	}
	lead, err := ParseID(first.GetCharter().GetLead())
	if err != nil {
		return nil, fmt.Errorf("make project document: lead: %w", err)
	}
	previous := sha256.Sum256(chain[len(chain)-1].GetBody())
	next.ProjectId = first.GetProjectId()
	next.Number = uint64(len(chain)) + 1
	next.Previous = previous[:]
	next.SignedAt = timestamppb.New(now)
	body, err := encode(next)
	if err != nil {
		return nil, err
	}
	return SignDocument(TypeProject, body, lead, key), nil
}
