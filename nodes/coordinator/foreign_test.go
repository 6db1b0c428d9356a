package coordinator_test

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/network"
)

// hostile is a node of XB that speaks the protocol but for one thing: it announces a stream under the id of a stream of
// XA, and in a stream of its own takes back an entry of it.
type hostile struct {
	ententev1.UnimplementedExchangeServiceServer
	w      *world
	taken  stream.ID // XA's
	entry  uint64
	attack chan struct{} // closed when the coordinator holds XA's record
}

func (h *hostile) digest() *ententev1.SignedDocument {
	body, err := proto.Marshal(&ententev1.HeadsDigest{Owner: "XB", Reader: "COORD", Digest: make([]byte, 32), SignedAt: timestamppb.Now()})
	must(h.w.t, err)
	return member.SignDocument("digest", body, "XB", h.w.fed.Seat("XB").Signing)
}

func (h *hostile) Heads(context.Context, *ententev1.HeadsRequest) (*ententev1.HeadsResponse, error) {
	return &ententev1.HeadsResponse{Digest: h.digest()}, nil
}

func (h *hostile) Pull(request *ententev1.PullRequest, out grpc.ServerStreamingServer[ententev1.PullResponse]) error {
	messages := []*ententev1.PullResponse{
		{Content: &ententev1.PullResponse_Digest{Digest: h.digest()}},
		{Content: &ententev1.PullResponse_PositionsNeeded{PositionsNeeded: &ententev1.PositionsNeeded{}}},
	}
	if request.GetPositionsGiven() {
		<-h.attack
		messages = append(messages[:1], h.poison()...)
	}
	for _, m := range messages {
		err := out.Send(m)
		if err != nil {
			return err
		}
	}
	if request.GetPositionsGiven() {
		<-out.Context().Done()
	}
	return nil
}

// poison announces both streams and sends the one that is XB's own: an opening and a withdrawal.
func (h *hostile) poison() []*ententev1.PullResponse {
	own := stream.ID{1, 2, 3}
	payload, err := proto.Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Opening{Opening: &ententev1.StreamOpening{
		StreamId: own[:], Owner: "XB", Kind: ententev1.StreamKind_STREAM_KIND_BILATERAL, Readers: []string{"COORD"}, OpenedAt: timestamppb.Now()}}})
	must(h.w.t, err)
	salt := make([]byte, stream.SaltSize)
	headers := []stream.Header{
		{Type: ententev1.EntryType_ENTRY_TYPE_OPENING, Sequence: 1, Commitment: stream.Commit(salt, payload)},
		{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Sequence: 2, Target: h.taken, TargetSequence: h.entry, Reason: 1},
	}
	entries := []*ententev1.Entry{{Header: headers[0].Append(nil), Salt: salt, Payload: payload}, {Header: headers[1].Append(nil)}}
	var edge stream.Edge
	for _, e := range entries {
		edge.Append(stream.LeafHash(e.GetHeader()))
	}
	announce := func(c stream.Checkpoint) *ententev1.PullResponse {
		c.Owner, c.Time = "XB", time.Now()
		note, err := c.Sign(h.w.fed.Seat("XB").Signing)
		must(h.w.t, err)
		return &ententev1.PullResponse{Content: &ententev1.PullResponse_Checkpoint{
			Checkpoint: &ententev1.CheckpointUpdate{StreamId: c.Stream[:], Checkpoint: note}}}
	}
	return []*ententev1.PullResponse{
		announce(stream.Checkpoint{Stream: h.taken, Size: 9, Root: stream.Hash{9}}), // nothing of it ever comes
		announce(stream.Checkpoint{Stream: own, Size: edge.Size(), Root: edge.Root()}),
		{Content: &ententev1.PullResponse_Entries{Entries: &ententev1.EntryBatch{StreamId: own[:], Entries: entries}}},
		{Content: &ententev1.PullResponse_CaughtUp{CaughtUp: &ententev1.CaughtUp{}}},
	}
}

func TestAMemberCannotTakeAnothersRecordOutOfTheView(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA")
	xa.push(person("to-all", "Alpha", toAll()))
	h := &hostile{w: w, taken: xa.ownStreams()[0].ID, entry: 2, attack: make(chan struct{})}
	certificate, err := w.fed.Certificate(member.Identity{Member: "XB", Kind: member.KindNode})
	must(t, err)
	roster := func() *member.Roster { return xa.Directory().Roster }
	source := func() (*tls.Certificate, error) { return certificate, nil }
	served := grpc.NewServer(grpc.Creds(credentials.NewTLS(member.ServerTLS(source, roster, "XB"))))
	ententev1.RegisterExchangeServiceServer(served, h)
	go func() { _ = served.Serve(w.sites["XB"].listener) }() // ends with Stop
	t.Cleanup(served.Stop)

	coord := w.start("COORD")
	w.awaitEntities("XC", 1)
	close(h.attack)
	w.await(coord.Ledger().Changed, func() bool {
		list := coord.Ledger().StreamsShared("XB", "COORD")
		return len(list) == 1 && list[0].Size == 2
	}, func() string { return "XB's stream at the coordinator" })
	must(t, coord.merged.Settled(t.Context()))
	if got := len(coord.merged.View().For("XC", nil, network.Lens{}).Entities()); got != 1 {
		t.Errorf("XC sees %d entities after a withdrawal by XB of a record of XA, want 1", got)
	}
}
