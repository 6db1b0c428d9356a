package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func (f *fakeNode) Backup(r *ententev1.BackupRequest, call grpc.ServerStreamingServer[ententev1.BackupResponse]) error {
	switch r.GetName() {
	case "taken.db":
		return status.Error(codes.AlreadyExists, "backup /srv/backups/taken.db: there is already a file of that name; give another name")
	case "torn.db":
		return call.Send(&ententev1.BackupResponse{WrittenBytes: 5, TotalBytes: 10})
	}
	for i := range uint64(3) {
		err := call.Send(&ententev1.BackupResponse{WrittenBytes: i * 1_000_000, TotalBytes: 2_000_000})
		if err != nil {
			return err
		}
	}
	return call.Send(&ententev1.BackupResponse{WrittenBytes: 2_000_000, TotalBytes: 2_000_000, Result: &ententev1.BackupResult{
		Path: "/srv/backups/" + r.GetName(), Sha256: []byte{0xab, 0xcd}, Values: 42,
		TakenAt: timestamppb.New(time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)),
	}})
}

func (f *fakeNode) Reseal(_ *ententev1.ResealRequest, call grpc.ServerStreamingServer[ententev1.ResealResponse]) error {
	f.mu.Lock()
	torn := f.known["torn"]
	f.mu.Unlock()
	err := call.Send(&ententev1.ResealResponse{Done: 5, Total: 10, Resealed: 4})
	if err != nil || torn {
		return err
	}
	return call.Send(&ententev1.ResealResponse{Done: 10, Total: 10, Resealed: 9})
}

func TestBackupAndResealSayWhatTheNodeDid(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		code int
		out  []string // parts of stdout, or of the error where code is not 0
	}{
		{"backup names path, size, sum and what is not in it", "backup --name a.db", 0,
			[]string{"/srv/backups/a.db", "2000000 bytes, 42 values", "abcd", "sealing key"}},
		{"backup under a name that is taken", "backup --name taken.db", ExitFailed, []string{"already a file of that name; give another name"}},
		{"backup that ends without a result", "backup --name torn.db", ExitFailed, []string{"without a result"}},
		{"backup with an argument", "backup a.db", ExitUsage, []string{"--help"}},
		{"reseal counts values", "reseal", 0, []string{"9 of 10 values sealed anew"}},
		{"reseal gives JSON", "reseal -o json", 0, []string{`{"resealed":9,"values":10}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := newDesk(t).run(t, strings.Fields(test.args)...)
			if ExitCode(got.failure) != test.code {
				t.Fatalf("exit code %d, want %d: %v", ExitCode(got.failure), test.code, got.failure)
			}
			text := got.out
			if got.failure != nil {
				text = got.failure.Error()
			}
			for _, part := range test.out {
				if !strings.Contains(text, part) {
					t.Errorf("%q is missing in:\n%s", part, text)
				}
			}
			if got.err != "" {
				t.Errorf("progress although stderr is no terminal: %q", got.err)
			}
		})
	}
	t.Run("backup gives JSON, and progress to a terminal only", func(t *testing.T) {
		d := newDesk(t)
		d.tty = true
		got := d.run(t, "backup", "--name", "a.db", "--output", "json")
		var said backupJSON
		err := json.Unmarshal([]byte(got.out), &said)
		if err != nil || said != (backupJSON{"/srv/backups/a.db", 2_000_000, "abcd", 42, "2026-11-24T06:00:00Z"}) {
			t.Errorf("%v: %s", err, got.out)
		}
		if !strings.Contains(got.err, "of 2.0 MB written") || !strings.HasSuffix(got.err, "\r\x1b[K") {
			t.Errorf("progress %q", got.err)
		}
	})
	t.Run("reseal that is cut short is no success", func(t *testing.T) {
		d := newDesk(t)
		d.node.known["torn"] = true
		got := d.run(t, "reseal")
		if ExitCode(got.failure) != ExitFailed || !strings.Contains(got.failure.Error(), "without a result") {
			t.Errorf("exit code %d: %v", ExitCode(got.failure), got.failure)
		}
	})
}
