package server_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
)

func TestAFloodOfReceiptsIsHeldToTheWorkThatTheyMake(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", withQuotas(server.Quotas{Nodes: server.Quota{WorkPerSecond: slow}}))
	pushAll(t, n.system("registry"), person("one", toAll()))
	info := n.ledger.StreamsShared("XA", "XB")[0]
	receipts := func(from member.ID, count int) *ententev1.SubmitReceiptsRequest {
		body, err := proto.Marshal(&ententev1.Receipt{Reader: string(from), Owner: "XA", StreamId: info.ID[:], Size: info.Size,
			Root: info.Root[:], SignedAt: timestamppb.Now()})
		w.must(err)
		request := &ententev1.SubmitReceiptsRequest{}
		for range count {
			request.Receipts = append(request.Receipts, member.SignDocument("receipt", body, from, w.fed.Seat(from).Signing))
		}
		return request
	}
	w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, "XB", "XB")
	client, flood := ententev1.NewExchangeServiceClient(n.peer("XB")), receipts("XB", 1000)
	var err error
	for calls := 0; err == nil; calls++ {
		if calls == 1000 {
			t.Fatal("one that has left had a million receipts verified")
		}
		_, err = client.SubmitReceipts(patient(t), flood)
	}
	wantOver(t, err, "work_per_second")
	_, err = ententev1.NewExchangeServiceClient(n.peer("XC")).SubmitReceipts(patient(t), receipts("XC", 1))
	if status.Code(err) != codes.OK {
		t.Errorf("another's receipt: %v", err)
	}
}
