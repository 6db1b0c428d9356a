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
	// readersOf gives the members that may read a record by entries that stand now: for an own record the readers of its
	// places, for another member's record the readers of the shared streams that brought it, and its owner.
	readersOf func(n Name) memberSet
}

// planRecord compares what is wanted for a record with where it stands.
//
// A record that names others (an association its ends, a role its person) is wanted only where all of them are; until
// then that audience waits as a whole. A place that no audience wants any more is withdrawn; one that holds an earlier
// version is followed by the newest and withdrawn as superseded.
func planRecord(w world, r *record) plan {
	var p plan
	var wanted []channel
	var limit memberSet // where there are names: who may read all of them
	if !r.withdrawn && r.intents != nil {
		for i, n := range r.names {
			readers := w.readersOf(n)
			if i == 0 {
				limit = readers
			} else {
				limit = slices.DeleteFunc(slices.Clone(limit), func(id member.ID) bool { return !readers.has(id) })
			}
		}
		for _, channels := range w.channels(r.intents, r.restriction) {
			if len(r.names) > 0 && slices.ContainsFunc(channels, func(c channel) bool { return !c.readers.within(limit) }) {
				p.waiting = true
				continue
			}
			for _, c := range channels {
				if len(r.names) > 0 && !c.extra.within(limit) {
					c = c.ungranted() // who came in by a grant may not read what it names
				}
				known := slices.IndexFunc(wanted, func(have channel) bool { return have.sameReaders(c) })
				if known < 0 {
					wanted = append(wanted, c)
					continue
				}
				if wanted[known].key.granted == "" {
					c.mergeFor = c.mergeFor.union(wanted[known].mergeFor)
					wanted[known] = c // one of the two reaches those by grant too
					continue
				}
				wanted[known].mergeFor = wanted[known].mergeFor.union(c.mergeFor)
			}
		}
	}
	kept := make([]bool, len(wanted))
	for i, at := range r.places {
		if at.withdrawn {
			continue
		}
		s := w.stream(at.stream)
		match := slices.IndexFunc(wanted, func(c channel) bool {
			return c.mergeFor.key() == at.mergeFor && w.serves(s, c) && (len(r.names) == 0 || w.byGrant(s).within(limit))
		})
		switch {
		case match >= 0 && at.version == r.version && !kept[match]:
			kept[match] = true
		case match >= 0:
			p.withdraw = append(p.withdraw, removal{place: i, reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_SUPERSEDED})
		case r.withdrawn:
			p.withdraw = append(p.withdraw, removal{place: i, reason: r.reason})
		case p.waiting:
			p.withdraw = append(p.withdraw, removal{place: i, reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_END_WITHDRAWN})
		default:
			p.withdraw = append(p.withdraw, removal{place: i, reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION})
		}
	}
	for i, c := range wanted {
		if !kept[i] {
			p.release = append(p.release, c)
		}
	}
	return p
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
