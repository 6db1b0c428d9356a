package ledger_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// XB has d1, which it made from XA's p1, and makes others from d1: what p1 is under goes on with them.

// madeOf is an own record that was made from own records.
func madeOf(reference string, version uint64, sources ...string) ledger.Item {
	it := underH2(person(reference, version, "Second hand", toMembers("XC")))
	for _, source := range sources {
		it.Record.Envelope.SourceRefs = append(it.Record.Envelope.SourceRefs, ref(source))
	}
	return it
}

// atHome is an item that is released to nobody.
func atHome(it ledger.Item) ledger.Item { it.Audiences = nil; return it }

// before says how often an own record of XB stands for XC.
func (h *holding) before(reference string) int { return h.xb.released("XB", "XC")[h.xb.id(reference)] }

func (h *holding) wantBefore(what, reference string, stands int) {
	h.w.t.Helper()
	if n := h.before(reference); n != stands {
		h.w.t.Fatalf("%s: %s stands %d times, want %d", what, reference, n, stands)
	}
}

func TestWhatWasMadeByWayOfOwnRecordsIsUnderTheConditionsOfTheFirst(t *testing.T) {
	ends := map[string]func(h *holding){
		"the permission is revoked": func(h *holding) { h.xa.revoke(h.given[0]); h.carry() },
		"its time ends":             func(h *holding) { h.w.now = h.w.now.Add(10 * day); h.xb.expire() },
		"the version is corrected":  func(h *holding) { h.xa.push(underH2(person("p1", 2, "Two"))); h.carry() },
		"the record is withdrawn":   func(h *holding) { h.xa.push(withdrawalOf("p1", 0)); h.carry() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHolding(t)
			h.xb.push(withdrawalOf("d1", 0), atHome(madeOf("d1", 2)), atHome(madeOf("d2", 1, "d1")), madeOf("d3", 1, "d2"))
			h.wantBefore("made from nothing of others now", "d3", 1)
			it := derived("d1", h.xa, "p1")
			it.Record.Envelope.Version = 3
			h.xb.push(atHome(it)) // it stands nowhere: what was made from it is looked at all the same
			h.wantBefore("without a permission", "d3", 0)
			h.given = h.xa.permit("p1", allow(h.w, "XC"))
			h.carry()
			h.wantBefore("permitted", "d3", 1)
			h.xb = h.w.restarted(h.xb, "XB")
			end(h)
			h.wantBefore("afterwards", "d3", 0)
			h.w.restarted(h.xb, "XB")
		})
	}
}

func TestAnOwnSourceCountsAsItIsKnownNow(t *testing.T) {
	tests := map[string]struct {
		push   func(h *holding)
		stands int
	}{
		"it was made from another's record, at second hand": {func(h *holding) { h.xb.push(madeOf("d2", 1, "d1")) }, 0},
		"it was made from nothing of others":                {func(h *holding) { h.xb.push(atHome(madeOf("own", 1)), madeOf("d2", 1, "own")) }, 1},
		"it is not here yet":                                {func(h *holding) { h.xb.push(madeOf("d2", 1, "later")) }, 0},
		"it comes later, made from nothing of others": {func(h *holding) {
			h.xb.push(madeOf("d2", 1, "later"))
			h.xb.push(atHome(person("later", 1, "Later")))
		}, 1},
		"it comes later, made from another's record": {func(h *holding) {
			h.xb.push(madeOf("d2", 1, "later"))
			h.xb.push(atHome(derived("later", h.xa, "p1")))
		}, 0},
		"two were made from each other, and from nothing of others": {func(h *holding) {
			h.xb.push(atHome(madeOf("c1", 1, "d2")), madeOf("d2", 1, "c1"))
		}, 1},
		"two were made from each other, and one of another's record": {func(h *holding) {
			it := derived("c1", h.xa, "p1")
			it.Record.Envelope.SourceRefs = append(it.Record.Envelope.SourceRefs, ref("d2"))
			h.xb.push(atHome(it), madeOf("d2", 1, "c1"))
		}, 0},
		"it is withdrawn": {func(h *holding) { h.xb.push(withdrawalOf("d1", 0), madeOf("d2", 1, "d1")) }, 0},
		"it is erased": {func(h *holding) {
			h.xb.push(until(atHome(derived("c1", h.xa, "p1")), h.w.now.Add(day/2)), madeOf("d2", 1, "c1"))
			h.w.now = h.w.now.Add(day / 2)
			h.xb.expire()
			h.xb.push(madeOf("d2", 2, "c1"))
		}, 0},
		"an erased one was made from nothing of others": {func(h *holding) {
			h.xb.push(until(atHome(person("c1", 1, "One")), h.w.now.Add(day/2)), madeOf("d2", 1, "c1"))
			h.w.now = h.w.now.Add(day / 2)
			h.xb.expire()
		}, 1},
		"there are more than are followed": {func(h *holding) {
			h.xb.push(atHome(madeOf("c0", 1)))
			for i := range 300 {
				h.xb.push(atHome(madeOf(fmt.Sprint("c", i+1), 1, fmt.Sprint("c", i))))
			}
			h.xb.push(madeOf("d2", 1, "c300"))
		}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHolding(t)
			test.push(h)
			h.wantBefore("pushed", "d2", test.stands)
			h.xb = h.w.restarted(h.xb, "XB")
			h.wantBefore("after a start", "d2", test.stands)
			h.xb.restrict(false, "d2")
			h.xb.restrict(true, "d2")
			h.wantBefore("and planned again", "d2", test.stands)
		})
	}
}

func TestMoreSourcesThanAreFollowedAreRefused(t *testing.T) {
	h := newHolding(t)
	list := make([]string, 257)
	for i := range list {
		list[i] = fmt.Sprint("c", i)
	}
	v, err := h.xb.Push(t.Context(), "Central Unit", []ledger.Item{madeOf("d2", 1, list...)})
	h.xb.want(rejected, v, err)
	if v[0].GetViolations()[0].GetField() != "envelope.source_refs" {
		t.Errorf("refused for %v", v[0].GetViolations())
	}
}

func TestTheConditionsOfAnOwnSourceAreAsked(t *testing.T) {
	open := func(it ledger.Item) ledger.Item { it.Record.Envelope.Handling = nil; return it }
	t.Run("those of the first source, at second hand", func(t *testing.T) {
		h := newHolding(t)
		h.xb.push(atHome(open(derived("c1", h.xa, "p1"))))
		v, err := h.xb.Push(t.Context(), "Central Unit", []ledger.Item{open(madeOf("d2", 1, "c1"))})
		h.xb.want(rejected, v, err)
	})
	t.Run("those of the own one, which became stricter", func(t *testing.T) {
		w := newPolicedWorld(t)
		h := &holding{w: w, xa: w.start("XA", true), xb: w.start("XB", true)}
		h.xa.push(person("p1", 1, "One", toAll()))
		h.carry()
		h.xb.push(atHome(open(derived("d1", h.xa, "p1"))), open(madeOf("d2", 1, "d1")))
		h.wantBefore("under nothing", "d2", 1)
		it := derived("d1", h.xa, "p1")
		it.Record.Envelope.Version = 2
		h.xb.push(atHome(it))
		h.wantBefore("made from what is under H2 now", "d2", 0)
		v, err := h.xb.Push(t.Context(), "Central Unit", []ledger.Item{open(madeOf("d3", 1, "d1"))})
		h.xb.want(rejected, v, err)
		w.restarted(h.xb, "XB")
	})
	t.Run("not those of what was made at home from nothing of others", func(t *testing.T) {
		h := newHolding(t)
		h.xb.push(atHome(madeOf("own", 1)), open(madeOf("d2", 1, "own")))
		h.wantBefore("its own business", "d2", 1)
	})
}

func TestWhatWasMadeFromOthersRecordsIsNotPermittedByItsMaker(t *testing.T) {
	h := newHolding(t)
	h.xa.permit("p1", allow(h.w, "XC"))
	h.carry()
	h.xb.push(madeOf("d2", 1, "d1"), madeOf("own", 1), madeOf("d3", 1, "own"))
	h.want("permitted", 1, 1)
	ask := ledger.Permit{Holder: "XC", Recipients: []member.ID{"COORD"}, Export: true, Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: h.w.now.Add(900 * day)}
	for _, reference := range []string{"d1", "d2"} {
		_, err := h.xb.Permit(as("vera"), "Central Unit", reference, ask)
		refused := &ledger.PermitError{}
		if !errors.As(err, &refused) || refused.Field != "provider_reference" {
			t.Errorf("%s, made from another's record, is permitted by its maker: %v", reference, err)
		}
	}
	h.xb.permit("own", ask)
	h.xb.permit("d3", ask) // made from own records alone
}

func TestTheSourcesOfAnOwnRecordAreThoseOfOthers(t *testing.T) {
	h := newHolding(t)
	h.xb.push(madeOf("d2", 1, "d1"), atHome(madeOf("own", 1)), madeOf("d3", 1, "own", "d2"), madeOf("d4", 1, "nowhere"))
	p1 := []ledger.Name{{Owner: "XA", Record: h.xa.id("p1")}}
	for _, test := range []struct {
		reference string
		want      []ledger.Name
		known     bool
	}{{"d1", p1, true}, {"d2", p1, true}, {"d3", p1, true}, {"own", nil, true}, {"d4", nil, false}, {"nowhere", nil, false}} {
		list, known := h.xb.Sources(h.xb.id(test.reference))
		if !slices.Equal(list, test.want) || known != test.known {
			t.Errorf("%s: %v, known %v", test.reference, list, known)
		}
	}
}

func TestAClockThatIsBehindLengthensNoPermission(t *testing.T) {
	w := newPolicedWorld(t)
	var behind time.Duration // of the own clock: the members' median is later
	w.configure = func(c *ledger.Config) {
		policed(c)
		c.Expiry = func() (time.Time, time.Time) { return w.now.Add(behind), time.Time{} }
	}
	h := &holding{w: w, xa: w.start("XA", true), xb: w.start("XB", true)}
	h.xa.push(underH2(person("p1", 1, "One", toMembers("XB"))))
	h.carry()
	h.xb.push(derived("d1", h.xa, "p1"))
	h.xa.permit("p1", allow(w, "XC"))
	h.carry()
	h.want("permitted", 1, 1)
	behind = 20 * day
	h.xb.expire()
	h.want("over by the other members' clocks", 0, 0)
	// These were wrong, and go back: it is in force again, and what comes of it ends with it.
	behind = 0
	other := allow(w, "COORD")
	other.Until = w.now.Add(50 * day)
	h.xa.permit("p1", other)
	h.carry()
	h.want("in force again", 1, 2)
	w.now = w.now.Add(10 * day)
	h.xb.expire()
	h.want("its end", 0, 1)
	behind = -20 * day
	h.want("a clock that hides less", 0, 1)
}

func TestPermissionsThatHaveRunOutTakeNoPlace(t *testing.T) {
	h := newHolding(t)
	h.xa.permit("p1", allow(h.w, "COORD"))
	h.carry()
	p := h.xb.ListPermissions("", true)[0].GetPermission()
	id := h.xb.StreamsShared("XA", "XB")[0].ID
	for range 11 {
		for range 100 {
			_, err := h.xa.SendPermission(t.Context(), id, &ententev1.StreamPayload{Content: &ententev1.StreamPayload_Permission{Permission: p}})
			h.w.must(err)
		}
		h.carry()
	}
	h.w.now = h.w.now.Add(10 * day)
	h.xb.expire()
	h.want("all have run out", 0, 0)
	h.xa.permit("p1", allow(h.w, "XC"))
	h.carry()
	h.want("permitted anew", 1, 1)
	if n := len(h.xb.ListPermissions("", true)); n != 1024 {
		t.Errorf("%d are looked at", n)
	}
	h.w.restarted(h.xb, "XB")
}
