package audit

import (
	"fmt"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/store"
)

// Trail gives the whole trail as it is when it is called, in the parts that trail.Verifier takes: entries in order, each
// interval behind the last entry that it covers, and last of all the heads, signed now. It reads in short views and calls
// fn outside of them; an error of fn ends it and is returned as it is.
func (l *Log) Trail(fn func(*ententev1.ReadTrailResponse) error) error {
	s := l.current()
	from := uint64(1)
	for number := uint64(1); number <= s.intervals.size(); {
		page, err := l.intervals(number, s.intervals.size())
		if err != nil {
			return err
		}
		for _, one := range page {
			err = l.sendEntries(from, one.GetSize(), fn)
			if err != nil {
				return err
			}
			from = one.GetSize() + 1
			err = fn(&ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Interval{Interval: one}})
			if err != nil {
				return err
			}
			number++
		}
	}
	err := l.sendEntries(from, s.entries.size(), fn)
	if err != nil {
		return err
	}
	heads, err := l.sign(s, l.cfg.Now())
	if err != nil {
		return fmt.Errorf("sign the heads of the audit trail: %w", err)
	}
	heads.Witnessed, heads.Witness = s.witnessed.note, string(s.witnessed.by)
	return fn(&ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Heads{Heads: heads}})
}

// intervals reads the next intervals in one short view.
func (l *Log) intervals(from, upTo uint64) ([]*ententev1.TrailInterval, error) {
	var page []*ententev1.TrailInterval
	err := l.store.View(func(v *store.View) error {
		return v.Scan(intervalsForest().values, from, func(n uint64, value []byte) (bool, error) {
			one, err := decodeInterval(value)
			if err != nil {
				return false, err
			}
			page = append(page, one.Message())
			return n < upTo && len(page) < pageEntries, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the audit trail from interval %d: %w", from, err)
	}
	if len(page) == 0 {
		return nil, fmt.Errorf("read the audit trail from interval %d: %w", from, store.ErrAbsent)
	}
	return page, nil
}

// sendEntries sends entries in parts that a message holds.
func (l *Log) sendEntries(from, upTo uint64, fn func(*ententev1.ReadTrailResponse) error) error {
	for from <= upTo {
		page, err := l.page(entriesForest().values, from, upTo)
		if err != nil {
			return fmt.Errorf("read the audit trail from entry %d: %w", from, err)
		}
		err = fn(&ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Entries{Entries: &ententev1.TrailEntries{Entries: page}}})
		if err != nil {
			return err
		}
		from += uint64(len(page))
	}
	return nil
}
