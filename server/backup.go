package server

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/policy"
)

var (
	errNoBackup = status.Error(codes.Unimplemented, "this node does not make backups")
	errNoReseal = status.Error(codes.Unimplemented, "this node does not seal its data file anew")
)

// Backup has a checked copy of the data file made, and says how far it is. The last message has the result.
func (s *admin) Backup(request *ententev1.BackupRequest, stream grpc.ServerStreamingServer[ententev1.BackupResponse]) error {
	if s.cfg.Maintenance == nil {
		return errNoBackup
	}
	copied := s.entry(stream.Context(), ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE, nil)
	copied.Recipient = "backup"
	err := s.trace(stream.Context(), told(copied))
	if err != nil {
		return err
	}
	last := &ententev1.BackupResponse{}
	err = reported(stream.Context(), func(ctx context.Context, report func(*ententev1.BackupResponse)) (err error) {
		last.Result, err = s.cfg.Maintenance.Backup(ctx, request.GetName(), func(written, total uint64) {
			last.WrittenBytes, last.TotalBytes = written, total
			report(&ententev1.BackupResponse{WrittenBytes: written, TotalBytes: total})
		})
		return err
	}, func(response *ententev1.BackupResponse) uint64 {
		return percent(response.GetWrittenBytes(), response.GetTotalBytes())
	}, func(response *ententev1.BackupResponse) error { return sendOwn(s.Server, stream, response) })
	if err != nil {
		return err
	}
	return sendOwn(s.Server, stream, last)
}

// Reseal has the sealing key changed to that of the configuration, and says how far it is. The last message has done equal
// to total.
func (s *admin) Reseal(_ *ententev1.ResealRequest, stream grpc.ServerStreamingServer[ententev1.ResealResponse]) error {
	if s.cfg.Maintenance == nil {
		return errNoReseal
	}
	last := &ententev1.ResealResponse{}
	err := reported(stream.Context(), func(ctx context.Context, report func(*ententev1.ResealResponse)) error {
		return s.cfg.Maintenance.Reseal(ctx, func(done, total, resealed uint64) {
			last = &ententev1.ResealResponse{Done: done, Total: total, Resealed: resealed}
			report(last)
		})
	}, func(response *ententev1.ResealResponse) uint64 {
		return percent(response.GetDone(), response.GetTotal())
	}, func(response *ententev1.ResealResponse) error { return sendOwn(s.Server, stream, response) })
	if err != nil {
		return err
	}
	return sendOwn(s.Server, stream, &ententev1.ResealResponse{Done: last.GetTotal(), Total: last.GetTotal(), Resealed: last.GetResealed()})
}

// reported runs some work and sends what it reports on the way, once for each new value of step. The work never waits for
// the receiver: what cannot be sent in time is left out. It ends early when a send fails.
func reported[T any](ctx context.Context, work func(context.Context, func(T)) error, step func(T) uint64, send func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	latest, sent := make(chan T, 1), make(chan error, 1)
	go func() { // ends when latest is closed below and the send under way has ended
		sent <- sendSteps(latest, step, send, cancel)
	}()
	err := func() error {
		defer close(latest) // also when the work panics
		return work(ctx, func(now T) {
			select {
			case <-latest: // nobody has taken the one before
			default:
			}
			latest <- now
		})
	}()
	sendErr := <-sent
	if sendErr != nil {
		return sendErr
	}
	return err
}

func sendSteps[T any](latest <-chan T, step func(T) uint64, send func(T) error, stop func()) error {
	first, at := true, uint64(0)
	for now := range latest {
		if !first && step(now) == at {
			continue
		}
		first, at = false, step(now)
		err := send(now)
		if err != nil {
			stop()
			for range latest { // let the work end
			}
			return err
		}
	}
	return nil
}

func percent(done, total uint64) uint64 {
	if total == 0 {
		return 0
	}
	return uint64(float64(done) / float64(total) * 100)
}

// sendOwn sends something about the node itself to one of its own member's people.
func sendOwn[T any](s *Server, stream grpc.ServerStreamingServer[T], response *T) error {
	cleared, ok := policy.ClearOwn(callerOf(stream.Context()).Identity, s.cfg.Self, response)
	return send(s, stream, cleared, ok, untold("how far the work on the data file is"))
}
