package ledger

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Release puts the newest version of records before audiences, in addition to or instead of those in force.
func (l *Ledger) Release(ctx context.Context, authority string, refs []string, audiences []*ententev1.Audience, replace bool) ([]*ententev1.Verdict, error) {
	list, wrong := l.asked(ctx, audiences, replace)
	verdicts := make([]*ententev1.Verdict, len(refs))
	by := actor(ctx)
	err := l.submitEach(ctx, len(refs), func(b *batch, i int) error {
		id := l.RecordID(authority, refs[i])
		verdicts[i] = &ententev1.Verdict{ProviderReference: refs[i], RecordId: id[:], Violations: wrong}
		if len(wrong) > 0 {
			verdicts[i].Outcome = ententev1.Outcome_OUTCOME_REJECTED
			return nil
		}
		return b.takeRelease(by, id, list, replace, verdicts[i])
	})
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return verdicts, nil
}

// asked is what a release asks for, or what is wrong with that.
func (l *Ledger) asked(ctx context.Context, audiences []*ententev1.Audience, replace bool) ([]intent, []*ententev1.FieldViolation) {
	list, wrong := l.cfg.Directory().resolve(l.cfg.Self, l.cfg.Now(), audiences)
	if len(audiences) == 0 && !replace {
		wrong = append(wrong, &ententev1.FieldViolation{Field: "audiences", Reason: "are missing: say before whom, or that they replace the earlier ones"})
	}
	for i := range list {
		list[i].proposer = proposer(actor(ctx))
	}
	return list, wrong
}

// full gives the newest version of an own record, decoded.
func (b *batch) full(from source, id RecordID, r *record) (*ententev1.Record, error) {
	value, err := from.Get(logSeries, r.pos)
	if err != nil {
		return nil, fmt.Errorf("read log %d: %w", r.pos, err)
	}
	e, err := decodeRecordEvent(value)
	if err != nil {
		return nil, fmt.Errorf("log %d: %w", r.pos, err)
	}
	full := &ententev1.Record{}
	err = proto.Unmarshal(e.record.join(), full)
	if err != nil {
		return nil, fmt.Errorf("read record %s: %w", id, err)
	}
	return full, nil
}

// intended is what a record would be wanted for after a release, or what keeps it from that.
func (b *batch) intended(from source, id RecordID, known *record, list []intent, replace bool) ([]intent, []*ententev1.FieldViolation, error) {
	refuse := func(field, reason string) ([]intent, []*ententev1.FieldViolation, error) {
		return nil, violation(field, reason), nil
	}
	switch {
	case known == nil || known.pos == 0:
		return refuse("provider_reference", "names no record of this authority")
	case known.erased:
		return refuse("provider_reference", "names a record whose content has been erased")
	case known.withdrawn:
		return refuse("provider_reference", "names a record that is withdrawn; only a higher version can be released")
	case len(list) > 0 && b.l.over(known):
		return refuse("provider_reference", "names a record whose retention is over: nothing of it is released any more")
	}
	asked := list
	if replace {
		list = keepApprovals(known.intents, list)
	} else {
		list = mergeIntents(known.intents, list)
	}
	if len(list) == 0 {
		return list, nil, nil
	}
	full, err := b.full(from, id, known)
	if err != nil {
		return nil, nil, err
	}
	wrong := b.l.cfg.Directory().outside(known.kind, asked, b.l.fits(full.GetEnvelope().GetPurpose()))
	wrong = append(wrong, b.l.lacks(full, b.l.cfg.CheckRelease(full), list)...)
	unfit, err := b.underived(from, full, known.names, known.sources)
	return list, append(wrong, unfit...), err
}

func (b *batch) takeRelease(by *ententev1.AuditActor, id RecordID, asked []intent, replace bool, verdict *ententev1.Verdict) error {
	known := b.record(id)
	if known != nil {
		verdict.Version = known.version
	}
	list, wrong, err := b.intended(b.tx, id, known, asked, replace)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		verdict.Outcome, verdict.Violations = ententev1.Outcome_OUTCOME_REJECTED, wrong
		return nil
	}
	return b.setAudiences(by, id, list, true, act{operation: alteration, method: ententev1.IntakeService_Release_FullMethodName, recipient: audienceWords(list)}, verdict)
}

// setAudiences makes a list of intents those of a record, and plans it. fresh: whoever says so knows the record, so what we have of
// it is the newest; of a second person that is not known.
func (b *batch) setAudiences(by *ententev1.AuditActor, id RecordID, list []intent, fresh bool, what act, verdict *ententev1.Verdict) error {
	known := b.record(id)
	key, err := encodeIntents(list)
	if err != nil {
		return err
	}
	if known.intents != nil && known.intents.key == key || known.intents == nil && len(list) == 0 {
		if fresh {
			err = b.saidAgain(id)
		}
		if err != nil {
			return err
		}
		verdict.Outcome = ententev1.Outcome_OUTCOME_DUPLICATE
		verdict.ReleaseState = b.record(id).releaseState()
		return nil
	}
	e := &audienceEvent{id: id, intents: key}
	_, err = b.tx.Append(logSeries, e.encode())
	if err != nil {
		return fmt.Errorf("append audiences of record %s: %w", id, err)
	}
	in, err := b.l.state.internIntents(key)
	if err != nil {
		return err
	}
	r := b.change(id)
	r.intents = in
	r.fresh = r.fresh || fresh
	err = b.replan(id)
	if err != nil {
		return err
	}
	b.note(by, what, Name{Owner: b.l.cfg.Self, Record: id})
	verdict.Outcome = ententev1.Outcome_OUTCOME_ACCEPTED
	verdict.ReleaseState = b.record(id).releaseState()
	return nil
}
