package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/coordinator"
	"entente.example/entente/nodes/national"
)

// runner is a node that is put together and not yet run.
type runner interface {
	Run(ctx context.Context) error
	Address() string
}

// nodeKind is what differs between the commands of a member's node and those of a coordinator's.
type nodeKind struct {
	name, short, long string
	make              func(national.Material, national.Deps) (runner, error)
}

func nodeCommand(p process) *cobra.Command {
	return p.nodeGroup(nodeKind{
		name: "node", short: "initialise, check and run a member's node",
		long: "A member runs one node. What it needs stands in one YAML file; each setting that is one word or number may also be\n" +
			"given by a flag or in the environment; a flag wins over the environment, that over the file. Paths in the file are meant\n" +
			"from its folder. An unknown key is an error. A whole file; data, keys, log and more have defaults:\n\n" +
			"  member: XA\n" +
			"  listen: 0.0.0.0:7443\n" +
			"  genesis: genesis.pb                 # what the node pins; the federation's other papers are checked against it\n" +
			"  roster: roster.pb\n" +
			"  projects: projects                  # folder with chains of projects\n" +
			"  signing_key: signing-key.key        # as `entente pki signing-key` makes it\n" +
			"  # revocation_lists: [crl.pem]       certificates that count no more, as `entente pki revoke` makes it\n" +
			"  systems:                            # who may push and follow; one that is not listed may do nothing\n" +
			"    - {name: intake, authority: Police of XA, projects: [\"*\"], clearance: confidential}\n" +
			"  officers:                           # who may ask, and for what\n" +
			"    - {name: k.lind, purposes: [criminal-investigation], projects: [harbour-light], clearance: restricted}\n\n" +
			"docs/operations.md has each key, and how a federation is founded.",
		make: func(m national.Material, deps national.Deps) (runner, error) { return national.New(m, deps) },
	})
}

func coordinatorCommand(p process) *cobra.Command {
	return p.nodeGroup(nodeKind{
		name: "coordinator", short: "initialise, check and run a coordinator's node",
		long: "A coordinator's node is a member's node that also merges what it is given, and answers each reader from what that reader\n" +
			"may see. Its configuration is that of a member's node: see `entente node --help`.",
		make: func(m national.Material, deps national.Deps) (runner, error) { return coordinator.New(m, deps) },
	})
}

func (p process) nodeGroup(kind nodeKind) *cobra.Command {
	example := func(command string) string {
		return fmt.Sprintf("  entente %s %s --config node.yaml", kind.name, command)
	}
	return group(kind.name, kind.short, kind.long, example("init")+"\n"+example("check")+"\n"+example("run"),
		p.nodeInit(example("init")), p.nodeCheck(example("check")), p.nodeRun(kind, example("run")))
}

// configured makes a command that works on a node's configuration.
func (p process) configured(c *cobra.Command, do func(c *cobra.Command, cfg *national.Config) error) *cobra.Command {
	c.Args = arguments(cobra.NoArgs)
	c.Flags().String("config", "", "YAML file of the node (or ENTENTE_NODE_CONFIG)")
	for _, s := range national.Settings() {
		c.Flags().String(s.Flag(), "", s.Help+" (or "+s.Variable()+")")
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := p.loadConfig(c)
		if err != nil {
			return err
		}
		return do(c, cfg)
	}
	return c
}

// loadConfig reads the configuration: a flag wins over the environment, that over the file.
func (p process) loadConfig(c *cobra.Command) (*national.Config, error) {
	path, err := c.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	if path == "" {
		path = p.getenv("ENTENTE_NODE_CONFIG")
	}
	overrides := map[string]string{}
	for _, s := range national.Settings() {
		if !c.Flags().Changed(s.Flag()) {
			continue
		}
		overrides[s.Name], err = c.Flags().GetString(s.Flag())
		if err != nil {
			return nil, err
		}
	}
	cfg, err := national.LoadConfig(path, p.LookupEnv, overrides)
	if err != nil {
		return nil, cli.UsageErrorf("%w", err)
	}
	return cfg, nil
}

func (p process) nodeInit(example string) *cobra.Command {
	c := &cobra.Command{
		Use: "init", Short: "make the sealed data file, and the keys that are missing",
		Long: "Makes an empty data file that is bound to the member and to the genesis, and those of sealing key, id key and signing key\n" +
			"that are not there yet. What is there is never touched. Keep copies of the three keys apart from the backups of the data\n" +
			"file: without the sealing key the data are lost, without the id key records get other ids.",
		Example: example,
	}
	return p.configured(c, func(c *cobra.Command, cfg *national.Config) error {
		err := national.Init(cfg, p.deps(cfg))
		if err != nil {
			return err
		}
		return p.printf("%s is ready; `check` says what is still missing for a start\n", cfg.Data)
	})
}

func (p process) nodeCheck(example string) *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "find what would keep the node from starting, without starting it",
		Long: "Reads the configuration, keys, certificate, roster and data file as a start would, and names every problem with what to do\n" +
			"about it. What only ought to be mended (a certificate or a roster that ends soon, a key that others may read) is a warning. The\n" +
			"exit code is 0 if there is nothing but warnings.",
		Example: example,
	}
	addOutput(c)
	return p.configured(c, func(c *cobra.Command, cfg *national.Config) error {
		asJSON, err := wantsJSON(c)
		if err != nil {
			return err
		}
		problems := national.Check(c.Context(), cfg, p.deps(cfg))
		err = p.printProblems(problems, asJSON)
		if err != nil {
			return err
		}
		problems = slices.DeleteFunc(problems, func(p national.Problem) bool { return p.Warning })
		if len(problems) > 0 {
			return fmt.Errorf("%d problems keep the node from starting", len(problems))
		}
		return nil
	})
}

// problemJSON is a problem in the words of the output.
type problemJSON struct {
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
	Field string `json:"field,omitempty"`
	What  string `json:"what"`
	Mend  string `json:"mend,omitempty"`
	// Warning: the node starts all the same.
	Warning bool `json:"warning,omitempty"`
}

func (p process) printProblems(problems []national.Problem, asJSON bool) error {
	if asJSON {
		list := []problemJSON{}
		for _, problem := range problems {
			list = append(list, problemJSON(problem))
		}
		return p.writeJSON(map[string]any{"problems": list})
	}
	for _, problem := range problems {
		err := p.printf("%s\n", problem)
		if err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(problems, func(p national.Problem) bool { return !p.Warning }) {
		return p.printf("the node would start\n")
	}
	return nil
}

func (p process) nodeRun(kind nodeKind, example string) *cobra.Command {
	c := &cobra.Command{
		Use: "run", Short: "run the node until SIGINT or SIGTERM",
		Long: "Runs the node. Roster, projects, certificate, signing key, revocation lists, limits and grants are read again when\n" +
			"their files change. The first SIGINT or SIGTERM\n" +
			"ends it in order; a second one at once. The log goes to stderr.",
		Example: example,
	}
	return p.configured(c, func(c *cobra.Command, cfg *national.Config) error {
		deps := p.deps(cfg)
		material, err := national.Load(cfg, deps)
		if err != nil {
			return cli.UsageErrorf("%w", err)
		}
		node, err := kind.make(material, deps)
		if err != nil {
			return err
		}
		return node.Run(c.Context())
	})
}

// deps is the world that a node is given.
func (p process) deps(cfg *national.Config) national.Deps {
	return national.Deps{Now: p.Now, Rand: p.Rand, Logger: cfg.NewLogger(p.Stderr), Version: readBuildVersion().String()}
}
