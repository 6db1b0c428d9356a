package server

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const defaultPreviewRecords = 100

// PreviewReader says what a member reads of the own releases, and would read. It tells nothing that the own member does not
// hold, and changes nothing.
func (s *intake) PreviewReader(ctx context.Context, request *ententev1.PreviewReaderRequest) (*ententev1.PreviewReaderResponse, error) {
	caller := callerOf(ctx)
	err := s.cfg.Grants().MayGrant(caller.Identity, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	reader, err := member.ParseID(request.GetMember())
	if err != nil || reader == s.cfg.Self {
		return nil, invalidField("member", "is not the id of another member")
	}
	response := &ententev1.PreviewReaderResponse{}
	if len(request.GetPageToken()) == 0 {
		for _, one := range s.cfg.Ledger.Preview(reader, request.GetProjectId()) {
			if request.GetKind() != ententev1.StreamKind_STREAM_KIND_UNSPECIFIED && one.Stream.Kind != request.GetKind() {
				continue
			}
			preview, err := s.preview(one)
			if err != nil {
				return nil, err
			}
			response.Streams = append(response.Streams, preview)
		}
	}
	if request.GetRecords() {
		err = s.previewRecords(caller, request, s.cfg.Ledger.PreviewRecords(reader, request.GetProjectId()), response)
		if err != nil {
			return nil, err
		}
	}
	var names []ledger.Name
	for _, one := range response.GetRecords() {
		names = append(names, ledger.Name{Owner: s.cfg.Self, Record: ledger.RecordID(one.GetRecordId())})
	}
	cleared, ok := policy.ClearOwn(caller.Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), names...))
}

// previewRecords puts one page of records into the response.
func (s *intake) previewRecords(c caller, request *ententev1.PreviewReaderRequest, records []ledger.RecordPreview, response *ententev1.PreviewReaderResponse) error {
	bound := binding("preview", c.String(), request.GetMember(), request.GetProjectId())
	records, err := s.afterPreviewed(bound, request.GetPageToken(), records)
	if err != nil {
		return err
	}
	page := records[:min(len(records), int(orDefault(request.GetPageSize(), defaultPreviewRecords)))]
	for _, one := range page {
		reference, err := s.reference(one.Record)
		if err != nil {
			return err
		}
		response.Records = append(response.Records, &ententev1.RecordPreview{
			RecordId: one.Record[:], ProviderReference: reference, Kind: one.Kind, Outcome: one.Outcome,
		})
	}
	if len(page) < len(records) {
		last := page[len(page)-1].Record
		response.NextPageToken, err = s.sealer.seal(bound, last[:])
	}
	return err
}

// afterPreviewed leaves out what earlier pages have brought.
func (s *intake) afterPreviewed(bound, token []byte, records []ledger.RecordPreview) ([]ledger.RecordPreview, error) {
	if len(token) == 0 {
		return records, nil
	}
	plain, err := s.sealer.open(bound, token)
	if err != nil {
		return nil, errBadToken
	}
	at := slices.IndexFunc(records, func(one ledger.RecordPreview) bool { return string(one.Record[:]) == string(plain) })
	if at < 0 {
		return nil, errListChanged // withdrawn meanwhile
	}
	return records[at+1:], nil
}

// reference is the provider's reference of an own record; empty for one whose content was lost.
func (s *intake) reference(id ledger.RecordID) (string, error) {
	held, err := s.cfg.Ledger.Record(id, 0)
	if errors.Is(err, ledger.ErrAbsent) {
		return "", nil
	}
	return held.GetRecord().GetEnvelope().GetProviderReference(), err
}

func (s *intake) preview(p ledger.StreamPreview) (*ententev1.StreamPreview, error) {
	out := &ententev1.StreamPreview{
		StreamId: p.Stream.ID[:], Kind: p.Stream.Kind, ProjectId: p.Stream.Project, Closed: p.Stream.Closed, Outcome: p.Outcome,
	}
	for _, reader := range p.Stream.Readers {
		out.Readers = append(out.Readers, string(reader))
	}
	if !p.OpensAt.IsZero() {
		out.OpensAt = timestamppb.New(p.OpensAt)
	}
	for kind, count := range p.Standing {
		out.Standing = append(out.Standing, &ententev1.KindCount{Kind: kind, Count: count})
	}
	slices.SortFunc(out.Standing, func(a, b *ententev1.KindCount) int { return int(a.GetKind()) - int(b.GetKind()) })
	for _, obstacle := range p.Obstacles {
		reference, err := s.reference(obstacle.Record)
		if err != nil {
			return nil, err
		}
		out.Obstacles = append(out.Obstacles, &ententev1.GrantObstacle{RecordId: obstacle.Record[:], ProviderReference: reference, Reason: obstacle.Reason})
	}
	return out, nil
}

// GrantStream opens an earlier shared stream to a reader. When it returns, the grant stands in the stream.
func (s *intake) GrantStream(ctx context.Context, request *ententev1.GrantStreamRequest) (*ententev1.GrantStreamResponse, error) {
	caller := callerOf(ctx)
	err := s.cfg.Grants().MayGrant(caller.Identity, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	reader, err := member.ParseID(request.GetMember())
	if err != nil {
		return nil, invalidField("member", "is not the id of a member")
	}
	id, err := stream.ParseID(request.GetStreamId())
	if err != nil {
		return nil, invalidField("stream_id", "is not 16 bytes")
	}
	granted, err := s.cfg.Ledger.Grant(s.acting(ctx, request.GetConsultation()), id, reader, request.GetDryRun())
	refused, is := errors.AsType[*ledger.GrantError](err)
	if is {
		return nil, invalidField(refused.Field, refused.Reason)
	}
	if err != nil {
		return nil, err
	}
	response := &ententev1.GrantStreamResponse{Duplicate: granted.Duplicate}
	response.Stream, err = s.preview(granted.Preview)
	if err != nil {
		return nil, err
	}
	if granted.Sequence > 0 {
		response.Entry = &ententev1.EntryRef{StreamId: id[:], Sequence: granted.Sequence}
	}
	// What the grant did is in the trail with it. Where nothing was done, somebody looked at what a reader would get.
	t := untold("the ledger has told of the grant")
	if response.GetEntry() == nil {
		entry := s.entry(ctx, ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, request.GetConsultation())
		entry.Recipient = string(reader)
		t = told(entry)
	}
	cleared, ok := policy.ClearOwn(caller.Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, t)
}
