package ledger

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// RecordID is the id of a record of the own member.
func (l *Ledger) RecordID(authority, reference string) RecordID {
	return l.ids.id(authority, reference)
}

// KindOf is the kind of a body: the number of the field that is set. It is UNSPECIFIED for an empty one.
func KindOf(body *ententev1.Body) ententev1.RecordKind {
	m := body.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	if field == nil {
		return ententev1.RecordKind_RECORD_KIND_UNSPECIFIED
	}
	return ententev1.RecordKind(field.Number())
}

func isLibrary(kind ententev1.RecordKind) bool {
	return kind == ententev1.RecordKind_RECORD_KIND_LESSON || kind == ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE
}

// crimeMask is a set of crime areas: one bit for each number below 64.
func crimeMask(areas []ententev1.CrimeArea) uint64 {
	var mask uint64
	for _, a := range areas {
		if a > 0 && a < 64 {
			mask |= 1 << uint(a)
		}
	}
	return mask
}

// resolveRef finds the record that a reference of an own record means: one of the same authority by its reference, or any
// by owner and id.
func (l *Ledger) resolveRef(authority string, ref *ententev1.RecordRef) (Name, error) {
	switch t := ref.GetTarget().(type) {
	case *ententev1.RecordRef_ProviderReference:
		if ref.GetProviderMember() != "" && ref.GetProviderMember() != string(l.cfg.Self) {
			return Name{}, errors.New("gives a provider reference of another member; its records are named by id")
		}
		return Name{Owner: l.cfg.Self, Record: l.RecordID(authority, t.ProviderReference)}, nil
	case *ententev1.RecordRef_RecordId:
		id, err := ParseRecordID(t.RecordId)
		if err != nil {
			return Name{}, err
		}
		owner := l.cfg.Self
		if ref.GetProviderMember() != "" {
			owner, err = member.ParseID(ref.GetProviderMember())
			if err != nil {
				return Name{}, errors.New("names a provider member that is no member id")
			}
		}
		return Name{Owner: owner, Record: id}, nil
	}
	return Name{}, errors.New("names no record")
}

// Field numbers of Record and ReleasedRecord. Both are put together by hand around the encoded body, which is nearly all
// of them: it is encoded once for both.
const (
	recordFieldEnvelope   = 1
	recordFieldBody       = 2
	recordFieldCrimes     = 3
	releasedFieldID       = 1
	releasedFieldEnvelope = 2
	releasedFieldBody     = 3
	releasedFieldCrimes   = 4
)

func deterministic() proto.MarshalOptions { return proto.MarshalOptions{Deterministic: true} }

// encodeRecord is the encoding of a record under which the node knows it: equal records give equal bytes. body is the
// encoded body.
func encodeRecord(r *ententev1.Record, body []byte) (pieces, error) {
	envelope, err := deterministic().Marshal(r.GetEnvelope())
	if err != nil {
		return pieces{}, fmt.Errorf("encode envelope: %w", err)
	}
	before := appendBytes(make([]byte, 0, len(envelope)+16), recordFieldEnvelope, envelope)
	return around(before, recordFieldBody, body, recordFieldCrimes, r.GetCrimeAreas()), nil
}

// around puts the end of a message, the body and the crime areas, behind its beginning.
func around(before []byte, bodyField protowire.Number, body []byte, crimesField protowire.Number, areas []ententev1.CrimeArea) pieces {
	before = protowire.AppendTag(before, bodyField, protowire.BytesType)
	before = protowire.AppendVarint(before, uint64(len(body)))
	return pieces{before: before, body: body, after: appendCrimes(nil, crimesField, areas)}
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, value)
}

func appendCrimes(b []byte, field protowire.Number, areas []ententev1.CrimeArea) []byte {
	if len(areas) == 0 {
		return b
	}
	size := 0
	for _, a := range areas {
		size += protowire.SizeVarint(uint64(a))
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	for _, a := range areas {
		b = protowire.AppendVarint(b, uint64(a))
	}
	return b
}

// releasedForm is the encoded form in which a record leaves the node: without national version and home references, with
// no audience but the project, and treated as the key says. It is made by listing what goes, not by leaving out what
// stays: a field that is new in Envelope stays at home until somebody adds it here. body is the encoded body as pushed, nil
// where it is not at hand. retain, where not 0, is until when it may be kept instead of what the record says.
func (l *Ledger) releasedForm(id RecordID, authority string, r *ententev1.Record, body []byte, key formKey, retain int64) (formBytes, error) {
	project, cut := key.parts()
	if cut != "" {
		var err error
		r, err = l.treated(r, cut)
		if err != nil {
			return formBytes{}, fmt.Errorf("record %s: %w", id, err)
		}
		body = nil
	}
	e := r.GetEnvelope()
	until := e.GetRetainUntil()
	if retain != 0 {
		until = timestamppb.New(time.Unix(retain, 0))
	}
	envelope, err := deterministic().Marshal(&ententev1.ReleasedEnvelope{
		ProviderMember:    string(l.cfg.Self),
		ProviderAuthority: authority,
		ProjectId:         project,
		RecordedAt:        e.GetRecordedAt(),
		CollectedAt:       e.GetCollectedAt(),
		ValidFrom:         e.GetValidFrom(),
		ValidTo:           e.GetValidTo(),
		Purpose:           e.GetPurpose(),
		LegalBasis:        e.GetLegalBasis(),
		Evaluation:        e.GetEvaluation(),
		Handling:          e.GetHandling(),
		Classification:    e.GetClassification(),
		RetainUntil:       until,
		ReviewDue:         e.GetReviewDue(),
		Assertion:         e.GetAssertion(),
	})
	if err != nil {
		return formBytes{}, fmt.Errorf("record %s: encode envelope: %w", id, err)
	}
	shares := body != nil && len(namesOf(r.GetBody())) == 0
	if !shares {
		leaving, err := l.releasedBody(authority, r.GetBody())
		if err != nil {
			return formBytes{}, fmt.Errorf("record %s: %w", id, err)
		}
		body, err = deterministic().Marshal(leaving)
		if err != nil {
			return formBytes{}, fmt.Errorf("record %s: encode body: %w", id, err)
		}
	}
	before := appendBytes(make([]byte, 0, len(id)+len(envelope)+24), releasedFieldID, id[:])
	before = appendBytes(before, releasedFieldEnvelope, envelope)
	released := around(before, releasedFieldBody, body, releasedFieldCrimes, r.GetCrimeAreas())
	return formBytes{key: key, released: released, sharesBody: shares}, nil
}

// releasedBody is the body with references by id. Bodies that name no record are passed on as they are, not copied.
func (l *Ledger) releasedBody(authority string, body *ententev1.Body) (*ententev1.Body, error) {
	if len(namesOf(body)) == 0 {
		return body, nil
	}
	body = proto.CloneOf(body)
	for _, named := range namesOf(body) {
		n, err := l.resolveRef(authority, named.ref)
		if err != nil {
			return nil, err
		}
		named.ref.Target = &ententev1.RecordRef_RecordId{RecordId: n.Record[:]}
		named.ref.ProviderMember = string(n.Owner)
	}
	for _, tie := range body.GetAssociation().GetTies() {
		// Why a tie was strictly necessary to record is the provider's own business.
		tie.SpecialCategory = nil
	}
	return body, nil
}

// glance reads from an encoded ReleasedRecord what an index needs, without decoding the body: its id, its kind and its
// crime areas. A kind that this version does not know reads as what it is; what cannot be read at all is an error.
func glance(released []byte) (id RecordID, kind ententev1.RecordKind, crimes uint64, err error) {
	for b := released; len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return id, 0, 0, fmt.Errorf("read released record: %w", protowire.ParseError(n))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return id, 0, 0, fmt.Errorf("read released record: %w", protowire.ParseError(n))
		}
		value := b[:n]
		b = b[n:]
		switch {
		case num == releasedFieldID && typ == protowire.BytesType:
			v, _ := protowire.ConsumeBytes(value)
			id, err = ParseRecordID(v)
			if err != nil {
				return id, 0, 0, err
			}
		case num == releasedFieldBody && typ == protowire.BytesType:
			v, _ := protowire.ConsumeBytes(value)
			field, _, n := protowire.ConsumeTag(v)
			if n > 0 {
				kind = ententev1.RecordKind(field)
			}
		case num == releasedFieldCrimes && typ == protowire.BytesType:
			v, _ := protowire.ConsumeBytes(value)
			for len(v) > 0 {
				area, n := protowire.ConsumeVarint(v)
				if n < 0 {
					break
				}
				v = v[n:]
				if area > 0 && area < 64 {
					crimes |= 1 << area
				}
			}
		}
	}
	if id == (RecordID{}) {
		return id, 0, 0, errors.New("released record has no id")
	}
	return id, kind, crimes, nil
}
