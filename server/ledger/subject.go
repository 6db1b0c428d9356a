package ledger

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// HeldBody is a record whose content the node holds, own or received, as somebody who looks for a subject reads it.
type HeldBody struct {
	Name      Name
	Kind      ententev1.RecordKind
	Reference string // of an own one
	Body      *ententev1.Body
}

// EachHeld goes through the newest content of all records that the node holds, own ones first. It reads in short slices, and
// calls fn outside of them.
func (l *Ledger) EachHeld(ctx context.Context, fn func(HeldBody) error) error {
	l.mu.RLock()
	own := append([]RecordID(nil), l.state.order...)
	var others []Name
	for n := range l.state.held {
		others = append(others, n)
	}
	l.mu.RUnlock()
	for _, id := range own {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		held, err := l.Record(id, 0)
		if err != nil || held.GetRecord() == nil {
			continue // gone meanwhile, or erased
		}
		err = fn(HeldBody{Name: Name{Owner: l.cfg.Self, Record: id}, Kind: KindOf(held.GetRecord().GetBody()),
			Reference: held.GetRecord().GetEnvelope().GetProviderReference(), Body: held.GetRecord().GetBody()})
		if err != nil {
			return err
		}
	}
	for _, n := range others {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		released, err := l.newestHeld(n)
		if err != nil {
			return fmt.Errorf("read record %s of %s: %w", n.Record, n.Owner, err)
		}
		if released == nil {
			continue
		}
		err = fn(HeldBody{Name: n, Kind: KindOf(released.GetBody()), Body: released.GetBody()})
		if err != nil {
			return err
		}
	}
	return nil
}

// newestHeld is a record of another member as it came last; nil where it is gone meanwhile or cannot be read.
func (l *Ledger) newestHeld(n Name) (*ententev1.ReleasedRecord, error) {
	l.mu.RLock()
	places := l.state.held[n]
	l.mu.RUnlock()
	if len(places) == 0 {
		return nil, nil
	}
	out := &ententev1.ReleasedRecord{}
	found := false
	err := l.store.View(func(v *store.View) error {
		value, err := v.Get(logSeries, places[len(places)-1].pos)
		if err != nil {
			return err
		}
		decoded, err := decodeEvent(value)
		if err != nil {
			return err
		}
		e, ok := decoded.(*receivedEvent)
		if !ok || len(e.payload) == 0 {
			return nil
		}
		released, _, err := splitPayload(e.payload)
		if err != nil {
			return nil
		}
		found = proto.Unmarshal(released, out) == nil
		return nil
	})
	if err != nil || !found {
		return nil, err
	}
	return out, nil
}

// Holds tells whether the node holds the content of a record now.
func (l *Ledger) Holds(n Name) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n.Owner != l.cfg.Self {
		return len(l.state.held[n]) > 0
	}
	r := l.state.records[n.Record]
	return r != nil && r.pos != 0 && !r.erased
}

// KindHeld is the kind of a record that the node knows; UNSPECIFIED for others.
func (l *Ledger) KindHeld(id RecordID) ententev1.RecordKind {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r := l.state.records[id]
	if r == nil {
		return ententev1.RecordKind_RECORD_KIND_UNSPECIFIED
	}
	return r.kind
}

// EverRead gives the members that read, or once read, an own record by an entry, and those for whom a coordinator may, or
// might, use it.
func (l *Ledger) EverRead(id RecordID) []member.ID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r := l.state.records[id]
	if r == nil {
		return nil
	}
	var set memberSet
	for _, at := range r.places {
		set = set.union(l.state.stream(at.stream).readers).union(parseMemberSet(at.mergeFor))
	}
	return set
}

// SentEntry is one release in an own stream, as the owner compares it with what its reader says.
type SentEntry struct {
	Sequence  uint64
	Record    RecordID
	Withdrawn bool
	Signed    bool // the reader has signed for it
	Erased    bool // the reader has signed for its withdrawal
}

// SentBy gives the releases of an own stream within a stretch, as to one reader.
func (l *Ledger) SentBy(id stream.ID, reader member.ID, first, last uint64) ([]SentEntry, error) {
	info, ok := l.ownStreamOf(id, reader)
	if !ok {
		return nil, nil
	}
	type carried struct {
		sequence uint64
		id       RecordID
	}
	var found []carried
	err := l.store.View(func(v *store.View) error {
		return v.Scan(entrySeries(info.No), first, func(n uint64, value []byte) (bool, error) {
			if n > min(last, info.Size) {
				return false, nil
			}
			e, err := decodeEntry(value)
			if err != nil {
				return false, err
			}
			if e.header[1] == byte(ententev1.EntryType_ENTRY_TYPE_RELEASE) {
				found = append(found, carried{n, e.id})
			}
			return true, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", id, err)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.state.stream(info.No)
	var list []SentEntry
	for _, c := range found {
		one := SentEntry{Sequence: c.sequence, Record: c.id, Signed: s.confirmed[reader].size >= c.sequence}
		r := l.state.records[c.id]
		if r == nil {
			continue
		}
		for _, at := range r.places {
			if at.stream == info.No && at.sequence == c.sequence && at.withdrawn {
				one.Withdrawn = true
				one.Erased = l.state.stream(at.byStream).confirmed[reader].size >= at.bySeq
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// CountDue counts the own records whose retention or review ends by a time; review is as for ListDue.
func (l *Ledger) CountDue(by time.Time, review func(recorded, retain, said time.Time) time.Time) uint64 {
	var n uint64
	l.eachOwn(func(_ uint64, _ RecordID, r *record) {
		if r.pos == 0 || r.erased || r.withdrawn || r.retain == 0 {
			return
		}
		retain := secondsTime(r.retain)
		from, said := r.reviewFrom()
		if !retain.After(by) || !review(secondsTime(from), retain, secondsTime(said)).After(by) {
			n++
		}
	})
	return n
}
