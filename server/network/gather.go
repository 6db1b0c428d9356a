package network

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// sourceList gathers the sources of an entity or association. Forms of one record that differ in content only (whole in
// one stream, coarser in the next) are one source: they corroborate nothing.
type sourceList struct {
	list  []*ententev1.ViewSource
	place map[string]uint32
}

// add returns the index of the form's source.
func (l *sourceList) add(f *form) uint32 {
	at, found := l.place[f.sourceText]
	if found {
		return at
	}
	if l.place == nil {
		l.place = make(map[string]uint32, 1)
	}
	at = uint32(len(l.list))
	l.place[f.sourceText] = at
	l.list = append(l.list, f.source)
	return at
}

// statement is one fact by one source.
type statement struct {
	fact
	source uint32
}

// factList gathers facts with their sources.
type factList []statement

func (l *factList) add(facts []fact, source uint32) {
	for _, f := range facts {
		*l = append(*l, statement{f, source})
	}
}

// maxFacts is how many facts of one entity or association an answer has. Beyond it a last one, "truncated", says how many
// more there are, so that nothing is missing silently.
const maxFacts = 1000

// view puts together who says the same. What contradicts stands side by side.
func (l factList) view() []*ententev1.ViewFact {
	slices.SortFunc(l, func(a, b statement) int {
		order := a.fact.compare(b.fact)
		if order != 0 {
			return order
		}
		return int(a.source) - int(b.source)
	})
	l = slices.Compact(l)
	var facts []*ententev1.ViewFact
	for i, s := range l {
		if i == 0 || l[i-1].fact != s.fact {
			facts = append(facts, &ententev1.ViewFact{Field: s.field, Value: s.value})
		}
		last := facts[len(facts)-1]
		last.Sources = append(last.Sources, s.source)
	}
	if len(facts) > maxFacts {
		more := fmt.Sprintf("%d more facts", len(facts)-maxFacts)
		facts = append(facts[:maxFacts], &ententev1.ViewFact{Field: "truncated", Value: more})
	}
	return facts
}

// handling gathers handling conditions: the codes add up, so the strictest is all of them. A record that gives none is
// to be handled most strictly, and so is all that it goes into; that is written as no codes at all (envelope.proto).
type handling struct {
	codes   uint64 // a bit for each code
	missing bool
	texts   []string                  // sorted, each once
	marking *ententev1.Classification // the strictest; nil before there is one
}

// addSource takes in the conditions of one source.
func (h *handling) addSource(source *ententev1.ViewSource) {
	h.add(source.GetHandling())
	h.mark(source.GetClassification())
}

// mark takes in a marking. One that is not given is the highest; of two alike in level and rank the label that comes first in
// the order of letters is shown, so that it is the same everywhere.
func (h *handling) mark(m *ententev1.Classification) {
	m = &ententev1.Classification{Level: m.GetLevel(), NationalLabel: m.GetNationalLabel(), Rank: m.GetRank()}
	if m.Level == ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_UNSPECIFIED {
		m.Level = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
	}
	if h.marking == nil || stricterMark(m, h.marking) {
		h.marking = m
	}
}

func stricterMark(a, b *ententev1.Classification) bool {
	return cmp.Or(cmp.Compare(a.GetLevel(), b.GetLevel()), cmp.Compare(a.GetRank(), b.GetRank()), cmp.Compare(b.GetNationalLabel(), a.GetNationalLabel())) > 0
}

func (h *handling) add(conditions *ententev1.HandlingConditions) {
	if len(conditions.GetCodes()) == 0 {
		h.missing = true
	}
	for _, code := range conditions.GetCodes() {
		if code < 0 || code > 63 {
			h.missing = true // a code of a newer version
			continue
		}
		h.codes |= 1 << uint(code)
	}
	h.addText(conditions.GetText())
}

// join takes in what another one gathered.
func (h *handling) join(other handling) {
	h.codes |= other.codes
	h.missing = h.missing || other.missing
	for _, text := range other.texts {
		h.addText(text)
	}
	if other.marking != nil {
		h.mark(other.marking)
	}
}

func (h *handling) addText(text string) {
	if text == "" {
		return
	}
	at, found := slices.BinarySearch(h.texts, text)
	if !found {
		h.texts = slices.Insert(h.texts, at, text)
	}
}

func (h *handling) view() *ententev1.HandlingConditions {
	conditions := &ententev1.HandlingConditions{Text: strings.Join(h.texts, "\n")}
	if h.missing {
		return conditions
	}
	for code := range ententev1.HandlingCode(64) {
		if h.codes&(1<<uint(code)) != 0 {
			conditions.Codes = append(conditions.Codes, code)
		}
	}
	return conditions
}
