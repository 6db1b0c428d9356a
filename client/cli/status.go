package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// From when on `entente status` warns.
const (
	rosterEndsSoon  = 7 * 24 * time.Hour
	peerLostFor     = time.Hour
	unconfirmedLong = 24 * time.Hour
	erasedLong      = 48 * time.Hour // twice the time after which a node compacts by itself, where its configuration says nothing else
	witnessedLong   = time.Hour      // as long as a peer may be away
	storeFull       = 90             // percent of what the data file may grow to
)

func statusCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "show the state of the node, its streams and its peers",
		Long: `Shows how the node is: first what somebody should look into, then the node, its peers, its streams and their readers.

Warnings are about a data file near its limit, a roster that ends within a week, a peer that was not heard of for an hour, a
stream whose owner has shown two histories or that is hidden, a reader that has not signed for a day, a node that is
stopping, what is overdue, pending or due, alerts of the audit trail and one that nobody has countersigned for an hour, a clock by which
nothing is erased, and erased bytes that no compaction has removed for two days. BEHIND is how many
entries of a peer's streams have not come here yet; UNSIGNED is how many entries of the own streams the peer has not signed
for. The JSON form has everything that the node says, without the warnings.`,
		Example: "  entente status --config operator.yaml\n  entente status --config operator.yaml --output json",
		Args:    withUsage(cobra.NoArgs),
		RunE: call(env, func(ctx context.Context, s *session, _ []string) error {
			status, err := s.client.Status(ctx)
			if err != nil {
				return err
			}
			if s.out.json {
				return s.out.document(status)
			}
			return s.printStatus(status)
		}),
	}
	addSettings(c, shortTimeout)
	return c
}

func (s *session) printStatus(status *ententev1.GetStatusResponse) error {
	for _, warning := range warnings(status, s.env.Now()) {
		err := s.out.printf("! %s\n", clean(warning))
		if err != nil {
			return err
		}
	}
	rows := [][]string{
		{"member", status.GetMember()},
		{"version", fmt.Sprintf("%s, contract %d", status.GetVersion(), status.GetContract())},
		{"roster", fmt.Sprintf("number %d, until %s", status.GetRosterNumber(), timeText(status.GetRosterExpiresAt()))},
		{"records", fmt.Sprint(status.GetRecords())},
		{"releases waiting", fmt.Sprint(status.GetReleasesWaiting())},
		{"data file", fmt.Sprintf("%.1f MB", float64(status.GetStoreBytes())/1e6)},
		{"oldest unsigned", unconfirmedText(status.GetOldestUnconfirmed())},
		{"revoked certificates", fmt.Sprint(status.GetRevokedCertificates())},
		{"releases pending", fmt.Sprint(status.GetReleasesPending())},
		{"records due", fmt.Sprint(status.GetRecordsDue())},
		{"deliveries overdue", fmt.Sprint(status.GetDeliveriesOverdue())},
		{"erased, not compacted", erasedText(status)},
		{"compacted", timeText(status.GetCompactedAt())},
		{"audit trail", auditText(status.GetAudit())},
	}
	if status.GetExpiryClock() != nil {
		rows = append(rows, clockRows(status.GetExpiryClock())...)
	}
	err := s.out.table(nil, rows)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		head []string
		rows [][]string
	}{
		{[]string{"PEER", "CONNECTED", "FRESH AT", "BEHIND", "UNSIGNED", "RELAY", "CONTRACT", "LAST ERROR"}, peerRows(status)},
		{[]string{"STREAM", "OWNER", "KIND", "PROJECT", "ENTRIES", "SIGNED AT", "STATE"}, streamRows(status)},
		{[]string{"STREAM", "READER", "SIGNED FOR", "BEHIND", "STATE", "SIGNED AT", "GRANTED"}, readerRows(status)},
		{[]string{"STREAM", "OPENS TO", "AT"}, pendingRows(status)},
	} {
		err = s.section(part.head, part.rows)
		if err != nil {
			return err
		}
	}
	return nil
}

// warnings are what somebody should look into, the most pressing first.
func warnings(status *ententev1.GetStatusResponse, now time.Time) []string {
	var list []string
	if limit := status.GetStoreMaxBytes(); limit > 0 && status.GetStoreBytes() >= limit/100*storeFull {
		list = append(list, fmt.Sprintf("the data file has %d %% of the size it may grow to: nothing is taken once it is full; raise max_bytes",
			status.GetStoreBytes()*100/limit))
	}
	if status.GetDraining() {
		list = append(list, "the node is stopping: it takes no new calls")
	}
	left := status.GetRosterExpiresAt().AsTime().Sub(now)
	switch {
	case status.GetRosterExpiresAt() == nil:
	case left <= 0:
		list = append(list, "the roster has expired: other members are not served, and do not serve this node; get a new one")
	case left < rosterEndsSoon:
		list = append(list, fmt.Sprintf("the roster ends in %s: get a new one", spanText(left)))
	}
	for _, t := range status.GetStreams() {
		id := hex.EncodeToString(t.GetStreamId())
		switch {
		case t.GetFrozen():
			list = append(list, fmt.Sprintf("%s has shown two histories of stream %s: nothing of it is shown any more; ask %s what happened", t.GetOwner(), id, t.GetOwner()))
		case t.GetHidden():
			list = append(list, fmt.Sprintf("stream %s of %s is hidden until its owner is heard of again", id, t.GetOwner()))
		}
	}
	for _, p := range status.GetPeers() {
		switch {
		case p.GetConnected():
		case p.GetFreshAt() == nil:
			list = append(list, fmt.Sprintf("%s has not been heard of since this node started", p.GetMember()))
		case now.Sub(p.GetFreshAt().AsTime()) > peerLostFor:
			list = append(list, fmt.Sprintf("%s has not been heard of for %s", p.GetMember(), spanText(now.Sub(p.GetFreshAt().AsTime()))))
		}
		if p.GetRelayError() != "" {
			list = append(list, fmt.Sprintf("a relay of what %s owns was refused: %s", p.GetMember(), p.GetRelayError()))
		}
	}
	oldest := status.GetOldestUnconfirmed()
	waited := now.Sub(oldest.GetSince().AsTime())
	if oldest.GetSince() != nil && waited > unconfirmedLong {
		list = append(list, fmt.Sprintf("%s has not signed for what it was sent for %s", oldest.GetMember(), spanText(waited)))
	}
	return append(list, upkeepWarnings(status, now)...)
}

// upkeepWarnings are about what runs out, what is to be decided and what is to be erased. An older node says nothing of these.
func upkeepWarnings(status *ententev1.GetStatusResponse, now time.Time) []string {
	var list []string
	for _, count := range []struct {
		n    uint64
		text string
	}{
		{status.GetDeliveriesOverdue(), "entries or withdrawals are overdue: a reader has not signed for them; `entente sent MEMBER --open` lists them"},
		{status.GetAudit().GetAlerts(), "alerts wait for an auditor: `entente audit alerts`"},
		{status.GetReleasesPending(), "releases wait for a second person: `entente pending`"},
		{status.GetRecordsDue(), "records end, or are to be reviewed, within 30 days: `entente due --within 30d`"},
	} {
		if count.n > 0 {
			list = append(list, fmt.Sprintf("%d %s", count.n, count.text))
		}
	}
	clock := status.GetExpiryClock()
	if clock != nil && clock.GetEraseAt() == nil {
		list = append(list, "what has expired is hidden, and not erased: the clock is vouched for neither by a quorum of members nor by an operator; `entente clock confirm`")
	}
	if clock.GetQuorum() && !clock.GetAgreed() {
		list = append(list, "the clock of this node differs from those of the members by more than 5 minutes")
	}
	waits := now.Sub(status.GetErasedSince().AsTime())
	if status.GetErasedSince() != nil && waits > erasedLong {
		list = append(list, fmt.Sprintf("the bytes of %d erased values are still in the data file after %s: `entente compact`", status.GetErasedValues(), spanText(waits)))
	}
	if audit := status.GetAudit(); audit != nil && audit.GetWitness() == "" {
		list = append(list, "nobody countersigns the audit trail")
	} else if audit.GetIntervals() > audit.GetWitnessed() && audit.GetWitnessedAt() != nil && now.Sub(audit.GetWitnessedAt().AsTime()) > witnessedLong {
		list = append(list, fmt.Sprintf("%s has not countersigned the audit trail for %s: the log of the node says why", audit.GetWitness(), spanText(now.Sub(audit.GetWitnessedAt().AsTime()))))
	}
	return list
}

// spanText is a span of time in the largest unit that is not 0, or the two largest.
func spanText(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
}

func erasedText(status *ententev1.GetStatusResponse) string {
	if status.GetErasedSince() == nil {
		return fmt.Sprintf("%d values", status.GetErasedValues())
	}
	return fmt.Sprintf("%d values, since %s", status.GetErasedValues(), timeText(status.GetErasedSince()))
}

func auditText(audit *ententev1.AuditStatus) string {
	if audit == nil {
		return "" // a node of an older version
	}
	text := fmt.Sprintf("%d entries, %d intervals, ", audit.GetEntries(), audit.GetIntervals())
	if audit.GetWitness() == "" {
		return text + "countersigned by nobody"
	}
	return text + fmt.Sprintf("%d of them countersigned by %s at %s", audit.GetWitnessed(), audit.GetWitness(), timeText(audit.GetWitnessedAt()))
}

func unconfirmedText(oldest *ententev1.UnconfirmedEntry) string {
	if oldest == nil {
		return "none: all have signed for all"
	}
	return fmt.Sprintf("%s, since %s: entry %d of stream %s", oldest.GetMember(), timeText(oldest.GetSince()),
		oldest.GetEntry().GetSequence(), hex.EncodeToString(oldest.GetEntry().GetStreamId()))
}

// peerRows is a line a peer: what comes from it, and what it has signed for. A reader that is no source has a line too.
func peerRows(status *ententev1.GetStatusResponse) [][]string {
	unsigned := map[string]uint64{}
	for _, t := range status.GetStreams() {
		for _, r := range t.GetReaders() {
			unsigned[r.GetMember()] += r.GetLag()
		}
	}
	var rows [][]string
	for _, p := range status.GetPeers() {
		relay := p.GetRelay()
		if p.GetRelayedAt() != nil {
			relay = strings.TrimSpace(relay + " " + timeText(p.GetRelayedAt()))
		}
		contract := ""
		if p.GetContract() > 0 {
			contract = fmt.Sprint(p.GetContract())
		}
		rows = append(rows, []string{p.GetMember(), yes(p.GetConnected()), timeText(p.GetFreshAt()), fmt.Sprint(p.GetLag()),
			fmt.Sprint(unsigned[p.GetMember()]), relay, contract, p.GetLastError()})
		delete(unsigned, p.GetMember())
	}
	for id, count := range unsigned {
		rows = append(rows, []string{id, "", "", "", fmt.Sprint(count), "", "", ""})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return rows
}

func streamRows(status *ententev1.GetStatusResponse) [][]string {
	var rows [][]string
	for _, t := range status.GetStreams() {
		entries := fmt.Sprint(t.GetSize())
		if t.GetSeenSize() > t.GetSize() {
			entries = fmt.Sprintf("%d of %d", t.GetSize(), t.GetSeenSize())
		}
		var state []string
		for _, one := range []struct {
			is   bool
			name string
		}{{t.GetFrozen(), "frozen"}, {t.GetHidden() && !t.GetFrozen(), "hidden"}, {t.GetClosed(), "closed"}} {
			if one.is {
				state = append(state, one.name)
			}
		}
		rows = append(rows, []string{hex.EncodeToString(t.GetStreamId()), t.GetOwner(), short(t.GetKind()), t.GetProjectId(), entries,
			timeText(t.GetSignedAt()), strings.Join(state, ", ")})
	}
	return rows
}

func readerRows(status *ententev1.GetStatusResponse) [][]string {
	var rows [][]string
	for _, t := range status.GetStreams() {
		for _, r := range t.GetReaders() {
			rows = append(rows, []string{hex.EncodeToString(t.GetStreamId()), r.GetMember(), fmt.Sprintf("%d of %d", r.GetConfirmedSize(), t.GetSize()),
				fmt.Sprint(r.GetLag()), short(r.GetState()), timeText(r.GetConfirmedAt()), yes(r.GetGranted())})
		}
	}
	return rows
}

func pendingRows(status *ententev1.GetStatusResponse) [][]string {
	var rows [][]string
	for _, p := range status.GetPendingGrants() {
		rows = append(rows, []string{hex.EncodeToString(p.GetStreamId()), p.GetMember(), timeText(p.GetOpensAt())})
	}
	return rows
}

// section is a table below another, left out where it has no rows.
func (s *session) section(head []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	err := s.out.printf("\n")
	if err != nil {
		return err
	}
	return s.out.table(head, rows)
}
