package national

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// Material is what a node is made of, already loaded. All is required unless said otherwise.
type Material struct {
	// Member is the member whose node it is.
	Member member.ID
	// Federation is the pinned SHA-256 of the genesis.
	Federation [32]byte
	// Data is the path of the data file, which CreateData made.
	Data string
	// Marker is the path of the marker of a clean stop, outside the data file and its backups. Without one each start is
	// as careful as after a crash.
	Marker string
	// MaxBytes limits the data file; 0: no limit.
	MaxBytes int64
	// Sealing are the keys of the data file.
	Sealing store.Keyring
	// IDKey is the member's key for record ids, at least 16 bytes.
	IDKey []byte
	// SigningKey signs checkpoints, digests and receipts; its public half is a current key of the member in the roster.
	SigningKey ed25519.PrivateKey
	// Certificate names spiffe://<member>/node; it is asked at each handshake.
	Certificate member.CertificateSource
	// Listen is the address, host:port; not used where Deps has a listener.
	Listen string
	// Coordinator is the member to forward the questions of officers to. Optional: the first coordinator of the roster.
	Coordinator member.ID
	// Backups is the folder for copies of the data file. Optional: without it the node makes none.
	Backups string
	// SealingAgain reads the keys of the data file again, for a rotation. Optional: without it the node seals nothing anew.
	SealingAgain func() (store.Keyring, error)
	// GrantDelay is how long after the admission of a member the streams for present and future members open to it.
	GrantDelay time.Duration
	// Care is how the member looks after its records.
	Care Care
	// ClassicOwn lets the member's own systems and people connect without post-quantum key exchange.
	ClassicOwn bool
	// Documents gives what may change while the node runs. It is asked at the start and every two seconds.
	Documents func() (Documents, error)
}

// Documents is what may change while the node runs, not yet verified. What is nil stays as it was; what an earlier call
// gave and this one does not is not taken away: a roster and a project only ever grow.
type Documents struct {
	// Roster is a document of type "roster".
	Roster *ententev1.SignedDocument
	// Projects are chains of documents, each of one project and in order.
	Projects [][]*ententev1.SignedDocument
	// Grants is what the member allows its own systems and officers.
	Grants *policy.Grants
	// Limits are what each identity may do.
	Limits *server.Quotas
	// Revocations are certificate revocation lists in DER, of the own member or of others.
	Revocations [][]byte
	// SigningKey is the key to sign with. It counts from when the roster in force names it as a current one.
	SigningKey ed25519.PrivateKey
}

// FixedDocuments gives the same documents each time, for a node that needs no reload.
func FixedDocuments(docs Documents) func() (Documents, error) {
	return func() (Documents, error) { return docs, nil }
}

// Merge is the merged view of a coordinator: it follows the ledger while it runs. Run ends with ctx, or with an error that
// stops the node.
type Merge interface {
	server.NetworkView
	Run(ctx context.Context) error
}

// Deps is what a node needs of the world around it.
type Deps struct {
	// Now is the clock, Rand the source of keys, salts and nonces: crypto/rand.Reader.
	Now  func() time.Time
	Rand io.Reader
	// Logger gets what happens, with ids and without personal data. Optional.
	Logger *slog.Logger
	// Version is the program's, for operators.
	Version string
	// Listener is where to serve instead of Material.Listen. Optional; the node closes it.
	Listener net.Listener
	// Merge makes the merged view over the node's ledger (package coordinator). Optional: without it the node forwards
	// questions to the coordinator.
	Merge func(*ledger.Ledger) Merge
	// ReloadEvery is how often documents are asked for; 0: 2 s. FetchEvery is how often other members are asked for the
	// roster and revocation lists, and ProjectsEvery for projects; 0: 3 s and 30 s.
	ReloadEvery, FetchEvery, ProjectsEvery time.Duration
	// CareEvery is how often it is looked at what is due; 0: 1 s. AuditInterval is the length of an interval of the audit trail;
	// 0: a minute.
	CareEvery, AuditInterval time.Duration
	// ConfirmWithin is how long the node waits for its readers after an unclean stop; 0: 10 s.
	ConfirmWithin time.Duration
	// Limits of the server may stay zero.
	Limits server.Limits
}

func (d Deps) orDefault() (Deps, error) {
	if d.Now == nil || d.Rand == nil {
		return d, errors.New("a node needs a clock and a source of randomness")
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.ReloadEvery == 0 {
		d.ReloadEvery = 2 * time.Second
	}
	if d.FetchEvery == 0 {
		d.FetchEvery = 3 * time.Second
	}
	if d.CareEvery == 0 {
		d.CareEvery = time.Second
	}
	if d.ProjectsEvery == 0 {
		d.ProjectsEvery = 30 * time.Second
	}
	return d, nil
}

func (m *Material) check() error {
	missing := []struct {
		name string
		is   bool
	}{
		{"member", m.Member == ""},
		{"data file", m.Data == ""},
		{"sealing key", len(m.Sealing.Current) == 0},
		{"id key", len(m.IDKey) == 0},
		{"signing key", len(m.SigningKey) != ed25519.PrivateKeySize},
		{"certificate", m.Certificate == nil},
		{"roster", m.Documents == nil},
	}
	for _, one := range missing {
		if one.is {
			return fmt.Errorf("the node's %s is missing", one.name)
		}
	}
	return nil
}

// CreateData makes a new, empty data file for the member and federation of the material, and never touches one that is
// there (store.ErrExists).
func CreateData(m Material, deps Deps) error {
	err := store.Create(m.storeOptions(deps), identity(m.Member, m.Federation))
	if err != nil {
		return fmt.Errorf("create data file: %w", err)
	}
	return nil
}

func (m *Material) storeOptions(deps Deps) store.Options {
	return store.Options{Path: m.Data, Keys: m.Sealing, Now: deps.Now, Rand: deps.Rand, MaxBytes: m.MaxBytes}
}

// identity is what a data file says of itself: whose it is. It is compared whole.
func identity(id member.ID, federation [32]byte) []byte {
	return fmt.Appendf(nil, "entente node\n%s\n%x\n", id, federation)
}
