package national_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"entente.example/entente/nodes/federation"
	"entente.example/entente/nodes/national"
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
