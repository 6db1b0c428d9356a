package server

import (
	"slices"
	"strconv"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// libraryFilter is what a List asks for: of each kind of filter that is given, one of its values must hold.
type libraryFilter struct {
	kinds        []ententev1.RecordKind
	areas        codeSet // 0: all, as of the two that follow
	structures   codeSet
	states       codeSet
	projects     []string // empty: all, as of all that follow
	countries    []string
	languages    []string
	owners       []member.ID
	endorsements int
}

// newLibraryFilter reads the filters of a request; some is false where they leave nothing.
func newLibraryFilter(request *ententev1.LibraryServiceListRequest) (f *libraryFilter, some bool, err error) {
	for _, kind := range request.GetKinds() {
		if !slices.Contains(libraryKinds(), kind) {
			return nil, false, invalidField("kinds", "holds a kind that is neither lesson nor practice")
		}
	}
	f = &libraryFilter{
		areas: filterOf(request.GetCrimeAreas()), structures: filterOf(request.GetGroupStructures()), states: filterOf(request.GetStates()),
		projects: request.GetProjects(), countries: request.GetCountries(), languages: request.GetLanguages(),
		endorsements: int(request.GetEndorsements()),
	}
	for _, one := range []struct {
		name   string
		values []string
	}{{"projects", f.projects}, {"countries", f.countries}, {"languages", f.languages}} {
		if slices.Contains(one.values, "") {
			return nil, false, invalidField(one.name, "holds an empty value")
		}
	}
	for _, text := range request.GetOwners() {
		owner, err := member.ParseID(text)
		if err != nil {
			return nil, false, invalidField("owners", "holds a value that is not the id of a member")
		}
		f.owners = append(f.owners, owner)
	}
	kinds, _ := commonKinds(request.GetKinds(), libraryKinds())
	f.kinds, some = commonKinds(kinds, request.GetConsultation().GetScope().GetKinds())
	return f, some, nil
}

// libraryBinding is what a page token of List is good for: the same caller asking the same.
func libraryBinding(c caller, request *ententev1.LibraryServiceListRequest) []byte {
	asked := request.GetConsultation()
	return binding("library", c.String(), asked.GetOfficer(), scopeText(asked.GetScope()),
		numbers(request.GetKinds()), numbers(request.GetCrimeAreas()), numbers(request.GetGroupStructures()), numbers(request.GetStates()),
		textPart(request.GetProjects()), textPart(request.GetCountries()), textPart(request.GetLanguages()), textPart(request.GetOwners()),
		strconv.FormatUint(uint64(request.GetEndorsements()), 10))
}

// textPart writes a list of strings as one part of a binding.
func textPart(list []string) string { return string(binding("", list...)) }

// from says whether the owner of a reference is asked for, before anything is read.
func (f *libraryFilter) from(ref ledger.LibraryRef) bool {
	return len(f.owners) == 0 || slices.Contains(f.owners, ref.Owner)
}

// lets says whether a practice or lesson is asked for.
func (f *libraryFilter) lets(item *ententev1.LibraryItem) bool {
	text := libraryTextOf(item.GetRecord())
	overlap := func(wanted, has codeSet) bool { return wanted == 0 || wanted&has != 0 }
	areas := setOf(item.GetRecord().GetCrimeAreas()) | setOf(text.context.GetCrimeAreas())
	return overlap(f.areas, areas) &&
		overlap(f.structures, setOf(text.context.GetGroupStructures())) &&
		overlap(f.states, setOf([]ententev1.LessonState{text.state})) &&
		anyOf(f.countries, text.context.GetCountries(), strings.EqualFold) &&
		anyOf(f.languages, []string{text.context.GetLanguage()}, inLanguage) &&
		endorsers(item.GetOwner(), text.endorsements) >= f.endorsements
}

// libraryText is what lessons and practices have in common.
type libraryText struct {
	context      *ententev1.LessonContext
	state        ententev1.LessonState
	endorsements []*ententev1.Endorsement
}

func libraryTextOf(record *ententev1.ReleasedRecord) libraryText {
	lesson := record.GetBody().GetLesson()
	if lesson != nil {
		return libraryText{lesson.GetContext(), lesson.GetState(), lesson.GetEndorsements()}
	}
	practice := record.GetBody().GetGoodPractice()
	return libraryText{practice.GetContext(), practice.GetState(), practice.GetEndorsements()}
}

// anyOf says whether one of the values is one of those wanted; nothing wanted: all are.
func anyOf(wanted, values []string, same func(wanted, value string) bool) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool {
		return slices.ContainsFunc(values, func(v string) bool { return same(w, v) })
	})
}

// inLanguage is the basic filtering of RFC 4647, section 3.3.1: a tag is in the range that it equals or begins with, by
// whole subtags and whatever the case. Records without a language are in none.
func inLanguage(wanted, tag string) bool {
	if len(tag) < len(wanted) || !strings.EqualFold(tag[:len(wanted)], wanted) {
		return false
	}
	return len(tag) == len(wanted) || tag[len(wanted)] == '-'
}

// endorsers counts the members that endorse, each once and the owner not at all: nobody vouches for himself.
func endorsers(owner string, list []*ententev1.Endorsement) int {
	members := map[string]bool{}
	for _, e := range list {
		if e.GetMember() != owner {
			members[e.GetMember()] = true
		}
	}
	return len(members)
}
