package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// previewRelease shows what a release would do, record by record as it comes.
func (s *session) previewRelease(ctx context.Context, release *ententev1.ReleaseRequest) error {
	why, err := s.consultation()
	if err != nil {
		return err
	}
	request := &ententev1.PreviewReleaseRequest{
		Consultation: why, Selection: release.GetSelection(), Audiences: release.GetAudiences(), Replace: release.GetReplace(),
	}
	count := 0
	for preview, err := range s.client.PreviewRelease(ctx, request) {
		if err != nil {
			return err
		}
		count++
		if s.out.json {
			err = s.out.lineWithForms(preview, preview.GetForms())
		} else {
			err = s.printPreview(ctx, why, preview)
		}
		if err != nil {
			return err
		}
	}
	if s.out.json {
		return nil
	}
	return s.out.printf("%d records; nothing was released\n", count)
}

func (s *session) printPreview(ctx context.Context, why *ententev1.Consultation, preview *ententev1.PreviewReleaseResponse) error {
	err := s.out.printf("%s  %x\n", clean(preview.GetProviderReference()), preview.GetRecordId())
	if err != nil {
		return err
	}
	var rows [][]string
	for _, v := range preview.GetViolations() {
		rows = append(rows, []string{"  stays at home", violationsText([]*ententev1.FieldViolation{v})})
	}
	for _, reason := range preview.GetApprovalReasons() {
		rows = append(rows, []string{"  needs a second person", reason})
	}
	if preview.GetWaiting() {
		rows = append(rows, []string{"  waits", "for a record that it names, or for its readers to confirm their streams"})
	}
	if len(preview.GetLosing()) > 0 {
		rows = append(rows, []string{"  holds it no longer", strings.Join(preview.GetLosing(), ", ")})
	}
	forms, err := s.formRows(ctx, why, preview)
	if err != nil {
		return err
	}
	return firstOf(s.out.table(nil, append(rows, forms...)), s.out.printf("\n"))
}

// formRows say for each form who gets it, and what it lacks of the whole record.
func (s *session) formRows(ctx context.Context, why *ententev1.Consultation, preview *ententev1.PreviewReleaseResponse) ([][]string, error) {
	if len(preview.GetForms()) == 0 {
		return nil, nil
	}
	held, err := s.client.Get(ctx, &ententev1.GetRequest{Consultation: why, RecordId: preview.GetRecordId()})
	if err != nil {
		return nil, fmt.Errorf("the whole of record %x: %w", preview.GetRecordId(), err)
	}
	var rows [][]string
	for _, same := range sameForms(preview.GetForms()) {
		form, err := decodeForm(same[0])
		if err != nil {
			return nil, err
		}
		lacks := compareForm(held.GetRecord(), form)
		rows = append(rows, []string{"  " + recipientsText(same), lacks.text()})
		for _, change := range lacks.changed {
			rows = append(rows, []string{"", change})
		}
	}
	return rows, nil
}

// sameForms puts forms together that are the same for several members.
func sameForms(forms []*ententev1.RecipientForm) [][]*ententev1.RecipientForm {
	var groups [][]*ententev1.RecipientForm
	for _, form := range forms {
		at := slices.IndexFunc(groups, func(group []*ententev1.RecipientForm) bool {
			first := group[0]
			return first.GetKind() == form.GetKind() && first.GetProjectId() == form.GetProjectId() && first.GetStanding() == form.GetStanding() &&
				bytes.Equal(first.GetReleasedRecord(), form.GetReleasedRecord())
		})
		if at < 0 {
			groups = append(groups, []*ententev1.RecipientForm{form})
			continue
		}
		groups[at] = append(groups[at], form)
	}
	return groups
}

// recipientsText names those who get the same form, and how.
func recipientsText(same []*ententev1.RecipientForm) string {
	var members []string
	for _, form := range same {
		members = append(members, form.GetMember())
	}
	how := short(same[0].GetKind())
	if same[0].GetProjectId() != "" {
		how += " " + same[0].GetProjectId()
	}
	if same[0].GetStanding() {
		how += ", stands already"
	}
	return strings.Join(members, ", ") + " (" + how + ")"
}

func decodeForm(form *ententev1.RecipientForm) (*ententev1.ReleasedRecord, error) {
	record := &ententev1.ReleasedRecord{}
	err := proto.Unmarshal(form.GetReleasedRecord(), record)
	if err != nil { // the library's text may quote content
		return nil, fmt.Errorf("the form for %s cannot be read", clean(form.GetMember()))
	}
	return record, nil
}

// lineWithForms writes a message as one line of the contract's JSON, with the released records of its forms decoded.
func (o output) lineWithForms(m proto.Message, forms []*ententev1.RecipientForm) error {
	fields, err := jsonFields(m)
	if err != nil {
		return err
	}
	decoded := []map[string]json.RawMessage{}
	for _, form := range forms {
		record, err := decodeForm(form)
		if err != nil {
			return err
		}
		one, err := jsonFields(form)
		if err != nil {
			return err
		}
		one["released_record"], err = protoJSON(record)
		if err != nil {
			return err
		}
		decoded = append(decoded, one)
	}
	fields["forms"], err = json.Marshal(decoded)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return o.value(fields)
}

func jsonFields(m proto.Message) (map[string]json.RawMessage, error) {
	text, err := protoJSON(m)
	if err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	err = json.Unmarshal(text, &fields)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return fields, nil
}
