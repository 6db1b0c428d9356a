package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"entente.example/entente/client"
	"entente.example/entente/client/cli"
	"entente.example/entente/client/format"
	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	// progressEvery is how often the line of progress is written.
	progressEvery = 200 * time.Millisecond
	// rejectsShown is how many rejected rows of a member are explained; the rest is counted.
	rejectsShown = 5
)

// tally counts rows: rows = accepted + duplicates + rejected once all verdicts are in.
type tally struct {
	rows, accepted, duplicates, rejected uint64
}

func (t tally) plus(other tally) tally {
	return tally{t.rows + other.rows, t.accepted + other.accepted, t.duplicates + other.duplicates, t.rejected + other.rejected}
}

// pushItems pushes as a national system does and waits for all verdicts. Each item is a row.
func pushItems(ctx context.Context, c *client.Client, items []*ententev1.PushItem) (tally, error) {
	var count tally // only the verdict function writes it, and Close waits for that
	var refusals []string
	pusher := c.Push(ctx, client.PushOptions{}, func(_ any, v *ententev1.Verdict) {
		count.rows++
		switch v.GetOutcome() {
		case ententev1.Outcome_OUTCOME_ACCEPTED:
			count.accepted++
		case ententev1.Outcome_OUTCOME_DUPLICATE:
			count.duplicates++
		default:
			count.rejected++
			refusals = append(refusals, refusal(v))
		}
	})
	var err error
	for _, item := range items {
		err = pusher.Send(item, nil)
		if err != nil {
			break
		}
	}
	err = errors.Join(err, pusher.Close())
	if err == nil && len(refusals) > 0 {
		err = fmt.Errorf("%d records of the case are rejected: %s", len(refusals), refusals[0])
	}
	return count, err
}

func refusal(v *ententev1.Verdict) string {
	var reasons []string
	for _, violation := range v.GetViolations() {
		reasons = append(reasons, violation.GetField()+": "+violation.GetReason())
	}
	return v.GetProviderReference() + ": " + strings.Join(reasons, "; ")
}

// pushCase pushes some steps of each member's case, all members at the same time. Nothing of it is released.
func (s *stage) pushCase(wanted func(step int) bool) (tally, error) {
	group, ctx := errgroup.WithContext(s.ctx)
	counts := make([]tally, len(Case()))
	for i, c := range Case() {
		var items []*ententev1.PushItem
		for n, step := range c.Steps {
			if wanted(n) {
				items = append(items, step.Items...)
			}
		}
		group.Go(func() error {
			var err error
			counts[i], err = pushItems(ctx, s.places[i].system, withoutAudiences(items))
			if err != nil {
				return fmt.Errorf("push of %s: %w", c.Member, err)
			}
			return nil
		})
	}
	err := group.Wait()
	var all tally
	for _, count := range counts {
		all = all.plus(count)
	}
	return all, err
}

// files are the input of --from.
type files struct {
	mapping *format.Mapping
	paths   map[string]string // by member
}

// play pushes each file through the node of its member, all at the same time, and waits until all is replicated.
func (f *files) play(s *stage) (tally, error) {
	group, ctx := errgroup.WithContext(s.ctx)
	progress := newProgress(s.options)
	for _, at := range s.members() {
		id := string(at.seat.ID)
		work := cli.Import{Mapping: f.mapping, Member: id,
			Rejected: func(row format.Row, reasons []string) { progress.rejected(id, row, reasons) },
			Progress: func(count cli.Tally) { progress.pushed(id, count) }}
		group.Go(func() error {
			count, err := work.Run(ctx, at.system, []string{f.paths[id]})
			if err != nil {
				return fmt.Errorf("push the file of %s: %w", id, err)
			}
			progress.pushed(id, count)
			return nil
		})
	}
	err := group.Wait()
	progress.say("replicating")
	if err == nil {
		err = s.approveAll()
	}
	if err == nil {
		err = s.settle()
	}
	progress.say("merging")
	return progress.end(), err
}

// rows reads the files again: what is a row's own record, and what the mapping derives, is known only to the mapping.
func (f *files) rows() (inputRows, error) {
	rows := make(inputRows)
	for id, path := range f.paths {
		found, err := f.rowsOf(path, id)
		if err != nil {
			return nil, fmt.Errorf("read the rows of %s: %w", id, err)
		}
		rows[id] = found
	}
	return rows, nil
}

func (f *files) rowsOf(path, id string) (map[string]bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	found := make(map[string]bool)
	reader := f.mapping.Open(file, path, id)
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		for i, item := range row.Items {
			if !row.Derived[i] && item.GetRecord() != nil {
				found[item.GetRecord().GetEnvelope().GetProviderReference()] = isEntity(item.GetRecord().GetBody())
			}
		}
	}
}

// isEntity tells whether a body describes a person, group, place or thing, and not what joins them or what was learned.
func isEntity(body *ententev1.Body) bool {
	switch body.GetKind().(type) {
	case nil, *ententev1.Body_Association, *ententev1.Body_Role, *ententev1.Body_Decision, *ententev1.Body_Lesson, *ententev1.Body_GoodPractice:
		return false
	default:
		return true
	}
}

// progress tells a person on a terminal how the files go. Safe for concurrent use.
type progress struct {
	options Options

	mu     sync.Mutex // covers all below
	counts map[string]cli.Tally
	reject map[string]int
	shown  time.Time
}

func newProgress(o Options) *progress {
	return &progress{options: o, counts: make(map[string]cli.Tally), reject: make(map[string]int), shown: o.Now()}
}

func (p *progress) pushed(id string, count cli.Tally) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[id] = count
	now := p.options.Now()
	if now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = now
	all := p.sum()
	p.line(fmt.Sprintf("%d rows pushed, %d rejected", all.accepted+all.duplicates+all.rejected, all.rejected))
}

func (p *progress) rejected(id string, row format.Row, reasons []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reject[id]++
	if p.reject[id] > rejectsShown {
		return
	}
	p.line("")
	fmt.Fprintf(p.options.Stderr, "%s:%d: %s\n", row.File, row.Line, strings.Join(reasons, "; "))
	if p.reject[id] == rejectsShown {
		fmt.Fprintf(p.options.Stderr, "%s: further rejected rows are only counted; `entente import` shows all\n", id)
	}
}

func (p *progress) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(what + " …")
}

// end clears the line and answers the counts of all members.
func (p *progress) end() tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line("")
	return p.sum()
}

// line writes over the line of progress. Called with mu held.
func (p *progress) line(text string) {
	if p.options.Terminal {
		fmt.Fprintf(p.options.Stderr, "\r\x1b[K%s", text)
	}
}

// sum is called with mu held.
func (p *progress) sum() tally {
	var all tally
	for _, count := range p.counts {
		all = all.plus(tally{count.Rows, count.Accepted, count.Duplicates, count.Rejected})
	}
	return all
}
