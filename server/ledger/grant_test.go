package ledger_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

func toAllAndFuture() *ententev1.Audience {
	return &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: &ententev1.AllMembersAudience{IncludeFuture: true}}}
}

// admit brings a roster with one member more into force.
func (w *world) admit(id member.ID, nodes ...*node) {
	w.t.Helper()
	_, err := w.fed.Admit(id)
	w.must(err)
	w.newRoster(nodes...)
}

func (w *world) newRoster(nodes ...*node) {
	w.t.Helper()
	roster, err := w.fed.Roster()
	w.must(err)
	w.dir = &ledger.Directory{Roster: roster, Projects: w.dir.Projects}
	for _, n := range nodes {
		w.must(n.DirectoryChanged(w.t.Context()))
	}
}

func (n *node) streamOf(kind ententev1.StreamKind) ledger.StreamInfo {
	n.w.t.Helper()
	for _, info := range n.Streams() {
		if info.Kind == kind && !info.Closed {
			return info
		}
	}
	n.w.t.Fatalf("there is no open stream of kind %s", kind)
	return ledger.StreamInfo{}
}

func (n *node) reads(reader member.ID, refs ...string) bool {
	got := n.released("XA", reader)
	want := map[ledger.RecordID]int{}
	for _, r := range refs {
		want[n.id(r)] = 1
	}
	if len(got) != len(want) {
		return false
	}
	for id := range want {
		if got[id] != 1 {
			return false
		}
	}
	return true
}

func TestANewcomerReadsFromItsAdmissionAndFutureStreamsAfterTheDelay(t *testing.T) {
	w := newWorld(t)
	w.grantDelay = time.Hour
	xa := w.start("XA", true)
	xb := w.start("XB", true)
	w.must(xa.Arrivals(t.Context()))
	denied := person("p3", 1, "Three", toAllAndFuture())
	denied.Record.Envelope.Restriction = &ententev1.Restriction{DenyMembers: []string{"XD"}}
	xa.push(person("p1", 1, "One", toAll()), person("p2", 1, "Two", toAllAndFuture()), denied)
	future := xa.streamOf(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE)

	w.admit("XD", xa)
	xa.push(person("p4", 1, "Four", toAll()), person("p5", 1, "Five", toAllAndFuture()))
	if !xa.reads("XD", "p4") {
		t.Errorf("before the delay is over XD reads %v, want what was released to all since it came", xa.released("XA", "XD"))
	}
	if !xa.reads("XB", "p1", "p2", "p3", "p4", "p5") {
		t.Errorf("XB reads %v", xa.released("XA", "XB"))
	}
	pending := xa.PendingGrants()
	if len(pending) != 1 || pending[0].Reader != "XD" || pending[0].Stream.ID != future.ID || !pending[0].At.Equal(w.now.Add(time.Hour)) {
		t.Errorf("pending: %+v", pending)
	}
	xa.stop()
	w.now = w.now.Add(59 * time.Minute)
	xa = w.start("XA", true) // the delay goes on over a restart
	w.must(xa.Arrivals(t.Context()))
	if !xa.reads("XD", "p4") {
		t.Error("the stream opened before the delay was over")
	}
	w.now = w.now.Add(2 * time.Minute)
	w.must(xa.Arrivals(t.Context()))
	if !xa.reads("XD", "p2", "p4", "p5") {
		t.Errorf("after the delay XD reads %v, want not what is denied to it", xa.released("XA", "XD"))
	}
	if !xa.reads("XB", "p1", "p2", "p3", "p4", "p5") {
		t.Errorf("XB reads %v", xa.released("XA", "XB"))
	}
	after := xa.streamOf(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE)
	if after.ID != future.ID || !slices.Equal(after.Granted, []member.ID{"XD"}) {
		t.Errorf("the stream is %s granted to %v, want %s", after.ID, after.Granted, future.ID)
	}
	xa.push(person("p6", 1, "Six", toAllAndFuture()), person("p2", 2, "Two", toAllAndFuture()))
	if now := xa.streamOf(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS_AND_FUTURE); now.ID != future.ID || now.Closed {
		t.Error("a grant made the node open another stream for the same readers")
	}
	xd := w.start("XD", true)
	replicateGranted(xa, xd, "XA", "XD")
	replicateGranted(xa, xb, "XA", "XB")
	if xd.Digest("XA", "XD") != xa.Digest("XA", "XD") || xb.Digest("XA", "XB") != xa.Digest("XA", "XB") {
		t.Error("a reader does not hold what its owner shares with it")
	}
	for _, info := range xb.StreamsShared("XA", "XB") {
		if info.ID == future.ID && !slices.Equal(info.Granted, []member.ID{"XD"}) {
			t.Errorf("XB knows of the readers by grant %v", info.Granted)
		}
	}
	xd.stop()
	xd = w.start("XD", true)
	if xd.Digest("XA", "XD") != xa.Digest("XA", "XD") {
		t.Error("after a restart the reader by grant forgot that it reads the stream")
	}
}

// replicateGranted is replicate for a reader that may have come in by a grant.
func replicateGranted(from, to *node, owner, reader member.ID) {
	w := from.w
	w.t.Helper()
	keys := w.dir.Roster.VerifyingKeys(owner)
	for _, s := range from.StreamsShared(owner, reader) {
		r, err := to.Reader(owner, s.ID)
		w.must(err)
		if slices.Contains(s.Granted, reader) {
			doc, err := from.GrantOf(s.No, reader)
			w.must(err)
			w.must(r.Grant(doc, keys))
		}
		edge := r.Edge()
		_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: s.ID[:], Checkpoint: s.Checkpoint, Consistency: must(from.Consistency(s.No, edge.Size(), s.Size))(w.t)}, keys)
		w.must(err)
		ahead, err := from.WithdrawalsAfter(s.No, edge.Size(), s.Size, 1000)
		w.must(err)
		list, err := r.Withdrawals(&ententev1.WithdrawalBatch{StreamId: s.ID[:], Withdrawals: ahead})
		w.must(err)
		w.must(to.ApplyWithdrawals(w.t.Context(), owner, s.ID, list, s.Checkpoint))
		if edge.Size() == s.Size {
			continue
		}
		entries, err := from.Entries(s.No, edge.Size()+1, 1000, 1<<20)
		w.must(err)
		verified, err := r.Entries(&ententev1.EntryBatch{StreamId: s.ID[:], Entries: entries}, to.Covered(owner))
		w.must(err)
		w.must(to.ApplyEntries(w.t.Context(), owner, s.ID, verified, r.Edge(), s.Checkpoint))
	}
}

func TestAnEarlierStreamOpensByAGrantAndOnlyByOne(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	w.must(xa.Arrivals(t.Context()))
	xa.push(person("p1", 1, "One", toProject()), person("p2", 1, "Two", toProject()), meets("a1", "p1", "p2", toProject()))
	w.takePart("COORD", "XA", "XB", "XC")
	w.must(xa.DirectoryChanged(t.Context()))
	xa.push(person("p3", 1, "Three", toProject()))
	if !xa.reads("XC", "p3") || !xa.reads("XB", "p1", "p2", "a1", "p3") {
		t.Fatalf("XC reads %v, XB %v", xa.released("XA", "XC"), xa.released("XA", "XB"))
	}
	var earlier ledger.StreamInfo
	for _, info := range xa.Streams() {
		if !slices.Contains(info.Readers, "XC") {
			earlier = info
		}
	}
	dry, err := xa.Grant(t.Context(), earlier.ID, "XC", true)
	w.must(err)
	if dry.Sequence != 0 || dry.Preview.Outcome != ententev1.ReaderOutcome_READER_OUTCOME_ONLY_BY_GRANT || dry.Preview.Standing[ententev1.RecordKind_RECORD_KIND_PERSON] != 2 || !xa.reads("XC", "p3") {
		t.Errorf("a dry run says %+v", dry)
	}
	got, err := xa.Grant(t.Context(), earlier.ID, "XC", false)
	w.must(err)
	if got.Sequence == 0 || !xa.reads("XC", "p1", "p2", "a1", "p3") {
		t.Errorf("after the grant %+v XC reads %v", got, xa.released("XA", "XC"))
	}
	again, err := xa.Grant(t.Context(), earlier.ID, "XC", false)
	w.must(err)
	if !again.Duplicate || again.Sequence != 0 {
		t.Errorf("granted twice: %+v", again)
	}
	xa.push(person("p1", 2, "One", []*ententev1.Audience{}...)) // a correction goes to whoever has the record
	if !xa.reads("XC", "p1", "p2", "a1", "p3") {
		t.Errorf("after a correction XC reads %v", xa.released("XA", "XC"))
	}
	w.takePart("COORD", "XA", "XB")
	w.must(xa.DirectoryChanged(t.Context()))
	if len(xa.released("XA", "XC")) != 0 || !xa.reads("XB", "p1", "p2", "a1", "p3") {
		t.Errorf("after XC left the project it reads %v, and XB %v", xa.released("XA", "XC"), xa.released("XA", "XB"))
	}
	w.takePart("COORD", "XA", "XB", "XC")
	w.must(xa.DirectoryChanged(t.Context()))
	xa.push(person("p1", 3, "One"))
	if !xa.reads("XC", "p3") {
		t.Errorf("XC came back and reads %v, want what was released while it took part, and nothing by its old grant", xa.released("XA", "XC"))
	}
}

func TestWhatAGrantIsRefusedFor(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	w.must(xa.Arrivals(t.Context()))
	denied := person("p4", 1, "Four", toAll())
	denied.Record.Envelope.Restriction = &ententev1.Restriction{DenyMembers: []string{"XD"}}
	xa.push(person("p1", 1, "One", toProject()), person("p2", 1, "Two", toMembers("XB")), person("p3", 1, "Three", toAll()), denied)
	xb.push(person("p9", 1, "Nine", toAll()))
	w.admit("XD", xa, xb)
	all := xa.streamOf(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS)
	tests := []struct {
		name   string
		stream stream.ID
		reader member.ID
		field  string // "": absent
	}{
		{"a stream that is not one's own", xb.streamOf(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS).ID, "XD", ""},
		{"a stream that nobody knows", stream.ID{1}, "XD", ""},
		{"a bilateral stream", xa.streamOf(ententev1.StreamKind_STREAM_KIND_BILATERAL).ID, "XD", "stream_id"},
		{"a project's stream to one that takes no part", xa.streamOf(ententev1.StreamKind_STREAM_KIND_PROJECT).ID, "XD", "member"},
		{"the owner itself", all.ID, "XA", "member"},
		{"one that is no member", all.ID, "ZZ", "member"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := xa.HeadsDigest()
			_, err := xa.Grant(t.Context(), test.stream, test.reader, false)
			refused, is := errors.AsType[*ledger.GrantError](err)
			if test.field == "" && !errors.Is(err, ledger.ErrAbsent) || test.field != "" && (!is || refused.Field != test.field) {
				t.Errorf("got %v", err)
			}
			if xa.HeadsDigest() != before {
				t.Error("something was written")
			}
		})
	}
	got, err := xa.Grant(t.Context(), all.ID, "XD", false)
	w.must(err)
	if got.Sequence != 0 || len(got.Preview.Obstacles) != 1 || got.Preview.Obstacles[0].Record != xa.id("p4") || len(xa.released("XA", "XD")) != 0 {
		t.Errorf("a stream with a record that is denied to the reader was granted: %+v", got)
	}
	streams, records := xa.Preview("XD", ""), xa.PreviewRecords("XD", "")
	if len(streams) != 2 || len(records) != 4 {
		t.Errorf("preview: %d streams, %d records", len(streams), len(records))
	}
	for _, r := range records {
		want := ententev1.ReaderOutcome_READER_OUTCOME_ONLY_BY_GRANT
		if r.Record == xa.id("p1") || r.Record == xa.id("p2") {
			want = ententev1.ReaderOutcome_READER_OUTCOME_NEVER
		}
		if r.Outcome != want {
			t.Errorf("%s: %s", r.Record, r.Outcome)
		}
	}
	records = xa.PreviewRecords("XD", "harbour")
	if records[0].Outcome != ententev1.ReaderOutcome_READER_OUTCOME_ONLY_BY_GRANT {
		t.Errorf("as a participant XD would get p1: %s", records[0].Outcome)
	}
}

// What comes in the same commit as an opening is not yet in what readers of the ledger see.
func TestARecordThatComesTogetherWithAnOpeningIsSeenByIt(t *testing.T) {
	w := newWorld(t)
	w.grantDelay = time.Hour
	xa := w.start("XA", true)
	w.must(xa.Arrivals(t.Context()))
	xa.push(person("p1", 1, "One", toAllAndFuture()))
	w.admit("XD", xa)
	w.now = w.now.Add(2 * time.Hour)
	denied := person("p2", 1, "Two", toAllAndFuture())
	denied.Record.Envelope.Restriction = &ententev1.Restriction{DenyMembers: []string{"XD"}}
	w.must(xa.PushAndOpen(t.Context(), "Central Unit", denied))
	if !xa.reads("XD", "p1") || !xa.reads("XB", "p1", "p2") {
		t.Errorf("XD reads %v, XB %v", xa.released("XA", "XD"), xa.released("XA", "XB"))
	}
}

func TestAfterACrashAGrantThatOnlyItsReaderKnowsIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	w.must(xa.Arrivals(t.Context()))
	xa.push(person("p1", 1, "One", toAll()))
	replicateGranted(xa, xb, "XA", "XB")
	w.admit("XD", xa)
	xa.stop()
	w.must(copyData(w.path["XA"], w.path["XA"]+".backup"))
	xa = w.start("XA", true)
	granted, err := xa.Grant(t.Context(), xa.streamOf(ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS).ID, "XD", false)
	w.must(err)
	if granted.Sequence == 0 {
		t.Fatalf("not granted: %+v", granted)
	}
	xd := w.start("XD", true)
	replicateGranted(xa, xd, "XA", "XD")
	xa.stop()
	w.must(copyData(w.path["XA"]+".backup", w.path["XA"]))
	w.now = w.now.Add(time.Second) // other random numbers
	xa = w.start("XA", false)
	for _, reader := range []member.ID{"XB", "XC", "COORD"} {
		w.must(xa.Confirm(t.Context(), reader, nil))
	}
	if !slices.Contains(xa.Unconfirmed(), "XD") {
		t.Fatal("XA writes on before XD has answered, which may read by a grant that was lost")
	}
	info := xd.StreamsShared("XA", "XD")[0]
	w.must(xa.Confirm(t.Context(), "XD", []*ententev1.StreamHead{{StreamId: info.ID[:], Owner: "XA", Size: info.Size, Root: info.Root[:], Checkpoint: info.Checkpoint}}))
	tails := xa.LostTails()
	if len(tails) != 1 || tails[0].Reader != "XD" {
		t.Fatalf("lost tails: %+v", tails)
	}
	r := xa.TailReader(tails[0])
	edge := r.Edge()
	keys := w.dir.Roster.VerifyingKeys("XA")
	_, err = r.Checkpoint(&ententev1.CheckpointUpdate{StreamId: info.ID[:], Checkpoint: info.Checkpoint, Consistency: must(xd.Consistency(info.No, edge.Size(), info.Size))(t)}, keys)
	w.must(err)
	entries, err := xd.Entries(info.No, edge.Size()+1, 1000, 1<<20)
	w.must(err)
	verified, err := r.Entries(&ententev1.EntryBatch{StreamId: info.ID[:], Entries: entries}, nil)
	w.must(err)
	w.must(xa.RecoverTail(t.Context(), info.ID, verified, info.Checkpoint))
	xa.push(withdrawalOf("p1", 0))
	for _, s := range xa.StreamsShared("XA", "XD") {
		ahead, err := xa.WithdrawalsAfter(s.No, 0, s.Size, 10)
		w.must(err)
		if s.ID != info.ID && len(ahead) == 1 {
			return // the withdrawal stands in a stream that XD reads
		}
	}
	t.Error("the withdrawal does not reach the reader by the recovered grant")
}

func TestAKeyIsRotatedAndAllHeadsAreSignedAnew(t *testing.T) {
	w := newWorld(t)
	xa, xb := w.start("XA", true), w.start("XB", true)
	xa.push(person("p1", 1, "One", toAll()), person("p2", 1, "Two", toMembers("XB")))
	replicateGranted(xa, xb, "XA", "XB")
	digest := xa.Digest("XA", "XB")
	old := w.fed.Seat("XA").Signing
	key, err := member.NewSigningKey(seeded("the next key of XA"))
	w.must(err)
	w.fed.Seat("XA").Signing = key
	w.fed.Seat("XA").Retired = append(w.fed.Seat("XA").Retired, old)
	w.newRoster(xa, xb)
	if !xb.OldNotes("XA") {
		t.Error("XB does not see that the heads it holds are under a retired key")
	}
	w.must(xa.Rotate(t.Context(), key))
	current := w.dir.Roster.CurrentKeys("XA")
	for _, info := range xa.StreamsShared("XA", "XB") {
		c, err := stream.OpenCheckpoint(info.Checkpoint, "XA", info.ID, current)
		if err != nil {
			t.Fatalf("stream %s: %v", info.ID, err)
		}
		w.must(xb.ApplyCheckpoint(t.Context(), "XA", info.ID, c, info.Checkpoint))
	}
	if xb.OldNotes("XA") || xa.Digest("XA", "XB") != digest {
		t.Error("old heads are left, or a rotation changed what is shared")
	}
	doc, err := xa.SignedDigest("XB")
	w.must(err)
	_, err = member.VerifyDocument(doc, "digest", w.dir.Roster.CurrentKeys)
	w.must(err)
	xa.push(person("p3", 1, "Three", toAll()))
	replicateGranted(xa, xb, "XA", "XB")
	if xb.Digest("XA", "XB") != xa.Digest("XA", "XB") {
		t.Error("after the rotation a reader does not follow")
	}
}

func TestWhatStandsInAProjectIsTakenBackWhenItsDatePasses(t *testing.T) {
	w := newWorld(t)
	p := *w.dir.Projects["harbour"]
	p.EndsAt = w.now.Add(time.Hour)
	w.dir = &ledger.Directory{Roster: w.dir.Roster, Projects: map[string]*member.Project{"harbour": &p}}
	xa := w.start("XA", true)
	xa.push(person("p1", 1, "One", toProject()), person("p2", 1, "Two", toAll()))
	w.must(xa.Arrivals(t.Context()))
	if !xa.reads("XB", "p1", "p2") {
		t.Fatal("not released")
	}
	w.now = w.now.Add(time.Hour)
	w.must(xa.Arrivals(t.Context()))
	if !xa.reads("XB", "p2") {
		t.Errorf("after the date XB reads %v", xa.released("XA", "XB"))
	}
}

// A node that was upgraded holds audiences that do not say who was present: they mean those who took part at the upgrade.
func TestAudiencesOfAnEarlierVersionDoNotReachALaterParticipant(t *testing.T) {
	w := newWorld(t)
	xa := w.start("XA", true)
	xa.push(person("p1", 1, "One", toProject()))
	w.must(xa.Arrivals(t.Context()))
	w.must(xa.ForgetPresent(t.Context(), xa.id("p1")))
	w.must(xa.DirectoryChanged(t.Context()))
	if !xa.reads("XB", "p1") {
		t.Fatal("an audience without its participants is not released")
	}
	w.takePart("COORD", "XA", "XB", "XC")
	w.must(xa.DirectoryChanged(t.Context()))
	if !xa.reads("XB", "p1") || len(xa.released("XA", "XC")) != 0 {
		t.Errorf("XC reads %v, XB %v", xa.released("XA", "XC"), xa.released("XA", "XB"))
	}
}

func FuzzParseGrant(f *testing.F) {
	key, err := member.NewSigningKey(seeded("fuzz"))
	if err != nil {
		f.Fatal(err)
	}
	doc, err := stream.SignGrant("XA", stream.ID{1}, stream.Grant{Number: 1, Reader: "XD", Time: time.Unix(1, 0)}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc.GetBody())
	body, err := proto.Marshal(&ententev1.StreamGrant{Owner: "XA", GrantedAt: &timestamppb.Timestamp{Seconds: -1 << 62}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		g, err := stream.ParseGrant(&ententev1.SignedDocument{Type: stream.TypeGrant, Body: body}, "XA", stream.ID{1})
		if err == nil && (g.Number == 0 || g.Reader == "" || g.Reader == "XA") {
			t.Errorf("taken: %+v", g)
		}
	})
}
