package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

func (n *node) preview(replace bool, refs []string, audiences ...*ententev1.Audience) map[string]ledger.Previewed {
	n.w.t.Helper()
	out := map[string]ledger.Previewed{}
	n.w.must(n.PreviewRelease(as("vera"), "Central Unit", refs, audiences, replace, func(p ledger.Previewed) error {
		out[p.Reference] = p
		return nil
	}))
	return out
}

// readers is who holds what of a record, as text: the forms of each member, sorted.
func readers(n *node, id ledger.RecordID) string {
	n.w.t.Helper()
	var list []string
	for _, m := range []member.ID{"COORD", "XB", "XC"} {
		for _, form := range n.forms("XA", m)[id] {
			list = append(list, fmt.Sprintf("%s %x", m, form))
		}
	}
	return strings.Join(list, "\n")
}

func previewed(p ledger.Previewed) string {
	var list []string
	for _, f := range p.Forms {
		list = append(list, fmt.Sprintf("%s %x", f.Member, f.Released))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

func (n *node) holders(id ledger.RecordID) []member.ID {
	var list []member.ID
	for _, m := range []member.ID{"COORD", "XB", "XC"} {
		if len(n.forms("XA", m)[id]) > 0 {
			list = append(list, m)
		}
	}
	return list
}

// previewing is one random world in which a preview is compared with what the release then does.
type previewing struct {
	w    *world
	xa   *node
	rng  *rand.Rand
	refs []string
	seen map[string]int // what has happened, so that it can be told what was tested
}

func newPreviewing(t *testing.T, seed uint64, seen map[string]int) *previewing {
	w := newPolicedWorld(t)
	p := &previewing{w: w, xa: w.start("XA", true), rng: rand.New(rand.NewPCG(seed, 7)), refs: []string{"p1", "p2", "p3", "a1", "a2"}, seen: seen}
	items := []ledger.Item{noted(person("p1", 1, "One", p.audiences()...), "notes of one"), noted(person("p2", 1, "Two", p.audiences()...), "notes of two"),
		person("p3", 1, "Three", p.audiences()...), meets("a1", "p1", "p2", p.audiences()...), meets("a2", "p2", "p3", p.audiences()...)}
	for _, it := range items {
		switch p.rng.IntN(6) {
		case 0:
			it.Record.Envelope.Restriction = &ententev1.Restriction{DenyMembers: []string{"XC"}}
		case 1:
			it.Record.Envelope.Restriction = &ententev1.Restriction{AllowMembers: []string{"XB", "COORD"}}
		}
	}
	p.xa.push(items...)
	return p
}

func (p *previewing) audiences() []*ententev1.Audience {
	all := []*ententev1.Audience{toAll(), toProject(), toProject("XB"), toMembers("XB"), toMembers("XC"), toMembers("COORD", "XB", "XC"),
		{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{IncludeFuture: true}}}}
	var list []*ententev1.Audience
	for range p.rng.IntN(3) {
		a := pick(p.rng, all)
		if p.rng.IntN(3) == 0 {
			a = withoutNotes(a)
		}
		list = append(list, a)
	}
	return list
}

// befall lets something happen to a record.
func (p *previewing) befall() {
	switch p.rng.IntN(6) {
	case 0:
		p.xa.restrict(p.rng.IntN(2) == 0, pick(p.rng, p.refs))
	case 1:
		p.xa.renew(pick(p.rng, p.refs), p.w.now.AddDate(p.rng.IntN(4)+1, 0, 0))
	case 2:
		must(p.xa.Push(as("vera"), "Central Unit", []ledger.Item{withdrawalOf(pick(p.rng, p.refs[:3]), 0)}))(p.w.t)
	}
}

// step previews a release of some records, does it, and compares.
func (p *previewing) step() {
	some := slices.DeleteFunc(slices.Clone(p.refs), func(string) bool { return p.rng.IntN(2) == 0 })
	asked, replace := p.audiences(), p.rng.IntN(2) == 0
	before := map[string][]member.ID{}
	for _, reference := range some {
		before[reference] = p.xa.holders(p.xa.id(reference))
	}
	said := p.xa.preview(replace, some, asked...)
	verdicts := must(p.xa.Release(as("vera"), "Central Unit", some, asked, replace))(p.w.t)
	for i, reference := range some {
		p.compare(reference, said[reference], verdicts[i], before[reference])
	}
}

func (p *previewing) compare(reference string, said ledger.Previewed, verdict *ententev1.Verdict, before []member.ID) {
	t, id := p.w.t, p.xa.id(reference)
	t.Helper()
	if len(said.Violations) > 0 || verdict.GetOutcome() == rejected {
		p.seen["refused"]++
		if !same(said.Violations, verdict.GetViolations()) {
			t.Fatalf("%s refused by the preview for %v, by the release for %v", reference, said.Violations, verdict.GetViolations())
		}
		return
	}
	if got, want := previewed(said), readers(p.xa, id); got != want {
		t.Fatalf("%s: the preview says\n%s\nand the readers hold\n%s", reference, got, want)
	}
	lost := slices.DeleteFunc(before, func(m member.ID) bool { return slices.Contains(p.xa.holders(id), m) })
	if !slices.Equal(lost, said.Losing) {
		t.Fatalf("%s: %v lose it, the preview says %v", reference, lost, said.Losing)
	}
	held, err := p.xa.Record(id, 0)
	if err != nil || said.Waiting != (held.GetReleaseState() == ententev1.ReleaseState_RELEASE_STATE_WAITING) {
		t.Fatalf("%s: waiting %v, and then %s, %v", reference, said.Waiting, held.GetReleaseState(), err)
	}
	p.seen["forms"] += len(said.Forms)
	p.seen["losing"] += len(lost)
	if said.Waiting {
		p.seen["waiting"]++
	}
}

// In worlds made at random, a preview says what each reader then holds, byte for byte, and who no longer holds anything.
func TestAPreviewSaysWhatTheReleaseThenDoes(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPreviewing(t, seed, seen)
			for range 8 {
				p.befall()
				p.step()
			}
		})
	}
	t.Logf("%v", seen)
	for _, what := range []string{"forms", "losing", "waiting", "refused"} {
		if seen[what] == 0 {
			t.Errorf("there was nothing %s: it is not tested", what)
		}
	}
}

func TestAPreviewOfWhatIsPendingSaysWhatTheSecondPersonLetsGo(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	xa.pushAs("vera", born(victim(noted(person("p1", 1, "One", toAll(), withoutNotes(toMembers("XC"))), "the notes"))))
	p := must(xa.PreviewPending(xa.id("p1")))(t)
	if p.Grounds != groundVictim|groundPlace || len(p.Forms) != 4 || readers(xa, xa.id("p1")) != "" {
		t.Fatalf("grounds %b, %d forms", p.Grounds, len(p.Forms))
	}
	xa.decide("otto", true, 1, "p1")
	if got, want := previewed(p), readers(xa, xa.id("p1")); got != want {
		t.Errorf("the preview says\n%s\nand the readers hold\n%s", got, want)
	}
	if p = must(xa.PreviewPending(xa.id("p1")))(t); p.Grounds != 0 || !p.Forms[0].Standing {
		t.Errorf("once more: grounds %b, standing %v", p.Grounds, p.Forms[0].Standing)
	}
}

func TestAPreviewChangesNothing(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	xa.push(noted(person("p1", 1, "One", toMembers("XB")), "the notes"), person("p2", 1, "Two"), meets("a1", "p1", "p2"))
	before := whole(xa)
	xa.preview(true, []string{"p1", "p2", "a1", "nowhere"}, withoutNotes(toAll()))
	if whole(xa) != before {
		t.Error("something has changed")
	}
}

// A preview reads state and file beside the committer: a commit in between must not make it fail.
func TestAPreviewBesideIntakeDoesNotFail(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	xa.push(person("p1", 1, "One", toAll()))
	done := make(chan error, 1)
	go func() {
		for i := range uint64(150) {
			_, err := xa.Push(context.Background(), "Central Unit", []ledger.Item{person("p1", i+2, "One")})
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		p := xa.preview(false, []string{"p1"}, toProject())["p1"]
		if len(p.Violations) > 0 || len(p.Forms) == 0 {
			t.Fatalf("%v, %d forms", p.Violations, len(p.Forms))
		}
		select {
		case err := <-done:
			w.must(err)
			return
		default:
		}
	}
}
