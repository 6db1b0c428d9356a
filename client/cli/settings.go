package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// settings are the connection and the reason of a call. A flag wins over the environment, that over the file.
type settings struct {
	Address     string `yaml:"address"`
	Member      string `yaml:"member"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	Authorities string `yaml:"authorities"`
	Purpose     string `yaml:"purpose"`
	Case        string `yaml:"case"`
	// AuditPurpose is why an auditor reads the trail; the audit commands alone use it.
	AuditPurpose string `yaml:"audit-purpose"`
}

// setting is one of them: its name is key in the file, flag, and, with the prefix ENTENTE_, variable of the environment.
type setting struct {
	name, help string
	at         func(*settings) *string
}

func allSettings() []setting {
	return []setting{
		{"address", "address of the own member's node, host:port", func(s *settings) *string { return &s.Address }},
		{"member", "id of the own member, such as XA", func(s *settings) *string { return &s.Member }},
		{"certificate", "PEM file with the caller's certificate", func(s *settings) *string { return &s.Certificate }},
		{"key", "PEM file with its private key", func(s *settings) *string { return &s.Key }},
		{"authorities", "PEM file with the own member's certificate authorities", func(s *settings) *string { return &s.Authorities }},
		{"purpose", "why, such as criminal-investigation; needed to consult", func(s *settings) *string { return &s.Purpose }},
		{"case", "reference of the case or operation; needed to consult", func(s *settings) *string { return &s.Case }},
		{auditPurpose, "why the trail is read: lawfulness, self-monitoring, security, criminal-proceedings or subject-request",
			func(s *settings) *string { return &s.AuditPurpose }},
	}
}

// auditPurpose is the setting that only the audit commands have a flag for.
const auditPurpose = "audit-purpose"

func (s setting) variable() string {
	return "ENTENTE_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

func (s setting) addFlag(c *cobra.Command) {
	c.PersistentFlags().String(s.name, "", s.help+" (or "+s.variable()+")")
}

// addSettings gives a command the flags of the connection. timeout 0 means without end.
func addSettings(c *cobra.Command, timeout time.Duration) {
	flags := c.PersistentFlags()
	flags.String("config", "", "YAML file with address, member, certificate, key, authorities, purpose, case, audit-purpose (or ENTENTE_CONFIG)")
	for _, s := range allSettings() {
		if s.name != auditPurpose {
			s.addFlag(c)
		}
	}
	flags.StringP("output", "o", "text", "text for people, json for programs")
	flags.Duration("timeout", timeout, "end the call after this time; 0: never")
}

// addAuditSettings gives a command the flags of the connection, and that of an auditor's purpose.
func addAuditSettings(c *cobra.Command, timeout time.Duration) {
	addSettings(c, timeout)
	for _, s := range allSettings() {
		if s.name == auditPurpose {
			s.addFlag(c)
		}
	}
}

// readSettings puts file, environment and flags together.
func readSettings(c *cobra.Command, getenv func(string) string) (settings, error) {
	flags := c.Flags()
	path, err := flags.GetString("config")
	if err != nil {
		return settings{}, err
	}
	if path == "" {
		path = getenv("ENTENTE_CONFIG")
	}
	found, err := readSettingsFile(path)
	if err != nil {
		return settings{}, err
	}
	for _, s := range allSettings() {
		value := getenv(s.variable())
		if value != "" {
			*s.at(&found) = value
		}
		if flags.Changed(s.name) {
			*s.at(&found), err = flags.GetString(s.name)
		}
		if err != nil {
			return settings{}, err
		}
	}
	return found, nil
}

func readSettingsFile(path string) (settings, error) {
	if path == "" {
		return settings{}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return settings{}, UsageErrorf("read configuration: %w", err)
	}
	defer file.Close()
	found, err := parseSettings(file, path)
	if err != nil {
		return settings{}, err
	}
	// Paths in the file are meant from where the file is, so that it works from any folder.
	for _, p := range []*string{&found.Certificate, &found.Key, &found.Authorities} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return found, nil
}

// parseSettings is strict: a misspelt key must not be taken for a missing one.
func parseSettings(r io.Reader, name string) (settings, error) {
	var found settings
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	err := decoder.Decode(&found)
	if err != nil && !errors.Is(err, io.EOF) {
		return settings{}, UsageErrorf("%s: %s; allowed keys: %s", name, plainYAML(err), strings.Join(settingNames(), ", "))
	}
	if err == nil && !errors.Is(decoder.Decode(new(yaml.Node)), io.EOF) {
		return settings{}, UsageErrorf("%s: a configuration is one YAML document; there is something after its end", name)
	}
	return found, nil
}

// plainYAML rewords the library's text, which names Go types.
func plainYAML(err error) string {
	text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n  "), "\n  ", "; ")
	text = regexp.MustCompile(`field (\S+) not found in type \S+`).ReplaceAllString(text, `unknown key "$1"`)
	return strings.TrimPrefix(text, "yaml: ")
}

func settingNames() []string {
	var names []string
	for _, s := range allSettings() {
		names = append(names, s.name)
	}
	return names
}

// clientConfig reads the files of the connection.
func (s settings) clientConfig() (client.Config, error) {
	needed := allSettings()[:5]
	for _, one := range needed {
		if *one.at(&s) == "" {
			return client.Config{}, UsageErrorf("%s is not set: give --%s, %s, or %s in the file of --config",
				one.name, one.name, one.variable(), one.name)
		}
	}
	self, err := member.ParseID(s.Member)
	if err != nil {
		return client.Config{}, UsageErrorf("member: %w", err)
	}
	files := client.Files{Certificate: s.Certificate, Key: s.Key, Authorities: s.Authorities}
	config, err := client.LoadConfig(s.Address, self, files)
	if err != nil {
		return client.Config{}, usageError{err}
	}
	return config, nil
}

// consultation is the reason that each consultation carries.
func (s settings) consultation() (*ententev1.Consultation, error) {
	if s.Purpose == "" || s.Case == "" {
		return nil, UsageErrorf("a consultation needs a purpose and a case: give --purpose and --case, ENTENTE_PURPOSE and " +
			"ENTENTE_CASE, or purpose and case in the file of --config")
	}
	purpose, err := parseEnum[ententev1.Purpose]("purpose", s.Purpose)
	if err != nil {
		return nil, err
	}
	return &ententev1.Consultation{Purpose: purpose, CaseReference: s.Case}, nil
}

// auditReason is the reason that each question to the audit trail carries.
func (s settings) auditReason() (*ententev1.AuditReason, error) {
	if s.AuditPurpose == "" || s.Case == "" {
		return nil, UsageErrorf("the audit trail is read for a purpose and a case: give --audit-purpose and --case, " +
			"ENTENTE_AUDIT_PURPOSE and ENTENTE_CASE, or audit-purpose and case in the file of --config")
	}
	purpose, err := parseEnum[ententev1.AuditPurpose]("audit purpose", s.AuditPurpose)
	if err != nil {
		return nil, err
	}
	return &ententev1.AuditReason{Purpose: purpose, CaseReference: s.Case}, nil
}
