package policy

import (
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// CheckSpecial says what is wrong with putting a record before an audience because of what it holds: a special category of
// data goes to the participants of a project or to named members, never to all members. What is not known counts as one.
func CheckSpecial(label Label, audience *ententev1.Audience) []*ententev1.FieldViolation {
	f := &findings{}
	if !label.Special && !label.Unknown {
		return f.list
	}
	switch audience.GetReaders().(type) {
	case *ententev1.Audience_Project, *ententev1.Audience_Members:
	default:
		f.add("audience", "is not restricted: a special category of data goes to a project or to named members only")
	}
	return f.list
}

// Criteria is by what a search chooses records, as far as it matters here.
type Criteria struct {
	// Kinds that are asked for; none: all kinds.
	Kinds []ententev1.RecordKind
	// TieBases that are asked for; none: ties are not looked at.
	TieBases []ententev1.TieBasis
	// Others says whether something else is asked for that tells records apart: a name, a number, a reference. A purpose, a
	// crime area or a time does so too.
	Others bool
}

// CheckCriteria says what is wrong with a search: an ethnic tie or a biometric is never all that it chooses by. Kinds and
// grounds of a list are each enough for a record to be found, so a further one beside does not help. A code that this version
// does not know counts as such.
func CheckCriteria(c Criteria) []*ententev1.FieldViolation {
	f := &findings{}
	if c.Others {
		return f.list
	}
	biometric := slices.ContainsFunc(c.Kinds, func(kind ententev1.RecordKind) bool {
		_, known := ententev1.RecordKind_name[int32(kind)]
		return !known || kind == ententev1.RecordKind_RECORD_KIND_BIOMETRIC
	})
	ethnic := slices.ContainsFunc(c.TieBases, func(basis ententev1.TieBasis) bool {
		_, known := ententev1.TieBasis_name[int32(basis)]
		return !known || basis == ententev1.TieBasis_TIE_BASIS_ETHNIC
	})
	f.when(biometric, "kinds", "a biometric is never the only criterion of a search")
	f.when(ethnic, "tie_bases", "an ethnic tie is never the only criterion of a search")
	return f.list
}
