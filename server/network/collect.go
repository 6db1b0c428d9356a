package network

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Lens narrows what is visible before anything is merged: by the purpose and clearance of who asks, and by the day. The zero
// Lens narrows nothing.
type Lens struct {
	// Key stands for Lets: equal keys, equal answers.
	Key string
	// Lets says whether a record with this label may be used; nil: all may.
	Lets func(label any) bool
	// Day is the time for which the view is, in seconds since 1970: what has to be gone by then is not visible. 0: whatever
	// is held.
	Day int64
}

func (l *Lens) takes(e *entry) bool {
	return (l.Day == 0 || e.retain > l.Day) && (l.Lets == nil || l.Lets(e.label))
}

// View is what a reader sees within a scope (nil = no limit) without a lens: for a program that looks inside its own node.
func (n *Network) View(reader member.ID, scope *ententev1.Scope) *View {
	return n.For(reader, scope, Lens{})
}

// For computes the merged view of a reader within a scope (nil = no limit), through a lens. The member that this node belongs
// to sees all that its node holds; any other one sees the records for whose use it is among the readers. A view that is
// computed from the same records as one before is the one before. It is empty, not an error, where nothing is visible.
func (n *Network) For(reader member.ID, scope *ententev1.Scope, lens Lens) *View {
	key := viewKey{reader, scopeText(scope) + lens.Key}
	view := n.cached(key, lens.Day)
	if view != nil {
		return view
	}
	// One at a time: a picture takes memory, and who waits here for the same view finds it below.
	n.computing.Lock()
	defer n.computing.Unlock()
	view = n.cached(key, lens.Day)
	if view != nil {
		return view
	}
	n.mu.Lock()
	state, lost := n.stateOf(reader), n.lostOf(reader)
	forms, until := n.visible(reader, scope, &lens)
	n.mu.Unlock()

	tables := n.resolver.TablesHash()
	forms = canonical(forms)
	hash := viewHash(forms, key.scope, tables)

	n.mu.Lock()
	shared := n.cache.picture(hash)
	n.mu.Unlock()
	if shared == nil {
		shared = newPicture(forms, n.resolver)
	}
	view = newView(reader, hash, tables, shared)
	view.lost, view.from, view.until = lost, lens.Day, until

	n.mu.Lock()
	defer n.mu.Unlock()
	// What changed meanwhile may be a withdrawal: then the view is answered, as asked before it, and not kept.
	if n.stateOf(reader) == state {
		n.cache.put(key, state, hash, view)
	}
	return view
}

// cached finds a view that is still right.
func (n *Network) cached(key viewKey, day int64) *View {
	n.mu.Lock()
	defer n.mu.Unlock()
	view := n.cache.view(key, n.stateOf(key.reader))
	if view == nil || !view.is(day) {
		return nil
	}
	return view
}

// stateOf is the clock of the last change that concerns a reader. A change of what the reader may not see leaves it as
// it is, so that not even the time that an answer takes tells of it.
func (n *Network) stateOf(reader member.ID) uint64 {
	if reader == n.self {
		return n.clock
	}
	var last uint64
	for _, set := range n.readers {
		if set.has(reader) {
			last = max(last, set.changed)
		}
	}
	return last
}

// lostOf is the number of the last loss that concerns a reader.
func (n *Network) lostOf(reader member.ID) uint64 {
	if reader == n.self {
		return n.losses
	}
	var last uint64
	for _, set := range n.readers {
		if set.has(reader) {
			last = max(last, set.lost)
		}
	}
	return last
}

// Stands says whether all that a view was computed from is still there: nothing that its reader saw has been withdrawn or
// hidden since, and nothing is over by the day, in seconds since 1970. A view that does not stand must not be answered any
// more, not even to finish its pages. What came since does not matter.
func (n *Network) Stands(view *View, day int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return view.is(day) && view.lost == n.lostOf(member.ID(view.info.GetReader()))
}

// visible lists the forms that a reader may use within a scope. This is the only place that decides it, and it comes
// before anything is merged. Of several releases of one record in one stream the latest counts. The order of the
// result is arbitrary, and a form that several streams carry stands in it several times. until is when the first of them
// is over; 0: none is.
func (n *Network) visible(reader member.ID, scope *ententev1.Scope, lens *Lens) (forms []*form, until int64) {
	filter := newScopeFilter(scope)
	allowed := make(map[*readerSet]bool, len(n.readers))
	for _, set := range n.readers {
		allowed[set] = reader == n.self || set.has(reader)
	}
	for _, stream := range n.streams {
		if stream.hidden {
			continue
		}
		forms = stream.latest(forms, func(e *entry) bool {
			taken := allowed[e.readers] && filter.takes(e) && lens.takes(e)
			if taken && e.retain != 0 && (until == 0 || e.retain < until) {
				until = e.retain
			}
			return taken
		})
	}
	return forms, until
}

// latest appends, for each record of a stream, the form of its latest entry among those that may be used.
func (s *streamEntries) latest(forms []*form, usable func(*entry) bool) []*form {
	latest := make(map[recordKey]*entry, len(s.entries))
	for _, e := range s.entries {
		if e.form == nil || !usable(e) {
			continue
		}
		other, found := latest[e.form.recordKey]
		if !found || other.sequence < e.sequence {
			latest[e.form.recordKey] = e
		}
	}
	for _, e := range latest {
		forms = append(forms, e.form)
	}
	return forms
}

// scopeFilter is a scope made ready for use.
type scopeFilter struct {
	projects       []string
	kinds          []ententev1.RecordKind
	allMembersOnly bool
}

func newScopeFilter(scope *ententev1.Scope) scopeFilter {
	return scopeFilter{scope.GetProjects(), scope.GetKinds(), scope.GetAllMembersOnly()}
}

func (f scopeFilter) takes(e *entry) bool {
	if f.allMembersOnly && !e.allMembers {
		return false
	}
	if len(f.projects) > 0 && (e.project == "" || !slices.Contains(f.projects, e.project)) {
		return false
	}
	return len(f.kinds) == 0 || slices.Contains(f.kinds, e.form.kind)
}

// canonical puts forms into the fixed order of their records, each once. Where the forms of one record disagree on what
// it is, the latest form decides and those of another kind are left out.
func canonical(forms []*form) []*form {
	slices.SortFunc(forms, func(a, b *form) int {
		order := bytes.Compare(a.order[:], b.order[:])
		if order != 0 {
			return order
		}
		return bytes.Compare(a.payload[:], b.payload[:])
	})
	forms = slices.CompactFunc(forms, func(a, b *form) bool { return a.order == b.order && a.payload == b.payload })

	kept := forms[:0]
	for _, group := range byRecord(forms) {
		kind := latestOf(group).kind
		for _, f := range group {
			if f.kind == kind {
				kept = append(kept, f)
			}
		}
	}
	return kept
}

// byRecord cuts forms in canonical order into those of each record.
func byRecord(forms []*form) [][]*form {
	var groups [][]*form
	for start := 0; start < len(forms); {
		end := start + 1
		for end < len(forms) && forms[end].order == forms[start].order {
			end++
		}
		groups = append(groups, forms[start:end])
		start = end
	}
	return groups
}

// latestOf is the form of one record that was recorded last; of two recorded at the same time, that with the greater
// payload hash, so that the choice is the same everywhere.
func latestOf(group []*form) *form {
	latest := group[0]
	for _, f := range group[1:] {
		if f.recordedAt >= latest.recordedAt {
			latest = f
		}
	}
	return latest
}

// viewHash is SHA-256 over the visible released forms, the scope and the tables: all that a view is computed from.
// Salts, positions and times of receipt differ from node to node and are not in it.
func viewHash(forms []*form, scope string, tables [32]byte) [32]byte {
	buf := make([]byte, 0, len(forms)*64+256)
	buf = append(buf, "entente/view/1"...)
	buf = binary.AppendUvarint(buf, uint64(len(forms)))
	for _, f := range forms {
		buf = binary.AppendUvarint(buf, uint64(len(f.owner)))
		buf = append(buf, f.owner...)
		buf = append(buf, f.record[:]...)
		buf = append(buf, f.payload[:]...)
	}
	buf = binary.AppendUvarint(buf, uint64(len(scope)))
	buf = append(buf, scope...)
	buf = append(buf, tables[:]...)
	return sha256.Sum256(buf)
}
