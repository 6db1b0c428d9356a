package ledger_test

import (
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestARecordGoesInTwoFormsToTwoAudiences(t *testing.T) {
	w := newPolicedWorld(t)
	xa, xb, xc := w.start("XA", true), w.start("XB", true), w.start("XC", true)
	xa.push(noted(person("p1", 1, "One", toMembers("XB"), withoutNotes(toMembers("XC"))), "what XC must not read"))
	replicate(xa, xb, "XA", "XB")
	replicate(xa, xc, "XA", "XC")
	whole, cut := xb.forms("XA", "XB")[xa.id("p1")], xc.forms("XA", "XC")[xa.id("p1")]
	if len(whole) != 1 || len(cut) != 1 {
		t.Fatalf("XB holds %d forms, XC %d", len(whole), len(cut))
	}
	if !strings.Contains(whole[0], "what XC must not read") || strings.Contains(cut[0], "what XC must not read") {
		t.Error("XB lacks what it may read, or XC has what it must not")
	}
	if xc.holds("what XC must not read") != 0 {
		t.Error("the file of XC holds what was left out for it")
	}
	w.restarted(xa, "XA")
}

func TestAChangeOfFormTakesThePlaceOfTheOneBefore(t *testing.T) {
	changes := map[string]struct {
		first, second []*ententev1.Audience
		notes         bool
	}{
		"from whole to treated":                           {first: []*ententev1.Audience{toMembers("XB")}, second: []*ententev1.Audience{withoutNotes(toMembers("XB"))}},
		"from treated to whole":                           {first: []*ententev1.Audience{withoutNotes(toMembers("XB"))}, second: []*ententev1.Audience{toMembers("XB")}, notes: true},
		"in a shared stream":                              {first: []*ententev1.Audience{toProject()}, second: []*ententev1.Audience{withoutNotes(toProject())}},
		"the later of two audiences for the same readers": {first: []*ententev1.Audience{toMembers("XB", "XC")}, second: []*ententev1.Audience{withoutNotes(toMembers("XB"))}},
	}
	for name, c := range changes {
		t.Run(name, func(t *testing.T) {
			w := newPolicedWorld(t)
			xa, xb := w.start("XA", true), w.start("XB", true)
			xa.push(noted(person("p1", 1, "One", c.first...), "the notes"))
			replicate(xa, xb, "XA", "XB")
			v := xa.release(false, "p1", c.second...)
			if v.GetOutcome() != accepted {
				t.Fatal(v)
			}
			replicate(xa, xb, "XA", "XB")
			got := xb.forms("XA", "XB")[xa.id("p1")]
			if len(got) != 1 || strings.Contains(got[0], "the notes") != c.notes {
				t.Fatalf("XB holds %d forms, with the notes %v", len(got), len(got) > 0 && strings.Contains(got[0], "the notes"))
			}
			if n := xb.holds("the notes"); (n > 0) != c.notes {
				t.Errorf("the file of XB holds the notes in %d values", n)
			}
			w.restarted(xa, "XA")
		})
	}
}

func TestOneTreatmentSaidInTwoWaysIsOneForm(t *testing.T) {
	both := func(fields ...string) *ententev1.Audience {
		a := toMembers("XB")
		a.Treatment = &ententev1.Treatment{LeaveOut: fields}
		return a
	}
	same := map[string][2]*ententev1.Audience{
		"fields in another order":                 {both("body.person.notes", "body.person.place_of_birth"), both("body.person.place_of_birth", "body.person.notes")},
		"a field twice":                           {both("body.person.notes"), both("body.person.notes", "body.person.notes")},
		"no treatment and one of nothing":         {toMembers("XB"), both()},
		"a treatment of nothing and no treatment": {both(), toMembers("XB")},
	}
	for name, c := range same {
		t.Run(name, func(t *testing.T) {
			xa := newPolicedWorld(t).start("XA", true)
			xa.push(noted(person("p1", 1, "One", c[0]), "the notes"))
			v := xa.release(false, "p1", c[1])
			held, err := xa.Record(xa.id("p1"), 0)
			if err != nil || v.GetOutcome() != duplicate || len(held.GetAudiences()) != 1 || len(held.GetDeliveries()) != 1 {
				t.Fatalf("%s, %d audiences, %d entries, %v", v.GetOutcome(), len(held.GetAudiences()), len(held.GetDeliveries()), err)
			}
		})
	}
}

func TestATreatedFormThatIsTakenBackIsNowhereInTheFile(t *testing.T) {
	w := newPolicedWorld(t)
	w.configure = nil
	xa := w.start("XA", true)
	xa.stop()
	w.configure = policed
	xa = w.start("XA", true)
	cut := withoutNotes(toMembers("XB"))
	xa.push(noted(person("p1", 1, "One", toMembers("XC")), "the notes"))
	v := xa.release(false, "p1", cut)
	form := xa.forms("XA", "XB")[xa.id("p1")]
	if v.GetOutcome() != accepted || len(form) != 1 || xa.holds(form[0][:60]) == 0 {
		t.Fatalf("%v: %d forms, in %d values", v, len(form), xa.holds(form[0][:60]))
	}
	salts := xa.salts("XA", "XB")
	v = xa.release(true, "p1", toMembers("XC"))
	if v.GetOutcome() != accepted {
		t.Fatal(v)
	}
	// The form has a body of its own, without the notes: nothing else in the file has these bytes.
	b := body(xa, form[0]).GetBody()
	encoded, err := marshal(b)
	w.must(err)
	if n := xa.holds(string(encoded)); n != 0 {
		t.Errorf("the body as it was treated is still in %d values", n)
	}
	for _, salt := range salts {
		if len(salt) != 32 || xa.holds(string(salt)) != 0 {
			t.Errorf("a salt of %d bytes is still there", len(salt))
		}
	}
}

// salts gives the salts of the releases of an owner to a reader.
func (n *node) salts(owner, reader member.ID) [][]byte {
	n.w.t.Helper()
	var list [][]byte
	for _, s := range n.StreamsShared(owner, reader) {
		entries, err := n.Entries(s.No, 2, 1000, 1<<20)
		n.w.must(err)
		for _, e := range entries {
			list = append(list, e.GetSalt())
		}
	}
	return list
}

func TestACoordinatorMergesOnlyForThoseWhoHoldTheSameForm(t *testing.T) {
	w := newPolicedWorld(t)
	xa := w.start("XA", true)
	named := toMembers("COORD", "XB", "XC")
	named.GetMembers().MergeFor = []string{"XB", "XC"}
	xa.push(noted(person("p1", 1, "One", withoutNotes(named)), "the notes"))
	v := xa.release(false, "p1", toMembers("XB"))
	if v.GetOutcome() != accepted {
		t.Fatal(v)
	}
	for _, s := range xa.StreamsShared("XA", "COORD") {
		entries, err := xa.Follow(s.No, 1, 100)
		w.must(err)
		for _, e := range entries {
			if e.Released != nil && strings.Join(names(e.MergeFor), " ") != "XC" {
				t.Errorf("COORD may merge for %v; XB has another form by now", e.MergeFor)
			}
		}
	}
	w.restarted(xa, "XA")
}
