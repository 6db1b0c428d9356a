package main_test

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// The tests of this file run nodes as processes of the real program and take them away: by kill -9, by SIGTERM, by a full
// disk. The long form is TestSoakKill in soak_test.go.
func TestNodesAreTakenAway(t *testing.T) {
	binary := buildProgram(t)
	t.Run("nothing acknowledged is lost by kill -9 under push", func(t *testing.T) {
		s := newSiege(t, binary, 1)
		s.begin()
		for range 3 {
			s.killUnderPush(150)
		}
		s.settle()
		s.finish()
	})
	t.Run("a lost tail is found missing, forks nothing, and is whole again when it is pushed again", lostTail(binary))
	t.Run("SIGTERM under push is a clean stop, after which the same streams go on", cleanStop(binary))
	t.Run("a full disk refuses writes, answers reads and loses nothing", fullDisk(binary))
}

// siege is a federation whose first member is pushed to while its node is taken away again and again.
type siege struct {
	*world
	home      *place
	claims    *claims
	list      []*registry
	pushing   *pushing
	followers map[member.ID]*follower
	chance    *rand.Rand
	kills     int
	began     time.Time
}

func newSiege(t testing.TB, binary string, seed uint64) *siege {
	t.Helper()
	w := newWorld(t, binary)
	s := &siege{world: w, home: w.places[xa], claims: newClaims(), followers: map[member.ID]*follower{}, chance: rand.New(rand.NewPCG(seed, 1)), began: time.Now()}
	for i, prefix := range []string{"north", "south", "coast"} {
		s.list = append(s.list, newRegistry(prefix, seed*100+uint64(i)))
	}
	for _, p := range w.places {
		p.start()
	}
	for id, p := range w.places {
		s.followers[id] = follow(t, p.system())
	}
	return s
}

// begin lets the registries push.
func (s *siege) begin() { s.pushing = setOut(s.home, s.claims, s.list) }

// killUnderPush kills the node after so many further acknowledgements at most, with more in flight, and starts it again.
func (s *siege) killUnderPush(most int) {
	s.t.Helper()
	due := s.claims.acknowledged() + 1 + s.chance.IntN(most)
	s.pushing.give(2*most + 200)
	s.claims.await(s.t, due)
	s.home.kill()
	s.kills++
	s.home.start()
}

// settle lets the registries come to an end and compares everything: nothing is in flight then.
func (s *siege) settle() {
	s.t.Helper()
	s.pushing.finish()
	if len(s.claims.refused) > 0 {
		s.t.Fatalf("not accepted: %s", few(s.claims.refused))
	}
	s.compare()
}

func (s *siege) compare() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	acked := s.claims.snapshot()
	wrong, err := missing(ctx, s.home.system(), acked, true)
	s.must(err)
	if len(wrong) > 0 {
		s.t.Fatalf("of %d records: %s", len(acked), few(wrong))
	}
	for id, f := range s.followers {
		want := released(acked, id)
		f.await(s.t, string(id), want)
		marks, twice, err := standing(ctx, s.places[id].system())
		s.must(err)
		faults := difference(marks, want)
		// A release that is put in another's place arrives after the withdrawal of the earlier one: for a moment it is neither.
		for len(faults) > 0 && ctx.Err() == nil {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			marks, twice, err = standing(ctx, s.places[id].system())
			s.must(err)
			faults = difference(marks, want)
		}
		if len(faults) > 0 {
			s.t.Fatalf("%s reads something else than was released: %s", id, few(faults))
		}
		if len(twice) > 0 {
			s.t.Fatalf("%s reads records twice: %s", id, few(twice))
		}
	}
}

// finish stops all nodes, one of them hard, and checks their files.
func (s *siege) finish() {
	s.t.Helper()
	s.home.kill()
	s.home.verify()
	s.home.start()
	for _, p := range s.places {
		p.stop()
		p.verify()
	}
	s.calm()
	s.t.Logf("%d kills, %d acknowledged items of %d records, %.0f seconds", s.kills, s.claims.acknowledged(), len(s.claims.acked), time.Since(s.began).Seconds())
}

// lostTail is the positive control: it takes acknowledged records away, as a disk that lies would, by putting the file of an
// earlier moment in the place of the newest. The comparison has to see that; if it did not, it would see nothing.
func lostTail(binary string) func(*testing.T) {
	return func(t *testing.T) {
		s := newSiege(t, binary, 2)
		s.begin()
		s.pushing.give(300)
		s.claims.await(t, 200)
		s.settle()
		s.home.kill()
		before := s.home.path("earlier.db")
		copyFile(t, s.home.path("node.db"), before)
		s.home.start()
		s.begin()
		s.pushing.give(300)
		s.claims.await(t, s.claims.acknowledged()+150)
		s.settle()
		s.home.kill()
		copyFile(t, before, s.home.path("node.db"))
		s.home.start()

		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		wrong, err := missing(ctx, s.home.system(), s.claims.snapshot(), true)
		s.must(err)
		if len(wrong) == 0 {
			t.Fatal("acknowledged records were taken away, and the comparison has not seen it")
		}
		t.Logf("seen: %s", few(wrong))
		s.awaitTails(ctx)
		s.pushAgain()
		s.compare()
		s.finish()
	}
}

// awaitTails waits until the owner has back from its readers what it had released.
func (s *siege) awaitTails(ctx context.Context) {
	s.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		here, _, err := standing(ctx, s.home.system())
		s.must(err)
		there, _, err := standing(ctx, s.places[xb].system())
		s.must(err)
		if maps.Equal(here, there) {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			s.t.Fatalf("the owner has not got back what it had released: %s", few(difference(here, there)))
		}
	}
}

// pushAgain says once more what holds of each record, as a national system does that was told of a loss.
func (s *siege) pushAgain() {
	s.t.Helper()
	acked := s.claims.snapshot()
	var refused []string
	pusher := s.home.system().Push(context.Background(), client.PushOptions{}, func(_ any, v *ententev1.Verdict) {
		if v.GetOutcome() == ententev1.Outcome_OUTCOME_REJECTED {
			refused = append(refused, v.String())
		}
	})
	byTies := func(a, b string) int { // ends first
		return cmp.Or(cmp.Compare(len(acked[a].from), len(acked[b].from)), cmp.Compare(a, b))
	}
	for _, reference := range slices.SortedFunc(maps.Keys(acked), byTies) {
		c := acked[reference]
		if !c.withdrawn {
			s.must(pusher.Send(c.item(claim{}), nil))
			continue
		}
		atHome := &ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: c.record()}, ReplaceAudiences: true}
		s.must(pusher.Send(atHome, nil))
		s.must(pusher.Send(c.item(claim{}), nil))
	}
	s.must(pusher.Close())
	if len(refused) > 0 {
		s.t.Fatalf("pushed again and refused: %s", few(refused))
	}
}

func cleanStop(binary string) func(*testing.T) {
	return func(t *testing.T) {
		s := newSiege(t, binary, 3)
		s.begin()
		s.pushing.give(400)
		s.claims.await(t, 200)
		streams := s.home.ownStreams()
		s.pushing.give(2000)
		s.claims.await(t, s.claims.acknowledged()+50)
		s.home.stop()
		_, err := os.Stat(s.home.path("node.marker"))
		if err != nil {
			t.Errorf("a clean stop leaves its marker: %v", err)
		}
		s.home.verify()
		s.home.start()
		_, err = os.Stat(s.home.path("node.marker"))
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the marker is good for one start, and is still there: %v", err)
		}
		s.settle()
		if got := s.home.ownStreams(); got != streams {
			t.Errorf("%d own streams after a clean stop, %d before", got, streams)
		}
		s.finish()
	}
}

func fullDisk(binary string) func(*testing.T) {
	return func(t *testing.T) {
		w := newWorld(t, binary)
		home := w.places[xa]
		home.limit = 32 << 20
		home.configure()
		home.start()
		c := home.system()
		m := newClaims()
		err := pushUntilFull(c, m)
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "full") {
			t.Fatalf("a push into a full disk is answered by %v", err)
		}
		reads := func(doing string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			reader := home.system() // short calls are tried once, and an old connection would have to come back first
			wrong, err := missing(ctx, reader, m.snapshot(), false)
			w.must(err)
			if len(wrong) > 0 {
				t.Fatalf("%s: %s", doing, few(wrong))
			}
			_, err = reader.Get(ctx, &ententev1.GetRequest{Consultation: asking(), ProviderReference: "bulk-0"})
			w.must(err)
		}
		reads("while the disk is full")
		home.stop()
		home.verify()
		home.limit = 512 << 20
		home.configure()
		home.start()
		reads("with a larger disk")
		more := claim{reference: "after", version: 1, reach: toAll}
		pusher := c.Push(context.Background(), client.PushOptions{}, m.verdict)
		w.must(pusher.Send(more.item(claim{}), more))
		w.must(pusher.Close())
		reads("after a further push")
		t.Logf("%d records were acknowledged before the disk was full", len(m.acked)-1)
	}
}

// pushUntilFull pushes what fills a small disk and gives the error with which that ends.
func pushUntilFull(c *client.Client, m *claims) error {
	pusher := c.Push(context.Background(), client.PushOptions{InFlight: 4, BatchItems: 100}, m.verdict)
	for i := range 100_000 {
		one := claim{reference: "bulk-" + strconv.Itoa(i), version: 1, reach: toAll}
		err := pusher.Send(one.item(claim{}), one)
		if err != nil {
			break
		}
	}
	return pusher.Close()
}
