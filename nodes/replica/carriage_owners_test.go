package replica

import (
	"errors"
	"fmt"
	"io"
	"testing"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server"
)

// TestAFileThatInventsMembersLeavesNothingInMemory: a name costs a few bytes in the file, and anybody can make one up.
func TestAFileThatInventsMembersLeavesNothingInMemory(t *testing.T) {
	w := newWorld(t, "XA", "XB")
	b := start(w.open("XB", clean), listen(w)["XB"], alone)
	federation := w.directory.Load().Roster.Federation()
	for _, test := range []struct {
		names int
		takes bool
	}{{100, true}, {100000, false}} {
		sent := 0
		next := func() (*ententev1.ExportStreamsResponse, error) {
			sent++
			switch {
			case sent == 1:
				header := &ententev1.ExportHeader{FederationId: federation[:], Exporter: "XA", Reader: "XB"}
				return &ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Header{Header: header}}, nil
			case sent < test.names+2:
				return &ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_Owner{Owner: fmt.Sprintf("Y%d", sent)}}, nil
			case sent == test.names+2:
				return &ententev1.ExportStreamsResponse{Content: &ententev1.ExportStreamsResponse_End{End: &ententev1.ExportEnd{}}}, nil
			}
			return nil, io.EOF
		}
		took, err := b.Import(t.Context(), true, next)
		if test.takes && (err != nil || len(took.GetOwners()) != test.names) || !test.takes && !errors.Is(err, server.ErrCarried) {
			t.Errorf("a file of %d members that there are not: %d owners, %v", test.names, len(took.GetOwners()), err)
		}
	}
	b.mu.Lock()
	if len(b.sides) > 1 {
		t.Errorf("%d members are remembered, of whom one is there", len(b.sides))
	}
	b.mu.Unlock()
	b.close()
}
