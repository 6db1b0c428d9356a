package ledger_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// sign gives a reader's receipts to the owner.
func sign(from, to *node, owner, reader member.ID) {
	to.w.t.Helper()
	docs, err := from.PendingReceipts(owner)
	to.w.must(err)
	for _, doc := range docs {
		to.w.must(to.AcceptReceipt(context.Background(), doc, reader))
	}
	to.w.must(from.ReceiptsSent(context.Background(), docs))
}

func (n *node) sent(q ledger.SentQuery) (list []ledger.Sent, pages int) {
	n.w.t.Helper()
	q.Authority = "Central Unit"
	for more := true; more; pages++ {
		var some []ledger.Sent
		var err error
		some, more, err = n.ListSent(q)
		n.w.must(err)
		list = append(list, some...)
		if len(some) > 0 {
			q.Stream, q.Sequence = some[len(some)-1].Position()
		}
	}
	return list, pages
}

func TestWhatWasSentIsListedInPagesAndForgetsNothing(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	for i := range 5 {
		xa.push(person(fmt.Sprint("p", i), 1, "One", toAll()), person(fmt.Sprint("q", i), 1, "One", toMembers("XB", "XC")))
	}
	must(xa.Push(context.Background(), "Other Unit", []ledger.Item{person("o", 1, "Other", toAll())}))(t)
	xa.push(person("p0", 2, "Two"), withdrawalOf("q0", 0))
	for _, limit := range []int{1, 3, 11, 100} {
		list, pages := xa.sent(ledger.SentQuery{Member: "XB", Limit: limit})
		if len(list) != 11 || pages != (11+limit-1)/limit {
			t.Fatalf("by %d: %d entries in %d pages", limit, len(list), pages)
		}
	}
	if list, _ := xa.sent(ledger.SentQuery{Member: "COORD", Limit: 100}); len(list) != 6 {
		t.Errorf("%d entries to COORD", len(list))
	}
	replicate(xa, xb, "XA", "XB")
	sign(xb, xa, "XA", "XB")
	for name, want := range map[member.ID]int{"XB": 0, "XC": 11, "COORD": 6} {
		if list, _ := xa.sent(ledger.SentQuery{Member: name, OpenOnly: true, Limit: 2}); len(list) != want {
			t.Errorf("%d entries are open for %s, want %d", len(list), name, want)
		}
	}
	xa.push(withdrawalOf("q1", 0))
	list, _ := xa.sent(ledger.SentQuery{Member: "XB", OpenOnly: true, Limit: 2})
	if len(list) != 1 || list[0].Record != xa.id("q1") || !list[0].Delivery.GetWithdrawn() || list[0].Delivery.GetWithdrawnAt() == nil {
		t.Errorf("open after a withdrawal: %v", list)
	}
}

func TestWhatIsNotSignedForInTimeIsOverdue(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	state := func() ententev1.DeliveryState {
		held, err := xa.Record(xa.id("p1"), 0)
		w.must(err)
		return held.GetDeliveries()[0].GetState()
	}
	steps := []struct {
		name    string
		do      func()
		overdue uint64
		state   ententev1.DeliveryState
	}{
		{"released", func() { xa.push(person("p1", 1, "One", toMembers("XB"))) }, 0, ententev1.DeliveryState_DELIVERY_STATE_PENDING},
		{"a day later", func() { w.now = w.now.Add(24 * time.Hour) }, 0, ententev1.DeliveryState_DELIVERY_STATE_PENDING},
		{"a minute more", func() { w.now = w.now.Add(time.Minute) }, 1, ententev1.DeliveryState_DELIVERY_STATE_OVERDUE},
		{"after a start", func() { xa = w.restarted(xa, "XA") }, 1, ententev1.DeliveryState_DELIVERY_STATE_OVERDUE},
		{"signed for", func() { replicate(xa, xb, "XA", "XB"); sign(xb, xa, "XA", "XB") }, 0, ententev1.DeliveryState_DELIVERY_STATE_DELIVERED},
		{"a week later", func() { w.now = w.now.Add(7 * day) }, 0, ententev1.DeliveryState_DELIVERY_STATE_DELIVERED},
		{"withdrawn", func() { xa.push(withdrawalOf("p1", 0)) }, 0, ententev1.DeliveryState_DELIVERY_STATE_DELIVERED},
		{"and not erased for two days", func() { w.now = w.now.Add(2 * day) }, 1, ententev1.DeliveryState_DELIVERY_STATE_OVERDUE},
		{"after another start", func() { xa = w.restarted(xa, "XA") }, 1, ententev1.DeliveryState_DELIVERY_STATE_OVERDUE},
		{"erased and signed for", func() { replicate(xa, xb, "XA", "XB"); sign(xb, xa, "XA", "XB") }, 0, ententev1.DeliveryState_DELIVERY_STATE_APPLIED},
	}
	for _, step := range steps {
		step.do()
		if xa.Overdue() != step.overdue || state() != step.state {
			t.Fatalf("%s: %d overdue, %s", step.name, xa.Overdue(), state())
		}
	}
}

func TestAStretchOfAStreamNamesTheRecordsThatItCarries(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(person("p1", 1, "One", toAll()), person("p2", 1, "Two", toAll()), person("p3", 1, "Three", toAll()), withdrawalOf("p1", 0))
	replicate(xa, xb, "XA", "XB")
	id := xa.StreamsShared("XA", "XB")[0].ID
	stretches := map[string]struct {
		from        *node
		first, last uint64
		want        []string
	}{
		"all":                       {xa, 1, 100, []string{"p1", "p2", "p3"}},
		"one":                       {xa, 3, 3, []string{"p2"}},
		"the opening":               {xa, 1, 1, nil},
		"beyond the end":            {xa, 50, 100, nil},
		"at a reader, erased it is": {xb, 3, 4, []string{"p2", "p3"}},
	}
	for name, s := range stretches {
		var want []ledger.RecordID
		for _, reference := range s.want {
			want = append(want, xa.id(reference))
		}
		if got := must(s.from.Carried("XA", id, s.first, s.last))(t); !same(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := must(xa.Carried("XC", id, 1, 10))(t); len(got) != 0 {
		t.Error("a stream that is not there carries something")
	}
}
