package network

import (
	"bytes"
	"cmp"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// reasonDecision is the reason of a merge that an analyst decided.
const reasonDecision = "decision of an analyst"

// builder makes one picture from forms in canonical order. All its lists keep that order, so nothing depends on maps.
type builder struct {
	resolver Resolver

	things       []*form // forms of entities
	thingOf      map[recordKey]int
	associations [][]*form // forms of each association record
	roles        []*form
	decisions    []*form

	clusters  [][]int // indices of things
	clusterOf map[recordKey]int
	entities  []*entityDraft // one a cluster
}

// entityDraft is an entity with the handling of all records that go into it.
type entityDraft struct {
	*ententev1.ViewEntity
	handling handling
}

// newPicture merges forms: first who is who, then the entities, then what joins them.
func newPicture(forms []*form, resolver Resolver) *picture {
	b := &builder{resolver: resolver, thingOf: make(map[recordKey]int), clusterOf: make(map[recordKey]int)}
	groups := byRecord(forms)
	for _, group := range groups {
		b.sort(group)
	}
	b.cluster()
	b.addRoles()
	p := &picture{
		associations: b.viewAssociations(),
		records:      len(groups),
	}
	p.entities, p.handles = b.viewEntities()
	return p
}

// sort puts the forms of one record where they belong.
func (b *builder) sort(group []*form) {
	latest := latestOf(group)
	switch {
	case latest.comparable != nil:
		b.thingOf[latest.recordKey] = len(b.things)
		b.things = append(b.things, group...)
	case latest.association != nil:
		b.associations = append(b.associations, group)
	case latest.role != nil:
		b.roles = append(b.roles, latest)
	case latest.decision != nil:
		b.decisions = append(b.decisions, latest)
	}
}

// cluster asks the resolver who is who and drafts an entity for each cluster.
func (b *builder) cluster() {
	comparables := make([]any, len(b.things))
	for i, f := range b.things {
		comparables[i] = f.comparable
	}
	same, different := b.decided()
	b.clusters = b.resolver.Cluster(comparables, same, different)
	for _, members := range b.clusters {
		slices.Sort(members) // things are in canonical order
	}
	slices.SortFunc(b.clusters, func(x, y []int) int { return cmp.Compare(x[0], y[0]) })
	for number, members := range b.clusters {
		for _, i := range members {
			b.clusterOf[b.things[i].recordKey] = number
		}
		b.entities = append(b.entities, b.draft(members, comparables))
	}
	b.explainDecisions()
}

// decided lists the pairs on which visible decisions say something. A decision that names a record which is not visible
// here is inert.
func (b *builder) decided() (same, different [][2]int) {
	for _, f := range b.decisions {
		named, complete := b.named(f.decision)
		if !complete {
			continue
		}
		for i := range named {
			for j := i + 1; j < len(named); j++ {
				pair := [2]int{named[i], named[j]}
				switch f.decision.verdict {
				case ententev1.DecisionVerdict_DECISION_VERDICT_SAME:
					same = append(same, pair)
				case ententev1.DecisionVerdict_DECISION_VERDICT_DIFFERENT:
					different = append(different, pair)
				}
			}
		}
	}
	return same, different
}

func (b *builder) named(d *decisionForm) (things []int, complete bool) {
	for _, record := range d.records {
		thing, visible := b.thingOf[record]
		if !visible {
			return nil, false
		}
		things = append(things, thing)
	}
	return things, true
}

// explainDecisions adds to the entities that analysts joined that they did, and how that may be used.
func (b *builder) explainDecisions() {
	for _, f := range b.decisions {
		named, complete := b.named(f.decision)
		if !complete {
			continue
		}
		for _, thing := range named {
			number := b.clusterOf[b.things[thing].recordKey]
			entity := b.entities[number]
			entity.handling.addSource(f.source)
			if f.decision.verdict != ententev1.DecisionVerdict_DECISION_VERDICT_SAME {
				continue
			}
			joined := slices.ContainsFunc(named, func(other int) bool {
				return b.things[other].recordKey != b.things[thing].recordKey &&
					b.clusterOf[b.things[other].recordKey] == number
			})
			if joined && !slices.Contains(entity.MergeReasons, reasonDecision) {
				entity.MergeReasons = append(entity.MergeReasons, reasonDecision)
			}
		}
	}
}

// draft makes the entity of one cluster, all but its roles.
func (b *builder) draft(members []int, comparables []any) *entityDraft {
	var sources sourceList
	var facts factList
	entity := &entityDraft{ViewEntity: &ententev1.ViewEntity{}}
	chosen := make([]any, 0, len(members))
	for _, i := range members {
		f := b.things[i]
		facts.add(f.facts, sources.add(f))
		entity.handling.addSource(f.source)
		chosen = append(chosen, comparables[i])
	}
	least := b.things[members[0]]
	entity.EntityId = bytes.Clone(least.record[:])
	entity.Kind = least.kind
	entity.Sources = sources.list
	entity.Facts = facts.view()
	if len(members) > 1 {
		entity.MergeReasons = b.resolver.Reasons(chosen)
	}
	return entity
}

// addRoles gives each entity the roles that visible records give it; records that say the same make one role. A role
// whose person is not visible is left out, and a group that is not visible is not named.
func (b *builder) addRoles() {
	type roleKey struct {
		person, group int // group is -1 if none is visible
		functional    ententev1.FunctionalRole
		positional    ententev1.PositionalRole
	}
	type draft struct {
		role  *ententev1.ViewRole
		facts factList
	}
	drafts := make(map[roleKey]*draft)
	for _, f := range b.roles {
		person, visible := b.clusterOf[f.role.person]
		if !visible {
			continue
		}
		key := roleKey{person, -1, f.role.functional, f.role.positional}
		if group, groupVisible := b.clusterOf[f.role.group]; groupVisible {
			key.group = group
		}
		entity := b.entities[person]
		entity.handling.addSource(f.source)
		d, found := drafts[key]
		if !found {
			d = &draft{role: &ententev1.ViewRole{Role: key.functional, PositionalRole: key.positional}}
			if key.group >= 0 {
				d.role.GroupEntityId = b.entities[key.group].EntityId
			}
			drafts[key] = d
			entity.Roles = append(entity.Roles, d.role)
		}
		d.facts.add(f.facts, uint32(len(d.role.Sources)))
		d.role.Sources = append(d.role.Sources, f.source)
	}
	for _, d := range drafts {
		d.role.Facts = d.facts.view()
	}
	for _, entity := range b.entities {
		slices.SortFunc(entity.Roles, compareRoles)
	}
}

func compareRoles(a, b *ententev1.ViewRole) int {
	return cmp.Or(
		cmp.Compare(a.GetRole(), b.GetRole()),
		cmp.Compare(a.GetPositionalRole(), b.GetPositionalRole()),
		bytes.Compare(a.GetGroupEntityId(), b.GetGroupEntityId()),
	)
}

// viewEntities finishes the entities, in order of id, and lists the handles: the id of each record in them. Where two
// members use one id, which honest ones never do, the record that is least in the fixed order has it.
func (b *builder) viewEntities() ([]*ententev1.ViewEntity, map[[16]byte]int) {
	order := make([]int, len(b.entities))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		return bytes.Compare(b.entities[x].EntityId, b.entities[y].EntityId)
	})
	entities := make([]*ententev1.ViewEntity, len(order))
	place := make([]int, len(order))
	for at, number := range order {
		draft := b.entities[number]
		draft.Handling, draft.Classification = draft.handling.view(), draft.handling.marking
		entities[at] = draft.ViewEntity
		place[number] = at
	}
	handles := make(map[[16]byte]int, len(b.things))
	for _, f := range b.things {
		if _, taken := handles[f.record]; !taken {
			handles[f.record] = place[b.clusterOf[f.recordKey]]
		}
	}
	return entities, handles
}
