package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// fakeNode is a node of XA: real gRPC over real TLS, with a memory of references and a small fixed content.
type fakeNode struct {
	ententev1.UnimplementedIntakeServiceServer
	ententev1.UnimplementedStreamServiceServer
	ententev1.UnimplementedNetworkServiceServer
	ententev1.UnimplementedAdminServiceServer
	ententev1.UnimplementedAuditServiceServer

	mu      sync.Mutex
	items   []*ententev1.PushItem
	known   map[string]bool
	asked   *ententev1.Consultation
	release *ententev1.ReleaseRequest
	status  *ententev1.GetStatusResponse // nil: a small one
	cursors [][]byte

	requests []proto.Message       // of short calls and of calls that are answered in parts, as they came
	person   *ententev1.HeldRecord // what Get and List answer; nil: a small one
	trail    []*ententev1.ReadTrailResponse
}

func referenceOf(item *ententev1.PushItem) string {
	if w := item.GetWithdrawal(); w != nil {
		return w.GetProviderReference()
	}
	return item.GetRecord().GetEnvelope().GetProviderReference()
}

func (f *fakeNode) Push(call grpc.BidiStreamingServer[ententev1.PushRequest, ententev1.PushResponse]) error {
	for {
		request, err := call.Recv()
		if err != nil {
			return nil
		}
		response := &ententev1.PushResponse{Batch: request.GetBatch()}
		f.mu.Lock()
		for _, item := range request.GetItems() {
			response.Verdicts = append(response.Verdicts, f.take(item))
		}
		f.mu.Unlock()
		err = call.Send(response)
		if err != nil {
			return err
		}
	}
}

func (f *fakeNode) take(item *ententev1.PushItem) *ententev1.Verdict {
	f.items = append(f.items, item)
	reference := referenceOf(item)
	v := &ententev1.Verdict{Outcome: ententev1.Outcome_OUTCOME_ACCEPTED, ProviderReference: reference}
	switch {
	case strings.HasPrefix(reference, "BAD"):
		v.Outcome = ententev1.Outcome_OUTCOME_REJECTED
		v.Violations = []*ententev1.FieldViolation{{Field: "envelope.purpose", Reason: "is required"}}
	case f.known[reference]:
		v.Outcome = ententev1.Outcome_OUTCOME_DUPLICATE
	}
	f.known[reference] = true
	return v
}

func (f *fakeNode) Get(_ context.Context, r *ententev1.GetRequest) (*ententev1.GetResponse, error) {
	f.asked = r.GetConsultation()
	if r.GetProviderReference() != "P-1" && !bytes.Equal(r.GetRecordId(), id(1)) {
		return nil, status.Error(codes.NotFound, "no such record")
	}
	if f.person != nil {
		return &ententev1.GetResponse{Record: f.person}, nil
	}
	return &ententev1.GetResponse{Record: heldPerson()}, nil
}

func (f *fakeNode) List(context.Context, *ententev1.ListRequest) (*ententev1.ListResponse, error) {
	if f.person != nil {
		return &ententev1.ListResponse{Records: []*ententev1.HeldRecord{f.person}}, nil
	}
	return &ententev1.ListResponse{Records: []*ententev1.HeldRecord{heldPerson(), heldPerson()}}, nil
}

func (f *fakeNode) Release(_ context.Context, r *ententev1.ReleaseRequest) (*ententev1.ReleaseResponse, error) {
	f.release = r
	response := &ententev1.ReleaseResponse{}
	for _, reference := range r.GetProviderReferences() {
		response.Verdicts = append(response.Verdicts, &ententev1.Verdict{Outcome: ententev1.Outcome_OUTCOME_ACCEPTED, ProviderReference: reference})
	}
	return response, nil
}

func (f *fakeNode) Withdraw(_ context.Context, r *ententev1.WithdrawRequest) (*ententev1.WithdrawResponse, error) {
	return &ententev1.WithdrawResponse{Verdicts: []*ententev1.Verdict{{
		Outcome: ententev1.Outcome_OUTCOME_REJECTED, ProviderReference: r.GetProviderReferences()[0],
		Violations: []*ententev1.FieldViolation{{Field: "provider_references", Reason: "is not known"}},
	}}}, nil
}

func (f *fakeNode) Subscribe(r *ententev1.SubscribeRequest, call grpc.ServerStreamingServer[ententev1.SubscribeResponse]) error {
	f.cursors = append(f.cursors, r.GetCursor())
	record, err := proto.Marshal(&ententev1.ReleasedRecord{RecordId: id(1), Body: person("Varrin\x1b[2J")})
	if err != nil {
		return err
	}
	return call.Send(&ententev1.SubscribeResponse{Current: true, Cursor: []byte("second"), Items: []*ententev1.StreamItem{
		{Owner: "XC", RecordId: id(9), Content: &ententev1.StreamItem_ReleasedRecord{ReleasedRecord: []byte{0xff}}}, // signed nonsense
		{Owner: "XB", RecordId: id(1), Content: &ententev1.StreamItem_ReleasedRecord{ReleasedRecord: record}},
		{Owner: "XB", RecordId: id(1), Content: &ententev1.StreamItem_Withdrawal{Withdrawal: &ententev1.WithdrawalNotice{
			Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_RELEASED_IN_ERROR}}},
	}})
}

func (f *fakeNode) GetView(context.Context, *ententev1.GetViewRequest) (*ententev1.GetViewResponse, error) {
	return &ententev1.GetViewResponse{
		View: viewInfo(), Entities: []*ententev1.ViewEntity{entity(1, "Teodor Varrin"), entity(2, "Ilra Moskel")},
		Associations: []*ententev1.ViewAssociation{{FromEntityId: id(1), ToEntityId: id(2),
			Kind: ententev1.AssociationKind_ASSOCIATION_KIND_FINANCES}},
	}, nil
}

func (f *fakeNode) GetEntity(_ context.Context, r *ententev1.GetEntityRequest) (*ententev1.GetEntityResponse, error) {
	return &ententev1.GetEntityResponse{View: viewInfo(), Entity: entity(r.GetHandle()[0], "Teodor Varrin")}, nil
}

func (f *fakeNode) Watch(_ *ententev1.WatchRequest, call grpc.ServerStreamingServer[ententev1.WatchResponse]) error {
	err := call.Send(&ententev1.WatchResponse{View: viewInfo(), ChangedEntities: []*ententev1.ViewEntity{entity(1, "Teodor Varrin")}})
	if err != nil {
		return err
	}
	return status.Error(codes.PermissionDenied, "the grant has ended")
}

// library is apart from fakeNode because its methods have the names of those of intake.
type library struct {
	ententev1.UnimplementedLibraryServiceServer
}

func (library) List(context.Context, *ententev1.LibraryServiceListRequest) (*ententev1.LibraryServiceListResponse, error) {
	return &ententev1.LibraryServiceListResponse{Items: []*ententev1.LibraryItem{practice()}}, nil
}

func (library) Get(context.Context, *ententev1.LibraryServiceGetRequest) (*ententev1.LibraryServiceGetResponse, error) {
	return &ententev1.LibraryServiceGetResponse{Item: practice()}, nil
}

func (f *fakeNode) GetStatus(context.Context, *ententev1.GetStatusRequest) (*ententev1.GetStatusResponse, error) {
	if f.status != nil {
		return f.status, nil
	}
	return &ententev1.GetStatusResponse{Member: "XA", Records: 7, Peers: []*ententev1.PeerStatus{{Member: "XB", Connected: true}}}, nil
}

func id(n byte) []byte { return append([]byte{n}, make([]byte, 15)...) }

func person(family string) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
		Names:        []*ententev1.PersonName{{Given: "Teodor", Family: family}},
		DatesOfBirth: []*ententev1.PartialDate{{Year: 1968, Month: 4}},
	}}}
}

func heldPerson() *ententev1.HeldRecord {
	return &ententev1.HeldRecord{
		RecordId:     id(1),
		Record:       &ententev1.Record{Envelope: &ententev1.Envelope{ProviderReference: "P-1", Version: 2}, Body: person("Varrin")},
		ReleaseState: ententev1.ReleaseState_RELEASE_STATE_RELEASED,
		Audiences:    []*ententev1.Audience{{Readers: &ententev1.Audience_Project{Project: &ententev1.ProjectAudience{ProjectId: "harbour-light", Without: []string{"XC"}}}}},
		Deliveries:   []*ententev1.Delivery{{Member: "XB", State: ententev1.DeliveryState_DELIVERY_STATE_DELIVERED, Entry: &ententev1.EntryRef{StreamId: id(9), Sequence: 4}}},
	}
}

func practice() *ententev1.LibraryItem {
	return &ententev1.LibraryItem{Owner: "XB", Record: &ententev1.ReleasedRecord{RecordId: id(3), Body: &ententev1.Body{
		Kind: &ententev1.Body_GoodPractice{GoodPractice: &ententev1.GoodPractice{
			Context: &ententev1.LessonContext{Title: "Weighing containers twice"}, Tlp: ententev1.Tlp_TLP_AMBER_STRICT, Description: "Weigh again at the gate.",
		}}}}}
}

func viewInfo() *ententev1.ViewInfo {
	return &ententev1.ViewInfo{Hash: []byte{0xab}, Reader: "XA", EntityCount: 2, AssociationCount: 1}
}

func entity(n byte, name string) *ententev1.ViewEntity {
	return &ententev1.ViewEntity{
		EntityId: id(n), Kind: ententev1.RecordKind_RECORD_KIND_PERSON, Facts: []*ententev1.ViewFact{{Field: "name", Value: name, Sources: []uint32{0}}},
		Sources: []*ententev1.ViewSource{{ProviderMember: "XB", RecordId: id(n), Evaluation: &ententev1.Evaluation{SourceCode: "B", InformationCode: "2"}}},
		Roles:   []*ententev1.ViewRole{{Role: ententev1.FunctionalRole_FUNCTIONAL_ROLE_FINANCIER}},
	}
}

// desk is a place to run commands: a node, a configuration for it, and what was written.
type desk struct {
	node   *fakeNode
	folder string
	env    map[string]string
	stdin  string
	tty    bool
}

type result struct {
	out, err string
	failure  error
}

func (d *desk) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(d.folder, name)
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{node: &fakeNode{known: map[string]bool{}}, folder: t.TempDir()}
	authority, err := member.NewAuthority("XA", rand.Reader, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(kind member.Kind, name string) (certificate, key []byte) {
		certificate, key, err := authority.Issue(member.Identity{Member: "XA", Kind: kind, Name: name}, rand.Reader, time.Now(), time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		return certificate, key
	}
	certificate, key := issue(member.KindNode, "")
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	address := d.serve(t, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool()})
	certificate, key = issue(member.KindSystem, "registry")
	d.write(t, "c.pem", string(certificate))
	d.write(t, "k.pem", string(key))
	d.write(t, "a.pem", string(member.EncodeCertificate(authority.Certificate())))
	config := "address: " + address + "\nmember: XA\ncertificate: c.pem\nkey: k.pem\nauthorities: a.pem\n"
	d.write(t, "bare.yaml", config)
	d.env = map[string]string{"ENTENTE_CONFIG": d.write(t, "config.yaml", config+"purpose: criminal-investigation\ncase: HL-7\n")}
	return d
}

func (d *desk) serve(t *testing.T, settings *tls.Config) string {
	t.Helper()
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(settings)), grpc.UnaryInterceptor(d.node.note), grpc.StreamInterceptor(d.node.noteStream))
	ententev1.RegisterIntakeServiceServer(server, d.node)
	ententev1.RegisterStreamServiceServer(server, d.node)
	ententev1.RegisterNetworkServiceServer(server, d.node)
	ententev1.RegisterLibraryServiceServer(server, library{})
	ententev1.RegisterAdminServiceServer(server, d.node)
	ententev1.RegisterAuditServiceServer(server, d.node)
	healthv1.RegisterHealthServer(server, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		running.Wait()
	})
	return listener.Addr().String()
}

func (d *desk) run(t *testing.T, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	env := Env{
		Stdin: strings.NewReader(d.stdin), Stdout: &out, Stderr: &err, Now: time.Now, IsTerminal: d.tty,
		Getenv: func(name string) string { return d.env[name] },
	}
	root := &cobra.Command{Use: "entente", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands(env)...)
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	failure := root.ExecuteContext(ctx)
	return result{out.String(), err.String(), failure}
}
