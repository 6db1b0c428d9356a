package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
)

func decode(t *testing.T, text string, into any) {
	t.Helper()
	err := json.Unmarshal([]byte(text), into)
	if err != nil {
		t.Fatalf("%q is not one JSON document: %v", text, err)
	}
}

func walk(t *testing.T, dir string, do func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info fs.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			do(path, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// readAll gives all files below a folder with their contents.
func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	walk(t, dir, func(path string, _ fs.FileInfo) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(content)
	})
	return all
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(content), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, string(content))
}

// own says whether a command is one of this program, not of the library.
func own(c *cobra.Command) bool {
	return c.Name() != "help" && c.Name() != "completion" && (c.Parent() == nil || own(c.Parent()))
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	b := newBench(t)
	seen := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if !own(c) {
			return
		}
		seen++
		path := strings.Fields(c.CommandPath())[1:]
		code, stdout, stderr := b.try(append(append([]string{}, path...), "--help")...)
		if code != cli.ExitOK || stderr != "" || len(stdout) < 40 {
			t.Errorf("%s --help: exit code %d, %q", c.CommandPath(), code, stdout+stderr)
		}
		if !c.IsAdditionalHelpTopicCommand() {
			if c.Short == "" || c.Example == "" {
				t.Errorf("%s: no summary or no example", c.CommandPath())
			}
			for line := range strings.Lines(c.Example) {
				if strings.HasPrefix(line, "  entente") && !strings.HasPrefix(line, "  entente "+strings.Join(path, " ")) {
					t.Errorf("%s: the example %q is of another command", c.CommandPath(), line)
				}
			}
		}
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	var none strings.Builder
	visit(newRoot(process{Stdin: strings.NewReader(""), Stdout: &none, Stderr: &none}))
	if seen < 40 {
		t.Errorf("only %d commands were seen", seen)
	}
}

func TestWrongUsageSaysWhatToDo(t *testing.T) {
	tests := []struct {
		name string
		line []string
		want string
	}{
		{"an unknown command is named with one that is near", []string{"verfy"}, "did you mean verify"},
		{"an unknown command of a group is no success", []string{"pki", "issues"}, "did you mean issue"},
		{"an unknown flag points to the help", []string{"pki", "root", "--folder", "x"}, "entente pki root --help"},
		{"a missing flag is named", []string{"pki", "authority", "--out", "@x"}, "--member is missing"},
		{"an argument too many is refused", []string{"version", "now"}, "entente version --help"},
		{"a member id in small letters is refused", []string{"pki", "authority", "--member", "xa", "--out", "@x"}, "--member"},
		{"a time that is over is refused", []string{"pki", "authority", "--member", "XA", "--out", "@x", "--valid", "-1h"}, "--valid"},
		{"an unknown form of output is refused", []string{"version", "--output", "xml"}, "text or json"},
		{"a mapping without files is refused", []string{"demo", "--mapping", "@m.yaml"}, "go together"},
		{"a folder that is not there is refused", []string{"demo", "--from", "@none", "--mapping", "@none.yaml"}, "no such file"},
		{"a founder without a key is refused", []string{"roster", "genesis", "--name", "N", "--founder", "XA",
			"--assembler", "XA", "--out", "@g"}, "MEMBER=FILE"},
		{"a document that is none is refused", []string{"roster", "show", "@junk"}, "not a"},
		{"a chain that is none is refused", []string{"project", "show", "@junk"}, "not a chain"},
		{"a file that is not there is named", []string{"roster", "show", "@none.pb"}, "none.pb"},
		{"without the genesis a roster is not judged", []string{"roster", "verify", "@none.pb"}, "anybody's roster"},
		{"a configuration that is not there is named", []string{"node", "run", "--config", "@none.yaml"}, "none.yaml"},
		{"a node without any setting is told what is missing", []string{"node", "check"}, "member"},
		{"verify without a file says what to give", []string{"verify"}, "--data"},
		{"a client without an address says what to give", []string{"health"}, "address"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			writeFile(t, b.path("junk"), "this is no document\xff")
			b.refused(cli.ExitUsage, test.want, test.line...)
		})
	}
}

func TestVersionIsTheToolchains(t *testing.T) {
	b := newBench(t)
	var got buildVersion
	decode(t, b.must("version", "--output", "json"), &got)
	if got.Go == "" || got.Version == "" {
		t.Errorf("version says %+v", got)
	}
	if !strings.Contains(b.must("version"), got.Go) {
		t.Error("the text lacks the toolchain")
	}
}

func TestExitCodesAreOneTable(t *testing.T) {
	text := newBench(t).must("help", "exit-codes")
	for _, want := range []string{"0  done", "6  the node is not reachable"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
}
