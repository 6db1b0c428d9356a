package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func parseFederation(text string) ([32]byte, error) {
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != 32 {
		return [32]byte{}, cli.UsageErrorf("--federation: give the id as 64 hexadecimal digits, as `entente roster genesis` printed it")
	}
	return [32]byte(id), nil
}

// entryOptions are the flags of `roster entry`.
type entryOptions struct {
	pin
	id, name, kind, root, out                 string
	number                                    uint64
	authorities, addresses                    []string
	signingKeys, retiredKeys, compromisedKeys []string
}

func rosterEntry(p process) *cobra.Command {
	var o entryOptions
	c := &cobra.Command{
		Use:   "entry",
		Short: "write what a member says of itself, signed by its root",
		Long: "Writes the member's roster entry: its authorities, the addresses of its nodes and its signing keys. Each new entry needs a\n" +
			"higher --number than the one before. Keys that were rotated out stay in it as --retired-key, so that what they signed counts.",
		Example: "  entente roster entry --genesis genesis.pb --member XA --name \"Country A\" --authority xa/authority/authority.pem \\\n" +
			"    --address node.xa.example:7400 --signing-key xa/signing-key.pub --root xa/offline/root.key --out xa-entry.pb",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "member", "authority", "signing-key", "root", "out")
			if err != nil {
				return err
			}
			doc, err := p.makeEntry(o)
			if err != nil {
				return err
			}
			err = createMessage(o.out, doc)
			if err != nil {
				return err
			}
			return p.printf("%s\n", o.out)
		},
	}
	o.add(c)
	f := c.Flags()
	f.StringVar(&o.id, "member", "", "id of the member")
	f.StringVar(&o.name, "name", "", "its name, for people")
	f.StringVar(&o.kind, "kind", "national", "national or coordinator")
	f.Uint64Var(&o.number, "number", 1, "number of the entry, higher than that of the one before")
	f.StringArrayVar(&o.authorities, "authority", nil, "PEM file with certificates of the authorities that issue its certificates")
	f.StringSliceVar(&o.addresses, "address", nil, "host:port of a node of it")
	f.StringArrayVar(&o.signingKeys, "signing-key", nil, "file with its signing key, or the public half")
	f.StringArrayVar(&o.retiredKeys, "retired-key", nil, "file with a signing key that was rotated out")
	f.StringArrayVar(&o.compromisedKeys, "compromised-key", nil, "file with a signing key whose signatures count no more")
	f.StringVar(&o.root, "root", "", "file with its root key")
	f.StringVar(&o.out, "out", "", "file to write")
	return c
}

func (p process) makeEntry(o entryOptions) (*ententev1.SignedDocument, error) {
	federation, err := o.pin.id()
	if err != nil {
		return nil, err
	}
	m := member.Member{Name: o.name, Addresses: o.addresses}
	m.ID, err = member.ParseID(o.id)
	if err != nil {
		return nil, cli.UsageErrorf("--member: %w", err)
	}
	m.Kind, err = code[ententev1.MemberKind]("kind", o.kind)
	if err != nil {
		return nil, err
	}
	err = o.addAuthorities(&m)
	if err != nil {
		return nil, err
	}
	err = o.addKeys(&m)
	if err != nil {
		return nil, err
	}
	root, err := readPrivateKey(o.root)
	if err != nil {
		return nil, err
	}
	doc, err := member.NewEntry(federation, m, o.number, root, p.Now())
	if err != nil {
		return nil, cli.UsageErrorf("%w", err)
	}
	return doc, nil
}

func (o entryOptions) addAuthorities(m *member.Member) error {
	for _, path := range o.authorities {
		text, err := readFile(path)
		if err != nil {
			return err
		}
		certificates, err := member.ParseCertificates(text)
		if err != nil {
			return cli.UsageErrorf("%s: %w", path, err)
		}
		m.Authorities = append(m.Authorities, certificates...)
	}
	return nil
}

func (o entryOptions) addKeys(m *member.Member) error {
	lists := []struct {
		paths []string
		state ententev1.SigningKeyState
	}{
		{o.signingKeys, ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT},
		{o.retiredKeys, ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED},
		{o.compromisedKeys, ententev1.SigningKeyState_SIGNING_KEY_STATE_REVOKED},
	}
	for _, list := range lists {
		for _, path := range list.paths {
			key, err := readPublicKey(path)
			if err != nil {
				return err
			}
			m.SigningKeys = append(m.SigningKeys, member.SigningKey{Key: key, State: list.state})
		}
	}
	return nil
}

func rosterChange(p process) *cobra.Command {
	var f pin
	var kind, id, newRoot, out string
	var number uint64
	c := &cobra.Command{
		Use:   "change",
		Short: "write a change of who is in, for a quorum of founders to sign",
		Long: "Writes an unsigned change: admission, root-change, suspension, reinstatement or removal, each to be signed by a quorum of\n" +
			"founders, or departure, to be signed by the leaver alone (`entente roster sign`).",
		Example: "  entente roster change --genesis genesis.pb --kind admission --member XE --new-root xe/root.pub --number 1 --out change.pb",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "kind", "member", "number", "out")
			if err != nil {
				return err
			}
			federation, err := f.id()
			if err != nil {
				return err
			}
			doc, err := p.makeChange(federation, number, kind, id, newRoot)
			if err != nil {
				return err
			}
			err = createMessage(out, doc)
			if err != nil {
				return err
			}
			return p.printf("%s\n", out)
		},
	}
	f.add(c)
	c.Flags().StringVar(&kind, "kind", "", "admission | root-change | suspension | reinstatement | removal | departure")
	c.Flags().StringVar(&id, "member", "", "the member concerned")
	c.Flags().StringVar(&newRoot, "new-root", "", "file with its public root key, for an admission or a change of root")
	c.Flags().Uint64Var(&number, "number", 0, "number of the change: 1 for the first of the federation, and so on without gaps")
	c.Flags().StringVar(&out, "out", "", "file to write")
	return c
}

func (p process) makeChange(federation [32]byte, number uint64, kindText, idText, rootPath string) (*ententev1.SignedDocument, error) {
	if number == 0 {
		return nil, cli.UsageErrorf("--number: the first change of a federation has number 1")
	}
	kind, err := code[ententev1.RosterChangeKind]("kind", kindText)
	if err != nil {
		return nil, err
	}
	id, err := member.ParseID(idText)
	if err != nil {
		return nil, cli.UsageErrorf("--member: %w", err)
	}
	needsRoot := kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION || kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ROOT_CHANGE
	if needsRoot != (rootPath != "") {
		return nil, cli.UsageErrorf("--new-root goes with an admission or a change of root, and only with them")
	}
	var root ed25519.PublicKey
	if needsRoot {
		root, err = readPublicKey(rootPath)
	}
	if err != nil {
		return nil, err
	}
	doc, err := member.NewChange(federation, number, kind, id, root, p.Now())
	if err != nil {
		return nil, cli.UsageErrorf("%w", err)
	}
	return doc, nil
}

// assembleOptions are the flags of `roster assemble`.
type assembleOptions struct {
	genesis, from, assembler, key, out string
	changes, entries                   []string
	number                             uint64
	valid                              time.Duration
	replace                            bool
}

func rosterAssemble(p process) *cobra.Command {
	var o assembleOptions
	c := &cobra.Command{
		Use:   "assemble",
		Short: "put genesis, entries and changes together into a roster",
		Long: "Numbers, dates and signs a roster, after verifying it as every node will. The next one begins with the one before (--from)\n" +
			"and takes what is new: more changes, newer entries. A coordinator that finds a new roster in its file hands it to all nodes.",
		Example: "  entente roster assemble --genesis genesis.pb --entry xa-entry.pb --entry xb-entry.pb --assembler XA \\\n" +
			"    --signing-key xa/signing-key.key --out roster.pb\n" +
			"  entente roster assemble --from roster.pb --assembler XA --signing-key xa/signing-key.key --out roster.pb --replace",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "assembler", "signing-key", "out")
			if err != nil {
				return err
			}
			return p.assemble(o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.genesis, "genesis", "", "file of the genesis, signed by all founders; for the first roster")
	f.StringVar(&o.from, "from", "", "file of the roster before; for each later one")
	f.StringArrayVar(&o.entries, "entry", nil, "file of a new entry")
	f.StringArrayVar(&o.changes, "change", nil, "file of a new change, in order of number")
	f.Uint64Var(&o.number, "number", 0, "number of the roster; 0: one more than the one before")
	f.StringVar(&o.assembler, "assembler", "", "member that signs")
	f.StringVar(&o.key, "signing-key", "", "file with its signing key")
	f.DurationVar(&o.valid, "valid", 30*24*time.Hour, "how long nodes may serve on it")
	f.StringVar(&o.out, "out", "", "file to write")
	f.BoolVar(&o.replace, "replace", false, "--out may be there already, and is replaced in one step")
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
		return err
	}
	roster, err := p.continues(doc, held, member.FederationID(a.Genesis))
	if err != nil {
		return err
	}
	write := createMessage
	if o.replace {
		write = replaceMessage
	}
	err = write(o.out, doc)
	if err != nil {
		return err
	}
	return p.printf("%s\nroster %d of federation %x, until %s\n", o.out, roster.Number(), roster.Federation(), roster.ExpiresAt().UTC().Format(time.RFC3339))
}

// begin gives what the roster starts from, and the roster before.
func (o assembleOptions) begin() (member.Assembly, *ententev1.SignedDocument, error) {
	if (o.genesis == "") == (o.from == "") {
		return member.Assembly{}, nil, cli.UsageErrorf("give --genesis for the first roster of a federation, or --from with the roster before")
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
	for _, path := range o.entries {
		doc, err := readDocument(path, member.TypeEntry)
		if err != nil {
			return err
		}
		kept := a.Entries[:0:0]
		for _, other := range a.Entries {
			if entryMember(other) != entryMember(doc) {
				kept = append(kept, other)
			}
		}
		a.Entries = append(kept, doc)
	}
	return nil
}

// entryMember is the member that an entry is of, as it says itself.
func entryMember(doc *ententev1.SignedDocument) string {
	entry := &ententev1.RosterEntry{}
	err := proto.Unmarshal(doc.GetBody(), entry)
	if err != nil {
		return "" // refused at verification, with its place
	}
	return entry.GetMember()
}

// continues checks that nodes which hold the roster before will take this one.
func (p process) continues(doc, held *ententev1.SignedDocument, federation [32]byte) (*member.Roster, error) {
	var before *member.Roster
	if held != nil {
		var err error
		before, err = member.VerifyRoster(held, federation, nil, p.Now())
		if before == nil {
			return nil, fmt.Errorf("roster before: %w", err)
		}
	}
	return member.VerifyRoster(doc, federation, before, p.Now())
}
