package network

import (
	"slices"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var everyone = []member.ID{"XA", "XB", "XC", "XD"}

// three is the same person as two members know them, joined by a record of a third that shares a name with the one and
// a document with the other.
func three() []Item {
	return []Item{
		claim{owner: "XA", id: 1, body: person("Marek"), readers: everyone}.item(1, 1),
		claim{owner: "XB", id: 2, body: person("Marek", "A-1"), readers: everyone}.item(2, 1),
		claim{owner: "XC", id: 3, body: person("Novak", "A-1"), readers: everyone}.item(3, 1),
	}
}

func TestWithdrawingABridgeParts(t *testing.T) {
	n := networkOf(three())
	if got := len(n.View("XD", nil).Entities()); got != 1 {
		t.Fatalf("%d entities before, want 1", got)
	}
	n.Withdraw(2, 1)
	view := n.View("XD", nil)
	if got := len(view.Entities()); got != 2 {
		t.Errorf("%d entities after, want 2", got)
	}
	if _, found := view.Entity(idOf(2)); found {
		t.Error("the withdrawn record is still a handle")
	}
	if len(n.forms) != 2 {
		t.Errorf("%d forms are held, want 2", len(n.forms))
	}
}

func TestEntityIDIsThatOfTheLeastVisibleRecord(t *testing.T) {
	items := three()
	n := networkOf(items)
	view := n.View("XD", nil)
	for _, item := range items {
		index, found := view.Entity(item.Record)
		if !found || index != 0 {
			t.Errorf("record of %s is no handle", item.Owner)
		}
	}
	least := slices.MinFunc(items, func(a, b Item) int {
		x, y := orderOf(recordKey{a.Owner, a.Record}), orderOf(recordKey{b.Owner, b.Record})
		return slices.Compare(x[:], y[:])
	})
	if string(view.Entities()[0].GetEntityId()) != string(least.Record[:]) {
		t.Error("the id is not that of the least record")
	}
}

func TestWhatAReaderSees(t *testing.T) {
	items := []Item{
		claim{owner: "XA", id: 1, body: person("Adam"), readers: everyone, all: true}.item(1, 1),
		claim{owner: "XA", id: 2, body: person("Bert"), readers: []member.ID{"XB"}, project: "P"}.item(2, 1),
		claim{owner: "XA", id: 3, body: person("Carl"), readers: []member.ID{"COORD"}}.item(3, 1),
		claim{owner: "XA", id: 4, body: lesson(), readers: everyone, all: true}.item(1, 2),
	}
	tests := []struct {
		name              string
		reader            member.ID
		scope             *ententev1.Scope
		entities, records uint64
	}{
		{"the node's own member sees all it holds", "COORD", nil, 3, 4},
		{"the owner sees its own", "XA", nil, 3, 4},
		{"a named member sees what names it", "XB", nil, 2, 3},
		{"another one sees what is for all", "XC", nil, 1, 2},
		{"a stranger sees nothing", "XZ", nil, 0, 0},
		{"a project", "XB", &ententev1.Scope{Projects: []string{"P"}}, 1, 1},
		{"a project that is not", "XB", &ententev1.Scope{Projects: []string{"Q"}}, 0, 0},
		{"streams of all members only", "XB", &ententev1.Scope{AllMembersOnly: true}, 1, 2},
		{"a kind", "XB", &ententev1.Scope{Kinds: []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_LESSON}}, 0, 1},
	}
	n := networkOf(items)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			info := n.View(test.reader, test.scope).Info()
			if info.GetEntityCount() != test.entities || info.GetRecordCount() != test.records {
				t.Errorf("%d entities of %d records, want %d of %d",
					info.GetEntityCount(), info.GetRecordCount(), test.entities, test.records)
			}
		})
	}
}

func TestHiddenAndDroppedStreams(t *testing.T) {
	n := networkOf(three())
	whole := flat(t, n.View("XD", nil))
	n.Hide(2, true)
	if got := len(n.View("XD", nil).Entities()); got != 2 {
		t.Errorf("%d entities while the bridge is hidden, want 2", got)
	}
	n.Hide(2, false)
	if flat(t, n.View("XD", nil)) != whole {
		t.Error("the view is another one after hiding and showing")
	}
	n.DropStream(2)
	if got := len(n.View("XD", nil).Entities()); got != 2 {
		t.Errorf("%d entities after the bridge was dropped, want 2", got)
	}
	n.Add(three()...)
	if flat(t, n.View("XD", nil)) != whole {
		t.Error("a dropped stream cannot be followed anew")
	}
}

func TestAddingAgainChangesNothing(t *testing.T) {
	n := networkOf(three())
	before := n.View("XD", nil)
	changed := n.Changed()
	n.Add(three()...)
	select {
	case <-changed:
		t.Error("adding what is held is a change")
	default:
	}
	if n.View("XD", nil) != before {
		t.Error("the view was computed anew")
	}
}

func TestAWithdrawalMayComeBeforeItsRelease(t *testing.T) {
	n := New("COORD", plainResolver{})
	n.Withdraw(2, 1)
	n.Add(three()...)
	if got := len(n.View("XD", nil).Entities()); got != 2 {
		t.Errorf("%d entities, want 2", got)
	}
}

func TestAChangeThatAReaderMayNotSeeLeavesTheSameView(t *testing.T) {
	n := networkOf(three())
	before, changed := n.View("XD", nil), n.Changed()
	n.Add(claim{owner: "XA", id: 9, body: person("Zeno"), readers: []member.ID{"XB"}}.item(9, 1))
	n.Withdraw(9, 1)
	select {
	case <-changed:
	default:
		t.Error("nobody was woken")
	}
	if n.View("XD", nil) != before {
		t.Error("the view was computed anew")
	}
}

func TestACorrectionCountsBeforeTheEarlierReleaseIsWithdrawn(t *testing.T) {
	n := networkOf([]Item{
		claim{owner: "XA", id: 1, body: person("Maerk"), readers: everyone}.item(1, 1),
		claim{owner: "XA", id: 1, body: person("Marek"), readers: everyone, minute: 1}.item(1, 2),
	})
	corrected := flat(t, n.View("XB", nil))
	if values := factValues(n.View("XB", nil).Entities()[0], "name"); !slices.Equal(values, []string{"MAREK, Ivo"}) {
		t.Errorf("names %q, want the corrected one only", values)
	}
	n.Withdraw(1, 1)
	if flat(t, n.View("XB", nil)) != corrected {
		t.Error("withdrawing the earlier release changes the view")
	}
}

func TestTwoFormsOfOneRecordAreOneSource(t *testing.T) {
	coarse := claim{owner: "XA", id: 1, body: person("Marek"), readers: everyone}
	whole := claim{owner: "XA", id: 1, body: person("Marek", "A-1"), readers: []member.ID{"XB"}}
	again := whole
	n := networkOf([]Item{coarse.item(1, 1), whole.item(2, 1), again.item(3, 1)})
	view := n.View("XB", nil)
	if len(view.Entities()) != 1 || len(view.Entities()[0].GetSources()) != 1 || view.Info().GetRecordCount() != 1 {
		t.Fatalf("two forms of one record are not one source: %v", view.Info())
	}
	if len(factValues(view.Entities()[0], "document")) != 1 {
		t.Error("the fuller form's fact is missing or doubled")
	}
	if other := n.View("XC", nil).Entities()[0]; len(factValues(other, "document")) != 0 {
		t.Error("XC sees what the fuller form says")
	}
}

func TestPayloadsThatAreNotUnderstoodAreKeptOut(t *testing.T) {
	sound := claim{owner: "XA", id: 1, body: person("Marek"), readers: everyone}
	encode := func(change func(*ententev1.ReleasedRecord)) []byte {
		released := sound.released()
		change(released)
		encoded, err := proto.Marshal(released)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	tests := []struct {
		name     string
		released []byte
		want     int
	}{
		{"a sound one is taken", encode(func(*ententev1.ReleasedRecord) {}), 1},
		{"bytes that are no message", []byte{0xff, 0x01}, 0},
		{"an unknown field", encode(func(r *ententev1.ReleasedRecord) {
			r.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0x3f, 0x01})
		}), 0},
		{"an unknown field deep within", encode(func(r *ententev1.ReleasedRecord) {
			r.GetBody().GetPerson().Names[0].ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0x3f, 0x01})
		}), 0},
		{"an unknown code", encode(func(r *ententev1.ReleasedRecord) { r.GetBody().GetPerson().Status = 4000 }), 0},
		{"an unknown code in a list", encode(func(r *ententev1.ReleasedRecord) {
			r.CrimeAreas = []ententev1.CrimeArea{4000}
		}), 0},
		{"no content", encode(func(r *ententev1.ReleasedRecord) { r.Body = nil }), 0},
		{"another kind", encode(func(r *ententev1.ReleasedRecord) { r.Body = group("G") }), 0},
		{"another record's id", encode(func(r *ententev1.ReleasedRecord) { r.RecordId = make([]byte, 16) }), 0},
		{"another member's record", encode(func(r *ententev1.ReleasedRecord) { r.Envelope.ProviderMember = "XC" }), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := New("COORD", plainResolver{})
			n.Add(itemOf(sound, 1, 1, test.released))
			view := n.View("XB", nil)
			if len(view.Entities()) != test.want || view.Info().GetRecordCount() != uint64(test.want) {
				t.Errorf("%d entities, want %d", len(view.Entities()), test.want)
			}
			n.Withdraw(1, 1)
			if len(n.View("XB", nil).Entities()) != 0 {
				t.Error("it cannot be withdrawn")
			}
		})
	}
}

func FuzzAddTakesAnyBytes(f *testing.F) {
	sound := claim{owner: "XA", id: 1, body: person("Marek", "A-1"), readers: everyone}
	for _, body := range []*ententev1.Body{
		person("Marek", "A-1"), group("G"), association(ref("XA", 1), ref("XB", 2), meets),
		role(ref("XA", 1), nil, organise), decision(same, ref("XA", 1), ref("XA", 2)),
	} {
		c := sound
		c.body = body
		f.Add(uint8(kindOf(body)), c.item(1, 1).Released)
	}
	f.Fuzz(func(t *testing.T, kind uint8, released []byte) {
		item := itemOf(sound, 1, 1, released)
		item.Kind = ententev1.RecordKind(kind)
		n := networkOf([]Item{item})
		flat(t, n.View("XB", nil))
		n.Withdraw(1, 1)
		if n.View("XB", nil).Info().GetRecordCount() != 0 {
			t.Error("something is left after the withdrawal")
		}
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	n := networkOf(three())
	for i := range 3 * cachedViews {
		n.View("XD", &ententev1.Scope{Projects: []string{string(rune('a' + i))}})
	}
	if len(n.cache.views) > cachedViews {
		t.Errorf("%d views are cached", len(n.cache.views))
	}
}

func TestConcurrentUse(t *testing.T) {
	n := New("COORD", plainResolver{})
	items := three()
	done := make(chan struct{})
	for _, reader := range everyone {
		go func() {
			for range 50 {
				n.View(reader, nil)
				n.Changed()
			}
			done <- struct{}{}
		}()
	}
	for i := range uint64(50) {
		for _, item := range items {
			item.Sequence = i + 1
			n.Add(item)
			n.Withdraw(item.Stream, i)
		}
	}
	for range everyone {
		<-done
	}
	if got := len(n.View("XD", nil).Entities()); got != 1 {
		t.Errorf("%d entities, want 1", got)
	}
}

func factValues(entity *ententev1.ViewEntity, field string) []string {
	var values []string
	for _, f := range entity.GetFacts() {
		if f.GetField() == field {
			values = append(values, f.GetValue())
		}
	}
	return values
}
