package ledger_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

func seeded(label string) io.Reader { return rand.NewChaCha8(sha256.Sum256([]byte(label))) }

// world is a federation of XA, XB, XC and COORD with one project of XA, XB and COORD, on a clock that tests move.
type world struct {
	t    testing.TB
	now  time.Time
	fed  *federation.Federation
	dir  *ledger.Directory
	path map[member.ID]string

	chain      []*ententev1.SignedDocument // of the project
	grantDelay time.Duration
	configure  func(*ledger.Config) // what a test wants besides
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldFor(t, 24*time.Hour)
}

// newWorldFor is newWorld whose project goes on for so long.
func newWorldFor(t testing.TB, valid time.Duration) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC), path: map[member.ID]string{}}
	fed, err := federation.Found([]member.ID{"COORD", "XA", "XB", "XC"}, []member.ID{"COORD"}, seeded("federation"), w.clock, valid)
	w.must(err)
	roster, err := fed.Roster()
	w.must(err)
	chain, project, err := fed.Project(roster, "harbour", "Harbour", "XA", "XB", "COORD")
	w.must(err)
	w.fed, w.chain = fed, chain
	w.dir = &ledger.Directory{Roster: roster, Projects: map[string]*member.Project{"harbour": project}}
	return w
}

func (w *world) clock() time.Time { return w.now }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// takePart brings a project with exactly these participants into force, XA, its lead, among them.
func (w *world) takePart(participants ...member.ID) {
	w.t.Helper()
	lead := w.fed.Seat("XA").Signing
	now := w.dir.Projects["harbour"]
	next := func(doc *ententev1.SignedDocument, err error) {
		w.t.Helper()
		w.must(err)
		w.chain = append(w.chain, doc)
	}
	for _, id := range now.Participants {
		if !slices.Contains(participants, id) {
			next(member.NewDeparture(w.chain, id, false, lead, w.now))
		}
	}
	for _, id := range participants {
		if !now.Has(id) {
			next(member.NewAdmission(w.chain, id, lead, w.now))
		}
	}
	p, err := member.VerifyProject(w.chain, w.dir.Roster)
	w.must(err)
	w.dir = &ledger.Directory{Roster: w.dir.Roster, Projects: map[string]*member.Project{"harbour": p}}
}

// node is one running ledger.
type node struct {
	*ledger.Ledger
	w     *world
	store *store.Store
	stop  func()
}

func (w *world) storeOptions(id member.ID) store.Options {
	path := w.path[id]
	if path == "" {
		path = filepath.Join(w.t.TempDir(), string(id)+".db")
		w.path[id] = path
	}
	return store.Options{Path: path, Keys: store.Keyring{Current: bytes.Repeat([]byte{7}, 32)}, Now: w.clock, Rand: seeded("nonces" + path + w.now.String()), InitialMmap: 1 << 24}
}

// start opens, and creates where there is none, the ledger of a member. marker: as after a clean stop.
func (w *world) start(id member.ID, clean bool) *node {
	w.t.Helper()
	opts := w.storeOptions(id)
	st, err := store.Open(opts)
	if err != nil {
		w.must(store.Create(opts, []byte(id)))
		st, err = store.Open(opts)
	}
	w.must(err)
	seat := w.fed.Seat(id)
	cfg := ledger.Config{Self: id, IDKey: seat.IDKey, SigningKey: seat.Signing, Directory: func() *ledger.Directory { return w.dir },
		CheckRecord:  func(*ententev1.Record) []*ententev1.FieldViolation { return nil },
		CheckRelease: lacksEvaluation,
		Now:          w.clock, Rand: seeded("salts of " + string(id) + w.now.String()), Logger: slog.New(slog.DiscardHandler), ConfirmWithin: time.Hour, GrantDelay: w.grantDelay}
	if w.configure != nil {
		w.configure(&cfg)
	}
	l, err := ledger.Open(st, cfg)
	w.must(err)
	if clean {
		cfg.MarkerFound, cfg.Marker = true, l.HeadsDigest()
		l, err = ledger.Open(st, cfg)
		w.must(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	n := &node{Ledger: l, w: w, store: st}
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		err := <-ended
		if err != nil {
			w.t.Error(err)
		}
		w.must(st.Close())
	}
	w.t.Cleanup(n.stop)
	return n
}

func lacksEvaluation(r *ententev1.Record) []*ententev1.FieldViolation {
	if r.GetEnvelope().GetEvaluation() == nil {
		return []*ententev1.FieldViolation{{Field: "envelope.evaluation", Reason: "is missing"}}
	}
	return nil
}

func toAll() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{}}}
}

func toProject(without ...string) *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Project{Project: &ententev1.ProjectAudience{ProjectId: "harbour", Without: without}}}
}

func toMembers(members ...string) *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: members}}}
}

func envelope(reference string, version uint64) *ententev1.Envelope {
	return &ententev1.Envelope{ProviderReference: reference, Version: version, RecordedAt: timestamppb.New(time.Date(2031, 1, 2, 0, 0, 0, 0, time.UTC)),
		Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Assertion: ententev1.AssertionKind_ASSERTION_KIND_FACT,
		Evaluation:  &ententev1.Evaluation{Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: "A", InformationCode: "1"},
		RetainUntil: timestamppb.New(time.Date(2034, 1, 2, 0, 0, 0, 0, time.UTC))}
}

func person(reference string, version uint64, family string, audiences ...*ententev1.Audience) ledger.Item {
	return ledger.Item{Audiences: audiences, Record: &ententev1.Record{Envelope: envelope(reference, version), Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
		Names: []*ententev1.PersonName{{Family: family}}, Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT}}}}}
}

func ref(reference string) *ententev1.RecordRef {
	return &ententev1.RecordRef{Target: &ententev1.RecordRef_ProviderReference{ProviderReference: reference}}
}

func meets(reference, from, to string, audiences ...*ententev1.Audience) ledger.Item {
	return ledger.Item{Audiences: audiences, Record: &ententev1.Record{Envelope: envelope(reference, 1), Body: &ententev1.Body{Kind: &ententev1.Body_Association{Association: &ententev1.Association{
		From: ref(from), To: ref(to), Kind: ententev1.AssociationKind_ASSOCIATION_KIND_MEETS}}}}}
}

// push pushes items one by one in one call and wants all accepted.
func (n *node) push(items ...ledger.Item) []*ententev1.Verdict {
	n.w.t.Helper()
	verdicts, err := n.Push(context.Background(), "Central Unit", items)
	n.w.must(err)
	for _, v := range verdicts {
		if v.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			n.w.t.Fatalf("verdict on %s: %s %v", v.GetProviderReference(), v.GetOutcome(), v.GetViolations())
		}
	}
	return verdicts
}

// replicate carries everything that from shares with to, verified, as a puller would; it gives the number of entries.
func replicate(from, to *node, self, reader member.ID) int {
	w := from.w
	w.t.Helper()
	keys := w.dir.Roster.VerifyingKeys(self)
	carried := 0
	for _, s := range from.StreamsShared(self, reader) {
		r, err := to.Reader(self, s.ID)
		w.must(err)
		edge := r.Edge()
		held := edge.Size()
		proof, err := from.Consistency(s.No, held, s.Size)
		w.must(err)
		_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: s.ID[:], Checkpoint: s.Checkpoint, Consistency: proof}, keys)
		w.must(err)
		ahead, err := from.WithdrawalsAfter(s.No, held, s.Size, 1000)
		w.must(err)
		list, err := r.Withdrawals(&ententev1.WithdrawalBatch{StreamId: s.ID[:], Withdrawals: ahead})
		w.must(err)
		w.must(to.ApplyWithdrawals(context.Background(), self, s.ID, list, s.Checkpoint))
	}
	for _, s := range from.StreamsShared(self, reader) {
		r, err := to.Reader(self, s.ID)
		w.must(err)
		edge := r.Edge()
		held := edge.Size()
		_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: s.ID[:], Checkpoint: s.Checkpoint, Consistency: must(from.Consistency(s.No, held, s.Size))(w.t)}, keys)
		w.must(err)
		for held < s.Size {
			entries, err := from.Entries(s.No, held+1, 7, 1<<20)
			w.must(err)
			held += uint64(len(entries))
			verified, err := r.Entries(&ententev1.EntryBatch{StreamId: s.ID[:], Entries: entries, Consistency: must(from.Consistency(s.No, held, s.Size))(w.t)}, to.Covered(self))
			w.must(err)
			w.must(to.ApplyEntries(context.Background(), self, s.ID, verified, r.Edge(), s.Checkpoint))
			carried += len(entries)
		}
	}
	return carried
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// released lists what a node sees of the streams of an owner: record id to the family names or "" for other kinds; erased
// entries are left out.
func (n *node) released(owner, reader member.ID) map[ledger.RecordID]int {
	n.w.t.Helper()
	out := map[ledger.RecordID]int{}
	for _, s := range n.StreamsShared(owner, reader) {
		entries, err := n.Follow(s.No, 1, 1<<20)
		n.w.must(err)
		for _, e := range entries {
			if e.Released != nil {
				out[e.Record]++
			}
		}
	}
	return out
}

func (n *node) id(reference string) ledger.RecordID { return n.RecordID("Central Unit", reference) }

type streamWithdrawal = stream.Withdrawal
