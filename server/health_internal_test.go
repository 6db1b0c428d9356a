package server

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// watcher is the server's side of a Watch, as far as it is used; after the first message it does what a test wants.
type watcher struct {
	healthv1.Health_WatchServer
	ctx   context.Context
	first func()
	told  []healthv1.HealthCheckResponse_ServingStatus
}

func (w *watcher) Context() context.Context { return w.ctx }

func (w *watcher) Send(m *healthv1.HealthCheckResponse) error {
	w.told = append(w.told, m.GetStatus())
	if len(w.told) == 1 {
		w.first()
	}
	return nil
}

func TestTheLastThingThatAWatchTellsIsThatTheNodeStops(t *testing.T) {
	for range 50 { // which of the two is seen first is left to chance
		h := newHealth(clockOfTests().now)
		h.serve(map[string]grpc.ServiceInfo{"service": {}})
		h.become(running)
		ctx, cancel := context.WithCancelCause(context.Background())
		w := &watcher{ctx: ctx, first: func() {
			h.become(draining)
			cancel(errStopping)
		}}
		err := h.Watch(&healthv1.HealthCheckRequest{Service: "service"}, w)
		want := []healthv1.HealthCheckResponse_ServingStatus{healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING}
		if status.Code(err) != codes.Unavailable || !slices.Equal(w.told, want) {
			t.Fatalf("told %v, then %v", w.told, err)
		}
	}
}

func TestAHealthThatStopsDoesNotComeBack(t *testing.T) {
	h := newHealth(clockOfTests().now)
	for _, step := range []struct {
		next state
		want healthv1.HealthCheckResponse_ServingStatus
	}{
		{starting, healthv1.HealthCheckResponse_NOT_SERVING}, {running, healthv1.HealthCheckResponse_SERVING},
		{draining, healthv1.HealthCheckResponse_NOT_SERVING}, {running, healthv1.HealthCheckResponse_NOT_SERVING},
	} {
		h.become(step.next)
		got, err := h.Check(context.Background(), &healthv1.HealthCheckRequest{})
		if err != nil || got.GetStatus() != step.want {
			t.Errorf("after %d: %s, %v", step.next, got.GetStatus(), err)
		}
	}
}
