package national

import (
	"cmp"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// Load reads the keys that the configuration names. The error is a *ConfigError that lists all problems, not only the
// first. Roster, projects and grants are read by New, and again while the node runs.
func Load(c *Config, deps Deps) (Material, error) {
	deps, err := deps.orDefault()
	if err != nil {
		return Material{}, err
	}
	m, problems := load(c, deps.Now())
	problems = slices.DeleteFunc(problems, func(p Problem) bool { return p.Warning })
	if len(problems) > 0 {
		return Material{}, &ConfigError{problems}
	}
	return m, nil
}

// load reads what can be read, and says what cannot.
func load(c *Config, now time.Time) (Material, []Problem) {
	l := &loading{c: c}
	l.m = Material{
		Member: member.ID(c.Member), Data: c.Data, Marker: c.Marker, MaxBytes: c.MaxBytes, Listen: c.Listen,
		Coordinator: member.ID(c.Coordinator), Backups: c.Backups, SealingAgain: c.sealing, ClassicOwn: c.OwnKeyExchange == "classic",
	}
	var err error
	l.m.GrantDelay, err = time.ParseDuration(c.GrantDelay)
	l.note("grant_delay", err, "give a length of time such as 24h")
	l.m.Care, err = c.care()
	l.note("deliver_within", err, "give a length of time such as 24h")
	l.keys()
	l.m.Federation, err = c.Pin()
	l.note("genesis", err, "get the genesis from the coordinator of the federation, and check its fingerprint with another member")
	source := &fileCertificate{certificate: c.Certificate, key: c.Key}
	_, err = source.get()
	l.note("certificate", err, "make one with `entente pki issue`, or name the right files")
	l.m.Certificate = source.get
	if err == nil {
		l.note("certificate", checkCertificate(&l.m, now), "")
	}
	l.warn(now)
	l.m.Documents = c.documents
	return l.m, l.problems
}

// loading collects what is wrong on the way.
type loading struct {
	c        *Config
	m        Material
	problems []Problem
}

func (l *loading) note(field string, err error, mend string) {
	if err != nil {
		l.problems = append(l.problems, l.c.at(field, err.Error(), mend))
	}
}

func (l *loading) keys() {
	var err error
	l.m.Sealing.Current, err = store.LoadKey(l.c.SealingKey)
	l.note("sealing_key", err, "name the key that the data file was made with, or make a new node with the command init")
	for i, path := range l.c.OlderSealingKeys {
		older, err := store.LoadKey(path)
		l.note(fmt.Sprintf("older_sealing_keys[%d]", i), err, "name a key file, or remove it from the list")
		l.m.Sealing.Older = append(l.m.Sealing.Older, older)
	}
	l.m.IDKey, err = store.LoadKey(l.c.IDKey)
	l.note("id_key", err, "name the member's id key; the command init makes the first")
	l.m.SigningKey, err = loadSigningKey(l.c.SigningKey)
	l.note("signing_key", err, "name the member's signing key; the command init makes the first")
}

// warn finds what does not keep the node from starting, and should be mended.
func (l *loading) warn(now time.Time) {
	warn := func(field, what, mend string) { l.problems = append(l.problems, l.c.warning(field, what, mend)) }
	info, err := os.Stat(l.c.Key)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		warn("key", fmt.Sprintf("%s may be read by others than its owner (mode %04o): who has it is taken for this node", l.c.Key, info.Mode().Perm()),
			"chmod 600")
	}
	leaf, _, err := leafOf(&l.m)
	if err == nil && endsSoon(now, leaf.NotBefore, leaf.NotAfter, 14*24*time.Hour) {
		warn("certificate", "it ends at "+leaf.NotAfter.UTC().Format(time.RFC3339), "issue a new one and put it in the place of this one; no restart is needed")
	}
	info, err = os.Stat(l.c.Backups)
	if err == nil && !info.IsDir() {
		warn("backups", l.c.Backups+" is not a folder: there can be no backups", "name a folder")
	}
}

// endsSoon says whether less than a third of a time of validity is left, and less than the given time.
func endsSoon(now, from, until time.Time, soon time.Duration) bool {
	left := until.Sub(now)
	return left > 0 && left < soon && left < until.Sub(from)/3
}

// sealing reads the sealing keys as the configuration file names them now.
func (c *Config) sealing() (store.Keyring, error) {
	fresh := c
	if c.path != "" {
		var err error
		fresh, err = readAgain(c.path, c.Member)
		if err != nil {
			return store.Keyring{}, err
		}
		fresh.SealingKey = cmp.Or(c.given["sealing_key"], fresh.SealingKey)
		fresh.defaults(c.path)
	}
	l := &loading{c: fresh}
	l.keys()
	problems := slices.DeleteFunc(l.problems, func(p Problem) bool { return !strings.Contains(p.Field, "sealing_key") })
	if len(problems) > 0 {
		return store.Keyring{}, &ConfigError{problems}
	}
	return l.m.Sealing, nil
}

// loadSigningKey reads a private key that only its owner may read: whoever has it speaks for the member.
func loadSigningKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others than its owner (mode %04o): take that away with chmod 600", path, info.Mode().Perm())
	}
	text, err := readDocumentFile(path)
	if err != nil {
		return nil, err
	}
	key, err := member.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// Pin is the federation that the node is part of: SHA-256 of the genesis.
func (c *Config) Pin() ([32]byte, error) {
	if c.Genesis == "" {
		pin, ok := parseFederation(c.Federation)
		if !ok {
			return pin, errors.New("the federation is not given")
		}
		return pin, nil
	}
	content, err := readDocumentFile(c.Genesis)
	if err != nil {
		return [32]byte{}, err
	}
	doc, err := ParseDocument(content, member.TypeGenesis)
	if err != nil {
		return [32]byte{}, fmt.Errorf("%s: %w", c.Genesis, err)
	}
	return member.FederationID(doc), nil
}

// documents reads what may change: roster, projects, signing key, and of the configuration file grants, limits and the names
// of revocation lists. What cannot be read is left out and named in the error.
func (c *Config) documents() (Documents, error) {
	var docs Documents
	var problems []error
	roster, err := readRoster(c.Roster)
	docs.Roster, problems = roster, append(problems, about("roster", err))
	docs.Projects, err = readProjects(c.Projects)
	problems = append(problems, about("projects", err))
	docs.SigningKey, err = loadSigningKey(c.SigningKey)
	problems = append(problems, about("signing_key", err))
	fresh := c
	if c.path != "" {
		fresh, err = readAgain(c.path, c.Member)
		problems = append(problems, err)
	}
	lists := c.RevocationLists // also where the configuration file is broken: what is revoked stays so
	if fresh != nil {
		docs.Grants, _ = fresh.grants()
		docs.Limits = &fresh.Limits
		lists = fresh.RevocationLists
	}
	docs.Revocations, err = readRevocations(lists)
	problems = append(problems, err)
	return docs, errors.Join(problems...)
}

// settingError is an error about what one setting names.
type settingError struct {
	field string
	cause error
}

// about says which setting an error is about; nil stays nil.
func about(field string, err error) error {
	if err == nil {
		return nil
	}
	return &settingError{field, err}
}

// Error is the error's own text.
func (e *settingError) Error() string { return e.cause.Error() }

// Unwrap gives the error.
func (e *settingError) Unwrap() error { return e.cause }

// readRevocations reads the files of revocation lists.
func readRevocations(paths []string) ([][]byte, error) {
	var lists [][]byte
	var problems []error
	for i, path := range paths {
		der, err := readRevocationFile(path)
		if err != nil {
			problems = append(problems, about(fmt.Sprintf("revocation_lists[%d]", i), err))
			continue
		}
		lists = append(lists, der)
	}
	return lists, errors.Join(problems...)
}

func readRevocationFile(path string) ([]byte, error) {
	text, err := readDocumentFile(path)
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	der, err := member.DecodeRevocationList(text)
	if err != nil {
		return nil, fmt.Errorf("revocation list %s: %w", path, err)
	}
	return der, nil
}

// readAgain reads a configuration file that may have changed. If anything is wrong in what counts without a restart, none of
// it counts.
func readAgain(path, id string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer file.Close()
	c, err := ParseConfig(file, path)
	if err != nil {
		return nil, err
	}
	c.Member = id // which the environment or a flag may have given
	_, problems := c.grants()
	problems = append(problems, c.limitProblems()...)
	if len(problems) > 0 {
		return nil, &ConfigError{problems}
	}
	return c, nil
}

func readRoster(path string) (*ententev1.SignedDocument, error) {
	content, err := readDocumentFile(path)
	if err != nil {
		return nil, fmt.Errorf("roster: %w", err)
	}
	doc, err := ParseDocument(content, member.TypeRoster)
	if err != nil {
		return nil, fmt.Errorf("roster %s: %w", path, err)
	}
	return doc, nil
}

// readProjects reads all chains of a folder.
func readProjects(folder string) ([][]*ententev1.SignedDocument, error) {
	if folder == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a node need not have projects of its own
	}
	if err != nil {
		return nil, fmt.Errorf("projects: %w", err)
	}
	var chains [][]*ententev1.SignedDocument
	var problems []error
	for _, entry := range entries {
		if entry.IsDir() || filepath.Ext(entry.Name()) != ".pb" {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		content, err := readDocumentFile(path)
		if err != nil {
			problems = append(problems, fmt.Errorf("project: %w", err))
			continue
		}
		chain, err := ParseChain(content)
		if err != nil {
			problems = append(problems, fmt.Errorf("project %s: %w", path, err))
			continue
		}
		chains = append(chains, chain)
	}
	return chains, errors.Join(problems...)
}

// fileCertificate reads certificate and key anew for each connection. While they do not fit (one of the two files has been
// replaced and the other not yet), the last good pair counts.
type fileCertificate struct {
	certificate, key string

	mu   sync.Mutex // covers last
	last *tls.Certificate
}

func (f *fileCertificate) get() (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
	if err == nil {
		f.last = &pair
		return f.last, nil
	}
	if f.last != nil {
		return f.last, nil
	}
	return nil, fmt.Errorf("read certificate %s with key %s: %w", f.certificate, f.key, err)
}
