package server

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

// admin answers the member's own operators. It tells how the node is and nothing of what is in a record.
type admin struct {
	ententev1.UnimplementedAdminServiceServer
	*Server
}

// GetStatus answers how the node is.
func (s *admin) GetStatus(ctx context.Context, _ *ententev1.GetStatusRequest) (*ententev1.GetStatusResponse, error) {
	roster, stats := s.cfg.Directory().Roster, s.cfg.Ledger.Stats()
	response := &ententev1.GetStatusResponse{
		Member:          string(s.cfg.Self),
		Version:         s.cfg.Version,
		RosterNumber:    roster.Number(),
		RosterExpiresAt: timestamppb.New(roster.ExpiresAt()),
		Records:         stats.Records,
		StoreBytes:      uint64(max(stats.StoreBytes, 0)),
		ReleasesWaiting: stats.Waiting,
	}
	for _, info := range s.cfg.Ledger.Streams() {
		response.Streams = append(response.Streams, s.stream(&info))
	}
	if s.cfg.Peers != nil {
		response.Peers = s.cfg.Peers()
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(cleared, ok)
}

func (s *admin) stream(info *ledger.StreamInfo) *ententev1.StreamStatus {
	status := &ententev1.StreamStatus{
		StreamId: info.ID[:], Owner: string(info.Owner), Kind: info.Kind, ProjectId: info.Project,
		Size: info.Size, Closed: info.Closed,
	}
	if info.Owner != s.cfg.Self {
		return status
	}
	for _, reader := range s.cfg.Ledger.Readers(info.No) {
		line := &ententev1.ReaderStatus{
			Member: string(reader.Member), ConfirmedSize: reader.ConfirmedSize, State: reader.State,
		}
		if !reader.At.IsZero() {
			line.ConfirmedAt = timestamppb.New(reader.At)
		}
		status.Readers = append(status.Readers, line)
	}
	return status
}
