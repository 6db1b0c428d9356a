package server_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/health/grpc_health_v1" // its service is one of those that are walked
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
)

// allMethods are the methods of all services of the contract, and of health, from their descriptors.
func allMethods() []string {
	var list []string
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		if file.Package() != "entente.v1" && file.Package() != "grpc.health.v1" {
			return true
		}
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				list = append(list, fmt.Sprintf("/%s/%s", service.FullName(), service.Methods().Get(j).Name()))
			}
		}
		return true
	})
	slices.Sort(list)
	return list
}

// What a caller is told that may not call, word by word.
const (
	toldClosed    = "PermissionDenied: this method is closed to this kind of identity"
	toldNotMember = "PermissionDenied: the caller's member is not in the roster, or is suspended"
	toldLeft      = "FailedPrecondition: the own member has left the federation: what others released to it is closed"
	toldStale     = "Unavailable: the roster of the called node has expired"
	toldNothing   = "" // the call goes through
)

// gateTold is what a call says that did not get through; toldNothing for everything that a method itself answers.
func gateTold(err error) string {
	s := status.Convert(err)
	told := s.Code().String() + ": " + s.Message()
	if slices.Contains([]string{toldClosed, toldNotMember, toldLeft, toldStale}, told) {
		return told
	}
	return toldNothing
}

// standing is how members of the federation stand to it at the node of XA.
type standing struct {
	name   string
	change func(w *world)
	// wants is what callers are told that may call the method by the table.
	wants func(method string, who member.Identity) string
}

func standingsOfMembers() []standing {
	everyone := func(string, member.Identity) string { return toldNothing }
	receiptsOnly := func(method string, who member.Identity) string {
		if who.Member != "XC" || method == ententev1.ExchangeService_SubmitReceipts_FullMethodName {
			return toldNothing
		}
		return toldNotMember
	}
	return []standing{
		{"all are in good standing", func(*world) {}, everyone},
		{"XC has left, and hands over receipts", func(w *world) {
			w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, "XC", "XC")
		}, receiptsOnly},
		{"XC is suspended", func(w *world) {
			w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_SUSPENSION, "XC", "XA", "XB", "COORD")
		}, func(_ string, who member.Identity) string {
			if who.Member == "XC" {
				return toldNotMember
			}
			return toldNothing
		}},
		{"the own member has left", func(w *world) {
			w.leaveFederation(ententev1.RosterChangeKind_ROSTER_CHANGE_KIND_DEPARTURE, "XA", "XA")
		}, func(method string, who member.Identity) string {
			if who.Member == "XA" && !policy.AfterLeaving(method) {
				return toldLeft
			}
			return toldNothing
		}},
		{"the roster has expired", func(w *world) {
			w.late = w.dir.Roster.ExpiresAt().Sub(w.now()) + 1e9
		}, nil}, // certificates end with it: only that nobody of another member gets through
	}
}

func callersOfXA() []member.Identity {
	return []member.Identity{
		{Member: "XA", Kind: member.KindSystem, Name: "registry"}, {Member: "XA", Kind: member.KindSystem, Name: "unknown"},
		{Member: "XA", Kind: member.KindOfficer, Name: "ann"}, {Member: "XA", Kind: member.KindAuditor, Name: "aud"},
		{Member: "XA", Kind: member.KindOperator, Name: "op"}, {Member: "XA", Kind: member.KindNode},
		{Member: "XB", Kind: member.KindNode}, {Member: "XC", Kind: member.KindNode}, {Member: "COORD", Kind: member.KindNode},
	}
}

func TestEachIdentityGetsThroughToWhatTheTableSaysAndReadsTheSameWordsElse(t *testing.T) {
	methods := allMethods()
	for _, s := range standingsOfMembers() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := w.start("XA", func(c *server.Config) { c.View = network.New("XA", alone{}) })
			conns := map[member.Identity]*grpc.ClientConn{}
			for _, who := range callersOfXA() { // connections of before the change: a new one would end in the handshake
				conns[who] = n.dial(who.Kind, who.Member, who.Name)
				anyCall(t, conns[who], "/grpc.health.v1.Health/Check")
			}
			s.change(w)
			var all sync.WaitGroup
			for who, conn := range conns {
				all.Go(func() { gates(t, s, who, conn, methods) })
			}
			all.Wait()
		})
	}
}

// gates holds all methods against the table for one caller.
func gates(t *testing.T, s standing, who member.Identity, conn *grpc.ClientConn, methods []string) {
	for _, method := range methods {
		err := anyCall(t, conn, method)
		got := gateTold(err)
		switch {
		case !policy.Allowed(method, who, "XA"):
			if got != toldClosed {
				t.Errorf("%s by %s: %v, want %q", method, who, err, toldClosed)
			}
		case s.wants == nil:
			if status.Code(err) == codes.OK || who.Member != "XA" && got != toldStale {
				t.Errorf("%s by %s with an expired roster: %v", method, who, err)
			}
		default:
			if want := s.wants(method, who); got != want {
				t.Errorf("%s by %s: %v, want %q", method, who, err, want)
			}
		}
	}
}

func TestTheTableAndTheContractNameTheSameMethods(t *testing.T) {
	named := policy.Methods()
	slices.Sort(named)
	if got := allMethods(); !slices.Equal(got, named) {
		t.Errorf("in the contract %v, in the table %v", got, named)
	}
}
