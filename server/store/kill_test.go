package store

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// TestMain plays the program that gets killed when the environment says so.
func TestMain(m *testing.M) {
	path := os.Getenv("STORE_TEST_WRITE_UNTIL_KILLED")
	if path == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, writeUntilKilled(path))
	os.Exit(1)
}

// writeUntilKilled prints the number of each value once it is acknowledged.
func writeUntilKilled(path string) error {
	s, err := Open(testOptions(path))
	if err != nil {
		return err
	}
	for {
		var n uint64
		err = s.Update(func(tx *Tx) (err error) {
			n, err = tx.Append(NewSeries("log"), make([]byte, 5000))
			if err != nil {
				return err
			}
			return tx.Put("positions", []byte("last"), strconv.AppendUint(nil, n, 10))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestNothingAcknowledgedIsLostWhenTheProgramIsKilled(t *testing.T) {
	opts := newFile(t)
	last := uint64(0)
	for round := range 10 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "STORE_TEST_WRITE_UNTIL_KILLED="+opts.Path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		lines := bufio.NewScanner(out)
		for i := 0; i < 5+7*round && lines.Scan(); i++ {
		}
		must(t, child.Process.Kill())
		acknowledged := last
		for ok := true; ok; ok = lines.Scan() { // what it still said before it died
			acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64)
			must(t, err)
		}
		_ = child.Wait() // killed, as it should be
		last = checkAcknowledged(t, opts, acknowledged)
	}
}

// checkAcknowledged opens the file and returns how many values it holds: those acknowledged, and at most one that
// was committed when the kill came.
func checkAcknowledged(t *testing.T, opts Options, acknowledged uint64) (held uint64) {
	t.Helper()
	s, err := Open(opts)
	must(t, err)
	must(t, s.Verify(t.Context(), nil))
	must(t, s.View(func(v *View) error {
		held = v.Len(NewSeries("log"))
		position, err := v.GetKey("positions", []byte("last"))
		must(t, err)
		if string(position) != strconv.FormatUint(held, 10) {
			t.Errorf("position %s beside %d values: a transaction was cut in two", position, held)
		}
		return nil
	}))
	must(t, s.Close())
	if held != acknowledged && held != acknowledged+1 {
		t.Errorf("%d values held, %d acknowledged", held, acknowledged)
	}
	return held
}
