package server

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

// An export is a merged view as rows for a file. Whoever carries it out of the federation is the member whose officer asks, so
// that member's node decides, row by row, by the handling codes of what is in it and the permissions that it holds: the node
// of a coordinator for its own officers, and a member's node for what the coordinator sends it.

// exporting is one export under way at the node that lets it out.
type exporting struct {
	*Server
	out      grpc.ServerStreamingServer[ententev1.ExportResponse]
	request  *ententev1.ExportRequest
	entities map[string]bool // ids of the entities that went: an association needs both its ends
	tables   []byte          // where the view was computed here
	looked   bool            // the trail tells of the export: also of one of which no row goes
	summary  ententev1.ExportSummary
}

func newExporting(s *Server, out grpc.ServerStreamingServer[ententev1.ExportResponse], request *ententev1.ExportRequest, tables []byte) *exporting {
	return &exporting{Server: s, out: out, request: request, entities: make(map[string]bool), tables: tables}
}

// row lets one row out, or leaves it out and counts it.
func (e *exporting) row(row *ententev1.ExportRow) error {
	sources, ends, handling := rowParts(row)
	for _, end := range ends {
		if !e.entities[string(end)] {
			return nil // left out with its end, and counted there
		}
	}
	parts, free, err := e.mayExport(sources)
	if err != nil {
		return err
	}
	derived := policy.Combine(parts...)
	// Of an association the row's own handling is that of its ends, too; of what another node merged it is never less than
	// that of the sources.
	row.Banners = policy.Banners(derived.Handling.Union(policy.HandlingOf(handling)), handling.GetText())
	cleared, may := policy.ClearDerived(callerOf(e.out.Context()).Member, derived, &ententev1.ExportResponse{Content: &ententev1.ExportResponse_Row{Row: row}})
	if !free || !may {
		e.summary.WithoutPermission++
		return nil
	}
	if row.GetEntity() != nil {
		e.entities[string(row.GetEntity().GetEntityId())] = true
	}
	e.summary.Rows++
	e.looked = true
	return send(e.Server, e.out, cleared, true, e.traces(row))
}

// rowParts is what stands behind a row, the entities that it joins, and its handling.
func rowParts(row *ententev1.ExportRow) (sources []*ententev1.ViewSource, ends [][]byte, handling *ententev1.HandlingConditions) {
	if row.GetAssociation() != nil {
		a := row.GetAssociation()
		return a.GetSources(), [][]byte{a.GetFromEntityId(), a.GetToEntityId()}, a.GetHandling()
	}
	entity := row.GetEntity()
	sources = entity.GetSources()
	for _, role := range entity.GetRoles() {
		sources = append(sources[:len(sources):len(sources)], role.GetSources()...)
	}
	return sources, nil, entity.GetHandling()
}

// mayExport says of what a row is made, and whether all of it may go into a file.
func (e *exporting) mayExport(sources []*ententev1.ViewSource) (parts []policy.Part, free bool, err error) {
	for _, source := range sources {
		from, free, err := e.sourceFree(source)
		if err != nil || !free {
			return nil, false, err
		}
		parts = append(parts, policy.Part{Label: from.Label, Audience: from.Readers})
	}
	return parts, len(parts) > 0, nil
}

func (e *exporting) sourceFree(source *ententev1.ViewSource) (policy.Source, bool, error) {
	id, err := ledger.ParseRecordID(source.GetRecordId())
	if err != nil {
		return policy.Source{}, false, nil
	}
	n := ledger.Name{Owner: member.ID(source.GetProviderMember()), Record: id}
	forms, err := e.cfg.Ledger.StandingForms(n)
	if err != nil {
		return policy.Source{}, false, err
	}
	from, err := e.held(n, heldLabel(source, forms))
	if err != nil {
		return policy.Source{}, false, err
	}
	own := from.Source
	if n.Owner == e.cfg.Self {
		own.Made, err = e.madeFrom(id)
	}
	if err != nil {
		return policy.Source{}, false, err
	}
	use := policy.Use{Export: true, Purpose: e.request.GetConsultation().GetPurpose()}
	return own, policy.MayExport(own, use, from.Permissions, e.day()), nil
}

// held is a record under a label as this node holds it, with the permissions that it has for it.
func (e *exporting) held(n ledger.Name, label policy.Label) (policy.Made, error) {
	commitments, err := e.cfg.Ledger.Commitments(n)
	if err != nil {
		return policy.Made{}, err
	}
	from := policy.Made{Source: policy.Source{Owner: n.Owner, Holder: e.cfg.Self, Record: n.Record, Label: label, Readers: []member.ID{n.Owner, e.cfg.Self}, Commitments: commitments}}
	for _, p := range e.cfg.Ledger.Permissions(n) {
		from.Permissions = append(from.Permissions, policy.Permission{
			Owner: n.Owner, Record: n.Record, Commitment: p.Commitment, Holder: e.cfg.Self, Recipients: p.Recipients, Export: p.Export,
			Purpose: p.Purpose, Until: p.Until.Unix(),
		})
	}
	return from, nil
}

// madeFrom is what an own record was made from, once for each form in which that is held: all of them count. What is not held
// any more, or not known, frees nothing.
func (e *exporting) madeFrom(id ledger.RecordID) ([]policy.Made, error) {
	origins, known := e.cfg.Ledger.Sources(id)
	if !known {
		return []policy.Made{{}}, nil
	}
	var list []policy.Made
	for _, n := range origins {
		forms, err := e.cfg.Ledger.StandingForms(n)
		if err != nil {
			return nil, err
		}
		if len(forms) == 0 {
			return []policy.Made{{}}, nil
		}
		for _, form := range forms {
			from, err := e.held(n, policy.LabelOf(form))
			if err != nil {
				return nil, err
			}
			list = append(list, from)
		}
	}
	return list, nil
}

// sourceLabel is the label of a record as far as a view tells of it: a view does not say of which kind a record is, and whose
// status is protected was decided before the merge.
func sourceLabel(source *ententev1.ViewSource) policy.Label {
	handling := policy.HandlingOf(source.GetHandling())
	unknown := source.GetPurpose() == ententev1.Purpose_PURPOSE_UNSPECIFIED || source.GetRetainUntil() == nil || handling.Unknown()
	return policy.Label{
		Purpose: source.GetPurpose(), Handling: handling, Level: source.GetClassification().GetLevel(), Rank: source.GetClassification().GetRank(),
		RetainUntil: source.GetRetainUntil().GetSeconds(), Unknown: unknown,
	}
}

// heldLabel is the label of a record of which this node may hold more than a view tells: its handling is never less than that of
// the forms that stand here.
func heldLabel(source *ententev1.ViewSource, forms [][]byte) policy.Label {
	label := sourceLabel(source)
	for _, form := range forms {
		label.Handling = label.Handling.Union(policy.LabelOf(form).Handling)
	}
	label.Unknown = label.Unknown || label.Handling.Unknown()
	return label
}

// opens is what a message beside the rows tells the trail: the first of a call, that somebody exports, since it says already
// how much there is, or was left out.
func (e *exporting) opens() traces {
	if e.looked {
		return untold("what the view is, or how many rows there were, and no record")
	}
	e.looked = true
	return e.traces(nil)
}

// traces are what a row tells the trail: it went to whoever the file is for. nil: that there is an export.
func (e *exporting) traces(row *ententev1.ExportRow) traces {
	var s shown
	s.entities(some(row.GetEntity()))
	s.associations(some(row.GetAssociation()))
	entry := e.entry(e.out.Context(), ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE, e.request.GetConsultation())
	entry.Recipient, entry.Records = "file: "+e.request.GetRecipient(), recordsOf(s.all)
	t := told(entry)
	if e.tables != nil && len(s.merged) > 0 {
		merged := e.entry(e.out.Context(), ententev1.AuditOperation_AUDIT_OPERATION_COMBINATION, e.request.GetConsultation())
		merged.Records, merged.MethodTables = recordsOf(s.merged), e.tables
		t.entries = append(t.entries, merged)
	}
	return t
}

func (e *exporting) send(message *ententev1.ExportResponse) error {
	cleared, ok := policy.ClearOwn(callerOf(e.out.Context()).Identity, e.cfg.Self, message)
	return send(e.Server, e.out, cleared, ok, e.opens())
}

func (e *exporting) end() error {
	summary := &ententev1.ExportSummary{Rows: e.summary.GetRows(), WithoutPermission: e.summary.GetWithoutPermission()}
	return e.send(&ententev1.ExportResponse{Content: &ententev1.ExportResponse_Summary{Summary: summary}})
}

// Export answers the view as rows: for the own officers through the own permissions, to another member's node whole, which
// decides by its own.
func (s *views) Export(request *ententev1.ExportRequest, out grpc.ServerStreamingServer[ententev1.ExportResponse]) error {
	ctx := out.Context()
	q, err := s.asked(ctx, request.GetConsultation())
	if err != nil {
		return err
	}
	view := s.cfg.View.For(q.reader, q.scope, q.lens)
	wanted, err := exportedEntities(view.Entity, request.GetHandles())
	if err != nil {
		return err
	}
	own := newExporting(s.Server, out, request, view.Info().GetTablesHash())
	foreign := callerOf(ctx).Member != s.cfg.Self
	message := &ententev1.ExportResponse{Content: &ententev1.ExportResponse_View{View: view.Info()}}
	cleared, ok := policy.ClearFor(callerOf(ctx).Member, q.reader, message)
	t := own.opens()
	if foreign {
		t = (&shown{}).traces(s.Server, ctx, q.reader, request.GetConsultation(), nil)
	}
	err = send(s.Server, out, cleared, ok, t)
	if err != nil {
		return err
	}
	went := make(map[string]bool)
	let := func(row *ententev1.ExportRow) error {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if !s.cfg.View.Stands(view, s.day()) {
			return errViewChanged
		}
		if !foreign {
			return own.row(row)
		}
		var parts shown
		parts.entities(some(row.GetEntity()))
		parts.associations(some(row.GetAssociation()))
		cleared, ok := policy.ClearFor(callerOf(ctx).Member, q.reader, &ententev1.ExportResponse{Content: &ententev1.ExportResponse_Row{Row: row}})
		own.summary.Rows++
		return send(s.Server, out, cleared, ok, parts.traces(s.Server, ctx, q.reader, request.GetConsultation(), view.Info().GetTablesHash()))
	}
	for i, entity := range view.Entities() {
		if wanted != nil && !wanted[i] {
			continue
		}
		went[string(entity.GetEntityId())] = true
		err = let(&ententev1.ExportRow{Content: &ententev1.ExportRow_Entity{Entity: entity}})
		if err != nil {
			return err
		}
	}
	for _, a := range view.Associations() {
		if !went[string(a.GetFromEntityId())] || !went[string(a.GetToEntityId())] {
			continue
		}
		err = let(&ententev1.ExportRow{Content: &ententev1.ExportRow_Association{Association: a}})
		if err != nil {
			return err
		}
	}
	if !foreign {
		return own.end()
	}
	summary := &ententev1.ExportResponse{Content: &ententev1.ExportResponse_Summary{Summary: &ententev1.ExportSummary{Rows: own.summary.GetRows()}}}
	cleared, ok = policy.ClearFor(callerOf(ctx).Member, q.reader, summary)
	return send(s.Server, out, cleared, ok, untold("how many rows there were"))
}

// some is a list of one, or of none where there is nothing.
func some[T any](one *T) []*T {
	if one == nil {
		return nil
	}
	return []*T{one}
}

// exportedEntities are the entities that handles name, by index; nil where there are no handles: all.
func exportedEntities(find func([16]byte) (int, bool), handles [][]byte) (map[int]bool, error) {
	if len(handles) == 0 {
		return nil, nil
	}
	wanted := make(map[int]bool, len(handles))
	for _, handle := range handles {
		at, ok := find([16]byte(handle))
		if !ok {
			return nil, errNotFound
		}
		wanted[at] = true
	}
	return wanted, nil
}

// Export forwards, and decides on each row that comes by what the own member may let out.
func (s *forwarder) Export(request *ententev1.ExportRequest, out grpc.ServerStreamingServer[ententev1.ExportResponse]) error {
	ctx := out.Context()
	consultation, client, err := s.admit(ctx, request.GetConsultation())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := client.Export(ctx, &ententev1.ExportRequest{Consultation: consultation, Handles: request.GetHandles(), Recipient: request.GetRecipient()})
	if err != nil {
		return passOn(err)
	}
	e := newExporting(s.Server, out, request, nil)
	ended := false
	for {
		message, err := in.Recv()
		if errors.Is(err, io.EOF) && ended {
			return e.end()
		}
		if err != nil {
			return passOn(err)
		}
		switch content := message.GetContent().(type) {
		case *ententev1.ExportResponse_View:
			err = e.send(message)
		case *ententev1.ExportResponse_Row:
			err = s.within(consultation, some(content.Row.GetEntity()), some(content.Row.GetAssociation()))
			if err == nil {
				err = e.row(content.Row)
			}
		case *ententev1.ExportResponse_Summary:
			ended = true // the coordinator has sent all; what came of it here is told by our own
		}
		if err != nil {
			return err
		}
	}
}
