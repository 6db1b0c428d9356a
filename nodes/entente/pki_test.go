package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"entente.example/entente/client/cli"
	"entente.example/entente/server/store"
)

// revocations reads a list.
func (b *bench) revocations(name string) *x509.RevocationList {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func TestRevokeAddsToTheListAndNeverTakesOff(t *testing.T) {
	b := newBench(t)
	b.must("pki", "authority", "--member", "XA", "--out", "@authority")
	for _, name := range []string{"officer/k.lind", "system/intake", "node"} {
		b.must("pki", "issue", "--authority", "@authority", "--identity", name, "--out", "@certs")
	}
	revoke := []string{"pki", "revoke", "--authority", "@authority", "--out", "@crl.pem"}
	b.must(append(revoke, "--certificate", "@certs/officer-k.lind.pem")...)
	first := b.revocations("crl.pem")
	if first.Number.Int64() != 1 || len(first.RevokedCertificateEntries) != 1 {
		t.Errorf("the first list is number %s with %d certificates", first.Number, len(first.RevokedCertificateEntries))
	}
	before := readAll(t, b.dir)
	if text := b.must(append(revoke, "--certificate", "@certs/officer-k.lind.pem")...); !strings.Contains(text, "nothing new") {
		t.Errorf("again: %s", text)
	}
	b.unchanged(t, before)
	b.must(append(revoke, "--certificate", "@certs/system-intake.pem", "--certificate", "@certs/node.pem", "--serial", "5f:1c:22:a0,77")...)
	second := b.revocations("crl.pem")
	if second.Number.Int64() != 2 || len(second.RevokedCertificateEntries) != 5 {
		t.Errorf("the second list is number %s with %d certificates", second.Number, len(second.RevokedCertificateEntries))
	}
	if second.RevokedCertificateEntries[0].SerialNumber.Cmp(first.RevokedCertificateEntries[0].SerialNumber) != 0 {
		t.Error("what was on the first list is not on the second")
	}
}

func TestRevokeRefusesWhatMakesNoSenseAndWritesNothing(t *testing.T) {
	b := newBench(t)
	for _, m := range []string{"XA", "XB"} {
		b.must("pki", "authority", "--member", m, "--out", "@"+m)
		b.must("pki", "issue", "--authority", "@"+m, "--identity", "node", "--out", "@"+m)
	}
	b.must("pki", "revoke", "--authority", "@XB", "--certificate", "@XB/node.pem", "--out", "@xb.pem")
	writeFile(t, b.path("junk"), "no list")
	content, err := os.ReadFile(b.path("xb.pem"))
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	writeFile(t, b.path("altered.pem"), string(content))
	before := readAll(t, b.dir)
	revoke := func(rest ...string) []string { return append([]string{"pki", "revoke", "--authority", "@XA"}, rest...) }
	for _, test := range []struct {
		want string
		line []string
	}{
		{"name what to revoke", revoke("--out", "@new.pem")},
		{"--out is missing", revoke("--serial", "7")},
		{"not issued by this authority of XA", revoke("--certificate", "@XB/node.pem", "--out", "@new.pem")},
		{"an authority is not revoked but replaced", revoke("--certificate", "@XA/authority.pem", "--out", "@new.pem")},
		{"read certificate", revoke("--certificate", "@junk", "--out", "@new.pem")},
		{"none.pem", revoke("--certificate", "@none.pem", "--out", "@new.pem")},
		{"hexadecimal", revoke("--serial", "xyz", "--out", "@new.pem")},
		{"hexadecimal", revoke("--serial", "0", "--out", "@new.pem")},
		{"not sound", revoke("--serial", strings.Repeat("7", 42), "--out", "@new.pem")},
		{"no revocation list", revoke("--serial", "7", "--out", "@junk")},
		{"not signed by this authority of XA", revoke("--serial", "7", "--out", "@xb.pem")},
		{"altered.pem", revoke("--serial", "7", "--out", "@altered.pem")},
		{"--valid", revoke("--serial", "7", "--out", "@new.pem", "--valid", "-1h")},
	} {
		b.refused(cli.ExitUsage, test.want, test.line...)
	}
	b.unchanged(t, before)
}

func TestASealingKeyIsMadeOnceAndOverwritesNothing(t *testing.T) {
	b := newBench(t)
	b.must("pki", "sealing-key", "--out", "@sealing-2.key")
	key, err := store.LoadKey(b.path("sealing-2.key"))
	if err != nil || len(key) != store.KeySize {
		t.Errorf("%d bytes, %v", len(key), err)
	}
	b.refused(cli.ExitUsage, "not overwritten", "pki", "sealing-key", "--out", "@sealing-2.key")
}

// TestAFollowEndsWhenItsCertificateIsRevoked is the way of an operator: the list named in the configuration of a running
// node, and the file of it put in place.
func TestAFollowEndsWhenItsCertificateIsRevoked(t *testing.T) {
	b := newBench(t)
	b.found("COORD", "XA")
	assemble := []string{"roster", "assemble", "--genesis", "@genesis.pb", "--assembler", "COORD", "--signing-key", "@coord/signing-key.key", "--out", "@roster.pb"}
	for m, kind := range map[string]string{"COORD": "coordinator", "XA": "national"} {
		address := freeAddress(t)
		b.enter(m, kind, address)
		b.site(m, address)
		assemble = append(assemble, "--entry", "@"+strings.ToLower(m)+"/entry.pb")
	}
	b.must(assemble...)
	b.must("node", "init", "--config", "@xa/node.yaml")
	node := b.start(false, "node", "run", "--config", "@xa/node.yaml")
	node.await("node started")
	defer node.end()

	config, err := os.ReadFile(b.path("xa", "node.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, b.path("xa", "node.yaml"), string(config)+"revocation_lists: [crl.pem]\n")
	team := b.start(true, "follow", "--config", "@xa/system-intake.yaml", "--cursor-file", "@cursor")
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for _, err = os.Stat(b.path("cursor")); err != nil; _, err = os.Stat(b.path("cursor")) { // it follows
		select {
		case <-again.C:
		case code := <-team.ended:
			t.Fatalf("the follow ended by itself with exit code %d", code)
		}
	}
	b.must("pki", "revoke", "--authority", "@xa/authority", "--certificate", "@xa/system-intake.pem", "--out", "@xa/crl.pem")
	select {
	case code := <-team.ended:
		if code != cli.ExitRefused {
			t.Errorf("the follow ended with exit code %d, want %d", code, cli.ExitRefused)
		}
	case <-time.After(patience):
		t.Error("the follow goes on")
	}
	b.refused(cli.ExitRefused, "", "list", "--config", "@xa/system-intake.yaml")
	if text := b.must("status", "--config", "@xa/operator-ops.yaml", "--output", "json"); !strings.Contains(text, `"revoked_certificates":"1"`) {
		t.Errorf("the status does not tell of it:\n%s", text)
	}
}
