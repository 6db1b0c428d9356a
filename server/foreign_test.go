package server_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

// receive gives the node a verified stream of XB that carries encoded released records, sound or not.
func (n *node) receive(kind ententev1.StreamKind, project string, records ...[]byte) {
	n.w.t.Helper()
	n.receiveAs(stream.ID{1, 2, 3}, kind, project, records...)
}

// receiveAs is receive for a stream of that id.
func (n *node) receiveAs(id stream.ID, kind ententev1.StreamKind, project string, records ...[]byte) {
	n.w.t.Helper()
	opening := &ententev1.StreamOpening{StreamId: id[:], Owner: "XB", Kind: kind, ProjectId: project, Readers: []string{string(n.id)}}
	first, err := proto.Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Opening{Opening: opening}})
	n.w.must(err)
	payloads := [][]byte{first}
	for _, record := range records {
		payloads = append(payloads, field(nil, 2, record))
	}
	var edge stream.Edge
	var entries []stream.Verified
	salt := make([]byte, stream.SaltSize)
	for i, payload := range payloads {
		header := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE, Sequence: uint64(i) + 1, Commitment: stream.Commit(salt, payload)}
		if i == 0 {
			header.Type = ententev1.EntryType_ENTRY_TYPE_OPENING
		}
		encoded := header.Append(nil)
		edge.Append(stream.LeafHash(encoded))
		entries = append(entries, stream.Verified{Header: header, HeaderBytes: encoded, Leaf: stream.LeafHash(encoded), Salt: salt, Payload: payload})
	}
	n.w.must(n.ledger.ApplyEntries(patient(n.w.t), "XB", id, entries, edge, nil))
}

// field appends a field that holds bytes.
func field(b []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), value)
}

// foreignEnvelope is the envelope of a record that XB released.
func foreignEnvelope(project string) *ententev1.ReleasedEnvelope {
	own := personRecord("r", 1).GetEnvelope()
	return &ententev1.ReleasedEnvelope{
		ProviderMember: "XB", ProjectId: project, Purpose: own.GetPurpose(), Handling: own.GetHandling(),
		RetainUntil: own.GetRetainUntil(), Evaluation: own.GetEvaluation(), Assertion: own.GetAssertion(),
	}
}

// foreignPractice is an encoded practice of XB.
func foreignPractice(t testing.TB, number byte, project string) []byte {
	t.Helper()
	encoded, err := proto.Marshal(&ententev1.ReleasedRecord{
		RecordId: []byte{number, 15: 0}, Envelope: foreignEnvelope(project),
		Body: &ententev1.Body{Kind: &ententev1.Body_GoodPractice{GoodPractice: &ententev1.GoodPractice{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestAForeignPracticeThatCannotBeReadSpoilsNoList(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pushAll(t, n.system("registry"), practice("own", toAll()))
	kind := protowire.Number(ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE)
	person := protowire.Number(ententev1.RecordKind_RECORD_KIND_PERSON)
	noText := field(field(field(nil, 1, []byte{7, 15: 0}), 2, field(nil, 1, []byte{0xff})), 3, field(nil, kind, nil))
	inDisguise := field(field(field(nil, 1, []byte{8, 15: 0}), 2, field(nil, 1, []byte("XB"))), 3, field(field(nil, kind, nil), person, nil))
	n.receive(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS, "", noText, inDisguise, foreignPractice(t, 9, ""))
	got, err := ententev1.NewLibraryServiceClient(n.officer("ann")).List(patient(t), &ententev1.LibraryServiceListRequest{Consultation: asking()})
	w.must(err)
	if len(got.GetItems()) != 2 {
		t.Errorf("%d items, want the own practice and the sound foreign one", len(got.GetItems()))
	}
}

func TestNoPageTokenTellsOfWhatTheCallerMayNotSee(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	n.receive(ententev1.StreamKind_STREAM_KIND_PROJECT, "other", foreignPractice(t, 9, "other"))
	pushAll(t, n.system("registry"), practice("own", toAll()), person("second"))
	pushAll(t, n.system("customs"), person("hidden"))
	library, err := ententev1.NewLibraryServiceClient(n.officer("bob")).List(patient(t), &ententev1.LibraryServiceListRequest{Consultation: asking(), PageSize: 1})
	w.must(err)
	if len(library.GetItems()) != 1 || len(library.GetNextPageToken()) > 0 {
		t.Errorf("library: %d items and a token of %d bytes, want 1 and none", len(library.GetItems()), len(library.GetNextPageToken()))
	}
	for size, want := range map[uint32]bool{1: true, 2: false} {
		list, err := ententev1.NewIntakeServiceClient(n.system("registry")).List(patient(t), &ententev1.ListRequest{Consultation: asking(), PageSize: size})
		w.must(err)
		if len(list.GetRecords()) != int(size) || len(list.GetNextPageToken()) > 0 != want {
			t.Errorf("list by %d: %d records and a token of %d bytes", size, len(list.GetRecords()), len(list.GetNextPageToken()))
		}
	}
}
