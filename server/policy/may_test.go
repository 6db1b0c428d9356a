package policy

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

const (
	official     = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY
	restricted   = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_RESTRICTED
	confidential = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
	criminal     = ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION
)

func soundAccess() Access {
	return Access{Purpose: criminal, Clearance: restricted, Day: 1_800_000_000}
}

func TestMay(t *testing.T) {
	tests := []struct {
		name   string
		access func(*Access)
		label  func(*Label)
		want   bool
	}{
		{"a sound record for a sound question", func(*Access) {}, func(*Label) {}, true},
		{"a compatible purpose", func(a *Access) { a.Purpose = 9 }, func(*Label) {}, true},
		{"an incompatible purpose", func(a *Access) { a.Purpose = 7 }, func(*Label) {}, false},
		{"no purpose", func(a *Access) { a.Purpose = 0 }, func(*Label) {}, false},
		{"a record without purpose", func(*Access) {}, func(l *Label) { l.Purpose = 0 }, false},
		{"a record that is not understood", func(*Access) {}, func(l *Label) { l.Unknown = true }, false},
		{"an informant", func(*Access) {}, func(l *Label) { l.Status = 8 }, false},
		{"a victim, one by one", func(*Access) {}, func(l *Label) { l.Status = 4 }, true},
		{"a higher level than the clearance", func(*Access) {}, func(l *Label) { l.Level = confidential }, false},
		{"a level of its own within the clearance", func(a *Access) { a.Clearance = confidential }, func(l *Label) { l.Level = confidential }, true},
		{"a lower level", func(*Access) {}, func(l *Label) { l.Level = official }, true},
		{"a level that is not given is the highest", func(*Access) {}, func(l *Label) { l.Level = 0 }, false},
		{"a level below all counts as the highest", func(*Access) {}, func(l *Label) { l.Level = -1 }, false},
		{"a level above all counts as the highest", func(a *Access) { a.Clearance = confidential }, func(l *Label) { l.Level = 9 }, true},
		{"a clearance that is not given is the lowest", func(a *Access) { a.Clearance = 0 }, func(*Label) {}, false},
		{"the lowest clearance sees the lowest level", func(a *Access) { a.Clearance = 0 }, func(l *Label) { l.Level = official }, true},
		{"a clearance that is not known is the lowest", func(a *Access) { a.Clearance = 9 }, func(*Label) {}, false},
		{"the second before the end", func(a *Access) { a.Day = 1_889_999_999 }, func(*Label) {}, true},
		{"the end itself", func(a *Access) { a.Day = 1_890_000_000 }, func(*Label) {}, false},
		{"no day", func(a *Access) { a.Day = 0 }, func(*Label) {}, false},
		{"a day before all days", func(a *Access) { a.Day = -62_135_596_800 }, func(*Label) {}, false},
		{"the first second of all", func(a *Access) { a.Day = 1 }, func(*Label) {}, true},
		{"no retention", func(*Access) {}, func(l *Label) { l.RetainUntil = 0 }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, l := soundAccess(), soundLabel()
			test.access(&a)
			test.label(&l)
			if got := May(a, l); got != test.want {
				t.Errorf("want %v", test.want)
			}
			if MayBulk(a, l) && !May(a, l) {
				t.Error("in bulk, but not by itself")
			}
		})
	}
	if May(Access{}, Label{}) || May(soundAccess(), Label{}) || May(Access{}, soundLabel()) {
		t.Error("what says nothing is allowed")
	}
}

func TestProtectedPersonsAreInBulkOnlyForAReason(t *testing.T) {
	is := func(kind ententev1.RecordKind, status ententev1.PersonStatus, minor, unknown bool) Label {
		l := soundLabel()
		l.Kind, l.Status, l.Minor, l.Unknown = kind, status, minor, unknown
		return l
	}
	const (
		human = ententev1.RecordKind_RECORD_KIND_PERSON
		place = ententev1.RecordKind_RECORD_KIND_LOCATION
	)
	tests := []struct {
		name                    string
		label                   Label
		protected, plain, asked bool
	}{
		{"a suspect", is(human, 1, false, false), false, true, true},
		{"a convicted person", is(human, 2, false, false), false, true, true},
		{"a wanted person", is(human, 3, false, false), false, true, true},
		{"a victim", is(human, 4, false, false), true, false, true},
		{"a potential victim", is(human, 5, false, false), true, false, true},
		{"a witness", is(human, 6, false, false), true, false, true},
		{"a contact", is(human, 7, false, false), false, true, true},
		{"an informant, never", is(human, 8, false, false), true, false, false},
		{"a missing person", is(human, 9, false, false), false, true, true},
		{"an unidentified person", is(human, 10, false, false), false, true, true},
		{"another person", is(human, 11, false, false), false, true, true},
		{"a minor who is a suspect", is(human, 1, true, false), true, false, true},
		{"a person without status", is(human, 0, false, false), true, false, true},
		{"a place", is(place, 0, false, false), false, true, true},
		{"what is not understood, never", is(place, 0, false, true), true, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := soundAccess()
			plain := MayBulk(a, test.label)
			a.ProtectedReason = true
			asked := MayBulk(a, test.label)
			if Protected(test.label) != test.protected || plain != test.plain || asked != test.asked {
				t.Errorf("protected %v, without a reason %v, with one %v", Protected(test.label), plain, asked)
			}
		})
	}
}

func clearedGrants() Grants {
	g := grants()
	g.Systems["vault"] = System{Clearance: confidential, Permit: true, Grant: true}
	g.Systems["desk"] = System{Clearance: restricted}
	g.Officers["ann"] = Officer{Purposes: g.Officers["ann"].Purposes, Clearance: confidential, Approve: true}
	g.Officers["bob"] = Officer{Purposes: g.Officers["bob"].Purposes, Clearance: restricted}
	return g
}

func TestAccessOf(t *testing.T) {
	tests := []struct {
		name    string
		caller  member.Identity
		officer string
		want    ententev1.ClassificationLevel
	}{
		{"an officer has its own clearance", identity(member.KindOfficer, "ann"), "", confidential},
		{"an officer who names itself too", identity(member.KindOfficer, "bob"), "bob", restricted},
		{"an officer without clearance has the lowest", identity(member.KindOfficer, "eve"), "", official},
		{"an officer who is not listed has the lowest", identity(member.KindOfficer, "zoe"), "", official},
		{"a system by itself has its own", identity(member.KindSystem, "vault"), "", confidential},
		{"a system for an officer of less has the officer's", identity(member.KindSystem, "vault"), "bob", restricted},
		{"a system of less for an officer has its own", identity(member.KindSystem, "desk"), "ann", restricted},
		{"a system for an officer without clearance has the lowest", identity(member.KindSystem, "vault"), "eve", official},
		{"a system for somebody unknown has the lowest", identity(member.KindSystem, "vault"), "zoe", official},
		{"a system without clearance has the lowest", identity(member.KindSystem, "team"), "ann", official},
		{"an auditor of the name of an officer has the lowest", identity(member.KindAuditor, "ann"), "", official},
		{"a node has the lowest", identity(member.KindNode, "vault"), "ann", official},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &ententev1.Consultation{Purpose: 3, Officer: test.officer}
			want := Access{Purpose: 3, Clearance: test.want, Day: 7}
			got := clearedGrants().AccessOf(test.caller, c, 7)
			got.Officer = 0 // TestAnOfficersOwnClearanceCountsForOwnRecords looks at that
			if got != want {
				t.Errorf("want %+v, got %+v", want, got)
			}
		})
	}
	ann := identity(member.KindOfficer, "ann")
	for reason, want := range map[string]bool{"": false, " \t": false, "the victims' statements": true} {
		got := clearedGrants().AccessOf(ann, &ententev1.Consultation{ProtectedReason: reason}, 1)
		if got.ProtectedReason != want {
			t.Errorf("%q is a reason: %v", reason, got.ProtectedReason)
		}
	}
}

func TestWhatTheMemberLetsItsPeopleDo(t *testing.T) {
	tests := []struct {
		name                            string
		caller                          member.Identity
		officer                         string
		purpose                         ententev1.Purpose
		named, permit, decide, mayGrant bool
	}{
		{"an officer who may decide", identity(member.KindOfficer, "ann"), "", 3, true, false, true, false},
		{"an officer who may not", identity(member.KindOfficer, "bob"), "", 3, true, false, false, false},
		{"an officer for a purpose that is not granted", identity(member.KindOfficer, "ann"), "", 9, false, false, false, false},
		{"a system that may permit and grant", identity(member.KindSystem, "vault"), "", 3, false, true, false, true},
		{"the same for an officer", identity(member.KindSystem, "vault"), "ann", 3, true, true, false, true},
		{"the same for an officer without the purpose", identity(member.KindSystem, "vault"), "ann", 9, false, false, false, false},
		{"a system that may not", identity(member.KindSystem, "desk"), "ann", 3, true, false, false, false},
		{"a system that is not listed", identity(member.KindSystem, "zoe"), "ann", 3, false, false, false, false},
		{"an operator", identity(member.KindOperator, "ann"), "", 3, false, false, false, false},
		{"an operator in an officer's name", identity(member.KindOperator, "ann"), "ann", 3, false, false, false, false},
		{"a node in an officer's name", identity(member.KindNode, ""), "ann", 3, false, false, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &ententev1.Consultation{Purpose: test.purpose, Officer: test.officer}
			for what, ask := range map[string]struct {
				may  func(Grants, member.Identity, *ententev1.Consultation) error
				want bool
			}{
				"stand behind a question": {Grants.MustName, test.named}, "permit": {Grants.MayPermit, test.permit},
				"decide": {Grants.MayDecide, test.decide}, "grant": {Grants.MayGrant, test.mayGrant},
			} {
				err := ask.may(clearedGrants(), test.caller, c)
				if (err == nil) != ask.want || err != nil && !errors.Is(err, ErrNotGranted) {
					t.Errorf("may %s: want %v, got %v", what, ask.want, err)
				}
			}
		})
	}
	for _, kind := range []member.Kind{member.KindNode, member.KindAuditor, member.KindOperator, 0} {
		for _, officer := range []string{"", "ann"} {
			err := clearedGrants().MayAsk(identity(kind, "ann"), &ententev1.Consultation{Purpose: 3, Officer: officer})
			if !errors.Is(err, ErrNotGranted) {
				t.Errorf("a %s may ask in the name of %q: %v", kind, officer, err)
			}
		}
	}
	// Whoever is both, by name, gets nothing from the other list.
	g := Grants{Systems: map[string]System{"x": {}}, Officers: map[string]Officer{"x": {Approve: true, Purposes: []ententev1.Purpose{3}}}}
	if g.MayDecide(identity(member.KindSystem, "x"), &ententev1.Consultation{Purpose: 3, Officer: "x"}) == nil {
		t.Error("a system decides in an officer's name")
	}
	g = Grants{Systems: map[string]System{"x": {Permit: true, Grant: true}}, Officers: map[string]Officer{"x": {Purposes: []ententev1.Purpose{3}}}}
	officer := identity(member.KindOfficer, "x")
	if g.MayPermit(officer, &ententev1.Consultation{Purpose: 3}) == nil || g.MayGrant(officer, &ententev1.Consultation{Purpose: 3}) == nil {
		t.Error("an officer permits or grants by a system's grant")
	}
}

func TestNarrowKeepsTheReasonForProtectedPersons(t *testing.T) {
	asked := &ententev1.Consultation{Purpose: 3, CaseReference: "C", ProtectedReason: "r"}
	got, err := grants().Narrow(identity(member.KindOfficer, "ann"), asked)
	if err != nil || got.GetProtectedReason() != "r" || got.GetCaseReference() != "C" || got.GetPurpose() != 3 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNarrowKeepsTheRestOfTheScope(t *testing.T) {
	asked := func(scope *ententev1.Scope) *ententev1.Consultation {
		return &ententev1.Consultation{Purpose: 3, CaseReference: "C", Scope: scope}
	}
	free, bound := identity(member.KindOfficer, "ann"), identity(member.KindOfficer, "bob")
	tests := []struct {
		name   string
		caller member.Identity
		scope  *ententev1.Scope
		want   *ententev1.Scope
	}{
		{"no scope stays none for who has no limit", free, nil, nil},
		{"no scope becomes what is granted, in order", bound, nil, &ententev1.Scope{Projects: []string{"falcon", "heron"}}},
		{"kinds and streams stay", free, &ententev1.Scope{Kinds: []ententev1.RecordKind{1}, AllMembersOnly: true},
			&ententev1.Scope{Kinds: []ententev1.RecordKind{1}, AllMembersOnly: true}},
		{"an empty scope stays one", free, &ententev1.Scope{}, &ententev1.Scope{}},
		{"projects are put in order, each once", free, &ententev1.Scope{Projects: []string{"kite", "heron", "kite"}}, &ententev1.Scope{Projects: []string{"heron", "kite"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := grants().Narrow(test.caller, asked(test.scope))
			if err != nil {
				t.Fatal(err)
			}
			if (got.Scope == nil) != (test.want == nil) || !proto.Equal(got.GetScope(), test.want) {
				t.Errorf("want %v, got %v", test.want, got.GetScope())
			}
		})
	}
}
