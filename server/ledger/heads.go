package ledger

import (
	"fmt"
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"entente.example/entente/proto/stream"
)

func timestamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// encodeHead is what of a stream changes with each batch.
func (s *streamState) encodeHead() ([]byte, error) {
	edge, err := s.edge.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("stream %s: encode edge: %w", s.id, err)
	}
	w := writer{}
	var flags byte
	if s.closed {
		flags |= 1
	}
	if s.retired {
		flags |= 2
	}
	if s.frozen {
		flags |= 4
	}
	w.b = append(w.b, flags)
	w.bytes(edge)
	w.bytes(s.checkpoint)
	w.uint(s.receipted)
	w.uint(s.withdrawnTo)
	w.uint(uint64(len(s.erased)))
	for _, e := range s.erased {
		w.raw(e.stream[:])
		w.uint(e.sequence)
	}
	return w.b, nil
}

func (s *streamState) decodeHead(value []byte) error {
	r := reader{b: value}
	flags := first(r.take(1))
	s.closed, s.retired, s.frozen = flags&1 != 0, flags&2 != 0, flags&4 != 0
	edge := r.bytes()
	s.checkpoint = append([]byte(nil), r.bytes()...)
	s.receipted = r.uint()
	s.withdrawnTo = r.uint()
	n := r.uint()
	for range n {
		if r.err != nil {
			break
		}
		e := &entryRef{}
		copy(e.stream[:], r.take(uint64(len(e.stream))))
		e.sequence = r.uint()
		s.erased = append(s.erased, e)
	}
	if r.err != nil {
		return fmt.Errorf("stream %s: read head: %w", s.id, r.err)
	}
	err := s.edge.UnmarshalBinary(edge)
	if err != nil {
		return fmt.Errorf("stream %s: read edge: %w", s.id, err)
	}
	return nil
}

// sign makes the checkpoint of an own stream at its present size.
func (b *batch) sign(s *streamState) error {
	c := stream.Checkpoint{Owner: b.l.cfg.Self, Stream: s.id, Size: s.edge.Size(), Root: s.edge.Root(), Time: b.now}
	note, err := c.Sign(b.signingKey())
	if err != nil {
		return fmt.Errorf("sign checkpoint of stream %s: %w", s.id, err)
	}
	s.checkpoint = note
	return nil
}

// finish signs the checkpoints and writes the heads of all streams that the batch changed.
func (b *batch) finish() error {
	for no := range b.touched {
		err := b.sign(b.streams[no])
		if err != nil {
			return err
		}
	}
	for no, s := range b.streams {
		head, err := s.encodeHead()
		if err != nil {
			return err
		}
		err = b.tx.Put(tableHeads, numberKey(no), head)
		if err != nil {
			return fmt.Errorf("keep head of stream %s: %w", s.id, err)
		}
	}
	b.logged = b.tx.Len(logSeries)
	return b.writeTrail()
}

// install shows the batch's changes to readers. The transaction is on disk.
func (b *batch) install() {
	st := b.l.state
	st.order = append(st.order, b.added...)
	for id, r := range b.records {
		st.records[id] = r
		if r.waiting {
			st.waiting[id] = struct{}{}
		} else {
			delete(st.waiting, id)
		}
		if r.pending {
			st.pending[id] = struct{}{}
		} else {
			delete(st.pending, id)
		}
	}
	st.streams = append(st.streams, b.opened...)
	for no, s := range b.streams {
		st.streams[no-1] = s
		st.byID[s.name()] = no
		for _, reader := range s.readers {
			delete(st.digests, digestKey{owner: s.owner, reader: reader})
		}
	}
	for key, no := range b.open {
		st.open[key] = no
	}
	for n, places := range b.held {
		if len(places) == 0 {
			delete(st.held, n)
		} else {
			st.held[n] = places
		}
	}
	for n, ids := range b.names {
		st.dependents[n] = append(st.dependents[n], ids...)
	}
	for t, a := range b.ahead {
		st.ahead[t] = a
	}
	st.library = append(st.library, b.library...)
	st.erasures = append(st.erasures, b.erasures...)
	for id, tail := range b.lost {
		st.lost[id] = tail
	}
	maps.Copy(st.arrivals, b.arrivals)
	for _, id := range b.departed {
		delete(st.arrivals, id)
	}
	maps.Copy(st.legacy, b.legacy)
	st.gone += b.wiped
	st.due.add(b.due...)
	st.runOut.add(b.runOut...)
	st.logged = b.logged
	st.installPermits(b)
	for _, installed := range b.installed {
		if installed != nil {
			installed()
		}
	}
	if b.rotated != nil {
		b.l.signing = b.rotated
	}
}
