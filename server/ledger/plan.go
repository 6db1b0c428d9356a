package ledger

import (
	"fmt"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// plan is what has to be done so that a record stands where it is wanted: pure, nothing but data.
type plan struct {
	release  []channel // append the newest version to these
	withdraw []removal // and take these back
	waiting  bool      // a part of what is wanted has to wait for a record that this one names
	pending  bool      // a part of what is wanted waits for a second person
}

type removal struct {
	place  int // index into the record's places
	reason ententev1.WithdrawalReason
}

// world is what planning may look at beside the record.
type world struct {
	// channels gives what each intent means today, in order; see Directory.wanted.
	channels func(in *intents, restriction *ententev1.Restriction) [][]channel
	// active gives the readers by a stream's opening that are in good standing, byGrant those by its grants.
	active, byGrant func(s *streamState) memberSet
	// stream gives an own stream.
	stream func(no uint32) *streamState
	// over tells whether a record's time of retention has ended, and no hold is on it.
	over func(r *record) bool
	// readersOf gives the members that may read a record by entries that stand now: for an own record the readers of its
	// places, for another member's record the readers of the shared streams that brought it, and its owner.
	readersOf func(n Name) memberSet
	// permitted gives the members to whom what was made from a record may go: of another member's record those who read it, and
	// whom that member permits; of an own one those to whom all may go that it was made from in turn.
	permitted func(n Name, purpose ententev1.Purpose) memberSet
	// unfit tells whether a record that was made from others' lacks what their conditions, as they are held now, demand.
	unfit func(r *record) bool
}

// planRecord compares what is wanted for a record with where it stands.
//
// A record that names others (an association its ends, a role its person, an assessment what it was made from) is wanted
// only where all of them are; until then that audience waits as a whole. What waits for a second person, is restricted or
// is over is wanted nowhere. A place that no audience wants any more is withdrawn; one that holds an earlier version, or
// another form, is followed by the right one and withdrawn as superseded.
func planRecord(w world, r *record) plan {
	var p plan
	var wanted []channel
	var limit memberSet // where there are names: who may read all of them
	over := w.over(r)
	if !r.withdrawn && !r.restricted() && !over && r.intents != nil {
		limit = w.limit(r)
		for i, channels := range w.channels(r.intents, r.restriction) {
			if r.sensitive&^r.intents.list[i].approved != 0 {
				p.pending = true
				continue
			}
			if len(r.names) > 0 && slices.ContainsFunc(channels, func(c channel) bool { return !c.readers.within(limit) }) {
				p.waiting = true
				continue
			}
			for _, c := range channels {
				if len(r.names) > 0 && !c.extra.within(limit) {
					c = c.ungranted() // who came in by a grant may not read what it names
				}
				wanted = want(wanted, c)
			}
		}
	}
	sameBytes(wanted)
	kept := make([]bool, len(wanted))
	for i, at := range r.places {
		if at.withdrawn {
			continue
		}
		s := w.stream(at.stream)
		match := slices.IndexFunc(wanted, func(c channel) bool {
			return c.mergeFor.key() == at.mergeFor && w.serves(s, c) && (len(r.names) == 0 || w.byGrant(s).within(limit))
		})
		current := match >= 0 && at.version == r.version && at.edition == r.edition && at.cut == wanted[match].cut
		switch {
		case current && !kept[match]:
			kept[match] = true
		case match >= 0:
			p.withdraw = append(p.withdraw, removal{place: i, reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_SUPERSEDED})
		default:
			p.withdraw = append(p.withdraw, removal{place: i, reason: whyGone(r, over, p.waiting)})
		}
	}
	for i, c := range wanted {
		if !kept[i] {
			p.release = append(p.release, c)
		}
	}
	return p
}

// whyGone is the reason that readers are told of a place that nothing wants any more.
func whyGone(r *record, over, waiting bool) ententev1.WithdrawalReason {
	switch {
	case r.withdrawn:
		return r.reason
	case r.restricted():
		return ententev1.WithdrawalReason_WITHDRAWAL_REASON_RESTRICTED
	case over:
		return ententev1.WithdrawalReason_WITHDRAWAL_REASON_RETENTION
	case waiting:
		return ententev1.WithdrawalReason_WITHDRAWAL_REASON_END_WITHDRAWN
	}
	return ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION
}

// want adds a channel to those that are wanted, one for the same readers each: of two forms for the same readers, the one
// that was decided later counts.
func want(wanted []channel, c channel) []channel {
	known := slices.IndexFunc(wanted, func(have channel) bool { return have.sameReaders(c) })
	if known < 0 {
		return append(wanted, c)
	}
	c.mergeFor = c.mergeFor.union(wanted[known].mergeFor)
	if wanted[known].key.granted != "" {
		c.key, c.extra, c.may = wanted[known].key, wanted[known].extra, wanted[known].may // it reaches those by grant too
	}
	wanted[known] = c
	return wanted
}

// sameBytes keeps, for whom a coordinator may merge, those who get the same bytes: a form that was decided later for one of them
// may be another one.
func sameBytes(wanted []channel) {
	for i, c := range wanted {
		if len(c.mergeFor) == 0 {
			continue
		}
		wanted[i].mergeFor = slices.DeleteFunc(slices.Clone(c.mergeFor), func(id member.ID) bool {
			return !c.readers.has(id) && !slices.ContainsFunc(wanted, func(other channel) bool {
				return other.key.kind == c.key.kind && other.key.project == c.key.project && other.cut == c.cut && other.readers.has(id)
			})
		})
	}
}

// limit is who may read all that a record names. What it was only made from may go further, by permission of its owner; where
// the conditions of that are not kept, nobody may.
func (w world) limit(r *record) memberSet {
	if r.sources > 0 && w.unfit(r) {
		return nil
	}
	var limit memberSet
	for i, n := range r.names {
		var readers memberSet
		if i >= len(r.names)-r.sources {
			readers = w.permitted(n, r.purpose)
		} else {
			readers = w.readersOf(n)
		}
		if i == 0 {
			limit = readers
			continue
		}
		limit = slices.DeleteFunc(slices.Clone(limit), func(id member.ID) bool { return !readers.has(id) })
	}
	return limit
}

// serves tells whether a stream is read by exactly those that a channel is for: by its opening, and beside them by grants
// that the owner gave, as far as those may have what goes this way today.
func (w world) serves(s *streamState, c channel) bool {
	if c.key.kind != s.kind || c.key.project != s.project {
		return false
	}
	granted := w.byGrant(s)
	if s.kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE {
		return slices.Equal(w.active(s).union(granted), c.readers)
	}
	return slices.Equal(w.active(s), c.readers) && granted.within(c.may)
}

// namesOf lists the records that a body names and must not be released without, as the provider wrote them.
func namesOf(body *ententev1.Body) []namedRef {
	switch b := body.GetKind().(type) {
	case *ententev1.Body_Association:
		return []namedRef{{"association.from", b.Association.GetFrom()}, {"association.to", b.Association.GetTo()}}
	case *ententev1.Body_Role:
		if b.Role.GetGroup() != nil {
			return []namedRef{{"role.person", b.Role.GetPerson()}, {"role.group", b.Role.GetGroup()}}
		}
		return []namedRef{{"role.person", b.Role.GetPerson()}}
	case *ententev1.Body_Decision:
		var list []namedRef
		for i, ref := range b.Decision.GetRecords() {
			list = append(list, namedRef{fmt.Sprintf("decision.records[%d]", i), ref})
		}
		return list
	}
	return nil
}

// namedRef is a record that a body names, and the path of the field within the body.
type namedRef struct {
	field string
	ref   *ententev1.RecordRef
}
