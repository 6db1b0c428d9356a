package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func getCommand(env Env) *cobra.Command {
	var id string
	var version uint64
	c := &cobra.Command{
		Use:   "get REFERENCE | get --id ID",
		Short: "show one own record and where it stands",
		Long: "Shows one own record, by the reference under which it was pushed or by its id, and for each reader how far it is:\n" +
			"CONFIRMED is pending (nothing signed yet), delivered (the reader has signed for the record), applied (it has signed for\n" +
			"the withdrawal, and has erased the record) or overdue (it has not signed within the member's bound). ENTRY is where the\n" +
			"release stands: stream and entry. It is for systems: an officer asks by `entente view`.",
		Example: "  entente get --config system.yaml P-1042",
		Args:    withUsage(cobra.MaximumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			request, err := getRequest(args, id, version)
			if err != nil {
				return err
			}
			request.Consultation, err = s.consultation()
			if err != nil {
				return err
			}
			held, err := s.client.Get(ctx, request)
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(held)
			}
			return s.printHeld(held)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&id, "id", "", "the record's id instead of its reference")
	c.Flags().Uint64Var(&version, "version", 0, "a version; 0: the highest")
	return c
}

func getRequest(args []string, id string, version uint64) (*ententev1.GetRequest, error) {
	if (len(args) == 1) == (id != "") {
		return nil, UsageErrorf("give the record's reference, or its id with --id")
	}
	request := &ententev1.GetRequest{Version: version}
	if len(args) == 1 {
		request.ProviderReference = args[0]
		return request, nil
	}
	var err error
	request.RecordId, err = parseID("--id", id)
	return request, err
}

func (s *session) printHeld(held *ententev1.HeldRecord) error {
	envelope, body := held.GetRecord().GetEnvelope(), held.GetRecord().GetBody()
	err := s.out.table(nil, [][]string{
		{"reference", envelope.GetProviderReference()},
		{"id", hex.EncodeToString(held.GetRecordId())},
		{"version", fmt.Sprint(envelope.GetVersion())},
		{"kind", kindOf(body)},
		{"content", describe(body)},
		{"authority", held.GetAuthority()},
		{"purpose", short(envelope.GetPurpose())},
		{"grade", gradeText(envelope.GetEvaluation())},
		{"handling", handlingText(envelope.GetHandling())},
		{"recorded", timeText(envelope.GetRecordedAt())},
		{"received", timeText(held.GetReceivedAt())},
		{"retain until", timeText(retainedUntil(held))},
		{"hold", holdText(held.GetHold())},
		{"state", stateText(held)},
		{"released to", audiencesText(standing(held))},
		{"not yet decided", audiencesText(undecided(held))},
	})
	if err != nil {
		return err
	}
	var rows [][]string
	for _, d := range held.GetDeliveries() {
		rows = append(rows, []string{d.GetMember(), deliveryText(d), yes(d.GetWithdrawn()), timeText(d.GetSentAt()), timeText(d.GetWithdrawnAt()),
			entryText(d.GetEntry())})
	}
	return s.section([]string{"READER", "CONFIRMED", "WITHDRAWN", "SENT", "TAKEN BACK", "ENTRY"}, rows)
}

// retainedUntil is when a record must be gone, renewals counted in.
func retainedUntil(held *ententev1.HeldRecord) *timestamppb.Timestamp {
	if held.GetRetainUntil() != nil {
		return held.GetRetainUntil()
	}
	return held.GetRecord().GetEnvelope().GetRetainUntil()
}

func holdText(hold *ententev1.LegalHold) string {
	if hold == nil {
		return ""
	}
	return "until " + timeText(hold.GetUntil()) + ": " + hold.GetReason()
}

// standing are the audiences that wait for nobody's decision.
func standing(held *ententev1.HeldRecord) []*ententev1.Audience { return audiencesWhere(held, false) }

// undecided are the audiences that wait for a second person.
func undecided(held *ententev1.HeldRecord) []*ententev1.Audience { return audiencesWhere(held, true) }

func audiencesWhere(held *ententev1.HeldRecord, pending bool) []*ententev1.Audience {
	var found []*ententev1.Audience
	for i, audience := range held.GetAudiences() {
		if slices.Contains(held.GetPending(), uint32(i)) == pending {
			found = append(found, audience)
		}
	}
	return found
}

// deliveryText is what a reader has confirmed; what is overdue is marked.
func deliveryText(d *ententev1.Delivery) string {
	if d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_OVERDUE {
		return "! overdue"
	}
	return short(d.GetState())
}

func entryText(entry *ententev1.EntryRef) string {
	return fmt.Sprintf("%x/%d", entry.GetStreamId(), entry.GetSequence())
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// stateText is where a record stands, and what besides is to be known before anything is done with it.
func stateText(held *ententev1.HeldRecord) string {
	state := short(held.GetReleaseState())
	switch {
	case held.GetWithdrawn():
		state = "withdrawn"
	case held.GetRestricted():
		state = "restricted"
	case held.GetReleaseState() == ententev1.ReleaseState_RELEASE_STATE_UNSPECIFIED:
		state = "at home"
	}
	overdue := slices.ContainsFunc(held.GetDeliveries(), func(d *ententev1.Delivery) bool {
		return d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_OVERDUE
	})
	for _, more := range []struct {
		is   bool
		text string
	}{{held.GetErased(), "erased"}, {held.GetHold() != nil, "held"}, {overdue, "overdue"}} {
		if more.is {
			state += ", " + more.text
		}
	}
	return state
}

func listCommand(env Env) *cobra.Command {
	var kinds []string
	var withdrawn, current bool
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "list own records",
		Long: "Lists the records of the own member in the order in which they were first taken. STATE is at home, released, waiting (for\n" +
			"another record, or its readers), pending-approval (for a second person), restricted or withdrawn; besides, it says whether\n" +
			"the content is erased, a legal hold keeps it, or a reader is overdue. JSON: one a line.",
		Example: "  entente list --config system.yaml --kind person,association --limit 20",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			request := &ententev1.ListRequest{PageSize: pageSize(limit)}
			if withdrawn && current {
				return UsageErrorf("--withdrawn and --current exclude each other: give one, or none for both kinds of record")
			}
			if withdrawn || current {
				request.Withdrawn = &withdrawn
			}
			var err error
			request.Kinds, err = parseEnums[ententev1.RecordKind]("kind", kinds)
			if err != nil {
				return err
			}
			request.Consultation, err = s.consultation()
			if err != nil {
				return err
			}
			head := []string{"REFERENCE", "VERSION", "KIND", "STATE", "RETAIN UNTIL", "RELEASED TO", "CONTENT"}
			return printSequence(s, head, limit, s.client.List(ctx, request), s.out.heldLine, heldRow)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringSliceVar(&kinds, "kind", nil, "only these kinds, such as person,association")
	c.Flags().BoolVar(&withdrawn, "withdrawn", false, "only withdrawn records")
	c.Flags().BoolVar(&current, "current", false, "only records that are not withdrawn")
	c.Flags().IntVar(&limit, "limit", 0, "at most this many; 0: all")
	return c
}

func pageSize(limit int) uint32 {
	if limit <= 0 || limit > 1000 {
		return 1000
	}
	return uint32(limit)
}

func (o output) heldLine(held *ententev1.HeldRecord) error { return o.document(held) }

func heldRow(held *ententev1.HeldRecord) []string {
	envelope, body := held.GetRecord().GetEnvelope(), held.GetRecord().GetBody()
	return []string{envelope.GetProviderReference(), fmt.Sprint(envelope.GetVersion()), kindOf(body), stateText(held),
		timeText(retainedUntil(held)), heldAudiencesText(held), describe(body)}
}

// heldAudiencesText marks the audiences that wait for a second person.
func heldAudiencesText(held *ententev1.HeldRecord) string {
	text := audiencesText(standing(held))
	waiting := audiencesText(undecided(held))
	if waiting != "" {
		text = strings.TrimSpace(text + " pending: " + waiting)
	}
	return text
}
