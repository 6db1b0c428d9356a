package policy

import (
	ententev1 "entente.example/entente/proto/entente/v1"
)

// NeedsApproval says whether the release of a record waits for a second person: H2, H3, special categories of data, and
// whatever is not known.
func NeedsApproval(l Label) bool {
	return len(ApprovalReasons(l)) > 0
}

// ApprovalReasons says in words why the release of a record waits for a second person; none: it does not wait.
func ApprovalReasons(l Label) []string {
	if l.Unknown || l.Handling.Unknown() {
		return []string{"something in its conditions is missing or not known"}
	}
	var reasons []string
	if l.Handling.Has(ententev1.HandlingCode_HANDLING_CODE_H2) {
		reasons = append(reasons, "H2: not to be disseminated without permission")
	}
	if l.Handling.Has(ententev1.HandlingCode_HANDLING_CODE_H3) {
		reasons = append(reasons, "H3: other restrictions, said in the text")
	}
	if l.Special {
		reasons = append(reasons, "it holds a special category of data")
	}
	return reasons
}

// MayApprove says whether approver may decide on what proposer asked for: two different persons, both by the name in their
// certificates. The proposer is empty where a system asked by itself.
func MayApprove(approver, proposer string) bool {
	return approver != "" && approver != proposer
}
