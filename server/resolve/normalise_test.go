package resolve

import "testing"

func TestNormaliseName(t *testing.T) {
	tests := []struct {
		name  string
		parts []string
		want  string
	}{
		{"the order of words does not matter", []string{"Petrov", "Ivan"}, "ivan petrov"},
		{"case and spaces do not matter", []string{"  PETROV ", "ivan"}, "ivan petrov"},
		{"marks are left out", []string{"Müller", "José"}, "jose muller"},
		{"a hyphen parts words", []string{"Smith-Jones", "Ann"}, "ann jones smith"},
		{"an apostrophe joins", []string{"O'Neill", "Kim"}, "kim oneill"},
		{"Cyrillic is romanised", []string{"Петров", "Иван"}, "ivan petrov"},
		{"Greek is romanised", []string{"Παπας", "Νίκος"}, "nikos papas"},
		{"Latin letters without decomposition are spelt out", []string{"Łukasz", "Strauß"}, "lukasz strauss"},
		{"full width letters are compatible", []string{"Ｐetrov", "Ivan"}, "ivan petrov"},
		{"a single word identifies nobody", []string{"Petrov", ""}, ""},
		{"an initial identifies nobody", []string{"Petrov", "I."}, ""},
		{"nothing identifies nobody", nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := normaliseName(test.parts...)
			if got != test.want {
				t.Errorf("normaliseName(%q) = %q, want %q", test.parts, got, test.want)
			}
		})
	}
}

func TestNormaliseNumber(t *testing.T) {
	tests := []struct{ name, number, want string }{
		{"spaces, signs and case do not matter", "ab-12 34/x", "ab1234x"},
		{"too short", "a12", ""},
		{"no digit", "unknown", ""},
		{"one character repeated", "000000", ""},
		{"empty", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := normaliseNumber(test.number, 4)
			if got != test.want {
				t.Errorf("normaliseNumber(%q) = %q, want %q", test.number, got, test.want)
			}
		})
	}
}

func FuzzNormaliseIsIdempotent(f *testing.F) {
	for _, seed := range []string{"Петров Иван", "O’Neill-Łuk", "Ａß\u0345", "ŉ x", "\xf7ŉ", "İ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := normaliseText(text)
		twice := normaliseText(once)
		if once != twice {
			t.Errorf("normalised once %q, twice %q", once, twice)
		}
	})
}
