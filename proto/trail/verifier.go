package trail

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// Verifier verifies one reading of a trail: Continues for each earlier reading, Take for each part in order, and Finish. It
// belongs to one goroutine. It needs 48 bytes of memory an interval (25 MB for a year of minutes), and none for entries.
type Verifier struct {
	owner member.ID
	keys  func(member.ID) []ed25519.PublicKey

	entries, intervals track
	marks              []mark
	heads              *ententev1.TrailHeads
	begun              bool
	failed             error
}

// mark is what is known of one interval: a head that comes last of all may be of any.
type mark struct {
	root stream.Hash // over the intervals up to this one
	size uint64      // entries
	end  int64       // seconds since 1970
}

// track is one of the two trees, as it is rebuilt, with the heads of it that are known from elsewhere.
type track struct {
	edge     stream.Edge
	expected []stream.TreeHead
	agreed   uint64 // the largest size at which a known head agreed
}

// Report is what a sound trail says, and how far it is more than the word of the node alone.
type Report struct {
	Owner member.ID
	// Entries and Intervals are how many there are, Ended is when the last interval was closed, by the node's clock, in
	// whole seconds as all times here.
	Entries, Intervals uint64
	Ended              time.Time
	// Witness is the member that countersigned the first WitnessedIntervals intervals at WitnessedAt, by its own clock. They
	// hold WitnessedEntries entries and were closed until WitnessedEnd, by the node's clock. Empty and 0 where nobody did.
	Witness            member.ID
	WitnessedIntervals uint64
	WitnessedEntries   uint64
	WitnessedEnd       time.Time
	WitnessedAt        time.Time
	// Unwitnessed is the number of entries after those: only the node vouches for them.
	Unwitnessed uint64
	// Heads are the heads of the trail, to be kept for Continues.
	Heads *ententev1.TrailHeads
}

// NewVerifier makes a verifier of a member's trail. Keys gives the signing keys that count for a member.
func NewVerifier(owner member.ID, keys func(member.ID) []ed25519.PublicKey) *Verifier {
	return &Verifier{owner: owner, keys: keys}
}

// Continues demands that the trail continues the one of these heads, which were verified when the caller got them: at an
// earlier verification, or from the witness itself. It is called before the first Take. No proof is needed: the roots of
// then are met again on the way. Heads that are empty demand nothing. The signatures are not looked at again, for the keys
// may have changed since.
func (v *Verifier) Continues(earlier *ententev1.TrailHeads) error {
	if v.begun {
		return errors.New("compare with an earlier audit trail: the reading has begun")
	}
	witnessed := earlier.GetWitnessed()
	if len(witnessed) > 0 {
		signed, _, err := stream.SplitCosigned(witnessed)
		if err != nil {
			return fmt.Errorf("compare with an earlier audit trail: %w", err)
		}
		witnessed = signed
	}
	for _, known := range []struct {
		note []byte
		tree string
		into *track
	}{
		{earlier.GetCheckpoint(), TreeIntervals, &v.intervals},
		{witnessed, TreeIntervals, &v.intervals},
		{earlier.GetNewest(), TreeEntries, &v.entries},
	} {
		if len(known.note) == 0 {
			continue
		}
		head, err := stream.ReadTreeHead(known.note, v.owner, known.tree)
		if err != nil {
			return fmt.Errorf("compare with an earlier audit trail: %w", err)
		}
		known.into.expected = append(known.into.expected, head)
	}
	return nil
}

// Take verifies the next part. The error is a *Fault, the first one, and stays.
func (v *Verifier) Take(part *ententev1.ReadTrailResponse) error {
	if v.failed == nil {
		v.begun = true
		v.failed = v.take(part)
	}
	return v.failed
}

func (v *Verifier) take(part *ententev1.ReadTrailResponse) error {
	if v.heads != nil {
		return &Fault{Rule: RuleParts, Err: errors.New("something follows the heads")}
	}
	switch content := part.GetContent().(type) {
	case *ententev1.ReadTrailResponse_Entries:
		for _, encoded := range content.Entries.GetEntries() {
			err := v.takeEntry(encoded)
			if err != nil {
				return err
			}
		}
		return nil
	case *ententev1.ReadTrailResponse_Interval:
		return v.takeInterval(content.Interval)
	case *ententev1.ReadTrailResponse_Heads:
		v.heads = content.Heads
		return nil
	default:
		return &Fault{Rule: RuleParts, Err: errors.New("a part of no known kind")}
	}
}

func (v *Verifier) takeEntry(encoded []byte) error {
	number := v.entries.edge.Size() + 1
	fault := Fault{Entry: number, Interval: v.intervals.edge.Size() + 1}
	if len(encoded) > MaxEntry {
		fault.Rule, fault.Err = RuleEntry, fmt.Errorf("%d bytes, at most %d are allowed", len(encoded), MaxEntry)
		return &fault
	}
	entry := &ententev1.AuditEntry{}
	err := proto.Unmarshal(encoded, entry)
	if err != nil {
		fault.Rule, fault.Err = RuleEntry, err
		return &fault
	}
	if entry.GetNumber() != number {
		fault.Rule, fault.Err = RuleEntryNumber, fmt.Errorf("entry %d stands here", entry.GetNumber())
		return &fault
	}
	if entry.GetAt().CheckValid() != nil {
		fault.Rule, fault.Err = RuleEntry, errors.New("it has no time")
		return &fault
	}
	v.entries.edge.Append(stream.LeafHash(encoded))
	wrong := v.entries.compare()
	if wrong != nil {
		return &Fault{Rule: RuleEarlier, Entry: wrong.first, LastEntry: wrong.last}
	}
	return nil
}

func (v *Verifier) takeInterval(m *ententev1.TrailInterval) error {
	number := v.intervals.edge.Size() + 1
	one, err := ParseInterval(m)
	if err != nil {
		return &Fault{Rule: RuleInterval, Interval: number, Err: err}
	}
	if one.Number != number {
		return &Fault{Rule: RuleIntervalOrder, Interval: number, Err: fmt.Errorf("interval %d stands here", one.Number)}
	}
	taken, before := v.entries.edge.Size(), v.closedAt()
	if one.Size != taken {
		return &Fault{Rule: RuleIntervalSize, Entry: min(one.Size, taken) + 1, Interval: number,
			Err: fmt.Errorf("it was closed at %d entries, and %d are before it", one.Size, taken)}
	}
	if one.Root != v.entries.edge.Root() && taken > before {
		return &Fault{Rule: RuleIntervalRoot, Entry: before + 1, LastEntry: taken, Interval: number}
	}
	if one.Root != v.entries.edge.Root() { // no entry is new: the interval itself was edited
		return &Fault{Rule: RuleIntervalRoot, Interval: number}
	}
	v.intervals.edge.Append(one.LeafHash())
	v.marks = append(v.marks, mark{root: v.intervals.edge.Root(), size: taken, end: one.End.Unix()})
	wrong := v.intervals.compare()
	if wrong != nil {
		return &Fault{Rule: RuleEarlier, Interval: wrong.first, LastInterval: wrong.last}
	}
	return nil
}

// closedAt is how many entries the newest interval covers.
func (v *Verifier) closedAt() uint64 {
	if len(v.marks) == 0 {
		return 0
	}
	return v.marks[len(v.marks)-1].size
}

// stretch is where two trees part: after the last size at which they agreed, up to the first at which they do not.
type stretch struct{ first, last uint64 }

// compare holds the tree against the known heads of the size that it has just reached.
func (t *track) compare() *stretch {
	for i := range t.expected {
		if t.expected[i].Size != t.edge.Size() {
			continue
		}
		if t.expected[i].Root != t.edge.Root() {
			return &stretch{first: t.agreed + 1, last: t.edge.Size()}
		}
		t.agreed = t.edge.Size()
	}
	return nil
}

// beyond is the size of a known head that the tree has not reached; 0 where there is none.
func (t *track) beyond() uint64 {
	for i := range t.expected {
		if t.expected[i].Size > t.edge.Size() {
			return t.expected[i].Size
		}
	}
	return 0
}

// Finish says what the trail is, after its last part. The error is a *Fault.
func (v *Verifier) Finish() (Report, error) {
	if v.failed == nil {
		v.failed = v.finish()
	}
	if v.failed != nil {
		return Report{}, v.failed
	}
	r := Report{Owner: v.owner, Entries: v.entries.edge.Size(), Intervals: v.intervals.edge.Size(), Unwitnessed: v.entries.edge.Size(), Heads: v.heads}
	if len(v.marks) > 0 {
		r.Ended = v.marks[len(v.marks)-1].time()
	}
	v.failed = v.witnessed(&r)
	if v.failed != nil {
		return Report{}, v.failed
	}
	return r, nil
}

func (v *Verifier) finish() error {
	if v.heads == nil {
		return &Fault{Rule: RuleParts, Err: errors.New("the heads are missing")}
	}
	size := v.intervals.beyond()
	if size > 0 {
		return &Fault{Rule: RuleShorter, Interval: v.intervals.edge.Size() + 1, LastInterval: size}
	}
	size = v.entries.beyond()
	if size > 0 {
		return &Fault{Rule: RuleShorter, Entry: v.entries.edge.Size() + 1, LastEntry: size}
	}
	err := v.checkHead(v.heads.GetCheckpoint(), TreeIntervals, &v.intervals.edge, RuleIntervalHead)
	if err != nil {
		return err
	}
	return v.checkHead(v.heads.GetNewest(), TreeEntries, &v.entries.edge, RuleEntryHead)
}

// checkHead holds a tree against the node's own head of it, which is of all of it.
func (v *Verifier) checkHead(signed []byte, tree string, edge *stream.Edge, rule Rule) error {
	head, err := stream.OpenTreeHead(signed, v.owner, tree, v.keys(v.owner))
	if err != nil {
		return &Fault{Rule: RuleHead, Err: err}
	}
	if head.Size > edge.Size() {
		return &Fault{Rule: RuleShorter, Err: fmt.Errorf("%d of %s are there, and the node signed %d", edge.Size(), tree, head.Size)}
	}
	if head.Size != edge.Size() || head.Root != edge.Root() {
		return &Fault{Rule: rule, Err: fmt.Errorf("the node signed another %s at %d", tree, head.Size)}
	}
	return nil
}

// witnessed holds the intervals against the head that a witness has signed, and says in the report what that covers. The
// node's own signature of that head is not looked at: its key may have changed, and it does not make the head any truer.
func (v *Verifier) witnessed(r *Report) error {
	if len(v.heads.GetWitnessed()) == 0 {
		return nil
	}
	witness := member.ID(v.heads.GetWitness())
	if witness == v.owner {
		return &Fault{Rule: RuleWitness, Err: errors.New("it is the owner's own")}
	}
	signed, line, err := stream.SplitCosigned(v.heads.GetWitnessed())
	if err != nil {
		return &Fault{Rule: RuleWitness, Err: err}
	}
	at, err := stream.OpenCosignature(signed, line, witness, v.keys(witness))
	if err != nil {
		return &Fault{Rule: RuleWitness, Err: err}
	}
	head, err := stream.ReadTreeHead(signed, v.owner, TreeIntervals)
	if err != nil {
		return &Fault{Rule: RuleWitness, Err: err}
	}
	if head.Size > uint64(len(v.marks)) {
		return &Fault{Rule: RuleShorter, Interval: uint64(len(v.marks)) + 1, LastInterval: head.Size}
	}
	r.Witness, r.WitnessedAt = witness, at
	if head.Size == 0 {
		return nil
	}
	mark := v.marks[head.Size-1]
	if mark.root != head.Root {
		return &Fault{Rule: RuleWitnessed, Interval: v.agreedBefore(head.Size) + 1, LastInterval: head.Size}
	}
	r.WitnessedIntervals, r.WitnessedEntries, r.WitnessedEnd = head.Size, mark.size, mark.time()
	r.Unwitnessed = r.Entries - mark.size
	return nil
}

// agreedBefore is the largest size below another at which an earlier head has agreed.
func (v *Verifier) agreedBefore(size uint64) uint64 {
	var agreed uint64
	for i := range v.intervals.expected {
		if v.intervals.expected[i].Size < size {
			agreed = max(agreed, v.intervals.expected[i].Size)
		}
	}
	return agreed
}

func (m mark) time() time.Time { return time.Unix(m.end, 0).UTC() }
