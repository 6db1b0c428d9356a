package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
)

const idOne = "01000000000000000000000000000000"

func TestCommandsSayWhatTheNodeAnswersAndEndWithTheirCode(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		code int
		out  []string // parts of stdout, or of the error where code is not 0
	}{
		{"get shows a record and its readers", "get P-1", 0, []string{"Teodor Varrin, born 1968-04", "project:harbour-light,-XC", "READER", "XB", "delivered"}},
		{"get gives JSON", "get P-1 -o json", 0, []string{`"provider_reference":"P-1"`, `"version":"2"`}},
		{"get of a record that is not there", "get P-2", ExitNotFound, []string{"no such record"}},
		{"get without a record", "get", ExitUsage, []string{"give the record's reference"}},
		{"list", "list", 0, []string{"REFERENCE", "P-1", "person", "released"}},
		{"list stops at its limit", "list --limit 1 -o json", 0, []string{`"P-1"`}},
		{"list of an unknown kind", "list --kind ghost", ExitUsage, []string{"give one of: person, organisation"}},
		{"list of both states", "list --withdrawn --current", ExitUsage, []string{"exclude each other"}},
		{"release", "release P-1 P-2 --to XB,COORD --merge-for XB", 0, []string{"P-2", "accepted"}},
		{"release to nobody", "release P-1", ExitUsage, []string{"--to is not given"}},
		{"withdraw that is rejected", "withdraw P-9 --reason unlawful", ExitRejected, []string{"1 of 1 records"}},
		{"withdraw without a reason", "withdraw P-9", ExitUsage, []string{"released-in-error"}},
		{"view", "view", 0, []string{"entities      2", "hash"}},
		{"view of entities", "view entities", 0, []string{"never facts", "Ilra Moskel", "financier", "XB B2"}},
		{"view of associations by name", "view associations", 0, []string{"Teodor Varrin  finances     Ilra Moskel"}},
		{"view of one entity", "view entity " + idOne, 0, []string{"SOURCE", "FIELD", "ROLE", "Teodor Varrin"}},
		{"view of an entity by a wrong id", "view entity P-1", ExitUsage, []string{"32 hexadecimal digits"}},
		{"view gives JSON", "view -o json", 0, []string{`"entities":[`, `"associations":[`}},
		{"watch that is ended by the node", "view watch", ExitRefused, []string{"the grant has ended"}},
		{"library list", "library list", 0, []string{"Weighing containers twice", "TLP:AMBER+STRICT", "good-practice"}},
		{"library get", "library get XB " + idOne, 0, []string{"Weighing", "Description", "Weigh again at the gate."}},
		{"library without a word", "library", ExitUsage, []string{"library list"}},
		{"health", "health", 0, []string{"SERVING"}},
		{"health of an unknown service", "health nobody", ExitFailed, []string{"does not serve"}},
		{"status", "status", 0, []string{"PEER", "XB", "yes"}},
		{"an unknown flag", "health --colour", ExitUsage, []string{"--help"}},
		{"an unknown form of output", "health -o xml", ExitUsage, []string{"text or json"}},
		{"too many arguments", "status now", ExitUsage, []string{"--help"}},
		{"the exit codes", "help exit-codes", 0, []string{"6  the node is not reachable"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := newDesk(t).run(t, strings.Fields(test.args)...)
			if ExitCode(got.failure) != test.code {
				t.Fatalf("exit code %d, want %d: %v", ExitCode(got.failure), test.code, got.failure)
			}
			text := got.out
			if got.failure != nil {
				text = got.failure.Error()
			}
			for _, part := range test.out {
				if !strings.Contains(text, part) {
					t.Errorf("%q is missing in:\n%s", part, text)
				}
			}
		})
	}
}

func TestEachCommandHasAnExample(t *testing.T) {
	for _, c := range Commands(Env{}) {
		if c.Name() == "exit-codes" {
			continue
		}
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example or no short text", c.Name())
		}
		for _, sub := range c.Commands() {
			if sub.Example == "" {
				t.Errorf("%s has no example", sub.CommandPath())
			}
		}
	}
}

func TestAConsultationCarriesPurposeAndCaseOrIsRefusedBeforeAnyCall(t *testing.T) {
	d := newDesk(t)
	got := d.run(t, "get", "P-1", "--case", "HL-8")
	if got.failure != nil {
		t.Fatal(got.failure)
	}
	if d.node.asked.GetPurpose() != ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION || d.node.asked.GetCaseReference() != "HL-8" {
		t.Errorf("asked with %v", d.node.asked)
	}
	d = newDesk(t)
	got = d.run(t, "get", "P-1", "--config", filepath.Join(d.folder, "bare.yaml"))
	if ExitCode(got.failure) != ExitUsage || !strings.Contains(got.failure.Error(), "--purpose") || d.node.asked != nil {
		t.Errorf("want a refusal that says what to do, got %v", got.failure)
	}
}

func TestAnUnreachableNodeAndARefusedCertificateHaveTheirCodes(t *testing.T) {
	d, other := newDesk(t), newDesk(t)
	got := d.run(t, "health", "--address", "127.0.0.1:1")
	if ExitCode(got.failure) != ExitUnreachable {
		t.Errorf("code %d for %v", ExitCode(got.failure), got.failure)
	}
	got = d.run(t, "health", "--certificate", filepath.Join(other.folder, "c.pem"), "--key", filepath.Join(other.folder, "k.pem"))
	if ExitCode(got.failure) != ExitRefused {
		t.Errorf("code %d for %v", ExitCode(got.failure), got.failure)
	}
	got = d.run(t, "push", "--address", "127.0.0.1:1", d.write(t, "none.jsonl", ""))
	if ExitCode(got.failure) != ExitUnreachable {
		t.Errorf("code %d for %v", ExitCode(got.failure), got.failure)
	}
}

func TestFollowPrintsItemsAndGoesOnFromItsCursorFile(t *testing.T) {
	d := newDesk(t)
	cursor := filepath.Join(d.folder, "cursor")
	got := d.run(t, "follow", "--until-current", "--cursor-file", cursor)
	if got.failure != nil {
		t.Fatal(got.failure)
	}
	for _, part := range []string{"XB  " + idOne + "  person", "Teodor Varrin", "withdrawn", "released-in-error"} {
		if !strings.Contains(got.out, part) {
			t.Errorf("%q is missing in:\n%s", part, got.out)
		}
	}
	if strings.ContainsRune(got.out, '\x1b') {
		t.Error("a name steers the terminal")
	}
	got = d.run(t, "follow", "--until-current", "--cursor-file", cursor, "-o", "json")
	if got.failure != nil {
		t.Fatal(got.failure)
	}
	if len(d.node.cursors) != 2 || d.node.cursors[0] != nil || string(d.node.cursors[1]) != "second" {
		t.Errorf("cursors %q", d.node.cursors)
	}
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%d lines, want 2", len(lines))
	}
	err := os.WriteFile(cursor, []byte("?"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	got = d.run(t, "follow", "--cursor-file", cursor)
	if ExitCode(got.failure) != ExitUsage {
		t.Errorf("a damaged cursor file: %v", got.failure)
	}
}

func recordLine(reference string) string {
	return `{"envelope":{"provider_reference":"` + reference + `","version":"1"},"body":{"person":{"status":"PERSON_STATUS_SUSPECT"}}}` + "\n"
}

func TestPushCountsLinesAndReportsRejects(t *testing.T) {
	d := newDesk(t)
	path := d.write(t, "r.jsonl", recordLine("P-1")+"\n"+recordLine("BAD-1")+"{broken Varrin\n"+recordLine("P-1")+strings.TrimSpace(recordLine("P-2")))
	got := d.run(t, "push", path, "--to", "project:harbour-light,-XC", "-o", "json")
	if ExitCode(got.failure) != ExitRejected || !errors.Is(got.failure, ErrRejected) {
		t.Fatalf("want code 3, got %v", got.failure)
	}
	var tally Tally
	err := json.Unmarshal([]byte(got.out), &tally)
	if err != nil {
		t.Fatal(err)
	}
	if (tally != Tally{Rows: 5, Accepted: 2, Duplicates: 1, Rejected: 2, Items: 4}) {
		t.Errorf("tally %+v", tally)
	}
	for _, part := range []string{path + ":3: envelope.purpose: is required", path + ":4: not a record"} {
		if !strings.Contains(got.err, part) {
			t.Errorf("%q is missing in:\n%s", part, got.err)
		}
	}
	if strings.Contains(got.err, "Varrin") {
		t.Error("a value stands in the rejects")
	}
	if d.node.items[0].GetAudiences()[0].GetProject().GetProjectId() != "harbour-light" {
		t.Errorf("audiences %v", d.node.items[0].GetAudiences())
	}
}

func TestPushReadsStdin(t *testing.T) {
	d := newDesk(t)
	d.stdin = recordLine("P-1") + recordLine("P-2")
	got := d.run(t, "push", "-")
	if got.failure != nil || len(d.node.items) != 2 {
		t.Fatalf("%v, %d items", got.failure, len(d.node.items))
	}
}

func TestImportCountsRowsAndKeepsRejects(t *testing.T) {
	d := newDesk(t)
	d.tty = true
	mapping := d.write(t, "m.yaml", `format: csv
reference: {column: id}
envelope:
  purpose: CRIMINAL_INVESTIGATION
  assertion: FACT
  recorded_at: "2026-01-01"
  retain_until: "2031-01-01"
rows:
  - when: {action: [new]}
    person:
      names[].family: {column: name}
      status: SUSPECT
    derived:
      - suffix: "/role"
        needs: functional_role
        role:
          person: {row: reference}
          functional_role: {column: part, table: {O: ORGANISER}}
`)
	file := d.write(t, "f.csv", "id,action,name,part\nP-1,new,Varrin,O\nBAD-1,new,Moskel,O\nP-2,strange,Dassen,O\nP-1,new,Varrin,O\n")
	rejects := filepath.Join(d.folder, "rejects.jsonl")
	got := d.run(t, "import", "--mapping", mapping, "--rejects", rejects, "-o", "json", file)
	if ExitCode(got.failure) != ExitRejected {
		t.Fatalf("want code 3, got %v", got.failure)
	}
	var tally Tally
	err := json.Unmarshal([]byte(got.out), &tally)
	if err != nil {
		t.Fatal(err)
	}
	if (tally != Tally{Rows: 4, Accepted: 1, Duplicates: 1, Rejected: 2, Items: 6}) {
		t.Errorf("tally %+v", tally)
	}
	if !strings.Contains(got.err, file+":3: envelope.purpose") || !strings.Contains(got.err, file+":4: ") || !strings.Contains(got.err, "4 rows, ") {
		t.Errorf("rejects and progress:\n%s", got.err)
	}
	kept, err := os.ReadFile(rejects)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(kept), "\n") != 2 || !strings.Contains(string(kept), `"row":"BAD-1,new,Moskel,O"`) {
		t.Errorf("rejects file:\n%s", kept)
	}
	got = d.run(t, "import", file)
	if ExitCode(got.failure) != ExitUsage {
		t.Errorf("without a mapping: %v", got.failure)
	}
	if !strings.Contains(d.run(t, "import", "--mapping", mapping, filepath.Join(d.folder, "gone.csv")).failure.Error(), "pushing again is harmless") {
		t.Error("a missing file does not say what was done")
	}
}
