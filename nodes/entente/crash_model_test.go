package main_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// reach is to whom a claim was released.
type reach int

const (
	toNobody reach = iota
	toXB
	toAll
)

func (r reach) has(id member.ID) bool {
	return r == toAll || r == toXB && id != xc
}

func (r reach) audiences() []*ententev1.Audience {
	switch r {
	case toAll:
		return []*ententev1.Audience{{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{}}}}
	case toXB:
		return []*ententev1.Audience{{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: []string{string(xb)}}}}}
	}
	return nil
}

// claim is what the national system last said of one record.
type claim struct {
	reference string
	version   uint64
	reach     reach
	withdrawn bool
	from, to  string // the ends, where it is an association
}

// mark names reference and version within the body, so that every copy says which version it is.
func (c claim) mark() string { return fmt.Sprintf("%s version %d.", c.reference, c.version) }

func (c claim) record() *ententev1.Record {
	r := &ententev1.Record{
		Envelope: &ententev1.Envelope{
			ProviderReference: c.reference, Version: c.version,
			RecordedAt: &timestamppb.Timestamp{Seconds: 1_790_000_000}, RetainUntil: &timestamppb.Timestamp{Seconds: 1_940_000_000},
			Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Assertion: ententev1.AssertionKind_ASSERTION_KIND_FACT,
			Evaluation: &ententev1.Evaluation{Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: "B", InformationCode: "2"},
			Handling:   &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H0}},
		},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Names: []*ententev1.PersonName{{Family: "Invented"}}, Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT,
			Notes: c.mark() + strings.Repeat(" Seen at the harbour.", 10),
		}}},
	}
	if c.from != "" {
		r.Body = &ententev1.Body{Kind: &ententev1.Body_Association{Association: &ententev1.Association{
			From: own(c.from), To: own(c.to), Kind: ententev1.AssociationKind_ASSOCIATION_KIND_MEETS, Notes: c.mark(),
		}}}
	}
	return r
}

func own(reference string) *ententev1.RecordRef {
	return &ententev1.RecordRef{Target: &ententev1.RecordRef_ProviderReference{ProviderReference: reference}}
}

// markOf reads the mark of a body.
func markOf(body *ententev1.Body) string {
	notes := body.GetPerson().GetNotes() + body.GetAssociation().GetNotes()
	mark, _, _ := strings.Cut(notes, ".")
	return mark + "."
}

// claims is what was acknowledged. It is the only memory of it beside the nodes.
type claims struct {
	mu       sync.Mutex // covers all below
	acked    map[string]claim
	count    int
	refused  []string
	progress chan struct{} // closed and made anew at each verdict
}

func newClaims() *claims {
	return &claims{acked: map[string]claim{}, progress: make(chan struct{})}
}

// verdict notes what the node answered to one item.
func (m *claims) verdict(tag any, v *ententev1.Verdict) {
	c := tag.(claim)
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
		m.refused = append(m.refused, fmt.Sprintf("%s (withdrawn %v): %v %v", c.mark(), c.withdrawn, v.GetOutcome(), v.GetViolations()))
		return
	}
	m.acked[c.reference] = c
	m.count++
	close(m.progress)
	m.progress = make(chan struct{})
}

func (m *claims) snapshot() map[string]claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.acked)
}

func (m *claims) acknowledged() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// await waits until so many items are acknowledged.
func (m *claims) await(t testing.TB, count int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		m.mu.Lock()
		now, progress := m.count, m.progress
		m.mu.Unlock()
		if now >= count {
			return
		}
		select {
		case <-progress:
		case <-deadline:
			t.Fatalf("%d items are acknowledged, %d are not within %v", now, count, patience)
		}
	}
}

// registry is a national system that goes on pushing for as long as it is given work.
type registry struct {
	prefix  string
	chance  *rand.Rand
	sent    map[string]claim
	persons []string
	ties    []string
	again   []claim // to be said next
}

func newRegistry(prefix string, seed uint64) *registry {
	return &registry{prefix: prefix, chance: rand.New(rand.NewPCG(seed, 7)), sent: map[string]claim{}}
}

// next is the next thing that the system says.
func (r *registry) next() claim {
	if len(r.again) > 0 {
		c := r.again[0]
		r.again = r.again[1:]
		return c
	}
	drawn := r.chance.IntN(100)
	switch {
	case drawn < 15 && len(r.persons) > 10:
		return r.tie()
	case drawn < 30 && len(r.persons) > 10:
		c := r.sent[r.any()]
		if c.withdrawn {
			return r.back(c)
		}
		c.version++
		return c
	case drawn < 42 && len(r.persons) > 10:
		c := r.sent[r.any()]
		if c.withdrawn {
			return r.back(c)
		}
		c.withdrawn = true
		if r.chance.IntN(3) == 0 {
			r.again = append(r.again, r.back(c)) // at once: both are in flight together
		}
		return c
	}
	c := claim{reference: fmt.Sprintf("%s-p%d", r.prefix, len(r.persons)), version: 1, reach: r.anywhere()}
	r.persons = append(r.persons, c.reference)
	return c
}

// back is a withdrawn record with a new version and new readers.
func (r *registry) back(c claim) claim {
	c.version++
	c.withdrawn = false
	c.reach = r.anywhere()
	return c
}

func (r *registry) tie() claim {
	from, to := r.chance.IntN(len(r.persons)), r.chance.IntN(len(r.persons)-1)
	if to >= from {
		to++
	}
	c := claim{reference: fmt.Sprintf("%s-a%d", r.prefix, len(r.ties)), version: 1, reach: r.anywhere(), from: r.persons[from], to: r.persons[to]}
	r.ties = append(r.ties, c.reference)
	return c
}

func (r *registry) any() string {
	n := r.chance.IntN(len(r.persons) + len(r.ties))
	if n < len(r.persons) {
		return r.persons[n]
	}
	return r.ties[n-len(r.persons)]
}

func (r *registry) anywhere() reach {
	return []reach{toAll, toAll, toAll, toXB, toNobody}[r.chance.IntN(5)]
}

// item says it as it is pushed. A withdrawal names its version: one that is sent a second time, after a crash took the
// verdict of the first, must not take back what was said since.
func (c claim) item(before claim) *ententev1.PushItem {
	if c.withdrawn {
		return &ententev1.PushItem{Content: &ententev1.PushItem_Withdrawal{Withdrawal: &ententev1.PushWithdrawal{
			ProviderReference: c.reference, Version: c.version, Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION,
		}}}
	}
	item := &ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: c.record()}}
	if before.version == 0 || before.withdrawn {
		item.Audiences, item.ReplaceAudiences = c.reach.audiences(), true
	}
	return item
}

// push says one thing for each piece of work until there is no more, and returns when all has a verdict.
func (r *registry) push(ctx context.Context, c *client.Client, m *claims, work <-chan struct{}) error {
	pusher := c.Push(ctx, client.PushOptions{InFlight: 6, BatchItems: 10}, m.verdict)
	for {
		select {
		case _, more := <-work:
			if !more {
				return pusher.Close()
			}
		default:
			err := pusher.Flush() // what waits for its message to be full would wait for more work
			if err != nil {
				return err
			}
			select {
			case _, more := <-work:
				if !more {
					return pusher.Close()
				}
			case <-ctx.Done():
				return pusher.Close()
			}
		}
		say := r.next()
		err := pusher.Send(say.item(r.sent[say.reference]), say)
		if err != nil {
			return err
		}
		r.sent[say.reference] = say
	}
}

// pushing is some registries at work.
type pushing struct {
	t      testing.TB
	work   chan struct{}
	done   chan struct{} // closed when all have ended
	failed chan error    // why, of each that could not go on
}

// setOut lets registries push; each has a connection of its own.
func setOut(p *place, m *claims, registries []*registry) *pushing {
	all := &pushing{t: p.t, work: make(chan struct{}, 6000), done: make(chan struct{}), failed: make(chan error, len(registries))}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, r := range registries {
		c := p.system()
		group.Go(func() { // ends with finish, or with the test
			err := r.push(ctx, c, m, all.work)
			if err != nil {
				all.failed <- fmt.Errorf("push of %s: %w", r.prefix, err)
			}
		})
	}
	go func() { // ends with the registries
		group.Wait()
		close(all.done)
	}()
	p.t.Cleanup(func() {
		cancel()
		<-all.done
	})
	return all
}

// give gives work for so many items; what does not fit is not needed yet.
func (p *pushing) give(count int) {
	for range count {
		select {
		case p.work <- struct{}{}:
		default:
			return
		}
	}
}

// finish waits until all that was said has its verdict.
func (p *pushing) finish() {
	p.t.Helper()
	close(p.work)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("what was pushed has no verdict within %v", patience)
	}
	select {
	case err := <-p.failed:
		p.t.Fatal(err)
	default:
	}
}

func asking() *ententev1.Consultation {
	return &ententev1.Consultation{Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, CaseReference: "SOAK-1"}
}

// missing compares what the owner's node holds with what was acknowledged. While registries push, more may be held than
// was acknowledged; exact is for when they do not.
func missing(ctx context.Context, c *client.Client, acked map[string]claim, exact bool) ([]string, error) {
	held := map[string]*ententev1.HeldRecord{}
	for record, err := range c.List(ctx, &ententev1.ListRequest{Consultation: asking(), PageSize: 1000}) {
		if err != nil {
			return nil, err
		}
		held[record.GetRecord().GetEnvelope().GetProviderReference()] = record
	}
	var wrong []string
	for _, reference := range slices.Sorted(maps.Keys(acked)) {
		fault := acked[reference].fault(held[reference], exact)
		if fault != "" {
			wrong = append(wrong, reference+": "+fault)
		}
	}
	if exact && len(held) != len(acked) {
		wrong = append(wrong, fmt.Sprintf("%d records are held, %d were acknowledged", len(held), len(acked)))
	}
	return wrong, nil
}

// fault says what is wrong with a record as it is held; empty: nothing.
func (c claim) fault(held *ententev1.HeldRecord, exact bool) string {
	version := held.GetRecord().GetEnvelope().GetVersion()
	switch {
	case held == nil:
		return "is not there"
	case version < c.version || exact && version != c.version:
		return fmt.Sprintf("version %d is held, acknowledged was %d", version, c.version)
	case version > c.version:
		return "" // said and not yet acknowledged
	case c.withdrawn && !held.GetWithdrawn():
		return "its withdrawal is undone"
	case exact && !c.withdrawn && held.GetWithdrawn():
		return "is withdrawn, and nobody did so"
	case !proto.Equal(held.GetRecord(), c.record()):
		return "is held with another content"
	}
	return ""
}

// released is what a member's reader has to hold, by mark.
func released(acked map[string]claim, reader member.ID) map[string]bool {
	want := map[string]bool{}
	for _, c := range acked {
		if c.withdrawn || !c.reach.has(reader) {
			continue
		}
		if c.from != "" && (!covers(acked[c.from], c.reach) || !covers(acked[c.to], c.reach)) {
			continue // it waits at home for its ends
		}
		want[c.mark()] = true
	}
	return want
}

// covers says whether an end is released to all whom the association is for.
func covers(end claim, whom reach) bool {
	return whom == toNobody || !end.withdrawn && end.reach >= whom
}
