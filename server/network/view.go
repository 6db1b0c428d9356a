package network

import (
	"bytes"
	"encoding/binary"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"google.golang.org/protobuf/proto"
)

// View is the merged view of one reader within one scope. It does not change; what its methods return is shared by all
// who hold it and is not to be changed.
type View struct {
	info *ententev1.ViewInfo
	lost uint64 // Network.lostOf its reader when it was computed
	// from is the day for which it was computed, until when the first of its records is over; in seconds since 1970, 0 for none.
	from, until int64
	*picture
}

// is tells whether the view is that of a day too: nothing that is in it is over, and nothing can have been left out of it
// that is not.
func (v *View) is(day int64) bool {
	return day >= v.from && (v.until == 0 || day < v.until || day == 0)
}

// picture is a view without its reader: readers who see the same share it.
type picture struct {
	entities     []*ententev1.ViewEntity
	associations []*ententev1.ViewAssociation
	handles      map[[16]byte]int
	records      int
}

// Info describes the view.
func (v *View) Info() *ententev1.ViewInfo {
	return v.info
}

// Entities lists the merged entities, in order of id.
func (v *View) Entities() []*ententev1.ViewEntity {
	return v.entities
}

// Associations lists the merged associations, in order of id.
func (v *View) Associations() []*ententev1.ViewAssociation {
	return v.associations
}

// Entity finds the entity that a handle names, as an index into Entities: its own id, or the id of any record that was
// merged into it. An id that stands for nothing visible is not found, whether or not a record has it.
func (v *View) Entity(handle [16]byte) (int, bool) {
	index, found := v.handles[handle]
	return index, found
}

// AssociationsOf lists the associations that an entity is an end of, in order of id.
func (v *View) AssociationsOf(index int) []*ententev1.ViewAssociation {
	id := v.entities[index].GetEntityId()
	var found []*ententev1.ViewAssociation
	for _, association := range v.associations {
		if bytes.Equal(association.GetFromEntityId(), id) || bytes.Equal(association.GetToEntityId(), id) {
			found = append(found, association)
		}
	}
	return found
}

func newView(reader member.ID, hash, tables [32]byte, p *picture) *View {
	return &View{
		info: &ententev1.ViewInfo{
			Hash:             hash[:],
			TablesHash:       tables[:],
			Reader:           string(reader),
			EntityCount:      uint64(len(p.entities)),
			AssociationCount: uint64(len(p.associations)),
			RecordCount:      uint64(p.records),
		},
		picture: p,
	}
}

// Diff says what is new, changed and gone from old to new, in order of id. It is nil if both are computed from the same
// records in the same scope. A nil old view is an empty one.
func Diff(old, new *View) *ententev1.WatchResponse {
	response := &ententev1.WatchResponse{View: new.info}
	if old == nil {
		response.ChangedEntities = new.entities
		response.ChangedAssociations = new.associations
		return response
	}
	if bytes.Equal(old.info.GetHash(), new.info.GetHash()) {
		return nil
	}
	response.ChangedEntities, response.GoneEntityIds = diffSorted(old.entities, new.entities,
		(*ententev1.ViewEntity).GetEntityId)
	response.ChangedAssociations, response.GoneAssociationIds = diffSorted(old.associations, new.associations,
		(*ententev1.ViewAssociation).GetAssociationId)
	return response
}

// diffSorted walks two lists in order of id side by side.
func diffSorted[M proto.Message](old, new []M, id func(M) []byte) (changed []M, gone [][]byte) {
	for len(old) > 0 || len(new) > 0 {
		order := 1
		switch {
		case len(old) > 0 && len(new) > 0:
			order = bytes.Compare(id(old[0]), id(new[0]))
		case len(old) > 0:
			order = -1
		}
		switch {
		case order < 0:
			gone = append(gone, id(old[0]))
			old = old[1:]
		case order > 0:
			changed = append(changed, new[0])
			new = new[1:]
		default:
			if !proto.Equal(old[0], new[0]) {
				changed = append(changed, new[0])
			}
			old, new = old[1:], new[1:]
		}
	}
	return changed, gone
}

// scopeText is the canonical form of a scope: equal scopes give equal text. No scope is the empty scope.
func scopeText(scope *ententev1.Scope) string {
	projects := slices.Clone(scope.GetProjects())
	slices.Sort(projects)
	projects = slices.Compact(projects)
	kinds := slices.Clone(scope.GetKinds())
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)

	buf := binary.AppendUvarint(nil, uint64(len(projects)))
	for _, project := range projects {
		buf = binary.AppendUvarint(buf, uint64(len(project)))
		buf = append(buf, project...)
	}
	buf = binary.AppendUvarint(buf, uint64(len(kinds)))
	for _, kind := range kinds {
		buf = binary.AppendUvarint(buf, uint64(kind))
	}
	if scope.GetAllMembersOnly() {
		return string(append(buf, 1))
	}
	return string(append(buf, 0))
}
