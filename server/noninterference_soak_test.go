//go:build soak

package server_test

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// TestSoakNoninterference compares 10,000 pairs, with seeds of their own, or as many as ENTENTE_SOAK_MINUTES (default 10) allow,
// and says how many that were.
func TestSoakNoninterference(t *testing.T) {
	minutes, err := strconv.Atoi(os.Getenv("ENTENTE_SOAK_MINUTES"))
	if err != nil {
		minutes = 10
	}
	const first, pairs, workers = 100_000, 10_000, 2
	g, began := newGround(t), time.Now()
	end := began.Add(time.Duration(minutes) * time.Minute)
	var taken, done atomic.Uint64
	t.Run("pairs", func(t *testing.T) {
		for worker := range workers {
			t.Run(fmt.Sprint("worker ", worker), func(t *testing.T) {
				t.Parallel()
				for seed := first + taken.Add(1); seed <= first+pairs && time.Now().Before(end); seed = first + taken.Add(1) {
					said := compare(t, g, newPlan(eyeOf(seed), seed, false), seed, planted{})
					if said != "" {
						t.Fatal(said)
					}
					done.Add(1)
				}
			})
		}
	})
	t.Logf("%d pairs in %s", done.Load(), time.Since(began).Round(time.Second))
}
