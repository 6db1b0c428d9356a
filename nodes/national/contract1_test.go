package national_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// contract1Patience is how long a test waits for what happens in other goroutines.
const contract1Patience = 30 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unpackFederation puts the federation of contract 1 into a folder, with the modes of its files.
func unpackFederation(t *testing.T) string {
	t.Helper()
	file, err := os.Open("testdata/contract-1/federation.tar.gz")
	must(t, err)
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	must(t, err)
	folder := t.TempDir()
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return folder
		}
		must(t, err)
		path := filepath.Join(folder, filepath.FromSlash(header.Name))
		if header.Typeflag == tar.TypeDir {
			must(t, os.MkdirAll(path, 0o755))
			continue
		}
		content, err := io.ReadAll(archive)
		must(t, err)
		must(t, os.WriteFile(path, content, header.FileInfo().Mode()))
	}
}

// meeting is a node of the present program, XB, and a recorded one of contract 1, XA, that know where the other is.
type meeting struct {
	t      *testing.T
	folder string
	base   time.Time // when the conversation was recorded, by the owner's clock
	began  time.Time
}

func (m *meeting) now() time.Time { return m.base.Add(time.Since(m.began)) }

func newMeeting(t *testing.T, answers []said) *meeting {
	t.Helper()
	m := &meeting{t: t, folder: unpackFederation(t), began: time.Now()}
	for _, one := range answers {
		response := &ententev1.PullResponse{}
		if one.From != "called" || !strings.HasSuffix(one.Method, "/Pull") || proto.Unmarshal(one.Bytes, response) != nil || response.GetDigest() == nil {
			continue
		}
		digest := &ententev1.HeadsDigest{}
		must(t, proto.Unmarshal(response.GetDigest().GetBody(), digest))
		m.base = digest.GetSignedAt().AsTime()
	}
	if m.base.IsZero() {
		t.Fatal("the recording holds no digest")
	}
	return m
}

// move puts a roster in force in which the nodes of the given members have other addresses.
func (m *meeting) move(addresses map[member.ID]string) {
	m.t.Helper()
	content, err := os.ReadFile(filepath.Join(m.folder, "roster.pb"))
	must(m.t, err)
	doc, err := national.ParseDocument(content, member.TypeRoster)
	must(m.t, err)
	parts, err := member.RosterParts(doc)
	must(m.t, err)
	roster, err := member.VerifyRoster(doc, member.FederationID(parts.Genesis), nil, m.now())
	must(m.t, err)
	parts.Entries = nil
	for _, id := range roster.Members() {
		one, _ := roster.Member(id)
		root, err := os.ReadFile(filepath.Join(m.folder, string(one.ID), "offline", "root.key"))
		must(m.t, err)
		key, err := member.ParsePrivateKey(root)
		must(m.t, err)
		one.Addresses = []string{addresses[one.ID]}
		entry, err := member.NewEntry(member.FederationID(parts.Genesis), one, 2, key, m.now())
		must(m.t, err)
		parts.Entries = append(parts.Entries, entry)
	}
	parts.Number++
	next, err := member.AssembleRoster(parts, m.signingKey("XA"), m.now())
	must(m.t, err)
	content, err = proto.Marshal(next)
	must(m.t, err)
	must(m.t, os.WriteFile(filepath.Join(m.folder, "roster.pb"), content, 0o600))
}

func (m *meeting) signingKey(id member.ID) ed25519.PrivateKey {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.folder, string(id), "signing-key.key"))
	must(m.t, err)
	key, err := member.ParsePrivateKey(text)
	must(m.t, err)
	return key
}

func (m *meeting) listen() net.Listener {
	m.t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	must(m.t, err)
	return lis
}

// start runs a member's node on its files, or on a new data file, until the test ends or stop is called.
func (m *meeting) start(id member.ID, lis net.Listener, fresh bool) (node *national.Node, stop func()) {
	m.t.Helper()
	overrides := map[string]string{}
	folder := filepath.Join(m.folder, string(id))
	if fresh {
		overrides["data"], overrides["marker"] = filepath.Join(folder, "fresh.db"), filepath.Join(folder, "fresh.marker")
	}
	cfg, err := national.LoadConfig(filepath.Join(folder, "node.yaml"), nil, overrides)
	must(m.t, err)
	log := &bytes.Buffer{}
	deps := national.Deps{Now: m.now, Rand: rand.Reader, Logger: slog.New(slog.NewTextHandler(log, nil)), Version: "test", Listener: lis}
	if fresh {
		must(m.t, national.Init(cfg, deps))
	}
	material, err := national.Load(cfg, deps)
	must(m.t, err)
	node, err = national.New(material, deps)
	must(m.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		err := <-ended
		if err != nil {
			m.t.Error(err)
		}
		if m.t.Failed() {
			m.t.Logf("log of %s:\n%s", id, log)
		}
	}
	m.t.Cleanup(stop)
	return node, stop
}

// eventually waits until a node's ledger is as it should be.
func eventually(t *testing.T, what string, l *ledger.Ledger, is func() bool) {
	t.Helper()
	deadline := time.After(contract1Patience)
	for {
		changed := l.Changed()
		if is() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// namesHeld are the family names in the released records of an owner that a node holds, sorted.
func namesHeld(t *testing.T, l *ledger.Ledger, owner, reader member.ID) []string {
	t.Helper()
	var names []string
	for _, info := range l.StreamsShared(owner, reader) {
		entries, err := l.Follow(info.No, 1, 1000)
		must(t, err)
		for _, e := range entries {
			record := &ententev1.ReleasedRecord{}
			must(t, proto.Unmarshal(e.Released, record))
			if e.Released != nil {
				names = append(names, nameIn(record))
			}
		}
	}
	slices.Sort(names)
	return names
}

func nameIn(record *ententev1.ReleasedRecord) string {
	name := record.GetBody().GetPerson().GetNames()[0]
	return name.GetGiven() + " " + name.GetFamily()
}

// release pushes a record of XB's, like the one that stands in its folder, and releases it to XA.
func (m *meeting) release(l *ledger.Ledger, reference, given string) {
	m.t.Helper()
	line, err := os.ReadFile(filepath.Join(m.folder, "XB", "records.jsonl"))
	must(m.t, err)
	record := &ententev1.Record{}
	must(m.t, protojson.Unmarshal(line, record))
	record.Envelope.ProviderReference = reference
	record.Envelope.RetainUntil = timestamppb.New(record.GetEnvelope().GetRecordedAt().AsTime().AddDate(4, 11, 0)) // as profiles allow since
	record.Body.GetPerson().Names[0].Given = given
	audience := &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: []string{"XA"}}}}
	verdicts, err := l.Push(m.t.Context(), "Police of XB", []ledger.Item{{Record: record, Audiences: []*ententev1.Audience{audience}}})
	must(m.t, err)
	if len(verdicts[0].GetViolations()) > 0 {
		m.t.Fatalf("%s was not taken: %v", reference, verdicts[0])
	}
}

func TestNodeOfContract1AndThisOneBringEachOtherUpToDate(t *testing.T) {
	answers := readConversation(t, "testdata/contract-1/answers.jsonl")
	m := newMeeting(t, answers)
	old := &oldPeer{t: t, contract: readOldContract(t), answers: answers, requests: readConversation(t, "testdata/contract-1/requests.jsonl"),
		signing: m.signingKey("XA"), receipts: map[stream.ID]uint64{}, news: make(chan struct{}, 1)}
	var err error
	old.pair, err = tls.LoadX509KeyPair(filepath.Join(m.folder, "XA", "node.pem"), filepath.Join(m.folder, "XA", "node.key"))
	must(t, err)
	peer, own := m.listen(), m.listen()
	m.move(map[member.ID]string{"XA": peer.Addr().String(), "XB": own.Addr().String()})
	old.serve(peer)
	node, _ := m.start("XB", own, true)
	l := node.Ledger()

	t.Run("this node has what the older one released, and has signed for it", func(t *testing.T) {
		want := []string{"Ada Okon", "Bela Okon"} // a third was withdrawn
		eventually(t, "both records are held", l, func() bool { return slices.Equal(namesHeld(t, l, "XA", "XB"), want) })
		deadline := time.After(contract1Patience)
		for {
			signed, err := old.taken()
			must(t, err)
			if covers(signed, l.StreamsShared("XA", "XB")) {
				return
			}
			select {
			case <-old.news:
			case <-deadline:
				t.Fatalf("receipts came for %v only", signed)
			}
		}
	})
	t.Run("the older one gets what this node releases, in answers that it understands", func(t *testing.T) {
		m.release(l, "N-1", "Eve")
		m.release(l, "N-2", "Fay")
		conn, err := grpc.NewClient(own.Addr().String(), grpc.WithTransportCredentials(old.tls()))
		must(t, err)
		defer conn.Close()
		old.synchronise(t.Context(), conn, m, l)
	})
}

// covers says whether receipts were given for all of the streams.
func covers(signed map[stream.ID]uint64, streams []ledger.StreamInfo) bool {
	for _, info := range streams {
		if signed[info.ID] != info.Size {
			return false
		}
	}
	return len(streams) > 0
}

// synchronise plays the recorded requests, one after the other, and goes on listening to the last one, as the node did.
func (p *oldPeer) synchronise(ctx context.Context, conn *grpc.ClientConn, m *meeting, l *ledger.Ledger) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, contract1Patience)
	defer cancel()
	keys := m.publicKeys("XB")
	got := &pulled{heads: map[stream.ID]stream.Checkpoint{}}
	var live grpc.ClientStream
	for _, one := range p.requests {
		if one.From != "caller" {
			continue
		}
		short := one.Method[strings.LastIndex(one.Method, "/")+1:]
		switch shape, err := shapeOf(short, one.Bytes); {
		case err != nil:
			p.t.Fatal(err)
		case short == "SubmitReceipts": // the recorded ones are for streams that were there then
		case short == "Pull" && shape == "from positions":
			live = p.call(ctx, conn, one.Method, one.Bytes)
			p.ask(live, "PullResponse", func(content []byte) bool { return p.take(got, keys, content) })
		case short == "Pull":
			p.ask(p.call(ctx, conn, one.Method, one.Bytes), "PullResponse", func([]byte) bool { return false })
		default:
			p.ask(p.call(ctx, conn, one.Method, one.Bytes), answerOf(short), func([]byte) bool { return false })
		}
	}
	names := map[string]bool{}
	for _, record := range got.released {
		names[nameIn(record)] = true
	}
	if !names["Eve Marsh"] || !names["Fay Marsh"] {
		p.t.Fatalf("the older node has %v", names)
	}
	p.ask(p.call(ctx, conn, ententev1.ExchangeService_SubmitReceipts_FullMethodName, p.sign(got, timestamppb.New(m.now()))),
		"SubmitReceiptsResponse", func([]byte) bool { return false })
	for _, info := range l.StreamsShared("XB", "XA") {
		readers := l.Readers(info.No)
		if got.heads[info.ID].Size != info.Size || len(readers) != 1 || readers[0].ConfirmedSize != info.Size {
			p.t.Errorf("of the %d entries of a stream the older node has %d and has signed: %v", info.Size, got.heads[info.ID].Size, readers)
		}
	}
	_, err := l.Withdraw(ctx, "Police of XB", []string{"N-1"}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE)
	must(p.t, err)
	p.ask(live, "PullResponse", func(content []byte) bool {
		p.take(got, keys, content)
		return got.withdrawn == 1
	})
	if got.withdrawn != 1 {
		p.t.Error("the withdrawal did not come")
	}
}

func answerOf(method string) protoreflect.FullName { return protoreflect.FullName(method + "Response") }

func (m *meeting) publicKeys(id member.ID) []ed25519.PublicKey {
	return []ed25519.PublicKey{m.signingKey(id).Public().(ed25519.PublicKey)}
}

func TestOldContractIsOldEnoughToNoticeWhatIsNew(t *testing.T) {
	old := readOldContract(t)
	for _, c := range []struct {
		name    string
		message proto.Message
		of      protoreflect.FullName
		known   bool
	}{
		{"a pull that it could have made", &ententev1.PullRequest{PositionsGiven: true}, "PullRequest", true},
		{"a pull that says its contract", &ententev1.PullRequest{Contract: 2}, "PullRequest", false},
		{"grants", &ententev1.PullResponse{Content: &ententev1.PullResponse_Grants{Grants: &ententev1.GrantBatch{}}}, "PullResponse", false},
		{"a grant within a payload", &ententev1.StreamPayload{Content: &ententev1.StreamPayload_Grant{Grant: &ententev1.SignedDocument{}}}, "StreamPayload", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			content, err := proto.Marshal(c.message)
			must(t, err)
			err = old.check(c.of, content)
			if (err == nil) != c.known {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestFilesOfContract1GoOnUnderThisProgram(t *testing.T) {
	m := newMeeting(t, readConversation(t, "testdata/contract-1/answers.jsonl"))
	listeners := map[member.ID]net.Listener{"XA": m.listen(), "XB": m.listen()}
	m.move(map[member.ID]string{"XA": listeners["XA"].Addr().String(), "XB": listeners["XB"].Addr().String()})
	before := map[member.ID][]byte{}
	nodes := map[member.ID]*national.Node{}
	for id, lis := range listeners {
		content, err := os.ReadFile(filepath.Join(m.folder, string(id), "node.db"))
		must(t, err)
		before[id] = content
		nodes[id], _ = m.start(id, lis, false)
	}

	t.Run("what was held is held, and what was withdrawn is not", func(t *testing.T) {
		for _, c := range []struct {
			holder, owner member.ID
			want          []string
		}{{"XB", "XA", []string{"Ada Okon", "Bela Okon"}}, {"XA", "XB", []string{"Dov Marsh"}}} {
			got := namesHeld(t, nodes[c.holder].Ledger(), c.owner, c.holder)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s holds %v of %s, want %v", c.holder, got, c.owner, c.want)
			}
		}
	})
	t.Run("a stream of then takes a release of now, and its reader gets it", func(t *testing.T) {
		streams := len(nodes["XB"].Ledger().Streams())
		m.release(nodes["XB"].Ledger(), "N-3", "Gil")
		held := nodes["XA"].Ledger()
		eventually(t, "XA holds the new one", held, func() bool {
			return slices.Contains(namesHeld(t, held, "XB", "XA"), "Gil Marsh")
		})
		if len(nodes["XB"].Ledger().Streams()) != streams {
			t.Error("another stream was opened")
		}
	})
	t.Run("the file as it was is kept beside it, for the way back", func(t *testing.T) {
		for id, content := range before {
			kept, err := os.ReadFile(filepath.Join(m.folder, string(id), "node.db.schema-1"))
			must(t, err)
			if !bytes.Equal(kept, content) {
				t.Errorf("the kept copy of %s is another file", id)
			}
		}
	})
}
