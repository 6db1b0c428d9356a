package ledger

import (
	"bytes"
	"reflect"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

func id(b byte) (id RecordID) {
	for i := range id {
		id[i] = b
	}
	return id
}

type event interface{ encode() []byte }

func someEvents() map[string]event {
	body := []byte("body")
	return map[string]event{
		"a record": &recordEvent{id: id(1), version: 1 << 60, kind: 7, authority: "Central Unit", receivedAt: 1 << 60, previous: 3, crimes: 1 << 63, restriction: []byte{1},
			names: []Name{{Owner: "XA", Record: id(2)}, {Owner: "XB", Record: id(3)}}, hasIntents: true, intents: "intents",
			record: pieces{before: []byte("b"), body: body, after: []byte("a")},
			forms: []formBytes{{key: "", released: pieces{before: []byte("x"), body: body, after: []byte("y")}, sharesBody: true},
				{key: "harbour", released: pieces{before: []byte("x"), body: []byte("other"), after: []byte{}}}}},
		"a record that stays at home": &recordEvent{id: id(1), version: 1, restriction: []byte{}, record: pieces{before: []byte{}, body: []byte{}, after: []byte{}}},
		"audiences":                   &audienceEvent{id: id(4), intents: "intents"},
		"a withdrawal":                &withdrawnEvent{id: id(5), version: 9, reason: 3},
		"a form":                      &formEvent{id: id(6), version: 2, formBytes: formBytes{key: "harbour", released: pieces{before: []byte("x"), body: body, after: []byte("z")}}},
		"a received record":           &receivedEvent{stream: 1<<32 - 1, sequence: 8, id: id(7), kind: 4, crimes: 6, payload: []byte("payload")},
		"an erased received record":   &receivedEvent{stream: 1, sequence: 8, id: id(7), kind: 4, crimes: 6, payload: []byte{}},
		"a receipt":                   &receiptEvent{stream: 3, reader: "XC", size: 10, at: -1, document: []byte("signed")},
	}
}

func TestEveryEventReadsAsItWasWritten(t *testing.T) {
	for name, e := range someEvents() {
		got, err := decodeEvent(e.encode())
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: %+v, want %+v (%v)", name, got, e, err)
		}
		// Cut anywhere it is an error, never something else.
		value := e.encode()
		for n := range value {
			short, err := decodeEvent(value[:n])
			if err == nil {
				t.Errorf("%s cut at %d of %d reads as %+v", name, n, len(value), short)
			}
		}
	}
}

func someEntries() map[string]*storedEntry {
	header := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_RELEASE, Sequence: 2}.Append(nil)
	salt := bytes.Repeat([]byte{9}, 32)
	return map[string]*storedEntry{
		"one without payload": {header: header, state: payloadNone},
		"a release":           {header: header, state: payloadInLog, salt: salt, pos: 5, id: id(1), version: 3, mergeFor: []member.ID{"XA", "XB"}},
		"an opening":          {header: header, state: payloadInline, salt: salt, inline: []byte("opening")},
		"an erased release":   {header: header, state: payloadErased, id: id(1), version: 3, kind: 2, crimes: 4},
	}
}

func TestEveryStoredEntryReadsAsItWasWritten(t *testing.T) {
	for name, e := range someEntries() {
		value := e.encode()
		got, err := decodeEntry(value)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: %+v, want %+v (%v)", name, got, e, err)
		}
		for n := range value {
			_, err := decodeEntry(value[:n])
			if err == nil {
				t.Errorf("%s cut at %d of %d can be read", name, n, len(value))
			}
		}
	}
}

func TestAnErasedEntryKeepsNeitherSaltNorPlaceOfThePayload(t *testing.T) {
	e := someEntries()["a release"]
	gone := &storedEntry{header: e.header, state: payloadErased, salt: e.salt, pos: e.pos, id: e.id, mergeFor: e.mergeFor, inline: []byte("payload")}
	if value := gone.encode(); bytes.Contains(value, e.salt) || bytes.Contains(value, []byte("payload")) {
		t.Error("the salt or the payload is still in the value")
	}
}

func someIntents() []intent {
	return []intent{
		{audience: &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{}}}, present: memberSet{"XB", "XC"}},
		{audience: &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: []string{"XB"}, MergeFor: []string{"XB"}}}}},
	}
}

func TestAudiencesReadAsTheyWereWritten(t *testing.T) {
	for _, list := range [][]intent{nil, someIntents()[:1], someIntents()} {
		key, err := encodeIntents(list)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeIntents(key)
		if err != nil || len(got) != len(list) {
			t.Fatalf("%d audiences, want %d (%v)", len(got), len(list), err)
		}
		for i := range list {
			if !proto.Equal(got[i].audience, list[i].audience) || !reflect.DeepEqual(got[i].present, list[i].present) {
				t.Errorf("audience %d: %+v, want %+v", i, got[i], list[i])
			}
		}
	}
}

// somePayload is a release as it travels, made by the library and not by hand.
func somePayload(t testing.TB) (payload, released []byte) {
	record := id(8)
	out := &ententev1.ReleasedRecord{RecordId: record[:], CrimeAreas: []ententev1.CrimeArea{1, 5},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{Notes: "notes"}}}}
	released, err := proto.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	payload, err = proto.Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_ReleasedRecord{ReleasedRecord: released}, MergeFor: []string{"XA", "XB"}})
	if err != nil {
		t.Fatal(err)
	}
	return payload, released
}

func TestPayloadsByHandAndByTheLibraryAreTheSame(t *testing.T) {
	payload, released := somePayload(t)
	message := &ententev1.StreamPayload{}
	err := proto.Unmarshal(payloadBytes(released, []member.ID{"XA", "XB"}), message)
	if err != nil || !bytes.Equal(message.GetReleasedRecord(), released) || !reflect.DeepEqual(message.GetMergeFor(), []string{"XA", "XB"}) {
		t.Errorf("put together by hand: %v (%v)", message, err)
	}
	got, mergeFor, err := splitPayload(payload)
	if err != nil || !bytes.Equal(got, released) || !reflect.DeepEqual(mergeFor, []member.ID{"XA", "XB"}) {
		t.Errorf("taken apart: %x for %v (%v)", got, mergeFor, err)
	}
	rid, kind, crimes, err := glance(released)
	if err != nil || rid != id(8) || kind == 0 || crimes != 1<<1|1<<5 {
		t.Errorf("at a glance: %s %v %b (%v)", rid, kind, crimes, err)
	}
}

// bounded runs a decoder and fails where it takes far more memory than its input can ask for.
func bounded(t *testing.T, input []byte, decode func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	decode()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20+uint64(len(input))*1024 {
		t.Errorf("%d bytes of input took %d bytes of memory", len(input), used)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, e := range someEvents() {
		f.Add(e.encode())
	}
	f.Add([]byte{byte(eventRecord), 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, value []byte) {
		bounded(t, value, func() {
			got, err := decodeEvent(value)
			if err != nil {
				return
			}
			again, err := decodeEvent(got.(event).encode())
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%+v reads the second time as %+v (%v)", got, again, err)
			}
		})
	})
}

func FuzzDecodeEntry(f *testing.F) {
	for _, e := range someEntries() {
		f.Add(e.encode())
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		bounded(t, value, func() {
			got, err := decodeEntry(value)
			if err != nil {
				return
			}
			again, err := decodeEntry(got.encode())
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%+v reads the second time as %+v (%v)", got, again, err)
			}
		})
	})
}

func FuzzDecodeIntents(f *testing.F) {
	key, err := encodeIntents(someIntents())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key)
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, key string) {
		bounded(t, []byte(key), func() {
			list, err := decodeIntents(key)
			if err != nil {
				return
			}
			_, err = encodeIntents(list)
			if err != nil {
				t.Errorf("audiences that were read cannot be written: %v", err)
			}
		})
	})
}

// What a peer sends: our reading by hand must agree with that of the library wherever both can read it.
func FuzzSplitPayload(f *testing.F) {
	payload, released := somePayload(f)
	f.Add(payload)
	f.Add(payloadBytes(released, nil))
	f.Fuzz(func(t *testing.T, payload []byte) {
		bounded(t, payload, func() {
			released, mergeFor, err := splitPayload(payload)
			message := &ententev1.StreamPayload{}
			if err != nil || proto.Unmarshal(payload, message) != nil || message.GetOpening() != nil {
				return
			}
			if !bytes.Equal(released, message.GetReleasedRecord()) || len(mergeFor) != len(message.GetMergeFor()) {
				t.Errorf("by hand %x for %v, by the library %x for %v", released, mergeFor, message.GetReleasedRecord(), message.GetMergeFor())
			}
		})
	})
}

func FuzzGlance(f *testing.F) {
	_, released := somePayload(f)
	f.Add(released)
	f.Fuzz(func(t *testing.T, released []byte) {
		bounded(t, released, func() {
			rid, kind, _, err := glance(released)
			message := &ententev1.ReleasedRecord{}
			if err != nil || proto.Unmarshal(released, message) != nil {
				return
			}
			if !bytes.Equal(rid[:], message.GetRecordId()) {
				t.Errorf("id by hand %x, by the library %x", rid, message.GetRecordId())
			}
			if known := KindOf(message.GetBody()); known != 0 && kind == 0 {
				t.Errorf("kind by hand %v, by the library %v", kind, known)
			}
		})
	})
}
