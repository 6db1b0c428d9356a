package server_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

const (
	serving    = healthv1.HealthCheckResponse_SERVING
	notServing = healthv1.HealthCheckResponse_NOT_SERVING
)

func watchHealth(t *testing.T, n *node, service string) healthv1.Health_WatchClient {
	t.Helper()
	watch, err := healthv1.NewHealthClient(n.system("registry")).Watch(patient(t), &healthv1.HealthCheckRequest{Service: service})
	n.w.must(err)
	return watch
}

// wantHealth reads a watch until it says the state.
func wantHealth(t *testing.T, watch healthv1.Health_WatchClient, want healthv1.HealthCheckResponse_ServingStatus) {
	t.Helper()
	for {
		m, err := watch.Recv()
		if err != nil {
			t.Fatalf("waiting for %s: %v", want, err)
		}
		if m.GetStatus() == want {
			return
		}
	}
}

func TestEachServiceServesFromWhenTheLedgerRunsUntilTheNodeStops(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	var watches []healthv1.Health_WatchClient
	for _, service := range []string{"", "entente.v1.IntakeService", "entente.v1.ExchangeService", "entente.v1.LibraryService"} {
		watch := watchHealth(t, n, service)
		wantHealth(t, watch, serving)
		watches = append(watches, watch)
		response, err := healthv1.NewHealthClient(n.peer("XB")).Check(patient(t), &healthv1.HealthCheckRequest{Service: service})
		w.must(err)
		if response.GetStatus() != serving {
			t.Errorf("%q: %s", service, response.GetStatus())
		}
	}
	n.stop()
	for _, watch := range watches {
		m, err := watch.Recv()
		if err != nil || m.GetStatus() != notServing {
			t.Errorf("the last word is %s, %v", m.GetStatus(), err)
		}
		_, err = watch.Recv()
		wantCode(t, err, codes.Unavailable)
	}
}

func TestAServiceThatDoesNotExistHasNoHealth(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	for _, service := range []string{"entente.v1.NetworkService", "nothing"} { // this node has no view and no coordinator
		_, err := healthv1.NewHealthClient(n.system("registry")).Check(patient(t), &healthv1.HealthCheckRequest{Service: service})
		wantCode(t, err, codes.NotFound)
		wantHealth(t, watchHealth(t, n, service), healthv1.HealthCheckResponse_SERVICE_UNKNOWN)
	}
}

// reopen opens the data file of a node that was stopped, without serving.
func (n *node) reopen() *ledger.Ledger {
	n.w.t.Helper()
	file, err := store.Open(n.file)
	n.w.must(err)
	n.w.t.Cleanup(func() { n.w.must(file.Close()) })
	return n.open(file, slog.New(slog.DiscardHandler)).ledger
}

func (n *node) open(file *store.Store, logger *slog.Logger) parts {
	n.w.t.Helper()
	return n.w.hold(n.id, file, logger)
}

// acknowledged pushes records one message after the other without waiting, and gives the references of those with a verdict
// when the call ends.
func acknowledged(t *testing.T, n *node, name string, ready *sync.WaitGroup) []string {
	call, err := ententev1.NewIntakeServiceClient(n.system("registry")).Push(patient(t))
	if err != nil {
		t.Error(err)
		ready.Done()
		return nil
	}
	go func() { // ends with the call
		for batch := uint64(1); ; batch++ {
			request := &ententev1.PushRequest{Batch: batch}
			for i := range 20 {
				request.Items = append(request.Items, person(fmt.Sprintf("%s-%d-%d", name, batch, i), toAll()))
			}
			err := call.Send(request)
			if err != nil {
				return
			}
		}
	}()
	var references []string
	for first := true; ; first = false {
		response, err := call.Recv()
		if first {
			ready.Done()
		}
		if err != nil {
			code := status.Code(err)
			if code != codes.Unavailable {
				t.Errorf("the call ended with %v", err)
			}
			return references
		}
		for _, verdict := range response.GetVerdicts() {
			if verdict.GetOutcome() == ententev1.Outcome_OUTCOME_ACCEPTED {
				references = append(references, verdict.GetProviderReference())
			}
		}
	}
}

func TestWhatWasAcknowledgedBeforeAStopIsHeldAfterIt(t *testing.T) {
	for round := range 4 {
		w := newWorld(t)
		n := w.start("XA")
		const pushers = 4
		var acked [pushers][]string
		var pushing, ready sync.WaitGroup
		ready.Add(pushers)
		for i := range pushers {
			pushing.Go(func() { acked[i] = acknowledged(t, n, fmt.Sprint("p", i), &ready) })
		}
		ready.Wait() // each has something on disk; where the stop falls from here on is left to chance
		for range round {
			_, err := ententev1.NewIntakeServiceClient(n.system("registry")).List(patient(t), &ententev1.ListRequest{Consultation: asking(), PageSize: 1})
			w.must(err)
		}
		n.stop()
		pushing.Wait()
		held, count := n.reopen(), 0
		for _, list := range acked {
			for _, reference := range list {
				count++
				_, err := held.Record(held.RecordID("Police", reference), 0)
				if err != nil {
					t.Fatalf("round %d: %s was acknowledged and is not held: %v", round, reference, err)
				}
			}
		}
		if count == 0 {
			t.Errorf("round %d: nothing was acknowledged", round)
		}
		_, err := held.Record(held.RecordID("Police", "never pushed"), 0)
		if !errors.Is(err, ledger.ErrAbsent) {
			t.Errorf("the check finds what was never pushed: %v", err)
		}
	}
}

func TestAStopAnswersWhatTheLedgerHasTaken(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	p := openPush(t, n.system("registry"))
	w.must(p.batch("before", 1))
	began := time.Now()
	n.stop()
	_, err := p.call.Recv()
	wantCode(t, err, codes.Unavailable)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("an idle push held up the stop for %s", took)
	}
}

// startAgain runs a node anew, on the same data file, with other options of the file and another logger.
func (w *world) startAgain(id member.ID, options func(*store.Options), logger *slog.Logger, configure ...func(*server.Config)) *node {
	w.t.Helper()
	var cfg server.Config
	n := w.start(id, append(configure, func(c *server.Config) { cfg = *c })...)
	n.stop()
	options(&n.file)
	file, err := store.Open(n.file)
	w.must(err)
	held := n.open(file, logger)
	n.ledger, n.trail = held.ledger, held.trail
	cfg.Ledger, cfg.Trail, cfg.Honey, cfg.Logger = held.ledger, held.trail, held.honey, logger
	n.Server, err = server.New(cfg)
	w.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	n.address = listener.Addr().String()
	n.stop = run(w, n.ledger, n.Server, file, listener)
	w.t.Cleanup(n.stop)
	return n
}

func TestTheServicesThatWriteDoNotServeForAWhileAfterTheDiskWasFull(t *testing.T) {
	w := newWorld(t)
	n := w.startAgain("XA", func(o *store.Options) { o.MaxBytes, o.InitialMmap = store.MinMaxBytes, 0 }, slog.New(slog.DiscardHandler))
	intake, exchange, library := watchHealth(t, n, "entente.v1.IntakeService"), watchHealth(t, n, "entente.v1.ExchangeService"),
		watchHealth(t, n, "entente.v1.LibraryService")
	for _, watch := range []healthv1.Health_WatchClient{intake, exchange, library} {
		wantHealth(t, watch, serving)
	}
	p := openPush(t, n.system("registry"))
	for full := false; !full; { // at most some hundred messages fit
		p.sent++
		request := &ententev1.PushRequest{Batch: p.sent}
		for i := range 500 {
			record := personRecord(fmt.Sprintf("r-%d-%d", p.sent, i), 1)
			record.GetBody().GetPerson().Notes = strings.Repeat("x", 4000)
			request.Items = append(request.Items, item(record))
		}
		w.must(p.call.Send(request))
		_, err := p.call.Recv()
		full = status.Code(err) == codes.ResourceExhausted
		if err != nil && !full {
			t.Fatal(err)
		}
	}
	wantHealth(t, intake, notServing)
	wantHealth(t, exchange, notServing)
	check := func(service string) healthv1.HealthCheckResponse_ServingStatus {
		response, err := healthv1.NewHealthClient(n.system("registry")).Check(patient(t), &healthv1.HealthCheckRequest{Service: service})
		w.must(err)
		return response.GetStatus()
	}
	if check("entente.v1.LibraryService") != serving || check("") != serving {
		t.Error("what reads does not serve while the disk is full")
	}
	w.change(func() { w.late = time.Minute }) // nobody writes: somebody must be let in to find out
	if check("entente.v1.IntakeService") != serving {
		t.Error("the intake does not serve a minute later")
	}
}
