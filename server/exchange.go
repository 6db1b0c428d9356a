package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const (
	batchEntries     = 1000
	batchWithdrawals = 500
)

// exchange is spoken with nodes of other members. A caller gets what concerns the streams that it and this node's
// member share, and nothing that tells of others.
type exchange struct {
	ententev1.UnimplementedExchangeServiceServer
	*Server
}

// asked is whose streams a call is about, and who reads them: the caller reads ours, or we read the caller's.
func (s *exchange) asked(c caller, ownedByCaller bool) (owner, reader member.ID) {
	if ownedByCaller {
		return c.Member, s.cfg.Self
	}
	return s.cfg.Self, c.Member
}

// Heads answers the newest heads of shared streams, none where the digests agree.
func (s *exchange) Heads(ctx context.Context, request *ententev1.HeadsRequest) (*ententev1.HeadsResponse, error) {
	c := callerOf(ctx)
	owner, reader := s.asked(c, request.GetOwnedByCaller())
	response := &ententev1.HeadsResponse{}
	if !request.GetOwnedByCaller() {
		signed, err := s.cfg.Ledger.SignedDigest(reader)
		if err != nil {
			return nil, err
		}
		response.Digest = signed
	}
	if request.GetOwnedByCaller() {
		err := s.cfg.Ledger.OwnerForgot(ctx, c.Member)
		if err != nil {
			return nil, err
		}
	}
	digest := s.cfg.Ledger.Digest(owner, reader)
	if !bytes.Equal(request.GetDigest(), digest[:]) {
		response.Heads = s.heads(c.Member, owner, reader)
	}
	cleared, ok := policy.ClearFor(c.Member, otherOf(s.cfg.Self, owner, reader), response)
	return answer(cleared, ok)
}

// otherOf is the one of the two that is not self.
func otherOf(self, owner, reader member.ID) member.ID {
	if owner == self {
		return reader
	}
	return owner
}

// heads lists those that policy clears for the caller, each by itself.
func (s *exchange) heads(to, owner, reader member.ID) []*ententev1.StreamHead {
	var heads []*ententev1.StreamHead
	for _, info := range s.cfg.Ledger.StreamsShared(owner, reader) {
		cleared, ok := policy.ClearStream(to, info.Owner, info.Readers, &ententev1.StreamHead{
			StreamId: info.ID[:], Owner: string(info.Owner), Size: info.Size, Root: info.Root[:], Checkpoint: info.Checkpoint,
		})
		if ok {
			heads = append(heads, cleared.Value())
		}
	}
	slices.SortFunc(heads, func(a, b *ententev1.StreamHead) int { return bytes.Compare(a.GetStreamId(), b.GetStreamId()) })
	return heads
}

// SubmitReceipts takes signed receipts for our streams. When it returns they are on disk.
func (s *exchange) SubmitReceipts(ctx context.Context, request *ententev1.SubmitReceiptsRequest) (*ententev1.SubmitReceiptsResponse, error) {
	c := callerOf(ctx)
	for _, receipt := range request.GetReceipts() {
		err := s.cfg.Ledger.AcceptReceipt(ctx, receipt, c.Member)
		if err != nil {
			return nil, err
		}
	}
	cleared, ok := policy.ClearFor(c.Member, c.Member, &ententev1.SubmitReceiptsResponse{})
	return answer(cleared, ok)
}

// pull is one open call.
type pull struct {
	*Server
	out           grpc.ServerStreamingServer[ententev1.PullResponse]
	caller        member.ID
	owner, reader member.ID
	held          vector              // how far the caller is, as far as it was told or sent
	told          vector              // up to where withdrawals were announced to it
	news          []ledger.StreamInfo // of this round, as announced
	done          stream.Hash
}

// Pull sends the signed digest and then whatever the caller lacks: withdrawals of all streams before releases of any.
// It reads in short batches; nothing is held across a send. If we crash here, the caller goes on from what it stored.
func (s *exchange) Pull(request *ententev1.PullRequest, out grpc.ServerStreamingServer[ententev1.PullResponse]) error {
	c := callerOf(out.Context())
	owner, reader := s.asked(c, request.GetOwnedByCaller())
	p := &pull{Server: s.Server, out: out, caller: c.Member, owner: owner, reader: reader}
	if !request.GetOwnedByCaller() {
		err := p.digest()
		if err != nil {
			return err
		}
	}
	changed := s.cfg.Ledger.Changed() // asked before reading: what comes while we read wakes us again
	equal := p.agrees(request.GetDigest())
	if !equal {
		if !request.GetPositionsGiven() {
			needed := &ententev1.PullResponse_PositionsNeeded{PositionsNeeded: &ententev1.PositionsNeeded{}}
			return p.send(&ententev1.PullResponse{Content: needed})
		}
		err := p.begin(request.GetPositions())
		if err != nil {
			return err
		}
		err = p.round(out.Context())
		if err != nil {
			return err
		}
		caughtUp := &ententev1.PullResponse_CaughtUp{CaughtUp: &ententev1.CaughtUp{}}
		err = p.send(&ententev1.PullResponse{Content: caughtUp})
		if err != nil {
			return err
		}
	}
	if request.GetOwnedByCaller() {
		return nil // a lost tail has an end; what is new in it would be the caller's own news
	}
	return p.live(out.Context(), changed)
}

// agrees compares digests: where they are equal, that is all. The caller then holds what the digest was made of.
func (p *pull) agrees(theirs []byte) bool {
	digest := p.cfg.Ledger.Digest(p.owner, p.reader)
	if !bytes.Equal(theirs, digest[:]) {
		return false
	}
	infos := p.cfg.Ledger.StreamsShared(p.owner, p.reader)
	heads := make([]stream.Head, 0, len(infos))
	held := make(vector, len(infos))
	for _, info := range infos {
		heads = append(heads, stream.Head{Stream: info.ID, Size: info.Size, Root: info.Root})
		held[info.ID] = info.Size
	}
	if stream.Digest(heads) != digest {
		return false // something came between the two calls: the caller is no longer up to date
	}
	p.held, p.told, p.done = held, maps.Clone(held), digest
	return true
}

func (p *pull) begin(positions []*ententev1.StreamPosition) error {
	p.held = make(vector, len(positions))
	for i, position := range positions {
		id, err := stream.ParseID(position.GetStreamId())
		if err != nil {
			return invalidField(fmt.Sprintf("positions[%d].stream_id", i), "is not 16 bytes")
		}
		_, twice := p.held[id]
		if twice {
			return invalidField(fmt.Sprintf("positions[%d].stream_id", i), "is named twice")
		}
		p.held[id] = position.GetSize()
	}
	p.told = maps.Clone(p.held)
	return nil
}

// live sends what is new, and the signed digest at a fixed interval, until the call ends.
func (p *pull) live(ctx context.Context, changed <-chan struct{}) error {
	life := time.NewTicker(p.cfg.Limits.SignOfLife)
	defer life.Stop()
	for {
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-changed:
			changed = p.cfg.Ledger.Changed()
			err := p.round(ctx)
			if err != nil {
				return err
			}
		case <-life.C:
			err := p.digest()
			if err != nil {
				return err
			}
		}
	}
}

// digest sends the signed digest of our streams for the caller.
func (p *pull) digest() error {
	signed, err := p.cfg.Ledger.SignedDigest(p.reader)
	if err != nil {
		return err
	}
	return p.send(&ententev1.PullResponse{Content: &ententev1.PullResponse_Digest{Digest: signed}})
}

// send is for messages that are made for this caller and hold nothing of a stream.
func (p *pull) send(message *ententev1.PullResponse) error {
	cleared, ok := policy.ClearFor(p.caller, otherOf(p.cfg.Self, p.owner, p.reader), message)
	return send(p.out, cleared, ok)
}

// sendOf is for messages that hold something of a stream: to its readers and its owner only.
func (p *pull) sendOf(info *ledger.StreamInfo, message *ententev1.PullResponse) error {
	cleared, ok := policy.ClearStream(p.caller, info.Owner, info.Readers, message)
	return send(p.out, cleared, ok)
}

// round brings the caller from where it is to the heads as they are now: for all streams first the checkpoint and every
// withdrawal ahead of the caller, then all entries.
func (p *pull) round(ctx context.Context) error {
	digest := p.cfg.Ledger.Digest(p.owner, p.reader)
	if digest == p.done {
		return nil
	}
	p.news = nil
	err := p.announceBeyond(ctx, p.held)
	if err != nil {
		return err
	}
	for i := 0; i < len(p.news); i++ { // it may grow on the way
		err = p.entries(ctx, i)
		if err != nil {
			return err
		}
	}
	p.done = digest // of before the heads were read: if they are newer, the next round finds nothing to send
	return nil
}

// announceBeyond announces each stream that has more than the given sizes, and notes it as news.
func (p *pull) announceBeyond(ctx context.Context, sizes vector) error {
	infos := p.cfg.Ledger.StreamsShared(p.owner, p.reader)
	slices.SortFunc(infos, func(a, b ledger.StreamInfo) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for i := range infos {
		info := &infos[i]
		// A caller that says it holds more than we have gets nothing of that stream: either it is wrong, or we have lost
		// a tail, which the restart rule looks into.
		if info.Size <= sizes[info.ID] || !policy.MayRead(p.caller, info.Owner, info.Readers) {
			continue
		}
		err := p.announce(ctx, info)
		if err != nil {
			return err
		}
		known := slices.IndexFunc(p.news, func(one ledger.StreamInfo) bool { return one.ID == info.ID })
		if known >= 0 {
			p.news[known] = *info
			continue
		}
		p.news = append(p.news, *info)
	}
	return nil
}

// announce sends the newest checkpoint of a stream and every withdrawal that the caller was not told of.
func (p *pull) announce(ctx context.Context, info *ledger.StreamInfo) error {
	from := p.held[info.ID]
	update := &ententev1.CheckpointUpdate{StreamId: info.ID[:], Checkpoint: info.Checkpoint}
	var err error
	if from > 0 {
		update.Consistency, err = p.cfg.Ledger.Consistency(info.No, from, info.Size)
		if err != nil {
			return err
		}
	}
	err = p.sendOf(info, &ententev1.PullResponse{Content: &ententev1.PullResponse_Checkpoint{Checkpoint: update}})
	if err != nil {
		return err
	}
	from = max(from, p.told[info.ID])
	p.told[info.ID] = info.Size
	for ctx.Err() == nil {
		withdrawals, err := p.cfg.Ledger.WithdrawalsAfter(info.No, from, info.Size, batchWithdrawals)
		if err != nil {
			return err
		}
		if len(withdrawals) == 0 {
			return nil
		}
		batch := &ententev1.WithdrawalBatch{StreamId: info.ID[:], Withdrawals: withdrawals}
		err = p.sendOf(info, &ententev1.PullResponse{Content: &ententev1.PullResponse_Withdrawals{Withdrawals: batch}})
		if err != nil {
			return err
		}
		last, err := stream.ParseHeader(withdrawals[len(withdrawals)-1].GetHeader())
		if err != nil {
			return fmt.Errorf("read a withdrawal of stream %s: %w", info.ID, err)
		}
		from = last.Sequence
		if len(withdrawals) < batchWithdrawals {
			return nil
		}
	}
	return ended(ctx)
}

// entries sends the entries of one of the news up to the head that was announced. A payload that is gone may have been
// withdrawn since then: so whatever is withdrawn by now is announced before it is met.
func (p *pull) entries(ctx context.Context, i int) error {
	for p.held[p.news[i].ID] < p.news[i].Size {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		from := p.held[p.news[i].ID]
		room := min(p.news[i].Size-from, batchEntries)
		entries, err := p.cfg.Ledger.Entries(p.news[i].No, from+1, int(room), pageBytes)
		if err != nil {
			return err
		}
		if len(entries) == 0 || uint64(len(entries)) > room {
			return fmt.Errorf("read entries of stream %s from %d: %d came of at most %d", p.news[i].ID, from+1, len(entries), room)
		}
		if slices.ContainsFunc(entries, isErased) {
			p.cfg.Ledger.Settle() // what was read may be ahead of what the ledger says
			err = p.announceBeyond(ctx, p.told)
			if err != nil {
				return err
			}
		}
		err = p.sendEntries(&p.news[i], entries)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *pull) sendEntries(info *ledger.StreamInfo, entries []*ententev1.Entry) error {
	var err error
	end := p.held[info.ID] + uint64(len(entries))
	batch := &ententev1.EntryBatch{StreamId: info.ID[:], Entries: entries}
	if end < info.Size {
		batch.Consistency, err = p.cfg.Ledger.Consistency(info.No, end, info.Size)
		if err != nil {
			return err
		}
	}
	err = p.sendOf(info, &ententev1.PullResponse{Content: &ententev1.PullResponse_Entries{Entries: batch}})
	if err != nil {
		return err
	}
	p.held[info.ID] = end
	return nil
}

// isErased says whether the payload of an entry is gone.
func isErased(e *ententev1.Entry) bool {
	header, err := stream.ParseHeader(e.GetHeader())
	return err == nil && header.HasPayload() && len(e.GetSalt()) == 0
}
