package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func pendingCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "pending",
		Short: "list releases that wait for a second person",
		Long: "Lists the releases that wait for a second person's decision: who asked, why a second person is needed, and what each\n" +
			"recipient would get, value by value. The first line of each is what `entente approve` and `entente refuse` take: the id\n" +
			"with the version that was looked at. It is for officers whom the member lets decide. JSON: one a line.",
		Example: "  entente pending --config officer.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			why, err := s.consultation()
			if err != nil {
				return err
			}
			for release, err := range s.client.ListPending(ctx, &ententev1.ListPendingRequest{Consultation: why}) {
				if err != nil {
					return err
				}
				err = s.printPending(release)
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
	addSettings(c, shortTimeout)
	return c
}

func (s *session) printPending(release *ententev1.PendingRelease) error {
	if s.out.json {
		return s.out.lineWithForms(release, release.GetForms())
	}
	err := s.out.printf("%x@%d-%x\n", release.GetRecordId(), release.GetVersion(), release.GetState())
	if err != nil {
		return err
	}
	rows := [][]string{
		{"  reference", release.GetProviderReference()}, {"  authority", release.GetAuthority()}, {"  asked by", release.GetProposedBy()},
		{"  to", audiencesText(release.GetAudiences())},
	}
	for _, reason := range release.GetReasons() {
		rows = append(rows, []string{"  because", reason})
	}
	err = s.out.table(nil, rows)
	if err != nil {
		return err
	}
	for _, same := range sameForms(release.GetForms()) {
		form, err := decodeForm(same[0])
		if err != nil {
			return err
		}
		err = s.out.printf("  %s gets:\n", clean(recipientsText(same)))
		if err != nil {
			return err
		}
		rows = nil
		for _, row := range fieldRows("", form.ProtoReflect()) {
			rows = append(rows, []string{"    " + row[0], row[1]})
		}
		err = s.out.table(nil, rows)
		if err != nil {
			return err
		}
	}
	return s.out.printf("\n")
}

func approveCommand(env Env) *cobra.Command {
	c := decideCommand(env, true)
	c.Use = "approve RECORD-ID[@VERSION-STATE]…"
	c.Short = "let releases go that wait for a second person"
	c.Long = "Lets releases go that wait for a second person, by record id. With @VERSION-STATE, as `entente pending` shows it, only that\n" +
		"version goes, to those audiences and in those forms; with @VERSION, or without, what is pending now is looked up and sent\n" +
		"along. A record that changes meanwhile stays pending. Who asked for a release cannot approve it."
	c.Example = "  entente approve 00112233445566778899aabbccddeeff@2-8f3a01c2d4e5b697 --config officer.yaml\n" +
		"  entente approve 00112233445566778899aabbccddeeff --reason \"seen with the unit\" --config officer.yaml"
	return c
}

func refuseCommand(env Env) *cobra.Command {
	c := decideCommand(env, false)
	c.Use = "refuse RECORD-ID[@VERSION-STATE]… --reason TEXT"
	c.Short = "end releases that wait for a second person"
	c.Long = "Ends releases that wait for a second person, by record id, and says why. What stands released already stays. With @VERSION-STATE,\n" +
		"as `entente pending` shows it, only just that is refused; without, what is pending now is looked up and sent along."
	c.Example = "  entente refuse 00112233445566778899aabbccddeeff@2 --reason \"the source is at risk\" --config officer.yaml"
	return c
}

// decideCommand is what approve and refuse have in common.
func decideCommand(env Env, approve bool) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Args: withUsage(cobra.MinimumNArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			if !approve && reason == "" {
				return UsageErrorf("say why: give --reason, without naming anybody")
			}
			why, err := s.consultation()
			if err != nil {
				return err
			}
			request := &ententev1.DecideReleaseRequest{Consultation: why, Approve: approve, Reason: reason}
			err = parseDecided(request, args)
			if err == nil {
				err = s.lookUpPending(ctx, request)
			}
			if err != nil {
				return err
			}
			verdicts, err := s.client.DecideRelease(ctx, request)
			return s.printVerdicts(verdicts, err)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&reason, "reason", "", "why, without naming anybody; required to refuse")
	return c
}

// parseDecided reads ID, ID@VERSION or ID@VERSION-STATE; what is not given is 0.
func parseDecided(request *ententev1.DecideReleaseRequest, args []string) error {
	for _, arg := range args {
		text, versionText, versioned := strings.Cut(arg, "@")
		id, err := parseID("RECORD-ID", text)
		if err != nil {
			return err
		}
		versionText, stateText, stated := strings.Cut(versionText, "-")
		var version, state uint64
		if versioned {
			version, err = strconv.ParseUint(versionText, 10, 64)
		}
		if err != nil || versioned && version == 0 {
			return UsageErrorf("%q: the version after \"@\" is a number from 1", arg)
		}
		if stated {
			state, err = strconv.ParseUint(stateText, 16, 64)
		}
		if err != nil {
			return UsageErrorf("%q: what comes after \"-\" is as `entente pending` shows it", arg)
		}
		request.RecordIds = append(request.RecordIds, id)
		request.Versions, request.States = append(request.Versions, version), append(request.States, state)
	}
	return nil
}

// lookUpPending fills in what is pending now, for the records of which it was not given.
func (s *session) lookUpPending(ctx context.Context, request *ententev1.DecideReleaseRequest) error {
	missing := map[string]bool{}
	for i, id := range request.GetRecordIds() {
		if request.GetStates()[i] == 0 {
			missing[string(id)] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found := map[string]*ententev1.PendingRelease{}
	for release, err := range s.client.ListPending(ctx, &ententev1.ListPendingRequest{Consultation: request.GetConsultation()}) {
		if err != nil {
			return fmt.Errorf("look up what is pending: %w", err)
		}
		if missing[string(release.GetRecordId())] {
			found[string(release.GetRecordId())] = release
		}
		if len(found) == len(missing) {
			break
		}
	}
	for i, id := range request.GetRecordIds() {
		if request.GetStates()[i] != 0 {
			continue
		}
		release := found[string(id)]
		if release == nil {
			return UsageErrorf("no release of record %s waits for a decision; nothing was decided (`entente pending` lists what waits)", hex.EncodeToString(id))
		}
		request.States[i] = release.GetState()
		if request.GetVersions()[i] == 0 {
			request.Versions[i] = release.GetVersion()
		}
	}
	return nil
}
