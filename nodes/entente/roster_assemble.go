package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// assembleOptions are the flags of `roster assemble`.
type assembleOptions struct {
	genesis, from, assembler, key, out string
	changes, entries, leaveOut         []string
	number                             uint64
	valid                              time.Duration
	replace, dryRun                    bool
}

func rosterAssemble(p process) *cobra.Command {
	var o assembleOptions
	c := &cobra.Command{
		Use:   "assemble",
		Short: "put genesis, entries and changes together into a roster",
		Long: "Numbers, dates and signs a roster, after verifying it as every node will. The next one begins with the one before (--from)\n" +
			"and takes what is new: more changes, newer entries. A node that finds a new roster in its file hands it to all others.\n\n" +
			"Any member that the genesis names as an assembler, and that is in good standing, may do it: where the first of them is\n" +
			"lost, the next one goes on from the last roster, with its own signing key.\n\n" +
			"With --dry-run it says what would change, in sentences, and writes nothing.",
		Example: "  entente roster assemble --genesis genesis.pb --entry xa-entry.pb --entry xb-entry.pb --assembler XA \\\n" +
			"    --signing-key xa/signing-key.key --out roster.pb\n" +
			"  entente roster assemble --from roster.pb --change change.pb --entry xd-entry.pb --assembler XA \\\n" +
			"    --signing-key xa/signing-key.key --dry-run\n" +
			"  entente roster assemble --from roster.pb --assembler XA --signing-key xa/signing-key.key --out roster.pb --replace",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			needed := []string{"assembler", "signing-key", "out"}
			if o.dryRun {
				needed = needed[:2]
			}
			err := given(c, needed...)
			if err != nil {
				return err
			}
			return p.assemble(o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.genesis, "genesis", "", "file of the genesis, signed by all founders; for the first roster")
	f.StringVar(&o.from, "from", "", "file of the roster before; for each later one. It may have expired")
	f.StringArrayVar(&o.entries, "entry", nil, "file of a new entry")
	f.StringArrayVar(&o.changes, "change", nil, "file of a new change, in order of number")
	f.StringSliceVar(&o.leaveOut, "leave-out", nil, "member that has left, whose entry is dropped: its receipts are not taken any more")
	f.Uint64Var(&o.number, "number", 0, "number of the roster; 0: one more than the one before")
	f.StringVar(&o.assembler, "assembler", "", "member that signs")
	f.StringVar(&o.key, "signing-key", "", "file with its signing key")
	f.DurationVar(&o.valid, "valid", 30*24*time.Hour, "how long nodes may serve on it")
	f.StringVar(&o.out, "out", "", "file to write")
	f.BoolVar(&o.replace, "replace", false, "--out may be there already, and is replaced in one step; not by an older roster")
	addDryRun(c, &o.dryRun)
	return c
}

func (p process) assemble(o assembleOptions) error {
	a, held, err := o.begin()
	if err != nil {
		return err
	}
	err = o.addParts(&a)
	if err != nil {
		return err
	}
	a.Assembler, err = member.ParseID(o.assembler)
	if err != nil {
		return cli.UsageErrorf("--assembler: %w", err)
	}
	key, err := readPrivateKey(o.key)
	if err != nil {
		return err
	}
	doc, err := member.AssembleRoster(a, key, p.Now())
	if err != nil {
		return fmt.Errorf("%w%s", err, mendAssembly(o))
	}
	before, roster, err := p.continues(doc, held, member.FederationID(a.Genesis))
	if err != nil {
		return err
	}
	lines, err := describeAssembly(before, roster)
	if err != nil {
		return err
	}
	if !o.dryRun {
		err = p.writeRoster(o, doc)
	}
	if err != nil {
		return err
	}
	return p.printPlanned(o.dryRun, o.out, lines...)
}

// mendAssembly says what is nearly always missing.
func mendAssembly(o assembleOptions) string {
	if len(o.changes) == 0 {
		return ""
	}
	return "; with an admission or a change of root goes the member's entry, signed by its new root (--entry); " +
		"`entente roster show` says who has signed a change"
}

func describeAssembly(before, roster *member.Roster) ([]string, error) {
	head := fmt.Sprintf("roster %d of federation %x, until %s", roster.Number(), roster.Federation(), roster.ExpiresAt().UTC().Format(time.RFC3339))
	if before == nil {
		return []string{head, "in the federation: " + joinIDs(roster.Members())}, nil
	}
	d, err := compareRosters(before, roster)
	if err != nil {
		return nil, err
	}
	return append([]string{head}, d.Lines...), nil
}

// writeRoster writes the new roster. What it replaces must not be newer: an old copy of the roster is easily taken for --from.
func (p process) writeRoster(o assembleOptions, doc *ententev1.SignedDocument) error {
	if !o.replace {
		return createMessage(o.out, doc)
	}
	_, err := os.Stat(o.out)
	if errors.Is(err, fs.ErrNotExist) {
		return createMessage(o.out, doc)
	}
	there, err := readDocument(o.out, member.TypeRoster)
	if err != nil {
		return err
	}
	parts, err := member.RosterParts(doc)
	if err != nil {
		return err
	}
	_, _, err = p.continues(doc, there, member.FederationID(parts.Genesis))
	if err != nil {
		return fmt.Errorf("%s is not replaced: %w; begin with it (--from)", o.out, err)
	}
	return replaceMessage(o.out, doc)
}

// begin gives what the roster starts from, and the roster before.
func (o assembleOptions) begin() (member.Assembly, *ententev1.SignedDocument, error) {
	if (o.genesis == "") == (o.from == "") {
		return member.Assembly{}, nil, cli.UsageErrorf("give --genesis for the first roster of a federation, or --from with the roster before")
	}
	if o.valid <= 0 {
		return member.Assembly{}, nil, cli.UsageErrorf("--valid %s: give a time that is not over yet", o.valid)
	}
	if o.from == "" {
		genesis, err := readDocument(o.genesis, member.TypeGenesis)
		return member.Assembly{Genesis: genesis, Number: max(o.number, 1), ValidFor: o.valid}, nil, err
	}
	held, err := readDocument(o.from, member.TypeRoster)
	if err != nil {
		return member.Assembly{}, nil, err
	}
	a, err := member.RosterParts(held)
	if err != nil {
		return member.Assembly{}, nil, cli.UsageErrorf("%s: %w", o.from, err)
	}
	a.Number++
	if o.number != 0 {
		a.Number = o.number
	}
	a.ValidFor = o.valid
	return a, held, nil
}

// addParts adds the new documents; an entry takes the place of the same member's older one.
func (o assembleOptions) addParts(a *member.Assembly) error {
	for _, path := range o.changes {
		doc, err := readDocument(path, member.TypeChange)
		if err != nil {
			return err
		}
		a.Changes = append(a.Changes, doc)
	}
	named := map[string]string{}
	for _, path := range o.entries {
		doc, err := readDocument(path, member.TypeEntry)
		if err != nil {
			return err
		}
		of := entryMember(doc)
		if named[of] != "" {
			return cli.UsageErrorf("%s and %s are both entries of %s: give its newest one", named[of], path, of)
		}
		named[of] = path
		a.Entries = append(slices.DeleteFunc(slices.Clone(a.Entries), isEntryOf(of)), doc)
	}
	for _, id := range o.leaveOut {
		if !slices.ContainsFunc(a.Entries, isEntryOf(id)) {
			return cli.UsageErrorf("--leave-out %s: there is no entry of it", id)
		}
		a.Entries = slices.DeleteFunc(slices.Clone(a.Entries), isEntryOf(id))
	}
	return nil
}

func isEntryOf(id string) func(*ententev1.SignedDocument) bool {
	return func(doc *ententev1.SignedDocument) bool { return entryMember(doc) == id }
}

// entryMember is the member that an entry is of, as it says itself.
func entryMember(doc *ententev1.SignedDocument) string {
	entry, err := readEntry(doc)
	if err != nil {
		return "" // refused at verification, with its place
	}
	return entry.GetMember()
}

// continues checks that nodes which hold the roster before will take this one, and gives both.
func (p process) continues(doc, held *ententev1.SignedDocument, federation [32]byte) (before, roster *member.Roster, err error) {
	if held != nil {
		before, err = member.VerifyRoster(held, federation, nil, p.Now())
		if before == nil {
			return nil, nil, fmt.Errorf("roster before: %w", err)
		}
	}
	roster, err = member.VerifyRoster(doc, federation, before, p.Now())
	return before, roster, err
}
