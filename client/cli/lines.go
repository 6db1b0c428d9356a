package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protojson"

	"entente.example/entente/client/format"
	ententev1 "entente.example/entente/proto/entente/v1"
)

// mostLine bounds a line; a record takes at most 256 KiB encoded, its JSON a few times that.
const mostLine = 4 << 20

// recordLines reads records as JSON lines, in the contract's JSON form. Each goes before the same audiences.
type recordLines struct {
	in        *bufio.Reader
	file      string
	line      int
	audiences []*ententev1.Audience
	replace   bool
	live      bool // whether what is read may come slowly
}

func newRecordLines(r io.Reader, file string) *recordLines {
	return &recordLines{in: bufio.NewReaderSize(r, 64<<10), file: file}
}

// Pending says whether the next line is at hand. Only a live source ever waits.
func (l *recordLines) Pending() bool { return !l.live || l.in.Buffered() > 0 }

// Next is the record of the next line that is not empty.
func (l *recordLines) Next() (format.Row, error) {
	for {
		text, whole, err := l.readLine()
		if err != nil {
			return format.Row{}, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		row := format.Row{File: l.file, Line: l.line, Raw: text}
		record := &ententev1.Record{}
		if !whole {
			row.Err = l.refuse("the line is longer than 4 MiB")
			return row, nil
		}
		err = protojson.Unmarshal(text, record)
		if err != nil {
			// The library's text may repeat a value.
			row.Err = l.refuse("not a record in the contract's JSON form (unknown field, wrong type or broken JSON)")
			return row, nil
		}
		row.Reference = record.GetEnvelope().GetProviderReference()
		row.Items = []*ententev1.PushItem{{
			Content: &ententev1.PushItem_Record{Record: record}, Audiences: l.audiences, ReplaceAudiences: l.replace,
		}}
		row.Derived = []bool{false}
		return row, nil
	}
}

func (l *recordLines) refuse(reason string) *format.RowError {
	return &format.RowError{File: l.file, Line: l.line, Reason: reason}
}

// readLine gives a line, cut at mostLine (whole is then false), and io.EOF after the last.
func (l *recordLines) readLine() (text []byte, whole bool, err error) {
	l.line++
	whole = true
	for {
		part, err := l.in.ReadSlice('\n')
		if len(text)+len(part) > mostLine {
			whole = false
		} else {
			text = append(text, part...)
		}
		switch {
		case err == nil:
			return text, whole, nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (len(text) > 0 || !whole):
			return text, whole, nil
		case errors.Is(err, io.EOF):
			return nil, true, io.EOF
		default:
			return nil, true, fmt.Errorf("read line %d of %s: %w", l.line, l.file, err)
		}
	}
}
