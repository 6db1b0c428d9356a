package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// secretWord stands in the exported records.
const secretWord = "Varrin of the harbour"

func (f *fakeNode) ExportStreams(r *ententev1.ExportStreamsRequest, out grpc.ServerStreamingServer[ententev1.ExportStreamsResponse]) error {
	if r.GetReader() == "XD" {
		return status.Error(codes.InvalidArgument, "not a member")
	}
	entries := &ententev1.EntryBatch{Entries: []*ententev1.Entry{{Payload: []byte(secretWord)}, {Payload: bytes.Repeat([]byte{1}, 200_000)}}}
	sum := sha256.New()
	all := []*ententev1.ExportStreamsResponse{
		{Content: &ententev1.ExportStreamsResponse_Header{Header: &ententev1.ExportHeader{Exporter: "XA", Reader: r.GetReader()}}},
		{Content: &ententev1.ExportStreamsResponse_Owner{Owner: "XA"}},
		{Content: &ententev1.ExportStreamsResponse_Pull{Pull: &ententev1.PullResponse{Content: &ententev1.PullResponse_Entries{Entries: entries}}}},
	}
	for _, m := range all {
		encoded, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(encoded))))
		sum.Write(encoded)
		err = out.Send(m)
		if err != nil {
			return err
		}
	}
	if r.GetUnconfirmedOnly() {
		return status.Error(codes.Unavailable, "the node stops in the middle")
	}
	end := &ententev1.ExportEnd{Messages: uint64(len(all)), Sha256: sum.Sum(nil)}
	return out.Send(&ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_End{End: end}})
}

func (f *fakeNode) ImportStreams(in grpc.ClientStreamingServer[ententev1.ImportStreamsRequest, ententev1.ImportStreamsResponse]) error {
	checkOnly := false
	var count uint64
	for {
		request, err := in.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		checkOnly = checkOnly || request.GetOptions().GetCheckOnly()
		count++
	}
	f.mu.Lock()
	f.cursors = append(f.cursors, fmt.Appendf(nil, "check only: %v", checkOnly)) // the node's memory of what it was asked
	f.mu.Unlock()
	return in.SendAndClose(&ententev1.ImportStreamsResponse{Receipts: 1, Owners: []*ententev1.ImportedStreams{{Owner: "XB", Streams: 1, Entries: count, Note: "frozen\x1b[2J"}}})
}

// imports are those that came whole: whether only to check.
func (f *fakeNode) imports() []bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []bool
	for _, line := range f.cursors {
		list = append(list, string(line) == "check only: true")
	}
	return list
}

// stream runs a command of the group.
func (d *desk) stream(t *testing.T, args ...string) result {
	t.Helper()
	var out, problems bytes.Buffer
	env := Env{Stdin: strings.NewReader(d.stdin), Stdout: &out, Stderr: &problems, Now: time.Now, Getenv: func(name string) string { return d.env[name] }}
	c := streamCommand(env)
	c.SilenceErrors = true
	c.SetArgs(args)
	failure := c.ExecuteContext(t.Context())
	return result{out.String(), problems.String(), failure}
}

func TestAnExportIsSealedAndImportedAfterACheckOfAllOfIt(t *testing.T) {
	d := newDesk(t)
	secret := d.write(t, "secret.txt", "correct horse battery\n")
	path := filepath.Join(d.folder, "xb.streams")
	r := d.stream(t, "export", "--for", "XB", "--out", path, "--passphrase-file", secret)
	if r.failure != nil || !strings.Contains(r.out, "for XB, 0 receipts") {
		t.Fatalf("%v\n%s", r.failure, r.out)
	}
	sealed, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(sealed, []byte(sealedMagic)) || bytes.Contains(sealed, []byte(secretWord)) {
		t.Fatalf("the file is not sealed (%v): %.30q", err, sealed)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("permissions of the file: %v, %v", info.Mode(), err)
	}
	r = d.stream(t, "import", path, "--passphrase-file", secret)
	if r.failure != nil || !strings.Contains(r.out, "taken; 1 receipts") || strings.Contains(r.out, "\x1b") {
		t.Errorf("%v\n%s", r.failure, r.out)
	}
	if got := d.node.imports(); len(got) != 2 || !got[0] || got[1] {
		t.Errorf("check_only of the imports: %v, want a check and then the import", got)
	}
	r = d.stream(t, "import", path, "--passphrase-file", secret, "--check-only", "--output", "json")
	if r.failure != nil || len(d.node.imports()) != 3 || !strings.HasPrefix(r.out, `{"owners":[{"owner":"XB"`) {
		t.Errorf("%v\n%s", r.failure, r.out)
	}

	sealed[len(sealed)-100_000] ^= 1 // in the middle of what is sealed
	altered := filepath.Join(d.folder, "altered.streams")
	err = os.WriteFile(altered, sealed, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r = d.stream(t, "import", altered, "--passphrase-file", secret)
	if r.failure == nil || len(d.node.imports()) != 3 {
		t.Errorf("an altered file: %v, %d imports", r.failure, len(d.node.imports()))
	}
}

func TestWhatStreamCommandsRefuse(t *testing.T) {
	d := newDesk(t)
	secret := d.write(t, "secret.txt", "correct horse battery\n")
	short := d.write(t, "short.txt", "horse\n")
	empty := d.write(t, "empty.txt", "")
	there := d.write(t, "there.streams", "something")
	plain := filepath.Join(d.folder, "plain.streams")
	r := d.stream(t, "export", "--for", "XB", "--out", plain, "--unencrypted")
	if r.failure != nil {
		t.Fatal(r.failure)
	}
	text, err := os.ReadFile(plain)
	if err != nil || !bytes.Contains(text, []byte(secretWord)) { // positive control of the sealing
		t.Errorf("the unsealed file (%v): %.30q", err, text)
	}
	cut := d.write(t, "cut.streams", string(text[:len(text)-5]))
	out := filepath.Join(d.folder, "new.streams")
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"an export that is not said to be sealed or not", []string{"export", "--for", "XB", "--out", out}, ExitUsage, "--passphrase-file"},
		{"both", []string{"export", "--for", "XB", "--out", out, "--unencrypted", "--passphrase-file", secret}, ExitUsage, "exclude"},
		{"a short passphrase", []string{"export", "--for", "XB", "--out", out, "--passphrase-file", short}, ExitUsage, "shorter"},
		{"an empty passphrase", []string{"export", "--for", "XB", "--out", out, "--passphrase-file", empty}, ExitUsage, "empty"},
		{"no reader", []string{"export", "--out", out, "--unencrypted"}, ExitUsage, "--for"},
		{"a file that is there", []string{"export", "--for", "XB", "--out", there, "--unencrypted"}, ExitUsage, "there already"},
		{"a reader that the node refuses", []string{"export", "--for", "XD", "--out", out, "--unencrypted"}, ExitFailed, "not a member"},
		{"a node that ends in the middle", []string{"export", "--for", "XB", "--out", out, "--unencrypted", "--unconfirmed-only"}, ExitUnreachable, "not reachable"},
		{"an import of nothing", []string{"import", filepath.Join(d.folder, "none")}, ExitUsage, "none"},
		{"an import of something else", []string{"import", there}, ExitFailed, "does not begin like one"},
		{"an import that is cut", []string{"import", cut}, ExitFailed, "was cut"},
		{"a passphrase for a file that is not sealed", []string{"import", plain, "--passphrase-file", secret}, ExitUsage, "not sealed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := d.stream(t, tt.args...)
			if ExitCode(r.failure) != tt.code || !strings.Contains(r.failure.Error(), tt.want) {
				t.Errorf("exit code %d, %v; want %d and %q", ExitCode(r.failure), r.failure, tt.code, tt.want)
			}
		})
	}
	left, err := filepath.Glob(filepath.Join(d.folder, "new.streams*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if len(d.node.imports()) > 0 {
		t.Errorf("%d imports reached their end", len(d.node.imports()))
	}
}

// A sealed file does not open with another passphrase.
func TestASealedFileOpensWithItsPassphraseAlone(t *testing.T) {
	var file bytes.Buffer
	w, err := seal(&file, "correct horse battery")
	if err == nil {
		_, err = io.WriteString(w, secretWord)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	opened, err := unseal(bytes.NewReader(file.Bytes()), "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(opened)
	if err != nil || string(text) != secretWord {
		t.Errorf("opened as %q, %v", text, err)
	}
	_, err = unseal(bytes.NewReader(file.Bytes()), "correct horse batterz")
	if err == nil || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("with another passphrase: %v", err)
	}
	_, err = unseal(bytes.NewReader(file.Bytes()), "")
	if ExitCode(err) != ExitUsage {
		t.Errorf("without a passphrase: %v", err)
	}
}
