package audit_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/server/audit"
	"entente.example/entente/server/store"
)

func (n *node) honey() *audit.Honey {
	n.t.Helper()
	h, err := audit.OpenHoney(n.st, n.write)
	n.must(err)
	return h
}

func TestMarksOutliveARestart(t *testing.T) {
	n := newWorld(t).node("XA")
	h := n.honey()
	marks, err := h.Mark(t.Context(), [][16]byte{{1}, {2}, {1}}, false)
	n.must(err)
	if marks != 2 {
		t.Errorf("%d marks after two records, one of them named twice", marks)
	}
	marks, err = h.Mark(t.Context(), [][16]byte{{1}, {9}}, true)
	n.must(err)
	if marks != 1 {
		t.Errorf("%d marks after one of two was taken away", marks)
	}
	n.reopen()
	h = n.honey()
	if h.Marks() != 1 || h.Marked([16]byte{1}) || !h.Marked([16]byte{2}) {
		t.Errorf("after a restart %d marks, 1: %v, 2: %v", h.Marks(), h.Marked([16]byte{1}), h.Marked([16]byte{2}))
	}
}

func TestAlertsAreNumberedAndTold(t *testing.T) {
	n := newWorld(t).node("XA")
	h := n.honey()
	look := func(by member.ID) *ententev1.HoneyAlert {
		return &ententev1.HoneyAlert{RecordId: make([]byte, 16), At: timestamppb.New(n.now), Member: string(by)}
	}
	n.must(h.Alert(t.Context(), []*ententev1.HoneyAlert{look("XA")}, nil))
	n.must(h.Alert(t.Context(), []*ententev1.HoneyAlert{look("XB"), look("XC")}, map[member.ID]int64{"XB": 7, "XC": n.now.UnixNano()}))
	n.reopen()
	h = n.honey()
	for _, test := range []struct {
		name  string
		after uint64
		limit int
		want  []string
	}{
		{"all of them", 0, 10, []string{"XA", "XB", "XC"}},
		{"one page", 0, 2, []string{"XA", "XB"}},
		{"the next page", 2, 2, []string{"XC"}},
		{"behind the last one", 3, 2, nil},
		{"far behind the last one", 1 << 60, 2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, all := h.Alerts(test.after, test.limit)
			if all != 3 || len(list) != len(test.want) {
				t.Fatalf("%d alerts of %d, want %d of 3", len(list), all, len(test.want))
			}
			for i, alert := range list {
				if alert.GetMember() != test.want[i] || alert.GetNumber() != test.after+uint64(i)+1 {
					t.Errorf("alert %d is number %d of %s", i, alert.GetNumber(), alert.GetMember())
				}
			}
		})
	}
	if h.Heard("XB") != 7 || h.Heard("XC") != n.now.UnixNano() || h.Heard("XD") != 0 {
		t.Errorf("heard up to %d, %d, %d", h.Heard("XB"), h.Heard("XC"), h.Heard("XD"))
	}
}

// TestNothingIsMarkedThatIsNotOnDisk: what a failed transaction would have changed is not changed in memory either.
func TestNothingIsMarkedThatIsNotOnDisk(t *testing.T) {
	n := newWorld(t).node("XA")
	h := n.honey()
	full := errors.New("full")
	n.fail = full
	_, err := h.Mark(t.Context(), [][16]byte{{1}}, false)
	if !errors.Is(err, full) || h.Marked([16]byte{1}) {
		t.Errorf("marked %v, and %v", h.Marked([16]byte{1}), err)
	}
	n.fail = full
	err = h.Alert(t.Context(), []*ententev1.HoneyAlert{{Member: "XB"}}, map[member.ID]int64{"XB": 7})
	_, all := h.Alerts(0, 1)
	if !errors.Is(err, full) || all != 0 || h.Heard("XB") != 0 {
		t.Errorf("%d alerts, heard up to %d, and %v", all, h.Heard("XB"), err)
	}
}

func TestDamagedMarksAreNotRead(t *testing.T) {
	for _, test := range []struct{ name, table, key, value string }{
		{"a mark that is of no record", "honey", "short", "\x01"},
		{"a time that is none", "heard", "XB", "\x01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newWorld(t).node("XA")
			n.must(n.st.Update(func(tx *store.Tx) error { return tx.Put(test.table, []byte(test.key), []byte(test.value)) }))
			_, err := audit.OpenHoney(n.st, n.write)
			if err == nil {
				t.Error("it was read")
			}
		})
	}
}
