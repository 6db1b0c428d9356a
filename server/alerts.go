package server

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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

	mu    sync.Mutex // covers ahead
	ahead map[member.ID]map[listing]bool
}

// listing is by what a disclosure of another member's trail is known again that is listed a second time.
type listing struct {
	operation ententev1.AuditOperation
	seconds   int64
	nanos     int32
}

// remember keeps which disclosures a member listed that lie ahead of the own clock: it lists them again the next time. After a restart such a one may alert once more.
func (a *alerts) remember(id member.ID, ahead map[listing]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ahead[id] = ahead
}

func (a *alerts) aheadOf(id member.ID) map[listing]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ahead[id]
}

// alertQueue is how many looks wait to be kept. What does not fit is found again when the trail is read at the next start of
// an inquiry; that it was lost is logged.
const alertQueue = 1024

func newAlerts(cfg Config) (*alerts, error) {
	if cfg.Honey == nil {
		return &alerts{}, nil
	}
	return &alerts{honey: cfg.Honey, self: cfg.Self, found: make(chan *ententev1.HoneyAlert, alertQueue), now: cfg.Now, ahead: make(map[member.ID]map[listing]bool)}, nil
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
	h := newHearing(s, id)
	err := s.disclosures(ctx, id, time.Unix(0, h.last+1), func(d *ententev1.Disclosure) error { return h.take(ctx, d) })
	if err != nil {
		return err
	}
	if h.beyond > 0 {
		s.cfg.Logger.Error("a member names more looks at honey records at once than alerts are kept", "member", id, "kept", len(h.alerts), "beyond", h.beyond)
	}
	if h.last != s.alerts.honey.Heard(id) || len(h.alerts) > 0 {
		s.keepAlerts(ctx, h.alerts, map[member.ID]int64{id: h.last})
	}
	s.alerts.remember(id, h.ahead)
	return nil
}

const (
	// maxKept is how many alerts one question to one member leaves: they are kept for ever. Those beyond are in the log.
	maxKept = 1000
	// aheadBelieved is by how much another member's clock may be ahead of the own one and still be believed.
	aheadBelieved = 5 * time.Minute
	// maxAhead bounds what is remembered of disclosures that lie ahead of the own clock.
	maxAhead = 10_000
)

// hearing is what one question to a member has brought so far. Whatever the member names how often, each entry of an own stream
// is looked at once for an operation, and each record alerts once.
type hearing struct {
	s             *Server
	from          member.ID
	now           time.Time
	last          int64 // up to when the member was heard, in nanoseconds since 1970; never beyond now
	before, ahead map[listing]bool
	looked        map[ententev1.AuditOperation]spans
	told          map[sight]bool
	alerts        []*ententev1.HoneyAlert
	beyond        int
}

// sight is that somebody did something with a record.
type sight struct {
	record    [16]byte
	operation ententev1.AuditOperation
}

func newHearing(s *Server, from member.ID) *hearing {
	now := s.alerts.now()
	return &hearing{
		s: s, from: from, now: now, last: min(s.alerts.honey.Heard(from), now.UnixNano()),
		before: s.alerts.aheadOf(from), ahead: make(map[listing]bool),
		looked: make(map[ententev1.AuditOperation]spans), told: make(map[sight]bool),
	}
}

func (h *hearing) take(ctx context.Context, d *ententev1.Disclosure) error {
	at := believed(d.GetAt(), h.now)
	h.last = max(h.last, min(at.UnixNano(), h.now.UnixNano()))
	if !isLook(d.GetOperation()) {
		return nil
	}
	one := listing{operation: d.GetOperation(), seconds: d.GetAt().GetSeconds(), nanos: d.GetAt().GetNanos()}
	if d.GetAt().AsTime().After(h.now) && len(h.ahead) < maxAhead {
		h.ahead[one] = true
	}
	if h.before[one] {
		return nil
	}
	see := func(id ledger.RecordID) { h.see(id, d.GetOperation(), at) }
	for _, raw := range d.GetRecordIds() {
		if len(raw) == 16 {
			see([16]byte(raw))
		}
	}
	looked := h.looked[d.GetOperation()]
	if looked == nil {
		looked = spans{}
		h.looked[d.GetOperation()] = looked
	}
	return h.s.eachFresh(ctx, looked, d.GetRanges(), see)
}

// believed is when something was, by another member's word: now where that is nonsense or too far ahead.
func believed(at *timestamppb.Timestamp, now time.Time) time.Time {
	if !at.IsValid() || at.GetSeconds() < 0 || at.AsTime().After(now.Add(aheadBelieved)) {
		return now
	}
	return at.AsTime()
}

// see notes a look at a record, if it is marked.
func (h *hearing) see(id [16]byte, operation ententev1.AuditOperation, at time.Time) {
	one := sight{record: id, operation: operation}
	if !h.s.alerts.honey.Marked(id) || h.told[one] {
		return
	}
	h.told[one] = true
	if len(h.alerts) == maxKept {
		h.beyond++
		h.s.cfg.Logger.Error("a look at a honey record was not kept: a member names too many at once", "record", ledger.RecordID(id).String(), "member", h.from)
		return
	}
	h.alerts = append(h.alerts, &ententev1.HoneyAlert{RecordId: id[:], At: timestamppb.New(at), Member: string(h.from), Operation: operation})
}

// What one member may answer to one question about the own records. An answer costs its reader more than its sender.
const (
	maxListed    = 1_000_000 // disclosures
	maxNamed     = 4_000_000 // ids and stretches in them
	maxPages     = 10_000
	maxPageItems = 1000 // disclosures of one page, by the contract
)

var (
	errAnswerTooLong = status.Error(codes.ResourceExhausted, "the other member's node lists more than is worked through for one question")
	errAnswerUnsound = status.Error(codes.FailedPrecondition, "the other member's node answers against the contract; its operator has to look at it")
)

// disclosures reads what a member's trail says of the own records. fn works within ctx.
func (s *Server) disclosures(ctx context.Context, id member.ID, since time.Time, fn func(*ententev1.Disclosure) error) error {
	client, err := s.cfg.Audit.Exchange(ctx, id)
	if err != nil {
		return err
	}
	request := &ententev1.ListDisclosuresRequest{}
	if since.UnixNano() > 0 {
		request.Since = timestamppb.New(since)
	}
	listed, named := 0, 0
	for range maxPages {
		response, err := client.ListDisclosures(ctx, request)
		if err != nil {
			return passOn(err)
		}
		err = checkPage(response)
		if err != nil {
			return err
		}
		for _, d := range response.GetDisclosures() {
			listed++
			named += len(d.GetRecordIds()) + len(d.GetRanges())
			if listed > maxListed || named > maxNamed {
				return errAnswerTooLong
			}
			if ctx.Err() != nil {
				return ended(ctx)
			}
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
	return errAnswerTooLong
}

// checkPage refuses pages that no node of this contract sends: more of them could be asked for without end.
func checkPage(page *ententev1.ListDisclosuresResponse) error {
	n := len(page.GetDisclosures())
	if n > maxPageItems || n == 0 && len(page.GetNextPageToken()) > 0 {
		return errAnswerUnsound
	}
	return nil
}
