package server

import (
	"context"
	"encoding/binary"

	"google.golang.org/grpc"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const (
	defaultListRecords = 100
)

// intake is where the member's own systems put records in. Push is in push.go.
type intake struct {
	ententev1.UnimplementedIntakeServiceServer
	*Server
}

// authority is the authority in whose name the caller acts, by the member's own table.
func (s *intake) authority(ctx context.Context) (string, error) {
	return s.cfg.Grants().Authority(callerOf(ctx).Identity)
}

// Get answers one record of the caller's authority.
func (s *intake) Get(ctx context.Context, request *ententev1.GetRequest) (*ententev1.GetResponse, error) {
	authority, err := s.consulted(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	byReference, byID := request.GetProviderReference() != "", len(request.GetRecordId()) > 0
	if byReference == byID {
		return nil, invalidField("provider_reference", "is given, or record_id, and not both")
	}
	id := s.cfg.Ledger.RecordID(authority, request.GetProviderReference())
	if byID {
		id, err = ledger.ParseRecordID(request.GetRecordId())
		if err != nil {
			return nil, invalidField("record_id", "is not 16 bytes")
		}
	}
	held, err := s.cfg.Ledger.Record(id, request.GetVersion())
	if err != nil {
		return nil, err
	}
	if held.GetAuthority() != authority || !shownOwn(s.access(ctx, request.GetConsultation()), held) {
		return nil, errNotFound
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.GetResponse{Record: held})
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), ledger.Name{Owner: s.cfg.Self, Record: id}))
}

// shownOwn says whether a system may see a record of its own authority. Of one whose content is erased, where it was is left,
// and that is its authority's to know for any purpose.
func shownOwn(a policy.Access, held *ententev1.HeldRecord) bool {
	return held.GetErased() || policy.MayOwn(a, ownLabel(held))
}

// ownLabel is the label of an own record, with its retention as it was renewed.
func ownLabel(held *ententev1.HeldRecord) policy.Label {
	label := policy.LabelOfRecord(held.GetRecord())
	if held.GetRetainUntil() != nil {
		label.RetainUntil = held.GetRetainUntil().GetSeconds()
	}
	return label
}

// consulted is the authority of a system that may ask for the consultation's purpose.
func (s *intake) consulted(ctx context.Context, c *ententev1.Consultation) (string, error) {
	grants, caller := s.cfg.Grants(), callerOf(ctx).Identity
	err := grants.MayAsk(caller, c)
	if err != nil {
		return "", err
	}
	return grants.Authority(caller)
}

// List answers records of the caller's authority, page by page.
func (s *intake) List(ctx context.Context, request *ententev1.ListRequest) (*ententev1.ListResponse, error) {
	authority, err := s.consulted(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	bound := listBinding(callerOf(ctx), authority, request)
	after, err := s.openNumber(bound, request.GetPageToken())
	if err != nil {
		return nil, err
	}
	wrong := policy.CheckCriteria(policy.Criteria{Kinds: request.GetKinds(), Others: len(request.GetKinds()) == 0})
	if len(wrong) > 0 {
		return nil, invalid(wrong)
	}
	kinds, some := commonKinds(request.GetKinds(), request.GetConsultation().GetScope().GetKinds())
	response := &ententev1.ListResponse{}
	access := s.access(ctx, request.GetConsultation())
	if some {
		response, err = s.list(bound, ledger.ListQuery{
			Authority: authority, Kinds: kinds, Withdrawn: request.Withdrawn,
			After: after, Limit: int(orDefault(request.GetPageSize(), defaultListRecords)),
			Shows: func(held *ententev1.HeldRecord) bool { return shownOwn(access, held) },
		})
		if err != nil {
			return nil, err
		}
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), s.heldNames(response.GetRecords())...))
}

// heldNames are the names of own records.
func (s *Server) heldNames(list []*ententev1.HeldRecord) []ledger.Name {
	var names []ledger.Name
	for _, held := range list {
		names = append(names, ledger.Name{Owner: s.cfg.Self, Record: ledger.RecordID(held.GetRecordId())})
	}
	return names
}

func (s *intake) list(bound []byte, query ledger.ListQuery) (*ententev1.ListResponse, error) {
	records, next, err := s.cfg.Ledger.Records(query)
	if err != nil {
		return nil, err
	}
	response := &ententev1.ListResponse{Records: records}
	if next == 0 {
		return response, nil
	}
	response.NextPageToken, err = s.sealer.seal(bound, binary.BigEndian.AppendUint64(nil, next))
	return response, err
}

// listBinding is what a page token of List is good for: the same caller asking the same.
func listBinding(c caller, authority string, request *ententev1.ListRequest) []byte {
	withdrawn := "both"
	if request.Withdrawn != nil {
		withdrawn = map[bool]string{true: "withdrawn", false: "in force"}[request.GetWithdrawn()]
	}
	return binding("list", c.String(), authority, withdrawn, numbers(request.GetKinds()),
		numbers(request.GetConsultation().GetScope().GetKinds()))
}

// openNumber reads a page token that holds one number; no token: 0.
func (s *Server) openNumber(bound, token []byte) (uint64, error) {
	if len(token) == 0 {
		return 0, nil
	}
	plain, err := s.sealer.open(bound, token)
	if err != nil || len(plain) != 8 {
		return 0, errBadToken
	}
	return binary.BigEndian.Uint64(plain), nil
}

// commonKinds intersects two lists of kinds, of which none means all. It answers false where nothing is left.
func commonKinds(a, b []ententev1.RecordKind) ([]ententev1.RecordKind, bool) {
	if len(a) == 0 {
		return b, true
	}
	if len(b) == 0 {
		return a, true
	}
	var common []ententev1.RecordKind
	for _, kind := range a {
		if kindSet(b).has(kind) {
			common = append(common, kind)
		}
	}
	return common, len(common) > 0
}

func orDefault(n, otherwise uint32) uint32 {
	if n == 0 {
		return otherwise
	}
	return n
}

type pushStream = grpc.BidiStreamingServer[ententev1.PushRequest, ententev1.PushResponse]
