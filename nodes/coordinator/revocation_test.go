package coordinator_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// bound is within which an open stream of a revoked certificate ends.
const bound = 10 * time.Second

// victim is an open stream whose caller's certificate is to be revoked.
type victim struct {
	what   string
	issuer member.ID
	serial *big.Int
	ended  chan ending // gets one value
}

// ending is how and when a stream ended.
type ending struct {
	at  time.Time
	err error
}

// opener opens one long call on a connection, and gives what waits for its next message.
type opener struct {
	what    string
	kind    member.Kind
	name    string
	foreign bool // the caller is of another member than the node
	open    func(ctx context.Context, conn *grpc.ClientConn) (next func() error, err error)
}

func openers() []opener {
	asks := &ententev1.Consultation{Purpose: purpose, CaseReference: "HL-2026-7"}
	return []opener{
		{"a pull by a node", member.KindNode, "", true, func(ctx context.Context, conn *grpc.ClientConn) (func() error, error) {
			call, err := ententev1.NewExchangeServiceClient(conn).Pull(ctx, &ententev1.PullRequest{PositionsGiven: true, Contract: member.Contract})
			return receiving(call, err)
		}},
		{"a follow by an officer", member.KindOfficer, "o1", false, func(ctx context.Context, conn *grpc.ClientConn) (func() error, error) {
			call, err := ententev1.NewStreamServiceClient(conn).Subscribe(ctx, &ententev1.SubscribeRequest{Consultation: asks})
			return receiving(call, err)
		}},
		{"a push by a system", member.KindSystem, "intake", false, func(ctx context.Context, conn *grpc.ClientConn) (func() error, error) {
			call, err := ententev1.NewIntakeServiceClient(conn).Push(ctx)
			if err != nil {
				return nil, err
			}
			err = call.Send(&ententev1.PushRequest{Items: []*ententev1.PushItem{person("pushed", "Alpha")}})
			return func() error { _, err := call.Recv(); return err }, err
		}},
		{"a watched view of an officer", member.KindOfficer, "o1", false, func(ctx context.Context, conn *grpc.ClientConn) (func() error, error) {
			call, err := ententev1.NewNetworkServiceClient(conn).Watch(ctx, &ententev1.WatchRequest{Consultation: asks})
			return receiving(call, err)
		}},
	}
}

func receiving[T any](call grpc.ServerStreamingClient[T], err error) (func() error, error) {
	if err != nil {
		return nil, err
	}
	return func() error { _, err := call.Recv(); return err }, nil
}

// open opens a long call at the node of at with a certificate of its own, and waits for its first message.
func (w *world) open(o opener, at member.ID) *victim {
	w.t.Helper()
	identity := member.Identity{Member: at, Kind: o.kind, Name: o.name}
	if o.foreign {
		identity.Member = "XB"
	}
	certificate, err := w.fed.Certificate(identity)
	must(w.t, err)
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	must(w.t, err)
	source := func() (*tls.Certificate, error) { return certificate, nil }
	config := member.OwnClientTLS(source, w.fed.Seat(at).Authority.Pool(), at)
	conn, err := grpc.NewClient(w.sites[at].material.Listen, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	must(w.t, err)
	next, err := o.open(w.t.Context(), conn)
	must(w.t, err)
	must(w.t, next())
	v := &victim{what: fmt.Sprintf("%s of %s at %s", o.what, identity.Member, at), issuer: identity.Member, serial: leaf.SerialNumber, ended: make(chan ending, 1)}
	go func() { // ends with the call, at the latest with the test
		defer conn.Close()
		for err == nil {
			err = next()
		}
		v.ended <- ending{time.Now(), err}
	}()
	return v
}

// revoke puts the next list of a member into the place of the one before, in one step, and gives the moment.
func (w *world) revoke(id member.ID, serials ...*big.Int) time.Time {
	w.t.Helper()
	s := w.sites[id]
	var before []byte
	text, err := os.ReadFile(s.lists)
	if err == nil {
		before, err = member.DecodeRevocationList(text)
		must(w.t, err)
	}
	list, err := w.fed.Seat(id).Authority.Revoke(before, serials, rand.Reader, time.Now(), time.Hour)
	must(w.t, err)
	must(w.t, os.WriteFile(s.lists+".new", member.EncodeRevocationList(list), 0o600))
	must(w.t, os.Rename(s.lists+".new", s.lists))
	return time.Now()
}

// await gives how long after the moment the stream ended, by a refusal.
func (v *victim) await(t *testing.T, since time.Time) time.Duration {
	t.Helper()
	patience := time.NewTimer(time.Until(since.Add(bound + time.Second)))
	defer patience.Stop()
	select {
	case end := <-v.ended:
		if status.Code(end.err) != codes.Unauthenticated {
			t.Errorf("%s ended with %v, want the refusal", v.what, end.err)
		}
		return end.at.Sub(since)
	case <-patience.C:
		t.Errorf("%s goes on", v.what)
		return time.Hour
	}
}

// stays fails if a stream that is nobody's business has ended.
func (v *victim) stays(t *testing.T) {
	t.Helper()
	select {
	case end := <-v.ended:
		t.Errorf("%s ended: %v", v.what, end.err)
	default:
	}
}

// rounds waits until a node has read its documents so many times more.
func (s *site) rounds(count int64) {
	s.w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for wanted := s.reads.Load() + count; s.reads.Load() < wanted; <-tick.C {
	}
}

// siege opens streams at several nodes, revokes their certificates, and gives how long each took.
func (w *world) siege(count int) []time.Duration {
	w.t.Helper()
	var victims, others []*victim
	places := []member.ID{"XA", "XC", "COORD"}
	for i := range count {
		o, at := openers()[i%len(openers())], places[i%len(places)]
		victims = append(victims, w.open(o, at))
	}
	for _, o := range openers() {
		others = append(others, w.open(o, "XA"))
	}
	w.sites["XB"].rounds(3) // without a list nothing ends: the measurement can fail
	for _, v := range slices.Concat(victims, others) {
		v.stays(w.t)
	}
	listed := map[member.ID][]*big.Int{}
	for _, v := range victims {
		listed[v.issuer] = append(listed[v.issuer], v.serial)
	}
	since := map[member.ID]time.Time{}
	for id, serials := range listed {
		since[id] = w.revoke(id, serials...)
	}
	var took []time.Duration
	for _, v := range victims {
		took = append(took, v.await(w.t, since[v.issuer]))
	}
	for _, v := range others {
		v.stays(w.t)
	}
	return took
}

// startAll runs all nodes and waits until each hears of the others.
func (w *world) startAll() {
	w.t.Helper()
	for _, id := range []member.ID{"COORD", "XA", "XB", "XC"} {
		w.start(id)
	}
	for _, id := range []member.ID{"XA", "XC", "COORD"} {
		w.awaitPeer(id, "XB", true)
	}
}

// awaitPeer waits until the node of at is, or is not, connected to the node of a peer, and gives when.
func (w *world) awaitPeer(at, peer member.ID, connected bool) time.Time {
	w.t.Helper()
	operator := w.sites[at].as(member.KindOperator, "ops")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for deadline := time.Now().Add(bound + 20*time.Second); time.Now().Before(deadline); <-tick.C {
		response, err := operator.Status(w.t.Context())
		must(w.t, err)
		for _, p := range response.GetPeers() {
			if p.GetMember() != string(peer) {
				continue
			}
			last = p.GetLastError()
			if p.GetConnected() == connected {
				return time.Now()
			}
		}
	}
	w.t.Fatalf("%s: connected to %s is not %t: %s", at, peer, connected, last)
	return time.Time{}
}

// siegeOfANode revokes the certificate that the node of XB shows: the pulls of others from it end too, and after a renewal
// they go on.
func (w *world) siegeOfANode() []time.Duration {
	w.t.Helper()
	leaf, err := x509.ParseCertificate(w.sites["XB"].shown.Load().Certificate[0])
	must(w.t, err)
	since := w.revoke("XB", leaf.SerialNumber)
	var took []time.Duration
	for _, id := range []member.ID{"XA", "XC", "COORD"} {
		took = append(took, w.awaitPeer(id, "XB", false).Sub(since))
	}
	renewed, err := w.fed.Certificate(member.Identity{Member: "XB", Kind: member.KindNode})
	must(w.t, err)
	w.sites["XB"].shown.Store(renewed)
	for _, id := range []member.ID{"XA", "XC", "COORD"} {
		w.awaitPeer(id, "XB", true)
	}
	return took
}

// report sorts what was measured and holds it against the bound.
func report(t *testing.T, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	t.Logf("%d revocations: p50 %s, p100 %s", len(took), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	if took[len(took)-1] > bound {
		t.Errorf("the slowest took %s, more than %s", took[len(took)-1], bound)
	}
}

func TestOpenStreamsOfARevokedCertificateEnd(t *testing.T) {
	w := newWorld(t)
	w.reload, w.fetch = 100*time.Millisecond, 150*time.Millisecond
	w.startAll()
	report(t, w.siege(8))
}

func TestPullsFromANodeWhoseCertificateIsRevokedEnd(t *testing.T) {
	w := newWorld(t)
	w.reload, w.fetch = 100*time.Millisecond, 150*time.Millisecond
	w.startAll()
	report(t, w.siegeOfANode())
}

func TestARevocationOutlivesARestartAndTheLossOfItsFile(t *testing.T) {
	w := newWorld(t)
	w.reload, w.fetch = 100*time.Millisecond, 150*time.Millisecond
	w.start("COORD")
	xa := w.start("XA")
	officer := openers()[1]
	v := w.open(officer, "XA")
	v.await(t, w.revoke("XA", v.serial))
	w.open(officer, "XA") // another certificate of the same officer
	xa.stop()
	must(t, os.Remove(xa.lists))
	xa = w.start("XA")
	operator := xa.as(member.KindOperator, "ops")
	response, err := operator.Status(t.Context())
	must(t, err)
	if response.GetRevokedCertificates() != 1 {
		t.Errorf("%d certificates are revoked after a restart, want 1", response.GetRevokedCertificates())
	}
	// The place of the list is taken by an older one that does not name it: it is refused.
	older, err := w.fed.Seat("XA").Authority.Revoke(nil, nil, rand.Reader, time.Now(), time.Hour)
	must(t, err)
	must(t, os.WriteFile(xa.lists, member.EncodeRevocationList(older), 0o600))
	err = xa.Reload(t.Context())
	if err == nil || errors.Is(err, io.EOF) || !errors.Is(err, member.ErrRevocationsFork) {
		t.Errorf("another list of the same number: %v, want %v", err, member.ErrRevocationsFork)
	}
}
