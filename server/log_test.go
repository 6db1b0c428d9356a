package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

// canary stands in every text that a caller can send, and in an officer's certificate. No log may hold it.
const canary = "Kanarie-Zz9"

// logged is a log that a test reads, also while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// canaryForms are the forms in which a log could hold it.
func canaryForms() []string {
	raw := []byte(canary)
	numbers := strings.Trim(fmt.Sprint(raw), "[]")
	return []string{strings.ToLower(canary), hex.EncodeToString(raw), strings.ToLower(base64.StdEncoding.EncodeToString(raw[:6])), numbers}
}

func leaks(log string) (string, bool) {
	log = strings.ToLower(log)
	for _, form := range canaryForms() {
		at := strings.Index(log, form)
		if at >= 0 {
			return log[max(0, at-200):min(len(log), at+50)], true
		}
	}
	return "", false
}

// fill puts the canary into every text and every bytes of a message.
func fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.IsMap() || depth > 6 {
			continue
		}
		var value protoreflect.Value
		switch field.Kind() {
		case protoreflect.StringKind:
			value = protoreflect.ValueOfString(canary)
		case protoreflect.BytesKind:
			value = protoreflect.ValueOfBytes([]byte(canary + "1234")[:min(16, len(canary)+4)])
		case protoreflect.MessageKind:
			if field.IsList() {
				fill(m.Mutable(field).List().AppendMutable().Message(), depth+1)
			} else {
				fill(m.Mutable(field).Message(), depth+1)
			}
			continue
		case protoreflect.EnumKind:
			value = protoreflect.ValueOfEnum(1)
		default:
			continue
		}
		if field.IsList() {
			m.Mutable(field).List().Append(value)
			continue
		}
		m.Set(field, value)
	}
}

// filledCall makes a call of a method with a filled message and gives how it ends.
func filledCall(t *testing.T, conn *grpc.ClientConn, method string) error {
	t.Helper()
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		t.Fatal(err)
	}
	described := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name))
	request := dynamicpb.NewMessage(described.Input())
	fill(request, 0)
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	call, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	err = call.SendMsg(request)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	err = call.CloseSend()
	if err != nil {
		return err
	}
	return call.RecvMsg(dynamicpb.NewMessage(described.Output()))
}

func TestNoTextOfACallerReachesTheLog(t *testing.T) {
	w := newWorld(t)
	w.change(func() { w.grants.Officers[canary] = w.grants.Officers["ann"] })
	log := &logged{}
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n := w.startAgain("XA", func(*store.Options) {}, logger, func(c *server.Config) { c.View = network.New("XA", alone{}) })
	conns := map[member.Identity]*grpc.ClientConn{}
	for _, id := range []member.Identity{
		{Member: "XA", Kind: member.KindSystem, Name: "registry"}, {Member: "XA", Kind: member.KindOfficer, Name: canary},
		{Member: "XA", Kind: member.KindAuditor, Name: canary}, {Member: "XA", Kind: member.KindOperator, Name: canary},
		{Member: "XB", Kind: member.KindNode},
	} {
		conns[id] = n.dial(id.Kind, id.Member, id.Name)
	}
	calls := 0
	for _, method := range policy.Methods() {
		for id, conn := range conns {
			err := filledCall(t, conn, method)
			closed := status.Code(err) == codes.PermissionDenied && strings.Contains(err.Error(), "closed")
			if policy.Allowed(method, id, "XA") && closed {
				t.Errorf("%s by %s: %v", method, id, err)
			}
			calls++
		}
	}
	soundCalls(t, n, conns[member.Identity{Member: "XA", Kind: member.KindOfficer, Name: canary}])
	n.stop()
	found, leaked := leaks(log.String())
	if leaked {
		t.Errorf("the log holds what a caller sent: …%s…", found)
	}
	lines := strings.Count(log.String(), "\n")
	if lines < calls/6 || !strings.Contains(log.String(), "/entente.v1.IntakeService/Push") {
		t.Errorf("%d calls left %d lines: that is not the log of these calls", calls, lines)
	}
	logger.Info("control", "text", canary)
	_, leaked = leaks(log.String())
	if !leaked {
		t.Error("the check does not find the canary where it is")
	}
}

// soundCalls are calls that pass every check, so that the services themselves get the texts.
func soundCalls(t *testing.T, n *node, officer *grpc.ClientConn) {
	t.Helper()
	registry := n.system("registry")
	asked := asking()
	asked.CaseReference, asked.Officer = canary, canary
	record := personRecord(canary, 1)
	record.GetBody().GetPerson().Names[0].Family = canary
	record.GetBody().GetPerson().Notes = canary
	bad := proto.CloneOf(record)
	bad.Envelope.Evaluation.SourceCode = canary
	push(t, registry, item(record, toAll()), item(bad, toAll()), item(record, toProject(canary)), withdrawal(canary+"-2"), practice(canary+"-p", toAll()))
	intake := ententev1.NewIntakeServiceClient(registry)
	_, err := intake.Get(patient(t), &ententev1.GetRequest{Consultation: asked, ProviderReference: canary})
	n.w.must(err)
	_, err = intake.Release(patient(t), &ententev1.ReleaseRequest{ProviderReferences: []string{canary}, Audiences: []*ententev1.Audience{toMembers("XB")}})
	n.w.must(err)
	_, err = ententev1.NewLibraryServiceClient(officer).List(patient(t), &ententev1.LibraryServiceListRequest{Consultation: asked})
	n.w.must(err)
	_, err = ententev1.NewNetworkServiceClient(officer).GetView(patient(t), &ententev1.GetViewRequest{Consultation: asked})
	n.w.must(err)
	_, _, _, err = pullOnce(t, n.peer("XB"))
	n.w.must(err)
	_, err = intake.Withdraw(patient(t), &ententev1.WithdrawRequest{ProviderReferences: []string{canary}, Reason: ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION})
	n.w.must(err)
}
