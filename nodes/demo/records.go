package demo

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// own is what a member's node says of an own record.
func (s *stage) own(at *station, reference string) (*ententev1.HeldRecord, error) {
	record, err := at.system.Get(s.ctx, &ententev1.GetRequest{Consultation: consultation(nil), ProviderReference: reference})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", reference, err)
	}
	return record, nil
}

// peek is what a member's ledger holds of an own record. It is for waits: a question to the node would stand in its audit trail
// each time, and wake the wait by that.
func (s *stage) peek(at *station, reference string) (*ententev1.HeldRecord, error) {
	return at.ledger.Record(at.ledger.RecordID(authorityOf(at.seat.ID), reference), 0)
}

// signed waits until each reader of an own record has signed for all that it was sent of it, withdrawals included.
func (s *stage) signed(at *station, reference string) (record *ententev1.HeldRecord, err error) {
	err = s.until("the receipts for "+reference, func() (bool, error) {
		record, err = s.peek(at, reference)
		if err != nil {
			return false, err
		}
		return len(record.GetDeliveries()) > 0 && !slices.ContainsFunc(record.GetDeliveries(), unsignedFor), nil
	})
	return record, err
}

// lapsed waits until an own record is erased at home by itself, and all readers have signed that it is gone.
func (s *stage) lapsed(at *station, reference string) (*ententev1.HeldRecord, error) {
	err := s.until("the end of "+reference, func() (bool, error) {
		record, err := s.peek(at, reference)
		return record.GetErased(), err
	})
	if err != nil {
		return nil, err
	}
	return s.signed(at, reference)
}

// unsignedFor says whether a reader has still to sign for what it was sent last.
func unsignedFor(d *ententev1.Delivery) bool {
	want := ententev1.DeliveryState_DELIVERY_STATE_DELIVERED
	if d.GetWithdrawn() {
		want = ententev1.DeliveryState_DELIVERY_STATE_APPLIED
	}
	return d.GetState() != want
}

// writeRecord leaves a record as a national system writes it, one JSON object a line, in the folder of a member.
func (s *stage) writeRecord(at *station, file string, record *ententev1.Record) error {
	line, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode a record of %s: %w", at.seat.ID, err)
	}
	return s.writeFiles(at.seat.ID, map[string][]byte{file: append(line, '\n')})
}
