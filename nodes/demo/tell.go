package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"entente.example/entente/proto/member"
)

// teller writes for people. It keeps the first failure to write.
type teller struct {
	w      io.Writer
	scenes int
	err    error
}

func (t *teller) printf(format string, args ...any) {
	if t.err != nil {
		return
	}
	_, err := fmt.Fprintf(t.w, format, args...)
	if err != nil {
		t.err = fmt.Errorf("write the story: %w", err)
	}
}

func (t *teller) scene(title string) {
	t.scenes++
	t.printf("\n%d. %s\n\n", t.scenes, title)
}

func (t *teller) say(format string, args ...any) { t.printf(format+"\n", args...) }

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
		t.err = fmt.Errorf("write the story: %w", err)
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

// showCommands writes identities for the commands of the program and says what to try. With --output json it goes to
// Stderr: Stdout holds one document only.
func (s *stage) showCommands() error {
	configs := make(map[string]string)
	for _, at := range s.places {
		for _, who := range []struct {
			kind member.Kind
			name string
		}{{member.KindSystem, intakeSystem}, {member.KindOfficer, officerName}, {member.KindOperator, operatorName}} {
			path, err := s.writeIdentity(at, who.kind, who.name)
			if err != nil {
				return err
			}
			configs[string(at.seat.ID)+" "+who.kind.String()] = path
		}
	}
	out := s.options.Stdout
	if s.options.JSON {
		out = s.options.Stderr
	}
	t := &teller{w: out}
	t.printf("\nThe federation stays up. In another terminal, from the same folder:\n\n")
	for _, c := range s.commands() {
		t.say("%s", strings.TrimRight("  go run ./nodes/entente "+c.command+" --config "+configs[c.config]+" "+c.rest, " "))
	}
	t.printf("\nCtrl-C ends it and removes all keys and data.\n")
	return t.err
}

// try is a command to try, as somebody.
type try struct{ command, config, rest string }

// commands are those that work with what is there: references and the project's records only with the built-in case.
func (s *stage) commands() []try {
	list := []try{
		{"view entities", "XA officer", ""},
		{"view entities", "XD officer", ""},
		{"list", "XB system", ""},
		{"library list", "XD officer", ""},
		{"status", "COORD operator", ""},
	}
	if s.options.From != "" {
		return append(list, try{"follow", "XC officer", ""})
	}
	return append(list, try{"follow", "XC officer", "--project " + ProjectID}, try{"get XB/P01", "XB system", ""},
		try{"withdraw XB/P01", "XB system", "--reason inaccurate"})
}
