package ledger

import (
	"fmt"
	"slices"
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
}

// intents is what an own record is wanted for. Equal ones are one object, compared by pointer.
type intents struct {
	key  string // the encoding
	list []intent
}

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
		in := intent{audience: &ententev1.Audience{}}
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
		list = append(list, in)
	}
	if r.err != nil {
		return nil, fmt.Errorf("read audiences: %w", r.err)
	}
	return list, nil
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
	made := &intents{key: key, list: list}
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
		switch to := a.GetReaders().(type) {
		case *ententev1.Audience_AllMembers:
			in := intent{audience: a}
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
			list = append(list, intent{audience: a, present: newMemberSet(p.Participants...)})
		case *ententev1.Audience_Members:
			known(i, "members.members", to.Members.GetMembers())
			for _, m := range to.Members.GetMergeFor() {
				if !slices.Contains(to.Members.GetMembers(), m) {
					refuse(i, "members.merge_for", "names a member that is not among members")
				}
			}
			list = append(list, intent{audience: a})
		default:
			refuse(i, "readers", "is missing: an audience is all members, a project, or members by name")
		}
	}
	return list, wrong
}

// outside says which audiences are projects that do not take records of a kind. It is asked of audiences that resolve.
func (d *Directory) outside(kind ententev1.RecordKind, list []intent) []*ententev1.FieldViolation {
	var wrong []*ententev1.FieldViolation
	for i, in := range list {
		p := d.Projects[in.audience.GetProject().GetProjectId()]
		if p == nil || p.Takes(kind) {
			continue
		}
		wrong = append(wrong, &ententev1.FieldViolation{Field: fmt.Sprintf("audiences[%d].project.project_id", i),
			Reason: "is a project that does not take records of this kind"})
	}
	return wrong
}

// mergeIntents adds intents to those in force, each once.
func mergeIntents(in *intents, more []intent) []intent {
	var list []intent
	if in != nil {
		list = slices.Clone(in.list)
	}
	for _, m := range more {
		same := slices.ContainsFunc(list, func(have intent) bool {
			return slices.Equal(have.present, m.present) && proto.Equal(have.audience, m.audience)
		})
		if !same {
			list = append(list, m)
		}
	}
	return list
}
