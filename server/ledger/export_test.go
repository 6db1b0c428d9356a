package ledger

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
)

// ForgetPresent makes the audiences of a record what an earlier version of the program wrote: without who was present.
func (l *Ledger) ForgetPresent(ctx context.Context, id RecordID) error {
	return l.submit(ctx, 1, func(b *batch) error {
		r := b.change(id)
		list := []intent{{audience: r.intents.list[0].audience}}
		key, err := encodeIntents(list)
		if err != nil {
			return err
		}
		r.intents, err = l.state.internIntents(key)
		return err
	})
}

// PushAndOpen takes an item and opens the streams for future members in one commit, as it happens when both come at once.
func (l *Ledger) PushAndOpen(ctx context.Context, authority string, it Item) error {
	prepared := l.prepare(authority, nil, it)
	return l.submit(ctx, 2, func(b *batch) error {
		_, err := b.take(authority, prepared)
		if err != nil {
			return err
		}
		_, err = b.openToArrived()
		return err
	})
}

// WriteOldIntents puts the audiences of a record into the log as an earlier version of the program wrote them: without
// approvals. They count from the next start on.
func (l *Ledger) WriteOldIntents(ctx context.Context, id RecordID) error {
	return l.submit(ctx, 1, func(b *batch) error {
		list := b.record(id).intents.list
		key, err := encodeIntents(list)
		if err != nil {
			return err
		}
		added := 1
		for _, in := range list {
			added += 2 + len(in.proposer)
		}
		_, err = b.tx.Append(logSeries, (&audienceEvent{id: id, intents: key[:len(key)-added]}).encode())
		return err
	})
}

// PushAndRenew takes an item and renews it in one commit, as it happens when both come at once.
func (l *Ledger) PushAndRenew(ctx context.Context, authority string, it Item, until time.Time) error {
	prepared := l.prepare(authority, nil, it)
	return l.submit(ctx, 2, func(b *batch) error {
		_, err := b.take(authority, prepared)
		if err != nil {
			return err
		}
		return b.decideOne(prepared.id, func(_ *batch, r *record, c *care) []*ententev1.FieldViolation {
			c.renewed, c.version, c.edition = until.Unix(), r.version, r.edition+1
			return nil
		}, &ententev1.Verdict{})
	})
}

// SendPermission appends any payload as a permission to an own stream, as a hostile owner could.
func (l *Ledger) SendPermission(ctx context.Context, id stream.ID, payload *ententev1.StreamPayload) (uint64, error) {
	encoded, err := proto.Marshal(payload)
	if err != nil {
		return 0, err
	}
	var sequence uint64
	err = l.submit(ctx, 1, func(b *batch) error {
		s := b.streamByID(l.cfg.Self, id)
		sequence, err = b.append(s, stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_PERMISSION}, [][]byte{encoded}, &storedEntry{state: payloadInline, inline: encoded})
		return err
	})
	return sequence, err
}

// HeldBack tells whether readers hold a version of a record that was lost here, and its system has not said it again.
func (l *Ledger) HeldBack(id RecordID) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r := l.state.records[id]
	return r != nil && !r.withdrawn && !r.fresh && r.recovered()
}

// WaitingState is Pending.State of a record, also of one that is not listed because it is restricted or over.
func (l *Ledger) WaitingState(id RecordID) uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r := l.state.records[id]
	if r == nil {
		return 0
	}
	return r.waitingState()
}
