package national

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

const (
	// revocationKey begins the keys of revocation lists in the table of documents: member and authority follow.
	revocationKey = "revocation/"
	// maxMemberLists bounds what one member's lists may have together, in bytes: no member fills the memory of all others,
	// and an answer with the own ones stays a small part of a message.
	maxMemberLists = 1 << 20
	// maxPassedOn bounds all lists in one answer, in bytes: it must fit into a message with the roster.
	maxPassedOn = 2 << 20
	// maxOffered is how many lists of one answer are looked at.
	maxOffered = 4096
)

// revocations holds the certificate revocation lists that the node goes by: the newest one of each authority that the
// roster names. What it is given counts once it is verified, is no older than what is held, and is on disk. A list past its
// next update goes on counting, and none is ever taken back.
type revocations struct {
	self   member.ID
	roster func() *member.Roster // in force, perhaps expired; nil while there is none
	logger *slog.Logger
	put    func(key string, value []byte) error
	remove func(key string) error

	mu      sync.Mutex // covers changes: one at a time
	current atomic.Pointer[revoked]
}

// revoked is what counts now. It is replaced whole, never changed.
type revoked struct {
	lists    []*member.RevocationList // the own member's first, then by member and authority
	byIssuer map[string][]*member.RevocationList
	passedOn []*ententev1.RevocationList
	count    int
}

// newRevocations reads what the node accepted before. dry: nothing is written.
func newRevocations(st *store.Store, dry bool, self member.ID, roster func() *member.Roster, logger *slog.Logger) (*revocations, error) {
	r := &revocations{self: self, roster: roster, logger: logger}
	r.put = func(key string, value []byte) error { return keepDocument(st, key, value) }
	r.remove = func(key string) error { return dropDocument(st, key) }
	if dry {
		r.put = func(string, []byte) error { return nil }
		r.remove = func(string) error { return nil }
	}
	var kept []*ententev1.RevocationList
	err := st.View(func(v *store.View) error {
		return v.Each(documentsTable, func(key, value []byte) error {
			if !strings.HasPrefix(string(key), revocationKey) {
				return nil
			}
			list := &ententev1.RevocationList{}
			err := proto.Unmarshal(value, list)
			kept = append(kept, list)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the revocation lists in the data file: %w", err)
	}
	r.current.Store(r.assemble(r.verified(kept)))
	return r, nil
}

// verified are the kept lists that verify by the roster of now. One whose authority the roster names no more is of no use:
// nothing that this authority issued counts.
func (r *revocations) verified(kept []*ententev1.RevocationList) []*member.RevocationList {
	roster := r.roster()
	if roster == nil {
		return nil
	}
	var lists []*member.RevocationList
	for _, one := range kept {
		list, err := roster.ReadRevocationList(member.ID(one.GetMember()), one.GetList())
		if err != nil {
			r.logger.Warn("a kept revocation list does not count", "member", one.GetMember(), "reason", err)
			continue
		}
		lists = append(lists, list)
	}
	return lists
}

func (r *revocations) assemble(lists []*member.RevocationList) *revoked {
	slices.SortFunc(lists, func(a, b *member.RevocationList) int {
		return cmp.Or(-compareBool(a.Member() == r.self, b.Member() == r.self), cmp.Compare(a.Member(), b.Member()),
			cmp.Compare(listKey(a), listKey(b)))
	})
	now := &revoked{lists: lists, byIssuer: map[string][]*member.RevocationList{}}
	size := 0
	for _, list := range lists {
		issuer := string(list.Authority().RawSubject)
		now.byIssuer[issuer] = append(now.byIssuer[issuer], list)
		now.count += list.Len()
		size += len(list.DER())
		if size <= maxPassedOn { // who lacks the rest asks its own member
			now.passedOn = append(now.passedOn, &ententev1.RevocationList{Member: string(list.Member()), List: list.DER()})
		}
	}
	return now
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Revoked says whether a certificate is on a list of the authority that issued it.
func (r *revocations) Revoked(certificate *x509.Certificate) bool {
	lists := r.current.Load().byIssuer[string(certificate.RawIssuer)]
	return slices.ContainsFunc(lists, func(l *member.RevocationList) bool { return l.Revokes(certificate) })
}

// Lists are the lists that the node goes by, for other nodes: the own member's first.
func (r *revocations) Lists() []*ententev1.RevocationList { return r.current.Load().passedOn }

// Count is how many certificates are on the lists.
func (r *revocations) Count() int { return r.current.Load().count }

// accept takes the lists of the node's own files. It says whether something changed, and what was refused.
func (r *revocations) accept(files [][]byte) (bool, error) {
	var changed bool
	var refused []error
	for _, der := range files {
		one, err := r.take("", der)
		changed = changed || one
		if err != nil {
			refused = append(refused, err)
		}
	}
	return changed, errors.Join(refused...)
}

// acceptOffered takes what another node passes on. An older list is no fault: the other has not heard yet. Nor is one that
// our roster cannot verify: the other's may be newer.
func (r *revocations) acceptOffered(lists []*ententev1.RevocationList) (bool, error) {
	var changed bool
	var refused []error
	for _, offered := range lists[:min(len(lists), maxOffered)] {
		one, err := r.take(member.ID(offered.GetMember()), offered.GetList())
		changed = changed || one
		if err != nil && !errors.Is(err, member.ErrRevocationsOlder) {
			refused = append(refused, err)
		}
	}
	return changed, errors.Join(refused...)
}

// take takes one list that verifies and is newer than the held one of its authority. id is the member that it is said to
// be of; empty: whoever's authority signed it.
//
// If we crash between the disk and the memory, the next start reads the new one from the disk.
func (r *revocations) take(id member.ID, der []byte) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := r.current.Load()
	if slices.ContainsFunc(held.lists, func(l *member.RevocationList) bool { return bytes.Equal(l.DER(), der) }) {
		return false, nil // as nearly always: nothing new, nothing to verify
	}
	roster := r.roster()
	if roster == nil {
		return false, errors.New("revocation list refused: there is no roster to verify it by")
	}
	list, err := roster.ReadRevocationList(id, der)
	if err != nil {
		return false, fmt.Errorf("refused: %w", err)
	}
	rest, before, gone := r.beside(held, list, roster)
	err = list.Succeeds(before)
	if err != nil {
		return false, fmt.Errorf("refused: revocation %w", err)
	}
	if before != nil && before.Number().Cmp(list.Number()) == 0 {
		return false, nil // the same, signed anew
	}
	if sizeOf(rest, list.Member())+len(der) > maxMemberLists {
		return false, fmt.Errorf("revocation list of %s refused: its lists have more than %d bytes together", list.Member(), maxMemberLists)
	}
	err = r.keep(list, gone)
	if err != nil {
		return false, err
	}
	r.current.Store(r.assemble(append(rest, list)))
	return true, nil
}

// beside parts the held lists: those that stay beside a new one, the one in whose place it comes, and the member's lists
// of authorities that the roster names no more, which go: so the authorities of now bound how many there are.
func (r *revocations) beside(held *revoked, list *member.RevocationList, roster *member.Roster) (rest []*member.RevocationList, before *member.RevocationList, gone []*member.RevocationList) {
	entry, _ := roster.Member(list.Member())
	for _, one := range held.lists {
		switch {
		case listKey(one) == listKey(list):
			before = one
		case one.Member() == list.Member() && !slices.ContainsFunc(entry.Authorities, sameIssuer(one.Authority())):
			gone = append(gone, one)
		default:
			rest = append(rest, one)
		}
	}
	return rest, before, gone
}

// sameIssuer says whether a certificate is that of the same authority, perhaps renewed: then what it has revoked stays
// revoked.
func sameIssuer(authority *x509.Certificate) func(*x509.Certificate) bool {
	return func(other *x509.Certificate) bool {
		return bytes.Equal(other.RawSubject, authority.RawSubject) &&
			bytes.Equal(other.RawSubjectPublicKeyInfo, authority.RawSubjectPublicKeyInfo)
	}
}

func (r *revocations) keep(list *member.RevocationList, gone []*member.RevocationList) error {
	value, err := proto.Marshal(&ententev1.RevocationList{Member: string(list.Member()), List: list.DER()})
	if err != nil {
		return fmt.Errorf("encode a revocation list of %s: %w", list.Member(), err)
	}
	err = r.put(listKey(list), value)
	if err != nil {
		return err
	}
	for _, one := range gone {
		err = r.remove(listKey(one))
		if err != nil {
			return err
		}
	}
	return nil
}

func sizeOf(lists []*member.RevocationList, id member.ID) int {
	size := 0
	for _, list := range lists {
		if list.Member() == id {
			size += len(list.DER())
		}
	}
	return size
}

// listKey is where the newest list of one authority is kept: by the authority's key, which a renewed certificate keeps.
func listKey(list *member.RevocationList) string {
	return fmt.Sprintf("%s%s/%x", revocationKey, list.Member(), sha256.Sum256(list.Authority().RawSubjectPublicKeyInfo))
}
