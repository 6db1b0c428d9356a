package main

import (
	"strings"
	"testing"
	"time"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/national"
)

// holds counts the records of others whose content a node has.
func holds(t *testing.T, node *national.Node) int {
	t.Helper()
	count := 0
	for _, s := range node.Ledger().Streams() {
		entries, err := node.Ledger().Follow(s.No, 1, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Released != nil && s.Owner != "XB" {
				count++
			}
		}
	}
	return count
}

// until waits for what happens in other goroutines.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); !done(); <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// TestAMemberLeavesAProjectAndThenTheFederation plays "Leaving" of docs/operations.md on running nodes.
func TestAMemberLeavesAProjectAndThenTheFederation(t *testing.T) {
	b := newBench(t)
	b.place()
	b.must(trusting("project", "open", "--id", "harbour-light", "--name", "Harbour light", "--lead", "XA", "--participant", "XB", "--purpose",
		"criminal-investigation", "--kind", "person", "--until", "2099-01-01", "--signing-key", "@xa/signing-key.key", "--out", "@xa/projects/h.pb")...)
	for _, m := range []string{"xa", "xb"} {
		b.must("node", "init", "--config", "@"+m+"/node.yaml")
	}
	b.runs("node", "XA")
	xb := b.held("XB")
	intake, team := "@xa/system-intake.yaml", "@xb/system-intake.yaml"
	lines, refs := persons(t, 3)
	writeFile(t, b.path("records.jsonl"), lines)
	b.must("push", "@records.jsonl", "--config", intake)
	b.must("release", refs[0], "--to", "project:harbour-light", "--config", intake)
	b.must("release", refs[1], "--to", "all", "--config", intake)
	b.must("release", refs[2], "--to", "XB", "--config", intake)
	until(t, "XB holds three records", func() bool { return holds(t, xb) == 3 })
	follow := []string{"follow", "--until-current", "--output", "json", "--config", team}
	project := append(follow[:len(follow):len(follow)], "--project", "harbour-light")
	until(t, "XB knows the project", func() bool {
		err := xb.Fetch(t.Context())
		return err == nil && xb.Directory().Projects["harbour-light"] != nil
	})
	if text := b.must(project...); !strings.Contains(text, `"record"`) {
		t.Fatalf("the project's team sees nothing:\n%s", text)
	}

	t.Run("out of the project, its records are denied, withdrawn and receipted for", func(t *testing.T) {
		b.t = t
		b.must(trusting("project", "depart", "@xa/projects/h.pb", "--member", "XB", "--signing-key", "@xa/signing-key.key")...)
		until(t, "XB hears of its departure", func() bool {
			err := xb.Fetch(t.Context())
			return err == nil && xb.Directory().Projects["harbour-light"].Left("XB")
		})
		if code, stdout, _ := b.try(project...); code != cli.ExitNotFound {
			t.Errorf("the project is still there: exit code %d\n%s", code, stdout)
		}
		until(t, "what came by the project is gone", func() bool { return holds(t, xb) == 2 })
		b.eventually("applied", "get", refs[0], "--config", intake)
		b.must("release", refs[0], "--to", "project:harbour-light", "--config", intake)
		b.must(follow...)
	})
	t.Run("out of the federation, all is closed, erased and receipted for", func(t *testing.T) {
		b.t = t
		writeFile(t, b.path("own.jsonl"), strings.ReplaceAll(lines, `"XA"`, `"XB"`))
		b.must("push", "@own.jsonl", "--config", team) // of its own, at home
		b.must(trusting("roster", "change", "--kind", "departure", "--member", "XB", "--out", "@departure.pb")...)
		b.signs("XB", "departure.pb")
		b.must("roster", "assemble", "--from", "@roster.pb", "--change", "@departure.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key",
			"--out", "@roster.pb", "--replace")
		copyFile(t, b.path("roster.pb"), b.path("xb", "roster.pb"))
		err := xb.Reload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.refused(cli.ExitFailed, "left the federation", follow...)
		if count := holds(t, xb); count != 0 {
			t.Errorf("it still holds %d records", count)
		}
		if list := b.must("list", "--config", team); !holdsAll(list, refs) {
			t.Errorf("its own records are gone:\n%s", list)
		}
		b.must("status", "--config", "@xb/operator-ops.yaml")
		copyFile(t, b.path("roster.pb"), b.path("xa", "roster.pb"))
		b.eventually(`"roster_number":"2"`, "status", "--config", "@xa/operator-ops.yaml", "--output", "json")
		until(t, "XA has taken the receipts", func() bool {
			owed, err := xb.Ledger().PendingReceipts("XA")
			return err == nil && len(owed) == 0
		})
		b.must("push", "@records.jsonl", "--config", intake)
		b.must("release", refs[2], "--to", "all", "--config", intake)
		if count := holds(t, xb); count != 0 {
			t.Errorf("%d records came after it left", count)
		}
	})
}
