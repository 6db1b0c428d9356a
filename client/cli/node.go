package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

func healthCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "health [SERVICE]",
		Short: "ask whether the node serves",
		Long: `Asks whether the node, or one service of it, serves. The exit code is 0 only if it does.

The node serves from when its data file takes what comes until it begins to stop. The services that write, IntakeService and
ExchangeService, do not serve either for half a minute after a write for which there was no room on the disk.`,
		Example: "  entente health --config operator.yaml\n  entente health --config operator.yaml entente.v1.IntakeService",
		Args:    withUsage(cobra.MaximumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			service := ""
			if len(args) == 1 {
				service = args[0]
			}
			state, err := s.client.Health(ctx, service)
			if err != nil {
				return err
			}
			if s.out.json {
				err = s.out.value(map[string]string{"status": state.String()})
			} else {
				err = s.out.printf("%s\n", state)
			}
			if err == nil && state != healthv1.HealthCheckResponse_SERVING {
				err = fmt.Errorf("the node answers, but does not serve: %s", state)
			}
			return err
		}),
	}
	addSettings(c, shortTimeout)
	return c
}
