package ledger_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// lessonOn is a lesson in the form in which it may be released.
func lessonOn(reference string, audiences ...*ententev1.Audience) ledger.Item {
	return ledger.Item{Audiences: audiences, Record: &ententev1.Record{Envelope: envelope(reference, 1), Body: &ententev1.Body{Kind: &ententev1.Body_Lesson{
		Lesson: &ententev1.Lesson{Observation: "Lesson " + reference, Sanitised: true}}}}}
}

// put brings a chain and a roster into force.
func (w *world) put(roster *member.Roster, chain []*ententev1.SignedDocument) {
	w.t.Helper()
	project, err := member.VerifyProject(chain, roster)
	w.must(err)
	w.dir = &ledger.Directory{Roster: roster, Projects: map[string]*member.Project{project.ID: project}}
}

func (w *world) charter(kinds ...ententev1.RecordKind) []*ententev1.SignedDocument {
	w.t.Helper()
	doc, err := member.NewCharter("harbour", &ententev1.ProjectCharter{Name: "Harbour", Lead: "XA", Participants: []string{"XA", "XB"},
		Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, DataCategories: kinds,
		StartsAt: timestamppb.New(w.now.Add(-time.Hour)), EndsAt: timestamppb.New(w.now.Add(time.Hour))}, w.fed.Seat("XA").Signing, w.now)
	w.must(err)
	return []*ententev1.SignedDocument{doc}
}

func TestAProjectTakesOnlyTheKindsOfItsCharter(t *testing.T) {
	w := newWorld(t)
	w.put(w.dir.Roster, w.charter(ententev1.RecordKind_RECORD_KIND_PERSON))
	xa := w.start("XA", true)
	xa.push(person("p1", 1, "One", toProject()), lessonOn("l1"))
	refused := func(name string, verdicts []*ententev1.Verdict, err error) {
		t.Helper()
		w.must(err)
		v := verdicts[0]
		if v.GetOutcome() != ententev1.Outcome_OUTCOME_REJECTED || v.GetViolations()[0].GetField() != "audiences[0].project.project_id" {
			t.Errorf("%s: %s %v", name, v.GetOutcome(), v.GetViolations())
		}
	}
	before := xa.HeadsDigest()
	verdicts, err := xa.Push(context.Background(), "Central Unit", []ledger.Item{lessonOn("l2", toProject())})
	refused("pushed with the audience", verdicts, err)
	verdicts, err = xa.Release(context.Background(), "Central Unit", []string{"l1"}, []*ententev1.Audience{toProject()}, false)
	refused("released later", verdicts, err)
	if xa.HeadsDigest() != before {
		t.Error("something of what was refused is in a stream")
	}
	// The same record may go elsewhere: it is the project that does not take it.
	verdicts, err = xa.Release(context.Background(), "Central Unit", []string{"l1"}, []*ententev1.Audience{toAll()}, false)
	w.must(err)
	if verdicts[0].GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
		t.Errorf("to all: %v", verdicts[0])
	}
}

func TestWhoLeftAProjectIsDeniedItsStreamsAtOnce(t *testing.T) {
	w := newWorld(t)
	chain := w.charter()
	w.put(w.dir.Roster, chain)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(person("p1", 1, "One", toProject()), lessonOn("l1", toProject()), person("p2", 1, "Two", toAll()))
	replicate(xa, xb, "XA", "XB")
	lesson := xa.id("l1")
	_, err := xb.LibraryRecord("XA", lesson, func(string) bool { return true })
	w.must(err)

	departure, err := member.NewDeparture(chain, "XB", false, w.fed.Seat("XA").Signing, w.now)
	w.must(err)
	w.put(w.dir.Roster, append(slices.Clone(chain), departure))
	for _, s := range xb.StreamsShared("XA", "XB") {
		if s.Left != (s.Project == "harbour") {
			t.Errorf("stream of project %q: left is %v", s.Project, s.Left)
		}
	}
	for _, s := range xa.StreamsShared("XA", "XB") {
		if s.Left {
			t.Error("the owner's own stream counts as left")
		}
	}
	_, err = xb.LibraryRecord("XA", lesson, func(string) bool { return true })
	if err == nil || len(xb.Library(nil)) != 0 {
		t.Errorf("the lesson is still shown: %v", err)
	}
	// The owner's withdrawals follow, and erase.
	w.must(xa.DirectoryChanged(context.Background()))
	replicate(xa, xb, "XA", "XB")
	if got := xb.released("XA", "XB"); len(got) != 1 || got[xa.id("p2")] != 1 {
		t.Errorf("held: %v", got)
	}
}

// departed is the roster after a member has left by its own signature.
func (w *world) departed(id member.ID) *member.Roster {
	w.t.Helper()
	parts, err := member.RosterParts(w.dir.Roster.Document())
	w.must(err)
	change, err := member.NewChange(w.fed.ID, uint64(len(parts.Changes))+1, ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, id, nil, w.now)
	w.must(err)
	member.AddSignature(change, id, w.fed.Seat(id).Root)
	parts.Changes, parts.Number = append(parts.Changes, change), parts.Number+1
	doc, err := member.AssembleRoster(parts, w.fed.Seat("COORD").Signing, w.now)
	w.must(err)
	roster, err := member.VerifyRoster(doc, w.fed.ID, w.dir.Roster, w.now)
	w.must(err)
	return roster
}

func TestALeaverErasesWhatItHoldsAndItsReceiptsSaySo(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(person("p1", 1, "One", toAll()), person("p2", 1, "Two", toMembers("XB")), lessonOn("l1", toAll()))
	xb.push(person("own", 1, "Own", toAll()))
	replicate(xa, xb, "XA", "XB")
	w.must(submitAll(xa, xb))

	before := w.dir
	w.put(w.departed("XB"), w.charter())
	for range 2 { // the second time there is nothing left to do
		w.must(xb.DirectoryChanged(context.Background()))
	}
	if got := xb.released("XA", "XB"); len(got) != 0 || len(xb.Library(nil)) != 0 {
		t.Errorf("still held: %v, library %v", got, xb.Library(nil))
	}
	_, err := xb.Record(xb.id("own"), 0)
	w.must(err) // its own records stay its own

	receipts, err := xb.PendingReceipts("XA")
	w.must(err)
	erased := 0
	for _, doc := range receipts {
		r := &ententev1.Receipt{}
		w.must(proto.Unmarshal(doc.GetBody(), r))
		erased += len(r.GetErased())
	}
	if erased != 3 {
		t.Errorf("the receipts name %d erased entries, want 3", erased)
	}
	w.must(submitAll(xa, xb)) // the owner takes them: the roster still has the leaver's signing key

	t.Run("what an owner sends before it hears of that is not kept", func(t *testing.T) {
		left := w.dir
		w.dir = before
		xa.push(person("late", 1, "Late", toAll()))
		w.dir = left
		replicate(xa, xb, "XA", "XB")
		if got := xb.released("XA", "XB"); len(got) != 0 {
			t.Errorf("kept: %v", got)
		}
		w.must(submitAll(xa, xb))
	})
	t.Run("also after a restart", func(t *testing.T) {
		xb.stop()
		again := w.start("XB", true)
		if got := again.released("XA", "XB"); len(got) != 0 {
			t.Errorf("held again: %v", got)
		}
		pending, err := again.PendingReceipts("XA")
		w.must(err)
		if len(pending) != 0 {
			t.Errorf("%d receipts are owed again", len(pending))
		}
	})
	t.Run("what was released to it by name is withdrawn by the owner", func(t *testing.T) {
		w.must(xa.DirectoryChanged(context.Background()))
		if got := xa.released("XA", "XB"); got[xa.id("p2")] != 0 {
			t.Error("the release to the leaver still stands")
		}
		// What others read too stays where it is.
		if got := xa.released("XA", "XC"); got[xa.id("p1")] != 1 {
			t.Errorf("others lost something: %v", got)
		}
	})
}

// submitAll hands all pending receipts of a reader to the owner.
func submitAll(owner, reader *node) error {
	docs, err := reader.PendingReceipts("XA")
	if err != nil {
		return err
	}
	for _, doc := range docs {
		err = owner.AcceptReceipt(context.Background(), doc, "XB")
		if err != nil {
			return err
		}
	}
	return reader.ReceiptsSent(context.Background(), docs)
}
