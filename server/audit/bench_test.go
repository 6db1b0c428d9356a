package audit_test

import (
	"context"
	"errors"
	"testing"

	"entente.example/entente/server/store"
)

// groupWriter commits what is waiting in one transaction, as the ledger does.
type groupWriter struct {
	st       *store.Store
	requests chan *writeRequest
}

type writeRequest struct {
	do   func(*store.Tx) (func(), error)
	done chan error
}

func (g *groupWriter) write(ctx context.Context, do func(*store.Tx) (func(), error)) error {
	r := &writeRequest{do: do, done: make(chan error, 1)}
	select {
	case g.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-r.done
}

func (g *groupWriter) run() {
	for r := range g.requests {
		group := []*writeRequest{r}
		for more := true; more && len(group) < 1000; {
			select {
			case next, ok := <-g.requests:
				if more = ok; ok {
					group = append(group, next)
				}
			default:
				more = false
			}
		}
		err := g.commit(group)
		for _, r := range group {
			r.done <- err
		}
	}
}

func (g *groupWriter) commit(group []*writeRequest) error {
	var installed []func()
	err := g.st.Update(func(tx *store.Tx) error {
		for _, r := range group {
			done, err := r.do(tx)
			if err != nil {
				return err
			}
			installed = append(installed, done)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, done := range installed {
		done()
	}
	return nil
}

// startGroupWriter has the node write through a groupWriter until the test ends.
func startGroupWriter(t testing.TB, n *node) {
	g := &groupWriter{st: n.st, requests: make(chan *writeRequest, 256)}
	ended := make(chan struct{})
	go func() { defer close(ended); g.run() }()
	t.Cleanup(func() { close(g.requests); <-ended })
	n.log.Bind(g.write)
}

func TestManyAtOnceRecordThroughAGroup(t *testing.T) {
	n := newWorld(t).node("XA")
	startGroupWriter(t, n)
	const callers, each = 8, 40
	failed := make(chan error, callers)
	for range callers {
		go func() {
			var err error
			for range each {
				err = errors.Join(err, n.log.Record(t.Context(), looks(3)...))
			}
			failed <- err
		}()
	}
	for range 10 {
		n.must(n.log.CloseInterval(t.Context()))
		_, err := n.verify("XA", n.parts()) // what a reader gets meanwhile is sound
		n.must(err)
	}
	for range callers {
		n.must(<-failed)
	}
	r, err := n.verify("XA", n.parts())
	n.must(err)
	if r.Entries != callers*each*3 {
		t.Errorf("%d entries, want %d", r.Entries, callers*each*3)
	}
}

// BenchmarkRecord is one entry on disk, for each of 64 callers at once.
func BenchmarkRecord(b *testing.B) {
	n := newWorld(b).node("XA")
	startGroupWriter(b, n)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			err := n.log.Record(context.Background(), look("XB", 1))
			if err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRecordAlone is one entry on disk, for a caller alone: the price of a sync.
func BenchmarkRecordAlone(b *testing.B) {
	n := newWorld(b).node("XA")
	startGroupWriter(b, n)
	for b.Loop() {
		err := n.log.Record(context.Background(), look("XB", 1))
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend1000 is what 1,000 entries add to a transaction, the commit left out.
func BenchmarkAppend1000(b *testing.B) {
	n := newWorld(b).node("XA")
	list := looks(1000)
	b.ReportAllocs()
	for b.Loop() {
		err := n.st.Update(func(tx *store.Tx) error {
			_, err := n.log.Append(tx, list)
			n.must(err)
			return errDisk // nothing is kept
		})
		if !errors.Is(err, errDisk) {
			b.Fatal(err)
		}
	}
}

// BenchmarkTrail is reading and verifying a trail of 100,000 entries.
func BenchmarkTrail(b *testing.B) {
	n := newWorld(b).node("XA")
	for range 100 {
		n.record(1000)
		n.closeNext()
	}
	for b.Loop() {
		_, err := n.verify("XA", n.parts())
		n.must(err)
	}
}
