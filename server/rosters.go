package server

import (
	"context"
	"maps"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/policy"
)

// rosters tells nodes who is in.
type rosters struct {
	ententev1.UnimplementedRosterServiceServer
	*Server
}

// GetRoster answers the roster in force, the document as it was signed.
func (s *rosters) GetRoster(ctx context.Context, _ *ententev1.GetRosterRequest) (*ententev1.GetRosterResponse, error) {
	roster := s.cfg.Directory().Roster
	response := &ententev1.GetRosterResponse{Roster: roster.Document()}
	cleared, ok := policy.ClearAmong(callerOf(ctx).Member, roster.Members(), response)
	return answer(cleared, ok)
}

// ListProjectDocuments answers the chains of the projects that the calling member takes part in. Others do not exist.
func (s *rosters) ListProjectDocuments(ctx context.Context, request *ententev1.ListProjectDocumentsRequest) (*ententev1.ListProjectDocumentsResponse, error) {
	reader := callerOf(ctx).Member
	projects := s.cfg.Directory().Projects
	response := &ententev1.ListProjectDocumentsResponse{}
	if s.cfg.ProjectDocuments == nil {
		projects = nil
	}
	for _, id := range slices.Sorted(maps.Keys(projects)) {
		if request.GetProjectId() != "" && request.GetProjectId() != id {
			continue
		}
		cleared, ok := policy.ClearAmong(reader, projects[id].Participants, s.cfg.ProjectDocuments(id))
		if ok {
			response.Documents = append(response.Documents, cleared.Value()...)
		}
	}
	if request.GetProjectId() != "" && len(response.GetDocuments()) == 0 {
		return nil, errNotFound
	}
	cleared, ok := policy.ClearFor(reader, reader, response) // made of cleared parts only
	return answer(cleared, ok)
}
