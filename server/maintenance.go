package server

import (
	"context"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Maintenance is what the node's operators may have done with its data file while the node runs.
type Maintenance interface {
	// Backup writes a checked copy of the data file under a name of the caller's (empty: one that is made up) into the
	// node's folder for backups. progress is told bytes written and to write; it may be called often.
	Backup(ctx context.Context, name string, progress func(written, total uint64)) (*ententev1.BackupResult, error)
	// Reseal reads the sealing keys again and seals anew what older keys have sealed. progress is told values looked at,
	// values there are, and values sealed anew.
	Reseal(ctx context.Context, progress func(done, total, resealed uint64)) error
	// Compact writes the data file anew without what was erased. progress is told values copied, and how many there are.
	Compact(ctx context.Context, progress func(done, total uint64)) (*ententev1.CompactResult, error)
	// Erased is how many erased values the file still has the bytes of, and since when at the latest.
	Erased() (values uint64, since time.Time)
}
