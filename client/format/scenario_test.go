package format_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"buf.build/go/protovalidate"
	"entente.example/entente/client/format"
	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	examples  = "../../docs/examples"
	generator = "../../../shared/scenario/scenario.py"
)

// readMapping reads one of the mappings that are shown to users.
func readMapping(t testing.TB, name string) *format.Mapping {
	t.Helper()
	f, err := os.Open(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := format.ParseMapping(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// generate writes the scenario of a number of persons into a new directory.
func generate(t testing.TB, persons string) string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: python3 is not here, so no scenario files are made")
	}
	if _, err := os.Stat(generator); err != nil {
		t.Skip("SKIPPED, NOT TESTED: the scenario generator is not beside this repository")
	}
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), python, generator, "--persons", persons, "--seed", "1", "--out", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("make scenario: %v: %s", err, out)
	}
	return dir
}

// readFile maps a whole file and hands each row on.
func readFile(t testing.TB, m *format.Mapping, path string, each func(format.Row)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reader := m.Open(f, path, m.Member(path))
	for {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		each(row)
	}
}

// validate holds each record of a row against the field rules of the contract.
func validate(t testing.TB, row format.Row) {
	t.Helper()
	for _, item := range row.Items {
		if item.GetRecord() == nil {
			continue
		}
		if err := protovalidate.Validate(item.GetRecord()); err != nil {
			t.Fatalf("%s:%d: %v", row.File, row.Line, err)
		}
	}
}

func TestEveryRowOfTheScenarioMapsToWhatTheContractTakes(t *testing.T) {
	for _, size := range []string{"101", "10000"} {
		t.Run(size+" persons", func(t *testing.T) {
			if size == "10000" && testing.Short() {
				t.Skip("SKIPPED, NOT TESTED: the large scenario, because of -short")
			}
			dir := generate(t, size)
			m := readMapping(t, "scenario.yaml")
			for _, member := range []string{"XA", "XB", "XC", "XD"} {
				checkScenarioFile(t, m, filepath.Join(dir, member+".jsonl"), member)
			}
		})
	}
}

func checkScenarioFile(t *testing.T, m *format.Mapping, path, member string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := countRows(t, text)
	got := make(map[string]int)
	line := 0
	live := make(map[string]uint64) // highest version of each record, to hold what is derived against its source
	readFile(t, m, path, func(row format.Row) {
		line++
		if row.Err != nil {
			t.Fatalf("refused: %v", row.Err)
		}
		if row.Line != line || row.Reference == "" || len(row.Items) != len(row.Derived) || row.Derived[0] {
			t.Fatalf("row %d: line %d, %d items, %d marks", line, row.Line, len(row.Items), len(row.Derived))
		}
		validate(t, row)
		got[rowType(row)]++
		countDerived(t, row, got, live)
		for _, item := range row.Items {
			if r := item.GetRecord(); r != nil && r.GetEnvelope().GetProviderMember() != member {
				t.Fatalf("line %d: provider %q", line, r.GetEnvelope().GetProviderMember())
			}
		}
	})
	for kind, n := range want {
		if got[kind] != n {
			t.Errorf("%s: %d rows of %s, the file has %d", member, got[kind], kind, n)
		}
	}
	if got["derived"] == 0 {
		t.Errorf("%s: no role was derived", member)
	}
}

func rowType(row format.Row) string {
	item := row.Items[0]
	if item.GetWithdrawal() != nil {
		return "purge"
	}
	switch item.GetRecord().GetBody().GetKind().(type) {
	case *ententev1.Body_Person:
		return "entity"
	case *ententev1.Body_Association:
		return "relation"
	case *ententev1.Body_Lesson:
		return "lesson"
	case *ententev1.Body_GoodPractice:
		return "practice"
	}
	return "unexpected"
}

// countDerived holds what a row derives against the row.
func countDerived(t *testing.T, row format.Row, got map[string]int, live map[string]uint64) {
	t.Helper()
	for i, item := range row.Items[1:] {
		if !row.Derived[i+1] {
			t.Fatalf("line %d: item %d is not the row's own and not derived", row.Line, i+1)
		}
		if w := item.GetWithdrawal(); w != nil {
			if live[w.GetProviderReference()] == 0 || w.GetReason() == ententev1.WithdrawalReason_WITHDRAWAL_REASON_UNSPECIFIED {
				t.Fatalf("line %d: takes back %s, which was not derived", row.Line, w.GetProviderReference())
			}
			delete(live, w.GetProviderReference())
			continue
		}
		e := item.GetRecord().GetEnvelope()
		if e.GetProviderReference() != row.Reference+"#role" || e.GetVersion() != row.Items[0].GetRecord().GetEnvelope().GetVersion() {
			t.Fatalf("line %d: derived %s version %d", row.Line, e.GetProviderReference(), e.GetVersion())
		}
		live[e.GetProviderReference()] = e.GetVersion()
		got["derived"]++
	}
	if rowType(row) == "purge" && live[row.Reference+"#role"] != 0 {
		t.Fatalf("line %d: the purge leaves the role of %s behind", row.Line, row.Reference)
	}
}

func TestEveryRowOfThePeopleExampleMapsToWhatTheContractTakes(t *testing.T) {
	m := readMapping(t, "people.yaml")
	counts := make(map[string]int)
	for _, name := range []string{"people.csv", "contacts.csv"} {
		readFile(t, m, filepath.Join(examples, name), func(row format.Row) {
			if row.Err != nil {
				t.Fatal(row.Err)
			}
			validate(t, row)
			counts[rowType(row)]++
		})
	}
	want := map[string]int{"entity": 9, "purge": 1, "relation": 10}
	for kind, n := range want {
		if counts[kind] != n {
			t.Errorf("%d rows of %s, want %d", counts[kind], kind, n)
		}
	}
}

// BenchmarkScenario maps the four files of 10,000 persons; the bound is 3 s for all of them.
func BenchmarkScenario(b *testing.B) {
	dir := generate(b, "10000")
	m := readMapping(b, "scenario.yaml")
	rows := 0
	for b.Loop() {
		for _, member := range []string{"XA", "XB", "XC", "XD"} {
			readFile(b, m, filepath.Join(dir, member+".jsonl"), func(format.Row) { rows++ })
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
