package demo

import (
	"fmt"
	"os"
	"path/filepath"

	"entente.example/entente/client"
	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/policy"
)

// The people and systems that each member has in the demonstration.
const (
	intakeSystem = "intake"
	officerName  = "analyst"
	operatorName = "operator"
	// caseReference stands in each consultation.
	caseReference = "DEMO-2026-1"
)

// grants is what each member allows them.
func grants(authority string) policy.Grants {
	purposes := []ententev1.Purpose{ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, ententev1.Purpose_PURPOSE_THREAT_ANALYSIS}
	return policy.Grants{
		Systems:  map[string]policy.System{intakeSystem: {Authority: authority, Projects: []string{policy.AllProjects}}},
		Officers: map[string]policy.Officer{officerName: {Purposes: purposes, Projects: []string{policy.AllProjects}}},
	}
}

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

// writeIdentity leaves the files with which the commands of the program call a node as somebody, and answers the path
// of the configuration.
func (s *stage) writeIdentity(at *station, kind member.Kind, name string) (string, error) {
	certPEM, keyPEM, err := s.issue(at.seat, kind, name)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.dir, string(at.seat.ID))
	err = os.MkdirAll(dir, 0o700)
	if err != nil {
		return "", fmt.Errorf("make the folder of %s: %w", at.seat.ID, err)
	}
	word := kind.String()
	config := fmt.Sprintf("address: %s\nmember: %s\ncertificate: %s.pem\nkey: %s.key\nauthorities: authorities.pem\npurpose: criminal-investigation\ncase: %s\n",
		at.address, at.seat.ID, word, word, caseReference)
	files := map[string][]byte{
		word + ".pem": certPEM, word + ".key": keyPEM, word + ".yaml": []byte(config),
		"authorities.pem": member.EncodeCertificate(at.seat.Authority.Certificate()),
	}
	for file, content := range files {
		err = os.WriteFile(filepath.Join(dir, file), content, 0o600)
		if err != nil {
			return "", fmt.Errorf("write %s of %s: %w", file, at.seat.ID, err)
		}
	}
	return filepath.Join(dir, word+".yaml"), nil
}
