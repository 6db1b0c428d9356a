package member

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// maxAhead is how far a roster may be dated in the future before it is refused (design: "Identity and trust").
const maxAhead = 5 * time.Minute

// maxLeap is how far the number of a roster may lie above the held one. It is far more than anybody assembles, and keeps
// a stolen assembler from using up all numbers, after which there could be no newer roster ever.
const maxLeap = 1 << 20

var (
	// ErrRosterExpired says that a roster is genuine but past its date: no node may serve on it.
	ErrRosterExpired = errors.New("roster has expired")
	// ErrRosterOlder says that a roster would take back something that the held one already says.
	ErrRosterOlder = errors.New("roster is older than the held one")
	// ErrRosterFork says that two different documents carry the same number: somebody shows two histories.
	ErrRosterFork = errors.New("roster contradicts the held one")
)

// Roster is a verified roster: who is in the federation, by which authorities, addresses and keys. It is immutable and
// safe for concurrent use; a new roster is a new value.
type Roster struct {
	document   *ententev1.SignedDocument
	name       string
	federation [32]byte
	number     uint64
	assembler  ID
	issuedAt   time.Time
	expiresAt  time.Time
	bodyHash   [32]byte
	changes    [][32]byte
	members    map[ID]*entry
	known      map[ID]bool
	active     []ID
	pool       *x509.CertPool
}

// entry is one member of a roster with what succession and handshakes need beside it.
type entry struct {
	member   Member
	number   uint64
	bodyHash [32]byte
	pool     *x509.CertPool
}

// Member is what a roster says of one member.
type Member struct {
	// ID names the member.
	ID ID
	// Name is for people.
	Name string
	// Kind is what part it takes: national, or a coordinator.
	Kind ententev1.MemberKind
	// TrustDomain is that of all its identities; always ID.TrustDomain().
	TrustDomain string
	// Authorities issue its certificates.
	Authorities []*x509.Certificate
	// Addresses are those of its nodes, host:port.
	Addresses []string
	// SigningKeys are its signing keys in every state.
	SigningKeys []SigningKey
	// Root is the public half of its offline key that is in force.
	Root ed25519.PublicKey
	// Suspended is true until a quorum of founders reinstates it.
	Suspended bool
	// Left is true after a departure or a removal. The entry stays so that its streams and receipts still verify.
	Left bool
	// Departed is true where it left by its own departure, not by a removal: its node may still hand in receipts.
	Departed bool
}

// SigningKey is one signing key with its state. A state that this program does not know counts as revoked.
type SigningKey struct {
	// Key is the public half.
	Key ed25519.PublicKey
	// State says whether signatures by it count.
	State ententev1.SigningKeyState
}

// VerifyRoster reads a roster and checks all of it; see the package comment for the rules. Its errors name the member and
// the rule.
//
// federation is the pinned SHA-256 of the body of the genesis document. held is the newest roster the caller has
// accepted, nil if it has none: a roster that takes back anything the held one says is refused with ErrRosterOlder, one
// that contradicts it with ErrRosterFork.
//
// One case returns a roster and an error: ErrRosterExpired comes with the roster, in all else verified. Nobody may serve
// on it, but it still says which older ones to refuse.
func VerifyRoster(doc *ententev1.SignedDocument, federation [32]byte, held *Roster, now time.Time) (*Roster, error) {
	body := &ententev1.Roster{}
	err := decode(doc, TypeRoster, body)
	if err != nil {
		return nil, err
	}
	state, err := verifyGenesis(body.GetGenesis(), federation)
	if err != nil {
		return nil, err
	}
	err = state.applyChanges(body.GetChanges())
	if err != nil {
		return nil, err
	}
	roster, err := state.readEntries(body.GetEntries())
	if err != nil {
		return nil, err
	}
	err = roster.sign(doc, body, state.assemblers)
	if err != nil {
		return nil, err
	}
	err = roster.succeed(held)
	if err != nil {
		return nil, err
	}
	if roster.issuedAt.After(now.Add(maxAhead)) {
		return nil, fmt.Errorf("roster %d: it is dated more than %s ahead, at %s: check the clock of this machine",
			roster.number, maxAhead, roster.issuedAt.UTC().Format(time.RFC3339))
	}
	if !now.Before(roster.expiresAt) {
		return roster, fmt.Errorf("roster %d: %w", roster.number, ErrRosterExpired)
	}
	return roster, nil
}

// sign checks the signature of the assembler and takes over number and dates. The key comes from the entries inside, which
// is sound because the assembler's root, not its signing key, vouches for its entry.
func (r *Roster) sign(doc *ententev1.SignedDocument, body *ententev1.Roster, assemblers []ID) error {
	assembler, err := ParseID(body.GetAssembler())
	if err != nil {
		return fmt.Errorf("roster: assembler: %w", err)
	}
	if !slices.Contains(assemblers, assembler) {
		return fmt.Errorf("roster: the genesis does not name %s as an assembler", assembler)
	}
	if !slices.Contains(r.active, assembler) {
		return fmt.Errorf("roster: its assembler %s is suspended or not a member", assembler)
	}
	signer, err := VerifyDocument(doc, TypeRoster, r.CurrentKeys)
	if err != nil {
		return err
	}
	if signer != assembler {
		return fmt.Errorf("roster: it names %s as its assembler but %s signed it", assembler, signer)
	}
	if body.GetNumber() == 0 {
		return errors.New("roster: it has no number")
	}
	err = checkTime("issued_at", body.GetIssuedAt())
	if err != nil {
		return fmt.Errorf("roster %d: %w", body.GetNumber(), err)
	}
	err = checkTime("expires_at", body.GetExpiresAt())
	if err != nil {
		return fmt.Errorf("roster %d: %w", body.GetNumber(), err)
	}
	if !body.GetIssuedAt().AsTime().Before(body.GetExpiresAt().AsTime()) {
		return fmt.Errorf("roster %d: it expires before it is issued", body.GetNumber())
	}
	r.document = doc
	r.assembler = assembler
	r.number = body.GetNumber()
	r.issuedAt = body.GetIssuedAt().AsTime()
	r.expiresAt = body.GetExpiresAt().AsTime()
	r.bodyHash = sha256.Sum256(doc.GetBody())
	return nil
}

// succeed checks that nothing is taken back that the held roster says: not the number, not a change, not an entry.
func (r *Roster) succeed(held *Roster) error {
	if held == nil {
		return nil
	}
	if held.federation != r.federation {
		return errors.New("roster: it is of another federation than the held one")
	}
	if r.number < held.number {
		return fmt.Errorf("roster %d, held %d: %w", r.number, held.number, ErrRosterOlder)
	}
	if r.number-held.number > maxLeap {
		return fmt.Errorf("roster %d, held %d: it leaves out more than %d numbers", r.number, held.number, maxLeap)
	}
	if r.number == held.number && r.bodyHash != held.bodyHash {
		return fmt.Errorf("roster %d: %w: it has the same number and other content", r.number, ErrRosterFork)
	}
	if len(r.changes) < len(held.changes) {
		return fmt.Errorf("roster %d: %w: it lacks change %d", r.number, ErrRosterOlder, len(r.changes)+1)
	}
	for i, change := range held.changes {
		if r.changes[i] != change {
			return fmt.Errorf("roster %d: %w: its change %d is another", r.number, ErrRosterFork, i+1)
		}
	}
	return r.succeedEntries(held)
}

func (r *Roster) succeedEntries(held *Roster) error {
	for _, id := range slices.Sorted(maps.Keys(held.members)) {
		was := held.members[id]
		is, ok := r.members[id]
		if !ok {
			// Only the entry of a member that has left may be missing: readEntries has seen to it.
			continue
		}
		if is.number < was.number {
			return fmt.Errorf("roster %d: %w: entry of %s is number %d, held %d", r.number, ErrRosterOlder, id, is.number, was.number)
		}
		if is.number == was.number && is.bodyHash != was.bodyHash {
			return fmt.Errorf("roster %d: %w: %s signed two entries number %d", r.number, ErrRosterFork, id, is.number)
		}
	}
	return nil
}

// Name is the federation's name for people.
func (r *Roster) Name() string { return r.name }

// Number rises from roster to roster.
func (r *Roster) Number() uint64 { return r.number }

// Federation is the id of the federation: SHA-256 of the body of its genesis.
func (r *Roster) Federation() [32]byte { return r.federation }

// Assembler is the member that numbered and dated this roster.
func (r *Roster) Assembler() ID { return r.assembler }

// IssuedAt is when it was assembled, by the assembler's clock.
func (r *Roster) IssuedAt() time.Time { return r.issuedAt }

// ExpiresAt is from when no node may serve on it.
func (r *Roster) ExpiresAt() time.Time { return r.expiresAt }

// Document is the roster as signed, to be kept and passed on. The caller must not change it.
func (r *Roster) Document() *ententev1.SignedDocument { return r.document }

// Members lists the members in good standing, sorted: not suspended, not removed, not departed.
func (r *Roster) Members() []ID { return slices.Clone(r.active) }

// Member says what the roster knows of a member, suspended ones and those that left included.
func (r *Roster) Member(id ID) (Member, bool) {
	e, ok := r.members[id]
	if !ok {
		return Member{}, false
	}
	m := e.member
	m.Authorities = slices.Clone(m.Authorities)
	m.Addresses = slices.Clone(m.Addresses)
	m.SigningKeys = slices.Clone(m.SigningKeys)
	return m, true
}

// Active says whether a member is in good standing.
func (r *Roster) Active(id ID) bool {
	e, ok := r.members[id]
	return ok && !e.member.Suspended && !e.member.Left
}

// VerifyingKeys are the keys by which something that a member signed at some time is verified: its current and its
// retired ones, also of members that are suspended or have left. None for a stranger. It is a Keys.
func (r *Roster) VerifyingKeys(id ID) []ed25519.PublicKey {
	return r.keys(id, ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT, ententev1.SigningKeyState_SIGNING_KEY_STATE_RETIRED)
}

// CurrentKeys are the keys with which a member signs now. It is a Keys.
func (r *Roster) CurrentKeys(id ID) []ed25519.PublicKey {
	return r.keys(id, ententev1.SigningKeyState_SIGNING_KEY_STATE_CURRENT)
}

func (r *Roster) keys(id ID, states ...ententev1.SigningKeyState) []ed25519.PublicKey {
	e, ok := r.members[id]
	if !ok {
		return nil
	}
	var keys []ed25519.PublicKey
	for _, key := range e.member.SigningKeys {
		if slices.Contains(states, key.State) {
			keys = append(keys, bytes.Clone(key.Key))
		}
	}
	return keys
}
