package client

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// PreviewReader says, stream by stream, what a member reads of the own member's releases and would read. It changes nothing.
// Only a system that its member lets grant may ask.
func (c *Client) PreviewReader(ctx context.Context, request *ententev1.PreviewReaderRequest) ([]*ententev1.StreamPreview, error) {
	request = proto.CloneOf(request)
	request.Records, request.PageToken = false, nil
	response, err := c.Intake().PreviewReader(ctx, request)
	if err != nil {
		return nil, failed("preview reader", err)
	}
	return response.GetStreams(), nil
}

// PreviewRecords goes through the own records that stand released, in the order in which they were first taken, each with
// what the member reads of it. An error is the last value.
func (c *Client) PreviewRecords(ctx context.Context, request *ententev1.PreviewReaderRequest) iter.Seq2[*ententev1.RecordPreview, error] {
	request = proto.CloneOf(request)
	request.Records = true
	if request.GetPageSize() == 0 {
		request.PageSize = mostReferences // each page costs the node a look at all records
	}
	return pages("preview records", func(token []byte) ([]*ententev1.RecordPreview, []byte, error) {
		request.PageToken = token
		page, err := c.Intake().PreviewReader(ctx, request)
		return page.GetRecords(), page.GetNextPageToken(), err
	})
}

// GrantStream opens an earlier shared stream to a reader, or, with DryRun, says what that would do. Where the response names
// obstacles, nothing was granted. Granting twice changes nothing.
func (c *Client) GrantStream(ctx context.Context, request *ententev1.GrantStreamRequest) (*ententev1.GrantStreamResponse, error) {
	response, err := c.Intake().GrantStream(ctx, request)
	if err != nil {
		return nil, failed("grant stream", err)
	}
	return response, nil
}
