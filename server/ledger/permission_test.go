package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// XA has released p1 to XB, under H2. XB has made d1 from it and wants it before XC.

func derived(reference string, from *node, sources ...string) ledger.Item {
	it := person(reference, 1, "Derived", toMembers("XC"))
	it.Record.Envelope.Handling = &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H2}}
	for _, source := range sources {
		id := from.id(source)
		it.Record.Envelope.SourceRefs = append(it.Record.Envelope.SourceRefs, &ententev1.RecordRef{ProviderMember: "XA", Target: &ententev1.RecordRef_RecordId{RecordId: id[:]}})
	}
	return it
}

func underH2(it ledger.Item) ledger.Item {
	it.Record.Envelope.Handling = &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H2}}
	return it
}

func allow(w *world, recipients ...member.ID) ledger.Permit {
	return ledger.Permit{Holder: "XB", Recipients: recipients, Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: w.now.Add(10 * day)}
}

func (n *node) permit(reference string, ask ledger.Permit) []*ententev1.EntryRef {
	n.w.t.Helper()
	return must(n.Permit(as("vera"), "Central Unit", reference, ask))(n.w.t)
}

func (n *node) revoke(at *ententev1.EntryRef) {
	n.w.t.Helper()
	n.w.must(n.RevokePermission(as("vera"), "Central Unit", must(stream.ParseID(at.GetStreamId()))(n.w.t), at.GetSequence()))
}

type holding struct {
	w      *world
	xa, xb *node
	given  []*ententev1.EntryRef
}

func newHolding(t *testing.T) *holding {
	w := newPolicedWorld(t)
	h := &holding{w: w, xa: w.start("XA", true), xb: w.start("XB", true)}
	h.xa.push(underH2(person("p1", 1, "One", toMembers("XB"))))
	h.carry()
	h.xb.push(derived("d1", h.xa, "p1"))
	return h
}

func (h *holding) carry() { replicate(h.xa, h.xb, "XA", "XB") }

// told says what of d1 stands for XC, and whether XB knows a permission in force.
func (h *holding) told() (stands int, inForce int) {
	return h.xb.released("XB", "XC")[h.xb.id("d1")], len(h.xb.Permissions(ledger.Name{Owner: "XA", Record: h.xa.id("p1")}))
}

func (h *holding) want(what string, stands, inForce int) {
	h.w.t.Helper()
	s, in := h.told()
	given := 0
	for _, p := range h.xb.ListPermissions("", true) {
		if p.GetInForce() {
			given++
		}
	}
	if s != stands || in != inForce || given != inForce || h.xb.Stats().Waiting != uint64(1-stands) {
		h.w.t.Fatalf("%s: d1 stands %d times, %d permissions in force (listed %d), %d waiting", what, s, in, given, h.xb.Stats().Waiting)
	}
}

func TestWhatWasMadeFromAnothersRecordGoesOnlyAsItsOwnerPermits(t *testing.T) {
	ends := map[string]struct {
		do      func(h *holding)
		inForce int
	}{
		"the permission is revoked": {do: func(h *holding) { h.xa.revoke(h.given[0]); h.carry() }},
		"its time ends":             {do: func(h *holding) { h.w.now = h.w.now.Add(10 * day); h.xb.expire() }},
		"its time ends, after a start": {do: func(h *holding) {
			h.w.now = h.w.now.Add(5 * day)
			h.xb = h.w.restarted(h.xb, "XB")
			h.w.now = h.w.now.Add(5 * day)
			h.xb.expire()
		}},
		"its time ends while the node is down": {do: func(h *holding) {
			h.xb.stop()
			h.w.now = h.w.now.Add(10 * day)
			h.xb = h.w.start("XB", true)
			h.xb.expire()
		}},
		"the version is corrected": {do: func(h *holding) { h.xa.push(underH2(person("p1", 2, "Two"))); h.carry() }},
		"the record is withdrawn":  {do: func(h *holding) { h.xa.push(withdrawalOf("p1", 0)); h.carry() }},
		"the record is restricted": {do: func(h *holding) { h.xa.restrict(false, "p1"); h.carry() }},
		"the stream is frozen": {do: func(h *holding) {
			for _, s := range h.xb.StreamsShared("XA", "XB") {
				h.w.must(h.xb.Freeze(context.Background(), "XA", s.ID, [][]byte{{1}, {2}}))
			}
		}},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHolding(t)
			h.want("without a permission", 0, 0)
			h.given = h.xa.permit("p1", allow(h.w, "XC"))
			h.carry()
			h.want("permitted", 1, 1)
			h.xb = h.w.restarted(h.xb, "XB")
			h.want("after a start", 1, 1)
			end.do(h)
			h.want("afterwards", 0, end.inForce)
			h.w.restarted(h.xb, "XB")
			h.w.restarted(h.xa, "XA")
		})
	}
}

func TestAPermissionThatRunsOutTakesDownWhatItCarriedWithoutAStart(t *testing.T) {
	h := newHolding(t)
	h.xa.permit("p1", allow(h.w, "XC"))
	h.carry()
	h.w.now = h.w.now.Add(10*day - time.Second)
	h.xb.expire()
	h.want("a second before", 1, 1)
	h.w.now = h.w.now.Add(time.Second)
	h.xb.expire()
	h.want("afterwards", 0, 0)
	h.xa.permit("p1", allow(h.w, "XC"))
	h.carry()
	h.want("permitted anew", 1, 1)
}

func TestAPermissionCountsForWhatItSaysOnly(t *testing.T) {
	asks := map[string]func(h *holding) ledger.Permit{
		"for another recipient": func(h *holding) ledger.Permit { return allow(h.w, "COORD") },
		"for another purpose": func(h *holding) ledger.Permit {
			p := allow(h.w, "XC")
			p.Purpose = ententev1.Purpose_PURPOSE_WARN
			return p
		},
		"for export only": func(h *holding) ledger.Permit { p := allow(h.w); p.Export = true; return p },
	}
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			h := newHolding(t)
			h.xa.permit("p1", ask(h))
			h.carry()
			h.want("permitted otherwise", 0, 1)
			h.w.restarted(h.xb, "XB")
		})
	}
}

func TestSeveralPermissionsOfOneVersionCountInWhateverOrderTheyCome(t *testing.T) {
	for name, first := range map[string]bool{"permission first": true, "record first": false} {
		t.Run(name, func(t *testing.T) {
			w := newPolicedWorld(t)
			xa, xb := w.start("XA", true), w.start("XB", true)
			// The record goes by the shared stream, the permissions by the bilateral one: XB reads one of them before the other.
			xa.push(underH2(person("p1", 1, "One", toProject())))
			other := allow(w, "XC")
			other.Purpose = ententev1.Purpose_PURPOSE_WARN
			xa.permit("p1", other)
			xa.permit("p1", allow(w, "XC"))
			xb.push(derived("d1", xa, "p1"))
			streams := xa.StreamsShared("XA", "XB")
			if len(streams) != 2 {
				t.Fatalf("%d streams", len(streams))
			}
			h := &holding{w: w, xa: xa, xb: xb}
			if first {
				carryOnly(xa, xb, streams[1])
				h.want("the record is not there yet", 0, 0)
				carryOnly(xa, xb, streams[0])
			} else {
				carryOnly(xa, xb, streams[0])
				h.want("the permissions are not there yet", 0, 0)
				carryOnly(xa, xb, streams[1])
			}
			h.want("both are there", 1, 2)
			w.restarted(xb, "XB")
		})
	}
}

// carryOnly replicates one stream.
func carryOnly(from, to *node, s ledger.StreamInfo) {
	from.w.t.Helper()
	r, err := to.Reader(s.Owner, s.ID)
	from.w.must(err)
	_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: s.ID[:], Checkpoint: s.Checkpoint}, from.w.dir.Roster.VerifyingKeys(s.Owner))
	from.w.must(err)
	entries, err := from.Entries(s.No, 1, 1000, 1<<20)
	from.w.must(err)
	verified, err := r.Entries(&ententev1.EntryBatch{StreamId: s.ID[:], Entries: entries}, to.Covered(s.Owner))
	from.w.must(err)
	from.w.must(to.ApplyEntries(context.Background(), s.Owner, s.ID, verified, r.Edge(), s.Checkpoint))
}

func TestWhatAPermissionRestsOnIsHiddenAfterAnUncleanStop(t *testing.T) {
	h := newHolding(t)
	h.xb.push(derived("d2", h.xa, "p1"))
	h.xa.permit("p1", allow(h.w, "XC"))
	h.carry()
	xc := h.w.start("XC", true)
	replicate(h.xb, xc, "XB", "XC")
	h.xb.stop()
	h.w.now = h.w.now.Add(time.Second)
	h.xb = h.w.start("XB", false)
	if _, inForce := h.told(); inForce != 0 {
		t.Error("a permission counts by a stream that is not shown")
	}
	h.xb.push(derived("d3", h.xa, "p1"))
	h.w.must(h.xb.Confirm(context.Background(), "XC", headsHeld(xc, "XB", "XC")))
	if h.xb.released("XB", "XC")[h.xb.id("d3")] != 0 {
		t.Error("and something goes out by it")
	}
	h.xb.Fresh("XA", true)
	for _, d := range []string{"d1", "d2", "d3"} {
		if h.xb.released("XB", "XC")[h.xb.id(d)] != 1 {
			t.Errorf("%s does not stand once the owner is heard", d)
		}
	}
}

func TestStricterConditionsOfASourceThatComeLaterCount(t *testing.T) {
	open := func(it ledger.Item) ledger.Item { it.Record.Envelope.Handling = nil; return it }
	t.Run("the source comes after what was made from it", func(t *testing.T) {
		w := newPolicedWorld(t)
		xa, xb := w.start("XA", true), w.start("XB", true)
		xa.push(underH2(person("p1", 1, "One", toMembers("XB"))))
		xb.push(open(derived("d1", xa, "p1"))) // not known yet what it must carry
		xa.permit("p1", allow(w, "XC"))
		replicate(xa, xb, "XA", "XB")
		if n := xb.released("XB", "XC")[xb.id("d1")]; n != 0 {
			t.Errorf("it stands %d times without H2", n)
		}
		w.restarted(xb, "XB")
	})
	t.Run("a correction of the source is stricter", func(t *testing.T) {
		w := newPolicedWorld(t)
		xa, xb := w.start("XA", true), w.start("XB", true)
		xa.push(person("p1", 1, "One", toAll()))
		replicate(xa, xb, "XA", "XB")
		xb.push(open(derived("d1", xa, "p1")))
		if n := xb.released("XB", "XC")[xb.id("d1")]; n != 1 {
			t.Fatalf("it stands %d times", n)
		}
		xa.push(underH2(person("p1", 2, "Two")))
		replicate(xa, xb, "XA", "XB")
		if n := xb.released("XB", "XC")[xb.id("d1")]; n != 0 {
			t.Errorf("it stands %d times without H2", n)
		}
		v, err := xb.Push(context.Background(), "Central Unit", []ledger.Item{open(derived("d2", xa, "p1"))})
		xb.want(rejected, v, err)
		w.restarted(xb, "XB")
	})
}

func TestWhatCannotBePermittedIsRefusedWithTheField(t *testing.T) {
	refusals := map[string]struct {
		change func(p *ledger.Permit)
		record string
		field  string
	}{
		"nobody to pass on to, and no export": {func(p *ledger.Permit) { p.Recipients = nil }, "p1", "recipients"},
		"a holder that does not hold it":      {func(p *ledger.Permit) { p.Holder = "COORD" }, "p1", "holder"},
		"the owner itself as holder":          {func(p *ledger.Permit) { p.Holder = "XA" }, "p1", "holder"},
		"a holder that nobody knows":          {func(p *ledger.Permit) { p.Holder = "XZ" }, "p1", "holder"},
		"a recipient that nobody knows":       {func(p *ledger.Permit) { p.Recipients = []member.ID{"XC", "XZ"} }, "p1", "recipients"},
		"the owner as recipient":              {func(p *ledger.Permit) { p.Recipients = []member.ID{"XA"} }, "p1", "recipients"},
		"until now":                           {func(p *ledger.Permit) { p.Until = p.Until.Add(-10 * day) }, "p1", "until"},
		"of a record that is not there":       {func(*ledger.Permit) {}, "nowhere", "provider_reference"},
		"of a withdrawn record":               {func(*ledger.Permit) {}, "p2", "provider_reference"},
		"of a restricted record":              {func(*ledger.Permit) {}, "p3", "holder"},
	}
	h := newHolding(t)
	h.xa.push(person("p2", 1, "Two", toMembers("XB")), withdrawalOf("p2", 0), person("p3", 1, "Three", toMembers("XB")))
	h.xa.restrict(false, "p3")
	for name, r := range refusals {
		ask := allow(h.w, "XC")
		r.change(&ask)
		_, err := h.xa.Permit(context.Background(), "Central Unit", r.record, ask)
		refused := &ledger.PermitError{}
		if !errors.As(err, &refused) || refused.Field != r.field || refused.Reason == "" {
			t.Errorf("%s: %v, want a refusal of %s", name, err, r.field)
		}
	}
	if len(h.xa.ListPermissions("Central Unit", false)) != 0 {
		t.Error("a refusal left a permission")
	}
	given := h.xa.permit("p1", allow(h.w, "XC"))[0]
	id := must(stream.ParseID(given.GetStreamId()))(t)
	for name, err := range map[string]error{
		"of another authority": h.xa.RevokePermission(context.Background(), "Other Unit", id, given.GetSequence()),
		"of another entry":     h.xa.RevokePermission(context.Background(), "Central Unit", id, given.GetSequence()-1),
		"of another stream":    h.xa.RevokePermission(context.Background(), "Central Unit", stream.ID{1}, given.GetSequence()),
	} {
		if !errors.Is(err, ledger.ErrAbsent) {
			t.Errorf("revoked %s: %v", name, err)
		}
	}
	h.xa.revoke(given)
	if err := h.xa.RevokePermission(context.Background(), "Central Unit", id, given.GetSequence()); !errors.Is(err, ledger.ErrAbsent) {
		t.Errorf("revoked twice: %v", err)
	}
}

func TestAGivenPermissionDiesWithItsVersion(t *testing.T) {
	h := newHolding(t)
	h.xa.permit("p1", allow(h.w, "XC"))
	inForce := func() bool { return h.xa.ListPermissions("Central Unit", false)[0].GetInForce() }
	if !inForce() {
		t.Fatal("it is not in force")
	}
	h.xa.push(underH2(person("p1", 2, "Two")))
	if inForce() {
		t.Error("it is in force for a version that it does not name")
	}
	h.xa = h.w.restarted(h.xa, "XA")
	if inForce() {
		t.Error("after a start it is")
	}
}

func TestARevokedPermissionLeavesNoRecipientsInAFile(t *testing.T) {
	h := newHolding(t)
	ask := allow(h.w, "XC", "COORD")
	given := h.xa.permit("p1", ask)[0]
	h.carry()
	if h.xa.holds("*\x05COORD") == 0 || h.xb.holds("*\x05COORD") == 0 {
		t.Fatal("the permission is not where this test looks for it")
	}
	h.xa.revoke(given)
	h.carry()
	if h.xa.holds("*\x05COORD") != 0 || h.xb.holds("*\x05COORD") != 0 {
		t.Error("the recipients are still there")
	}
}

// Whatever a peer signs into its stream, it costs no more than its bytes, and frees nothing that it does not own.
func TestWhatAPeerSendsAsPermissionFreesNothingElse(t *testing.T) {
	good := func(h *holding) *ententev1.OnwardPermission {
		for _, p := range h.xb.ListPermissions("", true) {
			return proto.CloneOf(p.GetPermission())
		}
		return nil
	}
	hostile := map[string]func(p *ententev1.OnwardPermission){
		"of another owner":           func(p *ententev1.OnwardPermission) { p.Owner = "XC" },
		"for another holder":         func(p *ententev1.OnwardPermission) { p.Holder = "XC" },
		"of an id that is none":      func(p *ententev1.OnwardPermission) { p.RecordId = []byte{1} },
		"of a short commitment":      func(p *ententev1.OnwardPermission) { p.Commitment = p.Commitment[:31] },
		"of no commitment":           func(p *ententev1.OnwardPermission) { p.Commitment = nil },
		"of a commitment of nothing": func(p *ententev1.OnwardPermission) { p.Commitment = make([]byte, 32) },
		"without an end":             func(p *ententev1.OnwardPermission) { p.Until = nil },
		"ended before 1970":          func(p *ententev1.OnwardPermission) { p.Until.Seconds = -5 },
		"to too many":                func(p *ententev1.OnwardPermission) { p.Recipients = append(manyReferences(256), "XC") },
		"with a newer field":         func(p *ententev1.OnwardPermission) { p.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1}) },
	}
	for name, change := range hostile {
		t.Run(name, func(t *testing.T) {
			h := newHolding(t)
			h.given = h.xa.permit("p1", allow(h.w, "XC"))
			h.carry()
			p := good(h)
			h.xa.revoke(h.given[0])
			h.carry()
			h.want("revoked", 0, 0)
			change(p)
			at := must(h.xa.SendPermission(context.Background(), must(stream.ParseID(h.given[0].GetStreamId()))(t), &ententev1.StreamPayload{Content: &ententev1.StreamPayload_Permission{Permission: p}}))(t)
			h.carry()
			h.want("sent by a hostile owner", 0, 0)
			h.xb = h.w.restarted(h.xb, "XB")
			w := stream.Withdrawal{Stream: must(stream.ParseID(h.given[0].GetStreamId()))(t), Sequence: at + 1, Target: must(stream.ParseID(h.given[0].GetStreamId()))(t), TargetSequence: at, Reason: 1}
			h.w.must(h.xb.ApplyWithdrawals(context.Background(), "XA", w.Stream, []stream.Withdrawal{w}, nil))
			h.want("and taken back", 0, 0)
		})
	}
	t.Run("more than are looked at", func(t *testing.T) {
		h := newHolding(t)
		h.xa.permit("p1", allow(h.w, "COORD"))
		h.carry()
		p := good(h)
		id := h.xb.StreamsShared("XA", "XB")[0].ID
		for range 11 {
			for range 100 {
				_, err := h.xa.SendPermission(context.Background(), id, &ententev1.StreamPayload{Content: &ententev1.StreamPayload_Permission{Permission: p}})
				h.w.must(err)
			}
			h.carry()
		}
		if n := len(h.xb.ListPermissions("", true)); n != 1024 {
			t.Errorf("%d are looked at", n)
		}
		h.xb = h.w.restarted(h.xb, "XB")
	})
}

func TestAfterARestoreWhatWasRevokedSinceIsRevokedAndWhatWasPermittedIsKnown(t *testing.T) {
	h := newHolding(t)
	xc, coord := h.w.start("XC", true), h.w.start("COORD", true)
	before := h.xa.permit("p1", allow(h.w, "XC"))[0]
	h.carry()
	h.xa.stop()
	backup := h.w.path["XA"] + ".backup"
	copyFile(t, h.w.path["XA"], backup)
	h.w.now = h.w.now.Add(time.Second)
	h.xa = h.w.start("XA", true)
	h.xa.revoke(before)
	h.xa.revoke(h.xa.permit("p1", allow(h.w, "XC"))[0])
	kept := h.xa.permit("p1", allow(h.w, "COORD"))
	h.carry()
	h.xa.stop()
	copyFile(t, backup, h.w.path["XA"])
	h.w.now = h.w.now.Add(time.Second)
	h.xa = h.w.start("XA", false)
	confirmAll(h.w, "XA", h.xa, map[member.ID]*node{"XB": h.xb, "XC": xc, "COORD": coord})
	for _, tail := range h.xa.LostTails() {
		recoverTail(t, h.w, h.xa, h.xb, tail)
	}
	check := func(when string) {
		t.Helper()
		list := h.xa.ListPermissions("Central Unit", false)
		if len(list) != 1 || list[0].GetEntry().GetSequence() != kept[0].GetSequence() {
			t.Errorf("%s: %d permissions, want the one that was not revoked", when, len(list))
		}
		if n := h.xa.holds("*\x02XC"); n != 0 {
			t.Errorf("%s: the recipient of a revoked one is in %d values", when, n)
		}
	}
	check("after the end came back")
	h.xa.stop()
	h.w.now = h.w.now.Add(time.Second)
	h.xa = h.w.start("XA", true)
	check("after a start")
}
