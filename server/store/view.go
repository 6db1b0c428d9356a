package store

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// The parts of the file are buckets of bbolt: one for each series and table, and two of our own.
const (
	seriesPrefix    = "s/"
	tablePrefix     = "t/"
	metaBucket      = "meta"      // schema, root, identity
	summariesBucket = "summaries" // name of a part → its sealed summary; commitKey → sealed number of the last transaction
	commitKey       = "commit"
	indexSize       = 16 // bytes of HMAC that stand for a key of a table
)

// Series names a log of values with the numbers 1, 2, 3 …. Values of Series can be compared.
type Series struct {
	part string
}

// NewSeries names a series, "log" or "entries/12" for example. The name stands in the file unsealed. A series exists
// once a value is appended to it.
func NewSeries(name string) Series { return Series{part: seriesPrefix + name} }

// String is the name.
func (s Series) String() string { return s.part[min(len(seriesPrefix), len(s.part)):] }

// summary says what a part must hold. sum is the exclusive or of the tags of all its values, and for a table
// of their stored keys too: it changes with any change of the part and is cheap to keep.
type summary struct {
	count uint64
	sum   [tagSize]byte
}

const summarySize = 8 + tagSize

// include adds a sealed value to the sum, or takes it out again. bbolt's zero-size damage is left to open.
func (s *summary) include(sealed []byte) {
	if len(sealed) < tagSize {
		return
	}
	fold(&s.sum, sealed[len(sealed)-tagSize:])
}

func fold(sum *[tagSize]byte, with []byte) {
	for i := range min(len(with), tagSize) {
		sum[i] ^= with[i]
	}
}

func (s *summary) encode() []byte {
	out := binary.BigEndian.AppendUint64(make([]byte, 0, summarySize), s.count)
	return append(out, s.sum[:]...)
}

func decodeSummary(plain []byte) (summary, error) {
	if len(plain) != summarySize {
		return summary{}, errTooShort
	}
	return summary{count: binary.BigEndian.Uint64(plain), sum: [tagSize]byte(plain[8:])}, nil
}

// part is an open series or table of one transaction.
type part struct {
	name   string
	bucket *bolt.Bucket // nil: nothing was ever written
	summary
	changed bool
}

// View reads one snapshot of the file. It belongs to the goroutine and the call that it was handed to.
type View struct {
	store  *Store
	seals  *sealer
	raw    *bolt.Tx
	parts  map[string]*part
	bound  []byte // buffers that are used again and again
	plain  []byte
	mac    hash.Hash
	broken error // damage met where no error could be returned: it fails the whole transaction
}

// newView takes the keys after the snapshot was taken: later keys open all that earlier ones did.
func newView(s *Store, raw *bolt.Tx) *View {
	return &View{store: s, seals: s.seals.Load(), raw: raw, parts: make(map[string]*part, 4)}
}

// end lets go of the snapshot. Ending a committed transaction does nothing.
func (v *View) end() {
	_ = rollback(v.raw) // it can only fail where there is nothing left to roll back
	v.raw = nil
	v.parts = nil
}

func rollback(raw *bolt.Tx) (err error) {
	defer rescue(&err, "roll back")
	return raw.Rollback()
}

func (v *View) part(name string) (p *part, err error) {
	p, known := v.parts[name]
	if known {
		return p, nil
	}
	if v.raw == nil {
		return nil, ErrClosed
	}
	defer rescue(&err, name)
	p = &part{name: name, bucket: v.raw.Bucket([]byte(name))}
	p.summary, err = v.summaryOf(name)
	if err != nil {
		return nil, err
	}
	v.parts[name] = p
	return p, nil
}

func (v *View) summaryOf(name string) (summary, error) {
	summaries := v.raw.Bucket([]byte(summariesBucket))
	if summaries == nil {
		return summary{}, nil // Create is at work; Open refuses such a file
	}
	sealed := summaries.Get([]byte(name))
	if sealed == nil {
		return summary{}, nil
	}
	plain, err := v.openValue(nil, summariesBucket, []byte(name), sealed)
	if err != nil {
		return summary{}, damage(err, "summary of %s", name)
	}
	read, err := decodeSummary(plain)
	if err != nil {
		return summary{}, damage(err, "summary of %s", name)
	}
	return read, nil
}

// openValue appends the plain value to dst.
func (v *View) openValue(dst []byte, part string, key, sealed []byte) ([]byte, error) {
	v.bound = bindTo(v.bound, part, key)
	return v.seals.open(dst, v.bound, sealed)
}

// Len is the number of values of a series, and the number of its last value. If the file is damaged in just that
// place, Len is 0 and the whole View or Update fails with a *DamageError.
func (v *View) Len(s Series) uint64 {
	p, err := v.part(s.part)
	if err != nil {
		v.broken = err
		return 0
	}
	return p.count
}

// Get returns a copy of value n of a series. ErrAbsent beyond its end and for 0, *DamageError for a hole or an
// altered value.
func (v *View) Get(s Series, n uint64) ([]byte, error) {
	p, err := v.part(s.part)
	if err != nil {
		return nil, fmt.Errorf("get %s %d: %w", s, n, err)
	}
	if n == 0 || n > p.count {
		return nil, fmt.Errorf("get %s %d: %w", s, n, ErrAbsent)
	}
	value, err := v.valueAt(p, n)
	if err != nil {
		return nil, fmt.Errorf("get %s %d: %w", s, n, err)
	}
	return value, nil
}

func (v *View) valueAt(p *part, n uint64) (value []byte, err error) {
	defer rescue(&err, p.name)
	key := numberKey(n)
	sealed := p.get(key[:])
	if sealed == nil {
		return nil, damage(nil, "%s %d is missing", p.name, n)
	}
	value, err = v.openValue(make([]byte, 0, len(sealed)), p.name, key[:], sealed)
	if err != nil {
		return nil, damage(err, "%s %d", p.name, n)
	}
	return value, nil
}

func (p *part) get(key []byte) []byte {
	if p.bucket == nil {
		return nil
	}
	return p.bucket.Get(key)
}

func numberKey(n uint64) [8]byte {
	var key [8]byte
	binary.BigEndian.PutUint64(key[:], n)
	return key
}

// Scan calls fn with the values of a series in order, beginning with number from, until fn says that it wants no
// more, fn fails, or the series ends. value is valid during the call only: the next one uses the same memory. A
// number that is missing is a *DamageError. An error of fn is returned as it is. Inside an Update, fn must
// not change the series.
func (v *View) Scan(s Series, from uint64, fn func(n uint64, value []byte) (more bool, err error)) error {
	p, err := v.part(s.part)
	if err != nil {
		return fmt.Errorf("scan %s: %w", s, err)
	}
	from = max(from, 1)
	if from > p.count {
		return nil
	}
	var cursor *bolt.Cursor
	if p.bucket != nil {
		cursor = p.bucket.Cursor()
	}
	buffer := v.lend()
	defer v.giveBack(&buffer)
	for n := from; n <= p.count; n++ {
		value, err := v.step(&buffer, p, cursor, n, n == from)
		if err != nil {
			return fmt.Errorf("scan %s: %w", s, err)
		}
		more, err := fn(n, value)
		if err != nil {
			return err
		}
		if !more || n == math.MaxUint64 {
			return nil
		}
	}
	return nil
}

// step moves the cursor to number n and opens what is there.
func (v *View) step(buffer *[]byte, p *part, cursor *bolt.Cursor, n uint64, first bool) (value []byte, err error) {
	defer rescue(&err, p.name)
	if cursor == nil {
		return nil, damage(nil, "%s is missing", p.name)
	}
	want := numberKey(n)
	var key, sealed []byte
	if first {
		key, sealed = cursor.Seek(want[:])
	} else {
		key, sealed = cursor.Next()
	}
	if !bytes.Equal(key, want[:]) {
		return nil, damage(nil, "%s %d is missing", p.name, n)
	}
	*buffer = slices.Grow((*buffer)[:0], len(sealed))
	value, err = v.openValue(*buffer, p.name, key, sealed)
	if err != nil {
		return nil, damage(err, "%s %d", p.name, n)
	}
	return value, nil
}

// lend hands the buffer for plain values to one loop; a loop or a Put inside it makes its own.
func (v *View) lend() []byte {
	buffer := v.plain
	v.plain = nil
	return buffer
}

func (v *View) giveBack(buffer *[]byte) { v.plain = *buffer }

// GetKey returns a copy of the value of a key in a table, nil if there is none.
func (v *View) GetKey(table string, key []byte) ([]byte, error) {
	p, err := v.part(tablePrefix + table)
	if err != nil {
		return nil, fmt.Errorf("get a key of table %s: %w", table, err)
	}
	value, err := v.entryAt(p, table, key)
	if err != nil {
		return nil, fmt.Errorf("get a key of table %s: %w", table, err)
	}
	return value, nil
}

func (v *View) entryAt(p *part, table string, key []byte) (value []byte, err error) {
	defer rescue(&err, p.name)
	index := v.index(table, key)
	sealed := p.get(index[:])
	if sealed == nil {
		return nil, nil
	}
	found, value, err := v.openEntry(nil, p, index[:], sealed)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(found, key) {
		return nil, damage(nil, "%s %x holds another key", p.name, index)
	}
	return value, nil
}

// openEntry opens a value of a table: length of the key, key, value. The results share memory with dst.
func (v *View) openEntry(dst []byte, p *part, index, sealed []byte) (key, value []byte, err error) {
	plain, err := v.openValue(dst, p.name, index, sealed)
	if err != nil {
		return nil, nil, damage(err, "%s %x", p.name, index)
	}
	size, used := binary.Uvarint(plain)
	if used <= 0 || size > uint64(len(plain)-used) {
		return nil, nil, damage(nil, "%s %x has no key", p.name, index)
	}
	end := used + int(size)
	return plain[used:end:end], plain[end:], nil
}

// index is what stands for a key in the file: equal keys of different tables have nothing in common there.
func (v *View) index(table string, key []byte) [indexSize]byte {
	if v.mac == nil {
		v.mac = hmac.New(sha256.New, v.store.indexKey)
	}
	v.mac.Reset()
	v.mac.Write([]byte(table))
	v.mac.Write([]byte{0})
	v.mac.Write(key)
	var sum [sha256.Size]byte
	return [indexSize]byte(v.mac.Sum(sum[:0]))
}

// Each calls fn with all keys and values of a table, in an order without meaning. Both are valid during the call
// only. An error of fn ends it and is returned as it is. Inside an Update, fn must not change the table.
func (v *View) Each(table string, fn func(key, value []byte) error) error {
	p, err := v.part(tablePrefix + table)
	if err != nil {
		return fmt.Errorf("read table %s: %w", table, err)
	}
	var count uint64
	if p.bucket != nil {
		cursor := p.bucket.Cursor()
		buffer := v.lend()
		defer v.giveBack(&buffer)
		for move := cursor.First; ; move = cursor.Next {
			key, value, more, err := v.entry(&buffer, p, move)
			if err != nil {
				return fmt.Errorf("read table %s: %w", table, err)
			}
			if !more {
				break
			}
			err = fn(key, value)
			if err != nil {
				return err
			}
			count++
		}
	}
	if count != p.count {
		return fmt.Errorf("read table %s: %w", table, damage(nil, "%s has %d keys, not %d", p.name, count, p.count))
	}
	return nil
}

// entry moves a cursor of a table and opens what is there; more is false at the end.
func (v *View) entry(buffer *[]byte, p *part, move func() (key, value []byte)) (key, value []byte, more bool, err error) {
	defer rescue(&err, p.name)
	index, sealed := move()
	if index == nil {
		return nil, nil, false, nil
	}
	*buffer = slices.Grow((*buffer)[:0], len(sealed))
	key, value, err = v.openEntry(*buffer, p, index, sealed)
	return key, value, err == nil, err
}
