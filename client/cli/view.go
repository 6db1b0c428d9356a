package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// lead stands above every merged answer for people.
const lead = "Merged by computation: leads for checking, never facts. Each has its sources and their handling.\n\n"

func viewCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "view",
		Short: "the merged network, as far as the own member may see it",
		Long: "Shows the merged view of the criminal networks: without a further word what it is (with --output json all of it),\n" +
			"or its entities, its associations, one entity, or what changes in it. `view export` writes it to a file. Victims, witnesses\n" +
			"and minors are left out, unless --protected-reason says why they are needed; that stands in the audit trail.",
		Example: "  entente view --config officer.yaml --purpose criminal-investigation --case HL-2026-7\n" +
			"  entente view entities --config officer.yaml",
		Args: withUsage(cobra.NoArgs),
		RunE: wholeView(env, func(s *session, view *client.View) error {
			if s.out.json {
				return s.out.document(&ententev1.GetViewResponse{View: view.Info, Entities: view.Entities, Associations: view.Associations})
			}
			return s.printViewInfo(view.Info)
		}),
	}
	addSettings(c, shortTimeout)
	c.AddCommand(
		&cobra.Command{
			Use: "entities", Short: "all merged entities", Example: "  entente view entities --config officer.yaml",
			Long: "Lists the merged entities, as far as the own member may see them: each with the roles that its sources give it, and the\n" +
				"sources with their grades. An entity of several sources is computed: a lead for checking, never a fact.",
			Args: withUsage(cobra.NoArgs), SilenceUsage: true, RunE: wholeView(env, (*session).printEntities),
		},
		&cobra.Command{
			Use: "associations", Short: "all merged associations", Example: "  entente view associations --config officer.yaml",
			Long: "Lists the merged associations between entities, as far as the own member may see them, each with its sources and their\n" +
				"grades. `entente view entity ID` shows one entity with its associations.",
			Args: withUsage(cobra.NoArgs), SilenceUsage: true, RunE: wholeView(env, (*session).printAssociations),
		},
		entityCommand(env),
		watchCommand(env),
		viewExportCommand(env),
	)
	addProtectedReason(c)
	return c
}

func wholeView(env Env, show func(*session, *client.View) error) func(*cobra.Command, []string) error {
	return call(env, func(ctx context.Context, s *session, _ []string) error {
		consultation, err := s.consultation()
		if err != nil {
			return err
		}
		view, err := s.client.View(ctx, consultation)
		if err != nil {
			return err
		}
		return show(s, view)
	})
}

func (s *session) printViewInfo(info *ententev1.ViewInfo) error {
	return s.out.table(nil, [][]string{
		{"reader", info.GetReader()},
		{"entities", fmt.Sprint(info.GetEntityCount())},
		{"associations", fmt.Sprint(info.GetAssociationCount())},
		{"records", fmt.Sprint(info.GetRecordCount())},
		{"hash", hex.EncodeToString(info.GetHash())},
		{"tables", hex.EncodeToString(info.GetTablesHash())},
	})
}

func (s *session) printEntities(view *client.View) error {
	if s.out.json {
		return s.out.document(&ententev1.GetViewResponse{View: view.Info, Entities: view.Entities})
	}
	var rows [][]string
	for _, e := range view.Entities {
		rows = append(rows, []string{hex.EncodeToString(e.GetEntityId()), short(e.GetKind()), labelOf(e), rolesText(e),
			sourcesText(e.GetSources()), handlingText(e.GetHandling())})
	}
	err := s.out.printf(lead)
	if err != nil {
		return err
	}
	return s.out.table([]string{"ENTITY", "KIND", "CONTENT", "ROLES", "SOURCES", "HANDLING"}, rows)
}

func (s *session) printAssociations(view *client.View) error {
	if s.out.json {
		return s.out.document(&ententev1.GetViewResponse{View: view.Info, Associations: view.Associations})
	}
	labels := make(map[string]string, len(view.Entities))
	for _, e := range view.Entities {
		labels[string(e.GetEntityId())] = labelOf(e)
	}
	err := s.out.printf(lead)
	if err != nil {
		return err
	}
	return s.out.table([]string{"FROM", "ASSOCIATION", "TO", "SOURCES", "HANDLING"}, associationRows(view.Associations, labels))
}

// associationRows names the ends by their label, or by their id where there is none.
func associationRows(associations []*ententev1.ViewAssociation, labels map[string]string) [][]string {
	end := func(id []byte) string {
		label := labels[string(id)]
		if label == "" {
			return hex.EncodeToString(id)
		}
		return label
	}
	var rows [][]string
	for _, a := range associations {
		rows = append(rows, []string{end(a.GetFromEntityId()), short(a.GetKind()), end(a.GetToEntityId()),
			sourcesText(a.GetSources()), handlingText(a.GetHandling())})
	}
	return rows
}

// labelOf is what an entity is called: its name, else the first identifying fact that it has, else its first facts.
func labelOf(e *ententev1.ViewEntity) string {
	for _, field := range []string{"name", "title", "number", "value", "plate", "serial_number"} {
		for _, fact := range e.GetFacts() {
			if fact.GetField() == field {
				return clip(fact.GetValue())
			}
		}
	}
	var facts []string
	for _, fact := range e.GetFacts()[:min(2, len(e.GetFacts()))] {
		facts = append(facts, fact.GetField()+" "+fact.GetValue())
	}
	return clip(strings.Join(facts, ", "))
}

func rolesText(e *ententev1.ViewEntity) string {
	var roles []string
	for _, role := range e.GetRoles() {
		for _, name := range []string{short(role.GetRole()), short(role.GetPositionalRole())} {
			if name != "" && !slices.Contains(roles, name) {
				roles = append(roles, name)
			}
		}
	}
	return strings.Join(roles, ",")
}

// sourcesText names each source by member and grade.
func sourcesText(sources []*ententev1.ViewSource) string {
	var texts []string
	for _, s := range sources {
		texts = append(texts, s.GetProviderMember()+" "+s.GetEvaluation().GetSourceCode()+s.GetEvaluation().GetInformationCode())
	}
	return strings.Join(texts, ", ")
}

func entityCommand(env Env) *cobra.Command {
	return &cobra.Command{
		Use:          "entity ID",
		Short:        "one merged entity with sources, facts, roles and associations",
		Long:         "Shows one merged entity, by its id or by the id of any of its records.",
		Example:      "  entente view entity 00112233445566778899aabbccddeeff --config officer.yaml",
		Args:         withUsage(cobra.ExactArgs(1)),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			handle, err := parseID("ID", args[0])
			if err != nil {
				return err
			}
			consultation, err := s.consultation()
			if err != nil {
				return err
			}
			answer, err := s.client.Entity(ctx, consultation, handle)
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(answer)
			}
			return s.printEntity(answer)
		}),
	}
}

func (s *session) printEntity(answer *ententev1.GetEntityResponse) error {
	e := answer.GetEntity()
	err := s.out.printf(lead)
	if err != nil {
		return err
	}
	err = s.out.table(nil, [][]string{
		{"entity", hex.EncodeToString(e.GetEntityId())},
		{"kind", short(e.GetKind())},
		{"handling", handlingText(e.GetHandling())},
		{"merged because", strings.Join(e.GetMergeReasons(), "; ")},
	})
	if err != nil {
		return err
	}
	err = s.printSourcesAndFacts(e)
	if err != nil {
		return err
	}
	labels := map[string]string{string(e.GetEntityId()): labelOf(e)}
	return s.section([]string{"FROM", "ASSOCIATION", "TO", "SOURCES", "HANDLING"}, associationRows(answer.GetAssociations(), labels))
}

func (s *session) printSourcesAndFacts(e *ententev1.ViewEntity) error {
	var sources, facts, roles [][]string
	for i, source := range e.GetSources() {
		sources = append(sources, []string{fmt.Sprint(i + 1), source.GetProviderMember(), source.GetProviderAuthority(),
			hex.EncodeToString(source.GetRecordId()), gradeText(source.GetEvaluation()), handlingText(source.GetHandling()),
			short(source.GetAssertion()), timeText(source.GetRecordedAt())})
	}
	for _, fact := range e.GetFacts() {
		var by []string
		for _, index := range fact.GetSources() {
			by = append(by, fmt.Sprint(index+1))
		}
		facts = append(facts, []string{fact.GetField(), fact.GetValue(), strings.Join(by, ",")})
	}
	for _, role := range e.GetRoles() {
		roles = append(roles, []string{short(role.GetRole()), short(role.GetPositionalRole()),
			hex.EncodeToString(role.GetGroupEntityId()), sourcesText(role.GetSources())})
	}
	err := s.section([]string{"SOURCE", "MEMBER", "AUTHORITY", "RECORD", "GRADE", "HANDLING", "ASSERTION", "RECORDED"}, sources)
	if err != nil {
		return err
	}
	err = s.section([]string{"FIELD", "VALUE", "SOURCES"}, facts)
	if err != nil {
		return err
	}
	return s.section([]string{"ROLE", "POSITION", "GROUP", "SOURCES"}, roles)
}

func watchCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:          "watch",
		Short:        "what changes in the view, from now on",
		Long:         "Prints the state of the view, then a line for each change, until it is interrupted or --timeout ends it. JSON: one object a line.",
		Example:      "  entente view watch --config officer.yaml --timeout 1h",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			consultation, err := s.consultation()
			if err != nil {
				return err
			}
			err = s.reach(ctx)
			if err != nil {
				return err
			}
			return endless(ctx, s.watch(ctx, consultation))
		}),
	}
	// In place of that of view: a watch has no end of its own.
	c.Flags().Duration("timeout", 0, "end after this time; 0: never")
	return c
}

func (s *session) watch(ctx context.Context, consultation *ententev1.Consultation) error {
	for change, err := range s.client.Watch(ctx, &ententev1.WatchRequest{Consultation: consultation}) {
		if err != nil {
			return err
		}
		if s.out.json {
			err = s.out.document(change)
		} else {
			err = s.printChange(change)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) printChange(change *ententev1.WatchResponse) error {
	info := change.GetView()
	err := s.out.printf("view %x: %d entities, %d associations\n", info.GetHash(), info.GetEntityCount(), info.GetAssociationCount())
	if err != nil {
		return err
	}
	var rows [][]string
	for _, e := range change.GetChangedEntities() {
		rows = append(rows, []string{"  entity", hex.EncodeToString(e.GetEntityId()), short(e.GetKind()), labelOf(e), sourcesText(e.GetSources())})
	}
	for _, id := range change.GetGoneEntityIds() {
		rows = append(rows, []string{"  entity gone", hex.EncodeToString(id)})
	}
	for _, a := range change.GetChangedAssociations() {
		rows = append(rows, []string{"  association", hex.EncodeToString(a.GetAssociationId()), short(a.GetKind()), "", sourcesText(a.GetSources())})
	}
	for _, id := range change.GetGoneAssociationIds() {
		rows = append(rows, []string{"  association gone", hex.EncodeToString(id)})
	}
	return s.out.table(nil, rows)
}
