package format

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// source says where the value of one field comes from and how it is read: a constant, a column, the row's own
// reference, or the script in which columns are written.
type source struct {
	constants []string
	column    *column
	own       bool // the row's own reference
	scriptOf  []*column

	required       bool
	pattern        *regexp.Regexp // its first group is the value
	table          map[string]string
	otherwise      *string // for values that the table does not have; nil = the row is refused
	fallback       string  // for empty values
	prefix, suffix string
	codec          codec
}

// rowData is one row while it is mapped.
type rowData struct {
	cells     map[string]any
	reference string
}

// columnError is why a row is refused, with the column at fault. It never has the value.
type columnError struct {
	column string
	err    error
}

func (e *columnError) Error() string {
	if e.column == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("column %s %s", e.column, e.err)
}

func (e *columnError) Unwrap() error { return e.err }

// text is the value as text; "" if there is none. gave tells whether a column had it, in contrast to a constant or a
// default: only what a column has makes a list element or a message exist.
func (s *source) text(r *rowData, index []int) (text string, gave bool, err error) {
	switch {
	case s.own:
		return r.reference, false, nil
	case s.scriptOf != nil:
		text, err = s.script(r, index)
		return text, false, err
	case s.column == nil:
		return s.constant(index), false, nil
	}
	text, err = s.column.text(r.cells, index)
	if err == nil {
		text, gave, err = s.read(text)
	}
	if err != nil {
		return "", false, &columnError{s.column.name, err}
	}
	return text, gave, nil
}

// read turns what stands in the column into the text of the value.
func (s *source) read(text string) (string, bool, error) {
	if text == "" && s.required {
		return "", false, errors.New("is empty")
	}
	if text == "" {
		return s.fallback, false, nil
	}
	if s.pattern != nil {
		m := s.pattern.FindStringSubmatch(text)
		if m == nil {
			return "", false, errors.New("does not have the form that the mapping's pattern asks for")
		}
		text = m[1]
	}
	if s.table != nil {
		value, ok := s.table[text]
		switch {
		case ok:
			text = value
		case s.otherwise != nil:
			text = *s.otherwise
		default:
			return "", false, errors.New("has a value that is not in the mapping's table")
		}
	}
	if text == "" {
		return "", false, nil
	}
	return s.prefix + text + s.suffix, true, nil
}

// constant is the constant; of a list of them the one that belongs to the innermost element.
func (s *source) constant(index []int) string {
	if len(s.constants) == 1 {
		return s.constants[0]
	}
	return s.constants[index[len(index)-1]]
}

func (s *source) script(r *rowData, index []int) (string, error) {
	for _, c := range s.scriptOf {
		text, err := c.text(r.cells, index)
		if err != nil {
			return "", &columnError{c.name, err}
		}
		if code := scriptOf(text); code != "" {
			return code, nil
		}
	}
	return "", nil
}

// value is the value for a field; ok is false if there is none.
func (s *source) value(fd protoreflect.FieldDescriptor, r *rowData, index []int) (v protoreflect.Value, ok, gave bool, err error) {
	text, gave, err := s.text(r, index)
	if err != nil || text == "" {
		return v, false, false, err
	}
	v, err = s.codec.convert(fd, text)
	if err != nil && s.column != nil {
		return v, false, false, &columnError{s.column.name, err}
	}
	if err != nil {
		return v, false, false, err
	}
	return v, true, gave, nil
}

// columns are the columns that the source reads.
func (s *source) columns() []*column {
	if s.column != nil {
		return []*column{s.column}
	}
	return s.scriptOf
}

// compiler holds what is needed to read the sources of a mapping.
type compiler struct {
	csv    bool
	tables map[string]map[string]string
}

// source reads a source for a field that lies in levels lists, and checks whatever can be checked without a row.
func (c *compiler) source(at place, fd protoreflect.FieldDescriptor, levels int) (*source, error) {
	s := &source{}
	var err error
	if at.node.Kind == yamlMapping {
		err = c.sourceKeys(at, s)
	} else {
		s.constants, err = at.texts("a constant")
	}
	if err != nil {
		return nil, err
	}
	if err := s.check(fd, levels); err != nil {
		return nil, at.errorf("%s: %s", fd.Name(), err)
	}
	return s, nil
}

func (c *compiler) sourceKeys(at place, s *source) error {
	entries, err := at.entries("a source")
	if err != nil {
		return err
	}
	var name, split string
	origins := 0
	for _, e := range entries {
		switch e.key {
		case "column":
			name, err = e.value.text(e.key)
			origins++
		case "split":
			split, err = e.value.text(e.key)
		case "value":
			s.constants, err = e.value.texts(e.key)
			origins++
		case "row":
			err = ownReference(e)
			s.own = true
			origins++
		case "script_of":
			s.scriptOf, err = c.scriptColumns(e)
			origins++
		default:
			err = c.sourceOption(e, s)
		}
		if err != nil {
			return err
		}
	}
	if origins != 1 {
		return at.errorf("a source has exactly one of column, value, row, script_of")
	}
	if name == "" {
		return bareSource(at, entries)
	}
	s.column, err = parseColumn(name, split, c.csv)
	if err != nil {
		return at.errorf("%s", err)
	}
	return nil
}

// bareSource refuses options that would have no effect because no column is read.
func bareSource(at place, entries []entry) error {
	if len(entries) == 1 && entries[0].key != "column" {
		return nil
	}
	for _, e := range entries {
		timed := e.key == "add" || e.key == "date" || e.key == "encoding"
		if e.key != "value" && e.key != "row" && e.key != "script_of" && !timed {
			return e.at.errorf("%q needs a column with a name", e.key)
		}
	}
	return nil
}

func ownReference(e entry) error {
	what, err := e.value.text(e.key)
	if err != nil {
		return err
	}
	if what != "reference" {
		return e.value.errorf("\"row\" can only be \"reference\"")
	}
	return nil
}

func (c *compiler) scriptColumns(e entry) ([]*column, error) {
	names, err := e.value.texts(e.key)
	if err != nil {
		return nil, err
	}
	out := make([]*column, 0, len(names))
	for _, name := range names {
		col, err := parseColumn(name, "", c.csv)
		if err != nil {
			return nil, e.value.errorf("%s", err)
		}
		out = append(out, col)
	}
	if len(out) == 0 {
		return nil, e.value.errorf("script_of needs a column")
	}
	return out, nil
}

func (c *compiler) sourceOption(e entry, s *source) (err error) {
	switch e.key {
	case "required":
		s.required, err = e.value.flag(e.key)
		return err
	case "table":
		s.table, err = c.table(e.value)
		return err
	}
	var text string
	if slices.Contains([]string{"otherwise", "default", "prefix", "suffix", "pattern", "date", "add", "encoding"}, e.key) {
		text, err = e.value.text(e.key)
		if err != nil {
			return err
		}
	}
	switch e.key {
	case "otherwise":
		s.otherwise = &text
	case "default":
		s.fallback = text
	case "prefix":
		s.prefix = text
	case "suffix":
		s.suffix = text
	case "pattern":
		s.pattern, err = parsePattern(text)
	case "date":
		s.codec.layout, err = parseLayout(text)
	case "add":
		s.codec.add, err = parseSpan(text)
	case "encoding":
		s.codec.encoding, err = text, checkEncoding(text)
	default:
		return e.unknown("a source", "column", "value", "row", "script_of", "split", "required", "table", "otherwise",
			"default", "prefix", "suffix", "pattern", "date", "add", "encoding")
	}
	if err != nil {
		return e.value.errorf("%s", err)
	}
	return nil
}

func parsePattern(text string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(`^(?:` + text + `)$`)
	if err != nil {
		return nil, fmt.Errorf("read pattern: %w", err)
	}
	if re.NumSubexp() != 1 {
		return nil, errors.New("a pattern has exactly one group in brackets: the part that is taken")
	}
	return re, nil
}

func checkEncoding(text string) error {
	if text != "hex" && text != "base64" {
		return errors.New("encoding is hex or base64")
	}
	return nil
}

// table is a value table, written in place or named.
func (c *compiler) table(at place) (map[string]string, error) {
	if at.node.Kind == yamlMapping {
		return at.table("a table")
	}
	name, err := at.text("a table")
	if err != nil {
		return nil, err
	}
	table, ok := c.tables[name]
	if !ok {
		return nil, at.errorf("no table %q under \"tables\"; there are: %s", name, strings.Join(sortedKeys(c.tables), ", "))
	}
	return table, nil
}

// check refuses a source that can never give a valid value for the field.
func (s *source) check(fd protoreflect.FieldDescriptor, levels int) error {
	for _, col := range s.columns() {
		if col.brackets > levels {
			return fmt.Errorf("column %q is a list, the field is not", col.name)
		}
	}
	if s.otherwise != nil && s.table == nil {
		return errors.New("\"otherwise\" needs a table")
	}
	if s.own && (fd.Message() == nil || fd.Message().FullName() != "entente.v1.RecordRef") {
		return errors.New("the row's reference fits only where a record is named")
	}
	if s.scriptOf != nil && fd.Kind() != protoreflect.StringKind {
		return errors.New("script_of fits only a text field")
	}
	if s.column == nil && !s.own && s.scriptOf == nil && (len(s.constants) == 0 || slices.Contains(s.constants, "")) {
		return errors.New("a constant must not be empty; leave the field out instead")
	}
	if len(s.constants) > 1 && !fd.IsList() {
		return errors.New("a list of constants needs a list field")
	}
	isTime := fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Timestamp"
	if s.codec.add != (span{}) && !isTime {
		return errors.New("\"add\" fits only a time")
	}
	return s.checkTexts(fd)
}

// checkTexts converts every text that stands in the mapping.
func (s *source) checkTexts(fd protoreflect.FieldDescriptor) error {
	texts := slices.Clone(s.constants)
	if s.fallback != "" {
		texts = append(texts, s.fallback)
	}
	for _, key := range sortedKeys(s.table) {
		texts = append(texts, s.affix(s.table[key])...)
	}
	if s.otherwise != nil {
		texts = append(texts, s.affix(*s.otherwise)...)
	}
	for _, text := range texts {
		if _, err := s.codec.convert(fd, text); err != nil {
			hint := ""
			if fd.Enum() != nil {
				hint = "; allowed: " + enumNames(fd.Enum())
			}
			return fmt.Errorf("%q %w%s", text, err, hint)
		}
	}
	return nil
}

func (s *source) affix(text string) []string {
	if text == "" {
		return nil
	}
	return []string{s.prefix + text + s.suffix}
}
