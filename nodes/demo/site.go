package demo

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/nodes/federation"
	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

const (
	genesisFile = "genesis.pb"
	rosterFile  = "roster.pb"
	nodeFile    = "node.yaml"
)

// nodeConfig is the configuration of a member's node. A newcomer waits for nothing here: grant_delay is none.
const nodeConfig = `member: %s
listen: %s
genesis: ../` + genesisFile + `
roster: ` + rosterFile + `
projects: projects
grant_delay: 0s
systems:
  - {name: ` + intakeSystem + `, authority: %q, projects: ["*"], grant: true, permit: true, clearance: confidential}
officers:
  - {name: ` + officerName + `, purposes: [criminal-investigation, threat-analysis], projects: ["*"], clearance: confidential, approve: true}
  - {name: ` + approverName + `, purposes: [criminal-investigation], projects: ["*"], clearance: confidential, approve: true}
`

// path is a file in the folder of the demonstration.
func (s *stage) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// writeFiles writes files that only their owner may read, by path in the folder of a member.
func (s *stage) writeFiles(id member.ID, files map[string][]byte) error {
	for name, content := range files {
		path := s.path(string(id), name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600))
		if err != nil {
			return fmt.Errorf("write %s of %s: %w", name, id, err)
		}
	}
	return nil
}

// settleIn makes the folder of a founder: its keys, the configuration of its node, and the data file.
func (s *stage) settleIn(at *station) error {
	files, err := keyFiles(at.seat)
	if err != nil {
		return fmt.Errorf("keys of %s: %w", at.seat.ID, err)
	}
	files["node.pem"], files["node.key"], err = s.issue(at.seat, member.KindNode, "")
	if err != nil {
		return err
	}
	err = s.writeFiles(at.seat.ID, files)
	if err != nil {
		return err
	}
	err = s.writeNodeConfig(at)
	if err != nil {
		return err
	}
	cfg, err := national.LoadConfig(s.path(string(at.seat.ID), nodeFile), nil, nil)
	if err != nil {
		return err
	}
	return national.Init(cfg, s.deps())
}

// keyFiles are the keys of a seat, under the names that the commands give them.
func keyFiles(seat *federation.Seat) (map[string][]byte, error) {
	certificate, authority, err := seat.Authority.PEM()
	if err != nil {
		return nil, err
	}
	signing, err := member.EncodePrivateKey(seat.Signing)
	if err != nil {
		return nil, err
	}
	root, err := member.EncodePrivateKey(seat.Root)
	if err != nil {
		return nil, err
	}
	public, err := member.EncodePublicKey(seat.Root.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"authority/authority.pem": certificate, "authority/authority.key": authority, "signing-key.key": signing,
		"offline/root.key": root, "offline/root.pub": public}, nil
}

// writeNodeConfig writes the node's configuration and its id key, which is the same in each run.
func (s *stage) writeNodeConfig(at *station) error {
	id := at.seat.ID
	config := fmt.Sprintf(nodeConfig, id, at.address, authorityOf(id))
	err := s.writeFiles(id, map[string][]byte{nodeFile: []byte(config)})
	if err != nil {
		return err
	}
	err = store.CreateKey(s.path(string(id), "id.key"), bytes.NewReader(at.seat.IDKey))
	if err != nil {
		return fmt.Errorf("write the id key of %s: %w", id, err)
	}
	return nil
}

// writeDocuments gives each node the roster, and the project's lead the project: it reaches the others by itself.
func (s *stage) writeDocuments(founded *federation.Federation, roster *member.Roster, project []*ententev1.SignedDocument) error {
	genesis, err := encoded(founded.Genesis())
	if err != nil {
		return err
	}
	err = os.WriteFile(s.path(genesisFile), genesis, 0o600)
	if err != nil {
		return fmt.Errorf("write the genesis: %w", err)
	}
	document, err := encoded(roster.Document())
	if err != nil {
		return err
	}
	for _, at := range s.places {
		err = s.writeFiles(at.seat.ID, map[string][]byte{rosterFile: document})
		if err != nil {
			return err
		}
	}
	chain, err := encoded(&ententev1.ListProjectDocumentsResponse{Documents: project})
	if err != nil {
		return err
	}
	return s.writeFiles(s.places[0].seat.ID, map[string][]byte{"projects/" + ProjectID + ".pb": chain})
}

// encoded is the canonical form of a message.
func encoded(m proto.Message) ([]byte, error) {
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode a message: %w", err)
	}
	return content, nil
}
