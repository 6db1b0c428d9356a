package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// projectDifference is what `project diff` says.
type projectDifference struct {
	Project string `json:"project"`
	Old     uint64 `json:"old"`
	New     uint64 `json:"new"`
	// Lines say each document that was added, a sentence each.
	Lines []string `json:"changes"`
	// Participants and Open are as they are now.
	Participants []member.ID `json:"participants"`
	Open         bool        `json:"open"`
}

func projectDiff(p process) *cobra.Command {
	var f pin
	var roster string
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "say in sentences what changed from one chain of a project to a longer one",
		Long: "Verifies both chains and says which documents the new one adds. A new one that does not continue the old one is refused, as\n" +
			"nodes would: it is older, or it shows another history.",
		Example: "  entente project diff projects/harbour-light.pb new.pb --roster roster.pb --genesis genesis.pb",
		Args:    arguments(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			err = given(c, "roster")
			if err != nil {
				return err
			}
			d, err := p.compareChains(args[0], args[1], roster, f)
			if err != nil {
				return err
			}
			if asJSON {
				return p.writeJSON(d)
			}
			return p.printf("%s\n", strings.Join(append([]string{fmt.Sprintf("project %s, from document %d to document %d:", d.Project, d.Old, d.New)},
				d.Lines...), "\n  "))
		},
	}
	f.add(c)
	c.Flags().StringVar(&roster, "roster", "", "file of the roster in force")
	addOutput(c)
	return c
}

func (p process) compareChains(oldPath, newPath, rosterPath string, f pin) (projectDifference, error) {
	chain, err := readChain(newPath)
	if err != nil {
		return projectDifference{}, err
	}
	_, project, err := p.verifyChain(chain, rosterPath, f)
	if err != nil {
		return projectDifference{}, fmt.Errorf("%s: %w", newPath, err)
	}
	old, err := p.follow(project, oldPath, rosterPath, f)
	if err != nil {
		return projectDifference{}, err
	}
	d := projectDifference{Project: project.ID, Old: old.Number, New: project.Number, Lines: []string{}, Participants: project.Participants,
		Open: project.Open(p.Now())}
	for _, doc := range chain[old.Number:] {
		d.Lines = append(d.Lines, describeDocument(doc))
	}
	if len(d.Lines) == 0 {
		d.Lines = append(d.Lines, "nothing changed")
	}
	d.Lines = append(d.Lines, "now "+p.projectState(project)+"; participants: "+joinIDs(project.Participants))
	return d, nil
}

// follow verifies the chain that is held and that another one is to continue, and gives it.
func (p process) follow(project *member.Project, heldPath, rosterPath string, f pin) (*member.Project, error) {
	chain, err := readChain(heldPath)
	if err != nil {
		return nil, err
	}
	_, held, err := p.verifyChain(chain, rosterPath, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", heldPath, err)
	}
	switch {
	case held.ID != project.ID:
		return nil, fmt.Errorf("%s is of project %s, not of %s", heldPath, held.ID, project.ID)
	case project.Extends(held):
		return held, nil
	case held.Extends(project):
		return nil, fmt.Errorf("the chain is older than %s: it has %d documents, the held one %d", heldPath, project.Number, held.Number)
	}
	return nil, fmt.Errorf("the chain contradicts %s: the same project with another history (a fork); its lead %s signed both", heldPath, held.Lead)
}

// describeDocument says what one document of a chain does.
func describeDocument(doc *ententev1.SignedDocument) string {
	body := &ententev1.ProjectDocument{}
	err := proto.Unmarshal(doc.GetBody(), body)
	if err != nil {
		return "a document whose body is damaged" // verification has refused the chain before
	}
	what := "something that this program does not know"
	switch content := body.GetContent().(type) {
	case *ententev1.ProjectDocument_Charter:
		what = fmt.Sprintf("it is opened, with %s", strings.Join(content.Charter.GetParticipants(), ", "))
	case *ententev1.ProjectDocument_Admission:
		what = content.Admission.GetMember() + " is admitted"
	case *ententev1.ProjectDocument_Departure:
		what = content.Departure.GetMember() + " leaves"
		if content.Departure.GetRemoved() {
			what = content.Departure.GetMember() + " is removed"
		}
	case *ententev1.ProjectDocument_End:
		what = fmt.Sprintf("it ends: %q", content.End.GetReason())
	}
	return fmt.Sprintf("document %d: %s, signed at %s", body.GetNumber(), what, body.GetSignedAt().AsTime().Format(time.RFC3339))
}
