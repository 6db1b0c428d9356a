package store

import (
	"encoding/binary"
	"fmt"
	"io"
)

// fill is how full bbolt packs the pages of a series: its keys come in order, so nothing is ever put between them.
const fill = 1.0

// Tx is the one writing transaction. It reads what it wrote.
type Tx struct {
	View
	changed bool
	erased  uint64 // values, see Erased
}

// Append adds a value at the end of a series and returns its number: the last one plus one, from 1.
func (tx *Tx) Append(s Series, value []byte) (n uint64, err error) {
	p, err := tx.writable(s.part)
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", s, err)
	}
	n = p.count + 1
	key := numberKey(n)
	err = tx.put(p, key[:], value)
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", s, err)
	}
	p.count = n
	return n, nil
}

// Replace writes another value in the place of value n, for an erasure. The old value can no longer be read
// through the store; its sealed bytes stay in a free page until that is used again or [Store.Compact] is done. ErrAbsent
// beyond the end.
func (tx *Tx) Replace(s Series, n uint64, value []byte) error {
	p, err := tx.part(s.part)
	if err != nil {
		return fmt.Errorf("replace %s %d: %w", s, n, err)
	}
	if n == 0 || n > p.count {
		return fmt.Errorf("replace %s %d: %w", s, n, ErrAbsent)
	}
	p, err = tx.writable(s.part)
	if err != nil {
		return fmt.Errorf("replace %s %d: %w", s, n, err)
	}
	key := numberKey(n)
	had, err := tx.exclude(p, key[:])
	if err == nil && !had {
		err = damage(nil, "%s %d is missing", p.name, n)
	}
	if err == nil {
		err = tx.put(p, key[:], value)
	}
	if err != nil {
		return fmt.Errorf("replace %s %d: %w", s, n, err)
	}
	tx.erased++
	return nil
}

// Put sets the value of a key in a table.
func (tx *Tx) Put(table string, key, value []byte) error {
	err := tx.putKey(table, key, value)
	if err != nil {
		return fmt.Errorf("put a key of table %s: %w", table, err)
	}
	return nil
}

func (tx *Tx) putKey(table string, key, value []byte) error {
	p, err := tx.writable(tablePrefix + table)
	if err != nil {
		return err
	}
	index := tx.index(table, key)
	had, err := tx.exclude(p, index[:])
	if err != nil {
		return err
	}
	entry := binary.AppendUvarint(tx.plain[:0], uint64(len(key)))
	entry = append(entry, key...)
	entry = append(entry, value...)
	tx.plain = entry
	err = tx.put(p, index[:], entry)
	if err != nil {
		return err
	}
	if !had {
		p.count++
		fold(&p.sum, index[:])
	}
	return nil
}

// Delete removes a key from a table, and does nothing if it is not there.
func (tx *Tx) Delete(table string, key []byte) error {
	err := tx.deleteKey(table, key)
	if err != nil {
		return fmt.Errorf("delete a key of table %s: %w", table, err)
	}
	return nil
}

func (tx *Tx) deleteKey(table string, key []byte) (err error) {
	p, err := tx.part(tablePrefix + table)
	if err != nil || p.bucket == nil {
		return err
	}
	defer rescue(&err, p.name)
	index := tx.index(table, key)
	had, err := tx.exclude(p, index[:])
	if err != nil || !had {
		return err
	}
	err = p.bucket.Delete(index[:])
	if err != nil {
		return err
	}
	tx.store.noted.note(p, index[:], nil)
	p.count--
	fold(&p.sum, index[:])
	p.changed, tx.changed = true, true
	tx.erased++
	return nil
}

// writable opens a part, and makes it if this is its first value.
func (tx *Tx) writable(name string) (p *part, err error) {
	p, err = tx.part(name)
	if err != nil || p.bucket != nil {
		return p, err
	}
	defer rescue(&err, name)
	if p.count > 0 {
		return nil, damage(nil, "%s is missing", name)
	}
	p.bucket, err = tx.raw.CreateBucket([]byte(name))
	return p, err
}

// exclude takes the value of a key out of its part's sum, before another takes its place or none does.
func (tx *Tx) exclude(p *part, key []byte) (had bool, err error) {
	defer rescue(&err, p.name)
	sealed := p.get(key)
	if sealed == nil {
		return false, nil
	}
	p.include(sealed)
	return true, nil
}

// put seals a value into the arena and hands it to bbolt. A transaction in which it failed must not be committed,
// but may be rolled back: callers return the error from Update's function, and broken holds those who do not to it.
func (tx *Tx) put(p *part, key, value []byte) (err error) {
	defer rescue(&err, p.name)
	if p.name[0] == seriesPrefix[0] {
		p.bucket.FillPercent = fill
	}
	sealed, err := tx.sealValue(p.name, key, value)
	if err != nil {
		tx.broken = err
		return err
	}
	err = p.bucket.Put(key, sealed)
	if err != nil {
		tx.broken = err
		return err
	}
	tx.store.noted.note(p, key, sealed)
	p.include(sealed)
	p.changed, tx.changed = true, true
	return nil
}

// sealValue returns the sealed value in memory that lives until the end of the transaction.
func (tx *Tx) sealValue(part string, key, value []byte) ([]byte, error) {
	var nonce [nonceSize]byte
	_, err := io.ReadFull(tx.store.nonces, nonce[:])
	if err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	tx.bound = bindTo(tx.bound, part, key)
	return tx.seals.seal(tx.store.arena.take(len(value)+sealOverhead), nonce[:], tx.bound, value), nil
}

// writeSummaries seals the summaries of the parts that changed and the number of this transaction, which ties
// all of them to the one page of bbolt that has a checksum.
func (tx *Tx) writeSummaries() (err error) {
	defer rescue(&err, summariesBucket)
	bucket, err := tx.raw.CreateBucketIfNotExists([]byte(summariesBucket))
	if err != nil {
		return err
	}
	own := &part{name: summariesBucket, bucket: bucket}
	for name, p := range tx.parts {
		if !p.changed {
			continue
		}
		err = tx.put(own, []byte(name), p.encode())
		if err != nil {
			return err
		}
	}
	return tx.put(own, []byte(commitKey), binary.BigEndian.AppendUint64(nil, uint64(tx.raw.ID())))
}
