package ledger

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// maxOrigins is from how many records, own ones on the way counted in, one may have been made.
const maxOrigins = 256

func tooManyOrigins() []*ententev1.FieldViolation {
	return violation("envelope.source_refs", fmt.Sprintf("name more than %d records", maxOrigins))
}

// madeFrom are the records that one was made from, as it names them itself.
func (r *record) madeFrom() []Name { return r.names[len(r.names)-r.sources:] }

// origins follows own records to the records of others that something was made from. It reads what the own ones say of
// themselves now, so a correction of one that names more counts at the next plan, which addVersion asks for; an erased one keeps
// the ids of its sources. Own records in a circle are followed once. An own record that is not here, because it was not pushed
// yet or was lost, could have been made from anything: known is false, as it is where there are too many, and what was made
// from it waits at home.
func origins(self member.ID, record func(RecordID) *record, from []Name) (list []Name, known bool) {
	seen := make(map[Name]bool, len(from))
	next := slices.Clone(from)
	for len(next) > 0 {
		n := next[0]
		next = next[1:]
		if seen[n] {
			continue
		}
		seen[n] = true
		if len(seen) > maxOrigins {
			return nil, false
		}
		if n.Owner != self {
			list = append(list, n)
			continue
		}
		r := record(n.Record)
		if r == nil || r.pos == 0 {
			return nil, false
		}
		next = append(next, r.madeFrom()...)
	}
	return list, true
}

func (b *batch) origins(from []Name) ([]Name, bool) { return origins(b.l.cfg.Self, b.record, from) }

// fromOthers tells whether an own record was made from others' records, or may have been.
func (b *batch) fromOthers(r *record) bool {
	list, known := b.origins(r.madeFrom())
	return !known || len(list) > 0
}

// permittedThrough is world.permitted of an own record.
func (b *batch) permittedThrough(n Name, purpose ententev1.Purpose) memberSet {
	list, known := b.origins([]Name{n})
	if !known {
		return nil
	}
	set := b.memo.directory.members()
	for _, origin := range list {
		may := b.permitted(origin, purpose)
		set = slices.DeleteFunc(set, func(id member.ID) bool { return !may.has(id) })
	}
	return set
}

// withMade adds to own records those that were made from them, and from those in turn.
func (b *batch) withMade(ids []RecordID) []RecordID {
	ids = ids[:len(ids):len(ids)]
	for i := 0; i < len(ids); i++ {
		n := Name{Owner: b.l.cfg.Self, Record: ids[i]}
		for _, id := range b.naming(n) {
			r := b.record(id)
			if r != nil && slices.Contains(r.madeFrom(), n) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// Sources gives the records of others that an own record was made from, by way of other own ones too. known is false where that
// cannot be told: nothing may be said to be free of conditions then.
func (l *Ledger) Sources(id RecordID) (list []Name, known bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return origins(l.cfg.Self, func(id RecordID) *record { return l.state.records[id] }, []Name{{Owner: l.cfg.Self, Record: id}})
}

// unfit is world.unfit. It reads, so it is asked only of what was made from others' records: when that was pushed they may
// not have been here yet, and a correction of theirs may bring stricter conditions.
func (b *batch) unfit(r *record) bool {
	if b.l.cfg.CheckDerived == nil || b.from == nil || b.failed != nil {
		return b.failed != nil // without a source, what stands was fit when it was planned
	}
	if !b.fromOthers(r) {
		return false
	}
	full, err := b.wholeAt(b.from, r.pos)
	if err != nil {
		b.failed = err
		return true
	}
	wrong, err := b.underived(b.from, full, r.names, r.sources)
	if err != nil {
		b.failed = err
	}
	return err != nil || len(wrong) > 0
}

// wholeAt reads the version of an own record at a position in the log.
func (b *batch) wholeAt(from source, pos uint64) (*ententev1.Record, error) {
	value, err := from.Get(logSeries, pos)
	if err != nil {
		return nil, fmt.Errorf("read log %d: %w", pos, err)
	}
	e, err := decodeRecordEvent(value)
	if err != nil {
		return nil, fmt.Errorf("log %d: %w", pos, err)
	}
	full := &ententev1.Record{}
	err = proto.Unmarshal(e.record.join(), full)
	if err != nil {
		return nil, fmt.Errorf("read record at log %d: %w", pos, err)
	}
	return full, nil
}

// underived finds what a record lacks that was made from records of others which are held here, at first hand or by way of own
// ones. Of the own ones it names, those that were made from others' records are asked too: in the form in which they would
// leave whole.
func (b *batch) underived(from source, r *ententev1.Record, names []Name, sources int) ([]*ententev1.FieldViolation, error) {
	if b.l.cfg.CheckDerived == nil || sources == 0 {
		return nil, nil
	}
	made := names[len(names)-sources:]
	list, known := b.origins(made)
	if !known {
		return nil, nil // it waits; see origins
	}
	if len(list) == 0 {
		return nil, nil
	}
	var forms [][]byte
	for _, n := range list {
		held, err := b.heldForms(from, n)
		if err != nil {
			return nil, err
		}
		forms = append(forms, held...)
	}
	for _, n := range made {
		own, err := b.ownForm(from, n)
		if err != nil {
			return nil, err
		}
		forms = append(forms, own...)
	}
	return b.l.cfg.CheckDerived(r, forms), nil
}

// heldForms are the released forms in which another member's record is held.
func (b *batch) heldForms(from source, n Name) ([][]byte, error) {
	var list [][]byte
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
	return list, nil
}

// ownForm is an own record that was made from others' as it would leave whole; none of one that is erased, or was not.
func (b *batch) ownForm(from source, n Name) ([][]byte, error) {
	if n.Owner != b.l.cfg.Self {
		return nil, nil
	}
	r := b.record(n.Record)
	if r == nil || r.erased || !b.fromOthers(r) {
		return nil, nil
	}
	full, err := b.wholeAt(from, r.pos)
	if err != nil {
		return nil, err
	}
	body, err := deterministic().Marshal(full.GetBody())
	if err != nil {
		return nil, fmt.Errorf("record %s: encode body: %w", n.Record, err)
	}
	form, err := b.l.releasedForm(n.Record, r.authority, full, body, newFormKey("", ""), r.renewed())
	if err != nil {
		return nil, err
	}
	return [][]byte{form.released.join()}, nil
}
