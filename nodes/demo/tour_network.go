package demo

import (
	"fmt"
)

func (t *tour) watch(s *stage, pushed *tally) error {
	follow := command{line: "follow --project " + ProjectID + " --until-current --cursor-file @team.cursor --config @XB/officer.yaml", most: 3}
	t.say("A team of XB follows the project. It keeps a cursor: whoever stops, or loses the connection, goes on from there. First all so far:")
	_, err := t.do(s, follow)
	if err != nil {
		return err
	}
	backlog, err := t.team.caughtUp(s)
	if err != nil {
		return err
	}
	count, err := s.pushCase(func(step int) bool { return step == correctionStep })
	*pushed = pushed.plus(count)
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.say("The countries push %d corrections; a correction goes by itself to where the earlier version went. The same command brings only "+
		"what concerns the project and is new: the new version, and the withdrawal of the one before.", count.rows)
	_, err = t.do(s, follow)
	if err != nil {
		return err
	}
	all, err := t.team.caughtUp(s)
	if err != nil {
		return err
	}
	t.live = all - backlog
	t.say("A colleague who stayed connected since before the first release (without --until-current) has had these %d lines live.", t.live)
	return nil
}

func (t *tour) network(s *stage, _ *tally) error {
	views, err := s.views()
	if err != nil {
		return err
	}
	t.before = views
	view := views["XA"]
	t.say("An officer of XA asks. The coordinator merges what XA may see: records of several countries about one person become one " +
		"entity. That is computed: a lead for checking, never a fact. Each role and fact keeps its sources, with their grades. The command prints all, with " +
		"ids; here its answers are put by name, those with most sources first:")
	_, err = t.do(s, command{line: "view entities --config @XA/officer.yaml", quiet: true})
	if err != nil {
		return err
	}
	t.table([]string{"ENTITY", "ROLES (WHO SAYS SO)", "SOURCES"}, topEntities(view, 6))
	_, err = t.do(s, command{line: "view associations --config @XA/officer.yaml", quiet: true})
	if err != nil {
		return err
	}
	t.table([]string{"FROM", "ASSOCIATION", "TO", "SOURCES"}, topAssociations(view, 4))
	t.say("Shown are those with most sources, of %d entities and %d associations.", len(view.Entities), len(view.Associations))
	return t.outsider(s)
}

// outsider asks the same for the country that is not in the project.
func (t *tour) outsider(s *stage) error {
	t.say("XD asks the same and gets another answer: the network of what was released to XD. Here are the sizes of all four " +
		"answers beside each other:")
	_, err := t.do(s, command{line: "view entities --config @XD/officer.yaml", quiet: true})
	if err != nil {
		return err
	}
	var rows [][]string
	for _, at := range s.members() {
		info := t.before[string(at.seat.ID)].Info
		rows = append(rows, []string{info.GetReader(), fmt.Sprint(info.GetRecordCount()), fmt.Sprint(info.GetEntityCount()), fmt.Sprint(info.GetAssociationCount())})
	}
	t.table([]string{"READER", "RECORDS", "ENTITIES", "ASSOCIATIONS"}, rows)
	missing := unseen(t.before["XA"], t.before["XD"])
	t.say("%d of XA's entities do not exist for XD, not even as a gap: the answer is computed as if nothing else existed. The first of them:", len(missing))
	t.table([]string{"ENTITY", "ROLES (WHO SAYS SO)", "SOURCES"}, entityRows(missing[:min(3, len(missing))]))
	return nil
}
