package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestBackoff(t *testing.T) {
	b := DefaultBackoff()
	tests := []struct {
		name     string
		failures int
		chance   float64
		want     time.Duration
	}{
		{"the first failure waits the least", 1, 0, 200 * time.Millisecond},
		{"each further one doubles it", 4, 0, 1600 * time.Millisecond},
		{"it never exceeds the most", 9, 0, 30 * time.Second},
		{"a million failures wait the most", 1_000_000, 0, 30 * time.Second},
		{"chance takes off up to the jitter", 1, 0.5, 150 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := b.Delay(tt.failures, tt.chance)
			if got != tt.want {
				t.Errorf("Delay(%d, %v) = %v, want %v", tt.failures, tt.chance, got, tt.want)
			}
		})
	}
}

func TestAnIncompleteConfigurationIsRefused(t *testing.T) {
	_, err := New(Config{Self: "XB"})
	if err == nil {
		t.Error("New accepted a configuration without a ledger")
	}
}

// filled is an owner with two streams, several batches long, with withdrawals in both.
func filled(w *world, id, reader member.ID) *site {
	a := w.open(id, clean)
	for i := range 5 {
		a.push(fmt.Sprint("all ", i), 1, toAll())
		a.push(fmt.Sprint("one ", i), 1, toMember(reader))
	}
	a.withdraw("all 1")
	a.withdraw("one 3")
	a.push("all 9", 1, toAll())
	return a
}

func TestAPeerThatFailsIsTriedAgainAfterGrowingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		peer.down = true
		dials := &list[time.Time]{}
		r := pull(t, b, b.ledger, func(cfg *Config) {
			dial := cfg.Dial
			cfg.Dial = func(id member.ID, address string) (Conn, error) {
				dials.add(time.Now())
				return dial(id, address)
			}
		}, peer)
		pass(5 * time.Minute)
		tried := dials.all()
		want := 200 * time.Millisecond
		for i := 1; i < len(tried); i++ {
			gap := tried[i].Sub(tried[i-1])
			if gap > want || gap < want/2 {
				t.Errorf("wait %d was %v, want %v to %v", i, gap, want/2, want)
			}
			want = min(2*want, 30*time.Second)
		}
		if len(tried) < 15 || len(tried) > 35 {
			t.Errorf("%d attempts in 5 minutes", len(tried))
		}
		status := r.status("XA")
		if status.GetConnected() || !strings.Contains(status.GetLastError(), "Unavailable") {
			t.Errorf("status = %v", status)
		}
		if strings.Contains(status.GetLastError(), "words of the peer") {
			t.Errorf("the status repeats what the peer says: %s", status.GetLastError())
		}

		peer.set(func() { peer.down = false })
		pass(31 * time.Second)
		if !same(a, b) {
			t.Error("nothing came after the peer was back")
		}
		peer.set(func() { peer.down = true; peer.cut = peer.sent + 1 })
		before := len(dials.all())
		pass(31 * time.Second) // the next sign of life is cut
		if more := len(dials.all()) - before; more < 3 {
			t.Errorf("after progress the waits did not begin anew: %d attempts", more)
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
}

func TestACutAtAnyMessageLeavesNoGapAndNoRepetition(t *testing.T) {
	all := pullWithCut(t, 0)
	if all < 12 {
		t.Fatalf("%d messages in a whole pull: too few to cut", all)
	}
	for cut := 1; cut <= all; cut++ {
		pullWithCut(t, cut)
	}
}

// pullWithCut pulls with one interruption after a message, 0 for none, and says how many messages came up to the word that
// all has come.
func pullWithCut(t *testing.T, cut int) (messages int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		peer.cut = cut
		j := newJournal(b.ledger)
		r := pull(t, b, j, nil, peer)
		pass(20 * time.Second)
		messages = peer.messages()
		if !same(a, b) || j.outOfOrder() > 0 {
			t.Errorf("cut after message %d: %d entries came twice or too early; status %v", cut, j.outOfOrder(), r.status("XA"))
		}
		requests, _ := peer.pulls()
		calls := 3
		if cut == 0 || cut == 2 { // the first call ends with its second message
			calls = 2
		}
		if len(requests) < calls {
			t.Errorf("cut after message %d: %d calls, want at least %d", cut, len(requests), calls)
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
	return messages
}

func TestWhatIsNewComesWhileTheCallIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		r := pull(t, b, b.ledger, nil, peer)
		pass(time.Second)
		a.push("later", 1, toAll())
		synctest.Wait()
		if !same(a, b) {
			t.Error("a new release did not come at once")
		}
		before := len(peer.taken())
		pass(time.Second)
		if len(peer.taken()) != before+1 {
			t.Errorf("%d receipts within a second of a release, want 1", len(peer.taken())-before)
		}
		before = len(peer.taken())
		a.withdraw("later")
		synctest.Wait()
		if len(peer.taken()) != before+1 {
			t.Fatalf("%d receipts at once after a withdrawal, want 1", len(peer.taken())-before)
		}
		if len(receiptOf(t, peer.taken()[before]).GetErased()) != 1 {
			t.Error("the receipt does not name the erased entry")
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
}

func TestNothingNewIsOneComparisonOfDigests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		r := pull(t, b, b.ledger, nil, peer)
		pass(time.Second)
		r.close(t)
		first, _ := peer.pulls()
		if len(first) != 2 || first[0].GetPositionsGiven() || !first[1].GetPositionsGiven() {
			t.Errorf("the first time takes a call with the digest and one with positions, got %v", first)
		}

		r = pull(t, b, b.ledger, nil, peer)
		pass(10 * time.Minute)
		requests, _ := peer.pulls()
		if len(requests) != len(first)+1 {
			t.Fatalf("%d calls where nothing is new, want 1", len(requests)-len(first))
		}
		if requests[len(first)].GetPositionsGiven() || len(requests[len(first)].GetPositions()) > 0 {
			t.Error("positions were sent where nothing is new")
		}
		status := r.status("XA")
		if !status.GetConnected() || status.GetLastError() != "" || time.Since(status.GetFreshAt().AsTime()) > 31*time.Second {
			t.Errorf("status = %v", status)
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
}

func TestWithdrawalsOfAllStreamsAreAppliedBeforeAnyRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		j := newJournal(b.ledger)
		r := pull(t, b, j, nil, peer)
		pass(time.Second)
		if got := strings.Join(j.lines.all(), " "); !strings.HasPrefix(got, "withdrawals withdrawals entries ") || strings.Contains(got, "entries withdrawals") {
			t.Errorf("applied in the order %s", got)
		}
		held, erased := b.payloads("XA")
		if held != 9 || erased != 2 {
			t.Errorf("holds %d and erased %d, want 9 and 2", held, erased)
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
}

func TestAReceiptThatTheOwnerRefusesHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		refused := a.ledger.StreamsShared("XA", "XB")[0].ID
		peer.refuse = func(r *ententev1.Receipt) bool { return string(r.GetStreamId()) == string(refused[:]) }
		r := pull(t, b, b.ledger, nil, peer)
		pass(time.Second)
		pending, err := b.ledger.PendingReceipts("XA")
		if err != nil || len(pending) != 1 || len(peer.taken()) != 1 {
			t.Errorf("%d receipts pending and %d taken (%v), want 1 and 1", len(pending), len(peer.taken()), err)
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
}

func TestAPeerWithoutASignOfLifeIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		peer.silent = true
		r := pull(t, b, b.ledger, nil, peer)
		pass(time.Minute)
		if !r.status("XA").GetConnected() {
			t.Error("dropped too early")
		}
		pass(61 * time.Second)
		requests, _ := peer.pulls()
		if len(requests) != 3 {
			t.Errorf("%d calls, want a third after 2 minutes of silence", len(requests))
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
}

func TestASuspendedMemberIsNoLongerCalledAndAnotherAddressIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB", "XC")
		w.fed.Seat("XC").Addresses = []string{"127.0.0.1:1", "127.0.0.1:2"}
		w.reload()
		a, b := filled(w, "XC", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		tried := &list[string]{}
		r := pull(t, b, b.ledger, func(cfg *Config) {
			cfg.Dial = func(id member.ID, address string) (Conn, error) {
				if id != "XC" {
					return nil, fmt.Errorf("nobody plays %s", id)
				}
				tried.add(address)
				if address == "127.0.0.1:1" {
					return nil, fmt.Errorf("nobody listens at %s", address)
				}
				return peer.conn(id, address)
			}
		})
		pass(time.Second)
		// XC is also asked for the streams of XA, which nobody plays.
		if !same(a, b) || !slices.Contains(tried.all(), "127.0.0.1:1") || !slices.Contains(tried.all(), "127.0.0.1:2") {
			t.Errorf("tried %v; status %v", tried.all(), r.status("XC"))
		}
		w.suspend("XC")
		pass(6 * time.Second)
		if r.status("XC") != nil || r.status("XA") == nil {
			t.Errorf("peers = %v after XC was suspended", r.Peers())
		}
		a.push("after", 1, toAll())
		pass(time.Minute)
		if same(a, b) {
			t.Error("a suspended member's release still came")
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
}

// suspend puts a roster in force in which a quorum has suspended a member.
func (w *world) suspend(id member.ID) {
	w.t.Helper()
	assembly, err := member.RosterParts(w.directory.Load().Roster.Document())
	if err != nil {
		w.t.Fatal(err)
	}
	change, err := member.NewChange(w.fed.ID, 1, ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION, id, nil, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range w.fed.Seats {
		if s.ID != id {
			member.AddSignature(change, s.ID, s.Root)
		}
	}
	assembly.Changes = append(assembly.Changes, change)
	assembly.Number, assembly.ValidFor = assembly.Number+1, 1000*time.Hour
	assembly.Assembler = w.fed.Seats[0].ID
	doc, err := member.AssembleRoster(assembly, w.fed.Seats[0].Signing, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	roster, err := member.VerifyRoster(doc, w.fed.ID, nil, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	d := *w.directory.Load()
	d.Roster = roster
	w.directory.Store(&d)
}

func TestAForkFreezesItsStreamAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a := w.open("XA", clean)
		a.push("one", 1, toMember("XB"))
		a.push("all", 1, toAll())
		a.close()
		other := a.copyTo("other.db")
		a = w.open("XA", clean)
		a.push("this history", 1, toAll())
		b := w.open("XB", clean)
		peer := newScripted(a, "XB")
		r := pull(t, b, b.ledger, nil, peer)
		pass(time.Second)
		r.close(t)
		peer.server.Stop()
		a.close()

		// The owner goes on from the copy as if nothing had been signed since: what the restart rule is there to prevent.
		a = w.openFile("XA", other, clean, 0)
		a.push("that history", 1, toAll())
		a.push("two", 1, toMember("XB"))
		peer = newScripted(a, "XB")
		peer.heads = func() []*ententev1.StreamHead { return headsOf(a, "XB") }
		r = pull(t, b, b.ledger, nil, peer)
		pass(time.Second)
		frozen := 0
		for _, info := range b.ledger.StreamsShared("XA", "XB") {
			if !info.Hidden {
				continue
			}
			frozen++
			if info.Kind != ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS {
				t.Errorf("stream of kind %v is frozen", info.Kind)
			}
		}
		if frozen != 1 {
			t.Errorf("%d streams are frozen, want 1", frozen)
		}
		if got := r.status("XA").GetLastError(); !strings.Contains(got, "signed two histories") {
			t.Errorf("status names %q", got)
		}
		held, _ := b.payloads("XA")
		if held != 4 {
			t.Errorf("%d records held, want those of the frozen stream and both of the other", held)
		}

		// A frozen stream still takes withdrawals, and nothing else; the other one goes on.
		a.withdraw("all")
		a.push("no more", 1, toAll())
		a.push("three", 1, toMember("XB"))
		pass(time.Minute)
		held, erased := b.payloads("XA")
		if held != 4 || erased != 1 {
			t.Errorf("holds %d and erased %d after a withdrawal in the frozen stream, want 4 and 1; status %v", held, erased, r.status("XA"))
		}
		r.close(t)
		r = pull(t, b, b.ledger, nil, peer)
		a.push("four", 1, toMember("XB"))
		pass(time.Minute)
		held, _ = b.payloads("XA")
		if held != 5 || !r.status("XA").GetConnected() {
			t.Errorf("%d held after a new connection, want 5; status %v", held, r.status("XA"))
		}
		r.close(t)
		peer.server.Stop()
		a.close()
		b.close()
	})
}

func headsOf(a *site, reader member.ID) []*ententev1.StreamHead {
	var heads []*ententev1.StreamHead
	for _, info := range a.ledger.StreamsShared(a.id, reader) {
		heads = append(heads, &ententev1.StreamHead{StreamId: append([]byte(nil), info.ID[:]...), Owner: string(a.id), Size: info.Size, Root: info.Root[:], Checkpoint: info.Checkpoint})
	}
	return heads
}
