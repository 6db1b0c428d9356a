package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"entente.example/entente/client/format"
)

// Options say what to play and where to show it. All without a remark are required.
type Options struct {
	// Once ends the demonstration when all has been shown; else it stays up until the context ends.
	Once bool
	// JSON puts one document on Stdout in place of the tour: a Result.
	JSON bool
	// From is a folder with XA.jsonl … XD.jsonl to push instead of the built-in case; Mapping the file that says what
	// their rows mean. Both or neither.
	From, Mapping string
	// Clusters is a file to write the clusters of what all members may see to; empty: none.
	Clusters string
	// Stdout takes the tour or the document, Stderr progress and remarks.
	Stdout, Stderr io.Writer
	// Terminal says whether Stderr is a terminal: only there progress is shown.
	Terminal bool
	// Now is the clock.
	Now func() time.Time
	// Rand makes keys and salts: crypto/rand.Reader.
	Rand io.Reader
	// Command runs the program with arguments, as a shell would, and answers its exit code. For the tour.
	Command func(ctx context.Context, args []string, stdout, stderr io.Writer) int
	// Program is the path of the program, for a reader who wants to run its commands.
	Program string
	// Pause waits for a line on Stdin after each scene.
	Pause bool
	Stdin io.Reader
	// TempDir is where the folder of data files is made, which is removed at the end; empty: the system's.
	TempDir string
}

// Result is what became of the records, the document of --output json. RecordsPushed = Accepted + Duplicates + Rejected.
type Result struct {
	// Members that pushed. The coordinator is not among them.
	Members []string `json:"members"`
	// RecordsPushed is the number of rows read. A row of a file is one, however many items the mapping makes of it, those
	// that the mapping refuses included; of the built-in case each pushed record is a row.
	RecordsPushed uint64 `json:"records_pushed"`
	// Accepted rows: all items accepted, corrections and applied deletions included.
	Accepted uint64 `json:"accepted"`
	// Duplicates are rows all of whose items were held already.
	Duplicates uint64 `json:"duplicates"`
	// Rejected rows: refused by the mapping, or at least one item refused by the node.
	Rejected uint64 `json:"rejected"`
	// Released is the number of records that stand in at least one stream at the end: different references of rows, what a
	// mapping derives left out.
	Released uint64 `json:"released"`
	// Withdrawn is the number of records, counted likewise, that their member has withdrawn by the end.
	Withdrawn uint64 `json:"withdrawn"`
	// Seconds from the start of the federation until the views were there.
	Seconds float64 `json:"seconds"`
	// Views are what the coordinator answers each member.
	Views map[string]ViewResult `json:"views"`
}

// ViewResult is one member's merged view.
type ViewResult struct {
	// Entities and Associations are how many the view has.
	Entities     int `json:"entities"`
	Associations int `json:"associations"`
	// Hash is SHA-256 over the content in canonical order, in hexadecimal; see digestView.
	Hash string `json:"hash"`
}

// Run plays the federation: with the built-in case as a guided tour, or with files. Without Once it then stays up until ctx
// ends, which is no error.
func Run(ctx context.Context, o Options) error {
	from, err := o.source()
	if err != nil {
		return err
	}
	clusters, err := o.openClusters()
	if err != nil {
		return err
	}
	_, err = perform(ctx, o, from, clusters)
	return errors.Join(err, closeFile(clusters))
}

// perform runs a federation for one source, in a folder that is gone afterwards.
func perform(ctx context.Context, o Options, from source, clusters *os.File) (result Result, err error) {
	dir, err := os.MkdirTemp(o.TempDir, "entente-demo-")
	if err != nil {
		return result, fmt.Errorf("make a folder for the data files: %w", err)
	}
	// Keys and data are thrown away whatever happens. A kill leaves the folder to the system's cleaning.
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	started := o.Now()
	s, err := start(ctx, o, dir)
	if err != nil {
		return result, err
	}
	result, err = s.play(from, started, clusters)
	if err == nil && !o.Once {
		err = s.stay(ctx)
	}
	return result, s.stop(err)
}

// source is what the members push and what is shown of it.
type source interface {
	// play pushes, shows, and answers how many rows there were, once everything is replicated.
	play(s *stage) (tally, error)
	// rows are the records that rows of the input are, those that a mapping derives left out.
	rows() (inputRows, error)
}

// source reads what is asked for before anything starts, so that a wrong path costs nothing.
func (o Options) source() (source, error) {
	if o.From == "" && o.Mapping == "" {
		out := o.Stdout
		if o.JSON {
			out = io.Discard
		}
		return &tour{teller: teller{w: out}}, nil
	}
	if o.From == "" || o.Mapping == "" {
		return nil, errors.New("files of your own need both: --from names the folder of XA.jsonl … XD.jsonl, --mapping says what their rows mean")
	}
	file, err := os.Open(o.Mapping)
	if err != nil {
		return nil, fmt.Errorf("open mapping: %w", err)
	}
	defer file.Close()
	mapping, err := format.ParseMapping(file, o.Mapping)
	if err != nil {
		return nil, fmt.Errorf("read mapping: %w", err)
	}
	files := &files{mapping: mapping, paths: make(map[string]string)}
	for _, c := range Case() {
		path := filepath.Join(o.From, c.Member+".jsonl")
		_, err = os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("the folder of --from needs a file for each member: %w", err)
		}
		files.paths[c.Member] = path
	}
	return files, nil
}

// openClusters makes the file now: a path that cannot be written must not show after minutes of work.
func (o Options) openClusters() (*os.File, error) {
	if o.Clusters == "" {
		return nil, nil
	}
	file, err := os.OpenFile(o.Clusters, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the file of --clusters: %w", err)
	}
	return file, nil
}

func closeFile(file *os.File) error {
	if file == nil {
		return nil
	}
	err := file.Close()
	if err != nil {
		return fmt.Errorf("write the file of --clusters: %w", err)
	}
	return nil
}

// play runs the source, shows what came of it, and answers it.
func (s *stage) play(from source, started time.Time, clusters *os.File) (Result, error) {
	pushed, err := from.play(s)
	if err != nil {
		return Result{}, err
	}
	rows, err := from.rows()
	if err != nil {
		return Result{}, err
	}
	held, err := s.holdings()
	if err != nil {
		return Result{}, err
	}
	held.count(rows)
	views, err := s.viewResults(held)
	if err != nil {
		return Result{}, err
	}
	result := newResult(pushed, held, views, s.options.Now().Sub(started).Seconds())
	if clusters != nil {
		err = s.writeClusters(clusters, rows, held)
	}
	if err != nil {
		return Result{}, err
	}
	return result, s.show(result)
}

func newResult(pushed tally, held *holdings, views map[string]ViewResult, seconds float64) Result {
	result := Result{RecordsPushed: pushed.rows, Accepted: pushed.accepted, Duplicates: pushed.duplicates, Rejected: pushed.rejected,
		Released: held.released, Withdrawn: held.withdrawn, Seconds: seconds, Views: views}
	for _, c := range Case() {
		result.Members = append(result.Members, c.Member)
	}
	return result
}

// show prints the result in the form asked for.
func (s *stage) show(result Result) error {
	if !s.options.JSON {
		return showResult(s.options.Stdout, result)
	}
	encoded, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	_, err = s.options.Stdout.Write(append(encoded, '\n'))
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
