package stream_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

type projectInput struct {
	Federation hexBytes   `json:"federation"`
	Now        int64      `json:"now"`
	Roster     hexBytes   `json:"roster"`
	Held       []hexBytes `json:"held"`
	Documents  []hexBytes `json:"documents"`
}

type projectOutput struct {
	Project      string   `json:"project"`
	Lead         string   `json:"lead"`
	Number       uint64   `json:"number"`
	Head         hexBytes `json:"head"`
	Participants []string `json:"participants"`
	Open         bool     `json:"open"`
}

func projectsTopic() topic {
	return topic{
		file: "projects",
		about: "Chains of documents of one project, under a roster, at a node that holds an older chain under this id or none. " +
			"open says whether records may be shared in it at the time now.",
		cases: func(t *testing.T) []vector { return append(soundProjects(t), refusedProjects(t)...) },
		shared: func(t *testing.T) any {
			in := charter(t).in()
			return map[string]any{"federation": in.Federation, "now": in.Now, "roster": in.Roster, "held": []hexBytes{}}
		},
		judge: judgeProject,
	}
}

func judgeProject(input json.RawMessage) (any, error) {
	in, err := read[projectInput](input)
	if err != nil {
		return nil, err
	}
	now := time.Unix(in.Now, 0)
	roster, err := openRoster(in.Roster, in.Federation, nil, now)
	if err != nil {
		return nil, err
	}
	p, err := openProject(in.Documents, roster)
	if err != nil {
		return nil, err
	}
	if len(in.Held) > 0 {
		held, err := openProject(in.Held, roster)
		if err != nil {
			return nil, err
		}
		if !p.Extends(held) {
			return nil, refusal("not-extended")
		}
	}
	out := projectOutput{p.ID, string(p.Lead), p.Number, p.Head[:], []string{}, p.Open(now)}
	for _, id := range p.Participants {
		out.Participants = append(out.Participants, string(id))
	}
	return out, nil
}

func openProject(list []hexBytes, roster *member.Roster) (*member.Project, error) {
	var docs []*ententev1.SignedDocument
	for _, b := range list {
		doc, err := decoded(b, &ententev1.SignedDocument{})
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return member.VerifyProject(docs, roster)
}

// chain is a project of XA's in the making.
type chain struct {
	t    *testing.T
	docs []*ententev1.SignedDocument
}

func charter(t *testing.T, edits ...func(*ententev1.ProjectCharter)) *chain {
	c := &ententev1.ProjectCharter{Name: "Harbour light", Lead: "XA", Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION,
		Group: "An invented group", CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_DRUGS}, Participants: []string{"XA", "XB"},
		StartsAt: timestamppb.New(newYear()), EndsAt: timestamppb.New(newYear().AddDate(1, 0, 0))}
	for _, edit := range edits {
		edit(c)
	}
	return (&chain{t: t}).next(&ententev1.ProjectDocument{Content: &ententev1.ProjectDocument_Charter{Charter: c}})
}

// next signs and appends a document as the lead would, changed by the edits before.
func (c *chain) next(doc *ententev1.ProjectDocument, edits ...func(*ententev1.ProjectDocument)) *chain {
	doc.ProjectId, doc.Number, doc.SignedAt = "harbour-light", uint64(len(c.docs))+1, timestamppb.New(newYear())
	if len(c.docs) > 0 {
		previous := member.FederationID(c.docs[len(c.docs)-1]) // SHA-256 of a body, whatever the document
		doc.Previous = previous[:]
	}
	for _, edit := range edits {
		edit(doc)
	}
	signed := member.SignDocument(member.TypeProject, encoded(c.t, doc), "XA", vectorKey("signing XA"))
	return &chain{c.t, append(slices.Clone(c.docs), signed)}
}

func (c *chain) admit(id string, edits ...func(*ententev1.ProjectDocument)) *chain {
	content := &ententev1.ProjectDocument_Admission{Admission: &ententev1.ProjectAdmission{Member: id}}
	return c.next(&ententev1.ProjectDocument{Content: content}, edits...)
}

func (c *chain) depart(id string) *chain {
	content := &ententev1.ProjectDocument_Departure{Departure: &ententev1.ProjectDeparture{Member: id}}
	return c.next(&ententev1.ProjectDocument{Content: content})
}

func (c *chain) end(reason string) *chain {
	content := &ententev1.ProjectDocument_End{End: &ententev1.ProjectEnd{Reason: reason}}
	return c.next(&ententev1.ProjectDocument{Content: content})
}

func (c *chain) encoded() []hexBytes {
	list := []hexBytes{}
	for _, doc := range c.docs {
		list = append(list, encoded(c.t, doc))
	}
	return list
}

// in is the chain under the roster of the four.
func (c *chain) in() projectInput {
	f := founded(c.t).change(admission, "XC", "root XC", "XA", "XB")
	return c.under(f, f.roster(1, []string{"CO", "XA", "XB", "XC"}))
}

func (c *chain) under(f *foundation, roster *ententev1.SignedDocument) projectInput {
	return projectInput{Federation: f.id[:], Now: newYear().Add(time.Hour).Unix(), Roster: encoded(c.t, roster), Held: []hexBytes{}, Documents: c.encoded()}
}

func (c *chain) after(held *chain) projectInput {
	in := c.in()
	in.Held = held.encoded()
	return in
}

func soundProjects(t *testing.T) []vector {
	whole := charter(t).admit("XC").depart("XB").admit("XB").end("done")
	f := founded(t)
	rotated := f.roster(2, founders(), f.with("XA", 2, func(e *ententev1.RosterEntry) {
		e.SigningKeys[0].State = ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED
		e.SigningKeys = append(e.SigningKeys, &ententev1.SigningKey{PublicKey: vectorPublic("new signing XA"), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT})
	}))
	without := founded(t).change(suspension, "XA", "", "CO", "XB")
	gone := founded(t).change(admission, "XC", "root XC", "XA", "XB").change(departure, "XC", "", "XC")
	return []vector{
		{"a charter", charter(t).in(), ""},
		{"a charter before its beginning", charter(t, func(c *ententev1.ProjectCharter) { c.StartsAt = timestamppb.New(newYear().Add(2 * time.Hour)) }).in(), ""},
		{"admission, departure, return and end", whole.in(), ""},
		{"a longer chain than the held one", whole.after(charter(t).admit("XC")), ""},
		{"the chain that is held", whole.after(whole), ""},
		{"signed with a key that was rotated out since", charter(t).under(f, rotated), ""},
		{"with a lead that is suspended", charter(t).under(without, without.roster(1, founders())), ""},
		{"with a participant that has left the federation", charter(t).admit("XC").under(gone, gone.roster(1, founders())), ""},
	}
}

func refusedProjects(t *testing.T) []vector {
	edited := func(edit func(*ententev1.ProjectCharter)) projectInput { return charter(t, edit).in() }
	admitted := func(edit func(*ententev1.ProjectDocument)) projectInput { return charter(t).admit("XC", edit).in() }
	byXB := charter(t).admit("XC")
	byXB.docs[1] = member.SignDocument(member.TypeProject, byXB.docs[1].GetBody(), "XB", vectorKey("signing XB"))
	altered := charter(t)
	altered.docs[0] = proto.CloneOf(altered.docs[0])
	altered.docs[0].Body = flipped(altered.docs[0].GetBody(), -3)
	renamed := charter(t)
	renamed.docs[0] = proto.CloneOf(renamed.docs[0])
	renamed.docs[0].Type = "grant"
	f := founded(t)
	revoked := f.roster(2, founders(), f.with("XA", 2, func(e *ententev1.RosterEntry) {
		e.SigningKeys[0].State = ententev1.SigningKeyState_SIGNING_KEY_STATE_REVOKED
		e.SigningKeys = append(e.SigningKeys, &ententev1.SigningKey{PublicKey: vectorPublic("new signing XA"), State: ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT})
	}))
	second := func(c *ententev1.ProjectDocument) {
		c.Content = &ententev1.ProjectDocument_Charter{Charter: &ententev1.ProjectCharter{Lead: "XB"}}
	}
	return []vector{
		{"no document", (&chain{t: t}).in(), "no-charter"},
		{"a first document that is no charter", (&chain{t: t}).admit("XC").in(), "no-charter"},
		{"a project without a lead", edited(func(c *ententev1.ProjectCharter) { c.Lead = "" }), "lead"},
		{"a lead that takes no part", edited(func(c *ententev1.ProjectCharter) { c.Participants = []string{"XB", "XC"} }), "participant"},
		{"a lead that is not the signer", edited(func(c *ententev1.ProjectCharter) { c.Lead = "XB" }), "signature"},
		{"a participant that is no member", edited(func(c *ententev1.ProjectCharter) { c.Participants = []string{"XA", "XD"} }), "standing"},
		{"participants out of order", edited(func(c *ententev1.ProjectCharter) { c.Participants = []string{"XB", "XA"} }), "order"},
		{"a charter without a purpose", edited(func(c *ententev1.ProjectCharter) { c.Purpose = 0 }), "purpose"},
		{"a charter without a name", edited(func(c *ententev1.ProjectCharter) { c.Name = "" }), "name"},
		{"a charter with a name of 201 bytes", edited(func(c *ententev1.ProjectCharter) { c.Name = strings.Repeat("n", 201) }), "name"},
		{"a charter with a group of 1,001 bytes", edited(func(c *ententev1.ProjectCharter) { c.Group = strings.Repeat("g", 1001) }), "name"},
		{"a charter with a participant that is no member by name", edited(func(c *ententev1.ProjectCharter) { c.Participants = []string{"XA", "xb"} }), "member-id"},
		{"a charter without an end", edited(func(c *ententev1.ProjectCharter) { c.EndsAt = nil }), "time"},
		{"a charter that ends before it starts", edited(func(c *ententev1.ProjectCharter) { c.EndsAt = c.GetStartsAt() }), "dates"},
		{"a charter with a predecessor", (&chain{t: t, docs: charter(t).docs[:0]}).next(charterDocument(t), func(d *ententev1.ProjectDocument) { d.Previous = make([]byte, 32) }).in(), "previous"},
		{"a project id that no file could have", (&chain{t: t}).next(charterDocument(t), func(d *ententev1.ProjectDocument) { d.ProjectId = "../x" }).in(), "project-id"},
		{"a document with another previous one", admitted(func(d *ententev1.ProjectDocument) { d.Previous = flipped(d.GetPrevious(), 0) }), "previous"},
		{"a document with a number left out", admitted(func(d *ententev1.ProjectDocument) { d.Number = 3 }), "number"},
		{"a document of another project", admitted(func(d *ententev1.ProjectDocument) { d.ProjectId = "other" }), "project-id"},
		{"a document without a date", admitted(func(d *ententev1.ProjectDocument) { d.SignedAt = nil }), "time"},
		{"a document without content", admitted(func(d *ententev1.ProjectDocument) { d.Content = nil }), "content"},
		{"a second charter", admitted(second), "charter"},
		{"an admission signed by another participant", byXB.in(), "signature"},
		{"an admission of a participant", charter(t).admit("XB").in(), "participant"},
		{"an admission of a stranger", charter(t).admit("XD").in(), "standing"},
		{"an admission of somebody who is no member by name", charter(t).admit("xc").in(), "member-id"},
		{"a departure of somebody who is not in", charter(t).depart("XC").in(), "participant"},
		{"a departure of the lead", charter(t).depart("XA").in(), "lead"},
		{"an admission after the end", charter(t).end("done").admit("XC").in(), "ended"},
		{"an end for a reason of 1,001 bytes", charter(t).end(strings.Repeat("r", 1001)).in(), "content"},
		{"a document under the name of another", renamed.in(), "type"},
		{"a charter altered after signing", altered.in(), "signature"},
		{"signed with a key that is revoked", charter(t).under(f, revoked), "signature"},
		{"a shorter chain than the held one", charter(t).after(charter(t).admit("XC")), "not-extended"},
		{"another chain than the held one", charter(t).depart("XB").after(charter(t).admit("XC")), "not-extended"},
		{"another charter under the same id", charter(t, func(c *ententev1.ProjectCharter) { c.Name = "Other" }).admit("XC").after(charter(t)), "not-extended"},
	}
}

// charterDocument is the sound charter, to be signed with something else that is wrong.
func charterDocument(t *testing.T) *ententev1.ProjectDocument {
	doc, err := decoded(charter(t).docs[0].GetBody(), &ententev1.ProjectDocument{})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
