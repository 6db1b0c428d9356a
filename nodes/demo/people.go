package demo

import (
	"fmt"

	"entente.example/entente/client"
	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// The people and systems that each member has in the demonstration.
const (
	intakeSystem = "intake"
	officerName  = "analyst"
	operatorName = "operator"
	// caseReference stands in each consultation.
	caseReference = "DEMO-2026-1"
)

// consultation is the reason given for each question of the demonstration.
func consultation(scope *ententev1.Scope) *ententev1.Consultation {
	return &ententev1.Consultation{Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, CaseReference: caseReference, Scope: scope}
}

// issue makes a certificate of a member for an identity.
func (s *stage) issue(seat *federation.Seat, kind member.Kind, name string) (certPEM, keyPEM []byte, err error) {
	ident := member.Identity{Member: seat.ID, Kind: kind, Name: name}
	certPEM, keyPEM, err = seat.Authority.Issue(ident, s.options.Rand, s.options.Now(), validFor, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate for %s: %w", ident, err)
	}
	return certPEM, keyPEM, nil
}

// dial prepares a connection of somebody to the node of the own member.
func (s *stage) dial(at *station, kind member.Kind, name string) (*client.Client, error) {
	certPEM, keyPEM, err := s.issue(at.seat, kind, name)
	if err != nil {
		return nil, err
	}
	certificate, err := member.FixedCertificate(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s %s: %w", at.seat.ID, name, err)
	}
	return client.Dial(client.Config{Address: at.address, Member: at.seat.ID, Certificate: certificate, Authorities: at.seat.Authority.Pool()})
}

// caller is somebody who calls the own member's node.
type caller struct {
	kind member.Kind
	name string
}

// callers are those that each member has.
func callers() []caller {
	return []caller{{member.KindSystem, intakeSystem}, {member.KindOfficer, officerName}, {member.KindOperator, operatorName}}
}

// writeIdentity leaves the files with which the commands of the program call a node as somebody: the configuration is named
// after the kind of caller.
func (s *stage) writeIdentity(at *station, who caller) error {
	certPEM, keyPEM, err := s.issue(at.seat, who.kind, who.name)
	if err != nil {
		return err
	}
	word := who.kind.String()
	config := fmt.Sprintf("address: %s\nmember: %s\ncertificate: %s.pem\nkey: %s.key\nauthorities: authority/authority.pem\npurpose: criminal-investigation\ncase: %s\n",
		at.address, at.seat.ID, word, word, caseReference)
	return s.writeFiles(at.seat.ID, map[string][]byte{word + ".pem": certPEM, word + ".key": keyPEM, word + ".yaml": []byte(config)})
}
