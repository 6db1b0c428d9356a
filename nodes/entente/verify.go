package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/national"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

// errDamage is the end of a verification that found damage; all of it was named before.
var errDamage = errors.New("the data file is damaged: keep it aside, put a backup in its place and start the node; " +
	"what the backup lacks comes back from its readers, and by pushing again")

// verifyOptions are the flags of `verify`.
type verifyOptions struct {
	config, data string
	sealing      []string
}

func verifyCommand(p process) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify",
		Short: "check a node's data file, every value and every stream, while the node is stopped",
		Long: "Opens the data file for reading and checks all of it: each page and each sealed value; the log, by reading the node's whole\n" +
			"state from it; and each stream, entry by entry, against the checkpoint that its owner signed. All damage is named, by place\n" +
			"and never by content. The exit code is 0 only if there is none. A backup is checked the same way with --data.",
		Example: "  entente verify --config node.yaml\n  entente verify --data backup/node.db --sealing-key sealing.key --output json",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			options, err := p.verifyTarget(o)
			if err != nil {
				return err
			}
			report, err := p.verifyFile(c.Context(), options)
			if err != nil {
				return err
			}
			err = p.printVerified(report, asJSON)
			if err != nil {
				return err
			}
			if len(report.Damage) > 0 {
				return errDamage
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.config, "config", "", "the node's configuration, for data file and sealing key")
	c.Flags().StringVar(&o.data, "data", "", "data file, instead of the configuration's")
	c.Flags().StringArrayVar(&o.sealing, "sealing-key", nil, "sealing key file, instead of the configuration's; several after a change of key")
	addOutput(c)
	return c
}

// verifyTarget finds the file and its keys.
func (p process) verifyTarget(o verifyOptions) (store.Options, error) {
	options := store.Options{Path: o.data, ReadOnly: true, Now: p.Now}
	paths := o.sealing
	if o.config != "" {
		cfg, err := national.LoadConfig(o.config, p.LookupEnv, nil)
		if err != nil {
			return options, cli.UsageErrorf("%w", err)
		}
		if o.data == "" {
			options.Path = cfg.Data
		}
		if len(paths) == 0 {
			paths = append([]string{cfg.SealingKey}, cfg.OlderSealingKeys...)
		}
	}
	if options.Path == "" || len(paths) == 0 {
		return options, cli.UsageErrorf("give --config with the node's configuration, or --data and --sealing-key")
	}
	for i, path := range paths {
		key, err := store.LoadKey(path)
		if err != nil {
			return options, cli.UsageErrorf("%w", err)
		}
		if i == 0 {
			options.Keys.Current = key
			continue
		}
		options.Keys.Older = append(options.Keys.Older, key)
	}
	return options, nil
}

// verified is what a verification found.
type verified struct {
	File       string `json:"file"`
	Member     string `json:"member,omitempty"`
	Federation string `json:"federation,omitempty"`
	Bytes      int64  `json:"bytes"`
	// Values that were opened, Records of the own member, Streams own and received, and their Entries.
	Values  uint64 `json:"values"`
	Records uint64 `json:"records"`
	Streams int    `json:"streams"`
	Entries uint64 `json:"entries"`
	// Payloads that were compared with what their header commits to.
	Payloads uint64 `json:"payloads"`
	// Damage names every place.
	Damage []string `json:"damage"`
}

func (r *verified) damaged(format string, args ...any) {
	r.Damage = append(r.Damage, fmt.Sprintf(format, args...))
}

// damage notes an error as damage, place by place where it names places.
func (r *verified) damage(err error) {
	var found *store.DamageError
	if !errors.As(err, &found) || len(found.Places) == 0 {
		r.damaged("%v", err)
		return
	}
	for _, place := range found.Places {
		if found.Err != nil {
			place += ": " + found.Err.Error()
		}
		r.damaged("%s", place)
	}
	if found.More > 0 {
		r.damaged("and %d more places", found.More)
	}
}

// verifyFile checks one data file. The error is for what kept it from being checked; damage is in the report.
func (p process) verifyFile(ctx context.Context, options store.Options) (*verified, error) {
	report := &verified{File: options.Path, Damage: []string{}}
	st, err := store.Open(options)
	var found *store.DamageError
	switch {
	case errors.Is(err, store.ErrLocked):
		return nil, cli.UsageErrorf("%w: stop the node first", err)
	case errors.Is(err, store.ErrWrongKey), errors.Is(err, store.ErrMissing), errors.Is(err, store.ErrNotAStore), errors.Is(err, store.ErrNewerSchema):
		return nil, cli.UsageErrorf("%w", err)
	case errors.As(err, &found):
		report.damage(err)
		return report, nil
	case err != nil:
		return nil, err
	}
	defer st.Close()
	report.Bytes = st.Size()
	err = p.verifyValues(ctx, st, report)
	if err != nil {
		return nil, err
	}
	return report, p.verifyState(ctx, st, report)
}

// verifyValues opens every value of the file.
func (p process) verifyValues(ctx context.Context, st *store.Store, report *verified) error {
	err := st.Verify(ctx, func(done, total uint64) {
		report.Values = done
		p.progress("values %d of %d", done, total)
	})
	p.progressDone()
	var found *store.DamageError
	if errors.As(err, &found) {
		report.damage(err)
		return nil
	}
	return err
}

// verifyState reads the node's state from the log and the streams, and checks each stream.
func (p process) verifyState(ctx context.Context, st *store.Store, report *verified) error {
	id, federation, err := readIdentity(st.Identity())
	if err != nil {
		report.damage(err)
		return nil
	}
	report.Member, report.Federation = string(id), hex.EncodeToString(federation[:])
	roster, err := p.heldRoster(st, federation)
	if err != nil {
		report.damage(err)
		return nil
	}
	if roster == nil {
		return nil // the node never ran: there is no stream and no record
	}
	held, err := ledger.Open(st, ledger.Config{
		Self: id,
		// Nothing here makes the id of a record, so the member's id key is not asked for.
		IDKey:     make([]byte, 32),
		Directory: func() *ledger.Directory { return &ledger.Directory{Roster: roster} },
		Now:       p.Now,
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		report.damage(err)
		return nil
	}
	report.Records = held.Stats().Records
	return p.verifyStreams(ctx, held, roster, report)
}

// readIdentity reads whose file it is, as nodes/national wrote it.
func readIdentity(identity []byte) (member.ID, [32]byte, error) {
	lines := strings.Split(string(identity), "\n")
	if len(lines) < 3 || lines[0] != "entente node" {
		return "", [32]byte{}, errors.New("the data file does not say whose it is")
	}
	id, err := member.ParseID(lines[1])
	if err != nil {
		return "", [32]byte{}, fmt.Errorf("the data file does not say whose it is: %w", err)
	}
	federation, err := hex.DecodeString(lines[2])
	if err != nil || len(federation) != 32 {
		return "", [32]byte{}, errors.New("the data file does not say of which federation it is")
	}
	return id, [32]byte(federation), nil
}

// heldRoster is the newest roster that the node accepted, verified again; nil where it never ran. It may have expired since:
// what was signed while it was in force stays signed.
func (p process) heldRoster(st *store.Store, federation [32]byte) (*member.Roster, error) {
	var content []byte
	err := st.View(func(v *store.View) (err error) {
		content, err = v.GetKey("node-documents", []byte("roster")) // where nodes/national keeps it
		return err
	})
	if err != nil || content == nil {
		return nil, err
	}
	doc, err := national.ParseDocument(content, member.TypeRoster)
	if err != nil {
		return nil, fmt.Errorf("roster in the data file: %w", err)
	}
	roster, err := member.VerifyRoster(doc, federation, nil, p.Now())
	if err != nil && !errors.Is(err, member.ErrRosterExpired) {
		return nil, fmt.Errorf("roster in the data file: %w", err)
	}
	return roster, nil
}

func (p process) printVerified(r *verified, asJSON bool) error {
	if asJSON {
		return p.writeJSON(r)
	}
	for _, place := range r.Damage {
		err := p.printf("DAMAGE  %s\n", place)
		if err != nil {
			return err
		}
	}
	outcome := "no damage"
	if len(r.Damage) > 0 {
		outcome = fmt.Sprintf("%d damaged places", len(r.Damage))
	}
	return p.printf("%s of %s: %s in %d values, %d own records, %d streams with %d entries and %d payloads\n", r.File, r.Member,
		outcome, r.Values, r.Records, r.Streams, r.Entries, r.Payloads)
}

// progress shows how far a long check is, on a terminal only.
func (p process) progress(format string, args ...any) {
	if p.IsTerminal {
		fmt.Fprintf(p.Stderr, "\r\x1b[K"+format, args...)
	}
}

func (p process) progressDone() {
	if p.IsTerminal {
		fmt.Fprint(p.Stderr, "\r\x1b[K")
	}
}
