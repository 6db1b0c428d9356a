package ledger

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// Held gives the positions in the streams of an owner that the node holds something of.
func (l *Ledger) Held(owner member.ID) []*ententev1.StreamPosition {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []*ententev1.StreamPosition
	for _, s := range l.state.streams {
		if !s.own && s.owner == owner {
			list = append(list, &ententev1.StreamPosition{StreamId: slices.Clone(s.id[:]), Size: s.size()})
		}
	}
	return list
}

// Reader gives a verifier for a stream of an owner from the position held, or from the beginning.
func (l *Ledger) Reader(owner member.ID, id stream.ID) (*stream.Reader, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	no, ok := l.state.byID[streamKey{owner: owner, id: id}]
	if !ok {
		return stream.NewReader(owner, id, l.cfg.Self, stream.Edge{}), nil
	}
	s := l.state.stream(no)
	r := stream.NewReader(owner, id, l.cfg.Self, s.edge)
	r.ResumeGranted(!s.base.has(l.cfg.Self))
	newest, err := stream.OpenCheckpoint(s.checkpoint, owner, id, l.cfg.Directory().Roster.VerifyingKeys(owner))
	note := s.checkpoint
	if err != nil {
		// Signed by a key that counts no more, or nothing held yet: the edge alone says where we are.
		newest, note = stream.Checkpoint{}, nil
	}
	err = r.Resume(s.closed, newest, note)
	if err != nil {
		return nil, fmt.Errorf("resume stream %s: %w", id, err)
	}
	return r, nil
}

// Covered tells, for the streams of an owner, whether a known withdrawal covers an entry: only then may its payload be
// missing.
func (l *Ledger) Covered(owner member.ID) func(in stream.ID, sequence uint64) bool {
	return func(in stream.ID, sequence uint64) bool {
		l.mu.RLock()
		defer l.mu.RUnlock()
		_, ok := l.state.ahead[target{owner: owner, stream: in, sequence: sequence}]
		return ok
	}
}

// ApplyWithdrawals takes withdrawals that were proven ahead of the position: what is held of their targets is erased now,
// what is not held will never be kept. checkpoint is the head that proved them: this node has seen it from now on, and says
// so when the owner asks after an unclean stop.
func (l *Ledger) ApplyWithdrawals(ctx context.Context, owner member.ID, in stream.ID, list []stream.Withdrawal, checkpoint []byte) error {
	if len(list) == 0 {
		return nil
	}
	err := l.submit(reserved(ctx), len(list), func(b *batch) error {
		for _, w := range list {
			err := b.applyWithdrawal(owner, in, w)
			if err != nil {
				return err
			}
		}
		s := b.streamByID(owner, in)
		if s != nil && !s.own && !s.notesBeyond(checkpoint) {
			b.changeStream(s.no).checkpoint = slices.Clone(checkpoint)
		}
		return b.drainQueue()
	})
	if err != nil {
		return fmt.Errorf("apply withdrawals of stream %s: %w", in, err)
	}
	return nil
}

// applyWithdrawal erases the target of a received withdrawal. It is kept in mind for good: entries may come after it, or
// be offered again. Applying it twice changes nothing.
func (b *batch) applyWithdrawal(owner member.ID, in stream.ID, w stream.Withdrawal) error {
	t := target{owner: owner, stream: w.Target, sequence: w.TargetSequence}
	if b.isAhead(t) {
		return nil
	}
	err := b.tx.Put(tableAhead, t.key(), []byte{w.Reason})
	if err != nil {
		return fmt.Errorf("keep withdrawal: %w", err)
	}
	b.ahead[t] = ahead{reason: w.Reason}
	s := b.streamByID(owner, w.Target)
	if s == nil || s.own || s.owner != owner || s.size() < w.TargetSequence {
		return nil
	}
	return b.eraseReceived(b.changeStream(s.no), w.TargetSequence, in, act{operation: erasure, method: "withdrawal", note: ententev1.WithdrawalReason(w.Reason).String()})
}

// eraseReceived erases payload and salt of a received entry, and what the node made of it. receiptFor is the stream whose
// next receipt says so.
func (b *batch) eraseReceived(s *streamState, sequence uint64, receiptFor stream.ID, why act) error {
	value, err := b.tx.Get(entrySeries(s.no), sequence)
	if err != nil {
		return fmt.Errorf("read entry %d of stream %s: %w", sequence, s.id, err)
	}
	e, err := decodeEntry(value)
	if err != nil {
		return err
	}
	if e.state == payloadInline && sequence > 1 && e.header[1] == byte(ententev1.EntryType_ENTRY_TYPE_GRANT) {
		return nil // it tells who reads the stream, and holds nothing of anybody
	}
	if e.state == payloadInline && sequence > 1 {
		b.noteRange(nil, why, s.owner, s.id, sequence)
		return b.eraseUnread(s, sequence, e, receiptFor)
	}
	if e.state != payloadInLog {
		return nil
	}
	b.wiped++
	b.noteRange(nil, why, s.owner, s.id, sequence)
	b.note(nil, why, Name{Owner: s.owner, Record: e.id})
	value, err = b.tx.Get(logSeries, e.pos)
	if err != nil {
		return fmt.Errorf("read log %d: %w", e.pos, err)
	}
	decoded, err := decodeEvent(value)
	if err != nil {
		return fmt.Errorf("log %d: %w", e.pos, err)
	}
	event, ok := decoded.(*receivedEvent)
	if !ok {
		return fmt.Errorf("log %d holds no received record: %w", e.pos, errMalformed)
	}
	event.payload = nil
	err = b.tx.Replace(logSeries, e.pos, event.encode())
	if err != nil {
		return fmt.Errorf("erase log %d: %w", e.pos, err)
	}
	gone := &storedEntry{header: slices.Clone(e.header), state: payloadErased, id: e.id, version: e.version, kind: uint64(event.kind), crimes: event.crimes}
	if why.method != "withdrawal" {
		gone.edition = endedHere
	}
	err = b.tx.Replace(entrySeries(s.no), sequence, gone.encode())
	if err != nil {
		return fmt.Errorf("erase entry %d of stream %s: %w", sequence, s.id, err)
	}
	name := Name{Owner: s.owner, Record: e.id}
	b.held[name] = slices.DeleteFunc(slices.Clone(b.heldPlaces(name)), func(at heldPlace) bool {
		return at.stream == s.no && at.sequence == sequence
	})
	b.erasures = append(b.erasures, Erasure{Stream: s.no, Sequence: sequence})
	b.noteErased(s, sequence, receiptFor)
	b.queue = append(b.queue, b.dependents(name)...)
	return nil
}

// eraseUnread erases payload and salt of an entry that this version does not understand: it is kept in no answer, and its
// owner takes it back like any other.
func (b *batch) eraseUnread(s *streamState, sequence uint64, e *storedEntry, receiptFor stream.ID) error {
	b.dropPermission(s, sequence, e)
	b.wiped++
	gone := &storedEntry{header: slices.Clone(e.header), state: payloadErased}
	err := b.tx.Replace(entrySeries(s.no), sequence, gone.encode())
	if err != nil {
		return fmt.Errorf("erase entry %d of stream %s: %w", sequence, s.id, err)
	}
	b.noteErased(s, sequence, receiptFor)
	return nil
}

// noteErased puts an erased entry on the next receipt.
func (b *batch) noteErased(s *streamState, sequence uint64, receiptFor stream.ID) {
	carrier := s
	if receiptFor != s.id {
		other := b.streamByID(s.owner, receiptFor)
		if other != nil {
			carrier = b.changeStream(other.no)
		}
	}
	carrier.erased = append(carrier.erased, &entryRef{stream: s.id, sequence: sequence})
}

// ApplyEntries takes verified entries of an owner's stream: entries, position and indexes in one transaction. What is held
// already is passed over, so applying again changes nothing. edge and checkpoint are the verifier's after the entries.
func (l *Ledger) ApplyEntries(ctx context.Context, owner member.ID, id stream.ID, entries []stream.Verified, edge stream.Edge, checkpoint []byte) error {
	err := l.submit(ctx, len(entries), func(b *batch) error {
		return b.applyEntries(owner, id, entries, edge, checkpoint)
	})
	if err != nil {
		return fmt.Errorf("apply entries of stream %s: %w", id, err)
	}
	return nil
}

func (b *batch) applyEntries(owner member.ID, id stream.ID, entries []stream.Verified, edge stream.Edge, checkpoint []byte) error {
	s := b.streamByID(owner, id)
	for _, v := range entries {
		if s != nil && v.Header.Sequence <= s.size() {
			continue
		}
		if s == nil {
			made, err := b.receiveOpening(owner, v)
			if err != nil {
				return err
			}
			s = made
		}
		s = b.changeStream(s.no)
		if s.frozen && v.Header.Type == ententev1.EntryType_ENTRY_TYPE_RELEASE {
			return fmt.Errorf("stream %s is frozen after two contradicting heads: %w", id, ErrRefused)
		}
		if v.Header.Sequence != s.size()+1 {
			return fmt.Errorf("stream %s: entry %d after %d: %w", id, v.Header.Sequence, s.size(), ErrRefused)
		}
		err := b.applyEntry(s, v)
		if err != nil {
			return err
		}
	}
	if s == nil {
		return nil
	}
	s = b.changeStream(s.no)
	if s.edge.Size() == edge.Size() && s.edge.Root() != edge.Root() {
		return fmt.Errorf("stream %s: root at %d is not the verified one: %w", id, edge.Size(), ErrRefused)
	}
	if !s.notesBeyond(checkpoint) {
		s.checkpoint = slices.Clone(checkpoint)
	}
	return b.drainQueue()
}

// notesBeyond tells whether the head that is held of a stream says more than another one, or that is none. Sources are asked
// one at a time; should two ever bring heads at once, the older one must not take the place of the newer.
func (s *streamState) notesBeyond(checkpoint []byte) bool {
	return len(checkpoint) == 0 || noteSize(checkpoint) < noteSize(s.checkpoint)
}

// noteSize is the number of entries that a verified checkpoint signs; 0 for none.
func noteSize(checkpoint []byte) uint64 {
	lines := bytes.SplitN(checkpoint, []byte("\n"), 3)
	if len(lines) < 3 {
		return 0
	}
	size, err := strconv.ParseUint(string(lines[1]), 10, 64)
	if err != nil {
		return 0
	}
	return size
}

func (b *batch) receiveOpening(owner member.ID, v stream.Verified) (*streamState, error) {
	if v.Header.Sequence != 1 || v.Header.Type != ententev1.EntryType_ENTRY_TYPE_OPENING {
		return nil, fmt.Errorf("a stream begins with its opening: %w", ErrRefused)
	}
	payload := &ententev1.StreamPayload{}
	err := proto.Unmarshal(v.Payload, payload)
	if err != nil {
		return nil, fmt.Errorf("read opening: %w: %w", ErrRefused, err)
	}
	opening := payload.GetOpening()
	if opening == nil || member.ID(opening.GetOwner()) != owner || owner == b.l.cfg.Self {
		return nil, fmt.Errorf("opening names another owner: %w", ErrRefused)
	}
	s, err := b.addStream(opening)
	if err != nil {
		return nil, err
	}
	// Whoever verified the opening saw a grant for this member, where the opening does not name it.
	if !s.readers.has(b.l.cfg.Self) {
		s.addGrant(b.l.cfg.Self, 0)
	}
	return s, nil
}

// applyEntry stores one verified entry.
func (b *batch) applyEntry(s *streamState, v stream.Verified) error {
	e := &storedEntry{header: v.HeaderBytes, state: payloadNone}
	switch {
	case v.Header.Type == ententev1.EntryType_ENTRY_TYPE_OPENING:
		e.state, e.salt, e.inline = payloadInline, v.Salt, v.Payload
	case v.Header.Type == ententev1.EntryType_ENTRY_TYPE_RELEASE:
		err := b.receiveRelease(s, v, e)
		if err != nil {
			return err
		}
	case v.Header.Type == ententev1.EntryType_ENTRY_TYPE_GRANT && v.Grant != nil:
		if v.Grant.Number != s.grantCount()+1 {
			return fmt.Errorf("entry %d of stream %s: grant %d after %d: %w", v.Header.Sequence, s.id, v.Grant.Number, s.grantCount(), ErrRefused)
		}
		if s.full(v.Grant.Reader) {
			return fmt.Errorf("entry %d of stream %s: more than %d readers: %w", v.Header.Sequence, s.id, maxReaders, ErrRefused)
		}
		e.state, e.salt, e.inline = payloadInline, v.Salt, v.Payload
		b.granted(s, v.Grant.Reader, v.Header.Sequence)
		b.queue = append(b.queue, b.l.state.waitingRecords()...) // more may read what they name
	case len(v.Payload) > 0 && (b.gone && !s.own || b.isAhead(target{owner: s.owner, stream: s.id, sequence: v.Header.Sequence})):
		e.state = payloadErased
		b.noteErased(s, v.Header.Sequence, s.id)
	case len(v.Payload) > 0:
		// A permission; or a type from a newer version: kept and verified as received, out of every answer.
		e.state, e.salt, e.inline = payloadInline, v.Salt, v.Payload
		b.takePermission(s, v)
	}
	err := b.store(s, e)
	if err != nil {
		return err
	}
	switch v.Header.Type {
	case ententev1.EntryType_ENTRY_TYPE_CLOSING:
		s.closed = true
	case ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL:
		s.withdrawals = append(s.withdrawals, v.Header.Sequence)
		w, ok := v.Header.Withdrawal(s.id)
		if ok {
			return b.applyWithdrawal(s.owner, s.id, w)
		}
	}
	return nil
}

// receiveRelease keeps the payload of a release, unless a withdrawal covers it already, or the own member has left: an owner
// may hear of that a moment later, and send on.
func (b *batch) receiveRelease(s *streamState, v stream.Verified, e *storedEntry) error {
	t := target{owner: s.owner, stream: s.id, sequence: v.Header.Sequence}
	retain := payloadRetain(v.Payload)
	over := !s.own && (b.gone || b.memo.erase != 0 && retain != 0 && retain <= b.memo.erase)
	if len(v.Payload) == 0 || b.isAhead(t) || over {
		e.state = payloadErased
		if over && len(v.Payload) > 0 {
			e.edition = endedHere
		}
		if !s.own {
			b.noteErased(s, v.Header.Sequence, s.id)
		}
		return nil
	}
	released, mergeFor, err := splitPayload(v.Payload)
	if err != nil {
		return fmt.Errorf("entry %d of stream %s: %w: %w", v.Header.Sequence, s.id, ErrRefused, err)
	}
	if released == nil && !v.Understood && !s.own {
		// A release of a newer version that has no record in the form known here: kept as received, out of every answer.
		e.state, e.salt, e.inline = payloadInline, v.Salt, v.Payload
		return nil
	}
	id, kind, crimes, err := glance(released)
	if err != nil {
		return fmt.Errorf("entry %d of stream %s: %w: %w", v.Header.Sequence, s.id, ErrRefused, err)
	}
	event := &receivedEvent{stream: s.no, sequence: v.Header.Sequence, id: id, kind: kind, crimes: crimes, payload: v.Payload}
	pos, err := b.tx.Append(logSeries, event.encode())
	if err != nil {
		return fmt.Errorf("append received record: %w", err)
	}
	e.state, e.salt, e.pos, e.id, e.mergeFor = payloadInLog, v.Salt, pos, id, mergeFor
	if s.own {
		err = b.recoveredVersion(s, id, released, e)
		if err != nil {
			return err
		}
		b.meetGiven(id, placeKey{stream: s.no, sequence: v.Header.Sequence}, v.Header.Commitment)
		return b.recoverPlace(s, v.Header.Sequence, id, kind, e)
	}
	b.dueAt(dueItem{stream: s.no, sequence: v.Header.Sequence, at: retain})
	b.noteRange(nil, act{operation: collection, method: "pull"}, s.owner, s.id, v.Header.Sequence)
	name := Name{Owner: s.owner, Record: id}
	before := b.heldPlaces(name)
	if isLibrary(kind) && len(before) == 0 {
		b.library = append(b.library, LibraryRef{Owner: s.owner, Record: id, Kind: kind})
	}
	b.held[name] = append(slices.Clone(before), heldPlace{stream: s.no, sequence: v.Header.Sequence, pos: pos})
	b.meetPermissions(name, placeKey{stream: s.no, sequence: v.Header.Sequence}, v.Header.Commitment)
	b.queue = append(b.queue, b.dependents(name)...)
	return nil
}

// Freeze stops a stream for which its owner has signed two histories. The contradicting heads are kept as proof. The
// stream still takes withdrawals.
func (l *Ledger) Freeze(ctx context.Context, owner member.ID, id stream.ID, evidence [][]byte) error {
	err := l.submit(ctx, 1, func(b *batch) error {
		s := b.streamByID(owner, id)
		if s == nil || s.owner != owner {
			return nil
		}
		w := writer{}
		for _, note := range evidence {
			w.bytes(note)
		}
		err := b.tx.Put(tableForks, id[:], w.b)
		if err != nil {
			return fmt.Errorf("keep the proof: %w", err)
		}
		b.changeStream(s.no).frozen = true
		b.queuePermitted(s.no)
		return b.drainQueue()
	})
	if err != nil {
		return fmt.Errorf("freeze stream %s: %w", id, err)
	}
	return nil
}

// Fresh says that an owner's node has been heard: with withdrawalsApplied, all withdrawals that it knows are applied here,
// and its streams are shown again after an unclean stop.
func (l *Ledger) Fresh(owner member.ID, withdrawalsApplied bool) {
	if !withdrawalsApplied {
		return
	}
	l.mu.RLock()
	hidden := slices.ContainsFunc(l.state.streams, func(s *streamState) bool { return !s.own && s.owner == owner && s.hidden })
	l.mu.RUnlock()
	if !hidden {
		return
	}
	// Through the committer, the only writer: beside it, a batch under way would put the stream back as it was.
	err := l.submit(context.Background(), 1, func(b *batch) error {
		for _, s := range l.state.streams {
			if !s.own && s.owner == owner && s.hidden {
				b.changeStream(s.no).hidden = false
				b.queuePermitted(s.no)
			}
		}
		return b.drainQueue()
	})
	if err != nil {
		l.cfg.Logger.Warn("streams stay hidden until their owner is heard again", "owner", string(owner), "error", err)
	}
}

// Erasure is a received entry whose payload has been erased.
type Erasure struct {
	Stream   uint32
	Sequence uint64
}

// Erasures gives the received entries erased since the ledger was opened, from a number on, and the number to go on from.
// A withdrawal can be applied before the follower of a stream comes to it: who computes something from entries drops these
// first.
func (l *Ledger) Erasures(after uint64) ([]Erasure, uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := l.state.erasures
	return slices.Clone(all[min(after, uint64(len(all))):]), uint64(len(all))
}
