package server

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
)

const defaultListLibrary = 100

// library answers the member's own officers and systems with practices and lessons. What is under no project is open
// to all of them that may ask; what was released under a project only to those that are granted the project.
type library struct {
	ententev1.UnimplementedLibraryServiceServer
	*Server
}

func libraryKinds() []ententev1.RecordKind {
	return []ententev1.RecordKind{ententev1.RecordKind_RECORD_KIND_LESSON, ententev1.RecordKind_RECORD_KIND_GOOD_PRACTICE}
}

func (s *library) admit(ctx context.Context, c *ententev1.Consultation) error {
	err := s.cfg.Grants().MayAsk(callerOf(ctx).Identity, c)
	if err != nil {
		return err
	}
	if c.GetScope().GetAllMembersOnly() {
		return invalidField("consultation.scope.all_members_only", "is not a limit that the library knows")
	}
	return nil
}

// List answers practices and lessons, newest first. Pages are by the last item of the page before.
func (s *library) List(ctx context.Context, request *ententev1.LibraryServiceListRequest) (*ententev1.LibraryServiceListResponse, error) {
	err := s.admit(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	filter, some, err := newLibraryFilter(request)
	if err != nil {
		return nil, err
	}
	var refs []ledger.LibraryRef
	if some {
		refs = s.cfg.Ledger.Library(filter.kinds)
	}
	bound := libraryBinding(callerOf(ctx), request)
	refs, err = s.after(bound, request.GetPageToken(), refs)
	if err != nil {
		return nil, err
	}
	response, err := s.page(ctx, bound, request, filter, refs)
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), libraryNames(response.GetItems()...)...))
}

func libraryNames(items ...*ententev1.LibraryItem) []ledger.Name {
	var names []ledger.Name
	for _, item := range items {
		names = append(names, ledger.Name{Owner: member.ID(item.GetOwner()), Record: ledger.RecordID(item.GetRecord().GetRecordId())})
	}
	return names
}

// after leaves out what earlier pages have brought.
func (s *library) after(bound, token []byte, refs []ledger.LibraryRef) ([]ledger.LibraryRef, error) {
	if len(token) == 0 {
		return refs, nil
	}
	plain, err := s.sealer.open(bound, token)
	if err != nil {
		return nil, errBadToken
	}
	at := slices.IndexFunc(refs, func(ref ledger.LibraryRef) bool { return string(refKey(ref)) == string(plain) })
	if at < 0 {
		return nil, errListChanged // withdrawn meanwhile
	}
	return refs[at+1:], nil
}

func refKey(ref ledger.LibraryRef) []byte {
	return append(ref.Record[:], ref.Owner...)
}

func (s *library) page(ctx context.Context, bound []byte, request *ententev1.LibraryServiceListRequest, filter *libraryFilter, refs []ledger.LibraryRef) (*ententev1.LibraryServiceListResponse, error) {
	response, size := &ententev1.LibraryServiceListResponse{}, 0
	limit := int(orDefault(request.GetPageSize(), defaultListLibrary))
	var last ledger.LibraryRef
	for _, ref := range refs {
		if ctx.Err() != nil {
			return nil, ended(ctx) // a filter that little passes goes through the whole library
		}
		if !filter.from(ref) {
			continue
		}
		item, err := s.item(ctx, request.GetConsultation(), filter.projects, ref.Owner, ref.Record)
		if errors.Is(err, errNotFound) || errors.Is(err, ledger.ErrAbsent) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !filter.lets(item) {
			continue
		}
		if len(response.GetItems()) == limit || size >= pageBytes {
			// Only now: that there is more which the caller may not see, or did not ask for, is nothing to tell.
			response.NextPageToken, err = s.sealer.seal(bound, refKey(last))
			return response, err
		}
		response.Items = append(response.Items, item)
		size += proto.Size(item)
		last = ref
	}
	return response, nil
}

// item is one practice or lesson, if the caller may see it and it is under one of the projects asked for: else errNotFound.
func (s *library) item(ctx context.Context, c *ententev1.Consultation, projects []string, owner member.ID, id ledger.RecordID) (*ententev1.LibraryItem, error) {
	grants, identity := s.cfg.Grants(), callerOf(ctx).Identity
	record, err := s.cfg.Ledger.LibraryRecord(owner, id, func(project string) bool {
		for _, asked := range [][]string{c.GetScope().GetProjects(), projects} {
			if len(asked) > 0 && (project == "" || !slices.Contains(asked, project)) {
				return false
			}
		}
		return project == "" || grants.MaySee(identity, c, project)
	})
	if err != nil {
		return nil, err
	}
	if !network.Understood(record) || !policy.May(grants.AccessOf(identity, c, s.day()), policy.LabelOfReleased(record)) {
		return nil, errNotFound // of a newer version: not shown until this one knows what it would show; or not for this purpose
	}
	return &ententev1.LibraryItem{Owner: string(owner), Record: record}, nil
}

// Get answers one practice or lesson.
func (s *library) Get(ctx context.Context, request *ententev1.LibraryServiceGetRequest) (*ententev1.LibraryServiceGetResponse, error) {
	err := s.admit(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	owner := s.cfg.Self
	if request.GetOwner() != "" {
		owner = member.ID(request.GetOwner())
	}
	id, err := ledger.ParseRecordID(request.GetRecordId())
	if err != nil {
		return nil, invalidField("record_id", "is not 16 bytes")
	}
	item, err := s.item(ctx, request.GetConsultation(), nil, owner, id)
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.LibraryServiceGetResponse{Item: item})
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), libraryNames(item)...))
}
