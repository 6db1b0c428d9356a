package policy

import (
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Part is one record that something was made from, and who may read it, its owner included.
type Part struct {
	Label    Label
	Audience []member.ID
}

// Derived is what holds for something that was made from records: everything at its strictest.
type Derived struct {
	Handling HandlingSet
	Level    ententev1.ClassificationLevel
	Rank     uint32      // of the marking within the level
	Audience []member.ID // who may read all parts, in order
	// RetainUntil is when the first of the parts must be gone, in Unix seconds.
	RetainUntil int64
	Protected   bool // a part describes a protected person
	Special     bool // a part holds a special category of data
	Unknown     bool // a part is not understood, or there is none: nobody gets it
}

// Combine says what holds for something that was made from the parts: the union of their handling codes, the highest
// marking, the first end of retention, and as readers only those who may read each part. Made from nothing, it is for nobody.
func Combine(parts ...Part) Derived {
	if len(parts) == 0 {
		s := strictest()
		return Derived{Handling: s.Handling, Level: s.Level, Rank: s.Rank, Protected: true, Special: true, Unknown: true}
	}
	d := derivedFrom(parts[0])
	for _, part := range parts[1:] {
		d = d.and(derivedFrom(part))
	}
	return d
}

func derivedFrom(part Part) Derived {
	l := part.Label
	audience := slices.Clone(part.Audience)
	slices.Sort(audience)
	return Derived{
		Handling: l.Handling.sound(), Level: levelOf(l.Level), Rank: l.Rank, Audience: slices.Compact(audience),
		RetainUntil: l.RetainUntil, Protected: Protected(l), Special: l.Special, Unknown: l.Unknown,
	}
}

func (d Derived) and(other Derived) Derived {
	if stricter(other.Level, other.Rank, d.Level, d.Rank) {
		d.Level, d.Rank = other.Level, other.Rank
	}
	d.Handling = d.Handling.Union(other.Handling)
	d.Audience = slices.DeleteFunc(d.Audience, func(id member.ID) bool { return !slices.Contains(other.Audience, id) })
	d.RetainUntil = min(d.RetainUntil, other.RetainUntil)
	d.Protected = d.Protected || other.Protected
	d.Special = d.Special || other.Special
	d.Unknown = d.Unknown || other.Unknown
	return d
}

// ClearDerived lets something that was made from records go to a member that may read all of them.
func ClearDerived[T any](reader member.ID, d Derived, value T) (Cleared[T], bool) {
	if reader == "" || d.Unknown || !slices.Contains(d.Audience, reader) {
		return Cleared[T]{}, false
	}
	return Cleared[T]{value}, true
}

// CheckDerived says what is wrong with an own record that its source_refs say was made from records of others, whose labels
// are the sources: it carries at least their handling codes and their classification.
func CheckDerived(r *ententev1.Record, sources []Label) []*ententev1.FieldViolation {
	f := &findings{}
	own := LabelOfRecord(r)
	has := func(wrong func(Label) bool) bool { return slices.ContainsFunc(sources, wrong) }
	f.when(has(func(l Label) bool { return l.Unknown }),
		"envelope.source_refs", "name a record that is not understood: nothing may be made from it")
	f.when(has(func(l Label) bool { return !l.Handling.Within(own.Handling) }),
		"envelope.handling.codes", "lack a code of a record that it was made from")
	f.when(has(func(l Label) bool { return stricter(l.Level, l.Rank, own.Level, own.Rank) }),
		"envelope.classification", "is lower than that of a record that it was made from")
	return f.list
}
