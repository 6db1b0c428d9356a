package client_test

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/client"
	"entente.example/entente/nodes/sandbox"
	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// A national system dials its own node once, pushes records, corrects one, puts it before another member, takes it back,
// and sees who has confirmed that.
func Example_nationalSystem() {
	federation := open()
	defer federation.close()
	ctx := federation.ctx
	files, err := federation.Issue("XA", member.KindSystem, sandbox.System)
	check(err)

	// One connection for the life of the program. It is made by the first call, and made anew when it breaks.
	config, err := client.LoadConfig(federation.Address("XA"), "XA", client.Files{
		Certificate: files.Certificate, Key: files.Key, Authorities: files.Authorities,
	})
	check(err)
	c, err := client.Dial(config)
	check(err)
	defer c.Close()

	// Send waits while two messages are without an answer. So a source that is faster than the node is held back, and
	// nothing piles up in memory. Each item gets one verdict, in the order of Send, also over a broken connection.
	pusher := c.Push(ctx, client.PushOptions{InFlight: 2, BatchItems: 2}, func(tag any, v *ententev1.Verdict) {
		fmt.Printf("%v: %v %v\n", tag, v.GetProviderReference(), v.GetOutcome())
		for _, violation := range v.GetViolations() {
			fmt.Printf("    %s %s\n", violation.GetField(), violation.GetReason())
		}
	})
	first := person("P-1", "Teodor", "Varrin")
	correction := proto.CloneOf(first) // versions are whole
	correction.Envelope.Version = 2
	correction.GetBody().GetPerson().Nationalities = []string{"XC"}
	endless := person("P-3", "Ilra", "Moskel")
	endless.Envelope.RetainUntil = nil
	for line, record := range []*ententev1.Record{first, first, correction, endless} {
		err = pusher.Send(&ententev1.PushItem{Content: &ententev1.PushItem_Record{Record: record}}, fmt.Sprintf("line %d", line+1))
		check(err)
	}
	check(pusher.Close())

	// Nothing has left the node so far. A release names who gets it.
	xb := &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: &ententev1.NamedMembersAudience{Members: []string{"XB"}}}}
	verdicts, err := c.Release(ctx, []string{"P-1"}, []*ententev1.Audience{xb}, false)
	check(err)
	fmt.Println(verdicts[0].GetOutcome(), verdicts[0].GetReleaseState())

	// Readers sign receipts: the owner sees who holds a record, and after a withdrawal who has erased it.
	state := func(want ententev1.DeliveryState) func() bool {
		return func() bool {
			held, err := c.Get(ctx, &ententev1.GetRequest{ProviderReference: "P-1", Consultation: why()})
			check(err)
			return held.GetDeliveries()[0].GetState() == want
		}
	}
	federation.until(state(ententev1.DeliveryState_DELIVERY_STATE_DELIVERED))
	fmt.Println("XB has it")
	_, err = c.Withdraw(ctx, []string{"P-1"}, ententev1.WithdrawalReason_WITHDRAWAL_REASON_RELEASED_IN_ERROR)
	check(err)
	federation.until(state(ententev1.DeliveryState_DELIVERY_STATE_APPLIED))
	fmt.Println("XB has erased it")

	// Output:
	// line 1: P-1 OUTCOME_ACCEPTED
	// line 2: P-1 OUTCOME_DUPLICATE
	// line 3: P-1 OUTCOME_ACCEPTED
	// line 4: P-3 OUTCOME_REJECTED
	//     envelope.retain_until value is required
	// OUTCOME_ACCEPTED RELEASE_STATE_RELEASED
	// XB has it
	// XB has erased it
}
