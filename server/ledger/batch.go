package ledger

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// Parts of the data file.
var logSeries = store.NewSeries("log")

const (
	tableStreams = "streams" // stream number -> what never changes: id, owner, opening
	tableHeads   = "heads"   // stream number -> what changes with each batch
	tableAhead   = "ahead"   // target -> withdrawal received before, or after, its target
	tableForks   = "forks"   // stream id -> the contradicting heads
)

func entrySeries(no uint32) store.Series { return store.NewSeries(fmt.Sprintf("entries-%08x", no)) }
func tileSeries(no uint32, level uint) store.Series {
	return store.NewSeries(fmt.Sprintf("tiles-%08x-%d", no, level))
}

func numberKey(no uint32) []byte { return binary.BigEndian.AppendUint32(nil, no) }

func (t target) key() []byte {
	return append(binary.BigEndian.AppendUint64(slices.Clone(t.stream[:]), t.sequence), t.owner...)
}

// batch is one transaction being put together: the store's transaction, and copies of what it changes in memory. Nothing
// outside sees a change before the transaction is on disk; if it fails, the batch is dropped and the state is as before.
type batch struct {
	l   *Ledger
	tx  *store.Tx
	now time.Time
	// from is where reading for a plan reads: the transaction, or a view where nothing is written.
	from source
	// failed is the first error of such reading.
	failed error
	// gone is set once the own member has left the federation: what still comes is not kept.
	gone bool

	records  map[RecordID]*record
	added    []RecordID // new own records, in order
	streams  map[uint32]*streamState
	opened   []*streamState // new streams, own or received, in order
	open     map[channelKey]uint32
	held     map[Name][]heldPlace
	names    map[Name][]RecordID // new dependents
	ahead    map[target]ahead
	library  []LibraryRef
	lost     map[stream.ID]LostTail
	erasures []Erasure
	arrivals map[member.ID]arrival
	departed []member.ID // arrivals to be forgotten
	legacy   map[string]memberSet
	rotated  ed25519.PrivateKey // the signing key from this batch on; nil: as it was
	touched  map[uint32]bool    // own streams that need a checkpoint
	released map[RecordID][]freshForm
	queue    []RecordID // own records to plan again
	memo     *meaning
	hash     hash.Hash

	trail     []*ententev1.AuditEntry // what this batch does, for the trail
	lastAct   act                     // of the last entry of trail, with who and how many records it names
	lastActor *ententev1.AuditActor
	named     int
	installed []func() // called when the transaction is on disk
	due       []dueItem
	runOut    []dueItem
	logged    uint64               // length of the log at the end
	wiped     uint64               // entries whose payload this batch erases
	permits   map[placeKey]*permit // given, new or changed
	received  map[Name][]*permit   // received, as they are now
}

// seconds is the time of the batch in seconds since 1970, as it is kept with entries.
func (b *batch) seconds() uint32 { return uint32(max(b.now.Unix(), 0)) }

// meaning remembers, for one directory, what sets of audiences mean and which readers of a stream are still in: nearly
// all records of a batch share one set.
type meaning struct {
	today
	channel map[*intents][][]channel
	readers map[uint32]memberSet
}

func newMeaning(t today) *meaning {
	return &meaning{today: t, channel: map[*intents][][]channel{}, readers: map[uint32]memberSet{}}
}

// forget drops what may have changed with the directory, an arrival or a grant.
func (m *meaning) forget() {
	clear(m.channel)
	clear(m.readers)
}

func (m *meaning) channels(in *intents, restriction *ententev1.Restriction) [][]channel {
	if restriction == nil {
		known, ok := m.channel[in]
		if ok {
			return known
		}
	}
	list := make([][]channel, len(in.list))
	for i, one := range in.list {
		list[i] = m.wanted(one, restriction)
	}
	if restriction == nil {
		m.channel[in] = list
	}
	return list
}

// active is the readers by a stream's opening that are in good standing.
func (m *meaning) active(s *streamState) memberSet {
	known, ok := m.readers[s.no]
	if !ok {
		known = m.directory.allowed(s.base, nil, nil)
		m.readers[s.no] = known
	}
	return known
}

func (l *Ledger) newBatch(tx *store.Tx) *batch {
	b := &batch{l: l, tx: tx, from: tx, now: l.cfg.Now(),
		records: map[RecordID]*record{}, streams: map[uint32]*streamState{}, open: map[channelKey]uint32{},
		held: map[Name][]heldPlace{}, names: map[Name][]RecordID{}, ahead: map[target]ahead{},
		lost: map[stream.ID]LostTail{}, touched: map[uint32]bool{}, released: map[RecordID][]freshForm{},
		arrivals: map[member.ID]arrival{}, legacy: map[string]memberSet{}, permits: map[placeKey]*permit{}, received: map[Name][]*permit{}}
	b.memo = newMeaning(b.today())
	own, _ := b.memo.directory.Roster.Member(l.cfg.Self)
	b.gone = own.Left
	return b
}

// today is what audiences mean in this batch.
func (b *batch) today() today {
	return today{self: b.l.cfg.Self, now: b.now, directory: b.l.cfg.Directory(), arrived: b.arrived, legacy: b.l.state.legacy, variants: b.variants, erase: b.l.erasing()}
}

// record gives the state of an own record for reading, nil if there is none.
func (b *batch) record(id RecordID) *record {
	r, ok := b.records[id]
	if ok {
		return r
	}
	return b.l.state.records[id]
}

// change gives the batch's copy of an own record, a new one if there is none.
func (b *batch) change(id RecordID) *record {
	r, ok := b.records[id]
	if ok {
		return r
	}
	known := b.l.state.records[id]
	if known != nil {
		r = known.clone()
	} else {
		r = &record{}
	}
	b.records[id] = r
	return r
}

func (b *batch) stream(no uint32) *streamState {
	s, ok := b.streams[no]
	if ok {
		return s
	}
	return b.l.state.stream(no)
}

func (b *batch) changeStream(no uint32) *streamState {
	s, ok := b.streams[no]
	if ok {
		return s
	}
	s = b.l.state.stream(no).clone()
	b.streams[no] = s
	return s
}

func (b *batch) streamByID(owner member.ID, id stream.ID) *streamState {
	for _, s := range b.opened {
		if s.id == id && s.owner == owner {
			return b.stream(s.no)
		}
	}
	no, ok := b.l.state.byID[streamKey{owner: owner, id: id}]
	if !ok {
		return nil
	}
	return b.stream(no)
}

func (b *batch) openStream(key channelKey) (uint32, bool) {
	no, ok := b.open[key]
	if !ok {
		no, ok = b.l.state.open[key]
	}
	// A grant gives a stream for future members another key.
	if !ok || b.stream(no).key != key {
		return 0, false
	}
	return no, true
}

func (b *batch) heldPlaces(n Name) []heldPlace {
	places, ok := b.held[n]
	if ok {
		return places
	}
	return b.l.state.held[n]
}

// dependents gives the own records that name a record, and those that were made from them.
func (b *batch) dependents(n Name) []RecordID { return b.withMade(b.naming(n)) }

func (b *batch) naming(n Name) []RecordID {
	known, more := b.l.state.dependents[n], b.names[n]
	if len(more) == 0 {
		return known
	}
	return append(slices.Clone(known), more...)
}

func (b *batch) isAhead(t target) bool {
	_, ok := b.ahead[t]
	if ok {
		return true
	}
	_, ok = b.l.state.ahead[t]
	return ok
}

// readersOf is world.readersOf.
func (b *batch) readersOf(n Name) memberSet {
	var readers memberSet
	if n.Owner == b.l.cfg.Self {
		r := b.record(n.Record)
		if r == nil {
			return nil
		}
		for _, at := range r.places {
			if !at.withdrawn {
				readers = readers.union(b.stream(at.stream).readers)
			}
		}
		return readers
	}
	places := b.heldPlaces(n)
	for _, at := range places {
		s := b.stream(at.stream)
		if s.kind != ententev1.StreamKind_STREAM_KIND_BILATERAL {
			readers = readers.union(s.readers)
		}
	}
	if len(places) > 0 {
		readers = readers.union(memberSet{n.Owner})
	}
	return readers
}

// replan plans an own record again and, where its readers change, those that name it.
func (b *batch) replan(id RecordID) error {
	b.queue = append(b.queue, id)
	return b.drainQueue()
}

// drainQueue plans what is queued, and what that queues.
func (b *batch) drainQueue() error {
	for len(b.queue) > 0 {
		next := b.queue[0]
		b.queue = b.queue[1:]
		err := b.planOne(next)
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) planOne(id RecordID) error {
	r := b.record(id)
	if r == nil || (r.intents == nil && len(r.places) == 0 && !r.waiting && !r.pending) {
		return nil
	}
	p := planRecord(b.world(), r)
	if b.failed != nil {
		return fmt.Errorf("plan record %s: %w", id, b.failed)
	}
	heldBack := !r.withdrawn && !r.fresh && r.recovered()
	if heldBack {
		// Readers hold a version of this record that was lost here and may be newer than the one we have. Until its national
		// system has pushed or released the record again it is taken from those who may not have it, and that is all: what
		// we have must not take the place of something newer.
		p.release, p.waiting = nil, true
		p.withdraw = slices.DeleteFunc(p.withdraw, func(w removal) bool {
			return w.reason == ententev1.WithdrawalReason_WITHDRAWAL_REASON_SUPERSEDED
		})
	}
	if len(p.release) == 0 && len(p.withdraw) == 0 && p.waiting == r.waiting && p.pending == r.pending {
		return nil
	}
	r = b.change(id)
	r.waiting, r.pending = p.waiting, p.pending
	changed := false
	// Releases first: a reader that follows live gets the new version before the old one falls.
	for _, c := range p.release {
		done, err := b.release(id, r, c)
		if err != nil {
			return fmt.Errorf("release record %s: %w", id, err)
		}
		if !done {
			r.waiting = true
		}
		changed = changed || done
	}
	for _, w := range p.withdraw {
		done, err := b.withdraw(id, r, w)
		if err != nil {
			return fmt.Errorf("withdraw record %s: %w", id, err)
		}
		if !done {
			r.waiting = true
		}
		changed = changed || done
	}
	if heldBack && !r.recovered() {
		b.queue = append(b.queue, id) // nothing newer stands any more: as it would be after a start
	}
	if changed {
		b.queue = append(b.queue, b.dependents(Name{Owner: b.l.cfg.Self, Record: id})...)
	}
	return nil
}

// release appends a record's newest version to the stream of a channel. False: the stream may not be written yet.
func (b *batch) release(id RecordID, r *record, c channel) (bool, error) {
	s, err := b.channelStream(c.key, c.readers, stream.ID{}, true)
	if err != nil || s == nil {
		return false, err
	}
	pos, released, err := b.form(id, r, newFormKey(c.key.project, c.cut))
	if err != nil {
		return false, err
	}
	e := &storedEntry{state: payloadInLog, pos: pos, id: id, version: r.version, mergeFor: c.mergeFor, edition: r.edition, cut: c.cut}
	seq, err := b.append(s, stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE}, payloadPieces(released, c.mergeFor), e)
	if err != nil {
		return false, err
	}
	r.places = append(r.places, place{stream: s.no, sequence: seq, version: r.version, mergeFor: c.mergeFor.key(), cut: c.cut, edition: r.edition, at: e.at})
	return true, nil
}

// withdraw appends the withdrawal of a place and erases what only it needed. False: not yet.
func (b *batch) withdraw(id RecordID, r *record, w removal) (bool, error) {
	at := &r.places[w.place]
	in := b.stream(at.stream)
	if len(in.unconfirmed) > 0 {
		return false, nil
	}
	out := in
	if in.retired {
		// The old stream is never written again: its withdrawals stand in its successor and name it.
		var err error
		out, err = b.successor(in)
		if err != nil || out == nil {
			return false, err
		}
	}
	out = b.changeStream(out.no)
	h := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Target: in.id, TargetSequence: at.sequence, Reason: uint8(w.reason)}
	seq, err := b.append(out, h, nil, &storedEntry{state: payloadNone})
	if err != nil {
		return false, err
	}
	at.withdrawn = true
	at.byStream, at.bySeq, at.gone = out.no, seq, b.seconds()
	return true, b.eraseEntry(in.no, at.sequence, r)
}

// eraseEntry takes salt and payload reference out of an own entry, and the released form out of the log once no entry
// that stands needs it. If we crash here, all of it is undone with the transaction.
func (b *batch) eraseEntry(no uint32, sequence uint64, r *record) error {
	value, err := b.tx.Get(entrySeries(no), sequence)
	if err != nil {
		return fmt.Errorf("read entry %d of stream %d: %w", sequence, no, err)
	}
	e, err := decodeEntry(value)
	if err != nil {
		return err
	}
	if e.state != payloadInLog {
		return nil
	}
	gone := &storedEntry{header: slices.Clone(e.header), state: payloadErased, id: e.id, version: e.version, kind: uint64(r.kind), crimes: r.crimes, at: e.at}
	b.wiped++
	pos, key := e.pos, newFormKey(b.stream(no).project, e.cut)
	err = b.tx.Replace(entrySeries(no), sequence, gone.encode())
	if err != nil {
		return fmt.Errorf("erase entry %d of stream %d: %w", sequence, no, err)
	}
	for _, at := range r.places {
		if at.withdrawn || at.version != e.version || newFormKey(b.stream(at.stream).project, at.cut) != key {
			continue
		}
		// A recovered place has a form of its own, so equal versions may lie at different positions.
		shares, err := b.liesAt(at, pos)
		if err != nil || shares {
			return err
		}
	}
	return b.eraseForm(pos, key, r)
}

// freshForm is a released form that this batch has made. What is at another position in the log is another form, also under the
// same key: a renewal makes one of the same version.
type freshForm struct {
	pos uint64
	formBytes
}

func freshForms(pos uint64, forms []formBytes) []freshForm {
	list := make([]freshForm, len(forms))
	for i, f := range forms {
		list[i] = freshForm{pos: pos, formBytes: f}
	}
	return list
}

// liesAt tells whether the form of a place lies at a position in the log.
func (b *batch) liesAt(at place, pos uint64) (bool, error) {
	value, err := b.tx.Get(entrySeries(at.stream), at.sequence)
	if err != nil {
		return false, fmt.Errorf("read entry %d of stream %d: %w", at.sequence, at.stream, err)
	}
	e, err := decodeEntry(value)
	if err != nil {
		return false, err
	}
	return e.state == payloadInLog && e.pos == pos, nil
}

func (b *batch) eraseForm(pos uint64, key formKey, r *record) error {
	value, err := b.tx.Get(logSeries, pos)
	if err != nil {
		return fmt.Errorf("read log %d: %w", pos, err)
	}
	decoded, err := decodeEvent(value)
	if err != nil {
		return fmt.Errorf("log %d: %w", pos, err)
	}
	var rewritten []byte
	switch e := decoded.(type) {
	case *recordEvent:
		e.forms = slices.DeleteFunc(e.forms, func(f formBytes) bool { return f.key == key })
		rewritten = e.encode()
	case *formEvent:
		e.released = pieces{}
		rewritten = e.encode()
	case *receivedEvent:
		e.payload = nil
		rewritten = e.encode()
	default:
		return fmt.Errorf("log %d holds no form: %w", pos, errMalformed)
	}
	r.forms = slices.DeleteFunc(r.forms, func(f form) bool { return f.pos == pos && f.key == key })
	return b.tx.Replace(logSeries, pos, rewritten)
}

// form gives the released form of a record's newest version under a key, and makes it where there is none yet.
func (b *batch) form(id RecordID, r *record, key formKey) (uint64, pieces, error) {
	for _, f := range r.forms {
		if f.key != key {
			continue
		}
		for _, fresh := range b.released[id] {
			if fresh.pos == f.pos && fresh.key == key {
				return f.pos, fresh.released, nil
			}
		}
		released, err := b.readForm(f.pos, key)
		return f.pos, pieces{body: released}, err
	}
	value, err := b.tx.Get(logSeries, r.pos)
	if err != nil {
		return 0, pieces{}, fmt.Errorf("read log %d: %w", r.pos, err)
	}
	e, err := decodeRecordEvent(value)
	if err != nil {
		return 0, pieces{}, fmt.Errorf("log %d: %w", r.pos, err)
	}
	full := &ententev1.Record{}
	err = proto.Unmarshal(e.record.join(), full)
	if err != nil {
		return 0, pieces{}, fmt.Errorf("read record: %w", err)
	}
	released, err := b.l.releasedForm(id, e.authority, full, nil, key, r.renewed())
	if err != nil {
		return 0, pieces{}, err
	}
	made := &formEvent{id: id, version: r.version, formBytes: released}
	pos, err := b.tx.Append(logSeries, made.encode())
	if err != nil {
		return 0, pieces{}, fmt.Errorf("append released form: %w", err)
	}
	r.forms = append(r.forms, form{key: key, pos: pos})
	b.released[id] = append(b.released[id], freshForm{pos: pos, formBytes: made.formBytes})
	return pos, released.released, nil
}

func (b *batch) readForm(pos uint64, key formKey) ([]byte, error) {
	value, err := b.tx.Get(logSeries, pos)
	if err != nil {
		return nil, fmt.Errorf("read log %d: %w", pos, err)
	}
	return formIn(value, key)
}

// formIn finds the released bytes of a form in a log value.
func formIn(value []byte, key formKey) ([]byte, error) {
	decoded, err := decodeEvent(value)
	if err != nil {
		return nil, err
	}
	switch e := decoded.(type) {
	case *recordEvent:
		for _, f := range e.forms {
			if f.key == key {
				return f.released.join(), nil
			}
		}
	case *formEvent:
		if e.key == key && len(e.released.before) > 0 {
			return e.released.join(), nil
		}
	}
	return nil, errErased
}
