package cli

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

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
	known := value.Descriptor().Values().ByNumber(value.Number())
	if known == nil {
		return fmt.Sprintf("code-%d", value.Number())
	}
	return display(strings.TrimPrefix(string(known.Name()), enumPrefix(value.Descriptor())))
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
