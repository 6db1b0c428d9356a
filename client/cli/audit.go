package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func auditCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "the audit trail: list, verify, subject, find, disclosures, reconcile, honey, alerts",
		Long: "For the own member's auditors, and nobody else: who did what with whose records, when, why and to whom. Each question has a\n" +
			"purpose of its own (--audit-purpose: lawfulness, self-monitoring, security, criminal-proceedings or subject-request) and a\n" +
			"case, and stands in the trail itself.",
		Example: "  entente audit list --since 2026-01-01 --to XB --config auditor.yaml\n" +
			"  entente audit verify --roster roster.pb --genesis genesis.pb --state heads.pb --config auditor.yaml",
		Args: withUsage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return UsageErrorf("say what: list, verify, subject, find, disclosures, reconcile, honey or alerts, such as `%s list`", c.CommandPath())
		},
	}
	c.AddCommand(auditListCommand(env), auditVerifyCommand(env), auditSubjectCommand(env), auditFindCommand(env), auditDisclosuresCommand(env), auditReconcileCommand(env),
		auditHoneyCommand(env), auditAlertsCommand(env))
	return c
}

// auditing is a command of an auditor, who states purpose and case.
func auditing(env Env, do func(ctx context.Context, s *session, why *ententev1.AuditReason, args []string) error) func(*cobra.Command, []string) error {
	return call(env, func(ctx context.Context, s *session, args []string) error {
		why, err := s.settings.auditReason()
		if err != nil {
			return err
		}
		return do(ctx, s, why, args)
	})
}

// auditFilters are the flags that narrow a list; all must hold.
type auditFilters struct {
	operations                      []string
	since, before, actor, recipient string
}

func (f *auditFilters) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringSliceVar(&f.operations, "operation", nil, "only these: collection, alteration, consultation, disclosure, combination, erasure")
	flags.StringVar(&f.since, "since", "", "only at or after "+untilHelp)
	flags.StringVar(&f.before, "before", "", "only before "+untilHelp)
	flags.StringVar(&f.actor, "actor", "", "only by this name, of a certificate or of the officer on whose behalf")
	flags.StringVar(&f.recipient, "to", "", "only what went to this member")
}

func (f *auditFilters) fill(request *ententev1.ListEntriesRequest) error {
	request.Actor, request.Recipient = f.actor, f.recipient
	var err error
	request.Operations, err = parseEnums[ententev1.AuditOperation]("--operation", f.operations)
	if err != nil {
		return err
	}
	request.Since, err = parseOptionalTime("--since", f.since)
	if err != nil {
		return err
	}
	request.Before, err = parseOptionalTime("--before", f.before)
	return err
}

func auditListCommand(env Env) *cobra.Command {
	var filters auditFilters
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "list entries of the trail, oldest first",
		Long: "Lists entries of the trail, oldest first. Each flag narrows the list. METHOD is the method that was called, or what the node\n" +
			"did by itself, in a word. JSON: one a line, with the records and stretches of streams that it is about.",
		Example: "  entente audit list --config auditor.yaml --operation consultation,disclosure --since 2026-01-01 --before 2026-02-01\n" +
			"  entente audit list --config auditor.yaml --actor vera --to XB --output json",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: auditing(env, func(ctx context.Context, s *session, why *ententev1.AuditReason, _ []string) error {
			request := &ententev1.ListEntriesRequest{Reason: why, PageSize: pageSize(limit)}
			err := filters.fill(request)
			if err != nil {
				return err
			}
			line := func(entry *ententev1.AuditEntry) error { return s.out.document(entry) }
			return printSequence(s, auditHead(), limit, s.client.ListAudit(ctx, request), line, auditRow)
		}),
	}
	addAuditSettings(c, shortTimeout)
	filters.add(c)
	c.Flags().IntVar(&limit, "limit", 0, "at most this many; 0: all")
	return c
}

func auditHead() []string {
	return []string{"NUMBER", "AT", "OPERATION", "METHOD", "BY", "PURPOSE", "CASE", "TO", "ABOUT", "NOTE"}
}

func auditRow(entry *ententev1.AuditEntry) []string {
	actor := entry.GetActor()
	purpose := short(actor.GetPurpose()) + short(actor.GetAuditPurpose()) // never both
	note := entry.GetNote()
	if actor.GetProtectedReason() != "" {
		note = strings.TrimSpace(note + " protected persons: " + actor.GetProtectedReason())
	}
	if entry.GetRefused() {
		note = strings.TrimSpace("refused " + note)
	}
	return []string{fmt.Sprint(entry.GetNumber()), timeText(entry.GetAt()), short(entry.GetOperation()), entry.GetMethod()[strings.LastIndexByte(entry.GetMethod(), '/')+1:], actorText(actor), purpose,
		actor.GetCaseReference(), entry.GetRecipient(), aboutText(entry), note}
}

func actorText(actor *ententev1.AuditActor) string {
	if actor == nil {
		return "the node"
	}
	text := strings.TrimSpace(actor.GetMember() + " " + actor.GetKind() + " " + actor.GetName())
	if actor.GetOfficer() != "" && actor.GetOfficer() != actor.GetName() {
		text += " for " + actor.GetOfficer()
	}
	return text
}

// aboutText counts what an entry is about, by owner; one record is named.
func aboutText(entry *ententev1.AuditEntry) string {
	var texts []string
	for _, records := range entry.GetRecords() {
		switch len(records.GetRecordIds()) {
		case 0:
		case 1:
			texts = append(texts, records.GetOwner()+"/"+hex.EncodeToString(records.GetRecordIds()[0]))
		default:
			texts = append(texts, fmt.Sprintf("%d records of %s", len(records.GetRecordIds()), records.GetOwner()))
		}
	}
	for _, stretch := range entry.GetRanges() {
		texts = append(texts, rangeText(stretch))
	}
	return strings.Join(texts, ", ")
}

func rangeText(r *ententev1.AuditRange) string {
	return fmt.Sprintf("%s %x/%d-%d", r.GetOwner(), r.GetStreamId(), r.GetFirst(), r.GetLast())
}

func auditDisclosuresCommand(env Env) *cobra.Command {
	var since string
	c := &cobra.Command{
		Use:   "disclosures MEMBER",
		Short: "list what a member's trail says of own records",
		Long: "Lists, oldest first, what the audit trail of a member says of records that the own member owns: taken, shown, passed on, put\n" +
			"together, erased; for what purpose, and to which member. Who it was there, and why, is that member's to know. JSON: one a line,\n" +
			"last a summary.",
		Example:      "  entente audit disclosures XB --since 2026-01-01 --config auditor.yaml",
		Args:         withUsage(cobra.ExactArgs(1)),
		SilenceUsage: true,
		RunE: auditing(env, func(ctx context.Context, s *session, why *ententev1.AuditReason, args []string) error {
			of, err := parseMembers(args)
			if err != nil {
				return usageError{err}
			}
			request := &ententev1.ReconcileRequest{Reason: why, Member: of[0], List: true}
			request.Since, err = parseOptionalTime("--since", since)
			if err != nil {
				return err
			}
			return s.listDisclosures(ctx, request)
		}),
	}
	addAuditSettings(c, 0)
	c.Flags().StringVar(&since, "since", "", "only at or after "+untilHelp)
	return c
}

func (s *session) listDisclosures(ctx context.Context, request *ententev1.ReconcileRequest) error {
	var rows [][]string
	var listed uint64
	printed := func() error {
		if len(rows) == 0 {
			return nil
		}
		return s.out.table([]string{"AT", "OPERATION", "PURPOSE", "TO", "ABOUT"}, rows)
	}
	for part, err := range s.client.Reconcile(ctx, request) {
		if err == nil && s.out.json {
			err = s.out.document(part)
		}
		if err != nil {
			return firstOf(printed(), err)
		}
		listed = part.GetSummary().GetListed()
		d := part.GetDisclosure()
		if d == nil || s.out.json {
			continue
		}
		about := aboutText(&ententev1.AuditEntry{Ranges: d.GetRanges(), Records: []*ententev1.AuditRecords{{Owner: s.settings.Member, RecordIds: d.GetRecordIds()}}})
		rows = append(rows, []string{timeText(d.GetAt()), short(d.GetOperation()), short(d.GetPurpose()), d.GetRecipient(), about})
	}
	if s.out.json {
		return nil
	}
	return firstOf(printed(), s.out.printf("%d listed by %s\n", listed, request.GetMember()))
}

func auditReconcileCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "reconcile MEMBER",
		Short: "compare the own trail with what a member's trail says",
		Long: "Compares what the own node's trail says of what went to and came from a member with what that member's trail says, and prints\n" +
			"each difference. With a difference the exit code is 1. JSON: one a line, last the summary.",
		Example:      "  entente audit reconcile XB --config auditor.yaml",
		Args:         withUsage(cobra.ExactArgs(1)),
		SilenceUsage: true,
		RunE: auditing(env, func(ctx context.Context, s *session, why *ententev1.AuditReason, args []string) error {
			with, err := parseMembers(args)
			if err != nil {
				return usageError{err}
			}
			return s.reconcile(ctx, &ententev1.ReconcileRequest{Reason: why, Member: with[0]})
		}),
	}
	addAuditSettings(c, 0)
	return c
}

func (s *session) reconcile(ctx context.Context, request *ententev1.ReconcileRequest) error {
	var rows [][]string
	var summary *ententev1.ReconcileSummary
	differences := uint64(0)
	for part, err := range s.client.Reconcile(ctx, request) {
		if err == nil && s.out.json {
			err = s.out.document(part)
		}
		if err != nil {
			return firstOf(s.out.differences(rows), err)
		}
		summary = part.GetSummary()
		if part.GetDifference() == nil {
			continue
		}
		differences++
		if !s.out.json {
			rows = append(rows, differenceRow(part.GetDifference()))
		}
	}
	differences = max(differences, summary.GetDifferences())
	if !s.out.json {
		err := firstOf(s.out.differences(rows), s.out.printf("%d own entries and %d listed by %s compared; %d differences\n",
			summary.GetOwnEntries(), summary.GetListed(), request.GetMember(), differences))
		if err != nil {
			return err
		}
	}
	if differences > 0 {
		return fmt.Errorf("the trails differ: %d differences with %s", differences, request.GetMember())
	}
	return nil
}

// differences writes the rows that there are, before a summary or an error.
func (o output) differences(rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	return o.table([]string{"DIFFERENCE", "AT", "STRETCH", "RECORDS", "TO"}, rows)
}

func differenceRow(d *ententev1.AuditDifference) []string {
	stretch := ""
	if d.GetRange() != nil {
		stretch = rangeText(d.GetRange())
	}
	var ids []string
	for _, id := range d.GetRecordIds() {
		ids = append(ids, hex.EncodeToString(id))
	}
	return []string{d.GetKind(), timeText(d.GetAt()), stretch, strings.Join(ids, ","), d.GetRecipient()}
}
