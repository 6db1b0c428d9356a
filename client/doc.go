// Package client is how any program talks to the node of its own member: a national system that pushes records, a project
// team that follows a stream, an officer's tool that asks for the merged network, an operator's check.
//
// # What it is for
//
// Dial once; the connection is made when it is first needed and made anew when it breaks.
//
//	config, err := client.LoadConfig("node.police.example:7443", "XA", client.Files{
//		Certificate: "system.pem", Key: "system.key", Authorities: "authorities.pem",
//	})
//	c, err := client.Dial(config)
//	defer c.Close()
//
//	pusher := c.Push(ctx, client.PushOptions{}, func(tag any, v *ententev1.Verdict) {
//		// called once for each item, in the order of Send
//	})
//	err = pusher.Send(&ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: record}}, "line 1")
//	err = pusher.Close() // all verdicts are in
//
//	for response, err := range c.Follow(ctx, request) {
//		// process response.Items, then keep response.Cursor
//	}
//
// Long calls (Push, Follow, Watch) survive broken connections and limits by themselves. Short calls (Get, Release, View …) are
// tried once: all of them may be repeated without harm, and the caller knows best for how long that makes sense; [Client.Retry]
// repeats one with the same waits. [IsPermanent] tells the errors that no repeating mends.
//
// The examples of this package are one for each kind of user: nationalSystem, projectTeam, analyst,
// libraryUser, operator and auditor (files example_*_test.go). They are run and checked against real nodes. Those of
// example_control_test.go (controlledRelease, secondPerson, recordsOffice, permission, export, auditTrail) show the calls by
// which a member controls what leaves and what was done. For other languages, docs/examples/node has a complete client from
// the .proto files alone.
//
// Lists come as iterators that ask for page after page; where a call fails, the error is the last value. A list whose end matters
// (an export, a trail, a comparison of trails) ends with an error where its end is missing, so that a part is never taken for
// the whole.
//
// # The invariant
//
// What is reported as done is done, once. Push gives each item exactly one verdict, in order, and sends an item again
// only while it has none; Follow goes on from the last response that it handed over, so nothing is skipped. A permanent
// refusal is never retried: a refused certificate is [ErrRefused], although gRPC reports it as if the network were down.
//
// # What it does not do
//
// It keeps no cursor, no queue and no copy of anything on disk: what has no verdict when the process ends must be pushed
// again, which is harmless. It checks no record (the node does), decides nothing about who may see what, and speaks to
// no other member's node.
package client
