package main

import (
	"os"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/demo"
)

func demoCommand(p process) *cobra.Command {
	o := demo.Options{Stdout: p.Stdout, Stderr: p.Stderr, Terminal: p.IsTerminal, Now: p.Now, Rand: p.Rand}
	c := &cobra.Command{
		Use:   "demo",
		Short: "show a federation of four invented countries at work on this machine",
		Long: "Starts a coordinator and the nodes of four invented countries on loopback, with throw-away keys and data files that are\n" +
			"removed at the end, pushes an invented case as national systems would, and shows who sees what, and what a withdrawal does.\n" +
			"Then it stays up with commands to try, until Ctrl-C.\n\n" +
			"With --from and --mapping it runs the same federation on XA.jsonl … XD.jsonl of your own, each pushed by its member.\n" +
			"With --output json stdout holds one document: what was pushed, and what the coordinator answers each member.",
		Example: "  entente demo\n  entente demo --once --output json\n" +
			"  entente demo --once --output json --from scenario --mapping docs/examples/scenario.yaml --clusters clusters.jsonl",
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			o.JSON, err = wantsJSON(c)
			if err != nil {
				return err
			}
			if (o.From == "") != (o.Mapping == "") {
				return cli.UsageErrorf("--from and --mapping go together: the folder with XA.jsonl … XD.jsonl, and what their rows mean")
			}
			err = readable(o.From, o.Mapping)
			if err != nil {
				return err
			}
			return demo.Run(c.Context(), o)
		},
	}
	c.Flags().BoolVar(&o.Once, "once", false, "end when all is shown")
	c.Flags().StringVar(&o.From, "from", "", "folder with XA.jsonl … XD.jsonl to push instead of the built-in case")
	c.Flags().StringVar(&o.Mapping, "mapping", "", "YAML file that says what their rows mean")
	c.Flags().StringVar(&o.Clusters, "clusters", "", "file to write the clusters of what all members may see to")
	addOutput(c)
	return c
}

// readable refuses paths that are not there before a federation is started for them.
func readable(paths ...string) error {
	for _, path := range paths {
		if path == "" {
			continue
		}
		_, err := os.Stat(path)
		if err != nil {
			return cli.UsageErrorf("read: %w", err)
		}
	}
	return nil
}
