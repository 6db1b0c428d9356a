package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// What is released to present and future members opens to a newcomer by itself, once a delay that the owner sets is over.
// Until then the newcomer counts as not there yet, so that the owner can look at what it would read, and take back what it
// must not. When the delay is over, the streams are granted to it in one transaction: from then on it counts.

// Tables of what the ledger has to remember about members and projects.
const (
	tableArrivals = "arrivals" // member -> when streams for future members open to it, and whether they are
	tableLegacy   = "legacy"   // project -> who took part when audiences began to keep that
)

// arrival is a member as the streams for future members see it.
type arrival struct {
	due  int64 // nanoseconds since 1970
	open bool
}

func (a arrival) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(a.due))
	if a.open {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeArrival(value []byte) (arrival, error) {
	if len(value) != 9 || value[8] > 1 {
		return arrival{}, fmt.Errorf("read arrival: %w", errMalformed)
	}
	return arrival{due: int64(binary.BigEndian.Uint64(value)), open: value[8] == 1}, nil
}

// arrived tells whether streams for future members are open to a member. Before the first note of who is in, they are to
// everybody: nobody has come since.
func (b *batch) arrived(id member.ID) bool {
	a, known := b.arrivals[id]
	if !known {
		a, known = b.l.state.arrivals[id]
	}
	if !known {
		return len(b.l.state.arrivals) == 0 && len(b.arrivals) == 0
	}
	return a.open
}

// PendingGrant is a reader to which a stream opens by itself.
type PendingGrant struct {
	Stream StreamInfo
	Reader member.ID
	At     time.Time
}

// PendingGrants lists the streams for present and future members that open to newcomers when the owner's delay is over.
func (l *Ledger) PendingGrants() []PendingGrant {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []PendingGrant
	for _, id := range l.cfg.Directory().members().without(l.cfg.Self) {
		a, known := l.state.arrivals[id]
		if !known || a.open {
			continue
		}
		for _, s := range l.state.streams {
			if s.opensByItself() && !s.readers.has(id) {
				list = append(list, PendingGrant{Stream: l.info(s), Reader: id, At: time.Unix(0, a.due).UTC()})
			}
		}
	}
	return list
}

// opensByItself tells whether a stream is granted to newcomers by the node itself.
func (s *streamState) opensByItself() bool {
	return s.own && s.kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE && !s.closed && !s.retired
}

// Arrivals does what time brings: it notes who has come into the roster and who has left, opens the streams for future
// members to those whose delay is over, and takes back what stands in projects whose date has passed. It is called after each
// change of the directory and regularly; where there is nothing to do it costs nothing.
func (l *Ledger) Arrivals(ctx context.Context) error {
	passed := l.projectsPassed()
	opened, err := l.openArrivals(ctx)
	if err != nil || !opened && len(passed) == 0 {
		return err
	}
	err = l.planAll(ctx)
	if err != nil {
		return fmt.Errorf("plan anew after what time has brought: %w", err)
	}
	l.planned(passed)
	return nil
}

// openArrivals notes who has come and gone, and says whether streams were opened to somebody: then all is to be planned.
func (l *Ledger) openArrivals(ctx context.Context) (opened bool, err error) {
	if !l.arrivalsDue() {
		return false, nil
	}
	err = l.submit(ctx, 1, func(b *batch) error {
		err := b.noteArrivals()
		if err != nil {
			return err
		}
		opened, err = b.openToArrived()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("open streams to newcomers: %w", err)
	}
	return opened, nil
}

// projectsPassed lists the projects whose date has passed and of which something may stand, until all was planned by that;
// after a start, once more.
func (l *Ledger) projectsPassed() []string {
	now := l.cfg.Now()
	projects := l.cfg.Directory().Projects
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []string
	for _, s := range l.state.streams {
		p := projects[s.project]
		if s.own && p != nil && !now.Before(p.EndsAt) && !l.passed[p.ID] {
			list = append(list, p.ID)
		}
	}
	return list
}

// planned notes that all was planned since these projects' dates have passed.
func (l *Ledger) planned(projects []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range projects {
		l.passed[id] = true
	}
}

// arrivalsDue tells whether Arrivals has something to do.
func (l *Ledger) arrivalsDue() bool {
	now := l.cfg.Now().UnixNano()
	roster := l.cfg.Directory().Roster
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.state.arrivals) == 0 {
		return true
	}
	for _, id := range roster.Members() {
		a, known := l.state.arrivals[id]
		if !known || !a.open && a.due <= now {
			return true
		}
	}
	for id := range l.state.arrivals {
		m, known := roster.Member(id)
		if !known || m.Left {
			return true
		}
	}
	return false
}

// noteArrivals compares what is noted with the roster. The first note is of a node that has just been made, or upgraded:
// all who are in then are present members, and those who take part in a project took part in what was released to it.
func (b *batch) noteArrivals() error {
	d := b.l.cfg.Directory()
	beginning := len(b.l.state.arrivals) == 0
	for _, id := range d.members() {
		_, known := b.l.state.arrivals[id]
		if known {
			continue
		}
		a := arrival{open: true}
		if !beginning {
			a = arrival{due: b.now.Add(b.l.cfg.GrantDelay).UnixNano()}
			b.l.cfg.Logger.Info("a member has come: streams for future members open to it by themselves", "member", string(id), "at", time.Unix(0, a.due).UTC())
		}
		err := b.setArrival(id, a)
		if err != nil {
			return err
		}
	}
	for id := range b.l.state.arrivals {
		m, known := d.Roster.Member(id)
		if known && !m.Left {
			continue
		}
		err := b.tx.Delete(tableArrivals, []byte(id))
		if err != nil {
			return fmt.Errorf("forget member %s: %w", id, err)
		}
		b.departed = append(b.departed, id)
	}
	if !beginning {
		return nil
	}
	for id, p := range d.Projects {
		err := b.tx.Put(tableLegacy, []byte(id), []byte(newMemberSet(p.Participants...).key()))
		if err != nil {
			return fmt.Errorf("keep the participants of project %s: %w", id, err)
		}
		b.legacy[id] = newMemberSet(p.Participants...)
	}
	return nil
}

func (b *batch) setArrival(id member.ID, a arrival) error {
	err := b.tx.Put(tableArrivals, []byte(id), a.encode())
	if err != nil {
		return fmt.Errorf("keep the arrival of %s: %w", id, err)
	}
	b.arrivals[id] = a
	return nil
}

// openToArrived grants the streams for future members to those whose delay is over, and takes out of them, in the same
// transaction, what the newcomers must not have. False: nobody, or not yet: a stream waits for its readers after an unclean
// stop. If we crash here, nothing of it happened, and the next call does it.
func (b *batch) openToArrived() (bool, error) {
	var newcomers memberSet
	for _, id := range b.l.cfg.Directory().members().without(b.l.cfg.Self) {
		a, known := b.arrivals[id]
		if !known {
			a = b.l.state.arrivals[id]
		}
		if !a.open && a.due <= b.now.UnixNano() {
			newcomers = append(newcomers, id)
		}
	}
	var streams []*streamState
	for _, s := range b.l.state.streams {
		if !s.opensByItself() {
			continue
		}
		if len(s.unconfirmed) > 0 {
			return false, nil
		}
		streams = append(streams, s)
	}
	if len(newcomers) == 0 {
		return false, nil
	}
	for _, id := range newcomers {
		a := b.l.state.arrivals[id]
		err := b.setArrival(id, arrival{due: a.due, open: true})
		if err != nil {
			return false, err
		}
		for _, s := range streams {
			if s.readers.has(id) || b.stream(s.no).full(id) { // full: what stands in it is planned again, into another
				continue
			}
			_, err = b.appendGrant(nil, b.changeStream(s.no), id)
			if err != nil {
				return false, err
			}
		}
	}
	return true, b.planDelicate()
}

// planDelicate plans again, in the transaction of a grant, the records that may have to leave a stream because of it: those
// that their provider restricts, and those that name others. What is withdrawn here no new reader ever gets.
func (b *batch) planDelicate() error {
	b.eachRecord(func(id RecordID, r *record) {
		if len(r.places) > 0 && (r.restriction != nil || len(r.names) > 0) {
			b.queue = append(b.queue, id)
		}
	})
	b.queue = sortedIDs(b.queue) // each run of the same log gives the same streams
	return b.drainQueue()
}
