package demo

import (
	"fmt"
	"io"
	"net"
	"path/filepath"

	"entente.example/entente/nodes/coordinator"
	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// open makes the node of one member, with a data file of its own. Nothing runs yet.
func (s *stage) open(at *station, listener net.Listener, federation [32]byte, roster *member.Roster, documents []*ententev1.SignedDocument) error {
	material, err := s.material(at, federation)
	if err != nil {
		return err
	}
	project, err := projectsOf(at.seat.ID, roster, documents)
	if err != nil {
		return err
	}
	allowed := grants(authorityOf(at.seat.ID))
	material.Documents = national.FixedDocuments(national.Documents{Roster: roster.Document(), Projects: project, Grants: &allowed})
	deps := national.Deps{Now: s.options.Now, Rand: s.options.Rand, Version: "demo", Listener: listener}
	err = national.CreateData(material, deps)
	if err != nil {
		return err
	}
	if at.seat.ID == CoordinatorID {
		return at.openCoordinator(material, deps)
	}
	node, err := national.New(material, deps)
	if err != nil {
		return err
	}
	at.ledger, at.run = node.Ledger(), node.Run
	return nil
}

func (at *station) openCoordinator(material national.Material, deps national.Deps) error {
	node, err := coordinator.New(material, deps)
	if err != nil {
		return err
	}
	at.ledger, at.run, at.merged = node.Ledger(), node.Run, node.Settled
	return nil
}

// material is what the node is made of. Its keys are drawn for this run, but for the id key, so that two runs give the
// same record the same id.
func (s *stage) material(at *station, federation [32]byte) (national.Material, error) {
	dir, err := s.folder(at)
	if err != nil {
		return national.Material{}, err
	}
	sealing := make([]byte, store.KeySize)
	_, err = io.ReadFull(s.options.Rand, sealing)
	if err != nil {
		return national.Material{}, fmt.Errorf("draw a sealing key: %w", err)
	}
	certPEM, keyPEM, err := s.issue(at.seat, member.KindNode, "")
	if err != nil {
		return national.Material{}, err
	}
	certificate, err := member.FixedCertificate(certPEM, keyPEM)
	if err != nil {
		return national.Material{}, fmt.Errorf("the node's certificate: %w", err)
	}
	return national.Material{Member: at.seat.ID, Federation: federation, Data: filepath.Join(dir, "data.db"),
		Marker: filepath.Join(dir, "marker"), Sealing: store.Keyring{Current: sealing}, IDKey: at.seat.IDKey,
		SigningKey: at.seat.Signing, Certificate: certificate}, nil
}

// projectsOf gives the project's documents to those who take part in it, and to nobody else.
func projectsOf(id member.ID, roster *member.Roster, documents []*ententev1.SignedDocument) ([][]*ententev1.SignedDocument, error) {
	project, err := member.VerifyProject(documents, roster)
	if err != nil {
		return nil, fmt.Errorf("verify the project: %w", err)
	}
	if !project.Has(id) {
		return nil, nil
	}
	return [][]*ententev1.SignedDocument{documents}, nil
}
