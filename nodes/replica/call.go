package replica

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	grpcpeer "google.golang.org/grpc/peer"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// errEnded says that no more messages come; why, the receiver knows.
var errEnded = errors.New("the call has ended")

// call is one open Pull.
type call struct {
	*peer
	client  ententev1.ExchangeServiceClient
	session *session
	digest  stream.Hash // of what was held when the call was made; zero where positions were given, or once it is compared
	asked   error       // what went wrong with the restart rule, for the status
	told    error       // what went wrong with the last receipts, for the status

	progress bool
	freshAt  time.Time
	owed     bool // something is applied that no receipt has told yet
	urgent   bool // something was erased: told as soon as what was announced has come
}

// run pulls until the peer or ctx ends the call, or the peer breaks a rule. again: call with positions.
func (c *call) run(ctx context.Context, withPositions bool) (again bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	digest := c.cfg.Ledger.Digest(c.id, c.cfg.Self)
	request := &ententev1.PullRequest{Digest: digest[:], PositionsGiven: withPositions, Contract: member.Contract}
	if !withPositions {
		c.digest = digest
	} else {
		request.Positions = c.cfg.Ledger.Held(c.id)
	}
	keys := func(id member.ID) []ed25519.PublicKey { return c.cfg.Directory().Roster.VerifyingKeys(id) }
	c.session = newSession(c.cfg.Ledger, c.id, c.cfg.Self, keys, c.cfg.Now, withPositions)
	var reached grpcpeer.Peer
	pull, err := c.client.Pull(ctx, request, grpc.Peer(&reached))
	if err != nil {
		return false, asTold("pull", err, &reached)
	}
	arrived := make(chan *ententev1.PullResponse, 1) // one message is on its way while one is stored
	var end error
	go func() { // ends with the call, at the latest after cancel below
		defer close(arrived)
		end = receive(ctx, pull, arrived)
	}()
	again, err = c.follow(ctx, arrived)
	cancel()
	for range arrived { // what came after a fault is dropped
	}
	if !errors.Is(err, errEnded) {
		return again, err
	}
	if errors.Is(end, io.EOF) {
		return again, nil
	}
	return again, asTold("pull", end, &reached)
}

// receive hands on what comes, until it ends.
func receive(ctx context.Context, pull grpc.ServerStreamingClient[ententev1.PullResponse], arrived chan<- *ententev1.PullResponse) error {
	for {
		m, err := pull.Recv()
		if err != nil {
			return err
		}
		select {
		case arrived <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow takes messages as they come, and sends receipts: when all is applied, when something was erased, and else not
// later than a second after something was applied.
func (c *call) follow(ctx context.Context, arrived <-chan *ententev1.PullResponse) (again bool, err error) {
	silence := time.NewTimer(c.cfg.Silence)
	defer silence.Stop()
	receipts := time.NewTimer(receiptsWithin)
	receipts.Stop()
	defer receipts.Stop()
	for {
		owed := c.owed
		select {
		case m, open := <-arrived:
			if !open {
				return false, errEnded
			}
			again, err = c.take(ctx, m)
			if again || err != nil {
				return again, err
			}
			silence.Reset(c.cfg.Silence)
		case <-receipts.C:
			err = c.submitReceipts(ctx)
			if err != nil {
				return false, err
			}
		case <-silence.C:
			return false, &Fault{Rule: RuleSilence}
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if c.owed && !owed {
			receipts.Reset(receiptsWithin)
		}
	}
}

func (c *call) take(ctx context.Context, m *ententev1.PullResponse) (again bool, err error) {
	o, err := c.session.take(ctx, m)
	c.progress = c.progress || o.stored
	c.owed = c.owed || o.stored
	c.urgent = c.urgent || o.erased
	if !o.said.IsZero() && c.cfg.Heard != nil {
		c.cfg.Heard(c.id, o.said)
	}
	if err != nil || o.again {
		return o.again, err
	}
	if !o.fresh.IsZero() && c.overtaken() {
		return true, nil
	}
	if o.compare {
		err = c.compareHeads(ctx)
		if err != nil {
			return false, err
		}
	}
	if o.current {
		err = c.renew(ctx)
		if err != nil {
			return false, err
		}
	}
	if o.current || c.urgent && c.session.level() {
		err = c.submitReceipts(ctx)
		if err != nil {
			return false, err
		}
	}
	if !o.fresh.IsZero() {
		c.freshAt = o.fresh
	}
	if o.current || !o.fresh.IsZero() {
		c.connected(c.freshAt, c.note())
	}
	return false, nil
}

// overtaken ends what a relay or a file brings of the owner's streams, now that the owner itself is heard, and says whether
// more has come from there since this call was made: the owner would go on from where we are no longer.
func (c *call) overtaken() bool {
	c.side.tell(heard)
	asked := c.digest
	c.digest = stream.Hash{}
	return asked != (stream.Hash{}) && asked != c.cfg.Ledger.Digest(c.id, c.cfg.Self)
}

// note is what an operator should know although the call goes on.
func (c *call) note() error {
	for _, err := range []error{c.session.note(), c.asked, c.told} {
		if err != nil {
			return err
		}
	}
	return nil
}

// compareHeads asks for the owner's heads after its digest turned out to be another than ours with nothing left to pull.
func (c *call) compareHeads(ctx context.Context) error {
	digest := c.cfg.Ledger.Digest(c.id, c.cfg.Self)
	heads, err := askHeads(ctx, c.client, &ententev1.HeadsRequest{Digest: digest[:]})
	if err != nil {
		return err
	}
	return c.session.compare(ctx, heads.GetHeads())
}

// renew asks for the heads of all streams when the owner has rotated its signing key: it has signed them anew, and what is
// held under the old key counts no more once the roster drops that. Looked at once for each roster. An owner that has not
// signed anew yet is asked again with its next sign of life.
func (c *call) renew(ctx context.Context) error {
	roster := c.cfg.Directory().Roster
	if c.renewed == roster.Number() {
		return nil
	}
	if !c.cfg.Ledger.OldNotes(c.id) {
		c.renewed = roster.Number()
		return nil
	}
	heads, err := askHeads(ctx, c.client, &ententev1.HeadsRequest{})
	if err != nil {
		return err
	}
	err = c.session.compare(ctx, heads.GetHeads())
	if err != nil {
		return err
	}
	for _, h := range heads.GetHeads() {
		id, err := stream.ParseID(h.GetStreamId())
		if err != nil {
			return &Fault{Rule: RuleContent, Err: err}
		}
		head, err := stream.OpenCheckpoint(h.GetCheckpoint(), c.id, id, roster.CurrentKeys(c.id))
		if err != nil {
			continue // not signed anew yet
		}
		err = c.cfg.Ledger.ApplyCheckpoint(ctx, c.id, id, head, h.GetCheckpoint())
		if err != nil {
			return err
		}
	}
	return nil
}

// submitReceipts tells the owner what is applied. That the owner does not take them now does not end the call: they stay
// owed, and are offered again with the next thing that comes.
func (c *call) submitReceipts(ctx context.Context) error {
	c.owed, c.urgent = false, false
	err := submitReceipts(ctx, c.client, c.cfg.Ledger, c.id)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, isTold := errors.AsType[*told](err)
	if err != nil && !isTold {
		return err
	}
	c.told = err
	return nil
}
