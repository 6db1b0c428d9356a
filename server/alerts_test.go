package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server"
	"entente.example/entente/server/ledger"
)

// liar is the node of XB, which answers whatever a test says about the records of XA. All others answer that there is nothing.
type liar struct {
	ententev1.ExchangeServiceClient
	answer func(*ententev1.ListDisclosuresRequest) *ententev1.ListDisclosuresResponse
	asked  []*ententev1.ListDisclosuresRequest
}

func (l *liar) ListDisclosures(ctx context.Context, r *ententev1.ListDisclosuresRequest, _ ...grpc.CallOption) (*ententev1.ListDisclosuresResponse, error) {
	l.asked = append(l.asked, proto.CloneOf(r))
	return l.answer(r), ctx.Err()
}

type honest struct {
	ententev1.ExchangeServiceClient
}

func (honest) ListDisclosures(context.Context, *ententev1.ListDisclosuresRequest, ...grpc.CallOption) (*ententev1.ListDisclosuresResponse, error) {
	return &ententev1.ListDisclosuresResponse{}, nil
}

type toLiar struct{ l *liar }

func (c toLiar) Exchange(_ context.Context, id member.ID) (ententev1.ExchangeServiceClient, error) {
	if id != "XB" {
		return honest{}, nil
	}
	return c.l, nil
}

// lied is XA, which has released records p0, p1 … to XB, whose node lies.
type lied struct {
	*node
	l       *liar
	stream  stream.ID
	auditor ententev1.AuditServiceClient
	logged  logged
}

func newLied(t *testing.T, records int) *lied {
	t.Helper()
	w := newWorld(t)
	n := &lied{l: &liar{}}
	n.node = w.start("XA", func(c *server.Config) {
		c.Audit, c.Logger = toLiar{n.l}, slog.New(slog.NewTextHandler(&n.logged, nil))
	})
	var items []*ententev1.PushItem
	for i := range records {
		items = append(items, person(fmt.Sprintf("p%d", i), toMembers("XB")))
	}
	system := n.system("registry")
	for some := range slices.Chunk(items, 500) {
		pushAll(t, system, some...)
	}
	n.stream = n.ledger.StreamsShared("XA", "XB")[0].ID
	n.auditor = ententev1.NewAuditServiceClient(n.dial(member.KindAuditor, "XA", "ada"))
	return n
}

// mark marks the first records.
func (n *lied) mark(t *testing.T, records int) {
	t.Helper()
	for some := range slices.Chunk(slices.Collect(upTo(records)), 100) {
		var refs []*ententev1.SubjectRef
		for _, i := range some {
			id := n.ledger.RecordID("Police", fmt.Sprintf("p%d", i))
			refs = append(refs, &ententev1.SubjectRef{RecordId: id[:]})
		}
		_, err := n.auditor.SetHoney(patient(t), &ententev1.SetHoneyRequest{Reason: reason(), Records: refs})
		n.w.must(err)
	}
}

func upTo(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func (n *lied) alerts(t *testing.T) []*ententev1.HoneyAlert {
	t.Helper()
	var all []*ententev1.HoneyAlert
	for {
		got, err := n.auditor.ListAlerts(patient(t), &ententev1.ListAlertsRequest{Reason: reason(), After: uint64(len(all))})
		n.w.must(err)
		if len(got.GetAlerts()) == 0 {
			return all
		}
		all = append(all, got.GetAlerts()...)
	}
}

func (n *lied) reconcile(t *testing.T) ([]*ententev1.ReconcileResponse, error) {
	t.Helper()
	call, err := n.auditor.Reconcile(patient(t), &ententev1.ReconcileRequest{Reason: reason(), Member: "XB"})
	return receiveUntil(call, err, nil)
}

// answers has the liar answer one page; each range is first and last.
func (n *lied) answers(list ...*ententev1.Disclosure) {
	n.l.answer = func(*ententev1.ListDisclosuresRequest) *ententev1.ListDisclosuresResponse {
		return &ententev1.ListDisclosuresResponse{Disclosures: list}
	}
}

const (
	consulted = ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION
	disclosed = ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE
)

func (n *lied) disclosure(at time.Time, operation ententev1.AuditOperation, recipient string, ranges int, first, last uint64) *ententev1.Disclosure {
	d := &ententev1.Disclosure{At: timestamppb.New(at), Operation: operation, Recipient: recipient}
	for range ranges {
		d.Ranges = append(d.Ranges, &ententev1.AuditRange{Owner: "XA", StreamId: n.stream[:], First: first, Last: last})
	}
	return d
}

func TestAnAnswerAboutAuditCostsEachEntryOnce(t *testing.T) {
	n := newLied(t, 1500)
	n.mark(t, 2)
	now := time.Now()
	tests := []struct {
		name string
		list []*ententev1.Disclosure
	}{
		{"in one disclosure with the same stretch 30,000 times", []*ententev1.Disclosure{n.disclosure(now, disclosed, "XC", 30_000, 1, 1<<62)}},
		{"from before the first to the last number there is", []*ententev1.Disclosure{n.disclosure(now, disclosed, "XC", 30_000, 0, 1<<64-1)}},
		{"in stretches that overlap and touch, out of order", []*ententev1.Disclosure{
			n.disclosure(now, disclosed, "XC", 1, 700, 700), n.disclosure(now, disclosed, "XC", 1, 600, 900), n.disclosure(now, disclosed, "XC", 1, 500, 599),
			n.disclosure(now, disclosed, "XC", 1, 901, 1100), n.disclosure(now, disclosed, "XC", 1, 1300, 1400), n.disclosure(now, disclosed, "XC", 1, 1000, 1350),
			n.disclosure(now, disclosed, "XC", 1, 1, 1<<62),
		}},
		{"in disclosures to 500 members that there are not", func() (list []*ententev1.Disclosure) {
			for i := range 500 {
				list = append(list, n.disclosure(now, disclosed, fmt.Sprintf("Z%d", i), 60, 1, 1<<62))
			}
			return list
		}()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n.answers(test.list...)
			start := time.Now()
			n.w.must(n.AskDisclosures(patient(t)))
			all, err := n.reconcile(t)
			n.w.must(err)
			took := time.Since(start)
			t.Logf("in %s", took.Round(time.Millisecond))
			if took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			ids, most := map[string]int{}, 0
			for _, m := range all[:len(all)-1] {
				d := m.GetDifference()
				if d.GetKind() != "passed on" || len(d.GetRecordIds()) > 1000 {
					t.Errorf("a difference %q of %d records", d.GetKind(), len(d.GetRecordIds()))
				}
				for _, id := range d.GetRecordIds() {
					ids[string(id)]++
					most = max(most, ids[string(id)])
				}
			}
			if len(ids) != 1500 || most != 1 {
				t.Errorf("%d records are named, one of them %d times; want each of 1500 once", len(ids), most)
			}
			if got := all[len(all)-1].GetSummary().GetDifferences(); got != uint64(len(all)-1) {
				t.Errorf("the summary says %d differences, want %d", got, len(all)-1)
			}
		})
	}
}

func TestOneQuestionLeavesFewAlerts(t *testing.T) {
	n := newLied(t, 1200)
	n.mark(t, 1100)
	now := time.Now()
	var list []*ententev1.Disclosure
	for i := range 900 { // all of them each time
		list = append(list, n.disclosure(now.Add(time.Duration(i-1000)*time.Second), consulted, "", 1, 1, 1<<62))
	}
	n.answers(list...)
	n.w.must(n.AskDisclosures(patient(t)))
	alerts := n.alerts(t)
	told := map[string]int{}
	for _, alert := range alerts {
		told[string(alert.GetRecordId())]++
		if !alert.GetAt().AsTime().Equal(list[0].GetAt().AsTime()) {
			t.Fatalf("the alert is of %s, want the first look", alert.GetAt().AsTime())
		}
	}
	if len(alerts) != 1000 || len(told) != 1000 {
		t.Errorf("%d alerts of %d records, want 1000 of as many", len(alerts), len(told))
	}
	if got := strings.Count(n.logged.String(), "was not kept"); got != 100 {
		t.Errorf("the log names %d beyond, want 100", got)
	}
	n.w.must(n.AskDisclosures(patient(t)))
	since := n.l.asked[len(n.l.asked)-1].GetSince().AsTime()
	if want := list[len(list)-1].GetAt().AsTime(); !since.After(want) || since.Sub(want) > time.Microsecond {
		t.Errorf("asked again since %s, want just after %s: what is beyond is heard too", since, want)
	}
}

func TestAnAlertIsNeverOfTheFuture(t *testing.T) {
	n := newLied(t, 1)
	n.mark(t, 1)
	day := func(ahead time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(ahead)) }
	tests := []struct {
		name     string
		at       *timestamppb.Timestamp
		believed bool
	}{
		{"in the past", day(-time.Hour), true},
		{"a little ahead, as clocks are", day(2 * time.Minute), true},
		{"ten minutes ahead", day(10 * time.Minute), false},
		{"in another century", &timestamppb.Timestamp{Seconds: 7_258_118_400}, false},
		{"beyond what nanoseconds can tell", &timestamppb.Timestamp{Seconds: 253_402_300_799}, false},
		{"no time at all", nil, false},
		{"long before there were computers", &timestamppb.Timestamp{Seconds: -62_135_596_800}, false},
	}
	before := 0
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := n.disclosure(time.Now(), consulted, "", 1, 1, 9)
			d.At = test.at
			n.answers(d)
			n.w.must(n.AskDisclosures(patient(t)))
			alerts := n.alerts(t)
			if len(alerts) != before+1 {
				t.Fatalf("%d alerts came, want 1", len(alerts)-before)
			}
			before++
			at := alerts[before-1].GetAt()
			if test.believed != proto.Equal(at, test.at) || !test.believed && time.Since(at.AsTime()).Abs() > time.Minute {
				t.Errorf("it is of %v, said to be of %v", at, test.at)
			}
			if test.at.AsTime().After(time.Now()) { // a member whose clock is ahead lists it again each time
				n.w.must(n.AskDisclosures(patient(t)))
				if got := len(n.alerts(t)); got != before {
					t.Errorf("listed again, it alerts again: %d alerts, want %d", got, before)
				}
			}
			n.answers()
			n.w.must(n.AskDisclosures(patient(t)))
			if since := n.l.asked[len(n.l.asked)-1].GetSince(); since.AsTime().After(time.Now()) {
				t.Errorf("the member is asked from %s on only", since.AsTime())
			}
		})
	}
}

func TestPagesThatNoNodeSendsAreRefused(t *testing.T) {
	more := []byte("more")
	tests := []struct {
		name  string
		page  func(n *lied) *ententev1.ListDisclosuresResponse
		want  codes.Code
		pages int
	}{
		{"one without anything that is not the last", func(*lied) *ententev1.ListDisclosuresResponse {
			return &ententev1.ListDisclosuresResponse{NextPageToken: more}
		}, codes.FailedPrecondition, 1},
		{"one of more disclosures than the contract allows", func(n *lied) *ententev1.ListDisclosuresResponse {
			return &ententev1.ListDisclosuresResponse{Disclosures: slices.Repeat([]*ententev1.Disclosure{n.disclosure(time.Now(), consulted, "", 1, 1, 9)}, 1001)}
		}, codes.FailedPrecondition, 1},
		{"one after the other without end", func(n *lied) *ententev1.ListDisclosuresResponse {
			return &ententev1.ListDisclosuresResponse{Disclosures: []*ententev1.Disclosure{n.disclosure(time.Now(), consulted, "", 1, 1, 9)}, NextPageToken: more}
		}, codes.ResourceExhausted, 10_000},
		{"ones that name more than is worked through", func(n *lied) *ententev1.ListDisclosuresResponse {
			return &ententev1.ListDisclosuresResponse{Disclosures: []*ententev1.Disclosure{n.disclosure(time.Now(), consulted, "", 100_000, 1, 9)}, NextPageToken: more}
		}, codes.ResourceExhausted, 41},
	}
	n := newLied(t, 1)
	n.mark(t, 1)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			page := test.page(n)
			n.l.answer = func(*ententev1.ListDisclosuresRequest) *ententev1.ListDisclosuresResponse { return page }
			n.l.asked = nil
			_, err := n.reconcile(t)
			wantCode(t, err, test.want)
			if len(n.l.asked) != test.pages {
				t.Errorf("%d pages asked, want %d", len(n.l.asked), test.pages)
			}
			if n.AskDisclosures(patient(t)) == nil || len(n.alerts(t)) > 0 {
				t.Error("taken for an answer about honey records")
			}
		})
	}
}

func TestReadingWhatAStreamCarriesEndsWithTheCall(t *testing.T) {
	n := newLied(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	count := func(ledger.RecordID) { seen++ }
	n.w.must(n.ledger.EachCarried(ctx, "XA", n.stream, 0, 1<<64-1, count))
	if seen != 3 || n.ledger.Extent("XA", n.stream) != 4 || n.ledger.Extent("XC", n.stream) != 0 {
		t.Errorf("%d records in %d entries, want 3 and the opening", seen, n.ledger.Extent("XA", n.stream))
	}
	cancel()
	err := n.ledger.EachCarried(ctx, "XA", n.stream, 1, 9, count)
	if !errors.Is(err, context.Canceled) || seen != 3 {
		t.Errorf("after the call has ended it reads on: %v", err)
	}
}
