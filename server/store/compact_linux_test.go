package store

import (
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// The system refuses to write a file beyond a limit of the process, as it refuses on a full disk or beyond a quota.
func TestACompactionWithoutRoomLeavesNothing(t *testing.T) {
	opts := newFile(t)
	s, m, random := filledStore(t, opts)
	signal.Ignore(syscall.SIGXFSZ) // which would end the process
	defer signal.Reset(syscall.SIGXFSZ)
	var had syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &had))
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: had.Max}))
	_, err := s.Compact(t.Context(), nil)
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &had))
	wantError(t, err, ErrNoRoom)
	folderHolds(t, filepath.Dir(opts.Path), "node.db")
	m.change(t, s, random)
	m.check(t, s)
	_, err = s.Compact(t.Context(), nil)
	must(t, err)
	m.check(t, s)
}
