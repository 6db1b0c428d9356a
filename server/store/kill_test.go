package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	if os.Getenv("STORE_TEST_COMPACT_MEANWHILE") != "" {
		go compactUntilKilled(s) // ends with the process
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

func compactUntilKilled(s *Store) {
	for {
		_, err := s.Compact(context.Background(), nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("compacted")
	}
}

func TestNothingAcknowledgedIsLostWhenTheProgramIsKilled(t *testing.T) {
	killWhileWriting(t, newFile(t), 10)
}

func TestNothingAcknowledgedIsLostWhenTheProgramIsKilledWhileItCompacts(t *testing.T) {
	opts := newFile(t)
	compacted := killWhileWriting(t, opts, 20, "STORE_TEST_COMPACT_MEANWHILE=1")
	if compacted < 20 {
		t.Errorf("only %d compactions came to their end", compacted)
	}
	folderHolds(t, filepath.Dir(opts.Path), "node.db")
}

// killWhileWriting returns how many compactions came to their end meanwhile.
func killWhileWriting(t *testing.T, opts Options, rounds int, env ...string) (compacted int) {
	t.Helper()
	last := uint64(0)
	for round := range rounds {
		child := exec.Command(os.Args[0])
		child.Env = append(append(os.Environ(), "STORE_TEST_WRITE_UNTIL_KILLED="+opts.Path), env...)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		lines := bufio.NewScanner(out)
		acknowledged := last
		read := func() bool {
			if !lines.Scan() {
				return false
			}
			if lines.Text() == "compacted" {
				compacted++
				return true
			}
			acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64)
			must(t, err)
			return true
		}
		for i := 0; i < 5+7*round && read(); i++ {
		}
		must(t, child.Process.Kill())
		for read() { // what it still said before it died
		}
		_ = child.Wait() // killed, as it should be
		last = checkAcknowledged(t, opts, acknowledged)
	}
	return compacted
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
