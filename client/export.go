package client

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"google.golang.org/grpc"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Export gives the view of the caller's member as rows for a file: first what the view is, then the rows, each with its
// conditions in words, last a summary. An error is the last value: without the summary, or with another number of rows than it
// says, it is no export. It is tried once, since the node notes each in the audit trail.
func (c *Client) Export(ctx context.Context, request *ententev1.ExportRequest) iter.Seq2[*ententev1.ExportResponse, error] {
	const doing = "export the view"
	parts := received(ctx, doing, func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.ExportResponse], error) {
		return c.Network().Export(ctx, request)
	})
	ends := func(part *ententev1.ExportResponse) bool { return part.GetSummary() != nil }
	return whole(doing, inOrder(doing, parts), ends)
}

// inOrder checks that an export begins with its view, holds rows, and has as many of them as its summary says.
func inOrder(doing string, parts iter.Seq2[*ententev1.ExportResponse, error]) iter.Seq2[*ententev1.ExportResponse, error] {
	return func(yield func(*ententev1.ExportResponse, error) bool) {
		count, rows := 0, uint64(0)
		for part, err := range parts {
			summary := part.GetSummary()
			switch {
			case err != nil:
			case (part.GetView() != nil) != (count == 0):
				err = errors.New("the node gave the parts in a wrong order")
			case part.GetRow() != nil:
				rows++
			case summary != nil && summary.GetRows() != rows:
				err = fmt.Errorf("the node gave %d rows and counts %d", rows, summary.GetRows())
			}
			count++
			if err != nil {
				yield(nil, failed(doing, err))
				return
			}
			if !yield(part, nil) {
				return
			}
		}
	}
}
