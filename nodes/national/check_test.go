package national_test

import (
	"crypto/rand"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"entente.example/entente/nodes/national"
	"entente.example/entente/proto/member"
)

func TestACheckNamesFileLineAndMend(t *testing.T) {
	tests := map[string]struct {
		spoil   func(s *site)
		field   string
		line    bool // the setting stands in the file
		want    string
		warning bool
	}{
		"a certificate that ends soon": {func(s *site) {
			s.certify(member.Identity{Member: "XA", Kind: member.KindNode}, time.Now(), time.Hour)
			s.now = s.now.Add(50 * time.Minute)
		}, "certificate", false, "it ends at", true},
		"a roster that ends soon":    {func(s *site) { s.now = s.now.Add(50 * time.Minute) }, "roster", false, "expires at", true},
		"a key that others may read": {func(s *site) { s.must(os.Chmod(s.path("node.key"), 0o644)) }, "key", false, "chmod 600", true},
		"backups that are a file": {func(s *site) {
			s.writeConfig("projects: projects", "projects: projects\nbackups: roster.pb")
		}, "backups", true, "is not a folder", true},
		"a clock that is behind": {func(s *site) { s.now = s.now.Add(-time.Hour) }, "certificate", false, "check the clock", false},
		"a roster that is ahead": {func(s *site) {
			parts, err := member.RosterParts(s.writeRoster().Document())
			s.must(err)
			parts.Number, parts.ValidFor = parts.Number+1, time.Hour
			doc, err := member.AssembleRoster(parts, s.fed.Seat("COORD").Signing, time.Now().Add(time.Hour))
			s.must(err)
			s.writeMessage("roster.pb", doc)
		}, "roster", false, "check the clock", false},
		"a revocation list that is not there": {func(s *site) {
			s.writeConfig("projects: projects", "projects: projects\nrevocation_lists:\n  - here.pem\n  - crl.pem")
			s.writeRevocations("here.pem", nil)
		}, "revocation_lists[1]", true, "crl.pem", false},
		"a revocation list that is none": {func(s *site) {
			s.writeConfig("projects: projects", "projects: projects\nrevocation_lists: [roster.pb]")
		}, "revocation_lists[0]", true, "read revocation list", false},
		"a revocation list of a stranger": {func(s *site) {
			s.writeConfig("projects: projects", "projects: projects\nrevocation_lists: [crl.pem]")
			stranger, err := member.NewAuthority("XD", rand.Reader, time.Now(), time.Hour)
			s.must(err)
			list, err := stranger.Revoke(nil, nil, rand.Reader, time.Now(), time.Hour)
			s.must(err)
			s.write("crl.pem", member.EncodeRevocationList(list))
		}, "revocation_lists[0]", true, "not signed by an authority that the roster names", false},
		"a revocation list that should have been followed": {func(s *site) {
			s.writeConfig("projects: projects", "projects: projects\nrevocation_lists: [crl.pem]")
			list, err := s.fed.Seat("XA").Authority.Revoke(nil, nil, rand.Reader, time.Now().Add(-time.Hour), time.Minute)
			s.must(err)
			s.write("crl.pem", member.EncodeRevocationList(list))
		}, "revocation_lists", true, "goes on counting", true},
		"the node's own certificate on a list": {func(s *site) {
			s.writeConfig("projects: projects", "projects: projects\nrevocation_lists: [crl.pem]")
			text, err := os.ReadFile(s.path("node.pem"))
			s.must(err)
			own, err := member.ParseCertificates(text)
			s.must(err)
			s.writeRevocations("crl.pem", nil, own[0].SerialNumber)
		}, "certificate", false, "it has been revoked", false},
		"a project that does not verify": {func(s *site) {
			chain, _, err := s.fed.Project(s.writeRoster(), "harbour", "Harbour", "XA", "COORD")
			s.must(err)
			chain[0].Body = append(chain[0].Body, 8, 1)
			s.writeMessage("projects/harbour.pb", chainMessage(chain))
		}, "projects", true, `project "harbour" refused`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.init()
			tt.spoil(s)
			found := false
			for _, p := range s.check() {
				found = found || p.Field == tt.field && p.Warning == tt.warning && strings.Contains(p.String(), tt.want) &&
					strings.HasSuffix(p.File, "node.yaml") && (p.Line > 0) == tt.line
			}
			if !found {
				t.Errorf("check found %v, want a problem with %s: %s", s.check(), tt.field, tt.want)
			}
			if tt.warning {
				n, err := s.open()
				s.must(err) // a warning keeps nothing from starting
				s.must(n.Close())
			}
		})
	}
}

// writeRevocations writes the next revocation list of XA behind before, and gives it.
func (s *site) writeRevocations(name string, before []byte, serials ...*big.Int) []byte {
	s.t.Helper()
	list, err := s.fed.Seat("XA").Authority.Revoke(before, serials, rand.Reader, time.Now(), time.Hour)
	s.must(err)
	s.write(name, member.EncodeRevocationList(list))
	return list
}

func TestWarningsComeBehindProblems(t *testing.T) {
	s := newSite(t)
	s.init()
	s.must(os.Chmod(s.path("node.key"), 0o644))
	s.must(os.Remove(s.path("id.key")))
	problems := s.check()
	if len(problems) != 2 || problems[0].Warning || !problems[1].Warning || !strings.Contains(problems[1].String(), "warning") {
		t.Errorf("check found %v", problems)
	}
	_, err := national.Load(s.config(), s.deps())
	if err == nil || strings.Contains(err.Error(), "chmod") {
		t.Errorf("load: %v, want the problem alone", err)
	}
}
