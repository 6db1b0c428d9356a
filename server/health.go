package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/store"
)

const (
	healthCheckMethod = healthv1.Health_Check_FullMethodName
	healthWatchMethod = healthv1.Health_Watch_FullMethodName
	// fullFor is how long the services that write say that they do not serve after a write that the disk had no room for.
	// A write that succeeds ends it at once; but while nobody sends any, somebody must try again.
	fullFor = 30 * time.Second
)

// state is how far the node is.
type state int

const (
	starting state = iota // the ledger does not take anything yet
	running
	draining
)

// health answers whether the node, or one service of it, serves: overall ("") from when the ledger takes what comes until
// the node begins to stop; the services that write, beyond that, only while there is room on the disk.
//
// It is not the health server of gRPC: that one may end a Watch before it has said that the node is stopping.
type health struct {
	healthv1.UnimplementedHealthServer
	now      func() time.Time
	services map[string]bool // those that exist; true: it writes

	mu      sync.Mutex // covers all below
	state   state
	fullAt  time.Time     // when the disk last had no room; zero: never, or a write has succeeded since
	changed chan struct{} // closed and replaced when an answer may have changed
}

func newHealth(now func() time.Time) *health {
	return &health{now: now, services: map[string]bool{"": false}, changed: make(chan struct{})}
}

// serve adds the services that are registered. It is called before the node runs.
func (h *health) serve(services map[string]grpc.ServiceInfo) {
	for name := range services {
		h.services[name] = name == ententev1.IntakeService_ServiceDesc.ServiceName || name == ententev1.ExchangeService_ServiceDesc.ServiceName
	}
}

// Check answers the state of a service.
func (h *health) Check(_ context.Context, request *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	answer, _ := h.answer(request.GetService())
	if answer == healthv1.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "there is no such service")
	}
	return &healthv1.HealthCheckResponse{Status: answer}, nil
}

// Watch tells the state of a service, and each change of it. When the node stops, that is the last thing it tells.
func (h *health) Watch(request *healthv1.HealthCheckRequest, out healthv1.Health_WatchServer) error {
	last := healthv1.HealthCheckResponse_UNKNOWN // which is never sent
	for ending := false; ; {
		answer, changed := h.answer(request.GetService())
		if answer != last {
			err := out.Send(&healthv1.HealthCheckResponse{Status: answer})
			if err != nil {
				return err
			}
			last = answer
		}
		if ending {
			return ended(out.Context())
		}
		select {
		case <-changed:
		case <-out.Context().Done():
			ending = true // once more: what ended the call may be the stop that is to be told
		}
	}
}

// answer is the state of a service, and a channel that is closed when it may have changed.
func (h *health) answer(service string) (healthv1.HealthCheckResponse_ServingStatus, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	writes, known := h.services[service]
	switch {
	case !known:
		return healthv1.HealthCheckResponse_SERVICE_UNKNOWN, h.changed
	case h.state != running || writes && h.full():
		return healthv1.HealthCheckResponse_NOT_SERVING, h.changed
	}
	return healthv1.HealthCheckResponse_SERVING, h.changed
}

// full is called with mu held.
func (h *health) full() bool { return !h.fullAt.IsZero() && h.now().Sub(h.fullAt) < fullFor }

// become moves on to a later state; a state once left does not come back.
func (h *health) become(next state) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if next <= h.state {
		return
	}
	h.state = next
	h.wake()
}

func (h *health) draining() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state == draining
}

// wrote notes how a write ended.
func (h *health) wrote(err error) {
	full := errors.Is(err, store.ErrFull)
	if err != nil && !full {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	was := !h.fullAt.IsZero()
	h.fullAt = time.Time{}
	if full {
		h.fullAt = h.now()
	}
	if was != full {
		h.wake()
	}
}

// lookAgain wakes who watches after time has passed.
func (h *health) lookAgain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.fullAt.IsZero() {
		h.wake()
	}
}

// wake is called with mu held.
func (h *health) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}
