package policy

import (
	"slices"
	"time"

	"entente.example/entente/proto/member"
)

const (
	// clocksAgree is how far the local clock and the members' may lie apart for anything to be erased.
	clocksAgree = 5 * time.Minute
	// heardLately is how long ago a member may have been heard to count. How long ago is told by the local clock: were there no
	// bound, a clock that jumps ahead would carry the members' times along, agree with them, and erase.
	heardLately = time.Hour
	// fewestMembers is below how many members there is no quorum.
	fewestMembers = 3
)

// Heard is a time that another member has signed.
type Heard struct {
	Member member.ID
	At     time.Time     // as signed
	Since  time.Duration // how long ago it was heard, by the local clock
}

// ExpiryClock is the time by which records expire.
type ExpiryClock struct {
	// Hide: what is to be retained until this time or earlier is hidden.
	Hide time.Time
	// Erase: what is to be retained until this time or earlier is erased for good. Zero: nothing may be erased now.
	Erase time.Time
	// Agreed says whether the local clock and the members' lie within 5 minutes of each other.
	Agreed bool
	// Quorum says whether more than half of the members have been heard lately.
	Quorum bool
}

// Expiry is the clock of expiry. members is how many members the roster has, the own one included; heard are times signed by
// others; confirmed says whether an operator has lately confirmed the local clock.
//
// With a quorum, what is hidden is hidden by the later of the local clock and the members' median, so that one wrong clock
// can shorten access and never lengthen it; what is erased, for good, is erased by the earlier of the two, and only while
// they agree. Without a quorum the local clock hides, and erases once an operator has confirmed it; a few members that are
// heard cannot outvote it.
func Expiry(local time.Time, heard []Heard, members int, confirmed bool) ExpiryClock {
	times := timesHeard(heard)
	if members < fewestMembers || len(times) <= members/2 {
		clock := ExpiryClock{Hide: local}
		if confirmed {
			clock.Erase = local
		}
		return clock
	}
	median := times[len(times)/2] // of an even number the later one of the two in the middle
	clock := ExpiryClock{Hide: later(local, median), Quorum: true, Agreed: local.Sub(median).Abs() <= clocksAgree}
	if clock.Agreed {
		clock.Erase = earlier(local, median)
	}
	return clock
}

// timesHeard answers what the clocks of the members show now, one time a member, in order: what it signed last, carried
// forward by how long ago that was.
func timesHeard(heard []Heard) []time.Time {
	newest := make(map[member.ID]Heard)
	for _, h := range heard {
		if h.Member == "" || h.At.IsZero() || h.Since < 0 || h.Since > heardLately {
			continue
		}
		before, known := newest[h.Member]
		if !known || h.Since < before.Since || h.Since == before.Since && h.At.After(before.At) {
			newest[h.Member] = h
		}
	}
	var times []time.Time
	for _, h := range newest {
		times = append(times, h.At.Add(h.Since))
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}
