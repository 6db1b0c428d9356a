package cli

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

func TestAudiencesAreReadAsWritten(t *testing.T) {
	for _, test := range []struct {
		name, text string
		mergeFor   []string
		want       string // as text again; "" if refused
	}{
		{"all members", "all", nil, "all"},
		{"future members too", "all-future", nil, "all-future"},
		{"a project", "project:harbour-light", nil, "project:harbour-light"},
		{"a project less some", "project:harbour-light,-XB,-XC", nil, "project:harbour-light,-XB,-XC"},
		{"one member", "XB", nil, "XB"},
		{"members with the coordinator", "XB,COORD", []string{"XB"}, "XB,COORD"},
		{"blanks between members", "XB, XC", nil, "XB,XC"},
		{"nothing", "", nil, ""},
		{"a project without id", "project:", nil, ""},
		{"a project with a member added", "project:p,XB", nil, ""},
		{"a project less a name that is no member", "project:p,-xb", nil, ""},
		{"a name that is no member", "everyone", nil, ""},
		{"an empty name", "XB,,XC", nil, ""},
		{"a merge for nobody named", "all", []string{"XB"}, ""},
		{"a merge for a name that is no member", "XB", []string{"xb"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseAudiences([]string{test.text}, test.mergeFor)
			if test.want == "" {
				if ExitCode(err) != ExitUsage {
					t.Fatalf("want a usage error, got %v, %v", got, err)
				}
				return
			}
			if err != nil || audiencesText(got) != test.want {
				t.Fatalf("got %q, %v", audiencesText(got), err)
			}
			if len(got[0].GetMembers().GetMergeFor()) != len(test.mergeFor) {
				t.Error("the merge list is lost")
			}
		})
	}
}

func TestCodesAreReadByShortAndFullName(t *testing.T) {
	for _, text := range []string{"criminal-investigation", "Criminal_Investigation", "PURPOSE_CRIMINAL_INVESTIGATION"} {
		got, err := parseEnum[ententev1.Purpose]("purpose", text)
		if err != nil || got != ententev1.Purpose_PURPOSE_CRIMINAL_INVESTIGATION {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "unspecified", "PURPOSE_UNSPECIFIED", "curiosity"} {
		_, err := parseEnum[ententev1.Purpose]("purpose", text)
		if ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "threat-analysis") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if short(ententev1.Purpose(77)) != "code-77" || short(ententev1.Purpose(0)) != "" {
		t.Error("a code that is not known, or not given")
	}
}

func TestConfigurationIsStrict(t *testing.T) {
	for _, test := range []struct {
		name, text, want string // want: part of the error, "" for none
	}{
		{"all keys", "address: a:1\nmember: XA\ncertificate: c\nkey: k\nauthorities: a\npurpose: warn\ncase: c", ""},
		{"nothing", "", ""},
		{"an unknown key", "address: a:1\nadress: b", `c.yaml: line 2: unknown key "adress"`},
		{"a key twice", "member: XA\nmember: XB", "line 2"},
		{"a list", "- address", "c.yaml"},
		{"a second document", "member: XA\n---\nmember: XB", "one YAML document"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parseSettings(strings.NewReader(test.text), "c.yaml")
			if test.want == "" && err != nil {
				t.Fatal(err)
			}
			if test.want != "" && (ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("want %q, got %v", test.want, err)
			}
		})
	}
}

func TestAFlagWinsOverTheEnvironmentAndThatOverTheFile(t *testing.T) {
	d := newDesk(t)
	read := func(env map[string]string, args ...string) settings {
		t.Helper()
		c := healthCommand(Env{})
		err := c.ParseFlags(append([]string{"--config", d.env["ENTENTE_CONFIG"]}, args...))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readSettings(c, func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	env := map[string]string{"ENTENTE_MEMBER": "XB"}
	if got := read(nil); got.Member != "XA" || !strings.HasPrefix(got.Key, d.folder) {
		t.Errorf("file: %+v", got)
	}
	if got := read(env); got.Member != "XB" {
		t.Errorf("environment: %+v", got)
	}
	if got := read(env, "--member", "XC"); got.Member != "XC" {
		t.Errorf("flag: %+v", got)
	}
}

func TestAMissingSettingNamesAllWaysToGiveIt(t *testing.T) {
	_, err := settings{Address: "a:1"}.clientConfig()
	if ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "--member, ENTENTE_MEMBER, or member") {
		t.Errorf("got %v", err)
	}
}

func TestIDsAreReadAsShown(t *testing.T) {
	for _, text := range []string{idOne, "AQAAAAAAAAAAAAAAAAAAAA=="} {
		got, err := parseID("ID", text)
		if err != nil || got[0] != 1 {
			t.Errorf("%s: %x, %v", text, got, err)
		}
	}
}

func TestALineThatIsTooLongIsRefusedAndTheNextOneRead(t *testing.T) {
	lines := newRecordLines(strings.NewReader(strings.Repeat("x", mostLine+1)+"\n"+recordLine("P-1")), "f")
	row, err := lines.Next()
	if err != nil || row.Err == nil || !strings.HasPrefix(row.Err.Error(), "f:1: ") {
		t.Fatalf("row %v, %v", row.Err, err)
	}
	row, err = lines.Next()
	if err != nil || row.Err != nil || row.Reference != "P-1" || row.Line != 2 {
		t.Fatalf("row %+v, %v", row, err)
	}
}

func FuzzRecordLines(f *testing.F) {
	f.Add(recordLine("P-1") + "\n{\n" + recordLine("P-2"))
	f.Fuzz(func(t *testing.T, text string) {
		lines := newRecordLines(strings.NewReader(text), "f")
		for range strings.Count(text, "\n") + 1 {
			row, err := lines.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (row.Err == nil) != (len(row.Items) == 1) {
				t.Fatalf("a row is neither items nor a reason: %+v", row)
			}
		}
		_, err := lines.Next()
		if !errors.Is(err, io.EOF) {
			t.Fatal("more rows than lines")
		}
	})
}

func FuzzAudience(f *testing.F) {
	for _, text := range []string{"all", "project:p,-XB", "XB,XC", "project:"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := parseAudience(text, nil)
		if err != nil {
			return
		}
		again, err := parseAudience(audienceText(first), nil)
		if err != nil || audienceText(again) != audienceText(first) {
			t.Fatalf("%q is not read back: %v", audienceText(first), err)
		}
	})
}

func FuzzSettings(f *testing.F) {
	f.Add("address: a:1\nmember: XA\n")
	f.Add("adress: x")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := parseSettings(strings.NewReader(text), "c.yaml")
		if err != nil && ExitCode(err) != ExitUsage {
			t.Fatalf("not a usage error: %v", err)
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, text := range []string{queryHelp, "kind=person", "released=false,tie=kinship", "recorded-from=2026-01-01", "kind="} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		query, err := parseQuery(text)
		if err != nil && ExitCode(err) != ExitUsage {
			t.Fatalf("not a usage error: %v", err)
		}
		if err == nil && proto.Size(query) == 0 {
			t.Fatalf("%q asks for nothing", text)
		}
	})
}
