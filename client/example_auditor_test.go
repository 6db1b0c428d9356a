package client_test

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/nodes/sandbox"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// An auditor verifies what a member has shared without taking the node's word for it: an operator exports the streams as a
// reader gets them, and package stream checks each entry against the checkpoints that the owner signed. The keys come from
// the roster, which is signed by each member's root and not by any node. (`entente verify` does the same with the data file
// of a stopped node.)
func Example_auditor() {
	federation := open()
	defer federation.close()
	federation.share("XA", project(sandbox.Project), person("P-1", "Teodor", "Varrin"), person("P-2", "Ilra", "Moskel"))
	keys := federation.Roster().VerifyingKeys("XA") // of a roster that member.VerifyRoster has passed

	operator := federation.dial("XA", member.KindOperator, "ops")
	defer operator.Close()
	call, err := operator.Admin().ExportStreams(federation.ctx, &ententev1.ExportStreamsRequest{Reader: "XB", Owners: []string{"XA"}})
	check(err)
	var reader *stream.Reader
	for {
		part, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		check(err)
		switch content := part.GetPull().GetContent().(type) {
		case *ententev1.PullResponse_Checkpoint:
			id, err := stream.ParseID(content.Checkpoint.GetStreamId())
			check(err)
			reader = stream.NewReader("XA", id, "XB", stream.Edge{})
			head, err := reader.Checkpoint(content.Checkpoint, keys)
			check(err)
			fmt.Printf("XA has signed %d entries\n", head.Size)
		case *ententev1.PullResponse_Entries:
			// One altered byte, wherever it is, and nothing of it is taken.
			forged := proto.CloneOf(content.Entries)
			forged.Entries[1].Payload[len(forged.Entries[1].Payload)-1] ^= 1
			_, err = reader.Entries(forged, nil)
			wrong := new(stream.SenderError)
			if errors.As(err, &wrong) {
				fmt.Printf("altered, entry %d is refused: %s\n", wrong.Sequence, wrong.Rule)
			}

			verified, err := reader.Entries(content.Entries, nil)
			check(err)
			for _, entry := range verified {
				fmt.Println(entry.Header.Sequence, entry.Header.Type)
			}
		}
	}

	// Output:
	// XA has signed 3 entries
	// altered, entry 2 is refused: commitment does not match
	// 1 ENTRY_TYPE_OPENING
	// 2 ENTRY_TYPE_RELEASE
	// 3 ENTRY_TYPE_RELEASE
}
