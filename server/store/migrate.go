package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Migrated says what Open brought forward: the schema that the file had, and where that file is kept. from is 0 where it
// did nothing of the kind.
//
// The way back is to put the kept file in the place of the data file, and to start the program that wrote it.
func (s *Store) Migrated() (from uint32, kept string) { return s.before, s.kept }

// migrate brings a file with an earlier schema forward, after a checked copy of it stands beside it.
//
// If we crash here, the file has the earlier schema still, and the next Open finds the copy that is the same, or makes
// it; or the file is brought forward, and the copy is there.
func (s *Store) migrate() error {
	var held meta
	err := s.View(func(v *View) (err error) {
		held, err = v.readMeta() // again: another process may have done it before this one locked the file
		return err
	})
	if err != nil {
		return err
	}
	s.meta = held
	if held.schema == Schema {
		return nil
	}
	kept := fmt.Sprintf("%s.schema-%d", s.path, held.schema)
	err = s.keep(kept)
	if err != nil {
		return fmt.Errorf("keep a copy before the upgrade from schema %d to %d: %w", held.schema, Schema, err)
	}
	root := binary.BigEndian.AppendUint32(nil, Schema)
	root = append(root, held.root[4:]...)
	err = s.Update(func(tx *Tx) error { return tx.putMeta(root, held.identity) })
	if err != nil {
		return fmt.Errorf("upgrade from schema %d to %d: %w", held.schema, Schema, err)
	}
	s.root, s.schema, s.outdated = root, Schema, false
	s.before, s.kept = held.schema, kept
	return nil
}

// keep copies the file, which this process has locked, to a path. A copy that is there and the same will do.
func (s *Store) keep(path string) error {
	same, err := s.sameAs(path)
	if err != nil || same {
		return err
	}
	copying := &copying{
		leftover: filepath.Base(s.path) + leftoverMark,
		seals:    s.seals.Load(),
		write: func(_ context.Context, to io.Writer) error {
			_, err := io.Copy(to, io.NewSectionReader(s.file, 0, s.Size()))
			return err
		},
	}
	_, err = copying.into(context.Background(), path)
	return err
}

// sameAs says whether a file holds the same bytes as the data file; false where there is none, ErrKept where it holds others.
func (s *Store) sameAs(path string) (bool, error) {
	other, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer other.Close()
	info, err := other.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() != s.Size() {
		return false, fmt.Errorf("%s: %w", path, ErrKept)
	}
	const step = 1 << 20
	ours, theirs := make([]byte, step), make([]byte, step)
	for at := int64(0); at < info.Size(); at += step {
		size := min(step, info.Size()-at)
		_, err = s.file.ReadAt(ours[:size], at)
		if err != nil {
			return false, err
		}
		_, err = other.ReadAt(theirs[:size], at)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(ours[:size], theirs[:size]) {
			return false, fmt.Errorf("%s: %w", path, ErrKept)
		}
	}
	return true, nil
}

// Schema is the schema of the open file. It is an earlier one only where the file is open for reading only.
func (s *Store) Schema() uint32 { return s.schema }
