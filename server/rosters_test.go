package server_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
)

// listed is a set of revocation lists as a node holds them.
type listed struct {
	lists []*ententev1.RevocationList
	asked atomic.Pointer[x509.Certificate] // after which it was asked last
	gone  atomic.Pointer[x509.Certificate]
}

// Revoked says whether it is the one that is gone.
func (l *listed) Revoked(certificate *x509.Certificate) bool {
	if !certificate.IsCA {
		l.asked.Store(certificate)
	}
	gone := l.gone.Load()
	return gone != nil && gone.SerialNumber.Cmp(certificate.SerialNumber) == 0
}

// Lists gives the lists.
func (l *listed) Lists() []*ententev1.RevocationList { return l.lists }

// Count is how many there are.
func (l *listed) Count() int { return len(l.lists) }

func TestARosterIsSentOnlyToWhoDoesNotHoldIt(t *testing.T) {
	w := newWorld(t)
	lists := &listed{lists: []*ententev1.RevocationList{{Member: "XA", List: []byte("one")}, {Member: "XB", List: []byte("another")}}}
	xa := w.start("XA", func(c *server.Config) { c.Revocations = lists })
	client := ententev1.NewRosterServiceClient(xa.peer("XB"))
	all, err := client.GetRoster(patient(t), &ententev1.GetRosterRequest{})
	w.must(err)
	// By the words of the contract: SHA-256 over the lists, each behind its length in 8 bytes.
	digest := sha256.Sum256([]byte("\x00\x00\x00\x00\x00\x00\x00\x03one\x00\x00\x00\x00\x00\x00\x00\x07another"))
	if all.GetContract() != member.Contract || all.GetRoster() == nil || len(all.GetRevocations()) != 2 ||
		!bytes.Equal(all.GetRevocationsDigest(), digest[:]) {
		t.Fatalf("who holds nothing gets %v", all)
	}
	roster := sha256.Sum256(all.GetRoster().GetBody())
	for name, tt := range map[string]struct {
		roster, lists         []byte
		wantRoster, wantLists bool
	}{
		"holds all":               {roster[:], digest[:], false, false},
		"holds the roster":        {roster[:], nil, false, true},
		"holds the lists":         {nil, digest[:], true, false},
		"holds others of both":    {digest[:], roster[:], true, true},
		"holds what is no digest": {[]byte{1}, []byte{2}, true, true},
	} {
		got, err := client.GetRoster(patient(t), &ententev1.GetRosterRequest{KnownRoster: tt.roster, KnownRevocations: tt.lists})
		w.must(err)
		if (got.GetRoster() != nil) != tt.wantRoster || (len(got.GetRevocations()) > 0) != tt.wantLists ||
			!bytes.Equal(got.GetRevocationsDigest(), digest[:]) {
			t.Errorf("who %s gets %v", name, got)
		}
	}
}

func TestARevokedCertificateIsRefusedAtEachCallAndItsStreamsEnd(t *testing.T) {
	w := newWorld(t)
	lists := &listed{}
	xa := w.start("XA", func(c *server.Config) { c.Revocations = lists })
	conn := xa.dial(member.KindNode, "XB", "")
	pull, err := ententev1.NewExchangeServiceClient(conn).Pull(patient(t), &ententev1.PullRequest{PositionsGiven: true})
	w.must(err)
	_, err = pull.Recv()
	w.must(err)
	lists.gone.Store(lists.asked.Load())
	xa.DirectoryChanged()
	for err == nil {
		_, err = pull.Recv()
	}
	wantCode(t, err, codes.Unauthenticated)
	_, err = ententev1.NewRosterServiceClient(conn).GetRoster(patient(t), &ententev1.GetRosterRequest{})
	wantCode(t, err, codes.Unauthenticated)
	_, err = ententev1.NewRosterServiceClient(xa.peer("XB")).GetRoster(patient(t), &ententev1.GetRosterRequest{})
	w.must(err) // by another certificate of the same node
}
