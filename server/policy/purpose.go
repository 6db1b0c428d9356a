package policy

import (
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// purposeSet is a set of purposes: one bit for each number below 16.
type purposeSet uint16

func purposesOf(purposes ...ententev1.Purpose) purposeSet {
	var set purposeSet
	for _, p := range purposes {
		set |= 1 << p
	}
	return set
}

// has is false for a purpose that is not given or not known, whatever the set.
func (s purposeSet) has(p ententev1.Purpose) bool {
	return p > 0 && s&(1<<p) != 0
}

// usesOf is the table of purposes: for which purposes a record may be consulted that its owner processes for the given
// one, and why. A record of a purpose that has no row may be consulted for none.
func usesOf(record ententev1.Purpose) (uses purposeSet, reason string) {
	const (
		wanted   = ententev1.Purpose_PURPOSE_LOCATE_WANTED
		interest = ententev1.Purpose_PURPOSE_IDENTIFY_OF_INTEREST
		criminal = ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION
		warn     = ententev1.Purpose_PURPOSE_WARN
		identify = ententev1.Purpose_PURPOSE_IDENTIFY_PERSON_OR_BODY
		forensic = ententev1.Purpose_PURPOSE_FORENSIC_ANALYSIS
		check    = ententev1.Purpose_PURPOSE_SECURITY_CHECK
		border   = ententev1.Purpose_PURPOSE_BORDER_CONTROL
		threat   = ententev1.Purpose_PURPOSE_THREAT_ANALYSIS
	)
	switch record {
	case wanted:
		return purposesOf(wanted, interest, criminal, border), "who is wanted must be found where people are identified, investigated or controlled at a border"
	case interest:
		return purposesOf(interest, wanted, criminal), "a person or object of interest is sought to be found, and the investigation behind it asks for it"
	case criminal:
		return purposesOf(criminal, threat), "an investigation serves its own kind and the analysis of networks; it is no file for vetting people or for controls at a border"
	case warn:
		return purposesOf(warn, criminal, threat, border), "a warning is given so that investigators, analysts and border officers heed it"
	case identify:
		return purposesOf(identify, forensic), "what helps to identify a person or a body helps the laboratory that does it, and is no lead against anybody"
	case forensic:
		return purposesOf(forensic, identify, criminal), "traces are analysed to identify people and to solve crimes"
	case check:
		return purposesOf(check), "what was collected to vet a person is used for nothing else"
	case border:
		return purposesOf(border), "what was collected at a border without suspicion is used for nothing else"
	case threat:
		return purposesOf(threat, criminal), "an analysis of networks is made to start and to steer investigations"
	default:
		return 0, "a purpose that is not given or not known allows nothing"
	}
}

// Compatible says whether a record that its owner processes for the purpose record may be consulted for the purpose
// access. What is not given or not known is compatible with nothing.
func Compatible(record, access ententev1.Purpose) bool {
	uses, _ := usesOf(record)
	return uses.has(access)
}

// PurposeRow is one row of the table of purposes, for people to read.
type PurposeRow struct {
	Record ententev1.Purpose   // of the record
	Uses   []ententev1.Purpose // for which it may be consulted, in order of number
	Reason string              // in words
}

// PurposeTable is the table behind Compatible, in order of number.
func PurposeTable() []PurposeRow {
	var rows []PurposeRow
	for _, record := range knownPurposes() {
		set, reason := usesOf(record)
		row := PurposeRow{Record: record, Reason: reason}
		for _, access := range knownPurposes() {
			if set.has(access) {
				row.Uses = append(row.Uses, access)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func knownPurposes() []ententev1.Purpose {
	var purposes []ententev1.Purpose
	for number := range ententev1.Purpose_name {
		if number != 0 {
			purposes = append(purposes, ententev1.Purpose(number))
		}
	}
	slices.Sort(purposes)
	return purposes
}
