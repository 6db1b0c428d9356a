package replica

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// joined is a federation of XA and XB into which XC comes later, with a stream of XA that was there before and that XA has
// granted to XC. XA is gone since.
func joined(t *testing.T) (w *world, at map[member.ID]string, b *node) {
	t.Helper()
	w = newWorld(t, "XA", "XB")
	listen(w)
	seat, err := w.fed.Admit("XC")
	if err != nil {
		t.Fatal(err)
	}
	seat.Addresses = []string{"127.0.0.1:1"}
	early := w.directory.Load() // of before the admission
	at = listen(w)
	late := w.directory.Load()
	w.directory.Store(early)
	a, b := start(w.open("XA", clean), at["XA"], dialling(late.Roster)), start(w.open("XB", clean), at["XB"], dialling(late.Roster))
	a.push("early", 1, toAll())
	eventually(t, "XB has what was there before", func() bool { return same(a.site, b.site) }, b)
	w.directory.Store(late)
	before := a.ledger.StreamsShared("XA", "XB")[0]
	granted, err := a.ledger.Grant(t.Context(), before.ID, "XC", false)
	if err != nil || granted.Sequence == 0 {
		t.Fatalf("grant: %v, %v", granted, err)
	}
	a.push("later", 1, toAll())
	eventually(t, "XB knows of the grant", func() bool { return same(a.site, b.site) }, b)
	a.close()
	return w, at, b
}

// dialling has a node dial at the addresses of a later roster: those of the first were given up.
func dialling(roster *member.Roster) func(*Config) {
	return func(cfg *Config) {
		dial := cfg.Dial
		cfg.Dial = func(id member.ID, _ string) (Conn, error) {
			m, _ := roster.Member(id)
			return dial(id, m.Addresses[0])
		}
	}
}

func TestWhoReadsByAGrantGetsTheStreamThroughARelay(t *testing.T) {
	w, at, b := joined(t)
	c := start(w.open("XC", clean), at["XC"])
	eventually(t, "XC has the earlier stream too", func() bool {
		return c.shared("XA") == b.shared("XA") && len(sharedStreams(c.ledger, "XA", "XC")) > 0
	}, c)
	infos := sharedStreams(c.ledger, "XA", "XC")
	if !slices.ContainsFunc(infos, func(info ledger.StreamInfo) bool { return slices.Contains(info.Granted, "XC") }) {
		t.Error("XC holds no stream that it reads by a grant")
	}
	if text := c.status("XA").GetRelayError(); text != "" {
		t.Errorf("the relay is accused: %s", text)
	}
	// A node of the older contract gets nothing that it reads only by a grant.
	call, err := c.connect("XB").Pull(t.Context(), &ententev1.PullRequest{Owner: "XA", PositionsGiven: true, Contract: 1})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := call.Recv()
		if err != nil {
			break
		}
		for _, info := range infos {
			if slices.Contains(info.Granted, "XC") && bytes.Equal(m.GetCheckpoint().GetStreamId(), info.ID[:]) {
				t.Error("an older node gets a stream that it reads only by a grant")
			}
		}
	}
	b.close()
	c.close()
}

func TestWhoReadsByAGrantGetsTheStreamByFile(t *testing.T) {
	w, at, b := joined(t)
	c := start(w.open("XC", clean), at["XC"], alone)
	took := c.take(b.export(&ententev1.ExportStreamsRequest{Reader: "XC"}))
	if took.GetOwners()[0].GetNote() != "" || c.shared("XA") != b.shared("XA") {
		t.Errorf("import = %v", took)
	}
	b.close()
	c.close()
}

// TestARelayStopsShortOfWhatItCannotExplain: XB has erased an entry at a withdrawal that stands in a stream of which it has
// nothing yet. It cannot prove the withdrawal, so it passes the stream over, and is not taken for a thief.
func TestARelayStopsShortOfWhatItCannotExplain(t *testing.T) {
	w := newWorld(t, "XA", "XB", "XC")
	at := listen(w)
	old, successor := stream.ID{1}, stream.ID{2}
	held := w.open("XB", clean)
	held.tells("XA", history(w, old, "left", "right"))
	withdrawal := stream.Withdrawal{Stream: successor, Sequence: 2, Target: old, TargetSequence: 2, Reason: 3}
	err := held.ledger.ApplyWithdrawals(t.Context(), "XA", successor, []stream.Withdrawal{withdrawal}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, erased := held.payloads("XA"); erased != 1 {
		t.Fatalf("%d entries erased at XB", erased)
	}
	b, c := start(held, at["XB"]), start(w.open("XC", clean), at["XC"])
	eventually(t, "XB has relayed what it can", func() bool { return c.status("XA").GetRelay() == "XB" }, c)
	if text := c.status("XA").GetRelayError(); text != "" {
		t.Errorf("the relay is accused: %s", text)
	}
	if held, erased := c.payloads("XA"); held+erased != 0 {
		t.Errorf("XC holds %d and %d erased", held, erased)
	}
	b.close()
	c.close()
}

// TestARotatedKeyReachesWhatIsHeld: XA signs with another key; its readers then hold heads under that key, although nothing
// else is new, and can relay them when the old key counts no more.
func TestARotatedKeyReachesWhatIsHeld(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	a := start(w.open("XA", clean), at["XA"])
	a.push("one", 1, toAll())
	seat := w.fed.Seat("XA")
	next, err := member.NewSigningKey(strings.NewReader(strings.Repeat("k", 64)))
	if err != nil {
		t.Fatal(err)
	}
	b := start(w.open("XB", clean), at["XB"])
	eventually(t, "XB has all", func() bool { return same(a.site, b.site) && b.status("XA").GetConnected() }, b)
	b.close()
	seat.Signing = next
	w.reload()
	err = a.ledger.Rotate(t.Context(), next)
	if err != nil {
		t.Fatal(err)
	}
	b = start(w.open("XB", clean), at["XB"])
	eventually(t, "XB holds the head under the new key", func() bool {
		for _, info := range b.ledger.StreamsShared("XA", "XB") {
			_, err := stream.OpenCheckpoint(info.Checkpoint, "XA", info.ID, w.directory.Load().Roster.CurrentKeys("XA"))
			if err != nil {
				return false
			}
		}
		return true
	}, b)
	a.close()
	b.close()
}
