package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server"
)

// puller follows the streams of one owner as a careful node would: everything is verified by proto/stream.
type puller struct {
	t       testing.TB
	w       *world
	self    member.ID
	owner   member.ID
	readers map[stream.ID]*stream.Reader
	entries map[stream.ID][]stream.Verified
	gone    map[stream.ID]map[uint64]bool // targets of withdrawals that came ahead
	trace   []string
}

func newPuller(t testing.TB, w *world, self, owner member.ID) *puller {
	return &puller{t: t, w: w, self: self, owner: owner, readers: map[stream.ID]*stream.Reader{},
		entries: map[stream.ID][]stream.Verified{}, gone: map[stream.ID]map[uint64]bool{}}
}

func (p *puller) reader(raw []byte) (stream.ID, *stream.Reader) {
	id, err := stream.ParseID(raw)
	p.w.must(err)
	if p.readers[id] == nil {
		p.readers[id] = stream.NewReader(p.owner, id, p.self, stream.Edge{})
		p.gone[id] = map[uint64]bool{}
	}
	return id, p.readers[id]
}

func (p *puller) take(message *ententev1.PullResponse) {
	p.t.Helper()
	keys := p.w.directory().Roster.VerifyingKeys(p.owner)
	switch content := message.GetContent().(type) {
	case *ententev1.PullResponse_Digest:
		signer, err := member.VerifyDocument(content.Digest, "digest", p.w.directory().Roster.VerifyingKeys)
		p.w.must(err)
		body := &ententev1.HeadsDigest{}
		p.w.must(proto.Unmarshal(content.Digest.GetBody(), body))
		if signer != p.owner || body.GetReader() != string(p.self) {
			p.t.Fatalf("the digest is of %s for %s", signer, body.GetReader())
		}
		p.trace = append(p.trace, "digest")
	case *ententev1.PullResponse_Checkpoint:
		_, reader := p.reader(content.Checkpoint.GetStreamId())
		_, err := reader.Checkpoint(content.Checkpoint, keys)
		p.w.must(err)
		p.trace = append(p.trace, "checkpoint")
	case *ententev1.PullResponse_Withdrawals:
		id, reader := p.reader(content.Withdrawals.GetStreamId())
		withdrawals, err := reader.Withdrawals(content.Withdrawals)
		p.w.must(err)
		for _, w := range withdrawals {
			p.gone[w.Target][w.TargetSequence] = true
		}
		p.trace = append(p.trace, fmt.Sprintf("withdrawals %d", len(withdrawals)))
		_ = id
	case *ententev1.PullResponse_Entries:
		id, reader := p.reader(content.Entries.GetStreamId())
		entries, err := reader.Entries(content.Entries, func(target stream.ID, sequence uint64) bool { return p.gone[target][sequence] })
		p.w.must(err)
		p.entries[id] = append(p.entries[id], entries...)
		p.trace = append(p.trace, fmt.Sprintf("entries %d", len(entries)))
	case *ententev1.PullResponse_PositionsNeeded:
		p.trace = append(p.trace, "positions needed")
	case *ententev1.PullResponse_CaughtUp:
		p.trace = append(p.trace, "caught up")
	}
}

func (p *puller) digest() []byte {
	var heads []stream.Head
	for id, reader := range p.readers {
		edge := reader.Edge()
		heads = append(heads, stream.Head{Stream: id, Size: edge.Size(), Root: edge.Root()})
	}
	digest := stream.Digest(heads)
	return digest[:]
}

func (p *puller) request() *ententev1.PullRequest {
	request := &ententev1.PullRequest{Digest: p.digest(), PositionsGiven: true}
	for id, reader := range p.readers {
		edge := reader.Edge()
		request.Positions = append(request.Positions, &ententev1.StreamPosition{StreamId: id[:], Size: edge.Size()})
	}
	return request
}

// catchUp pulls until caught up and gives what came, in order.
func (p *puller) catchUp(conn *grpc.ClientConn) []string {
	p.t.Helper()
	ctx, cancel := context.WithCancel(patient(p.t))
	defer cancel()
	call, err := ententev1.NewExchangeServiceClient(conn).Pull(ctx, p.request())
	p.w.must(err)
	p.trace = nil
	for len(p.trace) == 0 || p.trace[len(p.trace)-1] != "caught up" {
		message, err := call.Recv()
		p.w.must(err)
		p.take(message)
	}
	return p.trace
}

func (p *puller) releases() (held, erased int) {
	for _, entries := range p.entries {
		for _, e := range entries {
			switch {
			case e.Header.Type != ententev1.EntryType_ENTRY_TYPE_RELEASE:
			case e.Payload == nil:
				erased++
			default:
				held++
			}
		}
	}
	return held, erased
}

func TestPullBringsToEachReaderWhatWasReleasedToItAndNothingElse(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pushAll(t, n.system("registry"), person("all", toAll()), person("b", toMembers("XB")), person("c", toMembers("XC")),
		person("project", toProject("harbour")), person("home"))
	tests := []struct {
		reader  member.ID
		streams int
		held    int
	}{
		{"XB", 3, 3}, // all, named, project
		{"XC", 2, 2}, // all, named
		{"COORD", 2, 2},
	}
	for _, test := range tests {
		t.Run(string(test.reader), func(t *testing.T) {
			p := newPuller(t, w, test.reader, "XA")
			p.catchUp(n.peer(test.reader))
			held, _ := p.releases()
			if len(p.readers) != test.streams || held != test.held {
				t.Errorf("want %d streams with %d releases, got %d with %d", test.streams, test.held, len(p.readers), held)
			}
			heads, err := ententev1.NewExchangeServiceClient(n.peer(test.reader)).Heads(patient(t), &ententev1.HeadsRequest{})
			w.must(err)
			if len(heads.GetHeads()) != test.streams {
				t.Errorf("want %d heads, got %d", test.streams, len(heads.GetHeads()))
			}
			heads, err = ententev1.NewExchangeServiceClient(n.peer(test.reader)).Heads(patient(t), &ententev1.HeadsRequest{Digest: p.digest()})
			w.must(err)
			if len(heads.GetHeads()) != 0 || heads.GetDigest() == nil {
				t.Errorf("with equal digests: %v", heads)
			}
		})
	}
}

func TestPullBringsWithdrawalsBeforeReleasesAndNoErasedPayload(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	registry := n.system("registry")
	pushAll(t, registry, person("P-1", toAll()), person("P-2", toAll()), person("P-3", toMembers("XB")))
	pushAll(t, registry, withdrawal("P-1"), withdrawal("P-3"))
	p := newPuller(t, w, "XB", "XA")
	trace := p.catchUp(n.peer("XB"))
	want := "[digest checkpoint withdrawals 1 checkpoint withdrawals 1 entries 4 entries 3 caught up]"
	other := "[digest checkpoint withdrawals 1 checkpoint withdrawals 1 entries 3 entries 4 caught up]"
	if got := fmt.Sprint(trace); got != want && got != other {
		t.Errorf("want %s, got %s", want, got)
	}
	held, erased := p.releases()
	if held != 1 || erased != 2 {
		t.Errorf("want 1 release held and 2 erased, got %d and %d", held, erased)
	}
}

func TestNothingNewIsOneComparisonOfDigests(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	registry := n.system("registry")
	pushAll(t, registry, person("P-1", toAll()), person("P-2", toMembers("XB")))
	p := newPuller(t, w, "XB", "XA")
	p.catchUp(n.peer("XB"))

	p.trace = nil
	call, err := ententev1.NewExchangeServiceClient(n.peer("XB")).Pull(patient(t), &ententev1.PullRequest{Digest: p.digest()})
	w.must(err)
	message, err := call.Recv()
	w.must(err)
	p.take(message)
	pushAll(t, registry, person("P-3", toAll())) // the next thing that comes is the news
	for range 2 {
		message, err = call.Recv()
		w.must(err)
		p.take(message)
	}
	if got := fmt.Sprint(p.trace); got != "[digest checkpoint entries 1]" {
		t.Errorf("got %s", got)
	}

	p.trace = nil
	call, err = ententev1.NewExchangeServiceClient(n.peer("XB")).Pull(patient(t), &ententev1.PullRequest{Digest: make([]byte, 32)})
	w.must(err)
	for {
		message, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		w.must(err)
		p.take(message)
	}
	if got := fmt.Sprint(p.trace); got != "[digest positions needed]" {
		t.Errorf("other digest, no positions: got %s", got)
	}
}

func TestPullResumesFromAnyPosition(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	registry := n.system("registry")
	p := newPuller(t, w, "XB", "XA")
	peer := n.peer("XB")
	for i := range 30 {
		pushAll(t, registry, person(fmt.Sprintf("P-%d", i), toAll()))
		p.catchUp(peer)
	}
	pushAll(t, registry, withdrawal("P-3"))
	p.catchUp(peer)
	held, erased := p.releases()
	if held != 30 || erased != 0 {
		t.Errorf("got %d releases, %d erased", held, erased)
	}
}

func TestAnOpenPullShowsASignOfLife(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", func(c *server.Config) { c.Limits.SignOfLife = time.Millisecond })
	pushAll(t, n.system("registry"), person("P-1", toAll()))
	p := newPuller(t, w, "XB", "XA")
	call, err := ententev1.NewExchangeServiceClient(n.peer("XB")).Pull(patient(t), p.request())
	w.must(err)
	for range 10 {
		message, err := call.Recv()
		w.must(err)
		p.take(message)
	}
	if got := fmt.Sprint(p.trace[:6]); got != "[digest checkpoint entries 2 caught up digest digest]" {
		t.Errorf("got %s", got)
	}
}

func TestPullRequestsThatBreakTheContractAreRefused(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	id := make([]byte, 16)
	tests := []struct {
		name    string
		request *ententev1.PullRequest
	}{
		{"a digest too long", &ententev1.PullRequest{Digest: make([]byte, 33)}},
		{"a stream id too short", &ententev1.PullRequest{PositionsGiven: true, Positions: []*ententev1.StreamPosition{{StreamId: id[:15]}}}},
		{"a stream named twice", &ententev1.PullRequest{PositionsGiven: true, Positions: []*ententev1.StreamPosition{{StreamId: id}, {StreamId: id}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			call, err := ententev1.NewExchangeServiceClient(n.peer("XB")).Pull(patient(t), test.request)
			w.must(err)
			for err == nil {
				_, err = call.Recv()
			}
			wantCode(t, err, codes.InvalidArgument)
		})
	}
}

func TestReceipts(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pushAll(t, n.system("registry"), person("P-1", toMembers("XB")))
	p := newPuller(t, w, "XB", "XA")
	p.catchUp(n.peer("XB"))
	var id stream.ID
	for id = range p.readers {
	}
	edge := p.readers[id].Edge()
	root := edge.Root()
	receipt := func(by member.ID, change func(*ententev1.Receipt)) *ententev1.SignedDocument {
		r := &ententev1.Receipt{Reader: "XB", Owner: "XA", StreamId: id[:], Size: edge.Size(), Root: root[:]}
		change(r)
		body, err := proto.Marshal(r)
		w.must(err)
		return member.SignDocument("receipt", body, by, w.fed.Seat(by).Signing)
	}
	same := func(*ententev1.Receipt) {}
	tests := []struct {
		name string
		from member.ID
		doc  *ententev1.SignedDocument
		want codes.Code
	}{
		{"a receipt of the reader", "XB", receipt("XB", same), codes.OK},
		{"signed by another", "XB", receipt("XC", same), codes.InvalidArgument},
		{"handed over by another", "XC", receipt("XB", same), codes.InvalidArgument},
		{"for another owner", "XB", receipt("XB", func(r *ententev1.Receipt) { r.Owner = "XC" }), codes.InvalidArgument},
		{"for more than there is", "XB", receipt("XB", func(r *ententev1.Receipt) { r.Size += 1 }), codes.InvalidArgument},
		{"for another history", "XB", receipt("XB", func(r *ententev1.Receipt) { r.Root = make([]byte, 32) }), codes.InvalidArgument},
		{"for a stream that is not there", "XB", receipt("XB", func(r *ententev1.Receipt) { r.StreamId = bytes.Repeat([]byte{5}, 16) }), codes.NotFound},
		{"for a stream of another reader", "XC", receipt("XC", func(r *ententev1.Receipt) { r.Reader = "XC" }), codes.NotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ententev1.NewExchangeServiceClient(n.peer(test.from)).SubmitReceipts(patient(t),
				&ententev1.SubmitReceiptsRequest{Receipts: []*ententev1.SignedDocument{test.doc}})
			wantCode(t, err, test.want)
		})
	}
	held, err := ententev1.NewIntakeServiceClient(n.system("registry")).Get(patient(t), &ententev1.GetRequest{Consultation: asking(), ProviderReference: "P-1"})
	w.must(err)
	if got := held.GetRecord().GetDeliveries()[0].GetState(); got != ententev1.DeliveryState_DELIVERY_STATE_DELIVERED {
		t.Errorf("the delivery is %s", got)
	}
}

func TestTheCallersOwnStreamsAreServedAsHeldHere(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	client := ententev1.NewExchangeServiceClient(n.peer("XB"))
	heads, err := client.Heads(patient(t), &ententev1.HeadsRequest{OwnedByCaller: true})
	w.must(err)
	if len(heads.GetHeads()) != 0 || heads.GetDigest() != nil {
		t.Errorf("nothing is held of XB: %v", heads)
	}
	call, err := client.Pull(patient(t), &ententev1.PullRequest{OwnedByCaller: true, PositionsGiven: true})
	w.must(err)
	message, err := call.Recv()
	w.must(err)
	if message.GetCaughtUp() == nil {
		t.Errorf("want caught up, got %v", message)
	}
	_, err = call.Recv()
	if !errors.Is(err, io.EOF) {
		t.Errorf("want the end, got %v", err)
	}
}

func TestReceiptsSentAgainAndAgainFillNoDisk(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pushAll(t, n.system("registry"), person("one", toAll()))
	info := n.ledger.StreamsShared("XA", "XB")[0]
	receipt := &ententev1.Receipt{Reader: "XB", Owner: "XA", StreamId: info.ID[:], Size: info.Size, Root: info.Root[:], SignedAt: timestamppb.Now()}
	for i := range uint64(10000) {
		receipt.Erased = append(receipt.Erased, &ententev1.EntryRef{StreamId: info.ID[:], Sequence: 1<<40 + i})
	}
	body, err := proto.Marshal(receipt)
	w.must(err)
	request := &ententev1.SubmitReceiptsRequest{}
	for range 12 {
		request.Receipts = append(request.Receipts, member.SignDocument("receipt", body, "XB", w.fed.Seat("XB").Signing))
	}
	client := ententev1.NewExchangeServiceClient(n.peer("XB"))
	before := n.ledger.Stats().StoreBytes
	for range 10 {
		_, err = client.SubmitReceipts(patient(t), request)
		w.must(err)
	}
	readers := n.ledger.Readers(info.No)
	if readers[1].Member != "XB" || readers[1].ConfirmedSize != info.Size {
		t.Errorf("readers: %+v", readers)
	}
	if grown := n.ledger.Stats().StoreBytes - before; grown > 4<<20 {
		t.Errorf("the file has grown by %d bytes", grown)
	}
}
