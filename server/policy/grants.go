package policy

import (
	"errors"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// AllProjects in a list of projects stands for no limit by project: all projects and what is in none.
const AllProjects = "*"

// ErrNotGranted says that the node's configuration does not allow the caller what it asks. It tells a caller about its
// own grants only, never about records.
var ErrNotGranted = errors.New("not granted to this caller by its own member")

// System is what a member grants one of its national systems, by the name in its certificate.
type System struct {
	// Authority in whose name the system pushes, and whose records it reads. Required for a system that pushes.
	Authority string
	// Projects that it may subscribe to; AllProjects for everything that the member may see; none: no subscription.
	Projects []string
	// Grant says whether the system may open the member's earlier streams to readers, and ask what a reader gets or would
	// get. It is a matter of the whole member, not of one authority.
	Grant bool
	// Permit says whether the system may give holders permissions under H2, and take them back.
	Permit bool
	// Clearance is the highest level of records that the system may be shown; not given: the lowest only.
	Clearance ententev1.ClassificationLevel
}

// Officer is what a member grants one of its officers.
type Officer struct {
	// Purposes for which the officer may ask. None: the officer may not ask.
	Purposes []ententev1.Purpose
	// Projects that the officer may see; AllProjects for no limit by project.
	Projects []string
	// Approve says whether the officer may decide on releases that others have asked for.
	Approve bool
	// Clearance is the highest level of records that the officer may be shown; not given: the lowest only.
	Clearance ententev1.ClassificationLevel
}

// Grants is what a member allows its own people and systems. Whoever is not listed gets nothing.
type Grants struct {
	Systems  map[string]System
	Officers map[string]Officer
}

// Authority is the authority in whose name a system of the own member acts.
func (g Grants) Authority(caller member.Identity) (string, error) {
	if caller.Kind != member.KindSystem {
		return "", ErrNotGranted
	}
	system, ok := g.Systems[caller.Name]
	if !ok || system.Authority == "" {
		return "", ErrNotGranted
	}
	return system.Authority, nil
}

// MayAsk says whether the caller may ask for this purpose and on behalf of this officer at all: ErrNotGranted if not.
// An officer asks in its own name only; a system may name the officer on whose behalf it asks.
func (g Grants) MayAsk(caller member.Identity, c *ententev1.Consultation) error {
	_, err := g.officer(caller, c)
	return err
}

// officer answers in the name of which officer the caller asks; none where a system names none.
func (g Grants) officer(caller member.Identity, c *ententev1.Consultation) (string, error) {
	name := c.GetOfficer()
	switch caller.Kind {
	case member.KindOfficer:
		if name != "" && name != caller.Name {
			return "", ErrNotGranted
		}
		name = caller.Name
	case member.KindSystem:
		_, known := g.Systems[caller.Name]
		if !known {
			return "", ErrNotGranted
		}
	default:
		return "", ErrNotGranted
	}
	if name != "" && !slices.Contains(g.Officers[name].Purposes, c.GetPurpose()) {
		return "", ErrNotGranted
	}
	return name, nil
}

// MaySee says whether the caller, and the officer that it names if any, may see what belongs to a project, or, with the
// empty project, everything that its member may see.
func (g Grants) MaySee(caller member.Identity, c *ententev1.Consultation, project string) bool {
	for _, limit := range g.limits(caller, c.GetOfficer()) {
		granted := slices.Contains(limit, AllProjects) || project != "" && slices.Contains(limit, project)
		if !granted {
			return false
		}
	}
	return true
}

// limits are the lists of projects that all must allow a project: the caller's, and the named officer's.
func (g Grants) limits(caller member.Identity, officer string) [][]string {
	switch caller.Kind {
	case member.KindOfficer:
		return [][]string{g.Officers[caller.Name].Projects}
	case member.KindSystem:
		limits := [][]string{g.Systems[caller.Name].Projects}
		if officer != "" {
			limits = append(limits, g.Officers[officer].Projects)
		}
		return limits
	default:
		return [][]string{nil}
	}
}

// Narrow answers the consultation as the grants leave it: with the officer from the certificate and a scope of no more
// projects than granted. It fails with ErrNotGranted where the purpose is not granted or nothing is left of the scope,
// because an empty list of projects would mean "no limit". The argument is not changed.
func (g Grants) Narrow(caller member.Identity, c *ententev1.Consultation) (*ententev1.Consultation, error) {
	if c == nil {
		return nil, ErrNotGranted
	}
	officer, err := g.officer(caller, c)
	if err != nil {
		return nil, err
	}
	projects, err := narrowProjects(c.GetScope().GetProjects(), g.limits(caller, c.GetOfficer()))
	if err != nil {
		return nil, err
	}
	// Field by field: what this version does not know is not passed on to a node that may.
	narrowed := &ententev1.Consultation{
		Purpose: c.GetPurpose(), CaseReference: c.GetCaseReference(), Officer: officer, ProtectedReason: c.GetProtectedReason(),
	}
	if c.GetScope() == nil && len(projects) == 0 {
		return narrowed, nil
	}
	narrowed.Scope = &ententev1.Scope{Projects: projects, Kinds: c.GetScope().GetKinds(), AllMembersOnly: c.GetScope().GetAllMembersOnly()}
	return narrowed, nil
}

// narrowProjects intersects what is asked (none: no limit) with each limit. None in the answer: no limit.
func narrowProjects(asked []string, limits [][]string) ([]string, error) {
	projects := slices.Clone(asked)
	for _, limit := range limits {
		if slices.Contains(limit, AllProjects) {
			continue
		}
		if len(projects) == 0 {
			projects = slices.Clone(limit)
		}
		projects = slices.DeleteFunc(projects, func(p string) bool { return !slices.Contains(limit, p) })
		if len(projects) == 0 {
			return nil, ErrNotGranted
		}
	}
	slices.Sort(projects)
	return slices.Compact(projects), nil
}
