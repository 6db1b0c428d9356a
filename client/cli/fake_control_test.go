package cli

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// note keeps each request of a short call.
func (f *fakeNode) note(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	f.keep(request)
	return handle(ctx, request)
}

// noteStream keeps the messages of other calls.
func (f *fakeNode) noteStream(server any, call grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(server, notedStream{call, f})
}

type notedStream struct {
	grpc.ServerStream
	node *fakeNode
}

func (n notedStream) RecvMsg(m any) error {
	err := n.ServerStream.RecvMsg(m)
	if err == nil {
		n.node.keep(m)
	}
	return err
}

func (f *fakeNode) keep(request any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, proto.CloneOf(request.(proto.Message)))
}

// last is the JSON of the last request; empty: there was none.
func (f *fakeNode) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) == 0 {
		return ""
	}
	text, err := protoJSON(f.requests[len(f.requests)-1])
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// verdicts accept all but references that begin with BAD.
func verdicts(references []string) []*ententev1.Verdict {
	var all []*ententev1.Verdict
	for _, reference := range references {
		v := &ententev1.Verdict{Outcome: ententev1.Outcome_OUTCOME_ACCEPTED, ProviderReference: reference}
		if strings.HasPrefix(reference, "BAD") {
			v.Outcome = ententev1.Outcome_OUTCOME_REJECTED
			v.Violations = []*ententev1.FieldViolation{{Field: "retain_until", Reason: "is later than the profile allows"}}
		}
		all = append(all, v)
	}
	return all
}

// released is a form of the held person; rough is without a given name, and with the year alone.
func released(rough bool) []byte {
	body := person("Varrin")
	if rough {
		body.GetPerson().Names[0].Given = ""
		body.GetPerson().DatesOfBirth[0].Month = 0
	}
	encoded, err := proto.Marshal(&ententev1.ReleasedRecord{RecordId: id(1), Envelope: &ententev1.ReleasedEnvelope{ProviderMember: "XA"}, Body: body})
	if err != nil {
		panic(err)
	}
	return encoded
}

func forms() []*ententev1.RecipientForm {
	bilateral, project := ententev1.StreamKind_STREAM_KIND_BILATERAL, ententev1.StreamKind_STREAM_KIND_PROJECT
	return []*ententev1.RecipientForm{
		{Member: "COORD", Kind: project, ProjectId: "harbour-light", ReleasedRecord: released(false), Standing: true},
		{Member: "XB", Kind: bilateral, ReleasedRecord: released(true)},
		{Member: "XC", Kind: bilateral, ReleasedRecord: released(true)},
	}
}

func (f *fakeNode) PreviewRelease(_ *ententev1.PreviewReleaseRequest, call grpc.ServerStreamingServer[ententev1.PreviewReleaseResponse]) error {
	for _, preview := range []*ententev1.PreviewReleaseResponse{
		{RecordId: id(1), ProviderReference: "P-1", Forms: forms(), Losing: []string{"XD"}, ApprovalReasons: []string{"names a minor"}},
		{RecordId: id(2), ProviderReference: "P-2\x1b[2J", Violations: []*ententev1.FieldViolation{{Field: "envelope.evaluation", Reason: "is missing"}}, Waiting: true},
	} {
		err := call.Send(preview)
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeNode) ListPending(_ context.Context, r *ententev1.ListPendingRequest) (*ententev1.ListPendingResponse, error) {
	if len(r.GetPageToken()) == 0 {
		return &ententev1.ListPendingResponse{NextPageToken: []byte{1}, Releases: []*ententev1.PendingRelease{{RecordId: id(7), Version: 9, State: 0xdef}}}, nil
	}
	treated := audienceOf("XB")
	treated.Treatment = &ententev1.Treatment{LeaveOut: []string{"body.person.names.given"}, Coarsen: []string{"body.person.dates_of_birth"}}
	return &ententev1.ListPendingResponse{Releases: []*ententev1.PendingRelease{{
		RecordId: id(1), ProviderReference: "P-1", Authority: "crime-unit", Version: 3, State: 0xabc, ProposedBy: "vera", Reasons: []string{"names a minor"},
		Audiences: []*ententev1.Audience{treated}, Forms: forms(),
	}}}, nil
}

func audienceOf(members ...string) *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: members}}}
}

func (f *fakeNode) DecideRelease(_ context.Context, r *ententev1.DecideReleaseRequest) (*ententev1.DecideReleaseResponse, error) {
	response := &ententev1.DecideReleaseResponse{}
	for i, version := range r.GetVersions() {
		v := &ententev1.Verdict{Outcome: ententev1.Outcome_OUTCOME_ACCEPTED, RecordId: r.GetRecordIds()[i], ProviderReference: "P-1"}
		if version != 3 {
			v.Outcome = ententev1.Outcome_OUTCOME_REJECTED
			v.Violations = []*ententev1.FieldViolation{{Field: "versions", Reason: "has changed since"}}
		}
		response.Verdicts = append(response.Verdicts, v)
	}
	return response, nil
}

func (f *fakeNode) Restrict(_ context.Context, r *ententev1.RestrictRequest) (*ententev1.RestrictResponse, error) {
	return &ententev1.RestrictResponse{Verdicts: verdicts(r.GetProviderReferences())}, nil
}

func (f *fakeNode) Hold(_ context.Context, r *ententev1.HoldRequest) (*ententev1.HoldResponse, error) {
	return &ententev1.HoldResponse{Verdicts: verdicts(r.GetProviderReferences())}, nil
}

func (f *fakeNode) Renew(_ context.Context, r *ententev1.RenewRequest) (*ententev1.RenewResponse, error) {
	return &ententev1.RenewResponse{Verdicts: verdicts(r.GetProviderReferences())}, nil
}

func (f *fakeNode) ListDue(context.Context, *ententev1.ListDueRequest) (*ententev1.ListDueResponse, error) {
	return &ententev1.ListDueResponse{Records: []*ententev1.DueRecord{{
		RecordId: id(1), ProviderReference: "P-1", Kind: ententev1.RecordKind_RECORD_KIND_PERSON, RetainUntil: before(0), Released: true,
		Hold: &ententev1.LegalHold{Reason: "court XA 17", Until: before(0)},
	}}}, nil
}

func (f *fakeNode) ListSent(_ context.Context, r *ententev1.ListSentRequest) (*ententev1.ListSentResponse, error) {
	if r.GetMember() != "XB" {
		return nil, status.Error(codes.NotFound, "no such member")
	}
	return &ententev1.ListSentResponse{Records: []*ententev1.SentRecord{
		{RecordId: id(1), ProviderReference: "P-1", Version: 2, Delivery: &ententev1.Delivery{Member: "XB", State: ententev1.DeliveryState_DELIVERY_STATE_OVERDUE,
			SentAt: before(0), Entry: &ententev1.EntryRef{StreamId: id(9), Sequence: 4}}},
		{RecordId: id(2), Delivery: &ententev1.Delivery{Member: "XB", State: ententev1.DeliveryState_DELIVERY_STATE_APPLIED, Withdrawn: true,
			Entry: &ententev1.EntryRef{StreamId: id(9), Sequence: 5}}},
	}}, nil
}

func (f *fakeNode) Permit(context.Context, *ententev1.PermitRequest) (*ententev1.PermitResponse, error) {
	return &ententev1.PermitResponse{Entries: []*ententev1.EntryRef{{StreamId: id(9), Sequence: 12}}}, nil
}

func (f *fakeNode) RevokePermission(context.Context, *ententev1.RevokePermissionRequest) (*ententev1.RevokePermissionResponse, error) {
	return &ententev1.RevokePermissionResponse{}, nil
}

func (f *fakeNode) ListPermissions(context.Context, *ententev1.ListPermissionsRequest) (*ententev1.ListPermissionsResponse, error) {
	return &ententev1.ListPermissionsResponse{Permissions: []*ententev1.HeldPermission{{
		Entry: &ententev1.EntryRef{StreamId: id(9), Sequence: 12}, InForce: true, Permission: &ententev1.OnwardPermission{
			Owner: "XA", RecordId: id(1), Holder: "XB", Recipients: []string{"XC", "XD"}, Export: true, Until: before(0),
			Purpose: ententev1.Purpose_PURPOSE_THREAT_ANALYSIS,
		}}}}, nil
}

func (f *fakeNode) Compact(_ *ententev1.CompactRequest, call grpc.ServerStreamingServer[ententev1.CompactResponse]) error {
	err := call.Send(&ententev1.CompactResponse{Done: 5, Total: 9})
	if err != nil {
		return err
	}
	return call.Send(&ententev1.CompactResponse{Result: &ententev1.CompactResult{BytesBefore: 9_400_000, BytesAfter: 3_100_000, Values: 9}})
}

func (f *fakeNode) ConfirmClock(_ context.Context, r *ententev1.ConfirmClockRequest) (*ententev1.ConfirmClockResponse, error) {
	if r.GetNow() == nil {
		return nil, status.Error(codes.InvalidArgument, "now is missing")
	}
	return &ententev1.ConfirmClockResponse{ExpiryClock: &ententev1.ExpiryClock{
		HideAt: before(0), EraseAt: before(0), ConfirmedUntil: timestamppb.New(statusNow),
	}}, nil
}
