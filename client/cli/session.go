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
	return &session{env: env, settings: found, client: connected, out: output{to: env.Stdout, json: form == "json"}}, nil
}

func (s *session) consultation() (*ententev1.Consultation, error) { return s.settings.consultation() }

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
