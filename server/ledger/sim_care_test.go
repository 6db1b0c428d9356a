package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// What else befalls records in the simulation: second persons, restrictions, renewals, permissions, and time.

func (s *sim) decide() {
	own, ref, approve, wrong := s.one(), s.any(), s.rng.IntN(3) > 0, s.rng.IntN(5) == 0
	var waiting []string
	for r, known := range own.m.records {
		if slices.ContainsFunc(known.audiences, known.waits) {
			waiting = append(waiting, r)
		}
	}
	if len(waiting) > 0 && s.rng.IntN(4) > 0 {
		ref = pick(s.rng, sorted(waiting))
	}
	s.do(own, func() {
		version := uint64(0)
		if r := own.m.records[ref]; r != nil {
			version = r.top
		}
		if wrong {
			version++
		}
		want := own.m.decide(ref, version, approve)
		got, err := own.n.Decide(context.Background(), ledger.Decision{Records: []ledger.RecordID{own.n.id(ref)}, Versions: []uint64{version}, States: []uint64{own.n.WaitingState(own.n.id(ref))}, Approve: approve, Officer: "otto"})
		s.verdict(own, fmt.Sprintf("decide on %s v%d, approve %v", ref, version, approve), want, got, err)
	})
}

func (s *sim) restrict() {
	own, ref, lift := s.one(), s.any(), s.rng.IntN(2) == 0
	s.do(own, func() {
		want := own.m.restrict(ref, lift)
		got, err := own.n.Restrict(context.Background(), "Central Unit", []string{ref}, lift, "doubts")
		s.verdict(own, fmt.Sprintf("restrict %s, lift %v", ref, lift), want, got, err)
	})
}

func (s *sim) renew() {
	own, ref, until := s.one(), s.any(), s.w.now.Add(time.Duration(1+s.rng.IntN(1000))*time.Hour)
	s.do(own, func() {
		if !until.After(s.w.now) {
			return // said again after a restore, when it is over
		}
		want := own.m.renew(ref, until.Unix())
		got, err := own.n.Renew(context.Background(), "Central Unit", []string{ref}, until, "the case is open")
		s.verdict(own, fmt.Sprintf("renew %s until %d", ref, until.Unix()), want, got, err)
	})
}

// permit lets a holder pass on, where there is something that it holds.
func (s *sim) permit() {
	own, holder := s.pair()
	ref := s.person()
	recipients := keep(s.people.members, func(m string) bool { return m != string(own.id) && s.rng.IntN(2) == 0 })
	if len(recipients) == 0 || own.restored {
		return // after a restore its permissions are as lost as its receipts: the model does not follow them
	}
	until := s.w.now.Add(time.Duration(1+s.rng.IntN(30)) * time.Hour)
	entries, err := own.n.Permit(context.Background(), "Central Unit", ref, ledger.Permit{Holder: holder.id, Recipients: memberList(recipients),
		Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: until})
	refused := &ledger.PermitError{}
	if errors.As(err, &refused) {
		return
	}
	s.must(err)
	s.log("%s permits %s to pass on %s to %v until %d: %d entries", own.id, holder.id, ref, recipients, until.Unix(), len(entries))
	r := own.m.records[ref]
	for _, at := range entries {
		s.permits = append(s.permits, &simPermit{owner: own.id, holder: holder.id, ref: ref, content: r.versions[r.top].content, retain: r.retain(), recipients: recipients, until: until.Unix(), at: at})
	}
}

func (s *sim) revoke() {
	var standing []*simPermit
	for _, p := range s.permits {
		if !p.revoked && !s.nodes[p.owner].restored {
			standing = append(standing, p)
		}
	}
	if len(standing) == 0 {
		return
	}
	p := pick(s.rng, standing)
	id, err := stream.ParseID(p.at.GetStreamId())
	s.must(err)
	s.log("%s takes back what it permitted to %s for %s", p.owner, p.holder, p.ref)
	err = s.nodes[p.owner].n.RevokePermission(context.Background(), "Central Unit", id, p.at.GetSequence())
	s.must(err)
	p.revoked = true
}

// pass lets time pass, and what is over ends everywhere.
func (s *sim) pass() {
	hours := 1 + s.rng.IntN(8)
	s.log("%d hours pass", hours)
	s.w.now = s.w.now.Add(time.Duration(hours) * time.Hour)
	for _, id := range s.ids {
		s.expire(s.nodes[id])
	}
}

func (s *sim) expire(one *simNode) {
	lapsed, erased, err := one.n.Expire(context.Background())
	s.must(err)
	gone := one.m.lapse()
	one.home = slices.DeleteFunc(one.home, func(content uint64) bool { return slices.Contains(gone, content) })
	s.lapsed += lapsed
	s.log("%s: %d lapsed, %d erased", one.id, lapsed, erased)
}
