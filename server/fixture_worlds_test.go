package server_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// ground is what many small worlds stand on: one federation of XA, XB, XC, XD and COORD with its keys, certificates and
// roster, and the projects "harbour" (XA, XB, COORD) and "quay" (XA, XC, COORD). It is made once, since keys are dear.
type ground struct {
	fed     *federation.Federation
	roster  *member.Roster
	harbour project
	quay    project
	start   time.Time // when each world begins

	mu           sync.Mutex // covers certificates
	certificates map[member.Identity]*tls.Certificate
}

// project is a project with the chain of its documents.
type project struct {
	*member.Project
	docs []*ententev1.SignedDocument
}

func newGround(t testing.TB) *ground {
	t.Helper()
	g := &ground{certificates: map[member.Identity]*tls.Certificate{}, start: time.Now().UTC().Truncate(time.Second).Add(time.Second)}
	members := []member.ID{"COORD", "XA", "XB", "XC", "XD"}
	var err error
	g.fed, err = federation.Found(members, []member.ID{"COORD"}, rand.Reader, func() time.Time { return g.start.Add(-time.Second) }, 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	g.roster, err = g.fed.Roster()
	if err != nil {
		t.Fatal(err)
	}
	g.harbour = g.project(t, "harbour", "XA", "XB", "COORD")
	g.quay = g.project(t, "quay", "XA", "XC", "COORD")
	return g
}

func (g *ground) project(t testing.TB, id string, participants ...member.ID) project {
	t.Helper()
	docs, p, err := g.fed.Project(g.roster, id, id, participants...)
	if err != nil {
		t.Fatal(err)
	}
	return project{p, docs}
}

func (g *ground) certificate(t testing.TB, who member.Identity) *tls.Certificate {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.certificates[who] == nil {
		certificate, err := g.fed.Certificate(who)
		if err != nil {
			t.Fatal(err)
		}
		g.certificates[who] = certificate
	}
	return g.certificates[who]
}

// half is one of the two worlds of a pair. Its clock stands still but where the test moves it, so that both halves have the
// same time at the same visible step.
type half struct {
	t     testing.TB
	g     *ground
	clock atomic.Int64 // seconds since ground.start
	ids   atomic.Uint64
	dir   atomic.Pointer[ledger.Directory]
	docs  map[string][]*ententev1.SignedDocument
	sites map[member.ID]*site
	plant planted // a leak that a test plants

	untraced atomic.Bool // the trails of all nodes cannot be written
}

// site is one member's node in a half. Where nobody asks it over the network it is a ledger and no more.
type site struct {
	h      *half
	id     member.ID
	ledger *ledger.Ledger
	trail  *audit.Log
	honey  *audit.Honey
	merged *merging // at COORD

	address string // of the server; empty: there is none
	conns   map[member.Identity]*grpc.ClientConn
	stop    func()
}

var errUnwritten = errors.New("the trail cannot be written")

// guarded is the trail as the ledger writes it, until it cannot be written any more.
type guarded struct {
	*audit.Log
	h *half
}

func (g guarded) Append(tx *store.Tx, entries []*ententev1.AuditEntry) (func(), error) {
	if g.h.untraced.Load() {
		return nil, errUnwritten
	}
	return g.Log.Append(tx, entries)
}

func newHalf(t testing.TB, g *ground) *half {
	h := &half{t: t, g: g, docs: map[string][]*ententev1.SignedDocument{"harbour": g.harbour.docs}, sites: map[member.ID]*site{}}
	h.dir.Store(&ledger.Directory{Roster: g.roster, Projects: map[string]*member.Project{"harbour": g.harbour.Project}})
	return h
}

func (h *half) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *half) now() time.Time { return h.g.start.Add(time.Duration(h.clock.Load()) * time.Second) }

// Read is the randomness of a half: unpredictable, but that the ids of streams (16 bytes, the only ones drawn at that length)
// grow with each that is drawn. Answers list streams by id; so their order is the order of creation in both halves, and not
// another one in each.
func (h *half) Read(p []byte) (int, error) {
	n, err := rand.Read(p)
	if len(p) == 16 && err == nil {
		next := h.ids.Add(1)
		p[0], p[1] = byte(next>>8), byte(next)
	}
	return n, err
}

// openQuay brings the project quay into force, in which XB takes no part.
func (h *half) openQuay() {
	now := h.dir.Load()
	if now.Projects["quay"] != nil {
		return
	}
	h.docs["quay"] = h.g.quay.docs
	h.dir.Store(&ledger.Directory{Roster: now.Roster, Projects: map[string]*member.Project{"harbour": h.g.harbour.Project, "quay": h.g.quay.Project}})
}

// worldGrants are those of every member in these worlds.
func worldGrants() policy.Grants {
	const low, high = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY, ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
	criminal := []ententev1.Purpose{ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION}
	all := []string{policy.AllProjects}
	return policy.Grants{
		Systems: map[string]policy.System{
			"registry": {Authority: "Police", Projects: all, Permit: true, Clearance: high},
			"customs":  {Authority: "Customs", Projects: []string{"harbour"}, Permit: true, Clearance: high},
			"desk":     {Authority: "Border", Grant: true, Projects: []string{"harbour"}, Clearance: high},
		},
		Officers: map[string]policy.Officer{
			"ann": {Purposes: criminal, Projects: all, Clearance: high, Approve: true},
			"low": {Purposes: criminal, Projects: all, Clearance: low, Approve: true},
			"bob": {Purposes: criminal, Projects: []string{"harbour"}, Clearance: high},
		},
	}
}

// site gives the member's node, with a ledger that runs.
func (h *half) site(id member.ID) *site {
	h.t.Helper()
	if h.sites[id] == nil {
		h.sites[id] = h.open(id)
	}
	return h.sites[id]
}

func (h *half) open(id member.ID) *site {
	h.t.Helper()
	opts := store.Options{Path: filepath.Join(h.t.TempDir(), "node.db"), Keys: store.Keyring{Current: bytes.Repeat([]byte{7}, 32)},
		Now: h.now, Rand: rand.Reader, InitialMmap: 1 << 24}
	h.must(store.Create(opts, []byte(id)))
	file, err := store.Open(opts)
	h.must(err)
	s := &site{h: h, id: id, conns: map[member.Identity]*grpc.ClientConn{}}
	seat := h.g.fed.Seat(id)
	s.trail, err = audit.Open(file, audit.Config{Self: id, Now: h.now, Rand: rand.Reader,
		SigningKey: func() ed25519.PrivateKey { return seat.Signing }, VerifyingKeys: h.g.roster.VerifyingKeys})
	h.must(err)
	s.ledger, err = ledger.Open(file, h.ledgerConfig(s))
	h.must(err)
	s.trail.Bind(func(ctx context.Context, do func(tx *store.Tx) (func(), error)) error {
		if h.untraced.Load() {
			return errUnwritten
		}
		return s.ledger.Commit(ctx, do)
	})
	s.honey, err = audit.OpenHoney(file, s.ledger.Commit)
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.ledger.Run(ctx) }()
	s.stop = func() {
		cancel()
		err := errors.Join(<-ended, file.Close())
		if err != nil {
			h.t.Errorf("stop the ledger of %s: %v", id, err)
		}
	}
	return s
}

func (h *half) ledgerConfig(s *site) ledger.Config {
	seat := h.g.fed.Seat(s.id)
	return ledger.Config{
		Self: s.id, IDKey: seat.IDKey, SigningKey: seat.Signing, Directory: h.dir.Load,
		CheckRecord: policy.CheckRecord, CheckRelease: policy.CheckRelease, Treat: policy.Treat, Compatible: policy.Compatible,
		CheckAudience: func(r *ententev1.Record, a *ententev1.Audience) []*ententev1.FieldViolation {
			return append(policy.CheckSpecial(policy.LabelOfRecord(r), a), policy.CheckTreatment(a.GetTreatment(), ledger.KindOf(r.GetBody()))...)
		},
		Sensitive: func(r *ententev1.Record) uint8 { return policy.Grounds(policy.LabelOfRecord(r)) }, SecondPerson: policy.MayApprove,
		Renewable: policy.DefaultProfile().Renewable, Trail: guarded{s.trail, h},
		Now: h.now, Rand: h, Logger: slog.New(slog.DiscardHandler),
	}
}

// serve puts a server before the member's ledger, on a loopback socket with TLS.
func (s *site) serve() *site {
	h := s.h
	h.t.Helper()
	if s.address != "" {
		return s
	}
	served, err := server.New(s.config())
	h.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- served.Run(ctx, listener) }()
	stopLedger := s.stop
	s.stop = func() {
		for _, conn := range s.conns {
			conn.Close() // the server ends the calls anyway
		}
		cancel()
		err := <-ended
		if err != nil {
			h.t.Errorf("stop the server of %s: %v", s.id, err)
		}
		stopLedger()
	}
	return s
}

func (s *site) config() server.Config {
	h := s.h
	certificate := h.g.certificate(h.t, member.Identity{Member: s.id, Kind: member.KindNode})
	cfg := server.Config{
		Self: s.id, Ledger: s.ledger, Directory: h.dir.Load, Grants: worldGrants, Trail: s.trail, Honey: s.honey,
		Expiry:  func() policy.ExpiryClock { return policy.ExpiryClock{Hide: h.now(), Erase: h.now()} },
		Profile: policy.DefaultProfile(), TLS: member.ServerTLS(fixed(certificate), func() *member.Roster { return h.g.roster }, s.id),
		Now: h.now, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler), CursorKey: bytes.Repeat([]byte{9}, 32), Version: "test",
		ProjectDocuments: func(id string) []*ententev1.SignedDocument { return h.docs[id] },
		Limits:           server.Limits{WatchInterval: time.Millisecond},
	}
	if s.id == "COORD" {
		s.merged = newMerging(s.ledger)
		cfg.View = s.merged
	}
	if h.plant.configure != nil {
		h.plant.configure(&cfg)
	}
	return cfg
}

// as is a connection of an identity to the node; one for each identity.
func (s *site) as(kind member.Kind, of member.ID, name string) *grpc.ClientConn {
	s.h.t.Helper()
	who := member.Identity{Member: of, Kind: kind, Name: name}
	if s.conns[who] != nil {
		return s.conns[who]
	}
	config := member.OwnClientTLS(fixed(s.h.g.certificate(s.h.t, who)), s.h.g.fed.Seat(s.id).Authority.Pool(), s.id)
	if kind == member.KindNode {
		config = member.NodeClientTLS(fixed(s.h.g.certificate(s.h.t, who)), func() *member.Roster { return s.h.g.roster }, s.id)
	}
	conn, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	s.h.must(err)
	s.conns[who] = conn
	return conn
}

func (h *half) stop() {
	for _, s := range h.sites {
		s.stop()
	}
}

// push has a system of a member push items, and wants them taken. It goes to the ledger directly: what is compared is what
// others are answered.
func (s *site) push(authority string, items ...ledger.Item) {
	h := s.h
	h.t.Helper()
	actor := &ententev1.AuditActor{Member: string(s.id), Kind: member.KindSystem.String(), Name: authority}
	verdicts, err := s.ledger.Push(ledger.WithActor(context.Background(), actor), authority, items)
	h.must(err)
	for _, verdict := range verdicts {
		if verdict.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			h.t.Fatalf("push %s: %v", verdict.GetProviderReference(), verdict)
		}
	}
}

// settle brings every ledger up to date with the streams that it reads, as pulls would, hands receipts over, and brings the
// merged view up to date.
func (h *half) settle() {
	h.t.Helper()
	ids := make([]member.ID, 0, len(h.sites))
	for id := range h.sites {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, to := range ids {
		for _, from := range ids {
			if from != to {
				h.replicate(h.sites[from], h.sites[to])
			}
		}
	}
	coordinator := h.sites["COORD"]
	if coordinator != nil && coordinator.merged != nil {
		h.must(coordinator.merged.catchUp())
	}
}

func (h *half) replicate(from, to *site) {
	h.t.Helper()
	infos := from.ledger.StreamsShared(from.id, to.id)
	readers := make([]*stream.Reader, len(infos))
	for i, info := range infos { // withdrawals of all streams before releases of any
		readers[i] = h.announce(from, to, info)
	}
	for i, info := range infos {
		h.follow(from, to, info, readers[i])
	}
	receipts, err := to.ledger.PendingReceipts(from.id)
	h.must(err)
	for _, receipt := range receipts {
		h.must(from.ledger.AcceptReceipt(context.Background(), receipt, to.id))
	}
	if len(receipts) > 0 {
		h.must(to.ledger.ReceiptsSent(context.Background(), receipts))
	}
}

func (h *half) announce(from, to *site, info ledger.StreamInfo) *stream.Reader {
	h.t.Helper()
	reader, err := h.tryAnnounce(context.Background(), from, to, info)
	h.must(err)
	return reader
}

// tryAnnounce brings the head of a stream and its withdrawals, and tryFollow its entries. They end no test: a server may call them.
func (h *half) tryAnnounce(ctx context.Context, from, to *site, info ledger.StreamInfo) (*stream.Reader, error) {
	reader, err := to.ledger.Reader(from.id, info.ID)
	if err != nil {
		return nil, err
	}
	edge := reader.Edge()
	update := &ententev1.CheckpointUpdate{StreamId: info.ID[:], Checkpoint: info.Checkpoint}
	if edge.Size() > 0 {
		update.Consistency, err = from.ledger.Consistency(info.No, edge.Size(), info.Size)
		if err != nil {
			return nil, err
		}
	}
	_, err = reader.Checkpoint(update, h.g.roster.VerifyingKeys(from.id))
	if err != nil {
		return nil, err
	}
	proven, err := from.ledger.WithdrawalsAfter(info.No, edge.Size(), info.Size, 1000)
	if err != nil {
		return nil, err
	}
	withdrawals, err := reader.Withdrawals(&ententev1.WithdrawalBatch{StreamId: info.ID[:], Withdrawals: proven})
	if err != nil {
		return nil, err
	}
	return reader, to.ledger.ApplyWithdrawals(ctx, from.id, info.ID, withdrawals, info.Checkpoint)
}

func (h *half) follow(from, to *site, info ledger.StreamInfo, reader *stream.Reader) {
	h.t.Helper()
	h.must(h.tryFollow(context.Background(), from, to, info, reader))
}

func (h *half) tryFollow(ctx context.Context, from, to *site, info ledger.StreamInfo, reader *stream.Reader) error {
	edge := reader.Edge()
	if edge.Size() == info.Size {
		return nil
	}
	batch := &ententev1.EntryBatch{StreamId: info.ID[:]}
	var err error
	batch.Entries, err = from.ledger.Entries(info.No, edge.Size()+1, 1000, 1<<20)
	if err != nil {
		return err
	}
	verified, err := reader.Entries(batch, to.ledger.Covered(from.id))
	if err != nil {
		return err
	}
	return to.ledger.ApplyEntries(ctx, from.id, info.ID, verified, reader.Edge(), info.Checkpoint)
}

// receiveUntil is all messages of a server stream and how it ends; until says that a call which stays open has told enough.
func receiveUntil[T any](call grpc.ServerStreamingClient[T], err error, until func(*T) bool) (all []*T, end error) {
	for err == nil {
		var one *T
		one, err = call.Recv()
		if err != nil {
			break
		}
		all = append(all, one)
		if until != nil && until(one) {
			return all, nil
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return all, err
}

// waitingState stands for what of a record waits for a second person, as a decision has to repeat it.
func waitingState(held *ledger.Ledger, id ledger.RecordID) uint64 {
	list, _ := held.ListPending(ledger.RecordID{}, 1<<20)
	for _, one := range list {
		if one.Record == id {
			return one.State
		}
	}
	return 0
}
