// Package sandbox runs a throw-away federation on loopback: a node for each member and one for a coordinator, and the
// certificates of those who call them. The examples of package client run against it, and so does the check of the example
// client in another language.
//
//	f, err := sandbox.New(sandbox.Options{Members: []member.ID{"XA", "XB"}, Dir: dir, Now: time.Now, Rand: rand.Reader})
//	go func() { ended <- f.Run(ctx) }()
//	files, err := f.Issue("XA", member.KindSystem, sandbox.System)
//
// The invariant: what it runs are real nodes on real sockets with real data files; it takes no short cut that a member
// could not take. Nothing listens beyond this machine.
//
// It pushes and asks nothing by itself (nodes/demo tells a whole case), and is no way to run a federation: all keys lie in
// one folder, which the caller removes.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"entente.example/entente/client"
	"entente.example/entente/nodes/coordinator"
	"entente.example/entente/nodes/federation"
	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// The names in a sandbox.
const (
	// Coordinator is the member that merges.
	Coordinator member.ID = "COORD"
	// Project is a project of all members and the coordinator, led by the first member.
	Project = "harbour-light"
	// System may push, and follow everything, at each node; its records are those of Authority.
	System = "intake"
	// Team may follow the project at each node, and nothing else.
	Team = "team"
	// Officer may ask at each node, for criminal investigation.
	Officer = "analyst"
	// Authority is in whose name System pushes.
	Authority = "Police"
)

// validFor is how long certificates, roster and project count.
const validFor = 24 * time.Hour

// Options say what to run. All are required.
type Options struct {
	// Members are those beside the coordinator.
	Members []member.ID
	// Dir is an existing folder for data files and certificates.
	Dir string
	// Now is the clock, Rand the source of keys: crypto/rand.Reader.
	Now  func() time.Time
	Rand io.Reader
}

// Federation is a federation with its nodes.
type Federation struct {
	options Options
	founded *federation.Federation
	roster  *member.Roster
	nodes   []runner
}

// runner is a node of either kind.
type runner interface {
	Run(ctx context.Context) error
	Close() error
}

// New founds a federation and opens its nodes. They answer once Run is called.
func New(o Options) (*Federation, error) {
	founded, err := federation.Found(append([]member.ID{Coordinator}, o.Members...), []member.ID{Coordinator}, o.Rand, o.Now, validFor)
	if err != nil {
		return nil, fmt.Errorf("found a sandbox: %w", err)
	}
	f := &Federation{options: o, founded: founded}
	err = f.open()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a sandbox: %w", err), f.close())
	}
	return f, nil
}

// Run runs the nodes until ctx ends, or one of them fails.
func (f *Federation) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, node := range f.nodes {
		group.Go(func() error {
			err := node.Run(ctx)
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("the node of %s stopped: %w", f.founded.Seats[i].ID, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Address is where the node of a member listens, host:port.
func (f *Federation) Address(id member.ID) string { return f.founded.Seat(id).Addresses[0] }

// Roster is the roster that all nodes go by, verified.
func (f *Federation) Roster() *member.Roster { return f.roster }

// Issue makes a certificate for an identity of a member and answers the files with which a client calls its node.
func (f *Federation) Issue(id member.ID, kind member.Kind, name string) (client.Files, error) {
	seat := f.founded.Seat(id)
	if seat == nil {
		return client.Files{}, fmt.Errorf("issue a certificate: %s is not in the sandbox", id)
	}
	certificate, key, err := f.certificate(seat, kind, name)
	if err != nil {
		return client.Files{}, err
	}
	at := func(file string) string { return filepath.Join(f.options.Dir, string(id), file) }
	files := client.Files{Certificate: at(kind.String() + ".pem"), Key: at(kind.String() + ".key"), Authorities: at("authorities.pem")}
	if name != "" {
		files.Certificate, files.Key = at(kind.String()+"-"+name+".pem"), at(kind.String()+"-"+name+".key")
	}
	for path, content := range map[string][]byte{
		files.Certificate: certificate, files.Key: key, files.Authorities: member.EncodeCertificate(seat.Authority.Certificate()),
	} {
		err = os.WriteFile(path, content, 0o600)
		if err != nil {
			return client.Files{}, fmt.Errorf("write a certificate: %w", err)
		}
	}
	return files, nil
}

func (f *Federation) certificate(seat *federation.Seat, kind member.Kind, name string) (certificate, key []byte, err error) {
	ident := member.Identity{Member: seat.ID, Kind: kind, Name: name}
	certificate, key, err = seat.Authority.Issue(ident, f.options.Rand, f.options.Now(), validFor, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate for %s: %w", ident, err)
	}
	return certificate, key, nil
}

// open listens for each node first: the addresses stand in the roster, so they must be known before it is made.
func (f *Federation) open() (err error) {
	var listeners []net.Listener
	defer func() {
		if err == nil {
			return
		}
		for _, listener := range listeners[min(len(f.nodes), len(listeners)):] {
			listener.Close() // nothing was served: a failure changes nothing
		}
	}()
	for _, seat := range f.founded.Seats {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen for %s: %w", seat.ID, err)
		}
		listeners = append(listeners, listener)
		seat.Addresses = []string{listener.Addr().String()}
	}
	roster, err := f.founded.Roster()
	if err != nil {
		return err
	}
	f.roster = roster
	lead := append(append([]member.ID{}, f.options.Members...), Coordinator)
	chain, _, err := f.founded.Project(roster, Project, "Harbour Light", lead...)
	if err != nil {
		return err
	}
	allowed := grants()
	documents := national.FixedDocuments(national.Documents{Roster: roster.Document(), Projects: [][]*ententev1.SignedDocument{chain}, Grants: &allowed})
	for i, seat := range f.founded.Seats {
		node, err := f.node(seat, listeners[i], documents)
		if err != nil {
			return fmt.Errorf("node of %s: %w", seat.ID, err)
		}
		f.nodes = append(f.nodes, node)
	}
	return nil
}

// grants is what each member allows its own.
func grants() policy.Grants {
	const all = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
	return policy.Grants{
		Systems: map[string]policy.System{
			System: {Authority: Authority, Projects: []string{policy.AllProjects}, Permit: true, Clearance: all},
			Team:   {Projects: []string{Project}, Clearance: all},
		},
		Officers: map[string]policy.Officer{
			Officer: {
				Purposes: []ententev1.Purpose{ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION}, Projects: []string{policy.AllProjects},
				Approve: true, Clearance: all,
			},
		},
	}
}

func (f *Federation) node(seat *federation.Seat, listener net.Listener, documents func() (national.Documents, error)) (runner, error) {
	dir := filepath.Join(f.options.Dir, string(seat.ID))
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, fmt.Errorf("make its folder: %w", err)
	}
	sealing := make([]byte, store.KeySize)
	_, err = io.ReadFull(f.options.Rand, sealing)
	if err != nil {
		return nil, fmt.Errorf("draw its sealing key: %w", err)
	}
	certPEM, keyPEM, err := f.certificate(seat, member.KindNode, "")
	if err != nil {
		return nil, err
	}
	certificate, err := member.FixedCertificate(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	material := national.Material{Member: seat.ID, Federation: f.founded.ID, Data: filepath.Join(dir, "node.db"),
		Marker: filepath.Join(dir, "node.marker"), Sealing: store.Keyring{Current: sealing}, IDKey: seat.IDKey,
		SigningKey: seat.Signing, Certificate: certificate, Documents: documents}
	deps := national.Deps{Now: f.options.Now, Rand: f.options.Rand, Version: "sandbox", Listener: listener}
	err = national.CreateData(material, deps)
	if err != nil {
		return nil, err
	}
	if seat.ID == Coordinator {
		return coordinator.New(material, deps)
	}
	return national.New(material, deps)
}

func (f *Federation) close() error {
	var failures []error
	for _, node := range f.nodes {
		failures = append(failures, node.Close())
	}
	return errors.Join(failures...)
}
