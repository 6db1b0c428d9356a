package ledger

import (
	"slices"
	"strings"

	"entente.example/entente/proto/member"
)

// memberSet is a small set of members: sorted, no one twice.
type memberSet []member.ID

func newMemberSet(ids ...member.ID) memberSet {
	set := slices.Clone(ids)
	slices.Sort(set)
	return slices.Compact(set)
}

func (s memberSet) has(id member.ID) bool {
	_, found := slices.BinarySearch(s, id)
	return found
}

// within tells whether each member of s is in other.
func (s memberSet) within(other memberSet) bool {
	if len(s) == len(other) {
		return slices.Equal(s, other)
	}
	for _, id := range s {
		if !other.has(id) {
			return false
		}
	}
	return true
}

func (s memberSet) union(other memberSet) memberSet {
	if other.within(s) {
		return s
	}
	return newMemberSet(append(slices.Clone(s), other...)...)
}

// without is s less the members of other.
func (s memberSet) without(other ...member.ID) memberSet {
	return slices.DeleteFunc(slices.Clone(s), func(id member.ID) bool { return slices.Contains(other, id) })
}

func (s memberSet) key() string {
	var b strings.Builder
	for _, id := range s {
		b.WriteString(string(id))
		b.WriteByte(',')
	}
	return b.String()
}

// parseMemberSet reads what key gives.
func parseMemberSet(key string) memberSet {
	var ids []member.ID
	for name := range strings.SplitSeq(strings.TrimSuffix(key, ","), ",") {
		if name != "" {
			ids = append(ids, member.ID(name))
		}
	}
	return newMemberSet(ids...)
}

func idStrings(ids []member.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = string(id)
	}
	return out
}

func memberIDs(names []string) []member.ID {
	out := make([]member.ID, len(names))
	for i, name := range names {
		out[i] = member.ID(name)
	}
	return out
}
