package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"entente.example/entente/client/cli"
)

// addOutput gives a command the flag --output.
func addOutput(c *cobra.Command) {
	c.Flags().StringP("output", "o", "text", "text for people, json for programs")
}

// wantsJSON reads --output.
func wantsJSON(c *cobra.Command) (bool, error) {
	form, err := c.Flags().GetString("output")
	if err != nil {
		return false, err
	}
	if form != "text" && form != "json" {
		return false, cli.UsageErrorf("--output %s: give text or json", form)
	}
	return form == "json", nil
}

// writeJSON writes one JSON document on a line of stdout.
func (p process) writeJSON(value any) error {
	encoded, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return p.printf("%s\n", encoded)
}

func (p process) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(p.Stdout, format, args...)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// addDryRun gives a command the flag --dry-run.
func addDryRun(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "dry-run", false, "check everything, say what would be, and write nothing")
}

// printPlanned says what was written, or with --dry-run what would be.
func (p process) printPlanned(dryRun bool, path string, lines ...string) error {
	head := path
	if dryRun {
		head = "dry run: nothing is written"
	}
	return p.printf("%s\n", strings.Join(append([]string{head}, lines...), "\n"))
}

// warn says something on stderr that is no error, and that somebody should know before the next step.
func (p process) warn(format string, args ...any) {
	fmt.Fprintf(p.Stderr, "entente: warning: "+format+"\n", args...)
}

// messageJSON is the contract's JSON of a message with stable bytes: the library adds blanks at random.
func messageJSON(m proto.Message) (json.RawMessage, error) {
	encoded, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, encoded)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return compact.Bytes(), nil
}

// enumeration is a code list of the contract.
type enumeration interface {
	~int32
	protoreflect.Enum
}

// code reads a value of a code list by its short name, such as root-change. The zero means "not given" and is refused.
func code[E enumeration](flag, text string) (E, error) {
	var zero E
	values := zero.Descriptor().Values()
	var names []string
	for i := range values.Len() {
		value := values.Get(i)
		if value.Number() == 0 {
			continue
		}
		name := shortName(zero.Descriptor(), value)
		if name == strings.ToLower(text) {
			return E(value.Number()), nil
		}
		names = append(names, name)
	}
	return zero, cli.UsageErrorf("--%s %q is not known; give one of: %s", flag, text, strings.Join(names, ", "))
}

func codes[E enumeration](flag string, texts []string) ([]E, error) {
	var list []E
	for _, text := range texts {
		one, err := code[E](flag, text)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// codeName is the short name of a value, its number if this program does not know it.
func codeName(value protoreflect.Enum) string {
	known := value.Descriptor().Values().ByNumber(value.Number())
	if known == nil {
		return fmt.Sprintf("code-%d", value.Number())
	}
	return shortName(value.Descriptor(), known)
}

// codeNames are the short names of a list.
func codeNames[E enumeration](list []E) []string {
	names := []string{}
	for _, one := range list {
		names = append(names, codeName(one))
	}
	return names
}

func shortName(list protoreflect.EnumDescriptor, value protoreflect.EnumValueDescriptor) string {
	prefix := strings.TrimSuffix(string(list.Values().ByNumber(0).Name()), "UNSPECIFIED")
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(string(value.Name()), prefix), "_", "-"))
}
