package policy

import (
	"slices"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func toAllMembers() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{}}}
}

func toAProject() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Project{Project: &ententev1.ProjectAudience{ProjectId: "falcon"}}}
}

func toNamed() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: []string{"XB"}}}}
}

func TestCheckSpecial(t *testing.T) {
	tests := []struct {
		name             string
		special, unknown bool
		audience         *ententev1.Audience
		refused          bool
	}{
		{"what is not special goes to all members", false, false, toAllMembers(), false},
		{"what is special does not", true, false, toAllMembers(), true},
		{"what is special goes to a project", true, false, toAProject(), false},
		{"what is special goes to named members", true, false, toNamed(), false},
		{"what is not understood counts as special", false, true, toAllMembers(), true},
		{"an audience of another version is not restricted", true, false, &ententev1.Audience{}, true},
		{"no audience is not restricted", true, false, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := CheckSpecial(Label{Special: test.special, Unknown: test.unknown}, test.audience)
			want := ""
			if test.refused {
				want = "audience"
			}
			expect(t, got, want)
		})
	}
}

func TestCheckCriteria(t *testing.T) {
	const (
		human     = ententev1.RecordKind_RECORD_KIND_PERSON
		biometric = ententev1.RecordKind_RECORD_KIND_BIOMETRIC
		ethnic    = ententev1.TieBasis_TIE_BASIS_ETHNIC
		prison    = ententev1.TieBasis_TIE_BASIS_PRISON
	)
	tests := []struct {
		name     string
		criteria Criteria
		fields   []string
	}{
		{"everything", Criteria{}, nil},
		{"persons", Criteria{Kinds: []ententev1.RecordKind{human}}, nil},
		{"ties from prison", Criteria{TieBases: []ententev1.TieBasis{prison}}, nil},
		{"ethnic ties alone", Criteria{TieBases: []ententev1.TieBasis{ethnic}}, []string{"tie_bases"}},
		{"ethnic ties beside others are found by that alone", Criteria{TieBases: []ententev1.TieBasis{prison, ethnic}}, []string{"tie_bases"}},
		{"a kind beside is no other criterion", Criteria{Kinds: []ententev1.RecordKind{human}, TieBases: []ententev1.TieBasis{ethnic}}, []string{"tie_bases"}},
		{"ethnic ties with something else", Criteria{TieBases: []ententev1.TieBasis{ethnic}, Others: true}, nil},
		{"biometrics alone", Criteria{Kinds: []ententev1.RecordKind{human, biometric}}, []string{"kinds"}},
		{"biometrics with something else", Criteria{Kinds: []ententev1.RecordKind{biometric}, Others: true}, nil},
		{"both alone", Criteria{Kinds: []ententev1.RecordKind{biometric}, TieBases: []ententev1.TieBasis{ethnic}}, []string{"kinds", "tie_bases"}},
		{"a kind of another version", Criteria{Kinds: []ententev1.RecordKind{40}}, []string{"kinds"}},
		{"a ground of another version", Criteria{TieBases: []ententev1.TieBasis{40}}, []string{"tie_bases"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fieldsOf(CheckCriteria(test.criteria)); !slices.Equal(got, test.fields) {
				t.Errorf("want %v, got %v", test.fields, got)
			}
		})
	}
}

// fieldsOf lists the fields of violations.
func fieldsOf(violations []*ententev1.FieldViolation) []string {
	var fields []string
	for _, v := range violations {
		fields = append(fields, v.GetField())
	}
	return fields
}
