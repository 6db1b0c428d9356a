package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/store"
)

// Pending is what of one own record waits for a second person.
type Pending struct {
	Record    RecordID
	Authority string
	Version   uint64
	Grounds   uint8 // those that are not approved; see Config.Sensitive
	Audiences []*ententev1.Audience
	Proposer  string
	State     uint64 // of all that waits: a decision repeats it
}

// ListPending gives the releases that wait for a second person, by record in the order of ids, beginning after one, and
// whether there are more.
func (l *Ledger) ListPending(after RecordID, limit int) (list []Pending, more bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var ids []RecordID
	for id := range l.state.pending {
		if after == (RecordID{}) || slices.Compare(id[:], after[:]) > 0 {
			ids = append(ids, id)
		}
	}
	sortedIDs(ids)
	for _, id := range ids {
		r := l.state.records[id]
		if len(list) == limit {
			return list, true
		}
		one := Pending{Record: id, Authority: r.authority, Version: r.version, State: r.waitingState()}
		for _, in := range r.waitingFor() {
			one.Grounds |= r.sensitive &^ in.approved
			one.Audiences = append(one.Audiences, in.audience)
			for _, name := range proposers(in.proposer) {
				one.Proposer = strings.Join(addProposer(strings.Split(one.Proposer, ", "), name), ", ")
			}
		}
		list = append(list, one)
	}
	return list, false
}

// waitingFor are the intents of a record that a second person has not let go.
func (r *record) waitingFor() []intent {
	if r.intents == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.intents.list), func(in intent) bool { return r.sensitive&^in.approved == 0 })
}

// waitingState stands for all that an approval of a record lets go: version, edition, audiences and forms, with who asked for them.
// What comes or changes after somebody has looked gives another one.
func (r *record) waitingState() uint64 {
	w := writer{}
	w.uint(r.version)
	w.uint(uint64(r.edition))
	w.b = append(w.b, r.sensitive)
	if r.intents != nil {
		w.b = append(w.b, r.intents.key...)
	}
	sum := sha256.Sum256(w.b)
	return binary.BigEndian.Uint64(sum[:8])
}

// Decision is a second person's decision on what of records waits for it.
type Decision struct {
	Records  []RecordID
	Versions []uint64 // of each, that was looked at
	States   []uint64 // of each, as Pending.State said
	Approve  bool
	Reason   string
	Officer  string // who decides
}

// Decide lets pending releases go, or ends them. Who asked for one does not decide on it, and what has changed since it was
// looked at stays pending.
func (l *Ledger) Decide(ctx context.Context, d Decision) ([]*ententev1.Verdict, error) {
	verdicts := make([]*ententev1.Verdict, len(d.Records))
	by := actor(ctx)
	err := l.submitEach(ctx, len(d.Records), func(b *batch, i int) error {
		id := d.Records[i]
		verdicts[i] = &ententev1.Verdict{RecordId: slices.Clone(id[:])}
		var version, state uint64
		if i < len(d.Versions) && i < len(d.States) {
			version, state = d.Versions[i], d.States[i]
		}
		return b.decidePending(by, id, version, state, d, verdicts[i])
	})
	if err != nil {
		return nil, fmt.Errorf("decide on releases: %w", err)
	}
	return verdicts, nil
}

func (b *batch) decidePending(by *ententev1.AuditActor, id RecordID, version, state uint64, d Decision, verdict *ententev1.Verdict) error {
	r := b.record(id)
	if r == nil || len(r.waitingFor()) == 0 || r.withdrawn {
		reject(verdict, "record_ids", "names no release that waits for a second person")
		return nil
	}
	verdict.Version = r.version
	if version != r.version {
		reject(verdict, "versions", "is not the version that waits now: look at it again")
		return nil
	}
	if state != r.waitingState() {
		reject(verdict, "states", "is not what waits now: an audience or a form has come or changed; look at it again")
		return nil
	}
	for _, in := range r.waitingFor() {
		if !b.l.secondPerson(d.Officer, in) {
			reject(verdict, "record_ids", "names a release that the same officer asked for: a second person decides")
			return nil
		}
	}
	var list []intent
	for _, in := range r.intents.list {
		waits := r.sensitive&^in.approved != 0
		if waits && !d.Approve {
			continue
		}
		if waits {
			in.approved |= r.sensitive
		}
		list = append(list, in)
	}
	method := "refuse"
	if d.Approve {
		method = "approve"
	}
	return b.setAudiences(by, id, list, false, act{operation: alteration, method: method, note: d.Reason, recipient: audienceWords(list)}, verdict)
}

// secondPerson tells whether an officer is another one than each who asked for a release.
func (l *Ledger) secondPerson(officer string, in intent) bool {
	if l.cfg.SecondPerson == nil {
		return false
	}
	for _, one := range proposers(in.proposer) {
		if !l.cfg.SecondPerson(officer, one) {
			return false
		}
	}
	return true
}

// Selection names own records of an authority. What is given adds up.
type Selection struct {
	Authority  string
	References []string
	Records    []RecordID
	Project    string // all released under it
	Query      *ententev1.RecordQuery
}

// ErrTooMany means that a selection is of more records than one call takes.
var ErrTooMany = fmt.Errorf("more than %d records", maxSelected)

// maxSelected is how many records one selection may be of.
const maxSelected = 10_000

// Select finds the references of a selection, each once: those that are named as they are, the others in the order in which
// the records were first taken. ErrTooMany where there are more than one call takes.
func (l *Ledger) Select(ctx context.Context, s Selection) ([]string, error) {
	var refs []string
	seen := make(map[string]bool, len(s.References))
	for _, ref := range s.References {
		if !seen[ref] {
			refs = append(refs, ref)
		}
		seen[ref] = true
	}
	if len(refs) > maxSelected {
		return nil, ErrTooMany
	}
	named := make(map[RecordID]bool, len(s.Records))
	for _, id := range s.Records {
		named[id] = true
	}
	for _, c := range l.selected(&s, named) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		full, err := l.selectedRecord(c, &s, named)
		if err != nil {
			return nil, fmt.Errorf("select records: %w", err)
		}
		ref := full.GetEnvelope().GetProviderReference()
		if full == nil || seen[ref] {
			continue
		}
		seen[ref] = true
		refs = append(refs, ref)
		if len(refs) > maxSelected {
			return nil, ErrTooMany
		}
	}
	return refs, nil
}

// selected gives the records that may be in a selection, by what is in memory.
func (l *Ledger) selected(s *Selection, named map[RecordID]bool) []candidate {
	var list []candidate
	l.eachOwn(func(at uint64, id RecordID, r *record) {
		if r.pos == 0 || r.erased || r.authority != s.Authority {
			return
		}
		if named[id] || s.Project != "" && r.inProject(s.Project) || s.Query != nil && r.mayFit(s.Query) {
			list = append(list, candidate{at: at, r: r, out: &ententev1.HeldRecord{RecordId: slices.Clone(id[:])}})
		}
	})
	return list
}

// selectedRecord reads a candidate; nil where it does not fit after all.
func (l *Ledger) selectedRecord(c candidate, s *Selection, named map[RecordID]bool) (*ententev1.Record, error) {
	err := l.store.View(func(v *store.View) error { return fillRecord(v, c.r, 0, c.out) })
	if err != nil {
		return nil, err
	}
	if named[RecordID(c.out.GetRecordId())] || s.Project != "" && c.r.inProject(s.Project) || fits(c.out.GetRecord(), s.Query) {
		return c.out.GetRecord(), nil
	}
	return nil, nil
}

func (r *record) inProject(project string) bool {
	return r.intents != nil && slices.ContainsFunc(r.intents.list, func(in intent) bool { return in.audience.GetProject().GetProjectId() == project })
}

// mayFit applies of a query what is in memory.
func (r *record) mayFit(q *ententev1.RecordQuery) bool {
	switch {
	case r.withdrawn:
		return false
	case len(q.GetKinds()) > 0 && !slices.Contains(q.GetKinds(), r.kind):
		return false
	case len(q.GetCrimeAreas()) > 0 && r.crimes&crimeMask(q.GetCrimeAreas()) == 0:
		return false
	case len(q.GetPurposes()) > 0 && !slices.Contains(q.GetPurposes(), r.purpose):
		return false
	case q.GetRecordedFrom() != nil && r.recorded < q.GetRecordedFrom().GetSeconds():
		return false
	case q.GetRecordedBefore() != nil && r.recorded >= q.GetRecordedBefore().GetSeconds():
		return false
	}
	return q.Released == nil || r.stands() == q.GetReleased()
}

// fits applies the rest.
func fits(r *ententev1.Record, q *ententev1.RecordQuery) bool {
	if len(q.GetTieBases()) == 0 {
		return q != nil && r != nil
	}
	return slices.ContainsFunc(r.GetBody().GetAssociation().GetTies(), func(t *ententev1.Tie) bool { return slices.Contains(q.GetTieBases(), t.GetBasis()) })
}
