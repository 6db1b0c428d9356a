package client_test

import (
	"bytes"
	"fmt"

	"entente.example/entente/client"
	"entente.example/entente/nodes/sandbox"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// An operator sees how the node is, and who holds what it has shared: each reader signs with its member's key how much of a
// stream it holds and what it has erased, and the owner's node takes no receipt whose signature or tree does not fit.
func Example_operator() {
	federation := open()
	defer federation.close()
	federation.share("XA", project(sandbox.Project), person("P-1", "Teodor", "Varrin"), person("P-2", "Ilra", "Moskel"))

	owner := federation.dial("XA", member.KindOperator, "ops")
	defer owner.Close()
	reader := federation.dial("XB", member.KindOperator, "ops")
	defer reader.Close()

	// The readers' receipts come within seconds; lag is what a reader has not signed for.
	var shared *ententev1.StreamStatus
	federation.until(func() bool {
		shared = streamOf(federation, owner, func(s *ententev1.StreamStatus) bool { return s.GetOwner() == "XA" && s.GetSize() == 3 })
		return signed(shared) == len(shared.GetReaders())
	})
	fmt.Printf("XA has shared %d entries, the opening and two releases\n", shared.GetSize())
	for _, r := range shared.GetReaders() {
		fmt.Printf("%s has signed for %d of them\n", r.GetMember(), r.GetConfirmedSize())
	}
	held := streamOf(federation, reader, func(s *ententev1.StreamStatus) bool { return bytes.Equal(s.GetStreamId(), shared.GetStreamId()) })
	fmt.Printf("XB says that it holds %d\n", held.GetSize())

	// Output:
	// XA has shared 3 entries, the opening and two releases
	// COORD has signed for 3 of them
	// XB has signed for 3 of them
	// XB says that it holds 3
}

// streamOf asks a node for its streams until it has the one that is looked for.
func streamOf(federation *place, c *client.Client, is func(*ententev1.StreamStatus) bool) (found *ententev1.StreamStatus) {
	federation.until(func() bool {
		status, err := c.Status(federation.ctx)
		check(err)
		for _, s := range status.GetStreams() {
			if is(s) {
				found = s
			}
		}
		return found != nil
	})
	return found
}

// signed counts the readers that have signed for all of a stream.
func signed(s *ententev1.StreamStatus) int {
	count := 0
	for _, r := range s.GetReaders() {
		if r.GetConfirmedSize() == s.GetSize() {
			count++
		}
	}
	return count
}
