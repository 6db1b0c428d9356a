package ledger

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// What is put together by hand must be what the library encodes, or a record pushed again would not be a duplicate after
// an upgrade of either.
func TestRecordsPutTogetherByHandAreEncodedAsTheLibraryDoes(t *testing.T) {
	l := &Ledger{cfg: Config{Self: "XA"}}
	areas := [][]ententev1.CrimeArea{nil, {1}, {2, 5, 16}}
	for _, crimes := range areas {
		r := &ententev1.Record{
			Envelope:   &ententev1.Envelope{ProviderReference: "r", Version: 3, Purpose: 3, Evaluation: &ententev1.Evaluation{Scheme: 1, SourceCode: "A"}},
			Body:       &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{Names: []*ententev1.PersonName{{Family: "Name"}}}}},
			CrimeAreas: crimes,
		}
		body, err := deterministic().Marshal(r.GetBody())
		if err != nil {
			t.Fatal(err)
		}
		inPieces, err := encodeRecord(r, body)
		if err != nil {
			t.Fatal(err)
		}
		byHand := inPieces.join()
		byLibrary, err := deterministic().Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(byHand, byLibrary) {
			t.Errorf("record with crime areas %v: %x by hand, %x by the library", crimes, byHand, byLibrary)
		}
		form, err := l.releasedForm(RecordID{1}, "A", r, body, "p", 0)
		if err != nil {
			t.Fatal(err)
		}
		byHand = form.released.join()
		released := &ententev1.ReleasedRecord{}
		err = proto.Unmarshal(byHand, released)
		if err != nil {
			t.Fatal(err)
		}
		byLibrary, err = deterministic().Marshal(released)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(byHand, byLibrary) || !proto.Equal(released.GetBody(), r.GetBody()) {
			t.Errorf("released form with crime areas %v: %x by hand, %x by the library", crimes, byHand, byLibrary)
		}
	}
}

// A reference that namesOf does not know would leave the node as the provider wrote it. So each RecordRef that a body can
// hold, however deep, must be among those that it finds.
func TestEveryReferenceInABodyIsFound(t *testing.T) {
	kinds := (&ententev1.Body{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	for i := range kinds.Len() {
		body := &ententev1.Body{}
		content := body.ProtoReflect().Mutable(kinds.Get(i)).Message()
		planted := plantReferences(content, map[protoreflect.FullName]bool{})
		found := namesOf(body)
		if len(found) != planted {
			t.Errorf("%s: %d references planted, %d found", kinds.Get(i).Name(), planted, len(found))
		}
	}
}

// plantReferences sets every field that is, or leads to, a RecordRef, and counts those.
func plantReferences(m protoreflect.Message, inside map[protoreflect.FullName]bool) int {
	name := m.Descriptor().FullName()
	if inside[name] {
		return 0
	}
	inside[name] = true
	defer delete(inside, name)
	planted := 0
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Kind() != protoreflect.MessageKind {
			continue
		}
		var child protoreflect.Message
		if field.IsList() {
			child = m.Mutable(field).List().AppendMutable().Message()
		} else {
			child = m.Mutable(field).Message()
		}
		if child.Descriptor().Name() == "RecordRef" {
			planted++
			continue
		}
		planted += plantReferences(child, inside)
	}
	return planted
}
