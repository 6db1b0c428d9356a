package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// exportFlags are those of `entente view export`.
type exportFlags struct {
	recipient, form, out string
	handles              []string
}

func viewExportCommand(env Env) *cobra.Command {
	var flags exportFlags
	c := &cobra.Command{
		Use:   "export",
		Short: "write the view, or some entities of it, to a file with its conditions",
		Long: `Writes the view to a new file, as far as it may be exported: what carries H2 goes only if its owner has permitted an export,
and is counted otherwise. Each row has its conditions in words, to be shown with it wherever it goes; those of H1 and H2
stand in the file's head too. For whom the file is made stands in the audit trail.

jsonl: one object a line; the first is the head (the view, the banners of H1 and H2, the counts), the others are rows of the
contract. csv: one line a value, with the columns kind, id, field, value, sources, grades, handling, classification,
retain_until, banners; the first lines have the kind "head". A cell that a spreadsheet would take for a formula (it begins
with =, +, - or @, such as a phone number) begins with an apostrophe.

The file is for the caller's eyes only (mode 0600); an existing one is never overwritten, and an export that is cut short
leaves none. With --handle, only those entities and what joins them.`,
		Example: "  entente view export --recipient \"prosecutor XA, 17/2026\" --out view.jsonl --config officer.yaml\n" +
			"  entente view export --recipient \"analysis report 9\" --handle 00112233445566778899aabbccddeeff --format csv --out view.csv --config officer.yaml",
		Args:         withUsage(cobra.NoArgs),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			request, err := flags.request(s)
			if err != nil {
				return err
			}
			done := &exportedView{}
			err = writeNew(flags.out, func(file io.Writer) error { return s.exportView(ctx, request, &flags, file, done) })
			if err != nil {
				return err
			}
			return s.printExported(flags.out, done)
		}),
	}
	c.Flags().StringVar(&flags.recipient, "recipient", "", "for whom outside the federation, or for what file, it is made; required")
	c.Flags().StringSliceVar(&flags.handles, "handle", nil, "only the entity with this id, or that of one of its records; may be repeated")
	c.Flags().StringVar(&flags.form, "format", "jsonl", "jsonl or csv")
	c.Flags().StringVar(&flags.out, "out", "", "the file to write; required")
	// In place of that of view: a large view takes its time.
	c.Flags().Duration("timeout", 0, "end the call after this time; 0: never")
	return c
}

func (f *exportFlags) request(s *session) (*ententev1.ExportRequest, error) {
	if f.recipient == "" || f.out == "" {
		return nil, UsageErrorf("say for whom and where to: give --recipient and --out")
	}
	if f.form != "jsonl" && f.form != "csv" {
		return nil, UsageErrorf("--format %s: give jsonl or csv", f.form)
	}
	why, err := s.consultation()
	if err != nil {
		return nil, err
	}
	request := &ententev1.ExportRequest{Consultation: why, Recipient: f.recipient}
	for _, text := range f.handles {
		handle, err := parseID("--handle", text)
		if err != nil {
			return nil, err
		}
		request.Handles = append(request.Handles, handle)
	}
	return request, nil
}

// exportedView is what the head of an export says.
type exportedView struct {
	view    *ententev1.ViewInfo
	summary *ententev1.ExportSummary
	banners []string // of H1 and H2, each once
}

// exportForm writes an export in one form. The head comes first in the file and is known last.
type exportForm interface {
	row(*ententev1.ExportRow) error
	head(*exportedView) error
}

// exportView writes head and rows. The rows wait in a file of their own until the head is known, which names their banners. If we
// crash here, both files are left unfinished, readable by their owner alone.
func (s *session) exportView(ctx context.Context, request *ententev1.ExportRequest, flags *exportFlags, to io.Writer, done *exportedView) error {
	rows, err := os.CreateTemp(filepath.Dir(flags.out), filepath.Base(flags.out)+".rows.*") // mode 0600
	if err != nil {
		return UsageErrorf("write the export: %w", err)
	}
	defer os.Remove(rows.Name())
	defer rows.Close()
	form := exportFormOf(flags.form, rows)
	for part, err := range s.client.Export(ctx, request) {
		if err == nil {
			err = done.take(part, form)
		}
		if err != nil {
			return err
		}
	}
	err = exportFormOf(flags.form, to).head(done)
	if err != nil {
		return err
	}
	_, err = rows.Seek(0, io.SeekStart)
	if err == nil {
		_, err = io.Copy(to, rows)
	}
	if err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	return nil
}

func exportFormOf(name string, to io.Writer) exportForm {
	if name == "csv" {
		return exportCSV{to}
	}
	return exportLines{output{to: to, json: true}}
}

func (e *exportedView) take(part *ententev1.ExportResponse, form exportForm) error {
	switch content := part.GetContent().(type) {
	case *ententev1.ExportResponse_View:
		e.view = content.View
	case *ententev1.ExportResponse_Summary:
		e.summary = content.Summary
	case *ententev1.ExportResponse_Row:
		e.note(content.Row)
		return form.row(content.Row)
	}
	return nil
}

// note keeps the banners of H1 and H2 for the head: those that name one, also where the codes of the row are not known here. Where
// a row has such a code and no banner names it, all its banners are kept: too much in the head does no harm.
func (e *exportedView) note(row *ententev1.ExportRow) {
	for _, code := range []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H1, ententev1.HandlingCode_HANDLING_CODE_H2} {
		names := func(banner string) bool { return strings.Contains(banner, strings.ToUpper(short(code))) }
		every := slices.Contains(handlingOf(row).GetCodes(), code) && !slices.ContainsFunc(row.GetBanners(), names)
		for _, banner := range row.GetBanners() {
			if (every || names(banner)) && !slices.Contains(e.banners, banner) {
				e.banners = append(e.banners, banner)
			}
		}
	}
}

func handlingOf(row *ententev1.ExportRow) *ententev1.HandlingConditions {
	if row.GetAssociation() != nil {
		return row.GetAssociation().GetHandling()
	}
	return row.GetEntity().GetHandling()
}

func (s *session) printExported(path string, done *exportedView) error {
	if s.out.json {
		return s.out.value(map[string]any{
			"file": path, "rows": done.summary.GetRows(), "without_permission": done.summary.GetWithoutPermission(),
			"view_hash": hex.EncodeToString(done.view.GetHash()),
		})
	}
	for _, banner := range done.banners {
		err := s.out.printf("! %s\n", clean(banner))
		if err != nil {
			return err
		}
	}
	return s.out.printf("%s: %d rows; %d left out, since an owner has not permitted an export\n",
		path, done.summary.GetRows(), done.summary.GetWithoutPermission())
}

// exportLines is an export as JSON lines.
type exportLines struct{ out output }

func (e exportLines) row(row *ententev1.ExportRow) error { return e.out.document(row) }

func (e exportLines) head(done *exportedView) error {
	view, err := protoJSON(done.view)
	if err != nil {
		return err
	}
	summary, err := protoJSON(done.summary)
	if err != nil {
		return err
	}
	banners := done.banners
	if banners == nil {
		banners = []string{}
	}
	return e.out.value(map[string]any{"head": map[string]any{"banners": banners, "view": json.RawMessage(view), "summary": json.RawMessage(summary)}})
}
