package server

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

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

// from is the first stretch of a settled set that ends at n or later.
func (s spans) from(id stream.ID, n uint64) int {
	i, _ := slices.BinarySearchFunc(s[id], n, func(one [2]uint64, n uint64) int { return cmp.Compare(one[1], n) })
	return i
}

// has is asked of a settled set.
func (s spans) has(id stream.ID, n uint64) bool {
	i := s.from(id, n)
	return i < len(s[id]) && s[id][i][0] <= n
}

// take adds the numbers first to last to a settled set, which then is one, and gives those that were not in it.
func (s spans) take(id stream.ID, first, last uint64) (fresh [][2]uint64) {
	list := s[id]
	i := s.from(id, first-1) // one that ends just before is joined
	whole, next, j := [2]uint64{first, last}, first, i
	for ; j < len(list) && list[j][0] <= last+1; j++ {
		if list[j][0] > next {
			fresh = append(fresh, [2]uint64{next, list[j][0] - 1})
		}
		next = max(next, list[j][1]+1)
		whole[0], whole[1] = min(whole[0], list[j][0]), max(whole[1], list[j][1])
	}
	if next <= last {
		fresh = append(fresh, [2]uint64{next, last})
	}
	if len(fresh) > 0 {
		s[id] = slices.Replace(list, i, j, whole)
	}
	return fresh
}

// within is what a range that a trail names means: a stretch of an own stream, cut to what the stream has. It is false where
// it means nothing.
func (s *Server) within(r *ententev1.AuditRange) (id stream.ID, one [2]uint64, ok bool) {
	id, err := stream.ParseID(r.GetStreamId())
	if err != nil || r.GetOwner() != string(s.cfg.Self) {
		return id, one, false
	}
	one = [2]uint64{max(r.GetFirst(), 1), min(r.GetLast(), s.cfg.Ledger.Extent(s.cfg.Self, id))}
	return id, one, one[0] <= one[1]
}

// addTo adds ranges that a trail names to a set, which is to be settled.
func (s *Server) addTo(set spans, ranges []*ententev1.AuditRange) {
	for _, r := range ranges {
		id, one, ok := s.within(r)
		if ok {
			set[id] = append(set[id], one)
		}
	}
}

// eachFresh adds ranges that another member names to a settled set, and calls fn with the records that those entries carry
// which were not in it: so an entry costs one reading, named as often as it may be.
func (s *Server) eachFresh(ctx context.Context, set spans, ranges []*ententev1.AuditRange, fn func(ledger.RecordID)) error {
	for _, r := range ranges {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		id, named, ok := s.within(r)
		if !ok {
			continue
		}
		for _, one := range set.take(id, named[0], named[1]) {
			// Damage is found by who verifies the file; here it carries nothing.
			_ = s.cfg.Ledger.EachCarried(ctx, s.cfg.Self, id, one[0], one[1], fn)
			if ctx.Err() != nil {
				return ended(ctx)
			}
		}
	}
	return nil
}

// passed is something that the other member says it passed on, and seems not to have been free to.
type passed struct {
	at        time.Time
	recipient member.ID
	records   []ledger.RecordID
}

const (
	// maxPassed bounds the records of all of them together.
	maxPassed = 1_000_000
	// maxDifferent is how many records one message about a difference names.
	maxDifferent = 1000
	// reconcileWithin is how long another member may take to say all that its trail says, and it may take to work through that.
	reconcileWithin = 5 * time.Minute
)

// ends is what both trails say of the own streams towards one member.
type ends struct {
	sent, taken, erased spans
	passed              []passed
	suspect             int                           // records in passed
	looked              map[member.ID]spans           // entries whose records were looked at, by recipient
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
	if request.GetList() {
		return s.listOthers(out, other, request.GetSince())
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
	err = s.compareEnds(ctx, other, both, tell)
	if err != nil {
		return err
	}
	summary := &ententev1.ReconcileSummary{OwnEntries: both.own, Listed: both.listed, Differences: differences}
	return tellAuditor(s, out, &ententev1.ReconcileResponse{Content: &ententev1.ReconcileResponse_Summary{Summary: summary}}, untold("how much was compared"))
}

// listOthers passes on what a member's trail says of the own records, as it says it. Stretches of streams that are not the own
// member's are nothing that it may speak of here, and left out.
func (s *audits) listOthers(out grpc.ServerStreamingServer[ententev1.ReconcileResponse], other member.ID, from *timestamppb.Timestamp) error {
	ctx, cancel := context.WithTimeout(out.Context(), reconcileWithin)
	defer cancel()
	var since time.Time
	if from != nil {
		since = from.AsTime()
	}
	var listed uint64
	why := "what the auditor's own entry tells already"
	err := s.disclosures(ctx, other, since, func(d *ententev1.Disclosure) error {
		listed++
		one := &ententev1.Disclosure{At: d.GetAt(), Operation: d.GetOperation(), Recipient: d.GetRecipient(), Purpose: d.GetPurpose(), RecordIds: d.GetRecordIds()}
		for _, r := range d.GetRanges() {
			if r.GetOwner() == string(s.cfg.Self) {
				one.Ranges = append(one.Ranges, r)
			}
		}
		return tellAuditor(s, out, &ententev1.ReconcileResponse{Content: &ententev1.ReconcileResponse_Disclosure{Disclosure: one}}, untold(why))
	})
	if err != nil {
		return err
	}
	summary := &ententev1.ReconcileSummary{Listed: listed}
	return tellAuditor(s, out, &ententev1.ReconcileResponse{Content: &ententev1.ReconcileResponse_Summary{Summary: summary}}, untold(why))
}

// bothEnds reads both trails.
func (s *audits) bothEnds(ctx context.Context, other member.ID) (*ends, error) {
	both := &ends{sent: spans{}, taken: spans{}, erased: spans{}, looked: make(map[member.ID]spans), permitted: make(map[ledger.RecordID]time.Time)}
	// The other end first: what is sent meanwhile is then in our own trail.
	err := s.otherEnd(ctx, other, both)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Trail.Entries(1, func(e *ententev1.AuditEntry, _ []byte) (bool, error) {
		if ctx.Err() != nil {
			return false, ended(ctx)
		}
		if e.GetOperation() == ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE && e.GetRecipient() == string(other) {
			both.own++
			s.addTo(both.sent, e.GetRanges())
		}
		both.permit(e, s.cfg.Self, other)
		return true, nil
	})
	both.sent.settle()
	both.taken.settle()
	both.erased.settle()
	return both, err
}

// otherEnd reads the other member's trail.
func (s *audits) otherEnd(ctx context.Context, other member.ID, both *ends) error {
	ctx, cancel := context.WithTimeout(ctx, reconcileWithin)
	defer cancel()
	return s.disclosures(ctx, other, time.Time{}, func(d *ententev1.Disclosure) error {
		both.listed++
		switch d.GetOperation() {
		case ententev1.AuditOperation_AUDIT_OPERATION_COLLECTION:
			s.addTo(both.taken, d.GetRanges())
		case ententev1.AuditOperation_AUDIT_OPERATION_ERASURE:
			s.addTo(both.erased, d.GetRanges())
		case ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE:
			return s.passedOn(ctx, both, d)
		}
		return nil
	})
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

// freeToExport says whether anybody who has an own record may export it. What can no longer be read counts as not free.
func (s *audits) freeToExport(id ledger.RecordID) bool {
	held, err := s.cfg.Ledger.Record(id, 0)
	return err == nil && held.GetRecord() != nil && !ownLabel(held).Handling.Has(ententev1.HandlingCode_HANDLING_CODE_H2)
}

// passedOn notes what of a disclosure went to a member that never read it, nor was named for it, and what of it needed a
// permission to go into a file. Entries that another disclosure to the same recipient named before are not looked at again.
func (s *audits) passedOn(ctx context.Context, both *ends, d *ententev1.Disclosure) error {
	recipient := member.ID(d.GetRecipient())
	if recipient == s.cfg.Self {
		return nil
	}
	one := passed{at: d.GetAt().AsTime(), recipient: recipient}
	look := func(id ledger.RecordID) {
		free := recipient == "" && s.freeToExport(id) || recipient != "" && slices.Contains(s.cfg.Ledger.EverRead(id), recipient)
		if !free && both.suspect <= maxPassed {
			one.records = append(one.records, id)
			both.suspect++
		}
	}
	for _, raw := range d.GetRecordIds() {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		id, err := ledger.ParseRecordID(raw)
		if err == nil {
			look(id)
		}
	}
	err := s.eachFresh(ctx, both.lookedFor(s.knownAs(recipient)), d.GetRanges(), look)
	if err != nil {
		return err
	}
	if both.suspect > maxPassed {
		return errAnswerTooLong
	}
	if len(one.records) > 0 {
		both.passed = append(both.passed, one)
	}
	return nil
}

// knownAs is by which name the entries that went to a recipient are counted: all that the roster does not know by one, or an
// answer could have the same entries looked at for each name that it makes up.
func (s *audits) knownAs(recipient member.ID) member.ID {
	_, known := s.cfg.Directory().Roster.Member(recipient)
	if recipient == "" || known {
		return recipient
	}
	return "?"
}

func (both *ends) lookedFor(recipient member.ID) spans {
	if both.looked[recipient] == nil {
		both.looked[recipient] = spans{}
	}
	return both.looked[recipient]
}

// compareEnds names the differences, stream by stream.
func (s *audits) compareEnds(ctx context.Context, other member.ID, both *ends, tell func(*ententev1.AuditDifference) error) error {
	for _, info := range s.cfg.Ledger.StreamsShared(s.cfg.Self, other) {
		entries, err := s.cfg.Ledger.SentBy(info.ID, other, 1, info.Size)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if ctx.Err() != nil {
				return ended(ctx)
			}
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

// comparePassed names what went to members that were not free to have it, and what went into a file, which has no recipient
// here, without the permission that it needed.
func (s *audits) comparePassed(both *ends, tell func(*ententev1.AuditDifference) error) error {
	for _, one := range both.passed {
		kind, beyond := "passed on", one.records
		if one.recipient == "" {
			kind = "exported without permission"
			beyond = slices.DeleteFunc(one.records, func(id ledger.RecordID) bool { return both.permittedAt(id, one.at) })
		}
		for part := range slices.Chunk(beyond, maxDifferent) {
			ids := make([][]byte, len(part))
			for i := range part {
				ids[i] = part[i][:]
			}
			err := tell(&ententev1.AuditDifference{Kind: kind, RecordIds: ids, Recipient: string(one.recipient), At: stamp(one.at)})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// permittedAt says whether the other member had, at a time, a permission to export an own record.
func (both *ends) permittedAt(id ledger.RecordID, at time.Time) bool {
	since, permitted := both.permitted[id]
	return permitted && !since.After(at)
}
