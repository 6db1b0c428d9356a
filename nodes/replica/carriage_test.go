package replica

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server"
)

// alone keeps a node from every other: what it gets, it gets by file.
func alone(cfg *Config) {
	cfg.Dial = func(member.ID, string) (Conn, error) { return nil, errors.New("there is no network here") }
}

// operator is a connection to a node as its member's operator.
func (n *node) operator() *client.Client {
	n.w.t.Helper()
	seat := n.w.fed.Seat(n.id)
	certificate, err := n.w.fed.Certificate(member.Identity{Member: n.id, Kind: member.KindOperator, Name: "op"})
	if err != nil {
		n.w.t.Fatal(err)
	}
	source := func() (*tls.Certificate, error) { return certificate, nil }
	c, err := client.Dial(client.Config{Address: seat.Addresses[0], Member: n.id, Certificate: source, Authorities: seat.Authority.Pool()})
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (n *node) export(request *ententev1.ExportStreamsRequest) []byte {
	n.w.t.Helper()
	var file bytes.Buffer
	_, err := n.operator().ExportStreams(n.w.t.Context(), request, &file)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return file.Bytes()
}

// take imports a file: checked first, as the command does, and both ways of counting must agree.
func (n *node) take(file []byte) *ententev1.ImportStreamsResponse {
	n.w.t.Helper()
	before := n.ledger.HeadsDigest()
	checked, err := n.operator().ImportStreams(n.w.t.Context(), bytes.NewReader(file), true)
	if err != nil {
		n.w.t.Fatal(err)
	}
	if n.ledger.HeadsDigest() != before {
		n.w.t.Error("a check has changed what is held")
	}
	took, err := n.operator().ImportStreams(n.w.t.Context(), bytes.NewReader(file), false)
	if err != nil {
		n.w.t.Fatal(err)
	}
	if !proto.Equal(checked, took) {
		n.w.t.Errorf("the check said %v, the import %v", checked, took)
	}
	return took
}

func entriesOf(took *ententev1.ImportStreamsResponse) (entries uint64) {
	for _, o := range took.GetOwners() {
		entries += o.GetEntries()
	}
	return entries
}

func states(n *node, reference string) []ententev1.DeliveryState {
	standing, withdrawn := n.deliveries(reference)
	return slices.Compact(slices.Sorted(slices.Values(append(standing, withdrawn...))))
}

func TestStreamsAndReceiptsGoByFileBetweenNodesThatNeverConnect(t *testing.T) {
	w := newWorld(t, "XA", "XB", "XC")
	at := listen(w)
	a, b := start(w.open("XA", clean), at["XA"], alone), start(w.open("XB", clean), at["XB"], alone)
	a.push("one", 1, toAll())
	a.push("two", 1, toAll())
	a.push("for XB", 1, toMember("XB"))
	a.push("for XC", 1, toMember("XC"))
	a.withdraw("two")

	whole := a.export(&ententev1.ExportStreamsRequest{Reader: "XB"})
	if bytes.Contains(whole, []byte("Invented for XC")) || !bytes.Contains(whole, []byte("Invented for XB")) {
		t.Error("the file for XB holds what is for XC, or not what is for XB")
	}
	took := b.take(whole)
	if held, erased := b.payloads("XA"); held != 2 || erased != 1 || !same(a.site, b.site) {
		t.Errorf("XB holds %d and %d erased after the import: %v", held, erased, took)
	}
	if took.GetOwners()[0].GetWithdrawals() != 1 || took.GetOwners()[0].GetStreams() != 2 || entriesOf(took) == 0 {
		t.Errorf("import = %v", took)
	}
	again := b.take(whole)
	if entriesOf(again) != 0 || again.GetOwners()[0].GetWithdrawals() != 0 || again.GetOwners()[0].GetNote() != "" {
		t.Errorf("a second import = %v", again)
	}
	if status := b.status("XA"); status.GetFreshAt() != nil || status.GetConnected() {
		t.Errorf("something is fresh by a file: %v", status)
	}

	if took := a.take(b.export(&ententev1.ExportStreamsRequest{Reader: "XA"})); took.GetReceipts() != 2 {
		t.Errorf("import of receipts = %v", took)
	}
	if got := states(a, "for XB"); !slices.Equal(got, []ententev1.DeliveryState{ententev1.DeliveryState_DELIVERY_STATE_DELIVERED}) {
		t.Errorf("what XB has signed for is %v", got)
	}

	a.push("three", 1, toAll())
	a.withdraw("one")
	part := a.export(&ententev1.ExportStreamsRequest{Reader: "XB", UnconfirmedOnly: true})
	if bytes.Contains(part, []byte("Invented for XB")) || len(part) >= len(whole) {
		t.Errorf("an export of what is unconfirmed has %d bytes, the whole one %d", len(part), len(whole))
	}
	if took := b.take(part); entriesOf(took) != 2 || took.GetOwners()[0].GetWithdrawals() != 1 || !same(a.site, b.site) {
		t.Errorf("import of the rest = %v", took)
	}
	a.push("four", 1, toAll())
	// Made from the same position as before, since no receipt has come: XB is further.
	if took := b.take(a.export(&ententev1.ExportStreamsRequest{Reader: "XB", UnconfirmedOnly: true})); entriesOf(took) != 1 || !same(a.site, b.site) {
		t.Errorf("import from an earlier position = %v", took)
	}
	a.push("five", 1, toAll())
	if took := b.take(a.export(&ententev1.ExportStreamsRequest{Reader: "XB"})); entriesOf(took) != 1 || !same(a.site, b.site) {
		t.Errorf("import of a whole file = %v", took)
	}
	if took := b.take(whole); entriesOf(took) != 0 || !strings.Contains(took.GetOwners()[0].GetNote(), "older") || !same(a.site, b.site) {
		t.Errorf("import of an old file = %v", took)
	}

	c := start(w.open("XC", clean), at["XC"], alone)
	if took := c.take(b.export(&ententev1.ExportStreamsRequest{Reader: "XC"})); took.GetOwners()[0].GetOwner() != "XA" || c.shared("XA") != b.shared("XA") {
		t.Errorf("import of XA's streams from XB = %v", took)
	}
	for _, n := range []*node{a, b, c} {
		n.close()
	}
}

func TestAFileThatIsNotForThisNodeIsRefused(t *testing.T) {
	w := newWorld(t, "XA", "XB", "XC")
	at := listen(w)
	a, b := start(w.open("XA", clean), at["XA"], alone), start(w.open("XB", clean), at["XB"], alone)
	a.push("one", 1, toAll())
	good := messagesOf(t, a.export(&ententev1.ExportStreamsRequest{Reader: "XB"}))
	tests := []struct {
		name, want string
		change     func([]*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse
	}{
		{"another reader", "for another member", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			m[0].GetHeader().Reader = "XC"
			return m
		}},
		{"another federation", "another federation", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			m[0].GetHeader().FederationId[3] ^= 1
			return m
		}},
		{"its own export", "made it itself", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			m[0].GetHeader().Exporter = "XB"
			return m
		}},
		{"no header", "header", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse { return m[1:] }},
		{"streams of nobody", "whose streams", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			return slices.Delete(m, 1, 2)
		}},
		{"the reader's own streams", "own member", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			m[1].Content = &ententev1.ExportStreamsResponse_Owner{Owner: "XB"}
			return m
		}},
		{"one owner's streams as another's", string(stream.RuleCheckpoint), func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			m[1].Content = &ententev1.ExportStreamsResponse_Owner{Owner: "XC"}
			return m
		}},
		{"an owner twice", "named before", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			return slices.Insert(m, len(m)-1, m[1])
		}},
		{"an owner's end left out", "end before their end", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			return slices.Delete(m, len(m)-2, len(m)-1)
		}},
		{"the last entries left out", "entries are missing", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			return slices.DeleteFunc(m, func(m *ententev1.ExportStreamsResponse) bool { return m.GetPull().GetEntries() != nil })
		}},
		{"its second half left out", "end before their end", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			return m[:3]
		}},
		{"a digest, as if the owner were heard", "XA", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			digest := &ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Pull{Pull: digestMessage(w, "XA", "XA", "XB", time.Now())}}
			return slices.Insert(m, 2, digest)
		}},
		{"a receipt that its reader did not sign", "receipt of", func(m []*ententev1.ExportStreamsResponse) []*ententev1.ExportStreamsResponse {
			body, err := proto.Marshal(&ententev1.Receipt{Reader: "XA", Owner: "XB", StreamId: make([]byte, 16), SignedAt: timestamppb.Now()})
			if err != nil {
				t.Fatal(err)
			}
			forged := member.SignDocument(documentReceipt, body, "XC", w.fed.Seat("XC").Signing)
			return slices.Insert(m, len(m)-1, &ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Receipt{Receipt: forged}})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var messages []*ententev1.ExportStreamsResponse
			for _, m := range good {
				messages = append(messages, proto.CloneOf(m))
			}
			before := b.ledger.HeadsDigest()
			file := fileOf(t, tt.change(messages)) // with a right end: the node itself must find it out
			_, err := b.operator().ImportStreams(t.Context(), bytes.NewReader(file), true)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("import: %v, want it to name %q", err, tt.want)
			}
			if b.ledger.HeadsDigest() != before {
				t.Error("something was kept")
			}
		})
	}
	if took := b.take(fileOf(t, good)); entriesOf(took) != 2 { // positive control
		t.Errorf("import of the file as it was = %v", took)
	}
	a.close()
	b.close()
}

// messagesOf takes a file apart.
func messagesOf(t *testing.T, file []byte) []*ententev1.ExportStreamsResponse {
	t.Helper()
	rest := file[bytes.IndexByte(file, '\n')+1:]
	var messages []*ententev1.ExportStreamsResponse
	for len(rest) > 0 {
		encoded, n := protowire.ConsumeBytes(rest)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		rest = rest[n:]
		m := &ententev1.ExportStreamsResponse{}
		err := proto.Unmarshal(encoded, m)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}

// fileOf puts a file together, with count and hash as they must be.
func fileOf(t *testing.T, messages []*ententev1.ExportStreamsResponse) []byte {
	t.Helper()
	file := []byte("entente streams 1\n")
	sum := sha256.New()
	count := uint64(0)
	for _, m := range messages {
		if m.GetEnd() != nil {
			continue
		}
		encoded, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(encoded))))
		sum.Write(encoded)
		count++
		file = protowire.AppendBytes(file, encoded)
	}
	encoded, err := proto.Marshal(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_End{End: &ententev1.ExportEnd{Messages: count, Sha256: sum.Sum(nil)}}})
	if err != nil {
		t.Fatal(err)
	}
	return protowire.AppendBytes(file, encoded)
}

// TestEachFlippedByteAndEachCutLeavesNothing alters a file at each place, and makes count and hash at its end fit, as who
// wants to deceive would: either the node refuses it, or what it takes is exactly what the owner signed.
func TestEachFlippedByteAndEachCutLeavesNothing(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	a, b := start(w.open("XA", clean), at["XA"], alone), start(w.open("XB", clean), at["XB"], alone)
	a.push("one", 1, toAll())
	a.push("two", 1, toAll())
	a.withdraw("one")
	good := messagesOf(t, a.export(&ententev1.ExportStreamsRequest{Reader: "XB"}))
	before := b.ledger.HeadsDigest()
	harmless := 0
	for i, m := range good[:len(good)-1] {
		encoded, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for at := range encoded {
			altered := bytes.Clone(encoded)
			altered[at] ^= 1 << (at % 8)
			one := &ententev1.ExportStreamsResponse{}
			err = proto.Unmarshal(altered, one)
			if err != nil {
				continue // refused before anybody looks into it
			}
			messages := slices.Clone(good)
			messages[i] = one
			_, err = b.Import(t.Context(), true, replay(messages))
			if err == nil {
				harmless++ // of the header, which nobody signs, or an unknown field
				continue
			}
			if !errors.Is(err, server.ErrCarried) {
				t.Fatalf("message %d, byte %d: %v", i, at, err)
			}
		}
		_, err = b.Import(t.Context(), true, replay(good[:i]))
		if !errors.Is(err, server.ErrCarried) {
			t.Errorf("a file that is cut after message %d: %v", i, err)
		}
	}
	if b.ledger.HeadsDigest() != before {
		t.Error("something was kept")
	}
	header, err := proto.Marshal(good[0])
	if err != nil {
		t.Fatal(err)
	}
	if harmless > len(header) {
		t.Errorf("%d altered bytes do not matter, more than the header has", harmless)
	}
	took, err := b.Import(t.Context(), false, replay(good)) // positive control
	if err != nil || entriesOf(took) == 0 || !same(a.site, b.site) {
		t.Errorf("import of the file as it was = %v, %v", took, err)
	}
	a.close()
	b.close()
}

func replay(messages []*ententev1.ExportStreamsResponse) func() (*ententev1.ExportStreamsResponse, error) {
	next := 0
	return func() (*ententev1.ExportStreamsResponse, error) {
		if next == len(messages) {
			return nil, io.EOF
		}
		next++
		return messages[next-1], nil
	}
}

// TestNothingComesByTheSideWhileTheOwnerIsHeard: a file about an owner that is connected is passed over.
func TestNothingComesByTheSideWhileTheOwnerIsHeard(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	at := listen(w)
	a := start(w.open("XA", clean), at["XA"])
	a.push("one", 1, toAll())
	file := a.export(&ententev1.ExportStreamsRequest{Reader: "XB"})
	b := start(w.open("XB", clean), at["XB"])
	eventually(t, "XB has all", func() bool { return same(a.site, b.site) && b.status("XA").GetConnected() }, b)
	took, err := b.operator().ImportStreams(t.Context(), bytes.NewReader(file), false)
	if err != nil || !strings.Contains(took.GetOwners()[0].GetNote(), "connected") {
		t.Errorf("import = %v, %v", took, err)
	}
	a.close()
	b.close()
}

// TestATurnByTheSideIsTakenOneAtATime and given back; who waits can stop waiting.
func TestATurnByTheSideIsTakenOneAtATime(t *testing.T) {
	s := newSide()
	leave, err := s.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.enter(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a second turn: %v", err)
	}
	leave()
	_, changed := s.state()
	s.tell(heard)
	<-changed
	err = s.take(func() error { t.Error("taken"); return nil })
	if !errors.Is(err, errHeard) {
		t.Errorf("while the owner is heard: %v", err)
	}
	leave, err = s.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leave()
}
