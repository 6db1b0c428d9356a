package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
)

// process is what commands use of the process around them. Tests hand in another.
type process struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Rand           io.Reader
	LookupEnv      func(string) (string, bool)
	IsTerminal     bool // of Stderr
}

const rootExample = `  entente demo                                  a federation of four countries on this machine
  entente node run --config node.yaml           run a member's node
  entente push records.jsonl --config intake.yaml
  entente view entities --config officer.yaml --purpose criminal-investigation --case C-17`

// newRoot makes all commands. It starts nothing.
func newRoot(p process) *cobra.Command {
	root := group("entente", "share records on organised crime between police nodes, under the owner's control",
		"Entente is a federation of police nodes: each member keeps its own data and decides record by record what leaves.\n"+
			"`entente demo` shows it at work; README.md tells the rest.", rootExample)
	root.SilenceUsage = true
	root.SilenceErrors = true
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return cli.UsageErrorf("%w; see `%s --help`", err, c.CommandPath())
	})
	root.AddCommand(demoCommand(p), nodeCommand(p), coordinatorCommand(p), pkiCommand(p), rosterCommand(p), projectCommand(p),
		verifyCommand(p), restoreCommand(p), versionCommand(p))
	root.AddCommand(cli.Commands(cli.Env{
		Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr, Now: p.Now, Getenv: p.getenv, IsTerminal: p.IsTerminal,
	})...)
	return root
}

func (p process) getenv(name string) string {
	value, _ := p.LookupEnv(name)
	return value
}

// group makes a command that only holds others. A name that it does not know is an error, not a page of help with exit
// code 0: a script must notice.
func group(use, short, long, example string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			hint := ""
			near := c.SuggestionsFor(args[0])
			if len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
			}
			return cli.UsageErrorf("%q is no command of `%s`%s; see `%s --help`", args[0], c.CommandPath(), hint, c.CommandPath())
		},
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(commands...)
	return c
}

// arguments makes a check of arguments whose error has the exit code of wrong usage.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err != nil {
			return cli.UsageErrorf("%w; see `%s --help`", err, c.CommandPath())
		}
		return nil
	}
}

// given refuses a call in which a flag that is needed has no value.
func given(c *cobra.Command, names ...string) error {
	for _, name := range names {
		flag := c.Flags().Lookup(name)
		if flag == nil || flag.Value.String() == "" || flag.Value.String() == "[]" {
			return cli.UsageErrorf("--%s is missing; see `%s --help`", name, c.CommandPath())
		}
	}
	return nil
}
