package coordinator_test

import (
	"testing"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// TestWhoHasLeftAProjectIsNotAnsweredFromItWhileTheOwnerIsAway: the owner cannot take back what it released, since it is
// down; the coordinator knows all the same that XB has left.
func TestWhoHasLeftAProjectIsNotAnsweredFromItWhileTheOwnerIsAway(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA")
	coord := w.start("COORD")
	xa.push(person("to-all", "Alpha", toAll()), person("to-project", "Bravo", toProject()))
	w.awaitEntities("XB", 2)
	xa.stop()
	departure, err := member.NewDeparture(w.chain, "XB", false, w.fed.Seat("XA").Signing, time.Now())
	must(t, err)
	docs := *coord.docs.Load()
	docs.Projects = [][]*ententev1.SignedDocument{append(w.chain[:len(w.chain):len(w.chain)], departure)}
	coord.docs.Store(&docs)
	must(t, coord.Reload(t.Context()))
	w.awaitEntities("XB", 1)
	w.awaitEntities("XA", 2)
}
