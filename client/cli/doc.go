// Package cli is the commands that only speak to the own member's node: to put records in and decide what leaves (push, import,
// get, list, release, pending, approve, refuse, withdraw, restrict, hold, renew, due, sent, permit, permissions), to read
// (follow, view, practices, lessons, library), to audit (audit), and to keep the node running (health, status, stream, backup,
// reseal, compact, clock). The program entente mounts them beside its own.
//
// # The invariant
//
// A command does nothing that a program with package client could not do, and says in its exit code what became of it (the
// table in exit.go, also `entente help exit-codes`). With --output json, stdout holds JSON only: one document, or one a line
// for what has no end or may be long (list, due, sent, pending, release --dry-run, library list, follow, view watch, audit list and others). Everything said to people besides goes to
// stderr, and progress only to a terminal.
//
// # What it does not do
//
// It opens no data file, holds no keys but the caller's own, and starts no node. It ends no process: main turns the error
// into a code with [ExitCode]. It stores nothing but what is asked for by --cursor-file, --rejects, --out and --state.
//
// A new command is a function that returns a *cobra.Command and a line in [Commands]; what it says to people is in a file
// with its text forms, so that it can be read without the plumbing (settings.go, session.go).
package cli
