package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// words splits a command line as a shell does: at blanks, but for what stands in double quotes.
func words(line string) []string {
	var list []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			list = append(list, part)
			continue
		}
		list = append(list, strings.Fields(part)...)
	}
	return list
}

// told is a command line with what the node must be told and what must be printed.
type told struct {
	name, args string
	code       int
	sent       []string // parts of the JSON of the last request
	out        []string // parts of stdout, or of the error where code is not 0
}

func (test told) run(t *testing.T, d *desk) result {
	t.Helper()
	got := d.run(t, words(test.args)...)
	if ExitCode(got.failure) != test.code {
		t.Fatalf("exit code %d, want %d: %v", ExitCode(got.failure), test.code, got.failure)
	}
	text := got.out
	if got.failure != nil {
		text += got.failure.Error()
	}
	for _, part := range test.out {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
	for _, part := range test.sent {
		if !strings.Contains(d.node.last(), part) {
			t.Errorf("%q was not sent; that was: %s", part, d.node.last())
		}
	}
	if test.code == ExitUsage && d.node.last() != "" && len(test.sent) == 0 {
		t.Errorf("wrong usage was sent: %s", d.node.last())
	}
	if strings.ContainsRune(got.out, '\x1b') {
		t.Errorf("a value steers the terminal:\n%q", got.out)
	}
	return got
}

// all runs command lines one after the other; the node remembers requests of one only.
func all(t *testing.T, d *desk, tests []told) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d.node.requests = nil
			test.run(t, d)
		})
	}
}

func TestReleasesSayWhichRecordsToWhomInWhichForm(t *testing.T) {
	why := `"consultation":{"purpose":"PURPOSE_CRIMINAL_INVESTIGATION","case_reference":"HL-7","officer":"vera"}`
	all(t, newDesk(t), []told{
		{"references alone go as they always did", "release P-1 P-2 --to XB", 0, []string{`{"provider_references":["P-1","P-2"],"audiences":[{"members":{"members":["XB"]}}]}`}, []string{"accepted"}},
		{"an officer is named", "release P-1 --to XB --on-behalf vera", 0, []string{why}, nil},
		{"a form goes with each audience", "release P-1 --to XB --to all --leave-out body.person.residences --leave-out body.person.remarks --coarsen body.person.dates_of_birth", 0,
			[]string{`{"members":{"members":["XB"]},"treatment":{"leave_out":["body.person.residences","body.person.remarks"],"coarsen":["body.person.dates_of_birth"]}}`,
				`{"all_members":{},"treatment":{"leave_out"`}, nil},
		{"a selection adds up", "release P-1 --record " + idOne + " --project harbour-light --query kind=person,kind=vehicle,released=false --to XB", ExitUsage, nil, []string{"give one of: person"}},
		{"a selection adds up, with a query", "release P-1 --record " + idOne + " --project harbour-light --query kind=person,kind=firearm,crime-area=drugs,tie=kinship,recorded-from=2026-01-01,released=false --to XB", 0,
			[]string{`"selection":{"provider_references":["P-1"],"record_ids":["AQAAAAAAAAAAAAAAAAAAAA=="],"project_id":"harbour-light","query":{"kinds":["RECORD_KIND_PERSON","RECORD_KIND_FIREARM"],` +
				`"crime_areas":["CRIME_AREA_DRUGS"],"tie_bases":["TIE_BASIS_KINSHIP"],"recorded_from":"2026-01-01T00:00:00Z","released":false}}`}, []string{"no record fits"}},
		{"no record at all", "release --to XB", ExitUsage, nil, []string{"say which records"}},
		{"a form for nobody", "release P-1 --replace --leave-out body.person.residences", ExitUsage, nil, []string{"go with --to"}},
		{"a condition that is none", "release --query person --to XB", ExitUsage, nil, []string{"is no condition"}},
		{"a condition that is not known", "release --query colour=red --to XB", ExitUsage, nil, []string{`no "colour"`}},
		{"a condition with a wrong time", "release --query recorded-from=yesterday --to XB", ExitUsage, nil, []string{"recorded-from: give a day"}},
		{"a wrong id", "release --record P-1 --to XB", ExitUsage, nil, []string{"32 hexadecimal digits"}},
		{"a withdrawal with erasure", "withdraw P-9 --reason unlawful --erase --on-behalf vera", ExitRejected, []string{`"reason":"WITHDRAWAL_REASON_UNLAWFUL",` + why + `,"erase":true`}, nil},
	})
}

func TestAnOfficerIsNamedOnlyWithPurposeAndCase(t *testing.T) {
	d := newDesk(t)
	bare := filepath.Join(d.folder, "bare.yaml")
	got := d.run(t, "release", "P-1", "--to", "XB", "--on-behalf", "vera", "--config", bare)
	if ExitCode(got.failure) != ExitUsage || d.node.last() != "" {
		t.Errorf("on behalf without purpose: %v", got.failure)
	}
	got = d.run(t, "release", "P-1", "--to", "XB", "--config", bare)
	if got.failure != nil || strings.Contains(d.node.last(), "consultation") {
		t.Errorf("a system by itself: %v, sent %s", got.failure, d.node.last())
	}
	got = d.run(t, "push", d.write(t, "r.jsonl", recordLine("P-1")), "--on-behalf", "vera")
	if got.failure != nil || !strings.Contains(d.node.last(), `"officer":"vera"`) {
		t.Errorf("a push on behalf: %v, sent %s", got.failure, d.node.last())
	}
}

func TestADryRunShowsWhatEachRecipientsFormLacks(t *testing.T) {
	d := newDesk(t)
	test := told{"", "release P-1 --to XB,XC --dry-run", 0, nil, []string{
		"P-1  " + idOne, "needs a second person", "names a minor", "holds it no longer", "XD", "COORD (project harbour-light, stands already)", "whole",
		"XB, XC (bilateral)", "without body.person.names.given", "body.person.dates_of_birth: 1968-04 → 1968",
		"stays at home", "envelope.evaluation: is missing", "waits", "2 records; nothing was released"}}
	test.run(t, d)
	if d.node.release != nil {
		t.Error("something was released")
	}
	got := told{"", "release P-1 --to XB,XC --dry-run -o json", 0, []string{`"selection":{"provider_references":["P-1"]}`}, nil}.run(t, d)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	var first struct {
		Forms []struct {
			Member string
			Form   struct {
				Body struct {
					Person struct{ Names []struct{ Family string } }
				}
			} `json:"released_record"`
		}
	}
	err := json.Unmarshal([]byte(lines[0]), &first)
	if err != nil || len(lines) != 2 || len(first.Forms) != 3 || first.Forms[1].Form.Body.Person.Names[0].Family != "Varrin" {
		t.Errorf("%v in %d lines: %s", err, len(lines), got.out)
	}
}

func TestSecondPersonsSeeWhatTheyDecideOn(t *testing.T) {
	all(t, newDesk(t), []told{
		{"pending shows who asked, why, and each value", "pending", 0, nil, []string{idOne + "@3-abc", "vera", "names a minor", "XB, XC (bilateral) gets:",
			"body.person.names.family", "body.person.dates_of_birth  1968", "XB (without body.person.names.given; rough body.person.dates_of_birth)"}},
		{"pending gives JSON with the forms decoded", "pending -o json", 0, nil, []string{`"proposed_by":"vera"`, `"family":"Varrin"`}},
		{"approve sends the version that is pending", "approve " + idOne, 0, []string{`"versions":["3"],"states":["2748"],"approve":true`}, []string{"accepted"}},
		{"approve sends the version that was looked at", "approve " + idOne + "@2-a1", ExitRejected, []string{`"versions":["2"]`, `"states":["161"]`}, []string{"has changed since"}},
		{"approve of what does not wait", "approve 02000000000000000000000000000000", ExitUsage, []string{"page_token"}, []string{"nothing was decided"}},
		{"approve of a wrong version", "approve " + idOne + "@x", ExitUsage, nil, []string{"a number from 1"}},
		{"approve of version 0", "approve " + idOne + "@0", ExitUsage, nil, []string{"a number from 1"}},
		{"approve of a reference", "approve P-1", ExitUsage, nil, []string{"RECORD-ID must be an id"}},
		{"refuse says why", "refuse " + idOne + " --reason \"the source is at risk\"", 0, []string{`"versions":["3"],"states":["2748"],"reason":"the source is at risk"`}, []string{"accepted"}},
		{"refuse without a reason", "refuse " + idOne, ExitUsage, nil, []string{"give --reason"}},
	})
}

func TestRestrictionsHoldsAndRenewalsCarryTheirReason(t *testing.T) {
	all(t, newDesk(t), []told{
		{"restrict", "restrict P-1 P-2 --reason contested", 0, []string{`"provider_references":["P-1","P-2"],"reason":"contested"`, `"case_reference":"HL-7"`}, []string{"P-2", "accepted"}},
		{"lift a restriction", "restrict P-1 --reason confirmed --lift --on-behalf vera", 0, []string{`"lift":true`, `"officer":"vera"`}, nil},
		{"restrict without a reason", "restrict P-1", ExitUsage, nil, []string{"say why"}},
		{"hold", "hold P-1 --reason \"court XA 17\" --until 2027-06-30", 0, []string{`"reason":"court XA 17","until":"2027-06-30T00:00:00Z"`}, nil},
		{"hold until a time", "hold P-1 --reason c --until 2027-06-30T12:00:00+02:00", 0, []string{`"until":"2027-06-30T10:00:00Z"`}, nil},
		{"lift a hold", "hold P-1 --reason closed --lift", 0, []string{`"lift":true`}, nil},
		{"hold without an end", "hold P-1 --reason c", ExitUsage, nil, []string{"--until"}},
		{"hold with an end and lifted", "hold P-1 --reason c --lift --until 2027-06-30", ExitUsage, nil, []string{"--until"}},
		{"hold until some time", "hold P-1 --reason c --until spring", ExitUsage, nil, []string{"--until: give a day"}},
		{"renew", "renew P-1 --until 2029-01-01 --justification active", 0, []string{`"retain_until":"2029-01-01T00:00:00Z","justification":"active"`}, nil},
		{"renew for too long", "renew P-1 BAD-2 --until 2099-01-01 --justification active", ExitRejected, nil, []string{"later than the profile allows", "1 of 2 records"}},
		{"renew without a justification", "renew P-1 --until 2029-01-01", ExitUsage, nil, []string{"--justification"}},
		{"due", "due", 0, []string{`"within":"15552000s"`}, []string{"P-1", "until 2026-09-21 14:13:20Z: court XA 17", "yes"}},
		{"due within days", "due --within 30d", 0, []string{`"within":"2592000s"`}, nil},
		{"due within hours", "due --within 36h -o json", 0, []string{`"within":"129600s"`}, []string{`"hold":{"reason":"court XA 17"`}},
		{"due within nothing", "due --within soon", ExitUsage, nil, []string{"days (180d)"}},
		{"due in the past", "due --within -1h", ExitUsage, nil, []string{"days (180d)"}},
		{"sent marks what is overdue", "sent XB", 0, nil, []string{"! overdue", "2026-09-21 14:13:20Z", "applied", "/5"}},
		{"sent and open", "sent XB --open -o json", 0, []string{`"member":"XB","open_only":true`}, []string{`"state":"DELIVERY_STATE_OVERDUE"`}},
		{"sent to a stranger", "sent XC", ExitNotFound, []string{`"XC"`}, []string{"no such member"}},
		{"sent to no name", "sent nobody", ExitUsage, nil, []string{"nobody"}},
	})
}

func TestPermissionsSayWhoWhatAndUntilWhen(t *testing.T) {
	all(t, newDesk(t), []told{
		{"permit", "permit P-1 --holder XB --for XD --for XC --export --for-purpose threat-analysis --until 2027-01-01", 0,
			[]string{`"provider_reference":"P-1","holder":"XB","recipients":["XC","XD"],"export":true,"purpose":"PURPOSE_THREAT_ANALYSIS","until":"2027-01-01T00:00:00Z"`,
				`"consultation":{"purpose":"PURPOSE_CRIMINAL_INVESTIGATION"`}, []string{"permitted: entry 09000000000000000000000000000000/12"}},
		{"permit nothing", "permit P-1 --holder XB --for-purpose threat-analysis --until 2027-01-01", ExitUsage, nil, []string{"what is permitted"}},
		{"permit nobody", "permit P-1 --export --for-purpose threat-analysis --until 2027-01-01", ExitUsage, nil, []string{"--holder"}},
		{"permit for no purpose", "permit P-1 --holder XB --export --until 2027-01-01", ExitUsage, nil, []string{"--for-purpose"}},
		{"permit for ever", "permit P-1 --holder XB --export --for-purpose threat-analysis", ExitUsage, nil, []string{"--until"}},
		{"revoke", "permit revoke 09000000000000000000000000000000/12", 0, []string{`"entry":{"stream_id":"CQAAAAAAAAAAAAAAAAAAAA==","sequence":"12"}`}, []string{"taken back"}},
		{"revoke no entry", "permit revoke 09000000000000000000000000000000", ExitUsage, nil, []string{"STREAM/SEQUENCE"}},
		{"revoke entry 0", "permit revoke 09000000000000000000000000000000/0", ExitUsage, nil, []string{"from 1"}},
		{"permissions given", "permissions", 0, nil, []string{"XC,XD", "threat-analysis", "IN FORCE"}},
		{"permissions received", "permissions --received -o json", 0, []string{`"received":true`}, []string{`"in_force":true`}},
	})
}

func TestOperatorsCompactAndConfirmTheClock(t *testing.T) {
	all(t, newDesk(t), []told{
		{"compact", "compact", 0, nil, []string{"9.4 MB before, 3.1 MB after, 9 values"}},
		{"compact gives JSON", "compact -o json", 0, nil, []string{`{"bytes_before":"9400000","bytes_after":"3100000","values":"9"}`}},
		{"the clock", "clock confirm", 0, []string{`"now":"`}, []string{"clock confirmed until", "no quorum heard"}},
		{"the clock without a word", "clock", ExitUsage, nil, []string{"clock confirm"}},
	})
}

func TestGetAndListShowRestrictionHoldRetentionAndWhatIsOverdue(t *testing.T) {
	d := newDesk(t)
	held := heldPerson()
	held.Restricted, held.Hold, held.RetainUntil = true, &ententev1.LegalHold{Reason: "court XA 17", Until: before(0)}, before(0)
	treated := audienceOf("XD")
	treated.Treatment = &ententev1.Treatment{LeaveOut: []string{"body.person.residences"}}
	held.Audiences, held.Pending = append(held.Audiences, treated), []uint32{1}
	held.Deliveries[0].State, held.Deliveries[0].SentAt = ententev1.DeliveryState_DELIVERY_STATE_OVERDUE, before(0)
	d.node.person = held
	told{"", "get P-1", 0, nil, []string{
		"restricted, held, overdue", "until 2026-09-21 14:13:20Z: court XA 17", "retain until     2026-09-21", "released to      project:harbour-light,-XC\n",
		"not yet decided  XD (without body.person.residences)", "! overdue  no         2026-09-21 14:13:20Z"}}.run(t, d)
	told{"", "list", 0, nil, []string{"restricted, held, overdue  2026-09-21 14:13:20Z  project:harbour-light,-XC pending: XD (without body.person.residences)"}}.run(t, d)
	held.Restricted, held.Withdrawn, held.Erased = false, true, true
	told{"", "list", 0, nil, []string{"withdrawn, erased, held, overdue"}}.run(t, d)
}

func TestAViewIsExportedWithItsBannersAndWithoutFormulas(t *testing.T) {
	d := newDesk(t)
	path := filepath.Join(d.folder, "view.csv")
	told{"", "view export --recipient \"prosecutor 17\" --handle " + idOne + " --format csv --protected-reason \"needed for the case\" --out " + path, 0,
		[]string{`"handles":["AQAAAAAAAAAAAAAAAAAAAA=="],"recipient":"prosecutor 17"`, `"protected_reason":"needed for the case"`},
		[]string{"! H2: not to be passed on\n", "2 rows; 4 left out"}}.run(t, d)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, want := range []string{
		"kind,id,field,value,sources,grades,handling,classification,retain_until,banners",
		"head,,banner,H2: not to be passed on,", "head,,reader,XA,", "head,,view,ab,", "head,,rows,2,", "head,,left out without permission,4,",
		"person," + idOne + ",name,'=HYPERLINK(1),XB/" + idOne + ",B2 (),H2,confidential,2026-09-21T14:13:20Z,H2: not to be passed on | restricted",
		"person," + idOne + ",number,'+311555,", "person," + idOne + ",role,financier,",
		"association,05000000000000000000000000000000,from," + idOne + ",", "association,05000000000000000000000000000000,association,finances,",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d of\n%s\nis not %s", i+1, text, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file: %v, %v", info.Mode(), err)
	}

	path = filepath.Join(d.folder, "view.jsonl")
	got := told{"", "view export --recipient x -o json --out " + path, 0, nil, []string{`"rows":2`, `"without_permission":4`}}.run(t, d)
	text, err = os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), `{"head":{"banners":["H2: not to be passed on"],`) || strings.Count(string(text), "\n") != 3 || !json.Valid([]byte(got.out)) {
		t.Errorf("%v\n%s", err, text)
	}
	if !strings.Contains(string(text), `"banners":["lead for checking"]`) {
		t.Errorf("a row without its banner:\n%s", text)
	}
}

func TestAnExportThatIsNotWholeLeavesNoFile(t *testing.T) {
	d := newDesk(t)
	there := d.write(t, "there.jsonl", "something")
	out := filepath.Join(d.folder, "new.jsonl")
	all(t, d, []told{
		{"cut short", "view export --recipient cut --out " + out, ExitFailed, []string{"cut"}, []string{"without a result"}},
		{"with a wrong count", "view export --recipient miscounted --out " + out, ExitFailed, []string{"miscounted"}, []string{"gave 1 rows and counts 2"}},
		{"over a file that is there", "view export --recipient x --out " + there, ExitUsage, nil, []string{"there already"}},
		{"for nobody", "view export --out " + out, ExitUsage, nil, []string{"--recipient"}},
		{"in an unknown form", "view export --recipient x --format xml --out " + out, ExitUsage, nil, []string{"jsonl or csv"}},
	})
	left, err := filepath.Glob(filepath.Join(d.folder, "new*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	kept, err := os.ReadFile(there)
	if err != nil || string(kept) != "something" {
		t.Errorf("the file that was there: %q, %v", kept, err)
	}
}

func TestTheHeadOfAnExportHasTheBannersOfH1AndH2(t *testing.T) {
	row := func(banners []string, codes ...ententev1.HandlingCode) *ententev1.ExportRow {
		return &ententev1.ExportRow{Banners: banners, Content: &ententev1.ExportRow_Association{
			Association: &ententev1.ViewAssociation{Handling: &ententev1.HandlingConditions{Codes: codes}}}}
	}
	const h0, h1, h2 = ententev1.HandlingCode_HANDLING_CODE_H0, ententev1.HandlingCode_HANDLING_CODE_H1, ententev1.HandlingCode_HANDLING_CODE_H2
	for _, test := range []struct {
		name string
		rows []*ententev1.ExportRow
		want string
	}{
		{"none for H0", []*ententev1.ExportRow{row([]string{"H0: a"}, h0)}, ""},
		{"each once", []*ententev1.ExportRow{row([]string{"H1: a", "c"}, h1), row([]string{"H1: a", "H2: b"}, h1, h2)}, "H1: a|H2: b"},
		{"one whose code is not known here", []*ententev1.ExportRow{row([]string{"H2: b"}, 77)}, "H2: b"},
		{"all of a row where none names the code", []*ententev1.ExportRow{row([]string{"not to be passed on", "c"}, h2)}, "not to be passed on|c"},
	} {
		t.Run(test.name, func(t *testing.T) {
			done := &exportedView{}
			for _, one := range test.rows {
				done.note(one)
			}
			if got := strings.Join(done.banners, "|"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCellsThatAreFormulasAreMadeHarmless(t *testing.T) {
	for cell, want := range map[string]string{
		"": "", "Varrin": "Varrin", "=1": "'=1", "+311": "'+311", "-1": "'-1", "@a": "'@a", "\t=1": "'\t=1", "\rx": "'\rx", " =1": "' =1",
		"＝1": "'＝1", "a=b": "a=b", "1968-04": "1968-04",
	} {
		if got := harmless(cell); got != want {
			t.Errorf("%q became %q, want %q", cell, got, want)
		}
	}
}

func TestTheExamplesOfAllCommandsParse(t *testing.T) {
	root := &cobra.Command{Use: "entente"}
	root.AddCommand(Commands(Env{})...)
	seen := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			_, after, piped := strings.Cut(line, "| ")
			if piped {
				line = after
			}
			seen++
			args := words(strings.TrimSpace(line))
			found, rest, err := root.Find(args[1:])
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil || !strings.HasPrefix(found.CommandPath(), c.CommandPath()) {
				t.Errorf("%s: example %q: %v", c.CommandPath(), strings.TrimSpace(line), err)
			}
		}
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(root)
	if seen < 60 {
		t.Errorf("only %d examples were seen", seen)
	}
}
