package network

import (
	"bytes"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// associationKey is what makes associations one: the same kind between the same two entities, by number of cluster.
type associationKey struct {
	from, to int
	kind     ententev1.AssociationKind
}

// associationDraft is a merged association in the making.
type associationDraft struct {
	id       []byte
	sources  sourceList
	facts    factList
	handling handling
}

// viewAssociations merges the associations whose two ends are visible, in order of id. One whose ends turn out to be one
// entity is left out: it joins nothing. Handling is that of the association's records and of all records of both ends.
func (b *builder) viewAssociations() []*ententev1.ViewAssociation {
	drafts := make(map[associationKey]*associationDraft)
	for _, group := range b.associations {
		latest := latestOf(group)
		key, drawn := b.endsOf(latest)
		if !drawn {
			continue
		}
		draft, found := drafts[key]
		if !found {
			// Groups come in canonical order, so the first has the least id.
			draft = &associationDraft{id: bytes.Clone(latest.record[:])}
			drafts[key] = draft
		}
		for _, f := range group {
			// Another form of the record that joins other ends says nothing of this association.
			other, same := b.endsOf(f)
			if !same || other != key {
				continue
			}
			draft.facts.add(f.facts, draft.sources.add(f))
			draft.handling.addSource(f.source)
		}
	}
	associations := make([]*ententev1.ViewAssociation, 0, len(drafts))
	for key, draft := range drafts {
		draft.handling.join(b.entities[key.from].handling)
		draft.handling.join(b.entities[key.to].handling)
		associations = append(associations, &ententev1.ViewAssociation{
			AssociationId:  draft.id,
			FromEntityId:   b.entities[key.from].EntityId,
			ToEntityId:     b.entities[key.to].EntityId,
			Kind:           key.kind,
			Sources:        draft.sources.list,
			Facts:          draft.facts.view(),
			Handling:       draft.handling.view(),
			Classification: draft.handling.marking,
		})
	}
	slices.SortFunc(associations, compareAssociations)
	return associations
}

// compareAssociations orders by id, and where two members use one id, which honest ones never do, by content.
func compareAssociations(a, b *ententev1.ViewAssociation) int {
	order := bytes.Compare(a.GetAssociationId(), b.GetAssociationId())
	if order != 0 {
		return order
	}
	return bytes.Compare([]byte(deterministic(a)), []byte(deterministic(b)))
}

// endsOf finds the entities that an association joins. One that holds in both directions has its ends in fixed order,
// so that "A meets B" and "B meets A" are one.
func (b *builder) endsOf(f *form) (associationKey, bool) {
	from, fromVisible := b.clusterOf[f.association.from]
	to, toVisible := b.clusterOf[f.association.to]
	if !fromVisible || !toVisible || from == to {
		return associationKey{}, false
	}
	if f.association.mutual && to < from {
		from, to = to, from
	}
	return associationKey{from, to, f.association.kind}, true
}
