package store

import (
	"encoding/binary"
	"time"

	bolt "go.etcd.io/bbolt"
)

// erasedKey stands in metaBucket beside the root: programs that do not know it leave it alone.
const erasedKey = "erased"

const erasuresSize = 8 + 8

// erasures says how many values were erased since the file was last compacted, and when the first of them was; the zero
// time where no clock told.
type erasures struct {
	values uint64
	since  time.Time
}

// Erased says how many values were erased since the file was last compacted, and when the first of them was, by
// Options.Now in milliseconds; the zero time where it is not known. Until the next [Store.Compact] their sealed bytes may
// stand in free pages of the file.
//
// A Replace of a value of a series counts, and so does a Delete of a key that a table held. A Put over a value of a table
// does not: positions and heads are written so all the time, and nodes would compact for nothing. The count is kept in the
// file, by the same commit that erases; a commit that erases nothing does not touch it. A file of a program that did not
// count has 0.
func (s *Store) Erased() (values uint64, since time.Time) {
	held := s.erasures()
	return held.values, held.since
}

func (s *Store) erasures() erasures {
	held := s.erased.Load()
	if held == nil {
		return erasures{}
	}
	return *held
}

// plus counts further erasures at a time.
func (e erasures) plus(values uint64, at time.Time) erasures {
	if e.values == 0 {
		e.since = at
	}
	e.values += values
	return e
}

func (e erasures) encode() []byte {
	var since int64
	if !e.since.IsZero() {
		since = e.since.UnixMilli()
	}
	out := binary.BigEndian.AppendUint64(make([]byte, 0, erasuresSize), e.values)
	return binary.BigEndian.AppendUint64(out, uint64(since))
}

func decodeErasures(plain []byte) (e erasures, err error) {
	if len(plain) != erasuresSize {
		return erasures{}, errTooShort
	}
	e.values = binary.BigEndian.Uint64(plain)
	since := int64(binary.BigEndian.Uint64(plain[8:]))
	if since != 0 {
		e.since = time.UnixMilli(since).UTC()
	}
	return e, nil
}

// readErasures is part of readMeta.
func (v *View) readErasures(bucket *bolt.Bucket, outdated *bool) (erasures, error) {
	if bucket.Get([]byte(erasedKey)) == nil {
		return erasures{}, nil
	}
	plain, err := v.openMeta(bucket, erasedKey, outdated)
	if err != nil {
		return erasures{}, err
	}
	e, err := decodeErasures(plain)
	if err != nil {
		return erasures{}, damage(err, "%s %s", metaBucket, erasedKey)
	}
	return e, nil
}

// writeErasures counts what this transaction erases, and returns what to do once it is committed.
func (tx *Tx) writeErasures() (committed func(), err error) {
	if tx.erased == 0 {
		return func() {}, nil
	}
	defer rescue(&err, metaBucket)
	s := tx.store
	var at time.Time
	if s.now != nil {
		at = time.UnixMilli(s.now().UnixMilli()).UTC() // as it will be read
	}
	next := s.erasures().plus(tx.erased, at)
	err = tx.putErasures(next)
	if err != nil {
		return nil, err
	}
	return func() {
		s.erased.Store(&next)
		if s.noted != nil {
			s.noted.erased = s.noted.erased.plus(tx.erased, at)
		}
	}, nil
}

func (tx *Tx) putErasures(e erasures) error {
	own := &part{name: metaBucket, bucket: tx.raw.Bucket([]byte(metaBucket))}
	return tx.put(own, []byte(erasedKey), e.encode())
}
