package server_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// followed reads a subscription until it is current (and, with until_current, has ended).
func followed(t testing.TB, conn *grpc.ClientConn, request *ententev1.SubscribeRequest) ([]*ententev1.StreamItem, []byte) {
	t.Helper()
	request.UntilCurrent = true
	call, err := ententev1.NewStreamServiceClient(conn).Subscribe(patient(t), request)
	if err != nil {
		t.Fatal(err)
	}
	var items []*ententev1.StreamItem
	var cursor []byte
	for {
		message, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return items, cursor
		}
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, message.GetItems()...)
		cursor = message.GetCursor()
	}
}

func everything() *ententev1.SubscribeRequest {
	return &ententev1.SubscribeRequest{Consultation: asking()}
}

func places(items []*ententev1.StreamItem) []string {
	var list []string
	for _, item := range items {
		kind := "release"
		if item.GetWithdrawal() != nil {
			kind = "withdrawal"
		}
		list = append(list, fmt.Sprintf("%s %s/%d", kind, hex.EncodeToString(item.GetEntry().GetStreamId()[:4]), item.GetEntry().GetSequence()))
	}
	return list
}

func TestASubscriptionResumesWithoutGapAndWithoutDuplicate(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	registry := n.system("registry")
	const persons = 1200 // more than two messages hold
	for i := range persons / 100 {
		var items []*ententev1.PushItem
		for j := range 100 {
			items = append(items, person(fmt.Sprintf("P-%d", i*100+j), toAll()))
		}
		pushAll(t, registry, items...)
	}
	pushAll(t, registry, person("named", toMembers("XB")), person("project", toProject("harbour")), person("home"))
	whole, _ := followed(t, registry, everything())
	if len(whole) != persons+2 {
		t.Fatalf("want %d items, got %d", persons+2, len(whole))
	}

	// Cut after each message, as if the connection had gone, and go on with its cursor.
	var pieces []*ententev1.StreamItem
	var cursor []byte
	for range 100 {
		request := everything()
		request.Cursor = cursor
		ctx, cancel := context.WithCancel(patient(t))
		call, err := ententev1.NewStreamServiceClient(registry).Subscribe(ctx, request)
		w.must(err)
		message, err := call.Recv()
		w.must(err)
		cancel()
		pieces = append(pieces, message.GetItems()...)
		cursor = message.GetCursor()
		if message.GetCurrent() {
			break
		}
	}
	if !slices.Equal(places(whole), places(pieces)) {
		t.Errorf("in pieces %d items, in one %d", len(pieces), len(whole))
	}
	record := &ententev1.ReleasedRecord{}
	w.must(proto.Unmarshal(whole[0].GetReleasedRecord(), record))
	if record.GetBody().GetPerson() == nil || string(record.GetRecordId()) != string(whole[0].GetRecordId()) {
		t.Errorf("the released bytes are not the record: %v", record)
	}
}

func TestASubscriptionIsLiveAndTellsOfWithdrawalsOfWhatItBrought(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	registry := n.system("registry")
	pushAll(t, registry, person("gone", toAll()), person("stays", toAll()))
	pushAll(t, registry, withdrawal("gone"))

	call, err := ententev1.NewStreamServiceClient(registry).Subscribe(patient(t), everything())
	w.must(err)
	first, err := call.Recv()
	w.must(err)
	if len(first.GetItems()) != 1 || first.GetItems()[0].GetWithdrawal() != nil || !first.GetCurrent() {
		t.Fatalf("what was withdrawn before is neither brought nor taken back; got %v", places(first.GetItems()))
	}
	pushAll(t, registry, person("new", toAll()))
	second, err := call.Recv()
	w.must(err)
	if len(second.GetItems()) != 1 || second.GetItems()[0].GetReleasedRecord() == nil {
		t.Fatalf("want the new release, got %v", places(second.GetItems()))
	}
	pushAll(t, registry, withdrawal("stays"))
	third, err := call.Recv()
	w.must(err)
	if len(third.GetItems()) != 1 || third.GetItems()[0].GetWithdrawal() == nil ||
		string(third.GetItems()[0].GetRecordId()) != string(first.GetItems()[0].GetRecordId()) {
		t.Fatalf("want the withdrawal of what came first, got %v", third.GetItems())
	}
	// The same withdrawal comes to whoever went on from a cursor before it.
	request := everything()
	request.Cursor = second.GetCursor()
	later, _ := followed(t, registry, request)
	if len(later) != 1 || later[0].GetWithdrawal() == nil {
		t.Errorf("from the cursor: %v", places(later))
	}
}

func TestASubscriptionIsFilteredByKindCrimeAreaAndProject(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	registry := n.system("registry")
	weapons := personRecord("weapons", 1)
	weapons.CrimeAreas = []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_WEAPONS}
	pushAll(t, registry, person("drugs", toAll()), item(weapons, toAll()), practice("practice", toAll()), person("project", toProject("harbour")))
	tests := []struct {
		name    string
		conn    *grpc.ClientConn
		request *ententev1.SubscribeRequest
		want    int
	}{
		{"everything", registry, &ententev1.SubscribeRequest{}, 4},
		{"persons", registry, &ententev1.SubscribeRequest{Kinds: []ententev1.RecordKind{1}}, 3},
		{"practices", registry, &ententev1.SubscribeRequest{Kinds: []ententev1.RecordKind{20}}, 1},
		{"weapons", registry, &ententev1.SubscribeRequest{CrimeAreas: []ententev1.CrimeArea{ententev1.CrimeArea_CRIME_AREA_WEAPONS}}, 1},
		{"the project", registry, &ententev1.SubscribeRequest{ProjectId: "harbour"}, 1},
		{"the project, for its team", n.system("team"), &ententev1.SubscribeRequest{ProjectId: "harbour"}, 1},
		{"the project, for its officer", n.officer("bob"), &ententev1.SubscribeRequest{ProjectId: "harbour"}, 1},
		{"a scope of persons asked for practices", registry, &ententev1.SubscribeRequest{
			Kinds: []ententev1.RecordKind{20}, Consultation: scoped(&ententev1.Scope{Kinds: []ententev1.RecordKind{1}}),
		}, 0},
		{"a scope of all members", registry, &ententev1.SubscribeRequest{Consultation: scoped(&ententev1.Scope{AllMembersOnly: true})}, 3},
		{"a scope of a project", registry, &ententev1.SubscribeRequest{Consultation: scoped(&ententev1.Scope{Projects: []string{"harbour"}})}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.request.GetConsultation() == nil {
				test.request.Consultation = asking()
			}
			items, _ := followed(t, test.conn, test.request)
			if len(items) != test.want {
				t.Errorf("want %d, got %v", test.want, places(items))
			}
		})
	}
}

func scoped(scope *ententev1.Scope) *ententev1.Consultation {
	c := asking()
	c.Scope = scope
	return c
}

func TestACursorIsGoodForItsCallerAndSubscriptionOnly(t *testing.T) {
	w := newWorld(t)
	n, other := w.start("XA"), w.start("XB")
	w.change(func() { w.grants.Systems["second"] = w.grants.Systems["registry"] })
	pushAll(t, n.system("registry"), person("P-1", toAll()))
	_, cursor := followed(t, n.system("registry"), everything())
	flipped := slices.Clone(cursor)
	flipped[len(flipped)-1] ^= 1
	tests := []struct {
		name    string
		conn    *grpc.ClientConn
		request *ententev1.SubscribeRequest
		want    codes.Code
	}{
		{"its own", n.system("registry"), &ententev1.SubscribeRequest{Cursor: cursor}, codes.OK},
		{"another system of the member", n.system("second"), &ententev1.SubscribeRequest{Cursor: cursor}, codes.InvalidArgument},
		{"an officer of the member", n.officer("ann"), &ententev1.SubscribeRequest{Cursor: cursor}, codes.InvalidArgument},
		{"a system of the same name at another member", other.system("registry"), &ententev1.SubscribeRequest{Cursor: cursor}, codes.InvalidArgument},
		{"a subscription to a project", n.system("registry"), &ententev1.SubscribeRequest{Cursor: cursor, ProjectId: "harbour"}, codes.InvalidArgument},
		{"a subscription to kinds", n.system("registry"), &ententev1.SubscribeRequest{Cursor: cursor, Kinds: []ententev1.RecordKind{1}}, codes.InvalidArgument},
		{"a subscription to crime areas", n.system("registry"), &ententev1.SubscribeRequest{Cursor: cursor, CrimeAreas: []ententev1.CrimeArea{1}}, codes.InvalidArgument},
		{"a flipped bit", n.system("registry"), &ententev1.SubscribeRequest{Cursor: flipped}, codes.InvalidArgument},
		{"something made up", n.system("registry"), &ententev1.SubscribeRequest{Cursor: []byte("0")}, codes.InvalidArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.request.Consultation, test.request.UntilCurrent = asking(), true
			call, err := ententev1.NewStreamServiceClient(test.conn).Subscribe(patient(t), test.request)
			w.must(err)
			_, err = call.Recv()
			wantCode(t, err, test.want)
		})
	}
}

func TestWhatIsNotGrantedAndWhatDoesNotExistAreTheSame(t *testing.T) {
	w := newWorld(t)
	n, outside := w.start("XA"), w.start("XC")
	pushAll(t, n.system("registry"), person("P-1", toProject("harbour")))
	tests := []struct {
		name    string
		conn    *grpc.ClientConn
		project string
	}{
		{"a project that does not exist", n.system("registry"), "nosuch"},
		{"a project that is not granted", n.system("customs"), "harbour"},
		{"everything, with one project granted", n.system("team"), ""},
		{"another project, with one granted", n.system("team"), "nosuch"},
		{"a project of other members", outside.system("registry"), "harbour"},
	}
	var told []string
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			call, err := ententev1.NewStreamServiceClient(test.conn).Subscribe(patient(t), &ententev1.SubscribeRequest{Consultation: asking(), ProjectId: test.project})
			w.must(err)
			_, err = call.Recv()
			wantCode(t, err, codes.NotFound)
			told = append(told, err.Error())
		})
	}
	if len(slices.Compact(told)) != 1 {
		t.Errorf("the answers differ: %q", told)
	}
}

func TestASubscriptionEndsWhenItsGrantEnds(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	call, err := ententev1.NewStreamServiceClient(n.system("team")).Subscribe(patient(t), &ententev1.SubscribeRequest{Consultation: asking(), ProjectId: "harbour"})
	w.must(err)
	_, err = call.Recv()
	w.must(err)
	w.change(func() { w.grants = defaultGrants(); delete(w.grants.Systems, "team") })
	pushAll(t, n.system("registry"), person("P-1", toProject("harbour")))
	_, err = call.Recv()
	wantCode(t, err, codes.NotFound)
}

func TestANodeMayNotSubscribe(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	call, err := ententev1.NewStreamServiceClient(n.dial(member.KindNode, "XB", "")).Subscribe(patient(t), everything())
	w.must(err)
	_, err = call.Recv()
	wantCode(t, err, codes.PermissionDenied)
}

// TestPermissionsAreNoMatterOfASubscription: that one was given and taken back is between owner and holder, and no record.
func TestPermissionsAreNoMatterOfASubscription(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	registry := n.system("registry")
	pushAll(t, registry, person("passed", toMembers("XB")))
	call, err := ententev1.NewStreamServiceClient(registry).Subscribe(patient(t), everything())
	w.must(err)
	first, err := call.Recv()
	w.must(err)
	if len(first.GetItems()) != 1 {
		t.Fatalf("want the record, got %v", places(first.GetItems()))
	}
	entries, err := n.ledger.Permit(t.Context(), "Police", "passed", ledger.Permit{
		Holder: "XB", Recipients: []member.ID{"XC"}, Export: true, Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: w.now().Add(time.Hour),
	})
	w.must(err)
	id, err := stream.ParseID(entries[0].GetStreamId())
	w.must(err)
	w.must(n.ledger.RevokePermission(t.Context(), "Police", id, entries[0].GetSequence()))
	pushAll(t, registry, withdrawal("passed"))
	for {
		next, err := call.Recv()
		w.must(err)
		for _, item := range next.GetItems() {
			if string(item.GetRecordId()) != string(first.GetItems()[0].GetRecordId()) {
				t.Fatalf("told of %v", item)
			}
			return // the withdrawal of the record, which came after
		}
	}
}
