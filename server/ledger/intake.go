package ledger

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Item is one thing that a national system pushes: a record with the audiences it is released to at once, or a withdrawal.
type Item struct {
	Record           *ententev1.Record
	Withdrawal       *ententev1.PushWithdrawal
	Audiences        []*ententev1.Audience
	ReplaceAudiences bool
}

// prepared is an item worked out as far as it can be without the state: in the caller's goroutine, beside the committer.
type prepared struct {
	Item
	id      RecordID
	verdict *ententev1.Verdict
	event   *recordEvent
	by      *ententev1.AuditActor
	intents []intent
	key     string                      // of the intents
	lacking []*ententev1.FieldViolation // what the record, whole, lacks for a release
}

// Push takes items for an authority and answers when they are on disk, a verdict each, in order. The error is for what
// concerns all of them: the disk, the end of the node, the end of ctx.
func (l *Ledger) Push(ctx context.Context, authority string, items []Item) ([]*ententev1.Verdict, error) {
	return l.Enqueue(ctx, authority, items)(ctx)
}

// Enqueue works items out and puts them in the committer's queue, behind what the caller enqueued before; the function
// that it returns waits for their verdicts. So a caller prepares its next items while the last are on their way to the disk.
func (l *Ledger) Enqueue(ctx context.Context, authority string, items []Item) func(context.Context) ([]*ententev1.Verdict, error) {
	list := make([]*prepared, len(items))
	by := actor(ctx)
	for i, it := range items {
		list[i] = l.prepare(authority, by, it)
	}
	verdicts := make([]*ententev1.Verdict, len(items))
	if !slices.ContainsFunc(items, func(it Item) bool { return it.Withdrawal == nil }) {
		ctx = reserved(ctx)
	}
	r, err := l.enqueue(ctx, len(items), func(b *batch) error {
		for i, p := range list {
			verdict, err := b.take(authority, p)
			if err != nil {
				return err
			}
			verdicts[i] = verdict
		}
		return nil
	})
	return func(ctx context.Context) ([]*ententev1.Verdict, error) {
		if err == nil {
			err = l.await(ctx, r)
		}
		if err != nil {
			return nil, fmt.Errorf("push: %w", err)
		}
		return verdicts, nil
	}
}

func (l *Ledger) prepare(authority string, by *ententev1.AuditActor, it Item) *prepared {
	p := &prepared{Item: it, by: by, verdict: &ententev1.Verdict{}}
	if it.Withdrawal != nil {
		p.id = l.RecordID(authority, it.Withdrawal.GetProviderReference())
		p.verdict.ProviderReference, p.verdict.Version, p.verdict.RecordId = it.Withdrawal.GetProviderReference(), it.Withdrawal.GetVersion(), p.id[:]
		return p
	}
	e := it.Record.GetEnvelope()
	p.id = l.RecordID(authority, e.GetProviderReference())
	p.verdict.ProviderReference, p.verdict.Version, p.verdict.RecordId = e.GetProviderReference(), e.GetVersion(), p.id[:]
	p.verdict.Violations = append(p.verdict.Violations, l.cfg.CheckRecord(it.Record)...)
	if l.cfg.CheckOrigin != nil {
		p.verdict.Violations = append(p.verdict.Violations, l.cfg.CheckOrigin(authority, it.Record)...)
	}
	var wrong []*ententev1.FieldViolation
	directory := l.cfg.Directory()
	p.intents, wrong = directory.resolve(l.cfg.Self, l.cfg.Now(), it.Audiences)
	if len(wrong) == 0 {
		wrong = directory.outside(KindOf(it.Record.GetBody()), p.intents, l.fits(e.GetPurpose()))
	}
	p.verdict.Violations = append(p.verdict.Violations, wrong...)
	names, sources, wrong := l.names(authority, p.id, it.Record)
	p.verdict.Violations = append(p.verdict.Violations, wrong...)
	p.lacking = l.cfg.CheckRelease(it.Record)
	p.verdict.Violations = append(p.verdict.Violations, l.lacks(it.Record, p.lacking, p.intents)...)
	if len(p.verdict.Violations) > 0 {
		return p
	}
	body, err := deterministic().Marshal(it.Record.GetBody())
	if err != nil {
		p.refuse("body", "cannot be encoded: text that is not UTF-8")
		return p
	}
	encoded, err := encodeRecord(it.Record, body)
	if err != nil {
		p.refuse("", "cannot be encoded: text that is not UTF-8")
		return p
	}
	p.event = &recordEvent{id: p.id, version: e.GetVersion(), kind: KindOf(it.Record.GetBody()), authority: authority,
		crimes: crimeMask(it.Record.GetCrimeAreas()), names: names, sources: sources, record: encoded}
	if l.cfg.Sensitive != nil {
		p.event.sensitive = l.cfg.Sensitive(it.Record)
	}
	for i := range p.intents {
		p.intents[i].proposer = proposer(p.by)
	}
	if e.GetRestriction() != nil {
		p.event.restriction, err = proto.Marshal(e.GetRestriction())
		if err != nil {
			p.refuse("envelope.restriction", "cannot be encoded")
			return p
		}
	}
	p.key, err = encodeIntents(p.intents)
	if err != nil {
		p.refuse("audiences", "cannot be encoded")
		return p
	}
	for _, in := range p.intents {
		key := newFormKey(in.audience.GetProject().GetProjectId(), in.cut)
		if p.hasForm(key) {
			continue
		}
		released, err := l.releasedForm(p.id, authority, it.Record, body, key, 0)
		if err != nil {
			p.refuse("body", "cannot be encoded")
			return p
		}
		p.event.forms = append(p.event.forms, released)
	}
	return p
}

func (p *prepared) hasForm(key formKey) bool {
	for _, f := range p.event.forms {
		if f.key == key {
			return true
		}
	}
	return false
}

func (p *prepared) refuse(field, reason string) {
	p.verdict.Violations = append(p.verdict.Violations, &ententev1.FieldViolation{Field: field, Reason: reason})
}

// lacks finds what keeps a record from audiences: as it is, or as it is treated for them. whole is what it lacks untreated.
func (l *Ledger) lacks(r *ententev1.Record, whole []*ententev1.FieldViolation, list []intent) []*ententev1.FieldViolation {
	var wrong []*ententev1.FieldViolation
	add := func(more []*ententev1.FieldViolation) {
		for _, v := range more {
			if !slices.ContainsFunc(wrong, func(have *ententev1.FieldViolation) bool { return proto.Equal(have, v) }) {
				wrong = append(wrong, v)
			}
		}
	}
	for i, in := range list {
		if l.cfg.CheckAudience != nil {
			unfit := l.cfg.CheckAudience(r, in.audience)
			for _, v := range unfit {
				v.Field = fmt.Sprintf("audiences[%d].%s", i, v.GetField())
			}
			add(unfit)
			if len(unfit) > 0 && in.cut != "" {
				continue // a treatment that cannot be is not tried
			}
		}
		if in.cut == "" {
			add(whole)
			continue
		}
		treated, err := l.treated(r, in.cut)
		if err != nil {
			add(violation(fmt.Sprintf("audiences[%d].treatment", i), "cannot be done by this node"))
			continue
		}
		add(l.cfg.CheckRelease(treated))
	}
	return wrong
}

// proposer is who asks for a release: the officer on whose behalf, or the caller; "" for nobody in person.
func proposer(by *ententev1.AuditActor) string {
	if by.GetOfficer() != "" {
		return by.GetOfficer()
	}
	if by.GetKind() == member.KindOfficer.String() {
		return by.GetName()
	}
	return ""
}

// names resolves the records that a record names: by its body, and, at the end, those that it was made from; sources is how
// many these are. A reference of the provider is one of the same authority. An own record that something was made from is no
// limit itself, that is the owner's business; it leads to what it was made from in turn, see origins.
func (l *Ledger) names(authority string, self RecordID, r *ententev1.Record) (names []Name, sources int, wrong []*ententev1.FieldViolation) {
	for _, named := range namesOf(r.GetBody()) {
		n, err := l.resolveRef(authority, named.ref)
		if err != nil {
			wrong = append(wrong, &ententev1.FieldViolation{Field: "body." + named.field, Reason: err.Error()})
			continue
		}
		if n == (Name{Owner: l.cfg.Self, Record: self}) {
			wrong = append(wrong, &ententev1.FieldViolation{Field: "body." + named.field, Reason: "names the record itself"})
			continue
		}
		names = append(names, n)
	}
	ends := len(names)
	for i, ref := range r.GetEnvelope().GetSourceRefs() {
		n, err := l.resolveRef(authority, ref)
		if err != nil {
			wrong = append(wrong, &ententev1.FieldViolation{Field: fmt.Sprintf("envelope.source_refs[%d]", i), Reason: err.Error()})
			continue
		}
		if !slices.Contains(names[ends:], n) {
			names = append(names, n)
		}
		if len(names)-ends > maxOrigins {
			return names, len(names) - ends, append(wrong, tooManyOrigins()...)
		}
	}
	return names, len(names) - ends, wrong
}

// take decides on one item. Its verdict is made anew each time, for the committer may run it twice.
func (b *batch) take(authority string, p *prepared) (*ententev1.Verdict, error) {
	verdict := &ententev1.Verdict{ProviderReference: p.verdict.GetProviderReference(), Version: p.verdict.GetVersion(), RecordId: p.id[:], Violations: p.verdict.GetViolations()}
	if len(verdict.Violations) > 0 {
		verdict.Outcome = ententev1.Outcome_OUTCOME_REJECTED
		return verdict, nil
	}
	if p.Withdrawal != nil {
		return verdict, b.withdrawAsked(p.by, p.id, p.Withdrawal.GetVersion(), p.Withdrawal.GetReason(), verdict)
	}
	return verdict, b.takeRecord(authority, p, verdict)
}

// wantedBeside is what a record is wanted for after a push, given what it was wanted for, and its encoding. Who pushes asks for
// all of it that this version makes wait, so nobody approves what comes of a correction of their own.
func (p *prepared) wantedBeside(was *intents) ([]intent, string, error) {
	if was == nil {
		return p.intents, p.key, nil
	}
	list := keepApprovals(was, p.intents)
	if !p.ReplaceAudiences {
		list = mergeIntents(was, p.intents)
	}
	who := proposer(p.by)
	for i := range list {
		if who != "" && p.event.sensitive&^list[i].approved != 0 {
			list[i].proposer = strings.Join(addProposer(proposers(list[i].proposer), who), proposerEnd)
		}
	}
	key, err := encodeIntents(list)
	return list, key, err
}

func reject(verdict *ententev1.Verdict, field, reason string) {
	verdict.Outcome = ententev1.Outcome_OUTCOME_REJECTED
	verdict.Violations = append(verdict.Violations, &ententev1.FieldViolation{Field: field, Reason: reason})
}

func (b *batch) takeRecord(authority string, p *prepared, verdict *ententev1.Verdict) error {
	known := b.record(p.id)
	decided, err := b.heldAlready(known, p, verdict)
	if err != nil || decided {
		return err
	}
	newest := known == nil || p.event.version > known.version
	var was *intents
	if known != nil {
		was = known.intents
	}
	list, key, err := p.wantedBeside(was)
	if err != nil {
		return err
	}
	if newest && len(list) > 0 {
		err = b.mayLeave(p, was, list, verdict)
		if err != nil || verdict.GetOutcome() == ententev1.Outcome_OUTCOME_REJECTED {
			return err
		}
	}
	e := *p.event
	e.receivedAt = b.now.UnixNano()
	if known != nil {
		e.previous = known.head
	}
	if !newest {
		// History: kept, never released. Its forms are of no use.
		e.forms = nil
	}
	if newest && (was == nil && len(list) > 0 || was != nil && was.key != key) {
		e.hasIntents, e.intents = true, key
	}
	r, err := b.addVersion(p, known, &e, newest)
	if err != nil {
		return err
	}
	if newest || r.recovered() {
		r.fresh = true
		err = b.replan(p.id)
		if err != nil {
			return err
		}
	}
	verdict.Outcome = ententev1.Outcome_OUTCOME_ACCEPTED
	verdict.ReleaseState = b.record(p.id).releaseState()
	return nil
}

// heldAlready decides on a push by what is held of the record, where that says enough.
func (b *batch) heldAlready(known *record, p *prepared, verdict *ententev1.Verdict) (decided bool, err error) {
	if known != nil && known.pos != 0 {
		if known.kind != p.event.kind {
			reject(verdict, "body", "is of another kind than the versions held")
			return true, nil
		}
		same, found, err := b.version(known, p.event.version)
		if err != nil {
			return false, err
		}
		if found && !same.erased() {
			if !bytes.Equal(same.record.join(), p.event.record.join()) {
				reject(verdict, "envelope.version", "is held already with other content; a change needs a higher version")
				return true, nil
			}
			err = b.saidAgain(p.id)
			verdict.Outcome = ententev1.Outcome_OUTCOME_DUPLICATE
			verdict.ReleaseState = b.record(p.id).releaseState()
			return true, err
		}
	}
	if known != nil && p.event.version <= known.floor {
		reject(verdict, "envelope.version", "is not above the version up to which the record is withdrawn")
		return true, nil
	}
	return false, nil
}

// mayLeave rejects a newest version that lacks what it needs for the audiences that it would have.
func (b *batch) mayLeave(p *prepared, was *intents, list []intent, verdict *ententev1.Verdict) error {
	if was != nil { // what is asked now was looked at before
		verdict.Violations = b.l.lacks(p.Record, p.lacking, list)
	}
	unfit, err := b.underived(b.tx, p.Record, p.event.names, p.event.sources)
	if err != nil {
		return err
	}
	verdict.Violations = append(verdict.Violations, unfit...)
	if len(verdict.GetViolations()) > 0 {
		verdict.Outcome = ententev1.Outcome_OUTCOME_REJECTED
	}
	return nil
}

// addVersion puts a version into the log and into the state of its record.
func (b *batch) addVersion(p *prepared, known *record, e *recordEvent, newest bool) (*record, error) {
	pos, err := b.tx.Append(logSeries, e.encode())
	if err != nil {
		return nil, fmt.Errorf("append record %s: %w", p.id, err)
	}
	r := b.change(p.id)
	isNew := r.order == 0
	operation := alteration
	if isNew {
		b.added = append(b.added, p.id)
		operation = collection
	}
	b.note(p.by, act{operation: operation, method: ententev1.IntakeService_Push_FullMethodName, recipient: audienceWords(p.intents)}, Name{Owner: b.l.cfg.Self, Record: p.id})
	applyRecord(r, pos, e)
	r.authority = b.l.state.internAuthority(e.authority)
	err = b.setIntents(r, e)
	if err != nil || !newest {
		return r, err
	}
	b.dueAt(dueItem{id: p.id, at: r.retain})
	b.released[p.id] = freshForms(pos, e.forms)
	for _, n := range e.names {
		if known == nil || !slices.Contains(known.names, n) {
			b.names[n] = append(b.names[n], p.id)
		}
	}
	b.queue = append(b.queue, b.withMade([]RecordID{p.id})[1:]...) // it may come from others' records now, or under stricter conditions
	if isLibrary(r.kind) && isNew {
		b.library = append(b.library, LibraryRef{Owner: b.l.cfg.Self, Record: p.id, Kind: r.kind})
	}
	return r, nil
}

// saidAgain is for what changes nothing but tells that what we remember of a record is what its national system means: so
// what readers hold beyond it, after a restore, is put right.
func (b *batch) saidAgain(id RecordID) error {
	if !b.record(id).recovered() {
		return nil
	}
	b.change(id).fresh = true
	return b.replan(id)
}

// applyRecord takes a record event into the state of a record; the rebuild at start does the same.
func applyRecord(r *record, pos uint64, e *recordEvent) {
	if r.order == 0 {
		r.order = pos
	}
	r.head = pos
	if r.pos != 0 && e.version < r.version {
		return
	}
	r.pos, r.version, r.kind, r.crimes, r.names = pos, e.version, e.kind, e.crimes, e.names
	r.withdrawn = e.version <= r.floor
	r.sources, r.sensitive, r.erased, r.edition = e.sources, e.sensitive, e.erased(), 0
	d := recordDates(e.record.before)
	r.purpose, r.recorded, r.retain, r.review = d.purpose, d.recorded, d.retain, d.review
	r.forms = nil
	for _, f := range e.forms {
		r.forms = append(r.forms, form{key: f.key, pos: pos})
	}
	r.restriction = nil
	if len(e.restriction) > 0 {
		restriction := &ententev1.Restriction{}
		err := proto.Unmarshal(e.restriction, restriction)
		if err != nil {
			// Sealed bytes that we wrote ourselves: if they cannot be read, nobody may read the record.
			restriction = &ententev1.Restriction{AllowMembers: []string{""}}
		}
		r.restriction = restriction
	}
}

func (b *batch) setIntents(r *record, e *recordEvent) error {
	if !e.hasIntents {
		return nil
	}
	in, err := b.l.state.internIntents(e.intents)
	if err != nil {
		return err
	}
	r.intents = in
	return nil
}

// version finds a version of a record in its chain. Only versions below the highest need the walk.
func (b *batch) version(r *record, version uint64) (*recordEvent, bool, error) {
	if version > r.version {
		return nil, false, nil
	}
	pos := r.head
	if version == r.version {
		pos = r.pos
	}
	for pos != 0 {
		value, err := b.tx.Get(logSeries, pos)
		if err != nil {
			return nil, false, fmt.Errorf("read log %d: %w", pos, err)
		}
		e, err := decodeRecordEvent(value)
		if err != nil {
			return nil, false, fmt.Errorf("log %d: %w", pos, err)
		}
		if e.version == version {
			return e, true, nil
		}
		pos = e.previous
	}
	return nil, false, nil
}

func (r *record) releaseState() ententev1.ReleaseState {
	switch {
	case r.restricted() && !r.withdrawn:
		return ententev1.ReleaseState_RELEASE_STATE_RESTRICTED
	case r.pending:
		return ententev1.ReleaseState_RELEASE_STATE_PENDING_APPROVAL
	case r.waiting:
		return ententev1.ReleaseState_RELEASE_STATE_WAITING
	case slices.ContainsFunc(r.places, func(at place) bool { return !at.withdrawn }):
		return ententev1.ReleaseState_RELEASE_STATE_RELEASED
	}
	return ententev1.ReleaseState_RELEASE_STATE_UNSPECIFIED
}

// withdrawAsked is takeWithdrawal for somebody, who stands in the trail with it.
func (b *batch) withdrawAsked(by *ententev1.AuditActor, id RecordID, version uint64, reason ententev1.WithdrawalReason, verdict *ententev1.Verdict) error {
	err := b.takeWithdrawal(id, version, reason, verdict)
	if err != nil || verdict.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED {
		return err
	}
	what := act{operation: alteration, method: ententev1.IntakeService_Withdraw_FullMethodName, note: reason.String()}
	b.note(by, what, Name{Owner: b.l.cfg.Self, Record: id})
	return nil
}

// takeWithdrawal marks a record withdrawn up to a version and takes back all its releases.
func (b *batch) takeWithdrawal(id RecordID, version uint64, reason ententev1.WithdrawalReason, verdict *ententev1.Verdict) error {
	known := b.record(id)
	if known == nil || known.order == 0 && len(known.places) == 0 {
		reject(verdict, "provider_reference", "names no record of this authority")
		return nil
	}
	if reason == ententev1.WithdrawalReason_WITHDRAWAL_REASON_UNSPECIFIED {
		reject(verdict, "reason", "is missing")
		return nil
	}
	if version == 0 && known.withdrawn || version > 0 && version <= known.floor {
		// Also where a newer version has been taken since: a withdrawal that is sent again, after a crash took its verdict,
		// must not take that one back.
		verdict.Outcome = ententev1.Outcome_OUTCOME_DUPLICATE
		return nil
	}
	version = max(version, known.version)
	e := &withdrawnEvent{id: id, version: version, reason: reason}
	_, err := b.tx.Append(logSeries, e.encode())
	if err != nil {
		return fmt.Errorf("append withdrawal of record %s: %w", id, err)
	}
	r := b.change(id)
	applyWithdrawn(r, e)
	err = b.replan(id)
	if err != nil {
		return err
	}
	verdict.Outcome = ententev1.Outcome_OUTCOME_ACCEPTED
	verdict.ReleaseState = b.record(id).releaseState()
	return nil
}

func applyWithdrawn(r *record, e *withdrawnEvent) {
	r.floor = e.version
	r.withdrawn = true
	r.intents = nil
	r.reason = e.reason
}

// Withdraw takes records back.
func (l *Ledger) Withdraw(ctx context.Context, authority string, refs []string, reason ententev1.WithdrawalReason) ([]*ententev1.Verdict, error) {
	items := make([]Item, len(refs))
	for i, ref := range refs {
		items[i] = Item{Withdrawal: &ententev1.PushWithdrawal{ProviderReference: ref, Reason: reason}}
	}
	return l.Push(ctx, authority, items)
}
