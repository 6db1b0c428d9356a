package replica

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// relayTurn is how many times Silence one relay may take: who only keeps the call open must not keep others, or a file, from
// bringing what it does not. A backlog that takes longer goes on with the next relay, or the same again.
const relayTurn = 5

// errTurn says that a relay has had its turn.
var errTurn = errors.New("its turn is over")

// others is what is remembered of the other readers of one owner's streams while this node runs.
type others struct {
	*peer
	resting map[member.ID]time.Time // not to be asked before
	accused member.ID               // whom the status names; empty: nobody
	failed  int                     // pulls in a row
}

// followOthers asks other readers of this owner's streams until ctx ends: for the streams while the owner cannot be
// reached, and now and then for the heads that they have been shown.
func (p *peer) followOthers(ctx context.Context) {
	o := &others{peer: p, resting: map[member.ID]time.Time{}}
	compare := time.NewTimer(o.spread(p.cfg.CompareEvery))
	defer compare.Stop()
	relay := time.NewTimer(0)
	defer relay.Stop()
	for {
		now, changed := p.side.state()
		due := relay.C
		if now != lost {
			due = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			o.failed = 0
			relay.Reset(0)
		case <-due:
			relay.Reset(o.relayed(ctx))
		case <-compare.C:
			o.compared(ctx)
			compare.Reset(o.spread(p.cfg.CompareEvery))
		}
	}
}

// spread is a wait of which up to half is left to chance.
func (o *others) spread(d time.Duration) time.Duration {
	return d - time.Duration(o.chance()*float64(d)/2)
}

// relayed asks one relay, and says when to ask the next.
func (o *others) relayed(ctx context.Context) (wait time.Duration) {
	relay, ok := o.pick(o.readers())
	if !ok || o.failed > 0 {
		// Who reads a stream of which nothing is held is not known, and who is known does not answer.
		relay, ok = o.pick(o.cfg.Directory().Roster.Members())
	}
	if !ok {
		return o.spread(o.cfg.RelayEvery)
	}
	err := o.pull(ctx, relay)
	if ctx.Err() != nil || errors.Is(err, errHeard) {
		return o.spread(o.cfg.RelayEvery)
	}
	o.judge(ctx, relay, err)
	if err != nil {
		o.failed++
		return o.cfg.Backoff.Delay(o.failed, o.chance())
	}
	o.failed = 0
	o.mu.Lock()
	o.status.Relay, o.status.RelayedAt = string(relay), timestamppb.New(o.cfg.Now())
	o.mu.Unlock()
	return o.spread(o.cfg.RelayEvery)
}

// readers are the members that read shared streams of the owner, as far as this node holds any.
func (o *others) readers() []member.ID {
	var all []member.ID
	for _, info := range sharedStreams(o.cfg.Ledger, o.id, o.cfg.Self) {
		all = append(all, info.Readers...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sharedStreams are an owner's streams for several readers. That there are others concerns nobody but their one reader.
func sharedStreams(held Held, owner, self member.ID) []ledger.StreamInfo {
	return slices.DeleteFunc(held.StreamsShared(owner, self), func(info ledger.StreamInfo) bool {
		return info.Kind == ententev1.StreamKind_STREAM_KIND_BILATERAL
	})
}

// pick draws one of the members that can be asked.
func (o *others) pick(from []member.ID) (member.ID, bool) {
	roster, now := o.cfg.Directory().Roster, o.cfg.Now()
	able := slices.DeleteFunc(slices.Clone(from), func(id member.ID) bool {
		m, _ := roster.Member(id)
		return id == o.id || id == o.cfg.Self || !roster.Active(id) || len(m.Addresses) == 0 || o.resting[id].After(now)
	})
	if len(able) == 0 || !roster.Active(o.cfg.Self) {
		return "", false
	}
	return able[int(o.chance()*float64(len(able)))], true
}

// judge notes what became of asking a relay. One that did wrong, or that does not relay, is left alone for a while.
func (o *others) judge(ctx context.Context, relay member.ID, err error) {
	_, unsound := errors.AsType[*stream.SenderError](err)
	_, broke := errors.AsType[*Fault](err)
	switch {
	case err == nil:
		o.clear(relay)
	case unsound || broke:
		text := fmt.Sprintf("%s, relaying %s: %v", relay, o.id, err)
		o.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "a relay sent what its owner never signed: refused", slog.String("relay", string(relay)), slog.String("owner", string(o.id)), slog.String("error", err.Error()))
		o.rest(relay)
		o.accused = relay
		o.mu.Lock()
		o.status.RelayError = text
		o.mu.Unlock()
	case errors.Is(err, errNoRelay):
		o.rest(relay)
	default:
		o.cfg.Logger.Debug("relay failed", "relay", string(relay), "owner", string(o.id), "error", err.Error())
	}
}

func (o *others) rest(relay member.ID) { o.resting[relay] = o.cfg.Now().Add(o.cfg.RelayRest) }

// clear drops the accusation of a relay once it has done well, or its rest is over and another has.
func (o *others) clear(well member.ID) {
	if o.accused == "" || o.accused != well && o.resting[o.accused].After(o.cfg.Now()) {
		return
	}
	o.accused = ""
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.RelayError = ""
}

// dial connects to a reader at one of its addresses.
func (o *others) dial(id member.ID) (Conn, error) {
	m, _ := o.cfg.Directory().Roster.Member(id)
	if len(m.Addresses) == 0 {
		return nil, errors.New("the roster gives no address")
	}
	return o.cfg.Dial(id, m.Addresses[int(o.chance()*float64(len(m.Addresses)))])
}

// session makes the session of a relay. It is told our positions in those streams only that it reads itself.
func (o *others) session(relay member.ID) (*session, []*ententev1.StreamPosition) {
	keys := func(id member.ID) []ed25519.PublicKey { return o.cfg.Directory().Roster.VerifyingKeys(id) }
	s := newSession(o.cfg.Ledger, o.id, o.cfg.Self, keys, o.cfg.Now, true)
	s.from, s.opened, s.asked = fromRelay, true, map[stream.ID]bool{}
	var positions []*ententev1.StreamPosition
	for _, info := range sharedStreams(o.cfg.Ledger, o.id, o.cfg.Self) {
		if slices.Contains(info.Readers, relay) {
			s.asked[info.ID] = true
			positions = append(positions, &ententev1.StreamPosition{StreamId: slices.Clone(info.ID[:]), Size: info.Size})
		}
	}
	return s, positions
}

// pull takes from a relay what it has of the owner's shared streams, and ends as soon as the owner is heard. If we crash
// here, the next pull, from whomever, goes on from what the ledger has stored.
func (o *others) pull(ctx context.Context, relay member.ID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	leave, err := o.side.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	now, changed := o.side.state()
	if now == heard {
		return errHeard
	}
	go func() { // ends with the pull
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := o.dial(relay)
	if err != nil {
		return err
	}
	defer conn.Close() // nothing is under way on it any more
	err = o.pullOn(ctx, conn, relay)
	now, _ = o.side.state()
	if isCall(err) && now != lost {
		return errHeard
	}
	return err
}

func (o *others) pullOn(ctx context.Context, conn Conn, relay member.ID) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	turn := time.AfterFunc(relayTurn*o.cfg.Silence, func() { cancel(errTurn) })
	defer turn.Stop()
	s, positions := o.session(relay)
	request := &ententev1.PullRequest{Owner: string(o.id), Positions: positions, PositionsGiven: true, Contract: member.Contract}
	silence := time.AfterFunc(o.cfg.Silence, func() { cancel(&Fault{Rule: RuleSilence}) })
	defer silence.Stop()
	var reached grpcpeer.Peer
	call, err := ententev1.NewExchangeServiceClient(conn).Pull(ctx, request, grpc.Peer(&reached))
	stored := false
	for err == nil {
		var m *ententev1.PullResponse
		m, err = call.Recv()
		if errors.Is(err, io.EOF) {
			return &Fault{Rule: RuleUnfinished}
		}
		if err != nil {
			break
		}
		silence.Reset(o.cfg.Silence)
		var out outcome
		took := o.side.take(func() (err error) {
			out, err = s.take(ctx, m)
			return err
		})
		stored = stored || out.stored
		if took != nil || out.done {
			o.noteFork(s)
			return took
		}
	}
	if errors.Is(context.Cause(ctx), errTurn) && !stored {
		return errNoRelay
	}
	silent, is := errors.AsType[*Fault](context.Cause(ctx))
	if is {
		return silent
	}
	return asTold("relayed pull", err, &reached)
}

// compared asks one other reader what it has been shown of the owner's streams, and holds that against what is held here.
func (o *others) compared(ctx context.Context) {
	reader, ok := o.pick(o.readers())
	if !ok {
		return
	}
	err := o.compareWith(ctx, reader)
	if ctx.Err() == nil {
		o.judge(ctx, reader, err)
	}
}

func (o *others) compareWith(ctx context.Context, reader member.ID) error {
	conn, err := o.dial(reader)
	if err != nil {
		return err
	}
	defer conn.Close() // nothing is under way on it any more
	answer, err := askHeads(ctx, ententev1.NewExchangeServiceClient(conn), &ententev1.HeadsRequest{Owner: string(o.id)})
	if err != nil {
		return err
	}
	if answer.GetDigest() != nil {
		return errNoRelay
	}
	s, _ := o.session(reader)
	err = s.compare(ctx, answer.GetHeads())
	o.noteFork(s)
	return err
}

// noteFork keeps in the owner's status that its streams have two histories. Nothing of that is the relay's fault.
func (o *others) noteFork(s *session) {
	fork, forked := errors.AsType[*stream.ForkError](s.note())
	if !forked {
		return
	}
	o.cfg.Logger.Error("an owner has shown two histories of a stream: it is frozen", "owner", string(o.id), "stream", fork.Stream.String())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fork = fork
	o.status.LastError = fork.Error()
}
