package client

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func accepted(count int) []*ententev1.Verdict {
	var verdicts []*ententev1.Verdict
	for range count {
		verdicts = append(verdicts, &ententev1.Verdict{Outcome: ententev1.Outcome_OUTCOME_ACCEPTED})
	}
	return verdicts
}

func references(count int) []string {
	var list []string
	for i := range count {
		list = append(list, fmt.Sprintf("P-%d", i))
	}
	return list
}

func TestASelectionGoesInOneCallAndReferencesInParts(t *testing.T) {
	var got []*ententev1.ReleaseRequest
	node := &fakeNode{release: func(r *ententev1.ReleaseRequest) (*ententev1.ReleaseResponse, error) {
		got = append(got, proto.CloneOf(r))
		if r.GetSelection() != nil {
			return &ententev1.ReleaseResponse{Verdicts: accepted(3)}, nil
		}
		return &ententev1.ReleaseResponse{Verdicts: accepted(len(r.GetProviderReferences()))}, nil
	}}
	c, _ := node.connect(t)
	why := &ententev1.Consultation{CaseReference: "2026-17", Officer: "vera"}
	request := &ententev1.ReleaseRequest{ProviderReferences: references(2500), Consultation: why, Replace: true}
	verdicts, err := c.ReleaseSelected(within(t), request)
	if err != nil || len(verdicts) != 2500 || len(got) != 3 || len(got[2].GetProviderReferences()) != 500 {
		t.Fatalf("%d verdicts in %d calls, %v", len(verdicts), len(got), err)
	}
	for _, part := range got {
		if !part.GetReplace() || part.GetConsultation().GetOfficer() != "vera" {
			t.Errorf("a part lost what goes with it: %v", part.GetConsultation())
		}
	}
	if len(request.GetProviderReferences()) != 2500 {
		t.Error("the caller's request was changed")
	}
	got = nil
	verdicts, err = c.ReleaseSelected(within(t), &ententev1.ReleaseRequest{Selection: &ententev1.RecordSelection{ProjectId: "harbour-light"}})
	if err != nil || len(verdicts) != 3 || len(got) != 1 {
		t.Errorf("%d verdicts in %d calls, %v", len(verdicts), len(got), err)
	}
}

func TestARenewalThatFailsReturnsTheVerdictsSoFar(t *testing.T) {
	calls := 0
	node := &fakeNode{renew: func(r *ententev1.RenewRequest) (*ententev1.RenewResponse, error) {
		calls++
		if calls == 2 {
			return nil, status.Error(codes.InvalidArgument, "too long")
		}
		return &ententev1.RenewResponse{Verdicts: accepted(len(r.GetProviderReferences()))}, nil
	}}
	c, _ := node.connect(t)
	verdicts, err := c.Renew(within(t), &ententev1.RenewRequest{ProviderReferences: references(1001), Justification: "active"})
	if status.Code(err) != codes.InvalidArgument || len(verdicts) != 1000 || !strings.HasPrefix(err.Error(), "renew records: ") {
		t.Errorf("%d verdicts, %v", len(verdicts), err)
	}
}

func TestAPreviewEndsWithItsErrorOrWhereItsCallerHasEnough(t *testing.T) {
	node := &fakeNode{preview: func(_ *ententev1.PreviewReleaseRequest, call grpc.ServerStreamingServer[ententev1.PreviewReleaseResponse]) error {
		for range 3 {
			err := call.Send(&ententev1.PreviewReleaseResponse{ProviderReference: "P-1"})
			if err != nil {
				return err
			}
		}
		return status.Error(codes.PermissionDenied, "not for this system")
	}}
	c, _ := node.connect(t)
	count := 0
	var last error
	for preview, err := range c.PreviewRelease(within(t), &ententev1.PreviewReleaseRequest{}) {
		if last != nil {
			t.Fatal("something came after an error")
		}
		if err == nil && preview.GetProviderReference() == "P-1" {
			count++
		}
		last = err
	}
	if count != 3 || status.Code(last) != codes.PermissionDenied {
		t.Errorf("%d previews, %v", count, last)
	}
	for range c.PreviewRelease(within(t), &ententev1.PreviewReleaseRequest{}) {
		break // does not panic
	}
}

func exportView() *ententev1.ExportResponse {
	return &ententev1.ExportResponse{Content: &ententev1.ExportResponse_View{View: &ententev1.ViewInfo{Reader: "XA"}}}
}

func exportRow() *ententev1.ExportResponse {
	return &ententev1.ExportResponse{Content: &ententev1.ExportResponse_Row{Row: &ententev1.ExportRow{}}}
}

func exportSummary(rows uint64) *ententev1.ExportResponse {
	return &ententev1.ExportResponse{Content: &ententev1.ExportResponse_Summary{Summary: &ententev1.ExportSummary{Rows: rows}}}
}

func TestAnExportIsWholeOrAnError(t *testing.T) {
	for _, test := range []struct {
		name  string
		parts []*ententev1.ExportResponse
		want  string // part of the error; empty: none
	}{
		{"view, rows and summary", []*ententev1.ExportResponse{exportView(), exportRow(), exportRow(), exportSummary(2)}, ""},
		{"no rows", []*ententev1.ExportResponse{exportView(), exportSummary(0)}, ""},
		{"nothing", nil, "without a result"},
		{"no summary", []*ententev1.ExportResponse{exportView(), exportRow()}, "without a result"},
		{"no view", []*ententev1.ExportResponse{exportRow(), exportSummary(1)}, "wrong order"},
		{"a second view", []*ententev1.ExportResponse{exportView(), exportRow(), exportView(), exportSummary(1)}, "wrong order"},
		{"a row too few", []*ententev1.ExportResponse{exportView(), exportSummary(1)}, "gave 0 rows and counts 1"},
		{"a row after the summary", []*ententev1.ExportResponse{exportView(), exportSummary(0), exportRow()}, "without a result"},
	} {
		t.Run(test.name, func(t *testing.T) {
			node := &fakeNode{export: func(_ *ententev1.ExportRequest, call grpc.ServerStreamingServer[ententev1.ExportResponse]) error {
				for _, part := range test.parts {
					err := call.Send(part)
					if err != nil {
						return err
					}
				}
				return nil
			}}
			c, _ := node.connect(t)
			var last error
			for _, err := range c.Export(within(t), &ententev1.ExportRequest{}) {
				last = err
			}
			if (last == nil) != (test.want == "") || last != nil && !strings.Contains(last.Error(), test.want) {
				t.Errorf("got %v, want %q", last, test.want)
			}
		})
	}
}

func TestATrailWithoutItsHeadsIsAnError(t *testing.T) {
	heads := &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Heads{Heads: &ententev1.TrailHeads{}}}
	for _, whole := range []bool{true, false} {
		node := &fakeNode{trail: func(_ *ententev1.ReadTrailRequest, call grpc.ServerStreamingServer[ententev1.ReadTrailResponse]) error {
			err := call.Send(&ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Entries{}})
			if err == nil && whole {
				err = call.Send(heads)
			}
			return err
		}}
		c, _ := node.connect(t)
		var last error
		for _, err := range c.ReadTrail(within(t), &ententev1.ReadTrailRequest{}) {
			last = err
		}
		if (last == nil) != whole {
			t.Errorf("whole %v: %v", whole, last)
		}
	}
}

func TestAlertsComeInPartsUntilThereIsNoNewerOne(t *testing.T) {
	var asked []uint64
	node := &fakeNode{alerts: func(r *ententev1.ListAlertsRequest) (*ententev1.ListAlertsResponse, error) {
		asked = append(asked, r.GetAfter())
		response := &ententev1.ListAlertsResponse{}
		for number := r.GetAfter() + 1; number <= min(r.GetAfter()+2, 7); number++ {
			response.Alerts = append(response.Alerts, &ententev1.HoneyAlert{Number: number})
		}
		return response, nil
	}}
	c, _ := node.connect(t)
	var got []uint64
	for alert, err := range c.ListAlerts(within(t), &ententev1.ListAlertsRequest{After: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, alert.GetNumber())
	}
	if !slices.Equal(got, []uint64{3, 4, 5, 6, 7}) || !slices.Equal(asked, []uint64{2, 4, 6, 7}) {
		t.Errorf("alerts %v, asked after %v", got, asked)
	}
}

func TestAPushSaysOnWhoseBehalfWithEachMessage(t *testing.T) {
	var got []string
	node := &fakeNode{push: func(call grpc.BidiStreamingServer[ententev1.PushRequest, ententev1.PushResponse]) error {
		for {
			request, err := call.Recv()
			if err != nil {
				return nil
			}
			got = append(got, request.GetConsultation().GetOfficer())
			err = call.Send(&ententev1.PushResponse{Batch: request.GetBatch(), Verdicts: accepted(len(request.GetItems()))})
			if err != nil {
				return err
			}
		}
	}}
	c, _ := node.connect(t)
	options := PushOptions{BatchItems: 1, Consultation: &ententev1.Consultation{Officer: "vera"}}
	err := pushAll(t, c.Push(within(t), options, (&verdicts{}).take), names(2))
	if err != nil || !slices.Equal(got, []string{"vera", "vera"}) {
		t.Errorf("%v, officers %q", err, got)
	}
}
