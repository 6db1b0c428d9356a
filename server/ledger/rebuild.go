package ledger

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// rebuild reads the state from the store: the streams, the log, and the entries of each stream. It is the only way in
// which state comes to be at a start, after a clean stop as after a crash.
func rebuild(st *store.Store, self member.ID) (*state, error) {
	s := newState()
	err := st.View(func(v *store.View) error {
		err := s.readStreams(v, self)
		if err != nil {
			return err
		}
		err = s.readAhead(v)
		if err != nil {
			return err
		}
		return s.readArrivals(v)
	})
	if err != nil {
		return nil, err
	}
	received := map[uint64]ententev1.RecordKind{}
	err = scan(st, logSeries, func(n uint64, value []byte) error { return s.readLog(n, value, received) })
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	for _, str := range s.streams {
		err = scan(st, entrySeries(str.no), func(n uint64, value []byte) error { return s.readEntry(str, n, value, received) })
		if err != nil {
			return nil, fmt.Errorf("read stream %s: %w", str.id, err)
		}
		if str.rows != str.edge.Size() {
			return nil, fmt.Errorf("read stream %s: %d entries for a head of %d: %w", str.id, str.rows, str.edge.Size(), errMalformed)
		}
	}
	for _, str := range s.streams {
		s.readWithdrawals(str)
	}
	s.readOpen()
	s.index(self)
	return s, st.View(func(v *store.View) error { return s.findPermitted(v) })
}

// scanSlice is how many values one read transaction covers.
const scanSlice = 4096

// scan reads a series in short transactions.
func scan(st *store.Store, series store.Series, fn func(n uint64, value []byte) error) error {
	next := uint64(1)
	for {
		seen := 0
		err := st.View(func(v *store.View) error {
			return v.Scan(series, next, func(n uint64, value []byte) (bool, error) {
				seen++
				next = n + 1
				return seen < scanSlice, fn(n, value)
			})
		})
		if err != nil {
			return err
		}
		if seen < scanSlice {
			return nil
		}
	}
}

func (s *state) readStreams(v *store.View, self member.ID) error {
	openings := map[uint32][]byte{}
	err := v.Each(tableStreams, func(key, value []byte) error {
		if len(key) != 4 {
			return fmt.Errorf("stream table: %w", errMalformed)
		}
		openings[binary.BigEndian.Uint32(key)] = slices.Clone(value)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read streams: %w", err)
	}
	s.streams = make([]*streamState, len(openings))
	for no, encoded := range openings {
		if no == 0 || int(no) > len(openings) {
			return fmt.Errorf("read streams: number %d of %d: %w", no, len(openings), errMalformed)
		}
		opening := &ententev1.StreamOpening{}
		err = proto.Unmarshal(encoded, opening)
		if err != nil {
			return fmt.Errorf("read stream %d: %w", no, err)
		}
		str, err := streamFromOpening(opening, self)
		if err != nil {
			return err
		}
		str.no = no
		if !str.own && !str.readers.has(self) {
			str.addGrant(self, 0) // as when its opening came
		}
		head, err := v.GetKey(tableHeads, numberKey(no))
		if err != nil {
			return fmt.Errorf("read head of stream %s: %w", str.id, err)
		}
		if head == nil {
			return fmt.Errorf("stream %s has no head: %w", str.id, errMalformed)
		}
		err = str.decodeHead(head)
		if err != nil {
			return err
		}
		s.streams[no-1] = str
		s.byID[str.name()] = no
	}
	return nil
}

// readOpen finds the stream of each channel, once grants are read: they change what a stream is for.
func (s *state) readOpen() {
	for _, str := range s.streams {
		if !str.own {
			continue
		}
		// A recovered stream is known later than the one that took its place, and is never written again.
		before := s.stream(s.open[str.key])
		if before == nil || !str.retired || before.retired {
			s.open[str.key] = str.no
		}
	}
}

// readArrivals reads what is remembered of members and projects.
func (s *state) readArrivals(v *store.View) error {
	err := v.Each(tableArrivals, func(key, value []byte) error {
		a, err := decodeArrival(value)
		s.arrivals[member.ID(key)] = a
		return err
	})
	if err != nil {
		return err
	}
	return v.Each(tableLegacy, func(key, value []byte) error {
		s.legacy[string(key)] = parseMemberSet(string(value))
		return nil
	})
}

func (s *state) readAhead(v *store.View) error {
	return v.Each(tableAhead, func(key, value []byte) error {
		if len(key) < 24 || len(value) != 1 {
			return fmt.Errorf("withdrawals ahead: %w", errMalformed)
		}
		t := target{owner: member.ID(key[24:]), sequence: binary.BigEndian.Uint64(key[16:24])}
		copy(t.stream[:], key[:16])
		s.ahead[t] = ahead{reason: value[0]}
		return nil
	})
}

func (s *state) readLog(n uint64, value []byte, received map[uint64]ententev1.RecordKind) error {
	s.logged = n
	decoded, err := decodeEvent(value)
	if err != nil {
		return fmt.Errorf("log %d: %w", n, err)
	}
	switch e := decoded.(type) {
	case *recordEvent:
		r := s.records[e.id]
		if r == nil {
			r = &record{}
			s.records[e.id] = r
		}
		if r.order == 0 {
			s.order = append(s.order, e.id)
			if isLibrary(e.kind) {
				s.library = append(s.library, LibraryRef{Record: e.id, Kind: e.kind})
			}
		}
		applyRecord(r, n, e)
		r.authority = s.internAuthority(e.authority)
		if e.hasIntents {
			r.intents, err = s.internIntents(e.intents)
			if err != nil {
				return err
			}
		}
	case *careEvent:
		r := s.records[e.id]
		if r == nil {
			return fmt.Errorf("log %d names an unknown record: %w", n, errMalformed)
		}
		applyCare(r, e.care)
	case *audienceEvent:
		r := s.records[e.id]
		if r == nil {
			return fmt.Errorf("log %d names an unknown record: %w", n, errMalformed)
		}
		r.intents, err = s.internIntents(e.intents)
		if err != nil {
			return err
		}
	case *withdrawnEvent:
		r := s.records[e.id]
		if r == nil {
			// Known only by a recovered stream when it was withdrawn: see recoverPlace.
			r = &record{}
			s.records[e.id] = r
		}
		applyWithdrawn(r, e)
	case *formEvent:
		r := s.records[e.id]
		if r != nil && e.version == r.version && len(e.released.before) > 0 {
			r.forms = append(r.forms, form{key: e.key, pos: n})
		}
	case *receivedEvent:
		if len(e.payload) > 0 {
			received[n] = e.kind
			s.due.add(dueItem{stream: e.stream, sequence: e.sequence, at: payloadRetain(e.payload)})
		}
	case *receiptEvent:
		str := s.stream(e.stream)
		if str != nil {
			str.confirmed[e.reader] = str.confirmed[e.reader].after(e)
		}
	}
	return nil
}

// readEntry takes one stored entry into the state: places of own records, holdings of others', the last tile.
func (s *state) readEntry(str *streamState, n uint64, value []byte, received map[uint64]ententev1.RecordKind) error {
	e, err := decodeEntry(value)
	if err != nil {
		return fmt.Errorf("entry %d: %w", n, err)
	}
	str.rows++
	if n > str.edge.Size()/stream.TileWidth*stream.TileWidth {
		str.tail = append(str.tail, stream.LeafHash(e.header))
	}
	h, err := stream.ParseHeader(e.header)
	if err != nil {
		return fmt.Errorf("entry %d: %w", n, err)
	}
	switch h.Type {
	case ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL:
		str.withdrawals = append(str.withdrawals, n)
		str.targets = append(str.targets, target{owner: str.owner, stream: h.Target, sequence: h.TargetSequence})
		str.withdrawnAt = append(str.withdrawnAt, e.at)
	case ententev1.EntryType_ENTRY_TYPE_RELEASE:
		s.readRelease(str, n, e, received)
	case ententev1.EntryType_ENTRY_TYPE_GRANT:
		return readGrant(str, n, e)
	case ententev1.EntryType_ENTRY_TYPE_PERMISSION:
		s.readPermission(str, n, e)
	}
	return nil
}

// readGrant takes a stored grant into its stream, also one that came when this program was older and did not know the type.
func readGrant(str *streamState, n uint64, e *storedEntry) error {
	if e.state != payloadInline {
		return nil
	}
	payload := &ententev1.StreamPayload{}
	err := proto.Unmarshal(e.inline, payload)
	if err != nil {
		return fmt.Errorf("entry %d: read grant: %w", n, err)
	}
	g, err := stream.ParseGrant(payload.GetGrant(), str.owner, str.id)
	if err != nil {
		return nil // kept unread by an older program: it opens nothing
	}
	str.addGrant(g.Reader, n)
	return nil
}

func (s *state) readRelease(str *streamState, n uint64, e *storedEntry, received map[uint64]ententev1.RecordKind) {
	if str.own {
		r := s.records[e.id]
		if r == nil {
			r = &record{}
			s.records[e.id] = r
		}
		r.places = append(r.places, place{stream: str.no, sequence: n, version: e.version, mergeFor: newMemberSet(e.mergeFor...).key(),
			cut: s.internCut(e.cut), edition: e.edition, at: e.at})
		return
	}
	if e.state != payloadInLog {
		return
	}
	kind, held := received[e.pos]
	if !held {
		return
	}
	name := Name{Owner: str.owner, Record: e.id}
	if isLibrary(kind) && len(s.held[name]) == 0 {
		s.library = append(s.library, LibraryRef{Owner: str.owner, Record: e.id, Kind: kind})
	}
	s.held[name] = append(s.held[name], heldPlace{stream: str.no, sequence: n, pos: e.pos})
}

// readWithdrawals marks the own places that a stream's withdrawals take back.
func (s *state) readWithdrawals(str *streamState) {
	if !str.own {
		str.targets, str.withdrawnAt = nil, nil
		return
	}
	for i, t := range str.targets {
		no := s.byID[streamKey{owner: str.owner, id: t.stream}]
		if no == 0 {
			continue
		}
		key := placeKey{stream: no, sequence: t.sequence}
		if s.rebuilding == nil {
			s.rebuilding = map[placeKey]withdrawnBy{}
		}
		s.rebuilding[key] = withdrawnBy{stream: str.no, sequence: str.withdrawals[i], at: str.withdrawnAt[i]}
	}
	str.targets, str.withdrawnAt = nil, nil
}

type placeKey struct {
	stream   uint32
	sequence uint64
}

func comparePlaces(a, b placeKey) int {
	return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.sequence, b.sequence))
}

type withdrawnBy struct {
	stream   uint32
	sequence uint64
	at       uint32
}

// index fills what is derived from records: who names whom, what waits, which places are withdrawn.
func (s *state) index(self member.ID) {
	for i, n := range s.library {
		if n.Owner == "" {
			s.library[i].Owner = self
		}
	}
	for id, r := range s.records {
		if r.retain != 0 && !r.erased {
			s.due.add(dueItem{id: id, at: r.retain})
		}
		for i := range r.places {
			by, ok := s.rebuilding[placeKey{stream: r.places[i].stream, sequence: r.places[i].sequence}]
			if ok {
				r.places[i].withdrawn, r.places[i].byStream, r.places[i].bySeq, r.places[i].gone = true, by.stream, by.sequence, by.at
			}
		}
		for _, n := range r.names {
			s.dependents[n] = append(s.dependents[n], id)
		}
	}
	s.rebuilding = nil
}
