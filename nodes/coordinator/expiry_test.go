package coordinator_test

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

const (
	// kept is for how long the records of these tests may be kept, and later a time after that.
	kept  = 10 * time.Minute
	later = 11 * time.Minute
)

// clocks are the clocks of nodes: that of the machine, and by how much each is ahead of it.
type clocks map[member.ID]*atomic.Int64

func (c clocks) ahead(by time.Duration, ids ...member.ID) {
	for _, id := range ids {
		c[id].Store(int64(by))
	}
}

// newClocks gives the nodes of a world, none of which runs yet, clocks of their own.
func newClocks(w *world) clocks {
	c := clocks{}
	for _, id := range members() {
		c[id] = &atomic.Int64{}
	}
	w.tune = func(id member.ID, deps *national.Deps) {
		ahead := c[id]
		deps.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		deps.CareEvery, deps.Limits.SignOfLife, deps.AuditInterval = 20*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	}
	return c
}

// releaseShort releases canaries to all that may be kept for a short time only.
func (f *flock) releaseShort(at ...member.ID) canary {
	f.t.Helper()
	c, item := canaryItem(0)
	item.GetRecord().GetEnvelope().RetainUntil = timestamppb.New(time.Now().Add(kept))
	f.sites["XA"].push(item)
	for _, reader := range at {
		f.until(c.reference+" is at "+string(reader), func() bool { return f.visible(reader, c) })
	}
	return c
}

// visible says whether a subscription from the beginning shows a canary.
func (f *flock) visible(reader member.ID, c canary) bool {
	f.t.Helper()
	text, err := f.followed(reader)
	must(f.t, err)
	return bytes.Contains(text, []byte(c.word))
}

func (f *flock) holds(id member.ID, c canary) bool { return f.sites[id].Ledger().Holds(f.name(c)) }

// clock is the clock of expiry of a node, as its operator is told.
func (f *flock) clock(id member.ID) *ententev1.ExpiryClock {
	f.t.Helper()
	response, err := f.operator[id].Status(f.t.Context())
	must(f.t, err)
	return response.GetExpiryClock()
}

// careRounds waits until a node has looked after its records some times more: an interval of its trail is closed in each
// round that falls into another one.
func (f *flock) careRounds(id member.ID, count uint64) {
	f.t.Helper()
	intervals := func() uint64 {
		response, err := f.operator[id].Status(f.t.Context())
		must(f.t, err)
		return response.GetAudit().GetIntervals()
	}
	wanted := intervals() + count
	f.until(string(id)+" looks after its records", func() bool { return intervals() >= wanted })
}

// lapses are the entries of a member's trail that say that a canary was erased because its time was over.
func (f *flock) lapses(id member.ID, c canary) int {
	count := 0
	for _, e := range f.erasures(id, f.name(c)) {
		if e.GetMethod() == "lapse" {
			count++
		}
	}
	return count
}

func TestARecordLapsesAtItsOwnerAndAtAllReaders(t *testing.T) {
	w := newWorld(t)
	c := newClocks(w)
	w.startAll()
	f := newFlock(w)
	short := f.releaseShort("XB", "XC", "COORD")
	f.careRounds("XB", 5)
	if !f.holds("XB", short) {
		t.Fatal("it is erased before its time")
	}
	c.ahead(later, members()...)
	for _, id := range members() {
		f.until("it is erased at "+string(id), func() bool { return !f.holds(id, short) })
	}
	record, err := f.system["XA"].Get(t.Context(), &ententev1.GetRequest{Consultation: f.why, ProviderReference: short.reference})
	must(t, err)
	if !record.GetErased() || !record.GetWithdrawn() || f.lapses("XA", short) != 1 {
		t.Errorf("at its owner: erased %t, withdrawn %t, %d lapses in the trail", record.GetErased(), record.GetWithdrawn(), f.lapses("XA", short))
	}
	for _, reader := range short.readers {
		f.until(string(reader)+" has signed for it", func() bool { return f.state(short, reader) == ententev1.DeliveryState_DELIVERY_STATE_APPLIED })
	}
}

func TestARecordLapsesAtAReaderWhoseOwnerIsAway(t *testing.T) {
	w := newWorld(t)
	c := newClocks(w)
	w.startAll()
	f := newFlock(w)
	short := f.releaseShort("XB", "XC", "COORD")
	f.until("XB has signed for it", func() bool { return f.state(short, "XB") == ententev1.DeliveryState_DELIVERY_STATE_DELIVERED })
	name := f.name(short)
	w.sites["XA"].stop()
	c.ahead(later, members()...)
	for _, id := range short.readers {
		f.until("it is erased at "+string(id), func() bool { return !w.sites[id].Ledger().Holds(name) })
		if f.lapses(id, short) != 1 {
			t.Errorf("%d entries of the trail of %s say that it has lapsed, want 1", f.lapses(id, short), id)
		}
	}
	w.start("XA") // it finds that its record is over, and all agree about it
	// Until it looks, it has hidden what is over.
	f.until("XA has erased it", func() bool { return f.lapses("XA", short) == 1 })
	f.until("XB has signed for it", func() bool { return f.state(short, "XB") == ententev1.DeliveryState_DELIVERY_STATE_APPLIED })
}

func TestAWrongClockOfOneNodeHidesAndDoesNotErase(t *testing.T) {
	for _, id := range []member.ID{"XA", "XB", "COORD"} {
		t.Run(string(id), func(t *testing.T) {
			w := newWorld(t)
			c := newClocks(w)
			w.startAll()
			f := newFlock(w)
			short := f.releaseShort("XB", "XC", "COORD")
			w.sites[id].stop()
			c.ahead(later, id) // as a machine that starts with a wrong clock
			w.start(id)
			f.until("it knows that its clock is another", func() bool { return f.clock(id).GetQuorum() && !f.clock(id).GetAgreed() })
			f.until("it is hidden", func() bool { return !f.visible(id, short) })
			f.careRounds(id, 5)
			for _, other := range members() {
				if !f.holds(other, short) {
					t.Errorf("%s has erased it", other)
				}
				if other != id && !f.visible(other, short) {
					t.Errorf("%s does not show it any more", other)
				}
			}
			c.ahead(0, id)
			f.until("it comes back", func() bool { return f.visible(id, short) })
		})
	}
}

func TestWithoutAQuorumAnOperatorConfirmsTheClock(t *testing.T) {
	w := newWorld(t)
	c := newClocks(w)
	w.start("XA")
	w.start("XB")
	f := newFlock(w)
	short := f.releaseShort("XB")
	c.ahead(later, "XA", "XB")
	for _, id := range []member.ID{"XB", "XA"} {
		f.until("it is hidden at "+string(id), func() bool { return !f.visible(id, short) })
		f.careRounds(id, 5)
		if clock := f.clock(id); clock.GetQuorum() || clock.GetEraseAt() != nil || !f.holds(id, short) {
			t.Errorf("%s: quorum %t, erases at %v, holds it %t", id, clock.GetQuorum(), clock.GetEraseAt(), f.holds(id, short))
		}
		_, err := f.operator[id].ConfirmClock(t.Context(), time.Now())
		if err == nil {
			t.Errorf("%s takes the word of an operator whose clock is another", id)
		}
		_, err = f.operator[id].ConfirmClock(t.Context(), time.Now().Add(later))
		must(t, err)
		f.until("it is erased at "+string(id), func() bool { return !f.holds(id, short) })
	}
}
