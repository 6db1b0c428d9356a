package coordinator_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// withdrawnWithin is within which a withdrawal is in force at all connected readers, counted from the owner's answer.
const withdrawnWithin = time.Second

// canary is a record of XA with a word that stands nowhere else, so that it is found wherever it has survived.
type canary struct {
	reference, word string
	practice        bool        // of the library; else a person
	readers         []member.ID // whose answers show it
}

// wordMark begins the word of each canary; twelve letters follow.
const wordMark = "Zqc"

// inWords counts the words of canaries in a text. A mark alone may stand by chance in a signature.
func inWords(text []byte) int { return len(wordPattern().FindAll(text, -1)) }

func wordPattern() *regexp.Regexp { return regexp.MustCompile("(?i)" + wordMark + "[a-z]{12}") }

// canaryItem is the i-th canary as it is pushed. Words are drawn by a hash, so that the resolver takes no two for one person.
func canaryItem(i int) (canary, *ententev1.PushItem) {
	sum := sha256.Sum256(fmt.Append(nil, "canary ", i))
	word := []byte(wordMark)
	for _, b := range sum[:12] {
		word = append(word, 'a'+b%26)
	}
	c := canary{reference: fmt.Sprintf("canary-%d", i), word: string(word), readers: []member.ID{"XB", "XC", "COORD"}}
	audience := toAll()
	switch i % 5 {
	case 1:
		audience, c.readers = toProject(), []member.ID{"XB", "COORD"}
	case 2:
		audience, c.readers = toMembers("XB"), []member.ID{"XB"}
	case 3:
		audience, c.readers = toMembers("COORD", "XB"), []member.ID{"XB", "COORD"}
		audience.GetMembers().MergeFor = []string{"XB"}
	case 4:
		c.practice = true
	}
	item := person(c.reference, c.word, audience)
	if c.practice {
		item.GetRecord().Body = &ententev1.Body{Kind: &ententev1.Body_GoodPractice{GoodPractice: &ententev1.GoodPractice{
			State: ententev1.LessonState_LESSON_STATE_VALIDATED, Context: &ententev1.LessonContext{Title: "How " + c.word + " was done"},
			Tlp: ententev1.Tlp_TLP_GREEN, Sanitised: true, Description: "As " + c.word + " says.",
		}}}
	}
	return c, item
}

// inView says whether the merged view of a reader shows it.
func (c canary) inView(reader member.ID) bool {
	return !c.practice && slices.Contains(c.readers, "COORD") && slices.Contains(c.readers, reader)
}

// flock is a federation in which XA has released canaries, and clients of all that answer.
type flock struct {
	*world
	all      []canary
	system   map[member.ID]*client.Client
	officer  map[member.ID]*client.Client
	operator map[member.ID]*client.Client
	auditor  map[member.ID]*client.Client
	why      *ententev1.Consultation
}

func asks() *ententev1.Consultation {
	return &ententev1.Consultation{Purpose: purpose, CaseReference: "HL-2026-7"}
}

// members are all of the world, the owner first.
func members() []member.ID { return []member.ID{"XA", "XB", "XC", "COORD"} }

// newFlock has clients; the nodes need not run.
func newFlock(w *world) *flock {
	f := &flock{world: w, system: map[member.ID]*client.Client{}, officer: map[member.ID]*client.Client{},
		operator: map[member.ID]*client.Client{}, auditor: map[member.ID]*client.Client{}, why: asks()}
	for _, id := range members() {
		s := w.sites[id]
		f.system[id], f.officer[id] = s.as(member.KindSystem, "intake"), s.as(member.KindOfficer, "o1")
		f.operator[id], f.auditor[id] = s.as(member.KindOperator, "ops"), s.as(member.KindAuditor, "eve")
	}
	return f
}

// release pushes canaries from number from on, and waits until every reader shows them.
func (f *flock) release(from, count int) []canary {
	f.t.Helper()
	var items []*ententev1.PushItem
	var list []canary
	for i := from; i < from+count; i++ {
		c, item := canaryItem(i)
		list, items = append(list, c), append(items, item)
	}
	f.sites["XA"].push(items...)
	f.all = append(f.all, list...)
	for _, c := range list {
		for _, reader := range c.readers {
			f.until(c.reference+" is at "+string(reader), func() bool { return f.sites[reader].Ledger().Holds(f.name(c)) })
		}
	}
	must(f.t, f.sites["COORD"].merged.Settled(f.t.Context()))
	return list
}

func (f *flock) name(c canary) ledger.Name {
	return ledger.Name{Owner: "XA", Record: f.sites["XA"].Ledger().RecordID("Central Unit", c.reference)}
}

// withdraw takes canaries back, and has them erased at home too.
func (f *flock) withdraw(list ...canary) {
	f.t.Helper()
	var references []string
	for _, c := range list {
		references = append(references, c.reference)
	}
	verdicts, err := f.system["XA"].WithdrawAs(f.t.Context(), &ententev1.WithdrawRequest{ProviderReferences: references,
		Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE, Erase: true})
	must(f.t, err)
	for _, v := range verdicts {
		if v.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			f.t.Fatalf("%s: %s %v", v.GetProviderReference(), v.GetOutcome(), v.GetViolations())
		}
	}
}

// shown are the answers of a reader's node that show a canary: of a subscription from the beginning, the library, the merged
// view.
func (f *flock) shown(reader member.ID, c canary) ([]string, error) {
	var by []string
	note := func(what string, is bool, err error) error {
		if is && err == nil {
			by = append(by, what)
		}
		return err
	}
	followed, err := f.followed(reader)
	err = note("stream", bytes.Contains(followed, []byte(c.word)), err)
	if err != nil {
		return nil, err
	}
	id := f.name(c).Record
	if c.practice {
		_, err = f.officer[reader].GetLibrary(f.t.Context(), &ententev1.LibraryServiceGetRequest{Consultation: f.why, Owner: "XA", RecordId: id[:]})
		is, err := found(err)
		return by, note("library", is, err)
	}
	if !c.inView(reader) {
		return by, nil
	}
	_, err = f.officer[reader].Entity(f.t.Context(), f.why, id[:])
	if status.Code(err) == codes.FailedPrecondition {
		return append(by, "nothing, while the view is computed"), nil // it is asked again
	}
	is, err := found(err)
	return by, note("view", is, err)
}

// found reads whether something was there from how a call for it ended.
func found(err error) (bool, error) {
	if status.Code(err) == codes.NotFound {
		return false, nil
	}
	return true, err
}

// followed is all that a subscription from the beginning brings.
func (f *flock) followed(reader member.ID) ([]byte, error) {
	var all []byte
	for response, err := range f.system[reader].Follow(f.t.Context(), &ententev1.SubscribeRequest{Consultation: f.why, UntilCurrent: true}) {
		if err != nil {
			return nil, err
		}
		for _, item := range response.GetItems() {
			all = append(all, item.GetReleasedRecord()...)
		}
	}
	return all, nil
}

// lags withdraws canaries one by one, and gives for each reader of each how long after the owner's answer an answer of the
// reader's node that began then, or later, was the last to show it.
func (f *flock) lags(list []canary) []time.Duration {
	f.t.Helper()
	var took []time.Duration
	var mu sync.Mutex // covers took
	for i, c := range list {
		if i < 5 {
			f.mustBeShown(c)
		}
		f.withdraw(c)
		since := time.Now()
		var readers sync.WaitGroup
		for _, reader := range c.readers {
			readers.Go(func() { // ends when the canary is gone
				for {
					by, err := f.shown(reader, c)
					lag := time.Since(since)
					if err != nil || len(by) > 0 && lag > 20*withdrawnWithin {
						f.t.Errorf("%s still shows %s after %s, by %v: %v", reader, c.reference, lag, by, err)
					}
					if len(by) == 0 || err != nil || lag > 20*withdrawnWithin {
						mu.Lock()
						took = append(took, lag)
						mu.Unlock()
						return
					}
				}
			})
		}
		readers.Wait()
	}
	return took
}

// mustBeShown wants a canary that has not been withdrawn in all answers of its readers: what is never found there is no
// measure of how soon it is gone.
func (f *flock) mustBeShown(c canary) {
	f.t.Helper()
	for _, reader := range c.readers {
		want := 1
		if c.practice || c.inView(reader) {
			want = 2
		}
		by, err := f.shown(reader, c)
		if err != nil || len(by) != want {
			f.t.Errorf("%s shows %s by %v before it is withdrawn, want %d answers: %v", reader, c.reference, by, want, err)
		}
	}
}

// reportLags says what was measured, and holds the 99th of a hundred against the bound.
func reportLags(t *testing.T, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	at := func(percent int) time.Duration {
		return took[min(len(took)-1, len(took)*percent/100)].Round(time.Microsecond)
	}
	t.Logf("%d withdrawals at readers: gone from all answers after p50 %s, p99 %s, p100 %s", len(took), at(50), at(99), at(100))
	if at(99) > withdrawnWithin {
		t.Errorf("p99 is %s, more than %s", at(99), withdrawnWithin)
	}
}

// survivors are the words of canaries in each kind of answer of each node, and in files that are made of them.
func (f *flock) survivors() map[string]int {
	f.t.Helper()
	counts := map[string]int{}
	note := func(what string, text []byte) {
		counts[what] += inWords(text)
	}
	f.owned(note)
	for _, id := range members() {
		followed, err := f.followed(id)
		must(f.t, err)
		note("stream of "+string(id), followed)
		for item, err := range f.officer[id].ListLibrary(f.t.Context(), &ententev1.LibraryServiceListRequest{Consultation: f.why}) {
			must(f.t, err)
			note("library of "+string(id), encoded(f.t, item))
		}
		view, err := f.officer[id].View(f.t.Context(), f.why)
		must(f.t, err)
		for _, e := range view.Entities {
			note("view of "+string(id), encoded(f.t, e))
		}
		for part, err := range f.officer[id].Export(f.t.Context(), &ententev1.ExportRequest{Consultation: f.why, Recipient: "a court"}) {
			must(f.t, err)
			note("export of "+string(id), encoded(f.t, part))
		}
		for part, err := range f.auditor[id].FindSubject(f.t.Context(), &ententev1.FindSubjectRequest{Name: wordMark, Reason: reason()}) {
			must(f.t, err)
			if part.GetRecord().GetHeld() {
				counts["search of the auditor of "+string(id)]++
			}
		}
		for _, reader := range members() {
			if reader == id {
				continue
			}
			var file bytes.Buffer
			_, err := f.operator[id].ExportStreams(f.t.Context(), &ententev1.ExportStreamsRequest{Reader: string(reader)}, &file)
			must(f.t, err)
			note("carried file of "+string(id), file.Bytes())
		}
	}
	return counts
}

// owned looks at what the owner's own systems are told.
func (f *flock) owned(note func(string, []byte)) {
	f.t.Helper()
	for record, err := range f.system["XA"].List(f.t.Context(), &ententev1.ListRequest{Consultation: f.why}) {
		must(f.t, err)
		note("list", encoded(f.t, record))
	}
	for _, c := range f.all {
		record, err := f.system["XA"].Get(f.t.Context(), &ententev1.GetRequest{Consultation: f.why, ProviderReference: c.reference})
		must(f.t, err)
		note("get", encoded(f.t, record))
	}
}

func reason() *ententev1.AuditReason {
	return &ententev1.AuditReason{Purpose: ententev1.AuditPurpose_AUDIT_PURPOSE_LAWFULNESS, CaseReference: "A-1"}
}

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	text, err := protojson.Marshal(m)
	must(t, err)
	return text
}

// kinds are the answers in which canaries are to be found before they are withdrawn: were one never found there, that it is
// not found afterwards would say nothing.
func kinds() []string {
	list := []string{"get", "list", "carried file of XA", "carried file of XB", "carried file of COORD"}
	for _, id := range members() {
		list = append(list, "stream of "+string(id), "library of "+string(id), "view of "+string(id), "export of "+string(id),
			"search of the auditor of "+string(id))
	}
	return list
}

// confirmable is an entry as its owner gave it: what somebody knows who wants to prove that it was there.
type confirmable struct {
	what                    string
	salt, payload, released []byte
	commitment              stream.Hash
}

// confirmables reads entries that go to a reader from the owner's node, some of each stream.
func (f *flock) confirmables(reader member.ID, each int) []confirmable {
	f.t.Helper()
	var list []confirmable
	held := f.sites["XA"].Ledger()
	for _, info := range held.StreamsShared("XA", reader) {
		entries, err := held.Entries(info.No, 2, each, 1<<20)
		must(f.t, err)
		for _, e := range entries {
			header, err := stream.ParseHeader(e.GetHeader())
			must(f.t, err)
			payload := &ententev1.StreamPayload{}
			must(f.t, proto.Unmarshal(e.GetPayload(), payload))
			released := payload.GetReleasedRecord()
			if len(released) == 0 {
				f.t.Fatalf("entry %d of a stream to %s carries no record", header.Sequence, reader)
			}
			list = append(list, confirmable{what: fmt.Sprintf("entry %d of stream %s", header.Sequence, info.ID), salt: e.GetSalt(), payload: e.GetPayload(),
				released: released, commitment: header.Commitment})
		}
	}
	return list
}

// confirmed says by what a file's values prove that an entry was there: by what they hold of it, or by bytes that are its
// salt, wherever they stand; "" where nothing does.
func (c confirmable) confirmed(values [][]byte) string {
	payload, released := sha256.Sum256(c.payload), sha256.Sum256(c.released)
	for what, traitor := range map[string][]byte{
		"its salt": c.salt, "its payload": c.payload, "its released form": c.released, "the hash of its payload": payload[:], "the hash of its released form": released[:],
		"salt and payload": slices.Concat(c.salt, c.payload),
	} {
		if slices.ContainsFunc(values, func(value []byte) bool { return bytes.Contains(value, traitor) }) {
			return what
		}
	}
	for _, value := range values {
		for at := 0; at+stream.SaltSize <= len(value); at++ {
			if stream.Commit(value[at:at+stream.SaltSize], c.payload) == c.commitment {
				return "32 bytes of a value, as a salt"
			}
		}
	}
	return ""
}

func TestAWithdrawalIsInForceAtConnectedReadersWithinASecond(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	f := newFlock(w)
	reportLags(t, f.lags(f.release(0, 200)))
}

func TestNothingSurvivesAWithdrawalInAnAnswerOrInAFile(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	newFlock(w).vanish(t, 60)
}

// known is what somebody knows of canaries from before they were withdrawn.
type known struct {
	entries []confirmable
	sealed  map[member.ID]map[nonce]string // by whose data file it is
}

// vanish releases canaries, withdraws them, and looks for survivors everywhere. Each look has its control: it finds them
// before the withdrawal. free is how many of the sealed values were still in the files right after it: pages that are free
// are soon written again where little is held, so of a few canaries there may be none.
func (f *flock) vanish(t *testing.T, count int) (free int) {
	f.release(0, count)
	k := f.known(t)
	f.withdraw(f.all...)
	for _, id := range members() {
		f.until("nothing is held at "+string(id), func() bool { return f.holdsNone(id) })
	}
	for _, id := range members() {
		free += len(f.sites[id].leftovers(k.sealed[id]))
	}
	must(t, f.sites["COORD"].merged.Settled(t.Context()))
	for kind, survived := range f.survivors() {
		if survived > 0 {
			t.Errorf("%s: %d canaries survive", kind, survived)
		}
	}
	f.compacted(t, k)
	t.Logf("%d sealed values were in free pages after the withdrawal", free)
	return free
}

// known wants to find the canaries in every answer and file, and gives what is to be found nowhere once they are withdrawn.
func (f *flock) known(t *testing.T) known {
	before := f.survivors()
	for _, kind := range kinds() {
		if before[kind] == 0 {
			t.Errorf("%s: no canary is found before the withdrawal, so the search finds nothing", kind)
		}
	}
	k := known{entries: f.confirmables("XB", 2), sealed: map[member.ID]map[nonce]string{}}
	for id, file := range f.inspect() {
		k.sealed[id] = file.canaries
		left := f.sites[id].leftovers(k.sealed[id])
		if len(file.canaries) == 0 || len(left) < len(file.canaries) {
			t.Errorf("%s: %d values hold canaries before the withdrawal, %d of them are found sealed", id, len(file.canaries), len(left))
		}
		for _, c := range k.entries {
			if id == "XB" && c.confirmed(file.values) == "" {
				t.Errorf("%s: is not confirmed by the file of %s before the withdrawal: the search finds nothing", c.what, id)
			}
		}
	}
	return k
}

// compacted has all files compacted, and wants none of what was known in them.
func (f *flock) compacted(t *testing.T, k known) {
	for _, id := range members() {
		_, err := f.operator[id].Compact(t.Context(), nil)
		must(t, err)
		if left := f.sites[id].leftovers(k.sealed[id]); len(left) > 0 {
			t.Errorf("%s: %d sealed values are in the file after the compaction, such as %s", id, len(left), left[0])
		}
	}
	sealed, values, size := 0, 0, 0
	for id, file := range f.inspect() {
		if len(file.canaries) > 0 || len(file.unsealed) > 0 {
			t.Errorf("%s: %d values hold canaries, and %d tables: %v", id, len(file.canaries), len(file.unsealed), file.unsealed)
		}
		for _, c := range k.entries {
			by := c.confirmed(file.values)
			if by != "" {
				t.Errorf("%s is still confirmed by the file of %s: it holds %s", c.what, id, by)
			}
		}
		sealed += len(k.sealed[id])
		values += len(file.values)
		for _, value := range file.values {
			size += len(value)
		}
	}
	t.Logf("%d canaries, %d sealed values of them in 4 files: none after the compaction; %d entries are confirmed by none of the %d values (%d bytes) that are left",
		len(f.all), sealed, len(k.entries), values, size)
}

// holdsNone says whether a node holds the content of no canary.
func (f *flock) holdsNone(id member.ID) bool {
	for _, c := range f.all {
		if f.sites[id].Ledger().Holds(f.name(c)) {
			return false
		}
	}
	return true
}
