package ledger

import (
	"context"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// Trail is where the ledger puts what it does.
type Trail interface {
	// Append puts entries at the end of the trail, within a transaction. installed is called when that is on disk, under the
	// ledger's lock: it is short, and does not call the ledger. If Append fails, so does the transaction: nothing is done that
	// is not in the trail.
	Append(tx *store.Tx, entries []*ententev1.AuditEntry) (installed func(), err error)
}

type actorKey struct{}

// WithActor says who acts in the calls that are made with the context: it stands in the trail with what they do.
func WithActor(ctx context.Context, actor *ententev1.AuditActor) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// act is one thing done by somebody, as the trail names it.
type act struct {
	operation ententev1.AuditOperation
	method    string
	note      string
	recipient string
}

// actor is who acts in a context; nil where the node acts by itself.
func actor(ctx context.Context) *ententev1.AuditActor {
	a, _ := ctx.Value(actorKey{}).(*ententev1.AuditActor)
	return a
}

const (
	collection = ententev1.AuditOperation_AUDIT_OPERATION_COLLECTION
	alteration = ententev1.AuditOperation_AUDIT_OPERATION_ALTERATION
	disclosure = ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE
	erasure    = ententev1.AuditOperation_AUDIT_OPERATION_ERASURE
)

// maxNamed is how many records one entry of the trail names; more make further entries.
const maxNamed = 1000

// note puts into the trail that something was done with a record. What one caller does with many in one go is one entry.
func (b *batch) note(by *ententev1.AuditActor, what act, n Name) {
	if b.l.cfg.Trail == nil {
		return
	}
	e := b.entry(by, what)
	at := slices.IndexFunc(e.Records, func(r *ententev1.AuditRecords) bool { return r.GetOwner() == string(n.Owner) })
	if at < 0 {
		at = len(e.Records)
		e.Records = append(e.Records, &ententev1.AuditRecords{Owner: string(n.Owner)})
	}
	e.Records[at].RecordIds = append(e.Records[at].RecordIds, slices.Clone(n.Record[:]))
	b.named++
}

// noteRange puts into the trail that something was done with an entry of a stream. Entries in a row are one stretch.
func (b *batch) noteRange(by *ententev1.AuditActor, what act, owner member.ID, id stream.ID, sequence uint64) {
	if b.l.cfg.Trail == nil {
		return
	}
	e := b.entry(by, what)
	b.named++
	for _, r := range slices.Backward(e.Ranges) {
		if r.GetOwner() == string(owner) && string(r.GetStreamId()) == string(id[:]) {
			if r.GetLast()+1 == sequence {
				r.Last = sequence
				return
			}
			break
		}
	}
	e.Ranges = append(e.Ranges, &ententev1.AuditRange{Owner: string(owner), StreamId: slices.Clone(id[:]), First: sequence, Last: sequence})
}

// entry is the entry of the trail in which something belongs: the last one, if it is about the same.
func (b *batch) entry(by *ententev1.AuditActor, what act) *ententev1.AuditEntry {
	if len(b.trail) > 0 && b.lastAct == what && b.lastActor == by && b.named < maxNamed {
		return b.trail[len(b.trail)-1]
	}
	e := &ententev1.AuditEntry{Operation: what.operation, Method: what.method, Note: what.note, Recipient: what.recipient, Actor: by}
	b.trail = append(b.trail, e)
	b.lastAct, b.lastActor, b.named = what, by, 0
	return e
}

// writeTrail puts the batch's entries into the trail. If we crash here, they are undone together with what they tell.
func (b *batch) writeTrail() error {
	if len(b.trail) == 0 {
		return nil
	}
	installed, err := b.l.cfg.Trail.Append(b.tx, b.trail)
	if err != nil {
		return err
	}
	b.installed = append(b.installed, installed)
	return nil
}

// Commit runs do in a transaction of the node's one writer, together with whatever else is waiting, and calls what it returns
// (nil: nothing) when that is on disk, as Trail.Append says. It is for what others keep in the data file: the trail of those who look. do may run twice.
func (l *Ledger) Commit(ctx context.Context, do func(tx *store.Tx) (installed func(), err error)) error {
	return l.submit(reserved(ctx), 1, func(b *batch) error {
		err := b.writeTrail() // what this transaction has told so far, and its place in the trail, come first
		if err != nil {
			return err
		}
		b.trail, b.named = nil, 0
		installed, err := do(b.tx)
		if err != nil {
			return err
		}
		b.installed = append(b.installed, installed)
		return nil
	})
}
