package replica

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

// patience is how long a test on real connections waits for what must come.
const patience = 20 * time.Second

// node is a whole member: ledger, server on a TLS socket, and replica.
type node struct {
	*site
	*Replica
	stop  context.CancelFunc
	ended chan error
}

// listen gives each member a socket, and puts a roster with the addresses in force.
func listen(w *world) map[member.ID]string {
	w.t.Helper()
	addresses := map[member.ID]string{}
	for _, s := range w.fed.Seats {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		addresses[s.ID] = lis.Addr().String()
		s.Addresses = []string{addresses[s.ID]}
		err = lis.Close() // the node opens it again: it must be able to come back at the same address
		if err != nil {
			w.t.Fatal(err)
		}
	}
	w.reload()
	return addresses
}

func start(s *site, address string, change ...func(*Config)) *node {
	t := s.w.t
	t.Helper()
	lis, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := s.w.fed.Certificate(member.Identity{Member: s.id, Kind: member.KindNode})
	if err != nil {
		t.Fatal(err)
	}
	source := func() (*tls.Certificate, error) { return certificate, nil }
	roster := func() *member.Roster { return s.w.directory.Load().Roster }
	logger := slog.New(slog.DiscardHandler)
	cfg := Config{Self: s.id, Ledger: s.ledger, Directory: s.w.directory.Load, Dial: Dialer(source, roster), Now: time.Now, Rand: rand.Reader, Logger: logger,
		Backoff: Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond, Jitter: 0.5}, RelayEvery: 50 * time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	trail, err := audit.Open(s.store, audit.Config{
		Self: s.id, Now: time.Now, Rand: rand.Reader, SigningKey: s.ledger.SigningKey,
		VerifyingKeys: func(id member.ID) []ed25519.PublicKey { return roster().VerifyingKeys(id) },
	})
	if err != nil {
		t.Fatal(err)
	}
	trail.Bind(s.ledger.Commit)
	expiry := func() policy.ExpiryClock { return policy.ExpiryClock{Hide: time.Now(), Erase: time.Now()} }
	served, err := server.New(server.Config{Trail: trail, Expiry: expiry, Self: s.id, Ledger: s.ledger, Directory: s.w.directory.Load, Grants: func() policy.Grants { return policy.Grants{} },
		TLS: member.ServerTLS(source, roster, s.id), Now: time.Now, Rand: rand.Reader, Logger: logger, CursorKey: make([]byte, 32), Import: r})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n := &node{site: s, Replica: r, stop: stop, ended: make(chan error, 2)}
	go func() { n.ended <- served.Run(ctx, lis) }()
	go func() { n.ended <- r.Run(ctx) }()
	return n
}

func (n *node) close() {
	n.w.t.Helper()
	n.stop()
	for range 2 {
		err := <-n.ended
		if err != nil {
			n.w.t.Error(err)
		}
	}
	n.site.close()
}

// eventually waits for something in the ledgers or the peers of nodes.
func eventually(t *testing.T, what string, holds func() bool, nodes ...*node) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond) // the state of a peer changes without the ledger
	defer look.Stop()
	for {
		woken := make(chan struct{}, len(nodes))
		ctx, stop := context.WithCancel(t.Context())
		for _, n := range nodes {
			changed := n.ledger.Changed()
			go func() {
				select {
				case <-changed:
					woken <- struct{}{}
				case <-ctx.Done():
				}
			}()
		}
		if holds() {
			stop()
			return
		}
		select {
		case <-woken:
		case <-look.C:
		case <-deadline.C:
			stop()
			for _, n := range nodes {
				t.Logf("%s: peers %v", n.id, n.Peers())
			}
			t.Fatalf("not within %v: %s", patience, what)
		}
		stop()
	}
}

// deliveries is how far a record's entries have come, those that stand and those that are withdrawn.
func (n *node) deliveries(reference string) (standing, withdrawn []ententev1.DeliveryState) {
	n.w.t.Helper()
	held, err := n.ledger.Record(n.ledger.RecordID(authority, reference), 0)
	if err != nil {
		n.w.t.Fatal(err)
	}
	for _, d := range held.GetDeliveries() {
		if d.GetWithdrawn() {
			withdrawn = append(withdrawn, d.GetState())
		} else {
			standing = append(standing, d.GetState())
		}
	}
	return standing, withdrawn
}

func streamsOf(n *node, reader member.ID) map[stream.ID]ledger.StreamInfo {
	streams := map[stream.ID]ledger.StreamInfo{}
	for _, info := range n.ledger.StreamsShared(n.id, reader) {
		streams[info.ID] = info
	}
	return streams
}

func TestAReleaseArrivesAndAWithdrawalErasesItEverywhere(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	a, b := start(w.open("XA", clean), at["XA"]), start(w.open("XB", clean), at["XB"])
	a.push("one", 1, toMember("XB"))
	a.push("all", 1, toAll())
	eventually(t, "both releases are at XB", func() bool { held, _ := b.payloads("XA"); return held == 2 }, b)
	eventually(t, "XA knows that they are delivered", func() bool {
		standing, _ := a.deliveries("one")
		return slices.Equal(standing, []ententev1.DeliveryState{ententev1.DeliveryState_DELIVERY_STATE_DELIVERED})
	}, a)
	a.withdraw("one")
	eventually(t, "XB has erased one", func() bool { held, erased := b.payloads("XA"); return held == 1 && erased == 1 }, b)
	eventually(t, "XA knows that the withdrawal is applied", func() bool {
		_, withdrawn := a.deliveries("one")
		return slices.Equal(withdrawn, []ententev1.DeliveryState{ententev1.DeliveryState_DELIVERY_STATE_APPLIED})
	}, a)
	a.close()
	b.close()
}

func TestAfterAnUncleanStopAConfirmedStreamGoesOn(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	a, b := start(w.open("XA", clean), at["XA"]), start(w.open("XB", clean), at["XB"])
	a.push("one", 1, toAll())
	eventually(t, "the release is at XB", func() bool { return same(a.site, b.site) }, b)
	before := streamsOf(a, "XB")
	a.close()

	a = start(w.openFile("XA", a.path, unclean, time.Hour), at["XA"])
	a.push("two", 1, toAll())
	eventually(t, "the next release is at XB", func() bool { held, _ := b.payloads("XA"); return held == 2 }, a, b)
	after := streamsOf(a, "XB")
	if len(after) != len(before) {
		t.Errorf("%d streams after the start, want the same %d", len(after), len(before))
	}
	a.close()
	b.close()
}

func TestAfterAnUncleanStopWithoutItsReaderASuccessorIsOpened(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	a, b := start(w.open("XA", clean), at["XA"]), start(w.open("XB", clean), at["XB"])
	a.push("one", 1, toAll())
	eventually(t, "the release is at XB", func() bool { return same(a.site, b.site) }, b)
	before := streamsOf(a, "XB")
	a.close()
	b.close()

	a = start(w.openFile("XA", a.path, unclean, 50*time.Millisecond), at["XA"])
	a.push("two", 1, toAll())
	eventually(t, "a successor is opened", func() bool { return len(streamsOf(a, "XB")) == len(before)+1 }, a)
	b = start(w.open("XB", clean), at["XB"])
	eventually(t, "all is at XB", func() bool { held, _ := b.payloads("XA"); return held == 2 && same(a.site, b.site) }, a, b)
	a.close()
	b.close()
}

func TestARestoredNodePullsItsLostTailBackAndShowsNoSecondHistory(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	a, b := start(w.open("XA", clean), at["XA"]), start(w.open("XB", clean), at["XB"])
	a.push("one", 1, toAll())
	eventually(t, "the release is at XB", func() bool { return same(a.site, b.site) }, b)
	a.close()
	backup := a.copyTo("backup.db")
	a = start(w.open("XA", clean), at["XA"])
	a.push("lost", 1, toAll())
	a.push("lost and withdrawn", 1, toAll())
	a.push("other stream", 1, toMember("XB"))
	eventually(t, "the later releases are at XB", func() bool { held, _ := b.payloads("XA"); return held == 4 }, b)
	a.withdraw("lost and withdrawn")
	eventually(t, "the withdrawal is at XB", func() bool { held, _ := b.payloads("XA"); return held == 3 && same(a.site, b.site) }, b)
	before := streamsOf(a, "XB")
	a.close()

	a = start(w.openFile("XA", backup, unclean, time.Hour), at["XA"])
	eventually(t, "XA has its streams back", func() bool { return same(a.site, b.site) && len(a.ledger.LostTails()) == 0 }, a, b)
	a.push("lost", 2, toAll())
	eventually(t, "the record released again supersedes the one that was lost", func() bool {
		held, erased := b.payloads("XA")
		return held == 3 && erased == 2 && same(a.site, b.site)
	}, a, b)
	after := streamsOf(a, "XB")
	if len(after) <= len(before) {
		t.Error("no successor was opened")
	}
	for id, was := range before {
		if after[id].Size != was.Size || after[id].Root != was.Root {
			t.Errorf("stream %s had %d entries and root %x, now %d and %x", id, was.Size, was.Root, after[id].Size, after[id].Root)
		}
	}
	for _, info := range b.ledger.StreamsShared("XA", "XB") {
		if info.Hidden {
			t.Errorf("XB hides stream %s: it sees a fork", info.ID)
		}
	}
	for _, p := range b.Peers() {
		if !p.GetConnected() || strings.Contains(p.GetLastError(), "two histories") {
			t.Errorf("XB's peer: %v", p)
		}
	}
	a.close()
	b.close()
}

func TestAReaderThatComesBackLateStillGivesTheLostTailBack(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	a, b := start(w.open("XA", clean), at["XA"]), start(w.open("XB", clean), at["XB"])
	a.push("one", 1, toAll())
	eventually(t, "the release is at XB", func() bool { return same(a.site, b.site) }, b)
	a.close()
	backup := a.copyTo("backup.db")
	a = start(w.open("XA", clean), at["XA"])
	a.push("lost", 1, toAll())
	eventually(t, "the later release is at XB", func() bool { return same(a.site, b.site) }, b)
	a.close()
	b.close()

	a = start(w.openFile("XA", backup, unclean, 50*time.Millisecond), at["XA"])
	a.push("two", 1, toAll())
	eventually(t, "the wait is over and a successor is opened", func() bool { return len(streamsOf(a, "XB")) == 2 }, a)
	b = start(w.open("XB", clean), at["XB"])
	eventually(t, "XA has its tail back, and XB all of both streams", func() bool {
		held, _ := b.payloads("XA")
		return held == 3 && same(a.site, b.site)
	}, a, b)
	a.withdraw("lost")
	eventually(t, "what was lost can be withdrawn", func() bool { held, _ := b.payloads("XA"); return held == 2 }, a, b)
	a.close()
	b.close()
}
