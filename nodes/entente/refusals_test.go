package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// later makes the clock of the commands run ahead.
func (b *bench) later(by time.Duration) { b.now = func() time.Time { return time.Now().Add(by) } }

func TestCommandsRefuseBadInputAndWriteNothing(t *testing.T) {
	b := newBench(t)
	b.federate("XA", "XB", "XC")
	b.keys("XD")
	b.enter("XD", "national", "127.0.0.1:7404")
	copyFile(t, b.path("roster.pb"), b.path("first.pb"))
	b.must(trusting("roster", "change", "--kind", "admission", "--member", "XD", "--new-root", "@xd/offline/root.pub", "--out", "@admission.pb")...)
	b.signs("XA", "admission.pb")
	b.must("roster", "assemble", "--from", "@roster.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key", "--out", "@roster.pb", "--replace")
	b.must("roster", "assemble", "--from", "@first.pb", "--assembler", "XB", "--signing-key", "@xb/signing-key.key", "--out", "@fork.pb")
	open := func(more ...string) []string {
		return trusting(append([]string{"project", "open", "--name", "N", "--purpose", "criminal-investigation", "--signing-key", "@xa/signing-key.key"}, more...)...)
	}
	b.must(open("--id", "harbour", "--lead", "XA", "--participant", "XB", "--until", "2099-01-01", "--out", "@p.pb")...)
	copyFile(t, b.path("p.pb"), b.path("older.pb"))
	b.must(trusting("project", "admit", "@p.pb", "--member", "XC", "--signing-key", "@xa/signing-key.key")...)
	copyFile(t, b.path("older.pb"), b.path("other.pb"))
	b.must(trusting("project", "depart", "@other.pb", "--member", "XB", "--signing-key", "@xa/signing-key.key")...)

	// A member under two names: everything as it should be, but for one key that another member has.
	entry := func(m, authority, signingKey, out string) {
		b.must("roster", "entry", "--genesis", "@genesis.pb", "--member", m, "--authority", authority, "--signing-key", signingKey,
			"--root", "@"+strings.ToLower(m)+"/offline/root.key", "--number", "2", "--out", out)
	}
	entry("XB", "@xa/authority/authority.pem", "@xb/signing-key.pub", "@same-authority.pb")
	entry("XB", "@xb/authority/authority.pem", "@xa/signing-key.pub", "@same-key.pb")
	entry("XB", "@xb/authority/authority.pem", "@xc/offline/root.pub", "@root-as-key.pb")
	assemble := func(more ...string) []string {
		return append([]string{"roster", "assemble", "--from", "@roster.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key", "--out", "@no.pb"}, more...)
	}
	before := readAll(t, b.dir)
	tests := []struct {
		name string
		code int
		want string
		line []string
	}{
		{"a change without its quorum", cli.ExitFailed, "1 founders signed what takes 2, concerning XD", assemble("--change", "@admission.pb", "--entry", "@xd/entry.pb")},
		{"a signature by a root that is not in force", cli.ExitUsage, "no key of XB that counts",
			trusting("roster", "sign", "@admission.pb", "--member", "XB", "--root", "@xd/offline/root.key")},
		{"a signature of one who is no founder", cli.ExitUsage, "no key of XD that counts",
			trusting("roster", "sign", "@admission.pb", "--member", "XD", "--root", "@xd/offline/root.key")},
		{"a second signature of the same member", cli.ExitUsage, "XA has signed it already",
			trusting("roster", "sign", "@admission.pb", "--member", "XA", "--root", "@xa/offline/root.key")},
		{"a change that is signed without a look at the roster", cli.ExitUsage, "--roster is missing",
			[]string{"roster", "sign", "@admission.pb", "--member", "XB", "--root", "@xb/offline/root.key"}},
		{"an older roster than the one held", cli.ExitFailed, "older", []string{"roster", "verify", "@first.pb", "--held", "@roster.pb", "--genesis", "@genesis.pb"}},
		{"another roster under the number held", cli.ExitFailed, "contradicts", []string{"roster", "verify", "@fork.pb", "--held", "@roster.pb", "--genesis", "@genesis.pb"}},
		{"a difference to an older roster", cli.ExitFailed, "older", []string{"roster", "diff", "@roster.pb", "@first.pb", "--genesis", "@genesis.pb"}},
		{"an older roster in the place of a newer one", cli.ExitFailed, "is not replaced", []string{"roster", "assemble", "--from", "@first.pb", "--assembler", "XB",
			"--signing-key", "@xb/signing-key.key", "--out", "@roster.pb", "--replace"}},
		{"a number that was there already", cli.ExitFailed, "older", assemble("--number", "1")},
		{"an assembler that the genesis does not name", cli.ExitFailed, "does not name XC as an assembler", []string{"roster", "assemble", "--from", "@roster.pb",
			"--assembler", "XC", "--signing-key", "@xc/signing-key.key", "--out", "@no.pb"}},
		{"an assembler with another's key", cli.ExitFailed, "no key of XA that counts", []string{"roster", "assemble", "--from", "@roster.pb", "--assembler", "XA",
			"--signing-key", "@xb/signing-key.key", "--out", "@no.pb"}},
		{"an entry of a member that is not in", cli.ExitFailed, "XD is not a member", assemble("--entry", "@xd/entry.pb")},
		{"two entries of one member", cli.ExitUsage, "both entries of XB", assemble("--entry", "@same-key.pb", "--entry", "@same-authority.pb")},
		{"a roster that is over before it begins", cli.ExitUsage, "--valid", assemble("--valid", "-1h")},
		{"one root for two founders", cli.ExitUsage, "root key of XE: it is already that of XA", []string{"roster", "genesis", "--name", "N",
			"--founder", "XA=@xa/offline/root.pub", "--founder", "XE=@xa/offline/root.pub", "--assembler", "XA", "--out", "@no.pb"}},
		{"a founder given twice", cli.ExitUsage, "--founder XA is given twice", []string{"roster", "genesis", "--name", "N",
			"--founder", "XA=@xa/offline/root.pub", "--founder", "XA=@xb/offline/root.pub", "--assembler", "XA", "--out", "@no.pb"}},
		{"a quorum of more than there are", cli.ExitUsage, "its quorum is 3 of 1", []string{"roster", "genesis", "--name", "N", "--quorum", "3",
			"--founder", "XA=@xa/offline/root.pub", "--assembler", "XA", "--out", "@no.pb"}},
		{"a member admitted under a second name", cli.ExitUsage, "it is already that of XA",
			trusting("roster", "change", "--kind", "admission", "--member", "XE", "--new-root", "@xa/offline/root.pub", "--out", "@no.pb")},
		{"a member that is in already", cli.ExitUsage, "a member already",
			trusting("roster", "change", "--kind", "admission", "--member", "XB", "--new-root", "@xd/offline/root.pub", "--out", "@no.pb")},
		{"a stranger that is removed", cli.ExitUsage, "not a member", trusting("roster", "change", "--kind", "removal", "--member", "XE", "--out", "@no.pb")},
		{"one who is not suspended, reinstated", cli.ExitUsage, "not suspended", trusting("roster", "change", "--kind", "reinstatement", "--member", "XB", "--out", "@no.pb")},
		{"one authority for two members", cli.ExitFailed, "each key has one use and one member", assemble("--entry", "@same-authority.pb")},
		{"one signing key for two members", cli.ExitFailed, "each key has one use and one member", assemble("--entry", "@same-key.pb")},
		{"a root as a signing key", cli.ExitFailed, "each key has one use and one member", assemble("--entry", "@root-as-key.pb")},
		{"a project whose lead is another", cli.ExitFailed, "no key of XB that counts", open("--id", "x", "--lead", "XB", "--until", "2099-01-01", "--out", "@no.pb")},
		{"a project whose lead is no member", cli.ExitFailed, "XE is not a member", open("--id", "x", "--lead", "XE", "--until", "2099-01-01", "--out", "@no.pb")},
		{"a project with a stranger", cli.ExitFailed, "XE is not a member", open("--id", "x", "--lead", "XA", "--participant", "XE", "--until", "2099-01-01", "--out", "@no.pb")},
		{"a project that is over", cli.ExitUsage, "over already", open("--id", "x", "--lead", "XA", "--from", "2020-01-01", "--until", "2020-02-01", "--out", "@no.pb")},
		{"a project that ends before it starts", cli.ExitUsage, "it ends before it starts", open("--id", "x", "--lead", "XA", "--from", "2099-01-01", "--until", "2098-01-01", "--out", "@no.pb")},
		{"a project under an id that is no name", cli.ExitUsage, "project id", open("--id", "../x", "--lead", "XA", "--until", "2099-01-01", "--out", "@no.pb")},
		{"a project without its lead", cli.ExitFailed, "the lead stays in to the end", trusting("project", "depart", "@p.pb", "--member", "XA", "--signing-key", "@xa/signing-key.key")},
		{"an older charter than the one held", cli.ExitFailed, "older", trusting("project", "verify", "@older.pb", "--held", "@p.pb")},
		{"another charter than the one held", cli.ExitFailed, "a fork", trusting("project", "verify", "@other.pb", "--held", "@p.pb")},
		{"a difference to an older charter", cli.ExitFailed, "older", trusting("project", "diff", "@p.pb", "@older.pb")},
		{"a roster as a project", cli.ExitUsage, "not a chain", trusting("project", "verify", "@genesis.pb")},
	}
	for _, test := range tests {
		t.Run(test.name+" is refused", func(t *testing.T) {
			b.t = t
			b.refused(test.code, test.want, test.line...)
			b.unchanged(t, before)
		})
	}
	t.Run("with the quorum the same change is taken", func(t *testing.T) { // else the table above would prove nothing
		b.t = t
		b.signs("XC", "admission.pb")
		b.must(assemble("--change", "@admission.pb", "--entry", "@xd/entry.pb")...)
	})
}

func TestAClockThatIsOffIsSaidToBe(t *testing.T) {
	b := newBench(t)
	b.federate("XA", "XB")
	before := readAll(t, b.dir)
	verify := []string{"roster", "verify", "@roster.pb", "--genesis", "@genesis.pb"}
	b.later(-3 * time.Hour)
	b.refused(cli.ExitFailed, "ahead", verify...)
	b.refused(cli.ExitFailed, "ahead", trusting("project", "open", "--id", "x", "--name", "N", "--lead", "XA", "--purpose", "criminal-investigation",
		"--until", "2099-01-01", "--signing-key", "@xa/signing-key.key", "--out", "@no.pb")...)
	b.later(31 * 24 * time.Hour)
	b.refused(cli.ExitFailed, "expired at", verify...)
	b.refused(cli.ExitFailed, "look at the clock of this machine", verify...)
	b.unchanged(t, before)
	t.Run("a node says so before it starts", func(t *testing.T) {
		b.now = time.Now
		b.site("XA", freeAddress(t))
		b.must("node", "init", "--config", "@xa/node.yaml")
		b.must("node", "check", "--config", "@xa/node.yaml") // with a clock that is right
		for by, wants := range map[time.Duration][]string{
			-3 * time.Hour:       {"the certificate is not valid before", "check the clock of this machine"},
			31 * 24 * time.Hour:  {"roster has expired"},
			400 * 24 * time.Hour: {"the certificate expired at"},
		} {
			b.later(by)
			code, stdout, _ := b.try("node", "check", "--config", "@xa/node.yaml")
			if code != cli.ExitFailed || !holdsAll(stdout, wants) {
				t.Errorf("a clock off by %s: exit code %d, want %q in\n%s", by, code, wants, stdout)
			}
			if code, _, stderr := b.try("node", "run", "--config", "@xa/node.yaml"); code == cli.ExitOK || !strings.Contains(stderr, wants[0]) {
				t.Errorf("a clock off by %s: run ends with exit code %d and %q", by, code, stderr)
			}
		}
	})
	b.later(31 * 24 * time.Hour)
	// An expired roster is where the next one begins.
	b.must("roster", "assemble", "--from", "@roster.pb", "--assembler", "XB", "--signing-key", "@xb/signing-key.key", "--out", "@next.pb")
}

func TestALeadThatIsNotInGoodStandingLeadsNothing(t *testing.T) {
	b := newBench(t)
	b.federate("XA", "XB", "XC")
	b.must(trusting("project", "open", "--id", "harbour", "--name", "N", "--lead", "XC", "--participant", "XB", "--purpose", "criminal-investigation",
		"--until", "2099-01-01", "--signing-key", "@xc/signing-key.key", "--out", "@p.pb")...)
	b.decides("removal", "XC", nil, []string{"XA", "XB"}, nil)
	before := readAll(t, b.dir)
	b.refused(cli.ExitUsage, "XC, the lead, is suspended or not a member", trusting("project", "admit", "@p.pb", "--member", "XA", "--signing-key", "@xc/signing-key.key")...)
	b.refused(cli.ExitUsage, "XC, the lead", trusting("project", "open", "--id", "x", "--name", "N", "--lead", "XC", "--purpose", "criminal-investigation",
		"--until", "2099-01-01", "--signing-key", "@xc/signing-key.key", "--out", "@no.pb")...)
	b.refused(cli.ExitUsage, "--participant XC", trusting("project", "open", "--id", "x", "--name", "N", "--lead", "XA", "--participant", "XC",
		"--purpose", "criminal-investigation", "--until", "2099-01-01", "--signing-key", "@xa/signing-key.key", "--out", "@no.pb")...)
	if text := b.must(trusting("project", "verify", "@p.pb")...); !strings.Contains(text, "closed: its lead") {
		t.Errorf("the project is not said to be closed:\n%s", text)
	}
	b.unchanged(t, before)
}

// forge makes documents that no command of this program would write.
type forge struct {
	b          *bench
	federation [32]byte
	parts      member.Assembly
}

func (b *bench) forge() *forge {
	b.t.Helper()
	content, err := os.ReadFile(b.path("roster.pb"))
	if err != nil {
		b.t.Fatal(err)
	}
	doc := &ententev1.SignedDocument{}
	err = proto.Unmarshal(content, doc)
	if err != nil {
		b.t.Fatal(err)
	}
	parts, err := member.RosterParts(doc)
	if err != nil {
		b.t.Fatal(err)
	}
	return &forge{b: b, federation: member.FederationID(parts.Genesis), parts: parts}
}

func (f *forge) key(path string) ed25519.PrivateKey {
	f.b.t.Helper()
	key, err := readPrivateKey(f.b.path(path))
	if err != nil {
		f.b.t.Fatal(err)
	}
	return key
}

// roster is a roster as its assembler signed it, whatever it says.
func (f *forge) roster(number uint64, issued time.Time, changes ...*ententev1.SignedDocument) []byte {
	body := &ententev1.Roster{
		Genesis: f.parts.Genesis, Changes: append(f.parts.Changes[:len(f.parts.Changes):len(f.parts.Changes)], changes...), Entries: f.parts.Entries,
		Number: number, Assembler: "XA", IssuedAt: timestamppb.New(issued), ExpiresAt: timestamppb.New(issued.Add(24 * time.Hour)),
	}
	return f.encode(member.SignDocument(member.TypeRoster, f.encode(body), "XA", f.key("xa/signing-key.key")))
}

// removal is a change that the given members signed.
func (f *forge) removal(id member.ID, signers ...string) *ententev1.SignedDocument {
	f.b.t.Helper()
	doc, err := member.NewChange(f.federation, uint64(len(f.parts.Changes))+1, ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL, id, nil, time.Now())
	if err != nil {
		f.b.t.Fatal(err)
	}
	for _, signer := range signers {
		member.AddSignature(doc, member.ID(signer), f.key(strings.ToLower(signer)+"/offline/root.key"))
	}
	return doc
}

// charter is a project that XA signed, whoever leads it.
func (f *forge) charter(id, lead string, participants ...string) []byte {
	body := &ententev1.ProjectDocument{ProjectId: id, Number: 1, SignedAt: timestamppb.Now(), Content: &ententev1.ProjectDocument_Charter{
		Charter: &ententev1.ProjectCharter{Name: "Forged", Lead: lead, Participants: participants, Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
			StartsAt: timestamppb.Now(), EndsAt: timestamppb.New(time.Now().Add(time.Hour))}}}
	doc := member.SignDocument(member.TypeProject, f.encode(body), member.ID(lead), f.key("xa/signing-key.key"))
	return f.encode(&ententev1.ListProjectDocumentsResponse{Documents: []*ententev1.SignedDocument{doc}})
}

func (f *forge) encode(m proto.Message) []byte {
	f.b.t.Helper()
	encoded, err := proto.Marshal(m)
	if err != nil {
		f.b.t.Fatal(err)
	}
	return encoded
}

// held runs a member's node in this process.
func (b *bench) held(m string) *national.Node {
	b.t.Helper()
	cfg, err := national.LoadConfig(b.path(strings.ToLower(m), "node.yaml"), nil, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	var log bytes.Buffer
	deps := b.process(&log, &log).deps(cfg)
	deps.ReloadEvery = time.Hour // the test reloads itself
	material, err := national.Load(cfg, deps)
	if err != nil {
		b.t.Fatal(err)
	}
	node, err := national.New(material, deps)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }() // ends with ctx
	b.t.Cleanup(func() {
		stop()
		err := <-ended
		if err != nil {
			b.t.Error(err)
		}
	})
	return node
}

func TestANodeRefusesBadDocumentsWithTheReasonAndStaysAsItWas(t *testing.T) {
	b := newBench(t)
	b.federate("XA", "XB", "XC")
	b.site("XB", freeAddress(t))
	b.must(trusting("project", "open", "--id", "harbour", "--name", "N", "--lead", "XA", "--participant", "XB", "--purpose", "criminal-investigation",
		"--until", "2099-01-01", "--signing-key", "@xa/signing-key.key", "--out", "@xb/projects/harbour.pb")...)
	copyFile(t, b.path("roster.pb"), b.path("first.pb"))
	b.must("roster", "assemble", "--from", "@roster.pb", "--assembler", "XA", "--signing-key", "@xa/signing-key.key", "--out", "@roster.pb", "--replace")
	b.must("node", "init", "--config", "@xb/node.yaml")
	node := b.held("XB")
	err := node.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := newBench(t)
	other.federate("XA", "XB", "XC")
	f := b.forge()
	read := func(b *bench, path string) []byte {
		content, err := os.ReadFile(b.path(path))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	config := string(read(b, "xb/node.yaml"))
	now := time.Now()
	tests := []struct {
		name, file, want string
		content          []byte
	}{
		{"a change without its quorum", "roster.pb", "1 founders signed what takes 2", f.roster(3, now, f.removal("XC", "XA"))},
		{"an older roster", "roster.pb", "older", read(b, "first.pb")},
		{"another roster under the same number", "roster.pb", "contradicts", f.roster(2, now.Add(-time.Minute))},
		{"a roster of another federation", "roster.pb", "another federation", read(other, "roster.pb")},
		{"a roster dated three hours ahead", "roster.pb", "ahead", f.roster(3, now.Add(3*time.Hour))},
		{"a roster that is over", "roster.pb", "expired", f.roster(3, now.Add(-25*time.Hour))},
		{"a roster that is cut off", "roster.pb", "", read(b, "roster.pb")[:200]},
		{"a project without its lead among the participants", "xb/projects/new.pb", "its lead XA is not a participant", f.charter("new", "XA", "XB", "XC")},
		{"a project that its lead did not sign", "xb/projects/new.pb", "no key of XB that counts", f.charter("new", "XB", "XB", "XC")},
		{"another charter under the same id", "xb/projects/harbour.pb", "does not continue", f.charter("harbour", "XA", "XA", "XB", "XC")},
		{"a configuration with an unknown key", "xb/node.yaml", "officials: unknown key", []byte(config + "officials: []\n")},
	}
	number, projects, digest := node.Directory().Roster.Number(), len(node.Directory().Projects), node.Ledger().HeadsDigest()
	for _, test := range tests {
		t.Run(test.name+" is refused", func(t *testing.T) {
			was, known := readAll(t, b.dir)[b.path(test.file)]
			writeFile(t, b.path(test.file), string(test.content))
			err := node.Reload(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a refusal with %q", err, test.want)
			}
			d := node.Directory()
			if d.Roster.Number() != number || len(d.Projects) != projects || d.Projects["harbour"].Lead != "XA" || node.Ledger().HeadsDigest() != digest {
				t.Error("something of it counts")
			}
			if known {
				writeFile(t, b.path(test.file), was)
			} else {
				os.Remove(b.path(test.file))
			}
			err = node.Reload(t.Context())
			if err != nil {
				t.Errorf("after the good file is back: %v", err)
			}
		})
	}
	t.Run("an older charter changes nothing", func(t *testing.T) {
		b.must(trusting("project", "admit", "@xb/projects/harbour.pb", "--member", "XC", "--signing-key", "@xa/signing-key.key", "--dry-run")...)
		older := string(read(b, "xb/projects/harbour.pb"))
		b.must(trusting("project", "admit", "@xb/projects/harbour.pb", "--member", "XC", "--signing-key", "@xa/signing-key.key")...)
		err := node.Reload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, b.path("xb/projects/harbour.pb"), older)
		_ = node.Reload(t.Context()) // said to be older, or passed over: it is not this node's project
		if p := node.Directory().Projects["harbour"]; p.Number != 2 || !p.Has("XC") {
			t.Errorf("the node went back to document %d", p.Number)
		}
	})
}
