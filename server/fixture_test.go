package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// world is a federation of XA, XB, XC and COORD with one open project "harbour" of XA, XB and COORD.
type world struct {
	t    testing.TB
	fed  *federation.Federation
	docs []*ententev1.SignedDocument // of the project

	mu     sync.Mutex // covers what tests change while nodes run
	dir    *ledger.Directory
	grants policy.Grants
	late   time.Duration // how far ahead the nodes' clock is
	nodes  map[member.ID]*node
}

// calls is how nodes of the world ask each other.
type calls struct{ w *world }

func (c calls) Exchange(_ context.Context, id member.ID) (ententev1.ExchangeServiceClient, error) {
	return nil, errors.New("nobody asks " + string(id) + " in this test")
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, grants: defaultGrants(), nodes: map[member.ID]*node{}}
	var err error
	w.fed, err = federation.Found([]member.ID{"COORD", "XA", "XB", "XC"}, []member.ID{"COORD"}, rand.Reader, time.Now, 24*time.Hour)
	w.must(err)
	roster, err := w.fed.Roster()
	w.must(err)
	docs, project, err := w.fed.Project(roster, "harbour", "Harbour", "XA", "XB", "COORD")
	w.must(err)
	w.docs = docs
	w.dir = &ledger.Directory{Roster: roster, Projects: map[string]*member.Project{"harbour": project}}
	return w
}

// defaultGrants are the same at every node of these tests.
func defaultGrants() policy.Grants {
	investigate := []ententev1.Purpose{ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION}
	const all = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
	return policy.Grants{
		Systems: map[string]policy.System{
			"registry": {Authority: "Police", Projects: []string{policy.AllProjects}, Permit: true, Clearance: all},
			"customs":  {Authority: "Customs", Clearance: all},
			"team":     {Projects: []string{"harbour"}, Clearance: all},
		},
		Officers: map[string]policy.Officer{
			"ann": {Purposes: investigate, Projects: []string{policy.AllProjects}, Clearance: all, Approve: true},
			"bob": {Purposes: investigate, Projects: []string{"harbour"}, Clearance: all, Approve: true},
		},
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) directory() *ledger.Directory {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dir
}

func (w *world) granted() policy.Grants {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.grants
}

func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.late)
}

// node is one running node on a loopback socket.
type node struct {
	*server.Server
	w       *world
	id      member.ID
	ledger  *ledger.Ledger
	trail   *audit.Log
	address string
	file    store.Options // of the data file, to open it again after stop
	stop    func()        // ends the server and then the ledger; waits
}

// start runs a node with a fresh data file; configure may change its configuration.
func (w *world) start(id member.ID, configure ...func(*server.Config)) *node {
	w.t.Helper()
	opts := store.Options{
		Path: filepath.Join(w.t.TempDir(), "node.db"), Keys: store.Keyring{Current: bytes.Repeat([]byte{7}, 32)},
		Now: time.Now, Rand: rand.Reader, InitialMmap: 1 << 30,
	}
	w.must(store.Create(opts, []byte(id)))
	file, err := store.Open(opts)
	w.must(err)
	held := w.hold(id, file, slog.New(slog.DiscardHandler))
	certificate, err := w.fed.Certificate(member.Identity{Member: id, Kind: member.KindNode})
	w.must(err)
	cfg := server.Config{
		Self: id, Ledger: held.ledger, Directory: w.directory, Grants: w.granted, Trail: held.trail, Honey: held.honey, Expiry: w.expiry,
		Profile: policy.DefaultProfile(), Audit: calls{w},
		TLS: member.ServerTLS(fixed(certificate), func() *member.Roster { return w.directory().Roster }, id),
		Now: w.now, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler),
		CursorKey: bytes.Repeat([]byte{9}, 32), Version: "test",
		ProjectDocuments: func(string) []*ententev1.SignedDocument { return w.docs },
	}
	for _, change := range configure {
		change(&cfg)
	}
	served, err := server.New(cfg)
	w.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	n := &node{Server: served, w: w, id: id, ledger: held.ledger, trail: held.trail, address: listener.Addr().String(), file: opts}
	n.stop = run(w, held.ledger, served, file, listener)
	w.change(func() { w.nodes[id] = n })
	w.t.Cleanup(n.stop)
	return n
}

// parts is what a node keeps in its data file.
type parts struct {
	ledger *ledger.Ledger
	trail  *audit.Log
	honey  *audit.Honey
}

func (w *world) expiry() policy.ExpiryClock {
	return policy.ExpiryClock{Hide: w.now(), Erase: w.now()}
}

// hold opens what a node keeps, with the policy of a node.
func (w *world) hold(id member.ID, file *store.Store, logger *slog.Logger) parts {
	w.t.Helper()
	seat := w.fed.Seat(id)
	trail, err := audit.Open(file, audit.Config{
		Self: id, Now: w.now, Rand: rand.Reader, SigningKey: func() ed25519.PrivateKey { return seat.Signing },
		VerifyingKeys: func(of member.ID) []ed25519.PublicKey { return w.directory().Roster.VerifyingKeys(of) },
	})
	w.must(err)
	held, err := ledger.Open(file, ledger.Config{
		Self: id, IDKey: seat.IDKey, SigningKey: seat.Signing, Directory: w.directory,
		CheckRecord: policy.CheckRecord, CheckRelease: policy.CheckRelease, Treat: policy.Treat, Compatible: policy.Compatible,
		CheckAudience: func(r *ententev1.Record, a *ententev1.Audience) []*ententev1.FieldViolation {
			return append(policy.CheckSpecial(policy.LabelOfRecord(r), a), policy.CheckTreatment(a.GetTreatment(), ledger.KindOf(r.GetBody()))...)
		},
		Sensitive: func(r *ententev1.Record) uint8 { return policy.Grounds(policy.LabelOfRecord(r)) }, SecondPerson: policy.MayApprove,
		Renewable: policy.DefaultProfile().Renewable, Trail: trail,
		Expiry: func() (hide, erase time.Time) { return w.expiry().Hide, w.expiry().Erase },
		Now:    w.now, Rand: rand.Reader, Logger: logger,
	})
	w.must(err)
	trail.Bind(held.Commit)
	honey, err := audit.OpenHoney(file, held.Commit)
	w.must(err)
	return parts{held, trail, honey}
}

func run(w *world, held *ledger.Ledger, served *server.Server, file *store.Store, listener net.Listener) func() {
	serving, stopServing := context.WithCancel(context.Background())
	holding, stopHolding := context.WithCancel(context.Background())
	var servers, ledgers sync.WaitGroup
	servers.Go(func() {
		err := served.Run(serving, listener)
		if err != nil {
			w.t.Errorf("serve: %v", err)
		}
	})
	ledgers.Go(func() {
		err := held.Run(holding)
		if err != nil {
			w.t.Errorf("hold: %v", err)
		}
	})
	return sync.OnceFunc(func() {
		stopServing()
		servers.Wait()
		stopHolding()
		ledgers.Wait()
		err := file.Close()
		if err != nil {
			w.t.Errorf("close: %v", err)
		}
	})
}

func fixed(certificate *tls.Certificate) member.CertificateSource {
	return func() (*tls.Certificate, error) { return certificate, nil }
}

// dial connects an identity of the federation to the node.
func (n *node) dial(kind member.Kind, of member.ID, name string) *grpc.ClientConn {
	n.w.t.Helper()
	certificate, err := n.w.fed.Certificate(member.Identity{Member: of, Kind: kind, Name: name})
	n.w.must(err)
	var config *tls.Config
	if kind == member.KindNode {
		config = member.NodeClientTLS(fixed(certificate), func() *member.Roster { return n.w.directory().Roster }, n.id)
	} else {
		config = member.OwnClientTLS(fixed(certificate), n.w.fed.Seat(n.id).Authority.Pool(), n.id)
	}
	conn, err := grpc.NewClient("passthrough:///"+n.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	n.w.must(err)
	n.w.t.Cleanup(func() { conn.Close() })
	return conn
}

func (n *node) system(name string) *grpc.ClientConn  { return n.dial(member.KindSystem, n.id, name) }
func (n *node) officer(name string) *grpc.ClientConn { return n.dial(member.KindOfficer, n.id, name) }
func (n *node) peer(of member.ID) *grpc.ClientConn   { return n.dial(member.KindNode, of, "") }

// patient is a context that ends a test which would hang.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func wantCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Fatalf("want %s, got %v", want, err)
	}
}

func asking() *ententev1.Consultation {
	return &ententev1.Consultation{Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, CaseReference: "case 1"}
}

// askingAs is asking on behalf of an officer: what another member's node passes on names one.
func askingAs(officer string) *ententev1.Consultation {
	c := asking()
	c.Officer = officer
	return c
}

// secret stands in records; no error may repeat it.
const secret = "Zz-secret-Zz"

func personRecord(reference string, version uint64) *ententev1.Record {
	return &ententev1.Record{
		Envelope: &ententev1.Envelope{
			ProviderReference: reference, Version: version,
			RecordedAt:  &timestamppb.Timestamp{Seconds: 1_790_000_000},
			RetainUntil: &timestamppb.Timestamp{Seconds: 1_940_000_000},
			Purpose:     ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
			Assertion:   ententev1.AssertionKind_ASSERTION_KIND_FACT,
			Evaluation: &ententev1.Evaluation{
				Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: "B", InformationCode: "2",
			},
			Handling: &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H0}},
		},
		CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Names: []*ententev1.PersonName{{Family: secret}}, Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT,
		}}},
	}
}

func item(record *ententev1.Record, audiences ...*ententev1.Audience) *ententev1.PushItem {
	return &ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: record}, Audiences: audiences}
}

func person(reference string, audiences ...*ententev1.Audience) *ententev1.PushItem {
	return item(personRecord(reference, 1), audiences...)
}

func practice(reference string, audiences ...*ententev1.Audience) *ententev1.PushItem {
	record := personRecord(reference, 1)
	record.Body = &ententev1.Body{Kind: &ententev1.Body_GoodPractice{GoodPractice: &ententev1.GoodPractice{
		State: ententev1.LessonState_LESSON_STATE_VALIDATED, Context: &ententev1.LessonContext{Title: "Practice " + reference},
		Tlp: ententev1.Tlp_TLP_GREEN, Sanitised: true, Description: "how",
	}}}
	return item(record, audiences...)
}

func withdrawal(reference string) *ententev1.PushItem {
	return &ententev1.PushItem{Content: &ententev1.PushItem_Withdrawal{Withdrawal: &ententev1.PushWithdrawal{
		ProviderReference: reference, Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION,
	}}}
}

func toAll() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{}}}
}

func toProject(project string) *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Project{Project: &ententev1.ProjectAudience{ProjectId: project}}}
}

func toMembers(members ...string) *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: members}}}
}

// push pushes items in one message and gives the verdicts.
func push(t testing.TB, conn *grpc.ClientConn, items ...*ententev1.PushItem) []*ententev1.Verdict {
	t.Helper()
	call, err := ententev1.NewIntakeServiceClient(conn).Push(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	err = call.Send(&ententev1.PushRequest{Batch: 1, Items: items})
	if err != nil {
		t.Fatal(err)
	}
	response, err := call.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return response.GetVerdicts()
}

// pushAll is push where every item is to be taken.
func pushAll(t testing.TB, conn *grpc.ClientConn, items ...*ententev1.PushItem) {
	t.Helper()
	for _, verdict := range push(t, conn, items...) {
		if verdict.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			t.Fatalf("%s: %v", verdict.GetProviderReference(), verdict)
		}
	}
}
