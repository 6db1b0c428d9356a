package network

import (
	"slices"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ring is two records of one person, a second person, a group, and what joins them.
func ring() []Item {
	h2 := []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H2}
	claims := []claim{
		{owner: "XA", id: 1, body: person("Marek", "A-1")},
		{owner: "XB", id: 2, body: person("Marek")},
		{owner: "XA", id: 3, body: person("Olga")},
		{owner: "XA", id: 4, body: group("Harbour ring"), codes: h2},
		{owner: "XA", id: 5, body: association(ref("XA", 1), ref("XA", 4), memberOf)},
		{owner: "XB", id: 6, body: association(ref("XB", 2), ref("XA", 4), memberOf)},
		{owner: "XA", id: 7, body: association(ref("XA", 1), ref("XB", 2), meets)},
		{owner: "XA", id: 8, body: association(ref("XA", 3), ref("XA", 99), meets)},
		{owner: "XA", id: 9, body: role(ref("XA", 1), ref("XA", 4), organise)},
		{owner: "XB", id: 10, body: role(ref("XB", 2), ref("XA", 4), organise)},
		{owner: "XB", id: 11, body: role(ref("XB", 2), nil, organise)},
		{owner: "XB", id: 12, body: role(ref("XB", 77), nil, organise)},
	}
	var items []Item
	for i, c := range claims {
		c.readers = everyone
		items = append(items, c.item(uint32(c.owner[1]), uint64(i+1)))
	}
	return items
}

func entityOf(t *testing.T, v *View, n uint16) *ententev1.ViewEntity {
	t.Helper()
	index, found := v.Entity(idOf(n))
	if !found {
		t.Fatalf("record %d is no handle", n)
	}
	return v.Entities()[index]
}

func TestFactsNameTheirSourcesAndConflictsStandSideBySide(t *testing.T) {
	view := networkOf(ring()).View("XC", nil)
	marek := entityOf(t, view, 1)
	if len(marek.GetSources()) != 2 || len(marek.GetMergeReasons()) != 1 {
		t.Fatalf("%d sources, %d reasons, want 2 and 1", len(marek.GetSources()), len(marek.GetMergeReasons()))
	}
	for _, f := range marek.GetFacts() {
		want := 2
		if f.GetField() == "document" {
			want = 1
		}
		if len(f.GetSources()) != want {
			t.Errorf("%s has %d sources, want %d", f.GetField(), len(f.GetSources()), want)
		}
	}
}

func TestAssociationsAreMergedByTheirEntities(t *testing.T) {
	n := networkOf(ring())
	view := n.View("XC", nil)
	if len(view.Associations()) != 1 {
		t.Fatalf("%d associations, want 1: ends within one entity or out of sight join nothing", len(view.Associations()))
	}
	association := view.Associations()[0]
	marek, ring := entityOf(t, view, 1), entityOf(t, view, 4)
	if string(association.GetFromEntityId()) != string(marek.GetEntityId()) ||
		string(association.GetToEntityId()) != string(ring.GetEntityId()) || len(association.GetSources()) != 2 {
		t.Error("the association does not join the merged entities by both records")
	}
	if !slices.Contains(association.GetHandling().GetCodes(), ententev1.HandlingCode_HANDLING_CODE_H2) {
		t.Error("the handling of an end is missing")
	}
	index, _ := view.Entity(idOf(1))
	if len(view.AssociationsOf(index)) != 1 {
		t.Error("the association is not found by its end")
	}
}

func TestAMutualAssociationHasNoDirection(t *testing.T) {
	mutual := func(from, to *ententev1.RecordRef) *ententev1.Body {
		body := association(from, to, meets)
		body.GetAssociation().Direction = ententev1.AssociationDirection_ASSOCIATION_DIRECTION_MUTUAL
		return body
	}
	items := ring()
	for i, body := range []*ententev1.Body{
		mutual(ref("XA", 1), ref("XA", 3)), mutual(ref("XA", 3), ref("XA", 1)),
		association(ref("XA", 3), ref("XA", 1), meets), association(ref("XA", 1), ref("XA", 3), meets),
	} {
		c := claim{owner: "XA", id: uint16(20 + i), body: body, readers: everyone}
		items = append(items, c.item(50, uint64(i+1)))
	}
	got := 0
	for _, association := range networkOf(items).View("XC", nil).Associations() {
		if association.GetKind() == meets {
			got++
		}
	}
	if got != 2 {
		t.Errorf("%d associations, want 2: the mutual ones go with one of the directed ones", got)
	}
}

func TestRolesAreThoseThatVisibleRecordsGive(t *testing.T) {
	view := networkOf(ring()).View("XC", nil)
	marek := entityOf(t, view, 1)
	if len(marek.GetRoles()) != 2 {
		t.Fatalf("%d roles, want 2: in the group and in none", len(marek.GetRoles()))
	}
	none, in := marek.GetRoles()[0], marek.GetRoles()[1]
	if len(none.GetGroupEntityId()) != 0 || len(none.GetSources()) != 1 {
		t.Error("the role outside any group is wrong")
	}
	if string(in.GetGroupEntityId()) != string(idBytes(4)) || len(in.GetSources()) != 2 {
		t.Error("the role in the group does not come from two records")
	}
}

func idBytes(n uint16) []byte {
	id := idOf(n)
	return id[:]
}

func TestDecisions(t *testing.T) {
	tests := []struct {
		name     string
		decision *ententev1.Body
		entities int
		reason   bool
	}{
		{"same joins", decision(same, ref("XA", 1), ref("XA", 3)), 2, true},
		{"different parts", decision(differ, ref("XA", 1), ref("XB", 2)), 4, false},
		{"inert while a named record is missing", decision(same, ref("XA", 1), ref("XA", 3), ref("XD", 3)), 3, false},
		{"undecided does nothing", decision(ententev1.DecisionVerdict_DECISION_VERDICT_UNDECIDED, ref("XA", 1), ref("XA", 3)), 3, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := claim{owner: "XC", id: 30, body: test.decision, readers: everyone}
			n := networkOf(append(ring(), c.item(60, 1)))
			view := n.View("XD", nil)
			if len(view.Entities()) != test.entities {
				t.Errorf("%d entities, want %d", len(view.Entities()), test.entities)
			}
			if slices.Contains(entityOf(t, view, 1).GetMergeReasons(), reasonDecision) != test.reason {
				t.Errorf("reasons %q", entityOf(t, view, 1).GetMergeReasons())
			}
			n.Withdraw(60, 1)
			if len(n.View("XD", nil).Entities()) != 3 {
				t.Error("the decision outlives its withdrawal")
			}
		})
	}
}

func TestHandlingIsTheStrictest(t *testing.T) {
	var h handling
	h.add(&ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{4, 1}, Text: "ask first"})
	h.add(&ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{1, 2}, Text: "ask first"})
	got := h.view()
	if !slices.Equal(got.GetCodes(), []ententev1.HandlingCode{1, 2, 4}) || got.GetText() != "ask first" {
		t.Errorf("got %v", got)
	}
	h.add(&ententev1.HandlingConditions{})
	if len(h.view().GetCodes()) != 0 {
		t.Error("a record without codes does not make the whole the strictest")
	}
}

func TestDiff(t *testing.T) {
	n := networkOf(ring())
	before := n.View("XC", nil)
	first := Diff(nil, before)
	if len(first.GetChangedEntities()) != 3 || len(first.GetChangedAssociations()) != 1 {
		t.Error("the first state is not the whole view")
	}
	if Diff(before, n.View("XC", nil)) != nil {
		t.Error("no change is a change")
	}
	n.Withdraw('A', 4)
	after := n.View("XC", nil)
	change := Diff(before, after)
	if len(change.GetGoneEntityIds()) != 1 || len(change.GetGoneAssociationIds()) != 1 {
		t.Errorf("gone: %d entities, %d associations, want 1 and 1",
			len(change.GetGoneEntityIds()), len(change.GetGoneAssociationIds()))
	}
	if len(change.GetChangedEntities()) != 1 {
		t.Errorf("%d entities changed, want the one that lost its group", len(change.GetChangedEntities()))
	}
	back := Diff(after, before)
	if len(back.GetChangedEntities()) != 2 || len(back.GetChangedAssociations()) != 1 || len(back.GetGoneEntityIds()) != 0 {
		t.Error("the way back is not the way")
	}
}

func TestTheHashStandsForRecordsScopeAndTables(t *testing.T) {
	items := ring()
	hash := func(n *Network, reader member.ID, scope *ententev1.Scope) string {
		return string(n.View(reader, scope).Info().GetHash())
	}
	n := networkOf(items)
	moved := slices.Clone(items)
	for i := range moved {
		moved[i].Stream += 7
		moved[i].Sequence += 100
	}
	if hash(n, "XC", nil) != hash(networkOf(moved), "XC", nil) {
		t.Error("positions are part of the hash")
	}
	if hash(n, "XC", nil) != hash(n, "XD", nil) {
		t.Error("readers who see the same have other hashes")
	}
	if hash(n, "XC", nil) == hash(n, "XC", &ententev1.Scope{AllMembersOnly: true}) {
		t.Error("the scope is not part of the hash")
	}
	if hash(n, "XC", &ententev1.Scope{Projects: []string{"a", "b"}}) != hash(n, "XC", &ententev1.Scope{Projects: []string{"b", "a", "b"}}) {
		t.Error("the order of a scope is part of the hash")
	}
	n.Withdraw('A', 3)
	if hash(n, "XC", nil) == hash(networkOf(items), "XC", nil) {
		t.Error("the records are not part of the hash")
	}
}

func TestEachRepeatedFieldHasASingularName(t *testing.T) {
	plural := []string{"communication", "proceeds"} // the same for one and many
	fields := (&ententev1.Body{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		kind := fields.Get(i)
		if kind.Number() > protoreflect.FieldNumber(ententev1.RecordKind_RECORD_KIND_ASSOCIATION) {
			continue
		}
		content := kind.Message().Fields()
		for j := range content.Len() {
			field := content.Get(j)
			name := string(field.Name())
			if field.IsList() && factName(field) == name && !slices.Contains(plural, name) {
				t.Errorf("%s.%s has no singular name in facts_names.go", kind.Name(), name)
			}
		}
	}
}

func TestARoleTellsWhatEachOfItsSourcesSaysOfIt(t *testing.T) {
	items := ring()
	for i, rank := range []string{"Quartermaster", "Bosun"} {
		body := role(ref("XA", 3), nil, organise)
		body.GetRole().RankTitle = rank
		c := claim{owner: "XA", id: uint16(20 + i), body: body, readers: everyone}
		items = append(items, c.item(uint32('A'), uint64(50+i)))
	}
	olga := entityOf(t, networkOf(items).View("XC", nil), 3)
	if len(olga.GetRoles()) != 1 {
		t.Fatalf("%d roles, want 1", len(olga.GetRoles()))
	}
	var said []string
	for _, f := range olga.GetRoles()[0].GetFacts() {
		if f.GetField() != "rank_title" || len(f.GetSources()) != 1 {
			t.Errorf("fact %s of %d sources", f.GetField(), len(f.GetSources()))
		}
		said = append(said, f.GetValue())
	}
	slices.Sort(said)
	if !slices.Equal(said, []string{"Bosun", "Quartermaster"}) {
		t.Errorf("ranks %v", said)
	}
}
