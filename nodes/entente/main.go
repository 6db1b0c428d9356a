// Command entente is the whole of Entente in one binary: it founds federations (pki, roster, project), runs nodes (node,
// coordinator), shows a federation at work on one machine (demo), checks a data file (verify), and speaks to a node as any
// national system would (push, import, get, list, release, withdraw, follow, view, practices, lessons, library, health, status).
//
// # The invariant
//
// Whatever a command makes has passed the same verification that nodes use, before it is written: nobody is handed a
// document that all would refuse. No key file is ever overwritten, and a file that a running node reads is replaced whole
// or not at all. With --output json stdout holds JSON only; the exit code is that of the one table in client/cli (`entente
// help exit-codes`).
//
// # What it does not do
//
// It decides nothing about records: that is the node's work (nodes/national, nodes/coordinator). The commands that only
// speak to a node are in client/cli; here are those that need more: keys, documents, a data file, a node in this process.
//
// This is where the clock, randomness, environment and terminal come from; everything below is handed them. A new command
// is a function that returns a *cobra.Command with an example, and a line in newRoot.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"entente.example/entente/client/cli"
)

// heapGrowth is how far the heap may grow between collections, in percent, where GOGC does not say otherwise. Most of a
// node's heap is its index of records, which lives as long as the node does: to walk it more often costs a fifth of the
// processor under intake and frees nothing.
const heapGrowth = 300

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	// The first signal asks for an orderly end. A second later the handler is gone, so another one ends the process at
	// once; not earlier, because a shell, make or timeout may pass one signal on twice.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	code := run(ctx, process{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Now: time.Now, Rand: rand.Reader,
		LookupEnv:  os.LookupEnv,
		IsTerminal: isTerminal(os.Stderr),
	}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is main without the process: it gives the exit code.
func run(ctx context.Context, p process, args []string) int {
	root := newRoot(p)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(p.Stderr, "entente: %v\n", err)
	}
	return cli.ExitCode(err)
}

// isTerminal says whether progress written to a file is seen by a person.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
