package policy

import (
	ententev1 "entente.example/entente/proto/entente/v1"
)

// HandlingSet is a set of handling codes: what a recipient may do with something. A set without any code, and one with a
// code that is not known, is the strictest: it holds all codes, and is within no other set but its like.
type HandlingSet uint8

const (
	handlingH0 HandlingSet = 1 << iota
	handlingH1
	handlingH2
	handlingH3
	handlingUnknown // nothing was given, or something that this version does not know

	handlingStrictest = handlingH0 | handlingH1 | handlingH2 | handlingH3 | handlingUnknown
)

func handlingBit(code ententev1.HandlingCode) HandlingSet {
	switch code {
	case ententev1.HandlingCode_HANDLING_CODE_H0:
		return handlingH0
	case ententev1.HandlingCode_HANDLING_CODE_H1:
		return handlingH1
	case ententev1.HandlingCode_HANDLING_CODE_H2:
		return handlingH2
	case ententev1.HandlingCode_HANDLING_CODE_H3:
		return handlingH3
	default:
		return handlingUnknown
	}
}

// HandlingOf is the set of the codes that are given; none or an unknown one: the strictest.
func HandlingOf(h *ententev1.HandlingConditions) HandlingSet {
	var set HandlingSet
	for _, code := range h.GetCodes() {
		set |= handlingBit(code)
	}
	return set.sound()
}

// sound makes the strictest set of one that says nothing, or something unknown.
func (s HandlingSet) sound() HandlingSet {
	if s == 0 || s >= handlingUnknown {
		return handlingStrictest
	}
	return s
}

// Unknown says whether nothing was given, or something that this version does not know.
func (s HandlingSet) Unknown() bool {
	return s.sound() == handlingStrictest
}

// Has says whether the code applies. The strictest set has all codes, also those that this version does not know.
func (s HandlingSet) Has(code ententev1.HandlingCode) bool {
	return s.sound()&handlingBit(code) != 0
}

// Union is what applies to something that was made from both.
func (s HandlingSet) Union(other HandlingSet) HandlingSet {
	return s.sound() | other.sound()
}

// Within says whether other has all codes of this set: whether it is at least as strict.
func (s HandlingSet) Within(other HandlingSet) bool {
	return s.sound()&^other.sound() == 0
}

// Codes lists the known codes that apply, in order.
func (s HandlingSet) Codes() []ententev1.HandlingCode {
	var codes []ententev1.HandlingCode
	for code := ententev1.HandlingCode_HANDLING_CODE_H0; code <= ententev1.HandlingCode_HANDLING_CODE_H3; code++ {
		if s.Has(code) {
			codes = append(codes, code)
		}
	}
	return codes
}
