//go:build soak

package coordinator_test

import (
	"testing"
	"time"
)

// TestSoakWithdrawals withdraws 1,000 records one by one, in fives of 200 that stand beside each other, and measures at
// every reader when the last answer had shown each.
func TestSoakWithdrawals(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	f := newFlock(w)
	var took []time.Duration
	for round := range 5 {
		took = append(took, f.lags(f.release(200*round, 200))...)
	}
	reportLags(t, took)
}

// TestSoakNothingSurvives withdraws 1,000 records and looks for them in every answer and every file.
func TestSoakNothingSurvives(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	free := newFlock(w).vanish(t, 1000)
	if free == 0 {
		t.Error("no sealed bytes were left in free pages by the withdrawal: the search after the compaction finds nothing")
	}
}
