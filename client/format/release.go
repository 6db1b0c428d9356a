package format

import (
	"errors"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// release says before whom a row is put: marks in a column, or the same marks for all rows.
type release struct {
	column   *column
	marks    []string // without a column
	all      string   // the mark for all members; "" = none
	future   bool     // all members: also those admitted later
	projects map[string]string
	members  map[string]string // nil: every other mark is a member
}

func (p *parser) release(at place) (*release, error) {
	entries, err := at.entries("release")
	if err != nil {
		return nil, err
	}
	r := &release{}
	var name, split string
	for _, e := range entries {
		switch e.key {
		case "column":
			name, err = e.value.text(e.key)
		case "split":
			split, err = e.value.text(e.key)
		case "value":
			r.marks, err = e.value.texts(e.key)
		case "all":
			r.all, err = e.value.text(e.key)
		case "future_members":
			r.future, err = e.value.flag(e.key)
		case "projects":
			r.projects, err = e.value.table(e.key)
		case "members":
			r.members, err = e.value.table(e.key)
		default:
			err = e.unknown("release", "column", "split", "value", "all", "future_members", "projects", "members")
		}
		if err != nil {
			return nil, err
		}
	}
	if (name == "") == (r.marks == nil) {
		return nil, at.errorf("release has exactly one of column, value")
	}
	if name != "" {
		r.column, err = parseColumn(name, split, p.csv)
	}
	if err != nil {
		return nil, at.errorf("%s", err)
	}
	if r.column != nil && r.column.brackets > 1 {
		return nil, at.errorf("the release column lies in more than one list")
	}
	for _, mark := range r.marks {
		if _, ok := r.members[mark]; !ok && r.members != nil && r.projects[mark] == "" && mark != r.all {
			return nil, at.errorf("mark %q is neither all, nor in projects, nor in members", mark)
		}
	}
	return r, nil
}

// audiences are the audiences of a row. None: it stays at home.
func (r *release) audiences(row *rowData) ([]*ententev1.Audience, error) {
	marks := r.marks
	if r.column != nil {
		var err error
		marks, err = r.column.texts(row.cells)
		if err != nil {
			return nil, &columnError{r.column.name, err}
		}
	}
	out, err := r.read(marks)
	if err != nil && r.column != nil {
		return nil, &columnError{r.column.name, err}
	}
	return out, err
}

// read turns marks into audiences: all members first, then projects in the order of the row, then the named members.
// Named members are left out beside all members, who include them.
func (r *release) read(marks []string) ([]*ententev1.Audience, error) {
	var all bool
	var projects []*ententev1.Audience
	var members []string
	for _, mark := range marks {
		if mark == "" {
			continue
		}
		if mark == r.all {
			all = true
			continue
		}
		if id := r.projects[mark]; id != "" {
			projects = append(projects, &ententev1.Audience{Readers: &ententev1.Audience_Project{
				Project: &ententev1.ProjectAudience{ProjectId: id},
			}})
			continue
		}
		member := mark
		if r.members != nil {
			member = r.members[mark]
		}
		if member == "" {
			return nil, errors.New("has a mark that the mapping does not know")
		}
		members = append(members, member)
	}
	if all {
		whole := &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{
			AllMembers: &ententev1.AllMembersAudience{IncludeFuture: r.future},
		}}
		return append([]*ententev1.Audience{whole}, projects...), nil
	}
	if len(members) > 0 {
		projects = append(projects, &ententev1.Audience{Readers: &ententev1.Audience_Members{
			Members: &ententev1.NamedMembersAudience{Members: members},
		}})
	}
	return projects, nil
}
