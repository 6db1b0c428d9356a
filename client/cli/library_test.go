package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"entente.example/entente/client/cli"
	"entente.example/entente/nodes/sandbox"
	"entente.example/entente/proto/member"
)

// counter is a person's place at the commands: a running federation of XA, XB and a coordinator, and a configuration for
// each who may call.
type counter struct {
	t      *testing.T
	folder string
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	k := &counter{t: t, folder: t.TempDir()}
	federation, err := sandbox.New(sandbox.Options{Members: []member.ID{"XA", "XB"}, Dir: k.folder, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- federation.Run(ctx) }() // until the test ends
	t.Cleanup(func() {
		cancel()
		err := <-ended
		if err != nil {
			t.Error(err)
		}
	})
	for _, id := range []member.ID{"XA", "XB"} {
		for _, who := range []struct {
			kind member.Kind
			name string
		}{{member.KindSystem, sandbox.System}, {member.KindOfficer, sandbox.Officer}} {
			files, err := federation.Issue(id, who.kind, who.name)
			if err != nil {
				t.Fatal(err)
			}
			k.write(string(id)+"-"+who.kind.String()+".yaml", fmt.Sprintf("address: %s\nmember: %s\ncertificate: %s\nkey: %s\nauthorities: %s\n"+
				"purpose: criminal-investigation\ncase: C-1\n", federation.Address(id), id, files.Certificate, files.Key, files.Authorities))
		}
	}
	return k
}

func (k *counter) write(name, text string) string {
	k.t.Helper()
	path := filepath.Join(k.folder, name)
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	return path
}

// run runs a command line as somebody ("XA-system"); @ stands for the folder.
func (k *counter) run(as, line string) (stdout, stderr string, code int) {
	k.t.Helper()
	var out, errs bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now, Getenv: func(name string) string {
		return map[string]string{"ENTENTE_CONFIG": filepath.Join(k.folder, as+".yaml")}[name]
	}}
	root := &cobra.Command{Use: "entente", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(cli.Commands(env)...)
	root.SetArgs(strings.Fields(strings.ReplaceAll(line, "@", k.folder+"/")))
	root.SetOut(&out)
	ctx, cancel := context.WithTimeout(k.t.Context(), 30*time.Second)
	defer cancel()
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(&errs, err)
	}
	return out.String(), errs.String(), cli.ExitCode(err)
}

func (k *counter) must(as, line string) string {
	k.t.Helper()
	stdout, stderr, code := k.run(as, line)
	if code != cli.ExitOK {
		k.t.Fatalf("%s: exit code %d: %s", line, code, stderr)
	}
	return stdout
}

// eventually runs a command until its output holds the text.
func (k *counter) eventually(text, as, line string) string {
	k.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(30 * time.Second)
	for {
		stdout := k.must(as, line)
		if strings.Contains(stdout, text) {
			return stdout
		}
		select {
		case <-again.C:
		case <-deadline:
			k.t.Fatalf("%s: no %q in\n%s", line, text, stdout)
		}
	}
}

const libraryEnvelope = `"envelope":{"provider_reference":%q,"version":"1","recorded_at":"2026-02-21T00:00:00Z","retain_until":"2031-02-20T00:00:00Z",` +
	`"purpose":"PURPOSE_CRIMINAL_INVESTIGATION","assertion":"ASSERTION_KIND_FACT","evaluation":{"scheme":"EVALUATION_SCHEME_4X4",` +
	`"source_code":"A","information_code":"1"},"handling":{"codes":["HANDLING_CODE_H1"]}}`

func practiceLine(reference, title, more string) string {
	return fmt.Sprintf(`{`+libraryEnvelope+`,"crime_areas":["CRIME_AREA_DRUGS"],"body":{"good_practice":{"state":"LESSON_STATE_VALIDATED","tlp":"TLP_GREEN",`+
		`"sanitised":true,"description":"Weigh again.","context":{"title":%q,"language":"en-GB","countries":["XA"],`+
		`"group_structures":["GROUP_STRUCTURE_CORE_GROUP"]}%s}}}`, reference, title, more) + "\n"
}

func lessonLine(reference, title string) string {
	return fmt.Sprintf(`{`+libraryEnvelope+`,"body":{"lesson":{"stage":"LESSON_STAGE_OBSERVATION","state":"LESSON_STATE_OBSERVATION","tlp":"TLP_AMBER",`+
		`"sanitised":true,"observation":"Too late.","context":{"title":%q,"language":"fr","crime_areas":["CRIME_AREA_CORRUPTION"]}}}}`, reference, title) + "\n"
}

func personLine(reference string) string {
	return fmt.Sprintf(`{`+libraryEnvelope+`,"body":{"person":{"names":[{"type":"NAME_TYPE_PRIMARY","family":"Varrin","given":"Teodor"}],`+
		`"status":"PERSON_STATUS_SUSPECT","suspicion_basis":"file 7"}}}`, reference) + "\n"
}

// stocked is a counter where XA has pushed and released two practices and a lesson.
func stocked(t *testing.T) *counter {
	k := newCounter(t)
	k.write("p.jsonl", practiceLine("GP-1", "Weigh twice", `,"endorsements":[{"member":"XB","note":"Tried."},{"member":"XA"}]`)+practiceLine("GP-2", "Seal early", ""))
	k.write("l.jsonl", lessonLine("LL-1", "Trop tard"))
	k.must("XA-system", "practices push @p.jsonl")
	k.must("XA-system", "lessons push @l.jsonl --to project:"+sandbox.Project)
	k.must("XA-system", "practices release GP-1 GP-2")
	k.eventually("Seal early", "XB-officer", "practices list")
	k.eventually("Trop tard", "XB-officer", "lessons list")
	return k
}

func TestALibraryListIsNarrowedByEachFlag(t *testing.T) {
	k := stocked(t)
	for _, test := range []struct{ name, line, want string }{
		{"practices only", "practices list", "Seal early Weigh twice"},
		{"lessons only", "lessons list", "Trop tard"},
		{"both", "library list", "Trop tard Seal early Weigh twice"},
		{"both, one kind", "library list --kind lesson", "Trop tard"},
		{"by crime area", "library list --crime-area corruption", "Trop tard"},
		{"by project", "library list --project " + sandbox.Project, "Trop tard"},
		{"by group structure", "library list --group-structure core-group", "Seal early Weigh twice"},
		{"by country", "library list --country XA", "Seal early Weigh twice"},
		{"by language", "library list --language en", "Seal early Weigh twice"},
		{"by state", "library list --state observation,draft", "Trop tard"},
		{"by owner", "library list --owner XB", ""},
		{"by endorsements", "library list --endorsed 1", "Weigh twice"},
		{"by all at once", "practices list --crime-area drugs --language en --state validated --owner XA --endorsed 1", "Weigh twice"},
		{"to a limit", "library list --limit 1 --language en", "Seal early"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var titles []string
			for line := range strings.Lines(k.must("XB-officer", test.line+" -o json")) {
				var item struct {
					Owner  string
					Record struct {
						Body map[string]struct{ Context struct{ Title string } }
					}
				}
				err := json.Unmarshal([]byte(line), &item)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				for _, body := range item.Record.Body {
					titles = append(titles, body.Context.Title)
				}
			}
			if got := strings.Join(titles, " "); !sameWords(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// sameWords compares whatever the order: two streams bring what two releases hold, and either may come first.
func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

func TestAPracticeIsShownForPeopleWithWhoStandsByIt(t *testing.T) {
	k := stocked(t)
	list := k.must("XB-officer", "practices list")
	line := list[:strings.Index(list, "Weigh twice")]
	line = line[strings.LastIndex(line, "\n")+1:]
	for _, part := range []string{"XA ", "good-practice", "validated", "en-GB", " XB ", "TLP:GREEN", "drugs"} {
		if !strings.Contains(line, part) {
			t.Errorf("%q is missing in %q", part, line)
		}
	}
	id := strings.Fields(line)[1]
	text := k.must("XB-officer", "practices get XA "+id)
	for _, part := range []string{"Weigh twice\nTLP:GREEN, good-practice of XA, validated\n", "endorsed by  XB: Tried.", "groups       core-group", "Description\n  Weigh again."} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
	_, _, code := k.run("XB-officer", "lessons get XB "+id)
	if code != cli.ExitNotFound {
		t.Errorf("of another owner: exit code %d", code)
	}
}

func TestAFollowerHearsOfPracticesAndTheirWithdrawalFromItsCursorOn(t *testing.T) {
	k := stocked(t)
	follow := "practices follow --until-current --cursor-file @cursor"
	first := k.must("XB-officer", follow)
	if !strings.Contains(first, "Weigh twice  (validated, en-GB, endorsed by XB)") || strings.Contains(first, "Trop tard") {
		t.Errorf("first:\n%s", first)
	}
	if again := k.must("XB-officer", follow); again != "" {
		t.Errorf("what was printed comes again:\n%s", again)
	}
	k.must("XA-system", "practices withdraw GP-1 --reason inaccurate")
	news := k.eventually("inaccurate", "XB-officer", follow)
	if strings.Contains(news, "Weigh") {
		t.Errorf("after the withdrawal:\n%s", news)
	}
	if list := k.must("XB-officer", "practices list"); strings.Contains(list, "Weigh twice") || !strings.Contains(list, "Seal early") {
		t.Errorf("after the withdrawal the list is\n%s", list)
	}
}

func TestWhatIsNoPracticeStaysOutOfTheCommandsForPractices(t *testing.T) {
	k := stocked(t)
	k.write("mixed.jsonl", personLine("P-1")+lessonLine("LL-2", "Other")+practiceLine("GP-3", "Third", ""))
	stdout, stderr, code := k.run("XA-system", "practices push @mixed.jsonl -o json")
	if code != cli.ExitRejected || !strings.Contains(stdout, `"accepted":1`) || strings.Count(stderr, "is not a good practice") != 2 || strings.Contains(stderr, "Varrin") {
		t.Errorf("push: exit code %d, %s%s", code, stdout, stderr)
	}
	k.write("person.jsonl", personLine("P-1"))
	k.must("XA-system", "push @person.jsonl")
	for line, want := range map[string]string{
		"practices release GP-3 P-1":                       "P-1 is not a good practice; nothing was done",
		"lessons release GP-3":                             "GP-3 is not a lesson",
		"practices withdraw LL-1 --reason inaccurate":      "LL-1 is not a good practice",
		"practices withdraw GP-3 --reason nonsense":        "give one of",
		"practices release GP-3 --to nobody-in-particular": "--to",
		"practices":                      "practices list",
		"practices list --endorsed many": "--help",
		"practices list --state lost":    "give one of: draft",
		"lessons list --owner xb":        "--owner",
	} {
		_, stderr, code := k.run("XA-system", line)
		if code != cli.ExitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, %s", line, code, stderr)
		}
	}
	_, _, code = k.run("XA-system", "practices release GP-404")
	if code != cli.ExitNotFound {
		t.Errorf("an unknown reference: exit code %d", code)
	}
	if held := k.must("XA-system", "get GP-3"); !strings.Contains(held, "at home") {
		t.Errorf("a refused release left something:\n%s", held)
	}
}
