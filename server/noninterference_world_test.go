package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/resolve"
)

// merging keeps a network in step with a coordinator's ledger, as the coordinator's node does (nodes/coordinator, whose own
// merge cannot be had without a whole node).
type merging struct {
	*network.Network
	ledger   *ledger.Ledger
	position map[uint32]uint64
	erasures uint64
	items    int // ever taken
}

func newMerging(held *ledger.Ledger) *merging {
	return &merging{Network: network.New("COORD", resolve.Resolver{}), ledger: held, position: map[uint32]uint64{}}
}

func (m *merging) catchUp() error {
	var gone []ledger.Erasure
	gone, m.erasures = m.ledger.Erasures(m.erasures)
	for _, e := range gone {
		m.Withdraw(e.Stream, e.Sequence)
	}
	list := m.ledger.Streams()
	numbers := map[string]uint32{}
	for _, info := range list {
		numbers[string(info.Owner)+string(info.ID[:])] = info.No
		m.Hide(info.No, info.Hidden || info.Left)
	}
	for _, info := range list {
		for m.position[info.No] < info.Size {
			entries, err := m.ledger.Follow(info.No, m.position[info.No]+1, 1000)
			if err != nil || len(entries) == 0 {
				return err
			}
			for _, e := range entries {
				m.take(info, e, numbers)
			}
			m.position[info.No] = entries[len(entries)-1].Sequence
		}
	}
	return nil
}

func (m *merging) take(info ledger.StreamInfo, e ledger.Entry, numbers map[string]uint32) {
	switch {
	case e.Type == ententev1.EntryType_ENTRY_TYPE_RELEASE && e.Released != nil:
		readers := append([]member.ID{info.Owner}, info.Readers...)
		if info.Kind == ententev1.StreamKind_STREAM_KIND_BILATERAL {
			readers = append([]member.ID{info.Owner}, e.MergeFor...)
		}
		all := info.Kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS || info.Kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE
		m.items++
		m.Add(network.Item{Stream: info.No, Sequence: e.Sequence, Owner: e.Owner, Record: e.Record, Kind: e.Kind, Released: e.Released,
			PayloadHash: e.PayloadHash, AllMembers: all, Project: info.Project, Readers: readers, RetainUntil: e.RetainUntil, Label: policy.LabelOf(e.Released)})
	case e.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL:
		no, known := numbers[string(e.Owner)+string(e.Target[:])]
		if known {
			m.Withdraw(no, e.TargetSeq)
		}
	}
}

// claim is a record in the making.
type claim struct {
	owner     member.ID
	authority string
	reference string
	version   uint64
	kind      ententev1.RecordKind
	name      int
	ends      [2]string // of an association: references of the same authority
	level     ententev1.ClassificationLevel
	purpose   ententev1.Purpose
	status    ententev1.PersonStatus
	restrict  bool  // handling H2 as well, for which a release waits for a second person
	retain    int64 // seconds after the beginning of the world
	audiences []*ententev1.Audience
	withdrawn bool
}

func (c *claim) record(h *half) *ententev1.Record {
	r := personRecord(c.reference, c.version)
	e := r.GetEnvelope()
	e.Purpose, e.Classification = c.purpose, &ententev1.Classification{Level: c.level}
	e.RecordedAt, e.RetainUntil = timestamppb.New(h.g.start.Add(-3600e9)), &timestamppb.Timestamp{Seconds: h.g.start.Unix() + c.retain}
	if c.restrict {
		e.Handling.Codes = append(e.Handling.Codes, ententev1.HandlingCode_HANDLING_CODE_H2)
	}
	switch c.kind {
	case ententev1.RecordKind_RECORD_KIND_PERSON:
		p := r.GetBody().GetPerson()
		p.Names, p.Status = []*ententev1.PersonName{{Family: fmt.Sprint("Family ", c.name), Given: fmt.Sprint("Given ", c.version)}}, c.status
		p.Documents = []*ententev1.IdentityDocument{{Type: ententev1.DocumentType_DOCUMENT_TYPE_PASSPORT, Number: fmt.Sprintf("P%07d", c.name), IssuingCountry: "XA"}}
	case ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE:
		r.Body = practice(c.reference).GetRecord().GetBody()
	case ententev1.RecordKind_RECORD_KIND_ASSOCIATION:
		r.Body = &ententev1.Body{Kind: &ententev1.Body_Association{Association: &ententev1.Association{
			From: localRef(c.ends[0]), To: localRef(c.ends[1]), Kind: ententev1.AssociationKind_ASSOCIATION_KIND_MEETS,
			Certainty: ententev1.Certainty_CERTAINTY_SUSPECTED,
		}}}
	}
	return r
}

func localRef(reference string) *ententev1.RecordRef {
	return &ententev1.RecordRef{Target: &ententev1.RecordRef_ProviderReference{ProviderReference: reference}}
}

// push takes the record as the claim says it now.
func (c *claim) push(h *half) {
	h.site(c.owner).push(c.authority, ledger.Item{Record: c.record(h), Audiences: c.audiences, ReplaceAudiences: true})
}

// id is the record's id: a function of authority and reference, so the same in both halves, also where there is no record.
func (c *claim) id(h *half) []byte {
	id := h.site(c.owner).ledger.RecordID(c.authority, c.reference)
	return id[:]
}

// step is one thing that happens in a world. Hidden ones happen in one half of a pair only.
type step struct {
	hidden bool
	what   string
	do     func(h *half, a *answers)
}

// plan is what happens in a pair of worlds, made from a seed.
type plan struct {
	*rand.Rand
	eye    *eye
	steps  []step
	shown  []*claim // visible ones, in the order of their making
	hidden []*claim
	strict bool // also compare what is known to tell, see eye.within
}

// eye is somebody who asks, with what it may see and what not.
type eye struct {
	name  string
	sites []member.ID // whose nodes it asks
	show  func(p *plan, c *claim)
	hide  []func(p *plan)
	ask   func(h *half, p *plan, a *answers)
	look  func(h *half, p *plan, a *answers) // asked in between as well; nil: nothing
	// within says that the eye is of the member whose node it asks. What is hidden from it stands in the same streams as what
	// it sees, so the numbers of entries tell that there is more; they are not compared (see TestWhatIsStillToldWithinAMember).
	within bool
	open   func(p *plan) // opens, by something visible, the streams that both will stand in; nil: nothing
}

func newPlan(e *eye, seed uint64, strict bool) *plan {
	p := &plan{Rand: rand.New(rand.NewPCG(seed, 0x5eed)), eye: e, strict: strict}
	if e.open != nil && !strict {
		e.open(p)
		p.pause()
	}
	for range 10 + p.IntN(10) {
		if p.IntN(2) == 0 {
			p.visible()
		} else {
			e.hide[p.IntN(len(e.hide))](p)
		}
		if p.IntN(4) == 0 {
			p.pause()
		}
	}
	p.pause()
	return p
}

func (p *plan) add(hidden bool, do func(h *half, a *answers), format string, args ...any) {
	p.steps = append(p.steps, step{hidden: hidden, what: fmt.Sprintf(format, args...), do: do})
}

// push adds that a record is taken as its claim is now.
func (p *plan) push(hidden bool, c *claim) {
	now := *c
	p.add(hidden, func(h *half, _ *answers) { now.push(h) }, "push %s of %s %s version %d %s %s %v to %v", c.reference, c.owner, c.authority, c.version, c.kind, c.level, c.purpose, c.audiences)
}

// pause lets time pass, and everybody get what is for it.
func (p *plan) pause() {
	seconds := int64(1 + p.IntN(600))
	p.add(false, func(h *half, a *answers) {
		h.clock.Add(seconds)
		h.settle()
		if p.eye.look != nil {
			p.eye.look(h, p, a)
		}
	}, "pause")
}

// fresh is a claim that nobody would mind: low, of a suspect, for an investigation.
func (p *plan) fresh(prefix string) *claim {
	n := len(p.shown) + len(p.hidden)
	c := &claim{owner: "XA", authority: "Police", reference: fmt.Sprintf("%s-%d", prefix, n), version: 1, kind: ententev1.RecordKind_RECORD_KIND_PERSON, name: p.IntN(5),
		level: ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY, purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
		status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT, retain: 3600 * (1 + p.Int64N(10_000))}
	if p.IntN(6) == 0 {
		c.kind = ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE
	}
	return c
}

// visible adds something that the eye may see, or what follows from it.
func (p *plan) visible() {
	standing := p.standing(p.shown)
	if len(standing) > 0 && p.IntN(4) == 0 {
		c := standing[p.IntN(len(standing))]
		if p.IntN(2) == 0 {
			c.version++
			c.name = p.IntN(5)
			p.push(false, c)
			return
		}
		p.withdraw(false, c)
		return
	}
	c := p.fresh("V")
	p.eye.show(p, c)
	if p.IntN(5) == 0 {
		p.associate(c, standing)
	}
	p.shown = append(p.shown, c)
	p.push(false, c)
}

// opening adds a visible record with an audience, by which its streams are opened.
func (p *plan) opening(owner member.ID, audience *ententev1.Audience) {
	c := p.fresh("V")
	p.eye.show(p, c)
	c.owner, c.audiences, c.kind, c.restrict = owner, []*ententev1.Audience{audience}, ententev1.RecordKind_RECORD_KIND_PERSON, false
	p.shown = append(p.shown, c)
	p.push(false, c)
}

// associate makes a claim into an association of two visible persons of the same authority with the same audience.
func (p *plan) associate(c *claim, among []*claim) {
	ends := slices.DeleteFunc(slices.Clone(among), func(e *claim) bool {
		return e.kind != ententev1.RecordKind_RECORD_KIND_PERSON || e.owner != c.owner || e.authority != c.authority || fmt.Sprint(e.audiences) != fmt.Sprint(c.audiences)
	})
	if len(ends) < 2 {
		return
	}
	c.kind, c.ends = ententev1.RecordKind_RECORD_KIND_ASSOCIATION, [2]string{ends[0].reference, ends[1].reference}
}

func (p *plan) standing(list []*claim) []*claim {
	return slices.DeleteFunc(slices.Clone(list), func(c *claim) bool { return c.withdrawn })
}

func (p *plan) withdraw(hidden bool, c *claim) {
	c.withdrawn = true
	now := *c
	p.add(hidden, func(h *half, _ *answers) {
		verdicts, err := h.site(now.owner).ledger.Withdraw(h.t.Context(), now.authority, []string{now.reference}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE)
		h.must(err)
		if verdicts[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			h.t.Fatalf("withdraw %s: %v", now.reference, verdicts)
		}
	}, "withdraw %s of %s", c.reference, c.owner)
}

// secret adds a record that the eye may not see, as change makes it.
func (p *plan) secret(change func(c *claim)) *claim {
	c := p.fresh("H")
	change(c)
	p.hidden = append(p.hidden, c)
	p.push(true, c)
	return c
}

// any is one of a list.
func (p *plan) any(list []*claim) *claim {
	if len(list) == 0 {
		return nil
	}
	return list[p.IntN(len(list))]
}

// changeSecret corrects, withdraws, holds or restricts a hidden record.
func changeSecret(p *plan) {
	c := p.any(p.standing(p.hidden))
	if c == nil {
		return
	}
	now := *c
	acting := func(h *half) context.Context {
		return ledger.WithActor(h.t.Context(), &ententev1.AuditActor{Member: string(now.owner), Kind: "system", Name: "registry"})
	}
	switch p.IntN(4) {
	case 0:
		c.version++
		p.push(true, c)
	case 1:
		p.withdraw(true, c)
	case 2:
		p.add(true, func(h *half, _ *answers) {
			_, err := h.site(now.owner).ledger.Hold(acting(h), now.authority, []string{now.reference}, false, "a court asked", h.now().Add(1000*3600e9))
			h.must(err)
		}, "hold %s", c.reference)
	case 3:
		p.add(true, func(h *half, _ *answers) {
			_, err := h.site(now.owner).ledger.Restrict(acting(h), now.authority, []string{now.reference}, false, "it is disputed")
			h.must(err)
			_, err = h.site(now.owner).ledger.Restrict(acting(h), now.authority, []string{now.reference}, true, "it was right")
			h.must(err)
		}, "restrict %s and lift that", c.reference)
	}
}

// permitSecret has a restricted record approved and released to XC, which gets a permission for it.
func permitSecret(p *plan) {
	c := p.secret(func(c *claim) {
		c.kind, c.restrict, c.audiences = ententev1.RecordKind_RECORD_KIND_PERSON, true, []*ententev1.Audience{toMembers("XC")}
	})
	now := *c
	p.add(true, func(h *half, _ *answers) {
		held, ctx := h.site("XA").ledger, h.t.Context()
		id := held.RecordID(now.authority, now.reference)
		verdicts, err := held.Decide(ctx, ledger.Decision{Records: []ledger.RecordID{id}, Versions: []uint64{now.version}, States: []uint64{waitingState(held, id)}, Approve: true, Officer: "ann"})
		h.must(err)
		if verdicts[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			h.t.Fatalf("approve %s: %v", now.reference, verdicts)
		}
		_, err = held.Permit(ctx, now.authority, now.reference, ledger.Permit{Holder: "XC", Recipients: []member.ID{"XD"}, Purpose: now.purpose, Until: h.now().Add(9000e9)})
		h.must(err)
	}, "approve %s, and permit XC to pass it on to XD", c.reference)
}

// dangling adds an association from a visible record to one that the eye may not see.
func dangling(p *plan) {
	from, to := p.any(p.standing(p.shown)), p.any(p.standing(p.hidden))
	if from == nil || to == nil || from.owner != to.owner || from.authority != to.authority ||
		from.kind != ententev1.RecordKind_RECORD_KIND_PERSON || to.kind != ententev1.RecordKind_RECORD_KIND_PERSON {
		return
	}
	p.secret(func(c *claim) {
		c.owner, c.authority = from.owner, from.authority
		c.kind, c.ends, c.audiences = ententev1.RecordKind_RECORD_KIND_ASSOCIATION, [2]string{from.reference, to.reference}, from.audiences
	})
}

// pairOf makes both halves of a pair and gives their answers: the first without what is hidden, the second with it.
func pairOf(t testing.TB, g *ground, p *plan, plant planted) (without, with *answers) {
	t.Helper()
	both := make([]*answers, 2)
	for i := range both {
		h := newHalf(t, g)
		h.plant = plant
		for _, id := range []member.ID{"XA", "XB", "XC"} {
			h.site(id)
		}
		for _, id := range p.eye.sites {
			h.site(id).serve()
		}
		a := newAnswers(h, p.eye.within && !p.strict)
		for _, s := range p.steps {
			if !s.hidden || i == 1 {
				s.do(h, a)
			}
		}
		p.eye.ask(h, p, a)
		h.stop()
		both[i] = a
	}
	return both[0], both[1]
}

// unread is the id of a stream of XA that a member does not read, if there is one, and one that there is not else.
func (h *half) unread(reader member.ID) []byte {
	for _, info := range h.site("XA").ledger.Streams() {
		if info.Owner == "XA" && !slices.Contains(info.Readers, reader) {
			return info.ID[:]
		}
	}
	var id stream.ID
	_, err := rand.NewChaCha8([32]byte{1}).Read(id[:])
	h.must(err)
	return id[:]
}
