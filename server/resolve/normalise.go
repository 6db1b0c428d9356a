package resolve

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// latinOf writes letters that compatibility decomposition leaves alone in plain Latin ones: Cyrillic and Greek after
// the passport rules of ICAO 9303 (without marks), and Latin letters that are not a base letter with a mark.
var latinOf = romanisation()

// romanisation is the table behind latinOf: lower case letter to Latin letters, possibly none.
func romanisation() map[rune]string {
	return map[rune]string{
		// Cyrillic; letters with a mark are decomposed before they come here.
		'а': "a", 'б': "b", 'в': "v", 'г': "g", 'ґ': "g", 'д': "d", 'ђ': "d", 'е': "e", 'є': "ie", 'ж': "zh", 'з': "z",
		'ѕ': "dz", 'и': "i", 'і': "i", 'ј': "j", 'к': "k", 'л': "l", 'љ': "lj", 'м': "m", 'н': "n", 'њ': "nj", 'о': "o",
		'п': "p", 'р': "r", 'с': "s", 'т': "t", 'ћ': "c", 'у': "u", 'ф': "f", 'х': "kh", 'ц': "ts", 'ч': "ch",
		'џ': "dz", 'ш': "sh", 'щ': "shch", 'ъ': "", 'ы': "y", 'ь': "", 'э': "e", 'ю': "iu", 'я': "ia", '\u02bc': "",
		// Greek.
		'α': "a", 'β': "v", 'γ': "g", 'δ': "d", 'ε': "e", 'ζ': "z", 'η': "i", 'θ': "th", 'ι': "i", 'κ': "k", 'λ': "l",
		'μ': "m", 'ν': "n", 'ξ': "x", 'ο': "o", 'π': "p", 'ρ': "r", 'σ': "s", 'ς': "s", 'τ': "t", 'υ': "y", 'φ': "f",
		'χ': "ch", 'ψ': "ps", 'ω': "o",
		// Latin.
		'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'đ': "d", 'ð': "d", 'þ': "th", 'ł': "l", 'ħ': "h", 'ı': "i", 'ŋ': "n",
	}
}

// normaliseText writes text in lower case without marks and punctuation, in Latin letters where the table has them,
// with one space between words. An apostrophe joins what it parts (O'Neill); any other sign parts words.
func normaliseText(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	gap := false
	for _, r := range norm.NFKD.String(strings.ToValidUTF8(text, " ")) {
		switch {
		case unicode.Is(unicode.M, r) || r == '\'' || r == '’' || r == '`' || r == '\u02bc':
			continue
		case !unicode.IsLetter(r) && !unicode.IsNumber(r):
			gap = b.Len() > 0
			continue
		}
		lower := unicode.ToLower(r)
		latin, known := latinOf[lower]
		if !known {
			latin = string(lower)
		}
		if latin == "" {
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteString(latin)
	}
	return b.String()
}

// normaliseName writes a name as its words in alphabetical order, so that "Petrov Ivan" and "Ivan PETROV" are equal. It
// is empty for a name that identifies nobody together with a birthday: fewer than two words, or an initial among them.
func normaliseName(parts ...string) string {
	words := strings.Fields(normaliseText(strings.Join(parts, " ")))
	if len(words) < 2 {
		return ""
	}
	for _, word := range words {
		if len(word) < 2 {
			return ""
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// normaliseNumber keeps the letters and digits of a number, without spaces and signs, in one case. It is empty for what
// stands where a number is missing: shorter than least characters, without a digit, or one character repeated.
func normaliseNumber(number string, least int) string {
	joined := strings.ReplaceAll(normaliseText(number), " ", "")
	if len(joined) < least || !strings.ContainsAny(joined, "0123456789") {
		return ""
	}
	if strings.Trim(joined, joined[:1]) == "" {
		return ""
	}
	return joined
}

// digitsOf keeps the digits of text.
func digitsOf(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}
