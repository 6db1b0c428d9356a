package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Directory is who is in and which projects there are, as the node has verified it. It is replaced whole, never changed.
type Directory struct {
	// Roster is the roster in force.
	Roster *member.Roster
	// Projects are the projects whose documents the node holds, by id.
	Projects map[string]*member.Project
}

func (d *Directory) members() memberSet { return newMemberSet(d.Roster.Members()...) }

// intent is one audience as it was decided: with the members, or participants of the project, that were present then, where
// that is what it means. Who comes later reads what is released from then on; what was released before, by a grant.
type intent struct {
	audience *ententev1.Audience
	present  memberSet
	cut      string // the encoded treatment, "" for whole
	approved uint8  // the grounds for which a second person has let it go; see Config.Sensitive
	proposer string // who asked: the names of officers or systems, see proposers; "" for a system that named nobody
}

// beforeApprovals is approved of what was released before a second person was asked: it stays.
const beforeApprovals = 0xff

// intents is what an own record is wanted for. Equal ones are one object, compared by pointer.
type intents struct {
	key  string // the encoding
	list []intent
}

// approvalsFormat begins what was added to encoded intents since: older ones end before it.
const approvalsFormat = 1

func encodeIntents(list []intent) (string, error) {
	w := writer{}
	w.uint(uint64(len(list)))
	for _, in := range list {
		b, err := deterministic().Marshal(in.audience)
		if err != nil {
			return "", fmt.Errorf("encode audience: %w", err)
		}
		w.bytes(b)
		w.uint(uint64(len(in.present)))
		for _, m := range in.present {
			w.string(string(m))
		}
	}
	w.b = append(w.b, approvalsFormat)
	for _, in := range list {
		w.b = append(w.b, in.approved)
		w.string(in.proposer)
	}
	return string(w.b), nil
}

func decodeIntents(key string) ([]intent, error) {
	r := reader{b: []byte(key)}
	n := r.uint()
	if n > uint64(len(key)) {
		return nil, fmt.Errorf("read audiences: %w", errMalformed)
	}
	var list []intent
	for range n {
		in := intent{audience: &ententev1.Audience{}, approved: beforeApprovals}
		b := r.bytes()
		err := proto.Unmarshal(b, in.audience)
		if err != nil {
			return nil, fmt.Errorf("read audiences: %w", err)
		}
		m := r.uint()
		for range m {
			if r.err != nil {
				break
			}
			in.present = append(in.present, member.ID(r.string()))
		}
		in.cut, err = cutOf(in.audience)
		if err != nil {
			return nil, err
		}
		list = append(list, in)
	}
	if first(r.b) == approvalsFormat {
		r.take(1)
		for i := range list {
			list[i].approved = first(r.take(1))
			list[i].proposer = r.string()
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("read audiences: %w", r.err)
	}
	return list, nil
}

// cutOf is the encoded treatment of an audience: equal treatments give equal text, in whatever order their fields are named,
// and none, or an empty one, is "".
func cutOf(a *ententev1.Audience) (string, error) {
	if a.GetTreatment() == nil {
		return "", nil
	}
	ordered := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	b, err := deterministic().Marshal(&ententev1.Treatment{LeaveOut: ordered(a.GetTreatment().GetLeaveOut()), Coarsen: ordered(a.GetTreatment().GetCoarsen())})
	if err != nil {
		return "", fmt.Errorf("encode treatment: %w", err)
	}
	return string(b), nil
}

// parseCut reads what cutOf gives.
func parseCut(cut string) (*ententev1.Treatment, error) {
	t := &ententev1.Treatment{}
	err := proto.Unmarshal([]byte(cut), t)
	if err != nil {
		return nil, fmt.Errorf("read treatment: %w", err)
	}
	return t, nil
}

// treated is a record as a treatment leaves it. Without the policy that can treat, nothing leaves treated.
func (l *Ledger) treated(r *ententev1.Record, cut string) (*ententev1.Record, error) {
	if cut == "" {
		return r, nil
	}
	t, err := parseCut(cut)
	if err != nil {
		return nil, err
	}
	if l.cfg.Treat == nil {
		return nil, fmt.Errorf("treat a record: %w", errMalformed)
	}
	return l.cfg.Treat(r, t), nil
}

// internIntents gives the one object for an encoding.
func (s *state) internIntents(key string) (*intents, error) {
	known, ok := s.intents[key]
	if ok {
		return known, nil
	}
	list, err := decodeIntents(key)
	if err != nil {
		return nil, err
	}
	// An encoding of an earlier version of the program means what one of this version does: the same object.
	current, err := encodeIntents(list)
	if err != nil {
		return nil, err
	}
	made, ok := s.intents[current]
	if !ok {
		made = &intents{key: current, list: list}
		s.intents[current] = made
	}
	s.intents[key] = made
	return made, nil
}

// resolve turns audiences as asked into intents, or says what is wrong with them. An unknown project and one that the
// member does not take part in read the same.
func (d *Directory) resolve(self member.ID, now time.Time, audiences []*ententev1.Audience) ([]intent, []*ententev1.FieldViolation) {
	var list []intent
	var wrong []*ententev1.FieldViolation
	refuse := func(i int, field, reason string) {
		wrong = append(wrong, &ententev1.FieldViolation{Field: fmt.Sprintf("audiences[%d].%s", i, field), Reason: reason})
	}
	known := func(i int, field string, names []string) {
		for _, name := range names {
			_, in := d.Roster.Member(member.ID(name))
			if !in {
				refuse(i, field, "names somebody who is not a member")
			}
		}
	}
	for i, a := range audiences {
		cut, err := cutOf(a)
		if err != nil {
			refuse(i, "treatment", "cannot be encoded: text that is not UTF-8")
			continue
		}
		switch to := a.GetReaders().(type) {
		case *ententev1.Audience_AllMembers:
			in := intent{audience: a, cut: cut}
			if !to.AllMembers.GetIncludeFuture() {
				in.present = d.members().without(self)
			}
			list = append(list, in)
		case *ententev1.Audience_Project:
			known(i, "project.without", to.Project.GetWithout())
			p := d.Projects[to.Project.GetProjectId()]
			if p == nil || !p.Has(self) {
				refuse(i, "project.project_id", "is no project that this member takes part in")
				continue
			}
			if !p.Open(now) {
				refuse(i, "project.project_id", "is a project that is not open now")
				continue
			}
			list = append(list, intent{audience: a, cut: cut, present: newMemberSet(p.Participants...)})
		case *ententev1.Audience_Members:
			known(i, "members.members", to.Members.GetMembers())
			for _, m := range to.Members.GetMergeFor() {
				if !slices.Contains(to.Members.GetMembers(), m) {
					refuse(i, "members.merge_for", "names a member that is not among members")
				}
			}
			list = append(list, intent{audience: a, cut: cut})
		default:
			refuse(i, "readers", "is missing: an audience is all members, a project, or members by name")
		}
	}
	return list, wrong
}

// outside says which audiences are projects that do not take records of a kind, or of a purpose. It is asked of audiences
// that resolve.
func (d *Directory) outside(kind ententev1.RecordKind, list []intent, fits func(project ententev1.Purpose) bool) []*ententev1.FieldViolation {
	var wrong []*ententev1.FieldViolation
	refuse := func(i int, reason string) {
		wrong = append(wrong, &ententev1.FieldViolation{Field: fmt.Sprintf("audiences[%d].project.project_id", i), Reason: reason})
	}
	for i, in := range list {
		p := d.Projects[in.audience.GetProject().GetProjectId()]
		switch {
		case p == nil:
		case !p.Takes(kind):
			refuse(i, "is a project that does not take records of this kind")
		case !fits(p.Purpose):
			refuse(i, "is a project whose purpose does not fit that of the record")
		}
	}
	return wrong
}

// fits says which projects' purposes a record of a purpose may be used for.
func (l *Ledger) fits(record ententev1.Purpose) func(project ententev1.Purpose) bool {
	return func(project ententev1.Purpose) bool {
		return l.cfg.Compatible == nil || l.cfg.Compatible(record, project)
	}
}

// audienceWords are audiences as the trail names them: whom a record was released to, by the ids of projects and members.
func audienceWords(list []intent) string {
	var words []string
	for _, in := range list {
		word := "all members"
		switch readers := in.audience.GetReaders().(type) {
		case *ententev1.Audience_AllMembers:
			if readers.AllMembers.GetIncludeFuture() {
				word = "all members and future ones"
			}
		case *ententev1.Audience_Project:
			word = "project " + readers.Project.GetProjectId()
			for _, without := range readers.Project.GetWithout() {
				word += " without " + without
			}
		case *ententev1.Audience_Members:
			word = strings.Join(readers.Members.GetMembers(), ", ")
		}
		if in.cut != "" {
			word += " (treated)"
		}
		words = append(words, word)
	}
	return strings.Join(words, "; ")
}

// sameReaders tells whether two intents are for the same audience, in whatever form.
func (in intent) sameReaders(other intent) bool {
	if !slices.Equal(in.present, other.present) {
		return false
	}
	if in.audience.GetTreatment() == nil && other.audience.GetTreatment() == nil {
		return proto.Equal(in.audience, other.audience)
	}
	a, b := proto.CloneOf(in.audience), proto.CloneOf(other.audience)
	a.Treatment, b.Treatment = nil, nil
	return proto.Equal(a, b)
}

// mergeIntents adds intents to those in force, each once. One for an audience that has the record already changes the form
// that it gets; what a second person has approved in the same form stays approved.
func mergeIntents(in *intents, more []intent) []intent {
	var list []intent
	if in != nil {
		list = slices.Clone(in.list)
	}
	for _, m := range more {
		at := slices.IndexFunc(list, m.sameReaders)
		switch {
		case at < 0:
			list = append(list, m)
		case list[at].cut != m.cut:
			list[at] = m
		}
	}
	return list
}

// Whoever had a part in what waits is a proposer of it: who asked for the release, and who pushed what waits since. The names
// stand in one text, with a byte between them that no name of a certificate has.
const proposerEnd = "\x00"

func proposers(text string) []string { return strings.Split(text, proposerEnd) }

// addProposer adds a name to others, each once; an empty one adds nothing, and an empty list is that of nobody.
func addProposer(names []string, name string) []string {
	names = slices.DeleteFunc(names, func(one string) bool { return one == "" || one == name })
	if name != "" {
		names = append(names, name)
	}
	return names
}

// keepApprovals is a new list of intents with the approvals that those in force have in the same form.
func keepApprovals(in *intents, list []intent) []intent {
	if in == nil {
		return list
	}
	list = slices.Clone(list)
	for i, one := range list {
		at := slices.IndexFunc(in.list, func(have intent) bool { return have.cut == one.cut && have.sameReaders(one) })
		if at >= 0 {
			list[i] = in.list[at]
		}
	}
	return list
}
