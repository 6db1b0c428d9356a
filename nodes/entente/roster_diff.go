package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// rosterDifference is what `roster diff` says.
type rosterDifference struct {
	Old uint64      `json:"old"`
	New uint64      `json:"new"`
	In  []member.ID `json:"came_in"`
	Out []member.ID `json:"went_out"`
	// Lines say everything that changed, a sentence each.
	Lines []string `json:"changes"`
}

func rosterDiff(p process) *cobra.Command {
	var f pin
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "say in sentences what changed from one roster to a later one",
		Long: "Verifies both rosters and says what the new one changes: who came in and who went out, by whose signatures, which keys,\n" +
			"authorities and addresses. A new one that does not follow the old one is refused, as nodes would: it is older, or it\n" +
			"shows another history. Either may have expired.",
		Example: "  entente roster diff roster.pb new.pb --genesis genesis.pb",
		Args:    arguments(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			old, err := p.readRoster(args[0], f)
			if old == nil {
				return err
			}
			is, err := p.followingRoster(args[1], f, old)
			if err != nil {
				return err
			}
			d, err := compareRosters(old, is)
			if err != nil {
				return err
			}
			if asJSON {
				return p.writeJSON(d)
			}
			return p.printf("%s\n", strings.Join(append([]string{fmt.Sprintf("from roster %d to roster %d:", d.Old, d.New)}, d.Lines...), "\n  "))
		},
	}
	f.add(c)
	addOutput(c)
	return c
}

// followingRoster reads a roster that is to follow another one. It may have expired.
func (p process) followingRoster(path string, f pin, held *member.Roster) (*member.Roster, error) {
	federation, err := f.id()
	if err != nil {
		return nil, err
	}
	doc, err := readDocument(path, member.TypeRoster)
	if err != nil {
		return nil, err
	}
	roster, err := member.VerifyRoster(doc, federation, held, p.Now())
	if err != nil && !errors.Is(err, member.ErrRosterExpired) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return roster, nil
}

// compareRosters says what changed between two verified rosters, the second of which follows the first.
func compareRosters(old, is *member.Roster) (rosterDifference, error) {
	d := rosterDifference{Old: old.Number(), New: is.Number(), In: []member.ID{}, Out: []member.ID{}, Lines: []string{}}
	was, err := member.RosterParts(old.Document())
	if err != nil {
		return d, err
	}
	now, err := member.RosterParts(is.Document())
	if err != nil {
		return d, err
	}
	for _, doc := range now.Changes[len(was.Changes):] {
		d.Lines = append(d.Lines, describeChange(doc))
	}
	d.Lines = append(d.Lines, compareEntries(was.Entries, now.Entries)...)
	for _, id := range memberIDSet(append(old.Members(), is.Members()...)) {
		switch {
		case !old.Active(id):
			d.In = append(d.In, id)
		case !is.Active(id):
			d.Out = append(d.Out, id)
		}
	}
	d.In = slices.DeleteFunc(d.In, func(id member.ID) bool { return !is.Active(id) })
	if len(d.In) > 0 {
		d.Lines = append(d.Lines, "comes in: "+joinIDs(d.In))
	}
	if len(d.Out) > 0 {
		d.Lines = append(d.Lines, "goes out: "+joinIDs(d.Out))
	}
	if len(d.In)+len(d.Out) == 0 {
		d.Lines = append(d.Lines, "in the federation are the same: "+joinIDs(is.Members()))
	}
	if old.Assembler() != is.Assembler() {
		d.Lines = append(d.Lines, fmt.Sprintf("assembled by %s; the one before was by %s", is.Assembler(), old.Assembler()))
	}
	d.Lines = append(d.Lines, fmt.Sprintf("nodes may serve on it until %s; on the one before until %s",
		is.ExpiresAt().UTC().Format(time.RFC3339), old.ExpiresAt().UTC().Format(time.RFC3339)))
	return d, nil
}

func describeChange(doc *ententev1.SignedDocument) string {
	change := &ententev1.RosterChange{}
	err := proto.Unmarshal(doc.GetBody(), change)
	if err != nil {
		return "a change whose body is damaged" // verification has refused the roster before
	}
	return fmt.Sprintf("change %d: %s, decided at %s, signed by %s", change.GetNumber(),
		changeSentence(change.GetKind(), member.ID(change.GetMember().GetMember())), change.GetDecidedAt().AsTime().Format(time.RFC3339),
		strings.Join(signers(doc), ", "))
}

func compareEntries(was, now []*ententev1.SignedDocument) []string {
	var lines []string
	for _, doc := range now {
		is, err := readEntry(doc)
		if err != nil {
			continue // as above
		}
		at := slices.IndexFunc(was, isEntryOf(is.GetMember()))
		if at < 0 {
			lines = append(lines, fmt.Sprintf("%s: its first entry, number %d: %q, %s", is.GetMember(), is.GetNumber(), is.GetName(),
				listOrNone(is.GetAddresses())))
			continue
		}
		before, err := readEntry(was[at])
		if err != nil || before.GetNumber() == is.GetNumber() {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: entry %d in the place of %d", is.GetMember(), is.GetNumber(), before.GetNumber()))
		for _, line := range entryDifferences(before, is) {
			lines = append(lines, is.GetMember()+": "+line)
		}
	}
	for _, doc := range was {
		if id := entryMember(doc); !slices.ContainsFunc(now, isEntryOf(id)) {
			lines = append(lines, id+": its entry is left out")
		}
	}
	return lines
}

// entryDifferences says what a member says of itself otherwise than before.
func entryDifferences(was, is *ententev1.RosterEntry) []string {
	var lines []string
	if was.GetName() != is.GetName() {
		lines = append(lines, fmt.Sprintf("its name is %q, was %q", is.GetName(), was.GetName()))
	}
	if was.GetKind() != is.GetKind() {
		lines = append(lines, fmt.Sprintf("it is %s, was %s", codeName(is.GetKind()), codeName(was.GetKind())))
	}
	if !slices.Equal(was.GetAddresses(), is.GetAddresses()) {
		lines = append(lines, fmt.Sprintf("its addresses are %s, were %s", listOrNone(is.GetAddresses()), listOrNone(was.GetAddresses())))
	}
	lines = append(lines, compareKeys(was.GetSigningKeys(), is.GetSigningKeys())...)
	lines = append(lines, compareAuthorities(was.GetCaCertificates(), is.GetCaCertificates())...)
	if len(lines) == 0 {
		lines = []string{"nothing but its number and date is new"}
	}
	return lines
}

// listOrNone is a list of texts that somebody else wrote: nothing in it reaches the terminal but what can be seen.
func listOrNone(texts []string) string {
	if len(texts) == 0 {
		return "none"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.Join(texts, " "))
}

func compareKeys(was, is []*ententev1.SigningKey) []string {
	find := func(list []*ententev1.SigningKey, key []byte) *ententev1.SigningKey {
		at := slices.IndexFunc(list, func(k *ententev1.SigningKey) bool { return string(k.GetPublicKey()) == string(key) })
		if at < 0 {
			return nil
		}
		return list[at]
	}
	var lines []string
	for _, key := range is {
		name, before := keyName(key.GetPublicKey()), find(was, key.GetPublicKey())
		switch {
		case before == nil:
			lines = append(lines, fmt.Sprintf("signing key %s is new, %s", name, codeName(key.GetState())))
		case before.GetState() != key.GetState():
			lines = append(lines, fmt.Sprintf("signing key %s is %s, was %s", name, codeName(key.GetState()), codeName(before.GetState())))
		}
	}
	for _, key := range was {
		if find(is, key.GetPublicKey()) == nil {
			lines = append(lines, fmt.Sprintf("signing key %s is gone: what it signed does not verify any more", keyName(key.GetPublicKey())))
		}
	}
	return lines
}

// keyName is the id of a key as it stands in signatures.
func keyName(key []byte) string {
	id := member.KeyID(ed25519.PublicKey(key))
	return hex.EncodeToString(id[:])
}

func compareAuthorities(was, is [][]byte) []string {
	has := func(list [][]byte, der []byte) bool {
		return slices.ContainsFunc(list, func(one []byte) bool { return string(one) == string(der) })
	}
	var lines []string
	for _, der := range is {
		if !has(was, der) {
			lines = append(lines, "authority "+authorityText(der)+" is new")
		}
	}
	for _, der := range was {
		if !has(is, der) {
			lines = append(lines, "authority "+authorityText(der)+" is gone: certificates by it count no more")
		}
	}
	return lines
}

// authorityText names a certificate by the beginning of its SHA-256, with the date of its end.
func authorityText(der []byte) string {
	sum := sha256.Sum256(der)
	name := hex.EncodeToString(sum[:8])
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return name
	}
	return name + " (until " + certificate.NotAfter.UTC().Format(time.DateOnly) + ")"
}
