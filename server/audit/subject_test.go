package audit_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/audit"
)

func id(number byte) []byte { return append(make([]byte, 15), number) }

func stretch(owner string, streamID byte, first, last uint64) *ententev1.AuditRange {
	return &ententev1.AuditRange{Owner: owner, StreamId: id(streamID), First: first, Last: last}
}

// passedOn is an entry with everything in it.
func passedOn(records []*ententev1.AuditRecords, ranges ...*ententev1.AuditRange) *ententev1.AuditEntry {
	return &ententev1.AuditEntry{
		Number: 12, At: timestamppb.New(time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC)),
		Operation: ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE, Method: "/entente.v1.ExchangeService/Pull", Recipient: "XC",
		Actor: &ententev1.AuditActor{Member: "XA", Kind: "officer", Name: "o-17", Officer: "o-18", CaseReference: "case 4", Purpose: ententev1.Purpose_PURPOSE_LOCATE_WANTED, ProtectedReason: "because"},
		Note:  "a note", MethodTables: []byte{1},
		Records: records, Ranges: ranges,
	}
}

// inStream 1 of XB the entry n holds the record n.
func inStream(owner member.ID, streamID []byte, first, last uint64) [][16]byte {
	var list [][16]byte
	for n := first; n <= last && owner == "XB" && streamID[15] == 1 && n < 200; n++ {
		list = append(list, [16]byte(id(byte(n))))
	}
	return list
}

func TestAnEntryIsCutDownToWhatConcernsASubject(t *testing.T) {
	records := func(owner string, ids ...[]byte) *ententev1.AuditRecords {
		return &ententev1.AuditRecords{Owner: owner, RecordIds: ids}
	}
	list := func(r ...*ententev1.AuditRecords) []*ententev1.AuditRecords { return r }
	tests := []struct {
		name    string
		entry   *ententev1.AuditEntry
		records []*ententev1.AuditRecords
		ranges  []*ententev1.AuditRange
		found   bool
	}{
		{"a record among others", passedOn(list(records("XB", id(5), id(7), id(8)))), list(records("XB", id(7))), nil, true},
		{"the same number of another owner", passedOn(list(records("XC", id(7)))), nil, nil, false},
		{"nothing", passedOn(nil), nil, nil, false},
		{"an id that is none", passedOn(list(records("XB", []byte{7}))), nil, nil, false},
		{"a stretch that holds it, to the entry", passedOn(nil, stretch("XB", 1, 1, 150)), nil, []*ententev1.AuditRange{stretch("XB", 1, 7, 7), stretch("XB", 1, 99, 100)}, true},
		{"a stretch that ends before it", passedOn(nil, stretch("XB", 1, 1, 6), stretch("XB", 1, 8, 98)), nil, nil, false},
		{"a stretch of another stream", passedOn(nil, stretch("XB", 2, 1, 150)), nil, nil, false},
		{"a stretch of another owner", passedOn(nil, stretch("XC", 1, 1, 150)), nil, nil, false},
		{"a stretch that is none", passedOn(nil, stretch("XB", 1, 9, 7)), nil, nil, false},
		{"records and stretches", passedOn(list(records("XB", id(99)), records("XC", id(7))), stretch("XB", 1, 5, 8), stretch("XB", 2, 5, 8)), list(records("XB", id(99))), []*ententev1.AuditRange{stretch("XB", 1, 7, 7)}, true},
	}
	ids := map[[16]byte]bool{[16]byte(id(7)): true, [16]byte(id(99)): true, [16]byte(id(100)): true}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := proto.CloneOf(test.entry)
			got, found := audit.Concerns(test.entry, "XB", ids, inStream)
			if !proto.Equal(test.entry, before) {
				t.Error("the entry itself was changed")
			}
			if found != test.found || !found && got != nil {
				t.Fatalf("found %v, want %v", found, test.found)
			}
			if !found {
				return
			}
			want := proto.CloneOf(test.entry)
			want.Records, want.Ranges = test.records, test.ranges
			if !proto.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestALongStretchIsSearchedInFewSteps(t *testing.T) {
	asked := 0
	_, found := audit.Concerns(passedOn(nil, stretch("XB", 1, 1, 1<<40)), "XB", map[[16]byte]bool{[16]byte(id(7)): true}, func(_ member.ID, _ []byte, first, last uint64) [][16]byte {
		asked++
		if first <= 7 && 7 <= last {
			return [][16]byte{[16]byte(id(7))}
		}
		return nil
	})
	if !found || asked > 100 {
		t.Errorf("found %v after %d questions", found, asked)
	}
}

func TestWhatAnOwnerLearnsOfAnEntry(t *testing.T) {
	mine := []*ententev1.AuditRecords{{Owner: "XB", RecordIds: [][]byte{id(7)}}, {Owner: "XC", RecordIds: [][]byte{id(9), id(10)}}}
	with := func(change func(e *ententev1.AuditEntry)) *ententev1.AuditEntry {
		e := passedOn(mine, stretch("XB", 1, 3, 4), stretch("XC", 2, 1, 900))
		change(e)
		return e
	}
	full := &ententev1.Disclosure{
		At: passedOn(nil).GetAt(), Operation: ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE, Recipient: "XC", Purpose: ententev1.Purpose_PURPOSE_LOCATE_WANTED,
		RecordIds: [][]byte{id(7)}, Ranges: []*ententev1.AuditRange{stretch("XB", 1, 3, 4)},
	}
	less := func(change func(d *ententev1.Disclosure)) *ententev1.Disclosure {
		d := proto.CloneOf(full)
		change(d)
		return d
	}
	tests := []struct {
		name  string
		entry *ententev1.AuditEntry
		want  *ententev1.Disclosure // nil: nothing
	}{
		{"its records and stretches, the purpose and the member", with(func(*ententev1.AuditEntry) {}), full},
		{"the same where there is nothing of others", with(func(e *ententev1.AuditEntry) {
			e.Records, e.Ranges, e.Number, e.Actor.Name, e.Note = e.Records[:1], e.Ranges[:1], 99, "o-3", ""
		}), full},
		{"no recipient that is no member", with(func(e *ententev1.AuditEntry) { e.Recipient = "file of o-17" }), less(func(d *ententev1.Disclosure) { d.Recipient = "" })},
		{"nobody where nothing left", with(func(e *ententev1.AuditEntry) { e.Recipient = "" }), less(func(d *ententev1.Disclosure) { d.Recipient = "" })},
		{"no purpose where the node acted by itself", with(func(e *ententev1.AuditEntry) { e.Actor = nil }), less(func(d *ententev1.Disclosure) { d.Purpose = 0 })},
		{"nothing of an entry about others", with(func(e *ententev1.AuditEntry) { e.Records, e.Ranges = e.Records[1:], e.Ranges[1:] }), nil},
		{"nothing of a call that was refused", with(func(e *ententev1.AuditEntry) { e.Refused = true }), nil},
		{"nothing of what the member decided for itself", with(func(e *ententev1.AuditEntry) { e.Operation = ententev1.AuditOperation_AUDIT_OPERATION_ALTERATION }), nil},
		{"nothing of an operation of a newer version", with(func(e *ententev1.AuditEntry) { e.Operation = 77 }), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, found := audit.DisclosuresFor(test.entry, "XB")
			if found != (test.want != nil) || found && !proto.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
