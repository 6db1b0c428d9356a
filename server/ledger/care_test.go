package ledger_test

import (
	"context"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/ledger"
)

func (n *node) restrict(lift bool, reference string) *ententev1.Verdict {
	n.w.t.Helper()
	return must(n.Restrict(as("vera"), "Central Unit", []string{reference}, lift, "accuracy is doubted"))(n.w.t)[0]
}

func (n *node) hold(lift bool, reference string, until time.Time) *ententev1.Verdict {
	n.w.t.Helper()
	return must(n.Hold(as("vera"), "Central Unit", []string{reference}, lift, "proceedings", until))(n.w.t)[0]
}

func (n *node) renew(reference string, until time.Time) *ententev1.Verdict {
	n.w.t.Helper()
	return must(n.Renew(as("vera"), "Central Unit", []string{reference}, until, "the case is open"))(n.w.t)[0]
}

func TestARestrictedRecordStandsNowhereUntilThatIsLifted(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	steps := []struct {
		name    string
		do      func() *ententev1.Verdict
		outcome ententev1.Outcome
		state   ententev1.ReleaseState
		family  string // what XB holds; "" for nothing
	}{
		{"pushed and released", func() *ententev1.Verdict { return xa.push(person("p1", 1, "One", toAll()))[0] }, accepted, ententev1.ReleaseState_RELEASE_STATE_RELEASED, "One"},
		{"restricted", func() *ententev1.Verdict { return xa.restrict(false, "p1") }, accepted, ententev1.ReleaseState_RELEASE_STATE_RESTRICTED, ""},
		{"restricted again", func() *ententev1.Verdict { return xa.restrict(false, "p1") }, duplicate, ententev1.ReleaseState_RELEASE_STATE_RESTRICTED, ""},
		{"corrected meanwhile", func() *ententev1.Verdict { return xa.push(person("p1", 2, "Two"))[0] }, accepted, ententev1.ReleaseState_RELEASE_STATE_RESTRICTED, ""},
		{"released meanwhile", func() *ententev1.Verdict { return xa.release(false, "p1", toProject()) }, accepted, ententev1.ReleaseState_RELEASE_STATE_RESTRICTED, ""},
		{"lifted", func() *ententev1.Verdict { return xa.restrict(true, "p1") }, accepted, ententev1.ReleaseState_RELEASE_STATE_RELEASED, "Two"},
		{"lifted again", func() *ententev1.Verdict { return xa.restrict(true, "p1") }, duplicate, ententev1.ReleaseState_RELEASE_STATE_RELEASED, "Two"},
		{"withdrawn", func() *ententev1.Verdict { return xa.push(withdrawalOf("p1", 0))[0] }, accepted, ententev1.ReleaseState_RELEASE_STATE_UNSPECIFIED, ""},
		{"what stands nowhere is not restricted", func() *ententev1.Verdict { return xa.restrict(false, "p1") }, rejected, ententev1.ReleaseState_RELEASE_STATE_UNSPECIFIED, ""},
		{"what is not there is not restricted", func() *ententev1.Verdict { return xa.restrict(false, "nowhere") }, rejected, ententev1.ReleaseState_RELEASE_STATE_UNSPECIFIED, ""},
	}
	for _, step := range steps {
		v := step.do()
		replicate(xa, xb, "XA", "XB")
		family := ""
		for _, form := range xb.forms("XA", "XB")[xa.id("p1")] {
			family = body(xb, form).GetBody().GetPerson().GetNames()[0].GetFamily()
		}
		if v.GetOutcome() != step.outcome || v.GetReleaseState() != step.state || family != step.family {
			t.Fatalf("%s: %s %v, %s, XB holds %q", step.name, v.GetOutcome(), v.GetViolations(), v.GetReleaseState(), family)
		}
		xa = w.restarted(xa, "XA")
	}
}

func TestReadersAreToldThatARecordIsRestrictedAndEraseIt(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(person("p1", 1, "One of a kind", toMembers("XB")))
	replicate(xa, xb, "XA", "XB")
	xa.restrict(false, "p1")
	replicate(xa, xb, "XA", "XB")
	if xb.holds("One of a kind") != 0 {
		t.Error("XB still has it in its file")
	}
	var reason ententev1.WithdrawalReason
	for _, s := range xb.StreamsShared("XA", "XB") {
		for _, e := range must(xb.Follow(s.No, 1, 100))(t) {
			reason = max(reason, e.Reason)
		}
	}
	if reason != ententev1.WithdrawalReason_WITHDRAWAL_REASON_RESTRICTED {
		t.Errorf("the reason is %s", reason)
	}
}

func TestAHoldKeepsARecordFromLapsingUntilItEnds(t *testing.T) {
	ends := map[string]func(w *world, xa *node){
		"by its time": func(w *world, xa *node) { w.now = w.now.Add(50 * day) },
		"lifted":      func(w *world, xa *node) { xa.hold(true, "p1", time.Time{}) },
		"by its time, after a start": func(w *world, xa *node) {
			*xa = *w.restarted(xa, "XA")
			w.now = w.now.Add(50 * day)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := newPolicedWorld(t)
			xa := w.start("XA", true)
			xa.push(until(person("p1", 1, "One of a kind", toMembers("XB")), w.now.Add(10*day)))
			v := xa.hold(false, "p1", w.now.Add(30*day))
			again := xa.hold(false, "p1", w.now.Add(30*day))
			if v.GetOutcome() != accepted || again.GetOutcome() != duplicate {
				t.Fatal(v, again)
			}
			w.now = w.now.Add(20 * day)
			for range 2 {
				lapsed, _, err := xa.Expire(context.Background())
				held, _ := xa.Record(xa.id("p1"), 0)
				if err != nil || lapsed != 0 || held.GetHold() == nil || xa.stands("XB", "p1") != 1 {
					t.Fatalf("under the hold: %d lapsed, %v", lapsed, err)
				}
			}
			end(w, xa)
			lapsed, _, err := xa.Expire(context.Background())
			if err != nil || lapsed != 1 || xa.holds("One of a kind") != 0 || xa.stands("XB", "p1") != 0 {
				t.Fatalf("after the hold: %d lapsed, still in %d values, stands %d, %v", lapsed, xa.holds("One of a kind"), xa.stands("XB", "p1"), err)
			}
			w.restarted(xa, "XA")
		})
	}
}

func TestAHoldByAClockThatIsBehindIsLookedAtAgain(t *testing.T) {
	w := newPolicedWorld(t)
	ahead := time.Duration(0)
	w.configure = func(c *ledger.Config) {
		policed(c)
		c.Expiry = func() (hide, erase time.Time) { return w.now.Add(ahead), w.now.Add(ahead) }
	}
	xa := w.start("XA", true)
	xa.push(until(person("p1", 1, "One", toMembers("XB")), w.now.Add(day)))
	xa.hold(false, "p1", w.now.Add(2*day))
	w.now, ahead = w.now.Add(2*day-time.Minute), 3*time.Minute
	for range 2 {
		lapsed, _, err := xa.Expire(context.Background())
		if err != nil || lapsed != 0 {
			t.Fatal(lapsed, err)
		}
	}
	w.now = w.now.Add(2 * time.Minute)
	lapsed, _, err := xa.Expire(context.Background())
	if err != nil || lapsed != 1 {
		t.Fatalf("%d lapsed after the hold, %v", lapsed, err)
	}
}

func TestARenewedRecordGoesOutWithItsNewDate(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	first := w.now.Add(10 * day)
	xa.push(until(person("p1", 1, "One", toMembers("XB"), withoutNotes(toAll())), first))
	date := func() time.Time {
		t.Helper()
		replicate(xa, xb, "XA", "XB")
		list := xb.forms("XA", "XB")[xa.id("p1")]
		if len(list) != 2 {
			t.Fatalf("XB holds %d forms, want that for it and that for all", len(list))
		}
		a, b := body(xb, list[0]).GetEnvelope().GetRetainUntil().AsTime(), body(xb, list[1]).GetEnvelope().GetRetainUntil().AsTime()
		if !a.Equal(b) {
			t.Fatalf("two dates: %s and %s", a, b)
		}
		return a
	}
	if !date().Equal(first) {
		t.Fatal(date())
	}
	for i := range 3 {
		next := first.Add(time.Duration(100*(i+1)) * day)
		v := xa.renew("p1", next)
		if v.GetOutcome() != accepted || v.GetVersion() != 1 || !date().Equal(next) {
			t.Fatalf("renewal %d: %s of version %d, XB has it until %s", i, v.GetOutcome(), v.GetVersion(), date())
		}
		if v = xa.renew("p1", next); v.GetOutcome() != duplicate {
			t.Fatalf("the same renewal again: %s", v.GetOutcome())
		}
		w.now = w.now.Add(15 * day) // beyond the first date
		_, _, err := xa.Expire(context.Background())
		w.must(err)
		_, _, err = xb.Expire(context.Background())
		w.must(err)
		xa = w.restarted(xa, "XA")
	}
	last := w.now.Add(400 * day)
	xa.push(until(person("p1", 2, "Two"), last))
	if !date().Equal(last) {
		t.Errorf("a new version says its own date, and XB has %s", date())
	}
	refusals := map[string]*ententev1.Verdict{"beyond the profile": xa.renew("p1", w.now.AddDate(6, 0, 0)), "in the past": xa.renew("p1", w.now), "of nothing": xa.renew("nowhere", last)}
	for name, v := range refusals {
		if v.GetOutcome() != rejected {
			t.Errorf("%s: %s", name, v.GetOutcome())
		}
	}
	w.restarted(xa, "XA")
}

// A commit that takes a push and a renewal together must not put the form of before the renewal under the new one's place:
// readers would refuse the stream.
func TestARecordPushedAndRenewedInOneCommitIsTheSameForAll(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	w.must(xa.PushAndRenew(context.Background(), "Central Unit", person("p1", 1, "One", toMembers("XB", "XC"), toAll()), w.now.Add(900*day)))
	replicate(xa, xb, "XA", "XB")
	mine, theirs := xa.forms("XA", "XB")[xa.id("p1")], xb.forms("XA", "XB")[xa.id("p1")]
	if len(mine) != 2 || !same(mine, theirs) {
		t.Fatalf("XA says %d forms, XB holds %d", len(mine), len(theirs))
	}
	for _, form := range theirs {
		if got := body(xb, form).GetEnvelope().GetRetainUntil().AsTime(); !got.Equal(w.now.Add(900 * day)) {
			t.Errorf("released until %s", got)
		}
	}
}

// TestWhatIsOverComesBackToNobody: a hold, or a clock by which nothing is erased, keeps a record at home after its end, and is no way
// around it.
func TestWhatIsOverComesBackToNobody(t *testing.T) {
	for _, test := range []struct {
		name string
		hold bool
	}{{"under a hold", true}, {"while nothing is erased", false}} {
		t.Run(test.name, func(t *testing.T) {
			w := newPolicedWorld(t)
			var erase time.Time
			w.configure = func(c *ledger.Config) {
				policed(c)
				c.Expiry = func() (time.Time, time.Time) { return w.now, erase }
			}
			xa, xb := w.start("XA", true), w.start("XB", true)
			xa.push(until(person("p1", 1, "One", toMembers("XB")), w.now.Add(day)))
			replicate(xa, xb, "XA", "XB")
			if test.hold {
				xa.hold(false, "p1", w.now.Add(90*day))
				erase = w.now.Add(30 * day)
			}
			w.now = w.now.Add(30 * day)
			xa.expire()
			before := xa.stands("XB", "p1")
			for name, v := range map[string]*ententev1.Verdict{
				"released to another": xa.release(false, "p1", toMembers("XC")),
				"renewed":             xa.renew("p1", w.now.Add(100*day)),
			} {
				if v.GetOutcome() == accepted {
					t.Errorf("it can be %s", name)
				}
			}
			if xa.stands("XC", "p1") != 0 || xa.stands("XB", "p1") > before {
				t.Error("it stands for somebody again")
			}
		})
	}
}

func TestAHoldEndsWithinTheProfile(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	xa.push(person("p1", 1, "One"))
	if v := must(xa.Hold(as("vera"), "Central Unit", []string{"p1"}, false, "a court", w.now.AddDate(6, 0, 0)))(t)[0]; v.GetOutcome() == accepted {
		t.Error("a hold of six years")
	}
}
