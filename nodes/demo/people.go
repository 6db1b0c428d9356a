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
	// approverName is the second officer: who asked for the release of something sensitive does not decide on it.
	approverName = "supervisor"
	auditorName  = "auditor"
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

// caller is somebody who calls the own member's node, and the name of the files by which the commands do so.
type caller struct {
	kind       member.Kind
	name, file string
}

// callers are those that each member has.
func callers() []caller {
	return []caller{
		{member.KindSystem, intakeSystem, "system"}, {member.KindOfficer, officerName, "officer"},
		{member.KindOfficer, approverName, approverName}, {member.KindAuditor, auditorName, auditorName},
		{member.KindOperator, operatorName, operatorName},
	}
}

// callerConfig is the configuration of somebody who calls the node. What belongs to another kind of caller is not read.
const callerConfig = `address: %s
member: %s
certificate: %s.pem
key: %s.key
authorities: authority/authority.pem
purpose: criminal-investigation
audit-purpose: lawfulness
case: ` + caseReference + `
`

// writeIdentity leaves the files with which the commands of the program call a node as somebody.
func (s *stage) writeIdentity(at *station, who caller) error {
	certPEM, keyPEM, err := s.issue(at.seat, who.kind, who.name)
	if err != nil {
		return err
	}
	config := fmt.Sprintf(callerConfig, at.address, at.seat.ID, who.file, who.file)
	return s.writeFiles(at.seat.ID, map[string][]byte{who.file + ".pem": certPEM, who.file + ".key": keyPEM, who.file + ".yaml": []byte(config)})
}
