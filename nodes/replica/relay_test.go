package replica

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// caughtUp is a federation in which XB holds all that XA has released, and XA is gone. XC was never there.
func caughtUp(t *testing.T) (w *world, at map[member.ID]string, b *node) {
	t.Helper()
	w = newWorld(t, "XA", "XB", "XC")
	at = listen(w)
	a := start(w.open("XA", clean), at["XA"])
	b = start(w.open("XB", clean), at["XB"])
	for _, reference := range []string{"one", "two", "three", "four"} {
		a.push(reference, 1, toAll())
	}
	a.push("for XB alone", 1, toMember("XB"))
	a.withdraw("two")
	a.push("five", 1, toAll())
	eventually(t, "all is at XB", func() bool { return same(a.site, b.site) }, b)
	a.close()
	return w, at, b
}

func (n *node) status(id member.ID) *ententev1.PeerStatus {
	return (&pulling{Replica: n.Replica}).status(id)
}

// shared is the heads of an owner's shared streams at a site.
func (s *site) shared(owner member.ID) stream.Hash {
	var heads []stream.Head
	for _, info := range sharedStreams(s.ledger, owner, s.id) {
		heads = append(heads, stream.Head{Stream: info.ID, Size: info.Size, Root: info.Root})
	}
	return stream.Digest(heads)
}

func TestWhileItsOwnerIsDownAStreamComesThroughAnotherReader(t *testing.T) {
	w, at, b := caughtUp(t)
	c := start(w.open("XC", clean), at["XC"])
	eventually(t, "XC has the shared stream through XB, with its withdrawal", func() bool {
		held, erased := c.payloads("XA")
		return held == 4 && erased == 1 && c.shared("XA") == b.shared("XA") && c.status("XA").GetRelay() == "XB"
	}, c)
	status := c.status("XA")
	if status.GetConnected() || status.GetFreshAt() != nil || status.GetRelayError() != "" || status.GetRelayedAt() == nil {
		t.Errorf("status of XA at XC = %v", status)
	}
	pending, err := c.ledger.PendingReceipts("XA")
	if err != nil || len(pending) == 0 {
		t.Errorf("%d receipts wait for XA (%v): they are its alone", len(pending), err)
	}

	a := start(w.open("XA", clean), at["XA"])
	eventually(t, "XA is connected and the relay ends", func() bool {
		status := c.status("XA")
		return status.GetConnected() && status.GetRelay() == "" && same(a.site, c.site)
	}, a, c)
	a.push("six", 1, toAll())
	eventually(t, "what is new comes from XA", func() bool { held, _ := c.payloads("XA"); return held == 5 && same(a.site, c.site) }, a, c)
	eventually(t, "XA has XC's receipts", func() bool {
		standing, _ := a.deliveries("five")
		return !slices.Contains(standing, ententev1.DeliveryState_DELIVERY_STATE_PENDING)
	}, a)
	for _, n := range []*node{a, b, c} {
		n.close()
	}
}

// liar bends what comes in relayed pulls, and in no other.
type liar struct {
	Conn
	bend func(*ententev1.PullResponse) *ententev1.PullResponse
}

func (l *liar) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := l.Conn.NewStream(ctx, desc, method, opts...)
	return &lyingStream{ClientStream: s, liar: l}, err
}

type lyingStream struct {
	grpc.ClientStream
	*liar
	relayed bool
}

func (s *lyingStream) SendMsg(m any) error {
	request, is := m.(*ententev1.PullRequest)
	s.relayed = is && request.GetOwner() != ""
	return s.ClientStream.SendMsg(m)
}

func (s *lyingStream) RecvMsg(m any) error {
	for {
		err := s.ClientStream.RecvMsg(m)
		response, is := m.(*ententev1.PullResponse)
		if err != nil || !is || !s.relayed {
			return err
		}
		bent := s.bend(proto.CloneOf(response))
		if bent == nil {
			continue // left out
		}
		proto.Reset(response)
		proto.Merge(response, bent)
		return nil
	}
}

// only bends the first message that it fits.
func only(fits func(*ententev1.PullResponse) bool, change func(*ententev1.PullResponse)) func(*ententev1.PullResponse) *ententev1.PullResponse {
	return func(m *ententev1.PullResponse) *ententev1.PullResponse {
		if fits(m) {
			change(m)
		}
		return m
	}
}

func hasEntries(m *ententev1.PullResponse) bool     { return m.GetEntries() != nil }
func hasCheckpoint(m *ententev1.PullResponse) bool  { return m.GetCheckpoint() != nil }
func hasWithdrawals(m *ententev1.PullResponse) bool { return m.GetWithdrawals() != nil }

func flip(b []byte, at int) { b[(at+len(b))%len(b)] ^= 1 }

func TestWhatARelayAltersIsRefusedNamedAndCostsTheDirectPullNothing(t *testing.T) {
	tests := []struct {
		name string
		want string // rule
		bend func(*ententev1.PullResponse) *ententev1.PullResponse
	}{
		{"the type in a header", string(stream.RuleConsistency), only(hasEntries, func(m *ententev1.PullResponse) { m.GetEntries().Entries[1].Header[1] ^= 0x40 })},
		{"the sequence in a header", string(stream.RuleSequence), only(hasEntries, func(m *ententev1.PullResponse) {
			for i := range m.GetEntries().GetEntries()[1].GetHeader()[2:10] {
				m.GetEntries().Entries[1].Header[2+i] ^= 1
			}
		})},
		{"the commitment in a header", string(stream.RuleCommitment), only(hasEntries, func(m *ententev1.PullResponse) { flip(m.GetEntries().GetEntries()[1].GetHeader(), -1) })},
		{"a salt", string(stream.RuleCommitment), only(hasEntries, func(m *ententev1.PullResponse) { flip(m.GetEntries().GetEntries()[1].GetSalt(), 5) })},
		{"a payload", string(stream.RuleCommitment), only(hasEntries, func(m *ententev1.PullResponse) { flip(m.GetEntries().GetEntries()[1].GetPayload(), -1) })},
		{"a payload left out", string(stream.RuleMissing), only(hasEntries, func(m *ententev1.PullResponse) {
			m.GetEntries().Entries[1].Payload, m.GetEntries().Entries[1].Salt = nil, nil
		})},
		{"the proof of a withdrawal", string(stream.RuleInclusion), only(hasWithdrawals, func(m *ententev1.PullResponse) { flip(m.GetWithdrawals().GetWithdrawals()[0].GetInclusion()[0], 3) })},
		{"the target of a withdrawal", string(stream.RuleInclusion), only(hasWithdrawals, func(m *ententev1.PullResponse) {
			flip(m.GetWithdrawals().GetWithdrawals()[0].GetHeader(), 33)
		})},
		{"the size in a checkpoint", string(stream.RuleCheckpoint), only(hasCheckpoint, func(m *ententev1.PullResponse) { flip(m.GetCheckpoint().GetCheckpoint(), 55) })},
		{"the signature of a checkpoint", string(stream.RuleCheckpoint), only(hasCheckpoint, func(m *ententev1.PullResponse) { flip(m.GetCheckpoint().GetCheckpoint(), -9) })},
		{"the id of a stream", string(stream.RuleCheckpoint), only(hasCheckpoint, func(m *ententev1.PullResponse) { flip(m.GetCheckpoint().GetStreamId(), 0) })},
		{"the id of a stream of entries", string(RuleNotOffered), only(hasEntries, func(m *ententev1.PullResponse) { flip(m.GetEntries().GetStreamId(), 0) })},
		{"the order of entries", string(stream.RuleSequence), only(hasEntries, func(m *ententev1.PullResponse) { slices.Reverse(m.GetEntries().GetEntries()[1:]) })},
		{"the end left out", string(RuleUnfinished), func(m *ententev1.PullResponse) *ententev1.PullResponse {
			if m.GetCaughtUp() != nil {
				return nil
			}
			return m
		}},
		{"a consistency proof added", string(stream.RuleConsistency), only(hasEntries, func(m *ententev1.PullResponse) { m.GetEntries().Consistency = [][]byte{make([]byte, 32)} })},
	}
	w, at, b := caughtUp(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var direct list[string]
			fresh := w.openFile("XC", filepath.Join(w.folder, fmt.Sprintf("XC %d.db", i)), clean, 0)
			c := start(fresh, at["XC"], func(cfg *Config) {
				cfg.RelayRest = time.Hour
				dial := cfg.Dial
				cfg.Dial = func(id member.ID, address string) (Conn, error) {
					conn, err := dial(id, address)
					if id == "XA" {
						direct.add(address)
					}
					return &liar{Conn: conn, bend: tt.bend}, err
				}
			})
			eventually(t, "the relay is refused and named", func() bool {
				text := c.status("XA").GetRelayError()
				return strings.HasPrefix(text, "XB, relaying XA: ") && strings.Contains(text, tt.want)
			}, c)
			if held, _ := c.payloads("XA"); held != 0 && tt.want != string(RuleUnfinished) {
				t.Errorf("%d altered releases were taken", held)
			}
			tried := len(direct.all())
			eventually(t, "the direct pull is tried meanwhile", func() bool { return len(direct.all()) > tried }, c)
			a := start(w.open("XA", clean), at["XA"])
			eventually(t, "all comes from XA", func() bool { return same(a.site, c.site) && c.status("XA").GetConnected() }, a, c)
			if text := c.status("XA").GetLastError(); text != "" {
				t.Errorf("the direct pull suffers: %s", text)
			}
			a.close()
			c.close()
		})
	}
	b.close()
}

// connect gives a node's connection to another, past its replica.
func (n *node) connect(to member.ID) ententev1.ExchangeServiceClient {
	n.w.t.Helper()
	certificate, err := n.w.fed.Certificate(member.Identity{Member: n.id, Kind: member.KindNode})
	if err != nil {
		n.w.t.Fatal(err)
	}
	source := func() (*tls.Certificate, error) { return certificate, nil }
	conn, err := Dialer(source, func() *member.Roster { return n.w.directory.Load().Roster })(to, n.w.fed.Seat(to).Addresses[0])
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.w.t.Cleanup(func() { _ = conn.Close() })
	return ententev1.NewExchangeServiceClient(conn)
}

// relayed is all that a member answers who is asked for another's streams.
func relayed(t *testing.T, from ententev1.ExchangeServiceClient, owner string) []string {
	t.Helper()
	call, err := from.Pull(t.Context(), &ententev1.PullRequest{Owner: owner, PositionsGiven: true, Contract: member.Contract})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for {
		m, err := call.Recv()
		if err != nil {
			break
		}
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(encoded))
	}
	heads, err := from.Heads(t.Context(), &ententev1.HeadsRequest{Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(heads)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, string(encoded))
}

// TestARelayShowsNothingToWhoDoesNotRead: XB holds streams of XA of a project without XC, and bilateral ones, and answers XC
// as if there were none.
func TestARelayShowsNothingToWhoDoesNotRead(t *testing.T) {
	w := newWorld(t, "XA", "XB", "XC", "XD")
	at := listen(w)
	roster := w.directory.Load().Roster
	_, project, err := w.fed.Project(roster, "harbour", "Harbour", "XA", "XB", "XD")
	if err != nil {
		t.Fatal(err)
	}
	w.directory.Store(&ledger.Directory{Roster: roster, Projects: map[string]*member.Project{"harbour": project}})
	a, b := start(w.open("XA", clean), at["XA"]), start(w.open("XB", clean), at["XB"])
	c, d := start(w.open("XC", clean), at["XC"]), start(w.open("XD", clean), at["XD"])
	a.push("project", 1, []*ententev1.Audience{{Readers: &ententev1.Audience_Project{Project: &ententev1.ProjectAudience{ProjectId: "harbour"}}}})
	a.push("XB alone", 1, toMember("XB"))
	a.push("XC alone", 1, toMember("XC"))
	eventually(t, "all is at its readers", func() bool { return same(a.site, b.site) && same(a.site, c.site) && same(a.site, d.site) }, a, b, c, d)
	nothing := relayed(t, c.connect("XB"), "XD")
	if len(nothing) != 2 {
		t.Fatalf("%d messages where there is nothing", len(nothing))
	}
	for _, owner := range []string{"XA", "XZ"} {
		if got := relayed(t, c.connect("XB"), owner); !slices.Equal(got, nothing) {
			t.Errorf("asked for %s, XB answers XC with %d messages, other than where there is nothing", owner, len(got))
		}
	}
	if got := relayed(t, d.connect("XB"), "XA"); len(got) < 4 { // positive control: XD reads the project
		t.Errorf("XD gets %d messages of XA's project stream", len(got))
	}
	if got := relayed(t, c.connect("XB"), "XA"); slices.ContainsFunc(got, func(m string) bool { return strings.Contains(m, "Invented") }) {
		t.Error("a record was shown")
	}
	left := *project
	left.Participants = []member.ID{"XA", "XB"}
	w.directory.Store(&ledger.Directory{Roster: roster, Projects: map[string]*member.Project{"harbour": &left}})
	if got := relayed(t, d.connect("XB"), "XA"); !slices.Equal(got, nothing) {
		t.Errorf("XD has left the project and still gets %d messages", len(got))
	}
	for _, n := range []*node{a, b, c, d} {
		n.close()
	}
}

// TestWhatComesByTheSideWhileTheOwnerIsCalledIsNoFaultOfTheOwner: between the call and the owner's first word this node gets,
// from elsewhere, what the owner has written meanwhile. The owner then goes on from a position that is not ours any more.
func TestWhatComesByTheSideWhileTheOwnerIsCalledIsNoFaultOfTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		owner := newScripted(a, "XB")
		b.tells("XA", append(owner.round(map[stream.ID]uint64{}), &ententev1.PullResponse{Content: &ententev1.PullResponse_CaughtUp{CaughtUp: &ententev1.CaughtUp{}}}))
		once := false
		owner.bend = func(messages script) script {
			if once {
				return messages
			}
			once = true
			held := map[stream.ID]uint64{}
			for _, info := range a.ledger.StreamsShared("XA", "XB") {
				held[info.ID] = info.Size
			}
			a.push("meanwhile", 1, toAll())
			b.tells("XA", owner.round(held))
			return messages
		}
		r := pull(t, b, b.ledger, nil, owner)
		pass(time.Second)
		requests, _ := owner.pulls()
		if !same(a, b) || r.status("XA").GetLastError() != "" || len(requests) != 2 || !requests[1].GetPositionsGiven() {
			t.Errorf("after %d calls: %v", len(requests), r.status("XA"))
		}
		a.push("after", 1, toAll())
		pass(time.Second)
		if requests, _ := owner.pulls(); !same(a, b) || len(requests) != 2 {
			t.Errorf("after %d calls: %v", len(requests), r.status("XA"))
		}
		r.close(t)
		owner.server.Stop()
		a.close()
		b.close()
	})
}

// TestANodeOfTheOlderContractIsNoRelay: it knows no owner in a pull and answers with its own digest.
func TestANodeOfTheOlderContractIsNoRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB", "XC")
		a, b, c := filled(w, "XA", "XB"), w.open("XB", clean), filled(w, "XC", "XB")
		gone, old := newScripted(a, "XB"), newScripted(c, "XB")
		gone.down = true
		r := pull(t, b, b.ledger, nil, gone, old)
		pass(9 * time.Minute)
		asked := 0
		requests, _ := old.pulls()
		for _, request := range requests {
			if request.GetOwner() != "" {
				asked++
			}
			if request.GetContract() != member.Contract {
				t.Errorf("a pull says contract %d", request.GetContract())
			}
		}
		if asked != 1 {
			t.Errorf("asked %d times to relay within 9 minutes, want once in 10", asked)
		}
		if text := r.status("XA").GetRelayError(); text != "" || r.status("XA").GetRelay() != "" {
			t.Errorf("an older node is accused or named as a relay: %v", r.status("XA"))
		}
		if !same(c, b) {
			t.Error("its own streams do not come")
		}
		r.close(t)
		gone.server.Stop()
		old.server.Stop()
		a.close()
		b.close()
		c.close()
	})
}

// history is a stream of XA for all members, as far as it is signed: an opening and releases that say what variant tells.
func history(w *world, id stream.ID, variant ...string) script {
	w.t.Helper()
	opening := &ententev1.StreamOpening{StreamId: id[:], Owner: "XA", Kind: ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS,
		Readers: []string{"XB", "XC"}, OpenedAt: timestamppb.New(time.Unix(1_700_000_000, 0))}
	payloads := []*ententev1.StreamPayload{{Content: &ententev1.StreamPayload_Opening{Opening: opening}}}
	for i, text := range variant {
		record, err := proto.Marshal(&ententev1.ReleasedRecord{RecordId: slices.Repeat([]byte{byte(i + 1)}, 16), Body: &ententev1.Body{
			Kind: &ententev1.Body_Person{Person: &ententev1.Person{Names: []*ententev1.PersonName{{Family: text}}}}}})
		if err != nil {
			w.t.Fatal(err)
		}
		payloads = append(payloads, &ententev1.StreamPayload{Content: &ententev1.StreamPayload_ReleasedRecord{ReleasedRecord: record}})
	}
	var edge stream.Edge
	var entries []*ententev1.Entry
	for i, p := range payloads {
		payload, err := proto.Marshal(p)
		if err != nil {
			w.t.Fatal(err)
		}
		salt := slices.Repeat([]byte{byte(i)}, stream.SaltSize)
		header := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE, Sequence: uint64(i + 1), Commitment: stream.Commit(salt, payload)}
		if i == 0 {
			header.Type = ententev1.EntryType_ENTRY_TYPE_OPENING
		}
		encoded := header.Append(nil)
		edge.Append(stream.LeafHash(encoded))
		entries = append(entries, &ententev1.Entry{Header: encoded, Salt: salt, Payload: payload})
	}
	note, err := stream.Checkpoint{Owner: "XA", Stream: id, Size: edge.Size(), Root: edge.Root(), Time: time.Now()}.Sign(w.fed.Seat("XA").Signing)
	if err != nil {
		w.t.Fatal(err)
	}
	return script{
		{Content: &ententev1.PullResponse_Checkpoint{Checkpoint: &ententev1.CheckpointUpdate{StreamId: id[:], Checkpoint: note}}},
		{Content: &ententev1.PullResponse_Entries{Entries: &ententev1.EntryBatch{StreamId: id[:], Entries: entries}}},
		{Content: &ententev1.PullResponse_CaughtUp{CaughtUp: &ententev1.CaughtUp{}}},
	}
}

// tells has a site take a script as the owner's word.
func (s *site) tells(owner member.ID, messages script) {
	s.w.t.Helper()
	session := newSession(s.ledger, owner, s.id, s.w.directory.Load().Roster.VerifyingKeys, time.Now, true)
	session.opened = true
	for i, m := range messages {
		_, err := session.take(s.w.t.Context(), m)
		if err != nil {
			s.w.t.Fatalf("message %d: %v", i, err)
		}
	}
	if session.note() != nil {
		s.w.t.Fatal(session.note())
	}
}

func (s *site) frozen(owner member.ID) bool {
	infos := s.ledger.StreamsShared(owner, s.id)
	return len(infos) == 1 && infos[0].Frozen
}

func TestReadersThatCompareHeadsFindTwoHistories(t *testing.T) {
	tests := []struct {
		name        string
		atB, atC    []string
		wantsFrozen bool
	}{
		{"of the same size", []string{"left"}, []string{"right"}, true},
		{"of which one is longer", []string{"left"}, []string{"right", "more"}, true},
		{"one history is none", []string{"left"}, []string{"left", "more"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "XA", "XB", "XC")
			at := listen(w)
			id, err := stream.NewID(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			held := w.open("XB", clean)
			held.tells("XA", history(w, id, tt.atB...))
			here := w.open("XC", clean)
			here.tells("XA", history(w, id, tt.atC...))
			b := start(held, at["XB"], func(cfg *Config) { cfg.RelayEvery = time.Hour })
			asked := make(chan struct{}, 1000)
			c := start(here, at["XC"], func(cfg *Config) {
				cfg.RelayEvery, cfg.CompareEvery = time.Hour, 20*time.Millisecond
				dial := cfg.Dial
				cfg.Dial = func(id member.ID, address string) (Conn, error) {
					if id == "XB" {
						asked <- struct{}{}
					}
					return dial(id, address)
				}
			})
			if tt.wantsFrozen {
				eventually(t, "XC has found out", func() bool {
					return c.frozen("XA") && strings.Contains(c.status("XA").GetLastError(), "two histories")
				}, c)
			} else {
				for range 20 {
					<-asked
				}
			}
			if c.frozen("XA") != tt.wantsFrozen {
				t.Errorf("frozen: %v", c.frozen("XA"))
			}
			if text := c.status("XA").GetRelayError(); text != "" {
				t.Errorf("the reader that was asked is accused: %s", text)
			}
			b.close()
			c.close()
		})
	}
}

func TestAForkFoundThroughARelayFreezesTheStream(t *testing.T) {
	w := newWorld(t, "XA", "XB", "XC")
	id, err := stream.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	here := w.open("XC", clean)
	here.tells("XA", history(w, id, "right"))
	s := newSession(here.ledger, "XA", "XC", w.directory.Load().Roster.VerifyingKeys, time.Now, true)
	s.from, s.opened, s.asked = fromRelay, true, map[stream.ID]bool{id: true}
	for i, m := range history(w, id, "left") {
		o, err := s.take(t.Context(), m)
		if err != nil || o.done != (i == 2) {
			t.Errorf("message %d: %v, %v: a fork is no fault of the relay", i, o, err)
		}
	}
	if !here.frozen("XA") {
		t.Error("the stream is not frozen")
	}
	here.close()
}
