package network

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// plainResolver joins persons with the same name and any other things with the same text: enough to test what is done
// with clusters. Who is who for real is tested where it is decided.
type plainResolver struct{}

type plainForm struct {
	id   [32]byte
	keys []string
}

func (plainResolver) Compact(id, _ [32]byte, kind ententev1.RecordKind, body *ententev1.Body) any {
	f := plainForm{id: id}
	for _, name := range body.GetPerson().GetNames() {
		f.keys = append(f.keys, fmt.Sprint(kind, name.GetFamily()))
	}
	for _, document := range body.GetPerson().GetDocuments() {
		f.keys = append(f.keys, fmt.Sprint(kind, document.GetNumber()))
	}
	return f
}

// Cluster joins by key in the order of things, then by decision.
func (plainResolver) Cluster(forms []any, same, different [][2]int) [][]int {
	apart := make(map[[2]int]bool)
	for _, pair := range different {
		apart[pair] = true
	}
	above := make([]int, len(forms))
	for i := range above {
		above[i] = i
	}
	var find func(i int) int
	find = func(i int) int {
		if above[i] != i {
			above[i] = find(above[i])
		}
		return above[i]
	}
	first := make(map[string]int)
	for i, form := range forms {
		plain := form.(plainForm)
		for _, key := range append(plain.keys, string(plain.id[:])) {
			at, found := first[key]
			switch {
			case !found:
				first[key] = i
			case !apart[[2]int{at, i}]:
				above[find(at)] = find(i)
			}
		}
	}
	for _, pair := range same {
		above[find(pair[0])] = find(pair[1])
	}
	groups := make(map[int][]int)
	for i := range forms {
		groups[find(i)] = append(groups[find(i)], i)
	}
	var clusters [][]int
	for _, group := range groups {
		clusters = append(clusters, group)
	}
	return clusters
}

func (plainResolver) Reasons([]any) []string { return []string{"same name or document"} }

func (plainResolver) TablesHash() [32]byte { return [32]byte{1} }

// claim is a record in the making.
type claim struct {
	owner   member.ID
	id      uint16
	body    *ententev1.Body
	project string
	codes   []ententev1.HandlingCode
	minute  int64 // when it was recorded
	readers []member.ID
	all     bool
}

func idOf(n uint16) (id [16]byte) {
	binary.BigEndian.PutUint16(id[:], n)
	return id
}

func ref(owner member.ID, n uint16) *ententev1.RecordRef {
	id := idOf(n)
	return &ententev1.RecordRef{
		Target:         &ententev1.RecordRef_RecordId{RecordId: id[:]},
		ProviderMember: string(owner),
	}
}

func (c claim) released() *ententev1.ReleasedRecord {
	id := idOf(c.id)
	codes := c.codes
	if codes == nil {
		codes = []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H0}
	}
	return &ententev1.ReleasedRecord{
		RecordId: id[:],
		Envelope: &ententev1.ReleasedEnvelope{
			ProviderMember: string(c.owner),
			ProjectId:      c.project,
			RecordedAt:     &timestamppb.Timestamp{Seconds: 60 * c.minute},
			Handling:       &ententev1.HandlingConditions{Codes: codes},
			Evaluation: &ententev1.Evaluation{
				Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_6X6, SourceCode: "B", InformationCode: "2",
			},
		},
		Body: c.body,
	}
}

func (c claim) item(stream uint32, sequence uint64) Item {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.released())
	if err != nil {
		panic(err)
	}
	return itemOf(c, stream, sequence, encoded)
}

func itemOf(c claim, stream uint32, sequence uint64, encoded []byte) Item {
	return Item{
		Stream: stream, Sequence: sequence, Owner: c.owner, Record: idOf(c.id), Kind: kindOf(c.body),
		Released: encoded, PayloadHash: sha256.Sum256(encoded),
		AllMembers: c.all, Project: c.project, Readers: append([]member.ID{c.owner}, c.readers...),
	}
}

func person(family string, documents ...string) *ententev1.Body {
	p := &ententev1.Person{
		Names:  []*ententev1.PersonName{{Family: family, Given: "Ivo"}},
		Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT,
	}
	for _, number := range documents {
		p.Documents = append(p.Documents, &ententev1.IdentityDocument{
			Type: ententev1.DocumentType_DOCUMENT_TYPE_PASSPORT, Number: number, IssuingCountry: "XA",
		})
	}
	return &ententev1.Body{Kind: &ententev1.Body_Person{Person: p}}
}

func group(name string) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_CriminalGroup{CriminalGroup: &ententev1.CriminalGroup{
		Names: []*ententev1.TextName{{Text: name}},
	}}}
}

func association(from, to *ententev1.RecordRef, kind ententev1.AssociationKind) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_Association{Association: &ententev1.Association{
		From: from, To: to, Kind: kind, Certainty: ententev1.Certainty_CERTAINTY_SUSPECTED,
	}}}
}

func role(who, in *ententev1.RecordRef, functional ententev1.FunctionalRole) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_Role{Role: &ententev1.Role{
		Person: who, Group: in, FunctionalRole: functional,
	}}}
}

func decision(verdict ententev1.DecisionVerdict, records ...*ententev1.RecordRef) *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_Decision{Decision: &ententev1.Decision{
		Verdict: verdict, Records: records,
	}}}
}

func lesson() *ententev1.Body {
	return &ententev1.Body{Kind: &ententev1.Body_Lesson{Lesson: &ententev1.Lesson{}}}
}

const (
	meets    = ententev1.AssociationKind_ASSOCIATION_KIND_MEETS
	memberOf = ententev1.AssociationKind_ASSOCIATION_KIND_MEMBER_OF
	same     = ententev1.DecisionVerdict_DECISION_VERDICT_SAME
	differ   = ententev1.DecisionVerdict_DECISION_VERDICT_DIFFERENT
	organise = ententev1.FunctionalRole_FUNCTIONAL_ROLE_ORGANISER
)

// flat is a whole view as bytes.
func flat(t testing.TB, v *View) string {
	t.Helper()
	response := &ententev1.GetViewResponse{View: v.Info(), Entities: v.Entities(), Associations: v.Associations()}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(response)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// randomWorld makes items in which names, references and decisions meet often. Which of them are for XB is random.
func randomWorld(random *rand.Rand) []Item {
	owners := []member.ID{"XA", "XC", "XD"}
	audiences := [][]member.ID{{"XB"}, {"XB", "XC", "XD", "XA"}, {"XC"}, {"XD", "XA"}, {}}
	count := 12 + random.IntN(30)
	ownerOf := make([]member.ID, count)
	for i := range ownerOf {
		ownerOf[i] = owners[random.IntN(len(owners))]
	}
	anyRef := func() *ententev1.RecordRef {
		n := random.IntN(count)
		return ref(ownerOf[n], uint16(n))
	}
	var items []Item
	for i := range count {
		c := claim{owner: ownerOf[i], id: uint16(i), minute: int64(random.IntN(5))}
		switch random.IntN(9) {
		case 0:
			c.body = decision(ententev1.DecisionVerdict(1+random.IntN(2)), anyRef(), anyRef())
		case 1, 2:
			c.body = association(anyRef(), anyRef(), ententev1.AssociationKind(1+random.IntN(2)))
		case 3:
			c.body = role(anyRef(), anyRef(), ententev1.FunctionalRole(1+random.IntN(3)))
		case 4:
			c.body = group(fmt.Sprint("group ", random.IntN(4)))
		default:
			c.body = person(fmt.Sprint("name ", random.IntN(8)), fmt.Sprint("A-", random.IntN(12)))
		}
		if random.IntN(3) == 0 {
			c.codes = []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H2}
		}
		if random.IntN(3) == 0 {
			c.project = fmt.Sprint("project ", random.IntN(2))
		}
		for range 1 + random.IntN(2) {
			audience := random.IntN(len(audiences))
			c.readers = audiences[audience]
			c.all = audience == 1
			// A stream has one owner and one set of readers, as in the node's log.
			stream := uint32(audience)*10 + uint32(c.owner[1]-'A')
			items = append(items, c.item(stream, uint64(len(items)+1)))
		}
	}
	return items
}

func networkOf(items []Item) *Network {
	n := New("COORD", plainResolver{})
	n.Add(items...)
	return n
}
