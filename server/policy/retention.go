package policy

import (
	"time"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Profile is how long a member keeps records, in whole years of the calendar: 29 February of a year that has none is
// 1 March. The zero Profile keeps nothing.
type Profile struct {
	LongestYears int // from recording, or from a renewal
	ReviewYears  int // after which the need must be reviewed
}

// DefaultProfile is the longest that any member may keep records.
func DefaultProfile() Profile {
	return Profile{LongestYears: 5, ReviewYears: 3}
}

// Within says whether a profile is sound and keeps nothing longer than other: a member may set a shorter one.
func (p Profile) Within(other Profile) bool {
	sound := p.ReviewYears > 0 && p.ReviewYears <= p.LongestYears
	return sound && p.LongestYears <= other.LongestYears && p.ReviewYears <= other.ReviewYears
}

// Check says what is wrong with the dates of a record under the profile: kept longer than allowed, or reviewed too late.
func (p Profile) Check(e *ententev1.Envelope) []*ententev1.FieldViolation {
	f := &findings{}
	if e.GetRecordedAt() == nil || e.GetRetainUntil() == nil {
		f.when(e.GetRecordedAt() == nil, "envelope.recorded_at", "is required")
		f.when(e.GetRetainUntil() == nil, "envelope.retain_until", "is required")
		return f.list
	}
	recorded := e.GetRecordedAt().AsTime()
	f.when(e.GetRetainUntil().AsTime().After(recorded.AddDate(p.LongestYears, 0, 0)),
		"envelope.retain_until", "is later than the member's profile allows after recorded_at")
	late := e.GetReviewDue() != nil && e.GetReviewDue().AsTime().After(recorded.AddDate(p.ReviewYears, 0, 0))
	f.when(late, "envelope.review_due", "is later than the member's profile allows after recorded_at")
	return f.list
}

// ReviewDue is when the need for a record must be reviewed: the earliest of the day that its provider gave, of the end of its
// retention, and of what the profile allows. A record without its dates is due at once: the zero time.
func (p Profile) ReviewDue(e *ententev1.Envelope) time.Time {
	if e.GetRecordedAt() == nil || e.GetRetainUntil() == nil {
		return time.Time{}
	}
	due := earlier(e.GetRetainUntil().AsTime(), e.GetRecordedAt().AsTime().AddDate(p.ReviewYears, 0, 0))
	if e.GetReviewDue() != nil {
		due = earlier(due, e.GetReviewDue().AsTime())
	}
	return due
}

// Renewable says whether the retention of a record may be extended to until: into the future, and no further from now than
// the profile allows.
func (p Profile) Renewable(now, until time.Time) bool {
	return until.After(now) && !until.After(now.AddDate(p.LongestYears, 0, 0))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
