package format

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	ententev1 "entente.example/entente/proto/entente/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Messages that one text fills: everything else is filled field by field.
var textMessages = map[protoreflect.FullName]bool{
	"google.protobuf.Timestamp": true,
	"entente.v1.PartialDate":    true,
	"entente.v1.RecordRef":      true,
}

// scalar is a value of a row as text. A list or an object is none.
func scalar(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return strings.TrimSpace(v), nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("is a list or an object, not a single value")
}

// codec says how a text is read beyond what the field's type says.
type codec struct {
	layout   string // of dates, in the form of package time; "" = ISO 8601 only
	add      span   // added to a time
	encoding string // of bytes: hex (default) or base64
}

// convert reads text, which is not empty, as a value of a field. Its errors never repeat the text.
func (c codec) convert(fd protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.EnumKind:
		number, ok := enumNumber(fd.Enum(), text)
		if !ok {
			return protoreflect.Value{}, fmt.Errorf("is no code of %s", fd.Enum().Name())
		}
		return protoreflect.ValueOfEnum(number), nil
	case protoreflect.BytesKind:
		return c.bytes(text)
	case protoreflect.MessageKind:
		return c.message(fd.Message(), text)
	}
	return convertNumber(fd.Kind(), text)
}

func convertNumber(kind protoreflect.Kind, text string) (protoreflect.Value, error) {
	switch kind {
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return protoreflect.Value{}, errors.New("is neither true nor false; a value table can say which is which")
		}
		return protoreflect.ValueOfBool(text == "true"), nil
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		return protoreflect.ValueOfUint32(uint32(n)), notNumber(err, "a whole number from 0 to 4294967295")
	case protoreflect.Uint64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		return protoreflect.ValueOfUint64(n), notNumber(err, "a whole number from 0")
	case protoreflect.Int64Kind:
		n, err := strconv.ParseInt(text, 10, 64)
		return protoreflect.ValueOfInt64(n), notNumber(err, "a whole number")
	case protoreflect.DoubleKind:
		n, err := strconv.ParseFloat(text, 64)
		return protoreflect.ValueOfFloat64(n), notNumber(err, "a number")
	}
	return protoreflect.Value{}, fmt.Errorf("fields of type %s cannot be mapped", kind)
}

// notNumber hides what package strconv says, because that repeats the value.
func notNumber(err error, want string) error {
	if err == nil {
		return nil
	}
	return errors.New("is not " + want)
}

func (c codec) bytes(text string) (protoreflect.Value, error) {
	decode, name := hex.DecodeString, "hexadecimal digits"
	if c.encoding == "base64" {
		decode, name = base64.StdEncoding.DecodeString, "base64"
	}
	b, err := decode(text)
	if err != nil {
		return protoreflect.Value{}, errors.New("is not written in " + name)
	}
	return protoreflect.ValueOfBytes(b), nil
}

func (c codec) message(md protoreflect.MessageDescriptor, text string) (protoreflect.Value, error) {
	switch md.FullName() {
	case "entente.v1.RecordRef":
		ref := &ententev1.RecordRef{Target: &ententev1.RecordRef_ProviderReference{ProviderReference: text}}
		return protoreflect.ValueOfMessage(ref.ProtoReflect()), nil
	case "entente.v1.PartialDate":
		date, err := parseDate(text, c.layout)
		if err != nil {
			return protoreflect.Value{}, err
		}
		return protoreflect.ValueOfMessage(date.ProtoReflect()), nil
	case "google.protobuf.Timestamp":
		t, err := parseTime(text, c.layout)
		if err != nil {
			return protoreflect.Value{}, err
		}
		t = c.add.after(t)
		if t.Year() > 9999 {
			return protoreflect.Value{}, errors.New("is beyond the year 9999")
		}
		return protoreflect.ValueOfMessage(timestamppb.New(t).ProtoReflect()), nil
	}
	return protoreflect.Value{}, fmt.Errorf("%s is filled field by field", md.Name())
}

// parseDate reads a date of which only the year, or year and month, may be known.
func parseDate(text, layout string) (*ententev1.PartialDate, error) {
	forms := []struct {
		layout    string
		precision ententev1.DatePrecision
	}{
		{layout, ententev1.DatePrecision_DATE_PRECISION_DAY},
		{time.DateOnly, ententev1.DatePrecision_DATE_PRECISION_DAY},
		{"2006-01", ententev1.DatePrecision_DATE_PRECISION_MONTH},
		{"2006", ententev1.DatePrecision_DATE_PRECISION_YEAR},
	}
	for _, form := range forms {
		if form.layout == "" {
			continue
		}
		t, err := time.Parse(form.layout, text)
		if err != nil || t.Year() < 1 {
			continue
		}
		date := &ententev1.PartialDate{Year: uint32(t.Year()), Precision: form.precision}
		if form.precision != ententev1.DatePrecision_DATE_PRECISION_YEAR {
			date.Month = uint32(t.Month())
		}
		if form.precision == ententev1.DatePrecision_DATE_PRECISION_DAY {
			date.Day = uint32(t.Day())
		}
		return date, nil
	}
	return nil, errors.New("is not a date of the calendar")
}

// parseTime reads a moment: RFC 3339, or a day, which begins at midnight UTC.
func parseTime(text, layout string) (time.Time, error) {
	for _, l := range []string{layout, time.DateOnly, time.RFC3339} {
		if l == "" {
			continue
		}
		t, err := time.Parse(l, text)
		if err == nil && t.Year() >= 1 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("is not a day or a time (RFC 3339)")
}

// parseLayout turns a form such as DD.MM.YYYY into one of package time.
func parseLayout(form string) (string, error) {
	layout := strings.NewReplacer("YYYY", "2006", "MM", "01", "DD", "02").Replace(form)
	for _, part := range []string{"2006", "01", "02"} {
		if strings.Count(layout, part) != 1 {
			return "", errors.New("a date form has YYYY, MM and DD once each, such as DD.MM.YYYY")
		}
	}
	if strings.Trim(layout, "0126./- ") != "" {
		return "", errors.New("a date form has YYYY, MM and DD with points, slashes, hyphens or spaces between")
	}
	return layout, nil
}

// span is a time by the calendar.
type span struct{ years, months, days int }

var spanForm = regexp.MustCompile(`^([0-9]{1,4})([ymd])$`)

// parseSpan reads 5y, 18m or 90d.
func parseSpan(text string) (span, error) {
	m := spanForm.FindStringSubmatch(text)
	if m == nil {
		return span{}, errors.New("a span is a number with y, m or d, such as 5y")
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return span{}, fmt.Errorf("read span: %w", err)
	}
	return map[string]span{"y": {years: n}, "m": {months: n}, "d": {days: n}}[m[2]], nil
}

func (s span) after(t time.Time) time.Time { return t.AddDate(s.years, s.months, s.days) }

// enumNumber finds a code by its name in the contract, with or without the prefix that all codes of the list share, in
// any case. The zero, which means "not given", has no name here: an empty value says that.
func enumNumber(ed protoreflect.EnumDescriptor, name string) (protoreflect.EnumNumber, bool) {
	name = strings.ToUpper(name)
	for _, full := range []string{name, enumPrefix(ed) + name} {
		value := ed.Values().ByName(protoreflect.Name(full))
		if value != nil && value.Number() != 0 {
			return value.Number(), true
		}
	}
	return 0, false
}

// enumPrefix is what the names of all codes of a list begin with: buf's rule ENUM_VALUE_PREFIX. It is read off the
// zero, whose name is the prefix and UNSPECIFIED.
func enumPrefix(ed protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(ed.Values().ByNumber(0).Name()), "UNSPECIFIED")
}

// enumNames are the short names of a list, for messages.
func enumNames(ed protoreflect.EnumDescriptor) string {
	var names []string
	for i := range ed.Values().Len() {
		value := ed.Values().Get(i)
		if value.Number() != 0 {
			names = append(names, strings.TrimPrefix(string(value.Name()), enumPrefix(ed)))
		}
	}
	return strings.Join(names, ", ")
}

// scripts are the scripts that are told apart, by their ISO 15924 codes. Latin is the default of the contract and has
// no line.
var scripts = []struct {
	code  string
	table *unicode.RangeTable
}{
	{"Cyrl", unicode.Cyrillic}, {"Grek", unicode.Greek}, {"Arab", unicode.Arabic}, {"Hebr", unicode.Hebrew},
	{"Armn", unicode.Armenian}, {"Geor", unicode.Georgian}, {"Deva", unicode.Devanagari}, {"Thai", unicode.Thai},
	{"Hang", unicode.Hangul}, {"Hira", unicode.Hiragana}, {"Kana", unicode.Katakana}, {"Hani", unicode.Han},
	{"Ethi", unicode.Ethiopic}, {"Beng", unicode.Bengali}, {"Taml", unicode.Tamil},
}

// scriptOf is the script of the first letter that is not Latin; "" if all letters are Latin or of a script unknown here.
func scriptOf(text string) string {
	for _, r := range text {
		if r < 0x80 || !unicode.IsLetter(r) || unicode.Is(unicode.Latin, r) {
			continue
		}
		for _, s := range scripts {
			if unicode.Is(s.table, r) {
				return s.code
			}
		}
	}
	return ""
}
