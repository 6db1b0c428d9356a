package ledger

import (
	"fmt"
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// Record gives an own record: its newest version, or the one asked for. ErrAbsent where there is none.
func (l *Ledger) Record(id RecordID, version uint64) (*ententev1.HeldRecord, error) {
	l.mu.RLock()
	r := l.state.records[id]
	var out *ententev1.HeldRecord
	if r != nil && r.pos != 0 {
		out = l.held(id, r)
	}
	l.mu.RUnlock()
	if out == nil {
		return nil, fmt.Errorf("record %s: %w", id, ErrAbsent)
	}
	err := l.store.View(func(v *store.View) error { return fillRecord(v, r, version, out) })
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", id, err)
	}
	return out, nil
}

// held is a record's state without its body. The caller holds the lock.
func (l *Ledger) held(id RecordID, r *record) *ententev1.HeldRecord {
	out := &ententev1.HeldRecord{RecordId: id[:], Authority: r.authority, Withdrawn: r.withdrawn, Deliveries: l.deliveries(r), ReleaseState: r.releaseState(),
		Restricted: r.restricted(), Hold: r.legalHold(l.cfg.Now()), Erased: r.erased}
	if r.retain != 0 && !r.erased {
		out.RetainUntil = timestamppb.New(time.Unix(r.retain, 0))
	}
	if r.intents == nil {
		return out
	}
	for i, in := range r.intents.list {
		out.Audiences = append(out.Audiences, in.audience)
		if r.sensitive&^in.approved != 0 {
			out.Pending = append(out.Pending, uint32(i))
		}
	}
	return out
}

// fillRecord adds the record itself: none where its content has been erased.
func fillRecord(v *store.View, r *record, version uint64, out *ententev1.HeldRecord) error {
	pos := r.pos
	if version != 0 && version != r.version {
		pos = r.head
	}
	for pos != 0 {
		value, err := v.Get(logSeries, pos)
		if err != nil {
			return fmt.Errorf("read log %d: %w", pos, err)
		}
		e, err := decodeRecordEvent(value)
		if err != nil {
			return fmt.Errorf("log %d: %w", pos, err)
		}
		if version != 0 && e.version != version {
			pos = e.previous
			continue
		}
		out.ReceivedAt = timestamppb.New(time.Unix(0, e.receivedAt).UTC())
		if e.erased() {
			return nil
		}
		out.Record = &ententev1.Record{}
		return proto.Unmarshal(e.record.join(), out.Record)
	}
	return fmt.Errorf("version %d: %w", version, ErrAbsent)
}

// listSlice is how many own records are looked at under the lock at a time.
const listSlice = 10_000

// eachOwn calls fn, which keeps neither the lock nor waits, with all own records in the order in which they first came, some
// at a time: meanwhile others get the lock. Which are new since it began is left open.
func (l *Ledger) eachOwn(fn func(at uint64, id RecordID, r *record)) {
	for from := 0; ; from += listSlice {
		l.mu.RLock()
		order := l.state.order[min(from, len(l.state.order)):min(from+listSlice, len(l.state.order))]
		for i, id := range order {
			fn(uint64(from+i), id, l.state.records[id])
		}
		l.mu.RUnlock()
		if len(order) < listSlice {
			return
		}
	}
}

// ListQuery narrows a list of own records.
type ListQuery struct {
	Authority string // empty: all
	Kinds     []ententev1.RecordKind
	Withdrawn *bool
	After     uint64 // from a response before
	Limit     int
	// Shows says whether a record may be shown to who asks; nil: all may.
	Shows func(*ententev1.HeldRecord) bool
}

func (q *ListQuery) lets(r *record) bool {
	return r != nil && r.pos != 0 && (q.Authority == "" || r.authority == q.Authority) && (len(q.Kinds) == 0 || slices.Contains(q.Kinds, r.kind)) &&
		(q.Withdrawn == nil || r.withdrawn == *q.Withdrawn)
}

// candidate is a record that a list may show, and its place in the order.
type candidate struct {
	at  uint64
	r   *record
	out *ententev1.HeldRecord
}

// Records lists own records in the order of their first versions, and where to go on; 0 at the end. Where to go on is said
// only where another record follows that may be shown: that others do is nothing to tell.
func (l *Ledger) Records(q ListQuery) ([]*ententev1.HeldRecord, uint64, error) {
	var list []*ententev1.HeldRecord
	at := q.After
	for {
		some := l.candidates(&q, at, q.Limit-len(list)+1)
		if len(some) == 0 {
			return list, 0, nil
		}
		at = some[len(some)-1].at + 1
		err := l.store.View(func(v *store.View) error {
			for _, c := range some {
				err := fillRecord(v, c.r, 0, c.out)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, 0, fmt.Errorf("list records: %w", err)
		}
		for _, c := range some {
			if q.Shows != nil && !q.Shows(c.out) {
				continue
			}
			if len(list) == q.Limit {
				return list, c.at, nil
			}
			list = append(list, c.out)
		}
	}
}

// candidates gives the next records that a query lets through, from a place in the order on.
func (l *Ledger) candidates(q *ListQuery, from uint64, most int) []candidate {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []candidate
	for i := from; i < uint64(len(l.state.order)) && len(list) < most; i++ {
		id := l.state.order[i]
		r := l.state.records[id]
		if q.lets(r) {
			list = append(list, candidate{at: i, r: r, out: l.held(id, r)})
		}
	}
	return list
}

// Stats are the figures of the own records.
type Stats struct {
	Records    uint64
	Waiting    uint64
	Pending    uint64 // for a second person
	StoreBytes int64
}

// Stats gives the figures.
func (l *Ledger) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return Stats{Records: uint64(len(l.state.order)), Waiting: uint64(len(l.state.waiting)), Pending: uint64(len(l.state.pending)), StoreBytes: l.store.Size()}
}

// LibraryRef is a lesson or practice that the node holds.
type LibraryRef struct {
	Owner  member.ID
	Record RecordID
	Kind   ententev1.RecordKind
}

// Library lists lessons and practices of the given kinds (all where none are given), own and received, newest first. What
// is withdrawn or hidden is not in it.
func (l *Ledger) Library(kinds []ententev1.RecordKind) []LibraryRef {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []LibraryRef
	seen := map[Name]bool{}
	for _, item := range slices.Backward(l.state.library) {
		n := Name{Owner: item.Owner, Record: item.Record}
		if seen[n] || len(kinds) > 0 && !slices.Contains(kinds, item.Kind) || !l.libraryHas(n) {
			continue
		}
		seen[n] = true
		list = append(list, item)
	}
	return list
}

func (l *Ledger) libraryHas(n Name) bool {
	if n.Owner == l.cfg.Self {
		r := l.state.records[n.Record]
		return r != nil && r.pos != 0 && !r.withdrawn && !r.erased && !r.restricted()
	}
	return len(l.libraryPlaces(n, func(string) bool { return true })) > 0
}

// libraryPlaces gives the entries that may show a received lesson or practice: none of a hidden stream or of a project that
// shows leaves out, and, where it was released under no project too, those only, for they are open to everybody who may
// ask. The caller holds the lock.
func (l *Ledger) libraryPlaces(n Name, shows func(project string) bool) []heldPlace {
	var open, inProjects []heldPlace
	for _, at := range l.state.held[n] {
		s := l.state.stream(at.stream)
		switch {
		case s.hidden || s.frozen || l.left(s) || !shows(s.project):
		case s.project == "":
			open = append(open, at)
		default:
			inProjects = append(inProjects, at)
		}
	}
	if len(open) > 0 {
		return open
	}
	return inProjects
}

// ownProject is the project under which an own lesson or practice is shown: none where that is open to the caller, and else
// the first of its audiences that is. The caller holds the lock.
func (l *Ledger) ownProject(r *record, shows func(project string) bool) (project string, ok bool) {
	if r == nil || r.pos == 0 || r.withdrawn || r.erased || r.restricted() || l.hidden()(r.retain) {
		return "", false
	}
	if shows("") {
		return "", true
	}
	if r.intents == nil {
		return "", false
	}
	for _, in := range r.intents.list {
		project := in.audience.GetProject().GetProjectId()
		if project != "" && shows(project) {
			return project, true
		}
	}
	return "", false
}

// LibraryRecord gives a lesson or practice in the form in which it was, or would be, released under one of the projects that
// shows lets through ("" is none). So what it was released under besides, and when, makes no difference. ErrAbsent for
// anything else.
func (l *Ledger) LibraryRecord(owner member.ID, id RecordID, shows func(project string) bool) (*ententev1.ReleasedRecord, error) {
	n := Name{Owner: owner, Record: id}
	l.mu.RLock()
	var places []heldPlace
	r := l.state.records[n.Record]
	project, there := "", false
	if owner == l.cfg.Self {
		project, there = l.ownProject(r, shows)
	} else {
		places = l.libraryPlaces(n, shows)
		there = len(places) > 0
	}
	l.mu.RUnlock()
	if !there {
		return nil, fmt.Errorf("library: %w", ErrAbsent)
	}
	out := &ententev1.ReleasedRecord{}
	err := l.store.View(func(v *store.View) error {
		released, err := l.libraryBytes(v, n, r, project, places)
		if err != nil {
			return err
		}
		if l.hidden()(releasedRetain(released)) {
			return ErrAbsent // over, and not yet erased
		}
		err = proto.Unmarshal(released, out)
		if err != nil || !isLibrary(KindOf(out.GetBody())) || out.GetEnvelope().GetProviderMember() != string(owner) {
			// Its owner's signed nonsense: one such record must not spoil the list of all others.
			return ErrAbsent
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("library: record %s: %w", n.Record, err)
	}
	return out, nil
}

func (l *Ledger) libraryBytes(v *store.View, n Name, r *record, project string, places []heldPlace) ([]byte, error) {
	if n.Owner != l.cfg.Self {
		value, err := v.Get(logSeries, places[len(places)-1].pos)
		if err != nil {
			return nil, err
		}
		decoded, err := decodeEvent(value)
		if err != nil {
			return nil, err
		}
		e, ok := decoded.(*receivedEvent)
		if !ok || len(e.payload) == 0 {
			return nil, ErrAbsent
		}
		released, _, err := splitPayload(e.payload)
		return released, err
	}
	value, err := v.Get(logSeries, r.pos)
	if err != nil {
		return nil, err
	}
	e, err := decodeRecordEvent(value)
	if err != nil {
		return nil, err
	}
	full := &ententev1.Record{}
	err = proto.Unmarshal(e.record.join(), full)
	if err != nil {
		return nil, err
	}
	f, err := l.releasedForm(n.Record, e.authority, full, nil, formKey(project), r.renewed())
	return f.released.join(), err
}
