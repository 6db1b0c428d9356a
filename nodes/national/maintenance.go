package national

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// maintenance is what operators may have done with the data file while the node runs. They are told why something failed:
// its errors are gRPC statuses that hold paths and ids only.
type maintenance struct {
	store  *store.Store
	member member.ID
	folder string // for backups; empty: there are none
	now    func() time.Time
	reload func() (store.Keyring, error)

	backing sync.Mutex // held by the one backup

	mu        sync.Mutex // covers compacted
	compacted time.Time  // when the file was compacted last since the start
}

// newMaintenance makes the maintenance of an open data file. reload reads its keys again; nil: they cannot be changed.
func newMaintenance(st *store.Store, m *Material, deps Deps, reload func() (store.Keyring, error)) *maintenance {
	return &maintenance{store: st, member: m.Member, folder: m.Backups, now: deps.Now, reload: reload}
}

// timeInName is a time in the name of a file, in UTC.
const timeInName = "20060102T150405Z"

// Backup writes a checked copy of the data file into the folder for backups. The folder is made where only it is missing.
func (m *maintenance) Backup(ctx context.Context, name string, progress func(written, total uint64)) (*ententev1.BackupResult, error) {
	if m.folder == "" {
		return nil, status.Error(codes.Unimplemented, "this node has no folder for backups")
	}
	taken := m.now().UTC()
	if name == "" {
		name = fmt.Sprintf("%s-%s.db", m.member, taken.Format(timeInName))
	}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(name) {
		return nil, status.Error(codes.InvalidArgument, "the name of a backup is letters, digits, dots, hyphens and underscores, "+
			"a letter or digit first, and no path")
	}
	if !m.backing.TryLock() {
		return nil, status.Error(codes.FailedPrecondition, "another backup is under way")
	}
	defer m.backing.Unlock()
	path, err := m.place(name)
	if err != nil {
		return nil, told(err)
	}
	done, err := m.store.Backup(ctx, path, progress)
	if err != nil {
		return nil, told(err)
	}
	return &ententev1.BackupResult{Path: path, Sha256: done.SHA256[:], TakenAt: timestamppb.New(taken), Values: done.Values}, nil
}

// place is where a backup goes. A folder that is made here is on disk before anything is in it.
func (m *maintenance) place(name string) (string, error) {
	folder, err := filepath.Abs(m.folder)
	if err != nil {
		return "", err
	}
	err = os.Mkdir(folder, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return filepath.Join(folder, name), nil // a file of that name is found out by the backup
	}
	if err != nil {
		return "", err
	}
	above, err := os.Open(filepath.Dir(folder))
	if err != nil {
		return "", err
	}
	return filepath.Join(folder, name), errors.Join(above.Sync(), above.Close())
}

// Reseal reads the sealing keys again and seals anew what older ones have sealed.
func (m *maintenance) Reseal(ctx context.Context, progress func(done, total, resealed uint64)) error {
	if m.reload == nil {
		return status.Error(codes.Unimplemented, "this node does not read its sealing keys again")
	}
	ring, err := m.reload()
	if err != nil {
		return status.Error(codes.FailedPrecondition, "read the sealing keys again: "+err.Error())
	}
	err = m.store.Reseal(ctx, ring, progress)
	if err != nil {
		return told(err)
	}
	return nil
}

// Compact writes the data file anew without what was erased.
func (m *maintenance) Compact(ctx context.Context, progress func(done, total uint64)) (*ententev1.CompactResult, error) {
	done, err := m.store.Compact(ctx, progress)
	if err != nil {
		return nil, told(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.compacted = m.now()
	return &ententev1.CompactResult{BytesBefore: uint64(done.BytesBefore), BytesAfter: uint64(done.BytesAfter), Values: done.Values}, nil
}

// Erased is how many erased values the file still has the bytes of, and since when.
func (m *maintenance) Erased() (uint64, time.Time) { return m.store.Erased() }

func (m *maintenance) compactedAt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.compacted
}

// told is an error as an operator is told it. What is not listed is the disk's or ours, and goes to the log.
func told(err error) error {
	table := []struct {
		err  error
		code codes.Code
		mend string
	}{
		{store.ErrTaken, codes.AlreadyExists, "give another name"},
		{store.ErrNoRoom, codes.ResourceExhausted, "make room; nothing of it was left"},
		{store.ErrFull, codes.ResourceExhausted, "make room, or raise max_bytes, and call again"},
		{store.ErrBusy, codes.FailedPrecondition, "wait for it"},
		{store.ErrWrongKey, codes.FailedPrecondition, "list each key that is still needed in older_sealing_keys"},
		{fs.ErrNotExist, codes.FailedPrecondition, "make the folder, or name another as backups"},
		{fs.ErrPermission, codes.FailedPrecondition, "let the node's user write there"},
		{fs.ErrExist, codes.FailedPrecondition, "it must be a folder"},
	}
	for _, line := range table {
		if errors.Is(err, line.err) {
			return status.Errorf(line.code, "%v; %s", err, line.mend)
		}
	}
	var damaged *store.DamageError
	if errors.As(err, &damaged) {
		return status.Errorf(codes.DataLoss, "%v; stop the node and run `entente verify`", err)
	}
	var path *fs.PathError
	if errors.As(err, &path) { // a file in the place of the folder, a read-only disk
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	return err
}
