package ledger

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"

	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// append puts one entry at the end of an own stream that is the batch's copy.
func (b *batch) append(s *streamState, h stream.Header, payload [][]byte, e *storedEntry) (uint64, error) {
	s = b.changeStream(s.no)
	h.Sequence = s.edge.Size() + 1
	if payload != nil {
		salt := make([]byte, 32)
		_, err := io.ReadFull(b.l.cfg.Rand, salt)
		if err != nil {
			return 0, fmt.Errorf("draw a salt: %w", err)
		}
		e.salt = salt
		h.Commitment = b.commitment(salt, payload)
	}
	e.header = h.Append(nil)
	e.at = b.seconds()
	err := b.store(s, e)
	if err != nil {
		return 0, err
	}
	if h.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL {
		s.withdrawals = append(s.withdrawals, h.Sequence)
	}
	b.touched[s.no] = true
	return h.Sequence, nil
}

// commitment is stream.Commit over a payload in pieces, which are not put together for it.
func (b *batch) commitment(salt []byte, payload [][]byte) stream.Hash {
	if b.hash == nil {
		b.hash = sha256.New()
	}
	b.hash.Reset()
	b.hash.Write(salt)
	for _, piece := range payload {
		b.hash.Write(piece)
	}
	var sum stream.Hash
	b.hash.Sum(sum[:0])
	return sum
}

// store writes an entry, own or received, and carries the tree on.
func (b *batch) store(s *streamState, e *storedEntry) error {
	n, err := b.tx.Append(entrySeries(s.no), e.encode())
	if err != nil {
		return fmt.Errorf("append entry: %w", err)
	}
	if n != s.edge.Size()+1 {
		return fmt.Errorf("stream %s: entry %d stored at %d: %w", s.id, s.edge.Size()+1, n, errMalformed)
	}
	leaf := stream.LeafHash(e.header)
	s.edge.Append(leaf)
	s.tail = append(s.tail, leaf)
	if len(s.tail) < stream.TileWidth {
		return nil
	}
	tiles, err := stream.FillTiles(s.edge.Size(), s.tail, func(level uint, index uint64) ([]byte, error) {
		return b.tx.Get(tileSeries(s.no, level), index+1)
	})
	if err != nil {
		return fmt.Errorf("stream %s: fill tiles: %w", s.id, err)
	}
	for _, t := range tiles {
		series := tileSeries(s.no, t.Level)
		if b.tx.Len(series) > t.Index {
			err = b.tx.Replace(series, t.Index+1, t.Hashes)
		} else {
			_, err = b.tx.Append(series, t.Hashes)
		}
		if err != nil {
			return fmt.Errorf("stream %s: write tile: %w", s.id, err)
		}
	}
	s.tail = s.tail[:0:0]
	return nil
}

// channelStream gives the stream of a channel, opening one where there is none that may be written. closeOthers: an open
// stream of the same kind and project for other readers is closed first, because the readers have changed. Nil: the
// stream waits for its readers' answer after an unclean stop.
func (b *batch) channelStream(key channelKey, readers memberSet, predecessor stream.ID, closeOthers bool) (*streamState, error) {
	no, ok := b.openStream(key)
	var retired *streamState
	if ok {
		s := b.stream(no)
		if s.retired {
			retired = s
		}
		if s.appendable() && (!s.closed || !closeOthers) {
			return s, nil
		}
		if len(s.unconfirmed) > 0 || b.awaitsTail(s) {
			return nil, nil
		}
		if predecessor == (stream.ID{}) {
			predecessor = s.id
		}
	}
	if closeOthers && key.kind != ententev1.StreamKind_STREAM_KIND_BILATERAL {
		err := b.closeOthers(key)
		if err != nil {
			return nil, err
		}
	}
	s, err := b.openNew(key, readers, predecessor)
	if err != nil || retired == nil || len(retired.grants) == 0 {
		return s, err
	}
	err = b.grantAgain(s, retired)
	return b.stream(s.no), err
}

// awaitsTail tells whether the lost end of a retired stream is still to be pulled back: a successor opened before that would
// release what readers hold already. The wait ends with the one for confirmations.
func (b *batch) awaitsTail(s *streamState) bool {
	if !s.retired || b.l.gaveUp {
		return false
	}
	tail, ok := b.lost[s.id]
	if !ok {
		tail, ok = b.l.state.lost[s.id]
	}
	return ok && tail.Size > max(s.size(), s.withdrawnTo)
}

func (b *batch) closeOthers(key channelKey) error {
	for _, known := range []map[channelKey]uint32{b.l.state.open, b.open} {
		for other, no := range known {
			if other.kind != key.kind || other.project != key.project || other == key {
				continue
			}
			s := b.stream(no)
			if other.readers == key.readers { // beside it, for the same readers and others by grant
				continue
			}
			if s.key != other || s.closed || !s.appendable() {
				continue
			}
			// Those present before a newcomer and after are both still meant, each by its records: neither ends the other.
			if b.stillMeant(s) {
				continue
			}
			err := b.close(s)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// stillMeant tells whether a stream for those who were present at some time is one for members, or participants, who are all
// still there.
func (b *batch) stillMeant(s *streamState) bool {
	if !slices.Equal(b.memo.active(s), s.base) {
		return false
	}
	switch s.kind {
	case ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS:
		return true
	case ententev1.StreamKind_STREAM_KIND_PROJECT:
		p := b.l.cfg.Directory().Projects[s.project]
		return p != nil && s.base.within(newMemberSet(p.Participants...))
	}
	return false
}

// close appends the closing: from here on the stream takes withdrawals only.
func (b *batch) close(s *streamState) error {
	_, err := b.append(s, stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_CLOSING}, nil, &storedEntry{state: payloadNone})
	if err != nil {
		return fmt.Errorf("close stream %s: %w", s.id, err)
	}
	b.stream(s.no).closed = true
	return nil
}

func (b *batch) openNew(key channelKey, readers memberSet, predecessor stream.ID) (*streamState, error) {
	id, err := stream.NewID(b.l.cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	opening := &ententev1.StreamOpening{StreamId: id[:], Owner: string(b.l.cfg.Self), Kind: key.kind, ProjectId: key.project,
		Readers: idStrings(readers), OpenedAt: timestamp(b.now)}
	if predecessor != (stream.ID{}) {
		opening.Predecessor = predecessor[:]
	}
	s, err := b.addStream(opening)
	if err != nil {
		return nil, err
	}
	b.open[s.key] = s.no
	payload, err := deterministic().Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Opening{Opening: opening}})
	if err != nil {
		return nil, fmt.Errorf("encode opening: %w", err)
	}
	_, err = b.append(s, stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_OPENING}, [][]byte{payload}, &storedEntry{state: payloadInline, inline: payload})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// addStream makes a stream known, own or received, from its opening.
func (b *batch) addStream(opening *ententev1.StreamOpening) (*streamState, error) {
	s, err := streamFromOpening(opening, b.l.cfg.Self)
	if err != nil {
		return nil, err
	}
	s.no = uint32(len(b.l.state.streams) + len(b.opened) + 1)
	encoded, err := deterministic().Marshal(opening)
	if err != nil {
		return nil, fmt.Errorf("encode opening: %w", err)
	}
	err = b.tx.Put(tableStreams, numberKey(s.no), encoded)
	if err != nil {
		return nil, fmt.Errorf("keep stream %s: %w", s.id, err)
	}
	b.streams[s.no] = s
	b.opened = append(b.opened, s)
	return s, nil
}

// streamFromOpening is an empty stream as its opening describes it.
func streamFromOpening(opening *ententev1.StreamOpening, self member.ID) (*streamState, error) {
	id, err := stream.ParseID(opening.GetStreamId())
	if err != nil {
		return nil, fmt.Errorf("read opening: %w", err)
	}
	s := &streamState{id: id, owner: member.ID(opening.GetOwner()), kind: opening.GetKind(), project: opening.GetProjectId(),
		base: newMemberSet(memberIDs(opening.GetReaders())...), opening: opening, confirmed: map[member.ID]confirmation{}}
	s.own = s.owner == self
	s.readers = s.base
	s.key = channelKey{kind: s.kind, project: s.project, readers: s.readers.key()}
	if s.kind == ententev1.StreamKind_STREAM_KIND_BILATERAL && len(s.readers) == 1 {
		s.key.readers = string(s.readers[0])
	}
	return s, nil
}
