package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// rosterSummary is what `roster verify` says.
type rosterSummary struct {
	Federation string          `json:"federation"`
	Name       string          `json:"name"`
	Number     uint64          `json:"number"`
	Assembler  string          `json:"assembler"`
	IssuedAt   time.Time       `json:"issued_at"`
	ExpiresAt  time.Time       `json:"expires_at"`
	Members    []memberSummary `json:"members"`
	// Suspended and Left are those whose entry stands although they are not in good standing.
	Suspended []member.ID `json:"suspended,omitempty"`
	Left      []member.ID `json:"left,omitempty"`
}

type memberSummary struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Addresses []string `json:"addresses"`
}

func rosterVerify(p process) *cobra.Command {
	var f pin
	var held string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "check a roster as a node would, and say who is in",
		Long: "Checks every signature of a roster against the genesis, and with --held also that it takes nothing back: a roster that is\n" +
			"older than the held one, or shows another history (a fork), is refused. The exit code is 0 only if a node would serve on\n" +
			"it now.",
		Example: "  entente roster verify roster.pb --genesis genesis.pb\n  entente roster verify new.pb --genesis genesis.pb --held roster.pb",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			roster, err := p.readRoster(args[0], f)
			if err != nil {
				return err
			}
			err = p.verifyHeld(roster, held, f)
			if err != nil {
				return err
			}
			summary, err := summarise(roster)
			if err != nil {
				return err
			}
			if asJSON {
				return p.writeJSON(summary)
			}
			return p.printRoster(summary)
		},
	}
	f.add(c)
	c.Flags().StringVar(&held, "held", "", "file of a roster that nodes hold already")
	addOutput(c)
	return c
}

func (p process) verifyHeld(roster *member.Roster, path string, f pin) error {
	if path == "" {
		return nil
	}
	before, err := p.readRoster(path, f)
	if before == nil {
		return err // an expired one still says what may not be taken back
	}
	_, err = member.VerifyRoster(roster.Document(), roster.Federation(), before, p.Now())
	if err != nil {
		return fmt.Errorf("a node that holds %s refuses it: %w", path, err)
	}
	return nil
}

func summarise(r *member.Roster) (rosterSummary, error) {
	federation := r.Federation()
	s := rosterSummary{
		Federation: fmt.Sprintf("%x", federation[:]), Name: r.Name(), Number: r.Number(), Assembler: string(r.Assembler()),
		IssuedAt: r.IssuedAt().UTC(), ExpiresAt: r.ExpiresAt().UTC(), Members: []memberSummary{},
	}
	for _, id := range r.Members() {
		m, _ := r.Member(id)
		s.Members = append(s.Members, memberSummary{ID: string(id), Name: m.Name, Kind: codeName(m.Kind), Addresses: m.Addresses})
	}
	parts, err := member.RosterParts(r.Document())
	if err != nil {
		return s, err
	}
	for _, doc := range parts.Entries {
		id := member.ID(entryMember(doc))
		m, _ := r.Member(id)
		switch {
		case m.Left:
			s.Left = append(s.Left, id)
		case m.Suspended:
			s.Suspended = append(s.Suspended, id)
		}
	}
	return s, nil
}

func (p process) printRoster(s rosterSummary) error {
	err := p.printf("roster %d of %q (%s)\nassembled by %s at %s, until %s\n", s.Number, s.Name, s.Federation, s.Assembler,
		s.IssuedAt.Format(time.RFC3339), s.ExpiresAt.Format(time.RFC3339))
	if err != nil {
		return err
	}
	for _, m := range s.Members {
		err = p.printf("  %-8s %-12s %q %s\n", m.ID, m.Kind, m.Name, listOrNone(m.Addresses))
		if err != nil {
			return err
		}
	}
	if len(s.Suspended) > 0 {
		err = p.printf("suspended: %s\n", joinIDs(s.Suspended))
	}
	if err == nil && len(s.Left) > 0 {
		err = p.printf("left: %s\n", joinIDs(s.Left))
	}
	return err
}

func rosterShow(p process) *cobra.Command {
	var f inForce
	c := &cobra.Command{
		Use:   "show FILE",
		Short: "print a genesis, change, entry or roster as JSON, and who has signed",
		Long: "Prints what a document says and whose signatures stand on it; of a genesis, and with --roster and --genesis of a change,\n" +
			"also who is missing. Without them it verifies nothing: what is shown may be forged until `entente roster verify` has\n" +
			"passed.",
		Example: "  entente roster show genesis.pb\n  entente roster show change.pb --roster roster.pb --genesis genesis.pb\n" +
			"  entente roster show roster.pb --output json",
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			doc, err := readDocument(args[0], member.TypeGenesis, member.TypeChange, member.TypeEntry, member.TypeRoster)
			if err != nil {
				return err
			}
			shown, err := show(doc)
			if err != nil {
				return cli.UsageErrorf("%s: %w", args[0], err)
			}
			shown.Standing, err = p.shownStanding(args[0], doc, f)
			if err != nil {
				return err
			}
			if !asJSON && len(shown.Standing) > 0 {
				err = p.printf("%s\n", strings.Join(shown.Standing, "\n"))
				shown.Standing = nil // said
			}
			if err != nil {
				return err
			}
			return p.writeShown(shown, asJSON)
		},
	}
	f.add(c)
	addOutput(c)
	return c
}

// shownStanding says how far a document that several sign has come. A genesis that is not sound is shown all the same, with
// what is wrong.
func (p process) shownStanding(path string, doc *ententev1.SignedDocument, f inForce) ([]string, error) {
	switch doc.GetType() {
	case member.TypeGenesis:
		lines, err := p.standing(path, doc, f)
		if err != nil {
			return []string{"not sound: " + err.Error()}, nil
		}
		return lines, nil
	case member.TypeChange:
		if f.roster == "" {
			return []string{fmt.Sprintf("signatures: %d, not verified; with --roster and --genesis it says whose count and who is missing",
				len(doc.GetSignatures()))}, nil
		}
		return p.standing(path, doc, f)
	}
	return nil, nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// shownDocument is a signed document with its body decoded.
type shownDocument struct {
	Type string `json:"type"`
	// SHA256 of the body; of a genesis the id of the federation.
	SHA256   string   `json:"sha256"`
	SignedBy []string `json:"signed_by"`
	// Standing is how far the signatures are, in sentences; of documents that several sign.
	Standing []string        `json:"standing,omitempty"`
	Content  json.RawMessage `json:"content"`
	// Parts of a roster, decoded; in Content they stand as signed.
	Parts []shownDocument `json:"parts,omitempty"`
}

func show(doc *ententev1.SignedDocument) (shownDocument, error) {
	bodies := map[string]proto.Message{
		member.TypeGenesis: &ententev1.RosterGenesis{}, member.TypeChange: &ententev1.RosterChange{},
		member.TypeEntry: &ententev1.RosterEntry{}, member.TypeRoster: &ententev1.Roster{}, member.TypeProject: &ententev1.ProjectDocument{},
	}
	body := bodies[doc.GetType()]
	if body == nil {
		return shownDocument{}, fmt.Errorf("document of a type that this program does not show")
	}
	err := proto.Unmarshal(doc.GetBody(), body)
	if err != nil {
		return shownDocument{}, fmt.Errorf("the body of the %s document is damaged", doc.GetType())
	}
	shown := shownDocument{Type: doc.GetType(), SHA256: hexSum(doc.GetBody()), SignedBy: signers(doc)}
	roster, isRoster := body.(*ententev1.Roster)
	if isRoster {
		shown.Parts, err = showParts(roster)
		if err != nil {
			return shownDocument{}, err
		}
		// As signed they are bytes to a person; decoded they stand in Parts.
		roster.Genesis, roster.Changes, roster.Entries = nil, nil, nil
	}
	shown.Content, err = messageJSON(body)
	return shown, err
}

func showParts(r *ententev1.Roster) ([]shownDocument, error) {
	docs := append([]*ententev1.SignedDocument{r.GetGenesis()}, r.GetChanges()...)
	docs = append(docs, r.GetEntries()...)
	var parts []shownDocument
	for _, doc := range docs {
		if doc.GetType() == member.TypeRoster {
			return nil, fmt.Errorf("a roster stands inside the roster")
		}
		part, err := show(doc)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// writeShown writes JSON: on one line for programs, indented for people.
func (p process) writeShown(value any, asJSON bool) error {
	if asJSON {
		return p.writeJSON(value)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	var text bytes.Buffer
	err = json.Indent(&text, encoded, "", "  ")
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return p.printf("%s\n", text.Bytes())
}
