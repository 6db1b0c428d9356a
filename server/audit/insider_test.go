package audit_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
)

// told is a trail as it is told to an auditor, in the hands of an insider: entries and intervals in their places.
type told struct {
	items []item
	heads *ententev1.TrailHeads
}

// item is an entry or an interval.
type item struct {
	entry    []byte
	interval *ententev1.TrailInterval
}

func tell(parts []*ententev1.ReadTrailResponse) told {
	var t told
	for _, part := range parts {
		for _, entry := range part.GetEntries().GetEntries() {
			t.items = append(t.items, item{entry: entry})
		}
		if part.GetInterval() != nil {
			t.items = append(t.items, item{interval: part.GetInterval()})
		}
		if part.GetHeads() != nil {
			t.heads = part.GetHeads()
		}
	}
	return t
}

func (t told) parts() []*ententev1.ReadTrailResponse {
	var parts []*ententev1.ReadTrailResponse
	for _, one := range t.items {
		if one.interval != nil {
			parts = append(parts, &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Interval{Interval: one.interval}})
			continue
		}
		parts = append(parts, &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Entries{Entries: &ententev1.TrailEntries{Entries: [][]byte{one.entry}}}})
	}
	return append(parts, &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Heads{Heads: t.heads}})
}

func (t told) clone() told {
	c := told{heads: proto.CloneOf(t.heads)}
	for _, one := range t.items {
		c.items = append(c.items, item{entry: bytes.Clone(one.entry), interval: proto.CloneOf(one.interval)})
	}
	return c
}

// insider has the data file and the node's signing key, and not the witness's.
type insider struct {
	*world
	random *rand.Rand
}

func (in insider) change(entry []byte, how func(e *ententev1.AuditEntry)) []byte {
	e := &ententev1.AuditEntry{}
	in.must(proto.Unmarshal(entry, e))
	how(e)
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	in.must(err)
	return encoded
}

// rewrite makes a trail consistent in itself again: numbers, roots, and the node's own heads, signed with its own key.
func (in insider) rewrite(t *told) {
	var entries, intervals stream.Edge
	for i := range t.items {
		if t.items[i].interval == nil {
			t.items[i].entry = in.change(t.items[i].entry, func(e *ententev1.AuditEntry) { e.Number = entries.Size() + 1 })
			entries.Append(stream.LeafHash(t.items[i].entry))
			continue
		}
		one, err := trail.ParseInterval(t.items[i].interval)
		in.must(err)
		one.Number, one.Size, one.Root = intervals.Size()+1, entries.Size(), entries.Root()
		t.items[i].interval = one.Message()
		intervals.Append(one.LeafHash())
	}
	t.heads.Checkpoint = in.sign(trail.TreeIntervals, &intervals)
	t.heads.Newest = in.sign(trail.TreeEntries, &entries)
}

func (in insider) sign(tree string, edge *stream.Edge) []byte {
	head := stream.TreeHead{Owner: "XA", Tree: tree, Size: edge.Size(), Root: edge.Root(), Time: in.now}
	note, err := head.Sign(in.keys["XA"][0])
	in.must(err)
	return note
}

// edit changes something in items [from, to) and says what.
func (in insider) edit(t *told, from, to int) string {
	at := func(interval bool) int { // an item of that kind
		for {
			i := from + in.random.IntN(to-from)
			if (t.items[i].interval != nil) == interval {
				return i
			}
		}
	}
	switch in.random.IntN(10) {
	case 0:
		i := at(false)
		t.items[i].entry = in.change(t.items[i].entry, func(e *ententev1.AuditEntry) { e.Actor.Name = "somebody else" })
		return "another officer"
	case 1:
		i := at(false)
		t.items[i].entry = in.change(t.items[i].entry, func(e *ententev1.AuditEntry) { e.Records = nil })
		return "records left out"
	case 2:
		i := at(false)
		t.items[i].entry = in.change(t.items[i].entry, func(e *ententev1.AuditEntry) { e.At.Seconds -= 3600 })
		return "another time"
	case 3:
		i := from + in.random.IntN(to-from)
		t.items = slices.Delete(t.items, i, i+1)
		return "a deletion"
	case 4:
		t.items = t.items[:from+in.random.IntN(to-from)]
		return "a cut"
	case 5:
		i := at(false)
		entry := in.change(t.items[i].entry, func(e *ententev1.AuditEntry) { e.Note = "never happened" })
		t.items = slices.Insert(t.items, from+in.random.IntN(to-from), item{entry: entry})
		return "an insertion"
	case 6:
		i := at(true)
		one := proto.CloneOf(t.items[i].interval)
		one.Salt[0] ^= 1
		t.items = slices.Insert(t.items, i, item{interval: one})
		return "another interval"
	case 7:
		i, k := at(false), at(false)
		for i == k {
			k = at(false)
		}
		t.items[i], t.items[k] = t.items[k], t.items[i]
		return "a swap"
	case 8:
		i := at(true)
		t.items[i].interval.EndedAt.Seconds += 60
		return "another end of an interval"
	default:
		i := at(true)
		t.items[i].interval.Salt[in.random.IntN(trail.SaltSize)] ^= 4
		return "another salt"
	}
}

// forgeWitness puts something else in the place of the countersigned head: what the insider can make, or an older one.
func (in insider) forgeWitness(t *told, older *ententev1.TrailHeads) string {
	cosigned := func(name, claimed member.ID) {
		line, err := stream.Cosign(t.heads.GetCheckpoint(), name, in.keys["XA"][0], in.now)
		in.must(err)
		t.heads.Witnessed, t.heads.Witness = slices.Concat(t.heads.GetCheckpoint(), line), string(claimed)
	}
	switch in.random.IntN(4) {
	case 0:
		cosigned("XB", "XB")
		return "countersigned in the witness's name"
	case 1:
		cosigned("XA", "XA")
		return "countersigned by itself"
	case 2:
		t.heads.Witnessed, t.heads.Witness = nil, ""
		return "the countersigned head left out"
	default:
		t.heads.Witnessed, t.heads.Witness = older.GetWitnessed(), older.GetWitness()
		return "an older countersigned head"
	}
}

// wholeTrail makes a trail of 40 intervals, every third of them empty; 36 are countersigned. It gives the items before
// which all is countersigned, an older reading of 10 intervals, and what the witness itself remembers.
func wholeTrail(w *world) (whole told, limit int, older, fromWitness *ententev1.TrailHeads) {
	n, by := w.node("XA"), w.node("XB")
	for i := range 40 {
		if i%3 != 0 {
			n.record(5 + i%7)
		}
		n.closeNext()
		if i == 9 || i == 35 {
			w.must(n.askWitness(by))
		}
		if i == 9 {
			older = tell(n.parts()).heads
		}
	}
	n.record(6)
	whole = tell(n.parts())
	for limit = range whole.items {
		if whole.items[limit].interval.GetNumber() == 36 {
			break
		}
	}
	note, err := by.log.Countersigned("XA")
	w.must(err)
	return whole, limit + 1, older, &ententev1.TrailHeads{Witnessed: note, Witness: "XB"}
}

func TestAThousandEditsOfWhatIsCountersignedAreFound(t *testing.T) {
	w := newWorld(t)
	whole, limit, older, fromWitness := wholeTrail(w)
	r, err := w.verify("XA", whole.parts(), older, fromWitness)
	w.must(err)
	if r.WitnessedIntervals != 36 || r.WitnessedEntries < 150 || r.Unwitnessed == 0 {
		t.Fatalf("the trail is not what this test is about: %+v", r)
	}
	in := insider{world: w, random: rand.New(rand.NewPCG(7, 7))}
	made := map[string]int{}
	for range 1000 {
		bad := whole.clone()
		what := in.edit(&bad, 0, limit)
		consistent := in.random.IntN(4) > 0
		forged := ""
		if consistent {
			in.rewrite(&bad)
			in.controlIsDeceived(t, what, bad)
			if in.random.IntN(2) == 0 {
				forged = in.forgeWitness(&bad, older)
			}
		}
		made[fmt.Sprint(what, ", ", consistent, ", ", forged)]++
		// What the trail shows is enough but where it leaves the countersigned head out or shows an older one: then the
		// report says how little is countersigned, and the witness says more.
		r, err := w.verify("XA", bad.parts())
		hidden := forged == "the countersigned head left out" || forged == "an older countersigned head"
		if err == nil && (!hidden || r.WitnessedIntervals > 10) {
			t.Errorf("%s, consistent %v, %s: not found", what, consistent, forged)
		}
		_, err = w.verify("XA", bad.parts(), fromWitness)
		if err == nil {
			t.Errorf("%s, consistent %v, %s: not found by comparison with the witness", what, consistent, forged)
		}
	}
	if len(made) < 50 {
		t.Errorf("only %d kinds of edit were made: %v", len(made), made)
	}
}

// controlIsDeceived shows that the witness is what finds a rewritten trail: without it, all is in order.
func (in insider) controlIsDeceived(t *testing.T, what string, bad told) {
	alone := bad.clone()
	alone.heads.Witnessed, alone.heads.Witness = nil, ""
	r, err := in.verify("XA", alone.parts())
	if err != nil || r.Witness != "" || r.Unwitnessed != r.Entries {
		t.Errorf("%s: a consistent rewriting is found without a witness: %v", what, err)
	}
}

// What an insider can do: anything with what came after the newest countersigned interval, as long as all is consistent.
// The report says which entries those are.
func TestWhatIsNotCountersignedIsTheNodesWordAlone(t *testing.T) {
	w := newWorld(t)
	whole, limit, older, fromWitness := wholeTrail(w)
	sound, err := w.verify("XA", whole.parts())
	w.must(err)
	in := insider{world: w, random: rand.New(rand.NewPCG(8, 8))}
	for range 200 {
		bad := whole.clone()
		what := in.edit(&bad, limit, len(bad.items))
		in.rewrite(&bad)
		r, err := w.verify("XA", bad.parts(), older, fromWitness)
		if err != nil || r.WitnessedEntries != sound.WitnessedEntries || r.WitnessedIntervals != 36 || r.Unwitnessed != r.Entries-sound.WitnessedEntries {
			t.Errorf("%s: %v, %+v", what, err, r)
		}
		if !r.WitnessedAt.Equal(sound.WitnessedAt) || r.WitnessedAt.After(w.now.Add(-4*time.Minute)) {
			t.Errorf("%s: the report says it is countersigned until %s", what, r.WitnessedAt)
		}
		// An auditor who kept the node's own heads of that time sees more.
		_, err = w.verify("XA", bad.parts(), sound.Heads)
		if err == nil {
			t.Errorf("%s: not found by comparison with the heads that were kept", what)
		}
	}
}
