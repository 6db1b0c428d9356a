package national_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/client"
	"entente.example/entente/nodes/federation"
	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

func replaceOnce(text, old, new string) string { return strings.Replace(text, old, new, 1) }

func TestANodeThatIsSetUpStarts(t *testing.T) {
	s := newSite(t)
	s.init()
	problems := s.check()
	if len(problems) != 0 {
		t.Fatalf("problems: %v", problems)
	}
	n, stop := s.run()
	if n.Address() == "" || n.Directory().Roster == nil {
		t.Error("the node has no address or no roster")
	}
	stop()
	_, err := os.Stat(s.path("node.marker"))
	s.must(err)
	problems = s.check()
	if len(problems) != 0 {
		t.Fatalf("problems after a stop: %v", problems)
	}
	_, err = os.Stat(s.path("node.marker"))
	s.must(err) // a check takes no marker
}

func TestInitOverwritesNothing(t *testing.T) {
	s := newSite(t)
	signing, err := os.ReadFile(s.path("signing-key.key"))
	s.must(err)
	s.init()
	sealing, err := os.ReadFile(s.path("sealing.key"))
	s.must(err)
	err = national.Init(s.config(), s.deps())
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("got %v, want %v", err, store.ErrExists)
	}
	for name, want := range map[string][]byte{"signing-key.key": signing, "sealing.key": sealing} {
		got, err := os.ReadFile(s.path(name))
		s.must(err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s has changed", name)
		}
	}
}

func TestWhatKeepsANodeFromStartingIsSaid(t *testing.T) {
	tests := map[string]struct {
		spoil func(s *site)
		want  string // in the error
		field string // of the problem that a check finds
	}{
		"no data file": {func(s *site) { s.must(os.Remove(s.path("node.db"))) }, "make one with the command init", "data"},
		"a wrong sealing key": {func(s *site) {
			s.must(os.Remove(s.path("sealing.key")))
			s.must(store.CreateKey(s.path("sealing.key"), rand.Reader))
		}, "name the sealing key that the file was made with", "data"},
		"a missing sealing key":              {func(s *site) { s.must(os.Remove(s.path("sealing.key"))) }, "sealing_key", "sealing_key"},
		"a sealing key that others may read": {func(s *site) { s.must(os.Chmod(s.path("sealing.key"), 0o644)) }, "sealing_key", "sealing_key"},
		"a signing key that others may read": {func(s *site) { s.must(os.Chmod(s.path("signing-key.key"), 0o644)) }, "chmod 600", "signing_key"},
		"a signing key that the roster does not name": {func(s *site) {
			key, err := member.NewSigningKey(rand.Reader)
			s.must(err)
			text, err := member.EncodePrivateKey(key)
			s.must(err)
			s.write("signing-key.key", text)
		}, "not a current key of XA in the roster", "signing_key"},
		"a data file of another federation": {func(s *site) {
			s.writeConfig("federation: ", "federation: "+strings.Repeat("ab", 32)+" # ")
		}, "another member or another federation", "data"},
		"a roster of another federation": {func(s *site) {
			other, err := federation.Found([]member.ID{"COORD", "XA"}, []member.ID{"COORD"}, rand.Reader, time.Now, time.Hour)
			s.must(err)
			roster, err := other.Roster()
			s.must(err)
			s.writeMessage("roster.pb", roster.Document())
		}, "roster refused", "roster"},
		"no roster":             {func(s *site) { s.must(os.Remove(s.path("roster.pb"))) }, "roster.pb", "roster"},
		"bytes that are none":   {func(s *site) { s.write("roster.pb", []byte("no roster")) }, "not a signed document", "roster"},
		"a roster that expired": {func(s *site) { s.writeShortRoster(); s.now = s.now.Add(10 * time.Minute) }, "expired", "roster"},
		"an expired certificate": {func(s *site) {
			s.certify(member.Identity{Member: "XA", Kind: member.KindNode}, time.Now(), time.Minute)
			s.now = s.now.Add(10 * time.Minute)
		}, "the certificate expired at", "certificate"},
		"a certificate of another kind": {func(s *site) {
			s.certify(member.Identity{Member: "XA", Kind: member.KindSystem, Name: "intake"}, time.Now(), time.Hour)
		}, "does not name spiffe://xa.entente/node", "certificate"},
		"a certificate of an unknown authority": {func(s *site) {
			authority, err := member.NewAuthority("XA", rand.Reader, time.Now(), time.Hour)
			s.must(err)
			certificate, key, err := authority.Issue(member.Identity{Member: "XA", Kind: member.KindNode}, rand.Reader, time.Now(), time.Hour, nil)
			s.must(err)
			s.write("node.pem", certificate)
			s.write("node.key", key)
		}, "not by an authority that the roster names for XA", "certificate"},
		"a key that does not fit the certificate": {func(s *site) {
			certificate, err := os.ReadFile(s.path("node.pem"))
			s.must(err)
			s.certify(member.Identity{Member: "XA", Kind: member.KindNode}, time.Now(), time.Hour)
			s.write("node.pem", certificate)
		}, "read certificate", "certificate"},
		"another process": {func(s *site) { s.run() }, "one data file has one node", "data"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.init()
			tt.spoil(s)
			n, err := s.open()
			if err == nil {
				s.must(n.Close())
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
			problems := s.check()
			if len(problems) == 0 || problems[0].Field != tt.field || problems[0].File == "" {
				t.Errorf("check found %v, want a problem with %s", problems, tt.field)
			}
		})
	}
}

// writeShortRoster writes a roster that expires after a minute.
func (s *site) writeShortRoster() {
	parts, err := member.RosterParts(s.writeRoster().Document())
	s.must(err)
	parts.Number, parts.ValidFor = parts.Number+1, time.Minute
	doc, err := member.AssembleRoster(parts, s.fed.Seat("COORD").Signing, time.Now())
	s.must(err)
	s.writeMessage("roster.pb", doc)
}

func TestAFailedStartKeepsTheMarkerOfTheLastCleanStop(t *testing.T) {
	s := newSite(t)
	s.init()
	_, stop := s.run()
	stop()
	before, err := os.ReadFile(s.path("node.marker"))
	s.must(err)
	t.Run("when the address is taken", func(t *testing.T) {
		s.writeConfig("listen: 127.0.0.1:0", "listen: 192.0.2.1:1")
		_, err := s.open()
		if err == nil {
			t.Fatal("it started")
		}
		s.sameMarker(t, before)
		s.writeConfig("listen: 192.0.2.1:1", "listen: 127.0.0.1:0")
	})
	t.Run("when the node is closed before it ran", func(t *testing.T) {
		n, err := s.open()
		s.must(err)
		s.must(n.Close())
		s.sameMarker(t, before)
	})
}

func (s *site) sameMarker(t *testing.T, want []byte) {
	t.Helper()
	got, err := os.ReadFile(s.path("node.marker"))
	s.must(err)
	if !bytes.Equal(got, want) {
		t.Error("the marker is another one")
	}
}

func TestFilesCountWithoutARestart(t *testing.T) {
	s := newSite(t)
	s.init()
	n, _ := s.run()
	ctx := context.Background()

	roster := s.writeRoster()
	s.must(n.Reload(ctx))
	if n.Directory().Roster.Number() != roster.Number() {
		t.Errorf("roster %d counts, want %d", n.Directory().Roster.Number(), roster.Number())
	}
	chain, _, err := s.fed.Project(roster, "harbour", "Harbour", "XA", "COORD")
	s.must(err)
	s.writeMessage("projects/harbour.pb", chainMessage(chain))
	s.must(n.Reload(ctx))
	if n.Directory().Projects["harbour"] == nil {
		t.Error("the project does not count")
	}

	s.write("roster.pb", []byte("half a ro"))
	s.writeConfig("member: XA", "member: XA\nunknown_key: 1")
	err = n.Reload(ctx)
	if err == nil || !strings.Contains(err.Error(), "roster") || !strings.Contains(err.Error(), "unknown_key") {
		t.Errorf("got %v, want both files named", err)
	}
	if n.Directory().Roster.Number() != roster.Number() || n.Directory().Projects["harbour"] == nil {
		t.Error("the last good ones did not stay")
	}
}

func TestABrokenRosterFileDoesNotKeepANodeFromStartingAgain(t *testing.T) {
	s := newSite(t)
	s.init()
	_, stop := s.run()
	stop()
	s.write("roster.pb", []byte("half a ro"))
	if len(s.check()) == 0 {
		t.Error("a check says nothing of it")
	}
	n, stop := s.run()
	if n.Directory().Roster == nil {
		t.Error("the node has no roster")
	}
	stop()
}

func TestARunningNodeAsksForItsDocumentsAgainAndAgain(t *testing.T) {
	s := newSite(t)
	s.init()
	m, err := national.Load(s.config(), s.deps())
	s.must(err)
	calls, third, read := 0, make(chan struct{}), m.Documents
	m.Documents = func() (national.Documents, error) {
		calls++
		if calls == 3 { // the start, the first round, and one by the ticker
			close(third)
		}
		return read()
	}
	deps := s.deps()
	deps.ReloadEvery = time.Millisecond
	n, err := national.New(m, deps)
	s.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	select {
	case <-third:
	case <-time.After(30 * time.Second):
		t.Error("the documents are not asked for again")
	}
	cancel()
	s.must(<-ended)
}

// status asks the running node as its operator.
func (s *site) status(n *national.Node) *ententev1.GetStatusResponse {
	s.t.Helper()
	certificate, err := s.fed.Certificate(member.Identity{Member: "XA", Kind: member.KindOperator, Name: "ops"})
	s.must(err)
	c, err := client.Dial(client.Config{Address: n.Address(), Member: "XA", Authorities: s.fed.Seat("XA").Authority.Pool(),
		Certificate: func() (*tls.Certificate, error) { return certificate, nil }})
	s.must(err)
	defer c.Close()
	response, err := c.Status(s.t.Context())
	s.must(err)
	return response
}

func TestARevocationListCountsFromWhenTheConfigurationNamesIt(t *testing.T) {
	s := newSite(t)
	s.init()
	n, _ := s.run()
	list := s.writeRevocations("crl.pem", nil, big.NewInt(5))
	s.must(n.Reload(t.Context()))
	if got := s.status(n).GetRevokedCertificates(); got != 0 {
		t.Errorf("%d certificates are revoked by a list that nothing names", got)
	}
	s.writeConfig("projects: projects", "projects: projects\nrevocation_lists: [crl.pem]")
	s.must(n.Reload(t.Context()))
	if got := s.status(n).GetRevokedCertificates(); got != 1 {
		t.Errorf("%d certificates are revoked, want 1", got)
	}
	s.writeRevocations("crl.pem", list, big.NewInt(6))
	s.writeConfig("member: XA", "member: XA\nunknown_key: 1") // the rest of the file counts no more, the lists go on
	err := n.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "unknown_key") {
		t.Errorf("got %v, want the key named", err)
	}
	s.writeConfig("unknown_key: 1\n", "")
	s.must(n.Reload(t.Context()))
	s.write("crl.pem", []byte("half a li"))
	err = n.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "crl.pem") {
		t.Errorf("got %v, want the file named", err)
	}
	if got := s.status(n).GetRevokedCertificates(); got != 2 {
		t.Errorf("%d certificates are revoked, want 2", got)
	}
}

func TestANewSigningKeyWaitsForTheRosterThatNamesIt(t *testing.T) {
	s := newSite(t)
	s.init()
	n, stop := s.run()
	s.must(n.Reload(t.Context()))
	next, err := member.NewSigningKey(rand.Reader)
	s.must(err)
	text, err := member.EncodePrivateKey(next)
	s.must(err)
	s.write("signing-key.key", text)
	err = n.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not a current key of XA yet") {
		t.Errorf("got %v, want to be told that the key waits", err)
	}
	s.fed.Seat("XA").Signing = next
	s.writeRoster()
	s.must(n.Reload(t.Context()))
	stop()
	s.run() // with the new key
}

func TestANodeWhoseSigningKeyIsNoLongerCurrentSaysSo(t *testing.T) {
	s := newSite(t)
	s.init()
	n, _ := s.run()
	next, err := member.NewSigningKey(rand.Reader)
	s.must(err)
	s.fed.Seat("XA").Signing = next
	s.writeRoster()
	err = n.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not a current key of XA any more") {
		t.Errorf("got %v, want to be told that others refuse what the node signs", err)
	}
}

func TestLimitsCountWithoutARestart(t *testing.T) {
	s := newSite(t)
	s.init()
	n, _ := s.run()
	s.writeConfig("projects: projects", "projects: projects\nlimits:\n  systems: {calls_per_second: 0.001}")
	s.must(n.Reload(t.Context()))
	certificate, err := s.fed.Certificate(member.Identity{Member: "XA", Kind: member.KindSystem, Name: "intake"})
	s.must(err)
	c, err := client.Dial(client.Config{Address: n.Address(), Member: "XA", Authorities: s.fed.Seat("XA").Authority.Pool(),
		Certificate: func() (*tls.Certificate, error) { return certificate, nil }})
	s.must(err)
	defer c.Close()
	for range 5 {
		_, err = c.Intake().Get(t.Context(), &ententev1.GetRequest{ProviderReference: "none"})
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("after five calls: %v, want the limit", err)
	}
}
