package policy

import (
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// MayOwn says whether a system may see a record of its own authority: for a purpose that fits, as long as it is kept. What it
// is cleared for is no question where it is the source; what the officer is cleared for that it asks for, is.
func MayOwn(a Access, l Label) bool {
	return Compatible(l.Purpose, a.Purpose) && current(l, a.Day) && officerCleared(a, l)
}

// MayListOwn says whether the lists of what is due, was sent and is permitted name a record of the system's own authority. To
// the system by itself they name all: it may ask for any purpose, and must not lose sight of what it has to renew or to take
// back. For an officer they name what fits the officer's purpose and clearance, over or not: what is over is still to be
// withdrawn.
func MayListOwn(a Access, l Label) bool {
	return a.Officer == 0 || Compatible(l.Purpose, a.Purpose) && officerCleared(a, l)
}

// officerCleared says whether the officer that a question names, if any, is cleared for a record.
func officerCleared(a Access, l Label) bool {
	return a.Officer == 0 || levelOf(l.Level) <= clearanceOf(a.Officer)
}

// MayDecideOn says whether an officer who decides on a release may look at the record: it is asked about the record as a
// whole, so for any purpose, within the clearance.
func MayDecideOn(a Access, l Label) bool {
	return l.Status != ententev1.PersonStatus_PERSON_STATUS_INFORMANT && levelOf(l.Level) <= clearanceOf(a.Clearance) && current(l, a.Day)
}

// Grounds are those for which the release of a record waits for a second person, as a set: an approval counts for the grounds
// that there were. 0: it does not wait.
func Grounds(l Label) uint8 {
	if l.Unknown || l.Handling.Unknown() {
		return groundH2 | groundH3 | groundSpecial | groundUnknown
	}
	var set uint8
	if l.Handling.Has(ententev1.HandlingCode_HANDLING_CODE_H2) {
		set |= groundH2
	}
	if l.Handling.Has(ententev1.HandlingCode_HANDLING_CODE_H3) {
		set |= groundH3
	}
	if l.Special {
		set |= groundSpecial
	}
	return set
}

// The grounds, as they are kept with an approval: they keep their numbers.
const (
	groundH2      = 1
	groundH3      = 2
	groundSpecial = 4
	groundUnknown = 8
)

// AccessOfMember is what a consultation brings with it that another member's node passes on: that node has applied its
// member's grants, and says in the scope what its officer is cleared for.
func AccessOfMember(c *ententev1.Consultation, day int64) Access {
	clearance := c.GetScope().GetClearance()
	if clearance == ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_UNSPECIFIED {
		clearance = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
	}
	return Access{Purpose: c.GetPurpose(), Clearance: clearance, ProtectedReason: strings.TrimSpace(c.GetProtectedReason()) != "", Day: day}
}

// MayForward says whether what another member's node has answered may go on to whoever asked: a node that is older than
// clearances, or wrong, must not be what decides. Whether it has expired is left to the node that answers, whose clock runs a
// little apart.
func MayForward(a Access, l Label) bool {
	return !l.Unknown && Compatible(l.Purpose, a.Purpose) && levelOf(l.Level) <= clearanceOf(a.Clearance)
}

// Banners are conditions of handling in words, as they stand on each row of an export, with the text of H3: modelled on the
// handling codes of European police information exchange. Handling that is not given or not known is written as the strictest.
func Banners(set HandlingSet, text string) []string {
	var list []string
	for _, b := range []struct {
		code ententev1.HandlingCode
		text string
	}{
		{ententev1.HandlingCode_HANDLING_CODE_H0, "H0: only to prevent and combat crime"},
		{ententev1.HandlingCode_HANDLING_CODE_H1, "H1: not to be used in judicial proceedings without the provider's permission"},
		{ententev1.HandlingCode_HANDLING_CODE_H2, "H2: not to be disseminated without the provider's permission"},
		{ententev1.HandlingCode_HANDLING_CODE_H3, "H3: other restrictions apply"},
	} {
		if set.Has(b.code) {
			list = append(list, b.text)
		}
	}
	if text != "" {
		list = append(list, "Restrictions: "+text)
	}
	return list
}
