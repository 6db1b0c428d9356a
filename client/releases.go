package client

import (
	"context"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// ReleaseSelected puts the newest versions of records before audiences, as the request says: by reference or by a selection, on
// behalf of an officer, whole or with fields left out or made coarser. It returns a verdict for each record. More than 1,000
// references go in several calls, like those of Release; what a selection finds goes in one.
func (c *Client) ReleaseSelected(ctx context.Context, request *ententev1.ReleaseRequest) ([]*ententev1.Verdict, error) {
	const doing = "release records"
	if request.GetSelection() != nil {
		response, err := c.Intake().Release(ctx, request)
		return response.GetVerdicts(), failed(doing, err)
	}
	request = proto.CloneOf(request)
	return inParts(doing, request.GetProviderReferences(), func(part []string) ([]*ententev1.Verdict, error) {
		request.ProviderReferences = part
		response, err := c.Intake().Release(ctx, request)
		return response.GetVerdicts(), err
	})
}

// WithdrawAs takes back all releases of records as the request says: on behalf of an officer, or with the content erased at home
// too. Otherwise it is like Withdraw.
func (c *Client) WithdrawAs(ctx context.Context, request *ententev1.WithdrawRequest) ([]*ententev1.Verdict, error) {
	request = proto.CloneOf(request)
	return inParts("withdraw records", request.GetProviderReferences(), func(part []string) ([]*ententev1.Verdict, error) {
		request.ProviderReferences = part
		response, err := c.Intake().Withdraw(ctx, request)
		return response.GetVerdicts(), err
	})
}

// PreviewRelease says what a release would do, record by record: the forms are those that the recipients would get, byte for
// byte. It changes nothing. An error is the last value.
func (c *Client) PreviewRelease(ctx context.Context, request *ententev1.PreviewReleaseRequest) iter.Seq2[*ententev1.PreviewReleaseResponse, error] {
	return received(ctx, "preview the release", func(ctx context.Context) (grpc.ServerStreamingClient[ententev1.PreviewReleaseResponse], error) {
		return c.Intake().PreviewRelease(ctx, request)
	})
}

// ListPending goes through the releases that wait for a second person, with what each recipient would get. For officers whom the
// member lets decide. An error is the last value.
func (c *Client) ListPending(ctx context.Context, request *ententev1.ListPendingRequest) iter.Seq2[*ententev1.PendingRelease, error] {
	request = proto.CloneOf(request)
	return pages("list pending releases", func(token []byte) ([]*ententev1.PendingRelease, []byte, error) {
		request.PageToken = token
		page, err := c.Intake().ListPending(ctx, request)
		return page.GetReleases(), page.GetNextPageToken(), err
	})
}

// DecideRelease lets pending releases go, or ends them, and returns a verdict for each, in order. A record that has changed since
// the version that was looked at stays pending. For officers other than the one who asked for the release.
func (c *Client) DecideRelease(ctx context.Context, request *ententev1.DecideReleaseRequest) ([]*ententev1.Verdict, error) {
	response, err := c.Intake().DecideRelease(ctx, request)
	if err != nil {
		return nil, failed("decide on releases", err)
	}
	return response.GetVerdicts(), nil
}

// ListSent goes through everything that was ever sent, or is to be sent, to one member, with its state by that member's
// receipts. An error is the last value.
func (c *Client) ListSent(ctx context.Context, request *ententev1.ListSentRequest) iter.Seq2[*ententev1.SentRecord, error] {
	request = proto.CloneOf(request)
	return pages("list what was sent", func(token []byte) ([]*ententev1.SentRecord, []byte, error) {
		request.PageToken = token
		page, err := c.Intake().ListSent(ctx, request)
		return page.GetRecords(), page.GetNextPageToken(), err
	})
}
