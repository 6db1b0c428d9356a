package policy

import "testing"

func TestNeedsApproval(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*Label)
		reasons int
	}{
		{"H0 goes by itself", func(*Label) {}, 0},
		{"H0 and H1 go by themselves", func(l *Label) { l.Handling = handlingH0 | handlingH1 }, 0},
		{"H2 waits", func(l *Label) { l.Handling = handlingH2 }, 1},
		{"H3 waits", func(l *Label) { l.Handling = handlingH1 | handlingH3 }, 1},
		{"H2 and H3 wait for both reasons", func(l *Label) { l.Handling = handlingH2 | handlingH3 }, 2},
		{"no handling waits", func(l *Label) { l.Handling = 0 }, 1},
		{"unknown handling waits", func(l *Label) { l.Handling = handlingH0 | handlingUnknown }, 1},
		{"a special category waits", func(l *Label) { l.Special = true }, 1},
		{"a special category under H2 and H3 waits for three reasons", func(l *Label) { l.Special, l.Handling = true, handlingH2|handlingH3 }, 3},
		{"what is not understood waits", func(l *Label) { l.Unknown = true }, 1},
		{"a victim under H0 goes by itself", func(l *Label) { l.Status = 4 }, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := soundLabel()
			test.change(&l)
			if len(ApprovalReasons(l)) != test.reasons || NeedsApproval(l) != (test.reasons > 0) {
				t.Errorf("want %d reasons, got %q", test.reasons, ApprovalReasons(l))
			}
			for _, reason := range ApprovalReasons(l) {
				if len(reason) < 10 {
					t.Errorf("%q is no reason", reason)
				}
			}
		})
	}
}

func TestMayApprove(t *testing.T) {
	tests := []struct {
		name               string
		approver, proposer string
		want               bool
	}{
		{"another person", "ann", "bob", true},
		{"the same person", "ann", "ann", false},
		{"somebody, where a system asked by itself", "ann", "", true},
		{"nobody", "", "bob", false},
		{"nobody for nobody", "", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := MayApprove(test.approver, test.proposer); got != test.want {
				t.Errorf("want %v", test.want)
			}
		})
	}
}
