package main

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func projectCommand(p process) *cobra.Command {
	return group("project", "open a project, and say who takes part",
		"A project is a chain of documents, each signed by the lead's signing key and naming the one before: charter, admissions,\n"+
			"departures, end. The chain is one file. In the projects folder of the lead's node it reaches the participants by itself;\n"+
			"nobody else learns that the project exists.",
		"  entente project open --id harbour-light --name \"Harbour light\" --lead XA --participant XB --purpose criminal-investigation \\\n"+
			"    --from 2026-11-01 --until 2027-11-01 --signing-key xa/signing-key.key --roster roster.pb --genesis genesis.pb --out projects/harbour-light.pb\n"+
			"  entente project admit projects/harbour-light.pb --member XC --signing-key xa/signing-key.key --roster roster.pb --genesis genesis.pb",
		projectOpen(p), projectAdmit(p), projectDepart(p), projectEnd(p), projectVerify(p), projectShow(p))
}

// lead is what every document of a chain is made and checked with.
type lead struct {
	pin
	roster, key string
}

func (l *lead) add(c *cobra.Command) {
	l.pin.add(c)
	c.Flags().StringVar(&l.roster, "roster", "", "file of the roster in force")
	c.Flags().StringVar(&l.key, "signing-key", "", "file with the lead's signing key")
}

// keyAnd reads the lead's signing key, and the id of the member that a document is about.
func (l *lead) keyAnd(id string) (ed25519.PrivateKey, member.ID, error) {
	about, err := member.ParseID(id)
	if err != nil {
		return nil, "", cli.UsageErrorf("--member: %w", err)
	}
	key, err := readPrivateKey(l.key)
	return key, about, err
}

// charterOptions are the flags of `project open`.
type charterOptions struct {
	lead
	id, name, leadID, purpose, group, out, from, until string
	participants, crimeAreas, kinds                    []string
}

func projectOpen(p process) *cobra.Command {
	var o charterOptions
	c := &cobra.Command{
		Use:   "open",
		Short: "write the charter of a project",
		Long: "Opens a project: writes its charter, signed by the lead. Name and group are for people, and must not name a person under\n" +
			"investigation. The id is what records are released to: --to project:ID.",
		Example: "  entente project open --id harbour-light --name \"Harbour light\" --lead XA --participant XB --purpose criminal-investigation \\\n" +
			"    --group \"the invented Harbour group\" --from 2026-11-01 --until 2027-11-01 --signing-key xa/signing-key.key \\\n" +
			"    --roster roster.pb --genesis genesis.pb --out projects/harbour-light.pb",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "id", "name", "lead", "purpose", "until", "signing-key", "roster", "out")
			if err != nil {
				return err
			}
			return p.openProject(o)
		},
	}
	o.lead.add(c)
	f := c.Flags()
	f.StringVar(&o.id, "id", "", "id of the project: letters, digits, dots, hyphens and underscores")
	f.StringVar(&o.name, "name", "", "its name, for people")
	f.StringVar(&o.leadID, "lead", "", "member that leads it, and takes part")
	f.StringSliceVar(&o.participants, "participant", nil, "another member that takes part from the start")
	f.StringVar(&o.purpose, "purpose", "", "why it processes data, such as criminal-investigation")
	f.StringVar(&o.group, "group", "", "the criminal group or phenomenon that it is about, described")
	f.StringSliceVar(&o.crimeAreas, "crime-area", nil, "crime area that it covers")
	f.StringSliceVar(&o.kinds, "kind", nil, "kind of record that may be shared in it; none given: all")
	f.StringVar(&o.from, "from", "", "first day (2026-11-01) or time (RFC 3339); none given: now")
	f.StringVar(&o.until, "until", "", "day or time of its end")
	f.StringVar(&o.out, "out", "", "file to write")
	return c
}

func (p process) openProject(o charterOptions) error {
	charter, err := p.charter(o)
	if err != nil {
		return err
	}
	key, err := readPrivateKey(o.key)
	if err != nil {
		return err
	}
	doc, err := member.NewCharter(o.id, charter, key, p.Now())
	if err != nil {
		return cli.UsageErrorf("%w", err)
	}
	chain := []*ententev1.SignedDocument{doc}
	project, err := p.verifyChain(chain, o.lead.roster, o.pin)
	if err != nil {
		return err
	}
	err = createMessage(o.out, &ententev1.ListProjectDocumentsResponse{Documents: chain})
	if err != nil {
		return err
	}
	return p.printf("%s\n%s\n", o.out, describeProject(project))
}

func (p process) charter(o charterOptions) (*ententev1.ProjectCharter, error) {
	charter := &ententev1.ProjectCharter{Name: o.name, Group: o.group, Lead: o.leadID}
	participants, err := memberIDs("participant", o.participants)
	if err != nil {
		return nil, err
	}
	charter.Participants = []string{o.leadID}
	for _, id := range participants {
		if string(id) != o.leadID {
			charter.Participants = append(charter.Participants, string(id))
		}
	}
	charter.Purpose, err = code[ententev1.Purpose]("purpose", o.purpose)
	if err != nil {
		return nil, err
	}
	charter.CrimeAreas, err = codes[ententev1.CrimeArea]("crime-area", o.crimeAreas)
	if err != nil {
		return nil, err
	}
	charter.DataCategories, err = codes[ententev1.RecordKind]("kind", o.kinds)
	if err != nil {
		return nil, err
	}
	starts := p.Now()
	if o.from != "" {
		starts, err = parseTime("from", o.from)
	}
	if err != nil {
		return nil, err
	}
	ends, err := parseTime("until", o.until)
	if err != nil {
		return nil, err
	}
	charter.StartsAt, charter.EndsAt = timestamppb.New(starts), timestamppb.New(ends)
	return charter, nil
}

// parseTime reads a day, which begins at midnight UTC, or a time.
func parseTime(flag, text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		at, err := time.Parse(layout, text)
		if err == nil {
			return at, nil
		}
	}
	return time.Time{}, cli.UsageErrorf("--%s %q: give a day (2026-11-01) or a time (2026-11-01T08:00:00Z)", flag, text)
}

// nextCommand makes a command that adds a document to the chain in a file.
func nextCommand(p process, c *cobra.Command, l *lead, needed []string, next func(chain []*ententev1.SignedDocument) (*ententev1.SignedDocument, error)) *cobra.Command {
	l.add(c)
	c.Args = arguments(cobra.ExactArgs(1))
	c.RunE = func(c *cobra.Command, args []string) error {
		err := given(c, append(needed, "signing-key", "roster")...)
		if err != nil {
			return err
		}
		chain, err := readChain(args[0])
		if err != nil {
			return err
		}
		// A new document on a chain that does not verify would be refused by everybody; say so before signing.
		_, err = p.verifyChain(chain, l.roster, l.pin)
		if err != nil {
			return err
		}
		doc, err := next(chain)
		if err != nil {
			return err
		}
		chain = append(chain, doc)
		project, err := p.verifyChain(chain, l.roster, l.pin)
		if err != nil {
			return err
		}
		err = replaceMessage(args[0], &ententev1.ListProjectDocumentsResponse{Documents: chain})
		if err != nil {
			return err
		}
		return p.printf("%s\n", describeProject(project))
	}
	return c
}

func projectAdmit(p process) *cobra.Command {
	var l lead
	var id string
	c := &cobra.Command{
		Use:   "admit FILE",
		Short: "admit a participant",
		Long: "Adds an admission to the chain, in place. The participant reads what is released to the project from then on; streams from\n" +
			"before stay closed to it.",
		Example: "  entente project admit projects/harbour-light.pb --member XC --signing-key xa/signing-key.key --roster roster.pb --genesis genesis.pb",
	}
	c.Flags().StringVar(&id, "member", "", "member to admit")
	return nextCommand(p, c, &l, []string{"member"}, func(chain []*ententev1.SignedDocument) (*ententev1.SignedDocument, error) {
		key, participant, err := l.keyAnd(id)
		if err != nil {
			return nil, err
		}
		return member.NewAdmission(chain, participant, key, p.Now())
	})
}

func projectDepart(p process) *cobra.Command {
	var l lead
	var id string
	var removed bool
	c := &cobra.Command{
		Use:   "depart FILE",
		Short: "note that a participant leaves, or is removed",
		Long: "Adds a departure to the chain, in place. What the participant was given through the project is withdrawn from it when its\n" +
			"owners' nodes have the new chain.",
		Example: "  entente project depart projects/harbour-light.pb --member XC --removed --signing-key xa/signing-key.key --roster roster.pb --genesis genesis.pb",
	}
	c.Flags().StringVar(&id, "member", "", "member that leaves")
	c.Flags().BoolVar(&removed, "removed", false, "it was removed rather than left")
	return nextCommand(p, c, &l, []string{"member"}, func(chain []*ententev1.SignedDocument) (*ententev1.SignedDocument, error) {
		key, participant, err := l.keyAnd(id)
		if err != nil {
			return nil, err
		}
		return member.NewDeparture(chain, participant, removed, key, p.Now())
	})
}

func projectEnd(p process) *cobra.Command {
	var l lead
	var reason string
	c := &cobra.Command{
		Use:     "end FILE",
		Short:   "end a project before its date",
		Long:    "Adds the end to the chain, in place. Nothing follows it. The reason is for people and must not name a person under investigation.",
		Example: "  entente project end projects/harbour-light.pb --reason \"aims reached\" --signing-key xa/signing-key.key --roster roster.pb --genesis genesis.pb",
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for people")
	return nextCommand(p, c, &l, []string{"reason"}, func(chain []*ententev1.SignedDocument) (*ententev1.SignedDocument, error) {
		key, err := readPrivateKey(l.key)
		if err != nil {
			return nil, err
		}
		return member.NewEnd(chain, reason, key, p.Now())
	})
}

func projectVerify(p process) *cobra.Command {
	var f pin
	var roster string
	c := &cobra.Command{
		Use:     "verify FILE",
		Short:   "check the chain of a project as a node would, and say who takes part",
		Long:    "Checks every document of a chain against the roster. The exit code is 0 only if a node would take it.",
		Example: "  entente project verify projects/harbour-light.pb --roster roster.pb --genesis genesis.pb",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			err = given(c, "roster")
			if err != nil {
				return err
			}
			chain, err := readChain(args[0])
			if err != nil {
				return err
			}
			project, err := p.verifyChain(chain, roster, f)
			if err != nil {
				return err
			}
			if asJSON {
				return p.writeJSON(p.summariseProject(project))
			}
			return p.printf("%s\n", describeProject(project))
		},
	}
	f.add(c)
	c.Flags().StringVar(&roster, "roster", "", "file of the roster in force")
	addOutput(c)
	return c
}

func projectShow(p process) *cobra.Command {
	c := &cobra.Command{
		Use:   "show FILE",
		Short: "print the documents of a project as JSON, without judging them",
		Long: "Prints what the chain says and whose signatures stand on it. It verifies nothing: what is shown may be forged until\n" +
			"`entente project verify` has passed.",
		Example: "  entente project show projects/harbour-light.pb",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			chain, err := readChain(args[0])
			if err != nil {
				return err
			}
			shown := []shownDocument{}
			for i, doc := range chain {
				one, err := show(doc)
				if err != nil {
					return cli.UsageErrorf("%s: document %d: %w", args[0], i+1, err)
				}
				shown = append(shown, one)
			}
			return p.writeShown(shown, asJSON)
		},
	}
	addOutput(c)
	return c
}

func readChain(path string) ([]*ententev1.SignedDocument, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	chain, err := national.ParseChain(content)
	if err != nil {
		return nil, cli.UsageErrorf("%s: %w; `entente project open` makes such files", path, err)
	}
	return chain, nil
}

func (p process) verifyChain(chain []*ententev1.SignedDocument, rosterPath string, f pin) (*member.Project, error) {
	roster, err := p.readRoster(rosterPath, f)
	if err != nil {
		return nil, err
	}
	return member.VerifyProject(chain, roster)
}

func describeProject(project *member.Project) string {
	state := "until " + project.EndsAt.UTC().Format(time.RFC3339)
	if project.Ended {
		state = "ended"
	}
	var names []string
	for _, id := range project.Participants {
		names = append(names, string(id))
	}
	return fmt.Sprintf("project %s (%q), led by %s, %d documents, %s\nparticipants: %s", project.ID, project.Name, project.Lead,
		project.Number, state, strings.Join(names, ", "))
}

// projectSummary is what `project verify` says.
type projectSummary struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	Lead         member.ID   `json:"lead"`
	Purpose      string      `json:"purpose"`
	Participants []member.ID `json:"participants"`
	Documents    uint64      `json:"documents"`
	StartsAt     time.Time   `json:"starts_at"`
	EndsAt       time.Time   `json:"ends_at"`
	// Open says whether records may be shared in it now.
	Open bool `json:"open"`
}

func (p process) summariseProject(project *member.Project) projectSummary {
	return projectSummary{
		ID: project.ID, Name: project.Name, Lead: project.Lead, Purpose: codeName(project.Purpose), Participants: project.Participants,
		Documents: project.Number, StartsAt: project.StartsAt.UTC(), EndsAt: project.EndsAt.UTC(), Open: project.Open(p.Now()),
	}
}
