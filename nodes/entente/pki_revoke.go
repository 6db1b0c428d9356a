package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	"entente.example/entente/proto/member"
)

func pkiRevoke(p process) *cobra.Command {
	var from, out string
	var certificates, serials []string
	var valid time.Duration
	c := &cobra.Command{
		Use:   "revoke",
		Short: "put certificates on the revocation list of their authority",
		Long: "Makes the authority's revocation list (RFC 5280), or, where --out is one already, the next one with all that was on it:\n" +
			"its number rises, and nothing is ever taken off. Put the file where the node's configuration names it\n" +
			"(revocation_lists): the member's own node ends what these certificates have open within about two seconds and passes the\n" +
			"list on; all other members' nodes follow within seconds.\n\n" +
			"Name certificates by their files, or by serial numbers where a file is lost. A list holds some 7,000 certificates; before\n" +
			"it is full, replace the authority in the member's roster entry.",
		Example: "  entente pki revoke --authority xa/authority --certificate officers/officer-k.lind.pem --out xa/crl.pem\n" +
			"  entente pki revoke --authority xa/authority --serial 5f1c:22:a0 --out xa/crl.pem",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			err := given(c, "authority", "out")
			if err != nil {
				return err
			}
			if valid <= 0 {
				return cli.UsageErrorf("--valid %s: give a time that is not over yet", valid)
			}
			return p.revoke(from, out, certificates, serials, valid)
		},
	}
	c.Flags().StringVar(&from, "authority", "", "folder with authority.pem and authority.key")
	c.Flags().StringArrayVar(&certificates, "certificate", nil, "PEM file of a certificate; may be given again")
	c.Flags().StringSliceVar(&serials, "serial", nil, "serial number in hexadecimal digits, with or without colons; may be given again")
	c.Flags().StringVar(&out, "out", "", "file of the list; one that is there is read and replaced by the next")
	c.Flags().DurationVar(&valid, "valid", year, "after what time the next list is due; this one goes on counting")
	return c
}

func (p process) revoke(from, out string, certificates, serials []string, valid time.Duration) error {
	authority, err := loadAuthority(from)
	if err != nil {
		return err
	}
	numbers, err := toRevoke(authority, certificates, serials)
	if err != nil {
		return err
	}
	before, err := readRevocationList(out)
	if err != nil {
		return err
	}
	if before != nil {
		count, all, err := authority.Listed(before, numbers)
		if err != nil {
			return cli.UsageErrorf("%s: %w", out, err)
		}
		if all {
			return p.printf("%s: nothing new; %d certificates are on it\n", out, count)
		}
	}
	list, err := authority.Revoke(before, numbers, p.Rand, p.Now(), valid)
	if err != nil {
		return cli.UsageErrorf("%s: %w", out, err)
	}
	return p.writeRevocationList(authority, out, before == nil, list)
}

// toRevoke are the serial numbers that the caller names. A certificate of another authority is refused: its serial number
// would stand for another one here, or for none.
func toRevoke(authority *member.Authority, certificates, serials []string) ([]*big.Int, error) {
	if len(certificates)+len(serials) == 0 {
		return nil, cli.UsageErrorf("name what to revoke: --certificate or --serial")
	}
	var numbers []*big.Int
	for _, path := range certificates {
		text, err := readFile(path)
		if err != nil {
			return nil, err
		}
		read, err := member.ParseCertificates(text)
		if err != nil {
			return nil, cli.UsageErrorf("--certificate %s: %w", path, err)
		}
		leaf := read[0]
		if leaf.IsCA && leaf.Equal(authority.Certificate()) {
			return nil, cli.UsageErrorf("--certificate %s: an authority is not revoked but replaced, in the member's roster entry", path)
		}
		if leaf.CheckSignatureFrom(authority.Certificate()) != nil {
			return nil, cli.UsageErrorf("--certificate %s: not issued by this authority of %s", path, authority.Member())
		}
		numbers = append(numbers, leaf.SerialNumber)
	}
	for _, text := range serials {
		number, ok := new(big.Int).SetString(strings.ReplaceAll(text, ":", ""), 16)
		if !ok || number.Sign() <= 0 {
			return nil, cli.UsageErrorf("--serial %q: give hexadecimal digits, as `openssl x509 -serial` prints them", text)
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}

// readRevocationList reads the list that is to be followed by the next, nil where there is none yet.
func readRevocationList(path string) ([]byte, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	der, err := member.DecodeRevocationList(text)
	if err != nil {
		return nil, cli.UsageErrorf("%s is there and no revocation list: name another file: %w", path, err)
	}
	return der, nil
}

func (p process) writeRevocationList(authority *member.Authority, path string, isNew bool, list []byte) error {
	count, _, err := authority.Listed(list, nil)
	if err != nil {
		return fmt.Errorf("read the list back: %w", err)
	}
	text := member.EncodeRevocationList(list)
	if isNew {
		err = createFile(path, text, publicMode)
	} else {
		err = replaceFile(path, text)
	}
	if err != nil {
		return err
	}
	return p.printf("%s: %d certificates of %s count no more, once its node has read this file\n", path, count, authority.Member())
}
