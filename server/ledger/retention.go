package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Records end by themselves. What is due stands in an agenda by days, so that looking costs what is due and not what is held.

const daySeconds = 24 * 60 * 60

// dueItem is something that may be due at a time: an own record, or an entry that was received. That it is still so is
// looked up when the time comes.
type dueItem struct {
	id       RecordID // of an own record; zero for a received entry
	stream   uint32
	sequence uint64
	at       int64 // seconds since 1970
}

// agenda is what may be due, by day since 1970.
type agenda map[int64][]dueItem

// dueAt notes that something may be due at a time.
func (b *batch) dueAt(item dueItem) {
	if item.at != 0 {
		b.due = append(b.due, item)
	}
}

func (a agenda) add(items ...dueItem) {
	for _, item := range items {
		day := item.at / daySeconds
		a[day] = append(a[day], item)
	}
}

// take takes out what is due by a time. What of it is not done, and what is to come back later, is added again.
func (a agenda) take(by int64) []dueItem {
	var list []dueItem
	for day, items := range a {
		if day > by/daySeconds {
			continue
		}
		var left []dueItem
		for _, item := range items {
			if item.at <= by {
				list = append(list, item)
			} else {
				left = append(left, item)
			}
		}
		if len(left) == 0 {
			delete(a, day)
			continue
		}
		a[day] = left
	}
	slices.SortFunc(list, func(a, b dueItem) int {
		return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.id[:], b.id[:]), cmp.Compare(a.stream, b.stream), cmp.Compare(a.sequence, b.sequence))
	})
	return slices.Compact(list)
}

// Expire ends what is over by the clock of expiry: an own record lapses, which takes it back from all readers and erases it at
// home, unless a legal hold is on it; a received one is erased, and the next receipt says so. What was made from others'
// records by a permission that has run out by the clock that hides falls. It is called regularly; where nothing is due it costs
// nothing. It says how many lapsed and how many were erased.
//
// If we crash here, a part is done; the agenda is read anew at the next start, and the rest follows.
func (l *Ledger) Expire(ctx context.Context) (lapsed, erased int, err error) {
	err = l.each(ctx, l.state.runOut, l.permitClock(), func(b *batch, item dueItem) error {
		about := Name{Owner: b.stream(item.stream).owner, Record: item.id}
		b.queue = append(b.queue, b.dependents(about)...)
		if item.at > b.now.Unix() {
			b.runOut = append(b.runOut, item) // by the members' clocks only: should these go back, its end still comes
		}
		return nil
	}, func() {})
	if err != nil {
		return 0, 0, fmt.Errorf("end what permissions allowed that have run out: %w", err)
	}
	_, erase := l.cfg.Expiry()
	if erase.IsZero() {
		return 0, 0, nil
	}
	by := erase.Unix()
	var own, received int
	err = l.each(ctx, l.state.due, by, func(b *batch, item dueItem) error {
		done, err := b.end(item, by)
		switch {
		case err != nil || !done:
		case item.stream == 0:
			own++
		default:
			received++
		}
		return err
	}, func() {
		lapsed, erased = lapsed+own, erased+received
		own, received = 0, 0
	})
	if err != nil {
		return lapsed, erased, fmt.Errorf("end what is over: %w", err)
	}
	return lapsed, erased, nil
}

// each takes what is due out of an agenda and does it, some at a time; done is called after each time that is on disk. What
// fails stays due.
func (l *Ledger) each(ctx context.Context, a agenda, by int64, do func(b *batch, item dueItem) error, done func()) error {
	l.mu.Lock()
	list := a.take(by)
	l.mu.Unlock()
	for len(list) > 0 {
		some := list[:min(len(list), maxBatch)]
		err := l.submit(reserved(ctx), len(some), func(b *batch) error {
			for _, item := range some {
				err := do(b, item)
				if err != nil {
					return err
				}
			}
			return b.drainQueue()
		})
		if err != nil {
			l.mu.Lock()
			a.add(list...)
			l.mu.Unlock()
			return err
		}
		done()
		list = list[len(some):]
	}
	return nil
}

// end ends one thing, if it is over by a time. What is under a hold comes back to the agenda with the end of that.
func (b *batch) end(item dueItem, by int64) (bool, error) {
	if item.stream != 0 {
		return b.endReceived(item)
	}
	r := b.record(item.id)
	if r == nil || r.pos == 0 || r.erased || r.retain == 0 || r.retain > by {
		return false, nil
	}
	if r.heldAt(b.now) {
		b.dueAt(dueItem{id: item.id, at: r.care.holdUntil})
		return false, nil
	}
	if !r.withdrawn {
		verdict := &ententev1.Verdict{}
		err := b.takeWithdrawal(item.id, r.version, ententev1.WithdrawalReason_WITHDRAWAL_REASON_RETENTION, verdict)
		if err != nil {
			return false, err
		}
	}
	err := b.eraseHome(item.id)
	if err != nil {
		return false, err
	}
	b.note(nil, act{operation: erasure, method: "lapse"}, Name{Owner: b.l.cfg.Self, Record: item.id})
	return true, nil
}

func (b *batch) endReceived(item dueItem) (bool, error) {
	s := b.stream(item.stream)
	if s == nil || s.own || item.sequence > s.size() {
		return false, nil
	}
	before := len(b.erasures)
	err := b.eraseReceived(b.changeStream(s.no), item.sequence, s.id, act{operation: erasure, method: "lapse"})
	return len(b.erasures) > before, err
}

// eraseHome erases the content of all versions of an own record: what is left says that they were there. It is called when no
// entry of a stream needs the record any more, or none that stands.
func (b *batch) eraseHome(id RecordID) error {
	r := b.change(id)
	pos := r.head
	for pos != 0 {
		value, err := b.tx.Get(logSeries, pos)
		if err != nil {
			return fmt.Errorf("read log %d: %w", pos, err)
		}
		e, err := decodeRecordEvent(value)
		if err != nil {
			return fmt.Errorf("log %d: %w", pos, err)
		}
		at := pos
		pos = e.previous
		if e.erased() {
			continue
		}
		// The crime areas stay with the kind: by them a follower's filter finds the withdrawals.
		// The ids of what it was made from stay: what was made from it in turn is still under the conditions of their owners.
		gone := &recordEvent{id: e.id, version: e.version, kind: e.kind, authority: e.authority, receivedAt: e.receivedAt, previous: e.previous, crimes: e.crimes,
			names: e.names[len(e.names)-e.sources:], sources: e.sources}
		gone.forms, err = b.carried(r, at, e.forms)
		if err != nil {
			return err
		}
		err = b.tx.Replace(logSeries, at, gone.encode())
		if err != nil {
			return fmt.Errorf("erase log %d: %w", at, err)
		}
	}
	r.erased, r.names, r.restriction, r.sensitive = true, r.madeFrom(), nil, 0
	if !r.stands() {
		r.forms = nil
	}
	return nil
}

// carried gives, of the forms that lie at a position in the log, those that a standing entry carries: a stream that waits for
// its readers after an unclean stop cannot be written, and its withdrawal erases them. They get a body of their own, for that
// of the record goes.
func (b *batch) carried(r *record, pos uint64, forms []formBytes) ([]formBytes, error) {
	var list []formBytes
	for _, f := range forms {
		for _, at := range r.places {
			if at.withdrawn || newFormKey(b.stream(at.stream).project, at.cut) != f.key {
				continue
			}
			lies, err := b.liesAt(at, pos)
			if err != nil {
				return nil, err
			}
			if lies {
				f.sharesBody = false
				list = append(list, f)
				break
			}
		}
	}
	return list, nil
}

// stands tells whether an entry that carries the record has not been withdrawn.
func (r *record) stands() bool {
	return slices.ContainsFunc(r.places, func(at place) bool { return !at.withdrawn })
}

// hidden tells what is over by the clock of expiry, of a time in seconds since 1970: it is in no answer.
func (l *Ledger) hidden() func(retain int64) bool {
	hide, _ := l.cfg.Expiry()
	by := hide.Unix()
	return func(retain int64) bool { return retain != 0 && retain <= by }
}

// erasing is the time, in seconds since 1970, by which what is over is to be erased now; 0: nothing is. What is only hidden,
// because the clocks do not agree, is not taken back: it comes back when the clock is mended.
func (l *Ledger) erasing() int64 {
	_, erase := l.cfg.Expiry()
	if erase.IsZero() {
		return 0
	}
	return erase.Unix()
}

// over is world.over.
func (m *meaning) over(r *record) bool {
	return r.retain != 0 && m.erase != 0 && r.retain <= m.erase && !r.heldAt(m.now)
}

// dates are what of a record's envelope the ledger keeps in memory: times in seconds since 1970, 0 for not given, and the
// purpose.
type dates struct {
	recorded, retain, review int64
	purpose                  ententev1.Purpose
}

// Field numbers of the times in Envelope and in ReleasedEnvelope.
const (
	envelopeFieldRecorded = 5
	envelopeFieldPurpose  = 9
	envelopeFieldRetain   = 15
	envelopeFieldReview   = 16
	releasedFieldRetain   = 13
	timestampFieldSeconds = 1
)

// fields calls fn with each field of an encoded message that is bytes or a number. What cannot be read ends it.
func fields(message []byte, fn func(num protowire.Number, value []byte, number uint64)) {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		n = protowire.ConsumeFieldValue(num, typ, message)
		if n < 0 {
			return
		}
		switch typ {
		case protowire.BytesType:
			value, _ := protowire.ConsumeBytes(message)
			fn(num, value, 0)
		case protowire.VarintType:
			number, _ := protowire.ConsumeVarint(message)
			fn(num, nil, number)
		}
		message = message[n:]
	}
}

// seconds reads an encoded Timestamp; 0 is 1970, or no time at all.
func seconds(message []byte) (at int64) {
	fields(message, func(num protowire.Number, value []byte, number uint64) {
		if num == timestampFieldSeconds && value == nil {
			at = int64(number)
		}
	})
	return at
}

// recordDates reads the dates from the beginning of an encoded Record, whose first field is the envelope: nothing is decoded.
func recordDates(before []byte) dates {
	var d dates
	num, typ, n := protowire.ConsumeTag(before)
	if n < 0 || num != recordFieldEnvelope || typ != protowire.BytesType {
		return d
	}
	envelope, n := protowire.ConsumeBytes(before[n:])
	if n < 0 {
		return d
	}
	fields(envelope, func(num protowire.Number, value []byte, number uint64) {
		switch num {
		case envelopeFieldPurpose:
			d.purpose = ententev1.Purpose(number)
		case envelopeFieldRecorded:
			d.recorded = seconds(value)
		case envelopeFieldRetain:
			d.retain = seconds(value)
		case envelopeFieldReview:
			d.review = seconds(value)
		}
	})
	return d
}

// releasedRetain is until when an encoded ReleasedRecord may be kept; 0: it does not say.
func releasedRetain(released []byte) (retain int64) {
	fields(released, func(num protowire.Number, value []byte, _ uint64) {
		if num != releasedFieldEnvelope {
			return
		}
		fields(value, func(num protowire.Number, value []byte, _ uint64) {
			if num == releasedFieldRetain {
				retain = seconds(value)
			}
		})
	})
	return retain
}

// DueQuery asks for own records whose retention or review ends.
type DueQuery struct {
	Authority string
	By        time.Time
	After     int // how many to pass over
	Limit     int
}

// Due is one own record whose retention or review ends.
type Due struct {
	Record   RecordID
	Kind     ententev1.RecordKind
	Retain   time.Time
	Review   time.Time
	Hold     *ententev1.LegalHold
	Released bool
}

// ends is the first of the two that comes.
func (d Due) ends() time.Time {
	if d.Review.Before(d.Retain) {
		return d.Review
	}
	return d.Retain
}

// ListDue gives own records whose retention or review ends by a time, what ends first first, and whether there are more.
// review says when a record's need must be reviewed, by what its envelope says (zero where it does not).
func (l *Ledger) ListDue(q DueQuery, review func(recorded, retain, said time.Time) time.Time) (list []Due, more bool) {
	now := l.cfg.Now()
	l.eachOwn(func(_ uint64, id RecordID, r *record) {
		if r.pos == 0 || r.erased || r.withdrawn || r.retain == 0 || r.authority != q.Authority {
			return
		}
		due := Due{Record: id, Kind: r.kind, Retain: time.Unix(r.retain, 0).UTC(), Hold: r.legalHold(now), Released: r.stands()}
		from, said := r.reviewFrom()
		due.Review = review(secondsTime(from), due.Retain, secondsTime(said))
		if !due.ends().After(q.By) {
			list = append(list, due)
		}
	})
	slices.SortStableFunc(list, func(a, b Due) int { return a.ends().Compare(b.ends()) })
	list = list[min(q.After, len(list)):]
	return list[:min(q.Limit, len(list))], len(list) > q.Limit
}

// secondsTime is a time in seconds since 1970; 0 is none.
func secondsTime(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(at, 0).UTC()
}

// payloadRetain is until when the record in an encoded StreamPayload may be kept; 0: it does not say.
func payloadRetain(payload []byte) int64 {
	released, _, err := splitPayload(payload)
	if err != nil {
		return 0
	}
	return releasedRetain(released)
}
