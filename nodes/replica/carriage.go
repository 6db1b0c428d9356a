package replica

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server"
	"entente.example/entente/server/ledger"
)

// documentReceipt is the type of a receipt (SignedDocument.type).
const documentReceipt = "receipt"

// maxOwners is how many members a file may tell of: each is remembered until it ends, and stands in the answer.
const maxOwners = 1024

// errShort says that a file about another member's streams ends before their newest heads. Who relays them may itself be
// waiting for the rest.
var errShort = errors.New("it ends before the newest head that it names")

// carriage is one import of what was carried by file.
type carriage struct {
	*Replica
	checkOnly bool
	exporter  member.ID // as the file says: nothing is believed for it
	seen      map[member.ID]bool
	part      *part // about the owner at hand; nil before the first, and behind the last
	receipts  bool  // they have begun: no more streams
	ended     bool
	response  *ententev1.ImportStreamsResponse
}

// part is what a file holds of one owner.
type part struct {
	owner   member.ID
	session *session
	tally   *tally
	side    *side
	leave   func()
	done    bool
	passed  error // why the rest of it is not looked at
}

// Import takes the messages of an export (server.Importer): the same session and the same verification as a pull, from
// whatever position the file was made for. Nothing counts as fresh by a file, however new it says it is. If we crash here,
// importing it again goes on from what the ledger has stored, and changes nothing where it has all.
func (r *Replica) Import(ctx context.Context, checkOnly bool, next func() (*ententev1.ExportStreamsResponse, error)) (*ententev1.ImportStreamsResponse, error) {
	c := &carriage{Replica: r, checkOnly: checkOnly, seen: map[member.ID]bool{}, response: &ententev1.ImportStreamsResponse{}}
	defer func() {
		if c.part != nil {
			c.part.leave()
		}
	}()
	first, err := next()
	if err == nil {
		err = c.begin(first.GetHeader())
	}
	for err == nil {
		var m *ententev1.ExportStreamsResponse
		m, err = next()
		if err == nil {
			err = c.take(ctx, m)
		}
	}
	if errors.Is(err, io.EOF) && c.ended {
		return c.response, nil
	}
	if errors.Is(err, io.EOF) {
		return nil, refusedFile("it ends before its end")
	}
	return nil, err
}

func refusedFile(format string, args ...any) error {
	return fmt.Errorf("%w: %w", server.ErrCarried, fmt.Errorf(format, args...))
}

// begin judges for whom and for which federation the file is.
func (c *carriage) begin(h *ententev1.ExportHeader) error {
	federation := c.cfg.Directory().Roster.Federation()
	exporter, err := member.ParseID(h.GetExporter())
	switch {
	case h == nil:
		return refusedFile("it does not open with a header")
	case !bytes.Equal(h.GetFederationId(), federation[:]):
		return refusedFile("it is of another federation")
	case err != nil:
		return refusedFile("it does not say which member made it")
	case h.GetReader() != string(c.cfg.Self):
		return refusedFile("it is for another member than %s", c.cfg.Self)
	case exporter == c.cfg.Self:
		return refusedFile("%s made it itself", c.cfg.Self)
	}
	c.exporter = exporter
	return nil
}

func (c *carriage) take(ctx context.Context, m *ententev1.ExportStreamsResponse) error {
	switch content := m.GetContent().(type) {
	case *ententev1.ExportStreamsResponse_Owner:
		if c.receipts {
			return refusedFile("streams come after receipts")
		}
		err := c.finish()
		if err != nil {
			return err
		}
		return c.enter(ctx, content.Owner)
	case *ententev1.ExportStreamsResponse_Pull:
		if c.part == nil {
			return refusedFile("it does not say whose streams these are")
		}
		return c.part.take(ctx, c.checkOnly, content.Pull)
	case *ententev1.ExportStreamsResponse_Receipt:
		c.receipts = true
		err := c.finish()
		if err != nil {
			return err
		}
		return c.receipt(ctx, content.Receipt)
	case *ententev1.ExportStreamsResponse_End:
		c.ended = true
		return c.finish()
	}
	return refusedFile("%s", RuleContent)
}

// enter begins with the streams of an owner.
func (c *carriage) enter(ctx context.Context, name string) error {
	owner, err := member.ParseID(name)
	if err != nil || owner == c.cfg.Self || c.seen[owner] {
		return refusedFile("it names as an owner who is none, who was named before, or this node's own member")
	}
	if len(c.seen) >= maxOwners {
		return refusedFile("it tells of more than %d members", maxOwners)
	}
	c.seen[owner] = true
	if !c.cfg.Directory().Roster.Active(owner) {
		c.part = &part{owner: owner, session: &session{}, tally: &tally{}, leave: func() {}}
		c.part.passed = errors.New("it is no member in good standing by this node's roster")
		return nil // nothing is kept for a name that anybody can invent
	}
	leave := func() {}
	c.mu.Lock()
	side := c.sideOf(owner)
	c.mu.Unlock()
	if !c.checkOnly {
		leave, err = side.enter(ctx)
		if err != nil {
			return err
		}
	}
	keys := func(id member.ID) []ed25519.PublicKey { return c.cfg.Directory().Roster.VerifyingKeys(id) }
	t := newTally(c.cfg.Ledger, owner, !c.checkOnly)
	s := newSession(t, owner, c.cfg.Self, keys, c.cfg.Now, true)
	s.from, s.opened = fromFile, true
	c.part = &part{owner: owner, session: s, tally: t, side: side, leave: leave}
	return nil
}

// take judges and applies one message about the owner's streams.
func (p *part) take(ctx context.Context, checkOnly bool, m *ententev1.PullResponse) error {
	if p.passed != nil {
		return nil
	}
	if p.done {
		return refusedFile("streams of %s: %s", p.owner, RuleContent)
	}
	through := p.side.take
	if checkOnly {
		through = func(do func() error) error { return do() }
	}
	err := through(func() error {
		o, err := p.session.take(ctx, m)
		p.done = o.done
		return err
	})
	_, unsound := errors.AsType[*stream.SenderError](err)
	_, broke := errors.AsType[*Fault](err)
	switch {
	case errors.Is(err, errHeard):
		p.passed = err
		return nil
	case unsound || broke:
		return refusedFile("streams of %s: %w", p.owner, err)
	case errors.Is(err, errNoRelay):
		return refusedFile("streams of %s: they are as fresh as nobody can say of a file", p.owner)
	}
	return err
}

// short says that entries are missing which a checkpoint in the file announces.
func (p *part) short() bool {
	for id := range p.session.behind {
		if !p.session.follows[id].passed {
			return true
		}
	}
	return false
}

// finish ends with an owner: says what came of it.
func (c *carriage) finish() error {
	p := c.part
	if p == nil {
		return nil
	}
	c.part = nil
	p.leave()
	if !p.done && p.passed == nil {
		return refusedFile("streams of %s: they end before their end", p.owner)
	}
	if p.passed == nil && p.short() && p.owner == c.exporter {
		return refusedFile("streams of %s: entries are missing that its checkpoints announce", p.owner)
	}
	line := &ententev1.ImportedStreams{Owner: string(p.owner), Streams: uint64(len(p.session.follows)), Entries: p.tally.entries, Withdrawals: p.tally.withdrawals}
	note := p.passed
	if note == nil {
		note = p.session.note()
	}
	if note == nil && p.short() {
		note = errShort
	}
	if note != nil {
		line.Note = note.Error()
	}
	fork, forked := errors.AsType[*stream.ForkError](note)
	if forked && !c.checkOnly {
		c.cfg.Logger.Error("an owner has shown two histories of a stream: it is frozen", "owner", string(p.owner), "stream", fork.Stream.String())
	}
	c.response.Owners = append(c.response.Owners, line)
	return nil
}

// receipt takes a receipt for this node's own streams. One that its reader never signed is refused with the file. One that
// does not fit what this node holds (it may have been restored from a backup, and know less than its readers) is left out.
func (c *carriage) receipt(ctx context.Context, doc *ententev1.SignedDocument) error {
	signer, err := member.VerifyDocument(doc, documentReceipt, c.cfg.Directory().Roster.VerifyingKeys)
	if err != nil {
		return refusedFile("receipt of %s: %w", c.exporter, err)
	}
	r := &ententev1.Receipt{}
	err = proto.Unmarshal(doc.GetBody(), r)
	if err != nil || signer != c.exporter || r.GetReader() != string(c.exporter) || r.GetOwner() != string(c.cfg.Self) {
		return refusedFile("receipt of %s: it is not one of %s for %s", signer, c.exporter, c.cfg.Self)
	}
	if !c.checkOnly {
		err = c.cfg.Ledger.AcceptReceipt(ctx, doc, c.exporter)
	}
	if errors.Is(err, ledger.ErrRefused) || errors.Is(err, ledger.ErrAbsent) {
		c.cfg.Logger.Warn("a receipt that was carried by file does not fit and is left out", "reader", string(c.exporter), "error", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	c.response.Receipts++
	return nil
}

// tally stands between the session of a file and the ledger: it counts what is new, and where it keeps nothing it remembers
// the withdrawals, so that the rest is judged as it will be then.
type tally struct {
	received
	keep                 bool
	known                func(in stream.ID, sequence uint64) bool
	taken                map[stream.Withdrawal]bool // by target only
	entries, withdrawals uint64
}

func newTally(l received, owner member.ID, keep bool) *tally {
	return &tally{received: l, keep: keep, known: l.Covered(owner), taken: map[stream.Withdrawal]bool{}}
}

func (t *tally) covered(in stream.ID, sequence uint64) bool {
	return t.taken[byTarget(in, sequence)] || t.known(in, sequence)
}

// Covered says which entries are withdrawn, by what is held and what the file has brought.
func (t *tally) Covered(member.ID) func(in stream.ID, sequence uint64) bool { return t.covered }

// ApplyWithdrawals counts, and keeps or remembers.
func (t *tally) ApplyWithdrawals(ctx context.Context, owner member.ID, in stream.ID, list []stream.Withdrawal, checkpoint []byte) error {
	for _, w := range list {
		t.count(w)
	}
	if !t.keep {
		return nil
	}
	return t.received.ApplyWithdrawals(ctx, owner, in, list, checkpoint)
}

// count notes a withdrawal, once.
func (t *tally) count(w stream.Withdrawal) {
	if t.covered(w.Target, w.TargetSequence) {
		return
	}
	t.withdrawals++
	t.taken[byTarget(w.Target, w.TargetSequence)] = true
}

// ApplyEntries counts, and keeps or remembers.
func (t *tally) ApplyEntries(ctx context.Context, owner member.ID, id stream.ID, entries []stream.Verified, edge stream.Edge, checkpoint []byte) error {
	for _, e := range entries {
		w, is := e.Header.Withdrawal(id)
		if is {
			t.count(w)
		}
	}
	if t.keep {
		err := t.received.ApplyEntries(ctx, owner, id, entries, edge, checkpoint)
		if err != nil {
			return err
		}
	}
	t.entries += uint64(len(entries))
	return nil
}

// Freeze freezes only where anything is kept.
func (t *tally) Freeze(ctx context.Context, owner member.ID, id stream.ID, evidence [][]byte) error {
	if !t.keep {
		return nil
	}
	return t.received.Freeze(ctx, owner, id, evidence)
}

// Fresh does nothing: nothing is fresh by a file.
func (t *tally) Fresh(member.ID, bool) {}
