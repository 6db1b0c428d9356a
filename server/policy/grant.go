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

// MayPermit says whether the caller may give permissions under H2 in the name of the own member, and take them back:
// ErrNotGranted if not. The system is named for it in the configuration.
func (g Grants) MayPermit(caller member.Identity, c *ententev1.Consultation) error {
	err := g.MayAsk(caller, c)
	if err != nil {
		return err
	}
	if caller.Kind != member.KindSystem || !g.Systems[caller.Name].Permit {
		return ErrNotGranted
	}
	return nil
}

// MayDecide says whether the caller may decide on pending releases at all: an officer whom the member lets do so.
// ErrNotGranted if not. That it is another person than the one who asked is for MayApprove.
func (g Grants) MayDecide(caller member.Identity, c *ententev1.Consultation) error {
	err := g.MayAsk(caller, c)
	if err != nil {
		return err
	}
	if caller.Kind != member.KindOfficer || !g.Officers[caller.Name].Approve {
		return ErrNotGranted
	}
	return nil
}
