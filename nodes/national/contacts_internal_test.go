package national

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"entente.example/entente/nodes/federation"
	"entente.example/entente/nodes/replica"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// bench is a node of XA without its services: what it holds, and XB as the one other member that answers.
type bench struct {
	t     *testing.T
	now   time.Time
	fed   *federation.Federation
	store *store.Store
	node  *Node
	other *answering
}

// answering is the node of another member.
type answering struct {
	roster   *ententev1.SignedDocument
	lists    []*ententev1.RevocationList
	contract uint32 // 0: of the first version, which knows no more than the roster
	deaf     map[string]bool

	dialled []string // addresses
	asked   []string // what was asked
	sent    int      // rosters
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Now(), other: &answering{deaf: map[string]bool{}}}
	opts := store.Options{Path: filepath.Join(t.TempDir(), "node.db"), Keys: store.Keyring{Current: bytes.Repeat([]byte{7}, 32)}, Now: time.Now, Rand: rand.Reader}
	b.must(store.Create(opts, []byte("XA")))
	var err error
	b.store, err = store.Open(opts)
	b.must(err)
	t.Cleanup(func() { b.store.Close() })
	b.fed, err = federation.Found([]member.ID{"COORD", "XA", "XB"}, []member.ID{"COORD"}, rand.Reader, time.Now, time.Hour)
	b.must(err)
	b.fed.Seat("XB").Addresses = []string{"192.0.2.1:1", "192.0.2.2:2"}
	log := slog.New(slog.DiscardHandler)
	directory, err := newDirectory(b.store, nil, "XA", b.fed.ID, func() time.Time { return b.now }, log)
	b.must(err)
	b.node = &Node{material: Material{Member: "XA"}, store: b.store, directory: directory, log: log,
		deps: Deps{Now: func() time.Time { return b.now }, Rand: rand.Reader, ProjectsEvery: 30 * time.Second},
		dial: func(_ member.ID, address string) (replica.Conn, error) {
			b.other.dialled = append(b.other.dialled, address)
			return &talk{b.other, address}, nil
		}}
	b.node.revocations = b.revocations()
	b.node.contacts = &contacts{node: b.node, by: map[member.ID]*contact{}}
	return b
}

func (b *bench) revocations() *revocations {
	b.t.Helper()
	r, err := newRevocations(b.store, false, "XA", func() *member.Roster { return b.node.directory.get().Roster }, b.node.log)
	b.must(err)
	return r
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// roster makes the next roster and, where it is to be held, puts it in force.
func (b *bench) roster(held bool) *ententev1.SignedDocument {
	b.t.Helper()
	roster, err := b.fed.Roster()
	b.must(err)
	if held {
		_, err = b.node.directory.acceptRoster(roster.Document())
		b.must(err)
	}
	return roster.Document()
}

// list makes a revocation list of a member.
func (b *bench) list(id member.ID, before []byte, serials ...*big.Int) []byte {
	b.t.Helper()
	list, err := b.fed.Seat(id).Authority.Revoke(before, serials, rand.Reader, time.Now(), time.Hour)
	b.must(err)
	return list
}

// ask asks XB after so much time.
func (b *bench) ask(after time.Duration) error {
	b.t.Helper()
	b.now = b.now.Add(after)
	_, err := b.node.contacts.of("XB").ask(b.t.Context(), false)
	return err
}

// talk is a connection to it.
type talk struct {
	*answering
	address string
}

// NewStream is not used.
func (*talk) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams here")
}

// Close closes nothing.
func (*talk) Close() error { return nil }

// Invoke answers as the other node would.
func (c *talk) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	if c.deaf[c.address] {
		return status.Error(codes.Unavailable, "nobody there")
	}
	request, ok := args.(*ententev1.GetRosterRequest)
	if !ok {
		c.asked = append(c.asked, "projects")
		return nil
	}
	c.asked = append(c.asked, "roster")
	held := sha256.Sum256(c.roster.GetBody())
	response := &ententev1.GetRosterResponse{Roster: c.roster, Contract: c.contract}
	if c.contract >= 2 {
		digest := sha256.Sum256([]byte{byte(len(c.lists))})
		response.RevocationsDigest, response.Revocations = digest[:], c.lists
		if bytes.Equal(request.GetKnownRevocations(), digest[:]) {
			response.Revocations = nil
		}
		if bytes.Equal(request.GetKnownRoster(), held[:]) {
			response.Roster = nil
		}
	}
	if response.GetRoster() != nil {
		c.sent++
	}
	proto.Merge(reply.(proto.Message), response)
	return nil
}

func TestAnAnswerIsShortWhereThereIsNothingNew(t *testing.T) {
	for name, tt := range map[string]struct {
		contract             uint32
		holds                func(b *bench) // what the other shows
		sent, rosters, total int
	}{
		"the other holds the same":             {2, func(b *bench) { b.other.roster = b.roster(true) }, 0, 11, 13},
		"the other holds an older one":         {2, func(b *bench) { b.other.roster = b.roster(true); b.roster(true) }, 1, 11, 13},
		"the other holds a newer one":          {2, func(b *bench) { b.roster(true); b.other.roster = b.roster(false) }, 1, 11, 13},
		"the other is of the contract before":  {0, func(b *bench) { b.other.roster = b.roster(true) }, 2, 2, 4},
		"the other holds nothing that we know": {2, func(b *bench) { b.roster(true); b.other.roster = &ententev1.SignedDocument{Type: "roster"} }, 2, 11, 13},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.other.contract = tt.contract
			tt.holds(b)
			for range 11 { // in 30 seconds
				_ = b.ask(3 * time.Second) // what is refused is no matter of this test
			}
			rosters := 0
			for _, what := range b.other.asked {
				if what == "roster" {
					rosters++
				}
			}
			if b.other.sent != tt.sent || rosters != tt.rosters || len(b.other.asked) != tt.total {
				t.Errorf("%d rosters came by %d questions of %d, want %d by %d of %d", b.other.sent, rosters, len(b.other.asked), tt.sent, tt.rosters, tt.total)
			}
			if len(b.other.dialled) != 1 {
				t.Errorf("%d connections were made, want 1", len(b.other.dialled))
			}
		})
	}
}

func TestAnyMemberHandsOnTheNewestRosterAndLists(t *testing.T) {
	b := newBench(t)
	b.roster(true)
	b.other.contract, b.other.roster = 2, b.roster(false)
	gone := big.NewInt(77)
	b.other.lists = []*ententev1.RevocationList{{Member: "COORD", List: b.list("COORD", nil, gone)}}
	b.must(b.ask(0))
	if got := b.node.directory.get().Roster.Number(); got != 2 {
		t.Errorf("roster %d is in force, want 2", got)
	}
	if b.node.revocations.Count() != 1 {
		t.Error("the list of a third member was not taken")
	}
}

func TestAListThatNeedsANewerRosterIsAskedForAgain(t *testing.T) {
	b := newBench(t)
	b.other.contract, b.other.roster = 2, b.roster(true)
	next, err := member.NewAuthority("COORD", rand.Reader, time.Now(), time.Hour)
	b.must(err)
	old := b.fed.Seat("COORD").Authority.Certificate()
	b.fed.Seat("COORD").Authority = next
	b.other.lists = []*ententev1.RevocationList{{Member: "COORD", List: b.list("COORD", nil, big.NewInt(77))}}
	err = b.ask(0)
	if err == nil || b.node.revocations.Count() != 0 {
		t.Fatalf("a list of an authority that nobody knows: %v", err)
	}
	b.must(b.ask(3 * time.Second)) // known and refused: it does not come again each time
	b.announce("COORD", old, next.Certificate())
	b.must(b.ask(3 * time.Second))
	if b.node.revocations.Count() != 1 {
		t.Error("the list was not taken once the roster names its authority")
	}
}

func TestAnAddressThatDoesNotAnswerIsFollowedByTheNext(t *testing.T) {
	b := newBench(t)
	b.other.contract, b.other.roster = 2, b.roster(true)
	b.other.deaf["192.0.2.1:1"] = true
	b.must(b.ask(0))
	b.must(b.ask(3 * time.Second))
	if len(b.other.dialled) != 2 || len(b.other.asked) != 3 {
		t.Errorf("dialled %v, asked %v", b.other.dialled, b.other.asked)
	}
	b.other.deaf["192.0.2.2:2"] = true
	b.must(b.ask(3 * time.Second)) // nobody is there: no fault of ours
	b.other.deaf = map[string]bool{}
	b.must(b.ask(3 * time.Second))
	if b.other.asked[len(b.other.asked)-1] != "roster" {
		t.Errorf("asked %v", b.other.asked)
	}
}

func TestListsCountByNumberAndOutliveARestart(t *testing.T) {
	b := newBench(t)
	b.roster(true)
	first := b.list("XB", nil, big.NewInt(5))
	second := b.list("XB", first, big.NewInt(6))
	offer := func(id member.ID, der []byte) (bool, error) {
		return b.node.revocations.acceptOffered([]*ententev1.RevocationList{{Member: string(id), List: der}})
	}
	taken, err := offer("XB", second)
	if !taken || err != nil {
		t.Fatalf("the second: taken %t, %v", taken, err)
	}
	for name, one := range map[string]struct {
		id     member.ID
		der    []byte
		refuse bool
	}{
		"the same again":                      {"XB", second, false},
		"the first, by who has not heard":     {"XB", first, false},
		"another of the same number":          {"XB", b.list("XB", first, big.NewInt(9)), true},
		"one in the name of another":          {"XA", b.list("XB", second, big.NewInt(10)), true},
		"one of a member that does not exist": {"XQ", second[:len(second)-1], true},
		"bytes that are none":                 {"XB", []byte("list"), true},
		"more than a list may have":           {"XB", make([]byte, member.MaxRevocationList+1), true},
	} {
		taken, err = offer(one.id, one.der)
		if taken || (err != nil) != one.refuse {
			t.Errorf("%s: taken %t, %v", name, taken, err)
		}
	}
	_, err = b.node.revocations.accept([][]byte{first})
	if err == nil {
		t.Error("an older list in the node's own file is not told")
	}
	again := b.revocations()
	if again.Count() != 2 || len(again.Lists()) != 1 || !bytes.Equal(again.Lists()[0].GetList(), second) {
		t.Errorf("after a restart %d certificates are revoked by %d lists", again.Count(), len(again.Lists()))
	}
}

func TestAMemberTakesNoMoreRoomWithItsListsThanItIsGiven(t *testing.T) {
	b := newBench(t)
	var serials []*big.Int
	for i := range 6500 {
		serials = append(serials, new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 120), big.NewInt(int64(i))))
	}
	var lists [][]byte
	var all []*x509.Certificate
	for range 5 {
		next, err := member.NewAuthority("XB", rand.Reader, time.Now(), time.Hour)
		b.must(err)
		b.fed.Seat("XB").Authority = next
		lists, all = append(lists, b.list("XB", nil, serials...)), append(all, next.Certificate())
	}
	b.announce("XB", all...)
	for i, list := range lists {
		taken, err := b.node.revocations.take("XB", list)
		if (err != nil) != (i == 4) || taken == (i == 4) {
			t.Errorf("list %d of %d bytes: taken %t, %v", i+1, len(list), taken, err)
		}
	}
	taken, err := b.node.revocations.take("COORD", b.list("COORD", nil, serials[0]))
	if !taken || err != nil {
		t.Errorf("another member's: taken %t, %v", taken, err)
	}
	b.announce("XB", all[4]) // the others are replaced: their lists are of no more use
	taken, err = b.node.revocations.take("XB", lists[4])
	if !taken || err != nil || b.node.revocations.Count() != len(serials)+1 {
		t.Errorf("after a change of authorities: taken %t, %v, %d certificates", taken, err, b.node.revocations.Count())
	}
	if again := b.revocations(); again.Count() != len(serials)+1 {
		t.Errorf("after a restart: %d certificates", again.Count())
	}
}

func TestTheListOfARenewedAuthorityStaysBesideThatOfAnother(t *testing.T) {
	b := newBench(t)
	b.roster(true)
	authority := b.fed.Seat("XB").Authority
	old := authority.Certificate()
	taken, err := b.node.revocations.take("XB", b.list("XB", nil, big.NewInt(5)))
	if !taken || err != nil {
		t.Fatalf("the list of the first authority: taken %t, %v", taken, err)
	}
	again := *old // the same name and key, another serial number
	again.SerialNumber, again.NotAfter = big.NewInt(4711), old.NotAfter.Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, &again, &again, old.PublicKey, authority.PrivateKey())
	b.must(err)
	renewed, err := x509.ParseCertificate(der)
	b.must(err)
	next, err := member.NewAuthority("XB", rand.Reader, time.Now(), time.Hour)
	b.must(err)
	b.announce("XB", renewed, next.Certificate())
	b.fed.Seat("XB").Authority = next
	taken, err = b.node.revocations.take("XB", b.list("XB", nil, big.NewInt(6)))
	if !taken || err != nil {
		t.Fatalf("the list of the second authority: taken %t, %v", taken, err)
	}
	if got := b.node.revocations.Count(); got != 2 {
		t.Errorf("%d certificates are revoked after the first authority was renewed, want 2", got)
	}
	if got := b.revocations().Count(); got != 2 {
		t.Errorf("after a restart %d are, want 2", got)
	}
}

// announce puts a roster in force in which a member has these authorities.
func (b *bench) announce(id member.ID, authorities ...*x509.Certificate) {
	b.t.Helper()
	roster, err := b.fed.Roster()
	b.must(err)
	parts, err := member.RosterParts(roster.Document())
	b.must(err)
	says, _ := roster.Member(id)
	says.Authorities = authorities
	for i, of := range roster.Members() {
		if of != id {
			continue
		}
		parts.Entries[i], err = member.NewEntry(b.fed.ID, says, 100*roster.Number(), b.fed.Seat(id).Root, time.Now())
		b.must(err)
	}
	parts.Number, parts.ValidFor, parts.Assembler = roster.Number(), time.Hour, "COORD"
	doc, err := member.AssembleRoster(parts, b.fed.Seat("COORD").Signing, time.Now())
	b.must(err)
	_, err = b.node.directory.acceptRoster(doc)
	b.must(err)
}
