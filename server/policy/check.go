package policy

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// maxViolations is how many violations one record is answered with: enough to mend a mapping by, bounded for a record
// that is wrong throughout.
const maxViolations = 32

// findings collects violations. Paths are relative to the record; values are never repeated.
type findings struct {
	list []*ententev1.FieldViolation
}

func (f *findings) add(field, reason string) {
	if len(f.list) < maxViolations {
		f.list = append(f.list, &ententev1.FieldViolation{Field: field, Reason: reason})
	}
}

func (f *findings) when(broken bool, field, reason string) {
	if broken {
		f.add(field, reason)
	}
}

// CheckRecord says what is wrong with a record as a national system pushes it, beyond the field rules of the contract:
// rules between fields, code tables, and what this program does not understand. A node takes only what it understands,
// because it could not decide whether the rest may leave. None: nothing is wrong.
func CheckRecord(r *ententev1.Record) []*ententev1.FieldViolation {
	f := &findings{}
	if r == nil {
		f.add("record", "is missing")
		return f.list
	}
	f.message(r.ProtoReflect())
	for _, violation := range f.list {
		if violation.GetField() == "" {
			violation.Field = "record" // something of the record itself
		}
	}
	f.envelope(r)
	f.body(r)
	return f.list
}

// message walks over everything that is set: no unknown fields, no codes outside the lists, and the rules of the small
// values that occur in many places. It costs a few microseconds a record.
func (f *findings) message(m protoreflect.Message) {
	if len(m.GetUnknown()) > 0 {
		f.add("", "holds a field that this version does not know")
	}
	f.value(m)
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch field.Kind() {
		case protoreflect.EnumKind:
			f.codes(field, v)
		case protoreflect.MessageKind:
			f.messages(field, v)
		}
		return len(f.list) < maxViolations
	})
}

func (f *findings) codes(field protoreflect.FieldDescriptor, v protoreflect.Value) {
	values := field.Enum().Values()
	if !field.IsList() {
		f.when(values.ByNumber(v.Enum()) == nil, string(field.Name()), "is a code that this version does not know")
		return
	}
	list := v.List()
	for i := range list.Len() {
		f.when(values.ByNumber(list.Get(i).Enum()) == nil, string(field.Name()), "holds a code that this version does not know")
	}
}

// messages goes into a field and writes its name before the paths of what was found there.
func (f *findings) messages(field protoreflect.FieldDescriptor, v protoreflect.Value) {
	if !field.IsList() {
		from := len(f.list)
		f.message(v.Message())
		f.prefix(from, string(field.Name()))
		return
	}
	list := v.List()
	for i := range list.Len() {
		from := len(f.list)
		f.message(list.Get(i).Message())
		if len(f.list) > from {
			f.prefix(from, indexed(string(field.Name()), i))
		}
	}
}

func (f *findings) prefix(from int, name string) {
	for _, violation := range f.list[from:] {
		if violation.Field == "" {
			violation.Field = name
			continue
		}
		violation.Field = name + "." + violation.Field
	}
}

// value holds the rules of small values, wherever they stand. Fields are named relative to the value.
func (f *findings) value(m protoreflect.Message) {
	switch v := m.Interface().(type) {
	case *ententev1.PartialDate:
		f.date(v)
	case *ententev1.Evaluation:
		f.evaluation(v)
	case *ententev1.HandlingConditions:
		f.handling(v)
	case *ententev1.RecordRef:
		f.ref(v)
	case *ententev1.MediaRef:
		f.when(len(v.GetSha256()) == 0 && len(v.GetPerceptualHash()) == 0, "sha256", "is needed where there is no perceptual hash")
	case *ententev1.CommunicationMeans:
		timeless := v.GetType() == ententev1.MeansOfCommunicationType_MEANS_OF_COMMUNICATION_TYPE_IP_ADDRESS && v.GetObservedAt() == nil
		f.when(timeless, "observed_at", "is needed with an IP address")
	case *ententev1.Tie:
		misplaced := v.GetKinship() != 0 && v.GetBasis() != ententev1.TieBasis_TIE_BASIS_KINSHIP
		f.when(misplaced, "kinship", "is given with a tie that is not kinship")
	case *ententev1.CriminalGroup:
		f.group(v)
	}
}

func (f *findings) date(d *ententev1.PartialDate) {
	switch d.GetPrecision() {
	case ententev1.DatePrecision_DATE_PRECISION_DAY:
		f.when(d.GetYear() == 0 || d.GetMonth() == 0 || d.GetDay() == 0, "precision", "DAY needs year, month and day")
		f.when(d.GetDay() > daysIn(d.GetYear(), d.GetMonth()), "day", "does not exist in that month")
	case ententev1.DatePrecision_DATE_PRECISION_MONTH:
		f.when(d.GetYear() == 0 || d.GetMonth() == 0 || d.GetDay() != 0, "precision", "MONTH needs year and month, and no day")
	case ententev1.DatePrecision_DATE_PRECISION_YEAR:
		f.when(d.GetYear() == 0 || d.GetMonth() != 0 || d.GetDay() != 0, "precision", "YEAR needs the year alone")
	case ententev1.DatePrecision_DATE_PRECISION_RANGE:
		f.when(d.GetUntilYear() == 0, "until_year", "is needed with RANGE")
		f.when(d.GetUntilYear() != 0 && d.GetUntilYear() < d.GetYear(), "until_year", "lies before the year")
	}
}

// daysIn is the number of days of a month; 31 where year or month is not known.
func daysIn(year, month uint32) uint32 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

func (f *findings) handling(h *ententev1.HandlingConditions) {
	codes := h.GetCodes()
	for i, code := range codes {
		f.when(slices.Contains(codes[:i], code), "codes", "names a code twice")
	}
	h3 := slices.Contains(codes, ententev1.HandlingCode_HANDLING_CODE_H3)
	f.when(h3 && h.GetText() == "", "text", "is required with H3")
}

func (f *findings) ref(r *ententev1.RecordRef) {
	switch r.GetTarget().(type) {
	case *ententev1.RecordRef_RecordId:
		f.when(r.GetProviderMember() == "", "provider_member", "is needed with record_id")
	case *ententev1.RecordRef_ProviderReference:
		f.when(r.GetProviderMember() != "", "provider_member", "is not given with provider_reference")
	}
}

func (f *findings) group(g *ententev1.CriminalGroup) {
	f.when(g.GetSizeMax() != 0 && g.GetSizeMax() < g.GetSizeMin(), "size_max", "is less than size_min")
	for i, rating := range g.GetCapabilities() {
		twice := slices.ContainsFunc(g.GetCapabilities()[:i], func(r *ententev1.CapabilityRating) bool {
			return r.GetDimension() == rating.GetDimension()
		})
		f.when(twice, "capabilities", "grades a dimension twice")
	}
	for i, p := range g.GetProceeds() {
		mixed := p.GetMin() != nil && p.GetMax() != nil && p.GetMin().GetCurrency() != p.GetMax().GetCurrency()
		f.when(mixed, indexed("proceeds", i)+".max.currency", "is another than that of the lower bound")
	}
}

// envelope holds the rules between fields of the envelope.
func (f *findings) envelope(r *ententev1.Record) {
	e := r.GetEnvelope()
	for i, area := range r.GetCrimeAreas() {
		f.when(slices.Contains(r.GetCrimeAreas()[:i], area), "crime_areas", "names a crime area twice")
	}
	for _, at := range []struct {
		field string
		valid bool
	}{
		{"envelope.recorded_at", e.GetRecordedAt() == nil || e.GetRecordedAt().IsValid()},
		{"envelope.collected_at", e.GetCollectedAt() == nil || e.GetCollectedAt().IsValid()},
		{"envelope.valid_from", e.GetValidFrom() == nil || e.GetValidFrom().IsValid()},
		{"envelope.valid_to", e.GetValidTo() == nil || e.GetValidTo().IsValid()},
		{"envelope.retain_until", e.GetRetainUntil() == nil || e.GetRetainUntil().IsValid()},
		{"envelope.review_due", e.GetReviewDue() == nil || e.GetReviewDue().IsValid()},
	} {
		f.when(!at.valid, at.field, "is no time")
	}
	if e.GetValidFrom() != nil && e.GetValidTo() != nil {
		f.when(!e.GetValidFrom().AsTime().Before(e.GetValidTo().AsTime()), "envelope.valid_to", "is not after valid_from")
	}
	if e.GetRecordedAt() != nil && e.GetRetainUntil() != nil {
		f.when(!e.GetRecordedAt().AsTime().Before(e.GetRetainUntil().AsTime()), "envelope.retain_until", "is not after recorded_at")
	}
	if e.GetReviewDue() != nil && e.GetRetainUntil() != nil {
		f.when(e.GetRetainUntil().AsTime().Before(e.GetReviewDue().AsTime()), "envelope.review_due", "is after retain_until")
	}
}

// body holds the rules of kinds that a field alone cannot show.
func (f *findings) body(r *ententev1.Record) {
	justified := justifies(r.GetEnvelope().GetSpecialCategory())
	switch b := r.GetBody().GetKind().(type) {
	case *ententev1.Body_Association:
		f.association(b.Association, justified)
	case *ententev1.Body_CriminalGroup:
		ethnic := slices.Contains(b.CriminalGroup.GetTieBases(), ententev1.TieBasis_TIE_BASIS_ETHNIC)
		f.when(ethnic && !justified, "envelope.special_category", "is required with an ethnic tie")
	case *ententev1.Body_Biometric:
		f.when(!justified, "envelope.special_category", "is required with a biometric")
	case *ententev1.Body_Role:
		none := b.Role.GetFunctionalRole() == 0 && b.Role.GetPositionalRole() == 0
		f.when(none, "body.role.functional_role", "or positional_role is required")
		f.when(sameRef(b.Role.GetPerson(), b.Role.GetGroup()), "body.role.group", "is the person itself")
	case *ententev1.Body_Decision:
		f.decision(b.Decision)
	case *ententev1.Body_Lesson:
		f.lesson(b.Lesson)
	}
}

func justifies(basis *ententev1.SpecialCategoryBasis) bool {
	return basis.GetStrictlyNecessary() && basis.GetJustification() != ""
}

func (f *findings) association(a *ententev1.Association, justified bool) {
	f.when(sameRef(a.GetFrom(), a.GetTo()), "body.association.to", "is the same record as from")
	for i, tie := range a.GetTies() {
		ethnic := tie.GetBasis() == ententev1.TieBasis_TIE_BASIS_ETHNIC
		f.when(ethnic && !justified && !justifies(tie.GetSpecialCategory()),
			"body.association."+indexed("ties", i)+".special_category", "is required with an ethnic tie, here or in the envelope")
	}
}

func (f *findings) decision(d *ententev1.Decision) {
	for i, ref := range d.GetRecords() {
		twice := slices.ContainsFunc(d.GetRecords()[:i], func(r *ententev1.RecordRef) bool { return sameRef(r, ref) })
		f.when(twice, "body.decision."+indexed("records", i), "names a record twice")
	}
}

// sameRef says whether two references name one record the same way. One that is not given names none.
func sameRef(a, b *ententev1.RecordRef) bool {
	if a.GetProviderReference() != "" {
		return a.GetProviderReference() == b.GetProviderReference()
	}
	return len(a.GetRecordId()) > 0 && string(a.GetRecordId()) == string(b.GetRecordId()) &&
		a.GetProviderMember() == b.GetProviderMember()
}

func (f *findings) lesson(l *ententev1.Lesson) {
	if l.GetStage() < ententev1.LessonStage_LESSON_STAGE_LESSON_IDENTIFIED {
		return
	}
	f.when(l.GetDiscussion() == "", "body.lesson.discussion", "is needed from LESSON_IDENTIFIED on")
	f.when(l.GetConclusion() == "", "body.lesson.conclusion", "is needed from LESSON_IDENTIFIED on")
	f.when(l.GetRecommendation() == "", "body.lesson.recommendation", "is needed from LESSON_IDENTIFIED on")
	f.when(len(l.GetRemedialActions()) == 0, "body.lesson.remedial_actions", "are needed from LESSON_IDENTIFIED on")
	learned := l.GetStage() >= ententev1.LessonStage_LESSON_STAGE_LESSON_LEARNED
	f.when(learned && len(l.GetValidations()) == 0, "body.lesson.validations", "are needed for LESSON_LEARNED")
}
