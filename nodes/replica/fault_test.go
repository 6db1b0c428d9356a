package replica

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// script is what a peer sends in one go.
type script = []*ententev1.PullResponse

// TestBadBytesAreRefusedByName bends one message of XA and looks that XB refuses it by name, keeps nothing of it, and
// still gets everything from XC.
func TestBadBytesAreRefusedByName(t *testing.T) {
	tests := []struct {
		name string
		want string
		bend func(w *world, s script) script
	}{
		{"an altered payload", string(stream.RuleCommitment), func(_ *world, s script) script {
			eachEntry(s, func(e *ententev1.Entry) {
				if len(e.GetPayload()) > 0 {
					e.Payload[len(e.Payload)-1] ^= 1
				}
			})
			return s
		}},
		{"an altered header", string(stream.RuleConsistency), func(_ *world, s script) script {
			eachEntry(s, func(e *ententev1.Entry) {
				if e.GetHeader()[1] == byte(ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL) {
					e.Header[34] ^= 1
				}
			})
			return s
		}},
		{"a payload left out without a withdrawal", string(stream.RuleMissing), func(_ *world, s script) script {
			eachEntry(s, func(e *ententev1.Entry) { e.Payload, e.Salt = nil, nil })
			return s
		}},
		{"a batch left out", string(stream.RuleSequence), func(_ *world, s script) script {
			first := slices.IndexFunc(s, func(m *ententev1.PullResponse) bool { return m.GetEntries() != nil })
			if first < 0 {
				return s
			}
			return slices.Delete(s, first, first+1)
		}},
		{"an entry sent twice", string(stream.RuleSequence), func(_ *world, s script) script {
			for _, m := range s {
				if e := m.GetEntries(); e != nil {
					e.Entries = append(e.Entries[:1:1], e.Entries[0])
				}
			}
			return s
		}},
		{"a checkpoint with another signature", string(stream.RuleCheckpoint), func(_ *world, s script) script {
			for _, m := range s {
				if c := m.GetCheckpoint(); c != nil {
					c.Checkpoint[len(c.Checkpoint)-10] ^= 1
				}
			}
			return s
		}},
		{"entries of a stream that was not announced", string(RuleNotOffered), func(_ *world, s script) script {
			return slices.DeleteFunc(s, func(m *ententev1.PullResponse) bool {
				return m.GetCheckpoint() != nil || m.GetWithdrawals() != nil
			})
		}},
		{"an empty message", string(RuleContent), func(_ *world, s script) script {
			return append(s[:1:1], &ententev1.PullResponse{})
		}},
		{"no digest first", string(RuleDigestFirst), func(_ *world, s script) script { return s[1:] }},
		{"positions asked for again", string(RulePositions), func(_ *world, s script) script {
			return append(s[:1:1], &ententev1.PullResponse{Content: &ententev1.PullResponse_PositionsNeeded{PositionsNeeded: &ententev1.PositionsNeeded{}}})
		}},
		{"a digest for another reader", string(RuleDigest), func(w *world, s script) script {
			return append(script{digestMessage(w, "XA", "XA", "XC", time.Now())}, s[1:]...)
		}},
		{"a digest signed by another member", string(RuleDigest), func(w *world, s script) script {
			return append(script{digestMessage(w, "XC", "XA", "XB", time.Now())}, s[1:]...)
		}},
		{"a digest from the future", string(RuleDigestAhead), func(w *world, s script) script {
			return append(script{digestMessage(w, "XA", "XA", "XB", time.Now().Add(6*time.Minute))}, s[1:]...)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "XA", "XB", "XC")
				a, b, c := filled(w, "XA", "XB"), w.open("XB", clean), filled(w, "XC", "XB")
				bad, good := newScripted(a, "XB"), newScripted(c, "XB")
				bad.bend = func(s script) script {
					copied := make(script, len(s))
					for i, m := range s {
						copied[i] = proto.CloneOf(m)
					}
					return tt.bend(w, copied)
				}
				j := newJournal(b.ledger)
				r := pull(t, b, j, nil, bad, good)
				pass(time.Minute)
				status := r.status("XA")
				if status.GetConnected() || !strings.Contains(status.GetLastError(), tt.want) {
					t.Errorf("status is %v, want the error to name %q", status, tt.want)
				}
				if same(a, b) || j.outOfOrder() > 0 {
					t.Errorf("what the bad peer sent was taken as whole (%d gaps)", j.outOfOrder())
				}
				if !same(c, b) || !r.status("XC").GetConnected() {
					t.Errorf("the good peer suffers: %v", r.status("XC"))
				}
				bad.set(func() { bad.bend = nil })
				pass(time.Minute)
				if !same(a, b) {
					t.Errorf("not all came after the peer was mended: %v", r.status("XA"))
				}
				r.close(t)
				bad.server.Stop()
				good.server.Stop()
				a.close()
				b.close()
				c.close()
			})
		})
	}
}

func eachEntry(s script, change func(*ententev1.Entry)) {
	for _, m := range s {
		for _, e := range m.GetEntries().GetEntries() {
			change(e)
		}
	}
}

// digestMessage is a digest that says what it should not.
func digestMessage(w *world, signer, owner, reader member.ID, at time.Time) *ententev1.PullResponse {
	body, err := proto.Marshal(&ententev1.HeadsDigest{Owner: string(owner), Reader: string(reader), Digest: make([]byte, 32), SignedAt: timestamppb.New(at)})
	if err != nil {
		w.t.Error(err)
	}
	doc := member.SignDocument(documentDigest, body, signer, w.fed.Seat(signer).Signing)
	return &ententev1.PullResponse{Content: &ententev1.PullResponse_Digest{Digest: doc}}
}

func TestWithdrawalsAfterReleasesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "XA", "XB")
		a, b := filled(w, "XA", "XB"), w.open("XB", clean)
		peer := newScripted(a, "XB")
		sent := append(script{peer.digest()}, peer.round(map[stream.ID]uint64{})...)
		entries := slices.IndexFunc(sent, func(m *ententev1.PullResponse) bool { return m.GetEntries() != nil })
		s := newSession(b.ledger, "XA", "XB", w.directory.Load().Roster.VerifyingKeys, time.Now, true)
		for i, m := range sent[:entries+1] {
			_, err := s.take(t.Context(), m)
			if err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		}
		_, err := s.take(t.Context(), sent[entries-1])
		if err == nil || !strings.Contains(err.Error(), string(RuleLate)) {
			t.Errorf("withdrawals after releases: %v, want %q", err, RuleLate)
		}
		peer.server.Stop()
		a.close()
		b.close()
	})
}

// TestAMemberCannotWithdrawWhatAnotherReleased: XA signs a withdrawal of an entry of XC's stream.
func TestAMemberCannotWithdrawWhatAnotherReleased(t *testing.T) {
	for _, ahead := range []bool{true, false} {
		t.Run(fmt.Sprintf("sent ahead of the entries: %v", ahead), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "XA", "XB", "XC")
				b, c := w.open("XB", clean), filled(w, "XC", "XB")
				target := c.ledger.StreamsShared("XC", "XB")[0].ID
				id, err := stream.NewID(bytes.NewReader(bytes.Repeat([]byte{5}, 16)))
				if err != nil {
					t.Fatal(err)
				}
				forged := forgedStream(w, id, target)
				s := newSession(b.ledger, "XA", "XB", w.directory.Load().Roster.VerifyingKeys, time.Now, true)
				if !ahead {
					forged = slices.DeleteFunc(forged, func(m *ententev1.PullResponse) bool { return m.GetWithdrawals() != nil })
				}
				var failed error
				for _, m := range forged {
					_, failed = s.take(t.Context(), m)
					if failed != nil {
						break
					}
				}
				if failed == nil || !strings.Contains(failed.Error(), string(RuleForeign)) {
					t.Errorf("taking XA's withdrawal of XC's entry: %v, want %q", failed, RuleForeign)
				}
				if b.ledger.Covered("XC")(target, 2) {
					t.Error("the withdrawal is kept")
				}
				b.close()
				c.close()
			})
		})
	}
}

// An owner can sign heads of any number of streams, and prove one withdrawal again and again. Each would stay in memory.
func TestWhatAnOwnerAnnouncesIsBounded(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	keys := w.directory.Load().Roster.VerifyingKeys
	announce := func(s *session, number uint64) error {
		id := stream.ID(binary.BigEndian.AppendUint64(make([]byte, 8), number+1))
		note, err := stream.Checkpoint{Owner: "XA", Stream: id, Size: 1, Root: stream.Hash{1}, Time: time.Now()}.Sign(w.fed.Seat("XA").Signing)
		if err != nil {
			t.Fatal(err)
		}
		return s.checkpoint(t.Context(), &ententev1.CheckpointUpdate{StreamId: id[:], Checkpoint: note})
	}
	s := newSession(holdsNothing{}, "XA", "XB", keys, time.Now, true)
	err := announce(s, 7)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(maxStreams) {
		s.known[stream.ID(binary.BigEndian.AppendUint64(make([]byte, 8), 1<<40+i))] = true
	}
	wantFault(t, announce(s, 8), RuleTooMany)
	err = announce(s, 7)
	if err != nil {
		t.Errorf("a stream that is known: %v", err)
	}

	forged := forgedStream(w, stream.ID{5}, stream.ID{6})
	s = newSession(holdsNothing{}, "XA", "XB", keys, time.Now, true)
	err = s.checkpoint(t.Context(), forged[1].GetCheckpoint())
	if err != nil {
		t.Fatal(err)
	}
	s.waits = maxUnplaced
	_, err = s.withdrawals(t.Context(), forged[2].GetWithdrawals())
	wantFault(t, err, RuleTooMany)
}

func wantFault(t *testing.T, err error, rule Rule) {
	t.Helper()
	fault, ok := errors.AsType[*Fault](err)
	if !ok || fault.Rule != rule {
		t.Errorf("got %v, want %q", err, rule)
	}
}

// forgedStream is a stream of XA in which entry 2 withdraws entry 2 of a stream that is not XA's.
func forgedStream(w *world, id, target stream.ID) script {
	opening := &ententev1.StreamOpening{StreamId: id[:], Owner: "XA", Kind: ententev1.StreamKind_STREAM_KIND_BILATERAL, Readers: []string{"XB"}, OpenedAt: timestamppb.Now()}
	payload, err := proto.Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Opening{Opening: opening}})
	if err != nil {
		w.t.Error(err)
	}
	salt := bytes.Repeat([]byte{1}, stream.SaltSize)
	first := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_OPENING, Sequence: 1, Commitment: stream.Commit(salt, payload)}.Append(nil)
	second := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Sequence: 2, Target: target, TargetSequence: 2, Reason: 3}.Append(nil)
	var edge stream.Edge
	edge.Append(stream.LeafHash(first))
	edge.Append(stream.LeafHash(second))
	note, err := stream.Checkpoint{Owner: "XA", Stream: id, Size: 2, Root: edge.Root(), Time: time.Now()}.Sign(w.fed.Seat("XA").Signing)
	if err != nil {
		w.t.Error(err)
	}
	leaf := stream.LeafHash(first)
	return script{
		digestMessage(w, "XA", "XA", "XB", time.Now()),
		{Content: &ententev1.PullResponse_Checkpoint{Checkpoint: &ententev1.CheckpointUpdate{StreamId: id[:], Checkpoint: note}}},
		{Content: &ententev1.PullResponse_Withdrawals{Withdrawals: &ententev1.WithdrawalBatch{StreamId: id[:], Withdrawals: []*ententev1.ProvenHeader{{Header: second, Inclusion: [][]byte{leaf[:]}}}}}},
		{Content: &ententev1.PullResponse_Entries{Entries: &ententev1.EntryBatch{StreamId: id[:], Entries: []*ententev1.Entry{{Header: first, Salt: salt, Payload: payload}, {Header: second}}}}},
	}
}

// FuzzSession feeds a session what nobody should send: it answers with an error or not, and never panics.
func FuzzSession(f *testing.F) {
	seeds := script{
		{Content: &ententev1.PullResponse_Checkpoint{Checkpoint: &ententev1.CheckpointUpdate{StreamId: make([]byte, 16), Checkpoint: []byte("x")}}},
		{Content: &ententev1.PullResponse_Withdrawals{Withdrawals: &ententev1.WithdrawalBatch{StreamId: bytes.Repeat([]byte{1}, 16)}}},
		{Content: &ententev1.PullResponse_Entries{Entries: &ententev1.EntryBatch{StreamId: []byte{1}}}},
		{Content: &ententev1.PullResponse_Digest{Digest: &ententev1.SignedDocument{Type: "digest"}}},
		{Content: &ententev1.PullResponse_CaughtUp{CaughtUp: &ententev1.CaughtUp{}}},
		{Content: &ententev1.PullResponse_Grants{Grants: &ententev1.GrantBatch{StreamId: bytes.Repeat([]byte{1}, 16), Grants: []*ententev1.SignedDocument{{Type: "grant"}}}}},
	}
	for _, m := range seeds {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	noKeys := func(member.ID) []ed25519.PublicKey { return nil }
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &ententev1.PullResponse{}
		err := proto.Unmarshal(b, m)
		if err != nil {
			return
		}
		for _, from := range []source{fromOwner, fromRelay, fromFile} {
			for _, phase := range []phase{phaseOpening, phaseAnnounce, phaseEntries, phaseLive} {
				s := newSession(holdsNothing{}, "XA", "XB", noKeys, time.Now, true)
				s.from, s.opened, s.phase = from, true, phase
				_, err := s.take(t.Context(), m)
				if err == nil && m.GetCaughtUp() == nil && m.GetDigest() == nil {
					t.Errorf("phase %d takes a message that no key signs", phase)
				}
				if m.GetDigest() != nil && err == nil {
					t.Error("a digest that no key signs counts")
				}
			}
		}
	})
}

func TestReceiptsAreSplitToFitARequest(t *testing.T) {
	docs := make([]*ententev1.SignedDocument, 2500)
	for i := range docs {
		docs[i] = &ententev1.SignedDocument{Body: make([]byte, 100)}
	}
	if got := fitting(docs); got != maxReceipts {
		t.Errorf("fitting takes %d small receipts, want %d", got, maxReceipts)
	}
	for i := range docs {
		docs[i] = &ententev1.SignedDocument{Body: make([]byte, 300_000)}
	}
	if got := fitting(docs); got != 3 {
		t.Errorf("fitting takes %d receipts of 300 kB, want 3", got)
	}
	if got := fitting([]*ententev1.SignedDocument{{Body: make([]byte, 2*receiptBytes)}}); got != 1 {
		t.Errorf("fitting takes %d of one large receipt, want 1", got)
	}
}

// holdsNothing is a node that holds nothing and takes nothing.
type holdsNothing struct{}

func (holdsNothing) Held(member.ID) []*ententev1.StreamPosition                 { return nil }
func (holdsNothing) StreamsShared(member.ID, member.ID) []ledger.StreamInfo     { return nil }
func (holdsNothing) Digest(member.ID, member.ID) stream.Hash                    { return stream.Hash{} }
func (holdsNothing) Covered(member.ID) func(in stream.ID, sequence uint64) bool { return nil }
func (holdsNothing) Consistency(uint32, uint64, uint64) ([][]byte, error)       { return nil, nil }
func (holdsNothing) Fresh(member.ID, bool)                                      {}
func (holdsNothing) Reader(owner member.ID, id stream.ID) (*stream.Reader, error) {
	return stream.NewReader(owner, id, "XB", stream.Edge{}), nil
}
func (holdsNothing) ApplyWithdrawals(context.Context, member.ID, stream.ID, []stream.Withdrawal, []byte) error {
	return ledger.ErrRefused
}
func (holdsNothing) ApplyEntries(context.Context, member.ID, stream.ID, []stream.Verified, stream.Edge, []byte) error {
	return ledger.ErrRefused
}
func (holdsNothing) Freeze(context.Context, member.ID, stream.ID, [][]byte) error { return nil }
