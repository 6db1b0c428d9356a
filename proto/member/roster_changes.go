package member

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// membership is who is in, replayed from the genesis and the changes in order. It lives only while a roster is verified.
type membership struct {
	name       string
	federation [32]byte
	quorum     int
	assemblers []ID
	standings  map[ID]*standing
	changes    [][32]byte
}

// standing is where one member stands after the changes so far.
type standing struct {
	root      ed25519.PublicKey
	founder   bool
	suspended bool
	left      bool
	departed  bool // left by its own will
}

// verifyGenesis checks the genesis against the pinned hash, its own rules, and the roots of all founders.
func verifyGenesis(doc *ententev1.SignedDocument, federation [32]byte) (*membership, error) {
	genesis := &ententev1.RosterGenesis{}
	err := decode(doc, TypeGenesis, genesis)
	if err != nil {
		return nil, err
	}
	if FederationID(doc) != federation {
		return nil, errors.New("roster: its genesis is not the pinned one: it is of another federation")
	}
	state, err := readGenesis(genesis, federation)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	signers, err := verifySignatures(doc, TypeGenesis, state.foundersKeys)
	if err != nil {
		return nil, err
	}
	for _, founder := range genesis.GetFounders() {
		if !slices.Contains(signers, ID(founder.GetMember())) {
			return nil, fmt.Errorf("genesis: %w: the founder %s has not signed", ErrBadSignature, founder.GetMember())
		}
	}
	return state, nil
}

// readGenesis checks the content of a genesis, before its signatures.
func readGenesis(genesis *ententev1.RosterGenesis, federation [32]byte) (*membership, error) {
	if genesis.GetName() == "" || len(genesis.GetName()) > 100 {
		return nil, errors.New("its name is missing or longer than 100 bytes")
	}
	err := checkTime("founded_at", genesis.GetFoundedAt())
	if err != nil {
		return nil, err
	}
	state := &membership{
		name:       genesis.GetName(),
		federation: federation,
		quorum:     int(genesis.GetQuorum()),
		standings:  map[ID]*standing{},
	}
	last := ID("")
	for _, founder := range genesis.GetFounders() {
		id, root, err := state.readRoot(founder)
		if err != nil {
			return nil, err
		}
		if id <= last {
			return nil, fmt.Errorf("its founders are not in order of member id, or %s stands there twice", id)
		}
		last = id
		state.standings[id] = &standing{root: root, founder: true}
	}
	if state.quorum < 1 || state.quorum > len(state.standings) {
		return nil, fmt.Errorf("its quorum is %d of %d founders", state.quorum, len(state.standings))
	}
	// A federation with more founders than a document can carry signatures could never be signed by all of them.
	if len(state.standings) > maxSignatures {
		return nil, fmt.Errorf("it has more than %d founders", maxSignatures)
	}
	return state, state.readAssemblers(genesis.GetAssemblers())
}

func (s *membership) readAssemblers(names []string) error {
	if len(names) == 0 || len(names) > 16 {
		return errors.New("it names no assembler of the roster, or more than 16")
	}
	for _, name := range names {
		id, err := ParseID(name)
		if err != nil {
			return fmt.Errorf("assembler: %w", err)
		}
		if slices.Contains(s.assemblers, id) {
			return fmt.Errorf("the assembler %s stands there twice", id)
		}
		s.assemblers = append(s.assemblers, id)
	}
	return nil
}

// readRoot reads a member with its root key and refuses a key that is unsound or already some member's root.
func (s *membership) readRoot(root *ententev1.RosterRoot) (ID, ed25519.PublicKey, error) {
	id, err := ParseID(root.GetMember())
	if err != nil {
		return "", nil, err
	}
	key := ed25519.PublicKey(bytes.Clone(root.GetRootKey()))
	err = checkPublicKey(key)
	if err != nil {
		return "", nil, fmt.Errorf("root key of %s: %w", id, err)
	}
	for other, standing := range s.standings {
		if bytes.Equal(standing.root, key) {
			return "", nil, fmt.Errorf("root key of %s: it is already that of %s", id, other)
		}
	}
	return id, key, nil
}

// foundersKeys gives the roots that vote: those of founders in good standing at this point of the history.
func (s *membership) foundersKeys(id ID) []ed25519.PublicKey {
	member, ok := s.standings[id]
	if !ok || !member.founder || member.suspended || member.left {
		return nil
	}
	return []ed25519.PublicKey{member.root}
}

// applyChanges replays the changes in order. Each is verified in the state that those before it made.
func (s *membership) applyChanges(docs []*ententev1.SignedDocument) error {
	for i, doc := range docs {
		err := s.applyChange(uint64(i)+1, doc)
		if err != nil {
			return fmt.Errorf("roster change %d: %w", i+1, err)
		}
		s.changes = append(s.changes, sha256.Sum256(doc.GetBody()))
	}
	return nil
}

func (s *membership) applyChange(number uint64, doc *ententev1.SignedDocument) error {
	change := &ententev1.RosterChange{}
	err := decode(doc, TypeChange, change)
	if err != nil {
		return err
	}
	if !bytes.Equal(change.GetFederationId(), s.federation[:]) {
		return errors.New("it is of another federation")
	}
	if change.GetNumber() != number {
		return fmt.Errorf("it has number %d: changes are numbered from 1 without gaps", change.GetNumber())
	}
	err = checkTime("decided_at", change.GetDecidedAt())
	if err != nil {
		return err
	}
	id, err := ParseID(change.GetMember().GetMember())
	if err != nil {
		return err
	}
	err = s.checkVotes(doc, change.GetKind(), id)
	if err != nil {
		return err
	}
	err = s.enact(change, id)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	return nil
}

// checkVotes checks who signed a change: for a departure the leaver's own root and nobody else, for all others a quorum
// of founders. A suspended member may leave.
func (s *membership) checkVotes(doc *ententev1.SignedDocument, kind ententev1.RosterChangeKind, id ID) error {
	if kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE {
		signer, err := VerifyDocument(doc, TypeChange, s.ownRoot)
		if err != nil {
			return err
		}
		if signer != id {
			return fmt.Errorf("%w: the departure of %s is signed by %s, not by its own root", ErrBadSignature, id, signer)
		}
		return nil
	}
	signers, err := verifySignatures(doc, TypeChange, s.foundersKeys)
	if err != nil {
		return err
	}
	if len(signers) < s.quorum {
		return fmt.Errorf("%w: %d founders signed what takes %d, concerning %s", ErrBadSignature, len(signers), s.quorum, id)
	}
	return nil
}

// ownRoot gives the root in force of any member that has not left.
func (s *membership) ownRoot(id ID) []ed25519.PublicKey {
	member, ok := s.standings[id]
	if !ok || member.left {
		return nil
	}
	return []ed25519.PublicKey{member.root}
}

// enact moves one member's standing. A kind of change that this program does not know is refused: guessing who is in
// would be worse than staying with the last roster.
func (s *membership) enact(change *ententev1.RosterChange, id ID) error {
	member, ok := s.standings[id]
	in := ok && !member.left
	kind := change.GetKind()
	if kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ADMISSION {
		return s.admit(change, id, in)
	}
	if !in {
		return errors.New("it is not a member")
	}
	if kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_ROOT_CHANGE {
		_, root, err := s.readRoot(change.GetMember())
		if err != nil {
			return err
		}
		member.root = root
		return nil
	}
	if len(change.GetMember().GetRootKey()) != 0 {
		return errors.New("only an admission and a change of root carry a root key")
	}
	switch kind {
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION:
		if member.suspended {
			return errors.New("it is suspended already")
		}
		member.suspended = true
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REINSTATEMENT:
		if !member.suspended {
			return errors.New("it is not suspended")
		}
		member.suspended = false
	case ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_REMOVAL, ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE:
		member.left = true
		member.departed = kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE
	default:
		return errors.New("the kind of change is missing or unknown to this version of the program")
	}
	return nil
}

// admit lets a member in, or in again after it left. One that comes back brings a root that was not its last.
func (s *membership) admit(change *ententev1.RosterChange, id ID, in bool) error {
	if in {
		return errors.New("it is a member already")
	}
	_, root, err := s.readRoot(change.GetMember())
	if err != nil {
		return err
	}
	founder := s.standings[id] != nil && s.standings[id].founder
	s.standings[id] = &standing{root: root, founder: founder}
	return nil
}
