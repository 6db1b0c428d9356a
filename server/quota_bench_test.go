package server_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"entente.example/entente/server"
)

// BenchmarkPoliteBesideAFlood measures how long the calls of a polite system take alone and beside a flood of another system
// that calls as often as it can over 32 goroutines, a hundred times and more of what it may; round by round in turn. It
// prints the median and the 99th percentile of both, and the ratio of the 99th percentiles, with limits and without.
func BenchmarkPoliteBesideAFlood(b *testing.B) {
	for _, one := range []struct {
		name   string
		quotas server.Quotas
	}{
		{"held to its limit", server.Quotas{Identities: map[string]server.Quota{"system/customs": {CallsPerSecond: 50}}}},
		{"not held", server.Quotas{Identities: map[string]server.Quota{"system/customs": {CallsPerSecond: 1e9, WorkPerSecond: 1e9}}}},
	} {
		b.Run(one.name, func(b *testing.B) {
			w := newWorld(b)
			n := w.start("XA", withQuotas(one.quotas))
			registry := n.system("registry")
			pushAll(b, registry, person("P-1"))
			flooders := []*grpc.ClientConn{n.system("customs"), n.system("customs")}
			var alone, beside []time.Duration
			for range 5 {
				alone = append(alone, times(b, registry)...)
				stop := flood(flooders)
				beside = append(beside, times(b, registry)...)
				stop()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(percentile(alone, 50), "alone-p50-µs")
			b.ReportMetric(percentile(alone, 99), "alone-p99-µs")
			b.ReportMetric(percentile(beside, 50), "beside-p50-µs")
			b.ReportMetric(percentile(beside, 99), "beside-p99-µs")
			b.ReportMetric(percentile(beside, 99)/percentile(alone, 99), "p99-ratio")
		})
	}
}

// times makes calls one after the other and gives how long each took.
func times(b *testing.B, conn *grpc.ClientConn) []time.Duration {
	var list []time.Duration
	for range 400 {
		began := time.Now()
		err := listOne(conn, patient(b))
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, time.Since(began))
	}
	return list
}

// flood calls from 32 goroutines until stop, which waits for them.
func flood(conns []*grpc.ClientConn) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() { // ends with cancel
			for ctx.Err() == nil {
				_ = listOne(conns[i%len(conns)], ctx) // most are refused
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

func percentile(list []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return float64(sorted[len(sorted)*p/100]) / float64(time.Microsecond)
}
