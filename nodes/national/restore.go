package national

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// RestoreOptions say what to restore.
type RestoreOptions struct {
	// Backup is the file.
	Backup string
	// DryRun does only the checks.
	DryRun bool
	// Progress is told values checked, and how many there are. Optional.
	Progress func(done, total uint64)
}

// Restore puts a backup in the place of the node's data file, which no node may have open, and removes the marker of a
// clean stop: so the next start takes the care that follows an unclean one (docs/adr/0006). The former data file stays
// beside it. A backup that is damaged, sealed with another key, of another member or federation, or of a newer program is
// refused, and nothing is changed.
func Restore(ctx context.Context, c *Config, deps Deps, o RestoreOptions) (store.Restored, error) {
	pin, err := c.Pin()
	if err != nil {
		return store.Restored{}, fmt.Errorf("restore: %w", err)
	}
	ring := store.Keyring{}
	ring.Current, err = store.LoadKey(c.SealingKey)
	if err != nil {
		return store.Restored{}, fmt.Errorf("restore: %w", err)
	}
	for _, path := range c.OlderSealingKeys {
		older, err := store.LoadKey(path)
		if err != nil {
			return store.Restored{}, fmt.Errorf("restore: %w", err)
		}
		ring.Older = append(ring.Older, older)
	}
	done, err := store.Restore(ctx, store.Restoration{
		Path: c.Data, Keys: ring, Backup: o.Backup, DryRun: o.DryRun, Progress: o.Progress,
		Aside: filepath.Base(c.Data) + ".before-restore-" + deps.Now().UTC().Format(timeInName),
		Check: func(whose []byte) error {
			if !bytes.Equal(whose, identity(member.ID(c.Member), pin)) {
				return fmt.Errorf("%w than %s in %x", ErrForeignData, c.Member, pin)
			}
			return nil
		},
		Before: func() error { // if we crash here, the former file is in place, and its next start is a careful one
			_, _, err := store.TakeMarker(c.Marker)
			return err
		},
	})
	if err != nil {
		return store.Restored{}, fmt.Errorf("%w%s", err, mendRestore(err))
	}
	return done, nil
}

// mendRestore says what to do about a restore that is refused.
func mendRestore(err error) string {
	var damaged *store.DamageError
	switch {
	case errors.Is(err, store.ErrLocked):
		return "; stop the node first"
	case errors.Is(err, store.ErrNewerSchema):
		return "; restore it with the newer program"
	case errors.Is(err, store.ErrWrongKey):
		return "; name the sealing key of its time in older_sealing_keys, or as sealing_key"
	case errors.Is(err, ErrForeignData):
		return "; it is a backup of another node"
	case errors.Is(err, store.ErrNotAStore), errors.As(err, &damaged):
		return "; take another backup: this one is damaged, or none"
	}
	return ""
}
