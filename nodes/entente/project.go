package main

import (
	"crypto/ed25519"
	"fmt"
	"slices"
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
		projectOpen(p), projectAdmit(p), projectDepart(p), projectEnd(p), projectVerify(p), projectDiff(p), projectShow(p))
}

// lead is what every document of a chain is made and checked with.
type lead struct {
	pin
	roster, key string
	dryRun      bool
}

func (l *lead) add(c *cobra.Command) {
	l.pin.add(c)
	c.Flags().StringVar(&l.roster, "roster", "", "file of the roster in force")
	c.Flags().StringVar(&l.key, "signing-key", "", "file with the lead's signing key")
	addDryRun(c, &l.dryRun)
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

// mayLead refuses what nodes would take and what is a mistake all the same: a document of a lead that is not in good
// standing, or by a key of it that is not a current one, which may be out of its hands.
func (l *lead) mayLead(roster *member.Roster, project *member.Project) error {
	if !roster.Active(project.Lead) {
		return cli.UsageErrorf("%s, the lead, is suspended or not a member (roster %d): a project without its lead is closed, and only a quorum "+
			"of founders can bring it back; open another project with another lead", project.Lead, roster.Number())
	}
	key, err := readPrivateKey(l.key)
	if err != nil {
		return err
	}
	isThis := func(current ed25519.PublicKey) bool { return current.Equal(key.Public()) }
	if !slices.ContainsFunc(roster.CurrentKeys(project.Lead), isThis) {
		return cli.UsageErrorf("%s: not a current signing key of %s, the lead (roster %d): its signature would not count, or not for long",
			l.key, project.Lead, roster.Number())
	}
	return nil
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
			"investigation. The id is what records are released to: --to project:ID.\n\n" +
			"Who takes part, changes by later documents; purpose, kinds and dates never do: another purpose is another project. Nodes\n" +
			"refuse to release records of other kinds to it, and anything before --from or from --until on.",
		Example: "  entente project open --id harbour-light --name \"Harbour light\" --lead XA --participant XB --purpose criminal-investigation \\\n" +
			"    --group \"the invented Harbour group\" --from 2026-11-01 --until 2027-11-01 --signing-key xa/signing-key.key \\\n" +
			"    --roster roster.pb --genesis genesis.pb --out projects/harbour-light.pb",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			needed := []string{"id", "name", "lead", "purpose", "until", "signing-key", "roster", "out"}
			if o.dryRun {
				needed = needed[:7]
			}
			err := given(c, needed...)
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
	roster, project, err := p.verifyChain(chain, o.lead.roster, o.pin)
	if err != nil {
		return err
	}
	err = p.mayOpen(o, roster, project, charter.GetParticipants())
	if err != nil {
		return err
	}
	if !o.dryRun {
		err = createMessage(o.out, &ententev1.ListProjectDocumentsResponse{Documents: chain})
	}
	if err != nil {
		return err
	}
	return p.printPlanned(o.dryRun, o.out, p.describeProject(project), previewHint("a participant", "ID", project.ID))
}

// mayOpen refuses a charter that nodes would take and that is no use to anybody.
func (p process) mayOpen(o charterOptions, roster *member.Roster, project *member.Project, participants []string) error {
	err := o.mayLead(roster, project)
	if err != nil {
		return err
	}
	if !p.Now().Before(project.EndsAt) {
		return cli.UsageErrorf("--until %s: this is over already", o.until)
	}
	for _, name := range participants {
		if !roster.Active(member.ID(name)) {
			return cli.UsageErrorf("--participant %s: it is suspended or not a member any more (roster %d)", name, roster.Number())
		}
	}
	return nil
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

// next is what a command adds to a chain: the document, and what to know of it.
type next func(chain []*ententev1.SignedDocument, roster *member.Roster, project *member.Project) (doc *ententev1.SignedDocument, note string, err error)

// nextCommand makes a command that adds a document to the chain in a file.
func nextCommand(p process, c *cobra.Command, l *lead, needed []string, add next) *cobra.Command {
	l.add(c)
	c.Args = arguments(cobra.ExactArgs(1))
	c.RunE = func(c *cobra.Command, args []string) error {
		err := given(c, append(needed, "signing-key", "roster")...)
		if err != nil {
			return err
		}
		return p.addNext(args[0], l, add)
	}
	return c
}

func (p process) addNext(path string, l *lead, add next) error {
	chain, err := readChain(path)
	if err != nil {
		return err
	}
	// A new document on a chain that does not verify would be refused by everybody; say so before signing.
	roster, before, err := p.verifyChain(chain, l.roster, l.pin)
	if err != nil {
		return err
	}
	err = l.mayLead(roster, before)
	if err != nil {
		return err
	}
	doc, note, err := add(chain, roster, before)
	if err != nil {
		return err
	}
	longer := append(slices.Clone(chain), doc)
	_, project, err := p.verifyChain(longer, l.roster, l.pin)
	if err != nil {
		return err
	}
	if !l.dryRun {
		err = replaceMessage(path, &ententev1.ListProjectDocumentsResponse{Documents: longer})
	}
	if err != nil {
		return err
	}
	lines := append([]string{p.describeProject(project)}, describeDocument(doc))
	if note != "" {
		lines = append(lines, note)
	}
	return p.printPlanned(l.dryRun, path, lines...)
}

// previewHint says how owners see what somebody will read.
func previewHint(who, id, project string) string {
	return fmt.Sprintf("what %s reads, each owner sees at its own node: entente stream preview %s --project %s", who, id, project)
}

func projectAdmit(p process) *cobra.Command {
	var l lead
	var id string
	c := &cobra.Command{
		Use:   "admit FILE",
		Short: "admit a participant",
		Long: "Adds an admission to the chain, in place. The participant reads what is released to the project from then on; what was\n" +
			"released before opens to it by a grant of its owner only (`entente stream grant`). --dry-run says who would take part;\n" +
			"each owner sees at its own node what the newcomer will and will not read (`entente stream preview`).",
		Example: "  entente project admit projects/harbour-light.pb --member XC --signing-key xa/signing-key.key --roster roster.pb --genesis genesis.pb",
	}
	c.Flags().StringVar(&id, "member", "", "member to admit")
	return nextCommand(p, c, &l, []string{"member"}, func(chain []*ententev1.SignedDocument, roster *member.Roster, project *member.Project) (*ententev1.SignedDocument, string, error) {
		key, participant, err := l.keyAnd(id)
		if err != nil {
			return nil, "", err
		}
		if !p.Now().Before(project.EndsAt) {
			return nil, "", cli.UsageErrorf("project %s ended at %s; nobody is admitted any more", project.ID, project.EndsAt.UTC().Format(time.RFC3339))
		}
		if !roster.Active(participant) {
			return nil, "", fmt.Errorf("%s is suspended or not a member (roster %d)", participant, roster.Number())
		}
		doc, err := member.NewAdmission(chain, participant, key, p.Now())
		return doc, fmt.Sprintf("%s reads what is released from now on; %s", participant, previewHint("it", string(participant), project.ID)), err
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
	return nextCommand(p, c, &l, []string{"member"}, func(chain []*ententev1.SignedDocument, _ *member.Roster, _ *member.Project) (*ententev1.SignedDocument, string, error) {
		key, participant, err := l.keyAnd(id)
		if err != nil {
			return nil, "", err
		}
		doc, err := member.NewDeparture(chain, participant, removed, key, p.Now())
		return doc, fmt.Sprintf("as soon as nodes have the chain, owners send %s nothing more of the project and withdraw what it holds by it, its own node "+
			"denies it to its officers and systems, and its own records leave the project", participant), err
	})
}

func projectEnd(p process) *cobra.Command {
	var l lead
	var reason string
	c := &cobra.Command{
		Use:   "end FILE",
		Short: "end a project before its date",
		Long: "Adds the end to the chain, in place. Nothing follows it, and what was released to the project is withdrawn from all its\n" +
			"participants. The reason is for people and must not name a person under investigation.",
		Example: "  entente project end projects/harbour-light.pb --reason \"aims reached\" --signing-key xa/signing-key.key --roster roster.pb --genesis genesis.pb",
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for people")
	return nextCommand(p, c, &l, []string{"reason"}, func(chain []*ententev1.SignedDocument, _ *member.Roster, _ *member.Project) (*ententev1.SignedDocument, string, error) {
		key, err := readPrivateKey(l.key)
		if err != nil {
			return nil, "", err
		}
		doc, err := member.NewEnd(chain, reason, key, p.Now())
		return doc, "this cannot be taken back: what was released to the project is withdrawn as soon as nodes have the chain", err
	})
}

func projectVerify(p process) *cobra.Command {
	var f pin
	var roster, held string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "check the chain of a project as a node would, and say who takes part",
		Long: "Checks every document of a chain against the roster, and with --held also that it takes nothing back: a chain that is\n" +
			"older than the held one, or another one under the same id (a fork), is refused. The exit code is 0 only if a node would\n" +
			"take it.",
		Example: "  entente project verify projects/harbour-light.pb --roster roster.pb --genesis genesis.pb\n" +
			"  entente project verify new.pb --held projects/harbour-light.pb --roster roster.pb --genesis genesis.pb",
		Args: arguments(cobra.ExactArgs(1)),
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
			_, project, err := p.verifyChain(chain, roster, f)
			if err != nil {
				return err
			}
			if held != "" {
				_, err = p.follow(project, held, roster, f)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return p.writeJSON(p.summariseProject(project))
			}
			return p.printf("%s\n", p.describeProject(project))
		},
	}
	f.add(c)
	c.Flags().StringVar(&roster, "roster", "", "file of the roster in force")
	c.Flags().StringVar(&held, "held", "", "file of the chain that nodes hold already")
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

// verifyChain verifies a chain by a roster, and gives both.
func (p process) verifyChain(chain []*ententev1.SignedDocument, rosterPath string, f pin) (*member.Roster, *member.Project, error) {
	roster, err := p.readRoster(rosterPath, f)
	if err != nil {
		return nil, nil, err
	}
	project, err := member.VerifyProject(chain, roster)
	return roster, project, err
}

func (p process) describeProject(project *member.Project) string {
	text := fmt.Sprintf("project %s (%q), led by %s, %d documents, %s\nparticipants: %s", project.ID, project.Name, project.Lead,
		project.Number, p.projectState(project), joinIDs(project.Participants))
	if len(project.DataCategories) > 0 {
		text += "\nkinds of record: " + strings.Join(codeNames(project.DataCategories), ", ")
	}
	return text
}

// projectState says in a few words whether records may be shared in the project now.
func (p process) projectState(project *member.Project) string {
	now, until := p.Now(), project.EndsAt.UTC().Format(time.RFC3339)
	switch {
	case project.Ended:
		return "ended"
	case !project.Has(project.Lead):
		return "closed: its lead is suspended or not a member any more"
	case now.Before(project.StartsAt):
		return "not begun: from " + project.StartsAt.UTC().Format(time.RFC3339) + " until " + until
	case !project.Open(now):
		return "over since " + until
	}
	return "until " + until
}

// projectSummary is what `project verify` says.
type projectSummary struct {
	ID           string      `json:"id"`
	Name         string      `json:"name"`
	Lead         member.ID   `json:"lead"`
	Purpose      string      `json:"purpose"`
	Kinds        []string    `json:"kinds"` // none: all
	Participants []member.ID `json:"participants"`
	Documents    uint64      `json:"documents"`
	StartsAt     time.Time   `json:"starts_at"`
	EndsAt       time.Time   `json:"ends_at"`
	// Open says whether records may be shared in it now.
	Open bool `json:"open"`
}

func (p process) summariseProject(project *member.Project) projectSummary {
	return projectSummary{
		ID: project.ID, Name: project.Name, Lead: project.Lead, Purpose: codeName(project.Purpose), Kinds: codeNames(project.DataCategories),
		Participants: project.Participants,
		Documents:    project.Number, StartsAt: project.StartsAt.UTC(), EndsAt: project.EndsAt.UTC(), Open: project.Open(p.Now()),
	}
}
