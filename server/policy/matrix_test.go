package policy

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// The golden matrix of the policy is testdata/matrix.txt, for a lawyer to read. It is written by
//
//	go test ./server/policy -run Matrix -update
//
// and is then what the program is held to: the test reads it back, and compares each cell of the full product of callers,
// methods, handling codes, purposes, readers and subjects with what the policy says.
const matrixFile = "testdata/matrix.txt"

// value is one value of an axis of the matrix: a name for people, and what it stands for.
type value[T any] struct {
	name string
	is   T
}

func handlings() []value[[]ententev1.HandlingCode] {
	var all []value[[]ententev1.HandlingCode]
	for mask := 1; mask < 16; mask++ {
		var names []string
		var codes []ententev1.HandlingCode
		for n := range 4 {
			if mask>>n&1 != 0 {
				names, codes = append(names, fmt.Sprintf("H%d", n)), append(codes, ententev1.HandlingCode(n+1))
			}
		}
		all = append(all, value[[]ententev1.HandlingCode]{strings.Join(names, "+"), codes})
	}
	return append(all, value[[]ententev1.HandlingCode]{"none given", nil}, value[[]ententev1.HandlingCode]{"H0 with a code not known", []ententev1.HandlingCode{1, 9}})
}

// purposes are those of the contract, by their codes P1 to P9, and what is none.
func purposes() []value[ententev1.Purpose] {
	var all []value[ententev1.Purpose]
	for _, p := range knownPurposes() {
		all = append(all, value[ententev1.Purpose]{fmt.Sprintf("P%d", p), p})
	}
	return append(all, value[ententev1.Purpose]{"none", 0}, value[ententev1.Purpose]{"unknown", 99})
}

func levels() []value[ententev1.ClassificationLevel] {
	all := []value[ententev1.ClassificationLevel]{{"not-given", 0}}
	for n := ententev1.ClassificationLevel(1); int(n) < len(ententev1.ClassificationLevel_name); n++ {
		all = append(all, value[ententev1.ClassificationLevel]{strings.TrimPrefix(n.String(), "CLASSIFICATION_LEVEL_"), n})
	}
	return append(all, value[ententev1.ClassificationLevel]{"not-known", 99})
}

// subjects are what a record may be about, as far as the policy tells it apart.
func subjects() []value[*ententev1.Body] {
	human := func(status ententev1.PersonStatus, minor bool) *ententev1.Body {
		return &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Names: []*ententev1.PersonName{{Family: "Invented"}}, Status: status, Minor: minor}}}
	}
	var all []value[*ententev1.Body]
	for n := ententev1.PersonStatus(1); int(n) < len(ententev1.PersonStatus_name); n++ {
		all = append(all, value[*ententev1.Body]{strings.TrimPrefix(n.String(), "PERSON_STATUS_"), human(n, false)})
	}
	hash := &ententev1.MediaRef{Sha256: make([]byte, 32)}
	tie := association(func(a *ententev1.Association) {
		a.Ties = []*ententev1.Tie{{Basis: ententev1.TieBasis_TIE_BASIS_ETHNIC}}
	})
	group := &ententev1.CriminalGroup{Names: []*ententev1.TextName{{Text: "G"}}, TieBases: []ententev1.TieBasis{ententev1.TieBasis_TIE_BASIS_ETHNIC}}
	return append(all,
		value[*ententev1.Body]{"a minor, SUSPECT", human(1, true)},
		value[*ententev1.Body]{"a person without status", human(0, false)},
		value[*ententev1.Body]{"a person of a status not known", human(99, false)},
		value[*ententev1.Body]{"no person", &ententev1.Body{Kind: &ententev1.Body_Location{Location: &ententev1.Location{Point: &ententev1.GeoPoint{}}}}},
		value[*ententev1.Body]{"an ethnic tie", tie.GetBody()},
		value[*ententev1.Body]{"a group with an ethnic tie", &ententev1.Body{Kind: &ententev1.Body_CriminalGroup{CriminalGroup: group}}},
		value[*ententev1.Body]{"a biometric", &ententev1.Body{Kind: &ententev1.Body_Biometric{Biometric: &ententev1.Biometric{Modality: 1, Ref: hash}}}},
	)
}

// askers are how a member may stand to a record of XA. XD takes part in the project whose participants read the record, but
// was left out of the audience by name.
func askers() []value[member.ID] {
	return []value[member.ID]{{"owner", "XA"}, {"reader", "XB"}, {"left-out", "XD"}, {"other", "XE"}}
}

const (
	matrixOwner  = member.ID("XA")
	matrixHolder = member.ID("XB")
	matrixNow    = int64(1_800_000_000)
)

func matrixReaders() []member.ID { return []member.ID{"XA", "XB", "XC"} }

func standings() []string { return []string{"fits", "differs", "unstated"} }

// fits says how the purposes of a record and of a consultation stand to each other, in the words of the matrix.
func fits(record, access ententev1.Purpose) string {
	switch {
	case LabelOfRecord(changed(func(r *ententev1.Record) { r.Envelope.Purpose = record })).Unknown:
		return "unstated"
	case Compatible(record, access):
		return "fits"
	default:
		return "differs"
	}
}

// matrixColumns are what may become of a record, in the order of the columns of section 5.
func matrixColumns() []value[string] {
	return []value[string]{
		{"alone", "it may be shown to that member where it is asked for by itself"},
		{"bulk", "it may be part of a merged view or figure for that member"},
		{"bulk+r", "the same, where the consultation gives a reason for protected persons"},
		{"export", "that member may export what it made from it to a file"},
		{"export+r", "the same, with such a reason"},
		{"export+p", "the same, with such a reason and the owner's permission"},
		{"passed", "what a reader made from it may be passed on to that member"},
		{"passed+p", "the same, with the owner's permission"},
		{"second", "its release waits for a second person"},
		{"to-all", "it may be released to all members"},
		{"to-some", "it may be released to a project or to named members"},
	}
}

// matrixRecord is a record of XA that lacks nothing but what the axes say.
func matrixRecord(codes []ententev1.HandlingCode, purpose ententev1.Purpose, subject *ententev1.Body) *ententev1.Record {
	return changed(func(r *ententev1.Record) {
		r.Envelope.Handling = &ententev1.HandlingConditions{Codes: codes, Text: "text"}
		r.Envelope.Purpose, r.Body = purpose, subject
		r.Envelope.Classification = &ententev1.Classification{Level: official}
		r.Envelope.RetainUntil = &timestamppb.Timestamp{Seconds: 1_890_000_000}
		r.Envelope.SpecialCategory = &ententev1.SpecialCategoryBasis{StrictlyNecessary: true, Justification: "j"}
	})
}

// judged is what the policy says of one record, whoever asks.
type judged struct {
	label                 Label
	second, toAll, toSome bool
}

func judge(r *ententev1.Record) judged {
	l := LabelOfRecord(r)
	sound := protovalidate.Validate(r) == nil && len(CheckRecord(r)) == 0 && len(CheckRelease(r)) == 0
	return judged{
		label: l, second: NeedsApproval(l),
		toAll:  sound && len(CheckSpecial(l, toAllMembers())) == 0,
		toSome: sound && len(CheckSpecial(l, toAProject())) == 0 && len(CheckSpecial(l, toNamed())) == 0,
	}
}

// outcomes is one cell: a bit a column.
func (j judged) outcomes(asker member.ID, purpose ententev1.Purpose) uint16 {
	plain := Access{Purpose: purpose, Clearance: official, Day: matrixNow}
	asked := plain
	asked.ProtectedReason = true
	reads := MayRead(asker, matrixOwner, matrixReaders())
	version := [32]byte{1}
	holds := Source{Owner: matrixOwner, Holder: asker, Commitments: [][32]byte{version}, Label: j.label, Readers: matrixReaders()}
	passes := holds
	passes.Holder = matrixHolder
	permits := func(holder member.ID) []Permission {
		return []Permission{{Owner: matrixOwner, Commitment: version, Holder: holder, Recipients: []member.ID{"XA", "XB", "XC", "XD", "XE"}, Export: true,
			Purpose: j.label.Purpose, Until: matrixNow + 1}}
	}
	export, to := Use{Export: true, Purpose: purpose}, Use{Recipient: asker, Purpose: purpose}
	var bits uint16
	for i, yes := range []bool{
		reads && May(plain, j.label),
		reads && MayBulk(plain, j.label),
		reads && MayBulk(asked, j.label),
		reads && MayBulk(plain, j.label) && MayExport(holds, export, nil, matrixNow),
		reads && MayBulk(asked, j.label) && MayExport(holds, export, nil, matrixNow),
		reads && MayBulk(asked, j.label) && MayExport(holds, export, permits(asker), matrixNow),
		MayPassOn(passes, to, nil, matrixNow),
		MayPassOn(passes, to, permits(matrixHolder), matrixNow),
		j.second, j.toAll, j.toSome,
	} {
		if yes {
			bits |= 1 << i
		}
	}
	return bits
}

// cell names one cell of section 5.
type cell struct{ handling, subject, asker, purpose string }

// recordMatrix asks the policy for the whole of section 5, over all pairs of purposes, and fails where two pairs that stand
// to each other in the same way are judged differently.
func recordMatrix(t *testing.T) map[cell]uint16 {
	t.Helper()
	all := make(map[cell]uint16)
	stand := make(map[[2]ententev1.Purpose]string)
	for _, record := range purposes() {
		for _, access := range purposes() {
			stand[[2]ententev1.Purpose{record.is, access.is}] = fits(record.is, access.is)
		}
	}
	for _, h := range handlings() {
		for _, s := range subjects() {
			for _, record := range purposes() {
				j := judge(matrixRecord(h.is, record.is, s.is))
				for _, access := range purposes() {
					for _, a := range askers() {
						c := cell{h.name, s.name, a.name, stand[[2]ententev1.Purpose{record.is, access.is}]}
						got := j.outcomes(a.is, access.is)
						before, known := all[c]
						if known && before != got {
							t.Fatalf("%v with a record of %s for %s: not judged like the others", c, record.name, access.name)
						}
						all[c] = got
					}
				}
			}
		}
	}
	return all
}

// contractMethods lists the methods of all services of the contract, and of the others that a node registers.
func contractMethods() []string {
	var methods []string
	protoregistry.GlobalFiles.RangeFilesByPackage("entente.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for k := range service.Methods().Len() {
				methods = append(methods, fmt.Sprintf("/%s/%s", service.FullName(), service.Methods().Get(k).Name()))
			}
		}
		return true
	})
	for _, method := range Methods() {
		if !strings.HasPrefix(method, "/entente.v1.") {
			methods = append(methods, method)
		}
	}
	slices.Sort(methods)
	return methods
}

func TestMatrixEachMethodOfTheContractHasItsLine(t *testing.T) {
	lines := slices.Sorted(slices.Values(Methods()))
	if !slices.Equal(contractMethods(), lines) {
		t.Errorf("the contract and the table list other methods:\n%v\n%v", contractMethods(), lines)
	}
}

// trailOf is what a call of a method leaves in the audit trail, in the words of the matrix.
func trailOf(method string) string {
	var words []string
	for _, operation := range NewTable().Leaves(method) {
		words = append(words, strings.ToLower(strings.TrimPrefix(operation.String(), "AUDIT_OPERATION_")))
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, "+")
}

// matrixText is the file.
func matrixText(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	text.WriteString(matrixHead)
	writeCallers(&text)
	writePurposes(&text)
	writeClearance(&text)
	writeRetention(&text)
	writeRecords(&text, recordMatrix(t))
	var trimmed strings.Builder
	for line := range strings.Lines(text.String()) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return trimmed.String()
}

// readMatrix reads the file back: section by section its rows, each with the headings above it.
func readMatrix(t *testing.T) map[string][]matrixRow {
	t.Helper()
	kept, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string][]matrixRow)
	section, headings := "", map[string][]string{}
	for line := range strings.Lines(string(kept)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "== "):
			section, headings = strings.Fields(line)[1], map[string][]string{}
		case strings.HasPrefix(line, "-- "):
			name, values, _ := strings.Cut(strings.TrimPrefix(line, "-- "), ": ")
			headings[name] = strings.Split(values, "; ")
		default:
			rows[section] = append(rows[section], matrixRow{handlings: headings["handling"], subjects: headings["about"], fields: strings.Fields(line)})
		}
	}
	return rows
}

type matrixRow struct {
	handlings, subjects []string // of section 5
	fields              []string
}

// cells are those of section 5 for which a row stands.
func (r matrixRow) cells() []cell {
	var cells []cell
	for _, h := range r.handlings {
		for _, s := range r.subjects {
			for asker := range strings.SplitSeq(r.fields[0], ",") {
				for purpose := range strings.SplitSeq(r.fields[1], ",") {
					cells = append(cells, cell{h, s, asker, purpose})
				}
			}
		}
	}
	return cells
}

// answers reads the cells of a row from a field on.
func (r matrixRow) answers(t *testing.T, from, want int) []bool {
	t.Helper()
	var answers []bool
	for _, field := range r.fields[from:] {
		if field != "yes" && field != "-" {
			t.Fatalf("%v: %q is no answer", r.fields, field)
		}
		answers = append(answers, field == "yes")
	}
	if len(answers) != want {
		t.Fatalf("%v: want %d answers", r.fields, want)
	}
	return answers
}

func TestMatrixIsTheFile(t *testing.T) {
	sameAsFile(t, matrixFile, matrixText(t))
}

func TestMatrixHoldsThePolicy(t *testing.T) {
	if *update {
		sameAsFile(t, matrixFile, matrixText(t))
	}
	rows := readMatrix(t)
	calls := matrixCalls(t, rows["1"])
	matrixPurposes(t, rows["2"])
	matrixClearance(t, rows["3"])
	matrixRetention(t, rows["4"])
	records := matrixRecords(t, rows["5"])
	// What a caller is shown is both: that it may call the method, and that its member may be shown the record. The full
	// product of the two is compared with what the file says, so that neither can make up for the other.
	policy := recordMatrix(t)
	table := NewTable()
	shown := 0
	for _, method := range contractMethods() {
		for i, caller := range matrixCallers() {
			says, does := calls[method][i], table.Allowed(method, caller, matrixOwner)
			for c, bits := range policy {
				if (says && records[c]&1 != 0) != (does && bits&1 != 0) {
					t.Errorf("%s by %s, %v: the file says otherwise", method, caller, c)
				}
				shown++
			}
		}
	}
	t.Logf("%d cells", shown)
}

func matrixCalls(t *testing.T, rows []matrixRow) map[string][]bool {
	t.Helper()
	calls := make(map[string][]bool)
	for _, row := range rows {
		last := len(row.fields) - 1
		method := "/" + row.fields[0]
		if row.fields[last] != trailOf(method) {
			t.Errorf("%s leaves %s in the trail: the file says otherwise", method, trailOf(method))
		}
		row.fields = row.fields[:last]
		answers := row.answers(t, 1, len(matrixCallers())+1)
		if answers[len(matrixCallers())] != AfterLeaving(method) {
			t.Errorf("%s after leaving: the file says otherwise", method)
		}
		calls[method] = answers[:len(matrixCallers())]
	}
	if len(calls) != len(contractMethods()) || len(calls) != len(rows) {
		t.Errorf("the file has %d methods in %d rows, the contract %d", len(calls), len(rows), len(contractMethods()))
	}
	for _, method := range contractMethods() {
		for i, caller := range matrixCallers() {
			if len(calls[method]) == 0 || calls[method][i] != Allowed(method, caller, matrixOwner) {
				t.Errorf("%s by %s: the file says otherwise, or nothing", method, caller)
			}
		}
	}
	return calls
}

func matrixPurposes(t *testing.T, rows []matrixRow) {
	t.Helper()
	if len(rows) != len(purposes()) {
		t.Fatalf("%d rows of purposes", len(rows))
	}
	for i, record := range purposes() {
		for k, yes := range rows[i].answers(t, 1, len(purposes())) {
			if access := purposes()[k]; rows[i].fields[0] != record.name || yes != Compatible(record.is, access.is) {
				t.Errorf("a record of %s for %s: the file says otherwise", record.name, access.name)
			}
		}
	}
}

func matrixClearance(t *testing.T, rows []matrixRow) {
	t.Helper()
	if len(rows) != len(levels()) {
		t.Fatalf("%d rows of levels", len(rows))
	}
	for i, level := range levels() {
		for k, yes := range rows[i].answers(t, 1, len(levels())) {
			if clearance := levels()[k]; rows[i].fields[0] != level.name || yes != mayAt(level.is, clearance.is) {
				t.Errorf("a record of %s with a clearance of %s: the file says otherwise", level.name, clearance.name)
			}
		}
	}
}

// mayAt says whether a sound record of a level is shown to somebody of a clearance.
func mayAt(level, clearance ententev1.ClassificationLevel) bool {
	r := proto.CloneOf(labelled())
	r.Envelope.Classification.Level = level
	return May(Access{Purpose: criminal, Clearance: clearance, Day: matrixNow}, LabelOfRecord(r))
}

// ends are the times of section 4: when a record must be gone, and when somebody asks.
func ends() []value[[2]int64] {
	return []value[[2]int64]{
		{"a-second-before-its-end", [2]int64{matrixNow + 1, matrixNow}}, {"at-its-end", [2]int64{matrixNow, matrixNow}},
		{"after-its-end", [2]int64{matrixNow - 1, matrixNow}}, {"its-end-is-not-given", [2]int64{0, matrixNow}}, {"the-time-is-not-given", [2]int64{matrixNow, 0}},
	}
}

func mayWhen(end [2]int64) bool {
	l := soundLabel()
	l.RetainUntil = end[0]
	return May(Access{Purpose: criminal, Clearance: restricted, Day: end[1]}, l)
}

func matrixRetention(t *testing.T, rows []matrixRow) {
	t.Helper()
	if len(rows) != len(ends()) {
		t.Fatalf("%d rows of retention", len(rows))
	}
	for i, end := range ends() {
		if rows[i].fields[0] != end.name || rows[i].answers(t, 1, 1)[0] != mayWhen(end.is) {
			t.Errorf("%s: the file says otherwise", end.name)
		}
	}
}

func matrixRecords(t *testing.T, rows []matrixRow) map[cell]uint16 {
	t.Helper()
	records := make(map[cell]uint16)
	for _, row := range rows {
		var bits uint16
		for i, yes := range row.answers(t, 2, len(matrixColumns())) {
			if yes {
				bits |= 1 << i
			}
		}
		for _, c := range row.cells() {
			if _, twice := records[c]; twice {
				t.Errorf("%v stands twice", c)
			}
			records[c] = bits
		}
	}
	policy := recordMatrix(t)
	if len(records) != len(policy) {
		t.Errorf("the file has %d cells, the policy %d", len(records), len(policy))
	}
	for c, bits := range policy {
		if is, there := records[c]; !there || is != bits {
			t.Errorf("%v: the file says otherwise, or nothing", c)
		}
	}
	return records
}
