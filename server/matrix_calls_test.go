package server_test

import (
	"context"
	"crypto/sha256"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

type conn = grpc.ClientConnInterface

func reason() *ententev1.AuditReason {
	return &ententev1.AuditReason{Purpose: ententev1.AuditPurpose_AUDIT_PURPOSE_LAWFULNESS, CaseReference: "A 1"}
}

// pushed is a push of one item.
func pushedBy(item func(x *trailed) *ententev1.PushItem) called {
	return func(x *trailed) ([]proto.Message, error) {
		pushing := item(x)
		call, err := ententev1.NewIntakeServiceClient(system("registry")(x)).Push(x.t.Context())
		if err != nil {
			return nil, err
		}
		err = call.Send(&ententev1.PushRequest{Batch: 1, Items: []*ententev1.PushItem{pushing}})
		if err != nil {
			return nil, err
		}
		response, err := call.Recv()
		if err != nil {
			return nil, err
		}
		return []proto.Message{response}, call.CloseSend()
	}
}

func intakeCases() map[string][]called {
	registry := system("registry")
	return map[string][]called{
		ententev1.IntakeService_Push_FullMethodName: {
			pushedBy(func(x *trailed) *ententev1.PushItem {
				x.count++
				return item(x.claim("pushed-"+string(rune('a'+x.count%26))+x.t.Name(), toAll()).record(x.half))
			}),
			pushedBy(func(x *trailed) *ententev1.PushItem {
				c := x.prepared(false, toAll())
				c.version++
				return item(c.record(x.half))
			}),
		},
		ententev1.IntakeService_Get_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.GetRequest, ...grpc.CallOption) (*ententev1.GetResponse, error) {
			return ententev1.NewIntakeServiceClient(c).Get
		}, func(*trailed) *ententev1.GetRequest {
			return &ententev1.GetRequest{Consultation: asking(), ProviderReference: "same"}
		})},
		ententev1.IntakeService_List_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.ListRequest, ...grpc.CallOption) (*ententev1.ListResponse, error) {
			return ententev1.NewIntakeServiceClient(c).List
		}, func(*trailed) *ententev1.ListRequest { return &ententev1.ListRequest{Consultation: asking()} })},
		ententev1.IntakeService_PreviewReader_FullMethodName: {short(system("desk"), func(c conn) func(context.Context, *ententev1.PreviewReaderRequest, ...grpc.CallOption) (*ententev1.PreviewReaderResponse, error) {
			return ententev1.NewIntakeServiceClient(c).PreviewReader
		}, func(*trailed) *ententev1.PreviewReaderRequest {
			return &ententev1.PreviewReaderRequest{Consultation: asking(), Member: "XB", Records: true}
		})},
		ententev1.IntakeService_PreviewRelease_FullMethodName: {streamed(registry, func(c conn) func(context.Context, *ententev1.PreviewReleaseRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.PreviewReleaseResponse], error) {
			return ententev1.NewIntakeServiceClient(c).PreviewRelease
		}, func(*trailed) *ententev1.PreviewReleaseRequest {
			return &ententev1.PreviewReleaseRequest{Consultation: asking(), Audiences: one(toMembers("XB")), Selection: &ententev1.RecordSelection{ProviderReferences: []string{"same"}}}
		}, nil)},
		ententev1.IntakeService_ListPending_FullMethodName: {short(ownOfficer("XA"), func(c conn) func(context.Context, *ententev1.ListPendingRequest, ...grpc.CallOption) (*ententev1.ListPendingResponse, error) {
			return ententev1.NewIntakeServiceClient(c).ListPending
		}, func(*trailed) *ententev1.ListPendingRequest {
			return &ententev1.ListPendingRequest{Consultation: asking()}
		})},
		ententev1.IntakeService_ListDue_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.ListDueRequest, ...grpc.CallOption) (*ententev1.ListDueResponse, error) {
			return ententev1.NewIntakeServiceClient(c).ListDue
		}, func(*trailed) *ententev1.ListDueRequest { return &ententev1.ListDueRequest{Consultation: asking()} })},
		ententev1.IntakeService_ListSent_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.ListSentRequest, ...grpc.CallOption) (*ententev1.ListSentResponse, error) {
			return ententev1.NewIntakeServiceClient(c).ListSent
		}, func(*trailed) *ententev1.ListSentRequest {
			return &ententev1.ListSentRequest{Consultation: asking(), Member: "XB"}
		})},
		ententev1.IntakeService_ListPermissions_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.ListPermissionsRequest, ...grpc.CallOption) (*ententev1.ListPermissionsResponse, error) {
			return ententev1.NewIntakeServiceClient(c).ListPermissions
		}, func(*trailed) *ententev1.ListPermissionsRequest {
			return &ententev1.ListPermissionsRequest{Consultation: asking()}
		})},
	}
}

// permitted is a record that XB holds, with a permission for it.
func (x *trailed) permitted() *ententev1.EntryRef {
	c := x.prepared(false, toMembers("XB"))
	var entries []*ententev1.EntryRef
	x.traced(func() {
		var err error
		ctx := ledger.WithActor(x.t.Context(), &ententev1.AuditActor{Name: "Police"})
		entries, err = x.site("XA").ledger.Permit(ctx, "Police", c.reference, ledger.Permit{Holder: "XB", Export: true, Purpose: c.purpose, Until: x.now().Add(9000e9)})
		x.must(err)
	})
	return entries[0]
}

func changeCases() map[string][]called {
	registry := system("registry")
	refs := func(x *trailed, audiences ...*ententev1.Audience) []string {
		return []string{x.prepared(false, audiences...).reference}
	}
	return map[string][]called{
		ententev1.IntakeService_Release_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.ReleaseRequest, ...grpc.CallOption) (*ententev1.ReleaseResponse, error) {
			return ententev1.NewIntakeServiceClient(c).Release
		}, func(x *trailed) *ententev1.ReleaseRequest {
			return &ententev1.ReleaseRequest{Consultation: asking(), ProviderReferences: refs(x), Audiences: one(toAll())}
		})},
		ententev1.IntakeService_Withdraw_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.WithdrawRequest, ...grpc.CallOption) (*ententev1.WithdrawResponse, error) {
			return ententev1.NewIntakeServiceClient(c).Withdraw
		}, func(x *trailed) *ententev1.WithdrawRequest {
			return &ententev1.WithdrawRequest{Consultation: asking(), ProviderReferences: refs(x, toAll()), Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE, Erase: true}
		})},
		ententev1.IntakeService_DecideRelease_FullMethodName: {short(ownOfficer("XA"), func(c conn) func(context.Context, *ententev1.DecideReleaseRequest, ...grpc.CallOption) (*ententev1.DecideReleaseResponse, error) {
			return ententev1.NewIntakeServiceClient(c).DecideRelease
		}, func(x *trailed) *ententev1.DecideReleaseRequest {
			c := x.prepared(true, toAll())
			return &ententev1.DecideReleaseRequest{Consultation: asking(), RecordIds: [][]byte{c.id(x.half)}, Versions: []uint64{1}, States: []uint64{waitingState(x.site("XA").ledger, ledger.RecordID(c.id(x.half)))}, Approve: true}
		})},
		ententev1.IntakeService_Restrict_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.RestrictRequest, ...grpc.CallOption) (*ententev1.RestrictResponse, error) {
			return ententev1.NewIntakeServiceClient(c).Restrict
		}, func(x *trailed) *ententev1.RestrictRequest {
			return &ententev1.RestrictRequest{Consultation: asking(), ProviderReferences: refs(x, toAll()), Reason: "it is disputed"}
		})},
		ententev1.IntakeService_Hold_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.HoldRequest, ...grpc.CallOption) (*ententev1.HoldResponse, error) {
			return ententev1.NewIntakeServiceClient(c).Hold
		}, func(x *trailed) *ententev1.HoldRequest {
			return &ententev1.HoldRequest{Consultation: asking(), ProviderReferences: refs(x), Reason: "a court asked", Until: timestamppb.New(x.now().Add(9000e9))}
		})},
		ententev1.IntakeService_Renew_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.RenewRequest, ...grpc.CallOption) (*ententev1.RenewResponse, error) {
			return ententev1.NewIntakeServiceClient(c).Renew
		}, func(x *trailed) *ententev1.RenewRequest {
			return &ententev1.RenewRequest{Consultation: asking(), ProviderReferences: refs(x), Justification: "still needed", RetainUntil: timestamppb.New(x.g.start.Add(100_100_000e9))}
		})},
		ententev1.IntakeService_Permit_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.PermitRequest, ...grpc.CallOption) (*ententev1.PermitResponse, error) {
			return ententev1.NewIntakeServiceClient(c).Permit
		}, func(x *trailed) *ententev1.PermitRequest {
			return &ententev1.PermitRequest{Consultation: asking(), ProviderReference: refs(x, toMembers("XB"))[0], Holder: "XB", Export: true,
				Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: timestamppb.New(x.now().Add(9000e9))}
		})},
		ententev1.IntakeService_RevokePermission_FullMethodName: {short(registry, func(c conn) func(context.Context, *ententev1.RevokePermissionRequest, ...grpc.CallOption) (*ententev1.RevokePermissionResponse, error) {
			return ententev1.NewIntakeServiceClient(c).RevokePermission
		}, func(x *trailed) *ententev1.RevokePermissionRequest {
			return &ententev1.RevokePermissionRequest{Consultation: asking(), Entry: x.permitted()}
		})},
		ententev1.IntakeService_GrantStream_FullMethodName: {short(system("desk"), func(c conn) func(context.Context, *ententev1.GrantStreamRequest, ...grpc.CallOption) (*ententev1.GrantStreamResponse, error) {
			return ententev1.NewIntakeServiceClient(c).GrantStream
		}, func(x *trailed) *ententev1.GrantStreamRequest {
			return &ententev1.GrantStreamRequest{Consultation: asking(), Member: "XE", StreamId: x.site("XA").ledger.StreamsShared("XA", "XD")[0].ID[:]}
		})},
	}
}

func readingCases() map[string][]called {
	list := func(c conn) func(context.Context, *ententev1.LibraryServiceListRequest, ...grpc.CallOption) (*ententev1.LibraryServiceListResponse, error) {
		return ententev1.NewLibraryServiceClient(c).List
	}
	return map[string][]called{
		ententev1.StreamService_Subscribe_FullMethodName: {streamed(ownOfficer("XA"), func(c conn) func(context.Context, *ententev1.SubscribeRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.SubscribeResponse], error) {
			return ententev1.NewStreamServiceClient(c).Subscribe
		}, func(*trailed) *ententev1.SubscribeRequest {
			return &ententev1.SubscribeRequest{Consultation: asking(), UntilCurrent: true}
		}, nil)},
		ententev1.LibraryService_List_FullMethodName: {short(ownOfficer("XA"), list, func(*trailed) *ententev1.LibraryServiceListRequest {
			return &ententev1.LibraryServiceListRequest{Consultation: asking()}
		})},
		ententev1.LibraryService_Get_FullMethodName: {short(ownOfficer("XA"), func(c conn) func(context.Context, *ententev1.LibraryServiceGetRequest, ...grpc.CallOption) (*ententev1.LibraryServiceGetResponse, error) {
			return ententev1.NewLibraryServiceClient(c).Get
		}, func(x *trailed) *ententev1.LibraryServiceGetRequest {
			return &ententev1.LibraryServiceGetRequest{Consultation: asking(), RecordId: x.claim("practice").id(x.half)}
		})},
	}
}

func viewCases() map[string][]called {
	view := func(c conn) func(context.Context, *ententev1.GetViewRequest, ...grpc.CallOption) (*ententev1.GetViewResponse, error) {
		return ententev1.NewNetworkServiceClient(c).GetView
	}
	entity := func(c conn) func(context.Context, *ententev1.GetEntityRequest, ...grpc.CallOption) (*ententev1.GetEntityResponse, error) {
		return ententev1.NewNetworkServiceClient(c).GetEntity
	}
	watch := func(c conn) func(context.Context, *ententev1.WatchRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.WatchResponse], error) {
		return ententev1.NewNetworkServiceClient(c).Watch
	}
	export := func(c conn) func(context.Context, *ententev1.ExportRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.ExportResponse], error) {
		return ententev1.NewNetworkServiceClient(c).Export
	}
	cases := map[string][]called{}
	for _, who := range []func(x *trailed) *grpc.ClientConn{ownOfficer("COORD"), nodeOfXB("COORD")} {
		for method, call := range map[string]called{
			ententev1.NetworkService_GetView_FullMethodName: short(who, view, func(*trailed) *ententev1.GetViewRequest {
				return &ententev1.GetViewRequest{Consultation: askingAs("ann")}
			}),
			ententev1.NetworkService_GetEntity_FullMethodName: short(who, entity, func(x *trailed) *ententev1.GetEntityRequest {
				return &ententev1.GetEntityRequest{Consultation: askingAs("ann"), Handle: x.claim("same").id(x.half)}
			}),
			ententev1.NetworkService_Watch_FullMethodName: streamed(who, watch, func(*trailed) *ententev1.WatchRequest { return &ententev1.WatchRequest{Consultation: askingAs("ann")} }, changedOnce),
			ententev1.NetworkService_Export_FullMethodName: streamed(who, export, func(*trailed) *ententev1.ExportRequest {
				return &ententev1.ExportRequest{Consultation: askingAs("ann"), Recipient: "court"}
			}, nil),
		} {
			cases[method] = append(cases[method], call)
		}
	}
	return cases
}

// changedOnce changes the view after its first message, and has enough with the next.
func changedOnce(x *trailed, m *ententev1.WatchResponse) bool {
	if len(m.GetChangedEntities()) > 0 {
		return true
	}
	x.prepared(false, toAll())
	x.traced(func() {
		coordinator := x.site("COORD")
		x.replicate(x.site("XA"), coordinator)
		x.must(coordinator.merged.catchUp())
	})
	return false
}

func exchangeCases() map[string][]called {
	return map[string][]called{
		ententev1.ExchangeService_Pull_FullMethodName: {streamed(nodeOfXB("XA"), func(c conn) func(context.Context, *ententev1.PullRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.PullResponse], error) {
			return ententev1.NewExchangeServiceClient(c).Pull
		}, func(*trailed) *ententev1.PullRequest {
			return &ententev1.PullRequest{PositionsGiven: true, Contract: 2}
		}, func(_ *trailed, m *ententev1.PullResponse) bool { return m.GetCaughtUp() != nil })},
		ententev1.ExchangeService_ListDisclosures_FullMethodName: {short(nodeOfXB("XA"), func(c conn) func(context.Context, *ententev1.ListDisclosuresRequest, ...grpc.CallOption) (*ententev1.ListDisclosuresResponse, error) {
			return ententev1.NewExchangeServiceClient(c).ListDisclosures
		}, func(*trailed) *ententev1.ListDisclosuresRequest { return &ententev1.ListDisclosuresRequest{} })},
		ententev1.ExchangeService_Heads_FullMethodName: {short(nodeOfXB("XA"), func(c conn) func(context.Context, *ententev1.HeadsRequest, ...grpc.CallOption) (*ententev1.HeadsResponse, error) {
			return ententev1.NewExchangeServiceClient(c).Heads
		}, func(*trailed) *ententev1.HeadsRequest { return &ententev1.HeadsRequest{} })},
		ententev1.RosterService_GetRoster_FullMethodName: {short(nodeOfXB("XA"), func(c conn) func(context.Context, *ententev1.GetRosterRequest, ...grpc.CallOption) (*ententev1.GetRosterResponse, error) {
			return ententev1.NewRosterServiceClient(c).GetRoster
		}, func(*trailed) *ententev1.GetRosterRequest { return &ententev1.GetRosterRequest{} })},
		ententev1.RosterService_ListProjectDocuments_FullMethodName: {short(nodeOfXB("XA"), func(c conn) func(context.Context, *ententev1.ListProjectDocumentsRequest, ...grpc.CallOption) (*ententev1.ListProjectDocumentsResponse, error) {
			return ententev1.NewRosterServiceClient(c).ListProjectDocuments
		}, func(*trailed) *ententev1.ListProjectDocumentsRequest {
			return &ententev1.ListProjectDocumentsRequest{}
		})},
	}
}

func adminCases() map[string][]called {
	operator := ownPerson(member.KindOperator)
	return map[string][]called{
		ententev1.AdminService_GetStatus_FullMethodName: {short(operator, func(c conn) func(context.Context, *ententev1.GetStatusRequest, ...grpc.CallOption) (*ententev1.GetStatusResponse, error) {
			return ententev1.NewAdminServiceClient(c).GetStatus
		}, func(*trailed) *ententev1.GetStatusRequest { return &ententev1.GetStatusRequest{} })},
		ententev1.AdminService_Backup_FullMethodName: {streamed(operator, func(c conn) func(context.Context, *ententev1.BackupRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.BackupResponse], error) {
			return ententev1.NewAdminServiceClient(c).Backup
		}, func(*trailed) *ententev1.BackupRequest { return &ententev1.BackupRequest{} }, nil)},
		ententev1.AdminService_Reseal_FullMethodName: {streamed(operator, func(c conn) func(context.Context, *ententev1.ResealRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.ResealResponse], error) {
			return ententev1.NewAdminServiceClient(c).Reseal
		}, func(*trailed) *ententev1.ResealRequest { return &ententev1.ResealRequest{} }, nil)},
		ententev1.AdminService_Compact_FullMethodName: {streamed(operator, func(c conn) func(context.Context, *ententev1.CompactRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.CompactResponse], error) {
			return ententev1.NewAdminServiceClient(c).Compact
		}, func(*trailed) *ententev1.CompactRequest { return &ententev1.CompactRequest{} }, nil)},
		ententev1.AdminService_ExportStreams_FullMethodName: {streamed(operator, func(c conn) func(context.Context, *ententev1.ExportStreamsRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.ExportStreamsResponse], error) {
			return ententev1.NewAdminServiceClient(c).ExportStreams
		}, func(*trailed) *ententev1.ExportStreamsRequest {
			return &ententev1.ExportStreamsRequest{Reader: "XB"}
		}, nil)},
		ententev1.AdminService_ImportStreams_FullMethodName: {imported},
		ententev1.AdminService_ConfirmClock_FullMethodName: {short(operator, func(c conn) func(context.Context, *ententev1.ConfirmClockRequest, ...grpc.CallOption) (*ententev1.ConfirmClockResponse, error) {
			return ententev1.NewAdminServiceClient(c).ConfirmClock
		}, func(x *trailed) *ententev1.ConfirmClockRequest {
			return &ententev1.ConfirmClockRequest{Now: timestamppb.New(x.now())}
		})},
	}
}

// imported brings a file with a record of XB that is new and the withdrawal of one that XA held.
func imported(x *trailed) ([]proto.Message, error) {
	gone := x.claim(x.t.Name()+"gone", toAll())
	gone.owner = "XB"
	fresh := x.claim(x.t.Name()+"new", toAll())
	fresh.owner = "XB"
	x.traced(func() {
		gone.push(x.half)
		x.replicate(x.site("XB"), x.site("XA"))
		_, err := x.site("XB").ledger.Withdraw(x.t.Context(), "Police", []string{gone.reference}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE)
		x.must(err)
		fresh.push(x.half)
	})
	end := &ententev1.ExportEnd{Sha256: emptySum()}
	encoded, err := proto.Marshal(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_End{End: end}})
	x.must(err)
	call, err := ententev1.NewAdminServiceClient(ownPerson(member.KindOperator)(x)).ImportStreams(x.t.Context())
	x.must(err)
	x.must(call.Send(&ententev1.ImportStreamsRequest{Content: &ententev1.ImportStreamsRequest_Options{Options: &ententev1.ImportOptions{}}}))
	x.must(call.Send(&ententev1.ImportStreamsRequest{Content: &ententev1.ImportStreamsRequest_Message{Message: encoded}}))
	response, err := call.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	return []proto.Message{response}, nil
}

func auditCases() map[string][]called {
	auditor := ownPerson(member.KindAuditor)
	same := func(x *trailed) []*ententev1.SubjectRef {
		return []*ententev1.SubjectRef{{RecordId: x.claim("same").id(x.half)}}
	}
	return map[string][]called{
		ententev1.AuditService_ListEntries_FullMethodName: {short(auditor, func(c conn) func(context.Context, *ententev1.ListEntriesRequest, ...grpc.CallOption) (*ententev1.ListEntriesResponse, error) {
			return ententev1.NewAuditServiceClient(c).ListEntries
		}, func(*trailed) *ententev1.ListEntriesRequest { return &ententev1.ListEntriesRequest{Reason: reason()} })},
		ententev1.AuditService_ReadTrail_FullMethodName: {streamed(auditor, func(c conn) func(context.Context, *ententev1.ReadTrailRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.ReadTrailResponse], error) {
			return ententev1.NewAuditServiceClient(c).ReadTrail
		}, func(*trailed) *ententev1.ReadTrailRequest { return &ententev1.ReadTrailRequest{Reason: reason()} }, nil)},
		ententev1.AuditService_FindSubject_FullMethodName: {streamed(auditor, func(c conn) func(context.Context, *ententev1.FindSubjectRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.FindSubjectResponse], error) {
			return ententev1.NewAuditServiceClient(c).FindSubject
		}, func(*trailed) *ententev1.FindSubjectRequest {
			return &ententev1.FindSubjectRequest{Reason: reason(), Name: "family"}
		}, nil)},
		ententev1.AuditService_TraceSubject_FullMethodName: {streamed(auditor, func(c conn) func(context.Context, *ententev1.TraceSubjectRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.TraceSubjectResponse], error) {
			return ententev1.NewAuditServiceClient(c).TraceSubject
		}, func(x *trailed) *ententev1.TraceSubjectRequest {
			return &ententev1.TraceSubjectRequest{Reason: reason(), Records: same(x)}
		}, nil)},
		ententev1.AuditService_Reconcile_FullMethodName: {streamed(auditor, func(c conn) func(context.Context, *ententev1.ReconcileRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[ententev1.ReconcileResponse], error) {
			return ententev1.NewAuditServiceClient(c).Reconcile
		}, func(*trailed) *ententev1.ReconcileRequest {
			return &ententev1.ReconcileRequest{Reason: reason(), Member: "XB"}
		}, nil)},
		ententev1.AuditService_SetHoney_FullMethodName: {short(auditor, func(c conn) func(context.Context, *ententev1.SetHoneyRequest, ...grpc.CallOption) (*ententev1.SetHoneyResponse, error) {
			return ententev1.NewAuditServiceClient(c).SetHoney
		}, func(x *trailed) *ententev1.SetHoneyRequest {
			return &ententev1.SetHoneyRequest{Reason: reason(), Records: same(x)}
		})},
		ententev1.AuditService_ListAlerts_FullMethodName: {short(auditor, func(c conn) func(context.Context, *ententev1.ListAlertsRequest, ...grpc.CallOption) (*ententev1.ListAlertsResponse, error) {
			return ententev1.NewAuditServiceClient(c).ListAlerts
		}, func(*trailed) *ententev1.ListAlertsRequest { return &ententev1.ListAlertsRequest{Reason: reason()} })},
	}
}

// emptySum is the hash over no messages.
func emptySum() []byte {
	sum := sha256.Sum256(nil)
	return sum[:]
}
