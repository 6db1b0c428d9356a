package server

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const (
	defaultPending = 50
	// releaseSlice is how many records of a large release go into one transaction.
	releaseSlice = 1000
)

// acts is the authority in whose name a system changes something, and the context in which what it does stands in the trail
// with whom it acts for. A consultation may be left out where the system acts by itself.
func (s *intake) acts(ctx context.Context, c *ententev1.Consultation) (context.Context, string, error) {
	if c != nil {
		err := s.cfg.Grants().MayAsk(callerOf(ctx).Identity, c)
		if err != nil {
			return ctx, "", err
		}
	}
	authority, err := s.authority(ctx)
	return s.acting(ctx, c), authority, err
}

// selected is the references that a request names, of the caller's authority.
func (s *intake) selected(ctx context.Context, authority string, refs []string, selection *ententev1.RecordSelection) ([]string, error) {
	query := selection.GetQuery()
	if query != nil {
		wrong := policy.CheckCriteria(policy.Criteria{Kinds: query.GetKinds(), TieBases: query.GetTieBases(), Others: narrowed(query)})
		if len(wrong) > 0 {
			return nil, invalid(wrong)
		}
		if len(query.GetKinds())+len(query.GetTieBases()) == 0 && !narrowed(query) {
			return nil, invalidField("selection.query", "says nothing that would narrow it")
		}
	}
	chosen := ledger.Selection{Authority: authority, References: append(slices.Clone(refs), selection.GetProviderReferences()...), Project: selection.GetProjectId(), Query: query}
	for i, raw := range selection.GetRecordIds() {
		id, err := ledger.ParseRecordID(raw)
		if err != nil {
			return nil, invalidField("selection.record_ids", "are 16 bytes each")
		}
		_ = i
		chosen.Records = append(chosen.Records, id)
	}
	list, err := s.cfg.Ledger.Select(ctx, chosen)
	if err == nil && len(list) == 0 && selection == nil {
		return nil, invalidField("provider_references", "are missing, and so is selection")
	}
	return list, err
}

// narrowed says whether a query is narrowed by something that is no category of its own.
func narrowed(q *ententev1.RecordQuery) bool {
	return len(q.GetCrimeAreas())+len(q.GetPurposes()) > 0 || q.GetRecordedFrom() != nil || q.GetRecordedBefore() != nil || q.Released != nil
}

// Release puts records before audiences. When it returns, the release is on disk.
func (s *intake) Release(ctx context.Context, request *ententev1.ReleaseRequest) (*ententev1.ReleaseResponse, error) {
	ctx, authority, err := s.acts(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	violations := policy.CheckAudiences(request.GetAudiences())
	if len(violations) > 0 {
		return nil, invalid(violations)
	}
	if len(request.GetAudiences()) == 0 && !request.GetReplace() {
		return nil, invalidField("audiences", "are required, unless they replace the earlier ones")
	}
	refs, err := s.selected(ctx, authority, request.GetProviderReferences(), request.GetSelection())
	if err != nil {
		return nil, err
	}
	response := &ententev1.ReleaseResponse{}
	for some := range slices.Chunk(refs, releaseSlice) {
		verdicts, err := s.cfg.Ledger.Release(ctx, authority, some, request.GetAudiences(), request.GetReplace())
		if err != nil {
			return nil, err
		}
		response.Verdicts = append(response.Verdicts, verdicts...)
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, verdictsOnly())
}

// verdictsOnly is for answers that say what became of records: the ledger has put what was done into the trail.
func verdictsOnly() traces {
	return untold("verdicts: the ledger has put what was done into the trail")
}

// Withdraw takes records back. When it returns, the withdrawal is on disk.
func (s *intake) Withdraw(ctx context.Context, request *ententev1.WithdrawRequest) (*ententev1.WithdrawResponse, error) {
	ctx, authority, err := s.acts(ctx, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	violations := policy.CheckReason(request.GetReason())
	if len(violations) > 0 {
		return nil, invalid(violations)
	}
	verdicts, err := s.cfg.Ledger.Withdraw(ctx, authority, request.GetProviderReferences(), request.GetReason())
	if err == nil && request.GetErase() {
		err = s.cfg.Ledger.EraseHome(ctx, authority, request.GetProviderReferences(), verdicts)
	}
	if err != nil {
		return nil, err
	}
	cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, &ententev1.WithdrawResponse{Verdicts: verdicts})
	return answer(ctx, s.Server, cleared, ok, verdictsOnly())
}

// PreviewRelease says what a release would do, record by record, and changes nothing.
func (s *intake) PreviewRelease(request *ententev1.PreviewReleaseRequest, out grpc.ServerStreamingServer[ententev1.PreviewReleaseResponse]) error {
	ctx := out.Context()
	authority, err := s.consulted(ctx, request.GetConsultation())
	if err != nil {
		return err
	}
	violations := policy.CheckAudiences(request.GetAudiences())
	if len(violations) > 0 {
		return invalid(violations)
	}
	refs, err := s.selected(ctx, authority, nil, request.GetSelection())
	if err != nil {
		return err
	}
	access := s.access(ctx, request.GetConsultation())
	answered, planned, err := s.previewed(access, authority, refs, request.GetSelection().GetProviderReferences())
	if err != nil {
		return err
	}
	if len(answered) == 0 {
		return s.trace(ctx, s.consultation(ctx, request.GetConsultation())) // nobody is answered without an entry, not even with nothing
	}
	ctx, at := s.acting(ctx, request.GetConsultation()), 0
	return s.cfg.Ledger.PreviewRelease(ctx, authority, planned, request.GetAudiences(), request.GetReplace(), func(p ledger.Previewed) error {
		ref, hidden := answered[at], planned[at] == ""
		p.Record, at = s.cfg.Ledger.RecordID(authority, ref), at+1
		held, err := s.ownShown(access, authority, ref)
		if err != nil {
			return err
		}
		if held == nil && !hidden {
			return errListChanged // it was shown when the call began, and a correction has hidden it: asked again, it is not there
		}
		response := &ententev1.PreviewReleaseResponse{RecordId: p.Record[:], ProviderReference: ref, Violations: p.Violations, Waiting: p.Waiting, Forms: formsOf(p.Forms)}
		for _, id := range p.Losing {
			response.Losing = append(response.Losing, string(id))
		}
		if p.Grounds != 0 {
			response.ApprovalReasons = policy.ApprovalReasons(ownLabel(held))
		}
		cleared, ok := policy.ClearOwn(callerOf(ctx).Identity, s.cfg.Self, response)
		return send(s.Server, out, cleared, ok, s.consultation(out.Context(), request.GetConsultation(), ledger.Name{Owner: s.cfg.Self, Record: p.Record}))
	})
}

// previewed is which references of a selection are answered, and what the ledger plans for each: for one that names nothing,
// or nothing that this question may see, the empty reference, which no record has. So the two are answered by the same words,
// and neither bears upon the others of the call. What was selected otherwise and may not be seen is left out.
func (s *intake) previewed(access policy.Access, authority string, refs, named []string) (answered, planned []string, err error) {
	for _, ref := range refs {
		held, err := s.ownShown(access, authority, ref)
		if err != nil {
			return nil, nil, err
		}
		if held == nil && !slices.Contains(named, ref) {
			continue
		}
		answered = append(answered, ref)
		if held == nil {
			ref = ""
		}
		planned = append(planned, ref)
	}
	return answered, planned, nil
}

// ownShown is a record of an authority as a question may see it; nil where it is not there, or not for this question.
func (s *intake) ownShown(access policy.Access, authority, ref string) (*ententev1.HeldRecord, error) {
	held, err := s.cfg.Ledger.Record(s.cfg.Ledger.RecordID(authority, ref), 0)
	if errors.Is(err, ledger.ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at a selected record: %w", err)
	}
	if held.GetAuthority() != authority || !shownOwn(access, held) {
		return nil, nil
	}
	return held, nil
}

func formsOf(forms []ledger.Form) []*ententev1.RecipientForm {
	var list []*ententev1.RecipientForm
	for _, f := range forms {
		list = append(list, &ententev1.RecipientForm{
			Member: string(f.Member), Kind: f.Kind, ProjectId: f.Project, ReleasedRecord: f.Released, Standing: f.Standing,
		})
	}
	return list
}

// ListPending answers an officer who decides on releases what waits, and what each recipient would get.
func (s *intake) ListPending(ctx context.Context, request *ententev1.ListPendingRequest) (*ententev1.ListPendingResponse, error) {
	c := callerOf(ctx)
	err := s.cfg.Grants().MayDecide(c.Identity, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	bound := binding("pending", c.String())
	var after ledger.RecordID
	if len(request.GetPageToken()) > 0 {
		plain, err := s.sealer.open(bound, request.GetPageToken())
		if err != nil || len(plain) != len(after) {
			return nil, errBadToken
		}
		after = ledger.RecordID(plain)
	}
	access := s.access(ctx, request.GetConsultation())
	releases, more, err := s.pendingPage(access, after, int(orDefault(request.GetPageSize(), defaultPending)))
	if err != nil {
		return nil, err
	}
	response := &ententev1.ListPendingResponse{Releases: releases}
	var names []ledger.Name
	for _, one := range releases {
		names = append(names, ledger.Name{Owner: s.cfg.Self, Record: ledger.RecordID(one.GetRecordId())})
	}
	if more {
		response.NextPageToken, err = s.sealer.seal(bound, releases[len(releases)-1].GetRecordId())
		if err != nil {
			return nil, err
		}
	}
	cleared, ok := policy.ClearOwn(c.Identity, s.cfg.Self, response)
	return answer(ctx, s.Server, cleared, ok, s.consultation(ctx, request.GetConsultation(), names...))
}

// pendingPage gathers pending releases that are for this officer, and says whether there are more of those: that there are
// more which the officer may not see is nothing to tell.
func (s *intake) pendingPage(access policy.Access, after ledger.RecordID, limit int) (page []*ententev1.PendingRelease, more bool, err error) {
	for {
		list, further := s.cfg.Ledger.ListPending(after, limit)
		for _, one := range list {
			pending, err := s.pending(access, one)
			if err != nil {
				return nil, false, err
			}
			if pending == nil {
				continue
			}
			if len(page) == limit {
				return page, true, nil
			}
			page = append(page, pending)
		}
		if !further {
			return page, false, nil
		}
		after = list[len(list)-1].Record
	}
}

// pending is one pending release as an officer sees it; nil where it is not for this officer.
func (s *intake) pending(access policy.Access, p ledger.Pending) (*ententev1.PendingRelease, error) {
	held, err := s.cfg.Ledger.Record(p.Record, 0)
	if err != nil || !policy.MayDecideOn(access, ownLabel(held)) {
		return nil, err
	}
	preview, err := s.cfg.Ledger.PreviewPending(p.Record)
	if err != nil {
		return nil, err
	}
	return &ententev1.PendingRelease{
		RecordId: p.Record[:], ProviderReference: held.GetRecord().GetEnvelope().GetProviderReference(), Authority: p.Authority, Version: p.Version,
		Audiences: p.Audiences, ProposedBy: p.Proposer, State: p.State, Reasons: policy.ApprovalReasons(ownLabel(held)), Forms: formsOf(preview.Forms),
	}, nil
}

// DecideRelease lets pending releases go, or ends them. When it returns, that is on disk.
func (s *intake) DecideRelease(ctx context.Context, request *ententev1.DecideReleaseRequest) (*ententev1.DecideReleaseResponse, error) {
	c := callerOf(ctx)
	err := s.cfg.Grants().MayDecide(c.Identity, request.GetConsultation())
	if err != nil {
		return nil, err
	}
	if !request.GetApprove() && request.GetReason() == "" {
		return nil, invalidField("reason", "is required where releases are refused")
	}
	d := ledger.Decision{Approve: request.GetApprove(), Reason: request.GetReason(), Officer: c.Name, Versions: request.GetVersions(), States: request.GetStates()}
	access := s.access(ctx, request.GetConsultation())
	for _, raw := range request.GetRecordIds() {
		id := ledger.RecordID(raw)
		held, err := s.cfg.Ledger.Record(id, 0)
		if err != nil || !policy.MayDecideOn(access, ownLabel(held)) {
			id = ledger.RecordID{} // which no record has: the same answer as for one that does not wait
		}
		d.Records = append(d.Records, id)
	}
	verdicts, err := s.cfg.Ledger.Decide(s.acting(ctx, request.GetConsultation()), d)
	if err != nil {
		return nil, err
	}
	for i, raw := range request.GetRecordIds() {
		verdicts[i].RecordId = raw
	}
	cleared, ok := policy.ClearOwn(c.Identity, s.cfg.Self, &ententev1.DecideReleaseResponse{Verdicts: verdicts})
	return answer(ctx, s.Server, cleared, ok, verdictsOnly())
}
