package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"entente.example/entente/client"
	"entente.example/entente/client/format"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// Tally counts the rows of an import. Rows = Accepted + Duplicates + Rejected, once all verdicts are in.
type Tally struct {
	// Rows read, those that the mapping refused included.
	Rows uint64 `json:"rows"`
	// Accepted rows: no item rejected, and at least one new.
	Accepted uint64 `json:"accepted"`
	// Duplicates are rows all of whose items the node held already.
	Duplicates uint64 `json:"duplicates"`
	// Rejected rows: refused by the mapping, or at least one item refused by the node.
	Rejected uint64 `json:"rejected"`
	// Items pushed: a row may be several.
	Items uint64 `json:"items"`
	// Waiting items: on disk, but their release waits for another record.
	Waiting uint64 `json:"waiting"`
	// Pending items: on disk, but their release waits for a second person.
	Pending uint64 `json:"pending"`
}

// Import pushes the rows of national files through a mapping. The zero value of all but Mapping will do.
type Import struct {
	// Mapping says what the rows mean. Required.
	Mapping *format.Mapping
	// Member that the records are of; empty: as the mapping says.
	Member string
	// Options of the push.
	Options client.PushOptions
	// Rejected is told each row that was rejected and why, in no promised order, one call at a time; nil: nobody. The reasons
	// hold no values; the row does.
	Rejected func(row format.Row, reasons []string)
	// Progress is told the counts so far after each row, one call at a time; nil: nobody.
	Progress func(Tally)
}

// Run pushes the files one after another and waits for all verdicts. With an error the tally counts what has a verdict; running
// it again is harmless.
func (i Import) Run(ctx context.Context, c *client.Client, paths []string) (Tally, error) {
	run := newIntake(ctx, c, i.Options, i.Rejected, i.Progress)
	var err error
	for _, path := range paths {
		err = i.file(run, path)
		if err != nil {
			break
		}
	}
	return run.finish(err)
}

func (i Import) file(run *intake, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open import file: %w", err)
	}
	defer file.Close()
	return run.feed(i.Mapping.Open(file, path, i.Member))
}

// rows is a source of rows, such as a file through its mapping; io.EOF at the end.
type rows interface {
	Next() (format.Row, error)
}

// intake pushes rows and counts what becomes of them.
type intake struct {
	pusher *client.Pusher

	mu       sync.Mutex // covers what follows, and every rowState: rows are read by one goroutine, verdicts come by another
	tally    Tally
	rejected func(format.Row, []string)
	progress func(Tally)
}

// rowState is a row under way.
type rowState struct {
	row       format.Row
	due       int // items without a verdict
	news      int // accepted items
	reasons   []string
	rejection bool
}

func newIntake(ctx context.Context, c *client.Client, options client.PushOptions, rejected func(format.Row, []string), progress func(Tally)) *intake {
	run := &intake{rejected: rejected, progress: progress}
	run.pusher = c.Push(ctx, options, func(tag any, v *ententev1.Verdict) { run.verdict(tag.(*rowState), v) })
	return run
}

// feed pushes all rows of a source. Its error is that of the source or of the push.
func (i *intake) feed(source rows) error {
	pending, live := source.(interface{ Pending() bool })
	for {
		row, err := source.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
		err = i.row(row)
		if err != nil {
			return err
		}
		if live && !pending.Pending() {
			err = i.pusher.Flush() // the source may be quiet for long now
		}
		if err != nil {
			return err
		}
	}
}

func (i *intake) row(row format.Row) error {
	state := &rowState{row: row, due: len(row.Items)}
	i.mu.Lock()
	i.tally.Rows++
	i.tally.Items += uint64(len(row.Items))
	if row.Err != nil {
		state.reject(row.Err.Reason)
	}
	if state.due == 0 {
		i.settle(state)
	}
	i.mu.Unlock()
	for _, item := range row.Items {
		err := i.pusher.Send(item, state)
		if errors.Is(err, client.ErrTooLarge) {
			i.refuse(state)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refuse settles an item that could not be sent.
func (i *intake) refuse(state *rowState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	state.reject("larger than a node takes")
	state.due--
	if state.due == 0 {
		i.settle(state)
	}
}

func (i *intake) verdict(state *rowState, v *ententev1.Verdict) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch v.GetOutcome() {
	case ententev1.Outcome_OUTCOME_ACCEPTED:
		state.news++
	case ententev1.Outcome_OUTCOME_DUPLICATE:
	default:
		state.reject(violationsText(v.GetViolations()))
	}
	switch v.GetReleaseState() {
	case ententev1.ReleaseState_RELEASE_STATE_WAITING:
		i.tally.Waiting++
	case ententev1.ReleaseState_RELEASE_STATE_PENDING_APPROVAL:
		i.tally.Pending++
	}
	state.due--
	if state.due == 0 {
		i.settle(state)
	}
}

func (s *rowState) reject(reason string) {
	s.rejection = true
	s.reasons = append(s.reasons, reason)
}

// settle counts a row whose items all have a verdict. Called with mu held.
func (i *intake) settle(state *rowState) {
	switch {
	case state.rejection:
		i.tally.Rejected++
		if i.rejected != nil {
			i.rejected(state.row, state.reasons)
		}
	case state.news > 0:
		i.tally.Accepted++
	default:
		i.tally.Duplicates++
	}
	if i.progress != nil {
		i.progress(i.tally)
	}
}

// finish waits for all verdicts. err is why feeding ended, nil at the end of the rows.
func (i *intake) finish(err error) (Tally, error) {
	closeErr := i.pusher.Close()
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.tally, firstOf(err, closeErr)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
