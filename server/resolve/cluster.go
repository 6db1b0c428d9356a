package resolve

import (
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Cluster groups records that describe the same. Each index of records stands in exactly one group; groups are ordered
// by their least record, records within a group by id, then payload. same and different are pairs of indices on which
// analysts decided.
//
// The rules, in this order:
//   - forms of one record (same ID and kind) are together;
//   - what "same" joins is together, unless a "different" stands within what "same" decisions join, then none of those
//     counts; a "same" between records of two kinds counts for nothing;
//   - records that share a key are joined, key by key in order of hash, record by record in order of id, unless that
//     would put together two records on which a "different" stands, or two persons with contradicting sex and dates of
//     birth (both given, both different).
//
// So the result does not depend on the order of records, same or different.
func Cluster(records []*Record, same, different [][2]int) [][]int {
	units, unitOf := unitsOf(records)
	p := newPartition(units)
	for _, pair := range different {
		p.keepApart(unitOf[pair[0]], unitOf[pair[1]])
	}
	joinDecided(p, units, unitPairs(same, unitOf))
	joinByKeys(p, units)
	return p.groups(units)
}

// unit is all the forms of one record.
type unit struct {
	kind    ententev1.RecordKind
	members []int // indices of records, by payload
	keys    []Key
	sex     ententev1.Sex // zero if not given, or if the forms disagree
	births  []uint32
}

// unitsOf puts the forms of each record together. Units come in order of record id, whatever the order of records.
func unitsOf(records []*Record) (units []unit, unitOf []int) {
	order := make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return records[a].compare(records[b]) })
	unitOf = make([]int, len(records))
	for n, i := range order {
		record := records[i]
		if n > 0 {
			before := records[order[n-1]]
			if before.ID == record.ID && before.Kind == record.Kind {
				units[len(units)-1].add(i, record)
				unitOf[i] = len(units) - 1
				continue
			}
		}
		units = append(units, unit{
			kind: record.Kind, members: []int{i}, keys: record.Keys, sex: record.sex, births: record.births,
		})
		unitOf[i] = len(units) - 1
	}
	return units, unitOf
}

// add takes in a further form of the record. Slices of the first form are copied, not changed.
func (u *unit) add(index int, record *Record) {
	u.members = append(u.members, index)
	u.keys = slices.Concat(u.keys, record.Keys)
	u.births = slices.Concat(u.births, record.births)
	if record.sex != u.sex {
		u.sex = ententev1.Sex_SEX_UNSPECIFIED
	}
}

// unitPairs turns pairs of record indices into pairs of unit indices.
func unitPairs(pairs [][2]int, unitOf []int) [][2]int {
	turned := make([][2]int, 0, len(pairs))
	for _, pair := range pairs {
		turned = append(turned, [2]int{unitOf[pair[0]], unitOf[pair[1]]})
	}
	return turned
}

// joinDecided joins what "same" decisions join, component by component.
func joinDecided(p *partition, units []unit, same [][2]int) {
	if len(same) == 0 {
		return
	}
	components := newForest(len(units))
	for _, pair := range same {
		if units[pair[0]].kind == units[pair[1]].kind {
			components.join(pair[0], pair[1])
		}
	}
	contradicted := make(map[int]bool)
	for a, foes := range p.foes {
		for _, b := range foes {
			if components.find(a) == components.find(b) {
				contradicted[components.find(a)] = true
			}
		}
	}
	for a := range units {
		root := components.find(a)
		if root != a && !contradicted[root] {
			p.join(a, root)
		}
	}
}

// joinByKeys joins units that share a key and that nothing keeps apart.
func joinByKeys(p *partition, units []unit) {
	type posting struct {
		key  Key
		kind ententev1.RecordKind
		unit int
	}
	var postings []posting
	for i := range units {
		for _, key := range units[i].keys {
			postings = append(postings, posting{key, units[i].kind, i})
		}
	}
	slices.SortFunc(postings, func(a, b posting) int {
		order := a.key.compare(b.key)
		if order != 0 {
			return order
		}
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return a.unit - b.unit
	})
	// Those of one key that could not be joined head clusters of their own; who comes later joins the first that lets
	// it in. The vetoes leave few such heads, so this stays near linear.
	var heads []int
	for n, entry := range postings {
		if n == 0 || postings[n-1].key != entry.key || postings[n-1].kind != entry.kind {
			heads = heads[:0]
		}
		if !slices.ContainsFunc(heads, func(head int) bool { return p.tryJoin(head, entry.unit) }) {
			heads = append(heads, entry.unit)
		}
	}
}
