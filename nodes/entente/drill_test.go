package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"entente.example/entente/client/cli"
)

// place founds a federation of two countries and a coordinator, the second country being the other assembler, and gives
// each its own folder with its own copies of the documents, as on machines of their own.
func (b *bench) place() (addresses map[string]string) {
	b.t.Helper()
	addresses = map[string]string{}
	genesis := []string{"roster", "genesis", "--name", "Invented countries", "--assembler", "COORD,XA", "--out", "@genesis.pb"}
	assemble := []string{"roster", "assemble", "--genesis", "@genesis.pb", "--assembler", "COORD", "--signing-key", "@coord/signing-key.key", "--out", "@roster.pb"}
	for _, m := range []string{"COORD", "XA", "XB"} {
		b.keys(m)
		addresses[m] = freeAddress(b.t)
		genesis = append(genesis, "--founder", m+"=@"+strings.ToLower(m)+"/offline/root.pub")
		assemble = append(assemble, "--entry", "@"+strings.ToLower(m)+"/entry.pb")
	}
	b.must(genesis...)
	for m, address := range addresses {
		b.signs(m, "genesis.pb")
		kind := "national"
		if m == "COORD" {
			kind = "coordinator"
		}
		b.enter(m, kind, address)
		b.site(m, address)
		b.ownRoster(m)
	}
	b.must(assemble...)
	for m := range addresses {
		copyFile(b.t, b.path("roster.pb"), b.path(strings.ToLower(m), "roster.pb"))
	}
	return addresses
}

// ownRoster has a member's node read a roster of its own.
func (b *bench) ownRoster(m string) {
	b.t.Helper()
	path := b.path(strings.ToLower(m), "node.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	writeFile(b.t, path, strings.Replace(string(content), "roster: ../roster.pb", "roster: roster.pb", 1))
}

// runs starts a member's node.
func (b *bench) runs(kind, m string) *running {
	b.t.Helper()
	node := b.start(false, kind, "run", "--config", "@"+strings.ToLower(m)+"/node.yaml")
	node.await("node started")
	b.t.Cleanup(node.stop)
	return node
}

// TestADrillTheCoordinatorAndItsKeysAreLost plays the drill of docs/operations.md: the coordinator's machine is gone with all
// keys, and somebody else may have them. The others go on, another assembler issues the roster by which the coordinator gets
// a new root, the nodes take it by file and from each other, and the merged view answers again.
func TestADrillTheCoordinatorAndItsKeysAreLost(t *testing.T) {
	b := newBench(t)
	addresses := b.place()
	lines, refs := persons(t, 3)
	writeFile(t, b.path("records.jsonl"), lines)
	nodes := map[string]*running{}
	for m, kind := range map[string]string{"COORD": "coordinator", "XA": "node", "XB": "node"} {
		b.must(kind, "init", "--config", "@"+strings.ToLower(m)+"/node.yaml")
		nodes[m] = b.runs(kind, m)
	}
	intake, officer := "@xa/system-intake.yaml", "@xb/officer-lind.yaml"
	view := []string{"view", "entities", "--config", officer, "--output", "json"}
	team := b.start(true, "follow", "--config", "@xb/system-intake.yaml", "--output", "json")
	defer team.end()
	b.must("push", "@records.jsonl", "--config", intake)
	b.must("release", refs[0], "--to", "all", "--config", intake)
	team.await(`"owner":"XA"`, `"record"`)
	b.eventually(`"entities"`, view...)

	// The machine is gone. What a thief has is what lay on it.
	nodes["COORD"].end()
	err := os.Rename(b.path("coord"), b.path("stolen"))
	if err != nil {
		t.Fatal(err)
	}
	b.must("release", refs[1], "--to", "all", "--config", intake)
	team.await(`"owner":"XA"`, `"record"`) // members go on without it
	if code, _, _ := b.try(view...); code == cli.ExitOK {
		t.Fatal("a view came although there is no coordinator")
	}

	b.must("pki", "root", "--out", "@coord/offline")
	b.must("pki", "authority", "--member", "COORD", "--out", "@coord/authority")
	b.must("pki", "signing-key", "--out", "@coord")
	b.must("pki", "issue", "--authority", "@coord/authority", "--identity", "node", "--out", "@coord")
	b.must(trusting("roster", "change", "--kind", "root-change", "--member", "COORD", "--new-root", "@coord/offline/root.pub", "--out", "@change.pb")...)
	b.signs("XA", "change.pb")
	b.signs("XB", "change.pb")
	moved := freeAddress(t)
	b.must(trusting("roster", "entry", "--member", "COORD", "--address", moved, "--authority", "@coord/authority/authority.pem",
		"--signing-key", "@coord/signing-key.pub", "--earlier-compromised", "--root", "@coord/offline/root.key", "--out", "@coord-entry.pb")...)
	next := []string{"roster", "assemble", "--from", "@roster.pb", "--change", "@change.pb", "--entry", "@coord-entry.pb", "--assembler", "XA",
		"--signing-key", "@xa/signing-key.key"}
	if text := b.must(append(next, "--dry-run")...); !strings.Contains(text, "COORD gets a new root") || !strings.Contains(text, "is revoked, was current") {
		t.Errorf("the dry run does not say what is to be:\n%s", text)
	}
	b.must(append(next, "--out", "@new.pb")...)

	// By file at the assembler; XB's node has it from XA's.
	copyFile(t, b.path("new.pb"), b.path("xa", "roster.pb"))
	nodes["XA"].await("have changed", "roster=2")
	b.eventually(`"roster_number":"2"`, "status", "--config", "@xb/operator-ops.yaml", "--output", "json")

	b.site("COORD", moved)
	b.ownRoster("COORD")
	copyFile(t, b.path("new.pb"), b.path("coord", "roster.pb"))
	b.must("coordinator", "init", "--config", "@coord/node.yaml")
	b.must("coordinator", "check", "--config", "@coord/node.yaml")
	nodes["COORD"] = b.runs("coordinator", "COORD")
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); entities(t, b.eventually(`"view"`, view...)) != 2; <-again.C {
		if time.Now().After(deadline) {
			t.Fatal("the new coordinator does not merge both records")
		}
	}

	t.Run("the lost keys open nothing any more", func(t *testing.T) {
		b.t = t
		b.refused(cli.ExitFailed, "no key of COORD that counts", "roster", "assemble", "--from", "@new.pb", "--assembler", "COORD",
			"--signing-key", "@stolen/signing-key.key", "--out", "@no.pb")
		// A roster that goes on from the one before the loss verifies by itself; whoever holds the new one refuses it.
		b.must("roster", "assemble", "--from", "@roster.pb", "--assembler", "COORD", "--signing-key", "@stolen/signing-key.key", "--number", "9", "--out", "@forged.pb")
		b.refused(cli.ExitFailed, "it lacks change 1", "roster", "verify", "@forged.pb", "--held", "@new.pb", "--genesis", "@genesis.pb")
		copyFile(t, b.path("forged.pb"), b.path("xb", "roster.pb"))
		nodes["XB"].await("the last good ones stay", "it lacks change 1")

		yaml, err := os.ReadFile(b.path("stolen", "node.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, b.path("stolen", "node.yaml"), strings.Replace(string(yaml), addresses["COORD"], freeAddress(t), 1))
		thief := b.start(false, "coordinator", "run", "--config", "@stolen/node.yaml")
		thief.await("peer lost", "peer=XA", "unknown certificate authority")
		thief.end()
	})
	for m, node := range nodes {
		if code := node.end(); code != cli.ExitOK {
			t.Errorf("the node of %s ended with exit code %d", m, code)
		}
	}
}
