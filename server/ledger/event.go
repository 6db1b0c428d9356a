package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// What stands in the log: one event a value, in the order in which things happened. The first byte says which. Values are
// sealed by the store; the forms here are the node's own and no part of the contract.
type eventType byte

const (
	// eventRecord is one version of an own record as pushed, with the forms released together with it.
	eventRecord eventType = 1
	// eventAudience replaces the audiences of an own record.
	eventAudience eventType = 2
	// eventWithdrawn marks an own record as withdrawn up to a version.
	eventWithdrawn eventType = 3
	// eventForm is a released form made later than its version was pushed.
	eventForm eventType = 4
	// eventReceived is a record received by a stream of another member (or an own one that was lost and pulled back).
	eventReceived eventType = 5
	// eventReceipt is a signed receipt of a reader.
	eventReceipt eventType = 6
	// eventCare is what is decided about an own record beside its versions and audiences: restriction, hold, renewal.
	eventCare eventType = 7
)

// formKey tells the released forms of one version apart: by the project ("" for none) and by the treatment ("" for whole).
type formKey string

// newFormKey puts a key together. Ids of projects have no zero byte. A whole form's key is the project alone, as it was
// before there were treatments.
func newFormKey(project, cut string) formKey {
	if cut == "" {
		return formKey(project)
	}
	return formKey(project + "\x00" + cut)
}

// parts gives the project and the treatment.
func (k formKey) parts() (project, cut string) {
	project, cut, _ = strings.Cut(string(k), "\x00")
	return project, cut
}

// form is a record as released in one form: where its bytes lie in the log.
type form struct {
	key formKey
	pos uint64
}

// pieces is an encoded message in three parts: a record and its released forms differ in what stands around the body, and
// the body is kept once.
type pieces struct {
	before, body, after []byte
}

func (p pieces) join() []byte {
	b := make([]byte, 0, len(p.before)+len(p.body)+len(p.after))
	b = append(b, p.before...)
	b = append(b, p.body...)
	return append(b, p.after...)
}

// formBytes is a released form. Its body is the record's own where sharesBody is set.
type formBytes struct {
	key        formKey
	released   pieces
	sharesBody bool
}

type recordEvent struct {
	id          RecordID
	version     uint64
	kind        ententev1.RecordKind
	authority   string
	receivedAt  int64 // nanoseconds since 1970
	previous    uint64
	crimes      uint64
	restriction []byte // encoded Restriction, or empty
	names       []Name // the records that this one names and must not be released without
	sources     int    // how many of names, at their end, are only what it was made from
	sensitive   uint8  // what of it needs a second person; see Config.Sensitive
	hasIntents  bool
	intents     string // encoded intents
	record      pieces
	forms       []formBytes
}

// erased tells whether the content was erased at home: what is left of the version is that it was there.
func (e *recordEvent) erased() bool {
	return len(e.record.before) == 0 && len(e.record.body) == 0
}

// careEvent replaces what is decided about a record beside its versions and audiences. It holds the whole state each time.
type careEvent struct {
	id   RecordID
	care care
}

type audienceEvent struct {
	id      RecordID
	intents string
}

type withdrawnEvent struct {
	id      RecordID
	version uint64
	reason  ententev1.WithdrawalReason
}

type formEvent struct {
	id      RecordID
	version uint64
	formBytes
}

type receivedEvent struct {
	stream   uint32
	sequence uint64
	id       RecordID
	kind     ententev1.RecordKind
	crimes   uint64
	payload  []byte // encoded StreamPayload, empty once erased
}

type receiptEvent struct {
	stream   uint32
	reader   member.ID
	size     uint64
	at       int64
	document []byte
}

var errMalformed = errors.New("malformed event")

// writer appends the parts of an event.
type writer struct{ b []byte }

func (w *writer) uint(v uint64) { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) raw(v []byte)  { w.b = append(w.b, v...) }
func (w *writer) bytes(v []byte) {
	w.uint(uint64(len(v)))
	w.b = append(w.b, v...)
}
func (w *writer) string(v string) {
	w.uint(uint64(len(v)))
	w.b = append(w.b, v...)
}
func (w *writer) names(names []Name) {
	w.uint(uint64(len(names)))
	for _, n := range names {
		w.string(string(n.Owner))
		w.raw(n.Record[:])
	}
}

// reader takes the parts of an event; the first failure sticks. Byte slices point into the value.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	r.b = nil
	r.err = errMalformed
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if uint64(len(r.b)) < n {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte  { return r.take(r.uint()) }
func (r *reader) string() string { return string(r.bytes()) }
func (r *reader) id() (id RecordID) {
	copy(id[:], r.take(uint64(len(id))))
	return id
}
func (r *reader) names() []Name {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	names := make([]Name, 0, n)
	for range n {
		owner := member.ID(r.string())
		names = append(names, Name{Owner: owner, Record: r.id()})
	}
	return names
}

// What stands in a record event beside what each has.
const (
	recordHasIntents  = 1
	recordHasSources  = 2
	recordIsSensitive = 4
)

func (e *recordEvent) encode() []byte {
	size := 256 + len(e.authority) + len(e.intents) + len(e.record.before) + len(e.record.body)
	for _, f := range e.forms {
		size += len(f.released.before) + len(f.key) + 32
		if !f.sharesBody {
			size += len(f.released.body)
		}
	}
	w := writer{b: make([]byte, 0, size)}
	w.b = append(w.b, byte(eventRecord))
	w.raw(e.id[:])
	w.uint(e.version)
	w.uint(uint64(e.kind))
	w.string(e.authority)
	w.uint(uint64(e.receivedAt))
	w.uint(e.previous)
	w.uint(e.crimes)
	w.bytes(e.restriction)
	w.names(e.names)
	var flags byte
	if e.hasIntents {
		flags |= recordHasIntents
	}
	if e.sources > 0 {
		flags |= recordHasSources
	}
	if e.sensitive != 0 {
		flags |= recordIsSensitive
	}
	w.b = append(w.b, flags)
	if e.hasIntents {
		w.string(e.intents)
	}
	if e.sources > 0 {
		w.uint(uint64(e.sources))
	}
	if e.sensitive != 0 {
		w.b = append(w.b, e.sensitive)
	}
	w.bytes(e.record.before)
	w.bytes(e.record.body)
	w.bytes(e.record.after)
	w.uint(uint64(len(e.forms)))
	for _, f := range e.forms {
		w.form(f)
	}
	return w.b
}

func (w *writer) form(f formBytes) {
	w.string(string(f.key))
	w.bytes(f.released.before)
	if f.sharesBody {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
		w.bytes(f.released.body)
	}
	w.bytes(f.released.after)
}

func (r *reader) form(body []byte) formBytes {
	f := formBytes{key: formKey(r.string())}
	f.released.before = r.bytes()
	f.sharesBody = first(r.take(1)) == 1
	if f.sharesBody {
		f.released.body = body
	} else {
		f.released.body = r.bytes()
	}
	f.released.after = r.bytes()
	return f
}

func decodeRecordEvent(value []byte) (*recordEvent, error) {
	r := reader{b: value}
	if eventType(first(r.take(1))) != eventRecord {
		return nil, fmt.Errorf("event is no record: %w", errMalformed)
	}
	e := &recordEvent{id: r.id(), version: r.uint(), kind: ententev1.RecordKind(r.uint()), authority: r.string(),
		receivedAt: int64(r.uint()), previous: r.uint(), crimes: r.uint(), restriction: r.bytes(), names: r.names()}
	flags := first(r.take(1))
	if flags&recordHasIntents != 0 {
		e.hasIntents = true
		e.intents = r.string()
	}
	if flags&recordHasSources != 0 {
		e.sources = int(min(r.uint(), uint64(len(e.names))))
	}
	if flags&recordIsSensitive != 0 {
		e.sensitive = first(r.take(1))
	}
	e.record = pieces{before: r.bytes(), body: r.bytes(), after: r.bytes()}
	n := r.uint()
	for range n {
		if r.err != nil {
			break
		}
		e.forms = append(e.forms, r.form(e.record.body))
	}
	if r.err != nil {
		return nil, fmt.Errorf("read record event: %w", r.err)
	}
	return e, nil
}

func (e *audienceEvent) encode() []byte {
	w := writer{}
	w.b = append(w.b, byte(eventAudience))
	w.raw(e.id[:])
	w.string(e.intents)
	return w.b
}

func (e *withdrawnEvent) encode() []byte {
	w := writer{}
	w.b = append(w.b, byte(eventWithdrawn))
	w.raw(e.id[:])
	w.uint(e.version)
	w.uint(uint64(e.reason))
	return w.b
}

func (e *formEvent) encode() []byte {
	w := writer{b: make([]byte, 0, 96+len(e.released.before)+len(e.released.body))}
	w.b = append(w.b, byte(eventForm))
	w.raw(e.id[:])
	w.uint(e.version)
	w.form(e.formBytes)
	return w.b
}

func (e *receivedEvent) encode() []byte {
	w := writer{b: make([]byte, 0, 96+len(e.payload))}
	w.b = append(w.b, byte(eventReceived))
	w.uint(uint64(e.stream))
	w.uint(e.sequence)
	w.raw(e.id[:])
	w.uint(uint64(e.kind))
	w.uint(e.crimes)
	w.bytes(e.payload)
	return w.b
}

func (e *receiptEvent) encode() []byte {
	w := writer{b: make([]byte, 0, 64+len(e.document))}
	w.b = append(w.b, byte(eventReceipt))
	w.uint(uint64(e.stream))
	w.string(string(e.reader))
	w.uint(e.size)
	w.uint(uint64(e.at))
	w.bytes(e.document)
	return w.b
}

func first(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// decodeEvent reads any event. Byte slices point into value.
func decodeEvent(value []byte) (any, error) {
	r := reader{b: value}
	var e any
	switch eventType(first(r.take(1))) {
	case eventRecord:
		return decodeRecordEvent(value)
	case eventAudience:
		e = &audienceEvent{id: r.id(), intents: r.string()}
	case eventWithdrawn:
		e = &withdrawnEvent{id: r.id(), version: r.uint(), reason: ententev1.WithdrawalReason(r.uint())}
	case eventForm:
		e = &formEvent{id: r.id(), version: r.uint(), formBytes: r.form(nil)}
	case eventReceived:
		e = &receivedEvent{stream: uint32(r.uint()), sequence: r.uint(), id: r.id(), kind: ententev1.RecordKind(r.uint()),
			crimes: r.uint(), payload: r.bytes()}
	case eventCare:
		e = &careEvent{id: r.id(), care: r.care()}
	case eventReceipt:
		e = &receiptEvent{stream: uint32(r.uint()), reader: member.ID(r.string()), size: r.uint(), at: int64(r.uint()), document: r.bytes()}
	default:
		r.fail()
	}
	if r.err != nil {
		return nil, fmt.Errorf("read event: %w", r.err)
	}
	return e, nil
}
