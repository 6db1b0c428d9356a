package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

const (
	// One batch of a compaction is at most so much, or one value: read in one view, and held in memory.
	batchValues = 1000
	batchBytes  = 1 << 20

	// compactSync is how much of the copy is written before it is brought to disk: see syncEvery. Less of it at a time keeps
	// the commits of the running node, and the last step, shorter.
	compactSync = 4 << 20

	// maxNoted bounds what is noted between two batches, beside what one transaction changes: about 10 MiB of memory.
	maxNoted = 1 << 16
)

// place is a key of a part.
type place struct{ part, key string }

// piece is a value on its way into the copy; sealed is nil where there is none any more.
type piece struct {
	part        string
	key, sealed []byte
}

// notes is what writers changed and a compaction has yet to copy. It is the writer's, except for count.
type notes struct {
	keys   map[place]struct{}  // replaced, put or deleted
	grown  map[string]struct{} // series with values beyond those that they had
	bytes  int
	values int
	count  atomic.Int64 // of keys
	erased erasures     // since the compaction began
	stop   context.CancelCauseFunc
}

func newNotes() *notes {
	return &notes{keys: map[place]struct{}{}, grown: map[string]struct{}{}}
}

// note notes a change of a part, before it is committed: to copy a value once more does no harm.
func (n *notes) note(p *part, key, sealed []byte) {
	if n == nil || p.name == metaBucket || p.name == summariesBucket {
		return
	}
	n.values++
	n.bytes += len(sealed)
	if isSeries(p.name) && binary.BigEndian.Uint64(key) > p.count {
		n.grown[p.name] = struct{}{} // its end is read on from where the copy has got to
		return
	}
	n.keys[place{p.name, string(key)}] = struct{}{}
	n.count.Store(int64(len(n.keys)))
}

// take hands over what is noted, and says whether a batch can hold it.
func (n *notes) take() (keys []place, grown []string, little bool) {
	little = n.values <= batchValues && n.bytes <= batchBytes
	keys = slices.SortedFunc(maps.Keys(n.keys), func(a, b place) int {
		return cmp.Or(strings.Compare(a.part, b.part), strings.Compare(a.key, b.key))
	})
	grown = slices.Sorted(maps.Keys(n.grown))
	clear(n.keys)
	clear(n.grown)
	n.values, n.bytes = 0, 0
	n.count.Store(0)
	return keys, grown, little
}

func isSeries(part string) bool { return strings.HasPrefix(part, seriesPrefix) }

// copyQueued copies until nothing is queued.
func (c *compaction) copyQueued(ctx context.Context) error {
	for len(c.keys) > 0 || len(c.parts) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := c.store.View(c.read)
		if err != nil {
			return err
		}
		err = c.write()
		if err != nil {
			return err
		}
		c.done += uint64(len(c.batch))
		if c.progress != nil {
			c.progress(min(c.done, c.total), c.total)
		}
		if c.noted.count.Load() > maxNoted { // never while this goroutine holds up the writer
			c.takeNotes()
		}
	}
	return nil
}

// read collects a batch.
func (c *compaction) read(v *View) error {
	c.batch, c.size = c.batch[:0], 0
	for len(c.keys) > 0 && !c.full() {
		err := c.readKey(v, c.keys[0])
		if err != nil {
			return err
		}
		c.keys = c.keys[1:]
	}
	for len(c.parts) > 0 && !c.full() {
		ended, err := c.readPart(v, c.parts[0])
		if err != nil {
			return err
		}
		if ended {
			c.parts = c.parts[1:]
		}
	}
	return nil
}

func (c *compaction) full() bool { return len(c.batch) >= batchValues || c.size >= batchBytes }

func (c *compaction) readKey(v *View, at place) (err error) {
	defer rescue(&err, at.part)
	bucket := v.raw.Bucket([]byte(at.part))
	if bucket == nil {
		return nil // made by a transaction that failed
	}
	key := []byte(at.key)
	sealed := bucket.Get(key)
	if sealed == nil {
		c.batch = append(c.batch, piece{part: at.part, key: key})
		return nil
	}
	return c.collect(at.part, key, sealed)
}

// readPart goes on in a part, and says whether it came to the end.
func (c *compaction) readPart(v *View, name string) (ended bool, err error) {
	defer rescue(&err, name)
	bucket := v.raw.Bucket([]byte(name))
	if bucket == nil {
		return true, nil // as above; or damage, which the comparison of summaries finds
	}
	cursor := bucket.Cursor()
	key, sealed := cursor.Seek(c.next[name])
	for ; key != nil; key, sealed = cursor.Next() {
		if c.full() {
			c.next[name] = bytes.Clone(key)
			return false, nil
		}
		err = c.collect(name, key, sealed)
		if err != nil {
			return false, err
		}
		c.next[name] = append(append(c.next[name][:0], key...), 0) // the least key behind it
	}
	return true, nil
}

// collect takes a copy: the view ends before the batch is written.
func (c *compaction) collect(part string, key, sealed []byte) error {
	if len(sealed) < sealOverhead {
		return damage(errTooShort, "%s %s", part, keyText(part, key))
	}
	both := append(append(make([]byte, 0, len(key)+len(sealed)), key...), sealed...)
	c.batch = append(c.batch, piece{part, both[:len(key):len(key)], both[len(key):]})
	c.size += len(both)
	return nil
}

// write puts the batch into the copy, and reads it again.
func (c *compaction) write() (err error) {
	if len(c.batch) == 0 {
		return nil
	}
	defer rescue(&err, "write the copy")
	raw, err := c.fresh.db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = rollback(raw) }() // where it is not committed
	for _, one := range c.batch {
		err = c.apply(raw, one)
		if err != nil {
			return err
		}
	}
	err = tryCommit(raw)
	if err != nil {
		return err
	}
	err = c.readAgain()
	if err != nil {
		return err
	}
	c.unsynced += c.size
	if c.unsynced < compactSync {
		return nil
	}
	c.unsynced = 0
	return c.fresh.db.Sync()
}

// apply keeps the summary of the part with each change.
func (c *compaction) apply(raw *bolt.Tx, one piece) (err error) {
	bucket := raw.Bucket([]byte(one.part))
	if bucket == nil {
		bucket, err = raw.CreateBucket([]byte(one.part))
	}
	if err != nil {
		return err
	}
	held := c.summaryOf(one.part)
	former := bucket.Get(one.key)
	if former != nil {
		held.turn(one.part, one.key, former)
		held.count--
	}
	if one.sealed == nil {
		return bucket.Delete(one.key)
	}
	held.turn(one.part, one.key, one.sealed)
	held.count++
	bucket.FillPercent = fill
	return bucket.Put(one.key, one.sealed)
}

func (c *compaction) summaryOf(part string) *summary {
	held, known := c.held[part]
	if !known {
		held = &summary{}
		c.held[part] = held
	}
	return held
}

// turn adds the value of a key to the sum of a part, or takes it out.
func (s *summary) turn(part string, key, sealed []byte) {
	s.include(sealed)
	if !isSeries(part) {
		fold(&s.sum, key)
	}
}

func (c *compaction) readAgain() error {
	raw, err := c.fresh.db.Begin(false)
	if err != nil {
		return err
	}
	defer func() { _ = rollback(raw) }()
	for _, one := range c.batch {
		bucket := raw.Bucket([]byte(one.part))
		if bucket == nil || !bytes.Equal(bucket.Get(one.key), one.sealed) {
			return fmt.Errorf("check the copy: %w", damage(nil, "%s %s is not what was copied", one.part, keyText(one.part, one.key)))
		}
	}
	return nil
}
