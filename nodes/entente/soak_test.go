//go:build soak

package main_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	// killsPerMinute times the minutes is how often the node is killed: 50 times in the 10 minutes of `make soak`, which
	// take less.
	killsPerMinute = 5
	// roundKills is after how many kills everything is compared with nothing in flight.
	roundKills = 10
)

// minutes is what `make soak` was given.
func minutes(t *testing.T) int {
	text := os.Getenv("ENTENTE_SOAK_MINUTES")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ENTENTE_SOAK_MINUTES is %q, not a number of minutes", text)
	}
	return n
}

// TestSoakKill kills the node of a member under push, while it serves and while it starts, and now and then the node of a
// reader beside it. No acknowledged record may be missing at any time; the readers come to hold exactly what is released.
func TestSoakKill(t *testing.T) {
	binary := buildProgram(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := newSiege(t, binary, seed)
	wanted := killsPerMinute * minutes(t)
	for s.kills < wanted {
		s.begin()
		for range min(roundKills, wanted-s.kills) {
			s.killSomehow()
			s.nothingMissing()
		}
		s.settle()
		s.home.kill()
		s.home.verify() // as the crash left it
		s.home.start()
		t.Logf("%d kills, %d acknowledged, %.0f seconds", s.kills, s.claims.acknowledged(), time.Since(s.began).Seconds())
	}
	s.compare()
	s.finish()
}

// killSomehow kills once, at an instant left to chance.
func (s *siege) killSomehow() {
	s.t.Helper()
	switch s.chance.IntN(5) {
	case 0:
		s.killAtStart()
	case 1:
		s.killWithReader()
	default:
		s.killUnderPush([]int{20, 600, 3000}[s.chance.IntN(3)])
	}
}

// killAtStart kills the node, and kills it again while it starts.
func (s *siege) killAtStart() {
	s.t.Helper()
	s.pushing.give(500)
	s.home.kill()
	s.home.launch()
	instant := time.NewTimer(time.Duration(s.chance.IntN(120)) * time.Millisecond)
	defer instant.Stop()
	select {
	case <-instant.C:
	case <-s.home.run.ended:
	}
	s.home.kill()
	s.kills++
	s.home.start()
}

// killWithReader kills the nodes of owner and reader in one moment, so that the owner waits for the reader's word.
func (s *siege) killWithReader() {
	s.t.Helper()
	due := s.claims.acknowledged() + 1 + s.chance.IntN(200)
	s.pushing.give(500)
	s.claims.await(s.t, due)
	reader := s.places[xb]
	reader.kill()
	s.home.kill()
	s.kills++
	s.home.start()
	reader.start()
}

// nothingMissing compares while registries push.
func (s *siege) nothingMissing() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	acked := s.claims.snapshot()
	wrong, err := missing(ctx, s.home.system(), acked, false)
	s.must(err)
	if len(wrong) > 0 {
		s.t.Fatalf("after kill %d, of %d records: %s", s.kills, len(acked), few(wrong))
	}
}

// TestSoakKillAtInit kills the command that makes the data file; the next call of it must come to its end.
func TestSoakKillAtInit(t *testing.T) {
	w := newWorld(t, buildProgram(t))
	p := w.places[xa]
	for delay := range 40 {
		for _, name := range []string{"node.db", "sealing.key", "id.key", "signing-key.key"} {
			w.must(os.Remove(filepath.Join(p.dir, name)))
		}
		p.killCommand(time.Duration(delay)*time.Millisecond, p.command, "init", "--config", p.path("node.yaml"))
		_, err := os.Stat(p.path("node.db"))
		if err != nil {
			p.mustCommand(p.command, "init", "--config", p.path("node.yaml"))
		}
		p.verify()
	}
}
