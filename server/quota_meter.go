package server

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// slowDown is how long a message may be held back so that its caller keeps to its limits: the network's flow control then
// slows the caller. Where that is not enough, the call is refused, or ends, with how long to wait.
const slowDown = time.Second

// callsOnly says whether a method is held to calls and open streams only, and to work of its own kind: what keeps withdrawals,
// receipts and the trust in certificates going, and what tells an operator how the node is. Whatever else its caller does
// never holds it up; but a thousand receipts in one call cost some, and they are not free.
func callsOnly(method string) bool {
	switch method {
	case ententev1.ExchangeService_Heads_FullMethodName, ententev1.ExchangeService_SubmitReceipts_FullMethodName,
		ententev1.RosterService_GetRoster_FullMethodName, ententev1.RosterService_ListProjectDocuments_FullMethodName,
		ententev1.AdminService_GetStatus_FullMethodName, healthCheckMethod, healthWatchMethod:
		return true
	}
	return false
}

// neverHeld says whether a method is counted but not held up: a withdrawal does not wait for what its system did before.
func neverHeld(method string) bool { return method == ententev1.IntakeService_Withdraw_FullMethodName }

// costOf is what a message takes. Of a pull only the released entries count, and likewise of a subscription: checkpoints and
// withdrawals are never held up by what the same caller reads.
func costOf(m any) cost {
	var c cost
	switch m := m.(type) {
	case *ententev1.PullRequest:
	case *ententev1.PushRequest:
		c[limitRecords], c[limitBytes] = float64(len(m.GetItems())), size(m)
	case *ententev1.ReleaseRequest:
		c[limitRecords], c[limitBytes] = float64(len(m.GetProviderReferences())), size(m)
	case *ententev1.WithdrawRequest:
		c[limitRecords], c[limitBytes] = float64(len(m.GetProviderReferences())), size(m)
	case *ententev1.PullResponse:
		for _, entry := range m.GetEntries().GetEntries() {
			if len(entry.GetSalt()) > 0 {
				c[limitRecords]++
				c[limitBytes] += float64(len(entry.GetPayload()))
			}
		}
	case *ententev1.SubscribeResponse:
		for _, item := range m.GetItems() {
			if len(item.GetReleasedRecord()) > 0 {
				c[limitRecords]++
				c[limitBytes] += float64(len(item.GetReleasedRecord()))
			}
		}
	case proto.Message:
		c[limitBytes] = size(m)
	}
	return c
}

func size(m proto.Message) float64 { return float64(proto.Size(m)) }

// charge takes a cost, waits for it if it is not long, and says no if it is.
func (s *Server) charge(ctx context.Context, id member.Identity, c cost) error {
	if c == (cost{}) {
		return nil
	}
	t := s.gate.take(id, c, slowDown)
	if t.say {
		s.sayOver(id, t.over)
	}
	if !t.pass {
		return overLimit(t.over, t.wait)
	}
	if t.wait == 0 {
		return nil
	}
	pause := time.NewTimer(t.wait)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// sayOver logs that an identity is over a limit; the name only of a system, which is no person.
func (s *Server) sayOver(id member.Identity, l limit) {
	name := ""
	if id.Kind == member.KindSystem {
		name = id.Name
	}
	s.cfg.Logger.Warn("a caller is over its limit", "member", string(id.Member), "caller", id.Kind.String(), "name", name,
		"limit", l.String())
}

// meterUnary holds a short call to its caller's limits, by its request; its answer and the work for it count afterwards.
func (s *Server) meterUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	id := callerOf(ctx).Identity
	if callsOnly(info.FullMethod) {
		return s.meterUpkeep(ctx, id, request, handler)
	}
	if neverHeld(info.FullMethod) {
		s.gate.spend(id, costOf(request))
	} else {
		err := s.charge(ctx, id, costOf(request))
		if err != nil {
			return nil, err
		}
	}
	began := s.cfg.Now()
	response, err := handler(ctx, request)
	after := cost{limitWork: s.cfg.Now().Sub(began).Seconds()}
	if err == nil {
		after[limitBytes] = costOf(response)[limitBytes]
	}
	s.gate.spend(id, after)
	return response, err
}

// meterUpkeep holds a call that is held to calls only to its caller's limit of work, counted apart from all other work.
func (s *Server) meterUpkeep(ctx context.Context, id member.Identity, request any, handler grpc.UnaryHandler) (any, error) {
	t := s.upkeep.take(id, cost{}, 0)
	if t.say {
		s.sayOver(id, t.over)
	}
	if !t.pass {
		return nil, overLimit(t.over, t.wait)
	}
	began := s.cfg.Now()
	response, err := handler(ctx, request)
	s.upkeep.spend(id, cost{limitWork: max(s.cfg.Now().Sub(began).Seconds(), 0)})
	return response, err
}

func (s *Server) meterStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if callsOnly(info.FullMethod) {
		return handler(srv, stream)
	}
	m := &meteredStream{ServerStream: stream, server: s, caller: callerOf(stream.Context()).Identity}
	m.ctx = context.WithValue(stream.Context(), meterKey{}, m)
	return handler(srv, m)
}

type meterKey struct{}

// meteredStream holds a long call to its caller's limits, message by message.
type meteredStream struct {
	grpc.ServerStream
	ctx    context.Context
	server *Server
	caller member.Identity

	mu   sync.Mutex // covers busy
	busy time.Time  // since when there is work that is not counted yet; zero: idle
}

// Context is the call's context, by which the handler finds the meter.
func (m *meteredStream) Context() context.Context { return m.ctx }

// RecvMsg receives a message and hands it on when its caller may send it.
func (m *meteredStream) RecvMsg(message any) error {
	err := m.ServerStream.RecvMsg(message)
	if err != nil {
		return err
	}
	return m.server.charge(m.ctx, m.caller, costOf(message))
}

// SendMsg sends a message when its caller may have it. The time until the caller has read enough is not work.
func (m *meteredStream) SendMsg(message any) error {
	wasBusy := m.idle()
	err := m.server.charge(m.ctx, m.caller, costOf(message))
	if err != nil {
		return err
	}
	err = m.ServerStream.SendMsg(message)
	if wasBusy {
		m.work()
	}
	return err
}

// work begins to count time as work.
func (m *meteredStream) work() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy = m.server.cfg.Now()
}

// idle ends it, and says whether there was any.
func (m *meteredStream) idle() bool {
	m.mu.Lock()
	since := m.busy
	m.busy = time.Time{}
	m.mu.Unlock()
	if since.IsZero() {
		return false
	}
	m.server.worked(m.caller, since)
	return true
}

// worked counts the time from then to now as work for an identity.
func (s *Server) worked(id member.Identity, since time.Time) {
	spent := s.cfg.Now().Sub(since).Seconds()
	s.gate.spend(id, cost{limitWork: max(spent, 0)})
}

// working counts the time until done is called as work for the caller of a long call, but for the time in which its
// messages are sent. Between rounds, while it waits for news, nothing is counted.
func (s *Server) working(ctx context.Context) (done func()) {
	m, _ := ctx.Value(meterKey{}).(*meteredStream)
	if m == nil {
		return func() {}
	}
	m.work()
	return func() { m.idle() }
}
