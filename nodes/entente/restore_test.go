package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"entente.example/entente/client/cli"
)

func TestRestorePutsABackupInPlaceByCommand(t *testing.T) {
	b := newBench(t)
	b.found("XA", "XB")
	for _, m := range []string{"xa", "xb"} {
		writeFile(t, b.path(m, "node.yaml"), "member: "+strings.ToUpper(m)+"\ngenesis: ../genesis.pb\n")
		b.must("node", "init", "--config", "@"+m+"/node.yaml")
	}
	copyFile(t, b.path("xa", "node.db"), b.path("copy.db"))
	writeFile(t, b.path("xa", "node.marker"), "entente clean stop\n")

	before := readAll(t, b.dir)
	b.refused(cli.ExitUsage, "arg", "restore", "--config", "@xa/node.yaml")
	b.refused(cli.ExitUsage, "no such file", "restore", "--config", "@xa/node.yaml", "@other.db")
	b.refused(cli.ExitUsage, "sealed with a key", "restore", "--config", "@xa/node.yaml", "@xb/node.db")
	b.refused(cli.ExitUsage, "sealed with a key", "restore", "--config", "@xb/node.yaml", "@copy.db")
	b.refused(cli.ExitUsage, "another node", "restore", "--config", "@xb/node.yaml", "--sealing-key", "@xa/sealing.key", "@copy.db")
	text := b.must("restore", "--config", "@xa/node.yaml", "--dry-run", "@copy.db")
	if !strings.Contains(text, "a good backup of this node") || !strings.Contains(text, "nothing was changed") {
		t.Errorf("a dry run says %q", text)
	}
	after := readAll(t, b.dir)
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s was changed by a refusal or a dry run", path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files, %d before", len(after), len(before))
	}

	text = b.must("restore", "--config", "@xa/node.yaml", "@copy.db")
	for _, part := range []string{"is in place", "before-restore-", "push again"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in %q", part, text)
		}
	}
	_, err := os.Stat(b.path("xa", "node.marker"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the marker is still there")
	}
	err = os.Remove(b.path("xa", "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	var said restoredJSON
	decode(t, b.must("restore", "--config", "@xa/node.yaml", "--output", "json", "@copy.db"), &said)
	if said.Former != "" || said.Schema != 2 || said.Upgrade || len(said.SHA256) != 64 || said.DryRun {
		t.Errorf("said %+v", said)
	}
	b.must("verify", "--config", "@xa/node.yaml")
}
