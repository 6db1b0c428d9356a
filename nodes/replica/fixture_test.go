package replica

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

const authority = "authority"

// world is a federation with the members' ledgers, each in a file of its own.
type world struct {
	t         *testing.T
	fed       *federation.Federation
	directory atomic.Pointer[ledger.Directory]
	folder    string
}

func newWorld(t *testing.T, ids ...member.ID) *world {
	t.Helper()
	fed, err := federation.Found(ids, nil, rand.Reader, time.Now, 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range fed.Seats {
		s.Addresses = []string{"127.0.0.1:1"}
	}
	w := &world{t: t, fed: fed, folder: t.TempDir()}
	w.reload()
	return w
}

// reload puts a roster in force with what the seats say now.
func (w *world) reload() {
	w.t.Helper()
	roster, err := w.fed.Roster()
	if err != nil {
		w.t.Fatal(err)
	}
	w.directory.Store(&ledger.Directory{Roster: roster})
}

// site is one member's ledger, running.
type site struct {
	w      *world
	id     member.ID
	path   string
	store  *store.Store
	ledger *ledger.Ledger
	stop   context.CancelFunc
	ended  chan error
}

// stopKind is how the site stopped before it is opened.
type stopKind bool

const (
	clean   stopKind = true
	unclean stopKind = false
)

func (w *world) open(id member.ID, how stopKind) *site {
	w.t.Helper()
	return w.openFile(id, filepath.Join(w.folder, string(id)+".db"), how, 0)
}

func (w *world) openFile(id member.ID, path string, how stopKind, confirmWithin time.Duration) *site {
	w.t.Helper()
	opts := store.Options{Path: path, Keys: store.Keyring{Current: bytes.Repeat([]byte{7}, store.KeySize)}, Rand: rand.Reader, InitialMmap: 32 << 20}
	err := store.Create(opts, []byte(id))
	if err != nil && !errors.Is(err, store.ErrExists) {
		w.t.Fatal(err)
	}
	st, err := store.Open(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	seat := w.fed.Seat(id)
	none := func(*ententev1.Record) []*ententev1.FieldViolation { return nil }
	cfg := ledger.Config{Self: id, IDKey: seat.IDKey, SigningKey: seat.Signing, Directory: w.directory.Load, CheckRecord: none, CheckRelease: none,
		Now: time.Now, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler), ConfirmWithin: confirmWithin}
	l, err := ledger.Open(st, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if how == clean {
		cfg.Marker, cfg.MarkerFound = l.HeadsDigest(), true
		l, err = ledger.Open(st, cfg)
		if err != nil {
			w.t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &site{w: w, id: id, path: path, store: st, ledger: l, stop: stop, ended: make(chan error, 1)}
	go func() { s.ended <- l.Run(ctx) }()
	return s
}

func (s *site) close() {
	s.w.t.Helper()
	s.stop()
	err := <-s.ended
	if err != nil {
		s.w.t.Error(err)
	}
	err = s.store.Close()
	if err != nil {
		s.w.t.Error(err)
	}
}

// copyTo copies the closed data file: a backup.
func (s *site) copyTo(path string) string {
	s.w.t.Helper()
	content, err := os.ReadFile(s.path)
	if err != nil {
		s.w.t.Fatal(err)
	}
	path = filepath.Join(s.w.folder, path)
	err = os.WriteFile(path, content, 0o600)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return path
}

func toAll() []*ententev1.Audience {
	return []*ententev1.Audience{{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{}}}}
}

func toMember(id member.ID) []*ententev1.Audience {
	return []*ententev1.Audience{{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: []string{string(id)}}}}}
}

// push takes one version of a record and releases it.
func (s *site) push(reference string, version uint64, audiences []*ententev1.Audience) {
	s.w.t.Helper()
	record := &ententev1.Record{Envelope: &ententev1.Envelope{ProviderReference: reference, Version: version},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{Names: []*ententev1.PersonName{{Family: "Invented " + reference}}}}}}
	verdicts, err := s.ledger.Push(s.w.t.Context(), authority, []ledger.Item{{Record: record, Audiences: audiences}})
	if err != nil {
		s.w.t.Fatal(err)
	}
	if len(verdicts[0].GetViolations()) > 0 {
		s.w.t.Fatalf("push %s: %v", reference, verdicts[0])
	}
}

func (s *site) withdraw(reference string) {
	s.w.t.Helper()
	_, err := s.ledger.Withdraw(s.w.t.Context(), authority, []string{reference}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE)
	if err != nil {
		s.w.t.Fatal(err)
	}
}

// payloads counts the released records of an owner that a site holds, and those that it has erased.
func (s *site) payloads(owner member.ID) (held, erased int) {
	s.w.t.Helper()
	for _, info := range s.ledger.StreamsShared(owner, s.id) {
		entries, err := s.ledger.Follow(info.No, 1, 10000)
		if err != nil {
			s.w.t.Fatal(err)
		}
		for _, e := range entries {
			switch {
			case e.Type != ententev1.EntryType_ENTRY_TYPE_RELEASE:
			case e.Released == nil:
				erased++
			default:
				held++
			}
		}
	}
	return held, erased
}

// same says whether two sites hold the same of what one owns and the other reads.
func same(owner, reader *site) bool {
	return owner.ledger.Digest(owner.id, reader.id) == reader.ledger.Digest(owner.id, reader.id)
}

// journal is a ledger that notes what is applied, in order.
type journal struct {
	*ledger.Ledger
	lines list[string]
	mu    sync.Mutex
	next  map[stream.ID]uint64
	gaps  int // entries applied out of order, or twice
}

func (j *journal) ApplyEntries(ctx context.Context, owner member.ID, id stream.ID, entries []stream.Verified, edge stream.Edge, checkpoint []byte) error {
	err := j.Ledger.ApplyEntries(ctx, owner, id, entries, edge, checkpoint)
	if err != nil {
		return err
	}
	j.lines.add("entries")
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range entries {
		if e.Header.Sequence != j.next[id]+1 {
			j.gaps++
		}
		j.next[id] = e.Header.Sequence
	}
	return nil
}

func (j *journal) ApplyWithdrawals(ctx context.Context, owner member.ID, in stream.ID, list []stream.Withdrawal, checkpoint []byte) error {
	j.lines.add("withdrawals")
	return j.Ledger.ApplyWithdrawals(ctx, owner, in, list, checkpoint)
}

// outOfOrder is how many entries were applied twice or too early.
func (j *journal) outOfOrder() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.gaps
}

func newJournal(l *ledger.Ledger) *journal { return &journal{Ledger: l, next: map[stream.ID]uint64{}} }

// scripted is a member's node as the replica sees it, over a real ledger and an in-process connection. The honest one does
// what the contract says; bend and cut make it do otherwise.
type scripted struct {
	ententev1.UnimplementedExchangeServiceServer
	from   *site
	reader member.ID
	lis    *bufconn.Listener
	server *grpc.Server

	mu       sync.Mutex
	requests []*ententev1.PullRequest
	at       []time.Time
	receipts []*ententev1.SignedDocument
	sent     int
	cut      int  // after so many messages the call fails, once; 0 never
	down     bool // every call fails
	silent   bool // nothing comes after the first message
	bend     func([]*ententev1.PullResponse) []*ententev1.PullResponse
	heads    func() []*ententev1.StreamHead
	refuse   func(*ententev1.Receipt) bool
}

func newScripted(from *site, reader member.ID) *scripted {
	p := &scripted{from: from, reader: reader, lis: bufconn.Listen(1 << 20), server: grpc.NewServer()}
	ententev1.RegisterExchangeServiceServer(p.server, p)
	go p.server.Serve(p.lis)
	return p
}

func (p *scripted) conn(member.ID, string) (Conn, error) {
	return grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.lis.DialContext(ctx) }))
}

func (p *scripted) Heads(_ context.Context, request *ententev1.HeadsRequest) (*ententev1.HeadsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, status.Error(codes.Unavailable, "words of the peer")
	}
	if request.GetOwnedByCaller() || p.heads == nil {
		return &ententev1.HeadsResponse{}, nil
	}
	return &ententev1.HeadsResponse{Heads: p.heads()}, nil
}

func (p *scripted) SubmitReceipts(ctx context.Context, request *ententev1.SubmitReceiptsRequest) (*ententev1.SubmitReceiptsResponse, error) {
	for _, doc := range request.GetReceipts() {
		r := receiptOf(p.from.w.t, doc)
		if p.refuse != nil && p.refuse(r) {
			return nil, status.Error(codes.InvalidArgument, "words of the peer")
		}
		err := p.from.ledger.AcceptReceipt(ctx, doc, p.reader)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receipts = append(p.receipts, request.GetReceipts()...)
	return &ententev1.SubmitReceiptsResponse{}, nil
}

func (p *scripted) Pull(request *ententev1.PullRequest, out grpc.ServerStreamingServer[ententev1.PullResponse]) error {
	p.mu.Lock()
	p.requests = append(p.requests, request)
	p.at = append(p.at, time.Now())
	down, silent := p.down, p.silent
	p.mu.Unlock()
	if down {
		return status.Error(codes.Unavailable, "words of the peer")
	}
	changed := p.from.ledger.Changed() // before reading: what comes while we read wakes us again
	held := map[stream.ID]uint64{}
	for _, at := range request.GetPositions() {
		held[stream.ID(at.GetStreamId())] = at.GetSize()
	}
	script := []*ententev1.PullResponse{p.digest()}
	digest := p.from.ledger.Digest(p.from.id, p.reader)
	agrees := bytes.Equal(digest[:], request.GetDigest())
	if agrees {
		for _, info := range p.from.ledger.StreamsShared(p.from.id, p.reader) {
			held[info.ID] = info.Size
		}
	}
	ends := !agrees && !request.GetPositionsGiven()
	switch {
	case ends:
		script = append(script, &ententev1.PullResponse{Content: &ententev1.PullResponse_PositionsNeeded{PositionsNeeded: &ententev1.PositionsNeeded{}}})
	case !agrees:
		script = append(script, p.round(held)...)
		script = append(script, &ententev1.PullResponse{Content: &ententev1.PullResponse_CaughtUp{CaughtUp: &ententev1.CaughtUp{}}})
	}
	err := p.send(out, script)
	if err != nil || ends {
		return err
	}
	life := time.NewTicker(30 * time.Second)
	defer life.Stop()
	for {
		select {
		case <-out.Context().Done():
			return out.Context().Err()
		case <-life.C:
			if !silent {
				err = p.send(out, []*ententev1.PullResponse{p.digest()})
			}
		case <-changed:
			changed = p.from.ledger.Changed()
			if !silent {
				err = p.send(out, p.round(held))
			}
		}
		if err != nil {
			return err
		}
	}
}

// round is what brings a reader from where it is to now, two entries a message.
func (p *scripted) round(held map[stream.ID]uint64) []*ententev1.PullResponse {
	t := p.from.w.t
	var first, then []*ententev1.PullResponse
	for _, info := range p.from.ledger.StreamsShared(p.from.id, p.reader) {
		at := held[info.ID]
		if at >= info.Size {
			continue
		}
		proof, err := p.from.ledger.Consistency(info.No, at, info.Size)
		if err != nil {
			t.Error(err)
		}
		id := bytes.Clone(info.ID[:])
		first = append(first, &ententev1.PullResponse{Content: &ententev1.PullResponse_Checkpoint{Checkpoint: &ententev1.CheckpointUpdate{StreamId: id, Checkpoint: info.Checkpoint, Consistency: proof}}})
		withdrawals, err := p.from.ledger.WithdrawalsAfter(info.No, at, info.Size, 1000)
		if err != nil {
			t.Error(err)
		}
		if len(withdrawals) > 0 {
			first = append(first, &ententev1.PullResponse{Content: &ententev1.PullResponse_Withdrawals{Withdrawals: &ententev1.WithdrawalBatch{StreamId: id, Withdrawals: withdrawals}}})
		}
		for at < info.Size {
			entries, err := p.from.ledger.Entries(info.No, at+1, int(min(2, info.Size-at)), 1<<20)
			if err != nil || len(entries) == 0 {
				t.Errorf("entries of stream %s from %d: %v", info.ID, at+1, err)
				return nil
			}
			at += uint64(len(entries))
			proof, err := p.from.ledger.Consistency(info.No, at, info.Size)
			if err != nil {
				t.Error(err)
			}
			if at == info.Size {
				proof = nil
			}
			then = append(then, &ententev1.PullResponse{Content: &ententev1.PullResponse_Entries{Entries: &ententev1.EntryBatch{StreamId: id, Entries: entries, Consistency: proof}}})
		}
		held[info.ID] = at
	}
	return append(first, then...)
}

func (p *scripted) digest() *ententev1.PullResponse {
	doc, err := p.from.ledger.SignedDigest(p.reader)
	if err != nil {
		p.from.w.t.Error(err)
	}
	return &ententev1.PullResponse{Content: &ententev1.PullResponse_Digest{Digest: doc}}
}

func (p *scripted) send(out grpc.ServerStreamingServer[ententev1.PullResponse], script []*ententev1.PullResponse) error {
	p.mu.Lock()
	bend := p.bend
	p.mu.Unlock()
	if bend != nil {
		script = bend(script)
	}
	for _, m := range script {
		err := out.Send(m)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.sent++
		cut := p.cut == p.sent
		p.mu.Unlock()
		if cut {
			return status.Error(codes.Unavailable, "words of the peer")
		}
	}
	return nil
}

// set changes how the peer behaves from now on.
func (p *scripted) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *scripted) pulls() (requests []*ententev1.PullRequest, at []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*ententev1.PullRequest(nil), p.requests...), append([]time.Time(nil), p.at...)
}

func (p *scripted) taken() []*ententev1.SignedDocument {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*ententev1.SignedDocument(nil), p.receipts...)
}

func (p *scripted) messages() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

// list is a list that one goroutine writes and another reads.
type list[T any] struct {
	mu    sync.Mutex
	items []T
}

func (l *list[T]) add(item T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, item)
}

func (l *list[T]) all() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]T(nil), l.items...)
}

// pulling runs a replica of a site from scripted peers.
type pulling struct {
	*Replica
	stop  context.CancelFunc
	ended chan error
}

func pull(t *testing.T, into *site, l Ledger, change func(*Config), peers ...*scripted) *pulling {
	t.Helper()
	cfg := Config{Self: into.id, Ledger: l, Directory: into.w.directory.Load, Now: time.Now, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler),
		Dial: func(id member.ID, address string) (Conn, error) {
			for _, p := range peers {
				if p.from.id == id {
					return p.conn(id, address)
				}
			}
			return nil, fmt.Errorf("nobody plays %s", id)
		}}
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &pulling{Replica: r, stop: stop, ended: make(chan error, 1)}
	go func() { p.ended <- r.Run(ctx) }()
	return p
}

func (p *pulling) close(t *testing.T) {
	t.Helper()
	p.stop()
	err := <-p.ended
	if err != nil {
		t.Error(err)
	}
}

func (p *pulling) status(id member.ID) *ententev1.PeerStatus {
	for _, s := range p.Peers() {
		if s.GetMember() == string(id) {
			return s
		}
	}
	return nil
}

// pass lets virtual time go by, until everything rests.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func receiptOf(t *testing.T, doc *ententev1.SignedDocument) *ententev1.Receipt {
	t.Helper()
	r := &ententev1.Receipt{}
	err := proto.Unmarshal(doc.GetBody(), r)
	if err != nil {
		t.Error(err)
	}
	return r
}
