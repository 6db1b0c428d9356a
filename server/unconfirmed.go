package server

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

const (
	// growthEvery is how exactly it is remembered when a stream grew.
	growthEvery = time.Second
	// growthMarks bounds what is remembered of one stream.
	growthMarks = 256
)

// growth remembers when own streams grew, as far as a reader has not signed for it, so that an operator learns since when an
// entry waits for its receipt. It begins anew at each start: what stands in a stream by then counts from the start.
type growth struct {
	mu      sync.Mutex // covers streams
	streams map[uint32][]mark
}

// mark says that a stream had a size at a time.
type mark struct {
	size uint64
	at   time.Time
}

// follow looks at the ledger after each change, once a second at most, until ctx ends.
func (g *growth) follow(ctx context.Context, held *ledger.Ledger, now func() time.Time) {
	for {
		changed := held.Changed() // taken before looking: what comes meanwhile wakes us again
		for _, info := range held.Streams() {
			readers := held.Readers(info.No) // none of a received stream
			if len(readers) > 0 {
				g.note(info.No, info.Size, leastConfirmed(readers), now())
			}
		}
		pause := time.NewTimer(growthEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func leastConfirmed(readers []ledger.ReaderState) uint64 {
	return slices.MinFunc(readers, func(a, b ledger.ReaderState) int { return cmp.Compare(a.ConfirmedSize, b.ConfirmedSize) }).ConfirmedSize
}

// note keeps the size of a stream if it has grown, and forgets what all readers have signed for.
func (g *growth) note(no uint32, size, confirmed uint64, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.streams == nil {
		g.streams = make(map[uint32][]mark)
	}
	marks := slices.DeleteFunc(g.streams[no], func(m mark) bool { return m.size <= confirmed })
	if size > confirmed && (len(marks) == 0 || marks[len(marks)-1].size < size) {
		marks = append(marks, mark{size, at})
	}
	if len(marks) > growthMarks {
		marks = thin(marks)
	}
	g.streams[no] = marks
}

// thin leaves out every second mark: what grew between two of them then counts from the earlier one, so that nothing is
// said to have waited for less than it has.
func thin(marks []mark) []mark {
	var kept []mark
	for i := 0; i+1 < len(marks); i += 2 {
		kept = append(kept, mark{marks[i+1].size, marks[i].at})
	}
	if len(marks)%2 == 1 {
		kept = append(kept, marks[len(marks)-1])
	}
	return kept
}

// since is from when an entry stood in a stream; zero: it came just now.
func (g *growth) since(no uint32, sequence uint64) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.streams[no] {
		if m.size >= sequence {
			return m.at
		}
	}
	return time.Time{}
}

// oldestUnconfirmed is the entry, and its reader, whose receipt the node has waited for longest.
func (s *Server) oldestUnconfirmed(streams []ledger.StreamInfo) *ententev1.UnconfirmedEntry {
	var oldest *ententev1.UnconfirmedEntry
	var since time.Time
	for _, info := range streams {
		for _, reader := range s.cfg.Ledger.Readers(info.No) {
			if reader.ConfirmedSize >= info.Size || !s.active(reader.Member) {
				continue
			}
			at := s.growth.since(info.No, reader.ConfirmedSize+1)
			if at.IsZero() {
				at = s.cfg.Now()
			}
			if oldest != nil && !at.Before(since) {
				continue
			}
			since = at
			oldest = &ententev1.UnconfirmedEntry{
				Member: string(reader.Member), Since: timestamppb.New(at),
				Entry: &ententev1.EntryRef{StreamId: info.ID[:], Sequence: reader.ConfirmedSize + 1},
			}
		}
	}
	return oldest
}

// active says whether a member is in good standing: one that is suspended or gone signs for nothing any more.
func (s *Server) active(id member.ID) bool { return s.cfg.Directory().Roster.Active(id) }
