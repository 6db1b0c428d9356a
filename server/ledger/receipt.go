package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

const (
	documentReceipt = "receipt"
	documentDigest  = "digest"

	// maxErasedInReceipt keeps a receipt within what the contract takes.
	maxErasedInReceipt = 10000
)

// PendingReceipts signs a receipt for each stream of an owner of which more is applied than the last receipt said.
func (l *Ledger) PendingReceipts(owner member.ID) ([]*ententev1.SignedDocument, error) {
	key := l.signingKey()
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []*ententev1.SignedDocument
	for _, s := range l.state.streams {
		if s.own || s.owner != owner || s.size() <= s.receipted && len(s.erased) == 0 {
			continue
		}
		root := s.edge.Root()
		r := &ententev1.Receipt{Reader: string(l.cfg.Self), Owner: string(owner), StreamId: s.id[:], Size: s.size(), Root: root[:], SignedAt: timestamp(l.cfg.Now())}
		for _, e := range s.erased[:min(len(s.erased), maxErasedInReceipt)] {
			r.Erased = append(r.Erased, &ententev1.EntryRef{StreamId: slices.Clone(e.stream[:]), Sequence: e.sequence})
		}
		body, err := deterministic().Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encode receipt: %w", err)
		}
		list = append(list, member.SignDocument(documentReceipt, body, l.cfg.Self, key))
	}
	return list, nil
}

// ReceiptsSent notes that an owner has taken receipts. If we crash before, they are sent again.
func (l *Ledger) ReceiptsSent(ctx context.Context, docs []*ententev1.SignedDocument) error {
	if len(docs) == 0 {
		return nil
	}
	return l.submit(reserved(ctx), len(docs), func(b *batch) error {
		for _, doc := range docs {
			r := &ententev1.Receipt{}
			err := proto.Unmarshal(doc.GetBody(), r)
			if err != nil {
				return fmt.Errorf("read receipt: %w", err)
			}
			id, err := stream.ParseID(r.GetStreamId())
			if err != nil {
				return fmt.Errorf("read receipt: %w", err)
			}
			s := b.streamByID(member.ID(r.GetOwner()), id)
			if s == nil {
				continue
			}
			s = b.changeStream(s.no)
			s.receipted = max(s.receipted, r.GetSize())
			s.erased = slices.DeleteFunc(slices.Clone(s.erased), func(e *entryRef) bool {
				return slices.ContainsFunc(r.GetErased(), func(sent *ententev1.EntryRef) bool {
					return sent.GetSequence() == e.sequence && string(sent.GetStreamId()) == string(e.stream[:])
				})
			})
		}
		return nil
	})
}

// OwnerForgot says that an owner has asked what this node holds of its streams: it did not stop cleanly and may have lost
// the receipts that it had. All are sent again.
func (l *Ledger) OwnerForgot(ctx context.Context, owner member.ID) error {
	l.mu.RLock()
	sent := slices.ContainsFunc(l.state.streams, func(s *streamState) bool { return !s.own && s.owner == owner && s.receipted > 0 })
	l.mu.RUnlock()
	if !sent {
		return nil
	}
	return l.submit(ctx, 1, func(b *batch) error {
		for _, s := range l.state.streams {
			if !s.own && s.owner == owner && s.receipted > 0 {
				b.changeStream(s.no).receipted = 0
			}
		}
		return nil
	})
}

// AcceptReceipt takes a reader's signed receipt for an own stream: verified, kept, and from then on part of the delivery
// table. A receipt that does not fit what this node has signed is refused.
func (l *Ledger) AcceptReceipt(ctx context.Context, doc *ententev1.SignedDocument, from member.ID) error {
	signer, err := member.VerifyDocument(doc, documentReceipt, l.cfg.Directory().Roster.VerifyingKeys)
	if err != nil {
		return fmt.Errorf("receipt of %s: %w: %w", from, ErrRefused, err)
	}
	r := &ententev1.Receipt{}
	err = proto.Unmarshal(doc.GetBody(), r)
	if err != nil {
		return fmt.Errorf("receipt of %s: %w: %w", from, ErrRefused, err)
	}
	if signer != from || r.GetReader() != string(from) || r.GetOwner() != string(l.cfg.Self) {
		return fmt.Errorf("receipt of %s names other members: %w", from, ErrRefused)
	}
	id, err := stream.ParseID(r.GetStreamId())
	if err != nil {
		return fmt.Errorf("receipt of %s: %w: %w", from, ErrRefused, err)
	}
	info, ok := l.ownStreamOf(id, from)
	if !ok {
		return fmt.Errorf("receipt of %s: stream: %w", from, ErrAbsent)
	}
	if r.GetSize() > info.Size {
		return fmt.Errorf("receipt of %s for %d entries of stream %s, which has %d: %w", from, r.GetSize(), id, info.Size, ErrRefused)
	}
	root, err := l.rootAt(info.No, r.GetSize())
	if err != nil {
		return fmt.Errorf("receipt of %s: %w", from, err)
	}
	if string(root[:]) != string(r.GetRoot()) {
		return fmt.Errorf("receipt of %s for another history of stream %s: %w", from, id, ErrRefused)
	}
	encoded, err := proto.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode receipt: %w", err)
	}
	if !l.isNews(info.No, from, r, uint64(len(encoded))) {
		return nil
	}
	return l.submit(reserved(ctx), 1, func(b *batch) error {
		s := b.changeStream(info.No)
		e := &receiptEvent{stream: info.No, reader: from, size: r.GetSize(), at: b.now.UnixNano(), document: encoded}
		if s.confirmed[from].kept+uint64(len(encoded)) > b.receiptRoom(s.size(), from) {
			e.document = nil // more than an honest reader ever has to say: it counts, and takes no more room
		}
		_, err := b.tx.Append(logSeries, e.encode())
		if err != nil {
			return fmt.Errorf("append receipt: %w", err)
		}
		s.confirmed[from] = s.confirmed[from].after(e)
		return nil
	})
}

// isNews says whether a receipt says more than those taken before. One that is sent again, by a reader that crashed or one
// that wants to fill the disk, is answered and leaves nothing.
func (l *Ledger) isNews(no uint32, from member.ID, r *ententev1.Receipt, bytes uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.state.stream(no)
	c := s.confirmed[from]
	if c.at == 0 || r.GetSize() > c.size {
		return true
	}
	return len(r.GetErased()) > 0 && c.kept+bytes <= receiptRoom(l.state.streams, s.size(), from)
}

// receiptRoom is how many bytes of a reader's receipts are kept for a stream of a size: a receipt for each entry, and each
// withdrawn entry named several times.
func receiptRoom(streams []*streamState, size uint64, from member.ID) uint64 {
	var withdrawn uint64
	for _, s := range streams {
		if s.own && s.readers.has(from) {
			withdrawn += uint64(len(s.withdrawals))
		}
	}
	return 64<<10 + 512*size + 128*withdrawn
}

func (b *batch) receiptRoom(size uint64, from member.ID) uint64 {
	return receiptRoom(b.l.state.streams, size, from)
}

// after is the confirmation with one receipt more.
func (c confirmation) after(e *receiptEvent) confirmation {
	c.kept += uint64(len(e.document))
	if e.size >= c.size {
		c.size, c.at = e.size, e.at
	}
	return c
}

// ReaderState is one reader of an own stream by its receipts.
type ReaderState struct {
	Member        member.ID
	ConfirmedSize uint64
	State         ententev1.DeliveryState
	At            time.Time // zero while there is no receipt
}

// Readers gives the readers of an own stream, in order.
func (l *Ledger) Readers(no uint32) []ReaderState {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.state.stream(no)
	if s == nil || !s.own {
		return nil
	}
	var list []ReaderState
	for _, m := range s.readers {
		c := s.confirmed[m]
		r := ReaderState{Member: m, ConfirmedSize: c.size, State: ententev1.DeliveryState_DELIVERY_STATE_PENDING}
		if c.at != 0 {
			r.At = time.Unix(0, c.at).UTC()
			r.State = ententev1.DeliveryState_DELIVERY_STATE_DELIVERED
		}
		if c.at != 0 && c.size == s.size() {
			r.State = ententev1.DeliveryState_DELIVERY_STATE_APPLIED
		}
		list = append(list, r)
	}
	return list
}

// deliveries is the delivery table of one record: a line for each entry and reader. The caller holds the lock.
func (l *Ledger) deliveries(r *record) []*ententev1.Delivery {
	var list []*ententev1.Delivery
	// By stream and number, not in the order of appending: that is not known any more after a start.
	for _, at := range slices.SortedFunc(slices.Values(r.places), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.sequence, b.sequence))
	}) {
		for _, m := range l.state.stream(at.stream).readers {
			list = append(list, l.delivery(at, m))
		}
	}
	return list
}

// delivery is one line of the delivery table. The caller holds the lock.
func (l *Ledger) delivery(at place, m member.ID) *ententev1.Delivery {
	s := l.state.stream(at.stream)
	d := &ententev1.Delivery{Member: string(m), Entry: &ententev1.EntryRef{StreamId: slices.Clone(s.id[:]), Sequence: at.sequence}, Withdrawn: at.withdrawn,
		State: ententev1.DeliveryState_DELIVERY_STATE_PENDING, SentAt: secondsStamp(at.at), WithdrawnAt: secondsStamp(at.gone)}
	if s.confirmed[m].size >= at.sequence {
		d.State = ententev1.DeliveryState_DELIVERY_STATE_DELIVERED
	}
	if at.withdrawn && l.signed(at, m) {
		d.State = ententev1.DeliveryState_DELIVERY_STATE_APPLIED
		return d
	}
	if !l.signed(at, m) && l.late(at) {
		d.State = ententev1.DeliveryState_DELIVERY_STATE_OVERDUE
	}
	return d
}

// secondsStamp is a time that is kept in seconds since 1970; nil where none is.
func secondsStamp(at uint32) *timestamppb.Timestamp {
	if at == 0 {
		return nil
	}
	return timestamppb.New(time.Unix(int64(at), 0))
}
