//go:build soak

package ledger_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestSoakLedger runs the simulation with ever new seeds for ENTENTE_SOAK_MINUTES (default 10).
func TestSoakLedger(t *testing.T) {
	minutes, err := strconv.Atoi(os.Getenv("ENTENTE_SOAK_MINUTES"))
	if err != nil {
		minutes = 10
	}
	first := *onlySeed
	if first == 0 {
		first = 1000
	}
	end := time.Now().Add(time.Duration(minutes) * time.Minute)
	for seed := first; time.Now().Before(end); seed++ {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { newSim(t, seed).run(300) })
		if !ok {
			t.Fatalf("seed %d; again with -run TestSoakLedger/%d -seed %d", seed, seed, seed)
		}
	}
}
