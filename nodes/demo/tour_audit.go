package demo

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/trail"
)

// audit shows who looked, as an auditor sees it, and what becomes of a trail that was altered.
func (t *tour) audit(s *stage, _ *tally) error {
	t.say("Every look, release and erasure stands in the trail of the node, with who, why and for which case. An analyst cannot " +
		"read it; an auditor can, and that stands in it too.")
	var err error
	t.found.auditClosed, err = t.do(s, command{line: "audit list --config @XA/officer.yaml", code: cli.ExitRefused, then: cli.ExitRefused})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "audit list --actor " + officerName + " --operation consultation --limit 4 --config @XA/auditor.yaml"})
	if err != nil {
		return err
	}
	t.say("Or all about one record: that of the scene before, from its coming to its end.")
	id, err := s.idOf(s.at("XA"), shortReference)
	if err != nil {
		return err
	}
	t.found.trace, err = t.do(s, command{line: "audit subject XA/" + id + " --config @XA/auditor.yaml", most: 20})
	if err != nil {
		return err
	}
	err = t.verifies(s)
	if err != nil {
		return err
	}
	return t.tamper(s)
}

// verifies has the auditor verify the trail, once another member has countersigned it.
func (t *tour) verifies(s *stage) error {
	t.say("Who keeps the trail could rewrite it. So another member, the witness, countersigns its head (here every two seconds, in " +
		"life every minute), without seeing what is in it; " +
		"the auditor's program reads all and checks. It keeps the heads, and the next time the trail has to continue them.")
	err := s.until("the witness", func() (bool, error) {
		status, err := s.status(s.at("XA"))
		return status.GetAudit().GetWitnessed() > 0, err
	})
	if err != nil {
		return err
	}
	t.found.witness, err = t.do(s, command{line: "audit verify --state @XA/heads.json --config @XA/auditor.yaml" + trusting})
	return err
}

// tamper alters one entry in a copy of the trail, and verifies the copy as the command does.
func (t *tour) tamper(s *stage) error {
	parts, err := s.readTrail(s.at("XA"))
	if err != nil {
		return err
	}
	t.found.untouched, err = s.verifyTrail("XA", parts)
	if err != nil {
		return err
	}
	number, err := blame(parts)
	if err != nil {
		return err
	}
	t.say("Somebody with the node's disk and keys would rather not have looked. The tour reads the trail as that command does, "+
		"puts another name into entry %d of its copy, "+
		"and has the copy verified by the same code:", number)
	_, t.found.tampered = s.verifyTrail("XA", parts)
	if t.found.tampered == nil {
		return errors.New("the altered trail passes")
	}
	t.printf("  %v\n\n", t.found.tampered)
	return nil
}

// readTrail reads the whole trail of a member, as its auditor.
func (s *stage) readTrail(at *station) (parts []*ententev1.ReadTrailResponse, err error) {
	auditor, err := s.dial(at, member.KindAuditor, auditorName)
	if err != nil {
		return nil, err
	}
	defer auditor.Close() // nothing is under way on it any more
	why := &ententev1.AuditReason{Purpose: ententev1.AuditPurpose_AUDIT_PURPOSE_LAWFULNESS, CaseReference: caseReference}
	for part, err := range auditor.ReadTrail(s.ctx, &ententev1.ReadTrailRequest{Reason: why}) {
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// verifyTrail verifies a trail that was read.
func (s *stage) verifyTrail(owner member.ID, parts []*ententev1.ReadTrailResponse) (trail.Report, error) {
	verifier := trail.NewVerifier(owner, s.roster.VerifyingKeys)
	for _, part := range parts {
		err := verifier.Take(part)
		if err != nil {
			return trail.Report{}, err
		}
	}
	return verifier.Finish()
}

// blame puts somebody else into the first entry that tells of a look by the analyst, and says which that is.
func blame(parts []*ententev1.ReadTrailResponse) (uint64, error) {
	for _, part := range parts {
		list := part.GetEntries().GetEntries()
		for i, encoded := range list {
			entry := &ententev1.AuditEntry{}
			err := proto.Unmarshal(encoded, entry)
			if err != nil {
				return 0, fmt.Errorf("read an entry of the trail: %w", err)
			}
			if entry.GetActor().GetName() != officerName {
				continue
			}
			entry.Actor.Name = approverName
			list[i], err = proto.Marshal(entry)
			if err != nil {
				return 0, fmt.Errorf("alter an entry of the trail: %w", err)
			}
			return entry.GetNumber(), nil
		}
	}
	return 0, errors.New("no entry of the trail tells of a look by the analyst")
}
