package ledger_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

func TestPushAnswersAVerdictForEachRecord(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	unknown := &ententev1.Audience{Readers: &ententev1.Audience_Project{Project: &ententev1.ProjectAudience{ProjectId: "elsewhere"}}}
	unevaluated := person("p9", 1, "Nine", toAll())
	unevaluated.Record.Envelope.Evaluation = nil
	atHome := person("p10", 1, "Ten")
	atHome.Record.Envelope.Evaluation = nil
	steps := []struct {
		name  string
		item  ledger.Item
		want  ententev1.Outcome
		state ententev1.ReleaseState
		field string
	}{
		{name: "a new record is accepted and stays home", item: person("p1", 1, "One"), want: ententev1.Outcome_OUTCOME_ACCEPTED},
		{name: "the same bytes again are a duplicate", item: person("p1", 1, "One"), want: ententev1.Outcome_OUTCOME_DUPLICATE},
		{name: "the same version with other bytes is rejected", item: person("p1", 1, "Other"), want: ententev1.Outcome_OUTCOME_REJECTED, field: "envelope.version"},
		{name: "a higher version is a correction", item: person("p1", 3, "One"), want: ententev1.Outcome_OUTCOME_ACCEPTED},
		{name: "a lower version is history", item: person("p1", 2, "Older"), want: ententev1.Outcome_OUTCOME_ACCEPTED},
		{name: "history again is a duplicate", item: person("p1", 2, "Older"), want: ententev1.Outcome_OUTCOME_DUPLICATE},
		{name: "history with other bytes is rejected", item: person("p1", 2, "Oldest"), want: ententev1.Outcome_OUTCOME_REJECTED, field: "envelope.version"},
		{name: "another kind under the same reference is rejected", item: meets("p1", "a", "b"), want: ententev1.Outcome_OUTCOME_REJECTED, field: "body"},
		{name: "a record for all members is released", item: person("p2", 1, "Two", toAll()), want: ententev1.Outcome_OUTCOME_ACCEPTED, state: ententev1.ReleaseState_RELEASE_STATE_RELEASED},
		{name: "an unknown project is refused", item: person("p3", 1, "Three", unknown), want: ententev1.Outcome_OUTCOME_REJECTED, field: "audiences[0].project.project_id"},
		{name: "an unknown member is refused", item: person("p3", 1, "Three", toMembers("ZZ")), want: ententev1.Outcome_OUTCOME_REJECTED, field: "audiences[0].members.members"},
		{name: "an audience that says nothing is refused", item: person("p3", 1, "Three", &ententev1.Audience{}), want: ententev1.Outcome_OUTCOME_REJECTED, field: "audiences[0].readers"},
		{name: "a release without evaluation is refused", item: unevaluated, want: ententev1.Outcome_OUTCOME_REJECTED, field: "envelope.evaluation"},
		{name: "without evaluation a record may stay home", item: atHome, want: ententev1.Outcome_OUTCOME_ACCEPTED},
		{name: "an association waits for its ends", item: meets("a1", "p2", "p4", toAll()), want: ententev1.Outcome_OUTCOME_ACCEPTED, state: ententev1.ReleaseState_RELEASE_STATE_WAITING},
		{name: "an association with itself is refused", item: meets("a2", "a2", "p2"), want: ententev1.Outcome_OUTCOME_REJECTED, field: "body.association.from"},
		{name: "a withdrawal of nothing is rejected", item: ledger.Item{Withdrawal: &ententev1.PushWithdrawal{ProviderReference: "p99", Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_RETENTION}}, want: ententev1.Outcome_OUTCOME_REJECTED, field: "provider_reference"},
		{name: "a withdrawal without reason is rejected", item: ledger.Item{Withdrawal: &ententev1.PushWithdrawal{ProviderReference: "p1"}}, want: ententev1.Outcome_OUTCOME_REJECTED, field: "reason"},
		{name: "a withdrawal counts as its version", item: ledger.Item{Withdrawal: &ententev1.PushWithdrawal{ProviderReference: "p1", Version: 5, Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_RETENTION}}, want: ententev1.Outcome_OUTCOME_ACCEPTED},
		{name: "withdrawing again is a duplicate", item: ledger.Item{Withdrawal: &ententev1.PushWithdrawal{ProviderReference: "p1", Version: 5, Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_RETENTION}}, want: ententev1.Outcome_OUTCOME_DUPLICATE},
		{name: "up to the withdrawn version nothing is taken", item: person("p1", 5, "One"), want: ententev1.Outcome_OUTCOME_REJECTED, field: "envelope.version"},
		{name: "above it a record is taken again, and stays home", item: person("p1", 6, "One"), want: ententev1.Outcome_OUTCOME_ACCEPTED},
	}
	for _, s := range steps {
		verdicts, err := xa.Push(context.Background(), "Central Unit", []ledger.Item{s.item})
		w.must(err)
		v := verdicts[0]
		if v.GetOutcome() != s.want || v.GetReleaseState() != s.state {
			t.Errorf("%s: got %s, %s %v", s.name, v.GetOutcome(), v.GetReleaseState(), v.GetViolations())
		}
		if s.field != "" && (len(v.GetViolations()) == 0 || v.GetViolations()[0].GetField() != s.field) {
			t.Errorf("%s: fields at fault %v, want %s", s.name, v.GetViolations(), s.field)
		}
	}
	// Another authority has references of its own.
	verdicts, err := xa.Push(context.Background(), "Border Guard", []ledger.Item{person("p2", 1, "Two of theirs")})
	w.must(err)
	if verdicts[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
		t.Errorf("same reference of another authority: %s", verdicts[0].GetOutcome())
	}
}

func TestAReleaseReachesExactlyItsReaders(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	denied := person("p5", 1, "Five", toAll())
	denied.Record.Envelope.Restriction = &ententev1.Restriction{DenyMembers: []string{"XC"}}
	xa.push(person("p0", 1, "Home"), person("p1", 1, "One", toAll()), person("p2", 1, "Two", toProject()), person("p3", 1, "Three", toMembers("XC")),
		person("p4", 1, "Four", toProject("XB")), denied)
	want := map[member.ID][]string{"XB": {"p1", "p2", "p5"}, "XC": {"p1", "p3"}, "COORD": {"p1", "p2", "p4", "p5"}}
	for reader, refs := range want {
		n := w.start(reader, true)
		replicate(xa, n, "XA", reader)
		got := n.released("XA", reader)
		if len(got) != len(refs) {
			t.Errorf("%s got %d records, want %d", reader, len(got), len(refs))
		}
		for _, r := range refs {
			if got[xa.id(r)] != 1 {
				t.Errorf("%s got %s %d times", reader, r, got[xa.id(r)])
			}
		}
	}
}

func TestTheReleasedFormHasNoHomeReference(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	xa.push(person("secret-ref-1", 41, "One", toAll()), person("secret-ref-2", 1, "Two", toAll()), meets("secret-ref-3", "secret-ref-1", "secret-ref-2", toAll()))
	for _, s := range xa.StreamsShared("XA", "XB") {
		entries, err := xa.Follow(s.No, 1, 100)
		w.must(err)
		for _, e := range entries {
			if e.Released == nil {
				continue
			}
			out := &ententev1.ReleasedRecord{}
			w.must(proto.Unmarshal(e.Released, out))
			if text := fmt.Sprintf("%s%v", e.Released, out); contains(text, "secret-ref") {
				t.Errorf("released form of %s holds a home reference", e.Record)
			}
			if a := out.GetBody().GetAssociation(); a != nil && a.GetFrom().GetProviderMember() != "XA" {
				t.Errorf("end of association names provider %q", a.GetFrom().GetProviderMember())
			}
		}
	}
}

func contains(text, part string) bool {
	for i := 0; i+len(part) <= len(text); i++ {
		if text[i:i+len(part)] == part {
			return true
		}
	}
	return false
}

func TestAnAssociationGoesAndFallsWithItsEnds(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	xa.push(meets("a1", "p1", "p2", toAll()), person("p1", 1, "One", toAll()))
	if xa.Stats().Waiting != 1 || xa.released("XA", "XB")[xa.id("a1")] != 0 {
		t.Fatal("the association left before its second end")
	}
	xa.push(person("p2", 1, "Two", toProject()))
	if xa.released("XA", "XB")[xa.id("a1")] != 0 {
		t.Fatal("the association left although an end is released to fewer")
	}
	_, err := xa.Release(context.Background(), "Central Unit", []string{"p2"}, []*ententev1.Audience{toAll()}, false)
	w.must(err)
	if xa.released("XA", "XC")[xa.id("a1")] != 1 || xa.Stats().Waiting != 0 {
		t.Fatal("the association did not follow its second end")
	}
	xb := w.start("XB", true)
	replicate(xa, xb, "XA", "XB")
	_, err = xa.Withdraw(context.Background(), "Central Unit", []string{"p1"}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION)
	w.must(err)
	if xa.released("XA", "XC")[xa.id("a1")] != 0 {
		t.Fatal("the association stands although an end is withdrawn")
	}
	replicate(xa, xb, "XA", "XB")
	got := xb.released("XA", "XB")
	if got[xa.id("a1")] != 0 || got[xa.id("p1")] != 0 || got[xa.id("p2")] == 0 {
		t.Fatalf("after the withdrawal XB holds %v", got)
	}
}

func TestCorrectionNarrowingAndWithdrawalFollowEveryRelease(t *testing.T) {
	w := newWorld(t)
	xa, xb, xc := w.start("XA", true), w.start("XB", true), w.start("XC", true)
	xa.push(person("p1", 1, "One", toAll()))
	replicate(xa, xb, "XA", "XB")
	replicate(xa, xc, "XA", "XC")
	xa.push(person("p1", 2, "Corrected"))
	replicate(xa, xb, "XA", "XB")
	replicate(xa, xc, "XA", "XC")
	if xb.released("XA", "XB")[xa.id("p1")] != 1 || xc.released("XA", "XC")[xa.id("p1")] != 1 {
		t.Fatal("a correction must replace the earlier version everywhere")
	}
	_, err := xa.Release(context.Background(), "Central Unit", []string{"p1"}, []*ententev1.Audience{toMembers("XC")}, true)
	w.must(err)
	replicate(xa, xb, "XA", "XB")
	replicate(xa, xc, "XA", "XC")
	if xb.released("XA", "XB")[xa.id("p1")] != 0 {
		t.Error("XB still holds what was narrowed away from it")
	}
	if xc.released("XA", "XC")[xa.id("p1")] != 1 {
		t.Error("XC must keep what was narrowed to it")
	}
	_, err = xa.Withdraw(context.Background(), "Central Unit", []string{"p1"}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_UNLAWFUL)
	w.must(err)
	replicate(xa, xc, "XA", "XC")
	if len(xc.released("XA", "XC")) != 0 {
		t.Error("XC still holds what was withdrawn")
	}
	for id, n := range map[member.ID]*node{"XB": xb, "XC": xc} {
		docs, err := n.PendingReceipts("XA")
		w.must(err)
		if len(docs) == 0 {
			t.Fatalf("%s has no receipt to send", id)
		}
		for _, doc := range docs {
			w.must(xa.AcceptReceipt(context.Background(), doc, id))
		}
		w.must(n.ReceiptsSent(context.Background(), docs))
		again, err := n.PendingReceipts("XA")
		w.must(err)
		if len(again) != 0 {
			t.Errorf("%s would send %d receipts again", id, len(again))
		}
	}
	held, err := xa.Record(xa.id("p1"), 0)
	w.must(err)
	for _, d := range held.GetDeliveries() {
		want := ententev1.DeliveryState_DELIVERY_STATE_APPLIED
		if d.GetMember() == "COORD" {
			want = ententev1.DeliveryState_DELIVERY_STATE_PENDING
		}
		if !d.GetWithdrawn() || d.GetState() != want {
			t.Errorf("delivery to %s: withdrawn %v, %s", d.GetMember(), d.GetWithdrawn(), d.GetState())
		}
	}
}

func TestARestartChangesNothing(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	var items []ledger.Item
	for i := range 700 {
		items = append(items, person(fmt.Sprintf("p%d", i), 1, "Name", toAll()))
	}
	items = append(items, meets("a1", "p1", "p2", toAll()), meets("a2", "p1", "nowhere", toAll()), person("q", 1, "Q", toProject("XB")))
	xa.push(items...)
	xa.push(person("p5", 2, "Corrected"))
	_, err := xa.Withdraw(context.Background(), "Central Unit", []string{"p2"}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_RETENTION)
	w.must(err)
	xb := w.start("XB", true)
	replicate(xa, xb, "XA", "XB")
	docs, err := xb.PendingReceipts("XA")
	w.must(err)
	for _, doc := range docs {
		w.must(xa.AcceptReceipt(context.Background(), doc, "XB"))
	}
	before := describe(t, xa) + describe(t, xb)
	xa.stop()
	xb.stop()
	xa, xb = w.start("XA", true), w.start("XB", true)
	if after := describe(t, xa) + describe(t, xb); after != before {
		t.Errorf("after a restart:\n%s\nbefore:\n%s", after, before)
	}
	// And both go on where they stopped.
	xa.push(person("later", 1, "Later", toAll()), person("p2", 2, "Again", toAll()))
	replicate(xa, xb, "XA", "XB")
	got := xb.released("XA", "XB")
	if got[xa.id("later")] != 1 || got[xa.id("p2")] != 1 || got[xa.id("a1")] != 1 {
		t.Errorf("after the restart XB holds later %d, p2 %d, a1 %d times", got[xa.id("later")], got[xa.id("p2")], got[xa.id("a1")])
	}
}

// describe is everything that a ledger says of itself.
func describe(t testing.TB, n *node) string {
	t.Helper()
	text := fmt.Sprintf("%v %x\n", n.Stats().Records, n.HeadsDigest())
	for _, s := range n.Streams() {
		text += fmt.Sprintf("%s %s %v %d %v %v %v\n", s.ID, s.Owner, s.Kind, s.Size, s.Readers, s.Closed, n.Readers(s.No))
	}
	var after uint64
	for {
		list, next, err := n.Records(ledger.ListQuery{After: after, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf("%x\n", b)
		}
		if next == 0 {
			return text
		}
		after = next
	}
}
