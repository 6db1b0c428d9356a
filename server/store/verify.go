package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// inspect checks a file that nobody may write meanwhile: pages first, because nothing else may be asked of bbolt
// before, then whether we can read it, then whether its parts are what their summaries say.
func (s *Store) inspect() (meta, error) {
	info, err := s.file.Stat()
	if err != nil {
		return meta{}, err
	}
	walk := walkPages(s.file, info.Size())
	err = walk.found.orNil()
	if err != nil {
		return meta{}, err
	}
	var m meta
	err = s.View(func(v *View) (err error) {
		m, err = v.readMeta()
		if err != nil {
			return err
		}
		return v.compare(walk)
	})
	return m, err
}

// compare holds what the pages add up to against what was sealed with the last transaction.
func (v *View) compare(walk *pageWalk) (err error) {
	defer rescue(&err, summariesBucket)
	found := &DamageError{}
	summaries := v.raw.Bucket([]byte(summariesBucket))
	if summaries == nil {
		return damage(nil, "%s is missing", summariesBucket)
	}
	commit, err := v.openValue(nil, summariesBucket, []byte(commitKey), summaries.Get([]byte(commitKey)))
	if err != nil {
		return damage(err, "%s %s", summariesBucket, commitKey)
	}
	if len(commit) != 8 || binary.BigEndian.Uint64(commit) != walk.commit {
		found.add("the pages are not all of the last transaction")
	}
	for name, held := range walk.parts {
		if name == metaBucket || name == summariesBucket {
			continue
		}
		want, err := v.summaryOf(name)
		if err != nil {
			found.join(err)
			continue
		}
		if want.count != held.count {
			found.add("%s has %d values, not %d", name, held.count, want.count)
		} else if want.sum != held.sum {
			v.explain(name, found)
		}
	}
	err = summaries.ForEach(func(name, _ []byte) error {
		if string(name) != commitKey && walk.parts[string(name)] == nil {
			found.add("%s is missing", name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return found.orNil()
}

// explain names the altered values of a part whose tags do not add up. If each can be opened, one is older.
func (v *View) explain(name string, found *DamageError) {
	before := len(found.Places)
	for from := []byte{}; from != nil; {
		var err error
		from, _, err = v.verifyValues(name, from, found)
		if err != nil {
			found.join(err)
			return
		}
	}
	if len(found.Places) == before {
		found.add("%s holds a value that was not last written there", name)
	}
}

// verifySlice is how many values one view of Verify opens: far less than MaxView allows.
const verifySlice = 1000

// Verify reads the whole file and opens every value. It calls progress (may be nil) with how many of how many values
// are done. All damage it finds is in one *DamageError. The writer has to wait for the first step, the check of all
// pages (about half a second a million values), and not for the rest.
func (s *Store) Verify(ctx context.Context, progress func(done, total uint64)) error {
	err := s.verify(ctx, progress)
	if err != nil {
		return fmt.Errorf("verify store: %w", err)
	}
	return nil
}

func (s *Store) verify(ctx context.Context, progress func(done, total uint64)) error {
	err := s.verifyPages()
	if err != nil {
		return err
	}
	var names []string
	var done, total uint64
	err = s.View(func(v *View) error {
		return v.eachPart(func(name string, held summary) {
			names = append(names, name)
			total += held.count
		})
	})
	if err != nil {
		return err
	}
	found := &DamageError{}
	for _, name := range names {
		for from := []byte{}; from != nil; {
			err = ctx.Err()
			if err != nil {
				return err
			}
			var opened uint64
			err = s.View(func(v *View) (err error) {
				from, opened, err = v.verifyValues(name, from, found)
				return err
			})
			if err != nil {
				return err
			}
			done += opened
			if progress != nil {
				progress(min(done, total), total)
			}
		}
	}
	return found.orNil()
}

// verifyPages stops the writer. bbolt's own check comes last: it would end the process on what the walk finds.
func (s *Store) verifyPages() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		return ErrClosed
	}
	_, err := s.inspect()
	if err != nil {
		return err
	}
	raw, err := s.db.Begin(!s.readOnly)
	if err != nil {
		return err
	}
	found := &DamageError{}
	for err := range raw.Check(bolt.WithKVStringer(bolt.HexKVStringer())) {
		found.add("%v", err)
	}
	err = raw.Rollback()
	if err != nil {
		return err
	}
	return found.orNil()
}

func (v *View) eachPart(fn func(name string, held summary)) (err error) {
	defer rescue(&err, summariesBucket)
	return v.raw.Bucket([]byte(summariesBucket)).ForEach(func(key, _ []byte) error {
		name := string(key)
		if name == commitKey {
			return nil
		}
		held, err := v.summaryOf(name)
		if err != nil {
			return err
		}
		fn(name, held)
		return nil
	})
}

// verifyValues opens the values of a part from a key on, and returns where to go on, nil at the end.
func (v *View) verifyValues(name string, from []byte, found *DamageError) (next []byte, opened uint64, err error) {
	p, err := v.part(name)
	if err != nil || p.bucket == nil {
		return nil, 0, err
	}
	cursor := p.bucket.Cursor()
	move := func() ([]byte, []byte) { return cursor.Seek(from) }
	for opened < verifySlice {
		key, err := v.verifyValue(p, move)
		if err != nil {
			found.join(err)
		}
		if key == nil {
			return nil, opened, nil
		}
		opened++
		next = append(append([]byte{}, key...), 0) // the least key behind it
		move = cursor.Next
	}
	return next, opened, nil
}

// verifyValue returns the key it was at, also with an error, and nil where it could not find one.
func (v *View) verifyValue(p *part, move func() (key, value []byte)) (key []byte, err error) {
	defer rescue(&err, p.name)
	key, sealed := move()
	if key == nil {
		return nil, nil
	}
	plain, err := v.openValue(v.plain[:0], p.name, key, sealed)
	if err != nil {
		return key, damage(err, "%s %s", p.name, keyText(p.name, key))
	}
	v.plain = plain
	return key, nil
}

func keyText(part string, key []byte) string {
	if strings.HasPrefix(part, seriesPrefix) && len(key) == 8 {
		return fmt.Sprint(binary.BigEndian.Uint64(key))
	}
	return fmt.Sprintf("%x", key)
}
