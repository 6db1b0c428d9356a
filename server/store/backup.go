package store

import (
	"context"
	"fmt"
	"io"
)

// Backup writes a copy of the open file to path, a name that is free (ErrTaken), and opens every value of it before it
// gets that name. The copy is the file as one commit left it; writers and readers go on. It is sealed as the file is and
// holds no key. progress (may be nil) is called often with bytes written and to write, and must not wait for anybody.
//
// While the copy is written, pages that writers replace are not used again, and the file grows by what they write; the
// pages are free afterwards. Where the file outgrows the mapped address space meanwhile (Options.InitialMmap, then steps
// of 1 GiB), writers wait for the end of the copy. ErrBusy while Compact runs, which would leave the snapshot its old file.
//
// If ctx ends, or there is no room (ErrNoRoom), nothing is left. If we crash here, at most a leftover is, under another
// name, which the next Backup into the same folder removes.
func (s *Store) Backup(ctx context.Context, path string, progress func(written, total uint64)) (Copied, error) {
	if !s.caring.TryRLock() {
		return Copied{}, fmt.Errorf("back up store: %w", ErrBusy)
	}
	defer s.caring.RUnlock()
	copying := &copying{
		leftover: fmt.Sprintf("unfinished-%x-", s.Derive("names of unfinished backups")[:4]), // others may use the folder too
		seals:    s.seals.Load(),
		write: func(ctx context.Context, to io.Writer) error {
			return s.snapshot(&watched{ctx: ctx, to: to, progress: progress})
		},
	}
	done, err := copying.into(ctx, path)
	if err != nil {
		return Copied{}, fmt.Errorf("back up store: %w", err)
	}
	return done, nil
}

// snapshot writes the file as the last commit left it. Both meta pages are of that commit.
func (s *Store) snapshot(to *watched) error {
	fatal := s.fatal.Load()
	if fatal != nil {
		return fatal
	}
	raw, err := s.begin()
	if err != nil {
		return err
	}
	to.total = uint64(raw.Size())
	_, err = raw.WriteTo(to)
	endErr := rollback(raw)
	if to.failed != nil {
		return to.failed // bbolt keeps only its text
	}
	if err != nil {
		return err
	}
	return endErr
}

// watched passes on what is written until its context ends, and says how far it is.
type watched struct {
	ctx            context.Context
	to             io.Writer
	progress       func(written, total uint64)
	written, total uint64
	failed         error
}

// Write writes a piece.
func (w *watched) Write(piece []byte) (int, error) {
	w.failed = w.ctx.Err()
	if w.failed != nil {
		return 0, w.failed
	}
	var n int
	n, w.failed = w.to.Write(piece)
	w.written += uint64(n)
	if w.progress != nil {
		w.progress(w.written, w.total)
	}
	return n, w.failed
}
