package server

import (
	"context"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

// traces is what a message tells the audit trail before it may leave: entries, or that there is nothing to tell. The zero
// traces is neither, and lets nothing leave.
type traces struct {
	entries []*ententev1.AuditEntry
	untold  bool
}

// untold is for messages that show no record, and for those whose effect the ledger has put into the trail already. why is
// for whoever reads the call.
func untold(why string) traces { return traces{untold: why != ""} }

// told is for messages that the entries tell of.
func told(entries ...*ententev1.AuditEntry) traces { return traces{entries: entries} }

// callTrail is what the trail knows of one call.
type callTrail struct {
	written atomic.Bool // an entry of this call is on disk
}

type callTrailKey struct{}

func withCallTrail(ctx context.Context) (context.Context, *callTrail) {
	t := &callTrail{}
	return context.WithValue(ctx, callTrailKey{}, t), t
}

// trace puts what a message tells into the trail. Until it returns nil, the message must not leave.
func (s *Server) trace(ctx context.Context, t traces) error {
	if len(t.entries) == 0 {
		if t.untold {
			return nil
		}
		return errUntraced
	}
	err := s.cfg.Trail.Record(ctx, t.entries...)
	if err != nil && ctx.Err() != nil {
		return ended(ctx)
	}
	if err != nil {
		return err
	}
	s.alerts.look(s, t.entries)
	call, ok := ctx.Value(callTrailKey{}).(*callTrail)
	if ok {
		call.written.Store(true)
	}
	return nil
}

// traceRefused puts into the trail that a call which may show or change records brought its caller nothing, where nothing else
// of it is there: who asked for what is not there, or not for it, has looked all the same.
func (s *Server) traceRefused(ctx context.Context, call *callTrail, method string, request any, failed error) error {
	operations := s.table.Leaves(method)
	if failed == nil || call.written.Load() || len(operations) == 0 || !turnedAway(failed) {
		return failed
	}
	entry := s.entry(ctx, operations[0], consultationIn(request))
	entry.Method, entry.Refused = method, true
	err := s.trace(context.WithoutCancel(ctx), told(entry))
	if err != nil {
		return err
	}
	return failed
}

// turnedAway says whether an error means that a caller may not have what it asked for, or that it is not there: the same to it.
func turnedAway(err error) bool {
	switch status.Code(tell(err)) {
	case codes.NotFound, codes.PermissionDenied, codes.FailedPrecondition:
		return true
	}
	return false
}

// consultationIn is the consultation of a request that has one; nil else.
func consultationIn(request any) *ententev1.Consultation {
	asks, ok := request.(interface {
		GetConsultation() *ententev1.Consultation
	})
	if !ok {
		return nil
	}
	return asks.GetConsultation()
}

// entry begins an entry of the trail about this call.
func (s *Server) entry(ctx context.Context, operation ententev1.AuditOperation, c *ententev1.Consultation) *ententev1.AuditEntry {
	method, _ := grpc.Method(ctx)
	return &ententev1.AuditEntry{Operation: operation, Method: method, Actor: actorOf(callerOf(ctx), c)}
}

// actorOf is who calls, for whom and why, as the trail names it.
func actorOf(c caller, asked *ententev1.Consultation) *ententev1.AuditActor {
	return &ententev1.AuditActor{
		Member: string(c.Member), Kind: c.Kind.String(), Name: c.Name, Officer: asked.GetOfficer(),
		Purpose: asked.GetPurpose(), CaseReference: asked.GetCaseReference(), ProtectedReason: asked.GetProtectedReason(),
	}
}

// acting says in the context who acts, for what the ledger puts into the trail.
func (s *Server) acting(ctx context.Context, c *ententev1.Consultation) context.Context {
	return ledger.WithActor(ctx, actorOf(callerOf(ctx), c))
}

// consultation is an entry about records that somebody of the own member looks at.
func (s *Server) consultation(ctx context.Context, c *ententev1.Consultation, names ...ledger.Name) traces {
	entry := s.entry(ctx, ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, c)
	entry.Records = recordsOf(names)
	return told(entry)
}

// recordsOf groups names by owner, in order, each once.
func recordsOf(names []ledger.Name) []*ententev1.AuditRecords {
	names = slices.Clone(names)
	slices.SortFunc(names, compareNames)
	names = slices.Compact(names)
	var list []*ententev1.AuditRecords
	for _, n := range names {
		if len(list) == 0 || list[len(list)-1].GetOwner() != string(n.Owner) {
			list = append(list, &ententev1.AuditRecords{Owner: string(n.Owner)})
		}
		last := list[len(list)-1]
		last.RecordIds = append(last.RecordIds, slices.Clone(n.Record[:]))
	}
	return list
}

func compareNames(a, b ledger.Name) int {
	if a.Owner != b.Owner {
		return slices.Compare([]byte(a.Owner), []byte(b.Owner))
	}
	return slices.Compare(a.Record[:], b.Record[:])
}

// sourceNames are the records behind parts of a view.
func sourceNames(sources []*ententev1.ViewSource) []ledger.Name {
	var names []ledger.Name
	for _, source := range sources {
		id, err := ledger.ParseRecordID(source.GetRecordId())
		if err == nil {
			names = append(names, ledger.Name{Owner: member.ID(source.GetProviderMember()), Record: id})
		}
	}
	return names
}

// shown collects what a message shows of a merged view: all records behind it, and those of them that were put together.
type shown struct {
	all, merged []ledger.Name
}

func (s *shown) entities(list []*ententev1.ViewEntity) {
	for _, e := range list {
		names := sourceNames(e.GetSources())
		s.all = append(s.all, names...)
		if len(names) > 1 {
			s.merged = append(s.merged, names...)
		}
		for _, role := range e.GetRoles() {
			s.all = append(s.all, sourceNames(role.GetSources())...)
		}
	}
}

func (s *shown) associations(list []*ententev1.ViewAssociation) {
	for _, a := range list {
		names := sourceNames(a.GetSources())
		s.all = append(s.all, names...)
		if len(names) > 1 {
			s.merged = append(s.merged, names...)
		}
	}
}

// maxShown is how many records one entry of the trail names.
const maxShown = 5000

// traces are the entries about a part of a merged view that goes to a reader: what was shown, and, where this node computed
// it, what was put together and by which tables.
func (s *shown) traces(server *Server, ctx context.Context, reader member.ID, c *ententev1.Consultation, tables []byte) traces {
	operation, recipient := ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, ""
	if reader != server.cfg.Self {
		operation, recipient = ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE, string(reader)
	}
	var t traces
	add := func(operation ententev1.AuditOperation, names []ledger.Name) *ententev1.AuditEntry {
		entry := server.entry(ctx, operation, c)
		entry.Recipient, entry.Records = recipient, recordsOf(names)
		t.entries = append(t.entries, entry)
		return entry
	}
	for part := range slices.Chunk(s.all, maxShown) {
		add(operation, part)
	}
	if len(s.all) == 0 {
		add(operation, nil)
	}
	if tables == nil {
		return t
	}
	for part := range slices.Chunk(s.merged, maxShown) {
		add(ententev1.AuditOperation_AUDIT_OPERATION_COMBINATION, part).MethodTables = tables
	}
	return t
}

// day is the time by which records expire, in seconds since 1970.
func (s *Server) day() int64 { return s.cfg.Expiry().Hide.Unix() }

// access is what a consultation of one of the own people brings with it.
func (s *Server) access(ctx context.Context, c *ententev1.Consultation) policy.Access {
	return s.cfg.Grants().AccessOf(callerOf(ctx).Identity, c, s.day())
}
