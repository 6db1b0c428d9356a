package ledger

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// care is what is decided about an own record beside its versions and audiences.
type care struct {
	restricted bool
	why        string // of the restriction
	holdReason string // "" for no hold
	holdUntil  int64  // seconds since 1970
	renewed    int64  // retention of the version below, seconds since 1970; 0: as the record says
	version    uint64
	edition    uint32
	reviewed   int64 // when the need for the record was confirmed last, by a renewal; seconds since 1970, 0: never
}

func (w *writer) care(c care) {
	var flags byte
	if c.restricted {
		flags = 1
	}
	w.b = append(w.b, flags)
	w.string(c.why)
	w.string(c.holdReason)
	w.uint(uint64(c.holdUntil))
	w.uint(uint64(c.renewed))
	w.uint(c.version)
	w.uint(uint64(c.edition))
	w.uint(uint64(c.reviewed))
}

func (r *reader) care() care {
	return care{restricted: first(r.take(1)) == 1, why: r.string(), holdReason: r.string(), holdUntil: int64(r.uint()),
		renewed: int64(r.uint()), version: r.uint(), edition: uint32(r.uint()), reviewed: int64(r.uint())}
}

func (e *careEvent) encode() []byte {
	w := writer{}
	w.b = append(w.b, byte(eventCare))
	w.raw(e.id[:])
	w.care(e.care)
	return w.b
}

// applyCare takes a decision into the state of a record; the rebuild at start does the same.
func applyCare(r *record, c care) {
	r.care = &c
	if c.renewed == 0 || c.version != r.version || c.edition == r.edition {
		return
	}
	r.edition, r.retain = c.edition, c.renewed
	r.forms = nil // they say the earlier date
}

// restricted tells whether a record stands nowhere until that is lifted.
func (r *record) restricted() bool { return r.care != nil && r.care.restricted }

// heldAt tells whether a legal hold is on a record at a time.
func (r *record) heldAt(now time.Time) bool {
	return r.care != nil && r.care.holdReason != "" && now.Unix() < r.care.holdUntil
}

// renewed is until when the newest version may be kept instead of what it says itself; 0: as it says.
func (r *record) renewed() int64 {
	if r.care == nil || r.care.version != r.version {
		return 0
	}
	return r.care.renewed
}

// reviewFrom is from when a review of the need is counted, and the day that the record itself gives for it, if that still counts;
// 0: none. Both in seconds since 1970.
func (r *record) reviewFrom() (from, said int64) {
	if r.care == nil || r.care.reviewed <= r.recorded {
		return r.recorded, r.review
	}
	if r.review > r.care.reviewed {
		said = r.review
	}
	return r.care.reviewed, said
}

// over tells whether the time of a record has ended, by the clock that hides. That it is still here, under a hold or until it is
// erased, brings it to nobody.
func (l *Ledger) over(r *record) bool {
	hide, _ := l.cfg.Expiry()
	return r.retain != 0 && r.retain <= hide.Unix()
}

// legalHold is the hold on a record as it is told; nil: none.
func (r *record) legalHold(now time.Time) *ententev1.LegalHold {
	if !r.heldAt(now) {
		return nil
	}
	return &ententev1.LegalHold{Reason: r.care.holdReason, Until: timestamppb.New(time.Unix(r.care.holdUntil, 0))}
}

// decide changes what is decided about own records: change says what becomes of one, or what is wrong with that.
func (l *Ledger) decide(ctx context.Context, authority string, refs []string, what act, change func(b *batch, r *record, c *care) []*ententev1.FieldViolation) ([]*ententev1.Verdict, error) {
	verdicts := make([]*ententev1.Verdict, len(refs))
	by := actor(ctx)
	err := l.submitEach(ctx, len(refs), func(b *batch, i int) error {
		id := l.RecordID(authority, refs[i])
		verdicts[i] = &ententev1.Verdict{ProviderReference: refs[i], RecordId: id[:]}
		err := b.decideOne(id, change, verdicts[i])
		if err == nil && verdicts[i].GetOutcome() == ententev1.Outcome_OUTCOME_ACCEPTED {
			b.note(by, what, Name{Owner: l.cfg.Self, Record: id})
		}
		return err
	})
	return verdicts, err
}

func (b *batch) decideOne(id RecordID, change func(b *batch, r *record, c *care) []*ententev1.FieldViolation, verdict *ententev1.Verdict) error {
	known := b.record(id)
	if known == nil || known.pos == 0 {
		reject(verdict, "provider_reference", "names no record of this authority")
		return nil
	}
	verdict.Version = known.version
	if known.erased {
		reject(verdict, "provider_reference", "names a record whose content has been erased")
		return nil
	}
	var now, was care
	if known.care != nil {
		was = *known.care
	}
	now = was
	verdict.Violations = change(b, known, &now)
	if len(verdict.GetViolations()) > 0 {
		verdict.Outcome = ententev1.Outcome_OUTCOME_REJECTED
		return nil
	}
	if now == was {
		verdict.Outcome = ententev1.Outcome_OUTCOME_DUPLICATE
		verdict.ReleaseState = known.releaseState()
		return nil
	}
	_, err := b.tx.Append(logSeries, (&careEvent{id: id, care: now}).encode())
	if err != nil {
		return fmt.Errorf("append what is decided about record %s: %w", id, err)
	}
	r := b.change(id)
	applyCare(r, now)
	b.dueAt(dueItem{id: id, at: r.retain})
	if now.holdUntil != was.holdUntil {
		b.dueAt(dueItem{id: id, at: now.holdUntil})
	}
	err = b.replan(id)
	if err != nil {
		return err
	}
	verdict.Outcome = ententev1.Outcome_OUTCOME_ACCEPTED
	verdict.ReleaseState = b.record(id).releaseState()
	return nil
}

// Restrict takes records back from all readers and remembers to whom they were released, or, with lift, puts them back. While
// a record is restricted its corrections are taken and stay at home.
func (l *Ledger) Restrict(ctx context.Context, authority string, refs []string, lift bool, reason string) ([]*ententev1.Verdict, error) {
	method := "restrict"
	if lift {
		method = "lift restriction"
	} else {
		ctx = reserved(ctx) // what is taken back goes on when the file is full
	}
	verdicts, err := l.decide(ctx, authority, refs, act{operation: alteration, method: method, note: reason}, func(_ *batch, r *record, c *care) []*ententev1.FieldViolation {
		c.restricted, c.why = !lift, reason
		if lift {
			c.why = ""
		}
		switch {
		case r.withdrawn && !lift:
			return violation("provider_reference", "names a record that is withdrawn: it stands nowhere")
		case lift && l.over(r):
			return violation("provider_reference", "names a record whose retention is over: it goes to nobody any more")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("restrict: %w", err)
	}
	return verdicts, nil
}

// Hold keeps records from lapsing and from being erased at home until a time, or, with lift, no longer. It changes nothing
// about who reads them: readers' copies end at the date that they were given.
func (l *Ledger) Hold(ctx context.Context, authority string, refs []string, lift bool, reason string, until time.Time) ([]*ententev1.Verdict, error) {
	method := "hold"
	if lift {
		method = "lift hold"
	}
	verdicts, err := l.decide(ctx, authority, refs, act{operation: alteration, method: method, note: reason}, func(b *batch, _ *record, c *care) []*ententev1.FieldViolation {
		if lift {
			c.holdReason, c.holdUntil = "", 0
			return nil
		}
		switch {
		case !until.After(b.now):
			return violation("until", "is not later than now")
		case l.cfg.Renewable == nil || !l.cfg.Renewable(b.now, until):
			return violation("until", "is later than the member's profile of retention allows from now: a hold is renewed when it ends")
		}
		c.holdReason, c.holdUntil = reason, until.Unix()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("hold: %w", err)
	}
	return verdicts, nil
}

// Renew extends the retention of the newest version of records, and counts as a review of their need. What is released follows,
// with the new date in it.
func (l *Ledger) Renew(ctx context.Context, authority string, refs []string, until time.Time, justification string) ([]*ententev1.Verdict, error) {
	what := act{operation: alteration, method: "renew", note: justification}
	verdicts, err := l.decide(ctx, authority, refs, what, func(b *batch, r *record, c *care) []*ententev1.FieldViolation {
		switch {
		case r.withdrawn:
			return violation("provider_reference", "names a record that is withdrawn")
		case l.over(r):
			return violation("provider_reference", "names a record whose retention is over: it was to be renewed before")
		case !until.After(b.now):
			return violation("retain_until", "is not later than now")
		case l.cfg.Renewable == nil || !l.cfg.Renewable(b.now, until):
			return violation("retain_until", "is later than the member's profile of retention allows from now")
		}
		c.reviewed = b.now.Unix()
		if until.Unix() == r.retain {
			return nil // the need is confirmed, and nothing else changes
		}
		c.renewed, c.version, c.edition = until.Unix(), r.version, max(c.edition, r.edition)+1
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("renew: %w", err)
	}
	return verdicts, nil
}

func violation(field, reason string) []*ententev1.FieldViolation {
	return []*ententev1.FieldViolation{{Field: field, Reason: reason}}
}
