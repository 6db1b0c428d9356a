package network

import (
	"slices"
	"strings"
	"sync"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// Item is one release as the node's log holds it.
type Item struct {
	// Stream and Sequence are its position; Stream is this node's own number of the stream.
	Stream   uint32
	Sequence uint64
	// Owner is the member that released it.
	Owner member.ID
	// Record is the id of the record.
	Record [16]byte
	// Kind is what the record describes.
	Kind ententev1.RecordKind
	// Released is the encoded ReleasedRecord. It is decoded at once and not kept.
	Released []byte
	// PayloadHash is SHA-256 of Released, without salt.
	PayloadHash [32]byte
	// AllMembers is true if it came by a stream shared with all members.
	AllMembers bool
	// Project is the project under which it was released; empty = none.
	Project string
	// RetainUntil is when it must be gone, in seconds since 1970; 0: it does not say.
	RetainUntil int64
	// Label is what the policy makes of it. It means nothing here: a Lens is asked whether it lets it through.
	Label any
	// Readers are the members for whom it may be used: the stream's readers and its owner, or the members that the owner
	// named to this node.
	Readers []member.ID
}

// position is where an entry stands.
type position struct {
	stream   uint32
	sequence uint64
}

// entry is one release that is held.
type entry struct {
	position
	form       *form // nil if the payload was not understood: held, and part of no answer
	readers    *readerSet
	allMembers bool
	project    string
	retain     int64 // seconds since 1970; 0: it does not say
	label      any
}

// readerSet is a set of members, shared by all entries that have it.
type readerSet struct {
	members []member.ID // sorted
	// changed is the clock of the network when an entry with this set was last added, taken away, hidden or shown.
	changed uint64
	// lost is the number of the last loss that concerned it: an entry with this set was taken away or hidden.
	lost uint64
}

func (s *readerSet) has(reader member.ID) bool {
	_, found := slices.BinarySearch(s.members, reader)
	return found
}

// formKey tells released forms apart.
type formKey struct {
	owner   member.ID
	record  [16]byte
	payload [32]byte
}

// heldForm is a form with the number of entries that carry it.
type heldForm struct {
	form    *form
	entries int
}

// streamEntries is what is held of one stream.
type streamEntries struct {
	entries map[uint64]*entry
	// withdrawn are sequences whose withdrawal came; a release that comes after it is not taken. Positions are never used
	// twice, so they are not needed again after the stream is dropped.
	withdrawn map[uint64]bool
	hidden    bool
}

// Network holds the releases of which views are made. It is safe for concurrent use.
type Network struct {
	self     member.ID
	resolver Resolver

	computing sync.Mutex // held while a view is computed; taken before mu

	mu      sync.Mutex // guards everything below; never held while a view is computed
	streams map[uint32]*streamEntries
	forms   map[formKey]*heldForm
	readers map[string]*readerSet
	clock   uint64 // counts changes
	losses  uint64 // counts what was taken away or hidden
	changed chan struct{}

	cache viewCache
}

// New makes an empty network of the node of member self. It starts nothing.
func New(self member.ID, resolver Resolver) *Network {
	return &Network{
		self:     self,
		resolver: resolver,
		streams:  make(map[uint32]*streamEntries),
		forms:    make(map[formKey]*heldForm),
		readers:  make(map[string]*readerSet),
		changed:  make(chan struct{}),
		cache:    newViewCache(),
	}
}

// Add takes in releases. An entry that is held already, or whose withdrawal came before it, is passed over, so applying
// a stretch of a stream again changes nothing. An earlier release of the same record in the same stream stays until its
// owner withdraws it; until then the later one counts. A payload of which something is not understood (a field or code
// of a newer version, a record that is not what the item says) is held but is part of no answer.
func (n *Network) Add(items ...Item) {
	decoded := make([]*form, len(items))
	for i := range items {
		decoded[i] = n.decode(&items[i])
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range items {
		n.add(&items[i], decoded[i])
	}
}

// decode makes the form of an item, or finds the one that is held.
func (n *Network) decode(item *Item) *form {
	key := formKey{item.Owner, item.Record, item.PayloadHash}
	n.mu.Lock()
	held, found := n.forms[key]
	n.mu.Unlock()
	if found && held.form.kind == item.Kind {
		return held.form
	}
	return newForm(item, n.resolver)
}

func (n *Network) add(item *Item, decoded *form) {
	stream := n.stream(item.Stream)
	_, held := stream.entries[item.Sequence]
	if held || stream.withdrawn[item.Sequence] {
		return
	}
	added := &entry{
		position:   position{item.Stream, item.Sequence},
		readers:    n.readerSet(item.Readers),
		allMembers: item.AllMembers,
		project:    item.Project,
		retain:     item.RetainUntil,
		label:      item.Label,
	}
	if decoded != nil {
		added.form = n.hold(decoded)
	}
	stream.entries[item.Sequence] = added
	n.touch(added)
}

func (n *Network) stream(number uint32) *streamEntries {
	stream, found := n.streams[number]
	if !found {
		stream = &streamEntries{entries: make(map[uint64]*entry), withdrawn: make(map[uint64]bool)}
		n.streams[number] = stream
	}
	return stream
}

// hold counts one more entry that carries a form, and returns the one copy of it.
func (n *Network) hold(decoded *form) *form {
	held, found := n.forms[decoded.key()]
	if !found {
		held = &heldForm{form: decoded}
		n.forms[decoded.key()] = held
	}
	held.entries++
	return held.form
}

func (n *Network) readerSet(readers []member.ID) *readerSet {
	sorted := slices.Clone(readers)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	var name strings.Builder
	for _, reader := range sorted {
		name.WriteString(string(reader))
		name.WriteByte(0)
	}
	set, found := n.readers[name.String()]
	if !found {
		set = &readerSet{members: sorted}
		n.readers[name.String()] = set
	}
	return set
}

// touch notes that an entry came, went, or changed its visibility, and wakes who waits.
func (n *Network) touch(e *entry) {
	n.clock++
	e.readers.changed = n.clock
	close(n.changed)
	n.changed = make(chan struct{})
}

// lose notes that an entry is not visible any more: a view that was computed with it does not stand.
func (n *Network) lose(e *entry) {
	n.losses++
	e.readers.lost = n.losses
}

// Withdraw drops the release at a position and everything computed from it. Where the release has not come yet, it will
// not be taken when it does.
func (n *Network) Withdraw(stream uint32, sequence uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	entries := n.stream(stream)
	entries.withdrawn[sequence] = true
	gone, held := entries.entries[sequence]
	if !held {
		return
	}
	delete(entries.entries, sequence)
	n.release(gone)
	n.touch(gone)
}

// release gives up the form of an entry that is gone, with its last entry the form itself, and the views of those who
// could see it, so that nothing of an erased record stays in memory. The views of others hold nothing of it.
func (n *Network) release(gone *entry) {
	n.lose(gone)
	n.cache.drop(func(reader member.ID) bool { return reader == n.self || gone.readers.has(reader) })
	if gone.form == nil {
		return
	}
	held := n.forms[gone.form.key()]
	held.entries--
	if held.entries == 0 {
		delete(n.forms, gone.form.key())
	}
}

// DropStream drops all that is held of a stream, as if it had never been followed.
func (n *Network) DropStream(stream uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	held, found := n.streams[stream]
	if !found {
		return
	}
	delete(n.streams, stream)
	for _, gone := range held.entries {
		n.release(gone)
		n.touch(gone)
	}
}

// Hide takes a stream out of what is visible, or puts it back, without giving up what is held of it.
func (n *Network) Hide(stream uint32, hidden bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	held := n.stream(stream)
	if held.hidden == hidden {
		return
	}
	held.hidden = hidden
	for _, e := range held.entries {
		if hidden {
			n.lose(e)
		}
		n.touch(e)
	}
}

// SetReaders says for whom all that is held of a stream may be used from now on: its owner has opened it to a reader more,
// or a reader has left its project. What comes later brings its readers with it.
func (n *Network) SetReaders(stream uint32, readers []member.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	set := n.readerSet(readers)
	for _, e := range n.stream(stream).entries {
		if e.readers == set {
			continue
		}
		n.lose(e) // who read it before and does not now
		n.touch(e)
		e.readers = set
		n.touch(e)
	}
}

// Changed returns a channel that is closed at the next change of what is held. Ask for it first, for the view after it,
// then wait: so no change is missed. A change need not concern every reader; a reader's view may be the same after it.
func (n *Network) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}
