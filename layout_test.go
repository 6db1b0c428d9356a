// Package entente_test holds the shape of the repository: the four folders, the arrows between them, and the
// house rules that a program can check (see docs/adr/0001 and CONTRIBUTING.md).
//
// It reads sources and builds nothing, so it also judges code that does not compile on this system or is
// behind a build tag. Generated files are not judged. Each rule is a function from one parsed file to its
// complaints, and TestLayoutRulesCanFail plants a breach of each: a rule that cannot fail holds nothing.
package entente_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const module = "entente.example/entente"

// arrows says for each folder which folders of this module its files may import. The longest matching folder
// counts; "/..." stands for a folder and all below it, and "self/..." for the importing package's own subtree.
var arrows = []struct {
	folder string
	may    []string
}{
	{"proto", nil}, // each package of proto below has its own line; a new one starts with nothing
	{"proto/entente/v1", nil},
	{"proto/member", []string{"proto/entente/v1"}},
	{"proto/stream", []string{"proto/entente/v1", "proto/member"}},                // who owns a stream, whose key signs
	{"proto/trail", []string{"proto/entente/v1", "proto/member", "proto/stream"}}, // a trail is a signed tree too
	{"server", []string{"proto/...", "server/..."}},                               // package server ties its parts together
	{"server/*", []string{"proto/...", "self/..."}},                               // the parts do not know each other
	{"server/ledger", []string{"proto/...", "server/store", "self/..."}},          // but the ledger is what the store keeps
	{"server/audit", []string{"proto/...", "server/store", "self/..."}},           // and the trail is kept with it, in the transaction of the effect
	{"client", []string{"proto/...", "client/..."}},                               //
	{"nodes", []string{"proto/...", "server/...", "client/...", "nodes/..."}},
}

// clockReaders are the packages that may read the clock or wait by themselves. Everything else is given its
// time, or its decisions could not be tested on virtual time.
var clockReaders = []struct {
	folder, reason string
}{
	{"nodes/entente", "main: hands the real clock to everything else"},
	{"nodes/demo", "plays the part of main for a whole federation"},
	{"client/cli", "shows a person at a terminal how long things take"},
}

// onlyUsers are libraries that one folder hides from the rest. Tests may use them: they compare with the raw library.
var onlyUsers = []struct {
	library, folder, reason string
}{
	{"go.etcd.io/bbolt", "server/store", "the data file has one owner, which seals what it writes"},
}

// impure are the packages that proto must not import: it touches no disk and no network.
var impure = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall"}

// pureOfNet is what of package net is only text: addresses taken apart and put together.
var pureOfNet = []string{"SplitHostPort", "JoinHostPort", "ParseIP", "IP"}

// vagueNames say nothing about what a package is for, and collect everything.
var vagueNames = []string{"base", "common", "helper", "helpers", "lib", "misc", "shared", "util", "utils"}

// source is one parsed file that is not generated.
type source struct {
	path   string // slash-separated, from the root of the repository
	folder string // path.Dir of path, "." for the root
	set    *token.FileSet
	file   *ast.File
	test   bool // its name ends in _test.go
}

func (s source) at(node ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(node.Pos()).Line)
}

// importedAs returns the name under which the file knows an import path, "" if it does not import it.
func (s source) importedAs(wanted string) string {
	for _, spec := range s.file.Imports {
		if importPath(spec) != wanted {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(wanted)
	}
	return ""
}

func importPath(spec *ast.ImportSpec) string {
	unquoted, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser has already refused such a file
	}
	return unquoted
}

// parse returns false for generated files.
func parse(name string, text []byte) (source, bool, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, false, fmt.Errorf("parse %s: %w", name, err)
	}
	if ast.IsGenerated(file) {
		return source{}, false, nil
	}
	return source{
		path:   name,
		folder: path.Dir(name),
		set:    set,
		file:   file,
		test:   strings.HasSuffix(name, "_test.go"),
	}, true, nil
}

// within says whether folder is parent or lies below it.
func within(folder, parent string) bool {
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}

// mayImport finds the line of the table for a folder; ok is false where there is none.
func mayImport(folder string) (may []string, ok bool) {
	longest := -1
	for _, line := range arrows {
		start, parts := strings.CutSuffix(line.folder, "/*")
		matches := within(folder, start) && (!parts || folder != start)
		if matches && len(line.folder) > longest {
			longest, may, ok = len(line.folder), line.may, true
		}
	}
	return may, ok
}

func checkArrows(s source) []string {
	may, known := mayImport(s.folder)
	if s.folder == "." && s.test {
		return nil // this file's own package, which stands above all folders
	}
	if !known {
		return []string{fmt.Sprintf("%s: Go lives in proto, server, client or nodes only", s.path)}
	}
	// A package of tests stands outside the package it tests, and may need a real node to talk to.
	if s.test && strings.HasSuffix(s.file.Name.Name, "_test") {
		may = append(slices.Clone(may), "nodes/...", "proto/...", "self/...")
	}
	var complaints []string
	for _, spec := range s.file.Imports {
		target, ours := strings.CutPrefix(importPath(spec), module+"/")
		if ours && !allowed(s.folder, target, may) {
			complaints = append(complaints, fmt.Sprintf("%s: %s may not import %s", s.at(spec), s.folder, target))
		}
	}
	return complaints
}

func allowed(folder, target string, may []string) bool {
	for _, pattern := range may {
		parent, subtree := strings.CutSuffix(pattern, "/...")
		if parent == "self" {
			parent = folder
		}
		if target == parent || subtree && within(target, parent) {
			return true
		}
	}
	return false
}

func checkOnlyUsers(s source) []string {
	if s.test {
		return nil
	}
	var complaints []string
	for _, spec := range s.file.Imports {
		for _, line := range onlyUsers {
			if within(importPath(spec), line.library) && !within(s.folder, line.folder) {
				complaints = append(complaints, fmt.Sprintf("%s: only %s uses %s: %s", s.at(spec), line.folder, line.library, line.reason))
			}
		}
	}
	return complaints
}

// onlySelects says whether all that a file takes from the package it knows as name is in allowed.
func onlySelects(s source, name string, allowed []string) bool {
	only := true
	ast.Inspect(s.file, func(node ast.Node) bool {
		selector, found := node.(*ast.SelectorExpr)
		if !found {
			return true
		}
		from, found := selector.X.(*ast.Ident)
		if found && from.Name == name && !slices.Contains(allowed, selector.Sel.Name) {
			only = false
		}
		return true
	})
	return only
}

func checkProtoIsPure(s source) []string {
	if s.test || !within(s.folder, "proto") {
		return nil
	}
	var complaints []string
	for _, spec := range s.file.Imports {
		if importPath(spec) == "net" && onlySelects(s, s.importedAs("net"), pureOfNet) {
			continue
		}
		if slices.Contains(impure, importPath(spec)) {
			complaints = append(complaints, fmt.Sprintf("%s: proto touches no disk and no network, it may not import %s", s.at(spec), importPath(spec)))
		}
	}
	ast.Inspect(s.file, func(node ast.Node) bool {
		statement, found := node.(*ast.GoStmt)
		if found {
			complaints = append(complaints, fmt.Sprintf("%s: proto starts no goroutine", s.at(statement)))
		}
		return true
	})
	return complaints
}

func checkNoInit(s source) []string {
	var complaints []string
	for _, declaration := range s.file.Decls {
		function, found := declaration.(*ast.FuncDecl)
		if found && function.Recv == nil && function.Name.Name == "init" {
			complaints = append(complaints, fmt.Sprintf("%s: no init functions, construct it where it is used", s.at(function)))
		}
	}
	return complaints
}

// checkClock refuses calls that read the clock or wait. Handing time.Now on as a value is wiring, and allowed.
// Tests may read the clock, for example for the dates of a certificate, but never sleep.
func checkClock(s source) []string {
	for _, line := range clockReaders {
		if within(s.folder, line.folder) && !s.test {
			return nil
		}
	}
	refused := []string{"Now", "Since", "Until", "Sleep"}
	if s.test {
		refused = []string{"Sleep"}
	}
	clock := s.importedAs("time")
	var complaints []string
	ast.Inspect(s.file, func(node ast.Node) bool {
		call, found := node.(*ast.CallExpr)
		if !found {
			return true
		}
		selector, found := call.Fun.(*ast.SelectorExpr)
		if !found {
			return true
		}
		owner, found := selector.X.(*ast.Ident)
		if found && clock != "" && owner.Name == clock && slices.Contains(refused, selector.Sel.Name) {
			complaints = append(complaints, fmt.Sprintf("%s: time is passed in, no time.%s here", s.at(call), selector.Sel.Name))
		}
		return true
	})
	return complaints
}

func checkNames(s source) []string {
	name := strings.TrimSuffix(s.file.Name.Name, "_test")
	for _, vague := range vagueNames {
		if name == vague || slices.Contains(strings.Split(s.folder, "/"), vague) {
			return []string{fmt.Sprintf("%s: a package is named after what it is for, not %q", s.path, vague)}
		}
	}
	return nil
}

// checkPackageComments judges a whole tree: one file of each package has the comment. Packages of tests alone,
// and of generated files alone, need none.
func checkPackageComments(sources []source) []string {
	commented := map[string]bool{}
	for _, s := range sources {
		if s.test {
			continue
		}
		opening := "Package " + s.file.Name.Name + " "
		if s.file.Name.Name == "main" {
			opening = "Command "
		}
		has := strings.HasPrefix(s.file.Doc.Text(), opening)
		commented[s.folder] = commented[s.folder] || has
	}
	var complaints []string
	for folder, has := range commented {
		if !has {
			complaints = append(complaints, fmt.Sprintf("%s: no package comment (\"Package name …\", or \"Command name …\" for a program)", folder))
		}
	}
	slices.Sort(complaints)
	return complaints
}

// judge applies all rules.
func judge(sources []source) []string {
	rules := []func(source) []string{checkArrows, checkOnlyUsers, checkProtoIsPure, checkNoInit, checkClock, checkNames}
	complaints := checkPackageComments(sources)
	for _, s := range sources {
		for _, rule := range rules {
			complaints = append(complaints, rule(s)...)
		}
	}
	return complaints
}

// readTree parses every file of this module that is not generated. Folders with a go.mod of their own are other
// modules; those that begin with a dot, and testdata, are no sources.
func readTree(root string) ([]source, error) {
	var sources []source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(root, name, entry)
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		s, written, err := parse(filepath.ToSlash(relative), text)
		if err != nil {
			return err
		}
		if written {
			sources = append(sources, s)
		}
		return nil
	})
	return sources, err
}

func skipFolder(root, name string, entry fs.DirEntry) error {
	if name == root {
		return nil
	}
	if strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" {
		return filepath.SkipDir
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	if err == nil {
		return filepath.SkipDir
	}
	return nil
}

func TestLayoutHolds(t *testing.T) {
	sources, err := readTree(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, complaint := range judge(sources) {
		t.Error(complaint)
	}
	// A walk that misses a folder would praise it.
	for _, folder := range []string{"proto", "server", "client", "nodes"} {
		seen := slices.ContainsFunc(sources, func(s source) bool { return within(s.folder, folder) })
		if !seen {
			t.Errorf("no source seen in %s", folder)
		}
	}
}

func TestLayoutRulesCanFail(t *testing.T) {
	const doc = "// Package p is planted.\n"
	tests := []struct {
		name, path, text string
		want             string // part of the one complaint; "" for none
	}{
		{"a part of server may use the contract", "server/store/p.go", doc + `package p; import _ "entente.example/entente/proto/stream"`, ""},
		{"package server may use its parts", "server/p.go", doc + `package p; import _ "entente.example/entente/server/store"`, ""},
		{"a part of server may not use another part", "server/store/p.go", doc + `package p; import _ "entente.example/entente/server/policy"`, "server/store may not import server/policy"},
		{"a new part of server is held like the others", "server/export/p.go", doc + `package p; import _ "entente.example/entente/server/store"`, "may not import"},
		{"a part of server may not use package server", "server/store/p.go", doc + `package p; import _ "entente.example/entente/server"`, "server/store may not import server"},
		{"a part of server may use what lies below it", "server/store/p.go", doc + `package p; import _ "entente.example/entente/server/store/seal"`, ""},
		{"server may not use client", "server/p.go", doc + `package p; import _ "entente.example/entente/client"`, "server may not import client"},
		{"client may not use server", "client/cli/p.go", doc + `package p; import _ "entente.example/entente/server/store"`, "client/cli may not import server/store"},
		{"client may not use nodes", "client/p.go", doc + `package p; import _ "entente.example/entente/nodes/national"`, "client may not import nodes/national"},
		{"an outside test of client may start a node", "client/p_test.go", `package p_test; import _ "entente.example/entente/nodes/national"`, ""},
		{"an outside test of client may not use server", "client/p_test.go", `package p_test; import _ "entente.example/entente/server"`, "client may not import server"},
		{"nodes may use everything", "nodes/demo/p.go", doc + `package p; import (_ "entente.example/entente/client"; _ "entente.example/entente/server/store"; _ "entente.example/entente/nodes/national")`, ""},
		{"names may use the contract", "proto/member/p.go", doc + `package p; import v1 "entente.example/entente/proto/entente/v1"`, ""},
		{"streams may use names", "proto/stream/p.go", doc + `package p; import _ "entente.example/entente/proto/member"`, ""},
		{"names may not use streams", "proto/member/p.go", doc + `package p; import _ "entente.example/entente/proto/stream"`, "proto/member may not import proto/stream"},
		{"the ledger may use the store", "server/ledger/p.go", doc + `package p; import _ "entente.example/entente/server/store"`, ""},
		{"the ledger may not use the policy", "server/ledger/p.go", doc + `package p; import _ "entente.example/entente/server/policy"`, "server/ledger may not import server/policy"},
		{"a new package of proto starts with nothing", "proto/more/p.go", doc + `package p; import _ "entente.example/entente/proto/member"`, "proto/more may not import proto/member"},
		{"Go outside the four folders is refused", "extra/p.go", doc + `package p`, "Go lives in"},
		{"Go at the root is refused", "p.go", doc + `package p`, "Go lives in"},
		{"bbolt belongs to the store", "server/store/p.go", doc + `package p; import _ "go.etcd.io/bbolt"`, ""},
		{"bbolt elsewhere is refused", "nodes/replica/p.go", doc + `package p; import _ "go.etcd.io/bbolt"`, "only server/store uses"},
		{"proto may not open files", "proto/member/p.go", doc + `package p; import _ "os"`, "no disk"},
		{"proto may not open a connection", "proto/member/p.go", doc + `package p; import "net"; var _, _ = net.Dial("tcp", "")`, "no network"},
		{"proto may take an address apart", "proto/member/p.go", doc + `package p; import "net"; var _ = net.ParseIP("")`, ""},
		{"proto may name an address", "proto/member/p.go", doc + `package p; import _ "net/netip"`, ""},
		{"proto may not start a goroutine", "proto/stream/p.go", doc + "package p; func f() { go f() }", "no goroutine"},
		{"a function init is refused", "server/store/p.go", doc + "package p; func init() {}", "no init functions"},
		{"a method init is not that function", "server/store/p.go", doc + "package p; type t int; func (t) init() {}", ""},
		{"reading the clock is refused", "server/p.go", doc + `package p; import "time"; var _ = time.Now()`, "no time.Now"},
		{"reading the clock under another name is refused", "server/p.go", doc + `package p; import clock "time"; var _ = clock.Now()`, "no time.Now"},
		{"reading the clock by a difference is refused", "server/p.go", doc + `package p; import "time"; var _ = time.Since(time.Time{})`, "no time.Since"},
		{"sleeping is refused", "nodes/replica/p.go", doc + `package p; import "time"; func f() { time.Sleep(1) }`, "no time.Sleep"},
		{"handing the clock on is allowed", "nodes/national/p.go", doc + `package p; import "time"; var now = time.Now`, ""},
		{"main reads the clock", "nodes/entente/p.go", doc + `package p; import "time"; var _ = time.Now()`, ""},
		{"a test may read the clock", "server/p_test.go", `package p; import "time"; var _ = time.Now()`, ""},
		{"a test may not sleep", "nodes/entente/p_test.go", `package p; import "time"; func f() { time.Sleep(1) }`, "no time.Sleep"},
		{"a package util is refused", "server/util/p.go", "// Package util is planted.\npackage util", "not \"util\""},
		{"a folder below helpers is refused", "client/helpers/x/p.go", doc + "package p", "not \"helpers\""},
		{"a package without comment is refused", "server/store/p.go", "package p", "no package comment"},
		{"a comment that is none of the package is refused", "server/store/p.go", "// Copyright somebody.\npackage p", "no package comment"},
		{"a program's comment names the command", "nodes/entente/p.go", "// Command entente is planted.\npackage main", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, written, err := parse(test.path, []byte(test.text))
			if err != nil || !written {
				t.Fatalf("planted source was not parsed: written %v, %v", written, err)
			}
			got := judge([]source{s})
			if test.want == "" && len(got) != 0 {
				t.Fatalf("want no complaint, got %q", got)
			}
			if test.want != "" && (len(got) != 1 || !strings.Contains(got[0], test.want)) {
				t.Fatalf("want one complaint with %q, got %q", test.want, got)
			}
		})
	}
}

func TestLayoutLeavesGeneratedFilesAlone(t *testing.T) {
	_, written, err := parse("proto/entente/v1/p.pb.go", []byte("// Code generated by protoc-gen-go. DO NOT EDIT.\n\npackage p\nfunc init() {}"))
	if err != nil {
		t.Fatal(err)
	}
	if written {
		t.Error("a generated file was taken for a written one")
	}
}

func readModule(t *testing.T, name string) *modfile.File {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := modfile.Parse(name, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestLayoutEachDirectDependencyHasItsReason(t *testing.T) {
	reasons, err := os.ReadFile("docs/adr/0003-dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, requirement := range readModule(t, "go.mod").Require {
		if !requirement.Indirect && !strings.Contains(string(reasons), "`"+requirement.Mod.Path+"`") {
			t.Errorf("docs/adr/0003-dependencies.md does not say why %s is needed", requirement.Mod.Path)
		}
	}
}

// The text of the field rules that buf reads is printed by a module of its own. It must print the rules that the
// program enforces.
func TestLayoutFieldRulesAreThoseOfTheProgram(t *testing.T) {
	const rules = "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go"
	version := func(name string) string {
		for _, requirement := range readModule(t, name).Require {
			if requirement.Mod.Path == rules {
				return requirement.Mod.Version
			}
		}
		t.Fatalf("%s does not require %s", name, rules)
		return ""
	}
	program, printer := version("go.mod"), version("tools/validateproto/go.mod")
	if program != printer {
		t.Errorf("go.mod has the field rules at %s, tools/validateproto at %s", program, printer)
	}
}
