package national

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

// The table of the data file that keeps the documents in force, and its keys.
const (
	documentsTable = "node-documents"
	rosterKey      = "roster"
	projectKey     = "project/"
	plannedKey     = "planned"
)

// maxProjects bounds how many chains a node takes, so that no member can fill another's memory with projects.
const maxProjects = 4096

// The bounds of what one lead may have a node take: far above what a member leads, and low enough that no member takes the
// places of all others, or fills memory and disk with one long chain.
const (
	maxLed      = 256
	maxLedBytes = 8 << 20
)

// directory holds the roster and the projects in force. What it is given counts once it is verified, continues what is
// held, and is on disk.
type directory struct {
	self       member.ID
	federation [32]byte
	now        func() time.Time
	logger     *slog.Logger
	put        func(key string, value []byte) error // keeps a document on disk

	mu      sync.Mutex // covers changes: one at a time
	planned [32]byte   // digest of what the ledger has planned by; zero if never
	current atomic.Pointer[inForce]
}

// inForce is what counts now. It is replaced whole, never changed.
type inForce struct {
	directory *ledger.Directory
	chains    map[string][]*ententev1.SignedDocument // also of projects that do not verify by the roster of now
}

// newDirectory reads what the node accepted before. It may hold nothing, or an expired roster: both need a newer one.
// put keeps documents; nil: in the store.
func newDirectory(st *store.Store, put func(string, []byte) error, self member.ID, federation [32]byte, now func() time.Time, logger *slog.Logger) (*directory, error) {
	d := &directory{self: self, federation: federation, now: now, logger: logger, put: put}
	if put == nil {
		d.put = func(key string, value []byte) error { return keepDocument(st, key, value) }
	}
	var doc *ententev1.SignedDocument
	chains := map[string][]*ententev1.SignedDocument{}
	err := st.View(func(v *store.View) error {
		return v.Each(documentsTable, func(key, value []byte) error {
			id, isProject := strings.CutPrefix(string(key), projectKey)
			switch {
			case isProject:
				chain, err := ParseChain(value)
				chains[id] = chain
				return err
			case string(key) == rosterKey:
				var err error
				doc, err = ParseDocument(value, member.TypeRoster)
				return err
			case string(key) == plannedKey:
				copy(d.planned[:], value)
			}
			return nil // what else is kept there is read by its owner
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the documents in the data file: %w", err)
	}
	var roster *member.Roster
	if doc != nil {
		roster, err = member.VerifyRoster(doc, federation, nil, now())
	}
	if err != nil && !errors.Is(err, member.ErrRosterExpired) {
		return nil, fmt.Errorf("roster in the data file: %w", err)
	}
	d.current.Store(d.assemble(roster, chains))
	return d, nil
}

// assemble verifies the chains by a roster. One that does not verify by it (its lead is gone) is kept, and not in force.
func (d *directory) assemble(roster *member.Roster, chains map[string][]*ententev1.SignedDocument) *inForce {
	f := &inForce{directory: &ledger.Directory{Roster: roster, Projects: map[string]*member.Project{}}, chains: chains}
	if roster == nil {
		return f
	}
	for id, chain := range chains {
		project, err := member.VerifyProject(chain, roster)
		if err != nil {
			d.logger.Warn("a project is not in force", "project", id, "reason", err)
			continue
		}
		f.directory.Projects[id] = project
	}
	return f
}

// get gives the roster and projects in force. The roster is the last good one, which may have expired meanwhile.
func (d *directory) get() *ledger.Directory { return d.current.Load().directory }

// serving is the roster to serve on: nil once it has expired.
func (d *directory) serving() *member.Roster {
	roster := d.get().Roster
	if roster == nil || !d.now().Before(roster.ExpiresAt()) {
		return nil
	}
	return roster
}

// chain is the chain of a project in force, nil where there is none.
func (d *directory) chain(project string) []*ententev1.SignedDocument {
	f := d.current.Load()
	if f.directory.Projects[project] == nil {
		return nil
	}
	return f.chains[project]
}

// accept takes documents one by one. It says whether something changed, and what was refused.
func (d *directory) accept(docs Documents) (bool, error) {
	var changed bool
	var refused []error
	if docs.Roster != nil {
		one, err := d.acceptRoster(docs.Roster)
		changed, refused = one, append(refused, about("roster", err))
	}
	for _, chain := range docs.Projects {
		one, err := d.acceptProject(chain, "")
		changed, refused = changed || one, append(refused, about("projects", err))
	}
	return changed, errors.Join(refused...)
}

// acceptRoster takes a roster that verifies and continues the one held. It says whether anything changed.
//
// If we crash between the disk and the memory, the next start reads the new one from the disk.
func (d *directory) acceptRoster(doc *ententev1.SignedDocument) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.current.Load()
	held := f.directory.Roster
	if held != nil && proto.Equal(held.Document(), doc) {
		return false, nil
	}
	roster, err := member.VerifyRoster(doc, d.federation, held, d.now())
	if err != nil {
		return false, fmt.Errorf("roster refused: %w", err)
	}
	err = d.keep(rosterKey, doc)
	if err != nil {
		return false, err
	}
	d.current.Store(d.assemble(roster, f.chains))
	return true, nil
}

// acceptProject takes a chain that verifies and continues the one held under its id; a shorter part of the one held changes
// nothing. from is the member that offered it: a member offers only what it leads; empty for the node's own files.
func (d *directory) acceptProject(chain []*ententev1.SignedDocument, from member.ID) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.current.Load()
	if f.directory.Roster == nil {
		return false, errors.New("project refused: there is no roster to verify it by")
	}
	id := projectOf(chain)
	held := f.chains[id]
	if f.directory.Projects[id] != nil && continues(held, chain) {
		return false, nil // as nearly always: nothing new, nothing to verify
	}
	project, err := member.VerifyProject(chain, f.directory.Roster)
	if err != nil {
		return false, fmt.Errorf("project %q refused: %w", id, err)
	}
	switch {
	case from != "" && project.Lead != from:
		return false, nil // its lead will offer it
	case from != "" && !project.Ever(d.self):
		return false, nil // no business of this member's: it would only hold the id against another lead
	case !continues(chain, held):
		return false, fmt.Errorf("project %s refused: its chain does not continue the one that is held", project.ID)
	case held == nil && len(f.chains) >= maxProjects:
		return false, fmt.Errorf("project %s refused: the node holds %d projects, which is the limit", project.ID, maxProjects)
	}
	if from != "" && !f.roomFor(project, chain) {
		return false, fmt.Errorf("project %s refused: the node takes at most %d projects, and %d bytes of documents, led by %s",
			project.ID, maxLed, maxLedBytes, from)
	}
	err = d.keep(projectKey+project.ID, &ententev1.ListProjectDocumentsResponse{Documents: chain})
	if err != nil {
		return false, err
	}
	chains := maps.Clone(f.chains)
	chains[project.ID] = chain
	projects := maps.Clone(f.directory.Projects)
	projects[project.ID] = project
	d.current.Store(&inForce{directory: &ledger.Directory{Roster: f.directory.Roster, Projects: projects}, chains: chains})
	return true, nil
}

// roomFor says whether a new or longer chain stays within what its lead may have the node take.
func (f *inForce) roomFor(project *member.Project, chain []*ententev1.SignedDocument) bool {
	led, bytes := 1, bodies(chain)
	for id, other := range f.directory.Projects {
		if id == project.ID || other.Lead != project.Lead {
			continue
		}
		led++
		bytes += bodies(f.chains[id])
	}
	return led <= maxLed && bytes <= maxLedBytes
}

// bodies is how many bytes the documents of a chain have without their signatures, which are of one size.
func bodies(chain []*ententev1.SignedDocument) int {
	size := 0
	for _, doc := range chain {
		size += len(doc.GetBody())
	}
	return size
}

// projectOf is the id that a chain gives itself, empty where it does not read.
func projectOf(chain []*ententev1.SignedDocument) string {
	if len(chain) == 0 {
		return ""
	}
	first := &ententev1.ProjectDocument{}
	err := proto.Unmarshal(chain[0].GetBody(), first)
	if err != nil {
		return ""
	}
	return first.GetProjectId()
}

// continues says whether longer begins with all documents of shorter. Bodies are compared: each names the hash of the one
// before, and signatures may be made anew after a rotation of keys.
func continues(longer, shorter []*ententev1.SignedDocument) bool {
	if len(longer) < len(shorter) {
		return false
	}
	return slices.EqualFunc(longer[:len(shorter)], shorter, func(a, b *ententev1.SignedDocument) bool {
		return bytes.Equal(a.GetBody(), b.GetBody())
	})
}

func (d *directory) keep(key string, m proto.Message) error {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	return d.put(key, value)
}

func keepDocument(st *store.Store, key string, value []byte) error {
	err := st.Update(func(tx *store.Tx) error { return tx.Put(documentsTable, []byte(key), value) })
	if err != nil {
		return fmt.Errorf("keep %s: %w", key, err)
	}
	return nil
}

func dropDocument(st *store.Store, key string) error {
	err := st.Update(func(tx *store.Tx) error { return tx.Delete(documentsTable, []byte(key)) })
	if err != nil {
		return fmt.Errorf("drop %s: %w", key, err)
	}
	return nil
}

// toPlan gives a digest of what is in force, and whether the ledger has still to plan its releases by it.
func (d *directory) toPlan() ([32]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.current.Load()
	hash := sha256.New()
	hash.Write(f.directory.Roster.Document().GetBody())
	for _, id := range slices.Sorted(maps.Keys(f.directory.Projects)) {
		head := f.directory.Projects[id].Head
		hash.Write(head[:])
	}
	digest := [32]byte(hash.Sum(nil))
	return digest, digest != d.planned
}

// setPlanned notes that the ledger has planned by the directory of a digest. If we crash before, it plans again, which
// changes nothing.
func (d *directory) setPlanned(digest [32]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.put(plannedKey, digest[:])
	if err != nil {
		return err
	}
	d.planned = digest
	return nil
}
