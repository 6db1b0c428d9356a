package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/store"
)

// What a reader sees of one entry.
type seen struct {
	record  ledger.RecordID
	content uint64
	stand   stand
	hash    [32]byte
	retain  int64
}

type entryKey struct {
	id       stream.ID
	sequence uint64
}

// standing lists the releases of an owner that stand at a node for a reader. mutate is for the positive control.
func (s *sim) standing(at *node, owner, reader member.ID) (map[entryKey]seen, []string) {
	var wrong []string
	out := map[entryKey]seen{}
	for _, info := range at.StreamsShared(owner, reader) {
		entries, err := at.Follow(info.No, 1, 1<<20)
		s.w.must(err)
		var readers []string
		for _, m := range info.Readers {
			if !slices.Contains(info.Granted, m) && slices.Contains(s.people.members, string(m)) {
				readers = append(readers, string(m))
			}
		}
		if info.Kind == ententev1.StreamKind_STREAM_KIND_BILATERAL && len(info.Readers) != 1 {
			wrong = append(wrong, fmt.Sprintf("bilateral stream %s has the readers %v", info.ID, info.Readers))
		}
		for _, e := range entries {
			if e.Released == nil {
				continue
			}
			r := &ententev1.ReleasedRecord{}
			s.w.must(proto.Unmarshal(e.Released, r))
			out[entryKey{id: info.ID, sequence: e.Sequence}] = seen{record: e.Record, content: uint64(r.GetEnvelope().GetRecordedAt().GetSeconds()), hash: e.PayloadHash, retain: e.RetainUntil,
				stand: stand{kind: info.Kind, project: info.Project, readers: join(readers), mergeFor: join(names(e.MergeFor)), cut: r.GetBody().GetPerson() != nil && r.GetBody().GetPerson().GetNotes() == ""}}
			if r.GetEnvelope().GetProjectId() != info.Project {
				wrong = append(wrong, fmt.Sprintf("stream %s of project %q carries the form of project %q", info.ID, info.Project, r.GetEnvelope().GetProjectId()))
			}
			if len(e.MergeFor) > 0 && !(len(info.Readers) == 1 && info.Readers[0] == "COORD") {
				wrong = append(wrong, fmt.Sprintf("stream %s tells %v for whom COORD may merge", info.ID, info.Readers))
			}
			if p := r.GetBody().GetPerson(); p != nil && p.GetNames()[0].GetFamily() != contentName(uint64(r.GetEnvelope().GetRecordedAt().GetSeconds())) {
				wrong = append(wrong, fmt.Sprintf("entry %d of stream %s mixes two versions", e.Sequence, info.ID))
			}
		}
	}
	return out, wrong
}

func names(ids []member.ID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, string(id))
	}
	return out
}

// holders is who may read a record of another member that a node holds: the readers of shared streams, and the owner.
func (s *sim) holders(at *simNode) func(modelName) []string {
	known := map[member.ID]map[entryKey]seen{}
	return func(n modelName) []string {
		if known[n.owner] == nil {
			known[n.owner], _ = s.standing(at.n, n.owner, at.id)
		}
		var out []string
		for _, e := range known[n.owner] {
			if e.record != s.nodes[n.owner].n.id(n.ref) {
				continue
			}
			out = append(out, string(n.owner))
			if e.stand.kind != ententev1.StreamKind_STREAM_KIND_BILATERAL {
				out = append(out, strings.Fields(e.stand.readers)...)
			}
		}
		return out
	}
}

// checkWanted: what stands in a member's own streams is what its model wants, each once, in its newest version.
func (s *sim) checkWanted(own *simNode) []string {
	if len(own.n.Unconfirmed()) > 0 {
		return nil
	}
	var wrong []string
	holders := s.holders(own)
	reads := s.readsNamed(own, holders)
	byGrant := s.byGrant(own)
	var known []ledger.RecordID
	back := map[ledger.RecordID]bool{}
	for ref := range own.m.records {
		known = append(known, own.n.id(ref))
		back[own.n.id(ref)] = s.heldBack(own, own.n.id(ref))
	}
	for _, reader := range s.people.members {
		if reader == string(own.id) {
			continue
		}
		var want, got []string
		may := map[ledger.RecordID]bool{}
		for ref, r := range own.m.records {
			for _, st := range own.m.stands(s.people, ref, holders, s.permitted(own), byGrant) {
				if st.has(member.ID(reader)) && back[own.n.id(ref)] {
					may[own.n.id(ref)] = true
				} else if st.has(member.ID(reader)) {
					want = append(want, fmt.Sprintf("%s content %d until %d %+v", own.n.id(ref), r.versions[r.top].content, r.retain(), st))
				}
			}
		}
		at, more := s.standing(own.n, own.id, member.ID(reader))
		wrong = append(wrong, more...)
		for _, e := range at {
			if own.restored && !slices.Contains(known, e.record) {
				continue // given back by a reader; it stands until its system pushes it again, or withdraws it
			}
			if !e.stand.has(member.ID(reader)) {
				wrong = append(wrong, s.checkGranted(own, reader, e, reads)...)
				continue
			}
			if back[e.record] {
				if !may[e.record] {
					wrong = append(wrong, fmt.Sprintf("%s for %s: record %s is held back, and stands for one who may not have it", own.id, reader, e.record))
				}
				continue
			}
			got = append(got, fmt.Sprintf("%s content %d until %d %+v", e.record, e.content, e.retain, e.stand))
		}
		slices.Sort(want)
		slices.Sort(got)
		wrong = append(wrong, difference(fmt.Sprintf("%s for %s", own.id, reader), want, got)...)
		wrong = append(wrong, s.checkMerge(own, at)...)
	}
	return wrong
}

// readsNamed tells whether a reader has a record that another one names.
func (s *sim) readsNamed(own *simNode, holders func(modelName) []string) func(string, modelName) bool {
	return func(reader string, n modelName) bool {
		if n.owner != own.id {
			return slices.Contains(holders(n), reader)
		}
		at, _ := s.standing(own.n, own.id, member.ID(reader))
		for _, e := range at {
			if e.record == own.n.id(n.ref) {
				return true
			}
		}
		return false
	}
}

// byGrant tells whether a reader has an own record of a node by a grant, or, after a restore, one that only readers gave back.
func (s *sim) byGrant(own *simNode) func(string, modelName) bool {
	known := map[string]map[entryKey]seen{}
	return func(reader string, n modelName) bool {
		if known[reader] == nil {
			known[reader], _ = s.standing(own.n, own.id, member.ID(reader))
		}
		for _, e := range known[reader] {
			if e.record == own.n.id(n.ref) && (!e.stand.has(member.ID(reader)) || own.restored && own.m.records[n.ref] == nil) {
				return true
			}
		}
		return false
	}
}

// checkGranted: what a reader has by a grant is what it may have.
func (s *sim) checkGranted(own *simNode, reader string, e seen, reads func(string, modelName) bool) []string {
	s.granted++
	for ref, r := range own.m.records {
		if own.n.id(ref) != e.record {
			continue
		}
		v := r.versions[r.top]
		out := e.stand.project != "" && !slices.Contains(s.people.project, reader)
		denied := slices.Contains(v.deny, reader) || len(v.allow) > 0 && !slices.Contains(v.allow, reader)
		unnamed := slices.ContainsFunc(v.names, func(n modelName) bool { return !reads(reader, n) })
		if out || denied || unnamed {
			return []string{fmt.Sprintf("%s for %s: record %s stands by a grant: out %v, denied %v, names what it may not read %v", own.id, reader, e.record, out, denied, unnamed)}
		}
	}
	return nil
}

// heldBack: after a restore, a record of which readers hold a version that was lost stays as it is for those who may have it,
// until its system pushes or releases it again.
func (s *sim) heldBack(own *simNode, id ledger.RecordID) bool {
	if !own.restored {
		return false
	}
	return own.n.HeldBack(id)
}

// permitted is to whom the owners of others' records let a member pass on what it made from them, as its node says.
func (s *sim) permitted(own *simNode) func(modelName) []string {
	return func(n modelName) []string {
		var out []string
		for _, p := range own.n.Permissions(ledger.Name{Owner: n.owner, Record: s.nodes[n.owner].n.id(n.ref)}) {
			out = append(out, names(p.Recipients)...)
		}
		return out
	}
}

// checkPermissions: what a holder takes as permitted is what the owner has permitted for the version that it holds; once it has
// read all, no less either.
func (s *sim) checkPermissions(own, holder *simNode) []string {
	if own.restored || holder.stale[own.id] {
		return nil
	}
	held, _ := s.standing(holder.n, own.id, holder.id)
	inForce := map[string]bool{}
	for _, p := range own.n.ListPermissions("Central Unit", false) {
		inForce[p.GetEntry().String()] = p.GetInForce()
	}
	upToDate := own.n.Digest(own.id, holder.id) == holder.n.Digest(own.id, holder.id)
	var wrong []string
	for _, ref := range []string{"p0", "p1", "p2", "p3", "p4", "p5"} {
		var could, must, got []string
		for _, g := range s.permits {
			if g.owner != own.id || g.holder != holder.id || g.ref != ref || g.until <= s.w.now.Unix() {
				continue
			}
			holds := slices.ContainsFunc(slices.Collect(maps.Values(held)), func(e seen) bool { return e.record == own.n.id(ref) && e.content == g.content && e.retain == g.retain })
			text := fmt.Sprintf("%v until %d", g.recipients, g.until)
			if holds && !(g.revoked && upToDate) {
				could = append(could, text)
			}
			// The same version may stand in another entry by now: a permission ends with the entry that it names.
			if holds && !g.revoked && upToDate && inForce[g.at.String()] {
				must = append(must, text)
			}
		}
		for _, p := range holder.n.Permissions(ledger.Name{Owner: own.id, Record: own.n.id(ref)}) {
			got = append(got, fmt.Sprintf("%v until %d", names(p.Recipients), p.Until.Unix()))
		}
		s.allowed += len(got)
		for _, one := range got {
			if !slices.Contains(could, one) {
				wrong = append(wrong, fmt.Sprintf("%s takes as permitted by %s for %s: %s; given %v", holder.id, own.id, ref, one, could))
			}
		}
		for _, one := range must {
			if !slices.Contains(got, one) {
				wrong = append(wrong, fmt.Sprintf("%s does not know that %s permits for %s: %s", holder.id, own.id, ref, one))
			}
		}
	}
	return wrong
}

// checkOver: no reader shows what is over.
func (s *sim) checkOver(reader *simNode) []string {
	var wrong []string
	for _, owner := range s.ids {
		if owner == reader.id {
			continue
		}
		at, _ := s.standing(reader.n, owner, reader.id)
		for key, e := range at {
			if e.retain <= s.w.now.Unix() {
				wrong = append(wrong, fmt.Sprintf("%s holds %v of %s, which is over", reader.id, key, owner))
			}
		}
	}
	return wrong
}

func difference(what string, want, got []string) []string {
	var wrong []string
	for _, one := range want {
		at := slices.Index(got, one)
		if at < 0 {
			wrong = append(wrong, what+": missing "+one)
			continue
		}
		got = slices.Delete(got, at, at+1)
	}
	for _, one := range got {
		wrong = append(wrong, what+": too much "+one)
	}
	return wrong
}

// checkMerge: for whom a coordinator may merge, those hold the same bytes.
func (s *sim) checkMerge(own *simNode, at map[entryKey]seen) []string {
	var wrong []string
	for _, e := range at {
		for _, m := range strings.Fields(e.stand.mergeFor) {
			theirs, _ := s.standing(own.n, own.id, member.ID(m))
			found := m == "COORD"
			for _, other := range theirs {
				found = found || other.hash == e.hash
			}
			if !found {
				wrong = append(wrong, fmt.Sprintf("COORD may merge %s for %s, who does not hold it", e.record, m))
			}
		}
	}
	return wrong
}

// checkHeld: what a reader holds stands at the owner, or a withdrawal of it is on its way; what a withdrawal covers is gone.
func (s *sim) checkHeld(own, reader *simNode) []string {
	var wrong []string
	atOwner, _ := s.standing(own.n, own.id, reader.id)
	taken := s.withdrawn(own.n, own.id, reader.id)
	atReader, more := s.standing(reader.n, own.id, reader.id)
	wrong = append(wrong, more...)
	covered := reader.n.Covered(own.id)
	for key, e := range atReader {
		if covered(key.id, key.sequence) {
			wrong = append(wrong, fmt.Sprintf("%s holds entry %v of %s although it knows its withdrawal", reader.id, key, own.id))
		}
		known, stands := atOwner[key]
		if stands && known.hash != e.hash {
			wrong = append(wrong, fmt.Sprintf("%s holds other bytes in entry %v of %s", reader.id, key, own.id))
		}
		if !stands && !taken[key] {
			wrong = append(wrong, fmt.Sprintf("%s holds entry %v of %s, which neither stands nor is withdrawn there", reader.id, key, own.id))
		}
	}
	if own.n.Digest(own.id, reader.id) == reader.n.Digest(own.id, reader.id) {
		for key := range atOwner {
			if _, ok := atReader[key]; !ok && atOwner[key].retain > s.w.now.Unix() {
				wrong = append(wrong, fmt.Sprintf("%s has read all of %s and lacks entry %v", reader.id, own.id, key))
			}
		}
		for key := range atReader {
			if _, ok := atOwner[key]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s has read all of %s and holds entry %v too much", reader.id, own.id, key))
			}
		}
		wrong = append(wrong, s.checkEnds(own, reader, atReader)...)
	}
	return append(wrong, s.checkDeliveries(own, reader, atReader)...)
}

// checkEnds: an association is held only together with both ends, where the reader is up to date with all.
func (s *sim) checkEnds(own, reader *simNode, at map[entryKey]seen) []string {
	var wrong []string
	for key, e := range at {
		for ref, r := range own.m.records {
			if own.n.id(ref) != e.record || len(own.n.Unconfirmed()) > 0 {
				continue
			}
			for _, n := range r.versions[r.top].names {
				if n.owner != own.id || s.heldBack(own, own.n.id(n.ref)) {
					continue // the reader may not have read that owner yet; or has, of what was lost, what is over
				}
				found := false
				for _, other := range at {
					found = found || other.record == s.nodes[n.owner].n.id(n.ref)
				}
				if !found {
					wrong = append(wrong, fmt.Sprintf("%s holds %v of %s without the end %s", reader.id, key, own.id, n.ref))
				}
			}
		}
	}
	return wrong
}

// withdrawn lists what the withdrawals of an owner's streams take back.
func (s *sim) withdrawn(at *node, owner, reader member.ID) map[entryKey]bool {
	out := map[entryKey]bool{}
	for _, info := range at.StreamsShared(owner, reader) {
		entries, err := at.Follow(info.No, 1, 1<<20)
		s.w.must(err)
		for _, e := range entries {
			if e.Type == ententev1.EntryType_ENTRY_TYPE_WITHDRAWAL {
				out[entryKey{id: e.Target, sequence: e.TargetSeq}] = true
			}
		}
	}
	return out
}

// checkDeliveries: the table says of a reader only what its receipts say, and APPLIED only where nothing is held any more.
func (s *sim) checkDeliveries(own, reader *simNode, at map[entryKey]seen) []string {
	if reader.stale[own.id] {
		return nil
	}
	var wrong []string
	list, _, err := own.n.Records(ledger.ListQuery{Limit: 1 << 20})
	s.w.must(err)
	for _, r := range list {
		for _, d := range r.GetDeliveries() {
			if d.GetMember() != string(reader.id) || d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_PENDING {
				continue
			}
			id, err := stream.ParseID(d.GetEntry().GetStreamId())
			s.w.must(err)
			key := entryKey{id: id, sequence: d.GetEntry().GetSequence()}
			_, held := at[key]
			if d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_APPLIED && held {
				wrong = append(wrong, fmt.Sprintf("%s: APPLIED for %v, which %s holds", own.id, key, reader.id))
			}
			if d.GetState() == ententev1.DeliveryState_DELIVERY_STATE_DELIVERED && own.receipts[receiptKey{reader: reader.id, id: id}] < key.sequence {
				wrong = append(wrong, fmt.Sprintf("%s: DELIVERED for %v without a receipt of %s", own.id, key, reader.id))
			}
		}
	}
	return wrong
}

// checkStreams: every stream verifies from the first entry, its checkpoint is at its head, nothing erased travels, and
// nowhere is there another header under the same number.
func (s *sim) checkStreams(n *simNode) []string {
	var wrong []string
	for _, info := range n.n.Streams() {
		reader := info.Readers[0]
		if info.Owner != n.id {
			reader = n.id
		}
		entries, err := n.n.Entries(info.No, 1, 1<<20, 1<<30)
		s.w.must(err)
		if uint64(len(entries)) != info.Size {
			wrong = append(wrong, fmt.Sprintf("%s: stream %s gives %d of %d entries", n.id, info.ID, len(entries), info.Size))
		}
		taken := s.withdrawn(n.n, info.Owner, reader)
		for i, e := range entries {
			key := entryKey{id: info.ID, sequence: uint64(i + 1)}
			before, ok := s.shown[key]
			if ok && !bytes.Equal(before, e.GetHeader()) {
				wrong = append(wrong, fmt.Sprintf("%s: two headers for %v of %s", n.id, key, info.Owner))
			}
			if info.Owner != n.id {
				s.shown[key] = e.GetHeader()
			}
			if taken[key] && len(e.GetPayload())+len(e.GetSalt()) > 0 {
				wrong = append(wrong, fmt.Sprintf("%s: erased entry %v still travels", n.id, key))
			}
		}
		if info.Owner != n.id {
			continue
		}
		wrong = append(wrong, s.verify(n, info, entries, func(id stream.ID, sequence uint64) bool { return taken[entryKey{id: id, sequence: sequence}] })...)
	}
	return wrong
}

// named is a reader that the opening of a stream names.
func (s *sim) named(info ledger.StreamInfo) member.ID {
	return info.Readers[slices.IndexFunc(info.Readers, func(m member.ID) bool { return !slices.Contains(info.Granted, m) })]
}

func (s *sim) verify(n *simNode, info ledger.StreamInfo, entries []*ententev1.Entry, covered func(stream.ID, uint64) bool) []string {
	if n.lost[info.ID] {
		return nil // retired with a tail that came back with the reader's checkpoint, or not at all
	}
	fail := func(err error) []string {
		return []string{fmt.Sprintf("%s: stream %s at %d does not verify: %v", n.id, info.ID, info.Size, err)}
	}
	r := stream.NewReader(info.Owner, info.ID, s.named(info), stream.Edge{})
	c, err := r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: info.ID[:], Checkpoint: info.Checkpoint}, s.w.dir.Roster.VerifyingKeys(info.Owner))
	if err != nil {
		return fail(err)
	}
	if c.Size != info.Size || c.Root != info.Root {
		return fail(errors.New("checkpoint is not at the head"))
	}
	for len(entries) > 0 {
		some := entries[:min(len(entries), 50)]
		entries = entries[len(some):]
		edge := r.Edge()
		proof, err := n.n.Consistency(info.No, edge.Size()+uint64(len(some)), info.Size)
		if err != nil {
			return fail(err)
		}
		_, err = r.Entries(&ententev1.EntryBatch{StreamId: info.ID[:], Entries: some, Consistency: proof}, covered)
		if err != nil {
			return fail(err)
		}
	}
	return nil
}

// checkErased: in the data file of a reader no erased content is left, however it would be read.
func (s *sim) checkErased(n *simNode) []string {
	standing := map[uint64]bool{}
	for owner := range s.nodes {
		at, _ := s.standing(n.n, owner, n.id)
		for _, e := range at {
			standing[e.content] = true
		}
	}
	for _, r := range n.m.records {
		for _, v := range r.versions {
			standing[v.content] = true
		}
	}
	for _, v := range n.home {
		standing[v] = true // pushed and refused after a restore, or lost: its own
	}
	var wrong []string
	err := n.n.store.View(func(v *store.View) error {
		return v.Scan(store.NewSeries("log"), 1, func(at uint64, value []byte) (bool, error) {
			for i := bytes.Index(value, []byte("content-")); i >= 0; {
				var content uint64
				_, err := fmt.Sscanf(string(value[i:i+14]), "content-%06d", &content)
				if err == nil && !standing[content] {
					wrong = append(wrong, fmt.Sprintf("%s: log %d still holds erased content %d", n.id, at, content))
				}
				next := bytes.Index(value[i+1:], []byte("content-"))
				if next < 0 {
					break
				}
				i += 1 + next
			}
			return true, nil
		})
	})
	s.w.must(err)
	return wrong
}
