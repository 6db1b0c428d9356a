package policy

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// on is noon of a day; the empty day is none.
func on(t *testing.T, day string) *timestamppb.Timestamp {
	t.Helper()
	if day == "" {
		return nil
	}
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		t.Fatal(err)
	}
	return timestamppb.New(at.Add(12 * time.Hour))
}

func TestProfileCheck(t *testing.T) {
	tests := []struct {
		name                     string
		profile                  Profile
		recorded, retain, review string
		wrongRetain, wrongReview bool
	}{
		{"exactly five years", DefaultProfile(), "2026-03-01", "2031-03-01", "", false, false},
		{"a day more", DefaultProfile(), "2026-03-01", "2031-03-02", "", true, false},
		{"from 29 February to 1 March", DefaultProfile(), "2028-02-29", "2033-03-01", "", false, false},
		{"from 29 February a day more", DefaultProfile(), "2028-02-29", "2033-03-02", "", true, false},
		{"a review after exactly three years", DefaultProfile(), "2026-03-01", "2031-03-01", "2029-03-01", false, false},
		{"a review a day later", DefaultProfile(), "2026-03-01", "2031-03-01", "2029-03-02", false, true},
		{"a shorter profile", Profile{LongestYears: 2, ReviewYears: 1}, "2026-03-01", "2029-03-01", "2028-03-01", true, true},
		{"the zero profile keeps nothing", Profile{}, "2026-03-01", "2026-03-02", "", true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &ententev1.Envelope{RecordedAt: on(t, test.recorded), RetainUntil: on(t, test.retain), ReviewDue: on(t, test.review)}
			var want []string
			if test.wrongRetain {
				want = append(want, "envelope.retain_until")
			}
			if test.wrongReview {
				want = append(want, "envelope.review_due")
			}
			got := fieldsOf(test.profile.Check(e))
			if len(got) != len(want) {
				t.Fatalf("want %v, got %v", want, got)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("want %v, got %v", want, got)
				}
			}
		})
	}
	got := fieldsOf(DefaultProfile().Check(&ententev1.Envelope{}))
	if len(got) != 2 || got[0] != "envelope.recorded_at" || got[1] != "envelope.retain_until" {
		t.Errorf("without dates: %v", got)
	}
	got = fieldsOf(DefaultProfile().Check(&ententev1.Envelope{RecordedAt: on(t, "2026-03-01")}))
	if len(got) != 1 || got[0] != "envelope.retain_until" {
		t.Errorf("without an end: %v", got)
	}
	got = fieldsOf(DefaultProfile().Check(&ententev1.Envelope{RetainUntil: on(t, "2026-03-01")}))
	if len(got) != 1 || got[0] != "envelope.recorded_at" {
		t.Errorf("without a beginning: %v", got)
	}
}

func TestReviewDue(t *testing.T) {
	tests := []struct {
		name                           string
		recorded, retain, review, want string
	}{
		{"by the profile", "2026-03-01", "2031-03-01", "", "2029-03-01"},
		{"no later than the end of retention", "2026-03-01", "2028-03-01", "", "2028-03-01"},
		{"as the provider says, if that is earlier", "2026-03-01", "2031-03-01", "2027-01-01", "2027-01-01"},
		{"not as the provider says, if that is later", "2026-03-01", "2031-03-01", "2030-01-01", "2029-03-01"},
		{"nor after the end of retention", "2026-03-01", "2028-03-01", "2028-06-01", "2028-03-01"},
		{"at once without an end of retention", "2026-03-01", "", "2028-06-01", ""},
		{"at once without a day of recording", "", "2028-03-01", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &ententev1.Envelope{RecordedAt: on(t, test.recorded), RetainUntil: on(t, test.retain), ReviewDue: on(t, test.review)}
			want := time.Time{}
			if test.want != "" {
				want = on(t, test.want).AsTime()
			}
			if got := DefaultProfile().ReviewDue(e); !got.Equal(want) {
				t.Errorf("want %s, got %s", want, got)
			}
		})
	}
}

func TestRenewable(t *testing.T) {
	now := on(t, "2026-03-01").AsTime()
	tests := []struct {
		name  string
		until time.Time
		want  bool
	}{
		{"into the future", now.Add(time.Second), true},
		{"until now", now, false},
		{"into the past", now.Add(-time.Second), false},
		{"as far as the profile allows", on(t, "2031-03-01").AsTime(), true},
		{"a second further", on(t, "2031-03-01").AsTime().Add(time.Second), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := DefaultProfile().Renewable(now, test.until); got != test.want {
				t.Errorf("want %v", test.want)
			}
		})
	}
}

func TestAMembersProfileIsNeverLongerThanTheDefault(t *testing.T) {
	tests := []struct {
		name    string
		profile Profile
		want    bool
	}{
		{"the default itself", Profile{5, 3}, true},
		{"a shorter one", Profile{2, 1}, true},
		{"one that reviews at the end", Profile{3, 3}, true},
		{"one that keeps longer", Profile{6, 3}, false},
		{"one that reviews later", Profile{5, 4}, false},
		{"one that reviews after the end", Profile{1, 2}, false},
		{"one that never reviews", Profile{5, 0}, false},
		{"the zero one", Profile{}, false},
		{"a negative one", Profile{-1, -2}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.profile.Within(DefaultProfile()); got != test.want {
				t.Errorf("want %v", test.want)
			}
		})
	}
}
