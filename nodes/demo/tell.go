package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// textWidth is how many characters a line of text has at most.
const textWidth = 110

// teller writes for people. It keeps the first failure to write.
type teller struct {
	w      io.Writer
	scenes int  // told so far
	of     int  // scenes there are
	tight  bool // no empty line behind a command
	err    error
}

func (t *teller) printf(format string, args ...any) {
	if t.err != nil {
		return
	}
	_, err := fmt.Fprintf(t.w, format, args...)
	if err != nil {
		t.err = fmt.Errorf("write the tour: %w", err)
	}
}

func (t *teller) scene(title string) {
	t.scenes++
	t.printf("\nScene %d of %d — %s\n\n", t.scenes, t.of, title)
}

// say writes text in lines that a terminal holds.
func (t *teller) say(format string, args ...any) {
	line := ""
	for _, word := range strings.Fields(fmt.Sprintf(format, args...)) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > textWidth {
			t.printf("%s\n", line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	t.printf("%s\n\n", line)
}

// table writes rows in columns, and an empty line after.
func (t *teller) table(head []string, rows [][]string) {
	if t.err != nil {
		return
	}
	table := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintln(table, "  "+strings.Join(row, "\t"))
	}
	fmt.Fprintln(table)
	err := table.Flush()
	if err != nil {
		t.err = fmt.Errorf("write the tour: %w", err)
	}
}

// showResult prints the counts and views.
func showResult(out io.Writer, result Result) error {
	t := &teller{w: out}
	t.printf("\nResult, after %.1f seconds\n\n", result.Seconds)
	t.table([]string{"PUSHED", "ACCEPTED", "DUPLICATES", "REJECTED", "RELEASED", "WITHDRAWN"}, [][]string{{
		fmt.Sprint(result.RecordsPushed), fmt.Sprint(result.Accepted), fmt.Sprint(result.Duplicates), fmt.Sprint(result.Rejected),
		fmt.Sprint(result.Released), fmt.Sprint(result.Withdrawn),
	}})
	var rows [][]string
	for _, id := range slices.Sorted(slices.Values(result.Members)) {
		view := result.Views[id]
		rows = append(rows, []string{id, fmt.Sprint(view.Entities), fmt.Sprint(view.Associations), view.Hash})
	}
	t.table([]string{"VIEW OF", "ENTITIES", "ASSOCIATIONS", "HASH"}, rows)
	return t.err
}

// showCommands says what to try while the federation stays up. With --output json it goes to Stderr: Stdout holds one
// document only.
func (s *stage) showCommands() error {
	out := s.options.Stdout
	if s.options.JSON {
		out = s.options.Stderr
	}
	t := &teller{w: out}
	t.printf("\nThe federation stays up. In another terminal:\n\n")
	s.showWay(t)
	for _, line := range s.commands() {
		t.printf("  $ entente %s\n", line)
	}
	t.printf("\nCtrl-C ends it and removes all keys and data.\n")
	return t.err
}

// showWay says how the commands that are shown are called from another terminal.
func (s *stage) showWay(t *teller) {
	t.printf("  $ cd %s\n  $ alias entente=%s\n", s.dir, s.options.Program)
}

// commands are those that work with what is there: references and the project's records only with the built-in case.
func (s *stage) commands() []string {
	list := []string{
		"view entities --config XA/officer.yaml",
		"view entities --config XD/officer.yaml",
		"list --config XB/system.yaml",
		"practices list --config XD/officer.yaml",
		"status --config COORD/operator.yaml",
		"pending --config XA/supervisor.yaml",
		"sent XD --config XB/system.yaml --open",
		"audit list --limit 10 --config XA/auditor.yaml",
	}
	if s.options.From != "" {
		return append(list, "follow --config XC/officer.yaml")
	}
	return append(list, "get XB/P01 --config XB/system.yaml", "follow --project "+ProjectID+" --config XB/officer.yaml",
		"withdraw XB/P01 --reason inaccurate --config XB/system.yaml")
}
