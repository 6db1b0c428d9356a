package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Restoration says what to put in the place of a data file.
type Restoration struct {
	// Path is the data file, which need not be there. It must not be in use: ErrLocked.
	Path string
	// Keys open the backup.
	Keys Keyring
	// Backup is the file to put in its place. It stays where it is.
	Backup string
	// Aside is the name that the present data file gets, in the same folder. It must be free.
	Aside string
	// Check says whether the backup, by its identity, is for this place.
	Check func(identity []byte) error
	// Before is done when all is checked, right before the data file is replaced. Optional.
	Before func() error
	// DryRun does only the checks.
	DryRun bool
	// Progress is told how many values were checked, and how many there are. Optional.
	Progress func(done, total uint64)
}

// Restored is what was put in place, or would be.
type Restored struct {
	Copied
	// Aside is the path of the former data file; empty: there was none.
	Aside string
}

// Restore puts a backup in the place of a data file, after it has opened every value of the copy that it puts there. The
// former data file is kept. It is whole or it fails: a backup that is damaged, of a newer program (ErrNewerSchema), sealed
// with another key (ErrWrongKey) or not for this place changes nothing.
//
// If we crash here, the former file or the new one is in place, whole, with a leftover or a second name of the former one
// beside it.
func Restore(ctx context.Context, r Restoration) (Restored, error) {
	done, err := r.run(ctx)
	if err != nil {
		return Restored{}, fmt.Errorf("restore %s from %s: %w", r.Path, r.Backup, err)
	}
	return done, nil
}

func (r *Restoration) run(ctx context.Context) (done Restored, err error) {
	seals, err := newSealer(r.Keys)
	if err != nil {
		return done, err
	}
	release, present, err := r.lock(seals)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if present {
		done.Aside = filepath.Join(filepath.Dir(r.Path), r.Aside)
		err = vacant(done.Aside)
	}
	if err != nil {
		return done, err
	}
	copying := &copying{
		leftover: filepath.Base(r.Path) + leftoverMark,
		seals:    seals,
		check:    func(s *Store) error { return r.Check(s.Identity()) },
		progress: r.Progress,
		write:    func(ctx context.Context, to io.Writer) error { return copyFile(ctx, to, r.Backup) },
	}
	if r.DryRun {
		done.Copied, err = copying.verify(ctx, r.Backup)
		return done, err
	}
	// The copy is checked, and not the backup, so that what gets in place is what was checked.
	fresh, copied, err := copying.temporary(ctx, filepath.Dir(r.Path))
	if err != nil {
		return done, err
	}
	done.Copied = copied
	err = r.swap(ctx, fresh, done.Aside)
	if err != nil {
		return done, errors.Join(err, os.Remove(fresh))
	}
	return done, syncFolder(filepath.Dir(r.Path))
}

// lock keeps every node off the present data file until release. A file that bbolt cannot even open has no lock, and
// no node could start on it either.
func (r *Restoration) lock(seals *sealer) (release func() error, present bool, err error) {
	none := func() error { return nil }
	info, err := os.Stat(r.Backup)
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, ErrNotAStore
	}
	there, err := os.Stat(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if os.SameFile(info, there) {
		return nil, false, errors.New("the backup is the data file itself")
	}
	opts := Options{Path: r.Path, ReadOnly: true}
	s := newStore(opts, seals)
	err = s.openFile(opts, true)
	if errors.Is(err, ErrLocked) || errors.Is(err, fs.ErrPermission) {
		return nil, true, err
	}
	if err != nil {
		return none, true, nil
	}
	return s.db.Close, true, nil
}

// swap gives the former file its second name, and then its first one to the new file in one step: there is no moment
// without a data file.
func (r *Restoration) swap(ctx context.Context, fresh, aside string) error {
	if aside != "" {
		err := secondName(ctx, r.Path, aside)
		if err != nil {
			return fmt.Errorf("keep the present data file: %w", err)
		}
	}
	err := r.before()
	if err == nil {
		err = os.Rename(fresh, r.Path)
	}
	if err != nil && aside != "" {
		return errors.Join(err, os.Remove(aside))
	}
	return err
}

func (r *Restoration) before() error {
	if r.Before == nil {
		return nil
	}
	return r.Before()
}

// secondName makes a second name for a file, or a copy where the file system has no such names.
func secondName(ctx context.Context, path, name string) error {
	err := os.Link(path, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = copyFile(ctx, &syncing{file: file}, path)
	err = asNoRoom(errors.Join(err, file.Sync(), file.Close()))
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func copyFile(ctx context.Context, to io.Writer, path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, &obedient{ctx, from})
	return err
}
