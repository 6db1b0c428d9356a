package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// maxObstacles bounds how many records one preview names.
const maxObstacles = 100

// world is what planning looks at in this batch.
func (b *batch) world() world {
	return world{channels: b.memo.channels, active: b.memo.active, byGrant: b.memo.byGrant, stream: b.stream,
		over: b.memo.over, readersOf: b.readersOf, permitted: b.permitted, unfit: b.unfit}
}

// byGrant is the readers by grant of a stream that are in good standing.
func (m *meaning) byGrant(s *streamState) memberSet {
	if len(s.grants) == 0 {
		return nil
	}
	return m.directory.allowed(s.byGrant(), nil, nil)
}

// variants gives the sets of readers by grant of the open streams of a channel, newest first.
func (b *batch) variants(key channelKey) []memberSet {
	var list []memberSet
	for no := uint32(len(b.l.state.streams) + len(b.opened)); no > 0; no-- {
		s := b.stream(no)
		if s == nil || len(s.grants) == 0 || !s.own || s.closed || s.retired || s.kind != key.kind || s.project != key.project || s.key.readers != key.readers {
			continue
		}
		if s.kind != ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE {
			list = append(list, s.byGrant())
		}
	}
	return list
}

// closeLeft closes the streams that are granted to somebody who has left the roster or the project since. A change of readers
// closes a stream; and who comes back is not back in what it once was granted.
func (b *batch) closeLeft() error {
	for _, s := range b.l.state.streams {
		if !b.hasLeft(s) || len(s.unconfirmed) > 0 {
			continue
		}
		err := b.close(b.changeStream(s.no))
		if err != nil {
			return err
		}
	}
	return nil
}

// hasLeft tells whether an own stream that is still written is granted to somebody who has left.
func (b *batch) hasLeft(s *streamState) bool {
	if !s.own || s.closed || s.retired || len(s.grants) == 0 {
		return false
	}
	d := b.l.cfg.Directory()
	p := d.Projects[s.project]
	return slices.ContainsFunc(s.byGrant(), func(id member.ID) bool {
		m, known := d.Roster.Member(id)
		if !known || m.Left {
			return true
		}
		return s.kind == ententev1.StreamKind_STREAM_KIND_PROJECT && (p == nil || !p.Has(id) && d.Roster.Active(id))
	})
}

// successor gives the stream for the withdrawals of a retired one: for all who read that, by grant or not. Nil: not yet.
func (b *batch) successor(of *streamState) (*streamState, error) {
	key := of.key
	if of.kind != ententev1.StreamKind_STREAM_KIND_BILATERAL {
		key.readers, key.granted = of.readers.key(), ""
	}
	return b.channelStream(key, of.readers, of.id, false)
}

// appendGrant opens an own stream, which is the batch's copy, to a further reader; by is nil where the node does so by itself.
func (b *batch) appendGrant(by *ententev1.AuditActor, s *streamState, reader member.ID) (uint64, error) {
	g := stream.Grant{Number: s.grantCount() + 1, Reader: reader, Time: b.now}
	doc, err := stream.SignGrant(b.l.cfg.Self, s.id, g, b.signingKey())
	if err != nil {
		return 0, err
	}
	payload, err := deterministic().Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Grant{Grant: doc}})
	if err != nil {
		return 0, fmt.Errorf("encode grant: %w", err)
	}
	seq, err := b.append(s, stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_GRANT}, [][]byte{payload}, &storedEntry{state: payloadInline, inline: payload})
	if err != nil {
		return 0, fmt.Errorf("grant stream %s to %s: %w", s.id, reader, err)
	}
	b.granted(s, reader, seq)
	what := act{operation: alteration, method: ententev1.IntakeService_GrantStream_FullMethodName, recipient: string(reader)}
	if by == nil {
		what.method = "grant"
	}
	b.noteRange(by, what, b.l.cfg.Self, s.id, seq)
	b.l.cfg.Logger.Info("stream opened to a further reader", "stream", s.id.String(), "reader", string(reader))
	return seq, nil
}

// granted takes a GRANT entry into the state of its stream, own or received.
func (b *batch) granted(s *streamState, reader member.ID, sequence uint64) {
	s.addGrant(reader, sequence)
	if s.own && !s.retired {
		b.open[s.key] = s.no
	}
	b.memo.forget()
}

// grantAgain opens a successor to those to whom its predecessor, retired after an unclean stop, was opened by grants: nothing
// has changed in who reads.
func (b *batch) grantAgain(s *streamState, of *streamState) error {
	for _, reader := range b.memo.byGrant(of) {
		p := b.l.cfg.Directory().Projects[of.project]
		out := of.kind == ententev1.StreamKind_STREAM_KIND_PROJECT && (p == nil || !p.Has(reader))
		if out || s.readers.has(reader) {
			continue
		}
		_, err := b.appendGrant(nil, b.changeStream(s.no), reader)
		if err != nil {
			return err
		}
	}
	return nil
}

// GrantError says why a stream is not opened to a reader. Its text holds ids only and is for the owner.
type GrantError struct {
	// Field is the field of the request that is at fault.
	Field string
	// Reason is why.
	Reason string
}

// Error implements error.
func (e *GrantError) Error() string { return e.Field + ": " + e.Reason }

// Granted is what a grant did, or would do.
type Granted struct {
	// Preview is the stream as the reader reads it.
	Preview StreamPreview
	// Sequence is the entry of the grant; 0 where nothing was granted.
	Sequence uint64
	// Duplicate: the member read the stream already.
	Duplicate bool
}

// Grant opens an own shared stream to a further reader, with all that stands in it. Nothing is granted where the preview has
// obstacles, or with dryRun. Errors: ErrAbsent for a stream that is not an own one, *GrantError for what cannot be granted.
func (l *Ledger) Grant(ctx context.Context, id stream.ID, reader member.ID, dryRun bool) (Granted, error) {
	var result Granted
	if dryRun {
		l.mu.RLock()
		defer l.mu.RUnlock()
		_, err := l.reading(nil).grant(id, reader, &result)
		return result, err
	}
	var refused error
	by := actor(ctx)
	err := l.submit(ctx, 1, func(b *batch) error {
		result, refused = Granted{}, nil
		s, err := b.grant(id, reader, &result)
		if err != nil {
			refused = err // the caller's fault, and not this transaction's
			return nil
		}
		if result.Duplicate || len(result.Preview.Obstacles) > 0 {
			return nil
		}
		result.Sequence, err = b.appendGrant(by, b.changeStream(s.no), reader)
		result.Preview.Outcome = ententev1.ReaderOutcome_READER_OUTCOME_READS
		return err
	})
	if err == nil && result.Sequence > 0 {
		err = l.planWaiting(ctx) // what names the records that the reader has now
	}
	return result, errors.Join(err, refused)
}

// reading is a batch for reading only; the caller holds the lock. from may be nil where nothing is planned.
func (l *Ledger) reading(from source) *batch {
	b := &batch{l: l, from: from, now: l.cfg.Now()}
	b.memo = newMeaning(b.today())
	return b
}

// grant decides on a grant and fills the result.
func (b *batch) grant(id stream.ID, reader member.ID, result *Granted) (*streamState, error) {
	s := b.streamByID(b.l.cfg.Self, id)
	if s == nil || !s.own {
		return nil, fmt.Errorf("stream %s: %w", id, ErrAbsent)
	}
	result.Duplicate = s.readers.has(reader)
	if !result.Duplicate {
		err := b.mayGrant(s, reader)
		if err != nil {
			return nil, err
		}
	}
	result.Preview = b.preview(s, reader, b.standingIn(s.no), "")
	return s, nil
}

func (b *batch) mayGrant(s *streamState, reader member.ID) error {
	d := b.l.cfg.Directory()
	refuse := func(field, reason string) error { return &GrantError{Field: field, Reason: reason} }
	switch {
	case reader == b.l.cfg.Self:
		return refuse("member", "is the owner itself")
	case !d.Roster.Active(reader):
		return refuse("member", "is not a member in good standing")
	case s.kind == ententev1.StreamKind_STREAM_KIND_BILATERAL:
		return refuse("stream_id", "is a stream to one reader: release its records to the member by name")
	case s.closed || s.retired:
		return refuse("stream_id", "takes withdrawals only: release its records to the member by name")
	case s.full(reader):
		return refuse("stream_id", "has as many readers as a stream may have: release its records to the member by name")
	case len(s.unconfirmed) > 0:
		return refuse("stream_id", "waits for its readers after an unclean stop: ask again in some seconds")
	}
	if s.kind != ententev1.StreamKind_STREAM_KIND_PROJECT {
		return nil
	}
	p := d.Projects[s.project]
	if p == nil || !p.Has(b.l.cfg.Self) || !p.Open(b.now) {
		return refuse("stream_id", "is of a project that is not open now")
	}
	if !p.Has(reader) {
		return refuse("member", "does not take part in the project of the stream")
	}
	return nil
}

// StreamPreview is an own stream as one member reads it.
type StreamPreview struct {
	Stream    StreamInfo
	Outcome   ententev1.ReaderOutcome
	OpensAt   time.Time // where it opens by itself and the delay runs
	Standing  map[ententev1.RecordKind]uint64
	Obstacles []Obstacle
}

// Obstacle is a record that keeps a stream from being opened to a reader.
type Obstacle struct {
	Record RecordID
	Reason string
}

// RecordPreview is an own record as one member reads it: the best of its streams.
type RecordPreview struct {
	Record  RecordID
	Kind    ententev1.RecordKind
	Outcome ententev1.ReaderOutcome
}

// Preview says what a member reads of the own streams, or would read if it took part in the project as well ("": as it is).
// Bilateral streams to others are left out, and so are streams in which nothing stands.
func (l *Ledger) Preview(reader member.ID, project string) []StreamPreview {
	l.mu.RLock()
	defer l.mu.RUnlock()
	b := l.reading(nil)
	standing := map[uint32][]RecordID{}
	b.eachStanding(func(no uint32, id RecordID) { standing[no] = append(standing[no], id) })
	var streams []StreamPreview
	for _, s := range l.state.streams {
		others := s.kind == ententev1.StreamKind_STREAM_KIND_BILATERAL && !s.readers.has(reader)
		if s.own && !others && len(standing[s.no]) > 0 {
			streams = append(streams, b.preview(s, reader, sortedIDs(standing[s.no]), project))
		}
	}
	return streams
}

// PreviewRecords is Preview record by record, in the order in which they were first taken: those that stand somewhere. What
// only bilateral streams to others carry is NEVER.
func (l *Ledger) PreviewRecords(reader member.ID, project string) []RecordPreview {
	l.mu.RLock()
	defer l.mu.RUnlock()
	b := l.reading(nil)
	outcomes := map[uint32]ententev1.ReaderOutcome{}
	for _, s := range l.state.streams {
		if s.own {
			outcomes[s.no], _ = b.outcome(s, reader, project)
		}
	}
	var records []RecordPreview
	for _, id := range l.state.order {
		r := l.state.records[id]
		best := ententev1.ReaderOutcome_READER_OUTCOME_UNSPECIFIED
		for _, at := range r.places {
			if at.withdrawn {
				continue
			}
			outcome := outcomes[at.stream]
			if best == ententev1.ReaderOutcome_READER_OUTCOME_UNSPECIFIED || outcome < best {
				best = outcome
			}
		}
		if best != ententev1.ReaderOutcome_READER_OUTCOME_UNSPECIFIED {
			records = append(records, RecordPreview{Record: id, Kind: r.kind, Outcome: best})
		}
	}
	return records
}

// eachRecord goes through all own records as this batch leaves them: also those that came in the same commit.
func (b *batch) eachRecord(fn func(id RecordID, r *record)) {
	for id, r := range b.records {
		fn(id, r)
	}
	for id, r := range b.l.state.records {
		_, changed := b.records[id]
		if !changed {
			fn(id, r)
		}
	}
}

// eachStanding goes through the places of all own records that stand, by stream.
func (b *batch) eachStanding(fn func(stream uint32, id RecordID)) {
	b.eachRecord(func(id RecordID, r *record) {
		for _, at := range r.places {
			if !at.withdrawn {
				fn(at.stream, id)
			}
		}
	})
}

// standingIn lists the records that stand in a stream, in the order of their ids.
func (b *batch) standingIn(no uint32) []RecordID {
	var list []RecordID
	b.eachStanding(func(stream uint32, id RecordID) {
		if stream == no {
			list = append(list, id)
		}
	})
	return sortedIDs(list)
}

// sortedIDs sorts ids in place, each once.
func sortedIDs(ids []RecordID) []RecordID {
	slices.SortFunc(ids, func(a, c RecordID) int { return bytes.Compare(a[:], c[:]) })
	return slices.Compact(ids)
}

func (b *batch) preview(s *streamState, reader member.ID, standing []RecordID, project string) StreamPreview {
	p := StreamPreview{Stream: b.l.info(s), Standing: map[ententev1.RecordKind]uint64{}}
	for _, id := range standing {
		p.Standing[b.record(id).kind]++
	}
	p.Outcome, p.OpensAt = b.outcome(s, reader, project)
	if p.Outcome == ententev1.ReaderOutcome_READER_OUTCOME_ONLY_BY_GRANT {
		p.Obstacles = b.obstacles(s, reader, standing)
	}
	return p
}

func (b *batch) outcome(s *streamState, reader member.ID, project string) (ententev1.ReaderOutcome, time.Time) {
	switch {
	case s.readers.has(reader):
		return ententev1.ReaderOutcome_READER_OUTCOME_READS, time.Time{}
	case s.closed || s.retired || s.kind == ententev1.StreamKind_STREAM_KIND_BILATERAL:
		return ententev1.ReaderOutcome_READER_OUTCOME_NEVER, time.Time{}
	case s.kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE:
		a, known := b.l.state.arrivals[reader]
		if !known || a.open {
			return ententev1.ReaderOutcome_READER_OUTCOME_OPENS_BY_ITSELF, time.Time{}
		}
		return ententev1.ReaderOutcome_READER_OUTCOME_OPENS_BY_ITSELF, time.Unix(0, a.due).UTC()
	case s.kind == ententev1.StreamKind_STREAM_KIND_PROJECT:
		held := b.l.cfg.Directory().Projects[s.project]
		if held == nil || !held.Has(reader) && s.project != project {
			return ententev1.ReaderOutcome_READER_OUTCOME_NEVER, time.Time{}
		}
	}
	return ententev1.ReaderOutcome_READER_OUTCOME_ONLY_BY_GRANT, time.Time{}
}

// obstacles finds records that could not stay in a stream if a reader came in: planning, asked as if it had. They must not
// reach the reader, or name records that it may not read.
func (b *batch) obstacles(s *streamState, reader member.ID, standing []RecordID) []Obstacle {
	as := b.asIf(s, reader)
	var list []Obstacle
	for _, id := range standing {
		if len(list) == maxObstacles {
			break
		}
		r := b.record(id)
		if r.pos == 0 || !r.fresh && r.recovered() {
			list = append(list, Obstacle{Record: id, Reason: "what readers hold of it was lost here, until its national system pushes it again"})
			continue
		}
		falls := slices.ContainsFunc(planRecord(as.world(), r).withdraw, func(w removal) bool { return r.places[w.place].stream == s.no })
		if !falls {
			continue
		}
		reason := "its audiences, or its provider's restriction, leave the member out"
		if slices.ContainsFunc(r.names, func(n Name) bool { return !as.readersOf(n).has(reader) }) {
			reason = "it names a record that the member may not read"
		}
		list = append(list, Obstacle{Record: id, Reason: reason})
	}
	return list
}

// asIf is a batch for reading in which the stream is granted to the reader.
func (b *batch) asIf(s *streamState, reader member.ID) *batch {
	as := *b
	as.streams, as.open = maps.Clone(b.streams), maps.Clone(b.open)
	if as.streams == nil {
		as.streams, as.open = map[uint32]*streamState{}, map[channelKey]uint32{}
	}
	changed := s.clone()
	changed.addGrant(reader, s.size()+1)
	as.streams[s.no] = changed
	as.open[changed.key] = s.no
	day := as.today()
	day.directory = day.directory.with(s.project, reader)
	as.memo = newMeaning(day)
	return &as
}

// with is the directory as if a member took part in a project.
func (d *Directory) with(project string, id member.ID) *Directory {
	p := d.Projects[project]
	if p == nil || p.Has(id) {
		return d
	}
	joined := *p
	joined.Participants = append(slices.Clone(p.Participants), id)
	slices.Sort(joined.Participants)
	projects := maps.Clone(d.Projects)
	projects[project] = &joined
	return &Directory{Roster: d.Roster, Projects: projects}
}

// GrantOf gives the document by which a reader reads a stream, own or received; ErrAbsent where its opening names it, or it
// does not read it.
func (l *Ledger) GrantOf(no uint32, reader member.ID) (*ententev1.SignedDocument, error) {
	s, err := l.snapshot(no)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(s.grants, func(g granted) bool { return g.reader == reader && g.sequence > 0 })
	if at < 0 {
		return nil, fmt.Errorf("grant of stream %s to %s: %w", s.id, reader, ErrAbsent)
	}
	entries, err := l.Entries(no, s.grants[at].sequence, 1, 1)
	if err != nil {
		return nil, err
	}
	payload := &ententev1.StreamPayload{}
	if len(entries) == 1 {
		err = proto.Unmarshal(entries[0].GetPayload(), payload)
	}
	if err != nil || payload.GetGrant() == nil {
		return nil, fmt.Errorf("grant of stream %s to %s: %w", s.id, reader, errMalformed)
	}
	return payload.GetGrant(), nil
}
