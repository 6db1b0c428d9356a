package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	// dryRunReference is a person of XB that only the project has, with a date of birth and an identity document.
	dryRunReference = "XB/P09"
	// soleSource is a person of XA under H1, H2 and H3, released to XB alone; no other record is about the same man.
	soleSource = "XA/P32"
)

func (t *tour) release(s *stage, _ *tally) error {
	t.say("The owner names the readers, record by record: all members, a project, or single ones. Before it does, it can look at what " +
		"a member reads of it so far: XD reads nothing of XB.")
	_, err := t.do(s, command{line: "stream preview XD --config @XB/system.yaml"})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: "release XB/P01 --to all --config @XB/system.yaml"})
	if err != nil {
		return err
	}
	err = s.releaseCase(t.holdBack())
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.say("The systems release the others, and each stream goes to its readers. XB looks again: what XD reads now, what it never will.")
	_, err = t.do(s, command{line: "stream preview XD --config @XB/system.yaml"})
	if err != nil {
		return err
	}
	t.say("And a dry run of one record that only the project has: what would XD get if its identity documents are left out, and " +
		"the date of birth is made coarser? " +
		"The form of the others is not touched, and nothing is released by it.")
	t.found.dryRun, err = t.do(s, command{line: "release " + dryRunReference + " --to XD --leave-out body.person.documents " +
		"--coarsen body.person.dates_of_birth --dry-run " +
		"--config @XB/system.yaml"})
	if err != nil {
		return err
	}
	return t.released(s)
}

// released shows who reads how much, and what waits.
func (t *tour) released(s *stage) error {
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
	t.say("So stand the records of all four now, those that a second officer let go included (the next scene shows how): how many " +
		"of each member have the same readers.")
	t.table([]string{"MEMBER", "RECORDS", "READERS"}, rows)
	waiting := StaysHome()[0]
	t.say("An association leaves only to where both its ends are. %d of the case ask for more than that, and wait at home:", len(StaysHome()))
	_, err = t.do(s, command{line: "get " + waiting + " --config " +
		"@" + waiting[:2] + "/system.yaml", only: []string{"content", "state", "released to"}})
	return err
}

// fourEyes releases a record under H2: it waits, who asked for it is refused as its judge, and a second officer lets it go.
func (t *tour) fourEyes(s *stage, _ *tally) error {
	xa := s.at("XA")
	record, err := s.own(xa, soleSource)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%x", record.GetRecordId())
	t.say("The codes of handling say what a reader may do with a record: H1 no use in court, H2 nothing passed on without the " +
		"owner's permission, H3 as its text says. What " +
		"carries H2 or H3 leaves only when a second officer has looked. XA's analyst has its one record of the man called Old Salt released to XB:")
	_, err = t.do(s, command{line: "release " + soleSource + " --to XB,COORD --merge-for XB --on-behalf " + officerName + " " +
		"--config @XA/system.yaml"})
	if err != nil {
		return err
	}
	listed, err := t.do(s, command{line: "pending --config @XA/" + approverName + ".yaml",
		only: []string{id, "  reference", "  asked by", "  to", "  because", "  COORD", "    body."}})
	if err != nil {
		return err
	}
	approve := "approve " + wordWith(listed, id) + " --config @XA/"
	t.say("The analyst may decide on releases too, but not on this one. Then the second officer, about just what was looked at: a version, its " +
		"readers and their forms:")
	t.found.sameOfficer, err = t.do(s, command{line: approve + "officer.yaml", code: cli.ExitRejected, then: cli.ExitRejected})
	if err != nil {
		return err
	}
	_, err = t.do(s, command{line: approve + approverName + ".yaml", then: cli.ExitRejected}) // nothing waits any more
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	record, err = s.signed(xa, soleSource)
	if err != nil {
		return err
	}
	t.found.letGo = readersNow(record)
	_, err = t.do(s, command{line: "get " + soleSource + " --config @XA/system.yaml", only: []string{"state", "READER", "COORD ", "XB "}})
	return err
}

// holdBack chooses what is released in later scenes: practices of XA, one of XB, and what waits for a second person.
func (t *tour) holdBack() map[string]bool {
	back := make(map[string]bool)
	for _, c := range Case() {
		var open []string
		for _, item := range c.Steps[correctionStep-1].Items {
			if item.GetAudiences()[0].GetAllMembers() != nil {
				open = append(open, item.GetRecord().GetEnvelope().GetProviderReference())
			}
		}
		switch c.Member {
		case lateMember:
			t.late = open
		case carriedMember:
			t.carried = open[len(open)-1]
		}
	}
	for _, reference := range append(slices.Clone(t.late), t.carried, soleSource) {
		back[reference] = true
	}
	return back
}

// releaseCase releases what was pushed to whom the case says, all members one after the other, but for some references.
func (s *stage) releaseCase(but map[string]bool) error {
	for i, c := range Case() {
		groups := make(map[string][]string)
		audiences := make(map[string][]*ententev1.Audience)
		var order []string
		for _, step := range c.Steps[:correctionStep] {
			for _, item := range step.Items {
				reference := item.GetRecord().GetEnvelope().GetProviderReference()
				if len(item.GetAudiences()) == 0 || but[reference] {
					continue
				}
				key := audienceKey(item.GetAudiences())
				if groups[key] == nil {
					order = append(order, key)
				}
				groups[key] = append(groups[key], reference)
				audiences[key] = item.GetAudiences()
			}
		}
		for _, key := range order {
			err := s.releaseAs(s.places[i], groups[key], audiences[key])
			if err != nil {
				return fmt.Errorf("release of %s: %w", c.Member, err)
			}
		}
	}
	return s.approveAll()
}

func (s *stage) releaseAs(at *station, references []string, audiences []*ententev1.Audience) error {
	verdicts, err := at.system.Release(s.ctx, references, audiences, false)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if v.GetOutcome() == ententev1.Outcome_OUTCOME_REJECTED {
			return fmt.Errorf("refused: %s", refusal(v))
		}
	}
	return nil
}

func audienceKey(audiences []*ententev1.Audience) string {
	var parts []string
	for _, one := range audiences {
		content, err := proto.MarshalOptions{Deterministic: true}.Marshal(one)
		if err != nil {
			return one.String() // as good a key: equal for equal audiences
		}
		parts = append(parts, string(content))
	}
	return strings.Join(parts, "\x00")
}

// wordWith is the first word of an output that begins with a text; the text itself where there is none.
func wordWith(output, begin string) string {
	for _, word := range strings.Fields(output) {
		if strings.HasPrefix(word, begin) {
			return word
		}
	}
	return begin
}
