package national

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"entente.example/entente/server"
	"entente.example/entente/server/policy"
)

// Config is the configuration file of a node, and this is its manual. It is YAML; an unknown key is an error. Each setting
// that is one word or number may also come from the environment (ENTENTE_NODE_ and its name in capitals) or a flag, which
// wins over the environment, which wins over the file. Paths in the file are meant from the folder of the file.
//
// While the node runs, the files of roster, projects, certificate, key, signing key and revocation lists are read again, and
// so are revocation_lists, limits, systems and officers of this file; all other settings count from the next start.
type Config struct {
	// Member is the id of the member, such as XA. Required.
	Member string `yaml:"member"`
	// Listen is where the node listens, host:port. Required to run.
	Listen string `yaml:"listen"`

	// Data is the data file. Default: node.db.
	Data string `yaml:"data"`
	// Marker is the file that says that the last stop was clean. Keep it out of backups. Default: node.marker.
	Marker string `yaml:"marker"`
	// MaxBytes is how large the data file may grow, at least 33554432 (32 MiB); 0: no limit.
	MaxBytes int64 `yaml:"max_bytes"`
	// Backups is the folder into which the command backup writes copies of the data file; it is made when it is first needed.
	// Default: backups, beside the data file.
	Backups string `yaml:"backups"`

	// SealingKey is the file with the key that the data file is sealed with. Keep it out of backups of the data file, and
	// never lose it. Default: sealing.key.
	SealingKey string `yaml:"sealing_key"`
	// OlderSealingKeys are files of earlier sealing keys that values in the data file still need.
	OlderSealingKeys []string `yaml:"older_sealing_keys"`
	// IDKey is the file with the key that record ids come from. With another key the same records get other ids.
	// Default: id.key.
	IDKey string `yaml:"id_key"`
	// SigningKey is the PEM file with the member's signing key. When another key stands in the file, the node goes over to
	// it as soon as the roster in force names it as a current one. Default: signing-key.key.
	SigningKey string `yaml:"signing_key"`
	// Certificate and Key are the PEM files of the node's TLS identity, spiffe://<member>.entente/node. Defaults: node.pem and node.key.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// RevocationLists are PEM files of certificate revocation lists, as the command pki revoke makes them: what is on them is
	// refused here at once, and at all other members within seconds. Those of other members come by themselves, and may
	// also be named here.
	RevocationLists []string `yaml:"revocation_lists"`

	// Genesis is the file of the federation's genesis. It, or Federation, is required: it is what the node pins.
	Genesis string `yaml:"genesis"`
	// Federation is SHA-256 of the genesis in 64 hexadecimal digits.
	Federation string `yaml:"federation"`
	// Roster is the file of the roster. Default: roster.pb.
	Roster string `yaml:"roster"`
	// Projects is a folder; each file in it that ends in .pb is the chain of a project. Optional.
	Projects string `yaml:"projects"`
	// Coordinator is the member to whose node officers' questions go. Default: the first coordinator of the roster.
	Coordinator string `yaml:"coordinator"`
	// GrantDelay is how long after the admission of a member the streams for present and future members open to it, such as
	// 24h or 90m: the time in which the owner can look at what the newcomer will read. Default: 24h.
	GrantDelay string `yaml:"grant_delay"`
	// RetainYears is for how many years from its recording a record may be kept at most, 1 to 5, and ReviewYears after how many
	// its need must be reviewed, 1 to 3. A record that says longer is refused. Defaults: 5 and 3.
	RetainYears int `yaml:"retain_years"`
	ReviewYears int `yaml:"review_years"`
	// Attestations are what a record must be vouched for by its provider to be taken, such as neutrality and lawful-source.
	// Default: none is demanded.
	Attestations []string `yaml:"attestations"`
	// SuspicionBasis says whether a person may be entered as a suspect only with the basis of the suspicion. Default: false.
	SuspicionBasis bool `yaml:"suspicion_basis"`
	// ThirdParties are the authorities whose records hold data of a financial intelligence unit, or of another third party that
	// must agree to each use: such a record carries H2, and where the consent stands. Default: none.
	ThirdParties []string `yaml:"third_parties"`
	// DeliverWithin is how long a reader may take to sign for what it was sent, or for a withdrawal, before that is overdue.
	// Default: 24h.
	DeliverWithin string `yaml:"deliver_within"`
	// CompactWithin is how long what is erased may stay in the data file: the node compacts it by itself in time, from 1h on.
	// Default: 24h.
	CompactWithin string `yaml:"compact_within"`
	// AuditWitness is the member that countersigns the audit trail. Default: the first coordinator of the roster, or the first
	// other member.
	AuditWitness string `yaml:"audit_witness"`
	// OwnKeyExchange is hybrid or classic. classic lets the member's own systems and people connect without post-quantum key
	// exchange, where their libraries know none; nodes never may. Default: hybrid.
	OwnKeyExchange string `yaml:"own_key_exchange"`

	// Limits are what one identity may do: calls, records, bytes and work in a second, and long calls at once; by kind of
	// identity, and for single ones by name (system/registry; XB/node for the node of another member). Ten seconds' worth
	// may be used at once. What is not given is a default that normal work never meets.
	Limits server.Quotas `yaml:"limits"`
	// Systems are the national systems that may push and follow. A system that is not listed may do nothing.
	Systems []SystemConfig `yaml:"systems"`
	// Officers are those who may ask. An officer who is not listed gets no answer.
	Officers []OfficerConfig `yaml:"officers"`

	// Log is text or json. Default: text.
	Log string `yaml:"log"`
	// LogLevel is debug, info, warn or error. Default: info.
	LogLevel string `yaml:"log_level"`

	path  string            // of the file, empty if there is none
	given map[string]string // what environment and flags gave, by name of the setting
	lines map[string]int    // of its keys and of the items of its lists, by path: systems[1].name
}

// SystemConfig is what the member allows one of its systems.
type SystemConfig struct {
	// Name is that of the certificate: spiffe://<member>.entente/system/<name>.
	Name string `yaml:"name"`
	// Authority is in whose name it pushes, and whose records it reads.
	Authority string `yaml:"authority"`
	// Projects are those that it may follow; "*": everything that the member may see.
	Projects []string `yaml:"projects"`
	// Grant says whether it may open the member's earlier streams to readers, and ask what a reader gets or would get.
	Grant bool `yaml:"grant"`
	// Permit says whether it may give permissions under H2, and take them back.
	Permit bool `yaml:"permit"`
	// Clearance is the highest classification of others' records that it may see: for-official-use-only, restricted or
	// confidential. A record without a marking counts as confidential. Default: for-official-use-only.
	Clearance string `yaml:"clearance"`
}

// OfficerConfig is what the member allows one of its officers.
type OfficerConfig struct {
	// Name is that of the certificate: spiffe://<member>.entente/officer/<name>.
	Name string `yaml:"name"`
	// Purposes for which the officer may ask, such as criminal-investigation.
	Purposes []string `yaml:"purposes"`
	// Projects that the officer may see; "*": everything that the member may see.
	Projects []string `yaml:"projects"`
	// Approve says whether the officer decides on releases that need a second person.
	Approve bool `yaml:"approve"`
	// Clearance is the highest classification that the officer may see, as of a system.
	Clearance string `yaml:"clearance"`
}

// Setting is one that flags and the environment may give.
type Setting struct {
	// Name is the key in the file and, with hyphens for underscores, the flag.
	Name string
	// Help is one line.
	Help string

	path bool
	at   func(*Config) *string
}

// Variable is its name in the environment.
func (s Setting) Variable() string { return "ENTENTE_NODE_" + strings.ToUpper(s.Name) }

// Flag is its name as a flag.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

// Settings lists the settings that flags and the environment may give, in the order of the manual.
func Settings() []Setting {
	return []Setting{
		{"member", "id of the member, such as XA", false, func(c *Config) *string { return &c.Member }},
		{"listen", "where to listen, host:port", false, func(c *Config) *string { return &c.Listen }},
		{"data", "the data file", true, func(c *Config) *string { return &c.Data }},
		{"marker", "the file that marks a clean stop", true, func(c *Config) *string { return &c.Marker }},
		{maxBytesName, "how large the data file may grow, in bytes; 0: no limit", false, nil},
		{"backups", "folder for copies of the data file", true, func(c *Config) *string { return &c.Backups }},
		{"sealing_key", "file with the sealing key of the data file", true, func(c *Config) *string { return &c.SealingKey }},
		{"id_key", "file with the key for record ids", true, func(c *Config) *string { return &c.IDKey }},
		{"signing_key", "PEM file with the member's signing key", true, func(c *Config) *string { return &c.SigningKey }},
		{"certificate", "PEM file with the node's certificate", true, func(c *Config) *string { return &c.Certificate }},
		{"key", "PEM file with its private key", true, func(c *Config) *string { return &c.Key }},
		{"genesis", "file of the federation's genesis", true, func(c *Config) *string { return &c.Genesis }},
		{"federation", "SHA-256 of the genesis in hexadecimal, instead of genesis", false, func(c *Config) *string { return &c.Federation }},
		{"roster", "file of the roster", true, func(c *Config) *string { return &c.Roster }},
		{"projects", "folder with chains of projects", true, func(c *Config) *string { return &c.Projects }},
		{"coordinator", "member to forward officers' questions to", false, func(c *Config) *string { return &c.Coordinator }},
		{"deliver_within", "how long a reader may take to sign for what it was sent, such as 24h", false, func(c *Config) *string { return &c.DeliverWithin }},
		{"compact_within", "how long what is erased may stay in the data file, such as 24h", false, func(c *Config) *string { return &c.CompactWithin }},
		{"audit_witness", "member that countersigns the audit trail", false, func(c *Config) *string { return &c.AuditWitness }},
		{"own_key_exchange", "hybrid, or classic for the member's own older systems", false, func(c *Config) *string { return &c.OwnKeyExchange }},
		{"grant_delay", "how long after an admission streams for future members open, such as 24h", false, func(c *Config) *string { return &c.GrantDelay }},
		{"log", "text or json", false, func(c *Config) *string { return &c.Log }},
		{"log_level", "debug, info, warn or error", false, func(c *Config) *string { return &c.LogLevel }},
	}
}

const maxBytesName = "max_bytes"

// ConfigError says what is wrong with a configuration, and where.
type ConfigError struct{ Problems []Problem }

// Error gives a line a problem.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// LoadConfig reads a configuration: the file at path (none where path is empty), then the environment, then overrides, by
// name of the setting. It does not look into the files that it names: see Check. The error is a *ConfigError for what the
// configuration says.
func LoadConfig(path string, env func(string) (string, bool), overrides map[string]string) (*Config, error) {
	c := &Config{}
	if path != "" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		defer file.Close()
		c, err = ParseConfig(file, path)
		if err != nil {
			return nil, err
		}
	}
	err := c.apply(env, overrides)
	if err != nil {
		return nil, err
	}
	c.defaults(path)
	problems := c.problems()
	if len(problems) > 0 {
		return nil, &ConfigError{problems}
	}
	return c, nil
}

// ParseConfig reads the text of a configuration file; path names it in errors, and its folder is where relative paths
// begin. No defaults are filled in.
func ParseConfig(r io.Reader, path string) (*Config, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c := &Config{path: path, lines: map[string]int{}}
	decoder := yaml.NewDecoder(strings.NewReader(string(content)))
	decoder.KnownFields(true)
	err = decoder.Decode(c)
	if errors.Is(err, io.EOF) {
		return c, nil
	}
	if err != nil {
		return nil, &ConfigError{yamlProblems(path, err)}
	}
	if !errors.Is(decoder.Decode(new(yaml.Node)), io.EOF) {
		return nil, &ConfigError{[]Problem{{File: path, What: "there is something after the end of the document",
			Mend: "a configuration is one YAML document; remove the rest"}}}
	}
	var root yaml.Node
	err = yaml.Unmarshal(content, &root)
	if err != nil {
		return nil, &ConfigError{yamlProblems(path, err)}
	}
	for _, document := range root.Content {
		c.noteLines("", document)
	}
	for _, p := range c.paths() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return c, nil
}

// noteLines notes where each key and each item of a list stands.
func (c *Config) noteLines(path string, node *yaml.Node) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := strings.TrimPrefix(path+"."+node.Content[i].Value, ".")
			c.lines[key] = node.Content[i].Line
			c.noteLines(key, node.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, item := range node.Content {
			key := fmt.Sprintf("%s[%d]", path, i)
			c.lines[key] = item.Line
			c.noteLines(key, item)
		}
	}
}

// paths are all settings that name files.
func (c *Config) paths() []*string {
	var list []*string
	for _, s := range Settings() {
		if s.path {
			list = append(list, s.at(c))
		}
	}
	for i := range c.OlderSealingKeys {
		list = append(list, &c.OlderSealingKeys[i])
	}
	for i := range c.RevocationLists {
		list = append(list, &c.RevocationLists[i])
	}
	return list
}

// yamlProblems rewords the library's text, which names Go types and repeats values.
func yamlProblems(path string, err error) []Problem {
	pattern := regexp.MustCompile(`^line (\d+): (.*)$`)
	unknown := regexp.MustCompile(`field (\S+) not found in type \S+`)
	var list []Problem
	for text := range strings.SplitSeq(strings.TrimPrefix(err.Error(), "yaml: "), "\n") {
		text = strings.TrimSpace(text)
		if text == "unmarshal errors:" {
			continue
		}
		p := Problem{File: path, What: text, Mend: "see `entente node --help`"}
		if match := pattern.FindStringSubmatch(text); match != nil {
			p.Line, _ = strconv.Atoi(match[1]) // digits by the pattern
			p.What = match[2]
		}
		if match := unknown.FindStringSubmatch(p.What); match != nil {
			p.Field, p.What, p.Mend = match[1], "unknown key", "correct the spelling or remove it"
		}
		if strings.HasPrefix(p.What, "cannot unmarshal") { // the library's text repeats the value, which may be a name
			p.What, p.Mend = "a value of the wrong type", "see `entente node --help` for what this key takes"
		}
		list = append(list, p)
	}
	return list
}

// apply puts environment and overrides over what the file says.
func (c *Config) apply(env func(string) (string, bool), overrides map[string]string) error {
	known := map[string]bool{}
	c.given = map[string]string{}
	for _, s := range Settings() {
		known[s.Name] = true
		value, given := overrides[s.Name]
		from := "--" + s.Flag()
		if !given && env != nil {
			value, given = env(s.Variable())
			from = s.Variable()
		}
		if !given {
			continue
		}
		if s.at != nil {
			*s.at(c) = value
			c.given[s.Name] = value
			continue
		}
		limit, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return &ConfigError{[]Problem{{File: from, Field: s.Name, What: "not a number", Mend: "give a number of bytes"}}}
		}
		c.MaxBytes = limit
	}
	for name := range overrides {
		if !known[name] {
			return fmt.Errorf("there is no setting %q", name)
		}
	}
	return nil
}

func (c *Config) defaults(path string) {
	folder := ""
	if path != "" {
		folder = filepath.Dir(path)
	}
	for _, d := range []struct {
		at   *string
		name string
	}{
		{&c.Data, "node.db"}, {&c.Marker, "node.marker"}, {&c.SealingKey, "sealing.key"}, {&c.IDKey, "id.key"},
		{&c.SigningKey, "signing-key.key"}, {&c.Certificate, "node.pem"}, {&c.Key, "node.key"}, {&c.Roster, "roster.pb"},
	} {
		if *d.at == "" {
			*d.at = filepath.Join(folder, d.name)
		}
	}
	c.Backups = cmp.Or(c.Backups, filepath.Join(filepath.Dir(c.Data), "backups"))
	c.GrantDelay = cmp.Or(c.GrantDelay, "24h")
	c.DeliverWithin, c.CompactWithin = cmp.Or(c.DeliverWithin, "24h"), cmp.Or(c.CompactWithin, "24h")
	longest := policy.DefaultProfile()
	c.RetainYears, c.ReviewYears = cmp.Or(c.RetainYears, longest.LongestYears), cmp.Or(c.ReviewYears, longest.ReviewYears)
	c.OwnKeyExchange = cmp.Or(c.OwnKeyExchange, "hybrid")
	c.Log, c.LogLevel = cmp.Or(c.Log, "text"), cmp.Or(c.LogLevel, "info")
}

// NewLogger makes the logger that the configuration asks for.
func (c *Config) NewLogger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: logLevels()[c.LogLevel]}
	if c.Log == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func logLevels() map[string]slog.Level {
	return map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
}

// parseFederation reads the pin in hexadecimal.
func parseFederation(text string) (pin [32]byte, ok bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(pin) {
		return pin, false
	}
	return [32]byte(raw), true
}

// at is where a setting stands in the file, for a problem with it. field is a path such as systems[1].name; where that does
// not stand in the file, the line is that of what is around it.
func (c *Config) at(field, what, mend string) Problem {
	line := c.lines[field]
	for around := field; line == 0 && around != ""; line = c.lines[around] {
		around = around[:max(strings.LastIndexAny(around, ".["), 0)]
	}
	return Problem{File: c.path, Line: line, Field: field, What: what, Mend: mend}
}
