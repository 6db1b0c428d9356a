package coordinator_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
)

func TestEachReaderIsAnsweredFromWhatItMaySee(t *testing.T) {
	w := newWorld(t)
	xa, xb, xc := w.start("XA"), w.start("XB"), w.start("XC")
	w.start("COORD")
	xa.push(
		person("to-all", "Alpha", toAll()),
		person("to-project", "Bravo", toProject()),
		person("to-nobody", "Charlie"),
		person("to-coordinator", "Delta", toMembers("COORD")),
	)
	xb.push(person("to-all", "Echo", toAll()))

	w.awaitEntities("XC", 2)    // both to all
	w.awaitEntities("XB", 3)    // and that of the project
	w.awaitEntities("XA", 4)    // and its own for the coordinator
	w.awaitEntities("COORD", 4) // all that it holds

	t.Run("an officer sees through the own node what the member may see", func(t *testing.T) {
		for s, want := range map[*site]int{xb: 3, xc: 2} {
			view, err := s.as(member.KindOfficer, "o1").View(t.Context(), &ententev1.Consultation{Purpose: purpose, CaseReference: "C-1"})
			must(t, err)
			if len(view.Entities) != want {
				t.Errorf("%s sees %d entities, want %d", s.id, len(view.Entities), want)
			}
		}
	})
	t.Run("an officer without a grant gets no answer", func(t *testing.T) {
		_, err := xb.as(member.KindOfficer, "stranger").View(t.Context(), &ententev1.Consultation{Purpose: purpose, CaseReference: "C-1"})
		if status.Code(errors.Unwrap(err)) != codes.PermissionDenied && status.Code(err) != codes.PermissionDenied {
			t.Errorf("got %v, want PermissionDenied", err)
		}
	})
	t.Run("a withdrawal leaves every view", func(t *testing.T) {
		xa.withdraw("to-project")
		w.awaitEntities("XB", 2)
		w.awaitEntities("COORD", 3)
		must(t, w.sites["COORD"].merged.Settled(t.Context()))
	})
	t.Run("the view is the same after the coordinator has started again", func(t *testing.T) {
		coord := w.sites["COORD"]
		before := string(coord.merged.View().For("XB", nil, network.Lens{}).Info().GetHash())
		coord.stop()
		w.start("COORD")
		must(t, coord.merged.Settled(t.Context()))
		after := string(coord.merged.View().For("XB", nil, network.Lens{}).Info().GetHash())
		if before != after {
			t.Errorf("hash %x before, %x after", before, after)
		}
	})
}

func TestADocumentReloadedAtOneMemberReachesTheOthers(t *testing.T) {
	w := newWorld(t)
	xa, xc := w.start("XA"), w.start("XC")
	coord := w.start("COORD")
	w.start("XB")

	t.Run("a roster goes from the coordinator to everybody", func(t *testing.T) {
		roster, err := w.fed.Roster()
		must(t, err)
		docs := *coord.docs.Load()
		docs.Roster = roster.Document()
		coord.docs.Store(&docs)
		must(t, coord.Reload(t.Context()))
		must(t, xc.Fetch(t.Context()))
		if got := xc.Directory().Roster.Number(); got != roster.Number() {
			t.Errorf("XC is on roster %d, want %d", got, roster.Number())
		}
	})
	t.Run("an older roster is refused and the last good one stays", func(t *testing.T) {
		older := *xa.docs.Load() // the first one
		must(t, xa.Fetch(t.Context()))
		number := xa.Directory().Roster.Number()
		err := xa.Reload(t.Context())
		if !errors.Is(err, member.ErrRosterOlder) {
			t.Errorf("got %v, want %v", err, member.ErrRosterOlder)
		}
		if xa.Directory().Roster.Number() != number || older.Roster == nil {
			t.Error("the older roster was taken")
		}
	})
	t.Run("an admission goes from the lead to the participants", func(t *testing.T) {
		admission, err := member.NewAdmission(w.chain, "XC", w.fed.Seat("XA").Signing, time.Now())
		must(t, err)
		docs := *xa.docs.Load()
		docs.Roster = nil
		docs.Projects = [][]*ententev1.SignedDocument{append(w.chain[:1:1], admission)}
		xa.docs.Store(&docs)
		must(t, xa.Reload(t.Context()))
		for _, s := range []*site{xc, coord} {
			must(t, s.Fetch(t.Context()))
			project := s.Directory().Projects["harbour"]
			if project == nil || !project.Has("XC") {
				t.Errorf("%s does not know that XC is in", s.id)
			}
		}
		xa.push(person("for-three", "Alpha", toProject()))
		w.awaitEntities("XC", 1)
	})
	t.Run("another chain under the same id is refused", func(t *testing.T) {
		other, _, err := w.fed.Project(xa.Directory().Roster, "harbour", "Another", "XB", "XC")
		must(t, err)
		docs := *xc.docs.Load()
		docs.Roster = nil
		docs.Projects = [][]*ententev1.SignedDocument{other}
		xc.docs.Store(&docs)
		err = xc.Reload(t.Context())
		if err == nil || xc.Directory().Projects["harbour"].Lead != "XA" {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("what was accepted counts after a restart although the files are older", func(t *testing.T) {
		number := xc.Directory().Roster.Number()
		xc.stop()
		w.start("XC")
		if xc.Directory().Roster.Number() != number || xc.Directory().Projects["harbour"] == nil {
			t.Error("the node fell back")
		}
	})
	t.Run("grants count without a restart", func(t *testing.T) {
		docs := *xa.docs.Load()
		docs.Grants = &policy.Grants{}
		xa.docs.Store(&docs)
		must(t, xa.Reload(t.Context()))
		_, err := xa.as(member.KindSystem, "intake").Release(t.Context(), []string{"for-three"}, []*ententev1.Audience{toAll()}, false)
		if err == nil {
			t.Error("a system without a grant was served")
		}
	})
}

func TestACleanStopGoesOnWithTheSameStreams(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA")
	xa.push(person("one", "Alpha", toAll()))
	before := xa.ownStreams()
	xa.stop()
	_, err := os.Stat(xa.material.Marker)
	must(t, err)
	w.start("XA")
	_, err = os.Stat(xa.material.Marker)
	if err == nil {
		t.Error("the marker is still there while the node runs")
	}
	xa.push(person("two", "Bravo", toAll()))
	after := xa.ownStreams()
	if len(after) != len(before) || after[0].Size != before[0].Size+1 {
		t.Errorf("streams before %+v, after %+v", before, after)
	}
}

func TestAKilledNodeOpensASuccessorStreamWhereItsReadersAreSilent(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA")
	xa.push(person("one", "Alpha", toAll()))
	before := xa.ownStreams()
	xa.kill()
	w.start("XA")
	xa.push(person("two", "Bravo", toAll()))
	w.await(xa.Ledger().Changed, func() bool { return len(xa.ownStreams()) > len(before) }, func() string { return "a successor" })
	if after := xa.ownStreams(); after[0].Size != before[0].Size {
		t.Errorf("the old stream was written on: %d, then %d", before[0].Size, after[0].Size)
	}
}

func TestACrashThatIsNotSettledLeavesNoMarkerAtTheNextStop(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA"), w.start("XB")
	xa.push(person("one", "Alpha", toAll()))
	w.await(xb.Ledger().Changed, func() bool { return len(xb.Ledger().StreamsShared("XA", "XB")) > 0 },
		func() string { return "XA's stream at XB" })
	xa.stop() // XB cannot learn whether something was withdrawn meanwhile
	xb.kill()
	w.start("XB")
	xb.stop()
	_, err := os.Stat(xb.material.Marker)
	if err == nil {
		t.Error("the next start would show what may have been withdrawn")
	}
}

func TestARunEndsWithItsContextBeforeAnythingCame(t *testing.T) {
	w := newWorld(t)
	s := w.start("COORD")
	s.stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.merged.Settled(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
