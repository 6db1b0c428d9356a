package server_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
)

// exported is all that an operator gets for a request.
func exported(t *testing.T, from ententev1.AdminServiceClient, request *ententev1.ExportStreamsRequest) ([]*ententev1.ExportStreamsResponse, error) {
	t.Helper()
	call, err := from.ExportStreams(patient(t), request)
	if err != nil {
		t.Fatal(err)
	}
	var all []*ententev1.ExportStreamsResponse
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

func TestAnExportIsForMembersInGoodStandingAndForOperatorsAlone(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	operator := ententev1.NewAdminServiceClient(n.dial(member.KindOperator, "XA", "op"))
	for _, request := range []*ententev1.ExportStreamsRequest{
		{Reader: "XA"}, {Reader: "XZ"}, {}, {Reader: "XB", Owners: []string{"XZ"}}, {Reader: "XB", Owners: []string{"XB"}},
	} {
		_, err := exported(t, operator, request)
		wantCode(t, err, codes.InvalidArgument)
	}
	all, err := exported(t, operator, &ententev1.ExportStreamsRequest{Reader: "XB"})
	if err != nil || len(all) != 2 || all[0].GetHeader() == nil || all[1].GetEnd().GetMessages() != 1 {
		t.Errorf("an export of nothing: %v, %v", all, err)
	}
	for _, who := range []member.Identity{
		{Member: "XA", Kind: member.KindSystem, Name: "registry"}, {Member: "XA", Kind: member.KindOfficer, Name: "ann"},
		{Member: "XB", Kind: member.KindNode}, {Member: "XA", Kind: member.KindAuditor, Name: "eve"},
	} {
		_, err = exported(t, ententev1.NewAdminServiceClient(n.dial(who.Kind, who.Member, who.Name)), &ententev1.ExportStreamsRequest{Reader: "XB"})
		wantCode(t, err, codes.PermissionDenied)
	}
}

// collected is an importer that takes everything.
type collected struct{ count int }

func (c *collected) Import(_ context.Context, _ bool, next func() (*ententev1.ExportStreamsResponse, error)) (*ententev1.ImportStreamsResponse, error) {
	c.count = 0
	for {
		_, err := next()
		if errors.Is(err, io.EOF) {
			return &ententev1.ImportStreamsResponse{Receipts: uint64(c.count)}, nil
		}
		if err != nil {
			return nil, err
		}
		c.count++
	}
}

func TestTheNodeItselfCountsAndHashesWhatIsImported(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", func(cfg *server.Config) { cfg.Import = &collected{} })
	operator := ententev1.NewAdminServiceClient(n.dial(member.KindOperator, "XA", "op"))
	good, err := exported(t, operator, &ententev1.ExportStreamsRequest{Reader: "XB"})
	w.must(err)
	options := &ententev1.ImportStreamsRequest{Content: &ententev1.ImportStreamsRequest_Options{Options: &ententev1.ImportOptions{CheckOnly: true}}}
	message := func(m *ententev1.ExportStreamsResponse) *ententev1.ImportStreamsRequest {
		encoded, err := proto.Marshal(m)
		w.must(err)
		return &ententev1.ImportStreamsRequest{Content: &ententev1.ImportStreamsRequest_Message{Message: encoded}}
	}
	other := proto.CloneOf(good[0])
	other.GetHeader().Reader = "XC"
	more := proto.CloneOf(good[1])
	more.GetEnd().Messages = 2
	tests := []struct {
		name string
		sent []*ententev1.ImportStreamsRequest
		want codes.Code
	}{
		{"as it was exported", []*ententev1.ImportStreamsRequest{options, message(good[0]), message(good[1])}, codes.OK},
		{"altered", []*ententev1.ImportStreamsRequest{options, message(other), message(good[1])}, codes.InvalidArgument},
		{"with another count", []*ententev1.ImportStreamsRequest{options, message(good[0]), message(more)}, codes.InvalidArgument},
		{"cut", []*ententev1.ImportStreamsRequest{options, message(good[0])}, codes.InvalidArgument},
		{"with more behind its end", []*ententev1.ImportStreamsRequest{options, message(good[0]), message(good[1]), message(good[0])}, codes.InvalidArgument},
		{"with options twice", []*ententev1.ImportStreamsRequest{options, options, message(good[0]), message(good[1])}, codes.InvalidArgument},
		{"without options", []*ententev1.ImportStreamsRequest{message(good[0]), message(good[1])}, codes.InvalidArgument},
		{"nothing", nil, codes.InvalidArgument},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			call, err := operator.ImportStreams(patient(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range tt.sent {
				err = call.Send(m)
				if err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			_, err = call.CloseAndRecv()
			wantCode(t, err, tt.want)
		})
	}
	without := w.start("XC")
	call, err := ententev1.NewAdminServiceClient(without.dial(member.KindOperator, "XC", "op")).ImportStreams(patient(t))
	w.must(err)
	_, err = call.CloseAndRecv()
	wantCode(t, err, codes.Unimplemented)
}

func TestWhatAPullMayNotAskTogetherIsRefused(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	peer := ententev1.NewExchangeServiceClient(n.peer("XB"))
	for _, request := range []*ententev1.PullRequest{
		{Owner: "XA"}, {Owner: "XB"}, {Owner: "XC", OwnedByCaller: true},
	} {
		call, err := peer.Pull(patient(t), request)
		w.must(err)
		_, err = call.Recv()
		wantCode(t, err, codes.InvalidArgument)
		_, err = peer.Heads(patient(t), &ententev1.HeadsRequest{Owner: request.GetOwner(), OwnedByCaller: request.GetOwnedByCaller()})
		wantCode(t, err, codes.InvalidArgument)
	}
}
