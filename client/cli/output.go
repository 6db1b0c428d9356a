package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// output writes results for people or for programs.
type output struct {
	to   io.Writer
	json bool
}

// document writes a message of the contract as one line of JSON, in the contract's own field names.
func (o output) document(m proto.Message) error {
	encoded, err := protoJSON(m)
	if err != nil {
		return err
	}
	return o.line(encoded)
}

// value writes a value as one line of JSON.
func (o output) value(v any) error {
	encoded, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return o.line(encoded)
}

func (o output) line(text []byte) error {
	_, err := o.to.Write(append(text, '\n'))
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// printf writes text for people. Values that come from records must have passed clean.
func (o output) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(o.to, format, args...)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// table writes rows in columns. Its cells are cleaned.
func (o output) table(head []string, rows [][]string) error {
	table := tabwriter.NewWriter(o.to, 0, 0, 2, ' ', 0)
	if len(head) > 0 {
		fmt.Fprintln(table, strings.Join(head, "\t"))
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	err := table.Flush()
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// protoJSON is the contract's JSON with stable bytes: the library adds blanks at random.
func protoJSON(m proto.Message) ([]byte, error) {
	encoded, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, encoded)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return compact.Bytes(), nil
}

// clean makes text from records harmless on a terminal: no control, no character that turns the direction of writing, one line.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		if unicode.IsSpace(r) {
			return ' '
		}
		return '\uFFFD'
	}, text)
}
