package network

import (
	"math/rand/v2"
	"slices"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// scopes are asked in turn, so that they are part of what is compared.
func scopes() []*ententev1.Scope {
	return []*ententev1.Scope{
		nil,
		{Projects: []string{"project 0"}},
		{AllMembersOnly: true},
		{Kinds: []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_PERSON}},
	}
}

// twins makes two worlds that differ only in what XB may not see: one as it is, one with other hidden items. Hidden
// items of both worlds stand in the same streams and refer to visible records.
func twins(random *rand.Rand) (a, b []Item) {
	items := randomWorld(random)
	mayXB := func(item Item) bool { return slices.Contains(item.Readers, "XB") }
	for _, item := range items {
		switch {
		case mayXB(item):
			a, b = append(a, item), append(b, item)
		case random.IntN(2) == 0:
			a = append(a, item)
		default:
			b = append(b, item)
		}
	}
	for _, item := range randomWorld(random) {
		if !mayXB(item) {
			item.Sequence += 1000
			b = append(b, item)
		}
	}
	return a, b
}

func TestAViewDoesNotDependOnWhatItsReaderMayNotSee(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	differ := 0
	for range 300 {
		a, b := twins(random)
		first, second := networkOf(a), networkOf(b)
		for _, scope := range scopes() {
			if flat(t, first.View("XB", scope)) != flat(t, second.View("XB", scope)) {
				t.Fatalf("views of XB differ in scope %v", scope)
			}
		}
		if flat(t, first.View("COORD", nil)) != flat(t, second.View("COORD", nil)) {
			differ++
		}
	}
	if differ < 290 {
		t.Errorf("only %d of 300 pairs of worlds differ at all: the test proves little", differ)
	}
}

// mergeThenFilter is the mistake that the test above must find: everything is merged, then what the reader may not see
// is taken out of the answer.
func mergeThenFilter(n *Network, reader member.ID) *View {
	visible := make(map[string]bool)
	forms, _ := n.visible(reader, nil, &Lens{})
	for _, f := range canonical(forms) {
		visible[string(f.record[:])] = true
	}
	all := n.View("COORD", nil)
	kept := &picture{}
	for _, entity := range all.Entities() {
		sources := slices.DeleteFunc(slices.Clone(entity.GetSources()), func(s *ententev1.ViewSource) bool {
			return !visible[string(s.GetRecordId())]
		})
		if len(sources) > 0 {
			kept.entities = append(kept.entities, &ententev1.ViewEntity{
				EntityId: sources[0].GetRecordId(), Sources: sources,
			})
		}
	}
	return newView(reader, [32]byte{}, [32]byte{}, kept)
}

func TestTheComparisonFindsAViewThatMergesBeforeItFilters(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	found := 0
	for range 300 {
		a, b := twins(random)
		if flat(t, mergeThenFilter(networkOf(a), "XB")) != flat(t, mergeThenFilter(networkOf(b), "XB")) {
			found++
		}
	}
	if found < 50 {
		t.Errorf("merging before filtering was found in %d of 300 pairs only", found)
	}
}

func TestTheOrderOfArrivalDoesNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		items := randomWorld(random)
		withdrawn := random.Perm(len(items))[:len(items)/4]
		want := networkOf(slices.DeleteFunc(slices.Clone(items), func(item Item) bool {
			return slices.ContainsFunc(withdrawn, func(i int) bool { return items[i].Sequence == item.Sequence })
		}))
		var steps []func(*Network)
		for _, item := range items {
			steps = append(steps, func(n *Network) { n.Add(item) })
		}
		for _, i := range withdrawn {
			steps = append(steps, func(n *Network) { n.Withdraw(items[i].Stream, items[i].Sequence) })
		}
		steps = append(steps, func(n *Network) { n.View("XB", nil) }, func(n *Network) { n.View("COORD", nil) })
		for range 3 {
			random.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
			got := New("COORD", plainResolver{})
			for _, step := range steps {
				step(got)
			}
			for _, reader := range []member.ID{"XB", "XC", "COORD"} {
				if flat(t, got.View(reader, nil)) != flat(t, want.View(reader, nil)) {
					t.Fatalf("view of %s depends on the order of arrival", reader)
				}
			}
		}
	}
}
