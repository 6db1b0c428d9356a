package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/trail"
)

func auditVerifyCommand(env Env) *cobra.Command {
	var rosterFile, genesisFile, stateFile string
	c := &cobra.Command{
		Use:   "verify",
		Short: "verify the whole trail without taking the node's word for it",
		Long: "Reads the whole trail and verifies it here: that no entry is edited, missing, inserted or moved, that the node has signed it,\n" +
			"and how far another member has countersigned it. What came after that countersignature, the node alone vouches for. The\n" +
			"keys come from the roster, which is checked against the pinned genesis. An entry that is at fault is named.\n\n" +
			"With --state the verified heads are kept in a file, and the next time the trail must continue them: so a trail that was\n" +
			"rewritten since is found, even by whoever has the node's key. Keep the file where no operator of the node can change it.",
		Example: "  entente audit verify --roster roster.pb --genesis genesis.pb --config auditor.yaml\n" +
			"  entente audit verify --roster roster.pb --genesis genesis.pb --state heads.json --config auditor.yaml",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: auditing(env, func(ctx context.Context, s *session, why *ententev1.AuditReason, _ []string) error {
			roster, err := s.readRoster(rosterFile, genesisFile)
			if err != nil {
				return err
			}
			earlier, err := readHeads(stateFile)
			if err != nil {
				return err
			}
			report, err := s.verifyTrail(ctx, why, roster, earlier)
			if err != nil {
				return err
			}
			// If we crash here, the next verification compares with older heads: it demands less, and nothing wrong.
			err = keepHeads(stateFile, report.Heads)
			if err != nil {
				return err
			}
			return s.printReport(report, stateFile, earlier != nil)
		}),
	}
	addAuditSettings(c, 0)
	c.Flags().StringVar(&rosterFile, "roster", "", "file of the roster, for the keys of the members; required")
	c.Flags().StringVar(&genesisFile, "genesis", "", "file of the genesis that the federation was founded with; required")
	c.Flags().StringVar(&stateFile, "state", "", "keep the verified heads in this file, and demand that the trail continues them")
	return c
}

// readRoster reads a roster and checks it against the genesis.
func (s *session) readRoster(rosterFile, genesisFile string) (*member.Roster, error) {
	if rosterFile == "" || genesisFile == "" {
		return nil, UsageErrorf("give --roster and --genesis: without the pinned genesis anybody's keys would pass")
	}
	genesis, err := readDocument(genesisFile, member.TypeGenesis)
	if err != nil {
		return nil, err
	}
	document, err := readDocument(rosterFile, member.TypeRoster)
	if err != nil {
		return nil, err
	}
	roster, err := member.VerifyRoster(document, member.FederationID(genesis), nil, s.env.Now())
	if errors.Is(err, member.ErrRosterExpired) { // it says which keys counted then; a later one may have revoked some
		fmt.Fprintf(s.env.Stderr, "%s has expired: keys that were revoked since still pass; get a newer one\n", rosterFile)
		return roster, nil
	}
	if err != nil {
		return nil, UsageErrorf("%s: %w", rosterFile, err)
	}
	return roster, nil
}

// readDocument reads a signed document of a type. It verifies nothing.
func readDocument(path, kind string) (*ententev1.SignedDocument, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, UsageErrorf("read: %w", err)
	}
	document := &ententev1.SignedDocument{}
	err = proto.Unmarshal(content, document)
	if err != nil || document.GetType() != kind {
		return nil, UsageErrorf("%s: not a document of type %s", path, kind)
	}
	return document, nil
}

// verifyTrail reads and verifies the whole trail. Nothing of it is kept in memory but what the verifier needs.
func (s *session) verifyTrail(ctx context.Context, why *ententev1.AuditReason, roster *member.Roster, earlier *ententev1.TrailHeads) (trail.Report, error) {
	verifier := trail.NewVerifier(member.ID(s.settings.Member), roster.VerifyingKeys)
	err := verifier.Continues(earlier)
	if err != nil {
		return trail.Report{}, UsageErrorf("the file of --state: %w", err)
	}
	bar := newProgressLine(s.env)
	defer bar.wipe()
	entries, intervals := 0, 0
	for part, err := range s.client.ReadTrail(ctx, &ententev1.ReadTrailRequest{Reason: why}) {
		if err == nil {
			err = verifier.Take(part)
		}
		if err != nil {
			return trail.Report{}, err
		}
		entries += len(part.GetEntries().GetEntries())
		if part.GetInterval() != nil {
			intervals++
		}
		bar.show("%d entries, %d intervals", entries, intervals)
	}
	return verifier.Finish()
}

// readHeads gives the heads that keepHeads wrote; none where there is no file yet.
func readHeads(path string) (*ententev1.TrailHeads, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, UsageErrorf("read the file of --state: %w", err)
	}
	heads := &ententev1.TrailHeads{}
	err = protojson.Unmarshal(text, heads)
	if err != nil || len(heads.GetCheckpoint()) == 0 {
		return nil, UsageErrorf("%s holds no heads of an audit trail; it must not be lost: find the one that was kept", path)
	}
	return heads, nil
}

func keepHeads(path string, heads *ententev1.TrailHeads) error {
	if path == "" {
		return nil
	}
	text, err := protoJSON(heads)
	if err != nil {
		return err
	}
	err = replaceFile(path, append(text, '\n'))
	if err != nil {
		return fmt.Errorf("the trail is verified, but its heads are not kept: %w", err)
	}
	return nil
}

// reportJSON is a verification in the words of the output.
type reportJSON struct {
	Owner              member.ID `json:"owner"`
	Entries            uint64    `json:"entries"`
	Intervals          uint64    `json:"intervals"`
	Ended              string    `json:"ended,omitempty"`
	Witness            member.ID `json:"witness,omitempty"`
	WitnessedEntries   uint64    `json:"witnessed_entries"`
	WitnessedIntervals uint64    `json:"witnessed_intervals"`
	WitnessedEnd       string    `json:"witnessed_end,omitempty"`
	WitnessedAt        string    `json:"witnessed_at,omitempty"`
	Unwitnessed        uint64    `json:"unwitnessed"`
	Continued          bool      `json:"continued"` // whether it was compared with earlier heads
}

func (s *session) printReport(r trail.Report, stateFile string, continued bool) error {
	if s.out.json {
		return s.out.value(reportJSON{
			Owner: r.Owner, Entries: r.Entries, Intervals: r.Intervals, Ended: instantText(r.Ended), Witness: r.Witness,
			WitnessedEntries: r.WitnessedEntries, WitnessedIntervals: r.WitnessedIntervals, WitnessedEnd: instantText(r.WitnessedEnd),
			WitnessedAt: instantText(r.WitnessedAt), Unwitnessed: r.Unwitnessed, Continued: continued,
		})
	}
	witnessed := "by nobody"
	if r.Witness != "" {
		witnessed = fmt.Sprintf("by %s at %s: %d entries, until %s", r.Witness, instantText(r.WitnessedAt), r.WitnessedEntries, instantText(r.WitnessedEnd))
	}
	before := "compared with nothing: give --state each time"
	switch {
	case continued:
		before = "continues the heads of " + stateFile
	case stateFile != "":
		before = "compared with nothing: " + stateFile + " is new"
	}
	return s.out.table(nil, [][]string{
		{"trail", "sound"},
		{"owner", string(r.Owner)},
		{"entries", fmt.Sprint(r.Entries)},
		{"intervals", fmt.Sprintf("%d, the last closed at %s", r.Intervals, instantText(r.Ended))},
		{"countersigned", witnessed},
		{"only the node's word", fmt.Sprintf("%d entries", r.Unwitnessed)},
		{"earlier", before},
	})
}

func instantText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}
