package stream

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestReaderRefusesEntries(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").withdraw(2).release("three").close().withdraw(3)
	always := func(ID, uint64) bool { return true }
	never := func(ID, uint64) bool { return false }
	tests := []struct {
		name     string
		held     uint64
		batch    *ententev1.EntryBatch
		change   func(b *ententev1.EntryBatch)
		covered  func(ID, uint64) bool
		rule     Rule
		sequence uint64
	}{
		{"of another stream", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.StreamId[3] ^= 1 }, nil, RuleStream, 0},
		{"in an empty batch", 1, o.batch(1, 1, 7), nil, nil, RuleEmpty, 0},
		{"that are nothing", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[1] = nil }, nil, RuleHeader, 3},
		{"with a short header", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[1].Header = b.Entries[1].Header[:66] }, nil, RuleHeader, 3},
		{"with a release that has a reason", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[0].Header[34] = 1 }, nil, RuleHeader, 2},
		{"that are held already", 2, o.batch(1, 3, 7), nil, nil, RuleSequence, 3},
		{"after a gap", 1, o.batch(2, 3, 7), nil, nil, RuleSequence, 2},
		{"in another order", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] }, nil, RuleSequence, 2},
		{"beyond the checkpoint", 1, o.batch(1, 7, 7), func(b *ententev1.EntryBatch) { b.Entries = append(b.Entries, b.Entries[0]) }, nil, RuleBeyond, 0},
		{"without a payload that nothing covers", 1, erase(o.batch(1, 3, 7), 1), nil, never, RuleMissing, 3},
		{"without a payload, with no withdrawal known", 1, erase(o.batch(1, 3, 7), 1), nil, nil, RuleMissing, 3},
		{"without opening payload, whatever is said to cover it", 0, erase(o.batch(0, 3, 7), 0), nil, always, RuleMissing, 1},
		{"with a payload without salt", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[0].Salt = nil }, always, RulePayload, 2},
		{"with a short salt", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[0].Salt = b.Entries[0].Salt[:31] }, always, RulePayload, 2},
		{"with a salt without payload", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[0].Payload = nil }, always, RuleCommitment, 2},
		{"with a payload that is too large", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[0].Payload = make([]byte, MaxPayload+1) }, nil, RulePayload, 2},
		{"with another payload", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Entries[0].Payload = b.Entries[1].Payload }, nil, RuleCommitment, 2},
		{"with a salt on a withdrawal", 1, o.batch(1, 4, 7), func(b *ententev1.EntryBatch) { b.Entries[2].Salt = make([]byte, 32) }, nil, RulePayload, 4},
		{"with a payload on a closing", 1, o.batch(1, 6, 7), func(b *ententev1.EntryBatch) { b.Entries[4].Payload = []byte{1} }, nil, RulePayload, 6},
		{"without proof", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Consistency = nil }, nil, RuleConsistency, 0},
		{"with a needless proof", 1, o.batch(1, 7, 7), func(b *ententev1.EntryBatch) { b.Consistency = [][]byte{make([]byte, 32)} }, nil, RuleConsistency, 0},
		{"with an element of a proof that is no hash", 1, o.batch(1, 3, 7), func(b *ententev1.EntryBatch) { b.Consistency[0] = append(b.Consistency[0], 0) }, nil, RuleConsistency, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.change != nil {
				test.change(test.batch)
			}
			r := o.ready(test.held)
			before := *r
			got, err := r.Entries(test.batch, test.covered)
			fault := asSenderError(t, err, test.rule)
			if fault.Sequence != test.sequence || got != nil {
				t.Errorf("entry %d, want %d; got %v", fault.Sequence, test.sequence, got)
			}
			if !sameReader(*r, before) {
				t.Error("the reader has changed")
			}
			_, err = r.Entries(o.batch(test.held, 7, 7), nil) // the next source is heard
			if err != nil {
				t.Error(err)
			}
		})
	}
	_, err := o.reader(1).Entries(o.batch(1, 3, 7), nil)
	asSenderError(t, err, RuleOrder)
}

// What the owner itself signed, and should not have.
func TestReaderRefusesStreamsThatBreakTheirRules(t *testing.T) {
	twice := marshal(t, &ententev1.StreamPayload{Content: &ententev1.StreamPayload_ReleasedRecord{ReleasedRecord: []byte("a")}})
	opening := newOwner(t, 1).open().entries[0].GetPayload()
	tests := []struct {
		name  string
		write func(o *owner)
		rule  Rule
	}{
		{"a second opening", func(o *owner) { o.openWith(o.opening()) }, RuleOpening},
		{"a withdrawal of itself", func(o *owner) { o.withdraw(2) }, RuleWithdrawal},
		{"a release after the closing", func(o *owner) { o.close().release("one") }, RuleClosed},
		{"a second closing", func(o *owner) { o.close().close() }, RuleClosed},
		{"something newer after the closing", func(o *owner) { o.close().add(Header{Type: typeNewer}) }, RuleClosed},
		{"a release of no bytes", func(o *owner) { o.addPayload(typeRelease, nil) }, RulePayload},
		{"a release that is no message", func(o *owner) { o.addPayload(typeRelease, []byte("\xff\xff")) }, RulePayload},
		{"a release whose record is cut off", func(o *owner) { o.addPayload(typeRelease, twice[:2]) }, RulePayload},
		{"a release with two records", func(o *owner) { o.addPayload(typeRelease, append(twice, twice...)) }, RulePayload},
		{"a release with an empty record", func(o *owner) { o.addPayload(typeRelease, []byte{0x12, 0}) }, RulePayload},
		{"a release with a number for a record", func(o *owner) { o.addPayload(typeRelease, []byte{0x10, 1}) }, RulePayload},
		{"a release with an opening", func(o *owner) { o.addPayload(typeRelease, opening) }, RulePayload},
		{"a release merged for nobody", func(o *owner) { o.addPayload(typeRelease, append(twice, 0x1a, 1, 'x')) }, RulePayload},
		{"a release with a newer field cut off", func(o *owner) { o.addPayload(typeRelease, append(twice, 0x9a, 0x06, 9)) }, RulePayload},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOwner(t, 1).open()
			test.write(o)
			r := o.ready(0)
			_, err := r.Entries(o.batch(0, o.size(), o.size()), func(ID, uint64) bool { return true })
			fault := asSenderError(t, err, test.rule)
			if fault.Sequence != o.size() {
				t.Errorf("entry %d, want %d", fault.Sequence, o.size())
			}
		})
	}
}

func TestReaderRefusesOpenings(t *testing.T) {
	tests := []struct {
		name   string
		change func(p *ententev1.StreamOpening)
		want   string
	}{
		{"of another stream", func(p *ententev1.StreamOpening) { p.StreamId = bytes.Repeat([]byte{1}, 16) }, "stream_id"},
		{"of another owner", func(p *ententev1.StreamOpening) { p.Owner = "XD" }, "owner is another"},
		{"without this reader", func(p *ententev1.StreamOpening) { p.Readers = []string{"XC", "XD"} }, "this member is not among them"},
		{"without readers", func(p *ententev1.StreamOpening) { p.Readers = nil }, "this member is not among them"},
		{"with readers in no order", func(p *ententev1.StreamOpening) { p.Readers = []string{"XC", "XB"} }, "readers[1]"},
		{"with a reader twice", func(p *ententev1.StreamOpening) { p.Readers = []string{"XB", "XB"} }, "readers[1]"},
		{"with a reader that is no member", func(p *ententev1.StreamOpening) { p.Readers = []string{"XB", "xc"} }, "readers[1]"},
		{"with the owner among the readers", func(p *ententev1.StreamOpening) { p.Readers = []string{"XA", "XB"} }, "readers[0] is the owner"},
		{"without kind", func(p *ententev1.StreamOpening) { p.Kind = 0 }, "kind"},
		{"for a project that is not named", func(p *ententev1.StreamOpening) { p.ProjectId = "" }, "project_id"},
		{"for all members and a project", func(p *ententev1.StreamOpening) { p.Kind = ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS }, "project_id"},
		{"for two bilateral readers", func(p *ententev1.StreamOpening) { p.Kind = ententev1.StreamKind_STREAM_KIND_BILATERAL }, "bilateral"},
		{"without time to stay fresh", func(p *ententev1.StreamOpening) { p.StalenessBound = durationpb.New(-time.Second) }, "staleness_bound"},
		{"at no possible time", func(p *ententev1.StreamOpening) { p.OpenedAt = &timestamppb.Timestamp{Nanos: -1} }, "opened_at"},
		{"continuing itself", func(p *ententev1.StreamOpening) { p.Predecessor = p.StreamId }, "predecessor"},
		{"continuing half an id", func(p *ententev1.StreamOpening) { p.Predecessor = make([]byte, 8) }, "predecessor"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newOwner(t, 1)
			opening := o.opening()
			test.change(opening)
			o.openWith(opening)
			_, err := o.ready(0).Entries(o.batch(0, 1, 1), nil)
			fault := asSenderError(t, err, RuleOpening)
			if fault.Sequence != 1 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	others := []struct {
		name  string
		write func(o *owner)
	}{
		{"that are no message", func(o *owner) { o.addPayload(typeOpening, []byte("\xff")) }},
		{"that are a record", func(o *owner) { o.addPayload(typeOpening, o.release("x").entries[0].GetPayload()) }},
		{"that are merged for somebody", func(o *owner) {
			o.addPayload(typeOpening, marshal(t, &ententev1.StreamPayload{
				Content:  &ententev1.StreamPayload_Opening{Opening: o.opening()},
				MergeFor: []string{"XC"},
			}))
		}},
		{"that are a release", func(o *owner) { o.release("one") }},
		{"that are a closing", func(o *owner) { o.close() }},
		{"that are newer", func(o *owner) { o.add(Header{Type: typeNewer}) }},
	}
	for _, test := range others {
		t.Run(test.name, func(t *testing.T) {
			o := newOwner(t, 1)
			test.write(o)
			_, err := o.ready(0).Entries(o.batch(0, 1, 1), nil)
			asSenderError(t, err, RuleOpening)
		})
	}
}

// tampered calls try with every batch that differs from b in one bit of one byte, or by one byte more or less in a field.
func tampered(b *ententev1.EntryBatch, try func(where string, b *ententev1.EntryBatch)) {
	type field struct {
		name string
		get  func(b *ententev1.EntryBatch) *[]byte
	}
	fields := []field{{"stream_id", func(b *ententev1.EntryBatch) *[]byte { return &b.StreamId }}}
	for i := range b.Entries {
		fields = append(fields,
			field{"header", func(b *ententev1.EntryBatch) *[]byte { return &b.Entries[i].Header }},
			field{"salt", func(b *ententev1.EntryBatch) *[]byte { return &b.Entries[i].Salt }},
			field{"payload", func(b *ententev1.EntryBatch) *[]byte { return &b.Entries[i].Payload }})
	}
	for i := range b.Consistency {
		fields = append(fields, field{"consistency", func(b *ententev1.EntryBatch) *[]byte { return &b.Consistency[i] }})
	}
	changed := proto.CloneOf(b)
	for _, f := range fields {
		bytes := f.get(changed)
		for i := range *bytes {
			(*bytes)[i] ^= 1 << (i % 8)
			try(f.name, changed)
			(*bytes)[i] ^= 1 << (i % 8)
		}
		whole := *bytes
		*bytes = append(whole[:len(whole):len(whole)], 0)
		try(f.name, changed)
		if len(whole) > 0 {
			*bytes = whole[:len(whole)-1]
			try(f.name, changed)
		}
		*bytes = whole
	}
}

// withoutCommitments is a reader that forgets to hold payloads against their commitments.
func withoutCommitments(edge Edge, head Checkpoint, b *ententev1.EntryBatch) error {
	for _, entry := range b.GetEntries() {
		_, err := ParseHeader(entry.GetHeader())
		if err != nil {
			return err
		}
		edge.Append(LeafHash(entry.GetHeader()))
	}
	return VerifyConsistency(edge.Size(), head.Size, edge.Root(), head.Root, b.GetConsistency())
}

func TestReaderNoticesEveryAlteredByte(t *testing.T) {
	o := newOwner(t, 1).open().release("one").release("two").withdraw(2).release("three")
	r := o.ready(1)
	before := *r
	tried, missed := 0, map[string]int{}
	tampered(o.batch(1, 4, 5), func(where string, b *ententev1.EntryBatch) {
		tried++
		_, err := r.Entries(b, func(ID, uint64) bool { return true })
		if err == nil {
			t.Errorf("accepted with an altered %s", where)
			*r = before
		}
		if withoutCommitments(o.edge(1), o.head(5, 5), b) == nil {
			missed[where]++
		}
	})
	if tried < 300 {
		t.Errorf("only %d batches were tried", tried)
	}
	// The control: the same loop catches a reader that forgets one check, and sees where.
	if missed["payload"] == 0 || missed["salt"] == 0 || missed["header"] != 0 || missed["consistency"] != 0 {
		t.Errorf("a reader without commitments misses %v", missed)
	}
	_, err := r.Entries(o.batch(1, 4, 5), nil)
	if err != nil {
		t.Errorf("the unaltered batch is refused: %v", err)
	}
}

// Any history, cut into any batches under any checkpoints, with new starts in between, ends where the owner is.
func TestReaderEndsWhereTheOwnerIs(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 0))
		o := newOwner(t, byte(seed)).open()
		r := NewReader("XA", o.id, "XC", Edge{})
		withdrawn := map[uint64]bool{}
		var got []Verified
		for range 30 {
			grow(o, random, withdrawn)
			held := uint64(len(got))
			mustCheckpoint(t, r, o.update(held, o.size()), o.key)
			to := held + random.Uint64N(o.size()-held+1)
			if to == held {
				continue
			}
			b := o.batch(held, to, o.size())
			for i := range b.Entries {
				if withdrawn[held+uint64(i)+1] && random.IntN(2) == 0 {
					erase(b, i)
				}
			}
			verified, err := r.Entries(b, func(id ID, sequence uint64) bool { return id == o.id && withdrawn[sequence] })
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			got = append(got, verified...)
			if random.IntN(3) == 0 {
				r = restart(t, r, o.id)
			}
		}
		edge := r.Edge()
		if edge != o.edge(uint64(len(got))) {
			t.Fatalf("seed %d: the edge is not the owner's", seed)
		}
		for i, v := range got {
			if !bytes.Equal(v.HeaderBytes, o.entries[i].GetHeader()) || v.Payload != nil && !bytes.Equal(v.Payload, o.entries[i].GetPayload()) {
				t.Fatalf("seed %d: entry %d is not the owner's", seed, i+1)
			}
		}
	}
}

func grow(o *owner, random *rand.Rand, withdrawn map[uint64]bool) {
	for range random.IntN(6) {
		if target := 2 + random.Uint64N(o.size()); random.IntN(4) == 0 && target <= o.size() && !withdrawn[target] && len(o.entries[target-1].GetPayload()) > 0 {
			withdrawn[target] = true
			o.withdraw(target)
			continue
		}
		o.release(strings.Repeat("x", 1+random.IntN(40)))
	}
}

func restart(t *testing.T, r *Reader, id ID) *Reader {
	t.Helper()
	edge := r.Edge()
	b, err := edge.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var back Edge
	err = back.UnmarshalBinary(b)
	if err != nil {
		t.Fatal(err)
	}
	next := NewReader("XA", id, "XC", back)
	newest, signed, _ := r.Newest()
	err = next.Resume(r.Closed(), newest, signed)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestErrorsHoldNoContent(t *testing.T) {
	const secret = "Imaginary Name 1970"
	writes := []func(o *owner){
		func(o *owner) { o.addPayload(typeRelease, []byte(secret)) },
		func(o *owner) { o.addPayload(typeRelease, append([]byte{0x1a, byte(len(secret))}, secret...)) },
		func(o *owner) { o.release(secret).entries[1].Payload[5] ^= 1 },
		func(o *owner) { o.release(secret).entries[1].Header[34] = 1 },
	}
	for _, write := range writes {
		o := newOwner(t, 1).open()
		write(o)
		_, err := o.ready(0).Entries(o.batch(0, 2, 2), nil)
		if err == nil || strings.Contains(err.Error(), "Imaginary") {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzEntries(f *testing.F) {
	o := newOwner(f, 1).open().release("one").release("two").withdraw(2).release("three")
	for from := range uint64(3) {
		f.Add(byte(from), marshal(f, o.batch(from, 4, 5)))
		f.Add(byte(from), marshal(f, o.batch(from, 5, 5)))
	}
	f.Add(byte(0), marshal(f, erase(o.batch(0, 5, 5), 1)))
	f.Fuzz(func(t *testing.T, held byte, encoded []byte) {
		b := &ententev1.EntryBatch{}
		err := proto.Unmarshal(encoded, b)
		if err != nil {
			return
		}
		o := &owner{t: t, key: o.key, member: o.member, id: o.id, entries: o.entries, leaves: o.leaves}
		r := o.ready(uint64(held) % 6)
		before := *r
		verified, err := r.Entries(b, func(_ ID, sequence uint64) bool { return sequence == 2 })
		if err != nil {
			if !sameReader(*r, before) {
				t.Error("the reader has changed")
			}
			return
		}
		for _, v := range verified {
			entry := o.entries[v.Header.Sequence-1]
			erased := v.Header.Sequence == 2 && v.Payload == nil
			if !bytes.Equal(v.HeaderBytes, entry.GetHeader()) || !erased && !bytes.Equal(v.Payload, entry.GetPayload()) {
				t.Errorf("accepted an entry %d that the owner never wrote", v.Header.Sequence)
			}
		}
		edge := r.Edge()
		if edge != o.edge(edge.Size()) || edge.Size() != before.edge.Size()+uint64(len(verified)) {
			t.Error("the edge is not the owner's")
		}
	})
}

// FuzzParsePayload feeds both parsers what stands behind a commitment that holds.
func FuzzParsePayload(f *testing.F) {
	o := newOwner(f, 1).open().release("one")
	f.Add(o.entries[0].GetPayload())
	f.Add(o.entries[1].GetPayload())
	f.Add([]byte{0x9b, 0x06, 0x9c, 0x06}) // a group of a newer version
	f.Fuzz(func(t *testing.T, payload []byte) {
		release, err := parseRelease(payload)
		if err == nil {
			decoded := &ententev1.StreamPayload{}
			if proto.Unmarshal(payload, decoded) == nil && !bytes.Equal(decoded.GetReleasedRecord(), release.record) {
				t.Error("the record is not the one that protobuf decodes")
			}
		}
		opening, err := parseOpening(payload, "XA", o.id, "XB", false)
		if err == nil && (opening.opening.GetOwner() != "XA" || !strings.Contains(strings.Join(opening.opening.GetReaders(), " "), "XB")) {
			t.Error("an opening for somebody else was taken")
		}
	})
}

func BenchmarkEntries(b *testing.B) {
	const count = 1000
	o := newOwner(b, 1).open()
	for range count {
		o.release(strings.Repeat("x", 1024))
	}
	r := o.ready(1)
	before, next := *r, o.batch(1, count+1, count+1)
	b.SetBytes(count * 1024)
	b.ReportAllocs()
	for b.Loop() {
		*r = before
		_, err := r.Entries(next, nil)
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckpointSign(b *testing.B) {
	c, key := Checkpoint{Owner: member.ID("XA"), Stream: ID{1}, Size: 7, Time: time.Unix(1_767_225_600, 0)}, testKey(1)
	for b.Loop() {
		_, err := c.Sign(key)
		if err != nil {
			b.Fatal(err)
		}
	}
}
