package policy

import (
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Access is what a question brings with it: why it is asked, what the asker is cleared for, and for which day.
type Access struct {
	// Purpose of the consultation; not given: nothing may be seen.
	Purpose ententev1.Purpose
	// Clearance is the highest level that the asker may see; not given or not known: the lowest only.
	Clearance ententev1.ClassificationLevel
	// Officer is what the officer is cleared for whom the consultation names; not given: it names nobody. It is what counts
	// for records of the own authority; it is part of Clearance for all others.
	Officer ententev1.ClassificationLevel
	// ProtectedReason says whether the consultation gives a reason for protected persons.
	ProtectedReason bool
	// Day is the time by which records expire, in Unix seconds; 0: not given, and nothing may be seen.
	Day int64
}

// May says whether a question may be answered with a record, beside the question who reads its stream. An informant's
// record, and one that is not understood, is never an answer.
func May(a Access, l Label) bool {
	if l.Unknown || l.Status == ententev1.PersonStatus_PERSON_STATUS_INFORMANT {
		return false
	}
	return Compatible(l.Purpose, a.Purpose) && levelOf(l.Level) <= clearanceOf(a.Clearance) && current(l, a.Day)
}

// MayBulk says whether a record may be part of what nobody asked for one by one: merged views, figures, exports. Protected
// persons are, only where the consultation says why.
func MayBulk(a Access, l Label) bool {
	return May(a, l) && (a.ProtectedReason || !Protected(l))
}

// Protected says whether a record describes somebody who is to be treated as strictly as a victim. What is not known counts
// as protected.
func Protected(l Label) bool {
	if l.Unknown || l.Minor {
		return true
	}
	switch l.Status {
	case ententev1.PersonStatus_PERSON_STATUS_VICTIM, ententev1.PersonStatus_PERSON_STATUS_POTENTIAL_VICTIM,
		ententev1.PersonStatus_PERSON_STATUS_WITNESS, ententev1.PersonStatus_PERSON_STATUS_INFORMANT:
		return true
	case ententev1.PersonStatus_PERSON_STATUS_UNSPECIFIED:
		return l.Kind == ententev1.RecordKind_RECORD_KIND_PERSON
	default:
		return false
	}
}

// current says whether a record is not over at a time in Unix seconds. Neither a time nor a retention that is not given lets
// anything be current.
func current(l Label, now int64) bool {
	return now > 0 && now < l.RetainUntil
}

// clearanceOf reads a clearance that is not given or not known as the lowest.
func clearanceOf(level ententev1.ClassificationLevel) ententev1.ClassificationLevel {
	_, known := ententev1.ClassificationLevel_name[int32(level)]
	if level == 0 || !known {
		return ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY
	}
	return level
}

// AccessOf is what a consultation of one of the own people or systems brings with it: the clearance is the lower of the
// caller's and the named officer's. Whoever has no grants, and every caller of another kind, has the lowest clearance. day
// is the time by which records expire, in Unix seconds.
func (g Grants) AccessOf(caller member.Identity, c *ententev1.Consultation, day int64) Access {
	var clearance ententev1.ClassificationLevel
	switch caller.Kind {
	case member.KindOfficer:
		clearance = g.Officers[caller.Name].Clearance
	case member.KindSystem:
		clearance = g.Systems[caller.Name].Clearance
	}
	clearance = clearanceOf(clearance)
	var officer ententev1.ClassificationLevel
	if c.GetOfficer() != "" {
		officer = clearanceOf(g.Officers[c.GetOfficer()].Clearance)
		clearance = min(clearance, officer)
	}
	reason := strings.TrimSpace(c.GetProtectedReason()) != ""
	return Access{Purpose: c.GetPurpose(), Clearance: clearance, Officer: officer, ProtectedReason: reason, Day: day}
}

// MustName is MayAsk where somebody in person must stand behind the question: a system that names no officer is refused.
func (g Grants) MustName(caller member.Identity, c *ententev1.Consultation) error {
	name, err := g.officer(caller, c)
	if err != nil {
		return err
	}
	if name == "" {
		return ErrNotGranted
	}
	return nil
}
