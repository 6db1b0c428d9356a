package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// lineWidth is how much of a line of output is shown, in characters.
const lineWidth = 150

// command is a command of the program, as a reader would type it in the folder of the demonstration. The tour runs it and
// shows what it prints.
type command struct {
	line  string   // the words behind "entente"; one that begins with @ is a path in the folder
	most  int      // lines of output to show; 0: all
	only  []string // show lines only that begin with one of these; none: all
	about string   // or that hold this
	code  int      // the exit code that it has to end with
	quiet bool     // show the command, and nothing of what it prints
	once  bool     // it cannot be repeated: it makes a file, or what it does is done
	then  int      // the exit code at the end of the tour, where others have changed what it does
}

// text is the command as it is shown.
func (c command) text() string { return strings.ReplaceAll(c.line, " @", " ") }

// args are the words with which it is run.
func (c command) args(s *stage) []string {
	words := strings.Fields(c.line)
	for i, word := range words {
		if path, is := strings.CutPrefix(word, "@"); is {
			words[i] = s.path(path)
		}
	}
	return words
}

// do shows a command, runs it and shows what it prints. It answers all of that.
func (t *tour) do(s *stage, c command) (string, error) {
	t.commands = append(t.commands, c)
	remark := ""
	if c.once {
		remark = "   # works once"
	}
	t.printf("  $ entente %s%s\n", c.text(), remark)
	var out, errs bytes.Buffer
	code := s.options.Command(s.ctx, c.args(s), &out, &errs)
	if code != c.code {
		return "", fmt.Errorf("entente %s: exit code %d: %s", c.text(), code, strings.TrimSpace(errs.String()))
	}
	// Paths are shown as they are typed; what is made once has other addresses in each run anyway.
	printed := strings.ReplaceAll(out.String()+errs.String(), s.dir+"/", "")
	if !c.quiet {
		t.output(printed, c)
	}
	if !t.tight {
		t.printf("\n")
	}
	return printed, t.err
}

// output shows what a command printed, as far as wanted.
func (t *tour) output(printed string, c command) {
	var lines []string
	left := 0
	for line := range strings.Lines(printed) {
		line = strings.TrimRight(line, " \n")
		if line == "" || !c.wants(line) {
			continue
		}
		if c.most > 0 && len(lines) == c.most {
			left++
			continue
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		if c.code == 0 { // an error is shown whole
			line = clip(line)
		}
		t.printf("  %s\n", line)
	}
	if left > 0 {
		t.printf("  … %d more\n", left)
	}
}

// wants says whether a line is shown.
func (c command) wants(line string) bool {
	begins := slices.ContainsFunc(c.only, func(text string) bool { return strings.HasPrefix(line, text) })
	return len(c.only) == 0 || begins || c.about != "" && strings.Contains(line, c.about)
}

func clip(line string) string {
	runes := []rune(line)
	if len(runes) <= lineWidth {
		return line
	}
	return string(runes[:lineWidth-1]) + "…"
}

// pause waits for Enter, for the end of input, or for the end of the stage.
func (t *tour) pause(s *stage) error {
	if !s.options.Pause || t.scenes == t.of {
		return nil
	}
	if t.enter == nil {
		t.enter = entered(s.options.Stdin)
	}
	t.printf("\n[Enter] ")
	select {
	case <-t.enter:
		return t.err
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// entered gives a value a line that is read, and is closed at the end of input. The goroutine ends with the input: nothing
// can interrupt the reading of a terminal.
func entered(from io.Reader) <-chan struct{} {
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(from); scanner.Scan(); {
			lines <- struct{}{}
		}
	}()
	return lines
}
