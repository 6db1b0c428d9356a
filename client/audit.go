package client

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Audit is the raw service for auditors.
func (c *Client) Audit() ententev1.AuditServiceClient {
	return ententev1.NewAuditServiceClient(c.connection)
}

// ListAudit goes through entries of the audit trail, oldest first. For auditors, as all that follow. An error is the last value.
func (c *Client) ListAudit(ctx context.Context, request *ententev1.ListEntriesRequest) iter.Seq2[*ententev1.AuditEntry, error] {
	request = proto.CloneOf(request)
	return pages("list the audit trail", func(token []byte) ([]*ententev1.AuditEntry, []byte, error) {
		request.PageToken = token
		page, err := c.Audit().ListEntries(ctx, request)
		return page.GetEntries(), page.GetNextPageToken(), err
	})
}

// ReadTrail gives the whole trail: entries and intervals in order, last the heads. Nothing of it is verified here: package trail
// does that. An error is the last value; a trail without its heads is one.
func (c *Client) ReadTrail(ctx context.Context, request *ententev1.ReadTrailRequest) iter.Seq2[*ententev1.ReadTrailResponse, error] {
	const doing = "read the audit trail"
	parts := received(ctx, doing, func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.ReadTrailResponse], error) {
		return c.Audit().ReadTrail(ctx, request)
	})
	return whole(doing, parts, func(part *ententev1.ReadTrailResponse) bool { return part.GetHeads() != nil })
}

// FindSubject finds the records, own and received, that a description fits. Responses without a record are progress. An error is
// the last value.
func (c *Client) FindSubject(ctx context.Context, request *ententev1.FindSubjectRequest) iter.Seq2[*ententev1.FindSubjectResponse, error] {
	return received(ctx, "find the subject", func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.FindSubjectResponse], error) {
		return c.Audit().FindSubject(ctx, request)
	})
}

// TraceSubject gives all that was held, received, sent and seen about records: first what is held of each, then what happened,
// oldest first, with progress between. An error is the last value.
func (c *Client) TraceSubject(ctx context.Context, request *ententev1.TraceSubjectRequest) iter.Seq2[*ententev1.TraceSubjectResponse, error] {
	return received(ctx, "trace the subject", func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.TraceSubjectResponse], error) {
		return c.Audit().TraceSubject(ctx, request)
	})
}

// Reconcile compares the own node's trail with that of another member: each difference, last what was compared. With list it
// lists what that trail says of the own records instead. An error is the
// last value; a comparison without its summary is one.
func (c *Client) Reconcile(ctx context.Context, request *ententev1.ReconcileRequest) iter.Seq2[*ententev1.ReconcileResponse, error] {
	const doing = "reconcile the trails"
	parts := received(ctx, doing, func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.ReconcileResponse], error) {
		return c.Audit().Reconcile(ctx, request)
	})
	return whole(doing, parts, func(part *ententev1.ReconcileResponse) bool { return part.GetSummary() != nil })
}

// SetHoney marks own records that nobody has a reason to look at, or takes the mark away. It returns how many are marked now.
func (c *Client) SetHoney(ctx context.Context, request *ententev1.SetHoneyRequest) (uint64, error) {
	response, err := c.Audit().SetHoney(ctx, request)
	if err != nil {
		return 0, failed("set honey records", err)
	}
	return response.GetMarked(), nil
}

// ListAlerts goes through the looks at honey records after that of the request, oldest first. An error is the last value.
func (c *Client) ListAlerts(ctx context.Context, request *ententev1.ListAlertsRequest) iter.Seq2[*ententev1.HoneyAlert, error] {
	const doing = "list alerts"
	request = proto.CloneOf(request)
	return func(yield func(*ententev1.HoneyAlert, error) bool) {
		for {
			page, err := c.Audit().ListAlerts(ctx, request)
			if err != nil {
				yield(nil, failed(doing, err))
				return
			}
			before := request.GetAfter()
			for _, alert := range page.GetAlerts() {
				request.After = alert.GetNumber()
				if !yield(alert, nil) {
					return
				}
			}
			if request.GetAfter() <= before { // no newer one: that was the last page
				return
			}
		}
	}
}
