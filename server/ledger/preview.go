package ledger

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// Form is what one member gets of one record.
type Form struct {
	Member   member.ID
	Kind     ententev1.StreamKind
	Project  string
	Released []byte
	Standing bool // it has that already
}

// Previewed is what would become of one record.
type Previewed struct {
	Record     RecordID
	Reference  string
	Violations []*ententev1.FieldViolation
	Grounds    uint8 // for which a second person would have to let it go
	Forms      []Form
	Losing     []member.ID
	Waiting    bool
}

// PreviewRelease works out what a release would do, and changes nothing: the same planning, on the state as it is. Records of
// the same call that name each other are looked at as if they were released together.
func (l *Ledger) PreviewRelease(ctx context.Context, authority string, refs []string, audiences []*ententev1.Audience, replace bool, fn func(Previewed) error) error {
	asked, wrong := l.asked(ctx, audiences, replace)
	if len(wrong) > 0 {
		for _, ref := range refs {
			err := fn(Previewed{Record: l.RecordID(authority, ref), Reference: ref, Violations: wrong})
			if err != nil {
				return err
			}
		}
		return nil
	}
	together := map[RecordID]bool{}
	for _, ref := range refs {
		together[l.RecordID(authority, ref)] = true
	}
	for _, ref := range refs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		one, err := l.previewRelease(l.RecordID(authority, ref), asked, replace, together)
		if err != nil {
			return fmt.Errorf("preview a release: %w", err)
		}
		one.Reference = ref
		err = fn(one)
		if err != nil {
			return err
		}
	}
	return nil
}

// PreviewPending works out what would become of a record if what waits of it were let go.
func (l *Ledger) PreviewPending(id RecordID) (Previewed, error) {
	one, err := l.previewRelease(id, nil, false, map[RecordID]bool{id: true})
	if err != nil {
		return one, fmt.Errorf("preview a pending release: %w", err)
	}
	return one, nil
}

func (l *Ledger) previewRelease(id RecordID, asked []intent, replace bool, together map[RecordID]bool) (one Previewed, err error) {
	for again := true; again && err == nil; {
		one = Previewed{Record: id}
		err = l.store.View(func(v *store.View) error {
			l.mu.RLock()
			defer l.mu.RUnlock()
			// The state may tell of a commit that came after the view began: then once more, with a view of that.
			again = l.state.logged > v.Len(logSeries)
			if again {
				return nil
			}
			return l.reading(v).previewOne(v, asked, replace, together, &one)
		})
	}
	return one, err
}

func (b *batch) previewOne(v *store.View, asked []intent, replace bool, together map[RecordID]bool, one *Previewed) error {
	known := b.record(one.Record)
	list, wrong, err := b.intended(v, one.Record, known, asked, replace)
	if err != nil || len(wrong) > 0 {
		one.Violations = wrong
		return err
	}
	as := known.clone()
	as.intents = &intents{list: approvedAll(list)}
	for _, in := range list {
		one.Grounds |= as.sensitive &^ in.approved
	}
	w := b.together(v, together, asked, replace)
	p := planRecord(w, as)
	if b.failed != nil {
		return b.failed
	}
	one.Waiting = p.waiting
	return b.fillForms(v, w, as, p, one)
}

// approvedAll is a list of intents as if a second person had let all of them go.
func approvedAll(list []intent) []intent {
	list = slices.Clone(list)
	for i := range list {
		list[i].approved = beforeApprovals
	}
	return list
}

// together is the world in which the records of one call are released together, and a second person has let all of them go:
// who may read one that another names is who would read it then.
func (b *batch) together(v *store.View, ids map[RecordID]bool, asked []intent, replace bool) world {
	w := b.world()
	then := map[RecordID]memberSet{}
	w.readersOf = func(n Name) memberSet {
		if n.Owner != b.l.cfg.Self || !ids[n.Record] {
			return b.readersOf(n)
		}
		known, done := then[n.Record]
		if !done {
			then[n.Record] = b.readersOf(n) // for records that name each other
			known = b.readersThen(v, w, n.Record, asked, replace)
			then[n.Record] = known
		}
		return known
	}
	return w
}

// readersThen is who would read a record of the call.
func (b *batch) readersThen(v *store.View, w world, id RecordID, asked []intent, replace bool) memberSet {
	r := b.record(id)
	list, wrong, err := b.intended(v, id, r, asked, replace)
	if err != nil {
		b.failed = err
	}
	if err != nil || len(wrong) > 0 {
		return b.readersOf(Name{Owner: b.l.cfg.Self, Record: id})
	}
	as := r.clone()
	as.intents = &intents{list: approvedAll(list)}
	p := planRecord(w, as)
	for _, gone := range p.withdraw {
		as.places[gone.place].withdrawn = true
	}
	var readers memberSet
	for _, at := range as.places {
		if !at.withdrawn {
			readers = readers.union(b.stream(at.stream).readers)
		}
	}
	for _, c := range p.release {
		readers = readers.union(c.readers).union(c.extra)
	}
	return readers
}

// fillForms says who would hold what: by what stands and stays, and by what would be released.
func (b *batch) fillForms(v *store.View, w world, r *record, p plan, one *Previewed) error {
	value, err := v.Get(logSeries, r.pos)
	if err != nil {
		return fmt.Errorf("read log %d: %w", r.pos, err)
	}
	e, err := decodeRecordEvent(value)
	if err != nil {
		return fmt.Errorf("log %d: %w", r.pos, err)
	}
	full := &ententev1.Record{}
	err = proto.Unmarshal(e.record.join(), full)
	if err != nil {
		return fmt.Errorf("read record %s: %w", one.Record, err)
	}
	made := map[formKey][]byte{}
	form := func(key formKey) ([]byte, error) {
		released, ok := made[key]
		if ok {
			return released, nil
		}
		f, err := b.l.releasedForm(one.Record, e.authority, full, nil, key, r.renewed())
		made[key] = f.released.join()
		return made[key], err
	}
	falls := map[int]bool{}
	for _, w := range p.withdraw {
		falls[w.place] = true
	}
	var before memberSet
	for i, at := range r.places {
		if at.withdrawn {
			continue
		}
		s := b.stream(at.stream)
		before = before.union(s.readers)
		if falls[i] {
			continue
		}
		released, err := form(newFormKey(s.project, at.cut))
		if err != nil {
			return err
		}
		for _, m := range s.readers {
			one.Forms = append(one.Forms, Form{Member: m, Kind: s.kind, Project: s.project, Released: released, Standing: true})
		}
	}
	for _, c := range p.release {
		released, err := form(newFormKey(c.key.project, c.cut))
		if err != nil {
			return err
		}
		for _, m := range c.readers.union(c.extra) {
			one.Forms = append(one.Forms, Form{Member: m, Kind: c.key.kind, Project: c.key.project, Released: released})
		}
	}
	slices.SortStableFunc(one.Forms, func(a, b Form) int { return slices.Compare([]byte(a.Member), []byte(b.Member)) })
	one.Losing = before.without(members(one.Forms)...)
	return nil
}

func members(forms []Form) []member.ID {
	var list []member.ID
	for _, f := range forms {
		list = append(list, f.Member)
	}
	return list
}
