package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func rosterCommand(p process) *cobra.Command {
	return group("roster", "found a federation, and say who is in it",
		"The roster says who is in. Its parts are files that travel between the members, each signed by whoever it speaks for:\n\n"+
			"  genesis   who founds the federation; signed by the root of every founder\n"+
			"  entry     what a member says of itself; signed by its root\n"+
			"  change    an admission, removal …; signed by the roots of a quorum of founders, a departure by the leaver's\n"+
			"  roster    all of them, numbered and dated; signed by an assembler's signing key\n\n"+
			"Nodes pin the genesis and check everything else themselves, so an assembler can delay but not lie.",
		"  entente roster genesis --name \"Harbour states\" --founder XA=xa/root.pub --founder XB=xb/root.pub --assembler XA --out genesis.pb\n"+
			"  entente roster sign genesis.pb --member XA --root xa/offline/root.key\n"+
			"  entente roster show genesis.pb",
		rosterGenesis(p), rosterSign(p), rosterEntry(p), rosterChange(p), rosterAssemble(p), rosterVerify(p), rosterDiff(p), rosterShow(p))
}

// genesisOptions are the flags of `roster genesis`.
type genesisOptions struct {
	name, out            string
	founders, assemblers []string
	quorum               int
	dryRun               bool
}

func rosterGenesis(p process) *cobra.Command {
	var o genesisOptions
	c := &cobra.Command{
		Use:   "genesis",
		Short: "write the document that founds a federation, for all founders to sign",
		Long: "Writes the unsigned genesis. Each founder then signs it with `entente roster sign`; the signatures do not change the\n" +
			"federation's id, which is printed and which nodes pin. Founders, quorum and assemblers never change: name at least two\n" +
			"assemblers, so that another goes on where one is lost, and a quorum that the loss of some founders leaves in reach.",
		Example: "  entente roster genesis --name \"Harbour states\" --founder XA=xa/root.pub --founder XB=xb/root.pub --assembler XA,XB --out genesis.pb",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			needed := []string{"name", "founder", "assembler", "out"}
			if o.dryRun {
				needed = needed[:3]
			}
			err := given(c, needed...)
			if err != nil {
				return err
			}
			return p.found(o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.name, "name", "", "name of the federation, for people")
	f.StringArrayVar(&o.founders, "founder", nil, "MEMBER=FILE with its public root key; once for each founder")
	f.IntVar(&o.quorum, "quorum", 0, "how many founders decide who is in; 0: more than half")
	f.StringSliceVar(&o.assemblers, "assembler", nil, "member that may assemble the roster; several in order of precedence")
	f.StringVar(&o.out, "out", "", "file to write")
	addDryRun(c, &o.dryRun)
	return c
}

func (p process) found(o genesisOptions) error {
	roots, err := readFounders(o.founders)
	if err != nil {
		return err
	}
	ids, err := memberIDs("assembler", o.assemblers)
	if err != nil {
		return err
	}
	if o.quorum < 0 {
		return cli.UsageErrorf("--quorum %d: give how many founders decide, or 0 for more than half", o.quorum)
	}
	if o.quorum == 0 {
		o.quorum = len(roots)/2 + 1
	}
	doc, err := member.NewGenesis(o.name, roots, o.quorum, ids, p.Now())
	if err != nil {
		return cli.UsageErrorf("%w", err)
	}
	founders := slices.Sorted(maps.Keys(roots))
	if len(ids) == 1 {
		p.warn("%s is the only assembler, for good: if its keys are lost, there is no new roster and the federation ends with the last one", ids[0])
	}
	if !slices.ContainsFunc(ids, func(id member.ID) bool { return slices.Contains(founders, id) }) {
		p.warn("none of the assemblers is a founder: there is no roster until one of them is admitted, and no roster that could admit it")
	}
	lines := []string{
		fmt.Sprintf("federation %x", member.FederationID(doc)),
		fmt.Sprintf("founded by %s; %d of them decide who is in; assembled by %s", joinIDs(founders), o.quorum, joinIDs(ids)),
	}
	if !o.dryRun {
		err = createMessage(o.out, doc)
	}
	if err != nil {
		return err
	}
	return p.printPlanned(o.dryRun, o.out, lines...)
}

func readFounders(texts []string) (map[member.ID]ed25519.PublicKey, error) {
	roots := map[member.ID]ed25519.PublicKey{}
	for _, text := range texts {
		name, path, found := strings.Cut(text, "=")
		id, err := member.ParseID(name)
		if err != nil || !found {
			return nil, cli.UsageErrorf("--founder %q: give MEMBER=FILE with its public root key", text)
		}
		_, twice := roots[id]
		if twice {
			return nil, cli.UsageErrorf("--founder %s is given twice", id)
		}
		roots[id], err = readPublicKey(path)
		if err != nil {
			return nil, err
		}
	}
	return roots, nil
}

func memberIDs(flag string, texts []string) ([]member.ID, error) {
	var ids []member.ID
	for _, text := range texts {
		id, err := member.ParseID(text)
		if err != nil {
			return nil, cli.UsageErrorf("--%s: %w", flag, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// signOptions are the flags of `roster sign`.
type signOptions struct {
	inForce
	id, root, merge string
	dryRun          bool
}

func rosterSign(p process) *cobra.Command {
	var o signOptions
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "add a member's signature to a genesis or a change",
		Long: "Adds a signature by the root key to the file, in place, and says who has signed and who is missing. Look at what you sign\n" +
			"first: `entente roster show FILE`, or --dry-run. Signatures made in different copies of one file can be put together\n" +
			"with --merge.\n\n" +
			"A change needs --roster and --genesis: one signature by a root that is not in force would spoil the whole document, so it\n" +
			"is refused here.",
		Example: "  entente roster sign genesis.pb --member XA --root xa/offline/root.key\n" +
			"  entente roster sign change.pb --member XA --root xa/offline/root.key --roster roster.pb --genesis genesis.pb\n" +
			"  entente roster sign change.pb --merge change-from-xb.pb --roster roster.pb --genesis genesis.pb",
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if o.merge == "" {
				err := given(c, "member", "root")
				if err != nil {
					return err
				}
			}
			return p.sign(args[0], o)
		},
	}
	o.add(c)
	f := c.Flags()
	f.StringVar(&o.id, "member", "", "member that signs")
	f.StringVar(&o.root, "root", "", "file with its root key")
	f.StringVar(&o.merge, "merge", "", "take over the signatures of another copy of the file, instead of signing")
	addDryRun(c, &o.dryRun)
	return c
}

func (p process) sign(path string, o signOptions) error {
	doc, err := readDocument(path, member.TypeGenesis, member.TypeChange)
	if err != nil {
		return err
	}
	if o.merge != "" {
		err = mergeSignatures(doc, o.merge)
	} else {
		err = signAs(doc, o.id, o.root)
	}
	if err != nil {
		return err
	}
	lines, err := p.standing(path, doc, o.inForce)
	if err != nil {
		return cli.UsageErrorf("%s is not signed: %w", path, err)
	}
	if !o.dryRun {
		err = replaceMessage(path, doc)
	}
	if err != nil {
		return err
	}
	return p.printPlanned(o.dryRun, path, lines...)
}

// standing says how far a genesis or a change is, and refuses one that no further signature could complete.
func (p process) standing(path string, doc *ententev1.SignedDocument, f inForce) ([]string, error) {
	if doc.GetType() == member.TypeGenesis {
		votes, err := member.GenesisVotes(doc)
		if err != nil {
			return nil, err
		}
		return []string{describeVotes(votes)}, nil
	}
	roster, after, err := f.read(p)
	if err != nil {
		return nil, err
	}
	proposal, err := member.ReadProposal(doc, roster, after...)
	if err != nil {
		return nil, err
	}
	return describeProposal(proposal, path), nil
}

// signAs adds a signature, after the checks that need no roster.
func signAs(doc *ententev1.SignedDocument, name, path string) error {
	id, err := member.ParseID(name)
	if err != nil {
		return cli.UsageErrorf("--member: %w", err)
	}
	if slices.Contains(signers(doc), string(id)) {
		return cli.UsageErrorf("%s has signed it already", id)
	}
	key, err := readPrivateKey(path)
	if err != nil {
		return err
	}
	if doc.GetType() != member.TypeGenesis {
		member.AddSignature(doc, id, key)
		return nil
	}
	err = member.SignGenesis(doc, id, key)
	if err != nil {
		return cli.UsageErrorf("%w", err)
	}
	return nil
}

func mergeSignatures(doc *ententev1.SignedDocument, path string) error {
	other, err := readDocument(path, doc.GetType())
	if err != nil {
		return err
	}
	if string(other.GetBody()) != string(doc.GetBody()) {
		return cli.UsageErrorf("%s is another document, not a copy of this one: signatures cannot be taken over", path)
	}
	has := signers(doc)
	for _, s := range other.GetSignatures() {
		if !slices.Contains(has, s.GetMember()) {
			doc.Signatures = append(doc.Signatures, proto.CloneOf(s))
		}
	}
	return nil
}

func signers(doc *ententev1.SignedDocument) []string {
	var names []string
	for _, s := range doc.GetSignatures() {
		names = append(names, s.GetMember())
	}
	return names
}

// pin is what a roster is checked against: the genesis, as a file or by its id.
type pin struct{ genesis, federation string }

func (f *pin) add(c *cobra.Command) {
	c.Flags().StringVar(&f.genesis, "genesis", "", "file of the genesis that the federation was founded with")
	c.Flags().StringVar(&f.federation, "federation", "", "id of the federation in hexadecimal, instead of --genesis")
}

// id is the pinned federation.
func (f *pin) id() ([32]byte, error) {
	switch {
	case f.genesis != "" && f.federation != "":
		return [32]byte{}, cli.UsageErrorf("give --genesis or --federation, not both")
	case f.genesis != "":
		doc, err := readDocument(f.genesis, member.TypeGenesis)
		if err != nil {
			return [32]byte{}, err
		}
		return member.FederationID(doc), nil
	case f.federation != "":
		return parseFederation(f.federation)
	}
	return [32]byte{}, cli.UsageErrorf("--genesis is missing: without the pinned genesis (or --federation, its id) anybody's roster would pass")
}

// readRoster reads and verifies a roster. An expired one comes with an error of its own.
func (p process) readRoster(path string, f pin) (*member.Roster, error) {
	federation, err := f.id()
	if err != nil {
		return nil, err
	}
	doc, err := readDocument(path, member.TypeRoster)
	if err != nil {
		return nil, err
	}
	roster, err := member.VerifyRoster(doc, federation, nil, p.Now())
	if errors.Is(err, member.ErrRosterExpired) {
		return roster, fmt.Errorf("%s: %w at %s; get a newer one from its assembler (`entente roster assemble`), or look at the clock of this machine",
			path, err, roster.ExpiresAt().UTC().Format(time.RFC3339))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roster, nil
}
