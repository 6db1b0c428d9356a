package policy

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// born is a person with a date of birth.
func born(d *ententev1.PartialDate) *ententev1.Record {
	return changed(func(r *ententev1.Record) { r.GetBody().GetPerson().DatesOfBirth = []*ententev1.PartialDate{d} })
}

func TestDates(t *testing.T) {
	const at = "body.person.dates_of_birth[0]."
	date := func(year, month, day uint32, precision ententev1.DatePrecision) *ententev1.PartialDate {
		return &ententev1.PartialDate{Year: year, Month: month, Day: day, Precision: precision}
	}
	tests := []struct {
		name  string
		date  *ententev1.PartialDate
		field string
	}{
		{"a day", date(1984, 2, 29, 1), ""},
		{"the first day of all", date(1, 1, 1, 1), ""},
		{"a day without year", date(0, 2, 3, 1), at + "precision"},
		{"a day without month", date(1984, 0, 3, 1), at + "precision"},
		{"a day without day", date(1984, 2, 0, 1), at + "precision"},
		{"a month", date(1984, 2, 0, 2), ""},
		{"the first month of all", date(1, 1, 0, 2), ""},
		{"a month without year", date(0, 2, 0, 2), at + "precision"},
		{"a month without month", date(1984, 0, 0, 2), at + "precision"},
		{"a month with a day", date(1984, 2, 1, 2), at + "precision"},
		{"a month with another day", date(1984, 2, 2, 2), at + "precision"},
		{"a year", date(1984, 0, 0, 3), ""},
		{"the first year of all", date(1, 0, 0, 3), ""},
		{"a year without year", date(0, 0, 0, 3), at + "precision"},
		{"a year with a month", date(1984, 1, 0, 3), at + "precision"},
		{"a year with a day", date(1984, 0, 1, 3), at + "precision"},
		{"about something", date(0, 2, 0, 4), ""},
		{"a range", &ententev1.PartialDate{Year: 1984, UntilYear: 1985, Precision: 5}, ""},
		{"a range within a year", &ententev1.PartialDate{Year: 1984, UntilYear: 1984, Precision: 5}, ""},
		{"a range from nowhere", &ententev1.PartialDate{UntilYear: 1, Precision: 5}, ""},
		{"a range to nowhere", &ententev1.PartialDate{Year: 1984, Precision: 5}, at + "until_year"},
		{"a range backwards", &ententev1.PartialDate{Year: 1984, UntilYear: 1983, Precision: 5}, at + "until_year"},
		{"a range backwards to the first year", &ententev1.PartialDate{Year: 1984, UntilYear: 1, Precision: 5}, at + "until_year"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckRecord(born(test.date)), test.field)
		})
	}
	if got := fieldsOf(CheckRecord(born(&ententev1.PartialDate{Year: 1984, Precision: 5}))); len(got) != 1 {
		t.Errorf("a range to nowhere is not backwards too: %v", got)
	}
}

func TestDaysIn(t *testing.T) {
	days := []uint32{31, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	for month, want := range days {
		if got := daysIn(2024, uint32(month)); got != want {
			t.Errorf("month %d: want %d, got %d", month, want, got)
		}
	}
	for year, want := range map[uint32]uint32{1900: 28, 2000: 29, 2023: 28, 2024: 29, 2025: 28, 2100: 28, 2101: 28, 2400: 29, 2401: 28} {
		if got := daysIn(year, 2); got != want {
			t.Errorf("February %d: want %d, got %d", year, want, got)
		}
	}
}

func TestTimesOfTheEnvelope(t *testing.T) {
	bad := &timestamppb.Timestamp{Nanos: -1}
	tests := []struct {
		name   string
		change func(*ententev1.Envelope)
		field  string
	}{
		{"recorded at no time", func(e *ententev1.Envelope) { e.RecordedAt = bad }, "envelope.recorded_at"},
		{"collected at no time", func(e *ententev1.Envelope) { e.CollectedAt = bad }, "envelope.collected_at"},
		{"valid from no time", func(e *ententev1.Envelope) { e.ValidFrom = bad }, "envelope.valid_from"},
		{"valid to no time", func(e *ententev1.Envelope) { e.ValidTo = bad }, "envelope.valid_to"},
		{"retained until no time", func(e *ententev1.Envelope) { e.RetainUntil = &timestamppb.Timestamp{Seconds: 1_890_000_000, Nanos: -1} }, "envelope.retain_until"},
		{"reviewed at no time", func(e *ententev1.Envelope) { e.ReviewDue = bad }, "envelope.review_due"},
		{"an end of validity alone", func(e *ententev1.Envelope) { e.ValidTo = &timestamppb.Timestamp{Seconds: -5} }, ""},
		{"a beginning of validity alone", func(e *ententev1.Envelope) { e.ValidFrom = &timestamppb.Timestamp{Seconds: 5} }, ""},
		{"no retention", func(e *ententev1.Envelope) { e.RetainUntil = nil }, ""},
		{"no recording", func(e *ententev1.Envelope) { e.RecordedAt, e.RetainUntil = nil, &timestamppb.Timestamp{Seconds: -5} }, ""},
		{"a review without retention", func(e *ententev1.Envelope) { e.RetainUntil, e.ReviewDue = nil, &timestamppb.Timestamp{Seconds: 5} }, ""},
		{"a retention before 1970 without review", func(e *ententev1.Envelope) {
			e.RecordedAt, e.RetainUntil = &timestamppb.Timestamp{Seconds: -9}, &timestamppb.Timestamp{Seconds: -5}
		}, ""},
		{"a review at the end of retention", func(e *ententev1.Envelope) { e.ReviewDue = e.RetainUntil }, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckRecord(changed(func(r *ententev1.Record) { test.change(r.Envelope) })), test.field)
		})
	}
}

func TestRulesOfBodies(t *testing.T) {
	group := func(g *ententev1.CriminalGroup) *ententev1.Record {
		return with(&ententev1.Body{Kind: &ententev1.Body_CriminalGroup{CriminalGroup: g}})
	}
	rated := func(dimensions ...ententev1.CapabilityDimension) *ententev1.Record {
		g := &ententev1.CriminalGroup{}
		for _, d := range dimensions {
			g.Capabilities = append(g.Capabilities, &ententev1.CapabilityRating{Dimension: d, Level: 1})
		}
		return group(g)
	}
	earned := func(low, high string) *ententev1.Record {
		return group(&ententev1.CriminalGroup{Proceeds: []*ententev1.ProceedsEstimate{{}, {Min: &ententev1.Money{Currency: low}, Max: &ententev1.Money{Currency: high}}}})
	}
	role := func(r *ententev1.Role) *ententev1.Record {
		r.Person = reference("P-1")
		return with(&ententev1.Body{Kind: &ententev1.Body_Role{Role: r}})
	}
	means := func(kind ententev1.MeansOfCommunicationType, seen *timestamppb.Timestamp) *ententev1.Record {
		return changed(func(r *ententev1.Record) {
			r.GetBody().GetPerson().Communication = []*ententev1.CommunicationMeans{{Type: kind, Value: "v", ObservedAt: seen}}
		})
	}
	biometric := func(basis *ententev1.SpecialCategoryBasis) *ententev1.Record {
		r := with(&ententev1.Body{Kind: &ententev1.Body_Biometric{Biometric: &ententev1.Biometric{}}})
		r.Envelope.SpecialCategory = basis
		return r
	}
	tests := []struct {
		name   string
		record *ententev1.Record
		field  string
	}{
		{"capabilities, each once", rated(1, 2, 3), ""},
		{"a capability twice", rated(1, 2, 1), "body.criminal_group.capabilities"},
		{"proceeds in one currency", earned("EUR", "EUR"), ""},
		{"proceeds in two", earned("EUR", "USD"), "body.criminal_group.proceeds[1].max.currency"},
		{"proceeds with one bound", group(&ententev1.CriminalGroup{Proceeds: []*ententev1.ProceedsEstimate{{Min: &ententev1.Money{Currency: "EUR"}}, {Max: &ententev1.Money{Currency: "EUR"}}}}), ""},
		{"a functional role", role(&ententev1.Role{FunctionalRole: 1}), ""},
		{"a positional role", role(&ententev1.Role{PositionalRole: 1}), ""},
		{"a role in a group", role(&ententev1.Role{FunctionalRole: 1, Group: reference("G-1")}), ""},
		{"a role in oneself", role(&ententev1.Role{FunctionalRole: 1, Group: reference("P-1")}), "body.role.group"},
		{"an IP address with its time", means(6, &timestamppb.Timestamp{Seconds: 5}), ""},
		{"an IP address without", means(6, nil), "body.person.communication[0].observed_at"},
		{"a phone without a time", means(1, nil), ""},
		{"a biometric with a justification", biometric(&ententev1.SpecialCategoryBasis{StrictlyNecessary: true, Justification: "j"}), ""},
		{"a biometric that is not strictly necessary", biometric(&ententev1.SpecialCategoryBasis{Justification: "j"}), "envelope.special_category"},
		{"a biometric that is not justified", biometric(&ententev1.SpecialCategoryBasis{StrictlyNecessary: true}), "envelope.special_category"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expect(t, CheckRecord(test.record), test.field)
		})
	}
}

func TestSameRef(t *testing.T) {
	byID := func(of member.ID, id ...byte) *ententev1.RecordRef {
		return &ententev1.RecordRef{Target: &ententev1.RecordRef_RecordId{RecordId: id}, ProviderMember: string(of)}
	}
	tests := []struct {
		name string
		a, b *ententev1.RecordRef
		want bool
	}{
		{"the same reference", reference("P-1"), reference("P-1"), true},
		{"another reference", reference("P-1"), reference("P-2"), false},
		{"a reference and an id", reference("P-1"), byID("XA", 1), false},
		{"the same id", byID("XA", 1), byID("XA", 1), true},
		{"another id", byID("XA", 1), byID("XA", 2), false},
		{"the same id of another member", byID("XA", 1), byID("XB", 1), false},
		{"no id", byID("XA"), byID("XA"), false},
		{"an id and no reference", byID("XA", 1), nil, false},
		{"no reference and an id", nil, byID("XA", 1), false},
		{"neither", nil, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := sameRef(test.a, test.b); got != test.want {
				t.Errorf("want %v", test.want)
			}
		})
	}
}

func TestARecordIsAnsweredWithAtMost32Violations(t *testing.T) {
	r := changed(func(r *ententev1.Record) { r.CrimeAreas = slices.Repeat(r.CrimeAreas, 50) })
	if got := len(CheckRecord(r)); got != 32 {
		t.Errorf("got %d", got)
	}
}

func TestWhatALessonNeedsAtItsStage(t *testing.T) {
	const (
		identified = ententev1.LessonStage_LESSON_STAGE_LESSON_IDENTIFIED
		learned    = ententev1.LessonStage_LESSON_STAGE_LESSON_LEARNED
	)
	tests := []struct {
		name   string
		stage  ententev1.LessonStage
		change func(*ententev1.Lesson)
		fields []string
	}{
		{"an identified lesson with all it needs", identified, func(l *ententev1.Lesson) { l.Validations = nil }, nil},
		{"without discussion", identified, func(l *ententev1.Lesson) { l.Discussion = "" }, []string{"body.lesson.discussion"}},
		{"without conclusion", identified, func(l *ententev1.Lesson) { l.Conclusion = "" }, []string{"body.lesson.conclusion"}},
		{"without recommendation", identified, func(l *ententev1.Lesson) { l.Recommendation = "" }, []string{"body.lesson.recommendation"}},
		{"without action", identified, func(l *ententev1.Lesson) { l.RemedialActions = nil }, []string{"body.lesson.remedial_actions"}},
		{"a learned lesson with all it needs", learned, func(*ententev1.Lesson) {}, nil},
		{"a learned lesson that nobody validated", learned, func(l *ententev1.Lesson) { l.Validations = nil }, []string{"body.lesson.validations"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := lesson(test.stage)
			l := r.GetBody().GetLesson()
			l.Discussion, l.Conclusion, l.Recommendation = "d", "c", "r"
			l.RemedialActions, l.Validations = []*ententev1.RemedialAction{{Action: "a"}}, []*ententev1.Validation{{Method: "m"}}
			test.change(l)
			if got := fieldsOf(CheckRecord(r)); !slices.Equal(got, test.fields) {
				t.Errorf("want %v, got %v", test.fields, got)
			}
		})
	}
}

func TestReferencesAndReasonsOfWithdrawals(t *testing.T) {
	for length, want := range map[int]bool{0: false, 1: true, 2: true, 200: true, 201: false} {
		if got := ValidReference(strings.Repeat("r", length)); got != want {
			t.Errorf("a reference of %d bytes: want %v", length, want)
		}
	}
	expect(t, CheckReason(ententev1.WithdrawalReason_WITHDRAWAL_REASON_UNLAWFUL), "")
	expect(t, CheckReason(0), "reason")
	expect(t, CheckReason(200), "reason")
}

func TestClearChain(t *testing.T) {
	project := &member.Project{Participants: []member.ID{"XA", "XB"}, Number: 2}
	chain := []*ententev1.SignedDocument{{Type: "1"}, {Type: "2"}, {Type: "3"}}
	tests := []struct {
		name    string
		reader  member.ID
		project *member.Project
		want    int // documents; 0: refused
	}{
		{"to one that takes part", "XA", project, 2},
		{"to one that does not", "XC", project, 0},
		{"to nobody", "", &member.Project{Participants: []member.ID{""}, Number: 2}, 0},
		{"of a project with one document", "XB", &member.Project{Participants: []member.ID{"XB"}, Number: 1}, 1},
		{"of a project that has more documents than are here", "XB", &member.Project{Participants: []member.ID{"XB"}, Number: 9}, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cleared, ok := ClearChain(test.reader, test.project, chain)
			if ok != (test.want > 0) || len(cleared.Value()) != test.want || cap(cleared.Value()) != test.want {
				t.Errorf("want %d documents, got %v with %d", test.want, ok, len(cleared.Value()))
			}
		})
	}
}
