package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/policy"
)

const (
	// dueSoon is how far ahead status counts what is due.
	dueSoon = 30 * 24 * time.Hour
	// clockSkew is how far an operator's clock may be from the node's for a confirmation to count.
	clockSkew = 5 * time.Minute
)

// careStatus adds how clock, trail, retention and erasure stand.
func (s *admin) careStatus(response *ententev1.GetStatusResponse) {
	stats := s.cfg.Ledger.Stats()
	response.ExpiryClock = s.clockStatus()
	response.Audit = s.auditStatus()
	response.RecordsDue = s.cfg.Ledger.CountDue(s.cfg.Now().Add(dueSoon), s.Review)
	response.ReleasesPending = stats.Pending
	response.DeliveriesOverdue = s.cfg.Ledger.Overdue()
	if s.cfg.Maintenance != nil {
		values, since := s.cfg.Maintenance.Erased()
		response.ErasedValues, response.ErasedSince = values, stamp(since)
	}
	if s.cfg.Compacted != nil {
		response.CompactedAt = stamp(s.cfg.Compacted())
	}
}

// stamp is a time as it is told; the zero time is none.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

func (s *admin) clockStatus() *ententev1.ExpiryClock {
	c := s.cfg.Expiry()
	status := &ententev1.ExpiryClock{HideAt: stamp(c.Hide), EraseAt: stamp(c.Erase), Quorum: c.Quorum, Agreed: c.Agreed}
	return status
}

func (s *admin) auditStatus() *ententev1.AuditStatus {
	head := s.cfg.Trail.Head()
	status := &ententev1.AuditStatus{Entries: head.Entries, Intervals: head.Intervals, Witnessed: head.Witnessed, WitnessedAt: stamp(head.WitnessedAt)}
	if s.cfg.Witness != nil {
		status.Witness = string(s.cfg.Witness())
	}
	if s.cfg.Honey != nil {
		_, all := s.cfg.Honey.Alerts(0, 0)
		status.Alerts = uint64(all)
	}
	return status
}

// ConfirmClock takes an operator's word that the node's clock is right.
func (s *admin) ConfirmClock(ctx context.Context, request *ententev1.ConfirmClockRequest) (*ententev1.ConfirmClockResponse, error) {
	if s.cfg.ConfirmClock == nil {
		return nil, errNoReseal
	}
	away := s.cfg.Now().Sub(request.GetNow().AsTime())
	if !request.GetNow().IsValid() || away > clockSkew || away < -clockSkew {
		return nil, invalidField("now", "is not within 5 minutes of the node's clock: one of the two is wrong")
	}
	entry := s.entry(ctx, ententev1.AuditOperation_AUDIT_OPERATION_ALTERATION, nil)
	entry.Note = "the clock is right"
	err := s.trace(ctx, told(entry))
	if err != nil {
		return nil, err
	}
	until := s.cfg.ConfirmClock()
	response := &ententev1.ConfirmClockResponse{ExpiryClock: s.clockStatus()}
	response.ExpiryClock.ConfirmedUntil = stamp(until)
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, untold("how the clock stands"))
}

// Compact has the data file written anew without what was erased, and says how far it is. The last message has the result.
func (s *admin) Compact(_ *ententev1.CompactRequest, stream grpc.ServerStreamingServer[ententev1.CompactResponse]) error {
	if s.cfg.Maintenance == nil {
		return errNoReseal
	}
	last := &ententev1.CompactResponse{}
	err := reported(stream.Context(), func(ctx context.Context, report func(*ententev1.CompactResponse)) (err error) {
		last.Result, err = s.cfg.Maintenance.Compact(ctx, func(done, total uint64) {
			last.Done, last.Total = done, total
			report(&ententev1.CompactResponse{Done: done, Total: total})
		})
		return err
	}, func(response *ententev1.CompactResponse) uint64 {
		return percent(response.GetDone(), response.GetTotal())
	}, func(response *ententev1.CompactResponse) error { return sendOwn(s.Server, stream, response) })
	if err != nil {
		return err
	}
	return sendOwn(s.Server, stream, last)
}
