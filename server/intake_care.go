package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const (
	defaultDue  = 100
	defaultSent = 100
	// sentSlice is how many entries are looked at together where a page is not full after the first.
	sentSlice = 1000
	// mostPermissions is how many permissions are listed.
	mostPermissions = 10_000
	// dueWithin is how far ahead what is due is looked for where nothing is said: notice six months before.
	dueWithin = 183 * 24 * time.Hour
)

// changes is acts for what somebody in the node's own member has to give a reason for.
func (s *intake) changes(ctx context.Context, c *ententev1.Consultation) (context.Context, string, error) {
	if c == nil {
		return ctx, "", errNotGranted
	}
	return s.acts(ctx, c)
}

// Restrict takes records back while they are examined, or puts them back.
func (s *intake) Restrict(ctx context.Context, request *ententev1.RestrictRequest) (*ententev1.RestrictResponse, error) {
	ctx, authority, err := s.changes(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	verdicts, err := s.cfg.Ledger.Restrict(ctx, authority, request.GetProviderReferences(), request.GetLift(), request.GetReason())
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.RestrictResponse{Verdicts: verdicts})
	return answer(ctx, s.Server, cleared, ok, verdictsOnly())
}

// Hold puts a legal hold on records, or lifts it.
func (s *intake) Hold(ctx context.Context, request *ententev1.HoldRequest) (*ententev1.HoldResponse, error) {
	ctx, authority, err := s.changes(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	if !request.GetLift() && (request.GetUntil() == nil || !request.GetUntil().IsValid()) {
		return nil, invalidField("until", "is required: a hold has an end")
	}
	verdicts, err := s.cfg.Ledger.Hold(ctx, authority, request.GetProviderReferences(), request.GetLift(), request.GetReason(), request.GetUntil().AsTime())
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.HoldResponse{Verdicts: verdicts})
	return answer(ctx, s.Server, cleared, ok, verdictsOnly())
}

// Renew extends the retention of records.
func (s *intake) Renew(ctx context.Context, request *ententev1.RenewRequest) (*ententev1.RenewResponse, error) {
	ctx, authority, err := s.changes(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	if !request.GetRetainUntil().IsValid() {
		return nil, invalidField("retain_until", "is no time")
	}
	verdicts, err := s.cfg.Ledger.Renew(ctx, authority, request.GetProviderReferences(), request.GetRetainUntil().AsTime(), request.GetJustification())
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.RenewResponse{Verdicts: verdicts})
	return answer(ctx, s.Server, cleared, ok, verdictsOnly())
}

// Review is when a record's need must be reviewed, by the member's profile.
func (s *Server) Review(recorded, retain, said time.Time) time.Time {
	envelope := &ententev1.Envelope{RecordedAt: timestamppb.New(recorded), RetainUntil: timestamppb.New(retain)}
	if !said.IsZero() {
		envelope.ReviewDue = timestamppb.New(said)
	}
	return s.cfg.Profile.ReviewDue(envelope)
}

// ListDue answers the records whose retention or review ends soon, what ends first first.
func (s *intake) ListDue(ctx context.Context, request *ententev1.ListDueRequest) (*ententev1.ListDueResponse, error) {
	authority, err := s.consulted(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	within := dueWithin
	if request.GetWithin() != nil {
		within = request.GetWithin().AsDuration()
	}
	bound := binding("due", callerOf(ctx).String(), authority, within.String())
	after, err := s.openNumber(bound, request.GetPageToken())
	if err != nil {
		return nil, err
	}
	// All that is due from there on: it is sorted as a whole anyway, and how much of it makes a page is known only behind the
	// records that this question is not told of.
	query := ledger.DueQuery{Authority: authority, By: s.cfg.Now().Add(within), After: int(min(after, 1<<31)), Limit: math.MaxInt}
	list, _ := s.cfg.Ledger.ListDue(query, s.Review)
	access, limit := s.access(ctx, request.GetConsultation()), int(orDefault(request.GetPageSize(), defaultDue))
	response, end, more := &ententev1.ListDueResponse{}, after, false
	var names []ledger.Name
	for i, due := range list {
		reference, told, err := s.listed(access, due.Record)
		if err != nil {
			return nil, err
		}
		if !told {
			continue
		}
		more = len(names) == limit
		if more {
			break
		}
		end = after + uint64(i) + 1
		names = append(names, ledger.Name{Owner: s.cfg.Self, Record: due.Record})
		response.Records = append(response.Records, &ententev1.DueRecord{
			RecordId: due.Record[:], ProviderReference: reference, Kind: due.Kind, RetainUntil: timestamppb.New(due.Retain),
			ReviewDue: timestamppb.New(due.Review), Hold: due.Hold, Released: due.Released,
		})
	}
	if more {
		response.NextPageToken, err = s.sealer.seal(bound, binary.BigEndian.AppendUint64(nil, end))
		if err != nil {
			return nil, err
		}
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), names...))
}

// listed says whether the lists of what is due, was sent and is permitted tell a question of an own record, and its reference.
// That they tell the system by itself of records which Get shows it for another purpose only, or not any more, is no leak: it
// is the system of the very authority that owns them, and that has to renew them and to take them back.
func (s *intake) listed(access policy.Access, id ledger.RecordID) (reference string, told bool, err error) {
	held, err := s.cfg.Ledger.Record(id, 0)
	if errors.Is(err, ledger.ErrAbsent) {
		return "", access.Officer == 0, nil // its content was lost, and with it what would make it an officer's to know
	}
	if err != nil {
		return "", false, fmt.Errorf("look at a listed record: %w", err)
	}
	return held.GetRecord().GetEnvelope().GetProviderReference(), held.GetErased() || policy.MayListOwn(access, ownLabel(held)), nil
}

// ListSent answers everything that was ever sent to a member, with the state of each by its receipts.
func (s *intake) ListSent(ctx context.Context, request *ententev1.ListSentRequest) (*ententev1.ListSentResponse, error) {
	authority, err := s.consulted(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	reader, err := member.ParseID(request.GetMember())
	if err != nil || reader == s.cfg.Self {
		return nil, invalidField("member", "is not the id of another member")
	}
	bound := binding("sent", callerOf(ctx).String(), authority, request.GetMember(), map[bool]string{true: "open"}[request.GetOpenOnly()])
	query := ledger.SentQuery{Authority: authority, Member: reader, OpenOnly: request.GetOpenOnly()}
	if len(request.GetPageToken()) > 0 {
		plain, err := s.sealer.open(bound, request.GetPageToken())
		if err != nil || len(plain) != 12 {
			return nil, errBadToken
		}
		query.Stream, query.Sequence = binary.BigEndian.Uint32(plain), binary.BigEndian.Uint64(plain[4:])
	}
	page, last, err := s.sentPage(s.access(ctx, request.GetConsultation()), query, int(orDefault(request.GetPageSize(), defaultSent)))
	if err != nil {
		return nil, err
	}
	response := &ententev1.ListSentResponse{Records: page}
	var names []ledger.Name
	for _, one := range page {
		names = append(names, ledger.Name{Owner: s.cfg.Self, Record: ledger.RecordID(one.GetRecordId())})
	}
	if last != nil {
		no, sequence := last.Position()
		token := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, no), sequence)
		response.NextPageToken, err = s.sealer.seal(bound, token)
		if err != nil {
			return nil, err
		}
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), names...))
}

// sentPage gathers what was sent and may be told, and gives the last of it where there is more of that: that there is more
// which this question is not told of is nothing to tell.
func (s *intake) sentPage(access policy.Access, query ledger.SentQuery, limit int) (page []*ententev1.SentRecord, last *ledger.Sent, err error) {
	query.Limit = limit + 1
	for {
		list, further, err := s.cfg.Ledger.ListSent(query)
		if err != nil {
			return nil, nil, err
		}
		for _, sent := range list {
			reference, told, err := s.listed(access, sent.Record)
			if err != nil {
				return nil, nil, err
			}
			if !told {
				continue
			}
			if len(page) == limit {
				return page, last, nil
			}
			page, last = append(page, &ententev1.SentRecord{
				RecordId: sent.Record[:], ProviderReference: reference, Version: sent.Version, Delivery: sent.Delivery,
			}), &sent
		}
		if !further {
			return page, nil, nil
		}
		query.Stream, query.Sequence = list[len(list)-1].Position()
		query.Limit = max(query.Limit, sentSlice)
	}
}

// Permit gives a permission under H2. When it returns, it stands in the stream to its holder.
func (s *intake) Permit(ctx context.Context, request *ententev1.PermitRequest) (*ententev1.PermitResponse, error) {
	err := s.cfg.Grants().MayPermit(callerOf(ctx).Identity, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	ctx, authority, err := s.changes(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	ask := ledger.Permit{Holder: member.ID(request.GetHolder()), Export: request.GetExport(), Purpose: request.GetPurpose(), Until: request.GetUntil().AsTime()}
	for _, to := range request.GetRecipients() {
		ask.Recipients = append(ask.Recipients, member.ID(to))
	}
	entries, err := s.cfg.Ledger.Permit(ctx, authority, request.GetProviderReference(), ask)
	refused, is := errors.AsType[*ledger.PermitError](err)
	if is {
		return nil, invalidField(refused.Field, refused.Reason)
	}
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.PermitResponse{Entries: entries})
	return answer(ctx, s.Server, cleared, ok, verdictsOnly())
}

// RevokePermission takes a permission back.
func (s *intake) RevokePermission(ctx context.Context, request *ententev1.RevokePermissionRequest) (*ententev1.RevokePermissionResponse, error) {
	err := s.cfg.Grants().MayPermit(callerOf(ctx).Identity, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	ctx, authority, err := s.changes(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	id, err := stream.ParseID(request.GetEntry().GetStreamId())
	if err != nil {
		return nil, invalidField("entry.stream_id", "is not 16 bytes")
	}
	err = s.cfg.Ledger.RevokePermission(ctx, authority, id, request.GetEntry().GetSequence())
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.RevokePermissionResponse{})
	return answer(ctx, s.Server, cleared, ok, verdictsOnly())
}

// ListPermissions answers the permissions that the own member has given for the caller's records, or has received.
func (s *intake) ListPermissions(ctx context.Context, request *ententev1.ListPermissionsRequest) (*ententev1.ListPermissionsResponse, error) {
	authority, err := s.consulted(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	access, response := s.access(ctx, request.GetConsultation()), &ententev1.ListPermissionsResponse{}
	var names []ledger.Name
	for _, held := range s.cfg.Ledger.ListPermissions(authority, request.GetReceived()) {
		if len(names) == mostPermissions {
			break
		}
		n := ledger.Name{Owner: member.ID(held.GetPermission().GetOwner()), Record: ledger.RecordID(held.GetPermission().GetRecordId())}
		told := n.Owner != s.cfg.Self // what was received is about others' records, which their permissions name to the holder
		if !told {
			_, told, err = s.listed(access, n.Record)
		}
		if err != nil {
			return nil, err
		}
		if told {
			names, response.Permissions = append(names, n), append(response.Permissions, held)
		}
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), names...))
}
