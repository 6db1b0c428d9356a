package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/reflect/protoreflect"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// shelf is one of the two kinds of the library, with its words.
type shelf struct {
	kind   ententev1.RecordKind
	name   string // of the command
	one    string // a single item, with its article
	sample string // a reference, for examples
	others string // the command for the other kind
}

func practices() shelf {
	return shelf{ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE, "practices", "a good practice", "GP-7", "lessons"}
}

func lessons() shelf {
	return shelf{ententev1.RecordKind_RECORD_KIND_LESSON, "lessons", "a lesson", "LL-7", "practices"}
}

// shelfCommand is `entente practices` or `entente lessons`.
func shelfCommand(env Env, s shelf) *cobra.Command {
	c := &cobra.Command{
		Use:   s.name,
		Short: s.name + ", own and of others: push, release, list, get, follow, withdraw",
		Long: "What works and what does not, without personal data: " + s.name + " of the own member and those that others have released to\n" +
			"it. Systems push, release and withdraw own ones; officers and systems list, get and follow. The other kind: `entente\n" +
			s.others + "`.",
		Example: "  entente " + s.name + " list --config officer.yaml --crime-area drugs --language fr --endorsed 2\n" +
			"  entente " + s.name + " push --config system.yaml " + s.name + ".jsonl\n" +
			"  entente " + s.name + " release --config system.yaml " + s.sample,
		Args: withUsage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return UsageErrorf("say what: push, release, list, get, follow or withdraw, such as `%s list`", c.CommandPath())
		},
	}
	c.AddCommand(shelfPushCommand(env, s), shelfReleaseCommand(env, s), libraryListCommand(env, s.name, s.kind), libraryGetCommand(env, s.name),
		shelfFollowCommand(env, s), shelfWithdrawCommand(env, s))
	return c
}

// libraryCommand reads both kinds at once.
func libraryCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "library",
		Short:   "practices and lessons together: list, get",
		Long:    "Lists and shows good practices and lessons together. `entente practices` and `entente lessons` do more for one kind.",
		Example: "  entente library list --config officer.yaml --crime-area drugs\n  entente library get XB 00112233445566778899aabbccddeeff --config officer.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return UsageErrorf("say what: `%s list` or `%s get`; more is in `entente practices` and `entente lessons`", c.CommandPath(), c.CommandPath())
		},
	}
	c.AddCommand(libraryListCommand(env, "library", 0), libraryGetCommand(env, "library"))
	return c
}

// libraryFilters are the flags that narrow a list. The filters all must hold; of the values of one, one must.
type libraryFilters struct {
	kinds, areas, structures, states       []string
	projects, countries, languages, owners []string
	endorsed                               uint32
}

func (f *libraryFilters) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringSliceVar(&f.areas, "crime-area", nil, "only those of these crime areas, such as drugs")
	flags.StringSliceVar(&f.projects, "project", nil, "only those released under these projects")
	flags.StringSliceVar(&f.structures, "group-structure", nil, "only those about such groups, such as core-group")
	flags.StringSliceVar(&f.countries, "country", nil, "only those about these countries, two letters each")
	flags.StringSliceVar(&f.languages, "language", nil, "only those in these languages; fr means fr-CA too")
	flags.StringSliceVar(&f.states, "state", nil, "only those that stand so, such as validated")
	flags.StringSliceVar(&f.owners, "owner", nil, "only those of these members")
	flags.Uint32Var(&f.endorsed, "endorsed", 0, "only those that at least this many other members endorse")
}

func (f *libraryFilters) fill(request *ententev1.LibraryServiceListRequest) error {
	request.Projects, request.Countries, request.Languages, request.Endorsements = f.projects, f.countries, f.languages, f.endorsed
	kinds, err := parseEnums[ententev1.RecordKind]("kind", f.kinds)
	if err != nil {
		return err
	}
	request.Kinds = append(request.Kinds, kinds...)
	request.CrimeAreas, err = parseEnums[ententev1.CrimeArea]("crime area", f.areas)
	if err != nil {
		return err
	}
	request.GroupStructures, err = parseEnums[ententev1.GroupStructure]("group structure", f.structures)
	if err != nil {
		return err
	}
	request.States, err = parseEnums[ententev1.LessonState]("state", f.states)
	if err != nil {
		return err
	}
	request.Owners, err = parseMembers(f.owners)
	if err != nil {
		return UsageErrorf("--owner: %w", err)
	}
	return nil
}

// libraryListCommand lists one kind, or with kind 0 both.
func libraryListCommand(env Env, name string, kind ententev1.RecordKind) *cobra.Command {
	var filters libraryFilters
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "list them, newest first",
		Long: "Lists them, newest first. Each flag narrows the list; of several values of one flag, one must hold. Endorsements are those\n" +
			"of other members than the owner, as the owner reports them. JSON: one a line.",
		Example:      "  entente " + name + " list --config officer.yaml --crime-area drugs,corruption --state validated",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			request := &ententev1.LibraryServiceListRequest{PageSize: pageSize(limit)}
			if kind != 0 {
				request.Kinds = []ententev1.RecordKind{kind}
			}
			err := filters.fill(request)
			if err != nil {
				return err
			}
			request.Consultation, err = s.consultation()
			if err != nil {
				return err
			}
			line := func(item *ententev1.LibraryItem) error { return s.out.document(item) }
			head := []string{"OWNER", "ID", "KIND", "STATE", "LANGUAGE", "ENDORSED BY", "TLP", "AREAS", "COUNTRIES", "TITLE"}
			return printSequence(s, head, limit, s.client.ListLibrary(ctx, request), line, libraryRow)
		}),
	}
	addSettings(c, shortTimeout)
	filters.add(c)
	if kind == 0 {
		c.Flags().StringSliceVar(&filters.kinds, "kind", nil, "lesson or good-practice; not given: both")
	}
	c.Flags().IntVar(&limit, "limit", 0, "at most this many; 0: all")
	return c
}

func libraryGetCommand(env Env, name string) *cobra.Command {
	c := &cobra.Command{
		Use:          "get [OWNER] ID",
		Short:        "show one in full",
		Long:         "Shows one in full, by the id that `list` gives; without OWNER one of the own member.",
		Example:      "  entente " + name + " get XB 00112233445566778899aabbccddeeff --config officer.yaml",
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
	addSettings(c, shortTimeout)
	return c
}

func libraryRow(item *ententev1.LibraryItem) []string {
	record := item.GetRecord()
	text := libraryTextOf(record.GetBody())
	return []string{item.GetOwner(), hex.EncodeToString(record.GetRecordId()), kindOf(record.GetBody()), text.state, text.context.GetLanguage(),
		text.endorsers(item.GetOwner()), tlpText(text.tlp), text.areas(record), strings.Join(text.context.GetCountries(), ","), clip(text.context.GetTitle())}
}

func (s *session) printLibraryItem(item *ententev1.LibraryItem) error {
	record := item.GetRecord()
	body, text := record.GetBody(), libraryTextOf(record.GetBody())
	err := s.out.printf("%s\n%s, %s of %s, %s\n", clean(text.context.GetTitle()), tlpText(text.tlp), kindOf(body),
		clean(item.GetOwner()), text.state)
	if err != nil {
		return err
	}
	field := bodyField(body)
	if field == nil {
		return s.out.printf("\nThis program does not know this kind of record.\n")
	}
	var rows [][]string
	for _, row := range [][]string{
		{"language", text.context.GetLanguage()}, {"originator", text.context.GetOriginator()}, {"crime areas", text.areas(record)},
		{"groups", text.structures()}, {"countries", strings.Join(text.context.GetCountries(), ",")},
		{"project", record.GetEnvelope().GetProjectId()},
	} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	for _, e := range text.endorsements {
		rows = append(rows, []string{"endorsed by", endorsementText(e)})
	}
	if len(rows) > 0 {
		err = firstOf(s.out.printf("\n"), s.out.table(nil, rows))
	}
	if err != nil {
		return err
	}
	return s.printTexts(body.ProtoReflect().Get(field).Message())
}

func endorsementText(e *ententev1.Endorsement) string {
	text := e.GetMember()
	if e.GetAuthority() != "" {
		text += ", " + e.GetAuthority()
	}
	if e.GetDate() != nil {
		text += fmt.Sprintf(" (%s)", dateText(e.GetDate()))
	}
	if e.GetNote() != "" {
		text += ": " + e.GetNote()
	}
	return text
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
