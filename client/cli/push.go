package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"entente.example/entente/client"
	"entente.example/entente/client/format"
)

// progressEvery is how often the line of progress is written.
const progressEvery = 200 * time.Millisecond

// pushFlags are those that push and import share.
type pushFlags struct {
	inFlight int
	batch    int
	rejects  string
}

func (f *pushFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.inFlight, "in-flight", 8, "messages under way at once")
	c.Flags().IntVar(&f.batch, "batch", 200, "items a message, at most 1000")
	c.Flags().StringVar(&f.rejects, "rejects", "", "write rejected rows with their reasons to this new file, as JSON lines; it holds personal data")
	addOnBehalf(c)
}

func (f *pushFlags) options() (client.PushOptions, error) {
	if f.inFlight < 1 || f.batch < 1 || f.batch > 1000 {
		return client.PushOptions{}, UsageErrorf("--in-flight must be at least 1, --batch from 1 to 1000")
	}
	return client.PushOptions{InFlight: f.inFlight, BatchItems: f.batch}, nil
}

func pushCommand(env Env) *cobra.Command {
	var flags pushFlags
	var to, mergeFor []string
	var replace bool
	c := &cobra.Command{
		Use:   "push FILE…",
		Short: "push records from JSON lines into the own node",
		Long: "Pushes records, one JSON object of the contract's Record a line, and waits until each has its verdict.\n" +
			"Without --to nothing leaves the node (a new version of a released record follows the earlier one).\n" +
			"Pushing the same again is harmless.",
		Example: "  entente push --config system.yaml records.jsonl\n  generate | entente push --config system.yaml --to project:harbour-light -",
		Args:    withUsage(cobra.MinimumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			audiences, err := parseAudiences(to, mergeFor)
			if err != nil {
				return err
			}
			return s.pushFiles(ctx, &flags, args, func(run *intake, lines *recordLines) error {
				lines.audiences, lines.replace = audiences, replace
				return run.feed(lines)
			})
		}),
	}
	addSettings(c, 0)
	flags.add(c)
	c.Flags().StringArrayVar(&to, "to", nil, "release at once to: "+audienceHelp+"; may be repeated")
	c.Flags().StringSliceVar(&mergeFor, "merge-for", nil, "members for whom a coordinator named in --to may merge")
	c.Flags().BoolVar(&replace, "replace", false, "the audiences replace earlier ones")
	return c
}

// pushFiles pushes the lines of files, one after the other.
func (s *session) pushFiles(ctx context.Context, flags *pushFlags, paths []string, feed func(*intake, *recordLines) error) error {
	return s.pushRows(ctx, flags, func(run *intake) error {
		for _, path := range paths {
			lines, done, err := s.openLines(path)
			if err != nil {
				return err
			}
			err = feed(run, lines)
			done()
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) openLines(path string) (*recordLines, func() error, error) {
	if path == "-" {
		lines := newRecordLines(s.env.Stdin, "stdin")
		lines.live = true
		return lines, func() error { return nil }, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, UsageErrorf("open records: %w", err)
	}
	return newRecordLines(file, path), file.Close, nil
}

func importCommand(env Env) *cobra.Command {
	var flags pushFlags
	var mapping string
	c := &cobra.Command{
		Use:   "import --mapping FILE.yaml FILE…",
		Short: "push national files (CSV, JSON lines) through a mapping",
		Long: "Reads the files row by row through a mapping (docs/examples/README.md), pushes what the rows mean and counts rows.\n" +
			"A bad row is rejected with file, line and reason, and does not stop the others. Importing again is harmless.",
		Example: "  entente import --config system.yaml --mapping people.yaml people.csv --rejects rejects.jsonl",
		Args:    withUsage(cobra.MinimumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			parsed, err := readMapping(mapping)
			if err != nil {
				return err
			}
			// Files of another member would be taken as this one's own records, under its name and from there to its readers.
			if named := parsed.Declared(); named != "" && named != s.settings.Member {
				return UsageErrorf("the mapping is for files of member %s, and this is member %s; use a configuration of %s, "+
					"or change or remove member in the mapping", named, s.settings.Member, named)
			}
			work := Import{Mapping: parsed, Member: s.settings.Member}
			return s.pushRows(ctx, &flags, func(run *intake) error {
				for _, path := range args {
					err := work.file(run, path)
					if err != nil {
						return err
					}
				}
				return nil
			})
		}),
	}
	addSettings(c, 0)
	flags.add(c)
	c.Flags().StringVar(&mapping, "mapping", "", "the mapping, a YAML file; required")
	return c
}

func readMapping(path string) (*format.Mapping, error) {
	if path == "" {
		return nil, UsageErrorf("--mapping is not given: it names the YAML file that says what the columns mean")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, UsageErrorf("open mapping: %w", err)
	}
	defer file.Close()
	mapping, err := format.ParseMapping(file, path)
	if err != nil {
		return nil, usageError{err}
	}
	return mapping, nil
}

// pushRows pushes what feed brings, reports rejects and progress, and prints the counts, also after a failure.
func (s *session) pushRows(ctx context.Context, flags *pushFlags, feed func(*intake) error) error {
	options, err := flags.options()
	if err != nil {
		return err
	}
	options.Consultation, err = s.behalf()
	if err != nil {
		return err
	}
	err = s.reach(ctx)
	if err != nil {
		return err
	}
	report := newReport(s.env)
	err = report.keepRejects(flags.rejects)
	if err != nil {
		return err
	}
	run := newIntake(ctx, s.client, options, report.rejected, report.progress)
	tally, err := run.finish(feed(run))
	report.end(tally)
	err = firstOf(err, report.close(), s.printTally(tally, report.seconds()))
	if err != nil {
		return fmt.Errorf("%w (%d of %d rows have their verdict; pushing again is harmless)",
			err, tally.Accepted+tally.Duplicates+tally.Rejected, tally.Rows)
	}
	if tally.Rejected > 0 {
		return fmt.Errorf("%w: %d of %d rows", ErrRejected, tally.Rejected, tally.Rows)
	}
	return nil
}

func (s *session) printTally(tally Tally, seconds float64) error {
	if s.out.json {
		return s.out.value(struct {
			Tally
			Seconds float64 `json:"seconds"`
		}{tally, seconds})
	}
	return s.out.table([]string{"ROWS", "ACCEPTED", "DUPLICATES", "REJECTED", "ITEMS", "WAITING", "PENDING", "SECONDS"}, [][]string{{
		fmt.Sprint(tally.Rows), fmt.Sprint(tally.Accepted), fmt.Sprint(tally.Duplicates), fmt.Sprint(tally.Rejected),
		fmt.Sprint(tally.Items), fmt.Sprint(tally.Waiting), fmt.Sprint(tally.Pending), fmt.Sprintf("%.1f", seconds),
	}})
}

// report tells a person, and the file of rejects, how a push goes. Its methods are called one at a time.
type report struct {
	env     Env
	started time.Time
	shown   time.Time // when progress was last written
	line    bool      // whether a line of progress stands on the terminal
	file    *os.File  // of --rejects; nil: none
	err     error     // the first failure to write to it
}

func newReport(env Env) *report {
	now := env.Now()
	return &report{env: env, started: now, shown: now}
}

func (r *report) keepRejects(path string) error {
	if path == "" {
		return nil
	}
	// Rows are personal data: for the caller's eyes only. And a new file: one that is there may be an input, or open to
	// others.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return UsageErrorf("open the file of --rejects: %w", err)
	}
	r.file = file
	return nil
}

func (r *report) rejected(row format.Row, reasons []string) {
	r.wipe()
	for _, reason := range reasons {
		fmt.Fprintf(r.env.Stderr, "%s:%d: %s\n", row.File, row.Line, clean(reason))
	}
	if r.file == nil || r.err != nil {
		return
	}
	encoded, err := json.Marshal(struct {
		File    string   `json:"file"`
		Line    int      `json:"line"`
		Reasons []string `json:"reasons"`
		Row     string   `json:"row"`
	}{row.File, row.Line, reasons, strings.TrimRight(string(row.Raw), "\r\n")})
	if err == nil {
		_, err = r.file.Write(append(encoded, '\n'))
	}
	r.err = err
}

func (r *report) progress(tally Tally) {
	if !r.env.IsTerminal || r.env.Now().Sub(r.shown) < progressEvery {
		return
	}
	r.show(tally)
}

func (r *report) show(tally Tally) {
	r.shown = r.env.Now()
	done := tally.Accepted + tally.Duplicates + tally.Rejected
	rate := float64(done) / max(r.seconds(), 0.001)
	fmt.Fprintf(r.env.Stderr, "\r\x1b[K%d rows, %.0f a second, %d rejected", done, rate, tally.Rejected)
	r.line = true
}

// wipe clears the line of progress before something else is written.
func (r *report) wipe() {
	if r.line {
		io.WriteString(r.env.Stderr, "\r\x1b[K")
		r.line = false
	}
}

func (r *report) end(tally Tally) {
	if r.env.IsTerminal {
		r.show(tally)
	}
	r.wipe()
}

func (r *report) seconds() float64 { return r.env.Now().Sub(r.started).Seconds() }

func (r *report) close() error {
	if r.file == nil {
		return nil
	}
	err := errors.Join(r.err, r.file.Close())
	if err != nil {
		return fmt.Errorf("write the file of --rejects: %w", err)
	}
	return nil
}
