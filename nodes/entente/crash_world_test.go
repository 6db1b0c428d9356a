package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// The members of the federation under test: two countries and a coordinator.
const (
	xa = member.ID("XA")
	xb = member.ID("XB")
	xc = member.ID("XC")
)

// patience is how long anything may take that only waits for processes on a busy machine.
const patience = 90 * time.Second

// world is a federation whose nodes are processes of the real program.
type world struct {
	t      testing.TB
	binary string
	fed    *federation.Federation
	places map[member.ID]*place
}

// place is one member: its files, and its node while it runs.
type place struct {
	*world
	seat    *federation.Seat
	dir     string
	address string
	command string // node or coordinator
	limit   int    // of the data file in bytes, 0 for none
	run     *running
	log     *journal
}

// buildProgram builds the program as `make build` does.
func buildProgram(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "entente")
	built, err := exec.Command("go", "build", "-tags", "grpcnotrace,retrynotrace", "-o", binary, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build the program: %v\n%s", err, built)
	}
	return binary
}

// newWorld founds the federation, writes what each node needs and initialises it by the command. Nothing runs yet.
func newWorld(t testing.TB, binary string) *world {
	t.Helper()
	w := &world{t: t, binary: binary, places: map[member.ID]*place{}}
	var err error
	w.fed, err = federation.Found([]member.ID{xa, xb, xc}, []member.ID{xc}, rand.Reader, time.Now, 24*time.Hour)
	w.must(err)
	folder := t.TempDir()
	for _, seat := range w.fed.Seats {
		p := &place{world: w, seat: seat, dir: filepath.Join(folder, string(seat.ID)), address: freeAddress(t), command: "node", log: newJournal()}
		if seat.Kind == ententev1.MemberKind_MEMBER_KIND_COORDINATOR {
			p.command = "coordinator"
		}
		seat.Addresses = []string{p.address}
		w.places[seat.ID] = p
	}
	roster, err := w.fed.Roster()
	w.must(err)
	for _, p := range w.places {
		p.write(roster)
		p.mustCommand(p.command, "init", "--config", p.path("node.yaml"))
	}
	t.Cleanup(w.stopAll)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// stopAll leaves no process behind, and shows what the nodes said where the test failed.
func (w *world) stopAll() {
	for id, p := range w.places {
		if p.run != nil {
			p.kill()
		}
		if w.t.Failed() {
			w.t.Logf("last lines of %s:\n%s", id, strings.Join(p.log.last(25), "\n"))
		}
	}
}

// freeAddress finds a port for a node that comes back to it after each kill: below those that systems give to outgoing
// connections, so that nobody takes it meanwhile.
func freeAddress(t testing.TB) string {
	t.Helper()
	var draw [2]byte
	for range 200 {
		_, err := rand.Read(draw[:])
		if err != nil {
			t.Fatal(err)
		}
		address := fmt.Sprintf("127.0.0.1:%d", 12_000+(int(draw[0])<<8|int(draw[1]))%18_000)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		listener.Close()
		return address
	}
	t.Fatal("no free port was found")
	return ""
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// write puts the member's keys, certificate, roster and configuration where the node looks for them.
func (p *place) write(roster *member.Roster) {
	p.t.Helper()
	p.must(os.MkdirAll(p.dir, 0o700))
	signing, err := member.EncodePrivateKey(p.seat.Signing)
	p.must(err)
	document, err := proto.Marshal(roster.Document())
	p.must(err)
	certificate, key, err := p.seat.Authority.Issue(member.Identity{Member: p.seat.ID, Kind: member.KindNode}, rand.Reader, time.Now(), time.Hour*24, nil)
	p.must(err)
	for name, content := range map[string][]byte{
		"signing-key.key": signing, "roster.pb": document, "node.pem": certificate, "node.key": key,
		"id.key": []byte(hex.EncodeToString(p.seat.IDKey) + "\n"),
	} {
		p.must(os.WriteFile(p.path(name), content, 0o600))
	}
	p.configure()
}

// configure writes the node's configuration.
func (p *place) configure() {
	p.t.Helper()
	text := fmt.Sprintf("member: %s\nlisten: %s\nfederation: %x\nmax_bytes: %d\nsystems:\n  - name: registry\n    authority: Police %s\n    projects: [\"*\"]\n    clearance: confidential\n"+
		"officers:\n  - name: vera\n    purposes: [criminal-investigation]\n    projects: [\"*\"]\n    clearance: confidential\n",
		p.seat.ID, p.address, p.fed.ID, p.limit, p.seat.ID)
	p.must(os.WriteFile(p.path("node.yaml"), []byte(text), 0o600))
}

// tryCommand runs a command of the program to its end.
func (p *place) tryCommand(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	said, err := exec.CommandContext(ctx, p.binary, args...).CombinedOutput()
	return string(said), err
}

func (p *place) mustCommand(args ...string) string {
	p.t.Helper()
	said, err := p.tryCommand(args...)
	if err != nil {
		p.t.Fatalf("entente %s: %v\n%s", strings.Join(args, " "), err, said)
	}
	return said
}

// killCommand runs a command and kills it after a time, if it still runs.
func (p *place) killCommand(after time.Duration, args ...string) {
	p.t.Helper()
	command := exec.Command(p.binary, args...)
	p.must(command.Start())
	timer := time.AfterFunc(after, func() { _ = command.Process.Kill() }) // it may have ended
	defer timer.Stop()
	_ = command.Wait() // killed or not: what it left behind is judged
}

// verify checks the data file of a node that does not run.
func (p *place) verify() {
	p.t.Helper()
	p.mustCommand("verify", "--config", p.path("node.yaml"))
}

// launch starts the node and does not wait until it serves.
func (p *place) launch() {
	p.t.Helper()
	if p.run != nil {
		p.t.Fatalf("%s runs already", p.seat.ID)
	}
	command := exec.Command(p.binary, p.command, "run", "--config", p.path("node.yaml"))
	output, err := command.StderrPipe()
	p.must(err)
	p.must(command.Start())
	p.run = &running{command: command, started: make(chan struct{}), ended: make(chan struct{})}
	go p.run.watch(output, p.log) // ends with the process
}

// start starts the node and waits until it says so.
func (p *place) start() {
	p.t.Helper()
	p.launch()
	p.awaitStart()
}

func (p *place) awaitStart() {
	p.t.Helper()
	select {
	case <-p.run.started:
	case <-p.run.ended:
		p.t.Fatalf("the node of %s ended at its start: %v", p.seat.ID, p.run.err)
	case <-time.After(patience):
		p.t.Fatalf("the node of %s does not start", p.seat.ID)
	}
}

// kill is kill -9.
func (p *place) kill() {
	_ = p.run.command.Process.Kill() // it may have ended by itself: the test sees that elsewhere
	<-p.run.ended
	p.run = nil
}

// stop asks for an orderly end and waits for it.
func (p *place) stop() {
	p.t.Helper()
	p.must(p.run.command.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.run.ended:
	case <-time.After(patience):
		p.t.Fatalf("the node of %s does not stop", p.seat.ID)
	}
	if p.run.err != nil {
		p.t.Fatalf("the node of %s did not stop in order: %v", p.seat.ID, p.run.err)
	}
	p.run = nil
}

// dial connects somebody of the member to its node. Calls that last go on through any number of crashes.
func (p *place) dial(kind member.Kind, name string) *client.Client {
	p.t.Helper()
	pair, err := p.fed.Certificate(member.Identity{Member: p.seat.ID, Kind: kind, Name: name})
	p.must(err)
	c, err := client.Dial(client.Config{Address: p.address, Member: p.seat.ID, Authorities: p.seat.Authority.Pool(), GiveUpAfter: -1,
		Certificate: func() (*tls.Certificate, error) { return pair, nil }})
	p.must(err)
	p.t.Cleanup(func() { c.Close() })
	return c
}

func (p *place) system() *client.Client { return p.dial(member.KindSystem, "registry") }

// ownStreams counts the streams that the member owns, as its operator sees them.
func (p *place) ownStreams() int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, err := p.dial(member.KindOperator, "operator").Status(ctx)
	p.must(err)
	count := 0
	for _, s := range status.GetStreams() {
		if s.GetOwner() == string(p.seat.ID) {
			count++
		}
	}
	return count
}

// running is one process of a node.
type running struct {
	command *exec.Cmd
	started chan struct{} // closed when the node says that it has started
	ended   chan struct{} // closed when the process is gone
	err     error         // why, once ended is closed
}

// watch reads what the node says until it ends.
func (r *running) watch(output io.Reader, log *journal) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	said := false
	for lines.Scan() {
		log.add(lines.Text())
		if !said && strings.Contains(lines.Text(), "node started") {
			said = true
			close(r.started)
		}
	}
	r.err = r.command.Wait()
	close(r.ended)
}

// journal is what a node has said over all its runs.
type journal struct {
	mu       sync.Mutex // covers all below
	lines    []string
	alarming []string
}

func newJournal() *journal { return &journal{} }

// alarms are words that no node says while every other keeps to the rules: of a fork, of bytes of a stream that it refuses,
// of a mistake in the program.
func alarms() []string {
	return []string{"two histories", `error="stream `, "panic", "level=ERROR"}
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	if len(j.lines) > 2000 {
		j.lines = slices.Clone(j.lines[1000:])
	}
	for _, word := range alarms() {
		if strings.Contains(line, word) {
			j.alarming = append(j.alarming, line)
			return
		}
	}
}

func (j *journal) last(count int) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines[max(0, len(j.lines)-count):])
}

// alarmed gives the alarming lines.
func (j *journal) alarmed() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.alarming)
}

// calm says that no node has raised an alarm.
func (w *world) calm() {
	w.t.Helper()
	for id, p := range w.places {
		for _, line := range p.log.alarmed() {
			w.t.Errorf("%s says: %s", id, line)
		}
	}
}

// copyFile copies the data file of a node that does not run.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(to, content, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	back, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(back, content) {
		t.Fatalf("copy of %s: %v", from, err)
	}
}
