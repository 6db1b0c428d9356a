package ledger_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

// A simulation from a seed: four members push, correct, release, narrow and withdraw, replicate in slices, stop in order
// and otherwise, and go back to old copies of their files; after each few steps all promises are checked against a model.
// To run one seed again: go test -run TestASimulatedFederation -seed 17 -v

func simSeed() *uint64 { return flag.Uint64("seed", 0, "run the simulation with this seed only") }

var onlySeed = simSeed()

type receiptKey struct {
	reader member.ID
	id     stream.ID
}

// backup is an old copy of a member's file, and what its system has done since.
type backup struct {
	path     string
	model    *model
	receipts map[receiptKey]uint64
	since    []func()
}

type simNode struct {
	id       member.ID
	n        *node
	m        *model
	backup   *backup
	receipts map[receiptKey]uint64
	stale    map[member.ID]bool // went back to an old copy and has not read this owner since
	ahead    map[member.ID]bool // has seen a head of this owner that it does not hold
	lost     map[stream.ID]bool // own streams of which the end was lost
	restored bool
	home     []uint64 // content of its own that its model no longer has
}

type sim struct {
	t       testing.TB
	w       *world
	rng     *rand.Rand
	people  simPeople
	nodes   map[member.ID]*simNode
	ids     []member.ID
	content uint64
	shown   map[entryKey][]byte
	journal []string
	over    bool  // the run ends here: see recoverTail
	granted int   // releases that a reader had by a grant, when somebody looked
	limit   int64 // of the data files started from now on; 0 for none
	permits []*simPermit
	allowed int // permissions that counted, when somebody looked
	lapsed  int
}

// simPermit is a permission as its owner gave it.
type simPermit struct {
	owner, holder member.ID
	ref           string
	content       uint64 // of the version
	retain        int64  // that it went out with
	recipients    []string
	until         int64
	at            *ententev1.EntryRef
	revoked       bool
}

func newSim(t testing.TB, seed uint64) *sim {
	s := &sim{t: t, w: newWorldFor(t, 10000*time.Hour), rng: rand.New(rand.NewPCG(seed, 1)), nodes: map[member.ID]*simNode{}, ids: []member.ID{"XA", "XB", "XC", "COORD"}, shown: map[entryKey][]byte{}}
	s.people = simPeople{members: []string{"COORD", "XA", "XB", "XC"}, project: []string{"COORD", "XA", "XB"}}
	for _, id := range s.ids {
		sn := &simNode{id: id, m: &model{self: id, now: func() int64 { return s.w.now.Unix() }, records: map[string]*modelRecord{}}, receipts: map[receiptKey]uint64{}, stale: map[member.ID]bool{}, ahead: map[member.ID]bool{}, lost: map[stream.ID]bool{}}
		sn.n = s.start(id, true, time.Hour)
		s.nodes[id] = sn
	}
	return s
}

// start is world.start with a chosen wait for the readers, and other random numbers at each start.
func (s *sim) start(id member.ID, clean bool, within time.Duration) *node {
	s.w.now = s.w.now.Add(time.Second)
	opts := s.w.storeOptions(id)
	opts.MaxBytes = s.limit
	st, err := store.Open(opts)
	if errors.Is(err, store.ErrMissing) {
		s.w.must(store.Create(opts, []byte(id)))
		st, err = store.Open(opts)
	}
	s.w.must(err)
	seat := s.w.fed.Seat(id)
	cfg := ledger.Config{Self: id, IDKey: seat.IDKey, SigningKey: seat.Signing, Directory: func() *ledger.Directory { return s.w.dir },
		CheckRecord: func(*ententev1.Record) []*ententev1.FieldViolation { return nil }, CheckRelease: lacksEvaluation,
		Now: s.w.clock, Rand: seeded("salts of " + string(id) + s.w.now.String()), Logger: slog.New(slog.DiscardHandler), ConfirmWithin: within}
	policed(&cfg)
	cfg.CheckDerived = nil // the model does not know it
	l, err := ledger.Open(st, cfg)
	s.w.must(err)
	if clean {
		cfg.MarkerFound, cfg.Marker = true, l.HeadsDigest()
		l, err = ledger.Open(st, cfg)
		s.w.must(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	n := &node{Ledger: l, w: s.w, store: st}
	stopped := false
	n.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		s.w.must(<-ended)
		s.w.must(st.Close())
	}
	s.t.Cleanup(n.stop)
	return n
}

func (s *sim) log(format string, args ...any) {
	s.journal = append(s.journal, fmt.Sprintf(format, args...))
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

func (s *sim) one() *simNode { return s.nodes[pick(s.rng, s.ids)] }

func (s *sim) some(list []string) []string {
	return keep(list, func(string) bool { return s.rng.IntN(2) == 0 })
}

func (s *sim) person() string { return fmt.Sprintf("p%d", s.rng.IntN(6)) }
func (s *sim) assoc() string  { return fmt.Sprintf("a%d", s.rng.IntN(4)) }
func (s *sim) made() string   { return fmt.Sprintf("d%d", s.rng.IntN(3)) }

// any is a record of whatever kind, most often a person.
func (s *sim) any() string {
	switch s.rng.IntN(6) {
	case 0:
		return s.assoc()
	case 1:
		return s.made()
	}
	return s.person()
}

func (s *sim) audiences(self member.ID) []modelAudience {
	others := keep(s.people.members, func(m string) bool { return m != string(self) })
	var list []modelAudience
	for range s.rng.IntN(3) {
		a := modelAudience{}
		switch s.rng.IntN(6) {
		case 0, 1:
			a.kind, a.present = "all", others
		case 2:
			a.kind = "future"
		case 3:
			a.kind = "project"
		case 4:
			a.kind, a.without = "project", []string{pick(s.rng, s.people.members)}
		case 5:
			a.kind, a.members = "members", sorted(append(s.some(others), pick(s.rng, others)))
			if s.rng.IntN(2) == 0 && slices.Contains(a.members, "COORD") {
				a.mergeFor = s.some(a.members)
			}
		}
		a.cut = s.rng.IntN(4) == 0
		list = added(list, []modelAudience{a})
	}
	return list
}

func (s *sim) version(self member.ID, ref string) modelVersion {
	s.content++
	v := modelVersion{content: s.content, retain: time.Date(2034, 1, 2, 0, 0, 0, 0, time.UTC).Unix()}
	if s.rng.IntN(4) == 0 {
		v.retain = s.w.now.Add(time.Duration(1+s.rng.IntN(20)) * time.Hour).Unix()
	}
	if !strings.HasPrefix(ref, "a") && s.rng.IntN(5) == 0 {
		v.grounds = uint8(1 + s.rng.IntN(3))
	}
	if strings.HasPrefix(ref, "d") {
		v.sources = []modelName{{owner: pick(s.rng, s.ids), ref: s.person()}}
	}
	switch s.rng.IntN(8) {
	case 0:
		v.deny = []string{pick(s.rng, s.people.members)}
	case 1:
		v.allow = sorted([]string{pick(s.rng, s.people.members), pick(s.rng, s.people.members)})
	case 2:
		v.project = true
	}
	if strings.HasPrefix(ref, "a") {
		other := self
		if s.rng.IntN(4) == 0 {
			other = pick(s.rng, s.ids)
		}
		v.names = []modelName{{owner: self, ref: s.person()}, {owner: other, ref: s.person()}}
	}
	return v
}

// do runs an intake operation, and keeps it for after a restore.
func (s *sim) do(own *simNode, op func()) {
	if own.backup != nil {
		own.backup.since = append(own.backup.since, op)
	}
	op()
}

func (s *sim) verdict(own *simNode, what string, want ententev1.Outcome, got []*ententev1.Verdict, err error) {
	s.t.Helper()
	s.w.must(err)
	s.log("%s %s: %s", own.id, what, got[0].GetOutcome())
	if got[0].GetOutcome() != want {
		s.fail([]string{fmt.Sprintf("%s %s: verdict %s %v, want %s", own.id, what, got[0].GetOutcome(), got[0].GetViolations(), want)})
	}
}

func (s *sim) push() {
	own, ref, number := s.one(), s.any(), uint64(1+s.rng.IntN(6))
	if r := own.m.records[ref]; r != nil && s.rng.IntN(3) > 0 {
		number = max(r.top, r.floor) + 1
	}
	v := s.version(own.id, ref)
	if r := own.m.records[ref]; r != nil && s.rng.IntN(6) == 0 {
		number = r.top
		held, ok := r.versions[number]
		if ok && s.rng.IntN(2) == 0 {
			v = held
		}
	}
	audiences, replace := s.audiences(own.id), s.rng.IntN(6) == 0
	s.do(own, func() {
		want := own.m.push(s.people, ref, number, v, audiences, replace)
		own.home = append(own.home, v.content)
		got, err := own.n.Push(context.Background(), "Central Unit", []ledger.Item{s.item(ref, number, v, audiences, replace)})
		s.verdict(own, fmt.Sprintf("push %s v%d %+v for %+v replace %v", ref, number, v, audiences, replace), want, got, err)
	})
}

func (s *sim) release() {
	own, ref := s.one(), s.any()
	audiences, replace := s.audiences(own.id), s.rng.IntN(2) == 0
	s.do(own, func() {
		want := own.m.release(s.people, ref, audiences, replace)
		got, err := own.n.Release(context.Background(), "Central Unit", []string{ref}, protoAudiences(audiences), replace)
		s.verdict(own, fmt.Sprintf("release %s for %+v replace %v", ref, audiences, replace), want, got, err)
	})
}

func (s *sim) withdraw() {
	own, ref, number := s.one(), s.any(), uint64(s.rng.IntN(2)*s.rng.IntN(8))
	s.do(own, func() {
		got, err := own.n.Push(context.Background(), "Central Unit", []ledger.Item{withdrawalOf(ref, number)})
		s.w.must(err)
		if own.restored && own.m.records[ref] == nil && got[0].GetOutcome() == accepted {
			// Its record is lost, and known only from what a reader gave back.
			own.m.records[ref] = &modelRecord{versions: map[uint64]modelVersion{}, withdrawn: true, floor: number}
			return
		}
		want := own.m.withdraw(ref, number)
		s.verdict(own, fmt.Sprintf("withdraw %s v%d", ref, number), want, got, err)
	})
}

func (s *sim) pair() (own, reader *simNode) {
	own, reader = s.one(), s.one()
	for own == reader {
		reader = s.one()
	}
	return own, reader
}

// carry replicates as a puller does: heads and withdrawals of all streams, then up to limit entries of each. 0: none.
func (s *sim) carry(own, reader *simNode, limit int, skip bool) {
	ctx, keys := context.Background(), s.w.dir.Roster.VerifyingKeys(own.id)
	whole := true
	readers := map[stream.ID]*stream.Reader{}
	for _, info := range own.n.StreamsShared(own.id, reader.id) {
		r, err := reader.n.Reader(own.id, info.ID)
		s.w.must(err)
		if slices.Contains(info.Granted, reader.id) {
			doc, err := own.n.GrantOf(info.No, reader.id)
			s.w.must(err)
			s.must(r.Grant(doc, keys))
		}
		edge := r.Edge()
		if edge.Size() > info.Size {
			whole = false
			continue // the owner has lost the end, and does not write there any more
		}
		proof, err := own.n.Consistency(info.No, edge.Size(), info.Size)
		s.w.must(err)
		_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: info.ID[:], Checkpoint: info.Checkpoint, Consistency: proof}, keys)
		if errors.Is(err, stream.ErrOlder) {
			whole = false
			continue
		}
		s.must(err)
		ahead, err := own.n.WithdrawalsAfter(info.No, edge.Size(), info.Size, 1000)
		s.w.must(err)
		list, err := r.Withdrawals(&ententev1.WithdrawalBatch{StreamId: info.ID[:], Withdrawals: ahead})
		s.must(err)
		s.w.must(reader.n.ApplyWithdrawals(ctx, own.id, info.ID, list, info.Checkpoint))
		readers[info.ID] = r
	}
	for _, info := range own.n.StreamsShared(own.id, reader.id) {
		r := readers[info.ID]
		if r == nil || skip && s.rng.IntN(3) == 0 {
			whole = whole && r == nil
			continue
		}
		for taken := 0; taken < limit; {
			edge := r.Edge()
			held := edge.Size()
			if held == info.Size {
				break
			}
			entries, err := own.n.Entries(info.No, held+1, min(limit-taken, 7), 1<<20)
			s.w.must(err)
			proof, err := own.n.Consistency(info.No, held+uint64(len(entries)), info.Size)
			s.w.must(err)
			verified, err := r.Entries(&ententev1.EntryBatch{StreamId: info.ID[:], Entries: entries, Consistency: proof}, reader.n.Covered(own.id))
			s.must(err)
			s.must(reader.n.ApplyEntries(ctx, own.id, info.ID, verified, r.Edge(), info.Checkpoint))
			taken += len(entries)
		}
		edge := r.Edge()
		whole = whole && edge.Size() == info.Size
	}
	reader.ahead[own.id] = !whole
	if whole {
		delete(reader.stale, own.id)
	}
}

func (s *sim) replicate() {
	own, reader := s.pair()
	limit := pick(s.rng, []int{0, 1, 3, 8, 1000, 1000})
	s.log("replicate %s to %s, %d entries", own.id, reader.id, limit)
	s.carry(own, reader, limit, s.rng.IntN(2) == 0)
}

func (s *sim) sendReceipts() {
	own, reader := s.pair()
	s.receipts(own, reader, s.rng.IntN(4) > 0)
}

func (s *sim) receipts(own, reader *simNode, noted bool) {
	s.log("receipts of %s to %s, noted %v", reader.id, own.id, noted)
	docs, err := reader.n.PendingReceipts(own.id)
	s.w.must(err)
	var taken []*ententev1.SignedDocument
	for _, doc := range docs {
		r := &ententev1.Receipt{}
		s.w.must(unmarshal(doc.GetBody(), r))
		id, err := stream.ParseID(r.GetStreamId())
		s.w.must(err)
		err = own.n.AcceptReceipt(context.Background(), doc, reader.id)
		if err != nil && (own.lost[id] || len(own.n.Unconfirmed()) > 0) {
			continue
		}
		s.must(err)
		taken = append(taken, doc)
		key := receiptKey{reader: reader.id, id: id}
		own.receipts[key] = max(own.receipts[key], r.GetSize())
	}
	if noted {
		s.w.must(reader.n.ReceiptsSent(context.Background(), taken))
	}
}

// grant opens a stream of the project to a participant that does not read it.
func (s *sim) grant() {
	own := s.one()
	var open []ledger.StreamInfo
	for _, info := range own.n.Streams() {
		if info.Owner == own.id && info.Project != "" && !info.Closed && info.Kind != ententev1.StreamKind_STREAM_KIND_BILATERAL {
			open = append(open, info)
		}
	}
	if len(open) == 0 {
		return
	}
	info := pick(s.rng, open)
	outside := keep(s.people.project, func(m string) bool { return m != string(own.id) && !slices.Contains(names(info.Readers), m) })
	reader := member.ID(pick(s.rng, append(outside, pick(s.rng, s.people.members))))
	got, err := own.n.Grant(context.Background(), info.ID, reader, s.rng.IntN(4) == 0)
	s.log("grant %s of %s to %s: entry %d, duplicate %v, obstacles %v, %v", info.ID, own.id, reader, got.Sequence, got.Duplicate, got.Preview.Obstacles, err)
	if err == nil {
		return
	}
	refused := &ledger.GrantError{}
	if !errors.As(err, &refused) {
		s.must(err)
	}
}

// changeProject changes who takes part in the project; all nodes learn of it.
func (s *sim) changeProject() {
	s.people.project = sorted(append(s.some(s.people.members), "XA", pick(s.rng, s.people.members)))
	s.log("project of %v", s.people.project)
	s.w.takePart(memberList(s.people.project)...)
	for _, id := range s.ids {
		s.must(s.nodes[id].n.DirectoryChanged(context.Background()))
	}
}

func memberList(list []string) []member.ID {
	var out []member.ID
	for _, m := range list {
		out = append(out, member.ID(m))
	}
	return out
}

func (s *sim) step() {
	switch n := s.rng.IntN(100); {
	case n < 24:
		s.push()
	case n < 34:
		s.release()
	case n < 40:
		s.withdraw()
	case n < 54:
		pick(s.rng, []func(){s.decide, s.decide, s.restrict, s.restrict, s.renew, s.permit, s.permit, s.revoke, s.pass})()
	case n < 76:
		s.replicate()
	case n < 80:
		s.grant()
	case n < 88:
		s.sendReceipts()
	case n < 91:
		s.restart()
	case n < 93:
		s.crash()
	case n < 95:
		s.save()
	case n < 97:
		s.restore()
	default:
		s.changeProject()
	}
}

func (s *sim) problems() []string {
	var wrong []string
	for _, id := range s.ids {
		own := s.nodes[id]
		wrong = append(wrong, s.checkWanted(own)...)
		wrong = append(wrong, s.checkStreams(own)...)
		for _, other := range s.ids {
			if other != id {
				wrong = append(wrong, s.checkHeld(own, s.nodes[other])...)
				wrong = append(wrong, s.checkPermissions(own, s.nodes[other])...)
			}
		}
		wrong = append(wrong, s.checkOver(own)...)
	}
	for _, id := range s.ids {
		wrong = append(wrong, s.checkErased(s.nodes[id])...)
	}
	return wrong
}

func (s *sim) collect(wrong []string) {
	if len(wrong) > 0 {
		s.fail(wrong)
	}
}

func (s *sim) must(err error) {
	s.t.Helper()
	if err != nil {
		s.fail([]string{err.Error()})
	}
}

func (s *sim) fail(wrong []string) {
	s.t.Helper()
	s.t.Fatalf("%s\n\nafter:\n%s", strings.Join(wrong[:min(len(wrong), 12)], "\n"), strings.Join(s.journal[max(0, len(s.journal)-40):], "\n"))
}

// settle replicates everything, in as many rounds as associations with others' records need, and receipts.
func (s *sim) settle() {
	for range 4 {
		for _, a := range s.ids {
			for _, b := range s.ids {
				if a != b {
					s.carry(s.nodes[a], s.nodes[b], 1<<20, false)
				}
			}
		}
	}
	for _, a := range s.ids {
		for _, b := range s.ids {
			if a != b {
				s.receipts(s.nodes[a], s.nodes[b], true)
			}
		}
	}
}

// heads is what differs where two digests do.
func heads(infos []ledger.StreamInfo) string {
	var list []string
	for _, info := range infos {
		list = append(list, fmt.Sprintf("%s %s %v granted %v: %d", info.ID, info.Kind, info.Readers, info.Granted, info.Size))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// checkSettled: all readers hold all, all is delivered, and what is withdrawn is applied.
func (s *sim) checkSettled() []string {
	var wrong []string
	for _, a := range s.ids {
		for _, b := range s.ids {
			if a != b && s.nodes[a].n.Digest(a, b) != s.nodes[b].n.Digest(a, b) {
				wrong = append(wrong, fmt.Sprintf("%s does not hold all of %s:\n%s\n%s", b, a, heads(s.nodes[a].n.StreamsShared(a, b)), heads(s.nodes[b].n.StreamsShared(a, b))))
			}
		}
		if s.nodes[a].restored {
			continue // it has lost receipts too, and its readers do not know that
		}
		list, _, err := s.nodes[a].n.Records(ledger.ListQuery{Limit: 1 << 20})
		s.w.must(err)
		for _, r := range list {
			for _, d := range r.GetDeliveries() {
				if d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_PENDING || d.GetWithdrawn() != (d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_APPLIED) {
					wrong = append(wrong, fmt.Sprintf("%s: delivery of %x to %s: withdrawn %v, %s", a, r.GetRecordId(), d.GetMember(), d.GetWithdrawn(), d.GetState()))
				}
			}
		}
	}
	return wrong
}

func (s *sim) run(steps int) {
	for i := range steps {
		s.step()
		if s.over {
			return
		}
		if i%10 == 9 {
			s.collect(s.problems())
		}
	}
	s.settle()
	s.collect(s.problems())
	s.collect(s.checkSettled())
}

func TestASimulatedFederationKeepsItsPromises(t *testing.T) {
	granted, allowed, lapsed := 0, 0, 0
	for seed := uint64(1); seed <= 30; seed++ {
		if *onlySeed != 0 {
			seed = *onlySeed
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newSim(t, seed)
			s.run(150)
			granted, allowed, lapsed = granted+s.granted, allowed+s.allowed, lapsed+s.lapsed
		})
		if *onlySeed != 0 {
			return
		}
	}
	t.Logf("%d releases read by grants, %d permissions that counted, %d records that lapsed", granted, allowed, lapsed)
	if granted == 0 || allowed == 0 || lapsed == 0 {
		t.Error("in no run did a reader have a record by a grant, or did a permission count, or did a record lapse: they are not tested")
	}
}
