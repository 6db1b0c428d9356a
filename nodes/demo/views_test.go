package demo

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

func id16(n byte) []byte { return append(make([]byte, 15), n) }

func viewSource(member string, id byte) *ententev1.ViewSource {
	return &ententev1.ViewSource{ProviderMember: member, RecordId: id16(id)}
}

func smallView() (*client.View, *holdings) {
	view := &client.View{
		Entities: []*ententev1.ViewEntity{
			{EntityId: id16(1), Sources: []*ententev1.ViewSource{viewSource("XA", 1), viewSource("XB", 2)}, Facts: []*ententev1.ViewFact{
				{Field: "name", Value: "one", Sources: []uint32{0, 1}}, {Field: "name", Value: "two", Sources: []uint32{1}}}},
			{EntityId: id16(3), Sources: []*ententev1.ViewSource{viewSource("XA", 3)}},
		},
		Associations: []*ententev1.ViewAssociation{{AssociationId: id16(4), FromEntityId: id16(1), ToEntityId: id16(3),
			Sources: []*ententev1.ViewSource{viewSource("XB", 4)}}},
	}
	held := &holdings{names: make(map[recordKey]recordName)}
	for n, key := range []recordKey{{"XA", [16]byte(id16(1))}, {"XB", [16]byte(id16(2))}, {"XA", [16]byte(id16(3))}, {"XB", [16]byte(id16(4))}} {
		held.names[key] = recordName{key.member, "office", string(rune('a' + n))}
	}
	return view, held
}

func TestTheHashOfAView(t *testing.T) {
	tests := []struct {
		name   string
		change func(*client.View)
		same   bool
	}{
		{"does not depend on the order of entities", func(v *client.View) { v.Entities[0], v.Entities[1] = v.Entities[1], v.Entities[0] }, true},
		{"does not depend on the order of facts", func(v *client.View) {
			facts := v.Entities[0].Facts
			facts[0], facts[1] = facts[1], facts[0]
		}, true},
		{"does not depend on the order of sources", func(v *client.View) {
			e := v.Entities[0]
			e.Sources[0], e.Sources[1] = e.Sources[1], e.Sources[0]
			e.Facts[1].Sources[0] = 0
		}, true},
		{"does not depend on made-up ids of entities", func(v *client.View) {
			v.Entities[0].EntityId, v.Associations[0].FromEntityId = id16(9), id16(9)
		}, true},
		{"depends on a value", func(v *client.View) { v.Entities[0].Facts[0].Value = "three" }, false},
		{"depends on who says so", func(v *client.View) { v.Entities[0].Facts[1].Sources[0] = 0 }, false},
		{"depends on the direction of an association", func(v *client.View) {
			a := v.Associations[0]
			a.FromEntityId, a.ToEntityId = a.ToEntityId, a.FromEntityId
		}, false},
		{"depends on a grade", func(v *client.View) {
			v.Entities[1].Sources[0].Evaluation = &ententev1.Evaluation{SourceCode: "B"}
		}, false},
		{"depends on each entity", func(v *client.View) {
			v.Entities = append(v.Entities, proto.CloneOf(v.Entities[1]))
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			view, held := smallView()
			before, err := digestView(view, held)
			if err != nil {
				t.Fatal(err)
			}
			test.change(view)
			after, err := digestView(view, held)
			if err != nil {
				t.Fatal(err)
			}
			if (before == after) != test.same {
				t.Errorf("same: %v, want %v", before == after, test.same)
			}
		})
	}
}

func TestAViewThatNamesARecordItsOwnerDoesNotKnowIsAnError(t *testing.T) {
	view, held := smallView()
	view.Entities[1].Sources[0].RecordId = id16(7)
	_, err := digestView(view, held)
	if err == nil {
		t.Error("no error")
	}
}
