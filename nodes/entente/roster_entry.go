package main

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// entryOptions are the flags of `roster entry`.
type entryOptions struct {
	pin
	id, name, kind, root, roster, out         string
	number                                    uint64
	authorities, addresses                    []string
	signingKeys, retiredKeys, compromisedKeys []string
	earlierLost, dryRun                       bool
}

func rosterEntry(p process) *cobra.Command {
	var o entryOptions
	c := &cobra.Command{
		Use:   "entry",
		Short: "write what a member says of itself, signed by its root",
		Long: "Writes the member's roster entry: its authorities, the addresses of its nodes and its signing keys, several of each where\n" +
			"the flag is repeated. It counts once an assembler has put it into a roster (`entente roster assemble --entry`).\n\n" +
			"With --roster the new entry begins with the one in force: what no flag names stays, and the number is the next one. A\n" +
			"signing key that was current and is not named by --signing-key becomes a retired one, so that what it signed still\n" +
			"counts; one that was stolen is named by --compromised-key and counts no more, and --earlier-compromised says that of all\n" +
			"earlier ones, where not even their public halves are at hand. Authorities and addresses that are given take the place of\n" +
			"the earlier ones: for a rotation without a gap, name the old and the new one first.",
		Example: "  entente roster entry --genesis genesis.pb --member XA --name \"Country A\" --authority xa/authority/authority.pem \\\n" +
			"    --address node.xa.example:7400 --signing-key xa/signing-key.pub --root xa/offline/root.key --out xa-entry.pb\n" +
			"  entente roster entry --roster roster.pb --genesis genesis.pb --member XA --signing-key xa/signing-key.pub \\\n" +
			"    --signing-key xa/new/signing-key.pub --root xa/offline/root.key --out xa-entry-2.pb",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			needed := []string{"member", "root"}
			if o.roster == "" {
				needed = append(needed, "authority", "signing-key")
			}
			if !o.dryRun {
				needed = append(needed, "out")
			}
			err := given(c, needed...)
			if err != nil {
				return err
			}
			return p.entry(o)
		},
	}
	o.flags(c)
	return c
}

func (o *entryOptions) flags(c *cobra.Command) {
	o.pin.add(c)
	f := c.Flags()
	f.StringVar(&o.id, "member", "", "id of the member")
	f.StringVar(&o.name, "name", "", "its name, for people")
	f.StringVar(&o.kind, "kind", "", "national or coordinator; not given: as in the entry before, else national")
	f.Uint64Var(&o.number, "number", 0, "number of the entry, higher than that of the one before; 0: the next one by --roster, else 1")
	f.StringArrayVar(&o.authorities, "authority", nil, "PEM file with certificates of the authorities that issue its certificates")
	f.StringSliceVar(&o.addresses, "address", nil, "host:port of a node of it")
	f.StringArrayVar(&o.signingKeys, "signing-key", nil, "file with its signing key, or the public half")
	f.StringArrayVar(&o.retiredKeys, "retired-key", nil, "file with a signing key that was rotated out")
	f.StringArrayVar(&o.compromisedKeys, "compromised-key", nil, "file with a signing key whose signatures count no more")
	f.BoolVar(&o.earlierLost, "earlier-compromised", false, "all signing keys of the entry before that are not named count no more")
	f.StringVar(&o.root, "root", "", "file with its root key")
	f.StringVar(&o.roster, "roster", "", "file of the newest roster, with the entry before; it may have expired")
	f.StringVar(&o.out, "out", "", "file to write")
	addDryRun(c, &o.dryRun)
}

func (p process) entry(o entryOptions) error {
	before, doc, err := p.makeEntry(o)
	if err != nil {
		return err
	}
	made, err := readEntry(doc)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("entry %d of %s", made.GetNumber(), made.GetMember())}
	if before != nil {
		lines = append(lines, entryDifferences(before, made)...)
	}
	if !o.dryRun {
		err = createMessage(o.out, doc)
	}
	if err != nil {
		return err
	}
	return p.printPlanned(o.dryRun, o.out, lines...)
}

// makeEntry makes the entry, and gives the one before where the roster has one.
func (p process) makeEntry(o entryOptions) (before *ententev1.RosterEntry, doc *ententev1.SignedDocument, err error) {
	id, err := member.ParseID(o.id)
	if err != nil {
		return nil, nil, cli.UsageErrorf("--member: %w", err)
	}
	federation, err := o.pin.id()
	if err != nil {
		return nil, nil, err
	}
	root, err := readPrivateKey(o.root)
	if err != nil {
		return nil, nil, err
	}
	m := member.Member{ID: id, Kind: ententev1.MemberKind_MEMBER_KIND_NATIONAL}
	if o.roster != "" {
		m, before, err = p.entryBefore(o, id, root)
	}
	if err != nil {
		return nil, nil, err
	}
	err = o.amend(&m)
	if err != nil {
		return nil, nil, err
	}
	number := cmp.Or(o.number, before.GetNumber()+1)
	if number <= before.GetNumber() {
		return nil, nil, cli.UsageErrorf("--number %d: the roster has entry %d of %s; a new one needs a higher number", number, before.GetNumber(), id)
	}
	doc, err = member.NewEntry(federation, m, number, root, p.Now())
	if err != nil {
		return nil, nil, cli.UsageErrorf("%w", err)
	}
	return before, doc, nil
}

// entryBefore gives what the roster says of the member, as the beginning of the new entry. A member that is not in yet, and
// one that is to get a new root, sign by a root that this roster does not know.
func (p process) entryBefore(o entryOptions, id member.ID, root ed25519.PrivateKey) (member.Member, *ententev1.RosterEntry, error) {
	roster, err := p.readRoster(o.roster, o.pin)
	if roster == nil {
		return member.Member{}, nil, err
	}
	m, known := roster.Member(id)
	if !known || m.Left {
		return member.Member{}, nil, cli.UsageErrorf("%s is not in roster %d: its first entry is made without --roster", id, roster.Number())
	}
	if !m.Root.Equal(root.Public()) {
		p.warn("this root is not the one of %s in roster %d: the entry counts only together with a change of root to it", id, roster.Number())
	}
	parts, err := member.RosterParts(roster.Document())
	if err != nil {
		return member.Member{}, nil, err
	}
	for _, doc := range parts.Entries {
		entry, err := readEntry(doc)
		if err == nil && entry.GetMember() == string(id) {
			return m, entry, nil
		}
	}
	return member.Member{}, nil, fmt.Errorf("roster %d has no entry of %s", roster.Number(), id)
}

// amend puts what the flags say in the place of what was.
func (o entryOptions) amend(m *member.Member) error {
	m.Name = cmp.Or(o.name, m.Name)
	if len(o.addresses) > 0 {
		m.Addresses = o.addresses
	}
	if o.kind != "" {
		var err error
		m.Kind, err = code[ententev1.MemberKind]("kind", o.kind)
		if err != nil {
			return err
		}
	}
	err := o.amendAuthorities(m)
	if err != nil {
		return err
	}
	return o.amendKeys(m)
}

func (o entryOptions) amendAuthorities(m *member.Member) error {
	if len(o.authorities) > 0 {
		m.Authorities = nil
	}
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

// amendKeys puts the named keys first, and of the earlier ones those that are not named: no key is ever forgotten, or what
// it signed would not verify any more, and a compromised one stays so.
func (o entryOptions) amendKeys(m *member.Member) error {
	current, retired, revoked := ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT, ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED,
		ententev1.SigningKeyState_SIGNING_KEY_STATE_REVOKED
	var named []member.SigningKey
	for _, list := range []struct {
		paths []string
		state ententev1.SigningKeyState
	}{{o.signingKeys, current}, {o.retiredKeys, retired}, {o.compromisedKeys, revoked}} {
		for _, path := range list.paths {
			key, err := readPublicKey(path)
			if err != nil {
				return err
			}
			if keyState(named, key) != 0 {
				return cli.UsageErrorf("%s: the same signing key is named twice", path)
			}
			if keyState(m.SigningKeys, key) == revoked && list.state != revoked {
				return cli.UsageErrorf("%s: this key is compromised by the entry before; make a new one", path)
			}
			named = append(named, member.SigningKey{Key: key, State: list.state})
		}
	}
	for _, before := range m.SigningKeys {
		if keyState(named, before.Key) != 0 {
			continue
		}
		if before.State == current && len(o.signingKeys) > 0 {
			before.State = retired
		}
		if o.earlierLost {
			before.State = revoked
		}
		named = append(named, before)
	}
	m.SigningKeys = named
	return nil
}

// keyState is the state of a key in a list, 0 if it is not there.
func keyState(list []member.SigningKey, key ed25519.PublicKey) ententev1.SigningKeyState {
	at := slices.IndexFunc(list, func(k member.SigningKey) bool { return k.Key.Equal(key) })
	if at < 0 {
		return 0
	}
	return list[at].State
}

// readEntry decodes what a member says of itself. It verifies nothing.
func readEntry(doc *ententev1.SignedDocument) (*ententev1.RosterEntry, error) {
	entry := &ententev1.RosterEntry{}
	err := proto.Unmarshal(doc.GetBody(), entry)
	if err != nil {
		return nil, fmt.Errorf("the body of the entry is damaged")
	}
	return entry, nil
}
