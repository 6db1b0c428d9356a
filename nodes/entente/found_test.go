package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"entente.example/entente/client/cli"
)

// bench is a folder in which commands are run, as a person would in a shell.
type bench struct {
	t   *testing.T
	dir string
	env map[string]string
	now func() time.Time
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, dir: t.TempDir(), env: map[string]string{}, now: time.Now}
}

// process is the process around one command. Paths in tests are absolute: the working folder is the whole program's.
func (b *bench) process(stdout, stderr *bytes.Buffer) process {
	return process{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Now: b.now, Rand: rand.Reader,
		LookupEnv: func(name string) (string, bool) { value, ok := b.env[name]; return value, ok },
	}
}

// path is a path below the folder.
func (b *bench) path(parts ...string) string {
	return filepath.Join(append([]string{b.dir}, parts...)...)
}

// try runs a command line. Words that begin with @ are paths below the folder, also after = and in lists.
func (b *bench) try(line ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	var args []string
	for _, word := range line {
		args = append(args, strings.ReplaceAll(word, "@", b.dir+string(filepath.Separator)))
	}
	code = run(context.Background(), b.process(&out, &errs), args)
	return code, out.String(), errs.String()
}

// must runs a command line that is to succeed.
func (b *bench) must(line ...string) string {
	b.t.Helper()
	code, stdout, stderr := b.try(line...)
	if code != cli.ExitOK {
		b.t.Fatalf("entente %s: exit code %d\n%s%s", strings.Join(line, " "), code, stdout, stderr)
	}
	return stdout
}

// refused runs a command line that is to fail with a code and a text on stderr.
func (b *bench) refused(code int, text string, line ...string) {
	b.t.Helper()
	got, stdout, stderr := b.try(line...)
	if got != code || !strings.Contains(stderr, text) {
		b.t.Errorf("entente %s: exit code %d and %q, want %d and %q\n%s", strings.Join(line, " "), got, stderr, code, text, stdout)
	}
}

// found makes the keys of members and founds a federation of them, by commands only.
func (b *bench) found(members ...string) {
	b.t.Helper()
	genesis := []string{"roster", "genesis", "--name", "Two invented countries", "--assembler", members[0], "--out", "@genesis.pb"}
	for _, m := range members {
		low := strings.ToLower(m)
		b.must("pki", "root", "--out", "@"+low+"/offline")
		b.must("pki", "authority", "--member", m, "--out", "@"+low+"/authority")
		b.must("pki", "signing-key", "--out", "@"+low)
		b.must("pki", "issue", "--authority", "@"+low+"/authority", "--identity", "node", "--out", "@"+low)
		genesis = append(genesis, "--founder", m+"=@"+low+"/offline/root.pub")
	}
	b.must(genesis...)
	for _, m := range members {
		b.must("roster", "sign", "@genesis.pb", "--member", m, "--root", "@"+strings.ToLower(m)+"/offline/root.key")
	}
}

// enter makes the roster entry of a member.
func (b *bench) enter(m, kind, address string) {
	b.t.Helper()
	low := strings.ToLower(m)
	b.must("roster", "entry", "--genesis", "@genesis.pb", "--member", m, "--name", "Country "+m, "--kind", kind, "--address", address,
		"--authority", "@"+low+"/authority/authority.pem", "--signing-key", "@"+low+"/signing-key.pub", "--root", "@"+low+"/offline/root.key",
		"--out", "@"+low+"/entry.pb")
}

func TestFederationIsFoundedByCommandsAlone(t *testing.T) {
	b := newBench(t)
	b.found("XA", "XB")
	b.enter("XA", "national", "127.0.0.1:7401")
	b.enter("XB", "coordinator", "127.0.0.1:7402")
	assemble := []string{"roster", "assemble", "--genesis", "@genesis.pb", "--entry", "@xb/entry.pb", "--entry", "@xa/entry.pb",
		"--assembler", "XA", "--signing-key", "@xa/signing-key.key", "--out", "@roster.pb"}
	b.must(assemble...)

	t.Run("the roster verifies and says who is in", func(t *testing.T) {
		var got rosterSummary
		decode(t, b.must("roster", "verify", "@roster.pb", "--genesis", "@genesis.pb", "--output", "json"), &got)
		if got.Number != 1 || len(got.Members) != 2 || got.Members[1].Kind != "coordinator" {
			t.Errorf("roster says %+v", got)
		}
		b.must("roster", "verify", "@roster.pb", "--federation", got.Federation)
	})
	t.Run("show takes every part apart", func(t *testing.T) {
		var got shownDocument
		decode(t, b.must("roster", "show", "@roster.pb", "--output", "json"), &got)
		if len(got.Parts) != 3 || got.Parts[0].Type != "roster-genesis" || len(got.Parts[0].SignedBy) != 2 {
			t.Errorf("shown: %+v", got)
		}
		for _, file := range []string{"@genesis.pb", "@xa/entry.pb"} {
			if !strings.Contains(b.must("roster", "show", file), `"content"`) {
				t.Errorf("%s is not shown", file)
			}
		}
	})
	t.Run("the next roster begins with the one before", func(t *testing.T) {
		b.must("roster", "assemble", "--from", "@roster.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key", "--out", "@second.pb")
		b.must("roster", "verify", "@second.pb", "--genesis", "@genesis.pb", "--held", "@roster.pb")
		b.refused(cli.ExitFailed, "older", "roster", "verify", "@roster.pb", "--genesis", "@genesis.pb", "--held", "@second.pb")
		b.must("roster", "assemble", "--from", "@second.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key", "--out", "@second.pb", "--replace")
	})
	t.Run("a third member is admitted by the founders", func(t *testing.T) {
		b.must("pki", "root", "--out", "@xc/offline")
		b.must("pki", "authority", "--member", "XC", "--out", "@xc/authority")
		b.must("pki", "signing-key", "--out", "@xc")
		b.must(trusting("roster", "change", "--kind", "admission", "--member", "XC", "--new-root", "@xc/offline/root.pub", "--out", "@change.pb")...)
		b.enter("XC", "national", "127.0.0.1:7403")
		third := []string{"roster", "assemble", "--from", "@roster.pb", "--change", "@change.pb", "--entry", "@xc/entry.pb", "--number", "9",
			"--assembler", "XA", "--signing-key", "@xa/signing-key.key", "--out", "@third.pb"}
		copyFile(t, b.path("change.pb"), b.path("change-xb.pb"))
		b.must(trusting("roster", "sign", "@change.pb", "--member", "XA", "--root", "@xa/offline/root.key")...)
		b.refused(cli.ExitFailed, "change", third...)
		b.must(trusting("roster", "sign", "@change-xb.pb", "--member", "XB", "--root", "@xb/offline/root.key")...)
		b.must(trusting("roster", "sign", "@change.pb", "--merge", "@change-xb.pb")...)
		b.must(third...)
		b.must("roster", "change", "--roster", "@third.pb", "--genesis", "@genesis.pb", "--kind", "suspension", "--member", "XB", "--out", "@change-of-another.pb")
	})
	t.Run("what exists is not overwritten", func(t *testing.T) {
		before := readAll(t, b.dir)
		b.refused(cli.ExitUsage, "not overwritten", "pki", "root", "--out", "@xa/offline")
		b.refused(cli.ExitUsage, "not overwritten", "pki", "authority", "--member", "XA", "--out", "@xa/authority")
		b.refused(cli.ExitUsage, "not overwritten", "pki", "signing-key", "--out", "@xa")
		b.refused(cli.ExitUsage, "not overwritten", "pki", "issue", "--authority", "@xa/authority", "--identity", "node", "--out", "@xa")
		b.refused(cli.ExitUsage, "not overwritten", assemble...)
		after := readAll(t, b.dir)
		for path, content := range before {
			if after[path] != content {
				t.Errorf("%s was changed", path)
			}
		}
		if len(after) != len(before) {
			t.Error("a file was left behind")
		}
	})
	t.Run("keys are for their owner only", func(t *testing.T) {
		keys := 0
		walk(t, b.dir, func(path string, info fs.FileInfo) {
			if filepath.Ext(path) != ".key" {
				return
			}
			keys++
			if info.Mode().Perm() != secretMode {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
		})
		if keys < 8 {
			t.Errorf("only %d keys were seen", keys)
		}
	})
	t.Run("mistakes are named", func(t *testing.T) {
		b.refused(cli.ExitUsage, "already", "roster", "sign", "@genesis.pb", "--member", "XA", "--root", "@xa/offline/root.key")
		b.refused(cli.ExitUsage, "another document", "roster", "sign", "@change.pb", "--merge", "@change-of-another.pb", "--roster", "@roster.pb",
			"--genesis", "@genesis.pb")
		b.refused(cli.ExitFailed, "federation", "roster", "verify", "@roster.pb", "--federation", strings.Repeat("ab", 32))
		b.refused(cli.ExitUsage, "goes with an admission", "roster", "change", "--roster", "@roster.pb", "--genesis", "@genesis.pb", "--kind", "removal",
			"--member", "XB", "--new-root", "@xb/offline/root.pub", "--out", "@no.pb")
		b.refused(cli.ExitUsage, "suspension", "roster", "change", "--roster", "@roster.pb", "--genesis", "@genesis.pb", "--kind", "holiday",
			"--member", "XB", "--out", "@no.pb")
		b.refused(cli.ExitUsage, "officer/NAME", "pki", "issue", "--authority", "@xa/authority", "--identity", "king/x", "--out", "@xa")
	})
}
