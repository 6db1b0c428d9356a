package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/demo"
)

func demoCommand(p process) *cobra.Command {
	o := demo.Options{Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr, Terminal: p.IsTerminal, Now: p.Now, Rand: p.Rand, Command: p.inside}
	c := &cobra.Command{
		Use:   "demo",
		Short: "a guided tour: four invented countries and a coordinator on this machine",
		Long: "Starts a coordinator and the nodes of four invented countries on loopback, with throw-away keys and data files that are\n" +
			"removed at the end, and tells an invented case in numbered scenes: what each country holds, who sees what and who decided on\n" +
			"it, who comes and goes, what a withdrawal and the end of a retention do, who looked, and what becomes of a forgery. Each\n" +
			"scene shows the commands that it runs and what they print. Then the federation stays up for commands of your own, until Ctrl-C. --pause waits for Enter between scenes.\n\n" +
			"With --from and --mapping it runs the same federation on XA.jsonl … XD.jsonl of your own, each pushed by its member.\n" +
			"With --output json stdout holds one document: what was pushed, and what the coordinator answers each member.",
		Example: "  entente demo --pause\n  entente demo --once --output json\n" +
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
			if o.Pause && (o.Once || o.JSON || o.From != "") {
				return cli.UsageErrorf("--pause is for a person before the tour: it goes with none of --once, --output json and --from")
			}
			o.Program, err = os.Executable()
			if err != nil {
				return fmt.Errorf("find the program: %w", err)
			}
			err = readable(o.From, o.Mapping)
			if err != nil {
				return err
			}
			return demo.Run(c.Context(), o)
		},
	}
	c.Flags().BoolVar(&o.Once, "once", false, "end when all is shown")
	c.Flags().BoolVar(&o.Pause, "pause", false, "wait for Enter after each scene")
	c.Flags().StringVar(&o.From, "from", "", "folder with XA.jsonl … XD.jsonl to push instead of the built-in case")
	c.Flags().StringVar(&o.Mapping, "mapping", "", "YAML file that says what their rows mean")
	c.Flags().StringVar(&o.Clusters, "clusters", "", "file to write the clusters of what all members may see to")
	addOutput(c)
	return c
}

// inside runs a command line in this process, as another process would: without input, and with nothing of this one's
// environment.
func (p process) inside(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	inner := process{Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Now: p.Now, Rand: p.Rand,
		LookupEnv: func(string) (string, bool) { return "", false }}
	return run(ctx, inner, args)
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
