package server

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
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
	roster, stats, streams := s.cfg.Directory().Roster, s.cfg.Ledger.Stats(), s.cfg.Ledger.Streams()
	response := &ententev1.GetStatusResponse{
		Member:            string(s.cfg.Self),
		Version:           s.cfg.Version,
		RosterNumber:      roster.Number(),
		RosterExpiresAt:   timestamppb.New(roster.ExpiresAt()),
		Records:           stats.Records,
		StoreBytes:        uint64(max(stats.StoreBytes, 0)),
		StoreMaxBytes:     uint64(max(s.cfg.MaxBytes, 0)),
		ReleasesWaiting:   stats.Waiting,
		Contract:          member.Contract,
		Draining:          s.health.draining(),
		OldestUnconfirmed: s.oldestUnconfirmed(streams),
	}
	for _, info := range streams {
		response.Streams = append(response.Streams, s.stream(roster, &info))
	}
	for _, pending := range s.cfg.Ledger.PendingGrants() {
		response.PendingGrants = append(response.PendingGrants, &ententev1.PendingGrant{
			StreamId: pending.Stream.ID[:], Member: string(pending.Reader), OpensAt: timestamppb.New(pending.At),
		})
	}
	if s.cfg.Revocations != nil {
		response.RevokedCertificates = uint64(s.cfg.Revocations.Count())
	}
	s.careStatus(response)
	response.Peers = s.peers(response.GetStreams())
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, untold("how the node is"))
}

// stream is one stream as an operator sees it.
func (s *admin) stream(roster *member.Roster, info *ledger.StreamInfo) *ententev1.StreamStatus {
	status := &ententev1.StreamStatus{
		StreamId: info.ID[:], Owner: string(info.Owner), Kind: info.Kind, ProjectId: info.Project,
		Size: info.Size, Closed: info.Closed, Hidden: info.Hidden, Frozen: info.Frozen,
	}
	signed, err := stream.OpenCheckpoint(info.Checkpoint, info.Owner, info.ID, roster.VerifyingKeys(info.Owner))
	if err == nil { // else it is under a key that counts no more, or there is none yet: then no time is known
		status.SignedAt = timestamppb.New(signed.Time)
	}
	if info.Owner != s.cfg.Self {
		status.SeenSize = max(info.Size, signed.Size)
		return status
	}
	for _, reader := range s.cfg.Ledger.Readers(info.No) {
		line := &ententev1.ReaderStatus{
			Member: string(reader.Member), ConfirmedSize: reader.ConfirmedSize, State: reader.State,
			Lag: info.Size - min(info.Size, reader.ConfirmedSize), Granted: slices.Contains(info.Granted, reader.Member),
		}
		if !reader.At.IsZero() {
			line.ConfirmedAt = timestamppb.New(reader.At)
		}
		status.Readers = append(status.Readers, line)
	}
	return status
}

// peers are the other members' nodes, with what has not come of their streams.
func (s *admin) peers(streams []*ententev1.StreamStatus) []*ententev1.PeerStatus {
	if s.cfg.Peers == nil {
		return nil
	}
	lag := make(map[string]uint64)
	for _, one := range streams {
		lag[one.GetOwner()] += one.GetSeenSize() - min(one.GetSeenSize(), one.GetSize())
	}
	var list []*ententev1.PeerStatus
	for _, peer := range s.cfg.Peers() {
		peer = proto.CloneOf(peer) // it may be the puller's own
		peer.Lag = lag[peer.GetMember()]
		list = append(list, peer)
	}
	return list
}
