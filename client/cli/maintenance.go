package cli

import (
	"context"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func compactCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "compact",
		Short: "have the node write its data file anew without what was erased",
		Long: "Has the own node write its data file anew, so that the bytes of what was erased are gone from it. The node goes on meanwhile,\n" +
			"and does so by itself within the bound of its configuration; `entente status` shows what waits. Prints the size before and\n" +
			"after. Backups of an earlier time still hold what was erased since.",
		Example: "  entente compact --config operator.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			bar := newProgressLine(env)
			done, err := s.client.Compact(ctx, func(done, total uint64) { bar.show("%d of %d values", done, total) })
			bar.wipe()
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(done)
			}
			return s.out.printf("%.1f MB before, %.1f MB after, %d values\n",
				float64(done.GetBytesBefore())/1e6, float64(done.GetBytesAfter())/1e6, done.GetValues())
		}),
	}
	addSettings(c, 0)
	return c
}

func clockCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "clock",
		Short: "the clock by which records expire: confirm it",
		Long: "Records expire by the node's clock, checked against those of the other members. Where no quorum of them can be heard, what has\n" +
			"expired is only hidden, not erased, until an operator confirms the clock. `entente status` shows how it stands.",
		Example: "  entente clock confirm --config operator.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return UsageErrorf("say what: `%s confirm`", c.CommandPath())
		},
	}
	c.AddCommand(clockConfirmCommand(env))
	return c
}

func clockConfirmCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "confirm",
		Short: "say that the node's clock is right",
		Long: "Tells the node the time by the clock of this machine. Where the two agree within 5 minutes, what has expired is erased for a\n" +
			"while also without a quorum of members. Compare this machine's clock with another source first: what is erased is gone.",
		Example:      "  entente clock confirm --config operator.yaml",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			clock, err := s.client.ConfirmClock(ctx, s.env.Now())
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(&ententev1.ConfirmClockResponse{ExpiryClock: clock})
			}
			return s.out.table(nil, clockRows(clock))
		}),
	}
	addSettings(c, shortTimeout)
	return c
}

// clockRows say how the clock stands, in rows of two.
func clockRows(clock *ententev1.ExpiryClock) [][]string {
	erased := timeText(clock.GetEraseAt())
	if clock.GetEraseAt() == nil {
		erased = "nothing is erased now"
	}
	members := "no quorum heard"
	if clock.GetQuorum() {
		members = "quorum heard"
	}
	if clock.GetQuorum() && !clock.GetAgreed() {
		members += ", they differ from this node by more than 5 minutes"
	}
	rows := [][]string{
		{"expired is hidden by", timeText(clock.GetHideAt())},
		{"expired is erased by", erased},
		{"members' clocks", members},
	}
	if clock.GetConfirmedUntil() != nil {
		rows = append(rows, []string{"clock confirmed until", timeText(clock.GetConfirmedUntil())})
	}
	return rows
}
