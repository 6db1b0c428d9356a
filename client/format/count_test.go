package format_test

import (
	"bytes"
	"encoding/json"
	"testing"
)

// countRows counts the rows of a scenario file by type, by means of its own.
func countRows(t *testing.T, text []byte) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for line := range bytes.Lines(text) {
		var row struct {
			T string `json:"t"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		counts[row.T]++
	}
	return counts
}
