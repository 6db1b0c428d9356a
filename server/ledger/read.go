package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// StreamInfo describes a stream as it is on disk.
type StreamInfo struct {
	No         uint32
	ID         stream.ID
	Owner      member.ID
	Kind       ententev1.StreamKind
	Project    string
	Readers    []member.ID // sorted, the owner left out; those by grant included
	Granted    []member.ID // sorted: the readers that its opening does not name
	Departed   []member.ID // sorted: the readers that have left its project, whom it is denied until its owner takes it back
	Size       uint64
	Root       stream.Hash
	Checkpoint []byte
	Closed     bool // takes withdrawals only
	Hidden     bool // received, and after an unclean stop not to be shown until its withdrawals are known
	Frozen     bool // received: its owner has shown two histories
	Left       bool // received, of a project that the own member has left: nobody here may read it any more
	Stranger   bool // of a project that its owner, by the project's documents, never took part in
	OpenedAt   time.Time
}

func (l *Ledger) info(s *streamState) StreamInfo {
	p := l.cfg.Directory().Projects[s.project]
	return StreamInfo{Stranger: p != nil && !p.Ever(s.owner), Left: l.left(s), No: s.no, ID: s.id, Owner: s.owner, Kind: s.kind, Project: s.project, Readers: s.readers, Granted: s.byGrant(), Departed: departed(s, p), Size: s.size(), Root: s.edge.Root(),
		Checkpoint: s.checkpoint, Closed: s.closed || s.retired, Hidden: s.hidden || s.frozen, Frozen: s.frozen, OpenedAt: s.opening.GetOpenedAt().AsTime()}
}

// departed are the readers of a project's stream that have left the project since.
func departed(s *streamState, p *member.Project) []member.ID {
	if p == nil {
		return nil
	}
	var list []member.ID
	for _, id := range s.readers {
		if p.Left(id) {
			list = append(list, id)
		}
	}
	return list
}

// left tells whether a stream came by a project that the own member has left since. Its owners withdraw what is in it; until
// that is here, it is already denied.
func (l *Ledger) left(s *streamState) bool {
	p := l.cfg.Directory().Projects[s.project]
	return p != nil && !s.own && p.Left(l.cfg.Self)
}

// Streams gives all streams, own and received.
func (l *Ledger) Streams() []StreamInfo {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]StreamInfo, len(l.state.streams))
	for i, s := range l.state.streams {
		list[i] = l.info(s)
	}
	return list
}

// StreamsShared gives the streams of an owner that a reader reads: own ones where owner is this node's member, else those
// that the node holds.
func (l *Ledger) StreamsShared(owner, reader member.ID) []StreamInfo {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []StreamInfo
	for _, s := range l.state.streams {
		if s.owner == owner && s.readers.has(reader) {
			list = append(list, l.info(s))
		}
	}
	return list
}

// Digest is one hash over the streams of an owner that a reader reads, as this node holds them (see stream.Digest). It is
// kept until one of them changes.
func (l *Ledger) Digest(owner, reader member.ID) stream.Hash {
	l.mu.RLock()
	key := digestKey{owner: owner, reader: reader}
	known := l.state.digests[key]
	l.mu.RUnlock()
	if known != nil {
		return *known
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var heads []stream.Head
	for _, s := range l.state.streams {
		if s.owner == owner && s.readers.has(reader) {
			heads = append(heads, stream.Head{Stream: s.id, Size: s.size(), Root: s.edge.Root()})
		}
	}
	digest := stream.Digest(heads)
	if len(heads) > 0 { // who asks for the streams of a member that there is not must not make this node remember it
		l.state.digests[key] = &digest
	}
	return digest
}

// SignedDigest is the digest of the own streams for a reader, signed with the time.
func (l *Ledger) SignedDigest(reader member.ID) (*ententev1.SignedDocument, error) {
	digest := l.Digest(l.cfg.Self, reader)
	body, err := deterministic().Marshal(&ententev1.HeadsDigest{Owner: string(l.cfg.Self), Reader: string(reader), Digest: digest[:], SignedAt: timestamp(l.cfg.Now())})
	if err != nil {
		return nil, fmt.Errorf("encode digest: %w", err)
	}
	return member.SignDocument(documentDigest, body, l.cfg.Self, l.signingKey()), nil
}

// HeadsDigest is one hash over the heads of all streams, own and received: what the marker of a clean stop holds.
func (l *Ledger) HeadsDigest() [32]byte {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var heads []stream.Head
	for _, s := range l.state.streams {
		heads = append(heads, stream.Head{Stream: s.id, Size: s.size(), Root: s.edge.Root()})
	}
	return stream.Digest(heads)
}

func (l *Ledger) ownStreamOf(id stream.ID, reader member.ID) (StreamInfo, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	no, ok := l.state.byID[streamKey{owner: l.cfg.Self, id: id}]
	if !ok {
		return StreamInfo{}, false
	}
	s := l.state.stream(no)
	if !s.own || !s.readers.has(reader) {
		return StreamInfo{}, false
	}
	return l.info(s), true
}

// snapshot gives a stream's state for reading beside the committer, which never changes what it has installed.
func (l *Ledger) snapshot(no uint32) (*streamState, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.state.stream(no)
	if s == nil {
		return nil, fmt.Errorf("stream %d: %w", no, ErrAbsent)
	}
	return s, nil
}

// source is what of the store reading needs: a view or a transaction.
type source interface {
	Get(s store.Series, n uint64) ([]byte, error)
}

// nodes gives the Merkle tree of a stream.
func nodes(from source, s *streamState) stream.TileReader {
	return stream.TileReader{
		Size: s.size(),
		Tile: func(level uint, index uint64) ([]byte, error) { return from.Get(tileSeries(s.no, level), index+1) },
		LeafHashes: func(first, last uint64) ([]stream.Hash, error) {
			start := s.size() / stream.TileWidth * stream.TileWidth
			if first >= start && last <= start+uint64(len(s.tail)) {
				return s.tail[first-start : last-start], nil
			}
			var list []stream.Hash
			for n := first + 1; n <= last; n++ {
				value, err := from.Get(entrySeries(s.no), n)
				if err != nil {
					return nil, err
				}
				e, err := decodeEntry(value)
				if err != nil {
					return nil, err
				}
				list = append(list, stream.LeafHash(e.header))
			}
			return list, nil
		},
	}
}

func (l *Ledger) rootAt(no uint32, size uint64) (stream.Hash, error) {
	s, err := l.snapshot(no)
	if err != nil {
		return stream.Hash{}, err
	}
	if size == s.size() {
		return s.edge.Root(), nil
	}
	var root stream.Hash
	err = l.store.View(func(v *store.View) error {
		root, err = stream.RootAt(nodes(v, s), size)
		return err
	})
	if err != nil {
		return root, fmt.Errorf("root of stream %s at %d: %w", s.id, size, err)
	}
	return root, nil
}

// Consistency is the proof that the stream at size from is a beginning of the stream at size to.
func (l *Ledger) Consistency(no uint32, from, to uint64) ([][]byte, error) {
	s, err := l.snapshot(no)
	if err != nil {
		return nil, err
	}
	if from == 0 || from == to {
		return nil, nil
	}
	var proof [][]byte
	err = l.store.View(func(v *store.View) error {
		proof, err = stream.Consistency(nodes(v, s), from, to)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("prove stream %s from %d to %d: %w", s.id, from, to, err)
	}
	return proof, nil
}

// WithdrawalsAfter gives the withdrawals of a stream with sequences above after and up to upTo, each proven at size upTo.
func (l *Ledger) WithdrawalsAfter(no uint32, after, upTo uint64, limit int) ([]*ententev1.ProvenHeader, error) {
	s, err := l.snapshot(no)
	if err != nil {
		return nil, err
	}
	start, _ := slices.BinarySearch(s.withdrawals, after+1)
	var list []*ententev1.ProvenHeader
	err = l.store.View(func(v *store.View) error {
		for _, seq := range s.withdrawals[start:] {
			if seq > upTo || len(list) == limit {
				return nil
			}
			value, err := v.Get(entrySeries(no), seq)
			if err != nil {
				return err
			}
			e, err := decodeEntry(value)
			if err != nil {
				return err
			}
			proof, err := stream.Inclusion(nodes(v, s), seq-1, upTo)
			if err != nil {
				return err
			}
			list = append(list, &ententev1.ProvenHeader{Header: slices.Clone(e.header), Inclusion: proof})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("withdrawals of stream %s: %w", s.id, err)
	}
	return list, nil
}

// Entries gives entries of a stream from a sequence on, as they travel, in a short read.
func (l *Ledger) Entries(no uint32, from uint64, maxEntries, maxBytes int) ([]*ententev1.Entry, error) {
	s, err := l.snapshot(no)
	if err != nil {
		return nil, err
	}
	var list []*ententev1.Entry
	size := 0
	err = l.store.View(func(v *store.View) error {
		return v.Scan(entrySeries(no), from, func(n uint64, value []byte) (bool, error) {
			if n > s.size() {
				return false, nil
			}
			e, err := decodeEntry(slices.Clone(value))
			if err != nil {
				return false, err
			}
			out, err := l.travelling(v, s, e)
			if err != nil {
				return false, fmt.Errorf("entry %d: %w", n, err)
			}
			list = append(list, out)
			size += len(out.GetPayload()) + 128
			return len(list) < maxEntries && size < maxBytes, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", s.id, err)
	}
	return list, nil
}

func (l *Ledger) travelling(v *store.View, s *streamState, e *storedEntry) (*ententev1.Entry, error) {
	out := &ententev1.Entry{Header: e.header}
	switch e.state {
	case payloadInline:
		out.Salt, out.Payload = e.salt, e.inline
	case payloadInLog:
		payload, _, err := readPayload(v, s, e)
		if err != nil {
			return nil, err
		}
		out.Salt, out.Payload = e.salt, payload
	}
	return out, nil
}

// readPayload gives the encoded StreamPayload of a stored release and, inside it, the released bytes.
func readPayload(v source, s *streamState, e *storedEntry) (payload, released []byte, err error) {
	value, err := v.Get(logSeries, e.pos)
	if err != nil {
		return nil, nil, fmt.Errorf("read log %d: %w", e.pos, err)
	}
	if first(value) == byte(eventReceived) {
		decoded, err := decodeEvent(value)
		if err != nil {
			return nil, nil, err
		}
		payload = decoded.(*receivedEvent).payload
		released, _, err = splitPayload(payload)
		return payload, released, err
	}
	released, err = formIn(value, newFormKey(s.project, e.cut))
	if err != nil {
		return nil, nil, err
	}
	return payloadBytes(released, e.mergeFor), released, nil
}

// Gone counts the entries whose payload has been erased since the start. Who has read payloads and has not sent them yet
// compares: where the count has changed meanwhile, it reads again.
func (l *Ledger) Gone() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.state.gone
}

// Entry is an entry as a follower of streams sees it.
type Entry struct {
	Stream      *StreamInfo
	Sequence    uint64
	Type        ententev1.EntryType
	Owner       member.ID
	Record      RecordID             // of a release; of a withdrawal, the record that it takes back, where that is known
	Kind        ententev1.RecordKind // of a release
	CrimeAreas  uint64               // of a release: one bit for each CrimeArea
	Released    []byte               // of a release: the encoded ReleasedRecord; nil once erased
	MergeFor    []member.ID          // of a release to a coordinator: for whom it may merge
	PayloadHash [32]byte             // SHA-256 of Released
	Target      stream.ID            // of a withdrawal
	TargetSeq   uint64
	Reason      ententev1.WithdrawalReason
	RetainUntil int64 // of a release: when it must be gone, in seconds since 1970; 0: it does not say
	StillHeld   bool  // of a withdrawal: another release of the same record to this node stands
}

// Follow gives entries of a stream from a sequence on, in a short read. Entries that a follower has no use for (openings,
// closings, types of a newer version) are in the list too, so that it knows its position.
func (l *Ledger) Follow(no uint32, from uint64, maxEntries int) ([]Entry, error) {
	s, err := l.snapshot(no)
	if err != nil {
		return nil, err
	}
	info := l.info(s)
	var list []Entry
	err = l.store.View(func(v *store.View) error {
		return v.Scan(entrySeries(no), from, func(n uint64, value []byte) (bool, error) {
			if n > s.size() {
				return false, nil
			}
			one, err := l.followed(v, s, &info, value)
			if err != nil {
				return false, fmt.Errorf("entry %d: %w", n, err)
			}
			list = append(list, one)
			return len(list) < maxEntries, nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("follow stream %s: %w", s.id, err)
	}
	return list, nil
}

func (l *Ledger) followed(v *store.View, s *streamState, info *StreamInfo, value []byte) (Entry, error) {
	e, err := decodeEntry(value)
	if err != nil {
		return Entry{}, err
	}
	h, err := stream.ParseHeader(e.header)
	if err != nil {
		return Entry{}, err
	}
	out := Entry{Stream: info, Sequence: h.Sequence, Type: h.Type, Owner: s.owner, Record: e.id}
	switch h.Type {
	case ententev1.EntryType_ENTRY_TYPE_RELEASE:
		if e.state != payloadInLog {
			return out, nil
		}
		out.MergeFor = e.mergeFor
		_, released, err := readPayload(v, s, e)
		if errors.Is(err, errErased) || err == nil && released == nil {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out.RetainUntil = releasedRetain(released)
		out.Released = slices.Clone(released)
		out.PayloadHash = sha256.Sum256(released)
		out.Record, out.Kind, out.CrimeAreas, err = glance(released)
		return out, err
	case ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL:
		out.Target, out.TargetSeq, out.Reason = h.Target, h.TargetSequence, ententev1.WithdrawalReason(h.Reason)
		return out, l.withdrawnRecord(v, h, &out)
	}
	return out, nil
}

// withdrawnRecord finds which record a withdrawal takes back, and whether this node still holds it otherwise. What was
// withdrawn before it ever came leaves it unknown.
func (l *Ledger) withdrawnRecord(v *store.View, h stream.Header, out *Entry) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	no := l.state.byID[streamKey{owner: out.Owner, id: h.Target}]
	s := l.state.stream(no)
	// The state may have gone on since the view began: what is not yet in the view is not yet there.
	if s == nil || h.TargetSequence > min(s.size(), v.Len(entrySeries(no))) {
		return nil
	}
	value, err := v.Get(entrySeries(no), h.TargetSequence)
	if err != nil {
		return err
	}
	e, err := decodeEntry(value)
	if err != nil {
		return err
	}
	out.Record, out.Kind, out.CrimeAreas = e.id, ententev1.RecordKind(e.kind), e.crimes
	if !s.own {
		out.StillHeld = len(l.state.held[Name{Owner: s.owner, Record: e.id}]) > 0
		return nil
	}
	r := l.state.records[e.id]
	out.StillHeld = r != nil && slices.ContainsFunc(r.places, func(at place) bool { return !at.withdrawn })
	return nil
}
