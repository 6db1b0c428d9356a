package ledger_test

import (
	"context"
	"fmt"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/ledger"
)

// waiting is what of a record waits for a second person; the zero value where nothing does.
func (n *node) waiting(reference string) ledger.Pending {
	list, _ := n.ListPending(ledger.RecordID{}, 1<<20)
	for _, one := range list {
		if one.Record == n.id(reference) {
			return one
		}
	}
	return ledger.Pending{}
}

func (n *node) decide(officer string, approve bool, version uint64, references ...string) []*ententev1.Verdict {
	n.w.t.Helper()
	d := ledger.Decision{Approve: approve, Reason: "looked at", Officer: officer}
	for _, reference := range references {
		d.Records, d.Versions, d.States = append(d.Records, n.id(reference)), append(d.Versions, version), append(d.States, n.waiting(reference).State)
	}
	return must(n.Decide(as(officer), d))(n.w.t)
}

// pushAs is push for an officer.
func (n *node) pushAs(officer string, items ...ledger.Item) *ententev1.Verdict {
	n.w.t.Helper()
	v := must(n.Push(as(officer), "Central Unit", items))(n.w.t)
	if v[0].GetOutcome() != accepted {
		n.w.t.Fatal(v[0])
	}
	return v[0]
}

func (n *node) stands(reader string, reference string) int {
	n.w.t.Helper()
	return n.released("XA", memberList([]string{reader})[0])[n.id(reference)]
}

func TestASensitiveRecordWaitsForASecondPerson(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	steps := []struct {
		name    string
		do      func() *ententev1.Verdict
		outcome ententev1.Outcome
		stands  int
		pending uint64
	}{
		{"it is pushed and waits", func() *ententev1.Verdict { return xa.pushAs("vera", victim(person("p1", 1, "One", toMembers("XB")))) }, accepted, 0, 1},
		{"who asked for it does not decide", func() *ententev1.Verdict { return xa.decide("vera", true, 1, "p1")[0] }, rejected, 0, 1},
		{"another version is not what was looked at", func() *ententev1.Verdict { return xa.decide("otto", true, 2, "p1")[0] }, rejected, 0, 1},
		{"no version is not what was looked at", func() *ententev1.Verdict { return xa.decide("otto", true, 0, "p1")[0] }, rejected, 0, 1},
		{"somebody else lets it go", func() *ententev1.Verdict { return xa.decide("otto", true, 1, "p1")[0] }, accepted, 1, 0},
		{"nothing is left to decide on", func() *ententev1.Verdict { return xa.decide("otto", true, 1, "p1")[0] }, rejected, 1, 0},
		{"a correction flows", func() *ententev1.Verdict { return xa.pushAs("vera", victim(person("p1", 2, "Two"))) }, accepted, 1, 0},
		{"the same audience again keeps the approval", func() *ententev1.Verdict { return xa.release(true, "p1", toMembers("XB")) }, duplicate, 1, 0},
		{"replacing keeps it, and the new one waits", func() *ententev1.Verdict { return xa.release(true, "p1", toMembers("XB"), toMembers("XC")) }, accepted, 1, 1},
		{"refusing ends only what waits", func() *ententev1.Verdict { return xa.decide("otto", false, 2, "p1")[0] }, accepted, 1, 0},
		{"a correction on other grounds waits", func() *ententev1.Verdict { return xa.pushAs("otto", born(victim(person("p1", 3, "Three")))) }, accepted, 0, 1},
		{"who corrected it does not decide", func() *ententev1.Verdict { return xa.decide("otto", true, 3, "p1")[0] }, rejected, 0, 1},
		{"one who did neither does", func() *ententev1.Verdict { return xa.decide("nina", true, 3, "p1")[0] }, accepted, 1, 0},
		{"another form waits, and the one before is taken back", func() *ententev1.Verdict { return xa.release(false, "p1", withoutNotes(toMembers("XB"))) }, accepted, 0, 1},
		{"refused, nothing stands", func() *ententev1.Verdict { return xa.decide("otto", false, 3, "p1")[0] }, accepted, 0, 0},
	}
	for _, step := range steps {
		v := step.do()
		if v.GetOutcome() != step.outcome || xa.stands("XB", "p1") != step.stands || xa.Stats().Pending != step.pending {
			t.Fatalf("%s: %s %v, stands %d, pending %d", step.name, v.GetOutcome(), v.GetViolations(), xa.stands("XB", "p1"), xa.Stats().Pending)
		}
		xa = w.restarted(xa, "XA")
	}
}

func TestAWithdrawnOrRestrictedRecordIsNotPending(t *testing.T) {
	ends := map[string]func(xa *node){
		"withdrawn": func(xa *node) { xa.push(withdrawalOf("p1", 0)) },
		"restricted": func(xa *node) {
			v, err := xa.Restrict(as("vera"), "Central Unit", []string{"p1"}, false, "doubts")
			xa.want(accepted, v, err)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w := newPolicedWorld(t)
			xa := w.start("XA", true)
			xa.push(victim(person("p1", 1, "One", toMembers("XB"))))
			end(xa)
			list, _ := xa.ListPending(ledger.RecordID{}, 10)
			if len(list) != 0 || xa.Stats().Pending != 0 {
				t.Fatalf("%d pending, %d by the figures", len(list), xa.Stats().Pending)
			}
			w.restarted(xa, "XA")
		})
	}
}

func TestWhatWasReleasedBeforeThereWereApprovalsStays(t *testing.T) {
	w := newPolicedWorld(t)
	w.configure = func(c *ledger.Config) { policed(c); c.Sensitive = nil }
	xa := w.start("XA", true)
	xa.push(victim(person("p1", 1, "One", toMembers("XB"))))
	w.must(xa.WriteOldIntents(context.Background(), xa.id("p1")))
	xa.stop()
	w.configure = policed
	w.now = w.now.Add(1e9)
	xa = w.start("XA", true)
	v := xa.release(false, "p1", toMembers("XB"))
	if v.GetOutcome() != duplicate || xa.stands("XB", "p1") != 1 {
		t.Fatalf("the same release again: %s, stands %d", v.GetOutcome(), xa.stands("XB", "p1"))
	}
	xa.push(victim(person("p1", 2, "Two")))
	if xa.stands("XB", "p1") != 1 || xa.Stats().Pending != 0 {
		t.Fatalf("its correction: stands %d, pending %d", xa.stands("XB", "p1"), xa.Stats().Pending)
	}
	xa.push(victim(person("p2", 1, "Two", toMembers("XB"))))
	if xa.Stats().Pending != 1 {
		t.Fatal("a new one does not wait")
	}
}

func TestADecisionDoesNotTellThatWhatWeHaveIsTheNewest(t *testing.T) {
	w := newPolicedWorld(t)
	xa, readers := w.start("XA", true), threeReaders(w)
	xa.pushAs("vera", victim(person("p1", 1, "One", toMembers("XB"))))
	xa.decide("otto", true, 1, "p1")
	xa.release(false, "p1", toMembers("XC"))
	for id, n := range readers {
		replicate(xa, n, "XA", id)
	}
	xa.stop()
	backup := w.path["XA"] + ".backup"
	copyFile(t, w.path["XA"], backup)
	xa = w.start("XA", true)
	xa.push(victim(person("p1", 2, "Newer")))
	for id, n := range readers {
		replicate(xa, n, "XA", id)
	}
	xa.stop()
	copyFile(t, backup, w.path["XA"])
	w.now = w.now.Add(1e9)
	xa = w.start("XA", false)
	for id, n := range readers {
		w.must(xa.Confirm(context.Background(), id, headsHeld(n, "XA", id)))
	}
	for _, tail := range xa.LostTails() {
		recoverTail(t, w, xa, readers[tail.Reader], tail)
	}
	xa.decide("otto", true, 1, "p1")
	for id, n := range readers {
		replicate(xa, n, "XA", id)
	}
	got := readers["XB"].forms("XA", "XB")[xa.id("p1")]
	if len(got) != 1 || body(xa, got[0]).GetBody().GetPerson().GetNames()[0].GetFamily() != "Newer" {
		t.Fatalf("a decision on an old copy put an older version in the place of the newest: %d forms", len(got))
	}
}

func TestPendingReleasesAreListedInPages(t *testing.T) {
	xa := newPolicedWorld(t).start("XA", true)
	for i := range 7 {
		xa.push(victim(person(fmt.Sprintf("p%d", i), 1, "One", toMembers("XB"))))
	}
	seen, after, pages := map[ledger.RecordID]bool{}, ledger.RecordID{}, 0
	for more := true; more; pages++ {
		var list []ledger.Pending
		list, more = xa.ListPending(after, 3)
		for _, p := range list {
			seen[p.Record], after = true, p.Record
		}
	}
	if len(seen) != 7 || pages != 3 {
		t.Fatalf("%d records in %d pages", len(seen), pages)
	}
}

func TestASelectionNamesEachRecordOnce(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	xa.push(person("p1", 1, "One", toProject()), person("p2", 1, "Two"), person("p3", 1, "Three", toAll()), meets("a1", "p1", "p2"))
	must(xa.Push(context.Background(), "Other Unit", []ledger.Item{person("o1", 1, "Other", toProject())}))(t)
	yes, no := true, false
	selections := map[string]struct {
		of   ledger.Selection
		want []string
	}{
		"by reference, twice named":   {ledger.Selection{References: []string{"p2", "p2", "nowhere"}}, []string{"p2", "nowhere"}},
		"by id":                       {ledger.Selection{Records: []ledger.RecordID{xa.id("p3")}}, []string{"p3"}},
		"by project":                  {ledger.Selection{Project: "harbour"}, []string{"p1"}},
		"released":                    {ledger.Selection{Query: &ententev1.RecordQuery{Released: &yes}}, []string{"p1", "p3"}},
		"not released":                {ledger.Selection{Query: &ententev1.RecordQuery{Released: &no}}, []string{"p2", "a1"}},
		"of a kind":                   {ledger.Selection{Query: &ententev1.RecordQuery{Kinds: []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_ASSOCIATION}}}, []string{"a1"}},
		"in several ways":             {ledger.Selection{References: []string{"p1"}, Project: "harbour", Records: []ledger.RecordID{xa.id("p1"), xa.id("p2")}}, []string{"p1", "p2"}},
		"nothing":                     {ledger.Selection{}, nil},
		"another purpose":             {ledger.Selection{Query: &ententev1.RecordQuery{Purposes: []ententev1.Purpose{ententev1.Purpose_PURPOSE_WARN}}}, nil},
		"a tie that none of them has": {ledger.Selection{Query: &ententev1.RecordQuery{TieBases: []ententev1.TieBasis{ententev1.TieBasis_TIE_BASIS_KINSHIP}}}, nil},
	}
	for name, s := range selections {
		s.of.Authority = "Central Unit"
		got := must(xa.Select(context.Background(), s.of))(t)
		if !same(got, s.want) {
			t.Errorf("%s: %v, want %v", name, got, s.want)
		}
	}
	_, err := xa.Select(context.Background(), ledger.Selection{Authority: "Central Unit", References: manyReferences(10_001)})
	if err == nil {
		t.Error("more than one call takes were taken")
	}
}

func manyReferences(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint("r", i))
	}
	return list
}

// TestOnlyWhatWasLookedAtIsLetGo: what the proposer adds or changes between the look and the decision stays pending.
func TestOnlyWhatWasLookedAtIsLetGo(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(xa *node)
		goes   bool
	}{
		{"nothing has changed", func(*node) {}, true},
		{"an audience has come", func(xa *node) { xa.release(false, "p1", toMembers("XC")) }, false},
		{"the form has changed", func(xa *node) { xa.release(false, "p1", toMembers("XB")) }, false},
		{"the same was asked for again", func(xa *node) { xa.release(false, "p1", withoutNotes(toMembers("XB"))) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newPolicedWorld(t)
			xa := w.start("XA", true)
			xa.pushAs("vera", victim(noted(person("p1", 1, "One", withoutNotes(toMembers("XB"))), "secret")))
			seen := xa.waiting("p1").State
			test.change(xa)
			d := ledger.Decision{Records: []ledger.RecordID{xa.id("p1")}, Versions: []uint64{1}, States: []uint64{seen}, Approve: true, Officer: "otto"}
			v := must(xa.Decide(as("otto"), d))(t)[0]
			if went := xa.stands("XB", "p1") + xa.stands("XC", "p1"); (went > 0) != test.goes {
				t.Errorf("%v: it stands %d times", v, went)
			}
		})
	}
}

// TestWhoPushesACorrectionTakesNobodysPlace: who asked for a release does not decide on it because somebody has corrected the record.
func TestWhoPushesACorrectionTakesNobodysPlace(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	xa.pushAs("vera", victim(person("p1", 1, "One", toMembers("XB"))))
	xa.pushAs("otto", victim(person("p1", 2, "Two")))
	for _, officer := range []string{"vera", "otto"} {
		if v := xa.decide(officer, true, 2, "p1")[0]; v.GetOutcome() == accepted || xa.stands("XB", "p1") != 0 {
			t.Errorf("%s, who had a part in it, let it go: %v", officer, v)
		}
	}
	if asked := xa.waiting("p1").Proposer; asked != "vera, otto" {
		t.Errorf("asked by %q", asked)
	}
	xa = w.restarted(xa, "XA")
	if v := xa.decide("vera", true, 2, "p1")[0]; v.GetOutcome() == accepted {
		t.Error("after a restart who asked lets it go")
	}
	if v := xa.decide("anna", true, 2, "p1")[0]; v.GetOutcome() != accepted || xa.stands("XB", "p1") != 1 {
		t.Errorf("a third person cannot let it go: %v", v)
	}
}
