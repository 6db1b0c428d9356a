package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const (
	defaultEntries = 100
	// progressEvery is how many records or entries are looked at between two messages that say how far it is.
	progressEvery = 10_000
	maxAlerts     = 1000
)

// audits answers the member's own auditors. What they look at stands in the trail as well.
type audits struct {
	ententev1.UnimplementedAuditServiceServer
	*Server
}

// look is the entry about an auditor's question.
func (s *audits) look(ctx context.Context, reason *ententev1.AuditReason, names ...ledger.Name) traces {
	entry := s.entry(ctx, ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, nil)
	entry.Actor.AuditPurpose, entry.Actor.CaseReference = reason.GetPurpose(), reason.GetCaseReference()
	entry.Records = recordsOf(names)
	return told(entry)
}

// tellAuditor sends something of the trail to the auditor.
func tellAuditor[T any](s *audits, out grpc.ServerStreamingServer[T], message *T, t traces) error {
	cleared, ok := policy.ClearOwn(callerOf(out.Context()).Identity, s.cfg.Self, message)
	return send(s.Server, out, cleared, ok, t)
}

// ListEntries answers entries of the trail, oldest first.
func (s *audits) ListEntries(ctx context.Context, request *ententev1.ListEntriesRequest) (*ententev1.ListEntriesResponse, error) {
	err := s.trace(ctx, s.look(ctx, request.GetReason()))
	if err != nil {
		return nil, err
	}
	bound := binding("trail", callerOf(ctx).String(), numbers(request.GetOperations()), request.GetSince().String(), request.GetBefore().String(),
		request.GetActor(), request.GetRecipient())
	from, err := s.openNumber(bound, request.GetPageToken())
	if err != nil {
		return nil, err
	}
	limit := int(orDefault(request.GetPageSize(), defaultEntries))
	response, size := &ententev1.ListEntriesResponse{}, 0
	err = s.cfg.Trail.Entries(max(from, 1), func(e *ententev1.AuditEntry, encoded []byte) (bool, error) {
		if ctx.Err() != nil {
			return false, ended(ctx)
		}
		if !wanted(request, e) {
			return true, nil
		}
		if len(response.GetEntries()) == limit || size >= pageBytes {
			var err error
			response.NextPageToken, err = s.sealer.seal(bound, binary.BigEndian.AppendUint64(nil, e.GetNumber()))
			return false, err
		}
		response.Entries = append(response.Entries, e)
		size += len(encoded)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, untold("what the auditor's own entry tells already"))
}

// wanted applies the filters of a list.
func wanted(q *ententev1.ListEntriesRequest, e *ententev1.AuditEntry) bool {
	switch {
	case len(q.GetOperations()) > 0 && !slices.Contains(q.GetOperations(), e.GetOperation()):
		return false
	case q.GetSince() != nil && e.GetAt().AsTime().Before(q.GetSince().AsTime()):
		return false
	case q.GetBefore() != nil && !e.GetAt().AsTime().Before(q.GetBefore().AsTime()):
		return false
	case q.GetActor() != "" && q.GetActor() != e.GetActor().GetName() && q.GetActor() != e.GetActor().GetOfficer():
		return false
	}
	return q.GetRecipient() == "" || q.GetRecipient() == e.GetRecipient()
}

// ReadTrail gives the whole trail, so that the caller verifies it by itself.
func (s *audits) ReadTrail(request *ententev1.ReadTrailRequest, out grpc.ServerStreamingServer[ententev1.ReadTrailResponse]) error {
	err := s.trace(out.Context(), s.look(out.Context(), request.GetReason()))
	if err != nil {
		return err
	}
	return s.cfg.Trail.Trail(func(part *ententev1.ReadTrailResponse) error {
		if out.Context().Err() != nil {
			return ended(out.Context())
		}
		return tellAuditor(s, out, part, untold("what the auditor's own entry tells already"))
	})
}

// FindSubject finds the records that a description fits, among all that the node holds.
func (s *audits) FindSubject(request *ententev1.FindSubjectRequest, out grpc.ServerStreamingServer[ententev1.FindSubjectResponse]) error {
	ctx := out.Context()
	sought := newDescription(request)
	if sought.empty() {
		return invalidField("name", "is missing, and so are year_of_birth and number: a description says something")
	}
	// Before anything is told, since how far it is says already how many records fit nothing.
	err := s.trace(ctx, s.look(ctx, request.GetReason()))
	if err != nil {
		return err
	}
	var looked uint64
	err = s.cfg.Ledger.EachHeld(ctx, func(held ledger.HeldBody) error {
		looked++
		if looked%progressEvery == 0 {
			err := tellAuditor(s, out, &ententev1.FindSubjectResponse{LookedAt: looked}, untold("how far it is"))
			if err != nil {
				return err
			}
		}
		if !sought.fits(held.Body) {
			return nil
		}
		found := &ententev1.SubjectRecord{Owner: string(held.Name.Owner), RecordId: held.Name.Record[:], Kind: held.Kind, ProviderReference: held.Reference, Held: true}
		return tellAuditor(s, out, &ententev1.FindSubjectResponse{Record: found, LookedAt: looked}, s.look(ctx, request.GetReason(), held.Name))
	})
	if err != nil {
		return err
	}
	return tellAuditor(s, out, &ententev1.FindSubjectResponse{LookedAt: looked}, untold("what the auditor's own entry tells already"))
}

// description is what a subject is described by.
type description struct {
	words  []string
	year   uint64
	number string
}

func newDescription(q *ententev1.FindSubjectRequest) description {
	return description{words: strings.Fields(strings.ToLower(q.GetName())), year: uint64(q.GetYearOfBirth()), number: lettersAndDigits(q.GetNumber())}
}

func (d description) empty() bool { return len(d.words) == 0 && d.year == 0 && d.number == "" }

func lettersAndDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// fits says whether all that a description says stands in a record.
func (d description) fits(body *ententev1.Body) bool {
	var texts, joined []string
	years := make(map[uint64]bool)
	eachValue(body.ProtoReflect(), func(field protoreflect.FieldDescriptor, value protoreflect.Value) {
		switch {
		case field.Kind() == protoreflect.StringKind:
			texts = append(texts, strings.ToLower(value.String()))
			joined = append(joined, lettersAndDigits(value.String()))
		case field.Name() == "year" && field.Kind() == protoreflect.Uint32Kind:
			years[value.Uint()] = true
		}
	})
	for _, word := range d.words {
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, word) }) {
			return false
		}
	}
	if d.year != 0 && !years[d.year] {
		return false
	}
	return d.number == "" || slices.ContainsFunc(joined, func(text string) bool { return strings.Contains(text, d.number) })
}

// eachValue goes through all values of a message, and of those in it.
func eachValue(m protoreflect.Message, fn func(protoreflect.FieldDescriptor, protoreflect.Value)) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		each := func(one protoreflect.Value) {
			if field.Kind() == protoreflect.MessageKind {
				eachValue(one.Message(), fn)
				return
			}
			fn(field, one)
		}
		if !field.IsList() {
			each(value)
			return true
		}
		for i := range value.List().Len() {
			each(value.List().Get(i))
		}
		return true
	})
}

// named finds the records that references mean.
func (s *audits) named(refs []*ententev1.SubjectRef) ([]ledger.Name, error) {
	var names []ledger.Name
	for i, ref := range refs {
		n := ledger.Name{Owner: member.ID(ref.GetOwner())}
		if n.Owner == "" {
			n.Owner = s.cfg.Self
		}
		switch {
		case len(ref.GetRecordId()) > 0:
			id, err := ledger.ParseRecordID(ref.GetRecordId())
			if err != nil {
				return nil, invalidField(fmt.Sprintf("records[%d].record_id", i), "is not 16 bytes")
			}
			n.Record = id
		case n.Owner == s.cfg.Self && ref.GetAuthority() != "" && ref.GetProviderReference() != "":
			n.Record = s.cfg.Ledger.RecordID(ref.GetAuthority(), ref.GetProviderReference())
		default:
			return nil, invalidField(fmt.Sprintf("records[%d]", i), "names nothing: an id, or of an own record authority and reference")
		}
		names = append(names, n)
	}
	return names, nil
}

// TraceSubject answers all that was held, received, sent and seen about records, from the trail.
func (s *audits) TraceSubject(request *ententev1.TraceSubjectRequest, out grpc.ServerStreamingServer[ententev1.TraceSubjectResponse]) error {
	ctx := out.Context()
	names, err := s.named(request.GetRecords())
	if err != nil {
		return err
	}
	err = s.trace(ctx, s.look(ctx, request.GetReason(), names...))
	if err != nil {
		return err
	}
	byOwner := make(map[member.ID]map[[16]byte]bool)
	for _, n := range names {
		if byOwner[n.Owner] == nil {
			byOwner[n.Owner] = make(map[[16]byte]bool)
		}
		byOwner[n.Owner][n.Record] = true
		err = tellAuditor(s, out, &ententev1.TraceSubjectResponse{Content: &ententev1.TraceSubjectResponse_Record{Record: s.subject(n)}}, untold("what the auditor's own entry tells already"))
		if err != nil {
			return err
		}
	}
	return s.cfg.Trail.Entries(1, func(e *ententev1.AuditEntry, _ []byte) (bool, error) {
		if ctx.Err() != nil {
			return false, ended(ctx)
		}
		if e.GetNumber()%progressEvery == 0 {
			err := tellAuditor(s, out, &ententev1.TraceSubjectResponse{Content: &ententev1.TraceSubjectResponse_LookedAt{LookedAt: e.GetNumber()}}, untold("how far it is"))
			if err != nil {
				return false, err
			}
		}
		for owner, ids := range byOwner {
			cut, concerns := audit.Concerns(e, owner, ids, s.carried)
			if !concerns {
				continue
			}
			err := tellAuditor(s, out, &ententev1.TraceSubjectResponse{Content: &ententev1.TraceSubjectResponse_Entry{Entry: cut}}, untold("what the auditor's own entry tells already"))
			if err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// carried are the records that a stretch of a stream carries or carried.
func (s *Server) carried(owner member.ID, id []byte, first, last uint64) [][16]byte {
	name, err := stream.ParseID(id)
	if err != nil {
		return nil
	}
	ids, err := s.cfg.Ledger.Carried(owner, name, first, last)
	if err != nil {
		return nil // damage is found by who verifies the file; here it carries nothing
	}
	list := make([][16]byte, len(ids))
	for i, one := range ids {
		list[i] = one
	}
	return list
}

// subject is what is held of a record now.
func (s *audits) subject(n ledger.Name) *ententev1.SubjectRecord {
	found := &ententev1.SubjectRecord{Owner: string(n.Owner), RecordId: n.Record[:], Held: s.cfg.Ledger.Holds(n)}
	if n.Owner == s.cfg.Self {
		found.Kind = s.cfg.Ledger.KindHeld(n.Record)
		held, err := s.cfg.Ledger.Record(n.Record, 0)
		if err == nil {
			found.ProviderReference = held.GetRecord().GetEnvelope().GetProviderReference()
		}
	}
	return found
}

// SetHoney marks own records that nobody has a reason to look at.
func (s *audits) SetHoney(ctx context.Context, request *ententev1.SetHoneyRequest) (*ententev1.SetHoneyResponse, error) {
	if s.cfg.Honey == nil {
		return nil, errNoHoney
	}
	names, err := s.named(request.GetRecords())
	if err != nil {
		return nil, err
	}
	var ids [][16]byte
	for i, n := range names {
		if n.Owner != s.cfg.Self || !request.GetClear() && !s.cfg.Ledger.Holds(n) {
			return nil, invalidField(fmt.Sprintf("records[%d]", i), "is no own record that is held")
		}
		ids = append(ids, n.Record)
	}
	entry := s.look(ctx, request.GetReason(), names...)
	entry.entries[0].Operation = ententev1.AuditOperation_AUDIT_OPERATION_ALTERATION
	err = s.trace(ctx, entry)
	if err != nil {
		return nil, err
	}
	marked, err := s.cfg.Honey.Mark(ctx, ids, request.GetClear())
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.SetHoneyResponse{Marked: uint64(marked)})
	return answer(ctx, s.Server, cleared, ok, untold("how many marks there are"))
}

// ListAlerts answers looks at honey records.
func (s *audits) ListAlerts(ctx context.Context, request *ententev1.ListAlertsRequest) (*ententev1.ListAlertsResponse, error) {
	if s.cfg.Honey == nil {
		return nil, errNoHoney
	}
	alerts, _ := s.cfg.Honey.Alerts(request.GetAfter(), maxAlerts)
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.ListAlertsResponse{Alerts: alerts})
	return answer(ctx, s.Server, cleared, ok, s.look(ctx, request.GetReason()))
}
