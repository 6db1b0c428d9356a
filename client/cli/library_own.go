package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"entente.example/entente/client/format"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// kindLines lets through only records of one kind, so that a file of the wrong records does no harm.
type kindLines struct {
	*recordLines
	of shelf
}

// Next is the next line; one of another kind is refused by itself.
func (l kindLines) Next() (format.Row, error) {
	row, err := l.recordLines.Next()
	if err != nil || row.Err != nil {
		return row, err
	}
	got := row.Items[0].GetRecord().GetBody()
	if !l.of.holds(got) {
		row.Items, row.Derived = nil, nil
		row.Err = l.refuse("is not " + l.of.one + "; other records are for `entente push`")
	}
	return row, nil
}

// holds says whether a body is of the kind. The kinds of the contract have the numbers of the body's fields.
func (s shelf) holds(body *ententev1.Body) bool {
	field := bodyField(body)
	return field != nil && int32(field.Number()) == int32(s.kind)
}

func shelfPushCommand(env Env, of shelf) *cobra.Command {
	var flags pushFlags
	var to []string
	c := &cobra.Command{
		Use:   "push FILE…",
		Short: "push " + of.name + " from JSON lines into the own node",
		Long: "Pushes " + of.name + ", one JSON object of the contract's Record a line, and waits until each has its verdict. Without --to nothing\n" +
			"leaves the node (a new version of a released one follows the earlier one). Pushing the same again is harmless.",
		Example:      "  entente " + of.name + " push --config system.yaml " + of.name + ".jsonl",
		Args:         withUsage(cobra.MinimumNArgs(1)),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			audiences, err := parseAudiences(to, nil)
			if err != nil {
				return err
			}
			return s.pushFiles(ctx, &flags, args, func(run *intake, lines *recordLines) error {
				lines.audiences = audiences
				return run.feed(kindLines{lines, of})
			})
		}),
	}
	addSettings(c, 0)
	flags.add(c)
	c.Flags().StringArrayVar(&to, "to", nil, "release at once to: "+audienceHelp+"; may be repeated")
	return c
}

func shelfReleaseCommand(env Env, of shelf) *cobra.Command {
	var to []string
	var replace bool
	c := &cobra.Command{
		Use:   "release REFERENCE…",
		Short: "put own " + of.name + " before an audience",
		Long: "Puts the newest version of own " + of.name + " before audiences, in addition to earlier ones or, with --replace, instead. Without\n" +
			"--to that is all-future: all members, and those admitted later. `entente release --help` lists the audiences. A reference\n" +
			"that is not " + of.one + " stops the command before anything is released. \"-\" reads references from stdin.",
		Example: "  entente " + of.name + " release --config system.yaml " + of.sample + "\n" +
			"  entente " + of.name + " release --config system.yaml " + of.sample + " --to project:harbour-light",
		Args:         withUsage(cobra.MinimumNArgs(1)),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			audiences, err := parseAudiences(to, nil)
			if err != nil {
				return err
			}
			references, err := s.shelfReferences(ctx, of, args)
			if err != nil {
				return err
			}
			why, err := s.behalf()
			if err != nil {
				return err
			}
			verdicts, err := s.client.ReleaseSelected(ctx, &ententev1.ReleaseRequest{
				ProviderReferences: references, Audiences: audiences, Replace: replace, Consultation: why,
			})
			return s.printVerdicts(verdicts, err)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringArrayVar(&to, "to", []string{"all-future"}, audienceHelp+"; may be repeated")
	c.Flags().BoolVar(&replace, "replace", false, "these audiences replace the earlier ones")
	addOnBehalf(c)
	return c
}

func shelfWithdrawCommand(env Env, of shelf) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "withdraw REFERENCE… --reason REASON",
		Short: "take back all releases of own " + of.name,
		Long: "Takes back all releases of own " + of.name + ": every reader erases them and confirms it. `entente get` shows who has. A\n" +
			"reference that is not " + of.one + " stops the command before anything is withdrawn. \"-\" reads references from stdin.",
		Example:      "  entente " + of.name + " withdraw --config system.yaml " + of.sample + " --reason inaccurate",
		Args:         withUsage(cobra.MinimumNArgs(1)),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			parsed, err := parseEnum[ententev1.WithdrawalReason]("--reason", reason)
			if err != nil {
				return err
			}
			references, err := s.shelfReferences(ctx, of, args)
			if err != nil {
				return err
			}
			return s.withdraw(ctx, references, parsed, false)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&reason, "reason", "", "why, such as inaccurate; a wrong one lists all; required")
	addOnBehalf(c)
	return c
}

// shelfReferences reads references and makes sure that they are of the kind: a person's reference, given by mistake, would
// otherwise go to all members.
func (s *session) shelfReferences(ctx context.Context, of shelf, args []string) ([]string, error) {
	references, err := s.references(args)
	if err != nil {
		return nil, err
	}
	why, err := s.consultation()
	if err != nil {
		return nil, err
	}
	for _, reference := range references {
		held, err := s.client.Get(ctx, &ententev1.GetRequest{ProviderReference: reference, Consultation: why})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clean(reference), err)
		}
		if !of.holds(held.GetRecord().GetBody()) {
			return nil, UsageErrorf("%s is not %s; nothing was done", clean(reference), of.one)
		}
	}
	return references, nil
}
