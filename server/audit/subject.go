package audit

import (
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Concerns gives the entry cut down to what of it concerns these records of an owner: of its records those, and of its
// ranges the stretches in which they stand. It is false where nothing does. resolve gives the records of the entries first
// to last of a stream, in any order, and none where the stream is not known. The entry itself is not changed.
func Concerns(e *ententev1.AuditEntry, owner member.ID, ids map[[16]byte]bool, resolve func(owner member.ID, stream []byte, first, last uint64) [][16]byte) (*ententev1.AuditEntry, bool) {
	var records []*ententev1.AuditRecords
	for _, r := range e.GetRecords() {
		kept := concerned(r, owner, ids)
		if len(kept) > 0 {
			records = append(records, &ententev1.AuditRecords{Owner: r.GetOwner(), RecordIds: kept})
		}
	}
	var ranges []*ententev1.AuditRange
	for _, r := range e.GetRanges() {
		if r.GetOwner() != string(owner) {
			continue
		}
		ranges = narrow(ranges, r, func(first, last uint64) bool {
			for _, id := range resolve(owner, r.GetStreamId(), first, last) {
				if ids[id] {
					return true
				}
			}
			return false
		})
	}
	if len(records) == 0 && len(ranges) == 0 {
		return nil, false
	}
	cut := proto.CloneOf(e)
	cut.Records, cut.Ranges = records, ranges
	return cut, true
}

func concerned(r *ententev1.AuditRecords, owner member.ID, ids map[[16]byte]bool) [][]byte {
	if r.GetOwner() != string(owner) {
		return nil
	}
	var kept [][]byte
	for _, id := range r.GetRecordIds() {
		if len(id) == 16 && ids[[16]byte(id)] {
			kept = append(kept, id)
		}
	}
	return kept
}

// narrow appends to list the stretches of a range in which something stands, as short as they can be: it halves what holds
// something until nothing else is in it. A range without anything costs one question.
func narrow(list []*ententev1.AuditRange, r *ententev1.AuditRange, holds func(first, last uint64) bool) []*ententev1.AuditRange {
	first, last := r.GetFirst(), r.GetLast()
	if first > last || !holds(first, last) {
		return list
	}
	if first == last {
		return extend(list, r)
	}
	middle := first + (last-first)/2
	half := func(first, last uint64) *ententev1.AuditRange {
		return &ententev1.AuditRange{Owner: r.GetOwner(), StreamId: r.GetStreamId(), First: first, Last: last}
	}
	list = narrow(list, half(first, middle), holds)
	return narrow(list, half(middle+1, last), holds)
}

// extend appends one entry of a stream, to the stretch before it where it follows.
func extend(list []*ententev1.AuditRange, one *ententev1.AuditRange) []*ententev1.AuditRange {
	if len(list) > 0 {
		before := list[len(list)-1]
		if before.GetOwner() == one.GetOwner() && string(before.GetStreamId()) == string(one.GetStreamId()) && before.GetLast()+1 == one.GetFirst() {
			before.Last = one.GetLast()
			return list
		}
	}
	return append(list, &ententev1.AuditRange{Owner: one.GetOwner(), StreamId: one.GetStreamId(), First: one.GetFirst(), Last: one.GetLast()})
}

// DisclosuresFor gives what the owner of records may learn of an entry: when, what was done, for what purpose, to which
// member, and of the records and ranges its own. Who it was, the case, notes, the number of the entry and all that is of
// others is left out, so the answer is the same whether there is any. It is false where nothing of the caller's is in the
// entry, where nothing happened (the call was refused), and for what the node's member decided about a record for itself.
func DisclosuresFor(e *ententev1.AuditEntry, caller member.ID) (*ententev1.Disclosure, bool) {
	if e.GetRefused() || !disclosed(e.GetOperation()) {
		return nil, false
	}
	d := &ententev1.Disclosure{At: e.GetAt(), Operation: e.GetOperation(), Purpose: e.GetActor().GetPurpose()}
	for _, r := range e.GetRecords() {
		if r.GetOwner() == string(caller) {
			d.RecordIds = append(d.RecordIds, r.GetRecordIds()...)
		}
	}
	for _, r := range e.GetRanges() {
		if r.GetOwner() == string(caller) {
			d.Ranges = append(d.Ranges, &ententev1.AuditRange{Owner: r.GetOwner(), StreamId: r.GetStreamId(), First: r.GetFirst(), Last: r.GetLast()})
		}
	}
	if len(d.GetRecordIds()) == 0 && len(d.GetRanges()) == 0 {
		return nil, false
	}
	_, err := member.ParseID(e.GetRecipient()) // an export may name a file or a person instead
	if err == nil {
		d.Recipient = e.GetRecipient()
	}
	return d, true
}

// disclosed are the operations that an owner learns of: taken, shown, passed on, put together, erased.
func disclosed(operation ententev1.AuditOperation) bool {
	switch operation {
	case ententev1.AuditOperation_AUDIT_OPERATION_COLLECTION, ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION,
		ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE, ententev1.AuditOperation_AUDIT_OPERATION_COMBINATION,
		ententev1.AuditOperation_AUDIT_OPERATION_ERASURE:
		return true
	default:
		return false
	}
}
