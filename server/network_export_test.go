package server_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server"
	"entente.example/entente/server/ledger"
	"entente.example/entente/server/network"
	"entente.example/entente/server/policy"
)

// The coordinator exports for its own officers: one own record, which it made from XA's.

func withCode(it *ententev1.PushItem, code ententev1.HandlingCode) *ententev1.PushItem {
	it.GetRecord().Envelope.Handling = &ententev1.HandlingConditions{Codes: []ententev1.HandlingCode{code}}
	return it
}

// seenAs is a record in the merged view, under H0 whatever it is really under.
func seenAs(t *testing.T, n ledger.Name) network.Item {
	t.Helper()
	item := released(t, 1, "COORD", "XB")
	record := &ententev1.ReleasedRecord{}
	err := proto.Unmarshal(item.Released, record)
	if err != nil {
		t.Fatal(err)
	}
	record.RecordId, record.Envelope.ProviderMember = n.Record[:], string(n.Owner)
	item.Released, err = proto.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	item.Owner, item.Record, item.Readers, item.Label = n.Owner, n.Record, append(item.Readers, n.Owner), policy.LabelOf(item.Released)
	return item
}

func TestAnExportOfAnOwnRecordObeysTheOwnersOfWhatItWasMadeFrom(t *testing.T) {
	const h0, h2 = ententev1.HandlingCode_HANDLING_CODE_H0, ententev1.HandlingCode_HANDLING_CODE_H2
	plain := func(*node) {}
	permit := func(xa *node) {
		_, err := xa.ledger.Permit(t.Context(), "Police", "p1", ledger.Permit{Holder: "COORD", Export: true, Purpose: ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION, Until: time.Now().Add(time.Hour)})
		xa.w.must(err)
	}
	tests := map[string]struct {
		code   ententev1.HandlingCode
		at     string // the record in the view; XA's own is p1
		and    func(xa *node)
		exists bool // XA's record has come
		goes   bool
	}{
		"made from nothing of others":                {h2, "own", plain, true, true},
		"made from H0":                               {h0, "d1", plain, true, true},
		"made from H2":                               {h2, "d1", plain, true, false},
		"made from H2, by way of another own one":    {h2, "d2", plain, true, false},
		"made from H2 whose owner permits exports":   {h2, "d2", permit, true, true},
		"made from what is not held":                 {h0, "d1", plain, false, false},
		"made from an own one that nobody knows":     {h0, "d3", plain, true, false},
		"XA's own, of which the view says it is H0":  {h2, "p1", plain, true, false},
		"XA's own, which is H0":                      {h0, "p1", plain, true, true},
		"XA's own, under H2 but permitted to export": {h2, "p1", permit, true, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			xa, view := w.start("XA"), network.New("COORD", alone{})
			coord := w.start("COORD", func(c *server.Config) { c.View = view })
			pushAll(t, xa.system("registry"), withCode(person("p1", toMembers("COORD")), test.code))
			id := xa.ledger.RecordID("Police", "p1")
			if test.code == h2 {
				_, err := xa.ledger.Decide(t.Context(), ledger.Decision{Records: []ledger.RecordID{id}, Versions: []uint64{1}, States: []uint64{waitingState(xa.ledger, id)}, Approve: true, Officer: "ann"})
				w.must(err)
			}
			test.and(xa)
			if test.exists {
				replicate(t, w, xa, coord)
			}
			at := ledger.Name{Owner: "XA", Record: id}
			made := func(reference string, source *ententev1.RecordRef) *ententev1.PushItem {
				it := withCode(person(reference), h2)
				if source != nil {
					it.GetRecord().Envelope.SourceRefs = []*ententev1.RecordRef{source}
				}
				return it
			}
			own := func(reference string) *ententev1.RecordRef {
				return &ententev1.RecordRef{Target: &ententev1.RecordRef_ProviderReference{ProviderReference: reference}}
			}
			pushAll(t, coord.system("registry"), made("own", nil), made("d2", own("d1")), made("d3", own("nowhere")),
				made("d1", &ententev1.RecordRef{ProviderMember: "XA", Target: &ententev1.RecordRef_RecordId{RecordId: at.Record[:]}}))
			if test.at != "p1" {
				at = ledger.Name{Owner: "COORD", Record: coord.ledger.RecordID("Police", test.at)}
			}
			view.Add(seenAs(t, at))
			rows, left := exportedRows(t, coord)
			if (rows == 1) != test.goes || rows+left != 1 {
				t.Errorf("%d rows went, %d were left out", rows, left)
			}
		})
	}
}

// exportedRows exports the whole view and says how many rows went, and how many were left out for want of a permission.
func exportedRows(t *testing.T, n *node) (rows, left uint64) {
	t.Helper()
	call, err := ententev1.NewNetworkServiceClient(n.officer("ann")).Export(patient(t), &ententev1.ExportRequest{Consultation: askingAs("ann"), Recipient: "court"})
	n.w.must(err)
	for {
		message, err := call.Recv()
		n.w.must(err)
		if summary := message.GetSummary(); summary != nil {
			return uint64(summary.GetRows()), uint64(summary.GetWithoutPermission())
		}
	}
}
