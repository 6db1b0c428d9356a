package ledger

import (
	"fmt"
	"slices"

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

// Overdue counts the entries, and withdrawals, that a reader has not signed for in time.
func (l *Ledger) Overdue() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var n uint64
	for _, r := range l.state.records {
		for _, at := range r.places {
			s := l.state.stream(at.stream)
			// Nearly all are signed for by everybody: that is seen without making a line of the table.
			if at.at == 0 && at.gone == 0 || !at.withdrawn && s.signedByAll(at.sequence) {
				continue
			}
			for _, m := range s.readers {
				if l.delivery(at, m).GetState() == ententev1.DeliveryState_DELIVERY_STATE_OVERDUE {
					n++
				}
			}
		}
	}
	return n
}

func (s *streamState) signedByAll(sequence uint64) bool {
	for _, m := range s.readers {
		if s.confirmed[m].size < sequence {
			return false
		}
	}
	return true
}

// Held tells, for entries of streams of another member or own ones, which records they carry or carried: for who reads the
// trail, which names stretches of streams.
func (l *Ledger) Carried(owner member.ID, id stream.ID, first, last uint64) ([]RecordID, error) {
	l.mu.RLock()
	no := l.state.byID[streamKey{owner: owner, id: id}]
	l.mu.RUnlock()
	if no == 0 {
		return nil, nil
	}
	var list []RecordID
	err := l.store.View(func(v *store.View) error {
		return v.Scan(entrySeries(no), first, func(n uint64, value []byte) (bool, error) {
			if n > last {
				return false, nil
			}
			e, err := decodeEntry(value)
			if err != nil {
				return false, err
			}
			if e.id != (RecordID{}) {
				list = append(list, e.id)
			}
			return n < last, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read what stream %s carries: %w", id, err)
	}
	return list, nil
}
