package ledger_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// The reference model: what a member has pushed and for whom, and nothing of how it is kept. It is written from the design,
// not from the code under test, so that the two can disagree.

type modelName struct {
	owner member.ID
	ref   string
}

type modelAudience struct {
	kind     string // all, future, project, members
	without  []string
	members  []string
	mergeFor []string
	present  []string // all, project: who was in when it was said
	cut      bool     // without notes
	approved uint8    // the grounds for which a second person has let it go
}

// plain is the audience whatever the form, and whatever was decided on it.
func (a modelAudience) plain() modelAudience {
	a.cut, a.approved = false, 0
	return a
}

type modelVersion struct {
	content uint64 // a number that no other version has
	names   []modelName
	deny    []string
	allow   []string
	project bool        // the ceiling says: only within the project
	sources []modelName // what it was made from
	grounds uint8       // for which a second person must let it go
	retain  int64
}

type modelRecord struct {
	versions  map[uint64]modelVersion
	top       uint64
	floor     uint64
	withdrawn bool
	audiences []modelAudience

	restricted bool
	renewed    int64 // of the newest version; 0: as it says
	reviewed   int64 // when it was renewed last
}

// retain is when a record must be gone.
func (r *modelRecord) retain() int64 {
	if r.renewed != 0 {
		return r.renewed
	}
	return r.versions[r.top].retain
}

// waits tells whether an audience waits for a second person.
func (r *modelRecord) waits(a modelAudience) bool { return r.versions[r.top].grounds&^a.approved != 0 }

type model struct {
	self    member.ID
	records map[string]*modelRecord
	now     func() int64
}

func (m *model) clone() *model {
	c := &model{self: m.self, now: m.now, records: map[string]*modelRecord{}}
	for ref, r := range m.records {
		copied := *r
		copied.versions = maps.Clone(r.versions)
		copied.audiences = slices.Clone(r.audiences)
		c.records[ref] = &copied
	}
	return c
}

const (
	accepted  = ententev1.Outcome_OUTCOME_ACCEPTED
	duplicate = ententev1.Outcome_OUTCOME_DUPLICATE
	rejected  = ententev1.Outcome_OUTCOME_REJECTED
)

func same(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// added is a list with more audiences, each once: for one that is there in another form, it is the form that changes.
func added(list, more []modelAudience) []modelAudience {
	list = slices.Clone(list)
	for _, a := range more {
		at := slices.IndexFunc(list, func(have modelAudience) bool { return same(have.plain(), a.plain()) })
		switch {
		case at < 0:
			list = append(list, a)
		case list[at].cut != a.cut:
			list[at] = a
		}
	}
	return list
}

// replaced is a new list, with what was approved of it before.
func replaced(list, by []modelAudience) []modelAudience {
	by = slices.Clone(by)
	for i, a := range by {
		for _, have := range list {
			if have.cut == a.cut && same(have.plain(), a.plain()) {
				by[i] = have
			}
		}
	}
	return by
}

// allowedAudiences says whether the member may name these: the project only as a participant.
func (p simPeople) allowedAudiences(self member.ID, list []modelAudience) bool {
	return !slices.ContainsFunc(list, func(a modelAudience) bool { return a.kind == "project" && !slices.Contains(p.project, string(self)) })
}

// said is audiences as they are meant when they are said: a project is those who take part then.
func (p simPeople) said(audiences []modelAudience) []modelAudience {
	audiences = slices.Clone(audiences)
	for i := range audiences {
		if audiences[i].kind == "project" {
			audiences[i].present = p.project
		}
	}
	return audiences
}

func (m *model) push(p simPeople, ref string, number uint64, v modelVersion, audiences []modelAudience, replace bool) ententev1.Outcome {
	audiences = p.said(audiences)
	if !p.allowedAudiences(m.self, audiences) {
		return rejected
	}
	r := m.records[ref]
	if r == nil {
		r = &modelRecord{versions: map[uint64]modelVersion{}}
	}
	held, ok := r.versions[number]
	switch {
	case ok && held.content == v.content:
		return duplicate
	case ok, number <= r.floor:
		return rejected
	}
	m.records[ref] = r
	r.versions[number] = v
	if number < r.top {
		return accepted
	}
	r.top, r.withdrawn, r.renewed = number, false, 0
	if replace {
		r.audiences = replaced(r.audiences, audiences)
	} else {
		r.audiences = added(r.audiences, audiences)
	}
	return accepted
}

func (m *model) withdraw(ref string, number uint64) ententev1.Outcome {
	r := m.records[ref]
	if r == nil {
		return rejected
	}
	if number == 0 && r.withdrawn || number > 0 && number <= r.floor {
		return duplicate // also where a newer version has come since: it was sent again
	}
	number = max(number, r.top)
	r.withdrawn, r.floor, r.audiences = true, number, nil
	return accepted
}

func (m *model) release(p simPeople, ref string, audiences []modelAudience, replace bool) ententev1.Outcome {
	audiences = p.said(audiences)
	r := m.records[ref]
	if !p.allowedAudiences(m.self, audiences) || r == nil || r.withdrawn || len(audiences) == 0 && !replace || len(audiences) > 0 && m.over(r) {
		return rejected
	}
	list := replaced(r.audiences, audiences)
	if !replace {
		list = added(r.audiences, audiences)
	}
	if same(list, r.audiences) {
		return duplicate
	}
	r.audiences = list
	return accepted
}

// decide is a second person's decision.
func (m *model) decide(ref string, version uint64, approve bool) ententev1.Outcome {
	r := m.records[ref]
	if r == nil || r.withdrawn || !slices.ContainsFunc(r.audiences, r.waits) || version != r.top {
		return rejected
	}
	var list []modelAudience
	for _, a := range r.audiences {
		if r.waits(a) && !approve {
			continue
		}
		if r.waits(a) {
			a.approved |= r.versions[r.top].grounds
		}
		list = append(list, a)
	}
	r.audiences = list
	return accepted
}

func (m *model) restrict(ref string, lift bool) ententev1.Outcome {
	r := m.records[ref]
	switch {
	case r == nil || len(r.versions) == 0 || r.withdrawn && !lift || lift && m.over(r):
		return rejected
	case r.restricted == !lift:
		return duplicate
	}
	r.restricted = !lift
	return accepted
}

func (m *model) renew(ref string, until int64) ententev1.Outcome {
	r := m.records[ref]
	switch {
	case r == nil || len(r.versions) == 0 || r.withdrawn || m.over(r):
		return rejected
	case r.retain() == until && r.reviewed == m.now():
		return duplicate
	}
	r.renewed, r.reviewed = until, m.now()
	return accepted
}

func (m *model) over(r *modelRecord) bool { return len(r.versions) > 0 && r.retain() <= m.now() }

// lapse ends what is over; it gives the content that is gone with it.
func (m *model) lapse() []uint64 {
	var gone []uint64
	for _, r := range m.records {
		if len(r.versions) == 0 || r.retain() > m.now() {
			continue
		}
		for _, v := range r.versions {
			gone = append(gone, v.content)
		}
		if !r.withdrawn {
			r.floor = r.top
		}
		r.withdrawn, r.audiences, r.renewed = true, nil, 0
		clear(r.versions)
	}
	return gone
}

// simPeople is who is in the federation and in the project.
type simPeople struct {
	members []string
	project []string
}

// stand is one standing release: which kind of stream it is in and who reads that.
type stand struct {
	kind     ententev1.StreamKind
	project  string
	readers  string
	mergeFor string
	cut      bool
}

func (s stand) has(reader member.ID) bool {
	return slices.Contains(strings.Fields(s.readers), string(reader))
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func keep(list []string, ok func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(list), func(one string) bool { return !ok(one) })
}

func join(list []string) string { return strings.Join(sorted(list), " ") }

// meant works out where one audience puts a version today.
func (p simPeople) meant(self member.ID, a modelAudience, v modelVersion) []stand {
	if v.project && a.kind != "project" {
		return nil
	}
	in := func(one string) bool { return slices.Contains(p.members, one) && one != string(self) }
	may := func(one string) bool {
		return in(one) && !slices.Contains(v.deny, one) && (len(v.allow) == 0 || slices.Contains(v.allow, one)) && !slices.Contains(a.without, one)
	}
	var whole []string
	s := stand{}
	switch a.kind {
	case "all":
		whole, s.kind = a.present, ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS
	case "future":
		whole, s.kind = p.members, ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE
	case "project":
		if !slices.Contains(p.project, string(self)) {
			return nil
		}
		whole, s.kind, s.project = keep(a.present, func(one string) bool { return slices.Contains(p.project, one) }), ententev1.StreamKind_STREAM_KIND_PROJECT, "harbour"
	case "members":
		whole = a.members
	}
	whole = sorted(keep(whole, in))
	some := keep(whole, may)
	if len(some) == 0 {
		return nil
	}
	if a.kind != "members" && len(some) == len(whole) {
		s.readers = join(whole)
		return []stand{s}
	}
	var list []stand
	for _, reader := range some {
		one := stand{kind: ententev1.StreamKind_STREAM_KIND_BILATERAL, project: s.project, readers: reader}
		if reader == "COORD" {
			one.mergeFor = join(keep(a.mergeFor, func(m string) bool { return slices.Contains(some, m) }))
		}
		list = append(list, one)
	}
	return list
}

// stands works out where a record has to stand. holders gives who may read a record of another member that this one names,
// byGrant whether a reader has an own one by a grant.
func (m *model) stands(p simPeople, ref string, holders, permitted func(modelName) []string, byGrant func(string, modelName) bool) []stand {
	r := m.records[ref]
	if r == nil || r.withdrawn || r.restricted || r.retain() <= m.now() {
		return nil
	}
	v := r.versions[r.top]
	named := func(reader string) bool {
		for _, n := range v.sources {
			if n.owner == m.self {
				if m.records[n.ref] == nil {
					return false // nobody knows yet what it was made from
				}
				continue
			}
			if !slices.Contains(holders(n), reader) && !slices.Contains(permitted(n), reader) {
				return false
			}
		}
		for _, n := range v.names {
			if n.owner != m.self {
				if !slices.Contains(holders(n), reader) {
					return false
				}
				continue
			}
			if !byGrant(reader, n) && !slices.ContainsFunc(m.stands(p, n.ref, holders, permitted, byGrant), func(s stand) bool { return s.has(member.ID(reader)) }) {
				return false
			}
		}
		return true
	}
	var list []stand
	for _, a := range r.audiences {
		if r.waits(a) {
			continue
		}
		meant := p.meant(m.self, a, v)
		if slices.ContainsFunc(meant, func(s stand) bool {
			return !slices.ContainsFunc(strings.Fields(s.readers), named) || len(keep(strings.Fields(s.readers), named)) != len(strings.Fields(s.readers))
		}) {
			continue
		}
		for _, s := range meant {
			s.cut = a.cut
			at := slices.IndexFunc(list, func(have stand) bool {
				return have.kind == s.kind && have.project == s.project && have.readers == s.readers
			})
			if at < 0 {
				list = append(list, s)
				continue
			}
			list[at].mergeFor = join(append(strings.Fields(list[at].mergeFor), strings.Fields(s.mergeFor)...))
			list[at].cut = s.cut // the form that was said later
		}
	}
	return sameForms(list, len(v.names) == 0)
}

// sameForms leaves, for whom a coordinator may merge, those who get the same form. Of some records all forms are the same.
func sameForms(list []stand, visible bool) []stand {
	all := slices.Clone(list)
	for i, s := range list {
		list[i].mergeFor = join(keep(strings.Fields(s.mergeFor), func(m string) bool {
			return slices.ContainsFunc(all, func(other stand) bool {
				return other.readers == m && other.kind == s.kind && other.project == s.project && other.cut == s.cut
			})
		}))
	}
	for i := range list {
		list[i].cut = list[i].cut && visible
	}
	return list
}

// contract turns an audience of the model into one of the contract.
func (a modelAudience) contract() *ententev1.Audience {
	if a.cut {
		return withoutNotes(a.plain().contract())
	}
	switch a.kind {
	case "all", "future":
		return &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{IncludeFuture: a.kind == "future"}}}
	case "project":
		return toProject(a.without...)
	}
	out := toMembers(a.members...)
	out.GetMembers().MergeFor = a.mergeFor
	return out
}

func protoAudiences(list []modelAudience) []*ententev1.Audience {
	var out []*ententev1.Audience
	for _, a := range list {
		out = append(out, a.contract())
	}
	return out
}

// item is a version as it is pushed. The content number is in the time and, for a person, in the name.
func (s *sim) item(ref string, number uint64, v modelVersion, audiences []modelAudience, replace bool) ledger.Item {
	it := person(ref, number, contentName(v.content), protoAudiences(audiences)...)
	if len(v.names) > 0 {
		var refs [2]*ententev1.RecordRef
		for i, n := range v.names {
			id := s.nodes[n.owner].n.id(n.ref)
			refs[i] = &ententev1.RecordRef{ProviderMember: string(n.owner), Target: &ententev1.RecordRef_RecordId{RecordId: id[:]}}
		}
		it = meets(ref, "x", "y", protoAudiences(audiences)...)
		it.Record.Envelope.Version = number
		it.Record.Body.GetAssociation().From, it.Record.Body.GetAssociation().To = refs[0], refs[1]
	}
	if p := it.Record.Body.GetPerson(); p != nil {
		p.Notes = "note"
		if v.grounds&groundVictim != 0 {
			victim(it)
		}
		if v.grounds&groundPlace != 0 {
			born(it)
		}
	}
	for _, n := range v.sources {
		id := s.nodes[n.owner].n.id(n.ref)
		it.Record.Envelope.SourceRefs = append(it.Record.Envelope.SourceRefs, &ententev1.RecordRef{ProviderMember: string(n.owner), Target: &ententev1.RecordRef_RecordId{RecordId: id[:]}})
	}
	it.Record.Envelope.RetainUntil.Seconds = v.retain
	it.ReplaceAudiences = replace
	it.Record.Envelope.RecordedAt.Seconds = int64(v.content)
	if len(v.deny)+len(v.allow) > 0 || v.project {
		it.Record.Envelope.Restriction = &ententev1.Restriction{DenyMembers: v.deny, AllowMembers: v.allow}
		if v.project {
			it.Record.Envelope.Restriction.Projects = []string{"harbour"}
		}
	}
	return it
}

func contentName(content uint64) string { return fmt.Sprintf("content-%06d", content) }

func unmarshal(b []byte, m proto.Message) error { return proto.Unmarshal(b, m) }

func marshal(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}
