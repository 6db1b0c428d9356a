package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
	"entente.example/entente/server/store"
)

// The tables of a witness: by member the head that was signed last, and what was refused as a fork.
const (
	tableSigned = "audit-signed"
	tableForks  = "audit-forks"
)

// maxForks bounds how many forks are kept of one member: the first ones prove it, and a member must not fill our disk.
const maxForks = 16

// signedHead is the newest head of another member's trail that this node has signed. The zero value has size 0: every trail
// continues the empty one, and there is nothing to prove.
type signedHead struct {
	head stream.TreeHead
	note []byte // with both signatures; nil: none was signed
}

// contradicts says why a newly shown head and the one that was signed cannot be of one trail, as far as the two tell by
// themselves; nil where they may be.
func (s signedHead) contradicts(other stream.TreeHead) error {
	if s.note == nil {
		return nil
	}
	if other.Size == s.head.Size && other.Root != s.head.Root {
		return fmt.Errorf("two heads of %d intervals", other.Size)
	}
	if other.Size < s.head.Size && other.Time.After(s.head.Time) {
		return fmt.Errorf("%d intervals, and earlier there were %d", other.Size, s.head.Size)
	}
	return nil
}

func getSigned(v *store.View, of member.ID) (signedHead, error) {
	note, err := v.GetKey(tableSigned, []byte(of))
	if err != nil || note == nil {
		return signedHead{}, err
	}
	signed, _, err := stream.SplitCosigned(note)
	if err != nil {
		return signedHead{}, fmt.Errorf("the head that was signed last: %w", err)
	}
	// Not verified again: it was when it was written, and the member's key may have changed since.
	head, err := stream.ReadTreeHead(signed, of, trail.TreeIntervals)
	if err != nil {
		return signedHead{}, fmt.Errorf("the head that was signed last: %w", err)
	}
	return signedHead{head: head, note: note}, nil
}

func putSigned(tx *store.Tx, of member.ID, s shown) error {
	return tx.Put(tableSigned, []byte(of), slices.Concat(s.note, s.line))
}

// Countersigned gives the newest head of another member's trail that this node has signed, a note with both signatures; nil
// where there is none. An auditor of that member compares with it: see trail.Verifier.Continues.
func (l *Log) Countersigned(of member.ID) ([]byte, error) {
	var held signedHead
	err := l.store.View(func(v *store.View) (err error) {
		held, err = getSigned(v, of)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the countersigned head of %s: %w", of, err)
	}
	return held.note, nil
}

// Fork is what a member showed that cannot be one trail: notes that prove it to whoever has the member's keys.
type Fork struct {
	// Of is the member, SeenAt when this node refused.
	Of     member.ID
	SeenAt time.Time
	// Signed is the head that this node had signed, with both signatures; Shown is the one that it refused, with the
	// member's. Where Shown is the longer one, the two prove it together with the fact that no consistency proof exists.
	Signed []byte
	Shown  []byte
}

// Forks gives what was refused of a member's trails as not continuing what was signed, oldest first, the first 16.
func (l *Log) Forks(of member.ID) ([]Fork, error) {
	var list []Fork
	err := l.store.View(func(v *store.View) (err error) {
		list, err = getForks(v, of)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the forks of %s: %w", of, err)
	}
	return list, nil
}

func getForks(v *store.View, of member.ID) ([]Fork, error) {
	var list []Fork
	for i := range maxForks {
		value, err := v.GetKey(tableForks, forkKey(of, i))
		if err != nil {
			return nil, err
		}
		if value == nil {
			return list, nil
		}
		fork, err := decodeFork(of, value)
		if err != nil {
			return nil, err
		}
		list = append(list, fork)
	}
	return list, nil
}

// keepFork keeps both heads, unless the same two are kept or there are enough.
func keepFork(tx *store.Tx, of member.ID, held []byte, s shown, now time.Time) error {
	list, err := getForks(&tx.View, of)
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(list, func(f Fork) bool { return bytes.Equal(f.Signed, held) && bytes.Equal(f.Shown, s.note) })
	if known || len(list) == maxForks {
		return nil
	}
	return tx.Put(tableForks, forkKey(of, len(list)), Fork{SeenAt: now, Signed: held, Shown: s.note}.encode())
}

func forkKey(of member.ID, i int) []byte { return append([]byte(of), 0, byte(i)) }

// encode gives seconds (8 bytes), the length of Signed (4), Signed, Shown.
func (f Fork) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(f.SeenAt.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Signed)))
	b = append(b, f.Signed...)
	return append(b, f.Shown...)
}

func decodeFork(of member.ID, b []byte) (Fork, error) {
	if len(b) < 12 || uint64(len(b)-12) < uint64(binary.BigEndian.Uint32(b[8:])) {
		return Fork{}, errors.New("a kept fork is malformed")
	}
	end := 12 + int(binary.BigEndian.Uint32(b[8:]))
	return Fork{Of: of, SeenAt: time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC(), Signed: b[12:end:end], Shown: b[end:]}, nil
}
