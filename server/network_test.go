package server_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// alone is a resolver for which everybody is somebody else.
type alone struct{}

func (alone) Compact(_, _ [32]byte, _ ententev1.RecordKind, _ *ententev1.Body) any { return struct{}{} }
func (alone) Cluster(forms []any, _, _ [][2]int) [][]int {
	var groups [][]int
	for i := range forms {
		groups = append(groups, []int{i})
	}
	return groups
}
func (alone) Reasons([]any) []string { return nil }
func (alone) TablesHash() [32]byte   { return [32]byte{1} }

// released makes a network item: person number n of XA, for the given readers.
func released(t testing.TB, n int, readers ...member.ID) network.Item {
	t.Helper()
	id := [16]byte{byte(n >> 8), byte(n), 1}
	encoded, err := proto.Marshal(&ententev1.ReleasedRecord{
		RecordId: id[:],
		Envelope: &ententev1.ReleasedEnvelope{
			ProviderMember: "XA", RecordedAt: &timestamppb.Timestamp{Seconds: 1_790_000_000},
			Purpose: 3, Assertion: 1, RetainUntil: &timestamppb.Timestamp{Seconds: 1_940_000_000},
			Evaluation: &ententev1.Evaluation{Scheme: 1, SourceCode: "A", InformationCode: "1"},
			Handling:   &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{1}},
		},
		Body: &ententev1.Body{Kind: &ententev1.Body_Person{Person: &ententev1.Person{
			Status: 1, Names: []*ententev1.PersonName{{Family: fmt.Sprintf("Family %d", n)}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return network.Item{
		Stream: 1, Sequence: uint64(n) + 1, Owner: "XA", Record: id, Kind: ententev1.RecordKind_RECORD_KIND_PERSON,
		Released: encoded, PayloadHash: sha256.Sum256(encoded), AllMembers: true, Readers: append(readers, "XA"),
		RetainUntil: 1_940_000_000, Label: policy.LabelOf(encoded),
	}
}

// pages reads a whole view and gives its entities and how many pages it took.
func pages(t testing.TB, conn *grpc.ClientConn, size uint32) (entities []*ententev1.ViewEntity, count int) {
	t.Helper()
	return pagesAs(t, conn, "ann", size)
}

func pagesAs(t testing.TB, conn *grpc.ClientConn, officer string, size uint32) (entities []*ententev1.ViewEntity, count int) {
	t.Helper()
	request := &ententev1.GetViewRequest{Consultation: askingAs(officer), PageSize: size}
	for {
		page, err := ententev1.NewNetworkServiceClient(conn).GetView(patient(t), request)
		if err != nil {
			t.Fatal(err)
		}
		entities, count = append(entities, page.GetEntities()...), count+1
		request.PageToken = page.GetNextPageToken()
		if len(request.GetPageToken()) == 0 {
			return entities, count
		}
	}
}

func TestViewsArePagedAndEachMembersOwn(t *testing.T) {
	w := newWorld(t)
	held := network.New("COORD", alone{})
	for i := range 10 {
		held.Add(released(t, i, "COORD", "XB", "XC"))
	}
	held.Add(released(t, 10, "COORD", "XB"))
	n := w.start("COORD", func(c *server.Config) { c.View = held })
	for _, test := range []struct {
		conn *grpc.ClientConn
		want int
	}{{n.peer("XB"), 11}, {n.peer("XC"), 10}, {n.officer("ann"), 11}} {
		entities, count := pages(t, test.conn, 3)
		if len(entities) != test.want || count != 4 {
			t.Errorf("want %d entities on 4 pages, got %d on %d", test.want, len(entities), count)
		}
	}
	hidden := released(t, 10).Record
	_, err := ententev1.NewNetworkServiceClient(n.peer("XB")).GetEntity(patient(t), &ententev1.GetEntityRequest{Consultation: askingAs("ann"), Handle: hidden[:]})
	w.must(err)
	outside := ententev1.NewNetworkServiceClient(n.peer("XC"))
	_, forbidden := outside.GetEntity(patient(t), &ententev1.GetEntityRequest{Consultation: askingAs("ann"), Handle: hidden[:]})
	_, absent := outside.GetEntity(patient(t), &ententev1.GetEntityRequest{Consultation: askingAs("ann"), Handle: make([]byte, 16)})
	wantCode(t, forbidden, codes.NotFound)
	if forbidden.Error() != absent.Error() {
		t.Errorf("forbidden is %q, absent is %q", forbidden, absent)
	}
}

func TestAPageTokenIsGoodForItsReaderAndWhileItsViewIsKept(t *testing.T) {
	w := newWorld(t)
	held := network.New("COORD", alone{})
	for i := range 4 {
		held.Add(released(t, i, "COORD", "XB", "XC"))
	}
	n := w.start("COORD", func(c *server.Config) { c.View = held })
	client := ententev1.NewNetworkServiceClient(n.peer("XB"))
	first, err := client.GetView(patient(t), &ententev1.GetViewRequest{Consultation: askingAs("ann"), PageSize: 2})
	w.must(err)
	next := &ententev1.GetViewRequest{Consultation: askingAs("ann"), PageSize: 2, PageToken: first.GetNextPageToken()}
	_, err = ententev1.NewNetworkServiceClient(n.peer("XC")).GetView(patient(t), next)
	wantCode(t, err, codes.InvalidArgument)

	held.Add(released(t, 4, "COORD", "XB", "XC"))
	second, err := client.GetView(patient(t), next) // of the view that was begun
	w.must(err)
	if string(second.GetView().GetHash()) != string(first.GetView().GetHash()) || len(second.GetEntities()) != 2 {
		t.Errorf("the second page is of another view")
	}
	for i := 5; i < 12; i++ { // more views than are kept
		held.Add(released(t, i, "COORD", "XB", "XC"))
		_, err = client.GetView(patient(t), &ententev1.GetViewRequest{Consultation: askingAs("ann"), PageSize: 2})
		w.must(err)
	}
	_, err = client.GetView(patient(t), next)
	wantCode(t, err, codes.FailedPrecondition)
}

func TestWatchTellsWhatChangesInTheReadersViewAndNothingElse(t *testing.T) {
	w := newWorld(t)
	held := network.New("COORD", alone{})
	held.Add(released(t, 1, "COORD", "XB", "XC"))
	n := w.start("COORD", func(c *server.Config) { c.View, c.Limits.WatchInterval = held, time.Millisecond })
	watch, err := ententev1.NewNetworkServiceClient(n.peer("XC")).Watch(patient(t), &ententev1.WatchRequest{Consultation: askingAs("ann")})
	w.must(err)
	state, err := watch.Recv()
	w.must(err)
	if state.GetView().GetEntityCount() != 1 || len(state.GetChangedEntities()) != 0 {
		t.Errorf("first: %v", state)
	}
	held.Add(released(t, 2, "COORD", "XB")) // not for XC
	held.Add(released(t, 3, "COORD", "XC"))
	change, err := watch.Recv()
	w.must(err)
	if len(change.GetChangedEntities()) != 1 || change.GetView().GetEntityCount() != 2 {
		t.Errorf("change: %v", change)
	}
	held.Withdraw(1, 4) // sequence of number 3
	change, err = watch.Recv()
	w.must(err)
	if len(change.GetGoneEntityIds()) != 1 {
		t.Errorf("withdrawal: %v", change)
	}
}

// caller reaches the coordinator's node as the node of one member.
type caller struct{ conn *grpc.ClientConn }

func (c caller) Network(context.Context) (ententev1.NetworkServiceClient, error) {
	return ententev1.NewNetworkServiceClient(c.conn), nil
}

func TestAMembersNodeForwardsItsOfficersQuestionsWithinTheirGrants(t *testing.T) {
	w := newWorld(t)
	held := network.New("COORD", alone{})
	held.Add(released(t, 1, "COORD", "XB", "XC"))
	project := released(t, 2, "COORD", "XB")
	project.AllMembers, project.Project, project.Stream = false, "harbour", 2
	held.Add(project)
	coordinator := w.start("COORD", func(c *server.Config) { c.View, c.Limits.WatchInterval = held, time.Millisecond })
	n := w.start("XB", func(c *server.Config) { c.Coordinator = caller{coordinator.peer("XB")} })

	ann, _ := pages(t, n.officer("ann"), 1)
	bob, _ := pagesAs(t, n.officer("bob"), "bob", 1)
	if len(ann) != 2 || len(bob) != 1 {
		t.Errorf("ann sees %d, bob (of one project) %d", len(ann), len(bob))
	}
	_, err := ententev1.NewNetworkServiceClient(n.officer("zoe")).GetView(patient(t), &ententev1.GetViewRequest{Consultation: askingAs("ann")})
	wantCode(t, err, codes.PermissionDenied)
	_, err = ententev1.NewNetworkServiceClient(n.peer("XC")).GetView(patient(t), &ententev1.GetViewRequest{Consultation: askingAs("ann")})
	wantCode(t, err, codes.PermissionDenied)
	client := ententev1.NewNetworkServiceClient(n.officer("ann"))
	_, err = client.GetEntity(patient(t), &ententev1.GetEntityRequest{Consultation: askingAs("ann"), Handle: make([]byte, 16)})
	wantCode(t, err, codes.NotFound)
	watch, err := client.Watch(patient(t), &ententev1.WatchRequest{Consultation: askingAs("ann")})
	w.must(err)
	_, err = watch.Recv()
	w.must(err)
	held.Add(released(t, 3, "COORD", "XB"))
	change, err := watch.Recv()
	w.must(err)
	if len(change.GetChangedEntities()) != 1 {
		t.Errorf("watched: %v", change)
	}
	coordinator.stop()
	_, err = client.GetView(patient(t), &ententev1.GetViewRequest{Consultation: askingAs("ann")})
	wantCode(t, err, codes.Unavailable)
}

func TestAPageTokenBringsNothingBackThatWasWithdrawn(t *testing.T) {
	w := newWorld(t)
	held := network.New("COORD", alone{})
	for i := range 4 {
		held.Add(released(t, i, "COORD", "XB", "XC"))
	}
	held.Add(released(t, 4, "COORD", "XC"))
	n := w.start("COORD", func(c *server.Config) { c.View = held })
	client := ententev1.NewNetworkServiceClient(n.peer("XB"))
	first, err := client.GetView(patient(t), &ententev1.GetViewRequest{Consultation: askingAs("ann"), PageSize: 1})
	w.must(err)
	next := &ententev1.GetViewRequest{Consultation: askingAs("ann"), PageSize: 10, PageToken: first.GetNextPageToken()}

	held.Withdraw(1, 5) // nothing that XB saw
	_, err = client.GetView(patient(t), next)
	w.must(err)
	held.Withdraw(1, 4)
	_, err = client.GetView(patient(t), next)
	wantCode(t, err, codes.FailedPrecondition)
}

func TestAPageTokenIsGoodForItsScopeOnly(t *testing.T) {
	w := newWorld(t)
	held := network.New("COORD", alone{})
	for i := range 4 {
		held.Add(released(t, i, "COORD", "XB"))
	}
	n := w.start("COORD", func(c *server.Config) { c.View = held })
	client := ententev1.NewNetworkServiceClient(n.peer("XB"))
	first, err := client.GetView(patient(t), &ententev1.GetViewRequest{Consultation: askingAs("ann"), PageSize: 1})
	w.must(err)
	narrowed := askingAs("ann")
	narrowed.Scope = &ententev1.Scope{Projects: []string{"harbour"}}
	_, err = client.GetView(patient(t), &ententev1.GetViewRequest{Consultation: narrowed, PageToken: first.GetNextPageToken()})
	wantCode(t, err, codes.InvalidArgument)
}

func TestAForwardedWatchEndsWhenItsGrantsAreNarrowed(t *testing.T) {
	w := newWorld(t)
	held := network.New("COORD", alone{})
	coordinator := w.start("COORD", func(c *server.Config) { c.View, c.Limits.WatchInterval = held, time.Millisecond })
	n := w.start("XB", func(c *server.Config) { c.Coordinator = caller{coordinator.peer("XB")} })
	watch, err := ententev1.NewNetworkServiceClient(n.officer("ann")).Watch(patient(t), &ententev1.WatchRequest{Consultation: askingAs("ann")})
	w.must(err)
	_, err = watch.Recv()
	w.must(err)
	narrowed := defaultGrants()
	narrowed.Officers["ann"] = narrowed.Officers["bob"]
	w.change(func() { w.grants = narrowed })
	held.Add(released(t, 3, "COORD", "XB")) // in no project: ann may not see it any more
	_, err = watch.Recv()
	wantCode(t, err, codes.Aborted)
}
