package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server"
	"entente.example/entente/server/network"
)

// slow is a rate at which nothing comes back while a test runs.
const slow = 0.0001

func withQuotas(q server.Quotas) func(*server.Config) {
	return func(c *server.Config) { c.Quotas = func() server.Quotas { return q } }
}

// wantOver wants an answer of one who is over a limit: with the limit's name and how long to wait.
func wantOver(t testing.TB, err error, limit string) {
	t.Helper()
	wantCode(t, err, codes.ResourceExhausted)
	var wait time.Duration
	named := ""
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.RetryInfo:
			wait = detail.GetRetryDelay().AsDuration()
		case *errdetails.QuotaFailure:
			named = detail.GetViolations()[0].GetDescription()
		}
	}
	if named != limit || wait <= 0 {
		t.Errorf("want %s, got %q with a wait of %s", limit, named, wait)
	}
}

func listOne(conn *grpc.ClientConn, ctx context.Context) error {
	_, err := ententev1.NewIntakeServiceClient(conn).List(ctx, &ententev1.ListRequest{Consultation: asking(), PageSize: 1})
	return err
}

func TestACallOverTheLimitIsRefusedWithTheLimitAndHowLongToWait(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", withQuotas(server.Quotas{Identities: map[string]server.Quota{"system/customs": {CallsPerSecond: slow}}}))
	customs, registry := n.system("customs"), n.system("registry")
	w.must(listOne(customs, patient(t)))
	for range 3 {
		wantOver(t, listOne(customs, patient(t)), "calls_per_second")
		w.must(listOne(registry, patient(t)))
	}
	wantOver(t, listOne(n.system("customs"), patient(t)), "calls_per_second") // another connection is the same identity
}

func TestAFloodIsCutToItsLimitAndAPoliteCallerIsNeverRefused(t *testing.T) {
	const rate, polite = 20, 300
	w := newWorld(t)
	n := w.start("XA", withQuotas(server.Quotas{Identities: map[string]server.Quota{"system/customs": {CallsPerSecond: rate}}}))
	registry := n.system("registry")
	ctx, cancel := context.WithCancel(patient(t))
	var flood sync.WaitGroup
	var passed, refused atomic.Int64
	began := time.Now()
	for range 8 {
		conn := n.system("customs")
		flood.Go(func() { // ends with cancel
			for ctx.Err() == nil {
				err := listOne(conn, ctx)
				switch {
				case err == nil:
					passed.Add(1)
				case status.Code(err) == codes.ResourceExhausted:
					refused.Add(1)
				}
			}
		})
	}
	for i := range polite {
		err := listOne(registry, patient(t))
		if err != nil {
			t.Fatalf("call %d of the polite one: %v", i, err)
		}
	}
	for refused.Load() == 0 && ctx.Err() == nil { // a quick machine may be through before the flood has used up its ten seconds' worth
		w.must(listOne(registry, patient(t)))
	}
	stopping := time.Now()
	n.stop()
	if took := time.Since(stopping); took > 5*time.Second {
		t.Errorf("beside a flood the node takes %s to stop", took)
	}
	cancel()
	flood.Wait()
	most := int64(rate*(10+time.Since(began).Seconds())) + 1
	if passed.Load() > most || refused.Load() == 0 {
		t.Errorf("of the flood %d calls passed, at most %d are due; %d were refused", passed.Load(), most, refused.Load())
	}
}

func TestAFloodOfCallsThatAreClosedToItsCallerIsSlowedToo(t *testing.T) {
	const calls = 30
	w := newWorld(t)
	peer := w.start("XA").peer("XB")
	w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, "XB", "XB")
	began := time.Now()
	for range calls {
		_, err := ententev1.NewExchangeServiceClient(peer).Heads(patient(t), &ententev1.HeadsRequest{Digest: make([]byte, 32)})
		wantCode(t, err, codes.PermissionDenied)
	}
	if took := time.Since(began); took < calls*10*time.Millisecond {
		t.Errorf("%d refusals to one that has left took %s", calls, took)
	}
}

func TestAChangeOfTheLimitsCountsForTheNextCall(t *testing.T) {
	w := newWorld(t)
	var quotas server.Quotas // of the world's lock
	n := w.start("XA", func(c *server.Config) {
		c.Quotas = func() server.Quotas {
			w.mu.Lock()
			defer w.mu.Unlock()
			return quotas
		}
	})
	registry := n.system("registry")
	for range 20 {
		w.must(listOne(registry, patient(t)))
	}
	w.change(func() { quotas.Systems.CallsPerSecond = slow })
	w.must(listOne(registry, patient(t)))
	wantOver(t, listOne(registry, patient(t)), "calls_per_second")
	w.change(func() { quotas.Systems.CallsPerSecond = 1e6 })
	w.must(listOne(registry, patient(t)))
}

func TestOneIdentityHasSoManyOpenStreamsOverAllItsConnections(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", withQuotas(server.Quotas{Systems: server.Quota{OpenStreams: 2}}))
	open := func(name string) error {
		call, err := ententev1.NewStreamServiceClient(n.system(name)).Subscribe(patient(t), &ententev1.SubscribeRequest{
			Consultation: asking(), ProjectId: "harbour"})
		w.must(err)
		_, err = call.Recv()
		return err
	}
	w.must(open("team"))
	w.must(open("team"))
	wantOver(t, open("team"), "open_streams")
	w.must(open("registry"))
}

// pushing is a push that a test drives by hand.
type pushing struct {
	t    testing.TB
	call grpc.BidiStreamingClient[ententev1.PushRequest, ententev1.PushResponse]
	sent uint64
}

func openPush(t testing.TB, conn *grpc.ClientConn) *pushing {
	t.Helper()
	call, err := ententev1.NewIntakeServiceClient(conn).Push(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	return &pushing{t: t, call: call}
}

// batch sends count new records and waits for their verdicts.
func (p *pushing) batch(name string, count int) error {
	p.t.Helper()
	p.sent++
	request := &ententev1.PushRequest{Batch: p.sent}
	for i := range count {
		request.Items = append(request.Items, person(fmt.Sprintf("%s-%d-%d", name, p.sent, i), toAll()))
	}
	err := p.call.Send(request)
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the call is over, and Recv says why
		return err
	}
	response, err := p.call.Recv()
	if err != nil {
		return err
	}
	if len(response.GetVerdicts()) != count || response.GetBatch() != p.sent {
		p.t.Fatalf("batch %d of %d items is answered as batch %d with %d", p.sent, count, response.GetBatch(), len(response.GetVerdicts()))
	}
	return nil
}

func TestAPushIsSlowedWhereTheWaitIsShortAndEndedWhereItIsNot(t *testing.T) {
	const rate = 200
	w := newWorld(t)
	n := w.start("XA", withQuotas(server.Quotas{Systems: server.Quota{RecordsPerSecond: rate}}))
	began := time.Now()
	p := openPush(t, n.system("registry"))
	acknowledged := 0
	for range 11 { // ten seconds' worth at once, and the rest at the rate
		w.must(p.batch("slowed", rate))
		acknowledged += rate
	}
	w.must(p.batch("last", 1)) // it waits for the one before
	acknowledged++
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("%d records passed in %s", acknowledged, took)
	}
	w.must(p.batch("large", 1000)) // passes, and takes five seconds' worth ahead
	acknowledged += 1000
	wantOver(t, p.batch("over", 1), "records_per_second")
	held := n.ledger.Stats().Records
	if held != uint64(acknowledged) {
		t.Errorf("%d records are held, %d were acknowledged", held, acknowledged)
	}
	wantOver(t, openPush(t, n.system("registry")).batch("again", 1), "records_per_second")
	w.must(openPush(t, n.system("customs")).batch("other", 100))
}

func TestAWithdrawalDoesNotWaitForWhatItsSystemPushed(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", withQuotas(server.Quotas{Systems: server.Quota{RecordsPerSecond: slow}}))
	registry := n.system("registry")
	w.must(openPush(t, registry).batch("r", 5))
	wantOver(t, openPush(t, registry).batch("over", 1), "records_per_second")
	client := ententev1.NewIntakeServiceClient(registry)
	_, err := client.Release(patient(t), &ententev1.ReleaseRequest{ProviderReferences: []string{"r-1-0"}, Audiences: []*ententev1.Audience{toAll()}})
	wantOver(t, err, "records_per_second")
	response, err := client.Withdraw(patient(t), &ententev1.WithdrawRequest{
		ProviderReferences: []string{"r-1-0"}, Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION,
	})
	w.must(err)
	if response.GetVerdicts()[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
		t.Errorf("the withdrawal: %v", response.GetVerdicts()[0])
	}
}

// pullOnce pulls from nothing and gives how many released entries and how many withdrawals came, and how the call ended;
// nil where the caller is level.
func pullOnce(t testing.TB, conn *grpc.ClientConn, positions ...*ententev1.StreamPosition) (released, withdrawals int, end map[string]uint64, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	call, err := ententev1.NewExchangeServiceClient(conn).Pull(ctx, &ententev1.PullRequest{PositionsGiven: true, Positions: positions})
	if err != nil {
		t.Fatal(err)
	}
	end = make(map[string]uint64)
	for {
		m, err := call.Recv()
		if err != nil {
			return released, withdrawals, end, err
		}
		withdrawals += len(m.GetWithdrawals().GetWithdrawals())
		for _, entry := range m.GetEntries().GetEntries() {
			end[string(m.GetEntries().GetStreamId())]++
			if len(entry.GetSalt()) > 0 {
				released++
			}
		}
		if m.GetCaughtUp() != nil {
			return released, withdrawals, end, nil
		}
	}
}

func TestWithdrawalsReachANodeThatIsOverItsLimits(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", withQuotas(server.Quotas{Nodes: server.Quota{RecordsPerSecond: slow, BytesPerSecond: slow, WorkPerSecond: slow}}), func(c *server.Config) { c.View = network.New("XA", alone{}) })
	registry, peer := n.system("registry"), n.peer("XB")
	w.must(openPush(t, registry).batch("r", 50))
	released, _, at, err := pullOnce(t, peer) // a whole batch, and the node is over all limits
	w.must(err)
	if released < 50 { // and the opening
		t.Fatalf("%d entries came", released)
	}
	_, _, _, err = pullOnce(t, peer)
	if status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("it should be over a limit now: %v", err)
	}
	response, err := ententev1.NewIntakeServiceClient(registry).Withdraw(patient(t), &ententev1.WithdrawRequest{
		ProviderReferences: []string{"r-1-0", "r-1-7"}, Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION,
	})
	w.must(err)
	if len(response.GetVerdicts()) != 2 {
		t.Fatal(response)
	}
	w.must(openPush(t, registry).batch("s", 50)) // more that it may not have yet
	var positions []*ententev1.StreamPosition
	for id, size := range at {
		positions = append(positions, &ententev1.StreamPosition{StreamId: []byte(id), Size: size})
	}
	for range 3 {
		released, withdrawals, _, err := pullOnce(t, peer, positions...)
		if withdrawals != 2 || released != 0 || status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%d withdrawals and %d entries came, then: %v", withdrawals, released, err)
		}
	}
	_, err = ententev1.NewExchangeServiceClient(peer).Heads(patient(t), &ententev1.HeadsRequest{Digest: make([]byte, 32)})
	w.must(err)
	_, err = ententev1.NewExchangeServiceClient(peer).SubmitReceipts(patient(t), &ententev1.SubmitReceiptsRequest{
		Receipts: []*ententev1.SignedDocument{{Body: []byte("no receipt")}}})
	wantCode(t, err, codes.InvalidArgument) // it is looked at, and refused for what is in it
	_, err = ententev1.NewRosterServiceClient(peer).GetRoster(patient(t), &ententev1.GetRosterRequest{KnownRoster: make([]byte, 32)})
	w.must(err)
	_, err = ententev1.NewNetworkServiceClient(peer).GetView(patient(t), &ententev1.GetViewRequest{Consultation: asking()})
	if status.Code(err) != codes.ResourceExhausted { // the control: what is not exempt is held
		t.Errorf("a view is answered: %v", err)
	}
}

func TestALimitSaysNothingOfOthers(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", withQuotas(server.Quotas{Systems: server.Quota{CallsPerSecond: slow}}))
	texts := map[string]string{}
	for _, name := range []string{"registry", "customs"} {
		conn := n.system(name)
		w.must(listOne(conn, patient(t)))
		if name == "registry" {
			_ = listOne(conn, patient(t)) // one more than the other
		}
		texts[name] = status.Convert(listOne(conn, patient(t))).Message()
	}
	if texts["registry"] != texts["customs"] || strings.Contains(texts["registry"], "registry") {
		t.Errorf("the two are told %q", texts)
	}
}
