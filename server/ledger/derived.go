package ledger

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// unfit is world.unfit. It reads, so it is asked only of what was made from others' records: when that was pushed they may
// not have been here yet, and a correction of theirs may bring stricter conditions.
func (b *batch) unfit(r *record) bool {
	if b.l.cfg.CheckDerived == nil || b.from == nil || b.failed != nil {
		return b.failed != nil // without a source, what stands was fit when it was planned
	}
	value, err := b.from.Get(logSeries, r.pos)
	if err != nil {
		b.failed = fmt.Errorf("read log %d: %w", r.pos, err)
		return true
	}
	e, err := decodeRecordEvent(value)
	if err != nil {
		b.failed = fmt.Errorf("log %d: %w", r.pos, err)
		return true
	}
	full := &ententev1.Record{}
	err = proto.Unmarshal(e.record.join(), full)
	if err != nil {
		b.failed = fmt.Errorf("read record at log %d: %w", r.pos, err)
		return true
	}
	wrong, err := b.underived(b.from, full, r.names, r.sources)
	if err != nil {
		b.failed = err
	}
	return err != nil || len(wrong) > 0
}

// underived finds what a record lacks that was made from records of others which are held here.
func (b *batch) underived(from source, r *ententev1.Record, names []Name, sources int) ([]*ententev1.FieldViolation, error) {
	if b.l.cfg.CheckDerived == nil || sources == 0 {
		return nil, nil
	}
	var list [][]byte
	for _, n := range names[len(names)-sources:] {
		for _, at := range b.heldPlaces(n) {
			value, err := from.Get(logSeries, at.pos)
			if err != nil {
				return nil, fmt.Errorf("read log %d: %w", at.pos, err)
			}
			decoded, err := decodeEvent(value)
			if err != nil {
				return nil, fmt.Errorf("log %d: %w", at.pos, err)
			}
			e, ok := decoded.(*receivedEvent)
			if !ok {
				continue
			}
			released, _, err := splitPayload(e.payload)
			if err == nil && released != nil {
				list = append(list, slices.Clone(released))
			}
		}
	}
	return b.l.cfg.CheckDerived(r, list), nil
}
