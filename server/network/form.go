package network

import (
	"crypto/sha256"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// recordKey names a record: its id is unique with its owner.
type recordKey struct {
	owner  member.ID
	record [16]byte
}

// form is the compact form of one released form of a record. It does not change once made.
type form struct {
	recordKey
	payload    [32]byte
	kind       ententev1.RecordKind
	order      [32]byte // of the record, the same for all its forms
	recordedAt int64    // nanoseconds since 1970; the later form says what kind of thing the record is now
	source     *ententev1.ViewSource
	sourceText string // encoded source: two forms with the same one are one source
	facts      []fact

	comparable  any              // what the resolver compares; entities only
	association *associationForm // associations only
	role        *roleForm        // roles only
	decision    *decisionForm    // decisions only
}

// fact is one value of one field.
type fact struct {
	field, value string
}

type associationForm struct {
	from, to recordKey
	kind     ententev1.AssociationKind
	mutual   bool
}

type roleForm struct {
	person, group recordKey // group has an empty owner if there is none
	functional    ententev1.FunctionalRole
	positional    ententev1.PositionalRole
}

type decisionForm struct {
	verdict ententev1.DecisionVerdict
	records []recordKey
}

func (f *form) key() formKey {
	return formKey{f.owner, f.record, f.payload}
}

// orderOf is the place of a record in the fixed order of records: the same everywhere, and in no relation to when or
// where the record came from, so that the least visible one gives away nothing of those before it.
func orderOf(record recordKey) [32]byte {
	buf := make([]byte, 0, 64)
	buf = append(buf, "entente/view"...)
	buf = append(buf, record.owner...)
	buf = append(buf, record.record[:]...)
	return sha256.Sum256(buf)
}

// newForm decodes an item. It returns nil if something in it is not understood.
func newForm(item *Item, resolver Resolver) *form {
	released := &ententev1.ReleasedRecord{}
	err := proto.Unmarshal(item.Released, released)
	if err != nil || !Understood(released) || !agrees(item, released) {
		return nil
	}
	f := &form{
		recordKey: recordKey{item.Owner, item.Record},
		payload:   item.PayloadHash,
		kind:      item.Kind,
	}
	f.order = orderOf(f.recordKey)
	f.source = sourceOf(released)
	f.sourceText = deterministic(f.source)
	if recordedAt := released.GetEnvelope().GetRecordedAt(); recordedAt != nil {
		f.recordedAt = recordedAt.AsTime().UnixNano()
	}
	switch f.kind {
	case ententev1.RecordKind_RECORD_KIND_ASSOCIATION:
		f.association = f.associationOf(released.GetBody().GetAssociation())
		f.facts = factsOf(released)
	case ententev1.RecordKind_RECORD_KIND_ROLE:
		f.role = f.roleOf(released.GetBody().GetRole())
		f.facts = factsOf(released)
	case ententev1.RecordKind_RECORD_KIND_DECISION:
		f.decision = f.decisionOf(released.GetBody().GetDecision())
	case ententev1.RecordKind_RECORD_KIND_LESSON, ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE:
		// Visible, and part of the view's hash, but no part of the network: the library serves them.
	default:
		f.comparable = resolver.Compact(f.order, f.payload, f.kind, released.GetBody())
		f.facts = factsOf(released)
	}
	return f
}

// Understood tells whether this program knows each field and each code in a released record: one that it does not is part
// of no answer.
func Understood(released *ententev1.ReleasedRecord) bool {
	return understood(released.ProtoReflect())
}

// understood tells whether this program knows each field and each code in a message. A reader that does not cannot know
// what it would leave out, so such a record is part of no answer.
func understood(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return false
	}
	known := true
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList():
			list := value.List()
			for i := 0; i < list.Len() && known; i++ {
				known = understoodValue(field, list.Get(i))
			}
		case field.IsMap():
			known = false // the contract has none
		default:
			known = understoodValue(field, value)
		}
		return known
	})
	return known
}

func understoodValue(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return understood(value.Message())
	case protoreflect.EnumKind:
		return field.Enum().Values().ByNumber(value.Enum()) != nil
	}
	return true
}

// agrees tells whether a released record is what its entry says: a member cannot speak for another one's record.
func agrees(item *Item, released *ententev1.ReleasedRecord) bool {
	return string(released.GetRecordId()) == string(item.Record[:]) &&
		released.GetEnvelope().GetProviderMember() == string(item.Owner) &&
		kindOf(released.GetBody()) == item.Kind &&
		item.Kind != ententev1.RecordKind_RECORD_KIND_UNSPECIFIED
}

// kindOf reads the kind of a body: its field number is the kind's (record.proto).
func kindOf(body *ententev1.Body) ententev1.RecordKind {
	m := body.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if field == nil {
		return ententev1.RecordKind_RECORD_KIND_UNSPECIFIED
	}
	return ententev1.RecordKind(field.Number())
}

func sourceOf(released *ententev1.ReleasedRecord) *ententev1.ViewSource {
	envelope := released.GetEnvelope()
	return &ententev1.ViewSource{
		ProviderMember:    envelope.GetProviderMember(),
		ProviderAuthority: envelope.GetProviderAuthority(),
		RecordId:          released.GetRecordId(),
		Evaluation:        envelope.GetEvaluation(),
		Handling:          envelope.GetHandling(),
		Classification:    envelope.GetClassification(),
		Assertion:         envelope.GetAssertion(),
		RecordedAt:        envelope.GetRecordedAt(),
		RetainUntil:       envelope.GetRetainUntil(),
		Purpose:           envelope.GetPurpose(),
	}
}

// deterministic encodes a message so that equal messages give equal text.
func deterministic(m proto.Message) string {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		// Only invalid UTF-8 can fail here, and what was decoded has none.
		return ""
	}
	return string(encoded)
}

// refOf reads a reference. One without a member names a record of the one who wrote it.
func (f *form) refOf(ref *ententev1.RecordRef) recordKey {
	var key recordKey
	if len(ref.GetRecordId()) != len(key.record) {
		return recordKey{}
	}
	copy(key.record[:], ref.GetRecordId())
	key.owner = member.ID(ref.GetProviderMember())
	if key.owner == "" {
		key.owner = f.owner
	}
	return key
}

func (f *form) associationOf(a *ententev1.Association) *associationForm {
	return &associationForm{
		from:   f.refOf(a.GetFrom()),
		to:     f.refOf(a.GetTo()),
		kind:   a.GetKind(),
		mutual: a.GetDirection() == ententev1.AssociationDirection_ASSOCIATION_DIRECTION_MUTUAL,
	}
}

func (f *form) roleOf(r *ententev1.Role) *roleForm {
	return &roleForm{
		person:     f.refOf(r.GetPerson()),
		group:      f.refOf(r.GetGroup()),
		functional: r.GetFunctionalRole(),
		positional: r.GetPositionalRole(),
	}
}

func (f *form) decisionOf(d *ententev1.Decision) *decisionForm {
	records := make([]recordKey, 0, len(d.GetRecords()))
	for _, ref := range d.GetRecords() {
		records = append(records, f.refOf(ref))
	}
	return &decisionForm{verdict: d.GetVerdict(), records: records}
}
