package replica

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// received is what a session needs of the ledger.
type received interface {
	Held
	Applier
	Trees
}

// session is what is decided in one pull: messages in, calls of the ledger out. It knows no network and no clock but now.
type session struct {
	from        source
	owner, self member.ID
	ledger      received
	keys        member.Keys
	now         func() time.Time
	given       bool               // positions were given with the call
	asked       map[stream.ID]bool // of a relay: the streams of which it was told our position

	opened  bool                  // the signed digest has come
	last    stream.Hash           // of the newest signed digest
	phase   phase                 // what may come next
	follows map[stream.ID]*follow // the streams announced in this call
	known   map[stream.ID]bool    // streams of the owner: those held when the call began, and those announced
	behind  map[stream.ID]bool    // announced further than entries have come
	waiting []unplaced            // withdrawals of streams that are not known yet
	waits   int                   // how many they are
	notes   map[stream.ID]error   // streams that stopped, and why
	frozen  map[stream.ID]bool    // frozen in this call
	hidden  map[stream.ID]bool    // not shown: frozen, now or before this call, or after an unclean stop
	covered func(stream.ID, uint64) bool
}

const (
	// maxStreams is how many streams of one owner a node takes notice of: each costs memory from its first checkpoint on.
	// An owner has a stream for each set of readers that it ever shared with, and one more after a restore.
	maxStreams = 1 << 14
	// maxUnplaced is how many withdrawals may wait for the announcement of the streams that they name.
	maxUnplaced = 1 << 20
)

type phase uint8

const (
	phaseOpening  phase = iota // nothing but the digest has come
	phaseAnnounce              // checkpoints and withdrawals of all streams
	phaseEntries               // entries, up to what was announced
	phaseLive                  // all in turn, as it happens
)

// follow is one stream in one call.
type follow struct {
	reader *stream.Reader
	// stopped: the node takes no more entries of it. The reader is then one without history, by which withdrawals are
	// still verified under the newest signed head.
	stopped bool
	// passed: nothing more of it is looked at in this call. Never of a stream that comes from its owner.
	passed bool
	// next is the entry that comes next in a file, 0 where none has come.
	next uint64
}

// unplaced are withdrawals in one stream of entries of others.
type unplaced struct {
	in   stream.ID
	list []stream.Withdrawal
}

// outcome is what a message means for the shell.
type outcome struct {
	// again: call again, with positions.
	again bool
	// fresh is when the owner signed a digest, zero where the message was none. said is that also of one that is refused
	// because it is too far ahead of this node's clock.
	fresh, said time.Time
	// current: all that the owner has is applied.
	current bool
	// compare: the owner's digest is another although all it sent is applied: compare heads.
	compare bool
	// stored: something is on disk that was not. erased: at the owner's word, so it waits for the receipt.
	stored, erased bool
	// done: a relay, or a file about this owner, has brought all that it has.
	done bool
}

func newSession(l received, owner, self member.ID, keys member.Keys, now func() time.Time, given bool) *session {
	s := &session{owner: owner, self: self, ledger: l, keys: keys, now: now, given: given,
		follows: map[stream.ID]*follow{}, known: map[stream.ID]bool{}, behind: map[stream.ID]bool{},
		notes: map[stream.ID]error{}, frozen: map[stream.ID]bool{}, hidden: map[stream.ID]bool{}, covered: l.Covered(owner)}
	for _, info := range l.StreamsShared(owner, self) {
		s.known[info.ID] = true
		s.hidden[info.ID] = info.Hidden
	}
	return s
}

// take judges and applies one message. If we crash here, the next call goes on from what the ledger has stored.
func (s *session) take(ctx context.Context, m *ententev1.PullResponse) (outcome, error) {
	switch content := m.GetContent().(type) {
	case *ententev1.PullResponse_Digest:
		if s.from != fromOwner {
			return outcome{}, errNoRelay
		}
		return s.digest(content.Digest)
	case *ententev1.PullResponse_PositionsNeeded:
		if !s.opened {
			return outcome{}, &Fault{Rule: RuleDigestFirst}
		}
		if s.given || s.phase != phaseOpening {
			return outcome{}, &Fault{Rule: RulePositions}
		}
		return outcome{again: true}, nil
	case *ententev1.PullResponse_Checkpoint:
		if s.given && s.phase == phaseEntries {
			// What was announced has been overtaken: the owner announces anew before it goes on.
			s.phase = phaseAnnounce
		}
		err := s.enter(phaseAnnounce)
		if err != nil {
			return outcome{}, err
		}
		return outcome{}, s.checkpoint(ctx, content.Checkpoint)
	case *ententev1.PullResponse_Withdrawals:
		err := s.enter(phaseAnnounce)
		if err != nil {
			return outcome{}, err
		}
		return s.withdrawals(ctx, content.Withdrawals)
	case *ententev1.PullResponse_Entries:
		err := s.enter(phaseEntries)
		if err != nil {
			return outcome{}, err
		}
		return s.entries(ctx, content.Entries)
	case *ententev1.PullResponse_Grants:
		if s.given && s.phase == phaseEntries {
			s.phase = phaseAnnounce // the grant of a stream that is announced anew stands before its checkpoint
		}
		err := s.enter(phaseAnnounce)
		if err != nil {
			return outcome{}, err
		}
		return outcome{}, s.grants(content.Grants)
	case *ententev1.PullResponse_CaughtUp:
		return s.caughtUp(ctx)
	}
	return outcome{}, &Fault{Rule: RuleContent}
}

// enter holds the order of a pull: the digest first, and before the first catching up is done no withdrawal after a
// release, so that nothing is stored that is already taken back.
func (s *session) enter(next phase) error {
	switch {
	case !s.opened:
		return &Fault{Rule: RuleDigestFirst}
	case s.phase == phaseLive:
		return nil
	case !s.given:
		return &Fault{Rule: RuleUnasked}
	case next < s.phase:
		return &Fault{Rule: RuleLate}
	}
	s.phase = next
	return nil
}

func (s *session) digest(doc *ententev1.SignedDocument) (outcome, error) {
	signed, err := verifyDigest(doc, s.owner, s.self, s.keys, s.now())
	if err != nil {
		return outcome{said: signed.at}, err
	}
	first := !s.opened
	s.opened, s.last = true, signed.hash
	o := outcome{fresh: signed.at, said: signed.at}
	if signed.hash == s.ledger.Digest(s.owner, s.self) {
		if s.phase == phaseOpening && !s.given {
			s.phase = phaseLive
		}
		s.forgetOlder()
		s.ledger.Fresh(s.owner, true)
		o.current = true
		return o, nil
	}
	o.compare = !first && s.phase == phaseLive
	return o, nil
}

func (s *session) caughtUp(ctx context.Context) (outcome, error) {
	if !s.opened {
		return outcome{}, &Fault{Rule: RuleDigestFirst}
	}
	if !s.given {
		return outcome{}, &Fault{Rule: RuleUnasked}
	}
	o, err := s.place(ctx)
	if err != nil {
		return outcome{}, err
	}
	if s.from != fromOwner {
		o.done = true // no word of the owner's that this was all
		return o, nil
	}
	s.phase = phaseLive
	s.ledger.Fresh(s.owner, true)
	o.current = true
	o.compare = s.last != s.ledger.Digest(s.owner, s.self)
	return o, nil
}

// ownerKeys are the keys by which the owner's checkpoints count now.
func (s *session) ownerKeys() []ed25519.PublicKey { return s.keys(s.owner) }

func (s *session) checkpoint(ctx context.Context, u *ententev1.CheckpointUpdate) error {
	id, err := stream.ParseID(u.GetStreamId())
	if err != nil {
		return &Fault{Rule: RuleContent, Err: err}
	}
	f, err := s.follow(id)
	if err != nil || f.passed {
		return err
	}
	if f.stopped {
		u = &ententev1.CheckpointUpdate{StreamId: u.GetStreamId(), Checkpoint: u.GetCheckpoint()}
	}
	err = s.accept(f, id, u)
	fork, forked := errors.AsType[*stream.ForkError](err)
	fault, faulty := errors.AsType[*stream.SenderError](err)
	switch {
	case forked:
		err = s.freeze(ctx, id, fork)
		if err != nil {
			return err
		}
		return s.stop(f, id, u.GetCheckpoint(), fork)
	case faulty && fault.Rule == stream.RuleConsistency && s.hidden[id]:
		// A frozen stream cannot be continued, and must not keep the others from coming.
		return s.stop(f, id, u.GetCheckpoint(), err)
	case errors.Is(err, stream.ErrOlder):
		// The owner is behind what it once signed: restored from a backup, perhaps. Its streams have successors then.
		s.notes[id] = err
		f.passed = s.from != fromOwner
		return nil
	case err != nil:
		return err
	}
	s.known[id] = true
	edge := f.reader.Edge()
	newest, _, _ := f.reader.Newest()
	if !f.stopped && newest.Size > edge.Size() {
		s.behind[id] = true
	}
	return nil
}

// follow gives the verifier of a stream, from what is held of it.
func (s *session) follow(id stream.ID) (*follow, error) {
	f, ok := s.follows[id]
	if ok {
		return f, nil
	}
	if !s.known[id] && max(len(s.known), len(s.follows)) >= maxStreams {
		return nil, &Fault{Rule: RuleTooMany, Stream: id}
	}
	r, err := s.ledger.Reader(s.owner, id)
	if err != nil {
		return nil, &Fault{Rule: RuleNotOffered, Stream: id, Err: err}
	}
	// A relay that reads a stream without our knowing sends it from the beginning, which fits nothing here.
	f = &follow{reader: r, passed: s.from == fromRelay && s.known[id] && !s.asked[id]}
	s.follows[id] = f
	return f, nil
}

// announced gives a stream that a checkpoint has announced in this call.
func (s *session) announced(b []byte) (stream.ID, *follow, error) {
	id, err := stream.ParseID(b)
	if err != nil {
		return id, nil, &Fault{Rule: RuleContent, Err: err}
	}
	f, ok := s.follows[id]
	if !ok {
		return id, nil, &Fault{Rule: RuleNotOffered, Stream: id}
	}
	return id, f, nil
}

func (s *session) withdrawals(ctx context.Context, b *ententev1.WithdrawalBatch) (outcome, error) {
	id, f, err := s.announced(b.GetStreamId())
	if err != nil || f.passed {
		return outcome{}, err
	}
	list, err := f.reader.Withdrawals(b)
	if err != nil {
		return outcome{}, err
	}
	// A withdrawal may name an entry of a predecessor. That must be the owner's, or one member could take back what
	// another released; and it may be announced after this one, in the order of ids.
	var now, later []stream.Withdrawal
	for _, w := range list {
		if w.Target == id || s.known[w.Target] {
			now = append(now, w)
			continue
		}
		later = append(later, w)
	}
	s.waits += len(later)
	if s.waits > maxUnplaced {
		return outcome{}, &Fault{Rule: RuleTooMany, Stream: id}
	}
	if len(later) > 0 {
		s.waiting = append(s.waiting, unplaced{in: id, list: later})
	}
	return s.applyWithdrawals(ctx, id, now)
}

func (s *session) applyWithdrawals(ctx context.Context, in stream.ID, list []stream.Withdrawal) (outcome, error) {
	if len(list) == 0 {
		return outcome{}, nil
	}
	var note []byte
	f := s.follows[in]
	if f != nil {
		_, note, _ = f.reader.Newest()
	}
	err := s.ledger.ApplyWithdrawals(ctx, s.owner, in, list, note)
	if err != nil {
		return outcome{}, err
	}
	return outcome{stored: true, erased: true}, nil
}

// place applies the withdrawals of streams that were announced after them. All are announced before the first entry.
func (s *session) place(ctx context.Context) (outcome, error) {
	var all outcome
	for _, u := range s.waiting {
		for _, w := range u.list {
			if !s.known[w.Target] && s.from == fromOwner && !s.byGrant(u.in) {
				return outcome{}, &Fault{Rule: RuleForeign, Stream: u.in}
			}
		}
		// Who relays may have passed over the stream that is named: it cannot be told whose it is, and waits for the owner. Who
		// reads by a grant never read it, and has nothing to erase.
		list := slices.DeleteFunc(u.list, func(w stream.Withdrawal) bool { return !s.known[w.Target] })
		o, err := s.applyWithdrawals(ctx, u.in, list)
		if err != nil {
			return outcome{}, err
		}
		all.stored, all.erased = all.stored || o.stored, all.erased || o.erased
	}
	s.waiting, s.waits = nil, 0
	return all, nil
}

func (s *session) entries(ctx context.Context, b *ententev1.EntryBatch) (outcome, error) {
	o, err := s.place(ctx)
	if err != nil {
		return outcome{}, err
	}
	id, f, err := s.announced(b.GetStreamId())
	if err != nil || f.stopped || f.passed {
		return o, err
	}
	if s.from == fromFile {
		b, err = s.missing(f, id, b)
	}
	if err != nil || f.passed || len(b.GetEntries()) == 0 && s.from == fromFile {
		return o, err
	}
	list, err := f.reader.Entries(b, s.covered)
	fork, forked := errors.AsType[*stream.ForkError](err)
	if forked {
		err = s.freeze(ctx, id, fork)
		if err != nil {
			return o, err
		}
		return o, s.stop(f, id, fork.NewNote, fork)
	}
	if err != nil {
		return o, err
	}
	for _, v := range list {
		w, ok := v.Header.Withdrawal(id)
		foreign := ok && w.Target != id && !s.known[w.Target] && !f.reader.Granted()
		if foreign && s.from == fromOwner {
			return o, &Fault{Rule: RuleForeign, Stream: id}
		}
		if foreign {
			s.notes[id] = &Fault{Rule: RuleForeign, Stream: id}
			f.passed = true // see place
			return o, nil
		}
		o.erased = o.erased || ok
	}
	newest, note, _ := f.reader.Newest()
	edge := f.reader.Edge()
	err = s.ledger.ApplyEntries(ctx, s.owner, id, list, edge, note)
	if errors.Is(err, ledger.ErrRefused) {
		// Verified, so these are the owner's own words and no other source has better ones. The other streams go on.
		return o, s.stop(f, id, note, err)
	}
	if err != nil {
		return o, err
	}
	o.stored = true
	if edge.Size() >= newest.Size {
		delete(s.behind, id)
	}
	return o, nil
}

// byGrant says whether this node reads a stream by a grant: it may take back what stood in streams before it, which were never
// for this node.
func (s *session) byGrant(id stream.ID) bool {
	f := s.follows[id]
	return f != nil && f.reader.Granted()
}

// level says that all announced entries have come.
func (s *session) level() bool { return len(s.behind) == 0 }

// stop takes no more entries of a stream in this call; withdrawals are still verified under the newest signed head.
func (s *session) stop(f *follow, id stream.ID, note []byte, why error) error {
	s.notes[id] = why
	delete(s.behind, id)
	f.stopped = true
	granted := f.reader.Granted()
	f.reader = stream.NewReader(s.owner, id, s.self, stream.Edge{})
	f.reader.ResumeGranted(granted)
	_, err := f.reader.Checkpoint(&ententev1.CheckpointUpdate{StreamId: id[:], Checkpoint: note}, s.ownerKeys())
	if err != nil {
		return fmt.Errorf("go on with the withdrawals of stream %s: %w", id, err)
	}
	s.known[id] = true
	return nil
}

// freeze keeps the proof of a fork.
func (s *session) freeze(ctx context.Context, id stream.ID, fork *stream.ForkError) error {
	if s.frozen[id] {
		return nil
	}
	held := fork.HeldNote
	for _, info := range s.ledger.StreamsShared(s.owner, s.self) {
		if held == nil && info.ID == id {
			held = info.Checkpoint
		}
	}
	err := s.ledger.Freeze(ctx, s.owner, id, [][]byte{held, fork.NewNote})
	if err != nil {
		return err
	}
	s.frozen[id], s.hidden[id] = true, true
	s.notes[id] = fork
	return nil
}

// compare holds the owner's heads against what is held: a head of the same size with another root is a fork that a pull
// does not show, because nothing follows it.
func (s *session) compare(ctx context.Context, heads []*ententev1.StreamHead) error {
	s.forgetOlder()
	held := map[stream.ID]bool{}
	for _, info := range s.ledger.StreamsShared(s.owner, s.self) {
		held[info.ID] = true
	}
	for _, h := range heads {
		id, err := stream.ParseID(h.GetStreamId())
		if err != nil {
			return &Fault{Rule: RuleContent, Err: err}
		}
		if !held[id] || s.frozen[id] {
			continue
		}
		reader, err := s.ledger.Reader(s.owner, id)
		if err != nil {
			return &Fault{Rule: RuleNotOffered, Stream: id, Err: err}
		}
		edge := reader.Edge()
		if h.GetSize() > edge.Size() {
			continue // newer: it comes, with its proof, by the pull
		}
		err = s.accept(&follow{reader: reader}, id, &ententev1.CheckpointUpdate{StreamId: id[:], Checkpoint: h.GetCheckpoint()})
		fork, forked := errors.AsType[*stream.ForkError](err)
		switch {
		case forked:
			err = s.freeze(ctx, id, fork)
			if err != nil {
				return err
			}
		case errors.Is(err, stream.ErrOlder):
			s.notes[id] = err
		case err != nil:
			return err
		}
	}
	return nil
}

// forgetOlder drops the notes that the owner was behind: it may have caught up since.
func (s *session) forgetOlder() {
	maps.DeleteFunc(s.notes, func(_ stream.ID, err error) bool { return errors.Is(err, stream.ErrOlder) })
}

// note is what is wrong with some stream although the call goes on; nil where all is well.
func (s *session) note() error {
	var first error
	var at stream.ID
	for id, err := range s.notes {
		if first == nil || string(id[:]) < string(at[:]) {
			first, at = err, id
		}
	}
	return first
}
