package coordinator_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/client"
	"entente.example/entente/nodes/coordinator"
	"entente.example/entente/nodes/federation"
	"entente.example/entente/nodes/national"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

const purpose = ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION

// world is a federation of XA, XB, XC and COORD on real sockets and files, with a project of XA, XB and COORD.
type world struct {
	t     *testing.T
	fed   *federation.Federation
	chain []*ententev1.SignedDocument
	sites map[member.ID]*site
	// reload and fetch are the nodes' own rounds: far apart where zero, since most tests call Reload and Fetch themselves.
	reload, fetch time.Duration
	// tune changes what a node gets of the world around it, before it starts; nil: nothing.
	tune func(member.ID, *national.Deps)
}

// site is one member's place: what stays over restarts of its node.
type site struct {
	w        *world
	id       member.ID
	material national.Material
	docs     atomic.Pointer[national.Documents]
	reads    atomic.Int64                    // how often the documents were asked for
	lists    string                          // file of the revocation list
	shown    atomic.Pointer[tls.Certificate] // the certificate of the node
	sealing  atomic.Pointer[store.Keyring]   // as the configuration names it now
	listener net.Listener                    // for the first start
	stop     func()
	*national.Node
	merged *coordinator.Node // at the coordinator
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ids := []member.ID{"COORD", "XA", "XB", "XC"}
	fed, err := federation.Found(ids, []member.ID{"COORD"}, rand.Reader, time.Now, time.Hour)
	must(t, err)
	w := &world{t: t, fed: fed, sites: map[member.ID]*site{}}
	for _, id := range ids {
		w.sites[id] = w.newSite(id)
	}
	roster, err := fed.Roster()
	must(t, err)
	w.chain, _, err = fed.Project(roster, "harbour", "Harbour", "XA", "XB", "COORD")
	must(t, err)
	for _, s := range w.sites {
		docs := national.Documents{Roster: roster.Document(), Grants: &policy.Grants{
			Systems:  map[string]policy.System{"intake": {Authority: "Central Unit", Projects: []string{"*"}, Clearance: ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL}},
			Officers: map[string]policy.Officer{"o1": {Purposes: []ententev1.Purpose{purpose}, Projects: []string{"*"}, Clearance: ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL}},
		}}
		if s.id != "XC" {
			docs.Projects = [][]*ententev1.SignedDocument{w.chain}
		}
		s.docs.Store(&docs)
	}
	return w
}

func (w *world) newSite(id member.ID) *site {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.t, err)
	w.t.Cleanup(func() { listener.Close() })
	seat := w.fed.Seat(id)
	seat.Addresses = []string{listener.Addr().String()}
	certificate, err := w.fed.Certificate(member.Identity{Member: id, Kind: member.KindNode})
	must(w.t, err)
	folder := w.t.TempDir()
	s := &site{w: w, id: id, listener: listener, stop: func() {}, lists: filepath.Join(folder, "crl.pem")}
	s.shown.Store(certificate)
	s.material = national.Material{
		Member: id, Federation: w.fed.ID, Data: filepath.Join(folder, "node.db"), Marker: filepath.Join(folder, "node.marker"),
		Sealing: store.Keyring{Current: bytes.Repeat([]byte{7}, store.KeySize)}, IDKey: seat.IDKey, SigningKey: seat.Signing,
		Listen: listener.Addr().String(), Certificate: func() (*tls.Certificate, error) { return s.shown.Load(), nil },
		Documents: s.documents, SealingAgain: func() (store.Keyring, error) { return *s.sealing.Load(), nil },
	}
	must(w.t, national.CreateData(s.material, national.Deps{Now: time.Now, Rand: rand.Reader}))
	return s
}

// documents are those of the test, with the revocation list in its file.
func (s *site) documents() (national.Documents, error) {
	defer s.reads.Add(1)
	docs := *s.docs.Load()
	text, err := os.ReadFile(s.lists)
	if errors.Is(err, fs.ErrNotExist) {
		return docs, nil
	}
	if err != nil {
		return docs, err
	}
	list, err := member.DecodeRevocationList(text)
	docs.Revocations = [][]byte{list}
	return docs, err
}

// start runs the node of a member. Reload and Fetch are called by the tests, so the own rounds are far apart.
func (w *world) start(id member.ID) *site {
	w.t.Helper()
	s := w.sites[id]
	deps := national.Deps{Now: time.Now, Rand: rand.Reader, Version: "test", Listener: s.listener,
		ReloadEvery: cmp.Or(w.reload, time.Hour), FetchEvery: cmp.Or(w.fetch, time.Hour), ConfirmWithin: 100 * time.Millisecond}
	s.listener = nil
	if w.tune != nil {
		w.tune(id, &deps)
	}
	var err error
	if id == "COORD" {
		s.merged, err = coordinator.New(s.material, deps)
		must(w.t, err)
		s.Node = s.merged.Node
	} else {
		s.Node, err = national.New(s.material, deps)
		must(w.t, err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = func() {
		s.stop = func() {}
		cancel()
		err := <-ended
		if err != nil {
			w.t.Errorf("%s: %v", id, err)
		}
	}
	w.t.Cleanup(func() { s.stop() })
	return s
}

// kill stops a node so that the next start finds what a crash leaves: no marker.
func (s *site) kill() {
	s.stop()
	err := os.Remove(s.material.Marker)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.w.t.Fatal(err)
	}
}

// as is a client of the member's node.
func (s *site) as(kind member.Kind, name string) *client.Client {
	s.w.t.Helper()
	certificate, err := s.w.fed.Certificate(member.Identity{Member: s.id, Kind: kind, Name: name})
	must(s.w.t, err)
	c, err := client.Dial(client.Config{Address: s.material.Listen, Member: s.id, Authorities: s.w.fed.Seat(s.id).Authority.Pool(),
		Certificate: func() (*tls.Certificate, error) { return certificate, nil }})
	must(s.w.t, err)
	s.w.t.Cleanup(func() { c.Close() })
	return c
}

// push pushes persons through the public interface and wants them accepted.
func (s *site) push(items ...*ententev1.PushItem) {
	s.w.t.Helper()
	p := s.as(member.KindSystem, "intake").Push(s.w.t.Context(), client.PushOptions{}, func(_ any, v *ententev1.Verdict) {
		if v.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
			s.w.t.Errorf("%s: %s %v", v.GetProviderReference(), v.GetOutcome(), v.GetViolations())
		}
	})
	for _, item := range items {
		must(s.w.t, p.Send(item, nil))
	}
	must(s.w.t, p.Close())
}

// withdraw takes a record back through the public interface.
func (s *site) withdraw(reference string) {
	s.w.t.Helper()
	_, err := s.as(member.KindSystem, "intake").Withdraw(s.w.t.Context(), []string{reference}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_INACCURATE)
	must(s.w.t, err)
}

func person(reference, family string, audiences ...*ententev1.Audience) *ententev1.PushItem {
	record := &ententev1.Record{
		Envelope: &ententev1.Envelope{ProviderReference: reference, Version: 1, RecordedAt: timestamppb.New(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)),
			Purpose: purpose, Assertion: ententev1.AssertionKind_ASSERTION_KIND_FACT,
			Evaluation:  &ententev1.Evaluation{Scheme: ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4, SourceCode: "A", InformationCode: "1"},
			Handling:    &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{ententev1.HandlingCode_HANDLING_CODE_H0}},
			RetainUntil: timestamppb.New(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC))},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Names: []*ententev1.PersonName{{Type: ententev1.NameType_NAME_TYPE_PRIMARY, Family: family}}, Status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT}}},
	}
	return &ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: record}, Audiences: audiences}
}

func toAll() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{}}}
}

func toProject() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Project{Project: &ententev1.ProjectAudience{ProjectId: "harbour"}}}
}

func toMembers(members ...string) *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: members}}}
}

// awaitEntities waits until the coordinator's view of a reader has so many entities.
func (w *world) awaitEntities(reader member.ID, want int) {
	w.t.Helper()
	view := w.sites["COORD"].merged.View()
	w.await(view.Changed, func() bool { return len(view.For(reader, nil, network.Lens{}).Entities()) == want },
		func() string { return "entities in the view of " + string(reader) })
}

// await waits for a condition that can only become true after a change.
func (w *world) await(changed func() <-chan struct{}, holds func() bool, what func() string) {
	w.t.Helper()
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for {
		next := changed()
		if holds() {
			return
		}
		select {
		case <-next:
		case <-patience.C:
			w.t.Fatalf("waited in vain: %s", what())
		}
	}
}

// ownStreams are the streams of the node's member that carry releases.
func (s *site) ownStreams() []ledger.StreamInfo {
	var list []ledger.StreamInfo
	for _, info := range s.Ledger().Streams() {
		if info.Owner == s.id {
			list = append(list, info)
		}
	}
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
