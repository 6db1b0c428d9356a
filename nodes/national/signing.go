package national

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync"

	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

// signingKey is where the public half of the key is kept by which all own heads are signed.
const signingKey = "signing-key"

// signing is the rotation of the member's signing key.
type signing struct {
	mu      sync.Mutex        // covers all below; held while heads are signed anew
	public  ed25519.PublicKey // by which all own heads are signed; nil where that is not known
	current ed25519.PublicKey // by which the node signs now
}

// readSigning notes by which key the heads are signed, as the data file says.
func (n *Node) readSigning() error {
	n.signing.current, _ = n.material.SigningKey.Public().(ed25519.PublicKey)
	return n.store.View(func(v *store.View) error {
		return v.Each(documentsTable, func(key, value []byte) error {
			if string(key) == signingKey {
				n.signing.public = bytes.Clone(value)
			}
			return nil
		})
	})
}

// rotate goes over to the key that stands in the file now, as soon as the roster in force names it as a current one: the
// heads of all own streams are signed anew with it. nil: no key stands there, and the one in use stays.
//
// If we crash before the new key is noted, the next start begins again, which changes nothing but the signatures.
func (n *Node) rotate(ctx context.Context, key ed25519.PrivateKey) error {
	if key == nil {
		return nil
	}
	n.signing.mu.Lock()
	defer n.signing.mu.Unlock()
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return fmt.Errorf("signing key: not an Ed25519 key")
	}
	roster := n.directory.get().Roster
	if !isCurrent(roster, n.material.Member, public) {
		return n.waiting(roster, public)
	}
	if public.Equal(n.signing.public) && public.Equal(n.signing.current) {
		return nil
	}
	err := n.ledger.Rotate(ctx, key)
	if err != nil {
		return err
	}
	n.signing.current = public
	err = keepDocument(n.store, signingKey, public)
	if err != nil {
		return err
	}
	n.signing.public = public
	n.log.Info("the heads of all own streams are signed with the signing key of now", "roster", roster.Number())
	return nil
}

// waiting says what is wrong with a key in the file that is not a current one.
func (n *Node) waiting(roster *member.Roster, public ed25519.PublicKey) error {
	if public.Equal(n.signing.current) {
		return fmt.Errorf("the node's signing key is not a current key of %s any more in the roster (number %d): others refuse what it "+
			"signs; put a key that is current into the file of signing_key", n.material.Member, roster.Number())
	}
	return fmt.Errorf("the new signing key is not a current key of %s yet in the roster (number %d): the node signs with the one before "+
		"until it is", n.material.Member, roster.Number())
}

func isCurrent(roster *member.Roster, id member.ID, public ed25519.PublicKey) bool {
	return slices.ContainsFunc(roster.CurrentKeys(id), func(key ed25519.PublicKey) bool { return key.Equal(public) })
}
