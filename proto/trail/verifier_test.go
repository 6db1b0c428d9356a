package trail_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
)

// sample has the intervals 1 (entries 1 to 3), 2 (none), 3 (4 and 5) and 4 (none), three of them countersigned, and the
// entries 6 and 7. Its parts: 0 entries, 1 interval, 2 interval, 3 entries, 4 interval, 5 interval, 6 entries, 7 heads.
func sample(t testing.TB) *book {
	return newBook(t).look(3).close().close().look(2).close().countersign("XB").close().look(2)
}

func TestASoundTrailIsReported(t *testing.T) {
	b := sample(t)
	r, err := verify(b.end())
	b.must(err)
	want := trail.Report{
		Owner: "XA", Entries: 7, Intervals: 4, Ended: b.start.Add(4 * time.Minute),
		Witness: "XB", WitnessedIntervals: 3, WitnessedEntries: 5, WitnessedEnd: b.start.Add(3 * time.Minute), WitnessedAt: b.start.Add(3*time.Minute + time.Second),
		Unwitnessed: 2, Heads: r.Heads,
	}
	if r != want || len(r.Heads.GetCheckpoint()) == 0 {
		t.Errorf("report %+v, want %+v", r, want)
	}
}

func TestTrailsOfFewParts(t *testing.T) {
	tests := []struct {
		name string
		b    *book
		want trail.Report
	}{
		{"an empty one", newBook(t), trail.Report{}},
		{"one that has only entries", newBook(t).look(2), trail.Report{Entries: 2, Unwitnessed: 2}},
		{"one in which nothing ever happened", newBook(t).close().close(), trail.Report{Intervals: 2}},
		{"one that nobody has countersigned", newBook(t).look(1).close(), trail.Report{Entries: 1, Intervals: 1, Unwitnessed: 1}},
		{"one that was countersigned when it was empty", newBook(t).countersign("XC").look(1), trail.Report{Entries: 1, Unwitnessed: 1, Witness: "XC"}},
		{"one of many entries in a part", newBook(t).look(1000).close().countersign("XC"), trail.Report{Entries: 1000, Intervals: 1, Witness: "XC", WitnessedIntervals: 1, WitnessedEntries: 1000}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := verify(test.b.end())
			if err != nil {
				t.Fatal(err)
			}
			got := trail.Report{Entries: r.Entries, Intervals: r.Intervals, Unwitnessed: r.Unwitnessed, Witness: r.Witness, WitnessedIntervals: r.WitnessedIntervals, WitnessedEntries: r.WitnessedEntries}
			if got != test.want {
				t.Errorf("report %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestTheFirstThingThatIsWrongIsNamed(t *testing.T) {
	type list = []*ententev1.ReadTrailResponse
	entries := func(parts list, i int) *ententev1.TrailEntries { return parts[i].GetEntries() }
	heads := func(parts list) *ententev1.TrailHeads { return parts[7].GetHeads() }
	tests := []struct {
		name   string
		change func(b *book, parts list) list
		want   trail.Fault // without Err
		says   string
	}{
		{"an entry edited", func(b *book, p list) list { entries(p, 3).Entries[0] = entry(4, b.start); return p },
			trail.Fault{Rule: trail.RuleIntervalRoot, Entry: 4, LastEntry: 5, Interval: 3}, "entries 4 to 5, interval 3"},
		{"an entry edited that is alone in the open interval", func(b *book, p list) list { entries(p, 6).Entries[1] = entry(7, b.start); return p },
			trail.Fault{Rule: trail.RuleEntryHead}, "the node signed another audit/entries at 7"},
		{"an entry removed", func(_ *book, p list) list { entries(p, 0).Entries = entries(p, 0).Entries[1:]; return p },
			trail.Fault{Rule: trail.RuleEntryNumber, Entry: 1, Interval: 1}, "entry 2 stands here"},
		{"the last entry of an interval removed", func(_ *book, p list) list { entries(p, 0).Entries = entries(p, 0).Entries[:2]; return p },
			trail.Fault{Rule: trail.RuleIntervalSize, Entry: 3, Interval: 1}, "closed at 3 entries, and 2 are before it"},
		{"an entry inserted", func(b *book, p list) list {
			entries(p, 0).Entries = slices.Insert(entries(p, 0).Entries, 1, entry(9, b.start))
			return p
		}, trail.Fault{Rule: trail.RuleEntryNumber, Entry: 2, Interval: 1}, "entry 9 stands here"},
		{"an entry inserted with the number that fits", func(b *book, p list) list {
			entries(p, 0).Entries = append(entries(p, 0).Entries, entry(4, b.start))
			return p
		}, trail.Fault{Rule: trail.RuleIntervalSize, Entry: 4, Interval: 1}, ""},
		{"two entries in another order", func(_ *book, p list) list { slices.Reverse(entries(p, 3).Entries); return p },
			trail.Fault{Rule: trail.RuleEntryNumber, Entry: 4, Interval: 3}, "entry 5 stands here"},
		{"an entry that is none", func(_ *book, p list) list { entries(p, 0).Entries[2] = []byte{0xff}; return p },
			trail.Fault{Rule: trail.RuleEntry, Entry: 3, Interval: 1}, ""},
		{"an entry that is too large", func(_ *book, p list) list { entries(p, 0).Entries[2] = make([]byte, trail.MaxEntry+1); return p },
			trail.Fault{Rule: trail.RuleEntry, Entry: 3, Interval: 1}, "1048577 bytes"},
		{"an entry without a time", func(_ *book, p list) list { entries(p, 0).Entries[0] = []byte{8, 1}; return p },
			trail.Fault{Rule: trail.RuleEntry, Entry: 1, Interval: 1}, "no time"},
		{"an interval removed", func(_ *book, p list) list { return slices.Delete(p, 2, 3) },
			trail.Fault{Rule: trail.RuleIntervalOrder, Interval: 2}, "interval 3 stands here"},
		{"an interval twice", func(_ *book, p list) list { return slices.Insert(p, 2, p[1]) },
			trail.Fault{Rule: trail.RuleIntervalOrder, Interval: 2}, ""},
		{"an interval in another place", func(_ *book, p list) list { p[2], p[3] = p[3], p[2]; return p },
			trail.Fault{Rule: trail.RuleIntervalSize, Entry: 4, Interval: 2}, ""},
		{"the root of an empty interval edited", func(_ *book, p list) list { p[2].GetInterval().Root[3] ^= 1; return p },
			trail.Fault{Rule: trail.RuleIntervalRoot, Interval: 2}, ""},
		{"the time of an interval edited", func(_ *book, p list) list { p[2].GetInterval().EndedAt.Seconds++; return p },
			trail.Fault{Rule: trail.RuleIntervalHead}, ""},
		{"an interval that does not open: another salt", func(_ *book, p list) list { p[1].GetInterval().Salt[0] ^= 1; return p },
			trail.Fault{Rule: trail.RuleIntervalHead}, ""},
		{"an interval with half a salt", func(_ *book, p list) list { p[1].GetInterval().Salt = p[1].GetInterval().Salt[:16]; return p },
			trail.Fault{Rule: trail.RuleInterval, Interval: 1}, "salt of 16 bytes"},
		{"an interval with half a root", func(_ *book, p list) list { p[1].GetInterval().Root = p[1].GetInterval().Root[:16]; return p },
			trail.Fault{Rule: trail.RuleInterval, Interval: 1}, "root of 16 bytes"},
		{"an interval without an end", func(_ *book, p list) list { p[1].GetInterval().EndedAt = nil; return p },
			trail.Fault{Rule: trail.RuleInterval, Interval: 1}, "no time"},
		{"the end cut off", func(_ *book, p list) list { return append(p[:5], p[7]) },
			trail.Fault{Rule: trail.RuleShorter}, "3 of audit are there, and the node signed 4"},
		{"the end cut off and signed, but not what the witness signed", func(b *book, p list) list {
			short := newBook(b.t).look(3).close().close()
			short.heads.Witnessed, short.heads.Witness = b.heads.GetWitnessed(), "XB"
			return short.end()
		}, trail.Fault{Rule: trail.RuleShorter, Interval: 3, LastInterval: 3}, "interval 3"},
		{"all written anew with the key of the node", func(b *book, _ list) list {
			other := newBook(b.t).look(2).close().close().look(3).close().close().look(2)
			other.heads.Witnessed, other.heads.Witness = b.heads.GetWitnessed(), "XB"
			return other.end()
		}, trail.Fault{Rule: trail.RuleWitnessed, Interval: 1, LastInterval: 3}, "intervals 1 to 3"},
		{"the heads missing", func(_ *book, p list) list { return p[:7] },
			trail.Fault{Rule: trail.RuleParts}, "the heads are missing"},
		{"something behind the heads", func(_ *book, p list) list { return append(p, p[6]) },
			trail.Fault{Rule: trail.RuleParts}, "follows the heads"},
		{"a part of no kind", func(_ *book, p list) list { return slices.Insert(p, 3, &ententev1.ReadTrailResponse{}) },
			trail.Fault{Rule: trail.RuleParts}, ""},
		{"the head of the intervals not signed", func(_ *book, p list) list { heads(p).Checkpoint = nil; return p },
			trail.Fault{Rule: trail.RuleHead}, "not a checkpoint"},
		{"the head of the entries not signed", func(_ *book, p list) list { heads(p).Newest = nil; return p },
			trail.Fault{Rule: trail.RuleHead}, "not a checkpoint"},
		{"a head signed by another member", func(b *book, p list) list {
			heads(p).Newest = b.sign("XB", trail.TreeEntries, &b.entries)
			return p
		}, trail.Fault{Rule: trail.RuleHead}, ""},
		{"one head for the other", func(_ *book, p list) list { heads(p).Newest = heads(p).Checkpoint; return p },
			trail.Fault{Rule: trail.RuleHead}, "origin"},
		{"countersigned by a stranger", func(_ *book, p list) list { heads(p).Witness = "XD"; return p },
			trail.Fault{Rule: trail.RuleWitness}, ""},
		{"countersigned by another than it says", func(_ *book, p list) list { heads(p).Witness = "XC"; return p },
			trail.Fault{Rule: trail.RuleWitness}, ""},
		{"countersigned by the node itself", func(b *book, p list) list { return b.countersign("XA").end() },
			trail.Fault{Rule: trail.RuleWitness}, "owner's own"},
		{"a countersignature that is cut off", func(_ *book, p list) list {
			heads(p).Witnessed = heads(p).Witnessed[:len(heads(p).Witnessed)-9]
			return p
		}, trail.Fault{Rule: trail.RuleWitness}, ""},
		{"a countersigned head that was edited", func(_ *book, p list) list {
			heads(p).Witnessed = bytes.Replace(heads(p).Witnessed, []byte("\n3\n"), []byte("\n2\n"), 1)
			return p
		}, trail.Fault{Rule: trail.RuleWitness}, "wrong signature"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := sample(t)
			_, err := verify(test.change(b, b.end()))
			var got *trail.Fault
			if !errors.As(err, &got) {
				t.Fatalf("error %v, want a fault", err)
			}
			bare := *got
			bare.Err = nil
			if bare != test.want || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %q (%+v), want %+v with %q", err, bare, test.want, test.says)
			}
		})
	}
}

func TestTheFirstFaultStays(t *testing.T) {
	v := trail.NewVerifier("XA", keysOf)
	first := v.Take(entriesPart([]byte{0xff}))
	b := sample(t)
	for _, part := range b.end() {
		err := v.Take(part)
		if err == nil || !errors.Is(err, first) {
			t.Fatalf("error %v, want the first one", err)
		}
	}
	_, err := v.Finish()
	if !errors.Is(err, first) {
		t.Errorf("error %v, want the first one", err)
	}
}

func TestALaterReadingContinuesTheEarlierOnes(t *testing.T) {
	b := newBook(t).look(3).close().look(1)
	first, err := verify(b.end())
	b.must(err)
	b.close().countersign("XB").look(2)
	second, err := verify(b.end(), first.Heads)
	b.must(err)
	b.close().close().countersign("XC").look(1)
	_, err = verify(b.end(), first.Heads, second.Heads, &ententev1.TrailHeads{})
	b.must(err)

	// rewritten says what an insider wrote anew, consistently: all from some place on.
	tests := []struct {
		name      string
		rewritten *book
		want      trail.Fault
	}{
		{"from the beginning", newBook(t).look(2).close().look(2).close().look(2).close(),
			trail.Fault{Rule: trail.RuleEarlier, Interval: 1, LastInterval: 1}},
		{"after the first reading", newBook(t).look(3).close().look(1).look(1).close().look(2).close(),
			trail.Fault{Rule: trail.RuleEarlier, Interval: 2, LastInterval: 2}},
		{"in what was open at the first reading", rewriteEntry4(newBook(t).look(3).close()),
			trail.Fault{Rule: trail.RuleEarlier, Entry: 1, LastEntry: 4}},
		{"after what was countersigned", newBook(t).look(3).close().look(1).close().look(1).close(),
			trail.Fault{Rule: trail.RuleShorter, Entry: 6, LastEntry: 6}},
		{"with less than there was", newBook(t).look(3).close().look(1),
			trail.Fault{Rule: trail.RuleShorter, Interval: 2, LastInterval: 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := verify(test.rewritten.end())
			if err != nil {
				t.Fatalf("it is not consistent, so this shows nothing: %v", err)
			}
			_, err = verify(test.rewritten.end(), first.Heads, second.Heads)
			var got *trail.Fault
			if !errors.As(err, &got) || *got != test.want {
				t.Errorf("error %v, want %v", err, &test.want)
			}
		})
	}
}

func rewriteEntry4(b *book) *book {
	other := entry(4, b.start.Add(time.Hour))
	b.entries.Append(stream.LeafHash(other))
	b.parts = append(b.parts, entriesPart(other))
	return b.close().look(2).close()
}

func TestContinuesRefusesWhatIsNoHeadOfThisTrail(t *testing.T) {
	b := sample(t)
	other := b.sign("XB", trail.TreeIntervals, &b.intervals)
	for name, heads := range map[string]*ententev1.TrailHeads{
		"of another member":        {Checkpoint: other},
		"of the other tree":        {Newest: b.sign("XA", trail.TreeIntervals, &b.intervals)},
		"that is none":             {Checkpoint: []byte("head")},
		"countersigned on no line": {Witnessed: []byte("head")},
	} {
		err := trail.NewVerifier("XA", keysOf).Continues(heads)
		if err == nil {
			t.Errorf("a head %s was taken", name)
		}
	}
	v := trail.NewVerifier("XA", keysOf)
	b.must(v.Take(b.end()[0]))
	err := v.Continues(&ententev1.TrailHeads{})
	if err == nil {
		t.Error("heads were taken in the middle of a reading")
	}
}

// The bytes of docs/protocol.md.
func TestTheLeafOfAnIntervalHasItsBytes(t *testing.T) {
	one := trail.Interval{Number: 258, End: time.Unix(1_767_225_600, 5).UTC(), Size: 3, Root: stream.Hash{31: 1}, Salt: [32]byte{2}}
	leaf := one.Leaf()
	const want = "1d6e61cbcf641924307970f4ea98cc93c213abc6368bb4e35880047f45ffc8cb" // SHA-256 of "entente/v1/audit-interval" 00, 0000000000000102, 000000006955b900, 00000005, 0000000000000003, 31 x 00 01, 02 31 x 00
	if hex.EncodeToString(leaf[:]) != want {
		t.Errorf("leaf %x, want %s", leaf, want)
	}
	parsed, err := trail.ParseInterval(one.Message())
	if err != nil || parsed != one {
		t.Errorf("parsed %+v, %v", parsed, err)
	}
}

// Nothing that arrives makes the verifier panic, and nothing that was changed passes as the sound trail.
func FuzzVerifier(f *testing.F) {
	for _, b := range []*book{sample(f), newBook(f), newBook(f).look(2).close().countersign("XC")} {
		var all []byte
		for _, part := range b.end() {
			encoded, err := proto.Marshal(part)
			b.must(err)
			all = append(append(all, byte(len(encoded)>>8), byte(len(encoded))), encoded...)
		}
		f.Add(all)
	}
	sound, err := verify(sample(f).end())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v := trail.NewVerifier("XA", keysOf)
		err := v.Continues(sound.Heads)
		if err != nil {
			t.Fatal(err)
		}
		for len(data) > 2 {
			size := min(int(data[0])<<8|int(data[1]), len(data)-2)
			part := &ententev1.ReadTrailResponse{}
			if proto.Unmarshal(data[2:2+size], part) == nil {
				_ = v.Take(part)
				_ = trail.NewVerifier("XA", keysOf).Continues(part.GetHeads())
			}
			data = data[2+size:]
		}
		r, err := v.Finish()
		if err == nil && (r.Entries != sound.Entries || r.Intervals != sound.Intervals) {
			t.Errorf("accepted %+v", r)
		}
	})
}
