package audit

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
	"entente.example/entente/server/store"
)

// The table of the package, and its keys: what is signed of the own trail. What is signed for others has tables of its own.
const (
	table        = "audit"
	keyHeads     = "heads"     // TrailHeads of the interval that was closed last, without what a witness signed
	keyWitnessed = "witnessed" // TrailHeads with what a witness signed last
)

// state is what the file holds, without the entries. It is never changed once others can see it.
type state struct {
	entries   tree
	intervals tree
	last      trail.Interval // the newest one, zero where there is none
	witnessed witnessed
}

// witnessed is the newest head of the own trail that a witness has signed.
type witnessed struct {
	by   member.ID // empty: none
	note []byte    // with both signatures
	head stream.TreeHead
	at   time.Time // the witness's clock
}

// readState reads what the file holds and holds the parts against each other: a file that is sound as a file, but was put
// together by somebody, is refused.
func readState(v *store.View, self member.ID) (*state, error) {
	s := &state{}
	var err error
	s.entries, err = openTree(v, entriesForest())
	if err != nil {
		return nil, fmt.Errorf("entries: %w", err)
	}
	s.intervals, err = openTree(v, intervalsForest())
	if err != nil {
		return nil, fmt.Errorf("intervals: %w", err)
	}
	err = s.readLast(v)
	if err != nil {
		return nil, err
	}
	err = s.readHeads(v, self)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// readLast reads the newest interval, which must be what the entries say.
func (s *state) readLast(v *store.View) error {
	if s.intervals.size() == 0 {
		return nil
	}
	value, err := v.Get(s.intervals.values, s.intervals.size())
	if err != nil {
		return fmt.Errorf("newest interval: %w", err)
	}
	s.last, err = decodeInterval(value)
	if err != nil {
		return fmt.Errorf("newest interval: %w", err)
	}
	if s.last.Size > s.entries.size() {
		return fmt.Errorf("interval %d was closed at %d entries, and there are %d", s.last.Number, s.last.Size, s.entries.size())
	}
	root, err := stream.RootAt(s.entries.nodes(v), s.last.Size)
	if err != nil {
		return fmt.Errorf("root at interval %d: %w", s.last.Number, err)
	}
	if root != s.last.Root {
		return fmt.Errorf("interval %d was closed over other entries than these", s.last.Number)
	}
	return nil
}

// readHeads reads what was signed last. The signatures are not looked at: the keys may have changed since.
func (s *state) readHeads(v *store.View, self member.ID) error {
	heads, err := getHeads(v, keyHeads)
	if err != nil {
		return err
	}
	if len(heads.GetCheckpoint()) > 0 {
		head, err := stream.ReadTreeHead(heads.GetCheckpoint(), self, trail.TreeIntervals)
		if err != nil {
			return err
		}
		if head.Size != s.intervals.size() || head.Root != s.intervals.root() {
			return fmt.Errorf("%d intervals are there, and the head of %d that was signed last is not theirs", s.intervals.size(), head.Size)
		}
	}
	heads, err = getHeads(v, keyWitnessed)
	if err != nil || len(heads.GetWitnessed()) == 0 {
		return err
	}
	s.witnessed, err = readWitnessed(heads, self)
	return err
}

func readWitnessed(heads *ententev1.TrailHeads, self member.ID) (witnessed, error) {
	signed, line, err := stream.SplitCosigned(heads.GetWitnessed())
	if err != nil {
		return witnessed{}, err
	}
	w := witnessed{by: member.ID(heads.GetWitness()), note: heads.GetWitnessed()}
	w.head, err = stream.ReadTreeHead(signed, self, trail.TreeIntervals)
	if err != nil {
		return witnessed{}, err
	}
	w.at, err = stream.CosignatureTime(line)
	return w, err
}

func getHeads(v *store.View, key string) (*ententev1.TrailHeads, error) {
	value, err := v.GetKey(table, []byte(key))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	heads := &ententev1.TrailHeads{}
	err = proto.Unmarshal(value, heads)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return heads, nil
}

func putHeads(tx *store.Tx, key string, heads *ententev1.TrailHeads) error {
	value, err := deterministic().Marshal(heads)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	return tx.Put(table, []byte(key), value)
}

func decodeInterval(value []byte) (trail.Interval, error) {
	m := &ententev1.TrailInterval{}
	err := proto.Unmarshal(value, m)
	if err != nil {
		return trail.Interval{}, fmt.Errorf("decode interval: %w", err)
	}
	return trail.ParseInterval(m)
}
