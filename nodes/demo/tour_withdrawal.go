package demo

import (
	"fmt"
	"slices"
	"strings"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

func (t *tour) withdrawal(s *stage, _ *tally) error {
	held, bridge, holders, err := t.beforeWithdrawal(s)
	if err != nil {
		return err
	}
	t.say("%s took two people for one: its record %s carries the passport of one and the name of the other, and so joined them in the "+
		"merged network. It takes the record back.", BridgeMember, BridgeReference)
	t.printf("  before: %s\n\n", partsText(t.before["XA"], held))
	_, err = t.do(s, command{line: "withdraw " + BridgeReference + " --reason inaccurate --config @" + BridgeMember + "/system.yaml"})
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.after, err = s.views()
	if err != nil {
		return err
	}
	t.printf("  after:  %s\n\n", partsText(t.after["XA"], held))
	left, err := s.holders(bridge)
	if err != nil {
		return err
	}
	t.gone = slices.DeleteFunc(holders, func(id string) bool { return slices.Contains(left, id) })
	err = t.delivered(s)
	if err != nil {
		return err
	}
	t.say("Nobody had to undo the merge: the network is computed from what stands. The record was at %s, and is gone there. Each has signed that it "+
		"has erased it; the owner's delivery table is made of these receipts:", strings.Join(t.gone, ", "))
	_, err = t.do(s, command{line: "get " + BridgeReference + " --config @" + BridgeMember + "/system.yaml", only: []string{"state", "READER", "COORD ", "XA ", "XC ", "XD "}})
	return err
}

// beforeWithdrawal finds out what the bridging record does, and where it is.
func (t *tour) beforeWithdrawal(s *stage) (held *holdings, bridge recordKey, holders []string, err error) {
	held, err = s.holdings()
	if err != nil {
		return nil, bridge, nil, err
	}
	t.held = held
	bridge, err = held.key(BridgeMember, BridgeReference)
	if err != nil {
		return nil, bridge, nil, err
	}
	t.before, err = s.views()
	if err != nil {
		return nil, bridge, nil, err
	}
	holders, err = s.holders(bridge)
	return held, bridge, holders, err
}

// delivered waits for the receipts of the withdrawal.
func (t *tour) delivered(s *stage) error {
	return s.until("the receipts of the withdrawal", func() (bool, error) {
		record, err := s.at(BridgeMember).system.Get(s.ctx, &ententev1.GetRequest{Consultation: consultation(nil), ProviderReference: BridgeReference})
		if err != nil {
			return false, err
		}
		t.deliveries = record.GetDeliveries()
		return !slices.ContainsFunc(t.deliveries, func(d *ententev1.Delivery) bool {
			return d.GetState() != ententev1.DeliveryState_DELIVERY_STATE_APPLIED
		}), nil
	})
}

// partsText says into how many entities the records around the bridging one fall, for a reader.
func partsText(view *client.View, held *holdings) string {
	var parts []string
	for _, group := range bridgeGroups(view, held) {
		parts = append(parts, "["+strings.Join(group, " ")+"]")
	}
	noun := "entities"
	if len(parts) == 1 {
		noun = "entity"
	}
	return fmt.Sprintf("XA sees %d %s here: %s", len(parts), noun, strings.Join(parts, " "))
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
