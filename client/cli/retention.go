package cli

import (
	"context"
	"encoding/hex"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func restrictCommand(env Env) *cobra.Command {
	var reason string
	var lift bool
	c := &cobra.Command{
		Use:   "restrict REFERENCE… --reason TEXT",
		Short: "take own records back while they are examined",
		Long: "Takes records back from all readers while their accuracy or lawfulness is examined. The node remembers to whom they were\n" +
			"released; --lift puts them back. \"-\" reads references from stdin, one a line.",
		Example: "  entente restrict --config system.yaml P-1042 --reason \"accuracy contested, file 9\"\n" +
			"  entente restrict --config system.yaml P-1042 --lift --reason \"confirmed, file 9\"",
		Args: withUsage(cobra.MinimumNArgs(1)),
		RunE: aboutRecords(env, &reason, func(ctx context.Context, s *session, why *ententev1.Consultation, references []string) ([]*ententev1.Verdict, error) {
			return s.client.Restrict(ctx, &ententev1.RestrictRequest{Consultation: why, ProviderReferences: references, Lift: lift, Reason: reason})
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&reason, "reason", "", "why, without naming anybody; required")
	c.Flags().BoolVar(&lift, "lift", false, "lift the restriction: the records go where they were")
	addOnBehalf(c)
	return c
}

func holdCommand(env Env) *cobra.Command {
	var reason, until string
	var lift bool
	c := &cobra.Command{
		Use:   "hold REFERENCE… --reason TEXT --until DATE",
		Short: "keep own records from lapsing and from being erased at home",
		Long: "Puts a legal hold on records: until the date they do not lapse, and are not erased at home. The readers' copies end at their\n" +
			"date all the same. The reason is the court's or supervisor's reference; --lift ends a hold. --until is a day (its\n" +
			"beginning, UTC) or a time. \"-\" reads references from stdin, one a line.",
		Example: "  entente hold --config system.yaml P-1042 --reason \"court XA, 17/2026\" --until 2027-06-30\n" +
			"  entente hold --config system.yaml P-1042 --lift --reason \"court XA, 17/2026, closed\"",
		Args: withUsage(cobra.MinimumNArgs(1)),
		RunE: aboutRecords(env, &reason, func(ctx context.Context, s *session, why *ententev1.Consultation, references []string) ([]*ententev1.Verdict, error) {
			if lift == (until != "") {
				return nil, UsageErrorf("give --until with the end of the hold, or --lift to end it")
			}
			end, err := parseOptionalTime("--until", until)
			if err != nil {
				return nil, err
			}
			return s.client.Hold(ctx, &ententev1.HoldRequest{
				Consultation: why, ProviderReferences: references, Lift: lift, Reason: reason, Until: end,
			})
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&reason, "reason", "", "the court's or supervisor's reference, without naming anybody; required")
	c.Flags().StringVar(&until, "until", "", "the end of the hold: "+untilHelp)
	c.Flags().BoolVar(&lift, "lift", false, "end the hold")
	addOnBehalf(c)
	return c
}

func renewCommand(env Env) *cobra.Command {
	var justification, until string
	c := &cobra.Command{
		Use:   "renew REFERENCE… --until DATE --justification TEXT",
		Short: "extend the retention of own records",
		Long: "Extends the time after which records must be gone, with the reason why they are still needed. What is released follows.\n" +
			"--until is a day (its beginning, UTC) or a time, no later than the member's profile allows. \"-\" reads references from\n" +
			"stdin, one a line; `entente due` lists what ends soon.",
		Example: "  entente renew --config system.yaml P-1042 --until 2029-01-01 --justification \"the group is active, file 7\"",
		Args:    withUsage(cobra.MinimumNArgs(1)),
		RunE: aboutRecords(env, &justification, func(ctx context.Context, s *session, why *ententev1.Consultation, references []string) ([]*ententev1.Verdict, error) {
			end, err := parseTime("--until", until)
			if err != nil {
				return nil, err
			}
			return s.client.Renew(ctx, &ententev1.RenewRequest{
				Consultation: why, ProviderReferences: references, RetainUntil: end, Justification: justification,
			})
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&justification, "justification", "", "why they are still needed, without naming anybody; required")
	c.Flags().StringVar(&until, "until", "", "when they must be gone: "+untilHelp+"; required")
	addOnBehalf(c)
	return c
}

// aboutRecords is a command that does something to own records, for a reason, and prints a verdict for each.
func aboutRecords(env Env, reason *string,
	do func(context.Context, *session, *ententev1.Consultation, []string) ([]*ententev1.Verdict, error)) func(*cobra.Command, []string) error {
	return call(env, func(ctx context.Context, s *session, args []string) error {
		if *reason == "" {
			return UsageErrorf("say why, without naming anybody: give --reason, or --justification to renew")
		}
		why, err := s.consultation()
		if err != nil {
			return err
		}
		references, err := s.references(args)
		if err != nil {
			return err
		}
		verdicts, err := do(ctx, s, why, references)
		return s.printVerdicts(verdicts, err)
	})
}

func dueCommand(env Env) *cobra.Command {
	var within string
	var limit int
	c := &cobra.Command{
		Use:   "due",
		Short: "list own records whose retention or review ends soon",
		Long: "Lists the own records whose time of retention or of review ends within the given time from now, what ends first first.\n" +
			"`entente renew` extends it, `entente withdraw --erase` ends it. JSON: one a line.",
		Example: "  entente due --config system.yaml\n  entente due --config system.yaml --within 30d",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			span, err := parseSpan("--within", within)
			if err != nil {
				return err
			}
			why, err := s.consultation()
			if err != nil {
				return err
			}
			request := &ententev1.ListDueRequest{Consultation: why, Within: span, PageSize: pageSize(limit)}
			line := func(due *ententev1.DueRecord) error { return s.out.document(due) }
			head := []string{"REFERENCE", "RECORD", "KIND", "RETAIN UNTIL", "REVIEW DUE", "RELEASED", "HOLD"}
			return printSequence(s, head, limit, s.client.ListDue(ctx, request), line, dueRow)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&within, "within", "180d", "within this time from now: days (180d) or hours (36h)")
	c.Flags().IntVar(&limit, "limit", 0, "at most this many; 0: all")
	return c
}

func dueRow(due *ententev1.DueRecord) []string {
	return []string{due.GetProviderReference(), hex.EncodeToString(due.GetRecordId()), short(due.GetKind()), timeText(due.GetRetainUntil()),
		timeText(due.GetReviewDue()), yes(due.GetReleased()), holdText(due.GetHold())}
}

func sentCommand(env Env) *cobra.Command {
	var open bool
	var limit int
	c := &cobra.Command{
		Use:   "sent MEMBER",
		Short: "list everything that was ever sent to a member",
		Long: "Lists everything that was ever sent, or is to be sent, to a member, with its state by that member's signed receipts: pending\n" +
			"(nothing signed yet), delivered, applied (taken back, and signed as erased). What the member has not signed for within the\n" +
			"own member's bound is marked \"! overdue\". A record whose content is gone has no reference any more. JSON: one a line.",
		Example: "  entente sent XB --config system.yaml\n  entente sent XB --open --config system.yaml --output json",
		Args:    withUsage(cobra.ExactArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			to, err := parseMembers(args)
			if err != nil {
				return usageError{err}
			}
			why, err := s.consultation()
			if err != nil {
				return err
			}
			request := &ententev1.ListSentRequest{Consultation: why, Member: to[0], OpenOnly: open, PageSize: pageSize(limit)}
			line := func(sent *ententev1.SentRecord) error { return s.out.document(sent) }
			head := []string{"REFERENCE", "RECORD", "VERSION", "CONFIRMED", "SENT", "TAKEN BACK", "ENTRY"}
			return printSequence(s, head, limit, s.client.ListSent(ctx, request), line, sentRow)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().BoolVar(&open, "open", false, "only what the member has not signed for, or not yet signed as erased")
	c.Flags().IntVar(&limit, "limit", 0, "at most this many; 0: all")
	return c
}

func sentRow(sent *ententev1.SentRecord) []string {
	d := sent.GetDelivery()
	takenBack := timeText(d.GetWithdrawnAt())
	if d.GetWithdrawn() && takenBack == "" {
		takenBack = "yes"
	}
	return []string{sent.GetProviderReference(), hex.EncodeToString(sent.GetRecordId()), countText(sent.GetVersion()), deliveryText(d),
		timeText(d.GetSentAt()), takenBack, entryText(d.GetEntry())}
}
