package resolve

import (
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Record is the compact form of one released record: all that Cluster looks at. Build it with Compact; it does not
// change afterwards.
type Record struct {
	// ID says which record it is; its order decides ties. Two forms of one record have the same ID and are never parted.
	ID [32]byte
	// Payload is SHA-256 of the released form.
	Payload [32]byte
	// Kind is what the record describes; only records of one kind are joined.
	Kind ententev1.RecordKind
	// Keys are sorted, each once.
	Keys []Key

	sex    ententev1.Sex // of a person, zero if not given
	births []uint32      // full dates of birth of a person as yyyymmdd, sorted
}

// Compact keeps of a body what matters for comparing it. The id is any 32 bytes that stand for the record: the same for
// all its forms, and the same at every member, because its order is the order of ties.
func Compact(id, payload [32]byte, kind ententev1.RecordKind, body *ententev1.Body) *Record {
	record := &Record{ID: id, Payload: payload, Kind: kind, Keys: Keys(body)}
	person := body.GetPerson()
	if person != nil {
		record.sex = person.GetSex()
		record.births = fullDates(person.GetDatesOfBirth())
	}
	return record
}

// compare orders records by id, then kind, then payload.
func (r *Record) compare(other *Record) int {
	order := strings.Compare(string(r.ID[:]), string(other.ID[:]))
	if order != 0 {
		return order
	}
	if r.Kind != other.Kind {
		return int(r.Kind) - int(other.Kind)
	}
	return strings.Compare(string(r.Payload[:]), string(other.Payload[:]))
}

// Reasons says in words what the records of one cluster have in common: each kind of evidence that at least two
// different records share, in the order of the kinds. It is empty for one record.
func Reasons(records []*Record) []string {
	first := make(map[Key][32]byte)
	var shared []Evidence
	for _, record := range records {
		for _, key := range record.Keys {
			holder, held := first[key]
			if !held {
				first[key] = record.ID
				continue
			}
			if holder != record.ID {
				shared = append(shared, key.Evidence)
			}
		}
	}
	slices.Sort(shared)
	shared = slices.Compact(shared)
	texts := make([]string, 0, len(shared))
	for _, evidence := range shared {
		texts = append(texts, evidence.text())
	}
	return texts
}

// Resolver offers this package to a caller that must not know its types: forms are made by Compact and handed back as
// they are. It has no state; the zero value is ready and safe for concurrent use.
type Resolver struct{}

// Compact is the function of the same name; its result is a *Record.
func (Resolver) Compact(id, payload [32]byte, kind ententev1.RecordKind, body *ententev1.Body) any {
	return Compact(id, payload, kind, body)
}

// Cluster is the function of the same name. It panics for a form that Compact did not make: a fault of the program.
func (Resolver) Cluster(forms []any, same, different [][2]int) [][]int {
	return Cluster(recordsOf(forms), same, different)
}

// Reasons is the function of the same name.
func (Resolver) Reasons(forms []any) []string {
	return Reasons(recordsOf(forms))
}

// TablesHash is the function of the same name.
func (Resolver) TablesHash() [32]byte {
	return TablesHash()
}

func recordsOf(forms []any) []*Record {
	records := make([]*Record, len(forms))
	for i, form := range forms {
		records[i] = form.(*Record)
	}
	return records
}
