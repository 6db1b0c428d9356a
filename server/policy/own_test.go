package policy

import (
	"slices"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestMayOwnAndMayDecideOn(t *testing.T) {
	tests := []struct {
		name        string
		access      func(*Access)
		label       func(*Label)
		own, decide bool
	}{
		{"a sound record", func(*Access) {}, func(*Label) {}, true, true},
		{"a purpose that does not fit", func(a *Access) { a.Purpose = 7 }, func(*Label) {}, false, true},
		{"a record above the clearance", func(*Access) {}, func(l *Label) { l.Level = confidential }, true, false},
		{"a record that is over", func(*Access) {}, func(l *Label) { l.RetainUntil = 5 }, false, false},
		{"an informant", func(*Access) {}, func(l *Label) { l.Status = 8 }, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, l := soundAccess(), soundLabel()
			test.access(&a)
			test.label(&l)
			if MayOwn(a, l) != test.own || MayDecideOn(a, l) != test.decide {
				t.Errorf("own %v, decide %v", MayOwn(a, l), MayDecideOn(a, l))
			}
		})
	}
}

func TestAnOfficersOwnClearanceCountsForOwnRecords(t *testing.T) {
	tests := []struct {
		name            string
		system, officer string
		purpose         ententev1.Purpose
		level           ententev1.ClassificationLevel
		retain          int64
		shown, listed   bool
	}{
		{"a system by itself, not cleared", "team", "", criminal, confidential, 9, true, true},
		{"a system by itself, of what is over", "team", "", criminal, confidential, 7, false, true},
		{"a system by itself, for another purpose", "team", "", 7, confidential, 9, false, true},
		{"a system for an officer who is cleared, not cleared itself", "team", "ann", criminal, confidential, 9, true, true},
		{"a system for an officer, at the officer's clearance", "vault", "bob", criminal, restricted, 9, true, true},
		{"a system for an officer, above the officer's clearance", "vault", "bob", criminal, confidential, 9, false, false},
		{"a system for an officer without clearance, of what is not marked", "vault", "eve", criminal, 0, 9, false, false},
		{"a system for an officer without clearance, of the lowest marking", "vault", "eve", criminal, official, 9, true, true},
		{"a system for somebody unknown", "vault", "zoe", criminal, restricted, 9, false, false},
		{"a system for an officer, for another purpose", "vault", "ann", 7, official, 9, false, false},
		{"a system for an officer, of what is over", "vault", "ann", criminal, official, 7, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := clearedGrants().AccessOf(identity(member.KindSystem, test.system), &ententev1.Consultation{Purpose: test.purpose, Officer: test.officer}, 7)
			l := soundLabel()
			l.Level, l.RetainUntil = test.level, test.retain
			if MayOwn(a, l) != test.shown || MayListOwn(a, l) != test.listed {
				t.Errorf("shown %v, listed %v", MayOwn(a, l), MayListOwn(a, l))
			}
		})
	}
}

func TestAccessOfMember(t *testing.T) {
	c := &ententev1.Consultation{Purpose: 3, ProtectedReason: "r", Scope: &ententev1.Scope{Clearance: restricted}}
	want := Access{Purpose: 3, Clearance: restricted, ProtectedReason: true, Day: 7}
	if got := AccessOfMember(c, 7); got != want {
		t.Errorf("want %+v, got %+v", want, got)
	}
	if AccessOfMember(&ententev1.Consultation{ProtectedReason: " "}, 7).ProtectedReason {
		t.Error("a blank is a reason")
	}
	if got := AccessOfMember(&ententev1.Consultation{}, 7).Clearance; got != confidential {
		t.Errorf("a node that says nothing of a clearance has %s", got)
	}
}

func TestMayForward(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Label)
		want   bool
	}{
		{"what fits", func(*Label) {}, true},
		{"what has expired by this clock", func(l *Label) { l.RetainUntil = 1 }, true},
		{"what is classified higher", func(l *Label) { l.Level = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL }, false},
		{"what is not marked", func(l *Label) { l.Level = 0 }, false},
		{"what is for another purpose", func(l *Label) { l.Purpose = ententev1.Purpose_PURPOSE_SECURITY_CHECK }, false},
		{"what does not say for which", func(l *Label) { l.Purpose = 0 }, false},
		{"what is not understood", func(l *Label) { l.Unknown = true }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := soundLabel()
			test.change(&l)
			a := Access{Purpose: soundLabel().Purpose, Clearance: soundLabel().Level, Day: 2}
			if MayForward(a, l) != test.want {
				t.Errorf("want %v", test.want)
			}
		})
	}
}

func TestBanners(t *testing.T) {
	tests := []struct {
		name       string
		conditions *ententev1.HandlingConditions
		begin      []string
	}{
		{"one code", &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{2}}, []string{"H1"}},
		{"all codes, and the text", &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{1, 2, 3, 4}, Text: "t"}, []string{"H0", "H1", "H2", "H3", "Re"}},
		{"no code is all codes", nil, []string{"H0", "H1", "H2", "H3"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var begin []string
			for _, banner := range Banners(HandlingOf(test.conditions), test.conditions.GetText()) {
				begin = append(begin, banner[:2])
			}
			if !slices.Equal(begin, test.begin) {
				t.Errorf("got %q", Banners(HandlingOf(test.conditions), test.conditions.GetText()))
			}
		})
	}
}

func TestGroundsAreThoseOfTheReasons(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Label)
		want   uint8
	}{
		{"H0", func(*Label) {}, 0},
		{"H2", func(l *Label) { l.Handling = handlingH2 }, 1},
		{"H3", func(l *Label) { l.Handling = handlingH3 }, 2},
		{"a special category", func(l *Label) { l.Special = true }, 4},
		{"all of them", func(l *Label) { l.Handling, l.Special = handlingH2|handlingH3, true }, 7},
		{"no handling", func(l *Label) { l.Handling = 0 }, 15},
		{"what is not understood", func(l *Label) { l.Unknown = true }, 15},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := soundLabel()
			test.change(&l)
			if got := Grounds(l); got != test.want || NeedsApproval(l) != (got != 0) {
				t.Errorf("want %d, got %d", test.want, got)
			}
		})
	}
}
