package national_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"entente.example/entente/nodes/national"
)

const leastConfig = "member: XA\nfederation: 0000000000000000000000000000000000000000000000000000000000000000\n"

func TestAConfigurationThatIsWrongSaysWhere(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"an unknown key":                       {leastConfig + "lisen: 1.2.3.4:5\n", ":3: lisen: unknown key"},
		"a value of another type":              {leastConfig + "max_bytes: many\n", ":3: a value of the wrong type"},
		"a person's name where a list belongs": {leastConfig + "officers: Jane Example\n", ":3: a value of the wrong type"},
		"no member":                            {"federation: 00\n", "member: missing"},
		"a member that is none":                {"member: xa\ngenesis: g.pb\n", ":1: member: not the id of a member"},
		"no pin":                               {"member: XA\n", "genesis: missing"},
		"two pins":                             {leastConfig + "genesis: g.pb\n", "given together"},
		"a pin that is none":                   {"member: XA\nfederation: 00\n", ":2: federation: not 64 hexadecimal digits"},
		"an address without port":              {leastConfig + "listen: localhost\n", ":3: listen: not host:port"},
		"a limit that is too small":            {leastConfig + "max_bytes: 5\n", ":3: max_bytes: too small"},
		"an unknown form of log":               {leastConfig + "log: xml\n", ":3: log: unknown"},
		"an unknown level":                     {leastConfig + "log_level: loud\n", ":3: log_level: unknown"},
		"a system without a name":              {leastConfig + "systems: [{authority: A}]\n", ":3: systems"},
		"a system that may do nothing":         {leastConfig + "systems: [{name: s}]\n", "neither authority nor projects"},
		"an officer without purpose":           {leastConfig + "officers: [{name: o}]\n", "no purpose"},
		"an officer with a wrong one":          {leastConfig + "officers: [{name: o, purposes: [curiosity]}]\n", "no purpose, or one that does not exist"},
		"an officer listed twice":              {leastConfig + "officers: [{name: o, purposes: [criminal-investigation]}, {name: o, purposes: [criminal-investigation]}]\n", "listed twice"},
		"an unknown key within a list":         {leastConfig + "systems:\n  - name: s\n    authority: A\n    grants: true\n", ":6: grants: unknown key"},
		"an unknown key within limits":         {leastConfig + "limits:\n  nodes: {calls_per_minute: 5}\n", ":4: calls_per_minute: unknown key"},
		"a limit below nothing":                {leastConfig + "limits:\n  nodes:\n    calls_per_second: -5\n", ":5: limits.nodes.calls_per_second"},
		"a limit for nobody":                   {leastConfig + "limits:\n  identities:\n    Jane: {open_streams: 5}\n", ":5: limits.identities"},
		"a key exchange that is none":          {leastConfig + "own_key_exchange: weak\n", ":3: own_key_exchange: unknown"},
		"a delay that is none":                 {leastConfig + "grant_delay: tomorrow\n", ":3: grant_delay: not a length of time"},
		"a delay before the admission":         {leastConfig + "grant_delay: -1h\n", ":3: grant_delay: not a length of time"},
		"retention longer than any may be":     {leastConfig + "retain_years: 6\n", ":3: retain_years: not from 1 to 5"},
		"a review later than any may be":       {leastConfig + "review_years: 4\n", ":3: review_years: not from 1 to 3"},
		"an attestation that is none":          {leastConfig + "attestations: [neutrality, goodwill]\n", ":3: attestations: names one that does not exist"},
		"third parties that push nothing":      {leastConfig + "third_parties: [fiu]\n", ":3: third_parties: names \"fiu\""},
		"a delivery in no time":                {leastConfig + "deliver_within: 0s\n", ":3: deliver_within: not a length of time"},
		"compaction all the time":              {leastConfig + "compact_within: 1m\n", ":3: compact_within"},
		"a member that witnesses itself":       {leastConfig + "audit_witness: XA\n", ":3: audit_witness: not the id of another member"},
		"a clearance that is none":             {leastConfig + "officers: [{name: o, purposes: [criminal-investigation], clearance: cosmic}]\n", ":3: officers"},
		"the second system of two":             {leastConfig + "systems:\n  - {name: s, grant: true}\n  - {name: s, authority: A}\n", ":5: systems[1]"},
		"a number where files are named":       {leastConfig + "revocation_lists: {a: b}\n", ":3: a value of the wrong type"},
		"a second document":                    {leastConfig + "---\nmember: XB\n", "after the end of the document"},
		"a text that is not YAML at all":       {"member: [", "line"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.yaml")
			err := os.WriteFile(path, []byte(tt.text), 0o600)
			if err != nil {
				t.Fatal(err)
			}
			_, err = national.LoadConfig(path, nil, nil)
			var wrong *national.ConfigError
			if !errors.As(err, &wrong) || len(wrong.Problems) == 0 {
				t.Fatalf("got %v, want a *ConfigError", err)
			}
			if tt.want != "line" && !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "node.yaml") {
				t.Errorf("got %q, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "Jane") {
				t.Errorf("%q names a person", err)
			}
			for _, p := range wrong.Problems {
				if p.Mend == "" {
					t.Errorf("%s: no mend", p)
				}
			}
		})
	}
}

func TestAFlagWinsOverTheEnvironmentThatOverTheFileThatOverTheDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	text := leastConfig + "revocation_lists: [crl.pem]\nlisten: file:1\nlog: json\ncertificate: tls/node.pem\nmax_bytes: 33554432\n"
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) {
		value, ok := map[string]string{"ENTENTE_NODE_LISTEN": "env:1", "ENTENTE_NODE_LOG_LEVEL": "debug", "ENTENTE_NODE_MAX_BYTES": "67108864"}[name]
		return value, ok
	}
	c, err := national.LoadConfig(path, env, map[string]string{"listen": "flag:1", "data": "here.db"})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct{ name, got, want string }{
		{"flag", c.Listen, "flag:1"},
		{"environment", c.LogLevel, "debug"},
		{"file", c.Log, "json"},
		{"a path in the file begins at the file", c.Certificate, filepath.Join(filepath.Dir(path), "tls/node.pem")},
		{"a path in a flag begins where the caller is", c.Data, "here.db"},
		{"so does one in a list", c.RevocationLists[0], filepath.Join(filepath.Dir(path), "crl.pem")},
		{"backups stand beside the data file", c.Backups, "backups"},
		{"delay", c.GrantDelay, "24h"},
		{"default", c.Key, filepath.Join(filepath.Dir(path), "node.key")},
	} {
		if one.got != one.want {
			t.Errorf("%s: got %q, want %q", one.name, one.got, one.want)
		}
	}
	if c.MaxBytes != 67108864 {
		t.Errorf("max_bytes is %d", c.MaxBytes)
	}
	_, err = national.LoadConfig(path, nil, map[string]string{"no_such": "x"})
	if err == nil {
		t.Error("an unknown override was taken")
	}
}

func TestEachSettingHasALineOfHelp(t *testing.T) {
	for _, s := range national.Settings() {
		if s.Help == "" || strings.Contains(s.Flag(), "_") || !strings.HasPrefix(s.Variable(), "ENTENTE_NODE_") {
			t.Errorf("setting %+v", s.Name)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(leastConfig))
	f.Add([]byte(siteConfig))
	f.Add([]byte("systems: [{name: &a s}, *a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := national.ParseConfig(strings.NewReader(string(text)), "node.yaml")
		if err == nil && c == nil {
			t.Error("neither a configuration nor an error")
		}
	})
}

func FuzzParseChain(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\n\x02\n\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		chain, err := national.ParseChain(content)
		if err == nil && len(chain) == 0 {
			t.Error("an empty chain was taken")
		}
	})
}
