package member

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Votes says how far a document that several members sign has come.
type Votes struct {
	// Needed is how many signatures it takes: of a genesis those of all founders.
	Needed int
	// Signed are those whose signature counts, in the order of the signatures.
	Signed []ID
	// Missing are those whose signature would count and is not there, sorted.
	Missing []ID
}

// Complete says whether enough have signed.
func (v Votes) Complete() bool { return len(v.Signed) >= v.Needed }

// GenesisVotes says who has signed a genesis. It fails on one that breaks a rule, and on a signature that does not count:
// that one would spoil the document.
func GenesisVotes(doc *ententev1.SignedDocument) (Votes, error) {
	genesis := &ententev1.RosterGenesis{}
	err := decode(doc, TypeGenesis, genesis)
	if err != nil {
		return Votes{}, err
	}
	state, err := readGenesis(genesis, FederationID(doc))
	if err != nil {
		return Votes{}, fmt.Errorf("genesis: %w", err)
	}
	signed, err := verifySignatures(doc, TypeGenesis, state.foundersKeys)
	if err != nil {
		return Votes{}, err
	}
	return Votes{Needed: len(state.standings), Signed: signed, Missing: missing(slices.Sorted(maps.Keys(state.standings)), signed)}, nil
}

// Proposal is a change of membership on its way to its signatures, as it follows a roster.
type Proposal struct {
	Votes
	// Kind is what it does.
	Kind ententev1.RosterChangeKind
	// Member is to whom.
	Member ID
	// Root is the new root, of an admission or a change of root.
	Root ed25519.PublicKey
	// Number is its place among the changes.
	Number uint64
	// Members are those that would be in good standing after it, sorted.
	Members []ID
	// Founders are those of them that decide on membership, Quorum how many of them it takes.
	Founders []ID
	Quorum   int
	// Assemblers are those of them that may assemble a roster, in order of precedence.
	Assemblers []ID
}

// ReadProposal reads a change that is to follow a roster and the changes after it that the roster does not hold yet, which
// must be complete. The roster may have expired. It fails on whatever no signature could mend: a change of another
// federation or with another number, one that cannot happen (an admission of one who is in), and a signature that does not
// count.
func ReadProposal(doc *ententev1.SignedDocument, roster *Roster, after ...*ententev1.SignedDocument) (Proposal, error) {
	state, err := roster.replay(after)
	if err != nil {
		return Proposal{}, err
	}
	change := &ententev1.RosterChange{}
	err = decode(doc, TypeChange, change)
	if err != nil {
		return Proposal{}, err
	}
	err = state.follows(doc, change)
	if err != nil {
		return Proposal{}, fmt.Errorf("change %d: %w", change.GetNumber(), err)
	}
	id, err := ParseID(change.GetMember().GetMember())
	if err != nil {
		return Proposal{}, fmt.Errorf("change %d: %w", change.GetNumber(), err)
	}
	p := Proposal{Kind: change.GetKind(), Member: id, Number: change.GetNumber(), Root: change.GetMember().GetRootKey(), Quorum: state.quorum}
	p.Votes, err = state.votes(doc, p.Kind, id)
	if err != nil {
		return Proposal{}, err
	}
	err = state.enact(change, id)
	if err != nil {
		return Proposal{}, fmt.Errorf("change %d: %s: %w", change.GetNumber(), id, err)
	}
	p.Members = state.active(func(*standing) bool { return true })
	p.Founders = state.active(func(s *standing) bool { return s.founder })
	for _, assembler := range state.assemblers {
		if slices.Contains(p.Members, assembler) {
			p.Assemblers = append(p.Assemblers, assembler)
		}
	}
	return p, nil
}

// replay gives who is in after the changes of the roster and more.
func (r *Roster) replay(more []*ententev1.SignedDocument) (*membership, error) {
	parts, err := RosterParts(r.document)
	if err != nil {
		return nil, err
	}
	state, err := verifyGenesis(parts.Genesis, r.federation)
	if err != nil {
		return nil, err
	}
	return state, state.applyChanges(append(slices.Clone(parts.Changes), more...))
}

// follows checks that a change is the next one.
func (s *membership) follows(doc *ententev1.SignedDocument, change *ententev1.RosterChange) error {
	if !bytes.Equal(change.GetFederationId(), s.federation[:]) {
		return errors.New("it is of another federation")
	}
	err := checkTime("decided_at", change.GetDecidedAt())
	if err != nil {
		return err
	}
	held := uint64(len(s.changes))
	switch number := change.GetNumber(); {
	case number == 0:
		return errors.New("it has no number")
	case number > held+1:
		return fmt.Errorf("it does not follow: change %d is not there yet", held+1)
	case number == held+1:
		return nil
	case s.changes[number-1] == sha256.Sum256(doc.GetBody()):
		return errors.New("it is in force already")
	default:
		return fmt.Errorf("another change with this number is in force; make it again as number %d", held+1)
	}
}

// votes says who has signed a change, and who still may.
func (s *membership) votes(doc *ententev1.SignedDocument, kind ententev1.RosterChangeKind, id ID) (Votes, error) {
	v, keys, may := Votes{Needed: s.quorum}, s.foundersKeys, s.active(func(s *standing) bool { return s.founder })
	if kind == ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE {
		v.Needed, may = 1, []ID{id}
		keys = func(signer ID) []ed25519.PublicKey { return s.leaverKeys(signer, id) }
	}
	var err error
	v.Signed, err = verifySignatures(doc, TypeChange, keys)
	if err != nil {
		return Votes{}, err
	}
	v.Missing = missing(may, v.Signed)
	return v, nil
}

// leaverKeys gives the root of the one that leaves, and of nobody else.
func (s *membership) leaverKeys(signer, leaver ID) []ed25519.PublicKey {
	if signer != leaver {
		return nil
	}
	return s.ownRoot(signer)
}

// active lists those in good standing that fit, sorted.
func (s *membership) active(fits func(*standing) bool) []ID {
	var list []ID
	for id, at := range s.standings {
		if !at.suspended && !at.left && fits(at) {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return list
}

func missing(all, signed []ID) []ID {
	return slices.DeleteFunc(slices.Clone(all), func(id ID) bool { return slices.Contains(signed, id) })
}
