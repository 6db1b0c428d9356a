package cli

import (
	"io"
	"time"

	"github.com/spf13/cobra"
)

// Env is what the commands use of the process around them.
type Env struct {
	// Stdin is read by `push -` and by the reference lists of release and withdraw.
	Stdin io.Reader
	// Stdout takes results.
	Stdout io.Writer
	// Stderr takes rejects, progress and remarks.
	Stderr io.Writer
	// Now is the clock, for rates and durations.
	Now func() time.Time
	// Getenv reads the environment.
	Getenv func(string) string
	// IsTerminal says whether Stderr is a terminal: progress is shown only there.
	IsTerminal bool
}

// Commands are all commands of this package, and the help topic exit-codes.
func Commands(env Env) []*cobra.Command {
	commands := []*cobra.Command{
		pushCommand(env),
		importCommand(env),
		getCommand(env),
		listCommand(env),
		releaseCommand(env),
		pendingCommand(env),
		approveCommand(env),
		refuseCommand(env),
		withdrawCommand(env),
		restrictCommand(env),
		holdCommand(env),
		renewCommand(env),
		dueCommand(env),
		sentCommand(env),
		permitCommand(env),
		permissionsCommand(env),
		followCommand(env),
		viewCommand(env),
		shelfCommand(env, practices()),
		shelfCommand(env, lessons()),
		libraryCommand(env),
		healthCommand(env),
		statusCommand(env),
		streamCommand(env),
		backupCommand(env),
		resealCommand(env),
		compactCommand(env),
		clockCommand(env),
		auditCommand(env),
	}
	for _, c := range commands {
		c.SilenceUsage = true
		c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
			return UsageErrorf("%w; see `%s --help`", err, c.CommandPath())
		})
	}
	return append(commands, exitCodesTopic())
}
