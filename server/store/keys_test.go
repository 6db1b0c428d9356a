package store

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return content
}

func TestAKeyFileIsMadeOnceAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	must(t, CreateKey(path, bytes.NewReader(testKey(9))))
	key, err := LoadKey(path)
	must(t, err)
	if !bytes.Equal(key, testKey(9)) {
		t.Errorf("got %x", key)
	}
	wantError(t, CreateKey(path, rand.Reader), fs.ErrExist)
	if !bytes.Equal(readFile(t, path), []byte(strings.Repeat("09", KeySize)+"\n")) {
		t.Error("the key file was changed")
	}
	if CreateKey(path+"2", strings.NewReader("too little randomness")) == nil {
		t.Error("a key without randomness")
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	good := strings.Repeat("ab", KeySize) + "\n"
	tests := []struct {
		name, content string
		mode          fs.FileMode
		text          string
	}{
		{"a file that its group reads", good, 0o640, "chmod 600"},
		{"a file that all read", good, 0o604, "chmod 600"},
		{"a short key", good[2:], 0o600, "want 64 hexadecimal digits"},
		{"a long key", "ab" + good, 0o600, "want 64 hexadecimal digits"},
		{"a key without newline", good[:2*KeySize], 0o600, "want 64 hexadecimal digits"},
		{"something else", strings.Repeat("xy", KeySize) + "\n", 0o600, "want 64 hexadecimal digits"},
		{"an empty file", "", 0o600, "want 64 hexadecimal digits"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.key")
			must(t, os.WriteFile(path, []byte(test.content), 0o600))
			must(t, os.Chmod(path, test.mode))
			key, err := LoadKey(path)
			if err == nil || key != nil || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("got key %v, error %v", key != nil, err)
			}
			if strings.Contains(err.Error(), "abab") || strings.Contains(err.Error(), "xyxy") {
				t.Error("the error quotes the key")
			}
		})
	}
	_, err := LoadKey(filepath.Join(t.TempDir(), "none"))
	wantError(t, err, fs.ErrNotExist)
	if _, err := LoadKey(t.TempDir()); err == nil {
		t.Error("a folder is no key")
	}
}

func TestAMarkerCountsForOneStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stopped")
	digest := [32]byte{1, 2, 3}
	must(t, WriteMarker(path, [32]byte{9}))
	must(t, WriteMarker(path, digest)) // the newer one counts
	got, ok, err := TakeMarker(path)
	must(t, err)
	if !ok || got != digest {
		t.Errorf("got %x, %v", got, ok)
	}
	got, ok, err = TakeMarker(path)
	must(t, err)
	if ok || got != [32]byte{} {
		t.Error("a marker was taken twice")
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(entries) != 0 {
		t.Errorf("left over: %v", entries)
	}
}

func TestAMarkerThatNobodyCanReadIsACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stopped")
	must(t, WriteMarker(path, [32]byte{1}))
	whole := string(readFile(t, path))
	for _, content := range []string{"", "entente", whole[:len(whole)-1], whole + "x", strings.Replace(whole, "01", "zz", 1)} {
		must(t, os.WriteFile(path, []byte(content), 0o600))
		_, ok, err := TakeMarker(path)
		must(t, err)
		if ok {
			t.Errorf("taken for a clean stop: %q", content)
		}
		_, err = os.Stat(path)
		wantError(t, err, fs.ErrNotExist)
	}
}

func TestAMarkerThatCannotBeRemovedStopsTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stopped")
	must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o700))
	_, ok, err := TakeMarker(path)
	if err == nil || ok {
		t.Errorf("got %v, %v", ok, err)
	}
}

func FuzzParseMarker(f *testing.F) {
	f.Add([]byte(markerHead + strings.Repeat("0a", 32) + "\n"))
	f.Add([]byte(markerHead))
	f.Fuzz(func(t *testing.T, content []byte) {
		digest, ok := parseMarker(content)
		if !ok && digest != [32]byte{} {
			t.Error("a digest of an unreadable marker")
		}
	})
}
