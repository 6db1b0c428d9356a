package demo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// views asks for the view of each member, through its own node.
func (s *stage) views() (map[string]*client.View, error) {
	views := make(map[string]*client.View)
	for _, at := range s.members() {
		view, err := at.officer.View(s.ctx, consultation(nil))
		if err != nil {
			return nil, fmt.Errorf("view of %s: %w", at.seat.ID, err)
		}
		views[string(at.seat.ID)] = view
	}
	return views, nil
}

// holders are the members, its owner left out, whose subscribers get a record now.
func (s *stage) holders(key recordKey) ([]string, error) {
	var holders []string
	for _, at := range s.places {
		if string(at.seat.ID) == key.member {
			continue
		}
		received, err := s.received(at.officer, "")
		if err != nil {
			return nil, fmt.Errorf("what %s has received: %w", at.seat.ID, err)
		}
		if received[key] != nil {
			holders = append(holders, string(at.seat.ID))
		}
	}
	return holders, nil
}

// key finds a record by its provider's reference.
func (h *holdings) key(member, reference string) (recordKey, error) {
	for key, name := range h.names {
		if name.member == member && name.reference == reference {
			return key, nil
		}
	}
	return recordKey{}, fmt.Errorf("%s holds no record %s", member, reference)
}

// unseen are the entities of a view of which another view has no record.
func unseen(view, other *client.View) []*ententev1.ViewEntity {
	seen := make(map[string]bool)
	for _, e := range other.Entities {
		for _, source := range e.GetSources() {
			seen[string(source.GetRecordId())] = true
		}
	}
	var missing []*ententev1.ViewEntity
	for _, e := range byReach(view.Entities) {
		if !slices.ContainsFunc(e.GetSources(), func(s *ententev1.ViewSource) bool { return seen[string(s.GetRecordId())] }) {
			missing = append(missing, e)
		}
	}
	return missing
}

// byReach puts first what most members know of, then what has most records, then roles.
func byReach(entities []*ententev1.ViewEntity) []*ententev1.ViewEntity {
	list := slices.Clone(entities)
	slices.SortStableFunc(list, func(a, b *ententev1.ViewEntity) int {
		return cmp.Or(cmp.Compare(len(membersOf(b)), len(membersOf(a))), cmp.Compare(len(b.GetRoles()), len(a.GetRoles())),
			cmp.Compare(len(b.GetSources()), len(a.GetSources())))
	})
	return list
}

func membersOf(e *ententev1.ViewEntity) []string {
	var members []string
	for _, source := range e.GetSources() {
		members = append(members, source.GetProviderMember())
	}
	slices.Sort(members)
	return slices.Compact(members)
}

func topEntities(view *client.View, most int) [][]string {
	withRoles := slices.DeleteFunc(byReach(view.Entities), func(e *ententev1.ViewEntity) bool { return len(e.GetRoles()) == 0 })
	return entityRows(withRoles[:min(most, len(withRoles))])
}

func entityRows(entities []*ententev1.ViewEntity) [][]string {
	var rows [][]string
	for _, e := range entities {
		rows = append(rows, []string{labelOf(e), rolesText(e), sourcesText(e.GetSources())})
	}
	return rows
}

func topAssociations(view *client.View, most int) [][]string {
	labels := make(map[string]string)
	for _, e := range view.Entities {
		labels[string(e.GetEntityId())] = labelOf(e)
	}
	list := slices.Clone(view.Associations)
	slices.SortStableFunc(list, func(a, b *ententev1.ViewAssociation) int {
		return cmp.Compare(len(b.GetSources()), len(a.GetSources()))
	})
	var rows [][]string
	for _, a := range list[:min(most, len(list))] {
		rows = append(rows, []string{labels[string(a.GetFromEntityId())], word(a.GetKind().String(), "ASSOCIATION_KIND_"),
			labels[string(a.GetToEntityId())], sourcesText(a.GetSources())})
	}
	return rows
}

// labelOf is what an entity is called: its name, else the first identifying fact that it has.
func labelOf(e *ententev1.ViewEntity) string {
	for _, field := range []string{"name", "title", "number", "value", "plate", "serial_number"} {
		for _, fact := range e.GetFacts() {
			if fact.GetField() != field {
				continue
			}
			if field == "name" {
				return fact.GetValue()
			}
			return word(e.GetKind().String(), "RECORD_KIND_") + " " + fact.GetValue()
		}
	}
	return word(e.GetKind().String(), "RECORD_KIND_")
}

// rolesText names each role with the sources that say so: they need not agree.
func rolesText(e *ententev1.ViewEntity) string {
	var roles []string
	for _, role := range e.GetRoles() {
		roles = append(roles, fmt.Sprintf("%s (%s)", word(role.GetRole().String(), "FUNCTIONAL_ROLE_"), sourcesText(role.GetSources())))
	}
	slices.Sort(roles)
	return strings.Join(slices.Compact(roles), "; ")
}

// sourcesText names each source by member and grade.
func sourcesText(sources []*ententev1.ViewSource) string {
	var texts []string
	for _, s := range sources {
		texts = append(texts, s.GetProviderMember()+" "+s.GetEvaluation().GetSourceCode()+s.GetEvaluation().GetInformationCode())
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// word is a code without its prefix, in small letters.
func word(code, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(code, prefix)), "_", " ")
}
