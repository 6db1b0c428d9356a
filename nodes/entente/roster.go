package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

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
		rosterGenesis(p), rosterSign(p), rosterEntry(p), rosterChange(p), rosterAssemble(p), rosterVerify(p), rosterShow(p))
}

func rosterGenesis(p process) *cobra.Command {
	var name, out string
	var founders, assemblers []string
	var quorum int
	c := &cobra.Command{
		Use:   "genesis",
		Short: "write the document that founds a federation, for all founders to sign",
		Long: "Writes the unsigned genesis. Each founder then signs it with `entente roster sign`; the signatures do not change the\n" +
			"federation's id, which is printed and which nodes pin.",
		Example: "  entente roster genesis --name \"Harbour states\" --founder XA=xa/root.pub --founder XB=xb/root.pub --assembler XA --out genesis.pb",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "name", "founder", "assembler", "out")
			if err != nil {
				return err
			}
			roots, err := readFounders(founders)
			if err != nil {
				return err
			}
			ids, err := memberIDs("assembler", assemblers)
			if err != nil {
				return err
			}
			if quorum == 0 {
				quorum = len(roots)/2 + 1
			}
			doc, err := member.NewGenesis(name, roots, quorum, ids, p.Now())
			if err != nil {
				return cli.UsageErrorf("%w", err)
			}
			err = createMessage(out, doc)
			if err != nil {
				return err
			}
			return p.printf("%s\nfederation %x\n", out, member.FederationID(doc))
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the federation, for people")
	c.Flags().StringArrayVar(&founders, "founder", nil, "MEMBER=FILE with its public root key; once for each founder")
	c.Flags().IntVar(&quorum, "quorum", 0, "how many founders decide who is in; 0: more than half")
	c.Flags().StringSliceVar(&assemblers, "assembler", nil, "member that may assemble the roster; several in order of precedence")
	c.Flags().StringVar(&out, "out", "", "file to write")
	return c
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

func rosterSign(p process) *cobra.Command {
	var id, root string
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "add a member's signature to a genesis or a change",
		Long: "Adds a signature by the root key to the file, in place. Look at what you sign first: `entente roster show FILE`. Signatures\n" +
			"made in different copies of one file can be put together with --merge.",
		Example: "  entente roster sign genesis.pb --member XA --root xa/offline/root.key\n" +
			"  entente roster sign change.pb --merge change-from-xb.pb",
		Args: arguments(cobra.ExactArgs(1)),
	}
	merge := c.Flags().String("merge", "", "take over the signatures of another copy of the file, instead of signing")
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := readDocument(args[0], member.TypeGenesis, member.TypeChange)
		if err != nil {
			return err
		}
		if *merge != "" {
			err = mergeSignatures(doc, *merge)
		} else {
			err = given(c, "member", "root")
		}
		if err != nil {
			return err
		}
		if *merge == "" {
			err = signAs(doc, id, root)
		}
		if err != nil {
			return err
		}
		err = replaceMessage(args[0], doc)
		if err != nil {
			return err
		}
		return p.printf("%s is signed by %s\n", args[0], strings.Join(signers(doc), ", "))
	}
	c.Flags().StringVar(&id, "member", "", "member that signs")
	c.Flags().StringVar(&root, "root", "", "file with its root key")
	return c
}

// signAs adds a signature, after the checks that need no roster; whether a change has its quorum shows at `assemble`.
func signAs(doc *ententev1.SignedDocument, name, path string) error {
	id, err := member.ParseID(name)
	if err != nil {
		return cli.UsageErrorf("--member: %w", err)
	}
	for _, signer := range signers(doc) {
		if signer == string(id) {
			return cli.UsageErrorf("%s has signed it already", id)
		}
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
	has := map[string]bool{}
	for _, signer := range signers(doc) {
		has[signer] = true
	}
	for _, s := range other.GetSignatures() {
		if !has[s.GetMember()] {
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
		return roster, fmt.Errorf("%s: %w; get a newer one from its assembler (`entente roster assemble`)", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roster, nil
}
