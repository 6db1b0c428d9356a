package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// Permissions under H2. The owner puts one as an entry into its bilateral stream to the holder; it names one version by the
// commitment of the entry that brought it, so it dies with that version, and holds nothing by which an erased payload could
// be confirmed.

// permit is one permission, given or received.
type permit struct {
	at         placeKey // the entry that holds it
	name       Name     // the record that it is about
	commitment stream.Hash
	about      placeKey // the entry with that commitment; zero while it is not held
	holder     member.ID
	recipients memberSet
	export     bool
	purpose    ententev1.Purpose
	until      int64 // seconds since 1970, excluded
	granted    int64
	gone       bool // taken back
}

// NoteExport is what the trail notes of a permission that allows exports.
const NoteExport = "export"

// What an owner may send of permissions: recipients in one (OnwardPermission.recipients), and how many of one record are looked
// at, those that end last. Each is asked whenever something made from the record is planned; more are kept unread, like what is
// not understood.
const (
	maxRecipients = 256
	maxPermits    = 1024
)

// parsePermit reads a permission from a stream; false for what says nothing that could be used. Only the bilateral stream to
// the holder gives one.
func parsePermit(payload []byte, s *streamState, sequence uint64) (*permit, bool) {
	if s.kind != ententev1.StreamKind_STREAM_KIND_BILATERAL || len(s.base) != 1 {
		return nil, false
	}
	m := &ententev1.StreamPayload{}
	err := proto.Unmarshal(payload, m)
	p := m.GetPermission()
	if err != nil || p == nil || p.GetOwner() != string(s.owner) || p.GetHolder() != string(s.base[0]) || len(p.ProtoReflect().GetUnknown()) > 0 {
		return nil, false
	}
	id, err := ParseRecordID(p.GetRecordId())
	if err != nil || len(p.GetCommitment()) != len(stream.Hash{}) || len(p.GetRecipients()) > maxRecipients {
		return nil, false
	}
	return &permit{at: placeKey{stream: s.no, sequence: sequence}, name: Name{Owner: s.owner, Record: id}, commitment: stream.Hash(p.GetCommitment()), holder: member.ID(p.GetHolder()),
		recipients: newMemberSet(memberIDs(p.GetRecipients())...), export: p.GetExport(), purpose: p.GetPurpose(),
		until: p.GetUntil().GetSeconds(), granted: p.GetGrantedAt().GetSeconds()}, true
}

// told is a permission as it is told.
func (p *permit) told() *ententev1.OnwardPermission {
	return &ententev1.OnwardPermission{Owner: string(p.name.Owner), RecordId: slices.Clone(p.name.Record[:]), Commitment: slices.Clone(p.commitment[:]),
		Holder: string(p.holder), Recipients: idStrings(p.recipients), Export: p.export, Purpose: p.purpose,
		Until: timestamppb.New(time.Unix(p.until, 0)), GrantedAt: timestamppb.New(time.Unix(p.granted, 0))}
}

// Permission is what a holder is told when it asks whether it may use something.
type Permission struct {
	Commitment stream.Hash // of the entry that brought the version
	Recipients []member.ID
	Export     bool
	Purpose    ententev1.Purpose
	Until      time.Time
}

// Permissions gives the permissions in force that the own member holds for the versions of another member's record that it
// holds now.
func (l *Ledger) Permissions(n Name) []Permission {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []Permission
	for _, p := range l.state.received[n] {
		if l.inForce(p, l.state.held[n], l.state.stream) {
			list = append(list, Permission{Commitment: p.commitment, Recipients: p.recipients, Export: p.export, Purpose: p.purpose, Until: time.Unix(p.until, 0).UTC()})
		}
	}
	return list
}

// inForce tells whether a received permission counts now: not taken back, not over, for this member, and about an entry that
// is still held; both by streams that may be shown.
func (l *Ledger) inForce(p *permit, held []heldPlace, stream func(no uint32) *streamState) bool {
	shown := func(s *streamState) bool { return s != nil && !s.hidden && !s.frozen && !l.left(s) }
	return !p.gone && p.holder == l.cfg.Self && l.permitClock() < p.until && p.about != (placeKey{}) &&
		shown(stream(p.at.stream)) && shown(stream(p.about.stream)) &&
		slices.ContainsFunc(held, func(at heldPlace) bool { return at.stream == p.about.stream && at.sequence == p.about.sequence })
}

// permitClock is the time, in seconds since 1970, by which permissions end: the later of the own clock and of what hides records,
// so that a clock that is behind lengthens none.
func (l *Ledger) permitClock() int64 {
	hide, _ := l.cfg.Expiry()
	return max(l.cfg.Now().Unix(), hide.Unix())
}

// permitted is world.permitted.
func (b *batch) permitted(n Name, purpose ententev1.Purpose) memberSet {
	if n.Owner == b.l.cfg.Self {
		return b.permittedThrough(n, purpose)
	}
	set := b.readersOf(n)
	for _, p := range b.receivedPermits(n) {
		if b.l.inForce(p, b.heldPlaces(n), b.stream) && (b.l.cfg.Compatible == nil || b.l.cfg.Compatible(p.purpose, purpose)) {
			set = set.union(p.recipients)
		}
	}
	return set
}

func (b *batch) receivedPermits(n Name) []*permit {
	list, ok := b.received[n]
	if ok {
		return list
	}
	return b.l.state.received[n]
}

// takePermission notes a received permission, or an own one that was lost and comes back.
func (b *batch) takePermission(s *streamState, v stream.Verified) {
	if v.Header.Type != ententev1.EntryType_ENTRY_TYPE_PERMISSION {
		return
	}
	p, ok := parsePermit(v.Payload, s, v.Header.Sequence)
	if !ok {
		return
	}
	if s.own {
		b.findGiven(p)
		b.permits[p.at] = p
		return
	}
	list, taken := addPermit(slices.Clone(b.receivedPermits(p.name)), p)
	if !taken {
		return
	}
	for _, at := range b.heldPlaces(p.name) {
		header, err := headerOf(b.tx, placeKey{stream: at.stream, sequence: at.sequence})
		if err == nil && header.Commitment == p.commitment {
			p.about = placeKey{stream: at.stream, sequence: at.sequence}
		}
	}
	b.received[p.name] = list
	b.runOut = append(b.runOut, p.endsAt())
	b.queue = append(b.queue, b.dependents(p.name)...)
}

// addPermit adds a permission to the list of those about one record. Of more than are looked at, those that end first make way:
// what has run out costs no permission its place, and a start, which reads them all again, comes to the same.
func addPermit(list []*permit, p *permit) ([]*permit, bool) {
	if len(list) < maxPermits {
		return append(list, p), true
	}
	first := slices.MinFunc(list, func(a, b *permit) int { return cmp.Compare(a.until, b.until) })
	if p.until <= first.until {
		return list, false
	}
	return append(slices.DeleteFunc(list, func(have *permit) bool { return have == first }), p), true
}

// findGiven finds the entry that an own permission is about which has come back.
func (b *batch) findGiven(p *permit) {
	r := b.record(p.name.Record)
	if r == nil {
		return
	}
	for _, at := range r.places {
		header, err := headerOf(b.tx, placeKey{stream: at.stream, sequence: at.sequence})
		if err == nil && header.Commitment == p.commitment {
			p.about = placeKey{stream: at.stream, sequence: at.sequence}
		}
	}
}

// meetGiven finds the own permissions that are about an entry which has come back.
func (b *batch) meetGiven(id RecordID, at placeKey, commitment stream.Hash) {
	for _, known := range []map[placeKey]*permit{b.l.state.permits, b.permits} {
		for _, p := range known {
			if p.name.Record == id && p.commitment == commitment && b.givenPermit(p.at) == p {
				met := *p
				met.about = at
				b.permits[p.at] = &met
			}
		}
	}
}

// endsAt is a permission in the agenda.
func (p *permit) endsAt() dueItem {
	return dueItem{id: p.name.Record, stream: p.at.stream, sequence: p.at.sequence, at: p.until}
}

// queuePermitted queues what was made from records by permissions that a received stream has to do with: whether it is shown
// has changed.
func (b *batch) queuePermitted(no uint32) {
	for n, list := range b.l.state.received {
		if slices.ContainsFunc(list, func(p *permit) bool { return p.at.stream == no || p.about.stream == no }) {
			b.queue = append(b.queue, b.dependents(n)...)
		}
	}
	b.queue = sortedIDs(b.queue)
}

func headerOf(from source, at placeKey) (stream.Header, error) {
	value, err := from.Get(entrySeries(at.stream), at.sequence)
	if err != nil {
		return stream.Header{}, err
	}
	e, err := decodeEntry(value)
	if err != nil {
		return stream.Header{}, err
	}
	return stream.ParseHeader(e.header)
}

// meetPermissions finds the permissions that are about an entry which has just come.
func (b *batch) meetPermissions(n Name, at placeKey, commitment stream.Hash) {
	list := b.receivedPermits(n)
	if !slices.ContainsFunc(list, func(p *permit) bool { return p.commitment == commitment }) {
		return
	}
	list = slices.Clone(list)
	for i, p := range list {
		if p.commitment == commitment {
			met := *p
			met.about = at
			list[i] = &met
		}
	}
	b.received[n] = list
}

// dropPermission forgets a received permission whose entry is erased: its owner has taken it back.
func (b *batch) dropPermission(s *streamState, sequence uint64, e *storedEntry) {
	p, ok := parsePermit(e.inline, s, sequence)
	if !ok {
		return
	}
	b.received[p.name] = slices.DeleteFunc(slices.Clone(b.receivedPermits(p.name)), func(have *permit) bool { return have.at == p.at })
	b.queue = append(b.queue, b.dependents(p.name)...)
}

// readPermission takes a stored permission into the state at a start. What it is about is found once all entries are read.
func (s *state) readPermission(str *streamState, n uint64, e *storedEntry) {
	if e.state != payloadInline {
		return
	}
	p, ok := parsePermit(e.inline, str, n)
	if !ok {
		return
	}
	if str.own {
		s.permits[p.at] = p
		return
	}
	list, taken := addPermit(s.received[p.name], p)
	if taken {
		s.received[p.name] = list
		s.runOut.add(p.endsAt())
	}
}

// findPermitted finds the entries that permissions are about, at a start.
func (s *state) findPermitted(from source) error {
	for n, list := range s.received {
		for _, at := range s.held[n] {
			err := findAbout(from, placeKey{stream: at.stream, sequence: at.sequence}, list)
			if err != nil {
				return err
			}
		}
	}
	given := map[RecordID][]*permit{}
	for _, p := range s.permits {
		given[p.name.Record] = append(given[p.name.Record], p)
	}
	for id, list := range given {
		r := s.records[id]
		if r == nil {
			continue
		}
		for _, at := range r.places {
			err := findAbout(from, placeKey{stream: at.stream, sequence: at.sequence}, list)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// findAbout notes with those permissions of a list that name an entry that it is theirs.
func findAbout(from source, at placeKey, list []*permit) error {
	header, err := headerOf(from, at)
	if err != nil {
		return fmt.Errorf("read entry %d of stream %d: %w", at.sequence, at.stream, err)
	}
	for _, p := range list {
		if p.commitment == header.Commitment {
			p.about = at
		}
	}
	return nil
}

func (s *state) installPermits(b *batch) {
	for at, p := range b.permits {
		if p.gone {
			delete(s.permits, at)
			continue
		}
		s.permits[at] = p
	}
	for n, list := range b.received {
		if len(list) == 0 {
			delete(s.received, n)
			continue
		}
		s.received[n] = list
	}
}

// Permit is what an owner allows.
type Permit struct {
	Holder     member.ID
	Recipients []member.ID
	Export     bool
	Purpose    ententev1.Purpose
	Until      time.Time
}

// PermitError says why a permission is not given. Its text is for the owner.
type PermitError struct {
	// Field is the field of the request that is at fault.
	Field string
	// Reason is why.
	Reason string
}

// Error implements error.
func (e *PermitError) Error() string { return e.Field + ": " + e.Reason }

// Permit lets a holder of an own record pass on what it made from it, or export it: an entry for each form in which the
// holder has the newest version now. Errors: *PermitError for what cannot be permitted.
func (l *Ledger) Permit(ctx context.Context, authority, reference string, ask Permit) ([]*ententev1.EntryRef, error) {
	var entries []*ententev1.EntryRef
	var refused error
	by := actor(ctx)
	err := l.submit(ctx, 1, func(b *batch) error {
		var err error
		entries, refused = nil, b.mayPermit(l.RecordID(authority, reference), ask)
		if refused != nil {
			return nil
		}
		entries, err = b.permit(by, l.RecordID(authority, reference), ask)
		if err == nil && len(entries) == 0 {
			refused = &PermitError{"holder", "cannot be reached now: its stream waits for it after an unclean stop; ask again in some seconds"}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("permit: %w", err)
	}
	return entries, refused
}

func (b *batch) mayPermit(id RecordID, ask Permit) error {
	d := b.l.cfg.Directory()
	r := b.record(id)
	switch {
	case r == nil || r.pos == 0 || r.withdrawn || r.erased:
		return &PermitError{"provider_reference", "names no record of this authority that stands"}
	case b.fromOthers(r):
		return &PermitError{"provider_reference", "names a record that was made from others' records: their owners permit what is made from it"}
	case ask.Holder == b.l.cfg.Self || !d.Roster.Active(ask.Holder):
		return &PermitError{"holder", "is not another member in good standing"}
	case len(ask.Recipients) == 0 && !ask.Export:
		return &PermitError{"recipients", "are missing, and so is export: there is nothing to permit"}
	case !ask.Until.After(b.now):
		return &PermitError{"until", "is not later than now"}
	case len(b.standingFor(r, ask.Holder)) == 0:
		return &PermitError{"holder", "does not hold the record"}
	}
	for _, to := range ask.Recipients {
		if to == b.l.cfg.Self || !d.Roster.Active(to) {
			return &PermitError{"recipients", "name somebody who is not another member in good standing"}
		}
	}
	return nil
}

// standingFor gives the places by which a member has the newest version of an own record.
func (b *batch) standingFor(r *record, reader member.ID) []place {
	return slices.DeleteFunc(slices.Clone(r.places), func(at place) bool {
		return at.withdrawn || at.version != r.version || !b.stream(at.stream).readers.has(reader)
	})
}

func (b *batch) permit(by *ententev1.AuditActor, id RecordID, ask Permit) ([]*ententev1.EntryRef, error) {
	key := channelKey{kind: ententev1.StreamKind_STREAM_KIND_BILATERAL, readers: string(ask.Holder)}
	var entries []*ententev1.EntryRef
	for _, at := range b.standingFor(b.record(id), ask.Holder) {
		s, err := b.channelStream(key, memberSet{ask.Holder}, stream.ID{}, true)
		if err != nil || s == nil {
			return nil, err
		}
		header, err := headerOf(b.tx, placeKey{stream: at.stream, sequence: at.sequence})
		if err != nil {
			return nil, fmt.Errorf("read entry %d of stream %d: %w", at.sequence, at.stream, err)
		}
		p := &permit{name: Name{Owner: b.l.cfg.Self, Record: id}, commitment: header.Commitment, about: placeKey{stream: at.stream, sequence: at.sequence},
			holder: ask.Holder, recipients: newMemberSet(ask.Recipients...), export: ask.Export, purpose: ask.Purpose, until: ask.Until.Unix(), granted: b.now.Unix()}
		payload, err := deterministic().Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Permission{Permission: p.told()}})
		if err != nil {
			return nil, fmt.Errorf("encode permission: %w", err)
		}
		seq, err := b.append(s, stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_PERMISSION}, [][]byte{payload}, &storedEntry{state: payloadInline, inline: payload})
		if err != nil {
			return nil, fmt.Errorf("permit: %w", err)
		}
		p.at = placeKey{stream: s.no, sequence: seq}
		b.permits[p.at] = p
		entries = append(entries, &ententev1.EntryRef{StreamId: slices.Clone(s.id[:]), Sequence: seq})
	}
	what := act{operation: alteration, method: ententev1.IntakeService_Permit_FullMethodName, recipient: string(ask.Holder)}
	if ask.Export {
		what.note = NoteExport
	}
	b.note(by, what, Name{Owner: b.l.cfg.Self, Record: id})
	return entries, nil
}

// RevokePermission takes back a permission that stands in an own stream; ErrAbsent for anything else.
func (l *Ledger) RevokePermission(ctx context.Context, authority string, id stream.ID, sequence uint64) error {
	by := actor(ctx)
	err := l.submit(reserved(ctx), 1, func(b *batch) error {
		s := b.streamByID(l.cfg.Self, id)
		if s == nil || !s.own {
			return ErrAbsent
		}
		p := b.givenPermit(placeKey{stream: s.no, sequence: sequence})
		if p == nil {
			return ErrAbsent
		}
		r := b.record(p.name.Record)
		if r == nil || r.authority != authority {
			return ErrAbsent
		}
		return b.revoke(by, s, p)
	})
	if err != nil {
		return fmt.Errorf("revoke a permission: %w", err)
	}
	return nil
}

func (b *batch) givenPermit(at placeKey) *permit {
	p, ok := b.permits[at]
	if !ok {
		p = b.l.state.permits[at]
	}
	if p == nil || p.gone {
		return nil
	}
	return p
}

// revoke appends the withdrawal of a permission and erases it.
func (b *batch) revoke(by *ententev1.AuditActor, s *streamState, p *permit) error {
	out := s
	if s.retired {
		var err error
		out, err = b.successor(s)
		if err != nil {
			return err
		}
	}
	if out == nil || len(s.unconfirmed) > 0 {
		return ErrNotYet
	}
	h := stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL, Target: s.id, TargetSequence: p.at.sequence,
		Reason: uint8(ententev1.WithdrawalReason_WITHDRAWAL_REASON_OWNER_DECISION)}
	_, err := b.append(b.changeStream(out.no), h, nil, &storedEntry{state: payloadNone})
	if err != nil {
		return err
	}
	err = b.erasePermission(s, p)
	if err != nil {
		return err
	}
	b.note(by, act{operation: alteration, method: ententev1.IntakeService_RevokePermission_FullMethodName, recipient: string(p.holder)}, p.name)
	return nil
}

// erasePermission erases a given permission that is taken back.
func (b *batch) erasePermission(s *streamState, p *permit) error {
	value, err := b.tx.Get(entrySeries(s.no), p.at.sequence)
	if err != nil {
		return fmt.Errorf("read entry %d of stream %s: %w", p.at.sequence, s.id, err)
	}
	e, err := decodeEntry(value)
	if err != nil {
		return err
	}
	gone := &storedEntry{header: slices.Clone(e.header), state: payloadErased, at: e.at}
	err = b.tx.Replace(entrySeries(s.no), p.at.sequence, gone.encode())
	if err != nil {
		return fmt.Errorf("erase entry %d of stream %s: %w", p.at.sequence, s.id, err)
	}
	b.wiped++
	taken := *p
	taken.gone = true
	b.permits[p.at] = &taken
	return nil
}

// ListPermissions gives the permissions that the own member has given for records of an authority, or has received, by the
// entries that hold them.
func (l *Ledger) ListPermissions(authority string, received bool) []*ententev1.HeldPermission {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var list []*permit
	for _, p := range l.state.permits {
		r := l.state.records[p.name.Record]
		if !received && r != nil && r.authority == authority {
			list = append(list, p)
		}
	}
	for _, permits := range l.state.received {
		if received {
			list = append(list, permits...)
		}
	}
	slices.SortFunc(list, func(a, b *permit) int { return comparePlaces(a.at, b.at) })
	var out []*ententev1.HeldPermission
	for _, p := range list {
		s := l.state.stream(p.at.stream)
		held := &ententev1.HeldPermission{Permission: p.told(), Entry: &ententev1.EntryRef{StreamId: slices.Clone(s.id[:]), Sequence: p.at.sequence}}
		if received {
			held.InForce = l.inForce(p, l.state.held[p.name], l.state.stream)
		} else {
			held.InForce = l.givenInForce(p)
		}
		out = append(out, held)
	}
	return out
}

// givenInForce tells whether a given permission still frees something: the version that it is about stands where the holder
// reads it. The caller holds the lock.
func (l *Ledger) givenInForce(p *permit) bool {
	r := l.state.records[p.name.Record]
	if r == nil || l.permitClock() >= p.until {
		return false
	}
	return slices.ContainsFunc(r.places, func(at place) bool {
		if at.withdrawn || !l.state.stream(at.stream).readers.has(p.holder) {
			return false
		}
		return p.about == placeKey{stream: at.stream, sequence: at.sequence}
	})
}
