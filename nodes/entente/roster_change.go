package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// inForce is the roster that a command judges by, and the changes that follow it and are not in it yet.
type inForce struct {
	pin
	roster string
	after  []string
}

func (f *inForce) add(c *cobra.Command) {
	f.pin.add(c)
	c.Flags().StringVar(&f.roster, "roster", "", "file of the newest roster; it may have expired")
	c.Flags().StringArrayVar(&f.after, "after", nil, "file of a signed change that the roster does not hold yet, in order of number")
}

// read gives both. A roster that has expired still says who is in.
func (f *inForce) read(p process) (*member.Roster, []*ententev1.SignedDocument, error) {
	if f.roster == "" {
		return nil, nil, cli.UsageErrorf("--roster is missing: only the roster says who may sign, and whose root is in force")
	}
	roster, err := p.readRoster(f.roster, f.pin)
	if roster == nil {
		return nil, nil, err
	}
	var after []*ententev1.SignedDocument
	for _, path := range f.after {
		doc, err := readDocument(path, member.TypeChange)
		if err != nil {
			return nil, nil, err
		}
		after = append(after, doc)
	}
	return roster, after, nil
}

// changeOptions are the flags of `roster change`.
type changeOptions struct {
	inForce
	kind, id, newRoot, out string
	dryRun                 bool
}

func rosterChange(p process) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use:   "change",
		Short: "write a change of who is in, for a quorum of founders to sign",
		Long: "Writes an unsigned change, the next one after those of the roster: admission, root-change, suspension, reinstatement or\n" +
			"removal, each to be signed by a quorum of founders, or departure, to be signed by the leaver alone (`entente roster\n" +
			"sign`). It counts once an assembler has put it into a roster (`entente roster assemble --change`).\n\n" +
			"With --dry-run it says who would be in, and what else would follow, and writes nothing.",
		Example: "  entente roster change --roster roster.pb --genesis genesis.pb --kind admission --member XD --new-root xd/root.pub --dry-run\n" +
			"  entente roster change --roster roster.pb --genesis genesis.pb --kind admission --member XD --new-root xd/root.pub --out change.pb",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			needed := []string{"kind", "member", "roster", "out"}
			if o.dryRun {
				needed = needed[:3]
			}
			err := given(c, needed...)
			if err != nil {
				return err
			}
			return p.change(o)
		},
	}
	o.add(c)
	f := c.Flags()
	f.StringVar(&o.kind, "kind", "", "admission | root-change | suspension | reinstatement | removal | departure")
	f.StringVar(&o.id, "member", "", "the member concerned")
	f.StringVar(&o.newRoot, "new-root", "", "file with its public root key, for an admission or a change of root")
	f.StringVar(&o.out, "out", "", "file to write")
	addDryRun(c, &o.dryRun)
	return c
}

func (p process) change(o changeOptions) error {
	roster, after, err := o.read(p)
	if err != nil {
		return err
	}
	doc, err := p.makeChange(roster, uint64(len(after)), o)
	if err != nil {
		return err
	}
	proposal, err := member.ReadProposal(doc, roster, after...)
	if err != nil {
		return cli.UsageErrorf("%w", err)
	}
	if !o.dryRun {
		err = createMessage(o.out, doc)
	}
	if err != nil {
		return err
	}
	return p.printPlanned(o.dryRun, o.out, describeProposal(proposal, o.out)...)
}

// makeChange makes the next change after those that the roster holds and some more.
func (p process) makeChange(roster *member.Roster, more uint64, o changeOptions) (*ententev1.SignedDocument, error) {
	parts, err := member.RosterParts(roster.Document())
	if err != nil {
		return nil, err
	}
	kind, err := code[ententev1.RosterChangeKind]("kind", o.kind)
	if err != nil {
		return nil, err
	}
	id, err := member.ParseID(o.id)
	if err != nil {
		return nil, cli.UsageErrorf("--member: %w", err)
	}
	needsRoot := kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION || kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ROOT_CHANGE
	if needsRoot != (o.newRoot != "") {
		return nil, cli.UsageErrorf("--new-root goes with an admission or a change of root, and only with them")
	}
	var root ed25519.PublicKey
	if needsRoot {
		root, err = readPublicKey(o.newRoot)
	}
	if err != nil {
		return nil, err
	}
	doc, err := member.NewChange(roster.Federation(), uint64(len(parts.Changes))+more+1, kind, id, root, p.Now())
	if err != nil {
		return nil, cli.UsageErrorf("%w", err)
	}
	return doc, nil
}

// describeProposal says what a change does, how far it is, and what follows from it.
func describeProposal(c member.Proposal, path string) []string {
	lines := []string{
		fmt.Sprintf("change %d: %s", c.Number, changeSentence(c.Kind, c.Member)),
		describeVotes(c.Votes),
		"in the federation after it: " + joinIDs(c.Members),
	}
	if len(c.Root) > 0 {
		lines = append(lines, fmt.Sprintf("fingerprint of the new root (compare it with %s by another way): %x", c.Member, sha256.Sum256(c.Root)))
	}
	switch c.Kind {
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION:
		lines = append(lines, fmt.Sprintf("%s reads what is released to all members from then on; what was released before opens to it by a grant of "+
			"its owner only. Each owner sees what that is, at its own node: entente stream preview %s", c.Member, c.Member),
			fmt.Sprintf("with the change the assembler needs %s's roster entry, signed by its root (`entente roster entry`)", c.Member))
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ROOT_CHANGE:
		lines = append(lines, fmt.Sprintf("with the change the assembler needs %s's roster entry, signed anew by the new root (`entente roster entry`)", c.Member))
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL:
		lines = append(lines, fmt.Sprintf("once it is in force, %s gets nothing more and its open calls end; it can neither correct nor withdraw what others "+
			"hold of it, so what must not stay with them is withdrawn before", c.Member))
	}
	if len(c.Founders) < c.Quorum {
		lines = append(lines, fmt.Sprintf("WARNING: %s are left of the founders, and it takes %d to decide: after this change nobody could be admitted, "+
			"suspended or removed any more", countIDs(c.Founders), c.Quorum))
	}
	if len(c.Assemblers) == 0 {
		lines = append(lines, "WARNING: none of the assemblers that the genesis names is left: no roster could hold this change")
	}
	if !c.Complete() && path != "" {
		lines = append(lines, fmt.Sprintf("each signs with: entente roster sign %s --member ID --root ROOT.key --roster ROSTER --genesis GENESIS", path))
	}
	return lines
}

func changeSentence(kind ententev1.RosterChangeKind, id member.ID) string {
	switch kind {
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION:
		return fmt.Sprintf("%s is admitted", id)
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ROOT_CHANGE:
		return fmt.Sprintf("%s gets a new root", id)
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION:
		return fmt.Sprintf("%s is suspended", id)
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REINSTATEMENT:
		return fmt.Sprintf("%s is reinstated", id)
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL:
		return fmt.Sprintf("%s is removed", id)
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE:
		return fmt.Sprintf("%s leaves", id)
	}
	return fmt.Sprintf("%s: a change that this program does not know", id)
}

// describeVotes says "2 of 3 signatures: XA, XB; missing: XC".
func describeVotes(v member.Votes) string {
	text := fmt.Sprintf("%d of %d signatures", len(v.Signed), v.Needed)
	if len(v.Signed) > 0 {
		text += ": " + joinIDs(v.Signed)
	}
	switch {
	case v.Complete():
		return text + "; complete"
	case len(v.Signed)+len(v.Missing) == v.Needed:
		return text + "; missing: " + joinIDs(v.Missing)
	default:
		return text + "; may sign: " + joinIDs(v.Missing)
	}
}

func joinIDs(ids []member.ID) string {
	if len(ids) == 0 {
		return "nobody"
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return strings.Join(names, ", ")
}

func countIDs(ids []member.ID) string {
	if len(ids) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d (%s)", len(ids), joinIDs(ids))
}

// memberIDSet is a sorted list without repetitions.
func memberIDSet(ids []member.ID) []member.ID {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
