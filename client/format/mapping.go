package format

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Mapping is a mapping file that has been read and found able to work. It does not change and may be used by several
// readers at once.
type Mapping struct {
	name      string
	csv       bool
	delimiter rune
	member    string
	rules     []*rule
}

// common is what may stand at the top of a mapping, for all rules, and again in a rule.
type common struct {
	reference *place
	version   *place
	release   *place
	crimes    *place
	envelope  []assignment
}

// parser reads one mapping file.
type parser struct {
	compiler
	mapping *Mapping
	top     common
}

// ParseMapping reads a mapping file. name stands in messages. It is strict: an unknown key, field path, code or table
// is an error with file, line and what is allowed instead.
func ParseMapping(r io.Reader, name string) (*Mapping, error) {
	decoder := yaml.NewDecoder(r) // into nodes: keys are checked one by one below, which also says what is allowed
	var document yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the mapping is empty", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read mapping: %w", name, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: a mapping is one YAML document; there is something after its end", name)
	}
	p := &parser{mapping: &Mapping{name: name, delimiter: ','}}
	if len(document.Content) == 0 {
		return nil, fmt.Errorf("%s: the mapping is empty", name)
	}
	root, err := place{name, &document}.child(document.Content[0])
	if err != nil {
		return nil, err
	}
	if err := p.document(root); err != nil {
		return nil, err
	}
	return p.mapping, nil
}

// Member is the member whose file this is: the one that the mapping names, else the base name of the file without its
// ending. It is an offer to the caller of Open; whose node takes the records is decided by the certificate.
func (m *Mapping) Member(file string) string {
	if m.member != "" {
		return m.member
	}
	base := filepath.Base(file)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// Declared is the member that the mapping itself names, empty if it names none.
func (m *Mapping) Declared() string { return m.member }

func (p *parser) document(root place) error {
	entries, err := root.entries("a mapping")
	if err != nil {
		return err
	}
	var rows, separated *place
	for _, e := range entries {
		value := e.value
		switch e.key {
		case "format":
			err = p.format(value)
		case "csv":
			separated = &value
		case "member":
			p.mapping.member, err = value.text(e.key)
		case "tables":
			err = p.readTables(value)
		case "rows":
			rows = &value
		default:
			var known bool
			known, err = p.top.read(e)
			if err == nil && !known {
				err = e.unknown("a mapping", append(commonKeys(), "format", "csv", "member", "tables", "rows")...)
			}
		}
		if err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(entries, func(e entry) bool { return e.key == "format" }) {
		return root.errorf("the mapping lacks \"format\": csv or jsonl")
	}
	if separated != nil {
		err = p.separators(*separated)
	}
	if err != nil {
		return err
	}
	if rows == nil {
		return root.errorf("the mapping lacks \"rows\": the rules that say what a row is")
	}
	return p.rows(*rows)
}

func (p *parser) format(at place) error {
	text, err := at.text("format")
	if err != nil {
		return err
	}
	if text != "csv" && text != "jsonl" {
		return at.errorf("format is csv or jsonl")
	}
	p.csv = text == "csv"
	p.mapping.csv = p.csv
	return nil
}

func (p *parser) separators(at place) error {
	if !p.csv {
		return at.errorf("\"csv\" needs format csv")
	}
	entries, err := at.entries("csv")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.key != "delimiter" {
			return e.unknown("csv", "delimiter")
		}
		text, err := e.value.text(e.key)
		if err != nil {
			return err
		}
		r, size := utf8.DecodeRuneInString(text)
		if size == 0 || size != len(text) || strings.ContainsRune("\"\r\n\uFEFF\uFFFD", r) {
			return e.value.errorf("the delimiter is one character that is neither a quote nor the end of a line")
		}
		p.mapping.delimiter = r
	}
	return nil
}

func (p *parser) readTables(at place) error {
	entries, err := at.entries("tables")
	if err != nil {
		return err
	}
	p.tables = make(map[string]map[string]string, len(entries))
	for _, e := range entries {
		p.tables[e.key], err = e.value.table("table " + e.key)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) rows(at place) error {
	items, err := at.items("rows")
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return at.errorf("rows is empty: at least one rule is needed")
	}
	for _, item := range items {
		r, err := p.rule(item)
		if err != nil {
			return err
		}
		p.mapping.rules = append(p.mapping.rules, r)
	}
	return nil
}

func commonKeys() []string {
	return []string{"reference", "version", "release", "crime_areas", "envelope"}
}

// read takes an entry if it is one of the common ones.
func (c *common) read(e entry) (known bool, err error) {
	value := e.value
	switch e.key {
	case "reference":
		c.reference = &value
	case "version":
		c.version = &value
	case "release":
		c.release = &value
	case "crime_areas":
		c.crimes = &value
	case "envelope":
		var own []assignment
		own, err = assignments(value, "envelope")
		c.envelope = override(c.envelope, own)
	default:
		return false, nil
	}
	return true, err
}

// over is c with what o has of its own.
func (c common) over(o common) common {
	if o.reference != nil {
		c.reference = o.reference
	}
	if o.version != nil {
		c.version = o.version
	}
	if o.release != nil {
		c.release = o.release
	}
	if o.crimes != nil {
		c.crimes = o.crimes
	}
	c.envelope = override(c.envelope, o.envelope)
	return c
}

func assignments(at place, what string) ([]assignment, error) {
	entries, err := at.entries(what)
	if err != nil {
		return nil, err
	}
	out := make([]assignment, 0, len(entries))
	for _, e := range entries {
		out = append(out, assignment{e.key, e.at, e.value})
	}
	return out, nil
}

// override is base with the lines of own in place of those for the same field.
func override(base, own []assignment) []assignment {
	out := slices.Clone(base)
	for _, a := range own {
		i := slices.IndexFunc(out, func(b assignment) bool { return b.path == a.path })
		if i < 0 {
			out = append(out, a)
			continue
		}
		out[i] = a
	}
	return out
}

// matchFile tells whether a rule for files like glob is for this one. The form of glob has been checked.
func matchFile(glob, file string) bool {
	ok, err := path.Match(glob, filepath.Base(file))
	return glob == "" || (err == nil && ok)
}
