package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

// trailed is a world in which every method can be called with success.
type trailed struct {
	*half
	count int
}

// carrier stands in for the importer of a node: what XB has for XA comes with each file.
type carrier struct{ h *half }

func (c carrier) Import(ctx context.Context, _ bool, next func() (*ententev1.ExportStreamsResponse, error)) (*ententev1.ImportStreamsResponse, error) {
	_, err := next()
	for !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		_, err = next()
	}
	from, to := c.h.site("XB"), c.h.site("XA")
	for _, info := range from.ledger.StreamsShared("XB", "XA") {
		reader, err := c.h.tryAnnounce(ctx, from, to, info)
		if err != nil {
			return nil, err
		}
		err = c.h.tryFollow(ctx, from, to, info, reader)
		if err != nil {
			return nil, err
		}
	}
	return &ententev1.ImportStreamsResponse{}, nil
}

// asker is how XA's node asks other members' nodes.
type asker struct{ h *half }

func (a asker) Exchange(_ context.Context, id member.ID) (ententev1.ExchangeServiceClient, error) {
	return ententev1.NewExchangeServiceClient(a.h.site(id).as(member.KindNode, "XA", "")), nil
}

func newTrailed(t testing.TB) *trailed {
	h := newHalf(t, newGround(t))
	h.plant.configure = func(c *server.Config) {
		c.Maintenance, c.Import, c.Audit = &keeper{}, carrier{h}, asker{h}
		c.ConfirmClock = func() time.Time { return h.now().Add(3600e9) }
	}
	for _, id := range []member.ID{"XA", "XB", "COORD"} {
		h.site(id).serve()
	}
	t.Cleanup(h.stop)
	x := &trailed{half: h}
	x.claim("same", toAll()).push(h)
	other := x.claim("same-too", toAll())
	other.owner = "XB"
	other.push(h)
	p := x.claim("practice", toAll())
	p.kind = ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE
	p.push(h)
	h.settle()
	x.admitXE()
	return x
}

// admitXE brings in a member that reads nothing of what there is, so that streams can be opened to it.
func (x *trailed) admitXE() {
	_, err := x.g.fed.Admit("XE")
	x.must(err)
	roster, err := x.g.fed.Roster()
	x.must(err)
	x.dir.Store(&ledger.Directory{Roster: roster, Projects: x.dir.Load().Projects})
}

// claim is a person of the Police of XA that is described like all others of this world, so that they are put together.
func (x *trailed) claim(reference string, audiences ...*ententev1.Audience) *claim {
	return &claim{owner: "XA", authority: "Police", reference: reference, version: 1, kind: ententev1.RecordKind_RECORD_KIND_PERSON, level: lowest,
		purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, status: ententev1.PersonStatus_PERSON_STATUS_SUSPECT, retain: 1e8, audiences: audiences}
}

// prepared is a record that a call is about, pushed while the trail can be written.
func (x *trailed) prepared(restricted bool, audiences ...*ententev1.Audience) *claim {
	x.count++
	c := x.claim(fmt.Sprint("T-", x.count), audiences...)
	c.restrict = restricted
	x.traced(func() { c.push(x.half) })
	return c
}

// traced does what comes before a call, also where the trail cannot be written during the call.
func (x *trailed) traced(do func()) {
	was := x.untraced.Swap(false)
	do()
	x.untraced.Store(was)
}

// called is one call of a method, and what its caller got of it.
type called func(x *trailed) (got []proto.Message, err error)

func short[Q, R proto.Message](conn func(x *trailed) *grpc.ClientConn, call func(grpc.ClientConnInterface) func(context.Context, Q, ...grpc.CallOption) (R, error), request func(x *trailed) Q) called {
	return func(x *trailed) ([]proto.Message, error) {
		r, err := call(conn(x))(x.t.Context(), request(x))
		if err != nil {
			return nil, err
		}
		return []proto.Message{r}, nil
	}
}

func streamed[Q proto.Message, R any](conn func(x *trailed) *grpc.ClientConn, call func(grpc.ClientConnInterface) func(context.Context, Q, ...grpc.CallOption) (grpc.ServerStreamingClient[R], error), request func(x *trailed) Q, until func(x *trailed, m *R) bool) called {
	return func(x *trailed) (got []proto.Message, err error) {
		ctx, cancel := context.WithCancel(x.t.Context())
		defer cancel()
		opened, err := call(conn(x))(ctx, request(x))
		all, err := receiveUntil(opened, err, func(m *R) bool { return until != nil && until(x, m) })
		for _, one := range all {
			got = append(got, any(one).(proto.Message))
		}
		return got, err
	}
}

func system(name string) func(x *trailed) *grpc.ClientConn {
	return func(x *trailed) *grpc.ClientConn { return x.site("XA").as(member.KindSystem, "XA", name) }
}

func ownOfficer(of member.ID) func(x *trailed) *grpc.ClientConn {
	return func(x *trailed) *grpc.ClientConn { return x.site(of).as(member.KindOfficer, of, "ann") }
}

func ownPerson(kind member.Kind) func(x *trailed) *grpc.ClientConn {
	return func(x *trailed) *grpc.ClientConn { return x.site("XA").as(kind, "XA", "person") }
}

func nodeOfXB(at member.ID) func(x *trailed) *grpc.ClientConn {
	return func(x *trailed) *grpc.ClientConn { return x.site(at).as(member.KindNode, "XB", "") }
}

// trailCases are calls of every method; more than one where a method leaves one thing or another.
func trailCases() map[string][]called {
	cases := map[string][]called{}
	for _, more := range []map[string][]called{intakeCases(), changeCases(), readingCases(), viewCases(), exchangeCases(), adminCases(), auditCases()} {
		for method, calls := range more {
			cases[method] = append(cases[method], calls...)
		}
	}
	return cases
}

func TestWhatACallLeavesInTheTrailIsWhatTheTableSays(t *testing.T) {
	x, cases, table := newTrailed(t), trailCases(), policy.NewTable()
	for _, method := range allMethods() {
		t.Run(method, func(t *testing.T) {
			if len(cases[method]) == 0 && table.Leaves(method) != nil {
				t.Fatal("the method leaves something in the trail, and no call of it is tried")
			}
			x.t = t
			found := map[ententev1.AuditOperation]bool{}
			for i, call := range cases[method] {
				entries := x.left(t, i, call)
				for _, e := range entries {
					found[e.GetOperation()] = true
					complete(t, e)
				}
			}
			for operation := range ententev1.AuditOperation(7) {
				want := slices.Contains(table.Leaves(method), operation)
				if want != found[operation] {
					t.Errorf("%s: in the trail %t, in the table %t", operation, found[operation], want)
				}
			}
		})
	}
}

// left makes a call that succeeds, and gives what it has left in the trails of XA and the coordinator.
func (x *trailed) left(t *testing.T, i int, call called) (entries []*ententev1.AuditEntry) {
	t.Helper()
	if call == nil {
		t.Fatalf("there is no call %d", i)
	}
	marks := map[*audit.Log]uint64{}
	for _, id := range []member.ID{"XA", "COORD"} {
		marks[x.site(id).trail] = x.site(id).trail.Head().Entries
	}
	_, err := call(x)
	if err != nil {
		t.Fatalf("call %d: %v", i, err)
	}
	for trail, from := range marks {
		x.must(trail.Entries(from+1, func(e *ententev1.AuditEntry, _ []byte) (bool, error) {
			prepared := e.GetActor().GetName() == "Police" || e.GetActor() == nil && e.GetMethod() == "pull" && !strings.HasSuffix(t.Name(), "ImportStreams")
			if !prepared {
				entries = append(entries, e)
			}
			return true, nil
		}))
	}
	return entries
}

// complete wants of an entry what the rules want: who, of a consultation why, of a disclosure to whom.
func complete(t *testing.T, e *ententev1.AuditEntry) {
	t.Helper()
	who, operation := e.GetActor(), e.GetOperation()
	nobody := who.GetMember() == "" || who.GetKind() == "" || who.GetName() == "" && who.GetKind() != member.KindNode.String()
	if nobody && e.GetMethod() != "pull" && operation != ententev1.AuditOperation_AUDIT_OPERATION_ERASURE { // those the node does by itself
		t.Errorf("nobody did %v", e)
	}
	reason := (who.GetPurpose() != 0 || who.GetAuditPurpose() != 0) && who.GetCaseReference() != ""
	if operation == ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION && !reason {
		t.Errorf("no reason for %v", e)
	}
	if operation == ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE && e.GetRecipient() == "" {
		t.Errorf("nobody got %v", e)
	}
	if operation == ententev1.AuditOperation_AUDIT_OPERATION_COMBINATION && (len(e.GetMethodTables()) == 0 || merged(e) < 2) {
		t.Errorf("a combination that does not say of what, or how: %v", e)
	}
	if e.GetAt() == nil || e.GetRefused() {
		t.Errorf("an entry of a call that succeeded: %v", e)
	}
}

// merged is how many records an entry names.
func merged(e *ententev1.AuditEntry) (n int) {
	for _, r := range e.GetRecords() {
		n += len(r.GetRecordIds())
	}
	return n
}

func TestNothingIsReturnedThatTheTrailCannotTell(t *testing.T) {
	x, cases, table := newTrailed(t), trailCases(), policy.NewTable()
	for _, method := range allMethods() {
		if len(table.Leaves(method)) == 0 {
			continue
		}
		t.Run(method, func(t *testing.T) {
			x.t = t
			for i, call := range cases[method] {
				x.untraced.Store(true)
				got, err := call(x)
				x.untraced.Store(false)
				if err == nil || slices.ContainsFunc(got, tells) {
					t.Errorf("call %d with a trail that cannot be written: %v, %v", i, got, err)
				}
			}
		})
	}
}

// tells says whether an answer holds a record, or says that something was done: anything but positions and progress.
func tells(m proto.Message) bool {
	switch m := m.(type) {
	case *ententev1.PullResponse:
		return m.GetEntries() != nil
	case *ententev1.ExportStreamsResponse:
		return m.GetPull().GetEntries() != nil || m.GetEnd() != nil
	}
	return true
}
