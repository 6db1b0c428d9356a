package policy

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// update writes the files of testdata anew: go test ./server/policy -update.
var update = flag.Bool("update", false, "write the files of testdata anew instead of comparing")

// sameAsFile compares a text with a file of testdata.
func sameAsFile(t *testing.T, name, text string) {
	t.Helper()
	if *update {
		err := os.WriteFile(name, []byte(text), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	is, was := strings.Split(text, "\n"), strings.Split(string(kept), "\n")
	for i := range max(len(is), len(was)) {
		if i >= len(is) || i >= len(was) || is[i] != was[i] {
			t.Fatalf("%s is another from line %d on; if that was meant, run with -update and read the difference", name, i+1)
		}
	}
}

// pathsOf lists all paths of a message, those of messages before those of what is in them.
func pathsOf(m protoreflect.MessageDescriptor, prefix string) []string {
	var paths []string
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		path := prefix + string(field.Name())
		paths = append(paths, path)
		if field.Message() != nil {
			paths = append(paths, pathsOf(field.Message(), path+".")...)
		}
	}
	return paths
}

// pathsFor lists the paths of a record of a kind.
func pathsFor(kind ententev1.RecordKind) []string {
	body := (&ententev1.Body{}).ProtoReflect().Descriptor().Fields().ByNumber(protoreflect.FieldNumber(kind))
	other := func(path string) bool {
		of, in := strings.CutPrefix(path, "body.")
		name, _, _ := strings.Cut(of, ".")
		return in && name != string(body.Name())
	}
	return slices.DeleteFunc(pathsOf((&ententev1.Record{}).ProtoReflect().Descriptor(), ""), other)
}

func leaving(path string) *ententev1.Treatment {
	return &ententev1.Treatment{LeaveOut: []string{path}}
}

func coarse(path string) *ententev1.Treatment {
	return &ententev1.Treatment{Coarsen: []string{path}}
}

// Each field of each kind either can be treated, and then what remains is a record that may leave, or is refused.
func TestEveryFieldIsTreatedSoundlyOrRefused(t *testing.T) {
	treated := 0
	for _, r := range fullRecords(t) {
		kind := LabelOfRecord(r).Kind
		whole := proto.CloneOf(r)
		for _, path := range pathsFor(kind) {
			for _, treatment := range []*ententev1.Treatment{leaving(path), coarse(path)} {
				got := Treat(r, treatment)
				if !proto.Equal(r, whole) {
					t.Fatalf("%s of %s: the record itself was changed", path, kind)
				}
				if len(CheckTreatment(treatment, kind)) > 0 {
					if got != nil {
						t.Errorf("%s of %s is refused, and treated", path, kind)
					}
					continue
				}
				treated++
				soundlyTreated(t, path, r, got, treatment)
			}
		}
	}
	if treated < 400 {
		t.Errorf("only %d treatments were tried", treated)
	}
}

func soundlyTreated(t *testing.T, path string, r, got *ententev1.Record, treatment *ententev1.Treatment) {
	t.Helper()
	if got == nil {
		t.Fatalf("%s: nothing remains", path)
	}
	err := protovalidate.Validate(got)
	if err != nil {
		t.Errorf("%s: the rest breaks the contract: %v", path, err)
	}
	if violations := append(CheckRecord(got), CheckRelease(got)...); len(violations) > 0 {
		t.Errorf("%s: the rest may not leave: %v", path, violations)
	}
	if proto.Equal(got, r) && strings.HasPrefix(path, "body."+strings.Split(path, ".")[1]) && set(r.ProtoReflect(), strings.Split(path, ".")) {
		t.Errorf("%s: nothing was changed", path)
	}
	if len(treatment.GetLeaveOut()) > 0 && set(got.ProtoReflect(), strings.Split(path, ".")) {
		t.Errorf("%s: it is still there", path)
	}
	if again := Treat(got, treatment); !proto.Equal(again, got) {
		t.Errorf("%s: treated twice it is another", path)
	}
	before, after := LabelOfRecord(r), LabelOfRecord(got)
	after.Special = before.Special
	if before != after {
		t.Errorf("%s: the label was %+v and is %+v", path, before, after)
	}
}

// set says whether a path names something that is there, in one element at least.
func set(m protoreflect.Message, path []string) bool {
	field := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if field == nil || !m.Has(field) {
		return false
	}
	if len(path) == 1 {
		return true
	}
	if !field.IsList() {
		return set(m.Get(field).Message(), path[1:])
	}
	list := m.Get(field).List()
	for i := range list.Len() {
		if set(list.Get(i).Message(), path[1:]) {
			return true
		}
	}
	return false
}

// The file lists for people what can be left out and made coarser. It is held to the code by being made from it.
func TestTheListOfTreatments(t *testing.T) {
	var text strings.Builder
	text.WriteString(`# What a release can leave out of a record, and what it can make coarser, field by field.
#
# A field that is not treated leaves as it is, or stays at home, for the reason given. What a message holds
# is listed below it; of messages that occur in several kinds the list repeats itself. Written by
# go test ./server/policy -update, from the rules themselves.
#
# What "coarser" makes of a value:
`)
	for _, row := range Coarsenings() {
		fmt.Fprintf(&text, "#   %-12s %s\n", row.Of, row.Becomes)
	}
	envelope := true
	for _, r := range fullRecords(t) {
		kind := LabelOfRecord(r).Kind
		fmt.Fprintf(&text, "\n== %s\n", strings.TrimPrefix(kind.String(), "RECORD_KIND_"))
		for _, path := range pathsFor(kind) {
			if !envelope && !strings.HasPrefix(path, "body.") {
				continue
			}
			leave, coarser := refusal(path, kind, false), refusal(path, kind, true)
			switch {
			case leave == "goes into a value that is treated as a whole":
			case leave == "" && coarser == "":
				fmt.Fprintf(&text, "%-56s left out or coarser\n", path)
			case leave == "":
				fmt.Fprintf(&text, "%-56s left out\n", path)
			default:
				fmt.Fprintf(&text, "%-56s %s\n", path, leave)
			}
		}
		envelope = false // the same for all kinds
	}
	sameAsFile(t, "testdata/treatment.txt", text.String())
}

func TestTheTablesOfTreatmentNameWhatThereIs(t *testing.T) {
	messages := map[string]protoreflect.MessageDescriptor{}
	var collect func(m protoreflect.MessageDescriptor)
	collect = func(m protoreflect.MessageDescriptor) {
		messages[string(m.Name())] = m
		for i := range m.Fields().Len() {
			if inner := m.Fields().Get(i).Message(); inner != nil {
				collect(inner)
			}
		}
	}
	collect((&ententev1.Record{}).ProtoReflect().Descriptor())
	for _, row := range keptFields() {
		message, field, _ := strings.Cut(row.field, ".")
		if messages[message] == nil || messages[message].Fields().ByName(protoreflect.Name(field)) == nil || row.reason == "" {
			t.Errorf("%s is nothing of a record, or has no reason", row.field)
		}
	}
	for _, name := range append(wholeValues(), keptValues()...) {
		if messages[string(name)] == nil {
			t.Errorf("%s is nothing of a record", name)
		}
	}
	for _, row := range Coarsenings() {
		if messages[row.Of] == nil || row.Becomes == "" {
			t.Errorf("%s is nothing of a record", row.Of)
		}
	}
	for _, name := range treatableConditions() {
		if (&ententev1.ReleasedEnvelope{}).ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name)) == nil {
			t.Errorf("%s does not leave", name)
		}
	}
}

func TestRequiredReadsTheRulesOfTheContract(t *testing.T) {
	tests := []struct {
		message proto.Message
		field   protoreflect.Name
		want    bool
	}{
		{&ententev1.Envelope{}, "recorded_at", true},                    // required
		{&ententev1.Envelope{}, "provider_reference", true},             // a least number of bytes
		{&ententev1.Envelope{}, "version", true},                        // a least number
		{&ententev1.Envelope{}, "purpose", true},                        // not zero
		{&ententev1.Envelope{}, "collected_at", false},                  //
		{&ententev1.IdentityDocument{}, "number", true},                 // a least length
		{&ententev1.IdentityDocument{}, "state", false},                 // a rule, but none about zero
		{&ententev1.EntryRef{}, "stream_id", true},                      // an exact length
		{&ententev1.MediaRef{}, "sha256", false},                        // an exact length, unless it is missing
		{&ententev1.SpecialCategoryBasis{}, "strictly_necessary", true}, // must be true
		{&ententev1.NamedMembersAudience{}, "members", true},            // a least number of elements
		{&ententev1.NamedMembersAudience{}, "merge_for", false},         //
		{&ententev1.Body{}, "person", true},                             // one of a choice that must be made
		{&ententev1.Audience{}, "members", false},                       // one of a choice that need not
		{&ententev1.Person{}, "images", false},
	}
	for _, test := range tests {
		field := test.message.ProtoReflect().Descriptor().Fields().ByName(test.field)
		if required(field) != test.want {
			t.Errorf("%s: want %v", field.FullName(), test.want)
		}
	}
}

func TestCheckTreatment(t *testing.T) {
	const human = ententev1.RecordKind_RECORD_KIND_PERSON
	newer := leaving("crime_areas")
	unknownField(newer)
	tests := []struct {
		name      string
		treatment *ententev1.Treatment
		kind      ententev1.RecordKind
		fields    []string
	}{
		{"none", nil, human, nil},
		{"an empty one", &ententev1.Treatment{}, human, nil},
		{"a field of the kind", leaving("body.person.residences"), human, nil},
		{"a field within it", leaving("body.person.residences.street"), human, nil},
		{"a field of another kind", leaving("body.person.residences"), ententev1.RecordKind_RECORD_KIND_EVENT, []string{"leave_out[0]"}},
		{"a kind that is not given", leaving("body.person.residences"), 0, []string{"leave_out[0]"}},
		{"a kind of another version", leaving("body.person.residences"), 33, []string{"leave_out[0]"}},
		{"the crime areas", leaving("crime_areas"), human, nil},
		{"no path", leaving(""), human, []string{"leave_out[0]"}},
		{"half a path", leaving("body."), human, []string{"leave_out[0]"}},
		{"a path beyond a text", leaving("body.person.notes.more"), human, []string{"leave_out[0]"}},
		{"an element of a list", leaving("body.person.residences[0]"), human, []string{"leave_out[0]"}},
		{"the whole body", leaving("body"), human, []string{"leave_out[0]"}},
		{"the whole person", leaving("body.person"), human, []string{"leave_out[0]"}},
		{"the whole envelope", leaving("envelope"), human, []string{"leave_out[0]"}},
		{"the ceiling of releases", leaving("envelope.restriction"), human, []string{"leave_out[0]"}},
		{"the classification", leaving("envelope.classification"), human, []string{"leave_out[0]"}},
		{"the status of a person", leaving("body.person.status"), human, []string{"leave_out[0]"}},
		{"that a person is a minor", leaving("body.person.minor"), human, []string{"leave_out[0]"}},
		{"half a date", leaving("body.person.dates_of_birth.day"), human, []string{"leave_out[0]"}},
		{"a date of birth made coarser", coarse("body.person.dates_of_birth"), human, nil},
		{"a name made coarser", coarse("body.person.names"), human, []string{"coarsen[0]"}},
		{"a text made coarser", coarse("body.person.notes"), human, []string{"coarsen[0]"}},
		{"a time of the envelope made coarser", coarse("envelope.collected_at"), human, nil},
		{"the law made coarser", coarse("envelope.legal_basis"), human, []string{"coarsen[0]"}},
		{"the retention made coarser", coarse("envelope.retain_until"), human, []string{"coarsen[0]"}},
		{"a time of a body made coarser", coarse("body.event.started_at"), ententev1.RecordKind_RECORD_KIND_EVENT, []string{"coarsen[0]"}},
		{"each is named", &ententev1.Treatment{LeaveOut: []string{"crime_areas", "x"}, Coarsen: []string{"y", "body.person.dates_of_birth", "z"}}, human,
			[]string{"leave_out[1]", "coarsen[0]", "coarsen[2]"}},
		{"a field of another version", newer, human, []string{"treatment"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := fieldsOf(CheckTreatment(test.treatment, test.kind)); !slices.Equal(got, test.fields) {
				t.Errorf("want %v, got %v", test.fields, got)
			}
		})
	}
}

func TestTreat(t *testing.T) {
	r := changed(func(r *ententev1.Record) {
		p := r.GetBody().GetPerson()
		p.Residences = []*ententev1.Address{{Street: "1 Quay"}, {Country: "XA", Street: "2 Quay"}}
		p.Nationalities = []string{"XA"}
		p.PlaceOfBirth = &ententev1.Address{Locality: "Selwyn"}
	})
	got := Treat(r, &ententev1.Treatment{
		LeaveOut: []string{"body.person.residences.street", "body.person.nationalities", "body.person.place_of_birth.locality", "crime_areas"},
		Coarsen:  []string{"body.person.dates_of_birth"},
	})
	p := got.GetBody().GetPerson()
	if len(p.GetResidences()) != 1 || p.GetResidences()[0].GetCountry() != "XA" || p.GetResidences()[0].GetStreet() != "" {
		t.Errorf("residences: %v", p.GetResidences())
	}
	if p.GetNationalities() != nil || p.GetPlaceOfBirth() != nil || got.GetCrimeAreas() != nil {
		t.Errorf("something was not left out: %v", got)
	}
	if len(p.GetDatesOfBirth()) != 1 || p.GetDatesOfBirth()[0].GetMonth() != 0 || len(p.GetNames()) != 2 {
		t.Errorf("the rest: %v", p)
	}
	if Treat(nil, nil) != nil || Treat(r, leaving("body.person.status")) != nil {
		t.Error("what may not leave was treated")
	}
	if same := Treat(r, nil); !proto.Equal(same, r) || same == r {
		t.Error("without treatment it is not a copy")
	}
	// What has nothing coarse goes, also where it stands alone.
	town := changed(func(r *ententev1.Record) {
		r.GetBody().GetPerson().PlaceOfBirth = &ententev1.Address{Locality: "Selwyn"}
	})
	if got := Treat(town, coarse("body.person.place_of_birth")); got.GetBody().GetPerson().GetPlaceOfBirth() != nil {
		t.Errorf("a place of birth remains: %v", got)
	}
	// A kind that the contract requires stays, even where nothing remains of it.
	place := with(&ententev1.Body{Kind: &ententev1.Body_Location{Location: &ententev1.Location{Notes: "n"}}})
	if got := Treat(place, leaving("body.location.notes")); got.GetBody().GetLocation() == nil {
		t.Errorf("no location remains: %v", got)
	}
	// What is both left out and made coarser is left out.
	both := &ententev1.Treatment{LeaveOut: []string{"body.person.dates_of_birth"}, Coarsen: []string{"body.person.dates_of_birth"}}
	if got := Treat(r, both); len(got.GetBody().GetPerson().GetDatesOfBirth()) != 0 {
		t.Error("what is left out is there, coarser")
	}
}

func TestCoarseValues(t *testing.T) {
	date := func(year, month, day uint32, precision ententev1.DatePrecision) *ententev1.PartialDate {
		return &ententev1.PartialDate{Year: year, Month: month, Day: day, Precision: precision}
	}
	between := func(year, month, until, untilMonth uint32) *ententev1.PartialDate {
		return &ententev1.PartialDate{Year: year, Month: month, UntilYear: until, UntilMonth: untilMonth, UntilDay: untilMonth, Precision: 5}
	}
	point := func(latitude, longitude float64, uncertainty uint32) *ententev1.GeoPoint {
		return &ententev1.GeoPoint{Latitude: latitude, Longitude: longitude, UncertaintyM: uncertainty}
	}
	tests := []struct {
		name      string
		is        proto.Message
		want      proto.Message // nil: nothing remains
		fieldName protoreflect.Name
	}{
		{"of a day the year", date(1984, 2, 29, 1), date(1984, 0, 0, 3), "x"},
		{"of a month the year", date(1984, 2, 0, 2), date(1984, 0, 0, 3), "x"},
		{"of a year itself", date(1984, 0, 0, 3), date(1984, 0, 0, 3), "x"},
		{"about a day is about a year", date(1984, 2, 29, 4), date(1984, 0, 0, 4), "x"},
		{"of an unknown precision the year", date(1984, 2, 29, 9), date(1984, 0, 0, 3), "x"},
		{"of a range the years", between(1984, 3, 1990, 7), between(1984, 0, 1990, 0), "x"},
		{"of an open range the end", between(0, 0, 1990, 7), between(0, 0, 1990, 0), "x"},
		{"without a year nothing", date(0, 2, 29, 4), nil, "x"},
		{"an end of what is no range is none", &ententev1.PartialDate{Year: 1984, UntilYear: 1990, Precision: 4}, date(1984, 0, 0, 4), "x"},
		{"an end alone of what is no range is nothing", &ententev1.PartialDate{UntilYear: 1990, Precision: 4}, nil, "x"},

		{"of a period both years", &ententev1.Period{From: date(1984, 2, 29, 1), To: date(1985, 2, 0, 2)},
			&ententev1.Period{From: date(1984, 0, 0, 3), To: date(1985, 0, 0, 3)}, "x"},
		{"of a period the one that is known", &ententev1.Period{From: date(0, 2, 29, 4), To: date(1985, 2, 0, 2)}, &ententev1.Period{To: date(1985, 0, 0, 3)}, "x"},
		{"of a period the other that is known", &ententev1.Period{From: date(1984, 2, 29, 1), To: date(0, 2, 0, 4)}, &ententev1.Period{From: date(1984, 0, 0, 3)}, "x"},
		{"of an open period the beginning", &ententev1.Period{From: date(1984, 2, 29, 1)}, &ententev1.Period{From: date(1984, 0, 0, 3)}, "x"},
		{"of an empty period nothing", &ententev1.Period{}, nil, "x"},

		{"a time becomes the beginning of its year", at(2026, 8, 9, 7), at(2026, 1, 1, 0), "collected_at"},
		{"a time before 1970 too", at(1961, 8, 9, 7), at(1961, 1, 1, 0), "valid_from"},
		{"the beginning of a year stays", at(2026, 1, 1, 0), at(2026, 1, 1, 0), "valid_from"},
		{"an end becomes the beginning of the next year", at(2026, 8, 9, 7), at(2027, 1, 1, 0), "valid_to"},
		{"an end just after the beginning of a year does not", &timestamppb.Timestamp{Seconds: at(2026, 1, 1, 0).GetSeconds(), Nanos: 1}, at(2027, 1, 1, 0), "valid_to"},
		{"an end at the beginning of a year stays", at(2026, 1, 1, 0), at(2026, 1, 1, 0), "valid_to"},
		{"an end in the last year of all goes", at(9999, 8, 9, 7), nil, "valid_to"},
		{"a beginning in the last year of all does not", at(9999, 8, 9, 7), at(9999, 1, 1, 0), "valid_from"},
		{"an end in the year before becomes the last year", at(9998, 8, 9, 7), at(9999, 1, 1, 0), "valid_to"},

		{"of an address country and region", &ententev1.Address{Country: "XA", Region: "North", Locality: "Selwyn", Street: "1", PostalCode: "2",
			Original: "o", Period: &ententev1.Period{}}, &ententev1.Address{Country: "XA", Region: "North"}, "x"},
		{"of an address the region alone", &ententev1.Address{Region: "North", Locality: "Selwyn"}, &ententev1.Address{Region: "North"}, "x"},
		{"of a town nothing", &ententev1.Address{Locality: "Selwyn"}, nil, "x"},

		{"a point goes to the nearest tenth", point(12.3456, -0.06, 0), point(12.3, -0.1, 10_000), "x"},
		{"and not beyond the pole", point(89.99, 179.97, 500), point(90, 180, 10_500), "x"},
		{"its uncertainty stays within the contract", point(-12.36, 1, 20_095_000), point(-12.4, 1, 20_100_000), "x"},
		{"its uncertainty stays within the contract, whatever it was", point(1, 1.01, 4_294_967_295), point(1, 1, 20_100_000), "x"},
		{"a point that does not move is as certain as before", point(1, 1, 30_000), point(1, 1, 30_000), "x"},
		{"but never more certain than to ten kilometres", point(1.5, 1, 200), point(1.5, 1, 10_000), "x"},
		{"a move by longitude alone counts", point(1.5, 1.04, 30_000), point(1.5, 1, 40_000), "x"},

		{"of a sum the first digit", &ententev1.Money{MinorUnits: 987_654, Currency: "EUR", Date: date(2026, 2, 3, 1)},
			&ententev1.Money{MinorUnits: 900_000, Currency: "EUR", Date: date(2026, 0, 0, 3)}, "x"},
		{"of a debt the first digit", &ententev1.Money{MinorUnits: -1_999, Currency: "EUR"}, &ententev1.Money{MinorUnits: -1_000, Currency: "EUR"}, "x"},
		{"a date without year goes", &ententev1.Money{MinorUnits: 10, Date: date(0, 2, 3, 4)}, &ententev1.Money{MinorUnits: 10}, "x"},
		{"of a quantity the first digit", &ententev1.Quantity{Thousandths: 1_500, Unit: "kg"}, &ententev1.Quantity{Thousandths: 1_000, Unit: "kg"}, "x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var by func(proto.Message, protoreflect.FieldDescriptor) bool
			for _, row := range Coarsenings() {
				if row.Of == string(test.is.ProtoReflect().Descriptor().Name()) {
					by = row.by
				}
			}
			field := (&ententev1.Envelope{}).ProtoReflect().Descriptor().Fields().ByName(test.fieldName)
			remains := by(test.is, field)
			if remains != (test.want != nil) {
				t.Fatalf("remains: %v, of %v", remains, test.is)
			}
			if remains && !proto.Equal(test.is, test.want) {
				t.Errorf("want %v, got %v", test.want, test.is)
			}
		})
	}
	for tenth := -1800; tenth <= 1800; tenth++ {
		p := point(float64(tenth)/20, float64(tenth)/10, 20_000)
		coarsePoint(p)
		once := proto.CloneOf(p)
		if coarsePoint(p); !proto.Equal(p, once) {
			t.Errorf("at %d it is not the same twice", tenth)
		}
	}
	for n, want := range map[int64]int64{0: 0, 9: 9, -9: -9, 10: 10, 19: 10, -10: -10, 99: 90, 100: 100, 9_223_372_036_854_775_807: 9_000_000_000_000_000_000,
		-9_223_372_036_854_775_808: -9_000_000_000_000_000_000} {
		if got := firstDigit(n); got != want {
			t.Errorf("of %d: want %d, got %d", n, want, got)
		}
	}
}

func at(year, month, day, hour int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(year, time.Month(month), day, hour, 0, 0, hour, time.UTC))
}
