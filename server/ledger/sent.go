package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// Sent is one entry that carries, or carried, an own record to a member.
type Sent struct {
	Record   RecordID
	Version  uint64
	Delivery *ententev1.Delivery
	at       placeKey
}

// Position names the entry for a page token.
func (s Sent) Position() (stream uint32, sequence uint64) { return s.at.stream, s.at.sequence }

// SentQuery asks what was sent to a member.
type SentQuery struct {
	Authority string
	Member    member.ID
	OpenOnly  bool   // only what the member has not signed for, or not yet signed as erased
	Stream    uint32 // after this entry of this stream
	Sequence  uint64
	Limit     int
}

// ListSent gives the entries that ever carried records of an authority to a member, by stream and number, and whether there
// are more. It reads the streams, which forget nothing, in short slices.
func (l *Ledger) ListSent(q SentQuery) (list []Sent, more bool, err error) {
	for _, info := range l.Streams() {
		if info.Owner != l.cfg.Self || !slices.Contains(info.Readers, q.Member) || info.No < q.Stream {
			continue
		}
		from := uint64(1)
		if info.No == q.Stream {
			from = q.Sequence + 1
		}
		for from <= info.Size && len(list) <= q.Limit {
			from, err = l.sentOf(info, from, &q, &list)
			if err != nil {
				return nil, false, fmt.Errorf("list what was sent by stream %s: %w", info.ID, err)
			}
		}
	}
	if len(list) > q.Limit {
		return list[:q.Limit], true, nil
	}
	return list, false, nil
}

// sentOf reads a slice of a stream, and says where the next begins.
func (l *Ledger) sentOf(info StreamInfo, from uint64, q *SentQuery, list *[]Sent) (next uint64, err error) {
	type carried struct {
		id       RecordID
		sequence uint64
		version  uint64
	}
	var found []carried
	next = info.Size + 1
	err = l.store.View(func(v *store.View) error {
		rows := 0
		return v.Scan(entrySeries(info.No), from, func(n uint64, value []byte) (bool, error) {
			if n > info.Size {
				return false, nil
			}
			e, err := decodeEntry(value)
			if err != nil {
				return false, fmt.Errorf("entry %d: %w", n, err)
			}
			if e.header[1] == byte(ententev1.EntryType_ENTRY_TYPE_RELEASE) {
				found = append(found, carried{id: e.id, sequence: n, version: e.version})
			}
			rows++
			next = n + 1
			return rows < scanSlice, nil
		})
	})
	if err != nil {
		return next, err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, c := range found {
		r := l.state.records[c.id]
		if r == nil || r.authority != q.Authority || len(*list) > q.Limit {
			continue
		}
		i := slices.IndexFunc(r.places, func(at place) bool { return at.stream == info.No && at.sequence == c.sequence })
		if i < 0 {
			continue
		}
		d := l.delivery(r.places[i], q.Member)
		if q.OpenOnly && closedDelivery(d) {
			continue
		}
		*list = append(*list, Sent{Record: c.id, Version: c.version, Delivery: d, at: placeKey{stream: info.No, sequence: c.sequence}})
	}
	return next, nil
}

// closedDelivery tells whether nothing is open about an entry: the reader has signed for it, and for its withdrawal.
func closedDelivery(d *ententev1.Delivery) bool {
	if d.GetWithdrawn() {
		return d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_APPLIED
	}
	return d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_DELIVERED
}

// Overdue counts the entries, and withdrawals, that a reader has not signed for in time. It looks at every place of every
// record, and makes nothing on the way.
func (l *Ledger) Overdue() uint64 {
	var n uint64
	l.eachOwn(func(_ uint64, _ RecordID, r *record) {
		for _, at := range r.places {
			if !l.late(at) {
				continue
			}
			for _, m := range l.state.stream(at.stream).readers {
				if !l.signed(at, m) {
					n++
				}
			}
		}
	})
	return n
}

// late tells whether the time in which readers are to sign for what was last done with an entry is over. The caller holds the
// lock, as for signed.
func (l *Ledger) late(at place) bool {
	since := at.at
	if at.withdrawn {
		since = at.gone
	}
	return since != 0 && l.cfg.Now().Sub(time.Unix(int64(since), 0)) > l.cfg.DeliverWithin
}

// signed tells whether a reader has signed for what was last done with an entry: its release, or its withdrawal.
func (l *Ledger) signed(at place, m member.ID) bool {
	if at.withdrawn {
		return l.state.stream(at.byStream).confirmed[m].size >= at.bySeq
	}
	return l.state.stream(at.stream).confirmed[m].size >= at.sequence
}

// Extent is how many entries of a stream of another member, or of an own one, the node has; 0 where it knows none of that name.
func (l *Ledger) Extent(owner member.ID, id stream.ID) uint64 {
	_, size := l.extent(owner, id)
	return size
}

func (l *Ledger) extent(owner member.ID, id stream.ID) (no uint32, size uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	no = l.state.byID[streamKey{owner: owner, id: id}]
	if no == 0 {
		return 0, 0
	}
	return no, l.state.stream(no).size()
}

// Carried tells, for entries of streams of another member or own ones, which records they carry or carried: for who reads the
// trail, which names stretches of streams. What lies beyond the end of a stream carries nothing.
func (l *Ledger) Carried(owner member.ID, id stream.ID, first, last uint64) ([]RecordID, error) {
	var list []RecordID
	err := l.EachCarried(context.Background(), owner, id, first, last, func(record RecordID) { list = append(list, record) })
	if err != nil {
		return nil, err
	}
	return list, nil
}

// EachCarried calls fn with what Carried gives, entry by entry, until ctx ends. It reads in short slices, and calls fn outside
// of them.
func (l *Ledger) EachCarried(ctx context.Context, owner member.ID, id stream.ID, first, last uint64, fn func(RecordID)) error {
	no, size := l.extent(owner, id)
	last = min(last, size)
	for next := max(first, 1); next <= last; {
		if ctx.Err() != nil {
			return fmt.Errorf("read what stream %s carries: %w", id, context.Cause(ctx))
		}
		upTo := next + min(last-next, scanSlice-1)
		found, err := l.carriedWithin(no, next, upTo)
		if err != nil {
			return fmt.Errorf("read what stream %s carries: %w", id, err)
		}
		for _, record := range found {
			fn(record)
		}
		next = upTo + 1
	}
	return nil
}

// carriedWithin reads the records of a few entries, from first to last, of a stream that has them.
func (l *Ledger) carriedWithin(no uint32, first, last uint64) (list []RecordID, err error) {
	err = l.store.View(func(v *store.View) error {
		return v.Scan(entrySeries(no), first, func(n uint64, value []byte) (bool, error) {
			e, err := decodeEntry(value)
			if err != nil {
				return false, fmt.Errorf("entry %d: %w", n, err)
			}
			if e.id != (RecordID{}) {
				list = append(list, e.id)
			}
			return n < last, nil
		})
	})
	return list, err
}
