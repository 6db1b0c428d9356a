package server

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
)

const (
	// followSlice is how many entries are read at a time. Nothing is held between slices or across a send.
	followSlice = 500
	// sendItems is how many items one message holds at most.
	sendItems = 500
	// maxSkipped bounds what a subscription remembers of records that were gone before it came by. Beyond it, it is
	// told of withdrawals of records that it never got, which is noise and no harm.
	maxSkipped = 100_000
)

// subscriptions is where the member's own project teams and systems follow what their member may see.
type subscriptions struct {
	ententev1.UnimplementedStreamServiceServer
	*Server
}

// codeSet is a set of kinds or crime areas, one bit a number; all numbers are below 64.
type codeSet uint64

func setOf[N ~int32](list []N) codeSet {
	var set codeSet
	for _, n := range list {
		if n >= 0 && n < 64 {
			set |= 1 << uint(n)
		}
	}
	return set
}

// filterOf is the set that a filter lets through; 0: all. A filter of nothing but codes that this version cannot hold
// lets nothing through: it narrows, as every filter does.
func filterOf[N ~int32](list []N) codeSet {
	set := setOf(list)
	if set == 0 && len(list) > 0 {
		return 1 // "not given", which no record is
	}
	return set
}

func kindSet(kinds []ententev1.RecordKind) codeSet { return setOf(kinds) }

func (s codeSet) has(kind ententev1.RecordKind) bool {
	return kind >= 0 && kind < 64 && s&(1<<uint(kind)) != 0
}

// subscription is one open call.
type subscription struct {
	*Server
	out     grpc.ServerStreamingServer[ententev1.SubscribeResponse]
	caller  member.Identity
	request *ententev1.SubscribeRequest
	bound   []byte
	kinds   codeSet // 0: all
	areas   codeSet // 0: all

	position vector
	// skipped are released entries that were already erased when this call passed them: no notice of their withdrawal.
	skipped map[place]struct{}
	// awaited are records of which it was told that another release stands: should that be gone before it comes by, its
	// withdrawal is told all the same.
	awaited map[ledger.Name]struct{}
	pending *ententev1.SubscribeResponse
	gone    uint64                  // how many payloads had been erased when the first item of pending was read
	ranges  []*ententev1.AuditRange // of the records in pending
	size    int                     // of pending, in bytes, about
	looked  bool                    // an entry of the trail says that somebody follows
	midway  bool                    // the last message sent did not say current
}

type place struct {
	stream   stream.ID
	sequence uint64
}

// Subscribe sends what the caller may see from its cursor on, and then what is new. It reads the store in short slices,
// so a slow subscriber holds nobody up. If we crash here, the subscriber goes on with the cursor that it has.
func (s *subscriptions) Subscribe(request *ententev1.SubscribeRequest, out grpc.ServerStreamingServer[ententev1.SubscribeResponse]) error {
	c := callerOf(out.Context())
	err := s.cfg.Grants().MayAsk(c.Identity, request.GetConsultation())
	if err != nil {
		return err
	}
	bound := cursorBinding(c, request)
	position, err := s.openCursor(bound, request.GetCursor())
	if err != nil {
		return err
	}
	sub := &subscription{
		Server: s.Server, out: out, caller: c.Identity, request: request, bound: bound,
		areas: filterOf(request.GetCrimeAreas()), position: position,
		skipped: make(map[place]struct{}), awaited: make(map[ledger.Name]struct{}), pending: &ententev1.SubscribeResponse{},
	}
	kinds, some := commonKinds(request.GetKinds(), request.GetConsultation().GetScope().GetKinds())
	sub.kinds = filterOf(kinds)
	if !some {
		sub.kinds = 1 << uint(ententev1.RecordKind_RECORD_KIND_UNSPECIFIED) // no record has this kind
	}
	return sub.run(out.Context())
}

func (s *subscription) run(ctx context.Context) error {
	for first := true; ; first = false {
		changed := s.cfg.Ledger.Changed() // asked before reading: what comes while we read wakes us again
		err := s.round(ctx, first)
		if err != nil {
			return err
		}
		if s.request.GetUntilCurrent() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

// round sends all that is new since the last one. Whether the subscriber may have it is decided anew in each round, and
// for each message. A round without visible items sends nothing, but for the first, which tells where current is.
func (s *subscription) round(ctx context.Context, first bool) error {
	defer s.working(ctx)()
	if !s.mayFollow() {
		return errNotFound
	}
	for _, info := range s.cfg.Ledger.Streams() {
		if !s.follows(&info) {
			continue
		}
		err := s.stream(ctx, &info)
		if err != nil {
			return err
		}
	}
	if !first && !s.midway && len(s.pending.GetItems()) == 0 {
		return nil
	}
	s.pending.Current = true
	return s.flush()
}

// mayFollow says whether the subscription is open to the caller: what is not granted, and a project that does not
// exist, is over, or is not the member's, are the same to it.
func (s *subscription) mayFollow() bool {
	project, grants := s.request.GetProjectId(), s.cfg.Grants()
	if grants.MayAsk(s.caller, s.request.GetConsultation()) != nil {
		return false
	}
	if !grants.MaySee(s.caller, s.request.GetConsultation(), project) {
		return false
	}
	if project == "" {
		return true
	}
	known, ok := s.cfg.Directory().Projects[project]
	return ok && known.Open(s.cfg.Now()) && known.Has(s.cfg.Self)
}

// follows says whether a stream belongs to the subscription.
func (s *subscription) follows(info *ledger.StreamInfo) bool {
	if info.Hidden || !policy.MayRead(s.cfg.Self, info.Owner, info.Readers) {
		return false
	}
	project := s.request.GetProjectId()
	if project != "" && (info.Project != project || info.Stranger) {
		return false
	}
	return inScope(s.request.GetConsultation().GetScope(), info)
}

// inScope says whether the scope's projects and its limit to all members leave a stream in.
func inScope(scope *ententev1.Scope, info *ledger.StreamInfo) bool {
	shared := info.Kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS ||
		info.Kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE
	if scope.GetAllMembersOnly() && !shared {
		return false
	}
	if len(scope.GetProjects()) == 0 {
		return true
	}
	for _, project := range scope.GetProjects() {
		if project != "" && project == info.Project && !info.Stranger {
			return true
		}
	}
	return false
}

func (s *subscription) stream(ctx context.Context, info *ledger.StreamInfo) error {
	for s.position[named(info.Owner, info.ID)] < info.Size {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if len(s.pending.GetItems()) == 0 {
			s.gone = s.cfg.Ledger.Gone()
		}
		entries, err := s.cfg.Ledger.Follow(info.No, s.position[named(info.Owner, info.ID)]+1, followSlice)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		for i := range entries {
			err = s.entry(info, &entries[i])
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// entry adds what an entry means to the subscriber to the pending message, and sends that when it is full.
func (s *subscription) entry(info *ledger.StreamInfo, e *ledger.Entry) error {
	item := s.item(info, e)
	if item != nil {
		s.pending.Items = append(s.pending.Items, item)
		s.size += len(item.GetReleasedRecord()) + 100
		if item.GetReleasedRecord() != nil {
			s.ranges = addRange(s.ranges, info, e.Sequence)
		}
	}
	s.position[named(info.Owner, info.ID)] = e.Sequence
	if len(s.pending.GetItems()) < sendItems && s.size < sendBytes {
		return nil
	}
	return s.flush()
}

// item is what the subscriber gets of an entry; nil: nothing.
func (s *subscription) item(info *ledger.StreamInfo, e *ledger.Entry) *ententev1.StreamItem {
	item := &ententev1.StreamItem{
		Owner: string(info.Owner), RecordId: e.Record[:],
		Entry: &ententev1.EntryRef{StreamId: info.ID[:], Sequence: e.Sequence},
	}
	switch e.Type {
	case ententev1.EntryType_ENTRY_TYPE_RELEASE:
		if e.Released == nil || e.Stream.Left || !s.maySee(e) { // of a project that the own member has left: only told when it is withdrawn
			s.skip(e, place{named(info.Owner, info.ID), e.Sequence})
			return nil
		}
		item.Content = &ententev1.StreamItem_ReleasedRecord{ReleasedRecord: e.Released}
	case ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL:
		if e.Record == (ledger.RecordID{}) {
			return nil // of a permission, or of something that was never shown to anybody here
		}
		if !s.mayHold(place{named(info.Owner, e.Target), e.TargetSeq}) {
			return nil
		}
		notice := &ententev1.WithdrawalNotice{Reason: e.Reason, StillHeld: e.StillHeld && s.otherwise(e)}
		if notice.GetStillHeld() && len(s.awaited) < maxSkipped {
			s.awaited[ledger.Name{Owner: e.Owner, Record: e.Record}] = struct{}{}
		}
		item.Content = &ententev1.StreamItem_Withdrawal{Withdrawal: notice}
	default:
		return nil
	}
	if !s.wants(e) {
		return nil
	}
	return item
}

// maySee says whether a record fits what the subscriber asks for: the purpose, the clearance, the day.
func (s *subscription) maySee(e *ledger.Entry) bool {
	return policy.May(s.cfg.Grants().AccessOf(s.caller, s.request.GetConsultation(), s.day()), policy.LabelOf(e.Released))
}

// otherwise says whether a record that is withdrawn by one entry stands by another that the subscriber may see. Otherwise it
// would keep what it has, and wait for a version that never comes.
func (s *subscription) otherwise(e *ledger.Entry) bool {
	forms, err := s.cfg.Ledger.StandingForms(ledger.Name{Owner: e.Owner, Record: e.Record})
	if err != nil {
		return false // what cannot be read is not held
	}
	access := s.cfg.Grants().AccessOf(s.caller, s.request.GetConsultation(), s.day())
	return slices.ContainsFunc(forms, func(released []byte) bool { return policy.May(access, policy.LabelOf(released)) })
}

// addRange adds an entry to stretches of streams.
func addRange(ranges []*ententev1.AuditRange, info *ledger.StreamInfo, sequence uint64) []*ententev1.AuditRange {
	if len(ranges) > 0 {
		last := ranges[len(ranges)-1]
		if last.GetOwner() == string(info.Owner) && string(last.GetStreamId()) == string(info.ID[:]) && last.GetLast()+1 == sequence {
			last.Last = sequence
			return ranges
		}
	}
	return append(ranges, &ententev1.AuditRange{Owner: string(info.Owner), StreamId: info.ID[:], First: sequence, Last: sequence})
}

func (s *subscription) skip(e *ledger.Entry, p place) {
	_, awaited := s.awaited[ledger.Name{Owner: e.Owner, Record: e.Record}]
	if len(s.skipped) < maxSkipped && !awaited {
		s.skipped[p] = struct{}{}
	}
}

// mayHold says whether the subscriber may have got the entry: it passed it, in this call or an earlier one.
func (s *subscription) mayHold(target place) bool {
	if s.position[target.stream] < target.sequence {
		return false // it will find it erased
	}
	_, skipped := s.skipped[target]
	delete(s.skipped, target)
	return !skipped
}

// wants applies the subscriber's own filters. A withdrawal whose record's kind and areas are no longer known goes to
// everyone who may hold the record.
func (s *subscription) wants(e *ledger.Entry) bool {
	if e.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL && e.Kind == ententev1.RecordKind_RECORD_KIND_UNSPECIFIED {
		return true
	}
	if s.kinds != 0 && !s.kinds.has(e.Kind) {
		return false
	}
	return s.areas == 0 || s.areas&codeSet(e.CrimeAreas) != 0
}

// flush sends the pending message with the cursor after it.
func (s *subscription) flush() error {
	var err error
	s.pending.Cursor, err = s.sealCursor(s.bound, s.position)
	if err != nil {
		return err
	}
	if !s.mayFollow() {
		return errNotFound
	}
	err = s.trace(s.out.Context(), s.shown())
	if err != nil {
		return err
	}
	err = s.dropErased()
	if err != nil {
		return err
	}
	message := s.pending
	s.midway = !message.GetCurrent()
	s.pending, s.size, s.ranges = &ententev1.SubscribeResponse{}, 0, nil
	cleared, ok := policy.ClearOwn(s.caller, s.cfg.Self, message)
	return send(s.Server, s.out, cleared, ok, untold("what is in the trail already"))
}

// shown is what the pending message tells the trail: the stretches of streams whose records it shows. The first message tells
// that somebody looked, also where there was nothing to see.
func (s *subscription) shown() traces {
	if len(s.ranges) == 0 && s.looked {
		return untold("withdrawals and positions, and no record")
	}
	s.looked = true
	entry := s.Server.entry(s.out.Context(), ententev1.AuditOperation_AUDIT_OPERATION_CONSULTATION, s.request.GetConsultation())
	entry.Ranges = s.ranges
	return told(entry)
}

// dropErased takes out of the pending message what has been erased since it was read. Its withdrawal is told all the same when
// it comes by: an earlier one in this message may say that the record is still held, by what is dropped here.
func (s *subscription) dropErased() error {
	if s.cfg.Ledger.Gone() == s.gone {
		return nil
	}
	kept := s.pending.Items[:0]
	for _, item := range s.pending.GetItems() {
		stands := true
		if item.GetReleasedRecord() != nil {
			var err error
			stands, err = s.cfg.Ledger.Stands(member.ID(item.GetOwner()), stream.ID(item.GetEntry().GetStreamId()), item.GetEntry().GetSequence())
			if err != nil {
				return err
			}
		}
		if stands {
			kept = append(kept, item)
		}
	}
	s.pending.Items = kept
	return nil
}
