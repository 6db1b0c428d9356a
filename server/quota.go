package server

import (
	"cmp"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"

	"entente.example/entente/proto/member"
)

// Quota is what one identity may do. Ten seconds' worth may be used at once. Zero in a field: the default of its kind.
type Quota struct {
	// CallsPerSecond is how many calls it may begin in a second.
	CallsPerSecond float64 `yaml:"calls_per_second"`
	// RecordsPerSecond is how many records it may push, release and withdraw, and be sent, in a second.
	RecordsPerSecond float64 `yaml:"records_per_second"`
	// BytesPerSecond is how much it may send and be sent in a second: messages as encoded.
	BytesPerSecond float64 `yaml:"bytes_per_second"`
	// WorkPerSecond is how many seconds the node may work for it in a second, over all its calls: the time between taking a
	// message and having the answer. Where calls wait for a processor or the disk, that is in it; where a long call waits
	// for news, or for the caller to read, it is not.
	WorkPerSecond float64 `yaml:"work_per_second"`
	// OpenStreams is how many long calls it may have open at once, over all its connections.
	OpenStreams int `yaml:"open_streams"`
}

// Quotas are the limits of all identities: by kind, and for some by name.
type Quotas struct {
	// Nodes is for each node of another member.
	Nodes Quota `yaml:"nodes"`
	// Systems is for each of the own member's systems; the next three likewise.
	Systems   Quota `yaml:"systems"`
	Officers  Quota `yaml:"officers"`
	Auditors  Quota `yaml:"auditors"`
	Operators Quota `yaml:"operators"`
	// Identities is for single ones, by kind and name for those of the own member ("system/registry"), by member for nodes
	// ("XB/node"). A zero field: what its kind has.
	Identities map[string]Quota `yaml:"identities"`
}

// DefaultQuotas are what counts where nothing is given. They are far above what a unit's systems and officers do, and stop
// a program that has run wild; a site that knows its load sets its own.
func DefaultQuotas() Quotas {
	machine := Quota{
		CallsPerSecond: 5000, RecordsPerSecond: 500_000, BytesPerSecond: 512 << 20, WorkPerSecond: 64,
		OpenStreams: 1024, // a node that forwards for all its officers needs some hundreds; each is woken by each change
	}
	human := Quota{CallsPerSecond: 1000, RecordsPerSecond: 100_000, BytesPerSecond: 128 << 20, WorkPerSecond: 64, OpenStreams: 1024}
	return Quotas{Nodes: machine, Systems: machine, Officers: human, Auditors: human, Operators: human}
}

// QuotaProblem is what is wrong with one setting of Quotas.
type QuotaProblem struct {
	// Field is its path, such as nodes.calls_per_second.
	Field string
	// What is wrong, and Mend what to do.
	What, Mend string
}

// Problems says what is wrong with the quotas, in a fixed order; nothing where they are good.
func (q Quotas) Problems() []QuotaProblem {
	var list []QuotaProblem
	for _, kind := range []struct {
		name  string
		quota Quota
	}{{"nodes", q.Nodes}, {"systems", q.Systems}, {"officers", q.Officers}, {"auditors", q.Auditors}, {"operators", q.Operators}} {
		list = append(list, kind.quota.problems(kind.name)...)
	}
	for _, name := range slices.Sorted(maps.Keys(q.Identities)) {
		field := "identities." + name
		if !validIdentityKey(name) {
			list = append(list, QuotaProblem{field, "names no identity",
				"write system/NAME, officer/NAME, auditor/NAME or operator/NAME for an own one, MEMBER/node for a node"})
		}
		list = append(list, q.Identities[name].problems(field)...)
	}
	return list
}

func (q Quota) problems(under string) []QuotaProblem {
	var list []QuotaProblem
	for _, rate := range []struct {
		name  string
		value float64
	}{
		{limitCalls.String(), q.CallsPerSecond}, {limitRecords.String(), q.RecordsPerSecond},
		{limitBytes.String(), q.BytesPerSecond}, {limitWork.String(), q.WorkPerSecond}, {limitStreams.String(), float64(q.OpenStreams)},
	} {
		if rate.value < 0 || math.IsNaN(rate.value) || math.IsInf(rate.value, 0) {
			list = append(list, QuotaProblem{under + "." + rate.name, "is not a number above 0",
				"give a number above 0, or leave it out for the default: there is no way to have no limit"})
		}
	}
	return list
}

// validIdentityKey says whether a key of Identities can name an identity.
func validIdentityKey(key string) bool {
	return regexp.MustCompile(`^(system|officer|auditor|operator)/[A-Za-z0-9._-]{1,64}$|^[A-Z][A-Z0-9-]{0,31}/node$`).MatchString(key)
}

// quotaKey is how Identities names an identity.
func quotaKey(id member.Identity) string {
	if id.Kind == member.KindNode {
		return string(id.Member) + "/node"
	}
	return id.Kind.String() + "/" + id.Name
}

// of is what an identity may do: by its name, else by its kind, else by default.
func (q Quotas) of(id member.Identity) Quota {
	var own Quota
	if len(q.Identities) > 0 {
		own = q.Identities[quotaKey(id)]
	}
	return own.or(q.kind(id.Kind)).or(DefaultQuotas().kind(id.Kind))
}

func (q Quotas) kind(kind member.Kind) Quota {
	switch kind {
	case member.KindNode:
		return q.Nodes
	case member.KindSystem:
		return q.Systems
	case member.KindOfficer:
		return q.Officers
	case member.KindAuditor:
		return q.Auditors
	default:
		return q.Operators
	}
}

// or fills what is zero from another quota.
func (q Quota) or(other Quota) Quota {
	return Quota{
		CallsPerSecond:   cmp.Or(q.CallsPerSecond, other.CallsPerSecond),
		RecordsPerSecond: cmp.Or(q.RecordsPerSecond, other.RecordsPerSecond),
		BytesPerSecond:   cmp.Or(q.BytesPerSecond, other.BytesPerSecond),
		WorkPerSecond:    cmp.Or(q.WorkPerSecond, other.WorkPerSecond),
		OpenStreams:      cmp.Or(q.OpenStreams, other.OpenStreams),
	}
}

func (q Quota) rate(l limit) float64 {
	switch l {
	case limitCalls:
		return q.CallsPerSecond
	case limitRecords:
		return q.RecordsPerSecond
	case limitBytes:
		return q.BytesPerSecond
	default:
		return q.WorkPerSecond
	}
}

// limit is one of the things that are limited. The first four flow, and have a bucket each.
type limit int

const (
	limitCalls limit = iota
	limitRecords
	limitBytes
	limitWork
	limitStreams
	limitIdentities
	limitShort

	flowing = int(limitWork) + 1
)

// String is the name of the setting.
func (l limit) String() string {
	return [...]string{"calls_per_second", "records_per_second", "bytes_per_second", "work_per_second", "open_streams", "identities", "short calls at once"}[l]
}

// cost is what something takes of each flowing limit; work in seconds.
type cost [flowing]float64

// quotaBurst is how many seconds' worth an identity may use at once.
const quotaBurst = 10 * time.Second

// bucket is what is left of one limit of one identity. What is large may be taken as soon as one is left: the level then
// falls below zero, and the next one waits until there is one again. So a message of any size passes some time, and no more
// than the rate passes in the long run.
type bucket struct {
	level float64
	at    time.Time // when level was right; zero: full
}

// fill brings the bucket to the time now. A clock that was set back fills nothing; a rate that was lowered takes away what
// is over.
func (b *bucket) fill(now time.Time, rate float64) {
	most := max(rate*quotaBurst.Seconds(), 1)
	passed := now.Sub(b.at)
	switch {
	case b.at.IsZero():
		b.level = most
	case passed > 0:
		b.level = min(most, b.level+rate*passed.Seconds())
	default:
		b.level = min(most, b.level)
	}
	b.at = now
}

// wait is how long until so much may be taken; 0: now.
func (b *bucket) wait(rate, taken float64) time.Duration {
	missing := min(taken, 1) - b.level
	if missing <= 0 {
		return 0
	}
	seconds := min(missing/rate, (365 * 24 * time.Hour).Seconds())
	return time.Duration(seconds*float64(time.Second)) + time.Millisecond // a rounded-down wait would come too early
}
