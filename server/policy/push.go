package policy

import (
	ententev1 "entente.example/entente/proto/entente/v1"
)

// maxReference is the longest provider reference, in bytes.
const maxReference = 200

// CheckPushedWithdrawal says what is wrong with a withdrawal that a national system pushes.
func CheckPushedWithdrawal(w *ententev1.PushWithdrawal) []*ententev1.FieldViolation {
	f := &findings{}
	f.when(!ValidReference(w.GetProviderReference()), "withdrawal.provider_reference", "is required, 1 to 200 bytes")
	f.reason("withdrawal.reason", w.GetReason())
	return f.list
}

// CheckReason says what is wrong with the reason of a withdrawal.
func CheckReason(reason ententev1.WithdrawalReason) []*ententev1.FieldViolation {
	f := &findings{}
	f.reason("reason", reason)
	return f.list
}

func (f *findings) reason(field string, reason ententev1.WithdrawalReason) {
	_, known := ententev1.WithdrawalReason_name[int32(reason)]
	f.when(reason == 0 || !known, field, "is required, from the closed list")
}

// ValidReference says whether a provider reference has a length that a record's may have.
func ValidReference(reference string) bool {
	return len(reference) >= 1 && len(reference) <= maxReference
}

// CheckAudiences says what is wrong with the form of audiences: that each is exactly one of the three, and what this
// version does not know. Whether members and projects exist is not a question of form.
func CheckAudiences(audiences []*ententev1.Audience) []*ententev1.FieldViolation {
	f := &findings{}
	for i, audience := range audiences {
		from := len(f.list)
		f.message(audience.ProtoReflect())
		f.prefix(from, indexed("audiences", i))
		f.when(audience.GetReaders() == nil, indexed("audiences", i), "is no audience that this version knows")
	}
	return f.list
}
