package server

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
)

// AuditCaller is how the node asks other members' nodes about the own records.
type AuditCaller interface {
	// Exchange is a client of a member's node, over a connection that the caller does not close.
	Exchange(ctx context.Context, id member.ID) (ententev1.ExchangeServiceClient, error)
}

// alerts watches what the trail says of honey records.
type alerts struct {
	honey *audit.Honey
	self  member.ID
	found chan *ententev1.HoneyAlert // looks that are to be kept; see watch
	now   func() time.Time
}

// alertQueue is how many looks wait to be kept. What does not fit is found again when the trail is read at the next start of
// an inquiry; that it was lost is logged.
const alertQueue = 1024

func newAlerts(cfg Config) (*alerts, error) {
	if cfg.Honey == nil {
		return &alerts{}, nil
	}
	return &alerts{honey: cfg.Honey, self: cfg.Self, found: make(chan *ententev1.HoneyAlert, alertQueue), now: cfg.Now}, nil
}

// isLook says whether an operation means that somebody looked.
func isLook(operation ententev1.AuditOperation) bool {
	return operation == ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION || operation == ententev1.AuditOperation_AUDIT_OPERATION_DISCLOSURE
}

// look finds honey records in what has just gone into the trail. What goes to another member's node by a stream is no look:
// the owner released it. The auditors' own questions are none either.
func (a *alerts) look(s *Server, entries []*ententev1.AuditEntry) {
	if a.honey == nil || a.honey.Marks() == 0 {
		return
	}
	for _, e := range entries {
		replicated := e.GetMethod() == ententev1.ExchangeService_Pull_FullMethodName || e.GetMethod() == ententev1.AdminService_ExportStreams_FullMethodName
		if !isLook(e.GetOperation()) || replicated || e.GetActor().GetKind() == member.KindAuditor.String() {
			continue
		}
		for _, id := range a.marked(s, e.GetRecords(), e.GetRanges()) {
			alert := &ententev1.HoneyAlert{RecordId: id[:], At: timestamppb.New(a.now()), Member: string(a.self), Operation: e.GetOperation(), Actor: e.GetActor(), Entry: e.GetNumber()}
			select {
			case a.found <- alert:
			default:
				s.cfg.Logger.Error("a look at a honey record was not kept: too many at once", "record", ledger.RecordID(id).String())
			}
		}
	}
}

// marked are the own records with a mark that an entry names.
func (a *alerts) marked(s *Server, records []*ententev1.AuditRecords, ranges []*ententev1.AuditRange) [][16]byte {
	var list [][16]byte
	add := func(id [16]byte) {
		if a.honey.Marked(id) && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	for _, r := range records {
		if r.GetOwner() != string(a.self) {
			continue
		}
		for _, id := range r.GetRecordIds() {
			if len(id) == 16 {
				add([16]byte(id))
			}
		}
	}
	for _, r := range ranges {
		if r.GetOwner() != string(a.self) {
			continue
		}
		for _, id := range s.carried(a.self, r.GetStreamId(), r.GetFirst(), r.GetLast()) {
			add(id)
		}
	}
	return list
}

// watch keeps looks at honey records until ctx ends, and says in the log that there was one.
func (s *Server) watchHoney(ctx context.Context) {
	if s.alerts.honey == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case alert := <-s.alerts.found:
			s.keepAlerts(ctx, []*ententev1.HoneyAlert{alert}, nil)
		}
	}
}

func (s *Server) keepAlerts(ctx context.Context, list []*ententev1.HoneyAlert, heard map[member.ID]int64) {
	err := s.alerts.honey.Alert(context.WithoutCancel(ctx), list, heard)
	for _, alert := range list {
		level := slog.LevelWarn
		if err != nil {
			level = slog.LevelError
		}
		s.cfg.Logger.Log(ctx, level, "somebody looked at a honey record", "record", ledger.RecordID(alert.GetRecordId()).String(), "member", alert.GetMember(), "kept", err == nil)
	}
}

// AskDisclosures asks the other members' nodes what their trails say of the own honey records since they were asked last. It
// is called regularly; where nothing is marked it asks nobody. A member that does not answer is asked again the next time.
func (s *Server) AskDisclosures(ctx context.Context) error {
	if s.alerts.honey == nil || s.cfg.Audit == nil || s.alerts.honey.Marks() == 0 {
		return nil
	}
	roster := s.cfg.Directory().Roster
	members := roster.Members()
	problems := make([]error, len(members))
	var all sync.WaitGroup
	for i, id := range members {
		if id == s.cfg.Self || !roster.Active(id) {
			continue
		}
		all.Go(func() { // ends within askWithin
			problems[i] = s.askDisclosures(ctx, id)
		})
	}
	all.Wait()
	return errors.Join(problems...)
}

// askWithin is how long one member may take to say what its trail says: one that never answers must not keep others from
// being asked.
const askWithin = 10 * time.Second

func (s *Server) askDisclosures(ctx context.Context, id member.ID) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	since := time.Unix(0, s.alerts.honey.Heard(id)+1)
	var found []*ententev1.HoneyAlert
	last := s.alerts.honey.Heard(id)
	err := s.disclosures(ctx, id, since, func(d *ententev1.Disclosure) error {
		last = max(last, d.GetAt().AsTime().UnixNano())
		if !isLook(d.GetOperation()) {
			return nil
		}
		records := []*ententev1.AuditRecords{{Owner: string(s.cfg.Self), RecordIds: d.GetRecordIds()}}
		for _, record := range s.alerts.marked(s, records, ownRanges(s.cfg.Self, d.GetRanges())) {
			found = append(found, &ententev1.HoneyAlert{RecordId: record[:], At: d.GetAt(), Member: string(id), Operation: d.GetOperation()})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if last > s.alerts.honey.Heard(id) {
		s.keepAlerts(ctx, found, map[member.ID]int64{id: last})
	}
	return nil
}

// ownRanges are stretches as another member lists them: of our streams, whatever it says.
func ownRanges(self member.ID, ranges []*ententev1.AuditRange) []*ententev1.AuditRange {
	return slices.DeleteFunc(slices.Clone(ranges), func(r *ententev1.AuditRange) bool { return r.GetOwner() != string(self) })
}

// maxListed bounds what one member may answer about the own records.
const maxListed = 1_000_000

// disclosures reads what a member's trail says of the own records.
func (s *Server) disclosures(ctx context.Context, id member.ID, since time.Time, fn func(*ententev1.Disclosure) error) error {
	client, err := s.cfg.Audit.Exchange(ctx, id)
	if err != nil {
		return err
	}
	request := &ententev1.ListDisclosuresRequest{}
	if since.UnixNano() > 0 {
		request.Since = timestamppb.New(since)
	}
	for listed := 0; listed < maxListed; {
		response, err := client.ListDisclosures(ctx, request)
		if err != nil {
			return passOn(err)
		}
		for _, d := range response.GetDisclosures() {
			listed++
			err = fn(d)
			if err != nil {
				return err
			}
		}
		if len(response.GetNextPageToken()) == 0 {
			return nil
		}
		request.PageToken = response.GetNextPageToken()
	}
	return errTooMany
}
