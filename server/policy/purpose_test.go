package policy

import (
	"slices"
	"strings"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// The table of purposes, written out by hand: one row a purpose of the record, one mark a purpose of the consultation.
const purposeMatrix = `
        P1 P2 P3 P4 P5 P6 P7 P8 P9
P1      x  x  x  .  .  .  .  x  .
P2      x  x  x  .  .  .  .  .  .
P3      .  .  x  .  .  .  .  .  x
P4      .  .  x  x  .  .  .  x  x
P5      .  .  .  .  x  x  .  .  .
P6      .  .  x  .  x  x  .  .  .
P7      .  .  .  .  .  .  x  .  .
P8      .  .  .  .  .  .  .  x  .
P9      .  .  x  .  .  .  .  .  x
`

func TestCompatibleIsTheTableOfPurposes(t *testing.T) {
	rows := 0
	for row := range strings.Lines(purposeMatrix) {
		fields := strings.Fields(row)
		if len(fields) != 10 {
			continue
		}
		rows++
		for i, mark := range fields[1:] {
			record, access := ententev1.Purpose(rows), ententev1.Purpose(i+1)
			if got := Compatible(record, access); got != (mark == "x") {
				t.Errorf("a record of %s for %s: got %v", record, access, got)
			}
		}
	}
	if rows != len(ententev1.Purpose_name)-1 {
		t.Errorf("the contract has %d purposes, the matrix %d", len(ententev1.Purpose_name)-1, rows)
	}
}

func TestAPurposeThatIsNotGivenOrNotKnownIsCompatibleWithNothing(t *testing.T) {
	for number := int32(-20); number < 80; number++ {
		p := ententev1.Purpose(number)
		if number >= 1 && number <= 9 {
			if !Compatible(p, p) {
				t.Errorf("%s does not fit itself", p)
			}
			continue
		}
		for other := int32(-20); other < 80; other++ {
			o := ententev1.Purpose(other)
			if Compatible(p, o) || Compatible(o, p) {
				t.Errorf("%d and %d are compatible", number, other)
			}
		}
	}
	var all purposeSet = 0xffff
	for _, number := range []ententev1.Purpose{-1, 0, 16, 32} {
		if all.has(number) {
			t.Errorf("a set has %d", number)
		}
	}
}

func TestPurposeTableIsForPeople(t *testing.T) {
	rows := PurposeTable()
	if len(rows) != 9 {
		t.Fatalf("want 9 rows, got %d", len(rows))
	}
	for i, row := range rows {
		if row.Record != ententev1.Purpose(i+1) || len(row.Reason) < 20 || !slices.Contains(row.Uses, row.Record) {
			t.Errorf("row %d: %v", i, row)
		}
		for p := range ententev1.Purpose_name {
			access := ententev1.Purpose(p)
			if slices.Contains(row.Uses, access) != Compatible(row.Record, access) {
				t.Errorf("%s for %s: the table for people says something else", row.Record, access)
			}
		}
		if !slices.IsSorted(row.Uses) {
			t.Errorf("%v is not in order", row.Uses)
		}
	}
	if uses, reason := usesOf(99); uses != 0 || reason == "" {
		t.Error("a purpose that is not known has uses, or no reason")
	}
}
