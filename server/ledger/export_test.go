package ledger

import "context"

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
	prepared := l.prepare(authority, it)
	return l.submit(ctx, 2, func(b *batch) error {
		_, err := b.take(authority, prepared)
		if err != nil {
			return err
		}
		_, err = b.openToArrived()
		return err
	})
}
