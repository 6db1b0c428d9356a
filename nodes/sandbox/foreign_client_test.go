package sandbox_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"entente.example/entente/client"
	"entente.example/entente/nodes/sandbox"
	"entente.example/entente/proto/member"
)

const (
	// exampleClient is the complete client in another language.
	exampleClient = "../../docs/examples/node"
	patience      = 30 * time.Second
)

// bundle is a folder with the .proto files as they are published: that of ENTENTE_PROTOS, or the sources.
func bundle() string {
	given := os.Getenv("ENTENTE_PROTOS")
	if given != "" {
		return given
	}
	return "../../proto"
}

// foreign finds the program that runs the client, and skips, saying what to do, where it cannot run.
func foreign(t *testing.T) string {
	t.Helper()
	skip := func(format string, args ...any) {
		t.Helper()
		t.Skipf("THE CLIENT IN ANOTHER LANGUAGE IS NOT CHECKED: "+format, args...)
	}
	program := os.Getenv("ENTENTE_NODEJS")
	if program == "" {
		program = "node"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		skip("there is no %s; install Node.js 22.20, 24.5 or later, or name it in ENTENTE_NODEJS", program)
	}
	out, err := exec.Command(path, "-p", "process.versions.openssl").Output()
	if err != nil {
		skip("%s does not run: %v", path, err)
	}
	if !offersHybrid(strings.TrimSpace(string(out))) {
		skip("the OpenSSL of %s is %s; the key exchange of nodes needs 3.5 (Node.js 22.20, 24.5 or later; ENTENTE_NODEJS)", path, strings.TrimSpace(string(out)))
	}
	script := exec.Command(path, "-e", `require("@grpc/grpc-js"); require("@grpc/proto-loader"); require("protobufjs")`)
	script.Dir = exampleClient
	if script.Run() != nil {
		skip("its packages are missing: run `npm install` in docs/examples/node, or name a node_modules folder in NODE_PATH")
	}
	return path
}

// offersHybrid says whether a version of OpenSSL knows X25519MLKEM768.
func offersHybrid(version string) bool {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return false
	}
	major, errMajor := strconv.Atoi(parts[0])
	minor, errMinor := strconv.Atoi(parts[1])
	return errors.Join(errMajor, errMinor) == nil && (major > 3 || major == 3 && minor >= 5)
}

// world is a running sandbox and the client.
type world struct {
	t          *testing.T
	program    string
	dir        string
	federation *sandbox.Federation
}

func newWorld(t *testing.T, program string) *world {
	t.Helper()
	w := &world{t: t, program: program, dir: t.TempDir()}
	var err error
	w.federation, err = sandbox.New(sandbox.Options{Members: []member.ID{"XA", "XB"}, Dir: w.dir, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.federation.Run(ctx) }() // until the test ends
	t.Cleanup(func() {
		cancel()
		err := <-ended
		if err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) files(id member.ID, kind member.Kind, name string) client.Files {
	w.t.Helper()
	files, err := w.federation.Issue(id, kind, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}

// run runs the client as somebody at the own member's node and gives what it printed and its exit code.
func (w *world) run(id member.ID, files client.Files, args ...string) (text string, code int) {
	w.t.Helper()
	return w.runAt(w.federation.Address(id), id, files, args...)
}

func (w *world) runAt(address string, id member.ID, files client.Files, args ...string) (text string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	protos, err := filepath.Abs(bundle())
	if err != nil {
		w.t.Fatal(err)
	}
	settings := []string{"main.js", "--protos", protos, "--address", address, "--member", string(id),
		"--certificate", files.Certificate, "--key", files.Key, "--authorities", files.Authorities,
		"--purpose", "PURPOSE_CRIMINAL_INVESTIGATION", "--case", "2026-17"}
	command := exec.CommandContext(ctx, w.program, append(settings, args...)...)
	command.Dir = exampleClient
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err = command.Run()
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("%v: %v", args, err)
	}
	return out.String(), command.ProcessState.ExitCode()
}

func (w *world) must(id member.ID, files client.Files, args ...string) string {
	w.t.Helper()
	text, code := w.run(id, files, args...)
	if code != 0 {
		w.t.Fatalf("%v ended with %d:\n%s", args, code, text)
	}
	return text
}

const head = `{"envelope":{"provider_reference":%q,"version":"1","recorded_at":"2026-02-21T08:30:00.5Z","retain_until":"2031-02-20T00:00:00Z",` +
	`"purpose":"PURPOSE_CRIMINAL_INVESTIGATION","assertion":"ASSERTION_KIND_FACT","evaluation":{"scheme":"EVALUATION_SCHEME_4X4",` +
	`"source_code":"A","information_code":"1"},"handling":{"codes":["HANDLING_CODE_H1"]}},"body":`

func personLine(reference, family string) string {
	return fmt.Sprintf(head+`{"person":{"names":[{"type":"NAME_TYPE_PRIMARY","family":%q}],"status":"PERSON_STATUS_SUSPECT","suspicion_basis":"file 7"}}}`+"\n", reference, family)
}

func practiceLine(reference, title string) string {
	return fmt.Sprintf(head+`{"good_practice":{"state":"LESSON_STATE_VALIDATED","tlp":"TLP_GREEN","sanitised":true,"description":"Weigh again.",`+
		`"context":{"title":%q,"language":"fr-CA"},"endorsements":[{"member":"XB"}]}}}`+"\n", reference, title)
}

func TestTheClientInAnotherLanguagePushesReleasesFollowsAndListsTheLibrary(t *testing.T) {
	w := newWorld(t, foreign(t))
	system := w.files("XA", member.KindSystem, sandbox.System)
	bad := strings.Replace(personLine("P-3", "Moskel"), `"retain_until":"2031-02-20T00:00:00Z",`, "", 1)

	text, code := w.run("XA", system, "push", w.write("r.jsonl", personLine("P-1", "Varrin")+personLine("P-2", "Okon")+personLine("P-1", "Varrin")+bad))
	want := "P-1 OUTCOME_ACCEPTED\nP-2 OUTCOME_ACCEPTED\nP-1 OUTCOME_DUPLICATE\nP-3 OUTCOME_REJECTED envelope.retain_until: value is required\n"
	if text != want || code != 3 {
		t.Errorf("push: exit code %d\n%s", code, text)
	}
	text = w.must("XA", system, "release", "P-1", "--to", "XB")
	if text != "P-1 OUTCOME_ACCEPTED RELEASE_STATE_RELEASED\n" {
		t.Errorf("release:\n%s", text)
	}
	w.must("XA", system, "push", w.write("l.jsonl", practiceLine("GP-1", "Peser deux fois")), "--to", "all-future")

	reader := w.files("XB", member.KindSystem, sandbox.System)
	cursor := filepath.Join(w.dir, "cursor")
	got := w.follow(reader, cursor, " person\n", " good_practice\n")
	if strings.Count(got, "XA ") != 2 || !strings.HasSuffix(got, "current\n") {
		t.Errorf("follow:\n%s", got)
	}
	again := w.must("XB", reader, "follow", "--cursor-file", cursor)
	if again != "current\n" {
		t.Errorf("from the cursor on, what had come comes again:\n%s", again)
	}
	w.must("XA", system, "release", "P-2", "--to", "project:"+sandbox.Project)
	got = w.follow(reader, cursor, " person\n")
	if strings.Count(got, "XA ") != 1 {
		t.Errorf("from the cursor on:\n%s", got)
	}

	officer := w.files("XB", member.KindOfficer, sandbox.Officer)
	text = w.must("XB", officer, "library", "--language", "fr", "--endorsed", "1")
	if text != "XA LESSON_STATE_VALIDATED fr-CA Peser deux fois\n" {
		t.Errorf("library:\n%s", text)
	}
	text = w.must("XB", officer, "library", "--language", "en")
	if text != "" {
		t.Errorf("library in a language that nothing is in:\n%s", text)
	}
}

// follow follows until all parts have come, in as many calls as it takes, each from the cursor of the one before.
func (w *world) follow(files client.Files, cursor string, parts ...string) string {
	w.t.Helper()
	var all strings.Builder
	for range 50 { // a call takes a quarter of a second
		all.WriteString(w.must("XB", files, "follow", "--cursor-file", cursor))
		missing := false
		for _, part := range parts {
			missing = missing || !strings.Contains(all.String(), part)
		}
		if !missing {
			return all.String()
		}
	}
	w.t.Fatalf("no %q in\n%s", parts, all.String())
	return ""
}

// What the client must refuse or report at once: a node that is not its member's, and a certificate that its node refuses.
func TestTheClientInAnotherLanguageTrustsNobodyElse(t *testing.T) {
	w := newWorld(t, foreign(t))
	own, other := w.files("XA", member.KindSystem, sandbox.System), w.files("XB", member.KindSystem, sandbox.System)
	officer := w.files("XA", member.KindOfficer, sandbox.Officer)

	impostor := own
	impostor.Authorities = other.Authorities
	for name, test := range map[string]struct {
		files client.Files
		as    member.ID
		says  string
	}{
		"a node of an authority that it does not know": {impostor, "XA", "certificate"},
		"a certificate that the node refuses":          {client.Files{Certificate: other.Certificate, Key: other.Key, Authorities: own.Authorities}, "XA", "alert"},
		"a method that is closed to its identity":      {officer, "XA", "closed to this kind"},
	} {
		text, code := w.run(test.as, test.files, "release", "P-1", "--to", "XB")
		if code != 1 || !strings.Contains(text, test.says) {
			t.Errorf("%s: exit code %d\n%s", name, code, text)
		}
	}
	// The right authority and the wrong name: an officer's certificate in the place of the node is refused by its SPIFFE ID.
	// Here the client asks for another member's node at an address where XA's answers.
	w.wrongName(own)
}

func (w *world) wrongName(files client.Files) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, w.program, "-e", `
const entente = require('./entente.js');
const [protos, address, certificate, key, authorities] = process.argv.slice(1);
const client = entente.connect(entente.readContract(protos), address, 'XQ', { certificate, key, authorities });
entente.unary(client.intake, 'release', {}, 10).then(() => console.log('taken'), error => console.log(error.details)).finally(() => client.close());
`, "--", mustAbs(w.t, bundle()), w.federation.Address("XA"), files.Certificate, files.Key, files.Authorities)
	command.Dir = exampleClient
	out, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "spiffe://xa.entente/node, not for spiffe://xq.entente/node") {
		w.t.Errorf("a node of another name: %v\n%s", err, out)
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// Over a connection that breaks in the middle each record gets one verdict, in order, and is held once.
func TestTheClientInAnotherLanguagePushesThroughABrokenConnection(t *testing.T) {
	w := newWorld(t, foreign(t))
	system := w.files("XA", member.KindSystem, sandbox.System)
	const records = 3000
	var lines, want strings.Builder
	for i := range records {
		lines.WriteString(personLine(fmt.Sprintf("P-%d", i), "Varrin"))
		fmt.Fprintf(&want, "P-%d\n", i)
	}
	proxy := newCutter(t, w.federation.Address("XA"), 150_000)
	text, code := w.runAt(proxy.address, "XA", system, "push", w.write("many.jsonl", lines.String()), "--patience", "2")
	var got strings.Builder
	for line := range strings.Lines(text) {
		reference, outcome, _ := strings.Cut(strings.TrimSpace(line), " ")
		if outcome != "OUTCOME_ACCEPTED" && outcome != "OUTCOME_DUPLICATE" {
			t.Errorf("%q", line)
		}
		got.WriteString(reference + "\n")
	}
	if code != 0 || got.String() != want.String() {
		t.Errorf("exit code %d, %d lines for %d records", code, strings.Count(text, "\n"), records)
	}
	if proxy.cuts.Load() != 1 {
		t.Errorf("the connection was cut %d times, the test means once", proxy.cuts.Load())
	}
}

// cutter passes connections on and breaks the first one after so many bytes to the node.
type cutter struct {
	address string
	cuts    atomic.Int32
}

func newCutter(t *testing.T, node string, after int64) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{address: listener.Addr().String()}
	var open sync.WaitGroup
	open.Go(func() { // ends with the listener
		limit := after
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			most := limit
			limit = math.MaxInt64
			open.Go(func() { c.pass(from, node, most) }) // ends with the connection
		}
	})
	t.Cleanup(func() {
		listener.Close()
		open.Wait()
	})
	return c
}

func (c *cutter) pass(from net.Conn, node string, most int64) {
	defer from.Close()
	to, err := net.Dial("tcp", node)
	if err != nil {
		return
	}
	defer to.Close()
	// The client is told by a reset. Whether it hears that, it must go on.
	_ = from.(*net.TCPConn).SetLinger(0)
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(from, to) })
	passed, _ := io.CopyN(to, from, most)
	if passed == most {
		c.cuts.Add(1)
		from.Close()
	}
	to.Close()
	back.Wait()
}
