package demo

import (
	"fmt"
	"slices"
	"strings"

	"entente.example/entente/client"
)

// bridgeRemark stands in the bridging record and in no other.
const bridgeRemark = "Angaben aus zwei Quellen"

func (t *tour) withdrawal(s *stage, _ *tally) error {
	held, bridge, holders, err := t.beforeWithdrawal(s)
	if err != nil {
		return err
	}
	s.erased[bridge] = held.names[bridge]
	t.say("%s took two people for one: its record %s carries the passport of one and the name of the other, and so joined them in the "+
		"merged network. It takes the record back, and erases it at home too.", BridgeMember, BridgeReference)
	t.printf("  before: %s\n\n", partsText(t.before["XA"], held))
	// A second time there is nothing left to take back.
	_, err = t.do(s, command{line: "withdraw " + BridgeReference + " --reason inaccurate --erase --config @" + BridgeMember + "/system.yaml"})
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
	record, err := s.signed(s.at(BridgeMember), BridgeReference)
	if err != nil {
		return err
	}
	t.deliveries = record.GetDeliveries()
	t.say("Nobody had to undo the merge: the network is computed from what stands. The record was at %s, and is gone there. Each "+
		"has signed that it "+
		"has erased it; the owner's delivery table is made of these receipts, as is the list of all that a member was ever "+
		"sent:", strings.Join(t.gone, ", "))
	_, err = t.do(s, command{line: "get " + BridgeReference + " --config " +
		"@" + BridgeMember + "/system.yaml", only: []string{"state", "READER", "COORD ", "XA ", "XC ", "XD "}})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "sent XA --config @" + BridgeMember + "/system.yaml", only: []string{"REFERENCE"}, about: fmt.Sprintf("%x", bridge.id)})
	if err != nil {
		return err
	}
	return t.compacted(s)
}

// compacted shows that the record is nowhere in the data files of its owner and of a reader, once they are compacted.
func (t *tour) compacted(s *stage) error {
	nodes := []*station{s.at(BridgeMember), s.at("XA")}
	var err error
	t.found.onDisk[1], err = s.remarks(nodes)
	if err != nil {
		return err
	}
	t.say("Erased means gone from the disk. The tour opens the raw data files of XB and XA with their sealing keys, free pages "+
		"included, as a thief of both could, and looks for "+
		"the record's remark: it stood in %d places before the withdrawal, and now in %d. That it is few or none is luck: old bytes "+
		"stay in pages that the database has freed until it uses them "+
		"again. So a node writes its file anew within a day; XB and XA do it now.", t.found.onDisk[0], t.found.onDisk[1])
	for _, at := range nodes {
		_, err = t.do(s, command{line: "compact --config @" + string(at.seat.ID) + "/operator.yaml"})
		if err != nil {
			return err
		}
	}
	t.found.onDisk[2], err = s.remarks(nodes)
	if err != nil {
		return err
	}
	t.say("The remark stands in %d places now, and the erasures that wait for a compaction are counted anew:", t.found.onDisk[2])
	_, err = t.do(s, command{line: "status --config @XA/operator.yaml", only: []string{"erased, not compacted", "compacted"}})
	return err
}

// remarks counts where the remark of the bridging record lies in the data files of some nodes.
func (s *stage) remarks(nodes []*station) (count int, err error) {
	for _, at := range nodes {
		n, err := s.onDisk(at, bridgeRemark)
		if err != nil {
			return 0, err
		}
		count += n
	}
	return count, nil
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
	t.found.onDisk[0], err = s.remarks([]*station{s.at(BridgeMember), s.at("XA")})
	if err != nil {
		return nil, bridge, nil, err
	}
	holders, err = s.holders(bridge)
	return held, bridge, holders, err
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
