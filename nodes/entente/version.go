package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildVersion is what the Go toolchain wrote into this binary.
type buildVersion struct {
	// Version of the module: a tag, a pseudo-version, or (devel).
	Version string `json:"version"`
	// Revision of the sources; empty where they were not built from a repository.
	Revision string `json:"revision,omitempty"`
	// Modified says that the sources differed from that revision.
	Modified bool `json:"modified,omitempty"`
	// Time of the revision.
	Time string `json:"time,omitempty"`
	// Go is the version of the toolchain.
	Go string `json:"go"`
}

func readBuildVersion() buildVersion {
	v := buildVersion{Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Go = info.GoVersion
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// String is the version as nodes report it.
func (v buildVersion) String() string {
	if v.Revision == "" {
		return v.Version
	}
	text := v.Version + " " + v.Revision[:min(12, len(v.Revision))]
	if v.Modified {
		text += " modified"
	}
	return text
}

func versionCommand(p process) *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "show the version of this program, its sources and its toolchain",
		Long:    "Shows what the Go toolchain wrote into this binary: version, revision of the sources, toolchain.",
		Example: "  entente version\n  entente version --output json",
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			asJSON, err := wantsJSON(c)
			if err != nil {
				return err
			}
			v := readBuildVersion()
			if asJSON {
				return p.writeJSON(v)
			}
			return p.printf("entente %s, %s\n", v, v.Go)
		},
	}
	addOutput(c)
	return c
}
