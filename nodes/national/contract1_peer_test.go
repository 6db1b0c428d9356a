package national_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// said is one message of a recorded conversation (testdata/contract-1/record).
type said struct {
	Call   int    `json:"call"`
	Method string `json:"method"`
	From   string `json:"from"`
	Bytes  []byte `json:"bytes"`
}

func readConversation(t *testing.T, path string) []said {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	var all []said
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var one said
		must(t, json.Unmarshal(lines.Bytes(), &one))
		all = append(all, one)
	}
	must(t, lines.Err())
	slices.SortStableFunc(all, func(a, b said) int { return a.Call - b.Call })
	return all
}

// oldContract is the contract as version 1 knew it: whatever is decoded with it must not hold a field that it has no name for.
type oldContract struct{ files *protoregistry.Files }

func readOldContract(t *testing.T) oldContract {
	t.Helper()
	content, err := os.ReadFile("../../proto/testdata/contract-1.binpb")
	must(t, err)
	set := &descriptorpb.FileDescriptorSet{}
	must(t, proto.Unmarshal(content, set))
	files, err := protodesc.NewFiles(set)
	must(t, err)
	return oldContract{files}
}

// check decodes a message as a node of contract 1 does, and names the first field that such a node would not know.
func (c oldContract) check(name protoreflect.FullName, content []byte) error {
	found, err := c.files.FindDescriptorByName("entente.v1." + name)
	if err != nil {
		return err
	}
	m := dynamicpb.NewMessage(found.(protoreflect.MessageDescriptor))
	err = proto.Unmarshal(content, m)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return known(m, string(name))
}

func known(m protoreflect.Message, path string) (err error) {
	if len(m.GetUnknown()) > 0 {
		return fmt.Errorf("%s has a field that contract 1 does not know", path)
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range value.List().Len() {
				err = errors.Join(err, known(value.List().Get(i).Message(), fmt.Sprintf("%s.%s[%d]", path, field.Name(), i)))
			}
		default:
			err = known(value.Message(), path+"."+string(field.Name()))
		}
		return err == nil
	})
	return err
}

// raw passes messages on as they are.
type raw struct{}

func (raw) Name() string                    { return "proto" }
func (raw) Marshal(v any) ([]byte, error)   { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = slices.Clone(b); return nil }

// oldPeer is the node of XA as it was recorded, of a program that speaks contract 1.
type oldPeer struct {
	t        *testing.T
	contract oldContract
	pair     tls.Certificate
	signing  ed25519.PrivateKey
	answers  []said // of XA, called
	requests []said // of XA, calling

	mu       sync.Mutex // covers what follows
	receipts map[stream.ID]uint64
	faults   []error
	news     chan struct{} // gets one value for each call of SubmitReceipts
}

// tls shows XA's certificate, and demands one of the other side.
func (p *oldPeer) tls() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{p.pair}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // by host name and the system's roots; VerifyConnection looks who it is
		VerifyConnection: func(state tls.ConnectionState) error {
			uris := state.PeerCertificates[0].URIs
			if len(uris) != 1 || uris[0].String() != "spiffe://xb.entente/node" {
				return fmt.Errorf("another than XB's node: %v", uris)
			}
			return nil
		},
	})
}

// serve answers calls as XA did until the test ends.
func (p *oldPeer) serve(lis net.Listener) {
	s := grpc.NewServer(grpc.Creds(p.tls()), grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(p.answer))
	p.t.Cleanup(s.Stop)
	go func() { _ = s.Serve(lis) }() // ends with Stop; a test that nobody answers fails by itself
}

// fault notes what is wrong in a goroutine of the server, for the test to report.
func (p *oldPeer) fault(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, err)
	return err
}

func (p *oldPeer) answer(_ any, call grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(call)
	short := method[strings.LastIndex(method, "/")+1:]
	var request []byte
	err := call.RecvMsg(&request)
	if err != nil {
		return err
	}
	if short == "SubmitReceipts" {
		return p.takeReceipts(request, call)
	}
	shape, err := shapeOf(short, request)
	if err != nil {
		return p.fault(err)
	}
	number := 0
	for _, one := range p.answers {
		if one.From != "caller" || one.Method != method {
			continue
		}
		recorded, err := shapeOf(short, one.Bytes)
		if err != nil {
			return p.fault(err)
		}
		if recorded == shape {
			number = one.Call
		}
	}
	if number == 0 {
		return status.Error(codes.Unimplemented, "not in the recording: "+short)
	}
	for _, one := range p.answers {
		if one.Call != number || one.From != "called" {
			continue
		}
		err = call.SendMsg(&one.Bytes)
		if err != nil {
			return err
		}
	}
	if short == "Pull" && shape == "from positions" {
		<-call.Context().Done() // it goes on for as long as there may be news
	}
	return nil
}

// shapeOf is what a node of contract 1 looks at to choose its answer.
func shapeOf(method string, request []byte) (string, error) {
	switch method {
	case "Pull":
		m := &ententev1.PullRequest{}
		err := proto.Unmarshal(request, m)
		switch {
		case m.GetOwnedByCaller():
			return "the caller's own", err
		case m.GetPositionsGiven():
			return "from positions", err
		}
		return "by digest", err
	case "Heads":
		m := &ententev1.HeadsRequest{}
		err := proto.Unmarshal(request, m)
		return fmt.Sprint("own: ", m.GetOwnedByCaller()), err
	}
	return "", nil
}

func (p *oldPeer) takeReceipts(request []byte, call grpc.ServerStream) error {
	err := p.contract.check("SubmitReceiptsRequest", request)
	if err != nil {
		return p.fault(err)
	}
	m := &ententev1.SubmitReceiptsRequest{}
	err = proto.Unmarshal(request, m)
	if err != nil {
		return p.fault(err)
	}
	for _, doc := range m.GetReceipts() {
		err = p.contract.check("Receipt", doc.GetBody())
		if err != nil {
			return p.fault(err)
		}
		receipt := &ententev1.Receipt{}
		err = proto.Unmarshal(doc.GetBody(), receipt)
		if err != nil {
			return p.fault(err)
		}
		p.mu.Lock()
		p.receipts[stream.ID(receipt.GetStreamId())] = receipt.GetSize()
		p.mu.Unlock()
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
	return call.SendMsg(&[]byte{})
}

// taken gives the receipts that XB has sent, and what was wrong with what it sent.
func (p *oldPeer) taken() (map[stream.ID]uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sizes := map[stream.ID]uint64{}
	for id, size := range p.receipts {
		sizes[id] = size
	}
	return sizes, errors.Join(p.faults...)
}

// pulled is what the puller has of XB.
type pulled struct {
	released  []*ententev1.ReleasedRecord
	withdrawn int
	heads     map[stream.ID]stream.Checkpoint
}

// call makes a recorded request.
func (p *oldPeer) call(ctx context.Context, conn *grpc.ClientConn, method string, request []byte) grpc.ClientStream {
	p.t.Helper()
	call, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.ForceCodec(raw{}))
	must(p.t, err)
	must(p.t, call.SendMsg(&request))
	must(p.t, call.CloseSend())
	return call
}

// ask makes a recorded request and decodes the answers as contract 1 does; it ends with the last or the first for which
// enough says so.
func (p *oldPeer) ask(call grpc.ClientStream, answer protoreflect.FullName, enough func([]byte) bool) {
	p.t.Helper()
	for {
		var content []byte
		err := call.RecvMsg(&content)
		if errors.Is(err, io.EOF) {
			return
		}
		must(p.t, err)
		must(p.t, p.contract.check(answer, content))
		if enough(content) {
			return
		}
	}
}

// take puts a message of a pull where a node of contract 1 puts it, and says whether it was the one that ends catching up.
func (p *oldPeer) take(into *pulled, keys []ed25519.PublicKey, content []byte) bool {
	p.t.Helper()
	m := &ententev1.PullResponse{}
	must(p.t, proto.Unmarshal(content, m))
	if digest := m.GetDigest(); digest != nil {
		must(p.t, p.contract.check("HeadsDigest", digest.GetBody()))
	}
	if head := m.GetCheckpoint(); head != nil {
		id := stream.ID(head.GetStreamId())
		checkpoint, err := stream.OpenCheckpoint(head.GetCheckpoint(), "XB", id, keys)
		must(p.t, err)
		into.heads[id] = checkpoint
	}
	into.withdrawn += len(m.GetWithdrawals().GetWithdrawals())
	for _, entry := range m.GetEntries().GetEntries() {
		header, err := stream.ParseHeader(entry.GetHeader())
		must(p.t, err)
		if header.Type != ententev1.EntryType_ENTRY_TYPE_RELEASE || len(entry.GetPayload()) == 0 {
			continue
		}
		must(p.t, p.contract.check("StreamPayload", entry.GetPayload()))
		payload := &ententev1.StreamPayload{}
		must(p.t, proto.Unmarshal(entry.GetPayload(), payload))
		must(p.t, p.contract.check("ReleasedRecord", payload.GetReleasedRecord()))
		record := &ententev1.ReleasedRecord{}
		must(p.t, proto.Unmarshal(payload.GetReleasedRecord(), record))
		into.released = append(into.released, record)
	}
	return m.GetCaughtUp() != nil
}

// sign makes receipts for all that was pulled.
func (p *oldPeer) sign(from *pulled, at *timestamppb.Timestamp) []byte {
	p.t.Helper()
	request := &ententev1.SubmitReceiptsRequest{}
	for id, head := range from.heads {
		body, err := proto.Marshal(&ententev1.Receipt{Reader: "XA", Owner: "XB", StreamId: id[:], Size: head.Size, Root: head.Root[:], SignedAt: at})
		must(p.t, err)
		must(p.t, p.contract.check("Receipt", body))
		request.Receipts = append(request.Receipts, member.SignDocument("receipt", body, "XA", p.signing))
	}
	content, err := proto.Marshal(request)
	must(p.t, err)
	must(p.t, p.contract.check("SubmitReceiptsRequest", content))
	return content
}
