//go:build soak

package main_test

import (
	"testing"
	"time"
)

// tracedKillsPerMinute times the minutes is how often the node is killed while it answers and releases: 100 times in the 10
// minutes of `make soak`.
const tracedKillsPerMinute = 10

// TestSoakTrace kills the node of a member while it answers, releases and is asked by other members, now and then while it
// starts or with a reader beside it. After each start whatever somebody got whole is in the trail, whatever another member
// holds is in a trail and in the table of deliveries, nothing acknowledged is missing, and the trail verifies and continues the
// one of before.
func TestSoakTrace(t *testing.T) {
	binary := buildProgram(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	v := newVigil(t, binary, seed)
	wanted := tracedKillsPerMinute * minutes(t)
	for v.kills < wanted {
		v.begin()
		for range min(roundKills, wanted-v.kills) {
			v.killTraced()
			v.look()
		}
		v.settle()
		v.home.kill()
		v.home.verify() // as the crash left it
		v.home.start()
		t.Logf("%d kills, %d answers, %d entries at readers, %d entries of the trail, %.0f seconds",
			v.kills, v.checked, v.sent, len(v.trails[xa].entries), time.Since(v.began).Seconds())
	}
	v.end()
}

// killTraced kills once, at an instant left to chance.
func (v *vigil) killTraced() {
	v.t.Helper()
	switch v.chance.IntN(6) {
	case 0:
		v.killAtStart()
	case 1:
		v.killWithReader()
	default:
		v.killUnderReads([]int{5, 50, 200}[v.chance.IntN(3)])
	}
}
