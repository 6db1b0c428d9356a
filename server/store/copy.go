package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// syncEvery is how much of a copy is written before it is brought to disk. Without it the kernel would collect all of
// it, and a commit of the running node that syncs meanwhile would wait for the lot.
const syncEvery = 16 << 20

// Copied is a copy of a data file that is on disk and was checked, value by value.
type Copied struct {
	Bytes  int64
	SHA256 [sha256.Size]byte
	Values uint64
	Schema uint32
}

// copying says how to make a checked copy.
type copying struct {
	leftover string // begins the name that the copy has until it is checked
	seals    *sealer
	check    func(*Store) error       // of whose it is; nil: any
	progress func(done, total uint64) // of the check; nil: nobody asks
	write    func(ctx context.Context, to io.Writer) error
}

// into makes the copy and gives it its name, which must be free.
//
// If we crash here, there is a leftover and no file of that name, or the whole file.
func (c *copying) into(ctx context.Context, path string) (Copied, error) {
	err := vacant(path)
	if err != nil {
		return Copied{}, err
	}
	temporary, done, err := c.temporary(ctx, filepath.Dir(path))
	if err != nil {
		return Copied{}, err
	}
	err = vacant(path)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return Copied{}, errors.Join(err, os.Remove(temporary))
	}
	return done, syncFolder(filepath.Dir(path))
}

// temporary leaves the copy under its first name, after it has removed what a crash left there. After an error nothing is
// left.
func (c *copying) temporary(ctx context.Context, folder string) (path string, done Copied, err error) {
	err = removeLeftovers(folder, c.leftover)
	if err != nil {
		return "", done, err
	}
	file, err := os.CreateTemp(folder, c.leftover+"*") // mode 0600
	if err != nil {
		return "", done, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	err = c.write(ctx, &syncing{file: file})
	err = asNoRoom(errors.Join(err, file.Sync(), file.Close()))
	if err != nil {
		return "", done, err
	}
	done, err = c.verify(ctx, file.Name())
	return file.Name(), done, err
}

// verify opens every value of a copy, for reading only.
func (c *copying) verify(ctx context.Context, path string) (done Copied, err error) {
	s, err := openWith(Options{Path: path, ReadOnly: true}, c.seals)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if c.check != nil {
		err = c.check(s)
	}
	if err != nil {
		return done, err
	}
	err = s.verify(ctx, func(opened, total uint64) {
		done.Values = opened
		if c.progress != nil {
			c.progress(opened, total)
		}
	})
	if err != nil {
		return done, err
	}
	done.Schema = s.schema
	sum := sha256.New()
	done.Bytes, err = io.Copy(sum, &obedient{ctx, io.NewSectionReader(s.file, 0, s.Size())})
	if err != nil {
		return done, err
	}
	done.SHA256 = [sha256.Size]byte(sum.Sum(nil))
	return done, nil
}

// vacant refuses a name that is taken.
func vacant(path string) error {
	_, err := os.Lstat(path)
	if err == nil {
		return fmt.Errorf("%s: %w", path, ErrTaken)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func asNoRoom(err error) error {
	if err != nil && isFull(err) {
		return fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	return err
}

// syncing writes a file and brings it to disk as it goes.
type syncing struct {
	file    *os.File
	pending int
}

// Write writes a piece.
func (w *syncing) Write(piece []byte) (int, error) {
	n, err := w.file.Write(piece)
	w.pending += n
	if err != nil || w.pending < syncEvery {
		return n, err
	}
	w.pending = 0
	return n, w.file.Sync()
}

// obedient reads until its context ends.
type obedient struct {
	ctx  context.Context
	from io.Reader
}

// Read reads a piece.
func (r *obedient) Read(piece []byte) (int, error) {
	err := r.ctx.Err()
	if err != nil {
		return 0, err
	}
	return r.from.Read(piece)
}
