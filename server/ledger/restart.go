package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// After an unclean stop the node may have forgotten the end of its own streams: it crashed and its disk lost what it had
// acknowledged, or an operator put an older backup in its place. To write on would sign a second history for numbers that
// readers already hold. So until each reader of a stream has said that it knows no later head, the stream is not written;
// if one does not say so in time, or knows a later head, the stream is retired and a successor is opened for the same
// readers. The price of a wrong suspicion is one more stream; the price of writing on would be a fork.

// LostTail is a head of an own stream that a reader holds and this node does not.
type LostTail struct {
	Reader member.ID
	Stream stream.ID
	Size   uint64
}

// distrust marks the own streams as waiting for their readers, and hides received ones until their withdrawals are known.
// It runs before the ledger is used.
func (l *Ledger) distrust() {
	for _, s := range l.state.streams {
		switch {
		case !s.own:
			s.hidden = true
		case s.retired:
		case len(s.readers) == 0:
			s.retired = true
		default:
			s.unconfirmed = map[member.ID]bool{}
			for _, m := range l.mayHold(s) {
				s.unconfirmed[m] = true
			}
			l.confirmBy = l.cfg.Now().Add(l.cfg.ConfirmWithin)
		}
	}
}

// mayHold is who may know a head of an own stream: its readers, and, since the last thing that was written and lost may
// have been a grant, everybody to whom a grant could have opened it.
func (l *Ledger) mayHold(s *streamState) memberSet {
	if s.kind == ententev1.StreamKind_STREAM_KIND_BILATERAL || s.closed {
		return s.readers
	}
	d := l.cfg.Directory()
	others := d.members().without(l.cfg.Self)
	if s.kind == ententev1.StreamKind_STREAM_KIND_PROJECT {
		p := d.Projects[s.project]
		others = slices.DeleteFunc(others, func(id member.ID) bool { return p == nil || !p.Ever(id) })
	}
	return s.readers.union(others)
}

// Unconfirmed gives the readers whose answer is still needed before all own streams can be written, in order.
func (l *Ledger) Unconfirmed() []member.ID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []member.ID
	for _, s := range l.state.streams {
		for m := range s.unconfirmed {
			list = append(list, m)
		}
	}
	return newMemberSet(list...)
}

// Confirm takes what a reader holds of the own streams. A stream that it does not list it holds nothing of. A head that is
// not ours is verified to be signed by us before it counts: a reader must not be able to retire our streams by a lie.
func (l *Ledger) Confirm(ctx context.Context, reader member.ID, heads []*ententev1.StreamHead) error {
	said := map[stream.ID]stream.Checkpoint{}
	for _, h := range heads {
		id, err := stream.ParseID(h.GetStreamId())
		if err != nil {
			return fmt.Errorf("confirmation of %s: %w: %w", reader, ErrRefused, err)
		}
		c, err := stream.OpenCheckpoint(h.GetCheckpoint(), l.cfg.Self, id, l.cfg.Directory().Roster.VerifyingKeys(l.cfg.Self))
		if err != nil {
			return fmt.Errorf("confirmation of %s: stream %s: %w: %w", reader, id, ErrRefused, err)
		}
		said[id] = c
	}
	err := l.submit(ctx, 1, func(b *batch) error {
		for _, s := range slices.Clone(l.state.streams) {
			// Also one that nothing was expected of may know a later head: its grant was lost.
			c, listed := said[s.id]
			if !s.own || s.retired || !s.unconfirmed[reader] && !listed {
				continue
			}
			later, err := b.later(s, c, listed)
			if err != nil {
				return err
			}
			if later {
				b.retire(b.changeStream(s.no), reader, c.Size)
				continue
			}
			if s.unconfirmed[reader] {
				delete(b.changeStream(s.no).unconfirmed, reader)
			}
		}
		for id, c := range said {
			b.noteTail(reader, id, c.Size)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("confirmation of %s: %w", reader, err)
	}
	return l.planWaiting(ctx)
}

// noteTail keeps the longest head that a reader has shown of an own stream which is not written any more, or which this
// node does not know at all: it was opened after the backup. It does not matter which reader answers first, nor whether
// the wait for the answers is over.
func (b *batch) noteTail(reader member.ID, id stream.ID, size uint64) {
	s := b.streamByID(b.l.cfg.Self, id)
	if s != nil && (!s.own || !s.retired || size <= s.size()) {
		return
	}
	known, ok := b.lost[id]
	if !ok {
		known = b.l.state.lost[id]
	}
	if size > known.Size {
		b.lost[id] = LostTail{Reader: reader, Stream: id, Size: size}
	}
}

// later tells whether a reader's head of an own stream is one that this node does not have in its history.
func (b *batch) later(s *streamState, c stream.Checkpoint, listed bool) (bool, error) {
	if !listed || c.Size == 0 {
		return false, nil
	}
	if c.Size > s.size() {
		return true, nil
	}
	root, err := stream.RootAt(nodes(b.tx, s), c.Size)
	if err != nil {
		return false, fmt.Errorf("stream %s: root at %d: %w", s.id, c.Size, err)
	}
	return !bytes.Equal(root[:], c.Root[:]), nil
}

// retire ends an own stream for good; a successor takes its place with the next thing that is to be appended.
func (b *batch) retire(s *streamState, reader member.ID, size uint64) {
	s.retired = true
	s.unconfirmed = nil
	b.l.cfg.Logger.Warn("own stream retired: its readers know, or may know, a later head", "stream", s.id.String(), "size", s.size(), "reader", string(reader), "reader_size", size)
}

// giveUpConfirmation retires what is not confirmed in time.
func (l *Ledger) giveUpConfirmation(b *batch) error {
	l.gaveUp = true
	for _, s := range slices.Clone(l.state.streams) {
		if len(s.unconfirmed) > 0 {
			b.retire(b.changeStream(s.no), "", 0)
		}
	}
	for _, id := range b.l.state.waitingRecords() {
		err := b.replan(id)
		if err != nil {
			return err
		}
	}
	return nil
}

// waitingRecords lists the records with something to be appended yet.
func (s *state) waitingRecords() []RecordID {
	var list []RecordID
	for id := range s.waiting {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, c RecordID) int { return bytes.Compare(a[:], c[:]) })
	return list
}

// LostTails gives the heads that readers hold beyond ours and that are not pulled back yet.
func (l *Ledger) LostTails() []LostTail {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []LostTail
	for id, tail := range l.state.lost {
		no := l.state.byID[streamKey{owner: l.cfg.Self, id: id}]
		if no != 0 && max(l.state.stream(no).size(), l.state.stream(no).withdrawnTo) >= tail.Size {
			continue
		}
		list = append(list, tail)
	}
	return list
}

// WithdrawTail takes back, unseen, all entries of a lost tail that could not be recovered. It stands in the successor, for
// the retired stream is never written again. Without its opening, a stream's readers are not known, and nothing can be
// done: that is ErrAbsent.
func (l *Ledger) WithdrawTail(ctx context.Context, tail LostTail) error {
	err := l.submit(ctx, 1, func(b *batch) error {
		s := b.streamByID(l.cfg.Self, tail.Stream)
		if s == nil || !s.retired {
			return ErrAbsent
		}
		from := max(s.size(), s.withdrawnTo)
		if tail.Size <= from {
			return nil
		}
		b.changeStream(s.no).withdrawnTo = tail.Size
		out, err := b.successor(s)
		if err != nil {
			return err
		}
		if out == nil {
			return errors.New("its successor cannot be written yet")
		}
		for seq := from + 1; seq <= tail.Size; seq++ {
			h := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Target: s.id, TargetSequence: seq, Reason: uint8(ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION)}
			_, err = b.append(b.stream(out.no), h, nil, &storedEntry{state: payloadNone})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("withdraw the lost end of stream %s: %w", tail.Stream, err)
	}
	return l.planWaiting(ctx)
}

// planWaiting plans what waits again, after something that it may have waited for.
func (l *Ledger) planWaiting(ctx context.Context) error {
	// Read now and not within a commit: of what was pushed in the same one the state did not tell yet.
	l.mu.RLock()
	again := l.state.waitingRecords()
	l.mu.RUnlock()
	return l.submitPlans(ctx, again)
}

// TailReader gives the verifier with which a lost tail is pulled back from its reader.
func (l *Ledger) TailReader(tail LostTail) *stream.Reader {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var edge stream.Edge
	no := l.state.byID[streamKey{owner: l.cfg.Self, id: tail.Stream}]
	if no != 0 {
		edge = l.state.stream(no).edge
	}
	return stream.NewReader(l.cfg.Self, tail.Stream, l.cfg.Self, edge)
}

// RecoverTail puts back entries of an own stream that a reader still had. The stream stays retired: it is known again, so
// that what it released can be withdrawn by its successor, and never written again.
func (l *Ledger) RecoverTail(ctx context.Context, id stream.ID, entries []stream.Verified, checkpoint []byte) error {
	err := l.submit(ctx, len(entries), func(b *batch) error {
		s := b.streamByID(b.l.cfg.Self, id)
		for _, v := range entries {
			if s == nil {
				made, err := b.recoverOpening(v)
				if err != nil {
					return err
				}
				s = made
			}
			if !s.own {
				return fmt.Errorf("is not ours: %w", ErrRefused)
			}
			s = b.changeStream(s.no)
			s.retired = true
			s.unconfirmed = nil
			if v.Header.Sequence <= s.size() {
				continue
			}
			err := b.applyEntry(s, v)
			if err != nil {
				return err
			}
			err = b.recoverWithdrawal(s, v)
			if err != nil {
				return err
			}
		}
		if s != nil && len(checkpoint) > 0 {
			b.changeStream(s.no).checkpoint = slices.Clone(checkpoint)
		}
		return b.drainQueue()
	})
	if err != nil {
		return fmt.Errorf("recover stream %s: %w", id, err)
	}
	return l.planWaiting(ctx)
}

func (b *batch) recoverOpening(v stream.Verified) (*streamState, error) {
	opening := v.Opening
	if opening == nil || member.ID(opening.GetOwner()) != b.l.cfg.Self {
		return nil, fmt.Errorf("opening is not ours: %w", ErrRefused)
	}
	s, err := b.addStream(opening)
	if err != nil {
		return nil, err
	}
	_, taken := b.openStream(s.key)
	if !taken {
		b.open[s.key] = s.no
	}
	return s, nil
}

// recoveredVersion finds the version of our own that was released by a recovered entry: the newest one, where one of the forms
// in which it is wanted gives the same bytes; it notes that with the entry. Else version 0: what was released is not here.
func (b *batch) recoveredVersion(s *streamState, id RecordID, released []byte, e *storedEntry) error {
	r := b.record(id)
	if r == nil || r.pos == 0 || r.erased {
		return nil
	}
	value, err := b.tx.Get(logSeries, r.pos)
	if err != nil {
		return fmt.Errorf("read log %d: %w", r.pos, err)
	}
	held, err := decodeRecordEvent(value)
	if err != nil {
		return fmt.Errorf("log %d: %w", r.pos, err)
	}
	full := &ententev1.Record{}
	err = proto.Unmarshal(held.record.join(), full)
	if err != nil {
		return fmt.Errorf("read record %s: %w", id, err)
	}
	for _, cut := range r.cuts() {
		ours, err := b.l.releasedForm(id, held.authority, full, nil, newFormKey(s.project, cut), r.renewed())
		if err != nil {
			return err
		}
		if bytes.Equal(ours.released.join(), released) {
			e.version, e.edition, e.cut = r.version, r.edition, cut
			return nil
		}
	}
	return nil
}

// cuts are the treatments in which a record is wanted, and none.
func (r *record) cuts() []string {
	list := []string{""}
	if r.intents == nil {
		return list
	}
	for _, in := range r.intents.list {
		if !slices.Contains(list, in.cut) {
			list = append(list, in.cut)
		}
	}
	return list
}

// recoverPlace makes a recovered release known as a place of its record, even where the record itself is lost until its
// national system pushes it again. Version 0 stands for one that is lost here.
func (b *batch) recoverPlace(s *streamState, sequence uint64, id RecordID, kind ententev1.RecordKind, e *storedEntry) error {
	r := b.change(id)
	if r.pos == 0 {
		r.kind = kind
	}
	r.places = append(r.places, place{stream: s.no, sequence: sequence, version: e.version, mergeFor: newMemberSet(e.mergeFor...).key(),
		cut: b.l.state.internCut(e.cut), edition: e.edition, at: e.at})
	if r.fresh {
		// Pushed again before its lost release was known: what is newest is here, and this place is one too many.
		b.queue = append(b.queue, id)
	}
	return nil
}

// recoverWithdrawal marks the place that a recovered withdrawal takes back.
func (b *batch) recoverWithdrawal(s *streamState, v stream.Verified) error {
	w, ok := v.Header.Withdrawal(s.id)
	if !ok {
		return nil
	}
	in := b.streamByID(b.l.cfg.Self, w.Target)
	if in == nil || in.size() < w.TargetSequence {
		// Its target is lost too, and comes back later: gone already.
		t := target{owner: b.l.cfg.Self, stream: w.Target, sequence: w.TargetSequence}
		err := b.tx.Put(tableAhead, t.key(), []byte{w.Reason})
		if err != nil {
			return fmt.Errorf("keep withdrawal: %w", err)
		}
		b.ahead[t] = ahead{reason: w.Reason}
		return nil
	}
	value, err := b.tx.Get(entrySeries(in.no), w.TargetSequence)
	if err != nil {
		return fmt.Errorf("read entry %d of stream %s: %w", w.TargetSequence, in.id, err)
	}
	e, err := decodeEntry(value)
	if err != nil {
		return err
	}
	p := b.givenPermit(placeKey{stream: in.no, sequence: w.TargetSequence})
	if p != nil {
		return b.erasePermission(in, p)
	}
	if b.record(e.id) == nil {
		return nil
	}
	r := b.change(e.id)
	for i := range r.places {
		at := &r.places[i]
		if at.stream != in.no || at.sequence != w.TargetSequence {
			continue
		}
		// Taken back once before the backup was put in its place, and once after: the later by number counts, as at a start.
		if at.withdrawn && at.byStream > s.no {
			continue
		}
		at.withdrawn, at.byStream, at.bySeq, at.gone = true, s.no, v.Header.Sequence, 0 // when is lost
	}
	return b.eraseEntry(in.no, w.TargetSequence, r)
}
