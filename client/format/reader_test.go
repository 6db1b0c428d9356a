package format_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"entente.example/entente/client/format"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// drain reads to the end and holds the invariants of every row.
func drain(t testing.TB, r *format.Reader) (rows []format.Row, err error) {
	t.Helper()
	last := 0
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		if (row.Err == nil) == (len(row.Items) == 0) || len(row.Items) != len(row.Derived) {
			t.Fatalf("line %d: error %v with %d items, %d marks", row.Line, row.Err, len(row.Items), len(row.Derived))
		}
		if row.Line <= last || len(row.Raw) == 0 {
			t.Fatalf("line %d after %d, %d raw bytes", row.Line, last, len(row.Raw))
		}
		last = row.Line
		rows = append(rows, row)
	}
}

func read(t testing.TB, m *format.Mapping, text string) []format.Row {
	t.Helper()
	rows, err := drain(t, m.Open(strings.NewReader(text), "f.txt", "XA"))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

const goodRow = `{"t":"person","id":"P1","v":1,"s":"a","n":[{"f":"Varrin"}],"dob":"1970-02-28","day":"2026-01-02","r":"boss","to":["*"]}`

func TestABadRowIsRefusedByItselfWithoutRepeatingWhatItSays(t *testing.T) {
	tests := []struct{ name, row, want string }{
		{"broken JSON", `{"t":"person","id":"Varrin`, "not a JSON object"},
		{"a list", `["Varrin"]`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"two objects on a line", goodRow + goodRow, "something after"},
		{"bytes that are no UTF-8", strings.Replace(goodRow, "Varrin", "Varr\xffin", 1), "UTF-8"},
		{"an unknown type", strings.Replace(goodRow, `"person"`, `"Varrin"`, 1), "no rule is for this row (by columns t)"},
		{"no reference", strings.Replace(goodRow, `"P1"`, `""`, 1), "column id is empty"},
		{"an unknown value", strings.Replace(goodRow, `"a"`, `"Varrin"`, 1), "column s has a value that is not in the mapping's table"},
		{"a date that does not exist", strings.Replace(goodRow, "1970-02-28", "1970-02-30", 1), "column dob is not a date"},
		{"a day that is none", strings.Replace(goodRow, "2026-01-02", "soon", 1), "column day is not a day"},
		{"a version that is none", strings.Replace(goodRow, `"v":1`, `"v":"Varrin"`, 1), "column v is not a whole number"},
		{"version 0", strings.Replace(goodRow, `"v":1`, `"v":0`, 1), "column v is 0"},
		{"an object where a value belongs", strings.Replace(goodRow, `"a"`, `{"Varrin":1}`, 1), "column s is a list or an object"},
		{"a value where a list belongs", strings.Replace(goodRow, `[{"f":"Varrin"}]`, `"Varrin"`, 1), "column n[].f is not a list"},
		{"a value where an object belongs", strings.Replace(goodRow, `{"f":"Varrin"}`, `"Varrin"`, 1), "column n[].f is not an object"},
		{"an error in what is derived", strings.Replace(goodRow, `"boss"`, `"Varrin"`, 1), "derived record #role: column r has a value"},
		{"a row beyond the bound", strings.Replace(goodRow, "Varrin", strings.Repeat("Varrin", 1<<18), 1), "longer than"},
	}
	m := parse(t, minimal)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows := read(t, m, goodRow+"\n"+tt.row+"\n\n"+goodRow)
			if len(rows) != 3 || rows[0].Err != nil || rows[2].Err != nil || rows[2].Line != 4 {
				t.Fatalf("%d rows: %+v", len(rows), rows)
			}
			bad := rows[1].Err
			if bad == nil || !strings.Contains(bad.Error(), tt.want) || !strings.HasPrefix(bad.Error(), "f.txt:2: ") {
				t.Fatalf("got %v, want %q", bad, tt.want)
			}
			if strings.Contains(bad.Error(), "Varrin") {
				t.Errorf("the message repeats a value: %v", bad)
			}
			if whole := []byte(tt.row + "\n"); !bytes.HasPrefix(whole, rows[1].Raw) || (len(whole) < 1<<20 && len(rows[1].Raw) != len(whole)) {
				t.Errorf("raw row differs: %d bytes of %d", len(rows[1].Raw), len(whole))
			}
		})
	}
}

func TestDatesKeepWhatIsKnown(t *testing.T) {
	m := parse(t, minimal)
	tests := []struct {
		text, want string
	}{
		{"1970-02-28", "1970-2-28 DATE_PRECISION_DAY"},
		{"1970-02", "1970-2-0 DATE_PRECISION_MONTH"},
		{"1970", "1970-0-0 DATE_PRECISION_YEAR"},
		{"", ""},
	}
	for _, tt := range tests {
		row := read(t, m, strings.Replace(goodRow, "1970-02-28", tt.text, 1))[0]
		got := ""
		for _, d := range row.Items[0].GetRecord().GetBody().GetPerson().GetDatesOfBirth() {
			got += fmt.Sprintf("%d-%d-%d %s", d.GetYear(), d.GetMonth(), d.GetDay(), d.GetPrecision())
		}
		if row.Err != nil || got != tt.want {
			t.Errorf("%q: got %q, want %q (%v)", tt.text, got, tt.want, row.Err)
		}
	}
}

func TestRetentionIsCountedFromTheColumn(t *testing.T) {
	e := read(t, parse(t, minimal), goodRow)[0].Items[0].GetRecord().GetEnvelope()
	if got := e.GetRetainUntil().AsTime().Format("2006-01-02"); got != "2031-01-02" {
		t.Errorf("retained until %s", got)
	}
}

// say writes an item in short.
func say(item *ententev1.PushItem) string {
	if w := item.GetWithdrawal(); w != nil {
		return fmt.Sprintf("withdraw %s v%d", w.GetProviderReference(), w.GetVersion())
	}
	e := item.GetRecord().GetEnvelope()
	return fmt.Sprintf("record %s v%d", e.GetProviderReference(), e.GetVersion())
}

func TestDerivedRecordsFollowTheirRow(t *testing.T) {
	person := func(version int, role string) string {
		return strings.NewReplacer(`"v":1`, fmt.Sprintf(`"v":%d`, version), `"boss"`, `"`+role+`"`).Replace(goodRow) + "\n"
	}
	purge := `{"t":"delete","id":"P1","v":3}` + "\n"
	tests := []struct{ name, file, want string }{
		{"a role that means something is derived", person(1, "boss"), "record P1 v1, record P1#role v1"},
		{"a role that means nothing is not", person(1, "none"), "record P1 v1"},
		{"a correction derives again", person(1, "boss") + person(2, "boss"), "record P1 v1, record P1#role v1; record P1 v2, record P1#role v2"},
		{"a correction that has no role takes it back", person(1, "boss") + person(2, "none"), "record P1 v1, record P1#role v1; record P1 v2, withdraw P1#role v2"},
		{"a deletion takes it back", person(1, "boss") + purge, "record P1 v1, record P1#role v1; withdraw P1 v3, withdraw P1#role v3"},
		{"a deletion takes nothing back that was not derived", person(1, "none") + purge, "record P1 v1; withdraw P1 v3"},
		{"a deletion takes back once", person(1, "boss") + purge + purge, "record P1 v1, record P1#role v1; withdraw P1 v3, withdraw P1#role v3; withdraw P1 v3"},
		{"an older version that comes late derives nothing", person(2, "none") + person(1, "boss"), "record P1 v2; record P1 v1"},
		{"a version below a deletion derives nothing", purge + person(2, "boss"), "withdraw P1 v3; record P1 v2"},
		{"a version above a deletion derives again", purge + person(4, "boss"), "withdraw P1 v3; record P1 v4, record P1#role v4"},
	}
	m := parse(t, minimal)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rows []string
			for _, row := range read(t, m, tt.file) {
				var items []string
				for i, item := range row.Items {
					items = append(items, say(item))
					if row.Derived[i] != (i > 0) {
						t.Errorf("item %d marked derived: %v", i, row.Derived[i])
					}
				}
				rows = append(rows, strings.Join(items, ", "))
			}
			if got := strings.Join(rows, "; "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestReleaseMarksBecomeAudiences(t *testing.T) {
	tests := []struct{ name, marks, want string }{
		{"all members", `["*"]`, "all_members:{}"},
		{"one member", `["XB"]`, `members:{members:"XB"}`},
		{"two members in one audience", `["XB","XC"]`, `members:{members:"XB" members:"XC"}`},
		{"a project", `["P"]`, `project:{project_id:"project-1"}`},
		{"a project and a member", `["P","XB"]`, `project:{project_id:"project-1"} members:{members:"XB"}`},
		{"all members include a named one", `["XB","*"]`, "all_members:{}"},
		{"nobody", `[]`, ""},
		{"null is nobody", `null`, ""},
	}
	m := parse(t, minimal)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row := read(t, m, strings.Replace(goodRow, `["*"]`, tt.marks, 1))[0]
			for _, item := range row.Items {
				var got []string
				for _, a := range item.GetAudiences() {
					got = append(got, strings.ReplaceAll(a.String(), "  ", " "))
				}
				if s := strings.Join(got, " "); s != tt.want || !item.GetReplaceAudiences() {
					t.Errorf("%s: got %q, want %q, replace %v", say(item), s, tt.want, item.GetReplaceAudiences())
				}
			}
		})
	}
	t.Run("without a release key an item says nothing on audiences", func(t *testing.T) {
		m := parse(t, strings.Replace(minimal, "release:", "crime_areas: DRUGS #", 1))
		item := read(t, m, goodRow)[0].Items[0]
		if item.GetReplaceAudiences() || len(item.GetAudiences()) != 0 {
			t.Errorf("got %v", item.GetAudiences())
		}
	})
}

func FuzzJSONRows(f *testing.F) {
	f.Add([]byte(goodRow + "\r\n\n" + `{"t":"delete","id":"P1","v":3}`))
	f.Add([]byte("\xef\xbb\xbf" + goodRow))
	f.Add([]byte(`{"t":"person","id":1e400,"n":[[{}]],"to":[{}]}`))
	m := parse(f, minimal)
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, err := drain(t, m.Open(bytes.NewReader(text), "f", "XA"))
		if err == nil {
			accountFor(t, text, rows)
		}
	})
}

// accountFor holds that every byte of the file that is not a blank line or a byte order mark came out in a row.
func accountFor(t testing.TB, text []byte, rows []format.Row) {
	t.Helper()
	var out []byte
	for _, row := range rows {
		out = append(out, row.Raw...)
	}
	strip := func(b []byte) string {
		var kept strings.Builder
		for line := range bytes.Lines(b) {
			if len(bytes.TrimSpace(line)) > 0 {
				kept.Write(line)
			}
		}
		return kept.String()
	}
	if text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")); len(text) < 1<<20 && strip(out) != strip(text) {
		t.Fatalf("rows hold %q of file %q", out, text)
	}
}
