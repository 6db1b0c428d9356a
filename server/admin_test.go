package server_test

import (
	"crypto/x509"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/ledger"
)

// statusOf asks a node how it is.
func statusOf(t testing.TB, n *node) *ententev1.GetStatusResponse {
	t.Helper()
	state, err := ententev1.NewAdminServiceClient(n.dial(member.KindOperator, n.id, "op")).GetStatus(patient(t), &ententev1.GetStatusRequest{})
	n.w.must(err)
	return state
}

// receiptFor hands in a reader's receipt for an own stream up to a size that it really had.
func receiptFor(t testing.TB, n *node, reader member.ID, info ledger.StreamInfo) {
	t.Helper()
	body, err := proto.Marshal(&ententev1.Receipt{
		Reader: string(reader), Owner: string(n.id), StreamId: info.ID[:], Size: info.Size, Root: info.Root[:], SignedAt: timestamppb.Now(),
	})
	n.w.must(err)
	doc := member.SignDocument("receipt", body, reader, n.w.fed.Seat(reader).Signing)
	_, err = ententev1.NewExchangeServiceClient(n.peer(reader)).SubmitReceipts(patient(t),
		&ententev1.SubmitReceiptsRequest{Receipts: []*ententev1.SignedDocument{doc}})
	n.w.must(err)
}

func readerOf(t testing.TB, state *ententev1.GetStatusResponse, id member.ID) *ententev1.ReaderStatus {
	t.Helper()
	for _, one := range state.GetStreams() {
		for _, reader := range one.GetReaders() {
			if reader.GetMember() == string(id) {
				return reader
			}
		}
	}
	t.Fatalf("%s reads no stream", id)
	return nil
}

func TestStatusTellsTheLagOfEachReaderAndWhatWasWaitedForLongest(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	empty := statusOf(t, n)
	if empty.GetContract() != member.Contract || empty.GetDraining() || empty.GetOldestUnconfirmed() != nil || empty.GetRevokedCertificates() != 0 {
		t.Errorf("a fresh node: %v", empty)
	}
	registry := n.system("registry")
	pushAll(t, registry, person("P-1", toAll()))
	first := n.ledger.Streams()[0]
	pushAll(t, registry, person("P-2", toAll()), person("P-3", toAll()))
	receiptFor(t, n, "XB", first)
	state := statusOf(t, n)
	stream := state.GetStreams()[0]
	if stream.GetSize() != first.Size+2 || stream.GetSignedAt() == nil || stream.GetFrozen() || stream.GetHidden() || stream.GetSeenSize() != 0 {
		t.Errorf("the stream: %v", stream)
	}
	if xb, xc := readerOf(t, state, "XB"), readerOf(t, state, "XC"); xb.GetLag() != 2 || xc.GetLag() != stream.GetSize() || xb.GetGranted() {
		t.Errorf("XB: %v, XC: %v", xb, xc)
	}
	oldest := state.GetOldestUnconfirmed()
	if oldest.GetEntry().GetSequence() != 1 || oldest.GetMember() == "XB" || oldest.GetSince() == nil {
		t.Errorf("the oldest: %v", oldest)
	}
	whole := n.ledger.Streams()[0]
	for _, id := range []member.ID{"XB", "XC", "COORD"} {
		receiptFor(t, n, id, whole)
	}
	state = statusOf(t, n)
	if state.GetOldestUnconfirmed() != nil || readerOf(t, state, "XC").GetLag() != 0 {
		t.Errorf("all have signed for all, and still: %v", state)
	}
}

// taken is a list of revoked certificates.
type taken struct{ certificate *x509.Certificate }

func (r *taken) Revoked(c *x509.Certificate) bool {
	return r.certificate != nil && c.Equal(r.certificate)
}
func (r *taken) Lists() []*ententev1.RevocationList { return nil }
func (r *taken) Count() int                         { return 3 }

func TestStatusPassesPeersOnWithTheirLagAndCountsRevocations(t *testing.T) {
	w := newWorld(t)
	peers := []*ententev1.PeerStatus{{Member: "XB", Connected: true, RelayError: "relay XC: header", Contract: 1, FreshAt: timestamppb.New(time.Unix(1_790_000_000, 0))}}
	n := w.start("XA", func(c *server.Config) {
		c.Peers = func() []*ententev1.PeerStatus { return peers }
		c.Revocations = &taken{}
	})
	state := statusOf(t, n)
	if len(state.GetPeers()) != 1 || !proto.Equal(state.GetPeers()[0], peers[0]) || state.GetRevokedCertificates() != 3 {
		t.Errorf("%v", state)
	}
}
