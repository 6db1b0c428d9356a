package cli

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/proto/member"
)

// recordIDLength is that of ids of records, entities and associations.
const recordIDLength = 16

// enumeration is a code list of the contract.
type enumeration interface {
	~int32
	protoreflect.Enum
}

// parseEnum reads a code by its short name (criminal-investigation) or by that of the contract
// (PURPOSE_CRIMINAL_INVESTIGATION). The zero, which means "not given", is refused.
func parseEnum[E enumeration](what, text string) (E, error) {
	var zero E
	values := zero.Descriptor().Values()
	wanted := strings.ToUpper(strings.ReplaceAll(text, "-", "_"))
	var names []string
	for i := range values.Len() {
		value := values.Get(i)
		short := strings.TrimPrefix(string(value.Name()), enumPrefix(zero.Descriptor()))
		if value.Number() == 0 {
			continue
		}
		if wanted == short || wanted == string(value.Name()) {
			return E(value.Number()), nil
		}
		names = append(names, display(short))
	}
	return zero, UsageErrorf("%s %q is not known; give one of: %s", what, text, strings.Join(names, ", "))
}

func parseEnums[E enumeration](what string, texts []string) ([]E, error) {
	var parsed []E
	for _, text := range texts {
		one, err := parseEnum[E](what, text)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, one)
	}
	return parsed, nil
}

// enumPrefix is what all names of a list begin with: that of its zero without UNSPECIFIED.
func enumPrefix(list protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(list.Values().ByNumber(0).Name()), "UNSPECIFIED")
}

func display(short string) string { return strings.ToLower(strings.ReplaceAll(short, "_", "-")) }

// short is the short name of a code, its number if this program does not know it, empty for "not given".
func short(value protoreflect.Enum) string {
	if value.Number() == 0 {
		return ""
	}
	return codeText(value.Descriptor(), value.Number())
}

// audienceHelp is the notation that parseAudience reads.
const audienceHelp = "all | all-future | project:ID[,-MEMBER…] | MEMBER[,MEMBER…]"

// parseAudience reads one --to. mergeFor goes with members by name.
func parseAudience(text string, mergeFor []string) (*ententev1.Audience, error) {
	switch text {
	case "":
		return nil, UsageErrorf("--to is empty; give %s", audienceHelp)
	case "all", "all-future":
		all := &ententev1.AllMembersAudience{IncludeFuture: text == "all-future"}
		return &ententev1.Audience{Readers: &ententev1.Audience_AllMembers{AllMembers: all}}, nil
	}
	project, found := strings.CutPrefix(text, "project:")
	if found {
		return parseProjectAudience(project)
	}
	members, err := parseMembers(strings.Split(text, ","))
	if err != nil {
		return nil, UsageErrorf("--to %q: %w; give %s", text, err, audienceHelp)
	}
	named := &ententev1.NamedMembersAudience{Members: members, MergeFor: mergeFor}
	return &ententev1.Audience{Readers: &ententev1.Audience_Members{Members: named}}, nil
}

func parseProjectAudience(text string) (*ententev1.Audience, error) {
	parts := strings.Split(text, ",")
	if parts[0] == "" {
		return nil, UsageErrorf("--to project: without the project's id; give project:ID[,-MEMBER…]")
	}
	project := &ententev1.ProjectAudience{ProjectId: parts[0]}
	for _, part := range parts[1:] {
		name, found := strings.CutPrefix(part, "-")
		if !found {
			return nil, UsageErrorf("--to project:%s: %q must be -MEMBER, a participant that does not get the record", parts[0], part)
		}
		one, err := parseMembers([]string{name})
		if err != nil {
			return nil, UsageErrorf("--to project:%s: %w", parts[0], err)
		}
		project.Without = append(project.Without, one...)
	}
	return &ententev1.Audience{Readers: &ententev1.Audience_Project{Project: project}}, nil
}

// parseAudiences reads all --to and --merge-for of a command.
func parseAudiences(texts, mergeFor []string) ([]*ententev1.Audience, error) {
	readers, err := parseMembers(mergeFor)
	if err != nil {
		return nil, UsageErrorf("--merge-for: %w", err)
	}
	var audiences []*ententev1.Audience
	named := false
	for _, text := range texts {
		one, err := parseAudience(text, readers)
		if err != nil {
			return nil, err
		}
		named = named || one.GetMembers() != nil
		audiences = append(audiences, one)
	}
	if len(readers) > 0 && !named {
		return nil, UsageErrorf("--merge-for goes with a --to that names members, the coordinator among them")
	}
	return audiences, nil
}

func parseMembers(texts []string) ([]string, error) {
	var members []string
	for _, text := range texts {
		id, err := member.ParseID(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		members = append(members, string(id))
	}
	return members, nil
}

// parseID reads an id as text shows it (hexadecimal) or as JSON does (base64).
func parseID(what, text string) ([]byte, error) {
	id, err := hex.DecodeString(text)
	if err == nil && len(id) == recordIDLength {
		return id, nil
	}
	id, err = base64.StdEncoding.DecodeString(text)
	if err == nil && len(id) == recordIDLength {
		return id, nil
	}
	return nil, UsageErrorf("%s must be an id of 16 bytes: 32 hexadecimal digits, or base64 as in JSON output", what)
}

// untilHelp says how a time is written.
const untilHelp = "a day (2027-01-31: its beginning, UTC) or a time (2027-01-31T12:00:00Z)"

// parseTime reads a day or a time.
func parseTime(what, text string) (*timestamppb.Timestamp, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		at, err := time.Parse(form, text)
		if err == nil {
			return timestamppb.New(at), nil
		}
	}
	return nil, UsageErrorf("%s: give %s", what, untilHelp)
}

// parseOptionalTime reads a day or a time that may be left out.
func parseOptionalTime(what, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	return parseTime(what, text)
}

// parseSpan reads a span of days (180d), or one that Go reads (36h).
func parseSpan(what, text string) (*durationpb.Duration, error) {
	days, isDays := strings.CutSuffix(text, "d")
	count, err := strconv.ParseUint(days, 10, 16)
	if isDays && err == nil {
		return durationpb.New(time.Duration(count) * 24 * time.Hour), nil
	}
	span, err := time.ParseDuration(text)
	if err != nil || span < 0 {
		return nil, UsageErrorf("%s: give days (180d) or hours (36h)", what)
	}
	return durationpb.New(span), nil
}

// parseEntry reads an entry as text shows it: STREAM/SEQUENCE.
func parseEntry(text string) (*ententev1.EntryRef, error) {
	cut := strings.LastIndexByte(text, '/')
	if cut < 0 {
		return nil, UsageErrorf("%q: give STREAM/SEQUENCE, as lists show it", text)
	}
	sequence, err := strconv.ParseUint(text[cut+1:], 10, 64)
	if err != nil || sequence == 0 {
		return nil, UsageErrorf("%q: the sequence after the last \"/\" is a number from 1", text)
	}
	stream, err := parseID("STREAM", text[:cut])
	if err != nil {
		return nil, err
	}
	return &ententev1.EntryRef{StreamId: stream, Sequence: sequence}, nil
}

// queryHelp is the notation that parseQuery reads.
const queryHelp = "kind=person,crime-area=drugs,purpose=…,tie=…,recorded-from=2026-01-01,recorded-before=…,released=false"

// parseQuery reads conditions with commas between them. A name that comes again adds a value.
func parseQuery(text string) (*ententev1.RecordQuery, error) {
	query := &ententev1.RecordQuery{}
	for _, condition := range strings.Split(text, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(condition), "=")
		if !found || value == "" {
			return nil, UsageErrorf("--query: %q is no condition; give such as %s", condition, queryHelp)
		}
		err := addCondition(query, name, value)
		if err != nil {
			return nil, err
		}
	}
	return query, nil
}

func addCondition(query *ententev1.RecordQuery, name, value string) error {
	var err error
	switch name {
	case "kind":
		err = addCode(&query.Kinds, name, value)
	case "crime-area":
		err = addCode(&query.CrimeAreas, name, value)
	case "purpose":
		err = addCode(&query.Purposes, name, value)
	case "tie":
		err = addCode(&query.TieBases, name, value)
	case "recorded-from":
		query.RecordedFrom, err = parseTime("--query recorded-from", value)
	case "recorded-before":
		query.RecordedBefore, err = parseTime("--query recorded-before", value)
	case "released":
		if value != "true" && value != "false" {
			return UsageErrorf("--query released: give true or false")
		}
		released := value == "true"
		query.Released = &released
	default:
		return UsageErrorf("--query: there is no %q; give such as %s", name, queryHelp)
	}
	return err
}

func addCode[E enumeration](to *[]E, name, value string) error {
	code, err := parseEnum[E]("--query "+name, value)
	if err != nil {
		return err
	}
	*to = append(*to, code)
	return nil
}
