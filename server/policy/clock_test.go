package policy

import (
	"slices"
	"testing"
	"time"

	"entente.example/entente/proto/member"
)

func TestExpiry(t *testing.T) {
	truth := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	years := func(n int) time.Time { return truth.AddDate(n, 0, 0) }
	// said is what the members XB, XC … sign, all of it heard the given time ago.
	said := func(ago time.Duration, times ...time.Time) []Heard {
		var heard []Heard
		for i, at := range times {
			heard = append(heard, Heard{Member: member.ID([]string{"XB", "XC", "XD", "XE", "XF"}[i]), At: at.Add(-ago), Since: ago})
		}
		return heard
	}
	none := time.Time{}
	tests := []struct {
		name           string
		local          time.Time
		heard          []Heard
		members        int
		confirmed      bool
		hide, erase    time.Time
		quorum, agreed bool
	}{
		{"all agree: what is over is erased", truth, said(time.Minute, truth, truth), 3, false, truth, truth, true, true},
		{"the local clock ten years ahead hides, and erases nothing", years(10), said(0, truth, truth), 3, false, years(10), none, true, false},
		{"nor does it once an operator has confirmed it", years(10), said(0, truth, truth), 3, true, years(10), none, true, false},
		{"the local clock ten years behind keeps nothing alive", years(-10), said(0, truth, truth), 3, false, truth, none, true, false},
		{"five minutes apart is agreement, and the later of the two hides", truth, said(0, truth.Add(5*time.Minute), truth.Add(5*time.Minute)), 3, false,
			truth.Add(5 * time.Minute), truth, true, true},
		{"so it is the other way round", truth.Add(5 * time.Minute), said(0, truth, truth), 3, false, truth.Add(5 * time.Minute), truth, true, true},
		{"a second more is not", truth, said(0, truth.Add(301*time.Second), truth.Add(301*time.Second)), 3, false, truth.Add(301 * time.Second), none, true, false},
		{"nor the other way round", truth.Add(301 * time.Second), said(0, truth, truth), 3, false, truth.Add(301 * time.Second), none, true, false},

		{"one of three heard is no quorum: the local clock hides", truth, said(0, years(10)), 3, false, truth, none, false, false},
		{"and erases once it is confirmed", truth, said(0, years(10)), 3, true, truth, truth, false, false},
		{"two members are never a quorum", truth, said(0, years(10), years(10)), 2, false, truth, none, false, false},
		{"two of four are no quorum", truth, said(0, years(10), years(10)), 4, false, truth, none, false, false},
		{"three of four are one", truth, said(0, truth, truth, truth), 4, false, truth, truth, true, true},
		{"three of five are one", truth, said(0, truth, truth, truth), 5, false, truth, truth, true, true},
		{"two of five are not", truth, said(0, years(10), years(10)), 5, false, truth, none, false, false},
		{"nobody heard", truth, nil, 3, false, truth, none, false, false},
		{"no members", truth, nil, 0, false, truth, none, false, false},

		{"a lying minority ahead hides nothing", truth, said(0, years(10), truth, truth, years(10), truth), 6, false, truth, truth, true, true},
		{"a lying minority behind keeps nothing alive", years(-10), said(0, years(-10), truth, truth, years(-10), truth), 6, false, truth, none, true, false},
		{"of two that differ the later counts", years(-10), said(0, truth, years(-10)), 3, false, truth, none, true, false},
		{"of four the later of the middle two counts", years(-1), said(0, years(-10), years(-5), truth, years(10)), 5, false, truth, none, true, false},

		{"what was heard is carried forward", truth, said(50*time.Minute, truth, truth), 3, false, truth, truth, true, true},
		{"an hour is lately", truth, said(time.Hour, truth, truth), 3, false, truth, truth, true, true},
		{"longer ago is cut off", truth, said(time.Hour+time.Second, truth, truth), 3, false, truth, none, false, false},
		{"what will be heard is nothing", truth, said(-time.Second, truth, truth), 3, false, truth, none, false, false},
		{"a member counts once", truth, append(said(0, truth), said(time.Minute, truth)...), 3, false, truth, none, false, false},
		{"a member's last word counts", truth, append(said(time.Minute, years(10), years(10)), said(time.Second, truth, truth)...), 3, false, truth, truth, true, true},
		{"also where it stands first", truth, append(said(time.Second, truth, truth), said(time.Minute, years(10), years(10))...), 3, false, truth, truth, true, true},
		{"of two words at once the later counts", years(-1), append(said(0, years(-1), years(-1)), said(0, truth, truth)...), 3, false, truth, none, true, false},
		{"also where it stands first among them", years(-1), append(said(0, truth, truth), said(0, years(-1), years(-1))...), 3, false, truth, none, true, false},
		{"nobody's time is none", truth, []Heard{{At: truth}, {Member: "XB", At: truth}}, 3, false, truth, none, false, false},
		{"no time is none", truth, []Heard{{Member: "XC"}, {Member: "XB", At: truth}}, 3, false, truth, none, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.heard)
			got := Expiry(test.local, test.heard, test.members, test.confirmed)
			if !got.Hide.Equal(test.hide) || !got.Erase.Equal(test.erase) || got.Quorum != test.quorum || got.Agreed != test.agreed {
				t.Errorf("got %+v", got)
			}
			if got.Erase.After(got.Hide) {
				t.Error("something is erased that is not hidden")
			}
			if !slices.Equal(before, test.heard) {
				t.Error("what was heard was changed")
			}
		})
	}
}
