package cli

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// libraryText is what lessons and practices have in common.
type libraryText struct {
	context      *ententev1.LessonContext
	state        string
	tlp          ententev1.Tlp
	endorsements []*ententev1.Endorsement
}

func libraryTextOf(body *ententev1.Body) libraryText {
	if lesson := body.GetLesson(); lesson != nil {
		return libraryText{lesson.GetContext(), short(lesson.GetStage()) + ", " + short(lesson.GetState()), lesson.GetTlp(), lesson.GetEndorsements()}
	}
	practice := body.GetGoodPractice()
	return libraryText{practice.GetContext(), short(practice.GetState()), practice.GetTlp(), practice.GetEndorsements()}
}

// endorsers are the members that endorse, the owner left out, each once.
func (t libraryText) endorsers(owner string) string {
	var members []string
	for _, e := range t.endorsements {
		if e.GetMember() != owner && !slices.Contains(members, e.GetMember()) {
			members = append(members, e.GetMember())
		}
	}
	return strings.Join(members, ",")
}

// areas are the crime areas of the record and of its context.
func (t libraryText) areas(record *ententev1.ReleasedRecord) string {
	areas := slices.Concat(record.GetCrimeAreas(), t.context.GetCrimeAreas())
	slices.Sort(areas)
	return shortAll(slices.Compact(areas))
}

func (t libraryText) structures() string { return shortAll(t.context.GetGroupStructures()) }

func shortAll[E protoreflect.Enum](list []E) string {
	var texts []string
	for _, one := range list {
		texts = append(texts, short(one))
	}
	return strings.Join(texts, ",")
}

// tlpText is the label in its exact form; a label that is not known counts as the strictest.
func tlpText(t ententev1.Tlp) string {
	switch t {
	case ententev1.Tlp_TLP_AMBER_STRICT:
		return "TLP:AMBER+STRICT"
	case ententev1.Tlp_TLP_AMBER:
		return "TLP:AMBER"
	case ententev1.Tlp_TLP_GREEN:
		return "TLP:GREEN"
	case ententev1.Tlp_TLP_CLEAR:
		return "TLP:CLEAR"
	default:
		return "TLP:RED"
	}
}
