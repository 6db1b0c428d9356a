package coordinator

import (
	"context"
	"fmt"
	"slices"
	"sync"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/resolve"
)

// slice is how many entries are read from the ledger at a time.
const slice = 1000

// merge keeps the network in step with the ledger. The network is in memory, so each start begins at the beginning.
type merge struct {
	*network.Network
	ledger *ledger.Ledger

	mu       sync.Mutex        // covers all below
	position map[uint32]uint64 // by stream: last entry taken
	readers  map[uint32]string // by shared stream: for whom what was taken of it may be used
	erasures uint64            // where to go on in the ledger's list of erasures
	looked   chan struct{}     // closed and replaced each time the ledger has been read to its end
}

// streamName names a stream. The owner belongs to it: what one member takes back in another's stream counts for nothing.
type streamName struct {
	owner member.ID
	id    stream.ID
}

func newMerge(self member.ID, held *ledger.Ledger) *merge {
	return &merge{
		Network: network.New(self, resolve.Resolver{}), ledger: held, position: map[uint32]uint64{}, readers: map[uint32]string{}, looked: make(chan struct{}),
	}
}

// Run feeds the network until ctx ends. An entry that the ledger cannot read is damage: the node stops.
func (m *merge) Run(ctx context.Context) error {
	for {
		changed := m.ledger.Changed() // taken before reading: what comes meanwhile wakes us again
		err := m.catchUp(ctx)
		if err != nil {
			return fmt.Errorf("merge: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// wait returns when all that the ledger held at the call is in the network.
func (m *merge) wait(ctx context.Context) error {
	m.mu.Lock()
	streams := m.ledger.Streams()
	_, erasures := m.ledger.Erasures(m.erasures)
	m.mu.Unlock()
	for {
		looked, ok := m.reached(streams, erasures)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the merged view: %w", ctx.Err())
		case <-looked:
		}
	}
}

// reached says whether the network holds at least this, and gives a channel that is closed when to look again.
func (m *merge) reached(streams []ledger.StreamInfo, erasures uint64) (<-chan struct{}, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	behind := slices.ContainsFunc(streams, func(info ledger.StreamInfo) bool { return m.position[info.No] < info.Size })
	return m.looked, !behind && m.erasures >= erasures
}

// catchUp takes what the ledger has. Erasures come first: a withdrawal may be applied far ahead of its place in the stream,
// and what it takes back must not be seen any longer.
func (m *merge) catchUp(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { // even after a failure: Run ends then, and nobody may wait for it
		close(m.looked)
		m.looked = make(chan struct{})
	}()
	m.dropErased()
	list := m.ledger.Streams()
	numbers := make(map[streamName]uint32, len(list))
	for _, info := range list {
		numbers[streamName{info.Owner, info.ID}] = info.No
		m.Hide(info.No, info.Hidden || info.Left)
		m.follow(info)
	}
	for _, info := range list {
		for m.position[info.No] < info.Size && ctx.Err() == nil {
			err := m.take(info, numbers)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// follow makes what was taken before of a shared stream go to its readers as they are now: also to one that came in by a grant,
// and no longer to one that has left the project.
func (m *merge) follow(info ledger.StreamInfo) {
	if info.Kind == ententev1.StreamKind_STREAM_KIND_BILATERAL {
		return // its entries each have their own
	}
	now := fmt.Sprint(len(info.Granted), info.Departed)
	if now != m.readers[info.No] && m.position[info.No] > 0 {
		m.SetReaders(info.No, readers(info, ledger.Entry{}))
	}
	m.readers[info.No] = now
}

func (m *merge) dropErased() {
	var list []ledger.Erasure
	list, m.erasures = m.ledger.Erasures(m.erasures)
	for _, e := range list {
		m.Withdraw(e.Stream, e.Sequence)
	}
}

// take reads one slice of a stream.
func (m *merge) take(info ledger.StreamInfo, numbers map[streamName]uint32) error {
	entries, err := m.ledger.Follow(info.No, m.position[info.No]+1, slice)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return fmt.Errorf("stream %s: entry %d of %d is not there", info.ID, m.position[info.No]+1, info.Size)
	}
	var items []network.Item
	for _, e := range entries {
		switch {
		case e.Type == ententev1.EntryType_ENTRY_TYPE_RELEASE && e.Released != nil:
			items = append(items, item(info, e))
		case e.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL:
			m.Add(items...)
			items = nil
			no, known := numbers[streamName{e.Owner, e.Target}]
			if known { // of a stream that is not, the ledger will not keep what was withdrawn
				m.Withdraw(no, e.TargetSeq)
			}
		}
	}
	m.Add(items...)
	m.position[info.No] = entries[len(entries)-1].Sequence
	return nil
}

// item says of a release for whom it may be used.
func item(info ledger.StreamInfo, e ledger.Entry) network.Item {
	if info.Stranger {
		info.Project = ""
	}
	return network.Item{
		Stream: info.No, Sequence: e.Sequence, Owner: e.Owner, Record: e.Record, Kind: e.Kind,
		Released: e.Released, PayloadHash: e.PayloadHash, AllMembers: toAll(info.Kind), Project: info.Project, Readers: readers(info, e),
		RetainUntil: e.RetainUntil, Label: policy.LabelOf(e.Released),
	}
}

// readers are the members for whom a release may be used: of a shared stream its owner and its readers, but for those that
// have left its project; of a bilateral one its owner, and whom the owner named.
func readers(info ledger.StreamInfo, e ledger.Entry) []member.ID {
	if info.Kind == ententev1.StreamKind_STREAM_KIND_BILATERAL {
		return append([]member.ID{info.Owner}, e.MergeFor...)
	}
	list := append([]member.ID{info.Owner}, info.Readers...)
	return slices.DeleteFunc(list, func(id member.ID) bool { return slices.Contains(info.Departed, id) })
}

func toAll(kind ententev1.StreamKind) bool {
	return kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS || kind == ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE
}
