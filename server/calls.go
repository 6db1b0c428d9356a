package server

import (
	"context"
	"crypto/x509"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/policy"
)

// caller is who calls, from the verified certificate.
type caller struct {
	member.Identity
	leaf   *x509.Certificate
	chains [][]*x509.Certificate
}

type callerKey struct{}

// callerOf is the caller that admission has put into the context of a call.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c // the zero caller is allowed nothing and cleared for nothing
}

// identify reads the caller from the connection.
func identify(ctx context.Context) (caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{}, errNoIdentity
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return caller{}, errNoIdentity
	}
	identity, err := member.PeerIdentity(info.State)
	if err != nil {
		return caller{}, errNoIdentity
	}
	return caller{Identity: identity, leaf: info.State.PeerCertificates[0], chains: info.State.VerifiedChains}, nil
}

// decide says whether the caller may call the method now. It is asked when a call begins, and again while it is open.
func (s *Server) decide(method string, c caller) error {
	if !s.table.Allowed(method, c.Identity, s.cfg.Self) {
		return errClosed
	}
	now := s.cfg.Now()
	roster := s.cfg.Directory().Roster
	if c.Member != s.cfg.Self && now.After(roster.ExpiresAt()) {
		return errRosterStale
	}
	if now.Before(c.leaf.NotBefore) || now.After(c.leaf.NotAfter) {
		return errExpired
	}
	if s.revoked(c) {
		return errRevoked
	}
	entry, in := roster.Member(c.Member)
	if !in || !vouched(c.chains, entry.Authorities) {
		return errNotMember // also one's own: an authority that was replaced, perhaps because it was stolen, speaks for nobody
	}
	switch {
	case c.Member == s.cfg.Self && entry.Left && !policy.AfterLeaving(method):
		return errLeft
	case c.Member == s.cfg.Self, roster.Active(c.Member):
		return nil
	case entry.Departed && method == ententev1.ExchangeService_SubmitReceipts_FullMethodName:
		return nil // how the owner learns that a leaver has erased
	}
	return errNotMember
}

// revoked says whether one of the certificates that vouch for the caller has been taken back.
func (s *Server) revoked(c caller) bool {
	if s.cfg.Revocations == nil {
		return false
	}
	return slices.ContainsFunc(c.chains, func(chain []*x509.Certificate) bool {
		return slices.ContainsFunc(chain, s.cfg.Revocations.Revoked)
	})
}

// refusalPause holds up the connection of a caller that calls too often, or what it may not: refusing is cheap for it too, and
// without the pause a flood of refusals takes the processor that others need. Nobody else shares the connection. What is
// refused for who calls is not counted: one with a revoked certificate would use up what its successor may do.
const refusalPause = 10 * time.Millisecond

// tap refuses a call before anything of it is decoded: also one that its caller makes too soon.
func (s *Server) tap(ctx context.Context, call *tap.Info) (context.Context, error) {
	c, err := identify(ctx)
	if err != nil {
		return ctx, err
	}
	err = s.decide(call.FullMethodName, c)
	if err != nil {
		pauseRefused()
		return ctx, err
	}
	t := s.gate.take(c.Identity, cost{limitCalls: 1}, 0)
	if t.say {
		s.sayOver(c.Identity, t.over)
	}
	if !t.pass {
		pauseRefused()
		return ctx, overLimit(t.over, t.wait)
	}
	if !s.short[call.FullMethodName] {
		return ctx, nil
	}
	ctx, began := s.calls.begin(ctx, c.Identity)
	if !began {
		pauseRefused()
		return ctx, overLimit(limitShort, refusalPause)
	}
	return ctx, nil
}

func pauseRefused() {
	pause := time.NewTimer(refusalPause)
	defer pause.Stop()
	<-pause.C
}

// vouched says whether one of the chains ends in one of the authorities as they are now: a member that has replaced its
// authority is not spoken for by the old one.
func vouched(chains [][]*x509.Certificate, authorities []*x509.Certificate) bool {
	return slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		return len(chain) > 0 && slices.ContainsFunc(authorities, chain[len(chain)-1].Equal)
	})
}

// decideRegularly decides open calls again until ctx ends.
func (s *Server) decideRegularly(ctx context.Context) {
	ticker := time.NewTicker(decideEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.decideAgain()
			s.health.lookAgain()
		}
	}
}

func (s *Server) decideAgain() {
	for _, call := range s.calls.list() {
		err := s.decide(call.method, call.caller)
		if err != nil {
			call.cancel(err)
		}
	}
}

// calls is the registry of open streams.
type calls struct {
	mu     sync.Mutex // covers all below
	open   map[*openCall]struct{}
	by     map[member.Identity]int // how many of them an identity has
	short  map[member.Identity]int // how many short calls an identity has under way
	closed error                   // why no call may be added any more; nil while the server runs
}

// streamsAgain is after how long a caller with too many open streams may try again: nobody knows when one of them ends.
const streamsAgain = 5 * time.Second

type openCall struct {
	method string
	caller caller
	cancel context.CancelCauseFunc
}

func newCalls() *calls {
	return &calls{open: make(map[*openCall]struct{}), by: make(map[member.Identity]int), short: make(map[member.Identity]int)}
}

// shortAtOnce is how many short calls an identity may have under way, over all its connections. It bounds the memory that
// requests take of which only a part has come: grpc sets no limit to their number but that of a connection.
const shortAtOnce = 256

// begin enters a short call, before its request is read, if its caller has not too many under way. It counts until the call
// ends, at the latest until its deadline: without one a request that never comes whole would be kept for as long as the
// connection lasts.
func (r *calls) begin(ctx context.Context, id member.Identity) (context.Context, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.short[id] >= shortAtOnce {
		return ctx, false
	}
	r.short[id]++
	ctx, cancel := context.WithTimeout(ctx, unaryDeadline)
	context.AfterFunc(ctx, func() { // the transport ends the context of each call
		cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.short[id]--
		if r.short[id] == 0 {
			delete(r.short, id)
		}
	})
	return ctx, true
}

// add enters a call, if its caller has less than so many open over all its connections. The context that it returns ends with
// a cause when the call is decided against; done removes it.
func (r *calls) add(ctx context.Context, method string, c caller, most int) (open context.Context, done func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	call := &openCall{method: method, caller: c, cancel: cancel}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		cancel(r.closed)
		return nil, nil, r.closed
	}
	if r.by[c.Identity] >= most {
		err = overLimit(limitStreams, streamsAgain)
		cancel(err)
		return nil, nil, err
	}
	r.by[c.Identity]++
	r.open[call] = struct{}{}
	return ctx, func() { r.remove(call) }, nil
}

func (r *calls) remove(call *openCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, open := r.open[call]
	if open {
		delete(r.open, call)
		r.by[call.caller.Identity]--
		if r.by[call.caller.Identity] == 0 {
			delete(r.by, call.caller.Identity)
		}
	}
	call.cancel(context.Canceled)
}

func (r *calls) list() []*openCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*openCall, 0, len(r.open))
	for call := range r.open {
		list = append(list, call)
	}
	return list
}

// close cancels all calls with the reason and takes no more.
func (r *calls) close(reason error) {
	r.mu.Lock()
	r.closed = reason
	r.mu.Unlock()
	for _, call := range r.list() {
		call.cancel(reason)
	}
}
