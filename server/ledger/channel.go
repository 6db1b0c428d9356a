package ledger

import (
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// channelKey says which stream is meant without naming one: its kind, its project, its readers by its opening and, but for
// streams for future members, those by grant. Two releases go into one stream if and only if their keys are equal.
type channelKey struct {
	kind    ententev1.StreamKind
	project string
	readers string // memberSet.key
	granted string // memberSet.key
}

// channel is a stream that is wanted.
type channel struct {
	key      channelKey
	readers  memberSet
	may      memberSet // shared: who may read beside them, where the owner has granted it the stream
	extra    memberSet // shared: who reads beside them now, because the stream that is open was granted; see without
	mergeFor memberSet // bilateral to a coordinator only
	cut      string    // in which form: see formKey
}

// sameReaders tells whether two channels are for the same readers, whoever reads beside them by grant.
func (c channel) sameReaders(d channel) bool {
	return c.key.kind == d.key.kind && c.key.project == d.key.project && c.key.readers == d.key.readers
}

// today is what decides which channels an audience means.
type today struct {
	self      member.ID
	now       time.Time
	directory *Directory
	// arrived tells whether streams for future members are open to a member.
	arrived func(member.ID) bool
	// erase is the time by which what is over is erased now, in seconds since 1970; 0: nothing is.
	erase int64
	// legacy is who took part in a project when audiences began to keep that themselves.
	legacy map[string]memberSet
	// variants gives, for a channel, the sets of readers by grant that open streams of it have, newest first.
	variants func(channelKey) []memberSet
}

// ungranted is the channel for the same readers without those by grant.
func (c channel) ungranted() channel {
	c.key.granted, c.extra = "", nil
	return c
}

// wanted works out the channels that an audience means today, in the form that it is to get.
func (t *today) wanted(in intent, restriction *ententev1.Restriction) []channel {
	list := t.meant(in, restriction)
	for i := range list {
		list[i].cut = in.cut
	}
	return list
}

// meant is the channels of an audience: shared streams where everybody meant may read, bilateral ones for everything else.
// restriction is the provider's ceiling; deny wins over allow.
func (t *today) meant(in intent, restriction *ententev1.Restriction) []channel {
	switch to := in.audience.GetReaders().(type) {
	case *ententev1.Audience_AllMembers:
		if len(restriction.GetProjects()) > 0 {
			return nil
		}
		members := t.directory.members().without(t.self)
		if to.AllMembers.GetIncludeFuture() {
			all := slices.DeleteFunc(slices.Clone(members), func(id member.ID) bool { return !t.arrived(id) })
			return t.shared(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE, "", all, all, nil, restriction)
		}
		return t.shared(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS, "", in.present, members, nil, restriction)
	case *ententev1.Audience_Project:
		p := t.directory.Projects[to.Project.GetProjectId()]
		if p == nil || !p.Has(t.self) || p.Ended || !t.now.Before(p.EndsAt) {
			return nil
		}
		if len(restriction.GetProjects()) > 0 && !slices.Contains(restriction.GetProjects(), p.ID) {
			return nil
		}
		participants := newMemberSet(p.Participants...).without(t.self)
		all := slices.DeleteFunc(slices.Clone(participants), func(id member.ID) bool { return !t.presentIn(p.ID, in, id) })
		return t.shared(ententev1.StreamKind_STREAM_KIND_PROJECT, p.ID, all, participants, memberIDs(to.Project.GetWithout()), restriction)
	case *ententev1.Audience_Members:
		if len(restriction.GetProjects()) > 0 {
			return nil
		}
		named := newMemberSet(memberIDs(to.Members.GetMembers())...).without(t.self)
		mergeFor := newMemberSet(memberIDs(to.Members.GetMergeFor())...)
		return t.bilateral("", t.directory.allowed(named, nil, restriction), mergeFor)
	}
	return nil
}

// presentIn tells whether a participant took part when a release to its project was decided. Decisions of before this was
// kept mean those who took part when it began to be.
func (t *today) presentIn(project string, in intent, id member.ID) bool {
	if len(in.present) > 0 {
		return in.present.has(id)
	}
	then, known := t.legacy[project]
	return !known || then.has(id)
}

// allowed is the part of a set that is in good standing today and that the restriction lets through.
func (d *Directory) allowed(set memberSet, without []member.ID, restriction *ententev1.Restriction) memberSet {
	return slices.DeleteFunc(slices.Clone(set), func(id member.ID) bool {
		if !d.Roster.Active(id) || slices.Contains(without, id) || slices.Contains(restriction.GetDenyMembers(), string(id)) {
			return true
		}
		return len(restriction.GetAllowMembers()) > 0 && !slices.Contains(restriction.GetAllowMembers(), string(id))
	})
}

// shared is the stream for a whole set, or bilateral ones where it must leave somebody out. may is who could read by a
// grant: a stream that is granted to anybody else is passed over for one of the same readers that is not.
func (t *today) shared(kind ententev1.StreamKind, project string, all, may memberSet, without []member.ID, restriction *ententev1.Restriction) []channel {
	// Who has left the roster is no reason to move what the others hold.
	all = t.directory.allowed(all, nil, nil)
	some := t.directory.allowed(all, without, restriction)
	if len(some) == 0 {
		return nil
	}
	if len(some) != len(all) {
		return t.bilateral(project, some, nil)
	}
	c := channel{key: channelKey{kind: kind, project: project, readers: all.key()}, readers: all, may: t.directory.allowed(may, without, restriction)}
	for _, extra := range t.variants(c.key) {
		if extra.within(c.may) {
			c.key.granted, c.extra = extra.key(), extra
			break
		}
	}
	return []channel{c}
}

func (t *today) bilateral(project string, readers, mergeFor memberSet) []channel {
	var list []channel
	for _, id := range readers {
		c := channel{key: channelKey{kind: ententev1.StreamKind_STREAM_KIND_BILATERAL, project: project, readers: string(id)}, readers: memberSet{id}}
		m, _ := t.directory.Roster.Member(id)
		if m.Kind == ententev1.MemberKind_MEMBER_KIND_COORDINATOR {
			// For whom it may merge is only what is left after the restriction: each of them holds the same bytes.
			c.mergeFor = slices.DeleteFunc(slices.Clone(mergeFor), func(named member.ID) bool { return !readers.has(named) })
		}
		list = append(list, c)
	}
	return list
}
