package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// streamGrantCommands are the commands about who reads the own member's streams.
func streamGrantCommands(env Env) []*cobra.Command {
	return []*cobra.Command{streamPreviewCommand(env), streamGrantCommand(env)}
}

func streamPreviewCommand(env Env) *cobra.Command {
	var project string
	var records bool
	c := &cobra.Command{
		Use:   "preview MEMBER",
		Short: "say what a member reads of the own releases, and would read",
		Long: "Says, stream by stream, what a member reads of what the own member has released: a member of the roster, or one that\n" +
			"may be admitted. With --project, as if it took part in that project. It changes nothing.\n\n" +
			"  reads           it reads the stream\n" +
			"  opens-by-itself the stream is for present and future members: it opens when the node's grant_delay is over\n" +
			"  only-by-grant   it reads the stream only after `stream grant`; records that stand in the way are listed\n" +
			"  never           bilateral with others, of a project without it, or closed: release records to it by themselves\n\n" +
			"Only a system that the node's configuration lets grant (grant: true) may ask.",
		Example: "  entente stream preview XD --config system.yaml\n" +
			"  entente stream preview XC --project harbour-light --records --config system.yaml",
		Args: withUsage(cobra.ExactArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			consultation, err := s.consultation()
			if err != nil {
				return err
			}
			request := &ententev1.PreviewReaderRequest{Consultation: consultation, Member: args[0], ProjectId: project}
			streams, err := s.client.PreviewReader(ctx, request)
			if err != nil {
				return err
			}
			if s.out.json {
				return s.previewJSON(ctx, request, streams, records)
			}
			err = s.printPreviews(streams)
			if err != nil || !records {
				return err
			}
			return s.printPreviewedRecords(ctx, request)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&project, "project", "", "as if the member took part in this project")
	c.Flags().BoolVar(&records, "records", false, "also list the records")
	return c
}

func (s *session) previewJSON(ctx context.Context, request *ententev1.PreviewReaderRequest, streams []*ententev1.StreamPreview, records bool) error {
	response := &ententev1.PreviewReaderResponse{Streams: streams}
	if records {
		for one, err := range s.client.PreviewRecords(ctx, request) {
			if err != nil {
				return err
			}
			response.Records = append(response.Records, one)
		}
	}
	return s.out.document(response)
}

func (s *session) printPreviews(streams []*ententev1.StreamPreview) error {
	var rows [][]string
	for _, one := range streams {
		rows = append(rows, []string{
			fmt.Sprintf("%x", one.GetStreamId()), streamKindText(one), outcomeText(one), standingText(one.GetStanding()), strings.Join(one.GetReaders(), ","),
		})
	}
	err := s.out.table([]string{"STREAM", "FOR", "READS", "STANDING", "READERS"}, rows)
	if err != nil {
		return err
	}
	for _, one := range streams {
		err = s.printObstacles(one)
		if err != nil {
			return err
		}
	}
	return nil
}

func streamKindText(p *ententev1.StreamPreview) string {
	text := short(p.GetKind())
	if p.GetProjectId() != "" {
		text += " " + p.GetProjectId()
	}
	if p.GetClosed() {
		text += ", closed"
	}
	return text
}

func outcomeText(p *ententev1.StreamPreview) string {
	if p.GetOpensAt() != nil {
		return short(p.GetOutcome()) + " " + timeText(p.GetOpensAt())
	}
	return short(p.GetOutcome())
}

func standingText(counts []*ententev1.KindCount) string {
	var parts []string
	for _, count := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", count.GetCount(), short(count.GetKind())))
	}
	return strings.Join(parts, ", ")
}

func (s *session) printObstacles(p *ententev1.StreamPreview) error {
	for _, obstacle := range p.GetObstacles() {
		err := s.out.printf("stream %x: in the way: %s (%x): %s\n", p.GetStreamId(), obstacle.GetProviderReference(), obstacle.GetRecordId(), obstacle.GetReason())
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) printPreviewedRecords(ctx context.Context, request *ententev1.PreviewReaderRequest) error {
	var rows [][]string
	for one, err := range s.client.PreviewRecords(ctx, request) {
		if err != nil {
			return err
		}
		rows = append(rows, []string{one.GetProviderReference(), short(one.GetKind()), short(one.GetOutcome())})
	}
	err := s.out.printf("\n")
	if err != nil {
		return err
	}
	return s.out.table([]string{"RECORD", "KIND", "READS"}, rows)
}

func streamGrantCommand(env Env) *cobra.Command {
	var reader string
	var dryRun bool
	c := &cobra.Command{
		Use:   "grant STREAM --to MEMBER",
		Short: "open an earlier shared stream to a member, with all that stands in it",
		Long: "Opens a stream for all members, or of a project, to a member that came later: it reads what stands in the stream, and what\n" +
			"still comes. The grant is signed, stands in the stream, and so reaches all its readers; it cannot be taken back, but what\n" +
			"stands in the stream can be withdrawn. `stream preview` lists the streams. Look first, with --dry-run.\n\n" +
			"Nothing is granted while a record stands in the way: one that must not reach the member, or that names another which the\n" +
			"member may not read. Withdraw or narrow it, then grant.",
		Example: "  entente stream grant 5f0c… --to XD --dry-run --config system.yaml\n" +
			"  entente stream grant 5f0c… --to XD --config system.yaml",
		Args: withUsage(cobra.ExactArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			request, err := grantRequest(s, args[0], reader, dryRun)
			if err != nil {
				return err
			}
			response, err := s.client.GrantStream(ctx, request)
			if err != nil {
				return err
			}
			err = s.printGrant(response, reader, dryRun)
			if err != nil {
				return err
			}
			if !dryRun && len(response.GetStream().GetObstacles()) > 0 {
				return fmt.Errorf("nothing was granted: records stand in the way: %w", ErrRejected)
			}
			return nil
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&reader, "to", "", "the member")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be opened")
	return c
}

func grantRequest(s *session, stream, reader string, dryRun bool) (*ententev1.GrantStreamRequest, error) {
	if reader == "" {
		return nil, UsageErrorf("say to whom: give --to MEMBER")
	}
	id, err := parseID("STREAM", stream)
	if err != nil {
		return nil, err
	}
	consultation, err := s.consultation()
	if err != nil {
		return nil, err
	}
	return &ententev1.GrantStreamRequest{Consultation: consultation, StreamId: id, Member: reader, DryRun: dryRun}, nil
}

func (s *session) printGrant(response *ententev1.GrantStreamResponse, reader string, dryRun bool) error {
	if s.out.json {
		return s.out.document(response)
	}
	err := s.printPreviews([]*ententev1.StreamPreview{response.GetStream()})
	switch {
	case err != nil:
		return err
	case response.GetDuplicate():
		return s.out.printf("%s reads it already; nothing changed\n", reader)
	case len(response.GetStream().GetObstacles()) > 0:
		return nil
	case dryRun:
		return s.out.printf("nothing was changed; without --dry-run %s would read the stream\n", reader)
	}
	return s.out.printf("%s reads it now: entry %d\n", reader, response.GetEntry().GetSequence())
}
