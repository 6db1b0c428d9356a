//go:build soak

package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fewestMutants is how many mutants are tried at least, spread over all files of the package, whatever the minutes.
const fewestMutants = 60

// mutant is the package with one small thing wrong.
type mutant struct {
	file string // base name
	name string // file, function and what was changed: stays the same while the code around it changes
	line int
	text string // the whole file
}

// equivalents are mutants that no test can kill, because they do the same as the code, by the reason why.
func equivalents() map[string]string {
	const (
		progress = "what was read of bytes that are not empty is never nothing: either an error, below 0, or more than 0"
		bounded  = "add bounds the list by itself; this only saves going on"
		field    = "an unknown field has more than one byte"
		second   = "between 10 and 11 times a unit the second digit is 0 anyway"
	)
	return map[string]string{
		"label_wire.go scan: < became <= in n < 0: <":                     progress,
		"label_wire.go scan: < became <= in n < 0: < (2)":                 progress,
		"label_wire.go codes: < became <= in n < 0: <":                    progress,
		"label_wire.go scan: one more: 0 (2)":                             progress,
		"label_wire.go scan: one more: 0 (3)":                             progress,
		"label_wire.go codes: one more: 0 (2)":                            progress,
		"check.go message: < became <= in len(f.list) < maxViolations: <": bounded,
		"check.go messages: > became >= in len(f.list) > from: >":         "writes a name before the paths of no violation",
		"check.go message: one more: 0":                                   field,
		"treatment.go CheckTreatment: one more: 0":                        field,
		"coarsen.go firstDigit: one more: 9":                              second,
		"coarsen.go firstDigit: one more: 9 (2)":                          second,
		"handling.go const: one more: 1":                                  "the numbers of the bits are this package's own, and still differ",
		"own.go const: one more: 8":                                       "stands only together with the other grounds, as 15",
	}
}

// TestSoakPolicyMutants breaks the policy in one place at a time and runs the tests of the package: each mutant must make one
// fail. It is deterministic: the same code gives the same mutants in the same order; the minutes say how far it goes.
func TestSoakPolicyMutants(t *testing.T) {
	until := time.Now().Add(time.Duration(soakMinutes(t)) * time.Minute)
	order := spread(mutantsOf(t, "."))
	killed, void := 0, 0
	for i, m := range order {
		if killed >= fewestMutants && time.Now().After(until) {
			t.Logf("%d of %d mutants not tried", len(order)-i, len(order))
			break
		}
		if _, same := equivalents()[m.name]; same {
			continue
		}
		switch try(t, m) {
		case "killed":
			killed++
		case "void":
			void++
		default:
			t.Errorf("survives: %s (line %d)", m.name, m.line)
		}
	}
	t.Logf("%d mutants killed, %d do not compile", killed, void)
	if killed < 50 {
		t.Errorf("only %d mutants were killed", killed)
	}
}

func soakMinutes(t *testing.T) int {
	text := os.Getenv("ENTENTE_SOAK_MINUTES")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ENTENTE_SOAK_MINUTES is %q, not a number of minutes", text)
	}
	return n
}

// try says what becomes of a mutant: "killed", "void" where it does not compile, "survives".
func try(t *testing.T, m mutant) string {
	t.Helper()
	dir := t.TempDir()
	original, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	changed, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{changed: []byte(m.text), overlay: replace} {
		err := os.WriteFile(name, content, 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-count=1", "-vet=off", "-timeout=60s", ".").CombinedOutput()
	switch {
	case err == nil:
		return "survives"
	case strings.Contains(string(output), "[build failed]") || strings.Contains(string(output), "[setup failed]"):
		return "void"
	default:
		return "killed"
	}
}

// spread puts the mutants in an order that takes one of each file in turn, those of a file in an order left to chance, with
// a fixed seed.
func spread(byFile map[string][]mutant) []mutant {
	files := slices.Sorted(func(yield func(string) bool) {
		for file := range byFile {
			if !yield(file) {
				return
			}
		}
	})
	chance := rand.New(rand.NewPCG(1, 2))
	total := 0
	for _, file := range files {
		list := byFile[file]
		chance.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
		total += len(list)
	}
	var order []mutant
	for round := 0; len(order) < total; round++ {
		for _, file := range files {
			if round < len(byFile[file]) {
				order = append(order, byFile[file][round])
			}
		}
	}
	return order
}

// mutantsOf makes all mutants of the package's code.
func mutantsOf(t *testing.T, dir string) map[string][]mutant {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	byFile := make(map[string][]mutant)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		w := &breaker{set: set, source: string(source), file: filepath.Base(name), seen: map[string]int{}}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Body != nil {
				w.function = function.Name.Name
				ast.Inspect(function.Body, w.visit)
			}
			if constants, ok := declaration.(*ast.GenDecl); ok && constants.Tok == token.CONST {
				w.function = "const"
				ast.Inspect(constants, w.visit)
			}
		}
		byFile[w.file] = w.mutants
	}
	return byFile
}

// breaker collects the mutants of one file.
type breaker struct {
	set                    *token.FileSet
	source, file, function string
	seen                   map[string]int
	mutants                []mutant
}

// replace makes a mutant that has another text from one place to another.
func (w *breaker) replace(kind string, from, to token.Pos, text string) {
	start, end := w.set.Position(from).Offset, w.set.Position(to).Offset
	old := strings.Join(strings.Fields(w.source[start:end]), " ")
	if len(old) > 60 {
		old = old[:60] + "…"
	}
	name := fmt.Sprintf("%s %s: %s: %s", w.file, w.function, kind, old)
	w.seen[name]++
	if w.seen[name] > 1 {
		name = fmt.Sprintf("%s (%d)", name, w.seen[name])
	}
	w.mutants = append(w.mutants, mutant{w.file, name, w.set.Position(from).Line, w.source[:start] + text + w.source[end:]})
}

func (w *breaker) text(n ast.Node) string {
	return w.source[w.set.Position(n.Pos()).Offset:w.set.Position(n.End()).Offset]
}

func (w *breaker) visit(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.BinaryExpr:
		w.operator(n)
	case *ast.IfStmt:
		w.replace("condition negated", n.Cond.Pos(), n.Cond.End(), "!("+w.text(n.Cond)+")")
	case *ast.ReturnStmt:
		for _, result := range n.Results {
			w.result(result)
		}
	case *ast.CaseClause:
		w.clause(n)
	case *ast.CompositeLit:
		w.elements(n)
	case *ast.BasicLit:
		if n.Kind == token.INT {
			w.replace("one more", n.Pos(), n.End(), "("+n.Value+"+1)")
		}
	case *ast.ExprStmt:
		w.replace("statement dropped", n.Pos(), n.End(), "")
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			w.replace("assignment dropped", n.Pos(), n.End(), "")
		}
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			w.replace("negation dropped", n.Pos(), n.End(), w.text(n.X))
		}
	}
	return true
}

func (w *breaker) operator(n *ast.BinaryExpr) {
	others := map[token.Token]string{
		token.LAND: "||", token.LOR: "&&", token.EQL: "!=", token.NEQ: "==", token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">",
		token.AND: "|", token.OR: "&", token.ADD: "-", token.SUB: "+", token.MUL: "/", token.QUO: "*",
	}
	other, ok := others[n.Op]
	text := n.Op == token.ADD && strings.Contains(w.text(n), `"`) // texts that are put together: nothing else compiles
	if ok && !text {
		w.replace(n.Op.String()+" became "+other+" in "+strings.Join(strings.Fields(w.text(n)), " "), n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), other)
	}
}

func (w *breaker) result(result ast.Expr) {
	switch r := result.(type) {
	case *ast.Ident:
		if r.Name == "true" {
			w.replace("result", r.Pos(), r.End(), "false")
		}
		if r.Name == "false" {
			w.replace("result", r.Pos(), r.End(), "true")
		}
	case *ast.BinaryExpr:
		w.replace("result negated", r.Pos(), r.End(), "!("+w.text(r)+")")
	}
}

// clause drops a case, and each value of a case that has several. A default that is dropped falls out of the switch.
func (w *breaker) clause(n *ast.CaseClause) {
	w.replace("case dropped", n.Pos(), n.End(), "")
	for i, value := range n.List {
		if len(n.List) > 1 {
			w.without("value of a case dropped", n.List, i, value)
		}
	}
}

// elements drops each element of a list.
func (w *breaker) elements(n *ast.CompositeLit) {
	list, ok := n.Type.(*ast.ArrayType)
	if !ok || list.Len != nil {
		return
	}
	for i, element := range n.Elts {
		w.without("element dropped", n.Elts, i, element)
	}
}

// without drops one of a list, with the comma that belongs to it.
func (w *breaker) without(kind string, list []ast.Expr, i int, dropped ast.Expr) {
	switch {
	case i+1 < len(list):
		w.replace(kind, dropped.Pos(), list[i+1].Pos(), "")
	case i > 0:
		w.replace(kind, list[i-1].End(), dropped.End(), "")
	default:
		w.replace(kind, dropped.Pos(), dropped.End(), "")
	}
}
