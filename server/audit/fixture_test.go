package audit_test

import (
	"context"
	"crypto/ed25519"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/trail"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/store"
)

func seeded(label string) io.Reader { return rand.NewChaCha8(sha256.Sum256([]byte(label))) }

func keyFrom(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}

// world is the members' keys and a clock that tests move.
type world struct {
	t    testing.TB
	now  time.Time
	keys map[member.ID][]ed25519.PrivateKey // those that count; the last one signs
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: time.Date(2031, 5, 6, 12, 0, 0, 0, time.UTC), keys: map[member.ID][]ed25519.PrivateKey{}}
	for _, id := range []member.ID{"XA", "XB", "XC"} {
		w.keys[id] = []ed25519.PrivateKey{keyFrom("signing " + string(id))}
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) verifying(id member.ID) []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	for _, key := range w.keys[id] {
		keys = append(keys, key.Public().(ed25519.PublicKey))
	}
	return keys
}

// node is a data file with its trail.
type node struct {
	*world
	id   member.ID
	path string
	st   *store.Store
	log  *audit.Log

	writing sync.Mutex
	fail    error // of the next transaction, after all was done in it
}

func (w *world) options(path string) store.Options {
	return store.Options{Path: path, Keys: store.Keyring{Current: make([]byte, store.KeySize)}, Rand: cryptorand.Reader, InitialMmap: 64 << 20}
}

func (w *world) node(id member.ID) *node {
	w.t.Helper()
	n := &node{world: w, id: id, path: filepath.Join(w.t.TempDir(), "node.db")}
	w.must(store.Create(w.options(n.path), []byte(id)))
	n.open()
	w.t.Cleanup(func() { w.must(n.st.Close()) })
	return n
}

func (n *node) open() {
	n.t.Helper()
	var err error
	n.st, err = store.Open(n.options(n.path))
	n.must(err)
	n.log, err = audit.Open(n.st, n.config())
	n.must(err)
	n.log.Bind(n.write)
}

func (n *node) config() audit.Config {
	return audit.Config{
		Self: n.id, Now: func() time.Time { return n.now }, Rand: seeded("salts " + string(n.id)), VerifyingKeys: n.verifying,
		SigningKey: func() ed25519.PrivateKey { return n.keys[n.id][len(n.keys[n.id])-1] },
	}
}

// reopen stops the node and starts it again.
func (n *node) reopen() {
	n.t.Helper()
	n.must(n.st.Close())
	n.open()
}

// write is the one writer: a transaction for each request.
func (n *node) write(_ context.Context, do func(*store.Tx) (func(), error)) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	var installed func()
	err := n.st.Update(func(tx *store.Tx) (err error) {
		installed, err = do(tx)
		return errors.Join(err, n.fail)
	})
	n.fail = nil
	if err != nil {
		return err
	}
	installed()
	return nil
}

// crashed is the node as it would start if it had crashed now: from a copy of its file.
func (n *node) crashed() (*node, error) {
	content, err := os.ReadFile(n.path)
	n.must(err)
	other := &node{world: n.world, id: n.id, path: filepath.Join(n.t.TempDir(), "copy.db")}
	n.must(os.WriteFile(other.path, content, 0o600))
	other.st, err = store.Open(n.options(other.path))
	n.must(err)
	n.t.Cleanup(func() { n.must(other.st.Close()) })
	other.log, err = audit.Open(other.st, other.config())
	if err != nil {
		return nil, err
	}
	other.log.Bind(other.write)
	return other, nil
}

// look is an entry: an officer looked at a record of an owner.
func look(owner member.ID, record int) *ententev1.AuditEntry {
	id := sha256.Sum256(fmt.Append(nil, "record ", record))
	return &ententev1.AuditEntry{
		Operation: ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION,
		Method:    "/entente.v1.IntakeService/Get",
		Actor:     &ententev1.AuditActor{Member: "XA", Kind: "officer", Name: "o-17", Purpose: ententev1.Purpose_PURPOSE_LOCATE_WANTED, CaseReference: "case 4"},
		Records:   []*ententev1.AuditRecords{{Owner: string(owner), RecordIds: [][]byte{id[:16]}}},
	}
}

func looks(n int) []*ententev1.AuditEntry {
	list := make([]*ententev1.AuditEntry, n)
	for i := range list {
		list[i] = look("XB", i)
	}
	return list
}

func (n *node) record(count int) {
	n.t.Helper()
	n.must(n.log.Record(n.t.Context(), looks(count)...))
}

// closeNext lets a minute pass and closes the interval.
func (n *node) closeNext() {
	n.t.Helper()
	n.now = n.now.Add(time.Minute)
	n.must(n.log.CloseInterval(n.t.Context()))
}

// askWitness has the trail countersigned, as a node does it: once more where the witness remembers another size.
func (n *node) askWitness(by *node) error {
	from := uint64(0)
	head := n.log.Head()
	if head.Witness == by.id {
		from = head.Witnessed
	}
	for range 2 {
		request, err := n.log.WitnessRequest(from)
		if err != nil {
			return err
		}
		response, err := by.log.Countersign(n.t.Context(), n.id, request)
		if err != nil {
			return err
		}
		err = n.log.Witnessed(n.t.Context(), by.id, request, response)
		if !errors.Is(err, audit.ErrWitnessSize) {
			return err
		}
		from = response.GetSize()
	}
	return errors.New("asked twice")
}

// parts is the trail as its auditor gets it.
func (n *node) parts() []*ententev1.ReadTrailResponse {
	n.t.Helper()
	var parts []*ententev1.ReadTrailResponse
	n.must(n.log.Trail(func(part *ententev1.ReadTrailResponse) error {
		parts = append(parts, part)
		return nil
	}))
	return parts
}

func (w *world) verify(owner member.ID, parts []*ententev1.ReadTrailResponse, earlier ...*ententev1.TrailHeads) (trail.Report, error) {
	v := trail.NewVerifier(owner, w.verifying)
	for _, heads := range earlier {
		w.must(v.Continues(heads))
	}
	for _, part := range parts {
		err := v.Take(part)
		if err != nil {
			return trail.Report{}, err
		}
	}
	return v.Finish()
}
