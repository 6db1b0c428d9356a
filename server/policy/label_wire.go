package policy

import (
	"google.golang.org/protobuf/encoding/protowire"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Numbers of the fields that a label is read from. A test takes them from the contract.
const (
	fieldReleasedEnvelope = 2
	fieldReleasedBody     = 3

	fieldEnvelopePurpose        = 8
	fieldEnvelopeHandling       = 11
	fieldEnvelopeClassification = 12
	fieldEnvelopeRetainUntil    = 13

	fieldHandlingCodes       = 1
	fieldClassificationLevel = 1
	fieldClassificationRank  = 3
	fieldTimestampSeconds    = 1
	fieldTimestampNanos      = 2

	fieldPersonStatus    = 2
	fieldPersonMinor     = 12
	fieldGroupTieBases   = 13
	fieldAssociationTies = 7
	fieldTieBasis        = 1
	lastKind             = ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE
	kindPerson           = protowire.Number(ententev1.RecordKind_RECORD_KIND_PERSON)
	kindCriminalGroup    = protowire.Number(ententev1.RecordKind_RECORD_KIND_CRIMINAL_GROUP)
	kindAssociation      = protowire.Number(ententev1.RecordKind_RECORD_KIND_ASSOCIATION)
)

// LabelOf reads the label of an encoded ReleasedRecord without decoding its body: the same as LabelOfReleased of the decoded
// one. What cannot be read has the strictest label. That the rest of the record is understood is not said by its label.
func LabelOf(released []byte) Label {
	g := &glimpse{}
	g.scan(released, func(f wireField) {
		switch {
		case f.is(fieldReleasedEnvelope, protowire.BytesType):
			g.scan(f.bytes, g.envelope)
		case f.is(fieldReleasedBody, protowire.BytesType):
			g.scan(f.bytes, g.body)
		}
	})
	return g.label()
}

// wireField is one field as it stands in an encoded message.
type wireField struct {
	number protowire.Number
	typ    protowire.Type
	varint uint64 // of VarintType
	bytes  []byte // of BytesType
}

func (f wireField) is(number protowire.Number, typ protowire.Type) bool {
	return f.number == number && f.typ == typ
}

// scan shows the fields of an encoded message one by one. Fields of other types than the contract's are shown too, and
// passed over like unknown ones.
func (g *glimpse) scan(encoded []byte, show func(wireField)) {
	for len(encoded) > 0 {
		number, typ, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			g.broken = true
			return
		}
		encoded = encoded[n:]
		f := wireField{number: number, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(encoded)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(encoded)
		default:
			n = protowire.ConsumeFieldValue(number, typ, encoded)
		}
		if n < 0 {
			g.broken = true
			return
		}
		encoded = encoded[n:]
		show(f)
	}
}

// codes shows the codes of a repeated field, which may stand packed or one by one.
func (g *glimpse) codes(f wireField, show func(int32)) {
	if f.typ == protowire.VarintType {
		show(int32(f.varint))
		return
	}
	for packed := f.bytes; len(packed) > 0; {
		code, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			g.broken = true
			return
		}
		packed = packed[n:]
		show(int32(code))
	}
}

func (g *glimpse) envelope(f wireField) {
	switch {
	case f.is(fieldEnvelopePurpose, protowire.VarintType):
		g.purpose = ententev1.Purpose(f.varint)
	case f.is(fieldEnvelopeHandling, protowire.BytesType):
		g.scan(f.bytes, g.conditions)
	case f.is(fieldEnvelopeClassification, protowire.BytesType):
		g.classified = true
		g.scan(f.bytes, g.classification)
	case f.is(fieldEnvelopeRetainUntil, protowire.BytesType):
		g.retained = true
		g.scan(f.bytes, g.retention)
	}
}

func (g *glimpse) conditions(f wireField) {
	if f.number == fieldHandlingCodes {
		g.codes(f, func(code int32) { g.handling |= handlingBit(ententev1.HandlingCode(code)) })
	}
}

func (g *glimpse) classification(f wireField) {
	switch {
	case f.is(fieldClassificationLevel, protowire.VarintType):
		g.level = ententev1.ClassificationLevel(f.varint)
	case f.is(fieldClassificationRank, protowire.VarintType):
		g.rank = uint32(f.varint)
	}
}

func (g *glimpse) retention(f wireField) {
	switch {
	case f.is(fieldTimestampSeconds, protowire.VarintType):
		g.seconds = int64(f.varint)
	case f.is(fieldTimestampNanos, protowire.VarintType):
		g.nanos = int32(f.varint)
	}
}

// body reads the kind, and of the kinds that need it what the label says of them. Where several kinds are given the last
// one counts, as for everybody who decodes the record.
func (g *glimpse) body(f wireField) {
	if f.typ != protowire.BytesType || f.number > protowire.Number(lastKind) {
		return
	}
	if kind := ententev1.RecordKind(f.number); kind != g.kind {
		g.kind, g.status, g.minor, g.ethnic, g.strange = kind, 0, false, false, false
	}
	switch f.number {
	case kindPerson:
		g.scan(f.bytes, g.person)
	case kindCriminalGroup:
		g.scan(f.bytes, g.group)
	case kindAssociation:
		g.scan(f.bytes, g.association)
	}
}

func (g *glimpse) person(f wireField) {
	switch {
	case f.is(fieldPersonStatus, protowire.VarintType):
		g.status = ententev1.PersonStatus(f.varint)
	case f.is(fieldPersonMinor, protowire.VarintType):
		g.minor = protowire.DecodeBool(f.varint)
	}
}

func (g *glimpse) group(f wireField) {
	if f.number == fieldGroupTieBases {
		g.codes(f, func(basis int32) { g.tie(ententev1.TieBasis(basis)) })
	}
}

func (g *glimpse) association(f wireField) {
	if !f.is(fieldAssociationTies, protowire.BytesType) {
		return
	}
	var basis ententev1.TieBasis
	g.scan(f.bytes, func(f wireField) {
		if f.is(fieldTieBasis, protowire.VarintType) {
			basis = ententev1.TieBasis(f.varint)
		}
	})
	g.tie(basis)
}
