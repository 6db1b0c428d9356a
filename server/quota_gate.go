package server

import (
	"sync"
	"time"

	"entente.example/entente/proto/member"
)

const (
	// maxAccounts bounds how many identities are kept count of. Those that did nothing for ten seconds are forgotten: their
	// buckets are full, as those of a new one.
	maxAccounts = 4096
	// sayEvery is how often it is logged, for each identity, that it is over a limit.
	sayEvery = time.Minute
)

// account is what is left to one identity.
type account struct {
	buckets [flowing]bucket
	said    time.Time // when it was last logged that it is over a limit
}

// gate keeps count of what identities do. It decides and does not wait: whoever asks waits, or gives up.
type gate struct {
	quotas func() Quotas
	now    func() time.Time

	mu       sync.Mutex // covers all below
	accounts map[member.Identity]*account
	swept    time.Time // when full accounts were last forgotten
}

func newGate(quotas func() Quotas, now func() time.Time) *gate {
	if quotas == nil {
		quotas = DefaultQuotas
	}
	return &gate{quotas: quotas, now: now, accounts: make(map[member.Identity]*account)}
}

// toll is the gate's decision.
type toll struct {
	wait time.Duration // until the caller may go on; where it may not pass: until it may ask again
	over limit         // the limit that has the longest wait; of no meaning without a wait
	pass bool
	say  bool // it is time to log that the identity is over a limit
}

// take takes the cost from what the identity has left, if the wait for it is not longer than patience; the place in line is
// then taken, and the caller waits. Only limits of which something is taken are asked, and work, which is known only
// afterwards.
func (g *gate) take(id member.Identity, c cost, patience time.Duration) toll {
	quota, now := g.quotas().of(id), g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(id, now)
	if a == nil {
		return toll{wait: quotaBurst, over: limitIdentities}
	}
	t := toll{pass: true}
	for l := range limit(flowing) {
		rate := quota.rate(l)
		a.buckets[l].fill(now, rate)
		if c[l] == 0 && (l != limitWork || c[limitCalls] > 0) {
			continue
		}
		wait := a.buckets[l].wait(rate, c[l])
		if wait > t.wait {
			t.wait, t.over = wait, l
		}
	}
	if t.wait > patience {
		t.pass, t.say = false, now.Sub(a.said) >= sayEvery
		if t.say {
			a.said = now
		}
		return t
	}
	a.spend(c)
	return t
}

// spend takes the cost without asking: of what has been done already, and of what must not wait.
func (g *gate) spend(id member.Identity, c cost) {
	quota, now := g.quotas().of(id), g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(id, now)
	if a == nil {
		return
	}
	for l := range limit(flowing) {
		a.buckets[l].fill(now, quota.rate(l))
	}
	a.spend(c)
}

func (a *account) spend(c cost) {
	for l := range c {
		a.buckets[l].level -= c[l]
	}
}

// account finds or makes the account of an identity; nil: there are too many. A node of a member always has one: there are
// no more of them than the roster names, and no flood of other identities may keep them out.
func (g *gate) account(id member.Identity, now time.Time) *account {
	a := g.accounts[id]
	if a != nil {
		return a
	}
	if len(g.accounts) >= maxAccounts/2 {
		g.forget(now)
	}
	if len(g.accounts) >= maxAccounts && id.Kind != member.KindNode {
		return nil
	}
	a = &account{}
	g.accounts[id] = a
	return a
}

// forget gives up accounts with nothing taken: an account made anew is the same. It looks at most once a second.
func (g *gate) forget(now time.Time) {
	since := now.Sub(g.swept)
	if since >= 0 && since < time.Second {
		return
	}
	g.swept = now
	quotas := g.quotas()
	for id, a := range g.accounts {
		quota := quotas.of(id)
		full := true
		for l := range limit(flowing) {
			rate := quota.rate(l)
			a.buckets[l].fill(now, rate)
			full = full && a.buckets[l].level >= max(rate*quotaBurst.Seconds(), 1)
		}
		if full {
			delete(g.accounts, id)
		}
	}
}

// openStreams is how many long calls an identity may have open.
func (g *gate) openStreams(id member.Identity) int { return g.quotas().of(id).OpenStreams }
