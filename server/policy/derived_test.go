package policy

import (
	"slices"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestCombine(t *testing.T) {
	part := func(change func(*Label), audience ...member.ID) Part {
		l := soundLabel()
		change(&l)
		return Part{Label: l, Audience: audience}
	}
	plain := func(*Label) {}
	sound := Derived{Handling: handlingH0, Level: restricted, Rank: 7, RetainUntil: 1_890_000_000}
	is := func(change func(*Derived), audience ...member.ID) Derived {
		d := sound
		change(&d)
		d.Audience = audience
		return d
	}
	tests := []struct {
		name  string
		parts []Part
		want  Derived
	}{
		{"of one part what holds for it", []Part{part(plain, "XB", "XA")}, is(func(*Derived) {}, "XA", "XB")},
		{"the codes add up", []Part{part(plain, "XA"), part(func(l *Label) { l.Handling = handlingH2 }, "XA")},
			is(func(d *Derived) { d.Handling = handlingH0 | handlingH2 }, "XA")},
		{"only who reads all parts reads the whole", []Part{part(plain, "XA", "XB", "XC"), part(plain, "XC", "XB"), part(plain, "XD", "XB", "XC", "XB")},
			is(func(*Derived) {}, "XB", "XC")},
		{"nobody may be left", []Part{part(plain, "XA"), part(plain, "XB")}, is(func(*Derived) {})},
		{"a part that nobody reads", []Part{part(plain), part(plain, "XB")}, is(func(*Derived) {})},
		{"the higher level counts", []Part{part(plain), part(func(l *Label) { l.Level, l.Rank = confidential, 1 })},
			is(func(d *Derived) { d.Level, d.Rank = confidential, 1 })},
		{"a lower level does not", []Part{part(plain), part(func(l *Label) { l.Level, l.Rank = official, 90 })}, is(func(*Derived) {})},
		{"within a level the higher rank counts", []Part{part(plain), part(func(l *Label) { l.Rank = 8 })}, is(func(d *Derived) { d.Rank = 8 })},
		{"a lower rank does not", []Part{part(plain), part(func(l *Label) { l.Rank = 6 })}, is(func(*Derived) {})},
		{"a level that is not given is the highest", []Part{part(plain), part(func(l *Label) { l.Level = 0 })}, is(func(d *Derived) { d.Level = confidential })},
		{"the first end counts", []Part{part(plain), part(func(l *Label) { l.RetainUntil = 5 })}, is(func(d *Derived) { d.RetainUntil = 5 })},
		{"wherever it stands", []Part{part(func(l *Label) { l.RetainUntil = 5 }), part(plain)}, is(func(d *Derived) { d.RetainUntil = 5 })},
		{"one victim protects the whole", []Part{part(plain), part(func(l *Label) { l.Status = 4 })}, is(func(d *Derived) { d.Protected = true })},
		{"also as the first", []Part{part(func(l *Label) { l.Status = 4 }), part(plain)}, is(func(d *Derived) { d.Protected = true })},
		{"one special category makes the whole special", []Part{part(plain), part(func(l *Label) { l.Special = true })}, is(func(d *Derived) { d.Special = true })},
		{"also as the first of them", []Part{part(func(l *Label) { l.Special = true }), part(plain)}, is(func(d *Derived) { d.Special = true })},
		{"what is not understood spoils the whole", []Part{part(plain), part(func(l *Label) { l.Unknown = true })},
			is(func(d *Derived) { d.Unknown, d.Protected = true, true })},
		{"also as the first of the parts", []Part{part(func(l *Label) { l.Unknown = true }), part(plain)},
			is(func(d *Derived) { d.Unknown, d.Protected = true, true })},
		{"no handling is the strictest", []Part{part(func(l *Label) { l.Handling = 0 })}, is(func(d *Derived) { d.Handling = handlingStrictest })},
		{"made of nothing it is for nobody", nil, Derived{Handling: handlingStrictest, Level: confidential, Rank: 100, Protected: true, Special: true, Unknown: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.parts)
			got := Combine(test.parts...)
			if !slices.Equal(got.Audience, test.want.Audience) {
				t.Errorf("readers: want %v, got %v", test.want.Audience, got.Audience)
			}
			got.Audience, test.want.Audience = nil, nil
			if got.Handling != test.want.Handling || got.Level != test.want.Level || got.Rank != test.want.Rank || got.RetainUntil != test.want.RetainUntil ||
				got.Protected != test.want.Protected || got.Special != test.want.Special || got.Unknown != test.want.Unknown {
				t.Errorf("want %+v, got %+v", test.want, got)
			}
			for i, part := range before {
				if !slices.Equal(part.Audience, test.parts[i].Audience) {
					t.Error("a part was changed")
				}
			}
		})
	}
	audience := []member.ID{"XC", "XA"}
	Combine(Part{Label: soundLabel(), Audience: audience})
	if audience[0] != "XC" {
		t.Error("the audience of a part was sorted in place")
	}
}

func TestClearDerived(t *testing.T) {
	tests := []struct {
		name    string
		reader  member.ID
		derived Derived
		want    bool
	}{
		{"to one who reads all parts", "XA", Derived{Audience: []member.ID{"XB", "XA"}}, true},
		{"to another", "XC", Derived{Audience: []member.ID{"XB", "XA"}}, false},
		{"to nobody", "", Derived{Audience: []member.ID{""}}, false},
		{"what is not understood", "XA", Derived{Audience: []member.ID{"XA"}, Unknown: true}, false},
		{"what was made of nothing", "XA", Combine(), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cleared, ok := ClearDerived(test.reader, test.derived, "text")
			if ok != test.want || (cleared.Value() == "text") != test.want {
				t.Errorf("want %v, got %v with %q", test.want, ok, cleared.Value())
			}
		})
	}
}

func TestCheckDerived(t *testing.T) {
	source := func(handling HandlingSet, level ententev1.ClassificationLevel, rank uint32, unknown bool) Label {
		l := soundLabel()
		l.Handling, l.Level, l.Rank, l.Unknown = handling, level, rank, unknown
		return l
	}
	tests := []struct {
		name    string
		sources []Label
		fields  []string
	}{
		{"from nothing", nil, nil},
		{"from what is as strict", []Label{source(handlingH0, restricted, 7, false)}, nil},
		{"from what is less strict", []Label{source(handlingH0, restricted, 6, false), source(handlingH0, official, 90, false)}, nil},
		{"from H2 without H2", []Label{source(handlingH0, restricted, 7, false), source(handlingH0|handlingH2, official, 0, false)}, []string{"envelope.handling.codes"}},
		{"from no handling", []Label{source(0, official, 0, false)}, []string{"envelope.handling.codes"}},
		{"from a higher level", []Label{source(handlingH0, confidential, 0, false)}, []string{"envelope.classification"}},
		{"from a level that is not given", []Label{source(handlingH0, 0, 0, false)}, []string{"envelope.classification"}},
		{"from a higher rank", []Label{source(handlingH0, restricted, 8, false)}, []string{"envelope.classification"}},
		{"from what is not understood", []Label{source(handlingH0, restricted, 7, true)}, []string{"envelope.source_refs"}},
		{"each is named once", []Label{strictest(), strictest()}, []string{"envelope.source_refs", "envelope.handling.codes", "envelope.classification"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fieldsOf(CheckDerived(labelled(), test.sources)); !slices.Equal(got, test.fields) {
				t.Errorf("want %v, got %v", test.fields, got)
			}
		})
	}
}
