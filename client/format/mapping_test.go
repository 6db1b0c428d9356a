package format_test

import (
	"strings"
	"testing"

	"entente.example/entente/client/format"
)

// minimal is a mapping that works; tests change one thing in it.
const minimal = `format: jsonl
reference: {column: id}
version: {column: v}
release: {column: "to[]", all: "*", projects: {P: project-1}}
envelope:
  purpose: CRIMINAL_INVESTIGATION
  assertion: FACT
  recorded_at: {column: day}
  retain_until: {column: day, add: 5y}
rows:
  - when: {t: delete}
    withdrawal: {reason: OWNER_DECISION}
  - when: {t: person}
    person:
      status: {column: s, table: {a: SUSPECT, b: VICTIM}}
      names[].family: {column: "n[].f"}
      dates_of_birth[]: {column: dob}
    derived:
      - suffix: "#role"
        needs: functional_role
        role:
          person: {row: reference}
          functional_role: {column: r, table: {boss: ORGANISER, none: ""}}
`

func parse(t testing.TB, text string) *format.Mapping {
	t.Helper()
	m, err := format.ParseMapping(strings.NewReader(text), "m.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAMappingThatCannotWorkIsRefusedWithLineAndWhatIsAllowed(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           []string
	}{
		{"an unknown key at the top", "format: jsonl", "format: jsonl\nfromat: csv", []string{"m.yaml:2:", `"fromat"`, "allowed", "format"}},
		{"an unknown key in a rule", "when: {t: person}", "wenn: {t: person}", []string{"m.yaml:13:", `"wenn"`, "person", "when"}},
		{"an unknown key of a source", "{column: dob}", "{colum: dob}", []string{"m.yaml:17:", `"colum"`, "column"}},
		{"an unknown key of release", `all: "*"`, `everyone: "*"`, []string{"m.yaml:4:", `"everyone"`, "all"}},
		{"an unknown field path", "names[].family", "names[].surname", []string{"m.yaml:16:", `"surname"`, "family"}},
		{"an unknown field of the envelope", "  purpose:", "  aim:", []string{"m.yaml:6:", `"aim"`, "purpose"}},
		{"an unknown code", "CRIMINAL_INVESTIGATION", "CURIOSITY", []string{"m.yaml:6:", `"CURIOSITY"`, "CRIMINAL_INVESTIGATION"}},
		{"an unknown code in a table", "b: VICTIM", "b: VICTIMM", []string{"m.yaml:15:", `"VICTIMM"`, "VICTIM"}},
		{"the zero of a code list", "b: VICTIM", "b: UNSPECIFIED", []string{"m.yaml:15:", `"UNSPECIFIED"`}},
		{"an unknown kind of record", "    person:", "    human:", []string{"m.yaml:14:", `"human"`, "person", "association"}},
		{"an unknown table", "{column: dob}", "{column: dob, table: dates}", []string{"m.yaml:17:", `"dates"`}},
		{"two kinds in a rule", "    person:", "    role: {}\n    person:", []string{"m.yaml:15:", "one kind"}},
		{"a list written as one value", "dates_of_birth[]", "dates_of_birth", []string{"m.yaml:17:", "write dates_of_birth[]"}},
		{"one value written as a list", "status:", "status[]:", []string{"m.yaml:15:", "not a list"}},
		{"a list of a row for one value", "{column: s, table: {a: SUSPECT, b: VICTIM}}", `{column: "s[]"}`, []string{"m.yaml:15:", "is a list, the field is not"}},
		{"a message without a field", "names[].family", "names[]", []string{"m.yaml:16:", "is a message", "family"}},
		{"a field twice", "dates_of_birth[]: {column: dob}", "names[].family : {column: \"n[].g\"}", []string{"twice"}},
		{"no purpose", "  purpose: CRIMINAL_INVESTIGATION\n", "", []string{"envelope.purpose"}},
		{"no reference", "reference: {column: id}\n", "", []string{"reference"}},
		{"a constant reference", "reference: {column: id}", "reference: X-1", []string{"m.yaml:2:", "constant"}},
		{"the version in the envelope", "  assertion: FACT", "  assertion: FACT\n  version: \"1\"", []string{"m.yaml:8:", "envelope.version"}},
		{"a span that is none", "5y", "five years", []string{"m.yaml:9:", "span"}},
		{"a span on what is no time", "{column: dob}", "{column: dob, add: 1y}", []string{"m.yaml:17:", "only a time"}},
		{"a pattern without a group", "{column: dob}", `{column: dob, pattern: "[0-9]+"}`, []string{"m.yaml:17:", "group"}},
		{"a date form without a year", "{column: dob}", "{column: dob, date: DD.MM}", []string{"m.yaml:17:", "YYYY"}},
		{"a derived record without needs", "        needs: functional_role\n", "", []string{"m.yaml:19:", "needs"}},
		{"needs that are not mapped", "needs: functional_role", "needs: rank_title", []string{"rank_title"}},
		{"an own release of a derived record", "        needs: functional_role\n", "        needs: functional_role\n        release: {value: \"*\"}\n", []string{"m.yaml:21:", "of its row"}},
		{"a source with two origins", "{column: dob}", "{column: dob, value: \"1970\"}", []string{"exactly one"}},
		{"an option without a column", "{column: dob}", "{value: \"1970\", required: true}", []string{"required"}},
		{"a second document", "rows:", "---\nrows:", []string{"one YAML document"}},
		{"an alias", "FACT", "&a FACT", []string{"m.yaml:7:", "anchors"}},
		{"a key twice", "format: jsonl", "format: jsonl\nformat: csv", []string{"m.yaml:2:", "twice"}},
		{"a delimiter without csv", "format: jsonl", "format: jsonl\ncsv: {delimiter: \";\"}", []string{"m.yaml:2:", "csv"}},
		{"another format", "format: jsonl", "format: xml", []string{"m.yaml:1:", "csv or jsonl"}},
		{"no rules", "rows:", "rows: []\nmember: XA\ntables: {}\nx:", []string{"x"}},
	}
	parse(t, minimal) // positive control: without a change it works
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(minimal, tt.old) {
				t.Fatalf("the mapping has no %q to change", tt.old)
			}
			_, err := format.ParseMapping(strings.NewReader(strings.Replace(minimal, tt.old, tt.new, 1)), "m.yaml")
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message lacks %q: %v", want, err)
				}
			}
		})
	}
}

func TestTheMemberIsTheMappingsElseTheBaseNameOfTheFile(t *testing.T) {
	if got := parse(t, minimal).Member("/data/XB.jsonl"); got != "XB" {
		t.Errorf("member %q", got)
	}
	if got := parse(t, "member: XC\n"+minimal).Member("/data/XB.jsonl"); got != "XC" {
		t.Errorf("member %q", got)
	}
}

func FuzzParseMapping(f *testing.F) {
	f.Add(minimal)
	f.Add("a: &a [*a]")
	f.Add("format: csv\nrows: [{files: '[', when: {a: b}, reference: {column: x}, withdrawal: {reason: 1}}]")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := format.ParseMapping(strings.NewReader(text), "m.yaml")
		if (m == nil) == (err == nil) {
			t.Fatalf("mapping %v, error %v", m, err)
		}
		if err == nil {
			drain(t, m.Open(strings.NewReader("{\"t\":\"person\"}\na,b\n1,2\n"), "f", ""))
		}
	})
}
