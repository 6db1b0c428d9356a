package policy

import (
	"strconv"
	"strings"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// scheme is the code table of one evaluation scheme: which codes it has for source, information and handling.
type scheme struct {
	source, information string // each character is one code
	handling            string // codes of a handling that is part of the grading; none: the scheme has no such part
}

// schemeOf is the table of evaluation schemes. The second result is false for a scheme that is not given or not known.
func schemeOf(s ententev1.EvaluationScheme) (scheme, bool) {
	switch s {
	case ententev1.EvaluationScheme_EVALUATION_SCHEME_4X4:
		return scheme{source: "ABCX", information: "1234"}, true
	case ententev1.EvaluationScheme_EVALUATION_SCHEME_6X6:
		return scheme{source: "ABCDEF", information: "123456"}, true
	case ententev1.EvaluationScheme_EVALUATION_SCHEME_3X5X2:
		return scheme{source: "123", information: "ABCDE", handling: "PC"}, true
	case ententev1.EvaluationScheme_EVALUATION_SCHEME_5X5X5:
		return scheme{source: "ABCDE", information: "12345", handling: "12345"}, true
	default:
		return scheme{}, false
	}
}

// isCode says whether code is one of the codes, each of which is one character.
func isCode(codes, code string) bool {
	return len(code) == 1 && strings.Contains(codes, code)
}

func (f *findings) evaluation(e *ententev1.Evaluation) {
	codes, known := schemeOf(e.GetScheme())
	if !known {
		f.add("scheme", "is missing or not known")
		return
	}
	f.when(e.GetSourceCode() != "" && !isCode(codes.source, e.GetSourceCode()), "source_code", "is no code of the scheme")
	f.when(e.GetInformationCode() != "" && !isCode(codes.information, e.GetInformationCode()), "information_code", "is no code of the scheme")
	f.when(e.GetSchemeHandlingCode() != "" && !isCode(codes.handling, e.GetSchemeHandlingCode()), "scheme_handling_code", "is no code of the scheme")
}

// CheckRelease says what keeps a record that was taken from leaving the node, whatever the audience: what a reader must
// be told may not be missing, nor what it takes to know what the record is about, and some things never leave. None: nothing
// keeps it. It is asked of the record as it would leave, which has passed CheckRecord.
func CheckRelease(r *ententev1.Record) []*ententev1.FieldViolation {
	f := &findings{}
	e := r.GetEnvelope()
	f.when(e.GetPurpose() == 0, "envelope.purpose", "is required on a release")
	f.when(e.GetAssertion() == 0, "envelope.assertion", "is required on a release")
	f.when(e.GetRetainUntil() == nil, "envelope.retain_until", "is required on a release")
	if e.GetEvaluation() == nil {
		f.add("envelope.evaluation", "is required on a release")
	} else {
		from := len(f.list)
		f.evaluation(e.GetEvaluation())
		f.when(e.GetEvaluation().GetSourceCode() == "", "source_code", "is required on a release")
		f.when(e.GetEvaluation().GetInformationCode() == "", "information_code", "is required on a release")
		f.prefix(from, "envelope.evaluation")
	}
	f.when(len(e.GetHandling().GetCodes()) == 0, "envelope.handling.codes", "is required on a release")
	f.identified(r.GetBody())
	switch b := r.GetBody().GetKind().(type) {
	case nil:
		f.add("body", "is required on a release")
	case *ententev1.Body_Person:
		informant := b.Person.GetStatus() == ententev1.PersonStatus_PERSON_STATUS_INFORMANT
		f.when(informant, "body.person.status", "is one that never leaves its owner")
	case *ententev1.Body_Lesson:
		f.when(!b.Lesson.GetSanitised(), "body.lesson.sanitised", "must be true before a release")
	case *ententev1.Body_GoodPractice:
		f.when(!b.GoodPractice.GetSanitised(), "body.good_practice.sanitised", "must be true before a release")
	}
	return f.list
}

// indexed writes "name[i]".
func indexed(name string, i int) string {
	return name + "[" + strconv.Itoa(i) + "]"
}
