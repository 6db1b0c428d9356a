package main

import (
	"slices"
	"strings"
	"testing"

	"entente.example/entente/client/cli"
	"entente.example/entente/proto/member"
)

// trusting adds the roster and the genesis to a command line.
func trusting(line ...string) []string {
	return append(line, "--roster", "@roster.pb", "--genesis", "@genesis.pb")
}

// keys makes the keys of a member that is to come in.
func (b *bench) keys(m string) {
	b.t.Helper()
	low := strings.ToLower(m)
	b.must("pki", "root", "--out", "@"+low+"/offline")
	b.must("pki", "authority", "--member", m, "--out", "@"+low+"/authority")
	b.must("pki", "signing-key", "--out", "@"+low)
	b.must("pki", "issue", "--authority", "@"+low+"/authority", "--identity", "node", "--out", "@"+low)
}

// federate founds a federation and assembles its first roster; the first member, and the second where there is one, may
// assemble.
func (b *bench) federate(members ...string) {
	b.t.Helper()
	genesis := []string{"roster", "genesis", "--name", "Invented countries", "--assembler", strings.Join(members[:min(2, len(members))], ","), "--out", "@genesis.pb"}
	assemble := []string{"roster", "assemble", "--genesis", "@genesis.pb", "--assembler", members[0], "--signing-key",
		"@" + strings.ToLower(members[0]) + "/signing-key.key", "--out", "@roster.pb"}
	for _, m := range members {
		b.keys(m)
		genesis = append(genesis, "--founder", m+"=@"+strings.ToLower(m)+"/offline/root.pub")
		assemble = append(assemble, "--entry", "@"+strings.ToLower(m)+"/entry.pb")
	}
	b.must(genesis...)
	for _, m := range members {
		b.signs(m, "genesis.pb")
		b.enter(m, "national", "127.0.0.1:7400")
	}
	b.must(assemble...)
}

// signs has a member sign a file by its root.
func (b *bench) signs(m, file string) {
	b.t.Helper()
	line := []string{"roster", "sign", "@" + file, "--member", m, "--root", "@" + strings.ToLower(m) + "/offline/root.key"}
	if file != "genesis.pb" {
		line = trusting(line...)
	}
	b.must(line...)
}

// decides makes a change, signed by members, and puts it into the roster together with entries.
func (b *bench) decides(kind, m string, more []string, signers, entries []string) {
	b.t.Helper()
	b.must(trusting(append([]string{"roster", "change", "--kind", kind, "--member", m, "--out", "@" + kind + "-" + m + ".pb"}, more...)...)...)
	for _, signer := range signers {
		b.signs(signer, kind+"-"+m+".pb")
	}
	assemble := []string{"roster", "assemble", "--from", "@roster.pb", "--change", "@" + kind + "-" + m + ".pb", "--assembler", "XA", "--signing-key",
		"@xa/signing-key.key", "--out", "@roster.pb", "--replace"}
	for _, entry := range entries {
		assemble = append(assemble, "--entry", "@"+entry)
	}
	b.must(assemble...)
}

// roster says who is in, by the newest roster.
func (b *bench) roster() rosterSummary {
	b.t.Helper()
	var got rosterSummary
	decode(b.t, b.must("roster", "verify", "@roster.pb", "--genesis", "@genesis.pb", "--output", "json"), &got)
	return got
}

func (s rosterSummary) ids() string {
	var ids []string
	for _, m := range s.Members {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, " ")
}

func TestARosterGoesThroughItsWholeLifeByCommands(t *testing.T) {
	b := newBench(t)
	b.federate("XA", "XB", "XC")
	var lines []string
	diff := func() {
		t.Helper()
		text := b.must("roster", "diff", "@before.pb", "@roster.pb", "--genesis", "@genesis.pb")
		lines = strings.Split(text, "\n")
		copyFile(t, b.path("roster.pb"), b.path("before.pb"))
	}
	says := func(text string) {
		t.Helper()
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, text) }) {
			t.Errorf("the difference does not say %q:\n%s", text, strings.Join(lines, "\n"))
		}
	}
	copyFile(t, b.path("roster.pb"), b.path("before.pb"))

	t.Run("a quorum admits a member", func(t *testing.T) {
		b.keys("XD")
		b.enter("XD", "national", "127.0.0.1:7404")
		b.decides("admission", "XD", []string{"--new-root", "@xd/offline/root.pub"}, []string{"XA", "XC"}, []string{"xd/entry.pb"})
		if got := b.roster(); got.ids() != "XA XB XC XD" || got.Number != 2 {
			t.Errorf("in: %+v", got)
		}
		diff()
		says("change 1: XD is admitted")
		says("signed by XA, XC")
		says("comes in: XD")
	})
	t.Run("a member changes addresses and keys by a new entry", func(t *testing.T) {
		b.must("pki", "signing-key", "--out", "@xb/new")
		b.must(trusting("roster", "entry", "--member", "XB", "--address", "127.0.0.1:7999", "--signing-key", "@xb/new/signing-key.pub",
			"--root", "@xb/offline/root.key", "--out", "@xb/entry-2.pb")...)
		b.must("roster", "assemble", "--from", "@roster.pb", "--entry", "@xb/entry-2.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key",
			"--out", "@roster.pb", "--replace")
		diff()
		says("XB: entry 2 in the place of 1")
		says("XB: its addresses are 127.0.0.1:7999, were 127.0.0.1:7400")
		says("is new, current")
		says("is retired, was current")
		says("in the federation are the same: XA, XB, XC, XD")
	})
	t.Run("a compromised key stays so, and two authorities stand side by side", func(t *testing.T) {
		b.must("pki", "authority", "--member", "XB", "--out", "@xb/next")
		b.must(trusting("roster", "entry", "--member", "XB", "--compromised-key", "@xb/signing-key.pub", "--authority", "@xb/authority/authority.pem",
			"--authority", "@xb/next/authority.pem", "--root", "@xb/offline/root.key", "--out", "@xb/entry-3.pb")...)
		b.must("roster", "assemble", "--from", "@roster.pb", "--entry", "@xb/entry-3.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key",
			"--out", "@roster.pb", "--replace")
		diff()
		says("is revoked, was retired")
		says("XB: authority ")
		b.refused(cli.ExitUsage, "compromised", trusting("roster", "entry", "--member", "XB", "--signing-key", "@xb/signing-key.pub",
			"--root", "@xb/offline/root.key", "--out", "@no.pb")...)
	})
	t.Run("a quorum changes a root, and the member signs anew", func(t *testing.T) {
		b.must("pki", "root", "--out", "@xc/second")
		b.must(trusting("roster", "entry", "--member", "XC", "--root", "@xc/second/root.key", "--out", "@xc/entry-2.pb")...)
		b.decides("root-change", "XC", []string{"--new-root", "@xc/second/root.pub"}, []string{"XA", "XB"}, []string{"xc/entry-2.pb"})
		diff()
		says("XC gets a new root")
		// The old root signs nothing any more.
		b.must(trusting("roster", "change", "--kind", "suspension", "--member", "XD", "--out", "@s.pb")...)
		b.refused(cli.ExitUsage, "no key of XC that counts", trusting("roster", "sign", "@s.pb", "--member", "XC", "--root", "@xc/offline/root.key")...)
		b.must(trusting("roster", "sign", "@s.pb", "--member", "XC", "--root", "@xc/second/root.key")...)
	})
	t.Run("a member is suspended and reinstated", func(t *testing.T) {
		b.decides("suspension", "XD", nil, []string{"XA", "XB"}, nil)
		if got := b.roster(); got.ids() != "XA XB XC" || !slices.Equal(got.Suspended, []member.ID{"XD"}) {
			t.Errorf("in: %+v", got)
		}
		diff()
		says("goes out: XD")
		b.decides("reinstatement", "XD", nil, []string{"XA", "XB"}, nil)
		diff()
		says("comes in: XD")
	})
	t.Run("a member leaves by its own signature, and another one is removed", func(t *testing.T) {
		b.decides("departure", "XD", nil, []string{"XD"}, nil)
		diff()
		says("XD leaves")
		b.decides("removal", "XC", nil, []string{"XA", "XB"}, nil)
		diff()
		says("XC is removed")
		if got := b.roster(); got.ids() != "XA XB" || !slices.Equal(got.Left, []member.ID{"XC", "XD"}) {
			t.Errorf("in: %+v", got)
		}
		b.must("roster", "assemble", "--from", "@roster.pb", "--leave-out", "XD", "--assembler", "XB", "--signing-key", "@xb/new/signing-key.key",
			"--out", "@roster.pb", "--replace")
		diff()
		says("XD: its entry is left out")
		says("assembled by XB; the one before was by XA")
	})
	t.Run("who has gone comes back with a new root only", func(t *testing.T) {
		b.refused(cli.ExitUsage, "root key of XC: it is already that of XC", trusting("roster", "change", "--kind", "admission", "--member", "XC",
			"--new-root", "@xc/second/root.pub", "--out", "@no.pb")...)
		b.must("pki", "root", "--out", "@xc/third")
		b.must(trusting("roster", "change", "--kind", "admission", "--member", "XC", "--new-root", "@xc/third/root.pub", "--dry-run")...)
	})
}

func TestTwoChangesComeInWithOneRoster(t *testing.T) {
	b := newBench(t)
	b.federate("XA", "XB", "XC")
	b.keys("XD")
	b.enter("XD", "coordinator", "127.0.0.1:7404")
	b.must(trusting("roster", "change", "--kind", "removal", "--member", "XC", "--out", "@removal.pb")...)
	second := trusting("roster", "change", "--kind", "admission", "--member", "XD", "--new-root", "@xd/offline/root.pub", "--after", "@removal.pb", "--out", "@admission.pb")
	b.refused(cli.ExitUsage, "0 founders signed what takes 2", second...)
	b.signs("XA", "removal.pb")
	b.signs("XB", "removal.pb")
	b.must(second...)
	b.refused(cli.ExitUsage, "change 1 is not there yet", trusting("roster", "sign", "@admission.pb", "--member", "XA", "--root", "@xa/offline/root.key")...)
	b.refused(cli.ExitUsage, "no key of XC that counts", trusting("roster", "sign", "@admission.pb", "--member", "XC", "--root", "@xc/offline/root.key",
		"--after", "@removal.pb")...)
	for _, m := range []string{"xa", "xb"} {
		b.must(trusting("roster", "sign", "@admission.pb", "--member", strings.ToUpper(m), "--root", "@"+m+"/offline/root.key", "--after", "@removal.pb")...)
	}
	b.must("roster", "assemble", "--from", "@roster.pb", "--change", "@removal.pb", "--change", "@admission.pb", "--entry", "@xd/entry.pb", "--assembler", "XA",
		"--signing-key", "@xa/signing-key.key", "--out", "@roster.pb", "--replace")
	if got := b.roster(); got.ids() != "XA XB XD" {
		t.Errorf("in: %+v", got)
	}
}

func TestDryRunsSayWhatWouldBeAndWriteNothing(t *testing.T) {
	b := newBench(t)
	b.federate("XA", "XB", "XC")
	b.keys("XD")
	b.must(trusting("roster", "change", "--kind", "admission", "--member", "XD", "--new-root", "@xd/offline/root.pub", "--out", "@change.pb")...)
	b.enter("XD", "national", "127.0.0.1:7404")
	b.must(trusting("project", "open", "--id", "harbour", "--name", "Harbour", "--lead", "XA", "--participant", "XB", "--purpose", "criminal-investigation",
		"--kind", "person", "--until", "2099-01-01", "--signing-key", "@xa/signing-key.key", "--out", "@p.pb")...)
	tests := []struct {
		name string
		line []string
		want []string
	}{
		{"a genesis", []string{"roster", "genesis", "--name", "N", "--founder", "XA=@xa/offline/root.pub", "--assembler", "XA", "--dry-run"},
			[]string{"federation ", "founded by XA; 1 of them"}},
		{"an admission", trusting("roster", "change", "--kind", "admission", "--member", "XD", "--new-root", "@xd/offline/root.pub", "--dry-run"),
			[]string{"0 of 2 signatures; may sign: XA, XB, XC", "fingerprint of the new root", "after it: XA, XB, XC, XD", "entente stream preview XD"}},
		{"a removal", trusting("roster", "change", "--kind", "removal", "--member", "XC", "--dry-run"),
			[]string{"after it: XA, XB\n", "XC gets nothing more"}},
		{"a signature", trusting("roster", "sign", "@change.pb", "--member", "XB", "--root", "@xb/offline/root.key", "--dry-run"),
			[]string{"1 of 2 signatures: XB", "XD is admitted"}},
		{"an entry", trusting("roster", "entry", "--member", "XA", "--address", "node.xa.example:7400", "--root", "@xa/offline/root.key", "--dry-run"),
			[]string{"entry 2 of XA", "its addresses are node.xa.example:7400, were 127.0.0.1:7400"}},
		{"a roster", []string{"roster", "assemble", "--from", "@roster.pb", "--assembler", "XB", "--signing-key", "@xb/signing-key.key", "--dry-run"},
			[]string{"roster 2 of federation", "assembled by XB; the one before was by XA", "the same: XA, XB, XC"}},
		{"a project", trusting("project", "open", "--id", "x", "--name", "X", "--lead", "XA", "--purpose", "criminal-investigation", "--until", "2099-01-01",
			"--signing-key", "@xa/signing-key.key", "--dry-run"), []string{"project x", "participants: XA"}},
		{"an admission to a project", trusting("project", "admit", "@p.pb", "--member", "XC", "--signing-key", "@xa/signing-key.key", "--dry-run"),
			[]string{"participants: XA, XB, XC", "document 2: XC is admitted", "entente stream preview XC --project harbour"}},
		{"a departure from a project", trusting("project", "depart", "@p.pb", "--member", "XB", "--signing-key", "@xa/signing-key.key", "--dry-run"),
			[]string{"participants: XA\n", "send XB nothing more"}},
		{"the end of a project", trusting("project", "end", "@p.pb", "--reason", "done", "--signing-key", "@xa/signing-key.key", "--dry-run"),
			[]string{"ended", "cannot be taken back"}},
	}
	before := readAll(t, b.dir)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := b.must(test.line...)
			for _, want := range append(test.want, "dry run: nothing is written") {
				if !strings.Contains(text, want) {
					t.Errorf("it does not say %q:\n%s", want, text)
				}
			}
			b.unchanged(t, before)
		})
	}
}

// unchanged checks that no file was written, changed or left behind.
func (b *bench) unchanged(t *testing.T, before map[string]string) {
	t.Helper()
	after := readAll(t, b.dir)
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s was changed", path)
		}
	}
	for path := range after {
		if _, known := before[path]; !known {
			t.Errorf("%s was left behind", path)
		}
	}
}

func TestWhoHasSignedIsSaidAtEachStep(t *testing.T) {
	b := newBench(t)
	for _, m := range []string{"XA", "XB"} {
		b.keys(m)
	}
	b.must("roster", "genesis", "--name", "N", "--founder", "XA=@xa/offline/root.pub", "--founder", "XB=@xb/offline/root.pub", "--assembler", "XA,XB",
		"--out", "@genesis.pb")
	for _, step := range []struct{ says, signer string }{
		{"0 of 2 signatures; missing: XA, XB", "XB"},
		{"1 of 2 signatures: XB; missing: XA", "XA"},
		{"2 of 2 signatures: XB, XA; complete", ""},
	} {
		if text := b.must("roster", "show", "@genesis.pb"); !strings.Contains(text, step.says) {
			t.Errorf("want %q:\n%s", step.says, text)
		}
		if step.signer != "" {
			b.signs(step.signer, "genesis.pb")
		}
	}
}

func TestLosingTheMeansToDecideIsWarnedOf(t *testing.T) {
	b := newBench(t)
	b.federate("XA", "XB")
	_, _, stderr := b.try("roster", "genesis", "--name", "N", "--founder", "XA=@xa/offline/root.pub", "--assembler", "XA", "--dry-run")
	if !strings.Contains(stderr, "the only assembler") {
		t.Errorf("one assembler: %q", stderr)
	}
	text := b.must(trusting("roster", "change", "--kind", "departure", "--member", "XB", "--dry-run")...)
	if !strings.Contains(text, "WARNING: 1 (XA) are left of the founders, and it takes 2") {
		t.Errorf("the quorum is lost:\n%s", text)
	}
}
