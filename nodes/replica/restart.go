package replica

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"

	"google.golang.org/grpc"
	grpcpeer "google.golang.org/grpc/peer"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// confirm tells the ledger what a peer holds of this node's own streams: after an unclean stop no stream is written on
// until its readers have said so. It is asked once at least, whether or not the ledger waits for it: a peer that comes back
// after the wait is over may still hold what is lost here.
func (p *peer) confirm(ctx context.Context, client ententev1.ExchangeServiceClient) error {
	if p.confirmed && !slices.Contains(p.cfg.Ledger.Unconfirmed(), p.id) {
		return nil
	}
	// No digest: it speaks of what the peer holds, and what counts is the newest head that it has seen.
	heads, err := askHeads(ctx, client, &ententev1.HeadsRequest{OwnedByCaller: true})
	if err != nil {
		return err
	}
	err = p.cfg.Ledger.Confirm(ctx, p.id, heads.GetHeads())
	if err != nil {
		return err
	}
	p.confirmed = true
	return nil
}

func askHeads(ctx context.Context, client ententev1.ExchangeServiceClient, request *ententev1.HeadsRequest) (*ententev1.HeadsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, unaryDeadline)
	defer cancel()
	var reached grpcpeer.Peer
	response, err := client.Heads(ctx, request, grpc.Peer(&reached))
	return response, asTold("heads", err, &reached)
}

// recoverTails pulls back the ends of own streams that this node has lost and the peer still holds. Where the peer cannot
// prove an end (it had seen the head, and not yet got all entries up to it), the end is withdrawn unseen: what this node
// does not know that it released must not stay out of its control.
func (p *peer) recoverTails(ctx context.Context, client ententev1.ExchangeServiceClient) error {
	tails := slices.DeleteFunc(p.cfg.Ledger.LostTails(), func(t ledger.LostTail) bool { return t.Reader != p.id })
	if len(tails) == 0 {
		return nil
	}
	err := p.pullTails(ctx, client, tails)
	var unproven *stream.SenderError
	if err != nil && !errors.As(err, &unproven) {
		return err
	}
	for _, tail := range slices.DeleteFunc(p.cfg.Ledger.LostTails(), func(t ledger.LostTail) bool { return t.Reader != p.id }) {
		p.cfg.Logger.Warn("the end of an own stream cannot be recovered: it is withdrawn unseen", "stream", tail.Stream.String(), "reader", string(p.id), "size", tail.Size)
		err = p.cfg.Ledger.WithdrawTail(ctx, tail)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) pullTails(ctx context.Context, client ententev1.ExchangeServiceClient, tails []ledger.LostTail) error {
	request := &ententev1.PullRequest{PositionsGiven: true, OwnedByCaller: true, Contract: member.Contract}
	for _, info := range p.cfg.Ledger.StreamsShared(p.cfg.Self, p.id) {
		request.Positions = append(request.Positions, &ententev1.StreamPosition{StreamId: slices.Clone(info.ID[:]), Size: info.Size})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var reached grpcpeer.Peer
	call, err := client.Pull(ctx, request, grpc.Peer(&reached))
	if err != nil {
		return asTold("pull of own streams", err, &reached)
	}
	t := newTails(p.cfg.Ledger, p.cfg.Directory().Roster.VerifyingKeys(p.cfg.Self), tails)
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return asTold("pull of own streams", err, &reached)
		}
		done, err := t.take(ctx, m)
		if done || err != nil {
			return err
		}
	}
}

// tails is what is decided while lost tails come back.
type tails struct {
	ledger  Tails
	keys    []ed25519.PublicKey
	readers map[stream.ID]*stream.Reader
	covered map[stream.Withdrawal]bool // by target only
}

func newTails(l Tails, keys []ed25519.PublicKey, lost []ledger.LostTail) *tails {
	t := &tails{ledger: l, keys: keys, readers: map[stream.ID]*stream.Reader{}, covered: map[stream.Withdrawal]bool{}}
	for _, tail := range lost {
		t.readers[tail.Stream] = l.TailReader(tail)
	}
	return t
}

// take judges one message and puts entries back. If we crash here, the rest is pulled back after the next start. Streams
// of which nothing is lost are passed over.
func (t *tails) take(ctx context.Context, m *ententev1.PullResponse) (done bool, err error) {
	switch content := m.GetContent().(type) {
	case *ententev1.PullResponse_CaughtUp:
		return true, nil
	case *ententev1.PullResponse_Checkpoint:
		r := t.reader(content.Checkpoint.GetStreamId())
		if r == nil {
			return false, nil
		}
		_, err = r.Checkpoint(content.Checkpoint, t.keys)
		return false, err
	case *ententev1.PullResponse_Withdrawals:
		r := t.reader(content.Withdrawals.GetStreamId())
		if r == nil {
			return false, nil
		}
		list, err := r.Withdrawals(content.Withdrawals)
		for _, w := range list {
			t.covered[byTarget(w.Target, w.TargetSequence)] = true
		}
		return false, err
	case *ententev1.PullResponse_Entries:
		return false, t.entries(ctx, content.Entries)
	}
	return false, &Fault{Rule: RuleContent}
}

func byTarget(in stream.ID, sequence uint64) stream.Withdrawal {
	return stream.Withdrawal{Target: in, TargetSequence: sequence}
}

func (t *tails) reader(id []byte) *stream.Reader {
	parsed, err := stream.ParseID(id)
	if err != nil {
		return nil
	}
	return t.readers[parsed]
}

func (t *tails) entries(ctx context.Context, b *ententev1.EntryBatch) error {
	r := t.reader(b.GetStreamId())
	if r == nil {
		return nil
	}
	list, err := r.Entries(b, func(in stream.ID, sequence uint64) bool { return t.covered[byTarget(in, sequence)] })
	if err != nil {
		return err
	}
	_, note, _ := r.Newest()
	id := stream.ID(b.GetStreamId())
	err = t.ledger.RecoverTail(ctx, id, list, note)
	if err != nil {
		return fmt.Errorf("take back the end of stream %s: %w", id, err)
	}
	return nil
}
