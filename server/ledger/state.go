package ledger

import (
	"maps"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// record is what the node keeps in memory of one own record. Bodies stay in the log.
type record struct {
	order       uint64 // position of the first version: the order of List
	head        uint64 // position of the version taken last: where the chain of versions begins
	pos         uint64 // position of the highest version; 0 for a record known only by a recovered stream
	version     uint64 // highest version held
	floor       uint64 // withdrawn up to this version; 0 never
	withdrawn   bool
	reason      ententev1.WithdrawalReason // why it is withdrawn
	fresh       bool                       // pushed or released since the start: what we have of it is the newest
	waiting     bool                       // a part of what is wanted is not yet in streams
	kind        ententev1.RecordKind
	authority   string // interned
	intents     *intents
	crimes      uint64
	restriction *ententev1.Restriction
	names       []Name
	sources     int    // how many of names, at their end, are only what it was made from
	sensitive   uint8  // what of it needs a second person
	erased      bool   // its content is gone at home too
	edition     uint32 // raised where what is released changes without a new version: by a renewal
	pending     bool   // a part of what is wanted waits for a second person
	purpose     ententev1.Purpose
	recorded    int64  // when its provider recorded it, in seconds since 1970
	retain      int64  // when it must be gone, in seconds since 1970, a renewal counted in; 0: not known
	review      int64  // when its need must be reviewed, likewise
	care        *care  // nil: nothing is decided
	forms       []form // of the highest version and edition
	places      []place
}

// place is one entry of an own stream that carries, or carried, a record.
type place struct {
	stream    uint32
	sequence  uint64
	version   uint64
	mergeFor  string // key of the set of readers named to a coordinator
	cut       string // the treatment of its form
	edition   uint32
	at        uint32 // when, in seconds since 1970; 0: before that was kept
	gone      uint32 // when it was withdrawn, likewise
	withdrawn bool
	byStream  uint32 // where the withdrawal stands
	bySeq     uint64
}

// recovered tells whether a release stands of which only a recovered stream tells.
func (r *record) recovered() bool {
	return slices.ContainsFunc(r.places, func(at place) bool { return !at.withdrawn && at.version == 0 })
}

func (r *record) clone() *record {
	c := *r
	c.places = slices.Clone(r.places)
	c.forms = slices.Clone(r.forms)
	return &c
}

// heldPlace is one entry of a stream that brought a record of somebody else.
type heldPlace struct {
	stream   uint32
	sequence uint64
	pos      uint64
}

// streamState is what the node keeps in memory of one stream, own or received.
type streamState struct {
	no          uint32
	id          stream.ID
	owner       member.ID
	own         bool
	kind        ententev1.StreamKind
	project     string
	base        memberSet // the readers that the opening names
	grants      []granted // what GRANT entries added to them, in order
	readers     memberSet // both
	opening     *ententev1.StreamOpening
	key         channelKey
	edge        stream.Edge
	tail        []stream.Hash // leaf hashes of the last, incomplete tile
	closed      bool          // a CLOSING entry stands in it
	withdrawnTo uint64        // own, retired: entries lost beyond the end and withdrawn unseen, up to this
	retired     bool          // own, never to be written again: a successor takes its place
	frozen      bool          // two contradicting heads were seen
	checkpoint  []byte
	withdrawals []uint64    // sequences of its WITHDRAWAL entries
	rows        uint64      // while the state is rebuilt: entries read
	targets     []target    // while the state is rebuilt: what withdrawals take back
	withdrawnAt []uint32    // while the state is rebuilt: when they were written
	erased      []*entryRef // received: erased since the last receipt
	receipted   uint64      // received: head of the last receipt sent
	confirmed   map[member.ID]confirmation
	unconfirmed map[member.ID]bool // own, after an unclean stop: readers that have not yet answered
	hidden      bool               // received, after an unclean stop: not shown until its withdrawals are known
}

type entryRef struct {
	stream   stream.ID
	sequence uint64
}

type confirmation struct {
	size uint64
	at   int64
	kept uint64 // bytes of the reader's receipts that are kept
}

// granted is one GRANT entry. A received stream that this node reads by a grant has one without a sequence from its opening
// on, until the entry comes.
type granted struct {
	reader   member.ID
	sequence uint64
}

func (s *streamState) size() uint64 { return s.edge.Size() }

// addGrant notes a GRANT entry. A stream for present and future members is from then on the one for the larger set.
func (s *streamState) addGrant(reader member.ID, sequence uint64) {
	at := slices.IndexFunc(s.grants, func(g granted) bool { return g.reader == reader })
	if at >= 0 {
		s.grants = slices.Clone(s.grants)
		s.grants[at].sequence = sequence
		return
	}
	s.grants = append(slices.Clip(s.grants), granted{reader: reader, sequence: sequence})
	s.readers = s.readers.union(memberSet{reader})
	if s.kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE {
		s.key.readers = s.readers.key()
		return
	}
	s.key.granted = s.byGrant().key()
}

// maxReaders is how many members read a stream, by its opening (StreamOpening.readers) and by grants together: each grant costs
// as much as there are readers, here and at every start.
const maxReaders = 1024

// full says whether a stream has no room for this further reader.
func (s *streamState) full(reader member.ID) bool {
	return len(s.readers) >= maxReaders && !s.readers.has(reader)
}

// grantCount is how many GRANT entries stand in the stream.
func (s *streamState) grantCount() uint64 {
	var n uint64
	for _, g := range s.grants {
		if g.sequence > 0 {
			n++
		}
	}
	return n
}

// byGrant is the readers that came in by a grant.
func (s *streamState) byGrant() memberSet { return s.readers.without(s.base...) }

// appendable tells whether the node may write to this own stream.
func (s *streamState) appendable() bool {
	return s.own && !s.retired && len(s.unconfirmed) == 0
}

func (s *streamState) clone() *streamState {
	c := *s
	c.edge = s.edge.Clone()
	c.tail = slices.Clone(s.tail)
	c.withdrawals = slices.Clip(s.withdrawals)
	c.erased = slices.Clip(s.erased)
	c.confirmed = maps.Clone(s.confirmed)
	c.unconfirmed = maps.Clone(s.unconfirmed)
	return &c
}

// target is an entry as a withdrawal names it. The owner of the withdrawal belongs to it: what one member says of another's
// stream counts for nothing.
type target struct {
	owner    member.ID
	stream   stream.ID
	sequence uint64
}

// streamKey names a stream in the federation. Ids are random, but a reader that has seen one could open a stream of its
// own under it: the owner belongs to the name.
type streamKey struct {
	owner member.ID
	id    stream.ID
}

func (s *streamState) name() streamKey { return streamKey{owner: s.owner, id: s.id} }

// digestKey says what a digest is over: the streams of an owner that a reader reads.
type digestKey struct {
	owner  member.ID
	reader member.ID
}

// state is all that the node keeps in memory. It is the log and the streams read from the beginning, and nothing else.
type state struct {
	records    map[RecordID]*record
	order      []RecordID // own records in the order of their first version
	streams    []*streamState
	byID       map[streamKey]uint32
	open       map[channelKey]uint32      // the newest own stream of each channel
	held       map[Name][]heldPlace       // records of others, by the entries that brought them and are not erased
	dependents map[Name][]RecordID        // own records by the records that they name
	waiting    map[RecordID]struct{}      // own records with waiting set
	ahead      map[target]ahead           // received withdrawals whose target is not held yet, or not any more
	library    []LibraryRef               // lessons and practices, own and received, oldest first
	authority  map[string]string          // interned names of authorities; the committer's alone
	intents    map[string]*intents        // interned sets of audiences; the committer's alone
	arrivals   map[member.ID]arrival      // who is or was in the roster, and from when streams for future members are open to it
	legacy     map[string]memberSet       // by project: who took part when audiences began to keep that themselves
	digests    map[digestKey]*stream.Hash // cached digests
	lost       map[stream.ID]LostTail     // heads of own streams that readers hold beyond ours
	erasures   []Erasure                  // received entries erased since the start, oldest first
	rebuilding map[placeKey]withdrawnBy   // while the state is rebuilt
	gone       uint64                     // entries whose payload was erased since the start, own and received
	pending    map[RecordID]struct{}      // own records with pending set
	due        agenda                     // own records and received entries that may be over
	runOut     agenda                     // received permissions that may have run out
	logged     uint64                     // length of the log that all this was read from
	cuts       map[string]string          // interned treatments; the committer's alone
	permits    map[placeKey]*permit       // permissions given, by the entry that holds them
	received   map[Name][]*permit         // permissions received, by the record that they are about
}

// ahead is a withdrawal that is known.
type ahead struct {
	reason uint8
}

func newState() *state {
	return &state{
		records:    map[RecordID]*record{},
		byID:       map[streamKey]uint32{},
		open:       map[channelKey]uint32{},
		held:       map[Name][]heldPlace{},
		dependents: map[Name][]RecordID{},
		waiting:    map[RecordID]struct{}{},
		ahead:      map[target]ahead{},
		authority:  map[string]string{},
		intents:    map[string]*intents{},
		digests:    map[digestKey]*stream.Hash{},
		lost:       map[stream.ID]LostTail{},
		arrivals:   map[member.ID]arrival{},
		legacy:     map[string]memberSet{},
		pending:    map[RecordID]struct{}{},
		due:        agenda{},
		runOut:     agenda{},
		cuts:       map[string]string{},
		permits:    map[placeKey]*permit{},
		received:   map[Name][]*permit{},
	}
}

// internCut gives the one copy of a treatment.
func (s *state) internCut(cut string) string {
	if cut == "" {
		return ""
	}
	known, ok := s.cuts[cut]
	if !ok {
		s.cuts[cut] = cut
		known = cut
	}
	return known
}

func (s *state) stream(no uint32) *streamState {
	if no == 0 || int(no) > len(s.streams) {
		return nil
	}
	return s.streams[no-1]
}

func (s *state) internAuthority(name string) string {
	known, ok := s.authority[name]
	if ok {
		return known
	}
	s.authority[name] = name
	return name
}
