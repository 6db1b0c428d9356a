package server

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// at is a clock that a test sets.
type at struct{ time.Time }

func (c *at) now() time.Time       { return c.Time }
func (c *at) pass(d time.Duration) { c.Time = c.Add(d) }
func clockOfTests() *at            { return &at{time.Unix(1_790_000_000, 0)} }
func officer(name string) member.Identity {
	return member.Identity{Member: "XA", Kind: member.KindOfficer, Name: name}
}
func nodeOf(id member.ID) member.Identity { return member.Identity{Member: id, Kind: member.KindNode} }
func fixedQuotas(q Quotas) func() Quotas  { return func() Quotas { return q } }
func calls1() cost                        { return cost{limitCalls: 1} }
func records(n float64) cost              { return cost{limitRecords: n} }
func perSecond(calls, records float64) Quotas {
	return Quotas{Officers: Quota{CallsPerSecond: calls, RecordsPerSecond: records}}
}

func TestTenSecondsWorthPassAtOnceAndThenTheRate(t *testing.T) {
	clock := clockOfTests()
	g := newGate(fixedQuotas(perSecond(20, 0)), clock.now)
	passed := 0
	for range 30 * 1000 { // 30 s, a try each millisecond
		if g.take(officer("ann"), calls1(), 0).pass {
			passed++
		}
		clock.pass(time.Millisecond)
	}
	if passed < 200+30*20-2 || passed > 200+30*20+2 {
		t.Errorf("%d calls passed in 30 s, 800 are due", passed)
	}
}

func TestNoOrderOfTakingPassesMoreThanTheRate(t *testing.T) {
	for seed := range uint64(50) {
		random, clock := rand.New(rand.NewPCG(seed, 1)), clockOfTests()
		rate := 1 + 1000*random.Float64()
		g := newGate(fixedQuotas(perSecond(0, rate)), clock.now)
		taken, largest, began := 0.0, 0.0, clock.Time
		for range 5000 {
			n := math.Floor(random.ExpFloat64() * rate / 2)
			if g.take(officer("ann"), records(n), time.Duration(random.IntN(2))*time.Second).pass {
				taken, largest = taken+n, max(largest, n)
			}
			clock.pass(time.Duration(random.IntN(int(time.Second))))
			if random.IntN(50) == 0 {
				clock.pass(-time.Minute) // a clock that is set back gives nothing
				began = began.Add(-time.Minute)
			}
		}
		// One message may stand over, and what waits a second is taken ahead.
		most := rate*(10+1+clock.Sub(began).Seconds()) + largest
		if taken > most || taken < most/4 {
			t.Fatalf("seed %d: %.0f records passed, at most %.0f are due", seed, taken, most)
		}
	}
}

func TestAMessageOfAnySizePassesSomeTimeAndTheNextWaitsForIt(t *testing.T) {
	clock := clockOfTests()
	g := newGate(fixedQuotas(perSecond(0, 10)), clock.now)
	if !g.take(officer("ann"), records(1000), 0).pass {
		t.Fatal("a large first message is refused")
	}
	next := g.take(officer("ann"), records(1), time.Second)
	if next.pass || next.over != limitRecords || next.wait.Round(time.Second) != 90*time.Second {
		t.Fatalf("the next: %+v", next)
	}
	clock.pass(next.wait)
	if !g.take(officer("ann"), records(1), 0).pass {
		t.Fatal("refused after the wait that was told")
	}
}

func TestWhoWaitsHasAPlaceInLine(t *testing.T) {
	clock := clockOfTests()
	g := newGate(fixedQuotas(perSecond(0, 10)), clock.now)
	g.take(officer("ann"), records(100), 0)
	var waits []time.Duration
	for range 20 {
		toll := g.take(officer("ann"), records(3), time.Second)
		if toll.pass {
			waits = append(waits, toll.wait.Round(100*time.Millisecond))
		}
	}
	want := []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 700 * time.Millisecond}
	if !slices.Equal(waits, want) {
		t.Errorf("the waits are %v, want %v", waits, want)
	}
}

func TestALimitHoldsOnlyWhatTakesOfItButWorkHoldsAllMessages(t *testing.T) {
	clock := clockOfTests()
	g := newGate(fixedQuotas(Quotas{Officers: Quota{CallsPerSecond: 1, RecordsPerSecond: 1, WorkPerSecond: 1}}), clock.now)
	g.spend(officer("ann"), cost{limitRecords: 1000})
	for _, c := range []cost{{limitBytes: 5}, {limitCalls: 1}} {
		if !g.take(officer("ann"), c, 0).pass {
			t.Errorf("%v waits for records", c)
		}
	}
	g.spend(officer("ann"), cost{limitWork: 1000})
	if g.take(officer("ann"), cost{limitBytes: 5}, 0).pass {
		t.Error("a message passes although the node has worked too long for its caller")
	}
	if !g.take(officer("ann"), calls1(), 0).pass {
		t.Error("a call cannot begin, although it may be one that costs nothing")
	}
}

func TestAChangeOfLimitsCountsAtOnce(t *testing.T) {
	clock, quotas := clockOfTests(), perSecond(1000, 0)
	g := newGate(func() Quotas { return quotas }, clock.now)
	for range 100 {
		g.take(officer("ann"), calls1(), 0)
	}
	quotas = perSecond(0.1, 0)
	passed := 0
	for range 100 {
		if g.take(officer("ann"), calls1(), 0).pass {
			passed++
		}
	}
	if passed != 1 {
		t.Errorf("%d calls passed after the limit was lowered to one in ten seconds", passed)
	}
	quotas = perSecond(1000, 0)
	clock.pass(100 * time.Millisecond)
	if !g.take(officer("ann"), calls1(), 0).pass {
		t.Error("refused after the limit was raised again")
	}
}

func TestTheGateForgetsTheIdleBoundsTheRestAndKeepsNodesIn(t *testing.T) {
	clock := clockOfTests()
	g := newGate(fixedQuotas(perSecond(0.1, 0)), clock.now)
	refused := 0
	for i := range 3 * maxAccounts {
		if !g.take(officer(fmt.Sprint("o", i)), calls1(), 0).pass {
			refused++
		}
		clock.pass(time.Microsecond) // all within a moment: none of them is idle
	}
	if len(g.accounts) > maxAccounts || refused != 2*maxAccounts {
		t.Errorf("%d accounts are kept and %d identities refused", len(g.accounts), refused)
	}
	if !g.take(nodeOf("XB"), calls1(), 0).pass {
		t.Error("officers keep a node out")
	}
	clock.pass(time.Minute)
	if !g.take(officer("late"), calls1(), 0).pass || len(g.accounts) > 2 {
		t.Errorf("%d accounts are kept after a minute in which nobody called", len(g.accounts))
	}
}

func TestAnIdentityHasWhatItsNameSaysThenItsKindThenTheDefault(t *testing.T) {
	q := Quotas{
		Systems:    Quota{CallsPerSecond: 7, OpenStreams: 3},
		Identities: map[string]Quota{"system/registry": {CallsPerSecond: 9}, "XB/node": {OpenStreams: 2}},
	}
	for _, one := range []struct {
		id      member.Identity
		calls   float64
		streams int
	}{
		{member.Identity{Member: "XA", Kind: member.KindSystem, Name: "registry"}, 9, 3},
		{member.Identity{Member: "XA", Kind: member.KindSystem, Name: "customs"}, 7, 3},
		{nodeOf("XB"), DefaultQuotas().Nodes.CallsPerSecond, 2},
		{nodeOf("XC"), DefaultQuotas().Nodes.CallsPerSecond, 1024},
		{officer("registry"), DefaultQuotas().Officers.CallsPerSecond, 1024},
	} {
		got := q.of(one.id)
		if got.CallsPerSecond != one.calls || got.OpenStreams != one.streams || got.WorkPerSecond == 0 {
			t.Errorf("%s: %+v", one.id, got)
		}
	}
}

func TestProblemsNamesEachSettingThatCannotBe(t *testing.T) {
	for _, one := range []struct {
		name   string
		quotas Quotas
		want   []string
	}{
		{"nothing given is good", Quotas{}, nil},
		{"the default is good", DefaultQuotas(), nil},
		{"a single one is good", Quotas{Identities: map[string]Quota{"XB/node": {CallsPerSecond: 0.5}, "officer/j.doe": {}}}, nil},
		{"below zero", Quotas{Nodes: Quota{CallsPerSecond: -1}, Officers: Quota{OpenStreams: -1}},
			[]string{"nodes.calls_per_second", "officers.open_streams"}},
		{"not a number", Quotas{Systems: Quota{WorkPerSecond: math.NaN(), BytesPerSecond: math.Inf(1)}},
			[]string{"systems.bytes_per_second", "systems.work_per_second"}},
		{"no identity", Quotas{Identities: map[string]Quota{"registry": {}, "xb/node": {}, "system/": {}, "node/XB": {RecordsPerSecond: -2}}},
			[]string{"identities.node/XB", "identities.node/XB.records_per_second", "identities.registry", "identities.system/", "identities.xb/node"}},
	} {
		t.Run(one.name, func(t *testing.T) {
			var fields []string
			for _, p := range one.quotas.Problems() {
				fields = append(fields, p.Field)
				if p.What == "" || p.Mend == "" {
					t.Errorf("%s: what is wrong, or what to do, is missing", p.Field)
				}
			}
			if !slices.Equal(fields, one.want) {
				t.Errorf("got %q, want %q", fields, one.want)
			}
		})
	}
}

func TestOfAPullOnlyReleasedEntriesCount(t *testing.T) {
	entry := &ententev1.Entry{Header: make([]byte, 40), Salt: make([]byte, 32), Payload: make([]byte, 500)}
	for _, one := range []struct {
		name    string
		message any
		want    cost
	}{
		{"asking", &ententev1.PullRequest{Digest: make([]byte, 32)}, cost{}},
		{"a digest", &ententev1.PullResponse{Content: &ententev1.PullResponse_Digest{Digest: &ententev1.SignedDocument{Body: make([]byte, 99)}}}, cost{}},
		{"withdrawals", &ententev1.PullResponse{Content: &ententev1.PullResponse_Withdrawals{Withdrawals: &ententev1.WithdrawalBatch{
			Withdrawals: []*ententev1.ProvenHeader{{Header: make([]byte, 40)}}}}}, cost{}},
		{"entries without what was released", &ententev1.PullResponse{Content: &ententev1.PullResponse_Entries{Entries: &ententev1.EntryBatch{
			Entries: []*ententev1.Entry{{Header: make([]byte, 40)}}}}}, cost{}},
		{"entries", &ententev1.PullResponse{Content: &ententev1.PullResponse_Entries{Entries: &ententev1.EntryBatch{
			Entries: []*ententev1.Entry{entry, {Header: make([]byte, 40)}, entry}}}}, cost{limitRecords: 2, limitBytes: 1000}},
		{"a withdrawal told to a subscriber", &ententev1.SubscribeResponse{Items: []*ententev1.StreamItem{{
			Content: &ententev1.StreamItem_Withdrawal{Withdrawal: &ententev1.WithdrawalNotice{}}}}}, cost{}},
	} {
		if got := costOf(one.message); got != one.want {
			t.Errorf("%s: %v, want %v", one.name, got, one.want)
		}
	}
}

func TestGrowthRemembersSinceWhenAnEntryWaits(t *testing.T) {
	var g growth
	clock := clockOfTests()
	began := clock.Time
	for size := uint64(10); size <= 50; size += 10 { // ten entries a second
		g.note(7, size, 0, clock.now())
		clock.pass(time.Second)
	}
	for _, one := range []struct {
		sequence uint64
		after    time.Duration
	}{{1, 0}, {10, 0}, {11, time.Second}, {50, 4 * time.Second}} {
		if since := g.since(7, one.sequence); since.Sub(began) != one.after {
			t.Errorf("entry %d waits since %s after the beginning, want %s", one.sequence, since.Sub(began), one.after)
		}
	}
	if !g.since(7, 51).IsZero() || !g.since(8, 1).IsZero() {
		t.Error("what is not there waits")
	}
	g.note(7, 50, 30, clock.now())
	if len(g.streams[7]) != 2 || g.since(7, 31).Sub(began) != 3*time.Second {
		t.Errorf("after all have signed for 30: %v", g.streams[7])
	}
}

func TestGrowthIsBoundedAndNeverSaysLessThanWasWaited(t *testing.T) {
	var g growth
	clock := clockOfTests()
	truth := map[uint64]time.Time{}
	for size := uint64(1); size <= 5000; size++ {
		truth[size] = clock.now()
		g.note(7, size, 0, clock.now())
		clock.pass(time.Second)
	}
	if len(g.streams[7]) > growthMarks {
		t.Errorf("%d marks", len(g.streams[7]))
	}
	for size, at := range truth {
		since := g.since(7, size)
		if since.IsZero() || since.After(at) {
			t.Fatalf("entry %d came at %s and waits since %s", size, at, since)
		}
	}
}
