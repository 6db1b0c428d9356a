package cli

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func libraryCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "library",
		Short:   "good practices and lessons, own and of others",
		Example: "  entente library list --config officer.yaml --crime-area drugs\n  entente library get XB 00112233445566778899aabbccddeeff --config officer.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return UsageErrorf("say what: `%s list` or `%s get`", c.CommandPath(), c.CommandPath())
		},
	}
	addSettings(c, shortTimeout)
	c.AddCommand(libraryListCommand(env), libraryGetCommand(env))
	return c
}

func libraryListCommand(env Env) *cobra.Command {
	var kinds, areas []string
	var limit int
	c := &cobra.Command{
		Use:          "list",
		Short:        "list practices and lessons, newest first",
		Long:         "Lists good practices and lessons, newest first. JSON: one a line.",
		Example:      "  entente library list --config officer.yaml --crime-area drugs,corruption",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			request := &ententev1.LibraryServiceListRequest{PageSize: pageSize(limit)}
			var err error
			request.Kinds, err = parseEnums[ententev1.RecordKind]("kind", kinds)
			if err != nil {
				return err
			}
			request.CrimeAreas, err = parseEnums[ententev1.CrimeArea]("crime area", areas)
			if err != nil {
				return err
			}
			request.Consultation, err = s.consultation()
			if err != nil {
				return err
			}
			line := func(item *ententev1.LibraryItem) error { return s.out.document(item) }
			head := []string{"OWNER", "ID", "KIND", "STATE", "TLP", "AREAS", "COUNTRIES", "TITLE"}
			return printSequence(s, head, limit, s.client.ListLibrary(ctx, request), line, libraryRow)
		}),
	}
	c.Flags().StringSliceVar(&kinds, "kind", nil, "lesson or good-practice; not given: both")
	c.Flags().StringSliceVar(&areas, "crime-area", nil, "only those of these crime areas, such as drugs")
	c.Flags().IntVar(&limit, "limit", 0, "at most this many; 0: all")
	return c
}

// libraryText is what lessons and practices have in common.
type libraryText struct {
	context *ententev1.LessonContext
	state   string
	tlp     ententev1.Tlp
}

func libraryTextOf(item *ententev1.LibraryItem) libraryText {
	body := item.GetRecord().GetBody()
	if lesson := body.GetLesson(); lesson != nil {
		return libraryText{lesson.GetContext(), short(lesson.GetStage()) + ", " + short(lesson.GetState()), lesson.GetTlp()}
	}
	practice := body.GetGoodPractice()
	return libraryText{practice.GetContext(), short(practice.GetState()), practice.GetTlp()}
}

// tlpText is the label in its exact form; a label that is not known counts as the strictest.
func tlpText(t ententev1.Tlp) string {
	switch t {
	case ententev1.Tlp_TLP_AMBER_STRICT:
		return "TLP:AMBER+STRICT"
	case ententev1.Tlp_TLP_AMBER:
		return "TLP:AMBER"
	case ententev1.Tlp_TLP_GREEN:
		return "TLP:GREEN"
	case ententev1.Tlp_TLP_CLEAR:
		return "TLP:CLEAR"
	default:
		return "TLP:RED"
	}
}

func libraryRow(item *ententev1.LibraryItem) []string {
	text := libraryTextOf(item)
	var areas []string
	for _, area := range text.context.GetCrimeAreas() {
		areas = append(areas, short(area))
	}
	return []string{item.GetOwner(), hex.EncodeToString(item.GetRecord().GetRecordId()), kindOf(item.GetRecord().GetBody()),
		text.state, tlpText(text.tlp), strings.Join(areas, ","), strings.Join(text.context.GetCountries(), ","),
		clip(text.context.GetTitle())}
}

func libraryGetCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:          "get [OWNER] ID",
		Short:        "show one practice or lesson",
		Example:      "  entente library get XB 00112233445566778899aabbccddeeff --config officer.yaml",
		Args:         withUsage(cobra.RangeArgs(1, 2)),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			request := &ententev1.LibraryServiceGetRequest{}
			if len(args) == 2 {
				owner, err := parseMembers(args[:1])
				if err != nil {
					return usageError{err}
				}
				request.Owner = owner[0]
			}
			var err error
			request.RecordId, err = parseID("ID", args[len(args)-1])
			if err != nil {
				return err
			}
			request.Consultation, err = s.consultation()
			if err != nil {
				return err
			}
			item, err := s.client.GetLibrary(ctx, request)
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(item)
			}
			return s.printLibraryItem(item)
		}),
	}
}

func (s *session) printLibraryItem(item *ententev1.LibraryItem) error {
	body, text := item.GetRecord().GetBody(), libraryTextOf(item)
	err := s.out.printf("%s\n%s, %s of %s, %s\n", clean(text.context.GetTitle()), tlpText(text.tlp), kindOf(body),
		clean(item.GetOwner()), text.state)
	if err != nil {
		return err
	}
	field := bodyField(body)
	if field == nil {
		return s.out.printf("\nThis program does not know this kind of record.\n")
	}
	return s.printTexts(body.ProtoReflect().Get(field).Message())
}

// printTexts prints the text fields of a message under their names in the contract.
func (s *session) printTexts(m protoreflect.Message) error {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Kind() != protoreflect.StringKind || field.IsList() || !m.Has(field) {
			continue
		}
		name := strings.ReplaceAll(string(field.Name()), "_", " ")
		err := s.out.printf("\n%s\n  %s\n", strings.ToUpper(name[:1])+name[1:], clean(m.Get(field).String()))
		if err != nil {
			return err
		}
	}
	return nil
}
