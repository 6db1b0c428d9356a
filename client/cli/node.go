package cli

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func healthCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "health [SERVICE]",
		Short:   "ask whether the node serves",
		Long:    "Asks whether the node, or one service of it, serves. The exit code is 0 only if it does.",
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

func statusCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "status",
		Short:   "show the state of the node, its streams and its peers",
		Example: "  entente status --config operator.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			status, err := s.client.Status(ctx)
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(status)
			}
			return s.printStatus(status)
		}),
	}
	addSettings(c, shortTimeout)
	return c
}

func (s *session) printStatus(status *ententev1.GetStatusResponse) error {
	err := s.out.table(nil, [][]string{
		{"member", status.GetMember()},
		{"version", status.GetVersion()},
		{"roster", fmt.Sprintf("number %d, until %s", status.GetRosterNumber(), timeText(status.GetRosterExpiresAt()))},
		{"records", fmt.Sprint(status.GetRecords())},
		{"releases waiting", fmt.Sprint(status.GetReleasesWaiting())},
		{"data file", fmt.Sprintf("%.1f MB", float64(status.GetStoreBytes())/1e6)},
	})
	if err != nil {
		return err
	}
	var peers [][]string
	for _, p := range status.GetPeers() {
		peers = append(peers, []string{p.GetMember(), yes(p.GetConnected()), timeText(p.GetFreshAt()), p.GetLastError()})
	}
	err = s.section([]string{"PEER", "CONNECTED", "FRESH AT", "LAST ERROR"}, peers)
	if err != nil {
		return err
	}
	var streams, readers [][]string
	for _, t := range status.GetStreams() {
		id := hex.EncodeToString(t.GetStreamId())
		streams = append(streams, []string{id, t.GetOwner(), short(t.GetKind()), t.GetProjectId(), fmt.Sprint(t.GetSize()), yes(t.GetClosed())})
		for _, r := range t.GetReaders() {
			readers = append(readers, []string{id, r.GetMember(), fmt.Sprintf("%d of %d", r.GetConfirmedSize(), t.GetSize()),
				short(r.GetState()), timeText(r.GetConfirmedAt())})
		}
	}
	err = s.section([]string{"STREAM", "OWNER", "KIND", "PROJECT", "ENTRIES", "CLOSED"}, streams)
	if err != nil {
		return err
	}
	return s.section([]string{"STREAM", "READER", "CONFIRMED", "STATE", "SIGNED AT"}, readers)
}

// section is a table below another, left out where it has no rows.
func (s *session) section(head []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	err := s.out.printf("\n")
	if err != nil {
		return err
	}
	return s.out.table(head, rows)
}
