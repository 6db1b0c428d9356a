package coordinator_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

const (
	current = ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT
	retired = ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED
)

// load is what runs while everything is rotated: pushes, a follow, pulls behind it, views, lists and questions after the
// state, all through the public client, by identities whose certificates are renewed like everything else.
type load struct {
	*world
	pool     *x509.CertPool // of all members' authorities, old and new
	shown    map[member.Identity]*atomic.Pointer[tls.Certificate]
	calls    atomic.Int64
	mu       sync.Mutex // covers failures
	failures []error
	pushed   atomic.Int64
	arrived  atomic.Int64
}

func newLoad(w *world) *load {
	l := &load{world: w, pool: x509.NewCertPool(), shown: map[member.Identity]*atomic.Pointer[tls.Certificate]{}}
	for id := range w.sites {
		l.pool.AddCert(w.fed.Seat(id).Authority.Certificate())
	}
	return l
}

func (l *load) failed(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Errorf("%s: %w", what, err))
}

// client is one of a member's node, whose certificate is renewed with the others.
func (l *load) client(id member.ID, kind member.Kind, name string) *client.Client {
	l.t.Helper()
	identity := member.Identity{Member: id, Kind: kind, Name: name}
	certificate, err := l.fed.Certificate(identity)
	must(l.t, err)
	l.shown[identity] = &atomic.Pointer[tls.Certificate]{}
	l.shown[identity].Store(certificate)
	source := l.shown[identity].Load
	c, err := client.Dial(client.Config{Address: l.sites[id].material.Listen, Member: id, Authorities: l.pool,
		Certificate: func() (*tls.Certificate, error) { return source(), nil }})
	must(l.t, err)
	l.t.Cleanup(func() { c.Close() })
	return c
}

// begin starts everything; it ends with ctx, and wait then waits for the last call.
func (l *load) begin(ctx context.Context) (wait func()) {
	system, officer := l.client("XA", member.KindSystem, "intake"), l.client("XA", member.KindOfficer, "o1")
	follower, operator := l.client("XB", member.KindSystem, "intake"), l.client("XB", member.KindOperator, "ops")
	asks := &ententev1.Consultation{Purpose: purpose, CaseReference: "HL-2026-7"}
	var all sync.WaitGroup
	again := func(what string, do func() error) {
		all.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				err := do()
				l.calls.Add(1)
				if err != nil && ctx.Err() == nil {
					l.failed(what, err)
				}
			}
		})
	}
	again("view", func() error { _, err := officer.View(ctx, asks); return err })
	again("status", func() error { _, err := operator.Status(ctx); return err })
	again("get", func() error {
		_, err := system.Get(ctx, &ententev1.GetRequest{ProviderReference: "none", Consultation: asks})
		if status.Code(err) == codes.NotFound {
			return nil
		}
		return err
	})
	all.Go(func() { l.push(ctx, system) })
	following, stop := context.WithCancel(l.t.Context())
	var follow sync.WaitGroup
	follow.Go(func() { l.follow(following, follower, asks) })
	return func() {
		all.Wait()
		l.until("all that was pushed has arrived", func() bool { return l.arrived.Load() >= l.pushed.Load() })
		stop()
		follow.Wait()
	}
}

// push pushes and releases one record after the other, by one long call.
func (l *load) push(ctx context.Context, system *client.Client) {
	p := system.Push(l.t.Context(), client.PushOptions{}, func(_ any, v *ententev1.Verdict) {
		l.calls.Add(1)
		if v.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			l.failed("push "+v.GetProviderReference(), errors.New(v.GetOutcome().String()))
		}
		l.pushed.Add(1)
	})
	for i := 0; ctx.Err() == nil; i++ {
		err := p.Send(person(fmt.Sprintf("r%d", i), "Alpha", toAll()), nil)
		if err == nil {
			err = p.Flush()
		}
		if err != nil {
			l.failed("push", err)
			return
		}
	}
	err := p.Close()
	if err != nil {
		l.failed("push", err)
	}
}

// follow counts what arrives at XB, until ctx ends.
func (l *load) follow(ctx context.Context, follower *client.Client, asks *ententev1.Consultation) {
	for response, err := range follower.Follow(ctx, &ententev1.SubscribeRequest{Consultation: asks}) {
		if ctx.Err() != nil {
			return
		}
		l.calls.Add(1)
		if err != nil {
			l.failed("follow", err)
			return
		}
		for _, item := range response.GetItems() {
			if len(item.GetReleasedRecord()) > 0 {
				l.arrived.Add(1)
			}
		}
	}
}

// renew gives all of a member's identities, the node too, certificates of the authority that it has now.
func (l *load) renew(id member.ID) {
	l.t.Helper()
	node, err := l.fed.Certificate(member.Identity{Member: id, Kind: member.KindNode})
	must(l.t, err)
	l.sites[id].shown.Store(node)
	for identity, shown := range l.shown {
		if identity.Member != id {
			continue
		}
		certificate, err := l.fed.Certificate(identity)
		must(l.t, err)
		shown.Store(certificate)
	}
}

// announce has the members sign new entries, gives the roster of them to the coordinator's node as a file, and waits until
// all nodes go by it.
func (l *load) announce(edit func(*member.Member), ids ...member.ID) {
	l.t.Helper()
	coord := l.sites["COORD"]
	held := coord.Directory().Roster
	parts, err := member.RosterParts(held.Document())
	must(l.t, err)
	parts.Number, parts.ValidFor, parts.Assembler = held.Number()+1, time.Hour, "COORD"
	for _, id := range ids {
		says, _ := held.Member(id)
		edit(&says)
		entry, err := member.NewEntry(l.fed.ID, says, parts.Number, l.fed.Seat(id).Root, time.Now())
		must(l.t, err)
		parts.Entries[slices.Index(held.Members(), id)] = entry
	}
	doc, err := member.AssembleRoster(parts, l.fed.Seat("COORD").Signing, time.Now())
	must(l.t, err)
	docs := *coord.docs.Load()
	docs.Roster = doc
	coord.docs.Store(&docs)
	l.until("all nodes go by the new roster", func() bool {
		for _, s := range l.sites {
			if s.Directory().Roster.Number() != parts.Number {
				return false
			}
		}
		return true
	})
}

// until waits for what comes about by the nodes' own rounds.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// more waits until so many more calls have been made.
func (l *load) more(count int64) {
	l.t.Helper()
	wanted := l.calls.Load() + count
	l.until("calls are made", func() bool { return l.calls.Load() >= wanted })
}

// rotateAuthority replaces the authority of a member: both stand in the roster until everybody has a certificate by the new.
func (l *load) rotateAuthority(id member.ID) {
	l.t.Helper()
	next, err := member.NewAuthority(id, rand.Reader, time.Now(), time.Hour)
	must(l.t, err)
	l.pool.AddCert(next.Certificate())
	l.announce(func(m *member.Member) { m.Authorities = append(m.Authorities, next.Certificate()) }, id)
	l.fed.Seat(id).Authority = next
	l.renew(id)
	l.announce(func(m *member.Member) { m.Authorities = m.Authorities[1:] }, id)
}

// rotateSigningKey replaces the signing key of a member. The file comes first here, and counts from when the roster does.
func (l *load) rotateSigningKey(id member.ID) {
	l.t.Helper()
	next, err := member.NewSigningKey(rand.Reader)
	must(l.t, err)
	public := next.Public().(ed25519.PublicKey)
	s := l.sites[id]
	docs := *s.docs.Load()
	docs.SigningKey = next
	s.docs.Store(&docs)
	s.rounds(2) // it waits
	l.announce(func(m *member.Member) {
		m.SigningKeys = append(m.SigningKeys, member.SigningKey{Key: public, State: current})
	}, id)
	l.fed.Seat(id).Signing, s.material.SigningKey = next, next // the latter for the next start
	l.more(20)
	s.rounds(2) // it has gone over
	l.announce(func(m *member.Member) { m.SigningKeys[0].State = retired }, id)
}

// rotateSealing has a node seal its data file with a new key, and the old one forgotten.
func (l *load) rotateSealing(id member.ID) {
	l.t.Helper()
	s := l.sites[id]
	next := bytes.Repeat([]byte{9}, store.KeySize)
	s.sealing.Store(&store.Keyring{Current: next, Older: [][]byte{s.material.Sealing.Current}})
	call, err := s.as(member.KindOperator, "ops").Admin().Reseal(l.t.Context(), &ententev1.ResealRequest{})
	must(l.t, err)
	last := &ententev1.ResealResponse{}
	for {
		response, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		must(l.t, err)
		last = response
	}
	if last.GetResealed() == 0 || last.GetDone() != last.GetTotal() {
		l.t.Errorf("%s: %d of %d values looked at, %d sealed anew", id, last.GetDone(), last.GetTotal(), last.GetResealed())
	}
	s.material.Sealing = store.Keyring{Current: next}
}

// rotation rotates everything of XA, XB and the coordinator under load, so many calls after each step, and wants none failed.
func rotation(t *testing.T, between int64) *load {
	w := newWorld(t)
	w.reload, w.fetch = 30*time.Millisecond, 50*time.Millisecond
	w.startAll()
	l := newLoad(w)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wait := l.begin(ctx)
	l.more(between)
	for _, id := range []member.ID{"XA", "XB", "COORD"} {
		l.renew(id)
		l.more(between)
		l.rotateAuthority(id)
		l.more(between)
		l.rotateSigningKey(id)
		l.more(between)
		l.rotateSealing(id)
		l.more(between)
	}
	cancel()
	wait()
	return l
}

func (l *load) judge(t *testing.T, atLeast int64) {
	t.Helper()
	t.Logf("%d calls, %d records pushed and %d arrived, %d calls failed", l.calls.Load(), l.pushed.Load(), l.arrived.Load(), len(l.failures))
	if len(l.failures) > 0 {
		t.Errorf("%d calls failed, the first: %v", len(l.failures), l.failures[0])
	}
	if l.calls.Load() < atLeast || l.arrived.Load() < l.pushed.Load() {
		t.Errorf("%d calls, want %d; %d records arrived of %d", l.calls.Load(), atLeast, l.arrived.Load(), l.pushed.Load())
	}
	l.until("XB holds heads of XA under the new key", func() bool { return !l.sites["XB"].Ledger().OldNotes("XA") })
	for _, at := range []member.ID{"XA", "XC"} { // nobody goes on refusing what a new key signed or a new certificate shows
		for _, peer := range []member.ID{"COORD", "XA", "XB"} {
			if peer != at {
				l.awaitPeer(at, peer, true)
			}
		}
	}
}

func TestNoCallFailsWhileKeysAndCertificatesAreRotated(t *testing.T) {
	l := rotation(t, 30)
	l.judge(t, 300)
	l.sites["XB"].stop()
	l.start("XB") // with the new keys alone
	l.awaitPeer("XA", "XB", true)
}
