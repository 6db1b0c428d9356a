package cli

import (
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// mostDescribed bounds the short content of a record.
const mostDescribed = 100

// kindOf is what a body is, empty for one that this program does not know.
func kindOf(body *ententev1.Body) string {
	field := bodyField(body)
	if field == nil {
		return ""
	}
	return display(string(field.Name()))
}

func bodyField(body *ententev1.Body) protoreflect.FieldDescriptor {
	if body == nil {
		return nil
	}
	message := body.ProtoReflect()
	return message.WhichOneof(message.Descriptor().Oneofs().ByName("kind"))
}

// describe is the content of a record in a few words.
func describe(body *ententev1.Body) string {
	var text string
	switch kind := body.GetKind().(type) {
	case *ententev1.Body_Person:
		text = describePerson(kind.Person)
	case *ententev1.Body_Association:
		a := kind.Association
		text = refText(a.GetFrom()) + " " + short(a.GetKind()) + " " + refText(a.GetTo())
	case *ententev1.Body_Role:
		text = describeRole(kind.Role)
	case *ententev1.Body_Decision:
		text = fmt.Sprintf("%s, %d records", short(kind.Decision.GetVerdict()), len(kind.Decision.GetRecords()))
	case *ententev1.Body_Lesson:
		text = kind.Lesson.GetContext().GetTitle()
	case *ententev1.Body_GoodPractice:
		text = kind.GoodPractice.GetContext().GetTitle()
	default:
		text = describeFields(body)
	}
	return clip(clean(text))
}

func describePerson(p *ententev1.Person) string {
	var parts []string
	for _, name := range p.GetNames() {
		parts = append(parts, personName(name))
	}
	for _, date := range p.GetDatesOfBirth() {
		parts = append(parts, "born "+dateText(date))
	}
	if len(p.GetNationalities()) > 0 {
		parts = append(parts, strings.Join(p.GetNationalities(), "/"))
	}
	return strings.Join(parts, ", ")
}

func personName(n *ententev1.PersonName) string {
	var parts []string
	for _, part := range []string{n.GetGiven(), n.GetPatronymic(), n.GetFamily()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return n.GetFullOriginal()
	}
	return strings.Join(parts, " ")
}

func describeRole(r *ententev1.Role) string {
	var roles []string
	for _, role := range []string{short(r.GetFunctionalRole()), short(r.GetPositionalRole())} {
		if role != "" {
			roles = append(roles, role)
		}
	}
	text := refText(r.GetPerson()) + " " + strings.Join(roles, "/")
	if r.GetGroup() != nil {
		text += " in " + refText(r.GetGroup())
	}
	return text
}

// describeFields takes the first texts of a body, in the order of the contract: names and identifiers stand first there.
func describeFields(body *ententev1.Body) string {
	field := bodyField(body)
	if field == nil {
		return ""
	}
	return strings.Join(firstTexts(body.ProtoReflect().Get(field).Message(), 3), ", ")
}

func firstTexts(m protoreflect.Message, most int) []string {
	var texts []string
	fields := m.Descriptor().Fields()
	for i := 0; i < fields.Len() && len(texts) < most; i++ {
		field := fields.Get(i)
		if !m.Has(field) || field.IsMap() {
			continue
		}
		value := m.Get(field)
		if field.IsList() {
			value = value.List().Get(0)
		}
		switch field.Kind() {
		case protoreflect.StringKind:
			texts = append(texts, value.String())
		case protoreflect.MessageKind:
			texts = append(texts, firstTexts(value.Message(), most-len(texts))...)
		}
	}
	return texts
}

// clip cuts a text that would break a line.
func clip(text string) string {
	letters := []rune(text)
	if len(letters) <= mostDescribed {
		return text
	}
	return string(letters[:mostDescribed-1]) + "…"
}

func refText(ref *ententev1.RecordRef) string {
	if len(ref.GetRecordId()) > 0 {
		return hex.EncodeToString(ref.GetRecordId())
	}
	return ref.GetProviderReference()
}

// dateText writes as much of a date as is known.
func dateText(d *ententev1.PartialDate) string {
	text := partialText(d.GetYear(), d.GetMonth(), d.GetDay())
	switch d.GetPrecision() {
	case ententev1.DatePrecision_DATE_PRECISION_APPROXIMATE:
		return "about " + text
	case ententev1.DatePrecision_DATE_PRECISION_RANGE:
		return text + " to " + partialText(d.GetUntilYear(), d.GetUntilMonth(), d.GetUntilDay())
	default:
		return text
	}
}

func partialText(year, month, day uint32) string {
	switch {
	case month == 0:
		return fmt.Sprintf("%04d", year)
	case day == 0:
		return fmt.Sprintf("%04d-%02d", year, month)
	default:
		return fmt.Sprintf("%04d-%02d-%02d", year, month, day)
	}
}

func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format("2006-01-02 15:04:05Z")
}

// audienceText writes an audience as parseAudience reads it, and in brackets the form in which it gets a record.
func audienceText(a *ententev1.Audience) string {
	var form []string
	if fields := a.GetTreatment().GetLeaveOut(); len(fields) > 0 {
		form = append(form, "without "+strings.Join(fields, ", "))
	}
	if fields := a.GetTreatment().GetCoarsen(); len(fields) > 0 {
		form = append(form, "rough "+strings.Join(fields, ", "))
	}
	if len(form) == 0 {
		return readersText(a)
	}
	return readersText(a) + " (" + strings.Join(form, "; ") + ")"
}

func readersText(a *ententev1.Audience) string {
	switch readers := a.GetReaders().(type) {
	case *ententev1.Audience_AllMembers:
		if readers.AllMembers.GetIncludeFuture() {
			return "all-future"
		}
		return "all"
	case *ententev1.Audience_Project:
		text := "project:" + readers.Project.GetProjectId()
		for _, without := range readers.Project.GetWithout() {
			text += ",-" + without
		}
		return text
	case *ententev1.Audience_Members:
		return strings.Join(readers.Members.GetMembers(), ",")
	default:
		return "unknown"
	}
}

func audiencesText(audiences []*ententev1.Audience) string {
	var texts []string
	for _, a := range audiences {
		texts = append(texts, audienceText(a))
	}
	return strings.Join(texts, " ")
}

func handlingText(h *ententev1.HandlingConditions) string {
	var codes []string
	for _, code := range h.GetCodes() {
		codes = append(codes, strings.ToUpper(short(code)))
	}
	return strings.Join(codes, "+")
}

func gradeText(e *ententev1.Evaluation) string {
	if e == nil {
		return ""
	}
	return e.GetSourceCode() + e.GetInformationCode() + " (" + short(e.GetScheme()) + ")"
}

// violationsText lists fields and reasons; both come without values.
func violationsText(violations []*ententev1.FieldViolation) string {
	var texts []string
	for _, v := range violations {
		texts = append(texts, strings.TrimPrefix(v.GetField()+": "+v.GetReason(), ": "))
	}
	return strings.Join(texts, "; ")
}
