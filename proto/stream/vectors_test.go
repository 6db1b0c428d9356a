package stream_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"entente.example/entente/proto/member"
	"entente.example/entente/proto/stream"
)

// update writes the vectors anew: go test ./proto/stream -run TestVectors -update.
var update = flag.Bool("update", false, "write proto/testdata/vectors anew instead of comparing")

// vectorsFolder is where the vectors stand, seen from this package.
const vectorsFolder = "../testdata/vectors"

// topic is one file of vectors: what it holds, and how a case is judged.
type topic struct {
	file  string
	about string
	cases func(t *testing.T) []vector
	// shared holds what many cases have in their input: a field that a case lacks is the one of shared. Nil: nothing.
	shared func(t *testing.T) any
	// judge runs one case through the real verifier, with nothing but its input. Output is what the verifier found out.
	judge func(input json.RawMessage) (output any, err error)
}

// vector is one case. Refused is the reason that a verifier must have; empty where it must accept.
type vector struct {
	name    string
	input   any
	refused string
}

// written is a case as it stands in a file.
type written struct {
	Name    string `json:"name"`
	Input   any    `json:"input"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
	Output  any    `json:"output,omitempty"`
}

func topics() []topic {
	return []topic{
		keysTopic(), identitiesTopic(), documentsTopic(),
		headersTopic(), commitmentsTopic(), treesTopic(), proofsTopic(), checkpointsTopic(),
		digestsTopic(), receiptsTopic(), pullsTopic(), grantsTopic(),
		rostersTopic(), projectsTopic(),
	}
}

// TestVectors makes every case from fixed seeds, has the verifier judge it, and holds the result against the file that
// others check their programs with.
func TestVectors(t *testing.T) {
	for _, topic := range topics() {
		t.Run(topic.file, func(t *testing.T) { checkTopic(t, topic) })
	}
}

func checkTopic(t *testing.T, topic topic) {
	var cases []written
	var shared map[string]any
	if topic.shared != nil {
		shared = asMap(t, topic.shared(t))
	}
	names := map[string]bool{}
	for _, v := range topic.cases(t) {
		if names[v.name] {
			t.Errorf("two cases are named %q", v.name)
		}
		names[v.name] = true
		w := judged(t, topic, v)
		w.Input = without(asMap(t, v.input), shared)
		cases = append(cases, w)
	}
	made := encodeJSON(t, struct {
		Topic  string         `json:"topic"`
		About  string         `json:"about"`
		Shared map[string]any `json:"shared,omitempty"`
		Cases  []written      `json:"cases"`
	}{topic.file, topic.about, shared, cases})
	file := filepath.Join(vectorsFolder, topic.file+".json")
	if *update {
		err := os.WriteFile(file, made, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	held, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(held, made) {
		t.Errorf("%s is not what this program makes: if the protocol was meant to change, run with -update and read the difference", file)
	}
}

// asMap is what a value looks like in JSON, its numbers as they are written.
func asMap(t *testing.T, v any) map[string]any {
	t.Helper()
	fields := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(encodeJSON(t, v)))
	decoder.UseNumber()
	err := decoder.Decode(&fields)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// without leaves out what is the same in shared.
func without(fields, shared map[string]any) map[string]any {
	maps.DeleteFunc(fields, func(name string, value any) bool {
		common, is := shared[name]
		return is && reflect.DeepEqual(common, value)
	})
	return fields
}

// judged runs a case through the verifier and fails where it does not say what the case demands.
func judged(t *testing.T, topic topic, v vector) written {
	t.Helper()
	output, err := topic.judge(encodeJSON(t, v.input))
	got := reasonOf(err)
	if got != v.refused {
		t.Errorf("%s: the verifier says %q (%v), the case demands %q", v.name, got, err, v.refused)
	}
	w := written{Name: v.name, Verdict: "accept", Output: output}
	if v.refused != "" {
		w.Verdict, w.Reason, w.Output = "refuse", v.refused, nil
	}
	return w
}

func encodeJSON(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err := encoder.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read gives the input of a case as its type.
func read[T any](input json.RawMessage) (T, error) {
	var in T
	decoder := json.NewDecoder(bytes.NewReader(input))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&in)
	return in, err
}

// refusal is a reason of the test's own, where the rule is one of whoever applies what was verified.
type refusal string

func (r refusal) Error() string { return string(r) }

// reasonOf is the short reason for an error of the verifiers; empty for none. What is not in the tables comes out as its
// text, and so fails the case.
func reasonOf(err error) string {
	var own refusal
	var sender *stream.SenderError
	var fork *stream.ForkError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &own):
		return string(own)
	case errors.As(err, &fork):
		return "fork"
	case errors.As(err, &sender):
		return ruleReason(sender.Rule)
	}
	for _, line := range sentinelReasons() {
		if errors.Is(err, line.err) {
			return line.reason
		}
	}
	for _, line := range textReasons() {
		if strings.Contains(err.Error(), line.text) {
			return line.reason
		}
	}
	return err.Error()
}

func ruleReason(rule stream.Rule) string {
	for reason, known := range map[string]stream.Rule{
		"other-stream": stream.RuleStream, "checkpoint": stream.RuleCheckpoint, "consistency": stream.RuleConsistency,
		"inclusion": stream.RuleInclusion, "no-checkpoint": stream.RuleOrder, "beyond-checkpoint": stream.RuleBeyond,
		"empty-batch": stream.RuleEmpty, "header": stream.RuleHeader, "withdrawal": stream.RuleWithdrawal,
		"sequence": stream.RuleSequence, "opening": stream.RuleOpening, "closed": stream.RuleClosed,
		"payload-missing": stream.RuleMissing, "commitment": stream.RuleCommitment, "payload": stream.RulePayload,
		"grant": stream.RuleGrant,
	} {
		if rule == known {
			return reason
		}
	}
	return string(rule)
}

func sentinelReasons() []struct {
	err    error
	reason string
} {
	return []struct {
		err    error
		reason string
	}{
		{stream.ErrOlder, "older"},
		{stream.ErrCheckpointForm, "form"}, {stream.ErrCheckpointKey, "key"},
		{stream.ErrCheckpointSignature, "signature"}, {stream.ErrCheckpointOrigin, "origin"},
		{member.ErrRosterOlder, "older"}, {member.ErrRosterFork, "fork"}, {member.ErrRosterExpired, "expired"},
		{member.ErrBadSignature, "signature"},
	}
}

// textReasons are the refusals that have no error value of their own. The first that matches counts.
func textReasons() []struct{ text, reason string } {
	return []struct{ text, reason string }{
		{"point of small order", "small-order"}, {"key has 32 bytes", "key-length"}, {"wrong Ed25519 public key size", "key-length"},
		{"parse SPIFFE ID", "identity"}, {"charter: lead", "lead"},
		{"_at is missing", "time"}, {"is out of range", "time"}, {"name is missing", "name"}, {"name is longer", "name"}, {"description of its group", "name"},
		{"assembler: member id", "assembler"}, {"the assembler", "assembler"}, {"names no assembler", "assembler"}, {"the reason of its end", "content"}, {"kind of member is missing", "kind"}, {"16 addresses", "address"},
		{"no certificate of an authority", "authority"}, {"the state is missing", "key-state"}, {"has no signing key", "no-current-key"},
		{"not in order of member id", "order"}, {"member id", "member-id"},
		{"it is of another type", "type"}, {"body is no valid message", "body"},
		{"parse header: format", "format"}, {"commitment and entry type", "commitment"}, {"entry type", "type"}, {"sequence 0", "sequence"},
		{"withdrawal without reason", "reason"}, {"withdrawal without target", "target"}, {"withdrawal of entry", "target"},
		{"target or reason without", "target"}, {"with a commitment", "commitment"},
		{"parse header:", "length"},
		{"verify inclusion", "inclusion"}, {"verify consistency", "consistency"}, {"verify proof", "element"},
		{"is not the pinned one", "federation"}, {"of another federation", "federation"},
		{"founders are not in order", "order"}, {"quorum is", "quorum"}, {"already that of", "shared-key"},
		{"it has number", "number"}, {"is a member already", "standing"}, {"is not a member", "standing"},
		{"suspended already", "standing"}, {"is not suspended", "standing"}, {"carry a root key", "root-key"},
		{"the kind of change", "kind"}, {", a member, is missing", "missing-entry"},
		{"each key has one use", "shared-key"}, {"trust domain is not", "trust-domain"}, {"is not that of an authority", "authority"},
		{"signing keys is current", "no-current-key"}, {"does not name", "assembler"}, {"is suspended or not a member", "assembler"},
		{"as its assembler but", "assembler"}, {"dated more than", "ahead"}, {"it leaves out more than", "leap"},
		{"expires before it is issued", "dates"}, {"has no number", "number"}, {"its address", "address"},
		{"not the first", "number"}, {"the first document is not a charter", "no-charter"}, {"there is no document", "no-charter"},
		{"the first and names one before", "previous"}, {"the hash differs", "previous"}, {"it is of another project", "project-id"},
		{"the project id", "project-id"}, {"is not a participant", "participant"}, {"is a participant already", "participant"},
		{"the lead stays in", "lead"}, {"the project has ended", "ended"}, {"only the first document is a charter", "charter"},
		{"participants are not sorted", "order"}, {"ends before it starts", "dates"}, {"purpose is missing", "purpose"},
		{"its content is missing", "content"},
	}
}

// hexBytes are bytes in hexadecimal digits, as all bytes stand in the vectors.
type hexBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// newYear is the fixed clock of the vectors.
func newYear() time.Time { return time.Unix(1_767_225_600, 0).UTC() }

// drawn is randomness that is the same in every run.
func drawn(label string) io.Reader { return rand.NewChaCha8(sha256.Sum256([]byte(label))) }

// vectorKey is the key of a label: its seed is SHA-256 of the label, so that others can make it too.
func vectorKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}

func vectorPublic(label string) ed25519.PublicKey {
	return vectorKey(label).Public().(ed25519.PublicKey)
}

// memberKey is one key whose signatures count for a member.
type memberKey struct {
	Member string   `json:"member"`
	Key    hexBytes `json:"key"`
}

func signingKey(id string) memberKey { return memberKey{id, hexBytes(vectorPublic("signing " + id))} }

// keysOf gives listed keys by member.
func keysOf(list []memberKey) member.Keys {
	return func(id member.ID) []ed25519.PublicKey {
		var keys []ed25519.PublicKey
		for _, k := range list {
			if k.Member == string(id) {
				keys = append(keys, ed25519.PublicKey(k.Key))
			}
		}
		return keys
	}
}

// flipped is b with one bit of one byte turned over; a negative index counts from the end.
func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[(at+len(b))%len(b)] ^= 1
	return b
}

func encoded(t *testing.T, m proto.Message) hexBytes {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decoded[T proto.Message](b []byte, into T) (T, error) {
	err := proto.Unmarshal(b, into)
	if err != nil {
		return into, fmt.Errorf("decode %s: %w", into.ProtoReflect().Descriptor().Name(), err)
	}
	return into, nil
}
