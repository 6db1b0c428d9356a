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
	// announceEvery is how often, while entries are sent, it is looked for withdrawals that go before them.
	announceEvery = time.Second
)

// exchange is spoken with nodes of other members. A caller gets what concerns the streams that it and this node's
// member share, and nothing that tells of others.
type exchange struct {
	ententev1.UnimplementedExchangeServiceServer
	*Server
}

// about is what a call is about: whose streams go to whom.
type about struct {
	to            member.ID // who is answered
	owner, reader member.ID // whose streams, and whose reading of them
	relayed       bool      // of neither side: this node passes on what it has received
	granted       bool      // whether what the reader reads by a grant goes along: a node of contract 1 does not know it
}

// asked is what a request is about: the caller reads ours, or we read the caller's, or both of us read a third member's.
func (s *exchange) asked(c caller, ownedByCaller bool, owner member.ID) (about, error) {
	switch {
	case owner == "" && ownedByCaller:
		return about{to: c.Member, owner: c.Member, reader: s.cfg.Self, granted: true}, nil
	case owner == "":
		return about{to: c.Member, owner: s.cfg.Self, reader: c.Member}, nil
	case ownedByCaller:
		return about{}, invalidField("owner", "is not given together with owned_by_caller")
	case owner == s.cfg.Self:
		return about{}, invalidField("owner", "is the called member itself, whose own streams are asked for without it")
	case owner == c.Member:
		return about{}, invalidField("owner", "is the caller, whose own streams are asked for by owned_by_caller")
	}
	return about{to: c.Member, owner: owner, reader: c.Member, relayed: true}, nil
}

// streams are those that the call is about and that may go to who is answered, in order of id.
func (s *Server) streams(a about) []ledger.StreamInfo {
	infos := s.cfg.Ledger.StreamsShared(a.owner, a.reader)
	infos = slices.DeleteFunc(infos, func(info ledger.StreamInfo) bool {
		return !policy.MayRead(a.to, info.Owner, info.Readers) || !a.granted && slices.Contains(info.Granted, a.reader) || a.relayed && !s.relayable(&info, a.reader)
	})
	slices.SortFunc(infos, func(a, b ledger.StreamInfo) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return infos
}

// Heads answers the newest heads of shared streams, none where the digests agree.
func (s *exchange) Heads(ctx context.Context, request *ententev1.HeadsRequest) (*ententev1.HeadsResponse, error) {
	c := callerOf(ctx)
	a, err := s.asked(c, request.GetOwnedByCaller(), member.ID(request.GetOwner()))
	if err != nil {
		return nil, err
	}
	a.granted = true // who does not know grants passes over what it does not hold
	response := &ententev1.HeadsResponse{}
	if a.owner == s.cfg.Self {
		response.Digest, err = s.cfg.Ledger.SignedDigest(a.reader)
	}
	if request.GetOwnedByCaller() {
		err = s.cfg.Ledger.OwnerForgot(ctx, c.Member)
	}
	if err != nil {
		return nil, err
	}
	if a.relayed || !s.agree(a, request.GetDigest()) {
		response.Heads = s.heads(a)
	}
	cleared, ok := policy.ClearFor(c.Member, a.to, response)
	return answer(ctx, s.Server, cleared, ok, untold("heads, and no record"))
}

// agree says whether the caller's digest is ours.
func (s *Server) agree(a about, theirs []byte) bool {
	digest := s.cfg.Ledger.Digest(a.owner, a.reader)
	return bytes.Equal(theirs, digest[:])
}

// heads lists those that policy clears for the caller, each by itself.
func (s *Server) heads(a about) []*ententev1.StreamHead {
	var heads []*ententev1.StreamHead
	for _, info := range s.streams(a) {
		cleared, ok := policy.ClearStream(a.to, info.Owner, info.Readers, &ententev1.StreamHead{
			StreamId: info.ID[:], Owner: string(info.Owner), Size: info.Size, Root: info.Root[:], Checkpoint: info.Checkpoint,
		})
		if ok {
			heads = append(heads, cleared.Value())
		}
	}
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
	return answer(ctx, s.Server, cleared, ok, untold("nothing at all"))
}

// pull is one open call, or one owner's part of an export.
type pull struct {
	*Server
	about
	ctx       context.Context
	out       func(cleared policy.Cleared[*ententev1.PullResponse], ok bool, t traces) error
	held      vector              // how far the caller is, as far as it was told or sent
	told      vector              // up to where withdrawals were announced to it
	news      []ledger.StreamInfo // of this round, as announced
	done      stream.Hash
	announced time.Time // when it was last looked for withdrawals that are to be told before entries
	withdrawn withdrawn // relayed: what the caller knows to be withdrawn
}

// Pull sends the signed digest and then whatever the caller lacks: withdrawals of all streams before releases of any.
// It reads in short batches; nothing is held across a send. If we crash here, the caller goes on from what it stored.
// Only a pull of our own streams has a digest, since only their owner signs one, and stays open for what is new.
func (s *exchange) Pull(request *ententev1.PullRequest, out grpc.ServerStreamingServer[ententev1.PullResponse]) error {
	a, err := s.asked(callerOf(out.Context()), request.GetOwnedByCaller(), member.ID(request.GetOwner()))
	if err != nil {
		return err
	}
	a.granted = a.granted || request.GetContract() >= grantsSince
	p := &pull{Server: s.Server, about: a, ctx: out.Context(), out: func(cleared policy.Cleared[*ententev1.PullResponse], ok bool, t traces) error {
		return send(s.Server, out, cleared, ok, t)
	}}
	own := a.owner == s.cfg.Self
	if own {
		err = p.digest()
		if err != nil {
			return err
		}
	}
	changed := s.cfg.Ledger.Changed() // asked before reading: what comes while we read wakes us again
	equal := !a.relayed && p.agrees(request.GetDigest())
	if !equal && !request.GetPositionsGiven() {
		needed := &ententev1.PullResponse_PositionsNeeded{PositionsNeeded: &ententev1.PositionsNeeded{}}
		return p.send(&ententev1.PullResponse{Content: needed})
	}
	if !equal {
		err = p.catchUp(out.Context(), request.GetPositions())
		if err != nil {
			return err
		}
	}
	if !own {
		return nil // a lost tail has an end, and a relay is asked again
	}
	return p.live(out.Context(), changed)
}

// catchUp brings the caller from its positions to where we are.
func (p *pull) catchUp(ctx context.Context, positions []*ententev1.StreamPosition) error {
	err := p.begin(positions)
	if err != nil {
		return err
	}
	err = p.round(ctx)
	if err != nil {
		return err
	}
	return p.send(&ententev1.PullResponse{Content: &ententev1.PullResponse_CaughtUp{CaughtUp: &ententev1.CaughtUp{}}})
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
	cleared, ok := policy.ClearFor(p.to, p.to, message)
	return p.out(cleared, ok, untold("digests and progress, and no record"))
}

// sendOf is for messages that hold something of a stream: to its readers and its owner only.
func (p *pull) sendOf(info *ledger.StreamInfo, message *ententev1.PullResponse, t traces) error {
	cleared, ok := policy.ClearStream(p.to, info.Owner, info.Readers, message)
	return p.out(cleared, ok, t)
}

// round brings the caller from where it is to the heads as they are now: for all streams first the checkpoint and every
// withdrawal ahead of the caller, then all entries.
func (p *pull) round(ctx context.Context) error {
	defer p.working(ctx)()
	digest := p.cfg.Ledger.Digest(p.owner, p.reader)
	if digest == p.done {
		return nil
	}
	p.news, p.announced = nil, p.cfg.Now()
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
	infos := p.streams(p.about)
	for i := range infos {
		info := &infos[i]
		// A caller that says it holds more than we have gets nothing of that stream: either it is wrong, or we have lost
		// a tail, which the restart rule looks into, or we relay and are behind.
		if info.Size <= sizes[info.ID] {
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
	err := p.grant(info)
	if err != nil {
		return err
	}
	update := &ententev1.CheckpointUpdate{StreamId: info.ID[:], Checkpoint: info.Checkpoint}
	if from > 0 {
		update.Consistency, err = p.cfg.Ledger.Consistency(info.No, from, info.Size)
		if err != nil {
			return err
		}
	}
	err = p.sendOf(info, &ententev1.PullResponse{Content: &ententev1.PullResponse_Checkpoint{Checkpoint: update}}, untold("a head, and no record"))
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
		err = p.sendOf(info, &ententev1.PullResponse{Content: &ententev1.PullResponse_Withdrawals{Withdrawals: batch}}, untold("withdrawals, and no record"))
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
		err := p.overtake(ctx)
		if err != nil {
			return err
		}
		from := p.held[p.news[i].ID]
		gone := p.cfg.Ledger.Gone()
		room := min(p.news[i].Size-from, batchEntries)
		entries, err := p.cfg.Ledger.Entries(p.news[i].No, from+1, int(room), pageBytes)
		if err != nil {
			return err
		}
		if len(entries) == 0 || uint64(len(entries)) > room {
			return fmt.Errorf("read entries of stream %s from %d: %d came of at most %d", p.news[i].ID, from+1, len(entries), room)
		}
		entries = p.deliverable(&p.news[i], entries)
		if len(entries) == 0 {
			return nil // the withdrawals that are under way wake the call again
		}
		if slices.ContainsFunc(entries, isErased) {
			p.cfg.Ledger.Settle() // what was read may be ahead of what the ledger says
			err = p.announceBeyond(ctx, p.told)
			if err != nil {
				return err
			}
			known, err := p.knows(&p.news[i], entries)
			if err != nil || !known {
				return err
			}
		}
		err = p.sendEntries(&p.news[i], entries, gone)
		if err != nil {
			return err
		}
	}
	return nil
}

// overtake tells what was withdrawn while a long backlog is sent: it does not wait for the end of it.
func (p *pull) overtake(ctx context.Context) error {
	now := p.cfg.Now()
	if now.Sub(p.announced) < announceEvery {
		return nil
	}
	p.announced = now
	return p.announceBeyond(ctx, p.told)
}

// deliverable is the part of entries that may still go to the reader. To one that has left the stream's project nothing goes
// that has not been withdrawn yet: so it is denied from the moment this node has the new chain, not from the end of the
// planning that takes its releases back.
func (p *pull) deliverable(info *ledger.StreamInfo, entries []*ententev1.Entry) []*ententev1.Entry {
	project := p.cfg.Directory().Projects[info.Project]
	if project == nil || !project.Left(p.reader) {
		return entries
	}
	stands := slices.IndexFunc(entries, func(e *ententev1.Entry) bool {
		header, err := stream.ParseHeader(e.GetHeader())
		return err != nil || header.Type == ententev1.EntryType_ENTRY_TYPE_RELEASE && len(e.GetPayload()) > 0
	})
	if stands < 0 {
		return entries
	}
	return entries[:stands]
}

// sendEntries sends what was read when so many payloads had been erased. What it discloses is in the trail first; and where
// another payload has been erased since, perhaps one of these, nothing is sent, and the caller reads again.
func (p *pull) sendEntries(info *ledger.StreamInfo, entries []*ententev1.Entry, gone uint64) error {
	var err error
	end := p.held[info.ID] + uint64(len(entries))
	batch := &ententev1.EntryBatch{StreamId: info.ID[:], Entries: entries}
	if end < info.Size {
		batch.Consistency, err = p.cfg.Ledger.Consistency(info.No, end, info.Size)
		if err != nil {
			return err
		}
	}
	err = p.trace(p.ctx, p.disclosed(info, entries))
	if err != nil {
		return err
	}
	if p.cfg.Ledger.Gone() != gone {
		stand, err := p.stand(info, entries)
		if err != nil || !stand {
			return err
		}
	}
	err = p.sendOf(info, &ententev1.PullResponse{Content: &ententev1.PullResponse_Entries{Entries: batch}}, untold("what is in the trail already"))
	if err != nil {
		return err
	}
	p.held[info.ID] = end
	return nil
}

// stand says whether no payload of these entries has been erased since they were read.
func (p *pull) stand(info *ledger.StreamInfo, entries []*ententev1.Entry) (bool, error) {
	again, err := p.cfg.Ledger.Entries(info.No, p.held[info.ID]+1, len(entries), pageBytes)
	if err != nil {
		return false, err
	}
	for i, e := range entries {
		if i < len(again) && isErased(again[i]) != isErased(e) {
			return false, nil
		}
	}
	return true, nil
}

// disclosed is what a batch of entries tells the trail: one stretch of a stream to one recipient.
func (p *pull) disclosed(info *ledger.StreamInfo, entries []*ententev1.Entry) traces {
	var first, last uint64
	for i, e := range entries {
		if len(e.GetPayload()) == 0 {
			continue
		}
		last = p.held[info.ID] + uint64(i) + 1
		if first == 0 {
			first = last
		}
	}
	if first == 0 {
		return untold("headers, and no record")
	}
	entry := p.entry(p.ctx, ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE, nil)
	entry.Recipient = string(p.to)
	entry.Ranges = []*ententev1.AuditRange{{Owner: string(info.Owner), StreamId: info.ID[:], First: first, Last: last}}
	return told(entry)
}

// isErased says whether the payload of an entry is gone.
func isErased(e *ententev1.Entry) bool {
	header, err := stream.ParseHeader(e.GetHeader())
	return err == nil && header.HasPayload() && len(e.GetSalt()) == 0
}
