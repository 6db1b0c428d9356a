package national

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"entente.example/entente/nodes/federation"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/store"
)

func TestOneLeadDoesNotTakeThePlacesOfAllOthersProjects(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	opts := store.Options{Path: filepath.Join(t.TempDir(), "node.db"), Keys: store.Keyring{Current: bytes.Repeat([]byte{7}, 32)}, Now: time.Now, Rand: rand.Reader}
	must(store.Create(opts, []byte("XA")))
	st, err := store.Open(opts)
	must(err)
	defer st.Close()
	fed, err := federation.Found([]member.ID{"COORD", "XA", "XB", "XC"}, []member.ID{"COORD"}, rand.Reader, time.Now, time.Hour)
	must(err)
	roster, err := fed.Roster()
	must(err)
	d, err := newDirectory(st, func(string, []byte) error { return nil }, "XA", fed.ID, time.Now, slog.New(slog.DiscardHandler))
	must(err)
	_, err = d.acceptRoster(roster.Document())
	must(err)
	offer := func(id string, lead member.ID) (bool, error) {
		chain, _, err := fed.Project(roster, id, "Harbour", lead, "XA")
		must(err)
		return d.acceptProject(chain, lead)
	}
	for i := range maxLed {
		taken, err := offer(fmt.Sprintf("flood-%d", i), "XB")
		must(err)
		if !taken {
			t.Fatalf("project %d is not taken", i)
		}
	}
	taken, err := offer("flood-more", "XB")
	if taken || err == nil {
		t.Errorf("project %d of one lead: taken %v, %v", maxLed+1, taken, err)
	}
	taken, err = offer("harbour", "XC")
	if !taken || err != nil {
		t.Errorf("another lead's first project: taken %v, %v", taken, err)
	}
	squat, _, err := fed.Project(roster, "quay", "Quay", "COORD", "XC")
	must(err)
	taken, err = d.acceptProject(squat, "COORD")
	if taken || err != nil {
		t.Errorf("a project that this member never was in: taken %v, %v", taken, err)
	}
	taken, err = offer("quay", "XC")
	if !taken || err != nil {
		t.Errorf("its id is held against the member's own project: taken %v, %v", taken, err)
	}
}
