package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"entente.example/entente/nodes/federation"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
)

// anyCall makes a call of a method with an empty message and gives how it ends; nil where the first answer came.
func anyCall(t testing.TB, conn *grpc.ClientConn, method string) error {
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	call, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	err = call.SendMsg(&ententev1.GetRosterRequest{}) // no field: an empty message of any type
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	err = call.CloseSend()
	if err != nil {
		return err
	}
	err = call.RecvMsg(&ententev1.GetRosterResponse{})
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func TestEveryMethodIsClosedToEveryIdentityThatTheTableDoesNotName(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", func(c *server.Config) { c.View = network.New("XA", alone{}) })
	callers := []member.Identity{
		{Member: "XA", Kind: member.KindSystem, Name: "registry"}, {Member: "XA", Kind: member.KindOfficer, Name: "ann"},
		{Member: "XA", Kind: member.KindAuditor, Name: "aud"}, {Member: "XA", Kind: member.KindOperator, Name: "op"},
		{Member: "XA", Kind: member.KindNode}, {Member: "XB", Kind: member.KindNode},
	}
	closed, open := 0, 0
	for _, caller := range callers {
		conn := n.dial(caller.Kind, caller.Member, caller.Name)
		for _, method := range policy.Methods() {
			err := anyCall(t, conn, method)
			refused := status.Code(err) == codes.PermissionDenied
			if refused == policy.Allowed(method, caller, "XA") {
				t.Errorf("%s by %s: %v", method, caller, err)
			}
			if refused {
				closed++
			} else {
				open++
			}
		}
	}
	if closed < 80 || open < 30 {
		t.Errorf("%d closed and %d open do not look like the table", closed, open)
	}
}

func TestForeignAndExpiredCertificatesDoNotGetThrough(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	stranger, err := federation.Found([]member.ID{"XA", "XB"}, nil, w.fedRand(), time.Now, time.Hour)
	w.must(err)
	old, err := federation.Found([]member.ID{"XA", "XB"}, nil, w.fedRand(), func() time.Time { return time.Now().Add(-48 * time.Hour) }, time.Hour)
	w.must(err)
	node, system := member.Identity{Member: "XB", Kind: member.KindNode}, member.Identity{Member: "XA", Kind: member.KindSystem, Name: "registry"}
	tests := []struct {
		name  string
		from  *federation.Federation
		ident member.Identity
	}{
		{"a node of an authority that is not in the roster", stranger, node},
		{"a system of an authority that is not in the roster", stranger, system},
		{"an expired certificate", old, system},
		{"a system of another member", w.fed, member.Identity{Member: "XB", Kind: member.KindSystem, Name: "registry"}},
		{"an officer of another member", w.fed, member.Identity{Member: "XB", Kind: member.KindOfficer, Name: "ann"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			certificate, err := test.from.Certificate(test.ident)
			w.must(err)
			config := member.OwnClientTLS(fixed(certificate), w.fed.Seat("XA").Authority.Pool(), "XA")
			wantCode(t, callOver(t, n, config), codes.Unavailable)
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		none := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
		wantCode(t, callOver(t, n, none), codes.Unavailable)
	})
}

func (w *world) fedRand() io.Reader { return seededReader{} }

// seededReader is a stream of bytes that are good enough for keys of a test.
type seededReader struct{}

func (seededReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(time.Now().UnixNano() >> (i % 8))
	}
	return len(p), nil
}

func callOver(t testing.TB, n *node, config *tls.Config) error {
	conn, err := grpc.NewClient("passthrough:///"+n.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(patient(t), &grpc_health_v1.HealthCheckRequest{})
	return err
}

func TestAnOpenPullIsCutWhenTheRosterNoLongerVouchesForItsCaller(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	peer := n.peer("XB")
	p := newPuller(t, w, "XB", "XA")
	call, err := ententev1.NewExchangeServiceClient(peer).Pull(patient(t), p.request())
	w.must(err)
	message, err := call.Recv()
	w.must(err)
	p.take(message)

	// A roster in which XB's authority is another one: the connection made under the old one no longer counts.
	fresh, err := member.NewAuthority("XB", w.fedRand(), time.Now(), time.Hour)
	w.must(err)
	w.fed.Seat("XB").Authority = fresh
	roster, err := w.fed.Roster()
	w.must(err)
	w.change(func() { w.dir = &ledger.Directory{Roster: roster, Projects: w.dir.Projects} })
	n.DirectoryChanged()
	_, err = call.Recv()
	wantCode(t, err, codes.PermissionDenied)
	_, err = ententev1.NewExchangeServiceClient(peer).Heads(patient(t), &ententev1.HeadsRequest{})
	wantCode(t, err, codes.PermissionDenied)
}

func TestAnOwnSystemOfAReplacedAuthorityIsCutToo(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	system := n.system("registry")
	call, err := ententev1.NewStreamServiceClient(system).Subscribe(patient(t), everything())
	w.must(err)
	_, err = call.Recv()
	w.must(err)

	fresh, err := member.NewAuthority("XA", w.fedRand(), time.Now(), time.Hour)
	w.must(err)
	w.fed.Seat("XA").Authority = fresh
	roster, err := w.fed.Roster()
	w.must(err)
	w.change(func() { w.dir = &ledger.Directory{Roster: roster, Projects: w.dir.Projects} })
	n.DirectoryChanged()
	_, err = call.Recv()
	wantCode(t, err, codes.PermissionDenied)
}

func TestWithAnExpiredRosterOtherMembersWait(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	peer, operator := n.peer("XB"), n.dial(member.KindOperator, "XA", "op")
	_, err := ententev1.NewExchangeServiceClient(peer).Heads(patient(t), &ententev1.HeadsRequest{})
	w.must(err)
	_, err = ententev1.NewAdminServiceClient(operator).GetStatus(patient(t), &ententev1.GetStatusRequest{})
	w.must(err)
	w.change(func() { w.late = time.Until(w.dir.Roster.ExpiresAt()) - time.Minute })
	_, err = ententev1.NewExchangeServiceClient(peer).Heads(patient(t), &ententev1.HeadsRequest{})
	w.must(err)
	w.change(func() { w.late += 2 * time.Minute })
	_, err = ententev1.NewExchangeServiceClient(peer).Heads(patient(t), &ententev1.HeadsRequest{})
	wantCode(t, err, codes.Unavailable)
	w.change(func() { w.late = 0 })
	_, err = ententev1.NewAdminServiceClient(operator).GetStatus(patient(t), &ententev1.GetStatusRequest{})
	w.must(err)
}

func TestTheServerStopsAtOnceWithOpenStreams(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pull, err := ententev1.NewExchangeServiceClient(n.peer("XB")).Pull(patient(t), newPuller(t, w, "XB", "XA").request())
	w.must(err)
	_, err = pull.Recv()
	w.must(err)
	subscription, err := ententev1.NewStreamServiceClient(n.system("registry")).Subscribe(patient(t), everything())
	w.must(err)
	_, err = subscription.Recv()
	w.must(err)
	push, err := ententev1.NewIntakeServiceClient(n.system("registry")).Push(patient(t))
	w.must(err)
	w.must(push.Send(&ententev1.PushRequest{Items: []*ententev1.PushItem{person("P-1")}}))
	_, err = push.Recv()
	w.must(err)

	began := time.Now()
	n.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	for err == nil {
		_, err = pull.Recv()
	}
	wantCode(t, err, codes.Unavailable)
	_, err = subscription.Recv()
	wantCode(t, err, codes.Unavailable)
	_, err = push.Recv()
	wantCode(t, err, codes.Unavailable)
}

func TestANodeWithoutNetworkSaysUnimplemented(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	_, err := ententev1.NewNetworkServiceClient(n.officer("ann")).GetView(patient(t), &ententev1.GetViewRequest{Consultation: asking()})
	wantCode(t, err, codes.Unimplemented)
}

func TestHealthAndStatus(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", func(c *server.Config) {
		c.Peers = func() []*ententev1.PeerStatus { return []*ententev1.PeerStatus{{Member: "XB", Connected: true}} }
	})
	pushAll(t, n.system("registry"), person("P-1", toMembers("XB")))
	health, err := grpc_health_v1.NewHealthClient(n.peer("XC")).Check(patient(t), &grpc_health_v1.HealthCheckRequest{})
	w.must(err)
	if health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health is %s", health.GetStatus())
	}
	state, err := ententev1.NewAdminServiceClient(n.dial(member.KindOperator, "XA", "op")).GetStatus(patient(t), &ententev1.GetStatusRequest{})
	w.must(err)
	got := fmt.Sprintln(state.GetMember(), state.GetVersion(), state.GetRosterNumber(), state.GetRecords(), len(state.GetStreams()), len(state.GetPeers()))
	if got != "XA test 1 1 1 1\n" {
		t.Errorf("status: %s", got)
	}
	if reader := state.GetStreams()[0].GetReaders(); len(reader) != 1 || reader[0].GetMember() != "XB" {
		t.Errorf("readers: %v", reader)
	}
}

func TestRosterAndProjectDocumentsGoToWhomTheyConcern(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	for _, id := range []member.ID{"XB", "XC"} {
		client := ententev1.NewRosterServiceClient(n.peer(id))
		roster, err := client.GetRoster(patient(t), &ententev1.GetRosterRequest{})
		w.must(err)
		verified, err := member.VerifyRoster(roster.GetRoster(), w.fed.ID, nil, time.Now())
		w.must(err)
		if verified.Number() != 1 {
			t.Errorf("roster %d", verified.Number())
		}
	}
	documents, err := ententev1.NewRosterServiceClient(n.peer("XB")).ListProjectDocuments(patient(t), &ententev1.ListProjectDocumentsRequest{})
	w.must(err)
	if len(documents.GetDocuments()) != 1 {
		t.Errorf("a participant gets %d documents", len(documents.GetDocuments()))
	}
	outside := ententev1.NewRosterServiceClient(n.peer("XC"))
	documents, err = outside.ListProjectDocuments(patient(t), &ententev1.ListProjectDocumentsRequest{})
	w.must(err)
	if len(documents.GetDocuments()) != 0 {
		t.Errorf("another member gets %d documents", len(documents.GetDocuments()))
	}
	_, hidden := outside.ListProjectDocuments(patient(t), &ententev1.ListProjectDocumentsRequest{ProjectId: "harbour"})
	_, absent := outside.ListProjectDocuments(patient(t), &ententev1.ListProjectDocumentsRequest{ProjectId: "nosuch"})
	wantCode(t, hidden, codes.NotFound)
	if hidden.Error() != absent.Error() {
		t.Errorf("hidden is %q, absent is %q", hidden, absent)
	}
}

func TestLibrary(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	pushAll(t, n.system("registry"), practice("one", toAll()), practice("two", toAll()), practice("three", toAll()),
		practice("project", toProject("harbour")), person("nobody", toAll()))
	client := ententev1.NewLibraryServiceClient(n.officer("ann"))
	var titles []string
	request := &ententev1.LibraryServiceListRequest{Consultation: asking(), PageSize: 2}
	for {
		page, err := client.List(patient(t), request)
		w.must(err)
		for _, entry := range page.GetItems() {
			titles = append(titles, entry.GetRecord().GetBody().GetGoodPractice().GetContext().GetTitle())
		}
		request.PageToken = page.GetNextPageToken()
		if len(request.GetPageToken()) == 0 {
			break
		}
	}
	if got := strings.Join(titles, ", "); got != "Practice project, Practice three, Practice two, Practice one" {
		t.Errorf("listed %s", got)
	}
	page, err := client.List(patient(t), &ententev1.LibraryServiceListRequest{Consultation: asking()})
	w.must(err)
	one := page.GetItems()[0]
	got, err := client.Get(patient(t), &ententev1.LibraryServiceGetRequest{Consultation: asking(), RecordId: one.GetRecord().GetRecordId()})
	w.must(err)
	if got.GetItem().GetOwner() != "XA" {
		t.Errorf("got %v", got)
	}
	_, err = client.Get(patient(t), &ententev1.LibraryServiceGetRequest{Consultation: asking(), RecordId: make([]byte, 16)})
	wantCode(t, err, codes.NotFound)
	_, err = client.Get(patient(t), &ententev1.LibraryServiceGetRequest{Consultation: asking(), Owner: "XQ", RecordId: one.GetRecord().GetRecordId()})
	wantCode(t, err, codes.NotFound)
	_, err = client.List(patient(t), &ententev1.LibraryServiceListRequest{Consultation: asking(), Kinds: []ententev1.RecordKind{1}})
	wantCode(t, err, codes.InvalidArgument)
	other := asking()
	other.Purpose = ententev1.Purpose_PURPOSE_BORDER_CONTROL
	_, err = client.List(patient(t), &ententev1.LibraryServiceListRequest{Consultation: other})
	wantCode(t, err, codes.PermissionDenied)
}

func TestConnectionsOverTheCapOfAPeerAreClosed(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA", func(c *server.Config) { c.Limits.MaxConnectionsPerPeer = 2 })
	var kept []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", n.address)
		w.must(err)
		defer conn.Close()
		kept = append(kept, conn)
	}
	over, err := net.Dial("tcp", n.address)
	w.must(err)
	defer over.Close()
	w.must(over.SetReadDeadline(time.Now().Add(10 * time.Second)))
	_, err = over.Read(make([]byte, 1))
	var slow net.Error
	if err == nil || errors.As(err, &slow) && slow.Timeout() {
		t.Fatalf("the third connection is open: %v", err)
	}
	for _, conn := range kept {
		conn.Close()
	}
}

func TestAServerWithoutConfigurationIsNotMade(t *testing.T) {
	w := newWorld(t)
	n := w.start("XA")
	tests := []struct {
		name   string
		change func(*server.Config)
	}{
		{"no member", func(c *server.Config) { c.Self = "" }},
		{"no TLS", func(c *server.Config) { c.TLS = nil }},
		{"a short cursor key", func(c *server.Config) { c.CursorKey = c.CursorKey[:16] }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := server.Config{Self: "XA", Ledger: n.ledger, Directory: w.directory, Grants: w.granted, TLS: &tls.Config{MinVersion: tls.VersionTLS13},
				Now: w.now, Rand: w.fedRand(), Logger: discard(), CursorKey: make([]byte, 32)}
			test.change(&cfg)
			_, err := server.New(cfg)
			if err == nil {
				t.Error("it was made")
			}
		})
	}
}
