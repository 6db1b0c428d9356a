package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// correctionStep is the place of the corrections among the steps of a member's case: they are pushed later, while the
// project team watches.
const correctionStep = 4

// What is released later than the rest: by XA while XC is cut off, and by XB while its own line is down.
const (
	lateMember    = "XA"
	carriedMember = "XB"
)

// tour is the built-in case, told in scenes. What it shows is what the commands of the program print, or is read from the
// nodes through the public services.
type tour struct {
	teller
	team     *team           // the project team that follows from before the first release
	commands []command       // all that were shown, for the tests
	enter    <-chan struct{} // a line of input; nil until the first pause

	late    []string // references that lateMember releases later
	carried string   // the reference that carriedMember releases later

	// What the scenes found out, for the tests.
	held          *holdings               // before the withdrawal
	before, after map[string]*client.View // views in scene 5, and around the withdrawal
	live          int                     // items that came to the team while it watched the corrections
	gone          []string                // members at which the bridging record was, and is no more
	deliveries    []*ententev1.Delivery   // of the bridging record at the end
	relay         string                  // who relayed to the member that was cut off
	found         findings
}

// findings are what else the scenes measured.
type findings struct {
	homeReleased                int // records that had a reader right after the push
	behind, caughtUp            uint64
	joinerBefore, joinerAfter   int // records that the joiner got: by itself, by the grant
	joinerSees                  int // entities in its merged view, after the grant
	leaverBefore, leaverAfter   int // records of others that the leaver held
	carriedBefore, carriedAfter int // entries: after the forged file, after the true one
	forgery                     string
	verified                    string
}

// scene is one part of the tour.
type scene struct {
	title string
	play  func(*stage, *tally) error
}

func (t *tour) scenesToTell() []scene {
	return []scene{
		{"five members found a federation", t.federation},
		{"what each country holds, and that nothing leaves by default", t.push},
		{"a release, and what it puts where", t.release},
		{"the project team's live stream", t.watch},
		{"the merged network, with roles and sources", t.network},
		{"the same question by the fourth country", t.outsider},
		{"a member is cut off, and catches up", t.cutOff},
		{"a country joins", t.joins},
		{"a country leaves the project", t.leaves},
		{"a withdrawal, and what it undoes", t.withdrawal},
		{"a forged entry is refused", t.forgery},
		{"streams verified without trusting the node", t.verify},
	}
}

// play tells the tour.
func (t *tour) play(s *stage) (tally, error) {
	var pushed tally
	scenes := t.scenesToTell()
	t.of = len(scenes)
	t.begin(s)
	for _, one := range scenes {
		t.scene(one.title)
		err := one.play(s, &pushed)
		if err == nil {
			err = t.pause(s)
		}
		if err != nil {
			return pushed, fmt.Errorf("scene %d: %w", t.scenes, err)
		}
	}
	return pushed, t.err
}

// begin says what is to come, and how a reader takes part.
func (t *tour) begin(s *stage) {
	t.say("A guided tour of Entente, of five minutes: four invented countries and a coordinator, each with a node of its own, on this machine. " +
		"Each $ line is a command that the tour runs; what it prints follows, shortened where it is long.")
	if s.options.Once {
		t.say("To run the commands yourself, keep the tour up: leave out --once, and with --pause it waits between scenes.")
		return
	}
	t.say("To run the commands yourself, now or when the tour is through, begin in another terminal with")
	s.showWay(&t.teller)
}

// rows are all records of the built-in case: nothing in it is derived.
func (t *tour) rows() (inputRows, error) {
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

func (t *tour) federation(s *stage, _ *tally) error {
	t.say("Each member has a root key that stays offline, a signing key for its streams, and certificates of its own. The five roots " +
		"have signed the genesis: any three of them decide who comes in. The coordinator only assembles the roster, the list of who " +
		"is in; it cannot speak for anybody.")
	_, err := t.do(s, command{line: "roster verify @COORD/roster.pb --genesis @genesis.pb", most: 12})
	if err != nil {
		return err
	}
	t.say("XA, XB, XC and the coordinator work in a project; XA leads it, and signs who takes part. XD does not learn that it exists.")
	_, err = t.do(s, command{line: "project verify @XA/projects/harbour-light.pb --roster @COORD/roster.pb --genesis @genesis.pb", most: 8})
	return err
}

func (t *tour) push(s *stage, pushed *tally) error {
	t.team = follow(s, s.at("XB").officer)
	count, err := s.pushCase(func(step int) bool { return step != correctionStep })
	*pushed = pushed.plus(count)
	if err != nil {
		return err
	}
	t.say("The national systems push %d records, each into its own country's node; %d are accepted, each acknowledged only when it "+
		"is on disk. Nobody else has any of them yet: a record stays at home until its owner releases it.", count.rows, count.accepted)
	_, err = t.do(s, command{line: "list --kind person --limit 3 --config @XB/system.yaml"})
	if err != nil {
		return err
	}
	held, err := s.holdings()
	if err != nil {
		return err
	}
	t.found.homeReleased = len(held.standing)
	_, err = t.do(s, command{line: "view entities --config @XA/officer.yaml", most: 4})
	return err
}

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
	t.say("And a dry run: what would XD read if it came into the project? The project's stream, once XB grants it.")
	_, err = t.do(s, command{line: "stream preview XD --project " + ProjectID + " --config @XB/system.yaml", most: 5})
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
	t.say("So stand the records of all four now: how many of each member have the same readers.")
	t.table([]string{"MEMBER", "RECORDS", "READERS"}, rows)
	waiting := StaysHome()[0]
	t.say("An association leaves only to where both its ends are. %d of the case ask for more than that, and wait at home:", len(StaysHome()))
	_, err = t.do(s, command{line: "get " + waiting + " --config @" + waiting[:2] + "/system.yaml", only: []string{"content", "state", "released to"}})
	return err
}

// holdBack chooses what is released in later scenes: practices of XA, and one of XB.
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
	for _, reference := range append(slices.Clone(t.late), t.carried) {
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
	return nil
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

// withoutAudiences are items that stay at home.
func withoutAudiences(items []*ententev1.PushItem) []*ententev1.PushItem {
	var list []*ententev1.PushItem
	for _, item := range items {
		home := proto.CloneOf(item)
		home.Audiences = nil
		list = append(list, home)
	}
	return list
}
