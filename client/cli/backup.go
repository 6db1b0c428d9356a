package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func backupCommand(env Env) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "backup",
		Short: "have the node write a checked copy of its data file, while it runs",
		Long: "Has the own node write a copy of its data file into its folder for backups (`backups` in the node's configuration), and\n" +
			"check every value of it. The node goes on meanwhile. Prints the path at the node, the size and SHA-256. Carry the copy\n" +
			"to another machine: a backup on the same disk does not outlive the disk.\n\n" +
			"The copy is sealed, and the sealing key is not in it. Keep sealing key and id key too, apart from the backups: without\n" +
			"the sealing key of its time a backup is worth nothing, and whoever has both reads all data. `entente restore` puts a\n" +
			"backup in place.",
		Example: "  entente backup --config operator.yaml\n  entente backup --config operator.yaml --name before-the-move.db --output json",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			bar := newProgressLine(env)
			done, err := s.client.Backup(ctx, name, func(written, total uint64) {
				bar.show("%.1f of %.1f MB written, then comes the check", float64(written)/1e6, float64(total)/1e6)
			})
			bar.wipe()
			if err != nil {
				return err
			}
			return s.printBackup(done)
		}),
	}
	addSettings(c, 0)
	c.Flags().StringVar(&name, "name", "", "name of the file in the node's folder, without a path; none given: member and time")
	return c
}

// backupJSON is a backup in the words of the output.
type backupJSON struct {
	Path   string `json:"path"`
	Bytes  uint64 `json:"bytes"`
	SHA256 string `json:"sha256"`
	Values uint64 `json:"values"`
	Taken  string `json:"taken_at"`
}

func (s *session) printBackup(response *ententev1.BackupResponse) error {
	done := response.GetResult()
	sum := hex.EncodeToString(done.GetSha256())
	if s.out.json {
		return s.out.value(backupJSON{
			Path: done.GetPath(), Bytes: response.GetTotalBytes(), SHA256: sum, Values: done.GetValues(),
			Taken: done.GetTakenAt().AsTime().Format(time.RFC3339),
		})
	}
	return s.out.table(nil, [][]string{
		{"path at the node", done.GetPath()},
		{"size", fmt.Sprintf("%d bytes, %d values, all of them checked", response.GetTotalBytes(), done.GetValues())},
		{"SHA-256", sum},
		{"taken", timeText(done.GetTakenAt())},
		{"not in it", "sealing key and id key: keep them apart from it"},
	})
}

func resealCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "reseal",
		Short: "have the node change the sealing key of its data file, while it runs",
		Long: "Has the own node read the sealing keys that its configuration names, and seal anew with `sealing_key` all that\n" +
			"`older_sealing_keys` have sealed. The node goes on meanwhile; a run that is cut short goes on with the next.\n\n" +
			"To change the key: make a new key file, name it as `sealing_key` and the one before in `older_sealing_keys`, and run\n" +
			"this. Afterwards remove the older key from the configuration. Keep it as long as there are backups of its time, and\n" +
			"make a backup under the new key.",
		Example: "  entente reseal --config operator.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			bar := newProgressLine(env)
			var values uint64
			resealed, err := s.client.Reseal(ctx, func(done, total, resealed uint64) {
				values = total
				bar.show("%d of %d values, %d sealed anew", done, total, resealed)
			})
			bar.wipe()
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.value(map[string]uint64{"values": values, "resealed": resealed})
			}
			return s.out.printf("%d of %d values sealed anew; none needs an older key any more\n", resealed, values)
		}),
	}
	addSettings(c, 0)
	return c
}

// progressLine shows a person how far a long call is, on a terminal only.
type progressLine struct {
	env   Env
	shown time.Time
	line  bool
}

func newProgressLine(env Env) *progressLine { return &progressLine{env: env} }

func (p *progressLine) show(format string, args ...any) {
	now := p.env.Now()
	if !p.env.IsTerminal || now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown, p.line = now, true
	fmt.Fprintf(p.env.Stderr, "\r\x1b[K"+format, args...)
}

func (p *progressLine) wipe() {
	if p.line {
		io.WriteString(p.env.Stderr, "\r\x1b[K")
		p.line = false
	}
}
