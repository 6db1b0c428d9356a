package ledger_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"entente.example/entente/server/ledger"
)

// BenchmarkPush measures what a record costs between the network and the disk: 4 callers with 1,000 records in flight
// each, in messages of 100, released to all members.
func BenchmarkPush(b *testing.B) {
	w := newWorld(b)
	xa := w.start("XA", true)
	const callers, message, flight = 4, 100, 10
	b.ReportAllocs()
	b.ResetTimer()
	var wait sync.WaitGroup
	for c := range callers {
		for f := range flight {
			wait.Go(func() {
				for i := f; i*message < b.N/callers; i += flight {
					items := make([]ledger.Item, message)
					for j := range items {
						items[j] = person(fmt.Sprintf("c%d-%d-%d", c, i, j), 1, "Name of somebody", toAll())
						items[j].Record.Body.GetPerson().Notes = string(make([]byte, 700))
					}
					_, err := xa.Push(context.Background(), "Central Unit", items)
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
