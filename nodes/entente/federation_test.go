package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/demo"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// patience is how long a test waits for something that happens in other goroutines.
const patience = 40 * time.Second

// running is a command that runs in this process until it is stopped.
type running struct {
	t     *testing.T
	lines chan string // of stdout or stderr; closed at the end
	ended chan int    // gets the exit code
	stop  context.CancelFunc
}

// start runs a command line and gives the lines of its stdout (out) or else of its stderr.
func (b *bench) start(out bool, line ...string) *running {
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: b.t, lines: make(chan string, 10_000), ended: make(chan int, 1), stop: stop}
	from, to := io.Pipe()
	var args []string
	for _, word := range line {
		args = append(args, strings.ReplaceAll(word, "@", b.dir+"/"))
	}
	go func() { // ends with the command
		p := b.process(new(bytes.Buffer), new(bytes.Buffer))
		if out {
			p.Stdout = to
		} else {
			p.Stderr = to
		}
		code := run(ctx, p, args)
		to.Close()
		r.ended <- code
	}()
	go func() { // ends when the command closes its end
		scanner := bufio.NewScanner(from)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			r.lines <- scanner.Text()
		}
		close(r.lines)
	}()
	return r
}

// await reads lines until one holds all texts.
func (r *running) await(texts ...string) string {
	r.t.Helper()
	deadline := time.After(patience)
	var seen []string
	for {
		select {
		case line, open := <-r.lines:
			if !open {
				r.t.Fatalf("it ended before a line with %q:\n%s", texts, strings.Join(seen, "\n"))
			}
			seen = append(seen, line)
			if holdsAll(line, texts) {
				return line
			}
		case <-deadline:
			r.t.Fatalf("no line with %q came:\n%s", texts, strings.Join(seen, "\n"))
		}
	}
}

func holdsAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// end stops the command and gives its exit code.
func (r *running) end() int {
	r.t.Helper()
	r.stop()
	go func() { // ends with the command, whose output somebody must take
		for range r.lines {
		}
	}()
	select {
	case code := <-r.ended:
		return code
	case <-time.After(patience):
		r.t.Fatal("the command did not end")
		return -1
	}
}

// eventually runs a command line until it is done and its stdout holds the text.
func (b *bench) eventually(text string, line ...string) string {
	b.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for {
		code, stdout, stderr := b.try(line...)
		if code == cli.ExitOK && strings.Contains(stdout, text) {
			return stdout
		}
		select {
		case <-again.C:
		case <-deadline:
			b.t.Fatalf("entente %s: exit code %d, no %q in\n%s%s", strings.Join(line, " "), code, text, stdout, stderr)
		}
	}
}

// freeAddress is an address of this machine that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}

// persons are records of the first member of the demonstration that name no other record.
func persons(t *testing.T, count int) (lines string, references []string) {
	t.Helper()
	var text strings.Builder
	for _, step := range demo.Case()[0].Steps {
		for _, item := range step.Items {
			record := item.GetRecord()
			if record.GetBody().GetPerson() == nil || len(references) == count {
				continue
			}
			encoded, err := protojson.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, "%s\n", encoded)
			references = append(references, record.GetEnvelope().GetProviderReference())
		}
	}
	if len(references) != count {
		t.Fatalf("the case has only %d persons", len(references))
	}
	return text.String(), references
}

// site writes the configuration of a member's node, and of those who call it.
func (b *bench) site(m, address string) {
	b.t.Helper()
	low := strings.ToLower(m)
	writeFile(b.t, b.path(low, "node.yaml"), fmt.Sprintf(`member: %s
listen: %s
genesis: ../genesis.pb
roster: ../roster.pb
projects: projects
signing_key: signing-key.key
systems:
  - {name: intake, authority: %s-POLICE, projects: ["*"], clearance: confidential}
officers:
  - {name: lind, purposes: [criminal-investigation], projects: ["*"], clearance: confidential}
`, m, address, m))
	err := os.MkdirAll(b.path(low, "projects"), 0o755)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, identity := range []string{"system/intake", "officer/lind", "operator/ops"} {
		b.must("pki", "issue", "--authority", "@"+low+"/authority", "--identity", identity, "--out", "@"+low)
		name := strings.ReplaceAll(identity, "/", "-")
		writeFile(b.t, b.path(low, name+".yaml"), fmt.Sprintf("address: %s\nmember: %s\ncertificate: %s.pem\nkey: %s.key\nauthorities: authority/authority.pem\n"+
			"purpose: criminal-investigation\ncase: HL-2026-7\n", address, m, name, name))
	}
}

// TestFederationRunsByCommandsAlone founds a federation of two countries and a coordinator, runs their nodes on sockets and
// files, and sees a record through its life, with nothing but the commands of this program.
func TestFederationRunsByCommandsAlone(t *testing.T) {
	b := newBench(t)
	members := []string{"COORD", "XA", "XB"}
	b.found(members...)
	assemble := []string{"roster", "assemble", "--genesis", "@genesis.pb", "--assembler", "COORD", "--signing-key", "@coord/signing-key.key", "--out", "@roster.pb"}
	for _, m := range members {
		address, kind := freeAddress(t), "national"
		if m == "COORD" {
			kind = "coordinator"
		}
		b.enter(m, kind, address)
		b.site(m, address)
		assemble = append(assemble, "--entry", "@"+strings.ToLower(m)+"/entry.pb")
	}
	b.must(assemble...)
	b.must("project", "open", "--id", "harbour-light", "--name", "Harbour light", "--lead", "XA", "--participant", "XB", "--purpose", "criminal-investigation",
		"--until", time.Now().AddDate(1, 0, 0).Format(time.DateOnly), "--signing-key", "@xa/signing-key.key", "--roster", "@roster.pb",
		"--genesis", "@genesis.pb", "--out", "@xa/projects/harbour-light.pb")
	nodes := b.startNodes(members)
	b.life(t)
	for _, node := range nodes {
		if code := node.end(); code != cli.ExitOK {
			t.Errorf("a node ended with exit code %d", code)
		}
	}
	b.verifyAll(t)
}

func (b *bench) startNodes(members []string) []*running {
	b.t.Helper()
	var nodes []*running
	for _, m := range members {
		kind, config := "node", "@"+strings.ToLower(m)+"/node.yaml"
		if m == "COORD" {
			kind = "coordinator"
		}
		b.refused(cli.ExitFailed, "problems keep", kind, "check", "--config", config)
		b.must(kind, "init", "--config", config)
		b.refused(cli.ExitFailed, "initialised", kind, "init", "--config", config)
		b.must(kind, "check", "--config", config)
		node := b.start(false, kind, "run", "--config", config)
		node.await("node started")
		b.t.Cleanup(node.stop)
		nodes = append(nodes, node)
	}
	return nodes
}

// life sees records through: pushed, listed, released, followed, merged, withdrawn.
func (b *bench) life(t *testing.T) {
	lines, refs := persons(t, 3)
	writeFile(t, b.path("records.jsonl"), lines)
	intake, officer := "@xa/system-intake.yaml", "@xb/officer-lind.yaml"

	var tally cli.Tally
	decode(t, b.must("push", "@records.jsonl", "--config", intake, "--output", "json"), &tally)
	if tally.Accepted != 3 || tally.Rejected != 0 {
		t.Fatalf("pushed: %+v", tally)
	}
	decode(t, b.must("push", "@records.jsonl", "--config", intake, "--output", "json"), &tally)
	if tally.Duplicates != 3 {
		t.Errorf("pushed again: %+v", tally)
	}
	if list := b.must("list", "--config", intake); !holdsAll(list, refs) {
		t.Errorf("the list lacks a record:\n%s", list)
	}
	b.refused(cli.ExitNotFound, "", "get", "no-such-record", "--config", intake)
	b.refused(cli.ExitRefused, "", "push", "@records.jsonl", "--config", "@xa/operator-ops.yaml")

	team := b.start(true, "follow", "--config", "@xb/system-intake.yaml", "--output", "json")
	defer team.end()
	b.must("release", refs[0], "--to", "all", "--config", intake)
	team.await(`"owner":"XA"`, `"kind":"person"`)
	// The project reaches XB only when XA's node has handed it its chain, so this release shows that it has.
	b.must("release", refs[1], "--to", "project:harbour-light", "--config", intake)
	team.await(`"owner":"XA"`, `"record"`)

	// Only one of the two is for the coordinator, who is not in the project.
	view := []string{"view", "entities", "--config", officer, "--output", "json"}
	if seen := b.eventually(`"entities"`, view...); entities(t, seen) != 1 {
		t.Errorf("the coordinator merges %d entities, want 1:\n%s", entities(t, seen), seen)
	}
	b.must("withdraw", refs[0], "--reason", "inaccurate", "--config", intake)
	team.await(`"owner":"XA"`, `"withdrawal"`, "INACCURATE")
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); entities(t, b.must(view...)) > 0; <-again.C {
		if time.Now().After(deadline) {
			t.Fatal("what was withdrawn is still in the view")
		}
	}
	if status := b.must("status", "--config", "@xa/operator-ops.yaml"); !strings.Contains(status, "harbour-light") {
		t.Errorf("the status lacks the project's stream:\n%s", status)
	}
	b.refused(cli.ExitUsage, "stop the node first", "verify", "--config", "@xa/node.yaml")
}

// entities counts those of a view.
func entities(t *testing.T, text string) int {
	t.Helper()
	view := &ententev1.GetViewResponse{}
	err := protojson.Unmarshal([]byte(text), view)
	if err != nil {
		t.Fatalf("%q is no view: %v", text, err)
	}
	return len(view.GetEntities())
}

// verifyAll checks the data files of the stopped nodes, and that damage is found: a check that cannot fail checks nothing.
func (b *bench) verifyAll(t *testing.T) {
	for _, folder := range []string{"coord", "xa", "xb"} {
		var got verified
		decode(t, b.must("verify", "--config", "@"+folder+"/node.yaml", "--output", "json"), &got)
		if got.Streams < 1 || got.Entries < 3 || len(got.Damage) != 0 {
			t.Errorf("%s: %+v", folder, got)
		}
		if folder == "xa" && (got.Records != 3 || got.Payloads < 2) {
			t.Errorf("xa: %+v", got)
		}
	}
	b.must("verify", "--data", "@xa/node.db", "--sealing-key", "@xa/sealing.key")
	b.refused(cli.ExitUsage, "key", "verify", "--data", "@xa/node.db", "--sealing-key", "@xb/sealing.key")

	content, err := os.ReadFile(b.path("xa", "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	// Most pages are free or hold nothing yet; the first one whose damage is noticed will do.
	const page = 4096
	for at := 2 * page; at < 512*page; at += page {
		damaged := bytes.Clone(content)
		for i := at; i < at+page; i++ {
			damaged[i] ^= 0x10
		}
		writeFile(t, b.path("damaged.db"), string(damaged))
		code, stdout, _ := b.try("verify", "--data", "@damaged.db", "--sealing-key", "@xa/sealing.key", "--output", "json")
		if code == cli.ExitOK {
			continue
		}
		var got verified
		decode(t, stdout, &got)
		if code != cli.ExitFailed || len(got.Damage) == 0 {
			t.Errorf("damage at byte %d: exit code %d, %q", at, code, stdout)
		}
		return
	}
	t.Error("no damage was found, wherever the file was damaged")
}
