package ledger

import (
	"context"
	"fmt"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/store"
)

// eraseReceived erases the payload and salt of everything that others have released to this node: its member has left the
// federation. Positions and headers stay, so nothing of it comes again should the member be admitted once more, and the next
// receipts name what was erased. It works some entries at a time, so that other work goes on between.
//
// If we crash here, a part is erased; the next call erases the rest.
func (l *Ledger) eraseReceived(ctx context.Context) error {
	for _, info := range l.Streams() {
		if info.Owner == l.cfg.Self {
			continue
		}
		err := l.eraseStream(ctx, info)
		if err != nil {
			return fmt.Errorf("erase stream %s of %s: %w", info.ID, info.Owner, err)
		}
	}
	return nil
}

func (l *Ledger) eraseStream(ctx context.Context, info StreamInfo) error {
	for from := uint64(1); from <= info.Size; {
		standing, next, err := l.standingPayloads(info, from)
		if err != nil {
			return err
		}
		if len(standing) > 0 {
			err = l.submit(reserved(ctx), len(standing), func(b *batch) error { return b.eraseAll(info.No, standing) })
		}
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

// standingPayloads gives the entries of a slice of a stream whose payload is others' records, and where the next slice begins.
func (l *Ledger) standingPayloads(info StreamInfo, from uint64) (standing []uint64, next uint64, err error) {
	next = from
	rows := 0
	err = l.store.View(func(v *store.View) error {
		return v.Scan(entrySeries(info.No), from, func(n uint64, value []byte) (bool, error) {
			if n > info.Size {
				return false, nil
			}
			next = n + 1
			rows++
			e, err := decodeEntry(value)
			if err != nil {
				return false, fmt.Errorf("entry %d: %w", n, err)
			}
			h, err := stream.ParseHeader(e.header)
			if err != nil {
				return false, fmt.Errorf("entry %d: %w", n, err)
			}
			kept := h.Type == ententev1.EntryType_ENTRY_TYPE_OPENING || h.Type == ententev1.EntryType_ENTRY_TYPE_GRANT
			if !kept && (e.state == payloadInLog || e.state == payloadInline) {
				standing = append(standing, n)
			}
			return len(standing) < maxBatch && rows < scanSlice, nil
		})
	})
	if next == from {
		next = info.Size + 1 // nothing is left to read
	}
	return standing, next, err
}

func (b *batch) eraseAll(no uint32, sequences []uint64) error {
	s := b.changeStream(no)
	for _, sequence := range sequences {
		err := b.eraseReceived(s, sequence, s.id, act{operation: erasure, method: "departure"})
		if err != nil {
			return err
		}
	}
	return b.drainQueue()
}
