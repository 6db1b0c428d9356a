package format

import (
	"fmt"
	"slices"

	ententev1 "entente.example/entente/proto/entente/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func versionField() protoreflect.FieldDescriptor {
	return (*ententev1.Envelope)(nil).ProtoReflect().Descriptor().Fields().ByName("version")
}

// name is the column of a source for messages; empty for a constant.
func (s *source) name() string {
	if s.column == nil {
		return ""
	}
	return s.column.name
}

// record makes the items of a row that is a record: its own, those derived from it, and withdrawals of those that
// earlier versions derived and this one does not.
func (r *Reader) record(row *Row, rule *rule, data *rowData, version uint64) error {
	var audiences []*ententev1.Audience
	var err error
	if rule.release != nil {
		audiences, err = rule.release.audiences(data)
	}
	if err != nil {
		return err
	}
	push := func(record *ententev1.Record, derived bool) {
		row.add(&ententev1.PushItem{
			Content:          &ententev1.PushItem_Record{Record: record},
			Audiences:        audiences,
			ReplaceAudiences: rule.release != nil,
		}, derived)
	}
	own, _, err := rule.record.build(data, data.reference, r.member, version)
	if err != nil {
		return err
	}
	push(own, false)
	past := r.known[data.reference]
	if len(rule.derived) == 0 && past == nil {
		return nil
	}
	if past != nil && version < past.version {
		return nil // history: what counts was derived from a later version
	}
	now := &lineage{version: version}
	for _, d := range rule.derived {
		record, made, err := d.build(data, r.member, version)
		if err != nil {
			return fmt.Errorf("derived record %s: %w", d.suffix, err)
		}
		if made {
			push(record, true)
			now.live = append(now.live, d)
		}
	}
	if past != nil {
		row.takeBack(past.without(now.live), data.reference, version, ententev1.WithdrawalReason_WITHDRAWAL_REASON_SUPERSEDED)
	}
	r.known[data.reference] = now
	return nil
}

// withdraw makes the items of a row that deletes: the withdrawal of the record, and of what was derived from it.
func (r *Reader) withdraw(row *Row, rule *rule, data *rowData, version uint64) error {
	w := &ententev1.PushWithdrawal{}
	if _, err := rule.withdrawal.fill(w.ProtoReflect(), data, nil); err != nil {
		return err
	}
	if w.GetReason() == ententev1.WithdrawalReason_WITHDRAWAL_REASON_UNSPECIFIED {
		return fmt.Errorf("the withdrawal has no reason")
	}
	w.ProviderReference, w.Version = data.reference, version
	row.add(&ententev1.PushItem{Content: &ententev1.PushItem_Withdrawal{Withdrawal: w}}, false)
	past := r.known[data.reference]
	if past == nil {
		r.known[data.reference] = &lineage{version: version}
		return nil
	}
	if version != 0 && version < past.version {
		return nil // refused by the node: what counts is a later version
	}
	row.takeBack(past.live, data.reference, version, w.GetReason())
	past.version, past.live = max(past.version, version), nil
	return nil
}

func (row *Row) add(item *ententev1.PushItem, derived bool) {
	row.Items = append(row.Items, item)
	row.Derived = append(row.Derived, derived)
}

// takeBack adds withdrawals of derived records.
func (row *Row) takeBack(gone []*derivation, reference string, version uint64, reason ententev1.WithdrawalReason) {
	for _, d := range gone {
		row.add(&ententev1.PushItem{Content: &ententev1.PushItem_Withdrawal{Withdrawal: &ententev1.PushWithdrawal{
			ProviderReference: reference + d.suffix, Version: version, Reason: reason,
		}}}, true)
	}
}

// without is what was derived before and is not now, by suffix.
func (l *lineage) without(now []*derivation) []*derivation {
	var gone []*derivation
	for _, d := range l.live {
		if !slices.ContainsFunc(now, func(n *derivation) bool { return n.suffix == d.suffix }) {
			gone = append(gone, d)
		}
	}
	return gone
}

// build makes a record of a row; body is its content, for looking at.
func (s *recordShape) build(data *rowData, reference, member string, version uint64) (*ententev1.Record, protoreflect.Message, error) {
	record := &ententev1.Record{Envelope: &ententev1.Envelope{}, Body: &ententev1.Body{}}
	body := record.GetBody().ProtoReflect().Mutable(s.body).Message()
	if _, err := s.content.fill(body, data, nil); err != nil {
		return nil, nil, err
	}
	if _, err := s.envelope.fill(record.GetEnvelope().ProtoReflect(), data, nil); err != nil {
		return nil, nil, err
	}
	if _, err := s.crimes.fill(record.ProtoReflect(), data, nil); err != nil {
		return nil, nil, err
	}
	e := record.GetEnvelope()
	e.ProviderReference, e.ProviderMember, e.Version = reference, member, version
	return record, body, nil
}

// build makes a derived record, if the row has what it needs.
func (d *derivation) build(data *rowData, member string, version uint64) (*ententev1.Record, bool, error) {
	record, body, err := d.record.build(data, data.reference+d.suffix, member, version)
	if err != nil {
		return nil, false, err
	}
	for _, fd := range d.needs {
		if !body.Has(fd) {
			return nil, false, nil
		}
	}
	return record, true, nil
}
