package cli

import (
	"context"
	"encoding/hex"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func shelfFollowCommand(env Env, of shelf) *cobra.Command {
	var project, cursorFile string
	var areas []string
	var untilCurrent bool
	c := &cobra.Command{
		Use:   "follow",
		Short: "hear of new, corrected and withdrawn " + of.name,
		Long: "Prints a line for each release and each withdrawal, from the beginning or from the cursor of --cursor-file, and stays for new\n" +
			"ones until it is interrupted. The cursor is kept after the lines it stands for are written: after a crash the last lines\n" +
			"may come again. JSON: one object a line.",
		Example:      "  entente " + of.name + " follow --config officer.yaml --crime-area drugs --cursor-file " + of.name + ".cursor",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			request := &ententev1.SubscribeRequest{ProjectId: project, UntilCurrent: untilCurrent}
			err := fillSubscription(request, s, nil, areas, cursorFile)
			if err != nil {
				return err
			}
			request.Kinds = []ententev1.RecordKind{of.kind}
			return endless(ctx, s.follow(ctx, request, cursorFile, s.printNews))
		}),
	}
	addSettings(c, 0)
	c.Flags().StringVar(&project, "project", "", "a project; not given: all streams of the own member")
	c.Flags().StringSliceVar(&areas, "crime-area", nil, "only those of these crime areas, such as drugs")
	c.Flags().StringVar(&cursorFile, "cursor-file", "", "go on from the cursor in this file and keep it there")
	c.Flags().BoolVar(&untilCurrent, "until-current", false, "end when all that is known now has been printed")
	return c
}

// printNews prints an item with what matters of a practice or lesson.
func (s *session) printNews(item *ententev1.StreamItem) error {
	record := &ententev1.ReleasedRecord{}
	err := proto.Unmarshal(item.GetReleasedRecord(), record)
	if s.out.json || item.GetWithdrawal() != nil || err != nil {
		return s.printItem(item)
	}
	text := libraryTextOf(record.GetBody())
	line := text.state
	if text.context.GetLanguage() != "" {
		line += ", " + text.context.GetLanguage()
	}
	endorsers := text.endorsers(item.GetOwner())
	if endorsers != "" {
		line += ", endorsed by " + endorsers
	}
	return s.out.printf("%s  %s  %s  (%s)\n", clean(item.GetOwner()), hex.EncodeToString(item.GetRecordId()),
		clip(clean(text.context.GetTitle())), clean(line))
}
