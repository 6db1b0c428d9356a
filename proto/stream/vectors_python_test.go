package stream_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// secondVerifier is the verifier in another language, which knows nothing of this program.
const secondVerifier = "../testdata/python/verify.py"

// python gives the interpreter, or skips.
func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: no python3 on this machine, so the second verifier has judged nothing")
	}
	err = exec.Command(path, "-c", "import sys; sys.exit(sys.version_info < (3, 9))").Run()
	if err != nil {
		t.Skip("SKIPPED: python3 on this machine is older than 3.9, so the second verifier has judged nothing")
	}
	return path
}

// judgeInPython runs the second verifier over a folder of vectors and gives what it printed. -B: it leaves no files behind.
func judgeInPython(t *testing.T, folder string) (string, error) {
	t.Helper()
	out, err := exec.Command(python(t), "-B", secondVerifier, folder).CombinedOutput()
	return string(out), err
}

func TestTheSecondVerifierAgreesOnAllVectors(t *testing.T) {
	out, err := judgeInPython(t, vectorsFolder)
	if err != nil {
		t.Fatalf("%v\n%s", err, disagreements(out))
	}
	total := 0
	for _, topic := range topics() {
		total += len(topic.cases(t))
	}
	summary := fmt.Sprintf("%d cases, 0 disagreements, 0 files missing", total)
	if !strings.Contains(out, summary) {
		t.Errorf("it did not say %q but:\n%s", summary, disagreements(out))
	}
}

// TestTheSecondVerifierSeesAWrongVerdict is the control of the test above: one verdict in each file is turned over, and each
// must be noticed.
func TestTheSecondVerifierSeesAWrongVerdict(t *testing.T) {
	folder := t.TempDir()
	var turned []string
	for _, topic := range topics() {
		vectors := readVectors(t, topic.file)
		cases := vectors["cases"].([]any)
		for _, at := range []int{0, len(cases) - 1} {
			turned = append(turned, topic.file+": "+turnOver(cases[at].(map[string]any)))
		}
		err := os.WriteFile(filepath.Join(folder, topic.file+".json"), encodeJSON(t, vectors), 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := judgeInPython(t, folder)
	if err == nil {
		t.Fatalf("it took turned verdicts for right:\n%s", disagreements(out))
	}
	for _, name := range turned {
		if !strings.Contains(out, "WRONG "+name) {
			t.Errorf("it did not notice the turned verdict of %q", name)
		}
	}
	if !strings.Contains(out, fmt.Sprintf(" %d disagreements", len(turned))) {
		t.Errorf("it found other disagreements than the %d that were planted:\n%s", len(turned), disagreements(out))
	}
}

func TestTheSecondVerifierMissesAFileThatIsNotThere(t *testing.T) {
	out, err := judgeInPython(t, t.TempDir())
	if err == nil || !strings.Contains(out, fmt.Sprintf("%d files missing", len(topics()))) {
		t.Errorf("it judged nothing and said: %v\n%s", err, out)
	}
}

// disagreements is what the second verifier printed, without the cases on which it agrees.
func disagreements(out string) string {
	var kept []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "ok ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// readVectors reads a file as any program would.
func readVectors(t *testing.T, name string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectorsFolder, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	vectors := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err = decoder.Decode(&vectors)
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// turnOver makes the verdict of a case the other one, and gives its name.
func turnOver(c map[string]any) string {
	was := c["verdict"]
	c["verdict"] = "refuse"
	if was == "refuse" {
		c["verdict"] = "accept"
	}
	return c["name"].(string)
}
