package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

const shortTimeout = 30 * time.Second

// session is one run of a command: connected, with its settings.
type session struct {
	env      Env
	settings settings
	client   *client.Client
	out      output
	// officer on whose behalf the call is made, of --on-behalf; empty: nobody.
	officer string
	// protected is why protected persons are asked for, of --protected-reason; empty: they are not.
	protected string
}

const (
	onBehalf        = "on-behalf"
	protectedReason = "protected-reason"
)

// addOnBehalf gives a command the flag that names the officer for whom a system acts.
func addOnBehalf(c *cobra.Command) {
	c.Flags().String(onBehalf, "", "the officer for whom the system acts, by the name in its certificate; goes with purpose and case")
}

// addProtectedReason gives a command, and those below it, the flag that asks for protected persons.
func addProtectedReason(c *cobra.Command) {
	c.PersistentFlags().String(protectedReason, "", "why victims, witnesses and minors are needed, without naming anybody; not given: they are left out")
}

// textFlag is the value of a flag that not each command has.
func textFlag(c *cobra.Command, name string) string {
	flag := c.Flags().Lookup(name)
	if flag == nil {
		return ""
	}
	return flag.Value.String()
}

// call makes the RunE of a command that speaks to the node.
func call(env Env, do func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		s, err := open(env, c)
		if err != nil {
			return err
		}
		defer s.client.Close()
		timeout, err := c.Flags().GetDuration("timeout")
		if err != nil {
			return err
		}
		ctx := c.Context()
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return do(ctx, s, args)
	}
}

func open(env Env, c *cobra.Command) (*session, error) {
	form, err := c.Flags().GetString("output")
	if err != nil {
		return nil, err
	}
	if form != "text" && form != "json" {
		return nil, UsageErrorf("--output %s: give text or json", form)
	}
	found, err := readSettings(c, env.Getenv)
	if err != nil {
		return nil, err
	}
	config, err := found.clientConfig()
	if err != nil {
		return nil, err
	}
	config.Logger = slog.New(slog.NewTextHandler(env.Stderr, nil))
	connected, err := client.Dial(config)
	if err != nil {
		return nil, usageError{err}
	}
	return &session{
		env: env, settings: found, client: connected, out: output{to: env.Stdout, json: form == "json"},
		officer: textFlag(c, onBehalf), protected: textFlag(c, protectedReason),
	}, nil
}

// consultation is the reason of a call that needs one.
func (s *session) consultation() (*ententev1.Consultation, error) {
	why, err := s.settings.consultation()
	if err != nil {
		return nil, err
	}
	why.Officer, why.ProtectedReason = s.officer, s.protected
	return why, nil
}

// behalf is the reason of a call that a system may also make by itself: none without --on-behalf.
func (s *session) behalf() (*ententev1.Consultation, error) {
	if s.officer == "" {
		return nil, nil
	}
	return s.consultation()
}

// reach asks the node for its health, so that a long call does not wait for a node that is not there or refuses the caller.
func (s *session) reach(ctx context.Context) error {
	_, err := s.client.Health(ctx, "")
	return err
}

// endless turns the end that a person or --timeout sets to a call without end into success.
func endless(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	return err
}
