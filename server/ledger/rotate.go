package ledger

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// signingKey is the key by which this node signs now.
func (l *Ledger) signingKey() ed25519.PrivateKey {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.signing
}

// signingKey is the key by which the batch signs: the committer's alone.
func (b *batch) signingKey() ed25519.PrivateKey {
	if b.rotated != nil {
		return b.rotated
	}
	return b.l.signing
}

// Rotate signs with another key from now on, and signs the heads of all own streams anew with it. Whoever calls it has made
// sure that the roster in force names the key as a current one. If we crash before it is done, the next start signs with the
// key that it is given, and heads under the old one count as long as the roster says so.
func (l *Ledger) Rotate(ctx context.Context, key ed25519.PrivateKey) error {
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("rotate the signing key: %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	err := l.submit(ctx, 1, func(b *batch) error {
		b.rotated = key
		for _, s := range l.state.streams {
			if s.own {
				b.touched[b.changeStream(s.no).no] = true
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("rotate the signing key: %w", err)
	}
	return nil
}

// OldNotes tells whether a head that is held of an owner's streams is not signed by a key that is current in the roster: the
// owner has rotated its key since. Its heads are then to be asked for, and kept with ApplyCheckpoint.
func (l *Ledger) OldNotes(owner member.ID) bool {
	keys := l.cfg.Directory().Roster.CurrentKeys(owner)
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.state.streams {
		if s.own || s.owner != owner || len(s.checkpoint) == 0 {
			continue
		}
		_, err := stream.OpenCheckpoint(s.checkpoint, owner, s.id, keys)
		if err != nil {
			return true
		}
	}
	return false
}

// ApplyCheckpoint keeps a verified head of a received stream in the place of the one held, where it is of the same entries:
// signed later, or with a newer key. Any other is left to a pull.
func (l *Ledger) ApplyCheckpoint(ctx context.Context, owner member.ID, id stream.ID, c stream.Checkpoint, note []byte) error {
	err := l.submit(ctx, 1, func(b *batch) error {
		s := b.streamByID(owner, id)
		if s == nil || s.own || s.size() != c.Size || s.edge.Root() != c.Root {
			return nil
		}
		b.changeStream(s.no).checkpoint = note
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep the head of stream %s: %w", id, err)
	}
	return nil
}
