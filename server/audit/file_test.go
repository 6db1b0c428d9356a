package audit_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/server/audit"
	"entente.example/entente/server/store"
)

// Somebody with the sealing key can make a file that is sound as a file.
func TestAFileWhosePartsContradictEachOtherIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(n *node, tx *store.Tx) error
	}{
		{"an entry edited", func(n *node, tx *store.Tx) error {
			e := look("XB", 77)
			e.Number = 2
			encoded, err := proto.Marshal(e)
			n.must(err)
			return tx.Replace(store.NewSeries("audit"), 2, encoded)
		}},
		{"the newest interval edited", func(n *node, tx *store.Tx) error {
			one := n.parts()
			last := one[len(one)-2].GetInterval()
			last.Salt[0] ^= 1
			encoded, err := proto.Marshal(last)
			n.must(err)
			return tx.Replace(store.NewSeries("audit-intervals"), last.GetNumber(), encoded)
		}},
		{"an interval that is none", func(_ *node, tx *store.Tx) error {
			return tx.Replace(store.NewSeries("audit-intervals"), 2, []byte{8, 1})
		}},
		{"an interval that nobody signed", func(n *node, tx *store.Tx) error {
			one := n.parts()
			last := one[len(one)-2].GetInterval()
			last.Number++
			encoded, err := proto.Marshal(last)
			n.must(err)
			_, err = tx.Append(store.NewSeries("audit-intervals"), encoded)
			return err
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := newWorld(t).node("XA")
			n.record(3)
			n.closeNext()
			n.record(2)
			n.closeNext()
			n.must(n.st.Update(func(tx *store.Tx) error { return test.change(n, tx) }))
			_, err := audit.Open(n.st, n.config())
			if err == nil {
				t.Error("the file was opened")
			}
		})
	}
}
