package ledger_test

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
	"entente.example/entente/server/ledger"
)

// An owner can sign grants for any number of names. Each costs as much as there are readers, now and at every start.
func TestTheReadersOfAStreamAreBoundedAlsoWhereTheyComeByGrants(t *testing.T) {
	const more = 1025
	w := newWorld(t)
	xa := w.start("XA", true)
	h := newHostile(w, 1)
	add := func(i int) {
		g := stream.Grant{Number: uint64(i + 1), Reader: member.ID(fmt.Sprintf("Y%d", i)), Time: w.now}
		doc, err := stream.SignGrant("XB", h.id, g, w.fed.Seat("XB").Signing)
		w.must(err)
		payload, err := proto.Marshal(&ententev1.StreamPayload{Content: &ententev1.StreamPayload_Grant{Grant: doc}})
		w.must(err)
		h.add(stream.Header{Type: ententev1.EntryType_ENTRY_TYPE_GRANT}, payload)
	}
	for i := range more {
		add(i)
	}
	err := h.deliver(xa)
	if !errors.Is(err, ledger.ErrRefused) {
		t.Errorf("%d grants: %v, want them refused", more, err)
	}
}
