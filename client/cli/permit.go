package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// permitFlags are those of `entente permit`.
type permitFlags struct {
	holder, purpose, until string
	recipients             []string
	export                 bool
}

func permitCommand(env Env) *cobra.Command {
	var flags permitFlags
	c := &cobra.Command{
		Use:   "permit REFERENCE --holder MEMBER",
		Short: "let a holder of an own record under H2 pass on what it made from it",
		Long: "Lets a member that holds an own record under H2 pass on to others what it made from it (--for), or export it (--export), for\n" +
			"one purpose and until a date. It frees nothing else: a third member gets the record itself only by a release. It is about\n" +
			"the version that the holder has now; a later one needs a permission of its own. `entente permit revoke` takes it back.",
		Example: "  entente permit P-1042 --holder XB --for XC --for-purpose criminal-investigation --until 2027-01-01 --config system.yaml\n" +
			"  entente permit P-1042 --holder XB --export --for-purpose threat-analysis --until 2027-01-01 --config system.yaml",
		Args: withUsage(cobra.ExactArgs(1)),
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			request, err := flags.request(s, args[0])
			if err != nil {
				return err
			}
			entries, err := s.client.Permit(ctx, request)
			if err != nil {
				return err
			}
			return s.printPermit(entries)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().StringVar(&flags.holder, "holder", "", "the member that holds the record; required")
	c.Flags().StringSliceVar(&flags.recipients, "for", nil, "members to whom it may pass on what it made from the record")
	c.Flags().BoolVar(&flags.export, "export", false, "it may export the record to files")
	c.Flags().StringVar(&flags.purpose, "for-purpose", "", "for what it may be used, such as criminal-investigation; required")
	c.Flags().StringVar(&flags.until, "until", "", "until when, excluded: "+untilHelp+"; required")
	addOnBehalf(c)
	c.AddCommand(revokeCommand(env))
	return c
}

func (f *permitFlags) request(s *session, reference string) (*ententev1.PermitRequest, error) {
	if len(f.recipients) == 0 && !f.export {
		return nil, UsageErrorf("say what is permitted: give --for MEMBER, --export, or both")
	}
	members, err := parseMembers(append([]string{f.holder}, f.recipients...))
	if err != nil {
		return nil, UsageErrorf("--holder and --for: %w", err)
	}
	request := &ententev1.PermitRequest{ProviderReference: reference, Holder: members[0], Recipients: members[1:], Export: f.export}
	slices.Sort(request.Recipients)
	request.Purpose, err = parseEnum[ententev1.Purpose]("--for-purpose", f.purpose)
	if err != nil {
		return nil, err
	}
	request.Until, err = parseTime("--until", f.until)
	if err != nil {
		return nil, err
	}
	request.Consultation, err = s.consultation()
	return request, err
}

func (s *session) printPermit(entries []*ententev1.EntryRef) error {
	if s.out.json {
		return s.out.document(&ententev1.PermitResponse{Entries: entries})
	}
	for _, entry := range entries {
		err := s.out.printf("permitted: entry %s\n", entryText(entry))
		if err != nil {
			return err
		}
	}
	return nil
}

func revokeCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:          "revoke STREAM/SEQUENCE",
		Short:        "take a permission back",
		Long:         "Takes back the permission that stands in an entry, as `entente permit` printed it and `entente permissions` lists it.",
		Example:      "  entente permit revoke 00112233445566778899aabbccddeeff/12 --config system.yaml",
		Args:         withUsage(cobra.ExactArgs(1)),
		SilenceUsage: true,
		RunE: call(env, func(ctx context.Context, s *session, args []string) error {
			entry, err := parseEntry(args[0])
			if err != nil {
				return err
			}
			why, err := s.consultation()
			if err != nil {
				return err
			}
			err = s.client.RevokePermission(ctx, &ententev1.RevokePermissionRequest{Consultation: why, Entry: entry})
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(&ententev1.RevokePermissionResponse{})
			}
			return s.out.printf("taken back: entry %s\n", entryText(entry))
		}),
	}
	addOnBehalf(c)
	return c
}

func permissionsCommand(env Env) *cobra.Command {
	var received bool
	c := &cobra.Command{
		Use:   "permissions",
		Short: "list permissions to pass on, given or received",
		Long: "Lists the permissions that the own member has given under H2 or, with --received, those that it holds from others. One is in\n" +
			"force until it is taken back or over, and as long as the version that it is about stands. JSON: one a line.",
		Example: "  entente permissions --config system.yaml\n  entente permissions --received --config system.yaml",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			why, err := s.consultation()
			if err != nil {
				return err
			}
			held, err := s.client.ListPermissions(ctx, &ententev1.ListPermissionsRequest{Consultation: why, Received: received})
			if err != nil {
				return err
			}
			line := func(p *ententev1.HeldPermission) error { return s.out.document(p) }
			head := []string{"ENTRY", "OWNER", "RECORD", "HOLDER", "FOR", "EXPORT", "PURPOSE", "UNTIL", "IN FORCE"}
			return printSequence(s, head, 0, each(held), line, permissionRow)
		}),
	}
	addSettings(c, shortTimeout)
	c.Flags().BoolVar(&received, "received", false, "those that the own member has received")
	return c
}

func permissionRow(held *ententev1.HeldPermission) []string {
	p := held.GetPermission()
	return []string{entryText(held.GetEntry()), p.GetOwner(), hex.EncodeToString(p.GetRecordId()), p.GetHolder(), strings.Join(p.GetRecipients(), ","),
		yes(p.GetExport()), short(p.GetPurpose()), timeText(p.GetUntil()), yes(held.GetInForce())}
}

// countText is a number, empty for one that is not known.
func countText(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
