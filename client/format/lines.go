package format

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of one row. A CSV row has more than one line only where a quoted field holds line ends; a quote that is never
// closed must not swallow the rest of the file.
const (
	maxRowBytes = 1 << 20
	maxRowLines = 100
)

// lines gives the lines of a file with their numbers, and takes some back.
type lines struct {
	in      *bufio.Reader
	file    string
	number  int      // of the last line read from in
	pending []rawRow // taken back, to be given first
	failed  error    // of in, to be given after what was read before it
}

// rawRow is a row, or a line, as it stands in the file.
type rawRow struct {
	line  int
	bytes []byte
	long  bool // longer than a row may be; only its beginning is kept
}

// next is the next line with its end; io.EOF after the last.
func (l *lines) next() (rawRow, error) {
	if len(l.pending) > 0 {
		first := l.pending[0]
		l.pending = l.pending[1:]
		return first, nil
	}
	if l.failed != nil {
		return rawRow{}, l.failed
	}
	row := rawRow{line: l.number + 1}
	for {
		chunk, err := l.in.ReadSlice('\n')
		room := maxRowBytes - len(row.bytes)
		row.long = row.long || len(chunk) > room
		row.bytes = append(row.bytes, chunk[:min(len(chunk), room)]...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s: read after line %d: %w", l.file, l.number, err)
		}
		l.failed = err
		if len(row.bytes) == 0 {
			return rawRow{}, l.failed
		}
		l.number++
		return l.first(row)
	}
}

// first strips the byte order mark of the first line.
func (l *lines) first(row rawRow) (rawRow, error) {
	if row.line != 1 {
		return row, nil
	}
	if bytes.HasPrefix(row.bytes, []byte("\xff\xfe")) || bytes.HasPrefix(row.bytes, []byte("\xfe\xff")) {
		l.failed = fmt.Errorf("%s: the file is in UTF-16; save it as UTF-8", l.file)
		return rawRow{}, l.failed
	}
	row.bytes = bytes.TrimPrefix(row.bytes, []byte("\xef\xbb\xbf"))
	return row, nil
}

// check refuses what cannot be a row of text.
func (r rawRow) check() error {
	if r.long {
		return fmt.Errorf("the row is longer than %d bytes", maxRowBytes)
	}
	if !utf8.Valid(r.bytes) {
		return errors.New("the row is not valid UTF-8")
	}
	return nil
}

// nextFilled is the next line that is not blank.
func (l *lines) nextFilled() (rawRow, error) {
	for {
		row, err := l.next()
		if err != nil || len(bytes.TrimSpace(row.bytes)) > 0 {
			return row, err
		}
	}
}

// nextJSON is the next row of JSON lines. bad is why this row cannot be read; err ends the file.
func (r *Reader) nextJSON() (cells map[string]any, row rawRow, bad, err error) {
	row, err = r.lines.nextFilled()
	if err != nil {
		return nil, row, nil, err
	}
	if bad := row.check(); bad != nil {
		return nil, row, bad, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(row.bytes))
	decoder.UseNumber()
	if decoder.Decode(&cells) != nil || cells == nil {
		return nil, row, errors.New("the row is not a JSON object on one line"), nil
	}
	if _, extra := decoder.Token(); !errors.Is(extra, io.EOF) {
		return nil, row, errors.New("the row has something after its JSON object"), nil
	}
	return cells, row, nil, nil
}

// readHeader reads the first row of a CSV file and compares it with what the rules read.
func (r *Reader) readHeader() error {
	raw, fields, bad, err := r.lines.record(r.mapping.delimiter)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:1: the file has no header row", r.file)
	}
	if err != nil {
		return err
	}
	if bad != nil {
		return fmt.Errorf("%s:%d: read header row: %w", r.file, raw.line, bad)
	}
	for i, name := range fields {
		fields[i] = strings.TrimSpace(name)
		if fields[i] != "" && slices.Contains(fields[:i], fields[i]) {
			return fmt.Errorf("%s:%d: the header has column %q twice", r.file, raw.line, fields[i])
		}
	}
	for _, rule := range r.rules {
		for _, c := range rule.columns {
			if !slices.Contains(fields, c.name) {
				return fmt.Errorf("%s:%d: the header lacks column %q, which %s:%d reads; it has: %s",
					r.file, raw.line, c.name, r.mapping.name, rule.line, strings.Join(fields, ", "))
			}
		}
	}
	r.header = fields
	return nil
}

// nextCSV is the next row of a CSV file.
func (r *Reader) nextCSV() (cells map[string]any, raw rawRow, bad, err error) {
	raw, fields, bad, err := r.lines.record(r.mapping.delimiter)
	if err != nil || bad != nil {
		return nil, raw, bad, err
	}
	if len(fields) != len(r.header) {
		return nil, raw, fmt.Errorf("the row has %d columns, the header %d", len(fields), len(r.header)), nil
	}
	cells = make(map[string]any, len(fields))
	for i, name := range r.header {
		cells[name] = fields[i]
	}
	return cells, raw, nil, nil
}

// record is the next CSV record: a line, and those after it as long as a quoted field is open. Where that does not end
// well, only the first line is given up, and reading goes on with the second.
func (l *lines) record(delimiter rune) (row rawRow, fields []string, bad, err error) {
	first, err := l.nextFilled()
	if err != nil {
		return first, nil, nil, err
	}
	taken := []rawRow{first}
	whole := first
	whole.bytes = slices.Clone(first.bytes)
	for bytes.Count(whole.bytes, []byte(`"`))%2 == 1 && len(taken) < maxRowLines && !whole.long {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return first, nil, nil, err
		}
		taken = append(taken, line)
		whole.bytes = append(whole.bytes, line.bytes...)
		whole.long = line.long || len(whole.bytes) > maxRowBytes
	}
	bad = whole.check()
	if bad == nil {
		fields, bad = parseRecord(whole.bytes, delimiter)
	}
	if bad == nil {
		return whole, fields, nil, nil
	}
	l.pending = append(slices.Clone(taken[1:]), l.pending...)
	return first, nil, bad, nil
}

// parseRecord reads one record. Package csv's own message has a line of its own count and is replaced.
func parseRecord(text []byte, delimiter rune) ([]string, error) {
	reader := csv.NewReader(bytes.NewReader(text))
	reader.Comma = delimiter
	fields, err := reader.Read()
	if errors.Is(err, csv.ErrQuote) {
		return nil, errors.New("the row has a quoted field that is not closed, or a quote inside one that is not doubled")
	}
	if errors.Is(err, csv.ErrBareQuote) {
		return nil, errors.New("the row has a quote inside a field that is not quoted")
	}
	if err != nil {
		return nil, fmt.Errorf("read the row as CSV: %w", err)
	}
	if _, err := reader.Read(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the row has a quote out of place")
	}
	return fields, nil
}
