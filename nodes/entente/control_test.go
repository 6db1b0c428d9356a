package main_test

import (
	"context"
	secret "crypto/rand"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// point is a place in a stream of a member.
type point struct {
	owner, stream string
	sequence      uint64
}

func pointOf(owner string, at *ententev1.EntryRef) point {
	return point{owner: owner, stream: hex.EncodeToString(at.GetStreamId()), sequence: at.GetSequence()}
}

// answer is something that a node has told, and that its caller got whole. Its case is of no other call.
type answer struct {
	call    string
	records []string // owner and id
	points  []point
}

// readers are systems of the home member that go on asking its node, each call for a case of its own.
type readers struct {
	quiet sync.RWMutex // held while nobody asks; each call holds it for reading
	t     testing.TB
	home  *place
	mu    sync.Mutex // covers all below
	next  int
	got   map[string][]answer // by case
	kinds map[string]int      // of calls
	count int
	moved chan struct{} // closed and made anew at each answer
}

func recordName(owner string, id []byte) string { return owner + " " + hex.EncodeToString(id) }

// readOn lets readers ask until the test ends or stop is called.
func readOn(t testing.TB, home *place, count int, seed uint64) (r *readers, stop func()) {
	r = &readers{t: t, home: home, got: map[string][]answer{}, kinds: map[string]int{}, moved: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range count {
		c := home.system()
		chance := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() { r.read(ctx, c, chance) }) // ends with ctx
	}
	stop = func() {
		cancel()
		all.Wait()
	}
	t.Cleanup(stop)
	return r, stop
}

// read asks one question after the other. A call that fails got nothing whole: the node is gone, or starts.
func (r *readers) read(ctx context.Context, c *client.Client, chance *rand.Rand) {
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for {
		_ = r.ask(ctx, c, chance) // it got nothing: the node was killed, the record is not there yet, the view has changed
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
	}
}

// ask asks one question, each kind in its turn.
func (r *readers) ask(ctx context.Context, c *client.Client, chance *rand.Rand) error {
	r.quiet.RLock()
	defer r.quiet.RUnlock()
	reason := r.reason()
	switch chance.IntN(8) {
	case 0:
		return r.follow(ctx, c, reason)
	case 1, 2:
		return r.list(ctx, c, reason)
	case 3, 4:
		return r.view(ctx, c, reason)
	}
	return r.get(ctx, c, reason, fmt.Sprintf("%s-p%d", []string{"north", "south", "coast"}[chance.IntN(3)], chance.IntN(60)))
}

func (r *readers) reason() *ententev1.Consultation {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return &ententev1.Consultation{Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, CaseReference: fmt.Sprintf("READ-%d", r.next)}
}

// note keeps what a call has brought.
func (r *readers) note(reason *ententev1.Consultation, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[reason.GetCaseReference()] = append(r.got[reason.GetCaseReference()], a)
	r.kinds[a.call]++
	r.count++
	close(r.moved)
	r.moved = make(chan struct{})
}

func (r *readers) get(ctx context.Context, c *client.Client, reason *ententev1.Consultation, reference string) error {
	record, err := c.Get(ctx, &ententev1.GetRequest{Consultation: reason, ProviderReference: reference})
	if err != nil {
		return err
	}
	r.note(reason, answer{call: "get", records: []string{recordName(string(xa), record.GetRecordId())}})
	return nil
}

func (r *readers) list(ctx context.Context, c *client.Client, reason *ententev1.Consultation) error {
	page, err := c.Intake().List(ctx, &ententev1.ListRequest{Consultation: reason, PageSize: 20})
	if err != nil {
		return err
	}
	a := answer{call: "list"}
	for _, record := range page.GetRecords() {
		a.records = append(a.records, recordName(string(xa), record.GetRecordId()))
	}
	r.note(reason, a)
	return nil
}

// follow reads the streams from the beginning; each message that came counts, also where the node was killed after it.
func (r *readers) follow(ctx context.Context, c *client.Client, reason *ententev1.Consultation) error {
	call, err := c.Stream().Subscribe(ctx, &ententev1.SubscribeRequest{Consultation: reason, UntilCurrent: true})
	if err != nil {
		return err
	}
	for {
		response, err := call.Recv()
		if err != nil {
			return err
		}
		a := answer{call: "subscribe"}
		for _, item := range response.GetItems() {
			if item.GetReleasedRecord() != nil {
				a.points = append(a.points, pointOf(item.GetOwner(), item.GetEntry()))
			}
		}
		r.note(reason, a)
	}
}

// view asks for the coordinator's merged view, through the own node and on behalf of an officer.
func (r *readers) view(ctx context.Context, c *client.Client, reason *ententev1.Consultation) error {
	reason.Officer = "vera"
	page, err := c.Network().GetView(ctx, &ententev1.GetViewRequest{Consultation: reason, PageSize: 20})
	if err != nil {
		return err
	}
	a := answer{call: "view"}
	for _, e := range page.GetEntities() {
		for _, source := range e.GetSources() {
			a.records = append(a.records, recordName(source.GetProviderMember(), source.GetRecordId()))
		}
	}
	r.note(reason, a)
	return nil
}

// take gives what all have got since it was called last.
func (r *readers) take() map[string][]answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = map[string][]answer{}
	return got
}

// answers is how many there were so far.
func (r *readers) answers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// await waits until so many answers came.
func (r *readers) await(count int) {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		now, moved := r.count, r.moved
		r.mu.Unlock()
		if now >= count {
			return
		}
		select {
		case <-moved:
		case <-deadline:
			r.t.Fatalf("%d answers came, %d do not within %v", now, count, patience)
		}
	}
}

// trail is what the auditor of a member has read of its trail so far.
type trail struct {
	*place
	auditor *client.Client
	entries map[uint64]*ententev1.AuditEntry
	shown   map[string]map[any]bool   // by case: names of records, and points
	sent    map[string]map[point]bool // by recipient
	since   time.Time
}

func trailOf(p *place) *trail {
	return &trail{place: p, auditor: p.dial(member.KindAuditor, "eve"), entries: map[uint64]*ententev1.AuditEntry{},
		shown: map[string]map[any]bool{}, sent: map[string]map[point]bool{}}
}

// read reads what is new, and some of before: an entry that was there is there, and says the same.
func (t *trail) read() {
	t.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request := &ententev1.ListEntriesRequest{PageSize: 1000, Reason: &ententev1.AuditReason{
		Purpose: ententev1.AuditPurpose_AUDIT_PURPOSE_SECURITY, CaseReference: "SOAK-AUDIT"}}
	if !t.since.IsZero() {
		request.Since = timestamppb.New(t.since.Add(-time.Second))
	}
	t.since = time.Now()
	for e, err := range t.auditor.ListAudit(ctx, request) {
		t.must(err)
		before := t.entries[e.GetNumber()]
		if before != nil && !proto.Equal(before, e) {
			t.t.Fatalf("entry %d of the trail of %s says something else than before", e.GetNumber(), t.seat.ID)
		}
		if before == nil {
			t.entries[e.GetNumber()] = e
			t.take(e)
		}
	}
}

func (t *trail) take(e *ententev1.AuditEntry) {
	switch e.GetOperation() {
	case ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION:
		reason := e.GetActor().GetCaseReference()
		if t.shown[reason] == nil {
			t.shown[reason] = map[any]bool{}
		}
		for _, records := range e.GetRecords() {
			for _, id := range records.GetRecordIds() {
				t.shown[reason][recordName(records.GetOwner(), id)] = true
			}
		}
		eachPoint(e.GetRanges(), func(p point) { t.shown[reason][p] = true })
	case ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE:
		if t.sent[e.GetRecipient()] == nil {
			t.sent[e.GetRecipient()] = map[point]bool{}
		}
		eachPoint(e.GetRanges(), func(p point) { t.sent[e.GetRecipient()][p] = true })
	}
}

func eachPoint(ranges []*ententev1.AuditRange, fn func(point)) {
	for _, r := range ranges {
		for n := r.GetFirst(); n <= r.GetLast(); n++ {
			fn(point{owner: r.GetOwner(), stream: hex.EncodeToString(r.GetStreamId()), sequence: n})
		}
	}
}

// lacks names answers that were given and are not in the trail. Their cases are not looked at again: what has been read of the
// trail once is held against what is read later, by number and by the command of an auditor.
func (t *trail) lacks(got map[string][]answer) []string {
	var list []string
	for reason, answers := range got {
		shown, known := t.shown[reason]
		delete(t.shown, reason)
		for _, a := range answers {
			if !known {
				list = append(list, fmt.Sprintf("%s for %s has no entry", a.call, reason))
				continue
			}
			for _, name := range a.records {
				if !shown[name] {
					list = append(list, fmt.Sprintf("%s for %s showed record %s", a.call, reason, name))
				}
			}
			for _, p := range a.points {
				if !shown[p] {
					list = append(list, fmt.Sprintf("%s for %s showed %v", a.call, reason, p))
				}
			}
		}
	}
	return list
}

// verifyTrail runs the command of an auditor, who keeps the heads of each verification for the next.
func (p *place) verifyTrail() {
	p.t.Helper()
	p.mustCommand("audit", "verify", "--roster", p.path("roster.pb"), "--genesis", p.path("genesis.pb"), "--state", p.path("heads.json"),
		"--config", p.path("auditor.yaml"))
}

// equipAuditor writes what an auditor at a terminal needs.
func (p *place) equipAuditor() {
	p.t.Helper()
	genesis, err := proto.Marshal(p.fed.Genesis())
	p.must(err)
	certificate, key, err := p.seat.Authority.Issue(member.Identity{Member: p.seat.ID, Kind: member.KindAuditor, Name: "eve"}, secret.Reader, time.Now(), 24*time.Hour, nil)
	p.must(err)
	text := fmt.Sprintf("address: %s\nmember: %s\ncertificate: auditor.pem\nkey: auditor.key\nauthorities: authority.pem\naudit-purpose: security\ncase: SOAK-AUDIT\n", p.address, p.seat.ID)
	for name, content := range map[string][]byte{"genesis.pb": genesis, "auditor.pem": certificate, "auditor.key": key,
		"authority.pem": member.EncodeCertificate(p.seat.Authority.Certificate()), "auditor.yaml": []byte(text)} {
		p.must(os.WriteFile(p.path(name), content, 0o600))
	}
}

// vigil is a siege whose readers note what they are told, and whose auditors look whether the trails say so.
type vigil struct {
	*siege
	readers *readers
	trails  map[member.ID]*trail
	asks    map[member.ID]*client.Client // of a system of each: a node takes only so many connections from one address
	checked int                          // answers
	sent    int                          // entries at other members
}

func newVigil(t testing.TB, binary string, seed uint64) *vigil {
	t.Helper()
	v := &vigil{siege: newSiege(t, binary, seed), trails: map[member.ID]*trail{}, asks: map[member.ID]*client.Client{}}
	v.home.equipAuditor()
	for id, p := range v.places {
		v.trails[id], v.asks[id] = trailOf(p), p.system()
	}
	v.readers, _ = readOn(t, v.home, 3, seed)
	return v
}

// killUnderReads kills the node while it answers and releases, after so many further answers at most, and starts it again.
func (v *vigil) killUnderReads(most int) {
	v.t.Helper()
	v.pushing.give(300)
	v.readers.await(v.readers.answers() + 1 + v.chance.IntN(most))
	v.home.kill()
	v.kills++
	v.home.start()
}

// look holds what was acknowledged against what the node holds, what was told and what was sent against the trails, and what
// was sent against the table of deliveries.
func (v *vigil) look() {
	v.t.Helper()
	v.nothingLost()
	v.readers.quiet.Lock()
	defer v.readers.quiet.Unlock()
	got, count := v.readers.take(), v.readers.answers()
	held := map[member.ID]map[point]bool{}
	for _, id := range []member.ID{xb, xc} {
		held[id] = v.heldOfHome(id)
	}
	for _, t := range v.trails {
		t.read()
	}
	wrong := v.trails[xa].lacks(got)
	if len(wrong) > 0 {
		v.t.Fatalf("after kill %d, told and not in the trail: %s", v.kills, few(wrong))
	}
	v.checked = count
	v.sent = 0
	for id, points := range held {
		wrong = v.unaccounted(id, points)
		if len(wrong) > 0 {
			v.t.Fatalf("after kill %d, at %s: %s", v.kills, id, few(wrong))
		}
		v.sent += len(points)
	}
	v.home.verifyTrail()
}

// nothingLost compares what the node holds with what was acknowledged, while registries push.
func (v *vigil) nothingLost() {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	acked := v.claims.snapshot()
	wrong, err := missing(ctx, v.home.system(), acked, false)
	v.must(err)
	if len(wrong) > 0 {
		v.t.Fatalf("after kill %d, of %d records: %s", v.kills, len(acked), few(wrong))
	}
}

// heldOfHome is what another member's node holds of the home member's streams.
func (v *vigil) heldOfHome(id member.ID) map[point]bool {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	held := map[point]bool{}
	for response, err := range v.asks[id].Follow(ctx, &ententev1.SubscribeRequest{Consultation: asking(), UntilCurrent: true}) {
		v.must(err)
		for _, item := range response.GetItems() {
			if item.GetOwner() == string(xa) && item.GetReleasedRecord() != nil {
				held[pointOf(item.GetOwner(), item.GetEntry())] = true
			}
		}
	}
	return held
}

// unaccounted names entries that a member holds and that no trail says were sent to it, or that are not in the owner's table of
// deliveries. While the owner is away, the other reader may have relayed them.
func (v *vigil) unaccounted(id member.ID, held map[point]bool) []string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	listed := map[point]bool{}
	for record, err := range v.home.system().ListSent(ctx, &ententev1.ListSentRequest{Consultation: asking(), Member: string(id), PageSize: 1000}) {
		v.must(err)
		listed[pointOf(string(xa), record.GetDelivery().GetEntry())] = true
	}
	var wrong []string
	for p := range held {
		noted := false
		for _, t := range v.trails {
			noted = noted || t.sent[string(id)][p]
		}
		if !noted {
			wrong = append(wrong, fmt.Sprintf("%v was sent, and no trail says so", p))
		}
		if !listed[p] {
			wrong = append(wrong, fmt.Sprintf("%v was sent, and is not in the table of deliveries", p))
		}
	}
	return wrong
}

// end looks once more, with nothing in flight, and checks the files.
func (v *vigil) end() {
	v.t.Helper()
	v.look()
	v.finish()
	for _, call := range []string{"get", "list", "subscribe", "view"} {
		if v.readers.kinds[call] == 0 {
			v.t.Errorf("no %s was answered: nothing is known of its trace", call)
		}
	}
	v.t.Logf("%d kills: %d answers of %v each with its entry, %d entries at readers each in a trail and in the table of deliveries, %d entries of the trail",
		v.kills, v.checked, v.readers.kinds, v.sent, len(v.trails[xa].entries))
}

// TestNothingIsToldOrSentWithoutATrace kills the node of a member while it answers and releases. Whatever a caller got whole
// has its entry in the trail after the next start, whatever another member holds was noted as sent and is in the table of
// deliveries, and the trail is sound and continues the one of before.
func TestNothingIsToldOrSentWithoutATrace(t *testing.T) {
	binary := buildProgram(t)
	t.Run("by kill -9 under reads and releases", func(t *testing.T) {
		v := newVigil(t, binary, 11)
		v.begin()
		for range 5 {
			v.killUnderReads(60)
			v.look()
		}
		v.settle()
		v.end()
	})
	t.Run("an answer whose entry is taken away is found", func(t *testing.T) {
		v := newVigil(t, binary, 12)
		v.begin()
		v.pushing.give(100)
		v.claims.await(t, 50)
		v.readers.await(20)
		v.settle()
		v.home.kill()
		before := v.home.path("earlier.db")
		copyFile(t, v.home.path("node.db"), before)
		v.home.start()
		v.readers.await(v.readers.answers() + 20)
		v.home.kill()
		copyFile(t, before, v.home.path("node.db"))
		v.home.start()
		v.trails[xa].read()
		wrong := v.trails[xa].lacks(v.readers.take())
		if len(wrong) == 0 {
			t.Error("entries were taken away, and the comparison has not seen it")
		}
		t.Logf("seen: %s", few(wrong))
	})
}
