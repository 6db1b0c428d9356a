package resolve

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
)

const personKind = ententev1.RecordKind_RECORD_KIND_PERSON

// rec makes a person whose evidence is one passport for each word of keys.
func rec(id byte, keys string) *Record {
	r := &Record{ID: [32]byte{id}, Payload: [32]byte{id}, Kind: personKind}
	for _, word := range strings.Fields(keys) {
		r.Keys = append(r.Keys, newKey(EvidenceDocument, word))
	}
	return r
}

func (r *Record) born(sex ententev1.Sex, days ...uint32) *Record {
	r.sex, r.births = sex, days
	return r
}

// show writes clusters by record id, in an order of its own.
func show(records []*Record, groups [][]int) string {
	var lines []string
	for _, group := range groups {
		var ids []string
		for _, i := range group {
			ids = append(ids, fmt.Sprintf("%d/%d", records[i].ID[0], records[i].Payload[0]))
		}
		slices.Sort(ids)
		lines = append(lines, strings.Join(ids, "+"))
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

func TestCluster(t *testing.T) {
	const female, male = ententev1.Sex_SEX_FEMALE, ententev1.Sex_SEX_MALE
	ofKind := func(kind ententev1.RecordKind, r *Record) *Record { r.Kind = kind; return r }
	payload := func(p byte, r *Record) *Record { r.Payload = [32]byte{p}; return r }
	tests := []struct {
		name            string
		records         []*Record
		same, different [][2]int
		want            string
	}{
		{name: "nothing gives nothing"},
		{name: "no common key, no cluster", records: []*Record{rec(1, "a"), rec(2, "b")}, want: "1/1 2/2"},
		{name: "a common key joins", records: []*Record{rec(1, "a"), rec(2, "a")}, want: "1/1+2/2"},
		{name: "a bridge joins what it touches", records: []*Record{rec(1, "a"), rec(2, "a b"), rec(3, "b")}, want: "1/1+2/2+3/3"},
		{name: "kinds do not mix", records: []*Record{rec(1, "a"), ofKind(ententev1.RecordKind_RECORD_KIND_IDENTITY_DOCUMENT, rec(2, "a"))}, want: "1/1 2/2"},
		{name: "forms of one record are together", records: []*Record{rec(1, "a"), payload(9, rec(1, "b"))}, want: "1/1+1/9"},
		{name: "forms of one record give their keys together", records: []*Record{rec(1, "a"), payload(9, rec(1, "b")), rec(2, "b")}, want: "1/1+1/9+2/2"},
		{name: "sex and birth contradict", records: []*Record{rec(1, "a").born(male, 19800101), rec(2, "a").born(female, 19900101)}, want: "1/1 2/2"},
		{name: "sex alone does not contradict", records: []*Record{rec(1, "a").born(male, 19800101), rec(2, "a").born(female, 19800101)}, want: "1/1+2/2"},
		{name: "birth alone does not contradict", records: []*Record{rec(1, "a").born(male, 19800101), rec(2, "a").born(male, 19900101)}, want: "1/1+2/2"},
		{name: "one common birthday is enough", records: []*Record{rec(1, "a").born(male, 19800101, 19900101), rec(2, "a").born(female, 19900101)}, want: "1/1+2/2"},
		{name: "a contradiction holds across a third", records: []*Record{rec(1, "a").born(male, 19800101), rec(2, "a"), rec(3, "a").born(female, 19900101)}, want: "1/1+2/2 3/3"},
		{name: "a decision joins what has nothing in common", records: []*Record{rec(1, "a"), rec(2, "b")}, same: [][2]int{{0, 1}}, want: "1/1+2/2"},
		{name: "a decision beats a contradiction", records: []*Record{rec(1, "a").born(male, 19800101), rec(2, "a").born(female, 19900101)}, same: [][2]int{{0, 1}}, want: "1/1+2/2"},
		{name: "a decision parts what has a key in common", records: []*Record{rec(1, "a"), rec(2, "a")}, different: [][2]int{{1, 0}}, want: "1/1 2/2"},
		{name: "a decision parts across a third", records: []*Record{rec(1, "a"), rec(2, "a"), rec(3, "a")}, different: [][2]int{{0, 2}}, want: "1/1+2/2 3/3"},
		{name: "same and different on one pair: none joins", records: []*Record{rec(1, "a"), rec(2, "a")}, same: [][2]int{{0, 1}}, different: [][2]int{{0, 1}}, want: "1/1 2/2"},
		{name: "a different within undoes the chain of same", records: []*Record{rec(1, ""), rec(2, ""), rec(3, "")}, same: [][2]int{{0, 1}, {1, 2}}, different: [][2]int{{0, 2}}, want: "1/1 2/2 3/3"},
		{name: "same across kinds counts for nothing", records: []*Record{rec(1, ""), ofKind(ententev1.RecordKind_RECORD_KIND_LOCATION, rec(2, ""))}, same: [][2]int{{0, 1}}, want: "1/1 2/2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := show(test.records, Cluster(test.records, test.same, test.different))
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// world makes records and decisions in which keys, contradictions and decisions are frequent.
func world(random *rand.Rand) (records []*Record, same, different [][2]int) {
	count := 5 + random.IntN(40)
	for i := range count {
		var keys strings.Builder
		for range random.IntN(4) {
			fmt.Fprintf(&keys, "k%d ", random.IntN(count))
		}
		r := rec(byte(random.IntN(count)), keys.String())
		r.Payload = [32]byte{byte(i)}
		if random.IntN(2) == 0 {
			r.born(ententev1.Sex(random.IntN(3)), uint32(19800101+random.IntN(3)))
		}
		records = append(records, r)
	}
	for range random.IntN(5) {
		same = append(same, [2]int{random.IntN(count), random.IntN(count)})
		different = append(different, [2]int{random.IntN(count), random.IntN(count)})
	}
	return records, same, different
}

func TestTheOrderOfRecordsAndDecisionsDoesNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	vetoed := 0
	for range 500 {
		records, same, different := world(random)
		want := show(records, Cluster(records, same, different))
		if want != show(records, Cluster(records, nil, nil)) {
			vetoed++
		}
		for range 5 {
			place := random.Perm(len(records))
			shuffled := make([]*Record, len(records))
			for i, at := range place {
				shuffled[at] = records[i]
			}
			move := func(pairs [][2]int) [][2]int {
				moved := make([][2]int, len(pairs))
				for i, at := range random.Perm(len(pairs)) {
					moved[at] = [2]int{place[pairs[i][1]], place[pairs[i][0]]}
				}
				return moved
			}
			got := show(shuffled, Cluster(shuffled, move(same), move(different)))
			if got != want {
				t.Fatalf("shuffled: %s, before: %s", got, want)
			}
		}
	}
	if vetoed < 100 {
		t.Errorf("decisions changed only %d of 500 worlds: the test proves little", vetoed)
	}
}

func TestReasonsNameWhatIsShared(t *testing.T) {
	a, b := rec(1, "x"), rec(2, "x")
	twin := rec(1, "y")
	tests := []struct {
		name    string
		records []*Record
		want    int
	}{
		{"one record has no reason", []*Record{a}, 0},
		{"two forms of one record are no reason", []*Record{twin, rec(1, "y")}, 0},
		{"a shared document is a reason, once", []*Record{a, b, rec(3, "x")}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Reasons(test.records)
			if len(got) != test.want {
				t.Errorf("reasons %q, want %d", got, test.want)
			}
		})
	}
}

// Whoever changes a rule changes this on purpose: members whose programs differ must not take their views for equal.
func TestTablesHashChangesWithTheTablesOnly(t *testing.T) {
	const want = "c07737dc8852ac65154f9d740cda717186a8729d0f8e1e93e3a9b3343ed62439"
	got := TablesHash()
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("tables hash is %x, was %s: raise tablesVersion if a rule changed, then pin the new hash", got, want)
	}
}

func BenchmarkCluster30000(b *testing.B) {
	random := rand.New(rand.NewPCG(3, 4))
	records := make([]*Record, 30000)
	for i := range records {
		records[i] = rec(0, fmt.Sprintf("k%d k%d", random.IntN(20000), random.IntN(20000)))
		records[i].ID = [32]byte{byte(i >> 16), byte(i >> 8), byte(i)}
	}
	for b.Loop() {
		Cluster(records, nil, nil)
	}
}

// A key that everybody has, with contradictions all over, must not make the work quadratic.
func BenchmarkClusterOneKeyForAll(b *testing.B) {
	records := make([]*Record, 30000)
	for i := range records {
		records[i] = rec(0, "all").born(ententev1.Sex(1+i%3), uint32(i))
		records[i].ID = [32]byte{byte(i >> 16), byte(i >> 8), byte(i)}
	}
	for b.Loop() {
		Cluster(records, nil, nil)
	}
}
