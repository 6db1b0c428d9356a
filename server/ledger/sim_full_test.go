package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

// limited reopens a member's ledger with a limit for its file.
func (s *sim) limited(one *simNode, limit int64) {
	one.n.stop()
	s.limit = limit
	one.n = s.start(one.id, true, 1<<40)
}

func TestAFullDiskLeavesNothingHalfDoneAndGoesOnWithMoreSpace(t *testing.T) {
	s := newSim(t, 1)
	own := s.nodes["XA"]
	s.limited(own, store.MinMaxBytes)
	full, pushed := false, 0
	for i := 0; i < 400 && !full; i++ {
		var items []ledger.Item
		for j := range 10 { // about 1 MB
			it := person(fmt.Sprintf("f%d-%d", i, j), 1, "Full", toAll(), toMembers("XC"))
			it.Record.Body.GetPerson().Notes = strings.Repeat("x", 100_000)
			items = append(items, it)
		}
		before := brief(own.n)
		_, err := own.n.Push(context.Background(), "Central Unit", items)
		full = errors.Is(err, store.ErrFull)
		if err != nil && !full {
			t.Fatal(err)
		}
		if full && brief(own.n) != before {
			t.Fatal("a push that found the disk full has left something")
		}
		if !full {
			pushed += len(items)
		}
	}
	if !full || pushed == 0 {
		t.Fatalf("the disk was never full, or at once: %d records", pushed)
	}
	s.carry(own, s.nodes["XB"], 1<<20, false)
	s.carry(own, s.nodes["XC"], 1<<20, false)
	if n := len(s.nodes["XC"].n.released("XA", "XC")); n != pushed {
		t.Errorf("XC got %d records from the full node, want %d", n, pushed)
	}
	s.collect(s.checkStreams(own))
	before := brief(own.n)
	s.limited(own, 0)
	if brief(own.n) != before {
		t.Fatal("after a start with more space something else is there")
	}
	own.n.push(person("more", 1, "More", toAll()), withdrawalOf("f0-0", 0))
	s.carry(own, s.nodes["XB"], 1<<20, false)
	got := s.nodes["XB"].n.released("XA", "XB")
	if got[own.n.id("more")] != 1 || got[own.n.id("f0-0")] != 0 {
		t.Errorf("after more space XB holds more %d and f0-0 %d times", got[own.n.id("more")], got[own.n.id("f0-0")])
	}
	s.collect(s.checkStreams(own))
}

// brief is describe without the bodies, which are large here.
func brief(n *node) string {
	stats := n.Stats()
	text := fmt.Sprintf("%d %d %x\n", stats.Records, stats.Waiting, n.HeadsDigest())
	for _, s := range n.Streams() {
		text += fmt.Sprintf("%s %d %x %v\n", s.ID, s.Size, s.Root, n.released("XA", s.Readers[0]))
	}
	return text
}
