package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
)

// NetworkView is the merged view that a node computes: *network.Network.
type NetworkView interface {
	// For is the view of one reader: made of what that reader may see, and the lens lets through, and nothing else. Safe for
	// concurrent use; the answer does not change.
	For(reader member.ID, scope *ententev1.Scope, lens network.Lens) *network.View
	// Stands says whether nothing that the view was made of has been withdrawn or hidden since, or is over by the day, in
	// seconds since 1970.
	Stands(view *network.View, day int64) bool
	// Changed is closed when a view may have changed since it was asked for.
	Changed() <-chan struct{}
}

const (
	defaultViewPage = 500
	// recentPerReader and recentReaders bound the views that are kept so that a reader can finish its pages.
	recentPerReader = 4
	recentReaders   = 64
)

// views answers merged views from what this node holds: to nodes of other members each its own, to the own member's
// officers that of the own member.
type views struct {
	ententev1.UnimplementedNetworkServiceServer
	*Server
	recent *recentViews
}

// question is what a view is made for: the reader, what it asks about, and what it may see of that.
type question struct {
	reader member.ID
	scope  *ententev1.Scope
	lens   network.Lens
}

// asked is what a consultation asks. Another member's node has applied that member's grants, and names the officer who asks;
// for the own people both is done here.
func (s *views) asked(ctx context.Context, c *ententev1.Consultation) (question, error) {
	caller := callerOf(ctx)
	wrong := policy.CheckCriteria(policy.Criteria{Kinds: c.GetScope().GetKinds(), Others: len(c.GetScope().GetKinds()) == 0 || len(c.GetScope().GetProjects()) > 0})
	if len(wrong) > 0 {
		return question{}, invalid(wrong)
	}
	if caller.Member != s.cfg.Self {
		if c.GetOfficer() == "" {
			return question{}, invalidField("consultation.officer", "is required: somebody in person asks")
		}
		return question{caller.Member, c.GetScope(), lensOf(policy.AccessOfMember(c, s.day()))}, nil
	}
	narrowed, err := s.narrowed(caller, c)
	if err != nil {
		return question{}, err
	}
	return question{caller.Member, narrowed.GetScope(), lensOf(s.access(ctx, c))}, nil
}

// narrowed is a consultation of one of the own people as the member's grants leave it. Somebody in person must stand behind it.
func (s *Server) narrowed(c caller, asked *ententev1.Consultation) (*ententev1.Consultation, error) {
	grants := s.cfg.Grants()
	err := grants.MustName(c.Identity, asked)
	if err != nil {
		return nil, err
	}
	narrowed, err := grants.Narrow(c.Identity, asked)
	if err != nil {
		return nil, err
	}
	narrowed.ProtectedReason = asked.GetProtectedReason()
	if narrowed.Scope == nil {
		narrowed.Scope = &ententev1.Scope{}
	}
	clearance := grants.AccessOf(c.Identity, asked, s.day()).Clearance
	said := asked.GetScope().GetClearance()
	if said != ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_UNSPECIFIED {
		clearance = min(clearance, said)
	}
	narrowed.Scope.Clearance = clearance
	return narrowed, nil
}

// lensOf is what an access lets through of a merged view.
func lensOf(a policy.Access) network.Lens {
	return network.Lens{
		Key: fmt.Sprintf("%d/%d/%t", a.Purpose, a.Clearance, a.ProtectedReason), Day: a.Day,
		Lets: func(label any) bool {
			known, ok := label.(policy.Label)
			return ok && policy.MayBulk(a, known)
		},
	}
}

// GetView answers a page of the reader's view: entities first, then associations.
func (s *views) GetView(ctx context.Context, request *ententev1.GetViewRequest) (*ententev1.GetViewResponse, error) {
	q, err := s.asked(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	view := s.cfg.View.For(q.reader, q.scope, q.lens)
	bound, err := viewBinding(callerOf(ctx), q, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	from := 0
	if len(request.GetPageToken()) > 0 {
		view, from, err = s.resume(bound, q.reader, request.GetPageToken(), view)
		if err != nil {
			return nil, err
		}
	}
	day := s.day()
	s.recent.keep(q.reader, view, func(v *network.View) bool { return s.cfg.View.Stands(v, day) })
	response, next := viewPage(view, from, int(orDefault(request.GetPageSize(), defaultViewPage)))
	if next > 0 {
		token := binary.BigEndian.AppendUint64(nil, uint64(next))
		token = append(token, view.Info().GetHash()...)
		response.NextPageToken, err = s.sealer.seal(bound, token)
		if err != nil {
			return nil, err
		}
	}
	var parts shown
	parts.entities(response.GetEntities())
	parts.associations(response.GetAssociations())
	return answerView(ctx, s, q, request.GetConsultation(), view, response, &parts)
}

// answerView answers a part of a view, once it is in the trail what it shows, and if all of it still stands then.
func answerView[T any](ctx context.Context, s *views, q question, c *ententev1.Consultation, view *network.View, response *T, parts *shown) (*T, error) {
	cleared, ok := policy.ClearFor(callerOf(ctx).Member, q.reader, response)
	checked, err := answer(ctx, s.Server, cleared, ok, parts.traces(s.Server, ctx, q.reader, c, view.Info().GetTablesHash()))
	if err == nil && !s.cfg.View.Stands(view, s.day()) {
		return nil, errViewChanged
	}
	return checked, err
}

// viewBinding is what a page token is good for: the same caller asking for the same officer and purpose within the same
// scope. So a token from a wider scope opens nothing once the scope is narrowed.
func viewBinding(c caller, q question, asked *ententev1.Consultation) ([]byte, error) {
	within, err := proto.MarshalOptions{Deterministic: true}.Marshal(q.scope)
	if err != nil {
		return nil, fmt.Errorf("encode the scope: %w", err)
	}
	return binding("view", c.String(), string(q.reader), asked.GetOfficer(), q.lens.Key, string(within)), nil
}

// resume finds the view that a page token belongs to: the one of now, or one that was kept and of which nothing has been
// withdrawn since.
func (s *views) resume(bound []byte, reader member.ID, token []byte, now *network.View) (*network.View, int, error) {
	plain, err := s.sealer.open(bound, token)
	if err != nil || len(plain) < 8 {
		return nil, 0, errBadToken
	}
	from, hash := binary.BigEndian.Uint64(plain), string(plain[8:])
	view := now
	if string(now.Info().GetHash()) != hash {
		view = s.recent.find(reader, hash)
	}
	if view == nil || !s.cfg.View.Stands(view, s.day()) || from > uint64(len(view.Entities())+len(view.Associations())) {
		return nil, 0, errViewChanged
	}
	return view, int(from), nil
}

// viewPage cuts a page of at most limit items and about pageBytes. It answers where the next page begins; 0: nowhere.
func viewPage(view *network.View, from, limit int) (*ententev1.GetViewResponse, int) {
	response := &ententev1.GetViewResponse{View: view.Info()}
	entities, associations := view.Entities(), view.Associations()
	size, at := 0, from
	for ; at < len(entities)+len(associations) && at-from < limit && size < pageBytes; at++ {
		if at < len(entities) {
			response.Entities = append(response.Entities, entities[at])
			size += proto.Size(entities[at])
			continue
		}
		association := associations[at-len(entities)]
		response.Associations = append(response.Associations, association)
		size += proto.Size(association)
	}
	if at == len(entities)+len(associations) {
		return response, 0
	}
	return response, at
}

// GetEntity answers one entity by any of its visible records, with its associations.
func (s *views) GetEntity(ctx context.Context, request *ententev1.GetEntityRequest) (*ententev1.GetEntityResponse, error) {
	q, err := s.asked(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	view := s.cfg.View.For(q.reader, q.scope, q.lens)
	at, ok := view.Entity([16]byte(request.GetHandle()))
	if !ok {
		return nil, errNotFound
	}
	response := &ententev1.GetEntityResponse{
		View: view.Info(), Entity: view.Entities()[at], Associations: view.AssociationsOf(at),
	}
	var parts shown
	parts.entities(some(response.GetEntity()))
	parts.associations(response.GetAssociations())
	return answerView(ctx, s, q, request.GetConsultation(), view, response, &parts)
}

// Watch tells the state of the reader's view and then what changes. Changes that follow close on each other come
// together; a change that the reader may not see changes nothing and tells nothing.
func (s *views) Watch(request *ententev1.WatchRequest, out grpc.ServerStreamingServer[ententev1.WatchResponse]) error {
	ctx := out.Context()
	var last *network.View
	looked := false // the trail tells of this call: the state of a view says how much there is
	for {
		changed := s.cfg.View.Changed() // asked before computing: what comes meanwhile wakes us again
		q, err := s.asked(ctx, request.GetConsultation())
		if err != nil {
			return err
		}
		done := s.working(ctx)
		view := s.cfg.View.For(q.reader, q.scope, q.lens)
		messages := watched(last, view)
		done()
		for _, message := range messages {
			var parts shown
			parts.entities(message.GetChangedEntities())
			parts.associations(message.GetChangedAssociations())
			t := untold("which view it is, or what is gone, and no record")
			if len(parts.all) > 0 || !looked {
				t = parts.traces(s.Server, ctx, q.reader, request.GetConsultation(), view.Info().GetTablesHash())
			}
			err = s.trace(ctx, t)
			if err != nil {
				return err
			}
			looked = true
			if !s.cfg.View.Stands(view, s.day()) {
				view = nil // it is not told any more: the next round tells what has become of it
				break
			}
			cleared, ok := policy.ClearFor(callerOf(ctx).Member, q.reader, message)
			err = send(s.Server, out, cleared, ok, untold("what is in the trail already"))
			if err != nil {
				return err
			}
		}
		if view == nil {
			continue
		}
		last = view
		err = s.await(ctx, changed)
		if err != nil {
			return err
		}
	}
}

// await waits for a change, and then a little for those that follow.
func (s *views) await(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
	case <-ctx.Done():
		return ended(ctx)
	}
	pause := time.NewTimer(s.cfg.Limits.WatchInterval)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// watched is what to tell of a change; of the first view, that it is; of an equal one, nothing.
func watched(last, view *network.View) []*ententev1.WatchResponse {
	if last == nil {
		return []*ententev1.WatchResponse{{View: view.Info()}}
	}
	if string(last.Info().GetHash()) == string(view.Info().GetHash()) {
		return nil
	}
	return splitWatch(network.Diff(last, view))
}

// splitWatch cuts a large change into messages that fit.
func splitWatch(whole *ententev1.WatchResponse) []*ententev1.WatchResponse {
	part := &ententev1.WatchResponse{
		View: whole.GetView(), GoneEntityIds: whole.GetGoneEntityIds(), GoneAssociationIds: whole.GetGoneAssociationIds(),
	}
	parts, size := []*ententev1.WatchResponse{part}, proto.Size(part)
	room := func(m proto.Message) {
		if size > pageBytes {
			part, size = &ententev1.WatchResponse{View: whole.GetView()}, 0
			parts = append(parts, part)
		}
		size += proto.Size(m)
	}
	for _, entity := range whole.GetChangedEntities() {
		room(entity)
		part.ChangedEntities = append(part.ChangedEntities, entity)
	}
	for _, association := range whole.GetChangedAssociations() {
		room(association)
		part.ChangedAssociations = append(part.ChangedAssociations, association)
	}
	return parts
}

// recentViews keeps the views whose pages are being read.
type recentViews struct {
	mu       sync.Mutex // covers all below
	byReader map[member.ID][]*network.View
	readers  []member.ID // oldest use first
}

func newRecentViews() *recentViews {
	return &recentViews{byReader: make(map[member.ID][]*network.View)}
}

// keep keeps a view for the pages to come, and gives up those of the reader that do not stand any more.
func (r *recentViews) keep(reader member.ID, view *network.View, stands func(*network.View) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hash := string(view.Info().GetHash())
	list := slices.DeleteFunc(r.byReader[reader], func(v *network.View) bool { return string(v.Info().GetHash()) == hash || !stands(v) })
	list = append(list, view)
	r.byReader[reader] = list[max(0, len(list)-recentPerReader):]
	r.readers = append(slices.DeleteFunc(r.readers, func(id member.ID) bool { return id == reader }), reader)
	if len(r.readers) > recentReaders {
		delete(r.byReader, r.readers[0])
		r.readers = r.readers[1:]
	}
}

// find answers a kept view of this reader, or nil.
func (r *recentViews) find(reader member.ID, hash string) *network.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, view := range r.byReader[reader] {
		if string(view.Info().GetHash()) == hash {
			return view
		}
	}
	return nil
}
