package server_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// sharing is XA with that many streams that XB reads: one a project.
func sharing(t testing.TB, streams int) (*node, *grpc.ClientConn) {
	w := newWorld(t)
	projects := map[string]*member.Project{}
	for i := range streams {
		id := fmt.Sprintf("project-%d", i)
		_, project, err := w.fed.Project(w.dir.Roster, id, id, "XA", "XB")
		w.must(err)
		projects[id] = project
	}
	w.dir = &ledger.Directory{Roster: w.dir.Roster, Projects: projects}
	n := w.start("XA")
	var items []*ententev1.PushItem
	for i := range streams {
		items = append(items, person(fmt.Sprintf("p%d", i), toProject(fmt.Sprintf("project-%d", i))))
	}
	pushAll(t, n.system("registry"), items...)
	return n, n.peer("XB")
}

// nothingNew asks as a peer does that is up to date, and gives the bytes sent and received.
func nothingNew(t testing.TB, ctx context.Context, n *node, conn *grpc.ClientConn) (sent, received int) {
	digest := n.ledger.Digest("XA", "XB")
	request := &ententev1.HeadsRequest{Digest: digest[:]}
	response, err := ententev1.NewExchangeServiceClient(conn).Heads(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	if len(response.GetHeads()) != 0 {
		t.Fatalf("%d heads listed although nothing is new", len(response.GetHeads()))
	}
	return proto.Size(request), proto.Size(response)
}

func TestNothingNewIsOneComparisonOfDigestsHoweverManyStreams(t *testing.T) {
	one, conn := sharing(t, 1)
	sentOne, receivedOne := nothingNew(t, patient(t), one, conn)
	many, conn := sharing(t, 500)
	if got := len(many.ledger.StreamsShared("XA", "XB")); got != 500 {
		t.Fatalf("%d streams shared, want 500", got)
	}
	sentMany, receivedMany := nothingNew(t, patient(t), many, conn)
	if sentOne != sentMany || receivedMany-receivedOne > 2 || receivedOne-receivedMany > 2 { // the time is a varint
		t.Errorf("with 1 stream %d bytes out and %d in, with 500 streams %d and %d", sentOne, receivedOne, sentMany, receivedMany)
	}
	// A pull says the same: the digest, and then silence; no positions are asked for.
	digest := many.ledger.Digest("XA", "XB")
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	pull, err := ententev1.NewExchangeServiceClient(conn).Pull(ctx, &ententev1.PullRequest{Digest: digest[:]})
	many.w.must(err)
	first, err := pull.Recv()
	many.w.must(err)
	if first.GetDigest() == nil {
		t.Fatalf("a pull began with %T", first.GetContent())
	}
	// The control: with another digest the same pull is told to give its positions.
	digest[0] ^= 1
	pull, err = ententev1.NewExchangeServiceClient(conn).Pull(ctx, &ententev1.PullRequest{Digest: digest[:]})
	many.w.must(err)
	_, err = pull.Recv()
	many.w.must(err)
	second, err := pull.Recv()
	many.w.must(err)
	if second.GetPositionsNeeded() == nil {
		t.Fatalf("a pull with another digest went on with %T", second.GetContent())
	}
}

// BenchmarkNothingNew is a whole exchange over mutual TLS where nothing is new, with 1 and with 500 shared streams.
func BenchmarkNothingNew(b *testing.B) {
	for _, streams := range []int{1, 500} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			n, conn := sharing(b, streams)
			sent, received := nothingNew(b, context.Background(), n, conn)
			for b.Loop() {
				nothingNew(b, context.Background(), n, conn)
			}
			b.ReportMetric(float64(sent+received), "bytes/exchange")
		})
	}
}
