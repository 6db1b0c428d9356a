package audit

import (
	"context"
	"fmt"
	"io"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
)

// CloseInterval closes the interval that has ended by now, if one has: it appends a leaf to the tree of intervals and signs
// the new heads. It is called regularly, a few times an interval, whether or not anything happened. Where no leaf was
// written for longer than an interval, because the node was off, one leaf stands for all of that time and says so by
// its end. Intervals end at whole multiples of their length; a clock that is set back ends one too, so that no wrong
// clock can keep the trail from being witnessed.
//
// If we crash here, the interval is closed with its heads, or it is still open and the next call closes it.
func (l *Log) CloseInterval(ctx context.Context) error {
	if !l.due(l.current(), l.cfg.Now()) {
		return nil
	}
	err := l.update(ctx, func(p *pending) error {
		now := l.cfg.Now() // it may have waited: entries of before the end are before it
		if !l.due(&p.state, now) {
			return nil
		}
		return l.close(p, now)
	})
	if err != nil {
		return fmt.Errorf("close an interval of the audit trail: %w", err)
	}
	return nil
}

func (l *Log) due(s *state, now time.Time) bool {
	return s.intervals.size() == 0 || !now.Truncate(l.cfg.Interval).Equal(s.last.End.Truncate(l.cfg.Interval))
}

func (l *Log) close(p *pending, now time.Time) error {
	one := trail.Interval{Number: p.intervals.size() + 1, End: now.UTC(), Size: p.entries.size(), Root: p.entries.root()}
	_, err := io.ReadFull(l.cfg.Rand, one.Salt[:])
	if err != nil {
		return fmt.Errorf("draw a salt: %w", err)
	}
	encoded, err := deterministic().Marshal(one.Message())
	if err != nil {
		return fmt.Errorf("encode interval %d: %w", one.Number, err)
	}
	err = p.intervals.append(p.tx, encoded, one.LeafHash())
	if err != nil {
		return err
	}
	p.last = one
	heads, err := l.sign(&p.state, now)
	if err != nil {
		return err
	}
	return putHeads(p.tx, keyHeads, heads)
}

// sign signs both heads of the trail with the key of now. So what was signed with an earlier key stays provable: it is under
// a head of the new one.
func (l *Log) sign(s *state, now time.Time) (*ententev1.TrailHeads, error) {
	checkpoint, err := l.signTree(trail.TreeIntervals, &s.intervals, now)
	if err != nil {
		return nil, err
	}
	newest, err := l.signTree(trail.TreeEntries, &s.entries, now)
	if err != nil {
		return nil, err
	}
	return &ententev1.TrailHeads{Checkpoint: checkpoint, Newest: newest}, nil
}

func (l *Log) signTree(name string, t *tree, now time.Time) ([]byte, error) {
	head := stream.TreeHead{Owner: l.cfg.Self, Tree: name, Size: t.size(), Root: t.root(), Time: now}
	return head.Sign(l.cfg.SigningKey())
}
