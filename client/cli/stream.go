package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

func streamCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "stream",
		Short: "streams: who reads them, and how to carry them by file",
		Long: "Streams of releases, as the node holds them. preview and grant are about who reads the own member's. export and import\n" +
			"carry them by file where two nodes cannot reach each other: what comes by file is verified like what comes by a connection.",
		Example: "  entente stream export --for XB --out xb.streams --passphrase-file secret.txt --config operator.yaml\n" +
			"  entente stream import xb.streams --passphrase-file secret.txt --config operator.yaml",
		Args: withUsage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return UsageErrorf("say what; see `%s --help`", c.CommandPath())
		},
	}
	c.AddCommand(streamExportCommand(env), streamImportCommand(env))
	c.AddCommand(streamGrantCommands(env)...)
	return c
}

func streamExportCommand(env Env) *cobra.Command {
	var reader, out, passphrase string
	var owners []string
	var unconfirmed, unencrypted bool
	c := &cobra.Command{
		Use:   "export",
		Short: "write a file with what a member may read of what this node holds",
		Long: `Writes a file with all that a member may read of what this node holds: the own member's streams, the streams of others
that both read, and this member's receipts for that member's streams. That member's operator takes it with
"stream import". The file holds records: it is sealed with a passphrase (in the form of age, age-encryption.org), which goes
another way than the file. An existing file is never overwritten.`,
		Example: "  entente stream export --for XB --out xb.streams --passphrase-file secret.txt --config operator.yaml\n" +
			"  entente stream export --for XB --out xb.streams --passphrase-file secret.txt --unconfirmed-only --config operator.yaml",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			if reader == "" || out == "" {
				return UsageErrorf("say for whom and where to: give --for and --out")
			}
			request := &ententev1.ExportStreamsRequest{Reader: reader, Owners: owners, UnconfirmedOnly: unconfirmed}
			key, err := exportKey(env, passphrase, unencrypted)
			if err != nil {
				return err
			}
			err = s.reach(ctx)
			if err != nil {
				return err
			}
			carried, err := s.export(ctx, request, out, key)
			if err != nil {
				return err
			}
			return s.printCarriage(out, carried)
		}),
	}
	addSettings(c, 0)
	c.Flags().StringVar(&reader, "for", "", "the member that is to read the file")
	c.Flags().StringVar(&out, "out", "", "the file to write")
	c.Flags().StringSliceVar(&owners, "owner", nil, "only streams of these owners; not given: all that the member may read")
	c.Flags().BoolVar(&unconfirmed, "unconfirmed-only", false, "of the own streams only what the member has not signed for: shorter, and of no use to a node that lost its data file")
	addPassphrase(c, &passphrase)
	c.Flags().BoolVar(&unencrypted, "unencrypted", false, "do not seal the file: whoever has it reads the records in it")
	return c
}

func addPassphrase(c *cobra.Command, passphrase *string) {
	c.Flags().StringVar(passphrase, "passphrase-file", "", "the passphrase is the first line of this file; -: of stdin")
}

// exportKey is the passphrase to seal with, empty where the caller has asked for none.
func exportKey(env Env, file string, unencrypted bool) (string, error) {
	switch {
	case unencrypted && file != "":
		return "", UsageErrorf("--unencrypted and --passphrase-file exclude each other")
	case unencrypted:
		return "", nil
	case file == "":
		return "", UsageErrorf("the file holds records: give --passphrase-file to seal it (or --unencrypted, if it stays where only those can read it who may)")
	}
	key, err := readPassphrase(env, file)
	if err != nil {
		return "", err
	}
	if len(key) < leastPassphrase {
		return "", UsageErrorf("the passphrase in %s is shorter than %d characters: whoever finds the file can try all of them", file, leastPassphrase)
	}
	return key, nil
}

func (s *session) export(ctx context.Context, request *ententev1.ExportStreamsRequest, path, key string) (*client.Carriage, error) {
	var carried *client.Carriage
	err := writeNew(path, func(file io.Writer) error {
		var err error
		carried, err = s.exportInto(ctx, request, file, key)
		return err
	})
	return carried, err
}

// writeNew writes a file for the caller's eyes only, under another name first: what has its name is whole. A file that is there
// is never touched. If we crash here, the unfinished one is left, and the next call names it.
func writeNew(path string, write func(io.Writer) error) error {
	_, err := os.Lstat(path)
	if !errors.Is(err, os.ErrNotExist) {
		return UsageErrorf("%s is there already: name another file", path)
	}
	unfinished := path + ".unfinished"
	file, err := os.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return UsageErrorf("%s is left from an export that was interrupted, or one is under way: remove it", unfinished)
	}
	if err != nil {
		return UsageErrorf("write the export: %w", err)
	}
	err = write(file)
	err = firstOf(err, file.Sync())
	err = firstOf(err, file.Close())
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(unfinished))
	}
	return nil
}

func (s *session) exportInto(ctx context.Context, request *ententev1.ExportStreamsRequest, file io.Writer, key string) (*client.Carriage, error) {
	if key == "" {
		return s.client.ExportStreams(ctx, request, file)
	}
	sealed, err := seal(file, key)
	if err != nil {
		return nil, err
	}
	carried, err := s.client.ExportStreams(ctx, request, sealed)
	return carried, firstOf(err, sealed.Close())
}

func (s *session) printCarriage(path string, c *client.Carriage) error {
	if s.out.json {
		type owner struct {
			Owner   string `json:"owner"`
			Streams int    `json:"streams"`
			Entries int    `json:"entries"`
		}
		owners := []owner{}
		for _, o := range c.Owners {
			owners = append(owners, owner(o))
		}
		return s.out.value(map[string]any{"file": path, "reader": c.Header.GetReader(), "owners": owners, "receipts": c.Receipts})
	}
	err := s.out.printf("%s: for %s, %d receipts\n", path, clean(c.Header.GetReader()), c.Receipts)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, o := range c.Owners {
		rows = append(rows, []string{o.Owner, fmt.Sprint(o.Streams), fmt.Sprint(o.Entries)})
	}
	return s.section([]string{"OWNER", "STREAMS", "ENTRIES"}, rows)
}

func streamImportCommand(env Env) *cobra.Command {
	var passphrase string
	var checkOnly bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "take a file that another member's \"stream export\" has written",
		Long: `Has the own node verify and take a file of streams that another member's node has exported for this member. The whole file
is checked first: one that is cut, altered, for another member or of another federation leaves nothing behind. Importing a
file twice changes nothing. Streams do not count as fresh by a file, since nobody can say how old it is.`,
		Example:      "  entente stream import xb.streams --passphrase-file secret.txt --config operator.yaml",
		Args:         withUsage(cobra.ExactArgs(1)),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			key := ""
			var err error
			if passphrase != "" {
				key, err = readPassphrase(env, passphrase)
			}
			if err == nil {
				err = s.reach(ctx)
			}
			if err != nil {
				return err
			}
			took, err := s.imported(ctx, args[0], key, true)
			if err == nil && !checkOnly {
				took, err = s.imported(ctx, args[0], key, false)
			}
			if err != nil {
				return err
			}
			return s.printImport(took, checkOnly)
		}),
	}
	addSettings(c, 0)
	addPassphrase(c, &passphrase)
	c.Flags().BoolVar(&checkOnly, "check-only", false, "only say what the file would bring")
	return c
}

// imported sends the whole file once.
func (s *session) imported(ctx context.Context, path, key string, checkOnly bool) (*ententev1.ImportStreamsResponse, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, UsageErrorf("import: %w", err)
	}
	defer file.Close() // read only
	opened, err := unseal(file, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	took, err := s.client.ImportStreams(ctx, opened, checkOnly)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return took, nil
}

// anythingNew says whether an import has changed anything. What the node holds already is not read again, so "taken" would
// say too much of a file that brings nothing.
func anythingNew(took *ententev1.ImportStreamsResponse) bool {
	return took.GetReceipts() > 0 || slices.ContainsFunc(took.GetOwners(), func(o *ententev1.ImportedStreams) bool {
		return o.GetEntries() > 0 || o.GetWithdrawals() > 0
	})
}

func (s *session) printImport(took *ententev1.ImportStreamsResponse, checkOnly bool) error {
	if s.out.json {
		return s.out.document(took)
	}
	what := "taken"
	switch {
	case checkOnly:
		what = "checked, nothing kept"
	case !anythingNew(took):
		what = "nothing new"
	}
	err := s.out.printf("%s; %d receipts\n", what, took.GetReceipts())
	if err != nil {
		return err
	}
	var rows [][]string
	for _, o := range took.GetOwners() {
		rows = append(rows, []string{o.GetOwner(), fmt.Sprint(o.GetStreams()), fmt.Sprint(o.GetEntries()), fmt.Sprint(o.GetWithdrawals()), o.GetNote()})
	}
	return s.section([]string{"OWNER", "STREAMS", "NEW ENTRIES", "NEW WITHDRAWALS", "NOTE"}, rows)
}
