package ledger_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

// What policy says in these tests: small functions in place of those of server/policy, which the ledger does not know.

const (
	groundVictim = 1 // a person who is a victim
	groundPlace  = 2 // a place of birth is told
)

func policed(c *ledger.Config) {
	c.Treat = treat
	c.Sensitive = sensitive
	c.SecondPerson = func(officer, proposer string) bool { return officer != "" && officer != proposer }
	c.CheckDerived = lacksH2
	c.Compatible = func(record, access ententev1.Purpose) bool { return record == access }
	c.Renewable = func(now, until time.Time) bool { return until.Before(now.AddDate(5, 0, 1)) }
}

func newPolicedWorld(t testing.TB) *world {
	w := newWorld(t)
	w.configure = policed
	return w
}

// treat knows two fields, by which forms differ visibly.
func treat(r *ententev1.Record, t *ententev1.Treatment) *ententev1.Record {
	r = proto.CloneOf(r)
	p := r.GetBody().GetPerson()
	if p != nil && slices.Contains(t.GetLeaveOut(), "body.person.notes") {
		p.Notes = ""
	}
	if p != nil && slices.Contains(t.GetLeaveOut(), "body.person.place_of_birth") {
		p.PlaceOfBirth = nil
	}
	return r
}

func sensitive(r *ententev1.Record) uint8 {
	var grounds uint8
	p := r.GetBody().GetPerson()
	if p.GetStatus() == ententev1.PersonStatus_PERSON_STATUS_VICTIM {
		grounds |= groundVictim
	}
	if p.GetPlaceOfBirth() != nil {
		grounds |= groundPlace
	}
	return grounds
}

func hasH2(h *ententev1.HandlingConditions) bool {
	return slices.Contains(h.GetCodes(), ententev1.HandlingCode_HANDLING_CODE_H2)
}

// lacksH2: what was made from a record under H2 is under H2.
func lacksH2(r *ententev1.Record, sources [][]byte) []*ententev1.FieldViolation {
	for _, b := range sources {
		source := &ententev1.ReleasedRecord{}
		err := proto.Unmarshal(b, source)
		if err != nil || hasH2(source.GetEnvelope().GetHandling()) && !hasH2(r.GetEnvelope().GetHandling()) {
			return []*ententev1.FieldViolation{{Field: "envelope.handling", Reason: "lacks H2 of what it was made from"}}
		}
	}
	return nil
}

func withoutNotes(a *ententev1.Audience) *ententev1.Audience {
	a.Treatment = &ententev1.Treatment{LeaveOut: []string{"body.person.notes"}}
	return a
}

func noted(it ledger.Item, notes string) ledger.Item {
	it.Record.Body.GetPerson().Notes = notes
	return it
}

func victim(it ledger.Item) ledger.Item {
	it.Record.Body.GetPerson().Status = ententev1.PersonStatus_PERSON_STATUS_VICTIM
	return it
}

func born(it ledger.Item) ledger.Item {
	it.Record.Body.GetPerson().PlaceOfBirth = &ententev1.Address{Country: "XA"}
	return it
}

func until(it ledger.Item, at time.Time) ledger.Item {
	it.Record.Envelope.RetainUntil = timestamppb.New(at)
	return it
}

func as(name string) context.Context {
	return ledger.WithActor(context.Background(), &ententev1.AuditActor{Kind: member.KindSystem.String(), Name: "spiffe://xa.entente/system/files", Officer: name})
}

func (n *node) release(replace bool, reference string, audiences ...*ententev1.Audience) *ententev1.Verdict {
	n.w.t.Helper()
	return must(n.Release(as("vera"), "Central Unit", []string{reference}, audiences, replace))(n.w.t)[0]
}

func (n *node) want(outcome ententev1.Outcome, list []*ententev1.Verdict, err error) {
	n.w.t.Helper()
	n.w.must(err)
	for _, v := range list {
		if v.GetOutcome() != outcome {
			n.w.t.Fatalf("%s: %s %v, want %s", v.GetProviderReference(), v.GetOutcome(), v.GetViolations(), outcome)
		}
	}
}

// forms lists what a node holds of the streams of an owner for a reader, as released.
func (n *node) forms(owner, reader member.ID) map[ledger.RecordID][]string {
	n.w.t.Helper()
	out := map[ledger.RecordID][]string{}
	for _, s := range n.StreamsShared(owner, reader) {
		entries, err := n.Follow(s.No, 1, 1<<20)
		n.w.must(err)
		for _, e := range entries {
			if e.Released != nil {
				out[e.Record] = append(out[e.Record], string(e.Released))
			}
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

func body(n *node, form string) *ententev1.ReleasedRecord {
	n.w.t.Helper()
	r := &ententev1.ReleasedRecord{}
	n.w.must(proto.Unmarshal([]byte(form), r))
	return r
}

// values is every value of the data file that can hold content, under its place.
func (n *node) values() map[string][]byte {
	n.w.t.Helper()
	out := map[string][]byte{}
	names := []string{"log"}
	for _, s := range n.Streams() {
		names = append(names, fmt.Sprintf("entries-%08x", s.No))
	}
	n.w.must(n.store.View(func(v *store.View) error {
		for _, name := range names {
			err := v.Scan(store.NewSeries(name), 1, func(at uint64, value []byte) (bool, error) {
				out[fmt.Sprintf("%s/%d", name, at)] = bytes.Clone(value)
				return true, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	return out
}

// holds says in how many values a text stands.
func (n *node) holds(text string) int {
	found := 0
	for _, value := range n.values() {
		if bytes.Contains(value, []byte(text)) {
			found++
		}
	}
	return found
}

// whole is all that a node tells of its state.
func whole(n *node) string {
	n.w.t.Helper()
	text := describe(n.w.t, n) + fmt.Sprintf("%d waiting, %d pending, %d overdue\n", n.Stats().Waiting, n.Stats().Pending, n.Overdue())
	pending, _ := n.ListPending(ledger.RecordID{}, 1000)
	for _, p := range pending {
		text += fmt.Sprintf("%s %s %d %d %v %s\n", p.Record, p.Authority, p.Version, p.Grounds, p.Audiences, p.Proposer)
	}
	for _, received := range []bool{false, true} {
		for _, p := range n.ListPermissions("Central Unit", received) {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
			n.w.must(err)
			text += fmt.Sprintf("permission %v %x\n", received, b)
		}
	}
	due, _ := n.ListDue(ledger.DueQuery{Authority: "Central Unit", By: n.w.now.AddDate(100, 0, 0), Limit: 1000}, plainReview)
	return text + fmt.Sprint(due)
}

func plainReview(_, retain, said time.Time) time.Time {
	if said.IsZero() {
		return retain
	}
	return said
}

// restarted is a node after a clean stop and start, with the same state.
func (w *world) restarted(n *node, id member.ID) *node {
	w.t.Helper()
	before := whole(n)
	n.stop()
	w.now = w.now.Add(time.Second) // other random numbers
	again := w.start(id, true)
	if after := whole(again); after != before {
		w.t.Fatalf("after a restart:\n%s", strings.Join(difference("state", strings.Split(before, "\n"), strings.Split(after, "\n")), "\n"))
	}
	return again
}

// TestAProjectTakesOnlyRecordsOfItsPurpose: a record processed for something else is refused, pushed to the project as released to it.
func TestAProjectTakesOnlyRecordsOfItsPurpose(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	other := person("p1", 1, "One", toProject())
	other.Record.Envelope.Purpose = ententev1.Purpose_PURPOSE_WARN
	if v := must(xa.Push(as("vera"), "Central Unit", []ledger.Item{other}))(t)[0]; v.GetOutcome() == accepted || v.GetViolations()[0].GetField() != "audiences[0].project.project_id" {
		t.Errorf("pushed to a project of another purpose: %v", v)
	}
	home := person("p2", 1, "Two")
	home.Record.Envelope.Purpose = ententev1.Purpose_PURPOSE_WARN
	xa.push(home)
	if v := xa.release(false, "p2", toProject()); v.GetOutcome() == accepted {
		t.Errorf("released to a project of another purpose: %v", v)
	}
	xa.push(person("p3", 1, "Three"))
	if v := xa.release(false, "p3", toProject()); v.GetOutcome() != accepted {
		t.Errorf("a record of the project's purpose: %v", v)
	}
}
