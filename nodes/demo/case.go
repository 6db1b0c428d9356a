// Package demo plays a whole federation on one machine, as a guided tour in numbered scenes, so that a newcomer sees in
// eight minutes what Entente does: a coordinator and four members as real gRPC servers on loopback, with throw-away keys and
// data files in a folder that is removed at the end.
//
// Run starts it: the members' files as a site has them (site.go), nodes that can be stopped and started (start.go, nodes.go),
// and lines between them that can be cut (line.go). The scenes are in tour*.go. What they show is what the commands of the
// program print, run as a reader would type them (command.go), or is read through the public client. Waits wake with what the
// nodes hold (settle.go, records.go). Two scenes do what no command does: they look for an erased record in raw data files (disk.go),
// and alter a copy of an audit trail to show that it is noticed (tour_audit.go). For files of one's own (push.go) there is no tour, but a Result with a hash of each member's view
// (views.go) and the clusters (clusters.go).
//
// The files case*.go hold the invented case: Arvania (XA), Bergmark (XB), Coteval (XC) and Dravonia (XD) each know a part
// of a smuggling network around the port of Selwyn. The same people occur in up to four national files, under other
// spellings, grades, handling codes and roles, as in life. Each reference in it resolves within its member.
//
// The invariant: two runs over the same input give the same counts and hashes. The case is a constant, id keys come from
// a fixed seed, and nothing of the run (salts, streams, times of sending) goes into a hash.
//
// It decides nothing: what may leave, who is who and what a view holds is worked out by the nodes. It is no way to run a
// federation that is meant to last. All people, companies, places and countries in it are invented.
package demo

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	// ProjectID is the project of XA, XB, XC and the coordinator in the case.
	ProjectID = "harbour-light"
	// CoordinatorID is the member id of the coordinator in the case.
	CoordinatorID = "COORD"
	// BridgeMember is the member that holds the bridging record.
	BridgeMember = "XB"
	// BridgeReference is the provider reference of the bridging record: it carries the passport of BridgeLeft and the name
	// and birth date of BridgeRight, and is all that joins the two. It is wrong (two people taken for one) and is
	// withdrawn in the tour; then the two fall apart.
	BridgeReference = "XB/P24"
	// BridgeLeft is the record of XA that the bridging record joins.
	BridgeLeft = "XA/P26"
	// BridgeRight is the record of XC that the bridging record joins.
	BridgeRight = "XC/P20"
)

// MemberCase is what the national system of one member pushes.
type MemberCase struct {
	// Member is the member's id.
	Member string
	// Country is the invented country's name.
	Country string
	// Authority is the member's authority in whose name its system pushes. Records leave the field empty: the node takes
	// it from the certificate.
	Authority string
	// Steps are pushed in this order.
	Steps []Step
}

// Step is a part of the story: items that are pushed one after the other.
type Step struct {
	// Title says to a person what is pushed.
	Title string
	// Items in the order in which to push them.
	Items []*ententev1.PushItem
}

// Case returns the invented case, in the order XA, XB, XC, XD. The messages are the caller's own.
func Case() []MemberCase {
	var cases []MemberCase
	for _, nation := range nations() {
		cases = append(cases, newAssembly(nation).memberCase())
	}
	return cases
}

// TruthPersons returns which records describe the same person: a name for the person, and the provider references of
// all records of it, in the order of Case. The bridging record describes nobody and is left out.
func TruthPersons() map[string][]string {
	truth := make(map[string][]string)
	for _, nation := range nations() {
		refs := newAssembly(nation).refs
		for _, e := range nation.entities {
			if e.body.GetPerson() == nil || refs[e.key] == BridgeReference {
				continue
			}
			truth[e.key] = append(truth[e.key], refs[e.key])
		}
	}
	return truth
}

// StaysHome returns the references of the associations that ask for a release but wait at home, because an end of
// theirs is not released to the same readers.
func StaysHome() []string {
	var planted []string
	for _, nation := range nations() {
		for i, t := range newAssembly(nation).spread() {
			if t.planted {
				planted = append(planted, tieReference(nation.id, i))
			}
		}
	}
	return planted
}

// nation is the table of one member.
type nation struct {
	id, country, authority, law string
	scheme                      ententev1.EvaluationScheme
	grade                       string // of associations and roles: source code, then information code
	entities                    []entry
	ties                        []tieRow
	roles                       []roleRow
	library                     []entry
	corrections                 []entry // version 2 of an entity, by key
}

func nations() []nation {
	return []nation{nationXA(), nationXB(), nationXC(), nationXD()}
}

// assembly turns the table of one nation into records.
type assembly struct {
	nation
	refs    map[string]string // key in the tables -> provider reference
	reach   map[string]audience
	written int // records so far: gives each its time
}

func newAssembly(n nation) *assembly {
	a := &assembly{nation: n, refs: make(map[string]string), reach: make(map[string]audience)}
	numbers := make(map[string]int)
	for _, e := range n.entities {
		letter := letterOf(e.body)
		numbers[letter]++
		a.refs[e.key] = fmt.Sprintf("%s/%s%02d", n.id, letter, numbers[letter])
		a.reach[e.key] = e.to
	}
	for i, e := range n.library {
		a.refs[e.key] = fmt.Sprintf("%s/N%02d", n.id, i+1)
	}
	return a
}

func (a *assembly) memberCase() MemberCase {
	steps := []Step{
		{"persons, groups, places and things", a.entries(a.entities, 1)},
		{"associations", a.associations()},
		{"roles", a.roleItems()},
		{"good practices and lessons", a.entries(a.library, 1)},
		{"corrections", a.entries(a.corrections, 2)},
	}
	return MemberCase{Member: a.id, Country: a.country, Authority: a.authority, Steps: steps}
}

func (a *assembly) entries(entries []entry, version uint64) []*ententev1.PushItem {
	var items []*ententev1.PushItem
	for _, e := range entries {
		items = append(items, a.item(a.refs[e.key], version, e))
	}
	return items
}

// spread expands rows with several ends into one row an association.
func (a *assembly) spread() []tieRow {
	var rows []tieRow
	for _, row := range a.ties {
		for _, to := range row.to {
			one := row
			one.to = []string{to}
			one.body = proto.CloneOf(row.body)
			rows = append(rows, one)
		}
	}
	return rows
}

func tieReference(member string, i int) string {
	return fmt.Sprintf("%s/T%03d", member, i+1)
}

func (a *assembly) associations() []*ententev1.PushItem {
	var items []*ententev1.PushItem
	for i, row := range a.spread() {
		row.body.From = a.ref(row.from)
		row.body.To = a.ref(row.to[0])
		to := max(a.reach[row.from], a.reach[row.to[0]])
		if row.planted {
			to = toAll
		}
		e := entry{to: to, grade: a.grade, body: bodyOf(row.body)}
		e.assessed = row.body.Certainty != ententev1.Certainty_CERTAINTY_CONFIRMED
		items = append(items, a.item(tieReference(a.id, i), 1, e))
	}
	return items
}

func (a *assembly) roleItems() []*ententev1.PushItem {
	var items []*ententev1.PushItem
	for i, row := range a.roles {
		body := proto.CloneOf(row.body)
		body.Person = a.ref(row.person)
		to := a.reach[row.person]
		if row.group != "" {
			body.Group = a.ref(row.group)
			to = max(to, a.reach[row.group])
		}
		e := entry{to: to, grade: a.grade, body: bodyOf(body), areas: body.CrimeAreas, assessed: true}
		items = append(items, a.item(fmt.Sprintf("%s/R%02d", a.id, i+1), 1, e))
	}
	return items
}

func (a *assembly) ref(key string) *ententev1.RecordRef {
	return &ententev1.RecordRef{Target: &ententev1.RecordRef_ProviderReference{ProviderReference: a.refs[key]}}
}

// item makes one item. A later version names no audience: it goes to where the earlier one went.
func (a *assembly) item(reference string, version uint64, e entry) *ententev1.PushItem {
	areas := e.areas
	if areas == nil {
		areas = []ententev1.CrimeArea{drugs}
	}
	record := &ententev1.Record{Envelope: a.envelope(reference, version, e), Body: e.body, CrimeAreas: areas}
	item := &ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: record}}
	if version == 1 {
		item.Audiences = e.to.audiences(a.id, isLibrary(e.body))
	}
	return item
}

func (a *assembly) envelope(reference string, version uint64, e entry) *ententev1.Envelope {
	recorded := time.Date(2026, time.January, 5, 8, 0, 0, 0, time.UTC)
	if version > 1 {
		recorded = time.Date(2026, time.March, 2, 8, 0, 0, 0, time.UTC)
	}
	recorded = recorded.Add(time.Duration(a.written) * 17 * time.Minute)
	a.written++
	purpose := ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION
	if isLibrary(e.body) {
		purpose = ententev1.Purpose_PURPOSE_THREAT_ANALYSIS
	}
	assertion := ententev1.AssertionKind_ASSERTION_KIND_FACT
	if e.assessed {
		assertion = ententev1.AssertionKind_ASSERTION_KIND_ASSESSMENT
	}
	return &ententev1.Envelope{
		ProviderMember:    a.id,
		ProviderReference: reference,
		Version:           version,
		RecordedAt:        timestamppb.New(recorded),
		CollectedAt:       timestamppb.New(recorded.AddDate(0, 0, -3)),
		Purpose:           purpose,
		LegalBasis:        a.law,
		Evaluation:        &ententev1.Evaluation{Scheme: a.scheme, SourceCode: e.grade[:1], InformationCode: e.grade[1:]},
		Handling:          e.handling(),
		Classification:    e.to.classification(),
		RetainUntil:       timestamppb.New(time.Date(2030, time.December, 31, 0, 0, 0, 0, time.UTC)),
		ReviewDue:         timestamppb.New(time.Date(2029, time.January, 5, 0, 0, 0, 0, time.UTC)),
		Assertion:         assertion,
	}
}
