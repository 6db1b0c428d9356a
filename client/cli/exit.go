package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"entente.example/entente/client"
)

// The exit codes of all commands.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitRejected    = 3
	ExitNotFound    = 4
	ExitRefused     = 5
	ExitUnreachable = 6
)

// exitCodes is the one table of their meanings.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{ExitOK, "done"},
	{ExitFailed, "failed; the message says why"},
	{ExitUsage, "wrong usage or configuration; nothing was sent"},
	{ExitRejected, "done, but some items were rejected; they are on stderr"},
	{ExitNotFound, "there is no such record, or it is not for the caller"},
	{ExitRefused, "refused: the certificate, or a method that is closed to this identity"},
	{ExitUnreachable, "the node is not reachable or did not answer in time"},
}

// usageError is a mistake in arguments or configuration.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// UsageErrorf makes an error whose exit code is 2. Its text should say what to do.
func UsageErrorf(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// ErrRejected says that some items were rejected; each was reported before.
var ErrRejected = errors.New("some items were rejected")

// ExitCode gives the exit code for what a command returned.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	usage, call := usageError{}, new(client.Error)
	switch {
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, ErrRejected):
		return ExitRejected
	case errors.Is(err, client.ErrRefused):
		return ExitRefused
	case errors.Is(err, client.ErrUnreachable):
		return ExitUnreachable
	case errors.As(err, &call):
		return exitOfCall(call.Code)
	default:
		return ExitFailed
	}
}

func exitOfCall(code codes.Code) int {
	switch code {
	case codes.NotFound:
		return ExitNotFound
	case codes.PermissionDenied, codes.Unauthenticated:
		return ExitRefused
	case codes.DeadlineExceeded:
		return ExitUnreachable
	default:
		return ExitFailed
	}
}

// exitCodesTopic is `entente help exit-codes`.
func exitCodesTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString("Exit codes of all commands:\n\n")
	for _, line := range exitCodes {
		fmt.Fprintf(&text, "  %d  %s\n", line.code, line.meaning)
	}
	return &cobra.Command{Use: "exit-codes", Short: "what the exit codes mean", Long: text.String()}
}

// withUsage gives the errors of an argument check their exit code.
func withUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err != nil {
			return UsageErrorf("%w; see `%s --help`", err, c.CommandPath())
		}
		return nil
	}
}
