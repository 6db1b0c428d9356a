package member

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	// maxIDLength is the longest member id, as in the field rules of the contract.
	maxIDLength = 32
	// maxNameLength bounds the name of an identity, so that a certificate cannot put a page into a log.
	maxNameLength = 64
	// domainSuffix follows the lower-cased member id in its trust domain.
	domainSuffix = ".entente"
)

// ID names a member: "XA", "COORD". One to 32 capital letters, digits and hyphens, a letter first.
type ID string

// ParseID checks the form of a member id. It does not say whether such a member exists: that is for the roster.
func ParseID(s string) (ID, error) {
	if len(s) == 0 {
		return "", errors.New("member id is empty")
	}
	if len(s) > maxIDLength {
		return "", fmt.Errorf("member id has %d characters, at most %d are allowed", len(s), maxIDLength)
	}
	if s[0] < 'A' || s[0] > 'Z' {
		return "", fmt.Errorf("member id %q does not begin with a capital letter A to Z", s)
	}
	for i := range len(s) {
		if !isIDByte(s[i]) {
			return "", fmt.Errorf("member id %q holds something other than capital letters, digits and hyphens", s)
		}
	}
	return ID(s), nil
}

func isIDByte(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}

// TrustDomain is the SPIFFE trust domain of all identities of the member: "xa.entente" for "XA".
func (id ID) TrustDomain() string {
	return strings.ToLower(string(id)) + domainSuffix
}

// memberOfTrustDomain is the inverse of ID.TrustDomain.
func memberOfTrustDomain(domain string) (ID, error) {
	label, found := strings.CutSuffix(domain, domainSuffix)
	if !found {
		return "", fmt.Errorf("trust domain %q does not end in %q", domain, domainSuffix)
	}
	id, err := ParseID(strings.ToUpper(label))
	if err != nil {
		return "", fmt.Errorf("trust domain %q: %w", domain, err)
	}
	if id.TrustDomain() != domain {
		return "", fmt.Errorf("trust domain %q is not in lower case", domain)
	}
	return id, nil
}

// Kind says what sort of caller an identity is. The zero value is no kind.
type Kind uint8

// The kinds of identity. Only a node may call another member's node; the others call the node of their own member.
const (
	// KindNode is the running program of a member.
	KindNode Kind = iota + 1
	// KindSystem is a national system that pushes or follows records.
	KindSystem
	// KindOfficer is a person who consults.
	KindOfficer
	// KindAuditor is a person who reads the audit trail.
	KindAuditor
	// KindOperator is a person who runs the node.
	KindOperator
)

// String is the word that stands in SPIFFE IDs: "node", "system", "officer", "auditor", "operator".
func (k Kind) String() string {
	switch k {
	case KindNode:
		return "node"
	case KindSystem:
		return "system"
	case KindOfficer:
		return "officer"
	case KindAuditor:
		return "auditor"
	case KindOperator:
		return "operator"
	default:
		return "unknown"
	}
}

// ParseKind is the inverse of Kind.String.
func ParseKind(s string) (Kind, error) {
	for k := KindNode; k <= KindOperator; k++ {
		if s == k.String() {
			return k, nil
		}
	}
	return 0, errors.New("kind of identity is none of node, system, officer, auditor, operator")
}

// Identity is who a certificate names. It is comparable. The name of an officer is personal data: log
// Member and Kind only.
type Identity struct {
	// Member is the member in whose trust domain the identity lies.
	Member ID
	// Kind is what sort of caller it is.
	Kind Kind
	// Name tells apart the identities of one kind; empty for a node.
	Name string
}

// ParseIdentity reads a SPIFFE ID: spiffe://xa.entente/node, or spiffe://xa.entente/<kind>/<name> for the other kinds,
// the name being one path segment of at most 64 letters, digits, dots, hyphens and underscores. Its errors repeat the
// trust domain only, never the name.
func ParseIdentity(spiffeID string) (Identity, error) {
	parsed, err := spiffeid.FromString(spiffeID)
	if err != nil {
		return Identity{}, fmt.Errorf("parse SPIFFE ID: %w", err)
	}
	owner, err := memberOfTrustDomain(parsed.TrustDomain().Name())
	if err != nil {
		return Identity{}, fmt.Errorf("parse SPIFFE ID: %w", err)
	}
	word, name, named := strings.Cut(strings.TrimPrefix(parsed.Path(), "/"), "/")
	kind, err := ParseKind(word)
	if err != nil {
		return Identity{}, fmt.Errorf("parse SPIFFE ID of %s: %w", owner, err)
	}
	if named == (kind == KindNode) {
		return Identity{}, fmt.Errorf("parse SPIFFE ID of %s: a node has no name, every other kind has one", owner)
	}
	if strings.Contains(name, "/") || len(name) > maxNameLength {
		return Identity{}, fmt.Errorf("parse SPIFFE ID of %s: the name of a %s is one segment of at most %d characters",
			owner, kind, maxNameLength)
	}
	return Identity{Member: owner, Kind: kind, Name: name}, nil
}

// String is the SPIFFE ID. ParseIdentity reads it back.
func (i Identity) String() string {
	return "spiffe://" + i.Member.TrustDomain() + i.path()
}

func (i Identity) path() string {
	if i.Kind == KindNode && i.Name == "" {
		return "/" + i.Kind.String()
	}
	return "/" + i.Kind.String() + "/" + i.Name
}
