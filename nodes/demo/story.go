package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// correctionStep is the place of the corrections among the steps of a member's case: they are pushed later, while the
// project team watches.
const correctionStep = 4

// story is the built-in case, told in scenes. What it says is read from the nodes, through the public services only.
type story struct {
	teller
	team *team // the project team that follows from before the first push

	// What the scenes found out, for the tests.
	held          *holdings               // before the withdrawal
	before, after map[string]*client.View // views before and after the withdrawal
	live          int                     // items that came to the team while it watched the corrections
	gone          []string                // members at which the bridging record was, and is no more
	deliveries    []*ententev1.Delivery   // of the bridging record at the end
}

// play tells the story.
func (t *story) play(s *stage) (tally, error) {
	var pushed tally
	scenes := []func(*stage, *tally) error{t.federation, t.push, t.released, t.watch, t.network, t.outsider, t.withdrawal}
	for _, scene := range scenes {
		err := scene(s, &pushed)
		if err == nil {
			err = t.err
		}
		if err != nil {
			return pushed, err
		}
	}
	return pushed, nil
}

// rows are all records of the built-in case: nothing in it is derived.
func (t *story) rows() (inputRows, error) {
	rows := make(inputRows)
	for _, c := range Case() {
		rows[c.Member] = make(map[string]bool)
		for _, step := range c.Steps {
			for _, item := range step.Items {
				rows[c.Member][item.GetRecord().GetEnvelope().GetProviderReference()] = isEntity(item.GetRecord().GetBody())
			}
		}
	}
	return rows, nil
}

func (t *story) federation(s *stage, _ *tally) error {
	t.scene("Five nodes, each with its own keys, certificates and data file")
	var rows [][]string
	for _, at := range s.places {
		rows = append(rows, []string{string(at.seat.ID), at.country, at.address})
	}
	t.table([]string{"MEMBER", "COUNTRY", "NODE"}, rows)
	t.say("The project %s joins XA, XB and XC with the coordinator. XD is in no project.", ProjectID)
	return nil
}

func (t *story) push(s *stage, pushed *tally) error {
	t.scene("The national systems push their records, each into its own node")
	t.team = follow(s, s.at("XC").officer)
	count, err := s.pushCase(func(step int) bool { return step != correctionStep })
	*pushed = pushed.plus(count)
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.say("%d records pushed, %d accepted. Each was acknowledged only when it was on disk.", count.rows, count.accepted)
	return nil
}

func (t *story) released(s *stage, _ *tally) error {
	t.scene("What each holds, and to whom it is released")
	held, err := s.holdings()
	if err != nil {
		return err
	}
	var rows [][]string
	for _, at := range s.members() {
		readers := held.readers[string(at.seat.ID)]
		for _, who := range slices.Sorted(maps.Keys(readers)) {
			label := who
			if who == "" {
				label = "nobody: stays at home"
			}
			rows = append(rows, []string{string(at.seat.ID), fmt.Sprint(readers[who]), label})
		}
	}
	t.table([]string{"MEMBER", "RECORDS", "READERS"}, rows)
	t.say("Nothing leaves by default. An association leaves only to where both its ends are: %d of the case ask for more\nthan their ends allow and wait at home.",
		len(StaysHome()))
	return nil
}

func (t *story) watch(s *stage, pushed *tally) error {
	t.scene("The project team in XC follows the project, live")
	backlog, err := t.team.caughtUp(s)
	if err != nil {
		return err
	}
	t.say("%d items have come since the team subscribed, before the first push. Now corrections arrive:", backlog)
	count, err := s.pushCase(func(step int) bool { return step == correctionStep })
	*pushed = pushed.plus(count)
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	all, err := t.team.caughtUp(s)
	if err != nil {
		return err
	}
	t.live = all - backlog
	t.table([]string{"OWNER", "WHAT", "RECORD"}, t.team.lines(backlog))
	t.say("A correction is a new version, followed by the withdrawal of the one before. Other corrections went to all\nmembers, by streams of their own.")
	return nil
}

func (t *story) network(s *stage, _ *tally) error {
	t.scene("The merged network, as the coordinator answers an officer of XA")
	views, err := s.views()
	if err != nil {
		return err
	}
	t.before = views
	view := views["XA"]
	t.say("Merged by computation: leads for checking, never facts. Each names its sources with their grades.")
	t.table([]string{"ENTITY", "ROLES", "SOURCES"}, topEntities(view, 8))
	t.say("Some of the associations between them:")
	t.table([]string{"FROM", "ASSOCIATION", "TO", "SOURCES"}, topAssociations(view, 6))
	return nil
}

func (t *story) outsider(s *stage, _ *tally) error {
	t.scene("What XD sees instead")
	var rows [][]string
	for _, at := range s.members() {
		info := t.before[string(at.seat.ID)].Info
		rows = append(rows, []string{info.GetReader(), fmt.Sprint(info.GetRecordCount()), fmt.Sprint(info.GetEntityCount()), fmt.Sprint(info.GetAssociationCount())})
	}
	t.table([]string{"READER", "RECORDS", "ENTITIES", "ASSOCIATIONS"}, rows)
	missing := unseen(t.before["XA"], t.before["XD"])
	t.say("%d of XA's entities do not exist for XD, not even as a gap: the view is computed from what XD may see, as if\nnothing else existed. The first of them:", len(missing))
	t.table([]string{"ENTITY", "ROLES", "SOURCES"}, entityRows(missing[:min(4, len(missing))]))
	return nil
}

func (t *story) withdrawal(s *stage, _ *tally) error {
	t.scene(fmt.Sprintf("%s withdraws %s: it took two people for one", BridgeMember, BridgeReference))
	held, err := s.holdings()
	if err != nil {
		return err
	}
	t.held = held
	bridge, err := held.key(BridgeMember, BridgeReference)
	if err != nil {
		return err
	}
	holders, err := s.holders(bridge)
	if err != nil {
		return err
	}
	t.say("Before, %s", t.partsText(t.before["XA"], held))
	verdicts, err := s.at(BridgeMember).system.Withdraw(s.ctx, []string{BridgeReference}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE)
	if err != nil {
		return fmt.Errorf("withdraw %s: %w", BridgeReference, err)
	}
	if verdicts[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
		return fmt.Errorf("withdraw %s: %s", BridgeReference, refusal(verdicts[0]))
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.after, err = s.views()
	if err != nil {
		return err
	}
	t.say("After,  %s", t.partsText(t.after["XA"], held))
	left, err := s.holders(bridge)
	if err != nil {
		return err
	}
	t.gone = slices.DeleteFunc(holders, func(id string) bool { return slices.Contains(left, id) })
	t.say("The record was at %s, and is gone at %s. Each of them has signed for it, says the node of %s:",
		strings.Join(append(slices.Clone(left), t.gone...), ", "), strings.Join(t.gone, ", "), BridgeMember)
	return t.delivered(s)
}

// delivered waits for the receipts of the withdrawal and shows the delivery table.
func (t *story) delivered(s *stage) error {
	err := s.until("the receipts of the withdrawal", func() (bool, error) {
		record, err := s.at(BridgeMember).system.Get(s.ctx, &ententev1.GetRequest{Consultation: consultation(nil), ProviderReference: BridgeReference})
		if err != nil {
			return false, err
		}
		t.deliveries = record.GetDeliveries()
		return !slices.ContainsFunc(t.deliveries, func(d *ententev1.Delivery) bool {
			return d.GetState() != ententev1.DeliveryState_DELIVERY_STATE_APPLIED
		}), nil
	})
	if err != nil {
		return err
	}
	var rows [][]string
	for _, d := range t.deliveries {
		rows = append(rows, []string{d.GetMember(), word(d.GetState().String(), "DELIVERY_STATE_")})
	}
	t.table([]string{"READER", "WITHDRAWAL"}, rows)
	return nil
}

// partsText says into how many entities the records around the bridging one fall, for a reader.
func (t *story) partsText(view *client.View, held *holdings) string {
	var parts []string
	for _, group := range bridgeGroups(view, held) {
		parts = append(parts, "["+strings.Join(group, " ")+"]")
	}
	noun := "entities"
	if len(parts) == 1 {
		noun = "entity"
	}
	return fmt.Sprintf("XA saw %d %s here: %s", len(parts), noun, strings.Join(parts, " "))
}

// bridgeGroups are the references of each entity that holds the bridging record or one of the two that it joins.
func bridgeGroups(view *client.View, held *holdings) [][]string {
	var groups [][]string
	for _, e := range view.Entities {
		var group []string
		for _, source := range e.GetSources() {
			name, err := held.name(source)
			if err == nil {
				group = append(group, name.reference)
			}
		}
		slices.Sort(group)
		if slices.ContainsFunc([]string{BridgeLeft, BridgeReference, BridgeRight}, func(r string) bool { return slices.Contains(group, r) }) {
			groups = append(groups, group)
		}
	}
	slices.SortFunc(groups, slices.Compare)
	return groups
}
