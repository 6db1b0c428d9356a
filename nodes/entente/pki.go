package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

const (
	authorityName = "authority"
	year          = 365 * 24 * time.Hour
)

func pkiCommand(p process) *cobra.Command {
	return group("pki", "make keys and certificates for a test or a small site",
		"Makes the keys of a member and issues its certificates. Any issuer of certificates with SPIFFE IDs does as well (SPIRE,\n"+
			"step-ca). Files with keys end in .key and only their owner may read them; no file is ever overwritten.\n\n"+
			"A member has three keys that must not be the same: its root (offline; says who the member is), its signing key (on the\n"+
			"node; signs its streams) and its authority (issues certificates).",
		"  entente pki root --out xa/offline\n  entente pki authority --member XA --out xa/authority\n"+
			"  entente pki issue --authority xa/authority --identity system/intake --out xa\n"+
			"  entente pki revoke --authority xa/authority --certificate xa/system-intake.pem --out xa/crl.pem",
		pkiAuthority(p), pkiIssue(p), pkiRevoke(p), pkiSealingKey(p), pkiKey(p, "root", "make the offline root key of a member",
			"Makes the key with which a member says who it is, and votes on who is in. Keep root.key on a medium that no running\n"+
				"program reads; hand out root.pub."),
		pkiKey(p, "signing-key", "make the signing key of a member's node",
			"Makes the key with which a node signs its streams, receipts and project documents. signing-key.key goes into the node's\n"+
				"configuration (signing_key), signing-key.pub into the member's roster entry."))
}

func pkiAuthority(p process) *cobra.Command {
	var id, out string
	var valid time.Duration
	c := &cobra.Command{
		Use:   "authority",
		Short: "make the authority that issues a member's certificates",
		Long: "Makes authority.key and the self-signed authority.pem in --out. authority.pem goes into the member's roster entry and to\n" +
			"everybody of the member who calls its node.",
		Example: "  entente pki authority --member XA --out xa/authority",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "member", "out")
			if err != nil {
				return err
			}
			self, err := member.ParseID(id)
			if err != nil {
				return cli.UsageErrorf("--member: %w", err)
			}
			return p.makeAuthority(self, out, valid)
		},
	}
	c.Flags().StringVar(&id, "member", "", "id of the member, such as XA")
	c.Flags().StringVar(&out, "out", "", "folder for the two files")
	c.Flags().DurationVar(&valid, "valid", 10*year, "how long it is valid")
	return c
}

func (p process) makeAuthority(self member.ID, out string, valid time.Duration) error {
	if valid <= 0 {
		return cli.UsageErrorf("--valid %s: give a time that is not over yet", valid)
	}
	authority, err := member.NewAuthority(self, p.Rand, p.Now(), valid)
	if err != nil {
		return fmt.Errorf("make authority: %w", err)
	}
	certificate, key, err := authority.PEM()
	if err != nil {
		return fmt.Errorf("make authority: %w", err)
	}
	return p.writePair(out, authorityName, ".pem", certificate, key)
}

// writePair writes a key and what goes public with it, both or, if one of them is there already, neither.
func (p process) writePair(folder, name, publicEnding string, public, key []byte) error {
	publicPath, keyPath := filepath.Join(folder, name+publicEnding), filepath.Join(folder, name+".key")
	err := absent(publicPath, keyPath)
	if err != nil {
		return err
	}
	// If we crash between the two, the key has no public half and is of no use to anybody: move it away and begin again.
	err = createFile(keyPath, key, secretMode)
	if err != nil {
		return err
	}
	err = createFile(publicPath, public, publicMode)
	if err != nil {
		return err
	}
	return p.printf("%s\n%s\n", publicPath, keyPath)
}

func pkiIssue(p process) *cobra.Command {
	var from, identity, out string
	var valid time.Duration
	var addresses []string
	c := &cobra.Command{
		Use:   "issue",
		Short: "issue a certificate of a member",
		Long: "Issues a certificate and its key. The identity is node, or one of system/NAME, officer/NAME, auditor/NAME, operator/NAME;\n" +
			"the files in --out are named after it: node.pem and node.key, system-NAME.pem and system-NAME.key.\n\n" +
			"A renewal goes into a new folder, and from there in the place of the old files: a running node reads them again.",
		Example: "  entente pki issue --authority xa/authority --identity node --out xa\n" +
			"  entente pki issue --authority xa/authority --identity officer/k.lind --out officers --valid 720h",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "authority", "identity", "out")
			if err != nil {
				return err
			}
			return p.issue(from, identity, out, valid, addresses)
		},
	}
	c.Flags().StringVar(&from, "authority", "", "folder with authority.pem and authority.key")
	c.Flags().StringVar(&identity, "identity", "", "node | system/NAME | officer/NAME | auditor/NAME | operator/NAME")
	c.Flags().StringVar(&out, "out", "", "folder for the two files")
	c.Flags().DurationVar(&valid, "valid", year, "how long it is valid, at most as long as the authority")
	c.Flags().StringSliceVar(&addresses, "address", nil, "host or host:port to name in it, for other software that wants one")
	return c
}

func (p process) issue(from, text, out string, valid time.Duration, addresses []string) error {
	if valid <= 0 {
		return cli.UsageErrorf("--valid %s: give a time that is not over yet", valid)
	}
	authority, err := loadAuthority(from)
	if err != nil {
		return err
	}
	identity, err := member.ParseIdentity("spiffe://" + authority.Member().TrustDomain() + "/" + text)
	if err != nil {
		return cli.UsageErrorf("--identity: give node, system/NAME, officer/NAME, auditor/NAME or operator/NAME: %w", err)
	}
	certificate, key, err := authority.Issue(identity, p.Rand, p.Now(), valid, addresses)
	if err != nil {
		return fmt.Errorf("issue certificate: %w", err)
	}
	name := identity.Kind.String()
	if identity.Name != "" {
		name += "-" + identity.Name
	}
	return p.writePair(out, name, ".pem", certificate, key)
}

func loadAuthority(folder string) (*member.Authority, error) {
	certificate, err := readFile(filepath.Join(folder, authorityName+".pem"))
	if err != nil {
		return nil, err
	}
	key, err := readFile(filepath.Join(folder, authorityName+".key"))
	if err != nil {
		return nil, err
	}
	authority, err := member.LoadAuthority(certificate, key)
	if err != nil {
		return nil, cli.UsageErrorf("authority in %s: %w", folder, err)
	}
	return authority, nil
}

// pkiKey is `pki root` and `pki signing-key`: the same kind of key for two purposes.
func pkiKey(p process, name, short, long string) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: name, Short: short, Long: long,
		Example: "  entente pki " + name + " --out xa",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "out")
			if err != nil {
				return err
			}
			return p.makeKey(out, name)
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder for the two files")
	return c
}

func (p process) makeKey(out, name string) error {
	key, err := member.NewSigningKey(p.Rand)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	secret, err := member.EncodePrivateKey(key)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	public, err := member.EncodePublicKey(key.Public().(ed25519.PublicKey))
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	return p.writePair(out, name, ".pub", public, secret)
}

func pkiSealingKey(p process) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "sealing-key",
		Short: "make a new sealing key, for a rotation",
		Long: "Makes a key that a data file can be sealed with; the command `node init` makes the first one of a node. To rotate it, name the\n" +
			"new file in the node's configuration as sealing_key and the old one under older_sealing_keys, and run `entente reseal`.\n" +
			"Keep the old key as long as a backup needs it.",
		Example: "  entente pki sealing-key --out xa/sealing-2.key",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "out")
			if err != nil {
				return err
			}
			err = store.CreateKey(out, p.Rand)
			if errors.Is(err, fs.ErrExist) {
				return cli.UsageErrorf("%s is there already and is not overwritten; name another file", out)
			}
			if err != nil {
				return fmt.Errorf("make sealing key: %w", err)
			}
			return p.printf("%s\n", out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file for the key")
	return c
}
