package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// errReceiptsIn is what stands in the status of a peer once the own member has left the federation and owes nothing more.
var errReceiptsIn = errors.New("the own member has left the federation; this peer has all its receipts")

// peer is the shell around the pulls from one member: it connects, waits, tries again, and keeps the status.
type peer struct {
	cfg       *Config
	id        member.ID
	side      *side
	attempts  int    // made so far: the address to try next
	confirmed bool   // has said once what it holds of this node's streams
	renewed   uint64 // roster by which the heads held of it are known to be signed with a key that counts

	mu     sync.Mutex // covers status
	status *ententev1.PeerStatus
	fork   error // that its streams have two histories, as another reader has shown
}

func newPeer(cfg *Config, id member.ID, side *side) *peer {
	return &peer{cfg: cfg, id: id, side: side, status: &ententev1.PeerStatus{Member: string(id)}}
}

// run pulls until ctx ends.
func (p *peer) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		progress, err := p.attempt(ctx)
		p.disconnected(ctx, err)
		if progress {
			failures = 0
		}
		failures++
		p.side.tell(afterFailures(failures))
		wait := time.NewTimer(max(p.cfg.Backoff.Delay(failures, p.chance()), p.told(err)))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// told is how long a peer asks to be left alone, which is no failure of anybody: this node has had its share for now. Not
// longer than the longest wait.
func (p *peer) told(err error) time.Duration {
	for _, detail := range status.Convert(errors.Unwrap(err)).Details() {
		info, is := detail.(*errdetails.RetryInfo)
		if is {
			return min(info.GetRetryDelay().AsDuration(), p.cfg.Backoff.Max)
		}
	}
	return 0
}

// chance draws from [0, 1).
func (p *peer) chance() float64 {
	var b [8]byte
	_, err := io.ReadFull(p.cfg.Rand, b[:])
	if err != nil {
		return 0 // the full wait: randomness only spreads retries
	}
	return float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53)
}

// attempt is one connection, to the next address. Progress is something stored, or a call that lasted: then the next
// failure is a first one again.
func (p *peer) attempt(ctx context.Context) (progress bool, err error) {
	m, known := p.cfg.Directory().Roster.Member(p.id)
	if !known || len(m.Addresses) == 0 {
		return false, errors.New("the roster gives no address")
	}
	address := m.Addresses[p.attempts%len(m.Addresses)]
	p.attempts++
	conn, err := p.cfg.Dial(p.id, address)
	if err != nil {
		return false, err
	}
	defer conn.Close() // nothing is under way on it any more
	client := ententev1.NewExchangeServiceClient(conn)
	own, _ := p.cfg.Directory().Roster.Member(p.cfg.Self)
	if own.Left {
		// There is nothing to pull any more; the owner still learns what was erased.
		err = submitReceipts(ctx, client, p.cfg.Ledger, p.id)
		if err == nil {
			err = errReceiptsIn // so that an operator sees when the node may be switched off
		}
		return false, err
	}
	asked := p.askAfterOwn(ctx, client)
	if isCall(asked) {
		return false, asked
	}
	began := p.cfg.Now()
	for _, withPositions := range []bool{false, true} {
		c := &call{peer: p, client: client, asked: asked}
		again, err := c.run(ctx, withPositions)
		if !again {
			return c.progress || p.cfg.Now().Sub(began) > p.cfg.Backoff.Max, err
		}
	}
	return false, &Fault{Rule: RulePositions}
}

// askAfterOwn does what the restart rule asks of this peer. That it fails on the peer's side or on ours does not keep the
// peer's own streams from coming; that the call did not get through does.
func (p *peer) askAfterOwn(ctx context.Context, client ententev1.ExchangeServiceClient) error {
	err := p.confirm(ctx, client)
	if err != nil {
		return err
	}
	return p.recoverTails(ctx, client)
}

func isCall(err error) bool {
	_, is := errors.AsType[*told](err)
	return is || errors.Is(err, context.Canceled)
}

// connected notes a signed digest.
func (p *peer) connected(at time.Time, note error) {
	now := p.cfg.Now()
	if at.After(now) {
		at = now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.status.GetConnected() {
		p.cfg.Logger.Info("peer connected", "peer", string(p.id))
	}
	p.status.Connected = true
	p.status.FreshAt = timestamppb.New(at)
	p.status.LastError = ""
	if note == nil {
		note = p.fork
	}
	if note != nil {
		p.status.LastError = note.Error()
	}
	p.status.Relay, p.status.RelayedAt = "", nil
}

func (p *peer) disconnected(ctx context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.status.GetConnected()
	p.status.Connected = false
	if ctx.Err() != nil {
		return
	}
	text := "the peer ended the call"
	if err != nil {
		text = err.Error()
	}
	level := slog.LevelWarn
	if !was && text == p.status.GetLastError() {
		level = slog.LevelDebug // said already
	}
	p.cfg.Logger.Log(ctx, level, "peer lost", "peer", string(p.id), "error", text)
	p.status.LastError = text
}
