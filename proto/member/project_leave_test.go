package member_test

import (
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

func TestWhatOfAChainAMemberMayHave(t *testing.T) {
	c := newChain(t)
	c.admit("XC")  // 2
	c.depart("XB") // 3
	c.admit("COORD")
	c.depart("XC") // 5
	c.admit("XC")
	c.depart("XC") // 7
	c.end()        // 8
	p := must(member.VerifyProject(c.docs, c.f.verified(c.f.roster())))(t)
	tests := []struct {
		name string
		id   member.ID
		left bool
		want uint64
	}{
		{"one that takes part has all of it", "COORD", false, 8},
		{"the lead has all of it", "XA", false, 8},
		{"one that left has what led to its departure, and nothing later", "XB", true, 3},
		{"one that came back and left again has what led to the last departure", "XC", true, 7},
		{"a stranger has nothing", "XD", false, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if p.ShownTo(test.id) != test.want || p.Left(test.id) != test.left {
				t.Errorf("%d documents, left %v; want %d, %v", p.ShownTo(test.id), p.Left(test.id), test.want, test.left)
			}
			if test.want == 0 {
				return
			}
			// What it has is a chain that verifies by itself, and that the whole one extends.
			part := must(member.VerifyProject(c.docs[:test.want], c.f.verified(c.f.roster())))(t)
			if !p.Extends(part) || part.Left(test.id) != test.left {
				t.Error("the part is not the beginning of the whole, or says something else of the member")
			}
		})
	}
}

func TestOneThatIsSuspendedHasNotLeftAProject(t *testing.T) {
	c := newChain(t)
	c.f.suspend("XB")
	p := must(member.VerifyProject(c.docs, c.f.verified(c.f.roster())))(t)
	if p.Has("XB") || p.Left("XB") || p.ShownTo("XB") != 0 {
		t.Errorf("takes part %v, left %v, %d documents", p.Has("XB"), p.Left("XB"), p.ShownTo("XB"))
	}
}

func TestAProjectTakesTheKindsOfItsCharterAndAllWhereItNamesNone(t *testing.T) {
	tests := []struct {
		name   string
		kinds  []ententev1.RecordKind
		person bool
	}{
		{"none named", nil, true},
		{"the kind is named", []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_LESSON, ententev1.RecordKind_RECORD_KIND_PERSON}, true},
		{"another kind is named", []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_LESSON}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := &member.Project{DataCategories: test.kinds}
			if p.Takes(ententev1.RecordKind_RECORD_KIND_PERSON) != test.person {
				t.Errorf("want %v", test.person)
			}
		})
	}
}
