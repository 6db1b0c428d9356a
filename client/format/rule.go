package format

import (
	"fmt"
	"path"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// rule says what a row becomes: a record or a withdrawal, and what is derived from it.
type rule struct {
	line       int // in the mapping file
	files      string
	conditions []condition
	reference  *source
	version    *source
	release    *release
	record     *recordShape // nil: the row is a withdrawal
	withdrawal *shape
	derived    []*derivation
	columns    []*column // all that the rule reads
}

// condition is a column that must have one of some values.
type condition struct {
	column *column
	values []string
}

// recordShape says how a record is filled.
type recordShape struct {
	body     protoreflect.FieldDescriptor // of Body
	content  *shape
	envelope *shape
	crimes   *shape
}

// derivation is a record that is made from a row beside the row's own.
type derivation struct {
	suffix string
	needs  []protoreflect.FieldDescriptor
	record *recordShape
}

// Fields that the mapping sets by keys of its own, so that a key of a record is given in one way only.
var keyFields = []string{"provider_reference", "provider_member", "version"}

// Fields of the envelope without which no record is taken.
var neededFields = []string{"purpose", "recorded_at", "retain_until", "assertion"}

// ruleText is a rule as written.
type ruleText struct {
	common
	at         place
	kind       *entry // person, association …; nil: none yet
	withdrawal *place
	derived    *place
}

func (p *parser) rule(at place) (*rule, error) {
	text := ruleText{at: at}
	r := &rule{line: at.node.Line}
	entries, err := at.entries("a rule")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := p.ruleKey(e, r, &text); err != nil {
			return nil, err
		}
	}
	text.common = p.top.over(text.common)
	if (text.kind == nil) == (text.withdrawal == nil) {
		return nil, at.errorf("a rule needs exactly one of %s, withdrawal", fieldNames(bodyFields()))
	}
	if err := p.ruleKeys(r, &text); err != nil {
		return nil, err
	}
	if text.withdrawal != nil {
		err = p.withdrawal(r, &text)
	} else {
		err = p.records(r, &text)
	}
	if err != nil {
		return nil, err
	}
	r.columns = r.allColumns()
	return r, nil
}

func (p *parser) ruleKey(e entry, r *rule, text *ruleText) (err error) {
	value := e.value
	switch e.key {
	case "files":
		r.files, err = value.text(e.key)
		if _, bad := path.Match(r.files, ""); bad != nil {
			return value.errorf("files is a pattern for file names, such as \"people*.csv\"")
		}
		return err
	case "when":
		r.conditions, err = p.conditions(value)
		return err
	case "withdrawal":
		text.withdrawal = &value
		return nil
	case "derived":
		text.derived = &value
		return nil
	}
	known, err := text.read(e)
	if err != nil || known {
		return err
	}
	return text.readKind(e, "a rule", "files", "when", "withdrawal", "derived")
}

// readKind takes an entry that is the name of a kind of record.
func (t *ruleText) readKind(e entry, what string, others ...string) error {
	if bodyFields().Fields().ByName(protoreflect.Name(e.key)) == nil {
		return e.unknown(what, append(append(commonKeys(), kindNames()...), others...)...)
	}
	if t.kind != nil {
		return e.at.errorf("%s is one kind of record: it has %q already", what, t.kind.key)
	}
	t.kind = &e
	return nil
}

func bodyFields() protoreflect.MessageDescriptor {
	return (*ententev1.Body)(nil).ProtoReflect().Descriptor()
}

func kindNames() []string {
	var names []string
	for i := range bodyFields().Fields().Len() {
		names = append(names, string(bodyFields().Fields().Get(i).Name()))
	}
	return names
}

func (p *parser) conditions(at place) ([]condition, error) {
	entries, err := at.entries("when")
	if err != nil {
		return nil, err
	}
	var out []condition
	for _, e := range entries {
		values, err := e.value.texts("a value of when")
		if err != nil {
			return nil, err
		}
		c, err := parseColumn(e.key, "", p.csv)
		if err != nil {
			return nil, e.at.errorf("%s", err)
		}
		if c.brackets > 0 {
			return nil, e.at.errorf("a column of when must be a single value, not a list")
		}
		out = append(out, condition{c, values})
	}
	return out, nil
}

// ruleKeys compiles what every rule has: reference, version, release.
func (p *parser) ruleKeys(r *rule, text *ruleText) (err error) {
	if text.reference == nil {
		return text.at.errorf("the rule lacks \"reference\": the column with the row's id")
	}
	fields := (*ententev1.Envelope)(nil).ProtoReflect().Descriptor().Fields()
	r.reference, err = p.source(*text.reference, fields.ByName("provider_reference"), 0)
	if err != nil {
		return err
	}
	if r.reference.own || r.reference.column == nil {
		return text.reference.errorf("reference needs a column: a constant would be the same for all rows")
	}
	if text.version != nil {
		r.version, err = p.source(*text.version, fields.ByName("version"), 0)
	}
	if err != nil {
		return err
	}
	if text.release != nil && text.withdrawal == nil {
		r.release, err = p.release(*text.release)
	}
	return err
}

func (p *parser) withdrawal(r *rule, text *ruleText) error {
	if text.derived != nil {
		return text.derived.errorf("a withdrawal derives nothing; what was derived goes with it by itself")
	}
	lines, err := assignments(*text.withdrawal, "withdrawal")
	if err != nil {
		return err
	}
	if len(lines) != 1 || lines[0].path != "reason" {
		return text.withdrawal.errorf("withdrawal has exactly one key: reason")
	}
	r.withdrawal, err = p.compile((*ententev1.PushWithdrawal)(nil).ProtoReflect().Descriptor(), lines)
	return err
}

func (p *parser) records(r *rule, text *ruleText) (err error) {
	r.record, err = p.record(text)
	if err != nil || text.derived == nil {
		return err
	}
	items, err := text.derived.items("derived")
	if err != nil {
		return err
	}
	for _, item := range items {
		d, err := p.derivation(item, text)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(r.derived, func(o *derivation) bool { return o.suffix == d.suffix }) {
			return item.errorf("two derived records have the suffix %q", d.suffix)
		}
		r.derived = append(r.derived, d)
	}
	return nil
}

// record compiles envelope, crime areas and body.
func (p *parser) record(text *ruleText) (*recordShape, error) {
	kind := text.kind
	s := &recordShape{body: bodyFields().Fields().ByName(protoreflect.Name(kind.key))}
	lines, err := assignments(kind.value, kind.key)
	if err != nil {
		return nil, err
	}
	s.content, err = p.compile(s.body.Message(), lines)
	if err != nil {
		return nil, err
	}
	for _, a := range text.envelope {
		if slices.Contains(keyFields, a.path) {
			return nil, a.at.errorf("envelope.%s is set by the keys reference, version and member", a.path)
		}
	}
	s.envelope, err = p.compile((*ententev1.Envelope)(nil).ProtoReflect().Descriptor(), text.envelope)
	if err != nil {
		return nil, err
	}
	for _, name := range neededFields {
		if !slices.ContainsFunc(text.envelope, func(a assignment) bool { return a.path == name }) {
			return nil, text.at.errorf("%s lacks envelope.%s, without which no record is taken", kind.key, name)
		}
	}
	var crimes []assignment
	if text.crimes != nil {
		crimes = []assignment{{"crime_areas[]", *text.crimes, *text.crimes}}
	}
	s.crimes, err = p.compile((*ententev1.Record)(nil).ProtoReflect().Descriptor(), crimes)
	return s, err
}

// derivation compiles a derived record. It has the row's envelope and crime areas unless it says otherwise.
func (p *parser) derivation(at place, parent *ruleText) (*derivation, error) {
	entries, err := at.entries("a derived record")
	if err != nil {
		return nil, err
	}
	d := &derivation{}
	text := ruleText{at: at}
	var needs []string
	for _, e := range entries {
		switch e.key {
		case "suffix":
			d.suffix, err = e.value.text(e.key)
		case "needs":
			needs, err = e.value.texts(e.key)
		case "envelope", "crime_areas":
			_, err = text.read(e)
		case "reference", "version", "release":
			err = e.at.errorf("a derived record has reference, version and audiences of its row")
		default:
			err = text.readKind(e, "a derived record", "suffix", "needs")
		}
		if err != nil {
			return nil, err
		}
	}
	if d.suffix == "" || len(needs) == 0 || text.kind == nil {
		return nil, at.errorf("a derived record needs suffix, needs and a kind of record")
	}
	text.common = parent.over(text.common)
	d.record, err = p.record(&text)
	if err != nil {
		return nil, err
	}
	d.needs, err = d.neededBy(needs)
	if err != nil {
		return nil, at.errorf("%s", err)
	}
	return d, nil
}

func (d *derivation) neededBy(names []string) ([]protoreflect.FieldDescriptor, error) {
	var out []protoreflect.FieldDescriptor
	for _, name := range names {
		i := slices.IndexFunc(d.record.content.parts, func(p *part) bool { return string(p.fd.Name()) == name })
		if i < 0 {
			return nil, fmt.Errorf("needs names %q, which the derived record does not map", name)
		}
		out = append(out, d.record.content.parts[i].fd)
	}
	return out, nil
}

// allColumns are the columns that the rule reads, for a comparison with the header of a CSV file.
func (r *rule) allColumns() []*column {
	var out []*column
	for _, c := range r.conditions {
		out = append(out, c.column)
	}
	out = append(out, r.reference.columns()...)
	if r.version != nil {
		out = append(out, r.version.columns()...)
	}
	if r.release != nil && r.release.column != nil {
		out = append(out, r.release.column)
	}
	shapes := []*shape{r.withdrawal}
	records := []*recordShape{r.record}
	for _, d := range r.derived {
		records = append(records, d.record)
	}
	for _, s := range records {
		if s != nil {
			shapes = append(shapes, s.content, s.envelope, s.crimes)
		}
	}
	for _, s := range shapes {
		if s == nil {
			continue
		}
		for _, p := range s.parts {
			out = append(out, p.columns...)
		}
	}
	return out
}

// matches tells whether the rule is for a row.
func (r *rule) matches(row *rowData) (bool, error) {
	for _, c := range r.conditions {
		text, err := c.column.text(row.cells, nil)
		if err != nil {
			return false, &columnError{c.column.name, err}
		}
		if !slices.Contains(c.values, text) {
			return false, nil
		}
	}
	return true, nil
}
