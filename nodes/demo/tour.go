package demo

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/trail"
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
	before, after map[string]*client.View // views of the merged network, and around the withdrawal
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

	dryRun, sameOfficer         string       // what the commands printed
	letGo                       []string     // who holds what waited for a second person, when it went
	exportBefore, exportAfter   string       // what the commands printed
	heldUp, passedOn            bool         // the assessment: not at the third member before the permission, there after it
	onDisk                      [3]int       // places of the withdrawn record in two data files: before, after, when compacted
	lived, lapsed               int          // how many others held the record that expires: before, after
	due, dueAfter               string       // what the commands printed
	inProject, afterProject     string       // what the commands printed: the project that ends
	atHome                      string       // what the owner holds of its record
	auditClosed, trace, witness string       // what the commands printed
	tampered                    error        // what the verification says of the altered copy
	untouched                   trail.Report // and of the trail as it is
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
		{"a release: looked at first, then done", t.release},
		{"four eyes: what is sensitive waits for a second person", t.fourEyes},
		{"the project team's live stream", t.watch},
		{"the merged network, and the fourth country's other answer", t.network},
		{"what is made from another's record, and a permission", t.permission},
		{"a member is cut off, and catches up", t.cutOff},
		{"a country joins", t.joins},
		{"a country leaves the project", t.leaves},
		{"a withdrawal, and what it undoes", t.withdrawal},
		{"a record and a project whose time is over", t.expiry},
		{"who looked: the audit trail", t.audit},
		{"a forged entry is refused, and a whole file verified", t.forgery},
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
	t.say("A guided tour of Entente, of eight minutes: four invented countries and a coordinator, each with a node of its own, on this machine. " +
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
