package main

import (
	"strings"
	"testing"

	"entente.example/entente/client/cli"
)

// TestTheTourRunsInOneProcess runs the demonstration as a user does; what it shows is judged in package demo.
func TestTheTourRunsInOneProcess(t *testing.T) {
	b := newBench(t)
	text := b.must("demo", "--once")
	for _, want := range []string{"Scene 1 of 14 — ", "Scene 14 of 14 — ", "$ entente stream import forged.streams", "no damage", "VIEW OF"} {
		if !strings.Contains(text, want) {
			t.Errorf("the tour does not show %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "entente-demo-") && !strings.Contains(text, "$ cd ") {
		t.Error("a path of this machine stands in the tour, and no word on how to get there")
	}
}

func TestPauseIsForAPersonBeforeTheTour(t *testing.T) {
	b := newBench(t)
	for _, other := range [][]string{{"--once"}, {"--output", "json"}, {"--from", "@", "--mapping", "@none.yaml"}} {
		b.refused(cli.ExitUsage, "--pause", append([]string{"demo", "--pause"}, other...)...)
	}
}
