package main_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"entente.example/entente/nodes/national"
)

const operationsPage = "../../docs/operations.md"

func readPage(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(operationsPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// boxes are the commands of a page, each with a line before it that says where it stands.
func boxes(page string) string {
	var script strings.Builder
	inside := false
	for number, line := range strings.Split(page, "\n") {
		switch {
		case line == "```sh":
			inside = true
			fmt.Fprintf(&script, "echo '== line %d'\n", number+1)
		case line == "```":
			inside = false
		case inside:
			script.WriteString(line + "\n")
		}
	}
	return script.String()
}

// freePorts are the first of three ports in a row that nobody listens on.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := lis.Addr().(*net.TCPAddr).Port
		lis.Close()
		free := true
		for port := first; port < first+3 && free; port++ {
			lis, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			free = err == nil
			if free {
				lis.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatal("no three ports in a row are free")
	return 0
}

// followPage runs commands in a new folder as a reader of the page would, and stops the nodes that they have started.
func followPage(t *testing.T, script string) (folder, said string, err error) {
	t.Helper()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("SKIPPED: the page's commands are for a POSIX shell, and there is none here")
	}
	first := freePorts(t)
	for i := range 3 {
		script = strings.ReplaceAll(script, fmt.Sprint(7501+i), fmt.Sprint(first+i))
	}
	script = strings.ReplaceAll(script, "sleep 1;", "sleep 0.1;")
	folder = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, shell, "-c", "set -eu\ntrap 'exit 1' INT TERM\ntrap 'kill $(cat */node.pid) 2> /dev/null; wait' EXIT\n"+script)
	command.Dir = folder
	command.Env = append(os.Environ(), "PATH="+filepath.Dir(buildProgram(t))+string(filepath.ListSeparator)+os.Getenv("PATH"))
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err = command.Run()
	return folder, out.String(), err
}

func TestOperationsPageWorksAsItStands(t *testing.T) {
	began := time.Now()
	folder, said, err := followPage(t, boxes(readPage(t)))
	if err != nil {
		t.Error(err)
		for _, name := range []string{"XA", "XB", "CO"} {
			log, _ := os.ReadFile(filepath.Join(folder, name, "node.log")) // only to help the reader
			t.Logf("log of %s:\n%s", name, log)
		}
	}
	t.Logf("the page's commands took %v:\n%s", time.Since(began).Round(time.Second), said)
}

func TestOperationsPageIsNotFollowedPastAFailure(t *testing.T) {
	_, said, err := followPage(t, boxes("```sh\nentente pki rood --out XA/offline\necho went on\n```\n"))
	if err == nil || strings.Contains(said, "went on") {
		t.Errorf("a command that fails was passed over:\n%s", said)
	}
}

func TestOperationsPageNamesEveryKeyOfTheConfiguration(t *testing.T) {
	page := readPage(t)
	_, table, found := strings.Cut(page, "## The configuration of a node")
	if !found {
		t.Fatal("the page has no such section")
	}
	for field := range reflect.TypeFor[national.Config]().Fields() {
		key := field.Tag.Get("yaml")
		if key != "" && !regexp.MustCompile(`(?m)^\|[^|]*`+"`"+key+"`").MatchString(table) {
			t.Errorf("the key %s is missing", key)
		}
	}
	for _, link := range regexp.MustCompile(`\]\(#([a-z0-9-]+)\)`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(anchors(page), " "+link[1]+" ") {
			t.Errorf("there is no section #%s", link[1])
		}
	}
}

// anchors are the names by which a page's sections are linked to.
func anchors(page string) string {
	all := " "
	for _, head := range regexp.MustCompile(`(?m)^##+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(head[1]), "")
		all += strings.ReplaceAll(name, " ", "-") + " "
	}
	return all
}
