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

// mostSelected is how many references and ids one selection of the contract takes.
const mostSelected = 1000

// releaseFlags are those of `entente release`.
type releaseFlags struct {
	to, mergeFor      []string
	replace, dryRun   bool
	leaveOut, coarsen []string
	records           []string
	project, query    string
}

func (f *releaseFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVar(&f.to, "to", nil, audienceHelp+"; may be repeated")
	flags.StringSliceVar(&f.mergeFor, "merge-for", nil, "members for whom a coordinator named in --to may merge")
	flags.BoolVar(&f.replace, "replace", false, "these audiences replace the earlier ones")
	flags.StringSliceVar(&f.leaveOut, "leave-out", nil, "leave this field out, such as body.person.residences; may be repeated")
	flags.StringSliceVar(&f.coarsen, "coarsen", nil, "give only the rough value of this field, such as body.person.dates_of_birth; may be repeated")
	flags.StringSliceVar(&f.records, "record", nil, "also the record with this id; may be repeated")
	flags.StringVar(&f.project, "project", "", "also all that were released under this project")
	flags.StringVar(&f.query, "query", "", "also all that this finds: "+queryHelp)
	flags.BoolVar(&f.dryRun, "dry-run", false, "only show what each recipient would get; nothing is released")
	addOnBehalf(c)
}

// request is what the flags and arguments ask for.
func (f *releaseFlags) request(s *session, args []string) (*ententev1.ReleaseRequest, error) {
	audiences, err := f.audiences()
	if err != nil {
		return nil, err
	}
	request := &ententev1.ReleaseRequest{Audiences: audiences, Replace: f.replace}
	request.ProviderReferences, err = s.references(args)
	if err != nil {
		return nil, err
	}
	request.Selection, err = f.selection(request.GetProviderReferences())
	if err != nil {
		return nil, err
	}
	if request.GetSelection() != nil {
		request.ProviderReferences = nil
	}
	request.Consultation, err = s.behalf()
	return request, err
}

func (f *releaseFlags) audiences() ([]*ententev1.Audience, error) {
	audiences, err := parseAudiences(f.to, f.mergeFor)
	if err != nil {
		return nil, err
	}
	treated := len(f.leaveOut) > 0 || len(f.coarsen) > 0
	switch {
	case len(audiences) == 0 && !f.replace:
		return nil, UsageErrorf("--to is not given; give %s, or --replace alone to bring records home", audienceHelp)
	case len(audiences) == 0 && treated:
		return nil, UsageErrorf("--leave-out and --coarsen go with --to: they say in which form the audience gets a record")
	}
	for _, audience := range audiences {
		if treated {
			audience.Treatment = &ententev1.Treatment{LeaveOut: f.leaveOut, Coarsen: f.coarsen}
		}
	}
	return audiences, nil
}

// selection is nil where references alone name the records: then any number of them goes, and an older node understands it.
func (f *releaseFlags) selection(references []string) (*ententev1.RecordSelection, error) {
	plain := len(f.records) == 0 && f.project == "" && f.query == ""
	switch {
	case plain && len(references) == 0:
		return nil, UsageErrorf("say which records: give references, --record, --project or --query")
	case plain && !f.dryRun:
		return nil, nil
	case len(references) > mostSelected || len(f.records) > mostSelected:
		return nil, UsageErrorf("at most %d references, and as many --record, go with --dry-run, --record, --project and --query", mostSelected)
	}
	selection := &ententev1.RecordSelection{ProviderReferences: references, ProjectId: f.project}
	for _, text := range f.records {
		id, err := parseID("--record", text)
		if err != nil {
			return nil, err
		}
		selection.RecordIds = append(selection.RecordIds, id)
	}
	if f.query == "" {
		return selection, nil
	}
	var err error
	selection.Query, err = parseQuery(f.query)
	return selection, err
}

func releaseCommand(env Env) *cobra.Command {
	var flags releaseFlags
	c := &cobra.Command{
		Use:   "release REFERENCE… --to AUDIENCE",
		Short: "put own records before an audience",
		Long: "Puts the newest version of records before audiences, in addition to earlier ones or, with --replace, instead.\n" +
			"--replace without --to brings the records home. \"-\" reads references from stdin, one a line. --record, --project and\n" +
			"--query select further records; what is given adds up, and the conditions of a query all must hold.\n\n" +
			"Audiences:\n" +
			"  all                      all members present now, the coordinators included\n" +
			"  all-future               also members admitted later\n" +
			"  project:ID               all participants of a project\n" +
			"  project:ID,-XC           all but XC\n" +
			"  XB,COORD                 members by name; none learns of another\n\n" +
			"--leave-out and --coarsen say in which form the audiences of this command get the records. Look first, with --dry-run: it\n" +
			"shows, record by record, what keeps it at home, what waits for a second person, and for each recipient what its form lacks\n" +
			"of the whole record. With --output json it gives the forms themselves, one record a line.",
		Example: "  entente release --config system.yaml P-1042 P-1043 --to project:harbour-light\n" +
			"  entente release --config system.yaml P-1042 --to XB,COORD --merge-for XB --replace\n" +
			"  entente release --config system.yaml P-1042 --to XB --leave-out body.person.residences --coarsen body.person.dates_of_birth --dry-run\n" +
			"  entente release --config system.yaml --query kind=person,crime-area=drugs,released=false --to all --on-behalf vera",
		Args: withUsage(cobra.ArbitraryArgs),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			request, err := flags.request(s, args)
			if err != nil {
				return err
			}
			if flags.dryRun {
				return s.previewRelease(ctx, request)
			}
			verdicts, err := s.client.ReleaseSelected(ctx, request)
			if err == nil && len(verdicts) == 0 && !s.out.json {
				return s.out.printf("no record fits the selection\n")
			}
			return s.printVerdicts(verdicts, err)
		}),
	}
	addSettings(c, shortTimeout)
	flags.add(c)
	return c
}

func withdrawCommand(env Env) *cobra.Command {
	var reason string
	var erase bool
	c := &cobra.Command{
		Use:   "withdraw REFERENCE… --reason REASON",
		Short: "take back all releases of own records",
		Long: "Takes back all releases of records: every reader erases them and confirms it. `entente get` shows who has. With --erase the\n" +
			"content goes at home too: the id, times and the table of readers are left. A legal hold is in the way of that.\n" +
			"\"-\" reads references from stdin, one a line.",
		Example: "  entente withdraw --config system.yaml P-1042 --reason released-in-error\n" +
			"  entente withdraw --config system.yaml P-1042 --reason unlawful --erase --on-behalf vera",
		Args: withUsage(cobra.MinimumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			parsed, err := parseEnum[ententev1.WithdrawalReason]("--reason", reason)
			if err != nil {
				return err
			}
			references, err := s.references(args)
			if err != nil {
				return err
			}
			return s.withdraw(ctx, references, parsed, erase)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&reason, "reason", "", "why, such as released-in-error; a wrong one lists all; required")
	c.Flags().BoolVar(&erase, "erase", false, "erase the content at home too")
	addOnBehalf(c)
	return c
}

func (s *session) withdraw(ctx context.Context, references []string, reason ententev1.WithdrawalReason, erase bool) error {
	why, err := s.behalf()
	if err != nil {
		return err
	}
	verdicts, err := s.client.WithdrawAs(ctx, &ententev1.WithdrawRequest{
		ProviderReferences: references, Reason: reason, Consultation: why, Erase: erase,
	})
	return s.printVerdicts(verdicts, err)
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
		name := v.GetProviderReference()
		if name == "" { // a decision is about records by their ids
			name = hex.EncodeToString(v.GetRecordId())
		}
		rows = append(rows, []string{name, short(v.GetOutcome()), short(v.GetReleaseState()), violationsText(v.GetViolations())})
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
