package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

func (s *sim) restart() {
	one := s.one()
	s.log("restart %s", one.id)
	before := whole(one.n)
	one.n.stop()
	one.n = s.start(one.id, true, time.Hour)
	after := whole(one.n)
	if before != after {
		s.fail(difference(string(one.id)+" after a restart", strings.Split(before, "\n"), strings.Split(after, "\n")))
	}
}

func (s *sim) save() {
	one := s.one()
	s.log("backup of %s", one.id)
	one.n.stop()
	path := s.w.path[one.id] + ".backup"
	s.must(copyData(s.w.path[one.id], path))
	one.backup = &backup{path: path, model: one.m.clone(), receipts: maps.Clone(one.receipts)}
	one.n = s.start(one.id, true, time.Hour)
}

func (s *sim) crash() {
	one := s.one()
	s.log("crash of %s", one.id)
	one.n.stop()
	one.n = s.start(one.id, false, time.Hour)
	s.recover(one)
}

func (s *sim) restore() {
	one := s.one()
	if one.backup == nil {
		return
	}
	// A reader that has seen a head whose entries it does not hold cannot give them back: see the report on this gap.
	for _, id := range s.ids {
		if id != one.id && s.nodes[id].ahead[one.id] {
			s.carry(one, s.nodes[id], 1000, false)
		}
	}
	s.log("restore of %s", one.id)
	one.n.stop()
	s.must(copyData(one.backup.path, s.w.path[one.id]))
	one.m = one.backup.model.clone()
	ops := one.backup.since
	one.restored = true
	one.receipts = maps.Clone(one.backup.receipts)
	for _, id := range s.ids {
		one.stale[id] = true
	}
	clear(s.shown)
	one.n = s.start(one.id, false, time.Hour)
	for _, id := range s.ids {
		if id != one.id {
			s.collect(s.checkStreams(s.nodes[id]))
		}
	}
	s.recover(one)
	for _, op := range ops {
		op()
	}
}

// recover brings a node back after an unclean start: all its readers answer, or they do not in time and answer later.
func (s *sim) recover(one *simNode) {
	ctx := context.Background()
	for range s.rng.IntN(4) {
		pick(s.rng, []func(){s.push, s.release, s.withdraw})()
	}
	late := s.rng.IntN(3) == 0
	if s.rng.IntN(3) == 0 || late {
		s.log("%s starts once more, late %v", one.id, late)
		one.n.stop()
		within := time.Hour
		if late {
			within = 1
		}
		one.n = s.start(one.id, false, within)
	}
	for late {
		changed := one.n.Changed()
		if len(one.n.Unconfirmed()) == 0 {
			break
		}
		<-changed
	}
	order := s.rng.Perm(len(s.ids))
	for _, i := range order {
		id := s.ids[i]
		one.n.Fresh(id, true)
		if id != one.id {
			s.log("%s answers %s", id, one.id)
			s.must(one.n.Confirm(ctx, id, headsHeld(s.nodes[id].n, one.id, id)))
		}
	}
	for range 3 {
		for _, tail := range one.n.LostTails() {
			s.log("%s recovers %s from %s up to %d", one.id, tail.Stream, tail.Reader, tail.Size)
			s.recoverTail(one, tail)
		}
	}
	if s.over {
		return
	}
	if tails := one.n.LostTails(); len(tails) > 0 || len(one.n.Unconfirmed()) > 0 {
		s.fail([]string{fmt.Sprintf("%s: still lost %v, unconfirmed %v", one.id, tails, one.n.Unconfirmed())})
	}
	s.must(one.n.DirectoryChanged(ctx))
	s.expire(one)
}

func (s *sim) recoverTail(one *simNode, tail ledger.LostTail) {
	one.lost[tail.Stream] = true
	from := s.nodes[tail.Reader].n
	for _, info := range from.StreamsShared(one.id, tail.Reader) {
		if info.ID != tail.Stream {
			continue
		}
		r := one.n.TailReader(tail)
		edge := r.Edge()
		seen, err := stream.OpenCheckpoint(info.Checkpoint, one.id, info.ID, s.w.dir.Roster.VerifyingKeys(one.id))
		s.must(err)
		if info.Size <= edge.Size() || seen.Size != info.Size {
			// The reader has seen the head, and does not hold all entries up to it: it cannot prove the end, which is
			// withdrawn unseen. What lies between what it holds and that head it can never verify (ADR 0006): the model
			// has no word for that, and the run ends.
			err = one.n.WithdrawTail(context.Background(), tail)
			if !errors.Is(err, ledger.ErrAbsent) { // opened after the backup: its readers are not known
				s.must(err)
			}
			s.over = true
			return
		}
		proof, err := from.Consistency(info.No, edge.Size(), info.Size)
		s.must(err)
		_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: info.ID[:], Checkpoint: info.Checkpoint, Consistency: proof}, s.w.dir.Roster.VerifyingKeys(one.id))
		s.must(err)
		entries, err := from.Entries(info.No, edge.Size()+1, 1<<20, 1<<30)
		s.must(err)
		given := entries[:s.proven(from, one.id, info.ID, entries)]
		if len(given) < len(entries) {
			// The reader has erased an entry whose time was over, and nobody has withdrawn it: as server does, it gives what
			// comes before. The rest is withdrawn unseen, which the model has no word for.
			defer func() {
				s.must(one.n.WithdrawTail(context.Background(), tail))
				s.over = true
			}()
			proof, err = from.Consistency(info.No, edge.Size()+uint64(len(given)), info.Size)
			s.must(err)
		}
		if len(given) == 0 {
			return
		}
		batch := &ententev1.EntryBatch{StreamId: info.ID[:], Entries: given}
		if len(given) < len(entries) {
			batch.Consistency = proof
		}
		verified, err := r.Entries(batch, from.Covered(one.id))
		s.must(err)
		err = one.n.RecoverTail(context.Background(), tail.Stream, verified, info.Checkpoint)
		if err != nil && !errors.Is(err, store.ErrAbsent) { // its predecessor comes first
			s.must(err)
		}
	}
}

// proven counts the entries before the first one whose payload is missing without a withdrawal.
func (s *sim) proven(at *node, owner member.ID, id stream.ID, entries []*ententev1.Entry) int {
	covered := at.Covered(owner)
	i := slices.IndexFunc(entries, func(e *ententev1.Entry) bool {
		h, err := stream.ParseHeader(e.GetHeader())
		s.must(err)
		return h.Type == ententev1.EntryType_ENTRY_TYPE_RELEASE && len(e.GetPayload()) == 0 && !covered(id, h.Sequence)
	})
	if i < 0 {
		return len(entries)
	}
	return i
}

func copyData(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
