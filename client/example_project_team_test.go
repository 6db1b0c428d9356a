package client_test

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/nodes/sandbox"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// A project team follows what its project shares, keeps its place, and goes on from there after a restart.
func Example_projectTeam() {
	federation := open()
	defer federation.close()
	federation.share("XA", project(sandbox.Project), person("P-1", "Teodor", "Varrin"))

	c := federation.dial("XB", member.KindSystem, sandbox.Team)
	defer c.Close()
	request := &ententev1.SubscribeRequest{ProjectId: sandbox.Project, Consultation: why()}

	// The loop lives through broken connections without a gap. Without a break it goes on for ever.
	cursor := []byte(nil) // a program keeps it in a file
	for response, err := range c.Follow(federation.ctx, request) {
		check(err)
		for _, item := range response.GetItems() {
			record := &ententev1.ReleasedRecord{}
			check(proto.Unmarshal(item.GetReleasedRecord(), record))
			fmt.Println("first run:", item.GetOwner(), record.GetBody().GetPerson().GetNames()[0].GetFamily())
		}
		cursor = response.GetCursor() // kept after the items are processed: better twice than never
		if len(response.GetItems()) > 0 {
			break
		}
	}

	federation.share("XA", project(sandbox.Project), person("P-2", "Ilra", "Moskel"))
	request.Cursor = cursor
	for response, err := range c.Follow(federation.ctx, request) {
		check(err)
		for _, item := range response.GetItems() {
			record := &ententev1.ReleasedRecord{}
			check(proto.Unmarshal(item.GetReleasedRecord(), record))
			fmt.Println("after the restart:", item.GetOwner(), record.GetBody().GetPerson().GetNames()[0].GetFamily())
		}
		if len(response.GetItems()) > 0 {
			break
		}
	}

	// Output:
	// first run: XA Varrin
	// after the restart: XA Moskel
}
