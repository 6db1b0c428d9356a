package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// EraseHome erases at home the content of records that have just been withdrawn: of those whose verdicts say so. A legal hold is
// in the way, and the verdict then says that too.
func (l *Ledger) EraseHome(ctx context.Context, authority string, refs []string, verdicts []*ententev1.Verdict) error {
	by := actor(ctx)
	err := l.submit(reserved(ctx), len(refs), func(b *batch) error {
		for i, ref := range refs {
			id := l.RecordID(authority, ref)
			r := b.record(id)
			if r == nil || r.pos == 0 || !r.withdrawn || r.erased {
				continue
			}
			if r.heldAt(b.now) {
				verdicts[i].Violations = violation("erase", "is kept from by a legal hold: the record is withdrawn, and its content stays at home")
				continue
			}
			err := b.eraseHome(id)
			if err != nil {
				return err
			}
			b.note(by, act{operation: erasure, method: ententev1.IntakeService_Withdraw_FullMethodName}, Name{Owner: l.cfg.Self, Record: id})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("erase at home: %w", err)
	}
	return nil
}

// Stands tells whether the payload of an entry is still there: asked of what was read, before it is sent.
func (l *Ledger) Stands(owner member.ID, id stream.ID, sequence uint64) (bool, error) {
	l.mu.RLock()
	no := l.state.byID[streamKey{owner: owner, id: id}]
	l.mu.RUnlock()
	if no == 0 {
		return false, nil
	}
	stands := false
	err := l.store.View(func(v *store.View) error {
		value, err := v.Get(entrySeries(no), sequence)
		if err != nil {
			return err
		}
		e, err := decodeEntry(value)
		if err != nil {
			return err
		}
		stands = e.state == payloadInLog || e.state == payloadInline
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("entry %d of stream %s: %w", sequence, id, err)
	}
	return stands, nil
}

// Commitments are the commitments of the entries by which the node holds another member's record now: what a permission names.
func (l *Ledger) Commitments(n Name) ([]stream.Hash, error) {
	l.mu.RLock()
	places := l.state.held[n]
	l.mu.RUnlock()
	var list []stream.Hash
	err := l.store.View(func(v *store.View) error {
		for _, at := range places {
			value, err := v.Get(entrySeries(at.stream), at.sequence)
			if err != nil {
				return err
			}
			e, err := decodeEntry(value)
			if err != nil {
				return err
			}
			h, err := stream.ParseHeader(e.header)
			if err != nil {
				return err
			}
			if e.state == payloadInLog {
				list = append(list, h.Commitment)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("commitments of record %s: %w", n.Record, err)
	}
	return list, nil
}

// SigningKey is the key by which this node signs now: its trail is signed with it too.
func (l *Ledger) SigningKey() ed25519.PrivateKey { return l.signingKey() }

// StandingForms are the released forms in which a record stands now, in own streams or received ones.
func (l *Ledger) StandingForms(n Name) ([][]byte, error) {
	type at struct {
		s        *streamState
		sequence uint64
	}
	var places []at
	l.mu.RLock()
	if n.Owner == l.cfg.Self {
		r := l.state.records[n.Record]
		if r != nil {
			for _, p := range r.places {
				if !p.withdrawn {
					places = append(places, at{l.state.stream(p.stream), p.sequence})
				}
			}
		}
	}
	for _, p := range l.state.held[n] {
		places = append(places, at{l.state.stream(p.stream), p.sequence})
	}
	l.mu.RUnlock()
	var forms [][]byte
	err := l.store.View(func(v *store.View) error {
		for _, p := range places {
			value, err := v.Get(entrySeries(p.s.no), p.sequence)
			if err != nil {
				return err
			}
			e, err := decodeEntry(value)
			if err != nil {
				return err
			}
			if e.state != payloadInLog {
				continue // erased since
			}
			_, released, err := readPayload(v, p.s, e)
			if errors.Is(err, errErased) {
				continue
			}
			if err != nil {
				return err
			}
			forms = append(forms, slices.Clone(released))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("forms of record %s: %w", n.Record, err)
	}
	return forms, nil
}

// EndedHere tells whether a received entry was erased here without a withdrawal of its owner: because its time was over, or
// because the own member has left the federation.
func (l *Ledger) EndedHere(no uint32, sequence uint64) bool {
	ended := false
	err := l.store.View(func(v *store.View) error {
		value, err := v.Get(entrySeries(no), sequence)
		if err != nil {
			return err
		}
		e, err := decodeEntry(value)
		if err != nil {
			return err
		}
		ended = e.state == payloadErased && e.edition == endedHere
		return nil
	})
	return err == nil && ended
}
