package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"entente.example/entente/client"
	ententev1 "entente.example/entente/proto/entente/v1"
)

func testOptions(t *testing.T, out io.Writer) Options {
	return Options{Once: true, Stdout: out, Stderr: t.Output(), Now: time.Now, Rand: rand.Reader, TempDir: t.TempDir()}
}

// program builds the program, and answers how the tour calls it: as a process of its own, like a reader does.
func program(t *testing.T) func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "entente")
	script(t, "go", "build", "-o", path, "../entente")
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		process := exec.CommandContext(ctx, path, args...)
		process.Stdout, process.Stderr = stdout, stderr
		process.Env = []string{"PATH=/nowhere"}
		err := process.Run()
		if err != nil && process.ProcessState == nil {
			fmt.Fprintln(stderr, err)
			return -1
		}
		return process.ProcessState.ExitCode()
	}
}

// TestTheTour plays the built-in case twice, as a tour that stays up and as a document, and judges what came of it.
func TestTheTour(t *testing.T) {
	run := program(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := &tour{}
	options := testOptions(t, nil)
	var again []repeated
	text := &atText{text: "Ctrl-C ends it", do: func() {
		again = repeat(t, run, told, options.TempDir)
		cancel()
	}}
	told.w, options.Stdout, options.Once, options.Command, options.Program = text, text, false, run, "/bin/entente"
	first, err := perform(ctx, options, told, nil)
	if err != nil {
		t.Fatalf("the tour: %v\n%s", err, text.written.String())
	}
	var document bytes.Buffer
	second := testOptions(t, &document)
	second.JSON, second.Command = true, run
	second.Clusters = filepath.Join(t.TempDir(), "clusters.jsonl")
	err = Run(t.Context(), second)
	if err != nil {
		t.Fatalf("the document: %v", err)
	}
	var result Result
	err = json.Unmarshal(document.Bytes(), &result)
	if err != nil {
		t.Fatalf("stdout is not one document: %v\n%s", err, document.String())
	}

	t.Run("each pushed record has its verdict and none is rejected", func(t *testing.T) { checkCounts(t, first) })
	t.Run("a second run gives the same counts and hashes", func(t *testing.T) { checkSame(t, first, result) })
	t.Run("the four views differ", func(t *testing.T) { checkDiffer(t, first) })
	t.Run("no view holds a record that was not released to its reader", func(t *testing.T) { checkReaders(t, told) })
	t.Run("the outsider lacks what was released to the project", func(t *testing.T) { checkOutsider(t, told) })
	t.Run("the withdrawal splits the view and reaches every holder", func(t *testing.T) { checkWithdrawal(t, told) })
	t.Run("the clusters hold what all may see and nothing else", func(t *testing.T) { checkClusters(t, second.Clusters) })
	t.Run("each scene shows what it says", func(t *testing.T) { checkScenes(t, told) })
	t.Run("the commands that were shown still work while the tour stays up", func(t *testing.T) { checkRepeated(t, again) })
	t.Run("no file is left behind", func(t *testing.T) {
		for _, dir := range []string{options.TempDir, second.TempDir} {
			left, err := os.ReadDir(dir)
			if err != nil || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
		}
	})
	t.Run("the tour has fourteen scenes, numbered", func(t *testing.T) {
		for n := range 14 {
			if !strings.Contains(text.written.String(), fmt.Sprintf("\nScene %d of 14 — ", n+1)) {
				t.Errorf("scene %d is missing", n+1)
			}
		}
		t.Log(text.written.String())
	})
}

// repeated is a command that was run once more.
type repeated struct {
	text, output string
	code, want   int
}

// repeat runs each command that was shown, but for those that work once, in the folder of the demonstration.
func repeat(t *testing.T, run func(context.Context, []string, io.Writer, io.Writer) int, told *tour, temp string) []repeated {
	t.Helper()
	folders, err := os.ReadDir(temp)
	if err != nil || len(folders) != 1 {
		t.Fatalf("folders: %v %v", folders, err)
	}
	s := &stage{dir: filepath.Join(temp, folders[0].Name())}
	commands := slices.DeleteFunc(slices.Clone(told.commands), func(c command) bool { return c.once })
	for _, line := range s.commands() {
		if strings.HasPrefix(line, "follow ") {
			line += " --until-current" // without, it never ends
		}
		commands = append(commands, command{line: strings.ReplaceAll(line, "--config ", "--config @")})
	}
	var list []repeated
	for _, c := range commands {
		var output bytes.Buffer
		code := run(t.Context(), c.args(s), &output, &output)
		list = append(list, repeated{c.text(), output.String(), code, c.then})
	}
	return list
}

func checkRepeated(t *testing.T, list []repeated) {
	for _, one := range list {
		if one.code != one.want {
			t.Errorf("entente %s: exit code %d, want %d\n%s", one.text, one.code, one.want, one.output)
		}
	}
	if len(list) < 45 {
		t.Errorf("only %d commands were repeated", len(list))
	}
}

func checkScenes(t *testing.T, told *tour) {
	f := told.found
	tests := []struct {
		name string
		is   bool
	}{
		{"nothing is released by the push alone", f.homeReleased == 0},
		{"the team gets a correction while it watches", told.live > 0},
		{"who was cut off was behind, and has caught up", f.behind > 0 && f.caughtUp == 0},
		{"a reader that is not the owner relayed", told.relay != "" && told.relay != lateMember && told.relay != "XC"},
		{"the joiner reads practices by itself, and more by the grant", f.joinerBefore > 0 && f.joinerAfter > f.joinerBefore},
		{"what is granted is in the joiner's merged view", f.joinerSees > 0},
		{"the leaver holds less", f.leaverAfter > 0 && f.leaverAfter < f.leaverBefore},
		{"the forgery changes nothing, the true file does", f.carriedBefore == 0 && f.carriedAfter > 0},
		{"the error names the owner and what does not fit", strings.Contains(f.forgery, "XB: stream") && strings.Contains(f.forgery, "commitment does not match")},
		{"the verification finds no damage", strings.Contains(f.verified, "no damage")},
		{"a dry run shows who has the whole record, and what XD would lack of it", containsEach(f.dryRun, "project harbour-light, stands already)  whole",
			"XD (bilateral)", "body.person.documents", "1976-02-14 → 1976", "nothing was released")},
		{"who asked for a release is refused as its judge", strings.Contains(f.sameOfficer, "a second person decides")},
		{"a second officer lets it go, to those it was asked for", slices.Equal(f.letGo, []string{"COORD", "XB"})},
		{"what was made from another's record waits for a permission, and goes with it", f.heldUp && f.passedOn},
		{"without a permission the file lacks the record", strings.Contains(f.exportBefore, "0 rows; 1 left out")},
		{"with it the file has the record and its conditions", containsEach(f.exportAfter, "1 rows; 0 left out", "H2")},
		{"the withdrawn record lay in two data files, and is in none after compaction", f.onDisk[0] >= 2 && f.onDisk[2] == 0},
		{"what expires was due, at each member, and is nowhere any more", containsEach(f.due, shortReference) && f.lived == 5 && f.lapsed == 0 &&
			!strings.Contains(f.dueAfter, shortReference)},
		{"what was released to a project ends with it, and stays at home", containsEach(f.inProject, "Penrose") &&
			strings.Contains(f.afterProject, "not found") && containsEach(f.atHome, "at home", "applied")},
		{"an analyst cannot read the trail", strings.Contains(f.auditClosed, "closed to this kind of identity")},
		{"the trail tells of a record from its coming to its end", containsEach(f.trace, "Push", "Release", "ListDue", "XD node", "lapse")},
		{"the trail is sound and the witness is named", containsEach(f.witness, "sound", "by COORD")},
		{"the copy of the trail was sound before it was altered", f.untouched.Witness == "COORD" && f.untouched.WitnessedEntries > 0},
		{"the altered copy names where the alteration is", f.tampered != nil && strings.Contains(f.tampered.Error(), "entr")},
	}
	for _, test := range tests {
		if !test.is {
			t.Errorf("it is not so that %s: %+v, relay %q", test.name, f, told.relay)
		}
	}
}

func checkCounts(t *testing.T, r Result) {
	want := uint64(len(allHeld()))
	if r.RecordsPushed != want || r.Accepted != want || r.Duplicates != 0 || r.Rejected != 0 {
		t.Errorf("pushed %d, accepted %d, duplicates %d, rejected %d; the case has %d records",
			r.RecordsPushed, r.Accepted, r.Duplicates, r.Rejected, want)
	}
	if r.Withdrawn != 1 {
		t.Errorf("%d withdrawn, want the bridging record alone", r.Withdrawn)
	}
	records := uint64(len(firstVersions()))
	if r.Released == 0 || r.Released+uint64(len(StaysHome()))+1 > records {
		t.Errorf("%d released of %d records, of which %d wait and one is withdrawn", r.Released, records, len(StaysHome()))
	}
}

func checkSame(t *testing.T, first, second Result) {
	first.Seconds, second.Seconds = 0, 0
	a, errA := json.Marshal(first)
	b, errB := json.Marshal(second)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("first  %s\nsecond %s (%v, %v)", a, b, errA, errB)
	}
}

func checkDiffer(t *testing.T, r Result) {
	hashes := make(map[string]string)
	for id, view := range r.Views {
		if view.Entities == 0 || view.Associations == 0 {
			t.Errorf("the view of %s is empty: %+v", id, view)
		}
		if hashes[view.Hash] != "" {
			t.Errorf("%s and %s have the same view", id, hashes[view.Hash])
		}
		hashes[view.Hash] = id
	}
	if len(hashes) != 4 {
		t.Errorf("%d different views, want 4", len(hashes))
	}
}

// sourcesOf are all sources that a view names, wherever.
func sourcesOf(view *client.View) []*ententev1.ViewSource {
	var sources []*ententev1.ViewSource
	for _, e := range view.Entities {
		sources = append(sources, e.GetSources()...)
		for _, role := range e.GetRoles() {
			sources = append(sources, role.GetSources()...)
		}
	}
	for _, a := range view.Associations {
		sources = append(sources, a.GetSources()...)
	}
	return sources
}

// breachesOf are the records that a view names although they were not released to the reader.
func breachesOf(t *testing.T, told *tour, view *client.View, reader string) []string {
	t.Helper()
	versions, home := firstVersions(), StaysHome()
	var breaches []string
	for _, source := range sourcesOf(view) {
		name, err := told.held.name(source)
		if err != nil {
			t.Fatal(err)
		}
		readers := append(readersOf(name.member, versions[name.reference].item.GetAudiences()), name.member)
		if !slices.Contains(readers, reader) || slices.Contains(home, name.reference) {
			breaches = append(breaches, name.reference)
		}
	}
	return breaches
}

func checkReaders(t *testing.T, told *tour) {
	for reader, view := range told.after {
		for _, reference := range breachesOf(t, told, view, reader) {
			t.Errorf("the view of %s names %s, which was not released to it", reader, reference)
		}
	}
	if len(breachesOf(t, told, told.after["XA"], "XD")) == 0 {
		t.Error("the check finds nothing where there is something: XA's view shown to XD")
	}
}

func checkOutsider(t *testing.T, told *tour) {
	hidden := unseen(told.before["XA"], told.before["XD"])
	if len(hidden) == 0 {
		t.Error("XD sees all that XA sees")
	}
	if len(told.before["XD"].Entities) >= len(told.before["XA"].Entities) {
		t.Error("XD sees as much as XA")
	}
}

func checkWithdrawal(t *testing.T, told *tour) {
	before, after := bridgeGroups(told.before["XA"], told.held), bridgeGroups(told.after["XA"], told.held)
	if len(before) != 1 || !containsAll(before[0], BridgeLeft, BridgeReference, BridgeRight) {
		t.Errorf("before: %v, want one entity of all three", before)
	}
	if len(after) != 2 || slices.Contains(slices.Concat(after...), BridgeReference) {
		t.Errorf("after: %v, want two entities without the bridging record", after)
	}
	want := readersOf(BridgeMember, firstVersions()[BridgeReference].item.GetAudiences())
	for _, reader := range want {
		if !slices.Contains(told.gone, reader) {
			t.Errorf("the record is not gone at %s: %v", reader, told.gone)
		}
	}
	if len(told.deliveries) < len(want) {
		t.Errorf("%d lines of delivery for %v", len(told.deliveries), want)
	}
	for _, d := range told.deliveries {
		if d.GetState() != ententev1.DeliveryState_DELIVERY_STATE_APPLIED {
			t.Errorf("%s has not applied the withdrawal", d.GetMember())
		}
	}
}

// containsEach says whether a text has all parts.
func containsEach(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}

func containsAll(list []string, wanted ...string) bool {
	for _, one := range wanted {
		if !slices.Contains(list, one) {
			return false
		}
	}
	return true
}

func checkClusters(t *testing.T, path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]bool)
	for line := range strings.Lines(string(content)) {
		var one clusterLine
		err = json.Unmarshal([]byte(line), &one)
		if err != nil || one.Cluster == "" {
			t.Fatalf("line %q: %v", line, err)
		}
		got[one.Record] = true
	}
	for reference, h := range firstVersions() {
		toAll := len(h.item.GetAudiences()) > 0 && h.item.GetAudiences()[0].GetAllMembers() != nil
		want := toAll && isEntity(h.record().GetBody()) && reference != BridgeReference
		if got[reference] != want {
			t.Errorf("%s in a cluster: %v, want %v", reference, got[reference], want)
		}
	}
}

// TestFilesOfTheScenario pushes the files of the generator and lets its own judge look for leaks.
func TestFilesOfTheScenario(t *testing.T) {
	tools, err := filepath.Abs("../../../shared/scenario")
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(tools, "scenario.py"))
	if err != nil {
		t.Skip("SKIPPED: the scenario generator is not beside the repository, so files of one's own are not tested end to end")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: there is no python3, so files of one's own are not tested end to end")
	}
	dir := t.TempDir()
	script(t, python, filepath.Join(tools, "scenario.py"), "--persons", "101", "--seed", "1", "--out", dir)
	first, clusters := playFiles(t, dir)
	if first.RecordsPushed != rowsIn(t, dir) || first.RecordsPushed != first.Accepted+first.Duplicates+first.Rejected {
		t.Errorf("counts do not add up: %+v; the files have %d rows", first, rowsIn(t, dir))
	}
	if first.Rejected*100 > first.RecordsPushed || first.Withdrawn == 0 || first.Released == 0 {
		t.Errorf("unexpected counts: %+v", first)
	}
	if len(first.Views) != 4 || first.Views["XD"].Entities == 0 {
		t.Errorf("views: %+v", first.Views) // they may be equal: what these files release to one member does not reach the coordinator
	}
	second, _ := playFiles(t, dir)
	checkSame(t, first, second)
	var score struct{ Leaks, Records int }
	answer := script(t, python, filepath.Join(tools, "score.py"), dir, clusters)
	err = json.Unmarshal(answer, &score)
	if err != nil || score.Leaks != 0 || score.Records == 0 {
		t.Errorf("score %s: %v", answer, err)
	}
	t.Logf("%+v\n%s", first, answer)
}

func playFiles(t *testing.T, dir string) (Result, string) {
	t.Helper()
	var out bytes.Buffer
	o := testOptions(t, &out)
	o.JSON, o.From, o.Mapping, o.Clusters = true, dir, "../../docs/examples/scenario.yaml", filepath.Join(t.TempDir(), "clusters.jsonl")
	err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var result Result
	err = json.Unmarshal(out.Bytes(), &result)
	if err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return result, o.Clusters
}

func script(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return output
}

func rowsIn(t *testing.T, dir string) uint64 {
	t.Helper()
	var rows uint64
	for _, c := range Case() {
		content, err := os.ReadFile(filepath.Join(dir, c.Member+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		rows += uint64(bytes.Count(content, []byte("\n")))
	}
	return rows
}

func TestWrongPathsFailBeforeAnythingStarts(t *testing.T) {
	mapping := "../../docs/examples/scenario.yaml"
	tests := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"a folder without a mapping", func(o *Options) { o.From = t.TempDir() }, "--mapping"},
		{"a mapping without a folder", func(o *Options) { o.Mapping = mapping }, "--from"},
		{"a folder without the members' files", func(o *Options) { o.From, o.Mapping = t.TempDir(), mapping }, "XA.jsonl"},
		{"a mapping that is not there", func(o *Options) { o.From, o.Mapping = t.TempDir(), "none.yaml" }, "none.yaml"},
		{"clusters in a folder that is not there", func(o *Options) { o.Clusters = filepath.Join(t.TempDir(), "a", "b") }, "--clusters"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := testOptions(t, io.Discard)
			test.change(&o)
			err := Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %s", err, test.want)
			}
		})
	}
}

func TestWhatEndsTheTourEarlyLeavesNothing(t *testing.T) {
	refuses := func(_ context.Context, _ []string, _, stderr io.Writer) int {
		fmt.Fprintln(stderr, "entente: no")
		return 1
	}
	tests := []struct {
		name string
		text string
		want string
	}{
		{"an interrupt in the middle of a scene", "Scene 2", "canceled"},
		{"an interrupt while it waits for Enter", "[Enter]", "canceled"},
		{"a command that fails", "none", "exit code 1: entente: no"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &atText{text: test.text, do: cancel}
			o := testOptions(t, out)
			o.Command = func(context.Context, []string, io.Writer, io.Writer) int { return 0 }
			if test.text == "none" {
				o.Command = refuses
			}
			input, _ := io.Pipe() // on which nobody ever writes
			o.Pause, o.Stdin = test.text == "[Enter]", input
			t.Cleanup(func() { input.Close() })
			err := Run(ctx, o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q\n%s", err, test.want, out.written.String())
			}
			left, err := os.ReadDir(o.TempDir)
			if err != nil || len(left) > 0 {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}

// atText does something when a text is written.
type atText struct {
	text    string
	do      func()
	written bytes.Buffer
}

func (a *atText) Write(p []byte) (int, error) {
	n, err := a.written.Write(p)
	if bytes.Contains(p, []byte(a.text)) {
		a.do()
	}
	return n, err
}
