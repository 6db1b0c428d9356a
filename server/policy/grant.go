package policy

import (
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// MayGrant says whether the caller may open the own member's earlier streams to readers, and ask what a reader gets:
// ErrNotGranted if not. It is a matter of the member as a whole, so the system is named for it in the configuration.
func (g Grants) MayGrant(caller member.Identity, c *ententev1.Consultation) error {
	err := g.MayAsk(caller, c)
	if err != nil {
		return err
	}
	if caller.Kind != member.KindSystem || !g.Systems[caller.Name].Grant {
		return ErrNotGranted
	}
	return nil
}
