package client_test

import (
	"fmt"
	"slices"

	"entente.example/entente/nodes/sandbox"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// An analyst asks for the merged picture of what all members have released, and looks at one person in it. The question
// goes to the own node, which passes it on to the coordinator; the answer holds only what the analyst's member may see.
func Example_analyst() {
	federation := open()
	defer federation.close()
	federation.share("XA", project(sandbox.Project), person("P-1", "Teodor", "Varrin"))
	federation.share("XB", project(sandbox.Project), person("S/77", "Teodor", "Varrin"), person("S/78", "Ilra", "Moskel"))

	c := federation.dial("XA", member.KindOfficer, sandbox.Officer)
	defer c.Close()

	// Watch tells the state of the view and then each change of it: no need to ask again and again.
	for response, err := range c.Watch(federation.ctx, &ententev1.WatchRequest{Consultation: why()}) {
		check(err)
		if response.GetView().GetRecordCount() == 3 {
			break
		}
	}
	view, err := c.View(federation.ctx, why())
	check(err)
	fmt.Printf("%d records are %d persons for %s\n", view.Info.GetRecordCount(), len(view.Entities), view.Info.GetReader())

	merged := view.Entities[slices.IndexFunc(view.Entities, func(e *ententev1.ViewEntity) bool { return len(e.GetSources()) == 2 })]
	answer, err := c.Entity(federation.ctx, why(), merged.GetEntityId())
	check(err)
	for _, fact := range answer.GetEntity().GetFacts() {
		if fact.GetField() != "name" {
			continue
		}
		fmt.Printf("%s %q, say:\n", fact.GetField(), fact.GetValue())
		var lines []string
		for _, index := range fact.GetSources() {
			source := answer.GetEntity().GetSources()[index]
			grade := source.GetEvaluation()
			lines = append(lines, fmt.Sprintf("  %s, grade %s%s", source.GetProviderMember(), grade.GetSourceCode(), grade.GetInformationCode()))
		}
		slices.Sort(lines)
		for _, line := range lines {
			fmt.Println(line)
		}
	}

	// Output:
	// 3 records are 2 persons for XA
	// name "VARRIN, Teodor", say:
	//   XA, grade B2
	//   XB, grade B2
}
