package demo

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// held is a record of the case and who pushed it.
type held struct {
	member string
	step   int
	item   *ententev1.PushItem
}

func (h held) record() *ententev1.Record { return h.item.GetRecord() }

func (h held) reference() string { return h.record().GetEnvelope().GetProviderReference() }

func allHeld() []held {
	var all []held
	for _, c := range Case() {
		for step, s := range c.Steps {
			for _, item := range s.Items {
				all = append(all, held{c.Member, step, item})
			}
		}
	}
	return all
}

// firstVersions is by reference.
func firstVersions() map[string]held {
	first := make(map[string]held)
	for _, h := range allHeld() {
		if h.record().GetEnvelope().GetVersion() == 1 {
			first[h.reference()] = h
		}
	}
	return first
}

func refsOf(body *ententev1.Body) []string {
	switch {
	case body.GetAssociation() != nil:
		a := body.GetAssociation()
		return []string{a.GetFrom().GetProviderReference(), a.GetTo().GetProviderReference()}
	case body.GetRole() != nil && body.GetRole().GetGroup() != nil:
		r := body.GetRole()
		return []string{r.GetPerson().GetProviderReference(), r.GetGroup().GetProviderReference()}
	case body.GetRole() != nil:
		return []string{body.GetRole().GetPerson().GetProviderReference()}
	}
	return nil
}

// readersOf is a plain reading of audiences, apart from the builder's own table.
func readersOf(owner string, audiences []*ententev1.Audience) []string {
	readers := []string{}
	for _, a := range audiences {
		switch {
		case a.GetAllMembers() != nil:
			readers = append(readers, "XA", "XB", "XC", "XD", CoordinatorID)
		case a.GetProject() != nil:
			for _, m := range []string{"XA", "XB", "XC", CoordinatorID} {
				if !slices.Contains(a.GetProject().GetWithout(), m) {
					readers = append(readers, m)
				}
			}
		default:
			readers = append(readers, a.GetMembers().GetMembers()...)
		}
	}
	return slices.DeleteFunc(readers, func(m string) bool { return m == owner })
}

func TestEachRecordKeepsTheRulesOfTheContract(t *testing.T) {
	for _, h := range allHeld() {
		err := protovalidate.Validate(h.record())
		if err != nil {
			t.Errorf("%s: %v", h.reference(), err)
		}
	}
	broken := proto.CloneOf(allHeld()[0].record())
	broken.Envelope.Purpose = 0
	if protovalidate.Validate(broken) == nil {
		t.Error("a record without purpose passes: the check cannot fail")
	}
}

func TestEachRecordKeepsTheRulesThatTheContractSaysInWords(t *testing.T) {
	for _, h := range allHeld() {
		for _, breach := range breaches(h) {
			t.Errorf("%s: %s", h.reference(), breach)
		}
	}
	bad := &ententev1.Person{Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT}
	record := proto.CloneOf(allHeld()[0].record())
	record.Body = bodyOf(bad)
	item := &ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: record}}
	if len(breaches(held{"XA", 0, item})) == 0 {
		t.Error("a suspect without a basis passes: the check cannot fail")
	}
}

func breaches(h held) []string {
	var found []string
	broken := func(is bool, rule string) {
		if is {
			found = append(found, rule)
		}
	}
	envelope, body := h.record().GetEnvelope(), h.record().GetBody()
	ev, handling := envelope.GetEvaluation(), envelope.GetHandling()
	broken(ev == nil || len(handling.GetCodes()) == 0, "no evaluation or handling")
	broken(slices.Contains(handling.GetCodes(), ententev1.HandlingCode_HANDLING_CODE_H3) != (handling.GetText() != ""),
		"H3 and its text go together")
	sources, information := "ABCX", "1234"
	if ev.GetScheme() == ententev1.EvaluationScheme_EVALUATION_SCHEME_6X6 {
		sources, information = "ABCDEF", "123456"
	}
	broken(!strings.Contains(sources, ev.GetSourceCode()) || !strings.Contains(information, ev.GetInformationCode()),
		"evaluation code of another scheme")
	broken(envelope.GetProviderMember() != h.member, "another provider")
	if p := body.GetPerson(); p != nil {
		broken(p.GetStatus() == ententev1.PersonStatus_PERSON_STATUS_INFORMANT, "an informant")
		broken(p.GetStatus() == ententev1.PersonStatus_PERSON_STATUS_SUSPECT && p.GetSuspicionBasis() == "",
			"a suspect without a basis")
	}
	for _, tie := range body.GetAssociation().GetTies() {
		broken(tie.GetBasis() == ententev1.TieBasis_TIE_BASIS_ETHNIC, "an ethnic tie")
	}
	broken(slices.Contains(body.GetCriminalGroup().GetTieBases(), ententev1.TieBasis_TIE_BASIS_ETHNIC), "an ethnic tie")
	if l := body.GetLesson(); l != nil {
		broken(!l.GetSanitised(), "not sanitised")
		beyond := l.GetStage() > ententev1.LessonStage_LESSON_STAGE_OBSERVATION
		broken(beyond && (l.GetDiscussion() == "" || l.GetConclusion() == "" || l.GetRecommendation() == "" ||
			len(l.GetRemedialActions()) == 0), "a lesson without its fields")
		learned := l.GetStage() == ententev1.LessonStage_LESSON_STAGE_LESSON_LEARNED
		broken(learned && len(l.GetValidations()) == 0, "learned without validation")
	}
	if g := body.GetGoodPractice(); g != nil {
		broken(!g.GetSanitised(), "not sanitised")
	}
	if r := body.GetRole(); r != nil {
		broken(r.GetFunctionalRole() == 0 && r.GetPositionalRole() == 0, "a role that is none")
	}
	return found
}

func TestTheCaseHasTheSizeThatTheDemoPromises(t *testing.T) {
	counts := make(map[string]int)
	for _, h := range firstVersions() {
		body := h.record().GetBody()
		switch {
		case body.GetAssociation() != nil:
			counts["associations"]++
		case body.GetRole() != nil:
			counts["roles"]++
		case isLibrary(body):
			counts["library"]++
		default:
			counts["entities"]++
		}
	}
	t.Log(counts)
	limits := map[string][2]int{"entities": {190, 230}, "associations": {290, 340}, "roles": {38, 48}, "library": {11, 14}}
	for what, limit := range limits {
		if counts[what] < limit[0] || counts[what] > limit[1] {
			t.Errorf("%d %s, want %d to %d", counts[what], what, limit[0], limit[1])
		}
	}
}

func TestEachReferenceResolvesWithinItsMemberAndEarlier(t *testing.T) {
	steps := make(map[string]int)
	for _, h := range allHeld() {
		key := h.reference()
		if step, taken := steps[key]; taken && step == h.step {
			t.Errorf("%s occurs twice in a step", key)
		}
		for _, ref := range refsOf(h.record().GetBody()) {
			step, known := steps[ref]
			if !known || step >= h.step || !strings.HasPrefix(ref, h.member+"/") {
				t.Errorf("%s names %q, which is not an earlier record of its member", key, ref)
			}
		}
		if version := h.record().GetEnvelope().GetVersion(); version == 2 {
			if _, taken := steps[key]; !taken || h.item.GetAudiences() != nil {
				t.Errorf("%s: a correction needs a first version and no audience", key)
			}
		}
		steps[key] = h.step
	}
}

func TestTheTwoEndsOfAnAssociationDiffer(t *testing.T) {
	for reference, h := range firstVersions() {
		refs := refsOf(h.record().GetBody())
		if len(refs) == 2 && refs[0] == refs[1] {
			t.Errorf("%s joins a record with itself", reference)
		}
	}
}

func TestOnlyThePlantedAssociationsAskForMoreThanTheirEndsAllow(t *testing.T) {
	first := firstVersions()
	var tooWide []string
	for reference, h := range first {
		for _, ref := range refsOf(h.record().GetBody()) {
			allowed := readersOf(h.member, first[ref].item.GetAudiences())
			for _, reader := range readersOf(h.member, h.item.GetAudiences()) {
				if !slices.Contains(allowed, reader) {
					tooWide = append(tooWide, reference)
				}
			}
		}
	}
	slices.Sort(tooWide)
	planted := StaysHome()
	slices.Sort(planted)
	if !slices.Equal(slices.Compact(tooWide), planted) || len(planted) < 3 {
		t.Errorf("too wide are %v, planted %v", slices.Compact(tooWide), planted)
	}
}

func TestEachMemberOfTheProjectUsesEachKindOfAudience(t *testing.T) {
	seen := make(map[string]bool)
	for _, h := range firstVersions() {
		seen[h.member+":"+strings.Join(readersOf(h.member, h.item.GetAudiences()), "+")] = true
	}
	for _, want := range []string{
		"XA:XB+XC+XD+COORD", "XA:XB+XC+COORD", "XA:XB+COORD", "XA:",
		"XB:XA+XC+XD+COORD", "XB:XA+XC+COORD", "XB:XA+COORD", "XB:",
		"XC:XA+XB+XD+COORD", "XC:XA+XB+COORD", "XC:XA+COORD", "XC:",
		"XD:XA+XB+XC+COORD", "XD:XA+COORD", "XD:",
	} {
		if !seen[want] {
			t.Errorf("no record goes to %s", want)
		}
	}
}

// strongEvidence is the plain evidence of a person: document number with issuer, name with full birth date.
func strongEvidence(p *ententev1.Person) []string {
	fold := strings.NewReplacer("é", "e", "î", "i", "è", "e")
	var evidence []string
	for _, d := range p.GetDocuments() {
		evidence = append(evidence, "document "+d.GetIssuingCountry()+" "+d.GetNumber())
	}
	for _, n := range p.GetNames() {
		for _, d := range p.GetDatesOfBirth() {
			if d.GetPrecision() == ententev1.DatePrecision_DATE_PRECISION_DAY && n.GetFamily() != "" {
				name := fold.Replace(strings.ToLower(n.GetFamily() + "," + n.GetGiven()))
				evidence = append(evidence, fmt.Sprintf("name %s %d-%d-%d", name, d.GetYear(), d.GetMonth(), d.GetDay()))
			}
		}
	}
	return evidence
}

// clustersWithout merges by strong evidence all first versions of persons but one; it returns the cluster of each.
func clustersWithout(left string) map[string]string {
	cluster := make(map[string]string)
	carrier := make(map[string]string)
	for reference, h := range firstVersions() {
		p := h.record().GetBody().GetPerson()
		if p == nil || reference == left {
			continue
		}
		cluster[reference] = reference
		for _, e := range strongEvidence(p) {
			other, known := carrier[e]
			carrier[e] = reference
			if !known || cluster[other] == cluster[reference] {
				continue
			}
			old, now := cluster[other], cluster[reference]
			for r, c := range cluster {
				if c == old {
					cluster[r] = now
				}
			}
		}
	}
	return cluster
}

func TestStrongEvidenceFindsMostPeopleAndLeavesSome(t *testing.T) {
	cluster := clustersWithout("")
	owner := make(map[string]string)
	several, whole := 0, 0
	for person, refs := range TruthPersons() {
		if len(refs) < 2 {
			continue
		}
		several++
		split := false
		for _, ref := range refs {
			split = split || cluster[ref] != cluster[refs[0]]
		}
		if !split {
			whole++
		}
		for _, ref := range refs {
			other, taken := owner[cluster[ref]]
			if taken && other != person {
				t.Errorf("%s and %s are merged, but differ", person, other)
			}
			owner[cluster[ref]] = person
		}
	}
	t.Logf("%d people of several members, %d found whole", several, whole)
	if several < 25 || whole*10 < several*6 || several-whole < 5 {
		t.Errorf("%d people of several members, %d found whole", several, whole)
	}
}

func TestTheBridgingRecordIsAllThatJoinsTheTwo(t *testing.T) {
	first := firstVersions()
	for _, reference := range []string{BridgeReference, BridgeLeft, BridgeRight} {
		if first[reference].item == nil || first[reference].item.GetAudiences()[0].GetAllMembers() == nil {
			t.Fatalf("%s is not released to all", reference)
		}
	}
	if first[BridgeReference].member != BridgeMember {
		t.Errorf("%s is not of %s", BridgeReference, BridgeMember)
	}
	with, without := clustersWithout(""), clustersWithout(BridgeReference)
	if with[BridgeLeft] != with[BridgeRight] {
		t.Error("with the bridging record the two are apart")
	}
	if without[BridgeLeft] == without[BridgeRight] {
		t.Error("without the bridging record the two are still one")
	}
}

func TestTwoMembersGiveTheSamePersonDifferentRoles(t *testing.T) {
	roles := make(map[string][]ententev1.FunctionalRole)
	for _, h := range firstVersions() {
		if r := h.record().GetBody().GetRole(); r != nil {
			ref := r.GetPerson().GetProviderReference()
			roles[ref] = append(roles[ref], r.GetFunctionalRole())
		}
	}
	conflicts := 0
	for _, refs := range TruthPersons() {
		var all []ententev1.FunctionalRole
		for _, ref := range refs {
			all = append(all, roles[ref]...)
		}
		slices.Sort(all)
		if len(slices.Compact(all)) > 1 {
			conflicts++
		}
	}
	if conflicts < 3 {
		t.Errorf("%d people with conflicting roles, want at least 3", conflicts)
	}
}

func TestTheCaseIsTheSameEachTime(t *testing.T) {
	one, two := allHeld(), allHeld()
	for i := range one {
		if !proto.Equal(one[i].item, two[i].item) {
			t.Errorf("%s differs", one[i].reference())
		}
	}
}
