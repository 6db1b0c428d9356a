package cli

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func getCommand(env Env) *cobra.Command {
	var id string
	var version uint64
	c := &cobra.Command{
		Use:   "get REFERENCE | get --id ID",
		Short: "show one own record and where it stands",
		Long: "Shows one own record, by the reference under which it was pushed or by its id, and for each reader how far it is:\n" +
			"CONFIRMED is pending (nothing signed yet), delivered (the reader has signed for the record) or applied (it has signed for\n" +
			"the withdrawal, and has erased the record). ENTRY is where the release stands: stream and entry. It is for systems: an\n" +
			"officer asks by `entente view`.",
		Example: "  entente get --config system.yaml P-1042",
		Args:    withUsage(cobra.MaximumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			request, err := getRequest(args, id, version)
			if err != nil {
				return err
			}
			request.Consultation, err = s.consultation()
			if err != nil {
				return err
			}
			held, err := s.client.Get(ctx, request)
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(held)
			}
			return s.printHeld(held)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&id, "id", "", "the record's id instead of its reference")
	c.Flags().Uint64Var(&version, "version", 0, "a version; 0: the highest")
	return c
}

func getRequest(args []string, id string, version uint64) (*ententev1.GetRequest, error) {
	if (len(args) == 1) == (id != "") {
		return nil, UsageErrorf("give the record's reference, or its id with --id")
	}
	request := &ententev1.GetRequest{Version: version}
	if len(args) == 1 {
		request.ProviderReference = args[0]
		return request, nil
	}
	var err error
	request.RecordId, err = parseID("--id", id)
	return request, err
}

func (s *session) printHeld(held *ententev1.HeldRecord) error {
	envelope, body := held.GetRecord().GetEnvelope(), held.GetRecord().GetBody()
	err := s.out.table(nil, [][]string{
		{"reference", envelope.GetProviderReference()},
		{"id", hex.EncodeToString(held.GetRecordId())},
		{"version", fmt.Sprint(envelope.GetVersion())},
		{"kind", kindOf(body)},
		{"content", describe(body)},
		{"authority", held.GetAuthority()},
		{"purpose", short(envelope.GetPurpose())},
		{"grade", gradeText(envelope.GetEvaluation())},
		{"handling", handlingText(envelope.GetHandling())},
		{"recorded", timeText(envelope.GetRecordedAt())},
		{"received", timeText(held.GetReceivedAt())},
		{"retain until", timeText(envelope.GetRetainUntil())},
		{"state", stateText(held)},
		{"released to", audiencesText(held.GetAudiences())},
	})
	if err != nil || len(held.GetDeliveries()) == 0 {
		return err
	}
	var rows [][]string
	for _, d := range held.GetDeliveries() {
		rows = append(rows, []string{d.GetMember(), short(d.GetState()), yes(d.GetWithdrawn()),
			fmt.Sprintf("%x/%d", d.GetEntry().GetStreamId(), d.GetEntry().GetSequence())})
	}
	err = s.out.printf("\n")
	if err != nil {
		return err
	}
	return s.out.table([]string{"READER", "CONFIRMED", "WITHDRAWN", "ENTRY"}, rows)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func stateText(held *ententev1.HeldRecord) string {
	switch {
	case held.GetWithdrawn():
		return "withdrawn"
	case held.GetReleaseState() == ententev1.ReleaseState_RELEASE_STATE_UNSPECIFIED:
		return "at home"
	default:
		return short(held.GetReleaseState())
	}
}

func listCommand(env Env) *cobra.Command {
	var kinds []string
	var withdrawn, current bool
	var limit int
	c := &cobra.Command{
		Use:     "list",
		Short:   "list own records",
		Long:    "Lists the records of the own member in the order in which they were first taken. JSON: one a line.",
		Example: "  entente list --config system.yaml --kind person,association --limit 20",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			request := &ententev1.ListRequest{PageSize: pageSize(limit)}
			if withdrawn && current {
				return UsageErrorf("--withdrawn and --current exclude each other: give one, or none for both kinds of record")
			}
			if withdrawn || current {
				request.Withdrawn = &withdrawn
			}
			var err error
			request.Kinds, err = parseEnums[ententev1.RecordKind]("kind", kinds)
			if err != nil {
				return err
			}
			request.Consultation, err = s.consultation()
			if err != nil {
				return err
			}
			head := []string{"REFERENCE", "VERSION", "KIND", "STATE", "RELEASED TO", "CONTENT"}
			return printSequence(s, head, limit, s.client.List(ctx, request), s.out.heldLine, heldRow)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these kinds, such as person,association")
	c.Flags().BoolVar(&withdrawn, "withdrawn", false, "only withdrawn records")
	c.Flags().BoolVar(&current, "current", false, "only records that are not withdrawn")
	c.Flags().IntVar(&limit, "limit", 0, "at most this many; 0: all")
	return c
}

func pageSize(limit int) uint32 {
	if limit <= 0 || limit > 1000 {
		return 1000
	}
	return uint32(limit)
}

func (o output) heldLine(held *ententev1.HeldRecord) error { return o.document(held) }

func heldRow(held *ententev1.HeldRecord) []string {
	envelope, body := held.GetRecord().GetEnvelope(), held.GetRecord().GetBody()
	return []string{envelope.GetProviderReference(), fmt.Sprint(envelope.GetVersion()), kindOf(body), stateText(held),
		audiencesText(held.GetAudiences()), describe(body)}
}

func releaseCommand(env Env) *cobra.Command {
	var to, mergeFor []string
	var replace bool
	c := &cobra.Command{
		Use:   "release REFERENCE… --to AUDIENCE",
		Short: "put own records before an audience",
		Long: "Puts the newest version of records before audiences, in addition to earlier ones or, with --replace, instead.\n" +
			"--replace without --to brings the records home. \"-\" reads references from stdin, one a line.\n\n" +
			"Audiences:\n" +
			"  all                      all members present now, the coordinators included\n" +
			"  all-future               also members admitted later\n" +
			"  project:ID               all participants of a project\n" +
			"  project:ID,-XC           all but XC\n" +
			"  XB,COORD                 members by name; none learns of another",
		Example: "  entente release --config system.yaml P-1042 P-1043 --to project:harbour-light\n" +
			"  entente release --config system.yaml P-1042 --to XB,COORD --merge-for XB --replace",
		Args: withUsage(cobra.MinimumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			audiences, err := parseAudiences(to, mergeFor)
			if err != nil {
				return err
			}
			if len(audiences) == 0 && !replace {
				return UsageErrorf("--to is not given; give %s, or --replace alone to bring records home", audienceHelp)
			}
			references, err := s.references(args)
			if err != nil {
				return err
			}
			verdicts, err := s.client.Release(ctx, references, audiences, replace)
			return s.printVerdicts(verdicts, err)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringArrayVar(&to, "to", nil, audienceHelp+"; may be repeated")
	c.Flags().StringSliceVar(&mergeFor, "merge-for", nil, "members for whom a coordinator named in --to may merge")
	c.Flags().BoolVar(&replace, "replace", false, "these audiences replace the earlier ones")
	return c
}

func withdrawCommand(env Env) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "withdraw REFERENCE… --reason REASON",
		Short: "take back all releases of own records",
		Long: "Takes back all releases of records: every reader erases them and confirms it. `entente get` shows who has.\n" +
			"\"-\" reads references from stdin, one a line.",
		Example: "  entente withdraw --config system.yaml P-1042 --reason released-in-error",
		Args:    withUsage(cobra.MinimumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			parsed, err := parseEnum[ententev1.WithdrawalReason]("--reason", reason)
			if err != nil {
				return err
			}
			references, err := s.references(args)
			if err != nil {
				return err
			}
			verdicts, err := s.client.Withdraw(ctx, references, parsed)
			return s.printVerdicts(verdicts, err)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&reason, "reason", "", "why, such as released-in-error; a wrong one lists all; required")
	return c
}

// references are the arguments, or the lines of stdin for "-".
func (s *session) references(args []string) ([]string, error) {
	if !slices.Contains(args, "-") {
		return args, nil
	}
	if len(args) > 1 {
		return nil, UsageErrorf("\"-\" reads all references from stdin: give it alone")
	}
	var references []string
	lines := bufio.NewScanner(s.env.Stdin)
	for lines.Scan() {
		reference := strings.TrimSpace(lines.Text())
		if reference != "" {
			references = append(references, reference)
		}
	}
	err := lines.Err()
	if err != nil {
		return nil, fmt.Errorf("read references from stdin: %w", err)
	}
	if len(references) == 0 {
		return nil, UsageErrorf("stdin holds no reference")
	}
	return references, nil
}

// printVerdicts shows what became of each record; callErr is why there are no more.
func (s *session) printVerdicts(verdicts []*ententev1.Verdict, callErr error) error {
	if callErr != nil && len(verdicts) == 0 {
		return callErr
	}
	rejected := 0
	var rows [][]string
	for _, v := range verdicts {
		if v.GetOutcome() == ententev1.Outcome_OUTCOME_REJECTED {
			rejected++
		}
		rows = append(rows, []string{v.GetProviderReference(), short(v.GetOutcome()), short(v.GetReleaseState()), violationsText(v.GetViolations())})
	}
	var err error
	if s.out.json {
		err = s.out.document(&ententev1.ReleaseResponse{Verdicts: verdicts})
	} else {
		err = s.out.table([]string{"REFERENCE", "OUTCOME", "RELEASE", "REASONS"}, rows)
	}
	err = firstOf(callErr, err)
	if err != nil {
		return err
	}
	if rejected > 0 {
		return fmt.Errorf("%w: %d of %d records", ErrRejected, rejected, len(verdicts))
	}
	return nil
}
