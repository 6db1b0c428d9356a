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
	// View is the view of one reader: made of what that reader may see and nothing else. Safe for concurrent use; the
	// answer does not change.
	View(reader member.ID, scope *ententev1.Scope) *network.View
	// Stands says whether nothing that the view was made of has been withdrawn or hidden since.
	Stands(view *network.View) bool
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

// asked is for whom a view is made, and the scope. Another member's node has applied that member's grants; for the own
// officers it is done here.
func (s *views) asked(ctx context.Context, c *ententev1.Consultation) (member.ID, *ententev1.Scope, error) {
	caller := callerOf(ctx)
	if caller.Member != s.cfg.Self {
		return caller.Member, c.GetScope(), nil
	}
	narrowed, err := s.cfg.Grants().Narrow(caller.Identity, c)
	if err != nil {
		return "", nil, err
	}
	return caller.Member, narrowed.GetScope(), nil
}

// GetView answers a page of the reader's view: entities first, then associations.
func (s *views) GetView(ctx context.Context, request *ententev1.GetViewRequest) (*ententev1.GetViewResponse, error) {
	reader, scope, err := s.asked(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	view := s.cfg.View.View(reader, scope)
	bound, err := viewBinding(callerOf(ctx), reader, request.GetConsultation(), scope)
	if err != nil {
		return nil, err
	}
	from := 0
	if len(request.GetPageToken()) > 0 {
		view, from, err = s.resume(bound, reader, request.GetPageToken(), view)
		if err != nil {
			return nil, err
		}
	}
	s.recent.keep(reader, view, s.cfg.View.Stands)
	response, next := viewPage(view, from, int(orDefault(request.GetPageSize(), defaultViewPage)))
	if next > 0 {
		token := binary.BigEndian.AppendUint64(nil, uint64(next))
		token = append(token, view.Info().GetHash()...)
		response.NextPageToken, err = s.sealer.seal(bound, token)
		if err != nil {
			return nil, err
		}
	}
	cleared, ok := policy.ClearFor(callerOf(ctx).Member, reader, response)
	return answer(cleared, ok)
}

// viewBinding is what a page token is good for: the same caller asking for the same officer and purpose within the same
// scope. So a token from a wider scope opens nothing once the scope is narrowed.
func viewBinding(c caller, reader member.ID, asked *ententev1.Consultation, scope *ententev1.Scope) ([]byte, error) {
	within, err := proto.MarshalOptions{Deterministic: true}.Marshal(scope)
	if err != nil {
		return nil, fmt.Errorf("encode the scope: %w", err)
	}
	return binding("view", c.String(), string(reader), asked.GetOfficer(), numbers([]ententev1.Purpose{asked.GetPurpose()}), string(within)), nil
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
	if view == nil || !s.cfg.View.Stands(view) || from > uint64(len(view.Entities())+len(view.Associations())) {
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
	reader, scope, err := s.asked(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	view := s.cfg.View.View(reader, scope)
	at, ok := view.Entity([16]byte(request.GetHandle()))
	if !ok {
		return nil, errNotFound
	}
	response := &ententev1.GetEntityResponse{
		View: view.Info(), Entity: view.Entities()[at], Associations: view.AssociationsOf(at),
	}
	cleared, ok := policy.ClearFor(callerOf(ctx).Member, reader, response)
	return answer(cleared, ok)
}

// Watch tells the state of the reader's view and then what changes. Changes that follow close on each other come
// together; a change that the reader may not see changes nothing and tells nothing.
func (s *views) Watch(request *ententev1.WatchRequest, out grpc.ServerStreamingServer[ententev1.WatchResponse]) error {
	ctx := out.Context()
	var last *network.View
	for {
		changed := s.cfg.View.Changed() // asked before computing: what comes meanwhile wakes us again
		reader, scope, err := s.asked(ctx, request.GetConsultation())
		if err != nil {
			return err
		}
		done := s.working(ctx)
		view := s.cfg.View.View(reader, scope)
		messages := watched(last, view)
		done()
		for _, message := range messages {
			cleared, ok := policy.ClearFor(callerOf(ctx).Member, reader, message)
			err = send(out, cleared, ok)
			if err != nil {
				return err
			}
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
