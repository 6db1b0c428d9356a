package server

import (
	"context"
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/policy"
)

// NetworkCaller is how a member's node reaches the coordinator.
type NetworkCaller interface {
	// Network is a client over a connection that the caller does not close. An error means that there is none now.
	Network(ctx context.Context) (ententev1.NetworkServiceClient, error)
}

// forwarder asks the coordinator on behalf of the own member's officers. What a question may be is decided here, by the
// member's own grants; what the member may see is decided there.
type forwarder struct {
	ententev1.UnimplementedNetworkServiceServer
	*Server
}

// admit narrows the consultation by the grants and names the officer from the certificate.
func (s *forwarder) admit(ctx context.Context, c *ententev1.Consultation) (*ententev1.Consultation, ententev1.NetworkServiceClient, error) {
	caller := callerOf(ctx).Identity
	if caller.Member != s.cfg.Self {
		return nil, nil, errClosed // nodes ask the coordinator, not each other
	}
	narrowed, err := s.narrowed(callerOf(ctx), c)
	if err != nil {
		return nil, nil, err
	}
	client, err := s.cfg.Coordinator.Network(ctx)
	if err != nil {
		return nil, nil, errNoCoord
	}
	return narrowed, client, nil
}

// within says whether all that the coordinator answers fits the question as it was put to it. A coordinator of an older version
// neither knows clearances nor tells purposes, and its answers end here.
func (s *forwarder) within(c *ententev1.Consultation, entities []*ententev1.ViewEntity, associations []*ententev1.ViewAssociation) error {
	access := policy.AccessOfMember(c, s.day())
	for _, a := range associations {
		if !sourcesWithin(access, a.GetSources()) {
			return errNotWithin
		}
	}
	for _, e := range entities {
		if !sourcesWithin(access, e.GetSources()) {
			return errNotWithin
		}
		for _, role := range e.GetRoles() {
			if !sourcesWithin(access, role.GetSources()) {
				return errNotWithin
			}
		}
	}
	return nil
}

func sourcesWithin(access policy.Access, sources []*ententev1.ViewSource) bool {
	return !slices.ContainsFunc(sources, func(source *ententev1.ViewSource) bool { return !policy.MayForward(access, sourceLabel(source)) })
}

// GetView forwards and passes the answer back. Page tokens are the coordinator's.
func (s *forwarder) GetView(ctx context.Context, request *ententev1.GetViewRequest) (*ententev1.GetViewResponse, error) {
	consultation, client, err := s.admit(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	response, err := client.GetView(ctx, &ententev1.GetViewRequest{
		Consultation: consultation, PageSize: request.GetPageSize(), PageToken: request.GetPageToken(),
	})
	if err != nil {
		return nil, passOn(err)
	}
	err = s.within(consultation, response.GetEntities(), response.GetAssociations())
	if err != nil {
		return nil, err
	}
	var parts shown
	parts.entities(response.GetEntities())
	parts.associations(response.GetAssociations())
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, parts.traces(s.Server, ctx, s.cfg.Self, consultation, nil))
}

// GetEntity forwards and passes the answer back.
func (s *forwarder) GetEntity(ctx context.Context, request *ententev1.GetEntityRequest) (*ententev1.GetEntityResponse, error) {
	consultation, client, err := s.admit(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	response, err := client.GetEntity(ctx, &ententev1.GetEntityRequest{Consultation: consultation, Handle: request.GetHandle()})
	if err != nil {
		return nil, passOn(err)
	}
	err = s.within(consultation, some(response.GetEntity()), response.GetAssociations())
	if err != nil {
		return nil, err
	}
	var parts shown
	parts.entities(some(response.GetEntity()))
	parts.associations(response.GetAssociations())
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, parts.traces(s.Server, ctx, s.cfg.Self, consultation, nil))
}

// Watch forwards and passes on what comes, as long as the grants stay as they were.
func (s *forwarder) Watch(request *ententev1.WatchRequest, out grpc.ServerStreamingServer[ententev1.WatchResponse]) error {
	ctx := out.Context()
	consultation, client, err := s.admit(ctx, request.GetConsultation())
	if err != nil {
		return err
	}
	in, err := client.Watch(ctx, &ententev1.WatchRequest{Consultation: consultation})
	if err != nil {
		return passOn(err)
	}
	looked := false // the trail tells of this call: the state of a view says how much there is
	for {
		message, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if err != nil {
			return passOn(err)
		}
		now, err := s.narrowed(callerOf(ctx), request.GetConsultation())
		if err != nil {
			return err
		}
		if !proto.Equal(now, consultation) {
			return errGrantChanged // the call was opened with the wider scope
		}
		err = s.within(consultation, message.GetChangedEntities(), message.GetChangedAssociations())
		if err != nil {
			return err
		}
		var parts shown
		parts.entities(message.GetChangedEntities())
		parts.associations(message.GetChangedAssociations())
		t := untold("which view it is, or what is gone, and no record")
		if len(parts.all) > 0 || !looked {
			t = parts.traces(s.Server, ctx, s.cfg.Self, consultation, nil)
		}
		looked = true
		cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, message)
		err = send(s.Server, out, cleared, ok, t)
		if err != nil {
			return err
		}
	}
}

// passOn is what an officer is told of the coordinator's refusal: the answers that are about the question as they are,
// everything else (addresses, states of connections) as "cannot be reached".
func passOn(err error) error {
	switch status.Code(err) {
	case codes.NotFound, codes.InvalidArgument, codes.FailedPrecondition, codes.PermissionDenied,
		codes.DeadlineExceeded, codes.Canceled:
		return err
	default:
		return errNoCoord
	}
}
