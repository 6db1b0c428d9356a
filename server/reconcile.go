package server

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const defaultDisclosures = 500

// WitnessAudit countersigns the head of another member's trail. When it returns, this node remembers the head.
func (s *exchange) WitnessAudit(ctx context.Context, request *ententev1.WitnessAuditRequest) (*ententev1.WitnessAuditResponse, error) {
	c := callerOf(ctx)
	response, err := s.cfg.Trail.Countersign(ctx, c.Member, request)
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearFor(c.Member, c.Member, response)
	return answer(ctx, s.Server, cleared, ok, untold("a signature over the caller's own head"))
}

// ListDisclosures answers an owner what this node's trail says of its records, and nothing that tells of anybody else's: no
// number of an entry, no name of a person, no size of anything.
func (s *exchange) ListDisclosures(ctx context.Context, request *ententev1.ListDisclosuresRequest) (*ententev1.ListDisclosuresResponse, error) {
	c := callerOf(ctx)
	bound := binding("disclosures", c.String(), request.GetSince().String())
	from, err := s.openNumber(bound, request.GetPageToken())
	if err != nil {
		return nil, err
	}
	limit := int(orDefault(request.GetPageSize(), defaultDisclosures))
	response := &ententev1.ListDisclosuresResponse{}
	size := 0
	err = s.cfg.Trail.Entries(max(from, 1), func(e *ententev1.AuditEntry, _ []byte) (bool, error) {
		if ctx.Err() != nil {
			return false, ended(ctx)
		}
		if request.GetSince() != nil && e.GetAt().AsTime().Before(request.GetSince().AsTime()) {
			return true, nil
		}
		d, concerns := audit.DisclosuresFor(e, c.Member)
		if !concerns {
			return true, nil
		}
		if len(response.GetDisclosures()) == limit || size >= pageBytes {
			var err error
			response.NextPageToken, err = s.sealer.seal(bound, binary.BigEndian.AppendUint64(nil, e.GetNumber()))
			return false, err
		}
		response.Disclosures = append(response.Disclosures, d)
		size += proto.Size(d) // not that of the entry, which names others' records too: where a page ends would tell of them
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	entry := s.entry(ctx, ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE, nil)
	entry.Recipient = string(c.Member)
	cleared, ok := policy.ClearFor(c.Member, c.Member, response)
	return answer(ctx, s.Server, cleared, ok, told(entry))
}

// spans is a set of numbers in stretches, by stream.
type spans map[stream.ID][][2]uint64

func (s spans) add(owner member.ID, ranges []*ententev1.AuditRange) {
	for _, r := range ranges {
		id, err := stream.ParseID(r.GetStreamId())
		if err == nil && r.GetOwner() == string(owner) {
			s[id] = append(s[id], [2]uint64{r.GetFirst(), r.GetLast()})
		}
	}
}

// settle puts the stretches of each stream in order and joins those that touch.
func (s spans) settle() {
	for id, list := range s {
		slices.SortFunc(list, func(a, b [2]uint64) int { return slices.Compare(a[:], b[:]) })
		joined := list[:0]
		for _, one := range list {
			if len(joined) > 0 && one[0] <= joined[len(joined)-1][1]+1 {
				joined[len(joined)-1][1] = max(joined[len(joined)-1][1], one[1])
				continue
			}
			joined = append(joined, one)
		}
		s[id] = joined
	}
}

func (s spans) has(id stream.ID, n uint64) bool {
	return slices.ContainsFunc(s[id], func(one [2]uint64) bool { return one[0] <= n && n <= one[1] })
}

// passed is something that the other member says it passed on.
type passed struct {
	at        time.Time
	recipient member.ID
	records   []ledger.RecordID
}

// ends is what both trails say of the own streams towards one member.
type ends struct {
	sent, taken, erased spans
	passed              []passed
	permitted           map[ledger.RecordID]time.Time // since when the member may, or could, export what it made of an own record
	own, listed         uint64
}

// Reconcile compares what this node's trail says of what went to a member with what that member's trail says it took, erased
// and passed on, and names each difference. What the member has not signed for yet is under way, and no difference.
func (s *audits) Reconcile(request *ententev1.ReconcileRequest, out grpc.ServerStreamingServer[ententev1.ReconcileResponse]) error {
	ctx := out.Context()
	other := member.ID(request.GetMember())
	if other == s.cfg.Self || !s.cfg.Directory().Roster.Active(other) {
		return invalidField("member", "is not another member in good standing")
	}
	if s.cfg.Audit == nil {
		return errNoReconcile
	}
	err := s.trace(ctx, s.look(ctx, request.GetReason()))
	if err != nil {
		return err
	}
	both, err := s.bothEnds(ctx, other)
	if err != nil {
		return err
	}
	var differences uint64
	tell := func(d *ententev1.AuditDifference) error {
		differences++
		return tellAuditor(s, out, &ententev1.ReconcileResponse{Content: &ententev1.ReconcileResponse_Difference{Difference: d}}, untold("what the auditor's own entry tells already"))
	}
	err = s.compareEnds(other, both, tell)
	if err != nil {
		return err
	}
	summary := &ententev1.ReconcileSummary{OwnEntries: both.own, Listed: both.listed, Differences: differences}
	return tellAuditor(s, out, &ententev1.ReconcileResponse{Content: &ententev1.ReconcileResponse_Summary{Summary: summary}}, untold("how much was compared"))
}

// bothEnds reads both trails.
func (s *audits) bothEnds(ctx context.Context, other member.ID) (*ends, error) {
	both := &ends{sent: spans{}, taken: spans{}, erased: spans{}, permitted: make(map[ledger.RecordID]time.Time)}
	// The other end first: what is sent meanwhile is then in our own trail.
	err := s.disclosures(ctx, other, time.Time{}, func(d *ententev1.Disclosure) error {
		both.listed++
		switch d.GetOperation() {
		case ententev1.AuditOperation_AUDIT_OPERATION_COLLECTION:
			both.taken.add(s.cfg.Self, d.GetRanges())
		case ententev1.AuditOperation_AUDIT_OPERATION_ERASURE:
			both.erased.add(s.cfg.Self, d.GetRanges())
		case ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE:
			both.passed = append(both.passed, s.passedOn(d)...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = s.cfg.Trail.Entries(1, func(e *ententev1.AuditEntry, _ []byte) (bool, error) {
		if ctx.Err() != nil {
			return false, ended(ctx)
		}
		if e.GetOperation() == ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE && e.GetRecipient() == string(other) {
			both.own++
			both.sent.add(s.cfg.Self, e.GetRanges())
		}
		both.permit(e, s.cfg.Self, other)
		return true, nil
	})
	both.sent.settle()
	both.taken.settle()
	both.erased.settle()
	return both, err
}

// permit notes that an entry of the own trail permits the other member an export.
func (both *ends) permit(e *ententev1.AuditEntry, self, other member.ID) {
	is := e.GetMethod() == ententev1.IntakeService_Permit_FullMethodName && e.GetRecipient() == string(other) && e.GetNote() == ledger.NoteExport
	if !is || e.GetRefused() {
		return
	}
	for _, r := range e.GetRecords() {
		if r.GetOwner() != string(self) {
			continue
		}
		for _, raw := range r.GetRecordIds() {
			id, err := ledger.ParseRecordID(raw)
			_, known := both.permitted[id]
			if err == nil && !known {
				both.permitted[id] = e.GetAt().AsTime()
			}
		}
	}
}

// mayHaveExported says whether the other member did not need a permission for an export of an own record at a time, or had one.
// What can no longer be read counts as having needed it.
func (s *audits) mayHaveExported(both *ends, id ledger.RecordID, at time.Time) bool {
	since, permitted := both.permitted[id]
	if permitted && !since.After(at) {
		return true
	}
	held, err := s.cfg.Ledger.Record(id, 0)
	return err == nil && held.GetRecord() != nil && !ownLabel(held).Handling.Has(ententev1.HandlingCode_HANDLING_CODE_H2)
}

// passedOn is what a disclosure says went to somebody else.
func (s *audits) passedOn(d *ententev1.Disclosure) []passed {
	if d.GetRecipient() == string(s.cfg.Self) {
		return nil
	}
	one := passed{at: d.GetAt().AsTime(), recipient: member.ID(d.GetRecipient())}
	for _, raw := range d.GetRecordIds() {
		id, err := ledger.ParseRecordID(raw)
		if err == nil {
			one.records = append(one.records, id)
		}
	}
	for _, r := range ownRanges(s.cfg.Self, d.GetRanges()) {
		for _, id := range s.carried(s.cfg.Self, r.GetStreamId(), r.GetFirst(), r.GetLast()) {
			one.records = append(one.records, id)
		}
	}
	return []passed{one}
}

// compareEnds names the differences, stream by stream.
func (s *audits) compareEnds(other member.ID, both *ends, tell func(*ententev1.AuditDifference) error) error {
	for _, info := range s.cfg.Ledger.StreamsShared(s.cfg.Self, other) {
		entries, err := s.cfg.Ledger.SentBy(info.ID, other, 1, info.Size)
		if err != nil {
			return err
		}
		for _, e := range entries {
			kind := difference(e, both.sent.has(info.ID, e.Sequence), both.taken.has(info.ID, e.Sequence), both.erased.has(info.ID, e.Sequence))
			if kind == "" {
				continue
			}
			err = tell(&ententev1.AuditDifference{
				Kind: kind, RecordIds: [][]byte{e.Record[:]},
				Range: &ententev1.AuditRange{Owner: string(s.cfg.Self), StreamId: info.ID[:], First: e.Sequence, Last: e.Sequence},
			})
			if err != nil {
				return err
			}
		}
	}
	return s.comparePassed(both, tell)
}

// difference is in a word what the two trails say differently of one entry; "" where they agree.
func difference(e ledger.SentEntry, sent, taken, erased bool) string {
	switch {
	case sent && !taken && e.Signed && !e.Withdrawn:
		return "sent and not noted as received"
	case taken && !sent:
		return "noted as received and not as sent"
	case taken && e.Erased && !erased:
		return "withdrawn and not noted as erased"
	case erased && !e.Withdrawn:
		return "noted as erased and not withdrawn"
	}
	return ""
}

// comparePassed names what went to members that never read the record, nor were named for it, and what went into a file, which
// has no recipient here, under H2 and without a permission.
func (s *audits) comparePassed(both *ends, tell func(*ententev1.AuditDifference) error) error {
	for _, one := range both.passed {
		var beyond [][]byte
		kind := "passed on"
		may := func(id ledger.RecordID) bool { return slices.Contains(s.cfg.Ledger.EverRead(id), one.recipient) }
		if one.recipient == "" {
			kind = "exported without permission"
			may = func(id ledger.RecordID) bool { return s.mayHaveExported(both, id, one.at) }
		}
		for _, id := range one.records {
			if !may(id) {
				beyond = append(beyond, slices.Clone(id[:]))
			}
		}
		if len(beyond) == 0 {
			continue
		}
		err := tell(&ententev1.AuditDifference{Kind: kind, RecordIds: beyond, Recipient: string(one.recipient), At: stamp(one.at)})
		if err != nil {
			return err
		}
	}
	return nil
}
