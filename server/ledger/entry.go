package ledger

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// Where the payload of a stream entry lies.
type payloadState byte

const (
	payloadNone   payloadState = 0 // the type has none
	payloadInLog  payloadState = 1 // in the log, at pos
	payloadInline payloadState = 2 // in the entry itself (openings)
	payloadErased payloadState = 3 // gone, and its salt with it
)

// storedEntry is the value kept for one entry of a stream, own or received. The header is what the stream's tree is made
// of; salt and payload can be erased under it, and the tree still verifies.
type storedEntry struct {
	header   []byte // stream.HeaderSize bytes
	state    payloadState
	salt     []byte
	pos      uint64      // payloadInLog: position in the log
	id       RecordID    // of a release
	version  uint64      // of a release of an own record
	kind     uint64      // payloadErased: the kind of the record, that a follower's filter still fits its withdrawal
	crimes   uint64      // payloadErased: its crime areas, likewise
	mergeFor []member.ID // own releases to a coordinator: for whom it may merge
	inline   []byte      // payloadInline: the encoded StreamPayload
	at       uint32      // own: when it was put into the stream, in seconds since 1970; 0: before that was kept
	edition  uint32      // of a release of an own record: see record.edition; of an erased received entry: endedHere, or 0
	cut      string      // of a release of an own record: the treatment of its form
}

// endedHere stands with a received entry that was erased without a withdrawal: its time was over, or the own member has left.
const endedHere = 1

// tail is what has been added to stored entries since: it stands at their end, and older ones do not have it.
func (e *storedEntry) tail(w *writer) {
	w.uint(uint64(e.at))
	w.uint(uint64(e.edition))
	w.string(e.cut)
}

func (e *storedEntry) readTail(r *reader) {
	if r.err != nil || len(r.b) == 0 {
		return
	}
	e.at = uint32(r.uint())
	e.edition = uint32(r.uint())
	e.cut = r.string()
}

func (e *storedEntry) encode() []byte {
	w := writer{b: make([]byte, 0, 160+len(e.inline))}
	w.raw(e.header)
	w.b = append(w.b, byte(e.state))
	switch e.state {
	case payloadInLog:
		w.raw(e.salt)
		w.uint(e.pos)
		w.raw(e.id[:])
		w.uint(e.version)
		w.uint(uint64(len(e.mergeFor)))
		for _, m := range e.mergeFor {
			w.string(string(m))
		}
	case payloadInline:
		w.raw(e.salt)
		w.bytes(e.inline)
	case payloadErased:
		w.raw(e.id[:])
		w.uint(e.version)
		w.uint(e.kind)
		w.uint(e.crimes)
	}
	if e.at != 0 || e.edition != 0 || e.cut != "" {
		e.tail(&w)
	}
	return w.b
}

// decodeEntry reads a stored entry. Byte slices point into value.
func decodeEntry(value []byte) (*storedEntry, error) {
	r := reader{b: value}
	e := &storedEntry{header: r.take(stream.HeaderSize), state: payloadState(first(r.take(1)))}
	switch e.state {
	case payloadNone:
	case payloadInLog:
		e.salt = r.take(32)
		e.pos = r.uint()
		e.id = r.id()
		e.version = r.uint()
		n := r.uint()
		for range n {
			if r.err != nil {
				break
			}
			e.mergeFor = append(e.mergeFor, member.ID(r.string()))
		}
	case payloadInline:
		e.salt = r.take(32)
		e.inline = r.bytes()
	case payloadErased:
		e.id = r.id()
		e.version = r.uint()
		e.kind = r.uint()
		e.crimes = r.uint()
	default:
		r.fail()
	}
	e.readTail(&r)
	if r.err != nil {
		return nil, fmt.Errorf("read stored entry: %w", r.err)
	}
	return e, nil
}

// Field numbers of StreamPayload, whose encoding is put together and taken apart here by hand: the released bytes are
// only passed through.
const (
	payloadFieldReleased = 2
	payloadFieldMergeFor = 3
)

// payloadPieces is the encoded StreamPayload around released bytes, in pieces.
func payloadPieces(released pieces, mergeFor []member.ID) [][]byte {
	size := len(released.before) + len(released.body) + len(released.after)
	head := protowire.AppendTag(make([]byte, 0, 8), payloadFieldReleased, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(size))
	var tail []byte
	for _, m := range mergeFor {
		tail = protowire.AppendTag(tail, payloadFieldMergeFor, protowire.BytesType)
		tail = protowire.AppendString(tail, string(m))
	}
	return [][]byte{head, released.before, released.body, released.after, tail}
}

// payloadBytes is the encoded StreamPayload around released bytes.
func payloadBytes(released []byte, mergeFor []member.ID) []byte {
	return slices.Concat(payloadPieces(pieces{body: released}, mergeFor)...)
}

// splitPayload takes a StreamPayload of a release apart. Fields that it does not know are passed over: the payload is
// kept as received.
func splitPayload(payload []byte) (released []byte, mergeFor []member.ID, err error) {
	for len(payload) > 0 {
		num, typ, n := protowire.ConsumeTag(payload)
		if n < 0 {
			return nil, nil, fmt.Errorf("read stream payload: %w", protowire.ParseError(n))
		}
		payload = payload[n:]
		if typ == protowire.BytesType && (num == payloadFieldReleased || num == payloadFieldMergeFor) {
			value, n := protowire.ConsumeBytes(payload)
			if n < 0 {
				return nil, nil, fmt.Errorf("read stream payload: %w", protowire.ParseError(n))
			}
			payload = payload[n:]
			if num == payloadFieldReleased {
				released = value
			} else {
				mergeFor = append(mergeFor, member.ID(value))
			}
			continue
		}
		n = protowire.ConsumeFieldValue(num, typ, payload)
		if n < 0 {
			return nil, nil, fmt.Errorf("read stream payload: %w", protowire.ParseError(n))
		}
		payload = payload[n:]
	}
	return released, mergeFor, nil
}
