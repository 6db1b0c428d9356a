package national_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/nodes/federation"
	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// site is a folder with all that a node of XA needs, as an operator would set it up.
type site struct {
	t      *testing.T
	folder string
	fed    *federation.Federation
	now    time.Time // of the node's clock
}

const siteConfig = `member: XA
listen: 127.0.0.1:0
federation: %FEDERATION%
projects: projects
systems:
  - name: intake
    authority: Central Unit
    projects: ["*"]
    clearance: confidential
officers:
  - name: o1
    purposes: [criminal-investigation]
    projects: [harbour]
    clearance: confidential
`

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, folder: t.TempDir(), now: time.Now()}
	fed, err := federation.Found([]member.ID{"COORD", "XA"}, []member.ID{"COORD"}, rand.Reader, time.Now, time.Hour)
	s.must(err)
	s.fed = fed
	s.write("node.yaml", []byte(siteConfig))
	s.writeConfig("%FEDERATION%", hex.EncodeToString(fed.ID[:]))
	key, err := member.EncodePrivateKey(fed.Seat("XA").Signing)
	s.must(err)
	s.write("signing-key.key", key)
	s.certify(member.Identity{Member: "XA", Kind: member.KindNode}, time.Now(), time.Hour)
	s.writeRoster()
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) path(name string) string { return filepath.Join(s.folder, name) }

func (s *site) write(name string, content []byte) {
	s.t.Helper()
	s.must(os.MkdirAll(filepath.Dir(s.path(name)), 0o700))
	s.must(os.WriteFile(s.path(name), content, 0o600))
}

// writeConfig replaces a part of the configuration file.
func (s *site) writeConfig(old, new string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path("node.yaml"))
	s.must(err)
	changed := replaceOnce(string(text), old, new)
	if changed == string(text) {
		s.t.Fatalf("%q does not stand in the configuration", old)
	}
	s.write("node.yaml", []byte(changed))
}

func (s *site) writeMessage(name string, m proto.Message) {
	s.t.Helper()
	content, err := proto.Marshal(m)
	s.must(err)
	s.write(name, content)
}

// writeRoster writes the next roster of the federation and gives it.
func (s *site) writeRoster() *member.Roster {
	s.t.Helper()
	roster, err := s.fed.Roster()
	s.must(err)
	s.writeMessage("roster.pb", roster.Document())
	return roster
}

func (s *site) certify(ident member.Identity, from time.Time, valid time.Duration) {
	s.t.Helper()
	certificate, key, err := s.fed.Seat(ident.Member).Authority.Issue(ident, rand.Reader, from, valid, nil)
	s.must(err)
	s.write("node.pem", certificate)
	s.write("node.key", key)
}

func (s *site) deps() national.Deps {
	return national.Deps{Now: func() time.Time { return s.now }, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler), Version: "test"}
}

func (s *site) config() *national.Config {
	s.t.Helper()
	c, err := national.LoadConfig(s.path("node.yaml"), nil, nil)
	s.must(err)
	return c
}

func (s *site) init() {
	s.t.Helper()
	s.must(national.Init(s.config(), s.deps()))
}

// open makes the node, by the steps of the command run.
func (s *site) open() (*national.Node, error) {
	c, err := national.LoadConfig(s.path("node.yaml"), nil, nil)
	if err != nil {
		return nil, err
	}
	m, err := national.Load(c, s.deps())
	if err != nil {
		return nil, err
	}
	return national.New(m, s.deps())
}

// run opens and runs the node until the test ends or stop is called.
func (s *site) run() (n *national.Node, stop func()) {
	s.t.Helper()
	n, err := s.open()
	s.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		s.must(<-ended)
	}
	s.t.Cleanup(stop)
	return n, stop
}

func (s *site) check() []national.Problem {
	s.t.Helper()
	return national.Check(context.Background(), s.config(), s.deps())
}

func chainMessage(chain []*ententev1.SignedDocument) proto.Message {
	return &ententev1.ListProjectDocumentsResponse{Documents: chain}
}
