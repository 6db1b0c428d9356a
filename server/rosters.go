package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/policy"
)

// rosters tells nodes who is in.
type rosters struct {
	ententev1.UnimplementedRosterServiceServer
	*Server
}

// GetRoster answers the roster in force, the document as it was signed, and the revocation lists that the node goes by. What
// the caller holds already is left out.
func (s *rosters) GetRoster(ctx context.Context, request *ententev1.GetRosterRequest) (*ententev1.GetRosterResponse, error) {
	roster := s.cfg.Directory().Roster
	response := &ententev1.GetRosterResponse{Contract: member.Contract}
	held := sha256.Sum256(roster.Document().GetBody())
	if !bytes.Equal(request.GetKnownRoster(), held[:]) {
		response.Roster = roster.Document()
	}
	if s.cfg.Revocations != nil {
		lists := s.cfg.Revocations.Lists()
		response.RevocationsDigest = digestOf(lists)
		if !bytes.Equal(request.GetKnownRevocations(), response.GetRevocationsDigest()) {
			response.Revocations = lists
		}
	}
	cleared, ok := policy.ClearAmong(callerOf(ctx).Member, roster.Members(), response)
	return answer(ctx, s.Server, cleared, ok, untold("who is in, and no record"))
}

// digestOf is SHA-256 over lists, each behind its length.
func digestOf(lists []*ententev1.RevocationList) []byte {
	hash := sha256.New()
	for _, list := range lists {
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(list.GetList()))))
		hash.Write(list.GetList())
	}
	return hash.Sum(nil)
}

// ListProjectDocuments answers the chains of the projects that the calling member takes part in; of those that it has left,
// what led to its departure, so that its node learns of that. Others do not exist.
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
		cleared, ok := policy.ClearChain(reader, projects[id], s.cfg.ProjectDocuments(id))
		if ok {
			response.Documents = append(response.Documents, cleared.Value()...)
		}
	}
	if request.GetProjectId() != "" && len(response.GetDocuments()) == 0 {
		return nil, errNotFound
	}
	cleared, ok := policy.ClearFor(reader, reader, response) // made of cleared parts only
	return answer(ctx, s.Server, cleared, ok, untold("who is in, and no record"))
}
