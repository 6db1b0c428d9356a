package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// subjectFlags describe a person or thing; what is given must all be found in a record.
type subjectFlags struct {
	name, number string
	year         uint32
}

func (f *subjectFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "words of the name, in any order")
	c.Flags().Uint32Var(&f.year, "year", 0, "the year of birth; 0: any")
	c.Flags().StringVar(&f.number, "number", "", "a number: of a document, a phone, an account, a vehicle")
}

func (f *subjectFlags) given() bool { return f.name != "" || f.year != 0 || f.number != "" }

func (f *subjectFlags) request(why *ententev1.AuditReason) *ententev1.FindSubjectRequest {
	return &ententev1.FindSubjectRequest{Reason: why, Name: f.name, YearOfBirth: f.year, Number: f.number}
}

func auditFindCommand(env Env) *cobra.Command {
	var subject subjectFlags
	c := &cobra.Command{
		Use:   "find",
		Short: "find the records that a description fits",
		Long: "Finds the records, own and received, that a description fits: to answer a person who asks what is held. What is given must all\n" +
			"be found in a record. A record that fits is not yet about that person: look before anything is said. `entente audit\n" +
			"subject` tells what was done with them. JSON: one a line.",
		Example:      "  entente audit find --name \"Teodor Varrin\" --year 1968 --config auditor.yaml",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: auditing(env, func(ctx context.Context, s *session, why *ententev1.AuditReason, _ []string) error {
			if !subject.given() {
				return UsageErrorf("describe whom or what: give --name, --year or --number")
			}
			found, err := s.findSubject(ctx, subject.request(why))
			if err != nil {
				return err
			}
			line := func(r *ententev1.SubjectRecord) error { return s.out.document(r) }
			return printSequence(s, subjectHead(), 0, each(found), line, subjectRow)
		}),
	}
	addAuditSettings(c, 0)
	subject.add(c)
	return c
}

func subjectHead() []string { return []string{"RECORD", "KIND", "REFERENCE", "HELD"} }

// subjectRow names a record in the form in which it can be asked for.
func subjectRow(r *ententev1.SubjectRecord) []string {
	return []string{r.GetOwner() + "/" + hex.EncodeToString(r.GetRecordId()), short(r.GetKind()), r.GetProviderReference(), yes(r.GetHeld())}
}

// findSubject collects what a description fits; nothing is said of a search that was cut short.
func (s *session) findSubject(ctx context.Context, request *ententev1.FindSubjectRequest) ([]*ententev1.SubjectRecord, error) {
	bar := newProgressLine(s.env)
	defer bar.wipe()
	var found []*ententev1.SubjectRecord
	for part, err := range s.client.FindSubject(ctx, request) {
		if err != nil {
			return nil, err
		}
		if part.GetRecord() != nil {
			found = append(found, part.GetRecord())
		}
		bar.show("%d records looked at, %d fit", part.GetLookedAt(), len(found))
	}
	return found, nil
}

// mostTraced is how many records one question of the contract takes.
const mostTraced = 1000

// recordRefs are the records that a command names: OWNER/ID as arguments, or AUTHORITY/REFERENCE by --reference.
type recordRefs struct{ references []string }

func (f *recordRefs) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.references, "reference", nil, "an own record as AUTHORITY/REFERENCE, instead of an id; may be repeated")
}

func (f *recordRefs) parse(args []string) ([]*ententev1.SubjectRef, error) {
	var refs []*ententev1.SubjectRef
	for _, arg := range args {
		ref, err := parseSubject(arg)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	for _, text := range f.references {
		authority, reference, found := strings.Cut(text, "/")
		if !found || authority == "" || reference == "" {
			return nil, UsageErrorf("--reference %q: give AUTHORITY/REFERENCE", text)
		}
		refs = append(refs, &ententev1.SubjectRef{Authority: authority, ProviderReference: reference})
	}
	if len(refs) > mostTraced {
		return nil, UsageErrorf("at most %d records go at once", mostTraced)
	}
	return refs, nil
}

// parseSubject reads OWNER/ID, or the ID of an own record.
func parseSubject(text string) (*ententev1.SubjectRef, error) {
	id, err := parseID("ID", text)
	if err == nil {
		return &ententev1.SubjectRef{RecordId: id}, nil
	}
	owner, idText, found := strings.Cut(text, "/")
	if !found {
		return nil, UsageErrorf("%q: give OWNER/ID, or the id of an own record", text)
	}
	owners, err := parseMembers([]string{owner})
	if err != nil {
		return nil, usageError{err}
	}
	id, err = parseID("ID", idText)
	return &ententev1.SubjectRef{Owner: owners[0], RecordId: id}, err
}

func auditSubjectCommand(env Env) *cobra.Command {
	var subject subjectFlags
	var named recordRefs
	c := &cobra.Command{
		Use:   "subject [OWNER/ID…]",
		Short: "all that was held, received, sent and seen about records",
		Long: "Tells all that was held, received, sent and seen about records: first what is held of each, then what happened, oldest first.\n" +
			"The records are named by OWNER/ID, by --reference, or described by --name, --year and --number as for `entente audit\n" +
			"find`: then what fits is traced, all of it. JSON: one part of the answer a line.",
		Example: "  entente audit subject XB/00112233445566778899aabbccddeeff --config auditor.yaml\n" +
			"  entente audit subject --reference crime-unit/P-1042 --config auditor.yaml\n" +
			"  entente audit subject --name \"Teodor Varrin\" --year 1968 --output json --config auditor.yaml",
		Args:         withUsage(cobra.ArbitraryArgs),
		SilenceUsage: true,
		RunE: auditing(env, func(ctx context.Context, s *session, why *ententev1.AuditReason, args []string) error {
			refs, err := named.parse(args)
			if err != nil {
				return err
			}
			if len(refs) == 0 && !subject.given() {
				return UsageErrorf("say about which records: give OWNER/ID, --reference, or --name, --year, --number")
			}
			if subject.given() {
				found, err := s.findSubject(ctx, subject.request(why))
				if err != nil {
					return err
				}
				refs = append(refs, refsOf(found)...)
			}
			return s.trace(ctx, why, refs)
		}),
	}
	addAuditSettings(c, 0)
	subject.add(c)
	named.add(c)
	return c
}

func refsOf(found []*ententev1.SubjectRecord) []*ententev1.SubjectRef {
	var refs []*ententev1.SubjectRef
	for _, record := range found {
		refs = append(refs, &ententev1.SubjectRef{Owner: record.GetOwner(), RecordId: record.GetRecordId()})
	}
	return refs
}

// trace asks for all records together: an entry that concerns several of them then comes once.
func (s *session) trace(ctx context.Context, why *ententev1.AuditReason, refs []*ententev1.SubjectRef) error {
	switch {
	case len(refs) == 0 && s.out.json:
		return nil
	case len(refs) == 0:
		return s.out.printf("no record fits\n")
	case len(refs) > mostTraced:
		return fmt.Errorf("%d records fit, and at most %d are traced at once: describe more narrowly, or name them", len(refs), mostTraced)
	}
	bar := newProgressLine(s.env)
	defer bar.wipe()
	var records, entries [][]string
	for part, err := range s.client.TraceSubject(ctx, &ententev1.TraceSubjectRequest{Reason: why, Records: refs}) {
		if err != nil {
			return err
		}
		bar.show("%d entries looked at", part.GetLookedAt())
		switch content := part.GetContent().(type) {
		case *ententev1.TraceSubjectResponse_Record:
			records = append(records, subjectRow(content.Record))
		case *ententev1.TraceSubjectResponse_Entry:
			entries = append(entries, auditRow(content.Entry))
		default:
			continue // progress
		}
		if s.out.json {
			err = s.out.document(part)
		}
		if err != nil {
			return err
		}
	}
	if s.out.json {
		return nil
	}
	bar.wipe()
	return firstOf(s.out.table(subjectHead(), records), s.section(auditHead(), entries))
}

func auditHoneyCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "honey",
		Short: "own records that nobody has a reason to look at: set, clear",
		Long: "Marks own records that nobody has a reason to look at, so that each look at them is an alert (`entente audit alerts`), here and\n" +
			"at other members. Only auditors know of the marks; a node counts them and lists them for nobody.",
		Example: "  entente audit honey set 00112233445566778899aabbccddeeff --config auditor.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return UsageErrorf("say what: `%s set` or `%s clear`", c.CommandPath(), c.CommandPath())
		},
	}
	c.AddCommand(honeyCommand(env, "set", "mark own records", false), honeyCommand(env, "clear", "take the mark from own records", true))
	return c
}

func honeyCommand(env Env, name, short string, clear bool) *cobra.Command {
	var named recordRefs
	c := &cobra.Command{
		Use:   name + " [ID…]",
		Short: short,
		Long:  "To " + short + ", by id or by --reference. Prints how many records are marked then.",
		Example: "  entente audit honey " + name + " 00112233445566778899aabbccddeeff --config auditor.yaml\n" +
			"  entente audit honey " + name + " --reference crime-unit/P-9000 --config auditor.yaml",
		Args:         withUsage(cobra.ArbitraryArgs),
		SilenceUsage: true,
		RunE: auditing(env, func(ctx context.Context, s *session, why *ententev1.AuditReason, args []string) error {
			refs, err := named.parse(args)
			if err != nil {
				return err
			}
			if len(refs) == 0 {
				return UsageErrorf("say which own records: give ids, or --reference")
			}
			marked, err := s.client.SetHoney(ctx, &ententev1.SetHoneyRequest{Reason: why, Records: refs, Clear: clear})
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(&ententev1.SetHoneyResponse{Marked: marked})
			}
			return s.out.printf("%d records are marked\n", marked)
		}),
	}
	addAuditSettings(c, shortTimeout)
	named.add(c)
	return c
}

func auditAlertsCommand(env Env) *cobra.Command {
	var after uint64
	c := &cobra.Command{
		Use:   "alerts",
		Short: "list looks at honey records",
		Long: "Lists looks at honey records, here and at other members, oldest first. With --after only those after a number: a program\n" +
			"keeps the last one and goes on from there. JSON: one a line.",
		Example:      "  entente audit alerts --config auditor.yaml\n  entente audit alerts --after 17 --output json --config auditor.yaml",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: auditing(env, func(ctx context.Context, s *session, why *ententev1.AuditReason, _ []string) error {
			line := func(alert *ententev1.HoneyAlert) error { return s.out.document(alert) }
			head := []string{"NUMBER", "AT", "RECORD", "MEMBER", "OPERATION", "BY", "ENTRY"}
			alerts := s.client.ListAlerts(ctx, &ententev1.ListAlertsRequest{Reason: why, After: after})
			return printSequence(s, head, 0, alerts, line, alertRow)
		}),
	}
	addAuditSettings(c, shortTimeout)
	c.Flags().Uint64Var(&after, "after", 0, "only those after this number")
	return c
}

func alertRow(alert *ententev1.HoneyAlert) []string {
	by := ""
	if alert.GetActor() != nil {
		by = actorText(alert.GetActor())
	}
	return []string{fmt.Sprint(alert.GetNumber()), timeText(alert.GetAt()), hex.EncodeToString(alert.GetRecordId()), alert.GetMember(),
		short(alert.GetOperation()), by, countText(alert.GetEntry())}
}
