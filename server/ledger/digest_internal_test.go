package ledger

import (
	"fmt"
	"testing"

	"entente.example/entente/proto/member"
)

// TestAskingForStreamsOfNobodyLeavesNothingInMemory: any member may ask for the streams of any name.
func TestAskingForStreamsOfNobodyLeavesNothingInMemory(t *testing.T) {
	l := &Ledger{state: newState()}
	for i := range 1000 {
		l.Digest(member.ID(fmt.Sprintf("X%d", i)), "XB")
	}
	if len(l.state.digests) != 0 {
		t.Errorf("%d digests of nothing are kept", len(l.state.digests))
	}
}
