package national

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/policy"
	"entente.example/entente/server/store"
)

const (
	// confirmedFor is how long an operator's word on the clock counts.
	confirmedFor = 24 * time.Hour
	// askDisclosuresEvery is how often other members are asked what their trails say of honey records: an alert is to come
	// within 5 s.
	askDisclosuresEvery = 4 * time.Second
	// noticeEvery is how often the log says what is due.
	noticeEvery = 24 * time.Hour
	// compactAhead is how long before the bound the node begins to compact: a large file takes its time, and may be refused once.
	compactAhead = 0.8
)

// Care is how a member looks after its records. The zero value is completed by defaults.
type Care struct {
	// Profile bounds retention and review; policy.DefaultProfile where zero.
	Profile policy.Profile
	// Attestations are what a record must be vouched for to be taken.
	Attestations []ententev1.AttestationKind
	// SuspicionBasis demands the basis of the suspicion with a suspect.
	SuspicionBasis bool
	// ThirdParties are the authorities whose records hold data of a financial intelligence unit or another third party.
	ThirdParties []string
	// DeliverWithin is how long a reader may take to sign; 24 h where zero.
	DeliverWithin time.Duration
	// CompactWithin is how long what is erased may stay in the data file; 24 h where zero.
	CompactWithin time.Duration
	// Witness countersigns the audit trail. Optional: the first coordinator, or the first other member.
	Witness member.ID
}

func (c *Config) care() (Care, error) {
	deliver, err := time.ParseDuration(c.DeliverWithin)
	if err != nil {
		return Care{}, err
	}
	compact, err := time.ParseDuration(c.CompactWithin)
	attestations, _ := parseAttestations(c.Attestations)
	return Care{
		Profile: policy.Profile{LongestYears: c.RetainYears, ReviewYears: c.ReviewYears}, Attestations: attestations,
		SuspicionBasis: c.SuspicionBasis, ThirdParties: c.ThirdParties, DeliverWithin: deliver, CompactWithin: compact, Witness: member.ID(c.AuditWitness),
	}, err
}

// profile is the profile in force: never longer than the default.
func (c Care) profile() policy.Profile {
	if c.Profile == (policy.Profile{}) || !c.Profile.Within(policy.DefaultProfile()) {
		return policy.DefaultProfile()
	}
	return c.Profile
}

// rules gives the ledger the policy of the member.
func (c Care) rules(cfg *ledger.Config) {
	profile := c.profile()
	cfg.CheckRecord = func(r *ententev1.Record) []*ententev1.FieldViolation {
		wrong := append(policy.CheckRecord(r), profile.Check(r.GetEnvelope())...)
		wrong = append(wrong, policy.CheckAttested(r, c.Attestations)...)
		if c.SuspicionBasis {
			wrong = append(wrong, policy.CheckSuspicion(r)...)
		}
		return wrong
	}
	cfg.CheckOrigin = func(authority string, r *ententev1.Record) []*ententev1.FieldViolation {
		return policy.CheckFIU(r, slices.Contains(c.ThirdParties, authority))
	}
	cfg.CheckRelease = policy.CheckRelease
	cfg.Treat = policy.Treat
	cfg.CheckAudience = func(r *ententev1.Record, a *ententev1.Audience) []*ententev1.FieldViolation {
		return append(policy.CheckSpecial(policy.LabelOfRecord(r), a), policy.CheckTreatment(a.GetTreatment(), ledger.KindOf(r.GetBody()))...)
	}
	cfg.Compatible = policy.Compatible
	cfg.Sensitive = func(r *ententev1.Record) uint8 { return policy.Grounds(policy.LabelOfRecord(r)) }
	cfg.SecondPerson = policy.MayApprove
	cfg.Renewable = profile.Renewable
	cfg.CheckDerived = func(r *ententev1.Record, sources [][]byte) []*ententev1.FieldViolation {
		labels := make([]policy.Label, len(sources))
		for i, source := range sources {
			labels[i] = policy.LabelOf(source)
		}
		return policy.CheckDerived(r, labels)
	}
}

// clock is the clock of expiry: the node's own, and what the members say.
type clock struct {
	now     func() time.Time
	members func() int

	mu        sync.Mutex // covers all below
	heard     map[member.ID]heardAt
	confirmed time.Time // until when an operator's word counts
}

type heardAt struct {
	signed, at time.Time
}

func newClock(now func() time.Time, members func() int) *clock {
	return &clock{now: now, members: members, heard: make(map[member.ID]heardAt)}
}

// hear notes a time that a member has signed.
func (k *clock) hear(id member.ID, signed time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard[id] = heardAt{signed: signed, at: k.now()}
}

// confirm takes an operator's word that the node's clock is right.
func (k *clock) confirm() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.confirmed = k.now().Add(confirmedFor)
	return k.confirmed
}

func (k *clock) expiry() policy.ExpiryClock {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	heard := make([]policy.Heard, 0, len(k.heard))
	for id, h := range k.heard {
		heard = append(heard, policy.Heard{Member: id, At: h.signed, Since: now.Sub(h.at)})
	}
	return policy.Expiry(now, heard, k.members(), now.Before(k.confirmed))
}

// openTrail opens the audit trail in the data file, before the ledger that writes into it.
func (n *Node) openTrail() error {
	n.clock = newClock(n.deps.Now, func() int { return activeMembers(n.directory.get().Roster) })
	var err error
	n.trail, err = audit.Open(n.store, audit.Config{
		Self: n.material.Member, Interval: n.deps.AuditInterval, Now: n.deps.Now, Rand: n.deps.Rand,
		SigningKey:    func() ed25519.PrivateKey { return n.ledger.SigningKey() },
		VerifyingKeys: func(id member.ID) []ed25519.PublicKey { return n.directory.get().Roster.VerifyingKeys(id) },
	})
	return err
}

// bindTrail gives the trail its way to the node's one writer.
func (n *Node) bindTrail() error {
	n.trail.Bind(n.ledger.Commit)
	var err error
	n.honey, err = audit.OpenHoney(n.store, n.ledger.Commit)
	return err
}

func activeMembers(roster *member.Roster) int {
	count := 0
	for _, id := range roster.Members() {
		if roster.Active(id) {
			count++
		}
	}
	return count
}

// witness is the member that countersigns the trail; empty where none can be had.
func (n *Node) witness() member.ID {
	roster := n.directory.get().Roster
	if n.material.Care.Witness != "" && roster.Active(n.material.Care.Witness) {
		return n.material.Care.Witness
	}
	for _, id := range append(coordinators(roster), roster.Members()...) {
		if id != n.material.Member && roster.Active(id) {
			return id
		}
	}
	return ""
}

// Exchange is a client of another member's node, for what the audit asks.
func (c *contacts) Exchange(_ context.Context, id member.ID) (ententev1.ExchangeServiceClient, error) {
	one := c.of(id)
	one.mu.Lock()
	defer one.mu.Unlock()
	entry, known := c.node.directory.get().Roster.Member(id)
	if !known || len(entry.Addresses) == 0 || !one.connect(entry.Addresses) {
		return nil, fmt.Errorf("the node of %s cannot be reached", id)
	}
	conn, ok := one.conn.(grpc.ClientConnInterface)
	if !ok {
		return nil, fmt.Errorf("the node of %s cannot be called", id)
	}
	return ententev1.NewExchangeServiceClient(conn), nil
}

// care looks regularly at what time brings at home: what has expired, the intervals of the trail, and what is due. A failed disk
// stops the node; whatever else fails is said, and tried again.
func (n *Node) care(ctx context.Context) error {
	c := carer{Node: n}
	return repeat(ctx, n.deps.CareEvery, func() error {
		err := c.look(ctx)
		var fatal *store.FatalError
		if errors.As(err, &fatal) {
			return fmt.Errorf("look after the records: %w", err)
		}
		return nil
	})
}

// haveWitnessed has the trail countersigned after each interval. It is apart from care, as inquire is: a node that does not
// answer holds up nothing but the question to it.
func (n *Node) haveWitnessed(ctx context.Context) error {
	c := carer{Node: n}
	return repeat(ctx, n.deps.CareEvery, func() error {
		intervals := n.trail.Head().Intervals
		if intervals == c.witnessed {
			return nil
		}
		err := n.askWitness(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			c.witnessed = intervals
		}
		if parted(err) {
			c.said = c.say(slog.LevelError, "the audit trail is not what was countersigned: the data file is an old copy, or somebody has changed it", c.said, err)
			return nil
		}
		c.said = c.say(slog.LevelWarn, awayFromAudit, c.said, err)
		return nil
	})
}

// parted says whether the own trail and the witness's memory of it have parted, which only an old copy of the data file, or
// somebody who cut the trail, brings about. That another node is away is nobody's fault here.
func parted(err error) bool {
	return errors.Is(err, audit.ErrWitnessAhead) || status.Code(err) == codes.DataLoss
}

const awayFromAudit = "another node is asked again about the audit"

// inquire asks what others' trails say of honey records.
func (n *Node) inquire(ctx context.Context) error {
	c := carer{Node: n}
	return repeat(ctx, askDisclosuresEvery, func() error {
		err := n.server.AskDisclosures(ctx)
		if ctx.Err() == nil {
			c.said = c.say(slog.LevelWarn, awayFromAudit, c.said, err)
		}
		return nil
	})
}

// repeat does something now and then at each interval, until ctx ends, which is no error, or it fails.
func repeat(ctx context.Context, every time.Duration, do func() error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := do()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// carer is a loop's memory of what it did last.
type carer struct {
	*Node
	noticed   time.Time
	witnessed uint64 // intervals
	said      string // the last problem
}

// look does what is due now. The error is for what failed at home.
func (c *carer) look(ctx context.Context) error {
	lapsed, erased, err := c.ledger.Expire(ctx)
	if lapsed+erased > 0 {
		c.log.Info("what has expired is gone", "own", lapsed, "received", erased)
	}
	err = errors.Join(err, c.trail.CloseInterval(ctx))
	now := c.deps.Now()
	if now.Sub(c.noticed).Abs() >= noticeEvery {
		c.noticed = now
		c.notice(now)
	}
	if ctx.Err() == nil {
		c.said = c.say(slog.LevelError, "care of the records: tried again", c.said, err)
	}
	return err
}

// say logs a problem where it is another one than was said last.
func (c *carer) say(level slog.Level, what, said string, err error) string {
	if err == nil {
		return ""
	}
	if err.Error() != said {
		c.log.Log(context.Background(), level, what, "reason", err)
	}
	return err.Error()
}

// notice says in the log, once a day, what of the own records is due: in six months, and in one.
func (n *Node) notice(now time.Time) {
	const day = 24 * time.Hour
	soon := n.ledger.CountDue(now.Add(30*day), n.server.Review)
	later := n.ledger.CountDue(now.Add(183*day), n.server.Review)
	if later > 0 {
		n.log.Warn("records are due: renew them, or they lapse", "within_30_days", soon, "within_six_months", later)
	}
}

// askWitness has the head of the trail countersigned. A witness that cannot be reached is asked again at the next interval.
func (n *Node) askWitness(ctx context.Context) error {
	by := n.witness()
	if by == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	client, err := n.contacts.Exchange(ctx, by)
	if err != nil {
		return err
	}
	head := n.trail.Head()
	from := uint64(0)
	if head.Witness == by {
		from = head.Witnessed
	}
	for range 2 {
		request, err := n.trail.WitnessRequest(from)
		if err != nil {
			return err
		}
		response, err := client.WitnessAudit(ctx, request)
		if err != nil {
			return fmt.Errorf("have the audit trail countersigned by %s: %w", by, err)
		}
		err = n.trail.Witnessed(ctx, by, request, response)
		if !errors.Is(err, audit.ErrWitnessSize) {
			return err
		}
		from = response.GetSize() // it remembers another head than we do
	}
	return nil
}

// compactInTime compacts the data file when what is erased has been in it for most of the time that it may.
func (n *Node) compactInTime(ctx context.Context) error {
	within := n.material.Care.CompactWithin
	if within == 0 {
		within = 24 * time.Hour
	}
	ticker := time.NewTicker(min(within/100, time.Minute))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		values, since := n.store.Erased()
		if values == 0 || n.deps.Now().Sub(since) < time.Duration(compactAhead*float64(within)) {
			continue
		}
		done, err := n.keeper.Compact(ctx, func(uint64, uint64) {})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.log.Error("compact the data file: tried again", "reason", err)
		default:
			n.log.Info("data file compacted", "before", done.GetBytesBefore(), "after", done.GetBytesAfter(), "erased", values)
		}
	}
}
