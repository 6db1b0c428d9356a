package ledger_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
)

// The checks of the simulation must be able to fail: each fault here is planted, and has to be found by its own check.
func TestTheSimulationFindsPlantedFaults(t *testing.T) {
	faults := map[string]struct {
		plant func(s *sim)
		check func(s *sim) []string
		says  string
	}{
		"a record that nobody wants any more stands": {
			plant: func(s *sim) { s.nodes["XA"].m.withdraw("p1", 0) },
			check: func(s *sim) []string { return s.checkWanted(s.nodes["XA"]) }, says: "too much"},
		"a wanted record stands nowhere": {
			plant: func(s *sim) {
				s.nodes["XA"].m.push(s.people, "p9", 1, modelVersion{content: 99, retain: s.w.now.AddDate(1, 0, 0).Unix()}, []modelAudience{{kind: "future"}}, false)
			},
			check: func(s *sim) []string { return s.checkWanted(s.nodes["XA"]) }, says: "missing"},
		"an older version stands": {
			plant: func(s *sim) {
				s.nodes["XA"].m.push(s.people, "p1", 7, modelVersion{content: 99, retain: s.w.now.AddDate(1, 0, 0).Unix()}, nil, false)
			},
			check: func(s *sim) []string { return s.checkWanted(s.nodes["XA"]) }, says: "missing"},
		"a reader keeps what it has signed away": {
			plant: func(s *sim) {
				own, reader := s.nodes["XA"], s.nodes["XB"]
				s.keepOld(reader)
				s.do(own, func() { own.n.push(withdrawalOf("p1", 0)); own.m.withdraw("p1", 0) })
				s.settle()
				s.takeOld(reader)
			},
			check: func(s *sim) []string { return s.checkHeld(s.nodes["XA"], s.nodes["XB"]) }, says: "APPLIED for"},
		"a reader lacks what its owner has released": {
			plant: func(s *sim) {
				own, reader := s.nodes["XA"], s.nodes["XB"]
				info := reader.n.StreamsShared("XA", "XB")[0]
				forged := []streamWithdrawal{{Stream: info.ID, Sequence: 99, Target: info.ID, TargetSequence: 2, Reason: uint8(ententev1.WithdrawalReason_WITHDRAWAL_REASON_UNLAWFUL)}}
				s.must(reader.n.ApplyWithdrawals(s.t.Context(), own.id, info.ID, forged, nil))
			},
			check: func(s *sim) []string { return s.checkHeld(s.nodes["XA"], s.nodes["XB"]) }, says: "lacks entry"},
		"two headers have one number": {
			plant: func(s *sim) {
				for key, header := range s.shown {
					s.shown[key] = slices.Concat(header[:len(header)-1], []byte{^header[len(header)-1]})
				}
			},
			check: func(s *sim) []string { return s.checkStreams(s.nodes["XA"]) }, says: "two headers"},
		"a record in another form stands": {
			plant: func(s *sim) {
				s.nodes["XA"].m.release(s.people, "p1", []modelAudience{{kind: "future", cut: true}}, true)
			},
			check: func(s *sim) []string { return s.checkWanted(s.nodes["XA"]) }, says: "missing"},
		"a restricted record stands": {
			plant: func(s *sim) { s.nodes["XA"].m.restrict("p1", false) },
			check: func(s *sim) []string { return s.checkWanted(s.nodes["XA"]) }, says: "too much"},
		"a record stands with an earlier date": {
			plant: func(s *sim) { s.nodes["XA"].m.renew("p1", s.w.now.Unix()+1000000) },
			check: func(s *sim) []string { return s.checkWanted(s.nodes["XA"]) }, says: "missing"},
		"a record stands that a second person has to let go": {
			plant: func(s *sim) {
				r := s.nodes["XA"].m.records["p1"]
				v := r.versions[1]
				v.grounds = 1
				r.versions[1] = v
			},
			check: func(s *sim) []string { return s.checkWanted(s.nodes["XA"]) }, says: "too much"},
		"a reader holds what is over": {
			plant: func(s *sim) { s.w.now = s.w.now.AddDate(10, 0, 0) },
			check: func(s *sim) []string { return s.checkOver(s.nodes["XB"]) }, says: "which is over"},
		"a permission counts that nobody gave": {
			plant: func(s *sim) {
				own := s.nodes["XA"]
				own.n.permit("p1", ledger.Permit{Holder: "XB", Recipients: []member.ID{"XC"}, Until: s.w.now.Add(time.Hour)})
				s.settle()
			},
			check: func(s *sim) []string { return s.checkPermissions(s.nodes["XA"], s.nodes["XB"]) }, says: "takes as permitted"},
		"a permission that was given is not known": {
			plant: func(s *sim) {
				own := s.nodes["XA"]
				at := own.n.permit("p1", ledger.Permit{Holder: "XB", Recipients: []member.ID{"XC"}, Until: s.w.now.Add(time.Hour)})[0]
				s.settle()
				v := own.m.records["p1"].versions[1]
				s.permits = append(s.permits, &simPermit{owner: "XA", holder: "XB", ref: "p1", content: 1, retain: v.retain, recipients: []string{"COORD"}, until: s.w.now.Add(time.Hour).Unix(), at: at})
			},
			check: func(s *sim) []string { return s.checkPermissions(s.nodes["XA"], s.nodes["XB"]) }, says: "does not know"},
		"erased content is left in a file": {
			plant: func(s *sim) {
				own := s.nodes["XA"]
				delete(own.m.records, "p1")
				own.home = nil
			},
			check: func(s *sim) []string { return s.checkErased(s.nodes["XA"]) }, says: "erased content 1"},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			s := newSim(t, 1)
			own := s.nodes["XA"]
			v := modelVersion{content: 1, retain: s.w.now.AddDate(1, 0, 0).Unix()}
			audiences := []modelAudience{{kind: "future"}}
			own.m.push(s.people, "p1", 1, v, audiences, false)
			own.home = append(own.home, 1)
			own.n.push(s.item("p1", 1, v, audiences, false))
			s.settle()
			s.collect(s.problems())
			f.plant(s)
			wrong := f.check(s)
			if !slices.ContainsFunc(wrong, func(one string) bool { return strings.Contains(one, f.says) }) {
				t.Errorf("found %q, want %q", wrong, f.says)
			}
		})
	}
}

// keepOld and takeOld put a reader back to what it was, without it being said.
func (s *sim) keepOld(one *simNode) {
	one.n.stop()
	s.must(copyData(s.w.path[one.id], s.w.path[one.id]+".old"))
	one.n = s.start(one.id, true, time.Hour)
}

func (s *sim) takeOld(one *simNode) {
	one.n.stop()
	s.must(copyData(s.w.path[one.id]+".old", s.w.path[one.id]))
	one.n = s.start(one.id, true, time.Hour)
}
