package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/proto/trail"
)

// auditorDesk is a desk of an auditor, who looks into the security of the data.
func auditorDesk(t *testing.T) *desk {
	t.Helper()
	d := newDesk(t)
	d.env["ENTENTE_AUDIT_PURPOSE"] = "security"
	return d
}

func TestAuditorsAskForAPurposeAndACase(t *testing.T) {
	reason := `"reason":{"purpose":"AUDIT_PURPOSE_SECURITY","case_reference":"HL-7"}`
	all(t, auditorDesk(t), []told{
		{"list shows who, for whom, why and about what", "audit list", 0, []string{reason, `"page_size":1000,"page_token":"AQ=="`}, []string{
			"XA system registry for vera", "criminal-investigation", "HL-7", "XA/" + idOne + ", 2 records of XB, XB 09000000000000000000000000000000/4-8",
			"protected persons: witness protection", "the node", "refused over", "  Get  "}},
		{"list with all filters", "audit list --operation consultation,disclosure --since 2026-01-01 --before 2026-02-01 --actor vera --to XB --limit 1 -o json", 0,
			[]string{`"operations":["AUDIT_OPERATION_CONSULTATION","AUDIT_OPERATION_DISCLOSURE"],"since":"2026-01-01T00:00:00Z","before":"2026-02-01T00:00:00Z","actor":"vera","recipient":"XB","page_size":1`},
			[]string{`"number":"1"`}},
		{"list of an unknown operation", "audit list --operation gossip", ExitUsage, nil, []string{"give one of: collection"}},
		{"list since some time", "audit list --since spring", ExitUsage, nil, []string{"--since: give a day"}},
		{"another purpose by its flag", "audit list --audit-purpose subject-request --case 9", 0, []string{`"reason":{"purpose":"AUDIT_PURPOSE_SUBJECT_REQUEST","case_reference":"9"}`}, nil},
		{"an unknown purpose", "audit list --audit-purpose curiosity", ExitUsage, nil, []string{"give one of: lawfulness"}},
		{"find", "audit find --name \"Teodor Varrin\" --year 1968 --number \"AB 12\"", 0, []string{reason + `,"name":"Teodor Varrin","year_of_birth":1968,"number":"AB 12"`},
			[]string{"XB/02000000000000000000000000000000", "XB/03000000000000000000000000000000", "person"}},
		{"find of nobody", "audit find", ExitUsage, nil, []string{"--name, --year or --number"}},
		{"find that is cut short says nothing", "audit find --name cut", ExitUnreachable, []string{`"cut"`}, nil},
		{"subject by id", "audit subject XB/" + idOne, 0, []string{`"records":[{"owner":"XB","record_id":"AQAAAAAAAAAAAAAAAAAAAA=="}]`}, []string{"XB/02000000000000000000000000000000", "registry for vera"}},
		{"subject by own id and reference", "audit subject " + idOne + " --reference crime-unit/P/7", 0,
			[]string{`"records":[{"record_id":"AQAAAAAAAAAAAAAAAAAAAA=="},{"authority":"crime-unit","provider_reference":"P/7"}]`}, nil},
		{"subject by description", "audit subject --name Varrin -o json", 0,
			[]string{`"records":[{"owner":"XB","record_id":"AgAAAAAAAAAAAAAAAAAAAA=="},{"owner":"XB","record_id":"AwAAAAAAAAAAAAAAAAAAAA=="}]`}, []string{`{"entry":{"number":"8"`}},
		{"subject that is not found", "audit subject --name nobody", 0, []string{`"nobody"`}, []string{"no record fits"}},
		{"subject of nothing", "audit subject", ExitUsage, nil, []string{"give OWNER/ID"}},
		{"subject by a wrong name", "audit subject P-1", ExitUsage, nil, []string{"give OWNER/ID"}},
		{"subject of a wrong owner", "audit subject xb/" + idOne, ExitUsage, nil, []string{"xb"}},
		{"subject by a reference without authority", "audit subject --reference P-1", ExitUsage, nil, []string{"AUTHORITY/REFERENCE"}},
		{"reconcile without a difference", "audit reconcile XC", 0, []string{`"member":"XC"`}, []string{"10 own entries and 11 listed by XC compared; 0 differences"}},
		{"reconcile with a difference", "audit reconcile XB", ExitFailed, nil, []string{"passed on", "XA 09000000000000000000000000000000/4-4", "1 differences with XB"}},
		{"reconcile gives JSON", "audit reconcile XB -o json", ExitFailed, nil, []string{`{"difference":{"kind":"passed on"`, `{"summary":{"own_entries":"10"`}},
		{"reconcile that does not come to its end", "audit reconcile XD", ExitFailed, nil, []string{"without a result"}},
		{"disclosures by another", "audit disclosures XB --since 2026-01-01", 0, []string{`"list":true`, `"since":"2026-01-01T00:00:00Z"`}, []string{"consultation", "XC", "XA/" + idOne, "1 listed by XB"}},
		{"disclosures in JSON", "audit disclosures XB -o json", 0, nil, []string{`{"disclosure":{`, `{"summary":{"listed":"1"}}`}},
		{"disclosures that do not come to their end", "audit disclosures XD", ExitFailed, nil, []string{"without a result"}},
		{"honey set", "audit honey set " + idOne + " --reference crime-unit/P-9", 0, []string{`{"record_id":"AQAAAAAAAAAAAAAAAAAAAA=="}`}, []string{"2 records are marked"}},
		{"honey clear", "audit honey clear " + idOne, 0, []string{`"clear":true`}, []string{"1 records are marked"}},
		{"honey of nothing", "audit honey set", ExitUsage, nil, []string{"which own records"}},
		{"alerts come page by page", "audit alerts", 0, []string{`"after":"3"`}, []string{"01000000", "03000000", "XB"}},
		{"alerts after a number", "audit alerts --after 2 -o json", 0, nil, []string{`"number":"3"`}},
		{"audit without a word", "audit", ExitUsage, nil, []string{"audit list"}},
	})
	d := newDesk(t)
	for _, line := range []string{"audit list", "audit alerts", "audit find --name x", "audit reconcile XB"} {
		told{"", line, ExitUsage, nil, []string{"--audit-purpose"}}.run(t, d)
	}
}

// books is a federation of XA and XB on paper, and XA's trail, which XB has countersigned.
type books struct {
	t         *testing.T
	now       time.Time
	keys      map[member.ID]ed25519.PrivateKey // that sign
	parts     []*ententev1.ReadTrailResponse
	tree      stream.Edge // of entries
	intervals stream.Edge
	witnessed []byte
}

func newBooks(t *testing.T) *books {
	t.Helper()
	b := &books{t: t, now: time.Now().Truncate(time.Second), keys: map[member.ID]ed25519.PrivateKey{}}
	for _, id := range []member.ID{"XA", "XB"} {
		b.keys[id] = b.key()
	}
	return b
}

func (b *books) key() ed25519.PrivateKey {
	b.t.Helper()
	key, err := member.NewSigningKey(rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	return key
}

func (b *books) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// write puts roster and genesis into the folder of a desk.
func (b *books) write(d *desk) (roster, genesis string) {
	b.t.Helper()
	roots := map[member.ID]ed25519.PublicKey{}
	private := map[member.ID]ed25519.PrivateKey{}
	for id := range b.keys {
		private[id] = b.key()
		roots[id] = private[id].Public().(ed25519.PublicKey)
	}
	founded, err := member.NewGenesis("On paper", roots, 2, []member.ID{"XA"}, b.now)
	b.must(err)
	assembly := member.Assembly{Genesis: founded, Number: 1, Assembler: "XA", ValidFor: time.Hour}
	for id, root := range private {
		b.must(member.SignGenesis(founded, id, root))
		authority, err := member.NewAuthority(id, rand.Reader, b.now, time.Hour)
		b.must(err)
		m := member.Member{ID: id, Name: string(id), Kind: ententev1.MemberKind_MEMBER_KIND_NATIONAL, Addresses: []string{"node.example:7443"}}
		m.Authorities = append(m.Authorities, authority.Certificate())
		m.SigningKeys = []member.SigningKey{{Key: b.keys[id].Public().(ed25519.PublicKey), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT}}
		entry, err := member.NewEntry(member.FederationID(founded), m, 1, root, b.now)
		b.must(err)
		assembly.Entries = append(assembly.Entries, entry)
	}
	assembled, err := member.AssembleRoster(assembly, b.keys["XA"], b.now)
	b.must(err)
	encoded, err := proto.Marshal(assembled)
	b.must(err)
	pinned, err := proto.Marshal(founded)
	b.must(err)
	return d.write(b.t, "roster.pb", string(encoded)), d.write(b.t, "genesis.pb", string(pinned))
}

// note is an interval with some entries in it.
func (b *books) note(count int, method string) {
	b.t.Helper()
	var encoded [][]byte
	for range count {
		entry, err := proto.Marshal(&ententev1.AuditEntry{Number: b.tree.Size() + 1, At: timestamppb.New(b.now), Method: method})
		b.must(err)
		b.tree.Append(stream.LeafHash(entry))
		encoded = append(encoded, entry)
	}
	if count > 0 {
		b.parts = append(b.parts, &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Entries{Entries: &ententev1.TrailEntries{Entries: encoded}}})
	}
	b.now = b.now.Add(time.Second)
	closed := trail.Interval{Number: b.intervals.Size() + 1, End: b.now, Size: b.tree.Size(), Root: b.tree.Root()}
	b.intervals.Append(closed.LeafHash())
	b.parts = append(b.parts, &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Interval{Interval: closed.Message()}})
}

func (b *books) head(tree string, edge *stream.Edge) []byte {
	b.t.Helper()
	signed, err := stream.TreeHead{Owner: "XA", Tree: tree, Size: edge.Size(), Root: edge.Root(), Time: b.now}.Sign(b.keys["XA"])
	b.must(err)
	return signed
}

// countersign has XB sign the intervals as they are.
func (b *books) countersign() {
	b.t.Helper()
	signed := b.head(trail.TreeIntervals, &b.intervals)
	line, err := stream.Cosign(signed, "XB", b.keys["XB"], b.now)
	b.must(err)
	b.witnessed = append(signed, line...)
}

// trail is what the node answers.
func (b *books) trail() []*ententev1.ReadTrailResponse {
	heads := &ententev1.TrailHeads{Checkpoint: b.head(trail.TreeIntervals, &b.intervals), Newest: b.head(trail.TreeEntries, &b.tree),
		Witnessed: b.witnessed, Witness: "XB"}
	all := append([]*ententev1.ReadTrailResponse{}, b.parts...)
	return append(all, &ententev1.ReadTrailResponse{Content: &ententev1.ReadTrailResponse_Heads{Heads: heads}})
}

func TestATrailIsVerifiedAndMustContinueWhatWasSeen(t *testing.T) {
	d, b := auditorDesk(t), newBooks(t)
	roster, genesis := b.write(d)
	state := filepath.Join(d.folder, "heads.json")
	line := "audit verify --roster " + roster + " --genesis " + genesis + " --state " + state
	b.note(3, "pull")
	b.note(0, "")
	b.countersign()
	b.note(2, "lapse")
	d.node.trail = b.trail()
	told{"", line, 0, []string{`"AUDIT_PURPOSE_SECURITY"`}, []string{"sound", "entries               5", "by XB at", ": 3 entries", "only the node's word  2 entries", "is new"}}.run(t, d)
	info, err := os.Stat(state)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file of --state: %v, %v", info, err)
	}
	kept, err := os.ReadFile(state)
	b.must(err)

	b.note(1, "pull")
	d.node.trail = b.trail()
	told{"", line + " -o json", 0, nil, []string{`"entries":6,`, `"witness":"XB"`, `"witnessed_entries":3`, `"unwitnessed":3`, `"continued":true`}}.run(t, d)
	newer, err := os.ReadFile(state)
	if err != nil || string(newer) == string(kept) {
		t.Errorf("the newer heads are not kept: %v", err)
	}

	// Whoever has the node's key writes another trail, which nobody has countersigned: only the kept heads tell.
	other := newBooks(t)
	other.keys = b.keys
	other.note(9, "nothing happened")
	d.node.trail = other.trail()
	told{"", strings.Replace(line, " --state "+state, "", 1), 0, nil, []string{"sound"}}.run(t, d) // the control: by itself it is sound
	told{"", line, ExitFailed, nil, []string{string(trail.RuleEarlier)}}.run(t, d)
	after, err := os.ReadFile(state)
	if err != nil || string(after) != string(newer) {
		t.Errorf("the kept heads have changed: %v", err)
	}
}

func TestATrailThatIsWrongIsNamed(t *testing.T) {
	d, b := auditorDesk(t), newBooks(t)
	roster, genesis := b.write(d)
	b.note(3, "pull")
	b.countersign()
	good := " --roster " + roster + " --genesis " + genesis
	edited := b.trail()
	first := proto.CloneOf(edited[0])
	changed := first.GetEntries().GetEntries()[1]
	changed[len(changed)-1] ^= 1
	edited[0] = first
	garbage := d.write(t, "garbage.json", "{}")
	for _, test := range []struct {
		told
		trail []*ententev1.ReadTrailResponse
	}{
		{told{"sound, as the control", "audit verify" + good, 0, nil, []string{"sound"}}, b.trail()},
		{told{"an entry is edited", "audit verify" + good, ExitFailed, nil, []string{"entries 1 to 3", string(trail.RuleIntervalRoot)}}, edited},
		{told{"an entry is missing", "audit verify" + good, ExitFailed, nil, []string{"audit trail, "}}, b.trail()[1:]},
		{told{"the heads are missing", "audit verify" + good, ExitFailed, nil, []string{"without a result"}}, b.parts},
		{told{"no roster", "audit verify --genesis " + genesis, ExitUsage, nil, []string{"--roster"}}, nil},
		{told{"a roster that is none", "audit verify --roster " + genesis + " --genesis " + genesis, ExitUsage, nil, []string{"not a document of type roster"}}, nil},
		{told{"a file of heads that is none", "audit verify" + good + " --state " + garbage, ExitUsage, nil, []string{"holds no heads"}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.node.trail, d.node.requests = test.trail, nil
			test.run(t, d)
		})
	}
}

func TestTheKeysOfAnotherFederationDoNotCount(t *testing.T) {
	d, b := auditorDesk(t), newBooks(t)
	_, genesis := b.write(d)
	pinned, err := os.ReadFile(genesis)
	b.must(err)
	roster, _ := newBooks(t).write(d)
	mine := d.write(t, "mine.pb", string(pinned))
	told{"", "audit verify --roster " + roster + " --genesis " + mine, ExitUsage, nil, []string{"roster.pb", "genesis"}}.run(t, d)
}
