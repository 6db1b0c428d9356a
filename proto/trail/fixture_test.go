package trail_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
)

func keyFrom(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}

// keysOf are the keys of XA, whose trail it is, and of its witnesses XB and XC.
func keysOf(id member.ID) []ed25519.PublicKey {
	if id != "XA" && id != "XB" && id != "XC" {
		return nil
	}
	return []ed25519.PublicKey{keyFrom("signing " + string(id)).Public().(ed25519.PublicKey)}
}

// book writes a trail of XA, part by part.
type book struct {
	t                  testing.TB
	start              time.Time
	entries, intervals stream.Edge
	parts              []*ententev1.ReadTrailResponse
	heads              *ententev1.TrailHeads
}

func newBook(t testing.TB) *book {
	return &book{t: t, start: time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC), heads: &ententev1.TrailHeads{}}
}

func (b *book) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *book) now() time.Time {
	return b.start.Add(time.Duration(b.intervals.Size()) * time.Minute)
}

func entry(number uint64, at time.Time) []byte {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(&ententev1.AuditEntry{
		Number: number, At: timestamppb.New(at), Operation: ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, Method: "/entente.v1.IntakeService/Get",
	})
	if err != nil {
		panic(err) // it holds nothing that cannot be encoded
	}
	return encoded
}

func entriesPart(entries ...[]byte) *ententev1.ReadTrailResponse {
	return &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Entries{Entries: &ententev1.TrailEntries{Entries: entries}}}
}

func intervalPart(m *ententev1.TrailInterval) *ententev1.ReadTrailResponse {
	return &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Interval{Interval: m}}
}

func headsPart(heads *ententev1.TrailHeads) *ententev1.ReadTrailResponse {
	return &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Heads{Heads: heads}}
}

// look writes entries, all in one part.
func (b *book) look(count int) *book {
	var list [][]byte
	for range count {
		encoded := entry(b.entries.Size()+1, b.now())
		b.entries.Append(stream.LeafHash(encoded))
		list = append(list, encoded)
	}
	b.parts = append(b.parts, entriesPart(list...))
	return b
}

func (b *book) close() *book {
	one := trail.Interval{Number: b.intervals.Size() + 1, End: b.now().Add(time.Minute), Size: b.entries.Size(), Root: b.entries.Root()}
	one.Salt = sha256.Sum256([]byte{byte(one.Number)})
	b.intervals.Append(one.LeafHash())
	b.parts = append(b.parts, intervalPart(one.Message()))
	return b
}

func (b *book) sign(owner member.ID, tree string, edge *stream.Edge) []byte {
	note, err := stream.TreeHead{Owner: owner, Tree: tree, Size: edge.Size(), Root: edge.Root(), Time: b.now()}.Sign(keyFrom("signing " + string(owner)))
	b.must(err)
	return note
}

// countersign has the intervals so far signed by a witness.
func (b *book) countersign(by member.ID) *book {
	note := b.sign("XA", trail.TreeIntervals, &b.intervals)
	line, err := stream.Cosign(note, by, keyFrom("signing "+string(by)), b.now().Add(time.Second))
	b.must(err)
	b.heads.Witnessed, b.heads.Witness = slices.Concat(note, line), string(by)
	return b
}

// end signs the heads and gives all parts.
func (b *book) end() []*ententev1.ReadTrailResponse {
	b.heads.Checkpoint = b.sign("XA", trail.TreeIntervals, &b.intervals)
	b.heads.Newest = b.sign("XA", trail.TreeEntries, &b.entries)
	return append(slices.Clone(b.parts), headsPart(proto.CloneOf(b.heads)))
}

func verify(parts []*ententev1.ReadTrailResponse, earlier ...*ententev1.TrailHeads) (trail.Report, error) {
	v := trail.NewVerifier("XA", keysOf)
	for _, heads := range earlier {
		err := v.Continues(heads)
		if err != nil {
			return trail.Report{}, err
		}
	}
	for _, part := range parts {
		err := v.Take(part)
		if err != nil {
			return trail.Report{}, err
		}
	}
	return v.Finish()
}
