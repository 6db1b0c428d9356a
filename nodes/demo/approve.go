package demo

import (
	"fmt"
	"slices"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// mostDecided is how many releases one decision of the contract is about.
const mostDecided = 1000

// approveAll has the second officer of each member let go what waits for one: all of it, for its reasons are invented.
func (s *stage) approveAll() error {
	for _, at := range s.members() {
		err := s.approveOf(at)
		if err != nil {
			return fmt.Errorf("second officer of %s: %w", at.seat.ID, err)
		}
	}
	return nil
}

func (s *stage) approveOf(at *station) error {
	officer, err := s.dial(at, member.KindOfficer, approverName)
	if err != nil {
		return err
	}
	defer officer.Close() // nothing is under way on it any more
	var waiting []*ententev1.PendingRelease
	for one, err := range officer.ListPending(s.ctx, &ententev1.ListPendingRequest{Consultation: consultation(nil)}) {
		if err != nil {
			return err
		}
		waiting = append(waiting, one)
	}
	for some := range slices.Chunk(waiting, mostDecided) {
		err = s.decide(officer, some)
		if err != nil {
			return err
		}
	}
	return nil
}

// decide lets releases go, each in the version that was listed.
func (s *stage) decide(officer *client.Client, releases []*ententev1.PendingRelease) error {
	decision := &ententev1.DecideReleaseRequest{Consultation: consultation(nil), Approve: true}
	for _, one := range releases {
		decision.RecordIds, decision.Versions = append(decision.RecordIds, one.GetRecordId()), append(decision.Versions, one.GetVersion())
		decision.States = append(decision.States, one.GetState())
	}
	verdicts, err := officer.DecideRelease(s.ctx, decision)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if v.GetOutcome() == ententev1.Outcome_OUTCOME_REJECTED {
			return fmt.Errorf("record %x: %s", v.GetRecordId(), refusal(v))
		}
	}
	return nil
}
