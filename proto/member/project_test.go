package member_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// charter is a project led by XA with XB, from noon for a day.
func charter() *ententev1.ProjectCharter {
	return &ententev1.ProjectCharter{
		Name:         "LANTERN",
		Lead:         "XA",
		Purpose:      1,
		Group:        "An invented group",
		CrimeAreas:   []ententev1.CrimeArea{1},
		Participants: []string{"XB", "XA"},
		StartsAt:     timestamppb.New(noon()),
		EndsAt:       timestamppb.New(noon().Add(24 * time.Hour)),
	}
}

// chain is a project in the making.
type chain struct {
	f    *federation
	docs []*ententev1.SignedDocument
}

func newChain(t testing.TB) *chain {
	t.Helper()
	f := newFederation(t, noon())
	return &chain{f: f, docs: []*ententev1.SignedDocument{must(member.NewCharter("lantern-1", charter(), f.parties["XA"].signing, noon()))(t)}}
}

func (c *chain) key() ed25519.PrivateKey { return c.f.parties["XA"].signing }

func (c *chain) admit(id member.ID) {
	c.f.t.Helper()
	c.docs = append(c.docs, must(member.NewAdmission(c.docs, id, c.key(), noon()))(c.f.t))
}

func (c *chain) depart(id member.ID) {
	c.f.t.Helper()
	c.docs = append(c.docs, must(member.NewDeparture(c.docs, id, false, c.key(), noon()))(c.f.t))
}

func (c *chain) end() {
	c.f.t.Helper()
	c.docs = append(c.docs, must(member.NewEnd(c.docs, "done", c.key(), noon()))(c.f.t))
}

// edit changes the content of document i and has the lead sign it again.
func (c *chain) edit(i int, edit func(*ententev1.ProjectDocument)) {
	c.f.t.Helper()
	body := &ententev1.ProjectDocument{}
	decode(c.f.t, c.docs[i], body)
	edit(body)
	c.docs[i] = member.SignDocument(member.TypeProject, encode(c.f.t, body), "XA", c.key())
}

func TestAChainSaysWhoTakesPart(t *testing.T) {
	c := newChain(t)
	c.admit("XC")
	c.admit("COORD")
	c.depart("XB")
	p := must(member.VerifyProject(c.docs, c.f.verified(c.f.roster())))(t)
	if want := []member.ID{"COORD", "XA", "XC"}; !slices.Equal(p.Participants, want) {
		t.Errorf("participants are %v, want %v", p.Participants, want)
	}
	if p.ID != "lantern-1" || p.Name != "LANTERN" || p.Lead != "XA" || p.Purpose != 1 || p.Number != 4 || p.Ended || len(p.CrimeAreas) != 1 {
		t.Errorf("project is %+v", p)
	}
	if p.Has("XB") || p.Has("XD") || !p.Has("COORD") {
		t.Error("Has contradicts the participants")
	}
}

func TestAProjectIsOpenWithinItsDatesUntilItsEnd(t *testing.T) {
	c := newChain(t)
	roster := c.f.verified(c.f.roster())
	p := must(member.VerifyProject(c.docs, roster))(t)
	for name, at := range map[string]struct {
		now  time.Time
		open bool
	}{
		"before its start":    {noon().Add(-time.Nanosecond), false},
		"at its start":        {noon(), true},
		"in its last moment":  {noon().Add(24*time.Hour - time.Nanosecond), true},
		"at its end by dates": {noon().Add(24 * time.Hour), false},
	} {
		if p.Open(at.now) != at.open {
			t.Errorf("%s: open %t", name, !at.open)
		}
	}
	c.end()
	if p = must(member.VerifyProject(c.docs, roster))(t); p.Open(noon()) || !p.Ended {
		t.Error("it is open after its end")
	}
}

func TestWhoIsOutOfTheFederationIsOutOfItsProjects(t *testing.T) {
	c := newChain(t)
	c.admit("XC")
	c.f.suspend("XC")
	c.f.depart("XB")
	p := must(member.VerifyProject(c.docs, c.f.verified(c.f.roster())))(t)
	if want := []member.ID{"XA"}; !slices.Equal(p.Participants, want) {
		t.Errorf("participants are %v, want %v", p.Participants, want)
	}
	c.f.changes = nil
	c.f.change(suspension, "XA", nil, "XB", "XC", "COORD")
	p = must(member.VerifyProject(c.docs, c.f.verified(c.f.roster())))(t)
	if p.Open(noon()) {
		t.Error("a project is open whose lead is suspended")
	}
}

func TestAChainUnderARetiredKeyStillCounts(t *testing.T) {
	c := newChain(t)
	newer := newKey(t, "newer")
	state := retired
	entry := func() *ententev1.SignedDocument {
		return c.f.entry("XA", 2, func(e *ententev1.RosterEntry) {
			e.SigningKeys[0].State = state
			e.SigningKeys = append(e.SigningKeys, &ententev1.SigningKey{PublicKey: public(newer), State: current})
		})
	}
	roster := c.f.verified(c.f.roster(with(t, entry())))
	next := must(member.NewAdmission(c.docs, "XC", newer, noon()))(t)
	_, err := member.VerifyProject(append(c.docs, next), roster)
	if err != nil {
		t.Error(err)
	}
	state = revoked
	_, err = member.VerifyProject(c.docs, c.f.verified(c.f.roster(with(t, entry()))))
	wantError(t, err, member.ErrBadSignature, "no key of XA")
}

func TestExtends(t *testing.T) {
	c := newChain(t)
	roster := c.f.verified(c.f.roster())
	verify := func(docs []*ententev1.SignedDocument) *member.Project {
		return must(member.VerifyProject(docs, roster))(t)
	}
	first := verify(c.docs)
	c.admit("XC")
	longer := verify(c.docs)
	other := charter()
	other.Name = "OTHER"
	foreign := verify([]*ententev1.SignedDocument{must(member.NewCharter("lantern-1", other, c.key(), noon()))(t)})
	for name, got := range map[string]bool{
		"the same chain does":             first.Extends(first),
		"a longer one does":               longer.Extends(first),
		"a shorter one does not":          !first.Extends(longer),
		"another of the same id does not": !foreign.Extends(first),
	} {
		if !got {
			t.Errorf("not so: %s", name)
		}
	}
}

func TestProjectRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		play func(c *chain)
		says string
	}{
		"no document":                    {func(c *chain) { c.docs = nil }, "no document"},
		"a chain without its charter":    {func(c *chain) { c.admit("XC"); c.docs = c.docs[1:] }, "it has number 2"},
		"a gap":                          {func(c *chain) { c.admit("XC"); c.end(); c.docs = slices.Delete(c.docs, 1, 2) }, "it has number 3"},
		"a document twice":               {func(c *chain) { c.docs = append(c.docs, c.docs[0]) }, "it has number 1"},
		"another hash of the one before": {func(c *chain) { c.admit("XC"); c.edit(1, func(d *ententev1.ProjectDocument) { d.Previous[0] ^= 1 }) }, "the hash differs"},
		"a charter exchanged below": {func(c *chain) {
			c.admit("XC")
			c.edit(0, func(d *ententev1.ProjectDocument) { d.GetCharter().Name = "X" })
		}, "the hash differs"},
		"a charter that names one before":  {func(c *chain) { c.edit(0, func(d *ententev1.ProjectDocument) { d.Previous = make([]byte, 32) }) }, "names one before"},
		"a document of another project":    {func(c *chain) { c.admit("XC"); c.edit(1, func(d *ententev1.ProjectDocument) { d.ProjectId = "x" }) }, "another project"},
		"a document without date":          {func(c *chain) { c.edit(0, func(d *ententev1.ProjectDocument) { d.SignedAt = nil }) }, "signed_at is missing"},
		"a document without content":       {func(c *chain) { c.admit("XC"); c.edit(1, func(d *ententev1.ProjectDocument) { d.Content = nil }) }, "content is missing"},
		"a first document with no charter": {func(c *chain) { c.edit(0, func(d *ententev1.ProjectDocument) { d.Content = nil }) }, "not a charter"},
		"a second charter": {func(c *chain) {
			c.admit("XC")
			c.edit(1, func(d *ententev1.ProjectDocument) { d.Content = &ententev1.ProjectDocument_Charter{Charter: charter()} })
		}, "only the first document is a charter"},
		"a document signed by a participant": {func(c *chain) {
			c.admit("XC")
			c.docs[1] = member.SignDocument(member.TypeProject, c.docs[1].Body, "XB", c.f.parties["XB"].signing)
		}, "XB signed it, not the lead XA"},
		"a document signed by the lead's root": {func(c *chain) {
			c.docs[0] = member.SignDocument(member.TypeProject, c.docs[0].Body, "XA", c.f.parties["XA"].root)
		}, "no key of XA"},
		"a document of another type":    {func(c *chain) { c.docs[0].Type = "roster" }, "another type"},
		"an admission of a stranger":    {func(c *chain) { c.admit("XD") }, "XD is not a member"},
		"an admission of a participant": {func(c *chain) { c.admit("XB") }, "XB is a participant already"},
		"an admission of no name":       {func(c *chain) { c.admit("") }, "member id is empty"},
		"a departure of one not in":     {func(c *chain) { c.depart("XC") }, "XC is not a participant"},
		"a departure of the lead":       {func(c *chain) { c.depart("XA") }, "the lead stays in"},
		"a departure of no name":        {func(c *chain) { c.depart("") }, "member id is empty"},
		"anything after the end":        {func(c *chain) { c.end(); c.admit("XC") }, "has ended"},
		"a reason of an end without end": {func(c *chain) {
			c.docs = append(c.docs, must(member.NewEnd(c.docs, strings.Repeat("x", 1001), c.key(), noon()))(c.f.t))
		}, "longer than"},
		"a project id with a slash":        {func(c *chain) { c.edit(0, func(d *ententev1.ProjectDocument) { d.ProjectId = "../x" }) }, "project id"},
		"a project id that is missing":     {func(c *chain) { c.edit(0, func(d *ententev1.ProjectDocument) { d.ProjectId = "" }) }, "project id"},
		"a charter without name":           {inCharter(func(c *ententev1.ProjectCharter) { c.Name = "" }), "name is missing"},
		"a charter without purpose":        {inCharter(func(c *ententev1.ProjectCharter) { c.Purpose = 0 }), "purpose is missing"},
		"a charter without start":          {inCharter(func(c *ententev1.ProjectCharter) { c.StartsAt = nil }), "starts_at is missing"},
		"a charter without end":            {inCharter(func(c *ententev1.ProjectCharter) { c.EndsAt = nil }), "ends_at is missing"},
		"a charter that ends at its start": {inCharter(func(c *ententev1.ProjectCharter) { c.EndsAt = c.StartsAt }), "ends before it starts"},
		"a charter without participants":   {inCharter(func(c *ententev1.ProjectCharter) { c.Participants = nil }), "no participants"},
		"a charter without its lead":       {inCharter(func(c *ententev1.ProjectCharter) { c.Participants = []string{"XB"} }), "its lead XA is not a participant"},
		"a charter of a lead of no name":   {inCharter(func(c *ententev1.ProjectCharter) { c.Lead = "" }), "lead: member id is empty"},
		"a charter led by another":         {inCharter(func(c *ententev1.ProjectCharter) { c.Lead = "XB" }), "XA signed it, not the lead XB"},
		"participants out of order":        {inCharter(func(c *ententev1.ProjectCharter) { slices.Reverse(c.Participants) }), "not sorted"},
		"a participant twice":              {inCharter(func(c *ententev1.ProjectCharter) { c.Participants = []string{"XA", "XA"} }), "XA stands there twice"},
		"a participant that is no member":  {inCharter(func(c *ententev1.ProjectCharter) { c.Participants = []string{"XA", "XD"} }), "XD is not a member"},
		"65 crime areas":                   {inCharter(func(c *ententev1.ProjectCharter) { c.CrimeAreas = make([]ententev1.CrimeArea, 65) }), "more than 64"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			ch := newChain(t)
			c.play(ch)
			p, err := member.VerifyProject(ch.docs, ch.f.verified(ch.f.roster()))
			wantError(t, err, nil, c.says)
			if p != nil {
				t.Error("a refused project is given out")
			}
		})
	}
}

func inCharter(edit func(*ententev1.ProjectCharter)) func(*chain) {
	return func(c *chain) {
		c.edit(0, func(d *ententev1.ProjectDocument) { edit(d.GetCharter()) })
	}
}

func TestBuildersRefuseWhatTheyCanSee(t *testing.T) {
	key := newKey(t, "k")
	_, err := member.NewCharter("no/slash", charter(), key, noon())
	wantError(t, err, nil, "project id")
	without := charter()
	without.Participants = []string{"XB"}
	_, err = member.NewCharter("p", without, key, noon())
	wantError(t, err, nil, "its lead XA is not a participant")
	_, err = member.NewAdmission(nil, "XB", key, noon())
	wantError(t, err, nil, "no charter yet")
	mine := charter()
	_, err = member.NewCharter("p", mine, key, noon())
	if err != nil || mine.Participants[0] != "XB" {
		t.Errorf("the caller's charter was changed, or %v", err)
	}
}
