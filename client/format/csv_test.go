package format_test

import (
	"bytes"
	"strings"
	"testing"
)

const csvMapping = `format: csv
csv: {delimiter: ";"}
reference: {column: id}
envelope:
  purpose: CRIMINAL_INVESTIGATION
  assertion: FACT
  recorded_at: {column: day, date: DD.MM.YYYY}
  retain_until: {column: day, date: DD.MM.YYYY, add: 6m}
rows:
  - files: people*.csv
    person:
      status: SUSPECT
      names[].family: {column: family}
      names[].script: {script_of: family}
      communication[].type: PHONE
      communication[].value: {column: phones, split: ","}
      notes: {column: notes}
  - files: other.csv
    withdrawal: {reason: DUPLICATE}
`

const csvHeader = "id;day;family;phones;notes\n"

func TestCSVIsReadAsSpreadsheetsWriteIt(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"plain", csvHeader + "1;02.01.2026;Varrin;;\n", "1 Varrin"},
		{"the last line without its end", csvHeader + "1;02.01.2026;Varrin;;", "1 Varrin"},
		{"a byte order mark", "\xef\xbb\xbf" + csvHeader + "1;02.01.2026;Varrin;;\n", "1 Varrin"},
		{"line ends of Windows", strings.ReplaceAll(csvHeader+"1;02.01.2026;Varrin;;\n2;02.01.2026;Brill;;\n", "\n", "\r\n"), "1 Varrin|2 Brill"},
		{"quoted fields with delimiter, quote and line end", csvHeader + "1;02.01.2026;\"Var;rin\";;\"said \"\"no\"\"\ntwice\"\n2;02.01.2026;Brill;;\n", "1 Var;rin said \"no\"\ntwice|2 Brill"},
		{"a list in a cell", csvHeader + "1;02.01.2026;Varrin;\"+1, +2,,\";\n", "1 Varrin +1 +2"},
		{"another script", csvHeader + "1;02.01.2026;Орвел;;\n", "1 Орвел (Cyrl)"},
		{"columns in another order, and one that nobody reads", "notes;extra;family;id;phones;day\n;x;Varrin;1;;02.01.2026\n", "1 Varrin"},
		{"a header alone", csvHeader, ""},
	}
	m := parse(t, csvMapping)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := drain(t, m.Open(strings.NewReader(tt.file), "/x/people-1.csv", ""))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, row := range rows {
				if row.Err != nil {
					t.Fatal(row.Err)
				}
				p := row.Items[0].GetRecord().GetBody().GetPerson()
				words := []string{row.Reference, p.GetNames()[0].GetFamily()}
				if s := p.GetNames()[0].GetScript(); s != "" {
					words = append(words, "("+s+")")
				}
				for _, c := range p.GetCommunication() {
					words = append(words, c.GetValue())
				}
				if p.GetNotes() != "" {
					words = append(words, p.GetNotes())
				}
				got = append(got, strings.Join(words, " "))
			}
			if s := strings.Join(got, "|"); s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
}

func TestABadCSVRowDoesNotTakeTheNextWithIt(t *testing.T) {
	good := "9;02.01.2026;Brill;;\n"
	tests := []struct{ name, row, want string }{
		{"a column too few", "1;02.01.2026;Varrin;\n", "the row has 4 columns, the header 5"},
		{"a column too many", "1;02.01.2026;Varrin;;;\n", "the row has 6 columns, the header 5"},
		{"a quote that is never closed", "1;02.01.2026;\"Varrin;;\n", "quote"},
		{"a quote inside a field", "1;02.01.2026;Var\"rin\";;\n", "quote"},
		{"a date that is none", "1;31.02.2026;Varrin;;\n", "column day"},
		{"no reference", ";02.01.2026;Varrin;;\n", "column id is empty"},
	}
	m := parse(t, csvMapping)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := drain(t, m.Open(strings.NewReader(csvHeader+good+tt.row+good+good), "people.csv", ""))
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != 4 || rows[0].Err != nil || rows[2].Err != nil || rows[3].Err != nil {
				t.Fatalf("%d rows: %+v", len(rows), rows)
			}
			bad := rows[1].Err
			if bad == nil || !strings.HasPrefix(bad.Error(), "people.csv:3: ") || !strings.Contains(bad.Error(), tt.want) || strings.Contains(bad.Error(), "Varrin") {
				t.Errorf("got %v, want %q", bad, tt.want)
			}
			if string(rows[1].Raw) != tt.row {
				t.Errorf("raw %q", rows[1].Raw)
			}
		})
	}
}

func TestAFileThatCannotBeReadSaysWhy(t *testing.T) {
	tests := []struct{ name, file, text, want string }{
		{"a column that the mapping reads is missing", "people.csv", "id;day;phones;notes\n", `people.csv:1: the header lacks column "family", which m.yaml:10 reads`},
		{"a column twice", "people.csv", "id;id;day;family;phones;notes\n", `column "id" twice`},
		{"empty", "people.csv", "", "no header"},
		{"UTF-16", "people.csv", "\xff\xfei\x00d\x00", "UTF-16"},
		{"no rule for the name", "cars.csv", csvHeader, "no rule of m.yaml"},
	}
	m := parse(t, csvMapping)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := drain(t, m.Open(strings.NewReader(tt.text), tt.file, ""))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzCSVRows(f *testing.F) {
	f.Add([]byte("1;02.01.2026;Varrin;;\r\n\"2\n;\"\"\";;;;\n"))
	f.Add([]byte("\"\n\"x\n\"\"\"\n;;;;\n"))
	m := parse(f, csvMapping)
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, err := drain(t, m.Open(bytes.NewReader(append([]byte(csvHeader), text...)), "people.csv", "XA"))
		if err != nil {
			t.Fatal(err) // with a good header no bytes after it end the file early
		}
		accountFor(t, text, rows)
	})
}
