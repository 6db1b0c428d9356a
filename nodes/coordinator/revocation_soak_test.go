//go:build soak

package coordinator_test

import (
	"testing"
	"time"
)

// TestSoakRevocations revokes 100 certificates under open streams, and that of a node from which all others pull, with the
// intervals of a real node. Each stream must end within 10 s of the list's file being in place.
func TestSoakRevocations(t *testing.T) {
	w := newWorld(t)
	w.reload, w.fetch = 2*time.Second, 3*time.Second
	w.startAll()
	var took []time.Duration
	for range 5 {
		took = append(took, w.siege(20)...)
	}
	report(t, took)
	report(t, w.siegeOfANode())
}
