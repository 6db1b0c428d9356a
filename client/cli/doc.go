// Package cli is the commands that only speak to the own member's node: push, import, get, list, release, withdraw, follow,
// view, practices, lessons, library, health, status, backup and reseal. The program entente mounts them beside its own.
//
// # The invariant
//
// A command does nothing that a program with package client could not do, and says in its exit code what became of it (the
// table in exit.go, also `entente help exit-codes`). With --output json, stdout holds JSON only: one document, or one a line
// for what has no end or may be long (list, library list, follow, view watch). Everything said to people besides goes to
// stderr, and progress only to a terminal.
//
// # What it does not do
//
// It opens no data file, holds no keys but the caller's own, and starts no node. It ends no process: main turns the error
// into a code with [ExitCode]. It stores nothing but what is asked for by --cursor-file and --rejects.
//
// A new command is a function that returns a *cobra.Command and a line in [Commands]; what it says to people is in a file
// with its text forms, so that it can be read without the plumbing (settings.go, session.go).
package cli
