package demo

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client/cli"
	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	shortFile      = "short.jsonl"
	shortReference = "XA/S01"
	// shortLife is how long the record of the tour may be kept: long enough to see it everywhere first.
	shortLife = 8 * time.Second

	// shortProject ends with it, and what was released to it.
	shortProject          = "quay-nine"
	shortProjectFile      = "project.jsonl"
	shortProjectReference = "XA/S02"
)

// expiry pushes a record that may be kept for some seconds only, shows it at its readers, and watches it go; beside it a project
// ends at the same second.
func (t *tour) expiry(s *stage, _ *tally) error {
	xa := s.at("XA")
	end := s.options.Now().Add(shortLife).Truncate(time.Second)
	err := t.projectOpens(s, end)
	if err != nil {
		return err
	}
	t.say("Each record says until when it may be kept; nobody keeps one for longer than five years. Another one of XA may be kept until the "+
		"same time, in %d seconds, and goes to all members until then.", shortLife/time.Second)
	err = s.writeRecord(xa, shortFile, shortLived(shortReference, end))
	if err != nil {
		return err
	}
	err = t.all(s, "push @XA/"+shortFile+" --config @XA/system.yaml", "release "+shortReference+" --to all --config @XA/system.yaml")
	if err != nil {
		return err
	}
	due := command{line: "due --within 24h --config @XA/system.yaml"}
	t.found.due, err = t.do(s, due)
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	record, err := s.own(xa, shortReference)
	if err != nil {
		return err
	}
	key := recordKey{"XA", [16]byte(record.GetRecordId())}
	held, err := s.holders(key)
	if err != nil {
		return err
	}
	t.found.lived = len(held)
	t.say("%d members have it. Then its time is over: each node erases it by a clock on which a majority of the members agrees, "+
		"whatever its owner does, and signs for that.", len(held))
	record, err = s.lapsed(xa, shortReference)
	if err != nil {
		return err
	}
	held, err = s.holders(key)
	if err != nil {
		return err
	}
	t.found.lapsed = len(held)
	_, err = t.do(s, command{line: "get " + shortReference + " --config " +
		"@XA/system.yaml", only: append([]string{"state", "READER"}, rowsOf(record)...)})
	if err != nil {
		return err
	}
	t.say("At home only the id is left and who had it, and nothing is due any more (who needs a record for longer says why, with " +
		"\"renew\"; \"hold\" keeps it for a court):")
	t.found.dueAfter, err = t.do(s, due)
	if err != nil {
		return err
	}
	return t.projectEnds(s)
}

const followShort = "follow --project " + shortProject + " --until-current --config @XB/officer.yaml"

// projectOpens opens a project that ends at a time, and releases a record to it that could be kept for longer.
func (t *tour) projectOpens(s *stage, end time.Time) error {
	xa := s.at("XA")
	t.say("A project has an end, too. XA opens one with XB that ends in a few seconds, and releases a record to it; the people of XB follow it:")
	_, err := t.do(s, command{line: "project open --id " + shortProject + " --name Quay-9 --lead XA --participant XB --purpose criminal-investigation " +
		"--group quay-9-gang --until " + end.UTC().Format(time.RFC3339) + " --signing-key @XA/signing-key.key --out @XA/projects/" + shortProject + ".pb" + trusting, most: 2, once: true})
	if err != nil {
		return err
	}
	err = s.news()
	if err != nil {
		return err
	}
	err = s.writeRecord(xa, shortProjectFile, shortLived(shortProjectReference, end.AddDate(3, 0, 0)))
	if err != nil {
		return err
	}
	err = t.all(s, "push @XA/"+shortProjectFile+" --config @XA/system.yaml",
		"release "+shortProjectReference+" --to project:"+shortProject+" --config @XA/system.yaml")
	if err != nil {
		return err
	}
	err = s.settle()
	if err != nil {
		return err
	}
	t.found.inProject, err = t.do(s, command{line: followShort, then: cli.ExitNotFound})
	return err
}

// projectEnds shows what is left of the project, whose end is that of the record.
func (t *tour) projectEnds(s *stage) error {
	err := s.news() // a node looks at the dates of its projects each time it reads its documents; here at once
	if err != nil {
		return err
	}
	err = s.receipted(shortProjectReference, "XB")
	if err != nil {
		return err
	}
	t.say("The project has ended as well. For the people of XB it is not there any more; their node has erased what it held by it, and " +
		"signed for that. XA keeps its own record, at home:")
	t.found.afterProject, err = t.do(s, command{line: followShort, code: cli.ExitNotFound, then: cli.ExitNotFound})
	if err != nil {
		return err
	}
	t.found.atHome, err = t.do(s, command{line: "get " + shortProjectReference + " --config @XA/system.yaml", only: []string{"state", "READER", "XB "}})
	return err
}

// rowsOf are the beginnings of the rows of a delivery table.
func rowsOf(record *ententev1.HeldRecord) []string {
	var rows []string
	for _, d := range record.GetDeliveries() {
		rows = append(rows, d.GetMember()+" ")
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

// shortLived is a record that may be kept until a time.
func shortLived(reference string, until time.Time) *ententev1.Record {
	recorded := time.Date(2026, time.March, 4, 9, 0, 0, 0, time.UTC)
	who := person("penrose", toAll, "B2", suspect("seen once at Quay 9"), named("Penrose", "Lionel"))
	return &ententev1.Record{
		Envelope: &ententev1.Envelope{
			ProviderReference: reference, Version: 1, RecordedAt: timestamppb.New(recorded), LegalBasis: "Crime Bureau Act, s. 12",
			RetainUntil: timestamppb.New(until), Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
			Assertion:  ententev1.AssertionKind_ASSERTION_KIND_FACT,
			Evaluation: &ententev1.Evaluation{Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: who.grade[:1], InformationCode: who.grade[1:]},
			Handling:   who.handling(), Classification: toAll.classification(),
		},
		Body: who.body, CrimeAreas: []ententev1.CrimeArea{drugs},
	}
}

// idOf is the id of an own record, as commands take it.
func (s *stage) idOf(at *station, reference string) (string, error) {
	record, err := s.own(at, reference)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", record.GetRecordId()), nil
}
