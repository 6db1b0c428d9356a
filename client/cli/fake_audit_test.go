package cli

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func auditEntry(number uint64) *ententev1.AuditEntry {
	return &ententev1.AuditEntry{
		Number: number, At: before(0), Operation: ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, Method: "/entente.v1.IntakeService/Get",
		Actor: &ententev1.AuditActor{Member: "XA", Kind: "system", Name: "registry", Officer: "vera", CaseReference: "HL-7",
			Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, ProtectedReason: "witness protection"},
		Records: []*ententev1.AuditRecords{{Owner: "XA", RecordIds: [][]byte{id(1)}}, {Owner: "XB", RecordIds: [][]byte{id(2), id(3)}}},
		Ranges:  []*ententev1.AuditRange{{Owner: "XB", StreamId: id(9), First: 4, Last: 8}},
	}
}

func subject(n byte) *ententev1.SubjectRecord {
	return &ententev1.SubjectRecord{Owner: "XB", RecordId: id(n), Kind: ententev1.RecordKind_RECORD_KIND_PERSON, Held: true}
}

func (f *fakeNode) ListEntries(_ context.Context, r *ententev1.ListEntriesRequest) (*ententev1.ListEntriesResponse, error) {
	if len(r.GetPageToken()) == 0 {
		return &ententev1.ListEntriesResponse{Entries: []*ententev1.AuditEntry{auditEntry(1)}, NextPageToken: []byte{1}}, nil
	}
	own := &ententev1.AuditEntry{Number: 2, Method: "lapse\x1b[2J", Refused: true, Note: "over"}
	return &ententev1.ListEntriesResponse{Entries: []*ententev1.AuditEntry{own}}, nil
}

func (f *fakeNode) ReadTrail(_ *ententev1.ReadTrailRequest, call grpc.ServerStreamingServer[ententev1.ReadTrailResponse]) error {
	for _, part := range f.trail {
		err := call.Send(part)
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeNode) FindSubject(r *ententev1.FindSubjectRequest, call grpc.ServerStreamingServer[ententev1.FindSubjectResponse]) error {
	if r.GetName() == "cut" {
		return status.Error(codes.Unavailable, "the node stops")
	}
	parts := []*ententev1.FindSubjectResponse{{LookedAt: 500}, {Record: subject(2)}, {Record: subject(3)}, {LookedAt: 1000}}
	if r.GetName() == "nobody" {
		parts = parts[:1]
	}
	for _, part := range parts {
		err := call.Send(part)
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeNode) TraceSubject(_ *ententev1.TraceSubjectRequest, call grpc.ServerStreamingServer[ententev1.TraceSubjectResponse]) error {
	for _, part := range []*ententev1.TraceSubjectResponse{
		{Content: &ententev1.TraceSubjectResponse_Record{Record: subject(2)}},
		{Content: &ententev1.TraceSubjectResponse_LookedAt{LookedAt: 700}},
		{Content: &ententev1.TraceSubjectResponse_Entry{Entry: auditEntry(8)}},
	} {
		err := call.Send(part)
		if err != nil {
			return err
		}
	}
	return nil
}

// Reconcile finds one difference with XB, none with XC, and does not come to its end with XD.
func (f *fakeNode) Reconcile(r *ententev1.ReconcileRequest, call grpc.ServerStreamingServer[ententev1.ReconcileResponse]) error {
	summary := &ententev1.ReconcileSummary{OwnEntries: 10, Listed: 11}
	if r.GetMember() == "XB" && !r.GetList() {
		summary.Differences = 1
		err := call.Send(&ententev1.ReconcileResponse{Content: &ententev1.ReconcileResponse_Difference{Difference: &ententev1.AuditDifference{
			Kind: "passed on", RecordIds: [][]byte{id(1)}, Recipient: "XC", Range: &ententev1.AuditRange{Owner: "XA", StreamId: id(9), First: 4, Last: 4}}}})
		if err != nil {
			return err
		}
	}
	if r.GetMember() == "XD" {
		return nil
	}
	if r.GetList() {
		summary = &ententev1.ReconcileSummary{Listed: 1}
		err := call.Send(&ententev1.ReconcileResponse{Content: &ententev1.ReconcileResponse_Disclosure{Disclosure: &ententev1.Disclosure{
			At: before(0), Operation: ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, Recipient: "XC", RecordIds: [][]byte{id(1)}}}})
		if err != nil {
			return err
		}
	}
	return call.Send(&ententev1.ReconcileResponse{Content: &ententev1.ReconcileResponse_Summary{Summary: summary}})
}

func (f *fakeNode) SetHoney(_ context.Context, r *ententev1.SetHoneyRequest) (*ententev1.SetHoneyResponse, error) {
	return &ententev1.SetHoneyResponse{Marked: uint64(len(r.GetRecords()))}, nil
}

func (f *fakeNode) ListAlerts(_ context.Context, r *ententev1.ListAlertsRequest) (*ententev1.ListAlertsResponse, error) {
	response := &ententev1.ListAlertsResponse{}
	for number := r.GetAfter() + 1; number <= min(r.GetAfter()+2, 3); number++ {
		response.Alerts = append(response.Alerts, &ententev1.HoneyAlert{Number: number, RecordId: id(byte(number)), Member: "XB",
			Operation: ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION})
	}
	return response, nil
}

// Export answers by its recipient: "cut" ends without a summary, "miscounted" has a wrong one.
func (f *fakeNode) Export(r *ententev1.ExportRequest, call grpc.ServerStreamingServer[ententev1.ExportResponse]) error {
	one := entity(1, "=HYPERLINK(1)")
	one.Handling = &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H2}}
	one.Facts = append(one.Facts, &ententev1.ViewFact{Field: "number", Value: "+311555", Sources: []uint32{0}})
	one.Sources[0].RetainUntil = before(0)
	between := &ententev1.ViewAssociation{AssociationId: id(5), FromEntityId: id(1), ToEntityId: id(2), Kind: ententev1.AssociationKind_ASSOCIATION_KIND_FINANCES}
	parts := []*ententev1.ExportResponse{
		{Content: &ententev1.ExportResponse_View{View: viewInfo()}},
		{Content: &ententev1.ExportResponse_Row{Row: &ententev1.ExportRow{Banners: []string{"H2: not to be passed on", "restricted"},
			Content: &ententev1.ExportRow_Entity{Entity: one}}}},
		{Content: &ententev1.ExportResponse_Row{Row: &ententev1.ExportRow{Banners: []string{"lead for checking"},
			Content: &ententev1.ExportRow_Association{Association: between}}}},
		{Content: &ententev1.ExportResponse_Summary{Summary: &ententev1.ExportSummary{Rows: 2, WithoutPermission: 4}}},
	}
	switch r.GetRecipient() {
	case "cut":
		parts = parts[:3]
	case "miscounted":
		parts = append(parts[:2], parts[3])
	}
	for _, part := range parts {
		err := call.Send(part)
		if err != nil {
			return err
		}
	}
	return nil
}
