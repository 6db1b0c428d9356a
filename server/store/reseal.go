package store

import (
	"bytes"
	"context"
	"fmt"
)

// One step of Reseal changes at most so much: it holds up the writer about as long as a commit of the same size.
const (
	resealValues = 1000
	resealBytes  = 1 << 20
	// glanceValues is how many values a step looks at; those that need no change cost next to nothing.
	glanceValues = 20_000
)

// Reseal makes another keyring the one of the open file and seals all values with its current key that are sealed with
// another one, while readers and the writer go on. Afterwards no value needs an older key. progress (may be nil) is
// called with values looked at, values there are, and values sealed anew.
//
// The ring must hold every key that a value still needs: ErrWrongKey, and nothing is changed. ErrBusy while another
// Reseal or a Compact runs. An error later on leaves some values under older keys, and the new key current; so does the
// end of ctx. Reseal goes on from there, also after a restart with the new ring.
//
// If we crash here, each value is under one of the keys of the ring: they carry the id of their key.
//
// The older keys stay good for views until the store is closed. What is free in the file keeps old sealed bytes until it
// is used again or [Store.Compact] is done, and so do backups.
func (s *Store) Reseal(ctx context.Context, ring Keyring, progress func(done, total, resealed uint64)) error {
	err := s.resealAll(ctx, ring, progress)
	if err != nil {
		return fmt.Errorf("seal store anew: %w", err)
	}
	return nil
}

func (s *Store) resealAll(ctx context.Context, ring Keyring, progress func(done, total, resealed uint64)) error {
	if !s.caring.TryRLock() {
		return ErrBusy
	}
	defer s.caring.RUnlock()
	if !s.resealing.TryLock() {
		return ErrBusy
	}
	defer s.resealing.Unlock()
	next, err := newSealer(ring)
	if err != nil {
		return err
	}
	held, err := s.sealedBy(ctx)
	if err != nil {
		return err
	}
	for id, count := range held {
		if !next.knows(id) {
			return fmt.Errorf("%w: %d values need the key with id %x; name it as an older key", ErrWrongKey, count, id)
		}
	}
	s.setKeys(next)
	err = s.sealMeta()
	if err != nil {
		return err
	}
	r := &resealing{}
	err = s.View(func(v *View) error {
		return v.eachPart(func(name string, held summary) {
			r.names = append(r.names, name)
			r.total += held.count
		})
	})
	for err == nil && len(r.names) > 0 {
		err = ctx.Err()
		if err != nil {
			return err
		}
		err = s.Update(r.step)
		if err == nil && progress != nil {
			progress(min(r.done, r.total), r.total, r.resealed)
		}
	}
	if err == nil && progress != nil {
		progress(r.total, r.total, r.resealed)
	}
	return err
}

// setKeys is done between two Updates, so that each seals with one key.
func (s *Store) setKeys(next *sealer) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.seals.Store(next.after(s.seals.Load()))
}

// resealing is where one Reseal has got to. After a failed step it is of no more use.
type resealing struct {
	names                 []string // of the parts that are not done
	from                  []byte   // where to go on in the first of them
	done, total, resealed uint64
}

// step goes on through the parts until it has done its share.
func (r *resealing) step(tx *Tx) error {
	share := glance{values: resealValues, bytes: resealBytes, looks: glanceValues}
	for len(r.names) > 0 && !share.over() {
		p, err := tx.part(r.names[0])
		if err != nil {
			return err
		}
		before := share.looks
		next, found, err := tx.outdated(p, r.from, &share)
		if err != nil {
			return err
		}
		r.done += uint64(before - share.looks)
		for _, one := range found {
			err = tx.putAgain(p, one.key, one.plain)
			if err != nil {
				return err
			}
		}
		r.resealed += uint64(len(found))
		r.from = next
		if next != nil {
			continue
		}
		err = tx.resealSummary(p)
		if err != nil {
			return err
		}
		r.names = r.names[1:]
	}
	return nil
}

// glance is what is left of the share of a step.
type glance struct{ values, bytes, looks int }

func (g *glance) over() bool { return g.values <= 0 || g.bytes <= 0 || g.looks <= 0 }

type plainValue struct{ key, plain []byte }

// outdated collects values that are not sealed with the current key, from a key on, and says where to go on; nil: at the end.
// They are changed afterwards: a cursor does not bear changes.
func (tx *Tx) outdated(p *part, from []byte, share *glance) (next []byte, found []plainValue, err error) {
	if p.bucket == nil {
		return nil, nil, nil
	}
	defer rescue(&err, p.name)
	cursor := p.bucket.Cursor()
	key, sealed := cursor.Seek(from)
	for ; key != nil; key, sealed = cursor.Next() {
		if share.over() {
			return bytes.Clone(key), found, nil
		}
		share.looks--
		if tx.seals.isCurrent(sealed) {
			continue
		}
		plain, err := tx.openValue(make([]byte, 0, len(sealed)), p.name, key, sealed)
		if err != nil {
			return nil, nil, damage(err, "%s %s", p.name, keyText(p.name, key))
		}
		found = append(found, plainValue{bytes.Clone(key), plain})
		share.values--
		share.bytes -= len(sealed)
	}
	return nil, found, nil
}

// putAgain seals the same value anew.
func (tx *Tx) putAgain(p *part, key, plain []byte) error {
	_, err := tx.exclude(p, key)
	if err != nil {
		return err
	}
	return tx.put(p, key, plain)
}

// resealSummary has the summary of a part written again if it is not sealed with the current key.
func (tx *Tx) resealSummary(p *part) (err error) {
	defer rescue(&err, summariesBucket)
	sealed := tx.raw.Bucket([]byte(summariesBucket)).Get([]byte(p.name))
	if sealed != nil && !tx.seals.isCurrent(sealed) {
		p.changed, tx.changed = true, true
	}
	return nil
}

// Outdated counts what is not sealed with the current key: values, and what the store keeps of its own.
func (s *Store) Outdated(ctx context.Context) (uint64, error) {
	held, err := s.sealedBy(ctx)
	if err != nil {
		return 0, fmt.Errorf("count values under older keys: %w", err)
	}
	current := s.seals.Load().current.id
	var count uint64
	for id, n := range held {
		if id != current {
			count += n
		}
	}
	return count, nil
}

// sealedBy counts values by the id of their key, in short views.
func (s *Store) sealedBy(ctx context.Context) (map[keyID]uint64, error) {
	names := []string{metaBucket, summariesBucket}
	err := s.View(func(v *View) error {
		return v.eachPart(func(name string, _ summary) { names = append(names, name) })
	})
	if err != nil {
		return nil, err
	}
	held := map[keyID]uint64{}
	for _, name := range names {
		for from := []byte{}; from != nil; {
			err = ctx.Err()
			if err != nil {
				return nil, err
			}
			err = s.View(func(v *View) (err error) {
				from, err = v.countKeys(name, from, held)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return held, nil
}

// countKeys returns where to go on; nil: at the end.
func (v *View) countKeys(name string, from []byte, held map[keyID]uint64) (next []byte, err error) {
	defer rescue(&err, name)
	bucket := v.raw.Bucket([]byte(name))
	if bucket == nil {
		return nil, nil
	}
	cursor := bucket.Cursor()
	key, sealed := cursor.Seek(from)
	for range glanceValues {
		if key == nil {
			return nil, nil
		}
		plain := name == metaBucket && string(key) == schemaKey
		if !plain && len(sealed) >= keyIDSize {
			held[keyID(sealed[:keyIDSize])]++
		}
		key, sealed = cursor.Next()
	}
	return bytes.Clone(key), nil
}
