package cli

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

var statusNow = time.Unix(1_790_000_000, 0)

func before(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(statusNow.Add(-d)) }

func TestStatusWarnsOfWhatSomebodyShouldLookInto(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name   string
		status *ententev1.GetStatusResponse
		want   []string // the beginnings of the warnings, in order
	}{
		{"all is well", &ententev1.GetStatusResponse{
			RosterExpiresAt:   before(-30 * day),
			Peers:             []*ententev1.PeerStatus{{Member: "XB", Connected: true}, {Member: "XC", FreshAt: before(50 * time.Minute)}},
			OldestUnconfirmed: &ententev1.UnconfirmedEntry{Member: "XC", Since: before(23 * time.Hour)},
			Streams:           []*ententev1.StreamStatus{{StreamId: id(1), Owner: "XB", Closed: true}},
		}, nil},
		{"the data file is nearly full", &ententev1.GetStatusResponse{StoreBytes: 950, StoreMaxBytes: 1000}, []string{"the data file has 95 %"}},
		{"the data file has room", &ententev1.GetStatusResponse{StoreBytes: 850, StoreMaxBytes: 1000}, nil},
		{"an empty answer", &ententev1.GetStatusResponse{}, nil},
		{"the roster ends", &ententev1.GetStatusResponse{RosterExpiresAt: before(-6 * day)}, []string{"the roster ends in 6 days"}},
		{"the roster ends at once", &ententev1.GetStatusResponse{RosterExpiresAt: before(-90 * time.Minute)}, []string{"the roster ends in 1 h 30 min"}},
		{"the roster has ended", &ententev1.GetStatusResponse{RosterExpiresAt: before(time.Minute)}, []string{"the roster has expired"}},
		{"a peer is lost", &ententev1.GetStatusResponse{Peers: []*ententev1.PeerStatus{{Member: "XB", FreshAt: before(3 * day)}, {Member: "XC"}}},
			[]string{"XB has not been heard of for 3 days", "XC has not been heard of since"}},
		{"a relay was refused", &ententev1.GetStatusResponse{Peers: []*ententev1.PeerStatus{{Member: "XB", Connected: true, RelayError: "XC: wrong root"}}},
			[]string{"a relay of what XB owns was refused: XC: wrong root"}},
		{"a frozen and a hidden stream", &ententev1.GetStatusResponse{Streams: []*ententev1.StreamStatus{
			{StreamId: id(1), Owner: "XB", Frozen: true, Hidden: true}, {StreamId: id(2), Owner: "XC", Hidden: true}}},
			[]string{"XB has shown two histories of stream " + idOne, "stream " + hex.EncodeToString(id(2)) + " of XC is hidden"}},
		{"a reader does not sign, and the node stops", &ententev1.GetStatusResponse{Draining: true,
			OldestUnconfirmed: &ententev1.UnconfirmedEntry{Member: "XC", Since: before(25 * time.Hour)}},
			[]string{"the node is stopping", "XC has not signed for what it was sent for 25 h 00 min"}},
		{"something is overdue, an alert waits, and releases and records wait for people", &ententev1.GetStatusResponse{DeliveriesOverdue: 2, ReleasesPending: 3, RecordsDue: 4,
			Audit: &ententev1.AuditStatus{Witness: "XB", Alerts: 1}},
			[]string{"2 entries or withdrawals are overdue", "1 alerts wait", "3 releases wait", "4 records end"}},
		{"nothing is erased, and nobody countersigns", &ententev1.GetStatusResponse{ExpiryClock: &ententev1.ExpiryClock{HideAt: before(0)}, Audit: &ententev1.AuditStatus{}},
			[]string{"what has expired is hidden, and not erased", "nobody countersigns"}},
		{"the witness is gone", &ententev1.GetStatusResponse{Audit: &ententev1.AuditStatus{Witness: "XB", Intervals: 9, Witnessed: 5, WitnessedAt: before(2 * time.Hour)}},
			[]string{"XB has not countersigned the audit trail for 2 h 00 min"}},
		{"the witness is behind", &ententev1.GetStatusResponse{Audit: &ententev1.AuditStatus{Witness: "XB", Intervals: 9, Witnessed: 5, WitnessedAt: before(time.Minute)}}, nil},
		{"the clock differs, and an operator has confirmed it", &ententev1.GetStatusResponse{ExpiryClock: &ententev1.ExpiryClock{EraseAt: before(0), Quorum: true}},
			[]string{"the clock of this node differs"}},
		{"the clock is right", &ententev1.GetStatusResponse{ExpiryClock: &ententev1.ExpiryClock{EraseAt: before(0), Quorum: true, Agreed: true}}, nil},
		{"erased bytes wait for long", &ententev1.GetStatusResponse{ErasedValues: 5, ErasedSince: before(3 * day)}, []string{"the bytes of 5 erased values are still in the data file after 3 days"}},
		{"erased bytes wait for the next compaction", &ententev1.GetStatusResponse{ErasedValues: 5, ErasedSince: before(day)}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := warnings(test.status, statusNow)
			fits := slices.EqualFunc(got, test.want, strings.HasPrefix)
			if !fits {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestStatusShowsPeersWithWhatIsBehindAndUnsigned(t *testing.T) {
	d := newDesk(t)
	d.node.status = &ententev1.GetStatusResponse{
		Member: "XA", Version: "1", Contract: 2, RosterExpiresAt: timestamppb.New(time.Now().Add(time.Hour)),
		OldestUnconfirmed: &ententev1.UnconfirmedEntry{Member: "XC", Since: before(0), Entry: &ententev1.EntryRef{StreamId: id(1), Sequence: 5}},
		Peers:             []*ententev1.PeerStatus{{Member: "XB", Connected: true, Lag: 12, Contract: 1, Relay: "XC\x1b[2J"}},
		Streams: []*ententev1.StreamStatus{
			{StreamId: id(1), Owner: "XA", Size: 9, Kind: ententev1.StreamKind_STREAM_KIND_ALL_MEMBERS, Readers: []*ententev1.ReaderStatus{
				{Member: "XB", ConfirmedSize: 2, Lag: 7}, {Member: "XC", ConfirmedSize: 4, Lag: 5, Granted: true}}},
			{StreamId: id(2), Owner: "XB", Size: 3, SeenSize: 15, Frozen: true, Hidden: true, Closed: true},
		},
		PendingGrants: []*ententev1.PendingGrant{{StreamId: id(1), Member: "XD", OpensAt: before(0)}},
		ExpiryClock:   &ententev1.ExpiryClock{HideAt: before(0), EraseAt: before(0), Quorum: true, Agreed: true, ConfirmedUntil: before(0)},
		Audit:         &ententev1.AuditStatus{Entries: 70, Intervals: 9, Witness: "XB", Witnessed: 8, WitnessedAt: before(0)},
		ErasedValues:  6, ErasedSince: timestamppb.Now(), CompactedAt: before(0), ReleasesPending: 1, RecordsDue: 2, DeliveriesOverdue: 3,
	}
	got := d.run(t, "status")
	if got.failure != nil {
		t.Fatal(got.failure)
	}
	for _, want := range []string{"! the roster ends in 59 min", "contract 2", "entry 5 of stream " + idOne, "3 of 15", "frozen, closed", "2 of 9", "OPENS TO",
		"70 entries, 9 intervals, 8 of them countersigned by XB at 2026-09-21 14:13:20Z", "6 values, since ", "compacted              2026-09-21",
		"releases pending       1\n", "records due            2\n", "deliveries overdue     3\n", "expired is erased by   2026-09-21", "quorum heard\n", "clock confirmed until  2026-09-21"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("%q is missing in:\n%s", want, got.out)
		}
	}
	lines := map[string][]string{}
	for line := range strings.Lines(got.out) {
		fields := strings.Fields(line)
		if len(fields) > 0 {
			lines[fields[0]] = fields
		}
	}
	if xb := lines["XB"]; len(xb) < 6 || !slices.Equal(xb[:4], []string{"XB", "yes", "12", "7"}) {
		t.Errorf("the line of XB: %q", lines["XB"])
	}
	if !slices.Equal(lines["XC"], []string{"XC", "5"}) {
		t.Errorf("the line of XC, which is no peer: %q", lines["XC"])
	}
	if strings.Index(got.out, "!") != 0 || strings.ContainsRune(got.out, '\x1b') {
		t.Errorf("warnings do not come first, or something steers the terminal:\n%s", got.out)
	}
	got = d.run(t, "status", "-o", "json")
	for _, want := range []string{`"seen_size":"15"`, `"pending_grants":[`, `"oldest_unconfirmed":{`, `"granted":true`} {
		if !strings.Contains(got.out, want) {
			t.Errorf("%s is missing in %s", want, got.out)
		}
	}
}
