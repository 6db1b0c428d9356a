package main

import (
	"encoding/hex"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/national"
	"entente.example/entente/server/store"
)

func restoreCommand(p process) *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "put a backup in the place of a stopped node's data file",
		Long: "Checks a backup that `entente backup` made, value by value, with the sealing keys of the configuration, and that it is this\n" +
			"node's; then puts a copy of it in the place of the data file. The former data file stays beside it, as\n" +
			"NAME.before-restore-TIME, and is never deleted. The node must not run. What is refused changes nothing.\n\n" +
			"Afterwards the node has forgotten what came after the backup. It asks its readers for it when it starts, which needs them\n" +
			"to be reachable, and the national systems push again what they pushed since: that is harmless, and until then readers keep\n" +
			"some records as they have them. A copy that an upgrade kept (NAME.schema-1) is put back in the same way, for the former\n" +
			"program. A coordinator's data file is restored like a member's.",
		Example: "  entente restore --config node.yaml --dry-run backups/XA-20261124T060000Z.db\n" +
			"  entente restore --config node.yaml backups/XA-20261124T060000Z.db",
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "check everything and change nothing")
	addOutput(c)
	c = p.configured(c, func(c *cobra.Command, cfg *national.Config) error {
		asJSON, err := wantsJSON(c)
		if err != nil {
			return err
		}
		backup := c.Flags().Arg(0)
		done, err := national.Restore(c.Context(), cfg, p.deps(cfg), national.RestoreOptions{
			Backup: backup, DryRun: dry,
			Progress: func(done, total uint64) { p.progress("values %d of %d", done, total) },
		})
		p.progressDone()
		if err != nil {
			return asRefusal(err)
		}
		return p.printRestored(cfg.Data, backup, done, dry, asJSON)
	})
	c.Args = arguments(cobra.ExactArgs(1))
	return c
}

// asRefusal gives a refusal, which changed nothing, the exit code of wrong usage.
func asRefusal(err error) error {
	for _, refusal := range []error{store.ErrLocked, store.ErrWrongKey, store.ErrNotAStore, store.ErrNewerSchema, store.ErrTaken,
		national.ErrForeignData, fs.ErrNotExist} {
		if errors.Is(err, refusal) {
			return cli.UsageErrorf("%w", err)
		}
	}
	return err
}

// restoredJSON is a restore in the words of the output.
type restoredJSON struct {
	Data    string `json:"data"`
	Backup  string `json:"backup"`
	DryRun  bool   `json:"dry_run"`
	Former  string `json:"former,omitempty"`
	Bytes   int64  `json:"bytes"`
	Values  uint64 `json:"values"`
	Schema  uint32 `json:"schema"`
	SHA256  string `json:"sha256"`
	Upgrade bool   `json:"upgrade_at_start"`
}

func (p process) printRestored(data, backup string, done store.Restored, dry, asJSON bool) error {
	upgrade := done.Schema < store.Schema
	if asJSON {
		return p.writeJSON(restoredJSON{
			Data: data, Backup: backup, DryRun: dry, Former: done.Aside, Bytes: done.Bytes, Values: done.Values, Schema: done.Schema,
			SHA256: hex.EncodeToString(done.SHA256[:]), Upgrade: upgrade,
		})
	}
	if dry {
		return p.printf("%s is a good backup of this node: %d values, %d bytes, SHA-256 %x; nothing was changed\n",
			backup, done.Values, done.Bytes, done.SHA256)
	}
	former := "there was no data file before"
	if done.Aside != "" {
		former = "the former one is " + done.Aside
	}
	err := p.printf("%s is in place, with %d values; %s\n", data, done.Values, former)
	if err == nil && upgrade {
		err = p.printf("it is of an earlier program: this one upgrades it at the start, the earlier one can run on it as it is\n")
	}
	if err != nil {
		return err
	}
	return p.printf("next: start the node while its readers can be reached; then have each national system push again what it pushed\n" +
		"since the backup (`entente get` and `entente status` show what readers have)\n")
}
