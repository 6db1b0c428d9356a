package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Backup has the node write a checked copy of its data file into its folder for backups, under a name (empty: one that the
// node makes up), and waits for it. progress (may be nil) is told bytes written and to write; at the end the copy is still
// to be checked. For operators. The copy is on the node's disk and does not contain the sealing key. What is returned has
// the result, and its size as total_bytes.
func (c *Client) Backup(ctx context.Context, name string, progress func(written, total uint64)) (*ententev1.BackupResponse, error) {
	const doing = "back up the data file"
	parts := received(ctx, doing, func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.BackupResponse], error) {
		return c.Admin().Backup(ctx, &ententev1.BackupRequest{Name: name})
	})
	var result *ententev1.BackupResponse
	for response, err := range parts {
		if err != nil {
			return nil, err
		}
		if response.GetResult() != nil {
			result = response
			continue
		}
		if progress != nil {
			progress(response.GetWrittenBytes(), response.GetTotalBytes())
		}
	}
	if result == nil {
		return nil, failed(doing, errCutShort)
	}
	return result, nil
}

// Reseal has the node read its sealing keys again and seal anew all that an older key has sealed, and waits for it.
// progress (may be nil) is told values looked at, values there are, and values sealed anew. For operators. It returns how
// many values were sealed anew; if it is cut short, calling again goes on.
func (c *Client) Reseal(ctx context.Context, progress func(done, total, resealed uint64)) (uint64, error) {
	const doing = "seal the data file anew"
	parts := received(ctx, doing, func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.ResealResponse], error) {
		return c.Admin().Reseal(ctx, &ententev1.ResealRequest{})
	})
	last := &ententev1.ResealResponse{Total: 1} // nothing was done yet
	for response, err := range parts {
		if err != nil {
			return last.GetResealed(), err
		}
		last = response
		if progress != nil {
			progress(last.GetDone(), last.GetTotal(), last.GetResealed())
		}
	}
	if last.GetDone() != last.GetTotal() {
		return last.GetResealed(), failed(doing, errCutShort)
	}
	return last.GetResealed(), nil
}

// Compact has the node write its data file anew without what was erased, and waits for it. progress (may be nil) is told values
// copied, and values there are. For operators.
func (c *Client) Compact(ctx context.Context, progress func(done, total uint64)) (*ententev1.CompactResult, error) {
	const doing = "compact the data file"
	parts := received(ctx, doing, func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.CompactResponse], error) {
		return c.Admin().Compact(ctx, &ententev1.CompactRequest{})
	})
	var result *ententev1.CompactResult
	for response, err := range parts {
		if err != nil {
			return nil, err
		}
		if response.GetResult() != nil {
			result = response.GetResult()
			continue
		}
		if progress != nil {
			progress(response.GetDone(), response.GetTotal())
		}
	}
	if result == nil {
		return nil, failed(doing, errCutShort)
	}
	return result, nil
}

// ConfirmClock says that the node's clock is right, where no quorum of members can tell; now is the time by the operator's own
// clock. It returns the clock as it stands then. For operators.
func (c *Client) ConfirmClock(ctx context.Context, now time.Time) (*ententev1.ExpiryClock, error) {
	response, err := c.Admin().ConfirmClock(ctx, &ententev1.ConfirmClockRequest{Now: timestamppb.New(now)})
	if err != nil {
		return nil, failed("confirm the clock", err)
	}
	return response.GetExpiryClock(), nil
}
