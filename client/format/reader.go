package format

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Row is one row of a file and what it became: items, or the reason why not.
type Row struct {
	// File as given to Open, and the line on which the row begins, from 1.
	File string
	Line int
	// Reference of the row's own record at its provider; empty if the row was refused before it was read.
	Reference string
	// Items to push, in this order. The first is the row's own record or withdrawal. Empty if Err is set.
	Items []*ententev1.PushItem
	// Derived tells, item by item, whether the mapping derives it from the row.
	Derived []bool
	// Err is why the row was refused; nil if it was not.
	Err *RowError
	// Raw is the row as it stands in the file, with the end of its line, to be written to a file of rejects.
	Raw []byte
}

// RowError is why a row was refused. It names columns and fields, never a value.
type RowError struct {
	File   string
	Line   int
	Reason string
}

// Error is the reason after file and line, in the form that editors jump to.
func (e *RowError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// Reader gives the rows of one file. It is for one goroutine.
type Reader struct {
	mapping *Mapping
	file    string
	member  string
	lines   *lines
	rules   []*rule
	header  []string // CSV: column names; nil before the first row
	known   map[string]*lineage
}

// lineage is what a reader remembers of a row's record, to take back later what was derived from it.
type lineage struct {
	version uint64
	live    []*derivation
}

// Open readies a file for reading. file stands in messages, and by its base name rules may tell files apart. member is
// set as provider of each record, so that a node refuses the file of another; empty: the one that the mapping names,
// or none. Nothing is read yet.
func (m *Mapping) Open(r io.Reader, file, member string) *Reader {
	if member == "" {
		member = m.member
	}
	reader := &Reader{
		mapping: m, file: file, member: member,
		lines: &lines{in: bufio.NewReaderSize(r, 64<<10), file: file},
		known: make(map[string]*lineage),
	}
	for _, rule := range m.rules {
		if matchFile(rule.files, file) {
			reader.rules = append(reader.rules, rule)
		}
	}
	return reader
}

// Next is the next row; io.EOF after the last. A bad row is a Row with Err set, and reading goes on after it. Any other
// error means that the file cannot be read at all, or not further: no rule is for it, its encoding is not UTF-8, its
// header lacks a column.
func (r *Reader) Next() (Row, error) {
	if len(r.rules) == 0 {
		return Row{}, fmt.Errorf("%s: no rule of %s is for a file of this name", r.file, r.mapping.name)
	}
	if r.mapping.csv && r.header == nil {
		if err := r.readHeader(); err != nil {
			return Row{}, err
		}
	}
	var cells map[string]any
	var raw rawRow
	var bad, err error
	if r.mapping.csv {
		cells, raw, bad, err = r.nextCSV()
	} else {
		cells, raw, bad, err = r.nextJSON()
	}
	if err != nil {
		return Row{}, err
	}
	row := Row{File: r.file, Line: raw.line, Raw: raw.bytes}
	if bad == nil {
		bad = r.mapRow(&row, &rowData{cells: cells})
	}
	if bad != nil {
		row.Items, row.Derived = nil, nil
		row.Err = &RowError{r.file, raw.line, bad.Error()}
	}
	return row, nil
}

// mapRow makes the items of a row. The reader's memory changes only if all of them can be made.
func (r *Reader) mapRow(row *Row, data *rowData) error {
	rule, err := r.ruleFor(data)
	if err != nil {
		return err
	}
	data.reference, _, err = rule.reference.text(data, nil)
	if err != nil {
		return err
	}
	if data.reference == "" {
		return &columnError{rule.reference.column.name, errors.New("is empty: a row needs a reference")}
	}
	row.Reference = data.reference
	version, err := rule.versionOf(data)
	if err != nil {
		return err
	}
	if rule.withdrawal != nil {
		return r.withdraw(row, rule, data, version)
	}
	return r.record(row, rule, data, version)
}

// ruleFor is the first rule that is for the row.
func (r *Reader) ruleFor(data *rowData) (*rule, error) {
	var names []string
	for _, rule := range r.rules {
		ok, err := rule.matches(data)
		if err != nil {
			return nil, err
		}
		if ok {
			return rule, nil
		}
		for _, c := range rule.conditions {
			if !slices.Contains(names, c.column.name) {
				names = append(names, c.column.name)
			}
		}
	}
	return nil, fmt.Errorf("no rule is for this row (by columns %s)", strings.Join(names, ", "))
}

// versionOf is the version of a row. Without one a record is version 1, and a withdrawal is of the highest held (0).
func (r *rule) versionOf(data *rowData) (uint64, error) {
	fd := versionField()
	if r.version != nil {
		v, ok, _, err := r.version.value(fd, data, nil)
		if err != nil {
			return 0, err
		}
		if ok && v.Uint() == 0 {
			return 0, &columnError{r.version.name(), errors.New("is 0; versions begin with 1")}
		}
		if ok {
			return v.Uint(), nil
		}
	}
	if r.withdrawal != nil {
		return 0, nil
	}
	return 1, nil
}
