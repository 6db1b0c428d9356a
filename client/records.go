package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// mostReferences is how many records one Release or Withdraw of the contract takes.
const mostReferences = 1000

// Get asks for one record of the own member with the state of its releases.
func (c *Client) Get(ctx context.Context, request *ententev1.GetRequest) (*ententev1.HeldRecord, error) {
	response, err := c.Intake().Get(ctx, request)
	if err != nil {
		return nil, failed("get record", err)
	}
	return response.GetRecord(), nil
}

// List goes through the records of the own member, page by page, in the order in which they were first taken. An error is the
// last value.
func (c *Client) List(ctx context.Context, request *ententev1.ListRequest) iter.Seq2[*ententev1.HeldRecord, error] {
	request = proto.CloneOf(request)
	return pages("list records", func(token []byte) ([]*ententev1.HeldRecord, []byte, error) {
		request.PageToken = token
		page, err := c.Intake().List(ctx, request)
		return page.GetRecords(), page.GetNextPageToken(), err
	})
}

// Release puts the newest versions of records before audiences and returns a verdict for each, in order. More than 1,000
// references go in several calls; at an error the verdicts so far are returned with it.
func (c *Client) Release(ctx context.Context, references []string, audiences []*ententev1.Audience, replace bool) ([]*ententev1.Verdict, error) {
	return c.ReleaseSelected(ctx, &ententev1.ReleaseRequest{ProviderReferences: references, Audiences: audiences, Replace: replace})
}

// Withdraw takes back all releases of records and returns a verdict for each, in order; otherwise like Release.
func (c *Client) Withdraw(ctx context.Context, references []string, reason ententev1.WithdrawalReason) ([]*ententev1.Verdict, error) {
	return c.WithdrawAs(ctx, &ententev1.WithdrawRequest{ProviderReferences: references, Reason: reason})
}

// ListLibrary goes through practices and lessons, newest first. An error is the last value.
func (c *Client) ListLibrary(ctx context.Context, request *ententev1.LibraryServiceListRequest) iter.Seq2[*ententev1.LibraryItem, error] {
	request = proto.CloneOf(request)
	return pages("list the library", func(token []byte) ([]*ententev1.LibraryItem, []byte, error) {
		request.PageToken = token
		page, err := c.Library().List(ctx, request)
		return page.GetItems(), page.GetNextPageToken(), err
	})
}

// GetLibrary asks for one practice or lesson.
func (c *Client) GetLibrary(ctx context.Context, request *ententev1.LibraryServiceGetRequest) (*ententev1.LibraryItem, error) {
	response, err := c.Library().Get(ctx, request)
	if err != nil {
		return nil, failed("get from the library", err)
	}
	return response.GetItem(), nil
}

// Health asks whether the node serves; service is the full name of one service, empty for the node. A service that the node
// does not know is SERVICE_UNKNOWN.
func (c *Client) Health(ctx context.Context, service string) (healthv1.HealthCheckResponse_ServingStatus, error) {
	response, err := c.HealthService().Check(ctx, &healthv1.HealthCheckRequest{Service: service})
	if status.Code(err) == codes.NotFound {
		return healthv1.HealthCheckResponse_SERVICE_UNKNOWN, nil
	}
	if err != nil {
		return healthv1.HealthCheckResponse_UNKNOWN, failed("check health", err)
	}
	return response.GetStatus(), nil
}

// Status asks how the node is; for operators.
func (c *Client) Status(ctx context.Context) (*ententev1.GetStatusResponse, error) {
	response, err := c.Admin().GetStatus(ctx, &ententev1.GetStatusRequest{})
	if err != nil {
		return nil, failed("get status", err)
	}
	return response, nil
}

// pages turns a paged call into one sequence.
func pages[T any](doing string, page func(token []byte) ([]T, []byte, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		var token []byte
		for {
			items, next, err := page(token)
			if err != nil {
				yield(none, failed(doing, err))
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if len(next) == 0 {
				return
			}
			if bytes.Equal(next, token) {
				yield(none, failed(doing, errors.New("the node gave the same page token twice")))
				return
			}
			token = next
		}
	}
}

// inParts calls for at most mostReferences at once.
func inParts(doing string, references []string, call func([]string) ([]*ententev1.Verdict, error)) ([]*ententev1.Verdict, error) {
	var verdicts []*ententev1.Verdict
	for len(references) > 0 {
		part := references[:min(len(references), mostReferences)]
		references = references[len(part):]
		some, err := call(part)
		if err != nil {
			return verdicts, failed(doing, err)
		}
		if len(some) != len(part) {
			return verdicts, failed(doing, fmt.Errorf("the node gave %d verdicts for %d records", len(some), len(part)))
		}
		verdicts = append(verdicts, some...)
	}
	return verdicts, nil
}
