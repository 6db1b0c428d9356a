package policy

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// highestRank is the strictest place of a national marking among those of its level.
const highestRank = 100

// Label is all that the rules of access look at in a record. It is small and holds no personal data, so that it can be kept
// for each record and asked again and again. What was missing or not known stands in it as the strictest.
type Label struct {
	// RetainUntil is when the record must be gone, in Unix seconds; 0: not given, which counts as over.
	RetainUntil int64
	Kind        ententev1.RecordKind
	Purpose     ententev1.Purpose
	Level       ententev1.ClassificationLevel
	Rank        uint32                 // of the national marking within the level, higher is stricter
	Status      ententev1.PersonStatus // of a person; UNSPECIFIED for other kinds
	Handling    HandlingSet
	Minor       bool // a person known to be under age
	Special     bool // holds a special category of data: a biometric, or an ethnic tie
	// Unknown says that something that every record has was missing, or that this version does not know what it says. Such a
	// record is part of no answer.
	Unknown bool
}

// glimpse is what a label is made of, before the strictest is put for what is missing. Both ways to a label fill it: from
// the encoded form, and from the message.
type glimpse struct {
	purpose    ententev1.Purpose
	handling   HandlingSet
	classified bool
	level      ententev1.ClassificationLevel
	rank       uint32
	retained   bool
	seconds    int64
	nanos      int32
	kind       ententev1.RecordKind
	status     ententev1.PersonStatus
	minor      bool
	ethnic     bool // an ethnic tie, or one on a ground that is not known
	strange    bool // a tie on a ground that is not given or not known
	broken     bool // the encoded form could not be read
}

func (g *glimpse) tie(basis ententev1.TieBasis) {
	_, known := ententev1.TieBasis_name[int32(basis)]
	strange := basis == 0 || !known
	g.strange = g.strange || strange
	g.ethnic = g.ethnic || strange || basis == ententev1.TieBasis_TIE_BASIS_ETHNIC
}

// strictest is the label of something about which nothing is known.
func strictest() Label {
	return Label{
		Handling: handlingStrictest, Level: ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL, Rank: highestRank,
		Status: ententev1.PersonStatus_PERSON_STATUS_INFORMANT, Minor: true, Special: true, Unknown: true,
	}
}

// label puts the strictest for whatever is missing or not known.
func (g glimpse) label() Label {
	_, kindKnown := ententev1.RecordKind_name[int32(g.kind)]
	if g.broken || g.kind == 0 || !kindKnown {
		return strictest()
	}
	l := Label{Kind: g.kind, Handling: g.handling.sound(), Special: g.ethnic || g.kind == ententev1.RecordKind_RECORD_KIND_BIOMETRIC}
	l.Unknown = g.strange || l.Handling.Unknown()
	l.takePurpose(g)
	l.takeClassification(g)
	l.takeRetention(g)
	if g.kind == ententev1.RecordKind_RECORD_KIND_PERSON {
		l.takeStatus(g)
	}
	return l
}

func (l *Label) takePurpose(g glimpse) {
	_, known := ententev1.Purpose_name[int32(g.purpose)]
	if g.purpose == 0 || !known {
		l.Unknown = true
		return
	}
	l.Purpose = g.purpose
}

// takeClassification reads no marking, and a marking without a level, as the highest: the contract says so. Only a level
// of another version is unknown.
func (l *Label) takeClassification(g glimpse) {
	l.Level, l.Rank = ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL, highestRank
	if !g.classified || g.level == 0 {
		return
	}
	_, known := ententev1.ClassificationLevel_name[int32(g.level)]
	if !known {
		l.Unknown = true
		return
	}
	l.Level, l.Rank = g.level, g.rank
}

func (l *Label) takeRetention(g glimpse) {
	until := &timestamppb.Timestamp{Seconds: g.seconds, Nanos: g.nanos}
	if !g.retained || !until.IsValid() {
		l.Unknown = true
		return
	}
	l.RetainUntil = g.seconds
}

func (l *Label) takeStatus(g glimpse) {
	l.Minor = g.minor
	_, known := ententev1.PersonStatus_name[int32(g.status)]
	if g.status == 0 || !known {
		l.Status, l.Unknown = ententev1.PersonStatus_PERSON_STATUS_INFORMANT, true
		return
	}
	l.Status = g.status
}

// conditions is what the two forms of an envelope have in common for a label.
type conditions interface {
	GetPurpose() ententev1.Purpose
	GetHandling() *ententev1.HandlingConditions
	GetClassification() *ententev1.Classification
	GetRetainUntil() *timestamppb.Timestamp
}

// LabelOfReleased is the label of a released record that is at hand decoded.
func LabelOfReleased(r *ententev1.ReleasedRecord) Label {
	return labelOf(r.GetEnvelope(), r.GetBody())
}

// LabelOfRecord is the label of an own record: the same as that of the form in which it would leave whole.
func LabelOfRecord(r *ententev1.Record) Label {
	return labelOf(r.GetEnvelope(), r.GetBody())
}

func labelOf(e conditions, body *ententev1.Body) Label {
	g := glimpse{
		purpose: e.GetPurpose(), handling: HandlingOf(e.GetHandling()),
		classified: e.GetClassification() != nil, level: e.GetClassification().GetLevel(), rank: e.GetClassification().GetRank(),
		retained: e.GetRetainUntil() != nil, seconds: e.GetRetainUntil().GetSeconds(), nanos: e.GetRetainUntil().GetNanos(),
		kind: kindOf(body), status: body.GetPerson().GetStatus(), minor: body.GetPerson().GetMinor(),
	}
	for _, tie := range body.GetAssociation().GetTies() {
		g.tie(tie.GetBasis())
	}
	for _, basis := range body.GetCriminalGroup().GetTieBases() {
		g.tie(basis)
	}
	return g.label()
}

// kindOf is the kind of a body: the number of the field that is set.
func kindOf(body *ententev1.Body) ententev1.RecordKind {
	m := body.ProtoReflect()
	field := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	if field == nil {
		return ententev1.RecordKind_RECORD_KIND_UNSPECIFIED
	}
	return ententev1.RecordKind(field.Number())
}

// stricter says whether one protective marking is above another: by level, then by rank. A level that is not given or not
// known is the highest.
func stricter(level ententev1.ClassificationLevel, rank uint32, than ententev1.ClassificationLevel, thanRank uint32) bool {
	is, other := levelOf(level), levelOf(than)
	return is > other || is == other && rank > thanRank
}

// levelOf reads a level that is not given or not known as the highest.
func levelOf(level ententev1.ClassificationLevel) ententev1.ClassificationLevel {
	if level < ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_FOR_OFFICIAL_USE_ONLY {
		return ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL
	}
	return min(level, ententev1.ClassificationLevel_CLASSIFICATION_LEVEL_CONFIDENTIAL)
}
