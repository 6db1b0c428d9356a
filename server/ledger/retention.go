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

// dueAt notes that something may be due at a time.
func (b *batch) dueAt(item dueItem) {
	if item.at != 0 {
		b.due = append(b.due, item)
	}
}

func (s *state) addDue(items []dueItem) {
	for _, item := range items {
		day := item.at / daySeconds
		s.due[day] = append(s.due[day], item)
	}
}

// expired gives what is due by a time, and forgets nothing: Expire forgets it once it is done.
func (s *state) expired(by int64) []dueItem {
	var list []dueItem
	for day, items := range s.due {
		if day > by/daySeconds {
			continue
		}
		for _, item := range items {
			if item.at <= by {
				list = append(list, item)
			}
		}
	}
	slices.SortFunc(list, func(a, b dueItem) int {
		return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.id[:], b.id[:]), cmp.Compare(a.stream, b.stream), cmp.Compare(a.sequence, b.sequence))
	})
	return slices.Compact(list)
}

// forgetDue drops what is due by a time.
func (s *state) forgetDue(by int64) {
	for day, items := range s.due {
		if day > by/daySeconds {
			continue
		}
		left := slices.DeleteFunc(items, func(item dueItem) bool { return item.at <= by })
		if len(left) == 0 {
			delete(s.due, day)
			continue
		}
		s.due[day] = left
	}
}

// Expire ends what is over by the clock of expiry: an own record lapses, which takes it back from all readers and erases it at
// home, unless a legal hold is on it; a received one is erased, and the next receipt says so. It is called regularly; where
// nothing is due it costs nothing. It says how many lapsed and how many were erased.
//
// If we crash here, a part is done; the agenda is read anew at the next start, and the rest follows.
func (l *Ledger) Expire(ctx context.Context) (lapsed, erased int, err error) {
	_, erase := l.cfg.Expiry()
	if erase.IsZero() {
		return 0, 0, nil
	}
	by := erase.Unix()
	l.mu.RLock()
	list := l.state.expired(by)
	l.mu.RUnlock()
	if len(list) == 0 {
		return 0, 0, nil
	}
	for some := range slices.Chunk(list, maxBatch) {
		var own, received int
		err = l.submit(ctx, len(some), func(b *batch) error {
			own, received = 0, 0
			for _, item := range some {
				done, err := b.end(item, by)
				if err != nil {
					return err
				}
				switch {
				case done && item.stream == 0:
					own++
				case done:
					received++
				}
			}
			return b.drainQueue()
		})
		if err != nil {
			return lapsed, erased, fmt.Errorf("end what is over: %w", err)
		}
		lapsed, erased = lapsed+own, erased+received
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.forgetDue(by)
	return lapsed, erased, nil
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
		gone := &recordEvent{id: e.id, version: e.version, kind: e.kind, authority: e.authority, receivedAt: e.receivedAt, previous: e.previous}
		// A stream that waits for its readers after an unclean stop still carries a form: it is kept until its withdrawal goes.
		if r.stands() {
			gone.forms = unshare(e.forms)
		}
		err = b.tx.Replace(logSeries, at, gone.encode())
		if err != nil {
			return fmt.Errorf("erase log %d: %w", at, err)
		}
	}
	r.erased, r.names, r.sources, r.restriction, r.sensitive, r.crimes = true, nil, 0, nil, 0, 0
	if !r.stands() {
		r.forms = nil
	}
	return nil
}

// unshare gives forms a body of their own: that of the record goes.
func unshare(forms []formBytes) []formBytes {
	list := slices.Clone(forms)
	for i := range list {
		list[i].sharesBody = false
	}
	return list
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

// seconds reads an encoded Timestamp.
func seconds(message []byte) int64 {
	num, typ, n := protowire.ConsumeTag(message)
	if n < 0 || num != timestampFieldSeconds || typ != protowire.VarintType {
		return 0 // 1970, or no time at all
	}
	v, n := protowire.ConsumeVarint(message[n:])
	if n < 0 {
		return 0
	}
	return int64(v)
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
	l.mu.RLock()
	defer l.mu.RUnlock()
	now := l.cfg.Now()
	for _, id := range l.state.order {
		r := l.state.records[id]
		if r.pos == 0 || r.erased || r.withdrawn || r.retain == 0 || r.authority != q.Authority {
			continue
		}
		due := Due{Record: id, Kind: r.kind, Retain: time.Unix(r.retain, 0).UTC(), Hold: r.legalHold(now), Released: r.stands()}
		due.Review = review(secondsTime(r.recorded), due.Retain, secondsTime(r.review))
		if !due.ends().After(q.By) {
			list = append(list, due)
		}
	}
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
