package client

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Restrict takes records back from all readers while their accuracy or lawfulness is examined, or lifts that, and returns a
// verdict for each, in order. More than 1,000 references go in several calls; at an error the verdicts so far are returned
// with it.
func (c *Client) Restrict(ctx context.Context, request *ententev1.RestrictRequest) ([]*ententev1.Verdict, error) {
	request = proto.CloneOf(request)
	return inParts("restrict records", request.GetProviderReferences(), func(part []string) ([]*ententev1.Verdict, error) {
		request.ProviderReferences = part
		response, err := c.Intake().Restrict(ctx, request)
		return response.GetVerdicts(), err
	})
}

// Hold keeps records from lapsing and from being erased at home, or lifts that; otherwise it is like Restrict.
func (c *Client) Hold(ctx context.Context, request *ententev1.HoldRequest) ([]*ententev1.Verdict, error) {
	request = proto.CloneOf(request)
	return inParts("hold records", request.GetProviderReferences(), func(part []string) ([]*ententev1.Verdict, error) {
		request.ProviderReferences = part
		response, err := c.Intake().Hold(ctx, request)
		return response.GetVerdicts(), err
	})
}

// Renew extends the retention of records, with a justification; otherwise it is like Restrict.
func (c *Client) Renew(ctx context.Context, request *ententev1.RenewRequest) ([]*ententev1.Verdict, error) {
	request = proto.CloneOf(request)
	return inParts("renew records", request.GetProviderReferences(), func(part []string) ([]*ententev1.Verdict, error) {
		request.ProviderReferences = part
		response, err := c.Intake().Renew(ctx, request)
		return response.GetVerdicts(), err
	})
}

// ListDue goes through the records whose retention or review ends soon, what ends first first. An error is the last value.
func (c *Client) ListDue(ctx context.Context, request *ententev1.ListDueRequest) iter.Seq2[*ententev1.DueRecord, error] {
	request = proto.CloneOf(request)
	return pages("list what is due", func(token []byte) ([]*ententev1.DueRecord, []byte, error) {
		request.PageToken = token
		page, err := c.Intake().ListDue(ctx, request)
		return page.GetRecords(), page.GetNextPageToken(), err
	})
}
